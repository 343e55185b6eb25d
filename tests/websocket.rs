//! Calls over WebSocket: the handshake, messages and their answers, and what a client may not do.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::TcpStream;
use std::time::Duration;

use support::reply::At;
use support::socket::{BINARY, CLOSE, PING, PONG, Socket, TEXT, frame};
use support::{Chain, Fault, Node, Provider, Reply, Setup, eventually, json};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn echoing() -> Provider {
    Provider::start(|call| Reply::result(call, &call.params()))
}

fn node(provider: &Provider) -> Node {
    Setup::ethereum(&[provider]).start()
}

#[test]
fn every_path_of_calls_can_be_upgraded() {
    let provider = Provider::answering("\"0x1\"");
    let node = node(&provider);
    for path in ["/", "/rpc/ethereum", "/rpc/1", "/rpc/fastest/ethereum", "/rpc/provider/alpha/ethereum"] {
        assert_eq!(Socket::open(node.http, path).call(&json::read()), "\"0x1\"", "{path}");
    }
    for path in ["/ws/rpc/ethereum", "/ws/rpc/priority/1", "/ws/rpc/provider/alpha/ethereum"] {
        assert_eq!(Socket::open(node.http, path).call(&json::read()), "\"0x1\"", "{path}");
    }
}

#[test]
fn a_request_that_is_no_upgrade_is_told_what_it_lacks() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider]).set("websocket", "origins = [\"https://app.example\"]").start();

    let upgrade = |fields: &str| {
        format!("GET /ws/rpc/ethereum HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n")
    };
    let plain = "GET /ws/rpc/ethereum HTTP/1.1\r\nHost: x\r\n\r\n".to_owned();
    let wrong: Vec<String> = [
        (plain, 426, "Upgrade: websocket\r\n"),
        (upgrade("Sec-WebSocket-Version: 13\r\n"), 400, ""),
        (upgrade("Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n"), 400, ""),
        (upgrade(KEY), 400, ""),
        (upgrade(&format!("{KEY}Sec-WebSocket-Version: 8\r\n")), 426, "Sec-WebSocket-Version: 13\r\n"),
        (upgrade(&format!("{KEY}Sec-WebSocket-Version: 13\r\nOrigin: https://evil.example\r\n")), 403, ""),
        (upgrade(&format!("{KEY}Sec-WebSocket-Version: 13\r\nOrigin: https://app.example\r\n")), 101, ""),
        (upgrade(&format!("{KEY}Sec-WebSocket-Version: 13\r\n")), 101, ""),
    ]
    .into_iter()
    .filter_map(|(request, status, field)| {
        let socket = Socket::send_head(TcpStream::connect(node.http).unwrap(), &request);
        let right = socket.head.starts_with(&format!("HTTP/1.1 {status} ")) && socket.head.contains(field);
        (!right).then(|| format!("{request}: {}", socket.head))
    })
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unknown = Socket::ask(node.http, "/ws/rpc/nowhere", "");
    assert!(unknown.head.starts_with("HTTP/1.1 404 "), "{}", unknown.head);
    assert_eq!(node.post("/ws/rpc/ethereum", &json::read()).status, 405);
}

#[test]
fn subprotocols_are_agreed_on_where_they_are_known() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider]).set("websocket", "protocols = [\"json-rpc\"]").start();
    let known = Socket::ask(node.http, "/rpc/ethereum", "Sec-WebSocket-Protocol: other, json-rpc\r\n");
    assert!(known.head.contains("Sec-WebSocket-Protocol: json-rpc\r\n"), "{}", known.head);
    let unknown = Socket::ask(node.http, "/rpc/ethereum", "Sec-WebSocket-Protocol: other\r\n");
    assert!(
        unknown.head.starts_with("HTTP/1.1 101 ") && !unknown.head.contains("Sec-WebSocket-Protocol"),
        "{}",
        unknown.head
    );
}

#[test]
fn answers_bear_their_calls_ids_and_come_as_they_are_ready() {
    let provider = Provider::start(|call| {
        let slow = call.method() == "eth_call";
        Reply::result(call, "\"0x1\"").after(Duration::from_millis(if slow { 1500 } else { 0 }))
    });
    let node = node(&provider);
    let mut socket = Socket::open(node.http, "/rpc/ethereum");
    let slow = r#"{"jsonrpc":"2.0","id":"slow one","method":"eth_call","params":[{},"latest"]}"#;
    let quick = r#"{"jsonrpc":"2.0","id": 12345678901234567890,"method":"eth_getBalance","params":[]}"#;
    socket.text(slow).text(quick);
    let ids: Vec<_> = (0..2).map(|_| json::raw(&socket.message().1, "id").unwrap()).collect();
    assert_eq!(ids, ["12345678901234567890", "\"slow one\""]);
}

#[test]
fn binary_messages_batches_notifications_fragments_and_local_answers() {
    let provider = echoing();
    let node = node(&provider);
    let mut socket = Socket::open(node.http, "/rpc/ethereum");
    let call = json::call("eth_getBalance", "[\"0xaa\",\"latest\"]");
    assert_eq!(socket.frame(BINARY, true, call.as_bytes()).message().0, BINARY, "answered in kind");
    let (opcode, batch) = socket.text(&format!("[{call},{call}]")).message();
    assert_eq!((opcode, json::items(&batch).len()), (TEXT, 2));
    // A notification is sent on and not answered; the next answer is the next call's.
    socket.text(r#"{"jsonrpc":"2.0","method":"eth_getCode","params":[]}"#);
    provider.wait_calls("eth_getCode", 1);
    let (first, rest) = call.split_at(20);
    socket.frame(TEXT, false, first.as_bytes()).frame(PING, true, b"still there?");
    socket.frame(0, true, rest.as_bytes());
    let pong = socket.next().unwrap();
    assert_eq!((pong.opcode, pong.text().as_str()), (PONG, "still there?"));
    assert_eq!(json::raw(&socket.message().1, "result").unwrap(), "[\"0xaa\",\"latest\"]");
    assert_eq!(socket.call(&json::call("eth_chainId", "[]")), "\"0x1\"");
    // What is no call is told so, and the connection goes on.
    for (text, code) in [("{", -32700), ("[]", -32600), (r#"{"id":7}"#, -32600)] {
        let (_, answer) = socket.text(text).message();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["error"]["code"], code, "{text}");
    }
    assert_eq!(socket.call(&json::call("eth_chainId", "[]")), "\"0x1\"");
}

#[test]
fn a_call_fails_over_as_over_http() {
    let (bad, good) = (Provider::start(|_| Reply::status(502, "")), Provider::answering("\"good\""));
    let node = Setup::ethereum(&[&bad, &good]).start();
    let mut socket = Socket::open(node.http, "/rpc/ethereum");
    assert_eq!(socket.call(&json::read()), "\"good\"");
    good.down();
    let (_, answer) = socket.text(&json::read()).message();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["error"]["code"], -32002, "{answer}");
}

#[test]
fn large_answers_come_in_fragments_and_others_wait_behind_them() {
    let bytes = 3_000_000;
    let provider = Provider::start(move |call| match call.method().as_str() {
        "eth_getLogs" => Reply::flood(call, bytes),
        _ => Reply::result(call, "1"),
    });
    let node = node(&provider);
    let mut socket = Socket::open(node.http, "/rpc/ethereum");
    socket.text(&json::call("eth_getLogs", "[{}]")).text(&json::read());
    let mut lengths: Vec<_> = (0..2).map(|_| socket.message().1.len()).collect();
    lengths.sort_unstable();
    assert!(lengths[0] < 100 && lengths[1] > usize::try_from(bytes).unwrap(), "{lengths:?}");
    assert_eq!(socket.call(&json::read()), "1", "the connection goes on");
}

#[test]
fn an_answer_that_is_cut_short_ends_the_connection() {
    let provider = Provider::start(|call| Reply::flood(call, 3_000_000).fault(Fault::Cut(At::Body(1_000_000))));
    let node = node(&provider);
    let mut socket = Socket::open(node.http, "/rpc/ethereum");
    assert_eq!(socket.text(&json::read()).closed(), Some(1011));
    assert!(socket.ends());
}

#[test]
fn what_breaks_a_rule_is_closed_with_its_code() {
    let provider = echoing();
    let node = Setup::ethereum(&[&provider]).set("websocket", "message_bytes_max = \"64KiB\"").start();
    let unmasked = b"\x81\x02{}".to_vec();
    let reserved = b"\xc1\x80\x00\x00\x00\x00".to_vec();
    let large = frame(TEXT, true, &vec![b' '; 70_000]);
    let mut fragments = frame(TEXT, false, &vec![b' '; 40_000]);
    fragments.extend(frame(0, true, &vec![b' '; 40_000]));
    let huge = [&b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff"[..], &[0; 4]].concat();
    let pings = frame(PING, true, b"x").repeat(2000);
    for (what, bytes, code) in [
        ("unmasked", unmasked, 1002),
        ("a reserved bit", reserved, 1002),
        ("a reserved opcode", frame(3, true, b""), 1002),
        ("a continuation of nothing", frame(0, true, b"x"), 1002),
        ("a long ping", frame(PING, true, &[0; 126]), 1002),
        ("a ping in fragments", frame(PING, false, b""), 1002),
        ("not UTF-8", frame(TEXT, true, b"{\"\xff\"}"), 1007),
        ("too large", large, 1009),
        ("too large in fragments", fragments, 1009),
        ("a length of 63 bits", huge, 1009),
        ("a close code that may not be", frame(CLOSE, true, b"\x03\xed"), 1002),
        ("a flood of pings", pings, 1008),
    ] {
        let mut socket = Socket::open(node.http, "/rpc/ethereum");
        assert_eq!(socket.bytes(&bytes).closed(), Some(code), "{what}");
        assert!(socket.ends(), "{what}");
    }
    assert_eq!(
        Socket::open(node.http, "/rpc/ethereum").call(&json::read()),
        json::raw(json::read().as_bytes(), "params").unwrap()
    );
}

#[test]
fn a_goodbye_is_answered_with_its_own_code() {
    let provider = echoing();
    let node = node(&provider);
    for (payload, code) in [(&b"\x03\xe8bye"[..], Some(1000)), (b"", None)] {
        let mut socket = Socket::open(node.http, "/rpc/ethereum");
        let answer = socket.frame(CLOSE, true, payload).next().unwrap();
        assert_eq!((answer.opcode, answer.code()), (CLOSE, code));
        assert!(socket.ends());
    }
}

#[test]
fn a_silent_client_is_pinged_and_one_that_stays_silent_is_cut() {
    let provider = echoing();
    let node = Setup::ethereum(&[&provider])
        .set("websocket", "ping_after = \"100ms\"")
        .set("websocket", "pong_timeout = \"2s\"")
        .start();
    let mut there = Socket::open(node.http, "/rpc/ethereum");
    for _ in 0..3 {
        assert_eq!(there.next().unwrap().opcode, PING);
        there.frame(PONG, true, b"");
    }
    let mut gone = Socket::open(node.http, "/rpc/ethereum");
    assert_eq!(gone.next().unwrap().opcode, PING);
    assert!(gone.ends(), "no close frame: nobody would read it");
}

#[test]
fn calls_beyond_the_limit_wait_and_none_is_lost() {
    let provider = Provider::start(|call| Reply::result(call, &call.id()).after(Duration::from_millis(30)));
    let node = Setup::ethereum(&[&provider]).set("websocket", "calls_in_flight_max = 4").start();
    let mut socket = Socket::open(node.http, "/rpc/ethereum");
    let calls: Vec<u8> = (1..=40)
        .flat_map(|id| frame(TEXT, true, json::read().replacen("\"id\":1", &format!("\"id\":{id}"), 1).as_bytes()))
        .collect();
    socket.bytes(&calls);
    let mut ids: Vec<u32> =
        (0..40).map(|_| json::raw(&socket.message().1, "result").unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=40).collect::<Vec<_>>());
    assert!(provider.in_flight_peak() <= 4, "{}", provider.in_flight_peak());
}

#[test]
fn one_that_does_not_read_is_closed_and_costs_little() {
    let provider = Provider::start(|call| Reply::result(call, &format!("\"{}\"", "x".repeat(60_000))));
    let node = Setup::ethereum(&[&provider])
        .set("websocket", "queued_bytes_max = \"256KiB\"")
        .set("http", "body_timeout = \"1s\"")
        .start();
    let before = node.rss();
    let mut slow = Socket::open(node.http, "/rpc/ethereum");
    let calls: Vec<u8> = frame(TEXT, true, json::read().as_bytes()).repeat(2000);
    slow.bytes(&calls);
    let open = || {
        let page = node.admin_get("/metrics").text();
        let sockets = page.lines().filter(|line| line.starts_with("livechain_websockets{"));
        sockets.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    eventually("the slow client to be closed", || (open() == 0).then_some(()));
    let grown = node.rss().saturating_sub(before);
    assert!(grown < 40_000_000, "{grown}");
}

#[test]
fn a_closing_node_answers_what_it_was_asked_and_says_goodbye() {
    let provider = Provider::start(|call| Reply::result(call, "1").after(Duration::from_millis(700)));
    let mut node = node(&provider);
    let mut idle = Socket::open(node.http, "/rpc/ethereum");
    let mut asking = Socket::open(node.http, "/rpc/ethereum");
    asking.text(&json::read());
    provider.wait_calls("eth_getBalance", 1);
    node.signal("TERM");
    assert_eq!(json::raw(&asking.message().1, "result").unwrap(), "1");
    for socket in [&mut idle, &mut asking] {
        assert_eq!(socket.closed(), Some(1001));
        socket.frame(CLOSE, true, b"\x03\xe9");
        assert!(socket.ends());
    }
    assert!(node.wait_end().success());
}

#[test]
fn a_session_follows_a_reload() {
    let (first, second) = (Provider::answering("1"), Provider::answering("2"));
    let mut node = node(&first);
    let mut socket = Socket::open(node.http, "/rpc/ethereum");
    assert_eq!(socket.call(&json::read()), "1");
    let chain = Chain::new("ethereum", 1).provider("beta", &second.url());
    node.reload(|setup| setup.chains(&[chain]));
    eventually("the reload", || (socket.call(&json::read()) == "2").then_some(()));
    let other = Chain::new("base", 8453).provider("beta", &second.url());
    node.reload(|setup| setup.chains(&[other]));
    eventually("the reload", || (node.post("/rpc/base", &json::read()).status == 200).then_some(()));
    assert_eq!(socket.text(&json::read()).closed(), Some(1012), "its chain is gone");
}
