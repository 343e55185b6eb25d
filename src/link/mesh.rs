//! What shards say to each other: one subscription upstream serves clients of all of them.
//!
//! A feed (a chain's heads, or its logs under one filter) lives on one shard, its **owner**, which its key names. Shards
//! whose clients want it are its **followers**. Each shard has one inbox, a bounded queue that all others put into and
//! that its doorbell is rung for. Between two shards the order is kept. Whoever finds an inbox full keeps what it had to
//! say, within a bound, or ends the feed for that shard: nothing is left out of one that goes on.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::queue::ArrayQueue;

use super::bell::Bell;
use crate::jsonrpc::Class;
use crate::limits;
use crate::subscription::{Raw, Wanted};

/// What is followed: equal for all clients that share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FeedKey {
    pub chain: Arc<str>,
    /// The one provider that the clients' URL names.
    pub only: Option<Arc<str>>,
    pub wanted: Wanted,
}

impl FeedKey {
    /// Which of so many shards owns it: the same word on each.
    #[must_use]
    pub fn owner(&self, shards: usize) -> usize {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let shards = shards.max(1) as u64;
        usize::try_from(hasher.finish() % shards).unwrap_or(0)
    }
}

/// One word between two shards. `feed` is the follower's own number of it.
#[derive(Clone, Debug)]
pub enum FeedWord {
    /// To the owner.
    Join {
        follower: usize,
        feed: u64,
        key: Arc<FeedKey>,
    },
    Leave {
        follower: usize,
        feed: u64,
        key: Arc<FeedKey>,
    },
    /// To a follower: what comes from here on is told.
    Began {
        feed: u64,
    },
    /// A notification's `result`, and the newest block of which the feed has told.
    Told {
        feed: u64,
        height: Option<u64>,
        result: Raw,
    },
    /// Nothing follows.
    Ended {
        feed: u64,
        end: FeedEnd,
    },
}

/// Why a feed ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedEnd {
    /// It cannot go on without a hole.
    Broken(&'static str),
    /// This node, or one of its shards, closes.
    Closing,
    /// No provider of the chain, or not the one that is named, has a WebSocket.
    NoSocket,
    /// All providers refuse it: the error object that one of them gave, and what it is.
    Refused(Raw, Class),
}

#[derive(Debug)]
struct Inbox {
    words: ArrayQueue<FeedWord>,
    bell: Arc<Bell>,
    /// The bell has been rung for what is there.
    rung: AtomicBool,
}

/// A shard's end of the mesh.
#[derive(Clone, Debug)]
pub struct MeshEnd {
    shard: usize,
    inboxes: Arc<[Inbox]>,
}

impl MeshEnd {
    /// The ends of all shards, whose bells these are.
    #[must_use]
    pub fn all(bells: &[Arc<Bell>]) -> Vec<Self> {
        let inboxes: Arc<[Inbox]> = bells
            .iter()
            .map(|bell| Inbox {
                words: ArrayQueue::new(limits::MESH_WORDS_MAX),
                bell: Arc::clone(bell),
                rung: AtomicBool::new(false),
            })
            .collect();
        (0..bells.len()).map(|shard| Self { shard, inboxes: Arc::clone(&inboxes) }).collect()
    }

    /// Which shard this is.
    #[must_use]
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// How many there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.inboxes.len()
    }

    /// Puts a word into another shard's inbox; comes back where it is full.
    pub fn send(&self, to: usize, word: FeedWord) -> Result<(), FeedWord> {
        let inbox = &self.inboxes[to];
        inbox.words.push(word)?;
        if !inbox.rung.swap(true, Ordering::AcqRel) {
            inbox.bell.ring();
        }
        Ok(())
    }

    /// Before a round of [`MeshEnd::next`]: what comes from here on rings again.
    pub fn begin(&self) {
        // A swap and no store: whoever found it rung, and did not ring, has put in its word before, and it is seen.
        self.inboxes[self.shard].rung.swap(false, Ordering::AcqRel);
    }

    /// More has come than one round takes.
    pub fn ring_again(&self) {
        self.inboxes[self.shard].bell.ring();
    }

    /// The next word in this shard's own inbox.
    #[must_use]
    pub fn next(&self) -> Option<FeedWord> {
        self.inboxes[self.shard].words.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(shards: usize) -> (Vec<MeshEnd>, Vec<super::super::Doorbell>) {
        let (bells, doorbells): (Vec<_>, Vec<_>) =
            (0..shards).map(|_| Bell::new().map(|(bell, doorbell)| (Arc::new(bell), doorbell)).unwrap()).unzip();
        (MeshEnd::all(&bells), doorbells)
    }

    fn rings(doorbell: &super::super::Doorbell) -> usize {
        let mut bytes = [0; 16];
        let stream = std::os::unix::net::UnixStream::from(doorbell.try_clone().unwrap());
        stream.set_nonblocking(true).unwrap();
        std::io::Read::read(&mut &stream, &mut bytes).unwrap_or(0)
    }

    #[test]
    fn words_keep_their_order_and_ring_once() {
        let (ends, doorbells) = ends(2);
        for feed in 0..3 {
            ends[0].send(1, FeedWord::Began { feed }).unwrap();
        }
        assert_eq!((rings(&doorbells[1]), rings(&doorbells[0])), (1, 0));
        ends[1].begin();
        let mut told = Vec::new();
        while let Some(FeedWord::Began { feed }) = ends[1].next() {
            told.push(feed);
        }
        assert_eq!(told, [0, 1, 2]);
        ends[0].send(1, FeedWord::Began { feed: 3 }).unwrap();
        assert_eq!(rings(&doorbells[1]), 1);
    }

    #[test]
    fn a_full_inbox_gives_the_word_back() {
        let (ends, _doorbells) = ends(2);
        for feed in 0..limits::MESH_WORDS_MAX as u64 {
            ends[0].send(1, FeedWord::Began { feed }).unwrap();
        }
        assert!(matches!(ends[0].send(1, FeedWord::Began { feed: 9 }), Err(FeedWord::Began { feed: 9 })));
    }

    #[test]
    fn a_key_has_one_owner_and_keys_spread() {
        let key = |chain: &str| FeedKey { chain: chain.into(), only: None, wanted: Wanted::NewHeads };
        let owners: Vec<usize> = (0..64).map(|n| key(&format!("chain{n}")).owner(2)).collect();
        assert_eq!(key("chain7").owner(2), owners[7]);
        let first = owners.iter().filter(|owner| **owner == 0).count();
        assert!((8..56).contains(&first), "{first} of 64 on the first of two shards");
    }
}
