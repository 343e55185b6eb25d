//! Units used in a month, counted by all shards together.
//!
//! One word: 16 bits of the month's number, 48 of the count. A new month begins by itself, at the moment that was told
//! with the old one; a shard that still believes in last month counts in this one. Shards count ahead in chunks, so
//! that the count may read a little high and never low; whoever lets a chunk go hands it in.
//!
//! Left out: calendars, and keeping the count across restarts: the ledger reads [`MonthCount::used`] and hands it back
//! with [`MonthCount::restore`].

use std::time::Duration;

use super::meter::Chunk;
use crate::limits::MONTH_CHUNK_PART;
use crate::time::Instant;
use crate::word::SharedWord;

/// Which month of the plan it is. Counted by whoever knows the calendar and the day on which the vendor bills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Month {
    /// The day since 1970 on which it begins: so plans whose months begin on different days never take one for another.
    pub number: u16,
    /// When the next one begins, as far as is known: counting begins anew at that moment without being told.
    pub ends: Option<Instant>,
    /// The next one's number.
    pub next: u16,
}

impl Month {
    pub(crate) fn number_at(self, now: Instant) -> u16 {
        if self.ends.is_some_and(|ends| now >= ends) { self.next } else { self.number }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct MonthCount(SharedWord);

/// What a shard has counted ahead.
#[derive(Clone, Debug, Default)]
pub(crate) struct MonthChunk {
    chunk: Chunk,
    /// The month that it was counted in.
    number: u16,
}

/// How long what a shard counted ahead may wait to be spent: a month is long, and what is ahead is little.
const MONTH_CHUNK_LIFE: Duration = Duration::from_secs(10);

const USED_MAX: u64 = (1 << 48) - 1;

impl MonthCount {
    pub(crate) const fn new() -> Self {
        Self(SharedWord::new(0))
    }

    pub(crate) fn has(&self, now: Instant, units: u32, most: u64, month: u16, own: &MonthChunk) -> bool {
        let (number, used) = Self::read(self.0.get(), month);
        let counted = own.number == number && own.chunk.has(now, units.into());
        counted || used.saturating_add(units.into()) <= most.min(USED_MAX)
    }

    /// The month that they were counted in, `month` or a later one; none where there are not so many left.
    pub(crate) fn take(&self, now: Instant, units: u32, most: u64, month: u16, own: &mut MonthChunk) -> Option<u16> {
        let (number, _) = Self::read(self.0.get(), month);
        if own.number != number {
            // What was counted ahead stays with its month.
            *own = MonthChunk { chunk: Chunk::default(), number };
        }
        if own.chunk.spend(now, units.into()) {
            return Some(number);
        }
        let most = most.min(USED_MAX);
        let renewed =
            own.chunk.renew(now, units.into(), (most / MONTH_CHUNK_PART, MONTH_CHUNK_LIFE), |wanted, back| {
                self.update(number, |used| used.saturating_sub(back).checked_add(wanted).filter(|used| *used <= most))
            });
        renewed.then_some(number)
    }

    /// Takes back what a shard has counted ahead and has not spent.
    pub(crate) fn hand_in(&self, own: &mut MonthChunk) {
        let MonthChunk { chunk, number } = std::mem::take(own);
        self.take_back(chunk.kept(), number);
    }

    /// Counts back what was taken in `month`, if that is still the one.
    pub(crate) fn give_back(&self, units: u32, month: u16) {
        self.take_back(units.into(), month);
    }

    fn take_back(&self, units: u64, month: u16) {
        let (number, _) = Self::read(self.0.get(), month);
        if number == month && units > 0 {
            self.update(month, |used| Some(used.saturating_sub(units)));
        }
    }

    pub(crate) fn used(&self, month: u16) -> u64 {
        Self::read(self.0.get(), month).1
    }

    /// The month that counts and what is used of it.
    pub(crate) fn parts(&self) -> (u16, u64) {
        let word = self.0.get();
        ((word >> 48) as u16, word & USED_MAX)
    }

    /// Adds what was used before this count began.
    pub(crate) fn restore(&self, used: u64, month: u16) {
        self.update(month, |counted| Some(counted.saturating_add(used).min(USED_MAX)));
    }

    fn update(&self, month: u16, change: impl Fn(u64) -> Option<u64>) -> bool {
        let changed = self.0.change(|word| {
            let (number, used) = Self::read(word, month);
            Some(change(used)? | u64::from(number) << 48)
        });
        changed.is_some()
    }

    /// The month that counts and what is used of it: the word's, unless `month` is a later one. Numbers go round.
    const fn read(word: u64, month: u16) -> (u16, u64) {
        const AGO: u16 = u16::MAX / 2;
        let number = (word >> 48) as u16;
        // By one at least: one comparison for both.
        let is_later = month.wrapping_sub(number).wrapping_sub(1) < AGO - 1;
        if is_later { (month, 0) } else { (number, word & USED_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: Instant = Instant::from_micros(5_000_000);
    const MONTH: Month = Month { number: 660, ends: Some(ENDS), next: 690 };

    #[test]
    fn a_month_begins_by_itself_and_numbers_go_round() {
        for (at, expected) in [(Instant::START, 660), (ENDS, 690), (Instant::NEVER, 690)] {
            assert_eq!(MONTH.number_at(at), expected);
        }
        assert_eq!(Month { ends: None, ..MONTH }.number_at(Instant::NEVER), 660);
        let (count, own) = (MonthCount::new(), &mut MonthChunk::default());
        for month in [30_000, 60_000, 14] {
            assert_eq!(count.take(ENDS, 60, 100, month, own), Some(month));
        }
        assert_eq!((count.parts(), count.used(60_000)), ((14, 60), 60));
    }

    #[test]
    fn what_was_counted_ahead_is_handed_in() {
        let (count, mut own) = (MonthCount::new(), MonthChunk::default());
        for n in 0..100 {
            assert!(count.take(Instant::from_micros(n), 3, 100_000_000, 660, &mut own).is_some());
        }
        assert!(count.used(660) > 300, "ahead");
        count.hand_in(&mut own);
        count.hand_in(&mut own);
        assert_eq!(count.used(660), 300);
        assert!(count.take(ENDS, 3, 100_000_000, 660, &mut own).is_some());
        let mut of_next = MonthChunk::default();
        assert!(count.take(ENDS, 5, 100_000_000, 690, &mut of_next).is_some());
        count.hand_in(&mut own);
        assert_eq!(count.used(690), 5, "what is of last month stays with it");
    }

    #[test]
    fn a_count_is_its_months() {
        let (count, mut own) = (MonthCount::new(), MonthChunk::default());
        let now = Instant::START;
        assert_eq!(count.take(now, 60, 100, 660, &mut own), Some(660));
        assert!(!count.has(now, 41, 100, 660, &own) && count.has(now, 40, 100, 660, &own));
        assert_eq!(count.take(now, 41, 100, 660, &mut own), None);
        // Who has heard of the next month begins it for all.
        assert_eq!(count.take(now, 100, 100, 661, &mut own), Some(661));
        assert_eq!(count.take(now, 1, 100, 660, &mut MonthChunk::default()), None);
        assert_eq!(count.take(now, 0, 100, 660, &mut MonthChunk::default()), Some(661));
        assert_eq!((count.used(660), count.used(661), count.used(662)), (100, 100, 0));
    }

    #[test]
    fn what_is_given_back_is_of_this_month_and_no_more_than_there_was() {
        let count = MonthCount::new();
        count.restore(50, 660);
        count.give_back(20, 660);
        count.give_back(20, 659);
        assert_eq!(count.used(660), 30);
        count.give_back(1000, 660);
        assert_eq!(count.used(660), 0);
    }
}
