//! The store: every operation is one transaction, and the same on both engines.
//!
//! It blocks. It may not be called from within an async runtime: the ledger's thread and the command line do.
//!
//! **Changes** of tenants, plans and keys begin by taking the next revision, which holds everybody else's changes back
//! until the commit. So what a change looks up before it writes is still so when it has written, and no constraint of
//! the schema is ever met by surprise.
//!
//! In reading order: `parties` (tenants and plans), `keys`, `pepper`, `directory` (who may come in), `commit` and `report` (usage
//! in and out), `upkeep`.

mod commit;
mod directory;
mod keys;
mod parties;
mod pepper;
mod report;
mod upkeep;

pub use self::commit::Committed;
pub use self::upkeep::{Retention, RolledUp};

use self::upkeep::Round;
use super::address::StoreAddress;
use super::engine::{Begin, Engine, Param, connect};
use super::error::StoreError;
use super::schema::{MIGRATIONS, migrate};
use crate::limits::{TENANT_NAME_BYTES_MAX, TENANT_TEXT_BYTES_MAX};
use crate::tenant::key::KEY_PREFIX;

/// See the module.
#[derive(Debug)]
pub struct Store {
    engine: Box<dyn Engine>,
    /// Where the upkeep goes on.
    round: Round,
}

impl Store {
    /// Opens it; makes it where there is none; brings its schema up to this program's.
    pub fn open(address: &StoreAddress) -> Result<Self, StoreError> {
        Self::open_as(address, MIGRATIONS)
    }

    /// As a program of some version does.
    pub(super) fn open_as(address: &StoreAddress, migrations: &[&str]) -> Result<Self, StoreError> {
        let mut engine = connect(address)?;
        migrate(&mut *engine, migrations)?;
        Ok(Self { engine, round: Round::default() })
    }

    /// Does all of `work` or nothing of it.
    fn transaction<T>(
        &mut self,
        begin: Begin,
        work: impl FnOnce(&mut dyn Engine) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let engine = &mut *self.engine;
        // A beginning may have half begun.
        let done = engine.begin(begin).and_then(|()| work(engine)).and_then(|done| engine.commit().map(|()| done));
        if done.is_err() {
            engine.rollback();
        }
        done
    }

    /// Changes tenants, plans or keys; `work` gets the revision that it makes.
    fn change<T>(&mut self, work: impl FnOnce(&mut dyn Engine, i64) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.transaction(Begin::Write, |engine| {
            let next = "UPDATE revision SET revision = revision + 1 WHERE only_row = 1 RETURNING revision";
            let revision = int(engine, next, &[])?;
            work(engine, revision)
        })
    }
}

/// The one number that a statement gives.
fn int(engine: &mut dyn Engine, sql: &'static str, params: &[Param<'_>]) -> Result<i64, StoreError> {
    let mut found = None;
    engine.read(sql, params, &mut |row| {
        found = Some(row.int(0)?);
        Ok(())
    })?;
    found.ok_or_else(|| StoreError::Engine("a row is missing that is always there".into()))
}

/// Whatever is stored is shown in lists and logs.
const KEYS_TEXT: &str = "that is a key's text, which should be shown to nobody";

/// A name that is one: of a tenant or a plan.
fn check_name(name: &str) -> Result<(), StoreError> {
    let why = if name.contains(KEY_PREFIX) {
        KEYS_TEXT
    } else if name.is_empty() || name.len() > TENANT_NAME_BYTES_MAX {
        "a name has 1 to 64 bytes"
    } else if name.chars().any(char::is_control) || name.trim() != name {
        "a name has no control characters, and no spaces around it"
    } else if name.starts_with(['=', '+', '-', '@']) {
        "a name does not begin with = + - or @, which spreadsheets take for a formula"
    } else {
        return Ok(());
    };
    Err(StoreError::Invalid { field: "name", why })
}

/// Free text.
fn check_text(field: &'static str, text: &str) -> Result<(), StoreError> {
    if text.contains(KEY_PREFIX) {
        return Err(StoreError::Invalid { field, why: KEYS_TEXT });
    }
    if text.len() <= TENANT_TEXT_BYTES_MAX && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(StoreError::Invalid { field, why: "at most 256 bytes, and no control characters" })
}

/// Seconds as the store keeps them.
fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Seconds, and other numbers without a sign, as the store has them.
fn unsigned(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or_default()
}

/// A number of a tenant or a plan as the store has it.
fn small(stored: i64) -> Result<u32, StoreError> {
    u32::try_from(stored).map_err(|_| StoreError::Engine(format!("{stored} is no number of a tenant, plan or minute")))
}

const _: () = assert!(TENANT_NAME_BYTES_MAX == 64 && TENANT_TEXT_BYTES_MAX == 256);
