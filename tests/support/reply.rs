//! What a scripted provider answers to one call: the message, how it is framed, and what goes wrong on the way.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Seen;

/// Bytes of a generated answer that are made, and framed as one chunk, at a time.
const PIECE: usize = 64 * 1024;

/// How far an answer gets before its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Not a byte of it.
    Start,
    /// The whole head.
    Head,
    /// The head and so many bytes of the body as framed: inside a chunk when it is chunked.
    Body(usize),
}

/// What goes wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Nothing more comes, and the connection stays.
    Stall(At),
    /// The connection ends in order (FIN).
    Cut(At),
    /// The connection is torn down (RST).
    Reset(At),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    /// `Content-Length` with a number that is not the body's.
    Lying(u64),
    Chunked(usize),
    UntilClose,
}

#[derive(Clone, Debug)]
enum Body {
    Bytes(Vec<u8>),
    /// A well-formed result: a string of so many bytes.
    Flood(String, u64),
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Reply {
    line: String,
    fields: Vec<String>,
    body: Body,
    framing: Framing,
    interim: Vec<u8>,
    wait: Duration,
    fault: Fault,
    hang_up: bool,
}

impl Reply {
    /// A status with a body, `application/json`, under a `Content-Length`.
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            line: format!("HTTP/1.1 {status} Whatever"),
            fields: vec!["Content-Type: application/json".to_owned()],
            body: Body::Bytes(body.into()),
            framing: Framing::Length,
            interim: Vec::new(),
            wait: Duration::ZERO,
            fault: Fault::None,
            hang_up: false,
        }
    }

    /// 200 with exactly this body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200, body)
    }

    /// A result (raw JSON) for a call.
    pub fn result(call: &Seen, result: &str) -> Self {
        Self::ok(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, call.id()))
    }

    /// An error (raw JSON object) for a call.
    pub fn error(call: &Seen, error: &str) -> Self {
        Self::ok(format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, call.id()))
    }

    /// A result that is a string of `bytes` bytes, made while it is sent, chunked.
    pub fn flood(call: &Seen, bytes: u64) -> Self {
        Self { body: Body::Flood(call.id(), bytes), framing: Framing::Chunked(PIECE), ..Self::ok("") }
    }

    /// How long [`Reply::flood`] is in all, for a call with this id.
    pub fn flood_bytes(id: &str, bytes: u64) -> u64 {
        Body::Flood(id.to_owned(), bytes).len()
    }

    /// No answer at all: the connection stays open.
    pub fn hang() -> Self {
        Self::ok("").fault(Fault::Stall(At::Start))
    }

    /// These bytes and nothing else, then the end of the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { interim: bytes.into(), ..Self::ok("").fault(Fault::Cut(At::Start)) }
    }

    pub fn field(mut self, field: &str) -> Self {
        let name = field.split(':').next().unwrap_or_default().to_ascii_lowercase();
        self.fields.retain(|f| !f.to_ascii_lowercase().starts_with(&format!("{name}:")));
        self.fields.push(field.to_owned());
        self
    }

    /// Sent this much later.
    pub fn after(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    pub fn fault(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }

    /// Chunks of `piece` bytes.
    pub fn chunked(self, piece: usize) -> Self {
        Self { framing: Framing::Chunked(piece), ..self }
    }

    pub fn until_close(self) -> Self {
        Self { framing: Framing::UntilClose, ..self }
    }

    /// `Content-Length` of a generated answer instead of chunks.
    pub fn sized(self) -> Self {
        Self { framing: Framing::Length, ..self }
    }

    /// A `Content-Length` that is wrong.
    pub fn lying(self, length: u64) -> Self {
        Self { framing: Framing::Lying(length), ..self }
    }

    /// Interim answers before this one, as raw bytes.
    pub fn interim(self, bytes: &[u8]) -> Self {
        Self { interim: bytes.to_vec(), ..self }
    }

    /// Compresses the body.
    pub fn gzip(mut self) -> Self {
        if let Body::Bytes(plain) = &self.body {
            self.body = Body::Bytes(gzip(plain));
        }
        self.field("Content-Encoding: gzip")
    }

    /// The connection ends after this answer without a word about it.
    pub fn hang_up(self) -> Self {
        Self { hang_up: true, ..self }
    }

    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    pub(super) fn interim_bytes(&self) -> &[u8] {
        &self.interim
    }

    pub(super) fn fault_at(&self) -> Fault {
        self.fault
    }

    pub(super) fn ends_connection(&self) -> bool {
        self.hang_up || self.framing == Framing::UntilClose || matches!(self.framing, Framing::Lying(_))
    }

    pub(super) fn head(&self) -> Vec<u8> {
        let mut lines = vec![self.line.clone()];
        lines.extend_from_slice(&self.fields);
        lines.push(match self.framing {
            Framing::Length => format!("Content-Length: {}", self.body.len()),
            Framing::Lying(n) => format!("Content-Length: {n}"),
            Framing::Chunked(_) => "Transfer-Encoding: chunked".to_owned(),
            Framing::UntilClose => "Connection: close".to_owned(),
        });
        (lines.join("\r\n") + "\r\n\r\n").into_bytes()
    }

    /// The body as it goes over the wire, piece by piece.
    pub(super) fn pieces(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        match self.framing {
            Framing::Chunked(piece) => {
                Box::new(self.body.pieces(piece).map(|p| chunk(&p)).chain(std::iter::once(b"0\r\n\r\n".to_vec())))
            }
            _ => self.body.pieces(PIECE),
        }
    }
}

impl Body {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Flood(id, n) => (flood_start(id).len() + FLOOD_END.len()) as u64 + n,
        }
    }

    fn pieces(&self, size: usize) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        match self {
            Self::Bytes(bytes) => Box::new(bytes.chunks(size.max(1)).map(<[u8]>::to_vec)),
            Self::Flood(id, n) => {
                let (full, rest) = (n / PIECE as u64, usize::try_from(n % PIECE as u64).unwrap());
                let middle = (0..full).map(|_| vec![b'a'; PIECE]);
                let end = [vec![b'a'; rest], FLOOD_END.to_vec()].concat();
                Box::new(std::iter::once(flood_start(id)).chain(middle).chain(std::iter::once(end)))
            }
        }
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A gzip file of several members: each part so many times.
pub fn gzip_members(parts: &[(Vec<u8>, usize)]) -> Vec<u8> {
    parts.iter().flat_map(|(plain, times)| gzip(plain).repeat(*times)).collect()
}

const FLOOD_END: &[u8] = b"\"}";

fn flood_start(id: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":""#).into_bytes()
}

fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut framed = format!("{:x}\r\n", piece.len()).into_bytes();
    framed.extend_from_slice(piece);
    framed.extend_from_slice(b"\r\n");
    framed
}
