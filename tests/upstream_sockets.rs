//! Calls over providers' WebSockets: whose answer is whose, and what becomes of a call when its connection does not do as it
//! should.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::HashSet;
use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use support::certs::Authority;
use support::pusher::{Heard, frame};
use support::socket::{BINARY, CLOSE, PING, PONG, TEXT};
use support::{Act, Chain, Handshake, Node, Provider, Pusher, Setup, eventually, json};

/// One shard, and a provider `alpha` that is called over WebSocket alone, and `beta` over HTTP.
fn setup(alpha: &Pusher, beta: &Provider) -> Setup {
    of(chain(alpha, beta))
}

fn of(chain: Chain) -> Setup {
    Setup::new().set("shards", &support::one_core()).chain(chain)
}

fn chain(alpha: &Pusher, beta: &Provider) -> Chain {
    // Nothing listens there.
    let nowhere = format!("http://{}", support::ports::unused());
    let lines = format!("priority = 1\nws_url = \"{}/k3y\"\ncalls = \"websocket\"", alpha.url());
    Chain::new("ethereum", 1).provider_with("alpha", &nowhere, &lines).provider("beta", &beta.url())
}

fn beta() -> Provider {
    Provider::answering("\"beta\"")
}

/// The values of a counter or gauge over all its lines.
fn metric(node: &Node, name: &str) -> f64 {
    let page = node.admin_get("/metrics").text();
    let lines = page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

fn wait_metric(node: &Node, name: &str, value: f64) {
    eventually(&format!("{name} to be {value}"), || ((metric(node, name) - value).abs() < 0.5).then_some(()));
}

/// One call, and who answered it.
fn ask(node: &Node) -> (String, String) {
    let answer = node.ethereum(&json::read());
    (answer.result(), answer.field("x-livechain-provider").unwrap_or_default().to_owned())
}

fn from_beta(node: &Node) {
    assert_eq!(ask(node), ("\"beta\"".to_owned(), "beta".to_owned()));
}

#[test]
fn ids_come_back_as_they_were_and_are_the_connections_own_on_the_wire() {
    let (alpha, beta) = (Pusher::echoing(), beta());
    let node = setup(&alpha, &beta).start();
    let ids = ["1", "\"one\"", "null", "0.10", "1e2", "12345678901234567890123", "\"\\u0041\\\"\"", "\"\"", "-0"];
    for id in ids {
        for call in [
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_getBalance","params":[{id}]}}"#),
            format!(r#"{{"params":[{id}],"method":"eth_getBalance","i\u0064" : {id} }}"#),
        ] {
            let answer = node.ethereum(&call);
            assert_eq!(answer.text(), format!(r#"{{"jsonrpc":"2.0","id":{id},"result":[{id}]}}"#), "{call}");
        }
    }
    let batch: Vec<_> = ids
        .iter()
        .map(|id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_getCode","params":[{id}]}}"#))
        .collect();
    let answer = node.ethereum(&format!("[{}]", batch.join(",")));
    let expected: Vec<_> = ids.iter().map(|id| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":[{id}]}}"#)).collect();
    assert_eq!(json::items(&answer.body), expected);
    // One that wants no answer is sent on with a number, and gets none.
    let notification = node.ethereum(r#"{"jsonrpc":"2.0","method":"eth_getProof","params":[]}"#);
    assert_eq!((notification.status, notification.body.len()), (204, 0));
    assert_eq!(alpha.calls("eth_getProof").len(), 1);
    let sent: Vec<String> = alpha.heard().iter().map(Heard::id).collect();
    let numbers: HashSet<u64> = sent.iter().map(|id| id.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 2 * ids.len() + ids.len() + 1);
    assert_eq!((beta.accepted() <= 2, beta.seen().len(), alpha.accepted()), (true, 0, 1));
    let masks: HashSet<_> = alpha.heard().iter().map(|heard| heard.mask).collect();
    assert!(masks.len() > ids.len(), "each frame has a mask of its own: {masks:?}");
}

#[test]
fn answers_come_in_any_order_each_to_its_call() {
    let alpha = Pusher::start(|_| vec![]);
    let beta = beta();
    let node = setup(&alpha, &beta).start();
    let held = std::sync::Mutex::new(Vec::<Heard>::new());
    alpha.script(move |call| {
        let mut held = held.lock().unwrap();
        held.push(call.clone());
        if held.len() < 8 {
            return vec![];
        }
        held.drain(..).rev().map(|call| call.result(&call.params())).collect()
    });
    let batch: Vec<_> = (0..8).map(|n| json::call("eth_getBalance", &format!("[{n}]"))).collect();
    let answer = node.ethereum(&format!("[{}]", batch.join(",")));
    let results: Vec<_> =
        json::items(&answer.body).iter().map(|item| json::raw(item.as_bytes(), "result").unwrap()).collect();
    assert_eq!(results, (0..8).map(|n| format!("[{n}]")).collect::<Vec<_>>());
    assert_eq!(alpha.accepted(), 1, "all on one connection");
}

#[test]
fn a_handshake_says_what_the_config_says() {
    let (alpha, beta) = (Pusher::echoing(), beta());
    let url = format!("ws://user:pass@{}/v2/k3y?a=b", alpha.address);
    let lines = format!(
        "priority = 1\nws_url = \"{url}\"\ncalls = \"websocket\"\n[chains.providers.headers]\nx-api-key = \"s3cret\""
    );
    let nowhere = format!("http://{}", support::ports::unused());
    let chain = Chain::new("ethereum", 1).provider_with("alpha", &nowhere, &lines).provider("beta", &beta.url());
    let node = of(chain).start();
    ask(&node);
    let head = alpha.heads().remove(0);
    assert_eq!(head.line, "GET /v2/k3y?a=b HTTP/1.1");
    for (name, value) in [
        ("host", alpha.address.to_string()),
        ("authorization", "Basic dXNlcjpwYXNz".to_owned()),
        ("x-api-key", "s3cret".to_owned()),
        ("upgrade", "websocket".to_owned()),
        ("sec-websocket-version", "13".to_owned()),
    ] {
        assert_eq!(head.field(name), Some(value.as_str()), "{name}");
    }
    assert_eq!(head.field("sec-websocket-extensions"), None);
    let log = node.log();
    assert!(["k3y", "s3cret", "pass@"].iter().all(|secret| !log.contains(secret)), "{log}");
}

#[test]
fn a_provider_that_dies_with_a_call_is_not_seen_to() {
    // It goes with the first call of each connection.
    let (alpha, beta) = (Pusher::start(|_| vec![Act::Cut]), beta());
    let node = setup(&alpha, &beta).start();
    from_beta(&node);
    eventually("a word on it", || node.log().contains("socket_lost").then_some(()));
    assert!(node.log().contains("why=\"cut\""), "{}", node.log());
    assert!(metric(&node, "livechain_upstream_websockets_lost_total") >= 1.0);
}

#[test]
fn a_call_on_a_connection_that_has_died_is_sent_again_to_the_same_provider() {
    // Each connection answers one call and goes with the next.
    let alpha = Pusher::start(|call| if call.nth == 0 { vec![call.result("\"alpha\"")] } else { vec![Act::Cut] });
    let beta = beta();
    let node = setup(&alpha, &beta).start();
    for n in 0..4 {
        assert_eq!(ask(&node), ("\"alpha\"".to_owned(), "alpha".to_owned()), "call {n}");
    }
    assert!(beta.seen().is_empty());
    assert_eq!(alpha.accepted(), 4);
}

#[test]
fn what_may_not_be_repeated_is_not() {
    let alpha = Pusher::start(|call| if call.nth == 0 { vec![call.result("1")] } else { vec![Act::Cut] });
    let beta = beta();
    let node = setup(&alpha, &beta).set("rpc", "blocked_methods = []").start();
    ask(&node);
    let once = json::call("eth_sendTransaction", "[{}]");
    assert_eq!(node.ethereum(&once).own_error(), -32002);
    assert_eq!((alpha.calls("eth_sendTransaction").len(), beta.seen().len()), (1, 0));
}

#[test]
fn a_silent_connection_is_found_out_before_the_calls_deadline() {
    let (alpha, beta) = (Pusher::start(|_| vec![Act::Hang]), beta());
    let node = setup(&alpha, &beta)
        .set("upstream", "ping_after = \"200ms\"")
        .set("upstream", "pong_timeout = \"200ms\"")
        .set("rpc.deadlines", "read = \"30s\"")
        .start();
    let start = Instant::now();
    from_beta(&node);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    eventually("a word on it", || node.log().contains("why=\"silent\"").then_some(()));
}

#[test]
fn silence_alone_is_pinged_and_a_pong_keeps_the_connection() {
    let (alpha, beta) = (Pusher::echoing(), beta());
    let node = setup(&alpha, &beta).set("upstream", "ping_after = \"100ms\"").start();
    ask(&node);
    eventually("three pings", || {
        (alpha.heard().iter().filter(|heard| heard.opcode == PING).count() >= 3).then_some(())
    });
    // The provider's own are answered.
    alpha.push(PING, b"still there?");
    assert_eq!(alpha.wait_for(PONG).payload, b"still there?");
    ask(&node);
    assert_eq!(alpha.accepted(), 1);
}

#[test]
fn what_a_provider_may_not_send_ends_the_connection_and_not_the_call() {
    let masked = [&[0x81, 0x82, 1, 2, 3, 4][..], b"xx"].concat();
    let oversized = [&[0x81, 127][..], &(40_u64 << 20).to_be_bytes()].concat();
    let cases: [(&str, Vec<u8>, u16); 7] = [
        ("no JSON", frame(0x80 | TEXT, b"<html>"), 1007),
        ("a batch that nobody asked for", frame(0x80 | TEXT, b"[]"), 1007),
        ("text that is none", frame(0x80 | TEXT, b"\xff"), 1007),
        ("a masked frame", masked, 1002),
        ("a reserved bit", frame(0xc0 | TEXT, b"{}"), 1002),
        ("more than there is room for", oversized, 1009),
        ("a continuation of nothing", frame(0x80, b"{}"), 1002),
    ];
    for (what, bytes, code) in cases {
        let (alpha, beta) = (Pusher::start(move |_| vec![Act::Send(bytes.clone())]), beta());
        let node = setup(&alpha, &beta).start();
        from_beta(&node);
        assert_eq!(alpha.wait_closed(), Some(code), "{what}");
        eventually("a word on it", || node.log().contains("why=\"fault\"").then_some(()));
    }
}

#[test]
fn what_is_nobodys_is_passed_over() {
    let alpha = Pusher::start(|call| {
        let push = r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":{}}}"#;
        vec![
            Act::text(push),
            Act::text(r#"{"jsonrpc":"2.0","id":4711,"result":"somebody else's"}"#),
            Act::text(r#"{"jsonrpc":"2.0","id":"0","result":"no number"}"#),
            Act::text(r#"{"what":"ever"}"#),
            Act::frame(PONG, b"unasked"),
            // In binary and under an id that says the same; and once more.
            Act::frame(BINARY, format!(r#"{{"id":"{}","result":"first"}}"#, call.id()).as_bytes()),
            call.result("\"second\""),
        ]
    });
    let beta = beta();
    let node = setup(&alpha, &beta).start();
    for _ in 0..3 {
        assert_eq!(node.ethereum(&json::read()).text(), r#"{"id":1,"result":"first"}"#);
    }
    assert_eq!((alpha.accepted(), beta.seen().len()), (1, 0));
}

#[test]
fn a_wrong_id_is_no_answer() {
    let alpha = Pusher::start(|_| vec![Act::text(r#"{"jsonrpc":"2.0","id":99,"result":"a lie"}"#)]);
    let beta = beta();
    let node = setup(&alpha, &beta).start();
    from_beta(&node);
    // An error that names no call is the only one's; but it may be that of the one which has no answer yet.
    let reverted =
        |_: &Heard| vec![Act::text(r#"{"jsonrpc":"2.0","id":null,"error":{"code":3,"message":"execution reverted"}}"#)];
    alpha.script(reverted);
    from_beta(&node);
    let alpha = Pusher::start(reverted);
    let node = setup(&alpha, &beta).start();
    let answer = node.ethereum(&json::call("eth_call", "[{},\"latest\"]"));
    assert_eq!(answer.text(), r#"{"jsonrpc":"2.0","id":1,"error":{"code":3,"message":"execution reverted"}}"#);
}

#[test]
fn a_late_answer_is_nobodys() {
    let alpha = Pusher::start(|call| {
        let late = call.method() == "eth_getBalance";
        let wait = if late { Duration::from_millis(2500) } else { Duration::ZERO };
        vec![Act::Wait(wait), call.result("\"alpha\"")]
    });
    let beta = beta();
    let node = setup(&alpha, &beta).set("rpc.deadlines", "proof = \"20s\"").start();
    from_beta(&node);
    // The provider is busy with the first one still, and then answers both.
    assert_eq!(node.ethereum(&json::call("eth_getProof", "[]")).result(), "\"alpha\"");
    assert_eq!(alpha.accepted(), 1, "the connection is none the worse for it");
}

#[test]
fn a_refused_handshake_means_what_it_means_over_http() {
    let cases: [(&str, &str); 7] = [
        ("HTTP/1.1 429 Slow down\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n", "kind=\"cooldown\""),
        ("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "kind=\"unauthorized\""),
        ("HTTP/1.1 402 Pay\r\nContent-Length: 0\r\n\r\n", "kind=\"parked\""),
        ("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", ""),
        (
            "HTTP/1.1 101 Whatever\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
            "",
        ),
        ("SSH-2.0-whatever\r\n", ""),
    ];
    for (answer, event) in cases {
        let (alpha, beta) = (Pusher::echoing(), beta());
        alpha.handshake(Handshake::Answer(answer.into()));
        // No connection ahead of need: the call is to meet the refusal.
        let node = setup(&alpha, &beta).set("upstream", "connections_warm = 0").start();
        from_beta(&node);
        eventually(&format!("{event} after {answer:?}"), || node.log().contains(event).then_some(()));
        assert_eq!(alpha.accepted(), 1);
        assert!(metric(&node, "livechain_upstream_websockets_refused_total") >= 1.0);
        if event.contains("cooldown") {
            assert!(node.log().contains("seconds=30") || node.log().contains("seconds=29"), "{}", node.log());
        }
    }
}

#[test]
fn a_handshake_that_hangs_or_dies_is_not_waited_for_too_long() {
    for handshake in [Handshake::Hang, Handshake::Answer(Vec::new())] {
        let (alpha, beta) = (Pusher::echoing(), beta());
        alpha.handshake(handshake);
        let node = setup(&alpha, &beta).set("upstream", "connect_timeout = \"300ms\"").start();
        from_beta(&node);
    }
}

#[test]
fn a_provider_that_is_down_is_knocked_at_less_and_less() {
    let (alpha, beta) = (Pusher::echoing(), beta());
    alpha.handshake(Handshake::Answer(Vec::new()));
    let node = setup(&alpha, &beta).set("breaker", "failures = 1000").start();
    for _ in 0..200 {
        from_beta(&node);
    }
    // Bounds of 250 ms, 500 ms, 1 s and so on, from which waits are drawn evenly.
    assert!(alpha.accepted() < 40, "{} handshakes", alpha.accepted());
    alpha.handshake(Handshake::Agree);
    eventually("alpha to be asked again", || (ask(&node).1 == "alpha").then_some(()));
}

#[test]
fn behind_tls_it_is_the_same() {
    let authority = Authority::new();
    let alpha = Pusher::start_tls(authority.server("localhost"), |call| {
        let result =
            if call.method() == "eth_getLogs" { format!("\"{}\"", "a".repeat(3_000_000)) } else { call.params() };
        vec![call.result(&result)]
    });
    let beta = beta();
    let lines =
        format!("priority = 1\nws_url = \"wss://localhost:{}/k3y\"\ncalls = \"websocket\"", alpha.address.port());
    let nowhere = format!("http://{}", support::ports::unused());
    let chain = Chain::new("ethereum", 1).provider_with("alpha", &nowhere, &lines).provider("beta", &beta.url());
    let node = of(chain).file("ca.pem", &authority.pem()).set("upstream", "ca_file = \"@ca.pem@\"").start();
    for n in 0..20 {
        let answer = node.ethereum(&json::call("eth_getBalance", &format!("[{n}]")));
        assert_eq!(answer.result(), format!("[{n}]"));
    }
    assert_eq!(node.ethereum(&json::call("eth_getLogs", "[{}]")).result().len(), 3_000_002);
    assert_eq!((alpha.accepted(), beta.seen().len()), (1, 0));
    // A certificate that nobody has signed is no provider's.
    let node = setup_untrusted(&alpha, &beta);
    from_beta(&node);
}

fn setup_untrusted(alpha: &Pusher, beta: &Provider) -> Node {
    let lines =
        format!("priority = 1\nws_url = \"wss://localhost:{}/k3y\"\ncalls = \"websocket\"", alpha.address.port());
    let nowhere = format!("http://{}", support::ports::unused());
    let chain = Chain::new("ethereum", 1).provider_with("alpha", &nowhere, &lines).provider("beta", &beta.url());
    of(chain).start()
}

/// As permessage-deflate has it: raw deflate, flushed, without the last four bytes.
fn packed(text: &str) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.flush().unwrap();
    let mut bytes = encoder.get_ref().clone();
    assert!(bytes.ends_with(&[0, 0, 0xff, 0xff]));
    bytes.truncate(bytes.len() - 4);
    bytes
}

#[test]
fn compression_is_offered_where_it_is_on_and_undone_within_bounds() {
    let alpha = Pusher::start(|call| {
        let count = if call.method() == "eth_getLogs" { 40_000_000 } else { 100_000 };
        let text = format!(r#"{{"jsonrpc":"2.0","id":{},"result":"{}"}}"#, call.id(), "a".repeat(count));
        vec![Act::Send(frame(0xc0 | TEXT, &packed(&text)))]
    });
    let agreed =
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
    alpha.handshake(Handshake::With(agreed.to_owned()));
    let beta = beta();
    let node = setup(&alpha, &beta).set("upstream", "compression = true").start();
    for _ in 0..3 {
        assert_eq!(ask(&node).0.len(), 100_002);
    }
    let offered = alpha.heads()[0].field("sec-websocket-extensions").map(str::to_owned);
    assert!(offered.is_some_and(|offer| offer.starts_with("permessage-deflate")));
    // A bomb is found out, and is the provider's fault.
    assert_eq!(node.ethereum(&json::call("eth_getLogs", "[{}]")).result(), "\"beta\"");
    assert_eq!(alpha.wait_closed(), Some(1009));
}

#[test]
fn a_large_answer_comes_whole() {
    let alpha = Pusher::start(|call| vec![call.result(&format!("\"{}\"", "a".repeat(5_000_000)))]);
    let beta = beta();
    // However slow the machine is: beta is not asked because alpha's time is up.
    let node = setup(&alpha, &beta).set("rpc.deadlines", "read = \"30s\"").start();
    assert_eq!(node.ethereum(&json::call("eth_getLogs", "[{}]")).result().len(), 5_000_002);
    let large = json::call("eth_getBalance", &format!("[\"{}\"]", "b".repeat(2_000_000)));
    assert_eq!(node.ethereum(&large).result().len(), 5_000_002);
    assert!(beta.seen().is_empty());
}

#[test]
fn large_answers_behind_one_another_are_no_fault_of_a_client_that_reads() {
    let alpha = Pusher::start(|call| vec![call.result(&format!("\"{}\"", "a".repeat(900_000)))]);
    let beta = beta();
    let node = setup(&alpha, &beta)
        .set("rpc.deadlines", "read = \"30s\"")
        .set("websocket", "queued_bytes_max = \"1MiB\"")
        .start();
    let mut socket = support::socket::Socket::open(node.http, "/ws/rpc/ethereum");
    for _ in 0..24 {
        socket.text(&json::read());
    }
    // It begins to read when they are all on their way.
    eventually("alpha has answered", || (alpha.heard().len() >= 24).then_some(()));
    for _ in 0..24 {
        assert!(socket.message().1.len() > 900_000);
    }
    assert!(beta.seen().is_empty());
}

/// As where a gateway loses what is behind it, and goes on answering pings.
#[test]
fn a_connection_that_answers_nothing_any_more_is_left_for_another() {
    let alpha = Pusher::start(|call| match (call.connection, call.nth) {
        (0, 1..) => vec![],
        _ => vec![call.result("\"alpha\"")],
    });
    let beta = beta();
    let node = setup(&alpha, &beta).set("upstream", "ping_after = \"1s\"").start();
    assert_eq!(ask(&node).0, "\"alpha\"");
    from_beta(&node);
    eventually("alpha answers by another connection", || (ask(&node).0 == "\"alpha\"").then_some(()));
    assert!(alpha.accepted() >= 2);
}

#[test]
fn a_goodbye_of_the_provider_is_answered_and_the_next_call_comes_by_another_connection() {
    let (alpha, beta) = (Pusher::echoing(), beta());
    let node = setup(&alpha, &beta).start();
    ask(&node);
    alpha.push(CLOSE, &1012_u16.to_be_bytes());
    assert_eq!(alpha.wait_closed(), Some(1012));
    assert_eq!(ask(&node).1, "alpha");
    assert_eq!(alpha.accepted(), 2);
    // In the middle of a call it is nobody's fault, and the call goes on elsewhere.
    alpha.script(|call| if call.connection == 1 { vec![Act::close(1001)] } else { vec![call.result("2")] });
    assert_eq!(ask(&node), ("2".to_owned(), "alpha".to_owned()));
    assert!(beta.seen().is_empty());
}

#[test]
fn a_node_that_closes_says_so() {
    let (alpha, beta) = (Pusher::echoing(), beta());
    let mut node = setup(&alpha, &beta).start();
    ask(&node);
    wait_metric(&node, "livechain_upstream_websockets", 1.0);
    node.signal("TERM");
    assert!(node.wait_end().success());
    assert_eq!(alpha.wait_closed(), Some(1001));
}

#[test]
fn a_provider_that_a_reload_removes_is_left() {
    let (alpha, other, beta) = (Pusher::echoing(), Pusher::echoing(), beta());
    let mut node = setup(&alpha, &beta).start();
    ask(&node);
    node.reload(|setup| setup.chains(&[chain(&other, &beta)]));
    assert_eq!(alpha.wait_closed(), Some(1000));
    eventually("the other one to be asked", || {
        ask(&node);
        (!other.calls("eth_getBalance").is_empty()).then_some(())
    });
    wait_metric(&node, "livechain_upstream_websockets", 1.0);
}

#[test]
fn one_that_nobody_uses_is_closed_but_the_warm_one() {
    let beta = beta();
    for (warm, open) in [("connections_warm = 0", 0), ("connections_warm = 1", 1)] {
        let alpha = Pusher::echoing();
        let node = setup(&alpha, &beta).set("upstream", warm).set("upstream", "idle_timeout = \"100ms\"").start();
        ask(&node);
        if open == 0 {
            assert_eq!(alpha.wait_closed(), Some(1000));
            wait_metric(&node, "livechain_upstream_websockets", 0.0);
        } else {
            // Long enough for it to have been closed several times over.
            std::thread::sleep(Duration::from_millis(600));
            assert_eq!((alpha.accepted(), alpha.open()), (1, 1));
        }
        assert_eq!(ask(&node).1, "alpha");
    }
}

#[test]
fn more_calls_than_one_connection_takes_open_another() {
    let (alpha, beta) = (Pusher::start(|_| vec![]), beta());
    // The last ones wait for a third of a second, in which others would be asked as well.
    let unhedged = setup(&alpha, &beta).set("hedging", "cap = \"1m\"");
    let node = unhedged.set("rpc", "batch_in_flight_max = 100").start();
    alpha.script(|call| {
        // All but the last of a connection's first 64 wait for nothing.
        vec![Act::Wait(Duration::from_millis(5)), call.result("1")]
    });
    let batch: Vec<_> = (0..100).map(|n| json::call("eth_getBalance", &format!("[{n}]"))).collect();
    let answer = node.ethereum(&format!("[{}]", batch.join(",")));
    assert_eq!(json::items(&answer.body).len(), 100);
    assert!(answer.text().matches("\"result\":1").count() == 100, "{}", answer.text());
    assert_eq!((alpha.accepted(), beta.seen().len()), (2, 0));
}
