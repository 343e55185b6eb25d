//! A chain's providers as the ranker sees them: facts looked up as they are asked for, nothing gathered.
//!
//! One that lacks the method is not asked. One that is believed to lack the *blocks* that a call needs, or to refuse as many, is
//! asked when nobody else is left, as one is that lags: the belief comes of another call, and an answer corrects it.

use super::Shard;
use super::door::Ask;
use super::view::Chain;
use crate::link::ProviderSlot;
use crate::routing::{Facts, Footing, Gap, Gate, Providers, StandingConfig, Trial};
use crate::time::Instant;

pub(crate) struct Candidates<'a> {
    pub(crate) shard: &'a Shard,
    pub(crate) chain: &'a Chain,
    pub(crate) ask: &'a Ask<'a>,
    pub(crate) standing: &'a StandingConfig,
    /// The call's: it goes to those that come back, or does not, at every look.
    pub(crate) draw: u64,
}

impl Candidates<'_> {
    /// What a provider's footing is to this call. The node's own question is what finds it out.
    #[inline]
    fn footing(&self, slot: &ProviderSlot) -> Footing {
        if self.ask.probe.is_some() {
            return Footing::InStep;
        }
        match slot.footing.get().for_class(self.ask.info.class) {
            Footing::OutOfStep if self.is_of_settled_blocks(slot) => Footing::InStep,
            Footing::InStep if self.is_behind_session(slot) => Footing::OutOfStep,
            footing => footing,
        }
    }

    /// Whether one that lags has had all blocks that the call names for long.
    #[cold]
    fn is_of_settled_blocks(&self, slot: &ProviderSlot) -> bool {
        slot.settled.get().zip(self.ask.newest_block()).is_some_and(|(settled, newest)| newest <= settled)
    }
}

impl Candidates<'_> {
    /// Whether nothing stands against a provider but what this call asks for.
    pub(crate) fn can_be_home(&self, provider: usize, now: Instant) -> bool {
        let slot = &self.chain.upstreams[provider].slot;
        slot.standing.gate(now) == Gate::Open && self.footing(slot) == Footing::InStep
    }

    /// Whether it is not known to have what the call's session has seen, and the call may ask about that.
    #[inline]
    fn is_behind_session(&self, slot: &ProviderSlot) -> bool {
        self.ask.caller.is_some_and(|caller| {
            let newest = slot.newest.get();
            newest.is_some_and(|newest| newest < caller.floor() && self.may_need_beyond(newest))
        })
    }

    #[cold]
    fn may_need_beyond(&self, newest: u64) -> bool {
        let depends = Footing::OutOfStep.for_class(self.ask.info.class) == Footing::OutOfStep;
        depends && self.ask.newest_block().is_none_or(|named| named > newest)
    }
}

impl Providers for Candidates<'_> {
    fn count(&self) -> usize {
        self.chain.upstreams.len()
    }

    fn facts(&self, provider: usize, now: Instant) -> Facts {
        let upstream = &self.chain.upstreams[provider];
        let mut footing = self.footing(&upstream.slot);
        let gate = if upstream.is_resolved() && footing != Footing::Refused {
            upstream.slot.standing.gate_for(now, self.ask.info.class)
        } else {
            // Nowhere to send to, until its name leads somewhere, or no right to: the last to be asked.
            Gate::Parked { until: Instant::NEVER }
        };
        let gap = upstream.gap(self.ask, now);
        if footing == Footing::InStep && matches!(gap, Some(Gap::Missing { .. } | Gap::Range { .. })) {
            footing = Footing::OutOfStep;
        }
        Facts {
            gate,
            held: upstream.slot.standing.holds_back(now, self.draw, self.standing),
            footing,
            priority: upstream.priority.get(),
            weight: upstream.weight.get(),
            in_flight: upstream.in_flight.get(),
            supports: gap != Some(Gap::Method),
            room: upstream.has_room(now) && upstream.plan_has_room(self.ask.info, &self.ask.call.method, now),
        }
    }

    fn claim_trial(&self, provider: usize, now: Instant) -> Option<Trial> {
        let slot = &self.chain.upstreams[provider].slot;
        let (trial, transition) = slot.standing.claim_trial(now)?;
        if let Some(transition) = transition {
            self.shard.tell_breaker(slot, transition);
        }
        Some(trial)
    }
}
