//! When a node goes on to which phase: a small state machine that is told the time.
//!
//! Serving until told to stop; then not ready but serving for `drain_delay`, so that balancers move away; then closing,
//! for at most `drain_limit`. A successor on the same sockets means closing at once: nobody has to move away. A second
//! signal ends it all. Nothing ever goes back.

use std::time::{Duration, Instant};

use crate::link::Phase;

/// See the module.
#[derive(Debug)]
pub(super) struct Life {
    phase: Phase,
    drain_delay: Duration,
    drain_limit: Duration,
    /// When the phase ends by itself.
    until: Option<Instant>,
}

/// What a signal to stop means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Look at the phase.
    Gently,
    /// The second one: at once.
    AtOnce,
}

impl Life {
    pub(super) fn new(drain_delay: Duration, drain_limit: Duration) -> Self {
        Self { phase: Phase::Serving, drain_delay, drain_limit, until: None }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// When to call [`Life::on_time`] at the latest.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// A reload has changed them; a wait that has begun stays as it is.
    pub(super) fn set_limits(&mut self, drain_delay: Duration, drain_limit: Duration) {
        (self.drain_delay, self.drain_limit) = (drain_delay, drain_limit);
    }

    /// A signal to stop has come.
    pub(super) fn on_stop(&mut self, now: Instant) -> Stop {
        match self.phase {
            Phase::Starting | Phase::Serving if !self.drain_delay.is_zero() => {
                self.phase = Phase::Draining;
                self.until = Some(now + self.drain_delay);
                Stop::Gently
            }
            Phase::Starting | Phase::Serving => {
                self.close(now);
                Stop::Gently
            }
            Phase::Draining | Phase::Closing => Stop::AtOnce,
        }
    }

    /// Another process accepts on our sockets. The shards give idle connections half of the limit to be used once more;
    /// the delay, which no balancer needs then, is added to it.
    pub(super) fn on_handed_over(&mut self, now: Instant) {
        self.close(now + self.drain_delay);
    }

    /// There is no point in accepting any more.
    pub(super) fn close(&mut self, now: Instant) {
        if self.phase != Phase::Closing {
            self.phase = Phase::Closing;
            self.until = Some(now + self.drain_limit);
        }
    }

    /// Time has passed. Answers whether the drain limit is over.
    pub(super) fn on_time(&mut self, now: Instant) -> bool {
        if self.until.is_none_or(|until| now < until) {
            return false;
        }
        match self.phase {
            Phase::Draining => {
                self.close(now);
                false
            }
            phase => phase == Phase::Closing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(5);
    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn a_stop_drains_then_closes_then_gives_up() {
        let now = Instant::now();
        let mut life = Life::new(DELAY, LIMIT);
        assert!(!life.on_time(now + LIMIT * 10));
        assert_eq!(life.on_stop(now), Stop::Gently);
        assert_eq!((life.phase(), life.until()), (Phase::Draining, Some(now + DELAY)));
        assert!(!life.on_time(now + DELAY / 2));
        assert_eq!(life.phase(), Phase::Draining);
        assert!(!life.on_time(now + DELAY));
        assert_eq!((life.phase(), life.until()), (Phase::Closing, Some(now + DELAY + LIMIT)));
        assert!(!life.on_time(now + LIMIT));
        assert!(life.on_time(now + DELAY + LIMIT));
    }

    #[test]
    fn a_second_stop_is_at_once() {
        let now = Instant::now();
        for delay in [DELAY, Duration::ZERO] {
            let mut life = Life::new(delay, LIMIT);
            assert_eq!(life.on_stop(now), Stop::Gently);
            assert_eq!(life.on_stop(now), Stop::AtOnce);
        }
    }

    #[test]
    fn no_delay_and_a_successor_close_at_once() {
        let now = Instant::now();
        let mut life = Life::new(Duration::ZERO, LIMIT);
        life.on_stop(now);
        assert_eq!(life.phase(), Phase::Closing);
        let mut life = Life::new(DELAY, LIMIT);
        life.on_handed_over(now);
        life.close(now + LIMIT);
        assert_eq!((life.phase(), life.until()), (Phase::Closing, Some(now + DELAY + LIMIT)), "not put off");
    }
}
