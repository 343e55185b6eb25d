//! What waits to be sent to one client's WebSocket: whole frames, in the order in which they were handed in.
//!
//! Calls hand in their answers as they get them, and the connection's task sends what is there. It is bounded: an answer
//! that finds no room closes the connection, since nothing may be left out. An answer that streams goes out in fragments,
//! between which no other message may stand; others wait behind it. Control frames may stand between.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use super::compress::Packing;
use super::notice::Notice;
use super::queue::Queue;
use crate::limits;
use crate::websocket::{CloseCode, FrameHead, Opcode, write_frame};

/// See the module.
#[derive(Default)]
pub(super) struct Sending {
    /// Frames that may leave now.
    ready: RefCell<Queue>,
    /// Messages behind the one that streams.
    held: RefCell<Queue>,
    bytes_max: usize,
    packing: Option<Packing>,
    /// Bytes of large messages that are there and wait for their turn or have it.
    kept: Cell<usize>,
    /// Messages handed in, large ones once.
    messages: Cell<u64>,
    streaming: Cell<bool>,
    /// Something found no room.
    overflown: Cell<bool>,
    /// Somebody wants it closed, and says why.
    close: Cell<Option<(CloseCode, &'static str)>>,
    /// A message broke off in the middle.
    broken: Cell<bool>,
    /// The connection's task is to look about itself.
    nudged: Cell<bool>,
    /// Nothing more is sent.
    over: Cell<bool>,
    /// The connection's task.
    task: RefCell<Option<Waker>>,
    /// Calls that wait for their turn, or for room.
    calls: RefCell<Vec<Waker>>,
}

/// A large message that waits to be sent.
pub(super) struct Kept<'a> {
    sending: &'a Sending,
    bytes: usize,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.sending.kept.set(self.sending.kept.get() - self.bytes);
    }
}

impl Sending {
    pub(super) fn new(bytes_max: usize, packing: Option<Packing>) -> Self {
        Self { bytes_max, packing, ..Self::default() }
    }

    /// One message. False: it had no room, or nothing is sent any more.
    pub(super) fn message(&self, opcode: Opcode, payload: &[u8]) -> bool {
        self.messages.set(self.messages.get() + 1);
        let queue = if self.streaming.get() { &self.held } else { &self.ready };
        self.push(queue, payload.len(), |queue| {
            Packing::pack(self.packing.as_ref(), payload, |bytes, packed| {
                queue.write(|out| write_frame(out, opcode, packed, bytes, None));
            });
        })
    }

    /// One message whose frame others have, too. False: it had no room, or nothing is sent any more.
    pub(super) fn shared(&self, notice: &Notice) -> bool {
        let frame = notice.frame(self.packing.as_ref());
        self.messages.set(self.messages.get() + 1);
        let queue = if self.streaming.get() { &self.held } else { &self.ready };
        self.push(queue, frame.len(), |queue| queue.share(&frame))
    }

    /// The connection is to be closed behind what waits.
    pub(super) fn close_because(&self, code: CloseCode, reason: &'static str) {
        if self.close.get().is_none() {
            self.close.set(Some((code, reason)));
            self.wake_task();
        }
    }

    /// The connection's task is to look what else there is.
    pub(super) fn nudge(&self) {
        self.nudged.set(true);
        self.wake_task();
    }

    /// Why it is to be closed, said once.
    pub(super) fn is_to_close(&self) -> Option<(CloseCode, &'static str)> {
        self.close.take()
    }

    /// Messages of ours so far.
    pub(super) fn messages(&self) -> u64 {
        self.messages.get()
    }

    /// A control frame, whole, as `write` makes it. What a client provokes is bounded by the reader's flood limit.
    pub(super) fn control(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.over.get() {
            self.ready.borrow_mut().write(write);
            self.wake_task();
        }
    }

    /// A part of the message that has the turn; false once nothing is sent any more.
    pub(super) async fn fragment(&self, opcode: Opcode, last: bool, payload: &[u8]) -> bool {
        self.room().await;
        let head = FrameHead { opcode, last, compressed: false, mask: None, payload_bytes: payload.len() as u64 };
        let sent = self.push(&self.ready, payload.len(), |queue| {
            queue.write(|out| {
                out.extend_from_slice(head.write().as_ref());
                out.extend_from_slice(payload);
            });
        });
        if last {
            self.messages.set(self.messages.get() + 1);
            self.end_turn();
        }
        sent
    }

    /// Makes room for a large message that is there already; none: too many wait before it, as their client reads too
    /// slowly. One that is alone always fits.
    pub(super) fn keep(&self, bytes: usize) -> Option<Kept<'_>> {
        let kept = self.kept.get();
        if kept > 0 && kept + bytes > limits::WEBSOCKET_KEPT_BYTES_MAX {
            self.overflown.set(true);
            self.wake_task();
            return None;
        }
        self.kept.set(kept + bytes);
        Some(Kept { sending: self, bytes })
    }

    /// Waits until no other message streams, and takes the turn.
    pub(super) async fn turn(&self) {
        self.wait(|| !self.streaming.get()).await;
        self.streaming.set(true);
    }

    /// The next bytes to send, if there are any.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        let taken = self.ready.borrow_mut().take()?;
        self.wake_calls();
        Some(taken)
    }

    /// Whether nothing is left to send.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.borrow().is_empty()
    }

    /// Waits until there is something to send, the connection is to be closed, or somebody [nudges](Self::nudge).
    pub(super) async fn wanted(&self) {
        poll_fn(|cx| {
            let stops = self.overflown.get() || self.broken.get() || self.close.get().is_some();
            if self.nudged.take() || (stops && !self.over.get()) || !self.is_empty() {
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

    /// The close frame: it goes behind what waits already, and nothing goes behind it.
    pub(super) fn last(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.control(write);
        self.end();
    }

    /// What waits is not sent.
    pub(super) fn clear(&self) {
        self.ready.borrow_mut().clear();
        self.held.borrow_mut().clear();
    }

    /// Nothing more is sent: what calls still bring is dropped.
    pub(super) fn end(&self) {
        self.over.set(true);
        self.held.borrow_mut().clear();
        self.wake_calls();
    }

    fn push(&self, queue: &RefCell<Queue>, bytes: usize, write: impl FnOnce(&mut Queue)) -> bool {
        let waiting = self.ready.borrow().bytes() + self.held.borrow().bytes();
        // One that is alone always fits: a message is bounded by itself.
        let fits = waiting == 0 || waiting + bytes <= self.bytes_max;
        // Behind what found no room nothing goes, even if there is room again before the connection's task looks.
        if self.over.get() || self.overflown.get() {
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
        self.ready.borrow_mut().append(&mut self.held.borrow_mut());
        self.wake_calls();
    }

    /// Waits until what streams would not get ahead of its reader.
    async fn room(&self) {
        self.wait(|| self.ready.borrow().bytes() < limits::WHOLE_BYTES_MAX).await;
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

#[cfg(test)]
mod tests {
    use futures_util::future::FutureExt;

    use super::*;

    #[test]
    fn nothing_is_sent_behind_what_found_no_room() {
        let sending = Sending::new(100, None);
        assert!(sending.message(Opcode::Text, &[b'a'; 60]));
        assert!(!sending.message(Opcode::Text, &[b'b'; 60]) && sending.is_overflown());
        // The client reads on before its connection looks.
        assert_eq!(sending.take().map(|frames| frames.len()), Some(62));
        assert!(!sending.message(Opcode::Text, b"c") && !sending.shared(&Notice::new(7, b"1")));
        assert_eq!(sending.take(), None, "a hole, and what comes behind it");
    }

    #[test]
    fn large_messages_wait_within_a_bound() {
        let sending = Sending::new(100, None);
        let alone = sending.keep(2 * limits::WEBSOCKET_KEPT_BYTES_MAX);
        assert!(alone.is_some());
        drop(alone);
        let some = [(); 2].map(|()| sending.keep(limits::WEBSOCKET_KEPT_BYTES_MAX / 2));
        assert!(some.iter().all(Option::is_some) && !sending.is_overflown());
        assert!(sending.keep(1).is_none() && sending.is_overflown());
        drop(some);
        assert_eq!(sending.kept.get(), 0);
    }

    #[test]
    fn a_nudge_ends_one_wait() {
        let sending = Sending::new(100, None);
        assert!(sending.wanted().now_or_never().is_none());
        sending.nudge();
        assert!(sending.wanted().now_or_never().is_some() && sending.wanted().now_or_never().is_none());
    }

    #[test]
    fn what_has_said_goodbye_waits_for_nothing_more() {
        let sending = Sending::new(100, None);
        sending.message(Opcode::Text, &[b'a'; 60]);
        sending.message(Opcode::Text, &[b'b'; 60]);
        assert!(sending.is_overflown() && sending.wanted().now_or_never().is_some());
        sending.clear();
        sending.last(|out| out.push(b'x'));
        assert_eq!((sending.take(), sending.is_empty()), (Some(b"x".to_vec()), true));
        sending.break_off();
        assert!(sending.wanted().now_or_never().is_none(), "its connection would never rest");
    }
}
