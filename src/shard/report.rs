//! What an attempt showed about its provider, told once to everyone who needs to know: the standing that all shards share,
//! this shard's ranking, and control.
//!
//! Of a streamed answer it is known only at its end. A provider that cuts every large answer must not pass for a good one
//! because each began well, so the report waits with the stream ([`Pending`]). When it is the client that leaves, nothing
//! is said.

use std::rc::Rc;
use std::time::Duration;

use super::Shard;
use super::upstream::Upstream;
use super::view::Chain;
use crate::jsonrpc::MethodClass;
use crate::link::Outcome;
use crate::routing::{self, Health, InsteadOf, StandingConfig, Trial};
use crate::time::Instant;

/// An attempt that has ended.
pub(crate) struct Report<'a> {
    pub(crate) chain: &'a Chain,
    pub(crate) upstream: &'a Upstream,
    /// The provider's position in the chain.
    pub(crate) position: usize,
    pub(crate) class: MethodClass,
    pub(crate) trial: Option<&'a Trial>,
    /// It was made for the evidence alone.
    pub(crate) explored: Option<InsteadOf>,
    pub(crate) sent: Instant,
    /// Until the answer, or its first part, was there.
    pub(crate) took: Duration,
    pub(crate) standing: &'a StandingConfig,
}

impl Report<'_> {
    /// `timed`: the time that it took says how fast the provider is.
    pub(crate) fn tell(&self, shard: &Shard, health: Health, outcome: Outcome, timed: bool) {
        let (slot, now) = (&self.upstream.slot, shard.clock.now());
        let news =
            routing::Outcome { health, class: self.class, sent: self.sent, trial: self.trial, draw: shard.draw() };
        let changes = slot.standing.on_outcome(now, &news, self.standing);
        shard.tell(slot, now, &changes, health);
        shard.recorder.attempt(slot.number, self.class, outcome, self.took);
        if timed {
            let mut ranker = self.chain.ranker.borrow_mut();
            ranker.on_answer(self.position, self.class, now, self.took);
            if let Some(instead) = self.explored {
                self.compare(shard, instead);
            }
        }
    }
}

impl Report<'_> {
    /// Holds what it took against what ranking prefers, where that is known.
    #[cold]
    fn compare(&self, shard: &Shard, instead: InsteadOf) {
        if instead.expected_us > 0 {
            let preferred = Duration::from_micros(instead.expected_us.into());
            shard.recorder.compared(self.upstream.slot.number, self.class, preferred, self.took);
        }
    }
}

/// The same while its answer still streams.
pub(crate) struct Pending {
    pub(crate) chain: Rc<Chain>,
    pub(crate) upstream: Rc<Upstream>,
    pub(crate) position: usize,
    pub(crate) class: MethodClass,
    pub(crate) trial: Option<Trial>,
    pub(crate) explored: Option<InsteadOf>,
    pub(crate) sent: Instant,
    pub(crate) took: Duration,
    pub(crate) standing: StandingConfig,
}

impl Pending {
    /// The stream has ended as it should, or has not.
    pub(crate) fn settle(self, shard: &Shard, whole: bool) {
        let report = Report {
            chain: &self.chain,
            upstream: &self.upstream,
            position: self.position,
            class: self.class,
            trial: self.trial.as_ref(),
            explored: self.explored,
            sent: self.sent,
            took: self.took,
            standing: &self.standing,
        };
        let (health, outcome) =
            if whole { (Health::Good, Outcome::Success) } else { (Health::Failure, Outcome::Failure) };
        report.tell(shard, health, outcome, whole);
    }
}
