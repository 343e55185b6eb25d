//! Text that is never shown.

use super::{Refusal, Text, text_type};
use crate::config::Secret;
use crate::config::reader::SECRET;
use crate::limits;

/// A token that clients send as `Authorization: Bearer …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token(Secret);

impl Text for Token {
    const EXPECTED: &'static str = "a token";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let fine = text.bytes().all(|byte| byte.is_ascii_graphic());
        if fine && (1..=limits::ADMIN_TOKEN_BYTES_MAX).contains(&text.len()) {
            Ok(Self(Secret::new(text)))
        } else {
            let max = limits::ADMIN_TOKEN_BYTES_MAX;
            Err(format!("a token has 1 to {max} visible ASCII characters and no space").into())
        }
    }
}

text_type!(Token => Secret, Some(SECRET), { "type": "string", "writeOnly": true });
