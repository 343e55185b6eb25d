//! A small source of random numbers, seeded and handed in.
//!
//! Draws between providers need to be even, cheap and repeatable from a seed (the simulator's replay), not secret: ids
//! that must not be guessed are made elsewhere. One per shard, so that no two shards write the same cache line. The
//! generator is a counter with an odd step whose value is mixed until every input bit moves every output bit: the
//! state is one word, no seed is a bad one, and the period is 2^64.

/// A seeded sequence of even 64-bit numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that `seed` names. Shards take different ones.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number in (0, 1): never 0, so that its logarithm is finite.
    pub fn next_unit(&mut self) -> f64 {
        let high = (self.next_u64() >> 32) as u32;
        (f64::from(high) + 0.5) / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_its_sequence() {
        let take = |seed| {
            let mut random = Random::new(seed);
            [random.next_u64(), random.next_u64(), random.next_u64()]
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
        assert_ne!(take(0)[0], 0);
    }

    #[test]
    fn units_are_even_and_never_at_the_ends() {
        let mut random = Random::new(1);
        let mut tenths = [0_u32; 10];
        for _ in 0..100_000 {
            let unit = random.next_unit();
            assert!(unit > 0.0 && unit < 1.0);
            let tenth = (0..9).find(|&i| unit < f64::from(i + 1) / 10.0).unwrap_or(9);
            tenths[usize::try_from(tenth).unwrap()] += 1;
        }
        for count in tenths {
            // Five standard deviations of 10,000 ± 95.
            assert!((9_525..=10_475).contains(&count), "{tenths:?}");
        }
    }
}
