//! Usage as the store sums it: what a row is about, its sums, and the statements that name its columns.

use std::collections::BTreeMap;

use super::engine::{KeyDay, Row};
use super::error::StoreError;
use super::row::UsageRow;
use crate::tenant::Usage;

/// Minutes of what a row is about.
pub(super) const MINUTE: i64 = 1;
pub(super) const HOUR: i64 = 60;
pub(super) const DAY: i64 = 24 * HOUR;

/// What a row is about. Ordered as all writers touch rows, so that no two of them wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SumKey {
    pub tenant: i64,
    pub minute: i64,
    pub key: i64,
    pub chain: String,
    pub method: String,
    pub provider: String,
}

/// Its columns, in the order of [`insert`].
pub(super) type Values = [i64; 10];

pub(super) type Sum = (SumKey, Values);

/// All columns.
macro_rules! insert {
    () => {
        "INSERT INTO usage (span, tenant, minute, key, chain, method, provider, \
         calls, billable, units, errors_client, errors_provider, errors_node, \
         bytes_in, bytes_out, cache_hits, attempts)"
    };
}
pub(super) use insert;

macro_rules! or_add {
    () => {
        "ON CONFLICT (span, tenant, minute, key, chain, method, provider) DO UPDATE SET \
         calls = usage.calls + excluded.calls, \
         billable = usage.billable + excluded.billable, \
         units = usage.units + excluded.units, \
         errors_client = usage.errors_client + excluded.errors_client, \
         errors_provider = usage.errors_provider + excluded.errors_provider, \
         errors_node = usage.errors_node + excluded.errors_node, \
         bytes_in = usage.bytes_in + excluded.bytes_in, \
         bytes_out = usage.bytes_out + excluded.bytes_out, \
         cache_hits = usage.cache_hits + excluded.cache_hits, \
         attempts = usage.attempts + excluded.attempts"
    };
}
pub(super) use or_add;

/// What a row is about and its sums, as [`read_sum`] reads them.
macro_rules! columns {
    () => {
        "tenant, minute, key, chain, method, provider, \
         calls, billable, units, errors_client, errors_provider, errors_node, \
         bytes_in, bytes_out, cache_hits, attempts"
    };
}
pub(super) use columns;

/// All sums of many rows. PostgreSQL's sums are wider than what they are of.
macro_rules! sums {
    () => {
        "CAST(SUM(calls) AS BIGINT), CAST(SUM(billable) AS BIGINT), CAST(SUM(units) AS BIGINT), \
         CAST(SUM(errors_client) AS BIGINT), CAST(SUM(errors_provider) AS BIGINT), \
         CAST(SUM(errors_node) AS BIGINT), CAST(SUM(bytes_in) AS BIGINT), CAST(SUM(bytes_out) AS BIGINT), \
         CAST(SUM(cache_hits) AS BIGINT), CAST(SUM(attempts) AS BIGINT)"
    };
}
pub(super) use sums;

/// A batch's rows, each key once, in order.
pub(super) fn summed(rows: &[UsageRow]) -> Vec<Sum> {
    let mut sums = BTreeMap::new();
    for row in rows {
        let key = SumKey {
            tenant: row.tenant.0.into(),
            minute: row.minute.into(),
            key: row.key.0.cast_signed(),
            chain: row.chain.to_string(),
            method: row.method.to_owned(),
            provider: row.provider.to_string(),
        };
        add(sums.entry(key).or_default(), &values(&row.usage));
    }
    sums.into_iter().collect()
}

/// The same by the hour or the day.
pub(super) fn coarser(sums: Vec<Sum>, span: i64) -> Vec<Sum> {
    let mut coarse = BTreeMap::new();
    for (mut key, values) in sums {
        key.minute -= key.minute % span;
        add(coarse.entry(key).or_default(), &values);
    }
    coarse.into_iter().collect()
}

/// Units by day and key, where there are any.
pub(super) fn key_days(sums: &[Sum]) -> Vec<(KeyDay, i64)> {
    let mut days = BTreeMap::new();
    for (key, [_, _, units, ..]) in sums.iter().filter(|(_, [_, _, units, ..])| *units != 0) {
        let sum: &mut i64 = days.entry((key.minute / DAY, key.tenant, key.key)).or_default();
        *sum = sum.saturating_add(*units);
    }
    days.into_iter().collect()
}

/// A row of [`columns`].
pub(super) fn read_sum(row: &Row<'_>) -> Result<Sum, StoreError> {
    let key = SumKey {
        tenant: row.int(0)?,
        minute: row.int(1)?,
        key: row.int(2)?,
        chain: row.text(3)?.to_owned(),
        method: row.text(4)?.to_owned(),
        provider: row.text(5)?.to_owned(),
    };
    Ok((key, read_values(row, 6)?))
}

/// The ten sums from column `first` on.
pub(super) fn read_values(row: &Row<'_>, first: usize) -> Result<Values, StoreError> {
    let mut values = Values::default();
    for (n, value) in values.iter_mut().enumerate() {
        *value = row.int(first + n)?;
    }
    Ok(values)
}

pub(super) fn usage(values: &Values) -> Usage {
    let [calls, billable, units, client, provider, node, bytes_in, bytes_out, cache_hits, attempts] =
        values.map(|value| u64::try_from(value).unwrap_or_default());
    let errors = [client, provider, node];
    Usage { calls, billable, units, errors, bytes_in, bytes_out, cache_hits, attempts }
}

fn values(usage: &Usage) -> Values {
    let Usage { calls, billable, units, errors: [client, provider, node], bytes_in, bytes_out, cache_hits, attempts } =
        *usage;
    [calls, billable, units, client, provider, node, bytes_in, bytes_out, cache_hits, attempts]
        .map(|value| i64::try_from(value).unwrap_or(i64::MAX))
}

fn add(sums: &mut Values, more: &Values) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = sum.saturating_add(*more);
    }
}
