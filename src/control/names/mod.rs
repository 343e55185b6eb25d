//! Providers' names, resolved off the shards.
//!
//! A resolver of our own and not `getaddrinfo`: that one hides the TTL and blocks. It reads the system's configuration
//! and hosts file when it is made; a reload makes another. What is asked when is decided in `table`; this file only asks.

mod table;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::task::JoinSet;

use crate::config::{Config, Url};
use crate::limits;
use table::Table;

/// The names of all providers. What is due is asked for while [`Names::progress`] is awaited.
pub(super) struct Names {
    table: Table,
    resolver: Arc<TokioResolver>,
    lookups: JoinSet<Lookup>,
}

/// What became of asking for a host: its addresses and how long they hold.
struct Lookup {
    host: String,
    result: Result<(Vec<IpAddr>, Duration), String>,
}

impl Names {
    /// Knows the hosts of `config`, and no address yet. Needs a runtime.
    pub(super) fn new(config: &Config) -> Result<Self, NetError> {
        let mut names = Self { table: Table::default(), resolver: Arc::new(resolver()?), lookups: JoinSet::new() };
        names.set_hosts(config);
        Ok(names)
    }

    /// Knows the hosts of `config` from now on, and what it knew of them.
    pub(super) fn set_hosts(&mut self, config: &Config) {
        let providers = config.chains.iter().flat_map(|chain| &chain.providers);
        let urls = providers.flat_map(|provider| std::iter::once(&provider.url).chain(&provider.ws_url));
        self.table.set_hosts(urls.map(|url| url.host.as_str()), Instant::now());
    }

    /// Reads the system's resolver configuration and hosts file again.
    pub(super) fn read_system(&mut self) {
        match resolver() {
            Ok(resolver) => self.resolver = Arc::new(resolver),
            Err(error) => {
                tracing::warn!(%error, "the system's resolver configuration; the last one goes on");
            }
        }
    }

    /// Where a provider is now; empty while that is not known.
    pub(super) fn addresses(&self, url: &Url) -> Arc<[SocketAddr]> {
        self.table.addresses(&url.host).into_iter().map(|ip| SocketAddr::new(ip, url.port)).collect()
    }

    /// Whether a host has neither been answered for nor failed yet.
    pub(super) fn waiting(&self) -> bool {
        self.table.waiting()
    }

    /// Until every host has been answered for or has failed, at most `limit`.
    pub(super) async fn first(&mut self, limit: Duration) {
        let all = async {
            while self.waiting() {
                self.progress().await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!(?limit, "not every provider's name is resolved yet; their calls go to the others");
        }
    }

    /// Asks for what is due and waits for one thing to happen: an answer, a failure, a host that is due. Answers whether
    /// a host's addresses changed. Cancel safe: lookups go on.
    pub(super) async fn progress(&mut self) -> bool {
        self.start_due();
        let due = self.table.next_due().filter(|_| self.lookups.len() < limits::NAMES_IN_FLIGHT_MAX);
        tokio::select! {
            Some(lookup) = self.lookups.join_next() => lookup.is_ok_and(|lookup| self.on_lookup(lookup)),
            () = sleep_until(due) => false,
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while self.lookups.len() < limits::NAMES_IN_FLIGHT_MAX {
            let Some(host) = self.table.take_due(now) else {
                return;
            };
            let resolver = Arc::clone(&self.resolver);
            self.lookups.spawn(async move {
                let result = look_up(&resolver, &host).await;
                Lookup { host, result }
            });
        }
    }

    fn on_lookup(&mut self, lookup: Lookup) -> bool {
        let Lookup { host, result } = lookup;
        match result {
            Ok((addresses, ttl)) => {
                let news = self.table.on_answer(&host, addresses, ttl, Instant::now());
                if news {
                    tracing::info!(host, addresses = ?self.table.addresses(&host), "a provider's addresses");
                }
                news
            }
            Err(error) => {
                let failures = self.table.on_failure(&host, Instant::now());
                let known = self.table.addresses(&host).len();
                tracing::warn!(host, %error, failures, known, "a provider's name could not be resolved");
                false
            }
        }
    }
}

/// Never, when there is nothing to wait for.
async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

async fn look_up(resolver: &TokioResolver, host: &str) -> Result<(Vec<IpAddr>, Duration), String> {
    let found = tokio::time::timeout(limits::NAMES_LOOKUP_MAX, resolver.lookup_ip(host)).await;
    let found = found.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.to_string())?;
    let ttl = found.valid_until().saturating_duration_since(Instant::now());
    Ok((found.iter().collect(), ttl))
}

/// As the system has it; without a system configuration (a bare container) just the hosts file.
fn resolver() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
        tracing::warn!(%error, "no system resolver configuration; only the hosts file is used");
        TokioResolver::builder_with_config(
            ResolverConfig::from_parts(None, Vec::new(), Vec::new()),
            TokioRuntimeProvider::default(),
        )
    });
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Always;
    // The table is the cache.
    options.cache_size = 0;
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(host: &str) -> Config {
        let text = format!(
            "[[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"alpha\"\nurl = \"http://{host}:8000\""
        );
        Config::parse(&text, "test", |_| None, &[0]).unwrap()
    }

    #[tokio::test]
    async fn what_needs_no_resolver_is_known_at_once() {
        for (host, expected) in [
            ("localhost", vec!["127.0.0.1:8000", "[::1]:8000"]),
            ("10.0.0.1", vec!["10.0.0.1:8000"]),
            ("[::1]", vec!["[::1]:8000"]),
        ] {
            let config = config(host);
            let mut names = Names::new(&config).unwrap();
            names.first(Duration::ZERO).await;
            assert!(!names.waiting());
            let found = names.addresses(&config.chains[0].providers[0].url);
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{host}");
        }
    }

    #[tokio::test]
    async fn a_websockets_host_is_asked_for_too() {
        let text = "[[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"alpha\"\n\
                    url = \"http://10.0.0.1\"\nws_url = \"ws://nowhere.invalid\"\n";
        let names = Names::new(&Config::parse(text, "test", |_| None, &[0]).unwrap()).unwrap();
        assert!(names.waiting());
    }

    #[tokio::test]
    async fn a_name_that_leads_nowhere_is_waited_for_no_longer_than_allowed() {
        let config = config("nowhere.invalid");
        let mut names = Names::new(&config).unwrap();
        names.first(Duration::from_millis(50)).await;
        assert!(names.addresses(&config.chains[0].providers[0].url).is_empty());
    }
}
