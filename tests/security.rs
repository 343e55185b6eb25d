//! Attempts to get in, or to get more than was sold: each refused.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic, and its numbers are small")]

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use livechain::tenant::key::KeyId;
use rcgen::KeyPair;
use serde_json::{Value, json};
use support::client::{request, request_with};
use support::shop::{CALL, Shop, now_s};
use support::socket::Socket;
use support::{Answer, Client, Node, Provider, Setup, eventually};

const ISSUER: &str = "https://issuer.example/";
const AUDIENCE: &str = "livechain";

fn ask(node: &Node, path: &str, fields: &str) -> Answer {
    node.connect().send(request_with(path, fields, CALL)).answer()
}

fn with_key(node: &Node, key: &str) -> u16 {
    ask(node, &format!("/v1/{key}/rpc/ethereum"), "").status
}

#[test]
fn keys_that_are_none() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, _) = shop.plan("basic", "{}").key("basic");
    let (revoked, id) = shop.key("basic");
    shop.revoke(id);
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    assert_eq!(with_key(&node, &key), 200);
    let flipped = key.replace(&key[10..11], if &key[10..11] == "A" { "B" } else { "A" });
    let (long, longer) = (key.repeat(100), "x".repeat(7_000));
    for (what, attempt) in [
        ("revoked", &*revoked),
        ("mistyped", &flipped),
        ("truncated", &key[..key.len() - 1]),
        ("the prefix alone", "lc_live_"),
        ("in capitals", &key.to_uppercase()),
        ("with a byte more", &format!("{key}0")),
        ("a hundred of them", &long),
        ("enormous", &longer),
        ("escaped", &key.replace('l', "%6c")),
        ("none at all", "%00"),
    ] {
        let status = with_key(&node, attempt);
        // What no path of ours can hold leads nowhere.
        assert!(status == 401 || (status == 404 && attempt.contains('%')), "{what}: {status}");
        if !attempt.contains('%') {
            for field in [format!("X-Livechain-Key: {attempt}\r\n"), format!("Authorization: Bearer {attempt}\r\n")] {
                assert_eq!(ask(&node, "/rpc/ethereum", &field).status, 401, "{what}");
            }
        }
    }
    let two = format!("X-Livechain-Key: {key}\r\nX-Livechain-Key: {key}\r\n");
    assert!([400, 401].contains(&ask(&node, "/rpc/ethereum", &two).status), "a field that stands there twice");
    assert_eq!(provider.calls("eth_getBalance").len(), 1);
}

/// A node that takes tokens signed by `issuer`, and by a secret.
fn node_with_tokens(shop: &mut Shop, provider: &Provider, issuer: &KeyPair) -> Node {
    shop.plan("basic", "{}").plan("small", r#"{"calls_per_second":1,"calls_burst":2}"#);
    start(shop, provider, issuer)
}

fn start(shop: &Shop, provider: &Provider, issuer: &KeyPair) -> Node {
    let public = issuer.public_key_pem();
    shop.in_setup(Setup::ethereum(&[provider]))
        .file("issuer.pem", &public)
        .set("tenants.jwt", &format!("issuers = [\"{ISSUER}\"]"))
        .set("tenants.jwt", &format!("audiences = [\"{AUDIENCE}\"]"))
        .set("tenants.jwt", "keys_file = \"@issuer.pem@\"")
        .set("tenants.jwt", "leeway = \"0ms\"")
        .start()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "exp": now_s() + 600, "tenant": "acme", "plan": "basic", "sub": "alice"})
}

/// `claims` with other values; null takes one out.
fn but(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn signed(issuer: &KeyPair, claims: &Value) -> String {
    let key = EncodingKey::from_ec_pem(issuer.serialize_pem().as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &key).unwrap()
}

fn bearer(node: &Node, token: &str) -> Answer {
    ask(node, "/rpc/ethereum", &format!("Authorization: Bearer {token}\r\n"))
}

#[test]
fn tokens_that_are_none() {
    use base64::Engine;
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (issuer, stranger) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let node = node_with_tokens(&mut shop, &provider, &issuer);
    let good = signed(&issuer, &claims());
    assert_eq!(bearer(&node, &good).status, 200);
    let encode = |text: &str| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text);
    let [_, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let secret = EncodingKey::from_secret(issuer.public_key_pem().as_bytes());
    let confused = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap();
    let mut unknown = Header::new(Algorithm::ES256);
    unknown.kid = Some("nobody's".to_owned());
    let key = EncodingKey::from_ec_pem(issuer.serialize_pem().as_bytes()).unwrap();
    let unknown = jsonwebtoken::encode(&unknown, &claims(), &key).unwrap();
    let own_key = format!(
        "{}.{body}.{signature}",
        encode(&format!(r#"{{"alg":"ES256","jwk":{{"kty":"EC","x":"{}"}}}}"#, encode("x")))
    );
    for (what, token) in [
        ("alg none", format!("{}.{body}.", encode(r#"{"alg":"none"}"#))),
        ("alg none, with the signature", format!("{}.{body}.{signature}", encode(r#"{"alg":"none"}"#))),
        ("the public key as a secret", confused),
        ("another's signature", signed(&stranger, &claims())),
        ("a key of its own", own_key),
        ("an unknown kid", unknown),
        ("no signature", format!("{}.{body}", good.split('.').next().unwrap())),
        (
            "a claim changed",
            format!("{}.{}.{signature}", good.split('.').next().unwrap(), encode(r#"{"plan":"gold"}"#)),
        ),
        ("expired", signed(&issuer, &but(&json!({"exp": now_s() - 1})))),
        ("without an end", signed(&issuer, &but(&json!({"exp": null})))),
        ("not yet", signed(&issuer, &but(&json!({"nbf": now_s() + 100})))),
        ("another's audience", signed(&issuer, &but(&json!({"aud": "billing"})))),
        ("another issuer", signed(&issuer, &but(&json!({"iss": "https://issuer.example"})))),
        ("no tenant", signed(&issuer, &but(&json!({"tenant": null})))),
        ("an unknown tenant", signed(&issuer, &but(&json!({"tenant": "nobody"})))),
        ("an unknown plan", signed(&issuer, &but(&json!({"plan": "gold"})))),
        ("enormous", signed(&issuer, &but(&json!({"x": "y".repeat(6_000)})))),
        ("truncated", good[..good.len() - 1].to_owned()),
    ] {
        let answer = bearer(&node, &token);
        assert_eq!((answer.status, answer.own_error()), (401, -32050), "{what}");
    }
    let elsewhere = signed(&issuer, &but(&json!({"chains": ["base"]})));
    assert_eq!(bearer(&node, &elsewhere).status, 403, "a token for another chain, by the same subject");
    assert_eq!(bearer(&node, &good).status, 200);
    assert_eq!(provider.calls("eth_getBalance").len(), 2);
}

#[test]
fn a_new_token_is_no_new_quota_and_a_token_ends_with_its_sockets() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let issuer = KeyPair::generate().unwrap();
    let node = node_with_tokens(&mut shop, &provider, &issuer);
    let small = |end| signed(&issuer, &but(&json!({"plan": "small", "exp": now_s() + end})));
    let statuses: Vec<_> = (0..6).map(|nth| bearer(&node, &small(500 + nth)).status).collect();
    let good = statuses.iter().filter(|status| **status == 200).count();
    assert!((2..=3).contains(&good) && statuses.contains(&429), "{statuses:?}");
    let short = signed(&issuer, &but(&json!({"exp": now_s() + 3})));
    let mut socket = Socket::open_with(node.http, "/rpc/ethereum", &format!("Authorization: Bearer {short}\r\n"));
    assert_eq!(socket.call(CALL), "\"0x1\"");
    assert_eq!(socket.closed(), Some(1008));
}

#[test]
fn what_a_token_has_used_of_a_month_is_used_after_a_restart() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let issuer = KeyPair::generate().unwrap();
    // Each on a day of its own: nobody is told whose plan it is before it comes.
    shop.plan("first", r#"{"units_per_month":100}"#);
    shop.plan("middle", r#"{"units_per_month":100,"month_starts_on":15}"#);
    let mut good = [0; 2];
    for _ in 0..2 {
        let mut node = start(&shop, &provider, &issuer);
        for (good, plan) in good.iter_mut().zip(["first", "middle"]) {
            let token = signed(&issuer, &but(&json!({"plan": plan, "sub": plan})));
            *good += (0..4).filter(|_| bearer(&node, &token).status == 200).count();
        }
        node.signal("TERM");
        assert!(node.wait_end().success());
    }
    assert_eq!(good, [5, 5], "of eight, each of 20 units");
}

#[test]
fn addresses_that_are_made_up() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (office, _) = shop.plan("basic", "{}").key_with("basic", Some(r#"{"networks":["10.0.0.0/8"]}"#), None);
    let setup = shop.in_setup(Setup::ethereum(&[&provider]));
    let path = format!("/v1/{office}/rpc/ethereum");
    let said = |node: &Node, addresses: &str| ask(node, &path, &format!("X-Forwarded-For: {addresses}\r\n")).status;
    let node = setup.clone().start();
    assert_eq!(said(&node, "10.1.2.3"), 403, "a stranger says whatever it likes");
    assert_eq!(ask(&node, &path, "Forwarded: for=10.1.2.3\r\nX-Real-IP: 10.1.2.3\r\n").status, 403);
    for header in [
        "PROXY TCP4 10.1.2.3 10.0.0.1 1000 80\r\n",
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\n\x01\x02\x03\n\0\0\x01\x03\u{e8}\0P",
    ] {
        let mut client = Client::over(TcpStream::connect(node.http).unwrap());
        client.send(header).send(request(&path, CALL));
        let status = client.try_answer().ok().flatten().map(|answer| answer.status);
        assert!(matches!(status, None | Some(400)), "{status:?}: a PROXY header of a stranger");
    }
    drop(node);
    // Behind a balancer, which stands at 127.0.0.1 here.
    let node = setup.set("listen", "forwarded_for_from = [\"127.0.0.0/8\", \"192.168.0.0/16\"]").start();
    for (addresses, status) in [
        ("10.1.2.3", 200),
        ("10.1.2.3, 192.168.7.7", 200),
        ("10.1.2.3, 203.0.113.9", 403),
        ("10.1.2.3, 203.0.113.9, 192.168.7.7", 403),
        ("203.0.113.9, 10.1.2.3", 200),
        ("10.1.2.3, nonsense", 403),
        ("", 403),
    ] {
        assert_eq!(said(&node, addresses), status, "{addresses:?}");
    }
    let two = "X-Forwarded-For: 10.1.2.3\r\nX-Forwarded-For: 203.0.113.9\r\n";
    assert_eq!(ask(&node, &path, two).status, 403, "fields that stand there twice are one list");
}

/// Calls that were answered, of as many as can be sent in a moment.
fn burst(node: &Node, key: &str) -> [usize; 4] {
    let path = format!("/v1/{key}/rpc/ethereum");
    let good = |text: &str| text.matches("\"result\"").count();
    // Pipelined on one connection.
    let mut client = node.connect();
    client.send(request(&path, CALL).repeat(200));
    let pipelined = (0..200).map(|_| good(&client.answer().text())).sum();
    // Batches.
    let batch = format!("[{}]", [CALL; 50].join(","));
    let batched = (0..4).map(|_| good(&client.send(request(&path, &batch)).answer().text())).sum();
    // Many connections: the kernel spreads them over both shards.
    let many = thread::scope(|scope| {
        let asking: Vec<_> = (0..40)
            .map(|_| {
                scope.spawn(|| {
                    (0..5).map(|_| good(&node.connect().send(request(&path, CALL)).answer().text())).sum::<usize>()
                })
            })
            .collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).sum()
    });
    // Sockets, a hundred messages at once.
    let mut socket = Socket::open(node.http, &path);
    for _ in 0..100 {
        socket.text(CALL);
    }
    let over_socket = (0..100).map(|_| good(&String::from_utf8(socket.message().1).unwrap())).sum();
    [pipelined, batched, many, over_socket]
}

#[test]
fn a_quota_is_one_whatever_the_way() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, id): (String, KeyId) = shop.plan("small", r#"{"calls_per_second":10,"calls_burst":10}"#).key("small");
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    let start = Instant::now();
    let answered = burst(&node, &key);
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    let all: usize = answered.iter().sum();
    assert!(all <= 10 + 10 * seconds, "{answered:?} in {seconds} s");
    assert!(answered[0] >= 10, "{answered:?}");
    assert_eq!(provider.calls("eth_getBalance").len(), all);
    assert_eq!(shop.wait_calls(id, 700).billable, all as u64);
    // The key's places are the same for all, too.
    let (few, _) = shop.plan("narrow", r#"{"in_flight":2}"#).key("narrow");
    provider.script(|call| support::Reply::result(call, "\"0x1\"").after(std::time::Duration::from_secs(1)));
    eventually("the new key is good", || (with_key(&node, &few) == 200).then_some(()));
    let path = format!("/v1/{few}/rpc/ethereum");
    let batch = format!("[{}]", [CALL; 10].join(","));
    let answer = node.connect().send(request(&path, &batch)).answer().text();
    assert_eq!(answer.matches("\"result\"").count(), 2, "{answer}");
}

#[test]
fn a_body_in_another_body_is_no_request() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, _) = shop.plan("basic", "{}").key("basic");
    let node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    // Who is turned away has a body that looks like a good request: the connection ends, and it is none.
    let inner = request(&format!("/v1/{key}/rpc/ethereum"), CALL);
    let mut stream = TcpStream::connect(node.http).unwrap();
    stream.write_all(request("/v1/nonsense/rpc/ethereum", &inner).as_bytes()).unwrap();
    let mut client = Client::over(stream);
    assert_eq!(client.answer().status, 401);
    assert!(client.closes());
    assert!(provider.calls("eth_getBalance").is_empty());
}

#[test]
fn the_last_key_of_tokens_is_taken_back() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let issuer = KeyPair::generate().unwrap();
    let node = node_with_tokens(&mut shop, &provider, &issuer);
    let good = signed(&issuer, &claims());
    assert_eq!(bearer(&node, &good).status, 200);
    node.write("issuer.pem", r#"{"keys":[]}"#);
    eventually("tokens are refused", || (bearer(&node, &good).status == 401).then_some(()));
    eventually("it is told", || node.log().contains("holds none any more").then_some(()));
    node.write("issuer.pem", &issuer.public_key_pem());
    eventually("they are good again", || (bearer(&node, &good).status == 200).then_some(()));
}
