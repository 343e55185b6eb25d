//! `[ranking]`: by what providers are measured, ranked and explored. Defaults and their reasons: `routing::RankingConfig`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Wait;
use crate::config::given::Given;
use crate::config::values::{Count, Decimal, Share, Time};
use crate::limits;
use crate::routing::RankingConfig;

type Interval = Time<{ limits::RANKING_INTERVAL_MS_MIN }, { limits::RANKING_INTERVAL_MS_MAX }>;
type Age = Time<{ limits::EVIDENCE_MS_MIN }, { limits::TIMEOUT_MS_MAX }>;
type Percentile = Decimal<500, 990>;
type Samples = Count<{ limits::SAMPLES_MIN }, { limits::SAMPLES_MAX }>;
type Some = Count<1, { limits::RANKING_COUNT_MAX }>;
type Burst = Count<1, { limits::EXPLORE_BURST_MAX }>;
type Explored = Decimal<0, { limits::EXPLORE_SHARE_THOUSANDTHS_MAX }>;
/// In standard deviations or errors.
type Deviations = Decimal<0, 10_000>;
type Sum = Decimal<1_000, 1_000_000>;
type Factor = Decimal<1_000, 1_000_000>;
type OwnFactor = Decimal<1_200, 1_000_000>;

/// How providers are measured, ranked and explored.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ranking {
    /// How often what shards measured is merged, and a ranking published to them.
    pub interval: Given<Interval>,
    /// The percentile of latency that is optimised, as a part of 1.
    pub percentile: Given<Percentile>,
    /// A sample's weight halves in this time, when samples are few.
    pub half_life: Given<Age>,
    /// More samples than these are not kept.
    pub samples_max: Given<Samples>,
    /// The sum of deviations at which a provider has changed, and what was known before is dropped.
    pub change_sum: Given<Sum>,
    /// The deviation of a sample that is no news.
    pub change_slack: Given<Deviations>,
    /// Samples at which an own percentile counts as much as the one inferred from the mean.
    pub samples_trusted: Given<Some>,
    /// Standard errors added to a score.
    pub widening: Given<Deviations>,
    /// How much dearer than the best the leader may be and stay, as a part of 1.
    pub hysteresis: Given<Share>,
    /// A provider that answers a smaller part of its calls is asked last.
    pub success_floor: Given<Share>,
    /// Attempts below which the floor says nothing.
    pub floor_samples: Given<Some>,
    /// Calls that may be sent for the evidence alone, as a part of 1.
    pub explore_share: Given<Explored>,
    /// Who takes longer than the best times this is explored only when its evidence is old.
    pub explore_factor: Given<Factor>,
    /// Beside the factor: who takes longer by at most this is explored all the same.
    pub explore_slack: Given<Wait>,
    /// A provider not seen for this long is explored whatever it costs.
    pub explore_stale: Given<Age>,
    /// Most calls explored at once.
    pub explore_burst: Given<Burst>,
    /// Calls under way beyond the usual ones that double a provider's cost.
    pub in_flight_doubles: Given<Some>,
    /// A method that takes this many times its class's latency, or this part of it, is ranked by itself.
    pub own_row_factor: Given<OwnFactor>,
    /// Calls of a method below which it is not.
    pub own_row_calls: Given<Some>,
}

const DEFAULT: RankingConfig = RankingConfig::DEFAULT;

impl Default for Ranking {
    fn default() -> Self {
        Self {
            interval: Given::default_of(const { Time::of_ms(limits::RANKING_INTERVAL_MS_DEFAULT) }),
            percentile: Given::default_of(const { Decimal::of(DEFAULT.percentile) }),
            half_life: Given::default_of(const { Time::of(DEFAULT.half_life) }),
            samples_max: Given::default_of(const { Count::of(whole(DEFAULT.samples_max)) }),
            change_sum: Given::default_of(const { Decimal::of(DEFAULT.change_sum) }),
            change_slack: Given::default_of(const { Decimal::of(DEFAULT.change_slack) }),
            samples_trusted: Given::default_of(const { Count::of(whole(DEFAULT.samples_trusted)) }),
            widening: Given::default_of(const { Decimal::of(DEFAULT.widening) }),
            hysteresis: Given::default_of(const { Share::of(DEFAULT.hysteresis) }),
            success_floor: Given::default_of(const { Share::of(DEFAULT.success_floor) }),
            floor_samples: Given::default_of(const { Count::of(whole(DEFAULT.floor_samples)) }),
            explore_share: Given::default_of(const { Decimal::of(DEFAULT.explore_share) }),
            explore_factor: Given::default_of(const { Decimal::of(DEFAULT.explore_factor) }),
            explore_slack: Given::default_of(const { Time::of(DEFAULT.explore_slack) }),
            explore_stale: Given::default_of(const { Time::of(DEFAULT.explore_stale) }),
            explore_burst: Given::default_of(const { Count::of(whole(DEFAULT.explore_burst)) }),
            in_flight_doubles: Given::default_of(const { Count::of(whole(DEFAULT.in_flight_doubles)) }),
            own_row_factor: Given::default_of(const { Decimal::of(DEFAULT.own_row_factor) }),
            own_row_calls: Given::default_of(const { Count::of(whole(DEFAULT.own_row_calls)) }),
        }
    }
}

/// A default that is a whole number; `Count` holds it to its bounds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn whole(number: f64) -> u64 {
    number as u64
}
