//! A provider behind a WebSocket that does what a test's script says, frame by frame, and remembers what it heard.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::socket::{CLOSE, PING, TEXT};
use super::wire::{Head, Reader};
use super::{eventually, json, ports};

/// A frame as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Connections are counted from 0, in the order in which they were accepted.
    pub connection: usize,
    /// Messages of that connection, from 0; of another frame, how many messages came before it.
    pub nth: usize,
    pub opcode: u8,
    pub mask: [u8; 4],
    pub payload: Vec<u8>,
}

impl Heard {
    /// The raw bytes of the id, `null` when there is none.
    pub fn id(&self) -> String {
        json::raw(&self.payload, "id").unwrap_or_else(|| "null".to_owned())
    }

    pub fn method(&self) -> String {
        json::raw(&self.payload, "method").and_then(|m| serde_json::from_str(&m).ok()).unwrap_or_default()
    }

    pub fn params(&self) -> String {
        json::raw(&self.payload, "params").unwrap_or_default()
    }

    /// A result (raw JSON) for it, as a text frame.
    pub fn result(&self, result: &str) -> Act {
        Act::text(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, self.id()))
    }
}

/// What it does, one after another.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends these bytes.
    Send(Vec<u8>),
    Wait(Duration),
    /// The connection ends in order (FIN).
    Cut,
    /// It neither reads nor writes any more.
    Hang,
}

impl Act {
    pub fn text(text: &str) -> Self {
        Self::frame(TEXT, text.as_bytes())
    }

    /// A whole frame, as a server's: not masked.
    pub fn frame(opcode: u8, payload: &[u8]) -> Self {
        Self::Send(frame(0x80 | opcode, payload))
    }

    pub fn close(code: u16) -> Self {
        Self::frame(CLOSE, &code.to_be_bytes())
    }
}

/// A server's frame with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(u8::try_from(short).unwrap()),
        medium @ 126..65_536 => {
            bytes.push(126);
            bytes.extend_from_slice(&u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// How handshakes are answered.
#[derive(Clone, Debug)]
pub enum Handshake {
    Agree,
    /// A 101 with further fields, each ending in CR LF.
    With(String),
    /// These bytes instead, and the end of the connection.
    Answer(Vec<u8>),
    /// Nothing at all.
    Hang,
}

type Script = Arc<dyn Fn(&Heard) -> Vec<Act> + Send + Sync>;

struct State {
    script: RwLock<Script>,
    handshake: Mutex<Handshake>,
    heads: Mutex<Vec<Head>>,
    heard: Mutex<Vec<Heard>>,
    open: Mutex<Vec<Weak<TcpStream>>>,
    accepted: AtomicUsize,
    tls: Option<Arc<ServerConfig>>,
    stop: AtomicBool,
}

/// A scripted provider on a loopback port.
pub struct Pusher {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Pusher {
    /// One that does with every message what `script` says. Pings are answered and goodbyes returned by themselves.
    pub fn start(script: impl Fn(&Heard) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::build(None, Arc::new(script))
    }

    /// One that answers every call with its params.
    pub fn echoing() -> Self {
        Self::start(|call| vec![call.result(&call.params())])
    }

    /// One behind TLS.
    pub fn start_tls(tls: Arc<ServerConfig>, script: impl Fn(&Heard) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::build(Some(tls), Arc::new(script))
    }

    fn build(tls: Option<Arc<ServerConfig>>, script: Script) -> Self {
        let address = ports::unused();
        let state = Arc::new(State {
            script: RwLock::new(script),
            handshake: Mutex::new(Handshake::Agree),
            heads: Mutex::default(),
            heard: Mutex::default(),
            open: Mutex::default(),
            accepted: AtomicUsize::new(0),
            tls,
            stop: AtomicBool::new(false),
        });
        let listener = TcpListener::bind(address).unwrap();
        let shared = state.clone();
        std::thread::spawn(move || accept_all(&listener, &shared));
        Self { address, state }
    }

    /// Its address as a config's `ws_url` names it.
    pub fn url(&self) -> String {
        let scheme = if self.state.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}", self.address)
    }

    /// Changes what messages are answered with from now on.
    pub fn script(&self, script: impl Fn(&Heard) -> Vec<Act> + Send + Sync + 'static) {
        *self.state.script.write().unwrap() = Arc::new(script);
    }

    /// Changes how handshakes are answered from now on.
    pub fn handshake(&self, handshake: Handshake) {
        *self.state.handshake.lock().unwrap() = handshake;
    }

    /// The heads of all handshakes so far.
    pub fn heads(&self) -> Vec<Head> {
        self.state.heads.lock().unwrap().clone()
    }

    /// All frames so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.state.heard.lock().unwrap().clone()
    }

    /// The calls of one method.
    pub fn calls(&self, method: &str) -> Vec<Heard> {
        self.heard().into_iter().filter(|heard| heard.opcode <= 2 && heard.method() == method).collect()
    }

    /// Waits for a frame of this kind.
    pub fn wait_for(&self, opcode: u8) -> Heard {
        eventually("a frame", || self.heard().into_iter().find(|heard| heard.opcode == opcode))
    }

    /// The code of the first goodbye, waited for.
    pub fn wait_closed(&self) -> Option<u16> {
        self.wait_for(CLOSE).payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }

    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.state.open.lock().unwrap().iter().filter(|stream| stream.strong_count() > 0).count()
    }

    /// Sends a frame on every open connection that has no TLS.
    pub fn push(&self, opcode: u8, payload: &[u8]) {
        for stream in self.state.open.lock().unwrap().iter().filter_map(Weak::upgrade) {
            let _ = (&*stream).write_all(&frame(0x80 | opcode, payload));
        }
    }

    /// Ends every open connection.
    pub fn sever(&self) {
        for stream in self.state.open.lock().unwrap().drain(..).filter_map(|stream| stream.upgrade()) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.sever();
    }
}

fn accept_all(listener: &TcpListener, state: &Arc<State>) {
    while let Ok((stream, _)) = listener.accept() {
        if state.stop.load(Ordering::SeqCst) {
            return;
        }
        let connection = state.accepted.fetch_add(1, Ordering::SeqCst);
        let stream = Arc::new(stream);
        let mut open = state.open.lock().unwrap();
        open.retain(|stream| stream.strong_count() > 0);
        open.push(Arc::downgrade(&stream));
        drop(open);
        let state = state.clone();
        // A peer that goes away is everyday life for a provider.
        std::thread::spawn(move || {
            let _ = stream.set_nodelay(true);
            let wire = Wire(stream);
            let _ = match &state.tls {
                None => serve(wire, connection, &state),
                Some(tls) => match ServerConnection::new(tls.clone()) {
                    Ok(session) => serve(StreamOwned::new(session, wire), connection, &state),
                    Err(_) => Ok(()),
                },
            };
        });
    }
}

fn serve<S: Read + Write>(io: S, connection: usize, state: &State) -> io::Result<()> {
    let mut reader = Reader::new(io);
    let Some(head) = reader.head()? else { return Ok(()) };
    state.heads.lock().unwrap().push(head.clone());
    let handshake = state.handshake.lock().unwrap().clone();
    let fields = match handshake {
        Handshake::Agree => String::new(),
        Handshake::With(fields) => fields,
        Handshake::Answer(bytes) => return reader.inner.write_all(&bytes).and_then(|()| reader.inner.flush()),
        Handshake::Hang => return drain(&mut reader.inner),
    };
    let key = head.field("sec-websocket-key").unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\
         {fields}\r\n",
        accept_of(key)
    );
    reader.inner.write_all(answer.as_bytes())?;
    reader.inner.flush()?;
    let mut nth = 0;
    loop {
        let heard = read_frame(&mut reader, connection, nth)?;
        state.heard.lock().unwrap().push(heard.clone());
        let acts = match heard.opcode {
            CLOSE => {
                let _ = reader.inner.write_all(&frame(0x80 | CLOSE, &heard.payload));
                return reader.inner.flush();
            }
            PING => vec![Act::frame(super::socket::PONG, &heard.payload)],
            0..=2 => {
                nth += 1;
                let script = state.script.read().unwrap().clone();
                script(&heard)
            }
            _ => vec![],
        };
        for act in acts {
            match act {
                Act::Send(bytes) => reader.inner.write_all(&bytes)?,
                Act::Wait(time) => std::thread::sleep(time),
                Act::Cut => return Ok(()),
                // Until the test is over.
                Act::Hang => loop {
                    std::thread::sleep(Duration::from_millis(50));
                    if state.stop.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                },
            }
            reader.inner.flush()?;
        }
    }
}

/// A client's frame, of one piece.
fn read_frame<S: Read>(reader: &mut Reader<S>, connection: usize, nth: usize) -> io::Result<Heard> {
    let start = reader.exactly(2)?;
    assert_eq!(start[0] & 0xf0, 0x80, "whole, and no reserved bit is set");
    assert_eq!(start[1] & 0x80, 0x80, "a client's frame is masked");
    let length = match start[1] & 0x7f {
        126 => u64::from(u16::from_be_bytes(*reader.exactly(2)?.first_chunk().unwrap())),
        127 => u64::from_be_bytes(*reader.exactly(8)?.first_chunk().unwrap()),
        short => u64::from(short),
    };
    let mask: [u8; 4] = *reader.exactly(4)?.first_chunk().unwrap();
    let mut payload = reader.exactly(usize::try_from(length).unwrap())?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Ok(Heard { connection, nth, opcode: start[0] & 0x0f, mask, payload })
}

/// RFC 6455, section 1.3.
fn accept_of(key: &str) -> String {
    let hashed = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, hashed.as_bytes()))
}

/// Keeps the connection until the peer ends it.
fn drain(from: &mut impl Read) -> io::Result<()> {
    let mut sink = [0; 4096];
    while from.read(&mut sink)? > 0 {}
    Ok(())
}

struct Wire(Arc<TcpStream>);

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(into)
    }
}

impl Write for Wire {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        (&*self.0).write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
