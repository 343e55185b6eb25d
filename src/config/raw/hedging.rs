//! `[hedging]`: when a call that takes its time is sent to a second provider. Defaults and their reasons:
//! `routing::HedgeConfig`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::given::Given;
use crate::config::values::{Count, MethodPattern, Time};
use crate::limits;
use crate::routing::HedgeConfig;

type Delay = Time<1, { limits::HEDGE_DELAY_MS_MAX }>;
type Percent = Count<0, { limits::HEDGE_PERCENT_MAX }>;
type Saved = Count<1, { limits::HEDGES_SAVED_MAX }>;

/// A second attempt beside one that takes its time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Hedging {
    /// The shortest time that a first attempt has for itself.
    pub floor: Given<Delay>,
    /// The longest.
    pub cap: Given<Delay>,
    /// Hedges for each hundred calls; 0: none, but for raced methods.
    pub budget_percent: Given<Percent>,
    /// Hedges that a shard may save up.
    pub saved_max: Given<Saved>,
    /// Methods that two providers are asked for at once: names, or beginnings and `*`.
    pub raced_methods: Given<Vec<Given<MethodPattern>>>,
}

impl Default for Hedging {
    fn default() -> Self {
        const HEDGING: HedgeConfig = HedgeConfig::DEFAULT;
        Self {
            floor: Given::default_of(const { Time::of(HEDGING.floor) }),
            cap: Given::default_of(const { Time::of(HEDGING.cap) }),
            budget_percent: Given::default_of(const { Count::of(HEDGING.budget_percent as u64) }),
            saved_max: Given::default_of(const { Count::of(HEDGING.saved_max as u64) }),
            raced_methods: Given::default_of(Vec::new()),
        }
    }
}
