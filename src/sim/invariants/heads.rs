//! Who lags, lies about its head or is another chain is passed by, and puts nobody else out.
//!
//! What is true of a provider the world knows; how soon the node can know it is reckoned from when it could ask, and from
//! when a majority of those who have a voice told the truth. So each of the conditions below has a moment since which
//! it has held without a break, as far as a look every interval shows.

use std::time::Duration;

use super::super::call::{Call, Flight};
use super::super::run::{Run, Watcher};
use super::super::settings::Settings;
use super::super::world::{METHODS, Told, World};
use crate::routing::{Footing, Gate};
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Heads {
    /// Two questions for a head, each of which may fail once, and their answers.
    noticed_within: Duration,
    /// A question for the chain.
    told_within: Duration,
    /// Blocks behind that are noticed whoever was asked last.
    lag_blocks: u64,
    /// Most of those who have a voice can be asked, and tell the truth.
    majority: Since,
    of: Vec<Provider>,
    /// Calls that went to others while one was out of step or on another chain.
    pub(super) passed_by: usize,
}

/// Since when something is so.
type Since = Option<Instant>;

#[derive(Clone, Debug, Default)]
struct Provider {
    /// It can be asked, and tells the truth.
    fine: Since,
    /// It can be asked, and its head is far from the chain's.
    off: Since,
    /// It can be asked, and is another chain; and that was so for long enough since it became so.
    other: Since,
    other_noticed: bool,
}

fn keep(since: &mut Since, now: Instant, holds: bool) {
    *since = since.filter(|_| holds).or(holds.then_some(now));
}

fn is_older(since: Since, now: Instant, than: Duration) -> bool {
    since.is_some_and(|since| now.since(since) > than)
}

impl Heads {
    pub(super) fn new(world: &World, promised: &Settings) -> Self {
        let Settings { probes, probe_timeout, heads, .. } = promised;
        let asked_within = (probes.every_busy + *probe_timeout) * 2;
        let limits = heads.limits(world.block_time);
        let made_meanwhile = asked_within.as_micros() / world.block_time.as_micros();
        Self {
            noticed_within: asked_within * 2,
            told_within: probes.chain_id_every + asked_within,
            lag_blocks: limits.max_lag + made_meanwhile as u64 + 1,
            majority: None,
            of: vec![Provider::default(); world.providers.len()],
            passed_by: 0,
        }
    }

    fn look(&mut self, run: &Run, provider: usize) {
        let world = &run.world.providers[provider];
        let gate = run.node.standings[provider].gate(run.now);
        let asked =
            gate == Gate::Open && world.is_well(run.now, Duration::ZERO) && !run.node.is_full(run.now, provider, 1);
        let tale = world.tale(run.now).map(|tale| tale.told);
        let stuck = tale == Some(Told::Stuck) && run.world.lag(provider, run.now) > self.lag_blocks;
        let Provider { fine, off, other, other_noticed } = &mut self.of[provider];
        keep(fine, run.now, asked && tale.is_none());
        keep(off, run.now, asked && (stuck || matches!(tale, Some(Told::Behind(_) | Told::Ahead(_)))));
        keep(other, run.now, asked && tale == Some(Told::OtherChain));
        *other_noticed =
            tale == Some(Told::OtherChain) && (*other_noticed || is_older(*other, run.now, self.told_within));
    }
}

impl Watcher for Heads {
    fn on_publish(&mut self, run: &Run) {
        (0..self.of.len()).for_each(|provider| self.look(run, provider));
        let voices = run.node.standings.iter().filter(|it| matches!(it.gate(run.now), Gate::Open | Gate::Trial));
        let fine = |of: &&Provider| is_older(of.fine, run.now, self.noticed_within);
        let truthful = self.of.iter().filter(fine).count();
        let holds = truthful * 2 > voices.count();
        keep(&mut self.majority, run.now, holds);
        if is_older(self.majority, run.now, self.noticed_within) {
            for (provider, _) in self.of.iter().enumerate().filter(|(_, of)| fine(of)) {
                let footing = run.node.watch.footing(provider);
                run.holds(footing == Footing::InStep, "one of the majority is put out");
            }
        }
    }

    fn on_attempt(&mut self, run: &Run, call: &Call, flight: &Flight, _trials: &[usize]) {
        let asked = flight.attempt.provider;
        if call.probe.is_some() {
            return;
        }
        run.holds(!self.of[asked].other_noticed, "a provider of another chain is asked");
        let depends = Footing::OutOfStep.for_class(call.info.class) == Footing::OutOfStep;
        let known = depends && is_older(self.majority, run.now, self.noticed_within);
        let off = |of: &Provider| known && is_older(of.off, run.now, self.noticed_within);
        let units = METHODS[call.method].units;
        let better = |provider: usize| {
            is_older(self.of[provider].fine, run.now, self.noticed_within)
                && !call.asked.contains(&provider)
                && run.node.standings[provider].gate(run.now) == Gate::Open
                && run.node.has_room(run.now, call.shard, provider, units)
        };
        let passes = off(&self.of[asked]) && (0..self.of.len()).any(better);
        run.holds(!passes, "a provider that is out of step is asked before others");
        let others_are_off = self.of.iter().any(|of| off(of) || of.other_noticed);
        self.passed_by += usize::from(others_are_off);
    }
}
