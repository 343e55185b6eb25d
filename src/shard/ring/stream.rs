//! A connection as tasks see it.
//!
//! `Stream` is `AsyncRead + AsyncWrite`, so TLS and WebSocket layers do not know the ring. The HTTP path uses the
//! methods that copy less: [`Stream::read_into`] appends without zeroing first, [`Stream::read_with`] parses in the
//! buffer that the kernel filled, [`Stream::write_all_owned`] and [`Stream::send`] send from the caller's buffer.
//!
//! A stream is one reader's and one writer's: each half remembers one waker. All operations may be abandoned at any
//! point. Dropping a stream cancels what is under way and closes the descriptor within the driver's next turn; bytes
//! that were written but not flushed may be lost, as with any `AsyncWrite`.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

use super::Inner;
use super::buffers::Buffers;
use super::core::{Core, Phase, Socket, remember};
use super::receive::Receive;
use super::slots::Key;

/// A connected socket on the ring.
#[derive(Debug)]
pub struct Stream {
    inner: Rc<Inner>,
    key: Key,
    fd: RawFd,
    peer: SocketAddr,
}

impl Stream {
    /// A stream of a connected, blocking socket.
    pub(super) fn new(inner: &Rc<Inner>, fd: OwnedFd, peer: SocketAddr) -> Self {
        let raw = fd.as_raw_fd();
        let key = inner.with(|core| {
            let mut socket = Socket::new(fd);
            if core.phase != Phase::Running {
                socket.receive.fail(libc::ESHUTDOWN);
                socket.send.fail(libc::ESHUTDOWN);
            }
            let key = core.sockets.insert(socket);
            core.arm_receive(key);
            key
        });
        Self::of_slot(inner, key, raw, peer)
    }

    /// The handle of a slot: dropping it releases the slot.
    pub(super) fn of_slot(inner: &Rc<Inner>, key: Key, fd: RawFd, peer: SocketAddr) -> Self {
        Self { inner: Rc::clone(inner), key, fd, peer }
    }

    /// The other end.
    #[must_use]
    pub const fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// The descriptor, for socket options and `TCP_INFO`. It is the stream's: never close it, never make it non-blocking.
    #[must_use]
    pub const fn raw_fd(&self) -> RawFd {
        self.fd
    }

    /// Bytes ever received from and handed to the kernel: what a progress deadline watches.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        self.inner
            .with(|core| core.sockets.get(self.key).map_or((0, 0), |socket| (socket.receive.total, socket.send.total)))
    }

    /// Received bytes that wait to be read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.inner.with(|core| core.sockets.get(self.key).map_or(0, |socket| socket.receive.unread()))
    }

    /// Whether no end and no error was seen in either direction. Bytes may wait.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.inner.with(|core| {
            let socket = core.sockets.get(self.key);
            socket.is_some_and(|socket| socket.receive.end.is_none() && socket.send.error.is_none())
        })
    }

    /// Whether a pooled connection may carry the next request: nothing has come, no end was seen, nothing is unsent.
    /// The armed receive tells; there is no system call.
    #[must_use]
    pub fn is_idle_and_healthy(&self) -> bool {
        self.inner.with(|core| {
            core.sockets.get(self.key).is_some_and(|socket| {
                let (receive, send) = (&socket.receive, &socket.send);
                receive.unread() == 0 && receive.end.is_none() && send.unsent() == 0 && send.error.is_none()
            })
        })
    }

    /// Copies received bytes; zero at the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut filled = 0;
        self.poll_drain(cx, |bytes| {
            let count = bytes.len().min(buf.len() - filled);
            buf[filled..filled + count].copy_from_slice(&bytes[..count]);
            filled += count;
            count
        })
    }

    /// Appends received bytes, at most `max`, as soon as there are any. Zero at the end of the stream.
    pub async fn read_into(&mut self, buf: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read_into(cx, buf, max)).await
    }

    /// See [`Stream::read_into`].
    pub fn poll_read_into(&mut self, cx: &mut Context<'_>, buf: &mut Vec<u8>, max: usize) -> Poll<io::Result<usize>> {
        if max == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut room = max;
        self.poll_drain(cx, |bytes| {
            let count = bytes.len().min(room);
            buf.extend_from_slice(&bytes[..count]);
            room -= count;
            count
        })
    }

    /// Shows the oldest received bytes that lie together, where the kernel put them, to `look`, which answers how many
    /// of them are done with. An empty slice: the end of the stream. Bytes that are not taken stay first in line; `look`
    /// is not called again before more have come, unless the caller asks again.
    ///
    /// `look` must not use this shard's ring: it is borrowed meanwhile.
    pub async fn read_with<R>(&mut self, mut look: impl FnMut(&[u8]) -> (usize, R)) -> io::Result<R> {
        poll_fn(|cx| self.poll_read_with(cx, &mut look)).await
    }

    /// See [`Stream::read_with`].
    pub fn poll_read_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        look: impl FnOnce(&[u8]) -> (usize, R),
    ) -> Poll<io::Result<R>> {
        self.poll_received(cx, |receive, buffers| {
            let (count, result) = look(receive.front(buffers));
            if count > 0 {
                receive.consume(buffers, count);
            }
            (count, result)
        })
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>, sink: impl FnMut(&[u8]) -> usize) -> Poll<io::Result<usize>> {
        self.poll_received(cx, |receive, buffers| {
            let count = receive.drain(buffers, sink);
            (count, count)
        })
    }

    /// Hands what has come, or an empty end, to `take`, which answers how many bytes it took.
    fn poll_received<R>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Receive, &mut Buffers) -> (usize, R),
    ) -> Poll<io::Result<R>> {
        let key = self.key;
        self.inner.with(|core| match core.poll_readable(key, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                let Some(socket) = core.sockets.get_mut(key) else {
                    return Poll::Ready(Err(gone()));
                };
                let (count, result) = take(&mut socket.receive, &mut core.buffers);
                if count > 0 {
                    core.after_read(key);
                }
                Poll::Ready(Ok(result))
            }
        })
    }

    /// Resolves when bytes have come, or the end or an error: for a pooled connection, and for a client that may hang
    /// up while its answer is awaited.
    pub async fn closed_or_readable(&mut self) {
        // An error answers as well; it stays for the next read.
        let _ = poll_fn(|cx| self.inner.with(|core| core.poll_readable(self.key, cx))).await;
    }

    /// Sends all of `buf` without copying it and hands it back, as it was. Sending goes on to the end even when the
    /// future is dropped; later writes come after it.
    pub async fn write_all_owned(&mut self, buf: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        if let Err(error) = poll_fn(|cx| self.poll_sent(cx)).await {
            return (Err(error), buf);
        }
        if buf.is_empty() {
            return (Ok(()), buf);
        }
        self.inner.with(|core| core.send_owned(self.key, buf, true));
        let result = poll_fn(|cx| self.poll_sent(cx)).await;
        let buf = self.inner.with(|core| core.sockets.get_mut(self.key).and_then(|socket| socket.send.take_returned()));
        (result, buf.unwrap_or_default())
    }

    /// Hands `buf` over to be sent, without copying it, and does not wait for that; only for what was written before.
    ///
    /// A failure shows at the next write. A reader need not look for it: what fails a send ends the receiving side, too.
    /// The buffer is found again at [`super::Ring::spare_buffer`].
    pub async fn send(&mut self, buf: Vec<u8>) -> io::Result<()> {
        poll_fn(|cx| self.poll_sent(cx)).await?;
        if !buf.is_empty() {
            self.inner.with(|core| core.send_owned(self.key, buf, false));
        }
        Ok(())
    }

    /// Whether all that was written is with the kernel, or lost.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.inner.with(|core| {
            core.sockets.get(self.key).is_none_or(|socket| socket.send.unsent() == 0 || socket.send.error.is_some())
        })
    }

    /// Ready when the kernel has taken all that was written, and has let go of the buffers.
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.with(|core| core.poll_sent(self.key, cx))
    }

    fn poll_stage<'a>(
        &self,
        cx: &mut Context<'_>,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        self.inner.with(|core| {
            let Some(socket) = core.sockets.get_mut(self.key) else {
                return Poll::Ready(Err(gone()));
            };
            if let Some(errno) = socket.send.error {
                return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
            }
            if socket.send.room() == 0 {
                remember(&mut socket.send.waker, cx, &mut core.replaced);
                return Poll::Pending;
            }
            Poll::Ready(Ok(core.stage(self.key, pieces)))
        })
    }

    /// Ends one or both directions at once: what is written but not flushed is not waited for (`AsyncWrite::close`
    /// flushes first). After `Shutdown::Write` the peer reads an end, and this side may go on reading.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner.with(|core| match core.sockets.get(self.key).and_then(|socket| socket.fd.as_ref()) {
            Some(fd) => SockRef::from(fd).shutdown(how),
            None => Err(gone()),
        })
    }
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ESHUTDOWN)
}

impl Core {
    /// Ready when bytes or the end are there to read; the error is the connection's.
    fn poll_readable(&mut self, key: Key, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = self.sockets.get_mut(key) else {
            return Poll::Ready(Err(gone()));
        };
        if socket.receive.unread() > 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(end) = socket.receive.end {
            return Poll::Ready(end.read_result().map(drop));
        }
        remember(&mut socket.receive.waker, cx, &mut self.replaced);
        self.arm_receive(key);
        Poll::Pending
    }

    fn poll_sent(&mut self, key: Key, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = self.sockets.get_mut(key) else {
            return Poll::Ready(Err(gone()));
        };
        let send = &mut socket.send;
        match send.error {
            Some(errno) if !send.is_in_flight() => Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
            None if send.unsent() == 0 => Poll::Ready(Ok(())),
            _ => {
                remember(&mut send.waker, cx, &mut self.replaced);
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Self::poll_read(self.get_mut(), cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_stage(cx, [buf])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_stage(cx, bufs.iter().map(|buf| &**buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_sent(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(self.shutdown(Shutdown::Write)),
            other => other,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.inner.with(|core| core.release_socket(self.key));
    }
}
