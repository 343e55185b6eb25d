//! The breaker's word: what stands in its 64 bits, and how they are packed.
//!
//! From the low end: 40 bits `when_ms`, 8 `epoch`, 4 `openings`, 10 `run` or `trials`, 2 `state`. The order is chosen for
//! the reader's sake: a word whose top 12 bits are 0 is closed and at rest, and one whose top bit is 0 admits calls.

use crate::time::Instant;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Closed,
    /// Closed, and traffic is ramping up.
    Easing,
    HalfOpen,
    Open,
}

/// The word unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) state: State,
    /// Failures since the last success. Closed and easing; 0 otherwise.
    pub(super) run: u16,
    /// Open and half-open; zeros otherwise.
    pub(super) trials: Trials,
    /// Times it has opened since it was last closed in full; at the most 15.
    pub(super) openings: u8,
    /// Which round of trials is the present one. Survives closing, so that an old trial is never mistaken for a new one.
    pub(super) epoch: u8,
    /// Open: when a trial may be claimed. Half-open: when the last lease of the round ends. Otherwise: when it closed.
    pub(super) when_ms: u64,
}

/// Trials as the config stood when the breaker opened, so that reading the word needs no config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trials {
    /// It was opened by a ratio: only trials may close it.
    pub(super) by_ratio: bool,
    /// Places still free: what is needed less those under way, of the round before as well.
    pub(super) left: u8,
    /// Successes still needed to close, 1 to 7.
    pub(super) needed: u8,
}

const WHEN_MAX: u64 = (1 << 40) - 1;
pub(super) const RUN_MAX: u16 = (1 << 10) - 1;
pub(super) const OPENINGS_MAX: u8 = (1 << 4) - 1;
pub(super) const TRIALS_MAX: u8 = (1 << 3) - 1;

impl State {
    const fn admits_all(self) -> bool {
        matches!(self, Self::Closed | Self::Easing)
    }
}

impl Word {
    /// Whether a packed word is closed with no run begun.
    pub(super) const fn is_at_rest(packed: u64) -> bool {
        packed >> 52 == 0
    }

    /// Whether a packed word is closed or easing.
    pub(super) const fn is_closed(packed: u64) -> bool {
        packed >> 63 == 0
    }

    /// Closed, traffic ramping up from `now` on.
    pub(super) fn eased(self, now: Instant) -> Self {
        let Self { openings, epoch, .. } = self;
        Self { state: State::Easing, openings, epoch, when_ms: ceil_ms(now), ..Self::default() }
    }

    /// Closed in full; when it closed is kept, as counts from before it must not open it again.
    pub(super) fn closed(self) -> Self {
        Self { epoch: self.epoch, when_ms: self.when_ms, ..Self::default() }
    }

    pub(super) fn pack(self) -> u64 {
        let state: u64 = match self.state {
            State::Closed => 0,
            State::Easing => 1,
            State::HalfOpen => 2,
            State::Open => 3,
        };
        let count = if self.state.admits_all() { self.run.min(RUN_MAX) } else { self.trials.pack() };
        self.when_ms.min(WHEN_MAX)
            | u64::from(self.epoch) << 40
            | u64::from(self.openings.min(OPENINGS_MAX)) << 48
            | u64::from(count) << 52
            | state << 62
    }

    pub(super) fn unpack(word: u64) -> Self {
        let state = match word >> 62 {
            0 => State::Closed,
            1 => State::Easing,
            2 => State::HalfOpen,
            _ => State::Open,
        };
        let count = ((word >> 52) & 0x3ff) as u16;
        let (run, trials) = if state.admits_all() { (count, Trials::default()) } else { (0, Trials::unpack(count)) };
        Self {
            state,
            run,
            trials,
            openings: ((word >> 48) & 0xf) as u8,
            epoch: ((word >> 40) & 0xff) as u8,
            when_ms: word & WHEN_MAX,
        }
    }
}

impl Trials {
    fn pack(self) -> u16 {
        u16::from(self.left) | u16::from(self.needed) << 3 | u16::from(self.by_ratio) << 6
    }

    const fn unpack(bits: u16) -> Self {
        Self { left: (bits & 7) as u8, needed: ((bits >> 3) & 7) as u8, by_ratio: (bits >> 6) & 1 != 0 }
    }
}

pub(super) const fn floor_ms(at: Instant) -> u64 {
    at.micros() / 1000
}

pub(super) fn ceil_ms(at: Instant) -> u64 {
    at.micros().div_ceil(1000).min(WHEN_MAX)
}

pub(super) const fn from_ms(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}
