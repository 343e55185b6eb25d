//! Nodes of a region that share a store of quotas sell a plan once.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic, and its numbers are small")]

mod support;

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::certs::Authority;
use support::client::request;
use support::shop::{CALL, Shop};
use support::{Node, Provider, Setup, eventually, ports};

/// Redis or Valkey, in memory alone; ended when this is dropped.
struct Redis {
    address: SocketAddr,
    process: Child,
}

impl Redis {
    fn start() -> Self {
        Self::start_at(ports::unused())
    }

    fn start_at(address: SocketAddr) -> Self {
        Self::start_with(address, &["--port", &address.port().to_string()])
    }

    fn start_with(address: SocketAddr, more: &[&str]) -> Self {
        let spawn = |program: &str| {
            let arguments = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", "/tmp"];
            Command::new(program).args(arguments).args(more).stdout(Stdio::null()).spawn()
        };
        let process = spawn("redis-server").or_else(|_| spawn("valkey-server")).expect("tests/setup installs it");
        eventually("the store listens", || TcpStream::connect(address).ok());
        Self { address, process }
    }

    fn end(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn nodes(shop: &Shop, provider: &Provider, redis: &Redis) -> [Node; 2] {
    [(); 2].map(|()| {
        let url = format!("url = \"redis://{}\"", redis.address);
        shop.in_setup(Setup::ethereum(&[provider])).set("tenants.fleet", &url).start()
    })
}

/// Asks each node for `time`, some hundred times a second; how many calls each answered.
fn answered(nodes: &[Node], key: &str, time: Duration) -> Vec<usize> {
    let (path, until) = (format!("/v1/{key}/rpc/ethereum"), Instant::now() + time);
    let ask = |node: &Node| {
        let (mut client, mut good) = (node.connect(), 0);
        while Instant::now() < until {
            good += usize::from(client.send(request(&path, CALL)).answer().status == 200);
            thread::sleep(Duration::from_millis(5));
        }
        good
    };
    thread::scope(|scope| {
        let asking: Vec<_> = nodes.iter().map(|node| scope.spawn(|| ask(node))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    })
}

#[test]
fn a_plan_is_sold_once_in_a_region() {
    let (mut shop, provider, redis) = (Shop::new(), Provider::answering("\"0x1\""), Redis::start());
    let (key, _) = shop.plan("small", r#"{"calls_per_second":40,"calls_burst":10}"#).key("small");
    let nodes = nodes(&shop, &provider, &redis);
    let answered = answered(&nodes, &key, Duration::from_secs(10));
    let all: usize = answered.iter().sum();
    println!("{answered:?} of 410 sold");
    // Each node that has just met a key may let a burst of its own through, once.
    assert!(all <= 414 + 2 * 10, "{answered:?}");
    assert!(all >= 300 && answered.iter().all(|one| *one >= 80), "used, and by both: {answered:?}");
}

#[test]
fn without_the_store_a_plan_goes_on_or_refuses_as_it_says() {
    let (mut shop, provider, mut redis) = (Shop::new(), Provider::answering("\"0x1\""), Redis::start());
    let plan = |word: &str| format!(r#"{{"calls_per_second":40,"calls_burst":10,"without_store":"{word}"}}"#);
    let (on, _) = shop.plan("on", &plan("go_on")).key("on");
    let (off, _) = shop.plan("off", &plan("refuse")).key("off");
    let nodes = nodes(&shop, &provider, &redis);
    let second = Duration::from_secs(1);
    assert!(answered(&nodes, &on, second).iter().sum::<usize>() > 10);
    assert!(answered(&nodes, &off, second).iter().sum::<usize>() > 10);
    redis.end();
    eventually("it is refused", || (answered(&nodes, &off, second / 2) == [0, 0]).then_some(()));
    let each = answered(&nodes, &on, 3 * second);
    assert!(each.iter().all(|one| (60..=145).contains(one)), "each node by its own count: {each:?}");
    let redis = Redis::start_at(redis.address);
    eventually("it is let through again", || {
        (answered(&nodes, &off, second / 2).iter().sum::<usize>() > 5).then_some(())
    });
    drop(redis);
}

#[test]
fn the_store_is_spoken_to_over_tls_with_a_password_that_nobody_sees() {
    const PASSWORD: &str = "th3-st0res-s3cret";
    const WRONG: &str = "wr0ng-s3cret";
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (certificate, key) = authority.pair(&["127.0.0.1"]);
    let files = [("ours.pem", authority.pem()), ("other.pem", Authority::new().pem()), ("c", certificate), ("k", key)];
    let [ours, other, certificate, key] = files.map(|(name, text)| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    });
    let address = ports::unused();
    let port = address.port().to_string();
    let _redis = Redis::start_with(
        address,
        &[
            ["--port", "0"],
            ["--tls-port", &port],
            ["--tls-auth-clients", "no"],
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
            ["--tls-ca-cert-file", &ours],
            ["--requirepass", PASSWORD],
        ]
        .concat(),
    );
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (plan, second) =
        (r#"{"calls_per_second":40,"calls_burst":10,"without_store":"refuse"}"#, Duration::from_secs(1));
    let (client, _) = shop.plan("small", plan).key("small");
    let node = |scheme: &str, ca_file: Option<&str>, password: &str| {
        let setup = shop
            .in_setup(Setup::ethereum(&[&provider]))
            .set("tenants.fleet", &format!("url = \"{scheme}://:${{STORE_PASSWORD}}@{address}\""))
            .env("STORE_PASSWORD", password);
        match ca_file {
            Some(file) => setup.set("tenants.fleet", &format!("ca_file = \"{file}\"")).start(),
            None => setup.start(),
        }
    };
    let good = [(); 2].map(|()| node("rediss", Some(&ours), PASSWORD));
    eventually("both have what they leased", || answered(&good, &client, second).iter().all(|n| *n > 10).then_some(()));
    let bad =
        [node("rediss", Some(&other), PASSWORD), node("redis", None, PASSWORD), node("rediss", Some(&ours), WRONG)];
    // A certificate of somebody else's, no TLS, a wrong password: once they have used what a node begins with, no more.
    eventually("none has a lease", || (answered(&bad, &client, second / 2) == [0; 3]).then_some(()));
    for (node, is_up) in good.iter().map(|node| (node, 1)).chain(bad.iter().map(|node| (node, 0))) {
        assert_eq!(node.metric("fleet_up", &[]), is_up, "{}", node.log());
        for secret in [PASSWORD, WRONG] {
            assert!(!node.log().contains(secret) && !node.admin_get("/metrics").text().contains(secret));
        }
    }
}
