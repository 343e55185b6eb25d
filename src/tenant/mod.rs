//! Tenants: who may ask for what, how much of it, and what it is charged. Pure.
//!
//! ```text
//!   head ──▶ shown_key ──▶ KeyText ──▶ Pepper::hash ──▶ Keys = KeyMap + delta     (published by control)
//!                             │ the same key again                 │
//!                             └──▶ RememberedKey ──▶ Account ◀── KeyEntry, Plan: Rules, Units, Terms
//!                                                       │
//!   call ──▶ Rules::method ──▶ Quota::take (words of all shards, and this shard's Share)
//!                                                       │
//!   its end ──▶ Usage ──▶ UsageTable (one per shard) ──▶ Spool (one per node) ──▶ batches for the ledger
//! ```
//!
//! Nothing here names a socket, a runtime, a clock or a file: moments, random bytes and minutes of the calendar are
//! handed in.
//!
//! In reading order: [`key`], `shown`, `map`, [`token`] (who is it); `network`, `rules`, `plan` (what may it do); `quota`,
//! `account`, `active`, [`lease`] (how much of it); `roster` (all of them); `usage` (what is it charged).

mod account;
mod active;
#[cfg(test)]
mod exactness;
pub mod key;
pub mod lease;
mod map;
mod network;
mod plan;
mod quota;
mod roster;
mod rules;
mod shown;
pub mod token;
mod usage;

pub use account::{Account, CallPlace, LastingPlace};
pub use active::{Active, Who};
pub use map::{DeltaFull, KeyEntry, KeyMap, Keys, PlanNumber, RulesNumber, TenantId, TooManyKeys};
pub use network::{AddressBlock, Network, NetworkError};
pub use plan::{Plan, PlanConfig, Unauthorized, Verdict, WithoutStore, find_key};
pub use quota::{Figures, Lasting, Limit, MonthUsed, Quota, QuotaConfig, Refused, Share, Taken, Terms};
pub use roster::{Actives, Known, Names, Roster, Shop};
pub use rules::{Forbidden, NoOrigin, Origin, Rules, RulesConfig, Visit};
pub use shown::{KeyPlaces, TwoKeys, shown_key};
pub use usage::{Batch, CallEnd, End, Fault, Grain, MethodNumber, Spool, Usage, UsageKey, UsageTable};
