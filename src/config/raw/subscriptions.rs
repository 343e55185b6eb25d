//! `[subscriptions]`: the streams of heads and logs that clients' WebSockets share.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Timeout;
use crate::config::given::Given;
use crate::config::values::{Count, Time};
use crate::limits;

type Blocks = Count<1, { limits::STALE_BLOCKS_MAX }>;

/// What `eth_subscribe` serves.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Subscriptions {
    /// Times a chain's block time without a head after which another provider is subscribed to.
    pub stale_blocks: Given<Blocks>,
    /// How long clients may wait for what was missed; then they are closed with 1012.
    pub outage_max: Given<Timeout>,
    /// How long a subscription at a provider outlives its last client.
    pub linger: Given<Timeout>,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self {
            stale_blocks: Given::default_of(const { Count::of(limits::STALE_BLOCKS_DEFAULT) }),
            outage_max: Given::default_of(const { Time::of_ms(limits::OUTAGE_MS_DEFAULT) }),
            linger: Given::default_of(const { Time::of_ms(limits::FEED_LINGER_MS_DEFAULT) }),
        }
    }
}
