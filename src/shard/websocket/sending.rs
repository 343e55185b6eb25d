//! What waits to be sent to one client's WebSocket: whole frames, in the order in which they were handed in.
//!
//! Calls hand in their answers as they get them, and the connection's task sends what is there. It is bounded: an answer
//! that finds no room closes the connection, since nothing may be left out. An answer that streams goes out in fragments,
//! between which no other message may stand; others wait behind it. Control frames may stand between.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::limits;
use crate::websocket::{FrameHead, Opcode, write_frame};

/// See the module.
#[derive(Default)]
pub(super) struct Sending {
    /// Frames that may leave now.
    ready: RefCell<Vec<u8>>,
    /// Messages behind the one that streams.
    held: RefCell<Vec<u8>>,
    bytes_max: usize,
    streaming: Cell<bool>,
    /// Something found no room.
    overflown: Cell<bool>,
    /// A message broke off in the middle.
    broken: Cell<bool>,
    /// Nothing more is sent.
    over: Cell<bool>,
    /// The connection's task.
    task: RefCell<Option<Waker>>,
    /// Calls that wait for their turn, or for room.
    calls: RefCell<Vec<Waker>>,
}

impl Sending {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// One message. False: it had no room, or nothing is sent any more.
    pub(super) fn message(&self, opcode: Opcode, payload: &[u8]) -> bool {
        let queue = if self.streaming.get() { &self.held } else { &self.ready };
        self.push(queue, payload.len(), |queue| write_frame(queue, opcode, false, payload, None))
    }

    /// A control frame, whole, as `write` makes it. What a client provokes is bounded by the reader's flood limit.
    pub(super) fn control(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.over.get() {
            write(&mut self.ready.borrow_mut());
            self.wake_task();
        }
    }

    /// A part of the message that has the turn; false once nothing is sent any more.
    pub(super) async fn fragment(&self, opcode: Opcode, last: bool, payload: &[u8]) -> bool {
        self.room().await;
        let head = FrameHead { opcode, last, compressed: false, mask: None, payload_bytes: payload.len() as u64 };
        let sent = self.push(&self.ready, payload.len(), |queue| {
            queue.extend_from_slice(head.write().as_ref());
            queue.extend_from_slice(payload);
        });
        if last {
            self.end_turn();
        }
        sent
    }

    /// Waits until no other message streams, and takes the turn.
    pub(super) async fn turn(&self) {
        self.wait(|| !self.streaming.get()).await;
        self.streaming.set(true);
    }

    /// The next bytes to send, if there are any.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        let mut ready = self.ready.borrow_mut();
        if ready.is_empty() {
            return None;
        }
        let taken = std::mem::take(&mut *ready);
        drop(ready);
        self.wake_calls();
        Some(taken)
    }

    /// Waits until there is something to send, or the connection cannot go on.
    pub(super) async fn wanted(&self) {
        poll_fn(|cx| {
            if !self.ready.borrow().is_empty() || self.overflown.get() || self.broken.get() {
                return Poll::Ready(());
            }
            *self.task.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Whether something found no room: the client reads too slowly.
    pub(super) fn is_overflown(&self) -> bool {
        self.overflown.get()
    }

    /// The message that has the turn breaks off: the connection cannot go on.
    pub(super) fn break_off(&self) {
        self.broken.set(true);
        self.wake_task();
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Puts `last` in the place of all that waits; nothing is sent behind it.
    pub(super) fn end_with(&self, last: impl FnOnce(&mut Vec<u8>)) {
        let mut ready = self.ready.borrow_mut();
        ready.clear();
        last(&mut ready);
        drop(ready);
        self.end();
    }

    /// Nothing more is sent: what calls still bring is dropped.
    pub(super) fn end(&self) {
        self.over.set(true);
        self.held.borrow_mut().clear();
        self.wake_calls();
    }

    fn push(&self, queue: &RefCell<Vec<u8>>, bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let waiting = self.ready.borrow().len() + self.held.borrow().len();
        // One that is alone always fits: a message is bounded by itself.
        let fits = waiting == 0 || waiting + bytes <= self.bytes_max;
        if self.over.get() {
            return false;
        }
        if fits {
            write(&mut queue.borrow_mut());
        } else {
            self.overflown.set(true);
        }
        self.wake_task();
        fits
    }

    fn end_turn(&self) {
        self.streaming.set(false);
        let held = std::mem::take(&mut *self.held.borrow_mut());
        self.ready.borrow_mut().extend_from_slice(&held);
        self.wake_calls();
    }

    /// Waits until what streams would not get ahead of its reader.
    async fn room(&self) {
        self.wait(|| self.ready.borrow().len() < limits::WHOLE_BYTES_MAX).await;
    }

    async fn wait(&self, ready: impl Fn() -> bool) {
        poll_fn(|cx| {
            if ready() || self.over.get() {
                return Poll::Ready(());
            }
            self.calls.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn wake_task(&self) {
        if let Some(task) = self.task.borrow_mut().take() {
            task.wake();
        }
    }

    fn wake_calls(&self) {
        let calls = std::mem::take(&mut *self.calls.borrow_mut());
        calls.into_iter().for_each(Waker::wake);
    }
}
