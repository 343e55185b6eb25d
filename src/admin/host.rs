//! Who is no page of somebody else's.
//!
//! A browser keeps pages from other places' answers by their names. Whoever owns a name can make it point to this
//! machine, and their page is of the same place then, free to ask anything. The one thing that such a request cannot
//! hide is that name, in its `Host`. Where a token or a certificate is asked for, that keeps such pages out by itself.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

/// What somebody is told who names another host.
pub(super) const REFUSAL: &str = "without listen.admin_token or listen.admin_client_ca, this is for those who name an address or \
    localhost as the host";

/// Whether the host that is named cannot be somebody's name.
pub(super) fn is_address(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(only), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = only.to_str() else { return false };
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().is_some_and(|address| address.parse::<IpAddr>().is_ok());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_name_that_somebody_owns() {
        for (hosts, expected) in [
            (&["127.0.0.1:9545"][..], true),
            (&["127.0.0.1"], true),
            (&["[::1]:9545"], true),
            (&["[::1]"], true),
            (&["10.0.0.7:80"], true),
            (&["localhost:9545"], true),
            (&["LocalHost"], true),
            (&["evil.example:9545"], false),
            (&["localhost.evil.example"], false),
            (&["127.0.0.1.evil.example:9545"], false),
            (&["evil.example:127.0.0.1"], false),
            (&["[evil.example]"], false),
            (&[""], false),
            (&[], false),
            (&["localhost", "evil.example"], false),
        ] {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            assert_eq!(is_address(&headers), expected, "{hosts:?}");
        }
    }
}
