//! Whether a text is JSON, and where its tokens begin.
//!
//! Two readers share the work. A small text goes to `strict`, our own, in one pass. A large one goes to simd-json: its
//! first stage leaves the offset of every structural character and of every string's or atom's first byte, its second stage
//! refuses whatever is not JSON. We keep the offsets (the tape has no source spans) and throw the tape away. It writes
//! into its input, so it gets a copy in a reused buffer; the offsets hold for the original just the same.
//!
//! Accepted is exactly what `serde_json::value::RawValue` accepts (RFC 8259, UTF-8), down to a depth of
//! [`JSON_DEPTH_MAX`]. simd-json refuses more than that: numbers beyond 64 bits or beyond a double, and lone
//! surrogates in escapes. Ids and params may hold the former, providers relay the latter, and neither is read by
//! us. So its refusal is no verdict, and `strict` has the last word. Its acceptance is one; the fuzzer holds all three
//! against each other.

use simd_json::{Buffers, INPUT_PADDING, Tape, fill_tape_padded};

use super::strict;
use crate::limits::{JSON_DEPTH_MAX, SCRATCH_BYTES_KEPT, SMALL_JSON_BYTES_MAX};

/// The text is not JSON, is nested too deep, or something follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

/// Buffers for one text at a time, reused so that a call allocates nothing. One per shard.
pub struct Scratch {
    copy: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
    /// Offsets by `strict`, or of a text's head alone.
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
        if text.len() > SMALL_JSON_BYTES_MAX && self.validates(text) {
            return Ok(Tokens { text, offsets: self.buffers.structural_indexes() });
        }
        Ok(Tokens { text, offsets: strict::tokens(text, &mut self.offsets)? })
    }

    /// The tokens at the head of a text whose end is not here; nothing is validated.
    pub(super) fn tokens_of_head<'b>(&mut self, head: &'b [u8]) -> Tokens<'b, '_> {
        find_tokens(head, &mut self.offsets);
        Tokens { text: head, offsets: &self.offsets }
    }

    /// Gives memory back after an unusually large text.
    pub(super) fn trim(&mut self) {
        let tape = self.tape.0.capacity() * size_of::<simd_json::Node<'_>>();
        let offsets = self.offsets.capacity() * size_of::<u32>();
        if self.copy.capacity() + tape + offsets > SCRATCH_BYTES_KEPT {
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

/// The offsets of the tokens at the head of a text, as far as nesting goes no deeper than [`JSON_DEPTH_MAX`].
fn find_tokens(text: &[u8], offsets: &mut Vec<u32>) {
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
            return;
        };
        if depth > JSON_DEPTH_MAX {
            return;
        }
        offsets.push(offset);
        at = next;
    }
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
    use serde_json::value::RawValue;

    use super::*;

    /// Whether both readers take the text, the small one's and, behind white space that makes it large, the large one's.
    fn accepts(text: &[u8]) -> bool {
        let mut scratch = Scratch::new();
        let small = scratch.tokens(text).map(|tokens| tokens.offsets.to_vec());
        let large = [text, &[b' '; SMALL_JSON_BYTES_MAX]].concat();
        assert_eq!(scratch.tokens(&large).map(|tokens| tokens.offsets.to_vec()), small, "{}", text.escape_ascii());
        small.is_ok()
    }

    /// What `serde_json` takes as deep as we do.
    fn serde_accepts(text: &[u8]) -> bool {
        serde_json::from_slice::<&RawValue>(text).is_ok()
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
            (b"[1e+]", false),
            (b"[-0.0e-0,0E0,10,0]", true),
            (b"[00]", false),
            (b"[-01]", false),
            (b"[1.e1]", false),
            (b"[1.5.5]", false),
            (b"[1e1e1]", false),
            (b"[1-1]", false),
            (b"[--1]", false),
            (b"-", false),
            (b"-0", true),
            (b"[1 2]", false),
            (b"[1,,2]", false),
            (b"[,1]", false),
            (b"[}", false),
            (b"{]", false),
            (b"[{]}", false),
            (b"{\"a\":}", false),
            (b"{\"a\":1 \"b\":2}", false),
            (b"{\"a\",1}", false),
            (b"{,}", false),
            (b"[\"a\":1]", false),
            (b"{1:1}", false),
            (b"]", false),
            (b",", false),
            (b"1,2", false),
            (b"tru", false),
            (b"True", false),
            (b"falsenull", false),
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
            (br#"["\/\b\f\n\r\t\\\u00e9\uABCD"]"#, true),
            (br#"["\x"]"#, false),
            (br#"["\U0041"]"#, false),
            (br#"["\"#, false),
            (br#"["\u"#, false),
            (br#"["\u12g4"]"#, false),
            (br#"["\u123"]"#, false),
            (b"[\"a]", false),
            (b"[\"a\\\"]", false),
            (b"// x\n[]", false),
        ];
        for (text, expected) in cases {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(accepts(text), *expected, "{shown}");
            assert_eq!(serde_accepts(text), *expected, "serde_json: {shown}");
        }
    }

    #[test]
    fn depth_is_bounded_by_both_readers() {
        assert!(accepts(nested(JSON_DEPTH_MAX).as_bytes()));
        assert!(!accepts(nested(JSON_DEPTH_MAX + 1).as_bytes()));
        let big_number_inside = |depth: usize| nested(depth).replace("[]", "[1e999]");
        assert!(accepts(big_number_inside(JSON_DEPTH_MAX).as_bytes()));
        assert!(!accepts(big_number_inside(JSON_DEPTH_MAX + 1).as_bytes()));
        assert!(!accepts("[".repeat(1_000_000).as_bytes()));
    }

    #[test]
    fn all_readers_find_the_same_tokens() {
        let texts = [
            r#" {"id":1,"method":"eth_call","params":[{"to":"0x\"\\"},"latest" ],"x":{"y" : [ ] , "z":null}} "#,
            r#"[true,false , null,-1.5e3,"",{},[]]"#,
            "\"top\"",
        ];
        for text in texts {
            let mut scratch = Scratch::new();
            let strict = scratch.tokens(text.as_bytes()).unwrap().offsets.to_vec();
            assert_eq!(scratch.tokens_of_head(text.as_bytes()).offsets, strict, "{text}");
            assert!(scratch.validates(text.as_bytes()));
            assert_eq!(scratch.buffers.structural_indexes(), strict, "{text}");
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

    /// A string of a length about a word's or two, with anything in it at any place.
    fn string() -> impl Strategy<Value = Vec<u8>> {
        let odd: [&[u8]; 8] = [b"\\", b"\"", b"\\u12aF", b"\\n", b"\x1f", b"\x7f", b"\xc3\xa9", b"\x80"];
        let odd = prop::sample::select(odd.to_vec());
        ("[a-z]{0,18}", proptest::option::of(odd), "[0-9]{0,18}").prop_map(|(before, odd, after)| {
            [b"\"", before.as_bytes(), odd.unwrap_or_default(), after.as_bytes(), b"\""].concat()
        })
    }

    const TEXTS: [&str; 3] = [
        r#"{"jsonrpc":"2.0","id":4711,"method":"eth_call","params":[{"to":"0x407d73d8a49eeb85d32c","gas":null},"latest"]}"#,
        r#"[{"id":"\u00e9\\","result":{"a":[-1.5e+7,0,true,false],"b":{}}} , {"id":0.25,"error":{"code":-32000}}]"#,
        r#" {"id" : null , "result" : [ [ ] , { } , "" , 12345678901234567890 , 1e999 , "\ud800" ] } "#,
    ];

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
            prop_assert_eq!(accepts(text.as_bytes()), serde_accepts(text.as_bytes()));
        }

        #[test]
        fn strings_are_serde_jsons(strings in proptest::collection::vec(string(), 1..3), blanks in 0..9_usize) {
            let text = [b"[", strings.join(&b","[..]).as_slice(), &b" ".repeat(blanks), b"]"].concat();
            prop_assert_eq!(accepts(&text), serde_accepts(&text));
        }

        /// Good texts with one byte changed, put in or taken out.
        #[test]
        fn spoilt_texts_are_judged_as_by_serde_json(
            text in prop::sample::select(&TEXTS[..]), at in any::<prop::sample::Index>(), change in 0..3,
            byte in prop_oneof![any::<u8>(), prop::sample::select(&b"\"\\{}[],:0-.e \n"[..])],
        ) {
            let mut text = text.as_bytes().to_vec();
            let at = at.index(text.len());
            match change {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => drop(text.remove(at)),
            }
            prop_assert_eq!(accepts(&text), serde_accepts(&text));
        }

        #[test]
        fn arbitrary_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(accepts(&text), serde_accepts(&text));
            Scratch::new().tokens_of_head(&text);
        }
    }
}
