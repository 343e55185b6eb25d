//! What a key may ask for: calls and units a second, units a month, calls in flight, sockets, subscriptions; by all
//! shards together.
//!
//! The words of an active key lie alone in a cache line, and every shard has a [`Share`] beside them: what it has taken
//! ahead, at most ten milliseconds of the rate, and nothing at low rates ([`crate::bucket`], which the providers' plans
//! stand on too). So a busy key's calls are mostly counted where they are served, and all the same never more than was
//! sold.
//!
//! **Order of taking**: in flight, calls, units, month. What a later one refuses, the earlier ones get back, so that a
//! client which asks on while it is refused is not the worse off for it.
//!
//! **The month** counts what is paid for. A call that turns out not to be ([`Quota::unbill`]) is taken off again; the
//! rates stay as they are, since the work was done.
//!
//! Left out: who holds a place and gives it back, whatever happens ([`super::Account`]); what the fleet has leased to
//! this node, which becomes other [`Terms`]; keeping the month's count, which the ledger does.

mod refusal;
mod terms;
#[cfg(test)]
pub(super) mod windows;

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use super::lease::{Lease, LeaseTerms};
use super::map::PlanNumber;
use crate::bucket::{Chunk, Meter, Month, MonthChunk, MonthCount, Places};
use crate::time::Instant;

pub use self::refusal::{Figures, Limit, Refused};
pub use self::terms::{QuotaConfig, Terms};

/// What all shards share about one active key.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Quota {
    calls: Meter,
    units: Meter,
    month: MonthCount,
    in_flight: Places,
    sockets: Places,
    subscriptions: Places,
    /// What of the plan is leased from a fleet's store; none where there is no fleet.
    lease: OnceLock<Arc<Lease>>,
    /// Whose terms those are.
    plan: AtomicU32,
}

/// What one shard has taken ahead of one key's quota.
#[derive(Clone, Debug, Default)]
pub struct Share {
    calls: Chunk,
    units: Chunk,
    month: MonthChunk,
}

/// What a call has taken; to be handed in with [`Quota::end`] when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a place in flight that is not handed in is lost"]
pub struct Taken {
    /// Whether it has a place in flight: a reload may limit that while the call runs.
    in_flight: bool,
    units: u32,
    /// The month that it was counted in, where that is limited: another plan of the key's may have begun a later one.
    month: Option<u16>,
}

/// Units used of a month, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthUsed {
    pub units: u64,
    pub month: u16,
}

/// What of a key is counted for as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    Socket,
    Subscription,
}

impl Quota {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            calls: Meter::new(),
            units: Meter::new(),
            month: MonthCount::new(),
            in_flight: Places::new(),
            sockets: Places::new(),
            subscriptions: Places::new(),
            lease: OnceLock::new(),
            plan: AtomicU32::new(0),
        }
    }

    /// Takes what a call of `units` needs, or nothing of it.
    #[inline]
    pub fn take(&self, now: Instant, units: u32, terms: &Terms, own: &mut Share) -> Result<Taken, Refused> {
        self.try_take(now, units, terms, own).map_err(|limit| self.refused(limit, now, units, terms, own))
    }

    fn try_take(&self, now: Instant, units: u32, terms: &Terms, own: &mut Share) -> Result<Taken, Limit> {
        if terms.in_flight.is_some_and(|most| !self.in_flight.enter(most)) {
            return Err(Limit::InFlight);
        }
        let mut taken = Taken { in_flight: terms.in_flight.is_some(), units, month: None };
        if terms.calls.as_ref().is_some_and(|rate| !self.calls.take(now, 1, rate, &mut own.calls)) {
            self.end(taken);
            return Err(Limit::Calls);
        }
        let beyond = u64::from(units) > terms.units_most;
        if beyond || terms.units.as_ref().is_some_and(|rate| !self.units.take(now, units, rate, &mut own.units)) {
            self.give_back_call(now, terms, own);
            self.end(taken);
            return Err(Limit::Units);
        }
        if let Some(most) = terms.units_per_month {
            let month = terms.month.number_at(now);
            taken.month = self.month.take(now, units, most, month, &mut own.month);
            if taken.month.is_none() {
                self.give_back_rates(now, units, terms, own);
                self.end(taken);
                return Err(Limit::Month);
            }
        }
        if let Some(lease) = self.lease.get() {
            self.take_leased(lease, now, taken, terms, own)?;
        }
        Ok(taken)
    }

    /// Takes from what the fleet has leased to this node what was `taken` here.
    #[inline(never)]
    fn take_leased(
        &self,
        lease: &Lease,
        now: Instant,
        taken: Taken,
        terms: &Terms,
        own: &mut Share,
    ) -> Result<(), Limit> {
        if !terms.limits_rates_or_month() {
            return Ok(());
        }
        lease.take(now, taken.units).inspect_err(|_| {
            self.give_back_month(&taken);
            self.give_back_rates(now, taken.units, terms, own);
            self.end(taken);
        })
    }

    /// The call has ended, however it did.
    #[inline]
    pub fn end(&self, taken: Taken) {
        if taken.in_flight {
            self.in_flight.leave();
        }
    }

    /// The call was refused for another reason in the moment in which it was taken: everything is there again.
    pub fn give_back(&self, now: Instant, taken: Taken, terms: &Terms, own: &mut Share) {
        self.give_back_rates(now, taken.units, terms, own);
        self.unbill(&taken);
        self.end(taken);
    }

    /// The call is not paid for, though it was made.
    pub fn unbill(&self, taken: &Taken) {
        self.give_back_month(taken);
        if let (Some(lease), Some(month)) = (self.lease.get(), taken.month) {
            lease.unbill(taken.units, month);
        }
    }

    fn give_back_month(&self, taken: &Taken) {
        if let Some(month) = taken.month {
            self.month.give_back(taken.units, month);
        }
    }

    /// Counts in the month what nobody was asked for beforehand; it may go beyond what was sold.
    pub fn bill(&self, now: Instant, units: u64, terms: &Terms) {
        if terms.units_per_month.is_some() {
            self.month.restore(units, terms.month.number_at(now));
        }
        if let Some(lease) = self.lease.get() {
            lease.bill(units);
        }
    }

    /// Counts one more socket or subscription, or refuses it. `Ok(true)`: it is counted until [`Quota::close`];
    /// `Ok(false)`: nothing is limited, and nothing counted.
    pub fn open(&self, what: Lasting, now: Instant, terms: &Terms, own: &Share) -> Result<bool, Refused> {
        let (places, most, limit) = match what {
            Lasting::Socket => (&self.sockets, terms.sockets, Limit::Sockets),
            Lasting::Subscription => (&self.subscriptions, terms.subscriptions, Limit::Subscriptions),
        };
        match most {
            None => Ok(false),
            Some(most) if places.enter(most) => Ok(true),
            Some(_) => Err(self.refused(limit, now, 0, terms, own)),
        }
    }

    /// One that was counted has gone.
    pub fn close(&self, what: Lasting) {
        match what {
            Lasting::Socket => self.sockets.leave(),
            Lasting::Subscription => self.subscriptions.leave(),
        }
    }

    /// Calls, sockets and subscriptions that are counted now, for pages.
    #[must_use]
    pub fn lasting(&self) -> [u32; 3] {
        [self.in_flight.taken(), self.sockets.taken(), self.subscriptions.taken()]
    }

    /// A shard has no use for its share any more.
    pub fn hand_in(&self, own: &mut Share) {
        self.month.hand_in(&mut own.month);
    }

    /// Units of the month counted so far, for the ledger and for pages.
    #[must_use]
    pub fn month_used(&self, now: Instant, month: Month) -> u64 {
        self.month.used(month.number_at(now))
    }

    /// Hands back what was used of a month. What has been counted meanwhile is added to it.
    pub fn restore_month(&self, used: MonthUsed) {
        self.month.restore(used.units, used.month);
    }

    /// What has been used of the last month that anything was used in.
    #[must_use]
    pub fn month(&self) -> Option<MonthUsed> {
        let (month, units) = self.month.parts();
        (units > 0).then_some(MonthUsed { units, month })
    }

    /// Whoever these words are of goes by this plan, in a fleet: what it limits is leased from now on.
    pub fn lend(&self, plan: PlanNumber, terms: &LeaseTerms) {
        self.plan.store(plan.0, Relaxed);
        if terms.is_limited() {
            self.lease.get_or_init(|| Arc::new(Lease::new(terms)));
        }
    }

    /// What is leased, and by which plan's terms.
    #[must_use]
    pub fn leased(&self) -> Option<(PlanNumber, &Arc<Lease>)> {
        Some((PlanNumber(self.plan.load(Relaxed)), self.lease.get()?))
    }

    /// Whether nothing would be lost by forgetting these words and beginning anew; the month aside, which the ledger
    /// has.
    #[must_use]
    pub fn is_at_rest(&self, now: Instant) -> bool {
        self.lasting() == [0; 3] && self.calls.whole_in(now).is_zero() && self.units.whole_in(now).is_zero()
    }

    #[cold]
    fn give_back_rates(&self, now: Instant, units: u32, terms: &Terms, own: &mut Share) {
        if terms.units.is_some() {
            self.units.give_back(now, units, &mut own.units);
        }
        self.give_back_call(now, terms, own);
    }

    #[cold]
    fn give_back_call(&self, now: Instant, terms: &Terms, own: &mut Share) {
        if terms.calls.is_some() {
            self.calls.give_back(now, 1, &mut own.calls);
        }
    }
}

#[cfg(test)]
mod tests;
