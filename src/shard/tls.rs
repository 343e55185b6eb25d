//! TLS towards clients: rustls' connection over the ring's stream.
//!
//! rustls is fed straight from the buffers that the kernel filled, and what it encrypts goes out of the buffer that the plain
//! text came in: one copy each way beside the cipher, and one send an answer. Between requests a connection keeps rustls'
//! state and 4 KiB in which rustls gathers records; all else is given back.
//!
//! - **Waiting is for plain text.** [`Secure::readable`] decrypts until there is something to read or the end: a part of a record
//!   wakes nobody, so that whoever waits keeps his deadlines.
//! - **An end is said.** A peer that vanishes without `close_notify` is an error to the reader, never an end of the stream.
//! - **Memory is bounded**: one record decrypted ahead, [`limits::TLS_SEND_BYTES_MAX`] encrypted at once.
//! - Session tickets that follow a handshake leave with the first answer, where the request came with the handshake's
//!   last flight, as it mostly does.
//!
//! No early data (TLS 1.3 0-RTT): it can be replayed, and calls are not all repeatable.

use std::future::poll_fn;
use std::io::{self, BufRead, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::io::{AsyncWrite, AsyncWriteExt};
use rustls::{Error, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};

use super::ring::Stream;
use crate::limits;
use crate::link::HandshakeEnd;

/// A client's connection whose handshake is done.
pub(crate) struct Secure {
    stream: Stream,
    tls: ServerConnection,
    /// Decrypted, and not yet read.
    plain: usize,
    end: Option<End>,
    /// rustls may hold more room than an idle connection should.
    roomy: bool,
    /// Our `close_notify` is said.
    said_goodbye: bool,
}

/// Nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer has said so.
    Said,
    /// It vanished.
    Cut,
    /// The connection failed.
    Failed(io::ErrorKind),
    /// What came is no TLS that goes on.
    Broken,
}

impl End {
    fn result(self) -> io::Result<()> {
        match self {
            Self::Said => Ok(()),
            Self::Cut => Err(io::ErrorKind::UnexpectedEof.into()),
            Self::Failed(kind) => Err(kind.into()),
            Self::Broken => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// A handshake that failed: why, and the connection, on which the alert is under way.
pub(crate) struct Failed {
    pub(crate) end: HandshakeEnd,
    pub(crate) stream: Option<Stream>,
}

impl Secure {
    /// Shakes hands. Whoever waits for it limits its time.
    pub(crate) async fn accept(stream: Stream, config: Arc<ServerConfig>) -> Result<Self, Failed> {
        let Ok(mut tls) = ServerConnection::new(config) else {
            return Err(Failed { end: HandshakeEnd::Other, stream: Some(stream) });
        };
        // It is bounded by how much is handed in.
        tls.set_buffer_limit(None);
        let mut secure = Self { stream, tls, plain: 0, end: None, roomy: true, said_goodbye: false };
        match secure.shake_hands().await {
            Ok(()) => Ok(secure),
            Err(end) => {
                let sent = secure.send_records(Vec::new()).await;
                Err(Failed { end, stream: sent.is_ok().then_some(secure.stream) })
            }
        }
    }

    async fn shake_hands(&mut self) -> Result<(), HandshakeEnd> {
        loop {
            let tickets = !self.tls.is_handshaking() && self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
            if self.tls.wants_write() && !tickets {
                self.send_records(Vec::new()).await.map_err(|_| HandshakeEnd::Lost)?;
            }
            if !self.tls.is_handshaking() {
                return Ok(());
            }
            let fed = poll_fn(|cx| self.poll_feed(cx)).await;
            match fed {
                Ok(()) => {}
                Err(Feeding::Tls(error)) => return Err(meaning(&error)),
                Err(Feeding::Io(_)) => return Err(HandshakeEnd::Lost),
            }
            if self.end.is_some() && self.tls.is_handshaking() {
                return Err(HandshakeEnd::Lost);
            }
        }
    }

    /// How the handshake ended, well as it did.
    pub(crate) fn handshake(&self) -> HandshakeEnd {
        let resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
        match (self.tls.protocol_version(), resumed) {
            (Some(ProtocolVersion::TLSv1_2), false) => HandshakeEnd::Tls12,
            (Some(ProtocolVersion::TLSv1_2), true) => HandshakeEnd::Tls12Resumed,
            (_, false) => HandshakeEnd::Tls13,
            (_, true) => HandshakeEnd::Tls13Resumed,
        }
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Appends what has come, at most `max` bytes; 0 is the end, where it was said.
    pub(crate) async fn read_into(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        poll_fn(|cx| self.poll_plain(cx)).await?;
        let wanted = max.min(self.plain);
        let mut reader = self.tls.reader();
        let mut taken = 0;
        // Ends: each piece has a byte at least.
        while taken < wanted {
            let piece = reader.fill_buf()?;
            let count = piece.len().min(wanted - taken);
            if count == 0 {
                break;
            }
            buffer.extend_from_slice(&piece[..count]);
            reader.consume(count);
            taken += count;
        }
        self.plain -= taken;
        Ok(taken)
    }

    /// Waits until there is something to read, or an end.
    pub(crate) async fn readable(&mut self) {
        // An error stays for the next read.
        let _ = poll_fn(|cx| self.poll_plain(cx)).await;
    }

    /// Ready when plain text can be read, or none will come.
    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.plain > 0 {
                return Poll::Ready(Ok(()));
            }
            if let Some(end) = self.end {
                return Poll::Ready(end.result());
            }
            match self.poll_feed(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(Feeding::Io(error))) => self.end = Some(End::Failed(error.kind())),
                Poll::Ready(Err(Feeding::Tls(_))) => {
                    self.end = Some(End::Broken);
                    // The alert that says why, as far as there is room.
                    self.leave(cx);
                }
                Poll::Pending => {
                    self.leave(cx);
                    self.rest();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Gives rustls what has come, until there is a record's plain text.
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Feeding>> {
        let (tls, plain, roomy) = (&mut self.tls, &mut self.plain, &mut self.roomy);
        let fed = self.stream.poll_read_with(cx, |mut bytes| {
            let before = bytes.len();
            *roomy |= before > limits::BUFFER_BYTES;
            let fed = feed(tls, plain, &mut bytes);
            (before - bytes.len(), fed)
        });
        match fed {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(Feeding::Io(error))),
            Poll::Ready(Ok(Err(error))) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(Ok(end))) => {
                self.end = end;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Gives back what a large record took: rustls does so when it is asked to read with nothing left over, and finds
    /// nothing here.
    fn rest(&mut self) {
        if std::mem::take(&mut self.roomy) {
            let _ = self.tls.read_tls(&mut Nothing);
        }
    }

    /// Hands over what rustls wants to send by itself: tickets, alerts. What finds no room leaves with the next answer.
    fn leave(&mut self, cx: &mut Context<'_>) {
        while self.tls.wants_write() {
            let mut out = Leaving { stream: &mut self.stream, cx };
            if !matches!(self.tls.write_tls(&mut out), Ok(1..)) {
                return;
            }
        }
    }

    /// Sends all of `buffer`, and waits only for what was sent before.
    pub(crate) async fn send(&mut self, mut buffer: Vec<u8>) -> io::Result<()> {
        self.encrypt(&buffer)?;
        buffer.clear();
        self.send_records(buffer).await
    }

    /// Sends all of `buffer`, and waits until the kernel has it. What is given back has room and no more.
    pub(crate) async fn write_all(&mut self, mut buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        if buffer.len() <= limits::TLS_SEND_BYTES_MAX {
            let encrypted = self.encrypt(&buffer);
            buffer.clear();
            return match encrypted.and_then(|()| self.take_records(&mut buffer)) {
                Ok(()) => self.stream.write_all_owned(buffer).await,
                Err(error) => (Err(error), buffer),
            };
        }
        let mut records = Vec::new();
        for piece in buffer.chunks(limits::TLS_SEND_BYTES_MAX) {
            records.clear();
            let encrypted = self.encrypt(piece).and_then(|()| self.take_records(&mut records));
            if let Err(error) = encrypted {
                return (Err(error), buffer);
            }
            let sent;
            (sent, records) = self.stream.write_all_owned(records).await;
            if sent.is_err() {
                return (sent, buffer);
            }
        }
        (Ok(()), buffer)
    }

    fn encrypt(&mut self, plain: &[u8]) -> io::Result<()> {
        if plain.is_empty() { Ok(()) } else { self.tls.writer().write_all(plain) }
    }

    /// Moves all that rustls wants to send behind `out`.
    fn take_records(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(out)?;
        }
        Ok(())
    }

    async fn send_records(&mut self, mut out: Vec<u8>) -> io::Result<()> {
        self.take_records(&mut out)?;
        self.stream.send(out).await
    }

    /// Says that nothing more is sent, and waits until that has left.
    pub(crate) async fn say_goodbye(&mut self) -> io::Result<()> {
        let broken = matches!(self.end, Some(End::Failed(_) | End::Broken));
        if std::mem::replace(&mut self.said_goodbye, true) || broken {
            return Ok(());
        }
        self.tls.send_close_notify();
        self.send_records(Vec::new()).await?;
        self.stream.flush().await
    }

    /// The same, and ends the connection's own sending direction.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.say_goodbye().await?;
        self.stream.close().await
    }
}

/// What went wrong while rustls was fed.
enum Feeding {
    Io(io::Error),
    Tls(Error),
}

/// Feeds `bytes` to rustls, none for the connection's end, until there is plain text enough; what is left was not taken.
fn feed(tls: &mut ServerConnection, plain: &mut usize, bytes: &mut &[u8]) -> Result<Option<End>, Feeding> {
    loop {
        let count = tls.read_tls(bytes).map_err(Feeding::Io)?;
        let state = tls.process_new_packets().map_err(Feeding::Tls)?;
        *plain = state.plaintext_bytes_to_read();
        if state.peer_has_closed() {
            return Ok(Some(End::Said));
        }
        if count == 0 {
            return Ok(Some(End::Cut));
        }
        if bytes.is_empty() || *plain >= limits::TLS_PLAIN_BYTES_MAX {
            return Ok(None);
        }
    }
}

/// What a failed handshake is counted as.
fn meaning(error: &Error) -> HandshakeEnd {
    match error {
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerSentOversizedRecord
        | Error::PeerMisbehaved(_)
        | Error::DecryptError => HandshakeEnd::Malformed,
        Error::PeerIncompatible(_) => HandshakeEnd::Incompatible,
        Error::NoApplicationProtocol => HandshakeEnd::Protocol,
        Error::NoCertificatesPresented | Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => {
            HandshakeEnd::Certificate
        }
        Error::AlertReceived(_) => HandshakeEnd::Refused,
        _ => HandshakeEnd::Other,
    }
}

/// A connection on which nothing has come.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// The stream as rustls writes to it.
struct Leaving<'a, 'b> {
    stream: &'a mut Stream,
    cx: &'a mut Context<'b>,
}

impl Write for Leaving<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.stream).poll_write(self.cx, bytes) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
