//! A client that sends exactly the bytes that a test wants, and reads answers exactly.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::wire::{Ends, Head, Passed, Reader};
use super::{PATIENCE, json};

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: Head,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The raw bytes of the body's member `key`.
    pub fn raw(&self, key: &str) -> Option<String> {
        json::raw(&self.body, key)
    }

    /// The body's `result`, as raw bytes.
    ///
    /// # Panics
    /// When there is none.
    pub fn result(&self) -> String {
        self.raw("result").unwrap_or_else(|| panic!("no result in {} {}", self.head.line, self.text()))
    }

    /// The body's error.
    ///
    /// # Panics
    /// When there is none.
    pub fn error(&self) -> serde_json::Value {
        let document: serde_json::Value =
            serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.head.line, self.text()));
        let error = &document["error"];
        assert!(error.is_object(), "no error in {} {}", self.head.line, self.text());
        error.clone()
    }

    /// The error's code, and that it is one of ours: with a word for the reason and a message.
    pub fn own_error(&self) -> i64 {
        let error = self.error();
        let word = error["data"]["livechain"].as_str().or_else(|| error["data"]["livechain"]["reason"].as_str());
        assert!(word.is_some_and(|w| !w.is_empty()), "no word for the reason in {}", self.text());
        assert!(error["message"].as_str().is_some_and(|m| !m.is_empty()), "no message in {}", self.text());
        error["code"].as_i64().unwrap_or_else(|| panic!("no code in {}", self.text()))
    }
}

/// One connection to a node.
pub struct Client<S = TcpStream> {
    reader: Reader<S>,
}

impl Client {
    /// # Panics
    /// When the connection is refused.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap_or_else(|e| panic!("{address}: {e}"));
        Self::over(stream)
    }

    /// A connection that somebody else has opened.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::on(stream)
    }

    /// No more will be sent.
    pub fn finish(&mut self) -> &mut Self {
        let _ = self.reader.inner.shutdown(Shutdown::Write);
        self
    }
}

impl<S: Read + Write> Client<S> {
    /// On a connection of another kind.
    pub fn on(stream: S) -> Self {
        Self { reader: Reader::new(stream) }
    }

    /// The connection itself.
    pub fn stream(&mut self) -> &mut S {
        &mut self.reader.inner
    }

    /// Sends bytes. A peer that has already turned away is no error here: its answer is what counts.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.reader.inner.write_all(bytes.as_ref());
        self
    }

    /// Sends a call as one keep-alive request.
    pub fn post(&mut self, path: &str, body: &str) -> &mut Self {
        self.send(request(path, body))
    }

    /// Reads one answer.
    ///
    /// # Panics
    /// When none comes, or not a whole one.
    pub fn answer(&mut self) -> Answer {
        match self.try_answer() {
            Ok(Some(answer)) => answer,
            Ok(None) => panic!("the connection was closed without an answer"),
            Err(e) => panic!("no answer: {e}; got {:?}", String::from_utf8_lossy(self.reader.held())),
        }
    }

    /// Reads one answer; `None` when the connection ends instead.
    pub fn try_answer(&mut self) -> io::Result<Option<Answer>> {
        self.read_answer(false)
    }

    /// Reads the answer to a `HEAD` request, which has no body whatever its head says.
    pub fn answer_to_head(&mut self) -> Answer {
        self.read_answer(true).unwrap().expect("an answer")
    }

    fn read_answer(&mut self, bodiless: bool) -> io::Result<Option<Answer>> {
        let Some(head) = self.reader.head()? else {
            return Ok(None);
        };
        let status = head
            .line
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no status line: {:?}", head.line)))?;
        let bodiless = bodiless || status < 200 || status == 204 || status == 304;
        let body = if bodiless { Vec::new() } else { self.reader.body(framing(&head)?)? };
        Ok(Some(Answer { status, head, body }))
    }

    /// Reads a head and leaves the body to [`Client::pass`].
    ///
    /// # Panics
    /// When none comes.
    pub fn head(&mut self) -> Head {
        match self.reader.head() {
            Ok(Some(head)) => head,
            Ok(None) => panic!("the connection was closed without a head"),
            Err(e) => panic!("no head: {e}"),
        }
    }

    /// Reads the body behind a head to its end, and keeps none of it but its last bytes.
    pub fn pass(&mut self, head: &Head) -> io::Result<Passed> {
        self.reader.pass(framing(head)?)
    }

    /// Bytes that arrived beyond the last answer.
    pub fn held(&self) -> &[u8] {
        self.reader.held()
    }

    /// Whether the connection ends, without a further byte, within [`PATIENCE`].
    pub fn closes(&mut self) -> bool {
        match self.reader.fill() {
            Ok(more) => !more,
            Err(e) => matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
        }
    }
}

impl Client {
    /// Whether nothing comes, not even an end, for so long.
    pub fn quiet_for(&mut self, time: Duration) -> bool {
        self.reader.inner.set_read_timeout(Some(time)).unwrap();
        let outcome = self.reader.fill();
        self.reader.inner.set_read_timeout(Some(PATIENCE)).unwrap();
        matches!(outcome, Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    /// Makes the kernel hold little for us, so that not reading is soon felt.
    pub fn small_window(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }
}

/// How the body behind an answer's head ends.
fn framing(head: &Head) -> io::Result<Ends> {
    match (head.field("content-length"), head.field("transfer-encoding")) {
        (Some(n), None) => Ok(Ends::Length(n.parse().map_err(io::Error::other)?)),
        (None, Some("chunked")) => Ok(Ends::Chunked),
        (None, None) => Ok(Ends::WithConnection),
        both => Err(io::Error::other(format!("framing {both:?}"))),
    }
}

/// A keep-alive request with a body.
pub fn request(path: &str, body: &str) -> String {
    request_with(path, "", body)
}

/// The same with further fields, each ending in CR LF.
pub fn request_with(path: &str, fields: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
