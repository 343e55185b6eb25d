//! What a region's nodes may use of a key's plan, leased in chunks from a store that all of them share. Pure.
//!
//! ```text
//!   shard: call ──▶ Quota (this node's words) ──▶ Lease::take: three purses, a word each     never waits
//!                                                    ▲ fills, looks how fast they empty
//!   control, each 25 ms: Leases::tick ──▶ asks ──▶ store (Redis) ──▶ answers ──▶ Leases::on_answer
//! ```
//!
//! **Rates.** The store keeps one bucket a key and rate (GCRA: the moment until which all that was granted is paid for).
//! A node asks for what it used lately and a quarter more, hands back in the same step what it has not used, and what it
//! got is good for [`LEASE_LIFE`](crate::limits::LEASE_LIFE) from when it asked. So what is used in any ten seconds was granted in these ten seconds
//! and a tenth before, which is within a hundredth of `10 r + b`. Asks come at random moments, so that of several nodes that
//! all want more than there is none is always the first.
//!
//! **Months.** The store keeps a sum, and of each node what is in it. A node says how much it has used in all, not how much
//! more: an answer that is lost, or an ask that is said twice, makes no difference, and what was used while the store was
//! gone is in the next ask. The sum is what was used and what is leased out.
//!
//! **The first call** of a key that was quiet cannot wait for the store: the purse of such a key holds a little by itself,
//! which is charged afterwards ([`LeaseTerms::starter`]). Where the plan goes on without the store that is a burst; where it
//! refuses, a thousandth of what ten seconds allow, or one call. And there is one only where the store has said that the
//! key is below its rate. So nodes that meet a key at the same moment may together go beyond the plan by as many calls as
//! they are, once, and pay for it in the seconds after.
//!
//! **Without the store** ([`WithoutStore`](super::WithoutStore)) the purses of plans that go on are opened: this node's own
//! words, with the plan's figures, are what limits. Those of plans that refuse are left as they are, and empty.
//!
//! Left out: sockets, subscriptions and calls in flight, which stay a node's own; a call that is heavier than the burst of
//! units, which no bucket ever has: the burst is taken to be as large as the heaviest call.

mod ask;
mod holding;
mod leases;
mod purse;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod store;
mod terms;

pub use self::ask::{Answer, Ask, MonthAnswer, MonthAsk, RateAnswer, RateAsk};
pub use self::leases::{Leased, Leases};
pub use self::purse::Lease;
pub use self::terms::{LeaseTerms, RateFigures};
