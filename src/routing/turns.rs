//! Whose turn it is: weighted round robin that does not bunch.
//!
//! With weights 3 and 1 the order is A A B A, not A A A B. Each provider holds a credit. At each turn, everyone who could be
//! asked earns its weight; the one with the most is asked and pays what all earned together. Over any stretch in
//! which the same providers can be asked, each gets its share to within one turn.
//!
//! State of one shard and one chain, deterministic. A provider that is out neither earns nor pays, so that it does not
//! come back to a flood. Credits sum to zero at all times and are whole numbers, which `f64` holds exactly.

use crate::limits::PROVIDERS_PER_CHAIN_MAX;

/// Credits by provider.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    credits: Vec<f64>,
}

impl Turns {
    #[must_use]
    pub(super) fn new(providers: usize) -> Self {
        Self { credits: vec![0.0; providers.min(PROVIDERS_PER_CHAIN_MAX)] }
    }

    /// How far a provider of `weight` stands from its turn: the lowest is next.
    #[must_use]
    pub(super) fn distance(&self, provider: usize, weight: u32) -> f64 {
        self.credits.get(provider).map_or(0.0, |credit| -(credit + f64::from(weight)))
    }

    /// `chosen` takes its turn among the providers that `asked` yields, with their weights; `chosen` is one of them.
    pub(super) fn take(&mut self, chosen: usize, asked: impl Iterator<Item = (usize, u32)>) {
        let mut total = 0.0;
        for (provider, weight) in asked {
            if let Some(credit) = self.credits.get_mut(provider) {
                *credit += f64::from(weight);
                total += f64::from(weight);
            }
        }
        if let Some(credit) = self.credits.get_mut(chosen) {
            *credit -= total;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` turns among the providers that `weights` lists.
    fn play(turns: &mut Turns, weights: &[(usize, u32)], count: usize) -> String {
        let mut order = String::new();
        for _ in 0..count {
            let distance = |&(provider, weight): &(usize, u32)| turns.distance(provider, weight);
            let (chosen, _) = *weights.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap();
            turns.take(chosen, weights.iter().copied());
            assert!(turns.credits.iter().sum::<f64>().abs() < 1e-9);
            order.push(char::from(b'A' + u8::try_from(chosen).unwrap()));
        }
        order
    }

    #[test]
    fn shares_are_exact_and_spread() {
        // Weights → the order of two rounds.
        let cases: [(&[(usize, u32)], &str); 4] = [
            (&[(0, 1), (1, 1), (2, 1)], "ABCABC"),
            (&[(0, 3), (1, 1)], "AABAAABA"),
            (&[(0, 5), (1, 1), (2, 1)], "AABACAAAABACAA"),
            (&[(2, 7)], "CC"),
        ];
        for (weights, expected) in cases {
            assert_eq!(play(&mut Turns::new(3), weights, expected.len()), expected, "{weights:?}");
        }
    }

    #[test]
    fn who_was_out_does_not_come_back_to_a_flood() {
        let mut turns = Turns::new(3);
        play(&mut turns, &[(0, 1), (1, 1), (2, 1)], 4);
        play(&mut turns, &[(0, 1), (1, 1)], 1000);
        let back = play(&mut turns, &[(0, 1), (1, 1), (2, 1)], 6);
        assert!((2..=3).contains(&back.matches('C').count()), "{back}");
    }
}
