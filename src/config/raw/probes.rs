//! `[probes]` and `[heads]`: what the node asks by itself, and by what it judges the answers. Defaults and their reasons:
//! `routing::ProbeConfig` and `routing::HeadsConfig`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Timeout, Wait};
use crate::config::given::Given;
use crate::config::values::{Count, Time};
use crate::limits;
use crate::routing::{HeadsConfig, ProbeConfig};

type Calls = Count<1, { limits::PROBE_BUSY_CALLS_MAX }>;
/// An interval keeps half of itself at the least.
type Percent = Count<0, 50>;
/// In blocks.
pub(super) type Lag = Count<0, { limits::LAG_BLOCKS_MAX }>;
type Factor = Count<1, { limits::LAG_BLOCKS_MAX }>;

/// What the node asks providers by itself: `eth_chainId` and `eth_blockNumber`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Probes {
    /// Whether it asks at all. Without, a provider on another chain or behind the head goes unnoticed.
    pub enabled: Given<bool>,
    /// For one question's answer.
    pub timeout: Given<Timeout>,
    /// How often a provider is asked for its head where clients' calls are few.
    pub every: Given<Timeout>,
    /// The same where clients' calls tell how it does.
    pub every_busy: Given<Timeout>,
    /// Clients' calls between two questions from which they are not few.
    pub busy_calls: Given<Calls>,
    /// How often it is asked which chain it is.
    pub chain_id_every: Given<Timeout>,
    /// The longest wait for a provider that limits our rate.
    pub limited_max: Given<Timeout>,
    /// Between two questions of one chain.
    pub spacing: Given<Wait>,
    /// The part of an interval that a draw may take off it, in percent.
    pub jitter_percent: Given<Percent>,
}

impl Default for Probes {
    fn default() -> Self {
        const PACE: ProbeConfig = ProbeConfig::DEFAULT;
        Self {
            enabled: Given::default_of(true),
            timeout: Given::default_of(const { Time::of_ms(limits::PROBE_TIMEOUT_MS_DEFAULT) }),
            every: Given::default_of(const { Time::of(PACE.every) }),
            every_busy: Given::default_of(const { Time::of(PACE.every_busy) }),
            busy_calls: Given::default_of(const { Count::of(PACE.busy_calls) }),
            chain_id_every: Given::default_of(const { Time::of(PACE.chain_id_every) }),
            limited_max: Given::default_of(const { Time::of(PACE.limited_max) }),
            spacing: Given::default_of(const { Time::of(PACE.spacing) }),
            jitter_percent: Given::default_of(const { Count::of(PACE.jitter_percent as u64) }),
        }
    }
}

/// How far apart a chain's providers may be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Heads {
    /// Time behind that nobody notices: the blocks made in it are the lag that is allowed.
    pub lag_time: Given<Timeout>,
    /// Blocks of lag that are always allowed, unless the chain says otherwise.
    pub lag_blocks_min: Given<Lag>,
    /// Times the allowed lag that a provider may be ahead of the majority.
    pub ahead_factor: Given<Factor>,
    /// How long a provider's word on its head counts.
    pub believed: Given<Timeout>,
}

impl Default for Heads {
    fn default() -> Self {
        const HEADS: HeadsConfig = HeadsConfig::DEFAULT;
        Self {
            lag_time: Given::default_of(const { Time::of(HEADS.lag_time) }),
            lag_blocks_min: Given::default_of(const { Count::of(HEADS.lag_blocks_min) }),
            ahead_factor: Given::default_of(const { Count::of(HEADS.ahead_factor) }),
            believed: Given::default_of(const { Time::of(HEADS.believed) }),
        }
    }
}
