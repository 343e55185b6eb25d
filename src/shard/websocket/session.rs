//! What a connection's task, its calls and the feeds that it subscribes to share.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::Notice;
use super::sending::Sending;
use crate::link::FeedKey;
use crate::shard::Shard;
use crate::shard::feeds::Subscription;
use crate::tenant::{Account, LastingPlace, Visit};
use crate::time::Instant;
use crate::websocket::CloseCode;

/// See the module.
pub(crate) struct Session {
    /// This shard's own; no other has or had it.
    number: u64,
    /// The handshake's request id, by which the log knows the socket.
    pub(super) id: u64,
    pub(super) address: IpAddr,
    pub(super) sending: Sending,
    /// Messages under way.
    pub(super) in_flight: Cell<u32>,
    /// Wakes the connection when one has ended.
    ended: RefCell<Option<Waker>>,
    subscriptions: RefCell<Vec<Subscription>>,
    /// Those that wait for their feed to begin.
    pub(super) subscribing: Cell<usize>,
    is_over: Cell<bool>,
    /// The slot of the provider that its calls go to while nothing stands against it.
    pub(super) home: Cell<Option<u64>>,
    /// The newest block that it has been told of.
    floor: Cell<u64>,
    bearer: Option<Box<Bearer>>,
}

/// Whose session it is.
pub(super) struct Bearer {
    /// As it was last.
    account: RefCell<Rc<Account>>,
    /// What the handshake said, for rules that change.
    origin: Option<Box<[u8]>>,
    chain: Arc<str>,
    /// Counts against the key's quota.
    _place: Option<LastingPlace>,
}

impl Bearer {
    pub(super) fn new(
        account: &Rc<Account>,
        place: Option<LastingPlace>,
        origin: Option<&[u8]>,
        chain: &Arc<str>,
    ) -> Self {
        let (account, origin) = (RefCell::new(Rc::clone(account)), origin.map(Into::into));
        Self { account, origin, chain: Arc::clone(chain), _place: place }
    }
}

impl Session {
    /// `handshake`: its request's id and the client's address.
    pub(super) fn new(
        shard: &Shard,
        sending: Sending,
        (id, address): (u64, IpAddr),
        bearer: Option<Box<Bearer>>,
    ) -> Self {
        Self {
            number: shard.request_id(),
            id,
            address,
            sending,
            in_flight: Cell::new(0),
            ended: RefCell::default(),
            subscriptions: RefCell::default(),
            subscribing: Cell::new(0),
            is_over: Cell::new(false),
            home: Cell::new(None),
            floor: Cell::new(0),
            bearer,
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whose session it is; none where the node has no tenants.
    pub(crate) fn account(&self) -> Option<Rc<Account>> {
        self.bearer.as_ref().map(|bearer| Rc::clone(&bearer.account.borrow()))
    }

    /// Whether its key is not good any more for what it does. Looks for what has become of the key.
    pub(crate) fn is_gone(&self, region: &str, now: Instant) -> bool {
        let Some(Bearer { account, origin, chain, .. }) = self.bearer.as_deref() else { return false };
        let newest = account.borrow().newest();
        let Some(newest) = newest else { return true };
        let visit = Visit { chain, region, origin: origin.as_deref(), client: self.address };
        let is_gone = newest.visit(&visit, now).is_err();
        account.replace(newest);
        is_gone
    }

    /// When its key expires, as it was known last.
    pub(crate) fn expires(&self) -> Instant {
        self.bearer.as_deref().map_or(Instant::NEVER, |bearer| bearer.account.borrow().known.entry.expires)
    }

    /// It is told of a block of this number.
    pub(crate) fn saw(&self, height: u64) {
        self.floor.set(self.floor.get().max(height));
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor.get()
    }

    /// Waits until fewer than `most` messages are under way.
    pub(super) async fn has_room(&self, most: u32) {
        poll_fn(|cx| {
            if self.in_flight.get() < most {
                return Poll::Ready(());
            }
            *self.ended.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// A message is no longer under way.
    pub(super) fn on_answered(&self) {
        if let Some(waker) = self.ended.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Tells the client, by reference, if it has room for it. One that has none is closed: nothing is left out.
    pub(crate) fn notify(&self, notice: &Notice) -> bool {
        self.sending.shared(notice)
    }

    /// Closes the connection, once what waits has been sent.
    pub(crate) fn close_because(&self, code: CloseCode, reason: &'static str) {
        self.sending.close_because(code, reason);
    }

    /// The node closes: its connection need not rest until something else wakes it.
    pub(crate) fn nudge(&self) {
        self.sending.nudge();
    }

    /// Subscriptions, those under way included.
    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions.borrow().len() + self.subscribing.get()
    }

    /// By which of a feed's ids it is known to this client already.
    pub(crate) fn lanes_of(&self, key: &FeedKey) -> Vec<usize> {
        let subscriptions = self.subscriptions.borrow();
        subscriptions.iter().filter(|known| known.key() == key).map(Subscription::lane).collect()
    }

    /// Keeps a subscription, silent until it [begins](Session::begin).
    pub(super) fn keep(&self, subscription: Subscription) {
        if !self.is_over.get() {
            self.subscriptions.borrow_mut().push(subscription);
        }
    }

    /// The client has been told of these ids.
    pub(super) fn begin(self: &Rc<Self>, ids: &[u64]) {
        let subscriptions = self.subscriptions.borrow();
        for subscription in subscriptions.iter().filter(|known| ids.contains(&known.id())) {
            subscription.begin(self);
        }
    }

    /// Whether there was a subscription of this id, which is no more.
    pub(super) fn unsubscribe(&self, id: u64) -> bool {
        let mut subscriptions = self.subscriptions.borrow_mut();
        let Some(at) = subscriptions.iter().position(|known| known.id() == id) else { return false };
        let left = subscriptions.swap_remove(at);
        drop(subscriptions);
        drop(left);
        true
    }

    /// The connection is over: what calls still bring is dropped, and feeds let go of it.
    pub(super) fn end(&self) {
        self.is_over.set(true);
        self.sending.end();
        drop(self.subscriptions.take());
    }
}
