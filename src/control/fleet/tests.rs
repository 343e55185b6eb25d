//! Leases against a real store: a Redis or Valkey of the test's own, which is killed and comes back.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU64;

use redis::Connection;

use super::*;
use crate::bucket::Month;
use crate::config::Secret;
use crate::tenant::key::KeyId;
use crate::tenant::lease::store::Store;
use crate::tenant::lease::{Lease, LeaseTerms, MonthAsk, RateAsk};
use crate::tenant::{PlanConfig, QuotaConfig, WithoutStore};

const PATIENCE: Duration = Duration::from_secs(20);
const MONTH: Month = Month { number: 9, ends: None, next: 39 };

/// A store on a port of its own, which ends with it.
struct Server {
    port: u16,
    process: Child,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
        Self::start_on(port)
    }

    fn start_on(port: u16) -> Self {
        let spawn = |program: &str| {
            let arguments = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", "/tmp", "--port"];
            Command::new(program).args(arguments).arg(port.to_string()).stdout(Stdio::null()).spawn()
        };
        let process = spawn("redis-server").or_else(|_| spawn("valkey-server"));
        let server = Self { port, process: process.expect("redis-server or valkey-server: tests/setup installs it") };
        let until = std::time::Instant::now() + PATIENCE;
        while server.connect().is_none() {
            assert!(std::time::Instant::now() < until, "the store does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    fn config(&self) -> config::Fleet {
        config::Fleet { url: Secret::new(self.url()), ca_file: None }
    }

    fn connect(&self) -> Option<Connection> {
        redis::Client::open(self.url()).unwrap().get_connection().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The script and the model are told the same, at the same moments.
#[test]
fn the_script_does_what_the_model_does() {
    let server = Server::start();
    let mut connection = server.connect().unwrap();
    let text = include_str!("exchange.lua").replace("redis.call('TIME')", "{ARGV[21], ARGV[22]}");
    let script = redis::Script::new(&text);
    let (mut model, mut random) = (Store::default(), Random::new(42));
    let mut below = |bound: u64| random.next_u64() % bound;
    let mut now_us = 1_795_300_000_000_000;
    for step in 0..3_000 {
        now_us += [0, 1, 999, 30_000, 400_000][usize::try_from(below(5)).unwrap()];
        let mut rate = |rate: u64| {
            let asked = RateAsk {
                rate,
                burst: 1 + below(3) * rate,
                back: below(4) * below(20),
                debt: below(3) * below(10),
                want: below(2) * below(60),
                least: 1 + below(2) * below(30),
            };
            Some(asked).filter(|_| below(5) > 0)
        };
        let rates = [rate(1 + step % 7), rate(1000)];
        let used = below(500).cast_signed() - 100;
        let month = MonthAsk {
            month: u16::try_from(below(2)).unwrap(),
            count: below(2),
            limit: [0, 5_000, 100_000_000_000_000][usize::try_from(below(3)).unwrap()],
            base: below(300),
            used,
            told: [0, used, below(500).cast_signed() - 100][usize::try_from(below(3)).unwrap()],
            close: below(8) == 0,
            want: below(3) * below(400),
            least: 1 + below(26),
        };
        let ask = Ask { key: KeyId(below(2)), rates, month: Some(month).filter(|_| below(6) > 0) };
        let node = below(4);
        let mut invocation = script.prepare_invoke();
        invocation.key(format!("r{}", ask.key)).key(format!("m{}:{}", ask.key, month.month));
        for text in exchange::arguments(&ask, &format!("{node:x}")) {
            invocation.arg(text);
        }
        invocation.arg(now_us / 1_000_000).arg(now_us % 1_000_000);
        let said: [i64; 6] = invocation.invoke(&mut connection).unwrap();
        assert_eq!(exchange::answer(said), model.answer(now_us, node, &ask), "step {step}: {ask:?}");
    }
}

/// A node's clients: they take whatever they are given, in true time.
struct Node {
    fleet: Fleet,
    lease: Arc<Lease>,
    used: AtomicU64,
}

fn terms(without_store: WithoutStore) -> LeaseTerms {
    let quota = QuotaConfig {
        calls_per_second: Some(200),
        calls_burst: Some(20),
        units_per_month: Some(1_000_000),
        ..QuotaConfig::default()
    };
    LeaseTerms::new(&PlanConfig { quota, without_store, ..PlanConfig::default() }, MONTH)
}

fn node(server: &Server, key: KeyId, terms: LeaseTerms, boot: u64, epoch: std::time::Instant) -> Node {
    let lease = Arc::new(Lease::new(&terms));
    let words = Arc::clone(&lease);
    let in_use: InUse = Arc::new(move || vec![Leased { key, lease: Arc::clone(&words), terms, base: 0 }]);
    let fleet = Fleet::start(&server.config(), "local", boot, epoch, in_use).unwrap();
    Node { fleet, lease, used: AtomicU64::new(0) }
}

/// Everybody asks for much more than there is; what was let through, and what was refused.
async fn load(nodes: &[Node], epoch: std::time::Instant, time: Duration) -> (u64, u64) {
    let until = std::time::Instant::now() + time;
    let (mut calls, mut refused) = (0, 0);
    while std::time::Instant::now() < until {
        for node in nodes {
            let taken = node.lease.take(Instant::START + epoch.elapsed(), 3).is_ok();
            calls += u64::from(taken);
            refused += u64::from(!taken);
            node.used.fetch_add(3 * u64::from(taken), Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (calls, refused)
}

async fn eventually(what: impl Fn() -> bool) {
    let all = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, all).await.is_ok(), "it does not come");
}

fn sum(server: &Server, key: KeyId) -> u64 {
    let mut connection = server.connect().unwrap();
    let name = format!("livechain:all:{{{key}}}:{}", MONTH.number);
    redis::cmd("HGET").arg(name).arg("sum").query(&mut connection).unwrap_or(0)
}

#[tokio::test]
async fn nodes_share_a_plan_and_the_month_is_exact() {
    let server = Server::start();
    let (key, epoch) = (KeyId(0xab), std::time::Instant::now());
    let nodes: Vec<_> = (1..=3).map(|boot| node(&server, key, terms(WithoutStore::Refuse), boot, epoch)).collect();
    let (calls, _) = load(&nodes, epoch, Duration::from_secs(3)).await;
    // 600 and a burst, a tenth of a second's lease, starters; a machine that is busy gets less.
    assert!(calls <= 600 + 20 + 20 + 3 * 2, "{calls}");
    assert!(calls >= 300, "{calls}");
    let shares: Vec<_> = nodes.iter().map(|node| node.used.load(Relaxed)).collect();
    assert!(shares.iter().all(|used| *used * 3 >= 100), "{shares:?}");
    let used: u64 = shares.iter().sum();
    for node in nodes {
        node.fleet.finish(PATIENCE).await;
    }
    assert_eq!(sum(&server, key), used, "all that was leased is handed back");
    // Names tell nothing but ids.
    let names: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut server.connect().unwrap()).unwrap();
    assert!(
        names.iter().all(|name| name.starts_with("livechain:") && name.contains("{00000000000000ab}")),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_store_that_dies_is_done_without_as_each_plan_says_and_what_was_used_is_told_later() {
    let server = Server::start();
    let (port, epoch) = (server.port, std::time::Instant::now());
    let (refusing, going_on) = (KeyId(1), KeyId(2));
    let refuse = [node(&server, refusing, terms(WithoutStore::Refuse), 11, epoch)];
    let go_on = [node(&server, going_on, terms(WithoutStore::GoOn), 12, epoch)];
    assert!(load(&refuse, epoch, Duration::from_millis(500)).await.0 > 0);
    assert!(load(&go_on, epoch, Duration::from_millis(500)).await.0 > 0);
    drop(server);
    // Nobody uses a key: nothing is asked, and nothing noticed.
    load(&refuse, epoch, Duration::from_millis(300)).await;
    load(&go_on, epoch, Duration::from_millis(300)).await;
    eventually(|| !refuse[0].fleet.is_connected() && !go_on[0].fleet.is_connected()).await;
    assert_eq!(load(&refuse, epoch, Duration::from_millis(300)).await.0, 0);
    assert_eq!(load(&go_on, epoch, Duration::from_millis(300)).await.1, 0, "the node's own words are what limits");
    let server = Server::start_on(port);
    let until = std::time::Instant::now() + PATIENCE;
    while !(refuse[0].fleet.is_connected() && go_on[0].fleet.is_connected()) {
        assert!(std::time::Instant::now() < until, "it does not come back");
        load(&refuse, epoch, Duration::from_millis(20)).await;
        load(&go_on, epoch, Duration::from_millis(20)).await;
    }
    assert!(load(&refuse, epoch, Duration::from_secs(1)).await.0 > 50, "it is leased again");
    let used = go_on[0].used.load(Relaxed);
    for node in refuse.into_iter().chain(go_on) {
        node.fleet.finish(PATIENCE).await;
    }
    // The store came back empty: it was told what was used before, too.
    assert_eq!(sum(&server, going_on), used);
}

#[tokio::test]
async fn an_address_where_nobody_is_costs_nobody_a_call() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
    let config = config::Fleet { url: Secret::new(format!("redis://:s3cret@127.0.0.1:{port}/")), ca_file: None };
    let terms = terms(WithoutStore::GoOn);
    let lease = Arc::new(Lease::new(&terms));
    let (words, epoch) = (Arc::clone(&lease), std::time::Instant::now());
    let in_use: InUse = Arc::new(move || vec![Leased { key: KeyId(3), lease: Arc::clone(&words), terms, base: 0 }]);
    let fleet = Fleet::start(&config, "local", 5, epoch, in_use).unwrap();
    assert!(!format!("{fleet:?}").contains("s3cret"));
    assert_eq!(lease.take(Instant::START, 1), Ok(()));
    eventually(|| !fleet.is_connected()).await;
    assert!((0..1000).all(|_| lease.take(Instant::START + epoch.elapsed(), 1).is_ok()));
}
