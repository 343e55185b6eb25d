//! Sleeping: a timeout on the ring, for the shard's wheel and for tests.
//!
//! The span of time that the kernel reads belongs to the slot, not to the future. A sleep that is dropped is cancelled,
//! and its slot goes with the completion that this brings.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::opcode;
use io_uring::types::Timespec;

use super::Inner;
use super::core::{Core, Phase, operation, remember};
use super::slots::Key;

/// One sleep, from its start to its completion.
#[derive(Debug)]
pub(super) struct Sleeping {
    /// At one address until the kernel has taken the operation.
    #[expect(dead_code, reason = "the kernel reads it")]
    span: Box<Timespec>,
    armed: bool,
    orphaned: bool,
    waker: Option<Waker>,
}

impl Sleeping {
    pub(super) const fn is_armed(&self) -> bool {
        self.armed
    }

    /// Whether a cancel that found nothing is to be tried again.
    pub(super) const fn awaits_cancel(&self) -> bool {
        self.armed && self.orphaned
    }
}

impl Core {
    fn start_sleep(&mut self, length: Duration) -> Key {
        let span = Box::new(Timespec::from(length));
        let armed = self.phase == Phase::Running;
        let entry = opcode::Timeout::new(&raw const *span).build();
        let key = self.sleepers.insert(Sleeping { span, armed, orphaned: false, waker: None });
        if armed {
            self.queue(entry.user_data(key.token(operation::SLEEP)));
        }
        key
    }

    /// Over, or cancelled because the ring ends: whoever sleeps goes on.
    pub(super) fn on_slept(&mut self, key: Key) {
        let Some(sleeping) = self.sleepers.get_mut(key) else {
            self.counters.stale += 1;
            return;
        };
        sleeping.armed = false;
        self.woken.extend(sleeping.waker.take());
        if sleeping.orphaned {
            self.sleepers.remove(key);
        }
    }

    /// The ring is gone: nobody sleeps on.
    pub(super) fn end_sleeps(&mut self) {
        for key in self.sleepers.keys() {
            self.on_slept(key);
        }
    }

    fn poll_slept(&mut self, key: Key, cx: &Context<'_>) -> Poll<()> {
        match self.sleepers.get_mut(key) {
            Some(sleeping) if sleeping.armed => {
                remember(&mut sleeping.waker, cx, &mut self.replaced);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    fn release_sleep(&mut self, key: Key) {
        let Some(sleeping) = self.sleepers.get_mut(key) else {
            return;
        };
        self.replaced.extend(sleeping.waker.take());
        if sleeping.armed {
            sleeping.orphaned = true;
            self.queue_cancel(key, operation::SLEEP);
        } else {
            self.sleepers.remove(key);
        }
    }
}

/// See [`super::Ring::sleep`].
#[derive(Debug)]
#[must_use = "a sleep that is not awaited is cancelled"]
pub struct Sleep {
    inner: Rc<Inner>,
    key: Key,
}

impl Sleep {
    pub(super) fn new(inner: &Rc<Inner>, length: Duration) -> Self {
        Self { key: inner.with(|core| core.start_sleep(length)), inner: Rc::clone(inner) }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.with(|core| core.poll_slept(self.key, cx))
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.inner.with(|core| core.release_sleep(self.key));
    }
}
