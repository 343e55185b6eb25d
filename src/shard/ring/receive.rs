//! Receiving: from the kernel's completions to the bytes that a task reads, without one connection filling memory.
//!
//! ```text
//!              completion                     read
//!   kernel ───────────────▶ chunks (buffers) ──────▶ task        chunks over the cap → pause: cancel
//!                              │ pool nearly used up                drained to half  → once, until it keeps up
//!                              ▼                                  no buffer left     → starved: once, in order
//!                           spilled (heap)
//! ```
//!
//! - **Multishot** is the rule: armed once, it delivers until it is ended, and an idle connection is watched by it.
//! - **Once**: a socket that outran its reader was *paused* (multishot cancelled), and one that found no buffer is
//!   *starved*. Both go on with single receives, armed only while below the cap: exactly one buffer at a time, no
//!   cancel needed, and everybody's turn comes. A receive that did not fill its buffer shows that the socket is empty;
//!   then multishot returns.
//! - **Cap**: `RECEIVE_UNREAD_BYTES_MAX` or `RECEIVE_UNREAD_BUFFERS_MAX`, whichever is first. The cap says when to stop, not
//!   what can lie there: before a pause takes effect, the kernel delivers what the socket had, 32 buffers at a time, and goes
//!   on while more comes in meanwhile. Once a connection that can be all buffers of the pool, and no more.
//! - **Spill**: unread bytes must never hold the pool: pipelined requests that wait for answers, while the answers
//!   wait for buffers, would be a deadlock. When three quarters are held after tasks had their turn, all unread
//!   chunks are copied to the heap. That costs the copy which reading would have cost, and memory is bounded by the caps.

use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::task::Waker;

use io_uring::types::Fd;
use io_uring::{cqueue, opcode, squeue};

use super::buffers::{BufferList, Buffers, GROUP};
use super::core::{Core, Phase, Socket, operation};
use super::slots::Key;
use crate::limits::{RECEIVE_UNREAD_BUFFERS_MAX, RECEIVE_UNREAD_BYTES_MAX};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Armed {
    No,
    Once,
    Multishot,
}

/// Why nothing more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer has finished.
    Finished,
    /// An errno.
    Failed(i32),
}

impl End {
    /// What a read answers once the bytes before the end are read: zero bytes, or the error, again and again.
    pub(super) fn read_result(self) -> io::Result<usize> {
        match self {
            Self::Finished => Ok(0),
            Self::Failed(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// The receiving half of a socket.
#[derive(Debug)]
pub(super) struct Receive {
    chunks: BufferList,
    chunk_bytes: usize,
    /// Older than the chunks.
    spilled: Vec<u8>,
    spilled_read: usize,
    armed: Armed,
    cancelling: bool,
    starved: bool,
    /// Single receives until one comes back unfilled.
    by_single: bool,
    pub(super) end: Option<End>,
    /// Bytes that ever came.
    pub(super) total: u64,
    pub(super) waker: Option<Waker>,
}

impl Receive {
    pub(super) const fn new() -> Self {
        Self {
            chunks: BufferList::new(),
            chunk_bytes: 0,
            spilled: Vec::new(),
            spilled_read: 0,
            armed: Armed::No,
            cancelling: false,
            starved: false,
            by_single: false,
            end: None,
            total: 0,
            waker: None,
        }
    }

    /// Bytes received and not read.
    pub(super) const fn unread(&self) -> usize {
        self.chunk_bytes + self.spilled.len() - self.spilled_read
    }

    pub(super) const fn is_armed(&self) -> bool {
        !matches!(self.armed, Armed::No)
    }

    pub(super) const fn is_cancelling(&self) -> bool {
        self.cancelling
    }

    /// Whether a cancel should be queued; the books say so afterwards.
    pub(super) const fn begin_cancel(&mut self) -> bool {
        let begin = self.is_armed() && !self.cancelling;
        self.cancelling |= begin;
        begin
    }

    pub(super) fn fail(&mut self, errno: i32) {
        self.end.get_or_insert(End::Failed(errno));
    }

    /// At or over `1/parts` of the cap.
    const fn is_filled_to(&self, parts: usize) -> bool {
        self.unread() >= RECEIVE_UNREAD_BYTES_MAX / parts
            || self.chunks.len() as usize >= RECEIVE_UNREAD_BUFFERS_MAX / parts
    }

    /// The oldest unread bytes that lie together.
    pub(super) fn front<'a>(&'a self, buffers: &'a Buffers) -> &'a [u8] {
        if self.spilled.is_empty() { buffers.front(&self.chunks) } else { &self.spilled[self.spilled_read..] }
    }

    /// Takes `count` bytes off what `front` shows.
    pub(super) fn consume(&mut self, buffers: &mut Buffers, count: usize) {
        if self.spilled.is_empty() {
            self.chunk_bytes -= count;
            buffers.consume(&mut self.chunks, count);
            return;
        }
        self.spilled_read += count;
        assert!(self.spilled_read <= self.spilled.len(), "no more is consumed than front() showed");
        if self.spilled_read == self.spilled.len() {
            self.spilled = Vec::new();
            self.spilled_read = 0;
        }
    }

    /// Offers unread bytes, oldest first, to `sink`, which says how many it took, until it takes less than it is
    /// offered. Returns the bytes taken.
    pub(super) fn drain(&mut self, buffers: &mut Buffers, mut sink: impl FnMut(&[u8]) -> usize) -> usize {
        let mut taken = 0;
        while self.unread() > 0 {
            let front = self.front(buffers);
            let offered = front.len();
            let count = sink(front);
            if count > 0 {
                self.consume(buffers, count);
                taken += count;
            }
            if count < offered {
                break;
            }
        }
        taken
    }

    /// Forgets unread bytes.
    pub(super) fn discard(&mut self, buffers: &mut Buffers) {
        buffers.clear(&mut self.chunks);
        self.chunk_bytes = 0;
        self.spilled = Vec::new();
        self.spilled_read = 0;
    }

    /// Copies unread chunks to the heap and gives their buffers back.
    fn spill(&mut self, buffers: &mut Buffers) {
        let mut spilled = mem::take(&mut self.spilled);
        spilled.drain(..mem::take(&mut self.spilled_read));
        spilled.reserve_exact(self.chunk_bytes);
        self.drain(buffers, |bytes| {
            spilled.extend_from_slice(bytes);
            bytes.len()
        });
        self.spilled = spilled;
    }

    /// What a completion without bytes means.
    fn on_end(&mut self, errno: i32) -> After {
        match errno {
            0 => self.end = Some(End::Finished),
            libc::ENOBUFS => {
                self.by_single = true;
                return After::Starved;
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => return After::Again,
            errno => self.end = Some(End::Failed(errno)),
        }
        After::Ended
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Again,
    Starved,
    Ended,
}

impl Socket {
    /// Whether a receive belongs on the books now; `parts` of the cap must be free.
    fn may_receive(&self, parts: usize) -> bool {
        let receive = &self.receive;
        self.connected
            && !self.orphaned
            && !receive.is_armed()
            && !receive.starved
            && receive.end.is_none()
            && !receive.is_filled_to(parts)
    }
}

impl Core {
    /// Arms the receive of a socket that has none and is below the cap.
    pub(super) fn arm_receive(&mut self, key: Key) {
        self.arm_receive_below(key, 1);
    }

    fn arm_receive_below(&mut self, key: Key, parts: usize) {
        let size = u32::try_from(self.buffers.size()).unwrap_or(u32::MAX);
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if self.phase != Phase::Running || !socket.may_receive(parts) {
            return;
        }
        let Some(fd) = socket.fd.as_ref().map(|fd| Fd(fd.as_raw_fd())) else {
            return;
        };
        let entry = if socket.receive.by_single {
            socket.receive.armed = Armed::Once;
            let single = opcode::Recv::new(fd, std::ptr::null_mut(), size).buf_group(GROUP).build();
            single.flags(squeue::Flags::BUFFER_SELECT)
        } else {
            socket.receive.armed = Armed::Multishot;
            opcode::RecvMulti::new(fd, GROUP).build()
        };
        self.queue(entry.user_data(key.token(operation::RECEIVE)));
    }

    pub(super) fn on_received(&mut self, key: Key, result: i32, flags: u32) {
        let buffer = cqueue::buffer_select(flags);
        let Some(socket) = self.sockets.get_mut(key) else {
            self.counters.stale += 1;
            return self.buffers.return_unused(buffer);
        };
        let receive = &mut socket.receive;
        let single = receive.armed == Armed::Once;
        if !cqueue::more(flags) {
            receive.armed = Armed::No;
            receive.cancelling = false;
        }
        let after = match (usize::try_from(result), buffer) {
            (Ok(len), Some(id)) if len > 0 => {
                if self.buffers.take(id, len, &mut receive.chunks) {
                    receive.chunk_bytes += len;
                    receive.total += len as u64;
                    receive.by_single &= !(single && len < self.buffers.size() && !cqueue::sock_nonempty(flags));
                    After::Again
                } else {
                    receive.on_end(libc::EIO)
                }
            }
            (Ok(0), None) => receive.on_end(0),
            (outcome, buffer) => {
                self.buffers.return_unused(buffer);
                receive.on_end(if outcome.is_ok() { 0 } else { -result })
            }
        };
        self.after_receive(key, after);
    }

    fn after_receive(&mut self, key: Key, after: After) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let receive = &mut socket.receive;
        if socket.orphaned {
            receive.discard(&mut self.buffers);
            return self.remove_if_done(key);
        }
        if receive.unread() > 0 || after == After::Ended {
            self.woken.extend(receive.waker.take());
        }
        if after == After::Starved && !receive.starved {
            receive.starved = true;
            self.starved.push_back(key);
            self.counters.starved += 1;
            self.pending = true;
        } else if receive.is_filled_to(1) && receive.begin_cancel() {
            self.counters.pauses += 1;
            receive.by_single = true;
            self.queue_cancel(key, operation::RECEIVE);
        } else {
            self.arm_receive(key);
        }
    }

    /// A task has read: a receive that waits for that goes on.
    pub(super) fn after_read(&mut self, key: Key) {
        self.arm_receive_below(key, 2);
    }

    /// One receive for as many starved sockets as there are buffers, the longest waiting first.
    pub(super) fn feed_starved(&mut self) {
        for _ in self.buffers.held()..self.buffers.count() {
            let Some(key) = self.starved.pop_front() else {
                return;
            };
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.receive.starved = false;
                self.arm_receive(key);
            }
        }
    }

    /// Spills unread bytes when they hold more than three quarters of the pool, or half of it while somebody starves.
    pub(super) fn relieve_pressure(&mut self) {
        let allowed = if self.starved.is_empty() { self.buffers.count() / 4 * 3 } else { self.buffers.count() / 2 };
        if self.buffers.held() <= allowed {
            return;
        }
        self.counters.spills += 1;
        for key in self.sockets.keys() {
            if let Some(socket) = self.sockets.get_mut(key)
                && !socket.receive.chunks.is_empty()
            {
                socket.receive.spill(&mut self.buffers);
                // A socket that was full by buffers may be far from full by bytes.
                self.arm_receive_below(key, 2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_receive_has_its_meaning() {
        for (errno, after, end) in [
            (0, After::Ended, Some(End::Finished)),
            (libc::ECONNRESET, After::Ended, Some(End::Failed(libc::ECONNRESET))),
            (libc::ENOBUFS, After::Starved, None),
            (libc::ECANCELED, After::Again, None),
            (libc::EINTR, After::Again, None),
        ] {
            let mut receive = Receive::new();
            assert_eq!((receive.on_end(errno), receive.end), (after, end), "errno {errno}");
        }
    }

    #[test]
    fn spilled_bytes_are_read_before_later_ones() {
        let mut buffers = Buffers::new(4, 8).unwrap();
        let mut receive = Receive::new();
        let arrive = |receive: &mut Receive, buffers: &mut Buffers, id| {
            assert!(buffers.take(id, 8, &mut receive.chunks));
            receive.chunk_bytes += 8;
        };
        arrive(&mut receive, &mut buffers, 0);
        receive.consume(&mut buffers, 3);
        receive.spill(&mut buffers);
        receive.consume(&mut buffers, 1);
        arrive(&mut receive, &mut buffers, 1);
        receive.spill(&mut buffers);
        arrive(&mut receive, &mut buffers, 2);
        assert_eq!((receive.unread(), buffers.held()), (4 + 8 + 8, 1));
        let mut pieces = Vec::new();
        let taken = receive.drain(&mut buffers, |bytes| {
            pieces.push(bytes.len());
            bytes.len()
        });
        assert_eq!((taken, pieces), (20, vec![12, 8]));
        assert_eq!((receive.unread(), buffers.held()), (0, 0));
    }

    #[test]
    fn a_sink_that_is_full_ends_the_draining() {
        let mut buffers = Buffers::new(4, 8).unwrap();
        let mut receive = Receive::new();
        for id in 0..2 {
            assert!(buffers.take(id, 8, &mut receive.chunks));
            receive.chunk_bytes += 8;
        }
        let mut room = 11;
        let taken = receive.drain(&mut buffers, |bytes| {
            let count = bytes.len().min(room);
            room -= count;
            count
        });
        assert_eq!((taken, receive.unread(), buffers.held()), (11, 5, 1));
    }
}
