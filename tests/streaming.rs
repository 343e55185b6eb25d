//! Answers too large to be read whole: streamed with back-pressure, and never ended as if they were whole.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::client::request;
use support::reply::At;
use support::{Client, Fault, Node, Provider, Reply, Setup, eventually, json};

const MIB: u64 = 1024 * 1024;
/// What a large answer may add to the node's resident memory.
const GROWTH_MAX: u64 = 32 * MIB;

fn logs() -> String {
    json::call("eth_getLogs", r#"[{"fromBlock":"0x0","toBlock":"0xff"}]"#)
}

/// The most resident memory that a node has while something runs.
struct Watch {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    before: u64,
}

impl Watch {
    fn start(node: &Arc<Node>) -> Self {
        let (stop, peak) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let watch = Self { stop: stop.clone(), peak: peak.clone(), before: node.rss() };
        let node = node.clone();
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                peak.fetch_max(node.rss(), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        watch
    }

    fn growth(&self) -> u64 {
        self.peak.load(Ordering::SeqCst).saturating_sub(self.before)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

#[test]
fn half_a_gigabyte_passes_through_a_few_mebibytes() {
    let size = 500 * MIB;
    for sized in [false, true] {
        let provider = Provider::start(move |call| {
            let flood = Reply::flood(call, if call.method() == "eth_getLogs" { size } else { 10 });
            if sized { flood.sized() } else { flood }
        });
        let node = Arc::new(Setup::ethereum(&[&provider]).start());
        node.ethereum(&json::read());
        let watch = Watch::start(&node);
        let start = Instant::now();
        let mut client = node.connect();
        client.post("/rpc/ethereum", &logs());
        let head = client.head();
        assert!(head.line.contains(" 200 "), "{}", head.line);
        let whole = client.pass(&head).unwrap();
        assert!(
            whole.bytes == Reply::flood_bytes("1", size) && whole.last.ends_with(b"a\"}"),
            "sized {sized}: {whole:?}"
        );
        println!("sized {sized}: {size} bytes in {:?}, RSS grew by {} KiB", start.elapsed(), watch.growth() / 1024);
        assert!(watch.growth() < GROWTH_MAX, "RSS grew by {} KiB", watch.growth() / 1024);
        assert!(client.post("/rpc/ethereum", &json::read()).answer().result().len() > 10, "the connection goes on");
    }
}

#[test]
fn answers_of_every_size_arrive_whole() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider]).start();
    let mut client = node.connect();
    let near: Vec<u64> = (65_480..65_550).step_by(7).collect();
    for size in [0, 1, 4_000, 16_384, 65_000].into_iter().chain(near).chain([66_000, 131_072, 262_144, 3_000_000]) {
        for framing in 0..3 {
            provider.script(move |call| match framing {
                0 => Reply::flood(call, size),
                1 => Reply::flood(call, size).sized(),
                _ => Reply::result(call, &format!("\"{}\"", "b".repeat(usize::try_from(size).unwrap()))).chunked(5_000),
            });
            let answer = client.post("/rpc/ethereum", &logs()).answer();
            assert_eq!(answer.result().len() as u64, size + 2, "framing {framing}");
            assert_eq!(answer.raw("id").as_deref(), Some("1"));
        }
    }
    let until_close = |size: usize| {
        move |call: &support::Seen| Reply::result(call, &format!("\"{}\"", "c".repeat(size))).until_close()
    };
    provider.script(until_close(1_000_000));
    assert_eq!(client.post("/rpc/ethereum", &logs()).answer().result().len(), 1_000_002);
}

#[test]
fn a_client_that_stops_reading_stalls_only_itself() {
    let provider = Provider::start(|call| match call.method().as_str() {
        "eth_getLogs" => Reply::flood(call, 200 * MIB),
        _ => Reply::result(call, "\"0x1\""),
    });
    let node = Arc::new(
        Setup::ethereum(&[&provider])
            .set("shards", "cores = [0]")
            // While nobody reads, nothing can progress: that is the client's doing, not the provider's.
            .set("upstream", "progress_timeout = \"700ms\"")
            .start(),
    );
    node.ethereum(&json::read());
    let watch = Watch::start(&node);
    let mut stalled: Vec<Client> = (0..4).map(|_| Client::small_window(node.http)).collect();
    for client in &mut stalled {
        client.post("/rpc/ethereum", &logs());
    }
    let mut others = node.connect();
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    while start.elapsed() < Duration::from_millis(1500) {
        let sent = Instant::now();
        assert_eq!(others.post("/rpc/ethereum", &json::read()).answer().result(), "\"0x1\"");
        slowest = slowest.max(sent.elapsed());
    }
    assert!(slowest < Duration::from_millis(500), "another client waited {slowest:?}");
    let taken = provider.sent_bytes();
    assert!(taken < 4 * 16 * MIB, "{taken} bytes were taken from the provider for clients that do not read");
    assert!(watch.growth() < GROWTH_MAX, "RSS grew by {} KiB", watch.growth() / 1024);
    let mut first = stalled.remove(0);
    let head = first.head();
    assert!(head.line.contains(" 200 "), "{}", head.line);
    let whole = first.pass(&head).unwrap();
    assert!(whole.last.ends_with(b"a\"}"), "{whole:?}");
}

#[test]
fn a_client_that_never_reads_on_is_cut() {
    let provider = Provider::start(|call| Reply::flood(call, 200 * MIB));
    // No connection but the one in question.
    let node = Setup::ethereum(&[&provider])
        .set("http", "body_timeout = \"500ms\"")
        .set("upstream", "connections_warm = 0")
        .start();
    let mut client = Client::small_window(node.http);
    client.post("/rpc/ethereum", &logs());
    provider.wait_calls("eth_getLogs", 1);
    eventually("the provider's connection to be let go", || (provider.open() == 0).then_some(()));
}

#[test]
fn an_answer_cut_after_its_first_byte_ends_the_connection() {
    // More than all sockets on the way can hold, or a reset may overtake the first byte: then the call fails over, rightly.
    const AT: usize = 60_000_000;
    let second = Provider::answering("\"next\"");
    let faults = [Fault::Cut(At::Body(AT)), Fault::Reset(At::Body(AT)), Fault::Stall(At::Body(AT))];
    for fault in faults {
        for sized in [false, true] {
            let provider = Provider::start(move |call| match call.method().as_str() {
                "eth_getLogs" if sized => Reply::flood(call, 100_000_000).sized().fault(fault),
                "eth_getLogs" => Reply::flood(call, 100_000_000).fault(fault),
                _ => Reply::result(call, "\"next\""),
            });
            let node = Setup::ethereum(&[&provider, &second]).set("upstream", "progress_timeout = \"400ms\"").start();
            let mut client = node.connect();
            client.send([request("/rpc/ethereum", &logs()), request("/rpc/ethereum", &json::read())].concat());
            let head = client.head();
            assert!(head.line.contains(" 200 "), "{fault:?}, sized {sized}: {}", head.line);
            match client.pass(&head) {
                Ok(whole) => panic!("{fault:?}, sized {sized}: a well-formed lie: {whole:?}"),
                Err(e) => assert!(ended(&e), "{fault:?}, sized {sized}: {e}"),
            }
            let beyond = String::from_utf8_lossy(client.held()).into_owned();
            assert!(!beyond.contains("next"), "{fault:?}: an answer after the cut one");
            assert!(second.calls("eth_getLogs").is_empty(), "{fault:?}: asked again after the first byte");
            assert_eq!(node.ethereum(&json::read()).result(), "\"next\"", "the node goes on");
        }
    }
}

/// Whether reading failed because the connection ended.
fn ended(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

#[test]
fn a_cut_before_64_kib_is_failed_over_unseen() {
    let second = Provider::answering("\"second\"");
    for at in [1, 1_000, 60_000] {
        let provider = Provider::start(move |call| Reply::flood(call, 10_000_000).fault(Fault::Cut(At::Body(at))));
        let node = Setup::ethereum(&[&provider, &second]).start();
        assert_eq!(node.ethereum(&logs()).result(), "\"second\"", "cut after {at} bytes");
    }
}

#[test]
fn compressed_answers_are_decoded() {
    let long = "0123456789abcdef".repeat(100_000);
    let provider = Provider::start(move |call| Reply::result(call, &format!("\"{long}\"")).gzip());
    let node = Setup::ethereum(&[&provider]).start();
    let answer = node.ethereum(&logs());
    assert_eq!(answer.field("content-encoding"), None);
    assert_eq!(answer.result().len(), 1_600_002);
}

#[test]
fn a_small_answer_that_unpacks_to_a_large_one_fills_no_memory() {
    let size = 96 * MIB;
    // Made once, and of like parts: packing this much takes longer than unpacking it.
    let packed = support::reply::gzip_members(&[
        (br#"{"jsonrpc":"2.0","id":1,"result":""#.to_vec(), 1),
        (vec![b'a'; usize::try_from(MIB).unwrap()], 96),
        (b"\"}".to_vec(), 1),
    ]);
    assert!(packed.len() < 200_000, "{} bytes", packed.len());
    let provider = Provider::start(move |call| match call.method().as_str() {
        "eth_getLogs" => Reply::ok(packed.clone()).field("Content-Encoding: gzip"),
        _ => Reply::result(call, "1"),
    });
    let node = Arc::new(Setup::ethereum(&[&provider]).set("rpc.deadlines", "logs = \"60s\"").start());
    node.ethereum(&json::read());
    let watch = Watch::start(&node);
    let mut client = node.connect();
    client.post("/rpc/ethereum", &logs());
    let head = client.head();
    let whole = client.pass(&head).unwrap();
    if head.line.contains(" 200 ") {
        assert!(whole.bytes > size && whole.last.ends_with(b"a\"}"), "{whole:?}");
    }
    assert!(watch.growth() < GROWTH_MAX, "RSS grew by {} KiB", watch.growth() / 1024);
}

#[test]
fn a_provider_that_cuts_every_large_answer_is_left() {
    let bad = Provider::start(|call| Reply::flood(call, 10_000_000).fault(Fault::Cut(At::Body(3_000_000))));
    let good = Provider::answering("\"good\"");
    let node = Setup::ethereum(&[&bad, &good]).set("breaker", "failures = 3").start();
    for turn in 0..3 {
        let mut client = node.connect();
        client.post("/rpc/ethereum", &logs());
        let head = client.head();
        assert!(client.pass(&head).is_err(), "turn {turn}: the cut answer ended well");
    }
    // Each began well: only their ends say that the provider is failing.
    assert_eq!(node.ethereum(&logs()).result(), "\"good\"");
}
