//! One pepper for all keys: a key that is hashed under another one is known to no node.
//!
//! The store keeps the pepper's tag from the first key on; one of an earlier version gets it with the next key. A key
//! under another pepper is refused. Where no key is left to lose, a node that starts says which pepper it is from now on:
//! so an operator who changes it for good revokes all keys first.

use super::parties::one;
use super::{Store, int};
use crate::ledger::engine::{Begin, Engine, Param};
use crate::ledger::error::StoreError;
use crate::tenant::key::PepperTag;

impl Store {
    /// For a node that starts: whether it would know the keys that there are.
    pub fn hold_to(&mut self, pepper: PepperTag) -> Result<(), StoreError> {
        if self.transaction(Begin::Read, kept)? == Some(pepper) {
            return Ok(());
        }
        // As a change, so that no key is made meanwhile; it is none that nodes should hear of.
        self.transaction(Begin::Write, |engine| {
            int(engine, "UPDATE revision SET revision = revision WHERE only_row = 1 RETURNING revision", &[])?;
            let left = one(engine, "SELECT id FROM keys WHERE revoked_s IS NULL LIMIT 1", &[], |row| row.int(0))?;
            match kept(engine)? {
                Some(kept) if kept == pepper => Ok(()),
                Some(_) if left.is_some() => Err(StoreError::Pepper),
                // Keys from before there was a tag: nobody knows whose they are.
                None if left.is_some() => Ok(()),
                Some(_) | None => keep(engine, pepper),
            }
        })
    }
}

/// Within a change: a key is made under this one.
pub(super) fn check_pepper(engine: &mut dyn Engine, pepper: PepperTag) -> Result<(), StoreError> {
    match kept(engine)? {
        Some(kept) if kept == pepper => Ok(()),
        Some(_) => Err(StoreError::Pepper),
        None => keep(engine, pepper),
    }
}

fn kept(engine: &mut dyn Engine) -> Result<Option<PepperTag>, StoreError> {
    let sql = "SELECT pepper FROM revision WHERE only_row = 1 AND pepper IS NOT NULL";
    one(engine, sql, &[], |row| {
        let tag = row.bytes(0)?.try_into();
        tag.map(PepperTag).map_err(|_| StoreError::Engine("a pepper's tag has 32 bytes, and this one has not".into()))
    })
}

fn keep(engine: &mut dyn Engine, pepper: PepperTag) -> Result<(), StoreError> {
    engine.execute("UPDATE revision SET pepper = ?1 WHERE only_row = 1", &[Param::Bytes(&pepper.0)]).map(drop)
}
