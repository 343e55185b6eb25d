//! The stream of a subscription that cannot be filled: pending transactions, a node's syncing, and what else providers
//! have of their own.
//!
//! What the provider pushes is passed on as it is. When the provider is lost, another one is subscribed to, and what was
//! pushed between is missed: nobody could say what it was. Only where none is found in time are its clients closed.

use std::collections::VecDeque;
use std::time::Duration;

use super::core::Action;
use super::source::{Epoch, Order, Patience, Source};
use crate::time::Instant;

/// Silence that makes it look elsewhere: a quiet chain has no pending transactions for as long as it likes.
const STALE_AFTER: Duration = Duration::from_hours(24 * 365);

#[derive(Debug)]
pub struct Relay {
    source: Source,
    outage_max: Duration,
    /// Since when nobody is heard.
    alone_since: Option<Instant>,
    actions: VecDeque<Action>,
    is_closed: bool,
}

impl Relay {
    #[must_use]
    pub fn new(outage_max: Duration, now: Instant) -> Self {
        let source = Source::new(Patience { stale_after: STALE_AFTER });
        let mut relay = Self { source, outage_max, alone_since: Some(now), actions: VecDeque::new(), is_closed: false };
        relay.on_tick(now);
        relay
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::on_tick`] is due at the latest.
    #[must_use]
    pub fn next_wake(&self) -> Instant {
        self.source.next_look().min(self.alone_since.map_or(Instant::NEVER, |since| since + self.outage_max))
    }

    /// Whether what this epoch pushes is to be passed on.
    pub fn hears(&mut self, epoch: Epoch) -> bool {
        let hears = self.source.heard(epoch).is_some();
        if hears {
            self.source.on_progress();
        }
        hears
    }

    pub fn on_subscribed(&mut self, now: Instant, epoch: Epoch) {
        if let Ok(before) = self.source.on_subscribed(now, epoch) {
            self.alone_since = None;
            if let Some(over) = before {
                self.actions.push_back(Action::Unsubscribe { epoch: over.epoch });
            }
            if let Some(current) = self.source.heard(epoch) {
                current.caught_up = true;
            }
        }
        self.on_tick(now);
    }

    pub fn on_lost(&mut self, now: Instant, epoch: Epoch) {
        if self.source.on_lost(now, epoch).is_some() {
            self.alone_since = Some(now);
        }
        self.on_tick(now);
    }

    pub fn on_tick(&mut self, now: Instant) {
        if self.is_closed {
            return;
        }
        if self.alone_since.is_some_and(|since| now.since(since) >= self.outage_max) {
            self.is_closed = true;
            self.actions.push_back(Action::Close { reason: "no provider could be subscribed to in time" });
            return;
        }
        while let Some(order) = self.source.look(now) {
            self.actions.push_back(match order {
                Order::Subscribe { epoch, instead_of } => Action::Subscribe { epoch, instead_of },
                Order::Unsubscribe { epoch } => Action::Unsubscribe { epoch },
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTAGE: Duration = Duration::from_secs(30);

    fn actions(relay: &mut Relay) -> Vec<Action> {
        std::iter::from_fn(|| relay.poll()).collect()
    }

    #[test]
    fn one_that_is_lost_is_replaced() {
        let start = Instant::START;
        let mut relay = Relay::new(OUTAGE, start);
        assert_eq!(actions(&mut relay), [Action::Subscribe { epoch: Epoch(1), instead_of: None }]);
        assert!(!relay.hears(Epoch(1)));
        relay.on_subscribed(start, Epoch(1));
        assert!(relay.hears(Epoch(1)) && actions(&mut relay).is_empty());
        relay.on_tick(start + Duration::from_hours(1));
        assert!(actions(&mut relay).is_empty(), "silence is nothing");
        let later = start + Duration::from_hours(2);
        relay.on_lost(later, Epoch(1));
        assert_eq!(actions(&mut relay), [Action::Subscribe { epoch: Epoch(2), instead_of: Some(Epoch(1)) }]);
        relay.on_subscribed(later, Epoch(2));
        assert!(relay.hears(Epoch(2)) && !relay.hears(Epoch(1)));
    }

    #[test]
    fn one_that_agrees_and_goes_at_once_is_asked_less_and_less_often() {
        let mut relay = Relay::new(OUTAGE, Instant::START);
        let (mut now, mut asked) = (Instant::START, 0);
        while now < Instant::START + Duration::from_secs(20) {
            while let Some(action) = relay.poll() {
                let Action::Subscribe { epoch, .. } = action else { panic!("{action:?}") };
                asked += 1;
                assert!(asked <= 30, "{now:?}");
                relay.on_subscribed(now, epoch);
                relay.on_lost(now, epoch);
            }
            now = relay.next_wake().max(now);
            relay.on_tick(now);
        }
        assert!(asked >= 10, "{asked}");
    }

    #[test]
    fn an_outage_that_is_too_long_closes() {
        let mut relay = Relay::new(OUTAGE, Instant::START);
        let mut now = Instant::START;
        let mut asked = 0;
        loop {
            for action in actions(&mut relay) {
                match action {
                    Action::Subscribe { epoch, .. } => {
                        asked += 1;
                        relay.on_lost(now, epoch);
                    }
                    Action::Close { .. } => {
                        assert!(now.since(Instant::START) == OUTAGE && (10..=60).contains(&asked), "{now:?} {asked}");
                        return;
                    }
                    other => panic!("{other:?}"),
                }
            }
            now = relay.next_wake().max(now);
            relay.on_tick(now);
        }
    }
}
