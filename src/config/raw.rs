//! What an operator writes: the one description of every key.
//!
//! A field is a key. Its type says what the value may be and within which bounds (`values`), its default stands in the
//! `Default` beside it, its doc comment is its description in the schema. The reader, the JSON schema and the test of
//! `config/README.md` all go by these types; only `check` names the keys again, to make the program's `Config` of them.
//!
//! Every field is a [`Given`], so that one wrong value leaves the others readable. What relates two keys, or a key and
//! the machine, is `check`'s.

mod fleet;
mod hedging;
mod learning;
mod listen;
mod outbound;
mod probes;
mod ranking;
mod standing;
mod subscriptions;
mod tenants;
mod tokens;
mod upstream;
mod websocket;

use schemars::JsonSchema;
use serde::Deserialize;

use super::given::{Given, Table};
use super::values::{
    CallsOver, ChainName, Core, Count, ErrorClass, ErrorCode, ErrorScope, Format, HeaderName, HeaderValue, HttpUrl,
    Label, Level, MethodPattern, Origin, Routing, Share, Size, Time, Words, WsUrl,
};
use crate::jsonrpc::BLOCKED_BY_DEFAULT;
use crate::limits;
pub(crate) use fleet::Fleet;
pub(crate) use hedging::Hedging;
pub(crate) use learning::Learning;
pub(crate) use listen::Listen;
pub(crate) use outbound::{Limits, Outbound};
use probes::Lag;
pub(crate) use probes::{Heads, Probes};
pub(crate) use ranking::Ranking;
pub(crate) use standing::{Breaker, Cooldown};
pub(crate) use subscriptions::Subscriptions;
pub(crate) use tenants::Tenants;
pub(crate) use tokens::Jwt;
pub(crate) use upstream::Upstream;
pub(crate) use websocket::WebSocket;

type Timeout = Time<{ limits::TIMEOUT_MS_MIN }, { limits::TIMEOUT_MS_MAX }>;
/// A time that may be none at all.
type Wait = Time<0, { limits::TIMEOUT_MS_MAX }>;
type Body = Size<{ limits::BODY_BYTES_MIN }, { limits::BODY_BYTES_MAX }>;
type BatchBytes = Size<{ limits::BATCH_BYTES_MIN }, { limits::BATCH_BYTES_MAX }>;
type Attempts = Count<1, { limits::ATTEMPTS_MAX as u64 }>;
type BlockTime = Time<{ limits::BLOCK_TIME_MS_MIN }, { limits::TIMEOUT_MS_MAX }>;
type MaxAge = Time<0, { limits::CORS_MAX_AGE_MS_MAX }>;
type Items = Count<1, { limits::BATCH_ITEMS_MAX }>;
type Connections = Count<1, { limits::CONNECTIONS_PER_SHARD_MAX }>;
type Spin = Count<0, { limits::SPIN_US_MAX }>;
type Weight = Count<1, { limits::WEIGHT_MAX }>;
type Priority = Count<0, { limits::WEIGHT_MAX }>;
type ChainId = Count<1, { limits::CHAIN_ID_MAX }>;

/// A config file of Livechain.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Livechain's config")]
pub(crate) struct File {
    pub node: Given<Node>,
    pub listen: Given<Listen>,
    pub shards: Given<Shards>,
    pub http: Given<Http>,
    pub rpc: Given<Rpc>,
    pub websocket: Given<WebSocket>,
    pub subscriptions: Given<Subscriptions>,
    pub upstream: Given<Upstream>,
    pub ranking: Given<Ranking>,
    pub breaker: Given<Breaker>,
    pub cooldown: Given<Cooldown>,
    pub hedging: Given<Hedging>,
    pub outbound: Given<Outbound>,
    pub probes: Given<Probes>,
    pub heads: Given<Heads>,
    pub learning: Given<Learning>,
    pub tenants: Option<Given<Tenants>>,
    pub life: Given<Life>,
    pub log: Given<Log>,
    pub chains: Given<Vec<Given<Chain>>>,
}

/// Who this node is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Node {
    /// Where it stands; chooses providers' regional URLs. `LIVECHAIN_REGION` overrides it.
    pub region: Given<Label>,
    /// Its name; nodes may share one. `LIVECHAIN_NODE_ID`, then `LASSO_NODE_ID` override it. Default: the host name.
    pub id: Option<Given<Label>>,
}

impl Default for Node {
    fn default() -> Self {
        Self { region: Given::default_of(Label::local()), id: None }
    }
}

/// One shard per core.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Shards {
    /// Core numbers. Default: every core that the process may use.
    pub cores: Option<Given<Vec<Given<Core>>>>,
    /// Client connections open in one shard.
    pub connections_max: Given<Connections>,
    /// Microseconds that a shard with nothing to do goes on looking before it sleeps.
    pub spin_us: Given<Spin>,
}

impl Default for Shards {
    fn default() -> Self {
        Self {
            cores: None,
            connections_max: Given::default_of(const { Count::of(limits::CONNECTIONS_PER_SHARD_DEFAULT) }),
            spin_us: Given::default_of(const { Count::of(0) }),
        }
    }
}

/// The HTTP server towards clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    /// From a request's first byte to the end of its head.
    pub head_timeout: Given<Timeout>,
    /// Longest time without a byte of progress while a body comes in or an answer goes out.
    pub body_timeout: Given<Timeout>,
    /// Longest time between two requests of a connection.
    pub idle_timeout: Given<Timeout>,
    /// Bytes of a request's body.
    pub body_bytes_max: Given<Body>,
    /// Whether answers name the provider (`X-Livechain-Provider`).
    pub provider_header: Given<bool>,
    /// Cross-origin answers to browsers; none without this section.
    pub cors: Option<Given<Cors>>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            head_timeout: Given::default_of(const { Time::of_ms(limits::HEAD_TIMEOUT_MS_DEFAULT) }),
            body_timeout: Given::default_of(const { Time::of_ms(limits::BODY_TIMEOUT_MS_DEFAULT) }),
            idle_timeout: Given::default_of(const { Time::of_ms(limits::CLIENT_IDLE_TIMEOUT_MS_DEFAULT) }),
            body_bytes_max: Given::default_of(const { Size::of(limits::BODY_BYTES_DEFAULT) }),
            provider_header: Given::default_of(true),
            cors: None,
        }
    }
}

/// Cross-origin answers to browsers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cors {
    /// Exact origins, or "*" alone.
    pub origins: Given<Vec<Given<Origin>>>,
    /// How long a browser may remember a pre-flight.
    pub max_age: Given<MaxAge>,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            origins: Given::default_of(vec![Given::default_of(Origin::any())]),
            max_age: Given::default_of(const { Time::of_ms(limits::CORS_MAX_AGE_MS_DEFAULT) }),
        }
    }
}

/// How calls are read and answered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rpc {
    /// Items of a batch.
    pub batch_items_max: Given<Items>,
    /// Items of one batch asked for at the same time.
    pub batch_in_flight_max: Given<Items>,
    /// Bytes of one batch's assembled answer.
    pub batch_bytes_max: Given<BatchBytes>,
    /// Methods answered with -32004 and never forwarded: names, or beginnings and `*`. Replaces the default list.
    pub blocked_methods: Given<Vec<Given<MethodPattern>>>,
    /// Attempts for one call, the first included.
    pub attempts_max: Given<Attempts>,
    /// Until the first byte to the client, by method class.
    pub deadlines: Given<Deadlines>,
}

impl Default for Rpc {
    fn default() -> Self {
        let blocked = BLOCKED_BY_DEFAULT.into_iter().map(|name| Given::default_of(MethodPattern::of(name)));
        Self {
            batch_items_max: Given::default_of(const { Count::of(limits::BATCH_ITEMS_DEFAULT) }),
            batch_in_flight_max: Given::default_of(const { Count::of(limits::BATCH_IN_FLIGHT_DEFAULT) }),
            batch_bytes_max: Given::default_of(const { Size::of(limits::BATCH_BYTES_DEFAULT) }),
            blocked_methods: Given::default_of(blocked.collect()),
            attempts_max: Given::default_of(const { Count::of(limits::ATTEMPTS_MAX as u64) }),
            deadlines: Given::default(),
        }
    }
}

/// Until the first byte to the client, by method class.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Deadlines {
    /// `eth_blockNumber`, `eth_gasPrice`.
    pub head: Given<Timeout>,
    /// Balances, code, storage, blocks, transactions.
    pub read: Given<Timeout>,
    /// `eth_getTransactionReceipt`, `eth_getBlockReceipts`.
    pub receipt: Given<Timeout>,
    /// `eth_call`, `eth_estimateGas`.
    pub execute: Given<Timeout>,
    /// `eth_getLogs`.
    pub logs: Given<Timeout>,
    /// `eth_getProof`.
    pub proof: Given<Timeout>,
    /// `trace_*`, `debug_*`.
    pub trace: Given<Timeout>,
    /// `eth_sendRawTransaction`.
    pub write: Given<Timeout>,
    /// Filters.
    pub filter: Given<Timeout>,
    /// Everything else.
    pub other: Given<Timeout>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            head: Given::default_of(const { Time::of_ms(limits::DEADLINE_HEAD_MS_DEFAULT) }),
            read: Given::default_of(const { Time::of_ms(limits::DEADLINE_READ_MS_DEFAULT) }),
            receipt: Given::default_of(const { Time::of_ms(limits::DEADLINE_RECEIPT_MS_DEFAULT) }),
            execute: Given::default_of(const { Time::of_ms(limits::DEADLINE_EXECUTE_MS_DEFAULT) }),
            logs: Given::default_of(const { Time::of_ms(limits::DEADLINE_LOGS_MS_DEFAULT) }),
            proof: Given::default_of(const { Time::of_ms(limits::DEADLINE_PROOF_MS_DEFAULT) }),
            trace: Given::default_of(const { Time::of_ms(limits::DEADLINE_TRACE_MS_DEFAULT) }),
            write: Given::default_of(const { Time::of_ms(limits::DEADLINE_WRITE_MS_DEFAULT) }),
            filter: Given::default_of(const { Time::of_ms(limits::DEADLINE_FILTER_MS_DEFAULT) }),
            other: Given::default_of(const { Time::of_ms(limits::DEADLINE_OTHER_MS_DEFAULT) }),
        }
    }
}

/// Coming up and going down.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Life {
    /// After a signal: not ready, but still serving, so that balancers move away.
    pub drain_delay: Given<Wait>,
    /// After that: the longest wait for what still runs.
    pub drain_limit: Given<Wait>,
    /// Whether a second process on the same ports may take the listeners over.
    pub upgrade: Given<bool>,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            drain_delay: Given::default_of(const { Time::of_ms(limits::DRAIN_DELAY_MS_DEFAULT) }),
            drain_limit: Given::default_of(const { Time::of_ms(limits::DRAIN_LIMIT_MS_DEFAULT) }),
            upgrade: Given::default_of(true),
        }
    }
}

/// What is logged and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// Lines for people, or JSON for collectors.
    pub format: Given<Format>,
    /// A level, or a filter by module.
    pub level: Given<Level>,
    /// Share of answered requests that get an access line.
    pub access_sample: Given<Share>,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: Given::default(), level: Given::default(), access_sample: Given::default_of(Share::NONE) }
    }
}

/// One blockchain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chain {
    /// Its name in paths: lower case letters, digits, `-` and `_`.
    pub name: Given<ChainName>,
    /// What `eth_chainId` answers; names the chain in paths too.
    pub id: Given<ChainId>,
    /// What `net_version` answers. Default: the chain's id.
    pub network_id: Option<Given<ChainId>>,
    /// How often a block comes.
    #[serde(default = "default_block_time")]
    pub block_time: Given<BlockTime>,
    /// Blocks that a provider may lag. Default: those of `heads.lag_time`, and `heads.lag_blocks_min` at the least.
    pub max_lag_blocks: Option<Given<Lag>>,
    /// How providers are chosen where the path names no strategy.
    #[serde(default)]
    pub strategy: Given<Routing>,
    /// At least one.
    pub providers: Given<Vec<Given<Provider>>>,
}

fn default_block_time() -> Given<BlockTime> {
    Given::default_of(const { Time::of_ms(limits::BLOCK_TIME_MS_DEFAULT) })
}

/// One upstream of a chain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provider {
    /// Its name in paths, metrics and logs.
    pub id: Given<Label>,
    /// Where calls go; may hold a key.
    pub url: Given<HttpUrl>,
    /// Where subscriptions go, and calls where `calls` says so; may hold a key.
    pub ws_url: Option<Given<WsUrl>>,
    /// What calls go over; over WebSocket they need `ws_url`.
    #[serde(default)]
    pub calls: Given<CallsOver>,
    /// Lower is preferred.
    #[serde(default = "default_priority")]
    pub priority: Given<Priority>,
    /// Its share among providers of one priority.
    #[serde(default = "default_weight")]
    pub weight: Given<Weight>,
    /// URLs used instead when the node's region is the one named.
    #[serde(default)]
    pub regions: Given<Table<Label, Region>>,
    /// Sent with every call.
    #[serde(default)]
    pub headers: Given<Table<HeaderName, HeaderValue>>,
    /// What may be sent to it.
    #[serde(default)]
    pub limits: Given<Limits>,
    /// What errors of this provider mean, before the built-in taxonomy is asked; the first that holds.
    #[serde(default)]
    pub errors: Given<Vec<Given<ErrorRule>>>,
}

fn default_priority() -> Given<Priority> {
    Given::default_of(const { Count::of(1) })
}

fn default_weight() -> Given<Weight> {
    Given::default_of(const { Count::of(1) })
}

/// A provider's URLs for one region; one that is absent is the provider's own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Region {
    /// Instead of the provider's `url`.
    pub url: Option<Given<HttpUrl>>,
    /// Instead of the provider's `ws_url`.
    pub ws_url: Option<Given<WsUrl>>,
}

/// A provider's peculiarity. All that is given must hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorRule {
    /// The JSON-RPC error's code.
    pub code: Option<Given<ErrorCode>>,
    /// Part of its message; ASCII case does not count.
    pub contains: Option<Given<Words>>,
    /// What such an error is.
    pub class: Given<ErrorClass>,
    /// Whose rate it limits: the provider's, or that of the call's method class alone.
    #[serde(default)]
    pub scope: Given<ErrorScope>,
}
