//! The newest snapshot, one slot a shard: written by control, looked at by the shard between requests.
//!
//! A shard reads only the generation (one shared load) until it changes, and takes the lock only then: the lock is
//! never contended but by the publication itself, and the request path never sees it. Control keeps its own reference
//! to every snapshot that a shard may still hold, so that a shard never frees one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A value that is replaced whole, with a generation that tells when.
#[derive(Debug)]
pub struct Slot<T> {
    generation: AtomicU64,
    value: Mutex<Arc<T>>,
}

impl<T> Slot<T> {
    /// A slot that holds `value` as generation 1.
    pub fn new(value: Arc<T>) -> Self {
        Self { generation: AtomicU64::new(1), value: Mutex::new(value) }
    }

    /// Puts `value` in place of what was there.
    pub fn publish(&self, value: Arc<T>) {
        let mut held = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        *held = value;
        // Inside the lock, so that a reader that sees the generation also finds at least that value.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The generation of the newest value.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The newest value with its generation.
    pub fn load(&self) -> (u64, Arc<T>) {
        let held = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        (self.generation.load(Ordering::Acquire), Arc::clone(&held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_finds_the_newest_with_its_generation() {
        let slot = Slot::new(Arc::new(1));
        assert_eq!(slot.load(), (1, Arc::new(1)));
        slot.publish(Arc::new(2));
        assert_eq!(slot.generation(), 2);
        assert_eq!(slot.load(), (2, Arc::new(2)));
    }
}
