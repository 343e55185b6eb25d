//! Text that is never shown.

use super::{Refusal, Text, text_type};
use crate::config::Secret;
use crate::config::reader::SECRET;
use crate::ledger::StoreAddress;
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

/// What clients' keys are hashed under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pepper(Secret);

impl Text for Pepper {
    const EXPECTED: &'static str = "a secret from the environment, such as \"${LIVECHAIN_PEPPER}\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if (limits::PEPPER_BYTES_MIN..=limits::PEPPER_BYTES_MAX).contains(&text.len()) {
            return Ok(Self(Secret::new(text)));
        }
        let (min, max) = (limits::PEPPER_BYTES_MIN, limits::PEPPER_BYTES_MAX);
        Err(format!("a pepper has {min} to {max} bytes; `openssl rand -hex 32` makes one").into())
    }
}

text_type!(Pepper => Secret, Some(SECRET), { "type": "string", "writeOnly": true });

/// Where the ledger is; it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Store(StoreAddress);

impl Text for Store {
    const EXPECTED: &'static str = "\"sqlite:PATH\" or \"postgres://user:${PASSWORD}@host/database\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().map(Self).map_err(|error: crate::ledger::AddressError| Refusal::from(error.to_string()))
    }
}

text_type!(Store => StoreAddress, Some(SECRET), { "type": "string", "writeOnly": true });
