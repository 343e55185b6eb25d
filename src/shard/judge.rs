//! What a provider's reply means: an answer for the client, or a failure, and what it shows about the provider.
//!
//! The body speaks first, whatever the HTTP status; a body that is no JSON-RPC reply leaves the status to speak. The
//! taxonomy (`jsonrpc::classify`) names the class; here the class becomes what routing understands.

use std::rc::Rc;
use std::time::Duration;

use super::Shard;
use super::door::{Ask, Said, Whole};
use super::lessons::Taught;
use super::race::Call;
use super::upstream::Upstream;
use super::upstream::exchange::{Content, ExchangeError, Reply, Streamed};
use super::upstream::socket::OpenError;
use crate::jsonrpc::{
    self, Action, Class, Evidence, IdMatch, MethodClass, MethodInfo, Prefix, PrefixKind, ReplyError, TransactionHash,
    classify, classify_http,
};
use crate::link::{Outcome, ProviderSlot};
use crate::routing::{FIRST_SHARE, Failure, Health, Next};

/// An attempt's end.
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    /// None: it shows nothing, since the provider was not asked.
    pub(crate) health: Option<Health>,
    /// Its time ran out.
    late: bool,
    /// The provider may have done what it was asked.
    pub(crate) acted: bool,
    /// What it shows that the provider can or cannot do.
    pub(crate) taught: Taught,
}

pub(crate) enum Verdict {
    Answer(Said),
    Failure(Failure<(Rc<Upstream>, Whole)>),
}

impl Judged {
    fn good(said: Said) -> Self {
        Self {
            verdict: Verdict::Answer(said),
            health: Some(Health::Good),
            late: false,
            acted: true,
            taught: Taught::Nothing,
        }
    }

    fn failed(health: Option<Health>, next: Next, sent: bool) -> Self {
        let failure = Failure { next, sent, unsupported: false, relayable: None };
        Self { verdict: Verdict::Failure(failure), health, late: false, acted: sent, taught: Taught::Nothing }
    }

    /// How it counts in the measurements.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.health {
            Some(Health::Good) => Outcome::Success,
            Some(Health::Untouched) => Outcome::Error,
            Some(Health::Slow) => Outcome::Late,
            Some(Health::Cooldown(_) | Health::ClassCooldown(_) | Health::Park | Health::Suspect) => Outcome::Limited,
            Some(Health::Failure) | None => Outcome::Failure,
        }
    }

    /// Whether it is an error for the client, and nothing was done.
    pub(crate) fn is_refusal(&self) -> bool {
        !self.acted && matches!(self.verdict, Verdict::Answer(_))
    }

    /// Whether the time that it took says how fast the provider is. A refusal is quick and says nothing.
    pub(crate) fn is_timed(&self) -> bool {
        self.late || matches!(self.health, Some(Health::Good | Health::Untouched | Health::Slow))
    }
}

/// Judges an exchange that brought no reply.
///
/// A provider that was given less than half of what a first attempt gets was not given a chance: it shows nothing.
pub(crate) fn no_reply(ask: &Ask<'_>, error: &ExchangeError, deadline: Duration) -> Judged {
    let fair = deadline.mul_f64(FIRST_SHARE / 2.0);
    let health = match error {
        // Closed by the provider while nobody used it.
        ExchangeError::Full | ExchangeError::Stale { .. } => None,
        ExchangeError::Late { had } | ExchangeError::Unconnected { had } if *had < fair => None,
        ExchangeError::Late { .. } => Some(Health::of_timeout(ask.info.class)),
        ExchangeError::Handshake(error) => Some(unopened(error)),
        _ => Some(Health::Failure),
    };
    if health == Some(Health::Suspect) {
        ask.refused.set(true);
    }
    let late = health.is_some() && matches!(error, ExchangeError::Late { .. });
    Judged { late, ..Judged::failed(health, Next::FailOver, error.sent()) }
}

/// What it shows of a provider that a WebSocket to it could not be opened.
pub(crate) fn unopened(error: &OpenError) -> Health {
    match *error {
        OpenError::Refused { status, retry_after } => health(classify_http(status, b"", None), retry_after),
        _ => Health::Failure,
    }
}

/// What a provider's error shows of it, whoever asked `method`, and what it is.
pub(crate) fn of_error(slot: &ProviderSlot, method: &'static MethodInfo, error: &ReplyError<'_>) -> (Health, Class) {
    let message = &error.message;
    let evidence = Evidence { http_status: 200, code: error.code, message, method, params: None };
    let verdict = classify(&evidence, &slot.overrides);
    (health(verdict, None), verdict.class)
}

/// Judges a reply. `hash` names the transaction that the call sends.
pub(crate) fn reply(
    shard: &Shard,
    ask: &Ask<'_>,
    upstream: &Rc<Upstream>,
    reply: Reply,
    hash: Option<TransactionHash>,
) -> Judged {
    let judge = Judge { shard, ask, upstream, status: reply.status, retry_after: reply.retry_after, hash };
    match reply.content {
        Content::Whole { buffer, range } => judge.whole(Whole { buffer, range, id: IdMatch::Exact, class: None }),
        Content::Streamed(streamed) => judge.streamed(streamed),
    }
}

/// Judges anew what was said of a transaction while another attempt at it ran that has failed since, and may have had it taken.
pub(crate) fn refused_beside(call: &Call<'_>, judged: Judged) -> Judged {
    let Call { shard, ask, hash, .. } = *call;
    let (Verdict::Answer(Said::Whole(whole)), Some(hash)) = (&judged.verdict, hash) else { return judged };
    let body = &whole.buffer[whole.range.clone()];
    let said = jsonrpc::inspect(body, ask.call.id, &mut shard.scratch.borrow_mut());
    let mined = matches!(&said, jsonrpc::Reply::Error(error) if is_nonce_too_low(error))
        && shard.sent_transactions.borrow().contains(&hash);
    if mined { was_sent(shard, ask, hash) } else { judged }
}

/// The answer to a transaction that the network has.
fn was_sent(shard: &Shard, ask: &Ask<'_>, hash: TransactionHash) -> Judged {
    let mut buffer = shard.buffers.take();
    jsonrpc::write_hash(&mut buffer, ask.call.id.unwrap_or(b"null"), hash);
    Judged::good(Said::Whole(Whole::of(buffer)))
}

struct Judge<'a> {
    shard: &'a Shard,
    ask: &'a Ask<'a>,
    upstream: &'a Rc<Upstream>,
    status: u16,
    retry_after: Option<Duration>,
    hash: Option<TransactionHash>,
}

impl Judge<'_> {
    fn whole(&self, mut whole: Whole) -> Judged {
        let id = self.ask.call.id;
        if id.is_none() && (200..300).contains(&self.status) {
            // A notification: whatever it said, there is no reply.
            return Judged::good(Said::Whole(whole));
        }
        let body = &whole.buffer[whole.range.clone()];
        let mut scratch = self.shard.scratch.borrow_mut();
        let error = match jsonrpc::inspect(body, id, &mut scratch) {
            jsonrpc::Reply::Success { id, result } => {
                whole.id = id;
                let seen = self.heed_head(&body[result.clone()]);
                let taught = Taught::by_result(self.upstream, &body[result]);
                if let Some(newest) = seen {
                    whole = self.in_place_of(whole, newest);
                }
                return Judged { taught, ..Judged::good(Said::Whole(whole)) };
            }
            jsonrpc::Reply::Malformed(_) => {
                drop(scratch);
                let judged = self.no_json(body);
                self.shard.buffers.give(whole.buffer);
                return judged;
            }
            jsonrpc::Reply::Error(error) => error,
        };
        drop(scratch);
        let verdict = self.classify(&error);
        let already_there = verdict.class == Class::AlreadyKnown || is_nonce_too_low(&error);
        let taught = Taught::by_error(verdict, &error.message);
        (whole.id, whole.class) = (error.id, Some(verdict.class));
        if self.ask.info.raw_transaction
            && already_there
            && let Some(answer) = self.transaction_hash(verdict.class)
        {
            return answer;
        }
        Judged { taught, ..self.failure(verdict, Some(whole)) }
    }

    /// What a client is told of the newest block is what a probe would have been told. Answers what its session has seen
    /// already, where that is newer.
    #[inline]
    fn heed_head(&self, result: &[u8]) -> Option<u64> {
        let Ask { info, probe, caller, .. } = self.ask;
        if info.class != MethodClass::Head || info.name != "eth_blockNumber" {
            return None;
        }
        let height = jsonrpc::quantity(result)?;
        self.upstream.slot.newest.hear(height);
        if probe.is_none() {
            self.upstream.slot.said_head.hear(height);
        }
        // A head that nobody else has would be the session's for its life.
        let caller = caller.filter(|_| self.ask.may_have(height, &self.shard.view().snapshot.config.heads))?;
        Some(caller.saw(height)).filter(|newest| *newest > height)
    }

    /// A session's head never goes back.
    #[cold]
    fn in_place_of(&self, whole: Whole, newest: u64) -> Whole {
        let mut buffer = whole.buffer;
        buffer.clear();
        let result = format!("\"{newest:#x}\"");
        jsonrpc::write_result(&mut buffer, self.ask.call.id.unwrap_or(b"null"), result.as_bytes());
        Whole::of(buffer)
    }

    fn classify(&self, error: &ReplyError<'_>) -> jsonrpc::Verdict {
        let Ask { call, info: method, .. } = self.ask;
        let evidence = Evidence {
            http_status: self.status,
            code: error.code,
            message: &error.message,
            method,
            params: call.params,
        };
        classify(&evidence, &self.upstream.slot.overrides)
    }

    /// No JSON-RPC reply: the HTTP status speaks, and for some the words.
    fn no_json(&self, body: &[u8]) -> Judged {
        let verdict = classify_http(self.status, body, self.ask.call.params);
        Judged { taught: Taught::by_error(verdict, &String::from_utf8_lossy(body)), ..self.failure(verdict, None) }
    }

    fn failure(&self, verdict: jsonrpc::Verdict, whole: Option<Whole>) -> Judged {
        let class = verdict.class;
        let acted = class.may_have_acted();
        let health = Some(health(verdict, self.retry_after));
        if health == Some(Health::Suspect) {
            self.ask.refused.set(true);
        }
        let relayable = whole.filter(|_| class.relayed());
        let next = match class.action() {
            Action::Return | Action::OurHash => {
                return match relayable {
                    Some(whole) => Judged { health, acted, ..Judged::good(Said::Whole(whole)) },
                    None => Judged::failed(health, Next::Return, acted),
                };
            }
            Action::FailOver | Action::LargerLimit | Action::MoreData => Next::FailOver,
            Action::FailOverOnce => Next::FailOverOnce,
        };
        let failure = Failure {
            next,
            // A refusal is certain not to have done anything: even a call that may not be repeated goes on.
            sent: acted,
            unsupported: class == Class::UnsupportedMethod,
            relayable: relayable.map(|whole| (Rc::clone(self.upstream), whole)),
        };
        Judged { verdict: Verdict::Failure(failure), health, late: false, acted, taught: Taught::Nothing }
    }

    /// A transaction that the network has already is a success: its hash names it, and is computed here.
    ///
    /// "Nonce too low" says so only when it was us who sent it before, in this call or an earlier one, and a provider
    /// took it, or was not heard of again.
    fn transaction_hash(&self, class: Class) -> Option<Judged> {
        let hash = self.hash?;
        if class != Class::AlreadyKnown && !self.shard.sent_transactions.borrow().contains(&hash) {
            return None;
        }
        Some(was_sent(self.shard, self.ask, hash))
    }

    fn streamed(&self, mut streamed: Box<Streamed>) -> Judged {
        let id = self.ask.call.id;
        let mut scratch = self.shard.scratch.borrow_mut();
        let Prefix { kind, id: matched } = jsonrpc::inspect_prefix(&streamed.start, id, &mut scratch);
        drop(scratch);
        match (kind, matched) {
            (_, Some(Err(_))) | (PrefixKind::Unknown, _) => self.no_json(&streamed.start),
            (PrefixKind::Success | PrefixKind::Error, matched) => {
                if let (Some(Ok(matched)), Some(id)) = (matched, id) {
                    streamed.put_id(&matched, id);
                }
                Judged::good(Said::Streamed(streamed))
            }
        }
    }
}

fn is_nonce_too_low(error: &ReplyError<'_>) -> bool {
    error.message.to_ascii_lowercase().contains("nonce too low")
}

fn health(verdict: jsonrpc::Verdict, retry_after: Option<Duration>) -> Health {
    match verdict.health() {
        jsonrpc::Health::Good => Health::Good,
        jsonrpc::Health::Untouched | jsonrpc::Health::LosesMethod => Health::Untouched,
        jsonrpc::Health::Failure => Health::Failure,
        jsonrpc::Health::Slow => Health::Slow,
        jsonrpc::Health::Cooldown => Health::Cooldown(retry_after),
        jsonrpc::Health::ClassCooldown => Health::ClassCooldown(retry_after),
        jsonrpc::Health::Park => Health::Park,
        jsonrpc::Health::Suspect => Health::Suspect,
    }
}
