//! The ring over real sockets: each test starts an executor on its own thread, with a ring and its driver.
//!
//! After every test nothing may be left: no slot, no operation, no buffer.

mod accepting;
mod ends;
mod flow;
mod leaks;
mod reading_and_writing;
mod sleeping;
mod torture;

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use glommio::{LocalExecutorBuilder, Placement};

use super::*;

/// Longer than any test takes on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs `test` beside a driver, ends the ring and checks that nothing is left.
fn on_ring<T, F: Future<Output = T>>(options: RingOptions, test: impl FnOnce(Ring) -> F) -> T {
    on_ring_within(PATIENCE, options, test)
}

fn on_ring_within<T, F: Future<Output = T>>(
    patience: Duration,
    options: RingOptions,
    test: impl FnOnce(Ring) -> F,
) -> T {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
    executor.run(async move {
        let ring = Ring::new(options).unwrap();
        ring.watch(run(&ring, patience, test)).await
    })
}

async fn run<T, F: Future<Output = T>>(ring: &Ring, patience: Duration, test: impl FnOnce(Ring) -> F) -> T {
    let driver = start(ring);
    let result = match select(pin!(test(ring.clone())), pause(patience)).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => panic!("the test takes longer than {patience:?}: {:?}", ring.stats()),
    };
    until("slots are free", || {
        let stats = ring.stats();
        stats.sockets == 0 && stats.listeners == 0 && stats.operations == 0
    })
    .await;
    assert_clean(&ring.stats());
    ring.shutdown();
    driver.await;
    assert_clean(&ring.stats());
    result
}

thread_local! {
    /// The ring of the test that runs on this thread.
    static RING: RefCell<Option<Ring>> = const { RefCell::new(None) };
}

/// Starts the driver, and makes the ring this thread's.
fn start(ring: &Ring) -> glommio::Task<()> {
    RING.set(Some(ring.clone()));
    ring.start()
}

fn this_ring() -> Ring {
    RING.with_borrow(|ring| ring.clone().expect("a test starts its ring first"))
}

fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> glommio::Task<T> {
    this_ring().spawn(task)
}

fn pause(length: Duration) -> Sleep {
    this_ring().sleep(length)
}

fn assert_clean(stats: &RingStats) {
    let left = (stats.sockets, stats.listeners, stats.operations, stats.buffers_held, stats.unread_bytes);
    assert_eq!(left, (0, 0, 0, 0, 0), "left behind: {stats:?}");
    assert_eq!((stats.stale, stats.failed_closes), (0, 0), "defects: {stats:?}");
}

async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    match select(pin!(work), pause(PATIENCE)).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => panic!("{what} takes longer than {PATIENCE:?}"),
    }
}

/// Waits for a condition that the ring or another thread brings about.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    patiently(what, async {
        while !condition() {
            pause(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// A listening socket of loopback and its address.
fn listening() -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener.into(), address)
}

/// A stream on the ring and its peer, an ordinary blocking socket.
async fn with_peer(ring: &Ring) -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = ring.connect(address, &ConnectOptions { nodelay: true, ..Default::default() }).await.unwrap();
    let (peer, _) = listener.accept().unwrap();
    peer.set_nodelay(true).unwrap();
    (stream, peer)
}

/// Two streams on the ring, connected to each other.
async fn pair(ring: &Ring) -> (Stream, Stream) {
    let (fd, address) = listening();
    let listener = ring.listen(fd);
    let client = ring.connect(address, &ConnectOptions::default()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

/// Bytes that tell where in a stream they belong.
fn pattern(start: usize, len: usize) -> Vec<u8> {
    (start..start + len).map(pattern_byte).collect()
}

fn pattern_byte(position: usize) -> u8 {
    position.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[2]
}

/// Checks that `bytes` are those of `pattern` from `start`.
fn assert_pattern(bytes: &[u8], start: usize) {
    let wrong = bytes.iter().enumerate().find(|(offset, byte)| **byte != pattern_byte(start + offset));
    assert_eq!(wrong, None, "byte of another place, from {start}");
}

/// xorshift64*: tests that are random print their seed and take it from `RING_SEED`.
struct Random(u64);

impl Random {
    fn seeded() -> (Self, u64) {
        let seed = std::env::var("RING_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            u64::from(now.unwrap().subsec_nanos()) << 20 | 1
        });
        eprintln!("RING_SEED={seed}");
        (Self(seed), seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
