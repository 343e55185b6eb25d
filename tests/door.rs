//! Who comes in and as whom: balancers' words about their clients, limits of one client's address, the admin port's TLS.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use socket2::SockRef;
use support::certs::Authority;
use support::real::{Anvil, script};
use support::secure::{HaProxy, NAME, Secure, Speaks, connect, curl, rest, setup, shake_hands};
use support::shop::Shop;
use support::{Chain, Client, Node, Provider, Setup, client, eventually, json};

const PROXIED: &str = "proxy_protocol_from = [\"127.0.0.0/8\", \"::1\"]";

fn logging(provider: &Provider) -> Setup {
    Setup::ethereum(&[provider]).set("log", "access_sample = 1.0")
}

/// The clients of the access lines so far.
fn clients(node: &Node) -> Vec<String> {
    let log = node.log();
    let words = log.lines().filter_map(|line| line.split_once("client=")).map(|(_, rest)| rest);
    words.map(|rest| rest.split_whitespace().next().unwrap().to_owned()).collect()
}

/// Waits until the line number `at` is there, and tells its client.
fn client_of(node: &Node, at: usize) -> String {
    eventually("an access line", || clients(node).get(at).cloned())
}

/// A header of version 2 that names a client.
fn packed(command: u8, source: &str) -> Vec<u8> {
    let source: SocketAddr = source.parse().unwrap();
    let (family, parts) = match source.ip() {
        std::net::IpAddr::V4(ip) => (0x11, [ip.octets(), [127, 0, 0, 1]].concat()),
        std::net::IpAddr::V6(ip) => (0x21, [ip.octets(), std::net::Ipv6Addr::LOCALHOST.octets()].concat()),
    };
    let said = [&parts[..], &source.port().to_be_bytes(), &[1, 0xbb], &[0x04, 0, 2, 0, 0]].concat();
    let length = u16::try_from(said.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, &said].concat()
}

fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream
}

#[test]
fn a_proxy_header_names_the_client() {
    let provider = Provider::answering("\"0x1\"");
    let node = logging(&provider).set("listen", PROXIED).launch();
    eventually("the node to listen", || TcpStream::connect(node.http).ok());
    let lines = b"PROXY TCP4 198.51.100.1 127.0.0.1 4711 443\r\n".to_vec();
    let v6 = b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n".to_vec();
    for (at, (header, expected)) in [
        (lines, "198.51.100.1"),
        (v6, "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (packed(0x21, "198.51.100.2:1"), "198.51.100.2"),
        (packed(0x21, "[2001:db8::8]:1"), "2001:db8::8"),
        (packed(0x20, "198.51.100.3:1"), "127.0.0.1"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = client::request("/rpc/ethereum", &json::read());
        let mut stream = open(node.http);
        // In three pieces: within the header, and with the request's beginning behind it.
        let all = [&header[..], request.as_bytes()].concat();
        let (first, rest) = all.split_at(9);
        let (second, third) = rest.split_at(header.len() - 9 + 5);
        for piece in [first, second, third] {
            stream.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(Client::over(stream).answer().result(), "\"0x1\"");
        assert_eq!(client_of(&node, at), expected);
    }
}

#[test]
fn a_balancer_without_a_header_is_closed_and_a_stranger_with_one_refused() {
    let provider = Provider::answering("\"0x1\"");
    let node = logging(&provider).set("listen", PROXIED).set("listen", "handshake_timeout = \"500ms\"").launch();
    eventually("the node to listen", || TcpStream::connect(node.http).ok());
    let request = client::request("/rpc/ethereum", &json::read());
    let long = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
    for bytes in
        [request.as_bytes(), b"PROXY TCP4 a b c d\r\n", &long, b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", b"", b"PROXY "]
    {
        let mut stream = open(node.http);
        stream.write_all(bytes).unwrap();
        let (answer, ended) = rest(&mut stream);
        assert!(answer.is_empty() && ended.is_ok(), "{bytes:?}: {answer:?} {ended:?}");
    }
    eventually("them to be counted", || {
        // From this machine the admin port is reached without a header.
        (node.metric("proxy_headers_refused_total", &[]) >= 6).then_some(())
    });
    assert_eq!(node.metric("proxy_headers_refused_total", &[]), 6, "who only looked whether the node listens is none");
    assert_eq!(provider.seen().len(), 0);

    let node = logging(&provider).set("listen", "proxy_protocol_from = [\"192.0.2.0/24\"]").start();
    for header in [b"PROXY TCP4 198.51.100.1 127.0.0.1 4711 443\r\n".to_vec(), packed(0x21, "198.51.100.2:1")] {
        let mut stream = open(node.http);
        stream.write_all(&[&header[..], request.as_bytes()].concat()).unwrap();
        let mut client = Client::over(stream);
        assert_eq!(client.answer().status, 400);
        assert!(client.closes());
    }
    assert_eq!(provider.seen().len(), 0);
}

#[test]
fn a_check_that_only_connects_is_no_refused_header() {
    let provider = Provider::answering("\"0x1\"");
    let node = Setup::ethereum(&[&provider]).set("listen", PROXIED).launch();
    eventually("the node to listen", || TcpStream::connect(node.http).ok());
    for at in 0..8 {
        let stream = open(node.http);
        if at % 2 == 0 {
            // HAProxy's own checks end so.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    let haproxy = HaProxy::start("tcp", node.http, "send-proxy-v2 check inter 20ms", "");
    eventually("them to have come and gone", || {
        let come = node.metric("connections_accepted_total", &[]) >= 24;
        (come && node.metric("connections", &[]) == 0).then_some(())
    });
    drop(haproxy);
    assert_eq!(node.metric("proxy_headers_refused_total", &[]), 0);
    // Who has begun one is.
    let mut stream = open(node.http);
    stream.write_all(b"PROXY ").unwrap();
    drop(stream);
    eventually("it to be counted", || (node.metric("proxy_headers_refused_total", &[]) == 1).then_some(()));
}

#[test]
fn a_header_comes_before_tls() {
    let provider = Provider::answering("\"0x1\"");
    let authority = Authority::new();
    let (setup, https) = setup(logging(&provider).set("listen", PROXIED), &authority, &[&[NAME]]);
    let node = setup.launch();
    let config = Speaks::to(&authority).shared();
    eventually("the node to listen", || TcpStream::connect(https).ok());
    let mut stream = open(https);
    stream.write_all(&packed(0x21, "198.51.100.9:4711")).unwrap();
    let mut secure = shake_hands(stream, NAME, &config).unwrap();
    assert_eq!(secure.post("/rpc/ethereum", &json::read()).answer().result(), "\"0x1\"");
    assert_eq!(client_of(&node, 0), "198.51.100.9");
    assert!(connect(https, NAME, &config).is_err(), "TLS alone");
}

#[test]
fn forwarded_for_is_believed_from_balancers_alone() {
    let provider = Provider::answering("\"0x1\"");
    let ask = |node: &Node, fields: &str| {
        let mut client = node.connect();
        client.send(client::request_with("/rpc/ethereum", fields, &json::read())).answer().result();
        client
    };
    let node = logging(&provider).set("listen", "forwarded_for_from = [\"127.0.0.1\", \"10.0.0.0/8\"]").start();
    let cases = [
        ("X-Forwarded-For: 198.51.100.1\r\n", "198.51.100.1"),
        ("X-Forwarded-For: 203.0.113.1, 198.51.100.2, 10.0.0.7\r\n", "198.51.100.2"),
        ("x-forwarded-for: 203.0.113.1\r\nX-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"),
        ("X-Forwarded-For: 198.51.100.1, nobody\r\n", "127.0.0.1"),
        ("", "127.0.0.1"),
    ];
    for (at, (fields, expected)) in cases.iter().enumerate() {
        ask(&node, fields);
        assert_eq!(client_of(&node, at), *expected, "{fields:?}");
    }
    // Each request of a connection has its own.
    let mut one = ask(&node, "X-Forwarded-For: 198.51.100.3\r\n");
    for (at, last) in [(6, 4), (7, 5), (8, 5)] {
        let fields = format!("X-Forwarded-For: 198.51.100.{last}\r\n");
        one.send(client::request_with("/rpc/ethereum", &fields, &json::read())).answer().result();
        assert_eq!(client_of(&node, at), format!("198.51.100.{last}"));
    }
    let stranger = logging(&provider).start();
    for (at, (fields, _)) in cases.iter().enumerate() {
        ask(&stranger, fields);
        assert_eq!(client_of(&stranger, at), "127.0.0.1");
    }
}

#[test]
fn haproxy_says_who_the_client_is() {
    let provider = Provider::answering("\"0x1\"");
    let authority = Authority::new();
    let balanced = logging(&provider).set("listen", PROXIED);
    let (setup, https) = setup(balanced, &authority, &[&["localhost"]]);
    let node = setup.launch();
    eventually("the node to listen", || TcpStream::connect(https).ok());
    let ca = node.path("ca.pem").display().to_string();
    let body = json::read();
    let mut lines = 0;
    for (to, scheme) in [(node.http, "http"), (https, "https")] {
        for words in
            ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id", "send-proxy-v2-ssl"]
        {
            let haproxy = HaProxy::start("tcp", to, words, "");
            let url = format!("{scheme}://localhost:{}/rpc/ethereum", haproxy.address.port());
            let said = curl(&["-4", "--interface", "127.0.0.77", "--cacert", &ca, "-d", &body, &url]);
            assert!(said.contains("\"result\":\"0x1\""), "{scheme} {words}: {said}");
            assert_eq!(client_of(&node, lines), "127.0.0.77", "{scheme} {words}");
            lines += 1;
        }
    }
    // Its health checks are its own.
    let _checking = HaProxy::start(
        "tcp",
        node.http,
        "send-proxy-v2 check check-send-proxy inter 50ms",
        "option httpchk GET /api/health",
    );
    let refused = node.metric("proxy_headers_refused_total", &[]);
    std::thread::sleep(Duration::from_millis(500));
    assert!(node.metric("requests_total", &[]) >= 4);
    assert_eq!(node.metric("proxy_headers_refused_total", &[]), refused);
}

#[test]
fn haproxy_forwards_for_its_clients() {
    let provider = Provider::answering("\"0x1\"");
    let node = logging(&provider).set("listen", "forwarded_for_from = [\"127.0.0.1\"]").start();
    let haproxy = HaProxy::start("http", node.http, "", "option forwardfor");
    let url = format!("http://{}/rpc/ethereum", haproxy.address);
    let body = json::read();
    for spoofed in ["", "X-Forwarded-For: 203.0.113.5"] {
        let at = clients(&node).len();
        let said = curl(&["--interface", "127.0.0.78", "-H", spoofed, "-d", &body, &url]);
        assert!(said.contains("\"result\":\"0x1\""), "{said}");
        assert_eq!(client_of(&node, at), "127.0.0.78");
    }
}

#[test]
fn an_address_has_as_many_connections_as_it_may_in_the_whole_node() {
    let provider = Provider::answering("\"0x1\"");
    let node = Setup::ethereum(&[&provider]).set("listen", "connections_per_address = 4").start();
    let mut held: Vec<Client> = Vec::new();
    eventually("four to be let in", || {
        // Connections of before may not be forgotten yet.
        let mut client = node.connect();
        let served = matches!(client.post("/rpc/ethereum", &json::read()).try_answer(), Ok(Some(_)));
        if served {
            held.push(client);
        }
        (held.len() == 4).then_some(())
    });
    for _ in 0..20 {
        let mut stream = open(node.http);
        let (bytes, ended) = rest(&mut stream);
        assert!(bytes.is_empty() && ended.is_ok(), "an end without a reset: {ended:?}");
    }
    assert!(node.metric("connections_crowded_total", &["limit=\"connections\""]) >= 20);
    // Another address is another client.
    let said = curl(&["--interface", "127.0.0.79", "-d", &json::read(), &format!("http://{}/rpc/ethereum", node.http)]);
    assert!(said.contains("\"result\":\"0x1\""));
    for client in &mut held {
        assert_eq!(client.post("/rpc/ethereum", &json::read()).answer().result(), "\"0x1\"");
    }
    held.pop();
    eventually("room", || {
        matches!(node.connect().post("/rpc/ethereum", &json::read()).try_answer(), Ok(Some(_))).then_some(())
    });
}

#[test]
fn connections_of_before_a_limit_count_towards_it() {
    let provider = Provider::answering("\"0x1\"");
    let mut node = Setup::ethereum(&[&provider]).start();
    let serves = |client: &mut Client| matches!(client.post("/rpc/ethereum", &json::read()).try_answer(), Ok(Some(answer)) if answer.status == 200);
    let mut held: Vec<Client> = (0..3).map(|_| node.connect()).collect();
    assert!(held.iter_mut().all(serves));
    node.reload(|setup| setup.set("listen", "connections_per_address = 2"));
    eventually("the reload", || node.log().contains("reloaded").then_some(()));
    eventually("nobody to be let in", || (!serves(&mut node.connect())).then_some(()));
    assert!(held.iter_mut().all(serves), "nobody is cut");
    held.truncate(1);
    eventually("room", || serves(&mut node.connect()).then_some(()));
}

#[test]
fn who_is_refused_while_it_speaks_is_not_reset() {
    let provider = Provider::answering("\"0x1\"");
    let node = Setup::ethereum(&[&provider]).set("listen", "connections_per_address = 1").start();
    let _held = eventually("one to be let in", || {
        let mut client = node.connect();
        matches!(client.post("/rpc/ethereum", &json::read()).try_answer(), Ok(Some(_))).then_some(client)
    });
    for _ in 0..10 {
        let mut stream = open(node.http);
        // It may have been seen off already; what counts is how it ends.
        let _ = stream.write_all(client::request("/rpc/ethereum", &json::read()).as_bytes());
        let (bytes, ended) = rest(&mut stream);
        assert!(bytes.is_empty() && ended.is_ok(), "{ended:?}");
    }
}

#[test]
fn an_address_opens_as_many_connections_a_second_as_it_may() {
    let provider = Provider::answering("\"0x1\"");
    let node = Setup::ethereum(&[&provider]).set("listen", "connects_per_second_per_address = 20").start();
    let begin = Instant::now();
    let mut served = 0;
    while begin.elapsed() < Duration::from_secs(3) {
        let answer = node.connect().post("/rpc/ethereum", &json::read()).try_answer();
        served += u32::from(matches!(answer, Ok(Some(_))));
        std::thread::sleep(Duration::from_millis(2));
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{served} connections in {seconds} s");
    // What came before this began may have used some of the first second's.
    assert!(f64::from(served) <= 20.0 * (seconds + 1.0) + 1.0 && served >= 40, "{served}");
    assert!(node.metric("connections_crowded_total", &["limit=\"rate\""]) > 20);
}

#[test]
fn handshakes_under_way_are_limited() {
    let provider = Provider::answering("\"0x1\"");
    let authority = Authority::new();
    let (setup, https) =
        setup(Setup::ethereum(&[&provider]).set("listen", "handshakes_per_address = 3"), &authority, &[&[NAME]]);
    let node = setup.start();
    let config = Speaks::to(&authority).shared();
    let slow: Vec<TcpStream> = (0..3).map(|_| open(https)).collect();
    eventually("three to be under way", || (node.metric("tls_handshakes_under_way", &[]) == 3).then_some(()));
    assert!(connect(https, NAME, &config).is_err());
    assert!(node.metric("connections_crowded_total", &["limit=\"handshakes\""]) >= 1);
    assert_eq!(node.ethereum(&json::read()).result(), "\"0x1\"", "no handshake, no limit");
    drop(slow);
    let mut secure = eventually("room", || connect(https, NAME, &config).ok());
    assert_eq!(secure.post("/rpc/ethereum", &json::read()).answer().result(), "\"0x1\"");
}

#[test]
fn balancers_are_exempt_and_their_clients_are_not() {
    let provider = Provider::answering("\"0x1\"");
    let node =
        Setup::ethereum(&[&provider]).set("listen", PROXIED).set("listen", "connections_per_address = 2").launch();
    eventually("the node to listen", || TcpStream::connect(node.http).ok());
    let come = |source: &str| {
        let mut stream = open(node.http);
        stream.write_all(&packed(0x21, source)).unwrap();
        let mut client = Client::over(stream);
        let served = matches!(client.post("/rpc/ethereum", &json::read()).try_answer(), Ok(Some(_)));
        served.then_some(client)
    };
    let held: Vec<Client> = (0..8).map(|at| come(&format!("198.51.100.{at}:1")).unwrap()).collect();
    let _second = come("198.51.100.0:2").unwrap();
    assert!(come("198.51.100.0:3").is_none());
    // A household of IPv6.
    let _household = [come("[2001:db8::1]:1").unwrap(), come("[2001:db8::2]:1").unwrap()];
    assert!(come("[2001:db8::3]:1").is_none());
    drop(held);
    eventually("room", || come("198.51.100.0:4"));
}

#[test]
fn the_admin_port_takes_a_token_or_a_certificate() {
    let provider = Provider::answering("\"0x1\"");
    let authority = Authority::new();
    let (own, own_key) = authority.pair(&["operator.example"]);
    let (wrong, wrong_key) = Authority::new().pair(&["operator.example"]);
    let token = "t0ken-0123456789-0123456789";
    let setup = Setup::ethereum(&[&provider]).set("listen", &format!("admin_token = \"{token}\""));
    let mut node = asking_for_certificates(setup, &authority).start();
    let ask = |node: &Node, own: Option<(&str, &str)>, fields: &str, path: &str| {
        let config = Speaks::with(&authority, own, rustls::ALL_VERSIONS).shared();
        let mut secure = connect(node.admin, "localhost", &config).ok()?;
        secure.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n"));
        secure.try_answer().ok()?.map(|answer| answer.status)
    };
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let (certified, foreign) = (Some((own.as_str(), own_key.as_str())), Some((wrong.as_str(), wrong_key.as_str())));
    assert_eq!(ask(&node, None, "", "/metrics"), Some(401));
    assert_eq!(ask(&node, None, "", "/api/health"), Some(200));
    assert_eq!(ask(&node, None, &bearer, "/metrics"), Some(200));
    assert_eq!(ask(&node, None, "Authorization: Bearer wrong\r\n", "/metrics"), Some(401));
    assert_eq!(ask(&node, certified, "", "/metrics"), Some(200));
    assert_eq!(ask(&node, foreign, &bearer, "/metrics"), None, "another authority's");
    // A ticket would outlive the certificate.
    for version in rustls::ALL_VERSIONS {
        let config = Speaks::with(&authority, certified, &[version]).resuming().shared();
        for _ in 0..2 {
            let mut secure = connect(node.admin, "localhost", &config).unwrap();
            secure.send("GET /api/chains HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(secure.answer().status, 200);
            assert!(!secure.resumed(), "{version:?}");
        }
    }
    // Plain HTTP is none there.
    let mut plain = open(node.admin);
    plain.write_all(b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // One that stalls in its handshake holds up nobody.
    let _stalled: Vec<TcpStream> = (0..8).map(|_| open(node.admin)).collect();
    assert_eq!(ask(&node, certified, "", "/api/chains"), Some(200));
    // Without a token there is the certificate alone, for whoever has come with the token, too.
    let config = Speaks::with(&authority, None, rustls::ALL_VERSIONS).shared();
    let mut reader = connect(node.admin, "localhost", &config).unwrap();
    reader.send(format!("GET /api/events HTTP/1.1\r\nHost: a\r\n{bearer}\r\n"));
    let begun = reader.head();
    assert!(begun.line.contains(" 200 "), "{begun:?}");
    node.reload(|setup| setup.set("listen", "admin_token = \"another-token-0123456789\""));
    eventually("the other token", || (ask(&node, None, &bearer, "/metrics") == Some(401)).then_some(()));
    assert_eq!(ask(&node, certified, "", "/metrics"), Some(200));
    reader.pass(&begun).expect("who showed a token that is none any more is told nothing further");
    // A new certificate is found there, too.
    let (renewed, renewed_key) = authority.pair(&["localhost"]);
    let config = Speaks::to(&authority).shared();
    let shown = |node: &Node| connect(node.admin, "localhost", &config).unwrap().shown();
    let before = shown(&node);
    node.write("key.pem", &renewed_key);
    node.write("cert.pem", &renewed);
    node.signal("HUP");
    eventually("the new certificate", || (shown(&node) != before).then_some(()));
}

/// A node whose admin port asks for a certificate of the authority's.
fn asking_for_certificates(setup: Setup, authority: &Authority) -> Setup {
    let (cert, key) = authority.pair(&["localhost"]);
    setup
        .file("cert.pem", &cert)
        .file("key.pem", &key)
        .file("ca.pem", &authority.pem())
        .set("listen", "admin_cert = \"@cert.pem@\"")
        .set("listen", "admin_key = \"@key.pem@\"")
        .set("listen", "admin_client_ca = \"@ca.pem@\"")
}

/// Such a node, and what shows a certificate there.
fn certified_admin(setup: Setup, authority: &Authority) -> (Node, Arc<ClientConfig>) {
    let (own, own_key) = authority.pair(&["operator.example"]);
    let speaks = Speaks::with(authority, Some((own.as_str(), own_key.as_str())), rustls::ALL_VERSIONS);
    (asking_for_certificates(setup, authority).start(), speaks.shared())
}

#[test]
fn an_authority_that_is_removed_opens_the_admin_port_to_nobody_who_is_there() {
    let provider = Provider::answering("\"0x1\"");
    let authority = Authority::new();
    let (mut node, config) = certified_admin(Setup::ethereum(&[&provider]), &authority);
    let mut operator = connect(node.admin, "localhost", &config).unwrap();
    let ask = |operator: &mut Secure| {
        operator.send("GET /api/chains HTTP/1.1\r\nHost: livechain.example\r\n\r\n").answer().status
    };
    assert_eq!(ask(&mut operator), 200);
    // Another reload, and the same authority in another file: nobody is cut.
    node.reload(|setup| setup.set("log", "level = \"debug\""));
    node.write("ca.pem", &(authority.pem() + "\n"));
    node.signal("HUP");
    let done = "livechain_reloads_total";
    eventually("the reloads", || {
        let page = operator.send("GET /metrics HTTP/1.1\r\nHost: livechain.example\r\n\r\n").answer();
        assert_eq!(page.status, 200, "nobody is cut");
        let page = page.text();
        let line = page.lines().find(|line| line.starts_with(done) && line.contains("result=\"done\"")).unwrap();
        line.ends_with(" 2").then_some(())
    });
    node.write("ca.pem", &Authority::new().pem());
    node.signal("HUP");
    eventually("the other authority", || (ask(&mut operator) == 401).then_some(()));
    assert!(operator.try_answer().unwrap().is_none(), "and it is closed");
}

#[test]
fn a_certified_operator_may_name_the_admin_port_as_it_is_called() {
    let provider = Provider::answering("\"0x1\"");
    let (node, config) = certified_admin(Setup::ethereum(&[&provider]), &Authority::new());
    let mut operator = connect(node.admin, "localhost", &config).unwrap();
    operator.send("GET /api/tenants HTTP/1.1\r\nHost: livechain.example\r\n\r\n");
    assert_eq!(operator.answer().status, 404, "there are no tenants");
}

#[test]
fn who_has_no_token_keeps_nobody_out_who_has_it() {
    let provider = Provider::answering("\"0x1\"");
    let token = "t0ken-0123456789-0123456789";
    let node = Setup::ethereum(&[&provider]).set("listen", &format!("admin_token = \"{token}\"")).start();
    // More than there are places, and all that the kernel keeps behind them may be taken too.
    let mut strangers: Vec<TcpStream> = (0..300).map(|_| open(node.admin)).collect();
    for stranger in &mut strangers {
        // Those who had to go already are gone.
        let _ = stranger.write_all(b"GET /api/health HTTP/1.1\r\nHost: a\r\nX: ");
    }
    for _ in 0..3 {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
        assert_eq!(Client::open(node.admin).send(request).answer().status, 200);
    }
}

#[test]
fn viem_speaks_https_and_wss_with_a_key() {
    let mut shop = Shop::new();
    let (key, id) = shop.plan("basic", "{}").key("basic");
    let anvil = Anvil::start();
    let authority = Authority::new();
    let url = format!("http://{}", anvil.address);
    let chain =
        Chain::new("anvil", 31337).provider_with("alpha", &url, &format!("ws_url = \"ws://{}\"", anvil.address));
    let own = shop.in_setup(Setup::new().chain(chain.line("block_time = \"1s\"")));
    let (setup, https) = setup(own, &authority, &[&["localhost"]]);
    let node = setup.start();
    let output = script("secure.mjs")
        .arg(format!("https://localhost:{}/v1/{key}/rpc/anvil", https.port()))
        .env("NODE_EXTRA_CA_CERTS", node.path("ca.pem"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    println!("{said}");
    // Over both: a chain's id, a number; a subscription, a block that is mined, and a head that is told.
    assert!(shop.wait_calls(id, 7).billable >= 7);
}
