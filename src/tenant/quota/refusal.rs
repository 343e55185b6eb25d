//! What is told of a quota: which limit refuses, when to come again, and the figures of `RateLimit-*`.
//!
//! The figures are of one limit, since the fields have room for one: the one that refuses, else the one of which least
//! is left. Its limit is what may be had at once, and its reset when all of that is there again.

use std::time::Duration;

use super::{Quota, Share, Terms};
use crate::bucket::{Chunk, Meter, Rate};
use crate::time::Instant;

/// What a key has used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    Calls,
    Units,
    Month,
    InFlight,
    Sockets,
    Subscriptions,
}

impl Limit {
    pub const ALL: [Self; 6] =
        [Self::Calls, Self::Units, Self::Month, Self::InFlight, Self::Sockets, Self::Subscriptions];

    /// The word used in metrics and pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Units => "units",
            Self::Month => "month",
            Self::InFlight => "in_flight",
            Self::Sockets => "sockets",
            Self::Subscriptions => "subscriptions",
        }
    }

    /// What the client is told.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Calls => "too many calls a second for this key",
            Self::Units => "too many compute units a second for this key",
            Self::Month => "this key's compute units of the month are used up",
            Self::InFlight => "too many calls of this key at once",
            Self::Sockets => "too many WebSockets of this key at once",
            Self::Subscriptions => "too many subscriptions of this key at once",
        }
    }
}

/// A refusal: of what, and when to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub limit: Limit,
    /// None: never, however long one waits.
    pub again: Option<Duration>,
    pub figures: Figures,
}

/// What `RateLimit-Limit`, `-Remaining` and `-Reset` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    pub limit: u64,
    pub remaining: u64,
    pub reset_s: u64,
}

/// What ends when others end: nobody knows when, and a second is soon enough.
const SOMETIME: Duration = Duration::from_secs(1);
/// A month of which nobody said when it ends: worth asking again.
const MONTH_UNKNOWN: Duration = Duration::from_hours(1);

impl Refused {
    /// The seconds of `Retry-After`: whole ones, at least one, none where it is no use.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        self.again.map(|again| seconds(again).max(1))
    }
}

impl Quota {
    #[cold]
    pub(super) fn refused(&self, limit: Limit, now: Instant, units: u32, terms: &Terms, own: &Share) -> Refused {
        let rated = |meter: &Meter, amount: u32, rate: Option<Rate>, chunk: &Chunk| {
            let rate = &rate.unwrap_or(Rate::NOTHING);
            (meter.wait(now, amount, rate, chunk), of_rate(meter, now, rate, chunk))
        };
        let lasting = |most: Option<u32>| {
            let limit = u64::from(most.unwrap_or(0));
            (Some(SOMETIME), Figures { limit, remaining: 0, reset_s: seconds(SOMETIME) })
        };
        let (again, figures) = match limit {
            Limit::Calls => rated(&self.calls, 1, terms.calls, &own.calls),
            Limit::Units => {
                let (again, figures) = rated(&self.units, units, terms.units, &own.units);
                (again.filter(|_| u64::from(units) <= terms.units_most), figures)
            }
            Limit::Month => {
                let figures = self.of_month(now, terms);
                let never = terms.units_per_month.is_none_or(|most| u64::from(units) > most);
                let left = terms.month.ends.map_or(MONTH_UNKNOWN, |ends| ends.since(now));
                (Some(left).filter(|_| !never), figures)
            }
            Limit::InFlight => lasting(terms.in_flight),
            Limit::Sockets => lasting(terms.sockets),
            Limit::Subscriptions => lasting(terms.subscriptions),
        };
        Refused { limit, again, figures }
    }

    /// The figures of the limit of which least is left; none where no rate and no month is limited.
    #[must_use]
    pub fn figures(&self, now: Instant, terms: &Terms, own: &Share) -> Option<Figures> {
        let all = [
            terms.calls.as_ref().map(|rate| of_rate(&self.calls, now, rate, &own.calls)),
            terms.units.as_ref().map(|rate| of_rate(&self.units, now, rate, &own.units)),
            terms.units_per_month.map(|_| self.of_month(now, terms)),
        ];
        all.into_iter().flatten().min_by(|one, other| {
            let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
            product(one.remaining, other.limit).cmp(&product(other.remaining, one.limit))
        })
    }

    fn of_month(&self, now: Instant, terms: &Terms) -> Figures {
        let limit = terms.units_per_month.unwrap_or(0);
        let used = self.month.used(terms.month.number_at(now));
        let ends = terms.month.ends.map_or(MONTH_UNKNOWN, |ends| ends.since(now));
        Figures { limit, remaining: limit.saturating_sub(used), reset_s: seconds(ends) }
    }
}

fn of_rate(meter: &Meter, now: Instant, rate: &Rate, own: &Chunk) -> Figures {
    let limit = rate.burst();
    let remaining = (meter.left(now, rate) + own.left(now)).min(limit);
    Figures { limit, remaining, reset_s: seconds(meter.whole_in(now)) }
}

fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
