//! Takes out of the shards' rings what waits there: rows for totals and ranking, events to whom they concern, access
//! records into the log.
//!
//! A turn takes no more than the rings hold when it begins plus what comes meanwhile; the rings are bounded, so a turn
//! is. What control does not take in time is delayed (rows) or dropped and counted (the rest) by the shards.

use std::collections::HashSet;
use std::time::Duration;

use ringbuf::traits::Consumer;

use super::events::Events;
use crate::limits;
use crate::link::{AccessRecord, ControlEnd, Over, Passed, Row, SocketEnd};
use crate::tenant::Spool;

/// Control's ends of all shards' rings.
pub(super) struct Collector {
    ends: Vec<ControlEnd>,
}

impl Collector {
    pub(super) fn new(ends: Vec<ControlEnd>) -> Self {
        Self { ends }
    }

    /// Hands all waiting rows of `slots` to `take`, with the number of the shard that they come from; a row of a slot that
    /// was replaced credits nobody.
    pub(super) fn rows(&mut self, slots: &HashSet<u64>, mut take: impl FnMut(usize, &Row)) {
        for (shard, end) in self.ends.iter_mut().enumerate() {
            end.drain_rows(|row| {
                if slots.contains(&row.key.slot) {
                    take(shard, row);
                }
            });
        }
    }

    /// Adds all waiting usage to `spool`.
    pub(super) fn usage(&mut self, spool: &mut Spool) {
        self.ends.iter_mut().for_each(|end| end.drain_usage(spool));
    }

    /// Tells all waiting events, and logs all access records.
    pub(super) fn reports(&mut self, events: &Events) {
        for end in &mut self.ends {
            end.events.pop_iter().take(limits::EVENTS_IN_RING_MAX).for_each(|event| events.tell(event));
            end.access.pop_iter().take(limits::ACCESS_IN_RING_MAX).for_each(|record| log_access(&record));
        }
    }
}

fn log_access(record: &AccessRecord) {
    let (over, socket) = match record.over {
        Over::Http => ("http", None),
        Over::WebSocket(id) => ("ws", Some(id)),
        Over::Socket(end, code, passed) => return log_socket(record, end, code, passed),
    };
    tracing::info!(
        target: "livechain::access",
        request_id = %format_args!("{:016x}", record.request_id),
        client = %record.client,
        tenant = record.whose.map(|(tenant, _)| tenant.0),
        key = record.whose.map(|(_, key)| tracing::field::display(key)),
        chain = record.chain.as_deref(),
        provider = record.provider.as_deref(),
        method = record.method,
        calls = record.calls,
        status = record.status,
        bytes = record.bytes_out,
        duration_ms = milliseconds(record.duration),
        attempts = record.attempts,
        over,
        socket = socket.map(|id| tracing::field::display(format!("{id:016x}"))),
    );
}

/// A WebSocket that has ended.
fn log_socket(record: &AccessRecord, end: SocketEnd, code: u16, passed: Passed) {
    tracing::info!(
        target: "livechain::access",
        request_id = %format_args!("{:016x}", record.request_id),
        client = %record.client,
        tenant = record.whose.map(|(tenant, _)| tenant.0),
        key = record.whose.map(|(_, key)| tracing::field::display(key)),
        chain = record.chain.as_deref(),
        method = record.method,
        code,
        end = end.name(),
        messages_in = passed.messages_in,
        messages = passed.messages_out,
        bytes_in = passed.bytes_in,
        bytes = record.bytes_out,
        duration_ms = milliseconds(record.duration),
        over = "ws",
    );
}

/// For people and logs, to the microsecond: an `f64` that is not rounded prints as many digits as it has.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use ringbuf::traits::{Consumer, Producer};

    use super::*;
    use crate::jsonrpc::MethodClass;
    use crate::link::{Outcome, RowKey, pair};

    #[test]
    fn rows_come_back_empty_and_those_of_replaced_slots_credit_nobody() {
        let (mut shard, control) = pair();
        let mut collector = Collector::new(vec![control]);
        for slot in [1, 2] {
            let mut row = Row::new(RowKey::of_class(slot, MethodClass::Head));
            row.record(Outcome::Success, Duration::from_millis(3));
            assert!(shard.rows.try_push(Box::new(row)).is_ok());
        }
        let mut taken = Vec::new();
        collector.rows(&HashSet::from([2]), |shard, row| taken.push((shard, row.key.slot, row.outcomes)));
        assert_eq!(taken, [(0, 2, [1, 0, 0, 0, 0, 0])]);
        let emptied: Vec<_> = shard.emptied.pop_iter().collect();
        assert_eq!(emptied.len(), 2);
        assert!(emptied.iter().all(|row| row.is_empty() && row.latency_us.is_empty()));
    }

    #[test]
    fn durations_print_short() {
        assert_eq!(milliseconds(Duration::from_nanos(1_234_567_891)).to_string(), "1234.568");
    }
}
