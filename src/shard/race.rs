//! One round of a call: an attempt, and a second one beside it when the first takes its time.
//!
//! When that is and whether it may be is the pure [`Attempts`]'s to say; here the two run side by side. Nothing is told
//! of a loser's health, since it was not allowed to end: its connection is closed, which is how HTTP/1.1 takes a call
//! back.
//!
//! **A refused transaction is not the last word while the other attempt runs**: that one may have had it mined, which is why
//! its nonce is too low now. It is waited for, and what it says counts.
//!
//! A round that needs no second attempt costs a timer out of the shard's spare ones, a store to set it and one to clear
//! it. Hedges are due on a grid: were each due at a moment of its own, the shard would be woken for timers of calls that have
//! long been answered, some thousand times a second, and each time the kernel sets its own. The second attempt is on the heap, with everything that only it needs.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::candidates::Candidates;
use super::door::{self, Ask, Said, Trace, Whole};
use super::judge::{self, Judged, Verdict};
use super::report::Report;
use super::upstream::{Look, Upstream};
use super::view::View;
use super::{Shard, on_heap};
use crate::jsonrpc::TransactionHash;
use crate::limits;
use crate::link::Outcome;
use crate::routing::{Attempt, Attempts, Demand, Hedging, Outruns, Shows, Step};
use crate::time::Instant;

/// A call as all its attempts see it.
pub(super) struct Call<'a> {
    pub(super) shard: &'a Shard,
    pub(super) view: &'a View,
    pub(super) ask: &'a Ask<'a>,
    pub(super) body: &'a [u8],
    /// Of the transaction that it sends.
    pub(super) hash: Option<TransactionHash>,
    pub(super) demand: Demand,
    /// It goes to those that come back, or does not, at every look.
    pub(super) draw: u64,
    /// It may go to more than one.
    pub(super) spreads: bool,
}

/// What its attempts have come to.
pub(super) struct Progress {
    pub(super) attempts: Attempts<(Rc<Upstream>, Whole)>,
    /// Empty unless it was asked for.
    pub(super) trace: Vec<Trace>,
}

/// An attempt that has been sent, or is about to be.
pub(super) struct Sent {
    pub(super) attempt: Attempt,
    pub(super) upstream: Rc<Upstream>,
    pub(super) at: Instant,
    /// When it ended, where its end was not told at once.
    over: Option<Instant>,
    /// It is left to its end.
    look: Option<Look>,
}

impl<'a> Call<'a> {
    /// Its providers as ranking asks for them.
    pub(super) fn candidates(&self) -> Candidates<'a> {
        let (chain, standing) = (&self.ask.route.chain, &self.view.standing);
        Candidates { shard: self.shard, chain, ask: self.ask, standing, draw: self.draw }
    }

    fn sent(&self, attempt: Attempt, at: Instant) -> Sent {
        let upstream = Rc::clone(&self.ask.route.chain.upstreams[attempt.provider]);
        Sent { attempt, upstream, at, over: None, look: None }
    }

    /// What may be done about an attempt that takes its time.
    fn hedging(&self, first: &mut Sent) -> Hedging {
        let snapshot = &self.view.snapshot;
        if !self.spreads || !self.demand.repeatable || first.attempt.trial.is_some() {
            return Hedging::Never;
        }
        if snapshot.raced.contains(&self.ask.call.method) {
            return Hedging::Race;
        }
        let config = &snapshot.config.hedging.by;
        if config.budget_percent == 0 {
            return Hedging::Never;
        }
        first.look = first.upstream.look(self.demand.class);
        if first.look.is_some() {
            return Hedging::Never;
        }
        let p95 = self.ask.route.chain.ranker.borrow().p95(self.demand.row, first.attempt.provider);
        Hedging::After(config.delay(p95))
    }

    /// An attempt has ended: told to everyone, a failure also to the call. Answers what it was answered with.
    pub(super) fn ended(&self, progress: &mut Progress, sent: Sent, mut judged: Judged) -> Option<Said> {
        let took = sent.over.unwrap_or_else(|| self.shard.clock.now()).since(sent.at);
        if judged.acted {
            self.remember_sent();
        }
        self.trace(progress, &sent.upstream, judged.outcome(), took);
        if matches!(judged.outcome(), Outcome::Success | Outcome::Error) {
            sent.upstream.with_outruns(self.demand.class, Outruns::on_answer);
        }
        let number = sent.attempt.number;
        door::note(self, sent, &mut judged, took);
        match judged.verdict {
            Verdict::Answer(said) => Some(said),
            Verdict::Failure(failure) => {
                progress.attempts.on_failure(number, failure);
                None
            }
        }
    }

    /// The hash of the transaction that a provider may have taken.
    fn remember_sent(&self) {
        if let Some(hash) = self.hash {
            self.shard.sent_transactions.borrow_mut().remember(hash);
        }
    }

    fn trace(&self, progress: &mut Progress, upstream: &Upstream, outcome: Outcome, took: Duration) {
        if self.ask.trace {
            progress.trace.push(Trace { provider: upstream.slot.id.clone(), outcome, took });
        }
    }

    /// `won` was answered while `lost` still runs, which is cancelled with that.
    fn outrun(&self, progress: &mut Progress, won: &Sent, lost: &Sent) {
        let (shard, now) = (self.shard, self.shard.clock.now());
        let shows = progress.attempts.on_answer(now, won.attempt.number).map(|loser| loser.shows);
        let had = now.since(lost.at);
        let least = match shows {
            Some(Shows::AtLeast(least)) => Some(least),
            Some(Shows::Nothing) | None => None,
        };
        // It may have been taken by both.
        self.remember_sent();
        self.trace(progress, &lost.upstream, Outcome::Outrun, had);
        lost.report(self, had).outrun(shard, least);
        if least.is_some() {
            lost.upstream.with_outruns(self.demand.class, Outruns::on_outrun);
        }
        if won.attempt.hedge {
            shard.counters.hedges_won.add(1);
            // The explored one is not whom ranking prefers.
            if let Some(preferred) = least.filter(|_| lost.attempt.explored.is_none()) {
                won.report(self, now.since(won.at)).outran(shard, preferred);
            }
        }
    }
}

impl Sent {
    /// The attempt's end. Holds nothing of `self`, which can be told of while others still run.
    fn run<'a>(&self, call: &'a Call<'a>) -> impl Future<Output = Judged> + use<'a> {
        let Attempt { first_byte_by, redial, .. } = self.attempt;
        door::try_one(call, Rc::clone(&self.upstream), first_byte_by, redial)
    }

    /// What it is told as.
    pub(super) fn report<'a>(&'a self, call: &Call<'a>, took: Duration) -> Report<'a> {
        Report {
            chain: &call.ask.route.chain,
            upstream: &self.upstream,
            position: self.attempt.provider,
            method: call.ask.info,
            trial: self.attempt.trial.as_ref(),
            explored: self.attempt.explored,
            sent: self.at,
            took,
            standing: &call.view.standing,
            probe: call.ask.probe.is_some(),
        }
    }
}

/// Runs `attempt` until it is answered, or until it and the one that was sent beside it have failed. Answers the last to
/// end.
pub(super) async fn round(call: &Call<'_>, progress: &mut Progress, attempt: Attempt, now: Instant) -> (Sent, Judged) {
    let mut first = call.sent(attempt, now);
    progress.attempts.arm(call.hedging(&mut first));
    let hedge_at = progress.attempts.hedge_at().map_or(Instant::NEVER, |at| on_grid(now, at));
    let mut running = pin!(first.run(call));
    let timer = call.shard.timers.spare();
    let ended = timer.limit(hedge_at, running.as_mut()).await;
    call.shard.timers.give_back(timer);
    match ended {
        Ok(judged) => (first, judged),
        Err(_) => on_heap(|| beside(call, progress, first, running)).await,
    }
}

/// `first` takes its time: goes on with it, and with a second attempt beside it if there may be one.
async fn beside(
    call: &Call<'_>,
    progress: &mut Progress,
    first: Sent,
    mut running: Pin<&mut impl Future<Output = Judged>>,
) -> (Sent, Judged) {
    let (shard, now) = (call.shard, call.shard.clock.now());
    let (chain, candidates) = (&call.ask.route.chain, call.candidates());
    let step =
        progress.attempts.on_hedge(now, &mut shard.hedges.borrow_mut(), &mut chain.ranker.borrow_mut(), &candidates);
    let Step::Try(attempt) = step else {
        return (first, running.await);
    };
    shard.counters.hedges.add(1);
    let second = call.sent(attempt, now);
    let mut hedge = pin!(second.run(call));
    let (judged, first_ended) = match select(running.as_mut(), hedge.as_mut()).await {
        Either::Left((judged, _)) => (judged, true),
        Either::Right((judged, _)) => (judged, false),
    };
    let (mut ended, other) = if first_ended { (first, second) } else { (second, first) };
    if call.hash.is_some() && judged.is_refusal() {
        ended.over = Some(shard.clock.now());
        let later = if first_ended { hedge.await } else { running.await };
        if matches!(later.verdict, Verdict::Answer(_)) {
            call.ended(progress, ended, judged);
            return (other, later);
        }
        call.ended(progress, other, later);
        return (ended, judge::refused_beside(call, judged));
    }
    if matches!(judged.verdict, Verdict::Answer(_)) {
        call.outrun(progress, &ended, &other);
        return (ended, judged);
    }
    call.ended(progress, ended, judged);
    let judged = if first_ended { hedge.await } else { running.await };
    (other, judged)
}

/// The next moment that all hedges share: the shard is woken for them together, and not for each. A race begins at once.
fn on_grid(now: Instant, at: Instant) -> Instant {
    let grid = limits::HEDGE_GRID_US;
    if at <= now {
        return at;
    }
    Instant::from_micros(at.micros().div_ceil(grid).saturating_mul(grid))
}
