//! Which provider a node asks by itself, for what, and when.
//!
//! Two questions, cheap everywhere: `eth_chainId`, before anything is sent to a provider, then now and then, and whenever it has
//! not been reachable, since what comes back may be another; and `eth_blockNumber`, every few seconds where clients' calls
//! say too little about a provider, seldom where they say enough. A head that clients' traffic brought by itself puts off
//! the question for it. Every interval is shortened by a draw, so that nodes do not ask together.
//!
//! Probes are calls under a vendor's plan like any other: a provider that refuses one for its rate is asked half as often
//! each time, down to a limit, until it answers again. One question at a time for each provider, and one in
//! [`ProbeConfig::spacing`] for each chain: a config of twenty providers is no burst at start.
//!
//! Left out: asking (a probe goes through the one door like a client's call), and what the answers mean ([`Heads`](super::Heads)).

use std::time::Duration;

use super::breaker::{back_off, jittered};
use super::random::Random;
use crate::limits::PROVIDERS_PER_CHAIN_MAX;
use crate::time::Instant;

/// How often providers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// For a head, where traffic is thin: 8,640 calls a day and provider, a few percent of the smallest free plans.
    pub every: Duration,
    /// For a head, where clients' calls tell how a provider does: only its head is left to be seen.
    pub every_busy: Duration,
    /// Clients' calls between two questions from which traffic is no longer thin: the volume that opens a breaker.
    pub busy_calls: u64,
    /// For a chain's id: it changes when somebody mistypes a name, and then at once for ever.
    pub chain_id_every: Duration,
    /// The longest wait for a provider that limits our rate.
    pub limited_max: Duration,
    /// Between two probes of one chain.
    pub spacing: Duration,
    /// The part of an interval that a draw may take off it, 0 to 100.
    pub jitter_percent: u32,
    /// A probe without a word for as long is forgotten: longer than its deadline.
    pub lease: Duration,
}

impl ProbeConfig {
    pub const DEFAULT: Self = Self {
        every: Duration::from_secs(10),
        every_busy: Duration::from_secs(30),
        busy_calls: 20,
        chain_id_every: Duration::from_mins(5),
        limited_max: Duration::from_mins(5),
        spacing: Duration::from_millis(50),
        jitter_percent: 20,
        lease: Duration::from_secs(15),
    };
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A question to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub provider: usize,
    pub question: Question,
}

/// In the order in which they are asked when both are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// `eth_chainId`.
    ChainId,
    /// `eth_blockNumber`.
    BlockNumber,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeEnd {
    /// By an answer, whatever it says; errors other than the two below too.
    Answered,
    /// It limits our rate, and perhaps says for how long.
    Limited(Option<Duration>),
    /// It was not reached.
    Failed,
}

/// When one chain's providers are asked.
#[derive(Clone, Debug)]
pub struct Probes {
    config: ProbeConfig,
    random: Random,
    /// Not before this, whoever is due.
    next: Instant,
    providers: Vec<Due>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Due {
    chain_id: Instant,
    head: Instant,
    /// A probe is under way until then at the latest.
    busy_until: Instant,
    /// Clients' calls since the last question for a head.
    calls: u64,
    /// Refusals in a row.
    limited: u8,
}

impl Due {
    /// What is asked next, and when. Of two that are due the chain's id comes first: no head counts without it.
    fn question(&self, now: Instant) -> (Instant, Question) {
        let (at, question) = if self.chain_id <= self.head.max(now) {
            (self.chain_id, Question::ChainId)
        } else {
            (self.head, Question::BlockNumber)
        };
        (at.max(self.busy_until), question)
    }
}

impl Probes {
    /// All are due at once, and asked one after the other. `seed` differs between nodes.
    #[must_use]
    pub fn new(providers: usize, config: ProbeConfig, seed: u64) -> Self {
        let providers = vec![Due::default(); providers.min(PROVIDERS_PER_CHAIN_MAX)];
        Self { config, random: Random::new(seed), next: Instant::START, providers }
    }

    /// Takes over what `before` knew of the same provider: `was` is its position there, `is` the one here. For a reload.
    pub fn take_over(&mut self, before: &Self, was: usize, is: usize) {
        if let (Some(due), Some(place)) = (before.providers.get(was), self.providers.get_mut(is)) {
            *place = *due;
            self.next = self.next.max(before.next);
        }
    }

    /// When [`Probes::next_probe`] will next have one.
    #[must_use]
    pub fn next_at(&self, now: Instant) -> Instant {
        let soonest = self.providers.iter().map(|due| due.question(now).0).min();
        soonest.map_or(Instant::NEVER, |at| at.max(self.next))
    }

    /// The probe that is due, if one is: it is to be sent, and its end told by [`Probes::on_end`].
    pub fn next_probe(&mut self, now: Instant) -> Option<Probe> {
        if now < self.next {
            return None;
        }
        let due = self.providers.iter().map(|due| due.question(now)).enumerate();
        let (provider, (at, question)) = due.min_by_key(|(_, (at, question))| (*at, *question))?;
        if at > now {
            return None;
        }
        self.next = now + self.config.spacing;
        let every = self.drawn(match question {
            Question::ChainId => self.config.chain_id_every,
            Question::BlockNumber if self.providers[provider].calls >= self.config.busy_calls => self.config.every_busy,
            Question::BlockNumber => self.config.every,
        });
        let due = &mut self.providers[provider];
        due.busy_until = now + self.config.lease;
        match question {
            Question::ChainId => due.chain_id = now + every,
            Question::BlockNumber => (due.head, due.calls) = (now + every, 0),
        }
        Some(Probe { provider, question })
    }

    /// A probe has ended.
    pub fn on_end(&mut self, now: Instant, probe: Probe, end: ProbeEnd) {
        let config = self.config;
        let times = self.providers.get(probe.provider).map_or(0, |due| due.limited).saturating_add(1);
        let rest = back_off(config.every, config.limited_max, times.saturating_add(1));
        let (rest, every) = (self.drawn(rest), self.drawn(config.every));
        let Some(due) = self.providers.get_mut(probe.provider) else { return };
        due.busy_until = Instant::START;
        match end {
            ProbeEnd::Answered => due.limited = 0,
            ProbeEnd::Limited(asked) => {
                due.limited = times;
                let from = now + asked.unwrap_or_default().min(config.limited_max).max(rest);
                due.head = due.head.max(from);
                // What was not told is still to be asked.
                let again = if probe.question == Question::ChainId { from } else { due.chain_id };
                due.chain_id = again.max(from);
            }
            ProbeEnd::Failed => {
                due.head = due.head.max(now + every);
                // It may be another when it comes back: asked for its chain first.
                due.chain_id = due.head;
            }
        }
    }

    /// Clients' traffic brought a head of `provider` by itself.
    pub fn on_head(&mut self, now: Instant, provider: usize) {
        let every = self.drawn(self.config.every);
        if let Some(due) = self.providers.get_mut(provider) {
            due.head = due.head.max(now + every);
        }
    }

    /// Clients' calls that `provider` has answered since this was last told.
    pub fn on_calls(&mut self, provider: usize, calls: u64) {
        if let Some(due) = self.providers.get_mut(provider) {
            due.calls = due.calls.saturating_add(calls);
        }
    }

    fn drawn(&mut self, every: Duration) -> Duration {
        jittered(every, self.config.jitter_percent, self.random.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: ProbeConfig = ProbeConfig { jitter_percent: 0, ..ProbeConfig::DEFAULT };

    fn ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    /// The probes up to `to_ms`, each ended at once as `end` has it.
    fn run(
        probes: &mut Probes,
        from_ms: u64,
        to_ms: u64,
        end: impl Fn(Probe) -> Option<ProbeEnd>,
    ) -> Vec<(u64, Probe)> {
        let (mut now, mut asked) = (ms(from_ms), Vec::new());
        while now < ms(to_ms) {
            if let Some(probe) = probes.next_probe(now) {
                asked.push((now.micros() / 1000, probe));
                if let Some(end) = end(probe) {
                    probes.on_end(now, probe, end);
                }
            }
            let next = probes.next_at(now);
            assert!(next > now, "a loop of probes");
            now = next;
        }
        asked
    }

    const ANSWERED: fn(Probe) -> Option<ProbeEnd> = |_| Some(ProbeEnd::Answered);

    fn count(asked: &[(u64, Probe)], provider: usize, question: Question) -> usize {
        asked.iter().filter(|(_, probe)| *probe == Probe { provider, question }).count()
    }

    #[test]
    fn the_chain_is_asked_for_before_the_head_and_nobody_together() {
        let mut probes = Probes::new(3, CONFIG, 1);
        let asked = run(&mut probes, 0, 1000, ANSWERED);
        let (times, questions): (Vec<_>, Vec<_>) = asked.into_iter().map(|(at, probe)| (at, probe.question)).unzip();
        assert_eq!(times, [0, 50, 100, 150, 200, 250]);
        for (provider, first) in [(0, 0), (1, 1), (2, 2)] {
            assert_eq!(questions[first], Question::ChainId, "{provider}");
        }
        assert_eq!(questions[3..], [Question::BlockNumber; 3]);
    }

    #[test]
    fn thin_traffic_is_probed_more_often() {
        let mut probes = Probes::new(2, CONFIG, 1);
        let mut asked = Vec::new();
        for second in 0..600 {
            probes.on_calls(0, 5);
            asked.extend(run(&mut probes, second * 1000, second * 1000 + 1000, ANSWERED));
        }
        assert_eq!(count(&asked, 0, Question::BlockNumber), 21, "each half minute, after a first look");
        assert_eq!(count(&asked, 1, Question::BlockNumber), 60);
        for provider in [0, 1] {
            assert_eq!(count(&asked, provider, Question::ChainId), 2);
        }
    }

    #[test]
    fn a_head_that_traffic_brings_is_not_asked_for() {
        let mut probes = Probes::new(1, CONFIG, 1);
        let mut asked = Vec::new();
        for second in 0..120 {
            probes.on_head(ms(second * 1000), 0);
            asked.extend(run(&mut probes, second * 1000, second * 1000 + 1000, ANSWERED));
        }
        assert_eq!(asked.len(), 1, "for its chain: {asked:?}");
    }

    #[test]
    fn a_provider_that_limits_us_is_asked_less_and_less() {
        let mut probes = Probes::new(1, CONFIG, 1);
        run(&mut probes, 0, 1000, ANSWERED);
        let limited = run(&mut probes, 1000, 1_500_000, |_| Some(ProbeEnd::Limited(None)));
        let gaps: Vec<_> =
            limited.windows(2).map(|pair| (pair[1].0 - pair[0].0) / 1000).filter(|gap| *gap > 0).collect();
        assert_eq!(gaps[..6], [20, 40, 80, 160, 300, 300]);
        // An answer ends it.
        let asked = run(&mut probes, 1_800_000, 1_860_000, ANSWERED);
        assert_eq!(count(&asked, 0, Question::BlockNumber), 6);
    }

    #[test]
    fn what_the_provider_asks_for_holds_within_bounds() {
        for (asked_s, waits_ms) in [(0, 20_000), (60, 60_000), (86_400, 300_000)] {
            let mut probes = Probes::new(1, CONFIG, 1);
            let probe = probes.next_probe(ms(0)).unwrap();
            assert_eq!(probe.question, Question::ChainId);
            probes.on_end(ms(0), probe, ProbeEnd::Limited(Some(Duration::from_secs(asked_s))));
            assert_eq!(probes.next_at(ms(0)), ms(waits_ms));
            assert_eq!(probes.next_probe(ms(waits_ms)), Some(probe), "it was not told");
        }
    }

    #[test]
    fn what_comes_back_is_asked_for_its_chain_first() {
        let mut probes = Probes::new(1, CONFIG, 1);
        run(&mut probes, 0, 11_000, ANSWERED);
        let failed = run(&mut probes, 11_000, 61_000, |_| Some(ProbeEnd::Failed));
        assert_eq!(failed.len(), 5, "a dead one is asked every ten seconds: {failed:?}");
        let back = run(&mut probes, 61_000, 75_000, ANSWERED);
        let questions: Vec<_> = back.iter().map(|(_, probe)| probe.question).collect();
        assert_eq!(questions, [Question::ChainId, Question::BlockNumber]);
    }

    #[test]
    fn a_probe_without_a_word_is_forgotten_and_never_doubled() {
        let mut probes = Probes::new(1, CONFIG, 1);
        let asked = run(&mut probes, 0, 60_000, |_| None);
        assert_eq!(asked.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 15_000, 30_000, 45_000]);
    }

    #[test]
    fn intervals_are_drawn() {
        let config = ProbeConfig { jitter_percent: 20, ..CONFIG };
        let mut probes = Probes::new(1, config, 1);
        let asked = run(&mut probes, 0, 1_000_000, ANSWERED);
        let heads: Vec<_> = asked.iter().filter(|(_, probe)| probe.question == Question::BlockNumber).collect();
        assert!((95..=130).contains(&heads.len()), "{}", heads.len());
        assert!(heads.windows(2).all(|pair| (8_000..=10_050).contains(&(pair[1].0 - pair[0].0))));
        assert_eq!(Probes::new(0, config, 1).next_at(ms(0)), Instant::NEVER);
        assert_eq!(Probes::new(0, config, 1).next_probe(ms(0)), None);
    }
}
