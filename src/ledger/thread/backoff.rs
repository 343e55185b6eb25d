//! How long something is left alone that failed: longer each time, and drawn at random, so that a fleet does not come
//! back as one.

use std::time::{Duration, Instant};

use crate::limits::{LEDGER_BACKOFF_FIRST, LEDGER_BACKOFF_MAX};
use crate::routing::Random;

#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    until: Instant,
    random: Random,
}

impl Backoff {
    pub(super) fn new(now: Instant) -> Self {
        let mut seed = [0; 8];
        // Without randomness the waits are still of the right length.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        Self { failures: 0, until: now, random: Random::new(u64::from_ne_bytes(seed)) }
    }

    /// In a row.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn on_failure(&mut self, now: Instant) {
        let longest = LEDGER_BACKOFF_FIRST.saturating_mul(1 << self.failures.min(16)).min(LEDGER_BACKOFF_MAX);
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        self.failures = self.failures.saturating_add(1);
        self.until = now + Duration::from_micros(self.random.next_u64() % micros.max(1));
    }

    pub(super) const fn on_success(&mut self) {
        self.failures = 0;
    }

    /// Until when it is left alone, if it is.
    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        (self.failures > 0 && now < self.until).then_some(self.until)
    }

    /// There is no time left to wait.
    pub(super) const fn hurry(&mut self, now: Instant) {
        self.until = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_end_with_the_first_success() {
        let now = Instant::now();
        let mut backoff = Backoff::new(now);
        assert_eq!(backoff.rests_until(now), None);
        let mut waits = Vec::new();
        for _ in 0..200 {
            backoff.on_failure(now);
            waits.push(backoff.rests_until(now).map_or(Duration::ZERO, |until| until - now));
        }
        assert!(waits[0] <= LEDGER_BACKOFF_FIRST && waits.iter().all(|wait| *wait <= LEDGER_BACKOFF_MAX));
        assert!(waits.iter().filter(|wait| **wait > LEDGER_BACKOFF_MAX / 2).count() > 50, "half of them are long");
        assert!(waits.iter().filter(|wait| **wait < LEDGER_BACKOFF_MAX / 2).count() > 50, "and half are not");
        backoff.hurry(now);
        assert_eq!(backoff.rests_until(now), None);
        backoff.on_failure(now);
        backoff.on_success();
        assert_eq!((backoff.rests_until(now), backoff.failures()), (None, 0));
    }
}
