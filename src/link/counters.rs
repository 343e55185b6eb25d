//! A shard's own counts, read by control when it is asked for metrics.
//!
//! Each has one writer, its shard, so an increment is a load and a store without a lock prefix; the block is a shard's
//! alone in its cache lines. A reader may see counts of different moments: they are sums, not a balance.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use super::addresses::Crowded;
use crate::jsonrpc::Reason;

/// Something that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning shard may call this.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Only the owning shard may call this.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a WebSocket ended: by the code of the first goodbye, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketEnd {
    /// The client said goodbye, with whatever code.
    Client,
    /// 1001: the node closes.
    Away,
    /// 1002, 1003, 1007: the client broke a rule of the protocol.
    Protocol,
    /// 1008: it sent too much of what costs nothing to send.
    Policy,
    /// 1009: a message was larger than allowed.
    TooLarge,
    /// 1011: an answer was cut short.
    Internal,
    /// 1012: what it was connected to is not served any more.
    Restart,
    /// 1013: it read too slowly.
    Slow,
    /// It did not answer a ping.
    Silent,
    /// Its connection ended or failed without a goodbye.
    Lost,
}

impl SocketEnd {
    pub const ALL: [Self; 10] = [
        Self::Client,
        Self::Away,
        Self::Protocol,
        Self::Policy,
        Self::TooLarge,
        Self::Internal,
        Self::Restart,
        Self::Slow,
        Self::Silent,
        Self::Lost,
    ];

    /// The word used in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Away => "away",
            Self::Protocol => "protocol",
            Self::Policy => "policy",
            Self::TooLarge => "too_large",
            Self::Internal => "internal",
            Self::Restart => "restart",
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::Lost => "lost",
        }
    }
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeEnd {
    /// Done, with TLS 1.2 or 1.3, anew or by a ticket.
    Tls12,
    Tls12Resumed,
    Tls13,
    Tls13Resumed,
    /// What came is no TLS.
    Malformed,
    /// No version, suite or group in common.
    Incompatible,
    /// No protocol in common: the client offers no HTTP/1.1.
    Protocol,
    /// The client's certificate is missing or wrong.
    Certificate,
    /// The client ended it, mostly because it does not trust our certificate.
    Refused,
    /// The connection ended or failed in the middle.
    Lost,
    /// It took too long.
    Slow,
    /// Anything else.
    Other,
}

impl HandshakeEnd {
    pub const ALL: [Self; 12] = [
        Self::Tls12,
        Self::Tls12Resumed,
        Self::Tls13,
        Self::Tls13Resumed,
        Self::Malformed,
        Self::Incompatible,
        Self::Protocol,
        Self::Certificate,
        Self::Refused,
        Self::Lost,
        Self::Slow,
        Self::Other,
    ];

    /// What the metric of those that were done says: the version, and whether by a ticket. None: it failed.
    #[must_use]
    pub const fn done(self) -> Option<(&'static str, bool)> {
        match self {
            Self::Tls12 => Some(("1.2", false)),
            Self::Tls12Resumed => Some(("1.2", true)),
            Self::Tls13 => Some(("1.3", false)),
            Self::Tls13Resumed => Some(("1.3", true)),
            _ => None,
        }
    }

    /// The word used in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls12 | Self::Tls12Resumed | Self::Tls13 | Self::Tls13Resumed => "done",
            Self::Malformed => "malformed",
            Self::Incompatible => "incompatible",
            Self::Protocol => "protocol",
            Self::Certificate => "certificate",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Slow => "slow",
            Self::Other => "other",
        }
    }
}

/// What one shard counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Client connections accepted.
    pub accepted: CachePadded<Counter>,
    /// Client connections turned away because the shard held its limit.
    pub refused: Counter,
    /// Client connections turned away because their address had as much as it may, by what.
    pub crowded: [Counter; Crowded::ALL.len()],
    /// Connections of balancers without a PROXY header, or with one that is malformed.
    pub proxy_refused: Counter,
    /// TLS handshakes of clients, by how they ended.
    pub handshakes: [Counter; HandshakeEnd::ALL.len()],
    /// Those under way.
    pub handshakes_open: Gauge,
    /// Times that accepting failed for want of descriptors or memory.
    pub accept_failures: Counter,
    /// Client connections open now.
    pub connections: Gauge,
    /// Those of them that are WebSockets.
    pub sockets: Gauge,
    /// Clients' subscriptions, feeds that this shard owns, notifications told, and feeds that went to another provider.
    pub subscriptions: Gauge,
    pub feeds: Gauge,
    pub notifications: Counter,
    pub feed_failovers: Counter,
    /// Handshakes turned away because the shard held its limit of WebSockets.
    pub sockets_refused: Counter,
    /// WebSockets that have ended, by how.
    pub socket_ends: [Counter; SocketEnd::ALL.len()],
    /// Requests answered over HTTP, whatever the answer.
    pub requests: Counter,
    /// Calls answered, batch items each.
    pub calls: Counter,
    /// Attempts sent beside one that took its time, and those of them that were answered first.
    pub hedges: Counter,
    pub hedges_won: Counter,
    /// Answers that this node made itself because of a failure, by reason.
    pub failures: [Counter; Reason::COUNT],
    /// Bytes from clients and to clients.
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    /// Connection tasks that panicked.
    pub panics: Counter,
    /// Events and access records that found their ring full.
    pub events_dropped: Counter,
    /// Connections to providers open now, and those of them unused.
    pub upstream_open: Gauge,
    pub upstream_idle: Gauge,
    /// WebSockets to providers open now, and what is subscribed to on them.
    pub upstream_sockets: Gauge,
    pub upstream_subscriptions: Gauge,
    /// WebSockets to providers that were opened, that could not be, and that were lost while they were used.
    pub upstream_sockets_opened: Counter,
    pub upstream_sockets_refused: Counter,
    pub upstream_sockets_lost: Counter,
}

impl Counters {
    /// Counts a WebSocket that has ended.
    pub fn socket_end(&self, end: SocketEnd) {
        self.socket_ends[end as usize].add(1);
    }

    /// Counts a client's handshake that has ended.
    pub fn handshake(&self, end: HandshakeEnd) {
        self.handshakes[end as usize].add(1);
    }

    /// Counts an answer that this node made because of a failure.
    pub fn failure(&self, reason: Reason) {
        self.failures[reason.index()].add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_counted_as_itself() {
        assert!(HandshakeEnd::ALL.iter().enumerate().all(|(at, end)| *end as usize == at));
        assert!(Crowded::ALL.iter().enumerate().all(|(at, limit)| *limit as usize == at));
        assert!(SocketEnd::ALL.iter().enumerate().all(|(at, end)| *end as usize == at));
    }
}
