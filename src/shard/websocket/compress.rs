//! Compression of clients' WebSockets: what a shard has for it, once for all its connections.
//!
//! That one compressor serves them all is what "no context takeover" buys, and the reason why it is the only way here: a
//! connection's own would be 300 KiB for as long as it lives, idle or not. A message is unpacked into one buffer of the
//! shard's and moved out in its size, so that a short message does not hold the room of a long one.
//!
//! Left out: answers in fragments. They go out as they come, and their pieces would need a compressor each meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

use crate::limits;
use crate::shard::buffers::Buffers;
use crate::websocket::deflate::{Agreed, Deflater, Direction, Inflater};
use crate::websocket::{Event, Fault, Kind};

/// Windows that can be made: 9 to 15 bits.
const WINDOWS: usize = 7;
const WINDOW_BITS_MIN: u8 = 9;

/// A shard's compressors and its window for unpacking, each made when it is first needed.
#[derive(Default)]
pub(crate) struct Codecs {
    /// One for every connection: a smaller window's stream is read with a larger one.
    inflater: RefCell<Option<Inflater>>,
    deflaters: RefCell<[Option<Deflater>; WINDOWS]>,
    scratch: RefCell<Vec<u8>>,
}

impl Codecs {
    /// The message that `packed` holds, of at most `bytes_max`.
    pub(super) fn unpack(
        &self,
        buffers: &Buffers,
        kind: Kind,
        packed: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<u8>, Fault> {
        let mut inflater = self.inflater.borrow_mut();
        let inflater = inflater.get_or_insert_with(|| Inflater::new(Direction { window_bits: 15, takeover: false }));
        let mut scratch = self.scratch.borrow_mut();
        let unpacked = inflater.message(kind, packed, &mut scratch, bytes_max);
        let message = match unpacked {
            Ok(Event::Message { bytes, .. }) if bytes.len() <= limits::WHOLE_BYTES_MAX => {
                let mut message = buffers.take();
                message.extend_from_slice(bytes);
                Ok(message)
            }
            Ok(_) => Ok(std::mem::take(&mut *scratch)),
            Err(fault) => Err(fault),
        };
        trim(&mut scratch);
        message
    }

    /// Hands `message`, packed, to `take`; false where packing it gains nothing.
    fn pack(&self, ours: Direction, message: &[u8], take: impl FnOnce(&[u8])) -> bool {
        let at = usize::from(ours.window_bits.saturating_sub(WINDOW_BITS_MIN)).min(WINDOWS - 1);
        let deflater = &mut self.deflaters.borrow_mut()[at];
        if deflater.is_none() {
            *deflater = Deflater::new(ours);
        }
        let Some(codec) = deflater else { return false };
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        let packed = codec.deflate(message, &mut scratch);
        if !packed {
            // It is made anew for the next message, and this one goes as it is.
            *deflater = None;
        }
        let gains = packed && scratch.len() < message.len();
        if gains {
            take(&scratch);
        }
        trim(&mut scratch);
        gains
    }
}

/// One large message must not cost memory for ever.
fn trim(scratch: &mut Vec<u8>) {
    scratch.clear();
    scratch.shrink_to(limits::BUFFER_KEPT_BYTES_MAX);
}

/// What one connection's messages are packed with.
pub(super) struct Packing {
    codecs: Rc<Codecs>,
    ours: Direction,
    bytes_min: usize,
}

impl Packing {
    pub(super) fn new(codecs: &Rc<Codecs>, agreed: Agreed, bytes_min: usize) -> Self {
        debug_assert!(!agreed.ours.takeover, "one compressor serves all");
        Self { codecs: Rc::clone(codecs), ours: agreed.ours, bytes_min }
    }

    /// What packs alike.
    pub(super) fn window_bits(&self) -> u8 {
        self.ours.window_bits
    }

    /// Hands `message` to `take`, packed where it is long enough and becomes shorter; true says that it is.
    pub(super) fn pack(packing: Option<&Self>, message: &[u8], mut take: impl FnMut(&[u8], bool)) {
        let packed = packing.is_some_and(|packing| {
            let Self { codecs, ours, bytes_min } = packing;
            message.len() >= *bytes_min && codecs.pack(*ours, message, |packed| take(packed, true))
        });
        if !packed {
            take(message, false);
        }
    }
}
