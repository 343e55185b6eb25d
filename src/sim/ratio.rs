//! Failures against calls by provider, over all shards and the last while: what `control/ratio.rs` counts, in the same
//! steps and with the same allowance for news that is late.

use std::collections::VecDeque;
use std::time::Duration;

use super::settings::INTERVAL;
use crate::limits::RATIO_STEPS;
use crate::routing::{FailureCounts, Tally};
use crate::time::Instant;

pub(super) struct Ratios {
    window: Duration,
    /// By provider: when a step began, its calls, and those that failed.
    steps: Vec<VecDeque<(Instant, u64, u64)>>,
}

impl Ratios {
    pub(super) fn new(providers: usize, window: Duration) -> Self {
        Self { window, steps: vec![VecDeque::new(); providers] }
    }

    pub(super) fn add(&mut self, now: Instant, provider: usize, tally: &Tally) {
        let (calls, failures) = (tally.attempts() - tally.limited - tally.outrun, tally.failures);
        match self.steps[provider].back_mut() {
            Some(step) if now.since(step.0) < self.window / RATIO_STEPS => {
                step.1 += calls;
                step.2 += failures;
            }
            _ => self.steps[provider].push_back((now, calls, failures)),
        }
    }

    /// The counts of a provider since `closed` at the earliest.
    pub(super) fn counts(&mut self, now: Instant, provider: usize, closed: Instant) -> Option<FailureCounts> {
        let steps = &mut self.steps[provider];
        while steps.front().is_some_and(|&(began, ..)| now.since(began) >= self.window) {
            steps.pop_front();
        }
        // A row may be two intervals old when it comes.
        let delay_us = 2 * INTERVAL.as_micros() as u64;
        let since = |began: Instant| Instant::from_micros(began.micros().saturating_sub(delay_us));
        let mut counted = steps.iter().skip_while(|&&(began, ..)| since(began) < closed).peekable();
        let first = since(counted.peek()?.0);
        let none = FailureCounts { since: first, failures: 0, calls: 0 };
        Some(counted.fold(none, |sum, &(_, calls, failures)| FailureCounts {
            failures: sum.failures + failures,
            calls: sum.calls + calls,
            ..sum
        }))
    }
}
