//! A shard's own counts, read by control when it is asked for metrics.
//!
//! Each has one writer, its shard, so an increment is a load and a store without a lock prefix; the block is a shard's
//! alone in its cache lines. A reader may see counts of different moments: they are sums, not a balance.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

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

/// What one shard counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Client connections accepted.
    pub accepted: CachePadded<Counter>,
    /// Client connections turned away because the shard held its limit.
    pub refused: Counter,
    /// Times that accepting failed for want of descriptors or memory.
    pub accept_failures: Counter,
    /// Client connections open now.
    pub connections: Gauge,
    /// Those of them that are WebSockets.
    pub sockets: Gauge,
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
}

impl Counters {
    /// Counts an answer that this node made because of a failure.
    pub fn failure(&self, reason: Reason) {
        self.failures[reason.index()].add(1);
    }
}
