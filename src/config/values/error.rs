//! How a provider's errors are recognised, and what they are.

use super::{Refusal, Text, text_type};
use crate::jsonrpc::{Class, Scope};
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

/// Which calls are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ErrorScope(Scope);

impl Text for ErrorScope {
    const EXPECTED: &'static str = "a scope: \"provider\" or \"method_class\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "provider" => Ok(Self(Scope::Provider)),
            "method_class" => Ok(Self(Scope::MethodClass)),
            _ => Err(format!("expected {}", Self::EXPECTED).into()),
        }
    }
}

text_type!(ErrorScope => Scope, None, { "type": "string", "enum": ["provider", "method_class"] });

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
