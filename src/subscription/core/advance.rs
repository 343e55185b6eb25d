//! The movement: from what has been delivered towards the target, as far as what is known allows, asking for what is
//! not.
//!
//! It begins anew with each input and keeps nothing of its own: what is delivered, what is known and what is the target
//! say all. What is no longer wanted is thereby no longer asked for.

use super::{Action, Core, Emission, Feed};
use crate::limits::{GAP_BLOCKS_MAX, PUSH_SKEW_MAX};
use crate::subscription::block::BlockHash;
use crate::subscription::chain::{Knowledge, Path};
use crate::subscription::fetches::Fetch;
use crate::subscription::source::Order;
use crate::time::Instant;

impl Core {
    /// Goes as far as what is known allows, and asks for what is not.
    pub(super) fn turn(&mut self, now: Instant) {
        if self.is_closed {
            return;
        }
        self.fetches.forget_wants();
        self.advance(now);
        if let Some(epoch) = self.latest_of {
            self.want(now, Fetch::Latest { epoch });
        }
        self.fetches.drop_unwanted();
        if !self.chain.forget(self.target) {
            self.close("too much to remember");
        }
        self.watch(now);
        while let Some(order) = self.source.look(now).filter(|_| !self.is_closed) {
            self.actions.push_back(match order {
                Order::Subscribe { epoch, instead_of } => Action::Subscribe { epoch, instead_of },
                Order::Unsubscribe { epoch } => Action::Unsubscribe { epoch },
            });
        }
    }

    /// How long clients have been owed something, and whether the provider lags.
    fn watch(&mut self, now: Instant) {
        let tip = self.chain.tip();
        let is_heard = self.source.current.is_some_and(|current| current.caught_up);
        let is_there = tip.is_some() && self.target.is_none_or(|target| tip.is_some_and(|tip| tip.hash == target));
        let is_level = is_heard && is_there && self.is_certain;
        let lag = self.head_elsewhere.saturating_sub(tip.map_or(u64::MAX, |tip| tip.number));
        self.source.on_lag(now, is_level && lag > self.settings.lag_max);
        self.source.on_stuck(now, is_heard && self.fetches.has_failed());
        self.owing_since = if is_level { None } else { self.owing_since.or(Some(now)) };
        if self.owing_since.is_some_and(|since| now.since(since) >= self.settings.outage_max) {
            self.close("no provider could make good what was missed in time");
        }
    }

    fn advance(&mut self, now: Instant) {
        while let Some(target) = self.target.filter(|_| !self.chain.is_empty() && !self.is_closed) {
            match self.chain.path(target) {
                Path::Whole { keep, new } => {
                    if new.is_empty() {
                        // What it says is older than what has been told: it is behind, or says things twice.
                        self.target = self.target.filter(|_| keep == self.chain.delivered_blocks());
                        break;
                    }
                    return self.follow(now, keep, new);
                }
                Path::Missing { hash, number } => {
                    self.want_header(now, hash, number);
                    break;
                }
                Path::Below => {
                    let Some(floor) = self.chain.floor() else {
                        self.leave("a reorganisation deeper than what is remembered");
                        continue;
                    };
                    if !self.chain.deepen() {
                        if self.chain.block(floor).is_some() {
                            self.leave("the provider's blocks contradict each other");
                            continue;
                        }
                        self.want(now, Fetch::Header { hash: floor });
                        break;
                    }
                }
                Path::Impossible => self.leave("too many blocks were missed"),
            }
        }
        self.tell(now);
    }

    /// Takes back what is not on the path, and tells what is.
    fn follow(&mut self, now: Instant, keep: usize, new: Vec<BlockHash>) {
        for log in self.chain.take_back(keep) {
            self.emit(Emission::Removed(log));
        }
        let mut is_certain = self.tell(now);
        for hash in new {
            let Some(block) = self.chain.block(hash) else { return };
            let knowledge = block.knowledge;
            if self.settings.feed == Feed::Logs && knowledge == Knowledge::Some {
                self.want(now, Fetch::Logs { block: hash });
                is_certain = false;
            }
            if knowledge == Knowledge::All && is_certain {
                // Its logs must not be told before those that may still be pushed of the blocks below.
                if let Some(current) = self.source.current {
                    let last = current.pushed.map_or(Instant::START, |(_, at)| at);
                    self.chain.doubt_delivered_pushes(|at| last.since(at) >= PUSH_SKEW_MAX);
                }
                is_certain = self.tell(now);
            }
            if is_certain {
                self.append(hash);
                is_certain = self.tell(now);
            }
        }
    }

    fn append(&mut self, hash: BlockHash) {
        if self.settings.feed == Feed::Heads
            && let Some(block) = self.chain.block(hash)
        {
            block.knowledge = Knowledge::All;
        }
        self.chain.append(hash);
        self.has_left = false;
        self.source.on_progress();
        if self.settings.feed == Feed::Heads
            && let Some(header) = self.chain.tip().cloned()
        {
            self.emit(Emission::Head(header));
        }
    }

    /// Tells what is known and not told of what has been delivered, in order; whether that is all there is to tell.
    fn tell(&mut self, now: Instant) -> bool {
        self.is_certain = true;
        if self.settings.feed == Feed::Heads {
            return true;
        }
        let pushed = self.source.current.and_then(|current| Some((current.epoch, current.pushed?.1)));
        let mut told = Vec::new();
        let mut is_out_of_order = false;
        let mut is_settled = true;
        for position in self.chain.unsettled() {
            let Some(block) = self.chain.delivered(position) else { continue };
            is_out_of_order |= !told.is_empty() && block.told > 0;
            if let (Knowledge::Pushed { epoch, at }, Some((of, last))) = (block.knowledge, pushed)
                && epoch == of
                && last.since(at) >= PUSH_SKEW_MAX
            {
                block.knowledge = Knowledge::All;
            }
            let (hash, knowledge) = (block.header.hash, block.knowledge);
            if self.is_certain && knowledge != Knowledge::Some {
                told.extend(block.logs[block.told..].iter().cloned());
                block.told = block.logs.len();
            }
            is_settled &= self.is_certain && matches!(knowledge, Knowledge::All | Knowledge::Floor);
            if knowledge == Knowledge::Some {
                self.want(now, Fetch::Logs { block: hash });
                self.is_certain = false;
            } else if is_settled {
                self.chain.settle(position);
            }
        }
        if is_out_of_order {
            self.close("the provider's logs came out of order");
            return false;
        }
        for log in told {
            self.emit(Emission::Log(log));
        }
        self.is_certain
    }

    /// The block that is missing between the target and what has been delivered, and its number.
    pub(super) fn missing(&self) -> Option<(BlockHash, u64)> {
        match self.chain.path(self.target?) {
            Path::Missing { hash, number } => Some((hash, number)),
            _ => None,
        }
    }

    /// Several at once by their numbers where there is a gap; by hash where that does not lead to it.
    fn want_header(&mut self, now: Instant, hash: BlockHash, number: u64) {
        let delivered = self.chain.tip().map_or(0, |tip| tip.number);
        let gap = number.saturating_sub(delivered);
        if gap > GAP_BLOCKS_MAX as u64 {
            return self.leave("too many blocks were missed");
        }
        self.want(
            now,
            if gap >= 2 && self.not_by_number != Some(hash) {
                Fetch::Headers { from: delivered + 1, to: number }
            } else {
                Fetch::Header { hash }
            },
        );
    }
}
