//! How a provider's errors are recognised, and what they are.

use super::{Refusal, Text, text_type};
use crate::jsonrpc::Class;
use crate::limits;

/// A class of errors by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorClass(Class);

impl Text for ErrorClass {
    const EXPECTED: &'static str = "a class of errors";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let names = || Class::ALL.map(Class::name).join(", ");
        Class::from_name(text).map(Self).ok_or_else(|| format!("expected {}: {}", Self::EXPECTED, names()).into())
    }
}

text_type!(ErrorClass => Class, None, { "type": "string", "enum": Class::ALL.map(Class::name) });

/// Part of a message. Not empty, for that is in every message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words(String);

impl Text for Words {
    const EXPECTED: &'static str = "a part of the error's message";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text.len() {
            1..=limits::ERROR_WORDS_BYTES_MAX => Ok(Self(text.to_owned())),
            _ => Err(format!("expected 1 to {} bytes", limits::ERROR_WORDS_BYTES_MAX).into()),
        }
    }
}

text_type!(Words => String, None, { "type": "string", "maxLength": limits::ERROR_WORDS_BYTES_MAX });
