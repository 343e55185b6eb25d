//! What is known of one provider for one class of calls: a window over the recent past that is as long as it must be.
//!
//! How long to remember is the question of all measuring. A short memory is noisy, a long one is late. The answer here
//! is *as short as the evidence allows, and cut at a change*:
//!
//! - **Forgetting by time.** All weights halve every [`RankingConfig::half_life`]. This rules where samples are few: a
//!   provider that is explored once in three seconds needs twenty seconds of them to be placed at all.
//! - **Forgetting by number.** Never more than [`RankingConfig::samples_max`] are kept. This rules where samples are
//!   many: the leader at 50 calls a second is known by its last eight seconds, at 500 by the last one.
//! - **Cutting at a change.** Two sums watch, one for slower and one for faster (CUSUM, Page 1954). Each adds up by how
//!   many standard deviations the samples' logarithms differ from the mean, less a slack, and starts anew when it falls
//!   to zero. A sum beyond [`RankingConfig::change_sum`] means that the provider is not who it was when the sum left
//!   zero: what was known before is dropped, and the samples since then are the window. Three samples that are twice as
//!   slow as ever before do it, at whatever rate they come. One sample counts for four deviations at most: an outlier
//!   is no change.
//!
//! **Unanswered calls** (failed, or given up as late) stand beyond all answers ([`Sketch`]). They leave by forgetting,
//! or by a *run of answers* too long for the share of failures known: seven in a row from one that failed half its
//! calls happen once in a hundred times, and the failures are then of a time before.
//!
//! **Counts** of how attempts ended are decayed alike, for rates. Refused attempts (rate, quota) are counted, and no
//! part of the success rate: a cooldown is their consequence, and they say nothing of the provider's health.
//!
//! Not here: what a score is made of (`score`), and whose it is (`board`). Pure; touched by control alone. Memory:
//! three sketches, 5 KiB, for each (provider, class) that was ever asked.

use std::time::Duration;

use super::settings::RankingConfig;
use super::sketch::Sketch;
use crate::time::Instant;

/// How attempts ended since the last report. Answers' latencies are reported beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered; each has a latency.
    pub answers: u64,
    /// An error reply that is not held against the provider.
    pub errors: u64,
    /// Given up as late or slow, without that being a failure: for ranking it is no answer all the same.
    pub late: u64,
    /// Refused for a rate or a quota.
    pub limited: u64,
    /// Broken, malformed, silent.
    pub failures: u64,
    /// Cancelled, since another one asked beside it was faster. Those that had taken as long as they should have a latency,
    /// which is the least that they would have taken.
    pub outrun: u64,
}

impl Tally {
    /// All attempts.
    #[must_use]
    pub const fn attempts(&self) -> u64 {
        self.answers + self.errors + self.late + self.limited + self.failures + self.outrun
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) known: Sketch,
    slower: Watch,
    faster: Watch,
    /// What the watches measure by.
    norm: Option<Norm>,
    /// How attempts ended, weighted alike.
    pub(super) answers: f64,
    pub(super) errors: f64,
    pub(super) limited: f64,
    pub(super) failures: f64,
    /// The mean latency, each sample's weight being a fiftieth of all before; for pages and regret.
    pub(super) mean_us: f64,
    /// Answers since the last call that was not answered.
    run: f64,
    /// What all weights are as of.
    decayed: Instant,
    /// When an attempt was last reported.
    pub(super) sampled: Option<Instant>,
    /// Attempts ever reported.
    pub(super) attempts: u64,
    /// Times that memory was cut.
    pub(super) changes: u32,
}

/// What is usual.
#[derive(Clone, Copy, Debug)]
struct Norm {
    /// Of the logarithms of latencies in microseconds.
    mean: f64,
    spread: f64,
    slack: f64,
}

/// One direction's sum, and what came since it left zero.
#[derive(Clone, Debug)]
struct Watch {
    sum: f64,
    since: Sketch,
    /// How many they are.
    samples: f64,
    /// The logarithm of the latest.
    latest: f64,
}

/// A sample's deviation counts for this much at most.
const DEVIATION_MAX: f64 = 4.0;
/// What counts of a watch's samples after each further report: a sum leaves zero some samples before the change or
/// after it, and the latest are the ones that are certainly of the time since.
const REPORT_FADE: f64 = 0.6;
/// A sum that is worth a second look: one sample two deviations off.
const PROMISE_SUM: f64 = 1.0;
/// The least spread that deviations are measured in: a provider that always takes 5.00 ms has not changed at 5.05.
const SPREAD_MIN: f64 = 0.08;
/// Samples without which there is no mean to deviate from, nor a change to believe.
const SAMPLES_MIN: f64 = 3.0;
/// The chance below which a run of answers is no accident.
const RUN_CHANCE: f64 = 0.01;
/// The part that one sample has in the mean, once there are as many.
const MEAN_STEP: f64 = 0.02;

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            known: Sketch::new(),
            slower: Watch::new(),
            faster: Watch::new(),
            norm: None,
            answers: 0.0,
            errors: 0.0,
            limited: 0.0,
            failures: 0.0,
            mean_us: 0.0,
            run: 0.0,
            decayed: now,
            sampled: None,
            attempts: 0,
            changes: 0,
        }
    }

    /// Takes in what was seen since the last report: the answers' latencies in microseconds, each with its count.
    pub(super) fn merge(&mut self, now: Instant, latencies: &[(u64, u64)], tally: &Tally, config: &RankingConfig) {
        if tally.attempts() == 0 {
            return;
        }
        self.decay(now, config);
        self.sampled = Some(now);
        self.attempts += tally.attempts();
        let cut = self.watch(latencies, config);
        for &(latency_us, count) in latencies {
            if !cut {
                self.known.add(float(latency_us), float(count));
            }
            self.follow(float(latency_us), float(count));
        }
        self.answers += float(tally.answers);
        self.errors += float(tally.errors);
        self.limited += float(tally.limited);
        self.failures += float(tally.failures);
        self.settle_unanswered(float(tally.failures + tally.late), float(tally.answers));
        self.shorten(config);
    }

    /// By how much weights have shrunk since the last report.
    pub(super) fn fading(&self, now: Instant, config: &RankingConfig) -> f64 {
        half_lives(now.since(self.decayed), config.half_life)
    }

    fn decay(&mut self, now: Instant, config: &RankingConfig) {
        let factor = self.fading(now, config);
        self.decayed = now;
        self.known.scale(factor);
        self.scale_counts(factor);
    }

    fn scale_counts(&mut self, factor: f64) {
        for count in [&mut self.answers, &mut self.errors, &mut self.limited, &mut self.failures] {
            *count *= factor;
        }
    }

    /// Feeds both watches, and cuts memory when one of them calls: what is then known includes `latencies` already.
    fn watch(&mut self, latencies: &[(u64, u64)], config: &RankingConfig) -> bool {
        // What seems to be a change must not become the measure of itself: the norm stands while a sum does.
        if self.slower.sum <= 0.0 && self.faster.sum <= 0.0 {
            self.norm = Norm::of(&self.known, config);
        }
        let Some(Norm { mean, spread, slack }) = self.norm else { return false };
        let deviation = |latency_us: u64| (float(latency_us).max(1.0).ln() - mean) / spread;
        let called = [(&mut self.slower, 1.0), (&mut self.faster, -1.0)].into_iter().find_map(|(watch, sign)| {
            watch.since.scale(REPORT_FADE);
            for &(latency_us, count) in latencies {
                let news = (sign * deviation(latency_us)).clamp(-DEVIATION_MAX, DEVIATION_MAX) - slack;
                watch.sum += float(count) * news;
                watch.since.add(float(latency_us), float(count));
                watch.samples += float(count);
                watch.latest = float(latency_us).max(1.0).ln();
            }
            if watch.sum <= 0.0 {
                watch.reset();
            }
            let called = watch.sum > config.change_sum && watch.samples >= SAMPLES_MIN;
            called.then(|| std::mem::replace(watch, Watch::new()).since)
        });
        let cut = called.is_some();
        if let Some(since) = called {
            self.cut(since);
        }
        cut
    }

    /// `since` is all that is still true.
    fn cut(&mut self, since: Sketch) {
        self.mean_us = since.ln_mean().map_or(self.mean_us, f64::exp);
        let unanswered = self.known.weight() - self.known.answered();
        let kept = since.answered() / self.known.answered().max(since.answered());
        self.known = since;
        self.known.add_beyond(unanswered * kept);
        self.scale_counts(kept);
        self.slower.reset();
        self.faster.reset();
        self.changes = self.changes.saturating_add(1);
    }

    fn follow(&mut self, latency_us: f64, count: f64) {
        let step = (count * MEAN_STEP).max(count / self.answers.max(count)).min(1.0);
        self.mean_us += (latency_us - self.mean_us) * step;
    }

    fn settle_unanswered(&mut self, unanswered: f64, answers: f64) {
        if unanswered > 0.0 {
            self.run = 0.0;
            self.known.add_beyond(unanswered);
            return;
        }
        self.run += answers;
        let share = 1.0 - self.known.answered() / self.known.weight().max(1e-9);
        if share > 0.0 && (1.0 - share).powf(self.run) < RUN_CHANCE {
            self.known.forgive();
            self.failures = 0.0;
        }
    }

    fn shorten(&mut self, config: &RankingConfig) {
        let excess = self.known.weight() / config.samples_max;
        if excess > 1.0 {
            self.known.scale(excess.recip());
        }
        let attempts = self.answers + self.errors + self.limited + self.failures;
        if attempts > config.samples_max {
            self.scale_counts(config.samples_max / attempts);
        }
    }

    /// What the samples may say that the watch for the better has gathered, while it is undecided: the mean of their
    /// logarithms, a standard error lower, or that of the latest.
    pub(super) fn promise(&self) -> Option<f64> {
        let since = &self.faster.since;
        let mean = since.ln_mean().filter(|_| self.faster.sum > PROMISE_SUM)?;
        let error = self.norm.map_or(0.0, |norm| norm.spread) / since.answered().sqrt();
        Some((mean - error).min(self.faster.latest))
    }
}

impl Norm {
    fn of(known: &Sketch, config: &RankingConfig) -> Option<Self> {
        let samples = known.answered();
        let mean = known.ln_mean().filter(|_| samples >= SAMPLES_MIN)?;
        // A mean of few samples is itself uncertain: more slack.
        Some(Self { mean, spread: known.spread().max(SPREAD_MIN), slack: config.change_slack + samples.sqrt().recip() })
    }
}

impl Watch {
    fn new() -> Self {
        Self { sum: 0.0, since: Sketch::new(), samples: 0.0, latest: 0.0 }
    }

    fn reset(&mut self) {
        (self.sum, self.samples) = (0.0, 0.0);
        self.since.reset();
    }
}

/// What is left of a weight after `age`.
fn half_lives(age: Duration, half_life: Duration) -> f64 {
    (-age.as_secs_f64() / half_life.as_secs_f64().max(1e-3)).exp2()
}

/// Counts and microseconds stay far below 2^53.
#[allow(clippy::cast_precision_loss)]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: fn() -> RankingConfig = RankingConfig::default;

    fn ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    /// One report of answers, in ms.
    fn report(window: &mut Window, at_ms: u64, took_ms: &[u64]) {
        let latencies: Vec<_> = took_ms.iter().map(|ms| (ms * 1000, 1)).collect();
        let tally = Tally { answers: took_ms.len() as u64, ..Tally::default() };
        window.merge(ms(at_ms), &latencies, &tally, &CONFIG());
    }

    /// Reports, one a second, of answers that take 40, 50 and 60 ms in turn.
    fn steady(seconds: u64) -> Window {
        let mut window = Window::new(ms(0));
        (0..seconds).for_each(|second| report(&mut window, second * 1000, &[40 + second % 3 * 10]));
        window
    }

    #[track_caller]
    fn near(actual: Option<f64>, expected_ms: f64) {
        let actual_ms = actual.expect("a percentile") / 1000.0;
        assert!((actual_ms / expected_ms - 1.0).abs() < 0.06, "{actual_ms} ms is not {expected_ms}");
    }

    #[test]
    fn evidence_halves_in_time_where_it_is_thin() {
        let window = steady(1);
        assert!((window.fading(ms(20_000), &CONFIG()) - 0.5).abs() < 1e-9);
        assert!((steady(200).known.weight() - 29.4).abs() < 1.0, "a sample a second: 20 s / ln 2");
    }

    #[test]
    fn memory_is_short_where_evidence_is_rich() {
        let mut window = Window::new(ms(0));
        // 400 calls a second: a slow shift of 20 % is the whole window's three seconds later.
        for tick in 0..40 {
            report(&mut window, tick * 250, &[if tick < 20 { 50 } else { 60 }; 100]);
            assert!(window.known.weight() <= CONFIG().samples_max + 1e-6);
        }
        near(window.known.percentile(0.5), 60.0);
    }

    #[test]
    fn three_samples_that_are_twice_as_far_off_as_any_cut_memory_and_one_does_not() {
        for took_ms in [8, 400] {
            let mut window = steady(30);
            report(&mut window, 30_000, &[took_ms]);
            assert_eq!(window.changes, 0, "one is an outlier");
            let mut back = window.clone();
            (31..60).for_each(|second| report(&mut back, second * 1000, &[50]));
            assert_eq!(back.changes, 0, "and stays one");
            report(&mut window, 31_000, &[took_ms]);
            report(&mut window, 32_000, &[took_ms]);
            assert_eq!(window.changes, 1);
            near(window.known.percentile(0.5), float(took_ms));
        }
    }

    #[test]
    fn steady_noise_is_no_change() {
        let mut random = super::super::random::Random::new(1);
        let mut window = Window::new(ms(0));
        for tick in 0..2400 {
            let took: Vec<_> = (0..12).map(|_| 20 + random.next_u64() % 60).collect();
            report(&mut window, tick * 250, &took);
        }
        assert_eq!(window.changes, 0, "ten minutes at 48 calls a second");
    }

    #[test]
    fn a_beginning_change_for_the_better_is_a_promise() {
        let mut window = steady(30);
        assert_eq!(window.promise(), None);
        report(&mut window, 30_000, &[15]);
        let promise_ms = window.promise().map_or(0.0, f64::exp) / 1000.0;
        assert!((10.0..15.5).contains(&promise_ms), "{promise_ms}");
        (31..36).for_each(|second| report(&mut window, second * 1000, &[50]));
        assert_eq!(window.promise(), None, "broken");
    }

    #[test]
    fn unanswered_calls_count_as_the_slowest_until_a_run_of_answers_refutes_them() {
        let mut window = steady(30);
        let failed = Tally { failures: 8, late: 4, ..Tally::default() };
        window.merge(ms(30_000), &[], &failed, &CONFIG());
        assert_eq!(window.known.percentile(0.9), None);
        near(window.known.percentile(0.5), 60.0);
        assert!(window.failures > 7.9 && window.answers > 15.0);
        (31..38).for_each(|second| report(&mut window, second * 1000, &[50]));
        assert_eq!(window.known.percentile(0.9), None, "seven answers: a third had failed");
        (38..70).for_each(|second| report(&mut window, second * 1000, &[50]));
        assert!(window.known.percentile(0.9).is_some());
    }
}
