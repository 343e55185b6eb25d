//! Regret: how much faster calls would have been elsewhere, as far as production can know.
//!
//! Nobody knows what a call would have taken at a provider that was not asked. Two kinds of call know a part of it. A
//! call that *explored* was measured at one provider, while the mean of the one that ranking prefers is known: what the
//! explored one was faster by is what ranking lost, what it was slower by is what exploring cost. A *hedged* call was
//! sent to two: the first one's answer (or the time that it was waited for in vain, which is the least it would have
//! taken) stands against the second's. Of a second one that was cut short nothing is known, and that call is not counted.
//!
//! Over many calls, `lost / calls` near zero says that ranking is right; a figure that grows says that somebody better
//! is not asked. A single explored call compares one draw with a mean, and half of all draws are below it:
//! [`Regret::lost_us`] has a floor that is noise, the same at all times, and [`Regret::net_us`] has none.
//!
//! Plain sums, one in each row that a shard ships: of the provider that was asked instead, in the call's class.

use std::time::Duration;

/// How a second latency came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    Explored,
    Hedged,
}

impl Compared {
    pub const ALL: [Self; 2] = [Self::Explored, Self::Hedged];

    /// The word used in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Explored => "explored",
            Self::Hedged => "hedged",
        }
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regret {
    /// By [`Compared`].
    calls: [u64; Compared::ALL.len()],
    /// Calls whose preferred provider was the faster one.
    right: u64,
    /// Microseconds that the preferred provider was slower by, where it was.
    lost_us: u64,
    /// Microseconds that it was faster by, where it was.
    won_us: u64,
}

impl Regret {
    /// The provider that ranking prefers took, or takes on average, `preferred`; another one `alternative`.
    pub fn on_call(&mut self, compared: Compared, preferred: Duration, alternative: Duration) {
        self.calls[compared as usize] += 1;
        let lost_us = micros(preferred.saturating_sub(alternative));
        self.right += u64::from(lost_us == 0);
        self.lost_us = self.lost_us.saturating_add(lost_us);
        self.won_us = self.won_us.saturating_add(micros(alternative.saturating_sub(preferred)));
    }

    /// Adds what another shard has.
    pub fn add(&mut self, other: &Self) {
        for (sum, calls) in self.calls.iter_mut().zip(other.calls) {
            *sum += calls;
        }
        self.right += other.right;
        self.lost_us = self.lost_us.saturating_add(other.lost_us);
        self.won_us = self.won_us.saturating_add(other.won_us);
    }

    /// Calls that compared in this way.
    #[must_use]
    pub const fn calls(&self, compared: Compared) -> u64 {
        self.calls[compared as usize]
    }

    /// Whether nothing was compared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Calls of both kinds whose preferred provider was the faster one.
    #[must_use]
    pub const fn right(&self) -> u64 {
        self.right
    }

    /// All that was lost by asking the preferred one, in microseconds.
    #[must_use]
    pub const fn lost_us(&self) -> u64 {
        self.lost_us
    }

    /// All that was won by it, in microseconds.
    #[must_use]
    pub const fn won_us(&self) -> u64 {
        self.won_us
    }

    /// What was lost less what was won: negative while ranking is right on the whole.
    #[must_use]
    pub fn net_us(&self) -> i128 {
        i128::from(self.lost_us) - i128::from(self.won_us)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_slower_is_lost_and_what_was_faster_is_won() {
        let ms = Duration::from_millis;
        let mut regret = Regret::default();
        assert!(regret.is_empty());
        regret.on_call(Compared::Explored, ms(30), ms(50));
        regret.on_call(Compared::Explored, ms(30), ms(30));
        regret.on_call(Compared::Hedged, ms(100), ms(20));
        assert_eq!(Compared::ALL.map(|compared| regret.calls(compared)), [2, 1]);
        assert_eq!((regret.right(), regret.lost_us(), regret.won_us()), (2, 80_000, 20_000));
        assert_eq!(regret.net_us(), 60_000);
    }

    #[test]
    fn shards_are_summed() {
        let (mut sum, mut shard) = (Regret::default(), Regret::default());
        shard.on_call(Compared::Hedged, Duration::from_micros(7), Duration::from_micros(3));
        sum.add(&shard);
        sum.add(&shard);
        assert_eq!((sum.calls(Compared::Hedged), sum.lost_us(), sum.right()), (2, 8, 0));
    }
}
