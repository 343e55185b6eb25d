//! Which methods are ranked by themselves: those that are not like their class.
//!
//! A class groups methods of like cost, and sharing evidence is what makes it strong. But `eth_getBlockByNumber` with
//! its transactions may take ten times as long as `eth_getBalance` at one provider and twice as long at another: one
//! order for both is wrong for one of them. So each method's latency is held against its class's *at the same
//! provider*: the mean difference of the logarithms over its calls there, decaying. Where it is beyond
//! [`RankingConfig::own_row_factor`] with [`RankingConfig::own_row_calls`] behind it, the method gets a row of its own; where
//! it falls below the factor's square root, or the calls stop, it goes back. Between the two nothing changes: a row that comes and goes would forget each time what it knew.
//!
//! At most [`PROMOTED_METHODS_MAX`] of a chain. When all are taken, a method that is asked for twice as often as the
//! least asked one takes its place.
//!
//! Methods are numbers here: the caller's positions in its table of known methods. Unknown ones are the client's words
//! and share one class.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ranking::RowIndex;
use super::settings::RankingConfig;
use crate::jsonrpc::MethodClass;
use crate::limits::PROMOTED_METHODS_MAX;
use crate::time::Instant;

/// The part of the calls that a method needs for a row of its own below which it is no longer asked for.
const CALLS_KEPT_PART: f64 = 10.0;
/// The weight of calls halves in this time: what a method costs changes with releases of nodes, not with the hour.
const HALF_LIFE: Duration = Duration::from_mins(5);

/// The methods of one chain that have a row of their own.
#[derive(Clone, Debug, Default)]
pub struct Promotions {
    /// By method and provider.
    seen: BTreeMap<(u16, u64), Seen>,
    rows: [Option<u16>; PROMOTED_METHODS_MAX],
    decayed: Instant,
}

/// A method's calls at one provider.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    calls: f64,
    /// Sum over calls of ln(latency) − its class's mean at the provider.
    difference: f64,
}

/// A method as all providers show it.
#[derive(Clone, Copy, Debug, Default)]
struct Method {
    calls: f64,
    /// It is not like its class at one of them.
    departs: bool,
    /// It is not quite like it.
    stays: bool,
}

impl Promotions {
    /// `calls` of a method at one provider took a mean of logarithms (of microseconds) that differs by `difference`
    /// from that of its class there.
    ///
    /// Providers are kept apart: where all calls go to one at which methods are alike, the few that others get would not
    /// show that they are not alike there.
    pub fn on_calls(&mut self, method: u16, provider: u64, calls: u32, difference: f64) {
        let calls = f64::from(calls);
        let seen = self.seen.entry((method, provider)).or_default();
        seen.calls += calls;
        seen.difference += difference * calls;
    }

    /// Promotes and sends back, every few seconds. Rows that changed hands are returned, and mean nothing until they
    /// are told to the chain's board ([`Board::promote`](super::Board::promote),
    /// [`Board::send_back`](super::Board::send_back)).
    pub fn decide(&mut self, now: Instant, config: &RankingConfig) -> Vec<RowIndex> {
        self.decay(now);
        let methods = self.methods(config);
        let mut changed = Vec::new();
        for position in 0..PROMOTED_METHODS_MAX {
            let stays = |number| methods.get(&number).is_some_and(|method| method.stays);
            if self.rows[position].is_some_and(|number| !stays(number)) {
                self.rows[position] = None;
                changed.extend(RowIndex::promoted(position));
            }
        }
        let mut departing: Vec<_> =
            methods.iter().filter(|(number, method)| method.departs && self.position(**number).is_none()).collect();
        departing.sort_by(|(_, a), (_, b)| b.calls.total_cmp(&a.calls));
        for (&number, method) in departing {
            let Some(position) = place(&self.rows, &methods, method.calls) else { break };
            self.rows[position] = Some(number);
            changed.extend(RowIndex::promoted(position).filter(|row| !changed.contains(row)));
        }
        changed
    }

    fn methods(&self, config: &RankingConfig) -> BTreeMap<u16, Method> {
        let mut methods: BTreeMap<u16, Method> = BTreeMap::new();
        for ((number, _), seen) in &self.seen {
            let method = methods.entry(*number).or_default();
            method.calls += seen.calls;
            method.departs |= seen.departs(config);
            method.stays |= seen.stays(config);
        }
        methods
    }

    /// The row that a method of `class` is ranked by.
    #[must_use]
    pub fn row(&self, method: u16, class: MethodClass) -> RowIndex {
        self.position(method).and_then(RowIndex::promoted).unwrap_or(class.into())
    }

    /// The method that a row was given to, by the row's position among promoted ones.
    #[must_use]
    pub fn promoted(&self) -> &[Option<u16>; PROMOTED_METHODS_MAX] {
        &self.rows
    }

    fn position(&self, method: u16) -> Option<usize> {
        self.rows.iter().position(|&row| row == Some(method))
    }

    fn decay(&mut self, now: Instant) {
        let factor = (-now.since(self.decayed).as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
        self.decayed = now;
        for seen in self.seen.values_mut() {
            seen.calls *= factor;
            seen.difference *= factor;
        }
        self.seen.retain(|_, seen| seen.calls > 0.5);
    }
}

/// A free row, or that of a method asked for less than half as often as `calls`.
fn place(rows: &[Option<u16>], methods: &BTreeMap<u16, Method>, calls: f64) -> Option<usize> {
    let asked = |row: &Option<u16>| row.and_then(|number| methods.get(&number)).map_or(0.0, |method| method.calls);
    let (position, least) = rows.iter().map(asked).enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (least * 2.0 < calls).then_some(position)
}

impl Seen {
    fn mean(&self) -> f64 {
        self.difference / self.calls.max(1e-9)
    }

    fn departs(&self, config: &RankingConfig) -> bool {
        self.calls >= config.own_row_calls && self.mean().abs() >= config.own_row_factor.ln()
    }

    fn stays(&self, config: &RankingConfig) -> bool {
        self.calls >= config.own_row_calls / CALLS_KEPT_PART && self.mean().abs() >= config.own_row_factor.ln() / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: MethodClass = MethodClass::Read;

    fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    #[test]
    fn a_method_unlike_its_class_gets_a_row_and_loses_it_when_it_is_like_it_again() {
        let mut promotions = Promotions::default();
        promotions.on_calls(1, 7, 1000, 0.1);
        promotions.on_calls(2, 7, 1000, 1.5);
        promotions.on_calls(3, 7, 50, 3.0);
        let row = RowIndex::promoted(0).unwrap();
        assert_eq!(promotions.decide(secs(1), &RankingConfig::DEFAULT), [row]);
        assert_eq!([1, 2, 3].map(|method| promotions.row(method, CLASS)), [CLASS.into(), row, CLASS.into()]);
        // In between it stays; nothing changes hands.
        promotions.on_calls(2, 7, 1000, -0.5);
        assert_eq!(promotions.decide(secs(2), &RankingConfig::DEFAULT), []);
        promotions.on_calls(2, 7, 1000, -0.5);
        assert_eq!(promotions.decide(secs(3), &RankingConfig::DEFAULT), [row]);
        assert_eq!(promotions.row(2, CLASS), CLASS.into());
    }

    #[test]
    fn the_most_asked_ones_have_the_rows() {
        let mut promotions = Promotions::default();
        for method in 0..40 {
            promotions.on_calls(method, 7, 200 + u32::from(method), -1.0);
        }
        assert_eq!(promotions.decide(secs(1), &RankingConfig::DEFAULT).len(), PROMOTED_METHODS_MAX);
        let promoted = |promotions: &Promotions, method| promotions.row(method, CLASS) != CLASS.into();
        assert!(promoted(&promotions, 39) && promoted(&promotions, 24) && !promoted(&promotions, 23));
        // Slightly more calls take nobody's row; twice as many do.
        promotions.on_calls(0, 7, 100, -1.0);
        assert_eq!(promotions.decide(secs(1), &RankingConfig::DEFAULT), []);
        promotions.on_calls(0, 7, 300, -1.0);
        assert_eq!(promotions.decide(secs(1), &RankingConfig::DEFAULT).len(), 1);
        assert!(promoted(&promotions, 0) && !promoted(&promotions, 24));
    }

    #[test]
    fn who_is_no_longer_asked_for_goes() {
        let mut promotions = Promotions::default();
        promotions.on_calls(5, 7, 200, 1.0);
        assert_eq!(promotions.decide(secs(1), &RankingConfig::DEFAULT).len(), 1);
        assert!(promotions.decide(secs(600), &RankingConfig::DEFAULT).is_empty());
        assert_eq!(promotions.decide(secs(1600), &RankingConfig::DEFAULT).len(), 1);
    }

    #[test]
    fn one_provider_at_which_it_is_not_like_its_class_is_enough() {
        let mut promotions = Promotions::default();
        promotions.on_calls(1, 7, 100_000, 0.1);
        promotions.on_calls(1, 8, 90, -2.0);
        assert_eq!(promotions.decide(secs(1), &RankingConfig::DEFAULT), []);
        promotions.on_calls(1, 8, 20, -2.0);
        assert_eq!(promotions.decide(secs(2), &RankingConfig::DEFAULT).len(), 1);
    }
}
