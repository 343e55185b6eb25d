//! Subscriptions that outlive their providers: what is asked for, and the stream that is told. Pure.
//!
//! Clients that ask for the same ([`Wanted`], a [`LogFilter`] in its one canonical form) share one upstream
//! subscription of the node, and one [`Core`]. The core is told what the provider says, and says what to subscribe to,
//! what to fetch through the door, and what to emit to all clients. It keeps the chain that it has delivered, so that
//! whatever happens above it (losses, reorganisations, a provider that is behind or on a fork), what it emits is the
//! difference. What it cannot make good within bounds ends the stream for its clients with a reason. There is no third
//! outcome, and `sim` is there to prove it. Subscriptions of other kinds are passed on as they come ([`Relay`]).
//!
//! JSON stays raw: a header is its hash, its parent's, its number and its bytes, a log its block's hash, its index and
//! its bytes ([`read_head`] and its neighbours). Left to the caller: sockets.

mod block;
mod chain;
mod core;
mod fetches;
mod filter;
mod reading;
mod relay;
#[cfg(test)]
mod sim;
mod source;
mod waiting;

pub use self::core::{Action, Core, Emission, Feed, Settings};
pub use block::{BlockHash, Header, Log, Raw};
pub use fetches::{Fetch, FetchId};
pub use filter::{FilterError, LogFilter, Wanted, push_hex};
pub use reading::{as_removed, read_block, read_head, read_log, read_logs};
pub use relay::Relay;
pub use source::Epoch;
