//! `X-Forwarded-For`: each proxy adds whom it was called by on the right, so that the rightmost words are of those nearest.
//!
//! The client is the rightmost address that is none of the balancers'. What stands to the left of it was in the request
//! as the client sent it, and says nothing. A field that is repeated is one list, in order (RFC 9110, section 5.3).

use std::net::{IpAddr, SocketAddr};

use crate::limits;

const NAME: &[u8] = b"x-forwarded-for";

/// The client of the request whose `head` was read as one, from the connection of `peer`, a balancer.
///
/// `is_balancer` tells who else is one. Where the list ends or is malformed before another is found, and where it is longer
/// than [`limits::FORWARDED_HOPS_MAX`]: the last balancer, and `peer`.
pub fn forwarded_client(head: &[u8], peer: IpAddr, is_balancer: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut nearest = peer;
    let words = lines_backwards(head).filter_map(value_of).flat_map(|value| value.rsplit(|&byte| byte == b','));
    let words = words.map(<[u8]>::trim_ascii).filter(|word| !word.is_empty());
    for (hops, word) in words.enumerate() {
        let address = if hops < limits::FORWARDED_HOPS_MAX { address_of(word) } else { None };
        match address {
            None => return peer,
            Some(address) if is_balancer(address) => nearest = address,
            Some(address) => return address,
        }
    }
    nearest
}

/// The head's lines from the last to the first. No value has a line end in it: the head was read before.
fn lines_backwards(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.rsplit(|&byte| byte == b'\n')
}

fn value_of(line: &[u8]) -> Option<&[u8]> {
    let (name, rest) = line.split_at_checked(NAME.len())?;
    let value = rest.strip_prefix(b":")?;
    name.eq_ignore_ascii_case(NAME).then_some(value)
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address_of(word: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(word).ok()?;
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6);
    bare().or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tenant::Network;

    const PEER: &str = "10.0.0.1";

    fn client(fields: &[&str]) -> String {
        let lines = [&["POST / HTTP/1.1", "Host: a"], fields, &["Content-Length: 2", "", ""]].concat();
        let head = lines.join("\r\n");
        let balancers: Network = "10.0.0.0/8".parse().unwrap();
        forwarded_client(head.as_bytes(), PEER.parse().unwrap(), |address| balancers.contains(address)).to_string()
    }

    #[test]
    fn the_client_is_the_rightmost_who_is_no_balancer() {
        let many = format!("X-Forwarded-For: 198.51.100.1{}", ", 10.0.0.9".repeat(limits::FORWARDED_HOPS_MAX));
        for (fields, expected) in [
            (&[][..], PEER),
            (&["X-Forwarded-For: 198.51.100.1"][..], "198.51.100.1"),
            (&["x-forwarded-for:198.51.100.1 ,\t10.0.0.2"], "198.51.100.1"),
            (&["X-Forwarded-For: 203.0.113.7, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            (&["X-Forwarded-For: 203.0.113.7", "X-Other: y", "X-Forwarded-For: 10.0.0.2"], "203.0.113.7"),
            (&["X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 198.51.100.1"], "198.51.100.1"),
            (&["X-Forwarded-For: 10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["X-Forwarded-For: 198.51.100.1:4711"], "198.51.100.1"),
            (&["X-Forwarded-For: [2001:db8::1]:4711"], "2001:db8::1"),
            (&["X-Forwarded-For: [2001:db8::1]"], "2001:db8::1"),
            (&["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
            (&["X-Forwarded-For: ::ffff:198.51.100.1"], "198.51.100.1"),
            (&["X-Forwarded-For: , 198.51.100.1,, "], "198.51.100.1"),
            (&["X-Forwarded-For: nonsense, 198.51.100.1"], "198.51.100.1"),
            (&["X-Forwarded-For: 198.51.100.1, unknown"], PEER),
            (&["X-Forwarded-For: 198.51.100.1, unknown, 10.0.0.2"], PEER),
            (&["X-Forwarded-For: 198.51.100.1 10.0.0.2"], PEER),
            (&["X-Forwarded-For: \u{e9}"], PEER),
            (&["X-Forwarded-For:"], PEER),
            (&["X-Forwarded-Fort: 198.51.100.1"], PEER),
            (&["My-X-Forwarded-For: 198.51.100.1"], PEER),
            (&[&many], PEER),
        ] {
            assert_eq!(client(fields), expected, "{fields:?}");
        }
    }

    proptest! {
        /// Whatever a client writes to the left of what the balancer adds changes nothing.
        #[test]
        fn a_client_cannot_say_who_it_is(spoofed in "[ -~]{0,80}", repeated: bool) {
            let (field, added) = ("X-Forwarded-For: ", "198.51.100.1, 10.0.0.2");
            let one = format!("{field}{spoofed}, {added}");
            let two = [format!("{field}{spoofed}"), format!("{field}{added}")];
            let said = if repeated { client(&[&two[0], &two[1]]) } else { client(&[&one]) };
            prop_assert_eq!(said, "198.51.100.1");
        }
    }
}
