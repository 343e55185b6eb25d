//! What this shard's clients are told: one feed for all of them that want the same.
//!
//! A notification differs between clients in the subscription's id alone. So all clients of a feed have the same id here,
//! and the same frame, made once and shared. One that subscribes to the same twice gets a second id: a **lane** of its own
//! with whoever else does. Ids mean something on their own connection only.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::post;
use crate::limits;
use crate::link::{FeedEnd, FeedKey, FeedWord};
use crate::shard::Shard;
use crate::shard::metering;
use crate::shard::websocket::{Notice, Session};
use crate::subscription::Raw;
use crate::tenant::LastingPlace;
use crate::time::Instant;
use crate::websocket::CloseCode;

/// A feed as this shard follows it.
pub(super) struct Followed {
    /// This shard's own; no other has or had it.
    number: u64,
    key: Arc<FeedKey>,
    owner: usize,
    state: RefCell<State>,
    lanes: RefCell<Vec<Lane>>,
    /// Subscriptions, those included that wait for it to begin.
    users: Cell<usize>,
    unused_since: Cell<Instant>,
    waiting: RefCell<Vec<Waker>>,
}

#[derive(Clone)]
enum State {
    Joining,
    Begun,
    Ended(FeedEnd),
}

/// Clients that know the feed by one id.
struct Lane {
    id: u64,
    /// By their number.
    sessions: BTreeMap<u64, Rc<Session>>,
}

/// Why a client gets no subscription.
pub(crate) enum Denied {
    Ended(FeedEnd),
    /// It did not begin in time.
    Late,
    /// This shard follows as many as it can.
    Full,
}

/// Somebody wants the feed for as long as this lives.
struct Use {
    shard: Rc<Shard>,
    followed: Rc<Followed>,
}

/// A client's subscription, over when it is dropped.
pub(crate) struct Subscription {
    of: Use,
    lane: usize,
    session: u64,
    id: u64,
    /// Counts against its key's quota.
    pub(crate) place: Option<LastingPlace>,
}

/// Subscribes once the feed has begun, if it does so before `deadline`. Nothing is told before
/// [`Subscription::begin`].
pub(crate) async fn subscribe(
    shard: &Rc<Shard>,
    session: &Rc<Session>,
    key: FeedKey,
    deadline: Instant,
) -> Result<Subscription, Denied> {
    let followed = follow(shard, key).ok_or(Denied::Full)?;
    let timer = shard.timers.timer();
    let of = Use::new(shard, followed);
    timer.limit(deadline, of.followed.begun()).await.map_err(|_| Denied::Late)?.map_err(Denied::Ended)?;
    let taken = session.lanes_of(&of.followed.key);
    // Of one more lane than are taken one is free.
    let lane = (0..=taken.len()).find(|lane| !taken.contains(lane)).unwrap_or_default();
    let id = of.followed.lane(shard, lane);
    Ok(Subscription { of, lane, session: session.number(), id, place: None })
}

fn follow(shard: &Rc<Shard>, key: FeedKey) -> Option<Rc<Followed>> {
    let feeds = &shard.feeds;
    let key = Arc::new(key);
    if let Some(followed) = feeds.followed.borrow().get(&key) {
        return Some(Rc::clone(followed));
    }
    // A feed that nobody wants any more keeps out none that somebody wants.
    let is_full = || feeds.followed.borrow().len() >= limits::FEEDS_PER_SHARD_MAX;
    leave_oldest(shard, |_| is_full());
    if is_full() {
        return None;
    }
    let followed = Rc::new(Followed {
        number: shard.request_id(),
        owner: key.owner(feeds.post.shards()),
        key: Arc::clone(&key),
        state: RefCell::new(State::Joining),
        lanes: RefCell::default(),
        users: Cell::new(0),
        unused_since: Cell::new(shard.clock.now()),
        waiting: RefCell::default(),
    });
    feeds.followed.borrow_mut().insert(Arc::clone(&key), Rc::clone(&followed));
    feeds.numbered.borrow_mut().insert(followed.number, Rc::clone(&followed));
    post::send(shard, followed.owner, FeedWord::Join { follower: feeds.post.here(), feed: followed.number, key });
    Some(followed)
}

impl Followed {
    fn as_unused(&self) -> (Instant, u64) {
        (self.unused_since.get(), self.number)
    }

    /// Waits until it has begun, or ended.
    async fn begun(&self) -> Result<(), FeedEnd> {
        poll_fn(|cx| match &*self.state.borrow() {
            State::Begun => Poll::Ready(Ok(())),
            State::Ended(end) => Poll::Ready(Err(end.clone())),
            State::Joining => {
                let mut waiting = self.waiting.borrow_mut();
                if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }

    fn become_(&self, state: State) {
        *self.state.borrow_mut() = state;
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// The id of this lane, made where it is new.
    fn lane(&self, shard: &Shard, lane: usize) -> u64 {
        let mut lanes = self.lanes.borrow_mut();
        while lanes.len() <= lane {
            // With its first bit set it is 16 digits long in any client's eyes.
            lanes.push(Lane { id: shard.draw() | 1 << 63, sessions: BTreeMap::new() });
        }
        lanes[lane].id
    }

    fn tell(&self, shard: &Shard, height: Option<u64>, result: &[u8]) {
        let mut told = 0;
        let chain = shard.view().chain(&self.key.chain).map_or(0, |chain| chain.entry.number);
        for lane in self.lanes.borrow().iter().filter(|lane| !lane.sessions.is_empty()) {
            let notice = Notice::new(lane.id, result);
            for session in lane.sessions.values() {
                if session.notify(&notice)
                    && let Some(account) = session.account()
                {
                    metering::notified(shard, &account, chain, notice.bytes());
                }
                height.inspect(|height| session.saw(*height));
            }
            told += lane.sessions.len() as u64;
        }
        shard.counters.notifications.add(told);
    }

    fn close_all(&self, code: CloseCode, reason: &'static str) {
        let lanes = self.lanes.take();
        for session in lanes.iter().flat_map(|lane| lane.sessions.values()) {
            session.close_because(code, reason);
        }
    }
}

impl Use {
    fn new(shard: &Rc<Shard>, followed: Rc<Followed>) -> Self {
        if followed.users.replace(followed.users.get() + 1) == 0 {
            shard.feeds.unused.borrow_mut().remove(&followed.as_unused());
        }
        Self { shard: Rc::clone(shard), followed }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let users = self.followed.users.get() - 1;
        self.followed.users.set(users);
        let feeds = &self.shard.feeds;
        if users == 0 && feeds.numbered.borrow().contains_key(&self.followed.number) {
            self.followed.unused_since.set(self.shard.clock.now());
            feeds.unused.borrow_mut().insert(self.followed.as_unused());
        }
    }
}

impl Subscription {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn lane(&self) -> usize {
        self.lane
    }

    pub(crate) fn key(&self) -> &FeedKey {
        &self.of.followed.key
    }

    /// The client has been told the id: what comes from here on is told to it.
    pub(crate) fn begin(&self, session: &Rc<Session>) {
        let followed = &self.of.followed;
        if let State::Ended(end) = &*followed.state.borrow() {
            let (code, reason) = close_of(end);
            return session.close_because(code, reason);
        }
        // Told twice: an id that the client knew from before, in a batch that is answered late.
        if let Some(lane) = followed.lanes.borrow_mut().get_mut(self.lane)
            && lane.sessions.insert(self.session, Rc::clone(session)).is_none()
        {
            let subscriptions = &self.of.shard.counters.subscriptions;
            subscriptions.set(subscriptions.get() + 1);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let left =
            self.of.followed.lanes.borrow_mut().get_mut(self.lane).and_then(|lane| lane.sessions.remove(&self.session));
        if left.is_some() {
            let subscriptions = &self.of.shard.counters.subscriptions;
            subscriptions.set(subscriptions.get() - 1);
        }
    }
}

fn numbered(shard: &Shard, feed: u64) -> Option<Rc<Followed>> {
    shard.feeds.numbered.borrow().get(&feed).cloned()
}

pub(super) fn on_began(shard: &Shard, feed: u64) {
    if let Some(followed) = numbered(shard, feed) {
        followed.become_(State::Begun);
    }
}

pub(super) fn on_told(shard: &Shard, feed: u64, height: Option<u64>, result: &Raw) {
    // One that was left has words under way.
    if let Some(followed) = numbered(shard, feed) {
        followed.tell(shard, height, result);
    }
}

pub(super) fn on_ended(shard: &Shard, feed: u64, end: &FeedEnd) {
    let Some(followed) = numbered(shard, feed) else { return };
    forget(shard, &followed);
    if *end == FeedEnd::Closing {
        // So does this shard. Its clients go in their own time, with the answers that they still wait for; but they begin to
        // now, as no notification wakes them any more.
        let lanes = followed.lanes.borrow();
        lanes.iter().flat_map(|lane| lane.sessions.values()).for_each(|session| session.nudge());
        drop(lanes);
        return followed.become_(State::Ended(end.clone()));
    }
    let (code, reason) = close_of(end);
    let told: usize = followed.lanes.borrow().iter().map(|lane| lane.sessions.len()).sum();
    let subscriptions = &shard.counters.subscriptions;
    subscriptions.set(subscriptions.get() - told as u64);
    followed.close_all(code, reason);
    followed.become_(State::Ended(end.clone()));
}

/// This shard panicked over a word of its feed's.
pub(super) fn break_off(shard: &Rc<Shard>, feed: u64) {
    let Some(followed) = numbered(shard, feed) else { return };
    on_ended(shard, feed, &super::FAILED);
    let (follower, key) = (shard.feeds.post.here(), Arc::clone(&followed.key));
    post::send(shard, followed.owner, FeedWord::Leave { follower, feed, key });
}

fn close_of(end: &FeedEnd) -> (CloseCode, &'static str) {
    match end {
        FeedEnd::Broken(reason) => (CloseCode::RESTART, reason),
        FeedEnd::Closing => (CloseCode::AWAY, "this node closes"),
        FeedEnd::NoSocket | FeedEnd::Refused(..) => (CloseCode::RESTART, "no provider serves this subscription"),
    }
}

fn forget(shard: &Shard, followed: &Rc<Followed>) {
    shard.feeds.unused.borrow_mut().remove(&followed.as_unused());
    shard.feeds.numbered.borrow_mut().remove(&followed.number);
    let mut by_key = shard.feeds.followed.borrow_mut();
    if by_key.get(&followed.key).is_some_and(|known| Rc::ptr_eq(known, followed)) {
        by_key.remove(&followed.key);
    }
}

/// Leaves what has had no client for a while.
pub(crate) fn sweep(shard: &Rc<Shard>) {
    let linger = shard.view().snapshot.config.subscriptions.linger;
    let now = shard.clock.now();
    leave_oldest(shard, |unused_since| now.since(unused_since) >= linger);
}

/// Leaves feeds that no client wants any more, the oldest first: those that are due by now, and as many as linger beyond
/// bounds.
fn leave_oldest(shard: &Rc<Shard>, is_due: impl Fn(Instant) -> bool) {
    // Ends: each turn leaves one.
    loop {
        let unused = shard.feeds.unused.borrow();
        let Some(&(since, number)) = unused.first() else { return };
        let is_beyond = unused.len() > limits::FEEDS_LINGERING_MAX;
        drop(unused);
        if !is_beyond && !is_due(since) {
            return;
        }
        let Some(followed) = numbered(shard, number) else {
            // What is forgotten is none of them.
            shard.feeds.unused.borrow_mut().remove(&(since, number));
            continue;
        };
        forget(shard, &followed);
        let word = FeedWord::Leave { follower: shard.feeds.post.here(), feed: number, key: Arc::clone(&followed.key) };
        post::send(shard, followed.owner, word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::alone::alone;
    use crate::subscription::Wanted;

    const CONFIG: &str = "[[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"alpha\"\n\
                          url = \"http://127.0.0.1:9\"\nws_url = \"ws://127.0.0.1:9/\"\n";

    fn key(number: usize) -> FeedKey {
        let wanted = Wanted::Other(format!("[{number}]").into_bytes());
        FeedKey { chain: "ethereum".into(), only: None, wanted }
    }

    #[test]
    fn a_feed_that_nobody_wants_any_more_makes_room_for_one_that_somebody_wants() {
        alone(CONFIG, |shard, _control| async move {
            let of = |number| follow(&shard, key(number)).map(|followed| Use::new(&shard, followed));
            let count = || (shard.feeds.followed.borrow().len(), shard.feeds.unused.borrow().len());
            let most = limits::FEEDS_PER_SHARD_MAX;
            let mut all: Vec<Use> = (0..most).map(|number| of(number).unwrap()).collect();
            assert!(of(most).is_none(), "all are wanted");
            all.truncate(most - 2);
            assert_eq!(count(), (most, 2));
            let again = of(most - 2).unwrap();
            assert_eq!(count(), (most, 1));
            let new = of(most).unwrap();
            assert_eq!(count(), (most, 0));
            assert!(of(most + 1).is_none());
            drop((again, new, all));
            assert_eq!(count(), (most, most));
            sweep(&shard);
            assert_eq!(count(), (limits::FEEDS_LINGERING_MAX, limits::FEEDS_LINGERING_MAX));
        });
    }
}
