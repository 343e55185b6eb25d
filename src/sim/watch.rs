//! What control asks providers by itself and makes of their answers, as `control/watch.rs` does for one chain: the real
//! probes and heads, and the footing of each provider as shards see it.

use super::settings::{Cripple, Settings};
use super::world::CHAIN;
use crate::link::ProbeEnded;
use crate::routing::{Footing, FootingCell, Gate, Heads, Probe, ProbeEnd, Probes, Question, Rest, Standing};
use crate::time::Instant;

pub(super) struct Watch {
    settings: Settings,
    probes: Probes,
    heads: Heads,
    /// By provider.
    footings: Vec<FootingCell>,
    /// Clients' calls that each had answered when it was last looked at.
    answered: Vec<u64>,
    /// Whether each has been asked for its chain and was there.
    asked: Vec<bool>,
}

impl Watch {
    pub(super) fn new(providers: usize, block_time: std::time::Duration, seed: u64, settings: &Settings) -> Self {
        let mut watch = Self {
            settings: *settings,
            probes: Probes::new(providers, settings.probes, seed),
            heads: Heads::new(providers, CHAIN, settings.heads.limits(block_time)),
            footings: (0..providers).map(|_| FootingCell::default()).collect(),
            answered: vec![0; providers],
            asked: vec![false; providers],
        };
        watch.settle(Instant::START);
        watch
    }

    pub(super) fn footing(&self, provider: usize) -> Footing {
        self.footings[provider].get()
    }

    /// The questions that are due. `answered`: clients' calls by provider.
    pub(super) fn ask(&mut self, now: Instant, answered: &[u64], standings: &[Standing]) -> Vec<Probe> {
        self.settle(now);
        if self.probes.next_at(now) > now {
            return Vec::new();
        }
        for (provider, (&answered, before)) in answered.iter().zip(&mut self.answered).enumerate() {
            self.probes.on_calls(provider, answered.saturating_sub(*before));
            *before = answered;
        }
        let mut orders = Vec::new();
        for _ in 0..self.footings.len() {
            let Some(probe) = self.probes.next_probe(now) else { break };
            let standing = &standings[probe.provider];
            match (standing.gate(now), standing.rest(now)) {
                (Gate::Open | Gate::Trial, _) => orders.push(probe),
                (_, Some(Rest::Cooled { until } | Rest::Parked { until })) => {
                    self.probes.on_end(now, probe, ProbeEnd::Limited(Some(until.since(now))));
                }
                (Gate::Shut { .. } | Gate::Parked { .. }, None) => {
                    self.on_end(now, probe, ProbeEnd::Failed, None, standings);
                }
            }
        }
        orders
    }

    /// A probe has ended.
    pub(super) fn on_word(&mut self, now: Instant, probe: Probe, end: ProbeEnded, standings: &[Standing]) {
        let (end, number) = match end {
            ProbeEnded::Answered(number) => (ProbeEnd::Answered, number),
            ProbeEnded::Limited(rest) => (ProbeEnd::Limited(Some(rest)), None),
            // Nobody refuses our key in these worlds.
            ProbeEnded::Failed | ProbeEnded::Refused => (ProbeEnd::Failed, None),
            ProbeEnded::NotAsked => {
                self.probes.on_end(now, probe, ProbeEnd::Failed);
                return;
            }
        };
        self.on_end(now, probe, end, number, standings);
    }

    fn on_end(&mut self, now: Instant, probe: Probe, end: ProbeEnd, number: Option<u64>, standings: &[Standing]) {
        self.probes.on_end(now, probe, end);
        self.asked[probe.provider] |= probe.question == Question::ChainId && end != ProbeEnd::Failed;
        match (end, number, probe.question) {
            (ProbeEnd::Failed, ..) => drop(self.heads.on_unreachable(probe.provider)),
            (_, Some(said), Question::ChainId) => drop(self.heads.on_chain_id(probe.provider, said)),
            (_, Some(height), Question::BlockNumber) => {
                let healthy = self.healthy(now, standings);
                self.heads.on_head(now, probe.provider, height, healthy);
            }
            (_, None, _) => {}
        }
        self.settle(now);
    }

    /// A bit for each provider whose gate is not shut.
    fn healthy(&self, now: Instant, standings: &[Standing]) -> u64 {
        if self.settings.is(Cripple::BelievesAnyone) {
            let height = |provider: &usize| self.heads.facts(*provider).and_then(|facts| facts.heard);
            return 1 << (0..standings.len()).max_by_key(height).unwrap_or_default();
        }
        let open = |standing: &Standing| matches!(standing.gate(now), Gate::Open | Gate::Trial);
        standings.iter().enumerate().filter(|(_, standing)| open(standing)).fold(0, |mask, (bit, _)| mask | 1 << bit)
    }

    /// Tells shards where everybody stands.
    fn settle(&mut self, now: Instant) {
        let (wrong, out) = (self.heads.wrong_chain(), self.heads.out_of_step(now));
        for (bit, footing) in self.footings.iter().enumerate() {
            let has = |mask: u64| mask & (1 << bit) != 0;
            footing.set(match (has(wrong), self.asked[bit], has(out)) {
                (true, ..) => Footing::WrongChain,
                (false, false, _) => Footing::Unasked,
                (false, true, true) => Footing::OutOfStep,
                (false, true, false) => Footing::InStep,
            });
        }
    }
}
