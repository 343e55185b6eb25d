//! What each client address has here: connections, how fast it opened them, handshakes under way.
//!
//! Shared by all shards, because the kernel spreads a client's connections over them and an operator means the node. It
//! is touched when a connection comes and when it goes, never by a request; a lock of one in [`limits::ADDRESS_STRIPES`]
//! parts costs tens of nanoseconds then, where taking a connection in costs microseconds. So every limit is exact.
//!
//! Everybody is counted, limits or none, so that a limit that a reload sets finds those who are there. For a connection that
//! comes and goes all of it takes 0.2 µs, and 0.4 µs with another core at it.
//!
//! An address is remembered while it has a connection or its rate is not paid for, a second at most. The table is bounded
//! all the same: whoever finds no room is let in uncounted, since shards bound all connections together, and to refuse
//! newcomers because others fill the table would do those others' work.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::PerAddress;
use crate::limits;
use crate::tenant::AddressBlock;
use crate::time::Instant;

/// A second's worth of connections may come at once.
const BURST: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Addresses {
    stripes: Box<[Mutex<Stripe>]>,
    /// Keyed by itself, so that nobody can aim at one stripe.
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Stripe {
    entries: HashMap<AddressBlock, Entry>,
    /// The latest moment that anybody came with.
    now: Instant,
    /// Some may be there for their rate alone, and be forgotten.
    fading: bool,
}

#[derive(Debug, Default)]
struct Entry {
    open: u32,
    shaking: u32,
    /// When all connections so far will have been paid for, at the rate that is allowed.
    paid_until: Instant,
}

/// Which limit somebody is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    Connections,
    Rate,
    Handshakes,
}

impl Crowded {
    pub const ALL: [Self; 3] = [Self::Connections, Self::Rate, Self::Handshakes];

    /// The word used in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Rate => "rate",
            Self::Handshakes => "handshakes",
        }
    }
}

/// A connection of an address, until it is dropped.
#[derive(Debug)]
pub struct Admission {
    table: Arc<Addresses>,
    block: AddressBlock,
    /// It is one of its address's handshakes, too.
    shakes: bool,
}

impl Default for Addresses {
    fn default() -> Self {
        let stripes = (0..limits::ADDRESS_STRIPES).map(|_| Mutex::default()).collect();
        Self { stripes, hasher: RandomState::new() }
    }
}

impl Addresses {
    /// Counts a connection of `block`, if it may have one more. None: there is no room to count it.
    pub fn admit(
        self: &Arc<Self>,
        block: AddressBlock,
        now: Instant,
        limits: &PerAddress,
    ) -> Result<Option<Admission>, Crowded> {
        let mut stripe = self.stripe(block);
        stripe.now = stripe.now.max(now);
        if !stripe.has_room_for(block) {
            return Ok(None);
        }
        stripe.entries.entry(block).or_default().open(now, limits)?;
        Ok(Some(Admission { table: Arc::clone(self), block, shakes: false }))
    }

    fn stripe(&self, block: AddressBlock) -> MutexGuard<'_, Stripe> {
        let hash = usize::try_from(self.hasher.hash_one(block) % self.stripes.len() as u64).unwrap_or(0);
        // A panic cannot leave a count half made.
        self.stripes[hash].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stripe {
    fn has_room_for(&mut self, block: AddressBlock) -> bool {
        const MOST: usize = limits::ADDRESSES_MAX / limits::ADDRESS_STRIPES;
        if self.entries.len() < MOST || self.entries.contains_key(&block) {
            return true;
        }
        // Not at every newcomer where all are there with connections.
        if std::mem::take(&mut self.fading) {
            let (now, fading) = (self.now, &mut self.fading);
            self.entries.retain(|_, entry| {
                let in_use = entry.is_in_use(now);
                *fading |= in_use && entry.open == 0;
                in_use
            });
        }
        self.entries.len() < MOST
    }

    fn change(&mut self, block: AddressBlock, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(&block) {
            change(entry);
            if entry.is_in_use(self.now) {
                self.fading |= entry.open == 0;
            } else {
                self.entries.remove(&block);
            }
        }
    }
}

impl Entry {
    fn open(&mut self, now: Instant, limits: &PerAddress) -> Result<(), Crowded> {
        if limits.connections.is_some_and(|most| self.open >= most) {
            return Err(Crowded::Connections);
        }
        if let Some(per_second) = limits.connects_per_second {
            let next = self.paid_until.max(now) + Duration::from_secs(1) / per_second.max(1);
            if next.since(now) > BURST {
                return Err(Crowded::Rate);
            }
            self.paid_until = next;
        }
        self.open += 1;
        Ok(())
    }

    fn is_in_use(&self, now: Instant) -> bool {
        self.open > 0 || self.paid_until > now
    }
}

impl Admission {
    /// Its handshake begins, if its address may have one more under way.
    pub fn begin_handshake(&mut self, limits: &PerAddress) -> Result<(), Crowded> {
        let mut stripe = self.table.stripe(self.block);
        let Some(entry) = stripe.entries.get_mut(&self.block) else { return Ok(()) };
        if limits.handshakes.is_some_and(|most| entry.shaking >= most) {
            return Err(Crowded::Handshakes);
        }
        entry.shaking += 1;
        drop(stripe);
        self.shakes = true;
        Ok(())
    }

    /// It has ended, one way or the other.
    pub fn end_handshake(&mut self) {
        if std::mem::take(&mut self.shakes) {
            self.table.stripe(self.block).change(self.block, |entry| entry.shaking -= 1);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.end_handshake();
        self.table.stripe(self.block).change(self.block, |entry| entry.open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> AddressBlock {
        AddressBlock::of(text.parse().unwrap())
    }

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn addresses_known(table: &Addresses) -> usize {
        table.stripes.iter().map(|stripe| stripe.lock().unwrap().entries.len()).sum()
    }

    #[test]
    fn an_address_has_as_many_connections_as_it_may() {
        let table = Arc::new(Addresses::default());
        let limits = PerAddress { connections: Some(2), ..PerAddress::default() };
        let admit = |text| table.admit(block(text), at(0), &limits);
        let first = admit("2001:db8::1").unwrap().unwrap();
        let _second = admit("2001:db8::2").unwrap().unwrap();
        assert_eq!(admit("2001:db8::3").unwrap_err(), Crowded::Connections);
        let _other = admit("2001:db8:0:1::1").unwrap().unwrap();
        drop(first);
        assert!(admit("2001:db8::3").unwrap().is_some());
    }

    #[test]
    fn a_seconds_worth_may_come_at_once() {
        let table = Arc::new(Addresses::default());
        let limits = PerAddress { connects_per_second: Some(10), ..PerAddress::default() };
        let admit = |ms| table.admit(block("10.0.0.1"), at(ms), &limits).is_ok();
        let admitted = |count: usize| vec![true; count];
        let mut first: Vec<bool> = (0..10).map(|_| admit(5_000)).collect();
        assert_eq!(first, admitted(10));
        assert!(!admit(5_000));
        assert!(!admit(5_099));
        assert!(admit(5_100), "one more in a tenth of a second");
        assert!(!admit(5_100), "and what was refused has cost nothing");
        first = (0..10).map(|_| admit(60_000)).collect();
        assert_eq!(first, admitted(10));
        assert!(!admit(60_000), "silence adds up to no more than a second's worth");
    }

    #[test]
    fn handshakes_are_counted_while_they_last() {
        let table = Arc::new(Addresses::default());
        let limits = PerAddress { handshakes: Some(1), ..PerAddress::default() };
        let admit = || table.admit(block("10.0.0.1"), at(0), &limits).unwrap().unwrap();
        let (mut one, mut two) = (admit(), admit());
        one.begin_handshake(&limits).unwrap();
        assert_eq!(two.begin_handshake(&limits), Err(Crowded::Handshakes));
        one.end_handshake();
        one.end_handshake();
        two.begin_handshake(&limits).unwrap();
        drop(two);
        one.begin_handshake(&limits).unwrap();
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let table = Arc::new(Addresses::default());
        let limits = PerAddress { connections: Some(9), connects_per_second: Some(1), handshakes: Some(9) };
        drop(table.admit(block("10.0.0.1"), at(1_000), &limits).unwrap());
        assert_eq!(addresses_known(&table), 1, "its rate is not paid for");
        let connections = PerAddress { connections: Some(9), ..PerAddress::default() };
        drop(table.admit(block("10.0.0.1"), at(2_000), &connections).unwrap());
        assert_eq!(addresses_known(&table), 0);
        drop(table.admit(block("10.0.0.1"), at(0), &PerAddress::default()).unwrap().unwrap());
        assert_eq!(addresses_known(&table), 0);
    }

    #[test]
    fn who_came_before_there_was_a_limit_counts() {
        let table = Arc::new(Addresses::default());
        let come = |limits: &PerAddress| table.admit(block("10.0.0.1"), at(0), limits);
        let mut before = [0; 2].map(|_| come(&PerAddress::default()).unwrap().unwrap());
        before[0].begin_handshake(&PerAddress::default()).unwrap();
        let limits = PerAddress { connections: Some(3), handshakes: Some(1), ..PerAddress::default() };
        let mut third = come(&limits).unwrap().unwrap();
        assert_eq!(third.begin_handshake(&limits), Err(Crowded::Handshakes));
        assert_eq!(come(&limits).unwrap_err(), Crowded::Connections);
        drop(before);
        third.begin_handshake(&limits).unwrap();
        assert!(come(&limits).unwrap().is_some());
    }

    #[test]
    fn a_full_table_lets_in_and_counts_nobody_new() {
        let table = Arc::new(Addresses::default());
        let limits = PerAddress { connections: Some(1), ..PerAddress::default() };
        let blocks = (0..2 * u32::try_from(limits::ADDRESSES_MAX).unwrap()).map(AddressBlock::V4);
        let held: Vec<Admission> = blocks.filter_map(|block| table.admit(block, at(0), &limits).unwrap()).collect();
        assert_eq!(held.len(), addresses_known(&table));
        assert!(held.len() <= limits::ADDRESSES_MAX);
        assert!(table.admit(held[0].block, at(0), &limits).is_err(), "those who are known stay bounded");
        drop(held);
        assert_eq!(addresses_known(&table), 0);
    }

    #[test]
    fn a_table_full_of_those_who_have_gone_takes_in_newcomers() {
        let table = Arc::new(Addresses::default());
        let limits = PerAddress { connects_per_second: Some(1), ..PerAddress::default() };
        let most = u32::try_from(limits::ADDRESSES_MAX).unwrap();
        let come = |of: u32, ms| table.admit(AddressBlock::V4(of), at(ms), &limits).unwrap();
        (0..2 * most).for_each(|of| drop(come(of, 0)));
        assert!(addresses_known(&table) > limits::ADDRESSES_MAX / 2, "their rate is not paid for");
        let held: Vec<Admission> = (2 * most..4 * most).filter_map(|of| come(of, 2_000)).collect();
        assert_eq!(held.len(), addresses_known(&table), "they are forgotten");
        assert!(held.len() > limits::ADDRESSES_MAX / 2);
    }
}
