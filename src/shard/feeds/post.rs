//! Words between the owner of a feed and its followers.
//!
//! To this shard itself they are handed over at once. To another one they go into its inbox; while that is full they are
//! kept here, in their order, and tried again. What is told is kept within bounds: beyond them the feed ends for that
//! shard, which its owner learns from [`send`]'s answer. All else is bounded by the number of feeds.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::{follow, own};
use crate::limits;
use crate::link::{FeedWord, MeshEnd};
use crate::shard::Shard;
use crate::shard::guard::caught;

pub(super) struct Post {
    mesh: MeshEnd,
    /// By shard.
    kept: RefCell<Vec<Kept>>,
    retries: Cell<bool>,
}

/// What one shard's inbox had no room for.
#[derive(Default)]
struct Kept {
    words: VecDeque<FeedWord>,
    bytes: usize,
}

impl Post {
    pub(super) fn new(mesh: MeshEnd) -> Self {
        let kept = (0..mesh.shards()).map(|_| Kept::default()).collect();
        Self { mesh, kept: RefCell::new(kept), retries: Cell::new(false) }
    }

    /// This shard.
    pub(super) fn here(&self) -> usize {
        self.mesh.shard()
    }

    pub(super) fn shards(&self) -> usize {
        self.mesh.shards()
    }

    /// Puts it into the other's inbox, behind what is kept for it. False: there is no room for it anywhere.
    fn put(&self, to: usize, word: FeedWord) -> bool {
        let mut kept = self.kept.borrow_mut();
        let kept = &mut kept[to];
        let word = if kept.words.is_empty() {
            match self.mesh.send(to, word) {
                Ok(()) => return true,
                Err(word) => word,
            }
        } else {
            word
        };
        let bytes = bytes_of(&word);
        let is_beyond =
            kept.words.len() >= limits::MESH_KEPT_WORDS_MAX || kept.bytes + bytes > limits::MESH_KEPT_BYTES_MAX;
        if is_beyond && matches!(word, FeedWord::Told { .. }) {
            return false;
        }
        kept.bytes += bytes;
        kept.words.push_back(word);
        true
    }

    /// Tries again what is kept. Whether something still is.
    fn flush(&self) -> bool {
        let mut all = self.kept.borrow_mut();
        for (to, kept) in all.iter_mut().enumerate() {
            while let Some(word) = kept.words.pop_front() {
                let bytes = bytes_of(&word);
                if let Err(word) = self.mesh.send(to, word) {
                    kept.words.push_front(word);
                    break;
                }
                kept.bytes -= bytes;
            }
        }
        all.iter().any(|kept| !kept.words.is_empty())
    }
}

fn bytes_of(word: &FeedWord) -> usize {
    match word {
        FeedWord::Told { result, .. } => result.len(),
        _ => 0,
    }
}

/// Says `word` to a shard. False: it finds no room there, and the feed must end for that shard.
pub(super) fn send(shard: &Rc<Shard>, to: usize, word: FeedWord) -> bool {
    let post = &shard.feeds.post;
    if to == post.here() {
        hear(shard, word);
        return true;
    }
    let sent = post.put(to, word);
    let is_behind = !post.kept.borrow()[to].words.is_empty();
    if is_behind && !post.retries.replace(true) {
        let of = Rc::clone(shard);
        shard.ring.spawn(retry(of)).detach();
    }
    sent
}

async fn retry(shard: Rc<Shard>) {
    // Ends: a shard that runs empties its inbox, and one that does not ends with the process.
    while shard.feeds.post.flush() {
        shard.timers.sleep_until(shard.clock.now() + limits::MESH_RETRY).await;
    }
    shard.feeds.post.retries.set(false);
}

/// Takes what the other shards have said; called when the doorbell rings.
pub(crate) fn receive(shard: &Rc<Shard>) {
    shard.feeds.post.mesh.begin();
    // As many as fit at once: what comes meanwhile has rung again.
    for _ in 0..limits::MESH_WORDS_MAX {
        let Some(word) = shard.feeds.post.mesh.next() else { return };
        hear(shard, word);
    }
    shard.feeds.post.mesh.ring_again();
}

/// A word that is panicked over ends its feed: whoever said it, or waits with it, has others to look after.
fn hear(shard: &Rc<Shard>, word: FeedWord) {
    let (follower, feed, key) = match &word {
        FeedWord::Join { follower, feed, key } | FeedWord::Leave { follower, feed, key } => {
            (*follower, *feed, Some(Arc::clone(key)))
        }
        FeedWord::Began { feed } | FeedWord::Told { feed, .. } | FeedWord::Ended { feed, .. } => {
            (shard.feeds.post.here(), *feed, None)
        }
    };
    let heed = || match word {
        FeedWord::Join { follower, feed, key } => own::on_join(shard, follower, feed, key),
        FeedWord::Leave { follower, feed, key } => own::on_leave(shard, follower, feed, &key),
        FeedWord::Began { feed } => follow::on_began(shard, feed),
        FeedWord::Told { feed, height, result } => follow::on_told(shard, feed, height, &result),
        FeedWord::Ended { feed, end } => follow::on_ended(shard, feed, &end),
    };
    if caught(shard, heed).is_some() {
        return;
    }
    caught(shard, || match key {
        Some(key) => {
            own::break_off(shard, &key);
            send(shard, follower, FeedWord::Ended { feed, end: super::FAILED });
        }
        None => follow::break_off(shard, feed),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{FeedEnd, FeedKey};
    use crate::shard::alone::beside;
    use crate::subscription::Wanted;

    /// Of a provider without a WebSocket.
    const CONFIG: &str = "[[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"alpha\"\n\
                          url = \"http://127.0.0.1:9\"\n";

    #[test]
    fn a_word_that_is_panicked_over_ends_its_feed_alone() {
        beside(CONFIG, |shard, _control, other| async move {
            let key = Arc::new(FeedKey { chain: "ethereum".into(), only: None, wanted: Wanted::NewHeads });
            let join = |feed| FeedWord::Join { follower: 1, feed, key: Arc::clone(&key) };
            assert!(other.send(0, join(7)).is_ok());
            // Whatever looks at them now panics.
            let held = shard.feeds.owned.borrow_mut();
            receive(&shard);
            drop(held);
            assert!(shard.counters.panics.get() > 0);
            assert!(other.send(0, join(8)).is_ok());
            receive(&shard);
            assert!(matches!(other.next(), Some(FeedWord::Ended { feed: 8, end: FeedEnd::NoSocket })));
        });
    }
}
