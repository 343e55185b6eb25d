//! A request's body: one call, or a batch of them.
//!
//! What is wrong with the body as a whole refuses it whole; what is wrong with one item of a batch refuses that
//! item, in its slot. The result borrows from the body alone, so the scratch buffers serve the next request while
//! this one waits for its provider. A batch costs one allocation, for its list; a single call none.

use super::call::{self, Item, Refusal};
use super::error::Reason;
use super::scan::name_of;
use super::tokens::{NotJson, Scratch, Tokens};

/// A request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document<'b> {
    Single(Item<'b>),
    /// In the client's order, at least one. A batch of one is answered with an array too.
    Batch(Vec<Item<'b>>),
}

/// What an operator may bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Items of a batch.
    pub batch_items_max: usize,
}

/// Reads a body. An error is the one answer to all of it.
pub fn parse<'b>(body: &'b [u8], scratch: &mut Scratch, limits: Limits) -> Result<Document<'b>, Refusal<'b>> {
    let document = match scratch.tokens(body) {
        Ok(tokens) => read(tokens, limits),
        Err(NotJson) => Err(refusal_of_no_json(body, scratch)),
    };
    scratch.trim();
    document
}

fn read<'b>(tokens: Tokens<'b, '_>, limits: Limits) -> Result<Document<'b>, Refusal<'b>> {
    const NO_END: Refusal<'static> = Refusal::new(Reason::ParseError, "the body is not JSON");
    if tokens.byte(0) != Some(b'[') {
        let (item, _) = call::read(tokens, 0).ok_or(NO_END)?;
        return Ok(Document::Single(item));
    }
    let mut items = Vec::new();
    let mut token = 1;
    while tokens.byte(token).ok_or(NO_END)? != b']' {
        if items.len() == limits.batch_items_max {
            return Err(Refusal::new(Reason::BatchTooLarge, "the batch has too many items"));
        }
        let (item, behind) = call::read(tokens, token).ok_or(NO_END)?;
        items.push(item);
        token = if tokens.byte(behind) == Some(b',') { behind + 1 } else { behind };
    }
    if items.is_empty() {
        return Err(Refusal::new(Reason::InvalidRequest, "the batch is empty"));
    }
    Ok(Document::Batch(items))
}

/// The body is not JSON. Where all that is wrong is that the one call's method is not UTF-8, say that instead.
#[cold]
fn refusal_of_no_json<'b>(body: &'b [u8], scratch: &mut Scratch) -> Refusal<'b> {
    method_not_utf8(body, scratch)
        .unwrap_or_else(|| Refusal::new(Reason::ParseError, "the body is not JSON, or nested too deep"))
}

fn method_not_utf8<'b>(body: &'b [u8], scratch: &mut Scratch) -> Option<Refusal<'b>> {
    let bad = std::str::from_utf8(body).err()?.valid_up_to();
    // Bytes for bytes, so that offsets hold in both.
    let ascii: Vec<u8> = body.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }).collect();
    let tokens = scratch.tokens(&ascii).ok()?;
    let (Ok(_), _) = call::read(tokens, 0)? else {
        return None;
    };
    let find = |name| tokens.members(0).find(|member| name_of(&ascii[member.key.clone()], &[name]).is_some());
    if !find("method")?.value.contains(&bad) {
        return None;
    }
    let id = find("id").map_or(&b"null"[..], |member| &body[member.value]);
    std::str::from_utf8(id).ok()?;
    Some(Refusal { id, reason: Reason::InvalidRequest, message: "method is not UTF-8" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    const LIMITS: Limits = Limits { batch_items_max: 3 };

    fn shown(item: &Item<'_>) -> String {
        match item {
            Ok(call) => format!("{} {}", call.id.map_or("-", |id| std::str::from_utf8(id).unwrap()), call.method),
            Err(refusal) => format!("{} {}", std::str::from_utf8(refusal.id).unwrap(), refusal.reason.word()),
        }
    }

    /// `1 m`: a call with id 1 of method m; `-` for a notification; `1 word` for a refusal; in brackets for a batch;
    /// after `!` for a body that is refused whole.
    fn outcome(body: &[u8]) -> String {
        match parse(body, &mut Scratch::new(), LIMITS) {
            Ok(Document::Single(item)) => shown(&item),
            Ok(Document::Batch(items)) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
            Err(refusal) => format!("!{}", shown(&Err(refusal))),
        }
    }

    #[test]
    fn bodies() {
        let rows: &[(&[u8], &str)] = &[
            (br#"{"jsonrpc":"2.0","id":1,"method":"m","params":[]}"#, "1 m"),
            (b" \t\r\n {\"id\":1,\"method\":\"m\"}\n", "1 m"),
            (br#"{"method":"m"}"#, "- m"),
            (br#"{"id":null,"method":"m"}"#, "null m"),
            (b" \t\r\n [{\"id\":1,\"method\":\"m\"}]", "[1 m]"),
            (br#"[{"id":1,"method":"m"} , {"id":1,"method":"n"}]"#, "[1 m, 1 n]"),
            (br#"[{"method":"m"},{"method":"n"}]"#, "[- m, - n]"),
            (br#"[1,{"id":1,"method":"m"},[[]]]"#, "[null invalid_request, 1 m, null invalid_request]"),
            (br#"[{"id":[],"method":"m"},{"id":2}]"#, "[null invalid_request, 2 invalid_request]"),
            (br#"[{"id":1,"method":"m","params":[{"x":[1,{}]}]},null]"#, "[1 m, null invalid_request]"),
            (b"[]", "!null invalid_request"),
            (b" [ ] ", "!null invalid_request"),
            (b"[1,2,3]", "[null invalid_request, null invalid_request, null invalid_request]"),
            (b"[1,2,3,4]", "!null batch_too_large"),
            (b"[1,2,3,4", "!null parse_error"),
            (b"1", "null invalid_request"),
            (b"\"m\"", "null invalid_request"),
            (b"null", "null invalid_request"),
            (b"", "!null parse_error"),
            (b"x", "!null parse_error"),
            (b"\xef\xbb\xbf{}", "!null parse_error"),
            (br#"{"id":1,"method":"m"}{"#, "!null parse_error"),
            (br#"{"id":1,"method":"m"} x"#, "!null parse_error"),
            (br#"{"id":1,"method":"m"},"#, "!null parse_error"),
            (br#"{"id":1,"method":"m",}"#, "!null parse_error"),
            (br#"[{"id":1,"method":"m"},]"#, "!null parse_error"),
            (b"{\"id\":1,\"method\":\"m\xff\"}", "!1 invalid_request"),
            (b"{\"method\":\"\xff\"}", "!null invalid_request"),
            (b"{\"id\":\"\xff\",\"method\":\"\xff\"}", "!null parse_error"),
            (b"{\"id\":1,\"method\":\"m\",\"params\":[\"\xff\"]}", "!null parse_error"),
            (b"{\"id\":1,\"method\":\"m\xff\"}}", "!null parse_error"),
        ];
        for (body, expected) in rows {
            assert_eq!(outcome(body), *expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            format!(r#"{{"id":1,"method":"m","params":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1))
        };
        assert_eq!(outcome(nested(128).as_bytes()), "1 m");
        assert_eq!(outcome(nested(129).as_bytes()), "!null parse_error");
    }

    #[test]
    fn buffers_are_reused_without_a_trace_of_the_text_before() {
        let mut scratch = Scratch::new();
        for body in [
            r#"{"id":1,"method":"a\u0062","params":["x"]}"#,
            "{",
            r#"{"method":"m"}"#,
            "[1e999]",
            r#"{"id":2,"method":"n"}"#,
        ] {
            let fresh = parse(body.as_bytes(), &mut Scratch::new(), LIMITS);
            assert_eq!(parse(body.as_bytes(), &mut scratch, LIMITS), fresh, "{body}");
        }
    }

    /// What `serde_json` shows of a call: its raw id and params, and its method.
    #[derive(serde::Deserialize)]
    struct Shown<'b> {
        #[serde(borrow, default, deserialize_with = "present")]
        id: Option<&'b RawValue>,
        method: String,
        #[serde(borrow, default, deserialize_with = "present")]
        params: Option<&'b RawValue>,
    }

    /// `null` is a value here, not an absence.
    fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
        serde::Deserialize::deserialize(from).map(Some)
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            any::<i64>().prop_map(|n| n.to_string()),
            "[1-9][0-9]{17,40}",
            "-?[0-9]\\.[0-9]{1,20}([eE][+-]?[0-9]{1,3})?",
            any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
            "\"(\\\\u00[0-7][0-9a-f]|[a-z]){0,8}\"",
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(|all| format!("[ {} ]", all.join(" , "))),
                proptest::collection::vec(("[a-z]{0,6}", inner), 0..5).prop_map(|all| {
                    let members: Vec<_> = all.iter().map(|(k, v)| format!("\"{k}\" : {v}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_cut_out_is_what_serde_json_shows(
            id in proptest::option::of(json()),
            params in proptest::option::of(json()),
            extra in json(),
            order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
        ) {
            let mut members = vec![format!("\"x\":{extra}"), "\"method\" : \"eth_\\u0063all\"".to_owned()];
            members.extend(id.map(|id| format!("\"id\":{id}")));
            members.extend(params.map(|params| format!("\"params\":\t{params}\n")));
            let ordered: Vec<_> = order.iter().filter_map(|n| members.get(*n).cloned()).collect();
            let body = format!("{{{}}}", ordered.join(","));
            let shown: Shown<'_> = serde_json::from_str(&body).unwrap();
            let mut scratch = Scratch::new();
            let Ok(Document::Single(item)) = parse(body.as_bytes(), &mut scratch, LIMITS) else {
                return Err(TestCaseError::fail(body));
            };
            let raw = |value: Option<&RawValue>| value.map(|value| value.get().to_owned().into_bytes());
            match item {
                Ok(call) => {
                    prop_assert_eq!(call.raw, body.as_bytes());
                    prop_assert_eq!(call.id.map(<[u8]>::to_vec), raw(shown.id));
                    prop_assert_eq!(call.params.map(<[u8]>::to_vec), raw(shown.params));
                    prop_assert_eq!(call.method, shown.method);
                }
                Err(refusal) => {
                    let starts = |value: Option<&RawValue>, with: &[char]| value.is_some_and(|v| v.get().starts_with(with));
                    let bad_id = starts(shown.id, &['{', '[', 't', 'f']);
                    let bad_params = shown.params.is_some() && !starts(shown.params, &['{', '[']);
                    prop_assert!(bad_id || bad_params, "{body}: {refusal:?}");
                }
            }
        }
    }
}
