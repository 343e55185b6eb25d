//! `/api/leaderboard`: whom each class of calls goes to, by what figures, and why the others are out.
//!
//! One list a chain and class of which anything is known, and one for each method that is ranked by itself, in the order in
//! which providers are asked: those that are ready, the leader first; then those that get what is left (below the success
//! floor, out of step, not asked for their chain yet); then those that are out. A provider of which nothing is known has no
//! figures and stands behind those that have. The figures are of this moment, not of the last publication.

use serde::Serialize;

use super::bodies::json;
use super::state::{Reason, State, class_state};
use crate::control::{Rank, View, milliseconds};
use crate::jsonrpc::MethodClass;
use crate::link::{ChainEntry, ProviderEntry, Snapshot};
use crate::routing::{RowIndex, Score};
use crate::time::Instant;

/// Every chain, or the one at that position.
#[must_use]
pub(super) fn page(view: &View, chain: Option<usize>) -> String {
    let (snapshot, rank, now) = (view.snapshot(), view.rank(), view.now());
    let chains = snapshot.chains.iter().enumerate().filter(|(at, _)| chain.is_none_or(|chain| chain == *at));
    let chains: Vec<_> = chains.map(|(at, entry)| Chain::new(&snapshot, &rank, now, at, entry)).collect();
    json(&serde_json::json!({ "chains": chains }))
}

#[derive(Serialize)]
struct Chain<'a> {
    #[serde(rename = "chain")]
    name: &'a str,
    strategy: &'static str,
    /// The statistic that is ranked by, as a part of 1.
    percentile: f64,
    classes: Vec<Class<'a>>,
}

#[derive(Serialize)]
struct Class<'a> {
    #[serde(rename = "class")]
    name: &'static str,
    /// Where one of its methods is ranked by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'static str>,
    /// Absent while nothing is known.
    leader: Option<&'a str>,
    providers: Vec<Provider<'a>>,
}

#[derive(Serialize)]
struct Provider<'a> {
    /// From 1.
    rank: usize,
    #[serde(rename = "provider")]
    id: &'a str,
    state: &'static str,
    /// What keeps calls from it, or some of them.
    why: Vec<Why>,
    #[serde(flatten)]
    figures: Option<Figures>,
}

#[derive(Serialize)]
struct Why {
    reason: &'static str,
    /// For how long still, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
}

#[derive(Serialize)]
struct Figures {
    /// What it is ranked by.
    score_ms: f64,
    ema_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    success_rate: f64,
    throttle_rate: f64,
    /// Samples' worth of evidence.
    samples: f64,
    /// Since the last attempt.
    age_s: f64,
    /// Times that it was found to have changed.
    changes: u32,
}

impl<'a> Chain<'a> {
    fn new(snapshot: &Snapshot, rank: &Rank, now: Instant, at: usize, entry: &'a ChainEntry) -> Self {
        let classes = rank.rows(at).filter_map(|row| Class::new(snapshot, rank, now, (at, entry), row));
        Self {
            name: &entry.name,
            strategy: entry.config.strategy.name(),
            percentile: snapshot.config.ranking.by.percentile,
            classes: classes.collect(),
        }
    }
}

impl<'a> Class<'a> {
    fn new(
        snapshot: &Snapshot,
        rank: &Rank,
        now: Instant,
        (at, entry): (usize, &'a ChainEntry),
        (row, class, method): (RowIndex, MethodClass, Option<&'static str>),
    ) -> Option<Self> {
        let leader = rank.leader(at, row);
        let standing = snapshot.config.standing();
        let mut lines: Vec<_> = entry
            .providers
            .iter()
            .enumerate()
            .map(|(position, provider)| {
                let score = rank.score(now, at, row, position);
                let (state, reasons) = class_state(provider, class, score.as_ref(), now, &standing);
                let leads = Some(provider.slot.number) == leader;
                let order = (state, !leads, score.map_or(f64::INFINITY, |score| score.cost_us));
                (order, provider, score, reasons)
            })
            .collect();
        if lines.iter().all(|(_, _, score, _)| score.is_none()) {
            return None;
        }
        lines.sort_by(|(a, ..), (b, ..)| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        let leader = entry.providers.iter().find(|provider| Some(provider.slot.number) == leader);
        let providers = lines.into_iter().zip(1..).map(|(((state, ..), provider, score, reasons), place)| {
            Provider::new(place, provider, state, &reasons, score)
        });
        Some(Self {
            name: class.name(),
            method,
            leader: leader.map(|provider| &*provider.slot.id),
            providers: providers.collect(),
        })
    }
}

impl<'a> Provider<'a> {
    fn new(rank: usize, provider: &'a ProviderEntry, state: State, reasons: &[Reason], score: Option<Score>) -> Self {
        let why = reasons.iter().map(|reason| Why { reason: reason.word, seconds: reason.seconds.map(thousandths) });
        let figures = score.map(Figures::new);
        Self { rank, id: &provider.slot.id, state: state.name(), why: why.collect(), figures }
    }
}

impl Figures {
    fn new(score: Score) -> Self {
        let ms = |us: f64| milliseconds(std::time::Duration::from_secs_f64(us.max(0.0) / 1e6));
        Self {
            score_ms: ms(score.cost_us),
            ema_ms: ms(score.mean_us),
            p50_ms: ms(score.p50_us),
            p90_ms: ms(score.p90_us),
            p95_ms: ms(score.p95_us),
            p99_ms: ms(score.p99_us),
            success_rate: thousandths(score.success_rate),
            throttle_rate: thousandths(score.throttle_rate),
            samples: thousandths(score.samples),
            age_s: thousandths(score.age.as_secs_f64()),
            changes: score.changes,
        }
    }
}

/// For people: an `f64` that is not rounded prints as many digits as it has.
fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
