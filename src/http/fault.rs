//! Which fault of a request head is named to its sender.
//!
//! httparse says that a line is wrong, not how; and it takes a bare line feed for a line end. Here, on the cold path,
//! the fields are walked once more, strictly, to the first thing that breaks a rule. The walk never looks beyond
//! that, so that a head refused early, when only its beginning had come, is refused with the same word.

use super::error::HeadError;
use super::field::{is_token_byte, is_value_byte};
use crate::limits::HEADERS_MAX;

/// The first fault of a head that httparse refused, beginning with its request line.
#[cold]
pub(super) fn explain(head: &[u8], refused: httparse::Error) -> HeadError {
    match refused {
        httparse::Error::Token => HeadError::RequestLine,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::TooManyHeaders => first(head, HeadError::TooManyFields),
        httparse::Error::HeaderName => first(head, HeadError::FieldName),
        httparse::Error::HeaderValue => first(head, HeadError::FieldValue),
        httparse::Error::NewLine | httparse::Error::Status => first(head, HeadError::BareCr),
    }
}

/// The first fault in how lines end and fields are written; `other` when there is none.
#[cold]
pub(super) fn first(head: &[u8], other: HeadError) -> HeadError {
    walk(head).err().unwrap_or(other)
}

fn walk(head: &[u8]) -> Result<(), HeadError> {
    let end = memchr::memchr2(b'\r', b'\n', head).unwrap_or(head.len());
    let (request_line, mut rest) = head.split_at(end);
    if !ends_with_version(request_line) {
        return Err(HeadError::RequestLine);
    }
    for _ in 0..=HEADERS_MAX {
        let Some(line) = after_line_end(rest)? else {
            return Ok(());
        };
        if line.starts_with(b"\r\n") {
            return Ok(());
        }
        let Some(end) = field_end(line)? else {
            return Ok(());
        };
        rest = &line[end..];
    }
    match after_line_end(rest)? {
        Some(_) => Err(HeadError::TooManyFields),
        None => Ok(()),
    }
}

/// What follows CR LF; `None` when not all of that is there yet.
fn after_line_end(head: &[u8]) -> Result<Option<&[u8]>, HeadError> {
    match head {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', rest @ ..] => Ok(Some(rest)),
        [b'\r', ..] => Err(HeadError::BareCr),
        _ => Err(HeadError::BareLf),
    }
}

/// Whether nothing follows the version on a request line that has been good so far.
fn ends_with_version(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    words.next().is_some_and(|version| version.len() == "HTTP/1.x".len()) && words.next().is_none()
}

/// Where the line of the field at the beginning of `line` ends, well or not; `None` when that is not there yet.
fn field_end(line: &[u8]) -> Result<Option<usize>, HeadError> {
    let Some(name_end) = line.iter().position(|byte| !is_token_byte(*byte)) else {
        return Ok(None);
    };
    match line[name_end] {
        b':' if name_end > 0 => {}
        b'\r' | b'\n' if name_end == 0 => return Ok(Some(0)),
        b' ' | b'\t' if name_end == 0 => return Err(HeadError::Folded),
        b' ' | b'\t' => return Err(HeadError::SpaceBeforeColon),
        0 => return Err(HeadError::Nul),
        _ => return Err(HeadError::FieldName),
    }
    let Some(value_end) = line.iter().skip(name_end).position(|byte| !is_value_byte(*byte)) else {
        return Ok(None);
    };
    match line[name_end + value_end] {
        b'\r' | b'\n' => Ok(Some(name_end + value_end)),
        0 => Err(HeadError::Nul),
        _ => Err(HeadError::FieldValue),
    }
}
