//! Usage: what was used in a window of time, summed by one thing.
//!
//! Numbers are exact whole ones: no rounding stands between the ledger and a bill. A window begins with its first minute
//! and ends before its last, so that windows that meet count nothing twice and leave nothing out. What is old is kept
//! by the hour and then by the day: windows of whole days are exact for ever, and one that would cut in two what is kept
//! as a whole is refused.

use std::collections::HashMap;

use serde::{Deserialize, Serialize, Serializer};

use super::sheet::Sheet;
use super::{Refusal, keys, moment};
use crate::ledger::{Group, Grouping, Store, StoreError, UsageLine, UsageQuery};
use crate::tenant::key::KeyId;
use crate::tenant::{Fault, TenantId, Usage};

/// What is asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UsageOrder {
    pub tenant: Option<String>,
    pub key: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub by: By,
}

/// By what usage is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum By {
    Hour,
    #[default]
    Day,
    Month,
    Tenant,
    Key,
    Chain,
    Method,
    Provider,
}

/// A checked order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageWanted {
    tenant: Option<String>,
    key: Option<KeyId>,
    from_minute: u32,
    to_minute: u32,
    by: By,
}

/// What was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsageDocument {
    /// Null for all of them.
    pub tenant: Option<String>,
    pub key: Option<String>,
    pub from: String,
    /// The first moment that is not counted.
    pub to: String,
    pub by: By,
    pub lines: Vec<UsageSum>,
    pub total: UsageFigures,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsageSum {
    /// Null where there is none: no provider was asked, no key was shown.
    pub group: Option<String>,
    #[serde(flatten)]
    pub figures: UsageFigures,
}

/// The columns of usage, under the ledger's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageFigures(pub Usage);

/// How many columns there are.
pub const COLUMNS: usize = 10;

impl By {
    /// The word of a column.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Tenant => "tenant",
            Self::Key => "key",
            Self::Chain => "chain",
            Self::Method => "method",
            Self::Provider => "provider",
        }
    }

    const fn grouping(self) -> Grouping {
        match self {
            Self::Hour => Grouping::Hour,
            Self::Day => Grouping::Day,
            Self::Month => Grouping::Month,
            Self::Tenant => Grouping::Tenant,
            Self::Key => Grouping::Key,
            Self::Chain => Grouping::Chain,
            Self::Method => Grouping::Method,
            Self::Provider => Grouping::Provider,
        }
    }
}

impl UsageOrder {
    /// Without an end, it is that of this month; without a beginning, that of the month in which the window ends.
    pub fn check(self, now_s: u64) -> Result<UsageWanted, Refusal> {
        let this_month_ends = minute_of(moment::month_around(now_s).1);
        let to_minute = self.to.map(|text| moment::minute("to", &text)).transpose()?.unwrap_or(this_month_ends);
        let last_s = u64::from(to_minute.saturating_sub(1)) * 60;
        let its_month_begins = minute_of(moment::month_around(last_s).0);
        let from_minute = self.from.map(|text| moment::minute("from", &text)).transpose()?.unwrap_or(its_month_begins);
        if from_minute >= to_minute {
            return Err(Refusal::Window);
        }
        let key = self.key.map(|text| keys::id(&text)).transpose()?;
        Ok(UsageWanted { tenant: self.tenant, key, from_minute, to_minute, by: self.by })
    }
}

/// Asks for it.
pub fn read(store: &mut Store, wanted: UsageWanted) -> Result<UsageDocument, StoreError> {
    let tenant = wanted.tenant.as_deref().map(|name| store.tenant(name)).transpose()?.map(|tenant| tenant.id);
    let query = UsageQuery {
        tenant,
        key: wanted.key,
        from_minute: wanted.from_minute,
        to_minute: wanted.to_minute,
        by: wanted.by.grouping(),
    };
    let lines = store.usage(&query)?;
    let names = match wanted.by {
        By::Tenant => store.tenants()?.into_iter().map(|row| (row.id, row.name)).collect(),
        _ => HashMap::new(),
    };
    Ok(wanted.document(lines, &names))
}

impl UsageWanted {
    fn document(self, mut lines: Vec<UsageLine>, names: &HashMap<TenantId, String>) -> UsageDocument {
        lines.sort_by(|one, other| one.group.cmp(&other.group));
        let mut total = Usage::default();
        for line in &lines {
            total.add(&line.usage);
        }
        let by = self.by;
        let sum = |line: UsageLine| UsageSum { group: shown(line.group, by, names), figures: UsageFigures(line.usage) };
        UsageDocument {
            tenant: self.tenant,
            key: self.key.map(|key| key.to_string()),
            from: moment::shown(u64::from(self.from_minute) * 60),
            to: moment::shown(u64::from(self.to_minute) * 60),
            by,
            lines: lines.into_iter().map(sum).collect(),
            total: UsageFigures(total),
        }
    }
}

impl UsageDocument {
    /// A line for each, without the total.
    pub(super) fn sheet(&self) -> Sheet {
        let columns = self.total.columns().map(|(name, _)| name);
        let mut sheet = Sheet::new([self.by.name()].into_iter().chain(columns)).numbers_from(1);
        for line in &self.lines {
            sheet.row(row(line.group.as_deref().unwrap_or_default(), &line.figures));
        }
        sheet
    }

    /// The same as CSV: a line of names, then the lines.
    #[must_use]
    pub fn csv(&self) -> String {
        self.sheet().csv()
    }
}

/// A line of a sheet.
pub(super) fn row(group: &str, figures: &UsageFigures) -> Vec<String> {
    let numbers = figures.columns().map(|(_, number)| number.to_string());
    [group.to_owned()].into_iter().chain(numbers).collect()
}

fn shown(group: Group, by: By, names: &HashMap<TenantId, String>) -> Option<String> {
    match group {
        Group::Time(minute) => {
            let seconds = u64::from(minute) * 60;
            Some(match by {
                By::Month => moment::shown_month(seconds),
                By::Day => moment::shown_day(seconds),
                _ => moment::shown(seconds),
            })
        }
        Group::Tenant(TenantId(0)) | Group::Key(KeyId::NOBODY) => None,
        Group::Tenant(id) => Some(names.get(&id).cloned().unwrap_or_else(|| format!("#{}", id.0))),
        Group::Key(id) => Some(id.to_string()),
        Group::Word(word) => Some(word).filter(|word| !word.is_empty()),
    }
}

fn minute_of(seconds: u64) -> u32 {
    u32::try_from(seconds / 60).unwrap_or(u32::MAX)
}

impl UsageFigures {
    /// Columns by name, in their order.
    #[must_use]
    pub const fn columns(&self) -> [(&'static str, u64); COLUMNS] {
        let usage = &self.0;
        [
            ("calls", usage.calls),
            ("billable", usage.billable),
            ("units", usage.units),
            ("errors_client", usage.errors[Fault::Client as usize]),
            ("errors_provider", usage.errors[Fault::Provider as usize]),
            ("errors_node", usage.errors[Fault::Node as usize]),
            ("bytes_in", usage.bytes_in),
            ("bytes_out", usage.bytes_out),
            ("cache_hits", usage.cache_hits),
            ("attempts", usage.attempts),
        ]
    }
}

impl Serialize for UsageFigures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.columns())
    }
}

#[cfg(test)]
mod tests;
