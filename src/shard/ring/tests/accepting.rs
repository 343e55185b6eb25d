//! Listeners: what they give, keep and hand over.

use std::io::{Read, Write};

use futures_util::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::limits::ACCEPTED_WAITING_MAX;

#[test]
fn every_connection_is_accepted_once_with_its_peer() {
    on_ring(RingOptions::default(), |ring| async move {
        let (fd, address) = listening();
        let listener = ring.listen(fd);
        let mut clients = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>();
        for _ in 0..clients.len() {
            let (mut stream, peer) = listener.accept().await.unwrap();
            assert_eq!(stream.peer_addr(), peer);
            stream.write_all(peer.to_string().as_bytes()).await.unwrap();
            stream.close().await.unwrap();
        }
        for client in &mut clients {
            let mut name = String::new();
            client.read_to_string(&mut name).unwrap();
            assert_eq!(name, client.local_addr().unwrap().to_string());
        }
    });
}

#[test]
fn what_nobody_asks_for_stays_with_the_kernel() {
    on_ring(RingOptions::default(), |ring| async move {
        let (fd, address) = listening();
        // SAFETY: `fd` is open, and stays so; the backlog holds what the queue does not.
        assert_eq!(unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&fd), 1000) }, 0);
        let listener = ring.listen(fd);
        let mut clients = Vec::new();
        while ring.stats().operations > 0 || clients.is_empty() {
            clients.push(TcpStream::connect(address).unwrap());
            pause(Duration::from_micros(100)).await;
            assert!(clients.len() < ACCEPTED_WAITING_MAX * 4, "accepting goes on though nobody asks");
        }
        clients.extend((0..20).map(|_| TcpStream::connect(address).unwrap()));
        for _ in 0..clients.len() {
            patiently("a connection", listener.accept()).await.unwrap();
        }
    });
}

#[test]
fn a_stopped_listener_hands_over_everything_that_waits() {
    on_ring(RingOptions::default(), |ring| async move {
        let (fd, address) = listening();
        let listener = ring.listen(fd);
        let mut clients = (0..30).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>();
        let first = listener.accept().await.unwrap();
        // These may be accepted already or not: nobody is lost either way.
        clients.extend((0..30).map(|_| TcpStream::connect(address).unwrap()));
        let rest = listener.stop_and_take_queue().await;
        assert_eq!(rest.len(), 59);
        for (mut stream, _) in rest.into_iter().chain([first]) {
            stream.write_all(b"bye").await.unwrap();
            stream.close().await.unwrap();
        }
        for client in &mut clients {
            let mut got = String::new();
            client.read_to_string(&mut got).unwrap();
            assert_eq!(got, "bye");
        }
        until("the port is closed", || TcpStream::connect(address).is_err()).await;
    });
}

/// While another process holds the same socket, as in a binary upgrade.
#[test]
fn a_stopped_listener_leaves_the_kernel_s_queue_to_the_other_owner() {
    on_ring(RingOptions::default(), |ring| async move {
        let (fd, address) = listening();
        let other = TcpListener::from(fd.try_clone().unwrap());
        let listener = ring.listen(fd);
        let clients = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>();
        let first = listener.accept().await.unwrap();
        let ours = listener.stop().await;
        let later = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>();
        for _ in 0..clients.len() + later.len() - ours.len() - 1 {
            other.accept().unwrap();
        }
        assert!(!ours.is_empty(), "some were accepted by the ring");
        assert!(first.0.is_open());
    });
}

#[test]
fn a_dropped_accept_loses_no_connection() {
    on_ring(RingOptions::default(), |ring| async move {
        let (fd, address) = listening();
        let listener = ring.listen(fd);
        for _ in 0..20 {
            let mut accepting = Box::pin(listener.accept());
            assert!(futures_util::poll!(&mut accepting).is_pending());
            let mut client = TcpStream::connect(address).unwrap();
            drop(accepting);
            let (mut stream, _) = listener.accept().await.unwrap();
            client.write_all(b"x").unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 1);
        }
    });
}
