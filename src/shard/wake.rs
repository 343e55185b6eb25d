//! One task that waits for others of its shard.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Woken at least once is woken: a word that comes before the wait is not lost.
#[derive(Default)]
pub(crate) struct Wake {
    woken: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

impl Wake {
    pub(crate) fn wake(&self) {
        self.woken.set(true);
        if let Some(task) = self.task.borrow_mut().take() {
            task.wake();
        }
    }

    /// Waits until somebody has called [`Wake::wake`] since the last time.
    pub(crate) async fn wait(&self) {
        poll_fn(|cx| {
            if self.woken.take() {
                return Poll::Ready(());
            }
            *self.task.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
