//! Who can be asked: what ranking needs to know of a provider, and which ones a call has tried.

use super::breaker::Trial;
use super::footing::Footing;
use super::standing::Gate;
use crate::limits::PROVIDERS_PER_CHAIN_MAX;
use crate::time::Instant;

/// A chain's providers as routing sees them. Positions are stable for as long as a call runs.
pub trait Providers {
    /// How many; those past [`PROVIDERS_PER_CHAIN_MAX`] are never asked.
    fn count(&self) -> usize;

    /// What stands about one of them now, for the call at hand; the same at each look but for what others change meanwhile.
    fn facts(&self, provider: usize, now: Instant) -> Facts;

    /// Takes the trial's place of a provider whose gate said [`Gate::Trial`]; `None` when another call was faster.
    fn claim_trial(&self, provider: usize, now: Instant) -> Option<Trial>;
}

/// One provider, for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub gate: Gate,
    /// Its gate is open, but its traffic is still ramping up and this call should go to another that is ready, if there
    /// is one.
    pub held: bool,
    /// For the call at hand: one that does not depend on the head finds nobody out of step.
    pub footing: Footing,
    /// Lower is preferred.
    pub priority: u32,
    /// Share among equals; at least 1.
    pub weight: u32,
    /// Calls that this shard has under way at it.
    pub in_flight: u32,
    /// Whether it knows the method; `true` until learnt otherwise.
    pub supports: bool,
    /// Whether this shard can send it one more: a connection, or a place in the queue for one.
    pub room: bool,
}

#[cfg(test)]
impl Facts {
    /// Nothing stands against it.
    pub(crate) const READY: Self = Self {
        gate: Gate::Open,
        held: false,
        footing: Footing::InStep,
        priority: 1,
        weight: 1,
        in_flight: 0,
        supports: true,
        room: true,
    };
}

/// The providers that a call may not ask (again), a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried(u64);

impl Tried {
    /// None tried yet.
    #[must_use]
    pub const fn none() -> Self {
        Self(0)
    }

    /// All but one count as tried: the call names its provider.
    #[must_use]
    pub const fn all_but(provider: usize) -> Self {
        if provider < PROVIDERS_PER_CHAIN_MAX { Self(!(1 << provider)) } else { Self(u64::MAX) }
    }

    /// Whether it has been tried. Out of range counts as tried.
    #[must_use]
    pub const fn has(self, provider: usize) -> bool {
        provider >= PROVIDERS_PER_CHAIN_MAX || self.0 & (1 << provider) != 0
    }

    /// Those of `count` providers that have not been tried, a bit each.
    #[must_use]
    pub const fn left(self, count: usize) -> u64 {
        let all = if count < PROVIDERS_PER_CHAIN_MAX { (1 << count) - 1 } else { u64::MAX };
        all & !self.0
    }

    pub const fn add(&mut self, provider: usize) {
        if provider < PROVIDERS_PER_CHAIN_MAX {
            self.0 |= 1 << provider;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tried_ones_are_remembered() {
        let mut tried = Tried::none();
        assert!(!tried.has(0) && !tried.has(63));
        assert!(tried.has(64), "out of range is never asked");
        tried.add(63);
        tried.add(64);
        assert!(tried.has(63) && !tried.has(62));
        let only = Tried::all_but(5);
        assert!((0..64).all(|i| only.has(i) == (i != 5)));
        assert_eq!(Tried::all_but(64), Tried(u64::MAX));
        assert_eq!(
            [0, 3, 64, 99].map(|count| only.left(count) | tried.left(count)),
            [0, 7, u64::MAX >> 1, u64::MAX >> 1]
        );
    }
}
