//! From the parsed TOML, with its places, to `raw` types: every problem is noted, none ends the reading.
//!
//! A `serde` deserializer, so that `raw`'s types are the one description of what may be written: their fields are the
//! known keys, their leaf types (`values`) know what a value may be, and the JSON schema comes from the same derive.
//! What is ours is what happens when something is wrong. An unknown key is noted and passed over here; a value of the
//! wrong shape is noted where a [`Given`](super::given::Given) asks for it, and the field stays without one.
//!
//! On the way, strings are filled from the environment ([`environment`](super::environment)): after parsing, so that a
//! value can never become TOML. And the reader notes which values may be shown, for [`mask`](super::mask): those that a
//! type read which is not secret. A value under an unknown key is read by no type, and so is never shown.

mod fault;
mod parts;

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::environment::{self, Environment};
use super::given::GIVEN;
use super::mask::Visible;
use super::problems::Problem;
use super::similar;
use fault::Fault;
use parts::{Entries, Items, Parts};

/// The name under which a type asks for text that must not be shown.
pub(super) const SECRET: &str = "livechain::Secret";
/// As [`SECRET`], but scheme and host of the URL in it may be shown.
pub(super) const SECRET_URL: &str = "livechain::SecretUrl";

/// What the reading left behind.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) problems: Vec<Problem>,
    pub(super) visible: Visible,
}

/// Reads `T` from a document. There is a `T` unless the document as a whole has the wrong shape, which is noted.
pub(super) fn read<T: for<'de> Deserialize<'de>>(
    document: &DeValue<'_>,
    source: &str,
    environment: &Environment<'_>,
) -> (Option<T>, Notes) {
    let reader = Reader { source, environment, notes: RefCell::default() };
    let root = Node { reader: &reader, span: 0..source.len(), content: Content::Value(document), secret: false };
    let value = root.noted();
    (value, reader.notes.into_inner())
}

struct Reader<'a> {
    source: &'a str,
    environment: &'a Environment<'a>,
    notes: RefCell<Notes>,
}

impl Reader<'_> {
    fn note(&self, span: Range<usize>, message: String) {
        self.notes.borrow_mut().problems.push(Problem::at(span, message));
    }

    /// The text with references filled in; what cannot be filled is noted where it stands.
    fn fill<'t>(&self, text: &'t str, span: &Range<usize>) -> Result<Cow<'t, str>, Fault> {
        environment::fill(text, self.environment).map_err(|unfilled| {
            for one in unfilled {
                self.note(one.place(self.source, span), one.to_string());
            }
            Fault(None)
        })
    }

    /// An unknown key, with the known one it resembles.
    fn note_unknown(&self, key: &str, span: Range<usize>, known: &[&str]) {
        let named =
            if super::mask::may_show_key(key) { format!("unknown key `{key}`") } else { "unknown key".to_owned() };
        let hint = match similar::nearest(key, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        self.note(span, format!("{named}; {hint}"));
    }
}

/// A key or a value where it stands.
struct Node<'a, 'i> {
    reader: &'a Reader<'a>,
    span: Range<usize>,
    content: Content<'a, 'i>,
    secret: bool,
}

enum Content<'a, 'i> {
    Key(&'a str),
    Value(&'a DeValue<'i>),
}

impl<'a, 'i> Node<'a, 'i> {
    fn value(reader: &'a Reader<'a>, value: &'a toml::Spanned<DeValue<'i>>) -> Self {
        Self { reader, span: value.span(), content: Content::Value(value.get_ref()), secret: false }
    }

    /// Reads it; a fault is noted here and not passed on.
    fn noted<'de, T: Deserialize<'de>>(self) -> Option<T> {
        self.noted_seed(std::marker::PhantomData).ok()
    }

    fn noted_seed<'de, S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        let (reader, span) = (self.reader, self.span.clone());
        let filled = matches!(self.content, Content::Value(DeValue::String(text)) if environment::refers(text));
        seed.deserialize(self).map_err(|fault| {
            if let Some(message) = fault.0 {
                let hint = if filled { " (with the environment's values filled in)" } else { "" };
                reader.note(span, message + hint);
            }
            Fault(None)
        })
    }

    fn kind(&self) -> &'static str {
        match self.content {
            Content::Key(_) => "a key",
            Content::Value(value) => match value {
                DeValue::String(_) => "a string",
                DeValue::Integer(_) => "an integer",
                DeValue::Float(_) => "a float",
                DeValue::Boolean(_) => "a boolean",
                DeValue::Datetime(_) => "a date or time",
                DeValue::Array(_) => "an array",
                DeValue::Table(_) => "a table",
            },
        }
    }

    fn wrong<T>(&self, expected: &str) -> Result<T, Fault> {
        Err(Fault(Some(format!("expected {expected}, found {}", self.kind()))))
    }

    fn array(&self) -> Option<&'a DeArray<'i>> {
        match self.content {
            Content::Value(DeValue::Array(items)) => Some(items),
            _ => None,
        }
    }

    fn table(&self) -> Option<&'a DeTable<'i>> {
        match self.content {
            Content::Value(DeValue::Table(entries)) => Some(entries),
            _ => None,
        }
    }
}

/// Numbers are read as wide as TOML writes them.
fn visit_integer<'de, V: Visitor<'de>>(integer: &DeInteger<'_>, visitor: V) -> Result<V::Value, Fault> {
    let (text, radix) = (integer.as_str(), integer.radix());
    if let Ok(number) = u64::from_str_radix(text, radix) {
        visitor.visit_u64(number)
    } else if let Ok(number) = i64::from_str_radix(text, radix) {
        visitor.visit_i64(number)
    } else {
        Err(Fault(Some("the number does not fit 64 bits".to_owned())))
    }
}

impl<'de> Deserializer<'de> for Node<'_, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let scalar = !matches!(self.content, Content::Value(DeValue::Array(_) | DeValue::Table(_)));
        if scalar && !self.secret {
            self.reader.notes.borrow_mut().visible.values.push(self.span.clone());
        }
        match self.content {
            Content::Key(text) => visitor.visit_str(text),
            Content::Value(value) => match value {
                DeValue::String(text) => visitor.visit_str(&self.reader.fill(text, &self.span)?),
                DeValue::Integer(integer) => visit_integer(integer, visitor),
                DeValue::Float(float) => match float.as_str().parse() {
                    Ok(number) => visitor.visit_f64(number),
                    Err(_) => self.wrong("a number"),
                },
                DeValue::Boolean(switch) => visitor.visit_bool(*switch),
                DeValue::Datetime(_) => Err(de::Error::invalid_type(Unexpected::Other("a date or time"), &visitor)),
                DeValue::Array(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
                DeValue::Table(_) => Err(de::Error::invalid_type(Unexpected::Map, &visitor)),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match name {
            GIVEN => visitor.visit_seq(Parts { node: Some(self), given: 0 }),
            SECRET => visitor.visit_newtype_struct(Self { secret: true, ..self }),
            SECRET_URL => {
                self.reader.notes.borrow_mut().visible.urls.push(self.span.clone());
                visitor.visit_newtype_struct(Self { secret: true, ..self })
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.array() {
            Some(items) => visitor.visit_seq(Items { reader: self.reader, items: items.iter() }),
            None => self.wrong("an array"),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.table() {
            Some(table) => visitor.visit_map(Entries::new(self.reader, table, None)),
            None => self.wrong("a table"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.table() {
            Some(table) => visitor.visit_map(Entries::new(self.reader, table, Some(fields))),
            None => self.wrong("a table"),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple tuple_struct enum identifier ignored_any
    }
}
