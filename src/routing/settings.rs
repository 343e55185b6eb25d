//! What measurement, ranking and exploration go by: every number with its default and its reason.
//!
//! One plain struct, copied freely: control judges by it, and the simulator turns its knobs.

use std::time::Duration;

/// See the module. Defaults are [`RankingConfig::DEFAULT`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankingConfig {
    /// The statistic that is optimised, as a part of 1.
    ///
    /// 0.9: a page waits for the slowest of some ten calls, so the tenth-slowest is what its user feels. Higher ones
    /// need more samples than exploration brings; the median hides every second stall.
    pub percentile: f64,
    /// A sample's weight halves in this time, when samples are few.
    ///
    /// 20 s: explored once in three seconds, a provider keeps about ten samples' worth, which place it to 10 %.
    pub half_life: Duration,
    /// More evidence than this is not kept: where samples are many, memory is shorter than the half-life says.
    ///
    /// 400: the 90th percentile of as many samples is known to 3 %, the hysteresis; at 50 calls a second they are 8 s.
    pub samples_max: f64,
    /// How sure a change must be to cut memory: the sum of standard deviations beyond [`RankingConfig::change_slack`].
    ///
    /// 8: false alarms hours apart, and three samples are enough for a provider that takes twice as long.
    pub change_sum: f64,
    /// The deviation of a sample that is still no news, in standard deviations.
    ///
    /// 0.75: smaller shifts are followed by forgetting alone, within seconds where there is traffic.
    pub change_slack: f64,
    /// Effective samples at which an own percentile counts as much as the one inferred from the mean.
    ///
    /// 20: two samples beyond the 90th percentile.
    pub samples_trusted: f64,
    /// Standard errors added to a score: thin evidence must be better to win.
    ///
    /// 1: five samples of a spread of 30 % pay 13 %.
    pub widening: f64,
    /// How much dearer than the best the leader may be and stay, as a part of 1.
    ///
    /// 0.03: differences below are noise, and each change of leader costs cold connections.
    pub hysteresis: f64,
    /// A provider that answers a smaller part of its calls is asked only when no other is ready, as a part of 1.
    ///
    /// 0.5: below it a second attempt is the rule, whatever the first one's speed.
    pub success_floor: f64,
    /// Effective attempts below which the floor says nothing.
    ///
    /// 10: five failures of ten are no accident of a provider that answers nine of ten (0.2 %).
    pub floor_samples: f64,
    /// Calls that may be sent for evidence alone, as a part of 1.
    ///
    /// 0.02: at 50 calls a second each of three others is seen every three seconds.
    pub explore_share: f64,
    /// Who takes longer than the best times this, and [`RankingConfig::explore_slack`] on top, is explored only when
    /// the evidence is old.
    ///
    /// 3: someone three times as slow does not overtake by drifting.
    pub explore_factor: f64,
    /// See [`RankingConfig::explore_factor`]. 20 ms: nobody notices them, whatever the factor.
    pub explore_slack: Duration,
    /// A provider not seen for this long is explored whatever it costs.
    ///
    /// 30 s: the longest that a provider which has become the best stays undiscovered on a chain with traffic.
    pub explore_stale: Duration,
    /// Most calls of one grant, up to 255.
    ///
    /// 5: some seven a second; more would teach little, and a busy chain's share is hundreds.
    pub explore_burst: f64,
    /// Calls under way beyond the usual ones that double a provider's cost.
    ///
    /// 64: nothing at usual loads, and a stall of 50 calls a second is passed by within a second.
    pub in_flight_doubles: f64,
    /// A method that takes this many times its class's latency, or this part of it, is ranked by itself; it goes back below
    /// the factor's square root.
    ///
    /// 2: below it one order fits both, and shared evidence is stronger.
    pub own_row_factor: f64,
    /// Calls of a method without which a difference is an anecdote; below a tenth of them it is no longer asked for.
    ///
    /// 100: a mean of as many is known to a few percent, whatever the spread.
    pub own_row_calls: f64,
}

impl RankingConfig {
    /// The reasons stand with the fields.
    pub const DEFAULT: Self = Self {
        percentile: 0.9,
        half_life: Duration::from_secs(20),
        samples_max: 400.0,
        change_sum: 8.0,
        change_slack: 0.75,
        samples_trusted: 20.0,
        widening: 1.0,
        hysteresis: 0.03,
        success_floor: 0.5,
        floor_samples: 10.0,
        explore_share: 0.02,
        explore_factor: 3.0,
        explore_slack: Duration::from_millis(20),
        explore_stale: Duration::from_secs(30),
        explore_burst: 5.0,
        in_flight_doubles: 64.0,
        own_row_factor: 2.0,
        own_row_calls: 100.0,
    };
}

impl Default for RankingConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}
