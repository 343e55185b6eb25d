//! One provider's connections on one shard: which one is used, and when another is opened.
//!
//! All who need one while it is being opened wait for the same. The provider's gate is respected as a call respects it: for
//! a call it has been looked at before.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::link::{Link, Use};
use super::open::OpenError;
use super::task::{Opening, Task, pass_gate};
use crate::config;
use crate::limits;
use crate::link::{ProviderEntry, ProviderSlot};
use crate::shard::Shard;
use crate::shard::upstream::connect::{ConnectLimits, Tls};
use crate::shard::upstream::{Upstream, fields, parts};
use crate::time::Instant;
use crate::websocket::deflate::DeflateTerms;
use crate::websocket::{CloseCode, UpgradeTemplate};

/// What the config says of all providers' WebSockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) connect: ConnectLimits,
    pub(super) subscriptions_max: usize,
    pub(super) ping_after: Duration,
    pub(super) pong_timeout: Duration,
    /// For what is sent to be taken.
    pub(super) patience: Duration,
    /// How long a connection for calls is kept when nobody uses it.
    pub(super) idle_timeout: Duration,
    /// One connection for calls is kept open.
    warm: bool,
    compression: bool,
}

/// See the module.
pub(crate) struct Sockets {
    url: config::Url,
    settings: Cell<Settings>,
    /// The request but for its nonce.
    template: RefCell<UpgradeTemplate>,
    tls: RefCell<Option<Rc<Tls>>>,
    addresses: RefCell<Arc<[SocketAddr]>>,
    /// Position of the address that worked last.
    address_first: Cell<usize>,
    links: RefCell<Vec<Rc<Link>>>,
    /// Those that are being opened, one for either use.
    opening: RefCell<Vec<Rc<Opening>>>,
    backoff: Cell<Backoff>,
    retired: Cell<bool>,
}

impl Sockets {
    /// None for a provider without a WebSocket.
    pub(crate) fn new(
        entry: &ProviderEntry,
        tls: &Arc<rustls::ClientConfig>,
        config: &config::Upstream,
    ) -> Option<Rc<Self>> {
        let url = entry.slot.ws_url.clone()?;
        let settings = Settings::of(config);
        Some(Rc::new(Self {
            template: RefCell::new(template(&entry.slot, &url, settings.compression)),
            settings: Cell::new(settings),
            tls: RefCell::new(Tls::new(&url, tls).map(Rc::new)),
            addresses: RefCell::new(Arc::clone(&entry.ws_addresses)),
            address_first: Cell::new(0),
            links: RefCell::default(),
            opening: RefCell::default(),
            backoff: Cell::default(),
            retired: Cell::new(false),
            url,
        }))
    }

    /// Takes over what may change while the provider stays. Connections that are open go on by what held when they were
    /// opened.
    pub(crate) fn update(&self, entry: &ProviderEntry, tls: &Arc<rustls::ClientConfig>, config: &config::Upstream) {
        let settings = Settings::of(config);
        if settings.compression != self.settings.replace(settings).compression {
            *self.template.borrow_mut() = template(&entry.slot, &self.url, settings.compression);
        }
        *self.tls.borrow_mut() = Tls::new(&self.url, tls).map(Rc::new);
        if *self.addresses.borrow() != entry.ws_addresses {
            *self.addresses.borrow_mut() = Arc::clone(&entry.ws_addresses);
            self.address_first.set(0);
        }
    }

    /// Whether its name leads anywhere.
    pub(crate) fn is_resolved(&self) -> bool {
        !self.addresses.borrow().is_empty()
    }

    /// Whether a call of usual size would find a connection, or may open one. Else another provider is asked, and none of the
    /// call's attempts is used up.
    pub(crate) fn has_room_for_call(&self, now: Instant) -> bool {
        let may_open = || self.may_open_another(Use::Calls) && self.backoff.get().allows(now);
        self.find(Use::Calls, |link| link.has_room_for_call(0)).is_some()
            || self.opening(Use::Calls).is_some()
            || may_open()
    }

    /// Whether a connection for calls should be opened ahead of need.
    pub(crate) fn is_cold(&self, now: Instant) -> bool {
        self.settings.get().warm
            && !self.retired.get()
            && self.backoff.get().allows(now)
            && self.opening(Use::Calls).is_none()
            && self.find(Use::Calls, Link::is_open).is_none()
    }

    /// Opens no more, and ends what is open once its calls are answered.
    pub(crate) fn retire(&self, shard: &Shard, code: CloseCode) {
        self.retired.set(true);
        let links = self.links.borrow().clone();
        for link in links {
            link.leave(shard, code);
        }
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings.get()
    }

    pub(super) fn addresses(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.addresses.borrow())
    }

    pub(super) fn address_first(&self) -> usize {
        self.address_first.get()
    }

    pub(super) fn works_at(&self, position: usize) {
        self.address_first.set(position);
    }

    pub(super) fn tls(&self) -> Option<Rc<Tls>> {
        self.tls.borrow().clone()
    }

    pub(super) fn template(&self) -> UpgradeTemplate {
        self.template.borrow().clone()
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// `opening` is over: with a connection, or with none.
    pub(super) fn on_opened(&self, opening: &Rc<Opening>, link: Option<&Rc<Link>>) {
        self.opening.borrow_mut().retain(|other| !Rc::ptr_eq(other, opening));
        self.links.borrow_mut().extend(link.map(Rc::clone));
    }

    /// A connection is over.
    pub(super) fn on_over(&self, link: &Rc<Link>) {
        self.links.borrow_mut().retain(|other| !Rc::ptr_eq(other, link));
    }

    /// A connection could not be opened, or nothing was answered on it.
    pub(super) fn on_failure(&self, shard: &Shard) {
        let mut backoff = self.backoff.get();
        backoff.on_failure(shard.clock.now(), shard.draw());
        self.backoff.set(backoff);
    }

    /// How long `link` is kept when nobody uses it; none: for ever.
    pub(super) fn kept_for(&self, link: &Link) -> Option<Duration> {
        let Settings { warm, idle_timeout, .. } = self.settings.get();
        match link.usage {
            Use::Subscriptions => Some(limits::UPSTREAM_SOCKET_GRACE),
            Use::Calls => {
                let is_only = self.count(Use::Calls) <= 1;
                (!(warm && is_only)).then_some(idle_timeout)
            }
        }
    }

    /// Something was answered on a connection for the first time.
    pub(super) fn on_answer(&self) {
        let mut backoff = self.backoff.get();
        backoff.on_answer();
        self.backoff.set(backoff);
    }

    /// A connection that `fits`: one that is open, or a new one.
    pub(super) async fn link(
        self: &Rc<Self>,
        shard: &Shard,
        upstream: &Rc<Upstream>,
        usage: Use,
        fits: impl Fn(&Link) -> bool,
    ) -> Result<Rc<Link>, OpenError> {
        // Ends: each turn that finds none opens another, of which there may be so many.
        loop {
            if let Some(link) = self.find(usage, &fits) {
                return Ok(link);
            }
            let opening = match self.opening(usage) {
                Some(opening) => opening,
                None => self.begin(shard, upstream, usage)?,
            };
            opening.ended().await?;
        }
    }

    /// The one with the fewest calls of those that fit.
    pub(super) fn find(&self, usage: Use, fits: impl Fn(&Link) -> bool) -> Option<Rc<Link>> {
        let links = self.links.borrow();
        let fit = links.iter().filter(|link| link.usage == usage && link.is_open() && fits(link));
        fit.min_by_key(|link| link.calls()).map(Rc::clone)
    }

    fn count(&self, usage: Use) -> usize {
        self.links.borrow().iter().filter(|link| link.usage == usage).count()
    }

    fn may_open_another(&self, usage: Use) -> bool {
        !self.retired.get() && self.count(usage) < limits::UPSTREAM_SOCKETS_MAX
    }

    fn opening(&self, usage: Use) -> Option<Rc<Opening>> {
        self.opening.borrow().iter().find(|opening| opening.usage == usage).map(Rc::clone)
    }

    /// Begins to open a connection.
    fn begin(self: &Rc<Self>, shard: &Shard, upstream: &Rc<Upstream>, usage: Use) -> Result<Rc<Opening>, OpenError> {
        let (now, shard) = (shard.clock.now(), shard.handle().ok_or(OpenError::Retired)?);
        if self.retired.get() {
            return Err(OpenError::Retired);
        }
        if !self.may_open_another(usage) {
            return Err(OpenError::Full);
        }
        if !self.backoff.get().allows(now) {
            return Err(OpenError::BackingOff);
        }
        let trial = match usage {
            Use::Calls => None,
            Use::Subscriptions => pass_gate(&shard, upstream, now)?,
        };
        let opening = Rc::new(Opening::new(usage));
        self.opening.borrow_mut().push(Rc::clone(&opening));
        let (ring, upstream, sockets) = (shard.ring.clone(), Rc::clone(upstream), Rc::clone(self));
        let task = Task { shard, upstream, sockets, opening: Rc::clone(&opening), since: now };
        ring.spawn(task.run(trial)).detach();
        Ok(opening)
    }
}

impl Settings {
    fn of(config: &config::Upstream) -> Self {
        Self {
            connect: ConnectLimits { timeout: config.connect_timeout, user_timeout: config.user_timeout },
            subscriptions_max: config.subscriptions_per_connection,
            ping_after: config.ping_after,
            pong_timeout: config.pong_timeout,
            patience: config.progress_timeout,
            idle_timeout: config.idle_timeout,
            warm: config.connections_warm > 0,
            compression: config.compression,
        }
    }
}

fn template(slot: &ProviderSlot, url: &config::Url, compression: bool) -> UpgradeTemplate {
    // Each message by itself: a window of the provider's, kept for as long as the connection lives, is no gain for heads.
    let deflate = compression.then(|| DeflateTerms::new(15, false));
    UpgradeTemplate::new(&parts(url, &fields(slot)), deflate).expect("the config checks what goes into a head")
}
