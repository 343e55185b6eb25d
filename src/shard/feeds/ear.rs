//! How a feed hears one provider: an attachment under way, then what is pushed.
//!
//! A provider's first pushes may stand right behind its word of agreement, and come before [`attach`] has answered. They
//! are kept until then, so that whatever the feed does about them finds the attachment there.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::own::Owned;
use crate::limits;
use crate::shard::Shard;
use crate::shard::guard::guarded;
use crate::shard::upstream::Upstream;
use crate::shard::upstream::socket::{Attached, Ear, Pushed, Wish, attach};
use crate::subscription::Epoch;

/// The ear of one epoch.
struct EpochEar {
    shard: Rc<Shard>,
    owned: Weak<Owned>,
    epoch: Epoch,
    hears: RefCell<Hears>,
}

enum Hears {
    /// What comes before the attachment is there.
    Early(Vec<Early>),
    All,
}

enum Early {
    Pushed(Pushed, Vec<u8>),
    Lost,
}

/// What is to be subscribed to as an epoch of a feed.
pub(super) struct Listen {
    pub(super) epoch: Epoch,
    pub(super) upstream: Rc<Upstream>,
    pub(super) wish: Wish,
    /// Heads that others hear there are asked for anew where they have been silent for so long.
    pub(super) stale_after: Duration,
}

/// Subscribes.
pub(super) fn listen(shard: &Rc<Shard>, owned: &Rc<Owned>, what: Listen) {
    let Listen { epoch, upstream, wish, stale_after } = what;
    let (of, owned, owner) = (Rc::clone(shard), Rc::clone(owned), Rc::clone(owned));
    let work = async move {
        let hears = RefCell::new(Hears::Early(Vec::new()));
        let ear = Rc::new(EpochEar { shard: Rc::clone(&of), owned: Rc::downgrade(&owned), epoch, hears });
        let deadline = of.clock.now() + limits::SUBSCRIBE_TIMEOUT;
        let attached = attach(&of, &upstream, wish, stale_after, Rc::clone(&ear) as Rc<dyn Ear>, deadline).await;
        match attached {
            Ok(attached) => ear.open(attached),
            Err(error) => owned.on_failed(&of, epoch, &upstream, error),
        }
    };
    let of = Rc::clone(shard);
    let work = async move {
        if guarded(&of, work).await.is_none() {
            owner.on_lost(&of, epoch);
        }
    };
    shard.ring.spawn(work).detach();
}

impl EpochEar {
    /// The attachment is there: what has come early is heard now.
    fn open(&self, attached: Attached) {
        let Some(owned) = self.owned.upgrade() else { return };
        if !owned.on_attached(&self.shard, self.epoch, attached) {
            return;
        }
        let early = self.hears.replace(Hears::All);
        let Hears::Early(early) = early else { return };
        for early in early {
            match early {
                Early::Pushed(what, result) => self.pushed(what, &result),
                Early::Lost => self.lost(),
            }
        }
    }

    /// Keeps it for later, where it is early.
    fn keep(&self, early: impl FnOnce() -> Early) -> bool {
        match &mut *self.hears.borrow_mut() {
            Hears::Early(kept) => {
                kept.push(early());
                true
            }
            Hears::All => false,
        }
    }
}

impl Ear for EpochEar {
    fn agreed(&self) {}

    fn pushed(&self, what: Pushed, result: &[u8]) {
        if !self.keep(|| Early::Pushed(what, result.to_vec()))
            && let Some(owned) = self.owned.upgrade()
        {
            owned.on_pushed(&self.shard, self.epoch, what, result);
        }
    }

    fn lost(&self) {
        if !self.keep(|| Early::Lost)
            && let Some(owned) = self.owned.upgrade()
        {
            owned.on_lost(&self.shard, self.epoch);
        }
    }
}
