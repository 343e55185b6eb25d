//! What of an operator's file may be shown: the file's text again, byte for byte as long, with everything else masked.
//!
//! Problems are drawn over lines of the file, and such a line may hold a provider's key. Nothing is shown because it looks
//! harmless, only because it is known to be: punctuation, keys, and values that a type read which is not secret (the
//! reader's [`Visible`]). Values under unknown keys are masked therefore, and comments, where old keys live, are blanked.
//! Of a secret, `${NAME}` stays as written, and of a URL scheme and host where both are beyond doubt.
//!
//! When the TOML is broken nothing is known about any value. Then only the known keys' own words stay, and unquoted words
//! behind a key that is never secret, unless something in the file could make that line part of a secret.
//!
//! As every masked character keeps its length in bytes, places in the file are places in the masked text too.

use std::ops::Range;

use toml::de::DeValue;

use super::environment;
use super::schema::Vocabulary;

/// Longest key shown: ours are shorter, and what is longer may be a misplaced value.
const KEY_BYTES_MAX: usize = 64;

/// Places of values that may be shown, in byte offsets.
#[derive(Debug, Default)]
pub(super) struct Visible {
    pub(super) values: Vec<Range<usize>>,
    /// Secret URLs, whose scheme and host may be.
    pub(super) urls: Vec<Range<usize>>,
}

/// Whether a key as the operator wrote it may be shown: a bare one, of a key's length.
pub(super) fn may_show_key(key: &str) -> bool {
    key.len() <= KEY_BYTES_MAX && key.bytes().all(is_word)
}

/// The masked text of a well-formed file.
pub(super) fn mask(source: &str, document: &DeValue<'_>, visible: &Visible) -> String {
    let mut canvas = Canvas::new(source);
    let mut values = Vec::new();
    collect_values(document, 0..source.len(), &mut values);
    values.sort_by_key(|span| span.start);
    let mut from = 0;
    for value in &values {
        canvas.show_structure(from..value.start);
        canvas.show_secret(value.clone());
        from = value.end.max(from);
    }
    canvas.show_structure(from..source.len());
    for url in &visible.urls {
        canvas.show_url(url.clone());
    }
    for value in &visible.values {
        canvas.show(value.clone());
    }
    canvas.paint()
}

/// The masked text of a file that is not TOML.
pub(super) fn mask_broken(source: &str, words: &Vocabulary) -> String {
    let mut canvas = Canvas::new(source);
    let certain = !["headers", "\"\"\"", "'''"].iter().any(|doubt| source.contains(doubt));
    for line in lines(source) {
        let text = &source[line.clone()];
        let code = text.find('#').map_or(line.end, |at| line.start + at);
        let key = text.split_once('=').map(|(key, _)| key.trim());
        let public = certain && key.is_some_and(|key| words.is_public(key));
        let quotes = text.find(['"', '\'']).map_or(code, |at| line.start + at);
        for word in runs(source, line.clone(), is_word) {
            if words.is_key(&source[word.clone()]) || (public && word.end <= quotes.min(code)) {
                canvas.show(word);
            }
        }
        for mark in runs(source, line.start..code, |byte| b"=[]{},.\"'".contains(&byte)) {
            canvas.show(mark);
        }
    }
    canvas.paint()
}

/// Places of everything that is a value and not a table or an array.
fn collect_values(value: &DeValue<'_>, span: Range<usize>, values: &mut Vec<Range<usize>>) {
    match value {
        DeValue::Table(table) => {
            table.iter().for_each(|(_, value)| collect_values(value.get_ref(), value.span(), values));
        }
        DeValue::Array(array) => array.iter().for_each(|value| collect_values(value.get_ref(), value.span(), values)),
        _ => values.push(span),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ink {
    Masked,
    Shown,
    Blank,
}

/// The source, and for each byte whether it is shown.
struct Canvas<'s> {
    source: &'s str,
    ink: Vec<Ink>,
}

impl<'s> Canvas<'s> {
    fn new(source: &'s str) -> Self {
        Self { source, ink: vec![Ink::Masked; source.len()] }
    }

    fn fill(&mut self, span: Range<usize>, ink: Ink) {
        if let Some(bytes) = self.ink.get_mut(span) {
            bytes.fill(ink);
        }
    }

    fn show(&mut self, span: Range<usize>) {
        self.fill(span, Ink::Shown);
    }

    /// What stands between values: keys, punctuation and comments.
    fn show_structure(&mut self, span: Range<usize>) {
        let bytes = self.source.as_bytes();
        let mut at = span.start;
        while at < span.end {
            let rest = &bytes[at..span.end];
            let length = match bytes[at] {
                b'#' => {
                    let length = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
                    self.fill(at..at + length, Ink::Blank);
                    length
                }
                quote @ (b'"' | b'\'') => quoted_length(rest, quote),
                byte if is_word(byte) => {
                    let length = rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len());
                    if length <= KEY_BYTES_MAX {
                        self.show(at..at + length);
                    }
                    length
                }
                byte => {
                    if b"=[]{},.".contains(&byte) {
                        self.show(at..at + 1);
                    }
                    1
                }
            };
            at += length;
        }
    }

    /// A secret value: its quotes, and the references in it without their defaults.
    fn show_secret(&mut self, span: Range<usize>) {
        let text = &self.source[span.clone()];
        let quotes = text.bytes().take_while(|byte| b"\"'".contains(byte)).count();
        if quotes > 0 && text.len() >= 2 {
            self.show(span.start..span.start + 1);
            self.show(span.end - 1..span.end);
        }
        for (at, _) in text.match_indices("${") {
            let name = text[at + 2..].split([':', '}']).next().unwrap_or_default();
            if environment::is_name(name) && name.len() <= KEY_BYTES_MAX {
                let end = at + 2 + name.len();
                self.show(span.start + at..span.start + end);
                if text[end..].starts_with('}') {
                    self.show(span.start + end..span.start + end + 1);
                }
            }
        }
    }

    fn show_url(&mut self, span: Range<usize>) {
        let text = &self.source[span.clone()];
        for part in public_parts(text).into_iter().flatten() {
            self.show(span.start + part.start..span.start + part.end);
        }
    }

    fn paint(self) -> String {
        let mut painted = String::with_capacity(self.source.len());
        for (at, char) in self.source.char_indices() {
            let kept = self.ink[at] == Ink::Shown || char == '\n' || char == '\r' || char == '\t';
            match (char.len_utf8(), self.ink[at]) {
                _ if kept => painted.push(char),
                (length, Ink::Blank) => painted.extend(std::iter::repeat_n(' ', length)),
                (1, _) if char == ' ' && !self.is_within_value(at) => painted.push(' '),
                (1, _) => painted.push('*'),
                (2, _) => painted.push('×'),
                (3, _) => painted.push('•'),
                (_, _) => painted.push('🞶'),
            }
        }
        painted
    }

    /// Whether what surrounds a space is masked, so that the space is a secret's own.
    fn is_within_value(&self, at: usize) -> bool {
        let masked = |at: usize| self.ink.get(at).is_some_and(|&ink| ink == Ink::Masked);
        let before = self.source[..at].trim_end_matches(' ').len();
        let after = at + self.source[at..].len() - self.source[at..].trim_start_matches(' ').len();
        before > 0 && masked(before - 1) && masked(after)
    }
}

/// Scheme and host of a quoted URL, in offsets of the literal. The host only where nothing in it can be a credential.
fn public_parts(literal: &str) -> [Option<Range<usize>>; 2] {
    let Some(quote) = literal.chars().next().filter(|quote| "\"'".contains(*quote)) else {
        return [None, None];
    };
    let scheme = ["https://", "http://", "wss://", "ws://"].into_iter().find(|scheme| literal[1..].starts_with(scheme));
    let Some(scheme) = scheme.filter(|_| !literal.contains('\\')) else {
        return [None, None];
    };
    let from = 1 + scheme.len();
    let rest = &literal[from..];
    let authority = &rest[..rest.find(['/', '?', '#', quote]).unwrap_or(rest.len())];
    let begin = authority.rfind('@').map_or(0, |at| at + 1);
    let host = &authority[begin..];
    let doubtful = rest[authority.len()..].contains('@');
    let shown = (is_host(host) && !doubtful).then(|| from + begin..from + begin + host.len());
    [Some(1..from), shown]
}

/// A name or an address and at most a port; references may stand for parts of it.
fn is_host(host: &str) -> bool {
    let mut bare = String::new();
    let mut rest = host;
    while let Some((before, reference)) = rest.split_once("${") {
        let Some((name, after)) = reference.split_once('}') else {
            return false;
        };
        if !environment::is_name(name) {
            return false;
        }
        bare.push_str(before);
        bare.push('x');
        rest = after;
    }
    bare.push_str(rest);
    let (name, port) = match bare.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (bare.as_str(), ""),
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    let is_address = address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    (is_name || is_address) && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Length of a quoted key, both quotes included; it never goes over a line's end.
fn quoted_length(text: &[u8], quote: u8) -> usize {
    let mut escaped = false;
    for (at, &byte) in text.iter().enumerate().skip(1) {
        match byte {
            b'\n' => return at,
            _ if escaped => escaped = false,
            b'\\' if quote == b'"' => escaped = true,
            _ if byte == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn lines(source: &str) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    source.split_inclusive('\n').map(move |line| {
        let span = start..start + line.len();
        start = span.end;
        span
    })
}

/// Longest runs of bytes of one kind.
fn runs(source: &str, span: Range<usize>, kind: impl Fn(u8) -> bool) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for at in span {
        match found.last_mut() {
            _ if !kind(source.as_bytes()[at]) => {}
            Some(run) if run.end == at => run.end += 1,
            _ => found.push(at..at + 1),
        }
    }
    found
}
