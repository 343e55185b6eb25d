//! A doorbell wakes a parked shard: a byte through a socket pair that the shard's ring listens on.
//!
//! A socket and not an eventfd: the shard's sockets are read by its ring already, so the bell needs no second way to
//! wait. A full pipe is a bell that still rings, so a failed write is no failure.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// Control's end: rings.
#[derive(Debug)]
pub struct Bell(UnixStream);

/// The shard's end: an open descriptor that becomes readable when the bell rings.
pub type Doorbell = OwnedFd;

impl Bell {
    /// A bell and the doorbell that it rings.
    pub fn new() -> io::Result<(Self, Doorbell)> {
        let (here, there) = UnixStream::pair()?;
        here.set_nonblocking(true)?;
        Ok((Self(here), there.into()))
    }

    /// Wakes the shard; costs nothing but a system call when it is awake.
    pub fn ring(&self) {
        // Full means that it already rings; closed means that the shard is gone: nobody to wake either way.
        let _ = (&self.0).write(&[1]);
    }
}
