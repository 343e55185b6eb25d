//! Heads that go out, around what was rendered once.
//!
//! A node's own fields, a provider's name, a provider's whole request head are rendered when the config is read, and
//! checked there: a value with a line end in it could end our head and begin another. Per message remains: the status line, the
//! date, a number, and a few copies.

use super::DATE_BYTES;
use super::field::{is_token_byte, is_value_byte};
use super::framing::digit;
use super::status::Status;

/// Asks a client that waits for it to send its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A field that cannot be written: its name is no token, or its value has a control character.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header `{name}` cannot be sent: {fault}")]
pub struct BadField {
    /// The name; values are never shown, they may be keys.
    pub name: String,
    pub fault: &'static str,
}

/// Field lines rendered once: a node's for all answers, a provider's for its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldLines(Vec<u8>);

impl FieldLines {
    pub fn new(fields: &[(&str, &str)]) -> Result<Self, BadField> {
        let mut lines = Vec::new();
        for (name, value) in fields {
            push_checked(&mut lines, name, value)?;
        }
        Ok(Self(lines))
    }
}

/// What follows an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerBody {
    /// No body by the status: 101, 204.
    None,
    /// So many bytes (of an answer to HEAD: what GET would get).
    Length(u64),
    /// Chunks; not for a client of HTTP/1.0.
    Chunked,
    /// Bytes until the connection closes, for those; goes with [`After::Close`].
    UntilClose,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It lives on, as HTTP/1.1 has it without a word.
    KeepAlive,
    /// It lives on, and a client of HTTP/1.0 must be told.
    KeepAliveSaid,
    Close,
    /// It speaks another protocol from here on (101), or could (426); the caller adds `Upgrade`.
    Upgrade,
}

/// An answer's head under way. It is whole only after [`AnswerHead::end`].
#[derive(Debug)]
#[must_use = "a head is whole only after `end`"]
pub struct AnswerHead<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> AnswerHead<'a> {
    /// Begins a head with the status line, the node's fields and the date.
    pub fn begin(out: &'a mut Vec<u8>, status: Status, node: &FieldLines, date: &[u8; DATE_BYTES]) -> Self {
        out.extend_from_slice(status.line().as_bytes());
        out.extend_from_slice(&node.0);
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
        Self { out }
    }

    pub fn lines(self, lines: &FieldLines) -> Self {
        self.out.extend_from_slice(&lines.0);
        self
    }

    /// `Content-Type: application/json`
    pub fn json(self) -> Self {
        self.out.extend_from_slice(b"Content-Type: application/json\r\n");
        self
    }

    /// One field. The value must come from a parsed head, from checked config, or be made here: it is not checked again.
    pub fn field(self, name: &str, value: &[u8]) -> Self {
        debug_assert!(is_field_name(name) && is_field_value(value), "a field that was not checked: {name}");
        push(self.out, name.as_bytes(), value);
        self
    }

    pub fn number(self, name: &str, value: u64) -> Self {
        debug_assert!(is_field_name(name), "a field that was not checked: {name}");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        push_number(self.out, value);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Ends the head with how the body is framed and what becomes of the connection.
    pub fn end(self, body: AnswerBody, after: After) {
        let head = match body {
            AnswerBody::Length(bytes) => self.number("Content-Length", bytes),
            AnswerBody::Chunked => {
                self.out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                self
            }
            AnswerBody::None | AnswerBody::UntilClose => self,
        };
        head.out.extend_from_slice(match after {
            After::KeepAlive => b"\r\n",
            After::KeepAliveSaid => b"Connection: keep-alive\r\n\r\n",
            After::Close => b"Connection: close\r\n\r\n",
            After::Upgrade => b"Connection: Upgrade\r\n\r\n",
        });
    }
}

/// What a provider's request head is made of.
#[derive(Clone, Copy)]
pub struct UpstreamParts<'a> {
    /// Path and query.
    pub target: &'a str,
    /// A name or an IP address, IPv6 without brackets.
    pub host: &'a str,
    pub port: u16,
    pub tls: bool,
    pub authorization: Option<&'a str>,
    /// Sent beside ours, and instead of `User-Agent` and `Accept` where they bear these names.
    pub fields: &'a [(&'a str, &'a str)],
    /// Ask for gzip: where answers are large and the link is paid for.
    pub gzip: bool,
}

/// One provider's request head up to the body's length. Its `Debug` shows nothing: it holds keys.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamTemplate {
    head: Vec<u8>,
}

impl UpstreamParts<'_> {
    /// `method target HTTP/1.1`
    pub(crate) fn push_request_line(&self, head: &mut Vec<u8>, method: &str) -> Result<(), BadField> {
        if !self.target.starts_with('/') || !self.target.bytes().all(|byte| byte.is_ascii_graphic()) {
            let fault = "it is not a path of visible ASCII characters";
            return Err(BadField { name: "the target".to_owned(), fault });
        }
        for part in [method, " ", self.target, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        Ok(())
    }

    /// What stands in `Host`.
    pub(crate) fn authority(&self) -> String {
        let default_port = if self.tls { 443 } else { 80 };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let host = [open, self.host, close].concat();
        if self.port == default_port { host } else { [host, self.port.to_string()].join(":") }
    }
}

impl UpstreamTemplate {
    pub fn new(parts: &UpstreamParts<'_>) -> Result<Self, BadField> {
        let bad = |name: &str, fault| BadField { name: name.to_owned(), fault };
        let mut head = Vec::new();
        parts.push_request_line(&mut head, "POST")?;
        push_checked(&mut head, "Host", &parts.authority())?;
        push_defaults(&mut head, parts);
        if let Some(authorization) = parts.authorization {
            push_checked(&mut head, "Authorization", authorization)?;
        }
        for (name, value) in parts.fields {
            if is_reserved_upstream_field(name) {
                return Err(bad(name, "it is written by the node itself"));
            }
            push_checked(&mut head, name, value)?;
        }
        head.extend_from_slice(b"Content-Length: ");
        Ok(Self { head })
    }

    /// Appends the head of a request with a body of `body_bytes`.
    pub fn write(&self, out: &mut Vec<u8>, body_bytes: u64) {
        out.extend_from_slice(&self.head);
        push_number(out, body_bytes);
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// Bytes that [`Self::write`] appends at most.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.head.len() + NUMBER_BYTES_MAX + 4
    }
}

impl std::fmt::Debug for UpstreamTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTemplate").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for UpstreamParts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamParts").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

fn push_defaults(head: &mut Vec<u8>, parts: &UpstreamParts<'_>) {
    let encoding = if parts.gzip { "gzip" } else { "identity" };
    for (name, value) in [
        ("User-Agent", concat!("livechain/", env!("CARGO_PKG_VERSION"))),
        ("Accept", "application/json"),
        ("Accept-Encoding", encoding),
        ("Content-Type", "application/json"),
    ] {
        if !parts.fields.iter().any(|(theirs, _)| theirs.eq_ignore_ascii_case(name)) {
            push(head, name.as_bytes(), value.as_bytes());
        }
    }
}

/// Fields that a config may not add to a provider's requests: they frame the message, or are rendered from other keys.
#[must_use]
pub fn is_reserved_upstream_field(name: &str) -> bool {
    const RESERVED: [&str; 11] = [
        "Host",
        "Content-Length",
        "Content-Type",
        "Transfer-Encoding",
        "Content-Encoding",
        "Accept-Encoding",
        "Connection",
        "Keep-Alive",
        "Expect",
        "TE",
        "Upgrade",
    ];
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// Whether this can be a field's name.
#[must_use]
pub fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_token_byte)
}

/// Whether this can be a field's value: no control character but tab.
#[must_use]
pub fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|byte| is_value_byte(*byte))
}

/// Appends a field that is checked first.
pub(crate) fn push_checked(out: &mut Vec<u8>, name: &str, value: &str) -> Result<(), BadField> {
    let fault = if !is_field_name(name) {
        "its name is no token"
    } else if !is_field_value(value.as_bytes()) {
        "its value has a control character"
    } else {
        push(out, name.as_bytes(), value.as_bytes());
        return Ok(());
    };
    Err(BadField { name: name.to_owned(), fault })
}

fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

const NUMBER_BYTES_MAX: usize = 20;

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; NUMBER_BYTES_MAX];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = digit(number);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::super::{http_date, parse_response};
    use super::*;

    fn node() -> FieldLines {
        FieldLines::new(&[("X-Livechain-Region", "eu"), ("X-Livechain-Node", "eu-a")]).unwrap()
    }

    #[test]
    fn an_answer_is_written() {
        let mut out = b"before ".to_vec();
        AnswerHead::begin(&mut out, Status::TooManyRequests, &node(), &http_date(784_111_777))
            .lines(&FieldLines::new(&[("X-Livechain-Provider", "alpha")]).unwrap())
            .json()
            .field("X-Livechain-Request-Id", b"7f")
            .number("Retry-After", 12)
            .end(AnswerBody::Length(3), After::Close);
        let expected = "before HTTP/1.1 429 Too Many Requests\r\nX-Livechain-Region: eu\r\nX-Livechain-Node: eu-a\r\n\
                        Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Livechain-Provider: alpha\r\n\
                        Content-Type: application/json\r\nX-Livechain-Request-Id: 7f\r\nRetry-After: 12\r\n\
                        Content-Length: 3\r\nConnection: close\r\n\r\n";
        assert_eq!(std::str::from_utf8(&out), Ok(expected));
    }

    #[test]
    fn ends_of_heads() {
        for (body, after, end) in [
            (AnswerBody::Length(0), After::KeepAlive, "Content-Length: 0\r\n\r\n"),
            (AnswerBody::Chunked, After::KeepAlive, "Transfer-Encoding: chunked\r\n\r\n"),
            (AnswerBody::None, After::Upgrade, "Connection: Upgrade\r\n\r\n"),
            (AnswerBody::UntilClose, After::Close, "Connection: close\r\n\r\n"),
            (
                AnswerBody::Length(u64::MAX),
                After::KeepAliveSaid,
                "Content-Length: 18446744073709551615\r\nConnection: keep-alive\r\n\r\n",
            ),
        ] {
            let mut out = Vec::new();
            AnswerHead::begin(&mut out, Status::Ok, &FieldLines::default(), &http_date(0)).end(body, after);
            let expected = ["HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n", end].concat();
            assert_eq!(std::str::from_utf8(&out), Ok(expected.as_str()));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for status in Status::ALL {
            let mut out = Vec::new();
            AnswerHead::begin(&mut out, status, &node(), &http_date(0))
                .json()
                .end(AnswerBody::Length(5), After::KeepAlive);
            let head = parse_response(&out).unwrap().unwrap();
            let lives_on = status.code() != 101;
            assert_eq!((head.status, head.head_bytes, head.keep_alive), (status.code(), out.len(), lives_on));
        }
    }

    #[test]
    fn numbers() {
        for (number, text) in
            [(0, "0"), (9, "9"), (10, "10"), (1_234_567, "1234567"), (u64::MAX, "18446744073709551615")]
        {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(out, text.as_bytes());
        }
    }

    fn parts<'a>() -> UpstreamParts<'a> {
        UpstreamParts {
            target: "/v2/k3y?x=1",
            host: "eth.example",
            port: 443,
            tls: true,
            authorization: None,
            fields: &[],
            gzip: false,
        }
    }

    fn written(parts: &UpstreamParts<'_>) -> String {
        let mut out = Vec::new();
        let template = UpstreamTemplate::new(parts).unwrap();
        template.write(&mut out, 83);
        assert!(out.len() <= template.bytes_max());
        assert!(super::super::parse(&out).unwrap().unwrap().head_bytes == out.len());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_request_is_written() {
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "POST /v2/k3y?x=1 HTTP/1.1\r\nHost: eth.example\r\nUser-Agent: livechain/{version}\r\nAccept: application/json\r\n\
             Accept-Encoding: identity\r\nContent-Type: application/json\r\nContent-Length: 83\r\n\r\n"
        );
        assert_eq!(written(&parts()), expected);

        let fields = [("X-Api-Key", "s3cret"), ("user-agent", "other")];
        let all = UpstreamParts {
            authorization: Some("Basic eDp5"),
            fields: &fields,
            gzip: true,
            port: 8545,
            host: "::1",
            ..parts()
        };
        let expected = "POST /v2/k3y?x=1 HTTP/1.1\r\nHost: [::1]:8545\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n\
                        Content-Type: application/json\r\nAuthorization: Basic eDp5\r\nX-Api-Key: s3cret\r\nuser-agent: other\r\n\
                        Content-Length: 83\r\n\r\n";
        assert_eq!(written(&all), expected);
        assert!(!format!("{all:?} {:?}", UpstreamTemplate::new(&all)).contains("k3y"));
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let name_of = |parts: UpstreamParts<'_>| UpstreamTemplate::new(&parts).unwrap_err().name;
        assert_eq!(name_of(UpstreamParts { target: "/a b", ..parts() }), "the target");
        assert_eq!(name_of(UpstreamParts { target: "a", ..parts() }), "the target");
        assert_eq!(name_of(UpstreamParts { target: "/\r\n", ..parts() }), "the target");
        assert_eq!(name_of(UpstreamParts { host: "a\r\n", ..parts() }), "Host");
        assert_eq!(name_of(UpstreamParts { authorization: Some("a\nb"), ..parts() }), "Authorization");
        assert_eq!(name_of(UpstreamParts { fields: &[("A", "b\r\nC: d")], ..parts() }), "A");
        assert_eq!(name_of(UpstreamParts { fields: &[("A B", "c")], ..parts() }), "A B");
        assert_eq!(name_of(UpstreamParts { fields: &[("content-length", "5")], ..parts() }), "content-length");
        assert!(FieldLines::new(&[("A", "b\0")]).is_err());
        assert!(FieldLines::new(&[("", "b")]).is_err());
    }
}
