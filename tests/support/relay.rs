//! A TCP relay before a real chain: it can be killed, paused, made to cut answers in the middle, and to hold back what
//! WebSockets push. It tells whether it is the one that pushes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{eventually, ports};

/// What a relay does with what passes through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    Pass,
    /// Accepts and holds everything back, both ways.
    Pause,
    /// Lets half of the next piece of an answer through, then ends the connection.
    CutAnswers,
    /// Holds back what WebSockets bring, which stay open, and passes everything else.
    HoldSockets,
}

/// What a relay's threads share.
struct State {
    mood: AtomicU8,
    pushes: AtomicUsize,
}

impl State {
    fn is(&self, mood: Mood) -> bool {
        self.mood.load(Ordering::SeqCst) == mood as u8
    }
}

/// A relay on a loopback port.
pub struct Relay {
    pub address: SocketAddr,
    to: SocketAddr,
    state: Arc<State>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    listening: Mutex<Option<Arc<AtomicBool>>>,
}

impl Relay {
    pub fn start(to: SocketAddr) -> Self {
        let relay = Self {
            address: ports::unused(),
            to,
            state: Arc::new(State { mood: AtomicU8::new(Mood::Pass as u8), pushes: AtomicUsize::new(0) }),
            open: Arc::default(),
            listening: Mutex::new(None),
        };
        relay.revive();
        relay
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub fn mood(&self, mood: Mood) {
        self.state.mood.store(mood as u8, Ordering::SeqCst);
    }

    /// Pieces with a subscription's notification in them that it has passed on: they grow at whoever is heard now.
    pub fn pushes(&self) -> usize {
        self.state.pushes.load(Ordering::SeqCst)
    }

    /// Refuses from now on, and ends what is open.
    pub fn kill(&self) {
        if let Some(stop) = self.listening.lock().unwrap().take() {
            stop.store(true, Ordering::SeqCst);
            drop(TcpStream::connect(self.address));
            eventually("the relay's port to be closed", || TcpStream::connect(self.address).is_err().then_some(()));
        }
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens (again).
    pub fn revive(&self) {
        let listener = eventually("the relay's port", || TcpListener::bind(self.address).ok());
        let stop = Arc::new(AtomicBool::new(false));
        *self.listening.lock().unwrap() = Some(stop.clone());
        let (to, state, open) = (self.to, self.state.clone(), self.open.clone());
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let _ = join(client, to, &state, &open);
            }
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.kill();
    }
}

fn join(client: TcpStream, to: SocketAddr, state: &Arc<State>, open: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut open = open.lock().unwrap();
    open.push(client.try_clone()?);
    open.push(server.try_clone()?);
    let (client_in, server_in, asked) = (client.try_clone()?, server.try_clone()?, state.clone());
    std::thread::spawn(move || copy(client_in, server, &asked, false));
    let answered = state.clone();
    std::thread::spawn(move || copy(server_in, client, &answered, true));
    Ok(())
}

/// Copies until either side ends, then ends both.
fn copy(mut from: TcpStream, mut to: TcpStream, state: &State, answers: bool) {
    let mut piece = [0; 16 * 1024];
    let mut socket = false;
    while let Ok(n) = from.read(&mut piece) {
        socket |= answers && piece[..n].starts_with(b"HTTP/1.1 101 ");
        while state.is(Mood::Pause) || socket && state.is(Mood::HoldSockets) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let cut = answers && state.is(Mood::CutAnswers);
        let n_out = if cut { n / 2 } else { n };
        if n == 0 || to.write_all(&piece[..n_out]).is_err() || cut {
            break;
        }
        if socket && memchr::memmem::find(&piece[..n], b"eth_subscription").is_some() {
            state.pushes.fetch_add(1, Ordering::SeqCst);
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
