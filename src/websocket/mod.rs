//! WebSocket as bytes: handshakes, frames, messages, closing, compression. Pure.
//!
//! In reading order: [`Terms::accept`] turns a client's request into a 101 or says why not, [`UpgradeTemplate`] asks a
//! provider and [`read_answer`] reads what it says. From there on a [`Reader`] cuts the byte stream into [`Event`]s and
//! [`write_frame`] makes what goes out; both serve either [`Role`]. [`deflate`] takes and makes compressed messages,
//! [`Closing`] is the two halves of a goodbye, [`KeepAlive`] notices who left without one. Sources are RFC 6455 and,
//! for compression, RFC 7692.
//!
//! **No copying where it can be helped.** A message of one frame, as nearly all are, is unmasked where it was received
//! and handed out as a slice of the receive buffer. Only fragments are put together elsewhere. A server's frame is a
//! head of a few bytes before a payload that stays where it is ([`FrameHead::write`]).
//!
//! **Whatever comes in**, memory is bounded by one message's limit, and what breaks a rule is a [`Fault`] that bears
//! the close code to answer with. How the stream is cut into reads never changes what is found in it.
//!
//! Left to the caller: the socket, timers (and how long a goodbye may stay unanswered), masking keys and
//! nonces that nobody guesses, and how much may wait for a slow reader.

mod alive;
mod close;
pub mod deflate;
mod fault;
mod flood;
mod frame;
mod handshake;
mod mask;
mod message;
mod request;
mod utf8;

pub use alive::{KeepAlive, Pulse};
pub use close::{Close, CloseCode, Closing, write_close};
pub use fault::Fault;
pub use frame::{FrameHead, HeadBytes, Opcode, Role, write_frame};
pub use handshake::{Accepted, NONCE_BYTES, Origins, Refusal, Terms, accept_of};
pub use mask::{Mask, apply_mask};
pub use message::{Event, Kind, Reader, ReaderConfig, Step};
pub use request::{AnswerError, Established, UpgradeTemplate, read_answer};
