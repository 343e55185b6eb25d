//! Every call is brought to one end, once, within its attempts and its deadline.

use super::super::call::{Call, Flight};
use super::super::run::{Run, Watcher};
use super::super::settings::Settings;
use super::super::world::METHODS;

/// Attempts of one call under way at once.
const RUNNING_MAX: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Calls {
    attempts_max: u8,
    came: usize,
    done: usize,
    /// Of clients: those that have ended, and those of them that were answered.
    pub(super) clients: usize,
    pub(super) answered: usize,
}

impl Watcher for Calls {
    fn on_call(&mut self, _run: &Run, _call: &Call) {
        self.came += 1;
    }

    fn on_attempt(&mut self, run: &Run, call: &Call, flight: &Flight, _trials: &[usize]) {
        let provider = flight.attempt.provider;
        run.holds(call.attempts.made() <= self.attempts_max, "an attempt too many");
        run.holds(call.flights.len() < RUNNING_MAX, "an attempt too many at once");
        run.holds(call.asked.iter().filter(|&&asked| asked == provider).count() == 1, "a provider asked twice");
        run.holds(run.now < call.came + call.deadline, "an attempt after the deadline");
        run.holds(flight.ends <= call.came + call.deadline, "an attempt that outlasts its call");
        let first = call.attempts.made() == 1;
        run.holds(first || METHODS[call.method].info().repeatable || call.unsent, "a call repeated that may not be");
    }

    fn on_done(&mut self, run: &Run, call: &Call) {
        self.done += 1;
        self.clients += usize::from(call.probe.is_none());
        self.answered += usize::from(call.probe.is_none() && call.answered.is_some());
        run.holds(call.done == 1, "a call that ended twice");
        run.holds(call.flights.is_empty(), "a call that ended before its attempts");
    }
}

impl Calls {
    pub(super) fn new(promised: &Settings) -> Self {
        Self { attempts_max: promised.attempts_max, ..Self::default() }
    }

    /// The run is over.
    pub(super) fn settle(&self, run: &Run) {
        run.holds(self.done == self.came && run.open_calls() == 0, "a call that never ended");
    }
}
