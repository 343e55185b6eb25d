//! Regret: how much faster calls would have been elsewhere, as far as production can know.
//!
//! Nobody knows what a call would have taken at a provider that was not asked. Two kinds of call know a part of it. A
//! call that *explored* was measured at one provider, while the mean of the one that ranking prefers is known: what the
//! explored one was faster by is what ranking lost, what it was slower by is what exploring cost. A *hedged* call was
//! sent to two: the first one's answer (or the time that it was waited for in vain, which is the least it would have
//! taken) stands against the second's.
//!
//! Over many calls, `lost / calls` near zero says that ranking is right; a figure that grows says that somebody better
//! is not asked. A single explored call compares one draw with a mean, and half of all draws are below it:
//! [`Regret::lost_us`] has a floor that is noise, the same at all times, and [`Regret::net_us`] has none.
//!
//! Plain fields, one per shard and chain, summed by control.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::limits::{LATENCY_DIGITS, LATENCY_US_MAX};

/// How a second latency came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    Explored,
    Hedged,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Regret {
    explored: u64,
    hedged: u64,
    /// Calls whose preferred provider was the faster one.
    right: u64,
    /// Microseconds that the preferred provider was slower by, where it was.
    lost_us: u64,
    /// Microseconds that it was faster by, where it was.
    won_us: u64,
    /// The former, by call.
    losses_us: Histogram<u32>,
}

impl Default for Regret {
    fn default() -> Self {
        let losses_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, LATENCY_DIGITS)
            .expect("constant bounds that the crate accepts");
        Self { explored: 0, hedged: 0, right: 0, lost_us: 0, won_us: 0, losses_us }
    }
}

impl Regret {
    /// The provider that ranking prefers took, or takes on average, `preferred`; another one `alternative`.
    pub fn on_call(&mut self, compared: Compared, preferred: Duration, alternative: Duration) {
        match compared {
            Compared::Explored => self.explored += 1,
            Compared::Hedged => self.hedged += 1,
        }
        let lost_us = micros(preferred.saturating_sub(alternative));
        if lost_us == 0 {
            self.right += 1;
            self.won_us = self.won_us.saturating_add(micros(alternative.saturating_sub(preferred)));
        } else {
            self.lost_us = self.lost_us.saturating_add(lost_us);
            self.losses_us.saturating_record(lost_us);
        }
    }

    /// Adds what another shard has, and empties that.
    pub fn take(&mut self, other: &mut Self) {
        self.explored += other.explored;
        self.hedged += other.hedged;
        self.right += other.right;
        self.lost_us = self.lost_us.saturating_add(other.lost_us);
        self.won_us = self.won_us.saturating_add(other.won_us);
        // The bounds are the same, so that it fits.
        let _ = self.losses_us.add(&other.losses_us);
        (other.explored, other.hedged, other.right, other.lost_us, other.won_us) = (0, 0, 0, 0, 0);
        other.losses_us.reset();
    }

    /// Calls that compared in this way.
    #[must_use]
    pub const fn calls(&self, compared: Compared) -> u64 {
        match compared {
            Compared::Explored => self.explored,
            Compared::Hedged => self.hedged,
        }
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

    /// What was lost less what was won: negative while ranking is right on the whole.
    #[must_use]
    pub fn net_us(&self) -> i128 {
        i128::from(self.lost_us) - i128::from(self.won_us)
    }

    /// What calls lost that lost anything, in microseconds.
    #[must_use]
    pub const fn losses_us(&self) -> &Histogram<u32> {
        &self.losses_us
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
        regret.on_call(Compared::Explored, ms(30), ms(50));
        regret.on_call(Compared::Explored, ms(30), ms(30));
        regret.on_call(Compared::Hedged, ms(100), ms(20));
        assert_eq!((regret.calls(Compared::Explored), regret.calls(Compared::Hedged)), (2, 1));
        assert_eq!((regret.right(), regret.lost_us(), regret.net_us()), (2, 80_000, 60_000));
        assert_eq!(regret.losses_us().len(), 1);
    }

    #[test]
    fn shards_are_summed_and_emptied() {
        let (mut sum, mut shard) = (Regret::default(), Regret::default());
        for _ in 0..2 {
            shard.on_call(Compared::Hedged, Duration::from_micros(7), Duration::from_micros(3));
            sum.take(&mut shard);
            sum.take(&mut shard);
        }
        assert_eq!((sum.calls(Compared::Hedged), sum.lost_us(), sum.losses_us().len()), (2, 8, 2));
    }
}
