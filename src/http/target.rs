//! What a path asks for: a chain to call, or one of the node's own pages.
//!
//! Names stay as they are written: whether `{chain}` is a name or an id, and whether there is such a chain, strategy
//! or provider, is the caller's to find out. No name of ours needs percent-encoding, so a path with a percent sign leads
//! nowhere, and nothing is ever decoded. A strategy is looked for only where two names follow `/rpc/`: a chain may bear
//! a strategy's name.

use crate::routing::Strategy;

/// What a request's target names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    Rpc(RpcTarget<'a>),
    /// `/api/health`
    Health,
    /// `/api/ready`, or `/api/ready/{chain}` for one chain.
    Ready(Option<&'a str>),
    /// `/api/region`
    Region,
    /// `/api/status`
    Status,
    Unknown,
}

/// Where calls go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RpcTarget<'a> {
    /// From the path, else from the query.
    pub key: Option<&'a str>,
    pub strategy: Option<Strategy>,
    pub provider: Option<&'a str>,
    /// A name or a decimal id; `None` is the only chain there is.
    pub chain: Option<&'a str>,
    /// Under `/ws/`: meant for sockets alone.
    pub websocket_path: bool,
    /// `meta=1` in the query.
    pub meta: bool,
}

/// Segments of the longest path of ours, `/v1/{key}/ws/rpc/provider/{provider}/{chain}`.
const SEGMENTS_MAX: usize = 7;

impl<'a> Target<'a> {
    /// Reads a request's path and query.
    #[must_use]
    pub fn parse(path: &'a [u8], query: Option<&'a [u8]>) -> Self {
        let mut storage = [""; SEGMENTS_MAX];
        let Some(segments) = segments(path, &mut storage) else {
            return Self::Unknown;
        };
        if let ["api", page @ ..] = segments {
            return match page {
                ["health"] => Self::Health,
                ["ready"] => Self::Ready(None),
                ["ready", chain] => Self::Ready(Some(chain)),
                ["region"] => Self::Region,
                ["status"] => Self::Status,
                _ => Self::Unknown,
            };
        }
        let (key, rest) = match segments {
            ["v1", key, rest @ ..] => (Some(*key), rest),
            _ => (None, segments),
        };
        let Some(named) = rpc(rest) else {
            return Self::Unknown;
        };
        let query = Query::parse(query.unwrap_or_default());
        Self::Rpc(RpcTarget { key: key.or(query.key), meta: query.meta, ..named })
    }
}

/// What the segments behind the key name.
fn rpc<'a>(segments: &[&'a str]) -> Option<RpcTarget<'a>> {
    let (websocket_path, names) = match segments {
        [] => return Some(RpcTarget::default()),
        ["ws", "rpc", names @ ..] => (true, names),
        ["rpc", names @ ..] => (false, names),
        _ => return None,
    };
    let (strategy, provider, chain) = match names {
        [chain] => (None, None, *chain),
        [strategy, chain] => (Some(Strategy::from_name(strategy)?), None, *chain),
        ["provider", provider, chain] => (None, Some(*provider), *chain),
        _ => return None,
    };
    Some(RpcTarget { strategy, provider, chain: Some(chain), websocket_path, ..RpcTarget::default() })
}

/// The path's segments, one slash at its end forgiven; `None` when no path of ours has such.
fn segments<'s, 'a>(path: &'a [u8], storage: &'s mut [&'a str; SEGMENTS_MAX]) -> Option<&'s [&'a str]> {
    let path = std::str::from_utf8(path).ok()?.strip_prefix('/')?;
    if path.is_empty() {
        return Some(&[]);
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let (mut count, mut start) = (0, 0);
    for at in 0..=path.len() {
        match path.as_bytes().get(at) {
            None | Some(b'/') if at > start => {
                *storage.get_mut(count)? = path.get(start..at)?;
                count += 1;
                start = at + 1;
            }
            None | Some(b'/' | b'%') => return None,
            Some(_) => {}
        }
    }
    Some(&storage[..count])
}

#[derive(Default)]
struct Query<'a> {
    key: Option<&'a str>,
    meta: bool,
}

impl<'a> Query<'a> {
    /// The first `key` counts; what we do not know is passed over.
    fn parse(query: &'a [u8]) -> Self {
        let mut found = Self::default();
        for pair in query.split(|byte| *byte == b'&') {
            match pair {
                [b'k', b'e', b'y', b'=', key @ ..] if found.key.is_none() => found.key = std::str::from_utf8(key).ok(),
                b"meta=1" => found.meta = true,
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(chain: &str) -> RpcTarget<'_> {
        RpcTarget { chain: Some(chain), ..RpcTarget::default() }
    }

    fn by(strategy: Strategy, chain: &str) -> RpcTarget<'_> {
        RpcTarget { strategy: Some(strategy), ..to(chain) }
    }

    fn at<'a>(provider: &'a str, chain: &'a str) -> RpcTarget<'a> {
        RpcTarget { provider: Some(provider), ..to(chain) }
    }

    fn over_websocket(target: RpcTarget<'_>) -> RpcTarget<'_> {
        RpcTarget { websocket_path: true, ..target }
    }

    fn check(path: &str, query: Option<&str>, expected: Target<'_>) {
        assert_eq!(Target::parse(path.as_bytes(), query.map(str::as_bytes)), expected, "{path}?{query:?}");
    }

    #[test]
    fn calls() {
        for (tail, named) in [
            ("", RpcTarget::default()),
            ("/rpc/ethereum", to("ethereum")),
            ("/rpc/1", to("1")),
            ("/rpc/fastest", to("fastest")),
            ("/rpc/provider", to("provider")),
            ("/rpc/fastest/ethereum", by(Strategy::Fastest, "ethereum")),
            ("/rpc/round-robin/1", by(Strategy::LoadBalanced, "1")),
            ("/rpc/priority/priority", by(Strategy::Priority, "priority")),
            ("/rpc/provider/alpha/ethereum", at("alpha", "ethereum")),
            ("/rpc/provider/provider/1", at("provider", "1")),
            ("/ws/rpc/1", over_websocket(to("1"))),
            ("/ws/rpc/fastest/1", over_websocket(by(Strategy::Fastest, "1"))),
            ("/ws/rpc/provider/alpha/1", over_websocket(at("alpha", "1"))),
        ] {
            for slash in ["", "/"] {
                if tail.len() + slash.len() > 0 {
                    check(&[tail, slash].concat(), None, Target::Rpc(named));
                }
                let keyed = RpcTarget { key: Some("k3y"), ..named };
                check(&["/v1/k3y", tail, slash].concat(), None, Target::Rpc(keyed));
            }
        }
    }

    #[test]
    fn pages() {
        for (path, target) in [
            ("/api/health", Target::Health),
            ("/api/health/", Target::Health),
            ("/api/ready", Target::Ready(None)),
            ("/api/ready/ethereum", Target::Ready(Some("ethereum"))),
            ("/api/ready/1/", Target::Ready(Some("1"))),
            ("/api/region", Target::Region),
            ("/api/status", Target::Status),
        ] {
            check(path, None, target);
            check(path, Some("a=b"), target);
        }
    }

    #[test]
    fn what_leads_nowhere() {
        for path in [
            "",
            "*",
            "rpc/ethereum",
            "//",
            "//rpc/ethereum",
            "/rpc",
            "/rpc/",
            "/rpc//",
            "/rpc//ethereum",
            "/rpc/ethereum//",
            "/rpc/eth%65reum",
            "/rpc/quickest/ethereum",
            "/rpc/provider/alpha",
            "/rpc/provider//ethereum",
            "/rpc/fastest/alpha/ethereum",
            "/rpc/provider/alpha/ethereum/x",
            "/RPC/ethereum",
            "/ws",
            "/ws/rpc",
            "/ws/ethereum",
            "/ws/ws/rpc/ethereum",
            "/v1",
            "/v1/",
            "/v1//rpc/ethereum",
            "/v1/k/api/health",
            "/v1/k/v1/k/rpc/ethereum",
            "/v1/k/ws/rpc/provider/alpha/ethereum/x",
            "/v2/k/rpc/ethereum",
            "/api",
            "/api/",
            "/api/healthy",
            "/api/health/x",
            "/api/ready/a/b",
            "/a/b/c/d/e/f/g/h/i",
        ] {
            check(path, None, Target::Unknown);
        }
        assert_eq!(Target::parse(b"/rpc/\xff", None), Target::Unknown);
    }

    #[test]
    fn queries() {
        for (query, key, meta) in [
            ("", None, false),
            ("meta=1", None, true),
            ("meta=0", None, false),
            ("meta", None, false),
            ("meta=11", None, false),
            ("key=k", Some("k"), false),
            ("key=k&key=l&meta=1", Some("k"), true),
            ("a=b&&=&meta=1&key=", Some(""), true),
            ("key=a%20=b", Some("a%20=b"), false),
        ] {
            let named = RpcTarget { key, meta, ..to("1") };
            check("/rpc/1", Some(query), Target::Rpc(named));
        }
        let named = RpcTarget { key: Some("path"), ..to("1") };
        check("/v1/path/rpc/1", Some("key=query"), Target::Rpc(named));
    }
}
