//! The edge of clients' WebSockets: compression, how many there may be and how fast they come, and what is told of them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::time::{Duration, Instant};

use support::socket::{BINARY, CLOSE, PING, Socket, TEXT, frame, pack};
use support::{Chain, Node, Provider, Reply, Setup, eventually, json};

const PATH: &str = "/rpc/ethereum";
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// A result as chains have them: of one shape all over.
fn log_result(bytes: usize) -> String {
    let log =
        r#"{"address":"0x00000000000000000000000000000000000000aa","topics":[],"data":"0x","blockNumber":"0x10"}"#;
    format!("[{}]", vec![log; bytes / log.len() + 1].join(","))
}

fn compressing(provider: &Provider) -> Node {
    Setup::ethereum(&[provider])
        .set("websocket", "compression = true")
        .set("websocket", "message_bytes_max = \"1MiB\"")
        .start()
}

#[test]
fn compression_is_agreed_on_where_it_is_on_and_offered() {
    let provider = Provider::answering("1");
    let extensions = |node: &Node, offer: &str| {
        let socket = Socket::ask(node.http, PATH, &format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        let said = socket.head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        (socket.head[9..12].to_owned(), said.map(str::to_owned))
    };
    let off = Setup::ethereum(&[&provider]).start();
    assert_eq!(extensions(&off, "permessage-deflate"), ("101".into(), None));
    let on = compressing(&provider);
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let wrong: Vec<String> = [
        ("permessage-deflate", "101", Some(agreed.to_owned())),
        ("permessage-deflate; client_max_window_bits", "101", Some(agreed.to_owned())),
        ("permessage-deflate; server_max_window_bits=10", "101", Some(format!("{agreed}; server_max_window_bits=10"))),
        ("x-webkit-deflate-frame", "101", None),
        ("permessage-deflate; unknown", "101", None),
        ("permessage-deflate; =", "400", None),
    ]
    .into_iter()
    .filter_map(|(offer, status, said)| {
        let answer = extensions(&on, offer);
        (answer != (status.to_owned(), said)).then(|| format!("{offer}: {answer:?}"))
    })
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Who offers nothing gets plain frames.
    assert_eq!(Socket::open(on.http, PATH).call(&json::read()), "1");
}

#[test]
fn calls_and_answers_are_compressed_where_it_pays() {
    let provider = Provider::start(|call| match call.method().as_str() {
        "eth_getLogs" => Reply::result(call, &log_result(20_000)),
        "trace_block" => Reply::flood(call, 500_000),
        _ => Reply::result(call, &call.params()),
    });
    let node = compressing(&provider);
    let mut socket = Socket::open_with(node.http, PATH, OFFER);
    let params = format!("[\"0x{}\",\"latest\"]", "ab".repeat(5_000));
    let call = json::call("eth_getBalance", &params);
    for opcode in [TEXT, BINARY, TEXT] {
        // Each stands alone: there is no context to be out of step with.
        let answer = socket.packed(opcode, call.as_bytes()).next().unwrap();
        assert!(answer.compressed && answer.payload.len() < 500, "{} bytes", answer.payload.len());
        assert_eq!(answer.opcode, opcode);
        let (_, answer) = socket.packed(opcode, call.as_bytes()).message();
        assert_eq!(json::raw(&answer, "result").unwrap(), params);
    }
    // Short ones are left as they are, and so may a client's be.
    let short = socket.text(&json::call("eth_getCode", "[]")).next().unwrap();
    assert!(!short.compressed && short.text().contains("\"result\":[]"), "{short:?}");
    let (_, logs) = socket.text(&json::call("eth_getLogs", "[{}]")).message();
    assert_eq!(json::raw(&logs, "result").unwrap(), log_result(20_000));
    // What streams goes out as it comes.
    let first = socket.text(&json::call("trace_block", "[]")).next().unwrap();
    assert!(!first.last && !first.compressed);
    while !socket.next().unwrap().last {}
    let (_, batch) = socket.packed(TEXT, format!("[{call},{call}]").as_bytes()).message();
    assert_eq!(json::items(&batch).len(), 2);
    // In fragments, with a ping between: the first one alone says that it is compressed.
    let packed = pack(call.as_bytes());
    let (start, end) = packed.split_at(packed.len() / 2);
    let mut fragments = frame(TEXT, false, start);
    fragments[0] |= 0x40;
    fragments.extend(frame(PING, true, b""));
    fragments.extend(frame(0, true, end));
    let (_, answer) = socket.bytes(&fragments).message();
    assert_eq!(json::raw(&answer, "result").unwrap(), params);
}

#[test]
fn what_is_packed_is_bounded_by_what_it_unpacks_to() {
    let provider = Provider::answering("1");
    let node = compressing(&provider);
    let bomb = pack(&vec![b' '; 16 * 1024 * 1024]);
    assert!(bomb.len() < 100_000, "{} bytes are within the limit", bomb.len());
    let compressed = |payload: &[u8]| {
        let mut bytes = frame(TEXT, true, payload);
        bytes[0] |= 0x40;
        bytes
    };
    let mut continued = frame(TEXT, false, b"");
    continued.extend(frame(0, true, b"x"));
    let last = continued.len() - 7;
    continued[last] |= 0x40;
    let mut ping = frame(PING, true, b"");
    ping[0] |= 0x40;
    for (what, bytes, code) in [
        ("a bomb", compressed(&bomb), 1009),
        ("no deflate", compressed(b"\xff\xff\xff\xff"), 1007),
        ("packed text that is not UTF-8", compressed(&pack(b"{\"\xff\"}")), 1007),
        ("a continuation that says so", continued, 1002),
        ("a control frame that says so", ping, 1002),
    ] {
        let mut socket = Socket::open_with(node.http, PATH, OFFER);
        assert_eq!(socket.bytes(&bytes).closed(), Some(code), "{what}");
        assert!(socket.ends(), "{what}");
    }
    let burst = || {
        for _ in 0..20 {
            assert_eq!(Socket::open_with(node.http, PATH, OFFER).bytes(&compressed(&bomb)).closed(), Some(1009));
        }
        node.rss()
    };
    let (first, last) = (burst(), burst());
    assert!(last < first + 4_000_000, "{first}, then {last}");
    assert_eq!(Socket::open_with(node.http, PATH, OFFER).call(&json::read()), "1");
}

#[test]
fn connections_that_are_compressed_hold_no_compressor() {
    let provider = Provider::start(|call| Reply::result(call, &log_result(5_000)));
    let node = compressing(&provider);
    let used = |count: usize| -> Vec<Socket> {
        let open = || {
            let mut socket = Socket::open_with(node.http, PATH, OFFER);
            socket.packed(TEXT, json::read().as_bytes());
            assert!(socket.next().unwrap().compressed);
            socket
        };
        (0..count).map(|_| open()).collect()
    };
    drop(used(50));
    eventually("the first ones to have gone", || (open(&node) == 0).then_some(()));
    let before = node.rss();
    let held = used(1_000);
    let each = node.rss().saturating_sub(before) / 1_000;
    println!("1000 compressed WebSockets: {each} bytes of RSS each, what the shards keep included");
    // A compressor each would be 300 KiB.
    assert!(each < 32_000, "{each}");
    drop(held);
}

/// A metric of the node, over all its shards, with these labels.
fn metric(node: &Node, name: &str, label: &str) -> u64 {
    let page = node.admin_get("/metrics").text();
    let lines = page
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') && rest.contains(label)));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn open(node: &Node) -> u64 {
    metric(node, "livechain_websockets", "")
}

#[test]
fn a_handshake_over_the_limit_is_told_to_come_later() {
    let provider = Provider::answering("1");
    let node =
        Setup::ethereum(&[&provider]).set("shards", "cores = [0]").set("websocket", "connections_max = 3").start();
    let mut within: Vec<Socket> = (0..3).map(|_| Socket::open(node.http, PATH)).collect();
    let beyond = Socket::ask(node.http, PATH, "");
    assert!(beyond.head.starts_with("HTTP/1.1 503 ") && beyond.head.contains("Retry-After: 5\r\n"), "{}", beyond.head);
    assert_eq!(metric(&node, "livechain_websockets_refused_total", ""), 1);
    assert_eq!(node.ethereum(&json::read()).status, 200, "HTTP goes on");
    for socket in &mut within {
        assert_eq!(socket.call(&json::read()), "1");
    }
    within.pop();
    eventually("room again", || Socket::ask(node.http, PATH, "").head.starts_with("HTTP/1.1 101 ").then_some(()));
}

#[test]
fn connections_that_come_too_fast_wait_and_none_is_refused() {
    let provider = Provider::answering("1");
    let node =
        Setup::ethereum(&[&provider]).set("shards", "cores = [0]").set("listen", "accepts_per_second = 100").start();
    let accepted = || metric(&node, "livechain_connections_accepted_total", "");
    let mut there = Socket::open(node.http, PATH);
    let (before, start) = (accepted(), Instant::now());
    let storm: Vec<Socket> = std::thread::scope(|scope| {
        let opening = || (0..50).map(|_| Socket::open(node.http, PATH)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(opening)).collect();
        let is_over = || threads.iter().all(std::thread::ScopedJoinHandle::is_finished);
        let mut slowest = Duration::ZERO;
        while !is_over() {
            let asked = Instant::now();
            assert_eq!(there.call(&json::read()), "1");
            slowest = slowest.max(asked.elapsed());
        }
        println!("slowest call during the storm: {slowest:?}");
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let took = start.elapsed();
    assert_eq!((storm.len() as u64, accepted() - before), (200, 200));
    // 200 at 100 a second, but for the two of a burst.
    assert!(took > Duration::from_millis(1_900), "{took:?}");
}

#[test]
fn a_closing_node_does_not_wait_for_its_pace() {
    let provider = Provider::answering("1");
    let mut node = Setup::ethereum(&[&provider])
        .set("shards", "cores = [0]")
        .set("listen", "accepts_per_second = 1")
        .set("life", "drain_delay = \"0ms\"")
        .start();
    // Some wait already.
    let waiting: Vec<_> = (0..30).map(|_| node.connect()).collect();
    let start = Instant::now();
    node.signal("TERM");
    drop(waiting);
    assert!(node.wait_end().success());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn the_log_tells_of_calls_over_websocket_and_of_sockets() {
    let (bad, good) = (Provider::start(|_| Reply::status(502, "")), Provider::answering("1"));
    let node =
        Setup::ethereum(&[&bad, &good]).set("log", "format = \"json\"").set("log", "access_sample = 1.0").start();
    let mut socket = Socket::open(node.http, PATH);
    let id = socket.head.lines().find_map(|line| line.strip_prefix("X-Livechain-Request-Id: ")).unwrap().to_owned();
    let call = json::read();
    assert_eq!(socket.call(&call), "1");
    socket.text(&format!("[{call},{call}]")).message();
    socket.text(&json::call("eth_sign", "[]")).message();
    assert_eq!(socket.frame(CLOSE, true, b"\x0f\xa0").closed(), Some(4000));
    assert!(socket.ends());
    let lines = || -> Vec<serde_json::Value> {
        let log = node.log();
        log.lines().filter(|line| line.contains(&id)).map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let lines = eventually("the socket's lines", || Some(lines()).filter(|lines| lines.len() >= 4));
    let line = |method: &str| {
        let fields = lines.iter().map(|line| line.get("fields").unwrap_or(line));
        fields
            .clone()
            .find(|fields| fields["method"] == method)
            .unwrap_or_else(|| panic!("no {method}: {lines:?}"))
            .clone()
    };
    let balance = line("eth_getBalance");
    for (field, value) in [("over", "ws"), ("socket", id.as_str()), ("provider", "beta"), ("chain", "ethereum")] {
        assert_eq!(balance[field], value, "{balance}");
    }
    assert_eq!((&balance["status"], &balance["attempts"]), (&200.into(), &2.into()), "{balance}");
    assert!(balance["request_id"] != id && balance["duration_ms"].as_f64().unwrap() > 0.0, "{balance}");
    assert_eq!(line("batch")["calls"], 2);
    assert_eq!(line("eth_sign")["attempts"], 0);
    let end = line("websocket");
    let expected = [("request_id", id.as_str().into()), ("end", "client".into()), ("code", 4000.into())];
    let counts = [("messages_in", 3.into()), ("messages", 3.into())];
    for (field, value) in expected.into_iter().chain(counts) {
        assert_eq!(end[field], serde_json::Value::clone(&value), "{field}: {end}");
    }
    assert!(end["bytes_in"].as_u64() > Some(200) && end["bytes"].as_u64() > Some(100), "{end}");
    let answer = node.ethereum(&call);
    let http = answer.field("x-livechain-request-id").unwrap();
    let line = eventually("the line over HTTP", || node.log().lines().find(|l| l.contains(http)).map(str::to_owned));
    assert!(line.contains("\"over\":\"http\"") && !line.contains("\"socket\""), "{line}");
}

#[test]
fn nothing_follows_our_goodbye() {
    let slow = Provider::start(|call| {
        let wait = if call.method() == "eth_getBalance" { 1_500 } else { 0 };
        Reply::result(call, "1").after(Duration::from_millis(wait))
    });
    let mut node = Setup::ethereum(&[&slow]).start();
    let mut socket = Socket::open(node.http, PATH);
    socket.text(&json::read());
    slow.wait_calls("eth_getBalance", 1);
    let other = Chain::new("base", 8453).provider("beta", &slow.url());
    node.reload(|setup| setup.chains(&[other]));
    let call = json::call("eth_getCode", "[]");
    eventually("the reload", || (node.post("/rpc/base", &call).status == 200).then_some(()));
    // Its chain is gone, and its first call still under way.
    assert_eq!(socket.text(&call).next().unwrap().code(), Some(1012));
    socket.frame(PING, true, b"still there?");
    assert!(socket.ends(), "no answer and no pong behind the close frame");
}

#[test]
fn open_sockets_and_their_ends_are_counted() {
    let provider = Provider::start(|call| {
        Reply::flood(call, 3_000_000).fault(support::Fault::Cut(support::reply::At::Body(1_000_000)))
    });
    let mut node = Setup::ethereum(&[&provider])
        .set("websocket", "message_bytes_max = \"1KiB\"")
        .set("websocket", "ping_after = \"2s\"")
        .set("websocket", "pong_timeout = \"2s\"")
        .start();
    let status = |node: &Node| -> [u64; 2] {
        [node.get("/api/status"), node.admin_get("/api/status")].map(|answer| {
            let status: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
            status["websockets"].as_u64().unwrap()
        })
    };
    assert_eq!(status(&node), [0, 0]);
    let held: Vec<Socket> = (0..5).map(|_| Socket::open(node.http, PATH)).collect();
    assert_eq!(status(&node), [5, 5], "of all shards, on either port");
    drop(held);
    eventually("them to have gone", || (status(&node) == [0, 0]).then_some(()));
    let ended = |node: &Node, end: &str| metric(node, "livechain_websockets_ended_total", &format!("end=\"{end}\""));
    assert_eq!(ended(&node, "lost"), 5);
    for (end, bytes) in [
        ("client", frame(CLOSE, true, b"\x03\xe8")),
        ("protocol", frame(3, true, b"")),
        ("too_large", frame(TEXT, true, &[b' '; 2_000])),
        ("policy", frame(PING, true, b"").repeat(1_000)),
        ("internal", frame(TEXT, true, json::read().as_bytes())),
        ("silent", Vec::new()),
    ] {
        let mut socket = Socket::open(node.http, PATH);
        socket.bytes(&bytes).closed();
        eventually(end, || (ended(&node, end) == 1).then_some(()));
    }
    let mut last = Socket::open(node.http, PATH);
    node.signal("TERM");
    // Its turn to leave may come later than a silent one's end would.
    assert_eq!(last.closed_alive(), Some(1001));
    drop(last);
    assert!(node.wait_end().success());
}
