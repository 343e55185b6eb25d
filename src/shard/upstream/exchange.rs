//! One call to one provider over one connection: the request out, the answer in.
//!
//! An answer of up to [`limits::WHOLE_BYTES_MAX`] is read whole before anyone hears of it, so that a stall, a cut or a
//! lie can still go to another provider. A larger one is handed on as a stream behind what has been read of it.
//!
//! A connection out of the pool that ends before any byte of an answer was most likely closed by the provider between
//! calls. That is told apart ([`ExchangeError::Stale`]); whether to ask once more is the attempt's to say.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::body::{BodyError, BodyReader};
use super::connect::{self, ConnectError};
use super::pool::{Checkout, Connection, Full, Permit};
use super::socket::exchange::Which;
use super::socket::{self, OpenError};
use super::{InFlight, Upstream};
use crate::http::{self, ResponseHead};
use crate::jsonrpc::{self, IdMatch};
use crate::limits;
use crate::shard::report::Pending;
use crate::shard::timers::Elapsed;
use crate::shard::{Shard, on_heap};
use crate::time::Instant;

/// A provider's answer, framing taken off.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) content: Content,
}

/// What it says.
pub(crate) enum Content {
    /// All of it: `buffer[range]`.
    Whole { buffer: Vec<u8>, range: Range<usize> },
    /// The first part, and the rest as it comes.
    Streamed(Box<Streamed>),
}

/// An answer too large to be read whole, or one whose rest is still to come.
pub(crate) struct Streamed {
    pub(crate) start: Vec<u8>,
    /// Bytes in all, when the provider told and they are not compressed.
    pub(crate) length: Option<u64>,
    reader: BodyReader,
    connection: Option<Connection>,
    wire: Vec<u8>,
    keep_alive: bool,
    /// The last byte of content that is no white space: of a body without a length it alone tells an end from a cut.
    last: u8,
    unbounded: bool,
    /// What is to be said of the provider once the end is known.
    pub(crate) pending: Option<Pending>,
    /// Counts it until then.
    pub(crate) in_flight: Option<InFlight>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// Not sent: every connection is busy and the queue is full.
    #[error("no connection is free")]
    Full,
    /// Not sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Not sent: the time that was left, `had`, was too short to connect in.
    #[error("no connection in what time was left")]
    Unconnected { had: Duration },
    /// Not sent: no WebSocket came about.
    #[error(transparent)]
    Handshake(OpenError),
    /// Sent, or perhaps sent.
    #[error("the connection was lost: {0}")]
    Lost(std::io::Error),
    #[error("the connection was closed before an answer")]
    Closed,
    /// One of these two, of a connection out of the pool. `sent`: whether a byte of the call may have left.
    #[error("an unused connection had been closed")]
    Stale { sent: bool },
    /// `had`: how long the provider was given, the wait for a connection not counted.
    #[error("no answer in time")]
    Late { had: Duration },
    #[error("the answer's head is malformed")]
    Head,
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl ExchangeError {
    /// Whether the provider may have seen the call.
    pub(crate) fn sent(&self) -> bool {
        !matches!(
            self,
            Self::Full | Self::Connect(_) | Self::Unconnected { .. } | Self::Handshake(_) | Self::Stale { sent: false }
        )
    }

    /// The same, of a provider that was given so much time; `enough` is what connecting may take in all.
    fn given(self, had: Duration, enough: Duration) -> Self {
        match self {
            Self::Late { .. } => Self::Late { had },
            Self::Connect(ConnectError::Late) if had < enough => Self::Unconnected { had },
            other => other,
        }
    }
}

impl From<Full> for ExchangeError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl From<Elapsed> for ExchangeError {
    /// How long it was given is known further out.
    fn from(_: Elapsed) -> Self {
        Self::Late { had: Duration::ZERO }
    }
}

/// Sends `body` to `upstream` and reads its answer, until `deadline`.
pub(crate) async fn exchange(
    shard: &Shard,
    upstream: &Rc<Upstream>,
    body: &[u8],
    deadline: Instant,
) -> Result<Reply, ExchangeError> {
    if upstream.calls_over_socket() {
        return on_heap(|| socket::exchange::exchange(shard, upstream, body, Which::Any, deadline)).await;
    }
    let checkout = checkout(shard, upstream, deadline).await?;
    let asked = shard.clock.now();
    let reply = match checkout {
        Checkout::Open(permit) => on_heap(|| fresh(shard, upstream, permit, body, deadline)).await,
        Checkout::Reused(connection) => pooled(shard, upstream, connection, body, deadline).await,
    };
    reply.map_err(|error| error.given(deadline.since(asked), upstream.connect_limits.get().timeout))
}

/// The same on a connection that nobody has used, so that it cannot be [stale](ExchangeError::Stale).
pub(crate) async fn exchange_fresh(
    shard: &Shard,
    upstream: &Rc<Upstream>,
    body: &[u8],
    deadline: Instant,
) -> Result<Reply, ExchangeError> {
    if upstream.calls_over_socket() {
        return on_heap(|| socket::exchange::exchange(shard, upstream, body, Which::Fresh, deadline)).await;
    }
    let permit = match upstream.pool.permit_for_new() {
        Some(permit) => permit,
        None => shard.timers.timer().limit(deadline, upstream.pool.wait_for_new()).await.unwrap_or(Err(Full))?,
    };
    let asked = shard.clock.now();
    let reply = fresh(shard, upstream, permit, body, deadline).await;
    reply.map_err(|error| error.given(deadline.since(asked), upstream.connect_limits.get().timeout))
}

async fn checkout(shard: &Shard, upstream: &Upstream, deadline: Instant) -> Result<Checkout, ExchangeError> {
    // The common case waits for nothing and needs no timer.
    if let Some(checkout) = upstream.pool.try_checkout() {
        return Ok(checkout);
    }
    // Time that ran out here was spent in our own queue: it says nothing about the provider.
    let timer = shard.timers.timer();
    let waited = on_heap(|| timer.limit(deadline, upstream.pool.wait())).await;
    Ok(waited.unwrap_or(Err(Full))?)
}

async fn fresh(
    shard: &Shard,
    upstream: &Rc<Upstream>,
    permit: Permit,
    body: &[u8],
    deadline: Instant,
) -> Result<Reply, ExchangeError> {
    let mut connection = open(shard, upstream, permit, deadline).await?;
    let (head, wire) = ask(shard, upstream, &mut connection, body, deadline).await?;
    answer(shard, connection, &head, wire, deadline).await
}

async fn pooled(
    shard: &Shard,
    upstream: &Upstream,
    mut connection: Connection,
    body: &[u8],
    deadline: Instant,
) -> Result<Reply, ExchangeError> {
    let before = connection.sent;
    let (head, wire) = match ask(shard, upstream, &mut connection, body, deadline).await {
        Err(ExchangeError::Closed | ExchangeError::Lost(_)) => {
            return Err(ExchangeError::Stale { sent: connection.transport.may_have_sent_beyond(before) });
        }
        asked => asked?,
    };
    answer(shard, connection, &head, wire, deadline).await
}

/// Opens a connection to `upstream`.
pub(crate) async fn open(
    shard: &Shard,
    upstream: &Upstream,
    permit: Permit,
    deadline: Instant,
) -> Result<Connection, ConnectError> {
    let addresses = upstream.addresses();
    let timer = shard.timers.timer();
    let tls = upstream.tls.borrow().clone();
    let (transport, position) = connect::open(
        &shard.ring,
        &timer,
        &addresses,
        upstream.address_first.get(),
        tls.as_deref(),
        upstream.connect_limits.get(),
        (shard.clock.now(), deadline),
    )
    .await?;
    upstream.address_first.set(position);
    Ok(Connection::new(transport, timer, permit))
}

/// Opens a connection ahead of need.
pub(crate) async fn warm(shard: &Shard, upstream: &Rc<Upstream>) {
    if upstream.calls_over_socket() {
        let _ = socket::exchange::warm(shard, upstream).await;
        return upstream.warm_from.set(shard.clock.now() + limits::WARM_PAUSE);
    }
    let opened = match upstream.pool.permit() {
        Some(permit) => open(shard, upstream, permit, Instant::NEVER).await.ok(),
        None => None,
    };
    let now = shard.clock.now();
    match opened {
        Some(connection) => {
            upstream.pool.give_back_new(connection, now);
            // One that is not kept is not opened again at once.
            let next = if upstream.pool.cold() > 0 { now } else { now + limits::WARM_PAUSE };
            upstream.warm_from.set(next);
        }
        // A failure is the next call's to tell: nobody waits for this one.
        None => upstream.warm_from.set(now + limits::WARM_PAUSE),
    }
}

/// Sends the request and reads the answer's head, and what came with it.
async fn ask(
    shard: &Shard,
    upstream: &Upstream,
    connection: &mut Connection,
    body: &[u8],
    deadline: Instant,
) -> Result<(ResponseHead, Vec<u8>), ExchangeError> {
    let mut request = shard.buffers.take();
    upstream.request.write(&mut request, body.len() as u64);
    request.extend_from_slice(body);
    connection.sent += request.len() as u64;
    let sent = limit(connection, deadline, async |transport| transport.send(request).await).await?;
    if let Some(request) = sent.map_err(ExchangeError::Lost)? {
        shard.buffers.give(request);
    }
    let mut wire = shard.buffers.take();
    let head = read_head(upstream, connection, &mut wire, deadline).await?;
    Ok((head, wire))
}

async fn answer(
    shard: &Shard,
    connection: Connection,
    head: &ResponseHead,
    wire: Vec<u8>,
    deadline: Instant,
) -> Result<Reply, ExchangeError> {
    let retry_after = retry_after(shard, head, &wire);
    let content = match whole_length(head) {
        Some(length) => read_whole(shard, connection, head, wire, length, deadline).await?,
        None => on_heap(|| read_content(shard, connection, head, wire, deadline)).await?,
    };
    Ok(Reply { status: head.status, retry_after, content })
}

/// The length of a body that is read whole and stays where it was read: the usual one.
fn whole_length(head: &ResponseHead) -> Option<usize> {
    match (head.framing, head.encoding) {
        (http::ResponseFraming::Length(length), http::ContentEncoding::Identity) => {
            usize::try_from(length).ok().filter(|&length| length <= limits::WHOLE_BYTES_MAX)
        }
        _ => None,
    }
}

async fn read_whole(
    shard: &Shard,
    mut connection: Connection,
    head: &ResponseHead,
    mut wire: Vec<u8>,
    length: usize,
    deadline: Instant,
) -> Result<Content, ExchangeError> {
    let range = head.head_bytes..head.head_bytes + length;
    while wire.len() < range.end {
        read_more(&mut connection, &mut wire, deadline).await?;
    }
    finish(shard, connection, head.keep_alive && wire.len() == range.end);
    Ok(Content::Whole { buffer: wire, range })
}

/// Runs `work` on the connection's transport under the connection's own timer.
async fn limit<T>(
    connection: &mut Connection,
    deadline: Instant,
    work: impl AsyncFnOnce(&mut crate::shard::transport::Transport) -> T,
) -> Result<T, Elapsed> {
    let Connection { transport, timer, .. } = connection;
    timer.limit(deadline, work(transport)).await
}

async fn read_head(
    upstream: &Upstream,
    connection: &mut Connection,
    wire: &mut Vec<u8>,
    deadline: Instant,
) -> Result<ResponseHead, ExchangeError> {
    let mut interim = 0;
    loop {
        let read = upstream.heads.borrow_mut().read(wire);
        match read.map_err(|_| ExchangeError::Head)? {
            Some(head) if head.is_interim() && interim < limits::INTERIM_HEADS_MAX => {
                interim += 1;
                wire.drain(..head.head_bytes);
                continue;
            }
            Some(head) if head.is_interim() => return Err(ExchangeError::Head),
            Some(head) => return Ok(head),
            None => {}
        }
        let read = limit(connection, deadline, async |transport| {
            transport.read_into(wire, limits::FIRST_READ_BYTES_MAX).await
        });
        match read.await? {
            Ok(0) if wire.is_empty() && interim == 0 => return Err(ExchangeError::Closed),
            Ok(0) => return Err(BodyError::Cut.into()),
            Ok(_) => {}
            Err(error) if wire.is_empty() && interim == 0 => return Err(ExchangeError::Lost(error)),
            Err(error) => return Err(BodyError::Lost(error).into()),
        }
    }
}

fn retry_after(shard: &Shard, head: &ResponseHead, wire: &[u8]) -> Option<Duration> {
    let value = head.retry_after?.of(wire);
    http::retry_after(value, shard.clock.unix_seconds())
}

async fn read_content(
    shard: &Shard,
    mut connection: Connection,
    head: &ResponseHead,
    mut wire: Vec<u8>,
    deadline: Instant,
) -> Result<Content, ExchangeError> {
    let mut reader = BodyReader::new(head.framing, head.encoding)?;
    let length = reader.length();
    let mut content = shard.buffers.take();
    wire.drain(..head.head_bytes);
    while !reader.is_done() && content.len() <= limits::WHOLE_BYTES_MAX {
        limit_step(&mut reader, &mut connection, &mut wire, &mut content, deadline).await?;
    }
    if reader.is_done() && content.len() <= limits::WHOLE_BYTES_MAX {
        finish(shard, connection, head.keep_alive && wire.is_empty());
        shard.buffers.give(wire);
        let range = 0..content.len();
        return Ok(Content::Whole { buffer: content, range });
    }
    Ok(Content::Streamed(Box::new(Streamed {
        last: last_byte(&content).unwrap_or(0),
        unbounded: head.framing == http::ResponseFraming::UntilClose,
        pending: None,
        in_flight: None,
        start: content,
        length,
        reader,
        connection: Some(connection),
        wire,
        keep_alive: head.keep_alive,
    })))
}

async fn read_more(connection: &mut Connection, wire: &mut Vec<u8>, deadline: Instant) -> Result<(), ExchangeError> {
    let read = limit(connection, deadline, async |transport| transport.read_into(wire, limits::READ_BYTES_MAX).await);
    match read.await?.map_err(BodyError::Lost)? {
        0 => Err(BodyError::Cut.into()),
        _ => Ok(()),
    }
}

async fn limit_step(
    reader: &mut BodyReader,
    connection: &mut Connection,
    wire: &mut Vec<u8>,
    content: &mut Vec<u8>,
    deadline: Instant,
) -> Result<(), ExchangeError> {
    let Connection { transport, timer, .. } = connection;
    Ok(timer.limit(deadline, reader.step(transport, wire, content)).await??)
}

/// Gives a connection back whose answer ended where it should, and closes any other.
fn finish(shard: &Shard, connection: Connection, reusable: bool) {
    if reusable {
        connection.pool().give_back(connection, shard.clock.now());
    }
}

impl Streamed {
    /// Appends the next piece to `content`; false when all has come. Each wait for a byte lasts `patience` at most.
    pub(crate) async fn next(
        &mut self,
        shard: &Shard,
        content: &mut Vec<u8>,
        patience: Duration,
    ) -> Result<bool, ExchangeError> {
        let had = content.len();
        while content.len() == had && !self.reader.is_done() {
            let Some(connection) = &mut self.connection else { break };
            let deadline = shard.clock.now() + patience;
            let step = limit_step(&mut self.reader, connection, &mut self.wire, content, deadline).await;
            if let Err(error) = step {
                self.settle(shard, false);
                return Err(error);
            }
        }
        self.last = last_byte(&content[had..]).unwrap_or(self.last);
        if self.reader.is_done()
            && let Some(connection) = self.connection.take()
        {
            let cut = self.unbounded && self.last != b'}';
            self.settle(shard, !cut);
            if cut {
                return Err(BodyError::Cut.into());
            }
            finish(shard, connection, self.keep_alive && self.wire.is_empty());
        }
        Ok(content.len() > had)
    }

    /// Tells how the provider did, now that it is known.
    fn settle(&mut self, shard: &Shard, whole: bool) {
        if let Some(pending) = self.pending.take() {
            pending.settle(shard, whole);
        }
    }
}

fn last_byte(content: &[u8]) -> Option<u8> {
    content.iter().rev().find(|byte| !byte.is_ascii_whitespace()).copied()
}

/// Why an answer could not be held whole.
#[derive(Debug)]
pub(crate) enum Uncollected {
    /// It is more than there is room for.
    TooLarge,
    /// The rest of it did not come.
    Lost,
}

impl Streamed {
    /// Appends all of it to `out`, each piece paid for with `pay`, which says whether there is room.
    pub(crate) async fn collect(
        &mut self,
        shard: &Shard,
        out: &mut Vec<u8>,
        patience: Duration,
        mut pay: impl FnMut(usize) -> bool,
    ) -> Result<(), Uncollected> {
        let mut more = true;
        out.append(&mut self.start);
        let mut paid = 0;
        while more {
            if !pay(out.len() - paid) {
                return Err(Uncollected::TooLarge);
            }
            paid = out.len();
            more = self.next(shard, out, patience).await.map_err(|_| Uncollected::Lost)?;
        }
        Ok(())
    }

    /// Puts the client's id where the provider's differs. Both stand in what has been read.
    pub(crate) fn put_id(&mut self, matched: &IdMatch, id: &[u8]) {
        if *matched == IdMatch::Exact {
            return;
        }
        let mut start = Vec::with_capacity(self.start.len() + id.len());
        jsonrpc::write_reply(&mut start, &self.start, matched, Some(id));
        if let Some(length) = &mut self.length {
            *length = *length + start.len() as u64 - self.start.len() as u64;
        }
        self.start = start;
    }
}
