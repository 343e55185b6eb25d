//! One value for one who waits, handed over by another task of the shard.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

pub(super) struct Promise<T> {
    value: RefCell<Option<T>>,
    waker: RefCell<Option<Waker>>,
}

impl<T> Default for Promise<T> {
    fn default() -> Self {
        Self { value: RefCell::new(None), waker: RefCell::new(None) }
    }
}

impl<T> Promise<T> {
    pub(super) fn keep(&self, value: T) {
        *self.value.borrow_mut() = Some(value);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Waits for the value, which is there once.
    pub(super) async fn kept(&self) -> T {
        poll_fn(|cx| {
            if let Some(value) = self.value.borrow_mut().take() {
                return Poll::Ready(value);
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}
