//! What a client subscribes to, in one form for all that mean the same.
//!
//! The meaning is that of nodes (geth's `FilterCriteria`). Addresses are a set, and so are a position's alternatives;
//! case of hex digits means nothing; one address is a list of one. An empty list restricts nothing, and nor does a
//! `null` at or among alternatives. What does differ is kept: positions are ordered, and one that is left open at the
//! end still asks for logs with that many topics. The last of two members of the same name counts, as nodes read it:
//! what goes upstream is what was understood.
//!
//! `fromBlock`, `toBlock` and `blockHash` are about the past, which a subscription has none of. `latest` is tolerated.

use serde_json::Value;

use super::block::BlockHash;
use crate::limits::{FILTER_ALTERNATIVES_MAX, FILTER_TOPICS_MAX, SUBSCRIPTION_PARAMS_BYTES_MAX};

const ADDRESS_BYTES: usize = 20;
const TOPIC_BYTES: usize = 32;

/// The params of an `eth_subscribe`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    NewHeads,
    Logs(LogFilter),
    /// Any other, by its params without white space: told as its provider pushes it, and not filled.
    Other(Vec<u8>),
}

/// Why params are no subscription; the client's fault every time (-32602).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum FilterError {
    Params,
    Filter,
    Address,
    Topics,
    TooManyTopics,
    TooMany,
    Range,
    TooLong,
}

impl FilterError {
    /// What the client is told.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Params => "params must be a list that begins with the subscription's name",
            Self::Filter => "the filter must be an object",
            Self::Address => "address must be one or a list of 0x and 40 hex digits",
            Self::Topics => "topics must be a list of null, 0x and 64 hex digits, or lists of these",
            Self::TooManyTopics => "a filter has at most 4 topics",
            Self::TooMany => "too many addresses or topics in one list",
            Self::Range => "a subscription has no block range",
            Self::TooLong => "params are too long",
        }
    }
}

/// A log filter in canonical form. Equal filters have equal [`LogFilter::key`]s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogFilter {
    /// Ascending, each once; none: any.
    addresses: Vec<[u8; ADDRESS_BYTES]>,
    /// By position: ascending, each once; none: any.
    topics: Vec<Vec<[u8; TOPIC_BYTES]>>,
}

impl Wanted {
    /// Reads the params of an `eth_subscribe`, JSON that has been validated.
    pub fn read(params: &[u8]) -> Result<Self, FilterError> {
        let params: Vec<Value> = serde_json::from_slice(params).map_err(|_| FilterError::Params)?;
        match params.first() {
            Some(Value::String(name)) if name == "newHeads" => Ok(Self::NewHeads),
            Some(Value::String(name)) if name == "logs" => {
                LogFilter::of(params.get(1).unwrap_or(&Value::Null)).map(Self::Logs)
            }
            Some(Value::String(_)) => {
                let params = serde_json::to_vec(&params).map_err(|_| FilterError::Params)?;
                if params.len() > SUBSCRIPTION_PARAMS_BYTES_MAX {
                    return Err(FilterError::TooLong);
                }
                Ok(Self::Other(params))
            }
            _ => Err(FilterError::Params),
        }
    }
}

impl LogFilter {
    fn of(filter: &Value) -> Result<Self, FilterError> {
        let members = match filter {
            Value::Null => return Ok(Self::default()),
            Value::Object(members) => members,
            _ => return Err(FilterError::Filter),
        };
        let is_latest = |value: &Value| value.is_null() || value == "latest";
        let ranged = ["fromBlock", "toBlock"].iter().any(|name| !members.get(*name).is_none_or(is_latest));
        if ranged || !members.get("blockHash").is_none_or(Value::is_null) {
            return Err(FilterError::Range);
        }
        let addresses = match members.get("address") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(all)) => set(all, FilterError::Address)?,
            Some(one) => set(std::slice::from_ref(one), FilterError::Address)?,
        };
        let topics = match members.get("topics") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(positions)) if positions.len() > FILTER_TOPICS_MAX => {
                return Err(FilterError::TooManyTopics);
            }
            Some(Value::Array(positions)) => positions.iter().map(alternatives).collect::<Result<_, _>>()?,
            Some(_) => return Err(FilterError::Topics),
        };
        Ok(Self { addresses, topics })
    }

    /// The same for all filters that mean the same, and for no others.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let mut key = Vec::new();
        // Lengths first, so that no two filters run into one key. They fit: see `set`.
        let push_len = |key: &mut Vec<u8>, len: usize| key.extend_from_slice(&(len as u64).to_be_bytes());
        push_len(&mut key, self.addresses.len());
        key.extend_from_slice(self.addresses.as_flattened());
        for position in &self.topics {
            push_len(&mut key, position.len());
            key.extend_from_slice(position.as_flattened());
        }
        key
    }

    /// Appends the filter as JSON: for `eth_subscribe`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.write_members(out);
        out.push(b'}');
    }

    /// The same of one block: for `eth_getLogs`.
    pub fn write_of_block(&self, out: &mut Vec<u8>, block: BlockHash) {
        out.extend_from_slice(br#"{"blockHash":"#);
        push_hex(out, &block.0);
        if !self.addresses.is_empty() || !self.topics.is_empty() {
            out.push(b',');
        }
        self.write_members(out);
        out.push(b'}');
    }

    fn write_members(&self, out: &mut Vec<u8>) {
        if !self.addresses.is_empty() {
            out.extend_from_slice(br#""address":"#);
            push_list(out, &self.addresses);
        }
        if !self.topics.is_empty() {
            out.extend_from_slice(if self.addresses.is_empty() { br#""topics":["# } else { br#","topics":["# });
            for (n, position) in self.topics.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                match position.as_slice() {
                    [] => out.extend_from_slice(b"null"),
                    alternatives => push_list(out, alternatives),
                }
            }
            out.push(b']');
        }
    }
}

/// One position of `topics`.
fn alternatives(position: &Value) -> Result<Vec<[u8; TOPIC_BYTES]>, FilterError> {
    match position {
        Value::Null => Ok(Vec::new()),
        // Any, or one of these: any.
        Value::Array(all) if all.iter().any(Value::is_null) => {
            let others: Vec<Value> = all.iter().filter(|one| !one.is_null()).cloned().collect();
            set::<TOPIC_BYTES>(&others, FilterError::Topics).map(|_| Vec::new())
        }
        Value::Array(all) => set(all, FilterError::Topics),
        one => set(std::slice::from_ref(one), FilterError::Topics),
    }
}

fn set<const N: usize>(all: &[Value], fault: FilterError) -> Result<Vec<[u8; N]>, FilterError> {
    if all.len() > FILTER_ALTERNATIVES_MAX {
        return Err(FilterError::TooMany);
    }
    let mut set = all.iter().map(|one| bytes(one).ok_or(fault)).collect::<Result<Vec<_>, _>>()?;
    set.sort_unstable();
    set.dedup();
    Ok(set)
}

/// `0x` and two hex digits a byte.
fn bytes<const N: usize>(text: &Value) -> Option<[u8; N]> {
    let text = text.as_str()?;
    read_hex(text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?)
}

/// So many bytes, two hex digits each, and nothing else.
pub(super) fn read_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn push_list<const N: usize>(out: &mut Vec<u8>, all: &[[u8; N]]) {
    out.push(b'[');
    for (n, bytes) in all.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        push_hex(out, bytes);
    }
    out.push(b']');
}

/// Appends bytes as a JSON string of hex digits.
pub fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\"0x");
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn address(digit: char) -> String {
        format!("\"0x{}\"", digit.to_string().repeat(40))
    }

    fn topic(digit: char) -> String {
        format!("\"0x{}\"", digit.to_string().repeat(64))
    }

    fn filter(json: &str) -> Result<LogFilter, FilterError> {
        let wanted = Wanted::read(format!("[\"logs\",{json}]").as_bytes())?;
        let Wanted::Logs(filter) = wanted else { panic!("{wanted:?}") };
        Ok(filter)
    }

    #[test]
    fn what_means_the_same_has_one_key_and_nothing_else_has() {
        let (a, b, s, t) = (address('a'), address('b'), topic('c'), topic('d'));
        let upper = a.to_uppercase().replace("0X", "0x");
        let groups: &[&[String]] = &[
            &[
                "{}".into(),
                "null".into(),
                r#"{"address":null,"topics":null}"#.into(),
                r#"{"address":[],"topics":[]}"#.into(),
                r#"{"fromBlock":"latest","toBlock":null,"other":1}"#.into(),
            ],
            &[
                format!(r#"{{"address":{a}}}"#),
                format!(r#"{{"address":[{a}]}}"#),
                format!(r#"{{"address":[{a},{upper},{a}],"topics":[]}}"#),
                format!(r#"{{"address":{b},"address":{a}}}"#),
            ],
            &[format!(r#"{{"address":[{a},{b}]}}"#), format!(r#"{{"topics":[],"address":[{b},{a}]}}"#)],
            &[
                format!(r#"{{"topics":[{s}]}}"#),
                format!(r#"{{"topics":[[{s}]]}}"#),
                format!(r#"{{"topics":[[{s},{s}]]}}"#),
            ],
            // Two topics at least.
            &[
                format!(r#"{{"topics":[{s},null]}}"#),
                format!(r#"{{"topics":[{s},[]]}}"#),
                format!(r#"{{"topics":[{s},[null,{t}]]}}"#),
            ],
            &[r#"{"topics":[null]}"#.into(), r#"{"topics":[[]]}"#.into()],
            &[format!(r#"{{"topics":[[{s},{t}]]}}"#), format!(r#"{{"topics":[[{t},{s}]]}}"#)],
            &[format!(r#"{{"topics":[{s},{t}]}}"#)],
            &[format!(r#"{{"topics":[{t},{s}]}}"#)],
            &[format!(r#"{{"address":{a},"topics":[null,{s}]}}"#)],
        ];
        let mut keys = HashSet::new();
        for group in groups {
            let filters: Vec<LogFilter> = group.iter().map(|json| filter(json).unwrap()).collect();
            for same in &filters {
                assert_eq!((same, same.key()), (&filters[0], filters[0].key()), "{group:?}");
                let mut out = Vec::new();
                same.write(&mut out);
                assert_eq!(filter(std::str::from_utf8(&out).unwrap()).as_ref(), Ok(same), "{group:?}");
            }
            assert!(keys.insert(filters[0].key()), "{group:?}");
        }
    }

    #[test]
    fn a_filter_is_written_in_canonical_form() {
        let mut out = Vec::new();
        let json = format!(r#"{{"topics":[null,{}],"address":{}}}"#, topic('C').replace("0x", "0X"), address('b'));
        filter(&json).unwrap().write(&mut out);
        let expected = format!(r#"{{"address":[{}],"topics":[null,[{}]]}}"#, address('b'), topic('c'));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let (a, s) = (address('a'), topic('c'));
        for (json, fault) in [
            ("[]".to_owned(), FilterError::Filter),
            ("1".into(), FilterError::Filter),
            (r#"{"address":1}"#.into(), FilterError::Address),
            (r#"{"address":"0xab"}"#.into(), FilterError::Address),
            (format!(r#"{{"address":[[{a}]]}}"#), FilterError::Address),
            (format!(r#"{{"address":[{a},null]}}"#), FilterError::Address),
            (format!(r#"{{"address":{s}}}"#), FilterError::Address),
            (format!(r#"{{"topics":{s}}}"#), FilterError::Topics),
            (format!(r#"{{"topics":[{a}]}}"#), FilterError::Topics),
            (format!(r#"{{"topics":[[null,{a}]]}}"#), FilterError::Topics),
            (r#"{"topics":[null,null,null,null,null]}"#.into(), FilterError::TooManyTopics),
            (
                format!(r#"{{"topics":[[{}{s}]]}}"#, format!("{s},").repeat(FILTER_ALTERNATIVES_MAX)),
                FilterError::TooMany,
            ),
            (r#"{"fromBlock":"0x1"}"#.into(), FilterError::Range),
            (r#"{"toBlock":"pending"}"#.into(), FilterError::Range),
            (format!(r#"{{"blockHash":{s}}}"#), FilterError::Range),
        ] {
            assert_eq!(filter(&json), Err(fault), "{json}");
        }
    }

    #[test]
    fn subscriptions_have_names() {
        assert_eq!(Wanted::read(br#"["newHeads"]"#), Ok(Wanted::NewHeads));
        assert_eq!(Wanted::read(br#"["newHeads",{}]"#), Ok(Wanted::NewHeads));
        assert_eq!(Wanted::read(br#"["logs"]"#), Ok(Wanted::Logs(LogFilter::default())));
        assert_eq!(
            Wanted::read(br#"["newPendingTransactions", true ]"#),
            Ok(Wanted::Other(br#"["newPendingTransactions",true]"#.to_vec()))
        );
        for params in ["{}", "[]", "[1]", "x"] {
            assert_eq!(Wanted::read(params.as_bytes()), Err(FilterError::Params), "{params}");
        }
    }

    #[test]
    fn params_that_are_kept_as_they_are_have_a_bound() {
        let params = |bytes: usize| format!(r#"["x","{}"]"#, "a".repeat(bytes - r#"["x",""]"#.len())).into_bytes();
        let most = params(SUBSCRIPTION_PARAMS_BYTES_MAX);
        // No word about which they are: they are long.
        assert!(Wanted::read(&most) == Ok(Wanted::Other(most)));
        assert!(Wanted::read(&params(SUBSCRIPTION_PARAMS_BYTES_MAX + 1)) == Err(FilterError::TooLong));
    }
}
