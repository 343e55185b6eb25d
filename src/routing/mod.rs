//! Which provider is asked, and what happens when it fails: pure.
//!
//! ```text
//!   Attempts ──asks──▶ Ranker ──reads──▶ Standing = Breaker + Cooldowns   (one per provider, all shards)
//!   (one per call)     (per shard          Outbound + Allotment           (one per provider; one per shard beside it)
//!      │                and chain)         Heads                          (one per chain, in control; shards see a word each)
//!      ▼                   │               Learned                        (one per provider and shard)
//!   HedgeBudget            │                 ▲
//!   (one per shard)        │              Probes: what a node asks by itself (one per chain, in control)
//!                          └────reads───▶ Ranking                         (one per chain, published by control)
//!                                            ▲
//!   rows of all shards ──────merge───────▶ Board = Window, Score, what to explore (one per chain, in control)
//! ```
//!
//! A shard asks a call's [`Attempts`] for the next step, does it, tells the provider's [`Standing`] and the [`Ranker`]
//! how it went, and asks again. Control merges what shards measured into the chain's [`Board`] and publishes its
//! [`Ranking`], which shards [`adopt`](Ranker::adopt). Nothing here names a socket, a runtime or a clock: moments and
//! seeds are handed in, so that the simulator can drive it all.
//!
//! What may keep a call from a provider, and who knows it: trouble and rate limits ([`Standing`]), our plan with it
//! ([`Outbound`]), its place on the chain ([`Heads`], as shards see it [`Footing`]), what it has shown that it cannot do ([`Learned`]).
//!
//! Reading order, of a shard: `health` (the words), `breaker`, `cooldown`, `standing`, `footing`, `outbound`, `learned`, `latency`,
//! `turns`, `cost`, `rank`, `hedge`, `attempt`; of control: `heads`, `probe`, `settings`, `sketch`, `window`, `score`,
//! `explore`, `board`, `ranking`, `promote`, `regret`.

mod allowance;
mod attempt;
mod board;
mod breaker;
mod candidates;
mod cooldown;
mod cost;
mod explore;
mod footing;
mod heads;
mod health;
mod hedge;
mod latency;
mod learned;
mod outbound;
mod probe;
mod promote;
mod random;
mod rank;
mod ranking;
mod regret;
mod score;
mod settings;
mod sketch;
mod standing;
mod strategy;
mod turns;
mod window;

pub use crate::bucket::{CHUNK_LIFE, Month};
pub use attempt::{Attempt, Attempts, FIRST_SHARE, Failure, Loser, Reason, Redial, Shows, Step};
pub use board::Board;
pub use breaker::{Admission, Breaker, BreakerConfig, FailureCounts, TRIAL_LEASE, Transition, Trial};
pub use candidates::{Facts, Providers, Tried};
pub use cooldown::{Cooldown, CooldownConfig, Cooldowns, Rest, RestChange};
pub use footing::{Footing, FootingCell, HeadCell};
pub use heads::{HeadEvent, HeadFacts, HeadLimits, Heads, HeadsConfig, Level};
pub use health::{Health, Next};
pub use hedge::{HedgeBudget, HedgeConfig, Hedging, OUTRUNS_IN_A_ROW, Outruns};
pub use latency::{AWAITED_US, EXPLORE_EVERY, Evidence, HALF_LIFE, Latencies, MASS_MIN};
pub use learned::{BELIEFS, BeliefCells, CallFacts, Gap, Learned, LearnedConfig, Lesson, Needs};
pub use outbound::{Allotment, Full, Outbound, OutboundConfig, Place, Plan, TuningConfig};
pub use probe::{Probe, ProbeConfig, ProbeEnd, Probes, Question};
pub use promote::Promotions;
pub use random::Random;
pub use rank::{Demand, EXPLORE_APART, IN_FLIGHT_DOUBLES, InsteadOf, Nobody, Pick, Ranker};
pub use ranking::{Entry, Explore, Load, ROWS_MAX, Ranking, RowIndex};
pub use regret::{Compared, Regret};
pub use score::Score;
pub use settings::RankingConfig;
pub use standing::{Changes, Gate, Outcome, Standing, StandingConfig};
pub use strategy::Strategy;
pub use window::Tally;
