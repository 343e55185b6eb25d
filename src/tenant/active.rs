//! The words of those who are active, found by who they are: every shard that meets the same key gets the same ones.
//!
//! A million keys are known and some thousand in use, so words are made when a shard first meets their owner, and
//! forgotten when nobody holds them and nothing would be lost. **The one lock of tenancy** is here: a stripe of the
//! table is locked to look up or make an entry, when a shard makes an [`Account`](super::Account), which is once for
//! each key, shard and generation of keys. No call waits for it: what is done under it is one look-up, and forgetting
//! goes stripe by stripe.
//!
//! Addresses of strangers are owners, too, and they come in any number: keep them in a table of their own, so that they
//! can fill nobody else's. Which stripe an owner falls into nobody outside can foretell.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::key::KeyId;
use super::lease::Lease;
use super::map::PlanNumber;
use super::network::AddressBlock;
use super::quota::{MonthUsed, Quota};
use crate::limits::{ACTIVE_MAX, ACTIVE_STRIPES, KEYS_MAX, STRANGERS_MONTHS_MAX};
use crate::time::Instant;

const MONTH_DAYS_MAX: u16 = 31;

/// Whose quota it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    Key(KeyId),
    /// Nobody said who it is.
    Stranger(AddressBlock),
}

/// See the module.
#[derive(Debug)]
pub struct Active {
    stripes: Box<[Mutex<Stripe>]>,
    spread: RandomState,
}

#[derive(Debug, Default)]
struct Stripe {
    words: HashMap<Who, Arc<Quota>>,
    /// What those who are forgotten have used of a month: 40 bytes each.
    months: HashMap<Who, MonthUsed>,
    /// The same of those of whom it is not known which of these months is their plan's, until they come.
    undecided: HashMap<Who, Vec<MonthUsed>>,
}

impl Default for Active {
    fn default() -> Self {
        Self { stripes: (0..ACTIVE_STRIPES).map(|_| Mutex::default()).collect(), spread: RandomState::new() }
    }
}

impl Active {
    /// The words of `who`, whose plan's month is number `month`, made where there are none; none where there is no room:
    /// this node has no capacity for one more.
    #[must_use]
    pub fn words(&self, who: Who, month: u16) -> Option<Arc<Quota>> {
        let mut held = self.stripe(who);
        let Stripe { words, months, undecided } = &mut *held;
        if let Some(words) = words.get(&who) {
            return Some(Arc::clone(words));
        }
        if words.len() >= ACTIVE_MAX / ACTIVE_STRIPES {
            return None;
        }
        let made: Arc<Quota> = Arc::default();
        let of_its_month = |used: Vec<MonthUsed>| used.into_iter().find(|used| used.month == month);
        if let Some(used) = months.remove(&who).or_else(|| undecided.remove(&who).and_then(of_its_month)) {
            made.restore_month(used);
        }
        words.insert(who, Arc::clone(&made));
        Some(made)
    }

    /// Forgets those that nobody holds and that are as good as new. What they have used of their month is kept, and
    /// there again when they are, if it is not long over: `month` is the calendar's. How many.
    pub fn forget(&self, now: Instant, month: u16) -> usize {
        let mut forgotten = 0;
        for stripe in &self.stripes {
            let mut held = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            let Stripe { words, months, undecided } = &mut *held;
            let before = words.len();
            // Plans' months begin on any day: one that began with the calendar's last one, or behind it, may still run.
            let may_run = |used: &MonthUsed| {
                month.wrapping_sub(used.month) <= MONTH_DAYS_MAX || used.month.wrapping_sub(month) < u16::MAX / 2
            };
            months.retain(|_, used| may_run(used));
            undecided.retain(|_, used| used.iter().any(may_run));
            // Nobody gets hold of one meanwhile: for that, too, the stripe is locked.
            words.retain(|who, words| {
                let is_kept = Arc::strong_count(words) > 1 || !words.is_at_rest(now);
                if !is_kept
                    && months.len() < months_max(*who)
                    && let Some(used) = words.month()
                {
                    months.insert(*who, used);
                }
                is_kept
            });
            forgotten += before - words.len();
        }
        forgotten
    }

    /// Adds what the ledger has of somebody's month.
    pub fn restore_month(&self, who: Who, used: MonthUsed) {
        let mut held = self.stripe(who);
        if let Some(words) = held.words.get(&who) {
            words.restore_month(used);
        } else if held.months.len() < months_max(who) {
            held.months.insert(who, used);
        }
    }

    /// Keeps what the ledger has of the months, one of which is the plan's, of somebody who has not come yet.
    pub fn restore_undecided(&self, who: Who, used: Vec<MonthUsed>) {
        let mut held = self.stripe(who);
        if held.undecided.len() < KEYS_MAX / ACTIVE_STRIPES {
            held.undecided.insert(who, used);
        }
    }

    fn stripe(&self, who: Who) -> MutexGuard<'_, Stripe> {
        let stripe = usize::try_from(self.spread.hash_one(who) % ACTIVE_STRIPES as u64).unwrap_or(0);
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys that lease from a fleet's store: whose terms, and what.
    #[must_use]
    pub fn leased(&self) -> Vec<(KeyId, PlanNumber, Arc<Lease>)> {
        let mut all = Vec::new();
        for stripe in &self.stripes {
            let held = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(held.words.iter().filter_map(|(who, words)| match (who, words.leased()) {
                (Who::Key(key), Some((plan, lease))) => Some((*key, plan, Arc::clone(lease))),
                _ => None,
            }));
        }
        all
    }

    /// How many there are, for pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().unwrap_or_else(PoisonError::into_inner).words.len()).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Months that one stripe keeps of those whose words are forgotten.
const fn months_max(who: Who) -> usize {
    match who {
        Who::Key(_) => KEYS_MAX / ACTIVE_STRIPES,
        Who::Stranger(_) => STRANGERS_MONTHS_MAX / ACTIVE_STRIPES,
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::quota::{MonthUsed, QuotaConfig, Share, Terms};
    use super::*;
    use crate::bucket::Month;

    fn who(number: u64) -> Who {
        Who::Key(KeyId(number))
    }

    #[test]
    fn every_shard_gets_the_same_words() {
        let active = Active::default();
        let all: Vec<Vec<_>> = thread::scope(|scope| {
            let work = || (0..500).map(|n| active.words(who(n), 0).unwrap()).collect();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for shard in &all[1..] {
            assert!(shard.iter().zip(&all[0]).all(|(one, other)| Arc::ptr_eq(one, other)));
        }
        assert_eq!(active.len(), 500);
        let stranger = Who::Stranger(AddressBlock::of([10, 0, 0, 1].into()));
        assert!(!Arc::ptr_eq(&active.words(stranger, 0).unwrap(), &all[0][0]));
    }

    #[test]
    fn who_is_held_or_has_used_something_is_not_forgotten() {
        let (active, now) = (Active::default(), Instant::from_micros(1_000_000));
        let config = QuotaConfig { calls_per_second: Some(1), ..QuotaConfig::default() };
        let terms = Terms::new(&config, 1, Month::default());
        let held = active.words(who(1), 0).unwrap();
        let used = active.words(who(2), 0).unwrap();
        used.end(used.take(now, 1, &terms, &mut Share::default()).unwrap());
        drop(used);
        for number in 3..6 {
            let _ = active.words(who(number), 0).unwrap();
        }
        assert_eq!(active.forget(now, 0), 3);
        assert_eq!(active.len(), 2);
        assert_eq!(active.forget(Instant::from_micros(2_000_000), 0), 1);
        drop(held);
        assert_eq!((active.forget(now, 0), active.is_empty()), (1, true));
    }

    #[test]
    fn strangers_who_never_end_take_no_memory_without_end() {
        let active = Active::default();
        for number in 0..u32::try_from(STRANGERS_MONTHS_MAX + STRANGERS_MONTHS_MAX / 4).unwrap() {
            let stranger = Who::Stranger(AddressBlock::of(std::net::Ipv4Addr::from(number).into()));
            active.restore_month(stranger, MonthUsed { units: 1, month: 700 });
        }
        let kept: usize = active.stripes.iter().map(|stripe| stripe.lock().unwrap().months.len()).sum();
        assert!(kept > STRANGERS_MONTHS_MAX / 2 && kept <= STRANGERS_MONTHS_MAX, "{kept}");
    }

    #[test]
    fn a_month_outlives_its_words() {
        let (active, now) = (Active::default(), Instant::from_micros(1_000_000));
        let month = Month { number: 700, ends: None, next: 730 };
        let config = QuotaConfig { units_per_month: Some(100), ..QuotaConfig::default() };
        let terms = Terms::new(&config, 60, month);
        let take = |units| active.words(who(1), 0).unwrap().take(now, units, &terms, &mut Share::default()).is_ok();
        active.restore_month(who(1), MonthUsed { units: 30, month: 700 });
        assert!(take(60) && !take(20));
        // The call has not ended: its words are not at rest.
        let words = active.words(who(1), 0).unwrap();
        assert_eq!(words.month(), Some(MonthUsed { units: 90, month: 700 }));
        drop(words);
        assert_eq!(active.forget(now, 731), 1);
        active.restore_month(who(2), MonthUsed { units: 5, month: 700 });
        assert!(take(10) && !take(1), "30 and 60 and 10 are all there were");
        assert_eq!((active.forget(now, 731), active.forget(now, 732)), (1, 0));
        assert!(take(100), "what was used of a month that is long over is nobody's");
    }

    #[test]
    fn whose_month_is_undecided_goes_by_the_plan_that_they_come_with() {
        let active = Active::default();
        let used = || vec![MonthUsed { units: 70, month: 700 }, MonthUsed { units: 30, month: 715 }];
        (1..5).for_each(|number| active.restore_undecided(who(number), used()));
        for (number, month, expected) in [(1, 700, Some(70)), (2, 715, Some(30)), (3, 707, None)] {
            let words = active.words(who(number), month).unwrap();
            assert_eq!(words.month().map(|used| used.units), expected, "{month}");
        }
        active.forget(Instant::START, 746);
        assert!(active.words(who(4), 715).unwrap().month().is_some(), "one of them may still run");
        active.restore_undecided(who(5), used());
        active.forget(Instant::START, 747);
        assert!(active.words(who(5), 715).unwrap().month().is_none(), "none can");
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let active = Active::default();
        let made = (0..ACTIVE_MAX as u64 / 4).filter(|n| active.words(who(*n), 0).is_some()).count();
        assert_eq!(made, ACTIVE_MAX / 4, "far from full all find room");
        let full = (0..ACTIVE_MAX as u64 * 2).filter(|n| active.words(who(*n), 0).is_none()).count();
        assert!(full > 0 && active.len() <= ACTIVE_MAX);
    }
}
