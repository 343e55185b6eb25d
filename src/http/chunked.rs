//! Chunked bodies (RFC 9112, section 7.1): a decoder that takes bytes as they come, and what a writer needs.
//!
//! One state machine, two ways out: [`Decoder::next`] names the next run of data inside the input, so that hundreds of
//! megabytes pass through without a copy; [`Decoder::decode`] gathers the data. Framing is taken a byte at a time:
//! there are some seven bytes of it a chunk.
//!
//! Strict: sizes are hexadecimal digits and nothing else, lines end in CR LF, and everything that is not data is
//! bounded: digits of a size, extensions and trailers of a message. What remains is at most 20 bytes a chunk, and a
//! chunk has at least one byte of data. Extensions and trailers are read past.

use std::ops::Range;

use crate::limits::{CHUNK_EXTENSION_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, CHUNK_TRAILER_BYTES_MAX};

use super::field::{is_token_byte, is_value_byte};

/// Behind a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends a chunked body that has no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What is wrong with a chunked body. The sender's fault; its connection cannot be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("a chunk's size is not a hexadecimal number")]
    Size,
    #[error("a chunk's size has more than 16 digits")]
    SizeTooLong,
    #[error("the body is larger than allowed")]
    TooLarge,
    #[error("a chunk's line or its data does not end in CR LF")]
    LineEnd,
    #[error("a chunk's extension has a control character")]
    Extension,
    #[error("more than 4 KiB of chunk extensions")]
    ExtensionTooLong,
    #[error("a malformed trailer field")]
    Trailer,
    #[error("more than 8 KiB of trailer fields")]
    TrailerTooLong,
}

/// What came next in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where data stands in the input; empty when there was none.
    pub data: Range<usize>,
    /// Bytes of input that are dealt with, never less than `data.end`.
    pub consumed: usize,
    /// The body has ended; what follows in the input is another message's.
    pub done: bool,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// All of the input unless `done`.
    pub consumed: usize,
    pub done: bool,
}

/// Reads one chunked body. After an error it must not be used again.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    /// Of the current chunk: its size as far as read, then what is left of its data.
    size: u64,
    size_digits: u8,
    /// What the chunks to come may hold.
    allowed: u64,
    extension_bytes: u32,
    trailer_bytes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

impl Decoder {
    /// For a body of at most `bytes_max` bytes; a chunk that announces more is refused before it comes.
    #[must_use]
    pub const fn new(bytes_max: u64) -> Self {
        Self { state: State::Size, size: 0, size_digits: 0, allowed: bytes_max, extension_bytes: 0, trailer_bytes: 0 }
    }

    /// Reads up to the end of the next run of data, or all of the input. Call again with the rest until all is consumed or `done`.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, ChunkError> {
        let mut at = 0;
        while self.state != State::Done {
            let Some(byte) = input.get(at) else { break };
            if self.state == State::Data {
                let here = input.len() - at;
                let end = at + usize::try_from(self.size).unwrap_or(usize::MAX).min(here);
                self.size -= (end - at) as u64;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Piece { data: at..end, consumed: end, done: false });
            }
            self.state = self.step(*byte)?;
            at += 1;
        }
        Ok(Piece { data: at..at, consumed: at, done: self.state == State::Done })
    }

    /// Appends the input's data to `out`. What came before an error is appended, too.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, ChunkError> {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            let piece = self.next(rest)?;
            out.extend_from_slice(&rest[piece.data]);
            consumed += piece.consumed;
            if piece.done || consumed == input.len() {
                return Ok(Progress { consumed, done: piece.done });
            }
        }
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes one byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        match self.state {
            State::Size => self.size(byte),
            State::Extension => self.extension(byte),
            State::SizeLf => self.after_size(byte),
            State::DataCr => expect(byte, b'\r', State::DataLf),
            State::DataLf => expect(byte, b'\n', State::Size),
            State::TrailerStart | State::TrailerName | State::TrailerValue => self.trailer(byte),
            State::TrailerLf => expect(byte, b'\n', State::TrailerStart),
            State::LastLf => expect(byte, b'\n', State::Done),
            State::Data | State::Done => Ok(self.state),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, ChunkError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b';' if self.size_digits > 0 => return Ok(State::Extension),
            b'\r' if self.size_digits > 0 => return Ok(State::SizeLf),
            _ => return Err(ChunkError::Size),
        };
        if self.size_digits == CHUNK_SIZE_DIGITS_MAX {
            return Err(ChunkError::SizeTooLong);
        }
        self.size_digits += 1;
        self.size = self.size << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn extension(&mut self, byte: u8) -> Result<State, ChunkError> {
        match byte {
            b'\r' => Ok(State::SizeLf),
            _ if !is_value_byte(byte) => Err(ChunkError::Extension),
            _ if self.extension_bytes == CHUNK_EXTENSION_BYTES_MAX => Err(ChunkError::ExtensionTooLong),
            _ => {
                self.extension_bytes += 1;
                Ok(State::Extension)
            }
        }
    }

    fn after_size(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.size_digits = 0;
        let next = if self.size == 0 { State::TrailerStart } else { State::Data };
        self.allowed = self.allowed.checked_sub(self.size).ok_or(ChunkError::TooLarge)?;
        expect(byte, b'\n', next)
    }

    fn trailer(&mut self, byte: u8) -> Result<State, ChunkError> {
        if self.trailer_bytes == CHUNK_TRAILER_BYTES_MAX {
            return Err(ChunkError::TrailerTooLong);
        }
        self.trailer_bytes += 1;
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::TrailerStart | State::TrailerName, _) if is_token_byte(byte) => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_value_byte(byte) => Ok(State::TrailerValue),
            _ => Err(ChunkError::Trailer),
        }
    }
}

fn expect(byte: u8, wanted: u8, next: State) -> Result<State, ChunkError> {
    if byte == wanted { Ok(next) } else { Err(ChunkError::LineEnd) }
}

/// Appends what goes before a chunk's data, `data_bytes` of it. Nothing for no data: an empty chunk would end the body.
pub fn write_chunk_head(out: &mut Vec<u8>, data_bytes: usize) {
    if data_bytes == 0 {
        return;
    }
    let digits = (usize::BITS - data_bytes.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[data_bytes >> (digit * 4) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNBOUNDED: u64 = u64::MAX;

    /// The data and how many bytes the body took; `None` for one that has not ended.
    fn decode(input: &[u8], bytes_max: u64) -> Result<Option<(Vec<u8>, usize)>, ChunkError> {
        let mut out = Vec::new();
        let progress = Decoder::new(bytes_max).decode(input, &mut out)?;
        Ok(progress.done.then_some((out, progress.consumed)))
    }

    fn decode_in_parts(input: &[u8], part_bytes: usize) -> Result<Option<(Vec<u8>, usize)>, ChunkError> {
        let (mut decoder, mut out, mut consumed) = (Decoder::new(UNBOUNDED), Vec::new(), 0);
        for part in input.chunks(part_bytes.max(1)) {
            let progress = decoder.decode(part, &mut out)?;
            consumed += progress.consumed;
            if progress.done {
                return Ok(Some((out, consumed)));
            }
            assert_eq!(progress.consumed, part.len());
        }
        Ok(None)
    }

    #[test]
    fn bodies() {
        for (body, data) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"),
            ("A\r\n0123456789\r\na\r\n0123456789\r\n00\r\n\r\n", "01234567890123456789"),
            ("0000000000000001\r\nx\r\n0\r\n\r\n", "x"),
            ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
            ("1;a=b;c=\"d\";é\r\nx\r\n0;last\r\n\r\n", "x"),
            ("1;\r\nx\r\n0\r\n\r\n", "x"),
            ("1\r\nx\r\n0\r\nA: b\r\nContent-Length:5\r\nEmpty:\r\n\r\n", "x"),
        ] {
            let expected = Ok(Some((data.as_bytes().to_vec(), body.len())));
            let with_next = [body, "GET /"].concat();
            for part_bytes in 1..=with_next.len() {
                assert_eq!(decode_in_parts(with_next.as_bytes(), part_bytes), expected, "{body:?} by {part_bytes}");
            }
            for bytes in 0..body.len() {
                assert_eq!(decode(&body.as_bytes()[..bytes], UNBOUNDED), Ok(None), "{bytes} bytes of {body:?}");
            }
        }
    }

    #[test]
    fn bodies_are_refused() {
        use ChunkError as E;
        for (body, fault) in [
            ("\r\n", E::Size),
            ("g\r\n", E::Size),
            ("+5\r\nhello", E::Size),
            ("-1\r\n", E::Size),
            ("0x5\r\nhello", E::Size),
            (" 5\r\nhello", E::Size),
            ("5 \r\nhello", E::Size),
            ("5 ;a\r\nhello", E::Size),
            (";a\r\n", E::Size),
            ("5\nhello", E::Size),
            ("5_0\r\n", E::Size),
            ("00000000000000005\r\nhello", E::SizeTooLong),
            ("fffffffffffffffff\r\n", E::SizeTooLong),
            ("5\rhello", E::LineEnd),
            ("5\r\r\nhello", E::LineEnd),
            ("5\r\nhello0\r\n", E::LineEnd),
            ("5\r\nhello\n0\r\n", E::LineEnd),
            ("5\r\nhello\r0\r\n", E::LineEnd),
            ("5\r\nhello\r\n\r\n", E::Size),
            ("5;a\nb\r\nhello", E::Extension),
            ("5;\0\r\nhello", E::Extension),
            ("5;a\rb\r\nhello", E::LineEnd),
            ("0\r\n\n", E::Trailer),
            ("0\r\n\rx", E::LineEnd),
            ("0\r\nA\r\n\r\n", E::Trailer),
            ("0\r\n: b\r\n\r\n", E::Trailer),
            ("0\r\nA : b\r\n\r\n", E::Trailer),
            ("0\r\nA: b\r\n c\r\n\r\n", E::Trailer),
            ("0\r\nA: b\nB: c\r\n\r\n", E::Trailer),
            ("0\r\nA: \0\r\n\r\n", E::Trailer),
            ("0\r\nA: b\rc\r\n\r\n", E::LineEnd),
            ("8000000000000000\r\nx", E::TooLarge),
        ] {
            let bytes_max = if fault == E::TooLarge { 1 << 62 } else { UNBOUNDED };
            assert_eq!(decode(body.as_bytes(), bytes_max), Err(fault), "{body:?}");
        }
    }

    #[test]
    fn what_is_not_data_is_bounded() {
        let limit = |bytes: u32| usize::try_from(bytes).unwrap();
        let extended = |bytes: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(bytes));
        assert!(decode(extended(limit(CHUNK_EXTENSION_BYTES_MAX)).as_bytes(), UNBOUNDED).is_ok());
        let fault = decode(extended(limit(CHUNK_EXTENSION_BYTES_MAX) + 1).as_bytes(), UNBOUNDED);
        assert_eq!(fault, Err(ChunkError::ExtensionTooLong));
        // In all chunks together.
        assert_eq!(decode("1;e\r\nx\r\n".repeat(5000).as_bytes(), UNBOUNDED), Err(ChunkError::ExtensionTooLong));
        let trailers = ["0\r\n", &"A: b\r\n".repeat(2000), "\r\n"].concat();
        assert_eq!(decode(trailers.as_bytes(), UNBOUNDED), Err(ChunkError::TrailerTooLong));
    }

    #[test]
    fn data_is_bounded_before_it_comes() {
        assert!(decode(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 5).is_ok());
        assert_eq!(decode(b"3\r\nabc\r\n3\r\n", 5), Err(ChunkError::TooLarge));
        assert_eq!(decode(b"6\r\n", 5), Err(ChunkError::TooLarge));
        // Sizes whose sum does not fit.
        assert_eq!(decode(b"1\r\na\r\nffffffffffffffff\r\n", UNBOUNDED), Err(ChunkError::TooLarge));
    }

    #[test]
    fn data_passes_through_by_name() {
        let input = b"3\r\nabc\r\n2\r\nd";
        let mut decoder = Decoder::new(UNBOUNDED);
        let first = decoder.next(input).unwrap();
        assert_eq!((&input[first.data.clone()], first.consumed, first.done), (&b"abc"[..], 6, false));
        let rest = &input[first.consumed..];
        let second = decoder.next(rest).unwrap();
        assert_eq!((&rest[second.data.clone()], second.consumed), (&b"d"[..], rest.len()));
        let end = decoder.next(b"e\r\n0\r\n\r\nGET").unwrap();
        assert_eq!(end, Piece { data: 0..1, consumed: 1, done: false });
        let end = decoder.next(b"\r\n0\r\n\r\nGET").unwrap();
        assert_eq!(end, Piece { data: 7..7, consumed: 7, done: true });
        assert!(decoder.is_done());
        assert_eq!(decoder.next(b"GET").unwrap(), Piece { data: 0..0, consumed: 0, done: true });
    }

    #[test]
    fn chunk_heads() {
        for (bytes, head) in [
            (0, ""),
            (1, "1\r\n"),
            (15, "f\r\n"),
            (16, "10\r\n"),
            (0x1_0000, "10000\r\n"),
            (usize::MAX, "ffffffffffffffff\r\n"),
        ] {
            let mut out = Vec::new();
            write_chunk_head(&mut out, bytes);
            assert_eq!(out, head.as_bytes(), "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(chunks in prop::collection::vec(prop::collection::vec(prop::num::u8::ANY, 1..300), 0..10), part_bytes in 1..400_usize) {
            let mut body = Vec::new();
            for chunk in &chunks {
                write_chunk_head(&mut body, chunk.len());
                body.extend_from_slice(chunk);
                body.extend_from_slice(CHUNK_END);
            }
            body.extend_from_slice(LAST_CHUNK);
            prop_assert_eq!(decode_in_parts(&body, part_bytes), Ok(Some((chunks.concat(), body.len()))));
        }

        #[test]
        fn any_split_agrees(body in "([0-3a]{1,2}(;x)?\r?\n?[a\r]{0,3}\r?\n){0,4}(0\r\n)?(A: b\r\n)?(\r\n)?", part_bytes in 1..20_usize) {
            prop_assert_eq!(decode_in_parts(body.as_bytes(), part_bytes), decode(body.as_bytes(), UNBOUNDED));
        }
    }
}
