//! A TCP relay before a real chain: it can be killed, paused, and made to cut answers in the middle.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
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
}

/// A relay on a loopback port.
pub struct Relay {
    pub address: SocketAddr,
    to: SocketAddr,
    mood: Arc<AtomicU8>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    listening: Mutex<Option<Arc<AtomicBool>>>,
}

impl Relay {
    pub fn start(to: SocketAddr) -> Self {
        let relay = Self {
            address: ports::unused(),
            to,
            mood: Arc::new(AtomicU8::new(Mood::Pass as u8)),
            open: Arc::default(),
            listening: Mutex::new(None),
        };
        relay.revive();
        relay
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn mood(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
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
        let (to, mood, open) = (self.to, self.mood.clone(), self.open.clone());
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let _ = join(client, to, &mood, &open);
            }
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.kill();
    }
}

fn join(client: TcpStream, to: SocketAddr, mood: &Arc<AtomicU8>, open: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut open = open.lock().unwrap();
    open.push(client.try_clone()?);
    open.push(server.try_clone()?);
    let (client_in, server_in, moods) = (client.try_clone()?, server.try_clone()?, mood.clone());
    std::thread::spawn(move || copy(client_in, server, &moods, false));
    let moods = mood.clone();
    std::thread::spawn(move || copy(server_in, client, &moods, true));
    Ok(())
}

/// Copies until either side ends, then ends both.
fn copy(mut from: TcpStream, mut to: TcpStream, mood: &AtomicU8, answers: bool) {
    let mut piece = [0; 16 * 1024];
    while let Ok(n) = from.read(&mut piece) {
        while mood.load(Ordering::SeqCst) == Mood::Pause as u8 {
            std::thread::sleep(Duration::from_millis(2));
        }
        let cut = answers && mood.load(Ordering::SeqCst) == Mood::CutAnswers as u8;
        let n_out = if cut { n / 2 } else { n };
        if n == 0 || to.write_all(&piece[..n_out]).is_err() || cut {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
