//! Binary upgrade: a second process on the same ports takes over while the first drains.
//!
//! The running node (the *incumbent*) listens on an abstract Unix socket named after its listen addresses. A starting
//! one (the *newcomer*) connects there first. It gets the very listening sockets, the admin port's and this one
//! included, starts its shards on them, and says so; only then does the incumbent stop accepting. No queue of
//! waiting connections is ever without a process that will accept from it, and no port is free for a moment.
//!
//! ```text
//! incumbent → newcomer   length (4 bytes, big endian), manifest (JSON), the descriptors in the manifest's order
//! newcomer  → incumbent  R: ready, its shards accept
//! incumbent → newcomer   D: done, it accepts no longer
//! ```
//!
//! Whatever goes wrong before R leaves the incumbent serving as if nothing had happened: it has given copies away and
//! closed nothing. A newcomer that gets no D serves all the same. Abstract names belong to a network namespace, as
//! ports do, and vanish with their last holder. They have no permissions, so both sides ask the kernel who the other
//! is (`SO_PEERCRED`): the same user or root, nobody else.

mod descriptors;
mod incumbent;
mod manifest;
mod newcomer;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};

pub(super) use incumbent::{Incumbent, Takeover};
pub(super) use newcomer::{Farewell, Taken, request};

/// The newcomer's shards accept.
const READY: u8 = b'R';
/// The incumbent accepts no longer.
const DONE: u8 = b'D';

/// Why the ports could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("talking to the running node: {0}")]
    Io(#[from] io::Error),
    #[error("the process that answers for the running node belongs to user {0}, not to this one or root")]
    Foreign(u32),
    #[error("the running node's hand-over is not understood: {0}")]
    Manifest(String),
}

/// The abstract socket's name for a node that listens on `addresses`, in whatever order. None when a port is
/// left to the kernel: two such nodes never mean the same port.
fn name(addresses: &[SocketAddr]) -> Option<String> {
    if addresses.iter().any(|address| address.port() == 0) {
        return None;
    }
    let mut words: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    words.sort_unstable();
    // A digest that every version of the program computes alike, unlike the standard library's hasher.
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, words.join(" ").as_bytes());
    let hash = digest.as_ref()[..8].iter().fold(0, |hash, &byte| hash << 8 | u64::from(byte));
    Some(format!("livechain/{hash:016x}"))
}

fn address(name: &str) -> io::Result<UnixAddress> {
    UnixAddress::from_abstract_name(name)
}

/// Whether the process at the other end may give or take our ports.
fn check_peer(stream: &UnixStream) -> Result<(), UpgradeError> {
    let peer = rustix::net::sockopt::socket_peercred(stream).map_err(io::Error::from)?;
    if peer.uid.is_root() || peer.uid == rustix::process::geteuid() {
        Ok(())
    } else {
        Err(UpgradeError::Foreign(peer.uid.as_raw()))
    }
}
