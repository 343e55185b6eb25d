//! Attempts, deadlines and breakers: what happens around the providers' answers.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::time::{Duration, Instant};

use support::provider::Accepting;
use support::reply::At;
use support::{Chain, Fault, Node, Provider, Reply, Setup, eventually, json, ports};

const SEND: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_sendTransaction","params":[{"from":"0xaa","to":"0xbb"}]}"#;

fn asked(node: &Node) -> String {
    node.ethereum(&json::read()).result()
}

#[test]
fn a_call_is_tried_three_times_and_no_provider_twice() {
    let fail = || Provider::start(|_| Reply::status(502, ""));
    let (a, b, c, d) = (fail(), fail(), fail(), Provider::answering("1"));
    let chain = [&a, &b, &c, &d]
        .iter()
        .enumerate()
        .fold(Chain::new("ethereum", 1), |chain, (n, p)| chain.provider(&format!("p{n}"), &p.url()));
    let node = Setup::new().chain(chain).start();
    let answer = node.ethereum(&json::read());
    assert_eq!((answer.status, answer.own_error()), (503, -32002), "{}", answer.text());
    assert_eq!(answer.raw("id").as_deref(), Some("1"));
    let calls: Vec<usize> = [&a, &b, &c, &d].iter().map(|p| p.calls("eth_getBalance").len()).collect();
    assert_eq!(calls, [1, 1, 1, 0]);
}

#[test]
fn the_last_error_that_may_be_shown_is_shown() {
    let says = r#"{"code":-32000,"message":"header not found"}"#;
    let first = Provider::start(move |call| Reply::error(call, r#"{"code":-32603,"message":"Internal error"}"#));
    let second = Provider::start(|_| Reply::status(502, "<h1>secret words of a proxy</h1>"));
    let third = Provider::start(move |call| Reply::status(429, format!(r#"{{"id":{},"error":{says}}}"#, call.id())));
    let node = Setup::ethereum(&[&first, &second, &third]).start();
    let answer = node.ethereum(&json::read());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.raw("error").as_deref(), Some(r#"{"code":-32603,"message":"Internal error"}"#));
}

#[test]
fn a_provider_that_cannot_be_reached_is_passed_over() {
    let good = Provider::answering("\"0x1\"");
    let closed = Chain::new("ethereum", 1)
        .provider("alpha", &format!("http://{}", ports::unused()))
        .provider("beta", &good.url());
    let node = Setup::new().chain(closed).start();
    assert_eq!(asked(&node), "\"0x1\"");
    let answer = node.post("/rpc/provider/alpha/ethereum", &json::read());
    assert_eq!((answer.status, answer.own_error()), (503, -32002), "a call for one provider stays with it");
    let unnamed =
        Chain::new("ethereum", 1).provider("alpha", "http://no-such-host.invalid").provider("beta", &good.url());
    assert_eq!(asked(&Setup::new().chain(unnamed).start()), "\"0x1\"", "a name that does not resolve");
}

#[test]
fn connections_that_fail_in_every_way_are_passed_over() {
    let bad = Provider::answering("\"bad\"");
    let good = Provider::answering("\"0x1\"");
    for accepting in [Accepting::Hang, Accepting::Close, Accepting::Reset] {
        bad.accept(accepting);
        let node = Setup::ethereum(&[&bad, &good]).set("breaker", "failures = 1000").start();
        for _ in 0..3 {
            assert_eq!(asked(&node), "\"0x1\"", "{accepting:?}");
        }
    }
    let answer = Setup::ethereum(&[&bad]).start().ethereum(&json::read());
    assert_eq!((answer.status, answer.own_error()), (503, -32002));
}

#[test]
fn one_deadline_holds_for_all_attempts() {
    let hang = || Provider::start(|_| Reply::hang());
    let (a, b, c) = (hang(), hang(), hang());
    let node = Setup::ethereum(&[&a, &b, &c]).set("rpc.deadlines", "read = \"1s\"").start();
    let start = Instant::now();
    let answer = node.ethereum(&json::read());
    let took = start.elapsed();
    assert_eq!((answer.status, answer.own_error()), (504, -32002), "{}", answer.text());
    assert!(took > Duration::from_millis(800) && took < Duration::from_millis(2500), "took {took:?}");
    assert!(
        a.calls("eth_getBalance").len() == 1 && b.calls("eth_getBalance").len() == 1,
        "the first attempt left no time"
    );
}

#[test]
fn a_provider_that_hangs_leaves_time_for_the_next() {
    let hanging = Provider::start(|_| Reply::hang());
    let good = Provider::answering("\"0x1\"");
    let node = Setup::ethereum(&[&hanging, &good]).set("rpc.deadlines", "read = \"1500ms\"").start();
    let start = Instant::now();
    assert_eq!(asked(&node), "\"0x1\"");
    assert!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());
}

#[test]
fn classes_have_deadlines_of_their_own() {
    let slow = Provider::start(|call| Reply::result(call, "1").after(Duration::from_millis(700)));
    let node = Setup::ethereum(&[&slow])
        .set("rpc.deadlines", "read = \"200ms\"")
        .set("rpc.deadlines", "execute = \"5s\"")
        .start();
    assert_eq!(node.ethereum(&json::read()).status, 504);
    assert_eq!(node.ethereum(&json::call("eth_call", "[{}]")).result(), "1");
}

#[test]
fn a_call_that_must_not_be_sent_twice_is_not() {
    let good = Provider::answering("\"0x1\"");
    let open = |first: &Provider| {
        Setup::ethereum(&[first, &good]).set("rpc", "blocked_methods = []").set("rpc.deadlines", "other = \"1s\"")
    };
    let faults = [
        Fault::Cut(At::Start),
        Fault::Cut(At::Body(9)),
        Fault::Reset(At::Start),
        Fault::Stall(At::Start),
        Fault::Stall(At::Head),
    ];
    for fault in faults {
        let bad = Provider::start(move |call| Reply::result(call, "\"bad\"").fault(fault));
        let node = open(&bad).set("rpc.deadlines", "write = \"1s\"").start();
        let answer = node.ethereum(SEND);
        assert!(answer.status == 503 || answer.status == 504, "{fault:?}: {} {}", answer.head.line, answer.text());
        assert_eq!(answer.own_error(), -32002, "{fault:?}");
        assert_eq!(bad.calls("eth_sendTransaction").len(), 1, "{fault:?}");
        assert!(good.calls("eth_sendTransaction").is_empty(), "{fault:?}: sent to a second provider");
    }
    let bad = Provider::answering("1");
    bad.down();
    assert_eq!(open(&bad).start().ethereum(SEND).result(), "\"0x1\"", "what was never sent may go elsewhere");
}

#[test]
fn a_pooled_connection_found_dead_is_replaced_without_counting() {
    let provider = Provider::start(|call| Reply::result(call, "\"first\"").hang_up());
    let second = Provider::answering("\"second\"");
    let node = Setup::ethereum(&[&provider, &second]).set("breaker", "failures = 1").start();
    for n in 0..20 {
        assert_eq!(asked(&node), "\"first\"", "call {n}");
    }
    // The worst case: the connection dies when the call is on its way.
    provider.script(|call| {
        let fault = if call.nth == 0 { Fault::None } else { Fault::Cut(At::Start) };
        Reply::result(call, "\"first\"").fault(fault)
    });
    for n in 0..20 {
        assert_eq!(asked(&node), "\"first\"", "call {n}");
    }
    assert!(second.calls("eth_getBalance").is_empty());
}

#[test]
fn what_replaces_a_dead_connection_is_a_fresh_one_even_where_the_pool_is_full() {
    // Every connection dies of its second call.
    let provider = Provider::start(|call| {
        let fault = if call.nth == 0 { Fault::None } else { Fault::Cut(At::Start) };
        Reply::result(call, "\"first\"").fault(fault).after(Duration::from_millis(100))
    });
    let second = Provider::answering("\"second\"");
    let node = Setup::ethereum(&[&provider, &second])
        .set("shards", "cores = [0]")
        .set("upstream", "connections_max = 1")
        .set("upstream", "connections_warm = 0")
        .start();
    assert_eq!(asked(&node), "\"first\"");
    // One call has the connection and the other waits for it; when it dies, the other is given its place, and the
    // connection that it opens is the next to come free.
    let mut clients = [node.connect(), node.connect()];
    for client in &mut clients {
        client.post("/rpc/ethereum", &json::read());
    }
    assert_eq!(clients.map(|mut client| client.answer().result()), ["\"first\"", "\"first\""]);
    assert_eq!((provider.calls("eth_getBalance").len(), provider.accepted()), (4, 3));
    assert!(second.calls("eth_getBalance").is_empty());
}

#[test]
fn a_dead_connection_that_may_have_carried_what_must_not_be_repeated_is_not_replaced() {
    let provider = Provider::start(|call| {
        let fault = if call.nth == 0 { Fault::None } else { Fault::Cut(At::Start) };
        Reply::result(call, "\"first\"").fault(fault)
    });
    let second = Provider::answering("\"second\"");
    let node = Setup::ethereum(&[&provider, &second])
        .set("shards", "cores = [0]")
        .set("upstream", "connections_warm = 0")
        .set("rpc", "blocked_methods = []")
        .start();
    assert_eq!(asked(&node), "\"first\"");
    let answer = node.ethereum(SEND);
    assert_eq!((answer.status, answer.own_error()), (503, -32002), "{}", answer.text());
    let sent = provider.calls("eth_sendTransaction");
    assert_eq!(sent.iter().map(|call| call.nth).collect::<Vec<_>>(), [1], "over the pooled connection, once");
    assert!(second.calls("eth_sendTransaction").is_empty());
}

#[test]
fn a_breaker_opens_holds_and_closes_and_no_call_fails() {
    let flaky = Provider::answering("\"first\"");
    let second = Provider::answering("\"second\"");
    let node =
        Setup::ethereum(&[&flaky, &second]).set("breaker", "failures = 3").set("breaker", "cooldown = \"1s\"").start();
    assert_eq!(asked(&node), "\"first\"");
    flaky.script(|_| Reply::status(500, ""));
    for n in 0..20 {
        assert_eq!(asked(&node), "\"second\"", "call {n}");
    }
    let failed = flaky.calls("eth_getBalance").len() - 1;
    assert!((3..=6).contains(&failed), "{failed} calls before the breaker opened");
    flaky.script(|call| Reply::result(call, "\"first\""));
    eventually("the breaker to let calls through again", || (asked(&node) == "\"first\"").then_some(()));
}

#[test]
fn a_single_provider_is_asked_again_after_its_breaker_opened() {
    let provider = Provider::start(|_| Reply::status(500, ""));
    let node =
        Setup::ethereum(&[&provider]).set("breaker", "failures = 2").set("breaker", "cooldown = \"300ms\"").start();
    for _ in 0..10 {
        assert_eq!(node.ethereum(&json::read()).status, 503);
    }
    provider.script(|call| Reply::result(call, "1"));
    eventually("an answer", || (node.ethereum(&json::read()).status == 200).then_some(()));
}

#[test]
fn a_rate_limit_is_held_to_as_long_as_the_provider_asks() {
    let limited = Provider::start(|_| Reply::status(429, "").field("Retry-After: 2"));
    let second = Provider::answering("\"second\"");
    let node = Setup::ethereum(&[&limited, &second]).start();
    let start = Instant::now();
    assert_eq!(asked(&node), "\"second\"");
    limited.script(|call| Reply::result(call, "\"first\""));
    eventually("the provider to be asked again", || (asked(&node) == "\"first\"").then_some(()));
    let rested = start.elapsed();
    assert!(rested > Duration::from_millis(1900), "asked again after {rested:?}");
    assert!(rested < Duration::from_secs(6), "asked again after {rested:?}");
}

#[test]
fn weights_share_the_load() {
    let (a, b) = (Provider::answering("1"), Provider::answering("2"));
    let chain = Chain::new("ethereum", 1)
        .line("strategy = \"load-balanced\"")
        .provider_with("alpha", &a.url(), "weight = 3")
        .provider_with("beta", &b.url(), "weight = 1");
    let node = Setup::new().chain(chain).start();
    for _ in 0..400 {
        node.ethereum(&json::read());
    }
    let (a, b) = (a.calls("eth_getBalance").len(), b.calls("eth_getBalance").len());
    assert_eq!(a + b, 400);
    assert!((270..=330).contains(&a), "{a} to {b}");
}

#[test]
fn the_fastest_gets_the_calls() {
    let slow = Provider::start(|call| Reply::result(call, "\"slow\"").after(Duration::from_millis(40)));
    let fast = Provider::answering("\"fast\"");
    let chain = Chain::new("ethereum", 1)
        .line("strategy = \"fastest\"")
        .provider_with("alpha", &slow.url(), "")
        .provider_with("beta", &fast.url(), "");
    let node = Setup::new().chain(chain).start();
    for _ in 0..60 {
        node.ethereum(&json::read());
    }
    let (before, mut won) = (slow.calls("eth_getBalance").len(), 0);
    for _ in 0..100 {
        won += usize::from(asked(&node) == "\"fast\"");
    }
    assert!(before < 40, "{before} of the first 60 went to the slow one");
    assert!(won >= 80, "only {won} of 100 went to the fast one");
}

#[test]
fn priorities_are_held_to() {
    let (a, b, c) = (Provider::answering("\"a\""), Provider::answering("\"b\""), Provider::answering("\"c\""));
    let chain = Chain::new("ethereum", 1)
        .provider_with("c", &c.url(), "priority = 3")
        .provider_with("a", &a.url(), "priority = 1")
        .provider_with("b", &b.url(), "priority = 2");
    let node = Setup::new().chain(chain).set("breaker", "cooldown = \"200ms\"").set("breaker", "failures = 2").start();
    assert_eq!(asked(&node), "\"a\"");
    a.down();
    assert_eq!(asked(&node), "\"b\"");
    b.down();
    assert_eq!(asked(&node), "\"c\"");
    a.up();
    eventually("the first again", || (asked(&node) == "\"a\"").then_some(()));
}

#[test]
fn a_ready_node_has_a_usable_chain() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider]).chain(Chain::new("base", 8453).provider("b", &provider.url())).start();
    for path in ["/api/ready", "/api/ready/ethereum", "/api/ready/base", "/api/ready/8453"] {
        assert_eq!(node.get(path).status, 200, "{path}");
    }
}

#[test]
fn a_node_is_ready_while_any_chain_is_usable() {
    let (first, second) = (Provider::answering("1"), Provider::answering("1"));
    let node = Setup::ethereum(&[&first])
        .chain(Chain::new("base", 8453).provider("b", &second.url()))
        .set("breaker", "failures = 2")
        .set("breaker", "cooldown = \"1s\"")
        .start();
    let until = |what: &str, path: &str, chain: &str, status: u16| {
        eventually(what, || {
            // Only calls show what has become of a provider.
            node.post(&format!("/rpc/{chain}"), &json::read());
            (node.get(path).status == status).then_some(())
        });
    };
    first.down();
    until("the chain without a provider not to be ready", "/api/ready/ethereum", "ethereum", 503);
    assert_eq!((node.get("/api/ready/base").status, node.get("/api/ready").status), (200, 200));
    second.down();
    until("no chain to be ready", "/api/ready", "base", 503);
    assert_eq!(node.get("/api/health").status, 200, "alive all the same");
    second.up();
    until("the chain to be ready again", "/api/ready/base", "base", 200);
    assert_eq!(node.get("/api/ready").status, 200);
}
