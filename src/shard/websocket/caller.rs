//! One message's side of its session: what all calls that came in it share.
//!
//! **Home**: a session's calls go to one provider, the one that answered its first, while nothing stands against it; then
//! the session moves, with all its calls. **Its head never goes back**: what it has been told of a newest block is the least
//! that it is told from then on, and who is known to be behind that is asked about the head when nobody else is left.

use std::cell::RefCell;
use std::rc::Rc;

use super::Session;
use crate::shard::Shard;

/// One message's side of its session.
pub(crate) struct Caller {
    pub(super) shard: Rc<Shard>,
    pub(super) session: Rc<Session>,
    /// Ids that its answer tells.
    pub(super) subscribed: RefCell<Vec<u64>>,
}

impl Caller {
    pub(super) fn new(shard: &Rc<Shard>, session: &Rc<Session>) -> Self {
        Self { shard: Rc::clone(shard), session: Rc::clone(session), subscribed: RefCell::default() }
    }

    /// The answer is on its way.
    pub(super) fn answered(&self) {
        let ids = self.subscribed.take();
        if !ids.is_empty() {
            self.session.begin(&ids);
        }
    }

    /// The slot of the provider that the session's calls go to.
    pub(crate) fn home(&self) -> Option<u64> {
        self.session.home.get()
    }

    /// Something stands against it: the session moves.
    pub(crate) fn leave_home(&self) {
        self.session.home.set(None);
    }

    /// This provider has answered.
    pub(crate) fn settle(&self, slot: u64) {
        if self.session.home.get().is_none() {
            self.session.home.set(Some(slot));
        }
    }

    /// The session has been told of this block, or is now: what it is to be told of the newest one.
    pub(crate) fn saw(&self, height: u64) -> u64 {
        self.session.saw(height);
        self.session.floor()
    }

    /// The newest block that the session has been told of.
    pub(crate) fn floor(&self) -> u64 {
        self.session.floor()
    }
}
