//! Slow readers, full pools, many at once: what one connection does costs the others nothing but their share.

use std::io::Write;
use std::thread;

use futures_util::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::limits::{RECEIVE_BUFFERS, RECEIVE_UNREAD_BUFFERS_MAX, RECEIVE_UNREAD_BYTES_MAX};

/// Buffers that the kernel may fill from one socket before the driver is asked: all of them, see `receive.rs`. A loaded machine
/// brought 99.
const KERNEL_BURST: usize = RECEIVE_BUFFERS as usize;

#[test]
fn a_slow_reader_holds_a_bounded_amount_and_loses_nothing() {
    const LEN: usize = 24_000_000;
    on_ring(RingOptions::default(), |ring| async move {
        let (mut stream, mut peer) = with_peer(&ring).await;
        let writer = thread::spawn(move || peer.write_all(&pattern(0, LEN)).unwrap());
        until("the receive is paused", || ring.stats().pauses > 0 && ring.stats().operations == 0).await;
        let bound = RECEIVE_UNREAD_BYTES_MAX + KERNEL_BURST * RingOptions::default().buffer_bytes;
        assert!((RECEIVE_UNREAD_BYTES_MAX..=bound).contains(&ring.stats().unread_bytes), "{:?}", ring.stats());

        let mut got = 0;
        let mut chunk = vec![0; 10_000];
        let mut most = 0;
        while got < LEN {
            let count = stream.read(&mut chunk).await.unwrap();
            assert_pattern(&chunk[..count], got);
            got += count;
            most = most.max(ring.stats().unread_bytes);
        }
        assert!(most <= bound, "{most} bytes lay unread");
        writer.join().unwrap();
        assert_eq!(stream.read(&mut chunk).await.unwrap(), 0);
    });
}

#[test]
fn a_stalled_client_stalls_only_itself() {
    on_ring(RingOptions::default(), |ring| async move {
        let mut stalled = Vec::new();
        for _ in 0..20 {
            let (stream, mut peer) = with_peer(&ring).await;
            let writer = thread::spawn(move || peer.write_all(&pattern(0, 8_000_000)).is_ok());
            stalled.push((stream, writer));
        }
        // Paused, or starved and then filled by single receives: in any case with as much as they may hold.
        until("all are full", || {
            let stats = ring.stats();
            stats.operations == 0 && stats.unread_bytes >= 20 * RECEIVE_UNREAD_BYTES_MAX
        })
        .await;
        let (mut client, mut server) = pair(&ring).await;
        for round in 0..1_000 {
            let sent = pattern(round, 500);
            let mut got = vec![0; 500];
            client.write_all(&sent).await.unwrap();
            patiently("an echo beside stalled connections", server.read_exact(&mut got)).await.unwrap();
            assert_eq!(got, sent);
        }
        for (stream, writer) in stalled {
            drop(stream);
            until("the peer is told", || writer.is_finished()).await;
        }
    });
}

#[test]
fn single_bytes_do_not_take_the_pool() {
    on_ring(RingOptions { buffers: 256, ..Default::default() }, |ring| async move {
        let (mut stream, mut peer) = with_peer(&ring).await;
        let sent = pattern(0, 2_000);
        // One at a time, and only when the one before has been received: each is a completion of its own.
        for (index, byte) in sent.iter().enumerate().take(RECEIVE_UNREAD_BUFFERS_MAX) {
            peer.write_all(&[*byte]).unwrap();
            until("the byte is here", || stream.unread() == index + 1).await;
        }
        until("the receive is paused", || ring.stats().operations == 0).await;
        peer.write_all(&sent[RECEIVE_UNREAD_BUFFERS_MAX..]).unwrap();
        drop(peer);
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, sent);
        assert!(ring.stats().buffers_held_max <= RECEIVE_UNREAD_BUFFERS_MAX + 1);
    });
}

/// More unread bytes than the pool has buffers for, and nobody reads them until somebody else got an answer: with the
/// bytes left in the buffers this would wait for ever.
#[test]
fn unread_bytes_cannot_lock_the_pool() {
    const CONNECTIONS: usize = 60;
    let options = RingOptions { buffers: 16, buffer_bytes: 1024, ..Default::default() };
    on_ring(options, |ring| async move {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(with_peer(&ring).await);
        }
        // All in one turn of the driver.
        for (index, (_, peer)) in clients.iter_mut().enumerate() {
            peer.write_all(&pattern(index, 3_000)).unwrap();
        }
        until("all bytes are received", || ring.stats().unread_bytes == CONNECTIONS * 3_000).await;
        let stats = ring.stats();
        assert!(stats.spills > 0 && stats.starved > 0 && stats.buffers_held <= 16, "{stats:?}");

        let (mut client, mut server) = pair(&ring).await;
        client.write_all(b"and the answer?").await.unwrap();
        let mut got = [0; 15];
        patiently("an answer while the pool is full", server.read_exact(&mut got)).await.unwrap();

        for (index, (mut stream, peer)) in clients.into_iter().enumerate() {
            drop(peer);
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.unwrap();
            assert_eq!(got.len(), 3_000);
            assert_pattern(&got, index);
        }
    });
}

#[test]
fn a_sleeping_driver_feeds_the_starved_when_buffers_come_back() {
    let options = RingOptions { buffers: 2, buffer_bytes: 256, ..Default::default() };
    on_ring(options, |ring| async move {
        let mut readers = Vec::new();
        for index in 0..20 {
            let (mut stream, mut peer) = with_peer(&ring).await;
            readers.push(spawn(async move {
                let mut got = Vec::new();
                stream.read_to_end(&mut got).await.unwrap();
                assert_pattern(&got, index);
                got.len()
            }));
            thread::spawn(move || peer.write_all(&pattern(index, 20_000)).unwrap());
        }
        for reader in readers {
            assert_eq!(patiently("a reader of a small pool", reader).await, 20_000);
        }
    });
}
