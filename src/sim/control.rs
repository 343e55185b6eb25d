//! The node's control as far as it decides: what shards report becomes a ranking, as in `control/rank.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::node::{Cell, Shard};
use super::settings::Settings;
use crate::jsonrpc::MethodClass;
use crate::routing::{Board, Gate, ROWS_MAX, Ranking, RowIndex, Standing, Tally};
use crate::time::Instant;

pub(super) struct Control {
    board: Board,
    providers: usize,
    /// In microseconds, by row and provider; 0 where nothing is known.
    p95_us: Vec<f64>,
}

impl Control {
    pub(super) fn new(providers: usize, shards: usize, settings: &Settings) -> Self {
        let slots: Vec<_> = (0..providers as u64).collect();
        Self {
            board: Board::new(Instant::START, &slots, shards, settings.ranking),
            providers,
            p95_us: vec![0.0; ROWS_MAX * providers],
        }
    }

    /// The rows of shard `number` arrive.
    pub(super) fn merge(&mut self, now: Instant, number: usize, shard: &mut Shard) {
        for (index, cell) in shard.cells.iter_mut().enumerate() {
            let Cell { answers_us, tally } = cell;
            let Some(row) = RowIndex::at(index / self.providers).filter(|_| *tally != Tally::default()) else {
                continue;
            };
            self.board.merge_values(now, number, (index % self.providers) as u64, row, answers_us, tally);
            answers_us.clear();
            *tally = Tally::default();
        }
    }

    /// Control's word, as of now.
    pub(super) fn publish(&mut self, now: Instant, shards: &[Shard], standings: &[Standing]) -> Arc<Ranking> {
        for provider in 0..self.providers {
            let in_flight = shards.iter().map(|shard| u64::from(shard.in_flight[provider])).sum();
            self.board.on_in_flight(provider as u64, in_flight);
        }
        let ranking = self.board.publish(now, |provider| standings[provider].gate(now) == Gate::Open);
        for row in MethodClass::ALL.map(RowIndex::from).into_iter().filter(|&row| ranking.row(row).is_some()) {
            for provider in 0..self.providers {
                let score = self.board.score(now, row, provider);
                self.p95_us[row.index() * self.providers + provider] = score.map_or(0.0, |score| score.p95_us);
            }
        }
        Arc::new(ranking)
    }

    /// See [`Node`](super::node::Node).
    pub(super) fn p95(&self, row: RowIndex, provider: usize) -> Option<Duration> {
        let p95_us = self.p95_us[row.index() * self.providers + provider];
        (p95_us > 0.0).then(|| Duration::from_secs_f64(p95_us / 1e6))
    }
}
