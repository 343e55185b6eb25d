//! From a request to a WebSocket: judged, admitted and answered. Serving it is the module's above, in a future of its own,
//! so that nothing of the request stays in memory for as long as the socket lives.

use std::rc::Rc;

use super::Route;
use super::session::Bearer;
use crate::http::{After, AnswerBody, Known, RequestHead, Status};
use crate::jsonrpc::{Reason, write_error};
use crate::limits;
use crate::shard::Shard;
use crate::shard::client::Client;
use crate::shard::respond;
use crate::shard::serve::Visit;
use crate::tenant::{Lasting, Verdict};
use crate::time::Instant;
use crate::websocket::Refusal;
use crate::websocket::deflate::Agreed;

/// A WebSocket whose handshake is done.
pub(in crate::shard) struct Opened {
    pub(super) route: Route,
    /// Of the view that `route` is of.
    pub(super) view: u64,
    pub(super) agreed: Option<Agreed>,
    /// The handshake's.
    pub(super) request_id: u64,
    pub(super) since: Instant,
    /// Apart: every byte here is one of each idle socket, some times over.
    pub(super) bearer: Option<Box<Bearer>>,
    _open: Open,
}

/// An open socket, counted until it is dropped.
struct Open(Rc<Shard>);

impl Open {
    fn new(shard: &Rc<Shard>) -> Self {
        let sockets = &shard.counters.sockets;
        sockets.set(sockets.get() + 1);
        Self(Rc::clone(shard))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let sockets = &self.0.counters.sockets;
        sockets.set(sockets.get() - 1);
    }
}

/// Answers a request to upgrade: the WebSocket where it becomes one, else nothing, and the connection closes.
pub(in crate::shard) async fn upgrade(
    visit: &Visit,
    client: &mut Client,
    head: &RequestHead,
    route: Route,
) -> Option<Opened> {
    let view = Rc::clone(&visit.view);
    let accepted = match view.sockets.accept(head, client.head_bytes()) {
        Ok(accepted) => accepted,
        Err(refusal) => {
            refuse(visit, client, NotOpened::Refused(refusal)).await;
            return None;
        }
    };
    let shard = &visit.shard;
    let place = match &visit.account {
        None => None,
        Some(account) => match account.open(shard.clock.now(), Lasting::Socket) {
            Ok(place) => Some(place),
            Err(verdict) => {
                refuse(visit, client, NotOpened::OverQuota(verdict)).await;
                return None;
            }
        },
    };
    if shard.counters.sockets.get() >= view.snapshot.config.websocket.connections_max as u64 {
        shard.counters.sockets_refused.add(1);
        refuse(visit, client, NotOpened::Full).await;
        return None;
    }
    let mut out = shard.buffers.take();
    let answer = accepted.write(respond::head(visit, &mut out, Status::SwitchingProtocols));
    answer.end(AnswerBody::None, After::Upgrade);
    let bearer = visit.account.as_ref().map(|account| {
        let origin = head.header(client.head_bytes(), Known::Origin);
        Box::new(Bearer::new(account, place, origin, &route.chain.entry.name))
    });
    client.skip(head.head_bytes);
    let open = Open::new(shard);
    client.send(shard, out, visit.patience).await.ok()?;
    let (view, request_id, since) = (view.number, visit.out.request_id, visit.started);
    let agreed = accepted.deflate;
    Some(Opened { route, view, agreed, request_id, since, bearer, _open: open })
}

/// Why there is no WebSocket.
enum NotOpened {
    /// The request is not one, or asks for what is not allowed.
    Refused(Refusal),
    /// The shard has as many as it takes.
    Full,
    /// Its key has as many as its plan allows.
    OverQuota(Verdict),
}

/// Says why not; the connection closes.
async fn refuse(visit: &Visit, client: &mut Client, why: NotOpened) {
    let shard = &visit.shard;
    let (mut out, mut body) = (shard.buffers.take(), shard.buffers.take());
    let (head, after) = match why {
        NotOpened::Refused(refusal) => {
            shard.counters.failure(Reason::MalformedHttp);
            write_error(&mut body, b"null", Reason::MalformedHttp, &refusal.to_string());
            refusal.write(respond::head(visit, &mut out, refusal.status()))
        }
        NotOpened::Full => {
            shard.counters.failure(Reason::Capacity);
            write_error(&mut body, b"null", Reason::Capacity, "this node has as many WebSockets as it takes");
            let head = respond::head(visit, &mut out, Status::ServiceUnavailable);
            (head.number("Retry-After", limits::WEBSOCKET_RETRY_AFTER_S), After::Close)
        }
        NotOpened::OverQuota(verdict) => {
            shard.counters.failure(Reason::Quota);
            write_error(&mut body, b"null", Reason::Quota, verdict.message());
            let mut head = respond::head(visit, &mut out, Status::TooManyRequests);
            if let Verdict::OverQuota(refused) = &verdict {
                head = respond::limits_lines(head, refused);
            }
            (head, After::Close)
        }
    };
    head.json().end(AnswerBody::Length(body.len() as u64), after);
    out.extend_from_slice(&body);
    shard.buffers.give(body);
    if client.send(shard, out, visit.patience).await.is_ok() {
        // It may have sent frames already: closing over them would reset the connection and lose the answer.
        client.finish(shard).await;
    }
}
