//! A key as one shard knows it: its plan, its words, this shard's share of them, and places that cannot be lost.
//!
//! A shard makes an account when it sees a key for the first time, and keeps it while it is in use. When control publishes
//! that the key is another now, or none any more, the account is retired, and whoever holds it finds that out
//! ([`Account::newest`]). It lives in one shard, so that its counts of references cost no atomic operation; what all shards
//! share is the [`Quota`] inside. Places are guards: a call whose task is dropped in the middle hands its place in all the
//! same.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::plan::Verdict;
use super::quota::{Figures, Lasting, Quota, Share, Taken};
use super::roster::Known;
use super::rules::Visit;
use crate::jsonrpc::MethodInfo;
use crate::time::Instant;

/// See the module.
#[derive(Debug)]
pub struct Account {
    pub known: Known,
    quota: Arc<Quota>,
    own: RefCell<Share>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Current,
    /// The same key, as it is now.
    Replaced(Rc<Account>),
    Gone,
}

/// A call that was let through; it is under way until this is dropped.
#[derive(Debug)]
#[must_use = "the call is under way for as long as this is held"]
pub struct CallPlace {
    account: Rc<Account>,
    taken: Taken,
    /// What the call weighs.
    pub units: u32,
}

/// A socket or a subscription; it is counted until this is dropped.
#[derive(Debug)]
#[must_use = "it is counted for as long as this is held"]
pub struct LastingPlace {
    account: Rc<Account>,
    what: Lasting,
    counted: bool,
}

impl Account {
    #[must_use]
    pub fn new(known: Known, quota: Arc<Quota>) -> Rc<Self> {
        Rc::new(Self { known, quota, own: RefCell::default(), state: RefCell::default() })
    }

    /// The same key as it is now, `known`; what it has taken of its quota goes on to count.
    #[must_use]
    pub fn replaced(&self, known: Known) -> Rc<Self> {
        let newer = Self::new(known, Arc::clone(&self.quota));
        *self.state.borrow_mut() = State::Replaced(Rc::clone(&newer));
        newer
    }

    /// What all shards share about it.
    #[must_use]
    pub const fn words(&self) -> &Arc<Quota> {
        &self.quota
    }

    /// The key is none any more.
    pub fn close(&self) {
        *self.state.borrow_mut() = State::Gone;
    }

    /// This key's account as it is now; none: the key is none any more.
    #[must_use]
    pub fn newest(self: &Rc<Self>) -> Option<Rc<Self>> {
        let mut newest = Rc::clone(self);
        // Ends: each is younger than the one before.
        loop {
            let next = match &*newest.state.borrow() {
                State::Current => break,
                State::Gone => return None,
                State::Replaced(next) => Rc::clone(next),
            };
            newest = next;
        }
        Some(newest)
    }

    /// Whether a request of this key may come in now.
    pub fn visit(&self, visit: &Visit<'_>, now: Instant) -> Result<(), Verdict> {
        if now >= self.known.entry.expires {
            return Err(super::plan::Unauthorized::Expired.into());
        }
        Ok(self.known.plan.visit(&self.known.rules, visit)?)
    }

    /// Lets a call through, or says why not. `name` is the method's as the client wrote it.
    #[inline]
    pub fn call(self: &Rc<Self>, now: Instant, method: &MethodInfo, name: &str) -> Result<CallPlace, Verdict> {
        self.known.plan.method(&self.known.rules, name)?;
        let units = self.known.plan.units.of(method, name);
        let taken = self.quota.take(now, units, &self.known.plan.terms, &mut self.own.borrow_mut())?;
        Ok(CallPlace { account: Rc::clone(self), taken, units })
    }

    /// Counts a socket or a subscription, or says why there may be no more.
    pub fn open(self: &Rc<Self>, now: Instant, what: Lasting) -> Result<LastingPlace, Verdict> {
        let counted = self.quota.open(what, now, &self.known.plan.terms, &self.own.borrow())?;
        Ok(LastingPlace { account: Rc::clone(self), what, counted })
    }

    /// Adds what was used and is not asked for beforehand, as notifications are, to the month.
    pub fn bill(&self, now: Instant, units: u64) {
        self.quota.bill(now, units, &self.known.plan.terms);
    }

    /// What `RateLimit-*` say of it.
    #[must_use]
    pub fn figures(&self, now: Instant) -> Option<Figures> {
        self.quota.figures(now, &self.known.plan.terms, &self.own.borrow())
    }
}

impl CallPlace {
    /// The call is not paid for: it is taken off the month.
    pub fn unbill(&self) {
        self.account.quota.unbill(&self.taken);
    }

    #[must_use]
    pub fn account(&self) -> &Rc<Account> {
        &self.account
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.quota.hand_in(self.own.get_mut());
    }
}

impl Drop for CallPlace {
    #[inline]
    fn drop(&mut self) {
        self.account.quota.end(self.taken);
    }
}

impl Drop for LastingPlace {
    fn drop(&mut self) {
        if self.counted {
            self.account.quota.close(self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::KeyId;
    use super::super::map::{KeyEntry, PlanNumber, RulesNumber, TenantId};
    use super::super::plan::{Plan, PlanConfig, Unauthorized};
    use super::super::quota::{Limit, QuotaConfig};
    use super::super::rules::{Forbidden, Rules, RulesConfig};
    use super::*;
    use crate::bucket::Month;
    use crate::jsonrpc::info;

    fn account(quota: &Arc<Quota>) -> Rc<Account> {
        let config =
            QuotaConfig { in_flight: Some(2), sockets: Some(1), units_per_month: Some(1000), ..QuotaConfig::default() };
        let plan = Plan::new(&PlanConfig { quota: config, ..PlanConfig::default() }, Month::default());
        let entry = KeyEntry {
            key: KeyId(1),
            tenant: TenantId(1),
            plan: PlanNumber(0),
            rules: RulesNumber(0),
            expires: Instant::from_micros(1000),
        };
        let rules = RulesConfig { methods_refused: vec!["eth_getLogs".into()], ..RulesConfig::default() };
        Account::new(Known::of(entry, Arc::new(plan), Arc::new(Rules::new(&rules))), Arc::clone(quota))
    }

    #[test]
    fn places_are_handed_in_when_they_are_dropped() {
        let quota = Arc::new(Quota::new());
        // Two shards.
        let (one, other) = (account(&quota), account(&quota));
        let call = |account: &Rc<Account>| account.call(Instant::START, info("eth_call"), "eth_call");
        let first = call(&one).unwrap();
        let second = call(&other).unwrap();
        let Err(Verdict::OverQuota(refused)) = call(&one) else { panic!("a third one") };
        assert_eq!((refused.limit, first.units), (Limit::InFlight, 26));
        drop(first);
        let third = call(&one).unwrap();
        let socket = other.open(Instant::START, Lasting::Socket).unwrap();
        assert!(one.open(Instant::START, Lasting::Socket).is_err());
        let _free = one.open(Instant::START, Lasting::Subscription).unwrap();
        assert_eq!(quota.lasting(), [2, 1, 0]);
        drop((second, third, socket));
        assert_eq!(quota.lasting(), [0; 3]);
    }

    #[test]
    fn what_is_not_paid_for_is_taken_off_the_month_and_keeps_its_place() {
        let quota = Arc::new(Quota::new());
        let account = account(&quota);
        let place = account.call(Instant::START, info("eth_call"), "eth_call").unwrap();
        assert_eq!(account.figures(Instant::START).map(|figures| figures.remaining), Some(974));
        place.unbill();
        assert_eq!((quota.month_used(Instant::START, Month::default()), quota.lasting()[0]), (0, 1));
    }

    #[test]
    fn an_account_that_goes_hands_in_what_it_had_counted_ahead() {
        let quota = Arc::new(Quota::new());
        let config = QuotaConfig { units_per_month: Some(300_000_000), ..QuotaConfig::default() };
        let plan = Plan::new(&PlanConfig { quota: config, ..PlanConfig::default() }, Month::default());
        let known = Known::of(account(&quota).known.entry, Arc::new(plan), Arc::default());
        let mut used = 0;
        for come_again in 0..50 {
            let account = Account::new(known.clone(), Arc::clone(&quota));
            for call in 0..8 {
                let now = Instant::from_micros(come_again * 30_000_000 + call);
                used += u64::from(account.call(now, info("eth_call"), "eth_call").unwrap().units);
            }
        }
        assert_eq!(quota.month_used(Instant::START, Month::default()), used);
    }

    #[test]
    fn rules_come_before_the_quota() {
        let quota = Arc::new(Quota::new());
        let account = account(&quota);
        let refused = account.call(Instant::START, info("eth_getLogs"), "eth_getLogs").map(drop);
        assert_eq!(refused, Err(Verdict::Forbidden(Forbidden::Method)));
        assert_eq!(quota.month_used(Instant::START, Month::default()), 0);
        let visit = Visit { chain: "a", region: "a", origin: None, client: [10, 0, 0, 1].into() };
        assert_eq!(account.visit(&visit, Instant::from_micros(999)), Ok(()));
        let expired = account.visit(&visit, Instant::from_micros(1000));
        assert_eq!(expired, Err(Verdict::Unauthorized(Unauthorized::Expired)));
    }

    #[test]
    fn whoever_holds_an_old_account_finds_the_newest() {
        let quota = Arc::new(Quota::new());
        let first = account(&quota);
        assert!(Rc::ptr_eq(&first.newest().unwrap(), &first));
        let second = first.replaced(first.known.clone());
        let third = second.replaced(first.known.clone());
        assert!(Rc::ptr_eq(&first.newest().unwrap(), &third));
        let place = third.call(Instant::START, info("eth_call"), "eth_call").unwrap();
        assert_eq!(first.figures(Instant::START).map(|figures| figures.remaining), Some(974), "one count");
        first.bill(Instant::START, 4);
        assert_eq!(third.figures(Instant::START).map(|figures| figures.remaining), Some(970));
        drop(place);
        third.close();
        assert!(first.newest().is_none());
    }
}
