//! One call: what of it we read, and why one is refused.
//!
//! A call is forwarded as the client wrote it, so what policy reads must be what the provider will read: a member
//! that counts (`id`, `method`, `params`, `jsonrpc`) may stand once, whatever its spelling, and in lower case: to a node
//! in Go `Method` is as good, and the last one counts. Everything else, and whatever is inside `params`, is the
//! provider's to judge.

use std::borrow::Cow;

use super::error::Reason;
use super::scan::{name_folded, name_of, unescaped};
use super::tokens::Tokens;
use crate::limits::METHOD_BYTES_MAX;

/// A well-formed call, borrowed from the client's body alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'b> {
    /// The call's object, byte for byte.
    pub raw: &'b [u8],
    /// The id as the client wrote it: a string, a number or `null`. `None`: a notification.
    pub id: Option<&'b [u8]>,
    /// The method's name, 1 to [`METHOD_BYTES_MAX`] bytes.
    pub method: Cow<'b, str>,
    /// The params as the client wrote them: an array or an object.
    pub params: Option<&'b [u8]>,
}

/// Why a call, a batch or a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'b> {
    /// Raw: the call's own id where it could be read, else `null`.
    pub id: &'b [u8],
    pub reason: Reason,
    pub message: &'static str,
}

/// What stands in one slot of a batch, or alone.
pub type Item<'b> = Result<Call<'b>, Refusal<'b>>;

const NAMES: [&str; 4] = ["id", "method", "params", "jsonrpc"];

/// The raw members of a call, not yet judged.
#[derive(Debug, Default)]
struct Raw<'b> {
    members: [Option<&'b [u8]>; NAMES.len()],
    /// It stands more than once, or in another case.
    unclear: [bool; NAMES.len()],
}

impl<'b> Refusal<'b> {
    pub(super) const fn new(reason: Reason, message: &'static str) -> Self {
        Self { id: b"null", reason, message }
    }

    const fn invalid(id: &'b [u8], message: &'static str) -> Self {
        Self { id, reason: Reason::InvalidRequest, message }
    }
}

/// Reads the call whose first token is number `token`; with it comes the number of the token behind it. The text
/// has been validated; without that, an end may be missing, and then there is none.
pub(super) fn read<'b>(tokens: Tokens<'b, '_>, token: usize) -> Option<(Item<'b>, usize)> {
    if tokens.byte(token)? != b'{' {
        let (_, behind) = tokens.value(token)?;
        return Some((Err(Refusal::new(Reason::InvalidRequest, "a call must be an object")), behind));
    }
    let text = tokens.text;
    let mut raw = Raw::default();
    let mut members = tokens.members(token);
    for member in &mut members {
        let key = &text[member.key];
        if let Some(n) = name_of(key, &NAMES) {
            raw.unclear[n] |= raw.members[n].is_some();
            raw.members[n] = Some(&text[member.value]);
        } else if let Some(n) = name_folded(key, &NAMES) {
            raw.unclear[n] = true;
        }
    }
    let (end, behind) = members.end()?;
    Some((raw.judged(&text[tokens.offset(token)?..end]), behind))
}

impl<'b> Raw<'b> {
    fn judged(&self, raw: &'b [u8]) -> Item<'b> {
        let [id, method, params, _] = self.members;
        let id_valid = !self.unclear[0] && id.is_none_or(|id| !matches!(id[0], b'{' | b'[' | b't' | b'f'));
        let answer_to = if id_valid { id.unwrap_or(b"null") } else { b"null" };
        let refuse = |message| Err(Refusal::invalid(answer_to, message));
        if self.unclear.contains(&true) {
            return refuse("id, method, params and jsonrpc may stand once, in lower case");
        }
        if !id_valid {
            return refuse("id must be a string, a number or null");
        }
        let Some(method) = method else {
            return refuse("method is missing");
        };
        if method[0] != b'"' {
            return refuse("method must be a string");
        }
        let Some(method) = unescaped(method) else {
            return refuse("method is not UTF-8");
        };
        if method.is_empty() || method.len() > METHOD_BYTES_MAX {
            return refuse("method must have 1 to 256 bytes");
        }
        if params.is_some_and(|params| !matches!(params[0], b'[' | b'{')) {
            return refuse("params must be an array or an object");
        }
        Ok(Call { raw, id, method, params })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokens::Scratch;
    use super::*;

    type Cut<'a> = (Option<&'a str>, &'a str, Option<&'a str>);

    /// `Ok`: id, method, params as cut out. `Err`: the id and the message of the refusal.
    fn check(text: &str, expected: Result<Cut<'_>, (&str, &str)>) {
        let mut scratch = Scratch::new();
        let tokens = scratch.tokens(text.as_bytes()).unwrap();
        let (item, _) = read(tokens, 0).unwrap();
        let cut = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match (item, expected) {
            (Ok(call), Ok((id, method, params))) => {
                assert_eq!(cut(call.raw), text.trim(), "{text}");
                assert_eq!(call.id.map(cut).as_deref(), id, "{text}");
                assert_eq!(call.method, method, "{text}");
                assert_eq!(call.params.map(cut).as_deref(), params, "{text}");
            }
            (Err(refusal), Err((id, message))) => {
                assert_eq!((cut(refusal.id).as_str(), refusal.message), (id, message), "{text}");
                assert_eq!(refusal.reason, Reason::InvalidRequest, "{text}");
            }
            (item, _) => panic!("{text}: {item:?}"),
        }
    }

    #[test]
    fn ids_are_echoed_byte_for_byte() {
        for id in [
            "1",
            "-0",
            "1.0",
            "1e3",
            "0.1E-7",
            "null",
            r#""""#,
            r#""abc""#,
            r#""\u0061\"\\""#,
            "18446744073709551616",
            "-99999999999999999999999999999999999999999",
            "1e999",
        ] {
            check(&format!(r#"{{"id":{id},"method":"m"}}"#), Ok((Some(id), "m", None)));
            check(&format!(r#" {{ "method":"m" , "id" : {id} }} "#), Ok((Some(id), "m", None)));
        }
        check(r#"{"method":"m"}"#, Ok((None, "m", None)));
    }

    #[test]
    fn ids_of_other_types_are_refused_with_id_null() {
        for id in ["{}", "[]", "true", "false", "[1]", r#"{"a":1}"#] {
            let text = format!(r#"{{"id":{id},"method":"m"}}"#);
            check(&text, Err(("null", "id must be a string, a number or null")));
        }
    }

    #[test]
    fn members_that_count_may_stand_once_in_any_spelling() {
        let message = "id, method, params and jsonrpc may stand once, in lower case";
        for (text, id) in [
            (r#"{"id":1,"id":1,"method":"m"}"#, "null"),
            (r#"{"id":1,"\u0069d":2,"method":"m"}"#, "null"),
            (r#"{"id":1,"method":"m","method":"m"}"#, "1"),
            (r#"{"id":1,"method":"m","m\u0065thod":"n"}"#, "1"),
            (r#"{"id":1,"method":"m","params":[],"params":[]}"#, "1"),
            (r#"{"id":1,"method":"m","params":[],"\u0070arams":[]}"#, "1"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","jsonrpc":"2.0"}"#, "1"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","jsonrp\u0063":"2.0"}"#, "1"),
            (r#"{"id":1,"method":"m","ID":3}"#, "null"),
            (r#"{"Id":1,"method":"m"}"#, "null"),
            (r#"{"\u0049d":1,"id":1,"method":"m"}"#, "null"),
            (r#"{"id":1,"method":"m","Method":"n"}"#, "1"),
            (r#"{"Method":"n","id":1}"#, "1"),
            (r#"{"id":1,"method":"m","params":[],"PARAMS":[1]}"#, "1"),
            ("{\"id\":1,\"method\":\"m\",\"param\u{17f}\":[1]}", "1"),
            (r#"{"id":1,"method":"m","json\u0052pc":"2.0"}"#, "1"),
        ] {
            check(text, Err((id, message)));
        }
        // Others are the provider's affair.
        check(r#"{"id":1,"method":"m","x":1,"x":2,"ids":3,"method ":4}"#, Ok((Some("1"), "m", None)));
        check(r#"{"\u0069\u0064":1,"\u006dethod":"m"}"#, Ok((Some("1"), "m", None)));
        check(
            r#"{"id":1,"method":"m","params":[{"id":2,"method":"n"}]}"#,
            Ok((Some("1"), "m", Some(r#"[{"id":2,"method":"n"}]"#))),
        );
    }

    #[test]
    fn methods() {
        for (method, expected) in [
            (r#""eth_call""#, Ok("eth_call")),
            (r#""eth\u005fcall""#, Ok("eth_call")),
            (r#""é""#, Ok("é")),
            (r#""""#, Err("method must have 1 to 256 bytes")),
            ("1", Err("method must be a string")),
            ("null", Err("method must be a string")),
            (r#"["m"]"#, Err("method must be a string")),
            (r#""\ud800""#, Err("method is not UTF-8")),
        ] {
            let text = format!(r#"{{"id":"x","method":{method}}}"#);
            match expected {
                Ok(name) => check(&text, Ok((Some(r#""x""#), name, None))),
                Err(message) => check(&text, Err((r#""x""#, message))),
            }
        }
        check(r#"{"id":1}"#, Err(("1", "method is missing")));
        check("{}", Err(("null", "method is missing")));
        let longest = "m".repeat(METHOD_BYTES_MAX);
        check(&format!(r#"{{"method":"{longest}"}}"#), Ok((None, &longest, None)));
        check(&format!(r#"{{"method":"{longest}m"}}"#), Err(("null", "method must have 1 to 256 bytes")));
    }

    #[test]
    fn params() {
        for params in ["[]", "{}", "[1,[2,{}]]", r#"[ "}" ]"#, r#"{"a":[]}"#, "[99999999999999999999999]"] {
            check(&format!(r#"{{"method":"m","params":{params} }}"#), Ok((None, "m", Some(params))));
        }
        for params in ["1", "null", "\"x\"", "true"] {
            let text = format!(r#"{{"id":1,"method":"m","params":{params}}}"#);
            check(&text, Err(("1", "params must be an array or an object")));
        }
    }

    #[test]
    fn the_version_is_not_insisted_on() {
        for version in ["", r#""jsonrpc":"1.0","#, r#""jsonrpc":2,"#, r#""jsonrpc":null,"#] {
            check(&format!(r#"{{{version}"id":1,"method":"m"}}"#), Ok((Some("1"), "m", None)));
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["1", "null", "\"x\"", "true"] {
            check(text, Err(("null", "a call must be an object")));
        }
    }
}
