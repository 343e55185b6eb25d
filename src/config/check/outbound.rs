//! What may be sent to a provider.

use super::relations::count;
use crate::config::given::Given;
use crate::config::problems::Problem;
use crate::config::raw;
use crate::config::types::{Outbound, Plan};
use crate::jsonrpc::{MethodClass, Units};
use crate::limits;
use crate::routing::TuningConfig;

pub(super) fn check(raw: &raw::Outbound) -> Option<Outbound> {
    Some(Outbound {
        burst_percent: count(&raw.burst_percent)?,
        tuning: TuningConfig {
            down_to_percent: count(&raw.down_to_percent)?,
            step_percent: count(&raw.step_percent)?,
            step_every: raw.step_every.plain()?,
            floor_percent: count(&raw.floor_percent)?,
        },
    })
}

pub(super) fn check_plan(raw: &raw::Limits, problems: &mut Vec<Problem>) -> Option<Plan> {
    Some(Plan {
        calls_per_second: maybe(raw.calls_per_second.as_ref())?,
        units_per_second: maybe(raw.units_per_second.as_ref())?,
        units_per_month: maybe(raw.units_per_month.as_ref())?,
        month_starts_on: count(&raw.month_starts_on)?,
        in_flight: maybe(raw.in_flight.as_ref())?,
        tune: raw.tune.plain()?,
        units: units(raw, problems)?,
    })
}

/// None: there is one, and it is wrong.
#[allow(clippy::option_option)] // absent, and wrong, are two things
fn maybe<C: crate::config::given::Plain<Out = u64>, N: TryFrom<u64>>(given: Option<&Given<C>>) -> Option<Option<N>> {
    given.map_or(Some(None), |given| count(given).map(Some))
}

fn units(raw: &raw::Limits, problems: &mut Vec<Problem>) -> Option<Units> {
    let by_class = raw.units.get()?;
    let of = |class| match class {
        MethodClass::Head => &by_class.head,
        MethodClass::Read => &by_class.read,
        MethodClass::Receipt => &by_class.receipt,
        MethodClass::Execute => &by_class.execute,
        MethodClass::Logs => &by_class.logs,
        MethodClass::Proof => &by_class.proof,
        MethodClass::Trace => &by_class.trace,
        MethodClass::Write => &by_class.write,
        MethodClass::Filter => &by_class.filter,
        MethodClass::Other => &by_class.other,
    };
    let mut weights = [0; MethodClass::ALL.len()];
    for class in MethodClass::ALL {
        weights[class.index()] = count(of(class))?;
    }
    let methods = &raw.method_units.get()?.0;
    if let Some((beyond, _)) = methods.get(limits::PATTERNS_MAX) {
        problems.push(Problem::maybe_at(beyond.span(), format!("at most {} methods", limits::PATTERNS_MAX)));
    }
    let own: Option<Vec<_>> = methods.iter().map(|(pattern, units)| Some((pattern.plain()?, count(units)?))).collect();
    Some(Units::new(weights, &own?))
}
