//! Clients that call without a pause, and hold a node to its word: no call fails, and a connection ends between calls
//! only.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::{Client, eventually};

/// What came of a load.
#[derive(Debug, Default)]
pub struct Tally {
    pub calls: usize,
    /// Connections that the node ended between calls.
    pub ended: usize,
    pub failures: Vec<String>,
}

/// A load that goes on until it is finished.
pub struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// `width` connections that make this call over and over; every answer must have a result.
    pub fn start(address: SocketAddr, width: usize, path: &str, body: &str) -> Self {
        let (stop, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let workers = (0..width)
            .map(|_| {
                let (stop, calls, path, body) = (stop.clone(), calls.clone(), path.to_owned(), body.to_owned());
                std::thread::spawn(move || work(address, &path, &body, &stop, &calls))
            })
            .collect();
        Self { stop, calls, workers }
    }

    /// Waits until so many more calls were answered.
    pub fn wait_calls(&self, more: usize) {
        let goal = self.calls.load(Ordering::SeqCst) + more;
        eventually("calls to be answered", || (self.calls.load(Ordering::SeqCst) >= goal).then_some(()));
    }

    pub fn finish(self) -> Tally {
        self.stop.store(true, Ordering::SeqCst);
        let mut tally = Tally::default();
        for worker in self.workers {
            let one = worker.join().unwrap();
            tally.calls += one.calls;
            tally.ended += one.ended;
            tally.failures.extend(one.failures);
        }
        tally
    }
}

fn work(address: SocketAddr, path: &str, body: &str, stop: &AtomicBool, calls: &AtomicUsize) -> Tally {
    let mut tally = Tally::default();
    let mut connection: Option<(Client, TcpStream)> = None;
    while !stop.load(Ordering::SeqCst) {
        if connection.as_mut().is_some_and(|(_, probe)| has_ended(probe)) {
            tally.ended += 1;
            connection = None;
        }
        if connection.is_none() {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    connection = Some((Client::over(stream.try_clone().unwrap()), stream));
                }
                Err(e) => {
                    tally.failures.push(format!("connect: {e}"));
                    continue;
                }
            }
        }
        let Some((client, _)) = connection.as_mut() else {
            continue;
        };
        tally.calls += 1;
        match client.post(path, body).try_answer() {
            Ok(Some(answer)) if answer.status == 200 && answer.raw("result").is_some() => {
                calls.fetch_add(1, Ordering::SeqCst);
                if answer.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("close")) {
                    tally.ended += 1;
                    connection = None;
                }
            }
            Ok(Some(answer)) => {
                tally.failures.push(format!("{} {}", answer.head.line, answer.text()));
            }
            other => {
                tally.failures.push(format!("no answer to a call: {:?}", other.err()));
                connection = None;
            }
        }
    }
    tally
}

/// Whether the peer has ended a connection on which nothing is expected.
fn has_ended(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let ended = !matches!(stream.read(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    ended
}
