//! The one door: everything that asks a provider goes through [`answer`].
//!
//! A call comes in with its route; an answer goes out whole, as a stream, or as a failure of ours. In between: what
//! needs no provider is answered here, filters are sent to where they live, and the attempts of a call follow each
//! other as the pure [`Attempts`] says. What each attempt showed about its provider is told once, in [`note`].

use std::cell::{Cell, OnceCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::filters;
use super::judge::{self, Judged, Verdict};
use super::place::Route;
use super::race::{self, Call, Progress, Sent};
use super::report::Pending;
use super::upstream::Upstream;
use super::upstream::exchange::{self, ExchangeError, Streamed};
use super::view::View;
use super::websocket::Caller;
use super::{Shard, on_heap};
use crate::jsonrpc::{self, BlockFacts, ChainNumbers, Class, FilterRole, IdMatch, MethodInfo, Reason, TransactionHash};
use crate::link::Outcome;
use crate::routing::{self, Attempts, Demand, Footing, Gate, Providers, Redial, Step};
use crate::tenant::Refused;
use crate::time::Instant;

/// A call and where it may go.
pub(crate) struct Ask<'a> {
    pub(crate) route: &'a Route,
    pub(crate) call: jsonrpc::Call<'a>,
    pub(crate) info: &'static MethodInfo,
    /// Whether the attempts are to be told.
    pub(crate) trace: bool,
    /// It is the node's own question, with a time of its own: no client's call.
    pub(crate) probe: Option<Duration>,
    /// What it needs of the chain's blocks, once somebody wanted to know.
    pub(crate) blocks: OnceCell<BlockFacts>,
    /// A provider refused our credentials for it.
    pub(crate) refused: Cell<bool>,
    /// The message of a WebSocket that it came in.
    pub(crate) caller: Option<&'a Caller>,
}

/// What came of a call.
pub(crate) struct Answer {
    pub(crate) said: Said,
    /// Who answered.
    pub(crate) provider: Option<Rc<Upstream>>,
    pub(crate) attempts: u8,
    /// Empty unless it was asked for.
    pub(crate) trace: Vec<Trace>,
    /// The key's quota that refused it.
    pub(crate) refused: Option<Refused>,
}

pub(crate) enum Said {
    Whole(Whole),
    Streamed(Box<Streamed>),
    Failed { reason: Reason, message: &'static str },
}

/// A reply in memory, the client's id put in where the provider's differs.
pub(crate) struct Whole {
    pub(crate) buffer: Vec<u8>,
    pub(crate) range: Range<usize>,
    pub(crate) id: IdMatch,
    /// Of the provider's error that it is; none: a result.
    pub(crate) class: Option<Class>,
}

/// One attempt, for whoever wants to see it.
pub(crate) struct Trace {
    pub(crate) provider: Arc<str>,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// The hash of the transaction that `ask` sends.
fn transaction(ask: &Ask<'_>) -> Option<TransactionHash> {
    ask.call.params.filter(|_| ask.info.raw_transaction).and_then(jsonrpc::transaction_hash)
}

impl<'a> Ask<'a> {
    pub(crate) fn new(route: &'a Route, call: jsonrpc::Call<'a>, trace: bool) -> Self {
        let info = jsonrpc::info(&call.method);
        let (blocks, refused) = (OnceCell::new(), Cell::new(false));
        Self { route, call, info, trace, probe: None, blocks, refused, caller: None }
    }

    /// One that came in a message of a WebSocket.
    pub(crate) fn of_caller(route: &'a Route, call: jsonrpc::Call<'a>, caller: &'a Caller) -> Self {
        Self { caller: Some(caller), ..Self::new(route, call, false) }
    }

    /// The node's own question to the provider that `route` names.
    pub(crate) fn probe(route: &'a Route, call: jsonrpc::Call<'a>, patience: Duration) -> Self {
        Self { probe: Some(patience), ..Self::new(route, call, true) }
    }

    /// The time that it has.
    fn patience(&self, view: &View) -> Duration {
        self.probe.unwrap_or(view.snapshot.deadlines[self.info.class.index()])
    }
}

impl Whole {
    /// All of `buffer`.
    pub(crate) fn of(buffer: Vec<u8>) -> Self {
        Self { range: 0..buffer.len(), buffer, id: IdMatch::Exact, class: None }
    }

    /// The reply as it is sent to a client whose call had `id`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, id: &[u8]) {
        jsonrpc::write_reply(out, &self.buffer[self.range.clone()], &self.id, Some(id));
    }
}

impl Answer {
    pub(crate) fn failed(reason: Reason, message: &'static str) -> Self {
        Self::of(Said::Failed { reason, message })
    }

    pub(crate) fn own(buffer: Vec<u8>) -> Self {
        Self::of(Said::Whole(Whole::of(buffer)))
    }

    /// A provider's error, of whatever wire.
    pub(crate) fn refused(buffer: Vec<u8>, class: Class) -> Self {
        Self::of(Said::Whole(Whole { class: Some(class), ..Whole::of(buffer) }))
    }

    /// Nobody was asked.
    const fn of(said: Said) -> Self {
        Self { said, provider: None, attempts: 0, trace: Vec::new(), refused: None }
    }
}

/// Answers one call.
pub(crate) async fn answer(shard: &Shard, view: &View, ask: &Ask<'_>) -> Answer {
    let info = ask.info;
    if view.snapshot.blocked.contains(&ask.call.method) {
        return Answer::failed(Reason::MethodBlocked, "this method is blocked here");
    }
    if info.subscription {
        return match ask.caller {
            Some(caller) => on_heap(|| caller.answer(view, ask)).await,
            None => Answer::failed(Reason::MethodUnknown, "subscriptions need a WebSocket"),
        };
    }
    if let Some(local) = info.local {
        let config = &ask.route.chain.entry.config;
        let numbers = ChainNumbers { chain_id: config.id, network_id: config.network_id };
        let mut buffer = shard.buffers.take();
        jsonrpc::write_local(&mut buffer, ask.call.id.unwrap_or(b"null"), local, numbers);
        return Answer::own(buffer);
    }
    match info.filter {
        FilterRole::None => attempt(shard, view, ask, ask.call.raw, ask.route.only).await,
        FilterRole::Creates => {
            let mut answer = attempt(shard, view, ask, ask.call.raw, ask.route.only).await;
            filters::seal(shard, ask, &mut answer);
            answer
        }
        FilterRole::Uses => match filters::open(ask) {
            Some((provider, body)) => {
                let mut answer = attempt(shard, view, ask, &body, Some(provider)).await;
                filters::gone(&mut answer);
                answer
            }
            None => Answer::failed(Reason::FilterNotFound, filters::NOT_FOUND),
        },
    }
}

/// Asks what `ask` says, and answers nothing here: what a provider says is what is wanted.
pub(crate) async fn ask_providers(shard: &Shard, view: &View, ask: &Ask<'_>) -> Answer {
    attempt(shard, view, ask, ask.call.raw, ask.route.only).await
}

/// Asks providers until one answers or none is left.
async fn attempt(shard: &Shard, view: &View, ask: &Ask<'_>, body: &[u8], only: Option<usize>) -> Answer {
    let chain = &ask.route.chain;
    let row = chain.ranker.borrow().row_of(ask.info);
    let demand = Demand { strategy: ask.route.strategy, class: ask.info.class, row, repeatable: ask.info.repeatable };
    let deadline = shard.clock.now() + ask.patience(view);
    let mut attempts = Attempts::new(demand, deadline, view.snapshot.config.rpc.attempts_max);
    if let Some(provider) = only {
        attempts = attempts.only(provider);
    }
    let spreads = only.is_none() && ask.probe.is_none() && chain.upstreams.len() > 1;
    let call = Call { shard, view, ask, body, hash: transaction(ask), demand, draw: shard.draw(), spreads };
    if spreads {
        shard.hedges.borrow_mut().on_call(&view.snapshot.config.hedging.by);
    }
    let mut home = if only.is_none() { home(&call) } else { None };
    let mut progress = Progress { attempts, trace: Vec::new() };
    // Ends: `Attempts` gives up after its last attempt.
    loop {
        let now = shard.clock.now();
        let step = match home.take() {
            Some(home) => Step::Try(progress.attempts.at_home(now, home, &call.candidates())),
            None => progress.attempts.next(now, &mut chain.ranker.borrow_mut(), &call.candidates()),
        };
        let attempt = match step {
            Step::Try(attempt) => attempt,
            // A round ends with nothing under way.
            Step::Wait => return give_up(progress, routing::Reason::NoProvider),
            Step::GiveUp(reason) => return give_up(progress, reason),
        };
        let (sent, judged) = race::round(&call, &mut progress, attempt, now).await;
        let provider = Rc::clone(&sent.upstream);
        if let Some(said) = call.ended(&mut progress, sent, judged) {
            if let Some(caller) = ask.caller {
                caller.settle(provider.slot.number);
            }
            let attempts = progress.attempts.made();
            return Answer { said, provider: Some(provider), attempts, trace: progress.trace, refused: None };
        }
    }
}

/// The provider that the call's session lives at, where it has one and it can be asked. Once something stands against it, the
/// session moves with all its calls.
fn home(call: &Call<'_>) -> Option<usize> {
    let (caller, chain) = (call.ask.caller?, &call.ask.route.chain);
    let slot = caller.home()?;
    let position = chain.upstreams.iter().position(|upstream| upstream.slot.number == slot);
    let (candidates, now) = (call.candidates(), call.shard.clock.now());
    if !position.is_some_and(|position| candidates.can_be_home(position, now)) {
        caller.leave_home();
        return None;
    }
    // What it cannot do for this call alone, it does not leave for.
    position.filter(|position| {
        let facts = candidates.facts(*position, now);
        facts.gate == Gate::Open && facts.footing == Footing::InStep && facts.supports && facts.room
    })
}

/// One attempt at `upstream`, until `deadline`.
pub(super) async fn try_one(call: &Call<'_>, upstream: Rc<Upstream>, deadline: Instant, mut redial: Redial) -> Judged {
    let Call { shard, ask, body, .. } = *call;
    let Some(in_flight) = upstream.enter(ask.info, &ask.call.method, shard.clock.now()) else {
        return judge::no_reply(ask, &ExchangeError::Full, ask.patience(call.view));
    };
    let mut reply = exchange::exchange(shard, &upstream, body, deadline).await;
    let mut sent_before = false;
    if let Err(ExchangeError::Stale { sent }) = reply
        && redial.replaces_stale(sent)
    {
        sent_before = sent;
        reply = on_heap(|| exchange::exchange_fresh(shard, &upstream, body, deadline)).await;
    }
    let mut judged = match reply {
        Ok(reply) => judge::reply(shard, ask, &upstream, reply, call.hash),
        Err(error) => judge::no_reply(ask, &error, ask.patience(call.view)),
    };
    judged.acted |= sent_before;
    if let Verdict::Answer(Said::Streamed(streamed)) = &mut judged.verdict {
        // It runs until its end.
        streamed.in_flight = Some(in_flight);
    }
    judged
}

/// Tells what an attempt showed about its provider, now or, of a stream, when it has ended.
pub(super) fn note(call: &Call<'_>, sent: Sent, judged: &mut Judged, took: Duration) {
    let Call { shard, view, ask, .. } = *call;
    if let Verdict::Answer(Said::Streamed(streamed)) = &mut judged.verdict {
        let Sent { attempt, upstream, at, .. } = sent;
        streamed.pending = Some(Pending {
            chain: Rc::clone(&ask.route.chain),
            upstream,
            position: attempt.provider,
            method: ask.info,
            trial: attempt.trial,
            explored: attempt.explored,
            sent: at,
            took,
            standing: view.standing,
            probe: ask.probe.is_some(),
        });
        return;
    }
    let upstream = &sent.upstream;
    let Some(health) = judged.health else {
        // It was not asked after all, or given no time: another call may find out whether it is back.
        if let Some(trial) = &sent.attempt.trial {
            upstream.slot.standing.release_trial(trial);
        }
        return;
    };
    sent.report(call, took).tell(shard, health, judged.outcome(), judged.is_timed());
    upstream.learn(ask, judged.taught, sent.at + took, &view.snapshot.config.learning);
}

fn give_up(progress: Progress, reason: routing::Reason) -> Answer {
    let Progress { attempts, trace } = progress;
    let made = attempts.made();
    if reason != routing::Reason::MethodUnknown
        && let Some((provider, whole)) = attempts.into_relayable()
    {
        return Answer { said: Said::Whole(whole), provider: Some(provider), attempts: made, trace, refused: None };
    }
    let (reason, message) = match reason {
        routing::Reason::NoProvider => (Reason::NoProvider, "no provider could answer"),
        routing::Reason::Deadline => (Reason::Deadline, "no provider answered in time"),
        routing::Reason::Capacity => (Reason::Capacity, "this node has no room for another call"),
        routing::Reason::MethodUnknown => (Reason::MethodUnknown, "no provider has this method"),
    };
    Answer { said: Said::Failed { reason, message }, provider: None, attempts: made, trace, refused: None }
}
