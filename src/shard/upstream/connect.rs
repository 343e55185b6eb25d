//! Opening a connection to a provider: every address that its name has, then TLS where the URL says so.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::TlsConnector;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use crate::config::Url;
use crate::limits;
use crate::shard::ring::{ConnectOptions, Ring};
use crate::shard::timers::{Elapsed, Timer};
use crate::shard::transport::Transport;
use crate::time::Instant;

/// Why no connection was made. None of the call's bytes were sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("its name leads to no address")]
    Unresolved,
    #[error("connecting failed: {0}")]
    Connect(io::Error),
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    #[error("connecting took too long")]
    Late,
}

impl From<Elapsed> for ConnectError {
    fn from(_: Elapsed) -> Self {
        Self::Late
    }
}

/// TLS towards one provider.
pub(crate) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// None for a plain URL, and for a host that can be no server's name, which the config does not let through.
    pub(crate) fn new(url: &Url, config: &Arc<ClientConfig>) -> Option<Self> {
        let name = ServerName::try_from(url.host.clone()).ok()?;
        url.tls.then(|| Self { connector: Arc::clone(config).into(), name })
    }

    async fn handshake(&self, transport: Transport) -> Result<Transport, ConnectError> {
        let Transport::Plain(stream) = transport else { return Ok(transport) };
        let stream = self.connector.connect(self.name.clone(), stream).await;
        Ok(Transport::Tls(Box::new(stream.map_err(ConnectError::Tls)?)))
    }
}

/// How long connecting may take, and what the kernel is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectLimits {
    pub(crate) timeout: Duration,
    pub(crate) user_timeout: Duration,
}

/// Tries `addresses` one after another, beginning with the one at `first`, until one connects or `deadline` passes.
/// Answers the transport and the position of the address that took it.
pub(crate) async fn open(
    ring: &Ring,
    timer: &Timer,
    addresses: &[std::net::SocketAddr],
    first: usize,
    tls: Option<&Tls>,
    limits: ConnectLimits,
    (now, deadline): (Instant, Instant),
) -> Result<(Transport, usize), ConnectError> {
    // Without delay: a call is written whole, and its last segment must not wait for an acknowledgement.
    let user_timeout = Some(limits.user_timeout);
    let options = ConnectOptions { nodelay: true, user_timeout, ..ConnectOptions::default() };
    let deadline = deadline.min(now + limits.timeout);
    let tries = addresses.len().min(limits::ADDRESSES_TRIED_MAX);
    let mut error = ConnectError::Unresolved;
    for turn in 0..tries {
        let position = (first + turn) % addresses.len();
        // An address that swallows packets must leave time for the others.
        let share = deadline.since(now) * u32::try_from(turn + 1).unwrap_or(u32::MAX)
            / u32::try_from(tries).unwrap_or(u32::MAX);
        let attempt = async {
            let stream = ring.connect(addresses[position], &options).await;
            let plain = Transport::Plain(stream.map_err(ConnectError::Connect)?);
            match tls {
                Some(tls) => tls.handshake(plain).await,
                None => Ok(plain),
            }
        };
        match timer.limit(now + share, attempt).await {
            Ok(Ok(transport)) => return Ok((transport, position)),
            Ok(Err(failed)) => error = failed,
            Err(elapsed) => error = elapsed.into(),
        }
    }
    Err(error)
}
