//! When the next connection may be tried: exponential back-off with full jitter. Pure.
//!
//! Each wait is drawn evenly from nothing to a bound that doubles. A provider that comes back is then found by a fleet's
//! shards one after another, over the whole of the bound, and not by all in its last milliseconds. A connection that was
//! answered on begins anew: that it is lost later says nothing about the next one.

use crate::limits::{UPSTREAM_SOCKET_BACKOFF_FIRST, UPSTREAM_SOCKET_BACKOFF_MAX};
use crate::time::Instant;

/// Of one provider's WebSockets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    failures: u32,
    until: Instant,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { failures: 0, until: Instant::START }
    }
}

impl Backoff {
    pub(super) fn allows(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// A connection could not be opened, or ended before anything was answered on it. `draw`: 64 even bits.
    pub(super) fn on_failure(&mut self, now: Instant, draw: u64) {
        let doublings = self.failures.min(16);
        let bound = UPSTREAM_SOCKET_BACKOFF_FIRST.saturating_mul(1 << doublings).min(UPSTREAM_SOCKET_BACKOFF_MAX);
        #[allow(clippy::cast_precision_loss)] // a part of a time needs no 64 bits
        let part = draw as f64 / u64::MAX as f64;
        self.failures = self.failures.saturating_add(1);
        self.until = now + bound.mul_f64(part);
    }

    /// A handshake has succeeded, and a request was answered.
    pub(super) fn on_answer(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn waits_are_drawn_from_a_bound_that_doubles_until_something_is_answered() {
        let now = Instant::START + Duration::from_secs(100);
        let mut backoff = Backoff::default();
        assert!(backoff.allows(now));
        for bound_ms in [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let (mut least, mut half) = (backoff, backoff);
            least.on_failure(now, 0);
            assert!(least.allows(now));
            half.on_failure(now, u64::MAX / 2);
            assert!(!half.allows(now + Duration::from_micros(bound_ms * 500 - 10)), "{bound_ms}");
            assert!(half.allows(now + Duration::from_micros(bound_ms * 500 + 10)), "{bound_ms}");
            backoff.on_failure(now, u64::MAX);
            assert!(!backoff.allows(now + Duration::from_millis(bound_ms - 1)));
            assert!(backoff.allows(now + Duration::from_millis(bound_ms)));
        }
        backoff.on_answer();
        assert!(backoff.allows(now));
        backoff.on_failure(now, u64::MAX);
        assert!(backoff.allows(now + UPSTREAM_SOCKET_BACKOFF_FIRST));
    }
}
