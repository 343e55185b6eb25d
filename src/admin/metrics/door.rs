//! How clients come in: handshakes, who is turned away, and until when certificates hold.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::registry::Unit;

use super::{Sheet, escape};
use crate::link::{Counters, Crowded, Entrance, HandshakeEnd};

impl Sheet<'_> {
    pub(super) fn door(&mut self, shards: &[Arc<Counters>], entrance: &Entrance) -> fmt::Result {
        let sum = |read: &dyn Fn(&Counters) -> u64| shards.iter().map(|shard| read(shard)).sum::<u64>();
        let ended = |end: HandshakeEnd| sum(&|shard| shard.handshakes[end as usize].get());
        let done = HandshakeEnd::ALL.iter().filter_map(|&end| end.done().map(|done| (end, done)));
        let rows = done.map(|(end, (version, resumed))| {
            (vec![("version", version.to_owned()), ("resumed", resumed.to_string())], ended(end))
        });
        self.counter("tls_handshakes", "TLS handshakes of clients that were done", None, rows)?;
        let failed = HandshakeEnd::ALL.iter().filter(|end| end.done().is_none());
        let rows = failed.map(|&end| (vec![("reason", end.name().to_owned())], ended(end)));
        self.counter("tls_failures", "TLS handshakes of clients that failed", None, rows)?;
        let open = sum(&|shard| shard.handshakes_open.get());
        self.gauge("tls_handshakes_under_way", "TLS handshakes of clients that have begun", None, [(vec![], open)])?;
        let rows = Crowded::ALL.iter().map(|&limit| {
            (vec![("limit", limit.name().to_owned())], sum(&|shard| shard.crowded[limit as usize].get()))
        });
        self.counter("connections_crowded", "Client connections over a limit of their address", None, rows)?;
        let refused = sum(&|shard| shard.proxy_refused.get());
        let help = "Connections of balancers without a PROXY header, or with a malformed one";
        self.counter("proxy_headers_refused", help, None, [(vec![], refused)])?;
        self.certificates(entrance)
    }

    /// Of several with one name, the first to end.
    fn certificates(&mut self, entrance: &Entrance) -> fmt::Result {
        let mut ends = BTreeMap::new();
        for shown in &entrance.certificates {
            let Some(not_after) = shown.not_after else { continue };
            let end = ends.entry((shown.admin, shown.name.as_str())).or_insert(not_after);
            *end = not_after.min(*end);
        }
        let rows = ends.into_iter().map(|((admin, name), end)| {
            let port = if admin { "admin" } else { "data" };
            (vec![("port", port.to_owned()), ("name", escape(name))], end)
        });
        let help = "When a certificate of this node ends, since 1970, by its first name";
        self.gauge("certificate_not_after", help, Some(&Unit::Seconds), rows)
    }
}
