//! The data path: a client's connection from its first byte to its last, one call per stage.
//!
//! ```text
//! arrive ─▶ head ─▶ place ─▶ key ─▶ body ─▶ jsonrpc ─▶ quota ─▶ ask (the one door) ─▶ respond ─▶ usage
//! ```
//!
//! All branching of the path stands here. What a request needs while it runs lives in one boxed future, so that an idle
//! connection costs its socket, its timer and little more.

use std::rc::Rc;

use super::access::Line;
use super::arrive::Arrival;
use super::batch;
use super::client::{Client, End, Message, Patience};
use super::door::{Answer, Ask, Said};
use super::metering::{self, Metered};
use super::place::{Api, Place, Route};
use super::respond::{self, Outgoing};
use super::tenants::Denied;
use super::view::View;
use super::websocket::Opened;
use super::{Shard, on_heap, websocket};
use crate::http::{RequestHead, Status};
use crate::jsonrpc::{self, Document, Item, Reason, Refusal};
use crate::link::Phase;
use crate::tenant::{Account, Unauthorized};
use crate::time::Instant;

/// Whether the connection goes on.
enum Then {
    Next,
    Close,
    /// It is a WebSocket from here on.
    Socket(Opened),
}

/// One request on its way.
pub(crate) struct Visit {
    pub(crate) shard: Rc<Shard>,
    pub(crate) view: Rc<View>,
    pub(crate) patience: Patience,
    pub(crate) started: Instant,
    pub(crate) out: Outgoing,
    /// Whose calls these are; none where there are no tenants.
    pub(crate) account: Option<Rc<Account>>,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(shard: Rc<Shard>, arrival: Arrival) {
    let Some(arrived) = on_heap(|| arrival.finish(&shard)).await else { return };
    let _admission = arrived.admission;
    let mut client = Client::new(arrived.transport, arrived.timer, arrived.address);
    loop {
        match next(&shard, &mut client).await {
            Then::Next => {}
            Then::Close => break,
            // The request is over and its memory free: a socket may live for days.
            Then::Socket(opened) => {
                on_heap(|| websocket::serve(&shard, &mut client, opened)).await;
                break;
            }
        }
    }
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
        Self { shard: Rc::clone(shard), patience: view.patience, view, started: shard.clock.now(), out, account: None }
    }
}

async fn request(shard: &Rc<Shard>, client: &mut Client, head: RequestHead) -> Then {
    let mut visit = Visit::new(shard, client, &head);
    client.locate(&visit.view, &head);
    let place = client.place(&visit.view, &head);
    if let Place::Rpc(route) | Place::Socket(route) = &place {
        match client.admit(shard, &visit.view, &head, route) {
            Ok(account) => visit.account = account,
            // Before a byte of the body is taken: only a close makes the framing certain.
            Err(denied) => return on_heap(|| deny(&mut visit, client, denied)).await,
        }
    }
    if let Place::Socket(route) = place {
        let opened = on_heap(|| websocket::upgrade(&visit, client, &head, route)).await;
        shard.counters.requests.add(1);
        return opened.map_or(Then::Close, Then::Socket);
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
    if visit.account.as_ref().is_some_and(|account| account.newest().is_none()) {
        // Revoked while its body came.
        return on_heap(|| deny(&mut visit, client, Unauthorized::Unknown.into())).await;
    }
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
    let (answer, mut metered) = metering::answer(visit, &ask).await;
    visit.shard.counters.calls.add(1);
    let took = visit.shard.clock.now().since(visit.started);
    visit.out.name(&answer, took, visit.view.lines.name_provider);
    let line = Line::of_call(visit, client.peer(), &ask, &answer);
    let before = client.sent();
    let sent = send_answer(visit, client, &ask, answer, metered.as_mut()).await;
    if let Some(line) = line {
        line.write(visit, client.sent() - before);
    }
    sent
}

async fn send_answer(
    visit: &Visit,
    client: &mut Client,
    ask: &Ask<'_>,
    answer: Answer,
    metered: Option<&mut Metered>,
) -> Result<(), End> {
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
            return on_heap(|| respond::stream(visit, client, streamed, metered)).await;
        }
    }
    if let Some(metered) = metered {
        metered.sent(visit.out.body_bytes.get());
    }
    client.send(&visit.shard, buffer, visit.patience).await
}

async fn many(visit: &mut Visit, client: &mut Client, route: &Route, items: Vec<Item<'_>>) -> Result<(), End> {
    let count = items.len();
    let mut body = visit.shard.buffers.take();
    let provider = batch::assemble(visit, route, items, None, &mut body).await;
    visit.shard.counters.calls.add(count as u64);
    visit.out.name_batch(provider.as_deref(), visit.shard.clock.now().since(visit.started));
    let mut buffer = visit.shard.buffers.take();
    if body.is_empty() {
        respond::nothing(visit, &mut buffer);
    } else {
        respond::whole(visit, &mut buffer, Status::Ok, &body);
    }
    visit.shard.buffers.give(body);
    let line = Line::of_batch(visit, client.peer(), route, count);
    let before = client.sent();
    let sent = client.send(&visit.shard, buffer, visit.patience).await;
    if let Some(line) = line {
        line.write(visit, client.sent() - before);
    }
    sent
}

async fn refused(visit: &Visit, client: &mut Client, refusal: &Refusal<'_>) -> Result<(), End> {
    let mut buffer = visit.shard.buffers.take();
    respond::failure(visit, &mut buffer, refusal.id, refusal.reason, refusal.message);
    client.send(&visit.shard, buffer, visit.patience).await
}

/// Turns somebody away; the connection ends.
async fn deny(visit: &mut Visit, client: &mut Client, denied: Denied) -> Then {
    visit.out.close = true;
    let mut buffer = visit.shard.buffers.take();
    respond::denied(visit, &mut buffer, denied);
    visit.shard.counters.requests.add(1);
    match client.send(&visit.shard, buffer, visit.patience).await {
        Ok(()) => on_heap(|| finish(visit, client)).await,
        Err(_) => Then::Close,
    }
}

/// Answers what could not be read as a request, where there is somebody to answer; the connection ends.
async fn refuse(visit: &Visit, client: &mut Client, end: End) -> Then {
    if client.is_given_up() {
        // It did not even take the word to go on with its body.
        return Then::Close;
    }
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;
    use crate::jsonrpc::Reason;
    use crate::shard::alone::alone;
    use crate::shard::ring::ConnectOptions;
    use crate::shard::transport::Transport;

    const CONFIG: &str = "[http]\nbody_timeout = \"50ms\"\n[[chains]]\nname = \"ethereum\"\nid = 1\n\
                          [[chains.providers]]\nid = \"alpha\"\nurl = \"http://127.0.0.1:1\"\n";

    /// More than any two sockets hold.
    const BYTES: usize = 64 * 1024 * 1024;

    #[test]
    fn who_takes_no_continue_is_sent_nothing_more() {
        let (closed, sent, refusals) = alone(CONFIG, |shard, _control| async move {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let mut stream = shard.ring.connect(address, &ConnectOptions::default()).await.unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            stream.send(vec![0; BYTES]).await.unwrap();
            peer.write_all(
                b"POST /rpc/ethereum HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
            )
            .unwrap();
            let mut client = Client::new(Transport::Plain(stream), shard.timers.timer(), address.ip());
            let then = next(&shard, &mut client).await;
            (matches!(then, Then::Close), client.sent(), shard.counters.failures[Reason::SlowClient.index()].get())
        });
        assert!(closed);
        assert_eq!((sent, refusals), (crate::http::CONTINUE.len() as u64, 0), "no word on its being slow either");
    }
}
