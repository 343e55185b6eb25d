//! How many control frames a peer may send: each ping costs an answer, and none of them is counted against any quota.
//!
//! A bucket that leaks: [`WEBSOCKET_CONTROL_BURST`] at once, and one more for each [`WEBSOCKET_CONTROL_EVERY`] that
//! passes.

use std::time::Duration;

use crate::limits::{WEBSOCKET_CONTROL_BURST, WEBSOCKET_CONTROL_EVERY};
use crate::time::Instant;

/// What a peer has used of its allowance: the moment at which all of it is there again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flood {
    whole_at: Instant,
}

impl Flood {
    /// Whether one more is within bounds; then it is counted.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        const BURST: Duration = WEBSOCKET_CONTROL_EVERY.saturating_mul(WEBSOCKET_CONTROL_BURST);
        let whole_at = self.whole_at.max(now) + WEBSOCKET_CONTROL_EVERY;
        let allowed = whole_at.since(now) <= BURST;
        if allowed {
            self.whole_at = whole_at;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let mut flood = Flood::default();
        let now = Instant::START + Duration::from_secs(5);
        assert!((0..WEBSOCKET_CONTROL_BURST).all(|_| flood.allows(now)));
        assert!(!flood.allows(now));
        let later = now + WEBSOCKET_CONTROL_EVERY;
        assert!(flood.allows(later));
        assert!(!flood.allows(later));
        let much_later = later + Duration::from_hours(1);
        assert!((0..WEBSOCKET_CONTROL_BURST).all(|_| flood.allows(much_later)));
        assert!(!flood.allows(much_later));
    }
}
