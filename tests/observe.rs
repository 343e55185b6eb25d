//! What an operator sees of a running node: metrics, access lines, the formats of the log, where the node says it is.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::collections::BTreeSet;

use support::{Chain, Node, Provider, Reply, Setup, eventually, json};

/// A counter's value, summed over every line whose labels have all of these.
fn metric(node: &Node, name: &str, labels: &[&str]) -> f64 {
    let page = node.admin_get("/metrics").text();
    let lines = page.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')) && labels.iter().all(|l| line.contains(l))
    });
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn metrics_count_what_happened() {
    let bad = Provider::start(|_| Reply::status(502, ""));
    let good = Provider::answering("1");
    let node = Setup::ethereum(&[&bad, &good]).set("breaker", "failures = 3").start();
    for _ in 0..10 {
        assert_eq!(node.ethereum(&json::read()).status, 200);
    }
    assert_eq!(node.ethereum("nonsense").own_error(), -32700);
    assert_eq!(node.post("/rpc/nochain", &json::read()).status, 404);
    let expected: [(&str, &[&str], f64); 6] = [
        ("livechain_attempts_total", &["chain=\"ethereum\"", "provider=\"beta\"", "outcome=\"success\""], 10.0),
        ("livechain_attempt_duration_seconds_count", &["provider=\"beta\"", "class=\"read\""], 10.0),
        ("livechain_failures_total", &["reason=\"parse_error\""], 1.0),
        ("livechain_calls_total", &[], 10.0),
        ("livechain_chain_usable", &["chain=\"ethereum\""], 1.0),
        ("livechain_ready", &["region=\"test-1\"", "node=\"node-a\""], 1.0),
    ];
    // Shards report by and by.
    for (name, labels, value) in expected {
        eventually(&format!("{name} {labels:?} to be {value}"), || {
            (metric(&node, name, labels) >= value).then_some(())
        });
    }
    let failed = metric(&node, "livechain_attempts_total", &["provider=\"alpha\"", "outcome=\"failure\""]);
    assert!((3.0..=6.0).contains(&failed), "{failed} failures before the breaker opened");
    assert!(metric(&node, "livechain_provider_breaker", &["provider=\"alpha\""]) > 0.0, "the breaker shows open");
    assert!(metric(&node, "livechain_provider_breaker", &["provider=\"beta\""]) < 0.5, "the other's shows closed");
    let pooled = metric(&node, "livechain_upstream_connections", &[]);
    let accepted = u32::try_from(good.accepted() + bad.accepted()).unwrap();
    assert!(pooled >= 1.0 && pooled <= f64::from(accepted), "{pooled} connections");
    assert!(node.admin_get("/metrics").text().ends_with("# EOF\n"), "an OpenMetrics page has an end");
}

#[test]
fn clients_cannot_make_time_series() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider]).start();
    let series = || -> BTreeSet<String> {
        let page = node.admin_get("/metrics").text();
        page.lines().filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
    };
    node.ethereum(&json::call("eth_first", "[]"));
    eventually("the first call to be counted", || {
        (metric(&node, "livechain_attempts_total", &["outcome=\"success\""]) >= 1.0).then_some(())
    });
    let before = series();
    for n in 0..50 {
        node.ethereum(&json::call(&format!("eth_made_up_{n}"), "[]"));
        node.post(&format!("/rpc/made-up-{n}"), &json::read());
        node.post(&format!("/rpc/provider/made-up-{n}/ethereum"), &json::read());
    }
    eventually("all calls to be counted", || {
        (metric(&node, "livechain_attempts_total", &["outcome=\"success\""]) >= 51.0).then_some(())
    });
    let new: Vec<String> = series().difference(&before).cloned().collect();
    assert!(new.len() < 10, "{} new series: {:?}", new.len(), &new[..10]);
    assert!(!new.iter().any(|s| s.contains("made")), "{new:?}");
}

#[test]
fn a_call_can_be_found_in_the_log_by_its_request_id() {
    let provider = Provider::answering("1");
    for format in ["text", "json"] {
        let node = Setup::ethereum(&[&provider])
            .set("log", &format!("format = \"{format}\""))
            .set("log", "access_sample = 1.0")
            .start();
        let answer = node.ethereum(&json::read());
        let id = answer.field("x-livechain-request-id").unwrap().to_owned();
        let line = eventually("the access line", || node.log().lines().find(|l| l.contains(&id)).map(str::to_owned));
        for word in ["eth_getBalance", "alpha", "ethereum"] {
            assert!(line.contains(word), "{format}: no {word} in {line}");
        }
        if format == "json" {
            for line in node.log().lines() {
                let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
                assert!(parsed.is_ok(), "no JSON: {line}");
            }
        }
    }
    let node = Setup::ethereum(&[&provider]).set("log", "access_sample = 0.0").start();
    let answer = node.ethereum(&json::read());
    let id = answer.field("x-livechain-request-id").unwrap().to_owned();
    let sampled = Setup::ethereum(&[&provider]).set("log", "access_sample = 0.5").start();
    for _ in 0..100 {
        sampled.ethereum(&json::read());
    }
    let lines = || sampled.log().matches("eth_getBalance").count();
    eventually("about half of the access lines", || (lines() >= 20).then_some(()));
    assert!(lines() <= 80, "{} of 100", lines());
    assert!(!node.log().contains(&id), "an access line that nobody asked for");
}

#[test]
fn the_region_chooses_a_providers_address() {
    let (home, abroad) = (Provider::answering("\"home\""), Provider::answering("\"abroad\""));
    let lines = format!("priority = 1\n[chains.providers.regions.eu-west-1]\nurl = \"{}\"", abroad.url());
    let setup = Setup::new().chain(Chain::new("ethereum", 1).provider_with("alpha", &home.url(), &lines));
    let node = setup.start();
    assert_eq!(node.ethereum(&json::read()).result(), "\"home\"");
    let setup = Setup::new().chain(Chain::new("ethereum", 1).provider_with("alpha", &home.url(), &lines));
    let node = setup.env("LIVECHAIN_REGION", "eu-west-1").env("LIVECHAIN_NODE_ID", "eu-1").start();
    let answer = node.ethereum(&json::read());
    assert_eq!(answer.result(), "\"abroad\"");
    assert_eq!(answer.field("x-livechain-region"), Some("eu-west-1"));
    assert_eq!(answer.field("x-livechain-node"), Some("eu-1"));
    assert!(node.get("/api/region").text().contains("eu-west-1"));
}
