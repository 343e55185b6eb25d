//! Coming up and going down: drain, reload, upgrade, and that no client pays for any of them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::time::{Duration, Instant};

use support::load::{Load, Tally};
use support::node::try_get;
use support::{Chain, Client, Node, Provider, Reply, Setup, eventually, json};

fn provider() -> Provider {
    Provider::answering("\"0x1\"")
}

fn check(tally: &Tally) {
    let some: Vec<&String> = tally.failures.iter().take(5).collect();
    assert!(tally.failures.is_empty(), "{} of {} calls failed: {some:?}", tally.failures.len(), tally.calls);
    assert!(tally.calls > 0);
}

#[test]
fn a_draining_node_is_not_ready_serves_on_and_ends_well() {
    let slow = Provider::start(|call| {
        let wait = Duration::from_millis(if call.method() == "eth_call" { 1500 } else { 0 });
        Reply::result(call, "\"0x1\"").after(wait)
    });
    for signal in ["TERM", "INT"] {
        let mut node = Setup::ethereum(&[&slow]).set("life", "drain_delay = \"1s\"").start();
        let mut idle = node.connect();
        idle.post("/rpc/ethereum", &json::read()).answer();
        let before = slow.calls("eth_call").len();
        let mut running = node.connect();
        running.post("/rpc/ethereum", &json::call("eth_call", "[{}]"));
        slow.wait_calls("eth_call", before + 1);
        node.signal(signal);
        eventually("the node not to be ready", || (try_get(node.http, "/api/ready") == Some(503)).then_some(()));
        assert_eq!(node.get("/api/health").status, 200, "alive while it drains");
        assert_eq!(node.ethereum(&json::read()).result(), "\"0x1\"", "serving while balancers move away");
        assert_eq!(running.answer().result(), "\"0x1\"", "a call that runs is finished");
        assert!(idle.closes(), "idle connections are closed");
        assert_eq!(node.wait_end().code(), Some(0), "SIG{signal}");
        assert!(std::net::TcpStream::connect(node.http).is_err(), "SIG{signal}: still listening");
    }
}

#[test]
fn a_load_through_a_drain_loses_no_call() {
    let provider = provider();
    let mut node = Setup::ethereum(&[&provider]).set("life", "drain_delay = \"500ms\"").start();
    let load = Load::start(node.http, 8, "/rpc/ethereum", &json::read());
    load.wait_calls(200);
    node.signal("TERM");
    node.wait_end();
    let tally = load.finish();
    // Once it is gone, connecting fails; until then nothing may.
    let failures: Vec<&String> =
        tally.failures.iter().filter(|f| !f.starts_with("connect: Connection refused")).collect();
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn a_drain_has_a_limit() {
    let hanging =
        Provider::start(|call| if call.method() == "trace_block" { Reply::hang() } else { Reply::result(call, "1") });
    let mut node =
        Setup::ethereum(&[&hanging]).set("life", "drain_delay = \"100ms\"").set("life", "drain_limit = \"1s\"").start();
    let mut stuck = node.connect();
    stuck.post("/rpc/ethereum", &json::call("trace_block", "[]"));
    hanging.wait_calls("trace_block", 1);
    let start = Instant::now();
    node.signal("TERM");
    assert_eq!(node.wait_end().code(), Some(0));
    let took = start.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5), "took {took:?}");
}

#[test]
fn connections_that_wait_to_be_accepted_are_served() {
    let provider = provider();
    let mut node = Setup::ethereum(&[&provider]).set("life", "drain_delay = \"50ms\"").start();
    // Whatever the kernel has taken in before the listener goes must be answered.
    node.signal("TERM");
    let mut served = 0;
    while node.ended().is_none() {
        let Ok(stream) = std::net::TcpStream::connect(node.http) else {
            continue;
        };
        let answer = Client::over(stream).post("/rpc/ethereum", &json::read()).try_answer();
        assert!(matches!(&answer, Ok(Some(a)) if a.status == 200), "accepted and dropped: {answer:?}");
        served += 1;
    }
    assert!(served > 0);
}

#[test]
fn providers_and_chains_change_under_load_and_no_call_fails() {
    let (a, b, c) = (provider(), provider(), provider());
    let ethereum = |id: &str, p: &Provider| Chain::new("ethereum", 1).provider(id, &p.url());
    let mut node = Setup::new().chain(ethereum("a", &a)).start();
    assert_eq!(node.post("/rpc/base", &json::read()).status, 404);
    let load = Load::start(node.http, 8, "/rpc/ethereum", &json::read());
    load.wait_calls(200);

    let base = Chain::new("base", 8453).provider("c", &c.url());
    node.reload(|s| s.chains(&[ethereum("a", &a), base.clone()]));
    eventually("the new chain", || (node.post("/rpc/base", &json::read()).status == 200).then_some(()));
    load.wait_calls(200);

    node.reload(|s| s.chains(&[ethereum("b", &b), base.clone()]));
    eventually("the new provider", || {
        (node.ethereum(&json::read()).field("x-livechain-provider") == Some("b")).then_some(())
    });
    let served = a.calls("eth_getBalance").len();
    load.wait_calls(300);
    assert!(a.calls("eth_getBalance").len() <= served + 8, "the provider that vanished is still asked");

    // The same name at another address.
    node.reload(|s| s.chains(&[ethereum("b", &c)]));
    eventually("the chain to vanish", || (node.post("/rpc/base", &json::read()).status == 404).then_some(()));
    let served = b.calls("eth_getBalance").len();
    load.wait_calls(300);
    assert!(b.calls("eth_getBalance").len() <= served + 8, "the address that vanished is still asked");
    check(&load.finish());
}

/// What follows from a repeated head is kept with the connection, and must not outlive the config that it follows from.
#[test]
fn a_kept_connection_finds_its_chain_where_a_reload_has_put_it() {
    let (one, other) = (Provider::answering("\"one\""), Provider::answering("\"other\""));
    let chains =
        [Chain::new("ethereum", 1).provider("a", &one.url()), Chain::new("base", 8453).provider("b", &other.url())];
    let mut node = Setup::new().chains(&chains).start();
    let mut client = node.connect();
    let mut ask = || client.post("/rpc/base", &json::read()).answer();
    assert_eq!([ask(), ask(), ask()].map(|answer| answer.result()), ["\"other\""; 3]);
    let [ethereum, base] = chains;
    node.reload(|s| s.chains(&[base, ethereum.clone()]));
    eventually("the reload", || node.log().contains("reloaded").then_some(()));
    assert_eq!([ask(), ask(), ask()].map(|answer| answer.result()), ["\"other\""; 3]);
    node.reload(|s| s.chains(&[ethereum]));
    eventually("the chain to vanish", || (node.post("/rpc/base", &json::read()).status == 404).then_some(()));
    assert_eq!(ask().status, 404);
}

#[test]
fn a_call_in_flight_finishes_on_what_it_started_with() {
    let slow = Provider::start(|call| Reply::result(call, "\"old\"").after(Duration::from_millis(800)));
    let new = Provider::answering("\"new\"");
    let mut node = Setup::ethereum(&[&slow]).start();
    let mut client = node.connect();
    client.post("/rpc/ethereum", &json::read());
    slow.wait_calls("eth_getBalance", 1);
    node.reload(|s| s.chains(&[Chain::new("ethereum", 1).provider("new", &new.url())]));
    eventually("the new provider", || (node.ethereum(&json::read()).raw("result")? == "\"new\"").then_some(()));
    assert_eq!(client.answer().result(), "\"old\"");
    assert_eq!(client.post("/rpc/ethereum", &json::read()).answer().result(), "\"new\"", "the connection lives on");
}

#[test]
fn a_bad_file_is_refused_with_its_problems_and_the_last_good_one_goes_on() {
    let provider = provider();
    let mut node = Setup::ethereum(&[&provider]).start();
    let load = Load::start(node.http, 4, "/rpc/ethereum", &json::read());
    for (text, word) in [("this is = = no toml", "toml"), ("[listen]\nhttpx = 3\n", "httpx"), ("", "chain")] {
        let logged = node.log().len();
        node.reload_text(text);
        eventually("the refusal to be logged", || node.log()[logged..].to_lowercase().contains(word).then_some(()));
        load.wait_calls(50);
    }
    let other = self::provider();
    node.reload(|s| s.chains(&[Chain::new("ethereum", 1).provider("other", &other.url())]));
    eventually("a good file to be taken", || (!other.calls("eth_getBalance").is_empty()).then_some(()));
    check(&load.finish());
}

#[test]
fn a_second_process_takes_over_under_load_and_the_first_ends() {
    let provider = provider();
    let mut node = Setup::ethereum(&[&provider]).start();
    let load = Load::start(node.http, 8, "/rpc/ethereum", &json::read());
    load.wait_calls(200);
    for round in 0..3 {
        let mut next = node.successor();
        assert_eq!(node.wait_end().code(), Some(0), "round {round}: {}", node.log());
        assert!(next.ended().is_none(), "round {round}: {}", next.log());
        load.wait_calls(200);
        assert_eq!(next.admin_get("/api/health").status, 200, "round {round}: the admin port was not taken over");
        assert_eq!(next.get("/api/ready").status, 200, "round {round}");
        node = next;
    }
    let tally = load.finish();
    check(&tally);
    assert!(tally.ended > 0, "no connection moved to the new process");
}

#[test]
fn a_successor_with_a_bad_config_leaves_the_first_alone() {
    let provider = provider();
    let mut node = Setup::ethereum(&[&provider]).start();
    let load = Load::start(node.http, 4, "/rpc/ethereum", &json::read());
    let mut next = bad_successor(&node);
    assert_ne!(next.wait_end().code(), Some(0));
    load.wait_calls(200);
    assert!(node.ended().is_none(), "the first process gave way");
    check(&load.finish());
}

fn bad_successor(node: &Node) -> Node {
    node.overwrite("[listen]\nhttp = \"nowhere\"\n");
    node.successor()
}
