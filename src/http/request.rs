//! Request heads: what a client sent, as offsets into its buffer, or why it is refused.
//!
//! httparse finds the parts, fast. It also forgives what RFC 9112 lets a lenient server forgive (bare line feeds, any
//! number of empty lines), so its word is not taken: the parts that it found must tile the head without a gap, line
//! by line, name, colon, white space, value, white space, CR LF. That costs a few comparisons a field and no second
//! scan, and leaves no byte of an accepted head unexplained.
//!
//! Left to the caller: whether the method fits the target, and how long an incomplete head may stay so.

use std::mem::MaybeUninit;

use super::error::HeadError;
use super::fault;
use super::field::{Known, Repeat, members};
use super::framing::{BodyFields, Framing};
use super::span::Span;
use super::uri;
use crate::limits::{EMPTY_LINES_MAX, HEAD_BYTES_MAX, HEADERS_MAX};

/// The methods that mean something to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Options,
    /// Well-formed, and answered with 405.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http10,
    Http11,
}

/// A complete request head. Its spans point into the buffer that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    pub method: Method,
    pub version: Version,
    pub framing: Framing,
    /// Whether the client lets the connection live on after the answer.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// `Connection` has the member `upgrade`.
    pub connection_upgrade: bool,
    /// Bytes from the buffer's beginning to the body.
    pub head_bytes: usize,
    /// Without the query; `*` alone for a server-wide OPTIONS.
    pub path: Span,
    /// What follows the question mark.
    pub query: Option<Span>,
    known: [Option<Span>; Known::COUNT],
}

impl RequestHead {
    /// The field's value, trimmed. Host is the target's authority where the target has one.
    #[must_use]
    pub fn header<'a>(&self, buf: &'a [u8], field: Known) -> Option<&'a [u8]> {
        self.known[field as usize].map(|span| span.of(buf))
    }

    /// Whether the client asks to speak WebSocket from here on; the key and the version are not looked at.
    #[must_use]
    pub fn wants_websocket(&self, buf: &[u8]) -> bool {
        self.method == Method::Get
            && self.version == Version::Http11
            && self.connection_upgrade
            && self
                .header(buf, Known::Upgrade)
                .is_some_and(|value| members(value).any(|member| member.eq_ignore_ascii_case(b"websocket")))
    }
}

/// Reads the head at the beginning of `buf`. `None`: not all of it is there yet; call again with more, from the same
/// beginning. A head that has no end within [`HEAD_BYTES_MAX`] is refused.
pub fn parse(buf: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    let bounded = &buf[..buf.len().min(HEAD_BYTES_MAX)];
    match parse_bounded(bounded)? {
        None if bounded.len() == HEAD_BYTES_MAX => Err(HeadError::TooLarge),
        head => Ok(head),
    }
}

fn parse_bounded(buf: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    let Some(start) = skip_empty_lines(buf)? else {
        return Ok(None);
    };
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut found = httparse::Request::new(&mut []);
    let head_bytes = match found.parse_with_uninit_headers(&buf[start..], &mut fields) {
        Ok(httparse::Status::Complete(bytes)) => start + bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(refused) => return Err(fault::explain(&buf[start..], refused)),
    };
    let (Some(method), Some(target), Some(minor)) = (found.method, found.path, found.version) else {
        return Err(HeadError::RequestLine);
    };
    let target_at = start + method.len() + 1;
    let mut tiles = Tiles { buf, at: target_at + target.len() + " HTTP/1.x".len() };
    let bare_lf = || fault::first(&buf[start..], HeadError::BareLf);
    tiles.line_end().ok_or_else(bare_lf)?;

    let mut parts = Parts::default();
    for field in found.headers.iter() {
        let value = tiles.field(field).ok_or_else(bare_lf)?;
        if let Some(known) = Known::from_name(field.name.as_bytes()) {
            parts.take(known, value, field.value)?;
        }
    }
    tiles.line_end().filter(|end| *end == head_bytes).ok_or_else(bare_lf)?;
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    parts.assemble((method_of(method), version), (target.as_bytes(), target_at), buf, head_bytes).map(Some)
}

/// Where the request line begins; `None` when that is not there yet.
fn skip_empty_lines(buf: &[u8]) -> Result<Option<usize>, HeadError> {
    let mut rest = buf;
    for _ in 0..=EMPTY_LINES_MAX {
        rest = match rest {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', rest @ ..] => rest,
            [b'\r', ..] => return Err(HeadError::BareCr),
            [b'\n', ..] => return Err(HeadError::BareLf),
            _ => return Ok(Some(buf.len() - rest.len())),
        };
    }
    Err(HeadError::EmptyLines)
}

/// Walks a head along the parts that httparse found, and stops where they do not join.
struct Tiles<'a> {
    buf: &'a [u8],
    at: usize,
}

impl Tiles<'_> {
    /// Past a field's line; the answer is where its value stands.
    fn field(&mut self, field: &httparse::Header<'_>) -> Option<Span> {
        self.at += field.name.len();
        if self.buf.get(self.at) != Some(&b':') {
            return None;
        }
        self.at += 1;
        self.white_space();
        let value = Span::new(self.at, field.value.len())?;
        self.at += field.value.len();
        self.white_space();
        self.line_end()?;
        Some(value)
    }

    fn white_space(&mut self) {
        while let Some(b' ' | b'\t') = self.buf.get(self.at) {
            self.at += 1;
        }
    }

    /// Past CR LF; the answer is the offset behind it.
    fn line_end(&mut self) -> Option<usize> {
        (self.buf.get(self.at..self.at + 2)? == b"\r\n").then(|| {
            self.at += 2;
            self.at
        })
    }
}

/// What the fields have said so far.
#[derive(Default)]
struct Parts {
    known: [Option<Span>; Known::COUNT],
    body: BodyFields,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    expect_continue: bool,
    /// An expectation that is none of HTTP/1.1's.
    expect_other: bool,
}

impl Parts {
    fn take(&mut self, known: Known, span: Span, value: &[u8]) -> Result<(), HeadError> {
        match known {
            Known::ContentLength => self.body.length(value)?,
            Known::TransferEncoding => self.body.coding(value)?,
            Known::Connection => self.connection(value),
            Known::Expect if value.eq_ignore_ascii_case(b"100-continue") => {
                self.expect_continue = true;
            }
            Known::Expect => self.expect_other = true,
            _ => {}
        }
        let slot = &mut self.known[known as usize];
        match (*slot, known.repeat()) {
            (Some(_), Repeat::Refused) if known == Known::Host => Err(HeadError::HostRepeated),
            (Some(_), Repeat::Refused) => Err(HeadError::Repeated),
            (Some(_), Repeat::First) => Ok(()),
            (None, _) | (Some(_), Repeat::Last) => {
                *slot = Some(span);
                Ok(())
            }
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for member in members(value) {
            self.close |= member.eq_ignore_ascii_case(b"close");
            self.keep_alive |= member.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= member.eq_ignore_ascii_case(b"upgrade");
        }
    }

    fn assemble(
        mut self,
        (method, version): (Method, Version),
        (target, target_at): (&[u8], usize),
        buf: &[u8],
        head_bytes: usize,
    ) -> Result<RequestHead, HeadError> {
        let is_old = version == Version::Http10;
        let framing = self.body.framing(is_old)?;
        self.host(buf, version)?;
        let (path, query) = self.target(method, target, target_at)?;
        // An HTTP/1.0 client cannot expect: the field is a proxy's that passed it on (RFC 9110, section 10.1.1).
        if self.expect_other && !is_old {
            return Err(HeadError::Expectation);
        }
        let has_body = !matches!(framing, Framing::None | Framing::Length(0));
        Ok(RequestHead {
            method,
            version,
            framing,
            keep_alive: !self.close && (!is_old || self.keep_alive),
            expect_continue: self.expect_continue && !is_old && has_body,
            connection_upgrade: self.upgrade,
            head_bytes,
            path,
            query,
            known: self.known,
        })
    }

    fn host(&self, buf: &[u8], version: Version) -> Result<(), HeadError> {
        match self.known[Known::Host as usize] {
            Some(host) if uri::is_host(host.of(buf)) => Ok(()),
            Some(_) => Err(HeadError::HostMalformed),
            None if version == Version::Http10 => Ok(()),
            None => Err(HeadError::HostMissing),
        }
    }

    /// Path and query; an absolute target's authority takes Host's place (RFC 9112, section 3.2.2).
    fn target(&mut self, method: Method, target: &[u8], target_at: usize) -> Result<(Span, Option<Span>), HeadError> {
        let parts = uri::split(target).ok_or(HeadError::Target)?;
        if target == b"*" && method != Method::Options {
            return Err(HeadError::Target);
        }
        let span = |(from, to): (usize, usize)| Span::new(target_at + from, to - from).ok_or(HeadError::Target);
        if let Some(authority) = parts.authority {
            self.known[Known::Host as usize] = Some(span(authority)?);
        }
        Ok((span(parts.path)?, parts.query.map(span).transpose()?))
    }
}

fn method_of(name: &str) -> Method {
    match name {
        "POST" => Method::Post,
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" => Method::Options,
        _ => Method::Other,
    }
}

#[cfg(test)]
mod tests;
