//! One provider as one shard sees it: its pool, its request head, what this shard has learned of it.

pub(crate) mod body;
pub(crate) mod connect;
pub(crate) mod exchange;
pub(crate) mod pool;
pub(crate) mod socket;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::Shard;
use super::door::Ask;
use super::lessons::{self, Taught};
use connect::{ConnectLimits, Tls};
use pool::{Pool, PoolLimits};
use socket::Sockets;

use crate::config::{self, CallsOver};
use crate::http::{FieldLines, HeadReader, ResponseHead, UpstreamParts, UpstreamTemplate};
use crate::jsonrpc::{MethodClass, MethodInfo};
use crate::link::{ProviderEntry, ProviderPlan, ProviderSlot};
use crate::routing::{Allotment, Gap, Gate, Learned, LearnedConfig, Outruns, Place};
use crate::time::Instant;
use crate::websocket::CloseCode;

/// A provider's shard-local side. Lives as long as a snapshot names its slot, and beyond it for the calls that run.
pub(crate) struct Upstream {
    pub(crate) slot: Arc<ProviderSlot>,
    pub(crate) priority: Cell<u32>,
    pub(crate) weight: Cell<u32>,
    pub(crate) pool: Rc<Pool>,
    /// None: it has no WebSocket.
    pub(crate) sockets: Option<Rc<Sockets>>,
    calls: Cell<CallsOver>,
    pub(crate) in_flight: Cell<u32>,
    /// By [`MethodClass::index`]: one that answers what is cheap may hang on what is not.
    outruns: [Cell<Outruns>; MethodClass::ALL.len()],
    /// `X-Livechain-Provider`.
    pub(crate) name_line: Rc<FieldLines>,
    /// When a connection may next be opened ahead of need; never, while one is being opened.
    warm_from: Cell<Instant>,
    /// The request head but for its length.
    request: UpstreamTemplate,
    /// Reads the heads of its answers.
    heads: RefCell<HeadReader<ResponseHead>>,
    /// What may be sent to it, and what this shard has taken of that and not sent yet.
    plan: RefCell<Option<Arc<ProviderPlan>>>,
    allotment: RefCell<Allotment>,
    tls: RefCell<Option<Rc<Tls>>>,
    connect_limits: Cell<ConnectLimits>,
    addresses: RefCell<Arc<[SocketAddr]>>,
    /// Position of the address that worked last.
    address_first: Cell<usize>,
    /// What it has shown that it cannot do; none while nothing is believed against it, which is nearly always.
    learned: RefCell<Option<Box<Learned>>>,
}

impl Upstream {
    pub(crate) fn new(entry: &ProviderEntry, tls: &Arc<rustls::ClientConfig>, config: &config::Upstream) -> Rc<Self> {
        let url = &entry.slot.url;
        let request = UpstreamTemplate::new(&parts(url, &fields(&entry.slot)));
        let name_line = FieldLines::new(&[("X-Livechain-Provider", &entry.slot.id)]);
        Rc::new(Self {
            slot: Arc::clone(&entry.slot),
            priority: Cell::new(entry.priority),
            weight: Cell::new(entry.weight),
            pool: Pool::new(pool_limits(config)),
            sockets: Sockets::new(entry, tls, config),
            calls: Cell::new(entry.calls),
            in_flight: Cell::new(0),
            outruns: Default::default(),
            name_line: Rc::new(name_line.expect("the config lets only words be ids")),
            warm_from: Cell::new(Instant::START),
            request: request.expect("the config checks what goes into a head"),
            heads: RefCell::default(),
            plan: RefCell::new(entry.plan.clone()),
            allotment: RefCell::default(),
            tls: RefCell::new(Tls::new(url, tls).map(Rc::new)),
            connect_limits: Cell::new(connect_limits(config)),
            addresses: RefCell::new(Arc::clone(&entry.addresses)),
            address_first: Cell::new(0),
            learned: RefCell::default(),
        })
    }

    /// Takes over what may change while the slot stays.
    pub(crate) fn update(&self, entry: &ProviderEntry, tls: &Arc<rustls::ClientConfig>, config: &config::Upstream) {
        *self.tls.borrow_mut() = Tls::new(&self.slot.url, tls).map(Rc::new);
        self.plan.borrow_mut().clone_from(&entry.plan);
        self.priority.set(entry.priority);
        self.weight.set(entry.weight);
        self.pool.set_limits(pool_limits(config));
        self.connect_limits.set(connect_limits(config));
        self.calls.set(entry.calls);
        if let Some(sockets) = &self.sockets {
            sockets.update(entry, tls, config);
        }
        if *self.addresses.borrow() != entry.addresses {
            *self.addresses.borrow_mut() = Arc::clone(&entry.addresses);
            self.address_first.set(0);
        }
    }

    /// Whether the name that its calls go to leads anywhere.
    #[inline]
    pub(crate) fn is_resolved(&self) -> bool {
        if self.calls_over_socket() { self.has_socket() } else { !self.addresses.borrow().is_empty() }
    }

    /// Whether a connection should be opened ahead of need; if so, it counts as being opened until it is there.
    pub(crate) fn wants_warm(&self, now: Instant) -> bool {
        let open = self.is_resolved() && self.slot.standing.gate(now) == Gate::Open;
        let is_cold = match &self.sockets {
            Some(sockets) if self.calls_over_socket() => sockets.is_cold(now),
            _ => self.pool.cold() > 0,
        };
        let wanted = open && is_cold && now >= self.warm_from.get();
        if wanted {
            self.warm_from.set(Instant::NEVER);
        }
        wanted
    }

    /// Whether it can be heard over a WebSocket: it has one, and its name leads somewhere.
    pub(crate) fn has_socket(&self) -> bool {
        self.sockets.as_ref().is_some_and(|sockets| sockets.is_resolved())
    }

    /// Whether its calls go over WebSocket.
    #[inline]
    pub(crate) fn calls_over_socket(&self) -> bool {
        self.calls.get() == CallsOver::WebSocket
    }

    /// Whether a call would find a connection or a place in the queue.
    #[inline]
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        if self.calls_over_socket() { self.socket_has_room(now) } else { self.pool.has_room() }
    }

    /// Whether a call would not have to wait for another one's end.
    pub(crate) fn is_free(&self, now: Instant) -> bool {
        if self.calls_over_socket() { self.socket_has_room(now) } else { self.pool.is_free() }
    }

    #[cold]
    fn socket_has_room(&self, now: Instant) -> bool {
        self.sockets.as_ref().is_some_and(|sockets| sockets.has_room_for_call(now))
    }

    /// Closes what is open and unused, and what comes free from now on: the provider is gone.
    pub(crate) fn retire(&self, shard: &Shard) {
        self.pool.retire();
        if let Some(sockets) = &self.sockets {
            sockets.retire(shard, CloseCode::NORMAL);
        }
    }

    pub(crate) fn addresses(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.addresses.borrow())
    }

    /// Whether nothing is believed against it.
    #[inline]
    pub(crate) fn is_blank(&self) -> bool {
        self.learned.borrow().is_none()
    }

    /// What it is believed to lack for the call, if anything.
    #[inline]
    pub(crate) fn gap(&self, ask: &Ask<'_>, now: Instant) -> Option<Gap> {
        self.learned.borrow().as_ref()?.allows(&ask.needs(), now).err()
    }

    /// An attempt at `ask` has taught something.
    #[inline]
    pub(crate) fn learn(&self, ask: &Ask<'_>, taught: Taught, now: Instant, config: &LearnedConfig) {
        if taught != Taught::Nothing {
            let mut learned = self.learned.borrow_mut();
            let was_blank = learned.is_none();
            let believed = learned.get_or_insert_default();
            lessons::learn(believed, ask, taught, now, config);
            let is_blank = believed.is_blank(now);
            // Who has learned nothing has no word on what other shards believe.
            if !(was_blank && is_blank) {
                self.slot.beliefs.tell(believed);
            }
            if is_blank {
                *learned = None;
            }
        }
    }

    /// Whether its plan has room for a call of `method`, written `name`, now.
    pub(crate) fn plan_has_room(&self, method: &'static MethodInfo, name: &str, now: Instant) -> bool {
        let plan = self.plan.borrow();
        plan.as_ref().is_none_or(|plan| {
            let units = plan.units.of(method, name);
            self.slot.outbound.full(now, units, &plan.plan, &self.allotment.borrow()).is_none()
        })
    }

    /// Counts a call of `method`, written `name`, that runs at this provider until the guard is dropped. None when its plan has no room: another
    /// shard was faster.
    pub(crate) fn enter(self: &Rc<Self>, method: &'static MethodInfo, name: &str, now: Instant) -> Option<InFlight> {
        let place = match &*self.plan.borrow() {
            None => None,
            Some(plan) => {
                let (units, own) = (plan.units.of(method, name), &mut self.allotment.borrow_mut());
                Some(self.slot.outbound.take(now, units, &plan.plan, own).ok()?)
            }
        };
        self.in_flight.set(self.in_flight.get() + 1);
        Some(InFlight { upstream: Rc::clone(self), place })
    }

    /// Changes what is known of its attempts of a class that were outrun.
    pub(crate) fn with_outruns<T>(&self, class: MethodClass, change: impl FnOnce(&mut Outruns) -> T) -> T {
        let of_class = &self.outruns[class.index()];
        let mut outruns = of_class.get();
        let changed = change(&mut outruns);
        of_class.set(outruns);
        changed
    }

    /// An attempt that is left to its end, if there is to be one now.
    pub(crate) fn look(self: &Rc<Self>, class: MethodClass) -> Option<Look> {
        self.with_outruns(class, Outruns::look).then(|| Look(Rc::clone(self), class))
    }

    /// It refused a call, sent at `sent`, for its rate. Answers what is left of its plan in thousandths, where that is less now.
    pub(crate) fn on_limited(&self, now: Instant, sent: Instant) -> Option<u32> {
        self.slot.outbound.on_limited(now, sent, &self.plan.borrow().as_ref()?.by)
    }
}

/// An attempt that is left to its end.
pub(crate) struct Look(Rc<Upstream>, MethodClass);

impl Drop for Look {
    fn drop(&mut self) {
        self.0.with_outruns(self.1, Outruns::on_end);
    }
}

/// A call that runs at a provider.
pub(crate) struct InFlight {
    upstream: Rc<Upstream>,
    /// In what its plan allows at once.
    place: Option<Place>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.upstream.in_flight.set(self.upstream.in_flight.get() - 1);
        if let Some(place) = self.place.take() {
            self.upstream.slot.outbound.leave(place);
        }
    }
}

/// The operator's own header fields for a provider.
fn fields(slot: &ProviderSlot) -> Vec<(&str, &str)> {
    slot.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
}

/// What requests to a provider say, over HTTP and at the handshake of a WebSocket.
fn parts<'a>(url: &'a config::Url, fields: &'a [(&'a str, &'a str)]) -> UpstreamParts<'a> {
    UpstreamParts {
        target: url.target.expose(),
        host: &url.host,
        port: url.port,
        tls: url.tls,
        authorization: url.authorization.as_ref().map(config::Secret::expose),
        fields,
        gzip: false,
    }
}

fn pool_limits(config: &config::Upstream) -> PoolLimits {
    PoolLimits {
        connections_max: config.connections_max,
        connections_warm: config.connections_warm,
        queue_max: config.queue_max,
        idle_timeout: config.idle_timeout,
    }
}

fn connect_limits(config: &config::Upstream) -> ConnectLimits {
    ConnectLimits { timeout: config.connect_timeout, user_timeout: config.user_timeout }
}
