//! How a provider and a chain stand now: one definition for health endpoints, pages and metrics.

use crate::link::{ChainEntry, ProviderEntry};
use crate::routing::{Admission, Rest};
use crate::time::Instant;

/// A provider's breaker in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    /// Open, but the next call may try.
    HalfOpen,
    Open,
}

impl BreakerState {
    /// Of `provider` at `now`.
    #[must_use]
    pub fn of(provider: &ProviderEntry, now: Instant) -> Self {
        match provider.slot.standing.admission(now) {
            Admission::Yes => Self::Closed,
            Admission::Trial => Self::HalfOpen,
            Admission::No { .. } => Self::Open,
        }
    }

    /// The word used in pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// Why `provider` is left alone, if it is, and for how many seconds more.
#[must_use]
pub fn rest(provider: &ProviderEntry, now: Instant) -> Option<(&'static str, f64)> {
    let (word, until) = match provider.slot.standing.rest(now)? {
        Rest::Cooled { until } => ("cooled", until),
        Rest::Parked { until } => ("parked", until),
    };
    Some((word, until.since(now).as_secs_f64()))
}

/// Whether calls can be sent to `provider`: its address is known and its breaker lets them. A rest does not count:
/// it ends by itself, and a provider that limits us is alive.
#[must_use]
pub fn provider_usable(provider: &ProviderEntry, now: Instant) -> bool {
    !provider.addresses.is_empty() && BreakerState::of(provider, now) != BreakerState::Open
}

/// Whether calls on `chain` can be answered.
#[must_use]
pub fn chain_usable(chain: &ChainEntry, now: Instant) -> bool {
    chain.providers.iter().any(|provider| provider_usable(provider, now))
}
