//! How connections end, and begin not to.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use socket2::{Domain, Socket as OsSocket, Type};

use super::*;

#[test]
fn a_half_closed_connection_still_answers() {
    on_ring(RingOptions::default(), |ring| async move {
        let (mut stream, mut peer) = with_peer(&ring).await;
        peer.write_all(b"question").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut question = String::new();
        stream.read_to_string(&mut question).await.unwrap();
        assert_eq!(question, "question");
        stream.write_all(b"answer").await.unwrap();
        stream.close().await.unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the end stays");
    });
}

#[test]
fn our_half_close_lets_the_peer_finish() {
    on_ring(RingOptions::default(), |ring| async move {
        let (mut stream, mut peer) = with_peer(&ring).await;
        stream.write_all(b"that is all").await.unwrap();
        stream.close().await.unwrap();
        let mut got = String::new();
        peer.read_to_string(&mut got).unwrap();
        peer.write_all(b"thanks").unwrap();
        drop(peer);
        let mut thanks = String::new();
        stream.read_to_string(&mut thanks).await.unwrap();
        assert_eq!((got.as_str(), thanks.as_str()), ("that is all", "thanks"));
    });
}

#[test]
fn a_reset_is_an_error_after_the_bytes_before_it() {
    on_ring(RingOptions::default(), |ring| async move {
        let (mut stream, mut peer) = with_peer(&ring).await;
        peer.write_all(b"half an ans").unwrap();
        until("bytes have come", || stream.unread() > 0).await;
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        until("the reset has come", || !stream.is_idle_and_healthy() && ring.stats().operations == 0).await;
        let mut got = [0; 64];
        let count = stream.read(&mut got).await.unwrap();
        assert_eq!(&got[..count], b"half an ans");
        for _ in 0..2 {
            assert_eq!(stream.read(&mut got).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        let written = stream.write_all_owned(vec![1; 100]).await;
        assert_eq!(written.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(written.1.len(), 100, "the buffer comes back all the same");
        assert!(stream.write_all(b"x").await.is_err(), "the error stays");
    });
}

#[test]
fn a_pooled_connection_tells_when_it_is_no_use() {
    on_ring(RingOptions::default(), |ring| async move {
        for (what, act) in [
            ("unexpected bytes", (|peer| (&peer).write_all(b"408").map(|()| Some(peer))) as fn(TcpStream) -> _),
            ("an end", |_peer| Ok(None)),
            ("a reset", |peer| SockRef::from(&peer).set_linger(Some(Duration::ZERO)).map(|()| None)),
        ] {
            let (mut stream, peer) = with_peer(&ring).await;
            pause(Duration::from_millis(5)).await;
            assert!(stream.is_idle_and_healthy(), "before {what}");
            let _kept: Option<TcpStream> = act(peer).unwrap();
            patiently(what, stream.closed_or_readable()).await;
            assert!(!stream.is_idle_and_healthy(), "after {what}");
        }
    });
}

#[test]
fn a_refused_connect_says_so() {
    on_ring(RingOptions::default(), |ring| async move {
        let (fd, address) = listening();
        drop(fd);
        let error = ring.connect(address, &ConnectOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn options_are_set_before_the_connect() {
    on_ring(RingOptions::default(), |ring| async move {
        let (_listener, address) = listening();
        let options = ConnectOptions {
            nodelay: true,
            user_timeout: Some(Duration::from_secs(7)),
            keepalive: Some(Duration::from_secs(11)),
        };
        let stream = ring.connect(address, &options).await.unwrap();
        assert_eq!(stream.peer_addr(), address);
        // SAFETY: the stream keeps the descriptor open.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(stream.raw_fd()) };
        let socket = SockRef::from(&fd);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(11));
    });
}

/// A listening socket that answers no `SYN`: its queue of one is full.
fn deaf() -> (OsSocket, SocketAddr, Vec<OsSocket>) {
    let socket = OsSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap();
    let queued = (0..3).map(|_| {
        let client = OsSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        let _ = client.connect(&address);
        client
    });
    let queued = queued.collect();
    (socket, address.as_socket().unwrap(), queued)
}

#[test]
fn a_dropped_connect_is_cancelled() {
    on_ring(RingOptions::default(), |ring| async move {
        let (_socket, address, _queued) = deaf();
        for settle in [false, true] {
            let options = ConnectOptions::default();
            let mut connecting = Box::pin(ring.connect(address, &options));
            assert!(futures_util::poll!(&mut connecting).is_pending());
            if settle {
                pause(Duration::from_millis(20)).await;
            }
            assert_eq!((ring.stats().sockets, ring.stats().operations), (1, 1));
            drop(connecting);
            until("the connect is gone", || ring.stats().sockets == 0 && ring.stats().operations == 0).await;
        }
    });
}

#[test]
fn a_shutdown_wakes_everybody_who_waits() {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
    executor.run(async {
        let ring = Ring::new(RingOptions::default()).unwrap();
        ring.watch(everybody_is_woken(&ring)).await;
    });
}

async fn everybody_is_woken(ring: &Ring) {
    let driver = start(ring);
    let (fd, _) = listening();
    let listener = ring.listen(fd);
    let (mut reader, _peer) = with_peer(ring).await;
    let (mut writer, _deaf_peer) = with_peer(ring).await;
    let (_socket, address, _queued) = deaf();
    let waiting = async {
        let accepted = async { listener.accept().await.map(drop).unwrap_err() };
        let read = async { reader.read(&mut [0]).await.unwrap_err() };
        let written = async { writer.write_all_owned(vec![0; 20_000_000]).await.0.unwrap_err() };
        let connected = async { ring.connect(address, &ConnectOptions::default()).await.unwrap_err() };
        let errors = futures_util::join!(accepted, read, written, connected);
        for error in [errors.0, errors.1, errors.2, errors.3] {
            assert_eq!(error.raw_os_error(), Some(libc::ESHUTDOWN));
        }
    };
    let ending = async {
        until("all wait", || ring.stats().operations >= 5).await;
        ring.shutdown();
    };
    patiently("the end", async { futures_util::join!(waiting, ending) }).await;
    driver.await;
    assert_eq!(ring.stats().operations, 0);
    let late = ring.connect(address, &ConnectOptions::default()).await.unwrap_err();
    assert_eq!(late.raw_os_error(), Some(libc::ESHUTDOWN));
    drop((reader, writer, listener));
    assert_clean(&ring.stats());
}

#[test]
fn a_ring_that_nobody_drives_lets_go_when_dropped() {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
    executor.run(async {
        let (fd, address) = listening();
        let ring = Ring::new(RingOptions::default()).unwrap();
        let listener = ring.listen(fd);
        let mut client = TcpStream::connect(address).unwrap();
        let (own, _) = listening();
        let stream = ring.adopt(own, address);
        drop(ring);
        drop(stream);
        drop(listener);
        // Refused, reset or accepted and closed: an end, whichever came first.
        let end = client.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
    });
}
