//! The request fields that a node reads. All others are checked for form and passed over.
//!
//! A field's length and its first byte leave one name that it may have, so that a field that we do not read costs a jump,
//! and one that we do a single comparison.

use crate::swar::equal_in_any_case;

/// A request field that a node reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Host,
    Origin,
    Expect,
    Upgrade,
    Connection,
    UserAgent,
    Authorization,
    ContentLength,
    LivechainKey,
    ForwardedFor,
    LivechainMeta,
    TransferEncoding,
    SecWebSocketKey,
    SecWebSocketVersion,
    SecWebSocketProtocol,
    SecWebSocketExtensions,
    AccessControlRequestMethod,
    AccessControlRequestHeaders,
}

/// Which one counts of a field that stands in a head more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// None: two readers could pick different ones, and this one decides who is served or how.
    Refused,
    First,
    /// The one appended last, by the proxy next to us.
    Last,
}

impl Known {
    pub const COUNT: usize = 18;

    /// Every one of them, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Host,
        Self::Origin,
        Self::Expect,
        Self::Upgrade,
        Self::Connection,
        Self::UserAgent,
        Self::Authorization,
        Self::ContentLength,
        Self::LivechainKey,
        Self::ForwardedFor,
        Self::LivechainMeta,
        Self::TransferEncoding,
        Self::SecWebSocketKey,
        Self::SecWebSocketVersion,
        Self::SecWebSocketProtocol,
        Self::SecWebSocketExtensions,
        Self::AccessControlRequestMethod,
        Self::AccessControlRequestHeaders,
    ];

    /// The field's name as it is usually written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "Host",
            Self::Origin => "Origin",
            Self::Expect => "Expect",
            Self::Upgrade => "Upgrade",
            Self::Connection => "Connection",
            Self::UserAgent => "User-Agent",
            Self::Authorization => "Authorization",
            Self::ContentLength => "Content-Length",
            Self::LivechainKey => "X-Livechain-Key",
            Self::ForwardedFor => "X-Forwarded-For",
            Self::LivechainMeta => "X-Livechain-Meta",
            Self::TransferEncoding => "Transfer-Encoding",
            Self::SecWebSocketKey => "Sec-WebSocket-Key",
            Self::SecWebSocketVersion => "Sec-WebSocket-Version",
            Self::SecWebSocketProtocol => "Sec-WebSocket-Protocol",
            Self::SecWebSocketExtensions => "Sec-WebSocket-Extensions",
            Self::AccessControlRequestMethod => "Access-Control-Request-Method",
            Self::AccessControlRequestHeaders => "Access-Control-Request-Headers",
        }
    }

    /// The field of this name, in any case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let only_one = match (name.len(), name.first()?.to_ascii_lowercase()) {
            (4, b'h') => Self::Host,
            (6, b'o') => Self::Origin,
            (6, b'e') => Self::Expect,
            (7, b'u') => Self::Upgrade,
            (10, b'c') => Self::Connection,
            (10, b'u') => Self::UserAgent,
            (13, b'a') => Self::Authorization,
            (14, b'c') => Self::ContentLength,
            (15, b'x') if matches!(name[2], b'l' | b'L') => Self::LivechainKey,
            (15, b'x') => Self::ForwardedFor,
            (16, b'x') => Self::LivechainMeta,
            (17, b't') => Self::TransferEncoding,
            (17, b's') => Self::SecWebSocketKey,
            (21, b's') => Self::SecWebSocketVersion,
            (22, b's') => Self::SecWebSocketProtocol,
            (24, b's') => Self::SecWebSocketExtensions,
            (29, b'a') => Self::AccessControlRequestMethod,
            (30, b'a') => Self::AccessControlRequestHeaders,
            _ => return None,
        };
        equal_in_any_case(name, only_one.name().as_bytes()).then_some(only_one)
    }

    pub(super) const fn repeat(self) -> Repeat {
        match self {
            Self::Host
            | Self::Origin
            | Self::Authorization
            | Self::LivechainKey
            | Self::SecWebSocketKey
            | Self::SecWebSocketVersion => Repeat::Refused,
            Self::ForwardedFor => Repeat::Last,
            _ => Repeat::First,
        }
    }
}

/// The members of a list field's value, without the white space around them; empty ones are left out.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|member| !member.is_empty())
}

/// Without optional white space (space and tab, no other) at both ends.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Characters of methods and field names (RFC 9110, section 5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*'
        | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Characters of a field's value: visible ones, space, tab, and bytes above ASCII.
pub(super) const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=0x7e | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_by_its_name_in_any_case() {
        for (number, known) in Known::ALL.into_iter().enumerate() {
            assert_eq!(known as usize, number, "{known:?}");
            assert_eq!(Known::from_name(known.name().as_bytes()), Some(known));
            assert_eq!(Known::from_name(known.name().to_lowercase().as_bytes()), Some(known));
            assert_eq!(Known::from_name(known.name().to_uppercase().as_bytes()), Some(known));
            assert_eq!(Known::from_name(&known.name().as_bytes()[1..]), None);
        }
        assert_eq!(Known::from_name(b""), None);
        assert_eq!(Known::from_name(b"Accept"), None);
    }

    #[test]
    fn a_list_has_members() {
        let all: Vec<_> = members(b" close ,, keep-alive\t,x,").collect();
        assert_eq!(all, [&b"close"[..], b"keep-alive", b"x"]);
        assert_eq!(members(b" \t").count(), 0);
    }
}
