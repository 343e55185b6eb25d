//! The node's control as far as it decides: what shards report becomes a ranking, as in `control/rank.rs`.

use std::sync::Arc;

use super::node::{Cell, Shard};
use super::own_rows::{OwnRows, Sums};
use super::ratio::Ratios;
use super::settings::Settings;
use super::watch::Watch;
use crate::jsonrpc::MethodClass;
use crate::routing::{Board, Footing, Gate, Random, Ranking, Standing, Tally, Transition};
use crate::time::Instant;

pub(super) struct Control {
    board: Board,
    settings: Settings,
    pub(super) own: OwnRows,
    ratios: Ratios,
    /// For the moments of retry.
    random: Random,
    providers: usize,
    /// Calls under way, by shard and provider, as shards last told.
    gauges: Vec<Vec<u32>>,
    /// Clients' calls that each provider has answered.
    pub(super) answered: Vec<u64>,
}

impl Control {
    pub(super) fn new(providers: usize, shards: usize, settings: &Settings) -> Self {
        let slots: Vec<_> = (0..providers as u64).collect();
        Self {
            board: Board::new(Instant::START, &slots, shards, settings.ranking),
            settings: *settings,
            own: OwnRows::default(),
            ratios: Ratios::new(providers, settings.ratio_window),
            random: Random::new(7),
            providers,
            gauges: vec![vec![0; providers]; shards],
            answered: vec![0; providers],
        }
    }

    /// The rows of shard `number` arrive.
    pub(super) fn merge(&mut self, now: Instant, number: usize, shard: &mut Shard) {
        self.gauges[number].clone_from(&shard.in_flight);
        for (index, cell) in shard.cells.iter_mut().enumerate() {
            let Cell { answers_us, tally, sums } = cell;
            if *tally == Tally::default() {
                continue;
            }
            let (kind, provider) = (index / self.providers, index % self.providers);
            let row = match kind.checked_sub(MethodClass::ALL.len()) {
                // One that lost its row since goes into its class's.
                Some(method) => self.own.row_of(method),
                None => MethodClass::ALL[kind].into(),
            };
            self.board.merge_values(now, number, provider as u64, row, answers_us, tally);
            self.answered[provider] += tally.answers + tally.errors;
            self.ratios.add(now, provider, tally);
            self.own.weigh(&self.board, provider, sums);
            answers_us.clear();
            (*tally, *sums) = (Tally::default(), Sums::default());
        }
    }

    /// Opens the breakers of those that fail too much, while another can be asked; answers which, and how that changed them.
    pub(super) fn judge(&mut self, now: Instant, standings: &[Standing], watch: &Watch) -> Vec<(usize, Transition)> {
        let mut opened = Vec::new();
        for (provider, standing) in standings.iter().enumerate() {
            let spare = (0..self.providers).any(|other| other != provider && is_open(now, other, standings, watch));
            let Some(closed) = standing.closed_at().filter(|_| spare) else { continue };
            let Some(counts) = self.ratios.counts(now, provider, closed) else { continue };
            let change = standing.on_counts(now, &counts, &self.settings.standing, self.random.next_u64());
            opened.extend(change.map(|change| (provider, change)));
        }
        opened
    }

    /// Control's word, as of now.
    pub(super) fn publish(&mut self, now: Instant, standings: &[Standing], watch: &Watch) -> Arc<Ranking> {
        for provider in 0..self.providers {
            let in_flight = self.gauges.iter().map(|shard| u64::from(shard[provider])).sum();
            self.board.on_in_flight(provider as u64, in_flight);
        }
        self.own.decide(now, &mut self.board, &self.settings.ranking);
        let mut ranking = self.board.publish(now, |provider| is_explored(now, provider, standings, watch));
        ranking.set_own(self.own.rows());
        Arc::new(ranking)
    }
}

/// Whether calls can be sent to it.
fn is_open(now: Instant, provider: usize, standings: &[Standing], watch: &Watch) -> bool {
    standings[provider].gate(now) == Gate::Open && watch.footing(provider) != Footing::WrongChain
}

/// Whether a call sent to it for the evidence alone would get there. Narrower than `is_open` of `control/rank.rs`, by which a
/// provider that is out of step is granted calls that no shard sends it: in vain, each time with twice the wait, so that it
/// is not seen for long once it is back (seed 2050, 60 s).
fn is_explored(now: Instant, provider: usize, standings: &[Standing], watch: &Watch) -> bool {
    standings[provider].gate(now) == Gate::Open && watch.footing(provider) == Footing::InStep
}
