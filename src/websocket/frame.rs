//! A frame's head (RFC 6455, section 5.2), for both sides: read strictly, written in the fewest bytes.
//!
//! Masking is enforced as the RFC has it (section 5.1): a client's frames are masked, a server's are not. A fault is
//! told with the first byte that shows it, so that a head of which only the beginning has come is incomplete, or wrong
//! already.
//!
//! Left to [`super::Reader`]: the order of frames, and what a length may be.

use super::fault::Fault;
use super::mask::{Mask, apply_mask};

/// Which end of a connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Server,
    Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Close, ping or pong: may stand between a message's fragments.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

const LAST: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// Length bytes that say: 16 or 64 bits follow.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
/// Longest payload of a control frame.
pub(super) const CONTROL_BYTES_MAX: usize = 125;
/// Two bytes, a length of 64 bits, a mask.
const HEAD_BYTES_MAX: usize = 14;

/// What stands before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    pub opcode: Opcode,
    /// FIN: the message ends with this frame.
    pub last: bool,
    /// RSV1: the message that begins here is compressed (RFC 7692, section 6).
    pub compressed: bool,
    pub mask: Option<Mask>,
    /// At most 63 bits.
    pub payload_bytes: u64,
}

impl FrameHead {
    /// Reads the head at the beginning of `buf`, and how many bytes it takes. `None`: not all of it is there yet.
    /// `compression`: permessage-deflate has been agreed on.
    pub fn read(buf: &[u8], role: Role, compression: bool) -> Result<Option<(Self, usize)>, Fault> {
        let [first, rest @ ..] = buf else { return Ok(None) };
        let (opcode, last, compressed) = first_byte(*first, compression)?;
        let [second, rest @ ..] = rest else { return Ok(None) };
        match (role, second & MASKED != 0) {
            (Role::Server, false) => return Err(Fault::Unmasked),
            (Role::Client, true) => return Err(Fault::Masked),
            _ => {}
        }
        let short = second & LENGTH;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(Fault::ControlTooLong);
        }
        let Some((payload_bytes, rest)) = length(short, rest)? else { return Ok(None) };
        let (mask, rest) = match (role, rest.split_first_chunk()) {
            (Role::Client, _) => (None, rest),
            (Role::Server, Some((mask, rest))) => (Some(*mask), rest),
            (Role::Server, None) => return Ok(None),
        };
        let head = Self { opcode, last, compressed, mask, payload_bytes };
        Ok(Some((head, buf.len() - rest.len())))
    }

    /// The head as it goes on the wire. The payload follows, masked by the caller where there is a mask.
    #[must_use]
    pub fn write(&self) -> HeadBytes {
        let mut head = HeadBytes { bytes: [0; HEAD_BYTES_MAX], len: 0 };
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        head.push(&[bit(self.last, LAST) | bit(self.compressed, COMPRESSED) | self.opcode as u8]);
        let masked = bit(self.mask.is_some(), MASKED);
        match (u8::try_from(self.payload_bytes), u16::try_from(self.payload_bytes)) {
            (Ok(length), _) if length < LENGTH_16 => head.push(&[masked | length]),
            (_, Ok(length)) => {
                head.push(&[masked | LENGTH_16]);
                head.push(&length.to_be_bytes());
            }
            _ => {
                head.push(&[masked | LENGTH_64]);
                head.push(&self.payload_bytes.to_be_bytes());
            }
        }
        if let Some(mask) = self.mask {
            head.push(&mask);
        }
        head
    }
}

fn first_byte(byte: u8, compression: bool) -> Result<(Opcode, bool, bool), Fault> {
    let (last, compressed) = (byte & LAST != 0, byte & COMPRESSED != 0);
    if byte & RESERVED != 0 || compressed && !compression {
        return Err(Fault::ReservedBit);
    }
    let opcode = Opcode::from_bits(byte & OPCODE).ok_or(Fault::ReservedOpcode)?;
    // Only a message's first frame bears it.
    if compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(Fault::ReservedBit);
    }
    if opcode.is_control() && !last {
        return Err(Fault::ControlFragmented);
    }
    Ok((opcode, last, compressed))
}

/// The payload's length and what follows it; `None`: not all of it is there yet.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Fault> {
    match short {
        LENGTH_16 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            let length = u16::from_be_bytes(*bytes);
            if length < u16::from(LENGTH_16) {
                return Err(Fault::LengthNotMinimal);
            }
            Ok(Some((u64::from(length), rest)))
        }
        LENGTH_64 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            let length = u64::from_be_bytes(*bytes);
            match length {
                ..=0xffff => Err(Fault::LengthNotMinimal),
                0x8000_0000_0000_0000.. => Err(Fault::LengthTooLarge),
                _ => Ok(Some((length, rest))),
            }
        }
        _ => Ok(Some((u64::from(short), rest))),
    }
}

/// A head's bytes.
#[derive(Clone, Copy, Debug)]
pub struct HeadBytes {
    bytes: [u8; HEAD_BYTES_MAX],
    len: usize,
}

impl HeadBytes {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

impl AsRef<[u8]> for HeadBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Appends one frame that is a whole message or a control frame. A client hands in a mask that nobody could guess; a
/// server that can send head and payload apart had better write the head alone.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, compressed: bool, payload: &[u8], mask: Option<Mask>) {
    debug_assert!(!opcode.is_control() || payload.len() <= CONTROL_BYTES_MAX, "a control frame is short");
    let head = FrameHead { opcode, last: true, compressed, mask, payload_bytes: payload.len() as u64 };
    out.extend_from_slice(head.write().as_ref());
    let from = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[from..], mask, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client_head(bytes: &[u8]) -> Result<Option<(FrameHead, usize)>, Fault> {
        FrameHead::read(bytes, Role::Client, false)
    }

    #[test]
    fn heads_are_read() {
        let head =
            |opcode, last, mask, payload_bytes| FrameHead { opcode, last, compressed: false, mask, payload_bytes };
        for (bytes, role, expected) in [
            // The RFC's own examples (section 5.7).
            (&b"\x81\x05Hello"[..], Role::Client, (head(Opcode::Text, true, None, 5), 2)),
            (
                b"\x81\x85\x37\xfa\x21\x3d\x7f",
                Role::Server,
                (head(Opcode::Text, true, Some([0x37, 0xfa, 0x21, 0x3d]), 5), 6),
            ),
            (b"\x01\x03Hel", Role::Client, (head(Opcode::Text, false, None, 3), 2)),
            (b"\x80\x02lo", Role::Client, (head(Opcode::Continuation, true, None, 2), 2)),
            (b"\x89\x05Hello", Role::Client, (head(Opcode::Ping, true, None, 5), 2)),
            (b"\x82\x7e\x01\x00", Role::Client, (head(Opcode::Binary, true, None, 256), 4)),
            (b"\x82\x7f\0\0\0\0\0\x01\0\0", Role::Client, (head(Opcode::Binary, true, None, 65_536), 10)),
        ] {
            assert_eq!(FrameHead::read(bytes, role, false), Ok(Some(expected)), "{}", bytes.escape_ascii());
            for end in 0..expected.1 {
                assert_eq!(FrameHead::read(&bytes[..end], role, false), Ok(None), "{end} of {}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn what_breaks_a_rule_is_refused_at_its_first_byte() {
        for (bytes, fault) in [
            (&b"\xc1"[..], Fault::ReservedBit),
            (b"\xa1", Fault::ReservedBit),
            (b"\x91", Fault::ReservedBit),
            (b"\x83", Fault::ReservedOpcode),
            (b"\x87", Fault::ReservedOpcode),
            (b"\x8b", Fault::ReservedOpcode),
            (b"\x8f", Fault::ReservedOpcode),
            (b"\x09", Fault::ControlFragmented),
            (b"\x08", Fault::ControlFragmented),
            (b"\x81\x80", Fault::Masked),
            (b"\x89\x7e", Fault::ControlTooLong),
            (b"\x88\x7f", Fault::ControlTooLong),
            (b"\x82\x7e\x00\x7d", Fault::LengthNotMinimal),
            (b"\x82\x7f\0\0\0\0\0\0\xff\xff", Fault::LengthNotMinimal),
            (b"\x82\x7f\x80\0\0\0\0\0\0\0", Fault::LengthTooLarge),
        ] {
            assert_eq!(client_head(bytes), Err(fault), "{}", bytes.escape_ascii());
        }
        assert_eq!(FrameHead::read(b"\x81\x05", Role::Server, false), Err(Fault::Unmasked));
    }

    #[test]
    fn the_compression_bit_needs_an_agreement_and_a_messages_first_frame() {
        assert!(FrameHead::read(b"\xc1\x00", Role::Client, true).unwrap().unwrap().0.compressed);
        assert!(FrameHead::read(b"\x42\x00", Role::Client, true).unwrap().unwrap().0.compressed);
        for byte in [0xc0, 0xc8, 0xc9, 0xca] {
            assert_eq!(FrameHead::read(&[byte, 0], Role::Client, true), Err(Fault::ReservedBit));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            opcode in 0_u8..11, last: bool, compressed: bool, mask: Option<Mask>,
            payload_bytes in prop_oneof![0_u64..130, 65_530_u64..65_540, any::<u64>().prop_map(|bits| bits >> 1)],
        ) {
            let Some(opcode) = Opcode::from_bits(opcode) else { return Ok(()) };
            let compressed = compressed && matches!(opcode, Opcode::Text | Opcode::Binary);
            let last = last || opcode.is_control();
            let payload_bytes = if opcode.is_control() { payload_bytes.min(125) } else { payload_bytes };
            let head = FrameHead { opcode, last, compressed, mask, payload_bytes };
            let role = if mask.is_some() { Role::Server } else { Role::Client };
            let bytes = head.write();
            prop_assert_eq!(FrameHead::read(bytes.as_ref(), role, true), Ok(Some((head, bytes.as_ref().len()))));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..16), compression: bool) {
            for role in [Role::Server, Role::Client] {
                if let Ok(Some((head, taken))) = FrameHead::read(&bytes, role, compression) {
                    let written = head.write();
                    prop_assert_eq!(written.as_ref(), &bytes[..taken]);
                }
            }
        }
    }
}
