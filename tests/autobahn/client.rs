//! An echo client for the suite's fuzzing server: what our side towards providers reads and writes, over a plain socket.
//!
//! `cargo run --example autobahn-client -- ADDRESS AGENT [FIRST]` runs every case of the server, or from the FIRST on, and has
//! it write its report.
//! It answers with what it heard, in the frames and with the compression that were agreed on, and closes as the RFC says.

#![allow(clippy::print_stdout, reason = "it reports how far it has come")]

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use livechain::http::UpstreamParts;
use livechain::time::Instant;
use livechain::websocket::deflate::{DeflateTerms, Deflater, Inflater};
use livechain::websocket::{
    CloseCode, Closing, Event, Fault, Kind, Mask, NONCE_BYTES, Opcode, Reader, ReaderConfig, Role, UpgradeTemplate,
    write_close, write_frame,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Above the largest message of the suite, 16 MiB.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longer than any case lets the client wait.
const PATIENCE: Duration = Duration::from_mins(2);

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(agent)) = (arguments.next(), arguments.next()) else {
        return Err("usage: autobahn-client ADDRESS AGENT [FIRST]".into());
    };
    let first: u32 = arguments.next().map_or(Ok(1), |first| first.parse())?;
    let count: u32 = String::from_utf8(Client::open(&address, "/getCaseCount")?.run(false)?)?.parse()?;
    for case in first..=count {
        // How a case ends is the server's to judge: it may cut the connection as it likes.
        let outcome = Client::open(&address, &format!("/runCase?case={case}&agent={agent}")).and_then(|c| c.run(true));
        let word = outcome.map_or_else(|error| error.to_string(), |_| "done".to_owned());
        println!("case {case} of {count}: {word}");
    }
    Client::open(&address, &format!("/updateReports?agent={agent}"))?.run(false)?;
    Ok(())
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    reader: Reader,
    inflater: Option<Inflater>,
    deflater: Option<Deflater>,
    closing: Closing,
    masks: u32,
    began: std::time::Instant,
}

impl Client {
    fn open(address: &str, target: &str) -> Outcome<Self> {
        let terms = DeflateTerms::new(15, true);
        let (host, port) = address.rsplit_once(':').ok_or("an address has a port")?;
        let port = port.parse()?;
        let parts = UpstreamParts { target, host, port, tls: false, authorization: None, fields: &[], gzip: false };
        let template = UpgradeTemplate::new(&parts, Some(terms)).map_err(|field| format!("{field:?}"))?;
        let nonce: [u8; NONCE_BYTES] = SystemTime::UNIX_EPOCH.elapsed()?.as_nanos().to_ne_bytes();
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request = Vec::new();
        template.write(&mut request, &nonce);
        stream.write_all(&request)?;
        let mut input = Vec::new();
        let established = loop {
            if fill(&mut stream, &mut input)? == 0 {
                return Err("no answer to the handshake".into());
            }
            if let Some(established) = template.read_answer(&input, &nonce)? {
                break established;
            }
        };
        input.drain(..established.head_bytes);
        let agreed = established.deflate;
        let reader = Reader::new(ReaderConfig {
            role: Role::Client,
            message_bytes_max: MESSAGE_BYTES_MAX,
            compression: agreed.is_some(),
        });
        Ok(Self {
            stream,
            input,
            output: Vec::new(),
            reader,
            inflater: agreed.map(|agreed| Inflater::new(agreed.theirs)),
            deflater: agreed.and_then(|agreed| Deflater::new(agreed.ours)),
            closing: Closing::default(),
            masks: 0x5eed,
            began: std::time::Instant::now(),
        })
    }

    /// Serves the connection to its end; the last message that came. `echo`: messages go back.
    fn run(mut self, echo: bool) -> Outcome<Vec<u8>> {
        let mut last = Vec::new();
        loop {
            if let Err(fault) = self.take(echo, &mut last) {
                if self.closing.send() {
                    let mask = Some(self.mask());
                    write_close(&mut self.output, Some(fault.code()), &fault.to_string(), mask);
                }
                self.stream.write_all(&self.output)?;
                return Ok(last);
            }
            self.stream.write_all(&self.output)?;
            self.output.clear();
            // The server closes first; what it sends behind its goodbye is read to the end.
            if fill(&mut self.stream, &mut self.input)? == 0 {
                return Ok(last);
            }
        }
    }

    /// Takes what has come.
    fn take(&mut self, echo: bool, last: &mut Vec<u8>) -> Result<(), Fault> {
        let now = Instant::from_micros(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX));
        let (mut done, mut room) = (0, Vec::new());
        loop {
            let mask = Some(self.mask());
            let step = self.reader.read(now, &mut self.input[done..])?;
            done += step.consumed;
            let Some(event) = step.event else { break };
            let (kind, bytes) = match event {
                Event::Message { kind, compressed: true, bytes } => {
                    let inflater = self.inflater.as_mut().ok_or(Fault::ReservedBit)?;
                    let Event::Message { bytes, .. } = inflater.message(kind, bytes, &mut room, MESSAGE_BYTES_MAX)?
                    else {
                        continue;
                    };
                    (kind, bytes)
                }
                Event::Message { kind, bytes, .. } => (kind, bytes),
                Event::Ping(bytes) => {
                    if self.closing.is_open() {
                        write_frame(&mut self.output, Opcode::Pong, false, bytes, mask);
                    }
                    continue;
                }
                Event::Pong(_) => continue,
                Event::Close(close) => {
                    if self.closing.receive() {
                        let code = close.code.or(Some(CloseCode::NORMAL));
                        write_close(&mut self.output, code, "", mask);
                    }
                    continue;
                }
            };
            last.clear();
            last.extend_from_slice(bytes);
            if echo && self.closing.is_open() {
                let opcode = if kind == Kind::Text { Opcode::Text } else { Opcode::Binary };
                answer(&mut self.output, &mut self.deflater, opcode, last, mask);
            }
        }
        self.input.drain(..done);
        Ok(())
    }

    /// A masking key: another one each time is all that a test needs.
    fn mask(&mut self) -> Mask {
        self.masks = self.masks.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.masks.to_ne_bytes()
    }
}

fn answer(out: &mut Vec<u8>, deflater: &mut Option<Deflater>, opcode: Opcode, message: &[u8], mask: Option<Mask>) {
    let mut packed = Vec::new();
    if deflater.as_mut().is_some_and(|deflater| deflater.deflate(message, &mut packed)) {
        write_frame(out, opcode, true, &packed, mask);
    } else {
        write_frame(out, opcode, false, message, mask);
    }
}

fn fill(stream: &mut TcpStream, input: &mut Vec<u8>) -> Outcome<usize> {
    let mut piece = vec![0; 64 * 1024];
    match stream.read(&mut piece) {
        Ok(count) => {
            input.extend_from_slice(&piece[..count]);
            Ok(count)
        }
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(0),
        Err(error) => Err(error.into()),
    }
}
