//! Shared subscriptions: many clients, one subscription at a provider.
//!
//! ```text
//! client ─▶ follow ─▶ post ─▶ own ─▶ choose, attach ─▶ provider
//!        ◀─ lanes  ◀─ post ◀─ core ◀─ ear, fill       ◀─
//! ```
//!
//! What clients ask for has a [`FeedKey`], and the key an owner among the shards ([`own`]). Each shard with clients
//! follows ([`follow`]), once for all of them, and tells them with ids of its own. The two talk by the mesh ([`post`]),
//! also where they are one shard. What is told and what is fetched is the pure [`Core`](crate::subscription::Core)'s to
//! say; here it is carried out.
//!
//! **A subscription that is answered has begun**: what comes after its block is told. Nothing is left out after that. A
//! feed that cannot go on whole, an inbox that stays full, a client that reads too slowly: each ends in a close that
//! says why. So does a panic: a stream that has half heard something never goes on, whoever's task told it.

mod choose;
mod ear;
mod fill;
mod follow;
mod own;
mod post;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

pub(crate) use self::follow::{Denied, Subscription, subscribe, sweep};
pub(crate) use self::post::receive;

use self::follow::Followed;
use self::own::Owned;
use self::post::Post;
use super::Shard;
use crate::link::{FeedEnd, FeedKey, MeshEnd};
use crate::time::Instant;

/// What is said of a feed that has panicked, or been panicked over.
const FAILED: FeedEnd = FeedEnd::Broken("this subscription failed within the node");

/// A shard's side of all feeds.
pub(crate) struct Feeds {
    post: Post,
    /// What this shard's clients want, by key and by number.
    followed: RefCell<HashMap<Arc<FeedKey>, Rc<Followed>>>,
    numbered: RefCell<HashMap<u64, Rc<Followed>>>,
    /// Those of them that no client wants any more: since when, and their number.
    unused: RefCell<BTreeSet<(Instant, u64)>>,
    owned: RefCell<HashMap<Arc<FeedKey>, Rc<Owned>>>,
}

impl Feeds {
    pub(crate) fn new(mesh: MeshEnd) -> Self {
        Self {
            post: Post::new(mesh),
            followed: RefCell::default(),
            numbered: RefCell::default(),
            unused: RefCell::default(),
            owned: RefCell::default(),
        }
    }

    fn count(&self, shard: &Shard) {
        shard.counters.feeds.set(self.owned.borrow().len() as u64);
    }
}

/// The shard closes, and with it all that it owns.
pub(crate) fn close(shard: &Rc<Shard>) {
    let owned: Vec<_> = shard.feeds.owned.borrow().values().cloned().collect();
    for owned in owned {
        owned.end(shard, &FeedEnd::Closing);
    }
}
