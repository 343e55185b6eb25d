//! A ledger of a test's own, on either engine, and a look at its rows beside the program.

use std::path::PathBuf;
use std::sync::Arc;

use livechain::ledger::{Store, StoreAddress};

use super::support::postgres::Postgres;

pub(crate) enum Place {
    Sqlite(tempfile::TempDir),
    Postgres { server: Arc<Postgres>, database: String },
}

/// Runs a test on both engines.
pub(crate) fn on_both(test: impl Fn(&Place)) {
    test(&Place::sqlite());
    test(&Place::postgres());
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) fn postgres() -> Self {
        let server = Postgres::shared();
        let database = server.database();
        Self::Postgres { server, database }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres { .. } => "PostgreSQL",
        }
    }

    pub(crate) fn address(&self) -> StoreAddress {
        match self {
            Self::Sqlite(_) => format!("sqlite:{}", self.file().display()).parse().unwrap(),
            Self::Postgres { server, database } => server.url(database).parse().unwrap(),
        }
    }

    pub(crate) fn open(&self) -> Store {
        Store::open(&self.address()).unwrap_or_else(|error| panic!("{}: {error}", self.name()))
    }

    /// SQLite's file.
    pub(crate) fn file(&self) -> PathBuf {
        match self {
            Self::Sqlite(directory) => directory.path().join("ledger.db"),
            Self::Postgres { .. } => panic!("no file"),
        }
    }

    /// Runs statements beside the program.
    pub(crate) fn raw(&self, sql: &str) {
        match self {
            Self::Sqlite(_) => rusqlite::Connection::open(self.file()).unwrap().execute_batch(sql).unwrap(),
            Self::Postgres { server, database } => drop(server.psql(database, sql).unwrap()),
        }
    }

    /// The rows of a query as lines, columns with `|` between them.
    pub(crate) fn rows(&self, sql: &str) -> String {
        match self {
            Self::Sqlite(_) => {
                let connection = rusqlite::Connection::open(self.file()).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let columns = statement.column_count();
                let line = |row: &rusqlite::Row<'_>| {
                    let column = |n| match row.get_unwrap::<_, rusqlite::types::Value>(n) {
                        rusqlite::types::Value::Integer(int) => int.to_string(),
                        rusqlite::types::Value::Text(text) => text,
                        rusqlite::types::Value::Null => String::new(),
                        other => format!("{other:?}"),
                    };
                    Ok((0..columns).map(column).collect::<Vec<_>>().join("|"))
                };
                let lines: Result<Vec<_>, _> = statement.query_map([], line).unwrap().collect();
                lines.unwrap().join("\n")
            }
            Self::Postgres { server, database } => server.psql(database, sql).unwrap(),
        }
    }
}
