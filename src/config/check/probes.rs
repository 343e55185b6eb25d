//! What the node asks by itself, and what follows from the answers.

use super::relations::{at_most, count};
use crate::config::given::Given;
use crate::config::problems::Problem;
use crate::config::raw;
use crate::config::types::Probes;
use crate::limits;
use crate::routing::{HeadsConfig, ProbeConfig};

/// A head is asked for again before the last word on it has lost its weight, or nobody would ever be out of step.
pub(super) fn check(raw: &raw::Probes, heads: &Given<raw::Heads>, problems: &mut Vec<Problem>) -> Option<Probes> {
    let believed = &heads.get()?.believed;
    let every_busy = at_most(
        (&raw.every_busy, raw.every_busy.plain()),
        (believed, believed.plain()),
        "longer than a head is believed (`heads.believed`)",
        problems,
    );
    let every = at_most(
        (&raw.every, raw.every.plain()),
        (&raw.every_busy, every_busy),
        "longer than where clients' calls are many (`every_busy`)",
        problems,
    );
    let timeout = raw.timeout.plain()?;
    Some(Probes {
        enabled: raw.enabled.plain()?,
        timeout,
        pace: ProbeConfig {
            every: every?,
            every_busy: every_busy?,
            busy_calls: raw.busy_calls.plain()?,
            chain_id_every: raw.chain_id_every.plain()?,
            limited_max: raw.limited_max.plain()?,
            spacing: raw.spacing.plain()?,
            jitter_percent: count(&raw.jitter_percent)?,
            lease: timeout + limits::PROBE_LEASE_BEYOND,
        },
    })
}

pub(super) fn check_heads(raw: &raw::Heads) -> Option<HeadsConfig> {
    Some(HeadsConfig {
        max_lag_blocks: None,
        lag_time: raw.lag_time.plain()?,
        lag_blocks_min: raw.lag_blocks_min.plain()?,
        ahead_factor: raw.ahead_factor.plain()?,
        believed: raw.believed.plain()?,
    })
}
