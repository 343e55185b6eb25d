//! What values are made of, one part after the other: as `serde` asks for it.

use std::borrow::Cow;

use serde::de::value::{StrDeserializer, UsizeDeserializer};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess};
use toml::de::{DeTable, DeValue};

use super::{Content, Fault, Node, Reader};

/// What a `Given` asks for: where the value begins, where it ends, the value.
pub(super) struct Parts<'a, 'i> {
    pub(super) node: Option<Node<'a, 'i>>,
    pub(super) given: u8,
}

impl<'de> SeqAccess<'de> for Parts<'_, '_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some(node) = &self.node else {
            return Ok(None);
        };
        self.given += 1;
        match self.given {
            1 => seed.deserialize(UsizeDeserializer::new(node.span.start)).map(Some),
            2 => seed.deserialize(UsizeDeserializer::new(node.span.end)).map(Some),
            _ => self.node.take().map(|node| node.noted_seed(seed)).transpose(),
        }
    }
}

pub(super) struct Items<'a, 'i> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) items: std::slice::Iter<'a, toml::Spanned<DeValue<'i>>>,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.items.next().map(|item| seed.deserialize(Node::value(self.reader, item))).transpose()
    }
}

type Entry<'a, 'i> = (&'a toml::Spanned<Cow<'i, str>>, &'a toml::Spanned<DeValue<'i>>);

/// A table's entries; with `known`, only those, and the others are noted.
pub(super) struct Entries<'a, 'i> {
    reader: &'a Reader<'a>,
    known: Option<&'static [&'static str]>,
    rest: Vec<Entry<'a, 'i>>,
}

impl<'a, 'i> Entries<'a, 'i> {
    pub(super) fn new(reader: &'a Reader<'a>, table: &'a DeTable<'i>, known: Option<&'static [&'static str]>) -> Self {
        let mut rest = Vec::with_capacity(table.len());
        for (key, value) in table {
            match known {
                Some(known) if !known.contains(&key.get_ref().as_ref()) => {
                    reader.note_unknown(key.get_ref(), key.span(), known);
                }
                _ => rest.push((key, value)),
            }
        }
        Self { reader, known, rest }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((key, _)) = self.rest.last() else {
            return Ok(None);
        };
        let text = key.get_ref().as_ref();
        if self.known.is_some() {
            return seed.deserialize(StrDeserializer::<Fault>::new(text)).map(Some);
        }
        let node = Node { reader: self.reader, span: key.span(), content: Content::Key(text), secret: true };
        seed.deserialize(node).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        match self.rest.pop() {
            Some((_, value)) => seed.deserialize(Node::value(self.reader, value)),
            None => Err(de::Error::custom("a key without a value")),
        }
    }
}
