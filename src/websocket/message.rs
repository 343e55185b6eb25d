//! From a byte stream to messages: frames in their order, fragments put together, limits, UTF-8, control frames
//! between.
//!
//! **Contract.** [`Reader::read`] gets the receive buffer from the first byte that has not been consumed, and more of
//! it each time. It answers with at most one event and how many bytes are behind it; with none, all that can be done
//! with these bytes is done. Bytes that are not consumed must stay as they are (part of them may be unmasked already),
//! wherever they are moved. An event's bytes are good until the next call.
//!
//! A message of one frame stays in the receive buffer until it is whole, so that it is never copied: the buffer grows
//! to the message's limit at most, and only as bytes really come ([`Reader::wants`] tells how far). Fragments are moved
//! out as they come, into a buffer that is kept for the next message unless it has grown large. Text is checked as it
//! comes.
//!
//! A compressed message is handed out as it came: see [`super::deflate`]. It cannot be checked before it is whole.
//!
//! Invariants: how the stream is cut into calls changes no event and no fault; after a fault or a close frame nothing
//! more is read; memory is bounded by the message's limit whatever the peer says.

use std::ops::Range;

use super::close::Close;
use super::fault::Fault;
use super::flood::Flood;
use super::frame::{FrameHead, Opcode, Role};
use super::mask::apply_mask;
use super::utf8::Utf8;
use crate::limits::{BUFFER_BYTES, WEBSOCKET_FRAGMENTS_MAX};
use crate::time::Instant;

#[derive(Clone, Copy, Debug)]
pub struct ReaderConfig {
    /// Which end we are.
    pub role: Role,
    /// Bytes of a message on the wire; of one that was compressed, [`super::deflate::Inflater`] bounds the rest.
    pub message_bytes_max: usize,
    /// permessage-deflate has been agreed on.
    pub compression: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
}

/// What the peer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// Text is UTF-8, unless it is still compressed.
    Message {
        kind: Kind,
        compressed: bool,
        bytes: &'b [u8],
    },
    /// To be answered with a pong of the same bytes; of several that wait, the newest will do (section 5.5.3).
    Ping(&'b [u8]),
    Pong(&'b [u8]),
    Close(Close<'b>),
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'b> {
    /// Bytes at the beginning of the buffer that are done with.
    pub consumed: usize,
    /// `None`: more bytes are needed.
    pub event: Option<Event<'b>>,
}

/// Reads one side of one connection.
#[derive(Debug)]
pub struct Reader {
    config: ReaderConfig,
    frame: Option<Frame>,
    message: Option<Message>,
    /// A fragmented message as far as it has come, or the last one until the next call.
    assembled: Vec<u8>,
    is_handed_out: bool,
    utf8: Utf8,
    flood: Flood,
    is_over: bool,
}

/// A frame that is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    head: FrameHead,
    /// Payload bytes in all.
    payload: usize,
    /// Payload bytes that have been unmasked and checked.
    done: usize,
    /// Of a frame that stays in the buffer, its head's bytes; of a fragment they are consumed.
    in_place: Option<usize>,
    is_text: bool,
}

/// A message in fragments.
#[derive(Clone, Copy, Debug)]
struct Message {
    kind: Kind,
    compressed: bool,
    fragments: u32,
}

/// A whole event, before it is borrowed from where it stands.
enum Found {
    InPlace(FrameHead, Range<usize>),
    Assembled(Message),
}

impl Reader {
    #[must_use]
    pub fn new(config: ReaderConfig) -> Self {
        Self {
            config,
            frame: None,
            message: None,
            assembled: Vec::new(),
            is_handed_out: false,
            utf8: Utf8::default(),
            flood: Flood::default(),
            is_over: false,
        }
    }

    /// Reads on: see the contract above.
    pub fn read<'b>(&'b mut self, now: Instant, buf: &'b mut [u8]) -> Result<Step<'b>, Fault> {
        self.release();
        if self.is_over {
            return Ok(Step { consumed: buf.len(), event: None });
        }
        let mut consumed = 0;
        let found = self.find(now, buf, &mut consumed).inspect_err(|_| self.is_over = true)?;
        let event = match found {
            None => None,
            Some(Found::InPlace(head, range)) => {
                Some(in_place(head, &buf[range]).inspect_err(|_| self.is_over = true)?)
            }
            Some(Found::Assembled(Message { kind, compressed, .. })) => {
                self.is_handed_out = true;
                Some(Event::Message { kind, compressed, bytes: &self.assembled })
            }
        };
        self.is_over = matches!(event, Some(Event::Close(_)));
        Ok(Step { consumed, event })
    }

    /// Bytes that the buffer must hold before anything comes of what is not consumed; 0 when that is not known.
    #[must_use]
    pub fn wants(&self) -> usize {
        self.frame.and_then(|frame| Some(frame.in_place? + frame.payload)).unwrap_or(0)
    }

    /// Nothing more will be read: a close frame has come, or a fault.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes frames until one completes an event or the bytes are used up.
    fn find(&mut self, now: Instant, buf: &mut [u8], consumed: &mut usize) -> Result<Option<Found>, Fault> {
        loop {
            let mut frame = if let Some(frame) = self.frame.take() {
                frame
            } else {
                let ReaderConfig { role, compression, .. } = self.config;
                let Some((head, head_bytes)) = FrameHead::read(&buf[*consumed..], role, compression)? else {
                    return Ok(None);
                };
                let frame = self.begin(now, head, head_bytes)?;
                *consumed += if frame.in_place.is_some() { 0 } else { head_bytes };
                frame
            };
            let found = match frame.in_place {
                Some(head_bytes) => self.take_in_place(&mut frame, head_bytes, &mut buf[*consumed..])?.map(|end| {
                    let payload = *consumed + head_bytes..*consumed + end;
                    *consumed += end;
                    Found::InPlace(frame.head, payload)
                }),
                None => self.take_fragment(&mut frame, &mut buf[*consumed..], consumed)?,
            };
            if frame.done < frame.payload {
                self.frame = Some(frame);
                return Ok(None);
            }
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Judges a head by what came before it.
    fn begin(&mut self, now: Instant, head: FrameHead, head_bytes: usize) -> Result<Frame, Fault> {
        let in_place = head.opcode.is_control() || head.last && head.opcode != Opcode::Continuation;
        if head.opcode.is_control() {
            if !self.flood.allows(now) {
                return Err(Fault::ControlFlood);
            }
        } else {
            self.begin_data(head)?;
        }
        let before = if in_place { 0 } else { self.assembled.len() };
        let room = self.config.message_bytes_max.saturating_sub(before);
        let payload = usize::try_from(head.payload_bytes).unwrap_or(usize::MAX);
        if payload > room && !head.opcode.is_control() {
            return Err(Fault::MessageTooLarge);
        }
        let is_text = match (head.opcode, self.message) {
            (Opcode::Text, _) => !head.compressed,
            (Opcode::Continuation, Some(message)) => message.kind == Kind::Text && !message.compressed,
            _ => false,
        };
        Ok(Frame { head, payload, done: 0, in_place: in_place.then_some(head_bytes), is_text })
    }

    /// A frame of a message: begins one, goes on with one, or is one.
    fn begin_data(&mut self, head: FrameHead) -> Result<(), Fault> {
        let kind = match (head.opcode, &mut self.message) {
            (Opcode::Continuation, None) => return Err(Fault::NothingToContinue),
            (Opcode::Continuation, Some(message)) if message.fragments >= WEBSOCKET_FRAGMENTS_MAX => {
                return Err(Fault::TooManyFragments);
            }
            (Opcode::Continuation, Some(message)) => {
                message.fragments += 1;
                return Ok(());
            }
            (_, Some(_)) => return Err(Fault::MessageWithinMessage),
            (Opcode::Text, None) => Kind::Text,
            (_, None) => Kind::Binary,
        };
        if !head.last {
            self.message = Some(Message { kind, compressed: head.compressed, fragments: 1 });
        }
        Ok(())
    }

    /// Unmasks and checks what has come of a frame that stays where it is; where it ends, once it is whole.
    fn take_in_place(&mut self, frame: &mut Frame, head_bytes: usize, buf: &mut [u8]) -> Result<Option<usize>, Fault> {
        let end = buf.len().min(head_bytes + frame.payload);
        // A caller that keeps its part of the contract hands in no less than before.
        let Some(new) = buf.get_mut(head_bytes + frame.done..end) else { return Ok(None) };
        self.take(frame, new)?;
        if frame.done < frame.payload {
            return Ok(None);
        }
        if frame.is_text {
            self.utf8.finish()?;
        }
        Ok(Some(end))
    }

    /// Moves what has come of a fragment.
    fn take_fragment(
        &mut self,
        frame: &mut Frame,
        buf: &mut [u8],
        consumed: &mut usize,
    ) -> Result<Option<Found>, Fault> {
        let count = buf.len().min(frame.payload - frame.done);
        let new = &mut buf[..count];
        self.take(frame, new)?;
        self.assembled.extend_from_slice(new);
        *consumed += count;
        if frame.done < frame.payload || !frame.head.last {
            return Ok(None);
        }
        if frame.is_text {
            self.utf8.finish()?;
        }
        Ok(self.message.take().map(Found::Assembled))
    }

    fn take(&mut self, frame: &mut Frame, new: &mut [u8]) -> Result<(), Fault> {
        if let Some(mask) = frame.head.mask {
            apply_mask(new, mask, frame.done);
        }
        frame.done += new.len();
        if frame.is_text { self.utf8.push(new) } else { Ok(()) }
    }

    /// What was handed out is no longer looked at.
    fn release(&mut self) {
        if std::mem::take(&mut self.is_handed_out) {
            self.assembled.clear();
            // Every idle connection would hold what is kept here.
            self.assembled.shrink_to(BUFFER_BYTES);
        }
    }
}

/// What a frame that stands alone says.
fn in_place(head: FrameHead, bytes: &[u8]) -> Result<Event<'_>, Fault> {
    let message = |kind| Event::Message { kind, compressed: head.compressed, bytes };
    Ok(match head.opcode {
        Opcode::Ping => Event::Ping(bytes),
        Opcode::Pong => Event::Pong(bytes),
        Opcode::Close => Event::Close(Close::read(bytes)?),
        Opcode::Text => message(Kind::Text),
        // A continuation never stands alone.
        Opcode::Binary | Opcode::Continuation => message(Kind::Binary),
    })
}

#[cfg(test)]
mod tests;
