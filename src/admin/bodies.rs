//! What health endpoints answer, on the data port and on the admin port alike: JSON made from plain values.
//!
//! Nothing here names a provider: the data port answers to anybody. A shard makes these on its own thread, from its own
//! snapshot; they are asked for a few times a second at most.

use std::sync::Arc;

use serde::Serialize;

use super::state::{chain_usable, provider_usable};
use crate::config::Node;
use crate::link::{ChainEntry, Counters, Phase, Snapshot};
use crate::time::Instant;

/// Alive, whatever else.
#[must_use]
pub fn health() -> String {
    json(&serde_json::json!({ "status": "ok" }))
}

/// Whether a balancer should send calls here, and the body that says so: for the chain at that position of the
/// snapshot, or for the node, which needs one usable chain of all.
#[must_use]
pub fn ready(snapshot: &Snapshot, phase: Phase, now: Instant, chain: Option<usize>) -> (bool, String) {
    #[derive(Serialize)]
    struct Answer<'a> {
        ready: bool,
        phase: &'static str,
        chains: Vec<Chain<'a>>,
    }
    #[derive(Serialize)]
    struct Chain<'a> {
        name: &'a str,
        usable: bool,
    }
    let asked = match chain {
        Some(index) => snapshot.chains.get(index..=index).unwrap_or_default(),
        None => &snapshot.chains[..],
    };
    let chains: Vec<_> =
        asked.iter().map(|chain| Chain { name: &chain.name, usable: chain_usable(chain, now) }).collect();
    let ready = phase == Phase::Serving && chains.iter().any(|chain| chain.usable);
    (ready, json(&Answer { ready, phase: phase_name(phase), chains }))
}

/// Where this node is.
#[must_use]
pub fn region(node: &Node) -> String {
    json(&serde_json::json!({ "region": node.region, "node": node.id }))
}

/// The node, its WebSockets with their subscriptions, and its chains at a glance; how many providers they have, not which.
#[must_use]
pub fn status(snapshot: &Snapshot, shards: &[Arc<Counters>], phase: Phase, now: Instant) -> String {
    #[derive(Serialize)]
    struct Status<'a> {
        phase: &'static str,
        ready: bool,
        region: &'a str,
        node: &'a str,
        version: &'static str,
        uptime_s: u64,
        websockets: u64,
        subscriptions: u64,
        chains: Vec<ChainStatus<'a>>,
    }
    let node = &snapshot.config.node;
    let chains: Vec<_> = snapshot.chains.iter().map(|chain| ChainStatus::new(chain, now)).collect();
    json(&Status {
        phase: phase_name(phase),
        ready: phase == Phase::Serving && chains.iter().any(|chain| chain.usable),
        region: &node.region,
        node: &node.id,
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: now.since(Instant::START).as_secs(),
        websockets: shards.iter().map(|shard| shard.sockets.get()).sum(),
        subscriptions: shards.iter().map(|shard| shard.subscriptions.get()).sum(),
        chains,
    })
}

#[derive(Serialize)]
struct ChainStatus<'a> {
    name: &'a str,
    id: u64,
    strategy: &'static str,
    usable: bool,
    providers: usize,
    providers_usable: usize,
}

impl<'a> ChainStatus<'a> {
    fn new(chain: &'a ChainEntry, now: Instant) -> Self {
        let providers_usable = chain.providers.iter().filter(|provider| provider_usable(provider, now)).count();
        Self {
            name: &chain.name,
            id: chain.config.id,
            strategy: chain.config.strategy.name(),
            usable: providers_usable > 0,
            providers: chain.providers.len(),
            providers_usable,
        }
    }
}

/// The word used in pages.
#[must_use]
pub const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Serving => "serving",
        Phase::Draining => "draining",
        Phase::Closing => "closing",
    }
}

/// With a line end, for a terminal's sake.
pub(super) fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("plain structs with string keys always serialize");
    text.push('\n');
    text
}
