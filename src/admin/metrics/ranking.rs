//! What `/api/leaderboard` shows, as series, and regret: as many as the config has providers times classes
//! asked, and methods of our own table that are ranked by themselves, of which there are few.

use std::fmt;

use prometheus_client::registry::Unit;

use super::{Labels, Sheet, all, labels, seconds};
use crate::admin::state::{State, class_state};
use crate::control::View;
use crate::jsonrpc::MethodClass;
use crate::link::{ProviderEntry, Snapshot};
use crate::routing::{Compared, Regret, Score};
use crate::time::Instant;

/// One provider in one class.
struct Line {
    labels: Labels,
    score: Score,
    leads: bool,
    state: State,
}

/// A family's name, what it says, its unit, and where it is read.
type Figure = (&'static str, &'static str, Option<Unit>, fn(&Line) -> f64);

const FIGURES: [Figure; 7] = [
    ("ranking_score", "What providers are ranked by", Some(Unit::Seconds), |line| line.score.cost_us / 1e6),
    ("ranking_success_rate", "Answers among answers and failures, 0 to 1", None, |line| line.score.success_rate),
    ("ranking_throttle_rate", "Refusals for a rate or a quota among attempts, 0 to 1", None, |line| {
        line.score.throttle_rate
    }),
    ("ranking_samples", "Samples' worth of evidence", None, |line| line.score.samples),
    ("ranking_age", "Time since the last attempt", Some(Unit::Seconds), |line| line.score.age.as_secs_f64()),
    ("ranking_leader", "1 for the one that the class's calls go to", None, |line| f64::from(u8::from(line.leads))),
    ("ranking_state", "0 ready, 1 easing, 2 trial, 3 last, 4 out", None, |line| f64::from(line.state as u8)),
];

/// A statistic of answers' latency and where it is read, in microseconds.
type Statistic = (&'static str, fn(&Score) -> f64);

const STATISTICS: [Statistic; 5] = [
    ("ema", |score| score.mean_us),
    ("p50", |score| score.p50_us),
    ("p90", |score| score.p90_us),
    ("p95", |score| score.p95_us),
    ("p99", |score| score.p99_us),
];

impl Sheet<'_> {
    pub(super) fn ranking(&mut self, view: &View, snapshot: &Snapshot, now: Instant) -> fmt::Result {
        let lines = lines(view, snapshot, now);
        for (name, help, unit, read) in FIGURES {
            let rows = lines.iter().map(|line| (line.labels.clone(), read(line)));
            self.gauge(name, help, unit.as_ref(), rows)?;
        }
        let rows = lines.iter().flat_map(|line| {
            STATISTICS.iter().map(|(name, read)| {
                let mut labels = line.labels.clone();
                labels.push(("statistic", (*name).to_owned()));
                (labels, read(&line.score) / 1e6)
            })
        });
        self.gauge("ranking_latency", "Recent latency of answers, decaying", Some(&Unit::Seconds), rows)
    }

    pub(super) fn regret(&mut self, view: &View, snapshot: &Snapshot) -> fmt::Result {
        let compared = compared(view, snapshot);
        let rows = compared.iter().flat_map(|(labels, regret)| {
            Compared::ALL.iter().map(|&kind| {
                let mut labels = labels.clone();
                labels.push(("compared", kind.name().to_owned()));
                (labels, regret.calls(kind))
            })
        });
        self.counter("regret_calls", "Calls that this provider got in place of the preferred one", None, rows)?;
        let rows = compared.iter().map(|(labels, regret)| (labels.clone(), regret.right()));
        self.counter("regret_right", "Those of them that the preferred one answers as fast", None, rows)?;
        let rows = compared.iter().map(|(labels, regret)| (labels.clone(), seconds(regret.lost_us())));
        let help = "Time that this provider was faster by than the preferred one, where it was";
        self.counter("regret_lost", help, Some(&Unit::Seconds), rows)?;
        let rows = compared.iter().map(|(labels, regret)| (labels.clone(), seconds(regret.won_us())));
        let help = "Time that this provider was slower by than the preferred one, where it was";
        self.counter("regret_won", help, Some(&Unit::Seconds), rows)
    }
}

fn lines(view: &View, snapshot: &Snapshot, now: Instant) -> Vec<Line> {
    let (rank, standing) = (view.rank(), snapshot.config.standing());
    let mut lines = Vec::new();
    for (chain, entry) in snapshot.chains.iter().enumerate() {
        for (row, class, method) in rank.rows(chain) {
            let leader = rank.leader(chain, row);
            for (position, provider) in entry.providers.iter().enumerate() {
                let Some(score) = rank.score(now, chain, row, position) else { continue };
                let (state, _) = class_state(provider, class, Some(&score), now, &standing);
                let leads = Some(provider.slot.number) == leader;
                let mut labels = with_class(provider, class);
                // Empty, which is as good as absent, for the class's own row.
                labels.push(("method", method.unwrap_or_default().to_owned()));
                lines.push(Line { labels, score, leads, state });
            }
        }
    }
    lines
}

fn compared(view: &View, snapshot: &Snapshot) -> Vec<(Labels, Regret)> {
    let totals = view.totals();
    let each = all(snapshot).flat_map(|provider| MethodClass::ALL.map(|class| (provider, class)));
    let known = each.filter_map(|(provider, class)| {
        let regret = totals.of(provider.slot.number, class)?.regret;
        (!regret.is_empty()).then(|| (with_class(provider, class), regret))
    });
    known.collect()
}

fn with_class(provider: &ProviderEntry, class: MethodClass) -> Labels {
    let mut labels = labels(provider);
    labels.push(("class", class.name().to_owned()));
    labels
}
