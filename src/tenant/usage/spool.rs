//! Usage on its way to the ledger: one batch at a time, each with a number of its own.
//!
//! The ledger commits a batch under (node, boot, sequence) and ignores one that it has. So a batch whose commit nobody
//! heard of is offered again, the very same rows under the same number, for as long as it takes, and never counts
//! twice. What is used meanwhile is summed in the table beside; only when that is written does it become the next
//! batch. So an outage of the ledger costs the memory of one batch and one table, whose rows get fewer details when
//! they become too many.

use super::UsageKey;
use super::row::Usage;
use super::table::{Grain, UsageTable};
use crate::limits::{USAGE_BATCH_ROWS_MAX, USAGE_ROWS_MAX};

/// Rows for the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Counted from 1 since the node started.
    pub sequence: u64,
    pub rows: Vec<(UsageKey, Usage)>,
}

/// See the module.
#[derive(Debug)]
pub struct Spool {
    table: UsageTable,
    /// Offered, and not known to be written.
    offered: Option<Batch>,
    last: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self { table: UsageTable::new(USAGE_ROWS_MAX), offered: None, last: 0 }
    }
}

impl Spool {
    /// Takes over what a shard has summed; its table is empty then.
    pub fn absorb(&mut self, shard: &mut UsageTable) {
        self.table.absorb(shard);
    }

    /// What is to be written now: the batch that was offered before, until it is written, else the next one; none where
    /// nothing was used.
    pub fn offer(&mut self) -> Option<&Batch> {
        if self.offered.is_none() && !self.table.is_empty() {
            self.last += 1;
            let rows = self.table.take(USAGE_BATCH_ROWS_MAX);
            self.offered = Some(Batch { sequence: self.last, rows });
        }
        self.offered.as_ref()
    }

    /// The batch of this number is written. One that was said to be before says nothing new.
    pub fn on_written(&mut self, sequence: u64) {
        self.offered.take_if(|offered| offered.sequence == sequence);
    }

    /// Rows that are not known to be written.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.table.len() + self.offered.as_ref().map_or(0, |batch| batch.rows.len())
    }

    /// What detail is kept, for pages and alarms.
    #[must_use]
    pub const fn grain(&self) -> Grain {
        self.table.grain()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::super::key::KeyId;
    use super::*;
    use crate::routing::Random;

    fn call(key: u64) -> (UsageKey, Usage) {
        (UsageKey { key: KeyId(key), ..UsageKey::default() }, Usage { calls: 1, units: 20, ..Usage::default() })
    }

    fn used(calls: &[u64]) -> UsageTable {
        let mut table = UsageTable::new(100);
        for (key, usage) in calls.iter().copied().map(call) {
            table.add(&key, &usage);
        }
        table
    }

    #[test]
    fn a_batch_is_offered_until_it_is_written() {
        let mut spool = Spool::default();
        assert_eq!(spool.offer(), None);
        spool.absorb(&mut used(&[1, 1, 2]));
        let first = spool.offer().unwrap().clone();
        assert_eq!((first.sequence, first.rows.len()), (1, 2));
        spool.absorb(&mut used(&[3]));
        assert_eq!(spool.offer(), Some(&first), "the same rows under the same number");
        spool.on_written(7);
        assert_eq!(spool.rows(), 3);
        assert_eq!(spool.offer(), Some(&first));
        spool.on_written(1);
        let second = spool.offer().unwrap().clone();
        assert_eq!((second.sequence, second.rows), (2, vec![call(3)]));
        spool.on_written(1);
        assert_eq!(spool.offer().map(|batch| batch.sequence), Some(2));
        spool.on_written(2);
        assert_eq!(spool.offer(), None);
        assert_eq!(spool.rows(), 0);
    }

    proptest! {
        /// A ledger that loses words, hears batches twice, and is gone at times has every call once.
        #[test]
        fn a_ledger_that_forgets_to_answer_counts_nothing_twice(seed in any::<u64>(), steps in 1..300_u32) {
            let (mut spool, mut random) = (Spool::default(), Random::new(seed));
            let (mut ledger, mut clients): (HashMap<u64, Batch>, u64) = (HashMap::new(), 0);
            let mut step = |spool: &mut Spool, writes: bool, answers: bool| {
                let Some(batch) = spool.offer() else { return };
                let sequence = batch.sequence;
                if writes {
                    let known = ledger.entry(sequence).or_insert_with(|| batch.clone());
                    assert_eq!(known, batch, "the same number is the same batch");
                    if answers {
                        spool.on_written(sequence);
                    }
                }
            };
            for _ in 0..steps {
                match random.next_u64() % 4 {
                    0 | 1 => {
                        let key = random.next_u64() % 5;
                        spool.absorb(&mut used(&[key]));
                        clients += 1;
                    }
                    _ => step(&mut spool, random.next_u64() % 3 > 0, random.next_u64() % 3 > 0),
                }
            }
            // The one that was offered, and what is left.
            step(&mut spool, true, true);
            step(&mut spool, true, true);
            let written: u64 = ledger.values().flat_map(|batch| &batch.rows).map(|(_, usage)| usage.calls).sum();
            prop_assert_eq!((written, spool.rows()), (clients, 0));
        }
    }
}
