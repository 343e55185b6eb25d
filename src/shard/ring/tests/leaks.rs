//! Descriptors, counted and limited: in a process of their own, where nobody else opens any.

use std::process::Command;

use futures_util::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Runs an ignored test of this file in a new process.
fn alone(name: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("shard::ring::tests::leaks::{name}"), "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{name}: {text}");
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn thousands_of_connections_leave_nothing() {
    alone("churn");
}

#[test]
#[ignore = "runs in a process of its own"]
fn churn() {
    on_ring(RingOptions::default(), |ring| async move {
        let (fd, address) = listening();
        let listener = ring.listen(fd);
        pause(Duration::from_millis(1)).await;
        let before = open_descriptors();
        for round in 0..100 {
            let options = ConnectOptions::default();
            let mut streams = Vec::new();
            for index in 0..30 {
                let mut client = ring.connect(address, &options).await.unwrap();
                let (mut server, _) = listener.accept().await.unwrap();
                match (round + index) % 5 {
                    0 => {}
                    1 => client.write_all(b"unread").await.unwrap(),
                    2 => {
                        client.write_all(b"read").await.unwrap();
                        server.read_exact(&mut [0; 4]).await.unwrap();
                    }
                    3 => drop(server.write_all_owned(vec![0; 6_000_000])),
                    _ => {
                        let mut sending = Box::pin(server.write_all_owned(vec![0; 6_000_000]));
                        assert!(futures_util::poll!(&mut sending).is_pending());
                        drop(sending);
                    }
                }
                streams.push((client, server));
            }
            assert_eq!(ring.stats().sockets, 60);
            drop(streams);
            until("slots are free", || ring.stats().sockets == 0).await;
        }
        assert_eq!(ring.stats().buffers_held, 0);
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn a_ring_leaves_no_descriptor() {
    alone("rings_come_and_go");
}

#[test]
#[ignore = "runs in a process of its own"]
fn rings_come_and_go() {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
    executor.run(async {
        let mut before = 0;
        for round in 0..20 {
            let ring = Ring::new(RingOptions::default()).unwrap();
            let driver = start(&ring);
            let (client, server) = pair(&ring).await;
            ring.shutdown();
            driver.await;
            drop((client, server, ring));
            if round == 1 {
                before = open_descriptors();
            }
        }
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn running_out_of_descriptors_is_an_error_that_passes() {
    alone("no_descriptor_left");
}

#[test]
#[ignore = "runs in a process of its own"]
fn no_descriptor_left() {
    on_ring(RingOptions::default(), |ring| async move {
        let (fd, address) = listening();
        let clients = [(); 3].map(|()| OsClient::start(address));
        let limit = limit_descriptors(0);
        let listener = ring.listen(fd);
        clients.iter().for_each(OsClient::connect);
        let mut errors = 0;
        for _ in 0..5 {
            let before = ring.stats().enters;
            match listener.accept().await {
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                    errors += 1;
                }
                Ok(_) => panic!("accepted without a descriptor to be had"),
            }
            pause(Duration::from_millis(20)).await;
            assert!(ring.stats().enters - before < 50, "a busy loop: {:?}", ring.stats());
        }
        assert_eq!(errors, 5);
        restore_descriptors(limit);
        for _ in &clients {
            patiently("accepting goes on", listener.accept()).await.unwrap();
        }
    });
}

/// A client whose socket exists before descriptors run out.
struct OsClient(socket2::Socket, SocketAddr);

impl OsClient {
    fn start(address: SocketAddr) -> Self {
        Self(socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap(), address)
    }

    fn connect(&self) {
        self.0.connect(&self.1.into()).unwrap();
    }
}

fn limit_descriptors(soft: u64) -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is ours, for the call.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    restore_descriptors(libc::rlimit { rlim_cur: soft, ..limit });
    limit
}

fn restore_descriptors(limit: libc::rlimit) {
    // SAFETY: the structure is ours, for the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}
