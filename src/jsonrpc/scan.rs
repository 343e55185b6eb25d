//! Walking an object or an array by its tokens: raw byte ranges of keys, values and elements, one level at a time.
//!
//! Right for a validated text. For the head of a text the walk ends where the head does, and the last member may
//! have begun only ([`Member::whole`]). Whatever the input, nothing panics and every range lies within the text.

use std::borrow::Cow;
use std::ops::Range;

use super::tokens::{Tokens, string_end};
use crate::swar::find;

/// One `"key": value` of an object.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The key with its quotes.
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
    /// The number of the value's first token, to walk on inside it.
    pub(super) token: usize,
    /// False when the text ends before the value does.
    pub(super) whole: bool,
}

/// The members of one object, in order.
#[derive(Debug)]
pub(super) struct Members<'b, 's> {
    tokens: Tokens<'b, 's>,
    next: usize,
}

impl<'b, 's> Tokens<'b, 's> {
    /// The first byte of token number `token`.
    pub(super) fn byte(&self, token: usize) -> Option<u8> {
        self.text.get(self.offset(token)?).copied()
    }

    /// Where token number `token` begins.
    pub(super) fn offset(&self, token: usize) -> Option<usize> {
        self.offsets.get(token).and_then(|&offset| usize::try_from(offset).ok())
    }

    /// The members of the object that begins at token number `token`; none when no object does.
    pub(super) fn members(self, token: usize) -> Members<'b, 's> {
        let next = if self.byte(token) == Some(b'{') { token + 1 } else { usize::MAX };
        Members { tokens: self, next }
    }

    /// The range of the value that begins at token number `token`, and the number of the token behind it.
    #[inline]
    pub(super) fn value(&self, token: usize) -> Option<(Range<usize>, usize)> {
        let start = self.offset(token)?;
        if !matches!(self.byte(token)?, b'{' | b'[') {
            let end = self.offset(token + 1).unwrap_or(self.text.len());
            return Some((start..trimmed_end(self.text, start, end), token + 1));
        }
        let mut depth = 0_usize;
        for (n, &offset) in self.offsets.get(token..)?.iter().enumerate() {
            let at = usize::try_from(offset).ok()?;
            // `[` and `{`, `]` and `}` differ in one bit.
            match self.text.get(at)? | 0x20 {
                b'{' => depth += 1,
                b'}' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some((start..at + 1, token + n + 1));
                    }
                }
                _ => {}
            }
        }
        None
    }
}

impl Members<'_, '_> {
    /// Behind the closing brace, once the members are used up: its offset and the number of the next token.
    pub(super) fn end(&self) -> Option<(usize, usize)> {
        (self.tokens.byte(self.next) == Some(b'}'))
            .then(|| Some((self.tokens.offset(self.next)? + 1, self.next + 1)))?
    }
}

impl Iterator for Members<'_, '_> {
    type Item = Member;

    #[inline]
    fn next(&mut self) -> Option<Member> {
        let tokens = self.tokens;
        let first = if tokens.byte(self.next)? == b',' { self.next + 1 } else { self.next };
        if tokens.byte(first)? != b'"' || tokens.byte(first + 1)? != b':' {
            return None;
        }
        let quote = tokens.offset(first)?;
        let key = quote..trimmed_end(tokens.text, quote, tokens.offset(first + 1)?);
        let token = first + 2;
        let start = tokens.offset(token)?;
        if let Some((value, behind)) = tokens.value(token) {
            self.next = behind;
            // The last scalar of a head may go on behind it.
            let whole = tokens.offset(behind).is_some() || matches!(tokens.text[value.end - 1], b'}' | b']');
            return Some(Member { key, value, token, whole });
        }
        self.next = usize::MAX;
        Some(Member { key, value: start..tokens.text.len(), token, whole: false })
    }
}

#[inline]
fn trimmed_end(text: &[u8], start: usize, end: usize) -> usize {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    text[start..end].iter().rposition(|byte| !blank(byte)).map_or(start, |n| start + n + 1)
}

/// Which of `names` the key (with its quotes) spells, escapes undone.
#[inline]
pub(super) fn name_of(key: &[u8], names: &[&str]) -> Option<usize> {
    let inner = key.get(1..key.len().checked_sub(1)?)?;
    let plain = names.iter().position(|name| name.as_bytes() == inner);
    if plain.is_some() || find(inner, b'\\').is_none() {
        return plain;
    }
    let spelt = unescaped(key)?;
    names.iter().position(|name| *name == spelt)
}

/// Which of `names`, lower-case ASCII, a reader that does not mind case takes the key (with its quotes) for. Nodes in Go
/// are such readers: <https://pkg.go.dev/encoding/json#Unmarshal>. Two letters beyond ASCII are `s` and `k` to them.
pub(super) fn name_folded(key: &[u8], names: &[&str]) -> Option<usize> {
    let spelt = unescaped(key)?;
    let folded = spelt.chars().map(|letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    });
    names.iter().position(|name| name.chars().eq(folded.clone()))
}

/// What a string (with its quotes) says. None when that is not text (a lone surrogate).
pub(super) fn unescaped(string: &[u8]) -> Option<Cow<'_, str>> {
    let inner = string.get(1..string.len().checked_sub(1)?)?;
    if find(inner, b'\\').is_none() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice::<String>(string).ok().map(Cow::Owned)
}

/// Of an array's text, the range of its first element (with its quotes) where that is a string.
pub(super) fn first_string(array: &[u8]) -> Option<Range<usize>> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = 1 + array.strip_prefix(b"[")?.iter().position(|byte| !blank(byte))?;
    (array.get(start)? == &b'"').then(|| start..string_end(array, start))
}

#[cfg(test)]
mod tests {
    use super::super::tokens::Scratch;
    use super::*;

    fn members(text: &str) -> Vec<(String, String, bool)> {
        let mut scratch = Scratch::new();
        let tokens = scratch.tokens_of_head(text.as_bytes());
        tokens.members(0).map(|m| (text[m.key].to_owned(), text[m.value].to_owned(), m.whole)).collect()
    }

    #[test]
    fn members_of_an_object() {
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str, bool)]);
        let cases: &[Row<'_>] = &[
            ("{}", &[]),
            ("[]", &[]),
            ("1", &[]),
            (r#"{"a":1}"#, &[("\"a\"", "1", true)]),
            (
                r#" { "a" : 1.5 , "b" : [ 1, {"c":2} ] , "d":"}" } "#,
                &[("\"a\"", "1.5", true), ("\"b\"", r#"[ 1, {"c":2} ]"#, true), ("\"d\"", "\"}\"", true)],
            ),
            // Heads of texts.
            (r#"{"a":1,"b":[1,2"#, &[("\"a\"", "1", true), ("\"b\"", "[1,2", false)]),
            (r#"{"a":12"#, &[("\"a\"", "12", false)]),
            (r#"{"a":"xy"#, &[("\"a\"", "\"xy", false)]),
            (r#"{"a":{"b":1}"#, &[("\"a\"", r#"{"b":1}"#, true)]),
            (r#"{"a":"#, &[]),
            (r#"{"a"#, &[]),
            // Not JSON: an end, no panic.
            ("{,,,", &[]),
            ("{\"a\":}", &[("\"a\"", "}", true)]),
            ("{\"a\":]]", &[("\"a\"", "]", true)]),
        ];
        for (text, expected) in cases {
            let found = members(text);
            let found: Vec<_> = found.iter().map(|(k, v, w)| (k.as_str(), v.as_str(), *w)).collect();
            assert_eq!(&found, expected, "{text}");
        }
    }

    #[test]
    fn keys_are_compared_unescaped() {
        let names = ["id", "method"];
        for (key, expected) in [
            (r#""id""#, Some(0)),
            (r#""\u0069d""#, Some(0)),
            (r#""\u006D\u0065thod""#, Some(1)),
            (r#""ID""#, None),
            (r#""id ""#, None),
            (r#""\ud800""#, None),
            (r#""""#, None),
        ] {
            assert_eq!(name_of(key.as_bytes(), &names), expected, "{key}");
        }
    }

    #[test]
    fn keys_are_compared_as_one_does_who_minds_no_case() {
        let names = ["id", "params", "kind"];
        for (key, expected) in [
            (r#""id""#, Some(0)),
            (r#""Id""#, Some(0)),
            (r#""\u0049\u0044""#, Some(0)),
            ("\"param\u{17f}\"", Some(1)),
            (r#""PARAM\u017f""#, Some(1)),
            ("\"\u{212a}ind\"", Some(2)),
            ("\"\u{131}d\"", None),
            (r#""i d""#, None),
            (r#""ids""#, None),
            (r#""\ud800""#, None),
            (r#""""#, None),
        ] {
            assert_eq!(name_folded(key.as_bytes(), &names), expected, "{key}");
        }
    }
}
