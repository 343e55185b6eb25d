//! SQLite: one file, readers that never wait, and one writer at a time, of whichever process.
//!
//! The write-ahead log is forced to the disk with each commit (`synchronous=FULL`): what was said to be written
//! survives the machine's fall, too. A writer takes its place when it begins, so that nobody finds out at the end that
//! somebody else was faster; it waits for others [`LEDGER_BUSY_MAX`].
//!
//! A file that is put in the place of ours, or taken away, is noticed when the next transaction begins: what we would
//! write on into the old one, nobody would ever read.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};

use super::{Begin, Each, Engine, KeyDay, Param, Row};
use crate::ledger::error::StoreError;
use crate::ledger::usage::Sum;
use crate::limits::{LEDGER_BUSY_MAX, LEDGER_BUSY_PAUSE, LEDGER_STATEMENTS_MAX, LEDGER_WAL_BYTES_MAX};

/// `LCLG` in the file's header says whose it is.
const APPLICATION: i64 = 0x4c43_4c47;

#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let away = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
        // Made by us and not by SQLite, for the mode; the files beside it get the same.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(away(error)),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| fault(&error))?;
        let file = identity(path).map_err(away)?;
        let opened = Self { connection, path: path.into(), file };
        opened.connection.busy_timeout(LEDGER_BUSY_MAX).map_err(|error| fault(&error))?;
        opened.connection.set_prepared_statement_cache_capacity(LEDGER_STATEMENTS_MAX);
        opened.refuse_strangers()?;
        Ok(opened)
    }

    /// A file of something else is left as it is. What is looked at is of one moment: another process may be making
    /// the tables just now.
    fn refuse_strangers(&self) -> Result<(), StoreError> {
        self.run("BEGIN DEFERRED")?;
        let (version, application) = (self.pragma("user_version")?, self.pragma("application_id")?);
        let tables = "SELECT COUNT(*) FROM sqlite_master";
        let tables: i64 = self.connection.query_row(tables, [], |row| row.get(0)).map_err(|error| fault(&error))?;
        self.run("COMMIT")?;
        if application == APPLICATION || (version == 0 && application == 0 && tables == 0) {
            return Ok(());
        }
        Err(StoreError::Foreign(self.path.display().to_string()))
    }

    /// How it is written. Changing to the log needs the file alone for a moment, and SQLite does not wait for that.
    fn set_up(&self) -> Result<(), StoreError> {
        let until = Instant::now() + LEDGER_BUSY_MAX;
        let mode = loop {
            let mode = self.connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get::<_, String>(0));
            match mode.map_err(|error| fault(&error)) {
                Err(StoreError::Busy(_)) if Instant::now() < until => std::thread::sleep(LEDGER_BUSY_PAUSE),
                mode => break mode?,
            }
        };
        if mode != "wal" {
            return Err(StoreError::Engine(format!("{}: no write-ahead log can be kept here", self.path.display())));
        }
        for (pragma, value) in [
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("trusted_schema", 0),
            ("journal_size_limit", LEDGER_WAL_BYTES_MAX),
        ] {
            self.connection.pragma_update(None, pragma, value).map_err(|error| fault(&error))?;
        }
        Ok(())
    }

    fn pragma(&self, name: &str) -> Result<i64, StoreError> {
        self.connection.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| fault(&error))
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(sql).map_err(|error| fault(&error))
    }

    fn same_file(&self) -> Result<(), StoreError> {
        let now = identity(&self.path).ok();
        if now == Some(self.file) {
            return Ok(());
        }
        Err(StoreError::Unavailable(format!("{}: another file is there now, or none", self.path.display())))
    }
}

impl Engine for Sqlite {
    fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        let touched = self.connection.prepare_cached(sql).and_then(|mut it| it.execute(params_from_iter(params)));
        touched.map(|rows| rows as u64).map_err(|error| fault(&error))
    }

    fn read(&mut self, sql: &'static str, params: &[Param<'_>], each: &mut Each<'_>) -> Result<(), StoreError> {
        if self.connection.is_autocommit() {
            self.same_file()?;
        }
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| fault(&error))?;
        let mut rows = statement.query(params_from_iter(params)).map_err(|error| fault(&error))?;
        while let Some(row) = rows.next().map_err(|error| fault(&error))? {
            each(&Row::Sqlite(row))?;
        }
        Ok(())
    }

    fn add_usage(&mut self, span: i64, sums: &[Sum]) -> Result<(), StoreError> {
        let sql = concat!(
            crate::ledger::usage::insert!(),
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17) ",
            crate::ledger::usage::or_add!()
        );
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| fault(&error))?;
        for (key, values) in sums {
            use Param::{Int, Text};
            let [calls, billable, units, client, provider, node, bytes_in, bytes_out, hits, attempts] = *values;
            let params = [
                Int(span),
                Int(key.tenant),
                Int(key.minute),
                Int(key.key),
                Text(&key.chain),
                Text(&key.method),
                Text(&key.provider),
                Int(calls),
                Int(billable),
                Int(units),
                Int(client),
                Int(provider),
                Int(node),
                Int(bytes_in),
                Int(bytes_out),
                Int(hits),
                Int(attempts),
            ];
            statement.execute(params_from_iter(&params)).map_err(|error| fault(&error))?;
        }
        Ok(())
    }

    fn add_key_days(&mut self, days: &[(KeyDay, i64)]) -> Result<(), StoreError> {
        let sql = "INSERT INTO key_days (day, tenant, key, units) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT (day, tenant, key) DO UPDATE SET units = key_days.units + excluded.units";
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| fault(&error))?;
        for ((day, tenant, key), units) in days {
            statement.execute([day, tenant, key, units]).map_err(|error| fault(&error))?;
        }
        Ok(())
    }

    fn begin(&mut self, begin: Begin) -> Result<(), StoreError> {
        self.same_file()?;
        if begin == Begin::Migrate {
            self.set_up()?;
        }
        self.run(match begin {
            Begin::Read => "BEGIN DEFERRED",
            Begin::Write | Begin::Migrate => "BEGIN IMMEDIATE",
        })
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT")
    }

    fn rollback(&mut self) {
        // Some faults have rolled back by themselves.
        if !self.connection.is_autocommit() {
            let _ = self.run("ROLLBACK");
        }
    }

    fn version(&mut self) -> Result<u32, StoreError> {
        self.pragma("user_version").map(|version| u32::try_from(version).unwrap_or(u32::MAX))
    }

    fn migrate(&mut self, script: &str, version: u32) -> Result<(), StoreError> {
        self.run(script)?;
        // These are part of the file and of its transactions.
        self.connection.pragma_update(None, "application_id", APPLICATION).map_err(|error| fault(&error))?;
        self.connection.pragma_update(None, "user_version", version).map_err(|error| fault(&error))
    }
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match *self {
            Self::Int(int) | Self::OptInt(Some(int)) => ToSqlOutput::Owned(Value::Integer(int)),
            Self::OptInt(None) => ToSqlOutput::Owned(Value::Null),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// What an error of SQLite means.
pub(super) fn fault(error: &rusqlite::Error) -> StoreError {
    let words = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy(words),
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::OutOfMemory
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed,
        ) => StoreError::Unavailable(words),
        Some(ErrorCode::NotADatabase) => StoreError::Foreign(words),
        _ => StoreError::Engine(words),
    }
}
