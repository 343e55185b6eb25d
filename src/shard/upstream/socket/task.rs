//! The life of one connection: opened, served, and what its end says of the provider.
//!
//! For subscriptions it is told here, once, however many wait; for calls each call tells it, as over HTTP.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::link::{Link, Use};
use super::open::{self, OpenError, Opened, random};
use super::serve::Connection;
use super::sockets::Sockets;
use crate::link::{EventKind, SocketLoss};
use crate::routing::{Gate, Health, Trial};
use crate::shard::guard::{caught, guarded};
use crate::shard::upstream::Upstream;
use crate::shard::{Shard, judge, report};
use crate::time::Instant;

/// A connection that is being opened, and who waits for it.
pub(super) struct Opening {
    pub(super) usage: Use,
    outcome: RefCell<Option<Result<(), OpenError>>>,
    waiting: RefCell<Vec<Waker>>,
}

/// A trial, where the provider's gate asks for one.
pub(super) fn pass_gate(shard: &Shard, upstream: &Upstream, now: Instant) -> Result<Option<Trial>, OpenError> {
    let standing = &upstream.slot.standing;
    match standing.gate(now) {
        Gate::Open => Ok(None),
        Gate::Trial => {
            let (trial, transition) = standing.claim_trial(now).ok_or(OpenError::BackingOff)?;
            if let Some(transition) = transition {
                shard.tell_breaker(&upstream.slot, transition);
            }
            Ok(Some(trial))
        }
        Gate::Shut { .. } | Gate::Parked { .. } => Err(OpenError::BackingOff),
    }
}

/// Opens one connection and serves it to its end.
pub(super) struct Task {
    pub(super) shard: Rc<Shard>,
    pub(super) upstream: Rc<Upstream>,
    pub(super) sockets: Rc<Sockets>,
    pub(super) opening: Rc<Opening>,
    pub(super) since: Instant,
}

impl Task {
    pub(super) async fn run(self, trial: Option<Trial>) {
        let Self { shard, sockets, opening, .. } = &self;
        let opened = guarded(shard, open::open(shard, sockets)).await.unwrap_or(Err(OpenError::Lost));
        match if sockets.is_retired() { Err(OpenError::Retired) } else { opened } {
            Err(error) => {
                sockets.on_opened(opening, None);
                self.refused(&error, trial.as_ref());
                opening.end(Err(error));
            }
            Ok(opened) => {
                if trial.is_some() {
                    report::tell_beside(shard, &self.upstream, Health::Good, trial.as_ref(), self.since);
                }
                self.serve(opened).await;
            }
        }
    }

    fn refused(&self, error: &OpenError, trial: Option<&Trial>) {
        let Self { shard, upstream, sockets, opening, since } = self;
        if !error.was_tried() {
            if let Some(trial) = trial {
                upstream.slot.standing.release_trial(trial);
            }
            return;
        }
        shard.counters.upstream_sockets_refused.add(1);
        sockets.on_failure(shard);
        if opening.usage == Use::Subscriptions {
            report::tell_beside(shard, upstream, judge::unopened(error), trial, *since);
        }
    }

    async fn serve(&self, opened: Opened) {
        let Self { shard, sockets, opening, .. } = self;
        let link = Link::new(opening.usage, self.since, u64::from_le_bytes(random()));
        sockets.on_opened(opening, Some(&link));
        shard.counters.upstream_sockets_opened.add(1);
        shard.counters.upstream_sockets.set(shard.counters.upstream_sockets.get() + 1);
        opening.end(Ok(()));
        let connection = Connection::new(Rc::clone(shard), Rc::clone(sockets), Rc::clone(&link), opened);
        let loss = guarded(shard, connection.serve()).await.unwrap_or(Some(SocketLoss::Panicked));
        shard.counters.upstream_sockets.set(shard.counters.upstream_sockets.get() - 1);
        sockets.on_over(&link);
        // We have left it, but not of our own accord.
        if let Some(loss) = loss.or(link.is_dead().then_some(SocketLoss::Silent)) {
            self.lost(&link, loss);
        }
        // Ears are called, and theirs is somebody else's code.
        caught(shard, || link.end(shard));
    }

    fn lost(&self, link: &Link, loss: SocketLoss) {
        let Self { shard, upstream, sockets, .. } = self;
        if !link.has_answered() {
            sockets.on_failure(shard);
        }
        if link.is_used() || link.is_dead() {
            shard.counters.upstream_sockets_lost.add(1);
            shard.event(&upstream.slot, EventKind::SocketLost(loss));
        }
        // Calls tell it by themselves.
        if link.is_listened_to()
            && let Some(health) = health(loss)
        {
            report::tell_beside(shard, upstream, health, None, self.since);
        }
    }
}

/// What a loss shows of the provider. An orderly goodbye is everyday: vendors move connections, nodes are restarted.
fn health(loss: SocketLoss) -> Option<Health> {
    match loss {
        SocketLoss::Closed(None | Some(1000 | 1001 | 1012)) | SocketLoss::Panicked => None,
        SocketLoss::Closed(Some(1013)) => Some(Health::Cooldown(None)),
        SocketLoss::Closed(_) | SocketLoss::Cut | SocketLoss::Silent | SocketLoss::Fault => Some(Health::Failure),
    }
}

impl Opening {
    pub(super) const fn new(usage: Use) -> Self {
        Self { usage, outcome: RefCell::new(None), waiting: RefCell::new(Vec::new()) }
    }

    fn end(&self, outcome: Result<(), OpenError>) {
        *self.outcome.borrow_mut() = Some(outcome);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) -> Result<(), OpenError> {
        poll_fn(|cx| {
            if let Some(outcome) = &*self.outcome.borrow() {
                return Poll::Ready(outcome.clone());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}
