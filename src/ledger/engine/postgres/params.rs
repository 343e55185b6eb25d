//! What goes to PostgreSQL as parameters: single values, and many rows as one array a column.

use tokio_postgres::types::ToSql;

use super::Param;
use crate::ledger::usage::Sum;

/// The value that a parameter has in it.
pub(super) fn value<'a>(param: &'a Param<'_>) -> &'a (dyn ToSql + Sync) {
    match param {
        Param::Int(int) => int,
        Param::OptInt(int) => int,
        Param::Text(text) => text,
        Param::Bytes(bytes) => bytes,
    }
}

/// Sums, a column each.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    tenants: Vec<i64>,
    minutes: Vec<i64>,
    keys: Vec<i64>,
    chains: Vec<&'a str>,
    methods: Vec<&'a str>,
    providers: Vec<&'a str>,
    values: [Vec<i64>; 10],
}

impl<'a> Columns<'a> {
    pub(super) fn of(sums: &'a [Sum]) -> Self {
        Self {
            tenants: sums.iter().map(|(key, _)| key.tenant).collect(),
            minutes: sums.iter().map(|(key, _)| key.minute).collect(),
            keys: sums.iter().map(|(key, _)| key.key).collect(),
            chains: sums.iter().map(|(key, _)| key.chain.as_str()).collect(),
            methods: sums.iter().map(|(key, _)| key.method.as_str()).collect(),
            providers: sums.iter().map(|(key, _)| key.provider.as_str()).collect(),
            values: std::array::from_fn(|n| sums.iter().map(|(_, values)| values[n]).collect()),
        }
    }

    /// In the order of the table's columns, `span` first.
    pub(super) fn params<'b>(&'b self, span: &'b i64) -> Vec<&'b (dyn ToSql + Sync)> {
        let mut params: Vec<&(dyn ToSql + Sync)> =
            vec![span, &self.tenants, &self.minutes, &self.keys, &self.chains, &self.methods, &self.providers];
        params.extend(self.values.iter().map(|column| column as &(dyn ToSql + Sync)));
        params
    }
}
