//! Whom the stream is heard from: one provider at a time, and the next before the last is left.
//!
//! An **epoch** is one subscription at one provider: logs first where there are any, then heads, on one connection.
//! Words of an epoch that is over are not heard. Another one is asked for when there is none; when the current one is
//! silent for [`Patience::stale_after`], twice as long each time that the next one knows nothing newer, since a chain
//! may halt; when it lags behind what the node knows; when it is still behind what has been delivered; when what it says
//! cannot be joined to that. Only in the first case is there a gap to be closed in a hurry: in the others the current
//! one is heard until the next one has agreed.

use std::time::Duration;

use super::block::BlockHash;
use crate::limits::{SUBSCRIBE_PAUSE_FIRST, SUBSCRIBE_PAUSE_MAX, SUBSCRIBE_TIMEOUT};
use crate::time::Instant;

/// One subscription at one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Without a new head; some multiple of the block time.
    pub(super) stale_after: Duration,
}

/// The epoch that is heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    pub(super) epoch: Epoch,
    since: Instant,
    heard_at: Instant,
    /// The head that was pushed last, and when.
    pub(super) pushed: Option<(BlockHash, Instant)>,
    /// It has reached what has been delivered.
    pub(super) caught_up: bool,
    /// Its pushed logs are not to be relied on: some had to be dropped.
    pub(super) distrusted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    epoch: Epoch,
    at: Instant,
}

/// What is to be told the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Subscribe { epoch: Epoch, instead_of: Option<Epoch> },
    Unsubscribe { epoch: Epoch },
}

/// Times [`Patience::stale_after`] that a chain which seems to stand still is waited for.
const STALE_WAITS_MAX: u32 = 16;

/// Nobody waits for this epoch's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAsked;

#[derive(Debug)]
pub(super) struct Source {
    patience: Patience,
    pub(super) current: Option<Current>,
    asked: Option<Asked>,
    /// The last one heard, which is not asked again if there is another.
    last: Option<Epoch>,
    epochs: u64,
    /// No asking before.
    ask_from: Instant,
    pause: Duration,
    stale_wait: Duration,
    lagging_since: Option<Instant>,
    /// What is needed to go on was asked for in vain since.
    stuck_since: Option<Instant>,
}

impl Source {
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            patience,
            current: None,
            asked: None,
            last: None,
            epochs: 0,
            ask_from: Instant::START,
            pause: SUBSCRIBE_PAUSE_FIRST,
            stale_wait: patience.stale_after,
            lagging_since: None,
            stuck_since: None,
        }
    }

    /// The current epoch, where it is this one.
    pub(super) fn heard(&mut self, epoch: Epoch) -> Option<&mut Current> {
        self.current.as_mut().filter(|current| current.epoch == epoch)
    }

    /// Asks for another where one is needed, and gives up one that does not answer.
    pub(super) fn look(&mut self, now: Instant) -> Option<Order> {
        if let Some(asked) = self.asked {
            if now.since(asked.at) < SUBSCRIBE_TIMEOUT {
                return None;
            }
            self.on_refused(now, asked.epoch);
            return Some(Order::Unsubscribe { epoch: asked.epoch });
        }
        if now < self.ask_from || now < self.due_at() {
            return None;
        }
        self.epochs += 1;
        let epoch = Epoch(self.epochs);
        self.asked = Some(Asked { epoch, at: now });
        Some(Order::Subscribe { epoch, instead_of: self.last })
    }

    /// When another one is due, leaving pauses aside.
    fn due_at(&self) -> Instant {
        let Some(current) = &self.current else { return Instant::START };
        let stale = current.heard_at + self.stale_wait;
        let lagging = self.lagging_since.map_or(Instant::NEVER, |since| since + self.stale_wait);
        let stuck = self.stuck_since.map_or(Instant::NEVER, |since| since + self.stale_wait);
        let behind = if current.caught_up { Instant::NEVER } else { current.since + self.stale_wait };
        stale.min(lagging).min(stuck).min(behind)
    }

    pub(super) fn next_look(&self) -> Instant {
        self.asked.map_or_else(|| self.due_at().max(self.ask_from), |asked| asked.at + SUBSCRIBE_TIMEOUT)
    }

    /// The one that was asked has agreed: it is current, and the one before it is over.
    pub(super) fn on_subscribed(&mut self, now: Instant, epoch: Epoch) -> Result<Option<Current>, NotAsked> {
        self.asked.take_if(|asked| asked.epoch == epoch).ok_or(NotAsked)?;
        self.last = Some(epoch);
        (self.lagging_since, self.stuck_since) = (None, None);
        if self.current.is_some() {
            // Until it proves that it knows more.
            self.stale_wait =
                self.stale_wait.saturating_mul(2).min(self.patience.stale_after.saturating_mul(STALE_WAITS_MAX));
        }
        Ok(self.current.replace(Current {
            epoch,
            since: now,
            heard_at: now,
            pushed: None,
            caught_up: false,
            distrusted: false,
        }))
    }

    /// The one that was asked will not have us.
    pub(super) fn on_refused(&mut self, now: Instant, epoch: Epoch) {
        if self.asked.take_if(|asked| asked.epoch == epoch).is_some() {
            self.rest(now);
        }
    }

    fn rest(&mut self, now: Instant) {
        self.ask_from = now + self.pause;
        self.pause = self.pause.saturating_mul(2).min(SUBSCRIBE_PAUSE_MAX);
    }

    /// The current one is over, where it is this one.
    pub(super) fn on_lost(&mut self, now: Instant, epoch: Epoch) -> Option<Current> {
        self.on_refused(now, epoch);
        let over = self.current.take_if(|current| current.epoch == epoch)?;
        // One that agrees and goes is as good as one that refuses.
        if over.pushed.is_none() && now.since(over.since) < SUBSCRIBE_PAUSE_MAX {
            self.rest(now);
        }
        Some(over)
    }

    /// The current one is over: it is not worth hearing.
    pub(super) fn leave(&mut self) -> Option<Current> {
        self.current.take()
    }

    /// The current one has said something new.
    pub(super) fn on_news(&mut self, now: Instant) {
        if let Some(current) = &mut self.current {
            current.heard_at = now;
        }
    }

    /// What is delivered has moved on: whoever told it is well.
    pub(super) fn on_progress(&mut self) {
        self.stale_wait = self.patience.stale_after;
        self.pause = SUBSCRIBE_PAUSE_FIRST;
        self.stuck_since = None;
    }

    pub(super) fn on_lag(&mut self, now: Instant, lags: bool) {
        self.lagging_since = lags.then(|| self.lagging_since.unwrap_or(now));
    }

    pub(super) fn on_stuck(&mut self, now: Instant, is_stuck: bool) {
        self.stuck_since = is_stuck.then(|| self.stuck_since.unwrap_or(now));
    }
}
