//! Calls, batches, replies and the error taxonomy: pure.
//!
//! In reading order: [`parse`] cuts a client's body into calls ([`Call`]) or says why not ([`Refusal`]); `tokens`,
//! `strict` and `scan` are what it stands on. [`info`] tells what a method is, [`Blocked`] whether it is forwarded at all,
//! [`write_local`] answers what needs no provider, [`BlockFacts`] what of the chain a call needs. [`inspect`] reads what a provider answered, [`classify`]
//! judges its errors, [`incoming`] what it says over a WebSocket, [`range_refusal`] reads the limit out of one. [`seal_filter`] and [`open_filter`] keep a client's filter at its
//! provider, [`transaction_hash`] names what a provider has already. [`write_error`] says what went wrong on our side.

mod batch;
mod blocked;
mod call;
mod class;
mod classify;
mod error;
mod facts;
mod failure;
mod filter;
mod hex;
mod incoming;
mod local;
mod method;
mod range;
mod reply;
mod scan;
mod signs;
mod strict;
mod tokens;
mod transaction;
mod units;

pub use batch::{Document, Limits, parse};
pub use blocked::{BLOCKED_BY_DEFAULT, Blocked};
pub use call::{Call, Item, Refusal};
pub use class::MethodClass;
pub use classify::{Evidence, Override, Scope, Verdict, classify, classify_http};
pub use error::{Reason, write_error};
pub use facts::{Block, BlockFacts, BlockParam, Depth, quantity};
pub use failure::{Action, Class, Health};
pub use filter::{FilterKey, open_filter, seal_filter, with_filter_id};
pub use incoming::{Incoming, incoming, subscription_id, write_numbered, write_with_id};
pub use local::{ChainNumbers, write_local, write_result};
pub use method::{FilterRole, Local, METHOD_COUNT, MethodInfo, default_deadline, info, known_method};
pub use range::{RangeRefusal, range_refusal};
pub use reply::{IdMatch, Malformed, Prefix, PrefixKind, Reply, ReplyError, inspect, inspect_prefix, write_reply};
pub use tokens::{NotJson, Scratch};
pub use transaction::{TransactionHash, transaction_hash, write_hash};
pub use units::{DEFAULT_UNITS, Units};
