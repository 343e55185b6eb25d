//! Clients' calls, let through by their quota and put on their bill when they have ended.
//!
//! Whatever becomes of a call, its task dropped in the middle included, it is counted once: the guard that holds its
//! place counts it when it goes. What a call weighs is taken beforehand; what turns out not to be paid for is given back
//! to the month.

use std::rc::Rc;

use super::Shard;
use super::door::{self, Answer, Ask, Said};
use super::serve::Visit;
use crate::jsonrpc::Reason;
use crate::tenant::{Account, CallEnd, CallPlace, End, MethodNumber, Usage, UsageKey, Verdict};

/// A client's call, counted when this is dropped.
pub(crate) struct Metered {
    shard: Rc<Shard>,
    /// None: it was refused.
    place: Option<CallPlace>,
    row: UsageKey,
    call: CallEnd,
}

/// Answers a client's call, if its quota lets it through.
pub(crate) async fn answer(visit: &Visit, ask: &Ask<'_>) -> (Answer, Option<Metered>) {
    let Some(account) = &visit.account else {
        return (door::answer(&visit.shard, &visit.view, ask).await, None);
    };
    let (place, refusal) = match account.call(visit.shard.clock.now(), ask.info, &ask.call.method) {
        Ok(place) => (Some(place), None),
        Err(verdict) => (None, Some(verdict)),
    };
    let mut metered = Metered::begin(&visit.shard, account, place, ask);
    let answer = match refusal {
        None => door::answer(&visit.shard, &visit.view, ask).await,
        Some(verdict) => refused(verdict),
    };
    metered.on_answer(&answer);
    (answer, Some(metered))
}

#[cold]
fn refused(verdict: Verdict) -> Answer {
    let refused = match verdict {
        Verdict::OverQuota(refused) => Some(refused),
        _ => None,
    };
    Answer { refused, ..Answer::failed(verdict.reason().unwrap_or(Reason::Quota), verdict.message()) }
}

/// A notification of a subscription, in so many bytes.
pub(crate) fn notified(shard: &Shard, account: &Rc<Account>, chain: u32, bytes: u64) {
    let units = account.known.plan.units.of_notification(bytes);
    account.bill(shard.clock.now(), units);
    let row = UsageKey { chain, method: MethodNumber::NOTIFICATION, ..whose(shard, account) };
    shard.tenants.usage().add(&row, &Usage::of_notifications(1, units, bytes));
}

fn whose(shard: &Shard, account: &Account) -> UsageKey {
    let minute = u32::try_from(shard.clock.unix_seconds() / 60).unwrap_or(u32::MAX);
    let entry = &account.known.entry;
    UsageKey { tenant: entry.tenant, key: entry.key, minute, ..UsageKey::default() }
}

impl Metered {
    /// Until more is known, the client has left.
    fn begin(shard: &Rc<Shard>, account: &Account, place: Option<CallPlace>, ask: &Ask<'_>) -> Self {
        let (chain, method) = (ask.route.chain.entry.number, MethodNumber::of(ask.info));
        let row = UsageKey { chain, method, ..whose(shard, account) };
        let bytes_in = ask.call.raw.len() as u64;
        let units = place.as_ref().map_or(0, |place| place.units);
        let call = CallEnd { end: End::Left, units, bytes_in, bytes_out: 0, attempts: 0, cache_hit: false };
        let under_way = &shard.tenants.under_way;
        under_way.set(under_way.get() + 1);
        Self { shard: Rc::clone(shard), place, row, call }
    }

    fn on_answer(&mut self, answer: &Answer) {
        self.call.end = match &answer.said {
            Said::Whole(whole) => whole.class.map_or(End::Answered, End::Error),
            Said::Streamed(_) => End::Answered,
            Said::Failed { reason, .. } => End::Failed(*reason),
        };
        self.call.attempts = answer.attempts;
        if let Some(upstream) = &answer.provider {
            // As many providers as that there never are in a process.
            self.row.provider = u32::try_from(upstream.slot.number).unwrap_or(0);
        }
    }

    /// So much of its answer's text is sent, or about to be.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.call.bytes_out += bytes;
    }

    /// Its answer is not what the client gets after all.
    pub(crate) fn failed(&mut self, reason: Reason) {
        self.call.end = End::Failed(reason);
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Our failure, whatever it would have become.
            self.call.end = End::Failed(Reason::Capacity);
        }
        if let Some(place) = self.place.as_ref().filter(|_| !self.call.end.billable()) {
            place.unbill();
        }
        self.shard.tenants.usage().add_call(&self.row, &self.call);
        let under_way = &self.shard.tenants.under_way;
        under_way.set(under_way.get() - 1);
    }
}
