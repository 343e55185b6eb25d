//! Every chain's newest ranking, on its way to the shards by a [`Slot`](super::Slot) of its own.
//!
//! Apart from the snapshot, which changes with the config and is large: rankings change four times a second. A ranking
//! speaks of providers by position, and positions change with the config. So each carries the slots that it was made
//! for, and a shard goes by it only where its own are the same ones in the same order: whichever of the two comes first
//! after a reload, nobody is credited with what another has shown.
//!
//! Control keeps a reference to everything published until it is the last, as with snapshots: a shard frees nothing.

use std::sync::Arc;

use crate::routing::Ranking;

/// What all chains are ranked by, as of one moment.
#[derive(Debug, Default)]
pub struct Rankings {
    /// In the order of the config.
    pub chains: Vec<Ranked>,
}

/// One chain's ranking and what it is about.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// Numbers of the provider slots, by position.
    pub slots: Arc<[u64]>,
    pub ranking: Arc<Ranking>,
}

impl Ranked {
    /// Whether positions mean the same providers there, whose slots have these numbers.
    pub fn is_about(&self, slots: impl Iterator<Item = u64>) -> bool {
        self.slots.iter().copied().eq(slots)
    }
}
