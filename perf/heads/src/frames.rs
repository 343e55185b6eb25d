//! WebSocket frames and HTTP heads, as far as these two ends need them: whole messages, no extensions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
/// Any key will do towards a machine's own.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The first frame in `held`: its opcode, where its payload is, and whether that is masked. `None` when it is not whole.
pub fn first(held: &[u8]) -> Option<(u8, std::ops::Range<usize>, Option<[u8; 4]>)> {
    let (&first, &second) = (held.first()?, held.get(1)?);
    let (length, mut start) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*held.get(2..)?.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*held.get(2..)?.first_chunk()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let mask = if second & 0x80 == 0 {
        None
    } else {
        start += 4;
        Some(*held.get(start - 4..)?.first_chunk()?)
    };
    (held.len() >= start + length).then_some((first & 0x0f, start..start + length, mask))
}

pub fn unmask(payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mask = mask.unwrap_or_default();
    payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

/// One frame with this payload.
pub fn write(into: &mut Vec<u8>, opcode: u8, payload: &[u8], masked: bool) {
    let bit = if masked { 0x80 } else { 0 };
    into.push(0x80 | opcode);
    match u16::try_from(payload.len()) {
        Ok(short) if short < 126 => into.push(bit | payload.len().to_le_bytes()[0]),
        Ok(medium) => {
            into.push(bit | 0x7e);
            into.extend_from_slice(&medium.to_be_bytes());
        }
        Err(_) => {
            into.push(bit | 0x7f);
            into.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    if masked {
        into.extend_from_slice(&MASK);
        into.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        into.extend_from_slice(payload);
    }
}

/// The answer to a `Sec-WebSocket-Key` (RFC 6455, section 4.2.2).
pub fn accept(key: &str) -> String {
    STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")))
}

/// Where a head ends, the empty line included.
pub fn head_end(held: &[u8]) -> Option<usize> {
    memchr::memmem::find(held, b"\r\n\r\n").map(|at| at + 4)
}

/// A field of a head, by its name in lower case.
pub fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
