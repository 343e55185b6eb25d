//! Ranking as control does it: one [`Board`] per chain, fed with what shards ship, published to all of them.
//!
//! ```text
//!   shards' rows ──merge──▶ Board (one per chain) ──publish──▶ Rankings ──▶ shards
//!                             ▲          │
//!   snapshots ─────place──────┘          └──▶ events, pages
//! ```
//!
//! Beside it, from the same rows: failures over all shards, which open breakers (`ratio`). A breaker is opened so only while
//! another provider of the chain can be asked: one that answers every second call is better than none.
//!
//! All judgement is the board's (`routing::board`), which is pure; here is only which board a row belongs to and what
//! becomes of boards when the config changes. A chain is known by its name and a provider by its slot's number: what a
//! reload leaves as it was keeps all that is known, and a row of a slot that was replaced finds no board.
//!
//! A ranking that says what the one before said is not published again, so that chains of which nothing is
//! known cost the shards nothing. Not here: how rankings reach the shards and when they are freed (`publish`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::own_rows::OwnRows;
use super::ratio::Ratios;
use crate::jsonrpc::MethodClass;
use crate::link::{ChainEntry, Event, EventKind, ProviderEntry, Ranked, Rankings, Row, Snapshot};
use crate::routing::{Board, Footing, Gate, Random, Ranking, RankingConfig, RowIndex, Score, StandingConfig};
use crate::time::Instant;

/// See the module.
#[derive(Debug)]
pub struct Rank {
    shards: usize,
    config: RankingConfig,
    standing: StandingConfig,
    ratios: Ratios,
    /// For the moments of retry.
    random: Random,
    chains: Vec<Chain>,
    /// The position of each slot's chain.
    chain_of: HashMap<u64, usize>,
    /// The config has changed since the last publication.
    placed: bool,
}

#[derive(Debug)]
struct Chain {
    entry: Arc<ChainEntry>,
    slots: Arc<[u64]>,
    board: Board,
    ranking: Arc<Ranking>,
    /// By class.
    leaders: [Leader; MethodClass::ALL.len()],
    own: OwnRows,
}

/// Who led when it was last looked at, and when that was told.
#[derive(Clone, Copy, Debug, Default)]
struct Leader {
    slot: Option<u64>,
    told: Option<Instant>,
}

/// How often a class's leader is news at most: two that are alike take turns.
const LEADS_EVERY: Duration = Duration::from_secs(5);

impl Rank {
    /// For the chains of `snapshot`, served by `shards`. `seed`: any number that other nodes are not likely to have.
    #[must_use]
    pub fn new(now: Instant, snapshot: &Snapshot, shards: usize, seed: u64) -> Self {
        let config = &snapshot.config;
        let mut rank = Self {
            shards,
            config: config.ranking.by,
            standing: config.standing(),
            ratios: Ratios::new(config.breaker.ratio_window, config.ranking.interval),
            random: Random::new(seed),
            chains: Vec::new(),
            chain_of: HashMap::new(),
            placed: true,
        };
        rank.place(now, snapshot);
        rank
    }

    /// The config, or where names lead, has changed.
    pub(super) fn place(&mut self, now: Instant, snapshot: &Snapshot) {
        let mut before = std::mem::take(&mut self.chains);
        let config = snapshot.config.ranking.by;
        self.chains = snapshot
            .chains
            .iter()
            .map(|entry| match before.iter().position(|chain| chain.entry.name == entry.name) {
                Some(at) => before.swap_remove(at).placed(entry, config),
                None => Chain::new(now, entry, self.shards, config),
            })
            .collect();
        let slots = self.chains.iter().enumerate();
        self.chain_of = slots.flat_map(|(at, chain)| chain.slots.iter().map(move |&slot| (slot, at))).collect();
        (self.config, self.standing) = (config, snapshot.config.standing());
        let (window, interval) = (snapshot.config.breaker.ratio_window, snapshot.config.ranking.interval);
        self.ratios.configure(window, interval, |slot| self.chain_of.contains_key(&slot));
        self.placed = true;
    }

    /// What `shard` measured. Of a slot that is gone: nothing happens.
    pub fn merge(&mut self, now: Instant, shard: usize, row: &Row) {
        if let Some(&at) = self.chain_of.get(&row.key.slot) {
            let (slot, tally, chain) = (row.key.slot, row.tally(), &mut self.chains[at]);
            // One that lost its row since goes into its class's.
            let index = row.key.own.map_or_else(|| row.key.class.into(), |method| chain.own.row_of(method));
            chain.board.merge(now, shard, slot, index, &row.latency_us, &tally);
            chain.own.weigh(&chain.board, slot, &row.methods);
            self.ratios.add(now, slot, &tally);
        }
    }

    /// The rankings as of now; none when they say what the last ones said.
    pub fn publish(&mut self, now: Instant) -> Option<Rankings> {
        let mut changed = std::mem::take(&mut self.placed);
        for chain in &mut self.chains {
            chain.own.decide(now, &mut chain.board, &self.config);
            changed |= chain.rank(now);
        }
        changed.then(|| Rankings { chains: self.chains.iter().map(Chain::ranked).collect() })
    }

    /// Opens the breakers of those that fail too much; answers whose they were.
    pub(super) fn judge(&mut self, now: Instant) -> Vec<Event> {
        self.ratios.on_time(now);
        let mut events = Vec::new();
        for slot in self.ratios.failing() {
            let Some(chain) = self.chain_of.get(&slot).map(|&at| &self.chains[at]) else { continue };
            let Some(provider) = chain.provider_with_spare(slot, now) else { continue };
            let standing = &provider.slot.standing;
            let Some(counts) = standing.closed_at().and_then(|closed| self.ratios.counts(slot, closed)) else {
                continue;
            };
            if standing.on_counts(now, &counts, &self.standing, self.random.next_u64()).is_some() {
                events.push(Event::of(&provider.slot, EventKind::BreakerOpened));
            }
        }
        events
    }

    /// Who leads since this was last asked, where another did before.
    pub(super) fn leaders(&mut self, now: Instant) -> Vec<Event> {
        self.chains.iter_mut().flat_map(|chain| chain.new_leaders(now)).collect()
    }

    /// The rows of a chain that calls are ranked by: its classes', then those of methods that are not like their class.
    pub fn rows(&self, chain: usize) -> impl Iterator<Item = (RowIndex, MethodClass, Option<&'static str>)> {
        let classes = MethodClass::ALL.into_iter().map(|class| (class.into(), class, None));
        let own = self.chains.get(chain).into_iter().flat_map(|chain| chain.own.rows());
        classes.chain(own.map(|(method, row)| (row, method.class, Some(method.name))))
    }

    /// The figures of a chain's provider in a row, by their positions; `None` while it is unknown.
    #[must_use]
    pub fn score(&self, now: Instant, chain: usize, row: RowIndex, provider: usize) -> Option<Score> {
        self.chains.get(chain)?.board.score(now, row, provider)
    }

    /// The number of the slot that leads a row of a chain.
    #[must_use]
    pub fn leader(&self, chain: usize, row: RowIndex) -> Option<u64> {
        self.chains.get(chain)?.board.leader(row)
    }
}

impl Chain {
    fn new(now: Instant, entry: &Arc<ChainEntry>, shards: usize, config: RankingConfig) -> Self {
        let slots = numbers(entry);
        Self {
            entry: Arc::clone(entry),
            board: Board::new(now, &slots, shards, config),
            slots,
            ranking: Arc::default(),
            leaders: [Leader::default(); MethodClass::ALL.len()],
            own: OwnRows::new(now),
        }
    }

    /// The same chain as a newer snapshot has it.
    fn placed(mut self, entry: &Arc<ChainEntry>, config: RankingConfig) -> Self {
        let slots = numbers(entry);
        self.board.configure(config);
        self.entry = Arc::clone(entry);
        // Where all stay where they are, exploration goes on as it was planned.
        if slots != self.slots {
            self.board.place(&slots);
            self.slots = slots;
        }
        self
    }

    /// Makes the ranking as of now. Answers whether it says anything new.
    fn rank(&mut self, now: Instant) -> bool {
        let providers = &self.entry.providers;
        for provider in providers {
            self.board.on_in_flight(provider.slot.number, provider.slot.in_flight());
        }
        let mut ranking =
            self.board.publish(now, |at| providers.get(at).is_some_and(|provider| is_explored(provider, now)));
        ranking.set_own(self.own.rows().collect());
        let new = ranking != *self.ranking;
        if new {
            self.ranking = Arc::new(ranking);
        }
        new
    }

    fn ranked(&self) -> Ranked {
        Ranked { slots: Arc::clone(&self.slots), ranking: Arc::clone(&self.ranking) }
    }

    /// The provider with this slot, if another one could be asked in its place.
    fn provider_with_spare(&self, slot: u64, now: Instant) -> Option<&ProviderEntry> {
        let providers = &self.entry.providers;
        let (of_slot, others): (Vec<_>, Vec<_>) = providers.iter().partition(|provider| provider.slot.number == slot);
        of_slot.first().copied().filter(|_| others.iter().any(|other| is_open(other, now)))
    }

    fn new_leaders(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        for (class, leader) in MethodClass::ALL.into_iter().zip(&mut self.leaders) {
            let leads = self.board.leader(class.into());
            if leads == leader.slot || leader.told.is_some_and(|told| now.since(told) < LEADS_EVERY) {
                continue;
            }
            let was = std::mem::replace(&mut leader.slot, leads);
            let provider = self.entry.providers.iter().find(|provider| Some(provider.slot.number) == leads);
            // The first to be known has won nothing yet.
            if let Some(provider) = provider.filter(|_| was.is_some()) {
                leader.told = Some(now);
                events.push(Event::of(&provider.slot, EventKind::Leads(class)));
            }
        }
        events
    }
}

/// Whether shards would carry out a grant to explore it.
fn is_explored(provider: &ProviderEntry, now: Instant) -> bool {
    is_open(provider, now) && provider.slot.footing.get() == Footing::InStep
}

/// Whether calls can be sent to it.
fn is_open(provider: &ProviderEntry, now: Instant) -> bool {
    !provider.addresses.is_empty()
        && provider.slot.standing.gate(now) == Gate::Open
        && !matches!(provider.slot.footing.get(), Footing::WrongChain | Footing::Refused)
}

fn numbers(entry: &ChainEntry) -> Arc<[u64]> {
    entry.providers.iter().map(|provider| provider.slot.number).collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::Config;
    use crate::control::tls;
    use crate::link::{Outcome, RowKey};
    use crate::routing::Month;

    const CLASS: MethodClass = MethodClass::Read;
    const TICK: Duration = Duration::from_millis(250);

    /// A chain `ethereum` whose providers are these, each `id=path`.
    fn snapshot(providers: &[&str], previous: Option<&Snapshot>) -> Snapshot {
        let lines = providers.iter().map(|provider| {
            let (id, path) = provider.split_once('=').unwrap();
            format!("[[chains.providers]]\nid = \"{id}\"\nurl = \"http://127.0.0.1:8000/{path}\"\n")
        });
        let text = format!("[[chains]]\nname = \"ethereum\"\nid = 1\n{}", lines.collect::<String>());
        let config = Arc::new(Config::parse(&text, "test", |_| None, &[0, 1]).unwrap());
        let address: SocketAddr = "127.0.0.1:8000".parse().unwrap();
        Snapshot::build(
            config,
            previous,
            tls::client_config(None).unwrap(),
            |_| Arc::new([address]),
            |_| Month::default(),
        )
    }

    fn slot(snapshot: &Snapshot, provider: usize) -> u64 {
        snapshot.chains[0].providers[provider].slot.number
    }

    fn measure(rank: &mut Rank, now: Instant, slot: u64, took_ms: u64) {
        let mut row = Row::new(RowKey::of_class(slot, CLASS));
        (0..50).for_each(|_| row.record(Outcome::Success, Duration::from_millis(took_ms)));
        rank.merge(now, 0, &row);
    }

    /// Costs by position, in whole ms; `None` where nothing is known.
    fn costs(rankings: &Rankings) -> Vec<Option<u32>> {
        let row = rankings.chains[0].ranking.row(CLASS.into()).unwrap_or_default();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // some ms
        row.iter().map(|entry| (entry.cost_us < 1e8).then_some((entry.cost_us / 1000.0) as u32)).collect()
    }

    #[test]
    fn what_shards_measured_is_published_with_the_slots_that_it_is_about() {
        let snapshot = snapshot(&["alpha=a", "beta=b"], None);
        let mut rank = Rank::new(Instant::START, &snapshot, 2, 1);
        let first = rank.publish(Instant::START + TICK).unwrap();
        assert_eq!(costs(&first), [], "nothing is known, and that is told once");
        assert!(rank.publish(Instant::START + TICK * 2).is_none());
        measure(&mut rank, Instant::START + TICK * 2, slot(&snapshot, 1), 20);
        let second = rank.publish(Instant::START + TICK * 3).unwrap();
        assert_eq!(costs(&second), [None, Some(19)]);
        assert!(second.chains[0].is_about([slot(&snapshot, 0), slot(&snapshot, 1)].into_iter()));
    }

    #[test]
    fn a_reload_keeps_what_is_known_and_credits_no_replaced_slot() {
        let now = Instant::START + TICK;
        let before = snapshot(&["alpha=a", "beta=b"], None);
        let mut rank = Rank::new(Instant::START, &before, 2, 1);
        measure(&mut rank, now, slot(&before, 0), 40);
        measure(&mut rank, now, slot(&before, 1), 20);
        rank.publish(now);
        // Alpha has another address, and beta another position.
        let after = snapshot(&["beta=b", "alpha=new"], Some(&before));
        rank.place(now, &after);
        measure(&mut rank, now, slot(&before, 0), 40);
        let published = rank.publish(now + TICK).unwrap();
        assert_eq!(costs(&published), [Some(19), None]);
        assert!(published.chains[0].is_about([slot(&after, 0), slot(&after, 1)].into_iter()));
    }

    #[test]
    fn a_new_leader_is_an_event_and_the_first_one_is_none() {
        let snapshot = snapshot(&["alpha=a", "beta=b"], None);
        let mut rank = Rank::new(Instant::START, &snapshot, 1, 1);
        let mut told = |at: u32, provider: usize, took_ms: u64| -> Vec<String> {
            let now = Instant::START + TICK * at;
            measure(&mut rank, now, slot(&snapshot, provider), took_ms);
            rank.publish(now);
            rank.leaders(now).iter().map(|event| format!("{} {}", event.provider, event.kind.name())).collect()
        };
        assert_eq!(told(1, 0, 40), [""; 0]);
        assert_eq!(told(2, 1, 20), ["beta leads"]);
        assert_eq!(told(3, 1, 20), [""; 0]);
        assert_eq!(told(4, 0, 5), [""; 0], "who takes turns is told now and then");
        assert_eq!(told(30, 0, 5), ["alpha leads"]);
    }

    #[test]
    fn who_fails_too_much_over_all_shards_is_opened_while_another_can_be_asked() {
        // Answers and failures in a row's report, reports, whether beta's name leads anywhere → opened.
        for (answers, failures, reports, spare, opened) in
            [(1, 2, 10, true, true), (2, 1, 10, true, false), (1, 2, 3, true, false), (1, 2, 10, false, false)]
        {
            let alpha_alone = ["alpha=a"];
            let snapshot = snapshot(if spare { &["alpha=a", "beta=b"] } else { &alpha_alone }, None);
            let mut rank = Rank::new(Instant::START, &snapshot, 2, 1);
            let mut events = Vec::new();
            for report in 0..reports {
                let now = Instant::START + TICK * (report + 1);
                let mut row = Row::new(RowKey::of_class(slot(&snapshot, 0), CLASS));
                (0..answers).for_each(|_| row.record(Outcome::Success, TICK));
                (0..failures).for_each(|_| row.record(Outcome::Failure, TICK));
                rank.merge(now, report as usize % 2, &row);
                events.extend(rank.judge(now));
            }
            assert_eq!(events.len(), usize::from(opened), "{answers} {failures} {reports} {spare}: {events:?}");
            let gate = snapshot.chains[0].providers[0].slot.standing.gate(Instant::START + TICK * reports);
            assert_eq!(gate == Gate::Open, !opened);
        }
    }

    #[test]
    fn who_is_out_of_step_is_not_explored() {
        for (footing, explored) in [(Footing::InStep, true), (Footing::OutOfStep, false), (Footing::WrongChain, false)]
        {
            let snapshot = snapshot(&["alpha=a", "beta=b"], None);
            let mut rank = Rank::new(Instant::START, &snapshot, 1, 1);
            snapshot.chains[0].providers[1].slot.footing.set(footing);
            let mut grants = (1..50).filter_map(|tick| {
                measure(&mut rank, Instant::START + TICK * tick, slot(&snapshot, 0), 20);
                let published = rank.publish(Instant::START + TICK * tick)?;
                let explore = published.chains[0].ranking.explore(CLASS.into());
                (explore.calls > 0).then_some(explore.provider)
            });
            assert_eq!(grants.any(|provider| provider == 1), explored, "{footing:?}");
        }
    }

    #[test]
    fn calls_under_way_at_other_shards_make_a_provider_dearer() {
        let snapshot = snapshot(&["alpha=a", "beta=b"], None);
        let mut rank = Rank::new(Instant::START, &snapshot, 2, 1);
        let alpha = &snapshot.chains[0].providers[0].slot;
        alpha.tell_in_flight(0, 30);
        alpha.tell_in_flight(1, 10);
        alpha.tell_in_flight(2, 1000);
        let published = rank.publish(Instant::START + TICK).unwrap();
        let offsets: Vec<_> = published.chains[0].ranking.loads().iter().map(|load| load.offset).collect();
        assert_eq!(offsets, [20.0, 0.0], "half of them are this shard's own");
    }
}
