//! What providers cannot do is remembered: blocks that they no longer have, ranges that they refuse. The method that one lacks
//! stands in `errors.rs`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use support::{Node, Provider, Reply, Seen, Setup, eventually, json};

const HEAD: u64 = 20_000;

/// Says which chain it is and how far, and leaves the rest to `rest`.
fn provider(rest: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Provider {
    Provider::start(move |call| match call.method().as_str() {
        "eth_chainId" => Reply::result(call, "\"0x1\""),
        "eth_blockNumber" => Reply::result(call, &format!("\"{HEAD:#x}\"")),
        _ => rest(call),
    })
}

fn error(call: &Seen, code: i64, message: &str) -> Reply {
    Reply::error(call, &format!(r#"{{"code":{code},"message":"{message}"}}"#))
}

/// One shard, so that what one call teaches the next one knows; with a head, once somebody has told it.
fn start(providers: &[&Provider]) -> Node {
    with_head(Setup::ethereum(providers).set("shards", &support::one_core()))
}

fn with_head(setup: Setup) -> Node {
    let node = setup
        .set("probes", "enabled = true")
        .set("probes", "every = \"100ms\"")
        .set("probes", "spacing = \"0ms\"")
        .start();
    eventually("the chain's head", || {
        let page: serde_json::Value = serde_json::from_slice(&node.admin_get("/api/chains").body).unwrap();
        (page["chains"][0]["head"] == HEAD).then_some(())
    });
    node
}

fn shown(node: &Node, provider: &str) -> serde_json::Value {
    let page: serde_json::Value = serde_json::from_slice(&node.admin_get("/api/providers").body).unwrap();
    page["providers"].as_array().unwrap().iter().find(|p| p["id"] == provider).unwrap().clone()
}

fn logs(from: u64, to: &str) -> String {
    json::call("eth_getLogs", &format!(r#"[{{"fromBlock":"{from:#x}","toBlock":{to}}}]"#))
}

fn balance(block: u64) -> String {
    json::call("eth_getBalance", &format!(r#"["0x00000000000000000000000000000000000000aa","{block:#x}"]"#))
}

#[test]
fn a_range_that_is_refused_goes_elsewhere_from_then_on() {
    let small = provider(|call| {
        let wide = call.params().contains("\"0x1\"");
        if wide {
            error(call, -32602, "query exceeds max block range 1000")
        } else {
            Reply::result(call, r#"["small"]"#)
        }
    });
    let large = provider(|call| Reply::result(call, r#"["large"]"#));
    let node = start(&[&small, &large]);
    for (call, answers, asked_small) in [
        (logs(1, "\"0x7d0\""), r#"["large"]"#, 1),
        (logs(1, "\"0x7d0\""), r#"["large"]"#, 1),
        // One more than it allows; as many; up to the head, which is far; and a few blocks.
        (logs(2, "\"0x3ea\""), r#"["large"]"#, 1),
        (logs(2, "\"0x3e9\""), r#"["small"]"#, 2),
        (logs(2, "\"latest\""), r#"["large"]"#, 2),
        (logs(HEAD - 10, "\"latest\""), r#"["small"]"#, 3),
    ] {
        assert_eq!(node.ethereum(&call).result(), answers, "{call}");
        assert_eq!(small.calls("eth_getLogs").len(), asked_small, "{call}");
    }
    let lacks = &shown(&node, "alpha")["lacks"];
    assert!(lacks["range"].as_f64().is_some_and(|left| left > 3500.0), "{lacks}");
    // It is a belief and no certainty: where nobody else is left, it is asked, and what it says is what the client gets.
    large.down();
    let answer = node.ethereum(&logs(1, "\"0x7d0\""));
    assert!(answer.text().contains("query exceeds max block range 1000"), "{}", answer.text());
    assert_eq!(small.calls("eth_getLogs").len(), 4);
}

#[test]
fn a_range_is_learned_from_no_word_about_results() {
    let small = provider(|call| error(call, -32005, "query returned more than 10000 results"));
    let large = provider(|call| Reply::result(call, r#"["large"]"#));
    let node = start(&[&small, &large]);
    for asked in 1..4 {
        assert_eq!(node.ethereum(&logs(1, "\"0x7d0\"")).result(), r#"["large"]"#);
        assert_eq!(small.calls("eth_getLogs").len(), asked, "another contract may be quiet");
    }
}

#[test]
fn blocks_that_are_gone_are_asked_of_an_archive() {
    let pruned = provider(|call| {
        if call.params().contains(&format!("{:#x}", HEAD - 100)) || call.params().contains("latest") {
            Reply::result(call, "\"pruned\"")
        } else {
            error(call, -32000, "missing trie node 5ba2 (path ) state 0x5ba2 is not available")
        }
    });
    let archive = provider(|call| Reply::result(call, "\"archive\""));
    let node = start(&[&pruned, &archive]);
    for (call, answers, asked_pruned) in [
        (balance(500), "\"archive\"", 1),
        (balance(500), "\"archive\"", 1),
        (balance(499), "\"archive\"", 1),
        // Above, nothing is known; below the head, less than nothing.
        (balance(501), "\"archive\"", 2),
        (balance(HEAD - 100), "\"pruned\"", 3),
        (json::read(), "\"pruned\"", 4),
    ] {
        assert_eq!(node.ethereum(&call).result(), answers, "{call}");
        assert_eq!(pruned.calls("eth_getBalance").len(), asked_pruned, "{call}");
    }
    // History is another matter.
    let block = json::call("eth_getBlockByNumber", r#"["0x1",false]"#);
    assert_eq!(node.ethereum(&block).result(), "\"archive\"");
    assert_eq!(pruned.calls("eth_getBlockByNumber").len(), 1);
    // It has become an archive, which is found out when it is asked: by its name, or as the last one left.
    pruned.script(|call| Reply::result(call, "\"grown\""));
    assert_eq!(node.post("/rpc/provider/alpha/ethereum", &balance(400)).result(), "\"grown\"");
    assert_eq!(node.ethereum(&balance(450)).result(), "\"grown\"");
    assert_eq!(shown(&node, "alpha")["lacks"].as_object().unwrap().keys().collect::<Vec<_>>(), ["state", "history"]);
    assert_eq!(
        node.ethereum(&balance(300)).result(),
        "\"archive\"",
        "what it was not seen to have is still believed gone"
    );
}

#[test]
fn who_learns_nothing_takes_back_no_other_shards_word() {
    let pruned = provider(|call| error(call, -32000, "missing trie node 5ba2 (path ) state 0x5ba2 is not available"));
    let archive = provider(|call| Reply::result(call, "\"archive\""));
    // All cores: which shard takes a connection is the kernel's choice, so there are many of them.
    let node = with_head(Setup::ethereum(&[&pruned, &archive]));
    node.ethereum(&balance(500));
    assert!(shown(&node, "alpha")["lacks"]["state"].is_number());
    for _ in 0..20 {
        node.connect().post("/rpc/ethereum", &balance(HEAD - 5)).answer();
        assert!(shown(&node, "alpha")["lacks"]["state"].is_number());
    }
    assert_eq!(pruned.calls("eth_getBalance").len(), 21, "near the head nothing is learned");
}

#[test]
fn a_callers_words_teach_nothing() {
    // A contract that reverts with a node's words, shown bare; and a param that the node repeats.
    let says = provider(|call| match call.method().as_str() {
        "eth_call" => error(call, -32000, "missing trie node"),
        "eth_estimateGas" => error(call, -32000, "method not supported"),
        "eth_getLogs" if call.params().contains("max block range 1") => {
            error(call, -32602, "invalid value: string 'max block range 1', expected an address")
        }
        _ => Reply::result(call, "\"says\""),
    });
    let other = provider(|call| Reply::result(call, "\"other\""));
    let node = start(&[&says, &other]);
    for method in ["eth_call", "eth_estimateGas"] {
        for asked in 1..4 {
            let call = json::call(method, r#"[{"to":"0x00000000000000000000000000000000000000aa"},"0x1f4"]"#);
            assert_eq!(node.ethereum(&call).result(), "\"other\"", "{method}");
            assert_eq!(says.calls(method).len(), asked, "{method}");
        }
    }
    assert_eq!(node.ethereum(&balance(400)).result(), "\"says\"");
    let forged = json::call("eth_getLogs", r#"[{"fromBlock":"0x1","toBlock":"0x5","address":"max block range 1"}]"#);
    node.ethereum(&forged);
    assert_eq!(node.ethereum(&logs(1, "\"0x5\"")).result(), "\"says\"");
}
