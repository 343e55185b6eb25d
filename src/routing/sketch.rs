//! A distribution of latencies whose samples have weights: what a window is made of.
//!
//! Buckets of equal width on the logarithmic scale, sixteen to a doubling (4.4 %), from 16 µs to 134 s, and
//! interpolated within: a percentile is exact to about 1 % where its bucket's neighbours are filled alike. Weights are
//! `f32`, so that everything can be made to count less by one multiplication, which an `hdrhistogram` of whole counts
//! cannot. 1.5 KiB each.
//!
//! What was not answered has no latency, but it is not nothing: it was *beyond* any answer. Its weight stands above the
//! highest bucket, so that the 90th percentile of a provider that fails one call in five is "no answer", as its callers
//! know it.
//!
//! The mean and the spread are of the logarithms: latencies are skewed, their logarithms hardly, so that few samples
//! suffice and a single stall does not carry the mean away.

use super::ranking::narrow;

const PER_OCTAVE: u32 = 16;
const LOWEST_OCTAVE: u32 = 4;
const HIGHEST_OCTAVE: u32 = 27;
const BUCKETS: usize = (PER_OCTAVE * (HIGHEST_OCTAVE - LOWEST_OCTAVE)) as usize;

/// The spread of logarithms that a provider is taken to have, and how many samples that opinion is worth.
const SPREAD_PRIOR: f64 = 0.35;
const SPREAD_PRIOR_SAMPLES: f64 = 4.0;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    buckets: Box<[f32; BUCKETS]>,
    answered: f64,
    beyond: f64,
    /// Weighted sums of the latencies' natural logarithms and of their squares.
    ln_sum: f64,
    ln_square_sum: f64,
}

impl Sketch {
    pub(super) fn new() -> Self {
        Self { buckets: Box::new([0.0; BUCKETS]), answered: 0.0, beyond: 0.0, ln_sum: 0.0, ln_square_sum: 0.0 }
    }

    pub(super) fn reset(&mut self) {
        if self.weight() > 0.0 {
            *self = Self::new();
        }
    }

    /// Adds answers that took `latency_us`, with a weight together.
    pub(super) fn add(&mut self, latency_us: f64, weight: f64) {
        let latency_us = latency_us.max(1.0);
        let ln = latency_us.ln();
        self.buckets[bucket(latency_us)] += narrow(weight);
        self.answered += weight;
        self.ln_sum += weight * ln;
        self.ln_square_sum += weight * ln * ln;
    }

    /// Adds calls that were not answered.
    pub(super) fn add_beyond(&mut self, weight: f64) {
        self.beyond += weight;
    }

    /// Forgets the calls that were not answered.
    pub(super) fn forgive(&mut self) {
        self.beyond = 0.0;
    }

    /// Makes everything count `factor` times as much.
    pub(super) fn scale(&mut self, factor: f64) {
        let narrow = narrow(factor);
        self.buckets.iter_mut().for_each(|weight| *weight *= narrow);
        for sum in [&mut self.answered, &mut self.beyond, &mut self.ln_sum, &mut self.ln_square_sum] {
            *sum *= factor;
        }
    }

    /// All of it, answered or not.
    pub(super) fn weight(&self) -> f64 {
        self.answered + self.beyond
    }

    /// What was answered.
    pub(super) const fn answered(&self) -> f64 {
        self.answered
    }

    /// The mean of the logarithms of the latencies in microseconds; `None` without an answer.
    pub(super) fn ln_mean(&self) -> Option<f64> {
        (self.answered > 0.0).then(|| self.ln_sum / self.answered)
    }

    /// Their standard deviation, as far as they are many; few samples have too small a one by luck, and none has none.
    pub(super) fn spread(&self) -> f64 {
        let Some(mean) = self.ln_mean() else { return SPREAD_PRIOR };
        let own = (self.ln_square_sum / self.answered - mean * mean).max(0.0).sqrt();
        (own * self.answered + SPREAD_PRIOR * SPREAD_PRIOR_SAMPLES) / (self.answered + SPREAD_PRIOR_SAMPLES)
    }

    /// The latency in microseconds below which `part` of all calls were answered; `None` where fewer were.
    pub(super) fn percentile(&self, part: f64) -> Option<f64> {
        self.quantile(part * self.weight())
    }

    /// The same of the answered calls alone.
    pub(super) fn answered_percentile(&self, part: f64) -> Option<f64> {
        self.quantile(part * self.answered)
    }

    fn quantile(&self, mut left: f64) -> Option<f64> {
        if self.answered <= 0.0 || left > self.answered {
            return None;
        }
        let (mut low, mut last) = (f64::from(LOWEST_OCTAVE), f64::from(LOWEST_OCTAVE));
        for &weight in self.buckets.iter() {
            let weight = f64::from(weight);
            if weight > 0.0 {
                if left <= weight {
                    return Some((low + left / weight * BUCKET).exp2());
                }
                left -= weight;
                last = low + BUCKET;
            }
            low += BUCKET;
        }
        // Rounding left a little over: it is of the highest bucket.
        Some(last.exp2())
    }
}

/// A bucket's width, in doublings.
const BUCKET: f64 = 1.0 / PER_OCTAVE as f64;

/// The lowest bucket has what is below it, the highest what is above.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a cast of a float saturates
fn bucket(latency_us: f64) -> usize {
    let position = (latency_us.log2() - f64::from(LOWEST_OCTAVE)) / BUCKET;
    (position as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(samples: &[(f64, f64)]) -> Sketch {
        let mut sketch = Sketch::new();
        for &(us, weight) in samples {
            sketch.add(us, weight);
        }
        sketch
    }

    #[track_caller]
    fn near(actual: Option<f64>, expected: f64) {
        let actual = actual.expect("a latency");
        assert!((actual / expected - 1.0).abs() < 0.045, "{actual} is not {expected}");
    }

    #[test]
    fn percentiles_are_within_a_bucket() {
        let even: Vec<_> = (1..=1000).map(|i| (f64::from(i) * 100.0, 1.0)).collect();
        let sketch = filled(&even);
        for part in [0.1, 0.5, 0.9, 0.99, 1.0] {
            near(sketch.percentile(part), part * 100_000.0);
        }
        near(filled(&[(1e9, 1.0)]).percentile(0.5), 134_000_000.0);
        assert_eq!(Sketch::new().percentile(0.5), None);
    }

    #[test]
    fn what_was_not_answered_is_beyond_any_answer() {
        let mut sketch = filled(&[(1_000.0, 60.0), (2_000.0, 20.0)]);
        sketch.add_beyond(20.0);
        near(sketch.percentile(0.5), 1_000.0);
        near(sketch.percentile(0.79), 2_000.0);
        assert_eq!(sketch.percentile(0.9), None);
        near(sketch.answered_percentile(0.9), 2_000.0);
        sketch.forgive();
        near(sketch.percentile(0.9), 2_000.0);
    }

    #[test]
    fn scaling_changes_the_weight_alone() {
        let mut sketch = filled(&[(1_000.0, 3.0), (8_000.0, 1.0)]);
        let before = (sketch.percentile(0.6), sketch.ln_mean());
        sketch.scale(0.5);
        assert_eq!((sketch.percentile(0.6), sketch.ln_mean()), before);
        assert!((sketch.weight() - 2.0).abs() < 1e-9);
    }
}
