//! A value with its place in the file, which is read even when it is wrong.
//!
//! `serde` stops at the first error; an operator wants all of them. So every field of `raw` is a [`Given`], whose
//! reading never fails: the reader notes the problem, and the field is left without a value. Four states follow:
//!
//! | place | value | it is |
//! |---|---|---|
//! | no | no | required and missing |
//! | no | yes | the default |
//! | yes | no | wrong, and already reported |
//! | yes | yes | what the operator wrote |

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// The name under which a [`Given`] asks the reader for a value's place and, last, the value itself.
pub(super) const GIVEN: &str = "livechain::Given";

/// A value of the file, or what stands for it.
#[derive(Clone, Debug)]
pub(crate) struct Given<T> {
    value: Option<T>,
    span: Option<Range<usize>>,
}

/// What a checked value is to the program: `"12s"` a `Duration`, a chain's name a `String`.
pub(crate) trait Plain {
    type Out;
    fn plain(&self) -> Self::Out;
}

impl<T> Given<T> {
    /// What holds when the operator writes nothing.
    #[must_use]
    pub(crate) const fn default_of(value: T) -> Self {
        Self { value: Some(value), span: None }
    }

    #[must_use]
    pub(crate) const fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Byte offsets in the file; none when it does not stand there.
    #[must_use]
    pub(crate) fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    #[must_use]
    pub(crate) const fn is_written(&self) -> bool {
        self.span.is_some()
    }

    /// Required, and not in the file.
    #[must_use]
    pub(crate) const fn is_missing(&self) -> bool {
        self.span.is_none() && self.value.is_none()
    }
}

impl<T: Plain> Given<T> {
    #[must_use]
    pub(crate) fn plain(&self) -> Option<T::Out> {
        self.get().map(Plain::plain)
    }
}

impl<T: Default> Default for Given<T> {
    fn default() -> Self {
        Self::default_of(T::default())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As an option, because that is the one shape serde can make of a key that is not there.
        deserializer.deserialize_option(GivenVisitor(PhantomData))
    }
}

struct GivenVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for GivenVisitor<T> {
    type Value = Given<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Given { value: None, span: None })
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_newtype_struct(GIVEN, self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let start = parts.next_element()?.unwrap_or_default();
        let end = parts.next_element()?.unwrap_or_default();
        // The reader has noted why, should there be no value.
        let value = parts.next_element().ok().flatten();
        Ok(Given { value, span: Some(start..end) })
    }
}

impl<T: Serialize> Serialize for Given<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Given<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A table whose keys the operator chooses, in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V>(pub Vec<(Given<K>, Given<V>)>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Table<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

struct TableVisitor<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for TableVisitor<K, V> {
    type Value = Table<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<(Given<K>, Given<V>)> = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        // The parser sorts by key.
        entries.sort_by_key(|(key, _)| key.span.as_ref().map(|span| span.start));
        Ok(Table(entries))
    }
}

impl<K, V: JsonSchema> JsonSchema for Table<K, V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("TableOf{}", V::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<V>();
        schemars::json_schema!({ "type": "object", "additionalProperties": value })
    }
}
