//! Ports for nodes and for providers that must refuse.
//!
//! Not the kernel's choice (bind to 0, look, close): a node listens with `SO_REUSEPORT`, so two tests that were given the same
//! port would share it in silence. Ports are counted upwards from a start that differs from process to process, below
//! the range from which the kernel takes the source ports of connections.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An address on which nothing listens, and that no other test of this process is given.
pub fn unused() -> SocketAddr {
    let start = std::process::id().wrapping_mul(97) % COUNT;
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}
