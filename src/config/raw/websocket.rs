//! `[websocket]`: clients' WebSockets.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Body, Timeout};
use crate::config::given::Given;
use crate::config::values::{Count, Label, Origin, Size, Time};
use crate::limits;

type Calls = Count<1, { limits::WEBSOCKET_CALLS_MAX }>;
type Connections = Count<1, { limits::CONNECTIONS_PER_SHARD_MAX }>;
type Subscriptions = Count<1, { limits::WEBSOCKET_SUBSCRIPTIONS_MAX }>;
type Window = Count<9, 15>;
type Threshold = Size<{ limits::WEBSOCKET_COMPRESSED_BYTES_MIN }, { limits::BODY_BYTES_MAX }>;
type Queued = Size<{ limits::WEBSOCKET_QUEUED_BYTES_MIN }, { limits::BATCH_BYTES_MAX }>;

/// Clients' WebSockets, on every path of calls.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WebSocket {
    /// Origins of pages that may connect, or "*" alone. Clients that are no browsers name none and may always.
    pub origins: Given<Vec<Given<Origin>>>,
    /// Subprotocols that may be agreed on; others that a client asks for are passed over.
    pub protocols: Given<Vec<Given<Label>>>,
    /// WebSockets open in one shard; a handshake beyond is answered with 503.
    pub connections_max: Given<Connections>,
    /// Subscriptions of one connection.
    pub subscriptions_max: Given<Subscriptions>,
    /// A message of a client, inflated.
    pub message_bytes_max: Given<Body>,
    /// Messages of one connection asked for at the same time; what comes beyond waits.
    pub calls_in_flight_max: Given<Calls>,
    /// Bytes that may wait for a client that reads slowly; then it is closed with 1013.
    pub queued_bytes_max: Given<Queued>,
    /// Whether permessage-deflate is agreed on with clients that offer it.
    pub compression: Given<bool>,
    /// Window of what is compressed here, as a power of two.
    pub compression_window_bits: Given<Window>,
    /// Messages of fewer bytes go out as they are.
    pub compression_bytes_min: Given<Threshold>,
    /// Silence after which a client is pinged.
    pub ping_after: Given<Timeout>,
    /// Silence after the ping that ends the connection.
    pub pong_timeout: Given<Timeout>,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self {
            origins: Given::default_of(vec![Given::default_of(Origin::any())]),
            protocols: Given::default_of(Vec::new()),
            connections_max: Given::default_of(const { Count::of(limits::WEBSOCKETS_PER_SHARD_DEFAULT) }),
            subscriptions_max: Given::default_of(const { Count::of(limits::WEBSOCKET_SUBSCRIPTIONS_DEFAULT) }),
            message_bytes_max: Given::default_of(const { Size::of(limits::WEBSOCKET_MESSAGE_BYTES_DEFAULT as u64) }),
            calls_in_flight_max: Given::default_of(const { Count::of(limits::WEBSOCKET_CALLS_DEFAULT) }),
            queued_bytes_max: Given::default_of(const { Size::of(limits::WEBSOCKET_QUEUED_BYTES_DEFAULT) }),
            compression: Given::default_of(false),
            compression_window_bits: Given::default_of(const { Count::of(limits::WEBSOCKET_WINDOW_BITS_DEFAULT) }),
            compression_bytes_min: Given::default_of(
                const { Size::of(limits::WEBSOCKET_COMPRESSED_BYTES_MIN_DEFAULT) },
            ),
            ping_after: Given::default_of(const { Time::of_ms(limits::WEBSOCKET_PING_AFTER_MS_DEFAULT) }),
            pong_timeout: Given::default_of(const { Time::of_ms(limits::WEBSOCKET_PONG_MS_DEFAULT) }),
        }
    }
}
