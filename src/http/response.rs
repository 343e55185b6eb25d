//! Response heads: what a provider sent.
//!
//! Tolerant of what real servers do and a client can read in one way only (bare line feeds, no reason phrase, white space
//! before a colon, folded fields, equal lengths repeated); strict about where the body ends, because the next answer on
//! that connection is another client's. Few fields are read, and none but Content-Type ever leaves the node.
//!
//! Nearly every head needs no tolerance, and [`Lines`] reads it in one pass. That refuses more than we do, so that only
//! what it accepts counts: of all else, the beginning of a head included, httparse in its tolerant mode is the judge.
//! What the one accepts the other reads alike; the tests and the fuzzer hold them against each other.
//!
//! Left to the caller: to skip interim answers, and to know that an answer to HEAD has no body (we send none).

use std::mem::MaybeUninit;

use super::error::HeadError;
use super::field::members;
use super::framing::{BodyFields, Framing};
use super::lines::{Lines, Stop};
use super::span::Span;
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};
use crate::swar::equal_in_any_case;

/// How a response's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is none.
    None,
    /// After this many bytes.
    Length(u64),
    /// In chunks; see [`super::Decoder`].
    Chunked,
    /// When the provider closes: a cut cannot be told from an end, but by the document in it.
    UntilClose,
}

/// What the body is packed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentEncoding {
    #[default]
    Identity,
    Gzip,
    /// One that nobody asked for, or several.
    Other,
}

/// A complete response head. Its spans point into the buffer that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: u16,
    pub framing: ResponseFraming,
    /// Whether the connection can be used again once the body has ended.
    pub keep_alive: bool,
    pub encoding: ContentEncoding,
    /// Bytes from the buffer's beginning to the body.
    pub head_bytes: usize,
    pub content_type: Option<Span>,
    /// See [`super::retry_after`].
    pub retry_after: Option<Span>,
}

impl ResponseHead {
    /// Another head follows: 1xx, but not 101, which ends HTTP on its connection.
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }
}

/// Reads the head at the beginning of `buf`. `None`: not all of it is there yet; call again with more, from the same
/// beginning. A head that has no end within [`HEAD_BYTES_MAX`] is refused.
pub fn parse_response(buf: &[u8]) -> Result<Option<ResponseHead>, HeadError> {
    let bounded = &buf[..buf.len().min(HEAD_BYTES_MAX)];
    if let Ok(head) = parse_strictly(bounded) {
        return Ok(Some(head));
    }
    match parse_tolerantly(bounded)? {
        None if bounded.len() == HEAD_BYTES_MAX => Err(HeadError::TooLarge),
        head => Ok(head),
    }
}

fn parse_strictly(buf: &[u8]) -> Result<ResponseHead, Stop> {
    let mut lines = Lines::new(buf, 0);
    let is_old = lines.version()?;
    let status = status(&mut lines)?;
    let mut parts = Parts::default();
    while let Some(field) = lines.field()? {
        parts.take(buf, field.name, field.value)?;
    }
    Ok(parts.assemble(status, is_old, lines.at)?)
}

/// The rest of a status line, behind the version.
fn status(lines: &mut Lines<'_>) -> Result<u16, Stop> {
    let &[b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = lines.take()? else {
        return Err(HeadError::StatusLine.into());
    };
    if lines.peek()? == b' ' {
        lines.text();
    }
    lines.line_end(HeadError::StatusLine)?;
    Ok([a, b, c].into_iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
}

#[cold]
fn parse_tolerantly(buf: &[u8]) -> Result<Option<ResponseHead>, HeadError> {
    // httparse skips any number of empty lines; an answer begins with its version.
    if matches!(buf.first(), Some(b'\r' | b'\n')) {
        return Err(HeadError::StatusLine);
    }
    let mut tolerant = httparse::ParserConfig::default();
    tolerant.allow_spaces_after_header_name_in_responses(true);
    tolerant.allow_obsolete_multiline_headers_in_responses(true);
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut found = httparse::Response::new(&mut []);
    let head_bytes = match tolerant.parse_response_with_uninit_headers(&mut found, buf, &mut fields) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(refused) => return Err(fault(refused)),
    };
    let (Some(status @ 100..=999), Some(minor)) = (found.code, found.version) else {
        return Err(HeadError::StatusLine);
    };
    let mut parts = Parts::default();
    for field in found.headers.iter() {
        parts.take(buf, field.name.as_bytes(), field.value)?;
    }
    parts.assemble(status, minor == 0, head_bytes).map(Some)
}

fn fault(refused: httparse::Error) -> HeadError {
    match refused {
        httparse::Error::HeaderName => HeadError::FieldName,
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::NewLine => HeadError::BareCr,
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::Status | httparse::Error::Token => HeadError::StatusLine,
    }
}

#[derive(Default)]
struct Parts {
    body: BodyFields,
    close: bool,
    keep_alive: bool,
    encoding: ContentEncoding,
    content_type: Option<Span>,
    retry_after: Option<Span>,
}

impl Parts {
    fn take(&mut self, buf: &[u8], name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        match name.len() {
            10 if equal_in_any_case(name, b"connection") => self.connection(value),
            11 if equal_in_any_case(name, b"retry-after") => {
                self.retry_after = one_line(buf, value);
            }
            12 if equal_in_any_case(name, b"content-type") => {
                self.content_type = one_line(buf, value);
            }
            14 if equal_in_any_case(name, b"content-length") => {
                self.body.length_repeatable(value)?;
            }
            16 if equal_in_any_case(name, b"content-encoding") => self.encoding(value),
            17 if equal_in_any_case(name, b"transfer-encoding") => self.body.coding(value)?,
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for member in members(value) {
            self.close |= member.eq_ignore_ascii_case(b"close");
            self.keep_alive |= member.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn encoding(&mut self, value: &[u8]) {
        for member in members(value).filter(|member| !member.eq_ignore_ascii_case(b"identity")) {
            let is_gzip = member.eq_ignore_ascii_case(b"gzip") || member.eq_ignore_ascii_case(b"x-gzip");
            self.encoding = match self.encoding {
                ContentEncoding::Identity if is_gzip => ContentEncoding::Gzip,
                _ => ContentEncoding::Other,
            };
        }
    }

    fn assemble(self, status: u16, is_old: bool, head_bytes: usize) -> Result<ResponseHead, HeadError> {
        let framing = match self.body.framing(is_old)? {
            _ if matches!(status, 100..=199 | 204 | 304) => ResponseFraming::None,
            Framing::Length(length) => ResponseFraming::Length(length),
            Framing::Chunked => ResponseFraming::Chunked,
            Framing::None => ResponseFraming::UntilClose,
        };
        let lives_on = !self.close && (!is_old || self.keep_alive);
        Ok(ResponseHead {
            status,
            framing,
            // After 101 it speaks something else.
            keep_alive: lives_on && framing != ResponseFraming::UntilClose && status != 101,
            encoding: self.encoding,
            head_bytes,
            content_type: self.content_type,
            retry_after: self.retry_after,
        })
    }
}

/// Where a value stands; `None` for a folded one: it would end a line of our own where it is passed on.
fn one_line(buf: &[u8], value: &[u8]) -> Option<Span> {
    if memchr::memchr2(b'\r', b'\n', value).is_some() {
        return None;
    }
    Span::within(buf, value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepted(text: &str) -> ResponseHead {
        parse_response(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text:?}")).expect("complete")
    }

    #[test]
    fn a_head_is_read() {
        let buf = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json; charset=utf-8\r\nRetry-After: 7\r\n\
                   Content-Encoding: gzip\r\nContent-Length: 12\r\n\r\n{body";
        let head = accepted(buf);
        assert_eq!((head.status, head.framing, head.keep_alive), (429, ResponseFraming::Length(12), true));
        assert_eq!(head.content_type.unwrap().of(buf.as_bytes()), b"application/json; charset=utf-8");
        assert_eq!(head.retry_after.unwrap().of(buf.as_bytes()), b"7");
        assert_eq!(head.encoding, ContentEncoding::Gzip);
        assert_eq!(&buf[head.head_bytes..], "{body");
    }

    #[test]
    fn what_follows_the_head() {
        use ResponseFraming::{Chunked, Length, None, UntilClose};
        for (line, fields, framing, keep_alive) in [
            ("HTTP/1.1 200 OK", "Content-Length: 0\r\n", Length(0), true),
            ("HTTP/1.1 200 OK", "Content-Length: 5\r\nContent-Length: 5\r\n", Length(5), true),
            ("HTTP/1.1 200 OK", "content-length:5\r\nConnection: close\r\n", Length(5), false),
            ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked\r\n", Chunked, true),
            ("HTTP/1.1 200 OK", "Transfer-Encoding : CHUNKED\r\n", Chunked, true),
            ("HTTP/1.1 200 OK", "", UntilClose, false),
            ("HTTP/1.1 200", "Content-Length: 1\r\n", Length(1), true),
            ("HTTP/1.1 200 ", "Content-Length: 1\r\n", Length(1), true),
            ("HTTP/1.0 200 OK", "Content-Length: 5\r\n", Length(5), false),
            ("HTTP/1.0 200 OK", "Content-Length: 5\r\nConnection: keep-alive\r\n", Length(5), true),
            ("HTTP/1.1 204 No Content", "", None, true),
            ("HTTP/1.1 204 No Content", "Content-Length: 5\r\n", None, true),
            ("HTTP/1.1 304 Not Modified", "Content-Length: 5\r\n", None, true),
            ("HTTP/1.1 100 Continue", "", None, true),
            ("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade\r\n", None, false),
            ("HTTP/1.1 503 Nope", "X: a\r\n folded\r\nContent-Length: 2\r\n", Length(2), true),
        ] {
            let head = accepted(&format!("{line}\r\n{fields}\r\n"));
            assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{line} {fields:?}");
        }
        assert_eq!(accepted("HTTP/1.1 200 OK\nContent-Length: 5\n\n").framing, Length(5));
    }

    #[test]
    fn encodings() {
        for (value, encoding) in [
            ("identity", ContentEncoding::Identity),
            ("", ContentEncoding::Identity),
            ("GZIP", ContentEncoding::Gzip),
            ("x-gzip", ContentEncoding::Gzip),
            ("identity, gzip", ContentEncoding::Gzip),
            ("gzip, gzip", ContentEncoding::Other),
            ("br", ContentEncoding::Other),
            ("deflate, gzip", ContentEncoding::Other),
        ] {
            assert_eq!(
                accepted(&format!("HTTP/1.1 200 OK\r\nContent-Encoding: {value}\r\n\r\n")).encoding,
                encoding,
                "{value}"
            );
        }
    }

    #[test]
    fn some_answers_are_interim() {
        for (status, interim) in [(100, true), (101, false), (102, true), (103, true), (199, true), (200, false)] {
            assert_eq!(accepted(&format!("HTTP/1.1 {status} X\r\n\r\n")).is_interim(), interim, "{status}");
        }
    }

    #[test]
    fn a_folded_value_is_not_passed_on() {
        let head = accepted("HTTP/1.1 200 OK\r\nContent-Type: a\r\n\tb\r\n\r\n");
        assert_eq!(head.content_type, None);
    }

    #[test]
    fn heads_are_refused() {
        use HeadError as E;
        for (head, fault) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", E::LengthAndCoding),
            ("HTTP/1.1 204 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", E::LengthAndCoding),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", E::LengthRepeated),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", E::LengthMalformed),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n 6\r\n\r\n", E::LengthMalformed),
            ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", E::LengthMalformed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", E::Coding),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", E::CodingInOldVersion),
            ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", E::FieldValue),
            ("HTTP/1.1 200 OK\r\nA\r\n\r\n", E::FieldName),
            ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", E::FieldValue),
            ("HTTP/1.1 099 X\r\n\r\n", E::StatusLine),
            ("HTTP/1.1 20 X\r\n\r\n", E::StatusLine),
            ("HTTP/1.1 2000 X\r\n\r\n", E::StatusLine),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", E::StatusLine),
            ("HTTP/2.0 200 OK\r\n\r\n", E::Version),
            ("<html>", E::Version),
            ("SSH-2.0-x\r\n", E::Version),
        ] {
            assert_eq!(parse_response(head.as_bytes()), Err(fault), "{head:?}");
        }
        assert_eq!(
            parse_response(&[b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'x'; HEAD_BYTES_MAX]].concat()),
            Err(E::TooLarge)
        );
    }

    /// Pieces of heads, good and bad, strung together.
    fn strung() -> impl Strategy<Value = Vec<u8>> {
        let pieces = [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.0 503 \r\n",
            "HTTP/1.1 204\r\n",
            "Content-Length: 5\r\n",
            "content-length:\t5 \r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close\r\n",
            "Content-Type: text/html\r\n",
            "Retry-After:  7\t\r\n",
            "Content-Encoding: gzip\r\n",
            "A: b\r\n",
            "A : b\r\n",
            "A: b\n",
            " folded\r\n",
            "Empty:\r\n",
            "\r\n",
            "\r\n\r\n",
            "\r",
            "\n",
            "\0",
            "\t",
            " ",
            ":",
            "é",
            "x",
            "\x7f",
        ];
        let strung = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..10);
        (prop::bool::ANY, strung).prop_map(|(good, strung)| {
            let start = if good { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" } else { "" };
            [start, &strung.concat(), if good { "\r\n" } else { "" }].concat().into_bytes()
        })
    }

    /// What the strict reader accepts httparse reads alike, and every beginning says what the whole says or nothing.
    fn readers_and_splits_agree(head: &[u8]) {
        if let Ok(strict) = parse_strictly(head) {
            assert_eq!(parse_tolerantly(head), Ok(Some(strict)), "{}", head.escape_ascii());
        }
        let whole = parse_response(head);
        for bytes in 0..head.len() {
            let part = parse_response(&head[..bytes]);
            assert!(
                part == Ok(None) || part == whole,
                "{part:?} of {bytes} bytes, {whole:?} of {}",
                head.escape_ascii()
            );
        }
    }

    #[test]
    fn heads_as_servers_write_them_need_no_tolerance() {
        for head in [
            "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 14 Oct 2025 09:21:07 GMT\r\nContent-Length: 56\r\n\r\n",
            "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nVary:\r\n\r\n",
            "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.0 500 Internal Server Error\r\nX:\ta b\tc \r\n\r\n",
        ] {
            assert!(parse_strictly(head.as_bytes()).is_ok(), "{head:?}");
            readers_and_splits_agree(head.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_strung_head_is_read_alike(head in strung()) {
            readers_and_splits_agree(&head);
        }

        #[test]
        fn any_spoilt_head_is_read_alike(at in 0..200_usize, byte in prop::num::u8::ANY) {
            let mut head = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\
                Connection: keep-alive\r\nContent-Encoding: gzip\r\n\r\n{}".to_vec();
            let at = at % head.len();
            head[at] = byte;
            readers_and_splits_agree(&head);
        }
    }
}
