//! The upkeep: minutes become hours, hours become days, and days are forgotten where the operator says so.
//!
//! A step takes some rows out and adds their sums to coarser ones in one transaction, so that the sums of a ledger are
//! the same at every moment. Rows that are late, however late, are summed the next time. Nothing depends on the clock
//! but how much detail there is: one that is wrong costs detail, never a sum, unless days are to be forgotten at all.
//!
//! Steps go round all tenants, so that each is of bounded work, and writing usage never waits long for one. Several
//! nodes may do it at once: what one of them takes out, the other does not find.

use std::time::Duration;

use super::parties::one;
use super::{Store, int};
use crate::ledger::engine::{Begin, Engine, Param, Row};
use crate::ledger::error::StoreError;
use crate::ledger::usage::{DAY, HOUR, MINUTE, Sum, coarser, columns, read_sum};
use crate::limits::{LEDGER_BOOTS_MAX, LEDGER_KEY_DAYS_MIN, LEDGER_UPKEEP_ROWS_MAX, LEDGER_UPKEEP_TENANTS_MAX};

/// How long usage is kept in which detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Then minutes are summed to hours.
    pub minutes: Duration,
    /// Then hours are summed to days.
    pub hours: Duration,
    /// Then days are forgotten; never where it is absent.
    pub days: Option<Duration>,
}

/// What one step of the upkeep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RolledUp {
    /// Rows that are summed in others now, or forgotten.
    pub rows: usize,
    /// Whether the round goes on.
    pub more: bool,
}

/// Where it goes on.
#[derive(Debug, Default)]
pub(super) struct Round {
    stage: Stage,
    tenant: i64,
}

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    Minutes,
    Hours,
    Days,
    Rest,
}

/// Rows of one length that are old enough.
#[derive(Clone, Copy, Debug)]
struct Old {
    span: i64,
    /// What they become; none if they are forgotten.
    into: Option<i64>,
    before: i64,
}

impl Retention {
    /// A week of minutes, to look into what happened; a hundred days of hours, longer than a bill is disputed; days
    /// for good: a thousand busy keys have under a gigabyte of them in a year.
    pub const DEFAULT: Self =
        Self { minutes: Duration::from_hours(7 * 24), hours: Duration::from_hours(100 * 24), days: None };
}

impl Default for Retention {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Store {
    /// One step, of bounded work; the next one goes on where this one stopped.
    pub fn roll_up(&mut self, retention: &Retention, now_minute: u32) -> Result<RolledUp, StoreError> {
        let mut rows = 0;
        for _ in 0..LEDGER_UPKEEP_TENANTS_MAX {
            let Some(old) = self.round.stage.old(retention, now_minute.into()) else {
                if !self.round.next_stage() {
                    rows += self.tidy(retention, now_minute)?;
                    return Ok(RolledUp { rows, more: false });
                }
                continue;
            };
            let sql = "SELECT tenant FROM usage WHERE span = ?1 AND tenant >= ?2 ORDER BY tenant LIMIT 1";
            let params = [Param::Int(old.span), Param::Int(self.round.tenant)];
            let Some(tenant) = one(&mut *self.engine, sql, &params, |row| row.int(0))? else {
                self.round.next_stage();
                continue;
            };
            let room = LEDGER_UPKEEP_ROWS_MAX.saturating_sub(rows);
            let done = self.roll_up_tenant(old, tenant, room)?;
            rows += done;
            // More, where another node's rows came in between: PostgreSQL looks anew at each statement.
            if done >= room {
                self.round.tenant = tenant;
                break;
            }
            self.round.tenant = tenant.saturating_add(1);
        }
        Ok(RolledUp { rows, more: true })
    }

    fn roll_up_tenant(&mut self, old: Old, tenant: i64, room: usize) -> Result<usize, StoreError> {
        let sql = "SELECT minute FROM usage WHERE span = ?1 AND tenant = ?2 AND minute < ?3 LIMIT 1";
        let params = [Param::Int(old.span), Param::Int(tenant), Param::Int(old.before)];
        if one(&mut *self.engine, sql, &params, |row| row.int(0))?.is_none() {
            return Ok(0);
        }
        self.transaction(Begin::Write, |engine| {
            let taken = take(engine, old, tenant, room)?;
            let rows = taken.len();
            if let Some(span) = old.into {
                engine.add_usage(span, &coarser(taken, span))?;
            }
            Ok(rows)
        })
    }

    /// What is not by tenant: units by day, a day a round; and boots of nodes that are long gone.
    fn tidy(&mut self, retention: &Retention, now_minute: u32) -> Result<usize, StoreError> {
        self.transaction(Begin::Write, |engine| {
            let mut gone = 0;
            if let Some(old) = Stage::Days.old(retention, now_minute.into()) {
                let sql = "DELETE FROM key_days WHERE day < ?1 AND day = (SELECT MIN(day) FROM key_days)";
                let of_months = i64::from(now_minute) / DAY - LEDGER_KEY_DAYS_MIN;
                gone += engine.execute(sql, &[Param::Int((old.before / DAY).min(of_months))])?;
            }
            if int(engine, "SELECT COUNT(*) FROM commits", &[])? > LEDGER_BOOTS_MAX {
                let sql = "DELETE FROM commits WHERE place <= \
                           (SELECT place FROM commits ORDER BY place DESC LIMIT 1 OFFSET ?1)";
                engine.execute(sql, &[Param::Int(LEDGER_BOOTS_MAX)])?;
            }
            Ok(usize::try_from(gone).unwrap_or(usize::MAX))
        })
    }
}

impl Round {
    /// Whether there is one.
    fn next_stage(&mut self) -> bool {
        let (stage, there_is) = match self.stage {
            Stage::Minutes => (Stage::Hours, true),
            Stage::Hours => (Stage::Days, true),
            Stage::Days => (Stage::Rest, true),
            Stage::Rest => (Stage::Minutes, false),
        };
        *self = Self { stage, tenant: 0 };
        there_is
    }
}

impl Stage {
    /// Whole hours and days only, so that none is told in two lengths for long.
    fn old(self, retention: &Retention, now: i64) -> Option<Old> {
        let before = |kept: Duration, span: i64| {
            let kept = i64::try_from(kept.as_secs() / 60).unwrap_or(i64::MAX);
            let before = now.saturating_sub(kept).max(0);
            before - before % span
        };
        match self {
            Self::Minutes => Some(Old { span: MINUTE, into: Some(HOUR), before: before(retention.minutes, HOUR) }),
            Self::Hours => Some(Old { span: HOUR, into: Some(DAY), before: before(retention.hours, DAY) }),
            Self::Days => retention.days.map(|days| Old { span: DAY, into: None, before: before(days, DAY) }),
            Self::Rest => None,
        }
    }
}

/// Takes the oldest rows of a tenant out, at most `room` of them.
fn take(engine: &mut dyn Engine, old: Old, tenant: i64, room: usize) -> Result<Vec<Sum>, StoreError> {
    let sql = "SELECT minute, key, chain, method, provider FROM usage \
               WHERE span = ?1 AND tenant = ?2 AND minute < ?3 \
               ORDER BY minute, key, chain, method, provider LIMIT 1 OFFSET ?4";
    let room = i64::try_from(room).unwrap_or(i64::MAX);
    let place = [Param::Int(old.span), Param::Int(tenant), Param::Int(old.before)];
    let first_left = one(engine, sql, &[place[0], place[1], place[2], Param::Int(room)], |row| {
        Ok((row.int(0)?, row.int(1)?, row.text(2)?.to_owned(), row.text(3)?.to_owned(), row.text(4)?.to_owned()))
    })?;
    let mut taken = Vec::new();
    let mut each = |row: &Row<'_>| {
        taken.push(read_sum(row)?);
        Ok(())
    };
    match first_left {
        None => {
            let sql =
                concat!("DELETE FROM usage WHERE span = ?1 AND tenant = ?2 AND minute < ?3 RETURNING ", columns!());
            engine.read(sql, &place, &mut each)?;
        }
        Some((minute, key, chain, method, provider)) => {
            let sql = concat!(
                "DELETE FROM usage WHERE span = ?1 AND tenant = ?2 AND minute < ?3 \
                 AND (minute, key, chain, method, provider) < (?4, ?5, ?6, ?7, ?8) RETURNING ",
                columns!()
            );
            let [span, tenant, before] = place;
            let boundary = [Param::Int(minute), Param::Int(key), Param::Text(&chain), Param::Text(&method)];
            let [minute, key, chain, method] = boundary;
            let params = [span, tenant, before, minute, key, chain, method, Param::Text(&provider)];
            engine.read(sql, &params, &mut each)?;
        }
    }
    Ok(taken)
}
