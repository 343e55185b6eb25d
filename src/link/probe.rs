//! What the node asks providers by itself, on the way to a shard, and what came of it, on the way back.
//!
//! Control decides who is asked what and when; a shard has the connections. An order goes to one shard by a ring and a ring of its
//! bell, a word comes back by another ring. Both are bounded, and a shard takes no more orders than it can keep words of:
//! nothing is lost but by a shard's end, and what is lost is asked again.

use std::sync::Arc;
use std::time::Duration;

use ringbuf::traits::{Observer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use crate::limits;
use crate::routing::Question;

/// To be asked of one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOrder {
    pub chain: Arc<str>,
    /// The provider slot's number.
    pub slot: u64,
    pub question: Question,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeWord {
    pub slot: u64,
    pub question: Question,
    pub end: ProbeEnded,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeEnded {
    /// With the number that was asked for; without, when the provider said something else.
    Answered(Option<u64>),
    /// The provider limits our rate, and is left alone for so long.
    Limited(Duration),
    /// It is there, and refuses our credentials.
    Refused,
    /// It was not reached, or did not answer in time.
    Failed,
    /// It was not sent: the provider is no longer there, or this shard had no room.
    NotAsked,
}

/// A shard's ends.
#[allow(missing_debug_implementations)] // ringbuf's ends have none
pub struct ProbeShardEnd {
    pub orders: HeapCons<ProbeOrder>,
    pub words: HeapProd<ProbeWord>,
}

/// Control's ends for one shard.
#[allow(missing_debug_implementations)] // ringbuf's ends have none
pub struct ProbeControlEnd {
    pub orders: HeapProd<ProbeOrder>,
    pub words: HeapCons<ProbeWord>,
}

/// The rings between one shard and control.
#[must_use]
pub fn probe_pair() -> (ProbeShardEnd, ProbeControlEnd) {
    let (orders_in, orders) = HeapRb::new(limits::PROBES_IN_RING_MAX).split();
    let (words, words_out) = HeapRb::new(limits::PROBES_IN_RING_MAX).split();
    (ProbeShardEnd { orders, words }, ProbeControlEnd { orders: orders_in, words: words_out })
}

impl ProbeShardEnd {
    /// Whether the word of one more than `running` probes finds room, whenever they end.
    #[must_use]
    pub fn has_room(&self, running: usize) -> bool {
        self.words.vacant_len() > running
    }
}
