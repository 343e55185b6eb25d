//! What the shard measures: rows made on first use, shipped to control when touched.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use ringbuf::traits::{Consumer, Observer, Producer};

use crate::jsonrpc::MethodInfo;
use crate::limits;
use crate::link::{AccessRecord, Counters, Event, Outcome, Row, RowKey, ShardEnd};
use crate::routing::Compared;
use crate::tenant::UsageTable;

/// The shard's end of everything that control hears.
pub(crate) struct Recorder {
    ends: RefCell<ShardEnd>,
    rows: RefCell<HashMap<RowKey, Box<Row>, BuildHasherDefault<RowHasher>>>,
    /// Rows that came back emptied, to be used under any key.
    #[allow(clippy::vec_box)] // they travel boxed: unboxing would copy each row twice
    spare: RefCell<Vec<Box<Row>>>,
}

/// For keys of our own making, numbers counted upwards: a multiplication spreads them, and nobody can choose them so that they
/// meet, against which the standard library's hasher guards at several times the cost.
#[derive(Default)]
struct RowHasher(u64);

impl Hasher for RowHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        // The table takes the lowest bits, and a product's best are its highest.
        self.0 ^ self.0 >> 32
    }
}

impl Recorder {
    pub(crate) fn new(ends: ShardEnd) -> Self {
        Self { ends: RefCell::new(ends), rows: RefCell::default(), spare: RefCell::default() }
    }

    /// Counts an attempt at a provider; `key` is of the call's `method`.
    pub(crate) fn attempt(&self, key: RowKey, method: &'static MethodInfo, outcome: Outcome, latency: Duration) {
        self.with_row(key, |row| row.record_method(method, outcome, latency));
    }

    /// Counts an attempt that another one outran; `least`: it would have taken at least this long.
    pub(crate) fn outrun(&self, key: RowKey, least: Option<Duration>) {
        self.with_row(key, |row| row.record_outrun(least));
    }

    /// Compares an attempt that has been counted or is about to be: the one that ranking prefers takes `preferred`.
    pub(crate) fn compared(&self, key: RowKey, how: Compared, preferred: Duration, took: Duration) {
        self.with_row(key, |row| row.regret.on_call(how, preferred, took));
    }

    #[inline]
    fn with_row(&self, key: RowKey, record: impl FnOnce(&mut Row)) {
        let mut rows = self.rows.borrow_mut();
        if let Some(row) = rows.get_mut(&key) {
            record(row);
        } else if rows.len() < limits::ROWS_PER_SHARD_MAX {
            let mut row = self.spare_row(key);
            record(&mut row);
            rows.insert(key, row);
        }
    }

    /// Sends every touched row; one that finds the ring full stays and goes on being filled.
    pub(crate) fn ship(&self) {
        let mut ends = self.ends.borrow_mut();
        let mut spare = self.spare.borrow_mut();
        while let Some(row) = ends.emptied.try_pop() {
            if spare.len() < limits::ROWS_PER_SHARD_MAX {
                spare.push(row);
            }
        }
        drop(spare);
        let mut rows = self.rows.borrow_mut();
        let keys: Vec<_> = rows.keys().copied().collect();
        for key in keys {
            let Some(row) = rows.remove(&key) else { continue };
            if let Err(row) = ends.rows.try_push(row) {
                rows.insert(key, row);
                return;
            }
        }
    }

    /// Sends what was used since the last time; whether nothing is left. What finds the ring full goes on being summed.
    pub(crate) fn ship_usage(&self, usage: &mut UsageTable) -> bool {
        if usage.is_empty() {
            return true;
        }
        let mut ends = self.ends.borrow_mut();
        if ends.usage.is_full() {
            return false;
        }
        let emptied = ends.usage_emptied.try_pop().unwrap_or_else(|| UsageTable::new(limits::USAGE_ROWS_PER_SHARD_MAX));
        // There is room: this end alone fills the ring.
        ends.usage.try_push(std::mem::replace(usage, emptied)).is_ok()
    }

    /// Tells control what happened; dropped and counted when the ring is full.
    pub(crate) fn event(&self, event: Event, counters: &Counters) {
        if self.ends.borrow_mut().events.try_push(event).is_err() {
            counters.events_dropped.add(1);
        }
    }

    /// Tells the access log of a request; dropped and counted when the ring is full.
    pub(crate) fn access(&self, record: AccessRecord, counters: &Counters) {
        if self.ends.borrow_mut().access.try_push(record).is_err() {
            counters.events_dropped.add(1);
        }
    }

    fn spare_row(&self, key: RowKey) -> Box<Row> {
        match self.spare.borrow_mut().pop() {
            Some(mut row) => {
                row.key = key;
                row
            }
            None => Box::new(Row::new(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::MethodClass;
    use crate::link::pair;

    #[test]
    fn what_is_compared_before_it_is_counted_is_not_lost() {
        let (shard, mut control) = pair();
        let recorder = Recorder::new(shard);
        let key = RowKey::of_class(1, MethodClass::Read);
        for _ in 0..2 {
            // A row that was shipped is not there, as at a provider that gets hedges alone.
            recorder.compared(key, Compared::Hedged, Duration::from_millis(50), Duration::from_millis(2));
            recorder.attempt(key, crate::jsonrpc::info("eth_getBalance"), Outcome::Success, Duration::from_millis(2));
            recorder.ship();
            let row = control.rows.try_pop();
            assert_eq!(row.map(|row| (row.regret.calls(Compared::Hedged), row.outcomes[0])), Some((1, 1)));
        }
    }
}
