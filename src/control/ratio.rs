//! Failures against calls of each provider, over all shards and the last while: what opens a breaker when much, but not
//! everything, fails.
//!
//! A run of failures is seen by the breaker's own word; a provider that answers every third call never has a run. Only
//! the sum over all shards shows it, and only control has that. Counts stand in steps of a sixteenth of the window, the
//! oldest of which leaves whole: exact sums, and memory that does not grow with calls.
//!
//! **Since when.** What opened a breaker once must not open it again, so counts must begin after it last closed. Rows tell
//! of calls that ended up to two intervals before they are merged (one to be shipped, one to be taken), and a step is used
//! only if all that can be in it is later than that moment. Rows that waited longer, in a ring that was full, are so few
//! that they decide nothing.
//!
//! Late answers count as calls: for the breaker slowness is no failure. Refusals for a rate are neither, nor is what another
//! provider outran: hedges that lose by the dozen must not hide that most of what is allowed to end fails. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::limits::RATIO_STEPS;
use crate::routing::{FailureCounts, Tally};
use crate::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Ratios {
    window: Duration,
    /// How old news may be when it comes.
    delay: Duration,
    /// By slot; those alone of which something came within the window.
    slots: HashMap<u64, VecDeque<Step>>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    began: Instant,
    calls: u64,
    failures: u64,
}

impl Ratios {
    pub(super) fn new(window: Duration, interval: Duration) -> Self {
        Self { window, delay: interval * 2, slots: HashMap::new() }
    }

    /// The config has changed: other numbers, and `is_known` tells which slots are still there.
    pub(super) fn configure(&mut self, window: Duration, interval: Duration, is_known: impl Fn(u64) -> bool) {
        self.window = window;
        self.delay = interval * 2;
        self.slots.retain(|&slot, _| is_known(slot));
    }

    /// What a shard told of a slot.
    pub(super) fn add(&mut self, now: Instant, slot: u64, tally: &Tally) {
        let (calls, failures) = (tally.attempts() - tally.limited - tally.outrun, tally.failures);
        let steps = self.slots.entry(slot).or_default();
        match steps.back_mut() {
            Some(step) if now.since(step.began) < self.window / RATIO_STEPS => {
                step.calls += calls;
                step.failures += failures;
            }
            _ => steps.push_back(Step { began: now, calls, failures }),
        }
    }

    /// Forgets what is older than the window.
    pub(super) fn on_time(&mut self, now: Instant) {
        for steps in self.slots.values_mut() {
            while steps.front().is_some_and(|step| now.since(step.began) >= self.window) {
                steps.pop_front();
            }
        }
        self.slots.retain(|_, steps| !steps.is_empty());
    }

    /// Slots that a call failed of within the window.
    pub(super) fn failing(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().filter(|(_, steps)| steps.iter().any(|step| step.failures > 0)).map(|(&slot, _)| slot)
    }

    /// The counts of a slot since `closed_at` at the earliest; `None` without any.
    pub(super) fn counts(&self, slot: u64, closed_at: Instant) -> Option<FailureCounts> {
        let since = |step: &Step| {
            let delay_us = u64::try_from(self.delay.as_micros()).unwrap_or(u64::MAX);
            Instant::from_micros(step.began.micros().saturating_sub(delay_us))
        };
        let mut steps = self.slots.get(&slot)?.iter().skip_while(|step| since(step) < closed_at);
        let first = steps.next()?;
        let counts = FailureCounts { since: since(first), failures: first.failures, calls: first.calls };
        Some(steps.fold(counts, |sum, step| FailureCounts {
            failures: sum.failures + step.failures,
            calls: sum.calls + step.calls,
            ..sum
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: u64 = 7;

    fn ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn ratios() -> Ratios {
        Ratios::new(Duration::from_secs(10), Duration::from_millis(250))
    }

    /// A report every 250 ms from `from_ms` to `to_ms`, of three answers and a failure each.
    fn report(ratios: &mut Ratios, from_ms: u64, to_ms: u64) {
        for at in (from_ms..to_ms).step_by(250) {
            let tally = Tally { answers: 2, late: 1, limited: 5, failures: 1, outrun: 7, ..Tally::default() };
            ratios.add(ms(at), SLOT, &tally);
            ratios.on_time(ms(at));
        }
    }

    #[test]
    fn the_window_is_counted_and_what_is_older_is_not() {
        let mut ratios = ratios();
        report(&mut ratios, 1_000, 6_000);
        let counts = ratios.counts(SLOT, Instant::START).unwrap();
        assert_eq!((counts.since, counts.calls, counts.failures), (ms(500), 80, 20));
        report(&mut ratios, 6_000, 60_000);
        let counts = ratios.counts(SLOT, Instant::START).unwrap();
        assert!((148..=160).contains(&counts.calls) && counts.failures * 4 == counts.calls, "{counts:?}");
        assert_eq!(ratios.failing().collect::<Vec<_>>(), [SLOT]);
        ratios.on_time(ms(80_000));
        assert!(ratios.counts(SLOT, Instant::START).is_none() && ratios.slots.is_empty());
    }

    #[test]
    fn nothing_counts_that_may_be_of_the_time_before_it_closed() {
        let mut ratios = ratios();
        report(&mut ratios, 1_000, 6_000);
        let counts = ratios.counts(SLOT, ms(4_000)).unwrap();
        assert!(counts.since >= ms(4_000) && counts.calls < 30, "{counts:?}");
        assert_eq!(ratios.counts(SLOT, ms(5_900)), None);
        assert_eq!(ratios.counts(SLOT + 1, Instant::START), None);
    }

    #[test]
    fn a_slot_that_is_gone_is_forgotten() {
        let mut ratios = ratios();
        report(&mut ratios, 1_000, 2_000);
        ratios.configure(Duration::from_secs(5), Duration::from_millis(100), |slot| slot != SLOT);
        assert!(ratios.slots.is_empty());
    }
}
