//! Moments as the pure modules know them: microseconds since the node started, handed in, never read.
//!
//! A `u64` and not `std::time::Instant`: it fits in an atomic word beside other bits (the breaker's), the simulator
//! makes one out of nothing, and subtraction cannot panic. Only a shard's clock turns the machine's time into one.

use std::ops::Add;
use std::time::Duration;

/// A moment, in microseconds since the node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The moment the node started.
    pub const START: Self = Self(0);
    /// Later than any moment that a node lives to see.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `micros` microseconds after the node started.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the node started.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at [`Instant::NEVER`].
    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Instant::NEVER + Duration::from_secs(1), Instant::NEVER);
        assert_eq!(Instant::START + Duration::MAX, Instant::NEVER);
        assert_eq!(Instant::START.since(Instant::from_micros(5)), Duration::ZERO);
        assert_eq!(Instant::from_micros(7).since(Instant::from_micros(5)), Duration::from_micros(2));
    }
}
