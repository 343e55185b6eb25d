//! A client's WebSocket: messages in, each a call or a batch asked in a task of its own, and answers out as they are ready.
//!
//! ```text
//!   upgrade ─▶ read ─▶ message ─▶ call (a task) ─▶ the one door ─▶ sending ─▶ send
//!                ▲ keep-alive, close                                  │
//!                └────────────── one task, the connection's ◀─────────┘
//! ```
//!
//! The handshake ends before the socket's future begins, so that nothing of the request is held; what a socket that waits
//! does need is its state and its timer.

mod call;
mod caller;
mod compress;
mod ended;
mod handshake;
mod notice;
mod queue;
mod sending;
mod session;
mod subscribe;

use std::rc::Rc;

use futures_util::future::{Either, FutureExt, select};

pub(super) use self::caller::Caller;
pub(super) use self::notice::Notice;
pub(super) use self::session::Session;

use self::call::InFlight;
pub(super) use self::compress::Codecs;
use self::compress::Packing;
use self::ended::Ended;
pub(super) use self::handshake::{Opened, upgrade};
use self::sending::Sending;
use super::Shard;
use super::client::{Client, End};
use super::guard::guarded;
use super::place::Route;
use super::serve::Visit;
use super::tenants;
use crate::limits;
use crate::link::Phase;
use crate::time::Instant;
use crate::websocket::{
    CloseCode, Closing, Event, Fault, KeepAlive, Kind, Opcode, Pulse, Reader, ReaderConfig, Role, write_close,
    write_frame,
};

/// Serves a WebSocket to its end. The HTTP connection ends with it. What it is made from is not held beside it.
pub(super) fn serve(shard: &Rc<Shard>, client: &mut Client, opened: Opened) -> impl Future<Output = ()> {
    Socket::new(shard, client, opened).serve()
}

/// The connection's side of a session.
struct Socket<'a> {
    shard: Rc<Shard>,
    client: &'a mut Client,
    opened: Opened,
    calls_in_flight_max: u32,
    message_bytes_max: usize,
    session: Rc<Session>,
    reader: Reader,
    closing: Closing,
    alive: KeepAlive,
    /// Messages have come that wait for room.
    behind: bool,
    /// The node closes: nothing more is asked from then on.
    leaves_at: Option<Instant>,
    /// Until when the client's goodbye is waited for, once ours has left.
    goodbye_until: Option<Instant>,
    /// What is told of it in the end.
    ended: Ended,
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
    fn new(shard: &Rc<Shard>, client: &'a mut Client, mut opened: Opened) -> Self {
        let view = shard.view();
        let config = &view.snapshot.config.websocket;
        let reader = Reader::new(ReaderConfig {
            role: Role::Server,
            message_bytes_max: config.message_bytes_max,
            compression: opened.agreed.is_some(),
        });
        let bytes_min = config.compression.map_or(usize::MAX, |compression| compression.bytes_min);
        let packing = opened.agreed.map(|agreed| Packing::new(&shard.codecs, agreed, bytes_min));
        let sending = Sending::new(config.queued_bytes_max, packing);
        let bearer = opened.bearer.take();
        let is_watched = bearer.is_some();
        let session = Rc::new(Session::new(shard, sending, (opened.request_id, client.address), bearer));
        if is_watched {
            shard.tenants.watch(&session);
        }
        Self {
            shard: Rc::clone(shard),
            session,
            alive: KeepAlive::new(shard.clock.now(), config.ping_after, config.pong_timeout),
            closing: Closing::default(),
            calls_in_flight_max: config.calls_in_flight_max,
            message_bytes_max: config.message_bytes_max,
            ended: Ended::new(client.sent()),
            client,
            opened,
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
        self.session.end();
        self.ended.tell(&self.shard, &self.session, &self.opened, self.client.sent());
    }

    /// Sends a piece of what is ready, then waits for one thing and does it: whoever reads slowly is heard between pieces.
    async fn turn(&mut self) -> Result<(), End> {
        self.part();
        self.send_piece().await?;
        let now = self.shard.clock.now();
        self.leave_in_time(now);
        let reads = self.session.in_flight.get() < self.calls_max(now);
        let Some(until) = self.rests_until(now, reads)? else { return Ok(()) };
        let woken = self.wait(until).await;
        if !reads {
            self.alive.pause(self.shard.clock.now().since(now));
        }
        match woken {
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

    /// Says goodbye where the connection cannot go on.
    fn part(&mut self) {
        if !self.closing.is_open() {
            return;
        }
        let sending = &self.session.sending;
        if sending.is_overflown() {
            // It gets no more of it: nothing may be left out.
            sending.clear();
            self.close(CloseCode::TRY_LATER, "too slow");
        } else if sending.is_broken() {
            self.close(CloseCode::INTERNAL, "an answer was cut short");
        } else if let Some((code, reason)) = sending.is_to_close() {
            self.close(code, reason);
        }
    }

    /// When it has to look next; none where there is something to be done first.
    fn rests_until(&mut self, now: Instant, reads: bool) -> Result<Option<Instant>, End> {
        if !self.closing.is_open() {
            return Ok(self.goodbye_until(now));
        }
        let leaves_at = self.leaves_at.filter(|at| *at > now).unwrap_or(Instant::NEVER);
        if !reads {
            return Ok(Some(leaves_at));
        }
        match self.alive.poll(now) {
            Pulse::Wait(until) => Ok(Some(until.min(leaves_at))),
            Pulse::Ping => {
                self.session.sending.control(|out| write_frame(out, Opcode::Ping, false, &[], None));
                Ok(None)
            }
            Pulse::Gone => {
                self.ended.on_silence();
                Err(End::Idle)
            }
        }
    }

    /// Until when the client's goodbye is waited for, from when ours has left; none where it has had its time.
    fn goodbye_until(&mut self, now: Instant) -> Option<Instant> {
        if !self.session.sending.is_empty() {
            return Some(Instant::NEVER);
        }
        let until = *self.goodbye_until.get_or_insert(now + limits::WEBSOCKET_GOODBYE);
        let is_over = until <= now;
        if is_over {
            self.closing.receive();
        }
        (!is_over).then_some(until)
    }

    /// A node that closes says goodbye to all its sockets, but not at once: they would come back as a storm.
    fn leave_in_time(&mut self, now: Instant) {
        if self.leaves_at.is_none() && self.shard.phase() >= Phase::Closing {
            #[allow(clippy::cast_precision_loss)] // a part of a time needs no 64 bits
            let part = self.shard.draw() as f64 / u64::MAX as f64;
            self.leaves_at = Some(now + limits::WEBSOCKETS_LEAVE_WITHIN.mul_f64(part));
        }
    }

    /// One that leaves asks nothing more, and waits for its last answers.
    fn leaves(&self, now: Instant) -> bool {
        self.closing.is_open() && self.leaves_at.is_some_and(|at| at <= now)
    }

    /// How many calls may be under way for the client to be read.
    fn calls_max(&self, now: Instant) -> u32 {
        match (self.closing.is_open(), self.leaves(now)) {
            // Only its goodbye counts.
            (false, _) => u32::MAX,
            (true, true) => 1,
            (true, false) => self.calls_in_flight_max,
        }
    }

    async fn wait(&mut self, until: Instant) -> Woken {
        let now = self.shard.clock.now();
        let (leaves, calls_max) = (self.leaves(now), self.calls_max(now));
        let (session, shard, is_behind) = (&self.session, &self.shard, self.behind);
        self.client.rest(shard);
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
        let bytes = self.client.read_on(&self.shard).await?;
        if bytes == 0 {
            return Err(End::Idle);
        }
        self.ended.bytes_in += bytes as u64;
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
            self.behind = self.closing.is_open() && self.session.in_flight.get() >= self.calls_in_flight_max;
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
            let (shard, sending) = (&self.shard, &self.session.sending);
            match hear(shard, sending, (&mut self.closing, &mut self.ended), self.message_bytes_max, event) {
                Ok(Some((body, kind))) => self.ask(body, kind),
                Ok(None) => {}
                Err(broken) => {
                    fault = Some(broken);
                    break;
                }
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
            self.ended.on_ours(code);
            self.behind = false;
            self.session.sending.last(|out| write_close(out, Some(code), reason, None));
        }
    }

    /// Asks what a message says, in a task of its own.
    fn ask(&mut self, body: Vec<u8>, kind: Opcode) {
        if !self.closing.is_open() {
            return;
        }
        self.ended.messages_in += 1;
        self.shard.refresh();
        let mut visit = Visit::bare(&self.shard);
        if self.session.is_gone(&visit.view.snapshot.config.node.region, visit.started) {
            return self.close(CloseCode::POLICY, tenants::GONE);
        }
        visit.account = self.session.account();
        if visit.view.number != self.opened.view {
            match self.opened.route.again(&visit.view) {
                Some(route) => (self.opened.route, self.opened.view) = (route, visit.view.number),
                None => return self.close(CloseCode::RESTART, "this chain is not served any more"),
            }
        }
        self.shard.counters.bytes_in.add(body.len() as u64);
        let (route, running) = (self.opened.route.clone(), InFlight::new(&self.session));
        let (shard, session) = (Rc::clone(&self.shard), Rc::clone(&self.session));
        let work = async move {
            if guarded(&shard, call::answer(visit, route, body, kind, running)).await.is_none() {
                session.close_because(CloseCode::INTERNAL, "this node failed");
            }
        };
        self.shard.ring.spawn(work).detach();
    }

    /// Sends what may leave together; more of it comes meanwhile, where an answer streams.
    async fn send_piece(&mut self) -> Result<(), End> {
        if let Some(frames) = self.session.sending.take() {
            let (began, patience) = (self.shard.clock.now(), self.shard.view().patience);
            let sent = self.client.send(&self.shard, frames, patience).await;
            if sent.is_err() && self.session.sending.is_overflown() {
                // It read nothing any more, and could not be told.
                self.ended.on_ours(CloseCode::TRY_LATER);
            }
            sent?;
            self.alive.pause(self.shard.clock.now().since(began));
        }
        Ok(())
    }

    /// Sends what is left of a connection that is over: nothing more comes.
    async fn flush(&mut self) -> Result<(), End> {
        while !self.session.sending.is_empty() {
            self.send_piece().await?;
        }
        Ok(())
    }
}

impl Drop for Socket<'_> {
    /// However it ends: feeds let go of it.
    fn drop(&mut self) {
        self.session.end();
        self.shard.tenants.unwatch(self.session.number());
    }
}

/// Answers a control frame, or moves a message out of where it came, unpacked.
fn hear(
    shard: &Shard,
    sending: &Sending,
    (closing, ended): (&mut Closing, &mut Ended),
    bytes_max: usize,
    event: Event<'_>,
) -> Result<Option<(Vec<u8>, Opcode)>, Fault> {
    match event {
        Event::Message { kind, compressed, bytes } => {
            let body = if compressed {
                shard.codecs.unpack(&shard.buffers, kind, bytes, bytes_max)?
            } else {
                let mut body = shard.buffers.take();
                body.extend_from_slice(bytes);
                body
            };
            return Ok(Some((body, if kind == Kind::Text { Opcode::Text } else { Opcode::Binary })));
        }
        Event::Ping(bytes) => sending.control(|out| write_frame(out, Opcode::Pong, false, bytes, None)),
        Event::Pong(_) => {}
        Event::Close(close) => {
            if closing.receive() {
                ended.on_theirs(close.code);
                sending.last(|out| write_close(out, close.code, "", None));
            }
        }
    }
    Ok(None)
}
