//! hyper's HTTP/1 server over bytes in memory: nothing waits, so one poll after another needs no runtime.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::task::noop_waker;
use http_body_util::Empty;
use hyper::body::{Body, Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};

/// A request as hyper sees it.
#[derive(Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    pub authority: Option<String>,
    pub is_old: bool,
    /// Bytes of the body; `None` for chunks.
    pub length: Option<u64>,
}

/// The first request in `input`; `None` when hyper refuses it.
pub fn read(input: &[u8]) -> Option<Seen> {
    let seen = Rc::new(RefCell::new(None));
    let service = service_fn(|request: Request<Incoming>| {
        seen.borrow_mut().get_or_insert_with(|| Seen::of(&request));
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let io = Memory { input, at: 0 };
    let mut connection = Box::pin(http1::Builder::new().serve_connection(io, service));
    let waker = noop_waker();
    // Reads and writes are always ready: a few turns end every connection.
    for _ in 0..16 {
        let turn = Future::poll(connection.as_mut(), &mut Context::from_waker(&waker));
        if turn.is_ready() || seen.borrow().is_some() {
            break;
        }
    }
    drop(connection);
    seen.take()
}

impl Seen {
    fn of(request: &Request<Incoming>) -> Self {
        let uri = request.uri();
        Self {
            method: request.method().to_string(),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
            authority: uri.authority().map(ToString::to_string),
            is_old: request.version() == hyper::Version::HTTP_10,
            length: request.body().size_hint().exact(),
        }
    }
}

struct Memory<'a> {
    input: &'a [u8],
    at: usize,
}

impl Read for Memory<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let rest = &self.input[self.at..];
        let bytes = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..bytes]);
        self.at += bytes;
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
