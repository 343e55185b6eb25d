//! The names of tenants and plans, for documents of keys: rows know their numbers.

use std::collections::HashMap;

use super::{KeyDocument, state};
use crate::desk::moment;
use crate::ledger::{KeyRow, PlanId, Store, StoreError};
use crate::tenant::TenantId;

pub(super) struct Names {
    tenants: HashMap<TenantId, String>,
    plans: HashMap<PlanId, String>,
}

impl Names {
    pub(super) fn read(store: &mut Store) -> Result<Self, StoreError> {
        let (tenants, plans) = store.names()?;
        Ok(Self { tenants: tenants.into_iter().collect(), plans: plans.into_iter().collect() })
    }

    #[cfg(test)]
    pub(super) fn of<const T: usize, const P: usize>(tenants: [(u32, &str); T], plans: [(u32, &str); P]) -> Self {
        let tenants = tenants.into_iter().map(|(id, name)| (TenantId(id), name.to_owned())).collect();
        let plans = plans.into_iter().map(|(id, name)| (PlanId(id), name.to_owned())).collect();
        Self { tenants, plans }
    }

    /// What was made a moment ago may have no name here yet: then its number stands for it.
    pub(super) fn document(&self, row: KeyRow, now_s: u64) -> KeyDocument {
        let named = |name: Option<&String>, number: u32| name.cloned().unwrap_or_else(|| format!("#{number}"));
        KeyDocument {
            id: row.id.to_string(),
            tenant: named(self.tenants.get(&row.tenant), row.tenant.0),
            plan: named(self.plans.get(&row.plan), row.plan.0),
            state: state(&row, now_s),
            created: moment::shown(row.created_s),
            expires: row.expires_s.map(moment::shown),
            revoked: row.revoked_s.map(moment::shown),
            shares_quota_of: (row.quota != row.id).then(|| row.quota.to_string()),
            label: row.label,
            rules: row.rules,
        }
    }
}
