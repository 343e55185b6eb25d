//! The way to providers: TLS, names, pools and what is kept open.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::time::Duration;

use support::certs::Authority;
use support::{Chain, Client, Node, Provider, Reply, Setup, eventually, json};

fn over_tls(certificate_for: &str, url_host: &str, ca: Option<&Authority>) -> (Node, Provider) {
    let authority = Authority::new();
    let trusted = ca.unwrap_or(&authority);
    let provider = Provider::start_tls(authority.server(certificate_for), |call| Reply::result(call, "\"0x1\""));
    let url = format!("https://{url_host}:{}", provider.address.port());
    let node = Setup::new()
        .chain(Chain::new("ethereum", 1).provider("alpha", &url))
        .file("ca.pem", &trusted.pem())
        .set("upstream", "ca_file = \"@ca.pem@\"")
        .start();
    (node, provider)
}

#[test]
fn a_provider_behind_tls_is_asked_over_one_connection() {
    for host in ["localhost", "127.0.0.1"] {
        let (node, provider) = over_tls(host, host, None);
        let mut client = node.connect();
        for n in 0..20 {
            assert_eq!(client.post("/rpc/ethereum", &json::read()).answer().result(), "\"0x1\"", "{host}, call {n}");
        }
        assert_eq!(provider.calls("eth_getBalance").len(), 20);
        assert!(provider.accepted() <= 6, "{} connections", provider.accepted());
    }
}

#[test]
fn a_certificate_that_does_not_fit_is_a_failure() {
    let stranger = Authority::new();
    let cases = [("another name", "other.example", None), ("another authority", "127.0.0.1", Some(&stranger))];
    for (name, certificate_for, ca) in cases {
        let (node, provider) = over_tls(certificate_for, "127.0.0.1", ca);
        let answer = node.ethereum(&json::read());
        assert_eq!((answer.status, answer.own_error()), (503, -32002), "{name}");
        assert!(provider.seen().is_empty(), "{name}: a call was sent");
    }
}

#[test]
fn a_large_answer_passes_through_tls() {
    let authority = Authority::new();
    let provider = Provider::start_tls(authority.server("localhost"), |call| Reply::flood(call, 20_000_000));
    let url = format!("https://localhost:{}", provider.address.port());
    let node = Setup::new()
        .chain(Chain::new("ethereum", 1).provider("alpha", &url))
        .file("ca.pem", &authority.pem())
        .set("upstream", "ca_file = \"@ca.pem@\"")
        .start();
    assert_eq!(node.ethereum(&json::call("eth_getLogs", "[{}]")).result().len(), 20_000_002);
}

#[test]
fn every_address_of_a_name_is_tried() {
    // `localhost` has two addresses where IPv6 is on; only the IPv4 one answers.
    let provider = Provider::answering("1");
    let url = format!("http://localhost:{}", provider.address.port());
    let node = Setup::new().chain(Chain::new("ethereum", 1).provider("alpha", &url)).start();
    assert_eq!(node.ethereum(&json::read()).result(), "1");
    let seen = provider.wait_calls("eth_getBalance", 1).remove(0);
    assert_eq!(seen.head.field("host"), Some(format!("localhost:{}", provider.address.port()).as_str()));
}

/// Sends a call each on `n` connections before it reads any answer.
fn at_once(node: &Node, n: usize) -> Vec<u16> {
    let mut clients: Vec<Client> = (0..n).map(|_| node.connect()).collect();
    for client in &mut clients {
        client.post("/rpc/ethereum", &json::read());
    }
    clients.iter_mut().map(|c| c.answer().status).collect()
}

#[test]
fn a_full_pool_queues_then_overflows_then_refuses() {
    let slow = || Provider::start(|call| Reply::result(call, "1").after(Duration::from_millis(150)));
    let limits = |setup: Setup| {
        setup
            .set("shards", "cores = [0]")
            .set("upstream", "connections_max = 4")
            .set("upstream", "connections_warm = 0")
            .set("upstream", "queue_max = 4")
    };
    let (first, second) = (slow(), slow());
    let node = limits(Setup::ethereum(&[&first])).start();
    assert_eq!(at_once(&node, 8), vec![200; 8], "four at work, four in the queue");
    assert!(first.in_flight_peak() <= 4, "{} at once", first.in_flight_peak());
    let crowd = at_once(&node, 40);
    let served = crowd.iter().filter(|s| **s == 200).count();
    assert!(crowd.iter().all(|s| [200, 503].contains(s)), "{crowd:?}");
    assert!((8..40).contains(&served), "{served} of 40 were served: the queue has no bound");

    let node = limits(Setup::ethereum(&[&first, &second])).start();
    let served = at_once(&node, 14).iter().filter(|s| **s == 200).count();
    assert_eq!(served, 14, "what one provider has no room for goes to the next");
    assert!(!second.calls("eth_getBalance").is_empty());
}

#[test]
fn idle_connections_are_let_go_and_warm_ones_kept() {
    let provider = Provider::start(|call| Reply::result(call, "1").after(Duration::from_millis(100)));
    let node = Setup::ethereum(&[&provider])
        .set("shards", "cores = [0]")
        .set("upstream", "idle_timeout = \"500ms\"")
        .set("upstream", "connections_warm = 1")
        .start();
    assert_eq!(at_once(&node, 8), vec![200; 8]);
    assert!(provider.open() >= 6, "{} connections open under load", provider.open());
    eventually("idle connections to be let go", || (provider.open() <= 1).then_some(()));
    eventually("a warm connection", || (provider.open() == 1).then_some(()));
}

#[test]
fn a_hundred_clients_share_a_providers_connections() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider]).set("upstream", "connections_max = 8").start();
    let threads: Vec<_> = (0..100)
        .map(|_| {
            let mut client = node.connect();
            std::thread::spawn(move || {
                (0..20).filter(|_| client.post("/rpc/ethereum", &json::read()).answer().status == 200).count()
            })
        })
        .collect();
    let served: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    assert_eq!(served, 2000);
    let shards = std::thread::available_parallelism().unwrap().get();
    assert!(provider.accepted() <= 8 * shards + 2, "{} connections", provider.accepted());
}
