//! The chain, and how each provider sees it.

use std::collections::{BTreeMap, BTreeSet};

use crate::routing::Random;
use crate::subscription::{BlockHash, Header, Log, Raw};

/// Even draws.
pub(super) fn below(random: &mut Random, bound: u64) -> u64 {
    random.next_u64() % bound
}

pub(super) fn chance(random: &mut Random, in_thousand: u64) -> bool {
    below(random, 1000) < in_thousand
}

#[derive(Debug)]
pub(super) struct Block {
    pub(super) header: Header,
    pub(super) logs: Vec<Log>,
}

#[derive(Debug)]
pub(super) struct Provider {
    pub(super) head: BlockHash,
    pub(super) seen: BTreeSet<BlockHash>,
    pub(super) is_up: bool,
    /// How late it sees a block, in ms.
    pub(super) delay_ms: u64,
    /// Of several new blocks it pushes all heads, as some nodes do, or the last one only.
    pub(super) pushes_all: bool,
    /// Instead of its head it tells of blocks so far above it, whose parents nobody knows: of another chain.
    pub(super) strays: Option<u64>,
}

#[derive(Debug)]
pub(super) struct World {
    blocks: BTreeMap<BlockHash, Block>,
    /// By number.
    pub(super) canonical: Vec<BlockHash>,
    /// The tip of the branch that was left last.
    left: Option<BlockHash>,
    pub(super) providers: Vec<Provider>,
    made: u64,
    pub(super) reorganisations: u64,
}

impl World {
    pub(super) fn new(random: &mut Random) -> Self {
        let genesis = BlockHash([0; 32]);
        let header = Header { hash: genesis, parent: BlockHash([0xff; 32]), number: 0, raw: Raw::from(&b"0"[..]) };
        let mut world = Self {
            blocks: BTreeMap::from([(genesis, Block { header, logs: Vec::new() })]),
            canonical: vec![genesis],
            left: None,
            providers: Vec::new(),
            made: 0,
            reorganisations: 0,
        };
        for _ in 0..10 {
            let block = world.make(world.head(), random);
            world.canonical.push(block);
        }
        for _ in 0..2 + below(random, 3) {
            world.providers.push(Provider {
                head: world.head(),
                seen: world.canonical.iter().copied().collect(),
                is_up: true,
                delay_ms: 20 + below(random, 400),
                pushes_all: chance(random, 500),
                strays: None,
            });
        }
        world
    }

    pub(super) fn head(&self) -> BlockHash {
        self.canonical[self.canonical.len() - 1]
    }

    pub(super) fn block(&self, hash: BlockHash) -> &Block {
        &self.blocks[&hash]
    }

    pub(super) fn number(&self, hash: BlockHash) -> u64 {
        self.block(hash).header.number
    }

    /// A new block on top of `parent`, with a log or two.
    pub(super) fn make(&mut self, parent: BlockHash, random: &mut Random) -> BlockHash {
        self.made += 1;
        let mut hash = BlockHash([0; 32]);
        hash.0[..8].copy_from_slice(&self.made.to_be_bytes());
        let number = self.number(parent) + 1;
        let logs = (0..below(random, 4)).map(|n| {
            let raw = Raw::from(format!("log {number}.{n}").as_bytes());
            Log { block: hash, index: 3 * n + below(random, 3), raw }
        });
        let header = Header { hash, parent, number, raw: Raw::from(format!("head {number}").as_bytes()) };
        let block = Block { header, logs: logs.collect() };
        self.blocks.insert(hash, block);
        hash
    }

    /// A block so far above the head that has nothing to do with the chain, but may say that the head is its parent.
    pub(super) fn make_stray(&mut self, ahead: u64, random: &mut Random) -> BlockHash {
        let (head, number) = (self.head(), self.number(self.head()) + ahead);
        let hash = self.make(head, random);
        if let Some(block) = self.blocks.get_mut(&hash) {
            block.header.number = number;
            if ahead != 1 {
                block.header.parent.0[8..].copy_from_slice(&[0xee; 24]);
            }
        }
        hash
    }

    /// The chain moves: mostly by a block, sometimes onto another branch, or back onto the one it left.
    pub(super) fn step(&mut self, is_calm: bool, random: &mut Random) {
        let head = self.head();
        let deep = self.canonical.len() as u64 - 8;
        if let Some(left) = self.left.filter(|_| !is_calm && chance(random, 300)) {
            let tip = self.make(left, random);
            self.adopt(tip);
        } else if !is_calm && deep > 0 && chance(random, 120) {
            let depth = 1 + below(random, 4) as usize;
            // As long as the one that is left, longer or shorter.
            let length = (depth as u64 + below(random, 3)).saturating_sub(1).max(1);
            let mut tip = self.canonical[self.canonical.len() - 1 - depth];
            for _ in 0..length {
                tip = self.make(tip, random);
            }
            self.adopt(tip);
            self.left = Some(head);
        } else {
            for _ in 0..=below(random, 2) * below(random, 2) {
                let tip = self.make(self.head(), random);
                self.adopt(tip);
            }
        }
    }

    fn adopt(&mut self, tip: BlockHash) {
        self.left = None;
        let mut branch = Vec::new();
        let mut next = tip;
        while self.canonical.get(self.number(next) as usize) != Some(&next) {
            branch.push(next);
            next = self.block(next).header.parent;
        }
        let keep = self.number(next) as usize + 1;
        self.reorganisations += u64::from(keep < self.canonical.len());
        self.canonical.truncate(keep);
        branch.reverse();
        self.canonical.extend(branch);
    }

    /// A provider's head changes: the blocks that are new on its chain, ascending.
    pub(super) fn sees(&mut self, provider: usize, head: BlockHash) -> Vec<BlockHash> {
        let (mut new, mut next, mut old) = (Vec::new(), head, self.providers[provider].head);
        while next != old {
            let (next_number, old_number) = (self.number(next), self.number(old));
            if next_number >= old_number {
                new.push(next);
                next = self.block(next).header.parent;
            }
            if old_number >= next_number {
                old = self.block(old).header.parent;
            }
        }
        new.reverse();
        let provider = &mut self.providers[provider];
        provider.head = head;
        provider.seen.extend(new.iter().copied());
        new
    }

    /// Some of a block's ancestors, and it: ascending. No branch is longer.
    pub(super) fn chain_of(&self, head: BlockHash) -> Vec<BlockHash> {
        let mut chain = vec![head];
        let mut next = head;
        while chain.len() < 200 && self.number(next) > 0 {
            next = self.block(next).header.parent;
            chain.push(next);
        }
        chain.reverse();
        chain
    }
}
