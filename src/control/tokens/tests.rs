//! Keys that change, against a file and an issuer's server of the test's own.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::{Secret, Url};
use crate::control::tls;
use crate::limits::TOKEN_KEY_SET_BYTES_MAX;
use crate::tenant::token::forge::{Claims, Issuer as Signer, NOW_S, config as terms, jwks, pepper};
use crate::tenant::token::{TokenAlgorithm, TokenFault};

const QUICK: Pace = Pace {
    look_every: Duration::from_millis(5),
    file_every: Duration::from_millis(10),
    spacing: Duration::from_millis(20),
    retry_first: Duration::from_millis(20),
};
/// So long that nothing ends for it.
const LONG: Duration = Duration::from_hours(1);
/// What is waited for comes much sooner.
const PATIENCE: Duration = Duration::from_secs(20);

/// An issuer's server: whatever is asked, it answers this, as it is.
struct Server {
    port: u16,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicU32>,
    requests: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    async fn start(acceptor: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, asked, requests) = (Arc::default(), Arc::new(AtomicU32::new(0)), Arc::default());
        let server =
            Self { port, answer: Arc::clone(&answer), asked: Arc::clone(&asked), requests: Arc::clone(&requests) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                asked.fetch_add(1, Relaxed);
                let answer: Vec<u8> = answer.lock().unwrap().clone();
                let requests = Arc::clone(&requests);
                // One after the other: a client that is not answered well does not come twice at once.
                match &acceptor {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            exchange(stream, &answer, &requests).await;
                        }
                    }
                    None => exchange(stream, &answer, &requests).await,
                }
            }
        });
        server
    }

    fn answers(&self, status: &str, fields: &str, body: &str) {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{fields}\r\n{body}", body.len());
        *self.answer.lock().unwrap() = answer.into_bytes();
    }

    fn publishes(&self, signers: &[&Signer]) {
        self.answers("200 OK", "content-type: application/json\r\n", &jwks(signers));
    }

    fn url(&self) -> Url {
        let target = Secret::new("/keys?tenant=s3cret");
        Url { tls: false, host: "127.0.0.1".into(), port: self.port, target, authorization: None }
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8], requests: &Mutex<Vec<u8>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => request.push(byte[0]),
            _ => return,
        }
    }
    *requests.lock().unwrap() = request;
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
}

fn config(url: Option<Url>, file: Option<&Path>) -> Jwt {
    Jwt {
        terms: terms(),
        keys_file: file.map(Path::to_owned),
        jwks_url: url,
        hmac_secret: None,
        refresh: LONG,
        keep: LONG,
    }
}

fn start(config: &Jwt) -> Result<Keyring, TokensError> {
    Keyring::start_at(QUICK, config, pepper(), &tls::client_config(None).unwrap(), 0)
}

fn signer(name: &str) -> Signer {
    Signer::new(TokenAlgorithm::EdDsa, Some(name))
}

fn find(keyring: &Keyring, signer: &Signer) -> Result<(), TokenFault> {
    keyring.tokens().find(signer.sign(&Claims::good()).as_bytes(), NOW_S).map(drop)
}

/// Waits for as many changes as it takes.
async fn until(keyring: &mut Keyring, what: impl Fn(&Keyring) -> bool) {
    let all = async {
        while !what(keyring) {
            keyring.changed().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, all).await.is_ok(), "it does not come");
}

async fn eventually(what: impl Fn() -> bool) {
    let all = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, all).await.is_ok(), "it does not come");
}

#[tokio::test]
async fn an_issuer_rotates_its_keys() {
    let (first, second, third) = (signer("1"), signer("2"), signer("3"));
    let server = Server::start(None).await;
    server.publishes(&[&first]);
    let mut keyring = start(&config(Some(server.url()), None)).unwrap();
    keyring.first(PATIENCE).await;
    assert_eq!((find(&keyring, &first), keyring.tokens().generation()), (Ok(()), 2));
    // The new key is published beside the old one; the first token of it brings it.
    server.publishes(&[&first, &second]);
    assert_eq!(find(&keyring, &second), Err(TokenFault::UnknownKey));
    until(&mut keyring, |keyring| find(keyring, &second).is_ok()).await;
    assert_eq!((find(&keyring, &first), keyring.tokens().generation()), (Ok(()), 3));
    // The old one is taken back.
    server.publishes(&[&second, &third]);
    let _ = find(&keyring, &third);
    until(&mut keyring, |keyring| find(keyring, &third).is_ok()).await;
    assert_eq!((find(&keyring, &first), find(&keyring, &second)), (Err(TokenFault::UnknownKey), Ok(())));
    let request = String::from_utf8(server.requests.lock().unwrap().clone()).unwrap();
    assert!(request.starts_with("GET /keys?tenant=s3cret HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn it_is_asked_regularly_and_what_is_the_same_changes_nothing() {
    let (first, second) = (signer("1"), signer("2"));
    let server = Server::start(None).await;
    server.publishes(&[&first]);
    let config = Jwt { refresh: Duration::from_millis(20), ..config(Some(server.url()), None) };
    let mut keyring = start(&config).unwrap();
    keyring.first(PATIENCE).await;
    let seen = server.asked.load(Relaxed);
    eventually(|| server.asked.load(Relaxed) > seen + 3).await;
    assert_eq!(keyring.tokens().generation(), 2);
    server.publishes(&[&second]);
    until(&mut keyring, |keyring| keyring.tokens().generation() == 3).await;
    assert_eq!((find(&keyring, &first), find(&keyring, &second)), (Err(TokenFault::UnknownKey), Ok(())));
}

#[tokio::test]
async fn an_issuer_that_fails_keeps_its_keys_for_a_while() {
    let (first, second) = (signer("1"), signer("2"));
    let server = Server::start(None).await;
    server.publishes(&[&first]);
    let config = Jwt { refresh: Duration::from_millis(20), ..config(Some(server.url()), None) };
    let mut keyring = start(&config).unwrap();
    keyring.first(PATIENCE).await;
    let good = jwks(&[&second]);
    let moved = format!("location: http://127.0.0.1:{}/\r\n", server.port);
    let huge = format!(r#"{{"more":"{}",{}"#, "a".repeat(TOKEN_KEY_SET_BYTES_MAX), &good[1..]);
    for (status, fields, body) in [
        ("500 Internal Server Error", "", good.as_str()),
        ("302 Found", &moved, &good),
        ("200 OK", "", "{}"),
        ("200 OK", "", r#"{"keys":[{"kty":"oct","k":"AA"}]}"#),
        ("200 OK", "", &second.pem()),
        ("200 OK", "", &huge),
        ("200 OK", "transfer-encoding: chunked\r\n", &good),
        ("HTTP/9", "", ""),
    ] {
        server.answers(status, fields, body);
        let seen = server.asked.load(Relaxed);
        eventually(|| server.asked.load(Relaxed) > seen + 2).await;
        assert_eq!((find(&keyring, &first), keyring.tokens().generation()), (Ok(()), 2), "{status} {body:.40}");
    }
    server.publishes(&[&second]);
    until(&mut keyring, |keyring| find(keyring, &second).is_ok()).await;
}

#[tokio::test]
async fn an_issuer_takes_its_last_key_back() {
    let first = signer("1");
    let server = Server::start(None).await;
    server.publishes(&[&first]);
    let config = Jwt { refresh: Duration::from_millis(20), ..config(Some(server.url()), None) };
    let mut keyring = start(&config).unwrap();
    keyring.first(PATIENCE).await;
    assert_eq!(find(&keyring, &first), Ok(()));
    server.publishes(&[]);
    until(&mut keyring, |keyring| keyring.tokens().keys() == 0).await;
    assert_eq!((find(&keyring, &first), keyring.tokens().generation()), (Err(TokenFault::UnknownKey), 3));
    let seen = server.asked.load(Relaxed);
    eventually(|| server.asked.load(Relaxed) > seen + 2).await;
    assert_eq!(keyring.tokens().generation(), 3, "the same answer is no change");
    server.publishes(&[&first]);
    until(&mut keyring, |keyring| find(keyring, &first).is_ok()).await;
}

#[tokio::test]
async fn an_issuer_without_keys_has_answered() {
    let server = Server::start(None).await;
    server.publishes(&[]);
    let mut keyring = start(&config(Some(server.url()), None)).unwrap();
    // So that the keys of a config before this one go.
    keyring.first(PATIENCE).await;
    assert_eq!((keyring.tokens().keys(), keyring.tokens().generation()), (0, 2));
}

#[tokio::test]
async fn keys_that_are_too_old_are_no_longer_believed() {
    let first = signer("1");
    let server = Server::start(None).await;
    server.publishes(&[&first]);
    let config = Jwt {
        refresh: Duration::from_millis(20),
        keep: Duration::from_millis(300),
        ..config(Some(server.url()), None)
    };
    let mut keyring = start(&config).unwrap();
    keyring.first(PATIENCE).await;
    server.answers("503 Service Unavailable", "", "");
    until(&mut keyring, |keyring| keyring.tokens().keys() == 0).await;
    assert_eq!(find(&keyring, &first), Err(TokenFault::UnknownKey));
    server.publishes(&[&first]);
    until(&mut keyring, |keyring| find(keyring, &first).is_ok()).await;
}

#[tokio::test]
async fn strangers_do_not_make_it_ask_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let first = signer("1");
    let server = Server::start(None).await;
    server.publishes(&[&first]);
    std::fs::write(&path, jwks(&[&signer("file")])).unwrap();
    let (pace, config) = (Pace { spacing: LONG, ..QUICK }, config(Some(server.url()), Some(&path)));
    let tls = tls::client_config(None).unwrap();
    let mut keyring = Keyring::start_at(pace, &config, pepper(), &tls, 0).unwrap();
    until(&mut keyring, |keyring| find(keyring, &first).is_ok()).await;
    for round in 0..5 {
        assert_eq!(find(&keyring, &signer("stranger")), Err(TokenFault::UnknownKey));
        // Another file is seen by a look that comes behind.
        let other = signer(&format!("file {round}"));
        std::fs::write(&path, jwks(&[&other])).unwrap();
        until(&mut keyring, |keyring| find(keyring, &other).is_ok()).await;
        assert_eq!(server.asked.load(Relaxed), 1);
    }
}

#[tokio::test]
async fn an_issuer_is_asked_over_tls_and_only_where_it_is_trusted() {
    let first = signer("1");
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls_pki_types::PrivateKeyDer::try_from(authority.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![authority.cert.der().clone()], key)
        .unwrap();
    let server = Server::start(Some(tokio_rustls::TlsAcceptor::from(Arc::new(tls)))).await;
    server.publishes(&[&first]);
    let url = Url { tls: true, host: "localhost".into(), ..server.url() };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(authority.cert.pem().as_bytes()).unwrap();
    let trusting = tls::client_config(Some(file.path())).unwrap();
    let mut keyring = Keyring::start_at(QUICK, &config(Some(url.clone()), None), pepper(), &trusting, 0).unwrap();
    keyring.first(PATIENCE).await;
    assert_eq!(find(&keyring, &first), Ok(()));
    let wary = start(&config(Some(url), None)).unwrap();
    let seen = server.asked.load(Relaxed);
    eventually(|| server.asked.load(Relaxed) > seen + 2).await;
    assert_eq!(wary.tokens().keys(), 0);
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let (first, second) = (Signer::new(TokenAlgorithm::Es256, None), signer("2"));
    std::fs::write(&path, first.pem()).unwrap();
    let mut keyring = start(&config(None, Some(&path))).unwrap();
    assert_eq!((find(&keyring, &first), keyring.tokens().generation()), (Ok(()), 1));
    std::fs::write(&path, jwks(&[&second])).unwrap();
    until(&mut keyring, |keyring| find(keyring, &second).is_ok()).await;
    assert_eq!((find(&keyring, &first), keyring.tokens().generation()), (Err(TokenFault::UnknownKey), 2));
}

#[tokio::test]
async fn all_sources_count_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let (first, second) = (signer("1"), signer("2"));
    let secret = "a secret that is long enough to be one";
    let server = Server::start(None).await;
    server.publishes(&[&first]);
    std::fs::write(&path, jwks(&[&second])).unwrap();
    let config = Jwt { hmac_secret: Some(Secret::new(secret)), ..config(Some(server.url()), Some(&path)) };
    let mut keyring = Keyring::start_at(QUICK, &config, pepper(), &tls::client_config(None).unwrap(), 7).unwrap();
    assert_eq!((keyring.tokens().keys(), keyring.tokens().generation()), (2, 8), "at once, and behind the last ones");
    until(&mut keyring, |keyring| keyring.tokens().keys() == 3).await;
    assert_eq!((find(&keyring, &first), find(&keyring, &second)), (Ok(()), Ok(())));
}

#[tokio::test]
async fn what_cannot_be_read_at_the_start_is_an_error_without_a_secret_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let fault = |config: &Jwt| start(config).unwrap_err().to_string();
    assert!(fault(&config(None, Some(&path))).contains("keys_file"));
    std::fs::write(&path, "s3cret").unwrap();
    assert!(!fault(&config(None, Some(&path))).contains("s3cret"));
    let weak = Jwt { hmac_secret: Some(Secret::new("s3cret")), ..config(None, None) };
    assert!(fault(&weak).contains("hmac_secret") && !fault(&weak).contains("s3cret"));
}
