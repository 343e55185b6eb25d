//! The transactions that a shard has sent lately, by hash: the last so many.

use std::collections::{HashSet, VecDeque};

use crate::jsonrpc::TransactionHash;

pub(crate) struct SentTransactions {
    known: HashSet<TransactionHash>,
    /// Oldest first.
    order: VecDeque<TransactionHash>,
    kept_max: usize,
}

impl SentTransactions {
    pub(crate) fn new(kept_max: usize) -> Self {
        Self { known: HashSet::new(), order: VecDeque::new(), kept_max }
    }

    pub(crate) fn contains(&self, hash: &TransactionHash) -> bool {
        self.known.contains(hash)
    }

    pub(crate) fn remember(&mut self, hash: TransactionHash) {
        if !self.known.insert(hash) {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > self.kept_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let hash = |n| TransactionHash([n; 32]);
        let mut sent = SentTransactions::new(2);
        for n in [1, 2, 1, 3] {
            sent.remember(hash(n));
        }
        assert!(!sent.contains(&hash(1)), "the third pushed it out");
        assert!(sent.contains(&hash(2)) && sent.contains(&hash(3)));
    }
}
