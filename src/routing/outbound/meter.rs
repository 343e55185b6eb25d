//! A rate shared by shards, and the chunks that they take of it.
//!
//! The meter is one word: the moment, in nanoseconds, at which all that was granted will have been paid for (a leaky bucket
//! turned round, GCRA in the literature). A grant of `n` moves it on by `n` intervals, and is refused where that would lead further
//! than a burst ahead of now. Giving back moves it back by what was paid: as if it had never been granted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::limits::{OUTBOUND_CHUNKED_FROM, WORD_TRIES_MAX};
use crate::time::Instant;

/// How long what was taken may wait to be sent.
pub const CHUNK_LIFE: Duration = Duration::from_millis(10);

const SECOND_NS: u64 = 1_000_000_000;
const LIFE_NS: u64 = 10_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Meter(AtomicU64);

/// A plan in the meter's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// What one costs; longer than any node lives where nothing is allowed.
    each_ns: u64,
    /// How many may be granted at once.
    burst: u64,
    /// How many a shard may take ahead.
    chunk_max: u64,
}

/// What a shard has taken ahead.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    left: u64,
    /// What was paid for each that is left, as rates may change.
    each_ns: u64,
    /// How many it had at first.
    size: u64,
    until: Instant,
}

impl Rate {
    /// `plan` a second, of which `tuned` thousandths are used.
    pub(super) fn new(plan: u32, burst_percent: u32, tuned: u32) -> Self {
        let plan = (u64::from(plan) * u64::from(tuned) / 1000).max(u64::from(plan > 0));
        if plan == 0 {
            return Self { each_ns: u64::MAX, burst: 0, chunk_max: 0 };
        }
        let burst = (plan * u64::from(burst_percent.min(50)) / 100).max(1);
        let refill = plan + 1 - burst;
        if plan < u64::from(OUTBOUND_CHUNKED_FROM) {
            return Self { each_ns: SECOND_NS.div_ceil(refill), burst, chunk_max: 0 };
        }
        let each_ns = (SECOND_NS + LIFE_NS).div_ceil(refill);
        Self { each_ns, burst, chunk_max: (LIFE_NS / each_ns).min(burst / 2) }
    }
}

impl Meter {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether `amount` could be had now.
    pub(super) fn has(&self, now: Instant, amount: u32, rate: Rate, own: &Chunk) -> bool {
        let amount = u64::from(amount);
        own.has(now, amount) || granted(self.0.load(Relaxed), now, amount, rate, own.paid()).is_some()
    }

    /// Takes `amount`, out of the shard's chunk where it is in there.
    pub(super) fn take(&self, now: Instant, amount: u32, rate: Rate, own: &mut Chunk) -> bool {
        let paid = own.paid();
        let mut renewed = false;
        let taken = own.take(now, amount.into(), rate.chunk_max, |amount, _| {
            renewed = self.update(|word| granted(word, now, amount, rate, paid));
            renewed
        });
        if renewed {
            own.each_ns = rate.each_ns;
        }
        taken
    }

    /// Gives back what the last [`Meter::take`] took.
    pub(super) fn give_back(&self, amount: u32, own: &Chunk) {
        self.update(|word| Some(word.saturating_sub(own.each_ns.saturating_mul(amount.into()))));
    }

    #[cfg(test)]
    pub(super) fn word(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn update(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        let mut seen = self.0.load(Relaxed);
        for _ in 0..WORD_TRIES_MAX {
            let Some(after) = change(seen) else { return false };
            match self.0.compare_exchange_weak(seen, after, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(newer) => seen = newer,
            }
        }
        false
    }
}

/// The word once `amount` is granted and what cost `paid` is given back, if it may be.
fn granted(word: u64, now: Instant, amount: u64, rate: Rate, paid: u64) -> Option<u64> {
    if rate.burst == 0 {
        return None;
    }
    let now = now.micros().saturating_mul(1000);
    let word = word.saturating_sub(paid);
    let cost = rate.each_ns.checked_mul(amount)?;
    // More than a burst is had by idling before: time that has passed unused counts then, and else does not.
    let from = if amount <= rate.burst { word.max(now) } else { word };
    let within = from.checked_add(cost)? <= now.saturating_add(rate.each_ns * rate.burst);
    within.then_some(word.max(now).checked_add(cost)?)
}

impl Chunk {
    pub(super) fn has(&self, now: Instant, amount: u64) -> bool {
        now < self.until && self.left >= amount
    }

    /// Takes `amount` out of it; where it has not got that, renews it by `grant`, which is told how many are wanted and how
    /// many come back. At most `most` are taken ahead.
    pub(super) fn take(
        &mut self,
        now: Instant,
        amount: u64,
        most: u64,
        mut grant: impl FnMut(u64, u64) -> bool,
    ) -> bool {
        if self.has(now, amount) {
            self.left -= amount;
            return true;
        }
        // Spent before its time: the shard is busy. Not spent in time: it took too much.
        let size = if now < self.until { self.size.saturating_mul(2) } else { self.size / 2 };
        let ahead = size.min(most).max(amount);
        for wanted in [ahead, amount] {
            if grant(wanted, self.left) {
                *self = Self { left: wanted - amount, size: wanted, until: now + CHUNK_LIFE, ..*self };
                return true;
            }
            if ahead == amount {
                break;
            }
        }
        false
    }

    fn paid(&self) -> u64 {
        self.left.saturating_mul(self.each_ns)
    }
}
