//! The PROXY protocol's header, versions 1 and 2, as its specification has it: what a balancer that passes bytes
//! on says first, about the connection that it passes on.
//!
//! Read strictly and within [`limits::PROXY_HEADER_BYTES_MAX`]: it comes from a configured balancer, and one that sends
//! something else is configured for something else. What is said beside the addresses (TLVs) is passed over, but for a
//! checksum: where there is one it must be right. `LOCAL` (a balancer's own health check) and families without an IP
//! address leave the connection to whoever opened it; what a `LOCAL` carries is skipped unread, as a receiver must.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits;

/// A header that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// How long it is; what follows is the connection's own.
    pub bytes: usize,
    pub announced: Announced,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// The balancer's own, or of somebody whom it cannot name.
    Peer,
    Client(SocketAddr),
}

/// Why something is no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("it does not begin as a PROXY header does")]
    Missing,
    #[error("the header is malformed")]
    Malformed,
    #[error("the header is too long")]
    TooLong,
    #[error("the header's checksum is wrong")]
    Checksum,
}

/// What version 2 begins with: nothing that HTTP, TLS or version 1 does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Up to the addresses.
const FIXED_BYTES: usize = 16;
/// Of version 1, its line end included.
const LINE_BYTES_MAX: usize = 107;
/// The checksum's type and length among the TLVs.
const CRC32C: u8 = 0x03;
const CRC32C_BYTES: usize = 4;

/// Reads the header at the beginning of `bytes`. `None`: not all of it is there yet.
pub fn proxy_header(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let begins = |with: &[u8]| bytes.starts_with(with) || with.starts_with(bytes);
    if begins(SIGNATURE) {
        return binary(bytes);
    }
    if begins(b"PROXY ") {
        return line(bytes);
    }
    Err(ProxyError::Missing)
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 4711 443`, and a line end.
fn line(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let seen = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', seen) else {
        return if seen.len() == LINE_BYTES_MAX { Err(ProxyError::TooLong) } else { Ok(None) };
    };
    let text = seen[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let announced = text.and_then(announced_in).ok_or(ProxyError::Malformed)?;
    Ok(Some(ProxyHeader { bytes: end + 1, announced }))
}

fn announced_in(text: &str) -> Option<Announced> {
    let mut words = text.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever else stands there is to be ignored.
        return Some(Announced::Peer);
    }
    let (source, target) = (words.next()?, words.next()?);
    let (port, target_port) = (port(words.next()?)?, port(words.next()?)?);
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let (source, _) = (address(source)?, (address(target)?, target_port));
    words.next().is_none().then_some(Announced::Client(SocketAddr::new(source, port)))
}

/// Decimal, without a sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let fine = text == "0" || (text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0'));
    fine.then(|| text.parse().ok()).flatten()
}

fn binary(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED_BYTES + length > limits::PROXY_HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    let is_proxied = match command {
        0x20 => false,
        0x21 => true,
        _ => return Err(ProxyError::Malformed),
    };
    let Some(said) = rest.get(..length) else { return Ok(None) };
    let whole = &bytes[..FIXED_BYTES + length];
    if !is_proxied {
        return Ok(Some(ProxyHeader { bytes: whole.len(), announced: Announced::Peer }));
    }
    let (announced, beside) = addresses(family, said)?;
    check(whole, whole.len() - beside.len())?;
    Ok(Some(ProxyHeader { bytes: whole.len(), announced }))
}

/// Whom the addresses name, and what stands behind them.
fn addresses(family: u8, said: &[u8]) -> Result<(Announced, &[u8]), ProxyError> {
    let client = |ip: IpAddr, port: [u8; 2]| Announced::Client(SocketAddr::new(ip, u16::from_be_bytes(port)));
    let parts = match family {
        0x11 => said.split_first_chunk::<12>().map(|(parts, beside)| {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *parts;
            (client(Ipv4Addr::new(a, b, c, d).into(), [high, low]), beside)
        }),
        0x21 => said.split_first_chunk::<36>().and_then(|(parts, beside)| {
            let ip = Ipv6Addr::from(*parts.first_chunk::<16>()?);
            Some((client(ip.into(), [parts[32], parts[33]]), beside))
        }),
        // Unspecified, datagrams, Unix sockets: nobody whom we could name. How long their addresses are is known.
        0x00 => Some((Announced::Peer, said)),
        0x12 => said.get(12..).map(|beside| (Announced::Peer, beside)),
        0x22 => said.get(36..).map(|beside| (Announced::Peer, beside)),
        0x31 | 0x32 => said.get(216..).map(|beside| (Announced::Peer, beside)),
        _ => None,
    };
    parts.ok_or(ProxyError::Malformed)
}

/// Walks what stands behind the addresses, from `at` on, and compares the checksum, where there is one.
fn check(whole: &[u8], mut at: usize) -> Result<(), ProxyError> {
    // Ends: each has a head of three bytes.
    while at < whole.len() {
        let Some(&[kind, high, low]) = whole[at..].first_chunk::<3>() else { return Err(ProxyError::Malformed) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = whole.get(at + 3..at + 3 + length).ok_or(ProxyError::Malformed)?;
        if kind == CRC32C {
            let said = value.try_into().map(u32::from_be_bytes).map_err(|_| ProxyError::Malformed)?;
            if said != crc32c_without(whole, at + 3) {
                return Err(ProxyError::Checksum);
            }
        }
        at += 3 + length;
    }
    Ok(())
}

/// CRC-32C of the whole, with its own four bytes at `at` as zeros.
fn crc32c_without(whole: &[u8], at: usize) -> u32 {
    let bytes = whole.iter().enumerate();
    !bytes.fold(u32::MAX, |crc, (index, &byte)| {
        let byte = if (at..at + CRC32C_BYTES).contains(&index) { 0 } else { byte };
        TABLE[usize::from(byte ^ crc.to_le_bytes()[0])] ^ (crc >> 8)
    })
}

/// The remainders of all bytes by Castagnoli's polynomial, bits reflected.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut rest = byte;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 { 0x82f6_3b78 ^ (rest >> 1) } else { rest >> 1 };
            bit += 1;
        }
        table[byte as usize] = rest;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(text: &str) -> Announced {
        Announced::Client(text.parse().unwrap())
    }

    fn of_line(text: &str) -> Result<Announced, ProxyError> {
        proxy_header(text.as_bytes()).map(|header| header.unwrap().announced)
    }

    /// A header of version 2.
    fn packed(command: u8, family: u8, said: &[u8]) -> Vec<u8> {
        let length = u16::try_from(said.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, said].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 0x01, 0xbb];

    fn v6() -> Vec<u8> {
        let [one, two] = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse::<Ipv6Addr>().unwrap().octets());
        [&one[..], &two, &[0x12, 0x67, 0x01, 0xbb]].concat()
    }

    #[test]
    fn a_line_names_the_client() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", Ok(client("192.0.2.1:4711"))),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n", Ok(client("[2001:db8::1]:4711"))),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 0 65535\r\n", Ok(client("192.0.2.1:0"))),
            ("PROXY UNKNOWN\r\n", Ok(Announced::Peer)),
            ("PROXY UNKNOWN whatever stands here\r\n", Ok(Announced::Peer)),
            ("PROXY \r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 4711 443 \r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4  192.0.2.1 192.0.2.2 4711 443\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 04711 443\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 4711 x\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 2001:db8::1 2001:db8::2 4711 443\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 4711 443\r\n", Err(ProxyError::Malformed)),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 4711 443\r\n", Err(ProxyError::Malformed)),
            ("PROXYTCP4 192.0.2.1 192.0.2.2 4711 443\r\n", Err(ProxyError::Missing)),
            ("proxy TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", Err(ProxyError::Missing)),
            ("POST / HTTP/1.1\r\n", Err(ProxyError::Missing)),
            ("\u{16}\u{3}\u{1}", Err(ProxyError::Missing)),
        ] {
            assert_eq!(of_line(line), expected, "{line:?}");
        }
        assert_eq!(of_line(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(91))), Ok(Announced::Peer));
        assert_eq!(of_line(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(92))), Err(ProxyError::TooLong));
    }

    #[test]
    fn a_binary_header_names_the_client() {
        let beside = [&V4[..], &[0xe0, 0, 2, 7, 7], &[0x04, 0, 0]].concat();
        let cut = [&V4[..], &[0xe0, 0, 3, 7, 7]].concat();
        for (header, expected) in [
            (packed(0x21, 0x11, &V4), Ok(client("192.0.2.1:4711"))),
            (packed(0x21, 0x21, &v6()), Ok(client("[2001:db8::1]:4711"))),
            (packed(0x21, 0x11, &beside), Ok(client("192.0.2.1:4711"))),
            (packed(0x20, 0x11, &V4), Ok(Announced::Peer)),
            (packed(0x20, 0x00, &[]), Ok(Announced::Peer)),
            // Whatever a `LOCAL` says of addresses is to be skipped.
            (packed(0x20, 0x11, &[]), Ok(Announced::Peer)),
            (packed(0x20, 0x11, &V4[..11]), Ok(Announced::Peer)),
            (packed(0x20, 0x11, &cut), Ok(Announced::Peer)),
            (packed(0x20, 0x00, &[0xff; 7]), Ok(Announced::Peer)),
            (packed(0x20, 0x41, &V4), Ok(Announced::Peer)),
            (packed(0x20, 0xff, &[]), Ok(Announced::Peer)),
            (packed(0x20, 0x00, &[&[CRC32C, 0, 4], &[0xee; 4][..]].concat()), Ok(Announced::Peer)),
            (packed(0x21, 0x00, &[]), Ok(Announced::Peer)),
            (packed(0x21, 0x12, &V4), Ok(Announced::Peer)),
            (packed(0x21, 0x31, &[0; 216]), Ok(Announced::Peer)),
            (packed(0x21, 0x31, &[0; 215]), Err(ProxyError::Malformed)),
            (packed(0x21, 0x11, &V4[..11]), Err(ProxyError::Malformed)),
            (packed(0x21, 0x21, &V4), Err(ProxyError::Malformed)),
            (packed(0x21, 0x11, &cut), Err(ProxyError::Malformed)),
            (packed(0x21, 0x11, &[&V4[..], &[0xe0]].concat()), Err(ProxyError::Malformed)),
            (packed(0x21, 0x41, &V4), Err(ProxyError::Malformed)),
            (packed(0x22, 0x11, &V4), Err(ProxyError::Malformed)),
            (packed(0x11, 0x11, &V4), Err(ProxyError::Malformed)),
            (packed(0x21, 0x00, &vec![0; limits::PROXY_HEADER_BYTES_MAX]), Err(ProxyError::TooLong)),
            (packed(0x20, 0x00, &vec![0; limits::PROXY_HEADER_BYTES_MAX]), Err(ProxyError::TooLong)),
        ] {
            assert_eq!(proxy_header(&header).map(|header| header.unwrap().announced), expected, "{header:?}");
        }
    }

    #[test]
    fn a_checksum_must_be_right_where_there_is_one() {
        // The catalogue's check value of CRC-32C, over these nine bytes; the range lies behind them.
        assert_eq!(crc32c_without(b"123456789", 9), 0xe306_9283);
        let said = [&V4[..], &[CRC32C, 0, 4, 0, 0, 0, 0], &[0x04, 0, 1, 0]].concat();
        let mut header = packed(0x21, 0x11, &said);
        assert_eq!(proxy_header(&header), Err(ProxyError::Checksum));
        let at = FIXED_BYTES + V4.len() + 3;
        let sum = crc32c_without(&header, at).to_be_bytes();
        header[at..at + 4].copy_from_slice(&sum);
        assert_eq!(proxy_header(&header).unwrap().unwrap().announced, client("192.0.2.1:4711"));
        header[FIXED_BYTES] ^= 1;
        assert_eq!(proxy_header(&header), Err(ProxyError::Checksum));
        let short = packed(0x21, 0x11, &[&V4[..], &[CRC32C, 0, 3, 0, 0, 0]].concat());
        assert_eq!(proxy_header(&short), Err(ProxyError::Malformed));
    }

    fn header() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            Just("PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".to_owned()),
            Just("PROXY UNKNOWN\r\n".to_owned()),
            "PROXY TCP[46] [0-9a-f.:]{1,12} [0-9.]{1,9} [0-9]{1,6} [0-9]{1,6}\r\n",
        ]
        .prop_map(String::into_bytes);
        let binary = (
            prop_oneof![Just(0x20), Just(0x21), any::<u8>()],
            prop_oneof![Just(0x11), Just(0x21), Just(0x00), any::<u8>()],
            proptest::collection::vec(any::<u8>(), 0..64),
        );
        prop_oneof![line, binary.prop_map(|(command, family, said)| packed(command, family, &said))]
    }

    proptest! {
        /// However it is cut, and whatever follows, a header is read as it is whole; parts of it are never refused later.
        #[test]
        fn a_header_is_read_alike_in_parts_and_with_more_behind(header in header(), behind in any::<[u8; 8]>()) {
            let whole = proxy_header(&header);
            prop_assert_ne!(whole, Ok(None));
            for end in 0..header.len() {
                let part = proxy_header(&header[..end]);
                prop_assert!(part == Ok(None) || part == whole, "{:?} of {} bytes", part, end);
            }
            prop_assert_eq!(proxy_header(&[&header[..], &behind].concat()), whole);
            if let Ok(Some(read)) = whole {
                prop_assert_eq!(read.bytes, header.len());
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = proxy_header(&bytes);
        }
    }
}
