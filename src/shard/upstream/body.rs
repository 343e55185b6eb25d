//! A provider's answer as it comes in: framing taken off, gzip undone, a piece at a time.
//!
//! Wire bytes wait in one buffer and content is appended to another. A step is bounded on both sides: it reads what the
//! socket has up to one read, and gzip is fed in slices so small that the worst bomb yields about a megabyte a step.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use crate::http::{ContentEncoding, Decoder, ResponseFraming};
use crate::limits;
use crate::shard::transport::Transport;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the connection was lost: {0}")]
    Lost(#[from] io::Error),
    #[error("the answer was cut short")]
    Cut,
    #[error("the chunked framing is broken")]
    Framing,
    #[error("the gzip data is broken")]
    Gzip,
    #[error("the content encoding is not one that was asked for")]
    Encoding,
}

/// Takes one answer's body off the wire.
pub(crate) struct BodyReader {
    framing: Left,
    gunzip: Option<Gunzip>,
}

/// Compressed content on its way.
struct Gunzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// Off the wire and not decoded yet.
    packed: Vec<u8>,
    done: bool,
}

/// What is left to read.
enum Left {
    Length(u64),
    Chunked(Decoder),
    UntilClose,
    Nothing,
}

impl Left {
    const fn of_length(left: u64) -> Self {
        if left == 0 { Self::Nothing } else { Self::Length(left) }
    }
}

impl BodyReader {
    pub(crate) fn new(framing: ResponseFraming, encoding: ContentEncoding) -> Result<Self, BodyError> {
        let framing = match framing {
            ResponseFraming::None => Left::Nothing,
            ResponseFraming::Length(length) => Left::of_length(length),
            ResponseFraming::Chunked => Left::Chunked(Decoder::new(u64::MAX)),
            ResponseFraming::UntilClose => Left::UntilClose,
        };
        let gunzip = match encoding {
            ContentEncoding::Identity => None,
            ContentEncoding::Gzip => Some(Gunzip::new()),
            ContentEncoding::Other => return Err(BodyError::Encoding),
        };
        Ok(Self { framing, gunzip })
    }

    /// Whether all of it has been read.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.framing, Left::Nothing) && self.gunzip.as_ref().is_none_or(|gunzip| gunzip.done)
    }

    /// Content takes as many bytes as the wire says: nothing is chunked or compressed.
    pub(crate) fn length(&self) -> Option<u64> {
        match (&self.framing, &self.gunzip) {
            (Left::Length(length), None) => Some(*length),
            (Left::Nothing, None) => Some(0),
            _ => None,
        }
    }

    /// Appends more of the body to `content`: from what is at hand, or else from one read into `wire`.
    pub(crate) async fn step(
        &mut self,
        transport: &mut Transport,
        wire: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Result<(), BodyError> {
        if let Some(gunzip) = &mut self.gunzip
            && !gunzip.packed.is_empty()
        {
            return gunzip.unpack(content);
        }
        if let (&Left::Length(left), None, true) = (&self.framing, &self.gunzip, wire.is_empty()) {
            // Nothing to take off: from the socket to where it is wanted, and no byte of what may follow.
            let max = usize::try_from(left).unwrap_or(usize::MAX).min(limits::READ_BYTES_MAX);
            let count = transport.read_into(content, max).await?;
            if count == 0 {
                return self.end_of_stream(content);
            }
            self.framing = Left::of_length(left - count as u64);
            return Ok(());
        }
        if wire.is_empty() && !matches!(self.framing, Left::Nothing) {
            let count = transport.read_into(wire, limits::READ_BYTES_MAX).await?;
            if count == 0 {
                return self.end_of_stream(content);
            }
        }
        let Some(mut gunzip) = self.gunzip.take() else { return self.unframe(wire, content) };
        self.unframe(wire, &mut gunzip.packed)?;
        if gunzip.packed.is_empty() && matches!(self.framing, Left::Nothing) {
            gunzip.finish(content)?;
        }
        self.gunzip = Some(gunzip);
        Ok(())
    }

    fn unframe(&mut self, wire: &mut Vec<u8>, content: &mut Vec<u8>) -> Result<(), BodyError> {
        let used = match &mut self.framing {
            Left::Nothing => 0,
            Left::Length(left) => {
                let count = wire.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                content.extend_from_slice(&wire[..count]);
                self.framing = Left::of_length(*left - count as u64);
                count
            }
            Left::Chunked(decoder) => {
                let progress = decoder.decode(wire, content).map_err(|_| BodyError::Framing)?;
                if progress.done {
                    self.framing = Left::Nothing;
                }
                progress.consumed
            }
            Left::UntilClose => {
                content.extend_from_slice(wire);
                wire.len()
            }
        };
        wire.drain(..used);
        Ok(())
    }

    fn end_of_stream(&mut self, content: &mut Vec<u8>) -> Result<(), BodyError> {
        if !matches!(self.framing, Left::UntilClose) {
            return Err(BodyError::Cut);
        }
        self.framing = Left::Nothing;
        self.gunzip.as_mut().map_or(Ok(()), |gunzip| gunzip.finish(content))
    }
}

impl Gunzip {
    fn new() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()), packed: Vec::new(), done: false }
    }

    /// Decodes one slice.
    fn unpack(&mut self, content: &mut Vec<u8>) -> Result<(), BodyError> {
        let count = self.packed.len().min(limits::GZIP_SLICE_BYTES);
        self.decoder.write_all(&self.packed[..count]).map_err(|_| BodyError::Gzip)?;
        self.packed.drain(..count);
        content.append(self.decoder.get_mut());
        Ok(())
    }

    fn finish(&mut self, content: &mut Vec<u8>) -> Result<(), BodyError> {
        self.decoder.try_finish().map_err(|_| BodyError::Gzip)?;
        content.append(self.decoder.get_mut());
        self.done = true;
        Ok(())
    }
}
