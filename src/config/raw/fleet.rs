//! `[tenants.fleet]`: what a region's nodes share their quotas through.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::given::Given;
use crate::config::values::{File, RedisUrl};

/// Quotas shared by a region's nodes. Without this section each node grants the whole plan.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fleet {
    /// Redis or Valkey: `redis://host`, `rediss://user:${PASSWORD}@host:6380/0`.
    pub url: Given<RedisUrl>,
    /// PEM certificates that the store's is held against, instead of the built-in roots.
    pub ca_file: Option<Given<File>>,
}
