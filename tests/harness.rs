//! The harness itself: what the other tests take for granted about scripted providers, clients and relays.
//!
//! A mock that does not do what its script says makes every test above it worthless, so each fault is seen here from
//! the other end of the socket.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::time::Duration;

use support::certs::Authority;
use support::provider::Accepting;
use support::relay::{Mood, Relay};
use support::reply::At;
use support::{Answer, Client, Fault, Provider, Reply, json};

fn ask(provider: &Provider) -> std::io::Result<Option<Answer>> {
    let Ok(stream) = std::net::TcpStream::connect(provider.address) else {
        return Err(std::io::Error::other("refused"));
    };
    Client::over(stream).post("/", &json::read()).try_answer()
}

#[test]
fn an_answer_arrives_in_every_framing() {
    let provider = Provider::answering("\"0x1\"");
    let framings: [fn(Reply) -> Reply; 4] =
        [|r| r, |r| r.chunked(7), Reply::until_close, |r| r.interim(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")];
    for framing in framings {
        provider.script(move |call| framing(Reply::result(call, "\"0x1\"")));
        let mut client = Client::open(provider.address);
        let mut answer = client.post("/", &json::read()).answer();
        if answer.status == 103 {
            answer = client.answer();
        }
        assert_eq!((answer.status, answer.result().as_str()), (200, "\"0x1\""));
    }
    let seen = provider.calls("eth_getBalance");
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0].head.field("host"), Some("localhost"));
    assert_eq!(seen[0].body, json::read().as_bytes());
}

#[test]
fn faults_happen_where_the_script_says() {
    let provider = Provider::answering("1");
    let cases = [
        (Fault::Cut(At::Start), "nothing"),
        (Fault::Cut(At::Head), "body cut short"),
        (Fault::Cut(At::Body(10)), "body cut short"),
        (Fault::Reset(At::Start), "reset"),
        (Fault::Reset(At::Body(10)), "reset"),
    ];
    for (fault, expected) in cases {
        provider.script(move |call| Reply::result(call, "1").fault(fault));
        let outcome = match ask(&provider) {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(answer)) => answer.text(),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => "reset".to_owned(),
            Err(e) => e.to_string(),
        };
        assert_eq!(outcome, expected, "{fault:?}");
    }
}

#[test]
fn a_stalled_answer_neither_ends_nor_goes_on() {
    let provider =
        Provider::start(|call| Reply::result(call, "\"abcdefgh\"").chunked(6).fault(Fault::Stall(At::Body(5))));
    let mut client = Client::open(provider.address);
    client.post("/", &json::read());
    let head = client.head();
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    assert!(client.quiet_for(Duration::from_millis(50)) || client.quiet_for(Duration::from_millis(50)));
    assert!(client.held().len() <= 5);
}

#[test]
fn a_provider_goes_down_and_comes_up() {
    let provider = Provider::answering("1");
    assert!(ask(&provider).unwrap().is_some());
    provider.down();
    assert_eq!(ask(&provider).unwrap_err().to_string(), "refused");
    provider.up();
    assert!(ask(&provider).unwrap().is_some());
    provider.accept(Accepting::Close);
    assert!(!matches!(ask(&provider), Ok(Some(_))));
}

#[test]
fn a_flood_has_exactly_its_size() {
    let provider = Provider::start(|call| Reply::flood(call, 200_001));
    assert_eq!(ask(&provider).unwrap().unwrap().result().len(), 200_003);
    provider.script(|call| Reply::flood(call, 200_001).sized());
    assert_eq!(ask(&provider).unwrap().unwrap().result().len(), 200_003);
}

#[test]
fn tls_certificates_are_made() {
    let authority = Authority::new();
    let provider = Provider::start_tls(authority.server("127.0.0.1"), |call| Reply::result(call, "1"));
    assert!(authority.pem().contains("BEGIN CERTIFICATE"));
    assert!(provider.url().starts_with("https://127.0.0.1:"));
}

#[test]
fn relays_pass_pause_cut_and_die() {
    let provider = Provider::answering("\"0x1\"");
    let relay = Relay::start(provider.address);
    let mut client = Client::open(relay.address);
    assert_eq!(client.post("/", &json::read()).answer().result(), "\"0x1\"");
    relay.mood(Mood::Pause);
    client.post("/", &json::read());
    assert!(client.quiet_for(Duration::from_millis(50)));
    relay.mood(Mood::Pass);
    assert_eq!(client.answer().status, 200);
    relay.mood(Mood::CutAnswers);
    assert!(client.post("/", &json::read()).try_answer().is_err());
    relay.kill();
    assert!(std::net::TcpStream::connect(relay.address).is_err());
    relay.revive();
    relay.mood(Mood::Pass);
    assert_eq!(Client::open(relay.address).post("/", &json::read()).answer().status, 200);
}
