//! `[learning]`: how long what a provider has shown that it cannot do is believed. Defaults and their reasons:
//! `routing::LearnedConfig`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Timeout;
use crate::config::given::Given;
use crate::config::values::{Count, Time};
use crate::limits;
use crate::routing::LearnedConfig;

type Blocks = Count<0, { limits::LAG_BLOCKS_MAX }>;

/// What a provider has shown that it cannot do, and how long that is believed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Learning {
    /// That it lacks a method.
    pub method: Given<Timeout>,
    /// That it no longer has a block's data, and those below.
    pub bound: Given<Timeout>,
    /// How many blocks it lets a query scan, where it said so.
    pub range: Given<Timeout>,
    /// That it refuses to scan as many blocks, where it did not say how many it allows.
    pub range_guessed: Given<Timeout>,
    /// Blocks below the head within which nothing that is missing teaches anything.
    pub recent_blocks: Given<Blocks>,
}

impl Default for Learning {
    fn default() -> Self {
        const LEARNED: LearnedConfig = LearnedConfig::DEFAULT;
        Self {
            method: Given::default_of(const { Time::of(LEARNED.method) }),
            bound: Given::default_of(const { Time::of(LEARNED.bound) }),
            range: Given::default_of(const { Time::of(LEARNED.range) }),
            range_guessed: Given::default_of(const { Time::of(LEARNED.range_guessed) }),
            recent_blocks: Given::default_of(const { Count::of(LEARNED.recent_blocks) }),
        }
    }
}
