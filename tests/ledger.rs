//! The ledger on a real SQLite file and a real PostgreSQL server: the same tests on both.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

#[path = "ledger/parties.rs"]
mod parties;
#[path = "ledger/place.rs"]
mod place;
#[path = "ledger/schema.rs"]
mod schema;
#[path = "ledger/trouble.rs"]
mod trouble;
#[path = "ledger/usage.rs"]
mod usage;
