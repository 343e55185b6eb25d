//! Starting a shard: its thread, its executor, its ring, its tasks, and its end.
//!
//! Beside a task a client, a shard runs: the ring's driver, the timers' driver, one accept loop a listener, the
//! doorbell's, and one that ships what was measured and sweeps the pools.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};

use super::buffers::Buffers;
use super::clock::Clock;
use super::feeds::{self, Feeds};
use super::idle::IdleSet;
use super::probe::{self, Probing};
use super::record::Recorder;
use super::ring::{Ring, RingOptions};
use super::sent::SentTransactions;
use super::tenants::Tenants;
use super::timers::Timers;
use super::upstream::exchange;
use super::view::View;
use super::{Shard, accept};
use crate::jsonrpc::Scratch;
use crate::limits;
use crate::link::{
    Addresses, Counters, Doorbell, Entrance, MeshEnd, Phase, PhaseCell, ProbeShardEnd, Rankings, ShardEnd, Slot,
    Snapshot,
};
use crate::tenant::Roster;
use crate::websocket::CloseCode;

/// All that a shard gets from control. Everything shared is behind an `Arc` of its own cache lines.
#[allow(missing_debug_implementations)] // ringbuf's ends have none
pub struct Seed {
    /// Counts from 0.
    pub index: usize,
    /// The core that it is pinned to.
    pub core: usize,
    /// One or more an address.
    pub listeners: Vec<Listening>,
    /// What connections are let in with, for all shards.
    pub entrance: Arc<Slot<Entrance>>,
    /// What client addresses have at all shards.
    pub addresses: Arc<Addresses>,
    pub snapshots: Arc<Slot<Snapshot>>,
    pub rankings: Arc<Slot<Rankings>>,
    pub rosters: Arc<Slot<Roster>>,
    pub doorbell: Doorbell,
    pub mesh: MeshEnd,
    pub phase: Arc<PhaseCell>,
    pub counters: Arc<Counters>,
    /// Those of all shards.
    pub node: Arc<[Arc<Counters>]>,
    pub ends: ShardEnd,
    pub probes: ProbeShardEnd,
    /// Random, the same for all shards of this process: request ids begin from it.
    pub boot: u64,
    /// What [`crate::time::Instant::START`] stands for.
    pub epoch: std::time::Instant,
}

/// A socket to accept from.
#[derive(Debug)]
pub struct Listening {
    /// Bound and listening, `SO_REUSEPORT`.
    pub fd: OwnedFd,
    /// Clients speak TLS on it.
    pub secure: bool,
}

/// Why a shard could not start.
#[derive(Debug, thiserror::Error)]
#[error("shard {shard} on core {core} could not start: {message}")]
pub struct StartError {
    pub shard: usize,
    pub core: usize,
    pub message: String,
}

/// Starts a shard on a thread of its own and waits until it accepts.
///
/// The thread ends by itself once the phase is [`Phase::Closing`] and its connections are finished.
pub fn spawn(seed: Seed) -> Result<JoinHandle<()>, StartError> {
    let (shard, core) = (seed.index, seed.core);
    let failed = |message: String| StartError { shard, core, message };
    let (tell, told) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("shard-{shard}"))
        .spawn(move || thread(seed, &tell))
        .map_err(|error| failed(error.to_string()))?;
    match told.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(message)) => Err(failed(message)),
        Err(mpsc::RecvError) => Err(failed("its thread ended before it served".into())),
    }
}

fn thread(seed: Seed, tell: &mpsc::Sender<Result<(), String>>) {
    let placement = Placement::Fixed(seed.core);
    let executor = LocalExecutorBuilder::new(placement)
        .name("shard")
        // No file is read or written here: glommio's own buffers for that would be 10 MiB a shard.
        .io_memory(limits::EXECUTOR_IO_BYTES)
        // Nothing of a shard waits in the executor's own rings: they need no look.
        .preempt_timer(limits::EXECUTOR_PREEMPT)
        .make();
    let executor = match executor {
        Ok(executor) => executor,
        // The receiver waits for this word: it cannot be gone.
        Err(error) => return tell.send(Err(explain(&error.to_string()))).unwrap_or(()),
    };
    executor.run(async {
        match Shard::new(seed) {
            Ok((shard, posts)) => {
                let ring = shard.ring.clone();
                ring.watch(live(shard, posts, tell)).await;
            }
            Err(message) => tell.send(Err(message)).unwrap_or(()),
        }
    });
}

/// What went wrong, and what an operator can do about it.
fn explain(error: &str) -> String {
    format!(
        "{error}; it needs Linux 6.1 or later, io_uring not forbidden (sysctl kernel.io_uring_disabled, a container's \
         seccomp profile) and {} KiB of locked memory a shard (ulimit -l, LimitMEMLOCK)",
        limits::MEMLOCK_BYTES_PER_SHARD / 1024
    )
}

/// What a shard listens on.
pub(super) struct Posts {
    listeners: Vec<Listening>,
    doorbell: Doorbell,
}

impl Shard {
    pub(super) fn new(seed: Seed) -> Result<(Rc<Self>, Posts), String> {
        let (generation, snapshot) = seed.snapshots.load();
        let options = RingOptions { spin: snapshot.config.shards.spin, ..RingOptions::default() };
        let ring = Ring::new(options).map_err(|error| explain(&error.to_string()))?;
        let clock = Rc::new(Clock::new(ring.clone(), seed.epoch));
        let random = seed.boot ^ (seed.index as u64).rotate_right(16);
        let view = View::new(snapshot, None, random);
        let shard = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            timers: Timers::new(ring.clone(), Rc::clone(&clock), limits::TIMERS_PER_SHARD_MAX),
            buffers: Buffers::new(ring.clone()),
            ring,
            clock,
            recorder: Recorder::new(seed.ends),
            probing: Probing::new(seed.probes),
            counters: seed.counters,
            node: seed.node,
            idle: IdleSet::default(),
            closing: Closing::default(),
            connections: Cell::new(0),
            pace: Cell::default(),
            entrance: seed.entrance,
            addresses: seed.addresses,
            dismissed: Cell::new(0),
            scratch: RefCell::new(Scratch::new()),
            codecs: Rc::default(),
            sent_transactions: RefCell::new(SentTransactions::new(limits::SENT_TRANSACTIONS_KEPT)),
            hedges: RefCell::default(),
            feeds: Feeds::new(seed.mesh),
            tenants: Tenants::new(seed.rosters),
            phase: seed.phase,
            snapshots: seed.snapshots,
            generation: Cell::new(generation),
            view: RefCell::new(view),
            // Never a slot's: the first look takes over what is there.
            ranked: Cell::new(0),
            rankings: seed.rankings,
            index: seed.index,
            request_ids: Cell::new(random),
        });
        Ok((shard, Posts { listeners: seed.listeners, doorbell: seed.doorbell }))
    }
}

async fn live(shard: Rc<Shard>, posts: Posts, tell: &mpsc::Sender<Result<(), String>>) {
    let ring = shard.ring.clone();
    let driver = ring.start();
    let timers = ring.spawn(Rc::clone(&shard.timers).drive());
    let keeper = ring.spawn(keep(Rc::clone(&shard)));
    let bell = ring.spawn(listen_to_bell(Rc::clone(&shard), posts.doorbell));
    let accepting: Vec<_> = posts
        .listeners
        .into_iter()
        .map(|Listening { fd, secure }| (ring.listen(fd), secure))
        .map(|(listener, secure)| ring.spawn(accept::accept(Rc::clone(&shard), listener, secure)))
        .collect();
    tell.send(Ok(())).unwrap_or(());
    for task in accepting {
        task.await;
    }
    finish_clients(&shard).await;
    feeds::close(&shard);
    leave_providers(&shard).await;
    bell.cancel().await;
    keeper.cancel().await;
    ship_the_last(&shard).await;
    shard.timers.stop();
    timers.await;
    ring.shutdown();
    driver.await;
}

/// Waits until the last client has gone. Control ends the process when this takes longer than the drain limit.
///
/// Closing an idle connection may cross a request on its way. So a client is rather told by `Connection: close` when it
/// uses its connection again: after a signal it had `drain_delay` for that; after a hand-over, of which no balancer was
/// told, it has half of `drain_limit`. Who stays silent for longer is sent away.
async fn finish_clients(shard: &Rc<Shard>) {
    let grace = if shard.handed_over() { shard.view().snapshot.config.life.drain_limit / 2 } else { Duration::ZERO };
    let send_away = shard.clock.now() + grace;
    // A WebSocket's calls may outlive it, and are on the bill when they end.
    while shard.connections.get() > 0 || shard.tenants.under_way.get() > 0 {
        if shard.clock.now() >= send_away {
            shard.idle.wake_all();
        }
        shard.timers.sleep_until(shard.clock.now() + limits::DRAIN_LOOK_INTERVAL).await;
    }
}

/// Ships what is left. Usage is money: control, which may be busy, is waited for.
async fn ship_the_last(shard: &Shard) {
    shard.recorder.ship();
    let until = shard.clock.now() + limits::USAGE_LAST;
    while !shard.recorder.ship_usage(&mut shard.tenants.usage()) && shard.clock.now() < until {
        shard.timers.sleep_until(shard.clock.now() + limits::DRAIN_LOOK_INTERVAL).await;
    }
}

/// Says goodbye on providers' WebSockets, which nobody needs any more.
async fn leave_providers(shard: &Rc<Shard>) {
    for sockets in shard.view().upstreams().filter_map(|upstream| upstream.sockets.as_ref()) {
        sockets.retire(shard, CloseCode::AWAY);
    }
    let until = shard.clock.now() + limits::UPSTREAM_SOCKET_GOODBYE * 2;
    while shard.counters.upstream_sockets.get() > 0 && shard.clock.now() < until {
        shard.timers.sleep_until(shard.clock.now() + limits::DRAIN_LOOK_INTERVAL).await;
    }
}

/// Takes over what control publishes even when no request comes, begins on the probes that it orders, and hears that the
/// node is closing.
async fn listen_to_bell(shard: Rc<Shard>, doorbell: Doorbell) {
    let mut bell = shard.ring.adopt(doorbell, SocketAddr::from(([0; 4], 0)));
    let mut rung = Vec::new();
    loop {
        rung.clear();
        // The other end lives as long as the process: an error is as good as a ring, once.
        let heard = bell.read_into(&mut rung, limits::BELL_BYTES_MAX).await;
        shard.refresh();
        probe::begin(&shard);
        feeds::receive(&shard);
        if shard.phase() >= Phase::Closing {
            shard.closing.begin();
        }
        if !matches!(heard, Ok(1..)) {
            return;
        }
    }
}

/// Ships what was measured, and keeps the pools swept and warm.
async fn keep(shard: Rc<Shard>) {
    let mut sweep_at = shard.clock.now() + limits::ACCOUNTS_SWEEP_EVERY;
    loop {
        // As often as control merges.
        let interval = shard.view().snapshot.config.ranking.interval;
        shard.timers.sleep_until(shard.clock.now() + interval).await;
        shard.recorder.ship();
        shard.recorder.ship_usage(&mut shard.tenants.usage());
        shard.clock.set_wall_clock();
        shard.close_expired();
        feeds::sweep(&shard);
        if shard.clock.now() >= sweep_at {
            shard.tenants.sweep();
            sweep_at = shard.clock.now() + limits::ACCOUNTS_SWEEP_EVERY;
        }
        let view = shard.view();
        let (mut open, mut idle) = (0, 0);
        for upstream in view.upstreams() {
            upstream.pool.sweep(shard.clock.now());
            if shard.phase() < Phase::Closing && upstream.wants_warm(shard.clock.now()) {
                let (ring, shard, upstream) = (shard.ring.clone(), Rc::clone(&shard), Rc::clone(upstream));
                ring.spawn(async move { exchange::warm(&shard, &upstream).await }).detach();
            }
            upstream.slot.tell_in_flight(shard.index, upstream.in_flight.get());
            open += upstream.pool.open();
            idle += upstream.pool.idle();
        }
        shard.counters.upstream_open.set(open as u64);
        shard.counters.upstream_idle.set(idle as u64);
    }
}

/// The word that the node is closing, for the tasks that wait for something else.
#[derive(Default)]
pub(crate) struct Closing {
    begun: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Closing {
    fn begin(&self) {
        self.begun.set(true);
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    /// Waits for it.
    pub(crate) async fn wait(&self) {
        poll_fn(|cx| {
            if self.begun.get() {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
