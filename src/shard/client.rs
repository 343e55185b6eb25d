//! A client's connection: requests in, one after another, and answers out.
//!
//! An idle connection holds no buffer: it waits for a byte first. A request is moved out of the connection with the
//! buffer that it came in, so that it can be read while its answer is written; what a pipelining client sent behind it
//! stays. Slow clients are cut: a head has a deadline, a body and an answer must make progress.

use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::access::Peer;
use super::arrive;
use super::place::{self, KnownRoute, Place, Route};
use super::tenants::{Denied, Guest};
use super::timers::{Elapsed, Timer};
use super::transport::Transport;
use super::view::View;
use super::{Shard, on_heap};
use crate::http::{CONTINUE, ChunkError, Decoder, Framing, HeadError, HeadReader, Known, RequestHead, path_key};
use crate::limits;
use crate::link::Over;
use crate::source;
use crate::tenant::{Account, KeyPlaces, Visit};
use crate::time::Instant;

/// How long a client may take for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) idle: Duration,
    pub(crate) head: Duration,
    /// For each window of progress.
    pub(crate) body: Duration,
}

pub(crate) struct Client {
    transport: Transport,
    timer: Timer,
    /// Read, and not yet part of a request.
    input: Vec<u8>,
    heads: HeadReader<RequestHead, KnownRoute>,
    /// Whose connection it is, as the socket or a PROXY header says.
    connected: IpAddr,
    /// Whose request it is: another's, where a balancer says so.
    pub(crate) address: IpAddr,
    /// Who was let in last.
    guest: Option<Box<Guest>>,
    /// Bytes sent since the connection began.
    sent: u64,
    /// It has let us wait for too long: nothing more is waited for.
    given_up: bool,
}

/// A request, whole.
pub(crate) struct Message {
    /// Head and body as they came.
    buffer: Vec<u8>,
    /// The body when its framing had to be taken off.
    unframed: Option<Vec<u8>>,
    body: Range<usize>,
}

/// Why no request came.
#[derive(Debug)]
pub(crate) enum End {
    /// The client closed between requests, or was idle for too long, or the node is closing.
    Idle,
    /// The connection failed: there is nobody to answer.
    Lost,
    /// The head is refused.
    Head(HeadError),
    /// The body's framing is refused.
    Framing,
    /// Head or body did not come in time.
    Slow,
    BodyTooLarge,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

impl From<Elapsed> for End {
    fn from(_: Elapsed) -> Self {
        Self::Slow
    }
}

impl From<ChunkError> for End {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::TooLarge => Self::BodyTooLarge,
            _ => Self::Framing,
        }
    }
}

impl Message {
    pub(crate) fn body(&self) -> &[u8] {
        self.unframed.as_deref().unwrap_or(&self.buffer[self.body.clone()])
    }

    /// Gives its buffers back.
    pub(crate) fn recycle(self, shard: &Shard) {
        shard.buffers.give(self.buffer);
        if let Some(unframed) = self.unframed {
            shard.buffers.give(unframed);
        }
    }
}

impl Client {
    pub(crate) fn new(transport: Transport, timer: Timer, address: IpAddr) -> Self {
        Self {
            transport,
            timer,
            input: Vec::new(),
            heads: HeadReader::default(),
            connected: address,
            address,
            guest: None,
            sent: 0,
            given_up: false,
        }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether a send to it did not end in time: part of what was said may be missing, and nothing may follow.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Finds out whose request `head` is, where a balancer's word on that counts.
    pub(crate) fn locate(&mut self, view: &View, head: &RequestHead) {
        let balancers = &view.snapshot.config.listen.forwarded_for_from;
        self.address = if balancers.is_empty() || !arrive::contains(balancers, self.connected) {
            self.connected
        } else {
            let head = &self.input[..head.head_bytes];
            source::forwarded_client(head, self.connected, |address| arrive::contains(balancers, address))
        };
    }

    /// Whose requests over HTTP these are.
    pub(crate) fn peer(&self) -> Peer {
        Peer { address: self.address, over: Over::Http }
    }

    /// The next request's head; its bytes stay in [`Client::head_bytes`] until the body is taken.
    pub(crate) async fn head(&mut self, shard: &Shard, patience: Patience) -> Result<RequestHead, End> {
        if self.input == b"\r\n" {
            // A line end too many behind the last body, which old clients send: no request has begun.
            self.input.clear();
        }
        if self.input.is_empty() {
            self.wait(shard, patience).await?;
        }
        let deadline = shard.clock.now() + patience.head;
        loop {
            if let Some(head) = self.heads.read(&self.input).map_err(End::Head)? {
                return Ok(head);
            }
            match self.read(deadline).await? {
                0 if self.input.iter().all(|byte| b"\r\n".contains(byte)) => return Err(End::Idle),
                0 => return Err(End::Lost),
                _ => {}
            }
        }
    }

    /// The place that the present head, `head`, asks for. Where it repeats the one before, so does its place.
    pub(crate) fn place(&mut self, view: &View, head: &RequestHead) -> Place {
        if let Some(place) = self.heads.note().and_then(|known| known.place(view)) {
            return place;
        }
        let place = place::find(view, head, &self.input);
        if let Some(known) = KnownRoute::of(view, &place) {
            self.heads.set_note(known);
        }
        place
    }

    /// Lets in whoever the present head, `head`, is from, for calls to `route`; nobody in particular where the node has no
    /// tenants.
    #[inline]
    pub(crate) fn admit(
        &mut self,
        shard: &Shard,
        view: &View,
        head: &RequestHead,
        route: &Route,
    ) -> Result<Option<Rc<Account>>, Denied> {
        if shard.tenants.is_open() { Ok(None) } else { self.admit_guest(shard, view, head, route).map(Some) }
    }

    fn admit_guest(
        &mut self,
        shard: &Shard,
        view: &View,
        head: &RequestHead,
        route: &Route,
    ) -> Result<Rc<Account>, Denied> {
        let bytes = &*self.input;
        let places = KeyPlaces {
            path: path_key(head.path.of(bytes)),
            query: head.query.map(|query| query.of(bytes)),
            key_field: head.header(bytes, Known::LivechainKey),
            authorization: head.header(bytes, Known::Authorization),
        };
        let visit = Visit {
            chain: &route.chain.entry.name,
            region: &view.snapshot.config.node.region,
            origin: head.header(bytes, Known::Origin),
            client: self.address,
        };
        shard.tenants.admit(&mut self.guest, &places, &visit, &shard.clock)
    }

    /// The bytes that the spans of the present head point into.
    pub(crate) fn head_bytes(&self) -> &[u8] {
        &self.input
    }

    /// The request whose head was read last, with its body of at most `bytes_max`.
    pub(crate) async fn message(
        &mut self,
        shard: &Shard,
        head: RequestHead,
        patience: Patience,
        bytes_max: usize,
    ) -> Result<Message, End> {
        let framing = head.framing;
        if let Framing::Length(length) = framing
            && length > bytes_max as u64
        {
            return Err(End::BodyTooLarge);
        }
        if head.expect_continue && framing != Framing::None && self.input.len() == head.head_bytes {
            on_heap(|| self.send(shard, CONTINUE.to_vec(), patience)).await?;
        }
        match framing {
            Framing::None => Ok(self.split(shard, head, 0)),
            Framing::Length(length) => {
                let length = usize::try_from(length).map_err(|_| End::BodyTooLarge)?;
                self.read_length(shard, &head, length, patience).await?;
                Ok(self.split(shard, head, length))
            }
            Framing::Chunked => on_heap(|| self.chunked(shard, head, patience, bytes_max)).await,
        }
    }

    /// Sends all of `buffer` and recycles it. The time allowed grows with the size, a window for each piece.
    pub(crate) fn send(
        &mut self,
        shard: &Shard,
        buffer: Vec<u8>,
        patience: Patience,
    ) -> impl Future<Output = Result<(), End>> {
        let windows = u32::try_from(1 + buffer.len() / limits::READ_BYTES_MAX).unwrap_or(u32::MAX);
        let deadline = shard.clock.now() + patience.body.saturating_mul(windows);
        shard.counters.bytes_out.add(buffer.len() as u64);
        self.sent += buffer.len() as u64;
        // What it was made from is not held: every connection's task has room for this future, idle or not.
        async move {
            let sending = async {
                if buffer.len() <= limits::ANSWER_UNAWAITED_BYTES_MAX {
                    return self.transport.send(buffer).await;
                }
                let (result, buffer) = self.transport.write_all(buffer).await;
                result.map(|()| Some(buffer))
            };
            let sent = self.timer.limit(deadline, sending).await;
            self.given_up |= sent.is_err();
            if let Some(buffer) = sent?? {
                shard.buffers.give(buffer);
            }
            Ok(())
        }
    }

    /// Waits until the client has what was sent, before the connection is let go.
    pub(crate) async fn flush(&mut self, shard: &Shard, patience: Patience) {
        if !self.transport.is_sent() && !self.given_up {
            let deadline = shard.clock.now() + patience.body;
            let sent = self.timer.limit(deadline, self.transport.send(Vec::new())).await;
            self.given_up |= sent.is_err();
        }
        if !self.given_up && self.transport.has_goodbye() {
            let goodbye = on_heap(|| self.transport.say_goodbye());
            let _ = self.timer.limit(shard.clock.now() + limits::LINGER, goodbye).await;
        }
    }

    /// Ends the connection so that the client reads the last answer: says so, then lets pass what still comes, for a
    /// while. Closing at once with bytes unread would make the kernel reset the connection and lose the answer.
    pub(crate) async fn finish(&mut self, shard: &Shard) {
        if self.given_up {
            return;
        }
        let deadline = shard.clock.now() + limits::LINGER;
        let drain = async {
            self.transport.finish().await;
            let mut bytes = 0;
            while bytes < limits::LINGER_BYTES_MAX {
                self.input.clear();
                match self.transport.read_into(&mut self.input, limits::READ_BYTES_MAX).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => bytes += count,
                }
            }
        };
        let _ = self.timer.limit(deadline, drain).await;
    }

    /// The socket and its timer, once it speaks another protocol.
    pub(crate) fn socket(&mut self) -> (&mut Transport, &Timer) {
        (&mut self.transport, &self.timer)
    }

    /// What has come and was not taken.
    pub(crate) fn input(&mut self) -> &mut [u8] {
        &mut self.input
    }

    /// The first `bytes` of it are taken.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.input.drain(..bytes);
    }

    /// Gives back what a socket that waits does not need: the last head, and room that nothing is in.
    pub(crate) fn rest(&mut self, shard: &Shard) {
        self.heads = HeadReader::default();
        if self.input.is_empty() {
            shard.buffers.give(std::mem::take(&mut self.input));
        } else if self.input.len() <= limits::BUFFER_BYTES {
            // The beginning of a message behind a large one.
            self.input.shrink_to(limits::BUFFER_BYTES);
        }
    }

    /// Reads what has come, 0 at the end.
    pub(crate) async fn read_on(&mut self, shard: &Shard) -> Result<usize, End> {
        if self.input.capacity() == 0 {
            self.input = shard.buffers.take();
        }
        Ok(self.transport.read_into(&mut self.input, limits::READ_BYTES_MAX).await?)
    }

    async fn wait(&mut self, shard: &Shard, patience: Patience) -> Result<(), End> {
        shard.buffers.give(std::mem::take(&mut self.input));
        let began = shard.clock.now();
        let mut deadline = began + patience.idle;
        if !self.transport.is_sent() {
            // Until its last answer is with it, a client is not idle but slow.
            deadline = deadline.min(began + patience.body);
        }
        let idle = shard.idle.enter(&self.timer);
        while self.timer.limit(deadline, self.transport.readable()).await.is_err() {
            // Cut short by a node that closes, it has not been waited for.
            let waited = shard.clock.now() >= deadline;
            if !(waited && self.transport.is_sent() && deadline < began + patience.idle) {
                self.given_up = waited;
                return Err(End::Idle);
            }
            deadline = began + patience.idle;
        }
        drop(idle);
        self.input = shard.buffers.take();
        Ok(())
    }

    async fn read(&mut self, deadline: Instant) -> Result<usize, End> {
        let read = self.transport.read_into(&mut self.input, limits::READ_BYTES_MAX);
        Ok(self.timer.limit(deadline, read).await??)
    }

    async fn read_length(
        &mut self,
        shard: &Shard,
        head: &RequestHead,
        length: usize,
        patience: Patience,
    ) -> Result<(), End> {
        let end = head.head_bytes + length;
        let mut window = Window::new(shard.clock.now(), patience.body);
        while self.input.len() < end {
            self.read_more(shard, &mut window).await?;
        }
        Ok(())
    }

    /// More of a body, which begins its window of time anew.
    async fn read_more(&mut self, shard: &Shard, window: &mut Window) -> Result<(), End> {
        if self.read(window.deadline).await? == 0 {
            return Err(End::Lost);
        }
        window.progress(shard.clock.now());
        Ok(())
    }

    async fn chunked(
        &mut self,
        shard: &Shard,
        head: RequestHead,
        patience: Patience,
        bytes_max: usize,
    ) -> Result<Message, End> {
        let mut decoder = Decoder::new(bytes_max as u64);
        let mut unframed = shard.buffers.take();
        let mut window = Window::new(shard.clock.now(), patience.body);
        loop {
            let progress = decoder.decode(&self.input[head.head_bytes..], &mut unframed)?;
            let end = head.head_bytes + progress.consumed;
            if progress.done {
                let mut message = self.split(shard, head, progress.consumed);
                message.unframed = Some(unframed);
                return Ok(message);
            }
            self.input.drain(head.head_bytes..end);
            self.read_more(shard, &mut window).await?;
        }
    }

    /// Moves the head and `body_bytes` behind it out of the input.
    fn split(&mut self, shard: &Shard, head: RequestHead, body_bytes: usize) -> Message {
        let end = head.head_bytes + body_bytes;
        let mut rest = Vec::new();
        if self.input.len() > end {
            rest = shard.buffers.take();
            rest.extend_from_slice(&self.input[end..]);
            self.input.truncate(end);
        }
        let buffer = std::mem::replace(&mut self.input, rest);
        shard.counters.bytes_in.add(buffer.len() as u64);
        Message { body: head.head_bytes..end, buffer, unframed: None }
    }
}

/// Progress within a time: any byte begins the window anew, but all of them together have an end.
struct Window {
    deadline: Instant,
    last: Instant,
    length: Duration,
}

impl Window {
    fn new(now: Instant, length: Duration) -> Self {
        Self { deadline: now + length, last: now + length * limits::BODY_WINDOWS_MAX, length }
    }

    fn progress(&mut self, now: Instant) {
        self.deadline = (now + self.length).min(self.last);
    }
}
