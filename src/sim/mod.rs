//! The simulator: a node's decisions in a world of providers, in virtual time, from a seed.
//!
//! ```text
//!   World (world.rs)                         Node (node.rs)
//!   providers that drift, jump,   ◀─call──   shards: the real Ranker, Attempts, Standing
//!   stall, die, flap, limit       ──reply─▶  Control (control.rs): the real Board, every 250 ms, its word arriving late
//!            ▲                                     │
//!            └────────── Run (run.rs): one queue of events, one clock ──────────┐
//!                                                  └──▶ Checks (invariants/), Ledger (regret.rs)
//! ```
//!
//! Nothing is modelled that the product decides: the modules driven are the product's, called in the order of
//! `shard/door.rs`. What is modelled is what the product meets: how long answers take, who fails when, how calls
//! arrive, and how old the news is that shards and control have of each other. One thread, one queue, time a number:
//! the same seed is the same run, to the microsecond.
//!
//! `cargo test sim` runs many small worlds. `LIVECHAIN_SIM_SEED=n` runs that one alone, `LIVECHAIN_SIM_SEEDS=n` as many; `LIVECHAIN_SIM_SECONDS=s` gives
//! a world with the product's own settings that many virtual seconds, days if wanted; `LIVECHAIN_SIM_CSV=FILE` writes
//! chosen against best of the regret world. A failure prints its seed and the line that replays it.

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
mod watch;
mod world;
