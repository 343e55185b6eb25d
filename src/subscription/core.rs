//! The stream of one subscription: what its providers say, turned into what its clients are told.
//!
//! All is one movement. Of what the provider says there follows a **target**, the head that clients are to be told of
//! next. The path from it down to what has been delivered is the difference: what is delivered and not on it is taken
//! back, what is on it and not delivered is told, in order. A plain new head is a path of one block, a gap one of
//! several, a reorganisation one that branches off below the tip; back and forth is two of these. What is missing on
//! the path is fetched by hash, so that it does not matter who answers.
//!
//! **Which logs are known whole.** A provider pushes a block's logs beside its head, before or after it, and nothing
//! says which was the last. So pushes are relied on only for a block that is new and follows the one pushed before on
//! the same connection; the logs of all others are fetched. And once the connection is over, or something is to be told
//! after them, blocks whose head came within [`PUSH_SKEW_MAX`] of its last word are in doubt: their logs are fetched,
//! and what had not come is told. Until then nothing above is.
//!
//! **A replacement that is behind** is waited for: until it has reached the number of what has been delivered, its
//! heads are remembered and not followed. The number may be another block's: then it is a reorganisation.
//!
//! **A provider whose word leads nowhere** (too far above or below what has been delivered, at odds with itself, or with
//! a parent that nobody knows) is left for the next one. If that one's word leads nowhere either, nobody knows better.
//!
//! **Contract.** After each input, and at [`Core::next_wake`] by [`Core::on_tick`], take all of [`Core::poll`]. What
//! cannot be made good (a gap too long or too large, an outage too long, a reorganisation below the window, logs out of
//! order) ends in [`Action::Close`]: all clients are closed with 1012, and the core is done. Removed logs that a
//! provider pushes are not handed in: removal is told from the headers.
//!
//! Left out: which provider is asked, what is done over the wire, and whoever joins later (it is told from then on).

mod advance;

use std::collections::VecDeque;
use std::time::Duration;

use super::block::{BlockHash, Header, Log};
use super::chain::{Chain, Knowledge};
use super::fetches::{Fetch, FetchId, Fetches};
use super::source::{Current, Epoch, Patience, Source};
use super::waiting::Waiting;
use crate::limits::PUSH_SKEW_MAX;
use crate::time::Instant;

/// What clients subscribed to. Heads are heard for either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    Heads,
    Logs,
}

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub feed: Feed,
    /// Silence of a provider: some multiple of the block time.
    pub stale_after: Duration,
    /// How long clients may be left without what they are owed.
    pub outage_max: Duration,
    /// Blocks behind the chain's head as the node knows it.
    pub lag_max: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emission {
    Head(Header),
    Log(Log),
    /// To be told with `removed: true`.
    Removed(Log),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Subscribe at a provider, another than that of `instead_of` if there is one; logs before heads. Answered by
    /// [`Core::on_subscribed`] or [`Core::on_lost`].
    Subscribe {
        epoch: Epoch,
        instead_of: Option<Epoch>,
    },
    Unsubscribe {
        epoch: Epoch,
    },
    /// Answered by one of the `on_fetched`s or [`Core::on_unfetched`].
    Fetch {
        id: FetchId,
        fetch: Fetch,
    },
    Emit(Emission),
    Close {
        reason: &'static str,
    },
}

#[derive(Debug)]
pub struct Core {
    settings: Settings,
    source: Source,
    chain: Chain,
    fetches: Fetches,
    target: Option<BlockHash>,
    /// Logs that were pushed before their block's head.
    waiting: Waiting,
    /// The epoch whose newest header is still to be asked for.
    latest_of: Option<Epoch>,
    /// Fetching by number has not led to this block.
    not_by_number: Option<BlockHash>,
    /// The chain's head as the node knows it.
    head_elsewhere: u64,
    /// Nothing delivered is in doubt.
    is_certain: bool,
    /// A provider was left for its word, and nothing has been delivered since.
    has_left: bool,
    /// Since when clients have been owed something.
    owing_since: Option<Instant>,
    actions: VecDeque<Action>,
    is_closed: bool,
}

impl Core {
    #[must_use]
    pub fn new(settings: Settings, now: Instant) -> Self {
        let mut core = Self {
            settings,
            source: Source::new(Patience { stale_after: settings.stale_after }),
            chain: Chain::default(),
            fetches: Fetches::default(),
            target: None,
            waiting: Waiting::default(),
            latest_of: None,
            not_by_number: None,
            head_elsewhere: 0,
            is_certain: true,
            has_left: false,
            owing_since: None,
            actions: VecDeque::new(),
            is_closed: false,
        };
        core.turn(now);
        core
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::on_tick`] is due at the latest.
    #[must_use]
    pub fn next_wake(&self, now: Instant) -> Instant {
        let outage = self.owing_since.map_or(Instant::NEVER, |since| since + self.settings.outage_max);
        let retry = self.fetches.next_retry(now).unwrap_or(Instant::NEVER);
        self.source.next_look().min(outage).min(retry)
    }

    /// The newest block that has been delivered; the first one is where the stream begins, and is not told.
    #[must_use]
    pub fn tip(&self) -> Option<&Header> {
        self.chain.tip()
    }

    pub fn on_tick(&mut self, now: Instant) {
        self.turn(now);
    }

    /// A provider has agreed to both subscriptions.
    pub fn on_subscribed(&mut self, now: Instant, epoch: Epoch) {
        if let Ok(before) = self.source.on_subscribed(now, epoch) {
            if let Some(over) = before {
                self.on_over(over);
                self.actions.push_back(Action::Unsubscribe { epoch: over.epoch });
            }
            self.latest_of = Some(epoch);
        }
        self.turn(now);
    }

    /// A provider refused, or its connection is gone.
    pub fn on_lost(&mut self, now: Instant, epoch: Epoch) {
        if let Some(over) = self.source.on_lost(now, epoch) {
            self.on_over(over);
        }
        self.turn(now);
    }

    /// A provider pushed a head.
    pub fn on_head(&mut self, now: Instant, epoch: Epoch, header: Header) {
        let Some(current) = self.source.heard(epoch) else { return };
        let last = current.pushed.map(|(hash, _)| hash);
        if last == Some(header.hash) {
            return;
        }
        let follows = last == Some(header.parent) && !current.distrusted;
        current.pushed = Some((header.hash, now));
        self.source.on_news(now);
        if !self.chain.is_empty() {
            self.latest_of = None;
        }
        self.meet(header, follows.then_some(Knowledge::Pushed { epoch, at: now }));
        self.turn(now);
    }

    /// A provider pushed a log that matches the filter, and not as removed.
    pub fn on_log(&mut self, now: Instant, epoch: Epoch, log: Log) {
        if self.settings.feed == Feed::Heads || self.source.heard(epoch).is_none() {
            return;
        }
        let block = log.block;
        if self.chain.block(block).is_some() {
            self.learn_logs(block, vec![log]);
        } else if !self.waiting.push(now, log)
            && let Some(current) = self.source.heard(epoch)
        {
            current.distrusted = true;
            let current = *current;
            self.doubt_pushes(current);
        }
        self.turn(now);
    }

    /// Headers that were asked for, in any order; one that there is not is left out.
    pub fn on_fetched_headers(&mut self, now: Instant, id: FetchId, headers: Vec<Header>) {
        let is_answer = match self.fetches.under(id) {
            Some(Fetch::Latest { epoch }) => self.on_latest(now, epoch, headers),
            Some(Fetch::Header { hash }) => {
                let found = headers.into_iter().find(|header| header.hash == hash);
                found.map(|header| self.learn(header, None)).is_some()
            }
            Some(Fetch::Headers { .. }) => {
                self.on_run(headers);
                true
            }
            Some(Fetch::Logs { .. }) | None => false,
        };
        self.settle(now, id, is_answer);
    }

    /// A block's logs that were asked for: all that match the filter. `knows_block`: whoever says so had shown before that
    /// it knows the block. Of one that they do not know, some nodes say that it has no logs.
    pub fn on_fetched_logs(&mut self, now: Instant, id: FetchId, logs: Vec<Log>, knows_block: bool) {
        let mut is_answer = false;
        if let Some(Fetch::Logs { block }) = self.fetches.under(id)
            && (knows_block || !logs.is_empty())
            && logs.iter().all(|log| log.block == block)
            && self.chain.has_all_known(block, &logs)
        {
            is_answer = true;
            self.learn_logs(block, logs);
            if let Some(block) = self.chain.block(block).filter(|block| block.knowledge != Knowledge::Floor) {
                block.knowledge = Knowledge::All;
            }
        }
        self.settle(now, id, is_answer);
    }

    /// What was asked for cannot be had now: an error, a block that the provider does not know.
    pub fn on_unfetched(&mut self, now: Instant, id: FetchId) {
        self.settle(now, id, false);
    }

    /// The node takes a block of this number for the chain's head. It may think better of it later.
    pub fn on_head_elsewhere(&mut self, now: Instant, number: u64) {
        self.head_elsewhere = number;
        self.turn(now);
    }

    fn settle(&mut self, now: Instant, id: FetchId, is_answer: bool) {
        let Some(fetch) = self.fetches.under(id) else { return };
        if is_answer {
            self.fetches.forget(fetch);
        } else {
            self.fetches.failed(now, id);
            if let (Fetch::Headers { .. }, Some((hash, _))) = (fetch, self.missing()) {
                self.not_by_number = Some(hash);
            }
        }
        self.turn(now);
    }

    /// The current epoch's newest header: what is owed begins or goes on there.
    fn on_latest(&mut self, now: Instant, epoch: Epoch, headers: Vec<Header>) -> bool {
        let Some(header) = headers.into_iter().next() else { return false };
        let Some(current) = self.source.heard(epoch) else { return true };
        self.latest_of = None;
        if !self.chain.is_empty() {
            // What it has pushed since is newer.
            if current.pushed.is_none() {
                self.meet(header, None);
            }
            return true;
        }
        current.caught_up = true;
        self.source.on_news(now);
        self.waiting.take(header.hash);
        let begins_at = header.number;
        let target = self.target.and_then(|hash| self.chain.block(hash)).map(|block| block.header.number);
        if target.is_none_or(|number| number <= begins_at) {
            self.target = None;
        }
        self.chain.begin(header);
        true
    }

    /// Headers by number: those that hang together with the missing one are what was wanted.
    fn on_run(&mut self, mut headers: Vec<Header>) {
        let Some((mut expected, _)) = self.missing() else { return };
        let first = expected;
        headers.sort_unstable_by_key(|header| header.number);
        for header in headers.into_iter().rev() {
            if header.hash == expected {
                expected = header.parent;
                self.learn(header, None);
            }
        }
        if expected == first {
            self.not_by_number = Some(first);
        }
    }

    /// A head as the current epoch has it.
    fn meet(&mut self, header: Header, pushed: Option<Knowledge>) {
        let (hash, number) = (header.hash, header.number);
        self.learn(header, pushed);
        let delivered = self.chain.tip().map(|tip| tip.number);
        let Some(current) = &mut self.source.current else { return };
        current.caught_up |= delivered.is_some_and(|delivered| number >= delivered);
        if current.caught_up || delivered.is_none() {
            self.target = Some(hash);
        }
    }

    fn learn(&mut self, header: Header, pushed: Option<Knowledge>) {
        let hash = header.hash;
        // Of one that is known, some logs may have come long ago and others be on their way.
        let is_new = self.chain.block(hash).is_none();
        let block = self.chain.learn(header);
        if let Some(pushed) = pushed.filter(|_| is_new) {
            block.knowledge = pushed;
        }
        let logs = self.waiting.take(hash);
        self.learn_logs(hash, logs);
    }

    fn learn_logs(&mut self, block: BlockHash, logs: Vec<Log>) {
        if self.chain.learn_logs(block, logs).is_err() {
            self.close("the provider's logs came out of order");
        }
    }

    fn on_over(&mut self, over: Current) {
        self.doubt_pushes(over);
        self.latest_of = None;
        self.fetches.forget(Fetch::Latest { epoch: over.epoch });
    }

    fn doubt_pushes(&mut self, current: Current) {
        let last = current.pushed.map_or(Instant::START, |(_, at)| at);
        self.chain.doubt_pushes(|epoch, at| epoch == current.epoch && last.since(at) >= PUSH_SKEW_MAX);
        self.waiting = Waiting::default();
    }

    /// What the provider says leads nowhere: the next one may know better. If it does not, nobody does.
    fn leave(&mut self, reason: &'static str) {
        if std::mem::replace(&mut self.has_left, true) {
            return self.close(reason);
        }
        (self.target, self.not_by_number) = (None, None);
        self.chain.forget_side(None);
        if let Some(over) = self.source.leave() {
            self.on_over(over);
            self.actions.push_back(Action::Unsubscribe { epoch: over.epoch });
        }
    }

    fn want(&mut self, now: Instant, fetch: Fetch) {
        if let Some(id) = self.fetches.want(now, fetch) {
            self.actions.push_back(Action::Fetch { id, fetch });
        }
    }

    fn emit(&mut self, emission: Emission) {
        if !self.is_closed {
            self.actions.push_back(Action::Emit(emission));
        }
    }

    fn close(&mut self, reason: &'static str) {
        if !self.is_closed {
            self.is_closed = true;
            self.actions.push_back(Action::Close { reason });
        }
    }
}

#[cfg(test)]
mod tests;
