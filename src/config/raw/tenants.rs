//! `[tenants]`: where keys and usage are kept, and how long.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Fleet, Jwt};
use crate::config::given::Given;
use crate::config::values::{Label, Pepper, Store, Time};
use crate::ledger::Retention;
use crate::limits;

type Kept = Time<{ limits::USAGE_KEPT_MS_MIN }, { limits::USAGE_KEPT_MS_MAX }>;

/// Keys, quotas and metering. Without this section everybody is let in, and nothing is counted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tenants {
    /// Where tenants, plans, keys and usage are kept.
    pub store: Given<Store>,
    /// The secret under which keys are hashed.
    pub pepper: Given<Pepper>,
    /// The plan of those who show no key, by client address. Default: they are refused.
    pub anonymous: Option<Given<Label>>,
    #[serde(default)]
    pub retention: Given<Kepts>,
    pub jwt: Option<Given<Jwt>>,
    pub fleet: Option<Given<Fleet>>,
}

/// How long usage is kept in which detail.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Retention")]
pub(crate) struct Kepts {
    /// By minutes; older ones are summed to hours.
    pub minutes: Given<Kept>,
    /// By hours; older ones are summed to days.
    pub hours: Given<Kept>,
    /// By days; older ones are forgotten. Default: never.
    pub days: Option<Given<Kept>>,
}

impl Default for Kepts {
    fn default() -> Self {
        const KEPT: Retention = Retention::DEFAULT;
        Self {
            minutes: Given::default_of(const { Time::of(KEPT.minutes) }),
            hours: Given::default_of(const { Time::of(KEPT.hours) }),
            days: None,
        }
    }
}
