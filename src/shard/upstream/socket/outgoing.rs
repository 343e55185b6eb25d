//! What waits to be sent on one connection: whole frames, masked, in the order in which they were handed in.
//!
//! Each frame has a mask of its own (RFC 6455, section 5.3), drawn from a generator that the system's random source has
//! seeded: what it is for is that a caller cannot choose the bytes on the wire.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::limits;
use crate::routing::Random;
use crate::websocket::{CloseCode, Mask, Opcode, write_close, write_frame};

pub(super) struct Outgoing {
    ready: RefCell<Vec<u8>>,
    masks: RefCell<Random>,
    /// Bytes that have been taken to be sent, since the connection began.
    taken: Cell<u64>,
    /// Nothing more is sent.
    over: Cell<bool>,
    /// The task is to look again, whether or not there is something to send.
    nudged: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

impl Outgoing {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            ready: RefCell::default(),
            masks: RefCell::new(Random::new(seed)),
            taken: Cell::new(0),
            over: Cell::new(false),
            nudged: Cell::new(false),
            task: RefCell::new(None),
        }
    }

    /// Whether a message of so many bytes may wait here. One that is alone always may.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let waiting = self.ready.borrow().len();
        waiting == 0 || waiting + bytes <= limits::UPSTREAM_SOCKET_QUEUED_BYTES_MAX
    }

    /// Adds a frame. Answers where it begins in all that is sent.
    pub(super) fn frame(&self, opcode: Opcode, payload: &[u8]) -> u64 {
        self.push(|ready, mask| write_frame(ready, opcode, false, payload, Some(mask)))
    }

    /// Adds the last frame: nothing follows it.
    pub(super) fn close(&self, code: Option<CloseCode>, reason: &str) {
        self.push(|ready, mask| write_close(ready, code, reason, Some(mask)));
        self.over.set(true);
    }

    /// Whether what begins there may have been sent.
    pub(super) fn may_have_sent(&self, at: u64) -> bool {
        self.taken.get() > at
    }

    /// The next bytes to send.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        let taken = std::mem::take(&mut *self.ready.borrow_mut());
        self.taken.set(self.taken.get() + taken.len() as u64);
        (!taken.is_empty()).then_some(taken)
    }

    /// Has the connection's task look at what has changed.
    pub(super) fn nudge(&self) {
        self.nudged.set(true);
        self.wake();
    }

    /// Waits until there is something to send or to look at.
    pub(super) async fn wanted(&self) {
        poll_fn(|cx| {
            if self.nudged.take() || !self.ready.borrow().is_empty() {
                return Poll::Ready(());
            }
            let mut task = self.task.borrow_mut();
            if !task.as_ref().is_some_and(|held| held.will_wake(cx.waker())) {
                *task = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn push(&self, write: impl FnOnce(&mut Vec<u8>, Mask)) -> u64 {
        let mut ready = self.ready.borrow_mut();
        let at = self.taken.get() + ready.len() as u64;
        if !self.over.get() {
            let [a, b, c, d, ..] = self.masks.borrow_mut().next_u64().to_le_bytes();
            write(&mut ready, [a, b, c, d]);
        }
        drop(ready);
        self.wake();
        at
    }

    fn wake(&self) {
        if let Some(task) = self.task.borrow_mut().take() {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;
    use crate::websocket::{Event, Kind, Reader, ReaderConfig, Role};

    #[test]
    fn frames_leave_in_order_each_with_a_mask_of_its_own_and_none_behind_the_goodbye() {
        let out = Outgoing::new(7);
        assert_eq!(out.frame(Opcode::Text, b"{}"), 0);
        let second = out.frame(Opcode::Text, b"{}");
        assert!(!out.may_have_sent(0) && !out.may_have_sent(second));
        let mut bytes = out.take().unwrap();
        assert!(out.may_have_sent(0) && out.may_have_sent(second) && out.take().is_none());
        assert_ne!(bytes[2..6], bytes[10..14]);
        assert_eq!(out.frame(Opcode::Ping, b""), bytes.len() as u64);
        out.close(Some(CloseCode::NORMAL), "");
        let end = out.frame(Opcode::Text, b"too late");
        bytes.extend(out.take().unwrap());
        assert!(!out.may_have_sent(end));
        let mut reader = Reader::new(ReaderConfig { role: Role::Server, message_bytes_max: 100, compression: false });
        let (mut at, mut heard) = (0, Vec::new());
        while let Some(event) = {
            let step = reader.read(Instant::START, &mut bytes[at..]).unwrap();
            at += step.consumed;
            step.event
        } {
            heard.push(match event {
                Event::Message { kind: Kind::Text, bytes: b"{}", .. } => "text",
                Event::Ping(b"") => "ping",
                Event::Close(close) if close.code == Some(CloseCode::NORMAL) => "close",
                _ => "something else",
            });
        }
        assert_eq!((heard, at), (vec!["text", "text", "ping", "close"], bytes.len()));
    }

    #[test]
    fn one_message_always_has_room_and_more_only_within_the_bound() {
        let out = Outgoing::new(7);
        assert!(out.has_room(usize::MAX));
        out.frame(Opcode::Text, b"{}");
        assert!(out.has_room(1000) && !out.has_room(limits::UPSTREAM_SOCKET_QUEUED_BYTES_MAX));
    }
}
