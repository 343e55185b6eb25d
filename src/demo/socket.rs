//! A demo provider's WebSocket: the same calls, and each new block's log and head to whoever subscribed.
//!
//! One that fails now and then also hangs up now and then, at a block: the node's clients are not to notice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use serde_json::{Value, json};

use super::chain;
use super::provider::Provider;

/// How often it looks whether there is a new block.
const LOOK: Duration = Duration::from_millis(100);
/// Subscriptions of one connection; more are refused.
const SUBSCRIPTIONS_MAX: usize = 1000;
/// One that fails hangs up at each so many-th block.
const HANGS_UP_EVERY: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Heads,
    Logs,
}

/// What one connection subscribed to, by id.
#[derive(Debug, Default)]
struct Subscriptions {
    last: u64,
    by_id: BTreeMap<String, About>,
}

pub(super) async fn upgrade(State(provider): State<Arc<Provider>>, request: WebSocketUpgrade) -> Response {
    request.on_upgrade(move |socket| serve(provider, socket))
}

async fn serve(provider: Arc<Provider>, mut socket: WebSocket) {
    let mut subscriptions = Subscriptions::default();
    let mut told = chain::head(SystemTime::now());
    let mut look = tokio::time::interval(LOOK);
    // Ends with the connection.
    loop {
        let messages = tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => vec![subscriptions.answer(&provider, text.as_str())],
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
            _ = look.tick() => {
                let head = chain::head(SystemTime::now());
                if (told + 1..=head).any(|number| provider.fails() && number.is_multiple_of(HANGS_UP_EVERY)) {
                    return;
                }
                let news = (told + 1..=head).flat_map(|number| subscriptions.news(number)).collect();
                told = head;
                news
            }
        };
        for message in messages {
            if socket.send(Message::text(message)).await.is_err() {
                return;
            }
        }
    }
}

impl Subscriptions {
    fn answer(&mut self, provider: &Provider, text: &str) -> String {
        let call: Value = serde_json::from_str(text).unwrap_or_default();
        let reply = |result: Value| json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }).to_string();
        match call["method"].as_str() {
            Some("eth_subscribe") => match self.add(&call["params"]) {
                Ok(id) => reply(id.into()),
                Err(message) => {
                    let error = json!({ "code": -32602, "message": message });
                    json!({ "jsonrpc": "2.0", "id": call["id"], "error": error }).to_string()
                }
            },
            Some("eth_unsubscribe") => {
                let known = call["params"][0].as_str().and_then(|id| self.by_id.remove(id)).is_some();
                reply(known.into())
            }
            _ => provider.reply(text.as_bytes()),
        }
    }

    fn add(&mut self, params: &Value) -> Result<String, &'static str> {
        let about = match params[0].as_str() {
            Some("newHeads") => About::Heads,
            Some("logs") => About::Logs,
            _ => return Err("no such subscription"),
        };
        if self.by_id.len() >= SUBSCRIPTIONS_MAX {
            return Err("too many subscriptions");
        }
        self.last += 1;
        let id = format!("{:#x}", self.last);
        self.by_id.insert(id.clone(), about);
        Ok(id)
    }

    /// What a new block is told as, logs first.
    fn news(&self, number: u64) -> Vec<String> {
        let of = |kind: About| self.by_id.iter().filter(move |(_, about)| **about == kind).map(|(id, _)| id);
        let logs = of(About::Logs).map(|id| notification(id, &chain::log(number)));
        let heads = of(About::Heads).map(|id| notification(id, &header(number)));
        logs.chain(heads).collect()
    }
}

/// A block without what a node does not push.
fn header(number: u64) -> Value {
    let mut block = chain::block(number, false);
    if let Some(members) = block.as_object_mut() {
        for of_blocks in ["transactions", "uncles", "size"] {
            members.remove(of_blocks);
        }
    }
    block
}

fn notification(id: &str, result: &Value) -> String {
    let params = json!({ "subscription": id, "result": result });
    json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": params }).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::provider::Temper;
    use super::*;

    #[test]
    fn what_was_subscribed_to_is_told() {
        let provider = Provider::new("fast", Temper { delay: Duration::ZERO, fails_every: None });
        let mut subscriptions = Subscriptions::default();
        let mut ask = |method: &str, params: Value| -> Value {
            let call = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
            serde_json::from_str(&subscriptions.answer(&provider, &call.to_string())).unwrap()
        };
        let heads = ask("eth_subscribe", json!(["newHeads"]))["result"].clone();
        let logs = ask("eth_subscribe", json!(["logs", {}]))["result"].clone();
        assert_eq!(ask("eth_subscribe", json!(["gossip"]))["error"]["code"], -32602);
        assert_eq!(ask("net_version", json!([]))["result"], "1");
        let parsed = |told: Vec<String>| -> Vec<Value> {
            told.iter().map(|told| serde_json::from_str::<Value>(told).unwrap()["params"].clone()).collect()
        };
        let told = parsed(subscriptions.news(1000));
        assert_eq!((&told[0]["subscription"], &told[1]["subscription"]), (&logs, &heads));
        assert_eq!(told[0]["result"]["blockHash"], told[1]["result"]["hash"]);
        assert!(told[1]["result"].get("transactions").is_none());
        let gone = json!({ "jsonrpc": "2.0", "id": 7, "method": "eth_unsubscribe", "params": [logs] });
        let gone = subscriptions.answer(&provider, &gone.to_string());
        assert!(gone.contains("true"), "{gone}");
        assert_eq!(parsed(subscriptions.news(1001)).len(), 1);
    }
}
