//! The simulator of streams: a chain that grows and reorganises, providers that see it late, each in its own way, lose us
//! and tell of other chains; the real [`super::Core`] between them and clients that apply what they are told, each as
//! fast as it reads.
//!
//! ```text
//!   World (world.rs)                      Run (run.rs)
//!   chain, forks, providers'  ──pushes──▶ Core ──emissions──▶ Outbox ──▶ Client (client.rs)
//!   views, delays, troubles   ◀─fetches──
//! ```
//!
//! **The property.** What a client holds, `removed` applied, is the canonical chain from where it began to the head,
//! each block and log once and in order; or its stream was closed with a reason. Checked at each emission as far as it
//! can be, and in the end, after a while without trouble.
//!
//! One queue, time a number, all from a seed: `LIVECHAIN_SIM_SEED=n cargo test subscription::sim` replays one,
//! `LIVECHAIN_SIM_SEEDS=n` plays so many instead of a thousand.

// Its numbers are small: seeds, counts and microseconds of runs.
#![allow(clippy::cast_possible_truncation)]

mod client;
mod outbox;
mod run;
mod world;

use super::Feed;
use run::{Flaw, Outcome, Run};

const SEEDS: u64 = 1000;

fn play(seed: u64, feed: Feed, flaw: Option<Flaw>) -> Outcome {
    let told = std::panic::catch_unwind(|| Run::new(seed, feed, flaw).play());
    told.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
        panic!("seed {seed}, {feed:?}: {what}\n  replay: LIVECHAIN_SIM_SEED={seed} cargo test subscription::sim");
    })
}

fn check(feed: Feed) {
    if let Ok(seed) = std::env::var("LIVECHAIN_SIM_SEED") {
        let outcome = play(seed.parse().expect("a number"), feed, None);
        println!("{outcome:?}");
        return;
    }
    let seeds = std::env::var("LIVECHAIN_SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number"));
    let mut all = Outcome::default();
    (0..seeds).for_each(|seed| all.add(&play(seed, feed, None)));
    println!("{feed:?}, {seeds} seeds: {all:?}");
    // Or nothing was tried, or closing is how all is solved.
    assert!(all.epochs > 4 * seeds && all.reorganisations > 2 * seeds && all.fetches > 10 * seeds, "{all:?}");
    assert!(all.strays > 2 * seeds, "{all:?}");
    assert!(all.closed * 10 <= seeds, "{all:?}");
    assert!(all.slow_closed > seeds / 20 && all.slow_closed < seeds, "{all:?}");
}

#[test]
fn heads_are_told_once_in_order_or_the_stream_is_closed() {
    check(Feed::Heads);
}

#[test]
fn logs_are_told_once_in_order_or_the_stream_is_closed() {
    check(Feed::Logs);
}

#[test]
#[should_panic(expected = "replay: LIVECHAIN_SIM_SEED=")]
fn a_node_that_does_not_fill_what_was_missed_is_found_out() {
    for seed in 0..20 {
        play(seed, Feed::Logs, Some(Flaw::FillsNothing));
    }
}

#[test]
#[should_panic(expected = "replay: LIVECHAIN_SIM_SEED=")]
fn a_node_that_takes_a_block_to_have_no_logs_on_anyones_word_is_found_out() {
    for seed in 0..20 {
        play(seed, Feed::Logs, Some(Flaw::BelievesAnyone));
    }
}

#[test]
fn a_seed_names_its_run() {
    assert_eq!(play(7, Feed::Logs, None), play(7, Feed::Logs, None));
}
