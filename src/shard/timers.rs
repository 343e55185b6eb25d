//! Time limits on the shard's waits: one wheel, one entry a connection.
//!
//! A [`Timer`] is set and cleared several times a request, so both are a store in a cell: the wheel's entry stays where
//! it is and, when it comes up, is moved to where the timer is set by then. Only a timer set to *earlier* than its
//! entry touches the wheel. The driver sleeps until the wheel's next entry.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::clock::Clock;
use super::ring::{Ring, Sleep};
use super::wheel::{Key, Wheel};
use crate::limits;
use crate::time::Instant;

/// The wheel and its driver's waker.
pub(crate) struct Timers {
    ring: Ring,
    clock: Rc<Clock>,
    wheel: RefCell<Wheel<Rc<Entry>>>,
    /// When the driver will look next.
    sleeps_until: Cell<Instant>,
    driver: RefCell<Option<Waker>>,
    /// Timers that are not in use, their entries with them.
    spare: RefCell<Vec<Timer>>,
    stopped: Cell<bool>,
}

struct Entry {
    /// When to wake; [`Instant::NEVER`] when not set.
    at: Cell<Instant>,
    /// Where the wheel holds it, and for when.
    held: Cell<Option<(Key, Instant)>>,
    waker: RefCell<Option<Waker>>,
    /// The present wait is to end, whatever its time.
    cut: Cell<bool>,
}

/// One task's alarm. Dropping it takes it off the wheel.
pub(crate) struct Timer {
    timers: Rc<Timers>,
    entry: Rc<Entry>,
}

/// A way to end a timer's present wait from outside.
pub(crate) struct Alarm(Rc<Entry>);

impl Alarm {
    /// Ends the wait now, as if its time were up.
    pub(crate) fn ring_now(&self) {
        self.0.cut.set(true);
        if let Some(waker) = self.0.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A wait took longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl Timers {
    pub(crate) fn new(ring: Ring, clock: Rc<Clock>, capacity: usize) -> Rc<Self> {
        Rc::new(Self {
            ring,
            wheel: RefCell::new(Wheel::new(capacity)),
            clock,
            sleeps_until: Cell::new(Instant::NEVER),
            driver: RefCell::new(None),
            spare: RefCell::default(),
            stopped: Cell::new(false),
        })
    }

    /// A timer that is not set.
    pub(crate) fn timer(self: &Rc<Self>) -> Timer {
        let entry = Entry {
            at: Cell::new(Instant::NEVER),
            held: Cell::new(None),
            waker: RefCell::new(None),
            cut: Cell::new(false),
        };
        Timer { timers: Rc::clone(self), entry: Rc::new(entry) }
    }

    /// The same out of those that were [given back](Timers::give_back): for waits of every call, without an allocation.
    pub(crate) fn spare(self: &Rc<Self>) -> Timer {
        self.spare.borrow_mut().pop().unwrap_or_else(|| self.timer())
    }

    /// Keeps a timer for the next one who needs it.
    pub(crate) fn give_back(&self, timer: Timer) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < limits::TIMERS_SPARE_MAX && !self.stopped.get() {
            spare.push(timer);
        }
    }

    /// Waits until `at`.
    pub(crate) async fn sleep_until(self: &Rc<Self>, at: Instant) {
        let timer = self.timer();
        let _ = timer.limit(at, std::future::pending::<()>()).await;
        if self.clock.read() < at {
            // The wheel is full: whoever sleeps in a loop must yield all the same.
            self.ring.sleep(limits::UNTIMED_PAUSE).await;
        }
    }

    /// Wakes what is due, for as long as the shard runs.
    pub(crate) async fn drive(self: Rc<Self>) {
        // On a ring that has ended every sleep is over at once.
        while !self.stopped.get() && self.ring.is_running() {
            let now = self.clock.read();
            self.expire(now);
            let next = self.wheel.borrow().next_at().unwrap_or(Instant::NEVER);
            self.sleeps_until.set(next);
            self.sleep(next).await;
        }
    }

    /// Ends [`Timers::drive`].
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        // Each holds us.
        drop(self.spare.take());
        self.wake_driver();
    }

    fn expire(self: &Rc<Self>, now: Instant) {
        // The wheel is not borrowed while entries are handled: waking runs no task, but rearming needs the wheel.
        loop {
            let due = self.wheel.borrow_mut().pop(now);
            let Some(entry) = due else { return };
            entry.held.set(None);
            if entry.at.get() > now {
                // Its place in the wheel has just become free.
                let _ = self.hold(&entry, entry.at.get());
            } else if let Some(waker) = entry.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// Puts an entry on the wheel, unless it is there already for no later than `at`.
    /// False when the wheel is full: a wait that cannot be limited must not begin.
    fn hold(&self, entry: &Rc<Entry>, at: Instant) -> bool {
        if at == Instant::NEVER {
            return true;
        }
        let mut wheel = self.wheel.borrow_mut();
        let key = match entry.held.get() {
            Some((_, held_for)) if held_for <= at => return true,
            Some((key, _)) => wheel.rearm(key, at).then_some(key),
            None => wheel.arm(at, Rc::clone(entry)).ok(),
        };
        drop(wheel);
        entry.held.set(key.map(|key| (key, at)));
        if at < self.sleeps_until.get() {
            self.wake_driver();
        }
        key.is_some()
    }

    fn wake_driver(&self) {
        if let Some(waker) = self.driver.borrow_mut().take() {
            waker.wake();
        }
    }

    async fn sleep(&self, until: Instant) {
        let mut alarm = (until != Instant::NEVER).then(|| self.ring.sleep(until.since(self.clock.read())));
        let mut first = true;
        poll_fn(|cx| {
            let over = alarm.as_mut().is_some_and(|alarm: &mut Sleep| pin!(alarm).poll(cx).is_ready());
            // Woken by other than the alarm: an earlier timer was set.
            if over || !std::mem::take(&mut first) {
                return Poll::Ready(());
            }
            *self.driver.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        self.driver.borrow_mut().take();
    }
}

impl Timer {
    pub(crate) fn alarm(&self) -> Alarm {
        Alarm(Rc::clone(&self.entry))
    }

    /// Runs `work`, but no longer than until `at`.
    pub(crate) async fn limit<T>(&self, at: Instant, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        let mut work = pin!(work);
        self.entry.cut.set(false);
        let result = poll_fn(|cx| self.poll_limited(cx, at, work.as_mut())).await;
        self.entry.at.set(Instant::NEVER);
        result
    }

    fn poll_limited<T>(
        &self,
        cx: &mut Context<'_>,
        at: Instant,
        work: Pin<&mut impl Future<Output = T>>,
    ) -> Poll<Result<T, Elapsed>> {
        if let Poll::Ready(done) = work.poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if self.entry.cut.take() || at <= self.timers.clock.now() {
            return Poll::Ready(Err(Elapsed));
        }
        let mut waker = self.entry.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|held| held.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        if self.entry.at.replace(at) != at && !self.timers.hold(&self.entry, at) {
            return Poll::Ready(Err(Elapsed));
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some((key, _)) = self.entry.held.take() {
            drop(self.timers.wheel.borrow_mut().cancel(key));
        }
    }
}
