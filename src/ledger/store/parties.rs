//! Tenants and plans: made, listed, changed, and never taken away, since usage and keys name them.

use super::{Store, check_name, check_text, int, seconds, small, unsigned};
use crate::ledger::engine::{Begin, Engine, Param, Row};
use crate::ledger::error::StoreError;
use crate::ledger::row::{PlanChange, PlanId, PlanRow, TenantChange, TenantRow};
use crate::ledger::text::{PlanText, RulesText};
use crate::tenant::TenantId;

/// Numbers and what they are called.
pub(super) type Named<T> = Vec<(T, String)>;

const TENANT: &str = "tenant";
const PLAN: &str = "plan";

impl Store {
    /// All of them, by number.
    pub fn tenants(&mut self) -> Result<Vec<TenantRow>, StoreError> {
        self.transaction(Begin::Read, all_tenants)
    }

    pub fn tenant(&mut self, name: &str) -> Result<TenantRow, StoreError> {
        self.transaction(Begin::Read, |engine| tenant_named(engine, name)?.ok_or(StoreError::NotFound(TENANT)))
    }

    pub fn create_tenant(&mut self, name: &str, note: &str, now_s: u64) -> Result<TenantRow, StoreError> {
        check_name(name)?;
        check_text("note", note)?;
        self.change(|engine, revision| {
            if tenant_named(engine, name)?.is_some() {
                return Err(StoreError::Taken(TENANT));
            }
            let id = int(engine, "SELECT COALESCE(MAX(id), 0) + 1 FROM tenants", &[])?;
            let row = TenantRow { id: TenantId(small(id)?), name: name.into(), note: note.into(), created_s: now_s };
            let sql = "INSERT INTO tenants (id, name, note, created_s, revision) VALUES (?1, ?2, ?3, ?4, ?5)";
            let params = [
                Param::Int(id),
                Param::Text(name),
                Param::Text(note),
                Param::Int(seconds(now_s)),
                Param::Int(revision),
            ];
            engine.execute(sql, &params)?;
            Ok(row)
        })
    }

    pub fn change_tenant(&mut self, id: TenantId, change: &TenantChange) -> Result<TenantRow, StoreError> {
        change.name.as_deref().map_or(Ok(()), check_name)?;
        change.note.as_deref().map_or(Ok(()), |note| check_text("note", note))?;
        self.change(|engine, revision| {
            let mut row = tenant_numbered(engine, id)?;
            if let Some(name) = &change.name {
                if tenant_named(engine, name)?.is_some_and(|other| other.id != id) {
                    return Err(StoreError::Taken(TENANT));
                }
                row.name.clone_from(name);
            }
            if let Some(note) = &change.note {
                row.note.clone_from(note);
            }
            let sql = "UPDATE tenants SET name = ?2, note = ?3, revision = ?4 WHERE id = ?1";
            let params =
                [Param::Int(id.0.into()), Param::Text(&row.name), Param::Text(&row.note), Param::Int(revision)];
            engine.execute(sql, &params)?;
            Ok(row)
        })
    }

    /// All of them, by number. One whose terms cannot be read allows nothing.
    pub fn plans(&mut self) -> Result<Vec<PlanRow>, StoreError> {
        self.transaction(Begin::Read, |engine| all_plans(engine).map(|(plans, _)| plans))
    }

    /// What tenants and plans are called, by number.
    pub fn names(&mut self) -> Result<(Named<TenantId>, Named<PlanId>), StoreError> {
        self.transaction(Begin::Read, |engine| {
            let tenants = named(engine, "SELECT id, name FROM tenants", TenantId)?;
            Ok((tenants, named(engine, "SELECT id, name FROM plans", PlanId)?))
        })
    }

    pub fn plan(&mut self, name: &str) -> Result<PlanRow, StoreError> {
        self.transaction(Begin::Read, |engine| plan_named(engine, name)?.ok_or(StoreError::NotFound(PLAN)))
    }

    /// The number of a plan, whose terms need not be readable.
    pub fn plan_id(&mut self, name: &str) -> Result<PlanId, StoreError> {
        self.transaction(Begin::Read, |engine| {
            let number = plan_number(engine, name)?.ok_or(StoreError::NotFound(PLAN))?;
            small(number).map(PlanId)
        })
    }

    pub fn create_plan(&mut self, name: &str, text: &PlanText, now_s: u64) -> Result<PlanRow, StoreError> {
        check_name(name)?;
        let text = text.written()?;
        self.change(|engine, revision| {
            if plan_number(engine, name)?.is_some() {
                return Err(StoreError::Taken(PLAN));
            }
            let id = int(engine, "SELECT COALESCE(MAX(id), 0) + 1 FROM plans", &[])?;
            let row = PlanRow { id: PlanId(small(id)?), name: name.into(), text, created_s: now_s };
            let sql = "INSERT INTO plans (id, name, terms, created_s, revision) VALUES (?1, ?2, ?3, ?4, ?5)";
            let terms = row.text.json();
            let params = [
                Param::Int(id),
                Param::Text(name),
                Param::Text(&terms),
                Param::Int(seconds(now_s)),
                Param::Int(revision),
            ];
            engine.execute(sql, &params)?;
            Ok(row)
        })
    }

    /// A new text may be given to a plan whose own cannot be read.
    pub fn change_plan(&mut self, id: PlanId, change: &PlanChange) -> Result<PlanRow, StoreError> {
        change.name.as_deref().map_or(Ok(()), check_name)?;
        let text = change.text.as_ref().map(PlanText::written).transpose()?;
        self.change(|engine, revision| {
            let own = Param::Int(id.0.into());
            check_plan(engine, id)?;
            if let Some(name) = &change.name {
                if plan_number(engine, name)?.is_some_and(|other| other != i64::from(id.0)) {
                    return Err(StoreError::Taken(PLAN));
                }
                engine.execute("UPDATE plans SET name = ?2 WHERE id = ?1", &[own, Param::Text(name)])?;
            }
            if let Some(text) = &text {
                engine.execute("UPDATE plans SET terms = ?2 WHERE id = ?1", &[own, Param::Text(&text.json())])?;
            }
            engine.execute("UPDATE plans SET revision = ?2 WHERE id = ?1", &[own, Param::Int(revision)])?;
            let sql = "SELECT id, name, terms, created_s FROM plans WHERE id = ?1";
            one(engine, sql, &[own], plan)?.ok_or(StoreError::NotFound(PLAN))
        })
    }
}

pub(super) fn all_tenants(engine: &mut dyn Engine) -> Result<Vec<TenantRow>, StoreError> {
    let mut tenants = Vec::new();
    engine.read("SELECT id, name, note, created_s FROM tenants ORDER BY id", &[], &mut |row| {
        tenants.push(tenant(row)?);
        Ok(())
    })?;
    Ok(tenants)
}

/// All plans, and which of them cannot be read: those allow nothing, until somebody gives them a text that can.
pub(super) fn all_plans(engine: &mut dyn Engine) -> Result<(Vec<PlanRow>, Vec<String>), StoreError> {
    let (mut plans, mut unreadable) = (Vec::new(), Vec::new());
    engine.read("SELECT id, name, terms, created_s FROM plans ORDER BY id", &[], &mut |row| {
        let terms = PlanText::parse(row.text(2)?);
        // An origin that is none any more is read, and is for nobody: that is told, too.
        if let Err(why) = terms.as_ref().map_err(Clone::clone).and_then(PlanText::written) {
            unreadable.push(format!("plan {}: {why}", row.text(1)?));
        }
        let nothing = |_| PlanText { rules: RulesText::nothing(), ..PlanText::default() };
        plans.push(plan_of(row, terms.unwrap_or_else(nothing))?);
        Ok(())
    })?;
    Ok((plans, unreadable))
}

fn named<T>(engine: &mut dyn Engine, sql: &'static str, id: fn(u32) -> T) -> Result<Named<T>, StoreError> {
    let mut all = Vec::new();
    engine.read(sql, &[], &mut |row| {
        all.push((id(small(row.int(0)?)?), row.text(1)?.to_owned()));
        Ok(())
    })?;
    Ok(all)
}

/// Whether there is such a tenant.
pub(super) fn check_tenant(engine: &mut dyn Engine, id: TenantId) -> Result<(), StoreError> {
    tenant_numbered(engine, id).map(drop)
}

/// Whether there is such a plan.
pub(super) fn check_plan(engine: &mut dyn Engine, id: PlanId) -> Result<(), StoreError> {
    let sql = "SELECT id FROM plans WHERE id = ?1";
    let found = one(engine, sql, &[Param::Int(id.0.into())], |row| row.int(0))?;
    found.map(drop).ok_or(StoreError::NotFound(PLAN))
}

/// The row that a statement gives, if it gives one.
pub(super) fn one<T>(
    engine: &mut dyn Engine,
    sql: &'static str,
    params: &[Param<'_>],
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut found = None;
    engine.read(sql, params, &mut |row| {
        found = Some(read(row)?);
        Ok(())
    })?;
    Ok(found)
}

fn tenant_numbered(engine: &mut dyn Engine, id: TenantId) -> Result<TenantRow, StoreError> {
    let sql = "SELECT id, name, note, created_s FROM tenants WHERE id = ?1";
    one(engine, sql, &[Param::Int(id.0.into())], tenant)?.ok_or(StoreError::NotFound(TENANT))
}

fn tenant_named(engine: &mut dyn Engine, name: &str) -> Result<Option<TenantRow>, StoreError> {
    one(engine, "SELECT id, name, note, created_s FROM tenants WHERE name = ?1", &[Param::Text(name)], tenant)
}

fn plan_named(engine: &mut dyn Engine, name: &str) -> Result<Option<PlanRow>, StoreError> {
    one(engine, "SELECT id, name, terms, created_s FROM plans WHERE name = ?1", &[Param::Text(name)], plan)
}

fn plan_number(engine: &mut dyn Engine, name: &str) -> Result<Option<i64>, StoreError> {
    one(engine, "SELECT id FROM plans WHERE name = ?1", &[Param::Text(name)], |row| row.int(0))
}

fn tenant(row: &Row<'_>) -> Result<TenantRow, StoreError> {
    Ok(TenantRow {
        id: TenantId(small(row.int(0)?)?),
        name: row.text(1)?.to_owned(),
        note: row.text(2)?.to_owned(),
        created_s: unsigned(row.int(3)?),
    })
}

fn plan(row: &Row<'_>) -> Result<PlanRow, StoreError> {
    // The store's fault, and not that of whoever asks.
    let unreadable = |why, name| StoreError::Engine(format!("the terms of plan {name}: {why}"));
    let text = PlanText::parse(row.text(2)?).map_err(|why| unreadable(why, row.text(1).unwrap_or_default()))?;
    plan_of(row, text)
}

/// A row whose terms have been read.
fn plan_of(row: &Row<'_>, text: PlanText) -> Result<PlanRow, StoreError> {
    Ok(PlanRow {
        id: PlanId(small(row.int(0)?)?),
        name: row.text(1)?.to_owned(),
        text,
        created_s: unsigned(row.int(3)?),
    })
}
