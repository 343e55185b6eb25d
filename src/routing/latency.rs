//! How long each provider takes, as one shard has seen it lately.
//!
//! The mean of what was measured, where each sample's weight halves every [`HALF_LIFE`]: after a provider has changed, old
//! evidence fades by itself, whether calls are many or few. Samples carry a *mass*: a new one adds 1, all of it decays
//! together, and `mean += (sample − mean) / mass`. So the first sample is taken as it is, a burst within one
//! millisecond counts in full, and the mass says how much is known.
//!
//! **No evidence.** When the mass has decayed below [`MASS_MIN`] (25 s after a lone sample, 58 s after a hundred), what was
//! known is forgotten and the provider is worth asking again. It then ranks before the known ones, for *one* call; until
//! an answer comes, or [`EXPLORE_EVERY`] has passed, it is [`Evidence::Awaited`] and ranks as if it took [`AWAITED_US`].
//! So each shard sends an unknown, silent or failing provider at most one call a second per class out of curiosity, and
//! a provider that lost once is asked again within a minute.
//!
//! Per shard, provider and method class; plain fields, no atomics. Moments of forgetting are worked out when a sample
//! comes, so that ranking only compares. The brain's percentiles replace this; the interface is what it has to keep.

use std::time::Duration;

use crate::jsonrpc::MethodClass;
use crate::time::Instant;

/// Long enough to average some calls on a quiet chain, short enough to leave a provider that slows down.
pub const HALF_LIFE: Duration = Duration::from_secs(5);

/// Below this weight of evidence a mean is an anecdote: a lone sample after five half-lives.
pub const MASS_MIN: f64 = 1.0 / 32.0;

/// How often an unknown provider is tried for its evidence alone.
pub const EXPLORE_EVERY: Duration = Duration::from_secs(1);

/// What an unknown provider is taken for while its first answer is awaited: slower than any that one would choose.
pub const AWAITED_US: f64 = 1_000_000.0;

/// What is known of a provider's latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evidence {
    /// Nothing: worth one call.
    Unknown,
    /// Nothing yet, but it has been asked.
    Awaited,
    /// Its mean, in microseconds.
    Known(f64),
}

impl Evidence {
    /// The latency to reckon with, in microseconds.
    #[must_use]
    pub const fn micros(self) -> f64 {
        match self {
            Self::Unknown | Self::Awaited => AWAITED_US,
            Self::Known(mean_us) => mean_us,
        }
    }
}

/// The latencies of one chain's providers in one shard.
#[derive(Clone, Debug)]
pub struct Latencies(Vec<[Ewma; MethodClass::ALL.len()]>);

impl Latencies {
    /// Room for `providers` of which nothing is known.
    #[must_use]
    pub fn new(providers: usize) -> Self {
        Self(vec![[Ewma::default(); MethodClass::ALL.len()]; providers])
    }

    /// Copies what `before` knew of the provider at `was` to the one at `is`.
    pub fn take_over(&mut self, before: &Self, was: usize, is: usize) {
        if let (Some(from), Some(to)) = (before.0.get(was), self.0.get_mut(is)) {
            *to = *from;
        }
    }

    /// What is known now. A provider out of range is unknown.
    #[must_use]
    pub fn evidence(&self, provider: usize, class: MethodClass, now: Instant) -> Evidence {
        self.0.get(provider).map_or(Evidence::Unknown, |row| row[class.index()].evidence(now))
    }

    /// A call has been sent.
    pub fn on_sent(&mut self, provider: usize, class: MethodClass, now: Instant) {
        if let Some(row) = self.0.get_mut(provider) {
            row[class.index()].on_sent(now);
        }
    }

    /// It took `took` until the first byte of an answer; or it was given up after `took`, which is the least it would
    /// have taken. Not for refusals (rate, quota, credentials) and broken transports, which come fast and mean nothing.
    pub fn on_answer(&mut self, provider: usize, class: MethodClass, now: Instant, took: Duration) {
        if let Some(row) = self.0.get_mut(provider) {
            row[class.index()].on_sample(now, took);
        }
    }
}

/// One decaying mean. `mass` and `mean_us` are as of `at`.
#[derive(Clone, Copy, Debug, Default)]
struct Ewma {
    mean_us: f64,
    mass: f64,
    at: Instant,
    /// When the mass will have decayed to [`MASS_MIN`].
    forgotten_at: Instant,
    /// When it may next be asked for evidence alone.
    explore_at: Instant,
}

impl Ewma {
    fn evidence(&self, now: Instant) -> Evidence {
        if now < self.forgotten_at {
            Evidence::Known(self.mean_us)
        } else if now < self.explore_at {
            Evidence::Awaited
        } else {
            Evidence::Unknown
        }
    }

    fn on_sent(&mut self, now: Instant) {
        if self.evidence(now) == Evidence::Unknown {
            self.explore_at = now + EXPLORE_EVERY;
        }
    }

    fn on_sample(&mut self, now: Instant, took: Duration) {
        let half_life_s = HALF_LIFE.as_secs_f64();
        let sample_us = took.as_secs_f64() * 1e6;
        if now >= self.forgotten_at {
            self.mass = 0.0;
        }
        self.mass = self.mass * (-now.since(self.at).as_secs_f64() / half_life_s).exp2() + 1.0;
        self.mean_us += (sample_us - self.mean_us) / self.mass;
        self.at = now;
        // The mass is at least 1, so the logarithm is at least 5 and the duration a sane one.
        self.forgotten_at = now + HALF_LIFE.mul_f64((self.mass / MASS_MIN).log2());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: MethodClass = MethodClass::Read;

    fn ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn fed(samples: &[(u64, u64)]) -> Latencies {
        let mut latencies = Latencies::new(1);
        for &(at_ms, took_ms) in samples {
            latencies.on_answer(0, CLASS, ms(at_ms), Duration::from_millis(took_ms));
        }
        latencies
    }

    #[track_caller]
    fn check(samples: &[(u64, u64)], now_ms: u64, expected_ms: f64) {
        match fed(samples).evidence(0, CLASS, ms(now_ms)) {
            Evidence::Known(us) => {
                assert!((us / 1000.0 - expected_ms).abs() < 0.01, "{us} us is not {expected_ms} ms");
            }
            other => panic!("{other:?} after {samples:?}"),
        }
    }

    #[test]
    fn means_decay_with_time() {
        check(&[(0, 80)], 0, 80.0);
        check(&[(0, 80)], 24_999, 80.0);
        // A burst within one moment is a plain mean.
        check(&[(7, 10), (7, 20), (7, 60)], 7, 30.0);
        // One half-life later the first counts half.
        check(&[(0, 40), (5_000, 10)], 5_000, 20.0);
        // What is forgotten weighs nothing at all.
        check(&[(0, 1000), (60_000, 10)], 60_000, 10.0);
    }

    #[test]
    fn a_jump_is_followed_within_seconds() {
        let mut samples: Vec<_> = (0..1000).map(|i| (i * 20, 10)).collect();
        samples.extend((1000..1750).map(|i| (i * 20, 100)));
        match fed(&samples).evidence(0, CLASS, ms(35_000)) {
            Evidence::Known(us) => {
                assert!(us > 85_000.0, "{us} us 15 s after a jump from 10 to 100 ms");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn evidence_is_forgotten_and_asked_for_once_a_second() {
        let mut latencies = fed(&[(0, 80)]);
        assert_eq!(latencies.evidence(0, CLASS, ms(25_000)), Evidence::Unknown);
        latencies.on_sent(0, CLASS, ms(25_000));
        assert_eq!(latencies.evidence(0, CLASS, ms(25_999)), Evidence::Awaited);
        latencies.on_sent(0, CLASS, ms(25_999));
        assert_eq!(latencies.evidence(0, CLASS, ms(26_000)), Evidence::Unknown);
        latencies.on_answer(0, CLASS, ms(26_000), Duration::from_millis(5));
        assert_eq!(latencies.evidence(0, CLASS, ms(26_000)), Evidence::Known(5_000.0));
    }

    #[test]
    fn classes_are_apart_and_strangers_unknown() {
        let mut latencies = fed(&[(0, 80)]);
        assert_eq!(latencies.evidence(0, MethodClass::Trace, ms(0)), Evidence::Unknown);
        assert_eq!(latencies.evidence(9, CLASS, ms(0)), Evidence::Unknown);
        latencies.on_sent(9, CLASS, ms(0));
        latencies.on_answer(9, CLASS, ms(0), Duration::ZERO);
    }
}
