//! What passes between threads: shard ↔ control.
//!
//! Control publishes immutable [`Snapshot`]s into a [`Slot`] per shard and rings the shard's [`Doorbell`]; [`Rankings`]
//! come by another slot and without a ring, since a shard without calls needs none. A shard sends back what it measured ([`Row`]s,
//! by a ring of its own) and what happened ([`Event`]s), and lets control read its [`Counters`], which it alone writes.
//! Shards talk to each
//! other of shared subscriptions ([`MeshEnd`]). What control wants asked of a provider goes the other way ([`ProbeOrder`]s, by a ring, and the doorbell). Nothing here
//! makes a shard wait.

mod addresses;
mod bell;
mod counters;
mod entrance;
mod mesh;
mod phase;
mod probe;
mod ranked;
mod report;
mod slot;
mod snapshot;

pub use addresses::{Addresses, Admission, Crowded};
pub use bell::{Bell, Doorbell};
pub use counters::{Counter, Counters, Gauge, HandshakeEnd, SocketEnd};
pub use entrance::{Entrance, Shown};
pub use mesh::{FeedEnd, FeedKey, FeedWord, MeshEnd};
pub use phase::{Phase, PhaseCell};
pub use probe::{ProbeControlEnd, ProbeEnded, ProbeOrder, ProbeShardEnd, ProbeWord, probe_pair};
pub use ranked::{Ranked, Rankings};
pub use report::{
    AccessRecord, ControlEnd, Event, EventKind, MethodSum, Outcome, Over, Passed, Row, RowKey, ShardEnd, SocketLoss,
    pair,
};
pub use slot::Slot;
pub use snapshot::{ChainEntry, ProviderEntry, ProviderPlan, ProviderSlot, Snapshot};
