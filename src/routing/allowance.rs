//! How often a shut gate may be passed.
//!
//! When every provider of a chain is out, a call is sent to the least bad one all the same: an answer is worth more than
//! a rule, and most rules are guesses. But a provider that is down or angry must not get the whole traffic of a shard on
//! top. So each shard has an allowance per chain: [`PER_SECOND`] on average, as many at once after a quiet second. What
//! is above it fails without being sent.
//!
//! Kept as the moment at which all that was granted will have been paid for (a leaky bucket turned round): one word,
//! no timer that refills.

use std::time::Duration;

use crate::time::Instant;

/// Forced calls a second, per shard and chain. Above what a small plan of a vendor allows, so that a lone provider that
/// limits us briefly still serves a modest chain; far below what a shard could send.
const PER_SECOND: u32 = 50;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    paid_until: Instant,
}

impl Allowance {
    /// Whether one more may pass now; counts it if so.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let (second, each) = (Duration::from_secs(1), Duration::from_secs(1) / PER_SECOND);
        let after = self.paid_until.max(now) + each;
        let within = after.since(now) <= second;
        if within {
            self.paid_until = after;
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_steady_rate() {
        let mut allowance = Allowance::default();
        let granted = |allowance: &mut Allowance, from_ms: u64, to_ms: u64| {
            (from_ms..to_ms).filter(|ms| allowance.take(Instant::from_micros(ms * 1000))).count()
        };
        let at_once = (0..1000).filter(|_| allowance.take(Instant::START)).count();
        assert_eq!(at_once, 50);
        assert_eq!(granted(&mut allowance, 0, 10_000), 499);
        assert_eq!(granted(&mut allowance, 60_000, 60_001), 1);
    }
}
