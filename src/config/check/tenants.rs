//! `[tenants]`: what is kept longest in the least detail.

use super::relations::{at_most, need};
use super::{Surroundings, fleet, tokens};
use crate::config::given::Given;
use crate::config::problems::Problem;
use crate::config::raw;
use crate::config::types::Tenants;
use crate::ledger::Retention;

pub(super) fn check(
    given: &Given<raw::Tenants>,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Tenants> {
    let raw = given.get()?;
    need(&raw.store, "store", "section", given, problems);
    need(&raw.pepper, "pepper", "section", given, problems);
    let fleet = match &raw.fleet {
        Some(fleet) => fleet::check(fleet, around, problems).map(Some),
        None => Some(None),
    };
    let jwt = match &raw.jwt {
        Some(jwt) => tokens::check(jwt, around, problems).map(Some),
        None => Some(None),
    };
    let kept = raw.retention.get()?;
    let days = match &kept.days {
        Some(days) => Some(days.plain()?),
        None => None,
    };
    let hours = kept.hours.plain();
    let hours = match &kept.days {
        Some(longer) => at_most((&kept.hours, hours), (longer, days), "hours are kept longer than days", problems),
        None => hours,
    };
    let minutes = at_most(
        (&kept.minutes, kept.minutes.plain()),
        (&kept.hours, hours),
        "minutes are kept longer than hours",
        problems,
    );
    let anonymous = match &raw.anonymous {
        Some(plan) => Some(plan.plain()?),
        None => None,
    };
    Some(Tenants {
        store: raw.store.plain()?,
        pepper: raw.pepper.plain()?,
        anonymous,
        jwt: jwt?,
        fleet: fleet?,
        retention: Retention { minutes: minutes?, hours: hours?, days },
    })
}
