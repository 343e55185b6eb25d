//! Clients that read slowly or wait for slow calls: they are heard all the same, and are told how it ends.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::blocks::{Blocks, Telling};
use support::reply::At;
use support::socket::{CLOSE, PING, PONG, Socket, TEXT, frame};
use support::{Chain, Fault, Node, Provider, Reply, Setup, eventually, json};

const PATH: &str = "/rpc/ethereum";

fn patient(provider: &Provider) -> Setup {
    Setup::ethereum(&[provider]).set("rpc.deadlines", "read = \"20s\"")
}

/// Waits until nothing more goes on: what is on the way is full, or all has been sent.
fn stands_still(what: &str, count: impl Fn() -> u64) -> u64 {
    let (mut last, mut same) = (0, 0);
    eventually(what, || {
        let now = count();
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
        std::thread::sleep(Duration::from_millis(20));
        (same > 25).then_some(now)
    })
}

/// Reads on, slower than its provider sends, until a frame of this kind comes; whether that was within the answer.
fn comes_within(socket: &mut Socket, opcode: u8) -> bool {
    loop {
        let frame = socket.next().expect("the connection goes on");
        if frame.opcode == opcode {
            return true;
        }
        if frame.last && frame.opcode < CLOSE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn who_reads_a_large_answer_slowly_is_heard_meanwhile() {
    // Packed, all of it is with the node at once: what it sends to the client never waits for the provider.
    let result = format!("\"{}\"", "a".repeat(40_000_000));
    let provider = Provider::start(move |call| match call.method().as_str() {
        "eth_getCode" => Reply::result(call, &result).gzip(),
        _ => Reply::result(call, "1"),
    });
    let node = patient(&provider).start();
    let mut socket = Socket::open(node.http, PATH);
    socket.text(&json::call("eth_getCode", "[]"));
    let first = socket.next().unwrap();
    assert!(!first.last, "{}", first.text());
    socket.frame(PING, true, b"still there?").text(&json::read());
    assert!(comes_within(&mut socket, PONG), "a pong stands within the answer");
    provider.wait_calls("eth_getBalance", 1);
    socket.frame(CLOSE, true, b"\x03\xe8");
    assert!(comes_within(&mut socket, CLOSE), "its goodbye is answered within the answer");
    assert!(socket.ends());
}

/// Answers each ping until the answer to a call comes; none: it was cut.
fn answer_alive(socket: &mut Socket) -> Option<String> {
    loop {
        let frame = socket.next()?;
        match frame.opcode {
            TEXT => return json::raw(&frame.payload, "result"),
            PING => _ = socket.frame(PONG, true, &frame.payload),
            _ => panic!("{frame:?}"),
        }
    }
}

/// Waits for slow calls, and not for silent clients.
fn impatient(provider: &Provider) -> Setup {
    patient(provider).set("websocket", "ping_after = \"300ms\"").set("websocket", "pong_timeout = \"1200ms\"")
}

#[test]
fn who_waits_for_slow_calls_is_not_silent() {
    let provider = Provider::start(|call| Reply::result(call, "1").after(Duration::from_millis(2_500)));
    let node = impatient(&provider).set("websocket", "calls_in_flight_max = 1").start();
    let mut socket = Socket::open(node.http, PATH);
    socket.bytes(&frame(TEXT, true, json::read().as_bytes()).repeat(3));
    for number in 1..=3 {
        assert_eq!(answer_alive(&mut socket).as_deref(), Some("1"), "answer {number}");
    }
    // Read again, it is found when it is gone.
    while let Some(frame) = socket.next() {
        assert_eq!(frame.opcode, PING);
    }
}

#[test]
fn who_waits_for_its_last_answer_from_a_closing_node_gets_it_and_a_goodbye() {
    let provider = Provider::start(|call| Reply::result(call, "1").after(Duration::from_secs(6)));
    let mut node = impatient(&provider).start();
    let mut socket = Socket::open(node.http, PATH);
    socket.text(&json::read());
    provider.wait_calls("eth_getBalance", 1);
    node.signal("TERM");
    assert_eq!(answer_alive(&mut socket).as_deref(), Some("1"));
    assert_eq!(socket.closed_alive(), Some(1001));
    drop(socket);
    assert!(node.wait_end().success());
}

/// Reads on and asks on until the close frame comes; its code, none where it was cut.
fn closed_asking(socket: &mut Socket) -> Option<u16> {
    for number in 0.. {
        if number % 8 == 0 {
            socket.text(&json::read());
        }
        let frame = socket.next()?;
        if frame.opcode == CLOSE {
            return frame.code();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

#[test]
fn who_reads_too_slowly_is_told_so_whatever_it_sends() {
    let provider = Provider::start(|call| Reply::result(call, &format!("\"{}\"", "x".repeat(60_000))));
    let node = Setup::ethereum(&[&provider])
        .set("websocket", "queued_bytes_max = \"256KiB\"")
        .set("http", "body_timeout = \"60s\"")
        .start();
    let mut slow = Socket::open(node.http, PATH);
    let calls = frame(TEXT, true, json::read().as_bytes()).repeat(3_000);
    slow.bytes(&calls);
    let asked = stands_still("no more calls to be asked", || provider.calls("eth_getBalance").len() as u64);
    assert!(asked < 3_000, "all were asked");
    assert_eq!(closed_asking(&mut slow), Some(1013));
    slow.frame(CLOSE, true, b"\x03\xf5");
    assert!(slow.ends());
}

#[test]
fn who_asked_on_behind_an_answer_that_is_cut_short_is_told_so() {
    let provider = Provider::start(|call| Reply::flood(call, 30_000_000).fault(Fault::Cut(At::Body(20_000_000))));
    let node = Setup::ethereum(&[&provider]).set("websocket", "calls_in_flight_max = 1").start();
    let mut socket = Socket::open(node.http, PATH);
    assert_eq!(closed_asking(&mut socket), Some(1011));
    socket.frame(CLOSE, true, b"\x03\xf3");
    assert!(socket.ends());
}

#[test]
fn a_subscription_that_has_begun_is_told_in_a_batch_that_is_full() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let ws_url = format!("ws_url = \"{}\"", alpha.ws_url());
    let chain = Chain::new("ethereum", 1).provider_with("alpha", &alpha.http.url(), &ws_url);
    let node: Node = Setup::new()
        .chain(chain)
        .set("rpc", "batch_bytes_max = \"64KiB\"")
        .set("rpc", "batch_in_flight_max = 1")
        .start();
    let mut socket = Socket::open(node.http, PATH);
    let call = |id: &str, method, params| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    // Its answer leaves room for ten bytes.
    let long = "a".repeat(64 * 1024 - 50);
    let batch = json!([
        call(&long, "eth_chainId", json!([])),
        call("subscribe", "eth_subscribe", json!(["newHeads"])),
        call("more", "eth_getBlockByNumber", json!(["latest", false])),
    ]);
    let (_, answer) = socket.text(&batch.to_string()).message();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer[0]["result"], "0x1");
    assert!(answer[2]["error"].is_object(), "it is full: {}", answer[2]);
    let block = blocks.mine(0);
    let told: Value = serde_json::from_slice(&socket.message().1).unwrap();
    assert_eq!(told["params"]["result"]["hash"], json!(block.hash));
    assert_eq!(told["params"]["subscription"], answer[1]["result"], "{}", answer[1]);
}
