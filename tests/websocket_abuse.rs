//! What hostile and broken WebSocket clients do: each gets its close code, nobody else notices, and nothing is left of them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::socket::{CLOSE, PING, PONG, Socket, TEXT, frame};
use support::{Node, Provider, Reply, Setup, eventually, json};

const PATH: &str = "/rpc/ethereum";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

fn node(provider: &Provider) -> Node {
    Setup::ethereum(&[provider])
        .set("websocket", "message_bytes_max = \"256KiB\"")
        .set("http", "head_timeout = \"500ms\"")
        .start()
}

/// A gauge of the node, over all its shards.
fn gauge(node: &Node, name: &str) -> u64 {
    let page = node.admin_get("/metrics").text();
    let lines = page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Waits until nothing of the clients before is left.
fn all_gone(node: &Node) {
    eventually("every WebSocket to be gone", || (gauge(node, "livechain_websockets") == 0).then_some(()));
    eventually("every connection to be gone", || (gauge(node, "livechain_connections") == 0).then_some(()));
}

/// A head in the frame's own words: `first` and `second` are its bytes, `rest` what follows, mask included.
fn raw(first: u8, second: u8, rest: &[u8]) -> Vec<u8> {
    [&[first, second][..], rest, &[0; 4]].concat()
}

#[test]
fn frames_that_break_a_rule_are_closed_with_its_code() {
    let provider = Provider::answering("1");
    let node = node(&provider);
    let two = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
    let nineteen = 0x13_u16.to_be_bytes();
    for (what, bytes, code) in [
        ("a message within a message", two(frame(TEXT, false, b"{"), frame(TEXT, true, b"}")), 1002),
        ("a reserved control opcode", frame(11, true, b""), 1002),
        ("a length in 16 bits that fits in 7", raw(0x81, 0xfe, &nineteen), 1002),
        ("a length in 64 bits that fits in 16", raw(0x81, 0xff, &0x13_u64.to_be_bytes()), 1002),
        ("a length of 64 bits", raw(0x81, 0xff, &u64::MAX.to_be_bytes()), 1002),
        ("a long pong that claims 64 bits", raw(0x8a, 0xff, &126_u64.to_be_bytes()), 1002),
        ("a close frame in fragments", frame(CLOSE, false, b"\x03\xe8"), 1002),
        ("a close frame of one byte", frame(CLOSE, true, b"\x03"), 1002),
        ("a goodbye that is not UTF-8", frame(CLOSE, true, b"\x03\xe8\xff"), 1007),
        ("an unmasked ping within a message", two(frame(TEXT, false, b"{"), b"\x89\x00".to_vec()), 1002),
        ("a reserved bit on a continuation", two(frame(TEXT, false, b"{"), raw(0xa0, 0x80, b"")), 1002),
    ] {
        let mut socket = Socket::open(node.http, PATH);
        assert_eq!(socket.bytes(&bytes).closed(), Some(code), "{what}");
        assert!(socket.ends(), "{what}");
    }
    all_gone(&node);
}

#[test]
fn text_is_checked_across_fragments_and_as_it_comes() {
    let provider = Provider::start(|call| Reply::result(call, &call.params()));
    let node = node(&provider);
    let call = json::call("eth_getBalance", "[\"é漢😀\"]").into_bytes();
    // However it is cut, good text is good.
    for cut in 0..call.len() {
        let (start, end) = call.split_at(cut);
        let fragments = [frame(TEXT, false, start), frame(PING, true, b""), frame(0, true, end)].concat();
        let (_, answer) = Socket::open(node.http, PATH).bytes(&fragments).message();
        assert_eq!(json::raw(&answer, "result").unwrap(), "[\"é漢😀\"]", "cut at {cut}");
    }
    // And bad text is found out before its message is whole: the last fragment never comes.
    for bad in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe6\xbc\""] {
        for cut in 0..bad.len() {
            let (start, end) = bad.split_at(cut);
            let mut socket = Socket::open(node.http, PATH);
            socket.bytes(&[frame(TEXT, false, start), frame(0, false, end)].concat());
            assert_eq!(socket.closed(), Some(1007), "{bad:x?} cut at {cut}");
        }
    }
    // A character that never ends.
    let cut_short = [frame(TEXT, false, b"{\"\xe6"), frame(0, true, b"\xbc")].concat();
    assert_eq!(Socket::open(node.http, PATH).bytes(&cut_short).closed(), Some(1007));
}

#[test]
fn endless_messages_end() {
    let provider = Provider::answering("1");
    let node = node(&provider);
    let flood = |first: &[u8], piece: &[u8]| -> Option<u16> {
        let mut socket = Socket::open(node.http, PATH);
        socket.bytes(first);
        // What is sent behind the close frame goes nowhere.
        socket.bytes(&piece.repeat(140_000)).closed()
    };
    assert_eq!(flood(&frame(TEXT, false, b""), &frame(0, false, b"")), Some(1008), "empty fragments");
    assert_eq!(flood(&frame(TEXT, false, b"["), &frame(0, false, b"        ")), Some(1009), "small fragments");
    assert_eq!(flood(&frame(TEXT, false, b"["), &frame(PONG, true, b"")), Some(1008), "pongs within a message");
    all_gone(&node);
    assert_eq!(Socket::open(node.http, PATH).call(&json::read()), "1");
}

#[test]
fn what_is_only_announced_takes_no_memory() {
    let provider = Provider::answering("1");
    let node = node(&provider);
    // The largest that is allowed, of which one byte comes.
    let announced = [&b"\x81\xff"[..], &(256_u64 * 1024).to_be_bytes(), &[0; 4], b"{"].concat();
    let mut first = Socket::open(node.http, PATH);
    first.bytes(&announced);
    let before = node.rss();
    let mut held: Vec<Socket> = (0..500).map(|_| Socket::open(node.http, PATH)).collect();
    for socket in &mut held {
        socket.bytes(&announced);
    }
    let grown = node.rss().saturating_sub(before) / 500;
    // 256 KiB each would be 128 MiB.
    assert!(grown < 24 * 1024, "{grown} bytes each");
    drop((first, held));
    all_gone(&node);
}

#[test]
fn a_large_message_leaves_no_large_buffer_with_its_connection() {
    let provider = Provider::answering("1");
    let node = node(&provider);
    let filler = " ".repeat(200_000);
    let call = json::call("eth_getBalance", &format!("[{filler}]"));
    let (start, end) = call.as_bytes().split_at(100_000);
    let fragments = [frame(TEXT, false, start), frame(0, true, end)].concat();
    // The beginning of a next one stays behind each.
    let whole = [frame(TEXT, true, call.as_bytes()), b"\x81".to_vec()].concat();
    let open = |count: usize| -> Vec<Socket> {
        let one = || {
            let mut socket = Socket::open(node.http, PATH);
            for bytes in [&fragments, &whole] {
                assert_eq!(json::raw(&socket.bytes(bytes).message().1, "result").unwrap(), "1");
            }
            socket
        };
        (0..count).map(|_| one()).collect()
    };
    drop(open(50));
    all_gone(&node);
    let before = node.rss();
    let held = open(300);
    let each = node.rss().saturating_sub(before) / 300;
    assert!(each < 40_000, "{each} bytes each");
    drop(held);
}

#[test]
fn who_breaks_off_anywhere_leaves_nothing_behind() {
    let provider = Provider::start(|call| Reply::result(call, "1").after(Duration::from_millis(300)));
    let node = node(&provider);
    let call = frame(TEXT, true, json::read().as_bytes());
    let descriptors = node.descriptors();
    let states: [(&str, Vec<u8>); 6] = [
        ("idle", Vec::new()),
        ("within a head", b"\x81".to_vec()),
        ("within a frame", call[..20].to_vec()),
        ("within a message", frame(TEXT, false, b"{")),
        ("with a call under way", call.clone()),
        ("with many calls under way", call.repeat(100)),
    ];
    let round = || {
        let mut held = Vec::new();
        for (_, bytes) in states.iter().cycle().take(120) {
            let mut socket = Socket::open(node.http, PATH);
            socket.bytes(bytes);
            held.push(socket);
        }
        // Half-open ones, too: a head that has begun and goes no further.
        let begun: Vec<TcpStream> = (0..20)
            .map(|_| {
                let mut stream = TcpStream::connect(node.http).unwrap();
                stream.write_all(b"GET /rpc/ethereum HTTP/1.1\r\nUpgrade: web").unwrap();
                stream
            })
            .collect();
        drop((held, begun));
        all_gone(&node);
        node.rss()
    };
    // What the shards keep for reuse comes first.
    for _ in 0..2 {
        round();
    }
    let (first, last) = (round(), round());
    assert!(last < first + 10_000_000, "{first}, then {last}");
    eventually("nothing to be under way", || (provider.in_flight() == 0).then_some(()));
    eventually("descriptors to be free", || {
        (node.descriptors() <= descriptors + usize::try_from(gauge(&node, "livechain_upstream_connections")).unwrap())
            .then_some(())
    });
    assert_eq!(Socket::open(node.http, PATH).call(&json::read()), "1");
}

#[test]
fn who_goes_silent_within_a_frame_is_pinged_and_cut() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider])
        .set("websocket", "ping_after = \"100ms\"")
        .set("websocket", "pong_timeout = \"300ms\"")
        .start();
    for bytes in [&b"\x81"[..], &frame(TEXT, true, b"{\"jsonrpc\":")[..12], &frame(TEXT, false, b"{")] {
        let mut socket = Socket::open(node.http, PATH);
        assert_eq!(socket.bytes(bytes).next().unwrap().opcode, PING);
        assert!(socket.ends(), "no close frame: nobody would read it");
    }
    all_gone(&node);
}

#[test]
fn slow_handshakes_are_cut_and_hold_up_nobody() {
    let provider = Provider::answering("1");
    let node = node(&provider);
    let start = Instant::now();
    let mut slow: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(node.http).unwrap();
            stream.write_all(b"GET /rpc/ethereum HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(Socket::open(node.http, PATH).call(&json::read()), "1");
    for stream in &mut slow {
        // A byte now and then does not help.
        let _ = stream.write_all(b"C");
        let mut answer = Vec::new();
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    }
    assert!(start.elapsed() >= Duration::from_millis(500), "not before its time");
    drop(slow);
    all_gone(&node);
}

#[test]
fn refusals_are_readable_whatever_the_client_has_sent_already() {
    let provider = Provider::answering("1");
    let node =
        Setup::ethereum(&[&provider]).set("shards", "cores = [0]").set("websocket", "connections_max = 1").start();
    let held = Socket::open(node.http, PATH);
    let upgrade = |line: &str, fields: &str| {
        format!("{line}\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n")
    };
    let body = format!("{KEY}Content-Length: 5\r\n");
    // More than is read with the head.
    let early = "what it could not wait to send ".repeat(5_000);
    let wrong: Vec<String> = [
        (upgrade("GET /rpc/ethereum HTTP/1.1", KEY), 503),
        (upgrade("GET /ws/rpc/ethereum HTTP/1.0", KEY), 426),
        (upgrade("GET /rpc/ethereum HTTP/1.1", &body) + "hello", 400),
        (upgrade("GET /rpc/provider/nobody/ethereum HTTP/1.1", KEY), 404),
        (upgrade("PUT /rpc/ethereum HTTP/1.1", KEY), 405),
        (upgrade("POST /ws/rpc/ethereum HTTP/1.1", KEY), 405),
        (upgrade("GET /api/health HTTP/1.1", KEY), 200),
    ]
    .into_iter()
    .filter_map(|(request, status)| {
        let request = if status == 503 { request + &early } else { request };
        let socket = Socket::send_head(TcpStream::connect(node.http).unwrap(), &request);
        let right = socket.head.starts_with(&format!("HTTP/1.1 {status} "));
        (!right).then(|| format!("{status} for {}: {}", request.lines().next().unwrap(), socket.head))
    })
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(held);
    all_gone(&node);
}

#[test]
fn nothing_is_heard_behind_a_goodbye() {
    let provider = Provider::answering("1");
    let node = node(&provider);
    let mut socket = Socket::open(node.http, PATH);
    let behind =
        [frame(CLOSE, true, b"\x03\xe8"), frame(PING, true, b"late"), frame(TEXT, true, json::read().as_bytes())];
    assert_eq!(socket.bytes(&behind.concat()).closed(), Some(1000));
    assert!(socket.ends(), "no pong and no answer behind the close frame");
    assert_eq!(provider.calls("eth_getBalance").len(), 0, "what came behind it was not asked");
}

#[test]
fn who_never_reads_is_cut_whatever_it_sends() {
    let provider = Provider::start(|call| Reply::flood(call, 20_000_000));
    let node = Setup::ethereum(&[&provider]).set("http", "body_timeout = \"500ms\"").start();
    let round = || {
        let deaf: Vec<Socket> = (0..20)
            .map(|_| {
                let mut socket = Socket::open(node.http, PATH);
                // One answer streams, others wait behind it; a ping now and then does not count as reading.
                socket.bytes(&frame(TEXT, true, json::read().as_bytes()).repeat(10)).frame(PING, true, b"");
                socket
            })
            .collect();
        eventually("all of them to be cut", || (gauge(&node, "livechain_websockets") == 0).then_some(()));
        drop(deaf);
        all_gone(&node);
        node.rss()
    };
    let (before, first) = (node.rss(), round());
    // 4 GB were asked for. Each call that waits holds what its provider has sent ahead.
    assert!(first < before + 200 * 1024 * 1024, "{before}, then {first}");
    // What leaks, leaks each time; what the allocator keeps, it uses again.
    let (mut most, mut all) = (first, vec![first]);
    let settles = (0..4).any(|_| {
        let now = round();
        let grown = now.saturating_sub(most);
        most = most.max(now);
        all.push(now);
        grown < 40_000_000
    });
    assert!(settles, "{all:?}");
}
