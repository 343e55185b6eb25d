//! Accepting: one multishot accept per listener, and what came waits in a short queue for the task that asks.
//!
//! A queue over `ACCEPTED_WAITING_MAX` cancels the accept until it is empty: a shard that takes no more connections
//! leaves them to the kernel's backlog, where another shard's or process's answer to load (and `SYN` cookies) still work.
//!
//! An error ends a multishot accept. It is told to the caller once, after the connections that came before it, and
//! accepting begins again when the caller asks again: the pause between is the caller's, so running out of descriptors is neither a
//! busy loop nor a dead listener.
//!
//! `TCP_NODELAY`, keep-alive and `TCP_USER_TIMEOUT` are inherited from the listening socket: set them there, once.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use io_uring::types::Fd;
use io_uring::{cqueue, opcode};
use socket2::SockRef;

use super::core::{Core, Phase, operation, remember};
use super::slots::Key;
use super::{Inner, Stream};
use crate::limits::{ACCEPTED_WAITING_MAX, LISTEN_BACKLOG_MAX};

/// A listening socket's slot.
#[derive(Debug)]
pub(super) struct Listening {
    fd: Option<OwnedFd>,
    accepted: VecDeque<OwnedFd>,
    armed: bool,
    cancelling: bool,
    stopped: bool,
    orphaned: bool,
    error: Option<i32>,
    waker: Option<Waker>,
}

impl Listening {
    const fn new(fd: OwnedFd) -> Self {
        Self {
            fd: Some(fd),
            accepted: VecDeque::new(),
            armed: false,
            cancelling: false,
            stopped: false,
            orphaned: false,
            error: None,
            waker: None,
        }
    }

    pub(super) const fn is_cancelling(&self) -> bool {
        self.cancelling
    }

    const fn begin_cancel(&mut self) -> bool {
        let begin = self.armed && !self.cancelling;
        self.cancelling |= begin;
        begin
    }
}

impl Core {
    fn arm_accept(&mut self, key: Key) {
        let Some(listening) = self.listeners.get_mut(key) else {
            return;
        };
        if self.phase != Phase::Running || listening.armed || listening.stopped || listening.orphaned {
            return;
        }
        let Some(fd) = listening.fd.as_ref().map(AsRawFd::as_raw_fd) else {
            return;
        };
        listening.armed = true;
        let entry = opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build();
        self.queue(entry.user_data(key.token(operation::ACCEPT)));
    }

    pub(super) fn on_accepted(&mut self, key: Key, result: i32, flags: u32) {
        // SAFETY: a result that is not negative is a descriptor that the kernel has just made for this accept; no other
        // owner knows it.
        let accepted = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        let Some(listening) = self.listeners.get_mut(key) else {
            self.counters.stale += 1;
            return;
        };
        if !cqueue::more(flags) {
            listening.armed = false;
            listening.cancelling = false;
        }
        if listening.orphaned {
            return self.remove_listener_if_done(key);
        }
        listening.accepted.extend(accepted);
        if result < 0 && -result != libc::ECANCELED {
            listening.error = Some(-result);
        }
        let full = listening.accepted.len() >= ACCEPTED_WAITING_MAX && listening.begin_cancel();
        self.woken.extend(listening.waker.take());
        if full {
            self.queue_cancel(key, operation::ACCEPT);
        }
    }

    pub(super) fn cancel_listener(&mut self, key: Key) {
        let Some(listening) = self.listeners.get_mut(key) else {
            return;
        };
        self.woken.extend(listening.waker.take());
        if listening.begin_cancel() {
            self.queue_cancel(key, operation::ACCEPT);
        }
    }

    fn remove_listener_if_done(&mut self, key: Key) {
        if self.listeners.get(key).is_some_and(|listening| listening.orphaned && !listening.armed) {
            self.listeners.remove(key);
        }
    }

    fn release_listener(&mut self, key: Key) {
        self.cancel_listener(key);
        let Some(listening) = self.listeners.get_mut(key) else {
            return;
        };
        listening.orphaned = true;
        listening.accepted.clear();
        if let Some(fd) = listening.fd.take() {
            self.queue_close(key, fd);
        }
        self.remove_listener_if_done(key);
    }

    fn poll_accept(&mut self, key: Key, cx: &Context<'_>) -> Poll<io::Result<OwnedFd>> {
        let Some(listening) = self.listeners.get_mut(key) else {
            return Poll::Ready(Err(shut_down()));
        };
        if let Some(fd) = listening.accepted.pop_front() {
            if listening.accepted.is_empty() && listening.error.is_none() {
                self.arm_accept(key);
            }
            return Poll::Ready(Ok(fd));
        }
        if let Some(errno) = listening.error.take() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
        }
        if self.phase != Phase::Running {
            return Poll::Ready(Err(shut_down()));
        }
        remember(&mut listening.waker, cx, &mut self.replaced);
        self.arm_accept(key);
        Poll::Pending
    }

    /// Ready once the kernel accepts nothing more for this listener.
    fn poll_stopped(&mut self, key: Key, cx: &Context<'_>) -> Poll<()> {
        let Some(listening) = self.listeners.get_mut(key) else {
            return Poll::Ready(());
        };
        listening.stopped = true;
        if !listening.armed || self.phase == Phase::Ended {
            return Poll::Ready(());
        }
        self.cancel_listener(key);
        if let Some(listening) = self.listeners.get_mut(key) {
            remember(&mut listening.waker, cx, &mut self.replaced);
        }
        Poll::Pending
    }
}

fn shut_down() -> io::Error {
    io::Error::from_raw_os_error(libc::ESHUTDOWN)
}

/// A listening socket on the ring. One task asks it at a time.
#[derive(Debug)]
pub struct Listener {
    inner: Rc<Inner>,
    key: Key,
    fd: RawFd,
}

impl Listener {
    pub(super) fn new(inner: &Rc<Inner>, fd: OwnedFd) -> Self {
        super::make_blocking(&fd);
        let raw = fd.as_raw_fd();
        let key = inner.with(|core| {
            let key = core.listeners.insert(Listening::new(fd));
            core.arm_accept(key);
            key
        });
        Self { inner: Rc::clone(inner), key, fd: raw }
    }

    /// The next connection and its peer.
    ///
    /// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` mean that the machine is short of something: pause, then call again. Any
    /// other error concerns one connection or the listener and is worth a pause as well. `ESHUTDOWN`: the ring ends.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        loop {
            let fd = poll_fn(|cx| self.inner.with(|core| core.poll_accept(self.key, cx))).await?;
            if let Some(accepted) = self.adopt(fd) {
                return Ok(accepted);
            }
        }
    }

    /// A stream for an accepted descriptor; none when the peer is gone already.
    fn adopt(&self, fd: OwnedFd) -> Option<(Stream, SocketAddr)> {
        let peer = SockRef::from(&fd).peer_addr().ok()?.as_socket()?;
        Some((Stream::new(&self.inner, fd, peer), peer))
    }

    /// Stops accepting and closes the listening socket. Returns the connections that were accepted and that nobody was
    /// told of: they are to be served. What waits in the kernel's queue is left to whoever else has the socket open,
    /// and reset if nobody has.
    pub async fn stop(self) -> Vec<(Stream, SocketAddr)> {
        self.stop_accepting().await
    }

    /// As [`Listener::stop`], and takes what waits in the kernel's queue as well; only a connection that arrives between
    /// the last look and the close is reset. Not for a socket that another process accepts on: it becomes non-blocking.
    pub async fn stop_and_take_queue(self) -> Vec<(Stream, SocketAddr)> {
        let mut waiting = self.stop_accepting().await;
        waiting.extend(self.take_kernel_queue().into_iter().filter_map(|fd| self.adopt(fd)));
        waiting
    }

    async fn stop_accepting(&self) -> Vec<(Stream, SocketAddr)> {
        poll_fn(|cx| self.inner.with(|core| core.poll_stopped(self.key, cx))).await;
        let waiting = self.inner.with(|core| core.listeners.get_mut(self.key).map(|it| mem::take(&mut it.accepted)));
        waiting.unwrap_or_default().into_iter().filter_map(|fd| self.adopt(fd)).collect()
    }

    fn take_kernel_queue(&self) -> Vec<OwnedFd> {
        let mut queue = Vec::new();
        self.inner.with(|core| {
            let Some(fd) = core.listeners.get(self.key).and_then(|listening| listening.fd.as_ref()) else {
                return;
            };
            let socket = SockRef::from(fd);
            if socket.set_nonblocking(true).is_err() {
                return;
            }
            while queue.len() < LISTEN_BACKLOG_MAX
                && let Ok((accepted, _)) = socket.accept()
            {
                queue.push(accepted.into());
            }
        });
        queue
    }

    /// The listening descriptor, to read or set socket options on.
    #[must_use]
    pub const fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.inner.with(|core| core.release_listener(self.key));
    }
}
