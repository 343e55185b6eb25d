//! How far the node's choices are from those of an oracle that knows every provider's distribution as of now.
//!
//! The oracle optimises the same statistic: each call goes to the provider whose configured percentile is lowest at
//! that moment. Its latency there is reckoned with the same luck (`z`) as the node's call had, so that the two differ
//! by the choice alone. Calls made for evidence are left out and their cost is shown apart. No faults here: what faults
//! cost is failover's business, and invariants are elsewhere.

use std::fmt::Write as _;
use std::time::Duration;

use super::call::Call;
use super::run::{Run, Watcher};
use super::settings::Settings;
use super::world::{self, Fault, Kind, METHODS, Provider, World, at, deviate};
use crate::routing::{HedgeConfig, Random, RankingConfig, Strategy};
use crate::time::Instant;

/// One call, beside what the oracle would have done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    at: Instant,
    method: usize,
    chosen_ms: f64,
    best_ms: f64,
    /// The true configured percentile of who was chosen, and of who was best.
    chosen_percentile_ms: f64,
    best_percentile_ms: f64,
    provider: usize,
    best: usize,
    explored: bool,
}

/// Keeps a line of every answered call that came after `from`.
#[derive(Debug)]
pub(super) struct Ledger {
    part: f64,
    from: Instant,
    pub(super) lines: Vec<Line>,
}

impl Watcher for Ledger {
    fn on_done(&mut self, run: &Run, call: &Call) {
        let Some(provider) = call.answered.filter(|_| call.came >= self.from && call.probe.is_none()) else { return };
        let method = &METHODS[call.method];
        let ms = |provider: &Provider, z: f64| provider.latency(call.came, method, z).as_secs_f64() * 1e3;
        let deviate = deviate(self.part);
        let providers = &run.world.providers;
        let percentile = |provider: usize| ms(&providers[provider], deviate);
        let best = (0..providers.len()).min_by(|&a, &b| percentile(a).total_cmp(&percentile(b))).unwrap_or(0);
        self.lines.push(Line {
            at: call.came,
            method: call.method,
            chosen_ms: run.now.since(call.came).as_secs_f64() * 1e3,
            best_ms: ms(&providers[best], call.z),
            chosen_percentile_ms: percentile(provider),
            best_percentile_ms: percentile(best),
            provider,
            best,
            explored: call.explored,
        });
    }
}

pub(super) fn percentile(mut of: Vec<f64>, part: f64) -> f64 {
    of.sort_by(f64::total_cmp);
    of[((of.len() as f64 * part).ceil() as usize).clamp(1, of.len()) - 1]
}

/// Chosen against best at a percentile, explored calls left out.
fn ratio(lines: &[Line], part: f64) -> f64 {
    let not_explored = || lines.iter().filter(|line| !line.explored);
    let chosen = percentile(not_explored().map(|line| line.chosen_ms).collect(), part);
    chosen / percentile(not_explored().map(|line| line.best_ms).collect(), part)
}

fn play(world: World, seed: u64, from: Instant, settings: &Settings) -> Vec<Line> {
    let mut ledger = Ledger { part: settings.ranking.percentile, from, lines: Vec::new() };
    Run::new(world, seed, Strategy::Fastest, settings).play(&mut ledger);
    ledger.lines
}

/// Providers that wander, each by about `per_step` of its latency in a tenth of a second.
fn drifting(seed: u64, count: usize, calls_per_s: f64, span_s: u64, per_step: f64) -> World {
    let random = &mut Random::new(seed);
    let steps = span_s as usize * 10 + 1;
    let providers = (0..count).map(|_| Provider {
        base_ms: world::between(random, 20.0, 80.0),
        spread: world::between(random, 0.15, 0.45),
        skew: world::between(random, 0.0, 0.3),
        path: world::walk(random, steps, per_step),
        ..Provider::default()
    });
    World {
        providers: providers.collect(),
        shards: 2,
        block_time: Duration::from_secs(12),
        calls_per_s,
        bursts: true,
        methods: vec![0],
        span: Duration::from_secs(span_s),
    }
}

/// The worlds that drift: providers, calls a second, walk, and how many of them. Each of two minutes, the first ten
/// seconds left out; the seeds are others than those that settings were chosen by.
const DRIFTING: [(usize, f64, f64, u64); 5] =
    [(4, 50.0, 0.005, 2), (4, 50.0, 0.01, 4), (4, 50.0, 0.02, 4), (8, 50.0, 0.01, 4), (4, 200.0, 0.02, 2)];
const FIRST_SEED: u64 = 1000;

/// What was seen over the drifting worlds.
struct Seen {
    all: Vec<Line>,
    /// By world: the configured percentile and P99, as times the oracle's.
    each: Vec<[f64; 2]>,
    csv: String,
}

/// `of_each`: how many of each kind at most.
fn over_drifting_worlds(settings: &Settings, of_each: u64) -> Seen {
    let mut seen = Seen { all: Vec::new(), each: Vec::new(), csv: String::from(CSV_HEAD) };
    for (world, (count, calls_per_s, per_step, worlds)) in DRIFTING.into_iter().enumerate() {
        for seed in FIRST_SEED..FIRST_SEED + worlds.min(of_each) {
            let lines = play(drifting(seed, count, calls_per_s, 120, per_step), seed, at(10.0), settings);
            seen.each.push([settings.ranking.percentile, 0.99].map(|part| ratio(&lines, part)));
            csv(&mut seen.csv, world as u64 * 100 + seed - FIRST_SEED, &lines);
            seen.all.extend(lines);
        }
    }
    seen
}

impl Seen {
    fn holds(&self, settings: &Settings) {
        let Self { all, each, .. } = self;
        let explored: Vec<_> = all.iter().filter(|line| line.explored).collect();
        let cost_ms: f64 = explored.iter().map(|line| line.chosen_ms - line.best_ms).sum::<f64>() / all.len() as f64;
        let share = explored.len() as f64 / all.len() as f64;
        let mean = |part: usize| each.iter().map(|world| world[part]).sum::<f64>() / each.len() as f64;
        println!("by world, P90 and P99: {each:.3?}");
        println!(
            "{} calls in {} worlds: on average P90 {:.3} and P99 {:.3} times the oracle's; \
             {:.2} % explored, {cost_ms:.2} ms a call",
            all.len(),
            each.len(),
            mean(0),
            mean(1),
            share * 100.0
        );
        for (name, p90, p99) in [
            ("on average", mean(0), mean(1)),
            ("all calls together", ratio(all, settings.ranking.percentile), ratio(all, 0.99)),
        ] {
            assert!(p90 <= 1.05 && p99 <= 1.10, "{name}: P90 {p90}, P99 {p99}");
        }
        assert!(share <= settings.ranking.explore_share * 1.1, "explored {share}");
    }
}

#[test]
fn fastest_comes_within_five_percent_of_an_oracle_in_drifting_worlds() {
    let seen = over_drifting_worlds(&Settings::PRODUCT, u64::MAX);
    if let Some(path) = std::env::var_os("LIVECHAIN_SIM_CSV") {
        std::fs::write(path, &seen.csv).expect("the file that LIVECHAIN_SIM_CSV names can be written");
    }
    seen.holds(&Settings::PRODUCT);
}

/// What a cancelled attempt would have taken is not known; ranking must not take those that it knows for all.
#[test]
fn hedging_misleads_no_ranking() {
    let settings = Settings { hedge: Some(HedgeConfig::DEFAULT), ..Settings::PRODUCT };
    over_drifting_worlds(&settings, 2).holds(&settings);
}

/// Two methods of one class, each fastest at another provider: P90 of the one that is fastest where the class is not, as
/// times the oracle's. From when exploration has had its hundred calls of each at each provider.
fn of_two_methods(own_row_factor: f64) -> f64 {
    let mut world = drifting(0, 3, 200.0, 250, 0.002);
    world.methods = vec![0, 3];
    for (provider, (base_ms, apart)) in world.providers.iter_mut().zip([(20.0, 2.0), (40.0, 0.0), (60.0, 1.0)]) {
        (provider.base_ms, provider.apart, provider.spread) = (base_ms, apart, 0.25);
    }
    let ranking = RankingConfig { own_row_factor, ..RankingConfig::DEFAULT };
    let mut lines = play(world, 0, at(220.0), &Settings { ranking, ..Settings::PRODUCT });
    lines.retain(|line| line.method == 0);
    ratio(&lines, 0.9)
}

#[test]
fn a_method_that_is_not_like_its_class_goes_to_who_is_fastest_at_it() {
    let (own, shared) = (of_two_methods(RankingConfig::DEFAULT.own_row_factor), of_two_methods(1e6));
    println!("P90 {own:.3} times the oracle's with rows of their own, {shared:.3} without");
    assert!(own <= 1.05 && shared > 1.5, "{own} {shared}");
}

/// A jump: latencies in ms, who jumps, and by how much.
type Jump = ([f64; 4], usize, f64);

/// After each jump, in 60 worlds together, by half seconds: how many times the oracle's percentile the node's is.
fn recovery((base_ms, who, times): Jump) -> Vec<f64> {
    let mut bins = vec![Vec::new(); 20];
    for seed in 0..60 {
        let mut world = drifting(seed, 4, 50.0, 46, 0.002);
        for (provider, base_ms) in world.providers.iter_mut().zip(base_ms) {
            (provider.base_ms, provider.spread, provider.skew) = (base_ms, 0.3, 0.1);
        }
        let jump = at(30.0 + world::between(&mut Random::new(seed), 0.0, 4.0));
        world.providers[who].faults = vec![Fault { from: jump, until: Instant::NEVER, kind: Kind::Slow(times) }];
        for line in play(world, seed, jump, &Settings::PRODUCT) {
            if let Some(bin) = bins.get_mut(line.at.since(jump).as_millis() as usize / 500) {
                bin.push(line);
            }
        }
    }
    bins.iter().map(|lines| ratio(lines, 0.9)).collect()
}

#[test]
fn after_a_jump_it_is_back_within_ten_percent_in_five_seconds() {
    // The leader becomes slow, by much and by little; another becomes the fastest, which only exploration can see.
    let cases: [(&str, Jump); 3] = [
        ("leader 4 times as slow", ([30.0, 60.0, 75.0, 90.0], 0, 4.0)),
        ("leader 1.6 times as slow", ([30.0, 40.0, 45.0, 50.0], 0, 1.6)),
        ("another 4 times as fast", ([30.0, 50.0, 60.0, 70.0], 2, 0.25)),
    ];
    for (name, jump) in cases {
        let ratios = recovery(jump);
        let last = ratios.iter().rposition(|&ratio| ratio > 1.10).map_or(0, |bin| bin + 1);
        println!("{name}: back after {} ms; {ratios:.2?}", last * 500);
        assert!(last <= 10, "{name}: {ratios:.2?}");
    }
}

/// Chosen against best over time, for `perf/` to draw: one line a call, in ms.
const CSV_HEAD: &str = "world,at_s,chosen_ms,best_ms,chosen_percentile_ms,best_percentile_ms,provider,best,explored\n";

fn csv(text: &mut String, world: u64, lines: &[Line]) {
    for line in lines {
        let at_s = line.at.micros() as f64 / 1e6;
        let Line { chosen_ms, best_ms, chosen_percentile_ms, best_percentile_ms, provider, best, .. } = line;
        let _ = writeln!(
            text,
            "{world},{at_s:.4},{chosen_ms:.3},{best_ms:.3},{chosen_percentile_ms:.3},{best_percentile_ms:.3},\
             {provider},{best},{}",
            u8::from(line.explored)
        );
    }
}
