//! What a provider costs a call: gates, then tiers, then the strategy's amount, in one comparison.
//!
//! One number and one amount per provider, compared in that order. The number has, most significant first, where the
//! provider stands before any strategy looks at it ([`Rank`]), its tier under `priority`, and whether anything is known
//! of it. Worked out anew for each attempt and kept nowhere; what it is worked out from, and why so, stands in `rank`.

use super::candidates::Facts;
use super::footing::Footing;
use super::latency::{Evidence, Latencies};
use super::random::Random;
use super::rank::{Demand, IN_FLIGHT_DOUBLES};
use super::ranking::{Entry, Load, narrow};
use super::standing::Gate;
use super::strategy::Strategy;
use super::turns::Turns;
use crate::time::Instant;

/// What costs are made of, for one survey.
pub(super) struct Costs<'a> {
    pub(super) now: Instant,
    pub(super) demand: Demand,
    pub(super) row: Option<&'a [Entry]>,
    pub(super) loads: &'a [Load],
    pub(super) latencies: &'a Latencies,
    pub(super) turns: &'a Turns,
    pub(super) random: &'a mut Random,
}

impl Costs<'_> {
    #[inline]
    pub(super) fn of(&mut self, provider: usize, facts: &Facts) -> Cost {
        let demand = self.demand;
        if let Gate::Shut { until } | Gate::Parked { until } = facts.gate {
            let rank = Rank::of(facts, demand.repeatable, false);
            return Cost::new(rank, 0, true, until.since(self.now).as_secs_f64(), provider);
        }
        let (latency_us, unknown, poor) = if let Some(entry) = self.row.and_then(|row| row.get(provider)) {
            (entry.cost_us, false, entry.poor)
        } else {
            self.own(provider)
        };
        let latency_us = f64::from(latency_us * self.load(provider, facts.in_flight));
        let rank = Rank::of(facts, demand.repeatable, poor);
        let known = !(demand.repeatable && (unknown || facts.gate == Gate::Trial));
        let mut cost = match demand.strategy {
            Strategy::Fastest => Cost::new(rank, 0, known, latency_us, provider),
            Strategy::Priority => Cost::new(rank, facts.priority, known, latency_us, provider),
            Strategy::LatencyWeighted => {
                let drawn = -self.random.next_unit().ln() * latency_us / f64::from(facts.weight.max(1));
                Cost::new(rank, 0, known, drawn, provider)
            }
            Strategy::LoadBalanced => {
                Cost::new(rank, 0, true, self.turns.distance(provider, facts.weight.max(1)), provider)
            }
        };
        cost.on_trial = facts.gate == Gate::Trial;
        cost
    }

    /// What this shard knows by itself: latency, whether that is nothing, and no word on success.
    #[cold]
    #[inline(never)]
    fn own(&self, provider: usize) -> (f32, bool, bool) {
        let evidence = self.latencies.evidence(provider, self.demand.class, self.now);
        (narrow(evidence.micros().max(1.0)), evidence == Evidence::Unknown, false)
    }

    #[inline]
    fn load(&self, provider: usize, in_flight: u32) -> f32 {
        const OWN: Load = Load { offset: 0.0, each: 1.0 / IN_FLIGHT_DOUBLES };
        let load = self.loads.get(provider).unwrap_or(&OWN);
        // Calls under way are few: exact.
        #[allow(clippy::cast_precision_loss)]
        let beyond = in_flight as f32 + load.offset;
        (beyond * load.each).max(0.0) + 1.0
    }
}

/// Where a provider stands before any strategy looks at it; earlier is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Rank {
    Ready,
    Held,
    RiskyTrial,
    Poor,
    Behind,
    Shut,
    Parked,
}

impl Rank {
    const fn of(facts: &Facts, repeatable: bool, poor: bool) -> Self {
        match facts.gate {
            Gate::Open | Gate::Trial if !matches!(facts.footing, Footing::InStep) => Self::Behind,
            Gate::Open if poor => Self::Poor,
            Gate::Open if facts.held => Self::Held,
            Gate::Open => Self::Ready,
            Gate::Trial if repeatable => Self::Ready,
            Gate::Trial => Self::RiskyTrial,
            Gate::Shut { .. } => Self::Shut,
            Gate::Parked { .. } => Self::Parked,
        }
    }
}

/// What a provider costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Rank, tier, and whether anything is known (unknown ones go first), most significant first: one comparison.
    key: u64,
    amount: f64,
    pub(super) provider: usize,
    /// Not part of the order: the claim needs it.
    pub(super) on_trial: bool,
}

const RANK_SHIFT: u32 = 40;

impl Cost {
    /// Behind everybody.
    pub(super) const NOBODY: Self = Self { key: u64::MAX, amount: f64::INFINITY, provider: 0, on_trial: false };

    pub(super) const fn is_nobody(&self) -> bool {
        self.key == u64::MAX
    }

    const fn new(rank: Rank, tier: u32, known: bool, amount: f64, provider: usize) -> Self {
        let key = (rank as u64) << RANK_SHIFT | (tier as u64) << 1 | known as u64;
        Self { key, amount, provider, on_trial: false }
    }

    /// It may be asked without a second thought; held back or not, which is a wish alone.
    pub(super) const fn is_ready(&self) -> bool {
        self.key >> RANK_SHIFT <= Rank::Held as u64
    }

    pub(super) const fn is_held(&self) -> bool {
        self.key >> RANK_SHIFT == Rank::Held as u64
    }

    /// No gate stands in its way, or one that a trial opens.
    pub(super) const fn is_open(&self) -> bool {
        self.key >> RANK_SHIFT < Rank::Shut as u64
    }

    /// Its gate is open, but its footing is not.
    pub(super) const fn is_behind(&self) -> bool {
        self.key >> RANK_SHIFT == Rank::Behind as u64
    }

    /// The first of equals is asked: providers are looked at in their order.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        self.key < other.key || (self.key == other.key && self.amount < other.amount)
    }

    /// Whether it can be explored while `best` would be asked: nobody goes on trial, no gate is shut, and the tier is
    /// in use.
    pub(super) fn may_replace(&self, best: &Self) -> bool {
        const TIER: u64 = ((1 << RANK_SHIFT) - 1) & !1;
        !best.on_trial && self.is_open() && best.is_open() && self.key & TIER == best.key & TIER
    }
}
