//! Methods of one chain that are ranked by themselves: what shards measured by method, on its way to `Promotions`.
//!
//! A shard's row tells, beside all else, how long the calls of each method took on average. That is held against the mean
//! of the class at the same provider, as the board knows it; which difference is enough, `routing::promote` decides every
//! few seconds. A method that gets a row begins there with what its class knows.
//!
//! `Promotions` knows methods by number: here they get one each, in the order in which they come. They are at most as
//! many as the table of known methods has; unknown ones are the client's words and get none.

use std::time::Duration;

use crate::jsonrpc::MethodInfo;
use crate::link::MethodSum;
use crate::routing::{Board, Promotions, RankingConfig, RowIndex};
use crate::time::Instant;

/// How often rows change hands at most: means over less than this are noise, and shards hear of it by a ranking anyway.
const DECIDE_EVERY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct OwnRows {
    promotions: Promotions,
    /// By number.
    methods: Vec<&'static MethodInfo>,
    decided: Instant,
}

impl OwnRows {
    pub(super) fn new(now: Instant) -> Self {
        Self { promotions: Promotions::default(), methods: Vec::new(), decided: now }
    }

    /// The row that a method is ranked by.
    pub(super) fn row_of(&self, method: &'static MethodInfo) -> RowIndex {
        match self.methods.iter().position(|&known| std::ptr::eq(known, method)) {
            Some(number) => self.promotions.row(small(number), method.class),
            None => method.class.into(),
        }
    }

    /// What methods took at a slot, against what `board` knows of their classes there.
    pub(super) fn weigh(&mut self, board: &Board, slot: u64, sums: &[MethodSum]) {
        for sum in sums {
            let Some(usual_us) = board.mean_us(sum.method.class.into(), slot) else { continue };
            let number = self.number(sum.method);
            self.promotions.on_calls(number, slot, sum.calls, (mean_us(sum) / usual_us).ln());
        }
    }

    /// Gives rows and takes them back when it is time.
    pub(super) fn decide(&mut self, now: Instant, board: &mut Board, config: &RankingConfig) {
        if now.since(self.decided) < DECIDE_EVERY {
            return;
        }
        self.decided = now;
        for row in self.promotions.decide(now, config) {
            board.send_back(row);
            if let Some((method, _)) = self.rows().find(|&(_, own)| own == row) {
                board.promote(row, method.class);
            }
        }
    }

    /// Methods that have a row of their own.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&'static MethodInfo, RowIndex)> {
        self.promotions.promoted().iter().enumerate().filter_map(|(position, number)| {
            Some((*self.methods.get(usize::from((*number)?))?, RowIndex::promoted(position)?))
        })
    }

    fn number(&mut self, method: &'static MethodInfo) -> u16 {
        let known = self.methods.iter().position(|&known| std::ptr::eq(known, method));
        let number = known.unwrap_or_else(|| {
            self.methods.push(method);
            self.methods.len() - 1
        });
        small(number)
    }
}

/// Above zero, so that its logarithm is a number. A row's sums stay far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn mean_us(sum: &MethodSum) -> f64 {
    sum.latency_us.max(1) as f64 / f64::from(sum.calls.max(1))
}

/// There are some hundred known methods.
fn small(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::info;
    use crate::routing::Tally;

    const SLOT: u64 = 7;

    fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    /// A second of 50 calls each of a cheap and a dear method of one class, as a shard reports them.
    fn report(own: &mut OwnRows, board: &mut Board, at: Instant, dear_ms: u64) {
        let (cheap, dear) = (info("eth_getBalance"), info("eth_getBlockByNumber"));
        assert_eq!(cheap.class, dear.class);
        let sum = |method, took_ms: u64| MethodSum { method, calls: 50, latency_us: 50 * took_ms * 1000 };
        let sums = [sum(cheap, 10), sum(dear, dear_ms)];
        // One row of both, unless one of them has its own.
        let rows: Vec<_> = match sums.map(|sum| own.row_of(sum.method)) {
            [one, other] if one == other => vec![(one, &sums[..])],
            [one, other] => vec![(one, &sums[..1]), (other, &sums[1..])],
        };
        for (row, sums) in rows {
            let values: Vec<_> = sums.iter().map(|sum| (sum.latency_us / 50, 50)).collect();
            let tally = Tally { answers: 50 * sums.len() as u64, ..Tally::default() };
            board.merge_values(at, 0, SLOT, row, &values, &tally);
            own.weigh(board, SLOT, sums);
        }
        own.decide(at, board, &RankingConfig::DEFAULT);
    }

    #[test]
    fn a_method_that_is_not_like_its_class_is_ranked_by_itself_until_it_is() {
        let dear = info("eth_getBlockByNumber");
        let mut board = Board::new(secs(0), &[SLOT], 1, RankingConfig::DEFAULT);
        let mut own = OwnRows::new(secs(0));
        (1..30).for_each(|at| report(&mut own, &mut board, secs(at), 12));
        assert_eq!(own.rows().count(), 0, "a little dearer");
        (30..60).for_each(|at| report(&mut own, &mut board, secs(at), 100));
        let apart: Vec<_> = own.rows().map(|(method, _)| method.name).collect();
        assert!(!apart.is_empty(), "ten times as dear");
        // Which of the two has left the class, the other is the class.
        let of = |name| board.mean_us(own.row_of(info(name)), SLOT).unwrap_or_default();
        let (cheap_us, dear_us) = (of("eth_getBalance"), of(dear.name));
        assert!(cheap_us < 15_000.0 && dear_us > 60_000.0, "{apart:?}: {cheap_us} {dear_us}");
        (60..2000).for_each(|at| report(&mut own, &mut board, secs(at), 10));
        assert_eq!(own.rows().count(), 0, "like its class again");
        assert_eq!(own.row_of(dear), dear.class.into());
    }

    #[test]
    fn what_nobody_knows_of_its_class_is_not_weighed() {
        let board = Board::new(secs(0), &[SLOT], 1, RankingConfig::DEFAULT);
        let mut own = OwnRows::new(secs(0));
        own.weigh(&board, SLOT, &[MethodSum { method: info("eth_call"), calls: 5, latency_us: 0 }]);
        assert!(own.methods.is_empty());
    }
}
