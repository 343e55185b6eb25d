//! TLS at the door: what is agreed on, which certificate is shown, what resumes, and what becomes of those who do otherwise.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use livechain::limits;
use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use support::certs::Authority;
use support::secure::{NAME, Secure, Speaks, connect, openssl, rest, setup};
use support::{Node, Provider, Reply, Setup, client, eventually, json};

/// A node certified for [`NAME`] alone.
fn start(provider: &Provider) -> (Node, SocketAddr, Authority) {
    start_with(Setup::ethereum(&[provider]))
}

fn start_with(with: Setup) -> (Node, SocketAddr, Authority) {
    let authority = Authority::new();
    let (setup, https) = setup(with, &authority, &[&[NAME]]);
    (setup.start(), https, authority)
}

fn ask(secure: &mut Secure) -> String {
    secure.post("/rpc/ethereum", &json::read()).answer().result()
}

#[test]
fn both_versions_answer_and_go_on() {
    let provider = Provider::answering("\"0x1\"");
    let (node, https, authority) = start(&provider);
    for (version, expected) in [(&TLS12, TLSv1_2), (&TLS13, TLSv1_3)] {
        let mut secure = connect(https, NAME, &Speaks::with(&authority, None, &[version]).shared()).unwrap();
        assert_eq!(secure.version(), expected);
        for _ in 0..3 {
            assert_eq!(ask(&mut secure), "\"0x1\"");
        }
        // Two at once, in one record.
        let two = client::request("/rpc/ethereum", &json::read()).repeat(2);
        secure.send(two);
        assert_eq!([secure.answer().result(), secure.answer().result()], ["\"0x1\"", "\"0x1\""]);
    }
    assert_eq!(node.ethereum(&json::read()).result(), "\"0x1\"", "and plain HTTP beside it");
    for version in ["1.2", "1.3"] {
        assert!(node.metric("tls_handshakes_total", &[&format!("version=\"{version}\"")]) >= 1);
    }
}

#[test]
fn openssl_agrees_on_versions_and_suites() {
    let provider = Provider::answering("\"0x1\"");
    let (_node, https, _authority) = start(&provider);
    let shakes = |arguments: &[&str]| openssl(https, arguments, "Q\n");
    for suite in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] {
        let (fine, said) = shakes(&["-tls1_3", "-ciphersuites", suite]);
        assert!(fine && said.contains(&format!("Cipher is {suite}")), "{said}");
    }
    for suite in ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"] {
        let (fine, said) = shakes(&["-tls1_2", "-cipher", suite]);
        assert!(fine && said.contains(&format!("Cipher is {suite}")), "{said}");
    }
    // Old versions, and suites without forward secrecy or authenticated encryption.
    for refused in [
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "AES128-SHA:AES128-GCM-SHA256:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"],
    ] {
        let (fine, said) = shakes(refused);
        assert!(!fine && said.contains("Cipher is (NONE)"), "{refused:?}: {said}");
    }
}

#[test]
fn a_name_gets_its_certificate() {
    let provider = Provider::answering("\"0x1\"");
    let authority = Authority::new();
    let names: [&[&str]; 3] = [&[NAME], &["*.wild.example"], &["one.wild.example", "two.example"]];
    let (setup, https) = setup(Setup::ethereum(&[&provider]), &authority, &names);
    let node = setup.start();
    let config = Speaks::to(&authority).shared();
    for name in [NAME, "a.wild.example", "one.wild.example", "two.example", "TWO.example"] {
        assert_eq!(ask(&mut connect(https, name, &config).unwrap()), "\"0x1\"", "{name}");
    }
    // The first is shown to all others, who then know what it is for.
    for name in ["other.example", "wild.example", "a.b.wild.example"] {
        let error = connect(https, name, &config).err().unwrap().to_string();
        assert!(error.contains("not valid for name"), "{name}: {error}");
    }
    let (_, said) = openssl(https, &["-noservername"], "Q\n");
    assert!(
        said.contains(&String::from_utf8_lossy(&std::fs::read(node.path("cert0.pem")).unwrap())[30..200]),
        "{said}"
    );
    for name in [NAME, "*.wild.example", "one.wild.example"] {
        let ends = node.metric("certificate_not_after_seconds", &[&format!("name=\"{name}\"")]);
        assert!(ends > 1_700_000_000, "{name} {ends}");
    }
    eventually("failures to be counted", || {
        (node.metric("tls_failures_total", &["reason=\"refused\""]) >= 3).then_some(())
    });
}

#[test]
fn only_http_1_1_is_agreed_on() {
    let provider = Provider::answering("\"0x1\"");
    let (node, https, authority) = start(&provider);
    for (offered, agreed) in
        [(&[][..], None), (&["http/1.1"], Some("http/1.1")), (&["h2", "http/1.1"], Some("http/1.1"))]
    {
        let mut secure = connect(https, NAME, &Speaks::to(&authority).alpn(offered).shared()).unwrap();
        let protocol = secure.stream().conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        assert_eq!(protocol.as_deref(), agreed, "{offered:?}");
        assert_eq!(ask(&mut secure), "\"0x1\"");
    }
    let error = connect(https, NAME, &Speaks::to(&authority).alpn(&["h2"]).shared()).err().unwrap().to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    eventually("it to be counted", || (node.metric("tls_failures_total", &["reason=\"protocol\""]) == 1).then_some(()));
}

/// All cores that this process may use, so that there are shards to resume across.
fn shards(node: &Node) -> usize {
    let page = node.admin_get("/metrics").text();
    page.lines().filter(|line| line.starts_with("livechain_connections_accepted_total")).count()
}

#[test]
fn a_ticket_resumes_on_every_shard_and_after_a_reload() {
    let provider = Provider::answering("\"0x1\"");
    let (mut node, https, authority) = start(&provider);
    let spread = |node: &Node| {
        (0..shards(node))
            .map(|at| node.metric("connections_accepted_total", &[&format!("shard=\"{at}\"")]))
            .collect::<Vec<_>>()
    };
    for version in [&TLS12, &TLS13] {
        let config = Speaks::with(&authority, None, &[version]).resuming().shared();
        let first = &mut connect(https, NAME, &config).unwrap();
        assert!(!first.resumed());
        ask(first);
        let before = spread(&node);
        for _ in 0..24 {
            let again = &mut connect(https, NAME, &config).unwrap();
            assert!(again.resumed(), "{version:?}");
            ask(again);
        }
        let after = spread(&node);
        assert!(
            before.iter().zip(&after).all(|(before, after)| after > before),
            "every shard had some: {before:?} {after:?}"
        );
        node.reload(|setup| setup.set("log", "level = \"debug\""));
        eventually("the reload", || (node.log().matches("reloaded").count() >= 1).then_some(()));
        let again = &mut connect(https, NAME, &config).unwrap();
        assert!(again.resumed(), "{version:?} after a reload");
        ask(again);
    }
    assert!(node.metric("tls_handshakes_total", &["resumed=\"true\""]) >= 50);
}

#[test]
fn openssl_resumes_too() {
    let provider = Provider::answering("\"0x1\"");
    let (node, https, _authority) = start(&provider);
    let session = node.path("session.pem").display().to_string();
    let request = "GET /api/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let (fine, said) = openssl(https, &[version, "-ign_eof", "-sess_out", &session], request);
        assert!(fine && said.contains("New, TLS"), "{said}");
        let (fine, said) = openssl(https, &[version, "-ign_eof", "-sess_in", &session], request);
        assert!(fine && said.contains("Reused, TLS"), "{said}");
    }
}

#[test]
fn changed_files_are_taken_over_and_nobody_is_cut() {
    let provider = Provider::answering("\"0x1\"");
    let (node, https, authority) = start(&provider);
    let config = Speaks::to(&authority).shared();
    let shown = || connect(https, NAME, &config).unwrap().shown();
    let mut old = connect(https, NAME, &config).unwrap();
    let first = shown();
    assert_eq!(ask(&mut old), "\"0x1\"");
    // By a signal, at once.
    let (cert, key) = authority.pair(&[NAME]);
    node.write("cert0.pem", &cert);
    node.write("key0.pem", &key);
    node.signal("HUP");
    let second = eventually("the new certificate", || Some(shown()).filter(|now| *now != first));
    // By a look at the files.
    let (cert, key) = authority.pair(&[NAME]);
    node.write("key0.pem", &key);
    node.write("cert0.pem", &cert);
    let third = eventually("the newest certificate", || Some(shown()).filter(|now| *now != second));
    // What cannot be used is refused, by a look and by a signal, and said.
    node.write("cert0.pem", &authority.pair(&[NAME]).0);
    eventually("the refusal", || node.log().contains("cannot be used; the last ones go on").then_some(()));
    assert_eq!(shown(), third);
    node.signal("HUP");
    eventually("the refusal of the reload", || node.log().contains("another certificate").then_some(()));
    eventually("its count", || (node.metric("reloads_total", &["refused"]) == 1).then_some(()));
    assert_eq!(shown(), third);
    assert!(!node.log().contains("PRIVATE KEY"));
    assert_eq!(ask(&mut old), "\"0x1\"", "a connection of before all that");
}

#[test]
fn certificates_of_clients_are_asked_for() {
    let provider = Provider::answering("\"0x1\"");
    let authority = Authority::new();
    let (setup, https) = setup(Setup::ethereum(&[&provider]), &authority, &[&[NAME]]);
    let mut node = setup.set("listen", "client_ca = \"@ca.pem@\"").start();
    let (cert, key) = authority.pair(&["client.example"]);
    let stranger = Authority::new();
    let (wrong, wrong_key) = stranger.pair(&["client.example"]);
    let speaks = |own, version| Speaks::with(&authority, own, &[version]).shared();
    // In TLS 1.3 a client has done its part before it hears that it is refused.
    let served = |own, version| {
        connect(https, NAME, &speaks(own, version)).is_ok_and(|mut secure| {
        matches!(secure.post("/rpc/ethereum", &json::read()).try_answer(), Ok(Some(answer)) if answer.status == 200)
    })
    };
    for version in [&TLS12, &TLS13] {
        assert!(served(Some((&cert, &key)), version));
        assert!(!served(None, version));
        assert!(!served(Some((&wrong, &wrong_key)), version));
    }
    eventually("them to be counted", || {
        (node.metric("tls_failures_total", &["reason=\"certificate\""]) >= 4).then_some(())
    });
    node.reload(|setup| setup.set("listen", "client_certificates = \"optional\""));
    eventually("none to be needed", || served(None, &TLS13).then_some(()));
    assert!(served(Some((&cert, &key)), &TLS12));
    assert!(!served(Some((&wrong, &wrong_key)), &TLS13), "a wrong one is worse than none");
}

/// A client's certificate, and how often it was asked for.
#[derive(Debug)]
struct Asked {
    own: Arc<dyn ResolvesClientCert>,
    times: AtomicUsize,
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.own.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.own.has_certs()
    }
}

#[test]
fn each_connection_shows_its_clients_certificate_anew() {
    let provider = Provider::answering("\"0x1\"");
    let authority = Authority::new();
    let (setup, https) = setup(Setup::ethereum(&[&provider]), &authority, &[&[NAME]]);
    let mut node = setup.set("listen", "client_ca = \"@ca.pem@\"").start();
    let (cert, key) = authority.pair(&["client.example"]);
    let comes_again = |version| {
        let mut speaks = Speaks::with(&authority, Some((&cert, &key)), &[version]).resuming();
        let own = Arc::clone(&speaks.config.client_auth_cert_resolver);
        let asked = Arc::new(Asked { own, times: AtomicUsize::new(0) });
        speaks.config.client_auth_cert_resolver = Arc::clone(&asked) as _;
        let config = speaks.shared();
        for times in 1..=3 {
            let mut secure = connect(https, NAME, &config).unwrap();
            // A ticket of TLS 1.3 would come before the answer.
            assert_eq!(ask(&mut secure), "\"0x1\"");
            assert!(!secure.resumed(), "{version:?}: a ticket would outlive the certificate");
            assert_eq!(asked.times.load(Ordering::Relaxed), times, "{version:?}");
        }
    };
    for version in [&TLS12, &TLS13] {
        comes_again(version);
    }
    node.reload(|setup| setup.set("listen", "client_certificates = \"optional\""));
    eventually("the reload", || (node.log().matches("reloaded").count() >= 1).then_some(()));
    for version in [&TLS12, &TLS13] {
        comes_again(version);
    }
    assert_eq!(node.metric("tls_handshakes_total", &["resumed=\"true\""]), 0);
}

#[test]
fn a_handshake_that_takes_long_is_cut() {
    let provider = Provider::answering("\"0x1\"");
    let (node, https, _authority) =
        start_with(Setup::ethereum(&[&provider]).set("listen", "handshake_timeout = \"300ms\""));
    let begin = Instant::now();
    let mut silent = TcpStream::connect(https).unwrap();
    let mut slow = TcpStream::connect(https).unwrap();
    slow.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]).unwrap();
    for stream in [&mut silent, &mut slow] {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (bytes, _) = rest(stream);
        assert!(bytes.is_empty());
    }
    assert!(begin.elapsed() >= Duration::from_millis(300));
    eventually("both to be counted", || (node.metric("tls_failures_total", &["reason=\"slow\""]) == 2).then_some(()));
    eventually("both to be gone", || (node.metric("connections", &[]) == 0).then_some(()));
}

#[test]
fn a_node_that_closes_waits_for_nobody_who_says_nothing() {
    let provider = Provider::answering("\"0x1\"");
    let (mut node, https, authority) =
        start_with(Setup::ethereum(&[&provider]).set("listen", "handshake_timeout = \"1h\""));
    let _silent: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(https).unwrap()).collect();
    let mut idle = connect(https, NAME, &Speaks::to(&authority).shared()).unwrap();
    assert_eq!(ask(&mut idle), "\"0x1\"");
    node.signal("TERM");
    assert_eq!(node.wait_end().code(), Some(0));
    assert!(rest(idle.stream()).1.is_ok(), "and says goodbye to who is idle");
}

#[test]
fn what_is_no_tls_is_told_so() {
    let provider = Provider::answering("\"0x1\"");
    let (node, https, _authority) = start(&provider);
    let plain = client::request("/rpc/ethereum", &json::read());
    let garbage: Vec<u8> = (0..4000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    for bytes in [plain.as_bytes(), &garbage, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", &[0x16, 3, 1, 0xff, 0xff, 0]] {
        let mut stream = TcpStream::connect(https).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(bytes).unwrap();
        // An alert, and an end without a reset.
        let (answer, ended) = rest(&mut stream);
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!(answer.first_chunk::<2>(), Some(&[0x15, 3]), "{answer:?}");
        assert_eq!(answer.len(), 7, "one alert: {answer:?}");
    }
    eventually("all to be counted", || {
        (node.metric("tls_failures_total", &["reason=\"malformed\""]) == 4).then_some(())
    });
    // One that goes away in the middle.
    drop(TcpStream::connect(https).unwrap());
    eventually("it to be counted", || (node.metric("tls_failures_total", &["reason=\"lost\""]) >= 1).then_some(()));
}

#[test]
fn the_end_is_said_and_a_cut_is_none() {
    let provider = Provider::answering("\"0x1\"");
    let (node, https, authority) = start(&provider);
    for version in [&TLS12, &TLS13] {
        let config = Speaks::with(&authority, None, &[version]).shared();
        // The node says it behind a last answer: rustls' reader calls an end without it an error.
        let mut secure = connect(https, NAME, &config).unwrap();
        secure.send(client::request_with("/rpc/ethereum", "Connection: close\r\n", &json::read()));
        assert_eq!(secure.answer().result(), "\"0x1\"");
        let (bytes, ended) = rest(secure.stream());
        assert!(bytes.is_empty() && ended.is_ok(), "{ended:?}");
        // A client that says goodbye behind its request still gets the answer, and the node's goodbye.
        let mut secure = connect(https, NAME, &config).unwrap();
        secure.post("/rpc/ethereum", &json::read()).say_goodbye();
        assert_eq!(secure.answer().result(), "\"0x1\"");
        assert!(rest(secure.stream()).1.is_ok());
        // A request of which half has come is none, whether the rest is cut or refused.
        let request = client::request("/rpc/ethereum", &json::read());
        let mut secure = connect(https, NAME, &config).unwrap();
        secure.send(&request[..request.len() - 5]);
        secure.stream().sock.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(rest(secure.stream()).0.is_empty());
    }
    let calls =
        provider.calls("eth_getBalance").len() + provider.calls("eth_blockNumber").len() + provider.seen().len();
    assert!(calls >= 4);
    eventually("all to be gone", || (node.metric("connections", &[]) == 0).then_some(()));
}

#[test]
fn large_requests_and_answers_pass() {
    const BYTES: u64 = 60 * 1024 * 1024;
    let provider = Provider::start(|call| Reply::flood(call, BYTES));
    let (node, https, authority) = start(&provider);
    let config = Speaks::to(&authority).shared();
    let mut secure = connect(https, NAME, &config).unwrap();
    secure.post("/rpc/ethereum", &json::call("eth_getLogs", "[{}]"));
    let head = secure.head();
    assert!(secure.pass(&head).unwrap().bytes >= BYTES);
    provider.script(|call| Reply::result(call, "\"0x1\""));
    let data = format!("[{{\"data\":\"0x{}\"}}]", "ab".repeat(2 * 1024 * 1024));
    let answer = secure.post("/rpc/ethereum", &json::call("eth_call", &data)).answer();
    assert_eq!(answer.result(), "\"0x1\"");
    assert_eq!(ask(&mut secure), "\"0x1\"");
    drop(node);
}

#[test]
fn a_slow_reader_of_a_large_answer_costs_little_memory() {
    const BYTES: u64 = 200 * 1024 * 1024;
    let provider = Provider::start(|call| Reply::flood(call, BYTES));
    let (node, https, authority) = start(&provider);
    let config = Speaks::to(&authority).shared();
    let mut warm = connect(https, NAME, &config).unwrap();
    warm.post("/rpc/ethereum", &json::call("eth_getLogs", "[{}]"));
    let before = node.rss();
    let mut readers: Vec<Secure> = (0..8)
        .map(|_| {
            let mut secure = connect(https, NAME, &config).unwrap();
            secure.post("/rpc/ethereum", &json::call("eth_getLogs", "[{}]"));
            secure
        })
        .collect();
    for reader in &mut readers {
        reader.head();
    }
    std::thread::sleep(Duration::from_secs(1));
    let grown = node.rss().saturating_sub(before) / 1024;
    println!("8 readers that stopped at the head of 200 MiB: {grown} KiB");
    // A twenty-fifth of what was asked for, however far each came before it stopped.
    assert!(grown < 64 * 1024, "{grown} KiB");
    assert!(provider.sent_bytes() < 9 * 20 * 1024 * 1024);
}

#[test]
fn an_idle_connection_is_small() {
    const CONNECTIONS: usize = 1000;
    let provider = Provider::answering("\"0x1\"");
    let (node, https, authority) = start(&provider);
    let config = Speaks::to(&authority).shared();
    let open = |count: usize| -> Vec<Secure> {
        (0..count)
            .map(|_| {
                let mut secure = connect(https, NAME, &config).unwrap();
                assert_eq!(ask(&mut secure), "\"0x1\"");
                secure
            })
            .collect()
    };
    let _first = open(200);
    let before = node.rss();
    let _more = open(CONNECTIONS);
    let each = node.rss().saturating_sub(before) / CONNECTIONS as u64;
    println!("{each} bytes an idle TLS connection");
    assert!(each < 24 * 1024, "{each} bytes");
}

#[test]
fn a_websocket_goes_over_tls() {
    let provider = Provider::answering("\"0x1\"");
    let (_node, https, authority) = start(&provider);
    let mut secure = connect(https, NAME, &Speaks::to(&authority).shared()).unwrap();
    secure.send(
        "GET /ws/rpc/ethereum HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert!(secure.head().line.contains("101"));
    let call = json::read();
    for _ in 0..3 {
        let mut frame = vec![0x81, 0x80 | u8::try_from(call.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(call.as_bytes());
        // In two records, the first of which ends within the frame.
        secure.send(&frame[..10]);
        secure.send(&frame[10..]);
        let mut head = [0; 2];
        secure.stream().read_exact(&mut head).unwrap();
        assert_eq!(head[0], 0x81);
        let mut body = vec![0; usize::from(head[1])];
        secure.stream().read_exact(&mut body).unwrap();
        assert!(String::from_utf8(body).unwrap().contains("\"result\":\"0x1\""));
    }
}

#[test]
fn an_upgrade_takes_over_tls_too() {
    let provider = Provider::answering("\"0x1\"");
    let (mut node, https, authority) = start(&provider);
    let config = Speaks::to(&authority).shared();
    let mut old = connect(https, NAME, &config).unwrap();
    assert_eq!(ask(&mut old), "\"0x1\"");
    let mut next = node.successor();
    eventually("the successor to take over", || next.log().contains("took the ports over").then_some(()));
    assert_eq!(ask(&mut old), "\"0x1\"", "a connection of the node before");
    for _ in 0..20 {
        assert_eq!(ask(&mut connect(https, NAME, &config).unwrap()), "\"0x1\"");
    }
    drop(old);
    assert_eq!(node.wait_end().code(), Some(0));
    next.wait_ready();
    assert_eq!(ask(&mut connect(https, NAME, &config).unwrap()), "\"0x1\"");
}

#[test]
fn https_may_stand_alone() {
    let provider = Provider::answering("\"0x1\"");
    let authority = Authority::new();
    let (setup, https) = setup(Setup::ethereum(&[&provider]), &authority, &[&[NAME]]);
    let _node = setup.set("listen", "http = []").launch();
    let config = Speaks::to(&authority).shared();
    let mut secure = eventually("the node to listen", || connect(https, NAME, &config).ok());
    assert_eq!(ask(&mut secure), "\"0x1\"");
}

#[test]
fn check_tells_what_is_wrong_with_certificates() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = authority.pair(&[NAME]);
    let (_, other) = authority.pair(&[NAME]);
    for (name, text) in [("cert.pem", &cert), ("key.pem", &key), ("other.pem", &other)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let check = |listen: &str| {
        let listen = listen.replace('@', &format!("{}/", dir.path().display()));
        let chain =
            "[[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"a\"\nurl = \"http://127.0.0.1:1\"\n";
        let config = dir.path().join("livechain.toml");
        std::fs::write(&config, format!("[listen]\n{listen}\n{chain}")).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_livechain")).arg("check").arg("--config").arg(&config).output();
        let output = output.unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let pair =
        |key: &str| format!("https = [\"127.0.0.1:0\"]\ncertificates = [{{ cert = \"@cert.pem\", key = \"@{key}\" }}]");
    assert_eq!(check(&pair("key.pem")), (0, String::new()));
    // In PEM, and none; and one more than a file may have.
    let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let long = authority.pem().repeat(1 + limits::CERTIFICATE_FILE_BYTES_MAX / authority.pem().len());
    for (name, text) in [("ca.pem", authority.pem().as_str()), ("none.pem", none), ("long.pem", long.as_str())] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let asking = |ca: &str| format!("{}\nclient_ca = \"@{ca}\"", pair("key.pem"));
    let admin = |ca: &str| format!("admin_cert = \"@cert.pem\"\nadmin_key = \"@key.pem\"\nadmin_client_ca = \"@{ca}\"");
    let upstream = |ca: &str| format!("[upstream]\nca_file = \"@{ca}\"");
    for fine in [asking("ca.pem"), admin("ca.pem"), upstream("ca.pem")] {
        assert_eq!(check(&fine), (0, String::new()), "{fine}");
    }
    for (listen, expected) in [
        (asking("none.pem"), "BadEncoding"),
        (asking("long.pem"), "longer than"),
        (asking("key.pem"), "holds none in PEM"),
        (admin("none.pem"), "BadEncoding"),
        (admin("long.pem"), "longer than"),
        (upstream("none.pem"), "BadEncoding"),
        (upstream("long.pem"), "longer than"),
        (pair("other.pem"), "belongs to another certificate"),
        (pair("nowhere.pem"), "cannot be read"),
        ("https = [\"127.0.0.1:0\"]".to_owned(), "TLS needs a certificate"),
        ("http = []".to_owned(), "at least one address"),
        ("client_certificates = \"optional\"".to_owned(), "without `client_ca`"),
        ("admin_cert = \"@cert.pem\"".to_owned(), "go together"),
        ("admin_client_ca = \"@cert.pem\"".to_owned(), "need TLS"),
        ("certificates = [{ cert = \"@cert.pem\" }]".to_owned(), "has no `key`"),
        ("proxy_protocol_from = [\"10.0.0.1/8\"]".to_owned(), "bits are set beyond"),
    ] {
        let (code, said) = check(&listen);
        assert!(code == 2 && said.contains(expected), "{listen}: {said}");
    }
}
