//! The node's shards as far as they decide, in the order of `shard/door.rs`. What control decides is in `control`.

use std::cell::RefCell;
use std::time::Duration;

use super::call::{Call, Flight};
use super::control::Control;
use super::own_rows::Sums;
use super::settings::{Cripple, Settings};
use super::watch::Watch;
use super::world::{METHODS, Provider, Reply, World};
use crate::jsonrpc::MethodClass;
use crate::routing::{
    Allotment, Attempt, Attempts, FIRST_SHARE, Facts, Failure, Footing, Health, HedgeBudget, Hedging, Loser, Month,
    Next, Outbound, OutboundConfig, Outcome, Outruns, Place, Plan, Providers, Ranker, Shows, Standing, Step, Tally,
    Transition, Trial,
};
use crate::time::Instant;

pub(super) struct Node {
    pub(super) settings: Settings,
    pub(super) shards: Vec<Shard>,
    pub(super) standings: Vec<Standing>,
    /// What we may send each provider, and what we have sent.
    told: Vec<OutboundConfig>,
    plans: Vec<Plan>,
    outbounds: Vec<Outbound>,
    pub(super) control: Control,
    pub(super) watch: Watch,
}

pub(super) struct Shard {
    pub(super) ranker: Ranker,
    pub(super) in_flight: Vec<u32>,
    budget: HedgeBudget,
    outruns: Vec<Outruns>,
    allotments: Vec<Allotment>,
    /// What was measured since the last report: by class, then by method that had a row of its own; and by provider.
    pub(super) cells: Vec<Cell>,
}

#[derive(Clone, Default)]
pub(super) struct Cell {
    pub(super) answers_us: Vec<(u64, u64)>,
    pub(super) tally: Tally,
    pub(super) sums: Sums,
}

/// What an attempt's end means.
pub(super) struct Judged {
    pub(super) health: Option<Health>,
    /// `None`: an answer.
    pub(super) failure: Option<Failure<()>>,
    /// What it changed.
    pub(super) changed: Option<Transition>,
    timed: bool,
}

impl Node {
    pub(super) fn new(world: &World, seed: u64, settings: &Settings) -> Self {
        let (providers, shards) = (world.providers.len(), world.shards);
        let told = |provider: &Provider| {
            if settings.is(Cripple::ForgetsPlans) { OutboundConfig::DEFAULT } else { provider.told }
        };
        let told: Vec<_> = world.providers.iter().map(told).collect();
        Self {
            settings: *settings,
            shards: (0..shards)
                .map(|shard| Shard {
                    ranker: Ranker::new(providers, seed.wrapping_mul(31).wrapping_add(shard as u64)),
                    in_flight: vec![0; providers],
                    budget: HedgeBudget::new(),
                    outruns: vec![Outruns::new(); providers * MethodClass::ALL.len()],
                    allotments: vec![Allotment::default(); providers],
                    cells: vec![Cell::default(); providers * (MethodClass::ALL.len() + METHODS.len())],
                })
                .collect(),
            standings: (0..providers).map(|_| Standing::new()).collect(),
            plans: told.iter().map(|&told| Plan::new(told, Month::default())).collect(),
            told,
            outbounds: (0..providers).map(|_| Outbound::new()).collect(),
            control: Control::new(providers, shards, settings),
            watch: Watch::new(providers, world.block_time, seed, settings),
        }
    }

    /// A call has come.
    pub(super) fn on_call(&mut self, shard: usize) {
        if let Some(config) = &self.settings.hedge {
            self.shards[shard].budget.on_call(config);
        }
    }

    /// The next step of a call, as the door asks for it; and the trials that were claimed meanwhile.
    pub(super) fn step(&mut self, now: Instant, call: &mut Call) -> (Step, Vec<usize>) {
        self.with_candidates(call, |attempts, shard, candidates| attempts.next(now, shard.ranker, candidates))
    }

    /// The same when the attempt under way has taken its time.
    pub(super) fn hedge(&mut self, now: Instant, call: &mut Call) -> (Step, Vec<usize>) {
        self.with_candidates(call, |attempts, shard, candidates| {
            attempts.on_hedge(now, shard.budget, shard.ranker, candidates)
        })
    }

    fn with_candidates(
        &mut self,
        call: &mut Call,
        ask: impl FnOnce(&mut Attempts<()>, &mut Parts<'_>, &Candidates<'_>) -> Step,
    ) -> (Step, Vec<usize>) {
        let Shard { ranker, in_flight, budget, allotments, .. } = &mut self.shards[call.shard];
        let candidates = Candidates {
            settings: &self.settings,
            standings: &self.standings,
            in_flight,
            outbound: (&self.outbounds, &self.plans, allotments),
            units: METHODS[call.method].units,
            footing: (&self.watch, call.info.class, call.probe.is_some()),
            draw: call.draw,
            trials: RefCell::default(),
        };
        let step = ask(&mut call.attempts, &mut Parts { ranker, budget }, &candidates);
        (step, candidates.trials.into_inner())
    }

    /// Takes what an attempt of `call` at `provider` needs. A shard of its own thread may find that another was faster, and
    /// goes on as after a failure that sent nothing; here nobody is.
    pub(super) fn take(&mut self, now: Instant, call: &Call, provider: usize) -> Option<Place> {
        let shard = &mut self.shards[call.shard];
        shard.in_flight[provider] += 1;
        let (plan, units) = (&self.plans[provider], METHODS[call.method].units);
        self.outbounds[provider].take(now, units, plan, &mut shard.allotments[provider]).ok()
    }

    /// An attempt is over, however it ended.
    pub(super) fn leave(&mut self, call: &Call, flight: Flight) {
        let Flight { attempt, place, looked_at, .. } = flight;
        let shard = &mut self.shards[call.shard];
        shard.in_flight[attempt.provider] -= 1;
        if looked_at {
            shard.outruns[outruns_of(call, attempt.provider)].on_end();
        }
        if !self.settings.is(Cripple::KeepsPlaces) {
            self.outbounds[attempt.provider].leave(place);
        }
    }

    /// Whether a shard may send `provider` a call of `units` now.
    pub(super) fn has_room(&self, now: Instant, shard: usize, provider: usize, units: u32) -> bool {
        let own = &self.shards[shard].allotments[provider];
        self.outbounds[provider].full(now, units, &self.plans[provider], own).is_none()
    }

    /// Whether no shard may send `provider` a call of `units` now.
    pub(super) fn is_full(&self, now: Instant, provider: usize, units: u32) -> bool {
        (0..self.shards.len()).all(|shard| !self.has_room(now, shard, provider, units))
    }

    /// Places in flight that are taken.
    pub(super) fn places_taken(&self) -> u32 {
        self.outbounds.iter().map(Outbound::in_flight).sum()
    }

    /// What may be done about a call's attempt that takes its time; and whether it is left to its end to be looked at.
    pub(super) fn hedging(&mut self, call: &Call, attempt: &Attempt) -> (Hedging, bool) {
        let Some(config) = self.settings.hedge.as_ref().filter(|_| call.probe.is_none() && attempt.trial.is_none())
        else {
            return (Hedging::Never, false);
        };
        let shard = &mut self.shards[call.shard];
        if self.settings.race && call.method == 0 {
            return (Hedging::Race, false);
        }
        if shard.outruns[outruns_of(call, attempt.provider)].look() {
            return (Hedging::Never, true);
        }
        (Hedging::After(config.delay(shard.ranker.p95(call.row, attempt.provider))), false)
    }

    /// An attempt has ended: what `note` and `Report` of the shard do.
    pub(super) fn note(&mut self, now: Instant, call: &Call, flight: &Flight) -> Judged {
        let (provider, class) = (flight.attempt.provider, call.info.class);
        let mut judged = judge(flight, class, call.deadline);
        let standing = &self.standings[provider];
        let Some(health) = judged.health else {
            if let Some(trial) = &flight.attempt.trial {
                standing.release_trial(trial);
            }
            return judged;
        };
        let news = Outcome { health, class, sent: flight.sent, trial: flight.attempt.trial.as_ref(), draw: call.draw };
        judged.changed = standing.on_outcome(now, &news, &self.settings.standing).breaker;
        if let Health::Cooldown(_) = health {
            self.outbounds[provider].on_limited(now, flight.sent, &self.told[provider]);
        }
        let took = now.since(flight.sent);
        let shard = &mut self.shards[call.shard];
        if call.probe.is_none() {
            shard.cell(call, provider).count(health, call.method, took);
        }
        if matches!(health, Health::Good | Health::Untouched) {
            shard.outruns[outruns_of(call, provider)].on_answer();
        }
        if judged.timed {
            shard.ranker.on_answer(provider, class, now, took);
        }
        judged
    }

    /// Another attempt was faster, and this one is cancelled.
    pub(super) fn lost(&mut self, call: &Call, loser: Loser) {
        // A trial keeps its place until its lease ends: given back at once, it would be every next call's.
        let shard = &mut self.shards[call.shard];
        if loser.shows != Shows::Nothing {
            shard.outruns[outruns_of(call, loser.provider)].on_outrun();
        }
        let cell = shard.cell(call, loser.provider);
        cell.tally.outrun += 1;
        if let Shows::AtLeast(had) = loser.shows {
            cell.answers_us.push((rounded(had.as_micros() as u64), 1));
        }
    }
}

/// Where a shard keeps what was outrun of a provider and the call's class.
fn outruns_of(call: &Call, provider: usize) -> usize {
    provider * MethodClass::ALL.len() + call.info.class.index()
}

/// What [`Attempts`] needs of a shard.
struct Parts<'a> {
    ranker: &'a mut Ranker,
    budget: &'a mut HedgeBudget,
}

impl Shard {
    fn cell(&mut self, call: &Call, provider: usize) -> &mut Cell {
        let providers = self.in_flight.len();
        let own = self.ranker.row_of(call.info) != call.info.class.into();
        let kind = if own { MethodClass::ALL.len() + call.method } else { call.info.class.index() };
        &mut self.cells[kind * providers + provider]
    }
}

impl Cell {
    fn count(&mut self, health: Health, method: usize, took: Duration) {
        match health {
            Health::Good => {
                self.tally.answers += 1;
                self.answers_us.push((rounded(took.as_micros() as u64), 1));
                let (calls, took_us) = &mut self.sums[method];
                (*calls, *took_us) = (*calls + 1, *took_us + took.as_micros() as u64);
            }
            Health::Untouched => self.tally.errors += 1,
            Health::Slow => self.tally.late += 1,
            Health::Failure => self.tally.failures += 1,
            Health::Cooldown(_) | Health::ClassCooldown(_) | Health::Park | Health::Suspect => {
                self.tally.limited += 1;
            }
        }
    }
}

/// To two digits, as a row's histogram has it.
fn rounded(us: u64) -> u64 {
    let unit = 1 << us.max(128).ilog2().saturating_sub(7);
    us / unit * unit + unit / 2
}

/// As `shard/judge.rs` does.
fn judge(flight: &Flight, class: MethodClass, deadline: Duration) -> Judged {
    let failed = |health, sent, timed| {
        let failure = Failure { next: Next::FailOver, sent, unsupported: false, relayable: None };
        Judged { health, failure: Some(failure), changed: None, timed }
    };
    if flight.is_late() {
        let had = flight.attempt.first_byte_by.since(flight.sent);
        let health = (had >= deadline.mul_f64(FIRST_SHARE / 2.0)).then(|| Health::of_timeout(class));
        return failed(health, true, health.is_some());
    }
    match flight.reply {
        Reply::Answer(_) => Judged { health: Some(Health::Good), failure: None, changed: None, timed: true },
        Reply::Refused(_) => failed(Some(Health::Failure), false, false),
        Reply::Garbage(_) => failed(Some(Health::Failure), true, false),
        Reply::Limited(_, retry_after) => failed(Some(Health::Cooldown(retry_after)), false, false),
        Reply::Silent => unreachable!("silence is late"),
    }
}

struct Candidates<'a> {
    settings: &'a Settings,
    standings: &'a [Standing],
    in_flight: &'a [u32],
    outbound: (&'a [Outbound], &'a [Plan], &'a [Allotment]),
    /// Where they stand on the chain, the call's class, and whether it is the node's own question.
    footing: (&'a Watch, MethodClass, bool),
    /// What the call counts as.
    units: u32,
    draw: u64,
    trials: RefCell<Vec<usize>>,
}

impl Candidates<'_> {
    fn has_room(&self, provider: usize, now: Instant) -> bool {
        let (outbounds, plans, allotments) = self.outbound;
        outbounds[provider].full(now, self.units, &plans[provider], &allotments[provider]).is_none()
    }
}

impl Candidates<'_> {
    fn footing(&self, provider: usize) -> Footing {
        let (watch, class, probe) = self.footing;
        let ignored = |footing: Footing| {
            self.settings.is(Cripple::IgnoresFooting)
                || self.settings.is(Cripple::IgnoresLag) && footing != Footing::WrongChain
        };
        // The node's own question is what finds it out.
        Some(watch.footing(provider))
            .filter(|&footing| !probe && !ignored(footing))
            .map_or(Footing::InStep, |footing| footing.for_class(class))
    }
}

impl Providers for Candidates<'_> {
    fn count(&self) -> usize {
        self.standings.len()
    }

    fn facts(&self, provider: usize, now: Instant) -> Facts {
        let standing = &self.standings[provider];
        Facts {
            gate: standing.gate(now),
            held: standing.holds_back(now, self.draw, &self.settings.standing),
            footing: self.footing(provider),
            priority: 1,
            weight: 1,
            in_flight: self.in_flight[provider],
            supports: true,
            room: self.has_room(provider, now),
        }
    }

    fn claim_trial(&self, provider: usize, now: Instant) -> Option<Trial> {
        let (trial, _) = self.standings[provider].claim_trial(now)?;
        self.trials.borrow_mut().push(provider);
        if self.settings.is(Cripple::FreesTrials) {
            self.standings[provider].release_trial(&trial);
        }
        Some(trial)
    }
}
