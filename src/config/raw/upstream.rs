//! `[upstream]`: connections to providers.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Timeout;
use crate::config::given::Given;
use crate::config::values::{Count, File, Time};
use crate::limits;

type Connections = Count<1, { limits::UPSTREAM_CONNECTIONS_MAX }>;
type Warm = Count<0, { limits::UPSTREAM_CONNECTIONS_MAX }>;
type Queue = Count<0, { limits::UPSTREAM_QUEUE_MAX }>;
type Subscriptions = Count<{ limits::UPSTREAM_SUBSCRIPTIONS_MIN }, { limits::UPSTREAM_SUBSCRIPTIONS_MAX }>;

/// Connections to providers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Upstream {
    /// For a connection to come about, TLS included.
    pub connect_timeout: Given<Timeout>,
    /// Longest time without a byte while an answer comes in.
    pub progress_timeout: Given<Timeout>,
    /// How long an unused connection is kept.
    pub idle_timeout: Given<Timeout>,
    /// Connections to one provider from one shard.
    pub connections_max: Given<Connections>,
    /// Connections kept open to each provider whose breaker is closed, even when idle.
    pub connections_warm: Given<Warm>,
    /// Calls waiting for a connection to one provider in one shard.
    pub queue_max: Given<Queue>,
    /// The kernel's patience with unacknowledged data (`TCP_USER_TIMEOUT`).
    pub user_timeout: Given<Timeout>,
    /// PEM certificates trusted beside the built-in roots.
    pub ca_file: Option<Given<File>>,
    /// Subscriptions on one WebSocket; the next one opens another.
    pub subscriptions_per_connection: Given<Subscriptions>,
    /// Silence of a WebSocket after which it is pinged.
    pub ping_after: Given<Timeout>,
    /// Silence after the ping that ends it.
    pub pong_timeout: Given<Timeout>,
    /// Whether compression is offered to providers' WebSockets.
    pub compression: Given<bool>,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            connect_timeout: Given::default_of(const { Time::of_ms(limits::CONNECT_TIMEOUT_MS_DEFAULT) }),
            progress_timeout: Given::default_of(const { Time::of_ms(limits::PROGRESS_TIMEOUT_MS_DEFAULT) }),
            idle_timeout: Given::default_of(const { Time::of_ms(limits::UPSTREAM_IDLE_TIMEOUT_MS_DEFAULT) }),
            connections_max: Given::default_of(const { Count::of(limits::UPSTREAM_CONNECTIONS_DEFAULT) }),
            connections_warm: Given::default_of(const { Count::of(limits::UPSTREAM_WARM_DEFAULT) }),
            queue_max: Given::default_of(const { Count::of(limits::UPSTREAM_QUEUE_DEFAULT) }),
            user_timeout: Given::default_of(const { Time::of_ms(limits::USER_TIMEOUT_MS_DEFAULT) }),
            ca_file: None,
            subscriptions_per_connection: Given::default_of(
                const { Count::of(limits::UPSTREAM_SUBSCRIPTIONS_DEFAULT) },
            ),
            ping_after: Given::default_of(const { Time::of_ms(limits::UPSTREAM_PING_AFTER_MS_DEFAULT) }),
            pong_timeout: Given::default_of(const { Time::of_ms(limits::UPSTREAM_PONG_MS_DEFAULT) }),
            compression: Given::default_of(false),
        }
    }
}
