//! What the store does, as a model: the script of `control` does the same, and a test holds the one to the other.

// As Lua counts: in whole numbers up to 2^53 and a few more than them.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::collections::HashMap;

use super::ask::{Answer, Ask, MonthAnswer, MonthAsk, RateAnswer, RateAsk};
use crate::tenant::key::KeyId;

/// Which node, and which of its boots.
pub(crate) type NodeId = u64;

#[derive(Debug, Default)]
pub(crate) struct Store {
    /// When all that was granted will have been paid for, in microseconds.
    paid: HashMap<(KeyId, usize), f64>,
    months: HashMap<(KeyId, u16), Sum>,
}

#[derive(Debug, Default)]
struct Sum {
    sum: u64,
    /// By node and count.
    of: HashMap<(NodeId, u64), i64>,
}

impl Store {
    pub(crate) fn answer(&mut self, now_us: u64, node: NodeId, ask: &Ask) -> Answer {
        let mut answer = Answer::default();
        for (which, rate) in ask.rates.iter().enumerate() {
            if let Some(rate) = rate {
                let paid = self.paid.entry((ask.key, which)).or_default();
                answer.rates[which] = answer_rate(paid, now_us as f64, rate);
            }
        }
        if let Some(month) = &ask.month {
            answer.month = self.answer_month(ask.key, node, month);
        }
        answer
    }

    fn answer_month(&mut self, key: KeyId, node: NodeId, ask: &MonthAsk) -> MonthAnswer {
        let known = self.months.contains_key(&(key, ask.month));
        let month = self.months.entry((key, ask.month)).or_default();
        let count = (node, ask.count);
        match month.of.get(&count).copied() {
            _ if !known => month.sum = ask.base.max(u64::try_from(ask.used).unwrap_or(0)),
            Some(before) => month.sum = month.sum.saturating_add_signed(ask.used - before),
            None => month.sum = month.sum.saturating_add_signed(ask.used - ask.told),
        }
        let left = ask.limit.saturating_sub(month.sum);
        let granted = if left.min(ask.want) >= ask.least { left.min(ask.want) } else { 0 };
        month.sum += granted;
        if ask.close {
            month.of.remove(&count);
        } else {
            month.of.insert(count, ask.used.saturating_add_unsigned(granted));
        }
        MonthAnswer { granted, left: left - granted }
    }

    pub(crate) fn sum(&self, key: KeyId, month: u16) -> u64 {
        self.months.get(&(key, month)).map_or(0, |month| month.sum)
    }
}

fn answer_rate(paid: &mut f64, now: f64, ask: &RateAsk) -> RateAnswer {
    let each = 1e6 / ask.rate as f64;
    // Time that has passed unused is not saved up.
    let back = (*paid - ask.back as f64 * each).max(paid.min(now));
    let from = back.max(now) + ask.debt as f64 * each;
    let room = ((now + ask.burst as f64 * each - from) / each + 1e-6).floor().max(0.0) as u64;
    let granted = if room.min(ask.want) >= ask.least { room.min(ask.want) } else { 0 };
    *paid = from + granted as f64 * each;
    RateAnswer { granted, room: room - granted }
}
