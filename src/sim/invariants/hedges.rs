//! Hedges are few, late enough, of calls that may be repeated, and at providers that are known to be well.

use super::super::call::{Call, Flight};
use super::super::run::{Run, Watcher};
use super::super::settings::Settings;
use crate::routing::HedgeConfig;

#[derive(Debug)]
pub(super) struct Hedges {
    config: HedgeConfig,
    /// The first of the methods is raced: not out of the budget.
    race: bool,
    /// By shard, in hundredths of a hedge: what was hedged less what calls brought in, and the least that was.
    spent: Vec<(i64, i64)>,
    pub(super) made: usize,
    pub(super) won: usize,
}

impl Hedges {
    pub(super) fn new(shards: usize, promised: &Settings) -> Self {
        let config = promised.hedge.unwrap_or(HedgeConfig { budget_percent: 0, saved_max: 0, ..HedgeConfig::DEFAULT });
        Self { config, race: promised.race, spent: vec![(0, 0); shards], made: 0, won: 0 }
    }
}

impl Watcher for Hedges {
    fn on_call(&mut self, _run: &Run, call: &Call) {
        if call.probe.is_some() {
            return;
        }
        let (spent, least) = &mut self.spent[call.shard];
        *spent -= i64::from(self.config.budget_percent);
        *least = (*least).min(*spent);
    }

    fn on_attempt(&mut self, run: &Run, call: &Call, flight: &Flight, _trials: &[usize]) {
        if !flight.attempt.hedge {
            return;
        }
        self.made += 1;
        run.holds(call.info.repeatable, "a hedge of a call that may not be repeated");
        run.holds(!flight.attempt.forced, "a hedge through a shut gate");
        if self.race && call.method == 0 {
            return;
        }
        let waited = call.flights.iter().all(|other| run.now.since(other.sent) >= self.config.floor);
        run.holds(waited, "a hedge before its time");
        let (spent, least) = &mut self.spent[call.shard];
        *spent += 100;
        // Over all calls, and over those since any moment, before which some hedges may have been saved.
        let saved_max = i64::from(self.config.saved_max) * 100;
        run.holds(*spent <= 0 && *spent - *least <= saved_max, "hedges beyond their budget");
    }

    fn on_lost(&mut self, _run: &Run, _call: &Call, flight: &Flight) {
        self.won += usize::from(!flight.attempt.hedge);
    }
}
