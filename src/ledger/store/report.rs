//! Usage out: sums by hour, day, month, tenant, key, chain, method, provider.

use std::collections::BTreeMap;

use time::{OffsetDateTime, Time};

use super::{Store, small, unsigned};
use crate::ledger::engine::{Begin, Engine, Param, Row};
use crate::ledger::error::StoreError;
use crate::ledger::query::{Group, Grouping, MonthUnits, UsageLine, UsageQuery};
use crate::ledger::usage::{DAY, HOUR, Values, read_values, sums, usage};
use crate::limits::USAGE_LINES_MAX;
use crate::tenant::TenantId;
use crate::tenant::key::KeyId;

/// Sums by what `$group` is; of one tenant, or of all.
macro_rules! by {
    ($group:literal, $one:expr) => {
        if $one {
            concat!(
                "SELECT ",
                $group,
                ", ",
                sums!(),
                " FROM usage WHERE span IN (1, 60, 1440) AND minute >= ?1 AND minute < ?2 \
                 AND (CAST(?3 AS BIGINT) IS NULL OR key = ?3) AND tenant = ?4 GROUP BY 1 ORDER BY 1"
            )
        } else {
            concat!(
                "SELECT ",
                $group,
                ", ",
                sums!(),
                " FROM usage WHERE minute >= ?1 AND minute < ?2 \
                 AND (CAST(?3 AS BIGINT) IS NULL OR key = ?3) GROUP BY 1 ORDER BY 1"
            )
        }
    };
}

/// Whether there are rows of `?4` minutes that begin in a window; of one tenant, or of all.
macro_rules! is_any {
    ($tenant:literal) => {
        concat!(
            "SELECT 1 FROM usage WHERE span = ?4 AND minute >= ?1 AND minute < ?2 \
             AND (CAST(?3 AS BIGINT) IS NULL OR key = ?3)",
            $tenant,
            " LIMIT 1"
        )
    };
}

impl Store {
    /// In the order of what they are grouped by. Refused where what is asked for cuts an hour or a day in two that is kept as
    /// a whole.
    pub fn usage(&mut self, query: &UsageQuery) -> Result<Vec<UsageLine>, StoreError> {
        let sql = statement(query.by, query.tenant.is_some());
        let key = Param::OptInt(query.key.map(|key| key.0.cast_signed()));
        let mut params = vec![Param::Int(query.from_minute.into()), Param::Int(query.to_minute.into()), key];
        params.extend(query.tenant.map(|tenant| Param::Int(tenant.0.into())));
        let mut lines: BTreeMap<Group, Values> = BTreeMap::new();
        self.transaction(Begin::Read, |engine| {
            check_grain(engine, query)?;
            engine.read(sql, &params, &mut |row| {
                let sums = lines.entry(group(query.by, row)?).or_default();
                for (sum, more) in sums.iter_mut().zip(read_values(row, 1)?) {
                    *sum = sum.saturating_add(more);
                }
                if lines.len() > USAGE_LINES_MAX { Err(StoreError::TooMuch(USAGE_LINES_MAX)) } else { Ok(()) }
            })
        })?;
        Ok(lines.into_iter().map(|(group, sums)| UsageLine { group, usage: usage(&sums) }).collect())
    }

    /// What has been used of keys' quotas since the day that begins with this minute, or that it falls in.
    pub fn month_units(&mut self, since_minute: u32) -> Result<Vec<MonthUnits>, StoreError> {
        // A token's bearer is no key of the table's.
        let sql = "SELECT COALESCE(keys.quota, key_days.key), CAST(SUM(units) AS BIGINT), COUNT(keys.id) \
                   FROM key_days LEFT JOIN keys ON keys.id = key_days.key WHERE day >= ?1 GROUP BY 1";
        let mut all = Vec::new();
        self.transaction(Begin::Read, |engine| {
            engine.read(sql, &[Param::Int(i64::from(since_minute) / DAY)], &mut |row| {
                all.push(MonthUnits {
                    key: KeyId(row.int(0)?.cast_unsigned()),
                    units: unsigned(row.int(1)?),
                    is_known: row.int(2)? > 0,
                });
                Ok(())
            })
        })?;
        Ok(all)
    }
}

/// Hours and days that are kept as a whole must lie within the query or beside it, and of hours days tell nothing.
fn check_grain(engine: &mut dyn Engine, query: &UsageQuery) -> Result<(), StoreError> {
    let (from, to) = (i64::from(query.from_minute), i64::from(query.to_minute));
    let key = query.key.map(|key| key.0.cast_signed());
    for (span, kept) in [(DAY, "days"), (HOUR, "hours")] {
        let begins = |minute: i64| minute - minute % span;
        let is_divided = span == DAY && matches!(query.by, Grouping::Hour);
        let cut = [from, to].into_iter().filter(|minute| minute % span != 0).map(|minute| (begins(minute), minute));
        for (from, to) in cut.chain(is_divided.then_some((from, to))) {
            let mut params = vec![Param::Int(from), Param::Int(to), Param::OptInt(key), Param::Int(span)];
            params.extend(query.tenant.map(|tenant| Param::Int(tenant.0.into())));
            let sql = if query.tenant.is_some() { is_any!(" AND tenant = ?5") } else { is_any!("") };
            let mut is_any = false;
            engine.read(sql, &params, &mut |_| {
                is_any = true;
                Ok(())
            })?;
            if is_any {
                return Err(StoreError::Coarser { kept });
            }
        }
    }
    Ok(())
}

const fn statement(by: Grouping, one_tenant: bool) -> &'static str {
    match by {
        Grouping::Hour => by!("minute - minute % 60", one_tenant),
        // Days of a month are put together here: the engines' calendars have nothing in common.
        Grouping::Day | Grouping::Month => by!("minute - minute % 1440", one_tenant),
        Grouping::Tenant => by!("tenant", one_tenant),
        Grouping::Key => by!("key", one_tenant),
        Grouping::Chain => by!("chain", one_tenant),
        Grouping::Method => by!("method", one_tenant),
        Grouping::Provider => by!("provider", one_tenant),
    }
}

fn group(by: Grouping, row: &Row<'_>) -> Result<Group, StoreError> {
    Ok(match by {
        Grouping::Hour | Grouping::Day => Group::Time(small(row.int(0)?)?),
        Grouping::Month => Group::Time(month_of(small(row.int(0)?)?)),
        Grouping::Tenant => Group::Tenant(TenantId(small(row.int(0)?)?)),
        Grouping::Key => Group::Key(KeyId(row.int(0)?.cast_unsigned())),
        Grouping::Chain | Grouping::Method | Grouping::Provider => Group::Word(row.text(0)?.to_owned()),
    })
}

/// The first minute of a minute's month, UTC.
fn month_of(minute: u32) -> u32 {
    let moment = OffsetDateTime::from_unix_timestamp(i64::from(minute) * 60);
    let first = moment.and_then(|moment| Ok(moment.replace_day(1)?.replace_time(Time::MIDNIGHT)));
    // Minutes of 32 bits go beyond the calendar's last year.
    first.ok().and_then(|first| u32::try_from(first.unix_timestamp() / 60).ok()).unwrap_or(minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_on_its_first_day() {
        // 1970-01-01, 2026-11-22 04:00, 2026-12-01 00:00, the last minute before, and one of no calendar.
        for (minute, month) in
            [(0, 0), (29_922_000, 29_891_520), (29_934_720, 29_934_720), (29_934_719, 29_891_520), (u32::MAX, u32::MAX)]
        {
            assert_eq!(month_of(minute), month, "{minute}");
        }
    }
}
