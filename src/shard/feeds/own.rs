//! A feed that this shard owns: the pure stream, driven.
//!
//! What comes in (pushes, answers, losses) goes to the stream at once, whoever's task it comes from; what the stream then
//! wants done, and time, are the feed's own task's ([`run`]). A feed lives for as long as some shard follows it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::ear::{self, Listen};
use super::fill::{self, Filled};
use super::{choose, post};
use crate::jsonrpc::Class;
use crate::limits;
use crate::link::{Event, EventKind, FeedEnd, FeedKey, FeedWord};
use crate::routing::Footing;
use crate::shard::Shard;
use crate::shard::guard::{caught, guarded};
use crate::shard::upstream::Upstream;
use crate::shard::upstream::socket::{AttachError, Attached, Pushed, Wish};
use crate::shard::wake::Wake;
use crate::subscription::{
    Action, Core, Emission, Epoch, Feed, FetchId, Raw, Relay, Settings, Wanted, as_removed, read_head, read_log,
};
use crate::time::Instant;

/// See the module.
pub(super) struct Owned {
    pub(super) key: Arc<FeedKey>,
    stream: RefCell<Stream>,
    followers: RefCell<Vec<Follower>>,
    /// Subscriptions at providers: those asked for, and the one that is heard.
    epochs: RefCell<BTreeMap<Epoch, Source>>,
    /// Slots of providers that failed of late, and until when they are passed over.
    passed_over: RefCell<Vec<(u64, Instant)>>,
    /// Slots of those that refused what is wanted.
    refused: RefCell<Vec<u64>>,
    /// The last one that was heard, and its provider's slot.
    heard_last: Cell<Option<(Epoch, u64)>>,
    /// Silence of a provider that makes it look elsewhere.
    stale_after: Duration,
    begun: Cell<bool>,
    over: Cell<bool>,
    wake: Wake,
}

enum Stream {
    Filled(Box<Core>),
    Relayed(Box<Relay>),
}

struct Follower {
    shard: usize,
    feed: u64,
}

struct Source {
    upstream: Rc<Upstream>,
    attached: Option<Rc<Attached>>,
}

pub(super) fn on_join(shard: &Rc<Shard>, follower: usize, feed: u64, key: Arc<FeedKey>) {
    let follower = Follower { shard: follower, feed };
    let known = shard.feeds.owned.borrow().get(&key).cloned();
    if let Some(owned) = known {
        if owned.begun.get() {
            post::send(shard, follower.shard, FeedWord::Began { feed });
        }
        owned.followers.borrow_mut().push(follower);
        return;
    }
    let view = shard.view();
    let route = choose::route(&view, &key).filter(|route| choose::with_socket(route).next().is_some());
    let Some(route) = route else {
        post::send(shard, follower.shard, FeedWord::Ended { feed, end: FeedEnd::NoSocket });
        return;
    };
    let (config, now) = (&view.snapshot.config, shard.clock.now());
    let chain = &route.chain.entry.config;
    let stale_after = (chain.block_time * config.subscriptions.stale_blocks).max(limits::FEED_STALE_MIN);
    let settings = |feed| Settings {
        feed,
        stale_after,
        outage_max: config.subscriptions.outage_max,
        lag_max: chain.head_limits(&config.heads).max_lag,
    };
    let stream = match &key.wanted {
        Wanted::NewHeads => Stream::Filled(Box::new(Core::new(settings(Feed::Heads), now))),
        Wanted::Logs(_) => Stream::Filled(Box::new(Core::new(settings(Feed::Logs), now))),
        Wanted::Other(_) => Stream::Relayed(Box::new(Relay::new(config.subscriptions.outage_max, now))),
    };
    let owned = Rc::new(Owned {
        key: Arc::clone(&key),
        stream: RefCell::new(stream),
        followers: RefCell::new(vec![follower]),
        epochs: RefCell::default(),
        passed_over: RefCell::default(),
        refused: RefCell::default(),
        heard_last: Cell::new(None),
        stale_after,
        begun: Cell::new(false),
        over: Cell::new(false),
        wake: Wake::default(),
    });
    shard.feeds.owned.borrow_mut().insert(key, Rc::clone(&owned));
    shard.feeds.count(shard);
    shard.ring.spawn(run(Rc::clone(shard), owned)).detach();
}

pub(super) fn on_leave(shard: &Rc<Shard>, follower: usize, feed: u64, key: &FeedKey) {
    let owned = shard.feeds.owned.borrow().get(key).cloned();
    let Some(owned) = owned else { return };
    owned.followers.borrow_mut().retain(|known| (known.shard, known.feed) != (follower, feed));
    if owned.followers.borrow().is_empty() {
        owned.end(shard, &FeedEnd::Closing);
    }
}

/// Ends the feed of `key` in the middle of something.
pub(super) fn break_off(shard: &Rc<Shard>, key: &FeedKey) {
    let owned = shard.feeds.owned.borrow().get(key).cloned();
    if let Some(owned) = owned {
        owned.end(shard, &super::FAILED);
    }
}

/// Does what the stream wants done, until the feed is over.
async fn run(shard: Rc<Shard>, owned: Rc<Owned>) {
    if guarded(&shard, drive(&shard, &owned)).await.is_none() {
        owned.end(&shard, &super::FAILED);
    }
    // With them the connections let go of their ears.
    owned.epochs.take();
}

async fn drive(shard: &Rc<Shard>, owned: &Rc<Owned>) {
    let timer = shard.timers.timer();
    while !owned.over.get() {
        owned.act(shard);
        if owned.over.get() {
            return;
        }
        let now = shard.clock.now();
        let until = owned.stream.borrow().next_wake(now).min(now + limits::FEED_LOOK);
        let _ = timer.limit(until, owned.wake.wait()).await;
        owned.look(shard);
    }
}

impl Stream {
    fn poll(&mut self) -> Option<Action> {
        match self {
            Self::Filled(core) => core.poll(),
            Self::Relayed(relay) => relay.poll(),
        }
    }

    fn next_wake(&self, now: Instant) -> Instant {
        match self {
            Self::Filled(core) => core.next_wake(now),
            Self::Relayed(relay) => relay.next_wake(),
        }
    }

    fn on_tick(&mut self, now: Instant) {
        match self {
            Self::Filled(core) => core.on_tick(now),
            Self::Relayed(relay) => relay.on_tick(now),
        }
    }

    fn on_subscribed(&mut self, now: Instant, epoch: Epoch) {
        match self {
            Self::Filled(core) => core.on_subscribed(now, epoch),
            Self::Relayed(relay) => relay.on_subscribed(now, epoch),
        }
    }

    fn on_lost(&mut self, now: Instant, epoch: Epoch) {
        match self {
            Self::Filled(core) => core.on_lost(now, epoch),
            Self::Relayed(relay) => relay.on_lost(now, epoch),
        }
    }
}

impl Owned {
    /// Ends it for all that follow it.
    pub(super) fn end(self: &Rc<Self>, shard: &Rc<Shard>, end: &FeedEnd) {
        if self.over.replace(true) {
            return;
        }
        shard.feeds.owned.borrow_mut().remove(&self.key);
        shard.feeds.count(shard);
        if let FeedEnd::Broken(_) = end {
            let (chain, provider) = (Arc::clone(&self.key.chain), "".into());
            shard.recorder.event(Event { chain, provider, kind: EventKind::FeedBroken }, &shard.counters);
        }
        for follower in self.followers.take() {
            post::send(shard, follower.shard, FeedWord::Ended { feed: follower.feed, end: end.clone() });
        }
        self.wake.wake();
    }

    /// Has the stream hear something, in whoever's task. None: the feed is over. A stream that panics has half heard it, and
    /// is over, too.
    fn hear<T>(self: &Rc<Self>, shard: &Rc<Shard>, hear: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        if self.over.get() {
            return None;
        }
        let heard = caught(shard, || hear(&mut self.stream.borrow_mut()));
        if heard.is_none() {
            self.end(shard, &super::FAILED);
        }
        self.wake.wake();
        heard
    }

    fn is_of_logs(&self) -> bool {
        matches!(self.key.wanted, Wanted::Logs(_))
    }

    /// Whether a provider has failed of late.
    pub(super) fn passes_over(&self, slot: u64, now: Instant) -> bool {
        self.passed_over.borrow().iter().any(|(known, until)| *known == slot && now < *until)
    }

    /// The connection of an epoch.
    pub(super) fn attached(&self, epoch: Epoch) -> Option<Rc<Attached>> {
        self.epochs.borrow().get(&epoch)?.attached.clone()
    }

    /// The slot of the provider that is heard, and its connection.
    pub(super) fn heard(&self) -> Option<(u64, Rc<Attached>)> {
        let epochs = self.epochs.borrow();
        let mut heard = epochs.values().rev().filter_map(|source| Some((source, source.attached.clone()?)));
        heard.next().map(|(source, attached)| (source.upstream.slot.number, attached))
    }

    /// An epoch's provider has agreed. False: nobody waits for it any more.
    pub(super) fn on_attached(self: &Rc<Self>, shard: &Rc<Shard>, epoch: Epoch, attached: Attached) -> bool {
        let upstream = self.epochs.borrow_mut().get_mut(&epoch).map(|source| {
            source.attached = Some(Rc::new(attached));
            Rc::clone(&source.upstream)
        });
        let Some(upstream) = upstream else { return false };
        let slot = &upstream.slot;
        self.passed_over.borrow_mut().retain(|(known, _)| *known != slot.number);
        self.heard_last.set(Some((epoch, slot.number)));
        if self.begun.get() {
            shard.counters.feed_failovers.add(1);
            shard.event(slot, EventKind::FeedMoved);
        }
        let now = shard.clock.now();
        self.hear(shard, |stream| stream.on_subscribed(now, epoch)).is_some()
    }

    /// A provider could not be subscribed to.
    pub(super) fn on_failed(self: &Rc<Self>, shard: &Rc<Shard>, epoch: Epoch, upstream: &Upstream, error: AttachError) {
        let (now, slot) = (shard.clock.now(), upstream.slot.number);
        self.epochs.borrow_mut().remove(&epoch);
        let mut passed_over = self.passed_over.borrow_mut();
        passed_over.retain(|(known, until)| *known != slot && now < *until);
        passed_over.push((slot, now + limits::FEED_PASSES_OVER));
        drop(passed_over);
        self.hear(shard, |stream| stream.on_lost(now, epoch));
        if let AttachError::Refused { error, class } = error {
            self.on_refused(shard, slot, error, class);
        }
    }

    /// Before it has begun, what all providers refuse is nobody's to serve.
    fn on_refused(self: &Rc<Self>, shard: &Rc<Shard>, slot: u64, error: Vec<u8>, class: Class) {
        let mut refused = self.refused.borrow_mut();
        if !refused.contains(&slot) {
            refused.push(slot);
        }
        let Some(route) = choose::route(&shard.view(), &self.key) else { return };
        let all = choose::with_socket(&route).all(|upstream| refused.contains(&upstream.slot.number));
        drop(refused);
        if all && !self.begun.get() {
            self.end(shard, &FeedEnd::Refused(error.into(), class));
        }
    }

    pub(super) fn on_lost(self: &Rc<Self>, shard: &Rc<Shard>, epoch: Epoch) {
        let now = shard.clock.now();
        self.epochs.borrow_mut().remove(&epoch);
        self.hear(shard, |stream| stream.on_lost(now, epoch));
    }

    /// A provider pushed something. What cannot be read is as good as silence.
    pub(super) fn on_pushed(self: &Rc<Self>, shard: &Rc<Shard>, epoch: Epoch, what: Pushed, result: &[u8]) {
        let is_passed_on = self.hear(shard, |stream| self.read_pushed(shard.clock.now(), stream, epoch, what, result));
        if is_passed_on == Some(true) {
            self.tell(shard, None, &result.into());
        }
    }

    /// Whether it is to be passed on as it is.
    fn read_pushed(&self, now: Instant, stream: &mut Stream, epoch: Epoch, what: Pushed, result: &[u8]) -> bool {
        match (stream, what) {
            (Stream::Filled(core), Pushed::Head) => {
                let Some(mut header) = read_head(result) else { return false };
                if let Some(source) = self.epochs.borrow().get(&epoch) {
                    source.upstream.slot.said_head.hear(header.number);
                    source.upstream.slot.newest.hear(header.number);
                }
                if self.is_of_logs() {
                    header.raw = Raw::default();
                }
                core.on_head(now, epoch, header);
            }
            (Stream::Filled(core), Pushed::Log) => {
                // That one is removed follows from the headers.
                if let Some((log, false)) = read_log(result) {
                    core.on_log(now, epoch, log);
                }
            }
            (Stream::Relayed(relay), Pushed::Other) => return relay.hears(epoch),
            _ => {}
        }
        false
    }

    pub(super) fn on_filled(self: &Rc<Self>, shard: &Rc<Shard>, id: FetchId, filled: Filled) {
        let now = shard.clock.now();
        self.hear(shard, |stream| {
            let Stream::Filled(core) = stream else { return };
            match filled {
                Filled::Headers(mut headers) => {
                    for header in headers.iter_mut().filter(|_| self.is_of_logs()) {
                        header.raw = Raw::default();
                    }
                    core.on_fetched_headers(now, id, headers);
                }
                Filled::Logs { logs, knows_block } => core.on_fetched_logs(now, id, logs, knows_block),
                Filled::Nothing => core.on_unfetched(now, id),
            }
        });
    }

    /// Time passes: what the node knows of the chain, and of whoever is heard.
    fn look(self: &Rc<Self>, shard: &Rc<Shard>) {
        let now = shard.clock.now();
        self.stream.borrow_mut().on_tick(now);
        let head = shard.view().chain(&self.key.chain).and_then(|chain| chain.entry.head.get());
        if let (Stream::Filled(core), Some(head)) = (&mut *self.stream.borrow_mut(), head) {
            core.on_head_elsewhere(now, head);
        }
        let strays = |source: &Source| source.upstream.slot.footing.get() == Footing::WrongChain;
        let stray = self.epochs.borrow().iter().find(|(_, source)| strays(source)).map(|(epoch, _)| *epoch);
        if let Some(epoch) = stray {
            self.on_lost(shard, epoch);
        }
    }

    /// The newest block that it has told of.
    fn height(&self) -> Option<u64> {
        match &*self.stream.borrow() {
            Stream::Filled(core) => core.tip().map(|tip| tip.number),
            Stream::Relayed(_) => None,
        }
    }

    /// Does all that the stream wants done.
    fn act(self: &Rc<Self>, shard: &Rc<Shard>) {
        loop {
            let action = self.stream.borrow_mut().poll();
            self.begin_if_due(shard);
            match action {
                None => return,
                Some(Action::Subscribe { epoch, instead_of }) => self.subscribe(shard, epoch, instead_of),
                Some(Action::Unsubscribe { epoch }) => {
                    self.epochs.borrow_mut().remove(&epoch);
                }
                Some(Action::Fetch { id, fetch }) => fill::begin(shard, self, id, fetch),
                Some(Action::Emit(emission)) => {
                    let result = match emission {
                        Emission::Head(header) => header.raw,
                        Emission::Log(log) => log.raw,
                        Emission::Removed(log) => as_removed(&log.raw),
                    };
                    self.tell(shard, self.height(), &result);
                }
                Some(Action::Close { reason }) => self.end(shard, &FeedEnd::Broken(reason)),
            }
        }
    }

    fn begin_if_due(&self, shard: &Rc<Shard>) {
        let is_due = match &*self.stream.borrow() {
            Stream::Filled(core) => core.tip().is_some(),
            Stream::Relayed(_) => self.epochs.borrow().values().any(|source| source.attached.is_some()),
        };
        if is_due && !self.begun.replace(true) {
            for &Follower { shard: to, feed } in self.followers.borrow().iter() {
                post::send(shard, to, FeedWord::Began { feed });
            }
        }
    }

    fn subscribe(self: &Rc<Self>, shard: &Rc<Shard>, epoch: Epoch, instead_of: Option<Epoch>) {
        shard.refresh();
        let view = shard.view();
        let Some(route) = choose::route(&view, &self.key) else {
            return self.end(shard, &FeedEnd::Broken("this chain is not served any more"));
        };
        let before = self.heard_last.get().filter(|(epoch, _)| Some(*epoch) == instead_of).map(|(_, slot)| slot);
        let Some(upstream) = choose::choose(shard, &view, &route, self, before) else {
            return self.stream.borrow_mut().on_lost(shard.clock.now(), epoch);
        };
        let wish = match &self.key.wanted {
            Wanted::NewHeads => Wish::Heads,
            Wanted::Logs(filter) => {
                let mut json = Vec::new();
                filter.write(&mut json);
                Wish::Logs { filter: json }
            }
            Wanted::Other(params) => Wish::Other { params: params.clone() },
        };
        self.epochs.borrow_mut().insert(epoch, Source { upstream: Rc::clone(&upstream), attached: None });
        // Where there is no other provider, what makes it look for one is most likely that this one's heads are silent.
        let is_same = before == Some(upstream.slot.number);
        let stale_after = if is_same { self.stale_after } else { Duration::MAX };
        ear::listen(shard, self, Listen { epoch, upstream, wish, stale_after });
    }

    /// Tells all that follow it. A shard that has no room ends it for its clients, and no longer follows it: nor does it
    /// say that it leaves.
    fn tell(self: &Rc<Self>, shard: &Rc<Shard>, height: Option<u64>, result: &Raw) {
        let told: Vec<(usize, u64)> =
            self.followers.borrow().iter().map(|follower| (follower.shard, follower.feed)).collect();
        for (to, feed) in told {
            if !post::send(shard, to, FeedWord::Told { feed, height, result: Arc::clone(result) }) {
                let end = FeedEnd::Broken("this node could not keep up");
                post::send(shard, to, FeedWord::Ended { feed, end });
                self.followers.borrow_mut().retain(|known| (known.shard, known.feed) != (to, feed));
            }
        }
        if self.followers.borrow().is_empty() {
            self.end(shard, &FeedEnd::Closing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::alone::beside;

    const CONFIG: &str = "[[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"alpha\"\n\
                          url = \"http://127.0.0.1:9\"\nws_url = \"ws://127.0.0.1:9/\"\n";

    type Input = fn(&Rc<Owned>, &Rc<Shard>);

    #[test]
    fn a_stream_that_panics_in_whoevers_task_is_over_and_hears_nothing_more() {
        beside(CONFIG, |shard, _control, other| async move {
            let key = Arc::new(FeedKey { chain: "ethereum".into(), only: None, wanted: Wanted::NewHeads });
            let inputs: [Input; 3] = [
                |owned, shard| owned.on_lost(shard, Epoch(1)),
                |owned, shard| owned.on_pushed(shard, Epoch(1), Pushed::Head, b"{}"),
                |owned, shard| owned.on_filled(shard, FetchId::default(), Filled::Nothing),
            ];
            for (n, input) in (1..).zip(inputs) {
                on_join(&shard, 1, n, Arc::clone(&key));
                let owned = shard.feeds.owned.borrow().get(&key).cloned().unwrap();
                // As good as any panic of the stream's.
                let held = owned.stream.borrow();
                input(&owned, &shard);
                drop(held);
                assert_eq!(shard.counters.panics.get(), n);
                assert!(owned.over.get() && shard.feeds.owned.borrow().is_empty());
                assert!(matches!(other.next(), Some(FeedWord::Ended { feed, end: FeedEnd::Broken(_) }) if feed == n));
                assert!(owned.hear(&shard, |_| ()).is_none());
            }
        });
    }

    #[test]
    fn a_feed_ends_with_the_last_shard_that_had_no_room_for_it() {
        beside(CONFIG, |shard, _control, other| async move {
            let key = Arc::new(FeedKey { chain: "ethereum".into(), only: None, wanted: Wanted::NewHeads });
            on_join(&shard, 1, 7, Arc::clone(&key));
            let owned = shard.feeds.owned.borrow().get(&key).cloned().unwrap();
            let result = Raw::from(&b"1"[..]);
            let room = limits::MESH_WORDS_MAX + limits::MESH_KEPT_WORDS_MAX;
            (0..room).for_each(|_| owned.tell(&shard, None, &result));
            assert!(!owned.over.get());
            owned.tell(&shard, None, &result);
            assert!(owned.over.get() && shard.feeds.owned.borrow().is_empty());
            assert_eq!(shard.counters.feeds.get(), 0);
            // The other is told all that fitted, and then the end.
            let (mut told, mut ended) = (0, 0);
            while ended == 0 {
                while let Some(word) = other.next() {
                    match word {
                        FeedWord::Told { feed: 7, .. } if ended == 0 => told += 1,
                        FeedWord::Ended { feed: 7, end: FeedEnd::Broken(_) } => ended += 1,
                        word => panic!("{word:?}"),
                    }
                }
                shard.timers.sleep_until(shard.clock.now() + limits::MESH_RETRY).await;
            }
            assert_eq!(told, room);
        });
    }
}
