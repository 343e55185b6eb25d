//! What a node asks providers by itself: which chain they are and how far; who is elsewhere is passed over, and it is told.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use support::socket::Socket;
use support::{Chain, Node, Provider, Reply, Seen, Setup, eventually, json};

/// A provider that is where a test puts it.
struct Placed {
    provider: Provider,
    chain: Arc<AtomicU64>,
    head: Arc<AtomicU64>,
}

impl Placed {
    fn at(head: u64) -> Self {
        let (chain, head) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(head)));
        let (says_chain, says_head) = (chain.clone(), head.clone());
        let provider = Provider::start(move |call| match call.method().as_str() {
            "eth_chainId" => Reply::result(call, &format!("\"{:#x}\"", says_chain.load(Ordering::SeqCst))),
            "eth_blockNumber" => Reply::result(call, &format!("\"{:#x}\"", says_head.load(Ordering::SeqCst))),
            _ => Reply::result(call, "\"0x1\""),
        });
        Self { provider, chain, head }
    }

    fn reads(&self) -> usize {
        self.provider.calls("eth_getBalance").len()
    }
}

/// Asks often, so that what is to be seen is seen soon. A block comes each 12 s: three of lag are allowed.
fn asking(providers: &[&Provider]) -> Setup {
    Setup::ethereum(providers)
        .set("probes", "enabled = true")
        .set("probes", "every = \"100ms\"")
        .set("probes", "chain_id_every = \"200ms\"")
        .set("probes", "spacing = \"0ms\"")
}

/// What the page says of a provider.
fn shown(node: &Node, provider: &str) -> Value {
    let page: Value = serde_json::from_slice(&node.admin_get("/api/providers").body).unwrap();
    page["providers"].as_array().unwrap().iter().find(|p| p["id"] == provider).unwrap().clone()
}

fn wait_out(node: &Node, provider: &str, why: &Value) -> Value {
    eventually(&format!("{provider} to be out for {why}"), || {
        Some(shown(node, provider)).filter(|shown| shown["out"] == *why && !shown["head"].is_null())
    })
}

fn head_of_chain(node: &Node) -> Value {
    let page: Value = serde_json::from_slice(&node.admin_get("/api/chains").body).unwrap();
    page["chains"][0]["head"].clone()
}

fn reads(node: &Node, times: usize) {
    for _ in 0..times {
        assert_eq!(node.ethereum(&json::read()).result(), "\"0x1\"");
    }
}

/// One who reads `/api/events`, as far as the stream has come.
struct Reader {
    text: Arc<Mutex<String>>,
    ended: Arc<Mutex<bool>>,
}

impl Reader {
    fn of(node: &Node, fields: &str) -> Self {
        let mut stream = TcpStream::connect(node.admin).unwrap();
        write!(stream, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").unwrap();
        let reader = Self { text: Arc::default(), ended: Arc::default() };
        let (text, ended) = (reader.text.clone(), reader.ended.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
            }
            *ended.lock().unwrap() = true;
        });
        reader
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Waits for the `data` line of an event of this kind about a provider.
    fn wait(&self, kind: &str, provider: &str) -> Value {
        eventually(&format!("{kind} of {provider}"), || {
            let text = self.text();
            let data = text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok());
            data.into_iter().find(|event: &Value| event["kind"] == kind && event["provider"] == provider)
        })
    }
}

#[test]
fn a_provider_that_refuses_our_key_is_out_when_a_probe_gets_the_same() {
    let refusing = Provider::start(|call| match call.method().as_str() {
        "eth_chainId" => Reply::result(call, "\"0x1\""),
        "eth_blockNumber" => Reply::result(call, "\"0x3e8\""),
        _ => Reply::status(403, "<html>blocked by our firewall</html>"),
    });
    let other = Placed::at(1000);
    let node = asking(&[&refusing, &other.provider]).start();
    let events = Reader::of(&node, "");
    // Calls alone put nobody out: each is tried there first.
    eventually("alpha to be in", || shown(&node, "alpha")["out"].is_null().then_some(()));
    reads(&node, 5);
    assert_eq!((refusing.calls("eth_getBalance").len(), other.reads()), (5, 5));
    events.wait("unauthorized", "alpha");
    // A probe that is refused does.
    refusing.script(|_| Reply::status(401, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"key"}}"#));
    events.wait("key_refused", "alpha");
    eventually("alpha to be out", || (shown(&node, "alpha")["out"] == "key_refused").then_some(()));
    reads(&node, 5);
    assert_eq!((refusing.calls("eth_getBalance").len(), other.reads()), (5, 10));
    // Until one is answered.
    refusing.script(|call| match call.method().as_str() {
        "eth_blockNumber" => Reply::result(call, "\"0x3e8\""),
        // Its chain's id as well.
        _ => Reply::result(call, "\"0x1\""),
    });
    events.wait("key_accepted", "alpha");
    eventually("alpha to be in", || shown(&node, "alpha")["out"].is_null().then_some(()));
    reads(&node, 5);
    assert_eq!((refusing.calls("eth_getBalance").len(), other.reads()), (10, 10));
}

#[test]
fn what_clients_are_told_of_heads_is_asked_for_no_more() {
    let placed = [Placed::at(1000), Placed::at(1000), Placed::at(1000)];
    let providers: Vec<_> = placed.iter().map(|placed| &placed.provider).collect();
    let node = asking(&providers).set("probes", "every = \"1h\"").set("probes", "every_busy = \"1h\"");
    let node = node.set("heads", "believed = \"1h\"").start();
    eventually("the chain's head", || (head_of_chain(&node) == 1000).then_some(()));
    let asked: Vec<_> = placed.iter().map(|placed| placed.provider.calls("eth_blockNumber").len()).collect();
    placed[0].head.store(1010, Ordering::SeqCst);
    placed[1].head.store(1010, Ordering::SeqCst);
    // Each is asked by a client, and the one that stayed behind is out.
    for name in ["alpha", "beta", "gamma"] {
        let answer = node.post(&format!("/rpc/provider/{name}/ethereum"), &json::call("eth_blockNumber", "[]"));
        assert_eq!(answer.result(), if name == "gamma" { "\"0x3e8\"" } else { "\"0x3f2\"" });
        if name == "beta" {
            eventually("the chain's head to rise", || (head_of_chain(&node) == 1010).then_some(()));
        }
    }
    wait_out(&node, "gamma", &"lagging".into());
    for (placed, before) in placed.iter().zip(asked) {
        assert_eq!(placed.provider.calls("eth_blockNumber").len(), before + 1, "the client's alone");
    }
}

#[test]
fn a_provider_of_another_chain_gets_no_call() {
    let (wrong, right) = (Placed::at(1000), Placed::at(1000));
    wrong.chain.store(56, Ordering::SeqCst);
    let node = asking(&[&wrong.provider, &right.provider]).start();
    let events = Reader::of(&node, "");
    assert_eq!(events.wait("wrong_chain", "alpha")["said"], 56);
    wait_out(&node, "alpha", &"wrong_chain".into());
    reads(&node, 10);
    assert_eq!((wrong.reads(), right.reads()), (0, 10));
    let named = node.post("/rpc/provider/alpha/ethereum", &json::read());
    assert_eq!((named.status, named.own_error()), (503, -32002), "not even by its name: {}", named.text());
    right.provider.down();
    assert_eq!(node.ethereum(&json::read()).status, 503, "a wrong answer is worse than none");
    assert_eq!(wrong.reads(), 0);
    eventually("the chain to be unusable", || (node.get("/api/ready").status == 503).then_some(()));
    // Somebody has mended its URL's target.
    wrong.chain.store(1, Ordering::SeqCst);
    events.wait("right_chain", "alpha");
    reads(&node, 1);
    assert_eq!(wrong.reads(), 1);
}

#[test]
fn a_provider_that_lags_gets_no_call_that_depends_on_the_head_until_it_has_caught_up() {
    let (late, first, second) = (Placed::at(990), Placed::at(1000), Placed::at(1000));
    let node = asking(&[&late.provider, &first.provider, &second.provider]).start();
    let events = Reader::of(&node, "");
    assert_eq!(events.wait("lagging", "alpha")["blocks"], 10);
    let shown = wait_out(&node, "alpha", &"lagging".into());
    assert_eq!((&shown["head"]["block"], &shown["head"]["lag"]), (&990.into(), &10.into()), "{shown}");
    assert_eq!(head_of_chain(&node), 1000);
    reads(&node, 10);
    assert_eq!((late.reads(), first.reads()), (0, 10));
    node.ethereum(&json::call("trace_block", "[\"0x1\"]"));
    assert_eq!(late.provider.calls("trace_block").len(), 1, "an old block is there as well");

    // So are those that a call of another class names, if they are old enough.
    let block = |number: u64| node.ethereum(&json::call("eth_getBlockByNumber", &format!("[\"{number:#x}\",false]")));
    for (number, asked) in [(926, 1), (927, 1), (1, 2)] {
        block(number);
        assert_eq!(late.provider.calls("eth_getBlockByNumber").len(), asked, "{number}");
    }

    let metrics = node.admin_get("/metrics").text();
    for (name, provider, value) in [
        ("livechain_provider_lag_blocks", "alpha", "10"),
        ("livechain_provider_head", "beta", "1000"),
        ("livechain_provider_footing", "alpha", "1"),
        ("livechain_provider_footing", "beta", "0"),
    ] {
        let of = |line: &&str| line.starts_with(name) && line.contains(&format!("provider=\"{provider}\""));
        let line = metrics.lines().find(of).unwrap_or_else(|| panic!("no {name} of {provider}:\n{metrics}"));
        assert!(line.ends_with(&format!("}} {value}")), "{line}");
    }

    // Where nobody else is left, an old answer is better than none.
    first.provider.down();
    second.provider.down();
    reads(&node, 1);
    assert_eq!(late.reads(), 1);
    first.provider.up();
    second.provider.up();

    late.head.store(1000, Ordering::SeqCst);
    events.wait("in_step", "alpha");
    wait_out(&node, "alpha", &Value::Null);
    reads(&node, 5);
    assert_eq!(late.reads(), 6, "the most preferred again");
}

#[test]
fn a_session_forgets_a_head_that_nobody_else_has() {
    let (lying, first, second) = (Placed::at(1000), Placed::at(1000), Placed::at(1000));
    let node = Setup::ethereum(&[&lying.provider, &first.provider, &second.provider])
        .set("probes", "enabled = true")
        .set("probes", "every = \"1m\"")
        .set("probes", "every_busy = \"1m\"")
        .start();
    eventually("the head", || (head_of_chain(&node) == 1000).then_some(()));
    let mut session = Socket::open(node.http, "/ws/rpc/ethereum");
    let mut number = || session.call(&json::call("eth_blockNumber", "[]"));
    lying.head.store(1_000_000, Ordering::SeqCst);
    assert_eq!(number(), "\"0xf4240\"");
    lying.head.store(1001, Ordering::SeqCst);
    let told = number();
    assert!(["\"0x3e9\"", "\"0x3e8\""].contains(&&*told), "{told}");
}

#[test]
fn a_lone_provider_far_ahead_is_not_believed() {
    let (ahead, first, second) = (Placed::at(1_000_000), Placed::at(1000), Placed::at(1000));
    let node = asking(&[&ahead.provider, &first.provider, &second.provider]).start();
    let events = Reader::of(&node, "");
    assert_eq!(events.wait("far_ahead", "alpha")["blocks"], 999_000);
    wait_out(&node, "alpha", &"far_ahead".into());
    for well in ["beta", "gamma"] {
        wait_out(&node, well, &Value::Null);
    }
    assert_eq!(head_of_chain(&node), 1000);
    reads(&node, 5);
    assert_eq!((ahead.reads(), first.reads()), (0, 5));
    assert!(!events.text().contains("\"lagging\""), "{}", events.text());
}

#[test]
fn probes_are_nobodys_calls() {
    let provider = Placed::at(1000);
    let node = asking(&[&provider.provider]).set("log", "access_sample = 1.0").start();
    provider.provider.wait_calls("eth_chainId", 3);
    provider.provider.wait_calls("eth_blockNumber", 5);
    let sum = |name: &str| -> f64 {
        let page = node.admin_get("/metrics").text();
        let lines = page.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    eventually("probes to be counted", || (sum("livechain_probes_total") >= 8.0).then_some(()));
    // A client's call is reported after them.
    reads(&node, 1);
    eventually("the call to be counted", || (sum("livechain_attempts_total") > 0.5).then_some(()));
    for name in ["livechain_attempts_total", "livechain_calls_total", "livechain_requests_total"] {
        let calls = if name == "livechain_requests_total" { 1.0..100.0 } else { 1.0..1.5 };
        assert!(calls.contains(&sum(name)), "{name}: {}", sum(name));
    }
    eventually("the call's access line", || node.log().contains("eth_getBalance").then_some(()));
    assert!(!node.log().contains("eth_blockNumber"), "{}", node.log());
}

#[test]
fn without_probes_nothing_is_asked_and_nobody_is_out() {
    let (late, first, second) = (Placed::at(990), Placed::at(1000), Placed::at(1000));
    let mut node = asking(&[&late.provider, &first.provider, &second.provider]).start();
    wait_out(&node, "alpha", &"lagging".into());
    node.reload(|setup| setup.set("probes", "enabled = false"));
    let events = Reader::of(&node, "");
    events.wait("reloaded", "");
    eventually("alpha to be asked again", || shown(&node, "alpha")["out"].is_null().then_some(()));
    reads(&node, 1);
    assert_eq!(late.reads(), 1);
    let fresh = Setup::ethereum(&[&first.provider]).start();
    let before = first.provider.calls("eth_blockNumber").len();
    reads(&fresh, 3);
    assert_eq!(first.provider.calls("eth_blockNumber").len(), before);
}

#[test]
fn on_a_chain_without_traffic_probes_notice_a_dead_provider_and_its_return() {
    let (one, other) = (Placed::at(1000), Placed::at(1000));
    let node = asking(&[&one.provider, &other.provider])
        .set("breaker", "failures = 3")
        .set("breaker", "cooldown = \"200ms\"")
        .set("breaker", "cooldown_max = \"200ms\"")
        .start();
    let events = Reader::of(&node, "");
    wait_out(&node, "alpha", &Value::Null);
    one.provider.down();
    events.wait("unreachable", "alpha");
    events.wait("breaker_opened", "alpha");
    assert_eq!(shown(&node, "alpha")["unreachable"], true);
    one.provider.up();
    events.wait("breaker_closed", "alpha");
    events.wait("reachable", "alpha");
    assert_eq!(one.reads(), 0, "no client has asked");
}

#[test]
fn a_provider_whose_name_leads_nowhere_is_told_and_no_failure_of_its_own() {
    let good = Placed::at(1000);
    let chain = Chain::new("ethereum", 1).provider("alpha", "http://no-such-host.invalid");
    let node =
        asking(&[]).chains(&[chain.provider("beta", &good.provider.url())]).set("breaker", "failures = 1").start();
    Reader::of(&node, "").wait("unreachable", "alpha");
    reads(&node, 3);
    assert_eq!(good.reads(), 3);
    let shown = shown(&node, "alpha");
    assert_eq!((&shown["out"], &shown["breaker"]), (&"unresolved".into(), &"closed".into()), "{shown}");
}

#[test]
fn a_provider_that_limits_us_is_not_asked_while_it_rests() {
    let limits = |call: &Seen| Reply::status(429, call.id()).field("Retry-After: 500");
    // Whether it is a client's call or the first question that it refuses.
    for refused in ["eth_getBalance", "eth_chainId"] {
        let limiting = Provider::start(move |call| match call.method().as_str() {
            method if method == refused => limits(call),
            _ => Reply::result(call, "\"0x1\""),
        });
        let other = Placed::at(1);
        let node = asking(&[&limiting, &other.provider]).start();
        if refused == "eth_getBalance" {
            limiting.wait_calls("eth_blockNumber", 2);
            reads(&node, 1);
        }
        let event = Reader::of(&node, "").wait("cooldown", "alpha");
        assert!(event["seconds"].as_f64().unwrap() > 400.0, "{event}");
        eventually("alpha to be out", || (shown(&node, "alpha")["out"] == "cooled").then_some(()));
        // The other one is asked on and on meanwhile. One question may have been under way.
        let (asked, before) = (limiting.seen().len(), other.provider.calls("eth_blockNumber").len());
        other.provider.wait_calls("eth_blockNumber", before + 20);
        assert!(limiting.seen().len() <= asked + 1, "{refused}: {} after {asked}", limiting.seen().len());
    }
}

#[test]
fn who_reads_events_late_is_told_the_last_ones_and_who_comes_back_what_was_missed() {
    let (late, first, second) = (Placed::at(990), Placed::at(1000), Placed::at(1000));
    let mut node = asking(&[&late.provider, &first.provider, &second.provider]).start();
    wait_out(&node, "alpha", &"lagging".into());
    let events = Reader::of(&node, "");
    events.wait("lagging", "alpha");
    let head = events.text();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
    assert!(head.contains("event: lagging\n") && head.contains("id: 1\n"), "{head}");
    late.head.store(1000, Ordering::SeqCst);
    events.wait("in_step", "alpha");
    let back = Reader::of(&node, "Last-Event-ID: 1\r\n");
    back.wait("in_step", "alpha");
    assert!(!back.text().contains("\"lagging\""), "{}", back.text());
    // Readers do not keep a node from ending, and see its end.
    node.signal("TERM");
    assert!(node.wait_end().success());
    eventually("the streams to end", || (*events.ended.lock().unwrap() && *back.ended.lock().unwrap()).then_some(()));
}

#[test]
fn a_provider_that_a_reload_brings_is_asked_for_its_chain_first() {
    let (known, wrong) = (Placed::at(1000), Placed::at(1000));
    wrong.chain.store(56, Ordering::SeqCst);
    let mut node = asking(&[&known.provider]).start();
    let in_step = || shown(&node, "alpha")["out"].is_null().then_some(());
    eventually("alpha to be asked for its chain", in_step);
    // The one that comes is the more preferred, and calls go on while it comes.
    let chain = Chain::new("ethereum", 1).provider("beta", &wrong.provider.url());
    let chain = chain.provider("alpha", &known.provider.url());
    node.reload(|setup| setup.chains(&[chain]));
    eventually("beta to be found out", || {
        reads(&node, 1);
        let page = node.admin_get("/api/providers").text();
        page.contains("\"out\":\"wrong_chain\"").then_some(())
    });
    assert_eq!(wrong.reads(), 0);
}
