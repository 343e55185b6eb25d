//! A token's three parts, and what its header says.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, IgnoredAny};

use super::{TokenAlgorithm, TokenFault};
use crate::limits::TOKEN_BYTES_MAX;

/// Texts of base64url.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) header: &'a str,
    pub(super) claims: &'a str,
    pub(super) signature: &'a str,
    /// Header and claims with the dot between, which the signature is over.
    pub(super) signed: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn split(text: &'a [u8]) -> Result<Self, TokenFault> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::Length);
        }
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let text = std::str::from_utf8(text).ok().filter(|text| text.as_bytes().iter().all(allowed));
        let parts = text.and_then(|text| {
            let (signed, signature) = text.rsplit_once('.')?;
            let (header, claims) = signed.split_once('.')?;
            Some(Self { header, claims, signature, signed: signed.as_bytes() })
        });
        let whole = |parts: &Self| {
            let empty = parts.header.is_empty() || parts.claims.is_empty() || parts.signature.is_empty();
            !empty && !parts.claims.contains('.')
        };
        parts.filter(whole).ok_or(TokenFault::Malformed)
    }
}

/// Strictly: no padding, no bits that say nothing.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenFault::Malformed)
}

/// What is looked at of a header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: TokenAlgorithm,
    /// The key's name (`kid`).
    pub(super) key: Option<String>,
}

/// One that stands there twice is an error.
#[derive(serde::Deserialize)]
struct RawHeader {
    alg: String,
    #[serde(default, deserialize_with = "written")]
    kid: Option<String>,
    #[serde(default)]
    crit: Presence,
}

/// Whether a member is there, whatever it is.
#[derive(Default)]
struct Presence(bool);

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

/// A name that is there is a text: null is none.
fn written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

impl Header {
    pub(super) fn read(text: &str) -> Result<Self, TokenFault> {
        let json = decode(text)?;
        // What reads a struct reads an array of its fields, too.
        if json.first() != Some(&b'{') {
            return Err(TokenFault::Malformed);
        }
        let raw: RawHeader = serde_json::from_slice(&json).map_err(|_| TokenFault::Malformed)?;
        if raw.crit.0 {
            return Err(TokenFault::Critical);
        }
        let algorithm = TokenAlgorithm::from_name(&raw.alg).ok_or(TokenFault::Algorithm)?;
        Ok(Self { algorithm, key: raw.kid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(json: &str) -> Result<(TokenAlgorithm, Option<String>), TokenFault> {
        Header::read(&URL_SAFE_NO_PAD.encode(json)).map(|header| (header.algorithm, header.key))
    }

    #[test]
    fn a_token_has_three_parts_of_base64url() {
        let split =
            |text: &[u8]| Parts::split(text).map(|parts| [parts.header, parts.claims, parts.signature].concat());
        assert_eq!(split(b"eyJ.a-_.9"), Ok("eyJa-_9".to_owned()));
        for text in
            [&b""[..], b".", b"..", b"a.b", b"a.b.", b".b.c", b"a..c", b"a.b.c.d", b"a.b=.c", b"a.b.c ", b"a+.b.c"]
        {
            assert_eq!(split(text), Err(TokenFault::Malformed), "{text:?}");
        }
        assert_eq!(split(b"a.b.\xff"), Err(TokenFault::Malformed));
        let longest = format!("a.b.{}", "c".repeat(TOKEN_BYTES_MAX - 4));
        assert!(split(longest.as_bytes()).is_ok());
        assert_eq!(split(format!("{longest}c").as_bytes()), Err(TokenFault::Length));
    }

    #[test]
    fn a_header_says_which_key_and_which_algorithm() {
        let es256 = |key: Option<&str>| Ok((TokenAlgorithm::Es256, key.map(str::to_owned)));
        for (json, expected) in [
            (r#"{"alg":"ES256"}"#, es256(None)),
            (r#"{"typ":"JWT","alg":"ES256","kid":"a"}"#, es256(Some("a"))),
            (r#"{"alg":"ES256","kid":""}"#, es256(Some(""))),
            (r#"{"alg":"ES256","jwk":{"kty":"oct","k":"AA"},"jku":"https://x","x5u":7,"x5c":[]}"#, es256(None)),
            (r#"{"alg":"ES256","kid":null}"#, Err(TokenFault::Malformed)),
            (r#"{"alg":"ES256","kid":7}"#, Err(TokenFault::Malformed)),
            (r#"{"alg":"ES256","alg":"ES256"}"#, Err(TokenFault::Malformed)),
            (r#"{"alg":"ES256","kid":"a","kid":"a"}"#, Err(TokenFault::Malformed)),
            (r#"{"alg":["ES256"]}"#, Err(TokenFault::Malformed)),
            (r#"{"kid":"a"}"#, Err(TokenFault::Malformed)),
            (r#"["ES256","a"]"#, Err(TokenFault::Malformed)),
            (r#"{"alg":"ES256"} {}"#, Err(TokenFault::Malformed)),
            (r#"{"alg":"ES256","crit":["exp"]}"#, Err(TokenFault::Critical)),
            (r#"{"alg":"ES256","crit":[]}"#, Err(TokenFault::Critical)),
            (r#"{"alg":"ES256","crit":null}"#, Err(TokenFault::Critical)),
            (r#"{"alg":"none"}"#, Err(TokenFault::Algorithm)),
            (r#"{"alg":"es256"}"#, Err(TokenFault::Algorithm)),
            (r#"{"alg":""}"#, Err(TokenFault::Algorithm)),
            (r#"{"alg":"PS256"}"#, Err(TokenFault::Algorithm)),
            (r#"{"alg":"HS512"}"#, Err(TokenFault::Algorithm)),
        ] {
            assert_eq!(header(json), expected, "{json}");
        }
    }

    #[test]
    fn base64_is_read_strictly() {
        for text in ["eyJ=", "eyJhbGciOiJFUzI1NiJ9=", "e", "eyJhbGciOiJFUzI1NiJ+"] {
            assert_eq!(Header::read(text).unwrap_err(), TokenFault::Malformed, "{text}");
        }
        // Bits behind the last byte must be zero.
        assert_eq!((decode("AA"), decode("AB")), (Ok(vec![0]), Err(TokenFault::Malformed)));
    }
}
