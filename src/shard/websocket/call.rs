//! One message of a client: a call or a batch, asked in a task of its own so that it waits for no other and for no slow
//! reader.

use std::rc::Rc;

use super::Session;
use crate::jsonrpc::{self, Document, Item, write_error};
use crate::limits;
use crate::shard::batch;
use crate::shard::door::{self, Ask, Said};
use crate::shard::place::Route;
use crate::shard::serve::Visit;
use crate::shard::upstream::exchange::Streamed;
use crate::websocket::Opcode;

/// A message under way, counted until it is dropped.
pub(super) struct InFlight(Rc<Session>);

impl InFlight {
    pub(super) fn new(session: &Rc<Session>) -> Self {
        session.in_flight.set(session.in_flight.get() + 1);
        Self(Rc::clone(session))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        // The connection may read on.
        self.0.ended.wake();
    }
}

/// Answers the message that `body` is, in frames of the kind that it came in.
pub(super) async fn answer(visit: Visit, route: Route, body: Vec<u8>, kind: Opcode, running: InFlight) {
    let session = &running.0;
    let limits = visit.view.batch_limits;
    let document = jsonrpc::parse(&body, &mut visit.shard.scratch.borrow_mut(), limits);
    match document {
        Ok(Document::Single(Ok(call))) => single(&visit, session, &route, call, kind).await,
        Ok(Document::Batch(items)) => many(&visit, session, &route, items, kind).await,
        Ok(Document::Single(Err(refusal))) | Err(refusal) => {
            let mut text = visit.shard.buffers.take();
            visit.shard.counters.failure(refusal.reason);
            write_error(&mut text, refusal.id, refusal.reason, refusal.message);
            session.sending.message(kind, &text);
            visit.shard.buffers.give(text);
        }
    }
    visit.shard.buffers.give(body);
}

async fn single(visit: &Visit, session: &Session, route: &Route, call: jsonrpc::Call<'_>, kind: Opcode) {
    let ask = Ask::new(route, call, false);
    let answer = door::answer(&visit.shard, &visit.view, &ask).await;
    visit.shard.counters.calls.add(1);
    // What a notification brought is not told.
    let Some(id) = ask.call.id else { return };
    let mut text = visit.shard.buffers.take();
    match answer.said {
        Said::Whole(whole) => {
            whole.write(&mut text, id);
            visit.shard.buffers.give(whole.buffer);
        }
        Said::Failed { reason, message } => {
            visit.shard.counters.failure(reason);
            write_error(&mut text, id, reason, message);
        }
        Said::Streamed(streamed) => return stream(visit, session, streamed, kind).await,
    }
    session.sending.message(kind, &text);
    visit.shard.buffers.give(text);
}

async fn many(visit: &Visit, session: &Session, route: &Route, items: Vec<Item<'_>>, kind: Opcode) {
    let count = items.len();
    let mut text = visit.shard.buffers.take();
    batch::assemble(visit, route, items, &mut text).await;
    visit.shard.counters.calls.add(count as u64);
    if text.len() <= limits::WHOLE_BYTES_MAX {
        if !text.is_empty() {
            session.sending.message(kind, &text);
        }
    } else {
        session.sending.turn().await;
        let pieces = text.chunks(limits::WHOLE_BYTES_MAX);
        let last = pieces.len() - 1;
        for (at, piece) in pieces.enumerate() {
            let opcode = if at == 0 { kind } else { Opcode::Continuation };
            if !session.sending.fragment(opcode, at == last, piece).await {
                break;
            }
        }
    }
    visit.shard.buffers.give(text);
}

/// A large answer, as it comes. One that is cut short ends the connection: an ended message would be a lie.
async fn stream(visit: &Visit, session: &Session, mut streamed: Box<Streamed>, kind: Opcode) {
    let patience = visit.view.snapshot.config.upstream.progress_timeout;
    session.sending.turn().await;
    let mut piece = std::mem::take(&mut streamed.start);
    let mut opcode = kind;
    // Ends: each turn brings a byte within `patience` or fails.
    loop {
        if !session.sending.fragment(opcode, false, &piece).await {
            return;
        }
        opcode = Opcode::Continuation;
        piece.clear();
        match streamed.next(&visit.shard, &mut piece, patience).await {
            Ok(true) => {}
            Ok(false) => {
                session.sending.fragment(opcode, true, &piece).await;
                visit.shard.buffers.give(piece);
                return;
            }
            Err(_) => return session.sending.break_off(),
        }
    }
}
