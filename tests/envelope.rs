//! The JSON-RPC envelope: what of a call is judged, what of an answer is believed, and that the rest passes untouched.
//!
//! Results and ids are compared as bytes, never as values: `1.0` is not `1` to the client that wrote it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::time::Duration;

use Expect::{Refused, Served};
use support::client::request_with;
use support::reply::At;
use support::{Chain, Client, Fault, Node, Provider, Reply, Seen, Setup, json};

/// Bytes that a program that parses and prints again would not keep.
const ODD: &str =
    r#"{ "b" : 1.0e+2 ,"a":[ 0.10, -0, 123456789012345678901234567890 ], "\u00e9":"é\/\u0000", "a2":null }"#;

fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (Node, Provider) {
    let provider = Provider::start(script);
    (Setup::ethereum(&[&provider]).start(), provider)
}

/// A way to answer, and what it is called.
type Named = (&'static str, fn(&Seen) -> Reply);

/// Answers with the call's own id, as far as the provider could read it.
fn start_honest() -> (Node, Provider) {
    start(|call| Reply::result(call, ODD))
}

#[test]
fn ids_are_echoed_byte_for_byte() {
    let (node, provider) = start_honest();
    let long = format!("\"{}\"", "x".repeat(2000));
    let ids = [
        "1",
        "0",
        "-1",
        "-0",
        "1.5",
        "1.0",
        "1e3",
        "1E+3",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890123456789012345678901234567890",
        "0.1000",
        "null",
        r#""""#,
        r#""a""#,
        r#""A\u0041\n\"é""#,
        r#""1""#,
        r#""{\"id\":2}""#,
        &long,
    ];
    for id in ids {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_getBalance","params":[]}}"#);
        let answer = node.ethereum(&body);
        assert_eq!(answer.status, 200, "{id}");
        assert_eq!(answer.raw("id").as_deref(), Some(id));
        assert_eq!(answer.result(), ODD, "{id}");
        let local = node.ethereum(&body.replace("eth_getBalance", "eth_chainId"));
        assert_eq!(local.raw("id").as_deref(), Some(id), "a local answer");
        let batch = node.ethereum(&format!("[{body}]"));
        assert_eq!(json::raw(json::items(&batch.body)[0].as_bytes(), "id").as_deref(), Some(id), "in a batch");
    }
    assert_eq!(provider.calls("eth_getBalance").len(), 2 * ids.len());
}

#[test]
fn the_clients_bytes_are_forwarded_untouched() {
    let (node, provider) = start_honest();
    let bodies = [
        r#"{"method":"eth_getBalance","id":7,"params":[ "0xaa" , 1.0e0, {"b":1,"a":2} ],"jsonrpc":"2.0","extra":{"x":[1,2]}}"#,
        r#"{  "id" : "é", "jsonrpc":"2.0" ,"params" : [],"method":"eth_getBalance" }"#,
        r#"{"id":1,"method":"eth_getBalance"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":{"by":"name"}}"#,
    ];
    for body in bodies {
        assert_eq!(node.ethereum(body).result(), ODD, "{body}");
        let seen = provider.seen().pop().unwrap();
        assert_eq!(String::from_utf8_lossy(&seen.body), body);
    }
}

/// What must come of a body.
#[derive(Clone, Copy)]
enum Expect {
    /// The provider's result, with this id.
    Served(&'static str),
    /// An error of ours: code and id.
    Refused(i64, &'static str),
}

/// Bodies, in which `M` stands for the method.
const ROWS: &[(&str, Expect)] = &[
    // Ids.
    (r#"{"jsonrpc":"2.0","id":{},"method":"M","params":[]}"#, Refused(-32600, "null")),
    (r#"{"jsonrpc":"2.0","id":[],"method":"M","params":[]}"#, Refused(-32600, "null")),
    (r#"{"jsonrpc":"2.0","id":[1],"method":"M","params":[]}"#, Refused(-32600, "null")),
    (r#"{"jsonrpc":"2.0","id":true,"method":"M","params":[]}"#, Refused(-32600, "null")),
    (r#"{"jsonrpc":"2.0","id":false,"method":"M","params":[]}"#, Refused(-32600, "null")),
    // JSON, but no call.
    ("[]", Refused(-32600, "null")),
    (" \t\r\n[ ]", Refused(-32600, "null")),
    ("1", Refused(-32600, "null")),
    ("\"call\"", Refused(-32600, "null")),
    ("null", Refused(-32600, "null")),
    // White space around it.
    (" \t\r\n{\"id\":1,\"method\":\"M\"}", Served("1")),
    ("{\"id\":1,\"method\":\"M\"} \r\n\t ", Served("1")),
    // What may stand once.
    (r#"{"id":1,"id":2,"method":"M"}"#, Refused(-32600, "null")),
    (r#"{"id":1,"\u0069d":2,"method":"M"}"#, Refused(-32600, "null")),
    (r#"{"id":1,"method":"eth_sign","method":"M"}"#, Refused(-32600, "1")),
    (r#"{"id":1,"m\u0065thod":"eth_sign","method":"M"}"#, Refused(-32600, "1")),
    (r#"{"id":1,"method":"M","params":[],"params":[1]}"#, Refused(-32600, "1")),
    (r#"{"id":1,"method":"M","params":[],"\u0070arams":[1]}"#, Refused(-32600, "1")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"M","jsonrpc":"2.0"}"#, Refused(-32600, "1")),
    // As nodes in Go take no heed of case.
    (r#"{"id":1,"method":"M","ID":2}"#, Refused(-32600, "null")),
    (r#"{"id":1,"method":"M","params":[],"Method":"debug_traceCall","Params":[1]}"#, Refused(-32600, "1")),
    ("{\"id\":1,\"method\":\"M\",\"param\u{17f}\":[1]}", Refused(-32600, "1")),
    // Methods.
    (r#"{"id":1,"method":1}"#, Refused(-32600, "1")),
    (r#"{"id":1,"method":null}"#, Refused(-32600, "1")),
    (r#"{"id":1,"method":["eth_call"]}"#, Refused(-32600, "1")),
    (r#"{"id":1,"method":""}"#, Refused(-32600, "1")),
    (r#"{"id":"a","params":[]}"#, Refused(-32600, "\"a\"")),
    (r#"{"id":1,"\u006dethod":"\u0065th_getBalance"}"#, Served("1")),
    // Params.
    (r#"{"id":1,"method":"M","params":"x"}"#, Refused(-32600, "1")),
    (r#"{"id":1,"method":"M","params":1}"#, Refused(-32600, "1")),
    (r#"{"id":1,"method":"M","params":true}"#, Refused(-32600, "1")),
    (r#"{"id":1,"method":"M","params":null}"#, Refused(-32600, "1")),
    (r#"{"id":1,"method":"M","params":{}}"#, Served("1")),
    (r#"{"id":1,"method":"M"}"#, Served("1")),
    // The version is not held against anyone.
    (r#"{"jsonrpc":"1.0","id":1,"method":"M"}"#, Served("1")),
    (r#"{"jsonrpc":2,"id":1,"method":"M"}"#, Served("1")),
    // No JSON.
    (r#"{"id":1,"method":"M"}x"#, Refused(-32700, "null")),
    (r#"{"id":1,"method":"M"}{}"#, Refused(-32700, "null")),
    (r#"{"id":1,"method":"M"},"#, Refused(-32700, "null")),
    (r#"[{"id":1,"method":"M"}]]"#, Refused(-32700, "null")),
    ("", Refused(-32700, "null")),
    (" \r\n", Refused(-32700, "null")),
    ("nonsense", Refused(-32700, "null")),
    (r#"{"id":1,"method":"M""#, Refused(-32700, "null")),
    (r#"{"id":1,"method":"M",}"#, Refused(-32700, "null")),
    (r#"{"id":01,"method":"M"}"#, Refused(-32700, "null")),
    (r#"{"id":1 "method":"M"}"#, Refused(-32700, "null")),
    (r#"{'id':1,"method":"M"}"#, Refused(-32700, "null")),
    (r#"{"id":NaN,"method":"M"}"#, Refused(-32700, "null")),
    ("{\"id\":1,\"method\":\"M\",\"params\":[\"a\nb\"]}", Refused(-32700, "null")),
];

/// The rows whose bodies are long.
fn long_rows() -> Vec<(String, Expect)> {
    let nested = |n: usize| format!(r#"{{"id":1,"method":"M","params":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    let named = |bytes: usize| format!(r#"{{"id":1,"method":"{}","params":[]}}"#, "m".repeat(bytes));
    vec![
        (named(256), Served("1")),
        (named(257), Refused(-32600, "1")),
        // The call itself is the first level.
        (nested(127), Served("1")),
        (nested(128), Refused(-32700, "null")),
        (nested(100_000), Refused(-32700, "null")),
    ]
}

/// Sends a body; what is wrong with the answer.
fn check_row(node: &Node, body: &str, expect: Expect) -> Result<(), String> {
    let answer = node.ethereum(body);
    let (expected, code) = match expect {
        Served(id) => ((200, Some(id.to_owned()), true), None),
        Refused(code, id) => ((200, Some(id.to_owned()), false), Some(code)),
    };
    let found = (answer.status, answer.raw("id"), answer.raw("result").is_some());
    if found != expected || code.is_some_and(|code| answer.own_error() != code) {
        let shown = &body[..body.len().min(100)];
        return Err(format!("{shown}: {} {}", answer.head.line, answer.text()));
    }
    Ok(())
}

#[test]
fn every_row_of_the_envelope() {
    let (node, provider) = start_honest();
    let short = ROWS.iter().map(|(body, expect)| ((*body).to_owned(), *expect));
    let rows: Vec<(String, Expect)> = short.chain(long_rows()).collect();
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(body, expect)| check_row(&node, &body.replace('M', "eth_getBalance"), *expect).err())
        .collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    let served = rows.iter().filter(|(_, expect)| matches!(expect, Served(_))).count();
    let own = ["eth_chainId", "eth_blockNumber"];
    let reached = provider.seen().iter().filter(|s| !own.contains(&s.method().as_str())).count();
    assert_eq!(reached, served, "calls that reached the provider");
}

#[test]
fn a_method_that_is_not_utf_8_is_refused() {
    let (node, provider) = start_honest();
    let bodies: [&[u8]; 2] = [b"{\"id\":1,\"method\":\"eth_\xff\"}", br#"{"id":1,"method":"eth_\ud800"}"#];
    for body in bodies {
        let head = format!("POST /rpc/ethereum HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        let answer = node.connect().send([head.as_bytes(), body].concat()).answer();
        let code = answer.own_error();
        assert!(code == -32600 || code == -32700, "{}", answer.text());
    }
    assert!(provider.calls("eth_").is_empty());
}

#[test]
fn notifications_are_forwarded_and_not_answered() {
    let (node, provider) = start_honest();
    let one = r#"{"jsonrpc":"2.0","method":"eth_notice","params":[1]}"#;
    assert_eq!((node.ethereum(one).status, node.ethereum(one).body.len()), (204, 0));
    provider.wait_calls("eth_notice", 2);
    let answer = node.ethereum(&format!("[{one},{one}]"));
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    provider.wait_calls("eth_notice", 4);
    let mixed = node.ethereum(&format!("[{one},{},{one}]", json::read()));
    assert_eq!(json::items(&mixed.body).len(), 1);
    provider.wait_calls("eth_notice", 6);
    assert_eq!(node.ethereum(r#"{"jsonrpc":"2.0","id":null,"method":"eth_x"}"#).raw("id").as_deref(), Some("null"));
}

#[test]
fn a_batch_is_answered_in_order_one_answer_a_call() {
    let (node, provider) = start(|call| {
        // The earlier ones answer later.
        let late: u64 = call.id().parse().map_or(0, |id: u64| 120 - 12 * id.min(10));
        Reply::result(call, &format!("\"of {}\"", call.id().replace('"', ""))).after(Duration::from_millis(late))
    });
    let calls: Vec<String> = (0..10).map(|n| json::read().replace("\"id\":1", &format!("\"id\":{n}"))).collect();
    let answer = node.ethereum(&format!("\n [ {} ]", calls.join(" , ")));
    assert_eq!(answer.status, 200);
    let items = json::items(&answer.body);
    assert_eq!(items.len(), 10);
    for (n, item) in items.iter().enumerate() {
        assert_eq!(json::raw(item.as_bytes(), "id").unwrap(), n.to_string());
        assert_eq!(json::raw(item.as_bytes(), "result").unwrap(), format!("\"of {n}\""));
    }
    for seen in provider.calls("eth_getBalance") {
        assert_eq!(seen.body[0], b'{', "batches are split into single calls");
    }
}

#[test]
fn a_batch_of_one_stays_an_array_and_twins_are_both_answered() {
    let (node, provider) = start_honest();
    let one = json::items(&node.ethereum(&format!("[{}]", json::read())).body);
    assert_eq!(json::raw(one[0].as_bytes(), "result").as_deref(), Some(ODD));
    let twins = json::items(&node.ethereum(&format!("[{0},{0},{0}]", json::read())).body);
    assert_eq!(twins.len(), 3);
    assert!(twins.iter().all(|t| json::raw(t.as_bytes(), "id").as_deref() == Some("1")));
    assert_eq!(provider.calls("eth_getBalance").len(), 4);
}

#[test]
fn a_bad_item_spoils_its_own_slot_only() {
    let (node, _provider) = start_honest();
    let good = json::read();
    let bad = [
        ("1", -32600, "null"),
        ("\"x\"", -32600, "null"),
        ("null", -32600, "null"),
        ("[]", -32600, "null"),
        ("[{}]", -32600, "null"),
        ("{}", -32600, "null"),
        (r#"{"id":5}"#, -32600, "5"),
        (r#"{"id":5,"method":"eth_sign","params":[]}"#, -32004, "5"),
        (r#"{"id":5,"method":"eth_x","params":3}"#, -32600, "5"),
    ];
    for (item, code, id) in bad {
        let answer = node.ethereum(&format!("[{good},{item},{good}]"));
        assert_eq!(answer.status, 200, "{item}");
        let items = json::items(&answer.body);
        assert_eq!(items.len(), 3, "{item}: {}", answer.text());
        assert_eq!(json::raw(items[0].as_bytes(), "result").as_deref(), Some(ODD), "{item}");
        assert_eq!(json::raw(items[2].as_bytes(), "result").as_deref(), Some(ODD), "{item}");
        let error = json::raw(items[1].as_bytes(), "error").unwrap_or_else(|| panic!("{item}: {}", items[1]));
        assert_eq!(json::raw(error.as_bytes(), "code").as_deref(), Some(code.to_string().as_str()), "{item}");
        assert_eq!(json::raw(items[1].as_bytes(), "id").as_deref(), Some(id), "{item}");
    }
}

#[test]
fn batches_have_limits() {
    let provider = Provider::start(|call| {
        Reply::result(call, &format!("\"{}\"", "r".repeat(1000))).after(Duration::from_millis(10))
    });
    let node = Setup::ethereum(&[&provider])
        .set("rpc", "batch_items_max = 100")
        .set("rpc", "batch_in_flight_max = 4")
        .set("rpc", "batch_bytes_max = \"64KiB\"")
        .start();
    let batch = |n: usize| format!("[{}]", vec![json::read(); n].join(","));
    let refused = node.ethereum(&batch(101));
    assert_eq!((refused.status, refused.own_error()), (200, -32600));
    assert_eq!(provider.calls("eth_getBalance").len(), 0, "a batch too large is refused before any of it is sent");

    let served = json::items(&node.ethereum(&batch(30)).body);
    assert!(served.len() == 30 && served.iter().all(|i| i.contains("result")));
    assert!(provider.in_flight_peak() <= 4, "{} of a batch at once", provider.in_flight_peak());
    assert!(provider.in_flight_peak() >= 2, "a batch is asked for one by one");

    let bounded = node.ethereum(&batch(100));
    assert_eq!(bounded.status, 200);
    let answered = if bounded.body[0] == b'[' { json::items(&bounded.body) } else { vec![bounded.text()] };
    assert!(bounded.body.len() < 96 * 1024, "{} bytes assembled", bounded.body.len());
    assert!(answered.last().unwrap().contains("error"), "{}", answered.last().unwrap());
}

#[test]
fn what_the_node_knows_itself_is_not_asked() {
    let provider = Provider::answering("\"asked\"");
    let chain = Chain::new("ethereum", 10_001).line("network_id = 77").provider("alpha", &provider.url());
    let node = Setup::new().chain(chain).start();
    let id = node.ethereum(&json::call("eth_chainId", "[]"));
    assert_eq!((id.result().as_str(), id.field("x-livechain-provider")), ("\"0x2711\"", None));
    assert_eq!(node.ethereum(&json::call("net_version", "[]")).result(), "\"77\"");
    assert_eq!(node.ethereum(r#"{"id":3,"method":"eth_chainId"}"#).raw("id").as_deref(), Some("3"));
    let calls: Vec<_> = provider.seen().into_iter().filter(|s| s.body.windows(7).any(|w| w == b"\"id\":1,")).collect();
    assert!(calls.is_empty(), "a call that the node answers reached a provider");
}

#[test]
fn blocked_methods_never_leave_the_node() {
    let (node, provider) = start_honest();
    let blocked = [
        "eth_sign",
        "eth_signTransaction",
        "eth_sendTransaction",
        "eth_accounts",
        "personal_sign",
        "personal_unlockAccount",
        "admin_peers",
        "miner_start",
        "debug_setHead",
    ];
    for method in blocked {
        for spelling in [method.to_owned(), method.replacen('e', "\\u0065", 1)] {
            let answer = node.ethereum(&json::call(&spelling, "[]"));
            assert_eq!((answer.status, answer.own_error()), (200, -32004), "{spelling}");
            assert_eq!(answer.raw("id").as_deref(), Some("1"));
        }
        assert!(provider.calls(method).is_empty(), "{method} was forwarded");
    }
    for method in ["eth_signed", "eth_account", "debug_traceTransaction", "person_al"] {
        assert_eq!(node.ethereum(&json::call(method, "[]")).result(), ODD, "{method} is not blocked");
    }
}

#[test]
fn an_operator_blocks_what_he_likes() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider]).set("rpc", "blocked_methods = [\"debug_*\", \"eth_getLogs\"]").start();
    for (method, blocked) in [("debug_x", true), ("eth_getLogs", true), ("eth_getLog", false), ("eth_accounts", false)]
    {
        let answer = node.ethereum(&json::call(method, "[]"));
        assert_eq!(answer.raw("error").is_some(), blocked, "{method}: {}", answer.text());
    }
}

#[test]
fn replies_that_are_answers_are_believed() {
    let replies: [Named; 13] = [
        ("error null beside a result", |c| {
            Reply::ok(format!(r#"{{"jsonrpc":"2.0","id":{},"result":"0x1","error":null}}"#, c.id()))
        }),
        ("error null first", |c| Reply::ok(format!(r#"{{"error":null,"result":"0x1","id":{}}}"#, c.id()))),
        ("keys in another order", |c| {
            Reply::ok(format!(r#" {{"result" : "0x1", "id":{} , "jsonrpc":"2.0"}} "#, c.id()))
        }),
        ("unknown keys", |c| {
            Reply::ok(format!(r#"{{"extra":{{"result":1}},"id":{},"result":"0x1","more":[]}}"#, c.id()))
        }),
        ("a result under 500", |c| Reply::status(500, format!(r#"{{"id":{},"result":"0x1"}}"#, c.id()))),
        ("an id with a fraction", |_| Reply::ok(r#"{"id":1.0,"result":"0x1"}"#)),
        ("the id as a string", |_| Reply::ok(r#"{"jsonrpc":"2.0","id":"1","result":"0x1"}"#)),
        ("gzip", |c| Reply::result(c, "\"0x1\"").gzip()),
        ("gzip in chunks", |c| Reply::result(c, "\"0x1\"").gzip().chunked(5)),
        ("chunks", |c| Reply::result(c, "\"0x1\"").chunked(3)),
        ("until the connection closes", |c| Reply::result(c, "\"0x1\"").until_close()),
        ("interim answers first", |c| {
            Reply::result(c, "\"0x1\"")
                .interim(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
        }),
        ("another content type", |c| Reply::result(c, "\"0x1\"").field("Content-Type: text/plain")),
    ];
    let (node, provider) = start_honest();
    for (name, reply) in replies {
        provider.script(reply);
        let answer = node.ethereum(&json::read());
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(answer.result(), "\"0x1\"", "{name}");
        assert_eq!(answer.raw("id").as_deref(), Some("1"), "{name}");
    }
    assert_eq!(provider.calls("eth_getBalance").len(), replies.len(), "one attempt each");
}

#[test]
fn replies_that_are_no_answers_are_failed_over() {
    let replies: [Named; 26] = [
        ("neither result nor error", |_| Reply::ok(r#"{"jsonrpc":"2.0","id":1}"#)),
        ("another's id", |_| Reply::ok(r#"{"jsonrpc":"2.0","id":2,"result":"0xbad"}"#)),
        ("a null id", |_| Reply::ok(r#"{"jsonrpc":"2.0","id":null,"result":"0xbad"}"#)),
        ("no id", |_| Reply::ok(r#"{"jsonrpc":"2.0","result":"0xbad"}"#)),
        ("an array", |_| Reply::ok(r#"[{"jsonrpc":"2.0","id":1,"result":"0xbad"}]"#)),
        ("HTML", |_| Reply::ok("<html><body>It works!</body></html>").field("Content-Type: text/html")),
        ("an empty body", |_| Reply::ok("")),
        ("204", |_| Reply::raw("HTTP/1.1 204 No Content\r\n\r\n")),
        ("a cut object", |_| Reply::ok(r#"{"jsonrpc":"2.0","id":1,"result":"0xba"#)),
        ("bytes behind the object", |_| Reply::ok(r#"{"jsonrpc":"2.0","id":1,"result":"0xbad"}x"#)),
        ("a number", |_| Reply::ok("1")),
        ("500 with HTML", |_| Reply::status(500, "<h1>oops</h1>")),
        ("502 without a body", |_| Reply::status(502, "")),
        ("301", |_| Reply::status(301, "").field("Location: http://127.0.0.1:1/")),
        ("gzip that is none", |c| Reply::result(c, "\"0xbad\"").field("Content-Encoding: gzip")),
        ("an encoding that nobody asked for", |c| Reply::result(c, "\"0xbad\"").field("Content-Encoding: br")),
        ("no HTTP", |_| Reply::raw("SSH-2.0-OpenSSH_9.2\r\n\r\n")),
        ("both length and chunks", |_| {
            Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        }),
        ("two lengths", |_| Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}")),
        ("a bad chunk size", |_| {
            Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
        }),
        ("a head too large", |_| Reply::raw(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000)))),
        ("a length that promises more", |c| Reply::result(c, "\"0xbad\"").lying(5000)),
        ("a cut before the head", |c| Reply::result(c, "\"0xbad\"").fault(Fault::Cut(At::Start))),
        ("a cut body", |c| Reply::result(c, "\"0xbad\"").fault(Fault::Cut(At::Body(20)))),
        ("a cut chunk", |c| Reply::result(c, "\"0xbad\"").chunked(100).fault(Fault::Cut(At::Body(20)))),
        ("a reset in the body", |c| Reply::result(c, "\"0xbad\"").fault(Fault::Reset(At::Body(20)))),
    ];
    let bad = Provider::answering("1");
    let good = Provider::answering("\"0x1\"");
    // However often it fails, it is asked first.
    let node = Setup::ethereum(&[&bad, &good])
        .set("breaker", "failures = 1000")
        .set("breaker", "ratio_calls_min = 1000000")
        .set("ranking", "success_floor = 0.0")
        .start();
    for (name, reply) in replies {
        bad.script(reply);
        let before = bad.calls("eth_getBalance").len();
        let answer = node.ethereum(&json::read());
        assert_eq!((answer.status, answer.text().contains("bad")), (200, false), "{name}: {}", answer.text());
        assert_eq!(answer.result(), "\"0x1\"", "{name}");
        assert_eq!(answer.field("x-livechain-provider"), Some("beta"), "{name}");
        assert!(bad.calls("eth_getBalance").len() > before, "{name}: the first provider was not asked");
    }
}

#[test]
fn answers_that_are_read_whole_fail_over_on_a_stall() {
    let stalls = [Fault::Stall(At::Start), Fault::Stall(At::Head), Fault::Stall(At::Body(30))];
    let good = Provider::answering("\"0x1\"");
    let cases: Vec<(Fault, bool)> = stalls.iter().flat_map(|stall| [(*stall, false), (*stall, true)]).collect();
    let bad: Vec<Provider> = cases
        .iter()
        .map(|&(stall, chunked)| {
            Provider::start(move |call| {
                let reply = Reply::result(call, &format!("\"{}\"", "x".repeat(40_000))).fault(stall);
                if chunked { reply.chunked(1000) } else { reply }
            })
        })
        .collect();
    let chains: Vec<Chain> = (1..)
        .zip(&bad)
        .map(|(id, bad)| Chain::new(&format!("c{id}"), id).provider("bad", &bad.url()).provider("good", &good.url()))
        .collect();
    let node = Setup::new().chains(&chains).set("rpc.deadlines", "read = \"4s\"").start();
    // All at once: each takes the time that the first attempt has.
    let mut clients: Vec<Client> = cases.iter().map(|_| node.connect()).collect();
    for (id, client) in (1..).zip(&mut clients) {
        client.post(&format!("/rpc/c{id}"), &json::read());
    }
    for ((case, client), bad) in cases.iter().zip(&mut clients).zip(&bad) {
        let answer = client.answer();
        assert_eq!((answer.status, answer.raw("result")), (200, Some("\"0x1\"".to_owned())), "{case:?}");
        assert_eq!(bad.calls("eth_getBalance").len(), 1, "{case:?}: the first provider was not asked once");
    }
}

#[test]
fn an_error_reaches_the_client_byte_for_byte_with_his_id() {
    let error = r#"{ "code" : 3, "message":"execution reverted: é\/","data":"0x08c379a0" , "more":{"a":1.0} }"#;
    let (node, provider) = start(move |call| Reply::error(call, error));
    let statuses: [fn(&Seen, &str) -> Reply; 4] = [
        |c, e| Reply::error(c, e),
        |c, e| Reply::status(400, format!(r#"{{"id":{},"error":{e}}}"#, c.id())),
        |c, e| Reply::status(500, format!(r#"{{"error":{e},"id":{}}}"#, c.id())),
        |c, e| Reply::ok(format!(r#"{{"id":{},"result":null,"error":{e}}}"#, c.id())),
    ];
    for reply in statuses {
        provider.script(move |call| reply(call, error));
        let answer = node.ethereum(&json::call("eth_call", "[{},\"latest\"]"));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.raw("error").as_deref(), Some(error));
        assert_eq!(answer.raw("id").as_deref(), Some("1"));
    }
}

#[test]
fn a_clients_headers_never_reach_a_provider() {
    let (node, provider) = start_honest();
    let secret = [
        "Authorization: Bearer client-secret",
        "Cookie: session=client-secret",
        "X-Forwarded-For: 10.1.2.3",
        "X-Forwarded-Host: client-secret",
        "Forwarded: for=client-secret",
        "X-Real-Ip: client-secret",
        "Origin: https://client-secret",
        "Referer: https://client-secret",
        "User-Agent: client-secret",
        "X-Anything: client-secret",
        "Accept: client-secret",
        "Te: trailers",
        "Proxy-Authorization: client-secret",
        "X-Livechain-Meta: 1",
        "Upgrade: client-secret",
    ];
    let fields = secret.join("\r\n") + "\r\n";
    let answer =
        node.connect().send(request_with("/rpc/ethereum?token=client-secret", &fields, &json::read())).answer();
    assert_eq!(answer.result(), ODD);
    let seen = provider.wait_calls("eth_getBalance", 1).remove(0);
    let head = String::from_utf8_lossy(&seen.head.raw).to_lowercase();
    for word in ["client-secret", "10.1.2.3", "localhost", "authorization", "cookie", "forwarded", "x-livechain"] {
        assert!(!head.contains(word), "{word} in {head}");
    }
    assert_eq!(seen.head.field("host"), Some(provider.address.to_string().as_str()));
    assert!(seen.head.field("content-type").is_some_and(|t| t.starts_with("application/json")), "{head}");
    assert_eq!(seen.head.field("content-length"), Some(seen.body.len().to_string().as_str()));
    assert!(matches!(seen.head.field("accept-encoding"), None | Some("identity")), "{head}");
}

#[test]
fn a_providers_headers_never_reach_a_client() {
    let (node, _provider) = start(|call| {
        Reply::result(call, "1")
            .field("Server: provider-secret")
            .field("Set-Cookie: a=provider-secret")
            .field("X-Request-Id: provider-secret")
            .field("Cache-Control: provider-secret")
            .field("Access-Control-Allow-Origin: *")
            .field("X-Livechain-Region: provider-secret")
            .field("Strict-Transport-Security: provider-secret")
            .field("Via: provider-secret")
    });
    let answer = node.ethereum(&json::read());
    assert_eq!(answer.result(), "1");
    let head = String::from_utf8_lossy(&answer.head.raw).to_lowercase();
    for word in ["provider-secret", "set-cookie", "access-control", "via:", "server:"] {
        assert!(!head.contains(word), "{word} in {head}");
    }
    assert_eq!(answer.field("x-livechain-region"), Some("test-1"));
}
