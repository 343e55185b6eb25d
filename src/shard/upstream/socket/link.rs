//! One connection as all others than its own task see it: calls and subscriptions in, answers and pushes out.
//!
//! An answer is acted on where it is read. The id of a subscription is known before the next message is looked at, so that
//! what the provider pushes right behind its agreement is heard, and behind [`Ear::agreed`].
//!
//! No cell is borrowed while an ear is called: it may do with its attachment whatever it likes.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::outgoing::Outgoing;
use super::promise::Promise;
use super::requests::Requests;
use super::subscriptions::{Ask, Follows, Key, Purpose, Subscriptions};
use super::{Ear, Pushed, Wish};
use crate::jsonrpc::{self, Incoming, NotJson};
use crate::limits;
use crate::shard::Shard;
use crate::time::Instant;
use crate::websocket::{CloseCode, Opcode};

/// What a connection is for. A large answer to a call must not hold up heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Subscriptions,
    Calls,
}

/// See the module.
pub(super) struct Link {
    pub(super) usage: Use,
    pub(super) born: Instant,
    pub(super) out: Outgoing,
    requests: RefCell<Requests<Waiting>>,
    subscriptions: RefCell<Subscriptions<Listening>>,
    /// Calls under way.
    calls: Cell<usize>,
    /// Subscriptions as they were told last.
    told: Cell<usize>,
    /// When a head was pushed last, or the subscription to heads agreed.
    heads_at: Cell<Instant>,
    /// Something has been answered on it.
    answered: Cell<bool>,
    /// Since when a request waits, or waited in vain, and no message has come; never: no such time.
    unheard_since: Cell<Instant>,
    /// A wish was not answered in time, though other messages came: who listens may stay, nobody is added until one is.
    doubted: Cell<bool>,
    /// It is left because nothing came.
    dead: Cell<bool>,
    leaving: Cell<Option<CloseCode>>,
    over: Cell<bool>,
    /// What has come, where the connection is an echo.
    #[cfg(test)]
    pub(super) echoed: RefCell<Option<Vec<Vec<u8>>>>,
}

/// Who waits for an answer.
enum Waiting {
    Call { answer: Rc<Promise<Result<Answered, Lost>>>, at: u64 },
    Subscribe(Purpose),
}

/// The answer to a call, as it came, and where its id stands.
pub(super) struct Answered {
    pub(super) buffer: Vec<u8>,
    pub(super) id: Option<Range<usize>>,
}

/// The connection went before an answer came. `sent`: the call may have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) sent: bool,
}

/// Why a wish was not granted.
pub(super) enum Ungranted {
    /// The provider's answer, an error.
    Refused(Vec<u8>),
    Lost,
}

/// An ear, and who waits for its agreement.
#[derive(Clone)]
pub(super) struct Listening {
    ear: Rc<dyn Ear>,
    outcome: Rc<Promise<Result<(), Ungranted>>>,
}

/// What the provider sent is no JSON-RPC, or contradicts itself.
pub(super) struct Nonsense;

/// A call under way. Dropping it leaves its answer to nobody.
pub(super) struct Asked {
    link: Rc<Link>,
    number: u64,
    answer: Rc<Promise<Result<Answered, Lost>>>,
}

/// A place among the listeners. Dropping it leaves it.
pub(super) struct Place {
    pub(super) shard: Rc<Shard>,
    pub(super) link: Rc<Link>,
    key: Key,
    outcome: Rc<Promise<Result<(), Ungranted>>>,
}

impl Link {
    /// `seed` sets off its masks.
    pub(super) fn new(usage: Use, born: Instant, seed: u64) -> Rc<Self> {
        Rc::new(Self {
            usage,
            born,
            out: Outgoing::new(seed),
            requests: RefCell::default(),
            subscriptions: RefCell::default(),
            calls: Cell::new(0),
            told: Cell::new(0),
            heads_at: Cell::new(born),
            answered: Cell::new(false),
            unheard_since: Cell::new(Instant::NEVER),
            doubted: Cell::new(false),
            dead: Cell::new(false),
            leaving: Cell::new(None),
            over: Cell::new(false),
            #[cfg(test)]
            echoed: RefCell::new(None),
        })
    }

    pub(super) fn is_open(&self) -> bool {
        self.leaving.get().is_none() && !self.over.get()
    }

    /// The code to leave with, where it is to leave.
    pub(super) fn leaves_with(&self) -> Option<CloseCode> {
        self.leaving.get()
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.get()
    }

    pub(super) fn has_answered(&self) -> bool {
        self.answered.get()
    }

    /// Whether it was left because nothing came.
    pub(super) fn is_dead(&self) -> bool {
        self.dead.get()
    }

    /// Whether somebody listens or waits for a call.
    pub(super) fn is_used(&self) -> bool {
        self.calls.get() > 0 || !self.subscriptions.borrow().is_idle()
    }

    /// Whether somebody listens, or waits to.
    pub(super) fn is_listened_to(&self) -> bool {
        !self.subscriptions.borrow().is_idle()
    }

    pub(super) fn has_room_for_call(&self, bytes: usize) -> bool {
        self.is_open() && self.calls.get() < limits::UPSTREAM_SOCKET_CALLS_MAX && self.out.has_room(bytes)
    }

    pub(super) fn has_room_for(&self, wish: &Wish, most: usize) -> bool {
        self.is_open() && !self.doubted.get() && self.subscriptions.borrow().has_room_for(wish, most)
    }

    /// Sends a call as `write` makes it of its number.
    pub(super) fn call<T>(
        self: &Rc<Self>,
        shard: &Shard,
        write: impl FnOnce(&mut Vec<u8>, u64) -> Result<T, NotJson>,
    ) -> Result<(Asked, T), NotJson> {
        let number = self.requests.borrow_mut().number();
        let mut payload = shard.buffers.take();
        let written = write(&mut payload, number)?;
        let at = self.out.frame(Opcode::Text, &payload);
        shard.buffers.give(payload);
        let answer = Rc::<Promise<_>>::default();
        self.requests.borrow_mut().wait(number, Waiting::Call { answer: Rc::clone(&answer), at });
        self.await_word(shard);
        self.calls.set(self.calls.get() + 1);
        Ok((Asked { link: Rc::clone(self), number, answer }, written))
    }

    /// Adds a listener. Where all that it wishes is there already, it has its agreement at once; but heads that have been
    /// silent for `stale_after` are asked for anew.
    pub(super) fn listen(
        self: &Rc<Self>,
        shard: &Rc<Shard>,
        wish: &Wish,
        stale_after: Duration,
        ear: Rc<dyn Ear>,
    ) -> Place {
        let outcome = Rc::<Promise<_>>::default();
        let listening = Listening { ear, outcome: Rc::clone(&outcome) };
        let are_silent = shard.clock.now().since(self.heads_at.get()) >= stale_after;
        let (key, follows) = self.subscriptions.borrow_mut().add(wish, listening, are_silent);
        self.follow(shard, follows, b"");
        self.await_word(shard);
        Place { shard: Rc::clone(shard), link: Rc::clone(self), key, outcome }
    }

    fn await_word(&self, shard: &Shard) {
        if self.unheard_since.get() == Instant::NEVER && self.requests.borrow().are_waiting() {
            self.unheard_since.set(shard.clock.now());
        }
    }

    /// A request of `asked` got no answer in its time. Pongs may go on coming from a connection behind which nobody is any
    /// more: one that has brought no message for too long is left.
    pub(super) fn on_late(&self, shard: &Shard, asked: Instant) {
        let is_long = |since| shard.clock.now().since(since) >= limits::UPSTREAM_SOCKET_UNHEARD_MAX;
        if is_long(self.unheard_since.get()) {
            self.dead.set(true);
            self.leave(shard, CloseCode::AWAY);
        } else if is_long(asked) {
            self.doubted.set(true);
        }
    }

    /// One message of the provider.
    pub(super) fn on_message(&self, shard: &Shard, text: &[u8]) -> Result<(), Nonsense> {
        let read = self.read(shard, text);
        self.unheard_since.set(Instant::NEVER);
        self.await_word(shard);
        read
    }

    fn read(&self, shard: &Shard, text: &[u8]) -> Result<(), Nonsense> {
        let incoming = jsonrpc::incoming(text, &mut shard.scratch.borrow_mut());
        match incoming {
            Incoming::Malformed => Err(Nonsense),
            Incoming::Other => Ok(()),
            Incoming::Push { subscription, result } => {
                self.push(shard, &subscription, &text[result]);
                Ok(())
            }
            Incoming::Answer { number, id } => {
                let waiting = self.requests.borrow_mut().answered(number);
                match waiting {
                    // It comes too late, or was never asked for.
                    None => return Ok(()),
                    Some(Waiting::Call { answer, .. }) => {
                        self.calls.set(self.calls.get() - 1);
                        let mut buffer = shard.buffers.take();
                        buffer.extend_from_slice(text);
                        answer.keep(Ok(Answered { buffer, id }));
                    }
                    Some(Waiting::Subscribe(purpose)) => self.on_word(shard, purpose, text)?,
                }
                self.answered.set(true);
                Ok(())
            }
        }
    }

    /// It is to be left, once the calls that run are answered. Who listens hears nothing more of it.
    pub(super) fn leave(&self, shard: &Shard, code: CloseCode) {
        self.leaving.set(Some(code));
        self.end_listening(shard);
        self.out.nudge();
    }

    /// It is over.
    pub(super) fn end(&self, shard: &Shard) {
        self.over.set(true);
        let waiting: Vec<_> = self.requests.borrow_mut().end().collect();
        for who in waiting {
            if let Waiting::Call { answer, at } = who {
                answer.keep(Err(Lost { sent: self.out.may_have_sent(at) }));
            }
        }
        self.calls.set(0);
        self.end_listening(shard);
    }

    fn end_listening(&self, shard: &Shard) {
        let listeners = self.subscriptions.borrow_mut().end();
        self.count(shard);
        for (Listening { ear, outcome }, agreed) in listeners {
            if agreed {
                ear.lost();
            } else {
                outcome.keep(Err(Ungranted::Lost));
            }
        }
    }

    fn push(&self, shard: &Shard, subscription: &str, result: &[u8]) {
        let (what, hear) = self.subscriptions.borrow().heard_by(subscription);
        if what == Pushed::Head {
            self.heads_at.set(shard.clock.now());
        }
        for key in hear {
            // One of those before it may have made it leave.
            let listening = self.subscriptions.borrow().ear(key);
            if let Some(listening) = listening {
                listening.ear.pushed(what, result);
            }
        }
    }

    /// The provider's word on a request to subscribe.
    fn on_word(&self, shard: &Shard, purpose: Purpose, text: &[u8]) -> Result<(), Nonsense> {
        self.doubted.set(false);
        let reply = jsonrpc::inspect(text, None, &mut shard.scratch.borrow_mut());
        let follows = match reply {
            jsonrpc::Reply::Success { result, .. } => {
                let id = jsonrpc::subscription_id(&text[result]).ok_or(Nonsense)?;
                if purpose == Purpose::Heads {
                    self.heads_at.set(shard.clock.now());
                }
                self.subscriptions.borrow_mut().on_agreed(purpose, &id).map_err(|_| Nonsense)?
            }
            jsonrpc::Reply::Error(_) => self.subscriptions.borrow_mut().on_refused(purpose),
            jsonrpc::Reply::Malformed(_) => return Err(Nonsense),
        };
        self.follow(shard, follows, text);
        Ok(())
    }

    fn follow(&self, shard: &Shard, follows: Follows<Listening>, reply: &[u8]) {
        for refused in follows.refused {
            refused.outcome.keep(Err(Ungranted::Refused(reply.to_vec())));
        }
        for ask in follows.asks {
            self.send(ask);
        }
        self.count(shard);
        for key in follows.agreed {
            let listening = self.subscriptions.borrow().ear(key);
            if let Some(listening) = listening {
                listening.outcome.keep(Ok(()));
                listening.ear.agreed();
            }
        }
    }

    fn send(&self, ask: Ask) {
        let number = self.requests.borrow_mut().number();
        let (method, params) = match ask {
            Ask::Subscribe { purpose, params } => {
                self.requests.borrow_mut().wait(number, Waiting::Subscribe(purpose));
                ("eth_subscribe", params)
            }
            // Nobody waits for what it says.
            Ask::Unsubscribe { id } => {
                self.requests.borrow_mut().abandon(number);
                ("eth_unsubscribe", serde_json::json!([id]).to_string().into_bytes())
            }
        };
        let mut request = Vec::new();
        write_call(&mut request, number, method, &params);
        self.out.frame(Opcode::Text, &request);
    }

    fn leave_place(&self, shard: &Shard, key: Key) {
        let asks = self.subscriptions.borrow_mut().remove(key);
        for ask in asks {
            self.send(ask);
        }
        self.count(shard);
        self.out.nudge();
    }

    /// Tells how many subscriptions there are now.
    fn count(&self, shard: &Shard) {
        let gauge = &shard.counters.upstream_subscriptions;
        let (is, was) = (self.subscriptions.borrow().count(), self.told.get());
        self.told.set(is);
        gauge.set(gauge.get() + is as u64 - was as u64);
    }
}

/// Appends a call. `method` needs no escapes, `params` is JSON.
pub(super) fn write_call(out: &mut Vec<u8>, number: u64, method: &str, params: &[u8]) {
    out.extend_from_slice(format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"{method}","params":"#).as_bytes());
    out.extend_from_slice(params);
    out.push(b'}');
}

impl Asked {
    pub(super) async fn answer(&self) -> Result<Answered, Lost> {
        self.answer.kept().await
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let was_waiting = self.link.requests.borrow_mut().forget(self.number);
        if was_waiting {
            self.link.calls.set(self.link.calls.get() - 1);
            self.link.out.nudge();
        }
    }
}

impl Place {
    /// Waits for the provider's agreement to all of the wish.
    pub(super) async fn granted(&self) -> Result<(), Ungranted> {
        self.outcome.kept().await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.link.leave_place(&self.shard, self.key);
    }
}
