//! The node: shards and control as far as they decide, in the order of `shard/door.rs`.
//!
//! The seams for what joins later: a hedge is a second [`Flight`] of the same call; an outbound limit and a head's lag
//! are facts (`room`, `footing`); what the provider's head is stands in its [`Provider`](super::world::Provider).

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::world::{CLASSES, Reply};
use crate::jsonrpc::MethodClass;
use crate::limits;
use crate::routing::{
    Attempt, Attempts, Board, BreakerConfig, CooldownConfig, FIRST_SHARE, Facts, Failure, Footing, Health, Next,
    Outcome, Providers, Ranker, Ranking, RankingConfig, RowIndex, Standing, StandingConfig, Tally, Trial,
};
use crate::time::Instant;

/// How often shards report and control publishes.
pub(super) const INTERVAL: Duration = Duration::from_millis(limits::RANKING_INTERVAL_MS_DEFAULT);

pub(super) struct Node {
    pub(super) shards: Vec<Shard>,
    pub(super) standings: Vec<Standing>,
    pub(super) standing: StandingConfig,
    pub(super) board: Board,
}

pub(super) struct Shard {
    pub(super) ranker: Ranker,
    pub(super) in_flight: Vec<u32>,
    /// Row after row, a provider each.
    cells: Vec<Cell>,
}

#[derive(Clone, Default)]
struct Cell {
    answers_us: Vec<(u64, u64)>,
    tally: Tally,
}

/// An attempt under way.
pub(super) struct Flight {
    pub(super) attempt: Attempt,
    pub(super) sent: Instant,
    pub(super) ends: Instant,
    pub(super) reply: Reply,
}

/// What an attempt's end means.
pub(super) struct Judged {
    pub(super) health: Option<Health>,
    /// `None`: an answer.
    pub(super) failure: Option<Failure<()>>,
    timed: bool,
}

impl Node {
    pub(super) fn new(
        providers: usize,
        shards: usize,
        seed: u64,
        ranking: RankingConfig,
        standing: StandingConfig,
    ) -> Self {
        let slots: Vec<_> = (0..providers as u64).collect();
        Self {
            shards: (0..shards)
                .map(|shard| Shard {
                    ranker: Ranker::new(providers, seed.wrapping_mul(31).wrapping_add(shard as u64)),
                    in_flight: vec![0; providers],
                    cells: vec![Cell::default(); providers * CLASSES.len()],
                })
                .collect(),
            standings: (0..providers).map(|_| Standing::new()).collect(),
            standing,
            board: Board::new(Instant::START, &slots, shards, ranking),
        }
    }

    /// The next step of a call, as the door asks for it; and the trials that were claimed meanwhile.
    pub(super) fn step(
        &mut self,
        now: Instant,
        shard: usize,
        attempts: &mut Attempts<()>,
        draw: u64,
    ) -> (crate::routing::Step, Vec<usize>) {
        let shard = &mut self.shards[shard];
        let candidates = Candidates {
            standings: &self.standings,
            standing: &self.standing,
            in_flight: &shard.in_flight,
            draw,
            trials: RefCell::default(),
        };
        let step = attempts.next(now, &mut shard.ranker, &candidates);
        (step, candidates.trials.into_inner())
    }

    /// An attempt has ended: what `note` and `Report` of the shard do.
    pub(super) fn note(
        &mut self,
        now: Instant,
        shard: usize,
        class: usize,
        flight: &Flight,
        deadline: Duration,
        draw: u64,
    ) -> Judged {
        let provider = flight.attempt.provider;
        let judged = judge(flight, CLASSES[class].0, deadline);
        let standing = &self.standings[provider];
        let shard = &mut self.shards[shard];
        let Some(health) = judged.health else {
            if let Some(trial) = &flight.attempt.trial {
                standing.release_trial(trial);
            }
            return judged;
        };
        let news =
            Outcome { health, class: CLASSES[class].0, sent: flight.sent, trial: flight.attempt.trial.as_ref(), draw };
        standing.on_outcome(now, &news, &self.standing);
        let took = now.since(flight.sent);
        let providers = shard.in_flight.len();
        shard.cells[class * providers + provider].count(health, took);
        if judged.timed {
            shard.ranker.on_answer(provider, CLASSES[class].0, now, took);
        }
        judged
    }

    /// A shard's rows arrive at control.
    pub(super) fn ship(&mut self, now: Instant, number: usize) {
        let shard = &mut self.shards[number];
        let providers = shard.in_flight.len();
        for (index, cell) in shard.cells.iter_mut().enumerate().filter(|(_, cell)| cell.tally != Tally::default()) {
            let row = RowIndex::from(CLASSES[index / providers].0);
            self.board.merge_values(now, number, (index % providers) as u64, row, &cell.answers_us, &cell.tally);
            cell.answers_us.clear();
            cell.tally = Tally::default();
        }
    }

    /// Control's word, as of now.
    pub(super) fn publish(&mut self, now: Instant) -> Arc<Ranking> {
        for provider in 0..self.standings.len() {
            let in_flight = self.shards.iter().map(|shard| u64::from(shard.in_flight[provider])).sum();
            self.board.on_in_flight(provider as u64, in_flight);
        }
        let standings = &self.standings;
        Arc::new(self.board.publish(now, |provider| standings[provider].gate(now) == crate::routing::Gate::Open))
    }
}

impl Cell {
    fn count(&mut self, health: Health, took: Duration) {
        match health {
            Health::Good => {
                self.tally.answers += 1;
                self.answers_us.push((rounded(took.as_micros() as u64), 1));
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
        Judged { health, failure: Some(failure), timed }
    };
    if flight.is_late() {
        let had = flight.attempt.first_byte_by.since(flight.sent);
        let health = (had >= deadline.mul_f64(FIRST_SHARE / 2.0)).then(|| Health::of_timeout(class));
        return failed(health, true, health.is_some());
    }
    match flight.reply {
        Reply::Answer(_) => Judged { health: Some(Health::Good), failure: None, timed: true },
        Reply::Refused(_) => failed(Some(Health::Failure), false, false),
        Reply::Garbage(_) => failed(Some(Health::Failure), true, false),
        Reply::Limited(_, retry_after) => failed(Some(Health::Cooldown(retry_after)), false, false),
        Reply::Silent => unreachable!("silence is late"),
    }
}

impl Flight {
    pub(super) fn new(attempt: Attempt, now: Instant, reply: Reply) -> Self {
        let ends = match reply {
            Reply::Answer(took) | Reply::Refused(took) | Reply::Garbage(took) | Reply::Limited(took, _) => now + took,
            Reply::Silent => Instant::NEVER,
        };
        Self { sent: now, ends: ends.min(attempt.first_byte_by), reply, attempt }
    }

    fn is_late(&self) -> bool {
        match self.reply {
            Reply::Silent => true,
            Reply::Answer(took) | Reply::Refused(took) | Reply::Garbage(took) | Reply::Limited(took, _) => {
                self.sent + took > self.attempt.first_byte_by
            }
        }
    }
}

struct Candidates<'a> {
    standings: &'a [Standing],
    standing: &'a StandingConfig,
    in_flight: &'a [u32],
    draw: u64,
    trials: RefCell<Vec<usize>>,
}

impl Providers for Candidates<'_> {
    fn count(&self) -> usize {
        self.standings.len()
    }

    fn facts(&self, provider: usize, now: Instant) -> Facts {
        let standing = &self.standings[provider];
        Facts {
            gate: standing.gate(now),
            held: standing.holds_back(now, self.draw, self.standing),
            footing: Footing::InStep,
            priority: 1,
            weight: 1,
            in_flight: self.in_flight[provider],
            supports: true,
            room: true,
        }
    }

    fn claim_trial(&self, provider: usize, now: Instant) -> Option<Trial> {
        let (trial, _) = self.standings[provider].claim_trial(now)?;
        self.trials.borrow_mut().push(provider);
        Some(trial)
    }
}

/// The product's own settings.
pub(super) fn standing() -> StandingConfig {
    StandingConfig::default()
}

/// The same in small, so that a world of seconds sees them through.
pub(super) fn standing_in_small() -> StandingConfig {
    let breaker = BreakerConfig {
        cooldown: Duration::from_millis(500),
        cooldown_max: Duration::from_secs(2),
        ramp: Duration::from_secs(1),
        ..BreakerConfig::DEFAULT
    };
    let cooldown =
        CooldownConfig { first: Duration::from_millis(250), max: Duration::from_secs(2), ..CooldownConfig::default() };
    StandingConfig { breaker, cooldown }
}
