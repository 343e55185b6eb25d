//! Small worlds of everything that may go wrong, drawn from a seed.

use std::time::Duration;

use super::world::{CLIENTS_METHODS, Fault, Kind, Provider, STEP, Tale, Told, World, at, between, walk};
use crate::routing::{OutboundConfig, Random, TuningConfig};

/// A small world of everything that may go wrong.
pub(super) fn troubled(seed: u64, span: Duration) -> World {
    let random = &mut Random::new(seed);
    let count = 2 + random.next_u64() as usize % 4;
    let span_s = span.as_secs_f64();
    let steps = (span.as_millis() / STEP.as_millis()) as usize + 1;
    let providers = (0..count).map(|_| {
        let mut provider = Provider {
            base_ms: between(random, 5.0, 120.0),
            spread: between(random, 0.1, 0.6),
            skew: between(random, 0.0, 0.3),
            apart: between(random, -1.0, 2.0),
            path: walk(random, steps, 0.01),
            ..Provider::default()
        };
        if random.next_unit() < 0.6 {
            provider.faults = faults(random, span_s);
        }
        if random.next_unit() < 0.2 {
            let retry_after = (random.next_unit() < 0.5).then(|| Duration::from_secs(1 + random.next_u64() % 3));
            provider.limit = Some((between(random, 5.0, 60.0), retry_after));
        }
        if provider.limit.is_none() && random.next_unit() < 0.4 {
            (provider.plan, provider.told) = plan(random);
        }
        if random.next_unit() < 0.3 {
            provider.tales.push(tale(random, span_s));
        }
        provider
    });
    let providers = providers.collect();
    World {
        providers,
        shards: 1 + random.next_u64() as usize % 3,
        block_time: Duration::from_millis(300 + random.next_u64() % 700),
        calls_per_s: between(random, 15.0, 80.0),
        bursts: random.next_unit() < 0.5,
        methods: (0..=random.next_u64() as usize % CLIENTS_METHODS).collect(),
        span,
    }
}

fn faults(random: &mut Random, span_s: f64) -> Vec<Fault> {
    // One in ten seconds, on average; each lasts up to a third of a small world, or up to a minute of a large one.
    let count = 1 + (random.next_unit() * span_s / 5.0) as usize;
    (0..count)
        .map(|_| {
            let from = between(random, 0.0, span_s);
            let until = from + between(random, 0.2, (span_s / 3.0).min(60.0));
            let kind = match random.next_u64() % 5 {
                0 => Kind::Dead,
                1 => Kind::Stall,
                2 => Kind::Flap(Duration::from_millis(100 + random.next_u64() % 900)),
                3 => Kind::Broken(between(random, 0.1, 1.0)),
                _ => Kind::Slow(between(random, 1.5, 10.0)),
            };
            Fault { from: at(from), until: at(until), kind }
        })
        .collect()
}

fn tale(random: &mut Random, span_s: f64) -> Tale {
    // Half of them from the first.
    let from = if random.next_unit() < 0.5 { 0.0 } else { between(random, 0.0, span_s) };
    let until = if random.next_unit() < 0.5 { span_s } else { from + between(random, 0.5, span_s) };
    let told = match random.next_u64() % 4 {
        0 => Told::Behind(40 + random.next_u64() % 60),
        1 => Told::Stuck,
        2 => Told::Ahead(1_000_000),
        _ => Told::OtherChain,
    };
    Tale { from: at(from), until: at(until), told }
}

/// What was bought, and what is written in the config: the same, or twice as much by mistake, to be tuned down.
fn plan(random: &mut Random) -> (OutboundConfig, OutboundConfig) {
    let mut some = |part: f64, low: u32, high: u32| {
        let drawn = low + random.next_u64() as u32 % (high - low);
        (random.next_unit() < part).then_some(drawn)
    };
    let plan = OutboundConfig {
        calls_per_second: some(0.6, 3, 60).or(some(0.3, 200, 400)),
        units_per_second: some(0.4, 10, 120).or(some(0.3, 200, 900)),
        units_per_month: some(0.1, 100, 2_000).map(u64::from),
        in_flight: some(0.4, 1, 12),
        burst_percent: some(0.5, 0, 60).unwrap_or(OutboundConfig::DEFAULT.burst_percent),
        tuning: None,
    };
    let twice = OutboundConfig {
        calls_per_second: plan.calls_per_second.map(|calls| calls * 2),
        tuning: Some(TuningConfig::DEFAULT),
        ..plan
    };
    if random.next_unit() < 0.2 { (plan, twice) } else { (plan, plan) }
}
