//! Whole and decimal numbers with bounds, and shares.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

use crate::config::given::Plain;

/// A whole number between two bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count<const MIN: u64, const MAX: u64>(u64);

/// The number of a core.
pub(crate) type Core = Count<0, 65_535>;

impl<const MIN: u64, const MAX: u64> Count<MIN, MAX> {
    /// A default; not compiled when out of bounds, in a `const`.
    #[must_use]
    pub(crate) const fn of(number: u64) -> Self {
        assert!(MIN <= number && number <= MAX, "a default is within its bounds");
        Self(number)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(CountVisitor::<MIN, MAX>)
    }
}

struct CountVisitor<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Visitor<'_> for CountVisitor<MIN, MAX> {
    type Value = Count<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number, {MIN} to {MAX}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        if (MIN..=MAX).contains(&number) {
            Ok(Count(number))
        } else {
            Err(E::custom(format_args!("out of bounds: {MIN} to {MAX}")))
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_u64(u64::try_from(number).map_err(|_| E::custom(format_args!("out of bounds: {MIN} to {MAX}")))?)
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Count<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Count<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Count{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

impl<const MIN: u64, const MAX: u64> Plain for Count<MIN, MAX> {
    type Out = u64;

    fn plain(&self) -> u64 {
        self.0
    }
}

/// A JSON-RPC error's code: any whole number, and mostly a negative one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorCode(i32);

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(ErrorCodeVisitor)
    }
}

struct ErrorCodeVisitor;

impl Visitor<'_> for ErrorCodeVisitor {
    type Value = ErrorCode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of 32 bits")
    }

    fn visit_i64<E: Error>(self, code: i64) -> Result<ErrorCode, E> {
        let beyond = |_| E::custom(format_args!("out of bounds: {} to {}", i32::MIN, i32::MAX));
        i32::try_from(code).map(ErrorCode).map_err(beyond)
    }

    fn visit_u64<E: Error>(self, code: u64) -> Result<ErrorCode, E> {
        self.visit_i64(i64::try_from(code).unwrap_or(i64::MAX))
    }
}

impl JsonSchema for ErrorCode {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ErrorCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX })
    }
}

impl Plain for ErrorCode {
    type Out = i64;

    fn plain(&self) -> i64 {
        self.0.into()
    }
}

/// A decimal number between two bounds in thousandths, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decimal<const MIN: u64, const MAX: u64>(f64);

impl<const MIN: u64, const MAX: u64> Decimal<MIN, MAX> {
    /// A default; not compiled when out of bounds, in a `const`.
    #[must_use]
    pub(crate) const fn of(number: f64) -> Self {
        assert!(thousandths(MIN) <= number && number <= thousandths(MAX), "a default is within its bounds");
        Self(number)
    }

    fn checked<E: Error>(number: f64) -> Result<Self, E> {
        let (min, max) = (thousandths(MIN), thousandths(MAX));
        // Not a number is in no range.
        if (min..=max).contains(&number) {
            Ok(Self(number))
        } else {
            Err(E::custom(format_args!("out of bounds: {min} to {max}")))
        }
    }
}

/// Bounds are far below 2^53.
#[allow(clippy::cast_precision_loss)]
const fn thousandths(number: u64) -> f64 {
    number as f64 / 1000.0
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Decimal<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(DecimalVisitor::<MIN, MAX>)
    }
}

struct DecimalVisitor<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Visitor<'_> for DecimalVisitor<MIN, MAX> {
    type Value = Decimal<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number, {} to {}", thousandths(MIN), thousandths(MAX))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Decimal::checked(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Decimal::checked(u32::try_from(number).map_or(f64::INFINITY, f64::from))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Decimal::checked(-1.0)
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Decimal<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Decimal<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Decimal{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Whole ones as JSON has them, without a point.
        let bound = |number: u64| {
            if number.is_multiple_of(1000) { (number / 1000).into() } else { serde_json::json!(thousandths(number)) }
        };
        json_schema!({ "type": "number", "minimum": bound(MIN), "maximum": bound(MAX) })
    }
}

impl<const MIN: u64, const MAX: u64> Plain for Decimal<MIN, MAX> {
    type Out = f64;

    fn plain(&self) -> f64 {
        self.0
    }
}

/// A share of a whole, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(f64);

impl Share {
    pub(crate) const NONE: Self = Self(0.0);

    /// A default; not compiled when out of bounds, in a `const`.
    #[must_use]
    pub(crate) const fn of(share: f64) -> Self {
        assert!(0.0 <= share && share <= 1.0, "a default is within its bounds");
        Self(share)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(ShareVisitor)
    }
}

struct ShareVisitor;

impl Visitor<'_> for ShareVisitor {
    type Value = Share;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share, 0 to 1")
    }

    fn visit_f64<E: Error>(self, share: f64) -> Result<Share, E> {
        // Not a number is in no range.
        if (0.0..=1.0).contains(&share) { Ok(Share(share)) } else { Err(E::custom("out of bounds: 0 to 1")) }
    }

    fn visit_u64<E: Error>(self, share: u64) -> Result<Share, E> {
        match share {
            0 => Ok(Share(0.0)),
            1 => Ok(Share(1.0)),
            _ => Err(E::custom("out of bounds: 0 to 1")),
        }
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Share, E> {
        Err(E::custom("out of bounds: 0 to 1"))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl JsonSchema for Share {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

impl Plain for Share {
    type Out = f64;

    fn plain(&self) -> f64 {
        self.0
    }
}
