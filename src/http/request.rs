//! Request heads: what a client sent, as offsets into its buffer, or why it is refused.
//!
//! Read in one strict pass, line by line: no byte of an accepted head is unexplained. Parsers made for every use forgive what
//! RFC 9112 lets a lenient server forgive (bare line feeds, any number of empty lines); here a balancer stands
//! before us, and two readings of one head are how requests are smuggled. httparse and hyper are what the tests and the
//! fuzzer hold this against: what we accept they accept, and both see the same request in it.
//!
//! Left to the caller: whether the method fits the target, and how long an incomplete head may stay so.

use super::error::HeadError;
use super::field::{Known, Repeat, members};
use super::framing::{BodyFields, Framing};
use super::lines::{Field, Lines, Stop, TOKEN_BYTES};
use super::span::Span;
use super::uri::{self, TARGET_BYTES};
use crate::limits::{EMPTY_LINES_MAX, HEAD_BYTES_MAX};

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
    match parse_bounded(bounded) {
        Ok(head) => Ok(Some(head)),
        Err(Stop::Refused(fault)) => Err(fault),
        Err(Stop::Incomplete) if bounded.len() == HEAD_BYTES_MAX => Err(HeadError::TooLarge),
        Err(Stop::Incomplete) => Ok(None),
    }
}

fn parse_bounded(buf: &[u8]) -> Result<RequestHead, Stop> {
    let mut lines = Lines::new(buf, skip_empty_lines(buf)?);
    let line = RequestLine::read(&mut lines)?;
    let mut parts = Parts::default();
    while let Some(field) = lines.field()? {
        if let Some(known) = Known::from_name(field.name) {
            parts.take(known, &field)?;
        }
    }
    Ok(parts.assemble(&line, buf, lines.at)?)
}

/// `method target HTTP/1.x`
struct RequestLine<'b> {
    method: Method,
    target: &'b [u8],
    target_at: usize,
    version: Version,
}

impl<'b> RequestLine<'b> {
    fn read(lines: &mut Lines<'b>) -> Result<Self, Stop> {
        let method = lines.run_of(&TOKEN_BYTES);
        if lines.peek()? != b' ' || method.is_empty() {
            return Err(HeadError::RequestLine.into());
        }
        lines.at += 1;
        let target_at = lines.at;
        let target = lines.run_of(&TARGET_BYTES);
        match lines.peek()? {
            b' ' if !target.is_empty() => lines.at += 1,
            ..=b' ' | 0x7f => return Err(HeadError::RequestLine.into()),
            _ => return Err(HeadError::Target.into()),
        }
        let version = if lines.version()? { Version::Http10 } else { Version::Http11 };
        lines.line_end(HeadError::RequestLine)?;
        Ok(Self { method: method_of(method), target, target_at, version })
    }
}

/// Where the request line begins.
fn skip_empty_lines(buf: &[u8]) -> Result<usize, Stop> {
    let mut rest = buf;
    for _ in 0..=EMPTY_LINES_MAX {
        rest = match rest {
            [] | [b'\r'] => return Err(Stop::Incomplete),
            [b'\r', b'\n', rest @ ..] => rest,
            [b'\r', ..] => return Err(HeadError::BareCr.into()),
            [b'\n', ..] => return Err(HeadError::BareLf.into()),
            _ => return Ok(buf.len() - rest.len()),
        };
    }
    Err(HeadError::EmptyLines.into())
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
    fn take(&mut self, known: Known, field: &Field<'_>) -> Result<(), HeadError> {
        let value = field.value;
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
                *slot = Some(field.span()?);
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

    fn assemble(mut self, line: &RequestLine<'_>, buf: &[u8], head_bytes: usize) -> Result<RequestHead, HeadError> {
        let RequestLine { method, version, .. } = *line;
        let is_old = version == Version::Http10;
        let framing = self.body.framing(is_old)?;
        self.host(buf, version)?;
        let (path, query) = self.target(line)?;
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
    fn target(&mut self, line: &RequestLine<'_>) -> Result<(Span, Option<Span>), HeadError> {
        let RequestLine { method, target, target_at, .. } = *line;
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

fn method_of(name: &[u8]) -> Method {
    match name {
        b"POST" => Method::Post,
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"OPTIONS" => Method::Options,
        _ => Method::Other,
    }
}

#[cfg(test)]
mod tests;
