//! Where the node is in its life. One word, written a few times in a node's life, read by every shard.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// A node's phases, in order; it never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Not listening yet.
    Starting,
    /// Ready.
    Serving,
    /// Told to stop: not ready, still accepting and serving, so that balancers move away.
    Draining,
    /// No longer accepting: what runs is finished, idle connections are closed.
    Closing,
}

/// The phase, shared by all threads.
#[derive(Debug, Default)]
pub struct PhaseCell {
    phase: AtomicU8,
    handed_over: AtomicBool,
}

impl PhaseCell {
    pub fn get(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Draining,
            _ => Phase::Closing,
        }
    }

    /// Another process accepts from our listeners from now on: closing, the shards leave to it what waits there.
    pub fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
    }

    pub fn handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    /// Moves on to `phase`; an earlier one than the present is ignored.
    pub fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_never_goes_back() {
        let cell = PhaseCell::default();
        cell.advance(Phase::Closing);
        cell.advance(Phase::Draining);
        assert_eq!(cell.get(), Phase::Closing);
    }
}
