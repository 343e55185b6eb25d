//! A node that serves: one loop that waits for whatever comes first, until there is nothing left to do.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::collect::Collector;
use super::entrance::Entrances;
use super::life::{Life, Stop};
use super::listeners::Listeners;
use super::logging::Logs;
use super::names::Names;
use super::prober::Prober;
use super::publish::Publisher;
use super::reload::{self, Reload};
use super::signals::{Signal, Signals};
use super::tenants::{Heard, Tenants, Then};
use super::upgrade::{Incumbent, Takeover};
use super::view::View;
use super::{RunError, Serving};
use crate::admin;
use crate::limits;
use crate::link::{Event, EventKind, Phase};

/// What a node is made of.
pub(super) struct Parts {
    pub(super) path: Option<PathBuf>,
    pub(super) logs: Logs,
    pub(super) signals: Signals,
    pub(super) names: Names,
    pub(super) entrances: Entrances,
    pub(super) listeners: Arc<Listeners>,
    pub(super) incumbent: Option<Incumbent>,
    /// The shards'.
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) view: Arc<View>,
    pub(super) publisher: Publisher,
    pub(super) collector: Collector,
    pub(super) prober: Prober,
    pub(super) tenants: Option<Tenants>,
    pub(super) admin: Option<admin::Server>,
}

/// See the module.
pub(super) struct Node {
    parts: Parts,
    life: Life,
    /// A new config whose new names are not all resolved yet, and until when it waits for them.
    pending: Option<(Reload, Instant)>,
    rows: Interval,
    reports: Interval,
}

/// What the loop waits for.
enum Input {
    Signal(Signal),
    /// Something about names; whether an address changed.
    Names(bool),
    Tenants(Heard),
    Takeover(Takeover),
    Rows,
    Reports,
    /// The phase may be over.
    Time,
}

impl Node {
    /// Serves from here on. Needs a runtime.
    pub(super) fn new(parts: Parts) -> Self {
        let config = &parts.publisher.newest().config;
        let life = Life::new(config.life.drain_delay, config.life.drain_limit);
        let (rows, reports) = (every(config.ranking.interval), every(limits::REPORTS_EVERY));
        Self { parts, life, pending: None, rows, reports }
    }

    /// Where it can be reached.
    pub(super) fn serving(&self) -> Serving {
        let admin = self.parts.listeners.admin.as_ref().and_then(|listener| listener.local_addr().ok());
        let [http, https] = [false, true].map(|secure| self.parts.listeners.addresses_of(secure));
        Serving { http, https, admin }
    }

    /// Until it has ended, well or not.
    pub(super) async fn run(mut self) -> Result<(), RunError> {
        self.log_serving();
        let result = self.serve().await;
        match result {
            Err(RunError::Forced) => Err(RunError::Forced),
            result => self.finish().await.and(result),
        }
    }

    fn log_serving(&self) {
        let Serving { http, https, admin } = self.serving();
        let config = &self.parts.publisher.newest().config;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            region = config.node.region,
            node = config.node.id,
            ?http,
            ?https,
            ?admin,
            shards = self.parts.threads.len(),
            chains = config.chains.len(),
            "serving"
        );
    }

    /// Until the phase is [`Phase::Closing`].
    async fn serve(&mut self) -> Result<(), RunError> {
        while self.life.phase() != Phase::Closing {
            match self.next().await {
                Input::Signal(signal) => self.on_signal(signal)?,
                Input::Names(changed) => self.on_names(changed),
                Input::Tenants(heard) => self.on_tenants(heard),
                Input::Takeover(takeover) => self.on_takeover(takeover),
                Input::Rows => self.on_rows()?,
                Input::Reports => self.on_reports(),
                Input::Time => {
                    self.life.on_time(Instant::now());
                }
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Input {
        let Parts { signals, names, incumbent, listeners, tenants, .. } = &mut self.parts;
        tokio::select! {
            signal = signals.next() => Input::Signal(signal),
            changed = names.progress() => Input::Names(changed),
            heard = next_of(tenants.as_mut()) => Input::Tenants(heard),
            takeover = next_takeover(incumbent.as_mut(), listeners) => Input::Takeover(takeover),
            _ = self.rows.tick() => Input::Rows,
            _ = self.reports.tick() => Input::Reports,
            () = sleep_until(self.life.until()) => Input::Time,
        }
    }

    fn on_signal(&mut self, signal: Signal) -> Result<(), RunError> {
        match signal {
            Signal::Reload => self.reload(),
            Signal::Stop if self.life.on_stop(Instant::now()) == Stop::AtOnce => {
                return Err(RunError::Forced);
            }
            Signal::Stop => {
                tracing::info!(phase = ?self.life.phase(), "told to stop");
                self.parts.view.phase.advance(self.life.phase().min(Phase::Draining));
                self.parts.publisher.ring();
            }
        }
        Ok(())
    }

    fn reload(&mut self) {
        let Some(path) = &self.parts.path else {
            tracing::warn!("told to reload, but this node runs without a config file");
            return;
        };
        let running = self.parts.publisher.newest();
        let reload = reload::load(path, &running.config, self.parts.entrances.newest());
        self.parts.view.reloads.count(reload.is_some());
        let Some(reload) = reload else {
            self.parts.view.events.tell(Event::of_node(EventKind::ReloadRefused));
            return;
        };
        self.parts.names.read_system();
        self.parts.names.set_hosts(&reload.config);
        self.pending = Some((reload, Instant::now() + limits::NAMES_FIRST_WAIT));
        self.publish_pending();
    }

    fn on_names(&mut self, changed: bool) {
        if self.pending.is_some() {
            self.publish_pending();
        } else if changed {
            self.publish_again();
        }
    }

    fn on_tenants(&mut self, heard: Heard) {
        let Parts { tenants, view, publisher, .. } = &mut self.parts;
        let Some(tenants) = tenants else { return };
        match tenants.on_heard(heard, view.now(), |day| view.month(day)) {
            Then::Publish(roster) => publisher.publish_roster(*roster),
            Then::Nothing => {}
        }
    }

    /// Who may come in, made anew where the config or the calendar asks for it.
    fn publish_tenants_again(&mut self) {
        let Parts { tenants, view, publisher, .. } = &mut self.parts;
        if let Some(tenants) = tenants {
            publisher.publish_roster(tenants.again(view.now(), |day| view.month(day)));
        }
    }

    /// The same config with what is new about the world.
    fn publish_again(&mut self) {
        let newest = self.parts.publisher.newest();
        self.parts.publisher.publish(Arc::clone(&newest.config), Arc::clone(&newest.tls), &self.parts.names);
    }

    /// Publishes a new config once its names are known or have been waited for long enough.
    fn publish_pending(&mut self) {
        let now = Instant::now();
        let ready = |until: &Instant| !self.parts.names.waiting() || *until <= now;
        let Some((reload, _)) = self.pending.take_if(|(_, until)| ready(until)) else {
            return;
        };
        let Reload { config, tls, entrance } = reload;
        self.parts.logs.set_level(&config.log);
        self.life.set_limits(config.life.drain_delay, config.life.drain_limit);
        if self.rows.period() != config.ranking.interval {
            self.rows = every(config.ranking.interval);
        }
        tracing::info!(chains = config.chains.len(), "reloaded");
        self.parts.entrances.publish(entrance);
        if let (Some(tenants), Some(new)) = (&mut self.parts.tenants, &config.tenants) {
            tenants.reload(new, &tls);
        }
        self.parts.publisher.publish(config, tls, &self.parts.names);
        self.publish_tenants_again();
        self.parts.view.events.tell(Event::of_node(EventKind::Reloaded));
    }

    fn on_rows(&mut self) -> Result<(), RunError> {
        self.collect_rows();
        self.parts.publisher.sweep();
        self.publish_pending();
        match self.parts.threads.iter().position(JoinHandle::is_finished) {
            Some(shard) => {
                self.life.close(Instant::now());
                Err(RunError::ShardEnded(shard))
            }
            None => Ok(()),
        }
    }

    fn on_reports(&mut self) {
        self.parts.collector.reports(&self.parts.view.events);
        self.parts.prober.on_time(&self.parts.view, &self.parts.publisher);
        let now = self.parts.view.now();
        let newest = self.parts.publisher.newest();
        // A pending reload has read them later than this would.
        if self.pending.is_none() {
            self.parts.entrances.on_time(&newest.config.listen, Instant::now());
        }
        if newest.is_of_last_month(now) {
            self.publish_again();
        }
        if self.parts.tenants.as_ref().is_some_and(|tenants| tenants.is_of_last_month(now)) {
            self.publish_tenants_again();
        }
    }

    fn collect_rows(&mut self) {
        let Parts { view, collector, publisher, tenants, .. } = &mut self.parts;
        let (mut totals, mut rank, now) = (view.totals(), view.rank(), view.now());
        collector.rows(publisher.slots(), |shard, row| {
            totals.add(row);
            rank.merge(now, shard, row);
        });
        totals.on_time(Instant::now());
        drop(totals);
        if let Some(tenants) = tenants {
            tenants.collect(collector, &publisher.newest(), now, view.month(1));
            tenants.show(&view.tenants);
        }
        rank.judge(now).into_iter().for_each(|event| view.events.tell(event));
        let rankings = rank.publish(now);
        rank.leaders(now).into_iter().for_each(|event| view.events.tell(event));
        drop(rank);
        publisher.publish_rankings(rankings);
    }

    /// A successor accepts on our sockets: none of them may be ours any longer, the admin port's first.
    fn on_takeover(&mut self, takeover: Takeover) {
        tracing::info!("another process took the ports over");
        self.parts.view.phase.hand_over();
        self.life.on_handed_over(Instant::now());
        self.parts.incumbent = None;
        if let Some(admin) = &mut self.parts.admin {
            admin.stop_accepting();
        }
        self.stop_accepting();
        takeover.done();
    }

    /// The shards still accept; once the last handshake has ended their queues stay empty.
    async fn let_handshakes_end(&self) {
        match self.parts.listeners.begin_no_more() {
            Ok(()) => tokio::time::sleep(limits::HANDSHAKE_LAST).await,
            Err(error) => tracing::warn!(%error, "a connection that begins right now may be reset"),
        }
    }

    fn stop_accepting(&mut self) {
        // Before the shards let go of theirs: a socket that only control held would collect connections for nobody.
        self.parts.listeners = Arc::new(Listeners::none());
        self.parts.view.phase.advance(Phase::Closing);
        self.parts.publisher.ring();
    }

    /// Waits until the shards have finished what runs, for as long as the config allows.
    async fn finish(mut self) -> Result<(), RunError> {
        self.parts.incumbent = None;
        if !self.parts.view.phase.handed_over() {
            self.let_handshakes_end().await;
        }
        self.stop_accepting();
        let mut look = every(limits::JOIN_EVERY);
        while self.parts.threads.iter().any(|thread| !thread.is_finished()) {
            tokio::select! {
                signal = self.parts.signals.next() => {
                    if signal == Signal::Stop && self.life.on_stop(Instant::now()) == Stop::AtOnce {
                        return Err(RunError::Forced);
                    }
                }
                _ = look.tick() => {}
                _ = self.reports.tick() => self.parts.collector.reports(&self.parts.view.events),
                _ = self.rows.tick() => self.collect_rows(),
                heard = next_of(self.parts.tenants.as_mut()) => self.on_tenants(heard),
            }
            if self.life.on_time(Instant::now()) {
                let running = self.parts.threads.iter().filter(|thread| !thread.is_finished()).count();
                tracing::warn!(shards = running, "the drain limit is over; what still runs is cut");
                break;
            }
        }
        self.parts.collector.reports(&self.parts.view.events);
        if let Some(tenants) = self.parts.tenants {
            tenants.finish(&mut self.parts.collector, limits::LEDGER_LAST).await;
        }
        self.parts.view.events.close();
        if let Some(admin) = self.parts.admin {
            let _ = tokio::time::timeout(limits::ADMIN_LAST, admin.stop()).await;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

fn every(period: std::time::Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Never, where there are no tenants.
async fn next_of(tenants: Option<&mut Tenants>) -> Heard {
    match tenants {
        Some(tenants) => tenants.next().await,
        None => std::future::pending().await,
    }
}

/// Never, where no upgrade is possible.
async fn next_takeover(incumbent: Option<&mut Incumbent>, listeners: &Arc<Listeners>) -> Takeover {
    match incumbent {
        Some(incumbent) => incumbent.next(listeners).await,
        None => std::future::pending().await,
    }
}

/// Never, when there is nothing to wait for.
async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
