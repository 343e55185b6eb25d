//! permessage-deflate (RFC 7692): what is agreed on, and the codec.
//!
//! Off unless the operator turns it on: a compressor keeps a window and its tables, 256 KiB at the full 15 bits by
//! zlib's own reckoning, for as long as a connection lives, most of which idle. Two terms bound that. **Window bits**,
//! for both directions. **No context takeover**: each message stands alone, so that one codec of a shard serves all its
//! connections and an idle one holds nothing.
//!
//! A message is inflated once it is whole, into a buffer that is the caller's to reuse, and never beyond its bound: a
//! bomb costs what it may at most be, and ends with 1009.

mod agreement;
mod codec;

pub use agreement::{Agreed, DeflateTerms, Direction, Malformed};
pub use codec::{Deflater, Inflater};
