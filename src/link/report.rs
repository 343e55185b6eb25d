//! What a shard measured and what happened in it, on the way to control.
//!
//! A [`Row`] holds a histogram and counts for one (provider, class). Rows travel by a ring and come back emptied by
//! another, so that a steady state allocates nothing. A ring that is full costs nothing but delay: the shard goes on
//! filling the row that it could not send. Events that find no room are dropped and counted.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use hdrhistogram::Histogram;
use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::counters::SocketEnd;
use super::snapshot::ProviderSlot;
use crate::jsonrpc::{MethodClass, MethodInfo};
use crate::limits;
use crate::routing::{Regret, Tally};
use crate::tenant::key::KeyId;
use crate::tenant::{Spool, TenantId, UsageTable};

/// Which provider and calls a row is about.
#[derive(Clone, Copy, Debug)]
pub struct RowKey {
    /// The provider slot's number: never used again, so a late row credits nobody else.
    pub slot: u64,
    pub class: MethodClass,
    /// The one method that it is about, where that is ranked by itself.
    pub own: Option<&'static MethodInfo>,
}

impl RowKey {
    /// All calls of a class but those of methods with a row of their own.
    #[must_use]
    pub const fn of_class(slot: u64, class: MethodClass) -> Self {
        Self { slot, class, own: None }
    }

    /// A method is known by its place in the table.
    fn own_at(&self) -> usize {
        self.own.map_or(0, |method| std::ptr::from_ref(method).addr())
    }
}

impl PartialEq for RowKey {
    fn eq(&self, other: &Self) -> bool {
        self.slot == other.slot && self.class == other.class && self.own_at() == other.own_at()
    }
}

impl Eq for RowKey {}

impl Hash for RowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.slot);
        // Places in the table are further apart than there are classes.
        state.write_u64((self.own_at() as u64) ^ self.class as u64);
    }
}

/// What the calls of one method took in a row.
#[derive(Clone, Copy, Debug)]
pub struct MethodSum {
    pub method: &'static MethodInfo,
    /// Answered ones.
    pub calls: u32,
    pub latency_us: u64,
}

/// How an attempt at a provider ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// A result, or an error that is an answer.
    Success,
    /// An error reply that is not held against the provider.
    Error,
    /// No answer in time, or the provider's own word for it, where that is no failure: the caller chose what it costs.
    Late,
    /// Limited, parked or refused by the provider's own rules.
    Limited,
    /// Refused, reset, malformed; silent where the call is one look-up.
    Failure,
    /// Cancelled: another provider, asked beside it, was faster.
    Outrun,
}

impl Outcome {
    pub const ALL: [Self; 6] = [Self::Success, Self::Error, Self::Late, Self::Limited, Self::Failure, Self::Outrun];

    /// The word used in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Late => "late",
            Self::Limited => "limited",
            Self::Failure => "failure",
            Self::Outrun => "outrun",
        }
    }
}

/// Attempts at one provider for one class since the row was last sent.
#[derive(Debug)]
pub struct Row {
    pub key: RowKey,
    /// Latency of successes in microseconds, two significant digits; and of those that were outrun, as long as they had.
    pub latency_us: Histogram<u32>,
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Answers by known method, to find those that are not like their class.
    pub methods: Vec<MethodSum>,
    /// Of those whose latency can be held against whom ranking prefers.
    pub regret: Regret,
}

impl Row {
    #[must_use]
    pub fn new(key: RowKey) -> Self {
        let latency_us = Histogram::new_with_bounds(1, limits::LATENCY_US_MAX, limits::LATENCY_DIGITS)
            .expect("constant bounds that the crate accepts");
        Self { key, latency_us, outcomes: [0; Outcome::ALL.len()], methods: Vec::new(), regret: Regret::default() }
    }

    /// Counts an attempt at a call of `method`; see [`Row::record`].
    pub fn record_method(&mut self, method: &'static MethodInfo, outcome: Outcome, latency: Duration) {
        self.record(outcome, latency);
        if outcome == Outcome::Success && method.known() {
            let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            match self.methods.iter_mut().find(|sum| std::ptr::eq(sum.method, method)) {
                Some(sum) => {
                    sum.calls = sum.calls.saturating_add(1);
                    sum.latency_us = sum.latency_us.saturating_add(latency_us);
                }
                // As many as the class has methods.
                None => self.methods.push(MethodSum { method, calls: 1, latency_us }),
            }
        }
    }

    /// Counts an attempt; only a success has a latency worth keeping.
    pub fn record(&mut self, outcome: Outcome, latency: Duration) {
        self.outcomes[outcome as usize] += 1;
        if outcome == Outcome::Success {
            self.record_latency(latency);
        }
    }

    /// Counts an attempt that was outrun; `least`: it would have taken at least this long.
    pub fn record_outrun(&mut self, least: Option<Duration>) {
        self.outcomes[Outcome::Outrun as usize] += 1;
        if let Some(least) = least {
            self.record_latency(least);
        }
    }

    fn record_latency(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency_us.saturating_record(micros.max(1));
    }

    /// The same as ranking counts them.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        let [answers, errors, late, limited, failures, outrun] = self.outcomes;
        Tally { answers, errors, late, limited, failures, outrun }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outcomes.iter().all(|&count| count == 0)
    }

    /// Empties it for the next use under `key`.
    pub fn reset(&mut self, key: RowKey) {
        self.key = key;
        self.latency_us.reset();
        self.outcomes = [0; Outcome::ALL.len()];
        self.methods.clear();
        self.regret = Regret::default();
    }
}

/// Something that an operator wants to know.
#[derive(Clone, Debug)]
pub struct Event {
    /// Empty, with the provider, where the node itself is meant.
    pub chain: std::sync::Arc<str>,
    pub provider: std::sync::Arc<str>,
    pub kind: EventKind,
}

/// What happened to a provider, or to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    BreakerOpened,
    BreakerHalfOpen,
    BreakerClosed,
    /// Rate limited: not asked for this long.
    Cooldown(Duration),
    /// The same for calls of one class: others are asked of it.
    ClassCooldown(MethodClass, Duration),
    /// Its quota is used up or its bill unpaid: not asked for this long.
    Parked(Duration),
    /// It refused a call for its rate: so many thousandths of its plan are used from now on.
    TunedDown(u32),
    /// It refused our credentials, on one call at least.
    Unauthorized,
    /// It refuses them for the node's own question, too: not asked until it takes them again.
    KeyRefused,
    KeyAccepted,
    /// A WebSocket to it was lost while it was used.
    SocketLost(SocketLoss),
    /// A connection's task panicked; that connection was closed.
    Panicked,
    /// It is ranked best for a class now, and another was before.
    Leads(MethodClass),
    /// It says that it is the chain of this id: not asked for anything.
    WrongChain(u64),
    /// It says again that it is the right one.
    RightChain,
    /// So many blocks behind the chain's head: not asked for what depends on it.
    Lagging(u64),
    /// So many blocks ahead of what the majority has: likewise.
    FarAhead(u64),
    /// It has caught up, or come back.
    InStep,
    /// A question of the node's own did not reach it.
    Unreachable,
    Reachable,
    /// A feed of this chain is heard from it now, and was from another before.
    FeedMoved,
    /// A feed of the chain could not be made good: its clients were closed.
    FeedBroken,
    /// The node took a new config over.
    Reloaded,
    /// It refused one; the last good one holds.
    ReloadRefused,
}

/// How a WebSocket to a provider came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketLoss {
    /// The provider said goodbye, with this code if any.
    Closed(Option<u16>),
    /// The connection ended or broke without a word.
    Cut,
    /// It answered no ping, or took nothing of what was sent.
    Silent,
    /// It broke a rule of the protocol, or sent what is no JSON-RPC.
    Fault,
    /// A task of ours panicked.
    Panicked,
}

impl SocketLoss {
    /// The word used in logs and pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed(_) => "closed",
            Self::Cut => "cut",
            Self::Silent => "silent",
            Self::Fault => "fault",
            Self::Panicked => "panicked",
        }
    }
}

impl Event {
    /// Of the provider that `slot` is.
    #[must_use]
    pub fn of(slot: &ProviderSlot, kind: EventKind) -> Self {
        Self { chain: std::sync::Arc::clone(&slot.chain), provider: std::sync::Arc::clone(&slot.id), kind }
    }

    /// One of the node itself.
    #[must_use]
    pub fn of_node(kind: EventKind) -> Self {
        Self { chain: "".into(), provider: "".into(), kind }
    }
}

impl EventKind {
    /// The word used in logs and pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BreakerOpened => "breaker_opened",
            Self::BreakerHalfOpen => "breaker_half_open",
            Self::BreakerClosed => "breaker_closed",
            Self::Cooldown(_) => "cooldown",
            Self::ClassCooldown(..) => "class_cooldown",
            Self::Parked(_) => "parked",
            Self::TunedDown(_) => "tuned_down",
            Self::Unauthorized => "unauthorized",
            Self::KeyRefused => "key_refused",
            Self::KeyAccepted => "key_accepted",
            Self::SocketLost(_) => "socket_lost",
            Self::Panicked => "panicked",
            Self::Leads(_) => "leads",
            Self::WrongChain(_) => "wrong_chain",
            Self::RightChain => "right_chain",
            Self::Lagging(_) => "lagging",
            Self::FarAhead(_) => "far_ahead",
            Self::InStep => "in_step",
            Self::Unreachable => "unreachable",
            Self::Reachable => "reachable",
            Self::FeedMoved => "feed_moved",
            Self::FeedBroken => "feed_broken",
            Self::Reloaded => "reloaded",
            Self::ReloadRefused => "reload_refused",
        }
    }

    /// How long it holds, where that is known.
    #[must_use]
    pub const fn lasts(self) -> Option<Duration> {
        match self {
            Self::Cooldown(time) | Self::ClassCooldown(_, time) | Self::Parked(time) => Some(time),
            _ => None,
        }
    }

    /// How far it is from the chain's head, where that is what happened.
    #[must_use]
    pub const fn blocks(self) -> Option<u64> {
        match self {
            Self::Lagging(blocks) | Self::FarAhead(blocks) => Some(blocks),
            _ => None,
        }
    }

    /// Why a WebSocket was lost, where that is what happened.
    #[must_use]
    pub const fn why(self) -> Option<&'static str> {
        match self {
            Self::SocketLost(loss) => Some(loss.name()),
            _ => None,
        }
    }

    /// The code that a lost WebSocket's provider said goodbye with, where it did.
    #[must_use]
    pub const fn code(self) -> Option<u16> {
        match self {
            Self::SocketLost(SocketLoss::Closed(code)) => code,
            _ => None,
        }
    }

    /// What is used of its plan, in thousandths, where that is what happened.
    #[must_use]
    pub const fn per_mille(self) -> Option<u32> {
        match self {
            Self::TunedDown(per_mille) => Some(per_mille),
            _ => None,
        }
    }

    /// What it leads or is limited in, where that is what happened.
    #[must_use]
    pub const fn class(self) -> Option<MethodClass> {
        match self {
            Self::Leads(class) | Self::ClassCooldown(class, _) => Some(class),
            _ => None,
        }
    }

    /// The chain that a provider says it is, where it is another.
    #[must_use]
    pub const fn chain_id(self) -> Option<u64> {
        match self {
            Self::WrongChain(said) => Some(said),
            _ => None,
        }
    }
}

/// What a request came over, for the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Http,
    /// The WebSocket whose handshake had this request id.
    WebSocket(u64),
    /// No request: the WebSocket itself, at its end, and the code of that.
    Socket(SocketEnd, u16, Passed),
}

/// What passed over a WebSocket; what was sent is told as of any request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    pub messages_in: u64,
    pub messages_out: u64,
    pub bytes_in: u64,
}

/// One answered request, for the access log.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    pub request_id: u64,
    pub client: std::net::IpAddr,
    /// Whose key was shown; none where the node has no tenants, and of strangers.
    pub whose: Option<(TenantId, KeyId)>,
    pub chain: Option<std::sync::Arc<str>>,
    /// Absent for a batch, and where none answered.
    pub provider: Option<std::sync::Arc<str>>,
    /// One of the known methods' names; others are told as `other`, since they are the client's words.
    pub method: &'static str,
    /// Calls in the request: 1, or a batch's size.
    pub calls: u32,
    pub status: u16,
    pub bytes_out: u64,
    pub duration: Duration,
    pub attempts: u8,
    pub over: Over,
}

/// A shard's ends of its rings.
#[allow(missing_debug_implementations)] // ringbuf's ends have none
pub struct ShardEnd {
    pub rows: HeapProd<Box<Row>>,
    pub emptied: HeapCons<Box<Row>>,
    pub events: HeapProd<Event>,
    pub access: HeapProd<AccessRecord>,
    pub usage: HeapProd<UsageTable>,
    pub usage_emptied: HeapCons<UsageTable>,
}

/// Control's ends of one shard's rings.
#[allow(missing_debug_implementations)] // ringbuf's ends have none
pub struct ControlEnd {
    pub rows: HeapCons<Box<Row>>,
    pub emptied: HeapProd<Box<Row>>,
    pub events: HeapCons<Event>,
    pub access: HeapCons<AccessRecord>,
    pub usage: HeapCons<UsageTable>,
    pub usage_emptied: HeapProd<UsageTable>,
}

/// The rings between one shard and control.
#[must_use]
pub fn pair() -> (ShardEnd, ControlEnd) {
    let (rows, rows_out) = HeapRb::new(limits::ROWS_IN_RING_MAX).split();
    let (emptied_in, emptied) = HeapRb::new(limits::ROWS_IN_RING_MAX).split();
    let (events, events_out) = HeapRb::new(limits::EVENTS_IN_RING_MAX).split();
    let (access, access_out) = HeapRb::new(limits::ACCESS_IN_RING_MAX).split();
    let (usage, usage_out) = HeapRb::new(limits::USAGE_IN_RING_MAX).split();
    let (usage_emptied_in, usage_emptied) = HeapRb::new(limits::USAGE_IN_RING_MAX).split();
    (
        ShardEnd { rows, emptied, events, access, usage, usage_emptied },
        ControlEnd {
            rows: rows_out,
            emptied: emptied_in,
            events: events_out,
            access: access_out,
            usage: usage_out,
            usage_emptied: usage_emptied_in,
        },
    )
}

impl ControlEnd {
    /// Hands every row that waits to `take`, then sends it back emptied.
    pub fn drain_rows(&mut self, mut take: impl FnMut(&Row)) {
        while let Some(mut row) = self.rows.try_pop() {
            take(&row);
            let key = row.key;
            row.reset(key);
            // No room: the shard has rows enough; this one is freed here, on control's thread.
            let _ = self.emptied.try_push(row);
        }
    }
}

impl ControlEnd {
    /// Adds all usage that waits to `spool`, and sends the tables back emptied.
    pub fn drain_usage(&mut self, spool: &mut Spool) {
        while let Some(mut usage) = self.usage.try_pop() {
            spool.absorb(&mut usage);
            // No room: the shard has tables enough.
            let _ = self.usage_emptied.try_push(usage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranking_counts_each_outcome_as_what_it_is() {
        let of = |outcome| {
            let mut row = Row::new(RowKey::of_class(1, MethodClass::Execute));
            row.record(outcome, Duration::from_millis(5));
            assert_eq!(row.latency_us.len(), u64::from(outcome == Outcome::Success), "{outcome:?}");
            row.tally()
        };
        let none = Tally::default();
        let cases = [
            (Outcome::Success, Tally { answers: 1, ..none }),
            (Outcome::Error, Tally { errors: 1, ..none }),
            (Outcome::Late, Tally { late: 1, ..none }),
            (Outcome::Limited, Tally { limited: 1, ..none }),
            (Outcome::Failure, Tally { failures: 1, ..none }),
            (Outcome::Outrun, Tally { outrun: 1, ..none }),
        ];
        assert_eq!(Outcome::ALL.map(of), cases.map(|(_, tally)| tally));
        // How long one that was outrun had may say nothing.
        let mut row = Row::new(RowKey::of_class(1, MethodClass::Execute));
        row.record_outrun(None);
        row.record_outrun(Some(Duration::from_millis(5)));
        assert_eq!((row.tally(), row.latency_us.len()), (Tally { outrun: 2, ..none }, 1));
        assert_eq!(Outcome::ALL, cases.map(|(outcome, _)| outcome));
    }
}
