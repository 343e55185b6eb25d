//! The keys that tokens are verified with, kept up to date: a secret from the config, a file, what an issuer publishes.
//!
//! A task of its own looks at all of them and publishes [`Tokens`] under a new generation when something has changed; who
//! wants them waits for [`Keyring::changed`]. What goes wrong keeps what was there: a file that became unreadable for as
//! long as the node runs, an issuer's keys for as long as the config says (`keep`), and both are logged once. A
//! well-formed set without a key is nothing that goes wrong: so an issuer takes its last one back. Only at the start must
//! a file hold one. When to ask an issuer is `schedule`'s to decide; a shard that misses a key says so through [`Tokens::take_missed`].
//!
//! **Towards the issuer**: `https`, or `http` to loopback (the config sees to that), no redirects, no proxy from the
//! environment, the trust of `[upstream] ca_file`, one request at a time, a bound on time and bytes, HTTP/1.1. Its URL may
//! hold a secret and is never logged.

mod schedule;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::config::Jwt;
use crate::limits;
use crate::tenant::key::Pepper;
use crate::tenant::token::{KeySetFault, TokenKey, Tokens};
use schedule::Schedule;
use source::{File, Issuer};

/// Why tokens cannot be verified as the config has it.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    #[error("[tenants.jwt] keys_file: {0}")]
    File(String),
    #[error("[tenants.jwt] hmac_secret: {0}")]
    Secret(KeySetFault),
    #[error("[tenants.jwt] jwks_url: {0}")]
    Client(String),
}

/// The newest [`Tokens`], and what keeps them so.
#[derive(Debug)]
pub struct Keyring {
    newest: watch::Receiver<Arc<Tokens>>,
    /// The generation of the first ones.
    begun: u64,
    task: JoinHandle<()>,
}

/// How fast everything goes; tests are in a hurry.
#[derive(Clone, Copy, Debug)]
struct Pace {
    look_every: Duration,
    file_every: Duration,
    spacing: Duration,
    retry_first: Duration,
}

impl Pace {
    const DEFAULT: Self = Self {
        look_every: limits::TOKEN_LOOK_EVERY,
        file_every: limits::TOKEN_FILE_EVERY,
        spacing: limits::TOKEN_REFRESH_SPACING,
        retry_first: limits::TOKEN_RETRY_FIRST,
    };
}

impl Keyring {
    /// Reads secret and file, and begins to ask the issuer. `before`: the last generation that was published. `tls`: as
    /// towards providers. Needs a runtime.
    pub fn start(config: &Jwt, pepper: Pepper, tls: &ClientConfig, before: u64) -> Result<Self, TokensError> {
        Self::start_at(Pace::DEFAULT, config, pepper, tls, before)
    }

    fn start_at(
        pace: Pace,
        config: &Jwt,
        pepper: Pepper,
        tls: &ClientConfig,
        before: u64,
    ) -> Result<Self, TokensError> {
        let secret = config.hmac_secret.as_ref().map(|secret| TokenKey::from_secret(secret.expose().as_bytes()));
        let file = config.keys_file.as_deref().map(File::open).transpose().map_err(TokensError::File)?;
        let issuer = config.jwks_url.as_ref().map(|url| Issuer::new(url, tls)).transpose();
        let keeper = Keeper {
            secret: secret.transpose().map_err(TokensError::Secret)?,
            file,
            issuer: issuer.map_err(|error| TokensError::Client(error.without_url().to_string()))?,
            schedule: Schedule::new(pace, config.refresh, config.keep, super::start::random().unwrap_or(1)),
            pace,
        };
        let tokens = Tokens::new(config.terms.clone(), keeper.keys(), pepper, before + 1);
        let (publish, newest) = watch::channel(Arc::new(tokens));
        Ok(Self { newest, begun: before + 1, task: tokio::spawn(keeper.run(publish)) })
    }

    /// Waits for the issuer's first keys, at most `limit`. It may answer that it has none.
    pub async fn first(&mut self, limit: Duration) {
        let begun = self.begun;
        let some = self.newest.wait_for(|tokens| tokens.keys() > 0 || tokens.generation() > begun);
        if tokio::time::timeout(limit, some).await.is_err() {
            tracing::warn!(?limit, "no keys of the tokens' issuer yet; tokens are refused until they come");
        }
        self.newest.mark_unchanged();
    }

    #[must_use]
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.newest.borrow())
    }

    /// The next ones, when something has changed. Cancel safe.
    pub async fn changed(&mut self) -> Arc<Tokens> {
        if self.newest.changed().await.is_err() {
            // The task ends with this alone, or by a fault of ours: then nothing changes any more.
            std::future::pending::<()>().await;
        }
        Arc::clone(&self.newest.borrow_and_update())
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Who keeps them so.
struct Keeper {
    secret: Option<TokenKey>,
    file: Option<File>,
    issuer: Option<Issuer>,
    schedule: Schedule,
    pace: Pace,
}

impl Keeper {
    fn keys(&self) -> Vec<TokenKey> {
        let file = self.file.as_ref().map(File::keys).unwrap_or_default();
        let issuer = self.issuer.as_ref().map(Issuer::keys).unwrap_or_default();
        self.secret.iter().chain(file).chain(issuer).cloned().collect()
    }

    /// Until nobody listens.
    async fn run(mut self, publish: watch::Sender<Arc<Tokens>>) {
        let mut look = tokio::time::interval(self.pace.look_every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut file_due = Instant::now() + self.pace.file_every;
        while !publish.is_closed() {
            look.tick().await;
            let now = Instant::now();
            let mut changed = false;
            if now >= file_due {
                file_due = now + self.pace.file_every;
                changed |= self.file.as_mut().is_some_and(File::look);
            }
            let missed = publish.borrow().take_missed();
            changed |= self.look_at_issuer(missed).await;
            if changed {
                let next = publish.borrow().with_keys(self.keys());
                tracing::info!(keys = next.keys(), generation = next.generation(), "the keys of tokens have changed");
                publish.send_replace(Arc::new(next));
            }
        }
    }

    /// Whether its keys have changed.
    async fn look_at_issuer(&mut self, missed: bool) -> bool {
        let Some(issuer) = &mut self.issuer else { return false };
        if missed {
            self.schedule.on_missed();
        }
        let mut changed = false;
        if self.schedule.is_due(Instant::now()) {
            self.schedule.on_asked(Instant::now());
            match issuer.ask().await {
                Ok(news) => {
                    changed = news;
                    self.schedule.on_good(Instant::now());
                }
                Err(fault) => {
                    let (failures, wait) = self.schedule.on_bad(Instant::now());
                    tracing::warn!(%fault, failures, ?wait, "the tokens' issuer; its last keys go on");
                }
            }
        }
        if self.schedule.is_over(Instant::now()) && issuer.forget() {
            tracing::error!("the tokens' issuer has not answered for too long; its keys are no longer believed");
            changed = true;
        }
        changed
    }
}
