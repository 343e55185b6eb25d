//! What a node in the simulator goes by: the product's own settings, or the same in small so that a world of seconds
//! sees them through; and what may be wrong with it on purpose.

use std::time::Duration;

use crate::limits;
use crate::routing::{
    BreakerConfig, CooldownConfig, HeadsConfig, HedgeConfig, ProbeConfig, RankingConfig, StandingConfig,
};

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) ranking: RankingConfig,
    pub(super) standing: StandingConfig,
    /// Over which control counts failures.
    pub(super) ratio_window: Duration,
    pub(super) heads: HeadsConfig,
    pub(super) probes: ProbeConfig,
    /// For the answer to one of the node's own questions.
    pub(super) probe_timeout: Duration,
    /// That a call may make, hedges included.
    pub(super) attempts_max: u8,
    /// `None`: no call is hedged.
    pub(super) hedge: Option<HedgeConfig>,
    /// The first of the methods is sent to two at once.
    pub(super) race: bool,
    pub(super) cripple: Option<Cripple>,
}

/// A defect of the node, for tests that show that a check finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cripple {
    /// It waits for a call a second longer than the call's deadline.
    WaitsLonger,
    /// It takes calls for repeatable that are not.
    RepeatsAll,
    /// It gives a trial's place back while the trial runs.
    FreesTrials,
    /// It knows no plan.
    ForgetsPlans,
    /// Places in flight of calls that have ended stay taken.
    KeepsPlaces,
    /// It asks whoever is fastest, wherever that one stands on the chain.
    IgnoresFooting,
    /// It asks whoever is fastest, but for those of another chain.
    IgnoresLag,
    /// The highest head that anyone tells of needs nobody's support.
    BelievesAnyone,
    /// It lets the loser of a hedged call run on, and takes its answer too.
    KeepsLosers,
}

impl Settings {
    /// As they are by default, but for hedging: what is asked of ranking is how it chooses.
    pub(super) const PRODUCT: Self = Self {
        ranking: RankingConfig::DEFAULT,
        standing: StandingConfig { breaker: BreakerConfig::DEFAULT, cooldown: CooldownConfig::DEFAULT },
        ratio_window: Duration::from_millis(limits::BREAKER_RATIO_WINDOW_MS_DEFAULT),
        heads: HeadsConfig::DEFAULT,
        probes: ProbeConfig::DEFAULT,
        probe_timeout: Duration::from_millis(limits::PROBE_TIMEOUT_MS_DEFAULT),
        attempts_max: 3,
        hedge: None,
        race: false,
        cripple: None,
    };

    /// Longer than any in the small worlds is not waited for.
    pub(super) const SMALL: Self = Self {
        ranking: RankingConfig { explore_stale: Duration::from_secs(1), own_row_calls: 20.0, ..RankingConfig::DEFAULT },
        standing: StandingConfig {
            breaker: BreakerConfig {
                cooldown: Duration::from_millis(500),
                cooldown_max: Duration::from_secs(2),
                ratio_calls_min: 8,
                ramp: Duration::from_secs(1),
                ..BreakerConfig::DEFAULT
            },
            cooldown: CooldownConfig {
                first: Duration::from_millis(250),
                max: Duration::from_secs(2),
                ..CooldownConfig::DEFAULT
            },
        },
        ratio_window: Duration::from_secs(2),
        heads: HeadsConfig { max_lag_blocks: Some(3), believed: Duration::from_secs(5), ..HeadsConfig::DEFAULT },
        probes: ProbeConfig {
            every: Duration::from_millis(300),
            every_busy: Duration::from_millis(500),
            chain_id_every: Duration::from_secs(2),
            limited_max: Duration::from_secs(2),
            spacing: Duration::from_millis(10),
            lease: Duration::from_secs(2),
            ..ProbeConfig::DEFAULT
        },
        probe_timeout: Duration::from_millis(500),
        ..Self::PRODUCT
    };

    pub(super) fn is(&self, cripple: Cripple) -> bool {
        self.cripple == Some(cripple)
    }
}

/// How often shards report and control publishes.
pub(super) const INTERVAL: Duration = Duration::from_millis(limits::RANKING_INTERVAL_MS_DEFAULT);
