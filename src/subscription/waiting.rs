//! Logs that were pushed before their block's head: bounded in number and in bytes.
//!
//! A node tells a block's logs and its head within [`PUSH_SKEW_MAX`]. Logs that have waited longer belong to a block
//! that its chain left before it was told, or whose header will be fetched, and its logs with it: they make room when
//! room is needed.

use std::collections::BTreeMap;

use super::block::{BlockHash, Log};
use crate::limits::{LOGS_WAITING_BYTES_MAX, LOGS_WAITING_MAX, PUSH_SKEW_MAX};
use crate::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By block, with the moment at which the first came.
    blocks: BTreeMap<BlockHash, (Instant, Vec<Log>)>,
    logs: usize,
    bytes: usize,
}

impl Waiting {
    /// Keeps a log. False: there is no room, and it is lost.
    #[must_use]
    pub(super) fn push(&mut self, now: Instant, log: Log) -> bool {
        if !self.has_room(&log) {
            self.blocks.retain(|_, (since, _)| now.since(*since) < PUSH_SKEW_MAX);
            let left = || self.blocks.values().flat_map(|(_, logs)| logs);
            (self.logs, self.bytes) = (left().count(), left().map(|log| log.raw.len()).sum());
            if !self.has_room(&log) {
                return false;
            }
        }
        self.logs += 1;
        self.bytes += log.raw.len();
        self.blocks.entry(log.block).or_insert((now, Vec::new())).1.push(log);
        true
    }

    fn has_room(&self, log: &Log) -> bool {
        self.logs < LOGS_WAITING_MAX && self.bytes + log.raw.len() <= LOGS_WAITING_BYTES_MAX
    }

    /// Those of a block whose head has come.
    pub(super) fn take(&mut self, block: BlockHash) -> Vec<Log> {
        let (_, logs) = self.blocks.remove(&block).unwrap_or_default();
        self.logs -= logs.len();
        self.bytes -= logs.iter().map(|log| log.raw.len()).sum::<usize>();
        logs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::Raw;

    #[test]
    fn what_waits_too_long_makes_room_and_nothing_else_does() {
        let log = |block, bytes: usize| Log { block: BlockHash([block; 32]), index: 0, raw: Raw::from(vec![0; bytes]) };
        let now = Instant::START;
        let mut waiting = Waiting::default();
        assert!((0..LOGS_WAITING_MAX).all(|_| waiting.push(now, log(1, 1))));
        assert!(!waiting.push(now, log(2, 1)));
        let later = now + PUSH_SKEW_MAX;
        assert!(waiting.push(later, log(2, 1)));
        assert_eq!(waiting.take(BlockHash([1; 32])), []);
        assert!(!waiting.push(later, log(3, LOGS_WAITING_BYTES_MAX)));
        assert_eq!(waiting.take(BlockHash([2; 32])).len(), 1);
        assert!(waiting.push(later, log(3, LOGS_WAITING_BYTES_MAX)));
    }
}
