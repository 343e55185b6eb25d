//! Who is asked next: the strategies.
//!
//! Every strategy gives each provider a *cost*, and the lowest is asked. Asked per attempt and not sorted once, since what
//! stands about providers changes while a first attempt runs, and most calls need only one. Nothing is allocated.
//!
//! | strategy | lowest first |
//! |---|---|
//! | `fastest` | latency |
//! | `priority` | tier, then latency |
//! | `latency-weighted` | −ln(u) · latency / weight, `u` drawn evenly from (0, 1) for each |
//! | `load-balanced` | distance to its turn ([`Turns`]) |
//!
//! **Latency** is the shard's [mean](super::latency) for the call's class, times `1 + in flight / 64`: so that a provider that
//! stops answering grows expensive while its calls pile up, before any of them has failed; at usual loads it is nothing.
//! Ties go to the first in the config.
//!
//! **The draw** is a race: each provider runs a time drawn from the exponential distribution whose mean is latency / weight,
//! and the first one in is asked. That makes its chance exactly `(weight / latency) / Σ (weight / latency)`, needs one
//! pass and no sum, and the second attempt's draw among the rest is fair by the same rule. Twice as fast: twice the calls.
//!
//! **Gates come before strategies**, in this order:
//! 1. gate open; or a trial, for a call that may be repeated (only then can a failed trial go unnoticed). Under the
//!    strategies that go by latency, within its tier a provider on trial or without evidence goes first: both are bounded (one trial
//!    at a time, one exploring call a second), and without them the first leader would lead for ever;
//! 2. a trial, for a call that may not be repeated;
//! 3. shut, the one that opens soonest; 4. parked, likewise. Both only where `force` permits and within the
//!    [`Allowance`]: an answer is worth more than a rule.
//!
//! Providers that lack the method or have no room are never asked.

use super::allowance::Allowance;
use super::breaker::Trial;
use super::candidates::{Facts, Providers, Tried};
use super::latency::{Evidence, Latencies};
use super::random::Random;
use super::standing::Gate;
use super::strategy::Strategy;
use super::turns::Turns;
use crate::jsonrpc::MethodClass;
use crate::limits::PROVIDERS_PER_CHAIN_MAX;
use crate::time::Instant;

/// Calls of one shard under way at a provider that double its cost.
pub const IN_FLIGHT_DOUBLES: f64 = 64.0;

/// What a call asks of ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    pub strategy: Strategy,
    pub class: MethodClass,
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
    pub latencies: Latencies,
    turns: Turns,
    allowance: Allowance,
    random: Random,
}

impl Ranker {
    /// For a chain of `providers`. Shards take different seeds, so that they do not draw alike.
    #[must_use]
    pub fn new(providers: usize, seed: u64) -> Self {
        Self {
            latencies: Latencies::new(providers),
            turns: Turns::new(providers),
            allowance: Allowance::default(),
            random: Random::new(seed),
        }
    }

    /// Takes over what `before` knew of the same provider: `was` is its position there, `is` the one here.
    ///
    /// For a reload that keeps providers. Latencies alone: turns start level, and the allowance anew.
    pub fn take_over(&mut self, before: &Self, was: usize, is: usize) {
        self.latencies.take_over(&before.latencies, was, is);
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
        // A claim that another shard won takes one provider out, so this ends.
        loop {
            let survey = self.survey(now, demand, lost, providers);
            let Some(best) = survey.best else {
                return Err(survey.nobody());
            };
            let forced = matches!(best.rank, Rank::Shut | Rank::Parked);
            if forced && !(force && self.allowance.take(now)) {
                return Err(survey.nobody());
            }
            let trial = if best.on_trial { providers.claim_trial(best.provider, now) } else { None };
            if best.on_trial && trial.is_none() {
                lost.add(best.provider);
                continue;
            }
            if best.rank == Rank::Ready && demand.strategy == Strategy::LoadBalanced {
                self.turns.take(best.provider, survey.ready_weights(now, providers));
            }
            self.latencies.on_sent(best.provider, demand.class, now);
            return Ok(Pick { provider: best.provider, trial, forced, spare: survey.leaves_ready(best) });
        }
    }

    /// One look at everyone.
    fn survey(&mut self, now: Instant, demand: Demand, tried: Tried, providers: &impl Providers) -> Survey {
        let mut survey = Survey::default();
        for provider in 0..providers.count().min(PROVIDERS_PER_CHAIN_MAX) {
            if tried.has(provider) {
                continue;
            }
            let facts = providers.facts(provider, now);
            if !facts.supports {
                survey.unsupported += 1;
                continue;
            }
            survey.supported += 1;
            if !facts.room {
                survey.full += 1;
                continue;
            }
            let cost = self.cost(now, demand, provider, &facts);
            if cost.rank == Rank::Ready {
                survey.ready |= 1 << provider;
            }
            if survey.best.as_ref().is_none_or(|best| cost.is_below(best)) {
                survey.best = Some(cost);
            }
        }
        survey
    }

    fn cost(&mut self, now: Instant, demand: Demand, provider: usize, facts: &Facts) -> Cost {
        let rank = Rank::of(facts.gate, demand.repeatable);
        let on_trial = facts.gate == Gate::Trial;
        let mut cost = Cost { provider, rank, on_trial, tier: 0, known: true, amount: 0.0 };
        match facts.gate {
            Gate::Shut { until } | Gate::Parked { until } => {
                cost.amount = until.since(now).as_secs_f64();
                return cost;
            }
            Gate::Open | Gate::Trial => {}
        }
        let evidence = self.latencies.evidence(provider, demand.class, now);
        let latency_us = evidence.micros().max(1.0) * (1.0 + f64::from(facts.in_flight) / IN_FLIGHT_DOUBLES);
        let weight = facts.weight.max(1);
        let curious = demand.repeatable && (on_trial || evidence == Evidence::Unknown);
        match demand.strategy {
            Strategy::Priority => {
                cost.tier = facts.priority;
                (cost.known, cost.amount) = (!curious, latency_us);
            }
            Strategy::Fastest => (cost.known, cost.amount) = (!curious, latency_us),
            Strategy::LatencyWeighted => {
                cost.known = !curious;
                cost.amount = -self.random.next_unit().ln() * latency_us / f64::from(weight);
            }
            Strategy::LoadBalanced => cost.amount = self.turns.distance(provider, weight),
        }
        cost
    }
}

/// Where a provider stands before any strategy looks at it; earlier is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Ready,
    RiskyTrial,
    Shut,
    Parked,
}

impl Rank {
    const fn of(gate: Gate, repeatable: bool) -> Self {
        match gate {
            Gate::Open => Self::Ready,
            Gate::Trial if repeatable => Self::Ready,
            Gate::Trial => Self::RiskyTrial,
            Gate::Shut { .. } => Self::Shut,
            Gate::Parked { .. } => Self::Parked,
        }
    }
}

/// What a provider costs, most significant first.
#[derive(Clone, Copy, Debug)]
struct Cost {
    rank: Rank,
    /// Not part of the order: the claim needs it.
    on_trial: bool,
    tier: u32,
    /// Unknown ones go first.
    known: bool,
    amount: f64,
    provider: usize,
}

impl Cost {
    fn is_below(&self, other: &Self) -> bool {
        let key = |cost: &Self| (cost.rank, cost.tier, cost.known);
        key(self)
            .cmp(&key(other))
            .then(self.amount.total_cmp(&other.amount))
            .then(self.provider.cmp(&other.provider))
            .is_lt()
    }
}

#[derive(Debug, Default)]
struct Survey {
    best: Option<Cost>,
    /// A bit for each that is [`Rank::Ready`].
    ready: u64,
    supported: usize,
    unsupported: usize,
    full: usize,
}

impl Survey {
    /// Those among whom the turn went round.
    fn ready_weights(&self, now: Instant, providers: &impl Providers) -> impl Iterator<Item = (usize, u32)> {
        let ready = self.ready;
        (0..PROVIDERS_PER_CHAIN_MAX)
            .filter(move |provider| ready & (1 << provider) != 0)
            .map(move |provider| (provider, providers.facts(provider, now).weight.max(1)))
    }

    /// Whether someone is ready beside the one chosen.
    const fn leaves_ready(&self, chosen: Cost) -> bool {
        self.ready & !(1 << chosen.provider) != 0
    }

    const fn nobody(&self) -> Nobody {
        if self.full > 0 {
            Nobody::Full
        } else if self.supported == 0 && self.unsupported > 0 {
            Nobody::Unsupported
        } else {
            Nobody::Out
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    use super::super::standing::{Outcome, Standing, StandingConfig};
    use super::super::{BreakerConfig, CooldownConfig, Health};
    use super::*;

    const CLASS: MethodClass = MethodClass::Read;
    const READY: Facts = Facts { gate: Gate::Open, priority: 1, weight: 1, in_flight: 0, supports: true, room: true };

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
            let breaker = BreakerConfig { failures: 1, cooldown: Duration::ZERO, cooldown_max: Duration::ZERO };
            let config = StandingConfig { breaker, cooldown: CooldownConfig::default() };
            let standing = Standing::new();
            let outcome = Outcome { health: Health::Failure, sent: now, trial: None };
            standing.on_outcome(now, &outcome, &config);
            standing.claim_trial(now + Duration::from_millis(1)).map(|(trial, _)| trial)
        }
    }

    fn demand(strategy: Strategy) -> Demand {
        Demand { strategy, class: CLASS, repeatable: true }
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
        let cases: [Case<'_>; 15] = [
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
        ];
        for (strategy, means_ms, facts, expected) in cases {
            let order = order(&mut knowing(means_ms), demand(strategy), &Table::new(facts));
            assert_eq!(order, expected, "{strategy:?} {means_ms:?} {facts:?}");
        }
    }

    #[test]
    fn a_call_that_cannot_be_repeated_neither_explores_nor_goes_on_trial() {
        let once = Demand { repeatable: false, ..demand(Strategy::Fastest) };
        let facts = [READY, Facts { gate: Gate::Trial, ..READY }, READY, Facts { gate: shut(1), ..READY }];
        assert_eq!(order(&mut knowing(&[30, 10, 0, 10]), once, &Table::new(&facts)), [0, 2, 1, 3]);
    }

    #[test]
    fn a_trial_that_another_shard_won_is_passed_over() {
        let table = Table::new(&[READY, Facts { gate: Gate::Trial, ..READY }]);
        table.trials.set(0);
        let pick = knowing(&[10, 10]).pick(ms(0), demand(Strategy::Fastest), Tried::none(), true, &table);
        assert_eq!(pick, Ok(Pick { provider: 0, trial: None, forced: false, spare: false }));
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
}
