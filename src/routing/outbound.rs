//! What we may send a provider: the plan bought from its vendor, never overrun by all shards together.
//!
//! Four limits, each optional: calls per second, compute units per second, units per month, calls in flight. A provider that
//! is at a limit is not out, it is full: others are asked, and a moment later it has room again.
//!
//! **What "per second" promises.** Vendors count in ways that they do not tell. So the strictest reading holds: *any* span of one
//! second, wherever it begins, sees at most the plan. A meter that allows a burst `b` at once and refills at `r` a second lets
//! through `b + r − 1` calls in some second; therefore `r = plan + 1 − b`. A larger burst costs sustained rate, which is why it
//! is a small share ([`OutboundConfig::burst_percent`]).
//!
//! **Chunks.** At 50,000 calls a second the shards must not fight over one line for each. A shard takes several calls at once from
//! the shared meter and spends them from its own [`Allotment`]: at most what the rate yields in
//! [`CHUNK_LIFE`](super::CHUNK_LIFE), and none below 200 a second, where each call is taken by itself. What is taken may be sent up to that much later, so that
//! a second of sending draws on 1.01 seconds of taking: the refill is divided by as much, and the promise holds. A chunk that is not
//! spent in time is given back with the next one and the next one is half as large; one that is spent doubles. The month is
//! counted in such chunks, too, so that it may read a little high and never low.
//!
//! **Calls larger than the burst** (a trace of 300 units under a plan of 330) pass when the meter has idled for
//! as long as they cost, so `b + r·t` bounds any span with them, too.
//!
//! **Tuning.** Where the config says so, a refusal takes a part off the rate, once for each wave, down to a floor; time
//! without one gives it back in steps, up to the plan and never beyond. One word holds when and how far it went down; the way up
//! is a function of time, and nobody writes it.
//!
//! **Order of taking**: in flight, calls, units, month. What a later one refuses, the earlier ones get back. Memory order: relaxed as in
//! the breaker, each word is all there is to know. A loop that loses too often refuses: never more than the plan.
//!
//! Left out: waiting for room (another provider is asked instead), and keeping the month's count across restarts: the ledger
//! reads [`Outbound::month_used`] and hands it back with [`Outbound::restore_month`].

mod tuning;

use self::tuning::{Tuning, WHOLE};
use crate::bucket::{CHUNK_LIFE_TICKS, Chunk, Meter, Month, MonthChunk, MonthCount, Places, Rate, SECOND};
use crate::limits::CHUNKED_FROM;
use crate::time::Instant;

pub use self::tuning::TuningConfig;

/// What was bought, and how it is used. Nothing is limited by default: only the operator knows the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundConfig {
    pub calls_per_second: Option<u32>,
    pub units_per_second: Option<u32>,
    pub units_per_month: Option<u64>,
    pub in_flight: Option<u32>,
    /// The part of a second's plan that may be sent at once, 0 to 50. A tenth lets a page's calls through
    /// together and costs a tenth of the sustained rate.
    pub burst_percent: u32,
    pub tuning: Option<TuningConfig>,
}

impl OutboundConfig {
    pub const DEFAULT: Self = Self {
        calls_per_second: None,
        units_per_second: None,
        units_per_month: None,
        in_flight: None,
        burst_percent: 10,
        tuning: None,
    };

    /// Whether there is anything to keep to.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.calls_per_second.is_some()
            || self.units_per_second.is_some()
            || self.units_per_month.is_some()
            || self.in_flight.is_some()
    }
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a call may not be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    InFlight,
    Calls,
    Units,
    Month,
}

impl Full {
    /// The word used in pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InFlight => "plan_in_flight",
            Self::Calls => "plan_calls",
            Self::Units => "plan_units",
            Self::Month => "plan_month",
        }
    }
}

/// What all shards share about one provider: alone in its cache lines, and written only where something is limited.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Outbound {
    calls: Meter,
    units: Meter,
    month: MonthCount,
    tuning: Tuning,
    in_flight: Places,
}

/// What one shard has taken from one provider's [`Outbound`] and not yet spent.
#[derive(Clone, Debug, Default)]
pub struct Allotment {
    calls: Chunk,
    units: Chunk,
    month: MonthChunk,
}

/// A config made ready to be kept to: one for each provider and snapshot, so that no call divides.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    config: OutboundConfig,
    month: Month,
    whole: Rates,
}

#[derive(Clone, Copy, Debug)]
struct Rates {
    calls: Option<Rate>,
    units: Option<Rate>,
}

impl Plan {
    #[must_use]
    pub fn new(config: OutboundConfig, month: Month) -> Self {
        Self { config, month, whole: Rates::new(&config, WHOLE) }
    }
}

impl Rates {
    fn new(config: &OutboundConfig, tuned: u32) -> Self {
        let rate = |plan| rate(plan, config.burst_percent, tuned);
        Self { calls: config.calls_per_second.map(rate), units: config.units_per_second.map(rate) }
    }
}

/// `plan` a second, of which `tuned` thousandths are used, in any second of any beginning.
fn rate(plan: u32, burst_percent: u32, tuned: u32) -> Rate {
    let used = (u64::from(plan) * u64::from(tuned) / 1000).max(u64::from(plan > 0));
    let burst = (used * u64::from(burst_percent.min(50)) / 100).max(1).min(used);
    let refill = used + 1 - burst;
    let chunked = used >= u64::from(CHUNKED_FROM);
    let drawn_on = if chunked { SECOND + CHUNK_LIFE_TICKS } else { SECOND };
    Rate::new(drawn_on.div_ceil(refill), burst, chunked)
}

/// A place in flight, to be handed in with [`Outbound::leave`] when the call has ended.
#[derive(Debug)]
#[must_use = "a place that is not handed in is lost until the node restarts"]
pub struct Place {
    /// Nothing is counted where nothing is limited, and a reload may change that while the call runs.
    counted: bool,
}

impl Outbound {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            calls: Meter::new(),
            units: Meter::new(),
            month: MonthCount::new(),
            tuning: Tuning::new(),
            in_flight: Places::new(),
        }
    }

    /// What stands in the way of a call of `units`, if anything does. Reads only; [`Outbound::take`] may still find that
    /// another shard was faster.
    #[must_use]
    pub fn full(&self, now: Instant, units: u32, plan: &Plan, own: &Allotment) -> Option<Full> {
        let config = &plan.config;
        if !config.is_limited() {
            return None;
        }
        if config.in_flight.is_some_and(|most| self.in_flight.taken() >= most) {
            return Some(Full::InFlight);
        }
        let rates = self.rates(now, plan);
        if rates.calls.as_ref().is_some_and(|rate| !self.calls.has(now, 1, rate, &own.calls)) {
            return Some(Full::Calls);
        }
        if rates.units.as_ref().is_some_and(|rate| !self.units.has(now, units, rate, &own.units)) {
            return Some(Full::Units);
        }
        let month = plan.month.number_at(now);
        let used_up = config.units_per_month.is_some_and(|most| !self.month.has(now, units, most, month, &own.month));
        used_up.then_some(Full::Month)
    }

    /// Takes what a call of `units` needs, or nothing of it.
    pub fn take(&self, now: Instant, units: u32, plan: &Plan, own: &mut Allotment) -> Result<Place, Full> {
        let config = &plan.config;
        if !config.is_limited() {
            return Ok(Place { counted: false });
        }
        let rates = self.rates(now, plan);
        let month = plan.month.number_at(now);
        let place = self.enter(config.in_flight).ok_or(Full::InFlight)?;
        if rates.calls.as_ref().is_some_and(|rate| !self.calls.take(now, 1, rate, &mut own.calls)) {
            self.leave(place);
            return Err(Full::Calls);
        }
        let refused = if rates.units.as_ref().is_some_and(|rate| !self.units.take(now, units, rate, &mut own.units)) {
            Full::Units
        } else if config
            .units_per_month
            .is_some_and(|most| self.month.take(now, units, most, month, &mut own.month).is_none())
        {
            if rates.units.is_some() {
                self.units.give_back(now, units, &mut own.units);
            }
            Full::Month
        } else {
            return Ok(place);
        };
        if rates.calls.is_some() {
            self.calls.give_back(now, 1, &mut own.calls);
        }
        self.leave(place);
        Err(refused)
    }

    /// The call has ended, however it did.
    #[expect(clippy::needless_pass_by_value, reason = "a place is handed in once")]
    pub fn leave(&self, place: Place) {
        if place.counted {
            self.in_flight.leave();
        }
    }

    /// The provider refused a call, sent at `sent`, for its rate.
    ///
    /// Returns what is left of the plan, in thousandths, when that tuned it down.
    pub fn on_limited(&self, now: Instant, sent: Instant, config: &OutboundConfig) -> Option<u32> {
        self.tuning.down(now, sent, config.tuning.as_ref()?)
    }

    /// How much of the plan is used now, in thousandths, for pages.
    #[must_use]
    pub fn tuned_per_mille(&self, now: Instant, config: &OutboundConfig) -> u32 {
        self.tuning.per_mille(now, config.tuning.as_ref())
    }

    /// Calls under way, where they are limited.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.taken()
    }

    /// Units of the month counted so far, for the ledger and for pages.
    #[must_use]
    pub fn month_used(&self, now: Instant, month: Month) -> u64 {
        self.month.used(month.number_at(now))
    }

    /// Hands back what the ledger has of this month. What has been counted meanwhile is added to it.
    pub fn restore_month(&self, used: u64, month: Month) {
        self.month.restore(used, month.number);
    }

    fn rates(&self, now: Instant, plan: &Plan) -> Rates {
        match self.tuning.per_mille(now, plan.config.tuning.as_ref()) {
            WHOLE => plan.whole,
            tuned => Rates::new(&plan.config, tuned),
        }
    }

    fn enter(&self, most: Option<u32>) -> Option<Place> {
        let Some(most) = most else {
            return Some(Place { counted: false });
        };
        self.in_flight.enter(most).then_some(Place { counted: true })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::thread;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::random::Random;
    use super::*;

    const NO_MONTH: Month = Month { number: 0, ends: None, next: 30 };

    fn us(us: u64) -> Instant {
        Instant::from_micros(us)
    }

    fn calls(plan: u32) -> OutboundConfig {
        OutboundConfig { calls_per_second: Some(plan), ..OutboundConfig::DEFAULT }
    }

    fn plan(config: &OutboundConfig) -> Plan {
        Plan::new(*config, NO_MONTH)
    }

    /// How many of a second's sends were granted, over all shards, each second counted from each send.
    struct Seconds {
        sends: VecDeque<(Instant, u64)>,
        sum: u64,
        worst: u64,
        total: u64,
    }

    impl Seconds {
        fn new() -> Self {
            Self { sends: VecDeque::new(), sum: 0, worst: 0, total: 0 }
        }

        fn sent(&mut self, now: Instant, amount: u64) {
            self.sends.push_back((now, amount));
            self.sum += amount;
            self.total += amount;
            while let Some(&(first, amount)) = self.sends.front()
                && now.since(first) >= Duration::from_secs(1)
            {
                self.sends.pop_front();
                self.sum -= amount;
            }
            self.worst = self.worst.max(self.sum);
        }
    }

    /// Shards that are scheduled by a seed and ask for calls of some units, `mean_us` apart, for five seconds.
    fn run(config: &OutboundConfig, shards: usize, mean_us: u64, units_max: u64, seed: u64) -> (Seconds, Seconds, u64) {
        let (outbound, mut random) = (Outbound::new(), Random::new(seed));
        let mut own = vec![Allotment::default(); shards];
        let (mut calls, mut units, mut asked) = (Seconds::new(), Seconds::new(), 0);
        let mut now = 60_000_000;
        while now < 65_000_000 {
            // Bursts and lulls, the same on average.
            now += if random.next_u64() % 4 == 0 { random.next_u64() % (8 * mean_us + 1) } else { 0 };
            let shard = usize::try_from(random.next_u64() % shards as u64).unwrap();
            let cost = u32::try_from(1 + random.next_u64() % units_max).unwrap();
            asked += 1;
            let full = outbound.full(us(now), cost, &plan(config), &own[shard]);
            let taken = outbound.take(us(now), cost, &plan(config), &mut own[shard]);
            assert_eq!(taken.is_ok(), full.is_none(), "nobody came between: {taken:?} {full:?}");
            if let Ok(place) = taken {
                calls.sent(us(now), 1);
                units.sent(us(now), cost.into());
                outbound.leave(place);
            }
        }
        (calls, units, asked)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Whatever the shards do: no second of any beginning sees more than the plan.
        #[test]
        fn no_second_sees_more_than_the_plan(
            plan in prop_oneof![1..30_u32, 30..400_u32, 400..30_000_u32],
            shards in 1..9_usize,
            load in 1..6_u64,
            burst_percent in 0..60_u32,
            seed in any::<u64>(),
        ) {
            let config = OutboundConfig { burst_percent, ..calls(plan) };
            let mean_us = (3_000_000 / u64::from(plan) / load).max(20);
            let (calls, _, _) = run(&config, shards, mean_us, 1, seed);
            prop_assert!(calls.worst <= u64::from(plan), "{} of {plan}", calls.worst);
        }

        /// Units likewise; where one call costs more than the burst, that call's cost bounds the excess.
        #[test]
        fn no_second_sees_more_units_than_the_plan(
            plan in 100..20_000_u32,
            shards in 1..9_usize,
            load in 1..6_u64,
            seed in any::<u64>(),
        ) {
            let config = OutboundConfig { units_per_second: Some(plan), ..OutboundConfig::DEFAULT };
            let units_max = u64::from(plan) / 10;
            let mean_us = (1_000_000 * units_max / u64::from(plan) / load).max(20);
            let (_, units, _) = run(&config, shards, mean_us, units_max, seed);
            prop_assert!(units.worst <= u64::from(plan), "{} of {plan}", units.worst);
        }
    }

    #[test]
    fn most_of_the_plan_can_be_used() {
        for (plan, shards) in [(5, 3), (25, 8), (100, 1), (250, 4), (1_000, 8), (20_000, 2), (20_000, 8)] {
            let (calls, _, _) = run(&calls(plan), shards, 1_000_000 / u64::from(plan) / 20, 1, 7);
            // The burst's share, the chunks' hundredth, and what five seconds round away.
            let least = u64::from(plan) * 5 * 87 / 100;
            assert!(calls.total >= least, "{plan} by {shards}: {} of {least}", calls.total);
        }
    }

    #[test]
    fn little_traffic_is_never_refused_for_what_others_hold() {
        for (plan, shards) in [(1_000, 8), (20_000, 8), (20_000, 16)] {
            let mean_us = 1_000_000 / u64::from(plan) * 3;
            let config = OutboundConfig { burst_percent: 20, ..calls(plan) };
            let (calls, _, asked) = run(&config, shards, mean_us, 1, 3);
            assert_eq!(calls.total, asked, "{plan} by {shards}");
        }
    }

    #[test]
    fn a_busy_shard_seldom_touches_the_shared_word() {
        let (outbound, config, mut own) = (Outbound::new(), calls(50_000), Allotment::default());
        let (mut writes, mut word) = (0, outbound.month_used(us(0), NO_MONTH));
        for call in 0..20_000_u64 {
            let place = outbound.take(us(1_000_000 + call * 50), 1, &plan(&config), &mut own).unwrap();
            outbound.leave(place);
            let now = outbound.calls.word();
            writes += u32::from(now != word);
            word = now;
        }
        assert!(writes <= 250, "{writes} in a second at 20,000 a second");
        let (slow, mut own) = (calls(100), Allotment::default());
        let exact = Outbound::new();
        for call in 0..50_u64 {
            let before = exact.calls.word();
            exact.leave(exact.take(us(1_000_000 + call * 20_000), 1, &plan(&slow), &mut own).unwrap());
            assert_ne!(exact.calls.word(), before, "below the threshold every call is taken by itself");
        }
    }

    #[test]
    fn a_call_larger_than_the_burst_passes_after_idling() {
        let config = OutboundConfig { units_per_second: Some(330), ..OutboundConfig::DEFAULT };
        let (outbound, mut own) = (Outbound::new(), Allotment::default());
        let mut take = |ms: u64, units| outbound.take(us(ms * 1000), units, &plan(&config), &mut own).map(drop);
        assert_eq!(take(10_000, 75), Ok(()));
        assert_eq!(take(10_001, 75), Err(Full::Units));
        assert_eq!(take(10_001, 1), Err(Full::Units), "it is paid for first");
        assert_eq!(take(10_400, 20), Ok(()));
        assert_eq!(take(10_500, 75), Err(Full::Units), "not idle for long enough");
        assert_eq!(take(10_800, 75), Ok(()));
        assert_eq!(take(20_000, 1000), Ok(()), "more than a second's plan after more than a second");
        assert_eq!(take(22_500, 1), Err(Full::Units));
        assert_eq!(take(23_500, 1), Ok(()));
    }

    #[test]
    fn places_in_flight_are_counted_over_shards() {
        let config = OutboundConfig { in_flight: Some(2), ..OutboundConfig::DEFAULT };
        let outbound = Outbound::new();
        let take = || outbound.take(us(0), 1, &plan(&config), &mut Allotment::default());
        let (one, _two) = (take().unwrap(), take().unwrap());
        assert_eq!(take().unwrap_err(), Full::InFlight);
        assert_eq!(outbound.full(us(0), 1, &plan(&config), &Allotment::default()), Some(Full::InFlight));
        outbound.leave(one);
        assert!(take().is_ok());
        let free = outbound.take(us(0), 1, &plan(&OutboundConfig::DEFAULT), &mut Allotment::default());
        outbound.leave(free.unwrap());
        assert_eq!(outbound.in_flight(), 2, "what was not counted is not given back");
    }

    #[test]
    fn what_a_later_limit_refuses_the_earlier_ones_get_back() {
        let config =
            OutboundConfig { in_flight: Some(9), units_per_second: Some(100), units_per_month: Some(50), ..calls(10) };
        let (outbound, mut own) = (Outbound::new(), Allotment::default());
        let mut take =
            |units| outbound.take(us(9_000_000), units, &plan(&config), &mut own).map(|place| outbound.leave(place));
        assert_eq!(take(51), Err(Full::Month));
        let before = (outbound.calls.word(), outbound.units.word());
        assert_eq!(take(200_000), Err(Full::Units));
        assert_eq!((outbound.calls.word(), outbound.units.word()), before);
        assert_eq!(outbound.in_flight(), 0);
        assert_eq!(take(10), Ok(()));
        assert_eq!(take(1), Err(Full::Calls));
    }

    #[test]
    fn a_month_is_never_overrun_and_the_next_begins_by_itself() {
        let config = OutboundConfig { units_per_month: Some(1_000_000), ..OutboundConfig::DEFAULT };
        let month = Month { number: 24_311, ends: Some(us(3_000_000_000)), next: 24_341 };
        let (outbound, mut random) = (Outbound::new(), Random::new(1));
        outbound.restore_month(200_000, month);
        let mut own = vec![Allotment::default(); 8];
        let mut spend = |from_ms: u64, calls: u64| {
            let mut used = 0;
            for call in 0..calls {
                let units = u32::try_from(1 + random.next_u64() % 30).unwrap();
                let shard = usize::try_from(random.next_u64() % 8).unwrap();
                let (now, plan) = (us((from_ms + call / 8) * 1000), Plan::new(config, month));
                if outbound.take(now, units, &plan, &mut own[shard]).is_ok() {
                    used += u64::from(units);
                }
            }
            used
        };
        let used = spend(0, 200_000);
        assert!((799_900..=800_000).contains(&used), "{used}");
        assert_eq!(spend(2_000_000, 1000), 0);
        assert_eq!(outbound.month_used(us(2_999_999_999), month), 1_000_000);
        assert_eq!(outbound.month_used(us(3_000_000_000), month), 0);
        let next = spend(3_000_000, 200_000);
        assert!((999_900..=1_000_000).contains(&next), "{next}");
        // A shard that has not heard of the new month counts in it all the same.
        let old = Plan::new(config, month);
        assert_eq!(outbound.take(us(1), 1, &old, &mut Allotment::default()).unwrap_err(), Full::Month);
    }

    #[test]
    fn refusals_tune_down_once_a_wave_and_time_tunes_up() {
        let config = OutboundConfig { tuning: Some(TuningConfig::DEFAULT), ..calls(100) };
        let outbound = Outbound::new();
        let s = |secs: u64| us(secs * 1_000_000);
        assert_eq!(outbound.on_limited(s(100), s(99), &config), Some(700));
        for _ in 0..10 {
            assert_eq!(outbound.on_limited(s(101), s(100), &config), None, "the same wave");
        }
        assert_eq!(outbound.on_limited(s(102), s(101), &config), Some(490));
        // Second → thousandths.
        for (at, expected) in [(102, 490), (106, 490), (107, 540), (122, 690), (152, 990), (157, 1000), (9_000, 1000)] {
            assert_eq!(outbound.tuned_per_mille(s(at), &config), expected, "at {at}");
        }
        for wave in 0..20 {
            outbound.on_limited(s(200 + wave), s(200 + wave), &config);
        }
        assert_eq!(outbound.tuned_per_mille(s(219), &config), 100, "the floor");
        let untuned = calls(100);
        assert_eq!(outbound.on_limited(s(300), s(300), &untuned), None);
        assert_eq!(outbound.tuned_per_mille(s(219), &untuned), 1000);
    }

    #[test]
    fn a_tuned_plan_holds_as_the_plan_does() {
        let config =
            OutboundConfig { tuning: Some(TuningConfig { step_percent: 0, ..TuningConfig::DEFAULT }), ..calls(1000) };
        let (outbound, mut own, mut seconds) = (Outbound::new(), Allotment::default(), Seconds::new());
        outbound.on_limited(us(1_000_000), us(1_000_000), &config);
        for ms in 1_000..6_000 {
            for _ in 0..2 {
                if outbound.take(us(ms * 1000), 1, &plan(&config), &mut own).is_ok() {
                    seconds.sent(us(ms * 1000), 1);
                }
            }
        }
        assert!((600..=700).contains(&seconds.worst), "{}", seconds.worst);
    }

    #[test]
    fn nothing_is_allowed_by_a_plan_of_nothing() {
        let none = [calls(0), OutboundConfig { units_per_second: Some(0), ..OutboundConfig::DEFAULT }];
        for config in none {
            let outbound = Outbound::new();
            for at in [us(0), us(1_000_000), Instant::NEVER] {
                assert!(outbound.take(at, 1, &plan(&config), &mut Allotment::default()).is_err());
            }
        }
    }

    #[test]
    fn threads_that_take_at_the_same_moment_get_a_burst_together() {
        for _ in 0..20 {
            let (outbound, config) = (Outbound::new(), calls(1000));
            let take = || {
                let mut own = Allotment::default();
                (0..200).filter(|_| outbound.take(us(5_000_000), 1, &plan(&config), &mut own).is_ok()).count()
            };
            let granted: usize = thread::scope(|scope| {
                (0..4).map(|_| scope.spawn(take)).collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).sum()
            });
            assert!((1..=100).contains(&granted), "{granted}");
        }
    }

    #[test]
    fn it_is_alone_in_its_cache_line() {
        assert_eq!((align_of::<Outbound>(), size_of::<Outbound>()), (128, 128));
    }
}
