//! Ports for nodes and for providers that must refuse.
//!
//! Not the kernel's choice (bind to 0, look, close): a node listens with `SO_REUSEPORT`, so two tests that were given the same
//! port would share it in silence. Ports are counted upwards from a start that differs from process to process, below
//! the range from which the kernel takes the source ports of connections.
//!
//! Nor is one tried out by binding to it: a process that another test is just starting would hold it open for a moment, and
//! whoever it was meant for would find it taken.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An address on which nothing listens, and that no other test of this process is given.
pub fn unused() -> SocketAddr {
    let start = std::process::id().wrapping_mul(97) % COUNT;
    for _ in 0..COUNT {
        let port = u16::try_from(FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT).unwrap();
        if !is_listened_on(port) {
            return SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        }
    }
    panic!("no port is free");
}

fn is_listened_on(port: u16) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // Its local end, no other end, and the state "listens".
    sockets.contains(&format!(":{port:04X} 00000000:0000 0A "))
}
