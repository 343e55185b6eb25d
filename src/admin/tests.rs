//! The admin port over a real socket, before a snapshot without shards.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Server, metrics};
use crate::control::{Dropped, View};
use crate::jsonrpc::MethodClass;
use crate::link::{Counters, Outcome, Phase, PhaseCell, Row, RowKey, Snapshot};
use crate::routing::{Compared, Footing};

const CONFIG: &str = r#"
    [node]
    region = "us-east-1"
    id = "node-a"
    [[chains]]
    name = "ethereum"
    id = 1
    [[chains.providers]]
    id = "alpha"
    url = "https://user:passw0rd@eth.alpha.example/v2/k3y?token=t0k3n"
    [[chains.providers]]
    id = "beta"
    url = "http://127.0.0.1:8000/k3y"
    [[chains]]
    name = "base"
    id = 8453
    [[chains.providers]]
    id = "alpha"
    url = "https://base.alpha.example/v2/k3y"
"#;

/// What must never be shown.
const SECRETS: [&str; 4] = ["k3y", "t0k3n", "passw0rd", "adm1n-0123456789-abcdef"];

/// A node that serves `ethereum` by beta alone; the other names lead nowhere yet.
pub(super) fn view(more: &str) -> Arc<View> {
    let snapshot = Arc::new(Snapshot::of(&format!("{more}\n{CONFIG}")));
    let phase = Arc::new(PhaseCell::default());
    phase.advance(Phase::Serving);
    let counters = vec![Arc::new(Counters::default()), Arc::new(Counters::default())];
    Arc::new(View::new(phase, counters, Instant::now(), Dropped::default(), snapshot))
}

/// Two successes and a failure of beta, which has said that it is the right chain.
fn measure(view: &View) {
    let snapshot = view.snapshot();
    snapshot.chains[0].providers[1].slot.footing.set(Footing::InStep);
    let mut row = Row::new(RowKey::of_class(snapshot.chains[0].providers[1].slot.number, MethodClass::Read));
    row.record(Outcome::Success, Duration::from_millis(30));
    row.record(Outcome::Success, Duration::from_secs(100));
    row.record(Outcome::Failure, Duration::from_millis(1));
    row.regret.on_call(Compared::Explored, Duration::from_millis(50), Duration::from_millis(30));
    view.totals().add(&row);
    let mut rank = view.rank();
    rank.merge(view.now(), 1, &row);
    rank.publish(view.now());
}

/// GETs `path` from a server over `view`; answers status and body.
async fn get(view: &Arc<View>, path: &str, header: &str) -> (u16, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::start(listener, Arc::clone(view), None).unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let host = if header.contains("Host:") { "" } else { "Host: localhost\r\n" };
    let request = format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    server.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the socket is let go");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn pages_answer_and_show_no_secret() {
    let view = view("[listen]\nadmin_token = \"adm1n-0123456789-abcdef\"");
    measure(&view);
    let cases = [
        ("/api/health", 200, r#""status":"ok""#),
        ("/api/ready", 200, r#""chains":[{"name":"ethereum","usable":true},{"name":"base","usable":false}]"#),
        ("/api/ready/ethereum", 200, r#""ready":true"#),
        ("/api/ready/1", 200, r#""chains":[{"name":"ethereum","usable":true}]"#),
        ("/api/ready/base", 503, r#""ready":false"#),
        ("/api/ready/none", 404, "no such chain"),
        ("/api/region", 200, r#""region":"us-east-1""#),
        ("/api/status", 200, r#""providers":2,"providers_usable":1"#),
        ("/api/chains", 200, r#""providers":["alpha","beta"]"#),
        ("/api/providers", 200, r#""origin":"https://eth.alpha.example""#),
        (
            "/api/providers",
            200,
            r#""attempts":{"success":2,"error":0,"late":0,"limited":0,"failure":1,"outrun":0},"latency":{"count":2,"p50_ms":30.079,"#,
        ),
        (
            "/api/leaderboard",
            200,
            r#""classes":[{"class":"read","leader":"beta","providers":[{"rank":1,"provider":"beta","#,
        ),
        ("/api/leaderboard", 200, r#""state":"ready","why":[],"score_ms":"#),
        (
            "/api/leaderboard/1",
            200,
            r#"{"rank":2,"provider":"alpha","state":"out","why":[{"reason":"no_address"},{"reason":"unasked"}]}]}]}]}"#,
        ),
        (
            "/api/leaderboard/base",
            200,
            r#"{"chains":[{"chain":"base","strategy":"fastest","percentile":0.9,"classes":[]}]}"#,
        ),
        ("/api/leaderboard/none", 404, "no such chain"),
        ("/metrics", 200, "# EOF"),
        ("/", 404, ""),
    ];
    for (path, status, part) in cases {
        let (found, body) = get(&view, path, "Authorization: Bearer adm1n-0123456789-abcdef\r\n").await;
        assert_eq!(found, status, "{path}: {body}");
        assert!(body.contains(part), "{path}: {body}");
        for secret in SECRETS {
            assert!(!body.contains(secret), "{path} shows {secret}: {body}");
        }
    }
}

#[tokio::test]
async fn the_token_is_asked_for_everywhere_but_at_health() {
    let view = view("[listen]\nadmin_token = \"adm1n-0123456789-abcdef\"");
    for path in ["/api/ready", "/api/status", "/api/chains", "/api/providers", "/api/leaderboard", "/metrics"] {
        let asked = (401, "{\"error\":\"the admin token is asked for\"}\n".to_owned());
        assert_eq!(get(&view, path, "").await, asked, "{path}");
        assert_eq!(get(&view, path, "Authorization: Bearer admin\r\n").await.0, 401, "{path}");
    }
    assert_eq!(get(&view, "/api/health", "").await.0, 200);
}

#[tokio::test]
async fn without_a_token_pages_of_somebody_elses_see_nothing() {
    let view = view("");
    for path in ["/api/region", "/api/status", "/api/providers", "/api/events", "/api/tenants", "/metrics", "/"] {
        let (status, body) = get(&view, path, "Host: evil.example\r\n").await;
        assert_eq!(status, 403, "{path}: {body}");
        assert!(body.contains("listen.admin_token") && body.contains("localhost"), "{body}");
    }
    for path in ["/api/health", "/api/ready", "/api/ready/ethereum"] {
        assert_eq!(get(&view, path, "Host: balancer.example\r\n").await.0, 200, "{path}");
    }
    for host in ["127.0.0.1:9545", "[::1]:9545", "10.0.0.7", "localhost:9545"] {
        assert_eq!(get(&view, "/metrics", &format!("Host: {host}\r\n")).await.0, 200, "{host}");
    }
    let guarded = self::view("[listen]\nadmin_token = \"adm1n-0123456789-abcdef\"");
    let shown = "Authorization: Bearer adm1n-0123456789-abcdef\r\nHost: livechain.example\r\n";
    assert_eq!(get(&guarded, "/metrics", shown).await.0, 200);
    assert_eq!(get(&guarded, "/api/ready", "Host: livechain.example\r\n").await.0, 401);
}

#[tokio::test]
async fn a_stranger_gets_one_answer_and_an_operator_many() {
    let view = view("[listen]\nadmin_token = \"adm1n-0123456789-abcdef\"");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::start(listener, Arc::clone(&view), None).unwrap();
    for path in ["/metrics", "/api/health", "/nothing"] {
        let mut stranger = tokio::net::TcpStream::connect(address).await.unwrap();
        stranger.write_all(format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stranger.read_to_string(&mut answer).await.unwrap();
        let expected = if path == "/api/health" { "HTTP/1.1 200" } else { "HTTP/1.1 401" };
        assert!(answer.starts_with(expected) && answer.contains("connection: close"), "{answer}");
    }
    let mut operator = tokio::net::TcpStream::connect(address).await.unwrap();
    for path in ["/metrics", "/api/health", "/api/health"] {
        let token = "Authorization: Bearer adm1n-0123456789-abcdef";
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: admin\r\n{token}\r\n\r\n");
        operator.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(operator.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("connection:"), "{answer}");
    }
    drop(operator);
    server.stop().await;
}

#[tokio::test]
async fn a_node_that_drains_is_not_ready() {
    let view = view("");
    view.phase.advance(Phase::Draining);
    for path in ["/api/ready", "/api/ready/ethereum"] {
        let (status, body) = get(&view, path, "").await;
        assert_eq!(status, 503);
        assert!(body.contains(r#""phase":"draining""#), "{body}");
    }
    assert_eq!(get(&view, "/api/health", "").await.0, 200);
}

/// A sample line: name, labels, value.
fn sample(line: &str) -> (&str, Vec<(&str, &str)>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or_else(|| panic!("no labels: {line}"));
    let labels = labels.strip_suffix('}').unwrap().trim_end_matches(',');
    let labels = labels.split("\",").map(|label| {
        let (name, value) = label.split_once("=\"").unwrap_or_else(|| panic!("label {label} in {line}"));
        (name, value.strip_suffix('"').unwrap_or(value))
    });
    (name, labels.collect(), value.parse().unwrap())
}

#[test]
fn metrics_are_well_formed() {
    let view = view("");
    measure(&view);
    let text = metrics::page(&view).unwrap();
    let (mut family, mut series, mut families) = (String::new(), HashSet::new(), HashSet::new());
    for line in text.lines().filter(|line| !line.starts_with("# EOF")) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} comes twice");
        } else if !line.starts_with('#') {
            let (name, labels, _) = sample(line);
            assert!(name.starts_with(&family), "{name} stands under {family}");
            assert!(series.insert(line.rsplit_once(' ').unwrap().0), "{line} comes twice");
            assert_eq!(labels[..2], [("region", "us-east-1"), ("node", "node-a")], "{line}");
        }
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn metrics_count_what_was_measured() {
    let view = view("");
    measure(&view);
    view.counters[1].requests.add(7);
    let text = metrics::page(&view).unwrap();
    let value = |name: &str, wanted: &[(&str, &str)]| {
        let mut found = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(sample)
            .filter(|(found, labels, _)| *found == name && wanted.iter().all(|label| labels.contains(label)));
        let (_, _, value) = found.next().unwrap_or_else(|| panic!("no {name} {wanted:?} in\n{text}"));
        assert!(found.next().is_none(), "{name} {wanted:?} is not one series");
        value
    };
    let beta = [("chain", "ethereum"), ("provider", "beta"), ("class", "read")];
    let with = |name, value| [&beta[..], &[(name, value)]].concat();
    let cases = [
        ("livechain_requests_total", vec![("shard", "1")], 7.0),
        ("livechain_failures_total", vec![("reason", "no_provider")], 0.0),
        ("livechain_attempts_total", with("outcome", "success"), 2.0),
        ("livechain_attempts_total", with("outcome", "failure"), 1.0),
        ("livechain_attempt_duration_seconds_count", beta.to_vec(), 2.0),
        ("livechain_attempt_duration_seconds_bucket", with("le", "0.02"), 0.0),
        ("livechain_attempt_duration_seconds_bucket", with("le", "0.035"), 1.0),
        ("livechain_attempt_duration_seconds_bucket", with("le", "45.0"), 1.0),
        ("livechain_attempt_duration_seconds_bucket", with("le", "+Inf"), 2.0),
        ("livechain_ranking_success_rate", beta.to_vec(), 2.0 / 3.0),
        ("livechain_ranking_leader", beta.to_vec(), 1.0),
        ("livechain_ranking_state", beta.to_vec(), 0.0),
        ("livechain_regret_calls_total", with("compared", "explored"), 1.0),
        ("livechain_regret_right_total", beta.to_vec(), 0.0),
        ("livechain_regret_lost_seconds_total", beta.to_vec(), 0.02),
        ("livechain_provider_breaker", vec![("provider", "beta")], 0.0),
        ("livechain_chain_usable", vec![("chain", "ethereum")], 1.0),
        ("livechain_chain_usable", vec![("chain", "base")], 0.0),
        ("livechain_ready", vec![], 1.0),
        ("livechain_build_info", vec![("version", env!("CARGO_PKG_VERSION"))], 1.0),
    ];
    for (name, labels, expected) in cases {
        let found = value(name, &labels);
        assert!((found - expected).abs() < 1e-9, "{name} {labels:?}: {found}");
    }
    let sum = value("livechain_attempt_duration_seconds_sum", &beta);
    assert!((99.0..101.0).contains(&sum), "{sum}");
}
