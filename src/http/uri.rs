//! Hosts and request targets (RFC 9110, section 7; RFC 3986): which bytes they may have, and where path and query begin.
//!
//! Stricter than both where nobody is served by less: a host is what DNS may hold or an address (a comma in it would be
//! two Hosts joined by a proxy), a port is not empty, no userinfo. Percent signs are let through in targets; no path of
//! ours has one ([`super::Target`]).

use std::net::Ipv6Addr;

/// Bytes of paths and queries: RFC 3986's, and the brackets that every client leaves bare.
pub(super) static TARGET_BYTES: [bool; 256] = table(b"-._~!$&'()*+,;=/?:@[]%");
/// Bytes of a name or an IPv4 address.
static NAME_BYTES: [bool; 256] = table(b"-._~");

/// Letters, digits and these.
const fn table(also: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < also.len() {
        table[also[index] as usize] = true;
        index += 1;
    }
    table
}

/// Where the parts of a request target stand in it, as offsets from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TargetParts {
    /// Of an absolute target: what stands for Host.
    pub(super) authority: Option<(usize, usize)>,
    pub(super) path: (usize, usize),
    /// What follows the question mark.
    pub(super) query: Option<(usize, usize)>,
}

/// Splits an origin target (`/path?query`), an absolute one (`http://host/path`), or `*`; `None` when it is none of them.
/// It consists of [`TARGET_BYTES`].
pub(super) fn split(target: &[u8]) -> Option<TargetParts> {
    if target == b"*" {
        return Some(TargetParts { authority: None, path: (0, 1), query: None });
    }
    if target.first() == Some(&b'/') {
        let (path, query) = split_query(target, 0);
        return Some(TargetParts { authority: None, path, query });
    }
    let host_at = scheme_bytes(target)?;
    let host_bytes = target[host_at..].iter().position(|byte| matches!(byte, b'/' | b'?'));
    let rest_at = host_bytes.map_or(target.len(), |bytes| host_at + bytes);
    if !is_host(&target[host_at..rest_at]) {
        return None;
    }
    let (mut path, query) = split_query(target, rest_at);
    if path.0 == path.1 {
        // No path means `/`, and the scheme's second slash is one.
        path = (host_at - 1, host_at);
    }
    Some(TargetParts { authority: Some((host_at, rest_at)), path, query })
}

type Range = (usize, usize);

fn split_query(target: &[u8], path_at: usize) -> (Range, Option<Range>) {
    match memchr::memchr(b'?', &target[path_at..]) {
        Some(bytes) => ((path_at, path_at + bytes), Some((path_at + bytes + 1, target.len()))),
        None => ((path_at, target.len()), None),
    }
}

fn scheme_bytes(target: &[u8]) -> Option<usize> {
    ["http://", "https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes())))
        .map(str::len)
}

/// Whether this is `host` or `host:port`, the host not empty.
pub(super) fn is_host(authority: &[u8]) -> bool {
    if let [b'[', rest @ ..] = authority {
        let Some(end) = memchr::memchr(b']', rest) else {
            return false;
        };
        return is_ipv6(&rest[..end]) && is_port(&rest[end + 1..]);
    }
    let name_bytes = authority.iter().position(|byte| !NAME_BYTES[usize::from(*byte)]).unwrap_or(authority.len());
    name_bytes > 0 && is_port(&authority[name_bytes..])
}

fn is_ipv6(literal: &[u8]) -> bool {
    std::str::from_utf8(literal).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Nothing, or a colon and a number of 16 bits.
fn is_port(port: &[u8]) -> bool {
    match port {
        [] => true,
        [b':', digits @ ..] if digits.len() <= 5 => {
            super::framing::decimal(digits).is_some_and(|port| u16::try_from(port).is_ok())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in
            ["a", "a.example", "a_b.example:8545", "127.0.0.1:1", "[::1]", "[::ffff:1.2.3.4]:65535", "A-1", "a~"]
        {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "a,b",
            "a!",
            ":80",
            "a:",
            "a:65536",
            "a:80:80",
            "a b",
            "a/b",
            "a,b ",
            "u@a",
            "[",
            "[]",
            "[::1",
            "::1",
            "[::1]x",
            "[a]",
            "a:+80",
            "a%2e",
            "a?",
            "é",
            "a:000080",
            "[::1]]",
            "[v1.a]",
            "[fe80::1%25eth0]",
            "http://a",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn targets() {
        let show = |target: &'static str| {
            if !target.bytes().all(|byte| TARGET_BYTES[usize::from(byte)]) {
                return None;
            }
            let parts = split(target.as_bytes())?;
            let text = |(from, to): Range| &target[from..to];
            Some((parts.authority.map(text), text(parts.path), parts.query.map(text)))
        };
        for (target, expected) in [
            ("/", Some((None, "/", None))),
            ("*", Some((None, "*", None))),
            ("/rpc/1?meta=1?x", Some((None, "/rpc/1", Some("meta=1?x")))),
            ("/?", Some((None, "/", Some("")))),
            ("//a", Some((None, "//a", None))),
            ("http://a", Some((Some("a"), "/", None))),
            ("http://a?q", Some((Some("a"), "/", Some("q")))),
            ("HTTPS://[::1]:8/rpc/1?q", Some((Some("[::1]:8"), "/rpc/1", Some("q")))),
            ("/a%20b", Some((None, "/a%20b", None))),
            ("", None),
            ("a", None),
            ("?q", None),
            ("a:80", None),
            ("http:/a", None),
            ("http://", None),
            ("http:///a", None),
            ("http://u@a/", None),
            ("ftp://a/", None),
            ("/a#b", None),
            ("/a\\b", None),
            ("/a\"b", None),
            ("/<", None),
            ("/é", None),
            ("*/", None),
        ] {
            assert_eq!(show(target), expected, "{target}");
        }
    }
}
