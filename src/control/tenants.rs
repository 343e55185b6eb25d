//! Tenants, on control's side: who may come in goes out to the shards, and what was used goes into the ledger.
//!
//! ```text
//!   ledger ── Directory ──▶ Books (numbers for plans and rules, the map of keys) ──▶ Roster ──▶ every shard
//!   every shard ── UsageTable ──▶ Spool ── one batch at a time ──▶ ledger
//! ```
//!
//! A node does not begin without having read its keys once: it would turn everybody away. From then on the ledger may be
//! gone for as long as it likes: keys are good as they were, and usage is summed here until it is written.

mod books;
mod names;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::Instant;

use self::books::Books;
use self::names::UsageNames;
use super::RunError;
use super::calendar::{self, unix_now};
use super::collect::Collector;
use super::fleet::Fleet;
use super::tokens::Keyring;
use super::view::TenantFigures;
use crate::admin;
use crate::config::{self, Config, Jwt};
use crate::ledger::{Asker, Directory, Ledger, News, StoreError, UsageBatch, UsageRow};
use crate::limits;
use crate::link::Snapshot;
use crate::routing::Month;
use crate::tenant::key::KeyId;
use crate::tenant::{Batch, MonthUsed, Roster, Spool, token};

/// See the module.
#[derive(Debug)]
pub(super) struct Tenants {
    ledger: Ledger,
    /// The keys of tokens, where there are any, and what they are kept by.
    keyring: Option<Keyring>,
    jwt: Option<Jwt>,
    /// The last generation of tokens that was published: what shards remember holds for one.
    tokens_generation: u64,
    /// Others that share these tenants' quotas.
    fleet: Option<Fleet>,
    books: Books,
    spool: Spool,
    names: UsageNames,
    node: String,
    /// Random, so that nodes may share a name.
    boot: u128,
    /// The ledger answers.
    is_up: bool,
    /// When usage is handed in next.
    write_at: Instant,
    /// When those who are not in use are forgotten next.
    sweep_at: Instant,
}

/// What there is to hear.
pub(super) enum Heard {
    Ledger(News),
    Tokens(Arc<token::Tokens>),
}

/// What that asks the node to do.
pub(super) enum Then {
    Nothing,
    Publish(Box<Roster>),
}

impl Tenants {
    /// Reads who may come in; none where the config has no tenants. The node's clock began at `epoch`; `month` tells
    /// which one it is for a plan that begins on a day.
    pub(super) async fn open(
        config: &Config,
        tls: &ClientConfig,
        epoch: std::time::Instant,
        month: impl Fn(u8) -> Month,
    ) -> Result<Option<(Self, Roster)>, RunError> {
        let Some(tenants) = &config.tenants else { return Ok(None) };
        let mut ledger = Ledger::start(tenants.store.clone(), tenants.retention)?;
        let mut books = Books::new(tenants).map_err(|error| RunError::Ledger(error.to_string()))?;
        let first = tokio::time::timeout(limits::LEDGER_FIRST_WAIT, first_directory(&mut ledger)).await;
        let directory = first.map_err(|_| RunError::Ledger("it did not answer in time".into()))??;
        let tag = books.pepper().own_tag();
        let held = ledger.asker().ask(move |store| store.hold_to(tag)).await;
        held.map_err(|error| RunError::Ledger(error.to_string()))?;
        let mut keyring = match &tenants.jwt {
            Some(jwt) => Some(Keyring::start(jwt, books.pepper().clone(), tls, 0)?),
            None => None,
        };
        if let Some(keyring) = &mut keyring {
            keyring.first(limits::TOKEN_FIRST_WAIT).await;
            books.set_tokens(Some(keyring.tokens()));
        }
        let roster = books.enter(&directory, crate::time::Instant::START + epoch.elapsed(), unix_now(), &month);
        let starts = books.month_starts(&directory);
        drop(directory);
        restore_months(&ledger.asker(), &books, &starts, &month)
            .await
            .map_err(|error| RunError::Ledger(error.to_string()))?;
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| RunError::Ledger("no random numbers".into()))?;
        let boot = u128::from_ne_bytes(bytes);
        let fleet = match (&tenants.fleet, books.in_use(epoch)) {
            (Some(fleet), Some(in_use)) => {
                let boot = u64::try_from(boot >> 64).unwrap_or_default();
                Some(Fleet::start(fleet, &config.node.region, boot, epoch, in_use)?)
            }
            _ => None,
        };
        let this = Self {
            ledger,
            tokens_generation: keyring.as_ref().map_or(0, |keyring| keyring.tokens().generation()),
            keyring,
            jwt: tenants.jwt.clone(),
            fleet,
            books,
            spool: Spool::default(),
            names: UsageNames::default(),
            node: config.node.id.clone(),
            boot,
            is_up: true,
            write_at: Instant::now(),
            sweep_at: Instant::now() + limits::ACCOUNTS_SWEEP_EVERY,
        };
        Ok(Some((this, roster)))
    }

    /// What the admin port's desk works with.
    pub(super) fn desk(&self) -> admin::Desk {
        admin::Desk { ledger: self.ledger.asker(), pepper: self.books.pepper().clone() }
    }

    /// What the ledger, or whoever keeps the tokens' keys, has to tell.
    pub(super) async fn next(&mut self) -> Heard {
        tokio::select! {
            news = self.ledger.next() => Heard::Ledger(news),
            tokens = changed(self.keyring.as_mut()) => Heard::Tokens(tokens),
        }
    }

    pub(super) fn on_heard(&mut self, heard: Heard, now: crate::time::Instant, month: impl Fn(u8) -> Month) -> Then {
        match heard {
            Heard::Ledger(news) => self.on_news(news, now, month),
            Heard::Tokens(tokens) => {
                self.tokens_generation = tokens.generation();
                self.books.set_tokens(Some(tokens));
                Then::Publish(Box::new(self.books.roster(now, &month)))
            }
        }
    }

    fn on_news(&mut self, news: News, now: crate::time::Instant, month: impl Fn(u8) -> Month) -> Then {
        match news {
            News::Directory(directory) => {
                let roster = self.books.enter(&directory, now, unix_now(), &month);
                tracing::debug!(revision = directory.revision, keys = self.books.keys(), "tenants were changed");
                return Then::Publish(Box::new(roster));
            }
            News::Written { sequence } => self.spool.on_written(sequence),
            News::Trouble(why) => {
                self.is_up = false;
                tracing::error!(why, "the ledger; keys stay as they are, and usage is summed until it is back");
            }
            News::Recovered => {
                self.is_up = true;
                tracing::info!(waiting = self.spool.rows(), "the ledger is back");
            }
        }
        Then::Nothing
    }

    /// Takes a reloaded config over. Tokens that cannot be verified as it says go on as they were.
    pub(super) fn reload(&mut self, config: &config::Tenants, tls: &ClientConfig) {
        self.books.set_anonymous(config.anonymous.clone());
        if config.jwt == self.jwt {
            return;
        }
        let start = |jwt| Keyring::start(jwt, self.books.pepper().clone(), tls, self.tokens_generation);
        match config.jwt.as_ref().map(start).transpose() {
            Ok(keyring) => {
                self.jwt.clone_from(&config.jwt);
                match keyring.as_ref().map(Keyring::tokens) {
                    // Until its issuer has answered, those from before are good.
                    Some(tokens) if tokens.keys() == 0 => {}
                    tokens => {
                        self.tokens_generation = tokens.as_ref().map_or(self.tokens_generation, |new| new.generation());
                        self.books.set_tokens(tokens);
                    }
                }
                self.keyring = keyring;
            }
            Err(error) => tracing::error!(%error, "tokens are verified as before"),
        }
    }

    /// Who may come in, made anew: after a reload, or in a new month of some plan.
    pub(super) fn again(&mut self, now: crate::time::Instant, month: impl Fn(u8) -> Month) -> Roster {
        self.books.roster(now, &month)
    }

    /// Whether a month of some plan has ended since the last roster.
    pub(super) fn is_of_last_month(&self, now: crate::time::Instant) -> bool {
        self.books.is_of_last_month(now)
    }

    /// Takes what shards have summed, and hands it in when it is time. `month`: the calendar's.
    pub(super) fn collect(
        &mut self,
        collector: &mut Collector,
        snapshot: &Snapshot,
        now: crate::time::Instant,
        month: Month,
    ) {
        self.names.learn(snapshot);
        collector.usage(&mut self.spool);
        if Instant::now() >= self.write_at {
            self.write_at = Instant::now() + limits::USAGE_WRITTEN_EVERY;
            self.write();
        }
        if Instant::now() >= self.sweep_at {
            self.sweep_at = Instant::now() + limits::ACCOUNTS_SWEEP_EVERY;
            self.books.sweep(now, month);
        }
    }

    /// Tells pages of it.
    pub(super) fn show(&self, figures: &TenantFigures) {
        figures.keys.set(self.books.keys() as u64);
        let (keys, strangers) = self.books.active();
        figures.active_keys.set(keys as u64);
        figures.active_strangers.set(strangers as u64);
        figures.rows_waiting.set(self.spool.rows() as u64);
        figures.ledger_up.set(self.is_up.into());
        figures.fleet_up.set(self.fleet.as_ref().is_none_or(Fleet::is_connected).into());
    }

    fn write(&mut self) {
        if self.ledger.is_writing() {
            return;
        }
        let Some(Batch { sequence, rows }) = self.spool.offer() else { return };
        let rows = rows.iter().map(|(key, usage)| UsageRow {
            tenant: key.tenant,
            key: key.key,
            chain: self.names.chain(key.chain),
            method: key.method.name(),
            provider: self.names.provider(key.provider),
            minute: key.minute,
            usage: *usage,
        });
        let rows = rows.collect();
        self.ledger.write(UsageBatch { node: self.node.clone(), boot: self.boot, sequence: *sequence, rows });
    }

    /// Writes what is left, for as long as may be waited.
    pub(super) async fn finish(mut self, collector: &mut Collector, within: Duration) {
        if let Some(fleet) = self.fleet.take() {
            fleet.finish(limits::FLEET_LAST).await;
        }
        let until = Instant::now() + within;
        loop {
            // A shard that the drain limit has cut short still serves.
            collector.usage(&mut self.spool);
            if self.spool.rows() == 0 {
                break;
            }
            if Instant::now() >= until {
                tracing::error!(rows = self.spool.rows(), "the ledger did not take the last usage in time; it is lost");
                break;
            }
            self.write();
            match tokio::time::timeout(limits::JOIN_EVERY, self.ledger.next()).await {
                Ok(News::Written { sequence }) => self.spool.on_written(sequence),
                Ok(News::Trouble(why)) => tracing::error!(why, "the ledger; the last usage is not written yet"),
                Ok(News::Directory(_) | News::Recovered) | Err(_) => {}
            }
        }
        self.ledger.finish(until.saturating_duration_since(Instant::now()).max(limits::JOIN_EVERY)).await;
    }
}

/// Never, where no token stands in for a key.
async fn changed(keyring: Option<&mut Keyring>) -> Arc<token::Tokens> {
    match keyring {
        Some(keyring) => keyring.changed().await,
        None => std::future::pending().await,
    }
}

async fn first_directory(ledger: &mut Ledger) -> Result<Directory, RunError> {
    loop {
        match ledger.next().await {
            News::Directory(directory) => return Ok(directory),
            News::Trouble(why) => return Err(RunError::Ledger(why)),
            News::Written { .. } | News::Recovered => {}
        }
    }
}

/// Counts go on from what the ledger has of each key's month, and of a token's bearer of any plan's. `starts`: the day that
/// a key's begins on.
async fn restore_months(
    asker: &Asker,
    books: &Books,
    starts: &HashMap<KeyId, u8>,
    month: impl Fn(u8) -> Month,
) -> Result<(), StoreError> {
    let mut bearers: HashMap<KeyId, Vec<MonthUsed>> = HashMap::new();
    let mut days = books.month_days();
    days.insert(1);
    for day in days {
        let (since_minute, month) = (calendar::month_begins_minute(unix_now(), day), month(day).number);
        for used in asker.ask(move |store| store.month_units(since_minute)).await? {
            let of_month = MonthUsed { units: used.units, month };
            if !used.is_known {
                bearers.entry(used.key).or_default().push(of_month);
            } else if *starts.get(&used.key).unwrap_or(&1) == day {
                // By the calendar's where the month is not limited yet.
                books.restore(used.key, of_month);
            }
        }
    }
    for (bearer, used) in bearers {
        books.restore_bearer(bearer, used);
    }
    Ok(())
}
