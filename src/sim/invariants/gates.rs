//! Gates let through what they may: trials one by one, a dead provider's few calls, and a well one's all.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::call::{Call, Flight};
use super::super::run::{Run, Watcher};
use super::super::settings::Settings;
use super::super::world::World;
use crate::routing::{Admission, Gate, TRIAL_LEASE, Transition};
use crate::time::Instant;

/// Trials of one provider at a time, where a run of failures opened its breaker.
const TRIALS_AFTER_RUN_MAX: usize = 1;
/// A run of failures, those that were under way meanwhile, and the trials of a back-off that has begun anew.
pub(super) const DEAD_CALLS_MAX: usize = 20;
/// Until a dead provider's breaker is open for good: answers to calls that it took before it died still end runs of
/// failures, until the longest deadline of the methods that a call may be sent by has passed.
pub(super) const NOTICED_WITHIN: Duration = Duration::from_secs(6);

#[derive(Debug)]
pub(super) struct Gates {
    settings: Settings,
    shards: usize,
    /// Trials under way: provider, call and attempt, and when its lease ends.
    trials: Vec<(usize, (usize, u8), Instant)>,
    /// By provider: whether a ratio opened its breaker, while it is out.
    by_ratio: Vec<Option<bool>>,
    /// Times that breakers were opened by runs and by ratios.
    pub(super) opened: [usize; 2],
    /// By provider: since when its gate is shut although it is well.
    shut: Vec<Option<Instant>>,
    /// By provider: trials since then that lost to a hedge, each of which holds its place for a lease.
    lost: Vec<u32>,
    /// By provider and shard: unforced calls to it while it was dead.
    dead: Vec<VecDeque<Instant>>,
    /// The most that was seen of each, to be told.
    pub(super) longest_shut: Duration,
    pub(super) most_dead: usize,
}

impl Gates {
    pub(super) fn new(world: &World, promised: &Settings) -> Self {
        let providers = world.providers.len();
        Self {
            settings: *promised,
            shards: world.shards,
            trials: Vec::new(),
            by_ratio: vec![None; providers],
            opened: [0; 2],
            shut: vec![None; providers],
            lost: vec![0; providers],
            dead: vec![VecDeque::new(); providers * world.shards],
            longest_shut: Duration::ZERO,
            most_dead: 0,
        }
    }

    fn longest_back_off(&self) -> Duration {
        let standing = &self.settings.standing;
        standing.breaker.cooldown_max.max(standing.cooldown.max) * 3 / 2 + TRIAL_LEASE
    }

    fn on_trial(&mut self, run: &Run, provider: usize, of: (usize, u8)) {
        let others = self.trials.iter().filter(|&&(other, _, lease)| other == provider && run.now < lease).count();
        let by_ratio = self.by_ratio[provider] == Some(true);
        let most = if by_ratio { self.settings.standing.breaker.trials as usize } else { TRIALS_AFTER_RUN_MAX };
        run.holds(others < most, "a trial too many beside others");
        self.trials.push((provider, of, run.now + TRIAL_LEASE));
    }

    fn end_trial(&mut self, run: &Run, call: &Call, flight: &Flight) {
        let provider = flight.attempt.provider;
        // What closed the breaker ended the trial, whoever brought it; one that runs on is of a time before.
        let closed = run.node.standings[provider].admission(run.now) == Admission::Yes;
        let ended = (call.number, flight.attempt.number);
        self.trials.retain(|&(other, of, _)| of != ended && !(closed && other == provider));
    }
}

impl Watcher for Gates {
    fn on_attempt(&mut self, run: &Run, call: &Call, flight: &Flight, trials: &[usize]) {
        for &provider in trials {
            self.on_trial(run, provider, (call.number, flight.attempt.number));
        }
        let provider = flight.attempt.provider;
        let dead_since = run.world.providers[provider].dead_since(run.now);
        // What is raced goes to two whoever they are, and the one that says last that it is dead is cancelled before: it
        // shows nothing. Other calls and the node's own questions find it out.
        let raced = self.settings.race && call.method == 0 && call.probe.is_none();
        if raced || flight.attempt.forced || dead_since.is_none_or(|since| run.now.since(since) <= NOTICED_WITHIN) {
            return;
        }
        let dead = &mut self.dead[provider * self.shards + call.shard];
        while dead.front().is_some_and(|&at| run.now.since(at) > Duration::from_mins(1)) {
            dead.pop_front();
        }
        dead.push_back(run.now);
        self.most_dead = self.most_dead.max(dead.len());
        run.holds(dead.len() <= DEAD_CALLS_MAX, "too many calls to a dead provider");
    }

    fn on_end(&mut self, run: &Run, call: &Call, flight: &Flight) {
        self.end_trial(run, call, flight);
    }

    fn on_lost(&mut self, run: &Run, call: &Call, flight: &Flight) {
        self.end_trial(run, call, flight);
        self.lost[flight.attempt.provider] += u32::from(flight.attempt.trial.is_some());
    }

    fn on_change(&mut self, _run: &Run, provider: usize, change: Transition, by_ratio: bool) {
        match change {
            // A trial that fails opens it for the reason that there was.
            Transition::Opened { .. } => {
                let by_ratio = *self.by_ratio[provider].get_or_insert(by_ratio);
                self.opened[usize::from(by_ratio)] += 1;
            }
            Transition::Closed => self.by_ratio[provider] = None,
            Transition::HalfOpened => {}
        }
    }

    fn on_publish(&mut self, run: &Run) {
        for (provider, world) in run.world.providers.iter().enumerate() {
            let open = run.node.standings[provider].gate(run.now) == Gate::Open;
            // Nobody can go on trial where the plan is used up.
            let full = run.node.is_full(run.now, provider, 1);
            let shut = world.is_well(run.now, Duration::ZERO) && !open && !full;
            let since = self.shut[provider].filter(|_| shut).or(shut.then_some(run.now));
            self.shut[provider] = since;
            if since.is_none() {
                self.lost[provider] = 0;
            }
            let bound = self.longest_back_off() + TRIAL_LEASE * self.lost[provider];
            let for_long = since.map_or(Duration::ZERO, |since| run.now.since(since));
            self.longest_shut = self.longest_shut.max(for_long);
            run.holds(for_long <= bound, "a well provider is shut out");
        }
    }
}
