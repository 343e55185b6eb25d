//! Thousands of clients that subscribe to heads, and what each received when.
//!
//! What is printed, a JSON object a line: `ready` when all are subscribed; then a line of input is waited for, and for a
//! moment in which nothing is under way: `begin`; and after so many heads, all of which everybody has received, `found`.
//! Between the last two nothing but those heads is sent, so that CPU time may be read at each. It ends when its input does.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use serde_json::json;

use crate::chain::{DIGITS, STAMP};
use crate::peer::{Peer, Poll, piece};
use crate::{frames, now_ns};

/// Handshakes under way.
const OPENING_MAX: usize = 64;
const OPEN_WITHIN_NS: u64 = 120_000_000_000;
/// Without a message for so long, something has ended.
const SILENCE_NS: u64 = 20_000_000_000;
/// After the last receipt of a head there is quiet for so long at least.
const QUIET_NS: u64 = 30_000_000;
const SUBSCRIBE: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_subscribe\",\"params\":[\"newHeads\"]}";

#[derive(PartialEq)]
enum State {
    Handshake,
    Asked,
    Subscribed,
}

struct Subscriber {
    peer: Peer,
    state: State,
    /// The number of the head that came last.
    last: Option<u64>,
}

/// What is known of one head.
#[derive(Default)]
struct Receipts {
    count: usize,
    last_ns: u64,
    made_ns: u64,
}

#[derive(Default)]
struct Found {
    heads: BTreeMap<u64, Receipts>,
    /// From the block's making, and from this copy's sending, to its receipt.
    from_made_ns: Vec<u64>,
    from_sent_ns: Vec<u64>,
}

struct Subscribers {
    poll: Poll,
    all: Vec<Subscriber>,
    found: Found,
    subscribed: usize,
    last_ns: u64,
    piece: Vec<u8>,
}

pub fn run(port: u16, path: &str, count: usize, heads: usize) -> io::Result<()> {
    let told = input();
    let began = now_ns();
    let mut subscribers = Subscribers {
        poll: Poll::new()?,
        all: Vec::with_capacity(count),
        found: Found::default(),
        subscribed: 0,
        last_ns: began,
        piece: piece(),
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    while subscribers.subscribed < count {
        while subscribers.all.len() < count && subscribers.all.len() - subscribers.subscribed < OPENING_MAX {
            subscribers.open(port, &request)?;
        }
        subscribers.turn()?;
        if now_ns() - began > OPEN_WITHIN_NS {
            return Err(io::Error::other(format!("{} of {count} are subscribed", subscribers.subscribed)));
        }
    }
    println!("{}", json!({"ready": count, "took_ms": (now_ns() - began) / 1_000_000}));
    while told.try_recv() == Err(TryRecvError::Empty) {
        subscribers.turn()?;
    }
    subscribers.measure(heads)?;
    while told.try_recv() != Err(TryRecvError::Disconnected) {
        subscribers.turn()?;
    }
    Ok(())
}

/// Lines of the input, from a thread that waits for them.
fn input() -> Receiver<()> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if line.is_err() || tell.send(()).is_err() {
                return;
            }
        }
    });
    told
}

impl Subscribers {
    fn open(&mut self, port: u16, request: &str) -> io::Result<()> {
        let mut peer = Peer::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?)?;
        self.poll.add(&peer.stream, self.all.len() as u64)?;
        peer.send(request.as_bytes());
        self.all.push(Subscriber { peer, state: State::Handshake, last: None });
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        for (id, ended) in self.poll.wait(5_000_000)? {
            let subscriber = &mut self.all[usize::try_from(id).unwrap_or(0)];
            subscriber.peer.flush();
            if !subscriber.peer.fill(&mut self.piece)? || ended {
                return Err(io::Error::other("a connection has ended"));
            }
            let now = now_ns();
            while let Some(head) = subscriber.step(&mut self.subscribed)? {
                self.last_ns = now;
                self.found.take(&head, now);
            }
        }
        if self.subscribed == self.all.len() && now_ns().saturating_sub(self.last_ns) > SILENCE_NS {
            return Err(io::Error::other("nothing comes"));
        }
        Ok(())
    }

    /// Waits until everybody has received the newest head, and for quiet after it.
    fn settle(&mut self) -> io::Result<()> {
        let all = self.all.len();
        loop {
            let whole = self.found.heads.last_key_value().is_some_and(|(_, receipts)| receipts.count == all);
            if whole && now_ns().saturating_sub(self.last_ns) > QUIET_NS {
                return Ok(());
            }
            self.turn()?;
        }
    }

    fn measure(&mut self, heads: usize) -> io::Result<()> {
        // From the next head on: the newest may have come to some while others were not yet subscribed.
        self.found = Found::default();
        self.settle()?;
        self.found = Found::default();
        println!("{}", json!({"begin": true}));
        while self.found.heads.values().filter(|receipts| receipts.count == self.all.len()).count() < heads {
            self.turn()?;
        }
        self.settle()?;
        let found = std::mem::take(&mut self.found);
        let last = found.heads.values().map(|receipts| receipts.last_ns - receipts.made_ns).collect();
        println!(
            "{}",
            json!({"found": {
                "heads": found.heads.len(),
                "messages": found.from_made_ns.len(),
                "last_receipt": percentiles(last),
                "receipt_from_made": percentiles(found.from_made_ns),
                "receipt_from_sent": percentiles(found.from_sent_ns),
            }})
        );
        Ok(())
    }
}

/// A head as a subscriber received it.
struct Head {
    number: u64,
    made_ns: u64,
    sent_ns: u64,
}

impl Subscriber {
    /// The next head in what is held, after whatever is before it.
    fn step(&mut self, subscribed: &mut usize) -> io::Result<Option<Head>> {
        if self.state == State::Handshake {
            let Some(end) = frames::head_end(&self.peer.held) else { return Ok(None) };
            if !self.peer.held.starts_with(b"HTTP/1.1 101 ") {
                let head = String::from_utf8_lossy(&self.peer.held).into_owned();
                return Err(io::Error::other(format!("no upgrade: {head}")));
            }
            self.peer.held.drain(..end);
            self.send(frames::TEXT, SUBSCRIBE.as_bytes());
            self.state = State::Asked;
        }
        while let Some((opcode, payload, _)) = frames::first(&self.peer.held) {
            let end = payload.end;
            let text = &self.peer.held[payload];
            let found = match opcode {
                frames::TEXT | frames::BINARY => head(text),
                frames::PING => {
                    let text = text.to_vec();
                    self.send(frames::PONG, &text);
                    None
                }
                _ => return Err(io::Error::other(format!("opcode {opcode}"))),
            };
            if found.is_none() && opcode != frames::PING {
                let text = &self.peer.held[..end];
                if self.state != State::Asked || memchr::memmem::find(text, b"\"result\"").is_none() {
                    return Err(io::Error::other(format!("no head: {}", String::from_utf8_lossy(text))));
                }
                self.state = State::Subscribed;
                *subscribed += 1;
            }
            self.peer.held.drain(..end);
            if let Some(head) = found {
                if self.last.is_some_and(|last| last + 1 != head.number) {
                    return Err(io::Error::other(format!("{} after {:?}", head.number, self.last)));
                }
                self.last = Some(head.number);
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = Vec::new();
        frames::write(&mut frame, opcode, payload, true);
        self.peer.send(&frame);
    }
}

impl Found {
    fn take(&mut self, head: &Head, now: u64) {
        let receipts = self.heads.entry(head.number).or_default();
        receipts.count += 1;
        receipts.last_ns = now;
        receipts.made_ns = head.made_ns;
        self.from_made_ns.push(now.saturating_sub(head.made_ns));
        self.from_sent_ns.push(now.saturating_sub(head.sent_ns));
    }
}

fn head(text: &[u8]) -> Option<Head> {
    let after = |of: &str| memchr::memmem::find(text, of.as_bytes()).map(|at| at + of.len());
    let stamp = after(STAMP)?;
    let hex = |digits: &[u8]| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let number = text.get(after("\"number\":\"0x")?..)?;
    let number = &number[..memchr::memchr(b'"', number)?];
    Some(Head {
        number: hex(number)?,
        made_ns: hex(text.get(stamp..stamp + DIGITS)?)?,
        sent_ns: hex(text.get(stamp + DIGITS..stamp + 2 * DIGITS)?)?,
    })
}

/// In microseconds.
fn percentiles(mut values: Vec<u64>) -> serde_json::Value {
    values.sort_unstable();
    let at =
        |share: usize| values.get((values.len() * share / 100).min(values.len().saturating_sub(1))).map(|ns| ns / 1000);
    json!({"p50_us": at(50), "p99_us": at(99), "max_us": values.last().map(|ns| ns / 1000)})
}
