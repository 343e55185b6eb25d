//! Sending: bytes that belong to the slot until the kernel is done with them.
//!
//! A socket has one send with the kernel (`flight`) and one buffer that fills meanwhile (`staged`). Sends start once a
//! turn, so small writes of one turn leave together, and all sockets' sends in one enter. A short send is continued
//! from where it stopped. A task may vanish at any moment: `flight` stays in the slot until its completion.
//!
//! `write_all_owned` puts the caller's buffer into flight without a copy and hands it back after; `send` does so and does not
//! wait: the buffer goes to the spare ones, and a task is not woken for news that it has no use for. Errors stay: after
//! one, every later write answers it and nothing is sent.

use std::mem;
use std::os::fd::AsRawFd;
use std::task::Waker;

use io_uring::opcode;
use io_uring::types::Fd;

use super::core::{Core, Phase, operation};
use super::slots::Key;
use crate::limits::{SEND_SPARE_BUFFERS_MAX, SEND_STAGED_BYTES_MAX};

/// What a freed send buffer is filled with, in debug builds: a send that still reads it shows at the peer.
const PATTERN: u8 = 0xD7;

/// The most that one send operation is asked for; lengths in the ring have 32 bits.
const SEND_BYTES_MAX: usize = 1 << 30;

/// The sending half of a socket.
#[derive(Debug)]
pub(super) struct Sending {
    /// What the kernel reads, or will: not touched while `in_flight`.
    flight: Vec<u8>,
    sent: usize,
    in_flight: bool,
    /// `flight` is a caller's, who wants it back.
    lent: bool,
    staged: Vec<u8>,
    /// A caller's buffer, done with.
    returned: Option<Vec<u8>>,
    queued: bool,
    pub(super) error: Option<i32>,
    /// Bytes that the kernel ever took.
    pub(super) total: u64,
    pub(super) waker: Option<Waker>,
}

impl Sending {
    pub(super) const fn new() -> Self {
        Self {
            flight: Vec::new(),
            sent: 0,
            in_flight: false,
            lent: false,
            staged: Vec::new(),
            returned: None,
            queued: false,
            error: None,
            total: 0,
            waker: None,
        }
    }

    pub(super) const fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// Bytes accepted from tasks that the kernel has not taken.
    pub(super) const fn unsent(&self) -> usize {
        self.flight.len() - self.sent + self.staged.len()
    }

    pub(super) fn fail(&mut self, errno: i32) {
        self.error.get_or_insert(errno);
    }

    /// Room for staged bytes.
    pub(super) const fn room(&self) -> usize {
        SEND_STAGED_BYTES_MAX.saturating_sub(self.staged.len())
    }

    /// The caller's buffer, when the kernel is done with it.
    pub(super) fn take_returned(&mut self) -> Option<Vec<u8>> {
        self.returned.take()
    }

    /// All buffers of a socket without operations.
    pub(super) fn take_buffers(&mut self) -> [Vec<u8>; 2] {
        debug_assert!(!self.in_flight, "the kernel is done with the buffers");
        [mem::take(&mut self.flight), mem::take(&mut self.staged)]
    }
}

impl Core {
    /// Copies what fits of `pieces` into the socket's staging buffer, and says how much. Zero: wait for the waker.
    pub(super) fn stage<'a>(&mut self, key: Key, pieces: impl IntoIterator<Item = &'a [u8]>) -> usize {
        let Some(socket) = self.sockets.get_mut(key) else {
            return 0;
        };
        let mut room = socket.send.room();
        if room > 0 && socket.send.staged.capacity() == 0 {
            socket.send.staged = self.spare.pop().unwrap_or_default();
        }
        let mut count = 0;
        for piece in pieces {
            let part = &piece[..piece.len().min(room)];
            socket.send.staged.extend_from_slice(part);
            room -= part.len();
            count += part.len();
        }
        if count > 0 {
            self.queue_send(key);
        }
        count
    }

    /// Puts a caller's buffer into flight. The socket has nothing unsent. `lent`: the caller wants it back.
    pub(super) fn send_owned(&mut self, key: Key, buffer: Vec<u8>, lent: bool) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let send = &mut socket.send;
        assert!(send.unsent() == 0 && !send.in_flight, "the caller waited for what was sent before");
        let before = mem::replace(&mut send.flight, buffer);
        send.sent = 0;
        send.lent = lent;
        let forgotten = send.returned.take();
        self.recycle(before);
        if let Some(forgotten) = forgotten {
            self.recycle(forgotten);
        }
        self.queue_send(key);
    }

    fn queue_send(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if !socket.send.queued && !socket.send.in_flight {
            socket.send.queued = true;
            self.unsent.push(key);
            self.pending = true;
        }
    }

    /// Starts the sends of this turn.
    pub(super) fn start_sends(&mut self) {
        let mut unsent = mem::take(&mut self.unsent);
        for key in unsent.drain(..) {
            self.start_send(key);
        }
        self.unsent = unsent;
    }

    fn start_send(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let send = &mut socket.send;
        send.queued = false;
        if self.phase != Phase::Running || send.in_flight || send.error.is_some() || socket.orphaned {
            return;
        }
        if send.flight.is_empty() {
            mem::swap(&mut send.flight, &mut send.staged);
        }
        let rest = &send.flight[send.sent..];
        let rest = &rest[..rest.len().min(SEND_BYTES_MAX)];
        let Some(fd) = socket.fd.as_ref().map(|fd| Fd(fd.as_raw_fd())) else {
            return;
        };
        if rest.is_empty() {
            return;
        }
        let len = u32::try_from(rest.len()).expect("a send is at most 1 GiB");
        let entry = opcode::Send::new(fd, rest.as_ptr(), len).flags(libc::MSG_NOSIGNAL).build();
        send.in_flight = true;
        self.queue(entry.user_data(key.token(operation::SEND)));
    }

    pub(super) fn on_sent(&mut self, key: Key, result: i32) {
        let Some(socket) = self.sockets.get_mut(key) else {
            self.counters.stale += 1;
            return;
        };
        let send = &mut socket.send;
        send.in_flight = false;
        match usize::try_from(result) {
            Ok(count) if count > 0 => {
                send.sent += count;
                send.total += count as u64;
                debug_assert!(send.sent <= send.flight.len(), "the kernel takes no more than it was given");
            }
            Ok(_) => send.fail(libc::EPIPE),
            Err(_) if -result == libc::EINTR || -result == libc::EAGAIN => {}
            Err(_) => send.fail(-result),
        }
        if send.error.is_some() || send.sent >= send.flight.len() {
            self.land(key);
        }
        self.after_send(key);
    }

    /// Ends a flight: its buffer goes back to the caller or to the spare ones.
    fn land(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let send = &mut socket.send;
        let flight = mem::take(&mut send.flight);
        send.sent = 0;
        if mem::take(&mut send.lent) {
            send.returned = Some(flight);
        } else {
            self.recycle(flight);
        }
    }

    fn after_send(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if socket.orphaned {
            return self.remove_if_done(key);
        }
        let more = socket.send.unsent() > 0 && socket.send.error.is_none();
        self.woken.extend(socket.send.waker.take());
        if more {
            self.queue_send(key);
        }
    }

    /// Keeps an ordinary buffer for the next send.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if cfg!(debug_assertions) {
            buffer.fill(PATTERN);
        }
        // A staging buffer that grew by doubling may be twice as large as what it holds.
        let useful = (1..=2 * SEND_STAGED_BYTES_MAX).contains(&buffer.capacity());
        if useful && self.spare.len() < SEND_SPARE_BUFFERS_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
