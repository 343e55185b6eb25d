//! What a quota promises over any ten seconds, whatever shards and their clocks do.
//!
//! Shards are scheduled by a seed. Each asks by itself, in batches, falls silent and comes back, and its clock jumps by
//! some milliseconds against the others'; what is judged is true time. Real threads follow at the end.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::routing::Random;

const NO_MONTH: Month = Month { number: 0, ends: None, next: 30 };
const WINDOW_US: u64 = 10_000_000;
/// How far a shard's clock may be from the true time, either way.
const SKEW_US: u64 = 3_000;

/// What was granted, and when.
#[derive(Default)]
pub(in crate::tenant) struct Grants(Vec<(u64, u64)>);

impl Grants {
    pub(in crate::tenant) fn add(&mut self, at_us: u64, amount: u64) {
        self.0.push((at_us, amount));
    }

    /// The most that any ten seconds saw.
    pub(in crate::tenant) fn most(&self) -> u64 {
        let (mut first, mut sum, mut most) = (0, 0, 0);
        for &(at, amount) in &self.0 {
            sum += amount;
            while self.0[first].0 + WINDOW_US <= at {
                sum -= self.0[first].1;
                first += 1;
            }
            most = most.max(sum);
        }
        most
    }

    /// The least that any ten seconds between `from` and `to` saw.
    pub(in crate::tenant) fn least(&self, from: u64, to: u64) -> u64 {
        let sum = |after: u64| -> u64 {
            let begin = self.0.partition_point(|(at, _)| *at <= after);
            let end = self.0.partition_point(|(at, _)| *at < after + WINDOW_US);
            self.0[begin..end].iter().map(|(_, amount)| amount).sum()
        };
        // The emptiest windows begin just behind a grant.
        let begins = self.0.iter().map(|(at, _)| *at).filter(|at| *at >= from && at + WINDOW_US <= to);
        begins.step_by(1 + self.0.len() / 500).chain([from]).map(sum).min().unwrap_or(0)
    }
}

struct Demand {
    shards: usize,
    /// Between two askings, at most.
    gap_us: u64,
    batch_max: u64,
    weight_max: u32,
}

/// Half a minute of demand.
fn run(terms: &Terms, demand: &Demand, seed: u64) -> Grants {
    const START_US: u64 = 100_000_000;
    struct Shard {
        own: Share,
        ahead_us: u64,
        silent_until_us: u64,
    }
    let (quota, mut random) = (Quota::new(), Random::new(seed));
    let mut below = move |bound: u64| random.next_u64() % bound.max(1);
    let shard = |_| Shard { own: Share::default(), ahead_us: SKEW_US, silent_until_us: 0 };
    let mut shards: Vec<Shard> = (0..demand.shards).map(shard).collect();
    let (mut grants, mut now_us) = (Grants::default(), START_US);
    while now_us < START_US + 32_000_000 {
        now_us += below(demand.gap_us + 1);
        let last = demand.shards - 1;
        let mut chosen = usize::try_from(below(demand.shards as u64)).unwrap();
        if shards[chosen].silent_until_us > now_us {
            // The first shard is never silent: somebody asks all the time.
            chosen = 0;
        }
        let shard = &mut shards[chosen];
        match below(200) {
            0 if chosen > 0 => shard.silent_until_us = now_us + below(60_000),
            1 | 2 => shard.ahead_us = below(2 * SKEW_US),
            _ => {}
        }
        let now = Instant::from_micros(now_us + shard.ahead_us - SKEW_US);
        for _ in 0..=below(demand.batch_max) {
            let weight = 1 + u32::try_from(below(demand.weight_max.into())).unwrap();
            if let Ok(taken) = quota.take(now, weight, terms, &mut shard.own) {
                quota.end(taken);
                grants.add(now_us, weight.into());
            }
        }
        debug_assert!(chosen <= last);
    }
    grants
}

/// Holds grants against what was promised. `one`: the most that one call takes, which may fall on either side of an
/// edge.
fn check(grants: &Grants, rate: u32, burst: u32, one: u32) -> Result<(), TestCaseError> {
    let (rate, burst, one) = (u64::from(rate), u64::from(burst), u64::from(one));
    let (most, least) = (grants.most(), grants.least(102_000_000, 132_000_000));
    prop_assert!(most * 100 <= 101 * (10 * rate + burst), "{most} in 10 s of {rate} and {burst}");
    prop_assert!((least + one) * 100 >= 99 * 10 * rate, "{least} in 10 s of {rate} and {burst}");
    Ok(())
}

/// So long that nothing is lost by nobody asking: a part of the burst's time, and where the burst is one a part of
/// one's.
fn gap_us(rate: u32, burst: u32, one: u32) -> u64 {
    let (rate, spare) = (u64::from(rate), u64::from(burst.saturating_sub(one)));
    let gap = if spare == 0 { 5_000 / rate } else { spare * 500_000 / rate };
    gap.clamp(1, 20_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_ten_seconds_see_what_was_sold_in_calls(
        rate in prop_oneof![1..20_u32, 20..250_u32, 250..5_000_u32],
        burst_percent in 3..200_u32,
        shards in 1..9_usize,
        batch_max in 1..40_u64,
        seed in any::<u64>(),
    ) {
        let burst = (rate * burst_percent / 100).max(1);
        let config =
            QuotaConfig { calls_per_second: Some(rate), calls_burst: Some(burst), ..QuotaConfig::default() };
        let terms = Terms::new(&config, 60, NO_MONTH);
        // Askings bring at least twice what may pass.
        let gap_us = gap_us(rate, burst, 1).min(batch_max * 500_000 / u64::from(rate) / 2).max(1);
        let demand = Demand { shards, gap_us, batch_max, weight_max: 1 };
        check(&run(&terms, &demand, seed), rate, burst, 1)?;
    }

    #[test]
    fn any_ten_seconds_see_what_was_sold_in_units(
        rate in prop_oneof![60..600_u32, 600..100_000_u32],
        burst_percent in 20..200_u32,
        shards in 1..9_usize,
        batch_max in 1..40_u64,
        seed in any::<u64>(),
    ) {
        const HEAVIEST: u32 = 60;
        let burst = (rate * burst_percent / 100).max(HEAVIEST * 2);
        let config =
            QuotaConfig { units_per_second: Some(rate), units_burst: Some(burst), ..QuotaConfig::default() };
        let terms = Terms::new(&config, HEAVIEST, NO_MONTH);
        let asked = batch_max * u64::from(HEAVIEST) / 2;
        let gap_us = gap_us(rate, burst, HEAVIEST).min(asked * 500_000 / u64::from(rate) / 2).max(1);
        let demand = Demand { shards, gap_us, batch_max, weight_max: HEAVIEST };
        check(&run(&terms, &demand, seed), rate, burst, HEAVIEST)?;
    }

    /// Dear calls among cheap ones: beyond the burst, and up to what ten seconds yield.
    #[test]
    fn a_dear_call_does_not_break_the_promise(
        rate in 5..200_u32,
        weight_max in 1..2_000_u32,
        shards in 1..5_usize,
        gap_us in 100..200_000_u64,
        seed in any::<u64>(),
    ) {
        let config =
            QuotaConfig { units_per_second: Some(rate), units_burst: Some(rate), ..QuotaConfig::default() };
        let terms = Terms::new(&config, 60, NO_MONTH);
        let grants = run(&terms, &Demand { shards, gap_us, batch_max: 1, weight_max }, seed);
        prop_assert!(grants.most() * 100 <= 101 * 11 * u64::from(rate), "{} of {rate}", grants.most());
    }
}

#[test]
fn what_is_asked_for_below_the_rate_is_never_refused() {
    for (rate, shards) in [(100_u32, 4), (1_000, 8), (20_000, 8)] {
        let config = QuotaConfig { calls_per_second: Some(rate), ..QuotaConfig::default() };
        let (quota, terms, mut random) = (Quota::new(), Terms::new(&config, 60, NO_MONTH), Random::new(5));
        let mut own = vec![Share::default(); shards];
        let mut now_us = 1_000_000;
        for _ in 0..100_000 {
            now_us += random.next_u64() % (2_200_000 / u64::from(rate) + 1);
            let shard = usize::try_from(random.next_u64() % shards as u64).unwrap();
            let taken = quota.take(Instant::from_micros(now_us), 1, &terms, &mut own[shard]);
            quota.end(taken.unwrap_or_else(|refused| panic!("{refused:?} at {rate}")));
        }
    }
}

#[test]
fn a_low_rate_is_exact_whatever_the_shards() {
    let config = QuotaConfig { calls_per_second: Some(10), calls_burst: Some(5), ..QuotaConfig::default() };
    let (quota, terms) = (Quota::new(), Terms::new(&config, 60, NO_MONTH));
    let mut own = vec![Share::default(); 16];
    let mut take = |now_ms: u64, shard: usize| {
        quota
            .take(Instant::from_micros(now_ms * 1000), 1, &terms, &mut own[shard])
            .map(|taken| quota.end(taken))
            .is_ok()
    };
    assert_eq!((0..16).filter(|&shard| take(60_000, shard)).count(), 5);
    for ms in 60_001..70_000 {
        assert_eq!((0..16).filter(|&shard| take(ms, shard)).count(), usize::from(ms % 100 == 0), "{ms}");
    }
}

/// Threads that run as they like, on a clock that each of them moves on as it asks.
fn race(terms: &Terms, step_us: u64, steps: u64) -> Grants {
    let (quota, clock) = (Quota::new(), AtomicU64::new(100_000_000));
    let ask = |seed: u64| {
        let (mut own, mut random, mut grants) = (Share::default(), Random::new(seed), Vec::new());
        for _ in 0..steps {
            let now_us = clock.fetch_add(random.next_u64() % step_us, Relaxed);
            if let Ok(taken) = quota.take(Instant::from_micros(now_us), 1, terms, &mut own) {
                quota.end(taken);
                grants.push((now_us, 1));
            }
        }
        grants
    };
    let mut all: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || ask(seed))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    all.sort_unstable();
    Grants(all)
}

#[test]
fn threads_together_get_what_was_sold() {
    for (rate, burst) in [(50_u32, 5_u32), (1_000, 1_000), (10_000, 2_000)] {
        let config = QuotaConfig { calls_per_second: Some(rate), calls_burst: Some(burst), ..QuotaConfig::default() };
        let grants = race(&Terms::new(&config, 60, NO_MONTH), 250, 100_000);
        // 400,000 askings, 125 µs apart: fifty seconds, and what is asked for is less than the last rate only.
        let (rate, burst) = (u64::from(rate), u64::from(burst));
        let most = grants.most();
        assert!(most * 100 <= 101 * (10 * rate + burst), "{most} in 10 s of {rate} and {burst}");
        let asked = rate.min(8_000) * 49;
        assert!(grants.0.len() as u64 * 100 >= asked * 95, "{} of {asked}", grants.0.len());
    }
}

#[test]
fn threads_never_have_more_places_than_there_are() {
    const MOST: u32 = 3;
    let config = QuotaConfig { in_flight: Some(MOST), sockets: Some(MOST), ..QuotaConfig::default() };
    let (quota, terms) = (Quota::new(), Terms::new(&config, 60, NO_MONTH));
    let (inside, worst) = (AtomicU32::new(0), AtomicU32::new(0));
    let work = || {
        let mut own = Share::default();
        for _ in 0..2_000 {
            if let Ok(taken) = quota.take(Instant::START, 1, &terms, &mut own) {
                worst.fetch_max(inside.fetch_add(1, Relaxed) + 1, Relaxed);
                thread::yield_now();
                inside.fetch_sub(1, Relaxed);
                quota.end(taken);
            }
        }
    };
    thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(work))));
    assert!((1..=MOST).contains(&worst.load(Relaxed)), "{worst:?}");
    assert_eq!(quota.lasting(), [0; 3]);
}
