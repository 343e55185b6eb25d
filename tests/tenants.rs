//! Keys at the door, quotas before calls, and what the ledger says of it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use livechain::ledger::{Group, Grouping};
use serde_json::json;
use support::blocks::{Blocks, Telling};
use support::client::{request, request_with};
use support::shop::{CALL, Shop, now_s};
use support::socket::Socket;
use support::{Answer, Chain, Node, Provider, Reply, Setup, eventually};

fn ask(node: &Node, path: &str, fields: &str, body: &str) -> Answer {
    node.connect().send(request_with(path, fields, body)).answer()
}

/// What a socket is told to a call.
fn told(socket: &mut Socket) -> String {
    let (_, message) = socket.text(CALL).message();
    String::from_utf8(message).unwrap()
}

/// Whether calls with this key get through.
fn is_good(node: &Node, key: &str) -> bool {
    ask(node, &format!("/v1/{key}/rpc/ethereum"), "", CALL).status == 200
}

#[test]
fn a_key_is_shown_in_any_of_four_places_and_needed() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, _) = shop.plan("basic", "{}").key("basic");
    let (other, _) = shop.key("basic");
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    for (path, fields) in [
        (format!("/v1/{key}/rpc/ethereum"), String::new()),
        ("/rpc/ethereum".to_owned(), format!("X-Livechain-Key: {key}\r\n")),
        ("/rpc/ethereum".to_owned(), format!("Authorization: Bearer {key}\r\n")),
        (format!("/rpc/ethereum?key={key}"), String::new()),
        (format!("/v1/{key}/rpc/ethereum?key={key}"), format!("X-Livechain-Key: {key}\r\n")),
    ] {
        assert_eq!(ask(&node, &path, &fields, CALL).result(), "\"0x1\"", "{path} {fields}");
    }
    for (path, fields) in [
        ("/rpc/ethereum".to_owned(), String::new()),
        ("/v1/nonsense/rpc/ethereum".to_owned(), String::new()),
        (format!("/v1/{}/rpc/ethereum", &key[..key.len() - 1]), String::new()),
        (format!("/v1/{key}{key}/rpc/ethereum"), String::new()),
        (format!("/v1/{key}/rpc/ethereum?key={other}"), String::new()),
        ("/rpc/ethereum?key=".to_owned(), String::new()),
        ("/rpc/ethereum".to_owned(), "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.\r\n".to_owned()),
    ] {
        let answer = ask(&node, &path, &fields, CALL);
        assert_eq!((answer.status, answer.own_error()), (401, -32050), "{path} {fields}");
        assert!(answer.field("WWW-Authenticate").is_some());
    }
    assert_eq!(provider.calls("eth_getBalance").len(), 5);
}

#[test]
fn who_is_not_let_in_is_told_before_a_byte_of_the_body() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, _) = shop.plan("basic", "{}").key("basic");
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    let head = |key: &str| {
        format!(
            "POST /v1/{key}/rpc/ethereum HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            CALL.len()
        )
    };
    let mut client = node.connect();
    let answer = client.send(head("nonsense")).answer();
    assert_eq!(answer.status, 401);
    assert!(client.closes(), "the framing is in doubt");
    let mut client = node.connect();
    assert!(client.send(head(&key)).head().line.contains(" 100 "));
    assert_eq!(client.send(CALL).answer().result(), "\"0x1\"");
}

#[test]
fn rules_of_plan_and_key_are_kept_to() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    shop.plan("basic", r#"{"rules":{"methods_refused":["debug_*"]}}"#);
    let rule = |shop: &mut Shop, rules: &str| shop.key_with("basic", Some(rules), None).0;
    let elsewhere = rule(&mut shop, r#"{"chains":["base"]}"#);
    let far = rule(&mut shop, r#"{"regions":["mars-1"]}"#);
    let office = rule(&mut shop, r#"{"networks":["10.0.0.0/8"]}"#);
    let page = rule(&mut shop, r#"{"origins":["https://app.example"]}"#);
    let reads = rule(&mut shop, r#"{"methods":["eth_get*"]}"#);
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    let path = |key: &str| format!("/v1/{key}/rpc/ethereum");
    for key in [&elsewhere, &far, &office, &page] {
        let answer = ask(&node, &path(key), "", CALL);
        assert_eq!((answer.status, answer.own_error()), (403, -32050), "{}", answer.text());
    }
    assert_eq!(ask(&node, &path(&page), "Origin: https://app.example\r\n", CALL).status, 200);
    assert_eq!(ask(&node, &path(&page), "Origin: https://app.example.evil\r\n", CALL).status, 403);
    assert_eq!(ask(&node, &path(&reads), "", CALL).status, 200);
    let mut client = node.connect();
    let refused =
        client.send(request(&path(&reads), r#"{"jsonrpc":"2.0","id":7,"method":"eth_call","params":[]}"#)).answer();
    assert_eq!((refused.status, refused.raw("id").as_deref()), (403, Some("7")));
    // To a node in Go the last of these is the method.
    let hidden = r#"{"jsonrpc":"2.0","id":7,"method":"eth_getBalance","params":[],"Method":"eth_call"}"#;
    let refused = client.send(request(&path(&reads), hidden)).answer();
    assert_eq!((refused.status, refused.own_error()), (200, -32600), "{}", refused.text());
    let batch = format!(r#"[{CALL},{{"jsonrpc":"2.0","id":2,"method":"debug_traceCall","params":[]}}]"#);
    let answer = client.send(request(&path(&reads), &batch)).answer();
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("0x1") && answer.text().contains("-32050"), "{}", answer.text());
}

#[test]
fn a_key_that_is_made_is_good_and_one_that_is_revoked_is_none_on_open_connections_too() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    shop.plan("basic", "{}");
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    let (key, id) = shop.key("basic");
    eventually("the new key is good", || is_good(&node, &key).then_some(()));
    let path = format!("/v1/{key}/rpc/ethereum");
    let mut client = node.connect();
    assert_eq!(client.send(request(&path, CALL)).answer().status, 200);
    let mut idle = Socket::open(node.http, &path);
    assert_eq!(idle.call(CALL), "\"0x1\"");
    shop.revoke(id);
    assert_eq!(idle.closed(), Some(1008), "a WebSocket that says nothing is closed, too");
    assert_eq!(client.send(request(&path, CALL)).answer().status, 401);
    assert!(!is_good(&node, &key));
}

#[test]
fn a_key_expires_and_its_sockets_with_it() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    shop.plan("basic", "{}");
    let (past, _) = shop.key_with("basic", None, Some(now_s() - 10));
    let (soon, _) = shop.key_with("basic", None, Some(now_s() + 4));
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    let path = format!("/v1/{soon}/rpc/ethereum");
    let mut client = node.connect();
    assert_eq!(client.send(request(&path, CALL)).answer().status, 200);
    let mut socket = Socket::open(node.http, &path);
    let answer = ask(&node, &format!("/v1/{past}/rpc/ethereum"), "", CALL);
    assert_eq!((answer.status, answer.text().contains("expired")), (401, true));
    assert_eq!(socket.closed(), Some(1008));
    assert_eq!(client.send(request(&path, CALL)).answer().status, 401, "on the connection that it was shown on");
}

#[test]
fn over_its_quota_a_key_is_told_when_to_come_again() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, _) = shop.plan("small", r#"{"calls_per_second":1,"calls_burst":3}"#).key("small");
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    let path = format!("/v1/{key}/rpc/ethereum");
    let mut client = node.connect();
    let answers: Vec<_> = (0..6).map(|_| client.send(request(&path, CALL)).answer()).collect();
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((3..=4).contains(&good), "{good}");
    let refused = &answers[5];
    assert_eq!((refused.status, refused.own_error()), (429, -32005));
    assert_eq!(refused.field("Retry-After"), Some("1"));
    for field in ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"] {
        assert!(refused.field(field).is_some_and(|value| value.parse::<u64>().is_ok()), "{field}");
    }
    let mut socket = Socket::open(node.http, &path);
    let refused = (0..4).map(|_| told(&mut socket)).find(|answer| answer.contains("-32005"));
    assert!(refused.is_some(), "over a WebSocket the error, and no close");
}

#[test]
fn items_of_a_batch_count_each() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, id) = shop.plan("small", r#"{"calls_per_second":1,"calls_burst":4}"#).key("small");
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    let batch = format!("[{}]", [CALL; 10].join(","));
    let answer = ask(&node, &format!("/v1/{key}/rpc/ethereum"), "", &batch);
    let (good, refused) = (answer.text().matches("\"0x1\"").count(), answer.text().matches("-32005").count());
    assert_eq!((answer.status, good + refused), (200, 10));
    assert!((4..=5).contains(&good), "{good}");
    let used = shop.wait_calls(id, 10);
    assert_eq!((used.billable, used.errors), (good as u64, [refused as u64, 0, 0]));
}

#[test]
fn sockets_and_subscriptions_are_counted() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, _) = shop.plan("small", r#"{"sockets":1}"#).key("small");
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    let path = format!("/v1/{key}/rpc/ethereum");
    let first = Socket::open(node.http, &path);
    let status = |socket: &Socket| socket.head.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(status(&Socket::ask(node.http, &path, "")), "429");
    drop(first);
    eventually("the place is free", || (status(&Socket::ask(node.http, &path, "")) == "101").then_some(()));
}

#[test]
fn notifications_are_on_the_bill_by_count_and_bytes() {
    let (mut shop, blocks) = (Shop::new(), Blocks::new());
    let (key, id) = shop.plan("basic", r#"{"subscriptions":1,"units":{"eth_subscription":3}}"#).key("basic");
    let alpha = Telling::start(&blocks);
    let ws_url = format!("ws_url = \"{}\"", alpha.ws_url());
    let chain = Chain::new("ethereum", 1).provider_with("alpha", &alpha.http.url(), &ws_url);
    let node = shop.in_setup(Setup::new().chain(chain)).start();
    let mut socket = Socket::open(node.http, &format!("/v1/{key}/rpc/ethereum"));
    let subscribe = support::json::call("eth_subscribe", r#"["newHeads"]"#);
    assert!(socket.call(&subscribe).starts_with("\"0x"));
    let (_, refused) = socket.text(&subscribe).message();
    assert!(String::from_utf8(refused).unwrap().contains("-32005"), "one subscription was sold");
    let mut bytes = 0;
    for _ in 0..4 {
        blocks.mine(0);
        bytes += socket.message().1.len() as u64;
    }
    // The two calls are there as well.
    shop.wait_calls(id, 6);
    let lines = shop.usage(Grouping::Method);
    let told = lines.iter().find(|line| line.group == Group::Word("eth_subscription".to_owned())).unwrap().usage;
    assert_eq!((told.calls, told.billable, told.bytes_out), (4, 4, bytes));
    assert_eq!(told.units, 4 * 3 * bytes.div_ceil(4 * 1024), "each has less than a KiB");
}

/// As it would be over HTTP.
#[test]
fn a_subscription_that_providers_cannot_serve_is_not_paid_for() {
    let (mut shop, blocks) = (Shop::new(), Blocks::new());
    let (key, id) = shop.plan("basic", "{}").key("basic");
    let alpha = Telling::start(&blocks);
    let ws_url = format!("ws_url = \"{}\"", alpha.ws_url());
    let chain = Chain::new("ethereum", 1).provider_with("alpha", &alpha.http.url(), &ws_url);
    let node = shop.in_setup(Setup::new().chain(chain)).start();
    let mut socket = Socket::open(node.http, &format!("/v1/{key}/rpc/ethereum"));
    let mut refused = |code: i64, calls, billable, errors| {
        alpha.refuse(json!({ "code": code, "message": "no" }));
        let (_, told) = socket
            .text(&support::json::call("eth_subscribe", &format!("[\"logs\",{{\"address\":\"0x{code:040x}\"}}]")))
            .message();
        assert!(String::from_utf8(told).unwrap().contains(&code.to_string()));
        let used = shop.wait_calls(id, calls);
        assert_eq!((used.billable, used.errors), (billable, errors), "{code}");
    };
    refused(-32601, 1, 0, [1, 0, 0]);
    refused(-32602, 2, 1, [2, 0, 0]);
}

#[test]
fn who_shows_no_key_has_the_anonymous_plan_by_address() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    shop.plan("free", r#"{"calls_per_second":1,"calls_burst":2}"#);
    let node = shop.in_setup(Setup::ethereum(&[&provider])).set("tenants", "anonymous = \"free\"").start();
    let statuses: Vec<_> = (0..5).map(|_| ask(&node, "/rpc/ethereum", "", CALL).status).collect();
    assert_eq!((statuses[0], statuses[4]), (200, 429), "{statuses:?}");
    assert_eq!(ask(&node, "/rpc/ethereum?key=x", "", CALL).status, 401, "a wrong key is no stranger");
}

#[test]
fn the_ledger_has_what_clients_counted() {
    let mut shop = Shop::new();
    let provider = Provider::start(|call| match call.method().as_str() {
        "eth_call" => Reply::error(call, r#"{"code":3,"message":"execution reverted"}"#),
        _ => Reply::result(call, "\"0x1\""),
    });
    let (key, id) = shop.plan("basic", r#"{"units":{"eth_call":100}}"#).key("basic");
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    let path = format!("/v1/{key}/rpc/ethereum");
    let reverted = r#"{"jsonrpc":"2.0","id":2,"method":"eth_call","params":[{}]}"#;
    let (mut client, mut bytes_out) = (node.connect(), 0);
    for body in [CALL, reverted] {
        bytes_out += client.send(request(&path, body)).answer().body.len();
    }
    let batch = format!("[{CALL},{reverted}]");
    // Brackets and comma are of no call.
    bytes_out += client.send(request(&path, &batch)).answer().body.len() - 3;
    let mut socket = Socket::open(node.http, &path);
    bytes_out += told(&mut socket).len();
    let blocked = client.send(request(&path, r#"{"jsonrpc":"2.0","id":1,"method":"eth_sign","params":[]}"#)).answer();
    bytes_out += blocked.body.len();
    let used = shop.wait_calls(id, 6);
    // Three reads of 20 and two calls of 100; what is blocked here is not paid for.
    assert_eq!((used.calls, used.billable, used.units), (6, 5, 3 * 20 + 2 * 100));
    assert_eq!((used.errors, used.attempts), ([3, 0, 0], 5));
    let blocked_in = r#"{"jsonrpc":"2.0","id":1,"method":"eth_sign","params":[]}"#.len();
    let bytes_in = 3 * CALL.len() + 2 * reverted.len() + blocked_in;
    assert_eq!((used.bytes_in, used.bytes_out), (bytes_in as u64, bytes_out as u64));
    let word = |group: &Group| match group {
        Group::Word(word) => word.clone(),
        other => panic!("{other:?}"),
    };
    let mut calls = |by| -> Vec<(String, u64)> {
        shop.usage(by).iter().map(|line| (word(&line.group), line.usage.calls)).collect()
    };
    assert_eq!(calls(Grouping::Chain), [("ethereum".to_owned(), 6)]);
    assert_eq!(calls(Grouping::Provider), [(String::new(), 1), ("alpha".to_owned(), 5)]);
    let methods = [("eth_call", 2), ("eth_getBalance", 3), ("eth_sign", 1)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(calls(Grouping::Method), methods);
}

#[test]
fn methods_that_only_a_vendor_knows_weigh_what_the_plan_says() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, id) = shop.plan("basic", r#"{"units":{"alchemy_*":150,"zks_foo":7,"*":3}}"#).key("basic");
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    for method in ["alchemy_getAssetTransfers", "zks_foo", "zks_bar", "eth_getBalance"] {
        let body = support::json::call(method, "[]");
        assert_eq!(ask(&node, &format!("/v1/{key}/rpc/ethereum"), "", &body).status, 200, "{method}");
    }
    let used = shop.wait_calls(id, 4);
    assert_eq!((used.billable, used.units), (4, 150 + 7 + 3 + 3));
}

#[test]
fn what_was_used_last_is_written_before_the_node_ends() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, id) = shop.plan("basic", "{}").key("basic");
    let mut node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    let path = format!("/v1/{key}/rpc/ethereum");
    let mut client = node.connect();
    for _ in 0..50 {
        assert_eq!(client.send(request(&path, CALL)).answer().status, 200);
    }
    node.signal("TERM");
    assert!(node.wait_end().success());
    assert_eq!(shop.used(id).billable, 50);
}

#[test]
fn a_month_goes_on_after_a_restart() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, _) = shop.plan("small", r#"{"units_per_month":100}"#).key("small");
    let path = format!("/v1/{key}/rpc/ethereum");
    let mut good = 0;
    for _ in 0..2 {
        let mut node = shop.in_setup(Setup::ethereum(&[&provider])).start();
        let mut client = node.connect();
        good += (0..3).filter(|_| client.send(request(&path, CALL)).answer().status == 200).count();
        node.signal("TERM");
        assert!(node.wait_end().success());
    }
    assert_eq!(good, 5, "of six, each of 20 units");
}

#[test]
fn rotating_sells_nothing() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (mut key, mut id) = shop.plan("small", r#"{"units_per_month":100}"#).key("small");
    let mut good = 0;
    // The second one knows of what was used from the ledger alone.
    for _ in 0..2 {
        let mut node = shop.in_setup(Setup::ethereum(&[&provider])).start();
        let two = |key: &str| (0..2).filter(|_| is_good(&node, key)).count();
        good += two(&key);
        let old = id;
        (key, id) = shop.rotated(old);
        shop.revoke(old);
        let path = format!("/v1/{key}/rpc/ethereum");
        eventually("the new key is known", || (ask(&node, &path, "", "{}").status != 401).then_some(()));
        good += two(&key);
        node.signal("TERM");
        assert!(node.wait_end().success());
    }
    assert_eq!(good, 5, "of eight, each of 20 units");
}

#[test]
fn no_key_is_in_the_log_or_on_any_page() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, id) = shop.plan("basic", "{}").key("basic");
    let node = shop
        .in_setup(Setup::ethereum(&[&provider]))
        .set("log", "level = \"trace\"")
        .set("log", "access_sample = 1.0")
        .start();
    let path = format!("/v1/{key}/rpc/ethereum");
    let wrong = key.replace("lc_live_", "lc_live_A");
    for (path, fields) in [
        (path.clone(), format!("Referer: https://a.example/v1/{key}/\r\n")),
        ("/rpc/ethereum".to_owned(), format!("Authorization: Bearer {key}\r\n")),
        (format!("/rpc/ethereum?key={wrong}"), String::new()),
        (format!("/v1/{key}/nowhere"), String::new()),
    ] {
        let answer = ask(&node, &path, &fields, CALL);
        let secret = &key[8..40];
        assert!(!answer.text().contains(secret), "{}", answer.text());
    }
    Socket::open(node.http, &path).call(CALL);
    let secret = &key[8..40];
    eventually("the log has the requests", || (node.log().matches("livechain::access").count() >= 3).then_some(()));
    assert!(!node.log().contains(secret), "{}", node.log());
    assert!(node.log().contains(&format!("key={id}")), "its public name is: {}", node.log());
    let shows = |name: &str, value: u64| {
        let page = node.admin_get("/metrics").text();
        let line = page.lines().find(|line| line.starts_with(&format!("livechain_{name}{{"))).map(str::to_owned);
        line.filter(|line| line.ends_with(&format!(" {value}")))
    };
    for (name, value) in [("keys", 1), ("active_keys", 1), ("ledger_up", 1), ("fleet_up", 1)] {
        eventually(name, || shows(name, value));
    }
    for page in ["/metrics", "/api/status", "/api/chains", "/api/providers", "/api/leaderboard"] {
        assert!(!node.admin_get(page).text().contains(secret), "{page}");
    }
    // What a provider is sent has no word of it.
    for seen in provider.seen() {
        assert!(!format!("{:?}", seen.head).contains(secret) && !String::from_utf8_lossy(&seen.body).contains(secret));
    }
}
