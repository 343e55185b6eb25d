//! What waits for one client: bounded, so that one that reads slowly costs no more than that, and nobody else anything.
//!
//! Nothing is ever left out to make room, since the client would not know: an outbox that is full once stays closed,
//! and its client's connection is ended with a reason.

use std::collections::VecDeque;

use crate::limits::{OUTBOX_BYTES_MAX, OUTBOX_ITEMS_MAX};

/// A queue of one client's notifications.
#[derive(Debug)]
pub struct Outbox<T> {
    waiting: VecDeque<(T, usize)>,
    bytes: usize,
    items_max: usize,
    bytes_max: usize,
    is_full: bool,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self::new(OUTBOX_ITEMS_MAX, OUTBOX_BYTES_MAX)
    }
}

impl<T> Outbox<T> {
    /// An outbox of so many items and bytes.
    #[must_use]
    pub const fn new(items_max: usize, bytes_max: usize) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, items_max, bytes_max, is_full: false }
    }

    /// Adds what will take `bytes`. False: there is no room, and the client must be closed. An item always fits alone.
    pub fn push(&mut self, item: T, bytes: usize) -> bool {
        let is_beyond = self.waiting.len() >= self.items_max || self.bytes.saturating_add(bytes) > self.bytes_max;
        if self.is_full || is_beyond && !self.waiting.is_empty() {
            self.is_full = true;
            return false;
        }
        self.bytes += bytes;
        self.waiting.push_back((item, bytes));
        true
    }

    /// What is to be sent next.
    pub fn pop(&mut self) -> Option<T> {
        let (item, bytes) = self.waiting.pop_front()?;
        self.bytes -= bytes;
        Some(item)
    }

    /// Something did not fit: the stream has a hole from there on.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_in_items_and_in_bytes_and_stays_closed() {
        let mut outbox = Outbox::default();
        assert!((0..OUTBOX_ITEMS_MAX).all(|n| outbox.push(n, 1)));
        assert!(!outbox.push(0, 0) && outbox.is_full());
        assert_eq!(outbox.pop(), Some(0));
        assert!(!outbox.push(0, 0));

        let mut outbox = Outbox::default();
        assert!(outbox.push("large", OUTBOX_BYTES_MAX + 1));
        assert!(!outbox.push("small", 1));

        let mut outbox = Outbox::default();
        assert!(outbox.push(1, OUTBOX_BYTES_MAX));
        assert_eq!(outbox.pop(), Some(1));
        assert!(outbox.push(2, OUTBOX_BYTES_MAX) && !outbox.is_full());
    }
}
