//! Livechain: a proxy that sends each JSON-RPC call to the provider that answers it best from this region now.
//!
//! ```text
//!             ┌──────────────── shard, one per core (glommio, io_uring) ─────────────────┐
//!  clients ──▶│ arrive → head → key → body → jsonrpc → quota → door ⇄ upstream → respond │──▶ providers
//!             └──┬─────────────▲──────────────────▲──────────────────────────────────────┘
//!     rows,      │             │                  │ mesh: subscriptions that shards share
//!     events,    │             │ snapshots, rankings, keys
//!     usage      │             │ (slots per shard, and a doorbell)
//!             ┌──▼─────────────┴─────────────────────────────────────────────────────────┐
//!             │ control thread (tokio): collect · rank · publish · reload · admin        │──▶ ledger thread
//!             └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! **Two planes.** A shard owns its listeners, its clients' connections, its pools of connections to providers and its
//! measurements. On the path of a request it shares a few words a provider and a key with the other shards:
//! - a provider's breaker, cooldowns, footing on the chain and what it is believed to lack, which are written in trouble alone;
//! - its newest block as clients are told of it, and how many calls are under way, written a few times a second at most;
//! - where its plan is limited, what has been sent of that, taken in chunks where it is much;
//! - a key's quota, likewise. A shard looks for a key's words, under a lock, when it first meets the key, and after keys have changed.
//!
//! Control runs beside, on well-kept libraries; a shard never waits for it.
//!
//! **Pure cores.** [`http`], [`websocket`], [`jsonrpc`], [`source`], [`routing`], [`subscription`] and [`tenant`] know no socket, no runtime
//! and no clock: bytes and moments are handed in. What does I/O is a thin shell around them.
//!
//! In reading order:
//! - [`config`]: what an operator writes, checked into what the program uses;
//! - [`certificate`]: this node's own certificates, by name;
//! - [`http`], [`websocket`], [`jsonrpc`]: messages as bytes;
//! - [`source`]: whose a connection and a request are, behind a balancer;
//! - [`routing`]: who is asked next, and what a failure means;
//! - [`subscription`]: streams of heads and logs that outlive their providers;
//! - [`tenant`]: who may ask for what and how much, and what it is charged; `bucket`: what all shards limit together;
//! - [`ledger`]: tenants, plans, keys and usage in SQLite or PostgreSQL, and the thread that keeps them;
//! - [`desk`]: what an operator does with these, by the command line and the admin port;
//! - [`shard`]: the data path; `shard/serve.rs` is its table of contents, `shard/door.rs` its middle, `shard/feeds` what many clients
//!   hear at once;
//! - [`link`]: what passes between shards and control, and between shards;
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
//! - *plan*: of a provider, what was bought from its vendor; of a key, what was sold: calls and *units* (what calls weigh) in a
//!   second, units in a month.
//! - *tenant*: who pays; a tenant has *keys*, and a *stranger* shows none. *Quota*: what of a plan is left; a shard's *share*
//!   of it is what it has taken ahead; *account*: a key as one shard knows it.
//! - *token*: what an issuer has signed that stands in for a key. *Lease*: what one node may use of a plan that a region's
//!   nodes share; a *purse* is where its shards find it.
//! - *usage*: what is charged for, in sums; *spool*: sums on their way to the *ledger*, which keeps them.
//! - *explored*: a call that goes to another than the best, for the evidence alone.
//! - *snapshot*: the node's configuration and tables as of one moment, immutable; *slot*: a provider across snapshots.
//! - *frame*: a piece of a WebSocket stream; *message*: what one or more frames carry; *fault*: what a peer may not do.
//! - *feed*: what clients that subscribed to the same are told; its *owner* is one shard, its *followers* are all that have such
//!   clients; *lane*: those of a shard's clients that know it by one id.
//! - *session*: a client's WebSocket; its *home*: the provider that its calls go to; its *floor*: the newest block that it has seen.
//! - *epoch*: one subscription at one provider; *stream*: what clients are told, over all epochs; *gap*: what lies between.
//! - *shard*: a core's thread; *control*: the one thread that is none.

pub mod admin;
mod bucket;
pub mod certificate;
pub mod config;
pub mod control;
pub mod demo;
pub mod desk;
pub mod http;
pub mod jsonrpc;
pub mod ledger;
pub mod limits;
pub mod link;
pub mod routing;
pub mod shard;
#[cfg(test)]
mod sim;
pub mod source;
pub mod subscription;
mod swar;
pub mod tenant;
pub mod time;
pub mod websocket;
mod word;
