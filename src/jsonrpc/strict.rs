//! A JSON reader of our own: whether a text is JSON, to the letter of RFC 8259, and where its tokens begin.
//!
//! For small texts, which calls and most answers are: what simd-json costs there is its setting up, not its bytes. One
//! pass, byte by byte between strings and word by word inside them, driven by what may follow. Nothing is decoded: a
//! number is a shape, an escape is a shape (a lone surrogate is one), so that nothing has to fit into 64 bits.
//! What is nested stands in the bits of one word, which bounds the depth without a stack.
//!
//! Its word is final, both ways. Held against `serde_json` and simd-json by the tests beside `tokens` and by the fuzzer.

#![allow(clippy::inline_always, reason = "what the loop knows must stay in registers: a token has a few bytes")]

use super::tokens::NotJson;
use crate::limits::JSON_DEPTH_MAX;
use crate::swar::{WORD_BYTES, Word, is_ascii};

/// Validates `text` whole; the offsets of its tokens, which stand in `offsets`.
// Not inlined: beside simd-json's stages no register would be left for it.
#[inline(never)]
pub(super) fn tokens<'o>(text: &[u8], offsets: &'o mut Vec<u32>) -> Result<&'o [u32], NotJson> {
    // Once for all strings; outside of them a byte beyond ASCII is no token.
    let is_text = is_ascii(text) || std::str::from_utf8(text).is_ok();
    if !is_text || u32::try_from(text.len()).is_err() {
        return Err(NotJson);
    }
    // Each token has a byte of its own. Grown only: what was there is overwritten.
    if offsets.len() < text.len() {
        offsets.resize(text.len(), 0);
    }
    let count = Reader { text, at: 0, nested: Nested::default(), offsets, count: 0 }.document().ok_or(NotJson)?;
    Ok(&offsets[..count])
}

struct Reader<'b, 'o> {
    text: &'b [u8],
    at: usize,
    nested: Nested,
    offsets: &'o mut [u32],
    count: usize,
}

/// What the place that has been reached is nested in: a bit for each level, the innermost lowest, 1 for an object.
#[derive(Clone, Copy, Default)]
struct Nested {
    objects: u128,
    depth: usize,
}

const _: () = assert!(JSON_DEPTH_MAX <= u128::BITS as usize, "a bit for each level");

impl Nested {
    #[inline(always)]
    fn open(&mut self, is_object: bool) -> Option<()> {
        self.objects = self.objects << 1 | u128::from(is_object);
        self.depth += 1;
        (self.depth <= JSON_DEPTH_MAX).then_some(())
    }

    #[inline(always)]
    fn close(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    #[inline(always)]
    fn in_object(self) -> bool {
        self.objects & 1 != 0
    }
}

impl Reader<'_, '_> {
    /// How many tokens there are; `None`: not JSON.
    fn document(mut self) -> Option<usize> {
        loop {
            if self.opens_to_value()? {
                continue;
            }
            loop {
                let byte = self.next_token();
                if self.nested.depth == 0 {
                    return byte.is_none().then_some(self.count);
                }
                match byte? {
                    b',' => break,
                    b'}' if self.nested.in_object() => self.close(),
                    b']' if !self.nested.in_object() => self.close(),
                    _ => return None,
                }
            }
            self.take();
            if self.nested.in_object() {
                self.key()?;
            }
        }
    }

    /// Reads a value, of an object or an array only its beginning: then true when its first value is next.
    #[inline(always)]
    fn opens_to_value(&mut self) -> Option<bool> {
        let byte = self.next_token()?;
        self.take();
        match byte {
            b'"' => self.at = string_end(self.text, self.at)?,
            b'{' => {
                self.nested.open(true)?;
                if self.next_token()? != b'}' {
                    self.key()?;
                    return Some(true);
                }
                self.close();
            }
            b'[' => {
                self.nested.open(false)?;
                if self.next_token()? != b']' {
                    return Some(true);
                }
                self.close();
            }
            _ => self.at = atom_end(self.text, self.at - 1)?,
        }
        Some(false)
    }

    /// A key and its colon.
    #[inline(always)]
    fn key(&mut self) -> Option<()> {
        if self.next_token()? != b'"' {
            return None;
        }
        self.take();
        self.at = string_end(self.text, self.at)?;
        if self.next_token()? != b':' {
            return None;
        }
        self.take();
        Some(())
    }

    #[inline(always)]
    fn close(&mut self) {
        self.take();
        self.nested.close();
    }

    /// The first byte that is no white space, at which `at` then stands.
    #[inline(always)]
    fn next_token(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.get(self.at)?;
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Goes past the token's first byte and notes where that stands.
    #[inline(always)]
    fn take(&mut self) {
        #[allow(clippy::cast_possible_truncation, reason = "the whole text's length fits")]
        let offset = self.at as u32;
        if let Some(slot) = self.offsets.get_mut(self.count) {
            *slot = offset;
            self.count += 1;
        }
        self.at += 1;
    }
}

/// Behind the closing quote of the string whose contents begin at `at`.
#[inline(always)]
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = plain_end(text, at);
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = escape_end(text, at + 1)?,
            _ => return None,
        }
    }
}

/// The next quote, backslash or control character of a string, or the end of the text.
#[inline(always)]
fn plain_end(text: &[u8], mut at: usize) -> usize {
    while let Some(word) = Word::at(text, at) {
        let ends = word.equal(b'"').or(word.equal(b'\\')).or(word.below(b' '));
        if let Some(bytes) = ends.first() {
            return at + bytes;
        }
        at += WORD_BYTES;
    }
    while text.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | ..b' ')) {
        at += 1;
    }
    at
}

/// Behind the escape whose backslash stands before `at`.
#[cold]
fn escape_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => text.get(at + 1..at + 5)?.iter().all(u8::is_ascii_hexdigit).then_some(at + 5),
        _ => None,
    }
}

/// Behind the number or the literal that begins at `at`.
fn atom_end(text: &[u8], at: usize) -> Option<usize> {
    let literal: &[u8] = match text.get(at)? {
        b't' => b"true",
        b'f' => b"false",
        b'n' => b"null",
        _ => return number_end(text, at),
    };
    text.get(at..)?.starts_with(literal).then_some(at + literal.len())
}

/// Behind a number: no leading zeros, digits on both sides of a point.
fn number_end(text: &[u8], mut at: usize) -> Option<usize> {
    if text.get(at) == Some(&b'-') {
        at += 1;
    }
    at = match text.get(at)? {
        b'0' => at + 1,
        _ => digits_end(text, at)?,
    };
    if text.get(at) == Some(&b'.') {
        at = digits_end(text, at + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = text.get(at) {
            at += 1;
        }
        at = digits_end(text, at)?;
    }
    Some(at)
}

/// Behind at least one digit.
#[inline(always)]
fn digits_end(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    (at > from).then_some(at)
}
