//! What one value may be: each type reads a TOML value, refuses what is out of bounds, and describes itself in the schema.
//!
//! A refusal says what is expected and never quotes what it found: whether a value is secret is the reader's business.

mod address;
mod error;
mod header;
mod number;
mod redis;
mod secret;
mod size;
mod text;
mod time;
mod token;
mod url;

pub(crate) use address::{Address, Network, OptionalAddress};
pub(crate) use error::{ErrorClass, ErrorScope, Words};
pub(crate) use header::{HeaderName, HeaderValue};
pub(crate) use number::{Core, Count, Decimal, ErrorCode, Share};
pub(crate) use redis::RedisUrl;
pub(crate) use secret::{Pepper, Store, Token};
pub(crate) use size::Size;
pub(crate) use text::{
    CallsOver, ChainName, ClientCertificates, File, Format, Label, Level, MethodPattern, Origin, Routing,
};
pub(crate) use time::Time;
pub(crate) use token::{ClaimText, SharedSecret};
pub(crate) use url::{HttpUrl, WsUrl};

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Visitor};

use super::given::Plain;

/// Why a text is refused.
type Refusal = std::borrow::Cow<'static, str>;

/// A value written as a string.
trait Text: Sized {
    /// What is expected, as in "expected a duration such as …".
    const EXPECTED: &'static str;

    fn parse(text: &str) -> Result<Self, Refusal>;
}

/// Reads a [`Text`]; with a name ([`SECRET`](super::reader::SECRET)), as text that must not be shown.
fn text<'de, T: Text, D: Deserializer<'de>>(deserializer: D, secret: Option<&'static str>) -> Result<T, D::Error> {
    match secret {
        Some(name) => deserializer.deserialize_newtype_struct(name, TextVisitor(PhantomData)),
        None => deserializer.deserialize_str(TextVisitor(PhantomData)),
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<'de, T: Text> Visitor<'de> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::parse(text).map_err(E::custom)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Plain for bool {
    type Out = Self;

    fn plain(&self) -> Self {
        *self
    }
}

/// Gives a text type its serde, schema and defaults: `Type => inner type, schema, secret name`.
macro_rules! text_type {
    ($(#[$generics:meta])* $type:ty => $out:ty, $secret:expr, $schema:tt $(, <$(const $bound:ident: $kind:ty),+>)?) => {
        impl<'de $(, $(const $bound: $kind),+)?> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::values::text(deserializer, $secret)
            }
        }

        impl $(<$(const $bound: $kind),+>)? schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                std::any::type_name::<Self>().into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }

        impl $(<$(const $bound: $kind),+>)? $crate::config::given::Plain for $type {
            type Out = $out;

            fn plain(&self) -> $out {
                self.0.clone()
            }
        }
    };
}
use text_type;

/// The least characters that a duration or a size is written with: the largest unit that divides it.
fn with_unit(amount: u64, units: &[(&str, u64)]) -> String {
    let fits =
        units.iter().filter(|(_, size)| amount != 0 && amount.is_multiple_of(*size)).max_by_key(|(_, size)| *size);
    match fits.or(units.first()) {
        Some((unit, size)) => format!("{}{unit}", amount / size),
        None => amount.to_string(),
    }
}

/// A whole number and its unit, in the smallest unit.
fn parse_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*size)
}
