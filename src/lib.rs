//! Livechain: a proxy that sends each JSON-RPC call to the provider that answers it best from this region now.
//!
//! ```text
//!             ┌───────────── shard, one per core (glommio, io_uring) ──────────────┐
//!  clients ──▶│ accept → head → place → body → jsonrpc → door ⇄ upstream → respond │──▶ providers
//!             └──┬─────────────▲───────────────────────────────────────────────────┘
//!     rows,      │             │ snapshots, rankings
//!     events     │             │ (slots per shard, and a doorbell)
//!             ┌──▼─────────────┴───────────────────────────────────────────────────┐
//!             │ control thread (tokio): collect · rank · publish · reload · admin  │
//!             └────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! **Two planes.** A shard owns its listeners, its clients' connections, its pools of connections to providers and its
//! measurements, and shares nothing on the path of a request but a few words a provider: its breaker, its cooldowns and
//! its footing on the chain, which are written in trouble alone; its newest block as clients are told of it, written a few times a
//! second at most; and, where its plan is limited, what has been sent of that, taken in chunks where it is much. Control runs
//! beside, on well-kept libraries; a shard never waits for it.
//!
//! **Pure cores.** [`http`], [`websocket`], [`jsonrpc`], [`routing`] and [`subscription`] know no socket, no runtime and
//! no clock: bytes and moments are handed in. What does I/O is a thin shell around them.
//!
//! In reading order:
//! - [`config`]: what an operator writes, checked into what the program uses;
//! - [`http`], [`websocket`], [`jsonrpc`]: messages as bytes;
//! - [`routing`]: who is asked next, and what a failure means;
//! - [`subscription`]: streams of heads and logs that outlive their providers;
//! - [`shard`]: the data path; `shard/serve.rs` is its table of contents, `shard/door.rs` its middle;
//! - [`link`]: what passes between shards and control;
//! - [`control`], [`admin`], [`demo`]: the rest of the process;
//! - [`limits`]: every bound, with its reason; [`time`]: moments; `swar`: eight bytes looked at as one word;
//! - `sim`, in tests: worlds of providers under virtual time that drive [`routing`].
//!
//! **Words**, one for a thing:
//! - *client*: who calls us; *provider*: whom we ask; *upstream*: a provider as one shard sees it.
//! - *chain*: a blockchain, served by several providers.
//! - *call*: one JSON-RPC request; *batch*: several in one HTTP request, each an *item*.
//! - *attempt*: one asking of one provider; a call has one or more.
//! - *class*: of a method, those of like cost; of an error, those that mean the same.
//! - *head*: a chain's newest block; *lag*: blocks behind it; *footing*: where a provider stands on its chain.
//! - *probe*: a question of the node's own to a provider.
//! - *gate*: whether a provider may be asked: its *breaker* (transport failures) and its *cooldown* (its own limits).
//! - *row*: what a shard measured of a provider and a class, or a method by itself; *ranking*: what control made of all rows.
//! - *lesson*: what a reply taught about what its provider cannot do; *belief*: what is made of it, for a while.
//! - *hedge*: a second attempt beside one that takes its time; who loses is *outrun*; a *race* is a hedge without delay.
//! - *plan*: what was bought from a provider's vendor: calls and *units* (what calls weigh) in a second, units in a month.
//! - *explored*: a call that goes to another than the best, for the evidence alone.
//! - *snapshot*: the node's configuration and tables as of one moment, immutable; *slot*: a provider across snapshots.
//! - *frame*: a piece of a WebSocket stream; *message*: what one or more frames carry; *fault*: what a peer may not do.
//! - *epoch*: one subscription at one provider; *stream*: what clients are told, over all epochs; *gap*: what lies between.
//! - *shard*: a core's thread; *control*: the one thread that is none.

pub mod admin;
pub mod config;
pub mod control;
pub mod demo;
pub mod http;
pub mod jsonrpc;
pub mod limits;
pub mod link;
pub mod routing;
pub mod shard;
#[cfg(test)]
mod sim;
pub mod subscription;
mod swar;
pub mod time;
pub mod websocket;
