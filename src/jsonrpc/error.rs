//! The failures that are ours: a reason each, its HTTP status and code, and the body that says so.
//!
//! The words in `error.data.livechain` are part of the contract: scripts compare them, so they are added to, never
//! changed. Several reasons share a code, because the codes are those that clients already know.

use super::hex::DIGITS;

/// Why the node itself refused or failed a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The body is not JSON, or nested too deep.
    ParseError,
    /// JSON, but not a call.
    InvalidRequest,
    /// More items than a batch may have.
    BatchTooLarge,
    /// The operator blocks this method.
    MethodBlocked,
    /// No provider of the chain knows this method.
    MethodUnknown,
    /// The params of a call that is answered here make no sense.
    InvalidParams,
    /// This connection has no subscription of this id.
    SubscriptionNotFound,
    /// The filter's provider is gone, or the id is not one of ours.
    FilterNotFound,
    /// The assembled answer to a batch would be larger than allowed.
    AnswerTooLarge,
    /// The key's calls or units are used up for now.
    Quota,
    /// No provider is left to ask.
    NoProvider,
    /// Time ran out before an answer came.
    Deadline,
    /// This node has no room for another call.
    Capacity,
    /// The head or the framing of the request is wrong; the connection closes.
    MalformedHttp,
    /// No key, or not a known one.
    Unauthorized,
    /// The key does not allow this.
    Forbidden,
    /// No such path, chain or provider.
    NotFound,
    /// The path takes another HTTP method.
    MethodNotAllowed,
    /// The client took too long to send its request.
    SlowClient,
    /// The body is larger than allowed.
    BodyTooLarge,
}

impl Reason {
    /// Every reason, for tables and counters.
    pub const ALL: [Self; 20] = [
        Self::ParseError,
        Self::InvalidRequest,
        Self::BatchTooLarge,
        Self::MethodBlocked,
        Self::MethodUnknown,
        Self::InvalidParams,
        Self::SubscriptionNotFound,
        Self::FilterNotFound,
        Self::AnswerTooLarge,
        Self::Quota,
        Self::NoProvider,
        Self::Deadline,
        Self::Capacity,
        Self::MalformedHttp,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::SlowClient,
        Self::BodyTooLarge,
    ];

    pub const COUNT: usize = Self::ALL.len();

    /// Its position in [`Reason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word in `error.data.livechain`, in logs and in metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ParseError => "parse_error",
            Self::InvalidRequest => "invalid_request",
            Self::BatchTooLarge => "batch_too_large",
            Self::MethodBlocked => "method_blocked",
            Self::MethodUnknown => "method_unknown",
            Self::InvalidParams => "invalid_params",
            Self::SubscriptionNotFound => "subscription_not_found",
            Self::FilterNotFound => "filter_not_found",
            Self::AnswerTooLarge => "answer_too_large",
            Self::Quota => "quota",
            Self::NoProvider => "no_provider",
            Self::Deadline => "deadline",
            Self::Capacity => "capacity",
            Self::MalformedHttp => "malformed_http",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::SlowClient => "slow_client",
            Self::BodyTooLarge => "body_too_large",
        }
    }

    /// The HTTP status of an answer that is this failure alone. Within a batch the status is 200.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::ParseError
            | Self::InvalidRequest
            | Self::BatchTooLarge
            | Self::MethodBlocked
            | Self::MethodUnknown
            | Self::InvalidParams
            | Self::SubscriptionNotFound
            | Self::FilterNotFound
            | Self::AnswerTooLarge => 200,
            Self::Quota => 429,
            Self::NoProvider | Self::Capacity => 503,
            Self::Deadline => 504,
            Self::MalformedHttp => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::SlowClient => 408,
            Self::BodyTooLarge => 413,
        }
    }

    /// The JSON-RPC error code.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::ParseError => -32700,
            Self::InvalidRequest | Self::BatchTooLarge | Self::MalformedHttp => -32600,
            Self::MethodBlocked => -32004,
            Self::MethodUnknown => -32601,
            Self::InvalidParams => -32602,
            // What geth says of a subscription or a filter that it does not have, and of a batch answer over its bound.
            Self::SubscriptionNotFound | Self::FilterNotFound => -32000,
            Self::AnswerTooLarge => -32003,
            Self::Quota => -32005,
            Self::NoProvider | Self::Deadline | Self::Capacity => -32002,
            Self::Unauthorized | Self::Forbidden => -32050,
            Self::NotFound => -32051,
            Self::MethodNotAllowed => -32052,
            Self::SlowClient => -32053,
            Self::BodyTooLarge => -32054,
        }
    }

    /// The code as it is written.
    const fn code_text(self) -> &'static str {
        match self.code() {
            -32700 => "-32700",
            -32600 => "-32600",
            -32601 => "-32601",
            -32602 => "-32602",
            -32000 => "-32000",
            -32002 => "-32002",
            -32003 => "-32003",
            -32004 => "-32004",
            -32005 => "-32005",
            -32050 => "-32050",
            -32051 => "-32051",
            -32052 => "-32052",
            -32053 => "-32053",
            _ => "-32054",
        }
    }
}

/// Appends the answer that reports a failure of ours. `id` is raw JSON: the client's own bytes, or `null`.
pub fn write_error(out: &mut Vec<u8>, id: &[u8], reason: Reason, message: &str) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    out.extend_from_slice(br#","error":{"code":"#);
    out.extend_from_slice(reason.code_text().as_bytes());
    out.extend_from_slice(br#","message":""#);
    escape(out, message);
    out.extend_from_slice(br#"","data":{"livechain":""#);
    out.extend_from_slice(reason.word().as_bytes());
    out.extend_from_slice(br#""}}}"#);
}

/// Appends `text` as the inside of a JSON string.
pub(super) fn escape(out: &mut Vec<u8>, text: &str) {
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            0..=0x1f => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_table() {
        let rows: &[(&str, u16, i64)] = &[
            ("parse_error", 200, -32700),
            ("invalid_request", 200, -32600),
            ("batch_too_large", 200, -32600),
            ("method_blocked", 200, -32004),
            ("method_unknown", 200, -32601),
            ("invalid_params", 200, -32602),
            ("subscription_not_found", 200, -32000),
            ("filter_not_found", 200, -32000),
            ("answer_too_large", 200, -32003),
            ("quota", 429, -32005),
            ("no_provider", 503, -32002),
            ("deadline", 504, -32002),
            ("capacity", 503, -32002),
            ("malformed_http", 400, -32600),
            ("unauthorized", 401, -32050),
            ("forbidden", 403, -32050),
            ("not_found", 404, -32051),
            ("method_not_allowed", 405, -32052),
            ("slow_client", 408, -32053),
            ("body_too_large", 413, -32054),
        ];
        assert_eq!(rows.len(), Reason::ALL.len());
        for (reason, (word, status, code)) in Reason::ALL.into_iter().zip(rows) {
            assert_eq!((reason.word(), reason.status()), (*word, *status));
            let mut out = Vec::new();
            write_error(&mut out, b"7", reason, "why");
            let body: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(
                body,
                serde_json::json!({"jsonrpc": "2.0", "id": 7,
                    "error": {"code": code, "message": "why", "data": {"livechain": word}}})
            );
        }
    }

    #[test]
    fn messages_are_escaped_and_ids_are_not() {
        let message = "a \"quote\", a \\, a\nline, \u{1} \u{1f} and é";
        let mut out = Vec::new();
        write_error(&mut out, br#""\u0041""#, Reason::NotFound, message);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r#""id":"\u0041","#), "{text}");
        let body: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["error"]["message"], message);
    }
}
