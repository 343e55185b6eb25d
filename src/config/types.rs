//! The checked configuration: what the program uses, every value in range and every reference resolved.
//!
//! What an operator writes is another type (`raw`). A module takes its own small struct from here, never the whole.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use crate::jsonrpc::{MethodClass, Override, Units};
use crate::ledger::{Retention, StoreAddress};
use crate::routing::{
    BreakerConfig, CooldownConfig, HeadLimits, HeadsConfig, HedgeConfig, LearnedConfig, ProbeConfig, RankingConfig,
    StandingConfig, Strategy, TuningConfig,
};
use crate::tenant::Network;
use crate::tenant::token::TokenConfig;

/// Everything a node runs on.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub node: Node,
    pub listen: Listen,
    pub shards: Shards,
    pub http: Http,
    pub rpc: Rpc,
    pub websocket: WebSocket,
    pub subscriptions: Subscriptions,
    pub upstream: Upstream,
    pub ranking: Ranking,
    pub breaker: Breaker,
    pub cooldown: CooldownConfig,
    pub hedging: Hedging,
    pub outbound: Outbound,
    pub probes: Probes,
    /// But for `max_lag_blocks`, which is a chain's own.
    pub heads: HeadsConfig,
    /// How long what a provider cannot do is remembered.
    pub learning: LearnedConfig,
    /// None: everybody is let in.
    pub tenants: Option<Tenants>,
    pub life: Life,
    pub log: Log,
    /// In the order of the file; names and ids are unique.
    pub chains: Vec<Chain>,
}

impl Config {
    /// What providers' standing is lost and won by.
    #[must_use]
    pub const fn standing(&self) -> StandingConfig {
        StandingConfig { breaker: self.breaker.by, cooldown: self.cooldown }
    }
}

/// Who this node is.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub region: String,
    pub id: String,
}

/// Where it listens.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// HTTP/1.1, plain.
    pub http: Vec<SocketAddr>,
    /// HTTP/1.1 over TLS.
    pub https: Vec<SocketAddr>,
    /// What `https` shows; at least one where there is an address.
    pub certificates: Vec<CertificateFiles>,
    /// Whose certificates clients show on `https`; absent, none are asked for.
    pub client_ca: Option<(PathBuf, Certified)>,
    /// From a connection's first byte to the end of its handshake.
    pub handshake_timeout: Duration,
    /// Who says whose connection it is, by a PROXY header.
    pub proxy_protocol_from: Vec<Network>,
    /// Who says whose request it is, by `X-Forwarded-For`.
    pub forwarded_for_from: Vec<Network>,
    pub per_address: PerAddress,
    /// Client connections taken in by one shard in a second; absent, as they come.
    pub accepts_per_second: Option<u32>,
    pub admin: Option<SocketAddr>,
    /// Asked for on the admin port; always there when `admin` is not a loopback address and `admin_tls` has no authority.
    pub admin_token: Option<Secret>,
    /// Absent: the admin port is plain.
    pub admin_tls: Option<AdminTls>,
}

/// Where a certificate and its key lie, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Whether clients must show a certificate, or may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certified {
    #[default]
    Required,
    Optional,
}

/// TLS on the admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTls {
    pub own: CertificateFiles,
    /// Whose clients need no token.
    pub client_ca: Option<PathBuf>,
}

/// What one client address may have; absent: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerAddress {
    pub connections: Option<u32>,
    pub connects_per_second: Option<u32>,
    pub handshakes: Option<u32>,
}

/// Keys, quotas and metering.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenants {
    pub store: StoreAddress,
    /// The secret under which keys are hashed.
    pub pepper: Secret,
    /// The plan of those who show no key, by its name; absent, they are refused.
    pub anonymous: Option<String>,
    pub retention: Retention,
    /// None: no token stands in for a key.
    pub jwt: Option<Jwt>,
    /// None: each node grants the whole plan.
    pub fleet: Option<Fleet>,
}

/// One shard per core.
#[derive(Clone, Debug, PartialEq)]
pub struct Shards {
    /// Core numbers, unique, at least one.
    pub cores: Vec<usize>,
    /// Client connections open in one shard.
    pub connections_max: usize,
    /// How long a shard with nothing to do goes on looking before it sleeps.
    pub spin: Duration,
}

/// The HTTP server towards clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// From a request's first byte to the end of its head.
    pub head_timeout: Duration,
    /// Longest time without a byte of progress while a body comes in or an answer goes out.
    pub body_timeout: Duration,
    /// Longest time between two requests of a connection.
    pub idle_timeout: Duration,
    pub body_bytes_max: usize,
    /// Whether answers name the provider (`X-Livechain-Provider`).
    pub provider_header: bool,
    pub cors: Option<Cors>,
}

/// Cross-origin answers. Absent: none are given.
#[derive(Clone, Debug, PartialEq)]
pub struct Cors {
    /// `*` alone, or exact origins.
    pub origins: Vec<String>,
    pub max_age: Duration,
}

/// How calls are read and answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Rpc {
    pub batch_items_max: usize,
    /// Items of one batch asked for at the same time.
    pub batch_in_flight_max: usize,
    /// Bytes of one batch's assembled answer.
    pub batch_bytes_max: usize,
    /// Method names, or prefixes ending in `*`, answered with -32004 and never forwarded.
    pub blocked_methods: Vec<String>,
    /// Attempts for one call, the first included.
    pub attempts_max: u8,
    /// Until the first byte to the client, per class; every class has one.
    pub deadlines: Vec<(MethodClass, Duration)>,
}

/// Clients' WebSockets.
#[derive(Clone, Debug, PartialEq)]
pub struct WebSocket {
    /// `*` alone, or exact origins of pages that may connect.
    pub origins: Vec<String>,
    /// Subprotocols that may be agreed on.
    pub protocols: Vec<String>,
    /// Open in one shard.
    pub connections_max: usize,
    /// Subscriptions of one connection.
    pub subscriptions_max: usize,
    pub message_bytes_max: usize,
    /// Messages of one connection asked for at the same time.
    pub calls_in_flight_max: u32,
    /// Bytes that may wait for a client that reads slowly.
    pub queued_bytes_max: usize,
    /// Absent: messages go as they are.
    pub compression: Option<Compression>,
    /// Silence after which a client is pinged.
    pub ping_after: Duration,
    /// Silence after the ping that ends the connection.
    pub pong_timeout: Duration,
}

/// What `eth_subscribe` serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscriptions {
    /// Times the block time without a head.
    pub stale_blocks: u32,
    /// How long clients may wait for what was missed.
    pub outage_max: Duration,
    /// How long a provider's subscription outlives its last client.
    pub linger: Duration,
}

/// What is compressed, for clients that offer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// 9 to 15.
    pub window_bits: u8,
    /// Messages of fewer bytes go out as they are.
    pub bytes_min: usize,
}

/// Connections to providers.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    pub connect_timeout: Duration,
    /// Longest time without a byte while an answer comes in.
    pub progress_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Connections to one provider from one shard.
    pub connections_max: usize,
    /// Connections kept open to each provider whose breaker is closed, even when idle.
    pub connections_warm: usize,
    /// Calls waiting for a connection to one provider in one shard.
    pub queue_max: usize,
    /// Kernel's patience with unacknowledged data (`TCP_USER_TIMEOUT`).
    pub user_timeout: Duration,
    /// PEM certificates trusted beside the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// Subscriptions on one WebSocket.
    pub subscriptions_per_connection: usize,
    /// Silence of a WebSocket after which it is pinged.
    pub ping_after: Duration,
    /// Silence after the ping that ends it.
    pub pong_timeout: Duration,
    /// Whether compression is offered to providers' WebSockets.
    pub compression: bool,
}

/// How providers are measured, ranked and explored.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// How often what shards measured is merged, and a ranking published to them.
    pub interval: Duration,
    pub by: RankingConfig,
}

/// What stops calls to a provider whose transport fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// What the ratio of failures is counted over.
    pub ratio_window: Duration,
    pub by: BreakerConfig,
}

/// A second attempt beside one that takes its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Hedging {
    pub by: HedgeConfig,
    /// Names, or prefixes ending in `*`, of methods that two providers are asked for at once.
    pub raced_methods: Vec<String>,
}

/// How providers' limits are kept to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Of a second's plan, what may be sent at once.
    pub burst_percent: u32,
    /// Where a plan is tuned.
    pub tuning: TuningConfig,
}

/// What was bought from a provider's vendor; absent: as much as one likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub calls_per_second: Option<u32>,
    pub units_per_second: Option<u32>,
    pub units_per_month: Option<u64>,
    /// Day of the month, UTC.
    pub month_starts_on: u8,
    pub in_flight: Option<u32>,
    /// Whether refusals tune the rates down, and time up again.
    pub tune: bool,
    pub units: Units,
}

/// What the node asks providers by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Probes {
    pub enabled: bool,
    /// For one question's answer.
    pub timeout: Duration,
    /// How often.
    pub pace: ProbeConfig,
}

/// Coming up and going down.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// After a signal: not ready, but still serving, so that balancers move away.
    pub drain_delay: Duration,
    /// After that: the longest wait for what still runs.
    pub drain_limit: Duration,
    /// Whether a second process on the same ports may take the listeners over.
    pub upgrade: bool,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub format: LogFormat,
    /// `tracing_subscriber::EnvFilter` syntax.
    pub level: String,
    /// Share of answered requests that get an access line, 0 to 1.
    pub access_sample: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// One blockchain.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// Lower case letters, digits, `-` and `_`; not all digits.
    pub name: String,
    pub id: u64,
    /// What `net_version` answers.
    pub network_id: u64,
    pub block_time: Duration,
    /// Blocks that a provider may lag; none: as many as `heads` makes of the block time.
    pub max_lag_blocks: Option<u64>,
    pub strategy: Strategy,
    /// In the order of the file; ids are unique within the chain; at least one.
    pub providers: Vec<Provider>,
}

impl Chain {
    /// How far apart its providers may be, by what holds for all chains.
    #[must_use]
    pub fn head_limits(&self, heads: &HeadsConfig) -> HeadLimits {
        HeadsConfig { max_lag_blocks: self.max_lag_blocks, ..*heads }.limits(self.block_time)
    }
}

/// One upstream of a chain, its region's addresses already chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    pub id: String,
    pub url: Url,
    /// `ws://` or `wss://`.
    pub ws_url: Option<Url>,
    /// WebSocket only where there is a `ws_url`.
    pub calls: CallsOver,
    /// Sent with every call, beside what the URL holds.
    pub headers: Vec<(String, Secret)>,
    /// Lower is preferred.
    pub priority: u32,
    /// Share within a tier of equals; at least 1.
    pub weight: u32,
    /// What errors of this provider mean, before the built-in taxonomy is asked.
    pub errors: Vec<Override>,
    /// What may be sent to it.
    pub limits: Plan,
}

/// What calls to a provider go over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallsOver {
    #[default]
    Http,
    WebSocket,
}

/// A provider's address, split as a connection needs it. Path, query and userinfo may hold a key: they are secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Url {
    pub tls: bool,
    /// A name or an IP address, IPv6 without brackets.
    pub host: String,
    pub port: u16,
    /// Path and query as they stand in a request line, at least `/`.
    pub target: Secret,
    /// `Basic …` from the userinfo.
    pub authorization: Option<Secret>,
}

/// Tokens that may stand in for keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Jwt {
    pub terms: TokenConfig,
    /// At least one of the three is there.
    pub keys_file: Option<PathBuf>,
    /// `https`, or `http` to loopback.
    pub jwks_url: Option<Url>,
    pub hmac_secret: Option<Secret>,
    /// Between two askings of `jwks_url`.
    pub refresh: Duration,
    /// How long its last answer is believed.
    pub keep: Duration,
}

/// What a region's nodes share their quotas through.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// `redis` or `rediss`; may hold a password.
    pub url: Secret,
    /// Trusted instead of the web's roots.
    pub ca_file: Option<PathBuf>,
}
