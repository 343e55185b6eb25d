//! The data path: a client's connection from its first byte to its last, one call per stage.
//!
//! ```text
//! head ─▶ place ─▶ body ─▶ jsonrpc ─▶ ask (the one door) ─▶ respond
//! ```
//!
//! All branching of the path stands here. What a request needs while it runs lives in one boxed future, so that an idle
//! connection costs its socket, its timer and little more.

use std::net::SocketAddr;
use std::rc::Rc;

use super::access::Line;
use super::batch;
use super::client::{Client, End, Message, Patience};
use super::door::{self, Answer, Ask, Said};
use super::place::{Api, Place, Route};
use super::respond::{self, Outgoing};
use super::ring::Stream;
use super::transport::Transport;
use super::view::View;
use super::{Shard, on_heap, websocket};
use crate::http::{RequestHead, Status};
use crate::jsonrpc::{self, Document, Item, Reason, Refusal};
use crate::link::Phase;
use crate::time::Instant;

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Next,
    Close,
}

/// One request on its way.
pub(crate) struct Visit {
    pub(crate) shard: Rc<Shard>,
    pub(crate) view: Rc<View>,
    pub(crate) patience: Patience,
    pub(crate) started: Instant,
    pub(crate) out: Outgoing,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(shard: Rc<Shard>, stream: Stream, peer: SocketAddr) {
    let mut client = Client::new(Transport::Plain(stream), shard.timers.timer(), peer.ip());
    while next(&shard, &mut client).await == Then::Next {}
    let patience = shard.view().patience;
    client.flush(&shard, patience).await;
}

async fn next(shard: &Rc<Shard>, client: &mut Client) -> Then {
    let patience = shard.view().patience;
    let head = client.head(shard, patience).await;
    shard.refresh();
    match head {
        // Large: on the heap for as long as it runs, not in every idle connection.
        Ok(head) => on_heap(|| request(shard, client, head)).await,
        Err(end) => on_heap(|| async move { refuse(&Visit::bare(shard), client, end).await }).await,
    }
}

impl Visit {
    fn new(shard: &Rc<Shard>, client: &Client, head: &RequestHead) -> Self {
        let mut out = Outgoing::new(shard.request_id(), head, client.head_bytes());
        out.close = !head.keep_alive || shard.phase() >= Phase::Draining;
        Self::with(shard, out)
    }

    /// For an answer to what could not be read as a request.
    pub(super) fn bare(shard: &Rc<Shard>) -> Self {
        Self::with(shard, Outgoing::closing(shard.request_id()))
    }

    fn with(shard: &Rc<Shard>, out: Outgoing) -> Self {
        let view = shard.view();
        Self { shard: Rc::clone(shard), patience: view.patience, view, started: shard.clock.now(), out }
    }
}

async fn request(shard: &Rc<Shard>, client: &mut Client, head: RequestHead) -> Then {
    let mut visit = Visit::new(shard, client, &head);
    let place = client.place(&visit.view, &head);
    if let Place::Socket(route) = place {
        on_heap(|| websocket::upgrade(&mut visit, client, &head, route)).await;
        shard.counters.requests.add(1);
        return Then::Close;
    }
    if !matches!(place, Place::Rpc(_)) && head.expect_continue {
        // It waits to be told to send its body, and will not be: only a close makes the framing certain.
        visit.out.close = true;
        let sent = on_heap(|| elsewhere(&mut visit, client, place, b"")).await;
        return if sent.is_ok() { on_heap(|| finish(&visit, client)).await } else { Then::Close };
    }
    let bytes_max = visit.view.snapshot.config.http.body_bytes_max;
    let message = match client.message(shard, head, visit.patience, bytes_max).await {
        Ok(message) => message,
        Err(end) => {
            visit.out.close = true;
            return on_heap(|| refuse(&visit, client, end)).await;
        }
    };
    let sent = match place {
        Place::Rpc(route) => rpc(&mut visit, client, &route, &message).await,
        other => on_heap(|| elsewhere(&mut visit, client, other, message.body())).await,
    };
    message.recycle(shard);
    shard.counters.requests.add(1);
    match sent {
        Ok(()) if visit.out.close => on_heap(|| finish(&visit, client)).await,
        Ok(()) => Then::Next,
        Err(_) => Then::Close,
    }
}

/// Everything but calls. A refusal bears the id of the call in `body`, where it is one.
async fn elsewhere(visit: &mut Visit, client: &mut Client, place: Place, body: &[u8]) -> Result<(), End> {
    let mut buffer = visit.shard.buffers.take();
    match place {
        Place::Api(api) => api_answer(visit, &api, &mut buffer),
        Place::Preflight => respond::preflight(visit, &mut buffer),
        Place::Refused(reason, message) => {
            let document = jsonrpc::parse(body, &mut visit.shard.scratch.borrow_mut(), visit.view.batch_limits);
            let id = match &document {
                Ok(Document::Single(Ok(call))) => call.id.unwrap_or(b"null"),
                _ => b"null",
            };
            respond::failure(visit, &mut buffer, id, reason, message);
        }
        Place::NotAllowed { allow } => {
            visit.out.allow = Some(allow);
            let message = "this path takes other methods";
            respond::failure(visit, &mut buffer, b"null", Reason::MethodNotAllowed, message);
        }
        Place::Rpc(_) | Place::Socket(_) => {}
    }
    client.send(&visit.shard, buffer, visit.patience).await
}

fn api_answer(visit: &Visit, api: &Api, buffer: &mut Vec<u8>) {
    let (status, body) = api.answer(visit);
    respond::whole(visit, buffer, status, body.as_bytes());
}

async fn rpc(visit: &mut Visit, client: &mut Client, route: &Route, message: &Message) -> Result<(), End> {
    let limits = visit.view.batch_limits;
    let document = jsonrpc::parse(message.body(), &mut visit.shard.scratch.borrow_mut(), limits);
    match document {
        Ok(Document::Single(Ok(call))) => single(visit, client, route, call).await,
        Ok(Document::Batch(items)) => on_heap(|| many(visit, client, route, items)).await,
        Ok(Document::Single(Err(refusal))) | Err(refusal) => on_heap(|| refused(visit, client, &refusal)).await,
    }
}

async fn single(visit: &mut Visit, client: &mut Client, route: &Route, call: jsonrpc::Call<'_>) -> Result<(), End> {
    let ask = Ask::new(route, call, visit.out.meta);
    let answer = door::answer(&visit.shard, &visit.view, &ask).await;
    visit.shard.counters.calls.add(1);
    let took = visit.shard.clock.now().since(visit.started);
    visit.out.name(&answer, took, visit.view.lines.name_provider);
    let line = Line::of_call(visit, client, &ask, &answer);
    let sent = send_answer(visit, client, &ask, answer).await;
    if let Some(line) = line {
        line.write(visit, client);
    }
    sent
}

async fn send_answer(visit: &Visit, client: &mut Client, ask: &Ask<'_>, answer: Answer) -> Result<(), End> {
    let mut buffer = visit.shard.buffers.take();
    let Some(id) = ask.call.id else {
        respond::nothing(visit, &mut buffer);
        return client.send(&visit.shard, buffer, visit.patience).await;
    };
    match answer.said {
        Said::Whole(said) => {
            respond::reply(visit, &mut buffer, &said, id);
            visit.shard.buffers.give(said.buffer);
        }
        Said::Failed { reason, message } => respond::failure(visit, &mut buffer, id, reason, message),
        Said::Streamed(streamed) => {
            visit.shard.buffers.give(buffer);
            return on_heap(|| respond::stream(visit, client, streamed)).await;
        }
    }
    client.send(&visit.shard, buffer, visit.patience).await
}

async fn many(visit: &mut Visit, client: &mut Client, route: &Route, items: Vec<Item<'_>>) -> Result<(), End> {
    let count = items.len();
    let mut body = visit.shard.buffers.take();
    let provider = batch::assemble(visit, route, items, &mut body).await;
    visit.shard.counters.calls.add(count as u64);
    visit.out.name_batch(provider.as_deref(), visit.shard.clock.now().since(visit.started));
    let mut buffer = visit.shard.buffers.take();
    if body.is_empty() {
        respond::nothing(visit, &mut buffer);
    } else {
        respond::whole(visit, &mut buffer, Status::Ok, &body);
    }
    visit.shard.buffers.give(body);
    let line = Line::of_batch(visit, client, route, count);
    let sent = client.send(&visit.shard, buffer, visit.patience).await;
    if let Some(line) = line {
        line.write(visit, client);
    }
    sent
}

async fn refused(visit: &Visit, client: &mut Client, refusal: &Refusal<'_>) -> Result<(), End> {
    let mut buffer = visit.shard.buffers.take();
    respond::failure(visit, &mut buffer, refusal.id, refusal.reason, refusal.message);
    client.send(&visit.shard, buffer, visit.patience).await
}

/// Answers what could not be read as a request, where there is somebody to answer; the connection ends.
async fn refuse(visit: &Visit, client: &mut Client, end: End) -> Then {
    let (reason, message) = match end {
        End::Idle | End::Lost => return Then::Close,
        End::Head(error) => (Reason::MalformedHttp, error.to_string()),
        End::Framing => (Reason::MalformedHttp, "the body's chunked framing is malformed".into()),
        End::Slow => (Reason::SlowClient, "the request did not come in time".into()),
        End::BodyTooLarge => (Reason::BodyTooLarge, "the body is larger than allowed".into()),
    };
    let mut buffer = visit.shard.buffers.take();
    // `visit` closes: it was made for this.
    respond::failure(visit, &mut buffer, b"null", reason, &message);
    match client.send(&visit.shard, buffer, visit.patience).await {
        Ok(()) => on_heap(|| finish(visit, client)).await,
        Err(_) => Then::Close,
    }
}

async fn finish(visit: &Visit, client: &mut Client) -> Then {
    // What is unsent has its own time; the lingering begins behind it.
    client.flush(&visit.shard, visit.patience).await;
    client.finish(&visit.shard).await;
    Then::Close
}
