//! WebSocket streams against tungstenite: what both accept they read alike, and what we refuse nobody sees as a
//! message.
//!
//! The input's first byte picks the side and in what parts the stream comes, which must change nothing. We are stricter
//! (a length in more bytes than it needs, floods), so that where we find a fault tungstenite may go on; up to there the
//! messages are the same. What follows a stream's bytes is also taken for a packed message, a field and a head.

#![no_main]

use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use livechain::http;
use livechain::time::Instant;
use livechain::websocket::deflate::{DeflateTerms, Direction, Inflater};
use livechain::websocket::{
    Event, Fault, Kind, NONCE_BYTES, Origins, Reader, ReaderConfig, Role, Terms, read_answer,
};
use tungstenite::protocol::{Role as TheirRole, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

const LIMIT: usize = 1024;

fuzz_target!(|data: &[u8]| {
    let [choice, stream @ ..] = data else { return };
    let role = if choice & 1 == 0 { Role::Client } else { Role::Server };
    let whole = ours(role, stream, usize::MAX);
    assert_eq!(ours(role, stream, usize::from(choice >> 1) + 1), whole, "in parts");
    let theirs = theirs(role, stream);
    let (said, fault) = whole;
    if fault.is_none() {
        assert_eq!(said, theirs);
    } else {
        assert!(theirs.starts_with(&said), "{said:?} and {fault:?}, but {theirs:?}");
    }
    packed(stream);
    handshakes(stream);
});

#[derive(Debug, PartialEq)]
enum Said {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

fn ours(role: Role, stream: &[u8], part_bytes: usize) -> (Vec<Said>, Option<Fault>) {
    let mut reader = Reader::new(ReaderConfig { role, message_bytes_max: LIMIT, compression: false });
    let (mut buf, mut said) = (Vec::new(), Vec::new());
    for part in stream.chunks(part_bytes) {
        buf.extend_from_slice(part);
        loop {
            let step = match reader.read(Instant::START, &mut buf) {
                Ok(step) => step,
                Err(fault) => return (said, Some(fault)),
            };
            let Some(event) = step.event else {
                let consumed = step.consumed;
                buf.drain(..consumed);
                break;
            };
            said.push(match event {
                Event::Message { kind: Kind::Text, bytes, .. } => Said::Text(bytes.to_vec()),
                Event::Message { kind: Kind::Binary, bytes, .. } => Said::Binary(bytes.to_vec()),
                Event::Ping(bytes) => Said::Ping(bytes.to_vec()),
                Event::Pong(bytes) => Said::Pong(bytes.to_vec()),
                Event::Close(close) => Said::Close(close.code.map(|code| closing(code.number(), close.reason))),
            });
            let consumed = step.consumed;
            buf.drain(..consumed);
        }
        assert!(reader.wants() <= LIMIT + 14);
    }
    (said, None)
}

/// As tungstenite tells it: it does not know of 1014, which IANA's registry has.
fn closing(code: u16, reason: &str) -> (u16, String) {
    match code {
        1014 => (1002, "Protocol violation".to_owned()),
        _ => (code, reason.to_owned()),
    }
}

/// Reads the stream, and swallows what is written.
struct Wire<'s>(&'s [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(role: Role, stream: &[u8]) -> Vec<Said> {
    let role = match role {
        Role::Server => TheirRole::Server,
        Role::Client => TheirRole::Client,
    };
    let config = WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let mut socket = WebSocket::from_raw_socket(Wire(stream), role, Some(config));
    let mut said = Vec::new();
    loop {
        said.push(match socket.read() {
            Ok(Message::Text(text)) => Said::Text(text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => Said::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Said::Ping(bytes.to_vec()),
            Ok(Message::Pong(bytes)) => Said::Pong(bytes.to_vec()),
            Ok(Message::Close(close)) => {
                Said::Close(close.map(|close| (close.code.into(), close.reason.as_str().to_owned())))
            }
            Ok(Message::Frame(_)) => unreachable!("never read"),
            Err(Error::WriteBufferFull(_)) => continue,
            Err(_) => return said,
        });
    }
}

/// Whatever is inflated stays within its bound, and what is deflated comes back.
fn packed(stream: &[u8]) {
    let direction = Direction { window_bits: 15, takeover: true };
    let mut inflater = Inflater::new(direction);
    let mut out = Vec::new();
    for _ in 0..2 {
        match inflater.message(Kind::Binary, stream, &mut out, LIMIT) {
            Ok(Event::Message { bytes, .. }) => assert!(bytes.len() <= LIMIT),
            Ok(event) => panic!("{event:?}"),
            Err(fault) => assert!(matches!(fault, Fault::MessageTooLarge | Fault::BrokenDeflate)),
        }
    }
}

fn handshakes(stream: &[u8]) {
    let deflate = DeflateTerms::new(12, true);
    if let Ok(Some(agreed)) = deflate.choose(stream) {
        // Our own answer is one that a client of ours takes, when it asked for what we allow.
        let client = DeflateTerms::new(15, true);
        assert!(client.check(agreed.answer().as_bytes()).is_ok());
    }
    let _ = deflate.check(stream);
    let nonce = [7; NONCE_BYTES];
    let _ = read_answer(stream, &nonce, Some(deflate));
    let terms = Terms { origins: Origins::Any, protocols: vec!["a".into()], deflate: Some(deflate) };
    if let Ok(Some(head)) = http::parse(stream) {
        let _ = terms.accept(&head, stream);
    }
}
