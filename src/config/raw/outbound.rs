//! `[outbound]` and `[chains.providers.limits]`: what may be sent to a provider. Defaults and their reasons:
//! `routing::OutboundConfig`, `routing::TuningConfig` and `jsonrpc::DEFAULT_UNITS`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Timeout;
use crate::config::given::{Given, Table};
use crate::config::values::{Count, MethodPattern, Time};
use crate::jsonrpc::{DEFAULT_UNITS, MethodClass};
use crate::limits;
use crate::routing::{OutboundConfig, TuningConfig};

type Burst = Count<1, 50>;
type Percent = Count<1, 100>;
/// A refusal takes something.
type Less = Count<1, 99>;
type PerSecond = Count<1, { limits::OUTBOUND_PER_SECOND_MAX }>;
type PerMonth = Count<1, { limits::OUTBOUND_PER_MONTH_MAX }>;
type InFlight = Count<1, { limits::OUTBOUND_IN_FLIGHT_MAX }>;
/// Months that are shorter have no later day.
type Day = Count<1, 28>;
pub(crate) type Weight = Count<0, { limits::UNITS_MAX }>;

/// How providers' limits are kept to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Outbound {
    /// The part of a second's plan that may be sent at once, in percent.
    pub burst_percent: Given<Burst>,
    /// What is left of a rate after a refusal, in percent.
    pub down_to_percent: Given<Less>,
    /// What a step up adds, in percent of the plan.
    pub step_percent: Given<Percent>,
    /// Between two steps up.
    pub step_every: Given<Timeout>,
    /// The least that is left, in percent of the plan.
    pub floor_percent: Given<Percent>,
}

impl Default for Outbound {
    fn default() -> Self {
        const TUNING: TuningConfig = TuningConfig::DEFAULT;
        Self {
            burst_percent: Given::default_of(const { Count::of(OutboundConfig::DEFAULT.burst_percent as u64) }),
            down_to_percent: Given::default_of(const { Count::of(TUNING.down_to_percent as u64) }),
            step_percent: Given::default_of(const { Count::of(TUNING.step_percent as u64) }),
            step_every: Given::default_of(const { Time::of(TUNING.step_every) }),
            floor_percent: Given::default_of(const { Count::of(TUNING.floor_percent as u64) }),
        }
    }
}

/// What was bought from a provider's vendor. All shards of the node together keep to it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// In any second.
    pub calls_per_second: Option<Given<PerSecond>>,
    /// In any second.
    pub units_per_second: Option<Given<PerSecond>>,
    /// From `month_starts_on` to the next one.
    pub units_per_month: Option<Given<PerMonth>>,
    /// The day of the month, in UTC, on which the vendor begins to count anew.
    pub month_starts_on: Given<Day>,
    /// At once.
    pub in_flight: Option<Given<InFlight>>,
    /// Whether refusals tune the rates down, and time up again.
    pub tune: Given<bool>,
    /// What calls weigh, by method class.
    pub units: Given<UnitsByClass>,
    /// What calls of single methods weigh: names, or beginnings and `*`; the first that fits counts.
    pub method_units: Given<Table<MethodPattern, Weight>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_per_second: None,
            units_per_second: None,
            units_per_month: None,
            month_starts_on: Given::default_of(const { Count::of(1) }),
            in_flight: None,
            tune: Given::default_of(true),
            units: Given::default(),
            method_units: Given::default(),
        }
    }
}

/// Units by method class.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UnitsByClass {
    /// `eth_blockNumber`, `eth_gasPrice`.
    pub head: Given<Weight>,
    /// Balances, code, storage, blocks, transactions.
    pub read: Given<Weight>,
    /// `eth_getTransactionReceipt`, `eth_getBlockReceipts`.
    pub receipt: Given<Weight>,
    /// `eth_call`, `eth_estimateGas`.
    pub execute: Given<Weight>,
    /// `eth_getLogs`.
    pub logs: Given<Weight>,
    /// `eth_getProof`.
    pub proof: Given<Weight>,
    /// `trace_*`, `debug_*`.
    pub trace: Given<Weight>,
    /// `eth_sendRawTransaction`.
    pub write: Given<Weight>,
    /// Filters.
    pub filter: Given<Weight>,
    /// Everything else.
    pub other: Given<Weight>,
}

impl Default for UnitsByClass {
    fn default() -> Self {
        const fn weight(class: MethodClass) -> Weight {
            Count::of(DEFAULT_UNITS[class.index()] as u64)
        }
        Self {
            head: Given::default_of(const { weight(MethodClass::Head) }),
            read: Given::default_of(const { weight(MethodClass::Read) }),
            receipt: Given::default_of(const { weight(MethodClass::Receipt) }),
            execute: Given::default_of(const { weight(MethodClass::Execute) }),
            logs: Given::default_of(const { weight(MethodClass::Logs) }),
            proof: Given::default_of(const { weight(MethodClass::Proof) }),
            trace: Given::default_of(const { weight(MethodClass::Trace) }),
            write: Given::default_of(const { weight(MethodClass::Write) }),
            filter: Given::default_of(const { weight(MethodClass::Filter) }),
            other: Given::default_of(const { weight(MethodClass::Other) }),
        }
    }
}
