//! Keys: made, listed, changed, rotated, revoked. Their text is not known here, only its keyed hash.

use super::parties::{check_plan, check_tenant, one};
use super::pepper::check_pepper;
use super::{Store, check_text, seconds, small, unsigned};
use crate::ledger::engine::{Begin, Engine, Param, Row};
use crate::ledger::error::StoreError;
use crate::ledger::query::KeyFilter;
use crate::ledger::row::{KeyChange, KeyRow, NewKeyName, NewKeyRow, PlanId};
use crate::ledger::text::RulesText;
use crate::limits::KEYS_LISTED_MAX;
use crate::tenant::TenantId;
use crate::tenant::key::{KeyHash, KeyId};

const KEY: &str = "key";

/// As [`key`] reads them.
macro_rules! columns {
    () => {
        "id, hash, tenant, plan, rules, label, created_s, expires_s, revoked_s, quota"
    };
}
pub(super) use columns;

impl Store {
    pub fn key(&mut self, id: KeyId) -> Result<KeyRow, StoreError> {
        self.transaction(Begin::Read, |engine| find(engine, id))
    }

    /// A page of them.
    pub fn keys(&mut self, filter: &KeyFilter) -> Result<Vec<KeyRow>, StoreError> {
        // Ids have no sign, and the store's numbers do: theirs is the order that pages have.
        let after = filter.after.map_or(i64::MIN, |id| stored(id).saturating_add(1));
        let most = filter.most.unwrap_or(KEYS_LISTED_MAX).min(KEYS_LISTED_MAX);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        if filter.after.is_some_and(|id| stored(id) == i64::MAX) {
            return Ok(Vec::new());
        }
        let (revoked, page) = (Param::Int(filter.revoked.into()), [Param::Int(after), Param::Int(most)]);
        self.transaction(Begin::Read, |engine| {
            let mut keys = Vec::new();
            let mut each = |row: &Row<'_>| {
                keys.push(key(row)?);
                Ok(())
            };
            if let Some(tenant) = filter.tenant {
                let sql = concat!(
                    "SELECT ",
                    columns!(),
                    " FROM keys WHERE id >= ?1 AND (revoked_s IS NULL OR CAST(?3 AS BIGINT) = 1) AND tenant = ?4 \
                     ORDER BY id LIMIT ?2"
                );
                engine.read(sql, &[page[0], page[1], revoked, Param::Int(tenant.0.into())], &mut each)?;
            } else {
                let sql = concat!(
                    "SELECT ",
                    columns!(),
                    " FROM keys WHERE id >= ?1 AND (revoked_s IS NULL OR CAST(?3 AS BIGINT) = 1) \
                     ORDER BY id LIMIT ?2"
                );
                engine.read(sql, &[page[0], page[1], revoked], &mut each)?;
            }
            Ok(keys)
        })
    }

    pub fn create_key(&mut self, key: &NewKeyRow, now_s: u64) -> Result<KeyRow, StoreError> {
        check(key.name.id, &key.label)?;
        let pepper = key.name.pepper;
        let row = KeyRow {
            id: key.name.id,
            hash: key.name.hash,
            tenant: key.tenant,
            plan: key.plan,
            rules: ruling(key.rules.as_deref())?,
            label: key.label.clone(),
            created_s: now_s,
            quota: key.name.id,
            expires_s: key.expires_s,
            revoked_s: None,
        };
        self.change(|engine, revision| {
            check_pepper(engine, pepper)?;
            check_tenant(engine, row.tenant)?;
            check_plan(engine, row.plan)?;
            insert(engine, &row, revision)?;
            Ok(row)
        })
    }

    /// Another plan is one for all keys that share its quota.
    pub fn change_key(&mut self, id: KeyId, change: &KeyChange) -> Result<KeyRow, StoreError> {
        check(id, change.label.as_deref().unwrap_or_default())?;
        let rules = change.rules.as_ref().map(|rules| ruling(rules.as_deref())).transpose()?;
        self.change(|engine, revision| {
            let mut row = find(engine, id)?;
            if let Some(plan) = change.plan {
                check_plan(engine, plan)?;
                let sql = "UPDATE keys SET plan = ?2, revision = ?3 WHERE id = ?1 OR quota = ?1";
                let params = [Param::Int(stored(row.quota)), Param::Int(plan.0.into()), Param::Int(revision)];
                engine.execute(sql, &params)?;
                row.plan = plan;
            }
            if let Some(rules) = rules {
                row.rules = rules;
            }
            if let Some(label) = &change.label {
                row.label.clone_from(label);
            }
            if let Some(expires_s) = change.expires_s {
                row.expires_s = expires_s;
            }
            update(engine, &row, revision)?;
            Ok(row)
        })
    }

    /// From now on it is none. One that was revoked before stays as it is.
    pub fn revoke_key(&mut self, id: KeyId, now_s: u64) -> Result<KeyRow, StoreError> {
        self.change(|engine, revision| {
            let mut row = find(engine, id)?;
            if row.revoked_s.is_none() {
                row.revoked_s = Some(now_s);
                update(engine, &row, revision)?;
            }
            Ok(row)
        })
    }

    /// A new key like `old`, which expires `grace_s` from now, or when it would have if that is sooner. Both take from one
    /// quota: rotating sells nothing. Gives the new one and the old one. One that was revoked or has expired is not
    /// rotated: whoever has it should not get another.
    pub fn rotate_key(
        &mut self,
        old: KeyId,
        new: NewKeyName,
        grace_s: u64,
        now_s: u64,
    ) -> Result<(KeyRow, KeyRow), StoreError> {
        check(new.id, "")?;
        self.change(|engine, revision| {
            check_pepper(engine, new.pepper)?;
            let mut old = find(engine, old)?;
            if old.revoked_s.is_some() || old.expires_s.is_some_and(|expires| expires <= now_s) {
                return Err(StoreError::Invalid { field: KEY, why: "it is revoked or has expired: make a new one" });
            }
            let new = KeyRow { id: new.id, hash: new.hash, created_s: now_s, ..old.clone() };
            insert(engine, &new, revision)?;
            let ends = now_s.saturating_add(grace_s);
            old.expires_s = Some(old.expires_s.map_or(ends, |expires| expires.min(ends)));
            update(engine, &old, revision)?;
            Ok((new, old))
        })
    }
}

fn check(id: KeyId, label: &str) -> Result<(), StoreError> {
    if id == KeyId::NOBODY {
        return Err(StoreError::Invalid { field: "id", why: "0 is nobody's" });
    }
    check_text("label", label)
}

/// Rules as they are kept, where they rule anything.
fn ruling(rules: Option<&RulesText>) -> Result<Option<Box<RulesText>>, StoreError> {
    let kept = rules.map(RulesText::written).transpose()?;
    Ok(kept.filter(|rules| !rules.is_empty()).map(Box::new))
}

/// All of its bits, the first of which is a sign to the store.
const fn stored(id: KeyId) -> i64 {
    id.0.cast_signed()
}

fn find(engine: &mut dyn Engine, id: KeyId) -> Result<KeyRow, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM keys WHERE id = ?1");
    one(engine, sql, &[Param::Int(stored(id))], key)?.ok_or(StoreError::NotFound(KEY))
}

fn insert(engine: &mut dyn Engine, row: &KeyRow, revision: i64) -> Result<(), StoreError> {
    let sql = "SELECT COUNT(*) FROM keys WHERE id = ?1 OR hash = ?2";
    if super::int(engine, sql, &[Param::Int(stored(row.id)), Param::Bytes(&row.hash.0)])? > 0 {
        return Err(StoreError::Taken(KEY));
    }
    let sql = "INSERT INTO keys (id, tenant, plan, rules, label, expires_s, revoked_s, revision, hash, created_s, quota) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let others = (row.quota != row.id).then(|| stored(row.quota));
    let more = [Param::Bytes(&row.hash.0), Param::Int(seconds(row.created_s)), Param::OptInt(others)];
    write(engine, sql, row, revision, &more)
}

fn update(engine: &mut dyn Engine, row: &KeyRow, revision: i64) -> Result<(), StoreError> {
    let sql = "UPDATE keys SET tenant = ?2, plan = ?3, rules = ?4, label = ?5, expires_s = ?6, revoked_s = ?7, \
               revision = ?8 WHERE id = ?1";
    write(engine, sql, row, revision, &[])
}

fn write(
    engine: &mut dyn Engine,
    sql: &'static str,
    row: &KeyRow,
    revision: i64,
    more: &[Param<'_>],
) -> Result<(), StoreError> {
    let rules = row.rules.as_ref().map_or_else(String::new, |rules| rules.json());
    let mut params = vec![
        Param::Int(stored(row.id)),
        Param::Int(row.tenant.0.into()),
        Param::Int(row.plan.0.into()),
        Param::Text(&rules),
        Param::Text(&row.label),
        Param::OptInt(row.expires_s.map(seconds)),
        Param::OptInt(row.revoked_s.map(seconds)),
        Param::Int(revision),
    ];
    params.extend_from_slice(more);
    engine.execute(sql, &params).map(drop)
}

/// A row of [`columns`].
pub(super) fn key(row: &Row<'_>) -> Result<KeyRow, StoreError> {
    let hash: [u8; 32] = row
        .bytes(1)?
        .try_into()
        .map_err(|_| StoreError::Engine("a key's hash has 32 bytes, and one has not".into()))?;
    let rules = match row.text(4)? {
        "" => None,
        // Written by a newer program, or by hand: what is not understood allows nothing.
        text => Some(Box::new(RulesText::parse(text).unwrap_or_else(|_| RulesText::nothing()))),
    };
    let id = KeyId(row.int(0)?.cast_unsigned());
    Ok(KeyRow {
        id,
        hash: KeyHash(hash),
        tenant: TenantId(small(row.int(2)?)?),
        plan: PlanId(small(row.int(3)?)?),
        rules,
        label: row.text(5)?.to_owned(),
        created_s: unsigned(row.int(6)?),
        quota: row.opt_int(9)?.map_or(id, |quota| KeyId(quota.cast_unsigned())),
        expires_s: row.opt_int(7)?.map(unsigned),
        revoked_s: row.opt_int(8)?.map(unsigned),
    })
}
