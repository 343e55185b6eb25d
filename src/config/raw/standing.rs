//! `[breaker]` and `[cooldown]`: when a provider is left alone. Defaults and their reasons: `routing::BreakerConfig` and
//! `routing::CooldownConfig`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Timeout, Wait};
use crate::config::given::Given;
use crate::config::values::{Count, Time};
use crate::limits;
use crate::routing::{BreakerConfig, CooldownConfig};

type Failures = Count<1, { limits::BREAKER_FAILURES_MAX }>;
type Percent = Count<0, 100>;
type Ratio = Count<1, 100>;
type Calls = Count<1, { limits::BREAKER_RATIO_CALLS_MAX }>;
type Trials = Count<1, { limits::BREAKER_TRIALS_MAX }>;
type Window = Time<{ limits::BREAKER_RATIO_WINDOW_MS_MIN }, { limits::TIMEOUT_MS_MAX }>;
type RetryAfter = Time<0, { limits::RETRY_AFTER_MAX.as_secs() * 1000 }>;

/// What stops calls to a provider whose transport fails.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Breaker {
    /// Transport failures in a row that open it.
    pub failures: Given<Failures>,
    /// How long it stays open the first time; doubles each time that it opens again without a success.
    pub cooldown: Given<Timeout>,
    /// The longest that it stays open.
    pub cooldown_max: Given<Timeout>,
    /// The part of a wait that chance may take off it, in percent.
    pub jitter_percent: Given<Percent>,
    /// Failures among a window's calls, in percent, that open it.
    pub ratio_percent: Given<Ratio>,
    /// Calls of a window below which their ratio says nothing.
    pub ratio_calls_min: Given<Calls>,
    /// The window that the ratio is counted over.
    pub ratio_window: Given<Window>,
    /// Successes that close what a ratio opened.
    pub trials: Given<Trials>,
    /// Over how long traffic comes back.
    pub ramp: Given<Wait>,
    /// The share of its calls that it gets at first, in percent.
    pub ramp_first_percent: Given<Percent>,
}

const BREAKER: BreakerConfig = BreakerConfig::DEFAULT;

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: Given::default_of(const { Count::of(BREAKER.failures as u64) }),
            cooldown: Given::default_of(const { Time::of(BREAKER.cooldown) }),
            cooldown_max: Given::default_of(const { Time::of(BREAKER.cooldown_max) }),
            jitter_percent: Given::default_of(const { Count::of(BREAKER.jitter_percent as u64) }),
            ratio_percent: Given::default_of(const { Count::of(BREAKER.ratio_percent as u64) }),
            ratio_calls_min: Given::default_of(const { Count::of(BREAKER.ratio_calls_min) }),
            ratio_window: Given::default_of(const { Time::of_ms(limits::BREAKER_RATIO_WINDOW_MS_DEFAULT) }),
            trials: Given::default_of(const { Count::of(BREAKER.trials as u64) }),
            ramp: Given::default_of(const { Time::of(BREAKER.ramp) }),
            ramp_first_percent: Given::default_of(const { Count::of(BREAKER.ramp_first_percent as u64) }),
        }
    }
}

/// How long a provider is left alone that has said "too many".
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cooldown {
    /// The first time, where it does not say how long; doubles with each refusal after it.
    pub first: Given<Timeout>,
    /// The longest without its word.
    pub max: Given<Timeout>,
    /// The longest `Retry-After` that is believed.
    pub retry_after_max: Given<RetryAfter>,
    /// For a used-up quota or an unpaid bill.
    pub park: Given<Timeout>,
}

const COOLDOWN: CooldownConfig = CooldownConfig::DEFAULT;

impl Default for Cooldown {
    fn default() -> Self {
        Self {
            first: Given::default_of(const { Time::of(COOLDOWN.first) }),
            max: Given::default_of(const { Time::of(COOLDOWN.max) }),
            retry_after_max: Given::default_of(const { Time::of(COOLDOWN.retry_after_max) }),
            park: Given::default_of(const { Time::of(COOLDOWN.park) }),
        }
    }
}
