//! Methods that are ranked by themselves, as `control/own_rows.rs` has it: what each took against its class, into the
//! real `Promotions`, every few seconds. A method's number is its position in [`METHODS`].

use std::time::Duration;

use super::world::METHODS;
use crate::jsonrpc::MethodInfo;
use crate::routing::{Board, Promotions, RankingConfig, RowIndex};
use crate::time::Instant;

const DECIDE_EVERY: Duration = Duration::from_secs(5);

/// Answers by method: how many, and how long they took together.
pub(super) type Sums = [(u32, u64); METHODS.len()];

#[derive(Default)]
pub(super) struct OwnRows {
    promotions: Promotions,
    decided: Instant,
}

impl OwnRows {
    pub(super) fn row_of(&self, method: usize) -> RowIndex {
        self.promotions.row(method as u16, METHODS[method].info().class)
    }

    pub(super) fn weigh(&mut self, board: &Board, provider: usize, sums: &Sums) {
        for (method, &(calls, took_us)) in sums.iter().enumerate().filter(|(_, (calls, _))| *calls > 0) {
            let usual_us = board.mean_us(METHODS[method].info().class.into(), provider as u64);
            let Some(usual_us) = usual_us else { continue };
            let mean_us = took_us as f64 / f64::from(calls);
            self.promotions.on_calls(method as u16, provider as u64, calls, (mean_us / usual_us).ln());
        }
    }

    pub(super) fn decide(&mut self, now: Instant, board: &mut Board, config: &RankingConfig) {
        if now.since(self.decided) < DECIDE_EVERY {
            return;
        }
        self.decided = now;
        for row in self.promotions.decide(now, config) {
            board.send_back(row);
            if let Some((method, _)) = self.rows().into_iter().find(|&(_, own)| own == row) {
                board.promote(row, method.class);
            }
        }
    }

    pub(super) fn rows(&self) -> Vec<(&'static MethodInfo, RowIndex)> {
        let own = self.promotions.promoted().iter().enumerate();
        own.filter_map(|(position, method)| {
            Some((METHODS[usize::from((*method)?)].info(), RowIndex::promoted(position)?))
        })
        .collect()
    }
}
