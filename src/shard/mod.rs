//! The data plane: one shard per core. What shards share on the path of a request stands in the crate's documentation.
//!
//! A shard owns its listeners, its client connections, its pools of connections to providers and its measurements. A
//! client's connection is one task ([`serve`]), which asks a provider within itself: a request is handed to no other
//! task. What control has for a shard comes by slots and by a ring of probes ([`crate::link`]); the doorbell wakes the shard to
//! look ([`start`]). A shard never waits for control.

mod accept;
mod access;
#[cfg(test)]
mod alone;
mod arrive;
mod batch;
mod buffers;
mod candidates;
mod client;
mod clock;
mod door;
mod feeds;
mod filters;
mod guard;
mod heap;
mod idle;
mod judge;
mod lessons;
mod metering;
mod pace;
mod place;
mod probe;
mod race;
mod record;
mod report;
mod respond;
pub mod ring;
mod sent;
mod serve;
pub mod start;
mod tenants;
mod timers;
mod tls;
mod transport;
mod upstream;
mod view;
mod wake;
mod websocket;
mod wheel;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

pub use start::{Listening, Seed, StartError, spawn};

use self::buffers::Buffers;
use self::clock::Clock;
use self::feeds::Feeds;
use self::heap::on_heap;
use self::idle::IdleSet;
use self::pace::Pace;
use self::probe::Probing;
use self::record::Recorder;
use self::ring::Ring;
use self::sent::SentTransactions;
use self::start::Closing;
use self::tenants::Tenants;
use self::timers::Timers;
use self::view::View;
use self::websocket::Codecs;
use crate::jsonrpc::{MethodClass, Scratch};
use crate::link::{
    Addresses, Counters, Entrance, Event, EventKind, Phase, PhaseCell, ProviderSlot, Rankings, Slot, Snapshot,
};
use crate::routing::{Changes, Health, HedgeBudget, Rest, RestChange, Transition};
use crate::time::Instant;

/// All that one shard owns.
pub(crate) struct Shard {
    pub(crate) ring: Ring,
    pub(crate) clock: Rc<Clock>,
    pub(crate) timers: Rc<Timers>,
    pub(crate) buffers: Buffers,
    pub(crate) recorder: Recorder,
    pub(crate) probing: Probing,
    pub(crate) counters: Arc<Counters>,
    /// Those of all shards, for what is told of the node.
    pub(crate) node: Arc<[Arc<Counters>]>,
    pub(crate) idle: IdleSet,
    pub(crate) closing: Closing,
    /// Client connections open.
    pub(crate) connections: Cell<usize>,
    /// How fast it takes them in.
    pub(crate) pace: Cell<Pace>,
    /// What connections are let in with, and what their addresses have, at all shards.
    pub(crate) entrance: Arc<Slot<Entrance>>,
    pub(crate) addresses: Arc<Addresses>,
    /// Refused connections that are being seen off.
    pub(crate) dismissed: Cell<u32>,
    pub(crate) scratch: RefCell<Scratch>,
    /// What clients' WebSockets are compressed with.
    pub(crate) codecs: Rc<Codecs>,
    /// Hashes of transactions that were sent through this shard lately.
    pub(crate) sent_transactions: RefCell<SentTransactions>,
    /// What this shard may send beside calls that take their time.
    pub(crate) hedges: RefCell<HedgeBudget>,
    pub(crate) feeds: Feeds,
    pub(crate) tenants: Tenants,
    phase: Arc<PhaseCell>,
    snapshots: Arc<Slot<Snapshot>>,
    /// The generation that `view` was made from.
    generation: Cell<u64>,
    view: RefCell<Rc<View>>,
    rankings: Arc<Slot<Rankings>>,
    /// The generation that the view's chains go by.
    ranked: Cell<u64>,
    /// Counts from 0.
    index: usize,
    request_ids: Cell<u64>,
    /// Itself, for tasks of its own.
    me: Weak<Self>,
}

/// A client's connection, counted until it is dropped.
pub(crate) struct Connected(Rc<Shard>);

impl Shard {
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Whether another process accepts from our listeners now.
    pub(crate) fn handed_over(&self) -> bool {
        self.phase.handed_over()
    }

    /// Itself, for a task that outlives the borrow. None once it has ended.
    pub(crate) fn handle(&self) -> Option<Rc<Self>> {
        self.me.upgrade()
    }

    pub(crate) fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    /// Takes over what control has published since; called between requests.
    #[inline]
    pub(crate) fn refresh(&self) {
        if self.snapshots.generation() != self.generation.get() {
            self.take_snapshot();
        }
        if self.rankings.generation() != self.ranked.get() {
            self.take_rankings();
        }
        if self.tenants.is_old() {
            self.tenants.take_roster(&self.view().snapshot.config.node.region, self.clock.now());
        }
    }

    #[cold]
    fn take_snapshot(&self) {
        let (generation, snapshot) = self.snapshots.load();
        let older = self.view();
        let newer = View::new(snapshot, Some(&older), self.request_id());
        self.generation.set(generation);
        *self.view.borrow_mut() = Rc::clone(&newer);
        // Whoever hears of it finds the newer one.
        older.retire(&newer, self);
        // The newest may have come before the snapshot that it is about.
        self.take_rankings();
    }

    #[cold]
    fn take_rankings(&self) {
        let (generation, rankings) = self.rankings.load();
        self.ranked.set(generation);
        for (chain, ranked) in self.view().chains.iter().zip(&rankings.chains) {
            chain.adopt(ranked, self.index);
        }
    }

    /// A number that no other request of this process has, and hardly one of another.
    pub(crate) fn request_id(&self) -> u64 {
        let id = self.request_ids.get();
        // An odd step visits every number before one comes again, and neighbours do not look alike.
        self.request_ids.set(id.wrapping_add(0x9e37_79b9_7f4a_7c15));
        id
    }

    /// Even bits, for whatever is to be spread.
    pub(crate) fn draw(&self) -> u64 {
        self.request_id()
    }

    /// Tells control what an attempt at a call of `class` changed in a provider's standing.
    pub(crate) fn tell(
        &self,
        slot: &ProviderSlot,
        now: Instant,
        class: MethodClass,
        changes: &Changes,
        health: Health,
    ) {
        if let Some(transition) = changes.breaker {
            self.tell_breaker(slot, transition);
        }
        match changes.cooldown {
            Some(RestChange::Began(Rest::Cooled { until })) => self.event(slot, EventKind::Cooldown(until.since(now))),
            Some(RestChange::Began(Rest::Parked { until })) => self.event(slot, EventKind::Parked(until.since(now))),
            Some(RestChange::Lifted) | None => {}
        }
        if let Some(RestChange::Began(Rest::Cooled { until } | Rest::Parked { until })) = changes.class_cooldown {
            self.event(slot, EventKind::ClassCooldown(class, until.since(now)));
        }
        if health == Health::Suspect && slot.is_refusal_news(now) {
            self.event(slot, EventKind::Unauthorized);
        }
    }

    pub(crate) fn tell_breaker(&self, slot: &ProviderSlot, transition: Transition) {
        self.event(
            slot,
            match transition {
                Transition::Opened { .. } => EventKind::BreakerOpened,
                Transition::HalfOpened => EventKind::BreakerHalfOpen,
                Transition::Closed => EventKind::BreakerClosed,
            },
        );
    }

    pub(crate) fn event(&self, slot: &ProviderSlot, kind: EventKind) {
        self.recorder.event(Event::of(slot, kind), &self.counters);
    }

    pub(crate) fn connected(self: &Rc<Self>) -> Connected {
        self.connections.set(self.connections.get() + 1);
        self.counters.connections.set(self.connections.get() as u64);
        Connected(Rc::clone(self))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let shard = &self.0;
        shard.connections.set(shard.connections.get() - 1);
        shard.counters.connections.set(shard.connections.get() as u64);
    }
}
