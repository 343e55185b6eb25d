//! A rate shared by shards, and the chunks that they take of it.
//!
//! The meter is one word: the moment at which all that was granted will have been paid for (a leaky bucket turned
//! round, GCRA in the literature). A grant of `n` moves it on by `n` intervals, and is refused where that would lead
//! further than a burst ahead of now. More than a burst is had by idling before: time that has passed unused counts
//! then, and else does not.
//!
//! **Giving back.** What a shard took ahead and did not spend moves the word back. But not what has been paid for
//! meanwhile: had it never been granted, that time might have passed unused, and unused time is not saved up. Nobody
//! remembers what others did meanwhile, so the least is taken: what of the chunk's own stretch of the word is still
//! ahead of now. Under load, where it matters, that is all of it; in idle times, where nobody needs it, nothing.
//!
//! **Time** is counted in sixteenths of a nanosecond: at ten million a second one costs 1,600 of them, so that rounding
//! up costs a rate less than a thousandth; and a word lasts for 36 years of a node's life.

use std::time::Duration;

use crate::time::Instant;
use crate::word::SharedWord;

/// How long what was taken may wait to be spent.
pub const CHUNK_LIFE: Duration = Duration::from_millis(10);

const MICROSECOND: u64 = 16_000;
/// A second, in the words' time.
pub(crate) const SECOND: u64 = 1_000_000 * MICROSECOND;
/// The same as [`CHUNK_LIFE`].
pub(crate) const CHUNK_LIFE_TICKS: u64 = 10_000 * MICROSECOND;
const _: () = assert!(CHUNK_LIFE_TICKS as u128 == CHUNK_LIFE.as_micros() * MICROSECOND as u128);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Meter(SharedWord);

/// A plan in the meter's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// What one costs; longer than any node lives where nothing is allowed.
    each: u64,
    /// How many may be granted at once.
    burst: u64,
    /// What they cost together: so far ahead of now may be paid for.
    ahead_max: u64,
    /// How many a shard may take ahead.
    chunk_max: u64,
}

/// So many that are wanted now, in the word's terms.
struct Ask {
    now: u64,
    cost: u64,
    /// Time that has passed unused counts from here on: from now, but for more than a burst.
    counts_from: u64,
    /// What may be paid for now.
    until_max: u64,
    /// What the shard gives back with it.
    given_back: u64,
}

/// What a shard has taken ahead.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunk {
    left: u64,
    /// What was paid for each that is left, as rates may change.
    each: u64,
    /// The word as the grant left it: the chunk's own stretch ends there.
    paid_until: u64,
    /// How many it had at first.
    size: u64,
    until: Instant,
}

impl Rate {
    /// One that allows nothing.
    pub(crate) const NOTHING: Self = Self { each: u64::MAX, burst: 0, ahead_max: 0, chunk_max: 0 };

    /// One that costs `each`, with `burst` at once; `chunked`: shards may take of it ahead.
    pub(crate) const fn new(each: u64, burst: u64, chunked: bool) -> Self {
        if each == 0 || burst == 0 {
            return Self::NOTHING;
        }
        let (in_life, half) = (CHUNK_LIFE_TICKS / each, burst / 2);
        let ahead = if in_life < half { in_life } else { half };
        Self { each, burst, ahead_max: each.saturating_mul(burst), chunk_max: if chunked { ahead } else { 0 } }
    }

    pub(crate) const fn burst(self) -> u64 {
        self.burst
    }
}

impl Ask {
    /// None: never, whatever the word is.
    #[inline]
    fn new(now: Instant, amount: u64, rate: &Rate, given_back: u64) -> Option<Self> {
        if rate.burst == 0 {
            return None;
        }
        let now = clock(now);
        let counts_from = if amount <= rate.burst { now } else { 0 };
        let until_max = now.saturating_add(rate.ahead_max);
        Some(Self { now, cost: rate.each.checked_mul(amount)?, counts_from, until_max, given_back })
    }

    /// The word once it is granted, if it may be.
    #[inline]
    fn granted(&self, word: u64) -> Option<u64> {
        let before = word.saturating_sub(self.given_back);
        if before.max(self.counts_from).checked_add(self.cost)? > self.until_max {
            return None;
        }
        before.max(self.now).checked_add(self.cost)
    }
}

impl Meter {
    pub(crate) const fn new() -> Self {
        Self(SharedWord::new(0))
    }

    /// Whether `amount` could be had now.
    pub(crate) fn has(&self, now: Instant, amount: u32, rate: &Rate, own: &Chunk) -> bool {
        let amount = u64::from(amount);
        let granted = || Ask::new(now, amount, rate, own.worth(now))?.granted(self.0.get());
        own.has(now, amount) || granted().is_some()
    }

    /// Takes `amount`, out of the shard's chunk where it is in there.
    #[inline]
    pub(crate) fn take(&self, now: Instant, amount: u32, rate: &Rate, own: &mut Chunk) -> bool {
        if rate.chunk_max == 0 {
            return self.take_exactly(now, amount, rate, own);
        }
        own.spend(now, amount.into()) || self.renew(now, amount, rate, own)
    }

    /// Takes nothing ahead, and gives back what was. Apart, so that no caller is as long as both ways.
    #[inline(never)]
    fn take_exactly(&self, now: Instant, amount: u32, rate: &Rate, own: &mut Chunk) -> bool {
        let worth = if own.left == 0 { 0 } else { own.worth(now) };
        let Some(paid_until) = self.grant(now, amount.into(), rate, worth) else { return false };
        *own = Chunk { each: rate.each, paid_until, ..Chunk::default() };
        true
    }

    #[inline(never)]
    fn renew(&self, now: Instant, amount: u32, rate: &Rate, own: &mut Chunk) -> bool {
        let worth = own.worth(now);
        let mut after = 0;
        let taken = own.renew(now, amount.into(), (rate.chunk_max, CHUNK_LIFE), |amount, _| {
            let grant = self.grant(now, amount, rate, worth);
            after = grant.unwrap_or(after);
            grant.is_some()
        });
        if taken {
            (own.each, own.paid_until) = (rate.each, after);
        }
        taken
    }

    /// Gives back what a [`Meter::take`] of this very moment took: to the chunk that it was in, so that a client which is
    /// refused for another limit does not make its shards fight over the word.
    pub(crate) fn give_back(&self, now: Instant, amount: u32, own: &mut Chunk) {
        let amount = u64::from(amount);
        if now < own.until && own.left + amount <= own.size {
            own.left += amount;
            return;
        }
        let paid = own.each.saturating_mul(amount).min(own.ahead_of(now));
        self.0.change(|word| Some(word.saturating_sub(paid)));
    }

    /// How many could be had at once now, by a shard that has nothing ahead.
    pub(crate) fn left(&self, now: Instant, rate: &Rate) -> u64 {
        let ahead = self.0.get().saturating_sub(clock(now));
        rate.burst.saturating_sub(ahead.div_ceil(rate.each))
    }

    /// How long until `amount` can be had, if nobody takes anything meanwhile; none where that never comes.
    pub(crate) fn wait(&self, now: Instant, amount: u32, rate: &Rate, own: &Chunk) -> Option<Duration> {
        let ask = Ask::new(now, amount.into(), rate, own.worth(now))?;
        let paid_until = self.0.get().saturating_sub(ask.given_back).max(ask.counts_from).checked_add(ask.cost)?;
        Some(duration(paid_until.saturating_sub(ask.until_max)))
    }

    /// How long until a whole burst can be had, if nobody takes anything meanwhile.
    pub(crate) fn whole_in(&self, now: Instant) -> Duration {
        duration(self.0.get().saturating_sub(clock(now)))
    }

    #[cfg(test)]
    pub(crate) fn word(&self) -> u64 {
        self.0.get()
    }

    /// The word that it leaves.
    #[inline]
    fn grant(&self, now: Instant, amount: u64, rate: &Rate, given_back: u64) -> Option<u64> {
        let ask = Ask::new(now, amount, rate, given_back)?;
        let (_, after) = self.0.change(|word| ask.granted(word))?;
        Some(after)
    }
}

fn clock(now: Instant) -> u64 {
    now.micros().saturating_mul(MICROSECOND)
}

const fn duration(ticks: u64) -> Duration {
    Duration::from_micros(ticks.div_ceil(MICROSECOND))
}

impl Chunk {
    /// How many are in it.
    pub(crate) fn left(&self, now: Instant) -> u64 {
        if now < self.until { self.left } else { 0 }
    }

    /// How many are in it, be it late to spend them.
    pub(crate) const fn kept(&self) -> u64 {
        self.left
    }

    /// Whether `amount` is in it.
    pub(crate) fn has(&self, now: Instant, amount: u64) -> bool {
        now < self.until && self.left >= amount
    }

    /// Takes `amount` out of it, where it is in there.
    #[inline]
    pub(crate) fn spend(&mut self, now: Instant, amount: u64) -> bool {
        let has = self.has(now, amount);
        if has {
            self.left -= amount;
        }
        has
    }

    /// Renews it by `grant`, which is told how many are wanted and how many come back, and takes `amount` out of it. At
    /// most `most` are taken ahead, for `life`.
    pub(crate) fn renew(
        &mut self,
        now: Instant,
        amount: u64,
        (most, life): (u64, Duration),
        mut grant: impl FnMut(u64, u64) -> bool,
    ) -> bool {
        // Spent before its time: the shard is busy. Not spent in time: it took too much.
        let size = if now < self.until { self.size.saturating_mul(2) } else { self.size / 2 };
        let ahead = size.min(most).max(amount);
        for wanted in [ahead, amount] {
            if grant(wanted, self.left) {
                *self = Self { left: wanted - amount, size: wanted, until: now + life, ..*self };
                return true;
            }
            if ahead == amount {
                break;
            }
        }
        false
    }

    /// What the word goes back by when it is given back now.
    fn worth(&self, now: Instant) -> u64 {
        self.left.saturating_mul(self.each).min(self.ahead_of(now))
    }

    /// What of its stretch of the word is still to come.
    fn ahead_of(&self, now: Instant) -> u64 {
        self.paid_until.saturating_sub(clock(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    /// `count` a second.
    fn rate(count: u64, burst: u64, chunked: bool) -> Rate {
        Rate::new(SECOND / count, burst, chunked)
    }

    #[test]
    fn a_chunk_grows_while_it_is_spent_in_time_and_shrinks_when_it_is_not() {
        let (meter, rate, mut own) = (Meter::new(), rate(10_000, 10_000, true), Chunk::default());
        let mut writes = 0;
        for call in 0..2_000_u64 {
            let before = meter.word();
            assert!(meter.take(Instant::from_micros(1_000_000 + call * 20), 1, &rate, &mut own));
            writes += u32::from(meter.word() != before);
        }
        assert!((20..40).contains(&writes), "{writes}: a hundred at once, the most in 10 ms");
        for second in 2..20 {
            assert!(meter.take(ms(second * 1000), 1, &rate, &mut own));
        }
        assert_eq!(own.left(ms(19_000)), 0, "one at a time takes none ahead");
    }

    #[test]
    fn what_is_given_back_late_is_what_is_not_paid_for_yet() {
        // Ten are taken ahead at an idle moment, of a thousand a second: paid for after ten milliseconds.
        for (given_back_ms, worth_ms) in [(0, 9), (1, 9), (4, 6), (9, 1), (10, 0), (500, 0)] {
            let (meter, rate) = (Meter::new(), rate(1000, 100, true));
            let mut own = Chunk { size: 5, until: ms(60_001), ..Chunk::default() };
            assert!(meter.take(ms(60_000), 1, &rate, &mut own));
            assert_eq!((own.left(ms(60_000)), own.size), (9, 10));
            assert_eq!(own.worth(ms(60_000 + given_back_ms)), worth_ms * SECOND / 1000, "{given_back_ms}");
        }
    }

    #[test]
    fn nothing_is_saved_up_by_taking_ahead_and_giving_back() {
        // Shards that take ahead at an idle moment and give back when others have used the burst.
        let (meter, rate, mut others) = (Meter::new(), rate(1000, 100, true), Chunk::default());
        let mut idle: Vec<_> = (0..8).map(|_| Chunk { size: 5, until: ms(60_001), ..Chunk::default() }).collect();
        assert!(idle.iter_mut().all(|own| meter.take(ms(60_000), 1, &rate, own)));
        let mut taken = (0..1000).filter(|_| meter.take(ms(60_200), 1, &rate, &mut others)).count();
        for own in &mut idle {
            taken += usize::from(meter.take(ms(60_200), 1, &rate, own));
        }
        assert_eq!(taken, 100);
    }

    #[test]
    fn what_is_given_back_at_once_goes_where_it_came_from() {
        for (rate, word_moves) in [(rate(100, 10, false), true), (rate(10_000, 1_000, true), false)] {
            let (meter, mut own) = (Meter::new(), Chunk::default());
            assert!((0..5).all(|_| meter.take(ms(60_000), 1, &rate, &mut own)));
            let (word, left) = (meter.word(), own.left);
            meter.give_back(ms(60_000), 1, &mut own);
            assert_eq!((meter.word() < word, own.left > left), (word_moves, !word_moves));
            assert!(meter.take(ms(60_000), 1, &rate, &mut own));
            assert_eq!((meter.word(), own.left), (word, left));
        }
    }

    #[test]
    fn amounts_beyond_all_reason_are_refused() {
        let (meter, mut own) = (Meter::new(), Chunk::default());
        for rate in [rate(1, 1, false), rate(1000, u64::from(u32::MAX), true), Rate::NOTHING] {
            for now in [Instant::START, ms(60_000), Instant::NEVER] {
                let refused = !meter.take(now, u32::MAX, &rate, &mut own);
                assert!(refused || rate.burst() >= u64::from(u32::MAX), "{rate:?} {now:?}");
            }
        }
        assert_eq!(Meter::new().wait(ms(1), 1, &Rate::NOTHING, &Chunk::default()), None);
    }

    proptest! {
        /// Whoever comes back when he was told is served, and nobody would have been sooner.
        #[test]
        fn a_wait_is_neither_too_long_nor_too_short(
            count in 1..10_000_u64,
            burst in 1..1_000_u64,
            takes in proptest::collection::vec((0..300_u64, 1..200_u32), 1..40),
            amount in 1..2_000_u32,
        ) {
            let (meter, rate, own) = (Meter::new(), rate(count, burst, false), Chunk::default());
            let mut now = ms(1_000_000);
            for (gap, amount) in takes {
                now = now + Duration::from_millis(gap);
                meter.take(now, amount, &rate, &mut Chunk::default());
            }
            let wait = meter.wait(now, amount, &rate, &own).expect("a rate that allows something");
            prop_assert!(meter.has(now + wait, amount, &rate, &own));
            let (left, whole_in) = (meter.left(now, &rate), meter.whole_in(now));
            if wait > Duration::ZERO {
                prop_assert!(!meter.has(now + wait.saturating_sub(Duration::from_micros(1)), amount, &rate, &own));
                prop_assert!(left < u64::from(amount));
            } else if u64::from(amount) <= burst {
                prop_assert!(left >= u64::from(amount));
            }
            prop_assert_eq!(meter.left(now + whole_in, &rate), burst);
        }
    }
}
