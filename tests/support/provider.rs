//! A provider that does what a test's script says, and remembers every call that it was sent.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Instant;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::reply::{At, Fault, Reply};
use super::wire::{Ends, Head, Reader};
use super::{eventually, json, ports};

/// One call as it came over the wire.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    /// Connections are counted from 0, in the order in which they were accepted.
    pub connection: usize,
    /// Calls of that connection, from 0.
    pub nth: usize,
    pub head: Head,
    pub body: Vec<u8>,
}

impl Seen {
    /// The raw bytes of the id, `null` when there is none.
    pub fn id(&self) -> String {
        json::raw(&self.body, "id").unwrap_or_else(|| "null".to_owned())
    }

    /// The method's name, empty where there is none.
    pub fn method(&self) -> String {
        json::raw(&self.body, "method").and_then(|m| serde_json::from_str(&m).ok()).unwrap_or_default()
    }

    /// The raw bytes of the params.
    pub fn params(&self) -> String {
        json::raw(&self.body, "params").unwrap_or_default()
    }
}

/// What a provider does with a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepting {
    Serve,
    /// Accepts, and never reads.
    Hang,
    /// Accepts, and ends the connection at once.
    Close,
    Reset,
}

type Script = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

struct State {
    seen: Mutex<Vec<Seen>>,
    script: RwLock<Script>,
    accepting: Mutex<Accepting>,
    tls: Option<Arc<ServerConfig>>,
    open: Mutex<Vec<Weak<TcpStream>>>,
    accepted: AtomicUsize,
    in_flight: AtomicUsize,
    in_flight_peak: AtomicUsize,
    sent_bytes: AtomicU64,
}

/// A scripted provider on a loopback port.
pub struct Provider {
    pub address: SocketAddr,
    state: Arc<State>,
    listening: Mutex<Option<Arc<AtomicBool>>>,
}

impl Provider {
    /// One that answers every call by `script`.
    pub fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::build(None, Arc::new(script))
    }

    /// One that answers every call with this result (raw JSON).
    pub fn answering(result: &'static str) -> Self {
        Self::start(move |call| Reply::result(call, result))
    }

    /// One behind TLS.
    pub fn start_tls(tls: Arc<ServerConfig>, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::build(Some(tls), Arc::new(script))
    }

    fn build(tls: Option<Arc<ServerConfig>>, script: Script) -> Self {
        let state = State {
            seen: Mutex::default(),
            script: RwLock::new(script),
            accepting: Mutex::new(Accepting::Serve),
            tls,
            open: Mutex::default(),
            accepted: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            in_flight_peak: AtomicUsize::new(0),
            sent_bytes: AtomicU64::new(0),
        };
        let provider = Self { address: ports::unused(), state: Arc::new(state), listening: Mutex::new(None) };
        provider.up();
        provider
    }

    /// Its address as a config names it.
    pub fn url(&self) -> String {
        let scheme = if self.state.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Changes what calls are answered with from now on.
    pub fn script(&self, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *self.state.script.write().unwrap() = Arc::new(script);
    }

    /// Changes what happens to connections that come from now on.
    pub fn accept(&self, accepting: Accepting) {
        *self.state.accepting.lock().unwrap() = accepting;
    }

    /// Stops listening and ends every connection: from now on it refuses.
    pub fn down(&self) {
        if let Some(stop) = self.listening.lock().unwrap().take() {
            stop.store(true, Ordering::SeqCst);
            drop(TcpStream::connect(self.address));
            eventually("the port to be closed", || TcpStream::connect(self.address).is_err().then_some(()));
        }
        self.sever();
    }

    /// Listens (again).
    pub fn up(&self) {
        let listener = eventually("the provider's port", || TcpListener::bind(self.address).ok());
        let stop = Arc::new(AtomicBool::new(false));
        *self.listening.lock().unwrap() = Some(stop.clone());
        let state = self.state.clone();
        std::thread::spawn(move || accept_all(&listener, &stop, &state));
    }

    /// Ends every open connection.
    pub fn sever(&self) {
        for stream in self.state.open.lock().unwrap().drain(..).filter_map(|s| s.upgrade()) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Everything it was sent so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// The calls of one method.
    pub fn calls(&self, method: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|s| s.method() == method).collect()
    }

    /// Waits until `n` calls of a method have come.
    pub fn wait_calls(&self, method: &str, n: usize) -> Vec<Seen> {
        eventually(&format!("{n} calls of {method}"), || Some(self.calls(method)).filter(|c| c.len() >= n))
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now, as far as it knows.
    pub fn open(&self) -> usize {
        self.state.open.lock().unwrap().iter().filter(|s| s.strong_count() > 0).count()
    }

    /// Calls that it is working on.
    pub fn in_flight(&self) -> usize {
        self.state.in_flight.load(Ordering::SeqCst)
    }

    /// The most calls that it was working on at one moment.
    pub fn in_flight_peak(&self) -> usize {
        self.state.in_flight_peak.load(Ordering::SeqCst)
    }

    /// Bytes of answers that sockets took from it.
    pub fn sent_bytes(&self) -> u64 {
        self.state.sent_bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.down();
    }
}

fn accept_all(listener: &TcpListener, stop: &AtomicBool, state: &Arc<State>) {
    while let Ok((stream, _)) = listener.accept() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let connection = state.accepted.fetch_add(1, Ordering::SeqCst);
        let stream = Arc::new(stream);
        let mut open = state.open.lock().unwrap();
        open.retain(|s| s.strong_count() > 0);
        open.push(Arc::downgrade(&stream));
        drop(open);
        let state = state.clone();
        std::thread::spawn(move || serve(&stream, connection, &state));
    }
}

fn serve(stream: &Arc<TcpStream>, connection: usize, state: &Arc<State>) {
    let _ = stream.set_nodelay(true);
    let accepting = *state.accepting.lock().unwrap();
    match accepting {
        Accepting::Serve => {}
        Accepting::Hang => return drain(stream),
        Accepting::Close => return,
        Accepting::Reset => return reset(stream),
    }
    let wire = Socket(stream.clone());
    let outcome = match &state.tls {
        None => serve_calls(wire, stream, connection, state),
        Some(tls) => match ServerConnection::new(tls.clone()) {
            Ok(session) => serve_calls(StreamOwned::new(session, wire), stream, connection, state),
            Err(_) => return,
        },
    };
    // A peer that goes away is everyday life for a provider.
    drop(outcome);
}

fn serve_calls<S: Read + Write>(io: S, stream: &Arc<TcpStream>, connection: usize, state: &State) -> io::Result<()> {
    let mut reader = Reader::new(io);
    for nth in 0.. {
        let Some(head) = reader.head()? else {
            return Ok(());
        };
        let ends = match (head.field("content-length"), head.field("transfer-encoding")) {
            (Some(n), None) => Ends::Length(n.parse().map_err(io::Error::other)?),
            (None, Some(_)) => Ends::Chunked,
            _ => Ends::Length(0),
        };
        let body = reader.body(ends)?;
        let call = Seen { at: Instant::now(), connection, nth, head, body };
        state.seen.lock().unwrap().push(call.clone());
        let now = state.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        state.in_flight_peak.fetch_max(now, Ordering::SeqCst);
        let script = state.script.read().unwrap().clone();
        let reply = script(&call);
        std::thread::sleep(reply.wait());
        state.in_flight.fetch_sub(1, Ordering::SeqCst);
        if !send(&reply, &mut reader.inner, stream, state)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Sends an answer as far as its fault lets it; true when the connection goes on.
fn send(reply: &Reply, io: &mut impl Write, stream: &Arc<TcpStream>, state: &State) -> io::Result<bool> {
    io.write_all(reply.interim_bytes())?;
    let limit = match reply.fault_at() {
        Fault::None => None,
        Fault::Stall(at) | Fault::Cut(at) | Fault::Reset(at) => Some(at),
    };
    if limit != Some(At::Start) {
        io.write_all(&reply.head())?;
    }
    let mut left = match limit {
        None => usize::MAX,
        Some(At::Start | At::Head) => 0,
        Some(At::Body(n)) => n,
    };
    for piece in reply.pieces() {
        let part = &piece[..piece.len().min(left)];
        left -= part.len();
        io.write_all(part)?;
        state.sent_bytes.fetch_add(part.len() as u64, Ordering::SeqCst);
        if left == 0 {
            break;
        }
    }
    io.flush()?;
    match reply.fault_at() {
        Fault::None => return Ok(!reply.ends_connection()),
        Fault::Stall(_) => drain(stream),
        Fault::Cut(_) => {}
        Fault::Reset(_) => reset(stream),
    }
    Ok(false)
}

/// Keeps the connection until the peer ends it.
fn drain(mut stream: &TcpStream) {
    let mut sink = [0; 4096];
    while matches!(stream.read(&mut sink), Ok(n) if n > 0) {}
}

/// The close that follows tears the connection down.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

struct Socket(Arc<TcpStream>);

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(into)
    }
}

impl Write for Socket {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        (&*self.0).write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
