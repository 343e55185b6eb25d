//! The HTTP server towards clients: what it refuses, and what it must take.
//!
//! Everything is sent as exact bytes over a connection of its own. A refusal must come with the right status, a
//! JSON-RPC error body and the end of the connection, and no provider may have heard of the call.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::time::{Duration, Instant};

use support::client::{request, request_with};
use support::node::{NODE_ID, REGION};
use support::{Answer, Chain, Client, Node, Provider, Reply, Setup, json};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xaa","latest"]}"#;

/// A node before one honest provider.
fn start() -> (Node, Provider) {
    let provider = Provider::answering("\"0x1\"");
    (Setup::ethereum(&[&provider]).start(), provider)
}

/// A request with these fields beside `Host`, and the usual call as its body.
fn with_fields(fields: &str) -> Vec<u8> {
    format!("POST /rpc/ethereum HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{CALL}").into_bytes()
}

/// A request with these bytes after a head that announces chunks.
fn with_chunks(chunks: &str) -> Vec<u8> {
    format!("POST /rpc/ethereum HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").into_bytes()
}

/// A request whose `Host` lines are these.
fn with_host(host: &str) -> Vec<u8> {
    format!("POST /rpc/ethereum HTTP/1.1\r\n{host}Content-Length: {}\r\n\r\n{CALL}", CALL.len()).into_bytes()
}

/// A request with this line in the place of the first.
fn with_line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{CALL}", CALL.len()).into_bytes()
}

/// Sends every request on its own connection and expects a refusal.
fn check_refused(cases: Vec<(&str, Vec<u8>)>) {
    let (node, provider) = start();
    let mut wrong = Vec::new();
    for (name, bytes) in cases {
        let mut client = node.connect();
        let outcome = client.send(&bytes).finish().try_answer();
        match outcome {
            Ok(Some(answer)) if answer.status == 400 => {
                assert_eq!(answer.own_error(), -32600, "{name}: {}", answer.text());
                assert_eq!(answer.raw("id").as_deref(), Some("null"), "{name}");
                assert_eq!(answer.field("connection").map(str::to_ascii_lowercase).as_deref(), Some("close"), "{name}");
                assert!(client.closes(), "{name}: the connection stays open");
            }
            Ok(Some(answer)) => {
                wrong.push(format!("{name}: {} {}", answer.head.line, answer.text()));
            }
            other => wrong.push(format!("{name}: {:?}", other.map(|_| "no answer"))),
        }
    }
    assert!(wrong.is_empty(), "not refused with 400:\n{}", wrong.join("\n"));
    assert_eq!(provider.calls("eth_getBalance").len(), 0, "a refused call reached the provider");
    assert_eq!(node.ethereum(CALL).result(), "\"0x1\"");
}

#[test]
fn framing_that_can_be_read_in_two_ways_is_refused() {
    let n = CALL.len();
    let chunked = "Transfer-Encoding: chunked\r\n";
    check_refused(vec![
        ("both length and chunked", with_fields(&format!("Content-Length: {n}\r\n{chunked}"))),
        ("both chunked and length", with_fields(&format!("{chunked}Content-Length: {n}\r\n"))),
        ("two lengths that differ", with_fields(&format!("Content-Length: {n}\r\nContent-Length: 1\r\n"))),
        ("a list of lengths that differ", with_fields(&format!("Content-Length: {n}, 1\r\n"))),
        ("a length with a sign", with_fields(&format!("Content-Length: +{n}\r\n"))),
        ("a negative length", with_fields("Content-Length: -1\r\n")),
        ("a hexadecimal length", with_fields("Content-Length: 0x4d\r\n")),
        ("a length with letters", with_fields(&format!("Content-Length: {n}a\r\n"))),
        ("a length with a space in it", with_fields("Content-Length: 7 7\r\n")),
        ("an empty length", with_fields("Content-Length: \r\n")),
        ("a length beyond 64 bits", with_fields("Content-Length: 99999999999999999999999\r\n")),
        ("gzip as a transfer coding", with_fields("Transfer-Encoding: gzip\r\n")),
        ("gzip and chunked", with_fields("Transfer-Encoding: gzip, chunked\r\n")),
        ("chunked twice in a field", with_fields("Transfer-Encoding: chunked, chunked\r\n")),
        ("chunked in two fields", with_fields(&format!("{chunked}{chunked}"))),
        ("chunked and identity", with_fields(&format!("{chunked}Transfer-Encoding: identity\r\n"))),
        ("identity", with_fields("Transfer-Encoding: identity\r\n")),
        ("a word that begins with chunked", with_fields("Transfer-Encoding: chunkedx\r\n")),
        ("an empty transfer coding", with_fields("Transfer-Encoding: \r\n")),
        ("chunked with a vertical tab", with_fields("Transfer-Encoding: \x0bchunked\r\n")),
        (
            "chunked in HTTP/1.0",
            b"POST /rpc/ethereum HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n"
                .to_vec(),
        ),
    ]);
}

#[test]
fn malformed_heads_are_refused() {
    let length = format!("Content-Length: {}\r\n", CALL.len());
    check_refused(vec![
        ("obs-fold with a space", with_fields(&format!("X-A: b\r\n c\r\n{length}"))),
        ("obs-fold with a tab", with_fields(&format!("X-A: b\r\n\tc\r\n{length}"))),
        ("obs-fold before the first field", with_host(" X: y\r\nHost: localhost\r\n")),
        ("bare LF in a field's line", with_fields(&format!("X-A: b\n{length}"))),
        ("bare LF in the request line", with_host("Host: localhost\r\n").replacen_first(b"1.1\r\n", b"1.1\n")),
        ("bare LF at the end of the head", with_fields(&length).replacen_first(b"\r\n\r\n", b"\r\n\n")),
        ("bare CR in a value", with_fields(&format!("X-A: b\rc\r\n{length}"))),
        ("bare CR at a line's end", with_fields(&format!("X-A: b\r{length}"))),
        ("NUL in a value", with_fields(&format!("X-A: b\0c\r\n{length}"))),
        ("NUL in a name", with_fields(&format!("X-\0A: b\r\n{length}"))),
        ("NUL in the target", with_line("POST /rpc/ethereum\0 HTTP/1.1")),
        ("a control character in a value", with_fields(&format!("X-A: b\x07c\r\n{length}"))),
        ("a space before the colon", with_fields(&format!("X-A : b\r\n{length}"))),
        ("a tab before the colon", with_fields(&format!("X-A\t: b\r\n{length}"))),
        ("a space before the length's colon", with_fields(&length.replace(':', " :"))),
        ("a space in a name", with_fields(&format!("X A: b\r\n{length}"))),
        ("an empty name", with_fields(&format!(": b\r\n{length}"))),
        ("a line without a colon", with_fields(&format!("X-A\r\n{length}"))),
        ("a name that is no token", with_fields(&format!("X(A): b\r\n{length}"))),
    ]);
}

#[test]
fn malformed_request_lines_are_refused() {
    check_refused(vec![
        ("two spaces in the request line", with_line("POST  /rpc/ethereum HTTP/1.1")),
        ("two spaces before the version", with_line("POST /rpc/ethereum  HTTP/1.1")),
        ("a request line without a version", with_line("POST /rpc/ethereum")),
        ("HTTP/2.0 in text", with_line("POST /rpc/ethereum HTTP/2.0")),
        ("HTTP/1.11", with_line("POST /rpc/ethereum HTTP/1.11")),
        ("a lower-case version", with_line("POST /rpc/ethereum http/1.1")),
        ("a method that is no token", with_line("PO(ST /rpc/ethereum HTTP/1.1")),
        ("a target without a slash", with_line("POST rpc/ethereum HTTP/1.1")),
        ("bytes that are no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdef\r\n\r\n".to_vec()),
    ]);
}

#[test]
fn a_host_must_stand_exactly_once_and_be_one() {
    check_refused(vec![
        ("no host", with_host("")),
        ("two hosts", with_host("Host: a\r\nHost: b\r\n")),
        ("the same host twice", with_host("Host: a\r\nHost: a\r\n")),
        ("a space in the host", with_host("Host: a b\r\n")),
        ("a slash in the host", with_host("Host: a/b\r\n")),
        ("an at sign in the host", with_host("Host: u@a\r\n")),
        ("a comma in the host", with_host("Host: a,b\r\n")),
        ("a port that is no number", with_host("Host: a:b\r\n")),
        ("a port too large", with_host("Host: a:65536\r\n")),
        ("two ports", with_host("Host: a:1:2\r\n")),
        ("an open bracket", with_host("Host: [::1\r\n")),
    ]);
}

#[test]
fn malformed_chunks_are_refused() {
    let n = CALL.len();
    check_refused(vec![
        ("a size that is no number", with_chunks(&format!("xyz\r\n{CALL}\r\n0\r\n\r\n"))),
        ("an empty size", with_chunks(&format!("\r\n{CALL}\r\n0\r\n\r\n"))),
        ("a negative size", with_chunks(&format!("-{n:x}\r\n{CALL}\r\n0\r\n\r\n"))),
        ("a size with a plus", with_chunks(&format!("+{n:x}\r\n{CALL}\r\n0\r\n\r\n"))),
        ("a size with 0x", with_chunks(&format!("0x{n:x}\r\n{CALL}\r\n0\r\n\r\n"))),
        ("a size beyond 64 bits", with_chunks(&format!("fffffffffffffffff\r\n{CALL}\r\n0\r\n\r\n"))),
        ("a bare LF behind the size", with_chunks(&format!("{n:x}\n{CALL}\r\n0\r\n\r\n"))),
        ("a bare CR behind the size", with_chunks(&format!("{n:x}\r{CALL}\r\n0\r\n\r\n"))),
        ("a bare LF behind the data", with_chunks(&format!("{n:x}\r\n{CALL}\n0\r\n\r\n"))),
        ("data longer than its size", with_chunks(&format!("{:x}\r\n{CALL}\r\n0\r\n\r\n", n - 1))),
        ("a bare LF in an extension", with_chunks(&format!("{n:x};a\nb\r\n{CALL}\r\n0\r\n\r\n"))),
        ("a bare LF behind the last chunk", with_chunks(&format!("{n:x}\r\n{CALL}\r\n0\n\r\n"))),
        ("a trailer without a colon", with_chunks(&format!("{n:x}\r\n{CALL}\r\n0\r\nnonsense\r\n\r\n"))),
        ("a trailer with a bare LF", with_chunks(&format!("{n:x}\r\n{CALL}\r\n0\r\nA: b\n\r\n"))),
    ]);
}

#[test]
fn a_head_has_limits() {
    let (node, _provider) = start();
    let length = format!("Content-Length: {}\r\n", CALL.len());
    let cases = [
        ("17 KiB of one field", with_fields(&format!("X-A: {}\r\n{length}", "a".repeat(17 * 1024)))),
        ("17 KiB of target", with_line(&format!("POST /rpc/ethereum?{} HTTP/1.1", "a".repeat(17 * 1024)))),
        ("a head without an end", vec![b'A'; 20 * 1024]),
        ("101 more fields", with_fields(&format!("{}{length}", "X-A: b\r\n".repeat(101)))),
    ];
    for (name, bytes) in cases {
        let mut client = node.connect();
        let answer = client.send(&bytes).answer();
        assert!([400, 431].contains(&answer.status), "{name}: {}", answer.head.line);
        assert_eq!(answer.own_error(), -32600, "{name}");
        assert!(client.closes(), "{name}");
    }
    let large = with_fields(&format!("X-A: {}\r\n{}{length}", "a".repeat(15 * 1024), "X-B: c\r\n".repeat(90)));
    assert_eq!(node.connect().send(large).answer().result(), "\"0x1\"", "15 KiB and 92 fields are within the limits");
}

#[test]
fn a_body_too_large_is_refused_early_however_it_comes() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider]).set("http", "body_bytes_max = \"64KiB\"").start();
    let chunk = format!("2000\r\n{}\r\n", "a".repeat(0x2000));
    let cases = [
        ("announced", with_fields("Content-Length: 65537\r\n")),
        ("announced as huge", with_fields("Content-Length: 18446744073709551615\r\n")),
        ("announced and expecting", with_fields("Content-Length: 65537\r\nExpect: 100-continue\r\n")),
        ("in chunks", with_chunks(&chunk.repeat(9))),
        ("as one chunk", with_chunks("fffffff\r\n")),
    ];
    for (name, bytes) in cases {
        let mut client = node.connect();
        let answer = client.send(&bytes).answer();
        assert_eq!((answer.status, answer.own_error()), (413, -32054), "{name}");
        assert!(client.closes(), "{name}");
    }
    assert!(provider.calls("eth_getBalance").is_empty());
    let padded = format!("{}{CALL}", " ".repeat(65_536 - CALL.len()));
    assert_eq!(node.ethereum(&padded).result(), "1", "exactly 64 KiB are within the limit");
}

#[test]
fn slow_clients_are_cut() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider])
        .set("http", "head_timeout = \"300ms\"")
        .set("http", "body_timeout = \"300ms\"")
        .set("http", "idle_timeout = \"600ms\"")
        .start();
    let mut head = node.connect();
    let start = Instant::now();
    let answer = head.send("POST /rpc/ethereum HTTP/1.1\r\nHo").answer();
    assert_eq!((answer.status, answer.own_error()), (408, -32053));
    assert!(start.elapsed() >= Duration::from_millis(250), "cut after {:?}", start.elapsed());
    assert!(head.closes());

    let mut body = node.connect();
    let answer = body.send(with_fields("Content-Length: 5000\r\n")).answer();
    assert_eq!((answer.status, answer.own_error()), (408, -32053));
    assert!(body.closes());

    let mut idle = node.connect();
    idle.post("/rpc/ethereum", CALL).answer();
    let start = Instant::now();
    assert!(idle.closes(), "an idle connection ends without a word");
    assert!(start.elapsed() >= Duration::from_millis(450), "closed after {:?}", start.elapsed());
    let mut silent = node.connect();
    assert!(silent.closes(), "a connection that never says anything ends without a word");
}

#[test]
fn a_head_that_drips_is_cut_and_a_body_that_drips_is_not() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider])
        .set("http", "head_timeout = \"400ms\"")
        .set("http", "body_timeout = \"400ms\"")
        .start();
    let bytes = request("/rpc/ethereum", CALL).into_bytes();
    let head = bytes.len() - CALL.len();
    let mut client = node.connect();
    let start = Instant::now();
    // A pace that both timeouts would allow, for longer than either.
    for byte in &bytes[..head] {
        client.send([*byte]);
        if !client.quiet_for(Duration::from_millis(40)) {
            break;
        }
    }
    assert_eq!(client.answer().status, 408);
    assert!(start.elapsed() < Duration::from_secs(3), "cut after {:?}", start.elapsed());

    let mut client = node.connect();
    client.send(&bytes[..head]);
    for piece in bytes[head..].chunks(8) {
        client.send(piece);
        if !client.quiet_for(Duration::from_millis(100)) {
            break;
        }
    }
    assert_eq!(client.answer().result(), "1");
}

#[test]
fn paths_and_methods_that_are_none_are_refused_and_the_connection_lives() {
    let (node, provider) = start();
    let mut client = node.connect();
    let not_found = [
        "/rpc",
        "/rpc/",
        "/rpc/nochain",
        "/rpc/2",
        "/rpc/ethereum/x",
        "/rpc/slowest/ethereum",
        "/rpc/fastest/nochain",
        "/rpc/provider/nobody/ethereum",
        "/rpc/provider/alpha/nochain",
        "/v2/rpc/ethereum",
        "/api/nothing",
        "/RPC/ethereum",
        "/rpc/../rpc/ethereum",
        "//rpc/ethereum",
        "/rpc/ethereum%00",
    ];
    for path in not_found {
        let answer = client.post(path, CALL).answer();
        assert_eq!((answer.status, answer.own_error()), (404, -32051), "{path}");
        assert_eq!(answer.raw("id").as_deref(), Some("1"), "{path}: {}", answer.text());
    }
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let answer = client.send(format!("{method} /rpc/ethereum HTTP/1.1\r\nHost: a\r\n\r\n")).answer();
        assert_eq!((answer.status, answer.own_error()), (405, -32052), "{method}");
        let allow = answer.field("allow").unwrap_or_default().to_owned();
        assert!(allow.contains("POST"), "{method}: Allow: {allow}");
    }
    let answer = client.post("/api/health", CALL).answer();
    assert_eq!((answer.status, answer.own_error()), (405, -32052));
    assert_eq!(client.post("/rpc/ethereum", CALL).answer().result(), "\"0x1\"", "the same connection goes on");
    assert_eq!(provider.calls("eth_getBalance").len(), 1);
}

#[test]
fn every_spelling_of_a_path_leads_to_the_chain() {
    let (node, provider) = start();
    let paths = [
        "/rpc/ethereum",
        "/rpc/1",
        "/",
        "/rpc/fastest/ethereum",
        "/rpc/latency-weighted/ethereum",
        "/rpc/load-balanced/1",
        "/rpc/round-robin/ethereum",
        "/rpc/priority/ethereum",
        "/rpc/provider/alpha/ethereum",
        "/rpc/provider/alpha/1",
        "/rpc/ethereum?x=y",
        "http://somewhere.example/rpc/ethereum",
        "http://somewhere.example:80/rpc/1?x",
    ];
    let mut client = node.connect();
    for path in paths {
        let answer = client.post(path, CALL).answer();
        assert_eq!((answer.status, answer.result().as_str()), (200, "\"0x1\""), "{path}");
    }
    assert_eq!(provider.calls("eth_getBalance").len(), paths.len());
}

#[test]
fn the_bare_path_needs_a_single_chain() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider]).chain(Chain::new("base", 8453).provider("b", &provider.url())).start();
    assert_eq!(node.post("/", CALL).status, 404);
    assert_eq!(node.post("/rpc/base", CALL).result(), "1");
    assert_eq!(node.post("/rpc/8453", CALL).result(), "1");
}

#[test]
fn any_content_type_is_read_as_json() {
    let (node, _provider) = start();
    for field in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
        let bytes = with_fields(&format!("{field}Content-Length: {}\r\n", CALL.len()));
        assert_eq!(node.connect().send(bytes).answer().result(), "\"0x1\"", "{field}");
    }
    let answer = node.ethereum(CALL);
    assert!(answer.field("content-type").unwrap().starts_with("application/json"));
}

#[test]
fn a_connection_serves_call_after_call() {
    let (node, provider) = start();
    let mut client = node.connect();
    for _ in 0..50 {
        assert_eq!(client.post("/rpc/ethereum", CALL).answer().result(), "\"0x1\"");
    }
    let answer = client.send(request_with("/rpc/ethereum", "Connection: close\r\n", CALL)).answer();
    assert_eq!(answer.result(), "\"0x1\"");
    assert_eq!(answer.field("connection").map(str::to_ascii_lowercase).as_deref(), Some("close"));
    assert!(client.closes());
    assert_eq!(provider.calls("eth_getBalance").len(), 51);
    assert!(provider.accepted() <= 8, "{} connections to the provider for one client", provider.accepted());
}

#[test]
fn pipelined_calls_are_answered_in_order() {
    let provider = Provider::start(|call| {
        let late = Duration::from_millis(if call.id() == "0" { 200 } else { 0 });
        Reply::result(call, &call.id()).after(late)
    });
    let node = Setup::ethereum(&[&provider]).start();
    let calls: Vec<String> =
        (0..20).map(|n| request("/rpc/ethereum", &CALL.replace("\"id\":1", &format!("\"id\":{n}")))).collect();
    let mut client = node.connect();
    client.send(calls.concat());
    for n in 0..20 {
        let answer = client.answer();
        assert_eq!((answer.raw("id").unwrap(), answer.result()), (n.to_string(), n.to_string()));
    }
}

#[test]
fn pipelined_calls_before_a_malformed_one_are_answered() {
    let (node, _provider) = start();
    let mut client = node.connect();
    client.send([request("/rpc/ethereum", CALL).as_bytes(), b"NONSENSE\r\n\r\n"].concat());
    assert_eq!(client.answer().result(), "\"0x1\"");
    assert_eq!(client.answer().status, 400);
    assert!(client.closes());
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let (node, _provider) = start();
    for bytes in [request("/rpc/ethereum", CALL).into_bytes(), chunked_call()] {
        let mut client = node.connect();
        for byte in &bytes {
            client.send([*byte]);
        }
        assert_eq!(client.answer().result(), "\"0x1\"");
        assert_eq!(client.post("/rpc/ethereum", CALL).answer().result(), "\"0x1\"", "and nothing is left over");
    }
}

fn chunked_call() -> Vec<u8> {
    let (a, b) = CALL.split_at(10);
    with_chunks(&format!(
        "A;name=value;q=\"x\"\r\n{a}\r\n{:x}\r\n{b}\r\n000\r\nX-Trailer: 1\r\nDigest: 2\r\n\r\n",
        b.len()
    ))
}

#[test]
fn a_chunked_call_arrives_whole_and_its_trailers_do_not() {
    let (node, provider) = start();
    let mut client = node.connect();
    assert_eq!(client.send(chunked_call()).answer().result(), "\"0x1\"");
    let seen = provider.wait_calls("eth_getBalance", 1).remove(0);
    assert_eq!(seen.body, CALL.as_bytes());
    assert_eq!(seen.head.field("x-trailer"), None);
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let (node, provider) = start();
    let mut client = node.connect();
    let bytes = request_with("/rpc/ethereum", "Expect: 100-continue\r\n", CALL);
    client.send(&bytes[..bytes.len() - CALL.len()]);
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.send(CALL).answer().result(), "\"0x1\"");

    client.send(request_with("/rpc/nochain", "Expect: 100-continue\r\n", CALL).trim_end_matches(CALL));
    let answer = client.answer();
    assert_eq!(answer.status, 404, "no go-ahead for a head that is refused");
    assert_eq!(provider.calls("eth_getBalance").len(), 1);
}

#[test]
fn old_clients_are_served() {
    let (node, _provider) = start();
    let old =
        |fields: &str| format!("POST /rpc/ethereum HTTP/1.0\r\n{fields}Content-Length: {}\r\n\r\n{CALL}", CALL.len());
    let mut client = node.connect();
    let answer = client.send(old("")).answer();
    assert_eq!(answer.result(), "\"0x1\"");
    assert_eq!(answer.field("transfer-encoding"), None);
    assert!(client.closes(), "HTTP/1.0 closes unless it asks not to");

    let mut client = node.connect();
    let answer = client.send(old("Connection: keep-alive\r\n")).answer();
    assert_eq!(answer.result(), "\"0x1\"");
    if answer.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("keep-alive")) {
        assert_eq!(client.send(old("")).answer().result(), "\"0x1\"");
    }
}

#[test]
fn health_is_answered_to_get_and_head() {
    let (node, _provider) = start();
    let mut client = node.connect();
    for path in ["/api/health", "/api/ready", "/api/ready/ethereum", "/api/region", "/api/status"] {
        let got = client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).answer();
        assert_eq!(got.status, 200, "{path}");
        let head = client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n")).answer_to_head();
        assert_eq!(head.status, 200, "HEAD {path}");
        let after = client.send("GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n").answer();
        assert_eq!(after.status, 200, "no body may follow the answer to HEAD {path}");
    }
    assert!(client.send("GET /api/region HTTP/1.1\r\nHost: a\r\n\r\n").answer().text().contains(REGION));
    let status = client.send("GET /api/status HTTP/1.1\r\nHost: a\r\n\r\n").answer().text();
    assert!(!status.contains("alpha"), "the status on the data port names a provider: {status}");
    assert_eq!(node.get("/api/ready/nochain").status, 404);
    for path in ["/metrics", "/api/providers", "/api/chains"] {
        assert_eq!(node.get(path).status, 404, "{path} belongs to the admin port");
        assert_eq!(node.admin_get(path).status, 200, "{path} on the admin port");
    }
}

#[test]
fn a_notification_gets_204_and_nothing_else() {
    let (node, provider) = start();
    let mut client = node.connect();
    let answer = client.post("/rpc/ethereum", r#"{"jsonrpc":"2.0","method":"eth_notice","params":[]}"#).answer();
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.field("transfer-encoding"), None);
    provider.wait_calls("eth_notice", 1);
    assert_eq!(client.post("/rpc/ethereum", CALL).answer().result(), "\"0x1\"");
}

#[test]
fn a_call_without_a_body_is_no_json() {
    let (node, _provider) = start();
    for bytes in [with_fields("Content-Length: 0\r\n"), with_chunks("0\r\n\r\n")] {
        let head_only = bytes.strip_suffix(CALL.as_bytes()).unwrap_or(&bytes);
        let answer = node.connect().send(head_only).answer();
        assert_eq!((answer.status, answer.own_error()), (200, -32700));
    }
}

fn check_common(answer: &Answer) {
    assert_eq!(answer.field("x-livechain-region"), Some(REGION), "{}", answer.head.line);
    assert_eq!(answer.field("x-livechain-node"), Some(NODE_ID), "{}", answer.head.line);
    assert!(answer.field("x-livechain-request-id").is_some_and(|id| id.len() >= 8), "{}", answer.head.line);
    let date = answer.field("date").unwrap_or_default();
    assert!(date.len() == 29 && date.ends_with(" GMT") && &date[3..5] == ", ", "Date: {date}");
}

#[test]
fn answers_say_where_they_come_from() {
    let (node, _provider) = start();
    let mut client = node.connect();
    let answer = client.post("/rpc/ethereum", CALL).answer();
    check_common(&answer);
    assert_eq!(answer.field("x-livechain-provider"), Some("alpha"));
    assert_eq!(answer.field("server-timing"), None);
    let another = client.post("/rpc/ethereum", CALL).answer();
    assert_ne!(answer.field("x-livechain-request-id"), another.field("x-livechain-request-id"));
    check_common(&client.post("/rpc/nochain", CALL).answer());
    check_common(&client.post("/rpc/ethereum", "nonsense").answer());
    check_common(&client.send("GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n").answer());
    check_common(&client.post("/rpc/ethereum", &json::call("eth_chainId", "[]")).answer());
    check_common(&client.send("NONSENSE\r\n\r\n").answer());
}

#[test]
fn phases_are_told_on_request() {
    let (node, _provider) = start();
    let asked = node.post("/rpc/ethereum?meta=1", CALL);
    assert!(asked.field("server-timing").is_some_and(|t| t.contains("dur=")), "{:?}", asked.head);
    let asked = node.connect().send(request_with("/rpc/ethereum", "X-Livechain-Meta: 1\r\n", CALL)).answer();
    assert!(asked.field("server-timing").is_some(), "{:?}", asked.head);
}

#[test]
fn a_reseller_may_keep_the_provider_to_himself() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider]).set("http", "provider_header = false").start();
    for path in ["/rpc/ethereum", "/rpc/ethereum?meta=1", "/rpc/provider/alpha/ethereum"] {
        let answer = node.post(path, CALL);
        assert_eq!(answer.result(), "1");
        let head = String::from_utf8_lossy(&answer.head.raw).into_owned();
        assert!(!head.contains("alpha"), "{path}: {head}");
    }
}

const PREFLIGHT: &str = "OPTIONS /rpc/ethereum HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\
    Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n";

#[test]
fn cross_origin_calls_are_allowed_by_config_alone() {
    let (node, _provider) = start();
    let answer = node.connect().send(PREFLIGHT).answer();
    assert_eq!(answer.field("access-control-allow-origin"), None);
    let answer = node.connect().send(request_with("/rpc/ethereum", "Origin: https://app.example\r\n", CALL)).answer();
    assert_eq!((answer.field("access-control-allow-origin"), answer.result().as_str()), (None, "\"0x1\""));
}

#[test]
fn pre_flights_are_answered_as_configured() {
    let provider = Provider::answering("1");
    for (origins, allowed) in [("\"*\"", true), ("\"https://app.example\"", true), ("\"https://other.example\"", false)]
    {
        let node = Setup::ethereum(&[&provider])
            .set("http.cors", &format!("origins = [{origins}]"))
            .set("http.cors", "max_age = \"1h\"")
            .start();
        let mut client = node.connect();
        let flight = client.send(PREFLIGHT).answer();
        assert!(flight.status < 300 || !allowed, "{origins}: {}", flight.head.line);
        assert_eq!(flight.field("access-control-allow-origin").is_some(), allowed, "{origins}");
        if allowed {
            assert!(flight.field("access-control-allow-methods").unwrap().contains("POST"), "{origins}");
            assert!(flight.field("access-control-allow-headers").is_some(), "{origins}");
            assert_eq!(flight.field("access-control-max-age"), Some("3600"), "{origins}");
        }
        let call = client.send(request_with("/rpc/ethereum", "Origin: https://app.example\r\n", CALL)).answer();
        assert_eq!(call.result(), "1", "{origins}");
        assert_eq!(call.field("access-control-allow-origin").is_some(), allowed, "{origins}");
    }
    assert_eq!(provider.calls("").len(), 0, "a pre-flight reached the provider");
}

#[test]
fn a_client_that_leaves_harms_nobody() {
    let provider = Provider::start(|call| Reply::result(call, "1").after(Duration::from_millis(100)));
    let node = Setup::ethereum(&[&provider]).start();
    for _ in 0..20 {
        node.connect().post("/rpc/ethereum", CALL).finish();
        let bytes = request("/rpc/ethereum", CALL);
        Client::open(node.http).send(&bytes[..bytes.len() / 2]).finish();
    }
    assert_eq!(node.ethereum(CALL).result(), "1");
}

/// Answers that a client is slow to take are not lost because it has said that it will ask no more.
#[test]
fn a_client_that_says_all_and_then_reads_slowly_gets_every_answer() {
    let long = format!("\"0x{}\"", "5a".repeat(6 * 1024));
    let answer = long.clone();
    let provider = Provider::start(move |call| Reply::result(call, &answer));
    let node = Setup::ethereum(&[&provider]).start();
    for count in [1, 2, 40] {
        let mut client = Client::small_window(node.http);
        (0..count).for_each(|_| _ = client.post("/rpc/ethereum", CALL));
        client.finish();
        for _ in 0..count {
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(client.answer().result(), long);
        }
        assert!(client.closes());
    }
}

/// Replaces the first occurrence in bytes.
trait ReplaceFirst {
    fn replacen_first(self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl ReplaceFirst for Vec<u8> {
    fn replacen_first(self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = support::wire::find(&self, from).expect("what is to be replaced");
        [&self[..at], to, &self[at + from.len()..]].concat()
    }
}
