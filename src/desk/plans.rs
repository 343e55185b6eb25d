//! Plans: made, listed, changed. A change holds for every key of the plan, at once.

use serde::{Deserialize, Serialize};

use super::{Page, Refusal, moment, paging};
use crate::ledger::{PlanChange, PlanRow, PlanText, Store, StoreError};

/// A plan to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPlan {
    pub name: String,
    pub terms: PlanText,
}

/// Another name, other terms in the place of all that there were, or both.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanOrder {
    pub name: Option<String>,
    pub terms: Option<PlanText>,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanDocument {
    pub id: u32,
    pub name: String,
    pub created: String,
    pub terms: PlanText,
}

/// Plans by name.
#[derive(Clone, Debug, Serialize)]
pub struct PlanList {
    pub plans: Vec<PlanDocument>,
    /// To be asked for behind it, where there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl NewPlan {
    pub fn check(self) -> Result<Self, Refusal> {
        check(&self.terms)?;
        Ok(self)
    }
}

impl PlanOrder {
    pub fn check(self) -> Result<PlanChange, Refusal> {
        if self.name.is_none() && self.terms.is_none() {
            return Err(Refusal::NoChange);
        }
        self.terms.as_ref().map(check).transpose()?;
        Ok(PlanChange { name: self.name, text: self.terms })
    }
}

fn check(terms: &PlanText) -> Result<(), Refusal> {
    for (rate, burst, refusal) in [
        (terms.calls_per_second, terms.calls_burst, Refusal::CallsBurst),
        (terms.units_per_second, terms.units_burst, Refusal::UnitsBurst),
    ] {
        if rate.is_none() && burst.is_some() {
            return Err(refusal);
        }
    }
    terms.written()?;
    Ok(())
}

impl From<PlanRow> for PlanDocument {
    fn from(row: PlanRow) -> Self {
        Self { id: row.id.0, name: row.name, created: moment::shown(row.created_s), terms: row.text }
    }
}

pub fn create(store: &mut Store, new: &NewPlan, now_s: u64) -> Result<PlanDocument, StoreError> {
    store.create_plan(&new.name, &new.terms, now_s).map(Into::into)
}

pub fn list(store: &mut Store, after: Option<&str>, most: usize) -> Result<PlanList, StoreError> {
    let Page { rows, next } = paging::by_name(store.plans()?, |row| &row.name, after, most);
    Ok(PlanList { plans: rows.into_iter().map(Into::into).collect(), next })
}

pub fn show(store: &mut Store, name: &str) -> Result<PlanDocument, StoreError> {
    store.plan(name).map(Into::into)
}

pub fn change(store: &mut Store, name: &str, change: &PlanChange) -> Result<PlanDocument, StoreError> {
    let id = store.plan_id(name)?;
    store.change_plan(id, change).map(Into::into)
}
