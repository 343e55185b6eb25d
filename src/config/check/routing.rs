//! Ranking, breakers, cooldowns, hedging and lessons: what the operator wrote as the pure modules take it.

use super::relations::{at_most, count, refuse_more};
use crate::config::given::{Given, Plain};
use crate::config::problems::Problem;
use crate::config::raw;
use crate::config::types::{Breaker, Hedging, Ranking};
use crate::limits;
use crate::routing::{BreakerConfig, CooldownConfig, HedgeConfig, LearnedConfig, RankingConfig};

pub(super) fn ranking(raw: &raw::Ranking) -> Option<Ranking> {
    let by = RankingConfig {
        percentile: raw.percentile.plain()?,
        half_life: raw.half_life.plain()?,
        samples_max: number(&raw.samples_max)?,
        change_sum: raw.change_sum.plain()?,
        change_slack: raw.change_slack.plain()?,
        samples_trusted: number(&raw.samples_trusted)?,
        widening: raw.widening.plain()?,
        hysteresis: raw.hysteresis.plain()?,
        success_floor: raw.success_floor.plain()?,
        floor_samples: number(&raw.floor_samples)?,
        explore_share: raw.explore_share.plain()?,
        explore_factor: raw.explore_factor.plain()?,
        explore_slack: raw.explore_slack.plain()?,
        explore_stale: raw.explore_stale.plain()?,
        explore_burst: number(&raw.explore_burst)?,
        in_flight_doubles: number(&raw.in_flight_doubles)?,
        own_row_factor: raw.own_row_factor.plain()?,
        own_row_calls: number(&raw.own_row_calls)?,
    };
    Some(Ranking { interval: raw.interval.plain()?, by })
}

pub(super) fn breaker(raw: &raw::Breaker, problems: &mut Vec<Problem>) -> Option<Breaker> {
    let cooldown = at_most(
        (&raw.cooldown, raw.cooldown.plain()),
        (&raw.cooldown_max, raw.cooldown_max.plain()),
        "longer than the longest cooldown (`cooldown_max`)",
        problems,
    );
    let by = BreakerConfig {
        failures: count(&raw.failures)?,
        cooldown: cooldown?,
        cooldown_max: raw.cooldown_max.plain()?,
        jitter_percent: count(&raw.jitter_percent)?,
        ratio_percent: count(&raw.ratio_percent)?,
        ratio_calls_min: count(&raw.ratio_calls_min)?,
        trials: count(&raw.trials)?,
        ramp: raw.ramp.plain()?,
        ramp_first_percent: count(&raw.ramp_first_percent)?,
    };
    Some(Breaker { ratio_window: raw.ratio_window.plain()?, by })
}

pub(super) fn cooldown(raw: &raw::Cooldown, problems: &mut Vec<Problem>) -> Option<CooldownConfig> {
    let first = at_most(
        (&raw.first, raw.first.plain()),
        (&raw.max, raw.max.plain()),
        "longer than the longest cooldown (`max`)",
        problems,
    );
    Some(CooldownConfig {
        first: first?,
        max: raw.max.plain()?,
        retry_after_max: raw.retry_after_max.plain()?,
        park: raw.park.plain()?,
    })
}

pub(super) fn hedging(raw: &raw::Hedging, problems: &mut Vec<Problem>) -> Option<Hedging> {
    let floor = at_most(
        (&raw.floor, raw.floor.plain()),
        (&raw.cap, raw.cap.plain()),
        "longer than the longest wait (`cap`)",
        problems,
    );
    let raced = raw.raced_methods.get();
    if let Some(raced) = raced {
        refuse_more(raced, limits::PATTERNS_MAX, "raced methods", problems);
    }
    let by = HedgeConfig {
        floor: floor?,
        cap: raw.cap.plain()?,
        budget_percent: count(&raw.budget_percent)?,
        saved_max: count(&raw.saved_max)?,
    };
    Some(Hedging { by, raced_methods: raced?.iter().filter_map(Given::plain).collect() })
}

pub(super) fn learning(raw: &raw::Learning) -> Option<LearnedConfig> {
    Some(LearnedConfig {
        method: raw.method.plain()?,
        bound: raw.bound.plain()?,
        range: raw.range.plain()?,
        range_guessed: raw.range_guessed.plain()?,
        recent_blocks: raw.recent_blocks.plain()?,
    })
}

/// A whole number where the program reckons with fractions.
fn number<C: Plain<Out = u64>>(given: &Given<C>) -> Option<f64> {
    count::<_, u32>(given).map(f64::from)
}
