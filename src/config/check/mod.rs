//! From what an operator wrote to what the program uses: what relates two keys, or a key and the machine.
//!
//! Each section is checked whether or not another is wrong, and a relation is checked whenever both its sides are known.
//! A default gives way to a written bound: who sets `batch_items_max = 8` need not set `batch_in_flight_max` too. A bound
//! never gives way, not even a default one: nothing is allowed that nobody wrote.

mod chains;
mod fleet;
mod listen;
mod node;
mod outbound;
mod probes;
mod relations;
mod routing;
mod tenants;
mod tokens;

use std::path::Path;

use super::environment::Environment;
use super::given::Given;
use super::problems::Problem;
use super::raw;
use super::types::{Compression, Config, Cors, Http, Life, Log, Rpc, Shards, Subscriptions, Upstream, WebSocket};
use crate::jsonrpc::MethodClass;
use crate::limits;
use relations::{at_most, count, refuse_more, refuse_repeated};

/// What the config is checked against, beside itself.
pub(super) struct Surroundings<'a> {
    pub(super) environment: &'a Environment<'a>,
    /// Cores that the process may use.
    pub(super) cores: &'a [usize],
    /// Why a file of certificates cannot be used, if it cannot.
    pub(super) ca_fault: &'a dyn Fn(&Path) -> Option<String>,
    /// Why a certificate's file and a key's are no pair, if they are none.
    pub(super) pair_fault: &'a dyn Fn(&Path, &Path) -> Option<String>,
    /// Why a file of tokens' keys cannot be used, if it cannot.
    pub(super) token_keys_fault: &'a dyn Fn(&Path) -> Option<String>,
}

/// The checked config, or none with at least one problem noted. What is wrong by itself the reader has noted already.
pub(super) fn check(raw: &raw::File, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Option<Config> {
    let node = raw.node.get().and_then(|node| node::check(node, around, problems));
    let listen = raw.listen.get().and_then(|listen| listen::check(listen, around, problems));
    let shards = raw.shards.get().and_then(|shards| check_shards(shards, around, problems));
    let http = raw.http.get().and_then(|http| check_http(http, problems));
    let rpc = raw.rpc.get().and_then(|rpc| check_rpc(rpc, problems));
    let websocket = raw.websocket.get().and_then(|websocket| check_websocket(websocket, problems));
    let subscriptions = raw.subscriptions.get().and_then(check_subscriptions);
    let upstream = raw.upstream.get().and_then(|upstream| check_upstream(upstream, around, problems));
    let ranking = raw.ranking.get().and_then(routing::ranking);
    let breaker = raw.breaker.get().and_then(|breaker| routing::breaker(breaker, problems));
    let cooldown = raw.cooldown.get().and_then(|cooldown| routing::cooldown(cooldown, problems));
    let hedging = raw.hedging.get().and_then(|hedging| routing::hedging(hedging, problems));
    let outbound = raw.outbound.get().and_then(outbound::check);
    let probes = raw.probes.get().and_then(|raw_probes| probes::check(raw_probes, &raw.heads, problems));
    let heads = raw.heads.get().and_then(probes::check_heads);
    let learning = raw.learning.get().and_then(routing::learning);
    let tenants = match &raw.tenants {
        Some(tenants) => tenants::check(tenants, around, problems).map(Some),
        None => Some(None),
    };
    let life = raw.life.get().and_then(check_life);
    let log = raw.log.get().and_then(check_log);
    let region = node.as_ref().map(|node| node.region.as_str());
    let chains = chains::check(&raw.chains, region, problems);
    Some(Config {
        node: node?,
        listen: listen?,
        shards: shards?,
        http: http?,
        rpc: rpc?,
        websocket: websocket?,
        subscriptions: subscriptions?,
        upstream: upstream?,
        ranking: ranking?,
        breaker: breaker?,
        cooldown: cooldown?,
        hedging: hedging?,
        outbound: outbound?,
        probes: probes?,
        heads: heads?,
        learning: learning?,
        tenants: tenants?,
        life: life?,
        log: log?,
        chains: chains?,
    })
}

fn check_shards(raw: &raw::Shards, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Option<Shards> {
    let cores = match &raw.cores {
        Some(cores) => check_cores(cores, around, problems),
        None => Some(around.cores.to_vec()),
    };
    if raw.cores.is_none() && around.cores.is_empty() {
        problems.push(Problem::outside("the process may use no core"));
        return None;
    }
    let spin = std::time::Duration::from_micros(count(&raw.spin_us)?);
    Some(Shards { cores: cores?, connections_max: count(&raw.connections_max)?, spin })
}

fn check_cores(
    raw: &Given<Vec<Given<super::values::Core>>>,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<usize>> {
    let written = raw.get()?;
    if written.is_empty() {
        problems.push(Problem::maybe_at(raw.span(), "at least one core is needed"));
    }
    refuse_repeated(written, "this core is listed twice", problems);
    let mut cores = Vec::with_capacity(written.len());
    for core in written {
        let Some(number) = count::<_, usize>(core) else {
            continue;
        };
        if !around.cores.contains(&number) {
            let message = format!("core {number} is not one that the process may use: {}", listed(around.cores));
            problems.push(Problem::maybe_at(core.span(), message));
        }
        cores.push(number);
    }
    Some(cores)
}

/// Core numbers as an operator reads them, "0-3, 8".
fn listed(cores: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &core in cores {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => runs.push((core, core)),
        }
    }
    let runs = runs.iter().map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") });
    runs.collect::<Vec<_>>().join(", ")
}

fn check_http(raw: &raw::Http, problems: &mut Vec<Problem>) -> Option<Http> {
    let cors = match &raw.cors {
        Some(cors) => Some(cors.get().and_then(|cors| check_cors(cors, problems))?),
        None => None,
    };
    Some(Http {
        head_timeout: raw.head_timeout.plain()?,
        body_timeout: raw.body_timeout.plain()?,
        idle_timeout: raw.idle_timeout.plain()?,
        body_bytes_max: raw.body_bytes_max.plain()?,
        provider_header: raw.provider_header.plain()?,
        cors,
    })
}

fn check_cors(raw: &raw::Cors, problems: &mut Vec<Problem>) -> Option<Cors> {
    let written = raw.origins.get()?;
    let origins: Vec<String> = written.iter().filter_map(Given::plain).collect();
    refuse_more(written, limits::PATTERNS_MAX, "origins", problems);
    refuse_repeated(written, "this origin is listed twice", problems);
    if written.is_empty() {
        problems.push(Problem::maybe_at(
            raw.origins.span(),
            "at least one origin is needed; leave [http.cors] out for none",
        ));
    }
    if let Some(any) = written.iter().find(|origin| origin.plain().as_deref() == Some("*"))
        && written.len() > 1
    {
        problems.push(Problem::maybe_at(any.span(), "\"*\" stands alone: it allows every origin already"));
    }
    Some(Cors { origins, max_age: raw.max_age.plain()? })
}

fn check_rpc(raw: &raw::Rpc, problems: &mut Vec<Problem>) -> Option<Rpc> {
    let batch_items_max: Option<usize> = count(&raw.batch_items_max);
    let batch_in_flight_max = at_most(
        (&raw.batch_in_flight_max, count(&raw.batch_in_flight_max)),
        (&raw.batch_items_max, batch_items_max),
        "more items in flight than a batch may have (`batch_items_max`)",
        problems,
    );
    let blocked = raw.blocked_methods.get();
    if let Some(blocked) = blocked {
        refuse_more(blocked, limits::PATTERNS_MAX, "blocked methods", problems);
    }
    let deadlines = raw.deadlines.get().map(deadlines);
    Some(Rpc {
        batch_items_max: batch_items_max?,
        batch_in_flight_max: batch_in_flight_max?,
        batch_bytes_max: raw.batch_bytes_max.plain()?,
        blocked_methods: blocked?.iter().filter_map(Given::plain).collect(),
        attempts_max: count(&raw.attempts_max)?,
        deadlines: deadlines??,
    })
}

fn deadlines(raw: &raw::Deadlines) -> Option<Vec<(MethodClass, std::time::Duration)>> {
    let of = |class| match class {
        MethodClass::Head => &raw.head,
        MethodClass::Read => &raw.read,
        MethodClass::Receipt => &raw.receipt,
        MethodClass::Execute => &raw.execute,
        MethodClass::Logs => &raw.logs,
        MethodClass::Proof => &raw.proof,
        MethodClass::Trace => &raw.trace,
        MethodClass::Write => &raw.write,
        MethodClass::Filter => &raw.filter,
        MethodClass::Other => &raw.other,
    };
    MethodClass::ALL.into_iter().map(|class| Some((class, of(class).plain()?))).collect()
}

fn check_upstream(raw: &raw::Upstream, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Option<Upstream> {
    let connections_max: Option<usize> = count(&raw.connections_max);
    let connections_warm = at_most(
        (&raw.connections_warm, count(&raw.connections_warm)),
        (&raw.connections_max, connections_max),
        "more warm connections than there may be (`connections_max`)",
        problems,
    );
    let ca_file = match &raw.ca_file {
        Some(file) => Some(file.plain()?),
        None => None,
    };
    if let Some(file) = &ca_file
        && let Some(fault) = (around.ca_fault)(file)
    {
        let span = raw.ca_file.as_ref().and_then(Given::span);
        problems.push(Problem::maybe_at(span, format!("no certificates can be read from this file: {fault}")));
    }
    Some(Upstream {
        connect_timeout: raw.connect_timeout.plain()?,
        progress_timeout: raw.progress_timeout.plain()?,
        idle_timeout: raw.idle_timeout.plain()?,
        connections_max: connections_max?,
        connections_warm: connections_warm?,
        queue_max: count(&raw.queue_max)?,
        user_timeout: raw.user_timeout.plain()?,
        ca_file,
        subscriptions_per_connection: count(&raw.subscriptions_per_connection)?,
        ping_after: raw.ping_after.plain()?,
        pong_timeout: raw.pong_timeout.plain()?,
        compression: raw.compression.plain()?,
    })
}

fn check_websocket(raw: &raw::WebSocket, problems: &mut Vec<Problem>) -> Option<WebSocket> {
    let (origins, protocols) = (raw.origins.get(), raw.protocols.get());
    if let Some(origins) = origins {
        refuse_more(origins, limits::PATTERNS_MAX, "origins", problems);
    }
    if let Some(protocols) = protocols {
        refuse_more(protocols, limits::PATTERNS_MAX, "subprotocols", problems);
    }
    let compression = Compression {
        window_bits: count(&raw.compression_window_bits)?,
        bytes_min: raw.compression_bytes_min.plain()?,
    };
    Some(WebSocket {
        origins: origins?.iter().filter_map(Given::plain).collect(),
        protocols: protocols?.iter().filter_map(Given::plain).collect(),
        connections_max: count(&raw.connections_max)?,
        subscriptions_max: count(&raw.subscriptions_max)?,
        message_bytes_max: raw.message_bytes_max.plain()?,
        calls_in_flight_max: count(&raw.calls_in_flight_max)?,
        queued_bytes_max: raw.queued_bytes_max.plain()?,
        compression: raw.compression.plain()?.then_some(compression),
        ping_after: raw.ping_after.plain()?,
        pong_timeout: raw.pong_timeout.plain()?,
    })
}

fn check_subscriptions(raw: &raw::Subscriptions) -> Option<Subscriptions> {
    Some(Subscriptions {
        stale_blocks: count(&raw.stale_blocks)?,
        outage_max: raw.outage_max.plain()?,
        linger: raw.linger.plain()?,
    })
}

fn check_life(raw: &raw::Life) -> Option<Life> {
    Some(Life {
        drain_delay: raw.drain_delay.plain()?,
        drain_limit: raw.drain_limit.plain()?,
        upgrade: raw.upgrade.plain()?,
    })
}

fn check_log(raw: &raw::Log) -> Option<Log> {
    Some(Log { format: raw.format.plain()?, level: raw.level.plain()?, access_sample: raw.access_sample.plain()? })
}
