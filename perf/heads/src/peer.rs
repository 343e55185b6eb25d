//! One connection that is read and written without waiting, and the epoll that tells which.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use rustix::time::Timespec;

/// Bytes read at once: a header is 2 KB.
const PIECE: usize = 16 * 1024;
/// Events taken at once. Few, so that what is due is never far.
const EVENTS: usize = 64;
/// Told once, maybe together with the last bytes, behind which nobody would look.
const ENDED: epoll::EventFlags = epoll::EventFlags::RDHUP.union(epoll::EventFlags::HUP).union(epoll::EventFlags::ERR);

pub struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS) })
    }

    /// From now on `id` is told when this can be read, and when it can be written again.
    pub fn add(&self, source: impl AsFd, id: u64) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, source, epoll::EventData::new_u64(id), flags)?)
    }

    /// Whose turn it is, and whether that one's other end sends no more; nobody's, when the time is over.
    pub fn wait(&mut self, limit_ns: u64) -> io::Result<Vec<(u64, bool)>> {
        let (seconds, nanos) = (limit_ns / 1_000_000_000, limit_ns % 1_000_000_000);
        let limit = Timespec { tv_sec: seconds.cast_signed(), tv_nsec: nanos.cast_signed() };
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(self.events.iter().map(turn).collect()),
            Err(error) => Err(error.into()),
        }
    }
}

fn turn(event: &epoll::Event) -> (u64, bool) {
    // The event is packed, and its fields cannot be borrowed.
    let (data, flags) = (event.data, event.flags);
    (data.u64(), flags.intersects(ENDED))
}

pub struct Peer {
    pub stream: TcpStream,
    pub held: Vec<u8>,
    unsent: Vec<u8>,
}

impl Peer {
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, held: Vec::new(), unsent: Vec::new() })
    }

    /// Takes what there is; false when the connection is over.
    pub fn fill(&mut self, piece: &mut [u8]) -> io::Result<bool> {
        loop {
            match self.stream.read(piece) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.held.extend_from_slice(&piece[..count]);
                    // Less than there was room for: that was all, and a later byte is told of again.
                    if count < piece.len() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends, and keeps what the kernel does not take. An error is the end of the connection, which reading will tell.
    pub fn send(&mut self, bytes: &[u8]) {
        let sent = if self.unsent.is_empty() { self.stream.write(bytes).unwrap_or(0) } else { 0 };
        self.unsent.extend_from_slice(&bytes[sent..]);
    }

    /// Sends what was kept.
    pub fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) if sent > 0 => drop(self.unsent.drain(..sent)),
                _ => return,
            }
        }
    }
}

pub fn piece() -> Vec<u8> {
    vec![0; PIECE]
}
