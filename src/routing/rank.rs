//! Who is asked next: gates, then the published ranking, then what is under way.
//!
//! Every strategy gives each provider a *cost*, and the lowest is asked. Asked per attempt and not sorted once, since
//! what stands about providers changes while a first attempt runs, and most calls need only one. Nothing is allocated.
//!
//! | strategy | lowest first |
//! |---|---|
//! | `fastest` | latency |
//! | `priority` | tier, then latency |
//! | `latency-weighted` | −ln(u) · latency / weight, `u` drawn evenly from (0, 1) for each |
//! | `load-balanced` | distance to its turn ([`Turns`]) |
//!
//! **Latency** is the cost that control published for the call's row ([`Ranking`]): the configured percentile over all
//! shards, with hysteresis and widening in it. It is multiplied by the load, `1 + (own calls under way + those
//! elsewhere − the usual ones) / (64 + the usual ones)` where that is above 1: a provider that stops answering grows
//! expensive while its calls pile up, before any of them has failed, and shards do not all run to a new leader at once.
//! Ties go to the first in the config.
//!
//! **Until control has spoken** about a row, the shard's own [means](super::latency) stand in: they are there with the
//! first answer, while a ranking takes two intervals, and a node whose control is stuck at its start still chooses.
//! Once a row is published they are neither read nor fed: one truth, and nothing to compute per answer.
//!
//! **The draw** is a race: each provider runs a time drawn from the exponential distribution whose mean is latency /
//! weight, and the first one in is asked. That makes its chance exactly `(weight / latency) / Σ (weight / latency)`,
//! needs one pass and no sum, and the second attempt's draw among the rest is fair by the same rule. Twice as fast:
//! twice the calls.
//!
//! **Gates come before strategies**, in this order:
//! 1. gate open; or a trial, for a call that may be repeated (only then can a failed trial go unnoticed). Under the
//!    strategies that go by latency, within its tier a provider on trial, or (before control has spoken) without
//!    evidence, goes first: both are bounded (one trial at a time, one exploring call a second), and without them the
//!    first leader would lead for ever;
//! 2. gate open, but [held back](super::Facts::held) while its traffic ramps up;
//! 3. a trial, for a call that may not be repeated;
//! 4. gate open, but below the success-rate floor;
//! 5. gate open, but [out of step](super::Footing) with the chain, for a call that depends on the head, or not asked for
//!    its chain yet: where nobody better is left, the best of them by the call's strategy. Only where `force` permits: no
//!    hedge goes there;
//! 6. shut, the one that opens soonest; 7. parked, likewise. Both only where `force` permits and within the
//!    [`Allowance`]: an answer is worth more than a rule.
//!
//! Providers that lack the method or have no room are never asked, nor those of another chain: their answers are wrong.
//!
//! **Exploration**: control grants a shard some calls of a row that go to one provider for the evidence alone. The next
//! first attempts of repeatable calls, by a strategy that goes by latency, are sent there (one in [`EXPLORE_APART`]),
//! where its gate is open and its tier in use. Held back or not: these calls are fewer than what a ramp begins with.
//! `load-balanced` explores those alone that get no turn, as they are below the success-rate floor: whoever is ready is
//! seen anyway, and one that is well again would else wait until its failures are forgotten.

use std::sync::Arc;
use std::time::Duration;

use super::allowance::Allowance;
use super::breaker::Trial;
use super::candidates::{Providers, Tried};
use super::cost::{Cost, Costs};
use super::footing::Footing;
use super::latency::Latencies;
use super::random::Random;
use super::ranking::{Explore, ROWS_MAX, Ranking, RowIndex};
use super::standing::Gate;
use super::strategy::Strategy;
use super::turns::Turns;
use crate::jsonrpc::{MethodClass, MethodInfo};
use crate::limits::PROVIDERS_PER_CHAIN_MAX;
use crate::time::Instant;

/// At most one call in as many explores: on a quiet chain the others still go to the best.
pub const EXPLORE_APART: u8 = 2;

/// Calls of one shard under way at a provider that double its cost, until control has spoken.
pub const IN_FLIGHT_DOUBLES: f32 = 64.0;

/// What a call asks of ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    pub strategy: Strategy,
    pub class: MethodClass,
    /// By what it is ranked: its class, or the method itself.
    pub row: RowIndex,
    /// Whether sending it twice does no harm.
    pub repeatable: bool,
}

/// The provider that is asked next.
#[derive(Debug, PartialEq, Eq)]
pub struct Pick {
    pub provider: usize,
    /// To be handed in with the outcome.
    pub trial: Option<Trial>,
    /// Its gate was shut.
    pub forced: bool,
    /// Whether another one stands ready should this one fail.
    pub spare: bool,
    /// It was asked for the evidence alone.
    pub explored: Option<InsteadOf>,
}

/// Whom the ranking would have asked, had the call not explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsteadOf {
    pub provider: u8,
    /// What a call to it takes on average, in microseconds; 0 where that is unknown.
    pub expected_us: u32,
}

/// Why nobody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// There are providers, but this shard can send them no more.
    Full,
    /// All that are left lack the method.
    Unsupported,
    /// None is left, or their gates are shut.
    Out,
}

/// What one shard remembers about one chain in order to choose.
#[derive(Clone, Debug)]
pub struct Ranker {
    /// The shard's own means: for rows of which control has not spoken.
    pub latencies: Latencies,
    ranking: Arc<Ranking>,
    /// What is left of each row's grant.
    grants: [Grant; ROWS_MAX],
    shard: u16,
    turns: Turns,
    allowance: Allowance,
    random: Random,
    providers: usize,
}

impl Ranker {
    /// For a chain of `providers`. Shards take different seeds, so that they do not draw alike.
    #[must_use]
    pub fn new(providers: usize, seed: u64) -> Self {
        Self {
            latencies: Latencies::new(providers),
            ranking: Arc::default(),
            grants: [Grant::default(); ROWS_MAX],
            shard: 0,
            turns: Turns::new(providers),
            allowance: Allowance::default(),
            random: Random::new(seed),
            providers: providers.min(PROVIDERS_PER_CHAIN_MAX),
        }
    }

    /// Takes over what `before` knew of the same provider: `was` is its position there, `is` the one here.
    ///
    /// For a reload that keeps providers. Latencies alone: turns start level, the allowance anew, and control ranks the
    /// new positions.
    pub fn take_over(&mut self, before: &Self, was: usize, is: usize) {
        self.latencies.take_over(&before.latencies, was, is);
    }

    /// Goes by `ranking` from now on. One that was made for another number of providers is of another configuration,
    /// and refused; the caller sees to it that positions mean the same providers. `shard` is this shard's number.
    /// Returns what was there, to be freed elsewhere.
    pub fn adopt(&mut self, ranking: Arc<Ranking>, shard: usize) -> Arc<Ranking> {
        if ranking.providers() != self.providers || Arc::ptr_eq(&ranking, &self.ranking) {
            return ranking;
        }
        self.shard = u16::try_from(shard).unwrap_or(u16::MAX);
        for (grant, row) in self.grants.iter_mut().zip(0..) {
            grant.renew(RowIndex::at(row).map_or(Explore::NOBODY, |row| ranking.explore(row)), self.shard);
        }
        std::mem::replace(&mut self.ranking, ranking)
    }

    /// The row that a method is ranked by.
    #[inline]
    #[must_use]
    pub fn row_of(&self, method: &'static MethodInfo) -> RowIndex {
        self.ranking.row_of(method)
    }

    /// What 95 of 100 answers of `provider` to calls of a row take at most, where control has spoken of it.
    #[inline]
    #[must_use]
    pub fn p95(&self, row: RowIndex, provider: usize) -> Option<Duration> {
        let p95_us = self.ranking.row(row)?.get(provider)?.p95_us;
        (p95_us > 0.0).then(|| Duration::from_micros(u64::from(whole(p95_us))))
    }

    /// An answer took `took`. Only while control has not spoken of its class.
    pub fn on_answer(&mut self, provider: usize, class: MethodClass, now: Instant, took: Duration) {
        if self.ranking.row(class.into()).is_none() {
            self.latencies.on_answer(provider, class, now, took);
        }
    }

    /// Chooses among those not `tried`. With `force`, also through a shut gate when none is open.
    pub fn pick(
        &mut self,
        now: Instant,
        demand: Demand,
        tried: Tried,
        force: bool,
        providers: &impl Providers,
    ) -> Result<Pick, Nobody> {
        let mut lost = tried;
        let target = self.explores(demand, tried);
        // A claim that another shard won takes one provider out, so this ends.
        loop {
            let survey = self.survey(now, demand, lost, target, providers);
            let best = survey.best;
            if best.is_nobody() {
                return Err(survey.nobody());
            }
            if best.is_behind() && !force {
                return Err(survey.nobody());
            }
            let forced = !best.is_open();
            if forced && !(force && self.allowance.take(now)) {
                return Err(survey.nobody());
            }
            let trial = if best.on_trial { providers.claim_trial(best.provider, now) } else { None };
            if best.on_trial && trial.is_none() {
                lost.add(best.provider);
                continue;
            }
            let (mut provider, mut explored) = (best.provider, None);
            let by_turns = demand.strategy == Strategy::LoadBalanced;
            let has_turns = by_turns && survey.target.is_ready();
            if !survey.target.is_nobody() && !has_turns && survey.target.may_replace(&best) {
                provider = survey.target.provider;
                explored = self.explored(demand, best.provider, provider);
            }
            if by_turns && provider == best.provider && (best.is_ready() || best.is_behind()) {
                self.turns.take(provider, survey.weights_of_round(now, providers));
            }
            if !survey.published {
                self.latencies.on_sent(provider, demand.class, now);
            }
            return Ok(Pick { provider, trial, forced, spare: survey.leaves_ready(provider), explored });
        }
    }

    /// Who is to be explored by this call.
    fn explores(&mut self, demand: Demand, tried: Tried) -> Option<usize> {
        let grant = &mut self.grants[demand.row.index()];
        if grant.left == 0 {
            return None;
        }
        grant.apart = grant.apart.saturating_sub(1);
        let eligible = demand.repeatable && tried == Tried::none();
        (eligible && grant.apart == 0).then_some(usize::from(grant.provider))
    }

    /// One call of the grant is used, on `target`.
    #[cold]
    #[inline(never)]
    fn explored(&mut self, demand: Demand, best: usize, target: usize) -> Option<InsteadOf> {
        let grant = &mut self.grants[demand.row.index()];
        (grant.left, grant.apart) = (grant.left.saturating_sub(1), EXPLORE_APART);
        let entry = self.ranking.row(demand.row).and_then(|row| row.get(best));
        let expected_us = entry.map_or(0, |entry| whole(entry.mean_us));
        let provider = u8::try_from(best).unwrap_or(u8::MAX);
        (target != best).then_some(InsteadOf { provider, expected_us })
    }

    /// One look at everyone.
    fn survey(
        &mut self,
        now: Instant,
        demand: Demand,
        tried: Tried,
        target: Option<usize>,
        providers: &impl Providers,
    ) -> Survey {
        let Self { latencies, ranking, turns, random, .. } = self;
        let (row, loads) = (ranking.row(demand.row), ranking.loads());
        let mut costs = Costs { now, demand, row, loads, latencies, turns, random };
        let mut survey = Survey::new(row.is_some());
        let mut left = tried.left(providers.count());
        while left != 0 {
            let provider = left.trailing_zeros() as usize;
            left &= left - 1;
            let facts = providers.facts(provider, now);
            if facts.footing == Footing::WrongChain {
                continue;
            }
            if !facts.supports {
                survey.unsupported = true;
                continue;
            }
            survey.supported = true;
            if !facts.room {
                survey.full = true;
                continue;
            }
            let cost = costs.of(provider, &facts);
            survey.ready |= u64::from(cost.is_ready()) << provider;
            survey.behind |= u64::from(cost.is_behind()) << provider;
            if target == Some(provider) && facts.gate == Gate::Open && !cost.is_behind() {
                survey.target = cost;
            }
            if cost.is_below(&survey.best) {
                survey.best = cost;
            }
        }
        survey
    }
}

/// A row's grant as far as this shard has not carried it out.
#[derive(Clone, Copy, Debug, Default)]
struct Grant {
    number: u32,
    provider: u8,
    left: u8,
    /// Calls until the next one may explore.
    apart: u8,
}

impl Grant {
    /// What control says now. The same grant goes on, or without a new one what is left of it; another one, whosever,
    /// takes its place.
    fn renew(&mut self, explore: Explore, shard: u16) {
        if explore.calls > 0 && explore.number != self.number {
            let left = if explore.shard == shard { explore.calls } else { 0 };
            *self = Self { number: explore.number, provider: explore.provider, left, apart: self.apart };
        }
    }
}

#[derive(Debug)]
struct Survey {
    best: Cost,
    /// Who is to be explored, where it can be asked.
    target: Cost,
    /// Control has spoken about the row.
    published: bool,
    /// A bit for each that is ready, held back or not.
    ready: u64,
    /// A bit for each that would be, were its footing sure.
    behind: u64,
    supported: bool,
    unsupported: bool,
    full: bool,
}

impl Survey {
    const fn new(published: bool) -> Self {
        let (best, target) = (Cost::NOBODY, Cost::NOBODY);
        Self { best, target, published, ready: 0, behind: 0, supported: false, unsupported: false, full: false }
    }

    /// Those among whom the turn went round: all that are ready and not held back, or where there are none, the held.
    fn weights_of_round(&self, now: Instant, providers: &impl Providers) -> impl Iterator<Item = (usize, u32)> {
        let (ready, held) = (self.alike(), self.best.is_held());
        (0..PROVIDERS_PER_CHAIN_MAX)
            .filter(move |provider| ready & (1 << provider) != 0)
            .map(move |provider| (provider, providers.facts(provider, now)))
            .filter(move |(_, facts)| facts.held == held)
            .map(|(provider, facts)| (provider, facts.weight.max(1)))
    }

    /// A bit for each that may be asked as well as the best: where nobody's footing is sure, those count as ready.
    const fn alike(&self) -> u64 {
        if self.best.is_behind() { self.behind } else { self.ready }
    }

    /// Whether someone is ready beside the one chosen.
    const fn leaves_ready(&self, chosen: usize) -> bool {
        self.alike() & !(1 << chosen) != 0
    }

    const fn nobody(&self) -> Nobody {
        if self.full {
            Nobody::Full
        } else if self.unsupported && !self.supported {
            Nobody::Unsupported
        } else {
            Nobody::Out
        }
    }
}

/// Microseconds within 0 and 134 s.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn whole(us: f32) -> u32 {
    us as u32
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::super::candidates::Facts;
    use super::super::footing::Footing;
    use super::super::latency::Evidence;
    use super::super::ranking::Entry;
    use super::super::standing::{Outcome, Standing, StandingConfig};
    use super::super::{BreakerConfig, CooldownConfig, Health};
    use super::*;

    const CLASS: MethodClass = MethodClass::Read;
    const READY: Facts = Facts::READY;
    const HELD: Facts = Facts { held: true, ..READY };

    fn ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    const fn shut(until_ms: u64) -> Gate {
        Gate::Shut { until: Instant::from_micros(until_ms * 1000) }
    }

    const fn parked(until_ms: u64) -> Gate {
        Gate::Parked { until: Instant::from_micros(until_ms * 1000) }
    }

    /// Providers as a table; trials are had by asking a real breaker, as often as `trials` says.
    struct Table {
        facts: RefCell<Vec<Facts>>,
        trials: Cell<usize>,
    }

    impl Table {
        fn new(facts: &[Facts]) -> Self {
            Self { facts: RefCell::new(facts.to_vec()), trials: Cell::new(1) }
        }

        fn set(&self, provider: usize, change: impl FnOnce(&mut Facts)) {
            change(&mut self.facts.borrow_mut()[provider]);
        }
    }

    impl Providers for Table {
        fn count(&self) -> usize {
            self.facts.borrow().len()
        }

        fn facts(&self, provider: usize, _now: Instant) -> Facts {
            self.facts.borrow()[provider]
        }

        fn claim_trial(&self, _provider: usize, now: Instant) -> Option<Trial> {
            let left = self.trials.get().checked_sub(1)?;
            self.trials.set(left);
            let breaker = BreakerConfig { failures: 1, cooldown: Duration::ZERO, ..BreakerConfig::DEFAULT };
            let config = StandingConfig { breaker, cooldown: CooldownConfig::default() };
            let standing = Standing::new();
            let outcome = Outcome { health: Health::Failure, class: CLASS, sent: now, trial: None, draw: 0 };
            standing.on_outcome(now, &outcome, &config);
            standing.claim_trial(now + Duration::from_millis(1)).map(|(trial, _)| trial)
        }
    }

    fn demand(strategy: Strategy) -> Demand {
        Demand { strategy, class: CLASS, row: CLASS.into(), repeatable: true }
    }

    /// A ranker that knows these means, in ms at time 0; 0 leaves the provider unknown.
    fn knowing(means_ms: &[u64]) -> Ranker {
        let mut ranker = Ranker::new(means_ms.len(), 1);
        for (provider, &mean_ms) in means_ms.iter().enumerate().filter(|(_, mean)| **mean > 0) {
            ranker.latencies.on_answer(provider, CLASS, ms(0), Duration::from_millis(mean_ms));
        }
        ranker
    }

    /// The order in which one call would go through all of them, gates forced.
    fn order(ranker: &mut Ranker, demand: Demand, table: &Table) -> Vec<usize> {
        let (mut tried, mut order) = (Tried::none(), Vec::new());
        while let Ok(pick) = ranker.pick(ms(0), demand, tried, true, table) {
            assert!(!tried.has(pick.provider), "no provider twice");
            tried.add(pick.provider);
            order.push(pick.provider);
        }
        order
    }

    /// Strategy, latencies in ms, facts, and the order that they make.
    type Case<'a> = (Strategy, &'a [u64], &'a [Facts], &'a [usize]);

    #[test]
    fn orders_by_strategy() {
        use Strategy::{Fastest, Priority};
        let tier = |priority| Facts { priority, ..READY };
        let busy = |in_flight| Facts { in_flight, ..READY };
        let gate = |gate| Facts { gate, ..READY };
        let lacks = Facts { supports: false, ..READY };
        let full = Facts { room: false, ..READY };
        let behind = Facts { footing: Footing::OutOfStep, ..READY };
        let wrong = Facts { footing: Footing::WrongChain, ..READY };
        let cases: [Case<'_>; 25] = [
            (Fastest, &[30, 10, 20], &[READY; 3], &[1, 2, 0]),
            (Fastest, &[10, 10, 10], &[READY; 3], &[0, 1, 2]),
            (Fastest, &[30, 10, 0], &[READY; 3], &[2, 1, 0]),
            (Fastest, &[10, 15], &[busy(16), READY], &[0, 1]),
            (Fastest, &[10, 15], &[busy(64), READY], &[1, 0]),
            (Fastest, &[30, 10], &[READY, tier(2)], &[1, 0]),
            (Priority, &[30, 10], &[READY, tier(2)], &[0, 1]),
            (Priority, &[30, 10, 20], &[tier(2), tier(2), tier(1)], &[2, 1, 0]),
            (Priority, &[30, 10, 0], &[tier(1), tier(1), tier(2)], &[1, 0, 2]),
            (Priority, &[30, 10, 20], &[gate(shut(9)), tier(2), tier(3)], &[1, 2, 0]),
            (Fastest, &[10, 20, 30], &[gate(shut(9)), gate(shut(5)), READY], &[2, 1, 0]),
            (Fastest, &[10, 20, 30], &[gate(parked(1)), gate(shut(5)), gate(parked(0))], &[1, 2, 0]),
            (Fastest, &[10, 20, 30], &[lacks, full, READY], &[2]),
            (Fastest, &[10, 20, 30], &[READY, READY, gate(Gate::Trial)], &[2, 0, 1]),
            (Priority, &[10, 20, 30], &[READY, READY, Facts { priority: 2, ..gate(Gate::Trial) }], &[0, 1, 2]),
            (Fastest, &[10, 20, 30], &[HELD, READY, READY], &[1, 2, 0]),
            (Fastest, &[20, 10, 30], &[HELD, HELD, gate(shut(9))], &[1, 0, 2]),
            (Fastest, &[10, 20, 30], &[HELD, READY, gate(Gate::Trial)], &[2, 1, 0]),
            (Priority, &[10, 20, 30], &[HELD, Facts { priority: 9, ..READY }, HELD], &[1, 0, 2]),
            (Fastest, &[10, 20, 30], &[behind, HELD, READY], &[2, 1, 0]),
            (Fastest, &[30, 20, 10], &[behind, behind, gate(shut(1))], &[1, 0, 2]),
            (Priority, &[30, 10, 20], &[behind, Facts { priority: 2, ..behind }, gate(parked(1))], &[0, 1, 2]),
            (Fastest, &[10, 0], &[READY, Facts { gate: Gate::Trial, ..behind }], &[0, 1]),
            (Fastest, &[10, 20], &[Facts { footing: Footing::Unasked, ..READY }, READY], &[1, 0]),
            (Fastest, &[10, 20, 30], &[wrong, Facts { gate: shut(1), ..wrong }, READY], &[2]),
        ];
        for (strategy, means_ms, facts, expected) in cases {
            let order = order(&mut knowing(means_ms), demand(strategy), &Table::new(facts));
            assert_eq!(order, expected, "{strategy:?} {means_ms:?} {facts:?}");
        }
    }

    #[test]
    fn those_whose_footing_is_not_sure_are_ready_among_themselves_alone() {
        let pick = |facts: &[Facts], force| {
            knowing(&[10, 20]).pick(ms(0), demand(Strategy::Fastest), Tried::none(), force, &Table::new(facts))
        };
        let behind = Facts { footing: Footing::OutOfStep, ..READY };
        let to = |provider, spare| Ok(Pick { provider, trial: None, forced: false, spare, explored: None });
        assert_eq!(pick(&[behind, behind], true), to(0, true));
        assert_eq!(pick(&[behind, READY], true), to(1, false));
        assert_eq!(pick(&[behind, Facts { gate: shut(1), ..READY }], true), to(0, false));
        assert_eq!(pick(&[behind, behind], false), Err(Nobody::Out), "no hedge goes there");
        let facts = [Facts { footing: Footing::WrongChain, ..READY }];
        assert_eq!(pick(&facts, true), Err(Nobody::Out));
        let mut ranker = knowing(&[10, 20]);
        let table = Table::new(&[behind, Facts { footing: Footing::Unasked, ..READY }]);
        let turns = (0..4).map(|_| ranker.pick(ms(0), demand(Strategy::LoadBalanced), Tried::none(), true, &table));
        let turns: Vec<_> = turns.map(|pick| pick.expect("a pick").provider).collect();
        assert_eq!(turns, [0, 1, 0, 1]);
    }

    #[test]
    fn a_call_that_cannot_be_repeated_neither_explores_nor_goes_on_trial() {
        let once = Demand { repeatable: false, ..demand(Strategy::Fastest) };
        let facts = [READY, Facts { gate: Gate::Trial, ..READY }, READY, Facts { gate: shut(1), ..READY }];
        assert_eq!(order(&mut knowing(&[30, 10, 0, 10]), once, &Table::new(&facts)), [0, 2, 1, 3]);
        let facts = [Facts { gate: Gate::Trial, ..READY }, HELD];
        assert_eq!(order(&mut knowing(&[10, 10]), once, &Table::new(&facts)), [1, 0], "rather one that comes back");
    }

    #[test]
    fn a_trial_that_another_shard_won_is_passed_over() {
        let table = Table::new(&[READY, Facts { gate: Gate::Trial, ..READY }]);
        table.trials.set(0);
        let pick = knowing(&[10, 10]).pick(ms(0), demand(Strategy::Fastest), Tried::none(), true, &table);
        assert_eq!(pick, Ok(Pick { provider: 0, trial: None, forced: false, spare: false, explored: None }));
    }

    #[test]
    fn nobody_has_a_reason() {
        let lacks = Facts { supports: false, ..READY };
        let full = Facts { room: false, ..READY };
        let out = Facts { gate: shut(1), ..READY };
        let cases: [(&[Facts], Nobody); 6] = [
            (&[], Nobody::Out),
            (&[out, out], Nobody::Out),
            (&[out, full], Nobody::Full),
            (&[lacks, lacks], Nobody::Unsupported),
            (&[lacks, full], Nobody::Full),
            (&[lacks, out], Nobody::Out),
        ];
        for (facts, expected) in cases {
            let table = Table::new(facts);
            let pick = Ranker::new(2, 1).pick(ms(0), demand(Strategy::Priority), Tried::none(), false, &table);
            assert_eq!(pick, Err(expected), "{facts:?}");
        }
    }

    #[test]
    fn shut_gates_are_forced_within_the_allowance() {
        let table = Table::new(&[Facts { gate: shut(5000), ..READY }]);
        let mut ranker = Ranker::new(1, 1);
        let mut forced = 0;
        for i in 0..10_000 {
            let pick = ranker.pick(ms(i), demand(Strategy::Fastest), Tried::none(), true, &table);
            forced += usize::from(pick.is_ok_and(|pick| pick.forced));
        }
        assert_eq!(forced, 50 + 499);
    }

    #[test]
    fn turns_go_by_weight_and_skip_who_is_out() {
        let weight = |weight| Facts { weight, ..READY };
        let table = Table::new(&[weight(3), weight(1), weight(2)]);
        let mut ranker = Ranker::new(3, 1);
        let shares = |ranker: &mut Ranker| {
            let mut shares = [0; 3];
            for _ in 0..600 {
                let pick = ranker.pick(ms(0), demand(Strategy::LoadBalanced), Tried::none(), false, &table);
                shares[pick.unwrap().provider] += 1;
            }
            shares
        };
        assert_eq!(shares(&mut ranker), [300, 100, 200]);
        table.set(0, |facts| facts.gate = shut(1));
        assert_eq!(shares(&mut ranker), [0, 200, 400]);
        table.set(0, |facts| *facts = HELD);
        assert_eq!(shares(&mut ranker), [0, 200, 400], "it comes back");
        table.set(1, |facts| facts.gate = shut(1));
        table.set(2, |facts| facts.held = true);
        assert_eq!(shares(&mut ranker), [200, 0, 400], "nobody else is ready: those held back have turns, too");
    }

    #[test]
    fn draws_go_by_weight_over_latency() {
        let weight = |weight| Facts { weight, ..READY };
        let table = Table::new(&[weight(1), weight(1), weight(4)]);
        let mut ranker = knowing(&[10, 20, 40]);
        let mut shares = [0_u32; 3];
        for _ in 0..25_000 {
            let pick = ranker.pick(ms(0), demand(Strategy::LatencyWeighted), Tried::none(), false, &table);
            shares[pick.unwrap().provider] += 1;
        }
        // 1/10 : 1/20 : 4/40 = 2 : 1 : 2, five standard deviations.
        for (share, expected) in shares.into_iter().zip([10_000_u32, 5_000, 10_000]) {
            assert!(share.abs_diff(expected) < 390, "{shares:?}");
        }
    }

    #[test]
    fn a_reload_keeps_what_was_known_of_those_that_stay() {
        let (before, mut after) = (knowing(&[30, 10]), Ranker::new(3, 2));
        after.take_over(&before, 1, 2);
        after.take_over(&before, 7, 0);
        after.take_over(&before, 0, 7);
        let evidence = |provider| after.latencies.evidence(provider, CLASS, ms(0));
        let known = Evidence::Known(10_000.0);
        assert_eq!([0, 1, 2].map(evidence), [Evidence::Unknown, Evidence::Unknown, known]);
    }

    #[test]
    fn a_silent_unknown_gets_one_call_a_second() {
        let table = Table::new(&[READY, READY]);
        let mut ranker = knowing(&[10, 0]);
        let mut asked = 0;
        for i in 0..10_000 {
            let pick = ranker.pick(ms(i), demand(Strategy::Fastest), Tried::none(), false, &table).unwrap();
            asked += usize::from(pick.provider == 1);
            ranker.latencies.on_answer(0, CLASS, ms(i), Duration::from_millis(10));
        }
        assert_eq!(asked, 10);
    }

    const ROW: RowIndex = RowIndex::of_class(CLASS);

    /// A published ranking of these costs, in ms.
    fn published(costs_ms: &[f32], explore: Explore) -> Arc<Ranking> {
        let mut ranking = Ranking::new(costs_ms.len(), 64.0);
        let entry = |&ms: &f32| Entry { cost_us: ms * 1000.0, mean_us: ms * 500.0, ..Entry::UNKNOWN };
        ranking.set(ROW, costs_ms.iter().map(entry), explore);
        Arc::new(ranking)
    }

    fn ranked(costs_ms: &[f32], explore: Explore) -> Ranker {
        let mut ranker = Ranker::new(costs_ms.len(), 1);
        ranker.adopt(published(costs_ms, explore), 0);
        ranker
    }

    #[test]
    fn what_control_published_comes_before_own_means() {
        let mut ranker = knowing(&[10, 20, 30]);
        let table = Table::new(&[READY; 3]);
        assert_eq!(order(&mut ranker, demand(Strategy::Fastest), &table), [0, 1, 2]);
        ranker.adopt(published(&[30.0, 20.0, 10.0], Explore::NOBODY), 0);
        assert_eq!(order(&mut ranker, demand(Strategy::Fastest), &table), [2, 1, 0]);
        ranker.adopt(published(&[1.0], Explore::NOBODY), 0);
        assert_eq!(order(&mut ranker, demand(Strategy::Fastest), &table), [2, 1, 0], "one of another configuration");
        ranker.on_answer(0, CLASS, ms(0), Duration::from_secs(9));
        assert_eq!(ranker.latencies.evidence(0, CLASS, ms(0)), Evidence::Known(10_000.0), "no longer fed");
    }

    #[test]
    fn who_is_below_the_floor_goes_after_all_that_are_ready() {
        let mut ranking = Ranking::new(3, 64.0);
        let entry = |(cost_us, poor)| Entry { cost_us, poor, ..Entry::UNKNOWN };
        ranking.set(ROW, [(10.0, true), (30.0, false), (20.0, true)].into_iter().map(entry), Explore::NOBODY);
        let mut ranker = Ranker::new(3, 1);
        ranker.adopt(Arc::new(ranking), 0);
        for strategy in [Strategy::Fastest, Strategy::Priority] {
            assert_eq!(order(&mut ranker, demand(strategy), &Table::new(&[READY; 3])), [1, 0, 2], "{strategy:?}");
        }
    }

    #[test]
    fn calls_beyond_the_usual_make_dearer() {
        let mut ranking = Ranking::new(2, 64.0);
        let entry = |cost_us| Entry { cost_us, ..Entry::UNKNOWN };
        ranking.set(ROW, [100.0, 150.0].into_iter().map(entry), Explore::NOBODY);
        ranking.set_load(0, 50.0, 100.0, 64.0);
        let mut ranker = Ranker::new(2, 1);
        ranker.adopt(Arc::new(ranking), 0);
        // Own calls under way → who is asked: 50 elsewhere and 50 here are usual, 82 beyond make it half as dear again.
        for (in_flight, expected) in [(0, 0), (50, 0), (131, 0), (133, 1)] {
            let table = Table::new(&[Facts { in_flight, ..READY }, READY]);
            let pick = ranker.pick(ms(0), demand(Strategy::Fastest), Tried::none(), true, &table);
            assert_eq!(pick.map(|pick| pick.provider), Ok(expected), "{in_flight}");
        }
    }

    #[test]
    fn a_grant_is_carried_out_once_by_its_shard_and_apart() {
        let explore = Explore { provider: 2, shard: 1, calls: 3, number: 5 };
        let table = Table::new(&[READY; 3]);
        let asked = |ranker: &mut Ranker, demand| -> String {
            let provider = |_| ranker.pick(ms(0), demand, Tried::none(), true, &table).map_or(9, |pick| pick.provider);
            (0..8).map(provider).map(|provider| provider.to_string()).collect()
        };
        let fastest = demand(Strategy::Fastest);
        let mut ranker = Ranker::new(3, 1);
        ranker.adopt(published(&[10.0, 20.0, 30.0], explore), 0);
        assert_eq!(asked(&mut ranker, fastest), "00000000", "another shard's");
        let mut ranker = Ranker::new(3, 1);
        ranker.adopt(published(&[10.0, 20.0, 30.0], explore), 1);
        assert_eq!(asked(&mut ranker, Demand { repeatable: false, ..fastest }), "00000000");
        assert_eq!(asked(&mut ranker, demand(Strategy::LoadBalanced)), "01201201");
        assert_eq!(asked(&mut ranker, fastest), "20202000");
        ranker.adopt(published(&[10.0, 20.0, 30.0], explore), 1);
        assert_eq!(asked(&mut ranker, fastest), "00000000", "the same grant again");
        ranker.adopt(published(&[10.0, 20.0, 30.0], Explore { number: 6, ..explore }), 1);
        assert_eq!(asked(&mut ranker, fastest), "02020200", "a new one, apart from the last");
    }

    #[test]
    fn who_gets_no_turn_is_explored_by_load_balanced_calls_and_takes_none() {
        let explore = Explore { provider: 2, shard: 0, calls: 2, number: 1 };
        let entry = |cost_us: f32, poor| Entry { cost_us, poor, ..Entry::UNKNOWN };
        for (poor, expected) in [(true, "20210101"), (false, "01201201")] {
            let mut ranking = Ranking::new(3, 64.0);
            ranking.set(ROW, [entry(1e4, false), entry(2e4, false), entry(3e4, poor)].into_iter(), explore);
            let mut ranker = Ranker::new(3, 1);
            ranker.adopt(Arc::new(ranking), 0);
            let table = Table::new(&[READY; 3]);
            let mut asked = || ranker.pick(ms(0), demand(Strategy::LoadBalanced), Tried::none(), true, &table);
            let order: Vec<_> = (0..8).map(|_| asked().map_or(9, |pick| pick.provider)).collect();
            assert_eq!(order.iter().map(ToString::to_string).collect::<String>(), expected);
        }
    }

    #[test]
    fn exploring_tells_whom_it_was_instead_of_and_respects_gates_and_tiers() {
        let explore = Explore { provider: 1, shard: 0, calls: 1, number: 1 };
        let pick = |facts: &[Facts], strategy, tried| {
            ranked(&[10.0, 20.0], explore).pick(ms(0), demand(strategy), tried, true, &Table::new(facts))
        };
        let explored = pick(&[READY; 2], Strategy::Fastest, Tried::none()).expect("a pick");
        let instead = InsteadOf { provider: 0, expected_us: 5_000 };
        assert_eq!((explored.provider, explored.explored, explored.spare), (1, Some(instead), true));
        let out = Facts { gate: shut(9), ..READY };
        let low = Facts { priority: 2, ..READY };
        for (facts, strategy) in [([READY, out], Strategy::Fastest), ([READY, low], Strategy::Priority)] {
            let pick = pick(&facts, strategy, Tried::none()).expect("a pick");
            assert_eq!((pick.provider, pick.explored), (0, None), "{facts:?}");
        }
        let mut tried = Tried::none();
        tried.add(7);
        assert_eq!(
            pick(&[READY; 2], Strategy::Fastest, tried).map(|pick| pick.provider),
            Ok(0),
            "second attempts do not"
        );
    }
}
