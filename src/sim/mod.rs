//! The simulator: a node's decisions in a world of providers, in virtual time, from a seed.
//!
//! ```text
//!   World (world.rs)                         Node (node.rs)
//!   providers that drift, jump,   ◀─call──   shards: Ranker, Attempts, HedgeBudget, Standing, Outbound
//!   stall, die, flap, limit,      ──reply─▶  Control (control.rs): Board, Promotions, ratios; every 250 ms, its word
//!   lag, lie about their head                arriving late; Watch (watch.rs): Probes, Heads, footings
//!            ▲                                     │
//!            └────────── Run (run.rs): one queue of events, one clock ──────────┐
//!                                                  └──▶ Checks (invariants/), Ledger (regret.rs)
//! ```
//!
//! Nothing is modelled that the product decides: the modules driven are the product's, called in the order of
//! `shard/door.rs`. What is modelled is what the product meets: how long answers take, who fails when, how calls
//! arrive, and how old the news is that shards and control have of each other. What control does around the pure modules
//! (`ratio`, `own_rows`, `watch`) is private to it, and written again here in short. One thread, one queue, time a number:
//! the same seed is the same run, to the microsecond, and the calls that come are the same whatever the node does.
//!
//! Left out: what a shard finds taken that it saw free a moment ago, as one thread cannot; reloads; methods that a
//! provider lacks; a vendor's count that differs from ours by what the network does to the distances of calls.
//!
//! `cargo test sim` runs many small worlds. `LIVECHAIN_SIM_SEED=n` runs that one alone, `LIVECHAIN_SIM_SEEDS=n` as many;
//! `LIVECHAIN_SIM_SECONDS=s` gives a world with the product's own settings that many virtual seconds, days if wanted;
//! `LIVECHAIN_SIM_CSV=FILE` writes chosen against best of the regret world, which `perf/regret` draws. A failure prints
//! its seed and the line that replays it.

// Its numbers are small: seeds, counts and microseconds of runs.
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]

mod call;
mod control;
mod invariants;
mod node;
mod own_rows;
mod ratio;
mod regret;
mod run;
mod settings;
mod troubled;
mod watch;
mod world;
