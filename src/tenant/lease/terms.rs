//! A plan's figures as leases go by them.

use crate::bucket::Month;
use crate::tenant::plan::{PlanConfig, WithoutStore};

/// What of a plan is limited for the region as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// Calls and units.
    pub rates: [Option<RateFigures>; 2],
    pub units_per_month: Option<u64>,
    pub month: Month,
    pub without_store: WithoutStore,
    /// What the dearest method weighs.
    pub heaviest: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateFigures {
    /// In a second; one at least.
    pub rate: u64,
    pub burst: u64,
    /// What one call takes at most.
    pub one: u64,
}

/// Of what ten seconds, or a month, allow: so small that ten nodes' do not matter.
const STARTER_PART: u64 = 1000;
const MONTH_STARTER_PART: u64 = 100_000;

impl LeaseTerms {
    #[must_use]
    pub fn new(config: &PlanConfig, month: Month) -> Self {
        let (quota, heaviest) = (&config.quota, config.units.heaviest());
        // A rate of nothing is refused by the node's own words.
        let figures = |rate: Option<u32>, burst: Option<u32>, least: u32| {
            let rate = rate.filter(|rate| *rate > 0)?;
            Some(RateFigures { rate: rate.into(), burst: burst.unwrap_or(rate).max(least).into(), one: least.into() })
        };
        Self {
            rates: [
                figures(quota.calls_per_second, quota.calls_burst, 1),
                figures(quota.units_per_second, quota.units_burst, heaviest.max(1)),
            ],
            units_per_month: quota.units_per_month,
            month,
            without_store: config.without_store,
            heaviest: heaviest.max(1).into(),
        }
    }

    /// A key of which nothing is limited never meets the store.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.rates.iter().any(Option::is_some) || self.units_per_month.is_some()
    }

    /// What a quiet key's purse of a rate holds by itself.
    #[must_use]
    pub fn starter(&self, RateFigures { rate, burst, one }: RateFigures) -> u64 {
        match self.without_store {
            WithoutStore::GoOn => burst,
            WithoutStore::Refuse => ((10 * rate + burst) / STARTER_PART).clamp(one, burst),
        }
    }

    /// The same of a month.
    #[must_use]
    pub fn month_starter(&self, limit: u64) -> u64 {
        let small = (limit / MONTH_STARTER_PART).max(self.heaviest);
        match self.without_store {
            WithoutStore::GoOn => small.max(self.rates[1].map_or(0, |units| units.burst)).min(limit),
            WithoutStore::Refuse => small.min(limit),
        }
    }
}
