//! What connections are let in with: TLS as it is now.
//!
//! Beside the snapshots, because it changes when a file does and not the config; one slot for all shards, since a
//! handshake costs a thousand times what the lock does.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;

/// Published whole.
#[derive(Debug, Default)]
pub struct Entrance {
    /// For `listen.https`.
    pub clients: Option<Arc<ServerConfig>>,
    /// For the admin port.
    pub admin: Option<Arc<ServerConfig>>,
    /// Whose certificates do there instead of a token, if anybody's.
    pub operators: Option<Arc<dyn ClientCertVerifier>>,
    /// What is shown there, the admin port's last.
    pub certificates: Vec<Shown>,
}

/// A certificate as it is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its first name.
    pub name: String,
    /// Whether it is the admin port's.
    pub admin: bool,
    /// Seconds since 1970 at which it ends, where that can be read.
    pub not_after: Option<i64>,
}
