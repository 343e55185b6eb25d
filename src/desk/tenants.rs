//! Tenants: made, listed, renamed. None is ever taken away, since usage names it; one without a key costs nothing.

use serde::{Deserialize, Serialize};

use super::{Page, Refusal, moment, paging};
use crate::ledger::{Store, StoreError, TenantChange, TenantRow};

/// A tenant to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    pub name: String,
    #[serde(default)]
    pub note: String,
}

/// What is absent stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantOrder {
    pub name: Option<String>,
    pub note: Option<String>,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TenantDocument {
    pub id: u32,
    pub name: String,
    pub note: String,
    pub created: String,
}

/// Tenants by name.
#[derive(Clone, Debug, Serialize)]
pub struct TenantList {
    pub tenants: Vec<TenantDocument>,
    /// To be asked for behind it, where there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl TenantOrder {
    pub fn check(self) -> Result<TenantChange, Refusal> {
        match self {
            Self { name: None, note: None } => Err(Refusal::NoChange),
            Self { name, note } => Ok(TenantChange { name, note }),
        }
    }
}

impl From<TenantRow> for TenantDocument {
    fn from(row: TenantRow) -> Self {
        Self { id: row.id.0, name: row.name, note: row.note, created: moment::shown(row.created_s) }
    }
}

pub fn create(store: &mut Store, new: &NewTenant, now_s: u64) -> Result<TenantDocument, StoreError> {
    store.create_tenant(&new.name, &new.note, now_s).map(Into::into)
}

pub fn list(store: &mut Store, after: Option<&str>, most: usize) -> Result<TenantList, StoreError> {
    let Page { rows, next } = paging::by_name(store.tenants()?, |row| &row.name, after, most);
    Ok(TenantList { tenants: rows.into_iter().map(Into::into).collect(), next })
}

pub fn show(store: &mut Store, name: &str) -> Result<TenantDocument, StoreError> {
    store.tenant(name).map(Into::into)
}

pub fn change(store: &mut Store, name: &str, change: &TenantChange) -> Result<TenantDocument, StoreError> {
    let id = store.tenant(name)?.id;
    store.change_tenant(id, change).map(Into::into)
}
