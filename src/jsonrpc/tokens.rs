//! Whether a text is JSON, and where its tokens begin.
//!
//! simd-json does both in one go: its first stage leaves the offset of every structural character and of every
//! string's or atom's first byte, its second stage refuses whatever is not JSON. We keep the offsets (the tape has no
//! source spans) and throw the tape away. It writes into its input, so it gets a copy in a reused buffer; the
//! offsets hold for the original just the same.
//!
//! Accepted is exactly what `serde_json::value::RawValue` accepts (RFC 8259, UTF-8), down to a depth of
//! [`JSON_DEPTH_MAX`]. simd-json refuses more than that: numbers beyond 64 bits or beyond a double, and lone
//! surrogates in escapes. Ids and params may hold the former, providers relay the latter, and neither is read by
//! us. So its refusal is no verdict: a refused text gets a second, slower opinion. Its acceptance is one; the fuzzer
//! holds both against each other.

use serde_json::value::RawValue;
use simd_json::{Buffers, INPUT_PADDING, Tape, fill_tape_padded};

use crate::limits::{JSON_DEPTH_MAX, SCRATCH_BYTES_KEPT};

/// The text is not JSON, is nested too deep, or something follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

/// Buffers for one text at a time, reused so that a call allocates nothing. One per shard.
pub struct Scratch {
    copy: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
    /// Offsets by the second opinion, or of a text's head alone.
    offsets: Vec<u32>,
}

/// A text and the offsets of its tokens, ascending: each of `{}[]:,` outside strings, and the first byte of each
/// string, number and literal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'b, 's> {
    pub(super) text: &'b [u8],
    pub(super) offsets: &'s [u32],
}

impl Scratch {
    #[must_use]
    pub fn new() -> Self {
        Self {
            copy: Vec::new(),
            buffers: Buffers::with_max_depth(0, JSON_DEPTH_MAX),
            tape: Tape(Vec::new()),
            offsets: Vec::new(),
        }
    }

    /// Validates `text` whole.
    pub(super) fn tokens<'b>(&mut self, text: &'b [u8]) -> Result<Tokens<'b, '_>, NotJson> {
        if self.validates(text) {
            return Ok(Tokens { text, offsets: self.buffers.structural_indexes() });
        }
        let complete = find_tokens(text, JSON_DEPTH_MAX, &mut self.offsets);
        if !complete || serde_json::from_slice::<&RawValue>(text).is_err() {
            return Err(NotJson);
        }
        Ok(Tokens { text, offsets: &self.offsets })
    }

    /// The tokens at the head of a text whose end is not here; nothing is validated.
    pub(super) fn tokens_of_head<'b>(&mut self, head: &'b [u8]) -> Tokens<'b, '_> {
        find_tokens(head, JSON_DEPTH_MAX, &mut self.offsets);
        Tokens { text: head, offsets: &self.offsets }
    }

    /// Gives memory back after an unusually large text.
    pub(super) fn trim(&mut self) {
        let tape = self.tape.0.capacity() * size_of::<simd_json::Node<'_>>();
        if self.copy.capacity() + tape > SCRATCH_BYTES_KEPT {
            *self = Self::new();
        }
    }

    fn validates(&mut self, text: &[u8]) -> bool {
        self.copy.clear();
        self.copy.extend_from_slice(text);
        self.copy.resize(text.len() + INPUT_PADDING, b' ');
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let filled = fill_tape_padded(&mut self.copy, text.len(), &mut self.buffers, &mut tape);
        let valid = filled.is_ok();
        self.tape = tape.reset();
        valid
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("copy", &self.copy.capacity()).finish_non_exhaustive()
    }
}

/// The offsets of the tokens, right for valid JSON and for the head of one. False when nesting goes deeper than
/// `depth_max` or an offset does not fit; then what was found until there stands.
fn find_tokens(text: &[u8], depth_max: usize, offsets: &mut Vec<u32>) -> bool {
    offsets.clear();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let next = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'"' => string_end(text, at),
            b'{' | b'[' | b'}' | b']' | b',' | b':' => at + 1,
            _ => atom_end(text, at),
        };
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let Ok(offset) = u32::try_from(at) else {
            return false;
        };
        if depth > depth_max {
            return false;
        }
        offsets.push(offset);
        at = next;
    }
    true
}

/// Behind the closing quote of the string whose opening quote stands at `quote`, or the end of the text.
pub(super) fn string_end(text: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while let Some(rest) = text.get(at..) {
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(n) if rest[n] == b'"' => return at + n + 1,
            Some(n) => at += n + 2,
            None => break,
        }
    }
    text.len()
}

fn atom_end(text: &[u8], start: usize) -> usize {
    let ends =
        |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'{' | b'}' | b'[' | b']' | b',' | b':');
    text[start + 1..].iter().position(ends).map_or(text.len(), |n| start + 1 + n)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepts(text: &[u8]) -> bool {
        Scratch::new().tokens(text).is_ok()
    }

    fn nested(depth: usize) -> String {
        "[".repeat(depth) + &"]".repeat(depth)
    }

    #[test]
    fn what_is_json() {
        let cases: &[(&[u8], bool)] = &[
            (b"{}", true),
            (b" \t\r\n{\"a\":[1,-2.5e-7,true,false,null,\"x\"]} \n", true),
            (b"1", true),
            (b"\"\"", true),
            (b"18446744073709551616", true),
            (b"-9223372036854775809", true),
            (b"[123456789012345678901234567890123456789012345678901234567890]", true),
            (b"{\"a\":1e999}", true),
            (b"[-1E+999]", true),
            (br#"["\ud83d\ude00"]"#, true),
            (br#"["\ud800"]"#, true),
            (br#"["\udc00x"]"#, true),
            (br#"["\""]"#, true),
            (b"", false),
            (b"  ", false),
            (b"{} {}", false),
            (b"{}x", false),
            (b"{}\0", false),
            (b"\xef\xbb\xbf{}", false),
            (b"[1,]", false),
            (b"{\"a\":1,}", false),
            (b"{\"a\"}", false),
            (b"{a:1}", false),
            (b"['a']", false),
            (b"[01]", false),
            (b"[-]", false),
            (b"[1.]", false),
            (b"[.5]", false),
            (b"[+1]", false),
            (b"[1e]", false),
            (b"[NaN]", false),
            (b"[nul]", false),
            (b"[truex]", false),
            (b"[1\x0c]", false),
            (b"\x0b[1]", false),
            (b"[1\xa0]", false),
            (b"[\"\x01\"]", false),
            (b"[\"\n\"]", false),
            (b"[\"\x7f\"]", true),
            (b"[\"\xff\"]", false),
            (b"[\"\xed\xa0\x80\"]", false),
            (b"[\"\xc0\x80\"]", false),
            (br#"["\x"]"#, false),
            (br#"["\u12g4"]"#, false),
            (br#"["\u123"]"#, false),
            (b"[\"a]", false),
            (b"[\"a\\\"]", false),
            (b"// x\n[]", false),
        ];
        for (text, expected) in cases {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(accepts(text), *expected, "{shown}");
            assert_eq!(serde_json::from_slice::<&RawValue>(text).is_ok(), *expected, "serde_json: {shown}");
        }
    }

    #[test]
    fn depth_is_bounded_by_both_opinions() {
        assert!(accepts(nested(JSON_DEPTH_MAX).as_bytes()));
        assert!(!accepts(nested(JSON_DEPTH_MAX + 1).as_bytes()));
        let big_number_inside = |depth: usize| nested(depth).replace("[]", "[1e999]");
        assert!(accepts(big_number_inside(JSON_DEPTH_MAX).as_bytes()));
        assert!(!accepts(big_number_inside(JSON_DEPTH_MAX + 1).as_bytes()));
        assert!(!accepts("[".repeat(1_000_000).as_bytes()));
    }

    #[test]
    fn both_opinions_find_the_same_tokens() {
        let texts = [
            r#" {"id":1,"method":"eth_call","params":[{"to":"0x\"\\"},"latest" ],"x":{"y" : [ ] , "z":null}} "#,
            r#"[true,false , null,-1.5e3,"",{},[]]"#,
            "\"top\"",
        ];
        for text in texts {
            let mut scratch = Scratch::new();
            let first = scratch.tokens(text.as_bytes()).unwrap().offsets.to_vec();
            assert_eq!(scratch.tokens_of_head(text.as_bytes()).offsets, first, "{text}");
        }
    }

    #[test]
    fn large_texts_leave_no_memory_behind() {
        let mut scratch = Scratch::new();
        let large = format!("[{}0]", "0,".repeat(3_000_000));
        assert!(scratch.tokens(large.as_bytes()).is_ok());
        scratch.trim();
        assert!(scratch.copy.capacity() + scratch.tape.0.capacity() <= SCRATCH_BYTES_KEPT);
    }

    proptest! {
        /// Texts near JSON: tokens strung together, so that many are valid and most of the rest nearly so.
        #[test]
        fn acceptance_is_serde_jsons(parts in proptest::collection::vec(
            prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just(" "), Just("\"a\""), Just("\"\\u00"),
                Just("1"), Just("0"), Just("-"), Just("."), Just("e9"), Just("true"), Just("null"), Just("\""), Just("\\"),
                Just("{\"id\":"), Just("[1,"), Just("é"), Just("99999999999999999999"), Just("\\ud800"), Just("\t"),
            ], 0..14)) {
            let text = parts.concat();
            prop_assert_eq!(accepts(text.as_bytes()), serde_json::from_slice::<&RawValue>(text.as_bytes()).is_ok());
        }

        #[test]
        fn arbitrary_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(accepts(&text), serde_json::from_slice::<&RawValue>(&text).is_ok());
            Scratch::new().tokens_of_head(&text);
        }
    }
}
