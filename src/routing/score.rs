//! What a provider is worth for a class of calls: one number to rank by, and the figures that pages show.
//!
//! The **cost** is the configured percentile of the latency, unanswered calls included as slower than any answer. With
//! many samples it is read off the window. With few, a percentile is a guess at best (the 90th of five samples is their
//! slowest), while the *mean* of five logarithms is already good to a few percent. So the cost is inferred: the mean,
//! plus the distance from mean to percentile that this provider had when it was known well, or else the one of a
//! distribution of the usual skew. The two are blended by evidence, and then *widened*: one standard error dearer, so
//! that who is little known must be clearly better in order to win.
//!
//! `ln cost = w · ln P + (1 − w) · (mean + tail) + widening · spread / √n`, with `w = n / (n + samples_trusted)`.
//!
//! The **hope** is the same, two standard errors cheaper: where it is below the leader's cost, a look is worth more
//! than elsewhere. The **promise** is what a change for the better that seems to have begun would come to: a look at
//! once.

use std::time::Duration;

use super::settings::RankingConfig;
use super::window::Window;
use crate::limits::LATENCY_US_MAX;
use crate::time::Instant;

/// Distance from the mean to the percentile in logarithms where nothing better is known, per unit of spread: the 90th
/// of a normal one.
const TAIL_PER_SPREAD: f64 = 1.28;
/// The same for the 95th.
const P95_PER_SPREAD: f64 = 1.645;
/// A provider with less evidence is unknown: a lone sample after three half-lives.
pub(super) const WEIGHT_MIN: f64 = 0.125;
/// Effective samples at which a provider's own tail is worth remembering.
const TAIL_SAMPLES: f64 = 100.0;
/// Most of what is learned of the tail at once.
const TAIL_STEP: f64 = 0.1;

/// A provider's place in one class, as ranking reckons.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cost {
    pub(super) us: f64,
    pub(super) hope_us: f64,
    pub(super) promise_us: Option<f64>,
    /// What a call to it is expected to take, not widened: the price of a look.
    pub(super) typical_us: f64,
    /// Fails more than the floor allows.
    pub(super) poor: bool,
}

/// The tail that a provider has shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tail(Option<f64>);

impl Tail {
    /// Looks again while much is known.
    pub(super) fn learn(&mut self, window: &Window, config: &RankingConfig) {
        if window.known.answered() < TAIL_SAMPLES {
            return;
        }
        let shown = window.known.answered_percentile(config.percentile).zip(window.known.ln_mean());
        if let Some(tail) = shown.map(|(us, mean)| us.ln() - mean) {
            let before = self.0.unwrap_or(tail);
            self.0 = Some(before + (tail - before) * TAIL_STEP);
        }
    }
}

/// The cost of the provider that `window` is about; `None` while it is unknown.
pub(super) fn cost(now: Instant, window: &Window, tail: Tail, config: &RankingConfig) -> Option<Cost> {
    let known = &window.known;
    let weight = known.weight() * window.fading(now, config);
    if weight < WEIGHT_MIN {
        return None;
    }
    let poor = is_poor(now, window, config);
    let worst = worst_us().ln();
    let Some(mean) = known.ln_mean() else {
        return Some(Cost { us: worst_us(), hope_us: worst_us(), promise_us: None, typical_us: worst_us(), poor });
    };
    let spread = known.spread();
    let tail = tail.0.unwrap_or(TAIL_PER_SPREAD * spread);
    let trust = weight / (weight + config.samples_trusted);
    let direct = known.percentile(config.percentile).map_or(worst, f64::ln);
    let ln = trust * direct + (1.0 - trust) * (mean + tail);
    let error = spread / weight.sqrt();
    Some(Cost {
        us: (ln + config.widening * error).min(worst).exp(),
        hope_us: (ln - 2.0 * error).min(worst).exp(),
        promise_us: window.promise().map(|promise| (promise + tail).exp()),
        typical_us: if known.percentile(0.5).is_some() { mean.exp() } else { worst_us() },
        poor,
    })
}

/// What 95 of 100 answers take at most, in microseconds; 0 while nothing is known. With few samples inferred from the mean,
/// as the cost is.
pub(super) fn p95_us(window: &Window, config: &RankingConfig) -> f64 {
    let known = &window.known;
    let (Some(mean), Some(direct)) = (known.ln_mean(), known.answered_percentile(0.95)) else { return 0.0 };
    let trust = known.answered() / (known.answered() + config.samples_trusted);
    (trust * direct.ln() + (1.0 - trust) * (mean + P95_PER_SPREAD * known.spread())).exp()
}

fn is_poor(now: Instant, window: &Window, config: &RankingConfig) -> bool {
    let fading = window.fading(now, config);
    let (answers, failures) = (window.answers * fading, window.failures * fading);
    let attempts = answers + failures;
    attempts >= config.floor_samples && answers < config.success_floor * attempts
}

/// The cost of who answers nothing.
fn worst_us() -> f64 {
    super::window::float(LATENCY_US_MAX)
}

/// Figures of one (provider, class), for pages and metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// What it is ranked by, in microseconds: see the module.
    pub cost_us: f64,
    /// Mean and percentiles of the answers' latency, microseconds.
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p95_us: f64,
    pub p99_us: f64,
    /// Answers among answers and failures, 0 to 1; 1 while neither was seen.
    pub success_rate: f64,
    /// Refusals for a rate or a quota among all attempts, 0 to 1.
    pub throttle_rate: f64,
    /// Samples' worth of evidence.
    pub samples: f64,
    /// Since the last attempt.
    pub age: Duration,
    /// Below the success-rate floor: asked only when no other is ready.
    pub poor: bool,
    /// Times that it was found to have changed.
    pub changes: u32,
}

/// The figures of the provider that `window` is about; `None` while it is unknown.
pub(super) fn score(now: Instant, window: &Window, tail: Tail, config: &RankingConfig) -> Option<Score> {
    let cost = cost(now, window, tail, config)?;
    let known = &window.known;
    let part = |part| known.answered_percentile(part).unwrap_or(0.0);
    let rate = |these: f64, of: f64, none: f64| if of > 0.0 { these / of } else { none };
    let attempts = window.answers + window.errors + window.limited + window.failures;
    Some(Score {
        cost_us: cost.us,
        mean_us: window.mean_us,
        p50_us: part(0.5),
        p90_us: part(0.9),
        p95_us: part(0.95),
        p99_us: part(0.99),
        success_rate: rate(window.answers, window.answers + window.failures, 1.0),
        throttle_rate: rate(window.limited, attempts, 0.0),
        samples: known.weight() * window.fading(now, config),
        age: window.sampled.map_or(Duration::ZERO, |sampled| now.since(sampled)),
        poor: cost.poor,
        changes: window.changes,
    })
}

#[cfg(test)]
mod tests {
    use super::super::window::Tally;
    use super::*;

    fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    /// `count` answers of 40, 50 and 60 ms at one moment, and failures.
    fn seen(count: u64, failures: u64) -> Window {
        let config = RankingConfig::default();
        let mut window = Window::new(secs(0));
        let latencies: Vec<_> = (0..count).map(|i| (40_000 + i % 3 * 10_000, 1)).collect();
        window.merge(secs(0), &latencies, &Tally { answers: count, failures, ..Tally::default() }, &config);
        window
    }

    fn cost_at(at: Instant, window: &Window) -> Option<Cost> {
        cost(at, window, Tail::default(), &RankingConfig::default())
    }

    #[test]
    fn much_evidence_is_read_off_and_thin_evidence_costs_more() {
        let us = |count| cost_at(secs(0), &seen(count, 0)).map_or(0.0, |cost| cost.us);
        assert!((us(400) / 60_000.0 - 1.0).abs() < 0.06, "{}", us(400));
        assert!(us(30) > us(400) && us(9) > us(30) && us(3) > us(9));
        assert!(us(3) < 150_000.0, "{}", us(3));
    }

    #[test]
    fn what_was_known_widens_with_age_and_is_forgotten() {
        let window = seen(3, 0);
        let at = |s| cost_at(secs(s), &window).map(|cost| cost.us);
        assert!(at(40) > at(20) && at(20) > at(0));
        assert!(at(90).is_some() && at(100).is_none());
        assert_eq!(cost_at(secs(0), &Window::new(secs(0))), None);
    }

    #[test]
    fn who_fails_more_than_one_in_ten_has_no_ninetieth_percentile() {
        let us = |window: &Window| cost_at(secs(0), window).map_or(0.0, |cost| cost.us);
        assert!(us(&seen(90, 5)) < 100_000.0);
        assert!(us(&seen(90, 20)) > 10_000_000.0);
    }

    #[test]
    fn the_95th_percentile_is_inferred_from_few_samples_and_read_off_many() {
        let p95 = |count| p95_us(&seen(count, 0), &RankingConfig::default());
        assert!(p95(0) == 0.0, "nothing is known");
        assert!((p95(400) / 60_000.0 - 1.0).abs() < 0.06, "{}", p95(400));
        assert!((55_000.0..100_000.0).contains(&p95(3)), "{}", p95(3));
        // Calls that were not answered are no latencies.
        assert!((p95_us(&seen(90, 90), &RankingConfig::default()) - p95(90)).abs() < 1.0);
    }

    #[test]
    fn the_floor_needs_attempts() {
        // Answers, failures → poor.
        for (answers, failures, poor) in [(0, 9, false), (0, 10, true), (4, 6, true), (5, 5, false), (100, 99, false)] {
            let found = cost_at(secs(0), &seen(answers, failures)).map(|cost| cost.poor);
            assert_eq!(found, Some(poor), "{answers} answers, {failures} failures");
        }
    }

    #[test]
    fn pages_are_told_rates_and_percentiles() {
        let config = RankingConfig::default();
        let mut window = seen(60, 20);
        let tally = Tally { limited: 20, ..Tally::default() };
        window.merge(secs(0), &[], &tally, &config);
        let score = score(secs(5), &window, Tail::default(), &config).expect("known");
        assert!((score.success_rate - 0.75).abs() < 1e-9 && (score.throttle_rate - 0.2).abs() < 1e-9);
        assert!(score.p50_us < score.p99_us && score.age == Duration::from_secs(5) && !score.poor);
    }
}
