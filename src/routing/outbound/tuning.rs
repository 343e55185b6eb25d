//! How far a provider's rates are tuned down, by what it refuses.
//!
//! Down by a part with each wave of refusals, up in steps with the time since: one word, written by refusals alone. What is
//! left now is a function of it and of the moment.

use std::time::Duration;

use crate::time::Instant;
use crate::word::SharedWord;

/// How refusals tune the rates. Additive up and multiplicative down, as TCP: shares between nodes that know nothing of each
/// other become fair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TuningConfig {
    /// What is left of the rate after a refusal, in percent: 70 finds half of the plan in two waves.
    pub down_to_percent: u32,
    /// What a step up adds, in percent of the plan.
    pub step_percent: u32,
    /// Time between two steps up: longer than a vendor's window of a second, so that a step is seen to hold.
    pub step_every: Duration,
    /// The least, in percent of the plan: a provider that refuses everything has a cooldown for that.
    pub floor_percent: u32,
}

impl TuningConfig {
    /// Back from the floor to the plan in about a minute and a half.
    pub const DEFAULT: Self =
        Self { down_to_percent: 70, step_percent: 5, step_every: Duration::from_secs(5), floor_percent: 10 };
}

impl Default for TuningConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How far the rates are tuned down: 50 bits of when in ms, 10 of the thousandths that were left then. 0: not at all.
#[derive(Debug, Default)]
pub(super) struct Tuning(SharedWord);

pub(super) const WHOLE: u32 = 1000;

impl Tuning {
    pub(super) const fn new() -> Self {
        Self(SharedWord::new(0))
    }

    pub(super) fn per_mille(&self, now: Instant, config: Option<&TuningConfig>) -> u32 {
        let word = self.0.get();
        match config {
            Some(config) if word != 0 => Self::at(word, now, config),
            _ => WHOLE,
        }
    }

    pub(super) fn down(&self, now: Instant, sent: Instant, config: &TuningConfig) -> Option<u32> {
        let mut left = WHOLE;
        self.0.change(|seen| {
            // One wave, one step: what was sent at the old rate says nothing about the new one.
            if seen != 0 && sent.micros() / 1000 <= seen >> 10 {
                return None;
            }
            let floor = (config.floor_percent.min(100) * 10).max(1);
            left = Self::at(seen, now, config) * config.down_to_percent.min(100) / 100;
            left = left.clamp(floor, WHOLE);
            Some((now.micros() / 1000) << 10 | u64::from(left))
        })?;
        Some(left)
    }

    fn at(word: u64, now: Instant, config: &TuningConfig) -> u32 {
        if word == 0 {
            return WHOLE;
        }
        let since = now.since(Instant::from_micros((word >> 10) * 1000));
        let steps = since.as_micros() / config.step_every.as_micros().max(1);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let up = steps.saturating_mul(config.step_percent.saturating_mul(10));
        let left = u32::try_from(word & 0x3ff).unwrap_or(WHOLE);
        left.saturating_add(up).min(WHOLE)
    }
}
