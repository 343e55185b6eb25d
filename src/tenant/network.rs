//! Source networks, and what stands for a client without a key.
//!
//! An IPv4 address that comes mapped into IPv6 is taken for what it is, in rules and from sockets alike: which of both
//! a socket reports is the listener's business. The other way round nothing is taken for anything: `::/0` says nothing
//! about IPv4.

use std::net::IpAddr;
use std::str::FromStr;

/// An address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("this is no address")]
    Address,
    #[error("the length behind the slash is no number of bits of this address")]
    Length,
    #[error("bits are set beyond the length: the network or the length is not what was meant")]
    HostBits,
}

/// What is taken for one client where nobody says who it is: an IPv4 address, or the /64 that a household or a server
/// gets of IPv6, in which it may choose any address anew for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressBlock {
    V4(u32),
    V6(u64),
}

impl Network {
    #[must_use]
    pub fn contains(&self, client: IpAddr) -> bool {
        let (own, of) = (left_aligned(self.address), left_aligned(client.to_canonical()));
        own.1 == of.1 && (own.0 ^ of.0) & mask(self.bits) == 0
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let address = written.to_canonical();
        let (all, whole) = (width(address), width(written));
        let bits = match length {
            None => all,
            Some(digits) if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(NetworkError::Length);
            }
            Some(digits) => {
                let bits = digits.parse::<u8>().ok().filter(|bits| *bits <= whole).ok_or(NetworkError::Length)?;
                // Of a mapped address the first 96 bits say that it is one.
                bits.checked_sub(whole - all).ok_or(NetworkError::Length)?
            }
        };
        let (value, _) = left_aligned(address);
        if value & !mask(bits) == 0 { Ok(Self { address, bits }) } else { Err(NetworkError::HostBits) }
    }
}

impl AddressBlock {
    #[must_use]
    pub fn of(client: IpAddr) -> Self {
        match client.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address's bits from the left, and its family.
fn left_aligned(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, true),
        IpAddr::V6(address) => (address.to_bits(), false),
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_what_begins_alike() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3/32", "::ffff:10.1.2.3", "10.1.2.2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("::/0", "::1", "::ffff:10.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "::a00:1"),
            ("::ffff:0.0.0.0/96", "1.2.3.4", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
        ] {
            let parsed: Network = network.parse().unwrap_or_else(|error| panic!("{network}: {error}"));
            assert!(parsed.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{outside} in {network}");
        }
    }

    #[test]
    fn what_is_no_network() {
        for (text, error) in [
            ("", NetworkError::Address),
            ("10.0.0/8", NetworkError::Address),
            ("10.0.0.0.0", NetworkError::Address),
            ("example.com", NetworkError::Address),
            ("[::1]/128", NetworkError::Address),
            ("10.0.0.0/", NetworkError::Length),
            ("10.0.0.0/+8", NetworkError::Length),
            ("10.0.0.0/33", NetworkError::Length),
            ("10.0.0.0/8/8", NetworkError::Length),
            ("::/129", NetworkError::Length),
            ("::/256", NetworkError::Length),
            ("::ffff:0.0.0.0/95", NetworkError::Length),
            ("10.0.0.1/8", NetworkError::HostBits),
            ("2001:db8::1/64", NetworkError::HostBits),
            ("1.0.0.0/0", NetworkError::HostBits),
        ] {
            assert_eq!(text.parse::<Network>(), Err(error), "{text}");
        }
    }

    #[test]
    fn who_could_be_the_same_client_is_one() {
        for (one, other, same) in [
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::1", "0.0.0.0", false),
        ] {
            let [one, other] = [one, other].map(|text| AddressBlock::of(text.parse().unwrap()));
            assert_eq!(one == other, same, "{one:?} {other:?}");
        }
    }
}
