//! Nobody is starved of exploration: while a row has traffic, each open provider is asked now and then.

use std::time::Duration;

use super::super::call::{Call, Flight};
use super::super::run::{Run, Watcher};
use super::super::settings::Settings;
use super::super::world::{METHODS, World};
use crate::routing::{Footing, Gate, ROWS_MAX, RowIndex};
use crate::time::Instant;

/// Beyond `explore_stale`: waiting behind the grants of others, each of which may wait for its sample.
pub(super) const EXPLORED_WITHIN: Duration = Duration::from_secs(8);
/// Calls of a row since, without which there was nothing to explore with.
const CALLS: usize = 100;

#[derive(Debug)]
pub(super) struct Starving {
    stale: Duration,
    /// By provider and row: since when it could have been asked and was not, and the row's calls since.
    unseen: Vec<(Instant, usize)>,
    /// The longest that was seen.
    pub(super) longest: Duration,
}

impl Starving {
    pub(super) fn new(world: &World, promised: &Settings) -> Self {
        let unseen = vec![(Instant::START, 0); world.providers.len() * ROWS_MAX];
        Self { stale: promised.ranking.explore_stale, unseen, longest: Duration::ZERO }
    }
}

impl Watcher for Starving {
    fn on_attempt(&mut self, run: &Run, call: &Call, flight: &Flight, _trials: &[usize]) {
        self.unseen[flight.attempt.provider * ROWS_MAX + call.row.index()] = (run.now, 0);
    }

    fn on_done(&mut self, run: &Run, call: &Call) {
        for provider in 0..run.world.providers.len() {
            self.unseen[provider * ROWS_MAX + call.row.index()].1 += 1;
        }
    }

    fn on_publish(&mut self, run: &Run) {
        // What may not be repeated is never sent for evidence alone.
        let rows = METHODS[..run.world.methods].iter().map(super::super::world::Method::info);
        let rows: Vec<_> = rows.filter(|info| info.repeatable).map(|info| RowIndex::from(info.class)).collect();
        // A method dear enough that what has no room for it may still have some for others.
        let units = METHODS.iter().map(|method| method.units).max().unwrap_or(1);
        for provider in 0..run.world.providers.len() {
            // Who is out of step is not asked for evidence.
            let open = run.node.standings[provider].gate(run.now) == Gate::Open
                && run.node.watch.footing(provider) == Footing::InStep
                && !run.node.is_full(run.now, provider, units);
            for row in &rows {
                let unseen = &mut self.unseen[provider * ROWS_MAX + row.index()];
                if !open {
                    *unseen = (run.now, 0);
                }
                let (since, calls) = *unseen;
                if calls > CALLS {
                    self.longest = self.longest.max(run.now.since(since));
                    let starved = run.now.since(since) > self.stale + EXPLORED_WITHIN;
                    run.holds(!starved, "a provider is starved of exploration");
                }
            }
        }
    }
}
