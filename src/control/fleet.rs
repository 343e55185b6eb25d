//! A region's quotas, shared through Redis or Valkey: what a node leases, and hands back. No call ever waits for it.
//!
//! What is asked for and what becomes of the answers is decided in [`crate::tenant::lease`]; here it is carried, by a task of
//! its own: a look at all keys in use every [`LEASE_TICK`](limits::LEASE_TICK) or so, one pipeline of script calls at a time
//! (`exchange.lua`), a bound on the time of each. A connection on which anything went wrong is not used again. Keys in the
//! store are named after a key's public id and hold numbers alone.

mod exchange;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::exchange::{Exchange, ExchangeError};
use crate::config;
use crate::limits::{self, LEASE_TICK};
use crate::routing::Random;
use crate::tenant::lease::{Answer, Ask, Leased, Leases};
use crate::time::Instant;

/// The keys in use, as control knows them at the moment.
pub type InUse = Arc<dyn Fn() -> Vec<Leased> + Send + Sync>;

/// Why there is no fleet as the config has it.
#[derive(Debug, thiserror::Error)]
#[error("[tenants.fleet]: {0}")]
pub struct FleetError(String);

/// A node's part of a fleet.
#[derive(Debug)]
pub struct Fleet {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    connected: Arc<AtomicBool>,
}

impl Fleet {
    /// Begins. `boot`: of this node's life, random; `epoch`: when its clock began. Needs a runtime.
    pub fn start(
        config: &config::Fleet,
        region: &str,
        boot: u64,
        epoch: std::time::Instant,
        in_use: InUse,
    ) -> Result<Self, FleetError> {
        let exchange = Exchange::new(config, region, boot).map_err(|error| FleetError(error.to_string()))?;
        // Until it is known better.
        let connected = Arc::new(AtomicBool::new(true));
        let (stop, stopped) = oneshot::channel();
        let carrier = Carrier {
            exchange,
            leases: Leases::new(boot),
            random: Random::new(boot ^ 1),
            epoch,
            in_use,
            connected: Arc::clone(&connected),
            failing: false,
        };
        Ok(Self { stop: Some(stop), task: tokio::spawn(carrier.run(stopped)), connected })
    }

    /// Whether the store answers, for pages.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// Hands back what is leased, for as long as may be waited.
    pub async fn finish(mut self, within: Duration) {
        drop(self.stop.take());
        if tokio::time::timeout(within, &mut self.task).await.is_err() {
            tracing::warn!("the fleet's store did not take back in time what was leased");
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Carrier {
    exchange: Exchange,
    leases: Leases,
    random: Random,
    epoch: std::time::Instant,
    in_use: InUse,
    connected: Arc<AtomicBool>,
    /// The last round failed.
    failing: bool,
}

/// A round under way; the exchange comes back with its outcome.
type Round = Pin<Box<dyn Future<Output = (Exchange, Vec<Ask>, Result<Vec<Answer>, ExchangeError>)> + Send>>;

impl Carrier {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut round: Option<Round> = None;
        let mut exchange = Some(self.exchange.clone());
        loop {
            // Half to one and a half: nodes that look in step would always come in the same order.
            let spread = u64::try_from(LEASE_TICK.as_micros()).unwrap_or(1);
            let wait = LEASE_TICK / 2 + Duration::from_micros(self.random.next_u64() % spread);
            tokio::select! {
                _ = &mut stopped => break,
                (back, asks, outcome) = of(&mut round) => {
                    round = None;
                    exchange = Some(back);
                    self.on_outcome(&asks, outcome);
                    continue;
                }
                () = tokio::time::sleep(wait) => {}
            }
            let asks = self.leases.tick(self.now(), (self.in_use)());
            self.note();
            if !asks.is_empty()
                && let Some(mut taken) = exchange.take()
            {
                round = Some(Box::pin(async move {
                    let outcome = taken.ask(&asks).await;
                    (taken, asks, outcome)
                }));
            }
        }
        drop(round);
        let asks = self.leases.finish(self.now());
        if let Err(error) = self.exchange.ask(&asks).await {
            tracing::warn!(%error, "the fleet's store; what was leased is not handed back");
        }
    }

    fn on_outcome(&mut self, asks: &[Ask], outcome: Result<Vec<Answer>, ExchangeError>) {
        let now = self.now();
        match outcome {
            Ok(answers) => {
                for (ask, answer) in asks.iter().zip(&answers) {
                    self.leases.on_answer(now, ask, answer);
                }
                self.leases.on_round(now);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the fleet's store answers again");
                }
            }
            Err(error) => {
                if !self.failing {
                    tracing::error!(%error, "the fleet's store is gone; plans go on or refuse, as each says");
                }
                self.failing = true;
                self.leases.on_failure(now, asks);
            }
        }
        self.note();
    }

    fn note(&self) {
        self.connected.store(self.leases.is_connected(), Relaxed);
    }

    fn now(&self) -> Instant {
        Instant::START + self.epoch.elapsed()
    }
}

/// Never, where none is under way.
async fn of(round: &mut Option<Round>) -> (Exchange, Vec<Ask>, Result<Vec<Answer>, ExchangeError>) {
    match round {
        Some(round) => round.await,
        None => std::future::pending().await,
    }
}

const _: () = assert!(limits::LEASE_LATE.as_millis() < limits::FLEET_TIMEOUT.as_millis());
