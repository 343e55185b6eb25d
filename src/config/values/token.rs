//! What tokens (JWT) are held against.

use super::{Refusal, Text, text_type};
use crate::config::Secret;
use crate::config::reader::SECRET;
use crate::limits;

/// An issuer, an audience or the name of a claim, as it stands in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimText(String);

impl ClaimText {
    #[must_use]
    pub(crate) fn of(text: &'static str) -> Self {
        Self(text.to_owned())
    }
}

impl Text for ClaimText {
    const EXPECTED: &'static str = "a text as it stands in tokens";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if (1..=limits::TOKEN_TEXT_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("expected {}, of 1 to {} bytes", Self::EXPECTED, limits::TOKEN_TEXT_BYTES_MAX).into())
    }
}

text_type!(ClaimText => String, None, { "type": "string", "maxLength": limits::TOKEN_TEXT_BYTES_MAX });

impl serde::Serialize for ClaimText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What issuer and node share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedSecret(Secret);

impl Text for SharedSecret {
    const EXPECTED: &'static str = "a secret from the environment, such as \"${LIVECHAIN_JWT_SECRET}\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let (min, max) = (limits::TOKEN_SECRET_BYTES_MIN, limits::TOKEN_SECRET_BYTES_MAX);
        if (min..=max).contains(&text.len()) {
            return Ok(Self(Secret::new(text)));
        }
        Err(format!("a secret for HS256 has {min} to {max} bytes; `openssl rand -hex 32` makes one").into())
    }
}

text_type!(SharedSecret => Secret, Some(SECRET), { "type": "string", "writeOnly": true });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_tokens_are_bounded() {
        let longest = "a".repeat(limits::TOKEN_TEXT_BYTES_MAX);
        for (text, fine) in [
            ("https://issuer.example/", true),
            ("urn:a:b c", true),
            (&longest, true),
            ("", false),
            ("a\nb", false),
            (&format!("{longest}a"), false),
        ] {
            assert_eq!(ClaimText::parse(text).is_ok(), fine, "{text:.20}");
        }
    }

    #[test]
    fn a_secret_is_as_long_as_its_hash() {
        for (length, fine) in [(0, false), (31, false), (32, true), (1024, true), (1025, false)] {
            assert_eq!(SharedSecret::parse(&"s".repeat(length)).is_ok(), fine, "{length}");
        }
    }
}
