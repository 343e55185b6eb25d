//! The access log's lines, for the sampled share of requests. Made into text elsewhere: a shard formats nothing.

use std::sync::Arc;

use super::client::Client;
use super::door::{Answer, Ask, Said};
use super::place::Route;
use super::serve::Visit;
use crate::link::AccessRecord;

/// What is known of a request before its answer is sent.
pub(crate) struct Line {
    record: AccessRecord,
    sent_before: u64,
}

impl Line {
    /// Of a single call; none where the sample leaves it out.
    pub(crate) fn of_call(visit: &Visit, client: &Client, ask: &Ask<'_>, answer: &Answer) -> Option<Self> {
        let mut line = Self::begin(visit, client, ask.route)?;
        line.record.provider = answer.provider.as_ref().map(|upstream| Arc::clone(&upstream.slot.id));
        line.record.method = if ask.info.known() { ask.info.name } else { "other" };
        line.record.attempts = answer.attempts;
        line.record.status = match &answer.said {
            _ if ask.call.id.is_none() => 204,
            Said::Whole(_) | Said::Streamed(_) => 200,
            Said::Failed { reason, .. } => reason.status(),
        };
        Some(line)
    }

    /// Of a batch of `calls`.
    pub(crate) fn of_batch(visit: &Visit, client: &Client, route: &Route, calls: usize) -> Option<Self> {
        let mut line = Self::begin(visit, client, route)?;
        line.record.calls = u32::try_from(calls).unwrap_or(u32::MAX);
        line.record.method = "batch";
        Some(line)
    }

    /// Completes it once the answer has been sent, or could not be.
    pub(crate) fn write(mut self, visit: &Visit, client: &Client) {
        self.record.bytes_out = client.sent() - self.sent_before;
        self.record.duration = visit.shard.clock.now().since(visit.started);
        visit.shard.recorder.access(self.record, &visit.shard.counters);
    }

    fn begin(visit: &Visit, client: &Client, route: &Route) -> Option<Self> {
        // Request ids are as good as drawn, so the sample needs no draw of its own.
        #[allow(clippy::cast_precision_loss)] // a share needs no 64 bits
        let draw = visit.out.request_id as f64 / u64::MAX as f64;
        (draw < visit.view.snapshot.config.log.access_sample).then(|| Self {
            record: AccessRecord {
                request_id: visit.out.request_id,
                client: client.address,
                chain: Some(Arc::clone(&route.chain.entry.name)),
                provider: None,
                method: "other",
                calls: 1,
                status: 200,
                bytes_out: 0,
                duration: std::time::Duration::ZERO,
                attempts: 0,
            },
            sent_before: client.sent(),
        })
    }
}
