//! HTTP/1.1 messages read off a socket: as strict as the tests need, and no code shared with the program.

use std::io::{self, Read};

/// A message's first line and fields, with the bytes as they came.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub raw: Vec<u8>,
    pub line: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The value of the one field called `name`, whatever its case.
    ///
    /// # Panics
    /// When there are two.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        let first = values.next();
        assert!(values.next().is_none(), "two {name} fields in {:?}", self.fields);
        first
    }

    fn parse(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .filter_map(|l| l.split_once(':'))
            .map(|(n, v)| (n.to_owned(), v.trim_matches([' ', '\t']).to_owned()))
            .collect();
        Self { raw, line, fields }
    }
}

/// A socket's input with what was read beyond the last message.
pub struct Reader<S> {
    pub inner: S,
    held: Vec<u8>,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Length(u64),
    Chunked,
    WithConnection,
}

/// Bytes that are asked of a socket at a time.
const READ: usize = 64 * 1024;
/// Bytes of a body's end that are kept when it passes.
const LAST: usize = 32;

/// What is known of a body that nobody kept.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// Its length, framing taken off.
    pub bytes: u64,
    /// Its last bytes.
    pub last: Vec<u8>,
}

impl<S: Read> Reader<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, held: Vec::new() }
    }

    /// Reads more; false at the end of the input.
    pub fn fill(&mut self) -> io::Result<bool> {
        let had = self.held.len();
        self.held.resize(had + READ, 0);
        let read = self.inner.read(&mut self.held[had..]);
        self.held.truncate(had + read.as_ref().map_or(0, |n| *n));
        Ok(read? > 0)
    }

    /// Bytes that arrived and that nobody asked for yet.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// The next message's head; `None` when the input ends before its first byte.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.held, b"\r\n\r\n") {
                let raw = self.take(end + 4);
                return Ok(Some(Head::parse(raw)));
            }
            if !self.fill()? {
                return if self.held.is_empty() { Ok(None) } else { Err(cut("head")) };
            }
        }
    }

    /// The body that follows a head.
    pub fn body(&mut self, ends: Ends) -> io::Result<Vec<u8>> {
        match ends {
            Ends::Length(n) => self.exactly(usize::try_from(n).map_err(io::Error::other)?),
            Ends::Chunked => self.chunked(),
            Ends::WithConnection => {
                while self.fill()? {}
                Ok(std::mem::take(&mut self.held))
            }
        }
    }

    /// Exactly `n` bytes.
    pub fn exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.held.len() < n {
            if !self.fill()? {
                return Err(cut("body"));
            }
        }
        Ok(self.take(n))
    }

    /// A line without its CR LF.
    pub fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.held, b"\r\n") {
                let mut line = self.take(end + 2);
                line.truncate(end);
                return String::from_utf8(line).map_err(io::Error::other);
            }
            if !self.fill()? {
                return Err(cut("line"));
            }
        }
    }

    /// Reads a body to its end and keeps none of it but the end.
    pub fn pass(&mut self, ends: Ends) -> io::Result<Passed> {
        let mut passed = Passed::default();
        match ends {
            Ends::Length(n) => self.skip(n, &mut passed)?,
            Ends::Chunked => {
                while let Some(size) = self.chunk_size()? {
                    self.skip(size, &mut passed)?;
                    self.chunk_end()?;
                }
            }
            Ends::WithConnection => loop {
                self.skip(self.held.len() as u64, &mut passed)?;
                if !self.fill()? {
                    break;
                }
            },
        }
        Ok(passed)
    }

    fn skip(&mut self, mut left: u64, passed: &mut Passed) -> io::Result<()> {
        while left > 0 {
            if self.held.is_empty() && !self.fill()? {
                return Err(cut("body"));
            }
            let n = self.held.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let piece = self.take(n);
            passed.bytes += n as u64;
            left -= n as u64;
            passed.last.extend_from_slice(&piece[n.saturating_sub(LAST)..]);
            let spare = passed.last.len().saturating_sub(LAST);
            passed.last.drain(..spare);
        }
        Ok(())
    }

    fn chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(size) = self.chunk_size()? {
            body.append(&mut self.exactly(usize::try_from(size).map_err(io::Error::other)?)?);
            self.chunk_end()?;
        }
        Ok(body)
    }

    /// The size of the next chunk; `None` after the last one and its trailers.
    fn chunk_size(&mut self) -> io::Result<Option<u64>> {
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
        if size == 0 {
            while !self.line()?.is_empty() {}
        }
        Ok(Some(size).filter(|n| *n > 0))
    }

    fn chunk_end(&mut self) -> io::Result<()> {
        match self.line()?.as_str() {
            "" => Ok(()),
            more => Err(io::Error::other(format!("{more:?} behind a chunk"))),
        }
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        let rest = self.held.split_off(n);
        std::mem::replace(&mut self.held, rest)
    }
}

/// Where `needle` first stands in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}

fn cut(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("{what} cut short"))
}
