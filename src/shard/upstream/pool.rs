//! Connections to one provider from one shard: reused newest first, limited, with a bounded queue when all are busy.
//!
//! Newest first (a stack), so that a quiet provider's surplus ages out instead of being kept warm in turn. What is open
//! is counted by a [`Permit`] that each connection carries: dropping the connection, however that comes about, frees its
//! place and wakes the longest waiting call. A call that waits holds a place in the queue; when the queue is full the
//! caller is told at once and asks the next provider.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::shard::timers::Timer;
use crate::shard::transport::Transport;
use crate::time::Instant;

/// An open connection with its place in the pool.
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    /// Limits the waits on this connection; lives as long, so that a call does not make one.
    pub(crate) timer: Timer,
    /// Bytes of all calls that were handed over to be sent.
    pub(crate) sent: u64,
    /// Whether it has answered a call before.
    reused: bool,
    permit: Permit,
}

/// The right to have one connection open.
pub(crate) struct Permit(Rc<Pool>);

/// What a call gets from the pool.
pub(crate) enum Checkout {
    Reused(Connection),
    /// Open one.
    Open(Permit),
}

/// All connections are busy and the queue is full.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    pub(crate) connections_max: usize,
    pub(crate) connections_warm: usize,
    pub(crate) queue_max: usize,
    pub(crate) idle_timeout: Duration,
}

pub(crate) struct Pool {
    limits: Cell<PoolLimits>,
    open: Cell<usize>,
    retired: Cell<bool>,
    /// Oldest first.
    idle: RefCell<VecDeque<(Connection, Instant)>>,
    waiting: RefCell<VecDeque<Rc<Ticket>>>,
}

/// A call's place in the queue.
#[derive(Default)]
struct Ticket {
    granted: RefCell<Option<Checkout>>,
    waker: RefCell<Option<Waker>>,
    abandoned: Cell<bool>,
}

impl Connection {
    pub(crate) fn new(transport: Transport, timer: Timer, permit: Permit) -> Self {
        Self { transport, timer, sent: 0, reused: false, permit }
    }
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits) -> Rc<Self> {
        Rc::new(Self {
            limits: Cell::new(limits),
            open: Cell::new(0),
            retired: Cell::new(false),
            idle: RefCell::default(),
            waiting: RefCell::default(),
        })
    }

    pub(crate) fn set_limits(&self, limits: PoolLimits) {
        self.limits.set(limits);
    }

    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// An unused connection, or the right to open one, if either is to be had at once.
    pub(crate) fn try_checkout(self: &Rc<Self>) -> Option<Checkout> {
        match self.reuse() {
            Some(connection) => Some(Checkout::Reused(connection)),
            None => self.permit().map(Checkout::Open),
        }
    }

    /// The same after waiting in the queue.
    pub(crate) async fn wait(self: &Rc<Self>) -> Result<Checkout, Full> {
        let place = Place { pool: self, ticket: self.queue()? };
        let ticket = &place.ticket;
        Ok(poll_fn(|cx| {
            if let Some(granted) = ticket.granted.borrow_mut().take() {
                return Poll::Ready(granted);
            }
            *ticket.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await)
    }

    /// Whether a call would find a connection or a place in the queue.
    pub(crate) fn has_room(&self) -> bool {
        self.is_free() || self.waiting.borrow().len() < self.limits.get().queue_max
    }

    /// Whether a call would not have to wait for another one's end.
    pub(crate) fn is_free(&self) -> bool {
        self.open.get() < self.limits.get().connections_max || !self.idle.borrow().is_empty()
    }

    /// The right to open one more, if the limit allows.
    pub(crate) fn permit(self: &Rc<Self>) -> Option<Permit> {
        (self.open.get() < self.limits.get().connections_max).then(|| {
            self.open.set(self.open.get() + 1);
            Permit(Rc::clone(self))
        })
    }

    /// The right to open one: within the limit, or in place of the one that has been unused for longest.
    pub(crate) fn permit_for_new(self: &Rc<Self>) -> Option<Permit> {
        if let Some(permit) = self.permit() {
            return Some(permit);
        }
        let (oldest, _) = self.idle.borrow_mut().pop_front()?;
        Some(oldest.permit)
    }

    /// The same after waiting in the queue: a connection that comes free is closed to make room.
    pub(crate) async fn wait_for_new(self: &Rc<Self>) -> Result<Permit, Full> {
        self.wait().await.map(|granted| match granted {
            Checkout::Open(permit) => permit,
            Checkout::Reused(connection) => connection.permit,
        })
    }

    /// Takes back a connection whose call is done: to the longest waiting call, or to the unused ones.
    pub(crate) fn give_back(&self, mut connection: Connection, now: Instant) {
        connection.reused = true;
        self.give_back_new(connection, now);
    }

    /// The same for one that has not been used yet.
    ///
    /// One that has ended, that bytes lie unread on, or that still sends another call's body is closed: who waits is given its
    /// place.
    pub(crate) fn give_back_new(&self, connection: Connection, now: Instant) {
        if !connection.is_idle_and_healthy() {
            return;
        }
        if let Some(ticket) = self.next_waiting() {
            ticket.grant(Checkout::Reused(connection));
        } else if !self.retired.get() {
            self.idle.borrow_mut().push_back((connection, now));
        }
    }

    /// Closes what has been unused for too long or has died; keeps the warm ones that live.
    pub(crate) fn sweep(&self, now: Instant) {
        let limits = self.limits.get();
        let mut expired = Vec::new();
        {
            let mut idle = self.idle.borrow_mut();
            let (mut index, mut kept) = (0, idle.len());
            while index < idle.len() {
                let (connection, since) = &idle[index];
                let old = now.since(*since) >= limits.idle_timeout && kept > limits.connections_warm;
                if old || !connection.is_idle_and_healthy() {
                    expired.extend(idle.remove(index));
                    kept -= 1;
                } else {
                    index += 1;
                }
            }
        }
        // Dropped only here: a freed place may go to a waiting call, which must not find the list borrowed.
        drop(expired);
    }

    /// How many connections are missing to have the warm ones.
    pub(crate) fn cold(&self) -> usize {
        self.limits.get().connections_warm.saturating_sub(self.open.get())
    }

    /// Closes the unused connections, and from now on each one whose call is done: the provider is gone.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        drop(idle);
    }

    fn reuse(&self) -> Option<Connection> {
        loop {
            let (connection, _) = self.idle.borrow_mut().pop_back()?;
            if connection.is_idle_and_healthy() {
                return Some(connection);
            }
        }
    }

    fn queue(&self) -> Result<Rc<Ticket>, Full> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= self.limits.get().queue_max {
            return Err(Full);
        }
        let ticket = Rc::new(Ticket::default());
        waiting.push_back(Rc::clone(&ticket));
        Ok(ticket)
    }

    fn next_waiting(&self) -> Option<Rc<Ticket>> {
        let mut waiting = self.waiting.borrow_mut();
        loop {
            let ticket = waiting.pop_front()?;
            if !ticket.abandoned.get() {
                return Some(ticket);
            }
        }
    }
}

impl Ticket {
    fn grant(&self, checkout: Checkout) {
        *self.granted.borrow_mut() = Some(checkout);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // The place passes straight to the next in the queue, so that a newcomer cannot take it first.
        if let Some(ticket) = self.0.next_waiting() {
            ticket.grant(Checkout::Open(Permit(Rc::clone(&self.0))));
        } else {
            self.0.open.set(self.0.open.get() - 1);
        }
    }
}

/// A call's place in the queue: leaving it before being served passes on what was granted meanwhile.
struct Place<'a> {
    pool: &'a Pool,
    ticket: Rc<Ticket>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.ticket.abandoned.set(true);
        let granted = self.ticket.granted.borrow_mut().take();
        match granted {
            Some(Checkout::Reused(connection)) => {
                if connection.is_idle_and_healthy()
                    && let Some(next) = self.pool.next_waiting()
                {
                    next.grant(Checkout::Reused(connection));
                }
                // Nobody waits, or it is of no use: it is closed, and its place is free. Rare enough to need no clock here.
            }
            Some(Checkout::Open(permit)) => drop(permit),
            None => self.pool.waiting.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.ticket)),
        }
    }
}

impl Connection {
    fn is_idle_and_healthy(&self) -> bool {
        self.transport.is_idle_and_healthy(self.reused)
    }

    /// The pool that this connection belongs to.
    pub(crate) fn pool(&self) -> Rc<Pool> {
        Rc::clone(&self.permit.0)
    }
}
