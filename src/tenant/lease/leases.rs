//! All that a node holds of all keys: whom to ask for next, and whether the store is there.
//!
//! Told the time and the store's answers; asks come out, a round of them at a time. When a store does not answer
//! it is taken to be gone at once, plans that go on are opened, and a few asks try it again, later and later; the first
//! answer brings everybody back, spread over a little time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::ask::{Answer, Ask};
use super::holding::Holding;
use super::purse::Lease;
use super::terms::LeaseTerms;
use crate::limits::{
    ACTIVE_MAX, LEASE_BACKOFF_FIRST, LEASE_BACKOFF_MAX, LEASE_EVERY, LEASE_LATE, LEASES_PER_ROUND_MAX, LEASES_TRIED,
};
use crate::routing::Random;
use crate::tenant::key::KeyId;
use crate::time::Instant;

/// A key that is in use on this node, as control knows it.
#[derive(Clone, Debug)]
pub struct Leased {
    pub key: KeyId,
    pub lease: Arc<Lease>,
    pub terms: LeaseTerms,
    /// Units of its month that the ledger knows of.
    pub base: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Leases {
    held: HashMap<KeyId, Held>,
    random: Random,
    round: u64,
    /// Since when the store is gone.
    gone: Option<Gone>,
    /// When the round that is under way began.
    waits_since: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    holding: Holding,
    /// The round in which it was last in use.
    seen: u64,
}

#[derive(Clone, Copy, Debug)]
struct Gone {
    failures: u32,
    again: Instant,
}

impl Leases {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { held: HashMap::new(), random: Random::new(seed), round: 0, gone: None, waits_since: None }
    }

    /// Whether the store answers, as far as is known.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.gone.is_none()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Looks at every key that is in use. What the store is to be asked now, all of it at once, in any order: a round. Each
    /// ask is followed by [`Leases::on_answer`] or, with all others of its round, by [`Leases::on_failure`]. Until then,
    /// or [`Leases::on_round`], nothing more is asked.
    pub fn tick(&mut self, now: Instant, in_use: impl IntoIterator<Item = Leased>) -> Vec<Ask> {
        self.round += 1;
        for Leased { key, lease, terms, base } in in_use.into_iter().filter(|key| key.terms.is_limited()) {
            if let Some(held) = self.held.get_mut(&key).filter(|held| !held.holding.is_of(&lease)) {
                held.holding = held.holding.followed_by(Arc::clone(&lease), terms, base, now);
            }
            if self.held.len() >= ACTIVE_MAX && !self.held.contains_key(&key) {
                continue;
            }
            let begin = || Held { holding: Holding::new(lease, terms, base, now), seen: 0 };
            let held = self.held.entry(key).or_insert_with(begin);
            held.seen = self.round;
            held.holding.refresh(&terms, base, now);
        }
        if self.waits_since.is_some_and(|since| now.since(since) > LEASE_LATE) {
            self.begin_gone(now);
        }
        let due = self.due(now);
        let due = self.few_of(due, now);
        let held = &mut self.held;
        let asks: Vec<_> = due.into_iter().filter_map(|key| Some(held.get_mut(&key)?.holding.ask(key, now))).collect();
        if !asks.is_empty() {
            self.waits_since = Some(now);
        }
        asks
    }

    /// Those to be asked for, the longest due first; nobody while a round is under way: they stay due.
    fn due(&mut self, now: Instant) -> Vec<KeyId> {
        let (round, gone, waits) = (self.round, self.gone.is_some(), self.waits_since.is_some());
        let mut due = Vec::new();
        self.held.retain(|key, Held { holding, seen }| {
            holding.leaves = *seen != round;
            if gone {
                holding.on_gone(now);
            }
            let asks = holding.look(now) || (holding.leaves && !holding.is_cold());
            if asks && !waits {
                due.push((holding.due, *key));
            }
            !(holding.leaves && holding.is_cold())
        });
        due.sort_unstable();
        due.into_iter().map(|(_, key)| key).collect()
    }

    /// As many as the store is asked at once.
    fn few_of(&mut self, mut due: Vec<KeyId>, now: Instant) -> Vec<KeyId> {
        match self.gone {
            None => due.truncate(LEASES_PER_ROUND_MAX),
            Some(gone) if now < gone.again => due.clear(),
            Some(_) => due.truncate(LEASES_TRIED),
        }
        due
    }

    /// What the store said to one ask.
    pub fn on_answer(&mut self, now: Instant, ask: &Ask, answer: &Answer) {
        let next = self.jittered(LEASE_EVERY);
        let Some(Held { holding, .. }) = self.held.get_mut(&ask.key) else { return };
        if !holding.awaits {
            return;
        }
        holding.on_answer(ask, answer, now, next);
        if holding.leaves && ask.month.is_none_or(|month| month.close) {
            self.held.remove(&ask.key);
        }
    }

    /// All asks of a round are answered.
    pub fn on_round(&mut self, now: Instant) {
        self.waits_since = None;
        if self.gone.take().is_some() {
            // Not all at once.
            let mut held = std::mem::take(&mut self.held);
            for Held { holding, .. } in held.values_mut() {
                holding.due = holding.due.max(now + self.part_of(LEASE_EVERY));
            }
            self.held = held;
        }
    }

    /// These got no answer: the store is gone.
    pub fn on_failure(&mut self, now: Instant, asks: &[Ask]) {
        self.waits_since = None;
        for ask in asks {
            if let Some(held) = self.held.get_mut(&ask.key) {
                held.holding.on_failure();
            }
        }
        let failures = self.gone.map_or(0, |gone| gone.failures).saturating_add(1);
        let doubled = LEASE_BACKOFF_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(LEASE_BACKOFF_MAX);
        let wait = self.jittered(doubled);
        self.gone = Some(Gone { failures, again: now + wait });
        self.open(now);
    }

    fn begin_gone(&mut self, now: Instant) {
        if self.gone.is_none() {
            self.gone = Some(Gone { failures: 0, again: now });
            self.open(now);
        }
    }

    fn open(&mut self, now: Instant) {
        self.held.values_mut().for_each(|held| held.holding.on_gone(now));
    }

    /// The node ends: everything is handed back.
    pub fn finish(&mut self, now: Instant) -> Vec<Ask> {
        let warm = self.held.iter_mut().filter(|(_, held)| !held.holding.is_cold());
        let asks = warm.map(|(key, Held { holding, .. })| {
            holding.look(now);
            holding.leaves = true;
            holding.ask(*key, now)
        });
        asks.collect()
    }

    /// Half to all of it.
    fn jittered(&mut self, wait: Duration) -> Duration {
        wait / 2 + self.part_of(wait / 2)
    }

    fn part_of(&mut self, wait: Duration) -> Duration {
        let spread = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.random.next_u64() % spread)
    }
}
