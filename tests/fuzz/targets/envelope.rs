//! Bodies of requests and replies, held against `serde_json`: what is accepted, and what is cut out of it.
//!
//! The oracle reads the same bytes with `serde_json`'s raw values and applies the table of the envelope to them. Each text
//! is read twice, as it is and with blanks behind it that make it a large one: two readers, one outcome.

#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use livechain::jsonrpc::{
    BlockFacts, BlockParam, Call, Depth, Document, FilterKey, IdMatch, Item, Limits, Malformed, PrefixKind, Reply,
    Scratch, classify_http, info, inspect, inspect_prefix, open_filter, parse, transaction_hash, with_filter_id,
    write_reply,
};
use livechain::limits::SMALL_JSON_BYTES_MAX;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

const LIMITS: Limits = Limits { batch_items_max: 8 };
const SENT_ID: &[u8] = b"1";

/// What makes any text a large one.
const BLANKS: [u8; SMALL_JSON_BYTES_MAX] = [b' '; SMALL_JSON_BYTES_MAX];

fuzz_target!(|body: &[u8]| {
    let mut scratch = Scratch::new();
    check_sizes(body, &mut scratch);
    check_request(body, &mut scratch);
    check_reply(body, &mut scratch);
    let _ = classify_http(429, body, Some(body));
});

/// The small texts' reader and the large ones' accept the same and cut out the same.
fn check_sizes(body: &[u8], scratch: &mut Scratch) {
    let large = [body, &BLANKS].concat();
    assert_eq!(parse(body, scratch, LIMITS), parse(&large, scratch, LIMITS));
    assert_eq!(inspect(body, Some(SENT_ID), scratch), inspect(&large, Some(SENT_ID), scratch));
}

fn check_request(body: &[u8], scratch: &mut Scratch) {
    let document = parse(body, scratch, LIMITS);
    let Some(raw) = json(body) else {
        let refusal = document.expect_err("serde_json refuses this");
        // The one refusal of no JSON that is not a parse error.
        assert!(refusal.reason.word() == "parse_error" || refusal.message == "method is not UTF-8");
        return;
    };
    if !raw.get().starts_with('[') {
        let Ok(Document::Single(item)) = document else { panic!("one item: {document:?}") };
        return check_item(&item, raw);
    }
    let items: Vec<&RawValue> = serde_json::from_str(raw.get()).expect("an array");
    match document {
        Ok(Document::Batch(found)) => {
            assert_eq!(found.len(), items.len());
            found.iter().zip(items).for_each(|(item, raw)| check_item(item, raw));
        }
        Err(refusal) if items.is_empty() => assert_eq!(refusal.reason.word(), "invalid_request"),
        Err(refusal) => {
            assert!(items.len() > LIMITS.batch_items_max);
            assert_eq!(refusal.reason.word(), "batch_too_large");
        }
        Ok(Document::Single(_)) => panic!("a batch"),
    }
}

fn check_item(item: &Item<'_>, raw: &RawValue) {
    let expected = Oracle::of(raw).and_then(|oracle| oracle.call());
    match (item, expected) {
        (Ok(call), Some((id, method, params))) => {
            assert_eq!(call.raw, raw.get().as_bytes());
            assert_eq!(call.id, id.map(|id| id.get().as_bytes()));
            assert_eq!(call.method, method);
            assert_eq!(call.params, params.map(|params| params.get().as_bytes()));
            check_call(call);
        }
        (Err(refusal), None) => {
            assert!(json(refusal.id).is_some_and(|id| !id.get().starts_with(['{', '[', 't', 'f'])));
        }
        (item, expected) => panic!("{item:?} where {expected:?}"),
    }
}

fn check_call(call: &Call<'_>) {
    let known = info(&call.method);
    let shapes = [BlockParam::At(1, Depth::State), BlockParam::Filter(Depth::History)].map(|block| {
        let mut method = *known;
        method.block = block;
        method
    });
    for method in shapes.iter().chain([known]) {
        let _ = BlockFacts::of(method, call.params).blocks(Some(1));
    }
    let _ = open_filter(call, &[FilterKey::derive("a", "b", "c")]);
    if let Some(params) = call.params {
        let _ = transaction_hash(params);
        if let Some(forwarded) = with_filter_id(call, b"\"0x1\"") {
            assert!(json(&forwarded).is_some());
        }
    }
}

fn check_reply(body: &[u8], scratch: &mut Scratch) {
    let reply = inspect(body, Some(SENT_ID), scratch);
    let prefix = inspect_prefix(body, Some(SENT_ID), scratch).kind;
    let Some(raw) = json(body) else {
        assert_eq!(reply, Reply::Malformed(Malformed::NotJson));
        return;
    };
    let id = match reply {
        Reply::Success { id, result } => {
            let oracle = Oracle::of(raw).expect("an object");
            assert_eq!(Some(&body[result]), oracle.one("result"));
            assert!(oracle.one("error").is_none_or(|error| error == b"null"));
            assert!(prefix != PrefixKind::Error);
            id
        }
        Reply::Error(error) => {
            let oracle = Oracle::of(raw).expect("an object");
            assert_eq!(Some(&body[error.error]), oracle.one("error"));
            assert!(prefix != PrefixKind::Success || oracle.one("result").is_some());
            error.id
        }
        Reply::Malformed(why) => {
            assert_ne!(why, Malformed::NotJson);
            return;
        }
    };
    let mut out = Vec::new();
    write_reply(&mut out, body, &id, Some(SENT_ID));
    let relayed = Oracle::of(json(&out).expect("still JSON")).expect("still an object");
    assert_eq!(relayed.one("id"), Some(SENT_ID), "{id:?}");
    assert!(id != IdMatch::Exact || out == body);
}

/// What `serde_json` accepts, down to the depth that we allow.
fn json(body: &[u8]) -> Option<&RawValue> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_i32, 0, false, false);
    for byte in raw.get().bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    (deepest <= 128).then_some(raw)
}

/// The members of an object as `serde_json` shows them. Keys as bytes: one may hold a lone surrogate.
#[derive(Debug)]
struct Oracle<'b>(Vec<(Vec<u8>, &'b RawValue)>);

type OracleCall<'b> = (Option<&'b RawValue>, String, Option<&'b RawValue>);

impl<'b> Oracle<'b> {
    fn of(raw: &'b RawValue) -> Option<Self> {
        raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).expect("an object"))
    }

    fn all(&self, key: &str) -> Vec<&'b RawValue> {
        self.0.iter().filter(|(name, _)| name == key.as_bytes()).map(|(_, value)| *value).collect()
    }

    fn one(&self, key: &str) -> Option<&'b [u8]> {
        let all = self.all(key);
        assert!(all.len() <= 1, "{key} stands twice");
        all.first().map(|value| value.get().as_bytes())
    }

    /// The call that this is, by the envelope's table.
    fn call(&self) -> Option<OracleCall<'b>> {
        let clear = |key: &&str| self.all(key).len() <= 1 && !self.0.iter().any(|(name, _)| folds(name, key));
        if !["id", "method", "params", "jsonrpc"].iter().all(clear) {
            return None;
        }
        let first = |key| self.all(key).first().copied();
        let id = first("id");
        let params = first("params");
        let method: String = serde_json::from_str(first("method")?.get()).ok()?;
        let good = id.is_none_or(|id| !id.get().starts_with(['{', '[', 't', 'f']))
            && params.is_none_or(|params| params.get().starts_with(['{', '[']))
            && (1..=256).contains(&method.len());
        good.then_some((id, method, params))
    }
}

/// Whether a reader that minds no case, as nodes in Go are, takes `name` for `key`, and it is not.
fn folds(name: &[u8], key: &str) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    name != key && name.replace('\u{17f}', "s").eq_ignore_ascii_case(key)
}

impl<'de> Deserialize<'de> for Oracle<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Oracle<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Oracle(members))
            }
        }
        from.deserialize_map(Members)
    }
}

struct Key(Vec<u8>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Key, E> {
                Ok(Key(bytes.to_vec()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key, E> {
                Ok(Key(text.as_bytes().to_vec()))
            }
        }
        from.deserialize_bytes(Bytes)
    }
}
