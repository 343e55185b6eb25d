//! A client that applies what it is told, and knows when that makes no sense.

use super::outbox::Outbox;
use super::world::World;
use crate::subscription::{BlockHash, Emission, Feed, Header, Log};

#[derive(Debug)]
pub(super) struct Client {
    pub(super) outbox: Outbox<Emission>,
    /// Items that it reads each 100 ms.
    pub(super) reads: u64,
    base: Header,
    heads: Vec<Header>,
    logs: Vec<(u64, Log)>,
}

impl Client {
    pub(super) fn new(base: Header, reads: u64, items_max: usize) -> Self {
        Self { outbox: Outbox::new(items_max, usize::MAX), reads, heads: vec![base.clone()], base, logs: Vec::new() }
    }

    pub(super) fn read(&mut self, world: &World, count: u64) {
        for _ in 0..count {
            match self.outbox.pop() {
                Some(Emission::Head(header)) => self.on_head(header),
                Some(Emission::Log(log)) => self.on_log(world, log),
                Some(Emission::Removed(log)) => self.on_removed(&log),
                None => return,
            }
        }
    }

    fn on_head(&mut self, header: Header) {
        let tip = self.heads.last().map(|tip| tip.hash);
        assert!(tip != Some(header.hash), "a head twice: {header:?}");
        let keep = self.heads.iter().rposition(|head| head.hash == header.parent);
        assert!(keep.is_some() || header.number <= self.heads[0].number, "a head out of the blue: {header:?}");
        self.heads.truncate(keep.map_or(0, |at| at + 1));
        self.heads.push(header);
    }

    fn on_log(&mut self, world: &World, log: Log) {
        let number = world.number(log.block);
        if let Some((last_number, last)) = self.logs.last() {
            let is_next =
                (*last_number, last.index) < (number, log.index) && (*last_number < number || last.block == log.block);
            assert!(is_next, "a log out of order: {log:?} of {number} after {last:?} of {last_number}");
        }
        self.logs.push((number, log));
    }

    fn on_removed(&mut self, log: &Log) {
        let at = self.logs.iter().position(|(_, held)| held == log);
        let Some(at) = at else { panic!("a log removed that was never told: {log:?}") };
        self.logs.remove(at);
    }

    /// Holds what the canonical chain holds, and nothing else.
    pub(super) fn check(&self, world: &World, feed: Feed) {
        if feed == Feed::Heads {
            let held: Vec<BlockHash> = self.heads.iter().map(|head| head.hash).collect();
            let from = self.heads[0].number as usize;
            assert_eq!(held, world.canonical[from..], "heads from {from}");
            return;
        }
        let held: Vec<&Log> = self.logs.iter().map(|(_, log)| log).collect();
        // A reorganisation below the beginning makes it begin lower.
        let lowest = self.base.number.saturating_sub(8);
        let expected = |from: u64| -> Vec<&Log> {
            let blocks = &world.canonical[from as usize + 1..];
            blocks.iter().flat_map(|hash| &world.block(*hash).logs).collect()
        };
        let is_whole = (lowest..=self.base.number).any(|from| expected(from) == held);
        let (base, wanted) = (&self.base, expected(self.base.number));
        let of = |log: &&Log| (world.number(log.block), world.canonical.contains(&log.block), log.index);
        let more: Vec<_> = held.iter().filter(|log| !wanted.contains(log)).map(of).collect();
        let less: Vec<_> = wanted.iter().filter(|log| !held.contains(log)).map(of).collect();
        assert!(is_whole, "from {base:?}: too many (number, canonical, index) {more:?}, missing {less:?}");
    }
}
