//! A batch: its calls asked side by side, a bounded number at a time, and their answers put together in order.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::stream::{self, StreamExt};

use super::door::{Ask, Said};
use super::metering;
use super::place::Route;
use super::serve::Visit;
use super::upstream::Upstream;
use super::upstream::exchange::Uncollected;
use super::websocket::Caller;
use crate::jsonrpc::{Item, Reason, Refusal, write_error};
use crate::limits;

/// What one item leaves.
#[derive(Default)]
struct Part {
    /// Empty for a notification.
    text: Vec<u8>,
    provider: Option<Rc<Upstream>>,
}

/// Appends the answer to all of `items` to `out`, nothing when all are notifications. Answers the provider when one alone
/// answered all that were asked of any.
pub(crate) async fn assemble(
    visit: &Visit,
    route: &Route,
    items: Vec<Item<'_>>,
    caller: Option<&Caller>,
    out: &mut Vec<u8>,
) -> Option<Rc<Upstream>> {
    let config = &visit.view.snapshot.config.rpc;
    let mut providers = Providers::Nobody;
    // Futures of one size on the heap, one an item: a batch is not the path that allocates nothing.
    let room = Room(Cell::new(config.batch_bytes_max));
    let mut parts = stream::iter(items)
        .map(|item| Box::pin(answer(visit, route, item, caller, &room)))
        .buffered(config.batch_in_flight_max);
    while let Some(part) = parts.next().await {
        if !part.text.is_empty() {
            out.push(if out.is_empty() { b'[' } else { b',' });
            out.extend_from_slice(&part.text);
        }
        providers.add(part.provider);
        visit.shard.buffers.give(part.text);
    }
    if !out.is_empty() {
        out.push(b']');
    }
    providers.one()
}

/// What is left of the bytes that one batch's answer may have. All items draw on it as their bytes come in, so that what
/// waits for its turn is bounded, too.
struct Room(Cell<usize>);

impl Room {
    /// Whether there is room for `bytes` more; then they are taken.
    fn take(&self, bytes: usize) -> bool {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.unwrap_or(self.0.get()));
        left.is_some()
    }
}

const TOO_LARGE: (Reason, &str) = (Reason::AnswerTooLarge, "the batch's answer would be larger than allowed");
const CUT_SHORT: (Reason, &str) = (Reason::NoProvider, "the answer was cut short");

/// Puts a failure of ours in the place of whatever `text` holds.
fn fail(visit: &Visit, text: &mut Vec<u8>, id: &[u8], reason: Reason, message: &str) {
    visit.shard.counters.failure(reason);
    text.clear();
    write_error(text, id, reason, message);
}

async fn answer(visit: &Visit, route: &Route, item: Item<'_>, caller: Option<&Caller>, room: &Room) -> Part {
    let call = match item {
        Ok(call) => call,
        Err(refusal) => return refused(visit, &refusal),
    };
    let notification = call.id.is_none();
    let id = call.id.unwrap_or(b"null");
    let ask = Ask { caller, ..Ask::new(route, call, false) };
    let (answer, mut metered) = metering::answer(visit, &ask).await;
    let mut part = Part { text: visit.shard.buffers.take(), provider: answer.provider };
    // What becomes of the answer here, where that is a failure.
    let mut failed = None;
    match answer.said {
        // What a notification brought is not told.
        _ if notification => {}
        Said::Whole(whole) => {
            whole.write(&mut part.text, id);
            visit.shard.buffers.give(whole.buffer);
            // What has been done, a subscription begun, is told: the failure in its place would be longer.
            let is_small = part.text.len() <= id.len() + limits::BATCH_SMALL_BYTES;
            failed = (!room.take(part.text.len()) && !is_small).then_some(TOO_LARGE);
        }
        Said::Streamed(mut streamed) => {
            let patience = visit.view.snapshot.config.upstream.progress_timeout;
            let pay = |bytes| room.take(bytes);
            failed = match streamed.collect(&visit.shard, &mut part.text, patience, pay).await {
                Ok(()) => None,
                Err(Uncollected::TooLarge) => Some(TOO_LARGE),
                Err(Uncollected::Lost) => Some(CUT_SHORT),
            };
        }
        Said::Failed { reason, message } => fail(visit, &mut part.text, id, reason, message),
    }
    if let Some((reason, message)) = failed {
        fail(visit, &mut part.text, id, reason, message);
    }
    if let Some(metered) = &mut metered {
        if let Some((reason, _)) = failed {
            metered.failed(reason);
        }
        metered.sent(part.text.len() as u64);
    }
    part
}

fn refused(visit: &Visit, refusal: &Refusal<'_>) -> Part {
    let mut text = visit.shard.buffers.take();
    fail(visit, &mut text, refusal.id, refusal.reason, refusal.message);
    Part { text, provider: None }
}

/// Whether one provider answered all.
enum Providers {
    Nobody,
    One(Rc<Upstream>),
    Several,
}

impl Providers {
    fn add(&mut self, provider: Option<Rc<Upstream>>) {
        let Some(provider) = provider else { return };
        match self {
            Self::Nobody => *self = Self::One(provider),
            Self::One(one) if Rc::ptr_eq(one, &provider) => {}
            _ => *self = Self::Several,
        }
    }

    fn one(self) -> Option<Rc<Upstream>> {
        match self {
            Self::One(provider) => Some(provider),
            Self::Nobody | Self::Several => None,
        }
    }
}
