//! What a node holds of one key: how fast its purses empty, what that makes it ask for, and what an answer puts in.
//!
//! **Counting** is by differences: what a purse held when it was looked at last, less what it holds now, was used. An ask
//! hands back all that is left of a lease and wants the next one; until the answer is there shards go on with what they
//! have, and what they use meanwhile is taken off the new one. So nothing is counted twice, whatever crosses on the way.
//!
//! A holding is *cold* (quiet: its purses hold starters, the store is not asked), *warm* (asks all the time) or *open* (the
//! store is gone and the plan goes on without).

use std::sync::Arc;
use std::time::Duration;

use super::ask::{Answer, Ask, MonthAnswer, MonthAsk, RateAnswer, RateAsk};
use super::purse::{LEASED_MAX, Lease, OPEN, Purse};
use super::terms::{LeaseTerms, RateFigures};
use crate::limits::{LEASE_EVERY, LEASE_LIFE};
use crate::tenant::key::KeyId;
use crate::tenant::plan::WithoutStore;
use crate::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Holding {
    lease: Arc<Lease>,
    terms: LeaseTerms,
    base: u64,
    /// Calls and units.
    rates: [Option<RateSide>; 2],
    month: Option<MonthSide>,
    mode: Mode,
    /// When the last ask went out, and whether its answer is awaited.
    asked: Option<Instant>,
    pub(super) awaits: bool,
    pub(super) due: Instant,
    /// Nobody has the words any more: one last ask.
    pub(super) leaves: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Cold,
    Warm,
    Open,
}

/// How fast a purse empties.
#[derive(Debug)]
struct Demand {
    /// What it held when it was looked at last.
    mark: u64,
    /// Used and missed since the last ask, and before it as much as would be until a lease ends.
    fresh: u64,
    before: u64,
    least: u64,
}

#[derive(Debug)]
struct RateSide {
    figures: RateFigures,
    demand: Demand,
    /// What is in the purse was leased: it can be handed back, and using it is paid for.
    leased: bool,
    /// Was used and not leased.
    debt: u64,
}

#[derive(Debug)]
struct MonthSide {
    number: u16,
    /// Which count of this node's it is: when it began.
    count: u64,
    limit: u64,
    demand: Demand,
    /// In all, since the store first heard of it; less than nothing where a call that an earlier count had told of turned
    /// out not to be paid for.
    used: i64,
    /// The store has answered: should it know nothing of this node, it has lost what it knew, and was told anew what the
    /// ledger has.
    known: bool,
    /// What was told with a goodbye of which nobody knows whether it was heard.
    closing: Option<i64>,
}

impl Demand {
    const fn new(mark: u64) -> Self {
        Self { mark, fresh: 0, before: 0, least: 1 }
    }

    /// What was used since the last look; less than nothing where something was put back.
    fn look(&mut self, purse: &Purse) -> i64 {
        let left = purse.left();
        let used = self.mark.cast_signed() - left.cast_signed();
        self.mark = left;
        let (missed, least) = purse.take_missed();
        self.least = if missed > 0 { least } else { self.least };
        self.fresh += u64::try_from(used).unwrap_or(0) + missed;
        used
    }

    /// What will be used in `ahead` if it goes on as in the last `elapsed`, or the time before, and a quarter more.
    fn next(&mut self, elapsed: Duration, ahead: Duration) -> u64 {
        let elapsed = elapsed.max(LEASE_EVERY / 2).as_micros();
        let scaled = u128::from(self.fresh) * ahead.as_micros().max(elapsed) / elapsed;
        let scaled = u64::try_from(scaled).unwrap_or(LEASED_MAX).min(LEASED_MAX);
        let most = scaled.max(self.before);
        (self.before, self.fresh) = (scaled, 0);
        let least = std::mem::replace(&mut self.least, 1);
        if most == 0 { 0 } else { (most + most.div_ceil(4)).max(least) }
    }

    /// Puts an answer in. What was used since the ask comes off it; how much that was.
    fn grant(&mut self, purse: &Purse, granted: u64, until: Option<Instant>) -> i64 {
        let mark = self.mark;
        let Some(left) = purse.fill(until, |left| granted.saturating_sub(mark.saturating_sub(left))) else {
            // The grant is lost; the store finds out in time.
            return self.look(purse);
        };
        let used = mark.cast_signed() - left.cast_signed();
        let taken = u64::try_from(used).unwrap_or(0);
        (self.mark, self.fresh) = (granted.saturating_sub(taken), self.fresh + taken);
        used
    }

    /// Puts this in instead of what is there; what was used since the last look.
    fn put(&mut self, purse: &Purse, amount: u64) -> i64 {
        let Some(left) = purse.fill(None, |_| amount) else { return self.look(purse) };
        let used = self.mark.cast_signed() - left.cast_signed();
        self.mark = amount;
        used
    }
}

impl RateSide {
    fn new(figures: RateFigures, mark: u64) -> Self {
        Self { figures, demand: Demand::new(mark), leased: false, debt: 0 }
    }

    fn look(&mut self, purse: &Purse, open: bool) {
        let used = u64::try_from(self.demand.look(purse)).unwrap_or(0);
        if !self.leased && !open {
            self.debt += used;
        }
    }

    fn ask(&mut self, elapsed: Duration, leaves: bool) -> RateAsk {
        let RateFigures { rate, burst, .. } = self.figures;
        let least = self.demand.least.min(burst);
        let want = if leaves { 0 } else { self.demand.next(elapsed, LEASE_LIFE).min(burst) };
        let held = if self.leased { self.demand.mark } else { 0 };
        RateAsk { rate, burst, back: held, debt: std::mem::take(&mut self.debt), want, least }
    }

    fn on_answer(&mut self, purse: &Purse, answer: RateAnswer, until: Instant) {
        let used = self.demand.grant(purse, answer.granted, Some(until));
        self.debt += u64::try_from(used).unwrap_or(0).saturating_sub(answer.granted);
        self.leased = true;
    }

    fn rest(&mut self, purse: &Purse, starter: u64) {
        let used = self.demand.put(purse, starter);
        self.debt += u64::try_from(used).unwrap_or(0);
        self.leased = false;
    }
}

impl MonthSide {
    fn new(number: u16, limit: u64, mark: u64, now: Instant) -> Self {
        Self { number, count: now.micros(), limit, demand: Demand::new(mark), used: 0, known: false, closing: None }
    }

    fn count(&mut self, used: i64) {
        self.used = self.used.saturating_add(used);
    }

    fn look(&mut self, lease: &Lease) {
        let owed = lease.take_owed();
        let used = self.demand.look(&lease.month);
        self.count(used.saturating_add_unsigned(owed));
        self.demand.fresh += owed;
    }

    fn ask(&mut self, base: u64, elapsed: Duration, close: bool) -> MonthAsk {
        /// So that the store is asked no more for the month's sake.
        const AHEAD: Duration = Duration::from_secs(2);
        let least = self.demand.least;
        let now = self.demand.fresh;
        // Where the month is small, what is leased out stays small beside it.
        let most = (self.limit / 1000).max(now.saturating_mul(2)).max(least);
        let want = if close { 0 } else { self.demand.next(elapsed, AHEAD).min(most).min(LEASED_MAX) };
        let (month, count, limit, used) = (self.number, self.count, self.limit, self.used);
        let told = self.closing.unwrap_or(if self.known { used } else { 0 });
        // One goodbye at a time, so that what it told is known.
        let close = close && self.closing.is_none();
        if close {
            self.closing = Some(used);
        }
        MonthAsk { month, count, limit, base, used, told, close, want, least }
    }

    fn on_answer(&mut self, purse: &Purse, asked: &MonthAsk, answer: MonthAnswer) {
        (self.known, self.closing) = (!asked.close, None);
        if asked.close {
            // What was told is in the sum for good.
            self.used = self.used.saturating_sub(asked.used);
        }
        let used = self.demand.grant(purse, answer.granted, None);
        self.count(used);
    }

    fn put(&mut self, purse: &Purse, amount: u64) {
        let used = self.demand.put(purse, amount);
        self.count(used);
    }
}

impl Holding {
    pub(super) fn new(lease: Arc<Lease>, terms: LeaseTerms, base: u64, now: Instant) -> Self {
        let rate = |which: usize| terms.rates[which].map(|all| RateSide::new(all, lease.rates[which].began));
        let month = terms.month.number_at(now);
        lease.begin_month(month);
        Self {
            rates: [rate(0), rate(1)],
            month: terms.units_per_month.map(|limit| MonthSide::new(month, limit, lease.month.began, now)),
            lease,
            terms,
            base,
            mode: Mode::Cold,
            asked: None,
            awaits: false,
            due: now,
            leaves: false,
        }
    }

    /// Of words that were made again when these had been forgotten. What they had leased is the store's loss; what they had
    /// used of the month goes on to count.
    pub(super) fn followed_by(&mut self, lease: Arc<Lease>, terms: LeaseTerms, base: u64, now: Instant) -> Self {
        self.look(now);
        let mut next = Self::new(lease, terms, base, now);
        if let (Some(old), Some(begun)) = (self.month.take(), &mut next.month)
            && old.number == begun.number
        {
            let mark = next.lease.month.began;
            *begun = MonthSide { limit: begun.limit, demand: Demand::new(mark), ..old };
            // It has something to tell.
            next.mode = Mode::Warm;
        }
        next
    }

    pub(super) fn is_of(&self, lease: &Arc<Lease>) -> bool {
        Arc::ptr_eq(&self.lease, lease)
    }

    /// Takes over a plan that may have changed, and the month that it is.
    pub(super) fn refresh(&mut self, terms: &LeaseTerms, base: u64, now: Instant) {
        (self.base, self.terms) = (base, *terms);
        let open = self.mode == Mode::Open;
        for ((side, figures), purse) in self.rates.iter_mut().zip(terms.rates).zip(&self.lease.rates) {
            match (&mut *side, figures) {
                (Some(side), Some(figures)) => side.figures = figures,
                (None, None) => purse.keep_open(),
                (None, Some(figures)) => {
                    let mut begun = RateSide::new(figures, OPEN);
                    begun.demand.put(purse, if open { OPEN } else { terms.starter(figures) });
                    *side = Some(begun);
                }
                (Some(gone), None) => {
                    gone.demand.put(purse, OPEN);
                    *side = None;
                }
            }
        }
        let month = terms.month.number_at(now);
        match (&mut self.month, terms.units_per_month) {
            (Some(side), Some(limit)) if side.number == month => side.limit = limit,
            (None, None) => self.lease.month.keep_open(),
            // A new month, or a limit where there was none. What is left of an old lease is of no use to anybody.
            (side, Some(limit)) => {
                let mut begun = MonthSide::new(month, limit, OPEN, now);
                begun.demand.put(&self.lease.month, if open { OPEN } else { terms.month_starter(limit) });
                self.lease.begin_month(month);
                *side = Some(begun);
            }
            (Some(gone), None) => {
                gone.demand.put(&self.lease.month, OPEN);
                self.month = None;
            }
        }
    }

    /// Sees what was used. Whether the store is to be asked now.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let open = self.mode == Mode::Open;
        for (side, purse) in self.rates.iter_mut().zip(&self.lease.rates) {
            if let Some(side) = side {
                side.look(purse, open);
                if open && purse.wants_opening() {
                    side.demand.put(purse, OPEN);
                }
            }
        }
        if let Some(side) = &mut self.month {
            side.look(&self.lease);
            if open && self.lease.month.wants_opening() {
                side.put(&self.lease.month, OPEN);
            }
        }
        if self.mode == Mode::Cold && (self.is_in_use() || self.has_given_back()) {
            (self.mode, self.due) = (Mode::Warm, now);
        }
        self.mode != Mode::Cold && now >= self.due
    }

    fn is_in_use(&self) -> bool {
        let rates = self.rates.iter().flatten().any(|side| side.demand.fresh > 0);
        rates || self.month.as_ref().is_some_and(|side| side.demand.fresh > 0)
    }

    /// Of a count that was closed since.
    fn has_given_back(&self) -> bool {
        self.month.as_ref().is_some_and(|side| side.used < 0)
    }

    /// Whether there is nothing to be said of it, should it be forgotten.
    pub(super) fn is_cold(&self) -> bool {
        self.mode == Mode::Cold
    }

    pub(super) fn ask(&mut self, key: KeyId, now: Instant) -> Ask {
        let elapsed = self.asked.map_or(LEASE_LIFE, |asked| now.since(asked));
        (self.asked, self.awaits) = (Some(now), true);
        let (base, leaves) = (self.base, self.leaves);
        let rates = self.rates.each_mut().map(|side| side.as_mut().map(|side| side.ask(elapsed, leaves)));
        let quiet = rates.iter().flatten().all(|ask| ask.want == 0);
        let month = self.month.as_mut().map(|side| {
            let idle = side.demand.fresh == 0 && side.demand.before == 0;
            side.ask(base, elapsed, leaves || (quiet && idle))
        });
        Ask { key, rates, month }
    }

    /// What the store said to `ask`; `next` is when it is asked again if the key is in use.
    pub(super) fn on_answer(&mut self, ask: &Ask, answer: &Answer, now: Instant, next: Duration) {
        self.awaits = false;
        let sent = self.asked.unwrap_or(now);
        for ((side, purse), answer) in self.rates.iter_mut().zip(&self.lease.rates).zip(answer.rates) {
            if let Some(side) = side {
                side.on_answer(purse, answer, sent + LEASE_LIFE);
            }
        }
        let of_month = self.month.as_mut().zip(ask.month.as_ref());
        if let Some((side, asked)) = of_month.filter(|(side, asked)| side.number == asked.month) {
            side.on_answer(&self.lease.month, asked, answer.month);
        }
        (self.mode, self.due) = (Mode::Warm, (sent + next).max(now));
        let wanted = ask.rates.iter().flatten().any(|ask| ask.want > 0) || ask.month.is_some_and(|month| !month.close);
        if !wanted && !self.is_in_use() {
            self.rest(answer, now, next);
        }
    }

    /// Nothing is used: a starter in each purse, where the region is below its rates; else a look now and then.
    fn rest(&mut self, answer: &Answer, now: Instant, next: Duration) {
        /// Looks are rarer than asks by so much.
        const SELDOM: u32 = 10;
        let terms = self.terms;
        let short = |(side, answer): (&Option<RateSide>, RateAnswer)| {
            side.as_ref().is_some_and(|side| answer.room < side.figures.one)
        };
        if self.rates.iter().zip(answer.rates).any(short) {
            self.due = now + next * SELDOM;
            return;
        }
        for ((side, purse), answer) in self.rates.iter_mut().zip(&self.lease.rates).zip(answer.rates) {
            if let Some(side) = side {
                side.rest(purse, terms.starter(side.figures).min(answer.room));
            }
        }
        if let Some(side) = &mut self.month {
            side.put(&self.lease.month, terms.month_starter(side.limit).min(answer.month.left));
        }
        self.mode = Mode::Cold;
    }

    /// No answer came; what was asked may or may not have been heard.
    pub(super) fn on_failure(&mut self) {
        self.awaits = false;
    }

    /// The store is gone: the purses of a plan that goes on are opened.
    pub(super) fn on_gone(&mut self, now: Instant) {
        if self.terms.without_store == WithoutStore::Refuse || self.mode == Mode::Open {
            return;
        }
        for (side, purse) in self.rates.iter_mut().zip(&self.lease.rates) {
            if let Some(side) = side {
                side.demand.put(purse, OPEN);
                side.leased = false;
            }
        }
        if let Some(side) = &mut self.month {
            side.put(&self.lease.month, OPEN);
        }
        (self.mode, self.due) = (Mode::Open, now);
    }
}
