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
    /// What stands in the path; a key may be shown elsewhere, too.
    pub key: Option<&'a str>,
    pub strategy: Option<Strategy>,
    pub provider: Option<&'a str>,
    /// A name or a decimal id; `None` is the only chain there is.
    pub chain: Option<&'a str>,
    /// Under `/ws/`: meant for sockets alone.
    pub websocket_path: bool,
}

/// Segments of the longest path of ours, `/v1/{key}/ws/rpc/provider/{provider}/{chain}`.
const SEGMENTS_MAX: usize = 7;

impl<'a> Target<'a> {
    /// Reads a request's path.
    #[must_use]
    pub fn parse(path: &'a [u8]) -> Self {
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
        Self::Rpc(RpcTarget { key, ..named })
    }
}

/// The key in a path of ours, without a look at the rest of it.
#[must_use]
pub fn path_key(path: &[u8]) -> Option<&[u8]> {
    let behind = path.strip_prefix(b"/v1/")?;
    behind.split(|byte| *byte == b'/').next()
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

    fn check(path: &str, expected: Target<'_>) {
        assert_eq!(Target::parse(path.as_bytes()), expected, "{path}");
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
                    check(&[tail, slash].concat(), Target::Rpc(named));
                }
                let keyed = RpcTarget { key: Some("k3y"), ..named };
                check(&["/v1/k3y", tail, slash].concat(), Target::Rpc(keyed));
                assert_eq!(path_key(["/v1/k3y", tail, slash].concat().as_bytes()), Some(&b"k3y"[..]));
                assert_eq!(path_key(tail.as_bytes()), None, "{tail}");
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
            check(path, target);
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
            check(path, Target::Unknown);
        }
        assert_eq!(Target::parse(b"/rpc/\xff"), Target::Unknown);
    }
}
