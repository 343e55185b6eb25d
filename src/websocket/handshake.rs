//! A client's request to speak WebSocket, judged (RFC 6455, section 4.2): the 101's fields, or the status and reason of
//! a refusal.
//!
//! [`crate::http`] has read the head already, refused what is no HTTP, and says whether an upgrade is asked for
//! ([`RequestHead::wants_websocket`]). Here stand the rest of the RFC's conditions and the operator's: origins,
//! subprotocols, compression.
//!
//! The key is looked at for its shape only: a nonce's base64 with loose bits in its last digit is still nobody's but
//! the client's. Of `Sec-WebSocket-Protocol` and `-Extensions` in several lines the first one counts, which offers less
//! and lies never.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::deflate::{Agreed, DeflateTerms};
use crate::http::{After, AnswerHead, Framing, Known, RequestHead, Status};

/// Bytes of a handshake's nonce, before base64.
pub const NONCE_BYTES: usize = 16;
/// In base64.
const KEY_BYTES: usize = 24;
/// SHA-1's 20 bytes in base64.
const ACCEPT_BYTES: usize = 28;
/// RFC 6455's only version.
const VERSION: &[u8] = b"13";
/// What is hashed behind the key (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Which pages may connect. A client that sends no `Origin` is no browser, and nothing to protect from its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    Any,
    /// As browsers write them: `https://app.example`.
    Listed(Vec<String>),
}

impl Origins {
    fn allow(&self, origin: Option<&[u8]>) -> bool {
        match (self, origin) {
            (Self::Any, _) | (_, None) => true,
            (Self::Listed(all), Some(origin)) => all.iter().any(|allowed| allowed.as_bytes() == origin),
        }
    }
}

/// What an operator allows.
#[derive(Clone, Debug)]
pub struct Terms {
    pub origins: Origins,
    /// Subprotocols that may be agreed on. One that a client asks for and nobody knows is passed over.
    pub protocols: Vec<String>,
    /// Compression, where it is on.
    pub deflate: Option<DeflateTerms>,
}

/// Why a request does not become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this is a WebSocket endpoint: ask for an upgrade with GET")]
    NotAnUpgrade,
    #[error("an upgrade has no body")]
    Body,
    #[error("Sec-WebSocket-Key is missing")]
    KeyMissing,
    #[error("Sec-WebSocket-Key is not 16 bytes in base64")]
    KeyMalformed,
    #[error("Sec-WebSocket-Version is missing")]
    VersionMissing,
    #[error("Sec-WebSocket-Version is not 13")]
    Version,
    #[error("Sec-WebSocket-Extensions is malformed")]
    Extensions,
    #[error("pages of this origin may not connect")]
    Origin,
}

impl Refusal {
    /// What the client is answered.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::NotAnUpgrade | Self::Version => Status::UpgradeRequired,
            Self::Origin => Status::Forbidden,
            _ => Status::BadRequest,
        }
    }

    /// Adds the fields that belong to the status, and says what its head ends with.
    pub fn write(self, head: AnswerHead<'_>) -> (AnswerHead<'_>, After) {
        match self.status() {
            Status::UpgradeRequired => {
                let head = head.field("Upgrade", b"websocket").field("Sec-WebSocket-Version", VERSION);
                (head, After::Upgrade)
            }
            _ => (head, After::Close),
        }
    }
}

/// A handshake that succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'t> {
    accept: [u8; ACCEPT_BYTES],
    pub protocol: Option<&'t str>,
    pub deflate: Option<Agreed>,
}

impl Terms {
    /// Judges a request. Whether its path is one that speaks WebSocket has been seen to.
    pub fn accept(&self, head: &RequestHead, buf: &[u8]) -> Result<Accepted<'_>, Refusal> {
        if !head.wants_websocket(buf) {
            return Err(Refusal::NotAnUpgrade);
        }
        if !matches!(head.framing, Framing::None | Framing::Length(0)) {
            return Err(Refusal::Body);
        }
        let key = head.header(buf, Known::SecWebSocketKey).ok_or(Refusal::KeyMissing)?;
        let key = key.first_chunk().filter(|_| is_key(key)).ok_or(Refusal::KeyMalformed)?;
        match head.header(buf, Known::SecWebSocketVersion) {
            Some(VERSION) => {}
            Some(_) => return Err(Refusal::Version),
            None => return Err(Refusal::VersionMissing),
        }
        if !self.origins.allow(head.header(buf, Known::Origin)) {
            return Err(Refusal::Origin);
        }
        let deflate = match (head.header(buf, Known::SecWebSocketExtensions), &self.deflate) {
            (Some(offers), Some(terms)) => terms.choose(offers).map_err(|_| Refusal::Extensions)?,
            _ => None,
        };
        let offered = head.header(buf, Known::SecWebSocketProtocol).unwrap_or_default();
        Ok(Accepted { accept: accept_of(key), protocol: self.protocol(offered), deflate })
    }

    /// The first of the client's that we know.
    fn protocol(&self, offered: &[u8]) -> Option<&str> {
        let mut offered = offered.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        offered.find_map(|name| self.protocols.iter().map(String::as_str).find(|known| known.as_bytes() == name))
    }
}

impl Accepted<'_> {
    /// Adds the fields of a 101 to its head, which the caller then ends with [`After::Upgrade`].
    pub fn write<'a>(&self, head: AnswerHead<'a>) -> AnswerHead<'a> {
        let mut head = head.field("Upgrade", b"websocket").field("Sec-WebSocket-Accept", &self.accept);
        if let Some(protocol) = self.protocol {
            head = head.field("Sec-WebSocket-Protocol", protocol.as_bytes());
        }
        if let Some(agreed) = self.deflate {
            head = head.field("Sec-WebSocket-Extensions", agreed.answer().as_bytes());
        }
        head
    }
}

/// 22 digits of base64 and two of padding are 16 bytes.
fn is_key(key: &[u8]) -> bool {
    let [digits @ .., b'=', b'='] = key else { return false };
    key.len() == KEY_BYTES && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// What answers a key: SHA-1 proves that WebSocket was meant, and nothing else.
#[must_use]
pub fn accept_of(key: &[u8; KEY_BYTES]) -> [u8; ACCEPT_BYTES] {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(GUID);
    let mut accept = [0; ACCEPT_BYTES];
    let written = STANDARD.encode_slice(hash.finish(), &mut accept);
    debug_assert_eq!(written, Ok(ACCEPT_BYTES), "20 bytes are 28 digits");
    accept
}

/// A nonce as it is sent.
pub(super) fn key_of(nonce: &[u8; NONCE_BYTES]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let written = STANDARD.encode_slice(nonce, &mut key);
    debug_assert_eq!(written, Ok(KEY_BYTES), "16 bytes are 24 digits");
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{AnswerBody, FieldLines, http_date, parse};

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn terms() -> Terms {
        Terms { origins: Origins::Any, protocols: vec!["jsonrpc".into(), "rpc2".into()], deflate: None }
    }

    fn request(fields: &str) -> String {
        format!("GET /ws HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    }

    fn usual(more: &str) -> String {
        request(&format!(
            "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{more}"
        ))
    }

    fn judged<'t>(terms: &'t Terms, request: &str) -> Result<Accepted<'t>, Refusal> {
        let head = parse(request.as_bytes()).unwrap_or_else(|error| panic!("{error}: {request}")).expect("complete");
        terms.accept(&head, request.as_bytes())
    }

    #[test]
    fn the_rfcs_key_has_the_rfcs_answer() {
        let terms = terms();
        let accepted = judged(&terms, &usual("")).unwrap();
        assert_eq!(&accepted.accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let (mut out, date) = (Vec::new(), http_date(0));
        let head = AnswerHead::begin(&mut out, Status::SwitchingProtocols, &FieldLines::default(), &date);
        accepted.write(head).end(AnswerBody::None, After::Upgrade);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 101 Switching Protocols\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nConnection: Upgrade\r\n\r\n"
        );
    }

    #[test]
    fn refusals() {
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
        let cases = [
            (request(""), Refusal::NotAnUpgrade, 426),
            (request("Upgrade: websocket\r\n"), Refusal::NotAnUpgrade, 426),
            (request("Upgrade: h2c\r\nConnection: Upgrade\r\n"), Refusal::NotAnUpgrade, 426),
            (usual("").replace("GET", "POST"), Refusal::NotAnUpgrade, 426),
            (usual("").replace("1.1\r", "1.0\r"), Refusal::NotAnUpgrade, 426),
            (usual("Content-Length: 2\r\n"), Refusal::Body, 400),
            (request(upgrade), Refusal::KeyMissing, 400),
            (usual("").replace(KEY, "c2hvcnQ="), Refusal::KeyMalformed, 400),
            (usual("").replace(KEY, "dGhlIHNhbXBsZSBub25jZQAA"), Refusal::KeyMalformed, 400),
            (usual("").replace(KEY, "dGhlIHNhbXBsZSBub25jZ?=="), Refusal::KeyMalformed, 400),
            (request(&format!("{upgrade}Sec-WebSocket-Key: {KEY}\r\n")), Refusal::VersionMissing, 400),
            (usual("").replace(": 13", ": 8"), Refusal::Version, 426),
        ];
        for (text, refusal, status) in cases {
            assert_eq!(judged(&terms(), &text).unwrap_err(), refusal, "{text}");
            assert_eq!(refusal.status().code(), status);
        }
    }

    #[test]
    fn a_client_is_told_which_version_would_do() {
        let (mut out, date) = (Vec::new(), http_date(0));
        let head = AnswerHead::begin(&mut out, Refusal::Version.status(), &FieldLines::default(), &date);
        let (head, after) = Refusal::Version.write(head);
        head.end(AnswerBody::Length(0), after);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"), "{text}");
        assert!(text.contains("\r\nConnection: Upgrade\r\n"), "{text}");
    }

    #[test]
    fn origins() {
        let listed = Terms { origins: Origins::Listed(vec!["https://app.example".into()]), ..terms() };
        assert!(judged(&listed, &usual("")).is_ok());
        assert!(judged(&listed, &usual("Origin: https://app.example\r\n")).is_ok());
        for origin in ["https://app.example.evil", "http://app.example", "null"] {
            let refusal = judged(&listed, &usual(&format!("Origin: {origin}\r\n"))).unwrap_err();
            assert_eq!((refusal, refusal.status().code()), (Refusal::Origin, 403), "{origin}");
        }
        assert!(judged(&terms(), &usual("Origin: null\r\n")).is_ok());
    }

    #[test]
    fn the_clients_first_protocol_that_we_know_is_agreed_on() {
        for (offered, agreed) in [
            ("jsonrpc", Some("jsonrpc")),
            ("x, rpc2 ,jsonrpc", Some("rpc2")),
            ("x", None),
            ("JSONRPC", None),
            ("", None),
        ] {
            let terms = terms();
            let accepted = judged(&terms, &usual(&format!("Sec-WebSocket-Protocol: {offered}\r\n"))).unwrap();
            assert_eq!(accepted.protocol, agreed, "{offered}");
        }
    }

    #[test]
    fn compression_is_agreed_on_where_it_is_on() {
        let on = Terms { deflate: Some(DeflateTerms::new(12, false)), ..terms() };
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        assert_eq!(judged(&terms(), &usual(offer)).unwrap().deflate, None);
        assert!(judged(&on, &usual(offer)).unwrap().deflate.is_some());
        assert_eq!(judged(&on, &usual("")).unwrap().deflate, None);
        let malformed = "Sec-WebSocket-Extensions: permessage-deflate; =\r\n";
        assert_eq!(judged(&on, &usual(malformed)).unwrap_err(), Refusal::Extensions);
    }
}
