//! The lines of a head, read strictly in one pass: a version, fields as `name: value`, the empty line, each ending in
//! CR LF and with nothing in it that RFC 9112 only tolerates (bare line feeds, folds, white space before a colon).
//!
//! The first thing that breaks a rule is the fault that is named, and nothing beyond it is looked at. So a head of
//! which only the beginning has come is incomplete, or refused with the word that all of it would be refused with.
//!
//! Request heads are read by this alone, replies where they keep to the rules; see [`super::response`].

#![allow(clippy::inline_always, reason = "the loops are a few instructions a byte, and a call costs as much as a name")]

use super::error::HeadError;
use super::field::{is_token_byte, trim};
use super::span::Span;
use crate::limits::HEADERS_MAX;
use crate::swar::{WORD_BYTES, Word};

/// Why no more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The buffer ends before the line does.
    Incomplete,
    Refused(HeadError),
}

impl From<HeadError> for Stop {
    fn from(error: HeadError) -> Self {
        Self::Refused(error)
    }
}

/// One `name: value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'b> {
    pub(super) name: &'b [u8],
    /// Without the white space around it.
    pub(super) value: &'b [u8],
    value_at: usize,
}

impl Field<'_> {
    /// Where the value stands.
    pub(super) fn span(&self) -> Result<Span, HeadError> {
        Span::new(self.value_at, self.value.len()).ok_or(HeadError::TooLarge)
    }
}

/// A head as far as it has been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines<'b> {
    pub(super) buf: &'b [u8],
    /// What comes next.
    pub(super) at: usize,
    fields: usize,
}

impl<'b> Lines<'b> {
    pub(super) const fn new(buf: &'b [u8], at: usize) -> Self {
        Self { buf, at, fields: 0 }
    }

    /// The byte that comes next; it stays next.
    #[inline]
    pub(super) fn peek(&self) -> Result<u8, Stop> {
        self.buf.get(self.at).copied().ok_or(Stop::Incomplete)
    }

    /// The next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<&'b [u8; N], Stop> {
        let bytes = self.buf[self.at..].first_chunk().ok_or(Stop::Incomplete)?;
        self.at += N;
        Ok(bytes)
    }

    /// `HTTP/1.0` or `HTTP/1.1`: whether it is the old one.
    pub(super) fn version(&mut self) -> Result<bool, Stop> {
        const START: &[u8] = b"HTTP/1.";
        let rest = &self.buf[self.at..];
        let Some(version) = rest.first_chunk::<8>() else {
            let may_become_one = START.starts_with(rest);
            return Err(if may_become_one { Stop::Incomplete } else { HeadError::Version.into() });
        };
        self.at += version.len();
        match version {
            b"HTTP/1.1" => Ok(false),
            b"HTTP/1.0" => Ok(true),
            _ => Err(HeadError::Version.into()),
        }
    }

    /// CR LF; `other` where neither comes.
    #[inline]
    pub(super) fn line_end(&mut self, other: HeadError) -> Result<(), Stop> {
        match &self.buf[self.at..] {
            [b'\r', b'\n', ..] => {
                self.at += 2;
                Ok(())
            }
            [] | [b'\r'] => Err(Stop::Incomplete),
            [b'\r', ..] => Err(HeadError::BareCr.into()),
            [b'\n', ..] => Err(HeadError::BareLf.into()),
            _ => Err(other.into()),
        }
    }

    /// The next field; `None` once the empty line has been read.
    #[inline(always)]
    pub(super) fn field(&mut self) -> Result<Option<Field<'b>>, Stop> {
        let name = self.run_of(&TOKEN_BYTES);
        match self.peek()? {
            b':' if !name.is_empty() => self.at += 1,
            b'\r' | b'\n' if name.is_empty() => {
                self.line_end(HeadError::BareCr)?;
                return Ok(None);
            }
            b' ' | b'\t' if name.is_empty() => return Err(HeadError::Folded.into()),
            b' ' | b'\t' => return Err(HeadError::SpaceBeforeColon.into()),
            0 => return Err(HeadError::Nul.into()),
            _ => return Err(HeadError::FieldName.into()),
        }
        while let b' ' | b'\t' = self.peek()? {
            self.at += 1;
        }
        let value_at = self.at;
        let value = trim(self.text());
        match self.buf.get(self.at..self.at + 2) {
            Some(b"\r\n") => self.at += 2,
            _ => return Err(self.bad_value_end()),
        }
        self.fields += 1;
        if self.fields > HEADERS_MAX {
            return Err(HeadError::TooManyFields.into());
        }
        Ok(Some(Field { name, value, value_at }))
    }

    /// What is wrong where neither value nor line goes on.
    #[cold]
    fn bad_value_end(mut self) -> Stop {
        let other = if self.peek() == Ok(0) { HeadError::Nul } else { HeadError::FieldValue };
        self.line_end(other).err().unwrap_or(Stop::Refused(other))
    }

    /// Goes past what consists of these bytes.
    #[inline(always)]
    pub(super) fn run_of(&mut self, bytes: &[bool; 256]) -> &'b [u8] {
        let rest = &self.buf[self.at..];
        let has = |byte: u8| bytes[usize::from(byte)];
        let fours = rest.as_chunks().0.iter().take_while(|[a, b, c, d]| has(*a) & has(*b) & has(*c) & has(*d)).count();
        let more = rest[4 * fours..].iter().take_while(|byte| has(**byte)).count();
        let run = &rest[..4 * fours + more];
        self.at += run.len();
        run
    }

    /// Goes to the next control character that is no tab.
    #[inline(always)]
    pub(super) fn text(&mut self) -> &'b [u8] {
        let from = self.at;
        loop {
            self.at = next_control(self.buf, self.at);
            if self.buf.get(self.at) != Some(&b'\t') {
                return &self.buf[from..self.at];
            }
            self.at += 1;
        }
    }
}

/// Bytes of methods and field names.
pub(super) static TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = is_token_byte(byte);
        byte += 1;
    }
    table
};

/// The first control character from `at` on, or the end.
#[inline(always)]
fn next_control(buf: &[u8], mut at: usize) -> usize {
    while let Some(word) = Word::at(buf, at) {
        if let Some(bytes) = word.below(b' ').or(word.equal(0x7f)).first() {
            return at + bytes;
        }
        at += WORD_BYTES;
    }
    buf[at..].iter().position(u8::is_ascii_control).map_or(buf.len(), |bytes| at + bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_no_control_character_but_tabs() {
        for byte in 0..=u8::MAX {
            let ends = byte.is_ascii_control() && byte != b'\t';
            for at in 0..20 {
                let mut buf = [b'a'; 20];
                buf[at] = byte;
                let mut lines = Lines::new(&buf, 0);
                let end = if ends { at } else { buf.len() };
                assert_eq!((lines.text().len(), lines.at), (end, end), "{byte:#x} at {at}");
            }
        }
    }
}
