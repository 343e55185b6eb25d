//! The one task per shard that enters the kernel: turn, let tasks run, turn again, and sleep when there is nothing.
//!
//! ```text
//!        ┌────────────── Busy: yield, woken tasks run and queue ◀──┐
//!        ▼                                                         │
//!   ┌─────────┐ Idle  ┌──────┐  nothing came  ┌───────────────┐  doorbell or nudge
//!   │  turn   │──────▶│ spin │───────────────▶│ doorbell armed│──────▶ (glommio sleeps)
//!   └─────────┘       └──────┘                └───────────────┘
//! ```
//!
//! **Doorbell**: an eventfd that the kernel signals when deferred work appears, read through glommio's own ring, so that
//! the executor can sleep. It is silent while the driver turns (a shared flag, no system call), else every completed
//! send would leave a count behind that wakes the next sleep for nothing. A read is started for the first sleep and stays
//! until the doorbell rings, however often a nudge ends the sleep before; so it is never cancelled.
//!
//! **Nudge**: a task that queues an operation while the driver sleeps wakes it by its waker. Tasks run on this thread
//! only, hence before the executor sleeps: nothing can be missed.
//!
//! Why no wake-up is lost: `Core::arm_doorbell`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use glommio::io::BufferedFile;
use glommio::timer::Timer;
use tracing::error;

use super::core::{Core, Phase, Turn};

/// What the handles of one ring share.
pub(super) struct Inner {
    core: RefCell<Core>,
    /// Set while the driver sleeps.
    sleeper: Cell<Option<Waker>>,
    eventfd: OwnedFd,
    spin: Duration,
    driven: Cell<bool>,
}

impl Inner {
    pub(super) const fn new(core: Core, eventfd: OwnedFd, spin: Duration) -> Self {
        Self { core: RefCell::new(core), sleeper: Cell::new(None), eventfd, spin, driven: Cell::new(false) }
    }

    /// Uses the core, then calls the wakers that this brought up and the driver if it must turn.
    pub(super) fn with<R>(&self, use_core: impl FnOnce(&mut Core) -> R) -> R {
        let (result, replaced, pending) = {
            let mut core = self.core.borrow_mut();
            let result = use_core(&mut core);
            (result, mem::take(&mut core.replaced), core.pending)
        };
        drop(replaced);
        if pending {
            self.nudge();
        }
        result
    }

    fn nudge(&self) {
        if let Some(waker) = self.sleeper.take() {
            waker.wake();
        }
    }

    fn turn(&self) -> Turn {
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

/// See [`super::Ring::drive`].
pub(super) async fn drive(inner: Rc<Inner>) {
    if inner.driven.replace(true) {
        return error!("a ring has one driver, and a second one was started");
    }
    let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let mut doorbell = match Doorbell::new(&inner.eventfd, task) {
        Ok(doorbell) => doorbell,
        Err(error) => return error!(%error, "no descriptor for a ring's doorbell"),
    };
    loop {
        match inner.turn() {
            Turn::Busy => glommio::executor().yield_now().await,
            Turn::Idle => {
                if !spin(&inner).await {
                    doorbell.sleep(&inner).await;
                }
            }
            Turn::Finished => break,
        }
    }
    doorbell.close(&inner).await;
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

/// Pause after a doorbell that could not be read, which should never be: the driver looks for itself, and does not spin.
const DEAF_PAUSE: Duration = Duration::from_millis(1);

async fn wait_for_ring(file: Rc<BufferedFile>) {
    if let Err(error) = file.read_at(0, size_of::<u64>()).await {
        error!(%error, "a ring's doorbell cannot be read");
        Timer::new(DEAF_PAUSE).await;
    }
}

/// Wakes the driver when the read of the doorbell is through, and remembers that it is.
///
/// glommio adds a waker to a read at every poll, even of the same task, and aborts at 32,768 references to one. So the
/// read is polled twice in its life, to start and to end it, whatever the number of sleeps between.
struct Rung {
    rang: AtomicBool,
    driver: Waker,
}

impl Wake for Rung {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Relaxed);
        self.driver.wake_by_ref();
    }
}

struct Doorbell {
    file: Rc<BufferedFile>,
    rung: Arc<Rung>,
    reading: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Doorbell {
    /// A doorbell that wakes `driver`, the task that will sleep.
    fn new(eventfd: &OwnedFd, driver: Waker) -> std::io::Result<Self> {
        let own = eventfd.try_clone()?.into_raw_fd();
        // SAFETY: the descriptor was duplicated for this file alone, which closes it.
        let file = Rc::new(unsafe { BufferedFile::from_raw_fd(own) });
        let rung = Arc::new(Rung { rang: AtomicBool::new(false), driver });
        Ok(Self { file, rung, reading: None })
    }

    /// Sleeps until the doorbell rings or a task nudges.
    async fn sleep(&mut self, inner: &Inner) {
        if inner.with(Core::arm_doorbell) {
            inner.with(|core| core.counters.sleeps += 1);
            poll_fn(|cx| self.poll_sleep(inner, cx)).await;
            inner.sleeper.take();
        }
        inner.with(Core::silence_doorbell);
    }

    fn poll_sleep(&mut self, inner: &Inner, cx: &mut Context<'_>) -> Poll<()> {
        if inner.with(|core| core.pending) {
            return Poll::Ready(());
        }
        if self.reading.is_none() || self.rung.rang.swap(false, Ordering::Relaxed) {
            let file = &self.file;
            let reading = self.reading.get_or_insert_with(|| Box::pin(wait_for_ring(Rc::clone(file))));
            let waker = Waker::from(Arc::clone(&self.rung));
            if reading.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.reading = None;
                return Poll::Ready(());
            }
        }
        inner.sleeper.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Ends the read, if one waits, by ringing, and closes the descriptor.
    async fn close(mut self, inner: &Inner) {
        if let Some(reading) = self.reading.take() {
            super::ring_doorbell(&inner.eventfd);
            reading.await;
        }
        if let Ok(file) = Rc::try_unwrap(self.file)
            && let Err(error) = file.close().await
        {
            error!(%error, "a ring's doorbell did not close");
        }
    }
}
