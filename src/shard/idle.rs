//! The idle connections of a shard, so that a closing node can wake them.

use std::cell::RefCell;

use slab::Slab;

use super::timers::{Alarm, Timer};

/// Connections that wait for a request.
#[derive(Default)]
pub(crate) struct IdleSet(RefCell<Slab<Alarm>>);

/// A connection's place in the set, left when dropped.
pub(crate) struct Idle<'a> {
    set: &'a IdleSet,
    key: usize,
}

impl IdleSet {
    /// Adds the connection whose wait `timer` limits.
    pub(crate) fn enter(&self, timer: &Timer) -> Idle<'_> {
        Idle { set: self, key: self.0.borrow_mut().insert(timer.alarm()) }
    }

    /// Ends every wait now, as if its time were up.
    pub(crate) fn wake_all(&self) {
        for (_, alarm) in self.0.borrow().iter() {
            alarm.ring_now();
        }
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.set.0.borrow_mut().remove(self.key);
    }
}
