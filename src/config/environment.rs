//! `${NAME}` and `${NAME:-default}` in a string, filled from the environment.
//!
//! This happens to parsed strings, never to the file's text: a value with quotes or line ends stays a value. The default
//! also stands for a variable that is set but empty, as in a shell, because that is what compose files make of an absent
//! one. `$${` stands for the characters `${`; any other `$` is itself, so that passwords need no escape. Nothing nests.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Asks the environment for a variable.
pub(super) type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A reference that cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfilled {
    /// Not set, and no default is given.
    Unset(String),
    /// `${` with no name or no end behind it.
    Malformed,
}

impl Unfilled {
    /// Where it stands in the file, given the place of the string: the whole string when escapes hide it.
    pub(super) fn place(&self, source: &str, string: &Range<usize>) -> Range<usize> {
        let text = source.get(string.clone()).unwrap_or_default();
        let found = match self {
            Self::Unset(name) => {
                let reference = format!("${{{name}}}");
                text.find(&reference).map(|at| at..at + reference.len())
            }
            Self::Malformed => None,
        };
        found.map_or_else(|| string.clone(), |at| string.start + at.start..string.start + at.end)
    }
}

impl fmt::Display for Unfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset(name) => write!(f, "the environment variable `{name}` is not set, and no default is given as `${{{name}:-…}}`"),
            Self::Malformed => f.write_str(
                "`${` begins a reference `${NAME}` or `${NAME:-default}`, which this is not; write `$${` for the characters",
            ),
        }
    }
}

/// Whether the text has anything to fill in.
pub(super) fn refers(text: &str) -> bool {
    text.contains("${")
}

/// The text with every reference filled in, or all those that cannot be.
pub(super) fn fill<'t>(text: &'t str, environment: &Environment<'_>) -> Result<Cow<'t, str>, Vec<Unfilled>> {
    if !refers(text) {
        return Ok(Cow::Borrowed(text));
    }
    let mut filled = String::with_capacity(text.len());
    let mut unfilled = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = &from[2..];
            continue;
        }
        filled.push_str(before);
        let Some(reference) = Reference::parse(from) else {
            unfilled.push(Unfilled::Malformed);
            break;
        };
        rest = &from[reference.length..];
        match reference.value(environment) {
            Some(value) => filled.push_str(&value),
            None => unfilled.push(Unfilled::Unset(reference.name.to_owned())),
        }
    }
    filled.push_str(rest);
    if unfilled.is_empty() { Ok(Cow::Owned(filled)) } else { Err(unfilled) }
}

struct Reference<'t> {
    name: &'t str,
    default: Option<&'t str>,
    /// Of the whole, `${` and `}` included.
    length: usize,
}

impl<'t> Reference<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let inner = text.strip_prefix("${")?;
        let inner = &inner[..inner.find('}')?];
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let nested = default.is_some_and(refers);
        (is_name(name) && !nested).then_some(Self { name, default, length: inner.len() + 3 })
    }

    fn value(&self, environment: &Environment<'_>) -> Option<String> {
        match (environment(self.name), self.default) {
            (Some(value), None) => Some(value),
            (Some(value), Some(_)) if !value.is_empty() => Some(value),
            (_, default) => default.map(str::to_owned),
        }
    }
}

/// Letters, digits and `_`, no digit first, as in a shell.
pub(super) fn is_name(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(word) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &[Unfilled]>) {
        let environment = |name: &str| match name {
            "KEY" => Some("k3y".to_owned()),
            "QUOTES" => Some("\"\n[node]".to_owned()),
            "REFERS" => Some("${KEY}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let filled = fill(text, &environment);
        assert_eq!(filled.as_deref().map_err(Vec::as_slice), expected, "{text:?}");
    }

    #[test]
    fn fills_references() {
        check("plain $ and $$ and } stay", Ok("plain $ and $$ and } stay"));
        check("a ${KEY} b ${KEY}", Ok("a k3y b k3y"));
        check("${NONE:-d}/${KEY:-d}/${EMPTY:-d}/${EMPTY}", Ok("d/k3y/d/"));
        check("${NONE:-}", Ok(""));
        check("${NONE:-a:-b}", Ok("a:-b"));
        check("$${KEY} ${KEY}", Ok("${KEY} k3y"));
        check("${QUOTES}", Ok("\"\n[node]"));
    }

    #[test]
    fn a_value_is_not_filled_again() {
        check("${REFERS}", Ok("${KEY}"));
    }

    #[test]
    fn says_all_that_cannot_be_filled() {
        check("${A}/${KEY}/${B}", Err(&[Unfilled::Unset("A".into()), Unfilled::Unset("B".into())]));
        for malformed in ["${", "${}", "${1A}", "${A-B}", "${A:d}", "${A B}", "${A:-${KEY}}"] {
            check(malformed, Err(&[Unfilled::Malformed]));
        }
        check("${A} ${", Err(&[Unfilled::Unset("A".into()), Unfilled::Malformed]));
    }
}
