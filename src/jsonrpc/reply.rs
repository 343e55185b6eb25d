//! What a provider answered: a result, an error, or nothing that a client may see.
//!
//! A reply is relayed byte for byte, so all that is read of it is whose it is and which of the two it is. `error: null`
//! beside a result is success, in any order of keys. An error that is not null wins over a result: nodes that
//! stream append it when a result breaks off. Ids are matched by value, because providers rewrite them (`1` as `1.0`,
//! escapes undone, large integers as doubles); the client's own bytes are then put back in their place.

use std::borrow::Cow;
use std::ops::Range;

use super::scan::{Member, name_of, unescaped};
use super::tokens::{Scratch, Tokens};
use crate::limits::REPLY_PREFIX_BYTES_MAX;

/// A provider's reply. Ranges are of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'b> {
    Success { id: IdMatch, result: Range<usize> },
    Error(ReplyError<'b>),
    Malformed(Malformed),
}

/// A provider's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyError<'b> {
    pub id: IdMatch,
    /// An integer, or a string or float that holds one.
    pub code: Option<i64>,
    /// Empty where there is none.
    pub message: Cow<'b, str>,
    /// The value of `error`.
    pub error: Range<usize>,
}

/// How the reply's id compares with the one that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdMatch {
    /// Byte for byte.
    Exact,
    /// Equal, or `null` beside an error: the client's bytes belong into this range.
    Rewrite(Range<usize>),
    /// Beside an error: the client's id belongs behind this offset, with a comma after it.
    Insert(usize),
}

/// Why a reply is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not JSON, cut short included.
    NotJson,
    /// JSON, but not an object.
    NotAnObject,
    /// `id`, `result` or `error` stands twice.
    DuplicateMember,
    /// Neither a result nor an error.
    Neither,
    /// The answer to another call.
    OtherId,
}

/// What the head of a reply tells that is too large to be read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub kind: PrefixKind,
    /// How the id compares, where it stands in the head.
    pub id: Option<Result<IdMatch, Malformed>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixKind {
    /// A result has begun.
    Success,
    /// An error has begun.
    Error,
    /// Neither within the bytes that are looked at.
    Unknown,
}

const NAMES: [&str; 3] = ["id", "result", "error"];
const ERROR_NAMES: [&str; 2] = ["code", "message"];

/// Reads a whole reply to the call that was sent with `sent_id` (raw; `None`: a notification, whose id is not compared).
pub fn inspect<'b>(body: &'b [u8], sent_id: Option<&[u8]>, scratch: &mut Scratch) -> Reply<'b> {
    let reply = match scratch.tokens(body) {
        Ok(tokens) => read(tokens, sent_id).unwrap_or_else(Reply::Malformed),
        Err(_) => Reply::Malformed(Malformed::NotJson),
    };
    scratch.trim();
    reply
}

/// Reads the head of a reply. Nothing is validated.
pub fn inspect_prefix(prefix: &[u8], sent_id: Option<&[u8]>, scratch: &mut Scratch) -> Prefix {
    let head = &prefix[..prefix.len().min(REPLY_PREFIX_BYTES_MAX)];
    let tokens = scratch.tokens_of_head(head);
    let mut found = Prefix { kind: PrefixKind::Unknown, id: None };
    for member in tokens.members(0) {
        let value = &head[member.value.clone()];
        match name_of(&head[member.key], &NAMES) {
            Some(0) if member.whole => {
                found.id = Some(match_id(head, Some(member.value), sent_id, false));
            }
            Some(1) if !b"null".starts_with(value) => found.kind = PrefixKind::Success,
            Some(2) if !b"null".starts_with(value) => found.kind = PrefixKind::Error,
            _ => {}
        }
    }
    found
}

/// Appends a reply with the client's own id.
pub fn write_reply(out: &mut Vec<u8>, body: &[u8], id: &IdMatch, sent_id: Option<&[u8]>) {
    let sent_id = sent_id.unwrap_or(b"null");
    match id {
        IdMatch::Exact => out.extend_from_slice(body),
        IdMatch::Rewrite(range) => splice(out, body, range.clone(), sent_id),
        IdMatch::Insert(offset) => {
            out.extend_from_slice(&body[..*offset]);
            out.extend_from_slice(br#""id":"#);
            out.extend_from_slice(sent_id);
            out.push(b',');
            out.extend_from_slice(&body[*offset..]);
        }
    }
}

/// Appends `body` with `instead` in place of `range`.
pub(super) fn splice(out: &mut Vec<u8>, body: &[u8], range: Range<usize>, instead: &[u8]) {
    out.extend_from_slice(&body[..range.start]);
    out.extend_from_slice(instead);
    out.extend_from_slice(&body[range.end..]);
}

fn read<'b>(tokens: Tokens<'b, '_>, sent_id: Option<&[u8]>) -> Result<Reply<'b>, Malformed> {
    let text = tokens.text;
    if tokens.byte(0) != Some(b'{') {
        return Err(Malformed::NotAnObject);
    }
    let mut found: [Option<Member>; NAMES.len()] = [const { None }; NAMES.len()];
    for member in tokens.members(0) {
        if let Some(n) = name_of(&text[member.key.clone()], &NAMES)
            && found[n].replace(member).is_some()
        {
            return Err(Malformed::DuplicateMember);
        }
    }
    let [id, result, error] = found;
    let id = id.map(|member| member.value);
    if let Some(error) = error.filter(|member| &text[member.value.clone()] != b"null") {
        let id = match_id(text, id, sent_id, true)?;
        return Ok(Reply::Error(read_error(tokens, &error, id)));
    }
    let result = result.ok_or(Malformed::Neither)?.value;
    Ok(Reply::Success { id: match_id(text, id, sent_id, false)?, result })
}

fn read_error<'b>(tokens: Tokens<'b, '_>, error: &Member, id: IdMatch) -> ReplyError<'b> {
    let text = tokens.text;
    let mut found = ReplyError { id, code: None, message: Cow::Borrowed(""), error: error.value.clone() };
    if text[error.value.start] == b'"' {
        found.message = words(&text[error.value.clone()]);
    }
    for member in tokens.members(error.token) {
        let value = &text[member.value];
        match name_of(&text[member.key], &ERROR_NAMES) {
            Some(0) => found.code = integer(value),
            Some(1) if value[0] == b'"' => found.message = words(value),
            _ => {}
        }
    }
    found
}

/// A message, as far as it is text.
fn words(string: &[u8]) -> Cow<'_, str> {
    unescaped(string).unwrap_or_else(|| String::from_utf8_lossy(string))
}

/// `-32000`, `"-32000"` and `-32000.0` alike.
fn integer(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?.trim_matches('"');
    let whole =
        text.split_once('.').map_or(text, |(whole, rest)| if rest.bytes().all(|b| b == b'0') { whole } else { text });
    whole.parse().ok()
}

fn match_id(text: &[u8], id: Option<Range<usize>>, sent: Option<&[u8]>, is_error: bool) -> Result<IdMatch, Malformed> {
    let Some(sent) = sent else {
        return Ok(IdMatch::Exact);
    };
    let Some(range) = id else {
        // An error may come from before the id was read. Behind the brace is a member: the error.
        let brace = text.iter().position(|byte| *byte == b'{');
        return brace.filter(|_| is_error).map(|at| IdMatch::Insert(at + 1)).ok_or(Malformed::OtherId);
    };
    let got = &text[range.clone()];
    if got == sent {
        Ok(IdMatch::Exact)
    } else if same_id(got, sent) || (is_error && got == b"null") {
        Ok(IdMatch::Rewrite(range))
    } else {
        Err(Malformed::OtherId)
    }
}

/// Whether two ids, raw and different, say the same. A number and a string of its digits do: gateways mix them up.
fn same_id(a: &[u8], b: &[u8]) -> bool {
    if a == b"null" || b == b"null" {
        return false;
    }
    let (Some(a_text), Some(b_text)) = (id_text(a), id_text(b)) else {
        return false;
    };
    if a_text == b_text {
        return true;
    }
    // As doubles: that is what a provider has made of an integer beyond 2^53.
    let numbers = !a.starts_with(b"\"") && !b.starts_with(b"\"");
    numbers
        && matches!((a_text.parse::<f64>(), b_text.parse::<f64>()), (Ok(a), Ok(b)) if a.total_cmp(&b).is_eq() || (a == 0.0 && b == 0.0))
}

fn id_text(id: &[u8]) -> Option<Cow<'_, str>> {
    if id.starts_with(b"\"") { unescaped(id) } else { std::str::from_utf8(id).ok().map(Cow::Borrowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reply is, shortly: `ok RESULT`, `err CODE MESSAGE` or `bad WHY`; then what the client gets where it is not
    /// the body itself.
    fn check(sent: &str, body: &str, expected: &str, relayed: Option<&str>) {
        let reply = inspect(body.as_bytes(), Some(sent.as_bytes()), &mut Scratch::new());
        let (shown, id) = match reply {
            Reply::Success { id, result } => (format!("ok {}", &body[result]), Some(id)),
            Reply::Error(e) => {
                let code = e.code.map_or("-".to_owned(), |code| code.to_string());
                assert_eq!(body[e.error.clone()].trim(), &body[e.error]);
                (format!("err {code} {}", e.message), Some(e.id))
            }
            Reply::Malformed(why) => (format!("bad {why:?}"), None),
        };
        assert_eq!(shown, expected, "{body}");
        let Some(id) = id else { return };
        let mut out = Vec::new();
        write_reply(&mut out, body.as_bytes(), &id, Some(sent.as_bytes()));
        assert_eq!(String::from_utf8(out).unwrap(), relayed.unwrap_or(body));
        assert_eq!(matches!(id, IdMatch::Exact), relayed.is_none(), "{body}: {id:?}");
    }

    #[test]
    fn results_and_errors() {
        for (body, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":"0x1"}"#, r#"ok "0x1""#),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null}\n", "ok null"),
            (r#"{"id":1,"result":{"a":[1]},"error":null}"#, r#"ok {"a":[1]}"#),
            (r#"{"error":null,"result":[],"id":1}"#, "ok []"),
            (r#"{"error":null,"id":1,"result":null}"#, "ok null"),
            (r#" { "result" : 5 , "id" : 1 } "#, "ok 5"),
            (r#"{"result":1e999,"id":1}"#, "ok 1e999"),
            (r#"{"r\u0065sult":5,"id":1}"#, "ok 5"),
            (r#"{"id":1,"error":{"code":-32000,"message":"no"}}"#, "err -32000 no"),
            (r#"{"id":1,"error":{"message":"a\u0062","data":{"code":5},"code":3}}"#, "err 3 ab"),
            (r#"{"id":1,"result":null,"error":{"code":1,"message":"m"}}"#, "err 1 m"),
            (r#"{"id":1,"result":[1,2],"error":{"code":-32000,"message":"broke off"}}"#, "err -32000 broke off"),
            (r#"{"id":1,"error":{"code":"429","message":"m"}}"#, "err 429 m"),
            (r#"{"id":1,"error":{"code":-32005.0,"message":"m"}}"#, "err -32005 m"),
            (r#"{"id":1,"error":{"code":1.5,"message":"m"}}"#, "err - m"),
            (r#"{"id":1,"error":{"code":null,"message":["m"]}}"#, "err - "),
            (r#"{"id":1,"error":{}}"#, "err - "),
            (r#"{"id":1,"error":"too many requests"}"#, "err - too many requests"),
            (r#"{"id":1,"error":true}"#, "err - "),
            (r#"{"id":1,"error":[{"code":5}]}"#, "err - "),
        ] {
            check("1", body, expected, None);
        }
        check("1", r#"{"id":1,"error":{"code":1,"message":"\ud800"}}"#, r#"err 1 "\ud800""#, None);
    }

    #[test]
    fn malformed_replies() {
        for (body, why) in [
            ("", "NotJson"),
            ("<html></html>", "NotJson"),
            (r#"{"id":1,"result":"0x"#, "NotJson"),
            (r#"{"id":1,"result":1}{"#, "NotJson"),
            (r#"[{"id":1,"result":1}]"#, "NotAnObject"),
            ("null", "NotAnObject"),
            ("{}", "Neither"),
            (r#"{"id":1}"#, "Neither"),
            (r#"{"id":1,"error":null}"#, "Neither"),
            (r#"{"message":"Forbidden"}"#, "Neither"),
            (r#"{"id":2,"result":1}"#, "OtherId"),
            (r#"{"id":2,"error":{"code":1}}"#, "OtherId"),
            (r#"{"id":null,"result":1}"#, "OtherId"),
            (r#"{"result":1}"#, "OtherId"),
            (r#"{"id":[1],"result":1}"#, "OtherId"),
            (r#"{"id":{},"error":{}}"#, "OtherId"),
            (r#"{"id":1,"id":1,"result":1}"#, "DuplicateMember"),
            (r#"{"id":1,"result":1,"r\u0065sult":2}"#, "DuplicateMember"),
            (r#"{"id":1,"error":null,"error":{"code":1}}"#, "DuplicateMember"),
        ] {
            check("1", body, &format!("bad {why}"), None);
        }
    }

    #[test]
    fn ids_that_say_the_same_are_put_back_as_the_client_wrote_them() {
        for (sent, got) in [
            ("1", "1.0"),
            ("1.0", "1"),
            ("1e2", "100"),
            ("-0", "0"),
            ("12345678901234567890123", "1.2345678901234568e22"),
            ("9007199254740993", "9007199254740992"),
            ("18446744073709551616", "18446744073709552000"),
            (r#""\u0061b""#, r#""ab""#),
            (r#""a/b""#, r#""a\/b""#),
            (r#""é""#, r#""\u00e9""#),
            ("1", r#""1""#),
            (r#""7""#, "7"),
        ] {
            let body = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id} ,"result":"0x"}}"#);
            check(sent, &body(got), r#"ok "0x""#, Some(&body(sent)));
        }
        for (sent, got) in [
            ("1", "2"),
            ("1", "1.5"),
            (r#""1""#, "1.0"),
            (r#""a""#, r#""A""#),
            ("null", "0"),
            (r#""null""#, "null"),
            ("0", r#""""#),
        ] {
            check(sent, &format!(r#"{{"id":{got},"result":1}}"#), "bad OtherId", None);
        }
        check("null", r#"{"id":null,"result":1}"#, "ok 1", None);
    }

    #[test]
    fn an_error_may_lack_its_id() {
        let error = r#""error":{"code":-32700,"message":"m"}"#;
        check("7", &format!(r#"{{"id":null,{error}}}"#), "err -32700 m", Some(&format!(r#"{{"id":7,{error}}}"#)));
        check("7", &format!(r" {{ {error}}}"), "err -32700 m", Some(&format!(r#" {{"id":7, {error}}}"#)));
    }

    #[test]
    fn the_reply_to_a_notification_has_any_id() {
        let reply = inspect(br#"{"id":5,"result":1}"#, None, &mut Scratch::new());
        assert_eq!(reply, Reply::Success { id: IdMatch::Exact, result: 17..18 });
    }

    #[test]
    fn heads_of_replies() {
        use PrefixKind::{Error, Success, Unknown};
        let exact = Some(Ok(IdMatch::Exact));
        for (head, kind, id) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":[{"a":1"#, Success, exact.clone()),
            (r#"{"jsonrpc":"2.0","id":1,"result":"0xab"#, Success, exact.clone()),
            (r#"{"result":["#, Success, None),
            (r#"{"error":null,"id":1,"result":["#, Success, exact.clone()),
            (r#"{"id":1.0,"result":{"#, Success, Some(Ok(IdMatch::Rewrite(6..9)))),
            (r#"{"id":2,"result":{"#, Success, Some(Err(Malformed::OtherId))),
            (r#"{"id":1,"error":{"code":1,"mess"#, Error, exact.clone()),
            (r#"{"id":1,"result":null,"error":{"code":1,"mess"#, Error, exact.clone()),
            (r#"{"id":1,"result":"#, Unknown, exact.clone()),
            (r#"{"id":1,"error":nu"#, Unknown, exact.clone()),
            (r#"{"id":1"#, Unknown, None),
            (r#"{"x":["#, Unknown, None),
            ("[[", Unknown, None),
            ("<html>", Unknown, None),
            ("", Unknown, None),
        ] {
            let found = inspect_prefix(head.as_bytes(), Some(b"1"), &mut Scratch::new());
            assert_eq!(found, Prefix { kind, id }, "{head}");
        }
        let late = format!(r#"{{"x":"{}","result":[1"#, "y".repeat(REPLY_PREFIX_BYTES_MAX));
        assert_eq!(inspect_prefix(late.as_bytes(), None, &mut Scratch::new()).kind, Unknown);
    }
}
