//! One message of a client: a call or a batch, asked in a task of its own so that it waits for no other and for no slow
//! reader.

use std::rc::Rc;

use super::{Caller, Session};
use crate::jsonrpc::{self, Document, Item, Reason, write_error};
use crate::limits;
use crate::link::Over;
use crate::shard::access::{Line, Peer};
use crate::shard::batch;
use crate::shard::door::{Answer, Ask, Said};
use crate::shard::metering;
use crate::shard::place::Route;
use crate::shard::serve::Visit;
use crate::shard::upstream::exchange::Streamed;
use crate::websocket::Opcode;

impl Session {
    /// Whose calls these are.
    pub(super) fn peer(&self) -> Peer {
        Peer { address: self.address, over: Over::WebSocket(self.id) }
    }
}

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
        self.0.on_answered();
    }
}

/// Answers the message that `body` is, in frames of the kind that it came in.
pub(super) async fn answer(visit: Visit, route: Route, body: Vec<u8>, kind: Opcode, running: InFlight) {
    let session = &running.0;
    if cfg!(feature = "echo") {
        whole(session, kind, &body).await;
        return visit.shard.buffers.give(body);
    }
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

async fn single(visit: &Visit, session: &Rc<Session>, route: &Route, call: jsonrpc::Call<'_>, kind: Opcode) {
    let caller = Caller::new(&visit.shard, session);
    let ask = Ask::of_caller(route, call, &caller);
    let (answer, mut metered) = metering::answer(visit, &ask).await;
    visit.shard.counters.calls.add(1);
    let line = Line::of_call(visit, session.peer(), &ask, &answer);
    let (sent, is_whole) = send_answer(visit, session, &ask, answer, kind).await;
    if let Some(metered) = &mut metered {
        metered.sent(sent);
        if !is_whole {
            metered.failed(Reason::NoProvider);
        }
    }
    caller.answered();
    if let Some(line) = line {
        line.write(visit, sent);
    }
}

/// Sends it; how many bytes, and whether its provider sent all of it.
async fn send_answer(visit: &Visit, session: &Session, ask: &Ask<'_>, answer: Answer, kind: Opcode) -> (u64, bool) {
    // What a notification brought is not told.
    let Some(id) = ask.call.id else { return (0, true) };
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
    whole(session, kind, &text).await;
    let bytes = text.len() as u64;
    visit.shard.buffers.give(text);
    (bytes, true)
}

async fn many(visit: &Visit, session: &Rc<Session>, route: &Route, items: Vec<Item<'_>>, kind: Opcode) {
    let count = items.len();
    let mut text = visit.shard.buffers.take();
    let caller = Caller::new(&visit.shard, session);
    batch::assemble(visit, route, items, Some(&caller), &mut text).await;
    visit.shard.counters.calls.add(count as u64);
    let line = Line::of_batch(visit, session.peer(), route, count);
    if !text.is_empty() {
        whole(session, kind, &text).await;
    }
    if let Some(line) = line {
        line.write(visit, text.len() as u64);
    }
    caller.answered();
    visit.shard.buffers.give(text);
}

/// A message that is there, in fragments where it is large.
async fn whole(session: &Session, kind: Opcode, text: &[u8]) {
    if text.len() <= limits::WHOLE_BYTES_MAX {
        session.sending.message(kind, text);
        return;
    }
    let Some(_kept) = session.sending.keep(text.len()) else { return };
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

/// A large answer, as it comes; how many bytes, and whether that is all of it that its provider has. One that is cut short ends the connection: an ended message would be a lie.
async fn stream(visit: &Visit, session: &Session, mut streamed: Box<Streamed>, kind: Opcode) -> (u64, bool) {
    let patience = visit.view.snapshot.config.upstream.progress_timeout;
    session.sending.turn().await;
    let mut piece = std::mem::take(&mut streamed.start);
    let (mut opcode, mut sent) = (kind, 0);
    // Ends: each turn brings a byte within `patience` or fails.
    loop {
        if !session.sending.fragment(opcode, false, &piece).await {
            // The client left.
            return (sent, true);
        }
        sent += piece.len() as u64;
        opcode = Opcode::Continuation;
        piece.clear();
        match streamed.next(&visit.shard, &mut piece, patience).await {
            Ok(true) => {}
            Ok(false) => {
                session.sending.fragment(opcode, true, &piece).await;
                sent += piece.len() as u64;
                visit.shard.buffers.give(piece);
                return (sent, true);
            }
            Err(_) => {
                session.sending.break_off();
                return (sent, false);
            }
        }
    }
}
