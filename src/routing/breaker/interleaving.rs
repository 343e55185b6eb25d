//! Shards that share a breaker, their calls interleaved by a seeded scheduler: what it promises over minutes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::{Admission, Breaker, BreakerConfig, FailureCounts, TRIAL_LEASE, Trial};
use crate::routing::Random;
use crate::time::Instant;

const CONFIG: BreakerConfig = BreakerConfig::DEFAULT;
/// The longest that a call takes here; below the lease, so that every trial reports within it.
const LONGEST_MS: u64 = 2_000;
/// How often control counts, and over how long a window.
const COUNTED_MS: u64 = 250;
const WINDOW_MS: u64 = 10_000;

/// A call that ends at some moment, of a number that keeps the order of equal ones.
type Ending = Reverse<(u64, u64)>;

struct World {
    breaker: Breaker,
    random: Random,
    now_ms: u64,
    endings: BinaryHeap<Ending>,
    /// By number: how it ends, and its trial.
    calls: Vec<(bool, Option<Trial>)>,
    /// When calls ended, and whether they failed, within the window.
    ended: Vec<(u64, bool)>,
    trials: u32,
    sent: u64,
    openings: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            breaker: Breaker::new(),
            random: Random::new(seed),
            now_ms: 1_000_000,
            endings: BinaryHeap::new(),
            calls: Vec::new(),
            ended: Vec::new(),
            trials: 0,
            sent: 0,
            openings: 0,
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.now_ms * 1000)
    }

    /// Runs for a while with a call every 10 ms, of which `failing` in a hundred fail. The share of calls that went to
    /// it, in percent.
    fn run(&mut self, time: Duration, failing: u64) -> u64 {
        let (until, sent) = (self.now_ms + u64::try_from(time.as_millis()).unwrap(), self.sent);
        let mut asked = 0;
        while self.now_ms < until {
            self.now_ms += 10;
            while let Some(&Reverse((at, number))) = self.endings.peek()
                && at <= self.now_ms
            {
                self.endings.pop();
                self.end(usize::try_from(number).unwrap());
            }
            asked += 1;
            self.ask(failing);
            if self.now_ms.is_multiple_of(COUNTED_MS) {
                self.count();
            }
        }
        (self.sent - sent) * 100 / asked
    }

    fn ask(&mut self, failing: u64) {
        let (now, draw) = (self.now(), self.random.next_u64());
        let trial = match self.breaker.admits(now) {
            Admission::No { .. } => return,
            Admission::Yes if self.breaker.holds_back(now, draw, &CONFIG) => return,
            Admission::Yes => None,
            Admission::Trial => {
                let Some((trial, _)) = self.breaker.claim_trial(now) else { return };
                self.trials += 1;
                assert!(self.trials <= CONFIG.trials, "trials within the allowance");
                Some(trial)
            }
        };
        self.sent += 1;
        let fails = self.random.next_u64() % 100 < failing;
        let took = 1 + self.random.next_u64() % LONGEST_MS;
        self.endings.push(Reverse((self.now_ms + took, self.calls.len() as u64)));
        self.calls.push((fails, trial));
    }

    fn end(&mut self, number: usize) {
        let (now, draw) = (self.now(), self.random.next_u64());
        let (fails, trial) = (self.calls[number].0, self.calls[number].1.take());
        self.trials -= u32::from(trial.is_some());
        self.ended.push((self.now_ms, fails));
        let opened = if fails {
            self.breaker.on_failure(now, trial.as_ref(), &CONFIG, draw)
        } else {
            self.breaker.on_success(now, trial.as_ref(), &CONFIG);
            None
        };
        self.openings += u64::from(opened.is_some());
    }

    fn count(&mut self) {
        let Some(closed_at) = self.breaker.closed_at() else { return };
        let since_ms = (closed_at.micros() / 1000).max(self.now_ms.saturating_sub(WINDOW_MS));
        self.ended.retain(|(at, _)| *at >= since_ms);
        let failures = self.ended.iter().filter(|(_, failed)| *failed).count() as u64;
        let counts =
            FailureCounts { since: Instant::from_micros(since_ms * 1000), failures, calls: self.ended.len() as u64 };
        let draw = self.random.next_u64();
        self.openings += u64::from(self.breaker.on_counts(self.now(), &counts, &CONFIG, draw).is_some());
    }
}

#[test]
fn a_well_provider_is_asked_by_all() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        // Five in a row of one in twenty: once in three million calls.
        assert_eq!(world.run(Duration::from_mins(5), 5), 100);
        assert_eq!(world.openings, 0);
    }
}

#[test]
fn a_dead_one_gets_a_few_calls_a_minute() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        world.run(Duration::from_mins(5), 100);
        for _ in 0..10 {
            let sent = world.sent;
            world.run(Duration::from_mins(1), 100);
            // A wait is at least 48 s, each ends in a trial, and a minute may see the end of two.
            assert!(world.sent - sent <= 2, "{} calls", world.sent - sent);
        }
    }
}

#[test]
fn one_that_is_back_serves_within_the_cap_and_in_full_after_the_ramp() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.run(Duration::from_mins(1 + seed % 10), 100);
        let (back, sent) = (world.now_ms, world.sent);
        while world.breaker.closed_at().is_none() {
            world.run(Duration::from_millis(100), 0);
        }
        let out = Duration::from_millis(world.now_ms - back);
        assert!(out <= CONFIG.cooldown_max + TRIAL_LEASE, "out for {out:?} after {} calls", world.sent - sent);
        let share = world.run(Duration::from_secs(2), 0);
        assert!((5..=30).contains(&share), "{share} % at first");
        world.run(CONFIG.ramp, 0);
        assert_eq!(world.run(Duration::from_secs(10), 0), 100);
    }
}

#[test]
fn one_that_fails_more_than_half_is_mostly_left_alone() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        let share = world.run(Duration::from_mins(10), 65);
        assert!(share <= 10, "{share} % of calls");
        assert!(world.openings >= 5);
    }
}
