//! The shard's clock: the only place of the data plane that reads the machine's time.
//!
//! The time is read once a turn of the ring: what runs in one turn was made ready by one look at the kernel, and a turn is
//! well under a millisecond. What wakes by itself, the timers, reads it anew.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::ring::Ring;
use crate::http::{self, DATE_BYTES};
use crate::time::Instant;

/// Monotonic moments since the node started, and the wall clock for `Date`.
pub(crate) struct Clock {
    ring: Ring,
    epoch: std::time::Instant,
    /// What the wall clock showed at the epoch, since 1970.
    epoch_unix: Cell<Duration>,
    now: Cell<Instant>,
    /// The turn that `now` was read in.
    turn: Cell<u64>,
    /// The second that `date` was rendered for.
    date_second: Cell<u64>,
    date: RefCell<[u8; DATE_BYTES]>,
}

impl Clock {
    pub(crate) fn new(ring: Ring, epoch: std::time::Instant) -> Self {
        let clock = Self {
            ring,
            epoch,
            epoch_unix: Cell::new(Duration::ZERO),
            now: Cell::new(Instant::START),
            turn: Cell::new(u64::MAX),
            date_second: Cell::new(0),
            date: RefCell::new(http::http_date(0)),
        };
        clock.set_wall_clock();
        clock
    }

    /// This turn's moment.
    pub(crate) fn now(&self) -> Instant {
        let turn = self.ring.turn();
        if self.turn.replace(turn) == turn { self.now.get() } else { self.read() }
    }

    /// The moment as the machine has it now.
    pub(crate) fn read(&self) -> Instant {
        let micros = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.now.set(Instant::from_micros(micros));
        self.now.get()
    }

    /// Follows the machine's wall clock, which may be set while the node runs; called now and then.
    pub(crate) fn set_wall_clock(&self) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.epoch_unix.set(unix.saturating_sub(self.epoch.elapsed()));
    }

    /// Seconds since 1970.
    pub(crate) fn unix_seconds(&self) -> u64 {
        (self.epoch_unix.get() + self.now().since(Instant::START)).as_secs()
    }

    /// The `Date` header's value, rendered once a second.
    pub(crate) fn date(&self) -> [u8; DATE_BYTES] {
        let second = self.unix_seconds();
        if self.date_second.replace(second) != second {
            *self.date.borrow_mut() = http::http_date(second);
        }
        *self.date.borrow()
    }
}
