//! One of the demo's providers: an HTTP and WebSocket server with a temper, on a loopback port and a thread of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::chain;
use super::methods::{self, Failure, Filters};
use super::socket;

/// How a provider behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Temper {
    /// Before each answer.
    pub(super) delay: Duration,
    /// Each so many-th request fails, in one of the ways of [`Fault`] after the other.
    pub(super) fails_every: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Provider {
    id: &'static str,
    temper: Temper,
    requests: AtomicU64,
    filters: Filters,
}

/// The ways to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// 500, in HTML.
    Error,
    /// 429 and a time to wait.
    Limit,
    /// A head, then a reset.
    Reset,
}

impl Provider {
    pub(super) fn new(id: &'static str, temper: Temper) -> Self {
        Self { id, temper, requests: AtomicU64::new(0), filters: Filters::default() }
    }

    /// Whether it fails now and then.
    pub(super) fn fails(&self) -> bool {
        self.temper.fails_every.is_some()
    }

    /// Whether the next request fails, and how.
    fn next_fault(&self) -> Option<Fault> {
        let every = self.temper.fails_every?;
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        number.is_multiple_of(every).then(|| match number / every % 3 {
            0 => Fault::Error,
            1 => Fault::Limit,
            _ => Fault::Reset,
        })
    }
}

/// Serves `provider` for as long as the process lives; answers where.
pub(super) fn serve(provider: Provider) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("demo-{}", provider.id)).spawn(move || {
        runtime.block_on(async {
            let router = Router::new().fallback(post(answer).get(socket::upgrade)).with_state(Arc::new(provider));
            match tokio::net::TcpListener::from_std(listener) {
                // Runs for ever: accepting waits out its errors.
                Ok(listener) => {
                    drop(axum::serve(listener.tap_io(reset_on_abort), router).await);
                }
                Err(error) => tracing::error!(%error, "a demo provider"),
            }
        });
    })?;
    Ok(address)
}

/// A connection that is dropped in the middle of an answer says so by a reset, not by an orderly end.
fn reset_on_abort(stream: &mut tokio::net::TcpStream) {
    // Either way the answer is cut short.
    let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
    let _ = stream.set_nodelay(true);
}

async fn answer(State(provider): State<Arc<Provider>>, body: Bytes) -> Response {
    tokio::time::sleep(provider.temper.delay).await;
    match provider.next_fault() {
        Some(Fault::Error) => (StatusCode::INTERNAL_SERVER_ERROR, "<html>something broke</html>").into_response(),
        Some(Fault::Limit) => {
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], "too many requests").into_response()
        }
        Some(Fault::Reset) => {
            let cut = futures_util::stream::once(async { Err::<Bytes, _>(io::Error::other("cut")) });
            Body::from_stream(cut).into_response()
        }
        None => ([(header::CONTENT_TYPE, "application/json")], provider.reply(&body)).into_response(),
    }
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: String,
    #[serde(default)]
    params: Value,
}

#[derive(Serialize)]
struct Reply<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

impl Provider {
    /// What a call's or a batch's bytes are answered with.
    pub(super) fn reply(&self, body: &[u8]) -> String {
        let text = match serde_json::from_slice::<Vec<&RawValue>>(body) {
            Ok(items) => {
                serde_json::to_string(&items.iter().map(|item| self.call(item.get().as_bytes())).collect::<Vec<_>>())
            }
            Err(_) => serde_json::to_string(&self.call(body)),
        };
        text.expect("plain structs with string keys always serialize")
    }

    fn call<'a>(&self, body: &'a [u8]) -> Reply<'a> {
        let Ok(call) = serde_json::from_slice::<Call<'a>>(body) else {
            return Reply::new(None, Err(Failure::new(-32600, "invalid request")));
        };
        let head = chain::head(SystemTime::now());
        Reply::new(call.id, methods::answer(self.id, &call.method, &call.params, head, &self.filters))
    }
}

impl<'a> Reply<'a> {
    fn new(id: Option<&'a RawValue>, result: Result<Value, Failure>) -> Self {
        let (result, error) = match result {
            Ok(result) => (Some(result), None),
            Err(Failure { code, message, data }) => {
                let mut error = serde_json::json!({ "code": code, "message": message });
                if let Some(data) = data {
                    error["data"] = data;
                }
                (None, Some(error))
            }
        };
        Self { jsonrpc: "2.0", id, result, error }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    const TEMPER: Temper = Temper { delay: Duration::ZERO, fails_every: Some(2) };

    fn ask(provider: &Provider, body: &str) -> Value {
        serde_json::from_str(&provider.reply(body.as_bytes())).unwrap()
    }

    #[test]
    fn ids_come_back_as_they_were() {
        let provider = Provider::new("fast", TEMPER);
        for id in ["1", "\"a\"", "123456789012345678901234567890", "null", "1.50"] {
            let reply = provider.reply(format!(r#"{{"id":{id},"method":"net_version"}}"#).as_bytes());
            let expected = if id == "null" { "null" } else { id };
            assert_eq!(reply, format!(r#"{{"jsonrpc":"2.0","id":{expected},"result":"1"}}"#));
        }
    }

    #[test]
    fn batches_are_answered_in_order() {
        let provider = Provider::new("fast", TEMPER);
        let replies = ask(&provider, r#"[{"id":1,"method":"net_version"},7,{"id":2,"method":"no_such"}]"#);
        assert_eq!(replies[0]["result"], "1");
        assert_eq!(replies[1]["error"]["code"], -32600);
        assert_eq!(replies[2]["error"]["code"], -32601);
        assert_eq!(ask(&provider, "nonsense")["error"]["code"], -32600);
    }

    #[test]
    fn it_fails_as_often_and_in_the_ways_it_says() {
        let provider = Provider::new("flaky", TEMPER);
        let faults: Vec<_> = (0..8).map(|_| provider.next_fault()).collect();
        let (limit, reset, error) = (Some(Fault::Limit), Some(Fault::Reset), Some(Fault::Error));
        assert_eq!(faults, [None, limit, None, reset, None, error, None, limit]);
    }

    #[test]
    fn its_faults_look_like_a_providers() {
        let address = serve(Provider::new("flaky", Temper { fails_every: Some(1), ..TEMPER })).unwrap();
        let ask = || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            write!(stream, "POST / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}")
                .unwrap();
            let mut answer = Vec::new();
            let end = stream.read_to_end(&mut answer).map_err(|error| error.kind());
            (String::from_utf8(answer).unwrap(), end.err())
        };
        let (limited, _) = ask();
        assert!(limited.starts_with("HTTP/1.1 429"), "{limited}");
        let (_, end) = ask();
        assert_eq!(end, Some(io::ErrorKind::ConnectionReset));
        let (broken, _) = ask();
        assert!(broken.starts_with("HTTP/1.1 500"), "{broken}");
    }
}
