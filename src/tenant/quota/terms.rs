//! What a plan limits, as it is written and as it is kept to.
//!
//! **Rates.** `r` a second with a burst `b`: any ten seconds of any beginning see at most `10 r + b`, a hundredth more
//! while shards take ahead, and whoever asks for more all the time gets `10 r` of them. That holds for calls and for
//! compute units alike. A burst is a second's worth unless the plan says otherwise, and for units at least what its
//! dearest method weighs: with less, that method would wait for idle moments that a busy key never has.
//!
//! **Dear calls.** One that weighs more than the burst passes when as much has gone unused before; one that weighs more
//! than ten seconds yield never does.

use crate::bucket::{Month, Rate, SECOND};
use crate::limits::CHUNKED_FROM;

/// What a plan limits; what is absent is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaConfig {
    pub calls_per_second: Option<u32>,
    /// Calls at once after a quiet time.
    pub calls_burst: Option<u32>,
    pub units_per_second: Option<u32>,
    pub units_burst: Option<u32>,
    pub units_per_month: Option<u64>,
    /// Calls under way at once.
    pub in_flight: Option<u32>,
    /// WebSocket connections.
    pub sockets: Option<u32>,
    /// Subscriptions on all of them.
    pub subscriptions: Option<u32>,
}

/// The same, made ready: once for each plan and snapshot, so that no call divides.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub(super) calls: Option<Rate>,
    pub(super) units: Option<Rate>,
    /// The most that one call may weigh.
    pub(super) units_most: u64,
    pub(super) units_per_month: Option<u64>,
    pub(in crate::tenant) month: Month,
    pub(super) in_flight: Option<u32>,
    pub(super) sockets: Option<u32>,
    pub(super) subscriptions: Option<u32>,
}

/// The seconds that rates are judged over.
const WINDOW_S: u64 = 10;

impl Terms {
    /// Whether anything of it is limited that a fleet shares.
    pub(super) const fn limits_rates_or_month(&self) -> bool {
        self.calls.is_some() || self.units.is_some() || self.units_per_month.is_some()
    }

    /// `heaviest`: what the plan's dearest method weighs.
    #[must_use]
    pub fn new(config: &QuotaConfig, heaviest: u32, month: Month) -> Self {
        let units_burst = |rate: u32| config.units_burst.unwrap_or(rate.max(heaviest));
        let most = |rate: u32| u64::from(rate) * WINDOW_S + u64::from(units_burst(rate));
        Self {
            calls: config.calls_per_second.map(|rate| made(rate, config.calls_burst.unwrap_or(rate))),
            units: config.units_per_second.map(|rate| made(rate, units_burst(rate))),
            units_most: config.units_per_second.map_or(u64::MAX, most),
            units_per_month: config.units_per_month,
            month,
            in_flight: config.in_flight,
            sockets: config.sockets,
            subscriptions: config.subscriptions,
        }
    }
}

fn made(rate: u32, burst: u32) -> Rate {
    if rate == 0 {
        return Rate::NOTHING;
    }
    Rate::new(SECOND.div_ceil(rate.into()), burst.max(1).into(), rate >= CHUNKED_FROM)
}
