//! What the store keeps, row by row, and what may be changed of it.
//!
//! Nothing is ever deleted but usage that is old: a key that was revoked or has expired stays as a row that says so,
//! since usage names it. Seconds and minutes are those of the calendar, since 1970, UTC.

use std::sync::Arc;

use super::text::{PlanText, RulesText};
use crate::tenant::key::{KeyHash, KeyId, PepperTag};
use crate::tenant::{TenantId, Usage};

/// A plan's number in the store, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlanId(pub u32);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRow {
    /// From 1 on; 0 is nobody.
    pub id: TenantId,
    /// One for each.
    pub name: String,
    /// The operator's own, such as a customer's number.
    pub note: String,
    pub created_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRow {
    pub id: PlanId,
    /// One for each.
    pub name: String,
    pub text: PlanText,
    pub created_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    pub id: KeyId,
    pub hash: KeyHash,
    pub tenant: TenantId,
    pub plan: PlanId,
    /// Its own, beside its plan's; none for most.
    pub rules: Option<Box<RulesText>>,
    pub label: String,
    pub created_s: u64,
    /// Whose quota it takes from: its own, or that of the key which it was rotated from.
    pub quota: KeyId,
    /// From then on it is none.
    pub expires_s: Option<u64>,
    /// Since then it is none.
    pub revoked_s: Option<u64>,
}

/// What the store is told of a key that was made, for want of its text.
#[derive(Clone, Copy, Debug)]
pub struct NewKeyName {
    pub id: KeyId,
    pub hash: KeyHash,
    /// Of what it is hashed under.
    pub pepper: PepperTag,
}

/// A key to be stored.
#[derive(Clone, Debug)]
pub struct NewKeyRow {
    pub name: NewKeyName,
    pub tenant: TenantId,
    pub plan: PlanId,
    pub rules: Option<Box<RulesText>>,
    pub label: String,
    pub expires_s: Option<u64>,
}

/// What is absent stays as it is.
#[derive(Clone, Debug, Default)]
pub struct TenantChange {
    pub name: Option<String>,
    pub note: Option<String>,
}

/// What is absent stays as it is.
#[derive(Clone, Debug, Default)]
pub struct PlanChange {
    pub name: Option<String>,
    pub text: Option<PlanText>,
}

/// What is absent stays as it is; an absence within is one to be stored.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    pub plan: Option<PlanId>,
    pub rules: Option<Option<Box<RulesText>>>,
    pub label: Option<String>,
    pub expires_s: Option<Option<u64>>,
}

/// Who may come in, as of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    pub revision: u64,
    /// Whether `keys` are all of them, and not only those that changed.
    pub whole: bool,
    /// All of them, always.
    pub tenants: Vec<TenantRow>,
    /// All of them, always. One that cannot be read comes with [`RulesText::nothing`].
    pub plans: Vec<PlanRow>,
    /// Expired ones too; revoked ones only where they are among those that changed. One whose rules cannot be read comes
    /// with [`RulesText::nothing`].
    pub keys: Vec<KeyRow>,
    /// What could not be read, in words: a newer version of the program wrote it, or a hand.
    pub unreadable: Vec<String>,
}

/// What was used in a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    pub tenant: TenantId,
    pub key: KeyId,
    /// Empty where there is none, or all are summed.
    pub chain: Arc<str>,
    pub method: &'static str,
    /// Empty where there is none, or all are summed.
    pub provider: Arc<str>,
    /// Minutes since 1970.
    pub minute: u32,
    pub usage: Usage,
}

/// Usage that is committed as one: all of it or none, and once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageBatch {
    pub node: String,
    /// Random for each start of a node, so that nodes may share a name.
    pub boot: u128,
    /// Counted from 1 within a boot; no batch is handed in before the one before it is written.
    pub sequence: u64,
    pub rows: Vec<UsageRow>,
}
