//! Headers sent to a provider.

use super::{Refusal, Text, text_type};
use crate::config::Secret;
use crate::config::reader::SECRET;
use crate::limits;

/// Those that frame a message or that we set: a second opinion about them is how requests get smuggled.
const OURS: [&str; 16] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-livechain-hop",
];

/// A header's name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderName(String);

impl Text for HeaderName {
    const EXPECTED: &'static str = "a header's name";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || text.len() > limits::LABEL_BYTES_MAX || !text.bytes().all(token) {
            return Err("a header's name has letters, digits and `-`".into());
        }
        let name = text.to_ascii_lowercase();
        if OURS.contains(&name.as_str()) || name.starts_with("sec-websocket-") {
            return Err(format!("`{name}` is set by the proxy itself and cannot be configured").into());
        }
        Ok(Self(name))
    }
}

text_type!(HeaderName => String, None, { "type": "string" });

/// A header's value, secret because credentials are what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderValue(Secret);

impl Text for HeaderValue {
    const EXPECTED: &'static str = "a header's value";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let fine = text.bytes().all(|byte| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic());
        if !fine || text.trim_matches([' ', '\t']) != text {
            return Err("a header's value has visible ASCII characters, and spaces only between them".into());
        }
        if text.len() > limits::PROVIDER_HEADER_BYTES_MAX {
            return Err(format!("a header's value has at most {} bytes", limits::PROVIDER_HEADER_BYTES_MAX).into());
        }
        Ok(Self(Secret::new(text)))
    }
}

text_type!(HeaderValue => Secret, Some(SECRET), { "type": "string", "writeOnly": true });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_and_not_ours() {
        let check = |text, expected: Option<&str>| {
            assert_eq!(HeaderName::parse(text).ok().map(|name| name.0).as_deref(), expected);
        };
        check("X-Api-Key", Some("x-api-key"));
        check("Authorization", Some("authorization"));
        for wrong in
            ["", "a b", "a:", "é", "Host", "content-LENGTH", "Transfer-Encoding", "Sec-WebSocket-Key", "a\r\nb"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn values_cannot_end_the_line() {
        let check = |text, fine| assert_eq!(HeaderValue::parse(text).is_ok(), fine, "{text:?}");
        check("Bearer k3y", true);
        check("", true);
        for wrong in ["a\r\nb", "a\nb", "a\rb", "a\0b", "é", " a", "a ", "a\x7f"] {
            check(wrong, false);
        }
    }
}
