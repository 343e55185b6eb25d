//! The chain that has been delivered, and the blocks beside it that are known: bounded.
//!
//! `delivered` is a run of blocks, each the parent of the next: what a client that applied all it was told holds.
//! Beside it are blocks that are on their way into it, or were in it once, so that a reorganisation back fetches little
//! twice. The oldest are forgotten first; a reorganisation below what is remembered cannot be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::block::{BlockHash, Header, Log};
use super::source::Epoch;
use crate::limits::{GAP_BLOCKS_MAX, WINDOW_BLOCKS_MAX, WINDOW_BYTES_MAX};
use crate::time::Instant;

/// What is known of a block's logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// Some may be missing: to be fetched.
    Some,
    /// Its provider pushes them as they come.
    Pushed {
        epoch: Epoch,
        at: Instant,
    },
    All,
    /// Of no interest: the stream began above it.
    Floor,
}

#[derive(Debug)]
pub(super) struct Block {
    pub(super) header: Header,
    /// Ascending by index.
    pub(super) logs: Vec<Log>,
    pub(super) knowledge: Knowledge,
    /// Of its logs, so many have been told.
    pub(super) told: usize,
}

/// How a block hangs together with what has been delivered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// So many of the delivered stay; these follow.
    Whole { keep: usize, new: Vec<BlockHash> },
    /// This block, of this number, is needed first.
    Missing { hash: BlockHash, number: u64 },
    /// It branches off below the oldest that is remembered.
    Below,
    /// Longer than is ever filled, or of blocks whose numbers contradict each other.
    Impossible,
}

/// A log came after one that it stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfOrder;

#[derive(Debug, Default)]
pub(super) struct Chain {
    known: BTreeMap<BlockHash, Block>,
    delivered: VecDeque<BlockHash>,
    /// So many of the oldest are known whole and told, and need not be looked at.
    settled: usize,
    bytes: usize,
    /// Blocks that were delivered have been forgotten.
    trimmed: bool,
}

/// Memory of a block or a log besides its bytes, about.
const OVERHEAD_BYTES: usize = 128;

impl Chain {
    pub(super) fn is_empty(&self) -> bool {
        self.delivered.is_empty()
    }

    pub(super) fn tip(&self) -> Option<&Header> {
        self.delivered.back().and_then(|hash| self.known.get(hash)).map(|block| &block.header)
    }

    fn oldest(&self) -> Option<&Header> {
        self.delivered.front().and_then(|hash| self.known.get(hash)).map(|block| &block.header)
    }

    pub(super) fn block(&mut self, hash: BlockHash) -> Option<&mut Block> {
        self.known.get_mut(&hash)
    }

    /// Remembers a block; one that is known stays as it is.
    pub(super) fn learn(&mut self, header: Header) -> &mut Block {
        let bytes = header.raw.len() + OVERHEAD_BYTES;
        let total = &mut self.bytes;
        self.known.entry(header.hash).or_insert_with(|| {
            *total += bytes;
            Block { header, logs: Vec::new(), knowledge: Knowledge::Some, told: 0 }
        })
    }

    /// Adds to what is known of a block's logs.
    pub(super) fn learn_logs(&mut self, hash: BlockHash, logs: Vec<Log>) -> Result<(), OutOfOrder> {
        if !logs.is_empty()
            && let Some(at) = self.position(hash)
        {
            self.settled = self.settled.min(at);
        }
        let block = self.known.get_mut(&hash).filter(|block| block.knowledge != Knowledge::Floor);
        let Some(block) = block else { return Ok(()) };
        for log in logs {
            let Err(at) = block.logs.binary_search_by_key(&log.index, |known| known.index) else { continue };
            if at < block.told {
                return Err(OutOfOrder);
            }
            self.bytes += log.raw.len() + OVERHEAD_BYTES;
            block.logs.insert(at, log);
        }
        Ok(())
    }

    /// Whether `logs`, said to be all of a block's, has those that are known of it.
    pub(super) fn has_all_known(&self, hash: BlockHash, logs: &[Log]) -> bool {
        let known = self.known.get(&hash).map_or(&[][..], |block| &block.logs);
        // In a set: a block of a busy filter has thousands.
        let said: BTreeSet<u64> = logs.iter().map(|log| log.index).collect();
        known.iter().all(|log| said.contains(&log.index))
    }

    /// Where in the delivered run a block stands.
    pub(super) fn position(&self, hash: BlockHash) -> Option<usize> {
        let number = self.known.get(&hash)?.header.number;
        let at = usize::try_from(number.checked_sub(self.oldest()?.number)?).ok()?;
        (self.delivered.get(at) == Some(&hash)).then_some(at)
    }

    /// Positions of delivered blocks of which there may be something to tell.
    pub(super) fn unsettled(&self) -> std::ops::Range<usize> {
        self.settled..self.delivered.len()
    }

    /// Nothing is to be told of the delivered block at this position and those below, until more is learned.
    pub(super) fn settle(&mut self, position: usize) {
        self.settled = self.settled.max(position + 1);
    }

    pub(super) fn delivered_blocks(&self) -> usize {
        self.delivered.len()
    }

    /// A delivered block, by its position.
    pub(super) fn delivered(&mut self, position: usize) -> Option<&mut Block> {
        self.known.get_mut(self.delivered.get(position)?)
    }

    /// How `target`, which is known, hangs together with the delivered run, which is not empty.
    pub(super) fn path(&self, target: BlockHash) -> Path {
        let (Some(oldest), mut new) = (self.oldest(), Vec::new()) else { return Path::Impossible };
        let mut hash = target;
        let mut number = None;
        loop {
            if let Some(at) = self.position(hash) {
                new.reverse();
                return Path::Whole { keep: at + 1, new };
            }
            if number.is_some_and(|number| number <= oldest.number) {
                return Path::Below;
            }
            let Some(block) = self.known.get(&hash) else {
                return number.map_or(Path::Impossible, |number| Path::Missing { hash, number });
            };
            let header = &block.header;
            if header.number <= oldest.number {
                return Path::Below;
            }
            if number.is_some_and(|number| number != header.number) || new.len() >= GAP_BLOCKS_MAX {
                return Path::Impossible;
            }
            new.push(hash);
            hash = header.parent;
            number = Some(header.number - 1);
        }
    }

    /// The block that everything begins with: clients are told what comes after it.
    pub(super) fn begin(&mut self, header: Header) {
        debug_assert!(self.is_empty(), "a stream begins once");
        let hash = header.hash;
        self.learn(header);
        self.make_floor(hash);
        self.delivered.push_back(hash);
    }

    /// The parent of the oldest, where the run may be lengthened downwards: what lies there was never told.
    pub(super) fn floor(&self) -> Option<BlockHash> {
        let oldest = self.oldest().filter(|oldest| oldest.number > 0)?;
        (!self.trimmed && self.delivered.len() < GAP_BLOCKS_MAX).then_some(oldest.parent)
    }

    /// Lengthens the run downwards, once the floor is known.
    pub(super) fn deepen(&mut self) -> bool {
        let Some(floor) = self.floor() else { return false };
        let number = self.oldest().map_or(0, |oldest| oldest.number);
        if self.known.get(&floor).is_none_or(|block| block.header.number.checked_add(1) != Some(number)) {
            return false;
        }
        self.make_floor(floor);
        self.delivered.push_front(floor);
        self.settled += 1;
        true
    }

    /// What was heard of its logs is not to be told.
    fn make_floor(&mut self, hash: BlockHash) {
        if let Some(block) = self.known.get_mut(&hash) {
            self.bytes -= block.logs.drain(..).map(|log| log.raw.len() + OVERHEAD_BYTES).sum::<usize>();
            block.knowledge = Knowledge::Floor;
        }
    }

    pub(super) fn append(&mut self, hash: BlockHash) {
        self.delivered.push_back(hash);
    }

    /// Takes back all but the first `keep`: the logs of theirs that were told, in order.
    pub(super) fn take_back(&mut self, keep: usize) -> Vec<Log> {
        let mut removed = Vec::new();
        self.settled = self.settled.min(keep);
        for hash in self.delivered.drain(keep.min(self.delivered.len())..) {
            if let Some(block) = self.known.get_mut(&hash) {
                removed.extend(block.logs[..block.told].iter().cloned());
                block.told = 0;
                if block.knowledge == Knowledge::Floor {
                    block.knowledge = Knowledge::Some;
                }
            }
        }
        removed
    }

    /// What was pushed is no longer relied on, but for what surely was pushed whole.
    pub(super) fn doubt_pushes(&mut self, is_whole: impl Fn(Epoch, Instant) -> bool) {
        for block in self.known.values_mut() {
            if let Knowledge::Pushed { epoch, at } = block.knowledge {
                block.knowledge = if is_whole(epoch, at) { Knowledge::All } else { Knowledge::Some };
            }
        }
    }

    /// The same of what has been delivered alone: something is to be told behind it.
    pub(super) fn doubt_delivered_pushes(&mut self, is_whole: impl Fn(Instant) -> bool) {
        for hash in &self.delivered {
            if let Some(block) = self.known.get_mut(hash)
                && let Knowledge::Pushed { at, .. } = block.knowledge
            {
                block.knowledge = if is_whole(at) { Knowledge::All } else { Knowledge::Some };
            }
        }
    }

    /// Forgets what is beyond bounds, but nothing on the way to `target`. False: even so it is too much.
    pub(super) fn forget(&mut self, target: Option<BlockHash>) -> bool {
        let mut whole = true;
        while self.delivered.len() > WINDOW_BLOCKS_MAX {
            whole &= self.forget_oldest();
        }
        if self.known.len() > 2 * WINDOW_BLOCKS_MAX || self.bytes > WINDOW_BYTES_MAX {
            self.forget_side(target);
        }
        while self.bytes > WINDOW_BYTES_MAX && self.delivered.len() > 1 {
            whole &= self.forget_oldest();
        }
        whole && self.bytes <= WINDOW_BYTES_MAX
    }

    /// Whether all of its logs had been told.
    fn forget_oldest(&mut self) -> bool {
        let Some(block) = self.delivered.pop_front().and_then(|hash| self.known.remove(&hash)) else { return true };
        self.trimmed = true;
        self.settled = self.settled.saturating_sub(1);
        self.bytes -= bytes_of(&block);
        block.knowledge != Knowledge::Some
    }

    /// Forgets what has not been delivered, but nothing on the way to `target`.
    pub(super) fn forget_side(&mut self, target: Option<BlockHash>) {
        let mut kept: Vec<BlockHash> = self.delivered.iter().copied().collect();
        let mut next = target;
        while let Some(block) = next.and_then(|hash| self.known.get(&hash)) {
            if kept.len() > WINDOW_BLOCKS_MAX + GAP_BLOCKS_MAX {
                break;
            }
            kept.push(block.header.hash);
            next = Some(block.header.parent);
        }
        kept.sort_unstable();
        self.known.retain(|hash, _| kept.binary_search(hash).is_ok());
        self.bytes = self.known.values().map(bytes_of).sum();
    }
}

fn bytes_of(block: &Block) -> usize {
    let logs: usize = block.logs.iter().map(|log| log.raw.len() + OVERHEAD_BYTES).sum();
    block.header.raw.len() + OVERHEAD_BYTES + logs
}
