//! What is known of each provider's host, and when it is asked for again: pure, told the time.
//!
//! A failure never takes away an address: a provider whose resolver is down is still where it was. An answer with
//! the same addresses in another order is no change, since resolvers rotate them at every answer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::limits;

/// Hosts that need resolving. IP addresses and `localhost` never come in.
#[derive(Debug, Default)]
pub(super) struct Table(HashMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    /// Empty until the first answer.
    addresses: Vec<IpAddr>,
    /// When it is to be asked for.
    due: Instant,
    /// Since the last answer.
    failures: u32,
}

/// The addresses of a host that needs no resolver.
pub(super) fn fixed(host: &str) -> Option<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Some(vec![address]);
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    // Loopback by RFC 6761, section 6.3, whatever a hosts file or a resolver says.
    let loopback = host == "localhost" || host.ends_with(".localhost");
    loopback.then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

/// How long an answer with `ttl` is good for.
fn good_for(ttl: Duration) -> Duration {
    ttl.clamp(limits::NAMES_TTL_MIN, limits::NAMES_TTL_MAX)
}

/// The wait after the `failures`-th failure in a row, from 1.
fn retry_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    limits::NAMES_RETRY_MIN.saturating_mul(1 << doublings).min(limits::NAMES_RETRY_MAX)
}

impl Table {
    /// Knows just `hosts` from now on; new ones are due at once.
    pub(super) fn set_hosts<'a>(&mut self, hosts: impl Iterator<Item = &'a str>, now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        for host in hosts.filter(|host| fixed(host).is_none()) {
            let entry = before.remove(host).unwrap_or(Entry { addresses: Vec::new(), due: now, failures: 0 });
            // A host listed twice is removed from `before` the first time and found here the second.
            self.0.entry(host.to_owned()).or_insert(entry);
        }
    }

    /// Where `host` leads; empty while that is not known.
    pub(super) fn addresses(&self, host: &str) -> Vec<IpAddr> {
        fixed(host).or_else(|| self.0.get(host).map(|entry| entry.addresses.clone())).unwrap_or_default()
    }

    /// Whether a host was never answered for and has not failed either.
    pub(super) fn waiting(&self) -> bool {
        self.0.values().any(|entry| entry.addresses.is_empty() && entry.failures == 0)
    }

    /// A host that is due, taken as asked for. The caller brings [`Table::on_answer`] or [`Table::on_failure`]; should
    /// it never, the host is due again after [`limits::NAMES_RETRY_MAX`].
    pub(super) fn take_due(&mut self, now: Instant) -> Option<String> {
        let (host, entry) = self.0.iter_mut().find(|(_, entry)| entry.due <= now)?;
        entry.due = now + limits::NAMES_RETRY_MAX;
        Some(host.clone())
    }

    /// When the next host is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().map(|entry| entry.due).min()
    }

    /// `host` leads to `addresses` for `ttl`. Answers whether that is news.
    pub(super) fn on_answer(&mut self, host: &str, addresses: Vec<IpAddr>, ttl: Duration, now: Instant) -> bool {
        let Some(entry) = self.0.get_mut(host) else {
            return false;
        };
        entry.due = now + good_for(ttl);
        entry.failures = 0;
        let mut addresses = addresses;
        addresses.truncate(limits::NAME_ADDRESSES_MAX);
        let news = !same_set(&entry.addresses, &addresses);
        if news {
            entry.addresses = addresses;
        }
        news
    }

    /// The resolver did not answer, or knows no address. Answers how many times in a row.
    pub(super) fn on_failure(&mut self, host: &str, now: Instant) -> u32 {
        let Some(entry) = self.0.get_mut(host) else {
            return 0;
        };
        entry.failures = entry.failures.saturating_add(1);
        entry.due = now + retry_after(entry.failures);
        entry.failures
    }
}

fn same_set(one: &[IpAddr], other: &[IpAddr]) -> bool {
    let sorted = |addresses: &[IpAddr]| {
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    };
    sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "eth.alpha.example";

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn table(now: Instant) -> Table {
        let mut table = Table::default();
        table.set_hosts([HOST, "127.0.0.1", HOST, "localhost"].into_iter(), now);
        table
    }

    #[test]
    fn ip_addresses_and_localhost_need_no_resolver() {
        let loopback = ips(&["127.0.0.1", "::1"]);
        let cases = [
            ("10.0.0.1", Some(ips(&["10.0.0.1"]))),
            ("::1", Some(ips(&["::1"]))),
            ("localhost", Some(loopback.clone())),
            ("LocalHost.", Some(loopback.clone())),
            ("a.localhost", Some(loopback)),
            ("notlocalhost", None),
            (HOST, None),
        ];
        for (host, expected) in cases {
            assert_eq!(fixed(host), expected, "{host}");
        }
    }

    #[test]
    fn the_ttl_is_kept_within_bounds() {
        let cases = [(0, 5), (4, 5), (60, 60), (300, 300), (86_400, 300)];
        for (ttl, expected) in cases {
            let now = Instant::now();
            let mut table = table(now);
            assert_eq!(table.take_due(now).as_deref(), Some(HOST));
            assert_eq!(table.take_due(now), None, "asked for once");
            table.on_answer(HOST, ips(&["10.0.0.1"]), Duration::from_secs(ttl), now);
            assert_eq!(table.next_due(), Some(now + Duration::from_secs(expected)), "TTL {ttl}");
        }
    }

    #[test]
    fn failures_keep_the_addresses_and_back_off() {
        let now = Instant::now();
        let mut table = table(now);
        table.on_answer(HOST, ips(&["10.0.0.1"]), Duration::ZERO, now);
        for (failures, wait) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60)] {
            assert_eq!(table.on_failure(HOST, now), failures);
            assert_eq!(table.next_due(), Some(now + Duration::from_secs(wait)), "failure {failures}");
        }
        assert_eq!(table.addresses(HOST), ips(&["10.0.0.1"]));
        table.on_answer(HOST, ips(&["10.0.0.1"]), Duration::ZERO, now);
        assert_eq!(table.on_failure(HOST, now), 1, "an answer ends the run");
        assert_eq!(retry_after(u32::MAX), limits::NAMES_RETRY_MAX);
    }

    #[test]
    fn another_order_is_no_news() {
        let now = Instant::now();
        let mut table = table(now);
        let answer = |table: &mut Table, list: &[&str]| table.on_answer(HOST, ips(list), Duration::ZERO, now);
        assert!(answer(&mut table, &["10.0.0.2", "10.0.0.1"]));
        assert!(!answer(&mut table, &["10.0.0.1", "10.0.0.2"]));
        assert_eq!(table.addresses(HOST), ips(&["10.0.0.2", "10.0.0.1"]));
        assert!(answer(&mut table, &["10.0.0.1"]));
        assert!(answer(&mut table, &["10.0.0.3"]));
    }

    #[test]
    fn it_waits_for_a_first_word_only() {
        let now = Instant::now();
        let mut table = table(now);
        assert!(table.waiting());
        table.on_failure(HOST, now);
        assert!(!table.waiting(), "a failure is a word too");
        table.set_hosts(["other.example"].into_iter(), now);
        assert!(table.waiting());
        assert!(!table.on_answer(HOST, ips(&["10.0.0.1"]), Duration::ZERO, now), "no longer known");
        assert!(table.addresses(HOST).is_empty());
    }
}
