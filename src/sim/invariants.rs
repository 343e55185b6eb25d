//! What must hold in every world, whatever goes wrong in it.
//!
//! | invariant | bound |
//! |---|---|
//! | every call is brought to one end, once | exactly |
//! | attempts | at most three, no provider twice, none begun after the deadline, none waiting past it |
//! | trials | one at a time per provider, within its lease, of a breaker that a run opened |
//! | exploration | while a class has traffic, each open provider is asked within `explore_stale` and [`EXPLORED_WITHIN`] |
//! | a well provider | its gate is shut no longer than the longest back-off and a lease after its last fault |
//! | a dead one | at most [`DEAD_CALLS_MAX`] unforced calls per shard and minute, once [`NOTICED_WITHIN`] has passed |
//!
//! Bounds in the small worlds are those of small settings: the rules are the same, and a world of seconds sees them
//! through.

use std::collections::VecDeque;
use std::time::Duration;

use super::node::{self, Flight};
use super::run::{Call, Run, Watcher};
use super::world::{self, CLASSES, World};
use crate::routing::{Admission, Gate, RankingConfig, StandingConfig, Strategy, TRIAL_LEASE};
use crate::time::Instant;

/// Seeds in one run of the tests.
const SEEDS: u64 = 1_000;
/// Virtual time of most, and of every [`LONG_EVERY`]th, which is long enough for the bounds on shut gates and starving
/// to bite.
const SPAN: Duration = Duration::from_secs(6);
const SPAN_LONG: Duration = Duration::from_mins(1);
const LONG_EVERY: u64 = 25;

/// Trials of one provider at a time. Holds for a breaker that a run of failures opened, as all are here: control counts
/// no ratios in these worlds yet, and what a ratio opened tries with several.
const TRIALS_MAX: usize = 1;
/// Beyond `explore_stale`: waiting behind the grants of others, each of which may wait for its sample.
const EXPLORED_WITHIN: Duration = Duration::from_secs(8);
/// A run of failures, those that were under way meanwhile, and the trials of a back-off that has begun anew.
const DEAD_CALLS_MAX: usize = 20;
/// Until a dead provider's breaker is open for good: answers to calls that it took before it died still end runs of
/// failures, until the longest deadline of [`CLASSES`] a call may be sent to has passed.
const NOTICED_WITHIN: Duration = Duration::from_secs(6);

struct Checks {
    seed: u64,
    ranking: RankingConfig,
    standing: StandingConfig,
    calls: usize,
    done: usize,
    /// Trials under way: provider, and when its lease ends.
    trials: Vec<(usize, usize, Instant)>,
    /// By provider and class: since when it could have been asked and was not, and the class's calls since.
    unseen: Vec<(Instant, usize)>,
    /// By provider: since when its gate is shut although it is well.
    shut: Vec<Option<Instant>>,
    /// By provider and shard: unforced calls to it while it was dead.
    dead: Vec<VecDeque<Instant>>,
    /// The longest that was seen of each, to be told.
    longest_unseen: Duration,
    longest_shut: Duration,
    most_dead: usize,
}

impl Checks {
    fn new(seed: u64, world: &World, ranking: RankingConfig, standing: StandingConfig) -> Self {
        let providers = world.providers.len();
        Self {
            seed,
            ranking,
            standing,
            calls: 0,
            done: 0,
            trials: Vec::new(),
            unseen: vec![(Instant::START, 0); providers * CLASSES.len()],
            shut: vec![None; providers],
            dead: vec![VecDeque::new(); providers * world.shards],
            longest_unseen: Duration::ZERO,
            longest_shut: Duration::ZERO,
            most_dead: 0,
        }
    }

    #[track_caller]
    fn holds(&self, run: &Run, truth: bool, what: &str) {
        let (seed, seconds) = (self.seed, run.world.span.as_secs());
        assert!(
            truth,
            "{what}, at {} us of seed {seed}\n\
             replay: LIVECHAIN_SIM_SEED={seed} LIVECHAIN_SIM_SECONDS={seconds} cargo test sim::invariants",
            run.now.micros()
        );
    }

    fn longest_back_off(&self) -> Duration {
        self.standing.breaker.cooldown_max.max(self.standing.cooldown.max) * 3 / 2 + TRIAL_LEASE
    }
}

impl Watcher for Checks {
    fn on_attempt(&mut self, run: &Run, call: &Call, flight: &Flight, trials: &[usize]) {
        let provider = flight.attempt.provider;
        self.calls += usize::from(call.attempts.made() == 1);
        self.holds(run, call.attempts.made() <= 3, "a fourth attempt");
        self.holds(run, run.now < call.came + call.deadline, "an attempt after the deadline");
        self.holds(run, flight.ends <= call.came + call.deadline, "an attempt that outlasts its call");
        for &trial in trials {
            let others = self.trials.iter().filter(|&&(of, _, lease)| of == trial && run.now < lease).count();
            self.holds(run, others < TRIALS_MAX, "a trial too many beside others");
            self.trials.push((trial, call.number, run.now + TRIAL_LEASE));
        }
        for class in 0..CLASSES.len() {
            if class == call.class {
                self.unseen[provider * CLASSES.len() + class] = (run.now, 0);
            }
        }
        let dead_since = run.world.providers[provider].dead_since(run.now);
        if !flight.attempt.forced && dead_since.is_some_and(|since| run.now.since(since) > NOTICED_WITHIN) {
            let dead = &mut self.dead[provider * run.world.shards + call.shard];
            while dead.front().is_some_and(|&at| run.now.since(at) > Duration::from_mins(1)) {
                dead.pop_front();
            }
            dead.push_back(run.now);
            self.most_dead = self.most_dead.max(dead.len());
            let few = dead.len() <= DEAD_CALLS_MAX;
            self.holds(run, few, "too many calls to a dead provider");
        }
    }

    fn on_end(&mut self, run: &Run, call: &Call, flight: &Flight) {
        let provider = flight.attempt.provider;
        // What closed the breaker ended the trial, whoever brought it; one that runs on is of a time before.
        let closed = run.node.standings[provider].admission(run.now) == Admission::Yes;
        self.trials.retain(|&(of, number, _)| number != call.number && !(closed && of == provider));
    }

    fn on_done(&mut self, run: &Run, call: &Call) {
        self.done += 1;
        self.calls += usize::from(call.attempts.made() == 0);
        self.holds(run, call.done == 1, "a call that ended twice");
        for provider in 0..run.world.providers.len() {
            self.unseen[provider * CLASSES.len() + call.class].1 += 1;
        }
    }

    fn on_publish(&mut self, run: &Run) {
        for (provider, world) in run.world.providers.iter().enumerate() {
            let open = run.node.standings[provider].gate(run.now) == Gate::Open;
            let well = world.is_well(run.now, Duration::ZERO);
            match (&mut self.shut[provider], well && !open) {
                (since @ None, true) => *since = Some(run.now),
                (since, false) => *since = None,
                (Some(_), true) => {}
            }
            let shut = self.shut[provider].map_or(Duration::ZERO, |since| run.now.since(since));
            self.longest_shut = self.longest_shut.max(shut);
            self.holds(run, shut <= self.longest_back_off(), "a well provider is shut out");
            // Writes are never sent for evidence alone, and seldom calls wait for calls.
            for class in 0..run.world.classes.min(2) {
                let unseen = &mut self.unseen[provider * CLASSES.len() + class];
                if !open {
                    *unseen = (run.now, 0);
                }
                let (since, calls) = *unseen;
                let age = run.now.since(since);
                if calls > 100 {
                    self.longest_unseen = self.longest_unseen.max(age);
                }
                let starved = age > self.ranking.explore_stale + EXPLORED_WITHIN && calls > 100;
                self.holds(run, !starved, "a provider is starved of exploration");
            }
        }
    }
}

fn play(seed: u64, span: Duration, ranking: RankingConfig, standing: StandingConfig) -> Checks {
    let world = world::troubled(seed, span);
    let mut checks = Checks::new(seed, &world, ranking, standing);
    let strategy =
        [Strategy::Fastest, Strategy::Fastest, Strategy::LatencyWeighted, Strategy::Priority][seed as usize % 4];
    let mut run = Run::new(world, seed, strategy, ranking, standing);
    run.play(&mut checks);
    let ended = checks.done == checks.calls && run.open_calls() == 0;
    checks.holds(&run, ended, "a call that never ended");
    checks
}

/// The seed and the span that were asked for.
fn asked() -> (Option<u64>, Option<u64>) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    (number("LIVECHAIN_SIM_SEED"), number("LIVECHAIN_SIM_SECONDS"))
}

#[test]
fn they_hold_in_a_thousand_troubled_worlds() {
    let small = RankingConfig { explore_stale: Duration::from_secs(1), ..RankingConfig::default() };
    let (seed, seconds) = asked();
    let (mut calls, mut shut, mut unseen, mut dead) = (0, Duration::ZERO, Duration::ZERO, 0);
    for seed in seed.map_or(0..SEEDS, |seed| seed..seed + 1) {
        let span = if seed % LONG_EVERY == 0 { SPAN_LONG } else { SPAN };
        let span = seconds.map_or(span, Duration::from_secs);
        let checks = if span > SPAN_LONG {
            play(seed, span, RankingConfig::default(), node::standing())
        } else {
            play(seed, span, small, node::standing_in_small())
        };
        calls += checks.done;
        shut = shut.max(checks.longest_shut);
        unseen = unseen.max(checks.longest_unseen);
        dead = dead.max(checks.most_dead);
    }
    println!(
        "{calls} calls; at most, a well provider was shut out for {shut:?} and an open one unseen for {unseen:?}, \
         and a dead one had {dead} calls of a shard in a minute"
    );
}

#[test]
#[should_panic(expected = "starved")]
fn a_node_that_does_not_explore_is_found_out() {
    let never =
        RankingConfig { explore_share: 0.0, explore_stale: Duration::from_hours(1), ..RankingConfig::default() };
    for seed in 0..SEEDS {
        let world = world::troubled(seed, SPAN_LONG);
        let promised = RankingConfig { explore_stale: Duration::from_secs(1), ..never };
        let mut checks = Checks::new(seed, &world, promised, node::standing_in_small());
        Run::new(world, seed, Strategy::Fastest, never, node::standing_in_small()).play(&mut checks);
    }
}

#[test]
#[should_panic(expected = "too many calls to a dead provider")]
fn a_breaker_that_does_not_open_is_found_out() {
    let mut standing = node::standing_in_small();
    standing.breaker.failures = 1000;
    for seed in 0..SEEDS {
        play(seed, SPAN_LONG, RankingConfig::default(), standing);
    }
}
