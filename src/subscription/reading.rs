//! What nodes write, read as far as the stream needs it: headers, blocks, logs.
//!
//! All else stays as it was written. Of a block that was asked for, what a node does not push with a head is left out,
//! so that a head looks the same whether it was pushed or filled in. What cannot be read is no answer: it comes from a
//! provider, which may write anything.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::block::{BlockHash, Header, Log, Raw};
use super::filter::read_hex;

/// Members of a block that geth does not push with its header.
const OF_BLOCKS: [&str; 5] = ["transactions", "uncles", "withdrawals", "size", "totalDifficulty"];
/// A quantity: `0x` and at most 16 hex digits.
const QUANTITY_DIGITS_MAX: usize = 16;

/// A pushed head.
#[must_use]
pub fn read_head(json: &[u8]) -> Option<Header> {
    let members: Members<'_> = serde_json::from_slice(json).ok()?;
    members.header(json.into())
}

/// A block as `eth_getBlockByHash` and `eth_getBlockByNumber` answer it, as the head that a node would have pushed.
#[must_use]
pub fn read_block(json: &[u8]) -> Option<Header> {
    let members: Members<'_> = serde_json::from_slice(json).ok()?;
    let kept = members.0.iter().filter(|(name, _)| !OF_BLOCKS.contains(&&**name));
    members.header(write(kept.map(|(name, value)| (&**name, value.get()))))
}

/// A log, and whether the provider says that it is removed.
#[must_use]
pub fn read_log(json: &[u8]) -> Option<(Log, bool)> {
    let members: Members<'_> = serde_json::from_slice(json).ok()?;
    let block = members.hash("blockHash")?;
    let index = members.quantity("logIndex")?;
    let removed = members.value("removed").is_some_and(|value| value == "true");
    Some((Log { block, index, raw: json.into() }, removed))
}

/// The logs that `eth_getLogs` answers; none where one of them cannot be read.
#[must_use]
pub fn read_logs(json: &[u8]) -> Option<Vec<Log>> {
    let all: Vec<&RawValue> = serde_json::from_slice(json).ok()?;
    all.into_iter().map(|log| read_log(log.get().as_bytes()).map(|(log, _)| log)).collect()
}

/// A log as it is told when its block is no longer on the chain.
#[must_use]
pub fn as_removed(log: &Raw) -> Raw {
    let Ok(Members(members)) = serde_json::from_slice(log) else { return Arc::clone(log) };
    let others = members.iter().filter(|(name, _)| name != "removed").map(|(name, value)| (&**name, value.get()));
    write(others.chain([("removed", "true")]))
}

/// An object's members in their order, values as they were written.
struct Members<'j>(Vec<(Cow<'j, str>, &'j RawValue)>);

impl Members<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        // Of two the last one counts, as everywhere.
        self.0.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.get())
    }

    /// The inside of a string that begins with `0x`.
    fn digits(&self, name: &str) -> Option<&str> {
        self.value(name)?.strip_prefix("\"0x")?.strip_suffix('"')
    }

    fn hash(&self, name: &str) -> Option<BlockHash> {
        read_hex(self.digits(name)?).map(BlockHash)
    }

    fn quantity(&self, name: &str) -> Option<u64> {
        let digits =
            self.digits(name).filter(|digits| digits.len() <= QUANTITY_DIGITS_MAX && !digits.starts_with('+'))?;
        u64::from_str_radix(digits, 16).ok()
    }

    fn header(&self, raw: Raw) -> Option<Header> {
        let (hash, parent) = (self.hash("hash")?, self.hash("parentHash")?);
        Some(Header { hash, parent, number: self.quantity("number")?, raw })
    }
}

impl<'de: 'j, 'j> Deserialize<'de> for Members<'j> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    if members.len() < MEMBERS_MAX {
                        members.push((name, map.next_value()?));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Members of an object that are looked at: a header has some thirty, and what lies behind is somebody's play.
const MEMBERS_MAX: usize = 256;

/// A member's name, borrowed where nothing in it is escaped.
#[derive(serde::Deserialize)]
struct Name<'j>(#[serde(borrow)] Cow<'j, str>);

fn write<'m>(members: impl Iterator<Item = (&'m str, &'m str)>) -> Raw {
    let mut json = vec![b'{'];
    for (name, value) in members {
        if json.len() > 1 {
            json.push(b',');
        }
        // Names are put into quotes anew; a text of this kind is always writable.
        let name = serde_json::to_string(name).unwrap_or_default();
        json.extend_from_slice(name.as_bytes());
        json.push(b':');
        json.extend_from_slice(value.as_bytes());
    }
    json.push(b'}');
    json.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0x0101010101010101010101010101010101010101010101010101010101010101";
    const PARENT: &str = "0x00ff0000000000000000000000000000000000000000000000000000000000aa";

    fn text(raw: &Raw) -> &str {
        std::str::from_utf8(raw).unwrap()
    }

    #[test]
    fn a_pushed_head_stays_as_it_was_written() {
        let json = format!(r#"{{"parentHash": "{PARENT}", "hash":"{HASH}","number":"0x1b4","odd":[1, 2]}}"#);
        let head = read_head(json.as_bytes()).unwrap();
        assert_eq!((head.hash, head.number, text(&head.raw)), (BlockHash([1; 32]), 436, &*json));
        assert_eq!((head.parent.0[1], head.parent.0[31]), (0xff, 0xaa));
    }

    #[test]
    fn a_block_becomes_the_head_that_would_have_been_pushed() {
        let json = format!(
            r#"{{"hash":"{HASH}","parentHash":"{PARENT}","number":"0x1","size":"0x2","transactions":["0x1"],"uncles":[],
               "withdrawals":[],"totalDifficulty":"0x0","extra\"Data":"0x"}}"#
        );
        let expected = format!(r#"{{"hash":"{HASH}","parentHash":"{PARENT}","number":"0x1","extra\"Data":"0x"}}"#);
        assert_eq!(text(&read_block(json.as_bytes()).unwrap().raw), expected);
    }

    #[test]
    fn a_log_is_told_as_removed_in_its_own_words() {
        let log = |removed: &str| format!(r#"{{"address":"0xa","blockHash":"{HASH}","logIndex":"0x2"{removed}}}"#);
        for (given, removed) in
            [(log(""), false), (log(r#","removed":false"#), false), (log(r#","removed":true"#), true)]
        {
            let (read, is_removed) = read_log(given.as_bytes()).unwrap();
            assert_eq!((read.block, read.index, is_removed), (BlockHash([1; 32]), 2, removed));
            assert_eq!(text(&as_removed(&read.raw)), log(r#","removed":true"#));
        }
        let all = format!("[{},{}]", log(""), log(""));
        assert_eq!(read_logs(all.as_bytes()).unwrap().len(), 2);
        assert_eq!(read_logs(b"[]").unwrap(), []);
    }

    #[test]
    fn what_is_no_block_or_log_is_no_answer() {
        for json in [
            "null".into(),
            "[]".into(),
            "{}".into(),
            format!(r#"{{"hash":"{HASH}","parentHash":"{PARENT}"}}"#),
            format!(r#"{{"hash":"{HASH}","parentHash":"{PARENT}","number":"0x"}}"#),
            format!(r#"{{"hash":"{HASH}","parentHash":"{PARENT}","number":"0x+1"}}"#),
            format!(r#"{{"hash":"{HASH}","parentHash":"{PARENT}","number":"0x10000000000000000"}}"#),
            format!(r#"{{"hash":"{HASH}","parentHash":"0x00","number":"0x1"}}"#),
            format!(r#"{{"hash":"{}","parentHash":"{PARENT}","number":"0x1"}}"#, HASH.replace('1', "g")),
            format!(r#"{{"hash":null,"parentHash":"{PARENT}","number":1}}"#),
        ] {
            assert_eq!(read_head(json.as_bytes()), None, "{json}");
            assert_eq!(read_block(json.as_bytes()), None, "{json}");
            assert!(
                read_log(json.as_bytes()).is_none() && read_logs(json.as_bytes()).is_none_or(|logs| logs.is_empty())
            );
        }
        assert_eq!(read_logs(b"[{}]"), None);
    }
}
