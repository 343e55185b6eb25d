//! Futures on the heap: what is large and rare inside what is usual and to stay small.
//!
//! A future is as large as the largest of those that it awaits in place. Opening a connection with TLS takes three kilobytes,
//! which every call would carry along though few open one.

use std::pin::Pin;

/// The future that `make` makes, on the heap from the beginning.
pub(crate) fn on_heap<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    // The room comes first: what a new future holds is written straight into it, and the rest is not copied.
    let room = Box::new_uninit();
    Box::into_pin(Box::write(room, make()))
}
