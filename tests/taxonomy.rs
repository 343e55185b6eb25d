//! What providers say, seen from outside: every line of the taxonomy's file gets what its class is due, and a client that makes a
//! contract revert with any of those texts harms no provider.
//!
//! The file has in it every pattern that the node looks for (a test beside it holds it to that), so that "any of those texts" is
//! all there is to say.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::{Answer, Chain, Node, Provider, Reply, Seen, Setup, json::call};

struct Line {
    class: &'static str,
    status: u16,
    code: i64,
    method: &'static str,
    message: &'static str,
}

fn lines() -> Vec<Line> {
    let lines = include_str!("../src/jsonrpc/taxonomy.txt").lines();
    let rows = lines.filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("none "));
    rows.map(|line| {
        let parts: Vec<&str> = line.splitn(6, " | ").collect();
        let [class, _, status, code, method, message] = parts[..] else { panic!("six parts: {line}") };
        Line { class, status: status.parse().unwrap(), code: code.parse().unwrap(), method, message }
    })
    .collect()
}

/// What a provider says to the calls of a test, and may be told anew.
#[derive(Clone, Default)]
struct Says(Arc<Mutex<Option<(u16, i64, String)>>>, Arc<AtomicUsize>);

impl Says {
    fn set(&self, status: u16, code: i64, message: &str) {
        *self.0.lock().unwrap() = Some((status, code, message.to_owned()));
    }

    /// How often it was asked.
    fn asked(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }

    fn reply(&self, call: &Seen) -> Reply {
        self.1.fetch_add(1, Ordering::SeqCst);
        match &*self.0.lock().unwrap() {
            Some((status, code, message)) => {
                let error = json!({ "code": code, "message": message });
                Reply::status(*status, format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, call.id()))
            }
            None => Reply::result(call, "\"first\""),
        }
    }
}

/// Of transactions, another one for each `n`: one that was sent already is another matter.
fn params(method: &str, n: usize) -> String {
    let params = match method {
        "eth_call" | "eth_estimateGas" | "debug_traceCall" => {
            r#"[{"to":"0x00000000000000000000000000000000000000aa"},"0x1f4"]"#
        }
        "eth_getLogs" => r#"[{"fromBlock":"0x1","toBlock":"0xffff"}]"#,
        "eth_sendRawTransaction" => return format!(r#"["0x{n:08x}"]"#),
        _ => r#"["0x1f4","0x1f4"]"#,
    };
    params.to_owned()
}

fn shown(node: &Node, provider: &str) -> Value {
    let page: Value = serde_json::from_slice(&node.admin_get("/api/providers").body).unwrap();
    page["providers"].as_array().unwrap().iter().find(|p| p["id"] == provider).unwrap().clone()
}

/// Whether the client gets the first provider's word, or the second one is asked. Nobody's standing is of interest here: each
/// line has a chain of its own.
fn due(line: &Line, answer: &Answer) -> Result<(), String> {
    let relayed = answer
        .raw("error")
        .is_some_and(|error| serde_json::from_str::<Value>(&error).is_ok_and(|error| error["message"] == line.message));
    let second = answer.raw("result").as_deref() == Some("\"second\"");
    let right = match line.class {
        "execution" | "too_many_addresses" | "transaction_policy" | "bad_params" | "other" => relayed,
        // Its hash, computed by the node.
        "already_known" => answer.raw("result").is_some_and(|hash| hash.len() == 68 && hash.starts_with("\"0x")),
        _ => second,
    };
    right.then_some(()).ok_or_else(|| format!("{} {} {}: {}", line.class, line.code, line.message, answer.text()))
}

#[test]
fn every_line_gets_what_its_class_is_due() {
    let lines = lines();
    let second = Provider::answering("\"second\"");
    let firsts: Vec<Provider> = lines
        .iter()
        .map(|line| {
            let says = Says::default();
            says.set(line.status, line.code, line.message);
            Provider::start(move |call| says.reply(call))
        })
        .collect();
    let chain = |(n, first): (usize, &Provider)| {
        Chain::new(&format!("c{n}"), 1000 + n as u64).provider("alpha", &first.url()).provider("beta", &second.url())
    };
    let chains: Vec<Chain> = firsts.iter().enumerate().map(chain).collect();
    let node = Setup::new().chains(&chains).start();
    let wrong: Vec<String> = lines
        .iter()
        .enumerate()
        .filter_map(|(n, line)| {
            due(line, &node.post(&format!("/rpc/c{n}"), &call(line.method, &params(line.method, n)))).err()
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), lines.len(), wrong.join("\n"));
}

/// A caller chooses the text of its revert. Nodes show it behind words of their own, or bare.
#[test]
fn a_client_that_reverts_with_any_of_these_texts_harms_nobody() {
    let says = Says::default();
    let speaks = says.clone();
    let first = Provider::start(move |call| match call.method().as_str() {
        "eth_call" | "eth_estimateGas" | "debug_traceCall" => speaks.reply(call),
        _ => Reply::result(call, "\"first\""),
    });
    let second = Provider::answering("\"second\"");
    let node = Setup::ethereum(&[&first, &second]).start();
    let lines = lines();
    let mut wrong = Vec::new();
    for method in ["eth_call", "eth_estimateGas", "debug_traceCall"] {
        for line in &lines {
            let reverted = format!("execution reverted: {}", line.message);
            for (code, message) in [
                (3, &*reverted),
                (-32000, &*reverted),
                (3, line.message),
                (-32000, line.message),
                (-32603, line.message),
            ] {
                says.set(200, code, message);
                let before = says.asked();
                let answer = node.ethereum(&call(method, &params(method, 0)));
                let asked = says.asked() - before;
                let is_revert = code == 3 || message == reverted;
                let relayed = answer.raw("error").is_some();
                if asked != 1 || (is_revert && !relayed) {
                    wrong.push(format!("{method} {code} {message}: asked {asked} times, {}", answer.text()));
                }
            }
        }
        let alpha = shown(&node, "alpha");
        let standing = [&alpha["breaker"], &alpha["rest"], &alpha["out"], &alpha["lacks"]];
        assert_eq!(standing, [&json!("closed"), &Value::Null, &Value::Null, &json!({})], "after {method}");
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    // Nothing was learned of it: neither that it lacks a method, nor blocks, nor that it refuses a range.
    says.0.lock().unwrap().take();
    for method in ["eth_call", "eth_estimateGas", "debug_traceCall", "eth_getBalance", "eth_getLogs"] {
        assert_eq!(node.ethereum(&call(method, &params(method, 0))).result(), "\"first\"", "{method}");
    }
    for word in ["cooldown", "parked", "unauthorized", "breaker_opened"] {
        assert!(!node.log().contains(word), "{word} was told");
    }
}
