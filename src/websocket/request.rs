//! Our request to a provider, and what it answers (RFC 6455, section 4.1).
//!
//! The request is rendered once, as [`crate::http::UpstreamTemplate`] is, and for the same reason; per connection a
//! nonce is added. Of the answer nothing is taken on trust: a 101 that does not prove that it has understood is no
//! WebSocket. Any other status is handed back, since a 401 or a 429 means of a provider what it means over HTTP.

use super::deflate::{Agreed, DeflateTerms};
use super::handshake::{NONCE_BYTES, accept_of, key_of};
use crate::http::{
    BadField, HeadError, ResponseHead, UpstreamParts, is_reserved_upstream_field, parse_response, push_checked,
};
use crate::limits::{HEADERS_MAX, INTERIM_HEADS_MAX};

/// One provider's request up to the nonce. Its `Debug` shows nothing: it holds keys.
#[derive(Clone)]
pub struct UpgradeTemplate {
    head: Vec<u8>,
    deflate: Option<DeflateTerms>,
}

impl UpgradeTemplate {
    /// `deflate`: offer compression. Of the parts, what is about bodies is left out.
    pub fn new(parts: &UpstreamParts<'_>, deflate: Option<DeflateTerms>) -> Result<Self, BadField> {
        let mut head = Vec::new();
        parts.push_request_line(&mut head, "GET")?;
        push_checked(&mut head, "Host", &parts.authority())?;
        if !parts.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("User-Agent")) {
            push_checked(&mut head, "User-Agent", concat!("livechain/", env!("CARGO_PKG_VERSION")))?;
        }
        if let Some(authorization) = parts.authorization {
            push_checked(&mut head, "Authorization", authorization)?;
        }
        for (name, value) in parts.fields {
            if is_reserved_upstream_field(name) || is_handshake_field(name) {
                return Err(BadField { name: (*name).to_owned(), fault: "it is written by the node itself" });
            }
            push_checked(&mut head, name, value)?;
        }
        if let Some(terms) = deflate {
            push_checked(&mut head, "Sec-WebSocket-Extensions", &terms.offer())?;
        }
        head.extend_from_slice(
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
        );
        Ok(Self { head, deflate })
    }

    /// Appends a request. The nonce is random, and another one for each connection.
    pub fn write(&self, out: &mut Vec<u8>, nonce: &[u8; NONCE_BYTES]) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&key_of(nonce));
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// Reads the answer to a request of ours: see [`read_answer`].
    pub fn read_answer(&self, buf: &[u8], nonce: &[u8; NONCE_BYTES]) -> Result<Option<Established>, AnswerError> {
        read_answer(buf, nonce, self.deflate)
    }
}

impl std::fmt::Debug for UpgradeTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpgradeTemplate").field("deflate", &self.deflate).finish_non_exhaustive()
    }
}

fn is_handshake_field(name: &str) -> bool {
    const PREFIX: &str = "Sec-WebSocket-";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// A provider that speaks WebSocket from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Established {
    /// Bytes from the buffer's beginning to its first frame.
    pub head_bytes: usize,
    pub deflate: Option<Agreed>,
}

/// Why there is no WebSocket. A transport failure of the provider, but for what a status may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("its answer is no HTTP: {0}")]
    Head(#[from] HeadError),
    /// The head's spans are relative to `at`, where it begins in the buffer.
    #[error("it answered with status {}", head.status)]
    Status { head: ResponseHead, at: usize },
    #[error("too many interim answers")]
    Interim,
    #[error("its 101 is no WebSocket: {0}")]
    NotAgreed(&'static str),
}

/// Reads the answer at the beginning of `buf`. `None`: not all of it is there yet; call again with more, from the same
/// beginning. `deflate`: what was offered.
pub fn read_answer(
    buf: &[u8],
    nonce: &[u8; NONCE_BYTES],
    deflate: Option<DeflateTerms>,
) -> Result<Option<Established>, AnswerError> {
    let mut at = 0;
    for _ in 0..=INTERIM_HEADS_MAX {
        let Some(head) = parse_response(&buf[at..])? else { return Ok(None) };
        let end = at + head.head_bytes;
        match head.status {
            101 => {
                let deflate = check(&buf[at..end], nonce, deflate).map_err(AnswerError::NotAgreed)?;
                return Ok(Some(Established { head_bytes: end, deflate }));
            }
            _ if head.is_interim() => at = end,
            _ => return Err(AnswerError::Status { head, at }),
        }
    }
    Err(AnswerError::Interim)
}

/// What a whole 101 agrees to.
fn check(
    head: &[u8],
    nonce: &[u8; NONCE_BYTES],
    deflate: Option<DeflateTerms>,
) -> Result<Option<Agreed>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut found = httparse::Response::new(&mut fields);
    match found.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        _ => return Err("its head is malformed"),
    }
    let all = |name: &'static str| {
        let fields = found.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        fields.map(|field| field.value.trim_ascii())
    };
    let has = |name, member: &[u8]| {
        let mut members = all(name).flat_map(|value| value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
        members.any(|found| found.eq_ignore_ascii_case(member))
    };
    if !has("Upgrade", b"websocket") || !has("Connection", b"upgrade") {
        return Err("it upgrades to something else");
    }
    if !all("Sec-WebSocket-Accept").eq([accept_of(&key_of(nonce))]) {
        return Err("Sec-WebSocket-Accept does not answer the key");
    }
    if all("Sec-WebSocket-Protocol").next().is_some() {
        return Err("a subprotocol that was not asked for");
    }
    let mut agreed = None;
    for value in all("Sec-WebSocket-Extensions").filter(|value| !value.is_empty()) {
        let terms = deflate.ok_or("an extension that was not asked for")?;
        if agreed.replace(terms.check(value)?).is_some() {
            return Err("compression twice");
        }
    }
    Ok(agreed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{After, AnswerBody, AnswerHead, FieldLines, Status, http_date, parse};
    use crate::websocket::{Origins, Terms};

    const NONCE: &[u8; NONCE_BYTES] = b"the sample nonce";
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    const UPGRADE: &str = "Upgrade: WebSocket\r\nConnection: upgrade\r\n";

    fn parts<'a>() -> UpstreamParts<'a> {
        UpstreamParts {
            target: "/v2/k3y",
            host: "eth.example",
            port: 443,
            tls: true,
            authorization: Some("Basic eDp5"),
            fields: &[("X-Api-Key", "s3cret")],
            gzip: false,
        }
    }

    #[test]
    fn a_request_is_written() {
        let template = UpgradeTemplate::new(&parts(), None).unwrap();
        let mut out = Vec::new();
        template.write(&mut out, NONCE);
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "GET /v2/k3y HTTP/1.1\r\nHost: eth.example\r\nUser-Agent: livechain/{version}\r\nAuthorization: Basic eDp5\r\n\
             X-Api-Key: s3cret\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert!(!format!("{template:?}").contains("k3y"));
        for name in ["Sec-WebSocket-Key", "sec-websocket-protocol", "Upgrade", "Connection"] {
            let fields = [(name, "x")];
            assert_eq!(
                UpgradeTemplate::new(&UpstreamParts { fields: &fields, ..parts() }, None).unwrap_err().name,
                name
            );
        }
        assert!(UpgradeTemplate::new(&UpstreamParts { target: "/a\r\n", ..parts() }, None).is_err());
    }

    #[test]
    fn both_sides_understand_each_other() {
        for terms in [None, Some(DeflateTerms::new(15, true)), Some(DeflateTerms::new(10, false))] {
            let template = UpgradeTemplate::new(&parts(), terms).unwrap();
            let (mut request, mut answer) = (Vec::new(), Vec::new());
            template.write(&mut request, NONCE);
            let server = Terms { origins: Origins::Listed(vec![]), protocols: vec![], deflate: terms };
            let accepted = server.accept(&parse(&request).unwrap().unwrap(), &request).unwrap();
            let date = http_date(0);
            let head = AnswerHead::begin(&mut answer, Status::SwitchingProtocols, &FieldLines::default(), &date);
            accepted.write(head).end(AnswerBody::None, After::Upgrade);
            let head_bytes = answer.len();
            answer.extend_from_slice(b"\x81\x00");
            let established = template.read_answer(&answer, NONCE).unwrap().unwrap();
            assert_eq!(established.head_bytes, head_bytes);
            assert_eq!(established.deflate.map(Agreed::turned), accepted.deflate);
            assert_eq!(established.deflate.is_some(), terms.is_some());
            for end in 0..head_bytes {
                assert_eq!(template.read_answer(&answer[..end], NONCE), Ok(None));
            }
        }
    }

    #[test]
    fn answers_are_checked() {
        let answer = |fields: &str| {
            let text = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
            read_answer(text.as_bytes(), NONCE, None).map(|answer| answer.is_some())
        };
        assert_eq!(answer(&format!("{UPGRADE}{ACCEPT}")), Ok(true));
        assert_eq!(answer(&format!("{UPGRADE}{ACCEPT}Sec-WebSocket-Extensions: \r\n")), Ok(true));
        for (fields, why) in [
            (ACCEPT.to_owned(), "it upgrades to something else"),
            (format!("Upgrade: h2c\r\nConnection: upgrade\r\n{ACCEPT}"), "it upgrades to something else"),
            (UPGRADE.to_owned(), "Sec-WebSocket-Accept does not answer the key"),
            (format!("{UPGRADE}{ACCEPT}{ACCEPT}"), "Sec-WebSocket-Accept does not answer the key"),
            (format!("{UPGRADE}Sec-WebSocket-Accept: AAAA\r\n"), "Sec-WebSocket-Accept does not answer the key"),
            (format!("{UPGRADE}{ACCEPT}Sec-WebSocket-Protocol: x\r\n"), "a subprotocol that was not asked for"),
            (
                format!("{UPGRADE}{ACCEPT}Sec-WebSocket-Extensions: permessage-deflate\r\n"),
                "an extension that was not asked for",
            ),
        ] {
            assert_eq!(answer(&fields), Err(AnswerError::NotAgreed(why)), "{fields}");
        }
    }

    #[test]
    fn interim_answers_are_skipped_and_other_statuses_handed_back() {
        let good = format!("HTTP/1.1 101 X\r\n{UPGRADE}{ACCEPT}\r\n");
        let early = format!("HTTP/1.1 103 Early Hints\r\n\r\n{good}");
        assert_eq!(read_answer(early.as_bytes(), NONCE, None).unwrap().unwrap().head_bytes, early.len());
        let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(INTERIM_HEADS_MAX + 1);
        assert_eq!(read_answer(endless.as_bytes(), NONCE, None), Err(AnswerError::Interim));
        let refused = "HTTP/1.1 102 X\r\n\r\nHTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
        let Err(AnswerError::Status { head, at }) = read_answer(refused.as_bytes(), NONCE, None) else { panic!() };
        assert_eq!((head.status, head.retry_after.unwrap().of(&refused.as_bytes()[at..])), (429, &b"7"[..]));
        assert_eq!(read_answer(b"SSH-2.0", NONCE, None), Err(AnswerError::Head(HeadError::Version)));
    }
}
