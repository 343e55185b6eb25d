//! Control's side of one chain: windows by row and provider, the leader of each row, and the ranking made of them.
//!
//! ```text
//!   shards' rows ──merge──▶ Window ──cost──▶ leader, hysteresis ──▶ Entry ┐
//!                              │                                        ├──publish──▶ Ranking ──▶ shards
//!   latencies summed ─────────▶ usual load ─────────────────▶ Load ────────┤
//!                              └──hope, age─▶ Plan ───────────▶ Explore ────┘
//! ```
//!
//! Control calls [`Board::merge`] for every row that a shard ships, [`Board::on_in_flight`] where it knows what is
//! under way, and [`Board::publish`] at every interval. All state that ranking has is here: shards hold what was
//! published and a credit per row.
//!
//! **The leader stays** while it costs at most [`RankingConfig::hysteresis`] more than the best; its published cost is
//! that much lower, so that a shard that compares costs keeps it without knowing of it.
//!
//! **The usual load** of a provider is the time that its answers of the last second took, per second (Little's law:
//! calls under way on average). A shard makes a provider dearer only by what is under way *beyond* it, so that the
//! leader is not punished for leading, a stall shows at once, and a new leader takes over within seconds and not at a
//! stroke, as its usual load is still that of exploration.
//!
//! A provider is known by its slot's number; positions are those of the newest configuration ([`Board::place`]).

use std::time::Duration;

use hdrhistogram::Histogram;

use super::explore::{Plan, Prospect};
use super::ranking::{Entry, ROWS_MAX, Ranking, RowIndex, narrow};
use super::score::{self, Cost, Score, Tail};
use super::settings::RankingConfig;
use super::window::{Tally, Window, float};
use crate::jsonrpc::MethodClass;
use crate::limits::PROVIDERS_PER_CHAIN_MAX;
use crate::time::Instant;

/// The usual load is averaged over about this.
const USUAL_S: f64 = 1.0;

/// See the module.
#[derive(Debug)]
pub struct Board {
    config: RankingConfig,
    shards: usize,
    /// Slot numbers by position.
    slots: Vec<u64>,
    loads: Vec<Traffic>,
    rows: [Option<Box<Row>>; ROWS_MAX],
    published: Instant,
    /// A histogram's recorded values, on their way into a window.
    values: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    /// Microseconds that answers took since the last publication.
    busy_us: f64,
    usual: f64,
    /// Under way in the whole node.
    in_flight: f64,
}

#[derive(Clone, Debug)]
struct Row {
    cells: Vec<Option<Cell>>,
    leader: Option<u64>,
    plan: Plan,
    /// Attempts since the last publication.
    calls: u64,
}

#[derive(Clone, Debug)]
struct Cell {
    window: Window,
    tail: Tail,
}

impl Board {
    /// For a chain whose providers have these slots, in the order of the config, served by `shards`.
    #[must_use]
    pub fn new(now: Instant, slots: &[u64], shards: usize, config: RankingConfig) -> Self {
        let mut board = Self {
            config,
            shards: shards.max(1),
            slots: Vec::new(),
            loads: Vec::new(),
            rows: [const { None }; ROWS_MAX],
            published: now,
            values: Vec::new(),
        };
        board.place(slots);
        board
    }

    /// The configuration has changed: what was known of the slots that stay moves to their new positions.
    pub fn place(&mut self, slots: &[u64]) {
        let slots = &slots[..slots.len().min(PROVIDERS_PER_CHAIN_MAX)];
        let was: Vec<_> = slots.iter().map(|slot| self.slots.iter().position(|old| old == slot)).collect();
        self.loads = was.iter().map(|was| was.map_or_else(Traffic::default, |was| self.loads[was])).collect();
        for row in self.rows.iter_mut().flatten() {
            row.cells = was.iter().map(|was| was.and_then(|was| row.cells[was].take())).collect();
            row.plan = Plan::default();
        }
        self.slots = slots.to_vec();
    }

    /// Goes by other numbers from now on; what is known stays.
    pub const fn configure(&mut self, config: RankingConfig) {
        self.config = config;
    }

    /// What a shard measured of one slot in one row since it last reported. Of a slot that is gone: nothing happens.
    pub fn merge(
        &mut self,
        now: Instant,
        shard: usize,
        slot: u64,
        row: RowIndex,
        answers_us: &Histogram<u32>,
        tally: &Tally,
    ) {
        let mut values = std::mem::take(&mut self.values);
        values.clear();
        values.extend(
            answers_us.iter_recorded().map(|value| {
                (answers_us.median_equivalent(value.value_iterated_to()), u64::from(value.count_at_value()))
            }),
        );
        self.merge_values(now, shard, slot, row, &values, tally);
        self.values = values;
    }

    /// The same from latencies in microseconds, each with its count.
    pub fn merge_values(
        &mut self,
        now: Instant,
        shard: usize,
        slot: u64,
        row: RowIndex,
        answers_us: &[(u64, u64)],
        tally: &Tally,
    ) {
        let Some(provider) = self.slots.iter().position(|&known| known == slot) else { return };
        let row = self.rows[row.index()].get_or_insert_with(|| Box::new(Row::new(self.slots.len())));
        row.calls += tally.attempts();
        row.plan.on_calls(shard.min(self.shards - 1), float(tally.attempts()));
        let cell = row.cells[provider].get_or_insert_with(|| Cell::new(now));
        cell.window.merge(now, answers_us, tally, &self.config);
        cell.tail.learn(&cell.window, &self.config);
        self.loads[provider].busy_us += answers_us.iter().map(|&(us, count)| float(us) * float(count)).sum::<f64>();
    }

    /// How many calls the whole node has under way at a slot; without it only the shards' own weigh in.
    pub fn on_in_flight(&mut self, slot: u64, in_flight: u64) {
        if let Some(provider) = self.slots.iter().position(|&known| known == slot) {
            self.loads[provider].in_flight = float(in_flight);
        }
    }

    /// The ranking as of now. `open` tells whether a position's provider can be sent calls.
    pub fn publish(&mut self, now: Instant, open: impl Fn(usize) -> bool) -> Ranking {
        let since_last = now.since(self.published);
        self.published = now;
        let mut ranking = Ranking::new(self.slots.len(), self.config.in_flight_doubles);
        let others = float(self.shards as u64 - 1) / float(self.shards as u64);
        for (provider, load) in self.loads.iter_mut().enumerate() {
            load.settle(since_last);
            ranking.set_load(provider, load.in_flight * others, load.usual, self.config.in_flight_doubles);
        }
        for (index, row) in self.rows.iter_mut().enumerate() {
            if let (Some(row), Some(index)) = (row, RowIndex::at(index)) {
                row.publish(now, since_last, index, &self.slots, &open, &self.config, &mut ranking);
            }
        }
        ranking
    }

    /// A method has been given `row`: it begins with what is known of its class, and departs from there.
    pub fn promote(&mut self, row: RowIndex, class: MethodClass) {
        let known = self.rows[RowIndex::from(class).index()].clone();
        self.rows[row.index()] = known;
    }

    /// The method that had `row` is ranked by its class again.
    pub fn send_back(&mut self, row: RowIndex) {
        self.rows[row.index()] = None;
    }

    /// The figures of a position's provider in a row; `None` while it is unknown.
    #[must_use]
    pub fn score(&self, now: Instant, row: RowIndex, provider: usize) -> Option<Score> {
        let cell = self.rows[row.index()].as_ref()?.cells.get(provider)?.as_ref()?;
        score::score(now, &cell.window, cell.tail, &self.config)
    }

    /// The mean latency of a slot's answers in a row, in microseconds; `None` where there is none.
    #[must_use]
    pub fn mean_us(&self, row: RowIndex, slot: u64) -> Option<f64> {
        let provider = self.slots.iter().position(|&known| known == slot)?;
        let cell = self.rows[row.index()].as_ref()?.cells.get(provider)?.as_ref()?;
        Some(cell.window.mean_us).filter(|&mean_us| mean_us > 0.0)
    }

    /// The slot that leads a row.
    #[must_use]
    pub fn leader(&self, row: RowIndex) -> Option<u64> {
        self.rows[row.index()].as_ref()?.leader
    }
}

impl Traffic {
    fn settle(&mut self, since_last: Duration) {
        let seconds = since_last.as_secs_f64().max(1e-3);
        let step = 1.0 - (-seconds / USUAL_S).exp();
        self.usual += (self.busy_us / 1e6 / seconds - self.usual) * step;
        self.busy_us = 0.0;
    }
}

impl Row {
    fn new(providers: usize) -> Self {
        Self { cells: (0..providers).map(|_| None).collect(), leader: None, plan: Plan::default(), calls: 0 }
    }

    #[allow(clippy::too_many_arguments)] // one moment's view of the board, taken apart
    fn publish(
        &mut self,
        now: Instant,
        since_last: Duration,
        index: RowIndex,
        slots: &[u64],
        open: &impl Fn(usize) -> bool,
        config: &RankingConfig,
        ranking: &mut Ranking,
    ) {
        let costs: Vec<_> =
            self.cells.iter().map(|cell| cell.as_ref().and_then(|cell| cell.cost(now, config))).collect();
        let leader = self.elect(&costs, slots, config);
        let calls = std::mem::take(&mut self.calls);
        let Some((leader, best)) = leader.and_then(|leader| Some((leader, costs[leader]?))) else { return };
        let prospect = |(provider, (cell, &cost)): (usize, (&Option<Cell>, _))| Prospect {
            cost,
            sampled: cell.as_ref().and_then(|cell| cell.window.sampled),
            attempts: cell.as_ref().map_or(0, |cell| cell.window.attempts),
            open: open(provider),
        };
        let prospects: Vec<_> = self.cells.iter().zip(&costs).enumerate().map(prospect).collect();
        let explore = self.plan.next(now, since_last, float(calls), best, &prospects, config);
        let entries = self.cells.iter().zip(&costs).enumerate().map(|(provider, (cell, cost))| {
            let favour = if provider == leader { 1.0 + config.hysteresis } else { 1.0 };
            cost.zip(cell.as_ref()).map_or(Entry::UNKNOWN, |(cost, cell)| Entry {
                cost_us: narrow(cost.us / favour),
                mean_us: narrow(cell.window.mean_us),
                p95_us: narrow(score::p95_us(&cell.window, config)),
                poor: cost.poor,
            })
        });
        ranking.set(index, entries, explore);
    }

    /// Who leads: the one before, unless another is clearly better. Who is poor leads only among the poor.
    fn elect(&mut self, costs: &[Option<Cost>], slots: &[u64], config: &RankingConfig) -> Option<usize> {
        let key = |provider: usize| costs[provider].map(|cost| (cost.poor, cost.us));
        let (best, (poor, best_us)) = (0..costs.len())
            .filter_map(|provider| Some((provider, key(provider)?)))
            .min_by(|(_, a), (_, b)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))?;
        let stays = |&provider: &usize| {
            key(provider).is_some_and(|(now_poor, us)| now_poor == poor && us <= best_us * (1.0 + config.hysteresis))
        };
        let before = self.leader.and_then(|leader| slots.iter().position(|&slot| slot == leader));
        let leader = before.filter(stays).unwrap_or(best);
        self.leader = Some(slots[leader]);
        Some(leader)
    }
}

impl Cell {
    fn new(now: Instant) -> Self {
        Self { window: Window::new(now), tail: Tail::default() }
    }

    fn cost(&self, now: Instant, config: &RankingConfig) -> Option<Cost> {
        score::cost(now, &self.window, self.tail, config)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ranking::Load;
    use super::*;

    const ROW: RowIndex = RowIndex::of_class(MethodClass::Read);

    fn ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn board(slots: &[u64]) -> Board {
        Board::new(ms(0), slots, 2, RankingConfig::default())
    }

    fn answers(board: &mut Board, at: Instant, slot: u64, took_ms: u64, count: u64) {
        let tally = Tally { answers: count, ..Tally::default() };
        board.merge_values(at, 0, slot, ROW, &[(took_ms * 1000, count)], &tally);
    }

    fn costs(board: &mut Board, at: Instant) -> Option<Vec<f32>> {
        board.publish(at, |_| true).row(ROW).map(|row| row.iter().map(|entry| entry.cost_us).collect())
    }

    #[test]
    fn nothing_is_said_before_anything_is_known() {
        let mut board = board(&[7, 9]);
        assert_eq!(costs(&mut board, ms(250)), None);
        answers(&mut board, ms(300), 9, 20, 5);
        let costs = costs(&mut board, ms(500)).expect("a row");
        assert!(costs[0] > 1e8 && costs[1] < 1e5, "{costs:?}");
        assert_eq!(board.leader(ROW), Some(9));
    }

    #[test]
    fn a_histogram_says_what_its_values_say() {
        let (mut one, mut other) = (board(&[1]), board(&[1]));
        let mut histogram = Histogram::new_with_bounds(1, 120_000_000, 2).expect("bounds");
        for took_us in [15_000, 20_000, 20_000, 31_000] {
            histogram.record(took_us).expect("within bounds");
        }
        let tally = Tally { answers: 4, ..Tally::default() };
        one.merge(ms(1), 0, 1, ROW, &histogram, &tally);
        other.merge_values(ms(1), 0, 1, ROW, &[(15_000, 1), (20_000, 2), (31_000, 1)], &tally);
        let cost = |board: &Board| board.score(ms(1), ROW, 0).map_or(0.0, |score| score.cost_us);
        assert!((cost(&one) / cost(&other) - 1.0).abs() < 0.02);
    }

    #[test]
    fn the_leader_stays_until_another_is_clearly_better() {
        // Latency of the second, beside 100 ms of the first → who leads.
        for (took_ms, leader) in [(100, 1), (98, 1), (90, 2)] {
            let mut board = board(&[1, 2]);
            answers(&mut board, ms(0), 1, 100, 400);
            board.publish(ms(0), |_| true);
            answers(&mut board, ms(1), 2, took_ms, 400);
            let costs = costs(&mut board, ms(250)).expect("a row");
            assert_eq!(board.leader(ROW), Some(leader), "{took_ms} ms");
            assert_eq!(costs[0] < costs[1], leader == 1, "shards see it: {costs:?}");
        }
    }

    #[test]
    fn a_reload_keeps_what_is_known_of_slots_that_stay() {
        let mut board = board(&[1, 2]);
        answers(&mut board, ms(0), 1, 10, 50);
        answers(&mut board, ms(0), 2, 20, 50);
        board.publish(ms(0), |_| true);
        board.place(&[3, 2, 1]);
        let costs = costs(&mut board, ms(250)).expect("a row");
        assert!(costs[0] > 1e8 && costs[2] < costs[1] && costs[1] < 1e5, "{costs:?}");
        answers(&mut board, ms(300), 99, 1, 50);
        assert_eq!(board.leader(ROW), Some(1));
    }

    #[test]
    fn a_promoted_method_begins_with_what_its_class_knows() {
        let own = RowIndex::promoted(0).expect("a row");
        let mut board = board(&[1, 2]);
        answers(&mut board, ms(0), 1, 10, 50);
        answers(&mut board, ms(0), 2, 20, 50);
        board.promote(own, MethodClass::Read);
        let ranking = board.publish(ms(250), |_| true);
        assert!(ranking.row(own).is_some() && ranking.row(own) == ranking.row(ROW));
        board.send_back(own);
        assert_eq!(board.publish(ms(500), |_| true).row(own), None);
    }

    #[test]
    fn the_usual_load_weighs_nothing() {
        let mut board = board(&[1]);
        // 200 calls a second of 100 ms: 20 under way.
        board.on_in_flight(1, 20);
        let mut load = Load { offset: 0.0, each: 0.0 };
        for tick in 1..=40 {
            answers(&mut board, ms(tick * 250), 1, 100, 50);
            load = board.publish(ms(tick * 250), |_| true).loads()[0];
        }
        assert!((-10.5..=-9.5).contains(&load.offset), "ten elsewhere, twenty usual: {load:?}");
        assert!((load.each * 84.0 - 1.0).abs() < 0.1);
    }
}
