//! When an issuer is asked for its keys, and for how long an old answer is believed. Told the time.
//!
//! Regularly, with a tenth of chance in it, so that a fleet does not ask as one; soon after a failure, later after more of
//! them; and at once when a key is missed, but never twice within the spacing: strangers can make keys be missed. A
//! failure is never asked again sooner for that.

use std::time::{Duration, Instant};

use super::Pace;
use crate::routing::Random;

/// See the module.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    every: Duration,
    keep: Duration,
    random: Random,
    /// None: at once.
    due: Option<Instant>,
    asked: Option<Instant>,
    /// The last good answer.
    good: Option<Instant>,
    /// In a row.
    failures: u32,
}

impl Schedule {
    pub(super) fn new(pace: Pace, every: Duration, keep: Duration, seed: u64) -> Self {
        let random = Random::new(seed);
        Self { pace, every, keep, random, due: None, asked: None, good: None, failures: 0 }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| now >= due)
    }

    /// A key is missed.
    pub(super) fn on_missed(&mut self) {
        let soon = self.asked.map(|asked| asked + self.pace.spacing);
        if self.failures == 0 && soon < self.due {
            self.due = soon;
        }
    }

    pub(super) fn on_asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    pub(super) fn on_good(&mut self, now: Instant) {
        self.failures = 0;
        self.good = Some(now);
        self.due = Some(now + self.jittered(self.every));
    }

    /// The failures in a row, and the wait until the next try.
    pub(super) fn on_bad(&mut self, now: Instant) -> (u32, Duration) {
        self.failures = self.failures.saturating_add(1);
        let doubled = self.pace.retry_first.saturating_mul(1 << (self.failures - 1).min(16));
        let wait = self.jittered(doubled.min(self.every));
        self.due = Some(now + wait);
        (self.failures, wait)
    }

    /// Whether the last good answer is too old to be believed.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.good.is_some_and(|good| now >= good + self.keep)
    }

    /// Nine to eleven tenths of it.
    fn jittered(&mut self, wait: Duration) -> Duration {
        let tenth = wait / 10;
        let spread = u64::try_from(tenth.as_micros() * 2).unwrap_or(u64::MAX).max(1);
        tenth * 9 + Duration::from_micros(self.random.next_u64() % spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn schedule() -> (Schedule, Instant) {
        (Schedule::new(Pace::DEFAULT, 10 * MINUTE, 60 * MINUTE, 7), Instant::now())
    }

    /// The seconds from `from` until it is due.
    fn due_in(schedule: &Schedule, from: Instant) -> u64 {
        (0..100_000).find(|s| schedule.is_due(from + Duration::from_secs(*s))).unwrap()
    }

    #[test]
    fn it_asks_at_once_then_regularly() {
        let (mut schedule, start) = schedule();
        assert!(schedule.is_due(start));
        let mut waits: Vec<_> = (0..50)
            .map(|_| {
                schedule.on_asked(start);
                schedule.on_good(start);
                due_in(&schedule, start)
            })
            .collect();
        assert!(waits.iter().all(|wait| (540..=660).contains(wait)), "{waits:?}");
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 20, "nodes do not ask as one");
    }

    #[test]
    fn a_missed_key_is_asked_for_at_once_but_not_each_time() {
        let (mut schedule, start) = schedule();
        schedule.on_asked(start);
        schedule.on_good(start);
        schedule.on_missed();
        assert_eq!(due_in(&schedule, start), 30);
        let later = start + 2 * MINUTE;
        assert!(schedule.is_due(later));
        schedule.on_asked(later);
        schedule.on_good(later);
        for _ in 0..1000 {
            schedule.on_missed();
        }
        assert_eq!(due_in(&schedule, later), 30);
        // Quiet for long enough: at once.
        let quiet = later + 5 * MINUTE;
        schedule.on_missed();
        assert!(schedule.is_due(quiet));
    }

    #[test]
    fn failures_are_tried_again_soon_and_then_less_soon() {
        let (mut schedule, start) = schedule();
        let mut waits = Vec::new();
        for n in 1..=12 {
            schedule.on_asked(start);
            let (failures, wait) = schedule.on_bad(start);
            assert_eq!(failures, n);
            waits.push(wait.as_secs());
            schedule.on_missed();
            assert!(!schedule.is_due(start + wait / 2), "no key is missed the more for asking who does not answer");
        }
        assert!(
            (4..=5).contains(&waits[0]) && (8..=11).contains(&waits[1]) && (540..=660).contains(&waits[11]),
            "{waits:?}"
        );
        assert!(!schedule.is_over(start + 100 * MINUTE), "there never was an answer");
        schedule.on_good(start);
        assert!(due_in(&schedule, start) >= 540);
        assert_eq!(schedule.on_bad(start).0, 1);
    }

    #[test]
    fn an_old_answer_is_believed_for_so_long() {
        let (mut schedule, start) = schedule();
        schedule.on_good(start);
        schedule.on_bad(start + MINUTE);
        assert!(!schedule.is_over(start + 59 * MINUTE) && schedule.is_over(start + 60 * MINUTE));
        schedule.on_good(start + 70 * MINUTE);
        assert!(!schedule.is_over(start + 129 * MINUTE));
    }
}
