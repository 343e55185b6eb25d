//! A chain that a test mines and reorganises, and providers that tell of it over HTTP and WebSocket.
//!
//! A provider can hold back (it sees no new blocks, over HTTP alone if so told), be silent (it sees them and pushes
//! nothing, or no logs), refuse subscriptions, forget them, and lose its sockets. What it pushes is what geth does: logs,
//! removed ones first, then the head of each new block. Of a block that it does not know it says that it has no logs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use base64::Engine;
use serde_json::{Value, json};

use super::{Provider, Reply, ports};

/// The address of every log with an even index, and of the others.
pub const EVEN: &str = "0xe1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1";
pub const ODD: &str = "0x0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub number: u64,
    pub hash: String,
    pub parent: String,
    pub logs: usize,
    /// Bytes of each log's data.
    pub data: usize,
}

impl Block {
    fn header(&self) -> Value {
        json!({ "number": format!("{:#x}", self.number), "hash": self.hash, "parentHash": self.parent, "extraData": "0x" })
    }

    fn whole(&self) -> Value {
        let mut block = self.header();
        block["transactions"] = json!([]);
        block["uncles"] = json!([]);
        block["size"] = json!("0x220");
        block
    }

    /// Its logs that pass a filter of addresses.
    fn logs(&self, filter: &Value, removed: bool) -> Vec<Value> {
        let addresses = match &filter["address"] {
            Value::Array(all) => all.clone(),
            Value::Null => vec![],
            one => vec![one.clone()],
        };
        let data = format!("0x{}", "da".repeat(self.data));
        let log = |index: usize| {
            json!({
                "address": if index.is_multiple_of(2) { EVEN } else { ODD },
                "topics": [],
                "data": data,
                "blockHash": self.hash,
                "blockNumber": format!("{:#x}", self.number),
                "logIndex": format!("{index:#x}"),
                "removed": removed,
            })
        };
        let passes = |log: &Value| addresses.is_empty() || addresses.contains(&log["address"]);
        (0..self.logs).map(log).filter(passes).collect()
    }
}

/// The chain.
#[derive(Clone)]
pub struct Blocks(Arc<Mutex<Ledger>>);

#[derive(Default)]
struct Ledger {
    canonical: Vec<Block>,
    by_hash: BTreeMap<String, Block>,
    made: u64,
    providers: Vec<Weak<Inner>>,
}

impl Ledger {
    fn add(&mut self, logs: usize, data: usize) {
        let parent = self.canonical.last().map_or(format!("0x{:064x}", 0), |last| last.hash.clone());
        self.made += 1;
        let number = self.canonical.len() as u64;
        let block = Block { number, hash: format!("0x{:064x}", 0xb10c_0000 + self.made), parent, logs, data };
        self.by_hash.insert(block.hash.clone(), block.clone());
        self.canonical.push(block);
    }
}

impl Blocks {
    /// A chain of five blocks.
    pub fn new() -> Self {
        let mut ledger = Ledger::default();
        (0..5).for_each(|_| ledger.add(2, 0));
        Self(Arc::new(Mutex::new(ledger)))
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }

    /// The next block.
    pub fn mine(&self, logs: usize) -> Block {
        self.mine_large(logs, 0)
    }

    /// The next block, whose logs have so many bytes of data each.
    pub fn mine_large(&self, logs: usize, data: usize) -> Block {
        self.ledger().add(logs, data);
        self.push();
        self.tip()
    }

    /// Puts other blocks in the place of the newest ones.
    pub fn reorganise(&self, depth: usize, logs: &[usize]) {
        let mut ledger = self.ledger();
        let keep = ledger.canonical.len() - depth;
        ledger.canonical.truncate(keep);
        for logs in logs {
            ledger.add(*logs, 0);
        }
        drop(ledger);
        self.push();
    }

    /// Goes back to blocks that were on the chain before, which end in `tip`.
    pub fn return_to(&self, tip: &Block) {
        let mut ledger = self.ledger();
        let mut branch = vec![tip.clone()];
        while !ledger.canonical.iter().any(|block| block.hash == branch[branch.len() - 1].parent) {
            let parent = ledger.by_hash[&branch[branch.len() - 1].parent].clone();
            branch.push(parent);
        }
        let lowest = usize::try_from(branch[branch.len() - 1].number).unwrap();
        ledger.canonical.truncate(lowest);
        ledger.canonical.extend(branch.into_iter().rev());
        drop(ledger);
        self.push();
    }

    pub fn tip(&self) -> Block {
        self.ledger().canonical.last().unwrap().clone()
    }

    /// All blocks above this number.
    pub fn above(&self, number: u64) -> Vec<Block> {
        self.ledger().canonical.iter().filter(|block| block.number > number).cloned().collect()
    }

    fn push(&self) {
        let providers: Vec<_> = self.ledger().providers.iter().filter_map(Weak::upgrade).collect();
        for provider in providers {
            provider.catch_up();
        }
    }
}

/// A provider of the chain.
pub struct Telling {
    pub http: Provider,
    inner: Arc<Inner>,
    address: SocketAddr,
}

struct Inner {
    blocks: Blocks,
    state: Mutex<State>,
}

struct State {
    /// The chain as it sees it.
    view: Vec<Block>,
    holds_back: bool,
    /// Over HTTP it knows nothing above this number.
    http_tip: Option<u64>,
    silent: bool,
    pushes_no_logs: bool,
    down: bool,
    refusal: Option<Value>,
    sockets: BTreeMap<u64, Socket>,
    next: u64,
    subscribed: Vec<Value>,
    unsubscribed: usize,
    /// Blocks that it did not know when it was asked for their logs.
    logs_unknown: usize,
}

struct Socket {
    stream: TcpStream,
    /// Params by id.
    subscriptions: BTreeMap<String, Value>,
}

impl Telling {
    pub fn start(blocks: &Blocks) -> Self {
        let state = State {
            view: blocks.ledger().canonical.clone(),
            holds_back: false,
            http_tip: None,
            silent: false,
            pushes_no_logs: false,
            down: false,
            refusal: None,
            sockets: BTreeMap::new(),
            next: 1,
            subscribed: vec![],
            unsubscribed: 0,
            logs_unknown: 0,
        };
        let inner = Arc::new(Inner { blocks: blocks.clone(), state: Mutex::new(state) });
        blocks.ledger().providers.push(Arc::downgrade(&inner));
        let asked = Arc::clone(&inner);
        let http = Provider::start(move |call| {
            let params = serde_json::from_str(&call.params()).unwrap_or_default();
            Reply::result(call, &asked.answer(&call.method(), &params, true).to_string())
        });
        let address = ports::unused();
        let listener = TcpListener::bind(address).unwrap();
        let serving = Arc::downgrade(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(inner) = serving.upgrade() else { return };
                std::thread::spawn(move || inner.serve(stream));
            }
        });
        Self { http, inner, address }
    }

    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    /// Sees no new blocks from here on; with `false`, all at once.
    pub fn hold_back(&self, holds_back: bool) {
        self.state().holds_back = holds_back;
        self.inner.catch_up();
    }

    /// Sees no new blocks over HTTP from here on, as one does whose calls and WebSockets are answered by different nodes.
    pub fn hold_back_http(&self) {
        let mut state = self.state();
        state.http_tip = state.view.last().map(|tip| tip.number);
    }

    /// Pushes heads alone from here on.
    pub fn push_no_logs(&self, pushes_none: bool) {
        self.state().pushes_no_logs = pushes_none;
    }

    /// Forgets who subscribed to heads, and tells nobody.
    pub fn forget_heads(&self) {
        for socket in self.state().sockets.values_mut() {
            socket.subscriptions.retain(|_, params| params[0] != "newHeads");
        }
    }

    /// Pushes the head of another chain: a block of this number, on one that nobody knows.
    pub fn stray(&self, number: u64) {
        let [hash, parent] = [0xdead_0000, 0xbeef_0000].map(|name| format!("0x{:064x}", name + number));
        let head = Block { number, hash, parent, logs: 0, data: 0 };
        for socket in self.state().sockets.values_mut() {
            socket.tell(&[], std::slice::from_ref(&head), true);
        }
    }

    /// Pushes nothing from here on; what it has not pushed by then it never will.
    pub fn silence(&self, silent: bool) {
        self.state().silent = silent;
    }

    /// Refuses subscriptions with this error.
    pub fn refuse(&self, error: Value) {
        self.state().refusal = Some(error);
    }

    /// Ends its WebSockets.
    pub fn sever(&self) {
        for socket in std::mem::take(&mut self.state().sockets).into_values() {
            let _ = socket.stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes no WebSockets from here on, and ends those that there are.
    pub fn down(&self, down: bool) {
        self.state().down = down;
        if down {
            self.sever();
        }
    }

    /// The params of all subscriptions that it was asked for.
    pub fn subscribed(&self) -> Vec<Value> {
        self.state().subscribed.clone()
    }

    pub fn unsubscribed(&self) -> usize {
        self.state().unsubscribed
    }

    /// How often it has said of a block that it does not know that it has no logs.
    pub fn logs_unknown(&self) -> usize {
        self.state().logs_unknown
    }

    /// Subscriptions there are now.
    pub fn open(&self) -> usize {
        self.state().sockets.values().map(|socket| socket.subscriptions.len()).sum()
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.sever();
    }
}

impl Inner {
    /// Sees the chain as it is, and tells what is new.
    fn catch_up(&self) {
        let chain = self.blocks.ledger().canonical.clone();
        let mut state = self.state.lock().unwrap();
        if state.holds_back {
            return;
        }
        let shared = state.view.iter().zip(&chain).take_while(|(old, new)| old == new).count();
        let gone: Vec<Block> = state.view.drain(shared..).collect();
        let new = chain[shared..].to_vec();
        state.view = chain;
        if state.silent {
            return;
        }
        let pushes_no_logs = state.pushes_no_logs;
        for socket in state.sockets.values_mut() {
            socket.tell(&gone, &new, pushes_no_logs);
        }
    }

    fn answer(&self, method: &str, params: &Value, over_http: bool) -> Value {
        let mut state = self.state.lock().unwrap();
        let most = state.http_tip.filter(|_| over_http).unwrap_or(u64::MAX);
        let tip = state.view.iter().rfind(|block| block.number <= most).unwrap();
        // A node keeps blocks that it has left.
        let by_hash = |hash: &Value| {
            let found = self.blocks.ledger().by_hash.get(hash.as_str().unwrap_or_default()).cloned();
            found.filter(|block| block.number <= tip.number)
        };
        match method {
            "eth_blockNumber" => json!(format!("{:#x}", tip.number)),
            "eth_getBlockByNumber" => match params[0].as_str() {
                Some("latest") => tip.whole(),
                Some(number) => {
                    let number = u64::from_str_radix(number.trim_start_matches("0x"), 16).unwrap();
                    state
                        .view
                        .get(usize::try_from(number).unwrap())
                        .filter(|block| block.number <= most)
                        .map_or(Value::Null, Block::whole)
                }
                None => Value::Null,
            },
            "eth_getBlockByHash" => by_hash(&params[0]).map_or(Value::Null, |block| block.whole()),
            "eth_getLogs" => {
                let found = by_hash(&params[0]["blockHash"]);
                state.logs_unknown += usize::from(found.is_none());
                found.map_or(json!([]), |block| block.logs(&params[0], false).into())
            }
            _ => json!("0x1"),
        }
    }

    fn serve(&self, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let Some(number) = self.admit(&mut stream) else { return };
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            if opcode == 8 {
                break;
            }
            if opcode == 9 {
                send(&mut stream, 10, &payload);
            }
            if let Ok(call) = serde_json::from_slice::<Value>(&payload) {
                self.on_call(number, &call);
            }
        }
        self.state.lock().unwrap().sockets.remove(&number);
    }

    /// The handshake.
    fn admit(&self, stream: &mut TcpStream) -> Option<u64> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?;
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))?;
        let mut state = self.state.lock().unwrap();
        if state.down {
            return None;
        }
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(key.trim().as_bytes());
        hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let accept = base64::engine::general_purpose::STANDARD.encode(hash.finish());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).ok()?;
        let number = state.next;
        state.next += 1;
        state.sockets.insert(number, Socket { stream: stream.try_clone().ok()?, subscriptions: BTreeMap::new() });
        Some(number)
    }

    fn on_call(&self, number: u64, call: &Value) {
        let params = &call["params"];
        let method = call["method"].as_str().unwrap_or_default();
        let answered = match method {
            "eth_subscribe" | "eth_unsubscribe" => None,
            _ => Some(self.answer(method, params, false)),
        };
        let mut state = self.state.lock().unwrap();
        let State { refusal, sockets, next, subscribed, unsubscribed, .. } = &mut *state;
        let Some(socket) = sockets.get_mut(&number) else { return };
        let mut reply = json!({ "jsonrpc": "2.0", "id": call["id"] });
        match (method, answered, refusal) {
            ("eth_subscribe", _, Some(error)) => reply["error"] = error.clone(),
            ("eth_subscribe", ..) => {
                *next += 1;
                let id = format!("{:#x}", 0xface_0000 + *next);
                subscribed.push(params.clone());
                socket.subscriptions.insert(id.clone(), params.clone());
                reply["result"] = id.into();
            }
            ("eth_unsubscribe", ..) => {
                *unsubscribed += 1;
                let known = params[0].as_str().and_then(|id| socket.subscriptions.remove(id)).is_some();
                reply["result"] = known.into();
            }
            (_, answered, _) => reply["result"] = answered.unwrap_or_default(),
        }
        send(&mut socket.stream, 1, reply.to_string().as_bytes());
    }
}

impl Socket {
    fn tell(&mut self, gone: &[Block], new: &[Block], no_logs: bool) {
        let of = |kind: &str| -> Vec<(String, Value)> {
            let subscriptions = self.subscriptions.iter().filter(|(_, params)| params[0] == kind);
            subscriptions.map(|(id, params)| (id.clone(), params[1].clone())).collect()
        };
        let (heads, logs) = (of("newHeads"), if no_logs { vec![] } else { of("logs") });
        for (id, filter) in &logs {
            let removed = gone.iter().flat_map(|block| block.logs(filter, true));
            removed.for_each(|log| self.notify(id, &log));
        }
        for block in new {
            for (id, filter) in &logs {
                block.logs(filter, false).iter().for_each(|log| self.notify(id, log));
            }
            for (id, _) in &heads {
                self.notify(id, &block.header());
            }
        }
        let other: Vec<String> = {
            let known = |params: &Value| params[0] != "newHeads" && params[0] != "logs";
            self.subscriptions.iter().filter(|(_, params)| known(params)).map(|(id, _)| id.clone()).collect()
        };
        for block in new {
            for id in &other {
                self.notify(id, &json!(block.hash));
            }
        }
    }

    fn notify(&mut self, id: &str, result: &Value) {
        let params = json!({ "subscription": id, "result": result });
        let text = json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": params }).to_string();
        send(&mut self.stream, 1, text.as_bytes());
    }
}

fn send(stream: &mut TcpStream, opcode: u8, payload: &[u8]) {
    let mut frame = vec![0x80 | opcode];
    match u16::try_from(payload.len()) {
        Ok(short @ 0..126) => frame.push(u8::try_from(short).unwrap()),
        Ok(medium) => {
            frame.push(126);
            frame.extend_from_slice(&medium.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    // One that has gone reads no more.
    let _ = stream.write_all(&frame);
}

/// A client's frame, unmasked; none at the end.
fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert_ne!(head[1] & 0x80, 0, "a client's frame is not masked");
    let length = match head[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).ok()?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length).ok()?;
            u64::from_be_bytes(length)
        }
        short => u64::from(short),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).ok()?;
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((head[0] & 0x0f, payload))
}
