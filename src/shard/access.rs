//! The access log's lines, for the sampled share of requests. Made into text elsewhere: a shard formats nothing.

use std::net::IpAddr;
use std::sync::Arc;

use super::Shard;
use super::door::{Answer, Ask, Said};
use super::place::Route;
use super::serve::Visit;
use super::view::View;
use crate::link::{AccessRecord, Over, Passed, SocketEnd};
use crate::tenant::Account;
use crate::tenant::key::KeyId;
use crate::time::Instant;

/// Whose request it is.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) over: Over,
}

/// What is known of a request before its answer is sent.
pub(crate) struct Line(AccessRecord);

impl Line {
    /// Of a single call; none where the sample leaves it out.
    pub(crate) fn of_call(visit: &Visit, peer: Peer, ask: &Ask<'_>, answer: &Answer) -> Option<Self> {
        let mut line = Self::begin(&visit.view, visit.out.request_id, peer, ask.route)?.of(visit.account.as_deref());
        line.0.provider = answer.provider.as_ref().map(|upstream| Arc::clone(&upstream.slot.id));
        line.0.method = if ask.info.known() { ask.info.name } else { "other" };
        line.0.attempts = answer.attempts;
        // Over a WebSocket, what it would have been.
        line.0.status = match &answer.said {
            _ if ask.call.id.is_none() => 204,
            Said::Whole(_) | Said::Streamed(_) => 200,
            Said::Failed { reason, .. } => reason.status(),
        };
        Some(line)
    }

    /// Of a batch of `calls`.
    pub(crate) fn of_batch(visit: &Visit, peer: Peer, route: &Route, calls: usize) -> Option<Self> {
        let mut line = Self::begin(&visit.view, visit.out.request_id, peer, route)?.of(visit.account.as_deref());
        line.0.calls = u32::try_from(calls).unwrap_or(u32::MAX);
        line.0.method = "batch";
        Some(line)
    }

    /// Of a whole WebSocket, by its handshake's request id.
    pub(crate) fn of_socket(
        shard: &Shard,
        peer: Peer,
        account: Option<&Account>,
        request_id: u64,
        route: &Route,
    ) -> Option<Self> {
        let mut line = Self::begin(&shard.view(), request_id, peer, route)?.of(account);
        line.0.method = "websocket";
        Some(line)
    }

    /// Completes it once the answer has been sent, in so many bytes, or could not be.
    pub(crate) fn write(mut self, visit: &Visit, bytes_out: u64) {
        self.0.bytes_out = bytes_out;
        self.0.duration = visit.shard.clock.now().since(visit.started);
        visit.shard.recorder.access(self.0, &visit.shard.counters);
    }

    /// The same of a WebSocket that has ended.
    pub(crate) fn write_socket(
        mut self,
        shard: &Shard,
        since: Instant,
        (end, code): (SocketEnd, u16),
        passed: Passed,
        bytes_out: u64,
    ) {
        self.0.over = Over::Socket(end, code, passed);
        self.0.bytes_out = bytes_out;
        self.0.duration = shard.clock.now().since(since);
        shard.recorder.access(self.0, &shard.counters);
    }

    /// The same of a call by whoever this account is.
    fn of(mut self, account: Option<&Account>) -> Self {
        let entry = account.map(|account| account.known.entry).filter(|entry| entry.key != KeyId::NOBODY);
        self.0.whose = entry.map(|entry| (entry.tenant, entry.key));
        self
    }

    fn begin(view: &View, request_id: u64, peer: Peer, route: &Route) -> Option<Self> {
        // Request ids are as good as drawn, so the sample needs no draw of its own.
        #[allow(clippy::cast_precision_loss)] // a share needs no 64 bits
        let draw = request_id as f64 / u64::MAX as f64;
        (draw < view.snapshot.config.log.access_sample).then(|| {
            Self(AccessRecord {
                request_id,
                client: peer.address,
                whose: None,
                chain: Some(Arc::clone(&route.chain.entry.name)),
                provider: None,
                method: "other",
                calls: 1,
                status: 200,
                bytes_out: 0,
                duration: std::time::Duration::ZERO,
                attempts: 0,
                over: peer.over,
            })
        })
    }
}
