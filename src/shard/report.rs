//! What an attempt showed about its provider, told once to everyone who needs to know: the standing that all shards share,
//! this shard's ranking, and control.
//!
//! Of a streamed answer it is known only at its end. A provider that cuts every large answer must not pass for a good one
//! because each began well, so the report waits with the stream ([`Pending`]). When it is the client that leaves, nothing
//! is said.

use std::rc::Rc;
use std::time::Duration;

use super::Shard;
use super::upstream::Upstream;
use super::view::Chain;
use crate::jsonrpc::{MethodClass, MethodInfo};
use crate::link::{EventKind, Outcome, RowKey};
use crate::routing::{self, Compared, Health, InsteadOf, Ranker, StandingConfig, Trial};
use crate::time::Instant;

/// An attempt that has ended.
pub(crate) struct Report<'a> {
    pub(crate) chain: &'a Chain,
    pub(crate) upstream: &'a Upstream,
    /// The provider's position in the chain.
    pub(crate) position: usize,
    pub(crate) method: &'static MethodInfo,
    pub(crate) trial: Option<&'a Trial>,
    /// It was made for the evidence alone.
    pub(crate) explored: Option<InsteadOf>,
    pub(crate) sent: Instant,
    /// Until the answer, or its first part, was there.
    pub(crate) took: Duration,
    pub(crate) standing: &'a StandingConfig,
    /// No client's call: it says how the provider stands and is not counted.
    pub(crate) probe: bool,
}

impl Report<'_> {
    /// `timed`: the time that it took says how fast the provider is.
    pub(crate) fn tell(&self, shard: &Shard, health: Health, outcome: Outcome, timed: bool) {
        let (now, class) = (shard.clock.now(), self.method.class);
        let news = routing::Outcome { health, class, sent: self.sent, trial: self.trial, draw: shard.draw() };
        tell_standing(shard, self.upstream, now, &news, self.standing);
        let mut ranker = self.chain.ranker.borrow_mut();
        let key = self.key(&ranker);
        if !self.probe {
            shard.recorder.attempt(key, self.method, outcome, self.took);
        }
        if timed {
            ranker.on_answer(self.position, class, now, self.took);
            if let Some(instead) = self.explored {
                self.compare(shard, key, instead);
            }
        }
    }

    /// It was cancelled, since another one was faster. `least`: it would have taken at least this long. A trial that it was keeps
    /// its place until its lease ends, see [`Loser`](routing::Loser).
    pub(crate) fn outrun(&self, shard: &Shard, least: Option<Duration>) {
        let mut ranker = self.chain.ranker.borrow_mut();
        shard.recorder.outrun(self.key(&ranker), least);
        if let Some(least) = least {
            ranker.on_answer(self.position, self.method.class, shard.clock.now(), least);
        }
    }

    /// It was asked beside one that ranking prefers, which would have taken at least `preferred`.
    pub(crate) fn outran(&self, shard: &Shard, preferred: Duration) {
        let key = self.key(&self.chain.ranker.borrow());
        shard.recorder.compared(key, Compared::Hedged, preferred, self.took);
    }

    fn key(&self, ranker: &Ranker) -> RowKey {
        let class = self.method.class;
        let own = (ranker.row_of(self.method) != class.into()).then_some(self.method);
        RowKey { slot: self.upstream.slot.number, class, own }
    }

    /// Holds what it took against what ranking prefers, where that is known.
    #[cold]
    fn compare(&self, shard: &Shard, key: RowKey, instead: InsteadOf) {
        if instead.expected_us > 0 {
            let preferred = Duration::from_micros(instead.expected_us.into());
            shard.recorder.compared(key, Compared::Explored, preferred, self.took);
        }
    }
}

/// Tells what a provider showed beside calls, as a WebSocket's end does: its standing alone, since nothing was measured.
pub(crate) fn tell_beside(shard: &Shard, upstream: &Upstream, health: Health, trial: Option<&Trial>, sent: Instant) {
    let (now, class) = (shard.clock.now(), MethodClass::Other);
    let news = routing::Outcome { health, class, sent, trial, draw: shard.draw() };
    tell_standing(shard, upstream, now, &news, &shard.view().standing);
}

fn tell_standing(
    shard: &Shard,
    upstream: &Upstream,
    now: Instant,
    news: &routing::Outcome<'_>,
    standing: &StandingConfig,
) {
    let slot = &upstream.slot;
    let changes = slot.standing.on_outcome(now, news, standing);
    shard.tell(slot, now, news.class, &changes, news.health);
    // A limit of one class is not the plan's.
    if matches!(news.health, Health::Cooldown(_))
        && let Some(per_mille) = upstream.on_limited(now, news.sent)
    {
        shard.event(slot, EventKind::TunedDown(per_mille));
    }
}

/// The same while its answer still streams.
pub(crate) struct Pending {
    pub(crate) chain: Rc<Chain>,
    pub(crate) upstream: Rc<Upstream>,
    pub(crate) position: usize,
    pub(crate) method: &'static MethodInfo,
    pub(crate) trial: Option<Trial>,
    pub(crate) explored: Option<InsteadOf>,
    pub(crate) sent: Instant,
    pub(crate) took: Duration,
    pub(crate) standing: StandingConfig,
    pub(crate) probe: bool,
}

impl Pending {
    /// The stream has ended as it should, or has not.
    pub(crate) fn settle(self, shard: &Shard, whole: bool) {
        let report = Report {
            chain: &self.chain,
            upstream: &self.upstream,
            position: self.position,
            method: self.method,
            trial: self.trial.as_ref(),
            explored: self.explored,
            sent: self.sent,
            took: self.took,
            standing: &self.standing,
            probe: self.probe,
        };
        let (health, outcome) =
            if whole { (Health::Good, Outcome::Success) } else { (Health::Failure, Outcome::Failure) };
        report.tell(shard, health, outcome, whole);
    }
}
