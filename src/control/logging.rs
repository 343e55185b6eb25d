//! Logs: formatted on control's thread, written by a thread of their own, to standard error.
//!
//! A terminal or a pipe that stalls stalls nobody: lines beyond what waits are dropped and counted. Only control logs;
//! shards send records. Secrets have no way in: their type hides itself.

use std::io;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::{Log, LogFormat};
use crate::limits;

/// Overrides the config's level, as in other programs.
const VARIABLE: &str = "RUST_LOG";

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{VARIABLE} or [log] level is not a filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
}

/// Keeps the writer; dropped, it writes what waits.
#[derive(Debug)]
pub(super) struct Logs {
    /// Absent where the program around has its own subscriber.
    running: Option<(WorkerGuard, reload::Handle<EnvFilter, Registry>)>,
    dropped: Dropped,
}

/// Lines that found no room.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Option<ErrorCounter>);

impl Dropped {
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |counter| counter.dropped_lines() as u64)
    }
}

impl Logs {
    /// Logs from now on as `log` says. Where a subscriber is in place already, that one goes on.
    pub(super) fn start(log: &Log) -> Result<Self, LogError> {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(limits::LOG_LINES_MAX)
            .thread_name("log")
            .finish(io::stderr());
        let dropped = Dropped(Some(writer.error_counter()));
        let (filter, handle) = reload::Layer::new(filter(log)?);
        let subscriber = tracing_subscriber::registry().with(filter).with(format(log.format, writer));
        let running = subscriber.try_init().ok().map(|()| (guard, handle));
        Ok(Self { running, dropped })
    }

    /// Changes the level; a bad one is told and changes nothing.
    pub(super) fn set_level(&self, log: &Log) {
        let Some((_, handle)) = &self.running else {
            return;
        };
        match filter(log) {
            // Fails only when the subscriber is gone, and then nobody reads this.
            Ok(filter) => drop(handle.reload(filter)),
            Err(error) => tracing::error!(%error, "the level stays as it was"),
        }
    }

    pub(super) fn dropped(&self) -> Dropped {
        self.dropped.clone()
    }
}

fn filter(log: &Log) -> Result<EnvFilter, LogError> {
    let text = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    Ok(EnvFilter::builder().parse(text.as_deref().unwrap_or(&log.level))?)
}

type Filtered = tracing_subscriber::layer::Layered<reload::Layer<EnvFilter, Registry>, Registry>;

fn format(format: LogFormat, writer: NonBlocking) -> Box<dyn Layer<Filtered> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_level_is_told() {
        let log = |level: &str| Log { format: LogFormat::Text, level: level.into(), access_sample: 1.0 };
        assert!(filter(&log("info,livechain::access=off")).is_ok());
        assert!(filter(&log("info,livechain=nonsense")).is_err());
    }
}
