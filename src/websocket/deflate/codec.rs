//! Messages packed and unpacked (RFC 7692, sections 7.2.1 and 7.2.2).
//!
//! A packed message is raw deflate, flushed to a whole byte by an empty block whose four bytes `00 00 ff ff` are left
//! out on the wire.
//!
//! Left out: a message that ends its deflate stream (BFINAL) *and* one after it that refers to what came before. No
//! compressor that is in use makes it; it is refused as broken.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::agreement::Direction;
use crate::limits::{DEFLATE_LEVEL, DEFLATE_STEP_BYTES};
use crate::websocket::message::Kind;
use crate::websocket::utf8::Utf8;
use crate::websocket::{Event, Fault};

/// What every packed message ends with, and the wire leaves out.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// zlib's smallest.
const BITS_MADE_MIN: u8 = 9;

/// Packs messages. Without takeover one serves any number of connections with the same window.
#[derive(Debug)]
pub struct Deflater {
    codec: Compress,
    takeover: bool,
}

impl Deflater {
    /// `None` for a window of 8 bits, which zlib cannot make: send uncompressed.
    #[must_use]
    pub fn new(ours: Direction) -> Option<Self> {
        let codec = |bits| Compress::new_with_window_bits(Compression::new(DEFLATE_LEVEL), false, bits);
        (ours.window_bits >= BITS_MADE_MIN).then(|| Self { codec: codec(ours.window_bits), takeover: ours.takeover })
    }

    /// Appends `message`, packed, to `out`. False: the codec is broken, and the connection with it.
    #[must_use]
    pub fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) -> bool {
        if !self.takeover {
            self.codec.reset();
        }
        let from = out.len();
        let mut rest = message;
        loop {
            out.reserve((rest.len() / 2).clamp(64, DEFLATE_STEP_BYTES));
            let (was_in, was_out) = (self.codec.total_in(), out.len());
            let Ok(status) = self.codec.compress_vec(rest, out, FlushCompress::Sync) else { return false };
            let taken = usize::try_from(self.codec.total_in() - was_in).unwrap_or(rest.len());
            rest = &rest[taken.min(rest.len())..];
            let has_room = out.len() < out.capacity();
            // Room that is left says that the flush is complete.
            if rest.is_empty() && has_room {
                break;
            }
            if status == Status::BufError && has_room && out.len() == was_out {
                return false;
            }
        }
        if out[from..].ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        if out.len() == from {
            // Nothing to flush: an empty message is an empty block (section 7.2.3.6).
            out.push(0);
        }
        true
    }
}

/// Unpacks messages. Without takeover one with 15 bits serves all connections.
#[derive(Debug)]
pub struct Inflater {
    codec: Decompress,
    takeover: bool,
}

impl Inflater {
    #[must_use]
    pub fn new(theirs: Direction) -> Self {
        let codec = Decompress::new_with_window_bits(false, theirs.window_bits.max(BITS_MADE_MIN));
        Self { codec, takeover: theirs.takeover }
    }

    /// Puts the message that `packed` holds into `out`, instead of what is in it. A text is checked to be one.
    pub fn message<'o>(
        &mut self,
        kind: Kind,
        packed: &[u8],
        out: &'o mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Event<'o>, Fault> {
        out.clear();
        if !self.takeover {
            self.codec.reset(false);
        }
        let mut utf8 = Utf8::default();
        for part in [packed, &TAIL] {
            let mut rest = part;
            while !self.step(&mut rest, out, bytes_max)? {}
        }
        if kind == Kind::Text {
            utf8.push(out)?;
            utf8.finish()?;
        }
        Ok(Event::Message { kind, compressed: false, bytes: out })
    }

    /// Unpacks some more; true when all of `rest` is used up and nothing is held back.
    fn step(&mut self, rest: &mut &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<bool, Fault> {
        // One byte more than is allowed shows that there is more.
        let room = (bytes_max + 1).saturating_sub(out.len()).min(DEFLATE_STEP_BYTES);
        out.reserve(room);
        let (was_in, was_out) = (self.codec.total_in(), out.len());
        let status = self.codec.decompress_vec(rest, out, FlushDecompress::Sync).map_err(|_| Fault::BrokenDeflate)?;
        let taken = usize::try_from(self.codec.total_in() - was_in).unwrap_or(rest.len());
        *rest = &rest[taken.min(rest.len())..];
        if out.len() > bytes_max {
            return Err(Fault::MessageTooLarge);
        }
        if status == Status::StreamEnd {
            // A final block; what follows is a stream of its own (section 7.2.3.4).
            self.codec.reset(false);
            return Ok(rest.is_empty());
        }
        let has_room = out.len() < out.capacity();
        if !rest.is_empty() && taken == 0 && out.len() == was_out && has_room {
            return Err(Fault::BrokenDeflate);
        }
        Ok(rest.is_empty() && has_room)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FULL: Direction = Direction { window_bits: 15, takeover: true };
    const ALONE: Direction = Direction { window_bits: 15, takeover: false };

    fn packed(deflater: &mut Deflater, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(deflater.deflate(message, &mut out));
        out
    }

    fn unpacked(inflater: &mut Inflater, packed: &[u8], max: usize) -> Result<Vec<u8>, Fault> {
        let mut out = b"of the last one".to_vec();
        inflater.message(Kind::Binary, packed, &mut out, max)?;
        Ok(out)
    }

    #[test]
    fn the_rfcs_examples_are_read() {
        let mut inflater = Inflater::new(FULL);
        // Section 7.2.3.1, the shared window of 7.2.3.2, a block without compression, one that is final, two blocks.
        for bytes in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0xf2, 0x00, 0x11, 0x00, 0x00],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(unpacked(&mut inflater, bytes, 5), Ok(b"Hello".to_vec()), "{bytes:x?}");
        }
        assert_eq!(unpacked(&mut inflater, &[0], 5), Ok(vec![]));
    }

    #[test]
    fn an_empty_message_is_an_empty_block() {
        for direction in [FULL, ALONE] {
            let (mut deflater, mut inflater) = (Deflater::new(direction).unwrap(), Inflater::new(direction));
            for message in [&b""[..], b"", b"a", b"", b""] {
                let packed = packed(&mut deflater, message);
                assert!(!packed.is_empty());
                assert_eq!(unpacked(&mut inflater, &packed, 1), Ok(message.to_vec()));
            }
        }
    }

    #[test]
    fn a_bomb_goes_off_within_its_bound() {
        let bomb = packed(&mut Deflater::new(ALONE).unwrap(), &vec![b' '; 8 << 20]);
        assert!(bomb.len() < 200_000);
        let mut out = Vec::new();
        let mut inflater = Inflater::new(ALONE);
        let max = 1 << 20;
        assert_eq!(inflater.message(Kind::Text, &bomb, &mut out, max), Err(Fault::MessageTooLarge));
        assert!(out.capacity() <= 2 * (max + DEFLATE_STEP_BYTES));
        // The codec is none the worse for it.
        let small = packed(&mut Deflater::new(ALONE).unwrap(), b"{}");
        assert_eq!(unpacked(&mut inflater, &small, max), Ok(b"{}".to_vec()));
    }

    #[test]
    fn broken_data_and_broken_text_are_told_apart() {
        assert_eq!(unpacked(&mut Inflater::new(ALONE), b"\xff\xff\xff", 100), Err(Fault::BrokenDeflate));
        // A reference to a window that is not there.
        assert_eq!(
            unpacked(&mut Inflater::new(ALONE), &[0xf2, 0x00, 0x11, 0x00, 0x00], 100),
            Err(Fault::BrokenDeflate)
        );
        let packed = packed(&mut Deflater::new(ALONE).unwrap(), b"a\xff");
        let mut out = Vec::new();
        let text = Inflater::new(ALONE).message(Kind::Text, &packed, &mut out, 100);
        assert_eq!(text, Err(Fault::NotUtf8));
    }

    #[test]
    fn a_window_is_kept_to() {
        // Noise, and the same again 2 KiB later: nothing to refer to in a window of half a KiB.
        let mut random = crate::routing::Random::new(7);
        let noise: Vec<u8> = (0..2048).map(|_| random.next_u64().to_le_bytes()[0]).collect();
        let twice = [&noise[..], &noise].concat();
        let length = |window_bits| {
            let direction = Direction { window_bits, takeover: true };
            let packed = packed(&mut Deflater::new(direction).unwrap(), &twice);
            assert_eq!(unpacked(&mut Inflater::new(direction), &packed, 5000), Ok(twice.clone()));
            packed.len()
        };
        assert!(length(9) > 4000 && length(15) < 3000);
        assert!(Deflater::new(Direction { window_bits: 8, takeover: true }).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_packed_is_unpacked(
            messages in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..3000),
                (any::<u8>(), 0_usize..100_000).prop_map(|(byte, count)| vec![byte; count]),
            ], 1..5),
            window_bits in 9_u8..16, takeover: bool,
        ) {
            let direction = Direction { window_bits, takeover };
            let (mut deflater, mut inflater) = (Deflater::new(direction).unwrap(), Inflater::new(direction));
            for message in messages {
                let packed = packed(&mut deflater, &message);
                let unpacked = unpacked(&mut inflater, &packed, message.len());
                prop_assert_eq!(unpacked, Ok(message));
            }
        }

        #[test]
        fn no_bytes_panic(packed in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut inflater = Inflater::new(FULL);
            for _ in 0..2 {
                let found = unpacked(&mut inflater, &packed, 1000);
                prop_assert!(found.is_err() || found.is_ok_and(|message| message.len() <= 1000));
            }
        }
    }
}
