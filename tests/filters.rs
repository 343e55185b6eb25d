//! Filters over HTTP: they live on one provider, and the id that the client holds leads there from any shard.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Chain, Node, Provider, Reply, Setup, json};

/// A provider whose filters have ids of its own, all different, and that knows no others.
fn provider(name: &'static str) -> Provider {
    let next = AtomicUsize::new(1);
    Provider::start(move |call| {
        let known = call.params().contains(&format!("0x{name}"));
        match call.method().as_str() {
            "eth_newFilter" | "eth_newBlockFilter" | "eth_newPendingTransactionFilter" => {
                Reply::result(call, &format!("\"0x{name}{}\"", next.fetch_add(1, Ordering::SeqCst)))
            }
            "eth_uninstallFilter" => Reply::result(call, if known { "true" } else { "false" }),
            _ if known => Reply::result(call, &format!("[{{\"at\":\"{name}\",\"of\":{}}}]", call.params())),
            _ => Reply::error(call, r#"{"code":-32000,"message":"filter not found"}"#),
        }
    })
}

fn balanced(providers: &[(&str, &Provider)]) -> Setup {
    let chain = Chain::new("ethereum", 1).line("strategy = \"load-balanced\"");
    Setup::new().chain(providers.iter().fold(chain, |c, (id, p)| c.provider_with(id, &p.url(), "")))
}

/// Creates one; its id as raw JSON.
fn create(node: &Node, method: &str) -> String {
    node.ethereum(&json::call(method, if method == "eth_newFilter" { "[{}]" } else { "[]" })).result()
}

#[test]
fn a_filter_is_asked_where_it_lives() {
    let (a, b) = (provider("aaa"), provider("bbb"));
    let node = balanced(&[("alpha", &a), ("beta", &b)]).start();
    let mut homes = Vec::new();
    for method in ["eth_newFilter", "eth_newBlockFilter", "eth_newPendingTransactionFilter"].repeat(4) {
        let id = create(&node, method);
        assert!(id.starts_with("\"0x") && id[3..id.len() - 1].chars().all(|c| c.is_ascii_hexdigit()), "{id}");
        let mut seen = Vec::new();
        // Each on a connection of its own, so that every shard gets some.
        for asked in ["eth_getFilterChanges", "eth_getFilterLogs"].repeat(4) {
            seen.push(node.ethereum(&json::call(asked, &format!("[{id}]"))).result());
        }
        assert!(seen.windows(2).all(|w| w[0] == w[1]), "{seen:?}");
        homes.push(seen.remove(0).contains("aaa"));
    }
    assert!(homes.contains(&true) && homes.contains(&false), "all filters went to one provider");
}

#[test]
fn an_uninstalled_filter_is_gone() {
    let a = provider("aaa");
    let node = balanced(&[("alpha", &a)]).start();
    let id = create(&node, "eth_newFilter");
    let uninstall = json::call("eth_uninstallFilter", &format!("[{id}]"));
    assert_eq!(node.ethereum(&uninstall).result(), "true");
    assert!(a.calls("eth_uninstallFilter")[0].params().contains("0xaaa1"), "the provider is asked for its own id");
}

#[test]
fn an_id_that_is_not_ours_is_not_found() {
    let (a, b) = (provider("aaa"), provider("bbb"));
    let node = balanced(&[("alpha", &a), ("beta", &b)]).start();
    let id = create(&node, "eth_newFilter");
    let mut forged = id.clone().into_bytes();
    let last = forged.len() - 2;
    forged[last] = if forged[last] == b'0' { b'1' } else { b'0' };
    let forged = String::from_utf8(forged).unwrap();
    for bad in [forged.as_str(), "\"0x1\"", "\"0xaaa1\"", "\"0x\"", "\"\"", "\"zz\"", "17"] {
        for method in ["eth_getFilterChanges", "eth_getFilterLogs"] {
            let answer = node.ethereum(&json::call(method, &format!("[{bad}]")));
            let error = answer.error();
            assert_eq!((answer.status, error["code"].as_i64()), (200, Some(-32000)), "{bad}: {}", answer.text());
            assert!(error["message"].as_str().unwrap().contains("filter not found"), "{bad}: {}", answer.text());
        }
    }
    assert!(a.calls("eth_getFilterChanges").is_empty() && b.calls("eth_getFilterChanges").is_empty());
}

#[test]
fn a_filter_whose_provider_is_gone_is_not_found() {
    let (a, b) = (provider("aaa"), provider("bbb"));
    let node = Setup::ethereum(&[&a, &b]).start();
    let id = create(&node, "eth_newFilter");
    a.down();
    let answer = node.ethereum(&json::call("eth_getFilterChanges", &format!("[{id}]")));
    assert_eq!(answer.error()["code"].as_i64(), Some(-32000), "{}", answer.text());
    assert!(answer.text().contains("filter not found"), "{}", answer.text());
    assert!(b.calls("eth_getFilterChanges").is_empty(), "a provider was asked for another's filter");
    assert!(create(&node, "eth_newFilter").starts_with("\"0x"), "a new one lives elsewhere");
}

#[test]
fn filters_work_in_batches() {
    let (a, b) = (provider("aaa"), provider("bbb"));
    let node = balanced(&[("alpha", &a), ("beta", &b)]).start();
    let ids: Vec<String> = (0..6).map(|_| create(&node, "eth_newFilter")).collect();
    let calls: Vec<String> = ids.iter().map(|id| json::call("eth_getFilterChanges", &format!("[{id}]"))).collect();
    let answer = node.ethereum(&format!("[{}]", calls.join(",")));
    assert!(json::items(&answer.body).iter().all(|i| json::raw(i.as_bytes(), "result").is_some()), "{}", answer.text());
}

#[test]
fn filters_work_in_a_batch() {
    let (a, b) = (provider("aaa"), provider("bbb"));
    let node = balanced(&[("alpha", &a), ("beta", &b)]).start();
    let create = json::call("eth_newFilter", "[{}]");
    let made = json::items(&node.ethereum(&format!("[{create},{create},{create}]")).body);
    let ids: Vec<String> = made.iter().map(|item| json::raw(item.as_bytes(), "result").unwrap()).collect();
    let ask: Vec<String> = ids.iter().map(|id| json::call("eth_getFilterChanges", &format!("[{id}]"))).collect();
    let answer = node.ethereum(&format!("[{}]", ask.join(",")));
    for (id, item) in ids.iter().zip(json::items(&answer.body)) {
        assert!(json::raw(item.as_bytes(), "result").is_some(), "{id}: {item}");
    }
    let seen = [a.calls("eth_getFilterChanges"), b.calls("eth_getFilterChanges")].concat();
    assert_eq!(seen.len(), 3);
    assert!(!ids.iter().any(|id| seen.iter().any(|call| call.params().contains(id.as_str()))), "our id went upstream");
}
