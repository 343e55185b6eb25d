//! PostgreSQL: for a fleet that shares one ledger.
//!
//! The connection has a small runtime of its own on the thread that uses it. Whatever is awaited has an end: a server
//! that says nothing for [`LEDGER_SILENCE_MAX`] is gone, and so is the connection. It is asked to do likewise, so that
//! nobody waits long for rows that a vanished node holds.
//!
//! A server that is set not to wait for its disk is told to, for this connection: what was said to be written must
//! survive its fall. One that only reads (a standby) is not taken for the ledger.

mod params;
mod tls;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;

use futures_util::TryStreamExt;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};

use super::{Begin, Each, Engine, KeyDay, Param, Row};
use crate::ledger::address::PostgresAddress;
use crate::ledger::error::StoreError;
use crate::ledger::schema::for_postgres;
use crate::ledger::usage::Sum;
use crate::limits::{LEDGER_BUSY_MAX, LEDGER_CONNECT_MAX, LEDGER_SILENCE_MAX};

/// `LCLG`: whoever changes the schema holds this lock of the database.
const SCHEMA_LOCK: &str = "SELECT pg_advisory_xact_lock(1279478855)";

/// In milliseconds.
const SET_UP: &str = "SET lock_timeout = 8000; SET idle_in_transaction_session_timeout = 30000; \
     SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
const _: () = assert!(LEDGER_BUSY_MAX.as_millis() == 8_000 && LEDGER_SILENCE_MAX.as_millis() == 30_000);

pub(super) struct Postgres {
    // Before the runtime, so that it goes first.
    client: Client,
    statements: HashMap<&'static str, Statement>,
    runtime: Runtime,
    /// Where it is, without the password.
    shown: String,
    /// Something was awaited in vain: what the server did with it, nobody knows.
    lost: bool,
}

impl Postgres {
    pub(super) fn connect(address: &PostgresAddress) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let mut config = address.config.clone();
        config.application_name("livechain").target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.tcp_user_timeout(LEDGER_SILENCE_MAX);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(LEDGER_CONNECT_MAX);
        }
        let tls = tls::connector(address.root_file.as_deref())?;
        let connected = wait(&runtime, async {
            let (client, connection) = config.connect(tls).await?;
            // Ends with the client; what it would say, the client's calls say.
            tokio::spawn(async { drop(connection.await) });
            client.batch_execute(SET_UP).await?;
            Ok(client)
        });
        let shown = address.to_string();
        let client = connected.map_err(|error| named(&shown, error))?;
        Ok(Self { client, statements: HashMap::new(), runtime, shown, lost: false })
    }

    /// Runs what needs the connection, and notes when that is lost.
    fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&Client, &mut HashMap<&'static str, Statement>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.lost || self.client.is_closed() {
            return Err(named(&self.shown, StoreError::Unavailable("the connection is lost".into())));
        }
        let done = self.runtime.block_on(work(&self.client, &mut self.statements));
        done.map_err(|error| {
            self.lost |= matches!(error, StoreError::Unavailable(_));
            named(&self.shown, error)
        })
    }

    fn script(&mut self, sql: &str) -> Result<(), StoreError> {
        self.run(async |client, _| soon(client.batch_execute(sql)).await)
    }

    fn number(&mut self, sql: &'static str) -> Result<Option<i64>, StoreError> {
        let mut number = None;
        self.read(sql, &[], &mut |row| {
            number = row.opt_int(0)?;
            Ok(())
        })?;
        Ok(number)
    }
}

impl Engine for Postgres {
    fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.run(async |client, statements| {
            let statement = prepared(client, statements, sql).await?;
            let params: Vec<_> = params.iter().map(params::value).collect();
            soon(client.execute(&statement, &params)).await
        })
    }

    fn read(&mut self, sql: &'static str, params: &[Param<'_>], each: &mut Each<'_>) -> Result<(), StoreError> {
        self.run(async |client, statements| {
            let statement = prepared(client, statements, sql).await?;
            let rows = soon(client.query_raw(&statement, params.iter().map(params::value))).await?;
            let mut rows = std::pin::pin!(rows);
            while let Some(row) = soon(rows.try_next()).await? {
                each(&Row::Postgres(&row))?;
            }
            Ok(())
        })
    }

    fn add_usage(&mut self, span: i64, sums: &[Sum]) -> Result<(), StoreError> {
        let sql = concat!(
            crate::ledger::usage::insert!(),
            " SELECT ?1, * FROM unnest(?2::bigint[], ?3::bigint[], ?4::bigint[], ?5::text[], ?6::text[], ?7::text[], \
             ?8::bigint[], ?9::bigint[], ?10::bigint[], ?11::bigint[], ?12::bigint[], ?13::bigint[], \
             ?14::bigint[], ?15::bigint[], ?16::bigint[], ?17::bigint[]) ",
            crate::ledger::usage::or_add!()
        );
        let columns = params::Columns::of(sums);
        self.run(async |client, statements| {
            let statement = prepared(client, statements, sql).await?;
            soon(client.execute(&statement, &columns.params(&span))).await.map(drop)
        })
    }

    fn add_key_days(&mut self, days: &[(KeyDay, i64)]) -> Result<(), StoreError> {
        let sql = "INSERT INTO key_days (day, tenant, key, units) \
                   SELECT * FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[], ?4::bigint[]) \
                   ON CONFLICT (day, tenant, key) DO UPDATE SET units = key_days.units + excluded.units";
        let column = |of: fn(&(KeyDay, i64)) -> i64| days.iter().map(of).collect::<Vec<_>>();
        let (day, tenant) = (column(|((day, ..), _)| *day), column(|((_, tenant, _), _)| *tenant));
        let (key, units) = (column(|((.., key), _)| *key), column(|(_, units)| *units));
        self.run(async |client, statements| {
            let statement = prepared(client, statements, sql).await?;
            soon(client.execute(&statement, &[&day, &tenant, &key, &units])).await.map(drop)
        })
    }

    fn begin(&mut self, begin: Begin) -> Result<(), StoreError> {
        self.script(match begin {
            Begin::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Begin::Write | Begin::Migrate => "BEGIN ISOLATION LEVEL READ COMMITTED",
        })?;
        if begin == Begin::Migrate { self.script(SCHEMA_LOCK) } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.script("COMMIT")
    }

    fn rollback(&mut self) {
        let undone = self.script("ROLLBACK");
        self.lost |= undone.is_err();
    }

    fn version(&mut self) -> Result<u32, StoreError> {
        // Not `to_regclass`: a transaction that waited for another one's migration would remember that there was none.
        let there = "SELECT c.oid::bigint FROM pg_catalog.pg_class c \
                     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                     WHERE n.nspname = current_schema() AND c.relname = 'livechain_schema'";
        if self.number(there)?.is_none() {
            return Ok(0);
        }
        let version = self.number("SELECT version FROM livechain_schema")?;
        Ok(version.map_or(0, |version| u32::try_from(version).unwrap_or(u32::MAX)))
    }

    fn migrate(&mut self, script: &str, version: u32) -> Result<(), StoreError> {
        self.script(&for_postgres(script))?;
        self.script("CREATE TABLE IF NOT EXISTS livechain_schema (version BIGINT NOT NULL)")?;
        self.execute("DELETE FROM livechain_schema", &[])?;
        let note = "INSERT INTO livechain_schema (version) VALUES (?1)";
        self.execute(note, &[Param::Int(version.into())]).map(drop)
    }
}

/// Statements are made ready once in a connection; there are not more of them than the program's text has.
async fn prepared(
    client: &Client,
    statements: &mut HashMap<&'static str, Statement>,
    sql: &'static str,
) -> Result<Statement, StoreError> {
    if let Some(ready) = statements.get(sql) {
        return Ok(ready.clone());
    }
    let ready = soon(client.prepare(&sql.replace('?', "$"))).await?;
    statements.insert(sql, ready.clone());
    Ok(ready)
}

async fn soon<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StoreError> {
    match timeout(LEDGER_SILENCE_MAX, work).await {
        Ok(done) => done.map_err(|error| fault(&error)),
        Err(_) => Err(StoreError::Unavailable(format!("no answer for {} s", LEDGER_SILENCE_MAX.as_secs()))),
    }
}

fn wait<T>(runtime: &Runtime, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StoreError> {
    runtime.block_on(soon(work))
}

fn named(shown: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(why) => StoreError::Unavailable(format!("{shown}: {why}")),
        other => other,
    }
}

/// What an error of PostgreSQL means. Its details may quote rows and are left out.
pub(super) fn fault(error: &tokio_postgres::Error) -> StoreError {
    let Some(told) = error.as_db_error() else {
        let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
        let words = format!("{error}{source}");
        let broken = error.is_closed() || is_transport(error);
        return if broken { StoreError::Unavailable(words) } else { StoreError::Engine(words) };
    };
    let words = told.message().to_owned();
    let code = told.code();
    if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE]
        .contains(code)
    {
        return StoreError::Busy(words);
    }
    // Connections, too few resources, an operator's hand, the server's own faults, who may come in, no such database;
    // and a server that only reads.
    let passes = ["08", "53", "57", "58", "28", "3D"].iter().any(|class| code.code().starts_with(class))
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION;
    if passes { StoreError::Unavailable(words) } else { StoreError::Engine(words) }
}

/// Whether it is about the way to the server, and not about what was asked.
fn is_transport(error: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<std::io::Error>() {
            return true;
        }
        source = error.source();
    }
    // Its kinds are told by words alone: connecting, TLS, authentication, a server's reply that is none.
    let words = error.to_string();
    ["connect", "TLS", "authentication", "timeout", "unexpected message"].iter().any(|word| words.contains(word))
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.shown).finish()
    }
}
