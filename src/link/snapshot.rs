//! What control publishes: the whole node as the shards are to see it, immutable.
//!
//! A provider that a reload leaves as it was keeps its [`ProviderSlot`], and with it its breaker, its cooldown and its
//! pooled connections. One whose address or credentials changed is another provider: a new slot with a new number, so
//! that what is still measured of the old one credits nobody else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::counters::Gauge;
use crate::config::{self, Config, Secret};
use crate::jsonrpc::{self, Blocked, FilterKey, MethodClass, Units};
use crate::limits;
use crate::routing::{
    Allotment, BeliefCells, FootingCell, Full, HeadCell, Month, Outbound, OutboundConfig, Plan, Standing,
};
use crate::time::Instant;

/// The node as of one moment.
#[derive(Debug)]
pub struct Snapshot {
    pub config: Arc<Config>,
    pub chains: Vec<Arc<ChainEntry>>,
    /// Chain names and decimal ids, sorted, and their positions in `chains`: a few comparisons cost less than a hash.
    names: Vec<(String, usize)>,
    pub blocked: Arc<Blocked>,
    /// Methods that two providers are asked for at once.
    pub raced: Arc<Blocked>,
    /// By [`MethodClass::index`].
    pub deadlines: [Duration; MethodClass::ALL.len()],
    /// For connections to providers; a shard gives its own copy a session cache of its own.
    pub tls: Arc<rustls::ClientConfig>,
}

/// A chain with its providers.
#[derive(Debug)]
pub struct ChainEntry {
    /// Never used twice in a process, and kept for as long as the chain has its name and id.
    pub number: u32,
    pub name: Arc<str>,
    pub config: config::Chain,
    pub providers: Vec<ProviderEntry>,
    /// Its newest block; control's word, kept for as long as the chain has its name and id.
    pub head: Arc<HeadCell>,
}

/// A provider as this snapshot has it.
#[derive(Clone, Debug)]
pub struct ProviderEntry {
    pub slot: Arc<ProviderSlot>,
    pub priority: u32,
    pub weight: u32,
    /// What may be sent to it; none: as much as one likes.
    pub plan: Option<Arc<ProviderPlan>>,
    /// Where its host's name leads now; empty while it is not known.
    pub addresses: Arc<[SocketAddr]>,
    /// The same of its WebSocket's host; empty without one.
    pub ws_addresses: Arc<[SocketAddr]>,
    /// What calls go over.
    pub calls: config::CallsOver,
}

/// A provider's plan, made ready to be kept to.
#[derive(Debug)]
pub struct ProviderPlan {
    pub by: OutboundConfig,
    pub plan: Plan,
    pub month: Month,
    /// What calls weigh.
    pub units: Units,
}

impl ProviderEntry {
    /// What of its plan stands in the way of a call of `class`, if anything does, shards' chunks aside.
    #[must_use]
    pub fn full(&self, now: Instant, class: MethodClass) -> Option<Full> {
        let plan = self.plan.as_ref()?;
        self.slot.outbound.full(now, plan.units.of_class(class), &plan.plan, &Allotment::default())
    }
}

/// What stays the same about a provider across snapshots, and the words that all shards share.
#[derive(Debug)]
pub struct ProviderSlot {
    /// Never used twice in a process.
    pub number: u64,
    pub chain: Arc<str>,
    pub id: Arc<str>,
    pub url: config::Url,
    pub ws_url: Option<config::Url>,
    pub headers: Vec<(String, Secret)>,
    pub filter_key: FilterKey,
    /// The operator's word on this provider's errors.
    pub overrides: Vec<jsonrpc::Override>,
    /// Its breaker and cooldown, alone in their cache lines.
    pub standing: Standing,
    /// Calls under way, by shard, as of its last look. Told a few times a second, so that they may share cache lines.
    in_flight: Box<[Gauge]>,
    /// Until when its refusal of our credentials has been told of, in microseconds.
    refusal_told_until: AtomicU64,
    /// Where it stands on its chain; control's word.
    pub footing: FootingCell,
    /// What has been sent to it, where that is limited.
    pub outbound: Outbound,
    /// Its newest block as clients were told since control last looked.
    pub said_head: HeadCell,
    /// Its newest block as anybody here has heard of it.
    pub newest: HeadCell,
    /// While it lags: the newest block that it has for certain; control's word.
    pub settled: HeadCell,
    /// What it is believed to lack, for pages.
    pub beliefs: BeliefCells,
}

impl Snapshot {
    /// Of a config's text, for tests: one shard, and hosts that are addresses lead there.
    #[cfg(test)]
    pub(crate) fn of(config: &str) -> Self {
        let config = Config::parse(config, "test", |_| None, &[0]).unwrap();
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let addresses =
            |url: &config::Url| url.host.parse().map(|ip| SocketAddr::new(ip, url.port)).into_iter().collect();
        Self::build(Arc::new(config), None, Arc::new(tls), addresses, |_| Month::default())
    }

    /// Makes the snapshot of `config`, keeping the slots of `previous` that are still the same provider.
    /// `addresses` tells where a provider's host leads now, `month` which one it is for a plan that begins on a day.
    pub fn build(
        config: Arc<Config>,
        previous: Option<&Self>,
        tls: Arc<rustls::ClientConfig>,
        mut addresses: impl FnMut(&config::Url) -> Arc<[SocketAddr]>,
        month: impl Fn(u8) -> Month,
    ) -> Self {
        // Cores stay as they are for a process's life.
        let shards = config.shards.cores.len();
        let chains: Vec<_> = config
            .chains
            .iter()
            .map(|chain| {
                let plan = |provider: &_| ProviderPlan::new(provider, &config.outbound, &month).map(Arc::new);
                Arc::new(ChainEntry::build(chain, previous, shards, &mut addresses, plan))
            })
            .collect();
        let mut names = BTreeMap::new();
        for (index, chain) in config.chains.iter().enumerate() {
            names.insert(chain.name.clone(), index);
            names.insert(chain.id.to_string(), index);
        }
        let blocked = Arc::new(Blocked::new(&config.rpc.blocked_methods));
        let raced = Arc::new(Blocked::new(&config.hedging.raced_methods));
        let mut deadlines = MethodClass::ALL.map(jsonrpc::default_deadline);
        for &(class, deadline) in &config.rpc.deadlines {
            deadlines[class.index()] = deadline;
        }
        Self { config, chains, names: names.into_iter().collect(), blocked, raced, deadlines, tls }
    }

    /// The position of the chain that a URL names by name or decimal id.
    #[must_use]
    pub fn chain_index(&self, name: &str) -> Option<usize> {
        let found = self.names.binary_search_by(|(known, _)| known.as_str().cmp(name));
        found.ok().map(|at| self.names[at].1)
    }

    /// Whether a month of some provider's plan has ended since this was made.
    #[must_use]
    pub fn is_of_last_month(&self, now: Instant) -> bool {
        let plans = self.chains.iter().flat_map(|chain| &chain.providers).filter_map(|provider| provider.plan.as_ref());
        plans.filter_map(|plan| plan.month.ends).any(|ends| now >= ends)
    }

    fn chain(&self, name: &str) -> Option<&ChainEntry> {
        self.chain_index(name).map(|index| &*self.chains[index])
    }
}

impl ChainEntry {
    fn build(
        chain: &config::Chain,
        previous: Option<&Snapshot>,
        shards: usize,
        addresses: &mut impl FnMut(&config::Url) -> Arc<[SocketAddr]>,
        plan: impl Fn(&config::Provider) -> Option<Arc<ProviderPlan>>,
    ) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name: Arc<str> = chain.name.as_str().into();
        let before = previous.and_then(|snapshot| snapshot.chain(&chain.name));
        let providers = chain
            .providers
            .iter()
            .map(|provider| {
                let kept = before.and_then(|entry| entry.providers.iter().find(|entry| entry.slot.is(provider)));
                ProviderEntry {
                    slot: kept.map_or_else(
                        || Arc::new(ProviderSlot::new(&name, provider, shards)),
                        |entry| Arc::clone(&entry.slot),
                    ),
                    priority: provider.priority,
                    weight: provider.weight,
                    plan: plan(provider),
                    addresses: addresses(&provider.url),
                    ws_addresses: provider.ws_url.as_ref().map_or_else(Arc::default, &mut *addresses),
                    calls: provider.calls,
                }
            })
            .collect();
        let kept = before.filter(|entry| entry.config.id == chain.id);
        let number = kept.map_or_else(|| NUMBER.fetch_add(1, Ordering::Relaxed), |entry| entry.number);
        let head = kept.map_or_else(Arc::default, |entry| Arc::clone(&entry.head));
        Self { number, name, config: chain.clone(), providers, head }
    }
}

impl ProviderPlan {
    fn new(provider: &config::Provider, outbound: &config::Outbound, month: impl Fn(u8) -> Month) -> Option<Self> {
        let limits = &provider.limits;
        let by = OutboundConfig {
            calls_per_second: limits.calls_per_second,
            units_per_second: limits.units_per_second,
            units_per_month: limits.units_per_month,
            in_flight: limits.in_flight,
            burst_percent: outbound.burst_percent,
            tuning: limits.tune.then_some(outbound.tuning),
        };
        let month = month(limits.month_starts_on);
        let plan = || Self { by, plan: Plan::new(by, month), month, units: limits.units.clone() };
        by.is_limited().then(plan)
    }
}

impl ProviderSlot {
    fn new(chain: &Arc<str>, provider: &config::Provider, shards: usize) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let url = &provider.url;
        let mut location = format!("{}:{}{}", url.host, url.port, url.target.expose());
        // Every credential there is: the harder the seal of a filter id is to forge.
        let secrets = url.authorization.iter().chain(provider.headers.iter().map(|(_, value)| value));
        secrets.for_each(|secret| location.extend(["\n", secret.expose()]));
        Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            chain: Arc::clone(chain),
            id: provider.id.as_str().into(),
            url: url.clone(),
            ws_url: provider.ws_url.clone(),
            headers: provider.headers.clone(),
            filter_key: FilterKey::derive(chain, &provider.id, &location),
            overrides: provider.errors.clone(),
            standing: Standing::new(),
            in_flight: (0..shards).map(|_| Gauge::default()).collect(),
            refusal_told_until: AtomicU64::new(0),
            footing: FootingCell::default(),
            outbound: Outbound::new(),
            said_head: HeadCell::default(),
            newest: HeadCell::default(),
            settled: HeadCell::default(),
            beliefs: BeliefCells::default(),
        }
    }

    /// It refuses our credentials. Whether that is to be told: it does so with every call, and one word in
    /// [`limits::REFUSAL_TOLD_EVERY`] is enough.
    pub fn is_refusal_news(&self, now: Instant) -> bool {
        let until = self.refusal_told_until.load(Ordering::Relaxed);
        let next = (now + limits::REFUSAL_TOLD_EVERY).micros();
        now.micros() >= until
            && self.refusal_told_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// A shard, by its number, has this many calls under way.
    pub fn tell_in_flight(&self, shard: usize, calls: u32) {
        if let Some(gauge) = self.in_flight.get(shard) {
            gauge.set(calls.into());
        }
    }

    /// Calls under way in the whole node, a fraction of a second ago.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.iter().map(Gauge::get).sum()
    }

    /// Whether `provider` is still this one: same name, same address, same credentials.
    fn is(&self, provider: &config::Provider) -> bool {
        *self.id == *provider.id
            && self.url == provider.url
            && self.ws_url == provider.ws_url
            && self.headers == provider.headers
            && self.overrides == provider.errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_news_once_in_a_while() {
        let text = "[[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"alpha\"\nurl = \"http://127.0.0.1\"\n";
        let config = Config::parse(text, "test", |_| None, &[0]).unwrap();
        let slot = ProviderSlot::new(&"ethereum".into(), &config.chains[0].providers[0], 1);
        let (start, later) = (Instant::START, Instant::START + limits::REFUSAL_TOLD_EVERY);
        let told =
            [start, start, start + limits::REFUSAL_TOLD_EVERY / 2, later, later].map(|at| slot.is_refusal_news(at));
        assert_eq!(told, [true, false, false, true, false]);
    }
}
