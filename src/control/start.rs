//! From a config to a node that serves, step by step; what fails leaves nothing behind.
//!
//! Every socket is bound before any shard starts: either all of a node listens or none. A node that takes over another's
//! ports tells that one only when its own shards accept, so that a failure anywhere here costs nobody a call.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::calendar::{self, unix_now};
use super::collect::Collector;
use super::entrance::{Entrances, Made};
use super::listeners::{Data, Listeners};
use super::logging::Logs;
use super::names::Names;
use super::node::{Node, Parts};
use super::prober::Prober;
use super::publish::{Door, Publisher};
use super::signals::Signals;
use super::tenants::Tenants;
use super::upgrade::{self, Farewell, Incumbent, Taken};
use super::view::View;
use super::{RunError, listeners, tls};
use crate::admin;
use crate::config::Config;
use crate::limits;
use crate::link::{
    self, Addresses, Bell, ControlEnd, Counters, Doorbell, Entrance, MeshEnd, Phase, PhaseCell, ProbeControlEnd, Slot,
    Snapshot,
};
use crate::shard::{self, Listening, Seed};
use crate::tenant::Roster;

/// Starts everything. Needs a runtime.
pub(super) async fn start(config: Config, path: Option<PathBuf>, logs: Logs) -> Result<Node, RunError> {
    let epoch = Instant::now();
    let signals = Signals::new()?;
    raise_descriptor_limit();
    let tls = tls::client_config(config.upstream.ca_file.as_deref())?;
    let entrances = Entrances::new(Made::new(&config.listen, None)?, epoch);
    let predecessor = Predecessor::find(&config)?;
    let mut names = Names::new(&config).map_err(|error| RunError::Names(error.to_string()))?;
    names.first(limits::NAMES_FIRST_WAIT).await;
    let month = |day| calendar::month(unix_now(), crate::time::Instant::START + epoch.elapsed(), day);
    let opened = Tenants::open(&config, &tls, epoch, month).await?;
    let (tenants, roster) = opened.map_or((None, Roster::open()), |(tenants, roster)| (Some(tenants), roster));
    // Only now: what a new socket collects has to wait for the shards alone, not for names.
    let (listeners, upgrade) = predecessor.listen(&config)?;
    let snapshot = Snapshot::build(Arc::new(config), None, tls, |url| names.addresses(url), month);
    let given = (Arc::new(snapshot), Arc::new(roster));
    let shards = Shards::start(given, &listeners, entrances.slot(), epoch)?;
    shards.phase.advance(Phase::Serving);

    let listeners = Arc::new(listeners);
    let incumbent = upgrade.take_over(&listeners).await;
    let Shards { threads, phase, counters, snapshot, doors, ends, probes, .. } = shards;
    let view = Arc::new(
        View::new(phase, counters, epoch, logs.dropped(), snapshot).with_entrance(Arc::clone(entrances.slot())),
    );
    let desk = tenants.as_ref().map(Tenants::desk);
    let admin = match &listeners.admin {
        Some(listener) => Some(admin::Server::start(listener.try_clone()?, Arc::clone(&view), desk)?),
        None => None,
    };
    let publisher = Publisher::new(Arc::clone(&view), doors);
    let collector = Collector::new(ends);
    let prober = Prober::new(probes);
    Ok(Node::new(Parts {
        path,
        logs,
        signals,
        names,
        entrances,
        listeners,
        incumbent,
        threads,
        view,
        publisher,
        collector,
        prober,
        tenants,
        admin,
    }))
}

/// The node that runs on our addresses, if one does.
struct Predecessor(Option<Taken>);

/// What there is to do about upgrades once the shards run.
struct Upgrade {
    allowed: bool,
    inherited: Option<UnixListener>,
    farewell: Option<Farewell>,
}

impl Predecessor {
    /// Gets the sockets of a node that runs there, or makes sure that nobody does.
    fn find(config: &Config) -> Result<Self, RunError> {
        let data = &Data::from(&config.listen).all();
        let taken = if config.life.upgrade { upgrade::request(data) } else { Ok(None) };
        match taken {
            Ok(Some(taken)) => return Ok(Self(Some(taken))),
            Ok(None) => listeners::check_free(data)?,
            // Mostly the ports are in use then, and why is worth telling; where they are free it was nobody of ours.
            Err(upgrade) => match listeners::check_free(data) {
                Ok(()) => tracing::warn!(%upgrade, "a node seemed to run here, but the ports are free"),
                Err(listen) => return Err(RunError::Upgrade { listen, upgrade }),
            },
        }
        Ok(Self(None))
    }

    /// Listens as `config` says, on its sockets where there are any.
    fn listen(self, config: &Config) -> Result<(Listeners, Upgrade), RunError> {
        let (data, admin) = (Data::from(&config.listen), &config.listen.admin);
        let (shards, allowed) = (config.shards.cores.len(), config.life.upgrade);
        let Some(taken) = self.0 else {
            let listeners = Listeners::bind(data, *admin, shards)?;
            return Ok((listeners, Upgrade { allowed, inherited: None, farewell: None }));
        };
        let (given, given_admin, socket, farewell) = taken.split();
        let listeners = Listeners::inherit(given, given_admin, data, *admin, shards)?;
        Ok((listeners, Upgrade { allowed, inherited: Some(socket), farewell: Some(farewell) }))
    }
}

impl Upgrade {
    /// Sends the node before on its way, and waits for the one after.
    async fn take_over(self, listeners: &Listeners) -> Option<Incumbent> {
        if let Some(farewell) = self.farewell {
            match tokio::task::spawn_blocking(move || farewell.ready()).await {
                Ok(Ok(())) => tracing::info!("took the ports over; the node before drains"),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "took the ports over; the node before did not answer");
                }
                Err(error) => tracing::error!(%error, "telling the node before"),
            }
        }
        if !self.allowed {
            return None;
        }
        Incumbent::new(&listeners.addresses(), self.inherited).unwrap_or_else(|error| {
            tracing::warn!(%error, "no upgrade will be possible");
            None
        })
    }
}

/// The shards, started, and control's ends of everything.
struct Shards {
    threads: Vec<JoinHandle<()>>,
    phase: Arc<PhaseCell>,
    counters: Vec<Arc<Counters>>,
    snapshot: Arc<Snapshot>,
    roster: Arc<Roster>,
    doors: Vec<Door>,
    ends: Vec<ControlEnd>,
    probes: Vec<ProbeControlEnd>,
    /// For the seeds.
    entrance: Arc<Slot<Entrance>>,
    addresses: Arc<Addresses>,
    boot: u64,
    epoch: Instant,
}

impl Shards {
    /// Starts one shard after the other; should one fail, those before it end.
    fn start(
        (snapshot, roster): (Arc<Snapshot>, Arc<Roster>),
        listeners: &Listeners,
        entrance: &Arc<Slot<Entrance>>,
        epoch: Instant,
    ) -> Result<Self, RunError> {
        let cores = snapshot.config.shards.cores.clone();
        let listeners = listeners.for_shards(cores.len())?;
        let mut shards = Self {
            threads: Vec::new(),
            phase: Arc::new(PhaseCell::default()),
            counters: cores.iter().map(|_| Arc::default()).collect(),
            snapshot,
            roster,
            doors: Vec::new(),
            ends: Vec::new(),
            probes: Vec::new(),
            entrance: Arc::clone(entrance),
            addresses: Arc::default(),
            boot: random()?,
            epoch,
        };
        let node: Arc<[_]> = Arc::from(shards.counters.clone());
        let bells = cores.iter().map(|_| Bell::new()).collect::<io::Result<Vec<_>>>()?;
        let (bells, doorbells): (Vec<_>, Vec<_>) =
            bells.into_iter().map(|(bell, doorbell)| (Arc::new(bell), doorbell)).unzip();
        let meshes = MeshEnd::all(&bells);
        let ways = bells.into_iter().zip(doorbells).zip(meshes);
        for ((core, listeners), ((bell, doorbell), mesh)) in cores.into_iter().zip(listeners).zip(ways) {
            if let Err(error) = shards.add(core, listeners, (bell, doorbell), mesh, &node) {
                shards.stop();
                return Err(error);
            }
        }
        Ok(shards)
    }

    fn add(
        &mut self,
        core: usize,
        listeners: Vec<Listening>,
        (bell, doorbell): (Arc<Bell>, Doorbell),
        mesh: MeshEnd,
        node: &Arc<[Arc<Counters>]>,
    ) -> Result<(), RunError> {
        let (shard_end, control_end) = link::pair();
        let (probes_shard, probes_control) = link::probe_pair();
        let snapshots = Arc::new(Slot::new(Arc::clone(&self.snapshot)));
        let rankings = Arc::new(Slot::new(Arc::default()));
        let rosters = Arc::new(Slot::new(Arc::clone(&self.roster)));
        let index = self.threads.len();
        let thread = shard::spawn(Seed {
            index,
            core,
            listeners,
            entrance: Arc::clone(&self.entrance),
            addresses: Arc::clone(&self.addresses),
            snapshots: Arc::clone(&snapshots),
            rankings: Arc::clone(&rankings),
            rosters: Arc::clone(&rosters),
            doorbell,
            mesh,
            phase: Arc::clone(&self.phase),
            counters: Arc::clone(&node[index]),
            node: Arc::clone(node),
            ends: shard_end,
            probes: probes_shard,
            boot: self.boot,
            epoch: self.epoch,
        })?;
        self.threads.push(thread);
        self.doors.push(Door { snapshots, rankings, rosters, bell });
        self.ends.push(control_end);
        self.probes.push(probes_control);
        Ok(())
    }

    /// Ends those that have started.
    fn stop(self) {
        self.phase.advance(Phase::Closing);
        self.doors.iter().for_each(|door| door.bell.ring());
        for thread in self.threads {
            // One that panicked has ended too.
            let _ = thread.join();
        }
    }
}

pub(super) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// As many descriptors as this process may have: shells give 1024, which is fewer than a shard's connections.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, ?current, "the limit of open descriptors could not be raised");
    }
}
