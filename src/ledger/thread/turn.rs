//! What the thread that writes does from turn to turn.
//!
//! Whether a batch can be written and whether the store can be read are two things: a disk that is full takes no usage,
//! and still says which keys are revoked. So each has a back-off of its own, and the store is closed only when it
//! cannot be read.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::Sender;

use super::backoff::Backoff;
use super::{News, Order};
use crate::ledger::address::StoreAddress;
use crate::ledger::error::StoreError;
use crate::ledger::row::UsageBatch;
use crate::ledger::store::{Retention, Store};
use crate::limits::{LEDGER_BUSY_TROUBLE, LEDGER_LOOK_EVERY, LEDGER_UPKEEP_EVERY};

/// The thread's own state.
#[derive(Debug)]
pub(super) struct Turns {
    address: StoreAddress,
    retention: Retention,
    tell: Sender<News>,
    /// News that control has not taken yet.
    untold: VecDeque<News>,
    store: Option<Store>,
    batch: Option<UsageBatch>,
    writing: Backoff,
    reading: Backoff,
    /// As of the last directory; none if the next one is to be whole.
    revision: Option<u64>,
    /// What was told of trouble last.
    trouble: Option<String>,
    look_at: Instant,
    upkeep_at: Instant,
}

impl Turns {
    pub(super) fn new(address: StoreAddress, retention: Retention, tell: Sender<News>) -> Self {
        let now = Instant::now();
        Self {
            address,
            retention,
            tell,
            untold: VecDeque::new(),
            store: None,
            batch: None,
            writing: Backoff::new(now),
            reading: Backoff::new(now),
            revision: None,
            trouble: None,
            look_at: now,
            upkeep_at: now + LEDGER_UPKEEP_EVERY,
        }
    }

    /// Until it is told to finish, or there is nobody left to tell it.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            self.turn();
            match orders.recv_timeout(self.idle()) {
                Ok(Order::Write(batch)) => self.batch = Some(batch),
                Ok(Order::Look) => self.look_at = Instant::now(),
                Ok(Order::Finish { by }) => return self.finish(by),
                Err(RecvTimeoutError::Timeout) if !self.tell.is_closed() => {}
                Err(_) => return self.finish(Instant::now()),
            }
        }
    }

    /// How long there is nothing to do by itself.
    fn idle(&self) -> Duration {
        let now = Instant::now();
        let write_at = self.batch.is_some().then(|| self.writing.rests_until(now).unwrap_or(now));
        let due = write_at.map_or(self.look_at, |write_at| write_at.min(self.look_at));
        let due = self.reading.rests_until(now).map_or(due, |until| until.max(due));
        due.saturating_duration_since(now).min(LEDGER_LOOK_EVERY)
    }

    fn turn(&mut self) {
        self.tell_all();
        if self.reading.rests_until(Instant::now()).is_some() {
            return;
        }
        self.write();
        match self.look() {
            Ok(()) => self.reading.on_success(),
            Err(error) => {
                if !matches!(error, StoreError::Busy(_)) {
                    self.close();
                }
                self.reading.on_failure(Instant::now());
                self.tell_trouble(&error, self.reading.failures());
            }
        }
        if self.reading.failures() == 0 && self.writing.failures() == 0 && self.trouble.take().is_some() {
            self.untold.push_back(News::Recovered);
        }
        self.tell_all();
    }

    /// Writes what there is to write.
    fn write(&mut self) {
        let Some(batch) = &self.batch else { return };
        if self.writing.rests_until(Instant::now()).is_some() {
            return;
        }
        match open(&mut self.store, &self.address).and_then(|store| store.commit(batch)) {
            Ok(_) => {
                self.writing.on_success();
                self.untold.push_back(News::Written { sequence: batch.sequence });
                self.batch = None;
            }
            Err(error) => {
                self.writing.on_failure(Instant::now());
                // Whether it is the store's fault, a look will tell.
                self.look_at = Instant::now();
                self.tell_trouble(&error, self.writing.failures());
            }
        }
    }

    /// Looks for changes, where it is time to; else for what the upkeep has to do.
    fn look(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        if now < self.look_at {
            return Ok(());
        }
        self.look_at = now + LEDGER_LOOK_EVERY;
        // One that control has not taken is enough.
        if self.untold.iter().any(|news| matches!(news, News::Directory(_))) {
            return Ok(());
        }
        let store = open(&mut self.store, &self.address)?;
        if self.revision.is_none() || self.revision != Some(store.revision()?) {
            let directory = store.directory(self.revision)?;
            self.revision = Some(directory.revision);
            self.untold.push_back(News::Directory(directory));
        } else if now >= self.upkeep_at && self.batch.is_none() {
            let done = store.roll_up(&self.retention, minute_now())?;
            self.upkeep_at = if done.more { now } else { now + LEDGER_UPKEEP_EVERY };
        }
        Ok(())
    }

    /// The next look at it begins anew.
    fn close(&mut self) {
        self.store = None;
        self.revision = None;
    }

    fn tell_trouble(&mut self, error: &StoreError, failures: u32) {
        let words = error.to_string();
        let worth_telling = !matches!(error, StoreError::Busy(_)) || failures >= LEDGER_BUSY_TROUBLE;
        if worth_telling && self.trouble.as_ref() != Some(&words) {
            self.trouble = Some(words.clone());
            // Only the last one is of interest to whoever was not listening.
            self.untold.retain(|news| !matches!(news, News::Trouble(_) | News::Recovered));
            self.untold.push_back(News::Trouble(words));
        }
    }

    /// Writes what there is to write, once more in any case.
    fn finish(mut self, by: Instant) {
        loop {
            let now = Instant::now();
            self.writing.hurry(now);
            self.write();
            self.tell_all();
            let left = by.saturating_duration_since(Instant::now());
            if self.batch.is_none() || left.is_zero() {
                return;
            }
            let rest = self.writing.rests_until(Instant::now()).unwrap_or(now);
            std::thread::sleep(rest.saturating_duration_since(Instant::now()).min(left));
            // What was opened may be of no use any more.
            self.close();
        }
    }

    fn tell_all(&mut self) {
        while !self.untold.is_empty() {
            let Ok(place) = self.tell.try_reserve() else { return };
            if let Some(news) = self.untold.pop_front() {
                place.send(news);
            }
        }
    }
}

/// The store, opened where it is not.
pub(super) fn open<'a>(store: &'a mut Option<Store>, address: &StoreAddress) -> Result<&'a mut Store, StoreError> {
    if let Some(open) = store {
        return Ok(open);
    }
    Store::open(address).map(|opened| store.insert(opened))
}

fn minute_now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / 60).unwrap_or(u32::MAX)
}
