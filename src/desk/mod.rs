//! The desk: what an operator does with tenants, plans, keys and usage, once for the command line and the admin API.
//!
//! ```text
//!   arguments ──▶ command ─┐                                         ┌─▶ table, CSV, JSON
//!                          ├─▶ an order, checked ──▶ Store ──▶ a document
//!   JSON bodies ─▶ admin ──┘     (no store yet)                      └─▶ JSON
//! ```
//!
//! **An order** is what was written, in words. Checking it asks nobody, so that a slip of the hand is told as such even
//! while the store is gone. **An operation** takes a checked order to the store and gives **a document**, which is the
//! same on both ways: scripts that read the one can read the other.
//!
//! **A key's text** is made here, handed to whoever asked for it, and kept by nobody: the store sees its hash. No
//! document of a key has a place for it but [`MadeKey`]. Where an id is expected and a key's text is given by mistake, no
//! message says it again.
//!
//! In reading order: [`Refusal`], [`moment`] (days, moments and spans), [`tenants`], [`plans`], [`keys`], [`usage`];
//! then `command`, the command line.

mod command;
pub mod keys;
pub mod moment;
mod paging;
pub mod plans;
mod refusal;
mod sheet;
pub mod tenants;
pub mod usage;

pub use command::{Task, exit_with, run};
pub use keys::MadeKey;
pub use paging::{Page, most};
pub use refusal::Refusal;
