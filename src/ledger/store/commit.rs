//! Usage in: each batch once, whoever dies when.
//!
//! Of each boot of a node the store keeps the number of its last batch, and nothing else: a node hands in its batches
//! one by one, so that a number which is not beyond the last has been counted. The number grows in the transaction that
//! counts. Two who hand in the same batch, as a node does whose connection broke with the answer still to come, meet in
//! that row: the second one waits, and finds it done.
//!
//! No clock decides anything. A batch whose minutes are of another year is counted in that year.

use super::Store;
use crate::ledger::engine::{Begin, Param};
use crate::ledger::error::StoreError;
use crate::ledger::row::UsageBatch;
use crate::ledger::usage::{MINUTE, key_days, summed};
use crate::limits::LEDGER_NODE_BYTES_MAX;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    Now,
    /// It had been before: nothing was counted.
    Before,
}

impl Store {
    /// Counts a batch, once.
    pub fn commit(&mut self, batch: &UsageBatch) -> Result<Committed, StoreError> {
        if batch.node.len() > LEDGER_NODE_BYTES_MAX {
            return Err(StoreError::Invalid { field: "node", why: "its name is too long" });
        }
        let sums = summed(&batch.rows);
        self.transaction(Begin::Write, |engine| {
            let sql = "INSERT INTO commits (node, boot, last, place) \
                       VALUES (?1, ?2, ?3, (SELECT COALESCE(MAX(place), 0) + 1 FROM commits)) \
                       ON CONFLICT (node, boot) DO UPDATE SET last = excluded.last, place = excluded.place \
                       WHERE commits.last < excluded.last";
            let boot = batch.boot.to_be_bytes();
            let sequence = i64::try_from(batch.sequence).unwrap_or(i64::MAX);
            let params = [Param::Text(&batch.node), Param::Bytes(&boot), Param::Int(sequence)];
            if engine.execute(sql, &params)? == 0 {
                return Ok(Committed::Before);
            }
            engine.add_usage(MINUTE, &sums)?;
            engine.add_key_days(&key_days(&sums))?;
            Ok(Committed::Now)
        })
    }
}
