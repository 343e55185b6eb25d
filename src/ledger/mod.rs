//! The ledger: tenants, plans, keys and what they have used, kept in SQLite or PostgreSQL under one schema.
//!
//! ```text
//!   control ── write(UsageBatch) ──▶ ┌───────────────┐
//!     ▲  └──── ask(|store| …) ─────▶ │ ledger thread │──▶ Store ──▶ SQLite file │ PostgreSQL
//!     └─── News: Directory, Written ─└───────────────┘       ▲
//!                                          the command line ─┘
//! ```
//!
//! **Store** is the operations, each one transaction, the same on both engines. It blocks, so that only the ledger's
//! thread and the command line call it. **Ledger** is the thread: it writes batches of usage until they are written,
//! looks for changes of tenants, plans and keys, whoever made them, and does the upkeep.
//!
//! **Never twice, never lost.** A batch is committed together with its number under (node, boot); one whose number is
//! not beyond the last is known and counts as written. So control hands the same batch in until it hears that it is
//! written, through crashes of whichever side.
//!
//! **Nobody misses a change.** Each change takes the next revision of the whole ledger, holding its row until the
//! commit, and the rows that it touches carry that revision. So whoever has read up to a revision has read all of it.
//!
//! In reading order: [`StoreAddress`], `text` and `row` (what is kept), `query` (what is asked), [`Store`], [`Ledger`].

mod address;
mod engine;
mod error;
mod query;
mod row;
mod schema;
mod store;
mod text;
mod thread;
mod usage;

pub use address::{AddressError, StoreAddress};
pub use error::StoreError;
pub use query::{Group, Grouping, KeyFilter, MonthUnits, UsageLine, UsageQuery};
pub use row::{
    Directory, KeyChange, KeyRow, NewKeyName, NewKeyRow, PlanChange, PlanId, PlanRow, TenantChange, TenantRow,
    UsageBatch, UsageRow,
};
pub use store::{Committed, Retention, RolledUp, Store};
pub use text::{PlanText, RulesText, TextError, WithoutStoreText};
pub use thread::{Asker, Ledger, News};
