//! The address of Redis or Valkey.

use super::{Refusal, Text, text_type};
use crate::config::Secret;
use crate::config::reader::SECRET_URL;
use crate::limits;

/// `redis://` or `rediss://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedisUrl(Secret);

impl Text for RedisUrl {
    const EXPECTED: &'static str = "the address of Redis or Valkey, such as \"rediss://user:${PASSWORD}@host:6380/0\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let is_number = |path: &str| path.is_empty() || path.parse::<u8>().is_ok();
        let fine = |url: url::Url| {
            matches!(url.scheme(), "redis" | "rediss")
                && url.host_str().is_some_and(|host| !host.is_empty())
                && is_number(url.path().trim_start_matches('/'))
                && url.query().is_none()
                && url.fragment().is_none()
        };
        if text.len() <= limits::URL_BYTES_MAX && url::Url::parse(text).is_ok_and(fine) {
            return Ok(Self(Secret::new(text)));
        }
        Err(format!("expected {}", Self::EXPECTED).into())
    }
}

text_type!(RedisUrl => Secret, Some(SECRET_URL), { "type": "string", "format": "uri-template", "writeOnly": true });
