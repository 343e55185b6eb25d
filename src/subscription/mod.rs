//! What clients subscribe to, and what waits for each of them. Pure.
//!
//! Clients that ask for the same ([`Wanted`], a [`LogFilter`] in its one canonical form) are to share one upstream subscription
//! of the node. A client that reads slowly has an [`Outbox`] of its own that fills, and is then closed alone.

mod filter;
mod outbox;

pub use filter::{FilterError, LogFilter, Wanted};
pub use outbox::Outbox;
