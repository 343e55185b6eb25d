//! A client's WebSocket: messages in, each a call or a batch asked in a task of its own, and answers out as they are ready.
//!
//! ```text
//!   upgrade ─▶ read ─▶ message ─▶ call (a task) ─▶ the one door ─▶ sending ─▶ send
//!                ▲ keep-alive, close                                  │
//!                └────────────── one task, the connection's ◀─────────┘
//! ```
//!
//! Left out as yet: subscriptions, compression, a session's home provider.

mod call;
mod sending;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures_util::future::{Either, FutureExt, select};

use self::call::InFlight;
use self::sending::Sending;
use super::Shard;
use super::client::{Client, End};
use super::place::Route;
use super::respond;
use super::serve::Visit;
use crate::config::WebSocket;
use crate::http::{After, AnswerBody, RequestHead, Status};
use crate::jsonrpc::{Reason, write_error};
use crate::limits;
use crate::link::Phase;
use crate::time::Instant;
use crate::websocket::{
    CloseCode, Closing, Event, Fault, KeepAlive, Kind, Opcode, Pulse, Reader, ReaderConfig, Role, write_close,
    write_frame,
};

/// What a connection's task and its calls share.
pub(super) struct Session {
    sending: Sending,
    /// Messages under way.
    in_flight: Cell<u32>,
    /// Wakes the connection when one has ended.
    ended: Wake,
}

/// One task's waker.
#[derive(Default)]
struct Wake(RefCell<Option<Waker>>);

impl Wake {
    fn wake(&self) {
        if let Some(waker) = self.0.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Session {
    fn new(config: &WebSocket) -> Self {
        Self { sending: Sending::new(config.queued_bytes_max), in_flight: Cell::new(0), ended: Wake::default() }
    }

    /// Waits until fewer than `most` messages are under way.
    async fn has_room(&self, most: u32) {
        poll_fn(|cx| {
            if self.in_flight.get() < most {
                return Poll::Ready(());
            }
            *self.ended.0.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Answers a request to upgrade, and serves the WebSocket to its end. The HTTP connection ends with it.
pub(super) async fn upgrade(visit: &mut Visit, client: &mut Client, head: &RequestHead, route: Route) {
    let mut out = visit.shard.buffers.take();
    let view = Rc::clone(&visit.view);
    match view.sockets.accept(head, client.head_bytes()) {
        Err(refusal) => {
            visit.shard.counters.failure(Reason::MalformedHttp);
            let mut body = visit.shard.buffers.take();
            write_error(&mut body, b"null", Reason::MalformedHttp, &refusal.to_string());
            let (head, after) = refusal.write(respond::head(visit, &mut out, refusal.status()));
            head.json().end(AnswerBody::Length(body.len() as u64), after);
            out.extend_from_slice(&body);
            visit.shard.buffers.give(body);
            let _ = client.send(&visit.shard, out, visit.patience).await;
        }
        Ok(accepted) => {
            let answer = accepted.write(respond::head(visit, &mut out, Status::SwitchingProtocols));
            answer.end(AnswerBody::None, After::Upgrade);
            client.skip(head.head_bytes);
            visit.shard.counters.sockets.set(visit.shard.counters.sockets.get() + 1);
            let _open = Open(&visit.shard);
            if client.send(&visit.shard, out, visit.patience).await.is_ok() {
                Socket::new(visit, client, route).serve().await;
            }
        }
    }
}

/// An open socket, counted until it is dropped.
struct Open<'a>(&'a Shard);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let sockets = &self.0.counters.sockets;
        sockets.set(sockets.get() - 1);
    }
}

/// The connection's side of a session.
struct Socket<'a> {
    shard: Rc<Shard>,
    client: &'a mut Client,
    route: Route,
    /// The view that `route` is of.
    view: u64,
    config: WebSocket,
    session: Rc<Session>,
    reader: Reader,
    closing: Closing,
    alive: KeepAlive,
    /// Messages have come that wait for room.
    behind: bool,
    /// The node closes: nothing more is asked from then on.
    leaves_at: Option<Instant>,
    /// Until when the client's goodbye is waited for, once ours is said.
    goodbye_until: Option<Instant>,
}

/// What the connection waits for.
enum Woken {
    Bytes,
    /// There is room for the calls that have come.
    Room,
    /// The node closes, and the last call has its answer.
    Answered,
    /// Something is to be sent, or a call has ended.
    Calls,
    Time,
}

impl<'a> Socket<'a> {
    fn new(visit: &Visit, client: &'a mut Client, route: Route) -> Self {
        let config = visit.view.snapshot.config.websocket.clone();
        let reader = Reader::new(ReaderConfig {
            role: Role::Server,
            message_bytes_max: config.message_bytes_max,
            compression: false,
        });
        let now = visit.shard.clock.now();
        Self {
            shard: Rc::clone(&visit.shard),
            session: Rc::new(Session::new(&config)),
            alive: KeepAlive::new(now, config.ping_after, config.pong_timeout),
            view: visit.view.number,
            closing: Closing::default(),
            client,
            route,
            config,
            reader,
            behind: false,
            leaves_at: None,
            goodbye_until: None,
        }
    }

    async fn serve(mut self) {
        // What came behind the request.
        self.take_messages();
        let mut ended = Ok(());
        while ended.is_ok() && !self.closing.hangs_up(Role::Server) {
            ended = self.turn().await;
        }
        if ended.is_ok() {
            let _ = self.flush().await;
            self.client.finish(&self.shard).await;
        }
        self.session.sending.end();
    }

    /// Sends what is ready, then waits for one thing and does it.
    async fn turn(&mut self) -> Result<(), End> {
        if self.session.sending.is_overflown() && self.closing.send() {
            self.session.sending.end_with(|out| write_close(out, Some(CloseCode::TRY_LATER), "too slow", None));
            self.flush().await?;
            return Err(End::Slow);
        }
        self.flush().await?;
        if self.session.sending.is_broken() {
            self.close(CloseCode::INTERNAL, "an answer was cut short");
            self.flush().await?;
            return Err(End::Lost);
        }
        let until = match self.alive.poll(self.shard.clock.now()) {
            Pulse::Wait(until) => until,
            Pulse::Ping => {
                self.session.sending.control(|out| write_frame(out, Opcode::Ping, false, &[], None));
                return Ok(());
            }
            Pulse::Gone => return Err(End::Idle),
        };
        let now = self.shard.clock.now();
        if self.goodbye_until.is_some_and(|goodbye| goodbye <= now) {
            return Err(End::Slow);
        }
        self.leave_in_time(now);
        let leaves_at = self.leaves_at.filter(|at| *at > now);
        let until = until.min(self.goodbye_until.or(leaves_at).unwrap_or(Instant::NEVER));
        match self.wait(until).await {
            Woken::Answered => {
                self.close(CloseCode::AWAY, "this node closes");
                Ok(())
            }
            Woken::Bytes => self.read().await,
            Woken::Room => {
                self.take_messages();
                Ok(())
            }
            Woken::Calls | Woken::Time => Ok(()),
        }
    }

    /// A node that closes says goodbye to all its sockets, but not at once: they would come back as a storm.
    fn leave_in_time(&mut self, now: Instant) {
        if self.leaves_at.is_none() && self.shard.phase() >= Phase::Closing {
            #[allow(clippy::cast_precision_loss)] // a part of a time needs no 64 bits
            let part = self.shard.draw() as f64 / u64::MAX as f64;
            self.leaves_at = Some(now + limits::WEBSOCKETS_LEAVE_WITHIN.mul_f64(part));
        }
    }

    async fn wait(&mut self, until: Instant) -> Woken {
        let (session, shard) = (&self.session, &self.shard);
        let (is_open, is_behind) = (self.closing.is_open(), self.behind);
        // One that leaves asks nothing more, and waits for its last answers.
        let leaves = is_open && self.leaves_at.is_some_and(|at| at <= shard.clock.now());
        let calls_max = if leaves { 1 } else { self.config.calls_in_flight_max };
        let (transport, timer) = self.client.socket();
        let bytes = async {
            // What is full is read no further: the client waits, and nothing is lost.
            session.has_room(calls_max).await;
            if leaves {
                return Woken::Answered;
            }
            if is_behind {
                return Woken::Room;
            }
            transport.readable().await;
            Woken::Bytes
        };
        let sending = session.sending.wanted().map(|()| Woken::Calls);
        let any = async {
            match select(std::pin::pin!(bytes), std::pin::pin!(sending)).await {
                Either::Left((woken, _)) | Either::Right((woken, _)) => woken,
            }
        };
        // A node that closes ends the wait.
        let _idle = shard.idle.enter(timer);
        timer.limit(until, any).await.unwrap_or(Woken::Time)
    }

    async fn read(&mut self) -> Result<(), End> {
        if self.client.read_on().await? == 0 {
            return Err(End::Idle);
        }
        self.alive.on_bytes(self.shard.clock.now());
        self.take_messages();
        Ok(())
    }

    /// Takes every message and control frame that has come, as far as there is room for calls.
    fn take_messages(&mut self) {
        let now = self.shard.clock.now();
        let (mut done, mut fault) = (0, None);
        // Ends: each event consumes bytes of what has come.
        loop {
            self.behind = self.closing.is_open() && self.session.in_flight.get() >= self.config.calls_in_flight_max;
            if self.behind {
                break;
            }
            let input = self.client.input();
            let step = match self.reader.read(now, &mut input[done..]) {
                Ok(step) => step,
                Err(broken) => {
                    fault = Some(broken);
                    break;
                }
            };
            done += step.consumed;
            let Some(event) = step.event else { break };
            if let Some((body, kind)) = hear(&self.shard, &self.session.sending, &mut self.closing, event) {
                self.ask(body, kind);
            }
        }
        self.client.skip(done);
        if let Some(fault) = fault {
            self.fail(fault);
        }
    }

    /// The client broke a rule: nothing more of it is read.
    fn fail(&mut self, fault: Fault) {
        self.close(fault.code(), &fault.to_string());
        // It need not answer: what it sends is not understood.
        self.closing.receive();
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        if self.closing.send() {
            self.goodbye_until = Some(self.shard.clock.now() + limits::WEBSOCKET_GOODBYE);
            self.behind = false;
            self.session.sending.control(|out| write_close(out, Some(code), reason, None));
        }
    }

    /// Asks what a message says, in a task of its own.
    fn ask(&mut self, body: Vec<u8>, kind: Opcode) {
        if !self.closing.is_open() {
            return;
        }
        self.shard.refresh();
        let visit = Visit::bare(&self.shard);
        if visit.view.number != self.view {
            match self.route.again(&visit.view) {
                Some(route) => (self.route, self.view) = (route, visit.view.number),
                None => return self.close(CloseCode::RESTART, "this chain is not served any more"),
            }
        }
        self.shard.counters.bytes_in.add(body.len() as u64);
        let (route, running) = (self.route.clone(), InFlight::new(&self.session));
        self.shard.ring.spawn(call::answer(visit, route, body, kind, running)).detach();
    }

    async fn flush(&mut self) -> Result<(), End> {
        while let Some(frames) = self.session.sending.take() {
            let patience = self.shard.view().patience;
            self.client.send(&self.shard, frames, patience).await?;
        }
        Ok(())
    }
}

/// Answers a control frame, and moves a message out of where it came.
fn hear(shard: &Shard, sending: &Sending, closing: &mut Closing, event: Event<'_>) -> Option<(Vec<u8>, Opcode)> {
    match event {
        Event::Message { kind, bytes, .. } => {
            let mut body = shard.buffers.take();
            body.extend_from_slice(bytes);
            let kind = if kind == Kind::Text { Opcode::Text } else { Opcode::Binary };
            return Some((body, kind));
        }
        Event::Ping(bytes) => sending.control(|out| write_frame(out, Opcode::Pong, false, bytes, None)),
        Event::Pong(_) => {}
        Event::Close(close) => {
            if closing.receive() {
                sending.control(|out| write_close(out, close.code, "", None));
            }
        }
    }
    None
}
