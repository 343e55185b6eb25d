//! What comes over a WebSocket of a provider: answers in any order, and what it pushes between them.
//!
//! The connection numbers the calls that it sends by itself, so that clients' ids cannot meet on it: [`write_numbered`]
//! puts the number where a call's id stands, and the answer gets the id back, byte for byte. An answer's number is read
//! by what it says, as providers rewrite ids (`7`, `"7"`, `7.0`).

use std::borrow::Cow;
use std::ops::Range;

use super::reply::splice;
use super::scan::{Member, name_of, unescaped};
use super::tokens::Scratch;
use crate::limits::SUBSCRIPTION_ID_BYTES_MAX;

/// A message of a provider. Ranges are of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<'b> {
    /// The answer to a call. `number`: which; none for an error whose id is `null` or absent. `id`: where it stands.
    Answer { number: Option<u64>, id: Option<Range<usize>> },
    /// A notification: of which subscription, and what it says.
    Push { subscription: Cow<'b, str>, result: Range<usize> },
    /// An object that is neither, or an answer to nothing of ours.
    Other,
    /// No JSON, or no object.
    Malformed,
}

const NAMES: [&str; 5] = ["id", "result", "error", "method", "params"];
const PARAMS: [&str; 2] = ["subscription", "result"];

/// Reads one message.
pub fn incoming<'b>(text: &'b [u8], scratch: &mut Scratch) -> Incoming<'b> {
    let read = read(text, scratch).unwrap_or(Incoming::Malformed);
    scratch.trim();
    read
}

fn read<'b>(text: &'b [u8], scratch: &mut Scratch) -> Option<Incoming<'b>> {
    let tokens = scratch.tokens(text).ok()?;
    if tokens.byte(0) != Some(b'{') {
        return None;
    }
    let mut found: [Option<Member>; NAMES.len()] = [const { None }; NAMES.len()];
    for member in tokens.members(0) {
        if let Some(n) = name_of(&text[member.key.clone()], &NAMES) {
            found[n].get_or_insert(member);
        }
    }
    let [id, result, error, method, params] = found;
    if result.is_some() || error.is_some() {
        let is_null = |member: &Member| &text[member.value.clone()] == b"null";
        let fails = error.is_some_and(|error| !is_null(&error));
        let is_unnamed = id.as_ref().is_none_or(is_null);
        let id = id.map(|member| member.value);
        let number = id.clone().and_then(|id| number(&text[id]));
        // One that names a call that was never ours.
        let is_anyones = number.is_some() || (fails && is_unnamed);
        return Some(if is_anyones { Incoming::Answer { number, id } } else { Incoming::Other });
    }
    let (Some(_), Some(params)) = (method, params) else { return Some(Incoming::Other) };
    let mut said: [Option<Range<usize>>; PARAMS.len()] = [const { None }; PARAMS.len()];
    for member in tokens.members(params.token) {
        if let Some(n) = name_of(&text[member.key], &PARAMS) {
            said[n].get_or_insert(member.value);
        }
    }
    let [Some(subscription), Some(result)] = said else { return Some(Incoming::Other) };
    let push = |subscription| Incoming::Push { subscription, result };
    Some(subscription_id(&text[subscription]).map_or(Incoming::Other, push))
}

/// A subscription's id by what it says: a string, or a number as it stands. None of any other kind, and of one that is too long.
#[must_use]
pub fn subscription_id(raw: &[u8]) -> Option<Cow<'_, str>> {
    let said = match raw.first()? {
        b'"' => unescaped(raw)?,
        b'-' | b'0'..=b'9' => Cow::Borrowed(std::str::from_utf8(raw).ok()?),
        _ => return None,
    };
    (!said.is_empty() && said.len() <= SUBSCRIPTION_ID_BYTES_MAX).then_some(said)
}

/// The number that an id is.
fn number(id: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(id).ok()?;
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let whole = match text.split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    };
    whole.bytes().all(|byte| byte.is_ascii_digit()).then(|| whole.parse().ok())?
}

/// Appends `call`, an object, with `number` for its id. Answers where its own stands in it; none: it has none. `Err`: it is no
/// object.
pub fn write_numbered(
    out: &mut Vec<u8>,
    call: &[u8],
    number: u64,
    scratch: &mut Scratch,
) -> Result<Option<Range<usize>>, super::NotJson> {
    let tokens = scratch.tokens(call)?;
    let brace = tokens.offset(0).filter(|_| tokens.byte(0) == Some(b'{')).ok_or(super::NotJson)?;
    let mut members = tokens.members(0).peekable();
    let is_empty = members.peek().is_none();
    let id = members.find(|member| name_of(&call[member.key.clone()], &["id"]).is_some()).map(|member| member.value);
    let digits = number.to_string();
    if let Some(id) = &id {
        splice(out, call, id.clone(), digits.as_bytes());
    } else {
        let comma = if is_empty { "" } else { "," };
        splice(out, call, brace + 1..brace + 1, format!("\"id\":{digits}{comma}").as_bytes());
    }
    scratch.trim();
    Ok(id)
}

/// Appends an answer with `id` where its own stands.
pub fn write_with_id(out: &mut Vec<u8>, answer: &[u8], own: Range<usize>, id: &[u8]) {
    splice(out, answer, own, id);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shortly: `answer NUMBER ID`, `push SUBSCRIPTION RESULT`, `other` or `malformed`.
    fn shown(text: &str) -> String {
        match incoming(text.as_bytes(), &mut Scratch::new()) {
            Incoming::Answer { number, id } => {
                let number = number.map_or("-".to_owned(), |number| number.to_string());
                format!("answer {number} {}", id.map_or("-", |id| &text[id]))
            }
            Incoming::Push { subscription, result } => format!("push {subscription} {}", &text[result]),
            Incoming::Other => "other".to_owned(),
            Incoming::Malformed => "malformed".to_owned(),
        }
    }

    #[test]
    fn messages_are_told_apart() {
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":"0x1"}"#, "answer 7 7"),
            (r#"{"result":null,"id":"7"}"#, r#"answer 7 "7""#),
            (r#"{"error":{"code":1},"id":7.0}"#, "answer 7 7.0"),
            (r#"{"error":{"code":1},"id":null}"#, "answer - null"),
            (r#"{"error":{"code":1}}"#, "answer - -"),
            (r#"{"id":"x","result":1}"#, "other"),
            (r#"{"id":-7,"result":1}"#, "other"),
            (r#"{"id":7.5,"error":{"code":1}}"#, "other"),
            (r#"{"id":[7],"result":1}"#, "other"),
            (r#"{"id":null,"result":1}"#, "other"),
            (r#"{"result":1}"#, "other"),
            (r#"{"error":null,"result":1}"#, "other"),
            (r#"{"id":18446744073709551616,"result":1}"#, "other"),
            (
                r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0xcd","result":{"a":[1]}}}"#,
                r#"push 0xcd {"a":[1]}"#,
            ),
            (r#"{"method":"m","params":{"result":5,"s\u0075bscription":"\u0061"}}"#, "push a 5"),
            (r#"{"method":"m","params":{"subscription":23784,"result":5}}"#, "push 23784 5"),
            (r#"{"method":"m","params":{"subscription":null,"result":5}}"#, "other"),
            (r#"{"method":"m","params":{"subscription":"","result":5}}"#, "other"),
            (r#"{"method":"m","params":{"subscription":"0x1"}}"#, "other"),
            (r#"{"method":"m","params":["0x1"]}"#, "other"),
            (r#"{"id":1,"method":"m"}"#, "other"),
            ("{}", "other"),
            (r#"[{"id":7,"result":1}]"#, "malformed"),
            ("null", "malformed"),
            ("", "malformed"),
            (r#"{"id":7,"result":1"#, "malformed"),
            ("<html>", "malformed"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        let long = format!(r#"{{"method":"m","params":{{"subscription":"{}","result":1}}}}"#, "a".repeat(257));
        assert_eq!(shown(&long), "other");
    }

    #[test]
    fn a_number_takes_the_ids_place_and_gives_it_back() {
        for (call, id, numbered) in [
            (r#"{"id":1,"method":"m"}"#, Some("1"), r#"{"id":42,"method":"m"}"#),
            (r#"{"method":"m", "id" : "a\u0062" }"#, Some(r#""a\u0062""#), r#"{"method":"m", "id" : 42 }"#),
            (r#"{"method":"m","\u0069d":null}"#, Some("null"), r#"{"method":"m","\u0069d":42}"#),
            (r#" {"method":"m"}"#, None, r#" {"id":42,"method":"m"}"#),
            ("{ }", None, r#"{"id":42 }"#),
            (r#"{"params":[{"id":9}]}"#, None, r#"{"id":42,"params":[{"id":9}]}"#),
        ] {
            let mut out = Vec::new();
            let found = write_numbered(&mut out, call.as_bytes(), 42, &mut Scratch::new()).unwrap();
            assert_eq!(found.map(|id| &call[id]), id, "{call}");
            assert_eq!(String::from_utf8(out).unwrap(), numbered);
        }
        for call in ["[]", "", "{", "1"] {
            assert!(write_numbered(&mut Vec::new(), call.as_bytes(), 42, &mut Scratch::new()).is_err(), "{call}");
        }
        let mut out = Vec::new();
        write_with_id(&mut out, br#"{"id":42,"result":1}"#, 6..8, br#""a\u0062""#);
        assert_eq!(out, br#"{"id":"a\u0062","result":1}"#);
    }
}
