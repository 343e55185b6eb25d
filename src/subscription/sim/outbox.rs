//! What waits for one client, as the shard keeps it: bounded, and one that was full once stays closed.

use std::collections::VecDeque;

/// A queue of one client's notifications.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    waiting: VecDeque<(T, usize)>,
    bytes: usize,
    items_max: usize,
    bytes_max: usize,
    is_full: bool,
}

impl<T> Outbox<T> {
    /// An outbox of so many items and bytes.
    pub(super) const fn new(items_max: usize, bytes_max: usize) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, items_max, bytes_max, is_full: false }
    }

    /// Adds what will take `bytes`. False: there is no room, and the client must be closed. An item always fits alone.
    pub(super) fn push(&mut self, item: T, bytes: usize) -> bool {
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
    pub(super) fn pop(&mut self) -> Option<T> {
        let (item, bytes) = self.waiting.pop_front()?;
        self.bytes -= bytes;
        Some(item)
    }

    /// Something did not fit: the stream has a hole from there on.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }
}
