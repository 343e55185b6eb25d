//! What the node asks providers by itself, and what it makes of their answers: each chain's [`Probes`] and [`Heads`].
//!
//! Knows no ring and no clock: orders go out and words come in (`prober`), what changed comes back as events, and shards see
//! each provider's footing in its slot. A provider that rests after a limit is not asked, and one whose breaker is open counts
//! as not reached without being asked: the breaker's own trials are what finds it well again, and a probe may be one.
//!
//! What clients are told of providers' heads counts as if a probe had been told it, and puts off the next one.
//!
//! A provider that refuses our credentials on a client's call may have meant that call; one that refuses them on a probe is out
//! until a probe is answered.
//!
//! A reload keeps what is known of a provider whose slot it keeps, unless the chain has got another id: then every answer
//! means something else.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::totals::Totals;
use crate::config;
use crate::jsonrpc::MethodClass;
use crate::limits::LAGGING_SETTLED_BLOCKS;
use crate::link::{ChainEntry, Event, EventKind, Outcome, ProbeEnded, ProbeOrder, ProbeWord, ProviderSlot, Snapshot};
use crate::routing::{
    Footing, Gate, HeadCell, HeadEvent, HeadFacts, Heads, Level, Probe, ProbeEnd, Probes, Question, Rest,
};
use crate::time::Instant;

/// See the module.
#[derive(Debug)]
pub struct Watch {
    config: config::Probes,
    chains: Vec<Chain>,
    /// Slot number → chain and provider, by position.
    places: HashMap<u64, (usize, usize)>,
}

#[derive(Debug)]
struct Chain {
    name: Arc<str>,
    id: u64,
    probes: Probes,
    heads: Heads,
    /// What shards know of it.
    head: Arc<HeadCell>,
    providers: Vec<Provider>,
}

#[derive(Debug)]
struct Provider {
    slot: Arc<ProviderSlot>,
    /// Clients' calls that it had answered when it was last looked at.
    answered: u64,
    /// It has been asked for its chain and was there, whatever it said.
    asked: bool,
    /// It refused our credentials when it was last asked.
    refused: bool,
    ended: [u64; ENDS.len()],
}

/// How probes end, as metrics name it.
pub const ENDS: [&str; 4] = ["answered", "limited", "failed", "refused"];

impl Watch {
    /// Nothing is known yet, and everybody is to be asked.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let mut watch = Self { config: snapshot.config.probes.clone(), chains: Vec::new(), places: HashMap::new() };
        watch.take_over(snapshot, Instant::START);
        watch
    }

    /// Goes by `snapshot` from now on.
    pub fn take_over(&mut self, snapshot: &Snapshot, now: Instant) {
        self.config = snapshot.config.probes.clone();
        let before = std::mem::take(&mut self.chains);
        self.chains = snapshot.chains.iter().map(|entry| Chain::new(entry, &snapshot.config)).collect();
        self.places.clear();
        for (at, chain) in self.chains.iter_mut().enumerate() {
            if let Some(before) = before.iter().find(|before| before.name == chain.name && before.id == chain.id) {
                chain.take_over(before);
            }
            let numbers = chain.providers.iter().enumerate();
            self.places.extend(numbers.map(|(position, provider)| (provider.slot.number, (at, position))));
        }
        self.on_time(now);
    }

    /// Hands every question that is due to `send`, which tells whether it could be sent; answers what changed.
    pub fn ask(&mut self, now: Instant, totals: &Totals, mut send: impl FnMut(ProbeOrder) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        for chain in &mut self.chains {
            chain.hear(now, self.config.enabled, &mut events);
        }
        if self.config.enabled {
            self.chains.iter_mut().for_each(|chain| chain.ask(now, totals, &mut send, &mut events));
        }
        events
    }

    /// A probe has ended; answers what changed.
    pub fn on_word(&mut self, now: Instant, word: ProbeWord) -> Vec<Event> {
        let Some(&(chain, provider)) = self.places.get(&word.slot) else { return Vec::new() };
        self.chains[chain].on_word(now, Probe { provider, question: word.question }, word.end)
    }

    /// What is no longer fresh puts nobody out, and without probes nothing does.
    pub fn on_time(&mut self, now: Instant) {
        for chain in &self.chains {
            chain.settle(now, self.config.enabled);
        }
    }

    /// The head of the chain of that name.
    #[must_use]
    pub fn head(&self, chain: &str) -> Option<u64> {
        self.chains.iter().find(|known| *known.name == *chain)?.heads.head()
    }

    /// What is known of the provider in that slot.
    #[must_use]
    pub fn facts(&self, slot: u64) -> Option<HeadFacts> {
        let &(chain, provider) = self.places.get(&slot)?;
        self.chains[chain].heads.facts(provider)
    }

    /// The probes of the provider in that slot that have ended, by [`ENDS`].
    #[must_use]
    pub fn ended(&self, slot: u64) -> Option<[u64; ENDS.len()]> {
        let &(chain, provider) = self.places.get(&slot)?;
        Some(self.chains[chain].providers[provider].ended)
    }

    /// Why the provider in that slot is out, as far as its chain goes.
    #[must_use]
    pub fn out(&self, slot: &ProviderSlot) -> Option<&'static str> {
        match (slot.footing.get(), self.facts(slot.number)?.level) {
            (Footing::InStep, _) => None,
            (Footing::WrongChain, _) => Some("wrong_chain"),
            (Footing::Refused, _) => Some("key_refused"),
            (Footing::Unasked, _) => Some("unasked"),
            (Footing::OutOfStep, Level::FarAhead) => Some("far_ahead"),
            (Footing::OutOfStep, _) => Some("lagging"),
        }
    }
}

impl Chain {
    fn new(entry: &ChainEntry, config: &config::Config) -> Self {
        let count = entry.providers.len();
        // Not for secrets: so that two nodes do not ask at the same moments.
        let seed = RandomState::new().hash_one(entry.config.id);
        let provider = |slot: &Arc<ProviderSlot>| Provider {
            slot: Arc::clone(slot),
            answered: 0,
            asked: false,
            refused: false,
            ended: [0; ENDS.len()],
        };
        Self {
            name: Arc::clone(&entry.name),
            id: entry.config.id,
            probes: Probes::new(count, config.probes.pace, seed),
            head: Arc::clone(&entry.head),
            heads: Heads::new(count, entry.config.id, entry.config.head_limits(&config.heads)),
            providers: entry.providers.iter().map(|provider_entry| provider(&provider_entry.slot)).collect(),
        }
    }

    fn take_over(&mut self, before: &Self) {
        for (is, provider) in self.providers.iter_mut().enumerate() {
            let same = |other: &Provider| other.slot.number == provider.slot.number;
            if let Some(was) = before.providers.iter().position(same) {
                self.probes.take_over(&before.probes, was, is);
                self.heads.take_over(&before.heads, was, is);
                let Provider { answered, asked, refused, ended, .. } = before.providers[was];
                (provider.answered, provider.asked) = (answered, asked);
                (provider.refused, provider.ended) = (refused, ended);
            }
        }
    }

    fn ask(
        &mut self,
        now: Instant,
        totals: &Totals,
        send: &mut impl FnMut(ProbeOrder) -> bool,
        events: &mut Vec<Event>,
    ) {
        if self.probes.next_at(now) > now {
            return;
        }
        for (position, provider) in self.providers.iter_mut().enumerate() {
            let answered = answered(totals, provider.slot.number);
            self.probes.on_calls(position, answered.saturating_sub(provider.answered));
            provider.answered = answered;
        }
        // Each provider has one question under way at most.
        for _ in 0..self.providers.len() {
            let Some(probe) = self.probes.next_probe(now) else { return };
            let slot = &self.providers[probe.provider].slot;
            // Both questions are of one class.
            let class = MethodClass::Head;
            let gate = slot.standing.gate_for(now, class);
            let rest = slot.standing.rest(now).or_else(|| slot.standing.class_rest(now, class));
            match (gate, rest) {
                (Gate::Open | Gate::Trial, _) => {
                    let (chain, question) = (Arc::clone(&self.name), probe.question);
                    if !send(ProbeOrder { chain, slot: slot.number, question }) {
                        self.probes.on_end(now, probe, ProbeEnd::Failed);
                    }
                }
                // It is not asked while it rests.
                (_, Some(Rest::Cooled { until } | Rest::Parked { until })) => {
                    self.probes.on_end(now, probe, ProbeEnd::Limited(Some(until.since(now))));
                }
                (Gate::Shut { .. } | Gate::Parked { .. }, None) => {
                    events.extend(self.on_end(now, probe, ProbeEnd::Failed, None));
                }
            }
        }
    }

    /// Takes in what clients were told of providers' heads, as if it had been asked for. Without probes it is for nothing.
    fn hear(&mut self, now: Instant, enabled: bool, events: &mut Vec<Event>) {
        for position in 0..self.providers.len() {
            let provider = &self.providers[position];
            // Of one that has not said which chain it is, no block says anything.
            let Some(height) = provider.slot.said_head.take().filter(|_| enabled && provider.asked) else { continue };
            self.probes.on_head(now, position);
            let event = self.heads.on_head(now, position, height, self.healthy(now));
            let slot = &self.providers[position].slot;
            events.extend(event.map(|event| Event::of(slot, kind(event))));
        }
    }

    fn on_word(&mut self, now: Instant, probe: Probe, word: ProbeEnded) -> Vec<Event> {
        let (counted, end, number) = match word {
            ProbeEnded::Answered(number) => (0, ProbeEnd::Answered, number),
            ProbeEnded::Limited(rest) => (1, ProbeEnd::Limited(Some(rest)), None),
            ProbeEnded::Failed => (2, ProbeEnd::Failed, None),
            ProbeEnded::Refused => (3, ProbeEnd::Failed, None),
            ProbeEnded::NotAsked => {
                // To be asked again soon; it says nothing about the provider.
                self.probes.on_end(now, probe, ProbeEnd::Failed);
                return Vec::new();
            }
        };
        let provider = &mut self.providers[probe.provider];
        provider.ended[counted] += 1;
        let key = match word {
            ProbeEnded::Refused => provider.on_key(true),
            ProbeEnded::Answered(_) => provider.on_key(false),
            _ => None,
        };
        if word == ProbeEnded::Refused {
            // It is there, and is asked again as soon as one that is not: nothing but this finds out that it takes us.
            self.probes.on_end(now, probe, end);
            self.settle(now, true);
            return key.into_iter().collect();
        }
        key.into_iter().chain(self.on_end(now, probe, end, number)).collect()
    }

    fn on_end(&mut self, now: Instant, probe: Probe, end: ProbeEnd, number: Option<u64>) -> Option<Event> {
        self.probes.on_end(now, probe, end);
        self.providers[probe.provider].asked |= probe.question == Question::ChainId && end != ProbeEnd::Failed;
        let event = match (end, number, probe.question) {
            (ProbeEnd::Failed, ..) => self.heads.on_unreachable(probe.provider),
            (_, Some(said), Question::ChainId) => self.heads.on_chain_id(probe.provider, said),
            (_, Some(height), Question::BlockNumber) => {
                self.heads.on_head(now, probe.provider, height, self.healthy(now))
            }
            (_, None, _) => None,
        };
        self.settle(now, true);
        let slot = &self.providers[probe.provider].slot;
        Some(Event::of(slot, kind(event?)))
    }

    /// A bit for each provider whose gate is not shut and who answers us.
    fn healthy(&self, now: Instant) -> u64 {
        let open = |provider: &Provider| {
            matches!(provider.slot.standing.gate(now), Gate::Open | Gate::Trial) && !provider.refused
        };
        self.providers
            .iter()
            .enumerate()
            .filter(|(_, provider)| open(provider))
            .fold(0, |mask, (bit, _)| mask | 1 << bit)
    }

    /// Tells shards where everybody stands, and the chain.
    fn settle(&self, now: Instant, enabled: bool) {
        self.head.set(self.heads.head().filter(|_| enabled));
        let (wrong, out) = if enabled { (self.heads.wrong_chain(), self.heads.out_of_step(now)) } else { (0, 0) };
        for (bit, provider) in self.providers.iter().enumerate() {
            let has = |mask: u64| mask & (1 << bit) != 0;
            let footing = match (has(wrong), has(out)) {
                (true, _) => Footing::WrongChain,
                _ if enabled && provider.refused => Footing::Refused,
                _ if enabled && !provider.asked => Footing::Unasked,
                (false, true) => Footing::OutOfStep,
                (false, false) => Footing::InStep,
            };
            // One that is far ahead is of no chain that anybody knows.
            let facts = self.heads.facts(bit).filter(|facts| facts.level == Level::Lagging);
            let newest = facts.and_then(|facts| facts.heard).map(|(height, _)| height);
            provider.slot.settled.set(newest.and_then(|height| height.checked_sub(LAGGING_SETTLED_BLOCKS)));
            provider.slot.footing.set(footing);
        }
    }
}

impl Provider {
    /// The node's own question was refused for our credentials, or was not; tells a change.
    fn on_key(&mut self, refused: bool) -> Option<Event> {
        let before = std::mem::replace(&mut self.refused, refused);
        let kind = if refused { EventKind::KeyRefused } else { EventKind::KeyAccepted };
        (before != refused).then(|| Event::of(&self.slot, kind))
    }
}

/// Clients' calls that the provider in that slot has answered.
fn answered(totals: &Totals, slot: u64) -> u64 {
    let of = |class| totals.of(slot, class).map(|total| total.outcomes);
    let answers =
        |outcomes: [u64; Outcome::ALL.len()]| outcomes[Outcome::Success as usize] + outcomes[Outcome::Error as usize];
    MethodClass::ALL.into_iter().filter_map(of).map(answers).sum()
}

const fn kind(event: HeadEvent) -> EventKind {
    match event {
        HeadEvent::Lagging { blocks } => EventKind::Lagging(blocks),
        HeadEvent::FarAhead { blocks } => EventKind::FarAhead(blocks),
        HeadEvent::InStep => EventKind::InStep,
        HeadEvent::WrongChain { said } => EventKind::WrongChain(said),
        HeadEvent::RightChain => EventKind::RightChain,
        HeadEvent::Unreachable => EventKind::Unreachable,
        HeadEvent::Reachable => EventKind::Reachable,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::control::tls;
    use crate::routing::Month;

    fn snapshot(more: &str, ids: &[&str], previous: Option<&Snapshot>) -> Snapshot {
        let provider =
            |id: &&str| format!("[[chains.providers]]\nid = \"{id}\"\nurl = \"http://127.0.0.1:8000/{id}\"\n");
        let providers: Vec<String> = ids.iter().map(provider).collect();
        let text = format!(
            "[probes]\nspacing = \"0ms\"\njitter_percent = 0\n{more}\n[[chains]]\nname = \"ethereum\"\nid = 1\n{}",
            providers.concat()
        );
        let config = Config::parse(&text, "test", |_| None, &[0]).unwrap_or_else(|problems| panic!("{problems}"));
        Snapshot::build(
            Arc::new(config),
            previous,
            tls::client_config(None).unwrap(),
            |_| Arc::new([]),
            |_| Month::default(),
        )
    }

    fn secs(secs: u64) -> Instant {
        Instant::START + Duration::from_secs(secs)
    }

    /// Asks whoever is due, answers with the chain's id, or with the provider's height; what happened, by provider.
    fn round(watch: &mut Watch, now: Instant, chain_ids: &[u64], heights: &[u64]) -> Vec<(String, EventKind)> {
        let mut orders = Vec::new();
        let mut events = watch.ask(now, &Totals::default(), |order| {
            orders.push(order);
            true
        });
        for order in orders {
            let position = watch.places[&order.slot].1;
            let said = match order.question {
                Question::ChainId => chain_ids[position],
                Question::BlockNumber => heights[position],
            };
            let end = ProbeEnded::Answered(Some(said));
            events.extend(watch.on_word(now, ProbeWord { slot: order.slot, question: order.question, end }));
        }
        events.into_iter().map(|event| (event.provider.to_string(), event.kind)).collect()
    }

    fn footings(snapshot: &Snapshot) -> Vec<Footing> {
        snapshot.chains[0].providers.iter().map(|provider| provider.slot.footing.get()).collect()
    }

    #[test]
    fn what_providers_say_reaches_their_slots() {
        let snapshot = snapshot("", &["a", "b", "c", "d"], None);
        let mut watch = Watch::new(&snapshot);
        assert_eq!(footings(&snapshot), [Footing::Unasked; 4]);
        let (ids, heights) = ([1, 1, 1, 56], [100, 100, 90, 100]);
        assert_eq!(round(&mut watch, secs(1), &ids, &heights), [("d".to_owned(), EventKind::WrongChain(56))]);
        let lags = ("c".to_owned(), EventKind::Lagging(10));
        assert_eq!(round(&mut watch, secs(2), &ids, &heights), [lags]);
        assert_eq!(footings(&snapshot), [Footing::InStep, Footing::InStep, Footing::OutOfStep, Footing::WrongChain]);
        let settled: Vec<_> = snapshot.chains[0].providers.iter().map(|provider| provider.slot.settled.get()).collect();
        assert_eq!(settled, [None, None, Some(26), None]);
        let slots = || snapshot.chains[0].providers.iter().map(|provider| &*provider.slot);
        assert_eq!((watch.head("ethereum"), snapshot.chains[0].head.get()), (Some(100), Some(100)));
        let why: Vec<_> = slots().map(|slot| watch.out(slot)).collect();
        assert_eq!(why, [None, None, Some("lagging"), Some("wrong_chain")]);
        assert!(slots().all(|slot| watch.ended(slot.number) == Some([2, 0, 0, 0])));
        watch.on_time(secs(123));
        assert_eq!(footings(&snapshot)[2], Footing::InStep, "an old word puts nobody out");
    }

    #[test]
    fn a_reload_keeps_what_is_known_and_none_of_it_without_probes() {
        let first = snapshot("", &["a", "b", "c"], None);
        let mut watch = Watch::new(&first);
        round(&mut watch, secs(1), &[1; 3], &[100, 100, 90]);
        round(&mut watch, secs(2), &[1; 3], &[100, 100, 90]);
        let second = snapshot("", &["c", "a", "new"], Some(&first));
        watch.take_over(&second, secs(3));
        assert_eq!(footings(&second), [Footing::OutOfStep, Footing::InStep, Footing::Unasked]);
        assert_eq!(second.chains[0].head.get(), Some(100));
        assert_eq!(watch.ended(second.chains[0].providers[0].slot.number), Some([2, 0, 0, 0]));
        assert_eq!(watch.ended(first.chains[0].providers[1].slot.number), None, "it is gone");
        let off = snapshot("enabled = false", &["c", "a"], Some(&second));
        watch.take_over(&off, secs(4));
        assert_eq!(footings(&off), [Footing::InStep, Footing::InStep]);
        assert_eq!(off.chains[0].head.get(), None);
        assert_eq!(round(&mut watch, secs(100), &[1; 2], &[1; 2]), []);
    }

    #[test]
    fn a_chain_with_another_id_begins_anew() {
        let first = snapshot("", &["a"], None);
        let mut watch = Watch::new(&first);
        round(&mut watch, secs(1), &[2], &[100]);
        assert_eq!(footings(&first), [Footing::WrongChain]);
        let mut config = (*first.config).clone();
        config.chains[0].id = 2;
        let tls = tls::client_config(None).unwrap();
        let second = Snapshot::build(Arc::new(config), Some(&first), tls, |_| Arc::new([]), |_| Month::default());
        watch.take_over(&second, secs(2));
        assert_eq!((footings(&second), second.chains[0].head.get()), (vec![Footing::Unasked], None));
        assert_eq!(round(&mut watch, secs(3), &[2], &[100]), []);
        assert_eq!(footings(&second), [Footing::InStep]);
    }

    #[test]
    fn who_refuses_our_key_is_out_until_a_probe_is_answered() {
        let snapshot = snapshot("", &["a", "b", "c"], None);
        let mut watch = Watch::new(&snapshot);
        round(&mut watch, secs(1), &[1; 3], &[100; 3]);
        let slot = &snapshot.chains[0].providers[0].slot;
        let word = |end| ProbeWord { slot: slot.number, question: Question::BlockNumber, end };
        let mut told = |at, end| -> Vec<EventKind> {
            watch.on_word(secs(at), word(end)).into_iter().map(|event| event.kind).collect()
        };
        assert_eq!(told(2, ProbeEnded::Refused), [EventKind::KeyRefused]);
        assert_eq!(slot.footing.get(), Footing::Refused);
        assert_eq!(told(3, ProbeEnded::Refused), [], "told once");
        assert_eq!(told(4, ProbeEnded::Limited(Duration::ZERO)), [], "which says nothing of it");
        assert_eq!(slot.footing.get(), Footing::Refused);
        assert_eq!(told(5, ProbeEnded::Answered(Some(100))), [EventKind::KeyAccepted]);
        assert_eq!(slot.footing.get(), Footing::InStep);
        told(6, ProbeEnded::Refused);
        assert_eq!(watch.out(slot), Some("key_refused"));
        let orders = |watch: &mut Watch, at| {
            let mut orders = Vec::new();
            watch.ask(secs(at), &Totals::default(), |order| {
                orders.push((order.slot, order.question));
                true
            });
            orders
        };
        assert!(
            orders(&mut watch, 30).contains(&(slot.number, Question::ChainId)),
            "it may be another when it is back"
        );
    }

    #[test]
    fn what_clients_are_told_of_a_head_counts() {
        let snapshot = snapshot("", &["a", "b", "c"], None);
        let mut watch = Watch::new(&snapshot);
        let say = |heights: [u64; 3]| {
            for (provider, height) in snapshot.chains[0].providers.iter().zip(heights) {
                provider.slot.said_head.hear(height);
            }
        };
        say([7, 7, 7]);
        round(&mut watch, secs(1), &[1; 3], &[100; 3]);
        assert_eq!(watch.head("ethereum"), None, "of which chain, nobody has said");
        round(&mut watch, secs(2), &[1; 3], &[100; 3]);
        assert_eq!(watch.head("ethereum"), Some(100));
        // Again and again before a probe is due: none is sent.
        let ended = |watch: &Watch| watch.ended(snapshot.chains[0].providers[0].slot.number).map(|ended| ended[0]);
        let before = ended(&watch);
        for at in 3..60 {
            say([100 + at, 100 + at, 90]);
            round(&mut watch, secs(at), &[1; 3], &[0; 3]);
        }
        watch.on_time(secs(60));
        assert_eq!((ended(&watch), watch.head("ethereum")), (before, Some(159)));
        assert_eq!(footings(&snapshot), [Footing::InStep, Footing::InStep, Footing::OutOfStep]);
    }

    #[test]
    fn a_head_needs_no_word_of_who_refuses_us() {
        let snapshot = snapshot("", &["a", "b"], None);
        let mut watch = Watch::new(&snapshot);
        let numbers = [0, 1].map(|at: usize| snapshot.chains[0].providers[at].slot.number);
        let mut say = |slot, question, end| drop(watch.on_word(secs(1), ProbeWord { slot, question, end }));
        say(numbers[0], Question::ChainId, ProbeEnded::Refused);
        say(numbers[1], Question::ChainId, ProbeEnded::Answered(Some(1)));
        say(numbers[1], Question::BlockNumber, ProbeEnded::Answered(Some(7)));
        assert_eq!(watch.head("ethereum"), Some(7));
    }

    #[test]
    fn who_rests_is_not_asked_and_who_is_shut_out_is_not_reached() {
        use crate::routing::{Health, Outcome, StandingConfig};
        let snapshot = snapshot("", &["rests", "shut"], None);
        let mut watch = Watch::new(&snapshot);
        let on = |provider: usize, health| {
            let config = StandingConfig::default();
            let outcome = Outcome { health, class: MethodClass::Head, sent: secs(1), trial: None, draw: 0 };
            let standing = &snapshot.chains[0].providers[provider].slot.standing;
            for _ in 0..config.breaker.failures {
                standing.on_outcome(secs(1), &outcome, &config);
            }
        };
        on(0, Health::Cooldown(Some(Duration::from_secs(20))));
        on(1, Health::Failure);
        assert_eq!(
            round(&mut watch, secs(2), &[1; 2], &[9; 2]),
            [("shut".to_owned(), EventKind::Unreachable)],
            "nobody is asked"
        );
        assert_eq!(footings(&snapshot), [Footing::Unasked; 2]);
        let numbers = [0, 1].map(|at: usize| snapshot.chains[0].providers[at].slot.number);
        assert_eq!(numbers.map(|slot| watch.ended(slot)), [Some([0; ENDS.len()]); 2], "what was not sent has no end");
        let events = round(&mut watch, secs(40), &[1; 2], &[9; 2]);
        assert_eq!(events, [("shut".to_owned(), EventKind::Reachable)]);
        assert_eq!(numbers.map(|slot| watch.ended(slot)), [Some([1, 0, 0, 0]); 2]);
        assert_eq!(footings(&snapshot), [Footing::InStep; 2]);
    }
}
