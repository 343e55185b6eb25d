//! Questions of the node's own, carried out: control says who is asked what, this shard asks through the one door.
//!
//! A probe is a call like any other to the provider: its breaker and its cooldown hear of it. It is no client's: it is in no row
//! of measurements, no counter of calls and no access line. A few at a time ([`limits::PROBES_RUNNING_MAX`]), each in a task of
//! its own that takes the next order when it is done; what waits in the ring waits. So clients' calls have the shard to
//! themselves but for a call every few seconds and provider.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ringbuf::traits::{Consumer, Producer};

use super::Shard;
use super::door::{self, Answer, Ask, Said};
use super::guard::guarded;
use super::place::Route;
use super::upstream::Upstream;
use crate::jsonrpc::{self, MethodClass};
use crate::limits;
use crate::link::{Outcome, Phase, ProbeEnded, ProbeOrder, ProbeShardEnd, ProbeWord};
use crate::routing::{Question, Rest, Strategy};

/// A shard's side of probing.
pub(crate) struct Probing {
    ends: RefCell<ProbeShardEnd>,
    running: Cell<usize>,
}

/// A question as it goes over the wire.
struct Wording {
    raw: &'static [u8],
    method: &'static str,
    params: &'static [u8],
}

const ID: &[u8] = b"1";
const CHAIN_ID: Wording = Wording {
    raw: br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#,
    method: "eth_chainId",
    params: b"[]",
};
const BLOCK_NUMBER: Wording = Wording {
    raw: br#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}"#,
    method: "eth_blockNumber",
    params: b"[]",
};

impl Probing {
    pub(crate) fn new(ends: ProbeShardEnd) -> Self {
        Self { ends: RefCell::new(ends), running: Cell::new(0) }
    }

    /// The next order, while there is room for another probe and its word.
    fn next(&self, running: usize) -> Option<ProbeOrder> {
        let mut ends = self.ends.borrow_mut();
        if running < limits::PROBES_RUNNING_MAX && ends.has_room(running) { ends.orders.try_pop() } else { None }
    }

    fn tell(&self, order: &ProbeOrder, end: ProbeEnded) {
        // There is room: no order is taken without.
        let _ = self.ends.borrow_mut().words.try_push(ProbeWord { slot: order.slot, question: order.question, end });
    }
}

/// Begins on what control has ordered.
pub(crate) fn begin(shard: &Rc<Shard>) {
    while shard.phase() < Phase::Closing
        && let Some(order) = shard.probing.next(shard.probing.running.get())
    {
        shard.probing.running.set(shard.probing.running.get() + 1);
        shard.ring.spawn(work(Rc::clone(shard), order)).detach();
    }
}

/// Carries out `order`, and whatever waits then.
async fn work(shard: Rc<Shard>, order: ProbeOrder) {
    let mut next = Some(order);
    while let Some(order) = next.take() {
        let end = guarded(&shard, ask(&shard, &order)).await.unwrap_or(ProbeEnded::NotAsked);
        shard.probing.tell(&order, end);
        if shard.phase() < Phase::Closing {
            next = shard.probing.next(shard.probing.running.get() - 1);
        }
    }
    shard.probing.running.set(shard.probing.running.get() - 1);
}

async fn ask(shard: &Shard, order: &ProbeOrder) -> ProbeEnded {
    shard.refresh();
    let view = shard.view();
    let Some(chain) = view.chain(&order.chain) else {
        return ProbeEnded::NotAsked;
    };
    let Some(position) = chain.upstreams.iter().position(|upstream| upstream.slot.number == order.slot) else {
        return ProbeEnded::NotAsked;
    };
    let upstream = &chain.upstreams[position];
    if !upstream.is_resolved() {
        // Nowhere to send to.
        return ProbeEnded::Failed;
    }
    if !upstream.is_free(shard.clock.now()) {
        // Clients' calls wait for a connection: they come first, and say enough.
        return ProbeEnded::NotAsked;
    }
    // Neither a turn nor a draw of the chain's own strategy is used up.
    let route = Route { chain: Rc::clone(chain), strategy: Strategy::Priority, only: Some(position) };
    let Wording { raw, method, params } = match order.question {
        Question::ChainId => CHAIN_ID,
        Question::BlockNumber => BLOCK_NUMBER,
    };
    let call = jsonrpc::Call { raw, id: Some(ID), method: method.into(), params: Some(params) };
    let ask = Ask::probe(&route, call, view.snapshot.config.probes.timeout);
    let answer = door::ask_providers(shard, &view, &ask).await;
    if ask.refused.get() { ProbeEnded::Refused } else { judge(shard, upstream, answer) }
}

/// What came of it. How the one attempt ended stands in its trace.
fn judge(shard: &Shard, upstream: &Upstream, answer: Answer) -> ProbeEnded {
    let outcome = answer.trace.last().map(|attempt| attempt.outcome);
    match (answer.said, outcome) {
        (Said::Whole(whole), _) => {
            let number = number(shard, &whole.buffer[whole.range.clone()]);
            shard.buffers.give(whole.buffer);
            ProbeEnded::Answered(number)
        }
        (Said::Failed { .. }, None) => ProbeEnded::NotAsked,
        (Said::Failed { .. }, Some(Outcome::Failure | Outcome::Late)) => ProbeEnded::Failed,
        (Said::Failed { .. }, Some(Outcome::Limited)) => match rest(shard, upstream) {
            Some(rest) => ProbeEnded::Limited(rest),
            // It is over already: it is there.
            None => ProbeEnded::Answered(None),
        },
        // Pages of it for a number: no answer. It is not read further. Nobody is asked beside it, so it is not outrun.
        (Said::Streamed(_), _) | (Said::Failed { .. }, Some(Outcome::Success | Outcome::Error | Outcome::Outrun)) => {
            ProbeEnded::Answered(None)
        }
    }
}

/// How long the provider is left alone, by its own word or by ours.
fn rest(shard: &Shard, upstream: &Upstream) -> Option<Duration> {
    let now = shard.clock.now();
    let standing = &upstream.slot.standing;
    match standing.rest(now).or_else(|| standing.class_rest(now, MethodClass::Head))? {
        Rest::Cooled { until } | Rest::Parked { until } => Some(until.since(now)),
    }
}

fn number(shard: &Shard, body: &[u8]) -> Option<u64> {
    match jsonrpc::inspect(body, Some(ID), &mut shard.scratch.borrow_mut()) {
        jsonrpc::Reply::Success { result, .. } => jsonrpc::quantity(&body[result]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_is_meant() {
        for wording in [CHAIN_ID, BLOCK_NUMBER] {
            let mut scratch = jsonrpc::Scratch::new();
            let limits = jsonrpc::Limits { batch_items_max: 1 };
            let Ok(jsonrpc::Document::Single(Ok(call))) = jsonrpc::parse(wording.raw, &mut scratch, limits) else {
                panic!("no call: {}", wording.raw.escape_ascii());
            };
            assert_eq!((call.id, &*call.method, call.params), (Some(ID), wording.method, Some(wording.params)));
        }
    }
}
