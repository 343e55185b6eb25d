//! A provider's credentials reach the provider, and nobody else: no client, no log, no page, no metric.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::process::Command;

use support::{Chain, Node, Provider, Reply, Setup, json};

const KEY: &str = "sup3rs3cr3tk3y";

/// A node whose providers hold a key in every place where one may stand.
fn start(providers: &[Provider; 4]) -> Node {
    let [path, query, user, header] = providers.each_ref().map(|p| p.address.to_string());
    let chain = Chain::new("ethereum", 1)
        .provider("path", &format!("http://{path}/v2/{KEY}"))
        .provider("query", &format!("http://{query}/?apikey={KEY}"))
        .provider("user", &format!("http://name:{KEY}@{user}/"))
        .provider_with(
            "header",
            &format!("http://{header}"),
            &format!("priority = 4\nheaders = {{ \"X-Api-Key\" = \"{KEY}\" }}"),
        );
    Setup::new().chain(chain).set("log", "level = \"trace\"").set("log", "access_sample = 1.0").start()
}

#[test]
fn credentials_are_sent_where_the_config_puts_them() {
    let providers = [(); 4].map(|()| Provider::answering("1"));
    let node = start(&providers);
    for id in ["path", "query", "user", "header"] {
        assert_eq!(node.post(&format!("/rpc/provider/{id}/ethereum"), &json::read()).result(), "1", "{id}");
    }
    let seen = providers.each_ref().map(|p| p.wait_calls("eth_getBalance", 1).remove(0));
    assert_eq!(seen[0].head.line, format!("POST /v2/{KEY} HTTP/1.1"));
    assert_eq!(seen[1].head.line, format!("POST /?apikey={KEY} HTTP/1.1"));
    assert_eq!(seen[2].head.line, "POST / HTTP/1.1");
    // base64 of `name:` and the key
    assert_eq!(seen[2].head.field("authorization"), Some("Basic bmFtZTpzdXAzcnMzY3IzdGszeQ=="));
    assert_eq!(seen[3].head.field("x-api-key"), Some(KEY));
}

#[test]
fn credentials_are_shown_to_nobody() {
    // Providers that repeat the key in everything they say, and fail in every way.
    let providers = [(); 4].map(|()| {
        Provider::start(|call| match call.id().as_str() {
            "1" => Reply::status(401, format!("invalid key {KEY}")),
            "2" => {
                Reply::status(429, format!(r#"{{"id":2,"error":{{"code":429,"message":"{KEY} is over its limit"}}}}"#))
            }
            "3" => Reply::status(502, format!("<h1>{KEY}</h1>")),
            "4" => Reply::raw(format!("{KEY}\r\n\r\n")),
            _ => Reply::result(call, "1").field(&format!("X-Key: {KEY}")),
        })
    });
    let node = start(&providers);
    let mut shown = Vec::new();
    for id in 0..5 {
        for path in
            ["/rpc/ethereum", "/rpc/provider/path/ethereum", "/rpc/provider/query/ethereum", "/rpc/ethereum?meta=1"]
        {
            let answer = node.post(path, &json::read().replace("\"id\":1", &format!("\"id\":{id}")));
            shown.push((format!("{path} {id}"), answer));
        }
    }
    providers[0].down();
    shown.push(("refused".to_owned(), node.post("/rpc/provider/path/ethereum", &json::read())));
    for path in ["/api/status", "/api/region", "/api/ready", "/api/health"] {
        shown.push((path.to_owned(), node.get(path)));
    }
    for path in ["/metrics", "/api/providers", "/api/chains", "/api/status"] {
        shown.push((path.to_owned(), node.admin_get(path)));
    }
    for (what, answer) in shown {
        assert!(!String::from_utf8_lossy(&answer.head.raw).contains(KEY), "{what}: in the head");
        assert!(!answer.text().contains(KEY), "{what}: {}", answer.text());
    }
    assert!(!node.log().is_empty(), "nothing was logged, so this shows nothing");
    assert!(!node.log().contains(KEY), "in the log");
    assert!(!node.log().contains("bmFtZTpzdXAz"), "in the log, encoded");
}

#[test]
fn check_masks_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.toml");
    let text = format!(
        "[listen]\nhttp = [\"127.0.0.1:1\"]\nnonsense = 1\n[[chains]]\nname = \"UPPER\"\nid = 1\nblock_time = \"soon\"\n\
         [[chains.providers]]\nid = \"a\"\nurl = \"ftp://user:{KEY}@host/v2/{KEY}?k={KEY}\"\n\
         headers = {{ \"X-Api-Key\" = \"{KEY}\", \"bad name\" = \"{KEY}\" }}\n"
    );
    std::fs::write(&path, &text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_livechain")).args(["check", "--config"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains(KEY), "{said}");
    // The words of an allow-list are shown, and what is wrong with the rest is told without it.
    for shown in ["`nonsense`", "\"UPPER\"", "\"soon\"", "the scheme must be"] {
        assert!(said.contains(shown), "{shown} is not among the faults:\n{said}");
    }
    for place in ["3:1", "5:8", "7:14", "10:7", "11:45"] {
        assert!(said.contains(&format!("bad.toml:{place}\n")), "no fault at {place}:\n{said}");
    }
    assert!(!said.contains("user") && !said.contains("host"), "of the address nothing is shown:\n{said}");
}

#[test]
fn check_accepts_what_run_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("good.toml");
    std::fs::write(&path, Setup::new().chain(Chain::new("ethereum", 1).provider("a", "http://127.0.0.1:1")).text())
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_livechain")).args(["check", "--config"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
