//! A provider: calls over HTTP and WebSocket, and a head for every subscription of heads, each in a message of its own.
//!
//! `GET /seen` tells the subscriptions that there are, and how many WebSockets.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use serde_json::{Value, json};

use crate::chain::{Chain, DIGITS, STAMP};
use crate::peer::{Peer, Poll, piece};
use crate::{frames, now_ns};

const LISTENER: u64 = u64::MAX;
/// How `perf/fanout` knows that it talks to us.
const BALANCE: &str = "0xde0b6b3a7640000";

struct Connection {
    peer: Peer,
    upgraded: bool,
    /// Of heads: their ids.
    heads: Vec<String>,
    /// Of anything else, that is told nothing.
    others: usize,
}

struct Provider {
    chain: Chain,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    subscriptions: u64,
}

pub fn run(port: u16, rate: u64) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.add(&listener, LISTENER)?;
    let mut provider =
        Provider { chain: Chain::new(now_ns()), connections: Vec::new(), free: Vec::new(), subscriptions: 0 };
    let (mut piece, interval) = (piece(), 1_000_000_000 / rate.max(1));
    let mut due = now_ns() + interval;
    loop {
        let now = now_ns();
        if now >= due {
            provider.push();
            due += interval;
        }
        for (id, ended) in poll.wait(due.saturating_sub(now))? {
            if id == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    provider.add(&poll, Peer::new(stream)?)?;
                }
            } else if !provider.serve(usize::try_from(id).unwrap_or(0), &mut piece)? || ended {
                provider.remove(usize::try_from(id).unwrap_or(0));
            }
        }
    }
}

impl Provider {
    fn add(&mut self, poll: &Poll, peer: Peer) -> io::Result<()> {
        let at = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        poll.add(&peer.stream, at as u64)?;
        self.connections[at] = Some(Connection { peer, upgraded: false, heads: Vec::new(), others: 0 });
        Ok(())
    }

    fn remove(&mut self, at: usize) {
        if self.connections[at].take().is_some() {
            self.free.push(at);
        }
    }

    /// A new block, and a copy of its header to each subscription.
    fn push(&mut self) {
        let header = self.chain.grow(now_ns());
        let mut frame = Vec::new();
        let id = "0".repeat(34);
        let message = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"eth_subscription\",\"params\":{{\"subscription\":\"{id}\",\"result\":{header}}}}}"
        );
        frames::write(&mut frame, frames::TEXT, message.as_bytes(), false);
        let place = |of: &str| memchr::memmem::find(&frame, of.as_bytes()).map(|at| at + of.len());
        let (Some(id_at), Some(stamp)) = (place("\"subscription\":\""), place(STAMP)) else { return };
        let copy = stamp + DIGITS..stamp + 2 * DIGITS;
        for connection in self.connections.iter_mut().flatten() {
            for id in &connection.heads {
                frame[id_at..id_at + id.len()].copy_from_slice(id.as_bytes());
                frame[copy.clone()].copy_from_slice(&hex(now_ns()));
                connection.peer.send(&frame);
            }
        }
    }

    /// Answers what has come; false when the connection is over.
    fn serve(&mut self, at: usize, piece: &mut [u8]) -> io::Result<bool> {
        let Some(mut connection) = self.connections.get_mut(at).and_then(Option::take) else { return Ok(true) };
        connection.peer.flush();
        let mut open = connection.peer.fill(piece)?;
        while open {
            let answered =
                if connection.upgraded { self.message(&mut connection) } else { self.request(&mut connection) };
            match answered {
                Some(go_on) => open = go_on,
                None => break,
            }
        }
        self.connections[at] = Some(connection);
        Ok(open)
    }

    /// One frame: whether to go on; `None` when there is none.
    fn message(&mut self, connection: &mut Connection) -> Option<bool> {
        let (opcode, payload, mask) = frames::first(&connection.peer.held)?;
        let end = payload.end;
        let text = frames::unmask(&connection.peer.held[payload], mask);
        connection.peer.held.drain(..end);
        let (opcode, answer) = match opcode {
            frames::PING => (frames::PONG, text),
            frames::CLOSE => (frames::CLOSE, text),
            frames::TEXT | frames::BINARY => (opcode, self.answers(&text, Some(connection))),
            _ => return Some(true),
        };
        let mut frame = Vec::new();
        frames::write(&mut frame, opcode, &answer, false);
        connection.peer.send(&frame);
        Some(opcode != frames::CLOSE)
    }

    fn request(&mut self, connection: &mut Connection) -> Option<bool> {
        let end = frames::head_end(&connection.peer.held)?;
        let head = String::from_utf8_lossy(&connection.peer.held[..end]).into_owned();
        if let Some(key) = frames::field(&head, "sec-websocket-key") {
            connection.peer.held.drain(..end);
            connection.upgraded = true;
            connection.peer.send(
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {}\r\n\r\n",
                    frames::accept(key)
                )
                .as_bytes(),
            );
            return Some(true);
        }
        let length: usize = frames::field(&head, "content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        let body = connection.peer.held.get(end..end + length)?.to_vec();
        connection.peer.held.drain(..end + length);
        let answer = if head.starts_with("GET ") { self.seen() } else { self.answers(&body, None) };
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
        connection.peer.send(&[head.as_bytes(), &answer].concat());
        Some(true)
    }

    fn seen(&self) -> Vec<u8> {
        let all = || self.connections.iter().flatten();
        json!({
            "heads": all().map(|connection| connection.heads.len()).sum::<usize>(),
            "others": all().map(|connection| connection.others).sum::<usize>(),
            "sockets": all().filter(|connection| connection.upgraded).count(),
        })
        .to_string()
        .into_bytes()
    }

    fn answers(&mut self, body: &[u8], mut socket: Option<&mut Connection>) -> Vec<u8> {
        match serde_json::from_slice(body) {
            Ok(Value::Array(calls)) => {
                let answers: Vec<String> = calls.iter().map(|call| self.answer(call, socket.as_deref_mut())).collect();
                format!("[{}]", answers.join(",")).into_bytes()
            }
            Ok(call) => self.answer(&call, socket).into_bytes(),
            Err(error) => {
                json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": error.to_string()}})
                    .to_string()
                    .into_bytes()
            }
        }
    }

    fn answer(&mut self, call: &Value, socket: Option<&mut Connection>) -> String {
        let result = match self.result(call, socket) {
            Some(result) => format!("\"result\":{result}"),
            None => "\"error\":{\"code\":-32601,\"message\":\"the method does not exist\"}".to_owned(),
        };
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{},{result}}}", call["id"])
    }

    fn result(&mut self, call: &Value, socket: Option<&mut Connection>) -> Option<String> {
        let parameter = call["params"][0].as_str().unwrap_or_default();
        Some(match call["method"].as_str()? {
            "eth_chainId" => "\"0x1\"".to_owned(),
            "net_version" => "\"1\"".to_owned(),
            "eth_syncing" => "false".to_owned(),
            "eth_getLogs" => "[]".to_owned(),
            "eth_blockNumber" => format!("\"{:#x}\"", self.chain.height()),
            "eth_getBalance" => format!("\"{BALANCE}\""),
            "eth_getBlockByNumber" | "eth_getBlockByHash" => {
                self.chain.block(parameter).unwrap_or_else(|| "null".to_owned())
            }
            "eth_subscribe" => {
                self.subscriptions += 1;
                let (id, connection) = (format!("0x{:032x}", self.subscriptions), socket?);
                match parameter {
                    "newHeads" => connection.heads.push(id.clone()),
                    _ => connection.others += 1,
                }
                format!("\"{id}\"")
            }
            "eth_unsubscribe" => {
                let connection = socket?;
                let before = connection.heads.len();
                connection.heads.retain(|id| id != parameter);
                if connection.heads.len() == before {
                    connection.others = connection.others.saturating_sub(1);
                }
                "true".to_owned()
            }
            _ => return None,
        })
    }
}

/// Sixteen digits.
fn hex(value: u64) -> [u8; DIGITS] {
    let mut digits = [0; DIGITS];
    for (at, digit) in digits.iter_mut().enumerate() {
        let nibble = (value >> (60 - 4 * at)) & 0xf;
        *digit = b"0123456789abcdef"[usize::try_from(nibble).unwrap_or(0)];
    }
    digits
}
