//! The admin port's connections: few, and none that idles for ever.
//!
//! Anybody who reaches the port can open connections before a token is asked for, and every one costs a descriptor that
//! the data port might need. axum's server bounds neither their number nor their silence nor how long a request may take to
//! come; this does. One more than allowed waits in the kernel's queue until another has gone; strangers have to ([`seat`](super::seat)).
//!
//! Requests are not told apart here: one begins with the connection, or with the first bytes behind an answer's, and no
//! number of bytes puts its end off; it has come when its answer begins.
//!
//! Where the config has a certificate for it, the port speaks TLS. A handshake is part of its connection's first read, so that one
//! that stalls holds up nobody; it shares the connection's patience.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::seat::{Places, Seat};
use crate::control::View;
use crate::limits;

/// Accepts at most [`limits::ADMIN_CONNECTIONS_MAX`] connections at a time.
pub(super) struct Bounded {
    listener: TcpListener,
    view: Arc<View>,
    places: Places,
}

/// A connection that ends after [`limits::ADMIN_IDLE`] without a byte in either direction, [`limits::ADMIN_REQUEST`] after the
/// start of a request without an answer, and a stranger's after [`limits::ADMIN_STRANGER`] whatever it does.
pub(super) struct Connection {
    stream: Wire,
    seat: Seat,
    /// How long it may be a stranger's.
    strange: Pin<Box<Sleep>>,
    patience: Pin<Box<Sleep>>,
    /// When the next answer must have begun, once its request has.
    answer_by: Option<Instant>,
    /// Something is kept here that the client does not take.
    stuck: bool,
    /// The last word is said: patience ends when it would have.
    ending: bool,
    _room: OwnedSemaphorePermit,
}

/// Plain, or with TLS, whose handshake may still be under way.
enum Wire {
    Plain(TcpStream),
    Shaking(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected<IncomingStream<'_, Bounded>> for Seat {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        stream.io().seat.clone()
    }
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, view: Arc<View>) -> Self {
        Self { listener, view, places: Places::new(limits::ADMIN_CONNECTIONS_MAX) }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let room = self.places.next().await;
        // Waits out its errors.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // As it is now: certificates change.
        let stream = match &self.view.entrance().admin {
            Some(config) => Wire::Shaking(Box::new(TlsAcceptor::from(Arc::clone(config)).accept(stream))),
            None => Wire::Plain(stream),
        };
        let now = Instant::now();
        let answer_by = now + limits::ADMIN_REQUEST;
        let patience = Box::pin(sleep_until(answer_by));
        let connection = Connection {
            stream,
            seat: self.places.seat(),
            strange: Box::pin(sleep_until(now + limits::ADMIN_STRANGER)),
            patience,
            answer_by: Some(answer_by),
            stuck: false,
            ending: false,
            _room: room,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connection {
    /// Some of a request has come: the first of it says by when it is answered.
    fn asked(&mut self) {
        let answer_by = *self.answer_by.get_or_insert_with(|| Instant::now() + limits::ADMIN_REQUEST);
        self.be_patient(answer_by);
    }

    /// Some of an answer has gone out: no request is owed one.
    fn answered(&mut self) {
        self.answer_by = None;
        self.be_patient(Instant::now() + limits::ADMIN_IDLE);
    }

    fn be_patient(&mut self, until: Instant) {
        if !self.ending {
            self.patience.as_mut().reset(until);
        }
    }

    /// Goes on with the handshake; ready when there is none under way.
    fn shake_hands(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Wire::Shaking(shaking) = &mut self.stream {
            let Poll::Ready(result) = Pin::new(shaking.as_mut()).poll(context) else { return Poll::Pending };
            let stream = result?;
            if let Some(certificates) = stream.get_ref().1.peer_certificates() {
                self.seat.shown(certificates);
            }
            self.stream = Wire::Tls(Box::new(stream));
        }
        Poll::Ready(Ok(()))
    }

    /// The connection, once its handshake is done.
    fn wire(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut AnyIo>>> {
        ready!(self.shake_hands(context))?;
        match &mut self.stream {
            Wire::Plain(stream) => Poll::Ready(Ok(Pin::new(stream) as Pin<&mut AnyIo>)),
            Wire::Tls(stream) => Poll::Ready(Ok(Pin::new(stream.as_mut()) as Pin<&mut AnyIo>)),
            Wire::Shaking(_) => Poll::Pending,
        }
    }

    /// Does something with it then.
    fn over_wire<T>(
        &mut self,
        context: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut AnyIo>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let wire = ready!(self.wire(context))?;
        act(wire, context)
    }

    /// What a direction that cannot go on says: an error once patience is over, or another needs the place.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let is_over = self.seat.gives_way(context)
            || (self.seat.is_strangers() && self.strange.as_mut().poll(context).is_ready())
            || self.patience.as_mut().poll(context).is_ready();
        if is_over { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }
}

/// What a connection does, whatever it goes over.
trait Io: AsyncRead + AsyncWrite {}

impl<T: AsyncRead + AsyncWrite> Io for T {}

type AnyIo = dyn Io;

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = self.over_wire(context, |wire, context| wire.poll_read(context, into));
        match read {
            Poll::Ready(result) => {
                // Its end is no request.
                if into.filled().len() > before {
                    self.asked();
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.wait(context),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.over_wire(context, |wire, context| wire.poll_write(context, bytes));
        match written {
            Poll::Ready(result) => {
                // TLS takes a good deal that it only keeps.
                if !self.stuck {
                    self.answered();
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.wait(context),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.over_wire(context, AsyncWrite::poll_flush);
        // A handshake is no answer.
        let is_stuck = flushed.is_pending() && !matches!(self.stream, Wire::Shaking(_));
        let was_stuck = mem::replace(&mut self.stuck, is_stuck);
        match flushed {
            Poll::Ready(result) => {
                if was_stuck {
                    self.answered();
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.wait(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.stream, Wire::Shaking(_)) {
            // Nobody to say goodbye to.
            return Poll::Ready(Ok(()));
        }
        self.ending = true;
        let ended = self.over_wire(context, AsyncWrite::poll_shutdown);
        if ended.is_pending() { self.wait(context) } else { ended }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use rustls_pki_types::{PrivateKeyDer, ServerName};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream as ClientStream;

    use super::*;

    async fn pair() -> (Bounded, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Bounded::new(listener, crate::admin::tests::view("")), address)
    }

    #[tokio::test]
    async fn one_more_than_allowed_waits_for_another_to_go() {
        let (mut bounded, address) = pair().await;
        bounded.places = Places::new(1);
        let _clients = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let (first, _) = bounded.accept().await;
        assert!(bounded.accept().now_or_never().is_none());
        drop(first);
        bounded.accept().await;
    }

    #[tokio::test]
    async fn of_strangers_the_oldest_gives_way_and_of_operators_none() {
        let (mut bounded, address) = pair().await;
        bounded.places = Places::new(3);
        let mut clients = Vec::new();
        let mut connections = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.unwrap());
            connections.push(bounded.accept().await.0);
        }
        connections[0].seat.let_in();
        clients.push(TcpStream::connect(address).await.unwrap());
        let (fourth, second) = {
            let (seated, rest) = connections.split_at_mut(1);
            assert!(seated[0].read_u8().now_or_never().is_none(), "it is an operator's");
            let mut second = rest[0].read_u8().boxed();
            assert!((&mut second).now_or_never().is_none());
            drop(second);
            (bounded.accept().now_or_never(), rest[0].read_u8().now_or_never())
        };
        assert!(fourth.is_none(), "there is no place yet");
        assert!(second.unwrap().is_err(), "it has to go");
        connections.remove(1);
        assert!(connections[1].read_u8().now_or_never().is_none(), "it is newer");
        connections.push(bounded.accept().await.0);
        for connection in &connections {
            connection.seat.let_in();
        }
        clients.push(TcpStream::connect(address).await.unwrap());
        assert!(bounded.accept().now_or_never().is_none());
        assert!(connections.iter_mut().all(|connection| connection.read_u8().now_or_never().is_none()));
    }

    #[tokio::test]
    async fn a_stranger_has_its_time_whatever_it_does_and_an_operator_more() {
        let (mut bounded, address) = pair().await;
        let _client = TcpStream::connect(address).await.unwrap();
        let (mut connection, _) = bounded.accept().await;
        let end = connection.strange.deadline();
        assert!(end <= Instant::now() + limits::ADMIN_STRANGER);
        connection.asked();
        connection.answered();
        assert_eq!(connection.strange.deadline(), end);
        connection.strange.as_mut().reset(Instant::now());
        assert_eq!(connection.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        connection.seat.let_in();
        assert!(connection.read_u8().now_or_never().is_none());
    }

    #[tokio::test]
    async fn silence_ends_a_connection() {
        let (mut bounded, address) = pair().await;
        let _client = TcpStream::connect(address).await.unwrap();
        let (mut connection, _) = bounded.accept().await;
        connection.patience.as_mut().reset(Instant::now());
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn bytes_put_no_answer_off_and_an_answer_puts_the_next_off() {
        let (mut bounded, address) = pair().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut connection, _) = bounded.accept().await;
        let first = connection.patience.deadline();
        assert!(first <= Instant::now() + limits::ADMIN_REQUEST);
        for _ in 0..3 {
            client.write_all(b"G").await.unwrap();
            connection.read_u8().await.unwrap();
            assert_eq!(connection.patience.deadline(), first);
        }
        for _ in 0..2 {
            let before = Instant::now();
            connection.write_all(b"H").await.unwrap();
            assert!(connection.patience.deadline() >= before + limits::ADMIN_IDLE, "silence between two requests");
        }
        client.write_all(b"GE").await.unwrap();
        connection.read_u8().await.unwrap();
        let second = connection.patience.deadline();
        assert!(second > first && second <= Instant::now() + limits::ADMIN_REQUEST);
        connection.read_u8().await.unwrap();
        assert_eq!(connection.patience.deadline(), second);
        client.shutdown().await.unwrap();
        assert_eq!(connection.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(connection.patience.deadline(), second, "an end asks for nothing");
    }

    #[tokio::test]
    async fn who_sends_a_byte_now_and_then_is_cut() {
        let (mut bounded, address) = pair().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut connection, _) = bounded.accept().await;
        connection.answer_by = Some(Instant::now() + Duration::from_millis(50));
        let drips = tokio::spawn(async move {
            for _ in 0..200 {
                if client.write_all(b"G").await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let error = loop {
            if let Err(error) = connection.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(connection);
        drips.await.unwrap();
    }

    /// A connection over TLS, and its client.
    async fn over_tls() -> (ClientStream<TcpStream>, Connection) {
        let own = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
        let server = server.unwrap().with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = TlsConnector::from(Arc::new(client.with_root_certificates(roots).with_no_client_auth()));
        let (mut bounded, address) = pair().await;
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut connection, _) = bounded.accept().await;
        let Wire::Plain(plain) = connection.stream else { panic!("no certificate, no TLS") };
        connection.stream = Wire::Shaking(Box::new(TlsAcceptor::from(Arc::new(server)).accept(plain)));
        let begun = connection.patience.deadline();
        assert!(connection.flush().now_or_never().is_none(), "there is nobody yet");
        let come = async {
            let mut client = client.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
            client.write_all(b"G").await.unwrap();
            client
        };
        let (client, read) = tokio::join!(come, connection.read_u8());
        read.unwrap();
        connection.flush().await.unwrap();
        assert_eq!(connection.patience.deadline(), begun, "a handshake is no answer");
        (client, connection)
    }

    /// The same, whose client takes nothing until there is something that cannot go out.
    async fn stuck() -> (ClientStream<TcpStream>, Connection) {
        let (client, mut connection) = over_tls().await;
        loop {
            connection.write_all(&[0; 1024]).await.unwrap();
            // The kernel takes some more a little later.
            if tokio::time::timeout(Duration::from_millis(50), connection.flush()).await.is_err() {
                return (client, connection);
            }
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_is_cut_while_the_rest_is_to_go_out() {
        let (_client, mut connection) = stuck().await;
        connection.patience.as_mut().reset(Instant::now());
        assert_eq!(connection.flush().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_takes_nothing_is_cut_after_the_last_word() {
        let (_client, mut connection) = stuck().await;
        assert!(connection.shutdown().now_or_never().is_none());
        let last = connection.patience.deadline();
        connection.asked();
        connection.answered();
        assert_eq!(connection.patience.deadline(), last, "nothing puts the end off");
        connection.patience.as_mut().reset(Instant::now());
        assert_eq!(connection.shutdown().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_is_only_kept_for_a_client_puts_nothing_off_until_it_is_taken() {
        let (mut client, mut connection) = stuck().await;
        let before = connection.patience.deadline();
        connection.write_all(b": alive\n\n").await.unwrap();
        assert_eq!(connection.patience.deadline(), before);
        let reads = tokio::spawn(async move { client.read_to_end(&mut Vec::new()).await });
        connection.flush().await.unwrap();
        assert!(connection.patience.deadline() > before);
        connection.shutdown().await.unwrap();
        drop(connection);
        reads.await.unwrap().unwrap();
    }
}
