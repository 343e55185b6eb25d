//! What must hold in every world, whatever goes wrong in it.
//!
//! | invariant | bound |
//! |---|---|
//! | every call is brought to one end, once | exactly |
//! | attempts | at most three, two at once, no provider twice, none begun after the deadline, none waiting past it |
//! | hedges | of repeatable calls, after the floor, at most the budget's share of a shard's calls, and over any stretch of them what may be saved besides |
//! | plans | any second of calls, of units, and what is in flight, within what the config says; no refusal where it is right |
//! | who is out of step, or lies about its head | gets no call that depends on the head before others that tell the truth, once noticed |
//! | who is another chain | gets none at all, once noticed |
//! | who tells the truth | is never put out, while most of those who have a voice do |
//! | trials | at once per provider, within their leases: one where a run opened its breaker, as many as close it where a ratio did |
//! | exploration | while a class has traffic, each open provider is asked within `explore_stale` and [`starving::EXPLORED_WITHIN`] |
//! | a well provider | its gate is shut no longer than the longest back-off and a lease after its last fault, and a lease for each trial that lost to a hedge |
//! | a dead one | at most [`gates::DEAD_CALLS_MAX`] unforced calls per shard and minute, races apart, once [`gates::NOTICED_WITHIN`] has passed |
//!
//! Bounds in the small worlds are those of small settings: the rules are the same, and a world of seconds sees them
//! through. Each has a test that a node which breaks it is found out.

mod calls;
mod gates;
mod heads;
mod hedges;
mod plans;
mod starving;

use std::time::Duration;

use self::calls::Calls;
use self::gates::Gates;
use self::heads::Heads;
use self::hedges::Hedges;
use self::plans::Plans;
use self::starving::Starving;
use super::call::{Call, Flight};
use super::run::{Run, Watcher};
use super::settings::{Cripple, Settings};
use super::troubled;
use super::world::World;
use crate::routing::{HedgeConfig, RankingConfig, Strategy, Transition};

/// Seeds in one run of the tests, where no other number is asked for.
const SEEDS: u64 = 1_000;
/// Virtual time of most, and of every [`LONG_EVERY`]th, which is long enough for the bounds on shut gates and starving
/// to bite.
const SPAN: Duration = Duration::from_secs(6);
const SPAN_LONG: Duration = Duration::from_mins(1);
const LONG_EVERY: u64 = 25;

/// What seeds go by in turn.
const STRATEGIES: [Strategy; 5] =
    [Strategy::Fastest, Strategy::Fastest, Strategy::LatencyWeighted, Strategy::Priority, Strategy::LoadBalanced];

/// All that is watched.
struct Checks {
    calls: Calls,
    hedges: Hedges,
    gates: Gates,
    heads: Heads,
    plans: Plans,
    starving: Starving,
}

impl Checks {
    /// Of a node that promises `promised`.
    fn new(world: &World, promised: &Settings) -> Self {
        Self {
            calls: Calls::new(promised),
            hedges: Hedges::new(world.shards, promised),
            gates: Gates::new(world, promised),
            heads: Heads::new(world, promised),
            plans: Plans::new(world),
            starving: Starving::new(world, promised),
        }
    }

    fn each(&mut self, tell: impl FnMut(&mut dyn Watcher)) {
        let Self { calls, hedges, gates, heads, plans, starving } = self;
        let all: [&mut dyn Watcher; 6] = [calls, hedges, gates, heads, plans, starving];
        all.into_iter().for_each(tell);
    }
}

impl Watcher for Checks {
    fn on_call(&mut self, run: &Run, call: &Call) {
        self.each(|check| check.on_call(run, call));
    }

    fn on_attempt(&mut self, run: &Run, call: &Call, flight: &Flight, trials: &[usize]) {
        self.each(|check| check.on_attempt(run, call, flight, trials));
    }

    fn on_end(&mut self, run: &Run, call: &Call, flight: &Flight) {
        self.each(|check| check.on_end(run, call, flight));
    }

    fn on_lost(&mut self, run: &Run, call: &Call, flight: &Flight) {
        self.each(|check| check.on_lost(run, call, flight));
    }

    fn on_done(&mut self, run: &Run, call: &Call) {
        self.each(|check| check.on_done(run, call));
    }

    fn on_change(&mut self, run: &Run, provider: usize, change: Transition, by_ratio: bool) {
        self.each(|check| check.on_change(run, provider, change, by_ratio));
    }

    fn on_publish(&mut self, run: &Run) {
        self.each(|check| check.on_publish(run));
    }
}

/// A node that goes by `settings` and promises `promised`, in the troubled world of a seed.
fn play(seed: u64, span: Duration, settings: &Settings, promised: &Settings) -> Checks {
    let world = troubled::troubled(seed, span);
    let mut checks = Checks::new(&world, promised);
    let strategy = STRATEGIES[seed as usize % STRATEGIES.len()];
    let mut run = Run::new(world, seed, strategy, settings);
    run.play(&mut checks);
    checks.calls.settle(&run);
    run.holds(run.node.places_taken() == 0, "a place in flight that nobody handed in");
    checks
}

/// What the node of a seed goes by: nearly all hedge, and some race.
fn settings_of(seed: u64, settings: &Settings) -> Settings {
    Settings {
        hedge: (!seed.is_multiple_of(10)).then_some(HedgeConfig::DEFAULT),
        race: seed.is_multiple_of(7),
        ..*settings
    }
}

/// What was asked for by an environment variable.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What was seen over all seeds.
#[derive(Debug, Default)]
struct Seen {
    calls: usize,
    answered: usize,
    hedges: usize,
    hedges_won: usize,
    planned: usize,
    refused: usize,
    /// By runs and by ratios.
    opened: [usize; 2],
    /// Calls while one was out of step or on another chain.
    passed_by: usize,
    /// Rows of their own that methods got or lost.
    own_rows: usize,
    longest_shut: Duration,
    longest_unseen: Duration,
    most_dead_calls: usize,
}

impl Seen {
    fn add(&mut self, checks: &Checks) {
        let Checks { calls, hedges, gates, heads, plans, starving } = checks;
        self.calls += calls.clients;
        self.answered += calls.answered;
        self.hedges += hedges.made;
        self.hedges_won += hedges.won;
        self.planned += plans.calls;
        self.refused += plans.refused;
        self.opened = [self.opened[0] + gates.opened[0], self.opened[1] + gates.opened[1]];
        self.passed_by += heads.passed_by;
        self.own_rows += starving.changed;
        self.longest_shut = self.longest_shut.max(gates.longest_shut);
        self.longest_unseen = self.longest_unseen.max(starving.longest);
        self.most_dead_calls = self.most_dead_calls.max(gates.most_dead);
    }

    /// Whether what is checked happens at all.
    fn is_telling(&self) -> bool {
        let often = [self.hedges, self.hedges_won, self.planned, self.passed_by].into_iter().all(|times| times > 1_000);
        often && self.refused > 10 && self.own_rows > 10 && self.opened.into_iter().all(|times| times > 20)
    }
}

#[test]
fn they_hold_in_a_thousand_troubled_worlds() {
    let (seed, seconds) = (asked("LIVECHAIN_SIM_SEED"), asked("LIVECHAIN_SIM_SECONDS"));
    let seeds = asked("LIVECHAIN_SIM_SEEDS").unwrap_or(SEEDS);
    let mut seen = Seen::default();
    for seed in seed.map_or(0..seeds, |seed| seed..seed + 1) {
        let span = if seed.is_multiple_of(LONG_EVERY) { SPAN_LONG } else { SPAN };
        let span = seconds.map_or(span, Duration::from_secs);
        let settings = settings_of(seed, if span > SPAN_LONG { &Settings::PRODUCT } else { &Settings::SMALL });
        seen.add(&play(seed, span, &settings, &settings));
    }
    println!("{seen:#?}");
    assert!(seeds < SEEDS || seed.is_some() || seen.is_telling());
}

/// Plays until the checks find out a node that promises `Settings::SMALL` and has been `changed`.
fn find_out(span: Duration, changed: impl Fn(&mut Settings)) {
    for seed in 0..SEEDS {
        let promised = settings_of(seed, &Settings::SMALL);
        let mut settings = promised;
        changed(&mut settings);
        play(seed, span, &settings, &promised);
    }
}

#[test]
#[should_panic(expected = "starved")]
fn a_node_that_does_not_explore_is_found_out() {
    find_out(SPAN_LONG, |settings| {
        settings.ranking =
            RankingConfig { explore_share: 0.0, explore_stale: Duration::from_hours(1), ..RankingConfig::DEFAULT };
    });
}

#[test]
#[should_panic(expected = "too many calls to a dead provider")]
fn a_breaker_that_does_not_open_is_found_out() {
    find_out(SPAN_LONG, |settings| settings.standing.breaker.failures = 1000);
}

#[test]
#[should_panic(expected = "a well provider is shut out")]
fn a_breaker_that_stays_open_is_found_out() {
    find_out(SPAN_LONG, |settings| {
        let breaker = &mut settings.standing.breaker;
        (breaker.cooldown, breaker.cooldown_max) = (Duration::from_secs(30), Duration::from_secs(30));
    });
}

#[test]
#[should_panic(expected = "a trial too many")]
fn trials_beside_each_other_are_found_out() {
    find_out(SPAN_LONG, |settings| settings.cripple = Some(Cripple::FreesTrials));
}

#[test]
#[should_panic(expected = "a trial too many")]
fn more_trials_after_a_ratio_than_close_it_are_found_out() {
    find_out(SPAN_LONG, |settings| settings.standing.breaker.trials += 1);
}

#[test]
#[should_panic(expected = "hedges beyond their budget")]
fn a_budget_that_is_larger_is_found_out() {
    find_out(SPAN, |settings| {
        settings.hedge = settings.hedge.map(|hedge| HedgeConfig { budget_percent: 8, ..hedge });
    });
}

#[test]
#[should_panic(expected = "hedges beyond their budget")]
fn more_saved_than_promised_is_found_out() {
    for seed in 0..SEEDS {
        let mut settings = settings_of(seed, &Settings::SMALL);
        let promised =
            Settings { hedge: settings.hedge.map(|hedge| HedgeConfig { saved_max: 3, ..hedge }), ..settings };
        settings.race = false;
        play(seed, SPAN_LONG, &settings, &promised);
    }
}

#[test]
#[should_panic(expected = "a hedge before its time")]
fn hedging_too_soon_is_found_out() {
    find_out(SPAN, |settings| {
        let soon = Duration::from_millis(5);
        settings.hedge = settings.hedge.map(|hedge| HedgeConfig { floor: soon, cap: soon, ..hedge });
    });
}

#[test]
#[should_panic(expected = "beyond the plan")]
fn a_plan_that_is_not_kept_is_found_out() {
    find_out(SPAN, |settings| settings.cripple = Some(Cripple::ForgetsPlans));
}

#[test]
#[should_panic(expected = "nobody handed in")]
fn places_that_stay_taken_are_found_out() {
    find_out(SPAN, |settings| settings.cripple = Some(Cripple::KeepsPlaces));
}

#[test]
#[should_panic(expected = "out of step is asked")]
fn asking_who_is_out_of_step_is_found_out() {
    find_out(SPAN_LONG, |settings| settings.cripple = Some(Cripple::IgnoresLag));
}

#[test]
#[should_panic(expected = "another chain is asked")]
fn asking_who_is_another_chain_is_found_out() {
    find_out(SPAN_LONG, |settings| settings.cripple = Some(Cripple::IgnoresFooting));
}

#[test]
#[should_panic(expected = "one of the majority is put out")]
fn believing_anyone_is_found_out() {
    find_out(SPAN_LONG, |settings| settings.cripple = Some(Cripple::BelievesAnyone));
}

#[test]
#[should_panic(expected = "that may not be")]
fn repeating_what_may_not_be_is_found_out() {
    find_out(SPAN, |settings| settings.cripple = Some(Cripple::RepeatsAll));
}

#[test]
#[should_panic(expected = "a call that ended")]
fn answering_twice_is_found_out() {
    find_out(SPAN, |settings| settings.cripple = Some(Cripple::KeepsLosers));
}

#[test]
#[should_panic(expected = "an attempt too many")]
fn another_attempt_is_found_out() {
    let promised = Settings { attempts_max: 2, ..Settings::SMALL };
    (0..SEEDS).for_each(|seed| drop(play(seed, SPAN, &Settings::SMALL, &promised)));
}

#[test]
#[should_panic(expected = "outlasts its call")]
fn waiting_past_the_deadline_is_found_out() {
    find_out(SPAN, |settings| settings.cripple = Some(Cripple::WaitsLonger));
}
