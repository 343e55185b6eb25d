//! Bytes go in and come out: whole, in order, by every method, with and without the newer features.

use std::io::{Read, Write};
use std::thread;

use futures_util::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const SIZES: [usize; 9] = [1, 2, 200, 4095, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 300_000, 3_000_000];

/// Sends back what comes until the peer has finished.
async fn echo(mut stream: Stream) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        if stream.read_into(&mut buffer, 64 * 1024).await? == 0 {
            return Ok(());
        }
        let (result, back) = stream.write_all_owned(buffer).await;
        result?;
        buffer = back;
    }
}

async fn echoes_every_size(ring: Ring) {
    let (mut client, server) = pair(&ring).await;
    let server = spawn(echo(server));
    let mut back = Vec::new();
    for size in SIZES {
        let sent = pattern(size, size);
        back.resize(size, 0);
        // Both at once: neither socket's memory holds the larger ones.
        let (mut reader, mut writer) = client.split();
        let (written, read) = futures_util::join!(
            async {
                writer.write_all(&sent).await?;
                writer.flush().await
            },
            reader.read_exact(&mut back)
        );
        written.and(read).unwrap();
        assert!(sent == back, "{size} bytes came back changed");
        client = reader.reunite(writer).unwrap();
    }
    drop(client);
    server.await.unwrap();
}

#[test]
fn what_is_sent_comes_back() {
    on_ring(RingOptions::default(), echoes_every_size);
}

#[test]
fn what_is_sent_comes_back_with_the_features_of_the_oldest_kernel() {
    let options = RingOptions { mask: Features::FLOOR, ..Default::default() };
    on_ring(options, |ring| async move {
        assert_eq!(ring.features(), Features::FLOOR);
        echoes_every_size(ring).await;
    });
}

#[test]
fn tiny_queues_overflow_and_nothing_is_lost() {
    let options = RingOptions { submissions: 4, completions: 8, buffers: 8, buffer_bytes: 512, ..Default::default() };
    on_ring(options, |ring| async move {
        let all = (0..40).map(|_| spawn(echoes_some(ring.clone()))).collect::<Vec<_>>();
        for one in all {
            one.await;
        }
        assert!(ring.stats().overflows > 0, "the test has overflown the queue: {:?}", ring.stats());
    });
}

async fn echoes_some(ring: Ring) {
    let (mut client, server) = pair(&ring).await;
    let server = spawn(echo(server));
    for round in 0..20 {
        let sent = pattern(round, 1 + round * 97);
        let mut back = vec![0; sent.len()];
        client.write_all(&sent).await.unwrap();
        client.read_exact(&mut back).await.unwrap();
        assert_eq!(sent, back);
    }
    drop(client);
    server.await.unwrap();
}

#[test]
fn segments_of_one_byte_come_in_order() {
    on_ring(RingOptions::default(), |ring| async move {
        let (mut stream, mut peer) = with_peer(&ring).await;
        let sent = pattern(0, 3_000);
        let writer = thread::spawn({
            let sent = sent.clone();
            move || {
                for byte in sent {
                    peer.write_all(&[byte]).unwrap();
                }
            }
        });
        let mut got = Vec::new();
        while stream.read_into(&mut got, 7).await.unwrap() > 0 {}
        assert_eq!(got, sent);
        writer.join().unwrap();
    });
}

#[test]
fn small_writes_of_one_turn_leave_in_one_send() {
    on_ring(RingOptions::default(), |ring| async move {
        let (mut stream, mut peer) = with_peer(&ring).await;
        let before = ring.stats().completions;
        for piece in ["head: ", "body", " "] {
            stream.write_all(piece.as_bytes()).await.unwrap();
        }
        let last = [io::IoSlice::new(b"x"), io::IoSlice::new(b"yz")];
        assert_eq!(stream.write_vectored(&last).await.unwrap(), 3);
        stream.flush().await.unwrap();
        assert_eq!(ring.stats().completions - before, 1, "one send");
        let mut got = [0; 14];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"head: body xyz");
    });
}

#[test]
fn bytes_can_be_parsed_where_the_kernel_put_them() {
    on_ring(RingOptions::default(), |ring| async move {
        let (mut stream, mut peer) = with_peer(&ring).await;
        peer.write_all(b"first\nsecond\nrest").unwrap();
        drop(peer);
        let mut lines = Vec::new();
        loop {
            let line = stream.read_with(|bytes| match bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, String::from_utf8_lossy(&bytes[..end]).into_owned()),
                None => (bytes.len(), String::from_utf8_lossy(bytes).into_owned()),
            });
            match line.await.unwrap() {
                line if line.is_empty() => break,
                line => lines.push(line),
            }
        }
        assert_eq!(lines, ["first", "second", "rest"]);
        assert_eq!(stream.progress().0, 17);
    });
}

/// A wake-up that is lost shows as a round trip that never ends: the peer waits for every answer, at odd intervals, so that
/// bytes come while the driver falls asleep.
#[test]
fn no_wake_up_is_lost_between_turning_and_sleeping() {
    for spin in [Duration::ZERO, Duration::from_micros(30)] {
        on_ring(RingOptions { spin, ..Default::default() }, |ring| async move {
            let (stream, mut peer) = with_peer(&ring).await;
            let server = spawn(echo(stream));
            let (mut random, _) = Random::seeded();
            let client = thread::spawn(move || {
                let mut byte = [0];
                for round in 0..3_000_usize {
                    for _ in 0..random.below(3_000) {
                        std::hint::spin_loop();
                    }
                    peer.write_all(&[pattern_byte(round)]).unwrap();
                    peer.read_exact(&mut byte).unwrap();
                    assert_eq!(byte[0], pattern_byte(round));
                }
            });
            server.await.unwrap();
            client.join().unwrap();
        });
    }
}

#[test]
fn a_buffer_in_flight_outlives_the_task_that_sent_it() {
    const LEN: usize = 12_000_000;
    for drop_stream in [false, true] {
        on_ring(RingOptions::default(), |ring| async move {
            let (mut stream, mut peer) = with_peer(&ring).await;
            let mut sending = Box::pin(async {
                stream.write_all_owned(pattern(0, LEN)).await.0.unwrap();
            });
            // Nobody reads yet: the send starts, fills the sockets' memory and waits.
            assert!(futures_util::poll!(&mut sending).is_pending());
            until("the kernel has taken a part", || {
                let unsent = ring.stats().unsent_bytes;
                unsent > 0 && unsent < LEN
            })
            .await;
            drop(sending);
            // What malloc would hand out, had the buffer been freed, is written over.
            let others = (0..4).map(|_| vec![0xEE_u8; LEN]).collect::<Vec<_>>();
            let reader = thread::spawn(move || {
                let mut got = Vec::new();
                let end = peer.read_to_end(&mut got);
                (got, end.is_ok())
            });
            if drop_stream {
                drop(stream);
            } else {
                stream.flush().await.unwrap();
                stream.write_all(&pattern(LEN, 1000)).await.unwrap();
                stream.close().await.unwrap();
            }
            until("the peer has read", || reader.is_finished()).await;
            let (got, _) = reader.join().unwrap();
            assert_pattern(&got, 0);
            assert!(drop_stream || got.len() == LEN + 1000, "{} bytes came", got.len());
            drop(others);
        });
    }
}

#[test]
fn what_is_sent_and_not_waited_for_comes_in_order_and_its_buffer_is_found_again() {
    on_ring(RingOptions::default(), |ring| async move {
        let (mut stream, mut peer) = with_peer(&ring).await;
        let place = {
            let piece = pattern(0, 1_000);
            let place = piece.as_ptr();
            stream.send(piece).await.unwrap();
            place
        };
        assert!(!stream.is_sent(), "nobody has waited");
        stream.send(Vec::new()).await.unwrap();
        assert!(stream.is_sent());
        let spare = ring.spare_buffer().expect("the buffer, done with");
        assert_eq!((spare.as_ptr(), spare.len()), (place, 0));

        for start in (1_000..50_000).step_by(1_000) {
            stream.send(pattern(start, 1_000)).await.unwrap();
        }
        stream.close().await.unwrap();
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert_pattern(&got, 0);
        assert_eq!(got.len(), 50_000);
    });
}

#[test]
fn a_send_that_fails_is_told_at_the_next_write_and_ends_the_reading() {
    on_ring(RingOptions::default(), |ring| async move {
        let (mut stream, peer) = with_peer(&ring).await;
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        patiently("the failure", async { while stream.send(vec![7; 100]).await.is_ok() {} }).await;
        assert!(stream.is_sent(), "nothing is waited for");
        let end = patiently("the end", stream.read_into(&mut Vec::new(), 100)).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    });
}

#[test]
fn an_empty_buffer_is_sent_at_once() {
    on_ring(RingOptions::default(), |ring| async move {
        let (mut stream, _peer) = with_peer(&ring).await;
        let (result, buffer) = stream.write_all_owned(Vec::new()).await;
        result.unwrap();
        assert!(buffer.is_empty());
        assert_eq!(stream.read_into(&mut Vec::new(), 0).await.unwrap(), 0);
    });
}
