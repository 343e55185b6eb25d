//! One provider's WebSockets, as one shard has them: subscriptions for its feeds, and calls where the config says so.
//!
//! ```text
//!   attach ─▶ sockets: a connection with room, or a new one ◀─ exchange (calls)
//!                │ open: TCP, TLS, handshake
//!                ▼
//!   ears ◀── link ◀──────────── serve: the connection's task ◀──▶ provider
//!            requests, subscriptions, outgoing
//! ```
//!
//! Whoever wants to hear something [`attach`]es with a [`Wish`] and an [`Ear`]; what the provider pushes then comes to the
//! ear synchronously, in the order of the wire. What numbers, ids and waits there are is kept by pure parts (`requests`,
//! `subscriptions`, `backoff`); `link` puts them together, and knows no socket either.
//!
//! Connections for subscriptions and for calls are kept apart: a large answer to a call must not hold up heads. Pushes of
//! unknown subscriptions, and those that come before the answer that names theirs, are dropped: whoever listens must cope
//! with what it did not hear in any case.
//!
//! Left out: which provider is asked, and what becomes of what is heard. What we send is never compressed.

mod attach;
mod backoff;
pub(crate) mod exchange;
mod link;
mod open;
mod outgoing;
mod promise;
mod requests;
mod serve;
mod sockets;
mod subscriptions;
mod task;
#[cfg(test)]
mod tests;

pub(crate) use attach::{Attached, attach};
pub(crate) use open::OpenError;
pub(crate) use sockets::Sockets;

use crate::jsonrpc::Class;

/// What is subscribed to on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// `newHeads`, which all who hear heads on a connection share.
    Heads,
    /// The logs that pass `filter`, a JSON object, and from then on the heads of the same connection.
    Logs { filter: Vec<u8> },
    /// Whatever `params`, a JSON list, asks `eth_subscribe` for.
    Other { params: Vec<u8> },
}

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Head,
    Log,
    Other,
}

/// Who hears what a provider pushes. Called by the connection's own task, in the order of the wire; it may drop its
/// [`Attached`] from within, and is not called after that.
pub(crate) trait Ear {
    /// The provider has agreed to all of the wish: pushes that follow on the wire follow here. Where everything is there
    /// already, [`attach`] itself calls it.
    fn agreed(&self);
    /// A notification's `params.result`, valid JSON, byte for byte.
    fn pushed(&self, what: Pushed, result: &[u8]);
    /// The connection is gone: nothing follows. Said of those alone that were told of an agreement; the others' [`attach`]
    /// fails.
    fn lost(&self);
}

/// Why nothing is heard.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AttachError {
    #[error("it has no WebSocket, or its name leads to no address")]
    NoSocket,
    /// The provider's word, a JSON-RPC error object that clients may be told.
    #[error("the provider refused")]
    Refused { error: Vec<u8>, class: Class },
    /// Its plan, its cooldown, or the number of its connections leaves no room, or it says so itself.
    #[error("no room at this provider now")]
    Limited,
    #[error("too early to connect again")]
    BackingOff,
    #[error(transparent)]
    Connect(OpenError),
    #[error("the connection was lost")]
    Lost,
    #[error("not in time")]
    Late,
}

/// Why a call on an attachment's connection brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no room for another call")]
    Limited,
    #[error("the connection was lost")]
    Lost,
    #[error("not in time")]
    Late,
}
