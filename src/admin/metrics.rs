//! `/metrics`: everything that the node counts, as Prometheus reads it (the `OpenMetrics` text format).
//!
//! Nothing is counted for this page: it shows what control has merged and what shards count for themselves, at the moment
//! of the scrape. Every label's values come from the config or from an enum, so there are as many series as the config has
//! providers times ten classes, never as clients have ideas. Every series carries the node's `region` and `node`.
//! The latency histogram has the buckets of [`LATENCY_BUCKETS_US`]; its samples are 1 % exact.

mod door;
mod ranking;
mod tenants;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::bodies;
use super::state::{BreakerState, chain_usable, rest};
use crate::control::{ENDS, View};
use crate::jsonrpc::{MethodClass, Reason};
use crate::limits::LATENCY_BUCKETS_US;
use crate::link::{Counters, Outcome, ProviderEntry, ProviderPlan, Snapshot, SocketEnd};
use crate::time::Instant;

/// What `/metrics` is.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The page, as of now.
pub(super) fn page(view: &Arc<View>) -> Result<String, fmt::Error> {
    let node = &view.snapshot().config.node;
    let labels = [("region", &node.region), ("node", &node.id)];
    let labels = labels.map(|(name, value)| (Cow::Borrowed(name), Cow::Owned(escape(value))));
    let mut registry = Registry::with_prefix_and_labels("livechain", labels.into_iter());
    registry.register_collector(Box::new(Page(Arc::clone(view))));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Page(Arc<View>);

type Labels = Vec<(&'static str, String)>;

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (view, snapshot, now) = (&self.0, self.0.snapshot(), self.0.now());
        let mut sheet = Sheet(encoder);
        sheet.node(view, &snapshot, now)?;
        sheet.shards(&view.counters)?;
        sheet.failures(&view.counters)?;
        sheet.socket_ends(&view.counters)?;
        sheet.door(&view.counters, &view.entrance())?;
        sheet.chains(&snapshot, now)?;
        sheet.providers(&snapshot, now)?;
        sheet.heads(view, &snapshot)?;
        sheet.attempts(view, &snapshot)?;
        sheet.ranking(view, &snapshot, now)?;
        sheet.regret(view, &snapshot)?;
        sheet.tenants(view)
    }
}

/// A family's name, what it says, and where it is read.
type Family = (&'static str, &'static str, fn(&Counters) -> u64);

/// Those whose spread over the shards tells something.
const COUNTERS_BY_SHARD: [Family; 3] = [
    ("requests", "HTTP requests answered", |shard| shard.requests.get()),
    ("calls", "Calls answered, batch items each", |shard| shard.calls.get()),
    ("connections_accepted", "Client connections accepted", |shard| shard.accepted.get()),
];

const GAUGES_BY_SHARD: [Family; 8] = [
    ("connections", "Client connections open", |shard| shard.connections.get()),
    ("websockets", "Those of them that are WebSockets", |shard| shard.sockets.get()),
    ("subscriptions", "Subscriptions of clients", |shard| shard.subscriptions.get()),
    ("feeds", "Streams that this shard owns, each subscribed to at one provider", |shard| shard.feeds.get()),
    ("upstream_connections", "Connections to providers open", |shard| shard.upstream_open.get()),
    ("upstream_connections_idle", "Those of them unused", |shard| shard.upstream_idle.get()),
    ("upstream_websockets", "WebSockets to providers open", |shard| shard.upstream_sockets.get()),
    ("upstream_subscriptions", "Subscriptions at providers", |shard| shard.upstream_subscriptions.get()),
];

const COUNTERS_SUMMED: [Family; 14] = [
    ("notifications", "Notifications told to clients", |shard| shard.notifications.get()),
    ("feed_failovers", "Streams that went on at another provider", |shard| shard.feed_failovers.get()),
    ("hedges", "Attempts sent beside one that took its time", |shard| shard.hedges.get()),
    ("hedges_won", "Those of them that were answered first", |shard| shard.hedges_won.get()),
    ("connections_refused", "Client connections over a shard's limit", |shard| shard.refused.get()),
    ("websockets_refused", "Handshakes over a shard's limit of WebSockets", |shard| shard.sockets_refused.get()),
    ("accept_failures", "Accepting failed for want of descriptors or memory", |shard| shard.accept_failures.get()),
    ("received_bytes", "Bytes from clients", |shard| shard.bytes_in.get()),
    ("sent_bytes", "Bytes to clients", |shard| shard.bytes_out.get()),
    ("upstream_websockets_opened", "WebSockets opened to providers", |shard| shard.upstream_sockets_opened.get()),
    ("upstream_websockets_refused", "WebSockets that could not be opened", |shard| {
        shard.upstream_sockets_refused.get()
    }),
    ("upstream_websockets_lost", "WebSockets lost while they were used", |shard| shard.upstream_sockets_lost.get()),
    ("panics", "Connection tasks that panicked", |shard| shard.panics.get()),
    ("events_dropped", "Events and access records that found no room", |shard| shard.events_dropped.get()),
];

/// The page being written; each method writes whole families.
struct Sheet<'a>(DescriptorEncoder<'a>);

impl Sheet<'_> {
    fn node(&mut self, view: &View, snapshot: &Snapshot, now: Instant) -> fmt::Result {
        let info = vec![("version", env!("CARGO_PKG_VERSION"))];
        self.0.encode_descriptor("build", "What runs", None, MetricType::Info)?.encode_info(&info)?;
        let uptime = now.since(Instant::START).as_secs_f64();
        self.gauge("uptime", "Time since the node started", Some(&Unit::Seconds), [(vec![], uptime)])?;
        let ready = i64::from(bodies::ready(snapshot, view.phase.get(), now, None).0);
        self.gauge("ready", "1 while balancers should send calls here", None, [(vec![], ready)])?;
        let dropped = view.log_lines_dropped.count();
        self.counter("log_lines_dropped", "Log lines that found no room", None, [(vec![], dropped)])?;
        let (done, refused) = view.reloads.counts();
        let label = |result: &str| vec![("result", result.to_owned())];
        self.counter("reloads", "Config reloads", None, [(label("done"), done), (label("refused"), refused)])
    }

    fn shards(&mut self, shards: &[Arc<Counters>]) -> fmt::Result {
        let by_shard = |read: fn(&Counters) -> u64| {
            let each = shards.iter().enumerate();
            each.map(move |(index, counters)| (vec![("shard", index.to_string())], read(counters)))
        };
        for (name, help, read) in COUNTERS_BY_SHARD {
            self.counter(name, help, None, by_shard(read))?;
        }
        for (name, help, read) in GAUGES_BY_SHARD {
            self.gauge(name, help, None, by_shard(read))?;
        }
        for (name, help, read) in COUNTERS_SUMMED {
            let sum: u64 = shards.iter().map(|counters| read(counters)).sum();
            self.counter(name, help, None, [(vec![], sum)])?;
        }
        Ok(())
    }

    fn failures(&mut self, shards: &[Arc<Counters>]) -> fmt::Result {
        let rows = Reason::ALL.iter().map(|reason| {
            let count: u64 = shards.iter().map(|shard| shard.failures[reason.index()].get()).sum();
            (vec![("reason", reason.word().to_owned())], count)
        });
        self.counter("failures", "Answers that the node made itself because of a failure", None, rows)
    }

    fn socket_ends(&mut self, shards: &[Arc<Counters>]) -> fmt::Result {
        let rows = SocketEnd::ALL.iter().map(|end| {
            let count: u64 = shards.iter().map(|shard| shard.socket_ends[*end as usize].get()).sum();
            (vec![("end", end.name().to_owned())], count)
        });
        self.counter("websockets_ended", "Clients' WebSockets that have ended, by how", None, rows)
    }

    fn chains(&mut self, snapshot: &Snapshot, now: Instant) -> fmt::Result {
        let rows = snapshot
            .chains
            .iter()
            .map(|chain| (vec![("chain", escape(&chain.name))], i64::from(chain_usable(chain, now))));
        self.gauge("chain_usable", "1 while a provider of the chain can be asked", None, rows)
    }

    fn providers(&mut self, snapshot: &Snapshot, now: Instant) -> fmt::Result {
        let breaker = |provider: &ProviderEntry| match BreakerState::of(provider, now) {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2_i64,
        };
        let rows = all(snapshot).map(|provider| (labels(provider), breaker(provider)));
        self.gauge("provider_breaker", "0 closed, 1 half-open, 2 open", None, rows)?;
        let seconds = |provider: &ProviderEntry| rest(provider, now).map_or(0.0, |(_, seconds)| seconds);
        let rows = all(snapshot).map(|provider| (labels(provider), seconds(provider)));
        self.gauge("provider_rest", "How long it is still left alone after a limit", Some(&Unit::Seconds), rows)?;
        let rows = all(snapshot).map(|provider| (labels(provider), provider.addresses.len() as u64));
        self.gauge("provider_addresses", "Addresses that its name leads to", None, rows)?;
        let limited = || all(snapshot).filter_map(|provider| Some((provider, provider.plan.as_ref()?)));
        let tuned = |provider: &ProviderEntry, plan: &ProviderPlan| {
            f64::from(provider.slot.outbound.tuned_per_mille(now, &plan.by)) / 1000.0
        };
        let rows = limited().map(|(provider, plan)| (labels(provider), tuned(provider, plan)));
        self.gauge(
            "provider_plan_tuned",
            "The part of its plan's rates that is used, less after refusals",
            None,
            rows,
        )?;
        let by_month = || limited().filter(|(_, plan)| plan.by.units_per_month.is_some());
        let used = |provider: &ProviderEntry, plan: &ProviderPlan| provider.slot.outbound.month_used(now, plan.month);
        let rows = by_month().map(|(provider, plan)| (labels(provider), used(provider, plan)));
        let help = "Compute units of its plan used since the month began or this node did";
        self.gauge("provider_plan_month_units", help, None, rows)
    }

    fn heads(&mut self, view: &View, snapshot: &Snapshot) -> fmt::Result {
        let watch = view.watch();
        let heads = snapshot.chains.iter();
        let heads = heads.filter_map(|chain| Some((vec![("chain", escape(&chain.name))], watch.head(&chain.name)?)));
        self.gauge("chain_head", "The newest block that the majority of providers has", None, heads)?;
        let facts = || all(snapshot).filter_map(|provider| Some((provider, watch.facts(provider.slot.number)?)));
        let heard = || facts().filter_map(|(provider, facts)| Some((labels(provider), facts.heard?.0, facts.lag)));
        let rows = heard().map(|(labels, block, _)| (labels, block));
        self.gauge("provider_head", "Its newest block, as it said last", None, rows)?;
        let rows = heard().map(|(labels, _, lag)| (labels, lag));
        self.gauge("provider_lag_blocks", "Blocks behind the chain's head when it said so", None, rows)?;
        let rows = all(snapshot).map(|provider| (labels(provider), provider.slot.footing.get() as u64));
        self.gauge(
            "provider_footing",
            "0 in step with its chain, 1 out of step, 2 another chain, 3 not asked, 4 refuses our key",
            None,
            rows,
        )?;
        let rows = facts().map(|(provider, facts)| (labels(provider), u64::from(facts.unreachable)));
        self.gauge("provider_unreachable", "1 after a probe that did not reach it", None, rows)?;
        let ended = all(snapshot).filter_map(|provider| Some((provider, watch.ended(provider.slot.number)?)));
        let rows = ended.flat_map(|(provider, ended)| {
            ENDS.into_iter().zip(ended).map(move |(end, count)| {
                let mut labels = labels(provider);
                labels.push(("end", end.to_owned()));
                (labels, count)
            })
        });
        self.counter("probes", "Questions of the node's own to providers", None, rows)
    }

    fn attempts(&mut self, view: &View, snapshot: &Snapshot) -> fmt::Result {
        let totals = view.totals();
        let measured = || {
            let each = |provider| MethodClass::ALL.iter().map(move |&class| (provider, class));
            all(snapshot).flat_map(each).filter_map(|(provider, class): (&ProviderEntry, _)| {
                let mut labels = labels(provider);
                labels.push(("class", class.name().to_owned()));
                Some((labels, totals.of(provider.slot.number, class)?))
            })
        };
        let rows = measured().flat_map(|(labels, total)| {
            Outcome::ALL.iter().zip(total.outcomes).map(move |(outcome, count)| {
                let mut labels = labels.clone();
                labels.push(("outcome", outcome.name().to_owned()));
                (labels, count)
            })
        });
        self.counter("attempts", "Calls sent to providers", None, rows)?;
        let help = "Time until a provider's answer, or until another one was faster";
        let mut encoder =
            self.0.encode_descriptor("attempt_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, total) in measured() {
            let buckets: Vec<_> = edges().zip(total.buckets).collect();
            let count = total.buckets.iter().sum();
            let none: Option<&std::collections::HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;
            encoder.encode_family(&labels)?.encode_histogram(seconds(total.latency_us_sum), count, &buckets, none)?;
        }
        Ok(())
    }

    fn counter<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in rows {
            let none: Option<&Exemplar<NoLabelSet, f64>> = None;
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, V, f64>(&value, none)?;
        }
        Ok(())
    }

    fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in rows {
            encoder.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

fn all(snapshot: &Snapshot) -> impl Iterator<Item = &ProviderEntry> {
    snapshot.chains.iter().flat_map(|chain| &chain.providers)
}

fn labels(provider: &ProviderEntry) -> Labels {
    vec![("chain", escape(&provider.slot.chain)), ("provider", escape(&provider.slot.id))]
}

/// Upper edges in seconds; the last is infinite.
fn edges() -> impl Iterator<Item = f64> {
    LATENCY_BUCKETS_US.iter().map(|&edge| seconds(edge)).chain([f64::INFINITY])
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

/// As the format wants label values.
fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(escape("a\\b\"c\nd"), r#"a\\b\"c\nd"#);
    }
}
