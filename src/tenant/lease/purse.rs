//! What shards take from: a word for each thing that is limited. No shard ever waits for one to be filled.
//!
//! A word holds how much is left and until when it may be used, so that a shard that reads it sees both as they belong
//! together: 40 bits of the amount, 24 of the moment in 1,024 µs. Moments go round after four hours; control looks at each
//! purse many times a minute. A moment of 0 stands for no end.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};

use super::terms::LeaseTerms;
use crate::limits::WORD_TRIES_MAX;
use crate::tenant::quota::Limit;
use crate::time::Instant;
use crate::word::SharedWord;

/// What one node may use of one key, alone in its lines of memory. See the module.
#[derive(Debug)]
#[repr(align(128))]
pub struct Lease {
    /// Calls and units.
    pub(super) rates: [Purse; 2],
    pub(super) month: Purse,
    /// Which month it is of.
    month_number: AtomicU16,
    /// What was billed and not in the month's purse.
    owed: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Purse {
    word: SharedWord,
    /// What shards did not find in it.
    missed: AtomicU64,
    /// The smallest of them.
    least_missed: AtomicU64,
    /// What it began with.
    pub(super) began: u64,
}

const LEFT_BITS: u32 = 40;
const LEFT_MASK: u64 = (1 << LEFT_BITS) - 1;
const UNTIL_MASK: u64 = (1 << 24) - 1;
/// So much that nobody uses it up: not limited here.
pub(super) const OPEN: u64 = 1 << 38;
/// The most that is leased at once.
pub(super) const LEASED_MAX: u64 = 1 << 37;

impl Lease {
    /// Of a key that this node has just met.
    #[must_use]
    pub fn new(terms: &LeaseTerms) -> Self {
        Self {
            rates: terms.rates.map(|rate| Purse::new(rate.map_or(OPEN, |figures| terms.starter(figures)))),
            month: Purse::new(terms.units_per_month.map_or(OPEN, |limit| terms.month_starter(limit))),
            month_number: AtomicU16::new(terms.month.number),
            owed: AtomicU64::new(0),
        }
    }

    /// A new month's lease begins.
    pub(super) fn begin_month(&self, number: u16) {
        self.month_number.store(number, Relaxed);
    }

    /// Takes a call of `units`, or nothing; what is used up, then.
    #[inline]
    pub fn take(&self, now: Instant, units: u32) -> Result<(), Limit> {
        let (units, [of_calls, of_units]) = (u64::from(units), &self.rates);
        if !of_calls.take(now, 1) {
            return Err(Limit::Calls);
        }
        if !of_units.take(now, units) {
            of_calls.put_back(1);
            return Err(Limit::Units);
        }
        if !self.month.take(now, units) {
            of_calls.put_back(1);
            of_units.put_back(units);
            return Err(Limit::Month);
        }
        Ok(())
    }

    /// A call that was taken in `month` is not paid for, though it was made. One of last month is last month's.
    pub fn unbill(&self, units: u32, month: u16) {
        if self.month_number.load(Relaxed) == month {
            self.month.put_back(units.into());
        }
    }

    /// Counts in the month what nobody was asked for beforehand; what is not there is owed.
    pub fn bill(&self, units: u64) {
        let found = self.month.change(|left, _| Some((left.saturating_sub(units), None))).unwrap_or(0);
        if found < units {
            self.owed.fetch_add(units - found, Relaxed);
        }
    }

    /// What came to be owed since the last time.
    pub(super) fn take_owed(&self) -> u64 {
        if self.owed.load(Relaxed) == 0 { 0 } else { self.owed.swap(0, Relaxed) }
    }
}

impl Purse {
    pub(super) fn new(amount: u64) -> Self {
        Self {
            word: SharedWord::new(amount.min(LEFT_MASK)),
            missed: AtomicU64::new(0),
            least_missed: AtomicU64::new(u64::MAX),
            began: amount.min(LEFT_MASK),
        }
    }

    #[inline]
    fn take(&self, now: Instant, amount: u64) -> bool {
        let taken = self.change(|left, until| {
            if is_over(until, now) {
                return None;
            }
            left.checked_sub(amount).map(|left| (left, None))
        });
        if taken.is_none() {
            self.missed.fetch_add(amount, Relaxed);
            self.least_missed.fetch_min(amount, Relaxed);
        }
        taken.is_some()
    }

    fn put_back(&self, amount: u64) {
        self.change(|left, _| Some(((left + amount).min(LEFT_MASK), None)));
    }

    /// What is left, whether or not it may still be used.
    pub(super) fn left(&self) -> u64 {
        self.word.get() & LEFT_MASK
    }

    /// Whether what nobody should ever use up was used up by half.
    pub(super) fn wants_opening(&self) -> bool {
        self.left() < OPEN / 2
    }

    /// Of what is not limited.
    pub(super) fn keep_open(&self) {
        if self.wants_opening() {
            self.fill(None, |_| OPEN);
        }
    }

    /// What was missed since the last time, and the smallest of it.
    pub(super) fn take_missed(&self) -> (u64, u64) {
        if self.missed.load(Relaxed) == 0 {
            return (0, 1);
        }
        (self.missed.swap(0, Relaxed), self.least_missed.swap(u64::MAX, Relaxed).clamp(1, LEASED_MAX))
    }

    /// Puts in what `fill` makes of what is left, good until a moment, or without end; what was left. None where shards
    /// were faster each time: then it is as it was.
    pub(super) fn fill(&self, until: Option<Instant>, fill: impl Fn(u64) -> u64) -> Option<u64> {
        let ticks = until.map_or(0, |until| ticks(until).max(1));
        let try_once = |_| self.change(|left, _| Some((fill(left).min(LEFT_MASK), Some(ticks))));
        (0..WORD_TRIES_MAX).find_map(try_once)
    }

    /// What was left.
    fn change(&self, change: impl Fn(u64, u64) -> Option<(u64, Option<u64>)>) -> Option<u64> {
        let (before, _) = self.word.change(|word| {
            let until = word >> LEFT_BITS;
            let (after, newer) = change(word & LEFT_MASK, until)?;
            Some(after | newer.unwrap_or(until) << LEFT_BITS)
        })?;
        Some(before & LEFT_MASK)
    }
}

const fn ticks(moment: Instant) -> u64 {
    (moment.micros() >> 10) & UNTIL_MASK
}

const fn is_over(until: u64, now: Instant) -> bool {
    until != 0 && (ticks(now).wrapping_sub(until) & UNTIL_MASK) < UNTIL_MASK / 2
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn what_is_in_it_can_be_used_until_its_moment() {
        let purse = Purse::new(3);
        assert!(purse.take(ms(0), 2) && !purse.take(ms(0), 2) && purse.take(ms(1 << 40), 1));
        assert_eq!((purse.take_missed(), purse.take_missed()), ((2, 2), (0, 1)));
        for start in [0, 1, 16_000_000, 17_179_869, 17_179_800] {
            assert_eq!(purse.fill(Some(ms(start + 100)), |left| left + 5), Some(0), "{start}");
            assert!(purse.take(ms(start + 98), 1), "{start}");
            assert!(!purse.take(ms(start + 102), 1) && !purse.take(ms(start + 3_600_000), 1), "{start}");
            assert_eq!(purse.fill(None, |_| 0), Some(4));
        }
        assert_eq!(purse.take_missed(), (10, 1));
    }

    #[test]
    fn a_call_takes_all_or_nothing() {
        let lease = Lease {
            rates: [Purse::new(10), Purse::new(100)],
            month: Purse::new(50),
            month_number: AtomicU16::new(7),
            owed: AtomicU64::new(0),
        };
        assert_eq!(lease.take(ms(0), 40), Ok(()));
        assert_eq!(lease.take(ms(0), 40), Err(Limit::Month));
        assert_eq!(lease.take(ms(0), 70), Err(Limit::Units));
        assert_eq!([&lease.rates[0], &lease.rates[1], &lease.month].map(Purse::left), [9, 60, 10]);
        lease.unbill(40, 6);
        assert_eq!(lease.month.left(), 10, "of last month");
        lease.unbill(40, 7);
        assert_eq!(lease.take(ms(0), 40), Ok(()));
        lease.bill(100);
        assert_eq!([&lease.rates[0], &lease.rates[1], &lease.month].map(Purse::left), [8, 20, 0]);
        assert_eq!((lease.take_owed(), lease.take_owed()), (90, 0));
    }

    #[test]
    fn threads_never_take_more_than_is_put_in() {
        let purse = Purse::new(0);
        let filled = (0..200).map(|n| n % 7).sum::<u64>();
        let taken: u64 = thread::scope(|scope| {
            let take = || (0..20_000).filter(|_| purse.take(ms(0), 1)).count() as u64;
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(take)).collect();
            let mut put = 0;
            for n in 0..200 {
                // One that shards were faster than is put in the next time.
                put += n % 7;
                if purse.change(|left, _| Some((left + put, None))).is_some() {
                    put = 0;
                }
            }
            let taken: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            purse.fill(None, |left| left + put);
            taken
        });
        assert_eq!(taken + purse.left(), filled);
    }
}
