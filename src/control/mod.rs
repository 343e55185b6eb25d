//! The control plane: everything around the shards, on one tokio thread.
//!
//! [`run`] is a node's life: log, listen, resolve, start the shards, serve until told to stop, drain, join. A shard never
//! waits for anything here: control publishes snapshots that shards pick up, and picks up what shards leave in their
//! rings. So everything here may block for a moment, none of it for long.
//!
//! In reading order: `start` makes the [`node`], whose loop is the rest of its life; `listeners`, `upgrade`, `names`, `tls`, `entrance`,
//! `tokens` and `logging` are what it is made of; `publish`, `reload`, `collect`, `totals`, `rank`, `events`, `watch`, `prober`, `tenants`
//! and `fleet` what it does; `life` when it ends.

mod calendar;
mod collect;
mod entrance;
mod events;
mod fleet;
mod life;
mod listeners;
mod logging;
mod names;
mod node;
mod own_rows;
mod prober;
mod publish;
mod rank;
mod ratio;
mod reload;
mod signals;
mod start;
mod tenants;
mod tls;
mod tokens;
mod totals;
mod upgrade;
mod view;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::Config;
use crate::shard::StartError;

pub(crate) use collect::milliseconds;
pub use entrance::EntranceError;
pub use events::{Events, Reader, Told};
pub use fleet::{Fleet, FleetError, InUse};
pub use listeners::ListenError;
pub use logging::{Dropped, LogError};
pub use rank::Rank;
pub use tls::TlsError;
pub use tokens::{Keyring, TokensError};
pub use totals::{Percentiles, Total, Totals};
pub use upgrade::UpgradeError;
pub use view::{Reloads, TenantFigures, View};
pub use watch::{ENDS, Watch};

/// Why a node did not start, or did not end well. Each says what to do where there is something to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Entrance(#[from] EntranceError),
    #[error(transparent)]
    Shard(#[from] StartError),
    #[error("{listen}; the node that runs there could not be taken over from: {upgrade}")]
    Upgrade { listen: ListenError, upgrade: UpgradeError },
    #[error("the name resolver: {0}")]
    Names(String),
    #[error(transparent)]
    Tokens(#[from] TokensError),
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error("the ledger: {0}")]
    Ledger(String),
    #[error("the control thread: {0}")]
    Control(#[from] io::Error),
    #[error("shard {0} ended by itself; the log says why")]
    ShardEnded(usize),
    #[error("stopped at once by a second signal")]
    Forced,
}

/// Where a node that serves can be reached; ports that were left to the kernel are known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    pub admin: Option<SocketAddr>,
}

/// Runs a node until it is told to stop. `path` is where a reload reads the config again; without it there is none.
pub fn run(config: Config, path: Option<PathBuf>) -> Result<(), RunError> {
    run_then(config, path, |_| ())
}

/// As [`run`]; calls `serving` once the node serves.
pub fn run_then(config: Config, path: Option<PathBuf>, serving: impl FnOnce(&Serving)) -> Result<(), RunError> {
    let logs = logging::Logs::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let node = start::start(config, path, logs).await?;
        serving(&node.serving());
        Box::pin(node.run()).await
    });
    // An upgrade's talk or an admin connection may still be under way; nothing waits for them.
    runtime.shutdown_background();
    result
}
