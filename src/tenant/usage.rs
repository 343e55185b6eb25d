//! What was used: sums by tenant, key, chain, method, provider and minute.
//!
//! A shard adds each ended call to its [`UsageTable`] in place; control absorbs the tables into the node's [`Spool`],
//! which makes batches for the ledger. Sums are whole numbers and are only ever added, so that any order of merging
//! gives the same.
//!
//! **Bounded, and nothing lost.** Keys' chains and methods are bounded (a method is one of the known ones or `other`),
//! but a million keys, or a ledger that is gone for a day, are more rows than a node holds. A full table becomes
//! coarser, for all of its rows and until it is empty again, by as many [`Grain`]s as make room: providers first, then
//! methods, chains, minutes (to hours), at last keys and tenants. What is dropped is detail; calls and units are there
//! to the last one.
//!
//! **Billable** is what `billable` of an error's class says of a provider's answer; an answer of our own too, and a
//! call whose client left after it was sent; our failures and refusals are not.

mod row;
mod spool;
mod table;

pub use self::row::{CallEnd, End, Fault, MethodNumber, Usage, UsageKey};
pub use self::spool::{Batch, Spool};
pub use self::table::{Grain, UsageTable};
