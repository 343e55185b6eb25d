//! What the admin port reads of the node. Control's thread alone uses it; the mutex is for the type system.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::calendar;
use super::events::Events;
use super::logging::Dropped;
use super::rank::Rank;
use super::totals::Totals;
use super::watch::Watch;
use crate::link::{Counters, Entrance, Gauge, PhaseCell, Slot, Snapshot};
use crate::routing::Month;
use crate::time::Instant;

/// The node, as seen from its control thread.
#[derive(Debug)]
pub struct View {
    pub phase: Arc<PhaseCell>,
    /// By shard.
    pub counters: Vec<Arc<Counters>>,
    /// What [`Instant::START`] stands for.
    pub epoch: std::time::Instant,
    pub log_lines_dropped: Dropped,
    /// Configs taken over by a reload, and those refused.
    pub reloads: Reloads,
    pub events: Events,
    pub tenants: TenantFigures,
    entrance: Arc<Slot<Entrance>>,
    snapshot: Slot<Snapshot>,
    totals: Mutex<Totals>,
    rank: Mutex<Rank>,
    watch: Mutex<Watch>,
}

/// Keys and the ledger, where the node has tenants.
#[derive(Debug, Default)]
pub struct TenantFigures {
    pub keys: Gauge,
    pub active_keys: Gauge,
    pub active_strangers: Gauge,
    pub rows_waiting: Gauge,
    /// 1 or 0.
    pub ledger_up: Gauge,
    /// Likewise, and 1 where there is no fleet.
    pub fleet_up: Gauge,
}

/// Reloads by result.
#[derive(Debug, Default)]
pub struct Reloads {
    done: AtomicU64,
    refused: AtomicU64,
}

impl View {
    #[must_use]
    pub fn new(
        phase: Arc<PhaseCell>,
        counters: Vec<Arc<Counters>>,
        epoch: std::time::Instant,
        log_lines_dropped: Dropped,
        snapshot: Arc<Snapshot>,
    ) -> Self {
        // Another one in each process: nodes that lost a provider together do not ask it again together.
        let seed = RandomState::new().hash_one(0);
        let rank = Rank::new(Instant::START, &snapshot, counters.len(), seed);
        Self {
            phase,
            counters,
            epoch,
            log_lines_dropped,
            reloads: Reloads::default(),
            events: Events::default(),
            tenants: TenantFigures::default(),
            entrance: Arc::new(Slot::new(Arc::default())),
            watch: Mutex::new(Watch::new(&snapshot)),
            snapshot: Slot::new(snapshot),
            totals: Mutex::new(Totals::new(epoch)),
            rank: Mutex::new(rank),
        }
    }

    /// Now, as shards and breakers count.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::START + self.epoch.elapsed()
    }

    /// Which month it is for a plan that begins on `day`.
    pub(super) fn month(&self, day: u8) -> Month {
        calendar::month(calendar::unix_now(), self.now(), day)
    }

    /// The newest.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load().1
    }

    /// The same view, which tells of this entrance.
    #[must_use]
    pub fn with_entrance(self, entrance: Arc<Slot<Entrance>>) -> Self {
        Self { entrance, ..self }
    }

    /// What connections are let in with now.
    #[must_use]
    pub fn entrance(&self) -> Arc<Entrance> {
        self.entrance.load().1
    }

    pub fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn rank(&self) -> MutexGuard<'_, Rank> {
        self.rank.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked before the totals, where both are.
    pub fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publish(&self, snapshot: Arc<Snapshot>) {
        self.watch().take_over(&snapshot, self.now());
        self.snapshot.publish(snapshot);
    }
}

impl Reloads {
    pub(super) fn count(&self, done: bool) {
        let counter = if done { &self.done } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Taken over, refused.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}
