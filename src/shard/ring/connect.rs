//! Connecting: a socket with its options, a connect on the ring, a stream when it is through.
//!
//! There is no deadline here: the shard's wheel has one for the whole attempt. Dropping the future cancels the connect
//! and closes the socket, as dropping any stream does; the address that the kernel may still read stays in the slot.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use io_uring::opcode;
use io_uring::types::Fd;
use socket2::{Domain, Protocol, SockAddr, Socket as OsSocket, TcpKeepalive, Type};

use super::core::{Core, Phase, Socket, operation, remember};
use super::slots::Key;
use super::{Inner, Stream};

/// What is set on a socket before it connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// `TCP_NODELAY`: small requests leave at once.
    pub nodelay: bool,
    /// `TCP_USER_TIMEOUT`: how long sent bytes may stay unacknowledged. Whole milliseconds count.
    pub user_timeout: Option<Duration>,
    /// `SO_KEEPALIVE` with this idle time and interval. Whole seconds count.
    pub keepalive: Option<Duration>,
}

fn socket(address: SocketAddr, options: &ConnectOptions) -> io::Result<OwnedFd> {
    // Blocking on purpose: the ring answers EAGAIN on a non-blocking socket instead of waiting.
    let socket = OsSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if options.nodelay {
        socket.set_tcp_nodelay(true)?;
    }
    if options.user_timeout.is_some() {
        socket.set_tcp_user_timeout(options.user_timeout)?;
    }
    if let Some(idle) = options.keepalive {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(idle))?;
    }
    Ok(socket.into())
}

/// See [`super::Ring::connect`].
pub(super) async fn connect(inner: &Rc<Inner>, address: SocketAddr, options: &ConnectOptions) -> io::Result<Stream> {
    let fd = socket(address, options)?;
    let raw = fd.as_raw_fd();
    let key = inner.with(|core| core.start_connect(fd, address));
    let stream = Stream::of_slot(inner, key, raw, address);
    poll_fn(|cx| inner.with(|core| core.poll_connected(key, cx))).await?;
    Ok(stream)
}

impl Core {
    fn start_connect(&mut self, fd: OwnedFd, address: SocketAddr) -> Key {
        let raw = fd.as_raw_fd();
        let mut socket = Socket::new(fd);
        socket.connected = false;
        if self.phase != Phase::Running {
            socket.send.fail(libc::ESHUTDOWN);
            return self.sockets.insert(socket);
        }
        let address = socket.connecting.insert(Box::new(SockAddr::from(address)));
        let entry = opcode::Connect::new(Fd(raw), address.as_ptr().cast(), address.len()).build();
        let key = self.sockets.insert(socket);
        self.queue(entry.user_data(key.token(operation::CONNECT)));
        key
    }

    pub(super) fn on_connected(&mut self, key: Key, result: i32) {
        let Some(socket) = self.sockets.get_mut(key) else {
            self.counters.stale += 1;
            return;
        };
        socket.connecting = None;
        if socket.orphaned {
            return self.remove_if_done(key);
        }
        if result == 0 {
            socket.connected = true;
        } else {
            socket.send.fail(-result);
            socket.receive.fail(-result);
        }
        self.woken.extend(socket.send.waker.take());
        self.arm_receive(key);
    }

    fn poll_connected(&mut self, key: Key, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = self.sockets.get_mut(key) else {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ESHUTDOWN)));
        };
        if let Some(errno) = socket.send.error {
            return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
        }
        if socket.connected {
            return Poll::Ready(Ok(()));
        }
        remember(&mut socket.send.waker, cx, &mut self.replaced);
        Poll::Pending
    }
}
