//! `/api/chains` and `/api/providers`: for operators, so they name providers; but of a provider's address only scheme
//! and host, since keys hide anywhere behind them.

use std::time::Duration;

use serde::Serialize;

use super::bodies::json;
use super::state::{BreakerState, chain_usable, out, rest};
use crate::control::{Percentiles, Totals, View, Watch, milliseconds};
use crate::jsonrpc::MethodClass;
use crate::link::{ChainEntry, Outcome, ProviderEntry, ProviderPlan};
use crate::time::Instant;

/// Every chain, with what is configured of it.
#[must_use]
pub(super) fn chains(view: &View) -> String {
    #[derive(Serialize)]
    struct Chain<'a> {
        name: &'a str,
        id: u64,
        network_id: u64,
        block_time_ms: u128,
        strategy: &'static str,
        usable: bool,
        /// The newest block that the majority of providers has; null while nobody has said.
        head: Option<u64>,
        max_lag_blocks: u64,
        providers: Vec<&'a str>,
    }
    let (snapshot, now, watch) = (view.snapshot(), view.now(), view.watch());
    let chains: Vec<_> = snapshot
        .chains
        .iter()
        .map(|chain| Chain {
            name: &chain.name,
            id: chain.config.id,
            network_id: chain.config.network_id,
            block_time_ms: chain.config.block_time.as_millis(),
            strategy: chain.config.strategy.name(),
            usable: chain_usable(chain, now),
            head: watch.head(&chain.name),
            max_lag_blocks: chain.config.head_limits(&snapshot.config.heads).max_lag,
            providers: chain.providers.iter().map(|provider| &*provider.slot.id).collect(),
        })
        .collect();
    json(&serde_json::json!({ "chains": chains }))
}

/// Every provider, with how it stands and what was measured of it.
#[must_use]
pub(super) fn providers(view: &View) -> String {
    let (snapshot, now, watch, totals) = (view.snapshot(), view.now(), view.watch(), view.totals());
    let of_chain = |chain: &'_ ChainEntry| -> Vec<Provider> {
        chain.providers.iter().map(|provider| Provider::new(provider, &totals, &watch, now)).collect()
    };
    let providers: Vec<_> = snapshot.chains.iter().flat_map(|chain| of_chain(chain)).collect();
    json(&serde_json::json!({ "providers": providers }))
}

#[derive(Serialize)]
struct Provider {
    chain: String,
    id: String,
    origin: String,
    priority: u32,
    weight: u32,
    addresses: usize,
    breaker: &'static str,
    /// Absent while it is not left alone.
    rest: Option<RestOf>,
    /// Why it is passed over; null while it is not.
    out: Option<&'static str>,
    /// Null where nothing is limited.
    plan: Option<PlanOf>,
    /// Null while it has not said.
    head: Option<Head>,
    /// The last question of the node's own did not reach it.
    unreachable: bool,
    /// What it is believed to lack (`method`, `state`, `history`, `range`), and for how many seconds still: it is passed over
    /// for such calls.
    lacks: serde_json::Map<String, serde_json::Value>,
    /// Those that it was asked for.
    classes: Vec<Class>,
}

/// How much of what was bought is used.
#[derive(Serialize)]
struct PlanOf {
    calls_per_second: Option<u32>,
    units_per_second: Option<u32>,
    units_per_month: Option<u64>,
    in_flight_max: Option<u32>,
    /// The part of its rates that is used now, as a part of 1: less after refusals.
    tuned: f64,
    in_flight: u32,
    /// Since the month began or this node did; null where months are not limited.
    month_units: Option<u64>,
}

impl PlanOf {
    fn new(provider: &ProviderEntry, plan: &ProviderPlan, now: Instant) -> Self {
        let (by, outbound) = (&plan.by, &provider.slot.outbound);
        Self {
            calls_per_second: by.calls_per_second,
            units_per_second: by.units_per_second,
            units_per_month: by.units_per_month,
            in_flight_max: by.in_flight,
            tuned: f64::from(outbound.tuned_per_mille(now, by)) / 1000.0,
            in_flight: outbound.in_flight(),
            month_units: by.units_per_month.map(|_| outbound.month_used(now, plan.month)),
        }
    }
}

#[derive(Serialize)]
struct Head {
    block: u64,
    /// Blocks behind the chain's, when it said so.
    lag: u64,
    age_s: f64,
}

#[derive(Serialize)]
struct RestOf {
    why: &'static str,
    seconds: f64,
}

#[derive(Serialize)]
struct Class {
    #[serde(rename = "class")]
    name: &'static str,
    /// Since the node knows this provider.
    attempts: serde_json::Map<String, serde_json::Value>,
    /// Of successes in the last five to ten minutes.
    latency: Option<Latency>,
}

#[derive(Serialize)]
struct Latency {
    count: u64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
}

impl Provider {
    fn new(provider: &ProviderEntry, totals: &Totals, watch: &Watch, now: Instant) -> Self {
        let slot = &provider.slot;
        let facts = watch.facts(slot.number);
        let age = |at| milliseconds(now.since(at)) / 1e3;
        let head =
            facts.and_then(|facts| facts.heard.map(|(block, at)| Head { block, lag: facts.lag, age_s: age(at) }));
        let scheme = if slot.url.tls { "https" } else { "http" };
        Self {
            chain: slot.chain.to_string(),
            id: slot.id.to_string(),
            origin: format!("{scheme}://{}", slot.url.host),
            priority: provider.priority,
            weight: provider.weight,
            addresses: provider.addresses.len(),
            breaker: BreakerState::of(provider, now).name(),
            rest: rest(provider, now).map(|(why, seconds)| RestOf { why, seconds }),
            plan: provider.plan.as_ref().map(|plan| PlanOf::new(provider, plan, now)),
            out: out(provider, watch.out(slot), now),
            head,
            unreachable: facts.is_some_and(|facts| facts.unreachable),
            lacks: slot.beliefs.read(now).map(|(what, time)| (what.to_owned(), time.as_secs_f64().into())).collect(),
            classes: MethodClass::ALL.iter().filter_map(|&class| Class::new(slot.number, class, totals)).collect(),
        }
    }
}

impl Class {
    fn new(slot: u64, class: MethodClass, totals: &Totals) -> Option<Self> {
        let total = totals.of(slot, class)?;
        let attempts = Outcome::ALL.iter().zip(total.outcomes);
        Some(Self {
            name: class.name(),
            attempts: attempts.map(|(outcome, count)| (outcome.name().to_owned(), count.into())).collect(),
            latency: total.percentiles().map(Latency::new),
        })
    }
}

impl Latency {
    fn new(percentiles: Percentiles) -> Self {
        let Percentiles { p50_us, p90_us, p99_us, count } = percentiles;
        let ms = |micros| milliseconds(Duration::from_micros(micros));
        Self { count, p50_ms: ms(p50_us), p90_ms: ms(p90_us), p99_ms: ms(p99_us) }
    }
}
