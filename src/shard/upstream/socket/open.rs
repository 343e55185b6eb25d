//! Opening a connection: TCP, TLS, the handshake.

use std::rc::Rc;
use std::time::Duration;

use super::sockets::Sockets;
use crate::http;
use crate::limits;
use crate::shard::Shard;
use crate::shard::timers::Timer;
use crate::shard::transport::Transport;
use crate::shard::upstream::connect::{self, ConnectError};
use crate::time::Instant;
use crate::websocket::deflate::Agreed;
use crate::websocket::{AnswerError, NONCE_BYTES};

/// A connection that speaks WebSocket.
pub(super) struct Opened {
    pub(super) transport: Transport,
    pub(super) timer: Timer,
    /// What came behind the handshake.
    pub(super) input: Vec<u8>,
    pub(super) deflate: Option<Agreed>,
}

/// Why there is none. Nothing but a handshake was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Connect(#[from] Rc<ConnectError>),
    /// As an answer to a call with this status would be understood.
    #[error("its handshake was answered with status {status}")]
    Refused { status: u16, retry_after: Option<Duration> },
    #[error(transparent)]
    Answer(AnswerError),
    #[error("the connection was lost in the handshake")]
    Lost,
    #[error("the handshake took too long")]
    Late,
    /// It was not tried: too early after a failure, or the provider's gate is shut.
    #[error("too early to connect again")]
    BackingOff,
    /// It was not tried: there are as many as there may be, all of them full.
    #[error("every connection is full")]
    Full,
    /// It was not tried: the provider is gone, or this node closes.
    #[error("it is not used any more")]
    Retired,
}

impl OpenError {
    /// Whether the provider has been asked at all.
    pub(crate) const fn was_tried(&self) -> bool {
        !matches!(self, Self::BackingOff | Self::Full | Self::Retired)
    }
}

/// Opens a connection to where `sockets` are.
pub(super) async fn open(shard: &Shard, sockets: &Sockets) -> Result<Opened, OpenError> {
    let addresses = sockets.addresses();
    let timer = shard.timers.timer();
    let (tls, limits) = (sockets.tls(), sockets.settings().connect);
    let times = (shard.clock.now(), Instant::NEVER);
    let first = sockets.address_first();
    let (mut transport, position) =
        connect::open(&shard.ring, &timer, &addresses, first, tls.as_deref(), limits, times).await.map_err(Rc::new)?;
    sockets.works_at(position);
    // As long again as connecting may take: what answers is the same machine.
    let deadline = shard.clock.now() + limits.timeout;
    let mut input = shard.buffers.take();
    let agreed = timer.limit(deadline, shake_hands(shard, sockets, &mut transport, &mut input)).await;
    let deflate = agreed.unwrap_or(Err(OpenError::Late))?;
    Ok(Opened { transport, timer, input, deflate })
}

async fn shake_hands(
    shard: &Shard,
    sockets: &Sockets,
    transport: &mut Transport,
    input: &mut Vec<u8>,
) -> Result<Option<Agreed>, OpenError> {
    let template = sockets.template();
    let nonce: [u8; NONCE_BYTES] = random();
    let mut request = shard.buffers.take();
    template.write(&mut request, &nonce);
    if let Some(request) = transport.send(request).await.map_err(|_| OpenError::Lost)? {
        shard.buffers.give(request);
    }
    loop {
        // A head is bounded, and so is the number of interim ones before it.
        match template.read_answer(input, &nonce) {
            Ok(Some(established)) => {
                input.drain(..established.head_bytes);
                return Ok(established.deflate);
            }
            Ok(None) => {}
            Err(AnswerError::Status { head, at }) => {
                let word = head.retry_after.map(|value| value.of(&input[at..]));
                let retry_after = word.and_then(|value| http::retry_after(value, shard.clock.unix_seconds()));
                return Err(OpenError::Refused { status: head.status, retry_after });
            }
            Err(error) => return Err(OpenError::Answer(error)),
        }
        match transport.read_into(input, limits::FIRST_READ_BYTES_MAX).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(OpenError::Lost),
        }
    }
}

/// Bytes that nobody guesses.
pub(super) fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    // It fails where the kernel has no random source, in which case TLS does not work either, and a guessable mask harms
    // nobody who could not write to the wire anyway.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}
