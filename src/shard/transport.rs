//! A connection's bytes, with or without TLS, under one set of verbs.
//!
//! `Tls` is towards providers, `Served` towards clients. Plain sockets keep the ring's own verbs (received bytes are appended where they are needed, a buffer that is sent is
//! owned until the kernel has read it); TLS goes through its own buffers.

use std::io;

use futures_rustls::client::TlsStream;
use futures_util::io::{AsyncReadExt, AsyncWriteExt};

use super::ring::Stream;
use super::tls::Secure;
use crate::limits;

#[allow(clippy::large_enum_variant)] // the TLS state is boxed; a plain stream is two words
pub(crate) enum Transport {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
    Served(Box<Secure>),
}

impl Transport {
    /// Appends what has come, at most `max` bytes; 0 is the end.
    pub(crate) async fn read_into(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read_into(buffer, max).await,
            Self::Tls(stream) => {
                let start = buffer.len();
                buffer.resize(start + max.min(limits::READ_BYTES_MAX), 0);
                let result = stream.read(&mut buffer[start..]).await;
                buffer.truncate(start + result.as_ref().map_or(0, |&count| count));
                result
            }
            Self::Served(secure) => secure.read_into(buffer, max).await,
        }
    }

    /// Sends all of `buffer` and gives it back, whatever happened; over TLS with nothing to be used in it.
    pub(crate) async fn write_all(&mut self, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        match self {
            Self::Plain(stream) => stream.write_all_owned(buffer).await,
            Self::Tls(stream) => {
                let mut result = stream.write_all(&buffer).await;
                if result.is_ok() {
                    result = stream.flush().await;
                }
                (result, buffer)
            }
            Self::Served(secure) => secure.write_all(buffer).await,
        }
    }

    /// Sends all of `buffer`, and waits only where it must; what is given back is not used any more.
    pub(crate) async fn send(&mut self, buffer: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Plain(stream) => stream.send(buffer).await.map(|()| None),
            Self::Served(secure) => secure.send(buffer).await.map(|()| None),
            Self::Tls(_) => {
                let (result, buffer) = self.write_all(buffer).await;
                result.map(|()| Some(buffer))
            }
        }
    }

    /// Whether nothing that was sent still waits here for the kernel to take it.
    pub(crate) fn is_sent(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_sent(),
            Self::Tls(stream) => stream.get_ref().0.is_sent(),
            Self::Served(secure) => secure.stream().is_sent(),
        }
    }

    /// Whether more than the first `before` bytes that were written here may have left for the other side.
    pub(crate) fn may_have_sent_beyond(&self, before: u64) -> bool {
        match self {
            Self::Plain(stream) => !stream.is_sent() || stream.progress().1 > before,
            // Records are longer than what is written in them: how far they got is not known.
            Self::Tls(_) | Self::Served(_) => true,
        }
    }

    /// Whether an unused connection is still open and silent. Bytes that nobody asked for are as bad as an end: read as
    /// the next call's answer, they would shift every answer by one. `reused`: it has answered a call.
    pub(crate) fn is_idle_and_healthy(&self, reused: bool) -> bool {
        match self {
            Self::Plain(stream) => stream.is_idle_and_healthy(),
            // Session tickets come behind the handshake; after a first answer silence is due here, too.
            Self::Tls(stream) => {
                let stream = stream.get_ref().0;
                stream.is_open() && !(reused && stream.unread() > 0)
            }
            // Clients are not pooled.
            Self::Served(_) => false,
        }
    }

    /// Waits until the other side has sent something that can be read, or closed.
    pub(crate) async fn readable(&mut self) {
        match self {
            Self::Plain(stream) => stream.closed_or_readable().await,
            Self::Tls(stream) => stream.get_mut().0.closed_or_readable().await,
            Self::Served(secure) => secure.readable().await,
        }
    }

    /// Says that nothing more is sent, so that the other side reads all that was.
    pub(crate) async fn finish(&mut self) {
        // The connection is over either way: there is nobody to tell of a failure.
        let _ = match self {
            Self::Plain(stream) => stream.close().await,
            Self::Tls(stream) => stream.close().await,
            Self::Served(secure) => secure.close().await,
        };
    }

    /// Whether its protocol has a word for the end of a connection.
    pub(crate) const fn has_goodbye(&self) -> bool {
        matches!(self, Self::Served(_))
    }

    /// Says goodbye to a client before the connection is let go, where its protocol has a word for it that was not said.
    pub(crate) async fn say_goodbye(&mut self) {
        if let Self::Served(secure) = self {
            // As above.
            let _ = secure.say_goodbye().await;
        }
    }
}
