//! A WebSocket client that sends exactly the frames that a test wants, and reads frames exactly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use flate2::read::DeflateDecoder;
use flate2::{Compress, Compression, FlushCompress};

use super::PATIENCE;

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The masking key of every frame: any will do.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// One frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub last: bool,
    /// RSV1, which only stands where compression was agreed on.
    pub compressed: bool,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// The code of a close frame.
    pub fn code(&self) -> Option<u16> {
        (self.opcode == CLOSE).then_some(())?;
        Some(u16::from_be_bytes(*self.payload.first_chunk()?))
    }
}

/// One connection, upgraded or not.
pub struct Socket {
    stream: TcpStream,
    held: Vec<u8>,
    /// The answer's head.
    pub head: String,
}

impl Socket {
    /// Asks for an upgrade of `path`, as the RFC's own example does, with further fields, each ending in CR LF.
    pub fn ask(address: SocketAddr, path: &str, fields: &str) -> Self {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
        );
        Self::send_head(TcpStream::connect(address).unwrap(), &request)
    }

    /// Sends this request and reads the answer's head.
    pub fn send_head(mut stream: TcpStream, request: &str) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut socket = Self { stream, held: Vec::new(), head: String::new() };
        loop {
            if let Some(end) = socket.held.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = socket.held.drain(..end + 4).collect();
                socket.head = String::from_utf8(head).unwrap();
                return socket;
            }
            assert!(socket.fill(), "no head: {:?}", String::from_utf8_lossy(&socket.held));
        }
    }

    /// An upgraded connection.
    ///
    /// # Panics
    /// When it is refused.
    pub fn open(address: SocketAddr, path: &str) -> Self {
        Self::open_with(address, path, "")
    }

    /// The same, asked for with further fields, each ending in CR LF.
    ///
    /// # Panics
    /// When it is refused.
    pub fn open_with(address: SocketAddr, path: &str, fields: &str) -> Self {
        let socket = Self::ask(address, path, fields);
        assert!(socket.head.starts_with("HTTP/1.1 101 "), "{}", socket.head);
        // The answer to the RFC's example.
        assert!(socket.head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{}", socket.head);
        socket
    }

    /// One frame, masked.
    pub fn frame(&mut self, opcode: u8, last: bool, payload: &[u8]) -> &mut Self {
        let bytes = frame(opcode, last, payload);
        self.bytes(&bytes)
    }

    pub fn text(&mut self, payload: &str) -> &mut Self {
        self.frame(TEXT, true, payload.as_bytes())
    }

    /// These bytes. A peer that has already turned away is no error here.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = self.stream.write_all(bytes);
        self
    }

    /// The next frame; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, bytes)) = parse(&self.held) {
                assert!(!frame.compressed || self.is_compressed(), "compressed without an agreement");
                self.held.drain(..bytes);
                return Some(frame);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn is_compressed(&self) -> bool {
        self.head.contains("permessage-deflate")
    }

    /// One message, compressed.
    pub fn packed(&mut self, opcode: u8, message: &[u8]) -> &mut Self {
        let mut bytes = frame(opcode, true, &pack(message));
        bytes[0] |= 0x40;
        self.bytes(&bytes)
    }

    /// The next message, put together and unpacked, and its opcode; control frames between are passed over.
    ///
    /// # Panics
    /// When the connection ends or closes instead.
    pub fn message(&mut self) -> (u8, Vec<u8>) {
        let (mut opcode, mut compressed, mut message) = (0, false, Vec::new());
        loop {
            let frame = self.next().expect("a message, not the connection's end");
            assert_ne!(frame.opcode, CLOSE, "closed: {frame:?}");
            if frame.opcode > 2 {
                continue;
            }
            assert_eq!(frame.opcode == 0, opcode != 0, "a continuation of nothing, or a message within one: {frame:?}");
            opcode = opcode.max(frame.opcode);
            compressed |= frame.compressed;
            message.extend_from_slice(&frame.payload);
            if frame.last {
                return (opcode, if compressed { unpack(&message) } else { message });
            }
        }
    }

    /// The result of one call, as raw JSON.
    pub fn call(&mut self, body: &str) -> String {
        let (_, answer) = self.text(body).message();
        super::json::raw(&answer, "result").unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&answer)))
    }

    /// Waits for the close frame; its code. What comes before it is passed over.
    pub fn closed(&mut self) -> Option<u16> {
        loop {
            let frame = self.next()?;
            if frame.opcode == CLOSE {
                return frame.code();
            }
        }
    }

    /// Waits for the close frame, and answers each ping until then; its code.
    pub fn closed_alive(&mut self) -> Option<u16> {
        loop {
            let frame = self.next()?;
            match frame.opcode {
                CLOSE => return frame.code(),
                PING => _ = self.frame(PONG, true, &frame.payload),
                _ => {}
            }
        }
    }

    /// Whether the connection ends without a further frame.
    pub fn ends(&mut self) -> bool {
        self.next().is_none()
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 8 * 1024];
        match self.stream.read(&mut piece) {
            Ok(count) => {
                self.held.extend_from_slice(&piece[..count]);
                count > 0
            }
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(e) => panic!("nothing came: {e}"),
        }
    }
}

/// A client's frame.
pub fn frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![opcode | if last { 0x80 } else { 0 }];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        medium @ 126..65_536 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A message as permessage-deflate sends it: raw deflate up to a flush, without the four bytes that every flush ends with.
pub fn pack(message: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(message.len() + 1024);
    let mut codec = Compress::new(Compression::best(), false);
    codec.compress_vec(message, &mut packed, FlushCompress::Sync).unwrap();
    assert!(packed.ends_with(&[0, 0, 0xff, 0xff]), "the flush found no room");
    packed.truncate(packed.len() - 4);
    packed
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let whole = [packed, &[0, 0, 0xff, 0xff]].concat();
    // The stream has no end of its own: a flush stands where another one would go on.
    let _ = DeflateDecoder::new(&whole[..]).read_to_end(&mut message);
    message
}

/// A server's frame, and how many bytes it takes.
fn parse(held: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (held.first()?, held.get(1)?);
    assert_eq!(second & 0x80, 0, "a server's frame is masked");
    assert_eq!(first & 0x30, 0, "a reserved bit is set");
    let (length, head) = match second {
        126 => (usize::from(u16::from_be_bytes(*held.get(2..)?.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*held.get(2..)?.first_chunk()?)).unwrap(), 10),
        short => (usize::from(short), 2),
    };
    let payload = held.get(head..head + length)?.to_vec();
    let (last, compressed) = (first & 0x80 != 0, first & 0x40 != 0);
    Some((Frame { last, compressed, opcode: first & 0x0f, payload }, head + length))
}
