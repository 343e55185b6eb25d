//! From an accepted connection to a client: who it is, whether there is room for it, and TLS.
//!
//! ```text
//! peer's address ─▶ PROXY header, from balancers ─▶ limits of the address ─▶ TLS, on `https` ─▶ client
//! ```
//!
//! All of it has one deadline, so that nothing that says nothing is kept. Who is turned away is seen off: told of the end,
//! and what it sends meanwhile is let pass, for closing at once with bytes unread would reset the connection and lose the
//! alert that says why.

use std::net::{IpAddr, Shutdown, SocketAddr};
use std::rc::Rc;

use super::Shard;
use super::guard::guarded;
use super::ring::Stream;
use super::timers::{Elapsed, Timer};
use super::tls::{Failed, Secure};
use super::transport::Transport;
use crate::limits;
use crate::link::{Admission, Crowded, Gauge, HandshakeEnd};
use crate::source::{self, Announced, ProxyHeader};
use crate::tenant::{AddressBlock, Network};
use crate::time::Instant;

/// A connection as it was accepted.
pub(crate) struct Arrival {
    pub(crate) stream: Stream,
    pub(crate) address: IpAddr,
    /// It speaks TLS.
    pub(crate) secure: bool,
    /// Its place among its address's connections: none for balancers, nor where there is no room to count it.
    admission: Option<Admission>,
    /// It begins with a PROXY header.
    announced: bool,
}

/// A client that may be served.
pub(crate) struct Arrived {
    pub(crate) transport: Transport,
    pub(crate) timer: Timer,
    pub(crate) address: IpAddr,
    /// Kept for as long as the connection is.
    pub(crate) admission: Option<Admission>,
}

impl Arrival {
    /// Counts it in, where its address is known already. None: it has no room, and is seen off.
    pub(crate) fn new(shard: &Rc<Shard>, stream: Stream, peer: SocketAddr, secure: bool) -> Option<Self> {
        // A listener for both families reports IPv4 in the clothes of IPv6.
        let address = peer.ip().to_canonical();
        let view = shard.view();
        let listen = &view.snapshot.config.listen;
        let announced = contains(&listen.proxy_protocol_from, address);
        let exempt = announced || contains(&listen.forwarded_for_from, address);
        let mut arrival = Self { stream, address, secure, admission: None, announced };
        if !exempt && let Err(crowded) = arrival.admit(shard) {
            turn_away(shard, crowded, arrival.stream);
            return None;
        }
        Some(arrival)
    }

    fn admit(&mut self, shard: &Shard) -> Result<(), Crowded> {
        let view = shard.view();
        let limits = &view.snapshot.config.listen.per_address;
        self.admission = shard.addresses.admit(AddressBlock::of(self.address), shard.clock.now(), limits)?;
        Ok(())
    }

    /// Everything before the first request. None: there is nobody to serve.
    pub(crate) async fn finish(mut self, shard: &Rc<Shard>) -> Option<Arrived> {
        let timer = shard.timers.timer();
        let view = shard.view();
        let listen = &view.snapshot.config.listen;
        let deadline = shard.clock.now() + listen.handshake_timeout;
        if self.announced {
            self = self.announce(shard, &timer, deadline).await?;
        }
        let Self { stream, address, secure, mut admission, .. } = self;
        if !secure {
            return Some(Arrived { transport: Transport::Plain(stream), timer, address, admission });
        }
        if let Some(admission) = &mut admission
            && let Err(crowded) = admission.begin_handshake(&listen.per_address)
        {
            turn_away(shard, crowded, stream);
            return None;
        }
        let secure = shake_hands(shard, stream, &timer, deadline).await;
        if let Some(admission) = &mut admission {
            admission.end_handshake();
        }
        Some(Arrived { transport: Transport::Served(Box::new(secure?)), timer, address, admission })
    }

    /// Takes the client's address from the header that its balancer sends first.
    async fn announce(mut self, shard: &Rc<Shard>, timer: &Timer, deadline: Instant) -> Option<Self> {
        let header = match begun(shard, &mut self.stream, timer, deadline).await {
            Begun::Speaks => timer.limit(deadline, read_header(&mut self.stream)).await.unwrap_or(Came::Other),
            Begun::Late => Came::Other,
            Begun::SentAway => return None,
        };
        let header = match header {
            Came::Header(header) => header,
            Came::Nothing => return None,
            Came::Other => {
                shard.counters.proxy_refused.add(1);
                see_off(shard, self.stream);
                return None;
            }
        };
        if let Announced::Client(client) = header.announced {
            self.address = client.ip().to_canonical();
            let listen = &shard.view().snapshot.config.listen;
            if !contains(&listen.forwarded_for_from, self.address)
                && let Err(crowded) = self.admit(shard)
            {
                turn_away(shard, crowded, self.stream);
                return None;
            }
        }
        Some(self)
    }
}

/// Whether one of `networks` has `address`.
pub(super) fn contains(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// What a connection begins with.
enum Came {
    Header(ProxyHeader),
    /// Its end: balancers connect to see whether somebody listens.
    Nothing,
    Other,
}

/// The PROXY header, and not a byte behind it.
async fn read_header(stream: &mut Stream) -> Came {
    let mut bytes = Vec::new();
    loop {
        let read = stream.read_with(|came| {
            let before = bytes.len();
            bytes.extend_from_slice(&came[..came.len().min(limits::PROXY_HEADER_BYTES_MAX - before)]);
            match source::proxy_header(&bytes) {
                // What was taken earlier was no whole header.
                Ok(Some(header)) => (header.bytes - before, Some(Came::Header(header))),
                Ok(None) if bytes.len() > before => (bytes.len() - before, None),
                Ok(None) if bytes.is_empty() => (0, Some(Came::Nothing)),
                Ok(None) | Err(_) => (0, Some(Came::Other)),
            }
        });
        match read.await {
            Ok(Some(found)) => return found,
            Ok(None) => {}
            Err(_) if bytes.is_empty() => return Came::Nothing,
            Err(_) => return Came::Other,
        }
    }
}

/// What a connection did that has said nothing yet.
enum Begun {
    /// Bytes, or its end.
    Speaks,
    Late,
    /// The node closes, and waits for nobody who says nothing.
    SentAway,
}

/// Waits for the first byte, as an idle connection does.
async fn begun(shard: &Shard, stream: &mut Stream, timer: &Timer, deadline: Instant) -> Begun {
    let _idle = shard.idle.enter(timer);
    match timer.limit(deadline, stream.closed_or_readable()).await {
        Ok(()) => Begun::Speaks,
        Err(_) if shard.clock.now() >= deadline => Begun::Late,
        Err(_) => Begun::SentAway,
    }
}

async fn shake_hands(shard: &Rc<Shard>, mut stream: Stream, timer: &Timer, deadline: Instant) -> Option<Secure> {
    let config = shard.entrance.load().1.clients.clone()?;
    let under_way = UnderWay::new(&shard.counters.handshakes_open);
    let begun = begun(shard, &mut stream, timer, deadline).await;
    let shaken = match begun {
        Begun::Speaks => timer.limit(deadline, Secure::accept(stream, config)).await,
        Begun::Late | Begun::SentAway => Err(Elapsed),
    };
    drop(under_way);
    match shaken {
        Err(_) if matches!(begun, Begun::SentAway) => None,
        Ok(Ok(secure)) => {
            shard.counters.handshake(secure.handshake());
            Some(secure)
        }
        Ok(Err(Failed { end, stream })) => {
            shard.counters.handshake(end);
            if let Some(stream) = stream {
                see_off(shard, stream);
            }
            None
        }
        Err(_) => {
            shard.counters.handshake(HandshakeEnd::Slow);
            None
        }
    }
}

fn turn_away(shard: &Rc<Shard>, crowded: Crowded, stream: Stream) {
    shard.counters.crowded[crowded as usize].add(1);
    see_off(shard, stream);
}

/// Ends the connection so that the client hears of it, in a task of its own.
fn see_off(shard: &Rc<Shard>, stream: Stream) {
    let Some(dismissed) = Dismissed::new(shard) else { return };
    let (ring, shard) = (shard.ring.clone(), Rc::clone(shard));
    ring.spawn(async move {
        let _dismissed = dismissed;
        guarded(&shard, let_pass(&shard, stream)).await;
    })
    .detach();
}

async fn let_pass(shard: &Shard, mut stream: Stream) {
    let timer = shard.timers.timer();
    let passing = async {
        // What was sent before, an alert, comes first.
        if stream.send(Vec::new()).await.is_err() || stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut bytes = 0;
        while bytes < limits::LINGER_BYTES_MAX {
            match stream.read_with(|came| (came.len(), came.len())).await {
                Ok(0) | Err(_) => return,
                Ok(count) => bytes += count,
            }
        }
    };
    let _ = timer.limit(shard.clock.now() + limits::DISMISSED_FOR, passing).await;
}

/// A handshake, counted among those under way until it is dropped.
struct UnderWay<'a>(&'a Gauge);

impl<'a> UnderWay<'a> {
    fn new(open: &'a Gauge) -> Self {
        open.set(open.get() + 1);
        Self(open)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A connection that is seen off, until it is dropped.
struct Dismissed(Rc<Shard>);

impl Dismissed {
    /// None: as many are as may be.
    fn new(shard: &Rc<Shard>) -> Option<Self> {
        let dismissed = shard.dismissed.get();
        if dismissed >= limits::DISMISSED_MAX {
            return None;
        }
        shard.dismissed.set(dismissed + 1);
        Some(Self(Rc::clone(shard)))
    }
}

impl Drop for Dismissed {
    fn drop(&mut self) {
        self.0.dismissed.set(self.0.dismissed.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;

    use futures_util::FutureExt;
    use rustls::ServerConfig;
    use rustls::server::ResolvesServerCertUsingSni;

    use super::*;
    use crate::link::Entrance;
    use crate::shard::alone::alone;
    use crate::shard::ring::ConnectOptions;

    const CONFIG: &str = "[[chains]]\nname = \"ethereum\"\nid = 1\n\
                          [[chains.providers]]\nid = \"alpha\"\nurl = \"http://127.0.0.1:1\"\n";

    fn entrance() -> Entrance {
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        Entrance { clients: Some(Arc::new(config)), ..Entrance::default() }
    }

    #[test]
    fn a_handshake_that_is_let_go_of_is_under_way_no_more() {
        let under_way = alone(CONFIG, |shard, _control| async move {
            shard.entrance.publish(Arc::new(entrance()));
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = shard.ring.connect(listener.local_addr().unwrap(), &ConnectOptions::default()).await.unwrap();
            let timer = shard.timers.timer();
            let deadline = shard.clock.now() + limits::DISMISSED_FOR;
            let mut shaking = Box::pin(shake_hands(&shard, stream, &timer, deadline));
            assert!(shaking.as_mut().now_or_never().is_none());
            let during = shard.counters.handshakes_open.get();
            // As a panic does.
            drop(shaking);
            (during, shard.counters.handshakes_open.get())
        });
        assert_eq!(under_way, (1, 0));
    }
}
