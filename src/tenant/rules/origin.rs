//! Which pages: origins as browsers send them, and patterns of them.
//!
//! ```text
//!   *                            any
//!   null                         pages that have none, such as a file's
//!   https://app.example          that one
//!   https://*.app.example        every name below it, and not itself
//!   http://localhost:*           whatever the port
//! ```
//!
//! What an operator writes is made what browsers send: lower case, no path, no port that is the scheme's own. Anything
//! else is refused: it would match no browser, or, with a star behind a name, everybody who registers a longer one.
//!
//! A ledger may hold other texts, from before they were refused. One without a star matches itself, to the letter; one
//! with a star in any other place matches nothing.

use std::fmt;
use std::str::FromStr;

use url::Host;

/// A rule of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Any,
    /// To the letter.
    One(String),
    Many(Pattern),
    /// An old text that says nothing certain.
    Nobody,
}

/// Origins that differ in a name or a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    scheme: String,
    host: String,
    /// Every name below the host, instead of the host.
    below: bool,
    port: Port,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    /// The scheme's own, which browsers leave out.
    Own,
    One(u16),
    Any,
}

/// The text is no rule of origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an origin as browsers send it (https://app.example, http://localhost:3000), with *. before a name for all \
     names below it or :* for every port; * for any; null for pages without one"
)]
pub struct NoOrigin;

impl Origin {
    /// What the ledger holds, which may be older than the rule of what is written.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        let old = || if text.contains('*') { Self::Nobody } else { Self::One(text.to_owned()) };
        text.parse().unwrap_or_else(|NoOrigin| old())
    }

    /// Whether a page that shows this is meant.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::One(origin) => shown == origin.as_bytes(),
            Self::Many(pattern) => pattern.is(shown),
            Self::Nobody => false,
        }
    }
}

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        match text {
            "*" => return Ok(Self::Any),
            "null" => return Ok(Self::One(text.to_owned())),
            _ => {}
        }
        let pattern: Pattern = text.parse()?;
        let one = !pattern.below && pattern.port != Port::Any;
        Ok(if one { Self::One(pattern.to_string()) } else { Self::Many(pattern) })
    }
}

impl FromStr for Pattern {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let (scheme, rest) = text.split_once("://").ok_or(NoOrigin)?;
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !scheme.starts_with(|char: char| char.is_ascii_alphabetic()) || !scheme.bytes().all(letters) {
            return Err(NoOrigin);
        }
        let scheme = scheme.to_ascii_lowercase();
        // An IPv6 address has colons of its own.
        let at = rest.rfind(':').filter(|at| !rest[*at..].ends_with(']'));
        let (host, port) = at.map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 1..])));
        let below = host.strip_prefix("*.");
        Ok(Self {
            host: name(below.unwrap_or(host), below.is_some())?,
            below: below.is_some(),
            port: port.map_or(Ok(Port::Own), |port| Port::read(port, &scheme))?,
            scheme,
        })
    }
}

/// A host as browsers write it: small letters, and `xn--` for others than ASCII's.
fn name(host: &str, below: bool) -> Result<String, NoOrigin> {
    let host = Host::parse(host).map_err(|_| NoOrigin)?;
    let is_name = |name: &str| {
        let byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        name.split('.').all(|label| !label.is_empty() && label.bytes().all(byte))
    };
    match &host {
        Host::Domain(name) if !is_name(name) => Err(NoOrigin),
        // There is nothing below an address.
        Host::Ipv4(_) | Host::Ipv6(_) if below => Err(NoOrigin),
        _ => Ok(host.to_string()),
    }
}

impl Port {
    fn read(text: &str, scheme: &str) -> Result<Self, NoOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let port = text.parse().ok().filter(|_| digits).ok_or(NoOrigin)?;
        let own = matches!((scheme, port), ("http" | "ws", 80) | ("https" | "wss", 443));
        Ok(if own { Self::Own } else { Self::One(port) })
    }
}

impl Pattern {
    fn is(&self, shown: &[u8]) -> bool {
        let Some(rest) = shown.strip_prefix(self.scheme.as_bytes()).and_then(|rest| rest.strip_prefix(b"://")) else {
            return false;
        };
        let (host, port) = parted(rest);
        let port = match self.port {
            Port::Any => true,
            Port::Own => port.is_none(),
            Port::One(own) => port == Some(own),
        };
        port && if self.below { self.is_below(host) } else { host == self.host.as_bytes() }
    }

    fn is_below(&self, host: &[u8]) -> bool {
        // Whoever could put a slash or an at sign there could put another host before it.
        let is_name =
            |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        let name = host.strip_suffix(self.host.as_bytes()).and_then(|name| name.strip_suffix(b"."));
        name.is_some_and(|name| !name.is_empty() && is_name(name))
    }
}

/// A host and its port, where it has one.
fn parted(shown: &[u8]) -> (&[u8], Option<u16>) {
    let digits = shown.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (host, port) = shown.split_at(shown.len() - digits);
    let port = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
    match (host.strip_suffix(b":"), port) {
        (Some(host), Some(port)) => (host, Some(port)),
        _ => (shown, None),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(origin) => f.write_str(origin),
            Self::Many(pattern) => pattern.fmt(f),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, below, port } = self;
        write!(f, "{scheme}://{}{host}", if *below { "*." } else { "" })?;
        match port {
            Port::Own => Ok(()),
            Port::One(port) => write!(f, ":{port}"),
            Port::Any => f.write_str(":*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_kept_as_browsers_send_it() {
        for (text, kept) in [
            ("*", "*"),
            ("null", "null"),
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("http://app.example:443", "http://app.example:443"),
            ("https://app.example:08443", "https://app.example:8443"),
            ("https://*.App.example", "https://*.app.example"),
            ("https://*.app.example:8443", "https://*.app.example:8443"),
            ("http://localhost:*", "http://localhost:*"),
            ("https://*.app.example:*", "https://*.app.example:*"),
            ("https://Bücher.example", "https://xn--bcher-kva.example"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]", "http://[::1]"),
            ("http://[0:0::1]:*", "http://[::1]:*"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ] {
            let origin: Origin = text.parse().unwrap();
            assert_eq!(origin.to_string(), kept, "{text}");
            assert_eq!(kept.parse(), Ok(origin), "{text}");
        }
    }

    #[test]
    fn what_would_match_no_browser_or_too_many_is_refused() {
        for text in [
            "",
            "app.example",
            "//app.example",
            "://app.example",
            "https://",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example?a",
            "https://app.example#a",
            "https://user@app.example",
            "https://app.example*",
            "https://app.*",
            "https://*",
            "https://*app.example",
            "https://a*.example",
            "https://*.*.example",
            "https://*.",
            "https://*.127.0.0.1",
            "https://app.example:",
            "https://app.example:+1",
            "https://app.example:65536",
            "https://app.example:3*",
            "https://app.example.",
            "https://a..example",
            "https://a b.example",
            "*://app.example",
            "**",
            "NULL",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(NoOrigin), "{text}");
        }
    }

    #[test]
    fn a_pattern_is_for_its_names_and_ports() {
        for (rule, shown, expected) in [
            ("*", "https://anything", true),
            ("null", "null", true),
            ("https://app.example", "https://app.example", true),
            ("https://app.example", "https://app.example.evil.com", false),
            ("https://app.example", "https://app.example:8443", false),
            ("https://*.example", "https://a.b-2.example", true),
            ("https://*.example", "https://a.example:8443", false),
            ("https://*.example", "https://example", false),
            ("https://*.example", "https://evilexample", false),
            ("https://*.example", "https://.example", false),
            ("https://*.example", "https://a.example.evil", false),
            ("https://*.example", "https://evil/a.example", false),
            ("https://*.example", "https://evil@a.example", false),
            ("https://*.example", "https://evil:1.example", false),
            ("https://*.example", "null", false),
            ("http://localhost:*", "http://localhost", true),
            ("http://localhost:*", "http://localhost:3000", true),
            ("http://localhost:*", "http://localhost:", false),
            ("http://localhost:*", "http://localhost:3000.evil", false),
            ("http://localhost:*", "http://localhost.evil:3000", false),
            ("http://[::1]:*", "http://[::1]", true),
            ("http://[::1]:*", "http://[::1]:3000", true),
            ("https://*.example:*", "https://a.example:1", true),
            ("https://*.example:*", "https://a.example", true),
            ("https://*.example:8443", "https://a.example:8443", true),
            ("https://*.example:8443", "https://a.example:8444", false),
        ] {
            assert_eq!(rule.parse::<Origin>().unwrap().is(shown.as_bytes()), expected, "{rule} {shown}");
        }
    }

    #[test]
    fn an_old_text_opens_no_more_than_it_says() {
        for (rule, shown, expected) in [
            ("https://app.example*", "https://app.example.evil.com", false),
            ("https://app.example*", "https://app.example", false),
            ("https://*app.example", "https://evilapp.example", false),
            ("https://app.example/", "https://app.example/", true),
            ("app.example", "app.example", true),
            ("app.example", "https://app.example", false),
            ("https://App.example", "https://app.example", true),
            ("https://*.app.example", "https://a.app.example", true),
        ] {
            assert_eq!(Origin::stored(rule).is(shown.as_bytes()), expected, "{rule} {shown}");
        }
    }
}
