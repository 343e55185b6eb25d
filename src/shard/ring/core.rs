//! What a shard's ring is made of: the kernel's two queues, the sockets, the buffers; and one turn of them.
//!
//! Tasks change this state and queue operations; only [`Core::turn`] enters the kernel and hands completions out. A
//! completion finds its socket by the key in its token. Wakers are collected and called by the owner of the `RefCell`
//! after the borrow has ended: a waker may run code of anybody's, a drop of one even a task's destructor.
//!
//! Memory that the kernel reads or writes (send buffers, addresses, receive buffers) belongs to a slot or to `Buffers`
//! and outlives the operation: a slot leaves the slab only when its last completion has been seen.

use std::collections::VecDeque;
use std::mem;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::task::{Context, Waker};
use std::time::Duration;
use std::{io, thread};

use io_uring::types::Fd;
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use tracing::error;

use super::accept::Listening;
use super::buffers::{Buffers, GROUP};
use super::probe::{self, Features, RingError};
use super::receive::Receive;
use super::send::Sending;
use super::sleep::Sleeping;
use super::slots::{Key, Slots};
use super::{RingOptions, RingStats};

/// What an operation was, as the token says.
pub(super) mod operation {
    pub(in super::super) const RECEIVE: u8 = 1;
    pub(in super::super) const SEND: u8 = 2;
    pub(in super::super) const CONNECT: u8 = 3;
    pub(in super::super) const ACCEPT: u8 = 4;
    pub(in super::super) const SLEEP: u8 = 5;
    pub(in super::super) const CLOSE: u8 = 6;
    /// Added to what is to be cancelled.
    pub(in super::super) const CANCEL: u8 = 0x80;
}

/// Enters with which a dropped ring waits for the kernel to let go of its memory. A cancel takes one; the pauses of
/// 1 ms between them make two seconds.
const QUIESCE_ENTERS_MAX: u32 = 2_000;

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There was work, or there will be: let tasks run, then turn again.
    Busy,
    /// Nothing to do until the kernel or a task says so.
    Idle,
    /// The ring is shut down and holds nothing of the kernel's.
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// Told to end; the driver has yet to cancel.
    Ending,
    /// Everything is cancelled; completions are awaited.
    Draining,
    Ended,
}

/// One connection, from its connect or accept to its last completion.
#[derive(Debug)]
pub(super) struct Socket {
    /// Gone once the close is queued.
    pub(super) fd: Option<OwnedFd>,
    pub(super) receive: Receive,
    pub(super) send: Sending,
    /// The address that a connect under way reads.
    pub(super) connecting: Option<Box<socket2::SockAddr>>,
    pub(super) connected: bool,
    /// The `Stream` is gone; what is left waits for completions.
    pub(super) orphaned: bool,
}

impl Socket {
    pub(super) const fn new(fd: OwnedFd) -> Self {
        Self {
            fd: Some(fd),
            receive: Receive::new(),
            send: Sending::new(),
            connecting: None,
            connected: true,
            orphaned: false,
        }
    }

    const fn has_operations(&self) -> bool {
        self.receive.is_armed() || self.send.is_in_flight() || self.connecting.is_some()
    }
}

#[derive(Clone, Copy, Debug)]
struct Completion {
    token: u64,
    result: i32,
    flags: u32,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) enters: u64,
    pub(super) completions: u64,
    pub(super) sleeps: u64,
    pub(super) pauses: u64,
    pub(super) starved: u64,
    pub(super) spills: u64,
    pub(super) overflows: u64,
    pub(super) stale: u64,
    pub(super) failed_closes: u64,
}

pub(super) struct Core {
    // Before `buffers`: fields are dropped in order, and the kernel's ring goes before the memory it knows.
    uring: IoUring,
    pub(super) buffers: Buffers,
    pub(super) sockets: Slots<Socket>,
    pub(super) listeners: Slots<Listening>,
    pub(super) sleepers: Slots<Sleeping>,
    /// Operations for which the submission queue had no room, oldest first.
    backlog: VecDeque<squeue::Entry>,
    /// Sockets with something to send that is not with the kernel.
    pub(super) unsent: Vec<Key>,
    /// Sockets whose receive ended for want of a buffer, in order.
    pub(super) starved: VecDeque<Key>,
    /// Wakers to call once the borrow has ended.
    pub(super) woken: Vec<Waker>,
    /// Wakers to drop then.
    pub(super) replaced: Vec<Waker>,
    /// Buffers for sending, empty, to be used again.
    pub(super) spare: Vec<Vec<u8>>,
    batch: Vec<Completion>,
    completions_per_turn: usize,
    pub(super) phase: Phase,
    /// A turn is wanted though the kernel has nothing to say.
    pub(super) pending: bool,
    pub(super) in_flight: usize,
    pub(super) features: Features,
    pub(super) counters: Counters,
}

/// Remembers the task of `cx`, and keeps what it replaces until it can be dropped safely.
pub(super) fn remember(waker: &mut Option<Waker>, cx: &Context<'_>, replaced: &mut Vec<Waker>) {
    match waker {
        Some(known) if known.will_wake(cx.waker()) => {}
        _ => replaced.extend(waker.replace(cx.waker().clone())),
    }
}

impl Core {
    pub(super) fn new(options: &RingOptions) -> Result<Self, RingError> {
        let (uring, features) = probe::set_up(options)?;
        let buffers = Buffers::new(options.buffers, options.buffer_bytes).map_err(RingError::other("mmap"))?;
        // SAFETY: the address is that of `count` entries which stay mapped until after `uring` is closed (field order),
        // or for ever (`Buffers::leak`).
        unsafe { uring.submitter().register_buf_ring_with_flags(buffers.ring_address(), buffers.count(), GROUP, 0) }
            .map_err(RingError::other("IORING_REGISTER_PBUF_RING"))?;
        Ok(Self {
            uring,
            buffers,
            sockets: Slots::new(),
            listeners: Slots::new(),
            sleepers: Slots::new(),
            backlog: VecDeque::new(),
            unsent: Vec::new(),
            starved: VecDeque::new(),
            woken: Vec::new(),
            replaced: Vec::new(),
            spare: Vec::new(),
            batch: Vec::new(),
            completions_per_turn: options.completions_per_turn,
            phase: Phase::Running,
            pending: false,
            in_flight: 0,
            features,
            counters: Counters::default(),
        })
    }

    /// Submits what is queued, takes completions in and says how to go on.
    pub(super) fn turn(&mut self) -> Turn {
        if self.phase == Phase::Ending {
            self.cancel_everything();
            self.phase = Phase::Draining;
        }
        self.relieve_pressure();
        self.feed_starved();
        self.start_sends();
        // Who is still starved has his turn in the next: this one took buffers for at least half of the pool.
        self.pending = !self.starved.is_empty();
        self.enter();
        let handed_out = self.hand_out();
        if self.phase == Phase::Draining && self.is_quiet() {
            self.phase = Phase::Ended;
        }
        if self.phase == Phase::Ended {
            Turn::Finished
        } else if handed_out > 0 || self.pending || self.kernel_has_work() {
            Turn::Busy
        } else {
            Turn::Idle
        }
    }

    /// Queues an operation. Its completion is not counted: it is one that says nothing when all went well.
    pub(super) fn queue_silent(&mut self, entry: squeue::Entry) {
        self.pending = true;
        if self.backlog.is_empty() {
            // SAFETY: what an entry points to outlives its operation: a send's bytes are in the slot's `flight` and an
            // address in its `connecting`, neither of which is touched before the completion; receives name a buffer
            // group; the rest point to nothing.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return;
            }
        }
        self.backlog.push_back(entry);
    }

    /// Queues an operation whose (last) completion takes it off the books.
    pub(super) fn queue(&mut self, entry: squeue::Entry) {
        self.in_flight += 1;
        self.queue_silent(entry);
    }

    /// Asks the kernel to end `operation` of `key`; its completion comes all the same.
    pub(super) fn queue_cancel(&mut self, key: Key, operation: u8) {
        let entry = opcode::AsyncCancel::new(key.token(operation)).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.queue_silent(entry.user_data(key.token(operation | operation::CANCEL)));
    }

    /// Closes a descriptor in order with what is queued on it, without a system call of its own.
    pub(super) fn queue_close(&mut self, key: Key, fd: OwnedFd) {
        if self.phase == Phase::Ended {
            return; // dropped here: nothing is queued any more
        }
        let entry = opcode::Close::new(Fd(fd.into_raw_fd())).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.queue_silent(entry.user_data(key.token(operation::CLOSE)));
    }

    /// One system call, none when there is nothing to submit or to run; more when the submission queue overflowed.
    fn enter(&mut self) {
        let backlog = self.backlog.len();
        for _ in 0..=backlog {
            self.submit_backlog();
            let queued = self.uring.submission().len();
            // What has come is handed out before more is taken in: a burst is to be no longer than the kernel's own.
            if queued == 0 && (!self.kernel_has_deferred() || !self.uring.completion().is_empty()) {
                return;
            }
            match self.enter_once(queued, 0) {
                Ok(submitted) if submitted < queued => return self.pending = true, // short of memory: again
                Ok(_) => {}
                Err(error) => return self.enter_failed(&error),
            }
            if self.backlog.is_empty() {
                return;
            }
        }
    }

    fn enter_failed(&mut self, error: &io::Error) {
        self.pending = true;
        match error.raw_os_error() {
            // The completion queue is full, or memory short: take completions in, then again.
            Some(libc::EBUSY | libc::EAGAIN | libc::EINTR | libc::ENOMEM) => {}
            _ => self.break_down(error),
        }
    }

    /// Sleeps until there is a completion. For the driver, when nothing is queued and nobody is ready.
    pub(super) fn wait(&mut self) {
        if self.has_work() {
            return;
        }
        self.counters.sleeps += 1;
        match self.enter_once(0, 1) {
            Ok(_) => {}
            Err(error) => self.enter_failed(&error),
        }
    }

    fn enter_once(&mut self, queued: usize, completions: u32) -> io::Result<usize> {
        self.counters.enters += 1;
        let queued = u32::try_from(queued).unwrap_or(u32::MAX);
        // SAFETY: no argument is passed, and the flags ask for deferred work only; the memory of the queued entries is
        // vouched for where they are queued. This is the thread that made the ring: `Core` is not `Send`.
        unsafe {
            self.uring.submitter().enter::<libc::sigset_t>(queued, completions, EnterFlags::GETEVENTS.bits(), None)
        }
    }

    fn submit_backlog(&mut self) {
        let mut submission = self.uring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: as in `queue_silent`.
            if unsafe { submission.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
    }

    /// Whether an enter, or a look into the completion queue, would bring something.
    fn kernel_has_work(&mut self) -> bool {
        self.kernel_has_deferred() || !self.uring.completion().is_empty()
    }

    /// Whether an enter alone would: work that waits for one, or completions that found no room.
    fn kernel_has_deferred(&mut self) -> bool {
        let submission = self.uring.submission();
        submission.taskrun() || submission.cq_overflow()
    }

    /// Hands out at most `completions_per_turn`: a turn's length is bounded, and tasks run in between.
    fn hand_out(&mut self) -> usize {
        let mut batch = mem::take(&mut self.batch);
        if self.uring.submission().cq_overflow() {
            self.counters.overflows += 1;
        }
        batch.extend(self.uring.completion().by_ref().take(self.completions_per_turn).map(|entry| Completion {
            token: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
        let count = batch.len();
        self.counters.completions += count as u64;
        for completion in batch.drain(..) {
            self.on_completion(completion);
        }
        self.batch = batch;
        count
    }

    fn on_completion(&mut self, Completion { token, result, flags }: Completion) {
        let (code, key) = Key::of_token(token);
        if code < operation::CLOSE && !cqueue::more(flags) {
            self.in_flight -= 1;
        }
        match code {
            operation::RECEIVE => self.on_received(key, result, flags),
            operation::SEND => self.on_sent(key, result),
            operation::CONNECT => self.on_connected(key, result),
            operation::ACCEPT => self.on_accepted(key, result, flags),
            operation::SLEEP => self.on_slept(key),
            operation::CLOSE => self.counters.failed_closes += 1,
            _ => self.on_cancel_failed(key, code & !operation::CANCEL),
        }
    }

    /// A cancel that finds nothing has mostly come too late, and the completion is there already. Should the
    /// operation still be on the books, it is asked for again: a slot must not wait for ever.
    fn on_cancel_failed(&mut self, key: Key, code: u8) {
        let again = match code {
            operation::RECEIVE => self.sockets.get(key).is_some_and(|socket| socket.receive.is_cancelling()),
            operation::SEND => {
                self.sockets.get(key).is_some_and(|socket| socket.orphaned && socket.send.is_in_flight())
            }
            operation::CONNECT => self.sockets.get(key).is_some_and(|socket| socket.connecting.is_some()),
            operation::SLEEP => self.sleepers.get(key).is_some_and(Sleeping::awaits_cancel),
            _ => self.listeners.get(key).is_some_and(Listening::is_cancelling),
        };
        if again {
            self.queue_cancel(key, code);
        }
    }

    /// Ends a socket whose `Stream` is gone: unread bytes go, operations are cancelled, the descriptor is closed. The
    /// slot follows with the last completion.
    pub(super) fn release_socket(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.orphaned = true;
        socket.receive.discard(&mut self.buffers);
        self.replaced.extend(socket.receive.waker.take());
        self.replaced.extend(socket.send.waker.take());
        let fd = socket.fd.take();
        self.cancel_socket(key);
        if let Some(fd) = fd {
            self.queue_close(key, fd);
        }
        self.remove_if_done(key);
    }

    fn cancel_socket(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let receiving = socket.receive.begin_cancel();
        let (sending, connecting) = (socket.send.is_in_flight(), socket.connecting.is_some());
        for (wanted, code) in
            [(receiving, operation::RECEIVE), (sending, operation::SEND), (connecting, operation::CONNECT)]
        {
            if wanted {
                self.queue_cancel(key, code);
            }
        }
    }

    /// Frees the slot of an orphan without operations.
    pub(super) fn remove_if_done(&mut self, key: Key) {
        if self.sockets.get(key).is_some_and(|socket| socket.orphaned && !socket.has_operations())
            && let Some(mut socket) = self.sockets.remove(key)
        {
            for buffer in socket.send.take_buffers() {
                self.recycle(buffer);
            }
        }
    }

    /// Tells every task that the ring is gone, and the kernel to let go.
    fn cancel_everything(&mut self) {
        for key in self.sockets.keys() {
            self.fail_socket(key, libc::ESHUTDOWN);
            self.cancel_socket(key);
        }
        for key in self.listeners.keys() {
            self.cancel_listener(key);
        }
        for key in self.sleepers.keys() {
            self.queue_cancel(key, operation::SLEEP);
        }
    }

    fn fail_socket(&mut self, key: Key, errno: i32) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.receive.fail(errno);
        socket.send.fail(errno);
        self.woken.extend(socket.receive.waker.take());
        self.woken.extend(socket.send.waker.take());
    }

    /// The kernel refuses the ring itself: nothing can be saved but the process.
    fn break_down(&mut self, error: &io::Error) {
        error!(%error, "a shard's ring broke down; its connections are lost");
        for key in self.sockets.keys() {
            self.fail_socket(key, libc::EIO);
        }
        for key in self.listeners.keys() {
            self.cancel_listener(key);
        }
        self.end_sleeps();
        self.phase = Phase::Ended;
    }

    fn is_quiet(&mut self) -> bool {
        self.in_flight == 0 && self.backlog.is_empty() && self.uring.submission().is_empty() && !self.kernel_has_work()
    }

    /// Whether something is there, without asking the kernel.
    pub(super) fn has_work(&mut self) -> bool {
        self.pending || self.kernel_has_work()
    }

    pub(super) fn stats(&self) -> RingStats {
        let count = &self.counters;
        let sleepers = self.sleepers.values().filter(|sleeping| sleeping.is_armed()).count();
        RingStats {
            sockets: self.sockets.len(),
            listeners: self.listeners.len(),
            operations: self.in_flight - sleepers,
            sleepers,
            buffers: usize::from(self.buffers.count()),
            buffers_held: usize::from(self.buffers.held()),
            buffers_held_max: usize::from(self.buffers.held_max()),
            unread_bytes: self.sockets.values().map(|socket| socket.receive.unread()).sum(),
            unsent_bytes: self.sockets.values().map(|socket| socket.send.unsent()).sum(),
            enters: count.enters,
            completions: count.completions,
            sleeps: count.sleeps,
            pauses: count.pauses,
            starved: count.starved,
            spills: count.spills,
            overflows: count.overflows,
            stale: count.stale,
            failed_closes: count.failed_closes,
        }
    }
}

impl Drop for Core {
    /// The kernel lets go of the memory first; if it will not, the memory stays for ever.
    fn drop(&mut self) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Draining;
            self.cancel_everything();
        }
        for _ in 0..QUIESCE_ENTERS_MAX {
            self.enter();
            while self.hand_out() > 0 {}
            if self.is_quiet() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if self.in_flight > 0 {
            self.buffers.leak();
            mem::forget(mem::replace(&mut self.sockets, Slots::new()));
            mem::forget(mem::replace(&mut self.sleepers, Slots::new()));
        }
        for waker in self.woken.drain(..) {
            waker.wake();
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("phase", &self.phase).field("stats", &self.stats()).finish_non_exhaustive()
    }
}
