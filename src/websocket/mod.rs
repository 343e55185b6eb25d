//! WebSocket as bytes: frames, messages, closing. Pure.
//!
//! A [`Reader`] cuts the byte stream into [`Event`]s and [`write_frame`] makes what goes out; both serve either [`Role`].
//! [`Closing`] is the two halves of a goodbye. The source is RFC 6455.
//!
//! **No copying where it can be helped.** A message of one frame, as nearly all are, is unmasked where it was received and
//! handed out as a slice of the receive buffer. Only fragments are put together elsewhere. A server's frame is a head of a
//! few bytes before a payload that stays where it is ([`FrameHead::write`]).
//!
//! **Whatever comes in**, memory is bounded by one message's limit, and what breaks a rule is a [`Fault`] that bears the close
//! code to answer with. How the stream is cut into reads never changes what is found in it.
//!
//! Left to the caller: the socket, timeouts (a half-open peer, a goodbye that is not answered), masking keys and
//! nonces that nobody guesses, and how much may wait for a slow reader.

mod close;
mod fault;
mod flood;
mod frame;
mod mask;
mod message;
mod utf8;

pub use close::{Close, CloseCode, Closing, write_close};
pub use fault::Fault;
pub use frame::{FrameHead, HeadBytes, Opcode, Role, write_frame};
pub use mask::{Mask, apply_mask};
pub use message::{Event, Kind, Reader, ReaderConfig, Step};
