//! What all shards measured together, per provider slot and method class.
//!
//! Two views of the same attempts. For metrics: sums since the slot came to be, with latencies in fixed buckets, since
//! a scraper takes differences and quantiles itself. For pages: percentiles of the last five to ten minutes, out of
//! two full histograms that take turns; percentiles since the start would hide today behind last week.
//!
//! A slot that a reload replaced is dropped with the snapshot that knew it: its number never comes back, and its labels
//! belong to the successor. Memory: about 200 bytes and twice 10 KiB for each (slot, class) that was ever asked.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::jsonrpc::MethodClass;
use crate::limits::{self, LATENCY_BUCKETS_US};
use crate::link::{Outcome, Row, RowKey};
use crate::routing::Regret;

/// Sums of all rows.
#[derive(Debug)]
pub struct Totals {
    rows: HashMap<RowKey, Total>,
    turned: Instant,
}

/// One (slot, class).
#[derive(Debug)]
pub struct Total {
    /// Attempts by [`Outcome`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Successes up to each edge of [`LATENCY_BUCKETS_US`] and above the one before; the last are beyond all.
    pub buckets: [u64; LATENCY_BUCKETS_US.len() + 1],
    /// Latency of all successes.
    pub latency_us_sum: u64,
    /// Of attempts made for the evidence alone.
    pub regret: Regret,
    present: Histogram<u32>,
    past: Histogram<u32>,
}

/// Latency of successes in microseconds, 1 % exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    /// Successes that they are made of.
    pub count: u64,
}

impl Totals {
    /// Nothing yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { rows: HashMap::new(), turned: now }
    }

    /// Adds what a shard measured.
    pub fn add(&mut self, row: &Row) {
        // Of the class, whatever is ranked by itself.
        let key = RowKey::of_class(row.key.slot, row.key.class);
        self.rows.entry(key).or_insert_with(Total::new).add(row);
    }

    /// Turns the windows over when it is time.
    pub fn on_time(&mut self, now: Instant) {
        if now.saturating_duration_since(self.turned) >= limits::LATENCY_WINDOW {
            self.turned = now;
            self.rows.values_mut().for_each(Total::turn);
        }
    }

    /// Drops what belongs to no slot in `slots`.
    pub fn retain(&mut self, slots: &HashSet<u64>) {
        self.rows.retain(|key, _| slots.contains(&key.slot));
    }

    /// What is known of a provider slot for a class; `None` where it was never asked.
    #[must_use]
    pub fn of(&self, slot: u64, class: MethodClass) -> Option<&Total> {
        self.rows.get(&RowKey::of_class(slot, class))
    }
}

impl Total {
    fn new() -> Self {
        // These grow with the highest latency seen, and most providers never see the highest.
        let histogram = || {
            let mut histogram = Histogram::new(limits::LATENCY_DIGITS).expect("constant digits that the crate accepts");
            histogram.auto(true);
            histogram
        };
        Self {
            outcomes: [0; Outcome::ALL.len()],
            buckets: [0; LATENCY_BUCKETS_US.len() + 1],
            latency_us_sum: 0,
            regret: Regret::default(),
            present: histogram(),
            past: histogram(),
        }
    }

    fn add(&mut self, row: &Row) {
        for (sum, count) in self.outcomes.iter_mut().zip(row.outcomes) {
            *sum += count;
        }
        self.regret.add(&row.regret);
        for value in row.latency_us.iter_recorded() {
            let latency_us = row.latency_us.median_equivalent(value.value_iterated_to());
            let count = value.count_at_value();
            self.buckets[LATENCY_BUCKETS_US.partition_point(|&edge| edge < latency_us)] += u64::from(count);
            self.latency_us_sum = self.latency_us_sum.saturating_add(latency_us.saturating_mul(count.into()));
        }
        // Fails only where it cannot grow, and this one grows.
        let _ = self.present.add(&row.latency_us);
    }

    fn turn(&mut self) {
        std::mem::swap(&mut self.present, &mut self.past);
        self.present.reset();
    }

    /// Of the last five to ten minutes; `None` without a success in them.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        let mut both = self.present.clone();
        let _ = both.add(&self.past);
        (!both.is_empty()).then(|| Percentiles {
            p50_us: both.value_at_quantile(0.5),
            p90_us: both.value_at_quantile(0.9),
            p99_us: both.value_at_quantile(0.99),
            count: both.len(),
        })
    }
}

impl Default for Totals {
    fn default() -> Self {
        Self::new(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::routing::Compared;

    const KEY: RowKey = RowKey::of_class(7, MethodClass::Read);

    fn row(latencies_ms: &[u64]) -> Row {
        let mut row = Row::new(KEY);
        for &latency in latencies_ms {
            row.record(Outcome::Success, Duration::from_millis(latency));
        }
        row
    }

    #[test]
    fn rows_of_all_shards_add_up() {
        let mut totals = Totals::default();
        let mut with_failure = row(&[30]);
        with_failure.record(Outcome::Failure, Duration::from_secs(1));
        with_failure.regret.on_call(Compared::Explored, Duration::from_millis(5), Duration::from_millis(3));
        for row in [row(&[10, 20]), with_failure, Row::new(KEY)] {
            totals.add(&row);
        }
        let total = totals.of(7, MethodClass::Read).unwrap();
        assert_eq!(total.outcomes, [3, 0, 0, 0, 1, 0]);
        assert_eq!((total.regret.calls(Compared::Explored), total.regret.lost_us()), (1, 2000));
        assert_eq!(total.buckets.iter().sum::<u64>(), 3);
        assert!((59_000..61_000).contains(&total.latency_us_sum), "{}", total.latency_us_sum);
        assert!(totals.of(7, MethodClass::Head).is_none());
        assert!(totals.of(8, MethodClass::Read).is_none());
    }

    #[test]
    fn latencies_fall_into_their_buckets() {
        let cases = [(0, 0), (3, 2), (60, 7), (400, 12), (44_000, 17), (60_000, 18), (3_600_000, 18)];
        for (latency_ms, bucket) in cases {
            let mut total = Total::new();
            total.add(&row(&[latency_ms]));
            assert_eq!(total.buckets.iter().position(|&count| count == 1), Some(bucket), "{latency_ms} ms");
        }
    }

    #[test]
    fn percentiles_tell_of_the_last_two_windows() {
        let start = Instant::now();
        let mut totals = Totals::new(start);
        let p50_ms = |totals: &Totals| {
            totals.of(7, MethodClass::Read).unwrap().percentiles().map(|found| (found.p50_us / 1000, found.count))
        };
        totals.add(&row(&[1000; 10]));
        totals.on_time(start + limits::LATENCY_WINDOW);
        totals.add(&row(&[10; 30]));
        assert_eq!(p50_ms(&totals), Some((10, 40)));
        totals.on_time(start + limits::LATENCY_WINDOW + Duration::from_secs(1));
        assert_eq!(p50_ms(&totals), Some((10, 40)), "not yet time");
        totals.on_time(start + 2 * limits::LATENCY_WINDOW);
        assert_eq!(p50_ms(&totals), Some((10, 30)));
        totals.on_time(start + 3 * limits::LATENCY_WINDOW);
        assert_eq!(p50_ms(&totals), None);
        assert_eq!(totals.of(7, MethodClass::Read).unwrap().outcomes[0], 40, "sums stay");
    }

    #[test]
    fn a_replaced_slot_is_dropped() {
        let mut totals = Totals::default();
        totals.add(&row(&[1]));
        totals.retain(&HashSet::from([7]));
        assert!(totals.of(7, MethodClass::Read).is_some());
        totals.retain(&HashSet::from([8]));
        assert!(totals.of(7, MethodClass::Read).is_none());
    }
}
