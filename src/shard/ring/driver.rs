//! The one task per shard that enters the kernel: turn, let tasks run, turn again, and wait when there is nothing.
//!
//! ```text
//!        ┌────────────── Busy: yield, woken tasks run and queue ◀─────────────┐
//!        ▼                                                                    │
//!   ┌─────────┐ Idle  ┌──────┐ nothing came ┌───────┐ nobody ran ┌──────────────────────┐
//!   │  turn   │──────▶│ spin │─────────────▶│ yield │───────────▶│ wait for a completion│
//!   └─────────┘       └──────┘              └───────┘            └──────────────────────┘
//! ```
//!
//! **The thread sleeps here, in this ring, and never in the executor's reactor.** Two reasons. A sleep is one system call;
//! glommio's takes several, to link its rings and to set and cancel its timers. And glommio 0.9 may park with tasks that are ready:
//! when its preemption timer fires between its look at its rings and its look at its queues, it takes "no queue has
//! run" for "no queue had work". A loaded machine brought that about every few minutes, and the shard, whose driver was
//! one of those tasks, slept for good.
//!
//! **Nobody else is ready** is what must hold before waiting. The executor's queue is first in, first out, and a task that
//! yields goes to its end: if no other task was polled between two polls of the driver, the queue was empty. Tasks are
//! counted as they are polled ([`Watched`]), so every task of the thread is to be spawned by [`super::Ring::spawn`], or
//! watched. And what wakes a task must be on this ring (sockets, [`super::Ring::sleep`]) or another task: a waker called from
//! another thread would wake nobody before the next completion.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tracing::error;

use super::core::{Core, Phase, Turn};

/// What the handles of one ring share.
pub(super) struct Inner {
    core: RefCell<Core>,
    /// Turns begun so far; asked for many times a turn.
    turns: Cell<u64>,
    /// Polls of watched tasks so far.
    polls: Cell<u64>,
    spin: Duration,
    driven: Cell<bool>,
}

impl Inner {
    pub(super) const fn new(core: Core, spin: Duration) -> Self {
        Self { core: RefCell::new(core), turns: Cell::new(0), polls: Cell::new(0), spin, driven: Cell::new(false) }
    }

    fn count_poll(&self) {
        self.polls.set(self.polls.get().wrapping_add(1));
    }

    pub(super) fn turns(&self) -> u64 {
        self.turns.get()
    }

    /// Uses the core, then drops the wakers that this replaced.
    pub(super) fn with<R>(&self, use_core: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.core.borrow_mut();
        let result = use_core(&mut core);
        if !core.replaced.is_empty() {
            let replaced = mem::take(&mut core.replaced);
            drop(core);
            drop(replaced);
        }
        result
    }

    fn turn(&self) -> Turn {
        self.turns.set(self.turns.get() + 1);
        let (turn, mut woken) = {
            let mut core = self.core.borrow_mut();
            let turn = core.turn();
            (turn, mem::take(&mut core.woken))
        };
        for waker in woken.drain(..) {
            waker.wake();
        }
        let mut core = self.core.borrow_mut();
        if core.woken.is_empty() {
            core.woken = woken; // its room is used again
        }
        turn
    }

    /// Ends the ring: see [`super::Ring::shutdown`].
    pub(super) fn shut_down(&self) {
        self.with(|core| {
            if core.phase == Phase::Running {
                core.phase = Phase::Ending;
                core.pending = true;
            }
        });
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("core", &self.core).finish_non_exhaustive()
    }
}

pin_project_lite::pin_project! {
    /// A task whose polls the driver sees.
    #[derive(Debug)]
    pub struct Watched<F> {
        #[pin]
        task: F,
        inner: Rc<Inner>,
    }

    /// The end of a task that is cancelled is no poll of it, and may make others ready all the same.
    impl<F> PinnedDrop for Watched<F> {
        fn drop(this: Pin<&mut Self>) {
            this.inner.count_poll();
        }
    }
}

impl<F> Watched<F> {
    pub(super) const fn new(inner: Rc<Inner>, task: F) -> Self {
        Self { task, inner }
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.inner.count_poll();
        this.task.poll(cx)
    }
}

/// See [`super::Ring::start`].
pub(super) async fn drive(inner: Rc<Inner>) {
    if inner.driven.replace(true) {
        return error!("a ring has one driver, and a second one was started");
    }
    loop {
        match inner.turn() {
            Turn::Busy => glommio::executor().yield_now().await,
            Turn::Idle => {
                if !spin(&inner).await && nobody_is_ready(&inner).await {
                    inner.with(Core::wait);
                }
            }
            Turn::Finished => break,
        }
    }
}

/// Lets every task run that is ready; `true` when there was none.
async fn nobody_is_ready(inner: &Inner) -> bool {
    let before = inner.polls.get();
    glommio::executor().yield_now().await;
    inner.polls.get() == before
}

/// Looks for work for a while before sleeping; `true` when some came.
async fn spin(inner: &Inner) -> bool {
    if inner.spin.is_zero() {
        return false;
    }
    let start = Instant::now();
    while start.elapsed() < inner.spin {
        if inner.with(Core::has_work) {
            return true;
        }
        std::hint::spin_loop();
        glommio::executor().yield_now().await;
    }
    false
}
