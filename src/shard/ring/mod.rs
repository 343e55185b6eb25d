//! Sockets on a ring of a shard's own: glommio stays the executor; its sockets, timers and sleep are not used.
//!
//! glommio's sockets are readiness-based: a `recv`, a `send` and a poll request a read. Here one multishot accept per
//! listener and one multishot receive per connection stay armed, and all sends of a turn leave in one system call.
//!
//! ```text
//!            tasks (HTTP, TLS, WebSocket)                    stream.rs  accept.rs  connect.rs
//!   read: copy out ▲          │ write: own or copy in
//!                  │          ▼
//!   ┌──────── core.rs: sockets and listeners by key (slots.rs) ───────┐
//!   │  receive.rs  unread chunks, cap,   send.rs  flight and staged,  │
//!   │              pause, starve, spill           short sends         │
//!   └──────▲───────────────────────────────────────────┬──────────────┘
//!          │ completions                               │ operations, once a turn     driver.rs: turn, yield, sleep
//!   ═══════╪═══════════════════════════════════════════▼══════════ one io_uring_enter a turn
//!          │  kernel: SINGLE_ISSUER | DEFER_TASKRUN       ┌──────────────┐
//!          └── picks a buffer when bytes have come ◀──────│  buffers.rs  │
//!                                                         └──────────────┘
//! ```
//!
//! What it holds to:
//! - **Memory outlives its operation.** Whatever the kernel may read or write belongs to a slot until the completion, not to a
//!   task, which can be dropped at any await.
//! - **A slot is freed once**, after its last completion; tokens carry a generation, because descriptors and slots are
//!   reused at once.
//! - **A slow reader costs a bounded amount** and stalls nobody else (`receive.rs`).
//! - **Nothing spins**: an error of accept waits for the caller, a lack of buffers for buffers, an idle driver in the kernel.
//! - **One borrow at a time**: tasks and driver share a `RefCell` on one thread; wakers are called outside of it.
//!
//! Linux 6.1 is the floor (`probe.rs` says so to the operator). Deadlines are not here: the shard's timer wheel drops futures, and sleeps
//! on the ring (`sleep.rs`).
//! Left out, for want of a gain or of a measurement: direct descriptors (they hide `TCP_INFO`), zero-copy sends,
//! receive bundles, `MSG_WAITALL` (it would hide a slow peer's progress).
//!
//! This is the one place of the program with `unsafe`: the kernel shares memory, and no types can say for how long.
#![allow(unsafe_code)]

mod accept;
mod buffers;
mod connect;
mod core;
mod driver;
mod probe;
mod receive;
mod send;
mod sleep;
mod slots;
mod stream;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;

pub use accept::Listener;
pub use connect::ConnectOptions;
pub use probe::{Features, RingError};
pub use sleep::Sleep;
pub use stream::Stream;

use self::core::Core;
use self::driver::{Inner, Watched};
use crate::limits;

/// How a ring is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingOptions {
    /// Entries of the submission queue; more operations than that in one turn cost another system call.
    pub submissions: u32,
    /// Entries of the completion queue; the kernel keeps what does not fit, at some cost.
    pub completions: u32,
    /// Receive buffers, a power of two up to 32768.
    pub buffers: u16,
    /// Bytes of a receive buffer.
    pub buffer_bytes: usize,
    /// Completions handed out before tasks run again.
    pub completions_per_turn: usize,
    /// How long to look for work before sleeping. Zero: not at all.
    pub spin: Duration,
    /// The newer features that may be used where the kernel has them.
    pub mask: Features,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            submissions: limits::RING_SUBMISSIONS,
            completions: limits::RING_COMPLETIONS,
            buffers: limits::RECEIVE_BUFFERS,
            buffer_bytes: limits::RECEIVE_BUFFER_BYTES,
            completions_per_turn: limits::RING_COMPLETIONS_PER_TURN,
            spin: Duration::ZERO,
            mask: Features::ALL,
        }
    }
}

/// What a ring holds now, and what it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingStats {
    /// Connections whose slot is in use: open, connecting or waiting for their last completion.
    pub sockets: usize,
    /// Listeners, likewise.
    pub listeners: usize,
    /// Operations on sockets and listeners with the kernel or queued for it.
    pub operations: usize,
    /// Sleeps that are not over, or whose cancelling is not.
    pub sleepers: usize,
    /// Receive buffers.
    pub buffers: usize,
    /// Receive buffers whose bytes wait to be read.
    pub buffers_held: usize,
    /// The most that were ever held.
    pub buffers_held_max: usize,
    /// Bytes received and not read, in buffers or spilled.
    pub unread_bytes: usize,
    /// Bytes written by tasks that the kernel has not taken.
    pub unsent_bytes: usize,
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// Completions handed out.
    pub completions: u64,
    /// Times that the driver, and with it the thread, slept.
    pub sleeps: u64,
    /// Receives cancelled because their reader was slower.
    pub pauses: u64,
    /// Receives ended for want of a buffer.
    pub starved: u64,
    /// Times that unread bytes were copied to the heap to free buffers.
    pub spills: u64,
    /// Turns that found the completion queue overflown.
    pub overflows: u64,
    /// Completions of an earlier life of a slot: zero, or there is a defect.
    pub stale: u64,
    /// Descriptors that did not close: zero, or there is a defect.
    pub failed_closes: u64,
}

/// A shard's ring: a handle, cheap to clone, that never leaves the thread which made it.
#[derive(Clone, Debug)]
pub struct Ring {
    inner: Rc<Inner>,
}

impl Ring {
    /// Sets a ring up for this thread.
    pub fn new(options: RingOptions) -> Result<Self, RingError> {
        let core = Core::new(&options)?;
        Ok(Self { inner: Rc::new(Inner::new(core, options.spin)) })
    }

    /// Starts the driver, once, on the executor of this thread. It ends some time after [`Ring::shutdown`]. Nothing moves
    /// without it.
    #[allow(clippy::disallowed_methods)] // the driver does not watch itself
    #[must_use = "a task whose handle is dropped is cancelled"]
    pub fn start(&self) -> glommio::Task<()> {
        glommio::spawn_local(driver::drive(Rc::clone(&self.inner)))
    }

    /// Starts a task that may use the ring. Every task of the ring's thread is to be started here or [watched](Self::watch):
    /// the driver sleeps when none of them is ready, and knows of no others.
    #[allow(clippy::disallowed_methods)] // this is what stands in its place
    pub fn spawn<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> glommio::Task<T> {
        glommio::spawn_local(self.watch(task))
    }

    /// A task that is started elsewhere, as the executor's first one is.
    pub fn watch<F: Future>(&self, task: F) -> Watched<F> {
        Watched::new(Rc::clone(&self.inner), task)
    }

    /// Whether it is neither shut down nor broken.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.inner.with(|core| core.phase == core::Phase::Running)
    }

    /// An empty buffer that something was sent from, to be filled and sent again.
    #[must_use]
    pub fn spare_buffer(&self) -> Option<Vec<u8>> {
        self.inner.with(|core| core.spare.pop())
    }

    /// Waits for `length`. Ready at once, or early, when the ring ends.
    pub fn sleep(&self, length: Duration) -> Sleep {
        Sleep::new(&self.inner, length)
    }

    /// Ends the ring: what is under way is cancelled, waiting tasks get `ESHUTDOWN`, and the driver returns when the kernel has
    /// let go. Streams that still exist close their descriptors when they are dropped.
    pub fn shutdown(&self) {
        self.inner.shut_down();
    }

    /// Accepts on a bound, listening socket.
    #[must_use]
    pub fn listen(&self, fd: OwnedFd) -> Listener {
        Listener::new(&self.inner, fd)
    }

    /// A new connection. Dropping the future cancels the attempt and closes the socket.
    pub async fn connect(&self, address: SocketAddr, options: &ConnectOptions) -> io::Result<Stream> {
        connect::connect(&self.inner, address, options).await
    }

    /// A stream of a connected stream socket that came from elsewhere.
    #[must_use]
    pub fn adopt(&self, fd: OwnedFd, peer: SocketAddr) -> Stream {
        make_blocking(&fd);
        Stream::new(&self.inner, fd, peer)
    }

    /// The number of the driver's turn: what may be cached for a turn (the time) is stale when it has changed.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.inner.turns()
    }

    /// What is held and what was done. Walks all sockets: for metrics and tests.
    #[must_use]
    pub fn stats(&self) -> RingStats {
        self.inner.with(|core| core.stats())
    }

    /// The newer features in use.
    #[must_use]
    pub fn features(&self) -> Features {
        self.inner.with(|core| core.features)
    }
}

/// The ring waits for a blocking socket and answers `EAGAIN` on another. Fails only where every later operation will.
fn make_blocking(fd: &OwnedFd) {
    let _ = SockRef::from(fd).set_nonblocking(false);
}
