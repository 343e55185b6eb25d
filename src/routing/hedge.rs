//! When a call is sent a second time before the first attempt has failed, and how often that may be.
//!
//! One call in twenty is slower than the P95 of its class. Most of those would be fast at another provider: they are
//! sent there too, once they have waited for that long, and the first answer wins. Tails of a provider and of the path to it
//! become rare that way, for a few percent more calls.
//!
//! **When.** After the P95 that the ranking publishes for the provider asked and the call's class, within a floor and a cap. Below the
//! floor a second call costs more than it saves; without evidence, and beyond the cap, the cap holds.
//!
//! **How often.** When everything is slow, everything would be sent twice, and an incident would double the load that caused it.
//! So each shard pays for hedges out of a budget: every call puts a few hundredths of a hedge in, a hedge takes
//! a whole one out, and little can be saved up. It begins empty: hedges are at most that share of calls, from the first on.
//!
//! **A race** is a hedge without a delay, for methods that the operator has named. It is exempt from the budget: its load is
//! double by choice and at all times, which is what providers are sized for, so an incident adds nothing to it.
//!
//! **Who is outrun is not allowed to end**, so one that has gone silent would never be found out: its calls are rescued before they
//! fail. After [`OUTRUNS_IN_A_ROW`] without an answer one call at a time is left to its end ([`Outruns`]): it shows how long it
//! really takes, or it fails, and the breaker hears of it. For the same reason a trial is never hedged. Races are left out: they
//! go to two each time, and whoever hangs in them is found out by other calls and by probes.
//!
//! Only repeatable calls are ever hedged; [`Attempts`](super::Attempts) sees to it.

use std::time::Duration;

/// When calls are hedged and what that may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgeConfig {
    /// The shortest wait: a P95 below it is that of a provider next door, whose tail is noise.
    pub floor: Duration,
    /// The longest wait: beyond a second a second provider is worth its call, whatever the class.
    pub cap: Duration,
    /// Hedges for each hundred calls.
    pub budget_percent: u32,
    /// Hedges that may be saved up, for each shard: a burst of slow calls after a quiet while, and no more.
    pub saved_max: u32,
}

impl HedgeConfig {
    pub const DEFAULT: Self =
        Self { floor: Duration::from_millis(20), cap: Duration::from_secs(1), budget_percent: 5, saved_max: 20 };

    /// How long the first attempt is waited for. `p95`: of its provider and its class, where there is evidence.
    #[must_use]
    pub fn delay(&self, p95: Option<Duration>) -> Duration {
        p95.unwrap_or(self.cap).max(self.floor).min(self.cap)
    }
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What may be done about one attempt that takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedging {
    Never,
    /// A second attempt after this long, if the budget has one.
    After(Duration),
    /// A second attempt at once.
    Race,
}

impl Hedging {
    /// How long the first attempt has for itself.
    pub(super) const fn delay(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::After(delay) => Some(delay),
            Self::Race => Some(Duration::ZERO),
        }
    }
}

/// Attempts outrun in a row after which one is left to its end: three slow ones in a row are one in 8,000 by chance.
pub const OUTRUNS_IN_A_ROW: u8 = 3;

/// A provider's attempts at calls of one class that were outrun since it last answered one, as one shard knows them. Those that
/// had less than they were expected to take, or raced, do not count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outruns {
    in_a_row: u8,
    /// One is left to its end now.
    looking: bool,
}

impl Outruns {
    #[must_use]
    pub const fn new() -> Self {
        Self { in_a_row: 0, looking: false }
    }

    /// Whether the next attempt is to be left to its end. If so, [`Outruns::on_end`] is due when it has come.
    pub const fn look(&mut self) -> bool {
        let look = self.in_a_row >= OUTRUNS_IN_A_ROW && !self.looking;
        self.looking |= look;
        look
    }

    /// The attempt that was left to its end has ended, however it did.
    pub const fn on_end(&mut self) {
        self.looking = false;
    }

    pub const fn on_outrun(&mut self) {
        self.in_a_row = self.in_a_row.saturating_add(1);
    }

    /// It has answered, whatever it said.
    pub const fn on_answer(&mut self) {
        self.in_a_row = 0;
    }
}

/// One shard's budget, in hundredths of a hedge.
#[derive(Clone, Debug, Default)]
pub struct HedgeBudget {
    saved: u32,
}

const HEDGE: u32 = 100;

impl HedgeBudget {
    #[must_use]
    pub const fn new() -> Self {
        Self { saved: 0 }
    }

    /// A call has come, whether it may be hedged or not.
    pub fn on_call(&mut self, config: &HedgeConfig) {
        let most = config.saved_max.saturating_mul(HEDGE);
        self.saved = self.saved.saturating_add(config.budget_percent.min(HEDGE)).min(most);
    }

    /// Whether there is a hedge left.
    #[must_use]
    pub const fn has(&self) -> bool {
        self.saved >= HEDGE
    }

    /// Pays for one.
    pub(super) const fn take(&mut self) {
        self.saved = self.saved.saturating_sub(HEDGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_stays_between_floor_and_cap() {
        let config = HedgeConfig::DEFAULT;
        for (p95_ms, expected_ms) in [(Some(0), 20), (Some(20), 20), (Some(180), 180), (Some(5000), 1000), (None, 1000)]
        {
            let delay = config.delay(p95_ms.map(Duration::from_millis));
            assert_eq!(delay, Duration::from_millis(expected_ms), "{p95_ms:?}");
        }
        let crossed = HedgeConfig { floor: Duration::from_secs(2), ..config };
        assert_eq!(crossed.delay(None), Duration::from_secs(1), "the cap is the stronger");
    }

    #[test]
    fn hedges_are_a_share_of_calls_and_little_is_saved() {
        let (config, mut budget) = (HedgeConfig::DEFAULT, HedgeBudget::new());
        let mut hedged = 0;
        for calls in 1..=10_000_u32 {
            budget.on_call(&config);
            while budget.has() {
                budget.take();
                hedged += 1;
            }
            assert!(hedged * 100 <= calls * config.budget_percent);
        }
        assert_eq!(hedged, 500);
        (0..100_000).for_each(|_| budget.on_call(&config));
        let mut at_once = 0;
        while budget.has() {
            budget.take();
            at_once += 1;
        }
        assert_eq!(at_once, 20);
    }

    #[test]
    fn after_three_outruns_one_at_a_time_is_left_to_its_end_until_there_is_an_answer() {
        let mut outruns = Outruns::new();
        for _ in 0..OUTRUNS_IN_A_ROW {
            assert!(!outruns.look());
            outruns.on_outrun();
        }
        assert!(outruns.look());
        assert!(!outruns.look(), "one at a time");
        outruns.on_end();
        assert!(outruns.look(), "it failed: the next one is looked at, too");
        outruns.on_answer();
        outruns.on_end();
        assert!(!outruns.look());
    }

    #[test]
    fn extreme_configs() {
        let mut none = HedgeBudget::new();
        (0..1000).for_each(|_| none.on_call(&HedgeConfig { budget_percent: 0, ..HedgeConfig::DEFAULT }));
        assert!(!none.has());
        let mut all = HedgeBudget::new();
        all.on_call(&HedgeConfig { budget_percent: u32::MAX, saved_max: u32::MAX, ..HedgeConfig::DEFAULT });
        assert!(all.has());
        all.take();
        assert!(!all.has(), "at the most one for each call");
    }
}
