//! A connection to either engine, as far as the store needs to tell them apart.
//!
//! Statements are written once, in words that both know, with `?1` for the first parameter; PostgreSQL gets `$1`
//! instead, so no statement has a question mark in it that means anything else. What a caller hands in only ever goes
//! as a parameter: a statement is text of the program, by its type.
//!
//! Numbers are 64 bits with a sign in both; what has none in here and all 64 bits (key ids) keeps its bits.

mod postgres;
mod sqlite;

use std::fmt::Debug;

use super::address::StoreAddress;
use super::error::StoreError;
use super::usage::Sum;

/// See the module.
pub(super) trait Engine: Debug + Send {
    /// Runs a statement; how many rows it touched.
    fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, StoreError>;

    /// Runs a statement that gives rows, and shows each as it comes. The first refusal ends it.
    fn read(&mut self, sql: &'static str, params: &[Param<'_>], each: &mut Each<'_>) -> Result<(), StoreError>;

    /// Adds to the rows of these keys, or makes them. They are sorted and no two have the same key.
    fn add_usage(&mut self, span: i64, sums: &[Sum]) -> Result<(), StoreError>;

    /// Adds to the units of these days, tenants and keys, likewise sorted.
    fn add_key_days(&mut self, days: &[(KeyDay, i64)]) -> Result<(), StoreError>;

    fn begin(&mut self, begin: Begin) -> Result<(), StoreError>;
    fn commit(&mut self) -> Result<(), StoreError>;
    /// Undoes what was done since the beginning; where that fails, the connection is of no use any more and says so
    /// when it is asked next.
    fn rollback(&mut self);

    /// Of the schema; 0 where there is none.
    fn version(&mut self) -> Result<u32, StoreError>;
    /// Within a transaction: runs a migration and notes its version.
    fn migrate(&mut self, script: &str, version: u32) -> Result<(), StoreError>;
}

pub(super) type Each<'a> = dyn FnMut(&Row<'_>) -> Result<(), StoreError> + 'a;

/// A day since 1970, a tenant, a key.
pub(super) type KeyDay = (i64, i64, i64);

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// All that is read is of one moment.
    Read,
    Write,
    /// Nobody else changes the schema meanwhile.
    Migrate,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Param<'a> {
    Int(i64),
    OptInt(Option<i64>),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// A row as it comes. Columns are counted from 0.
pub(super) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

/// Opens the database, without a look at its schema.
pub(super) fn connect(address: &StoreAddress) -> Result<Box<dyn Engine>, StoreError> {
    Ok(match address {
        StoreAddress::Sqlite(path) => Box::new(sqlite::Sqlite::open(path)?),
        StoreAddress::Postgres(address) => Box::new(postgres::Postgres::connect(address)?),
    })
}

impl Row<'_> {
    pub(super) fn int(&self, column: usize) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(row) => row.get(column).map_err(|error| sqlite::fault(&error)),
            Self::Postgres(row) => row.try_get(column).map_err(|error| postgres::fault(&error)),
        }
    }

    pub(super) fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Sqlite(row) => row.get(column).map_err(|error| sqlite::fault(&error)),
            Self::Postgres(row) => row.try_get(column).map_err(|error| postgres::fault(&error)),
        }
    }

    pub(super) fn text(&self, column: usize) -> Result<&str, StoreError> {
        match self {
            Self::Sqlite(row) => {
                let value = row.get_ref(column).map_err(|error| sqlite::fault(&error))?;
                value.as_str().map_err(|error| StoreError::Engine(error.to_string()))
            }
            Self::Postgres(row) => row.try_get(column).map_err(|error| postgres::fault(&error)),
        }
    }

    pub(super) fn bytes(&self, column: usize) -> Result<&[u8], StoreError> {
        match self {
            Self::Sqlite(row) => {
                let value = row.get_ref(column).map_err(|error| sqlite::fault(&error))?;
                value.as_blob().map_err(|error| StoreError::Engine(error.to_string()))
            }
            Self::Postgres(row) => row.try_get(column).map_err(|error| postgres::fault(&error)),
        }
    }
}
