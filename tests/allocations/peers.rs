//! What stands around the shard: a provider and a client, blocking, on keep-alive, and the seed of the shard itself.
//!
//! All messages of a run have one length each (ids and dates are as long as each other), so the first of a kind tells
//! how much to read of the others, and neither peer needs a parser.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use livechain::config::{Config, cores_available};
use livechain::link::{self, Bell, ControlEnd, Counters, MeshEnd, Phase, PhaseCell, Slot, Snapshot};
use livechain::routing::Month;
use livechain::shard::{self, Listening, Seed};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x407d73d8a49eeb85d32cf465507dd71d507100c1","latest"]}"#;
const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":"0x234c8a3397aab58"}"#;

/// Longer than any single message takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A shard of one chain with one provider, in this process.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    thread: JoinHandle<()>,
    phase: Arc<PhaseCell>,
    bell: Arc<Bell>,
    /// Control's part: rows come back emptied, as they do in a node.
    control: ControlEnd,
    _snapshot: Arc<Snapshot>,
}

impl Node {
    pub(crate) fn start(provider: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let snapshot = Arc::new(snapshot(provider));
        let (shard_end, control) = link::pair();
        let (bell, doorbell) = Bell::new().map(|(bell, doorbell)| (Arc::new(bell), doorbell)).unwrap();
        let phase = Arc::new(PhaseCell::default());
        let counters = Arc::new(Counters::default());
        let seed = Seed {
            index: 0,
            core: snapshot.config.shards.cores[0],
            listeners: vec![Listening { fd: listener.into(), secure: false }],
            entrance: Arc::new(Slot::new(Arc::default())),
            addresses: Arc::default(),
            snapshots: Arc::new(Slot::new(Arc::clone(&snapshot))),
            rosters: Arc::new(Slot::new(Arc::default())),
            rankings: Arc::new(Slot::new(Arc::default())),
            doorbell,
            mesh: MeshEnd::all(&[Arc::clone(&bell)]).remove(0),
            phase: Arc::clone(&phase),
            counters: Arc::clone(&counters),
            node: Arc::from([counters]),
            ends: shard_end,
            // Nobody orders any.
            probes: link::probe_pair().0,
            boot: 1,
            epoch: Instant::now(),
        };
        let thread = shard::spawn(seed).unwrap();
        phase.advance(Phase::Serving);
        Self { address, thread, phase, bell, control, _snapshot: snapshot }
    }

    /// Takes what was measured, as control does.
    pub(crate) fn collect(&mut self) {
        self.control.drain_rows(|_| {});
    }

    pub(crate) fn stop(self) {
        self.phase.advance(Phase::Closing);
        self.bell.ring();
        self.thread.join().unwrap();
    }
}

fn snapshot(provider: SocketAddr) -> Snapshot {
    // No connection is opened ahead of need while allocations are counted.
    let text = format!(
        "[upstream]\nconnections_warm = 1\n[[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"alpha\"\nurl = \"http://{provider}/v2\"\n"
    );
    let cores = cores_available();
    let config = Config::parse(&text, "test", |_| None, &cores[..1]).unwrap();
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Snapshot::build(Arc::new(config), None, Arc::new(tls), |_| Arc::new([provider]), |_| Month::default())
}

/// Answers every call with the same result, as long as the process runs.
pub(crate) fn provider() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || answer_all(stream));
        }
    });
    address
}

fn answer_all(mut stream: TcpStream) {
    let length = RESULT.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{RESULT}");
    let mut request = Vec::new();
    while read_until(&mut stream, &mut request, CALL) {
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A client that keeps its connection.
pub(crate) struct Client {
    stream: TcpStream,
    request: String,
    answer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(node: SocketAddr) -> Self {
        let stream = TcpStream::connect(node).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = CALL.len();
        let request = format!(
            "POST /rpc/ethereum HTTP/1.1\r\nHost: {node}\r\nUser-Agent: test\r\nAccept: */*\r\nContent-Type: \
             application/json\r\nContent-Length: {length}\r\n\r\n{CALL}"
        );
        Self { stream, request, answer: Vec::new() }
    }

    pub(crate) fn call(&mut self, times: u64) {
        for _ in 0..times {
            self.stream.write_all(self.request.as_bytes()).unwrap();
            assert!(read_until(&mut self.stream, &mut self.answer, RESULT), "the node closed");
            assert!(self.answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", self.answer.escape_ascii());
        }
    }
}

/// Reads one message, whose body is `body`. False at the end of the stream.
fn read_until(stream: &mut TcpStream, message: &mut Vec<u8>, body: &str) -> bool {
    message.clear();
    let mut piece = [0; 4096];
    while !message.ends_with(body.as_bytes()) {
        match stream.read(&mut piece) {
            Ok(0) => return false,
            Ok(count) => message.extend_from_slice(&piece[..count]),
            // The node ends the connection when the test does.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return false,
            Err(error) => panic!("{error}: {}", message.escape_ascii()),
        }
    }
    true
}
