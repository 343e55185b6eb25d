//! What is asked of the store, and what it answers.

use crate::tenant::key::KeyId;
use crate::tenant::{TenantId, Usage};

/// Which keys are wanted, in the order of their ids.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyFilter {
    pub tenant: Option<TenantId>,
    /// Those behind this one: the last of the page before.
    pub after: Option<KeyId>,
    /// Whether revoked ones are wanted, too.
    pub revoked: bool,
    /// At most so many, and at most [`crate::limits::KEYS_LISTED_MAX`]; that many where it is absent.
    pub most: Option<usize>,
}

/// Which usage is wanted.
///
/// What has been rolled up to an hour or a day counts where that begins, so that bounds within an old hour or day are
/// taken as its beginning.
#[derive(Clone, Copy, Debug)]
pub struct UsageQuery {
    pub tenant: Option<TenantId>,
    pub key: Option<KeyId>,
    /// The first minute since 1970 that is wanted, and the first that is not.
    pub from_minute: u32,
    pub to_minute: u32,
    pub by: Grouping,
}

/// By what usage is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    Hour,
    Day,
    /// Of the calendar.
    Month,
    Tenant,
    Key,
    Chain,
    Method,
    Provider,
}

/// What a sum is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The first minute, since 1970, of an hour, a day or a month.
    Time(u32),
    Tenant(TenantId),
    Key(KeyId),
    /// A chain, a method or a provider; empty for none.
    Word(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageLine {
    pub group: Group,
    pub usage: Usage,
}

/// What keys have used since a month began that take from one quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthUnits {
    /// Whose quota it is.
    pub key: KeyId,
    pub units: u64,
    /// It is a key of the ledger's, and not a token's bearer.
    pub is_known: bool,
}
