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
    /// By method, as it was at the last look.
    row_of: [RowIndex; METHODS.len()],
    /// Times that a method got a row of its own or lost it.
    pub(super) changed: usize,
    /// The longest that was seen.
    pub(super) longest: Duration,
}

impl Starving {
    pub(super) fn new(world: &World, promised: &Settings) -> Self {
        let unseen = vec![(Instant::START, 0); world.providers.len() * ROWS_MAX];
        let row_of = METHODS.map(|method| method.info().class.into());
        Self { stale: promised.ranking.explore_stale, unseen, row_of, changed: 0, longest: Duration::ZERO }
    }

    /// A row that has changed hands is another one.
    fn follow(&mut self, run: &Run) {
        for (method, known) in self.row_of.iter_mut().enumerate() {
            let row = run.node.control.own.row_of(method);
            if std::mem::replace(known, row) != row {
                let of_row = self.unseen.iter_mut().skip(row.index()).step_by(ROWS_MAX);
                of_row.for_each(|unseen| *unseen = (run.now, 0));
                self.changed += 1;
            }
        }
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
        self.follow(run);
        // What may not be repeated is never sent for evidence alone.
        let methods = run.world.methods.iter().filter(|&&method| METHODS[method].info().repeatable);
        let rows: Vec<_> = methods.map(|&method| self.row_of[method]).collect();
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
