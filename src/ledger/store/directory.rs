//! Who may come in: read whole once, and then what has changed.
//!
//! All of it is of one moment. A row that cannot be read keeps nothing else back: least of all a revocation.

use super::keys::{columns, key};
use super::parties::{all_plans, all_tenants};
use super::{Store, int, unsigned};
use crate::ledger::engine::{Begin, Param, Row};
use crate::ledger::error::StoreError;
use crate::ledger::row::Directory;

const REVISION: &str = "SELECT revision FROM revision WHERE only_row = 1";

impl Store {
    /// Grows with each change of tenants, plans and keys.
    pub fn revision(&mut self) -> Result<u64, StoreError> {
        int(&mut *self.engine, REVISION, &[]).map(unsigned)
    }

    /// Who may come in: all of it, or what has changed behind a revision. Whole, too, where the store is not as far as
    /// that: it was put back from a copy.
    pub fn directory(&mut self, since: Option<u64>) -> Result<Directory, StoreError> {
        self.transaction(Begin::Read, |engine| {
            let now = int(engine, REVISION, &[])?;
            let since = since.and_then(|since| i64::try_from(since).ok()).filter(|since| *since <= now);
            let tenants = all_tenants(engine)?;
            let (plans, unreadable) = all_plans(engine)?;
            let mut keys = Vec::new();
            let mut each = |row: &Row<'_>| {
                keys.push(key(row)?);
                Ok(())
            };
            if let Some(since) = since {
                let sql = concat!("SELECT ", columns!(), " FROM keys WHERE revision > ?1");
                engine.read(sql, &[Param::Int(since)], &mut each)?;
            } else {
                let sql = concat!("SELECT ", columns!(), " FROM keys WHERE revoked_s IS NULL");
                engine.read(sql, &[], &mut each)?;
            }
            Ok(Directory { revision: unsigned(now), whole: since.is_none(), tenants, plans, keys, unreadable })
        })
    }
}
