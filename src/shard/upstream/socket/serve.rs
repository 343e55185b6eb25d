//! The task of one connection: what has come is read and acted on, what waits is sent, and silence is noticed.

use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};

use super::link::{Link, Nonsense};
use super::open::Opened;
use super::sockets::Sockets;
use crate::limits;
use crate::link::{Phase, SocketLoss};
use crate::shard::Shard;
use crate::shard::timers::Timer;
use crate::shard::transport::Transport;
use crate::time::Instant;
use crate::websocket::deflate::Inflater;
use crate::websocket::{CloseCode, Closing, Event, Fault, KeepAlive, Opcode, Pulse, Reader, ReaderConfig, Role, Step};

pub(super) struct Connection {
    shard: Rc<Shard>,
    sockets: Rc<Sockets>,
    link: Rc<Link>,
    transport: Transport,
    timer: Timer,
    /// Read, and not yet part of a message.
    input: Vec<u8>,
    reader: Reader,
    inflater: Option<Inflater>,
    /// What is inflated.
    inflated: Vec<u8>,
    closing: Closing,
    alive: KeepAlive,
    /// Since when nobody uses it.
    idle_since: Option<Instant>,
    /// Until when the provider's goodbye is waited for, once ours is said.
    goodbye_until: Instant,
}

/// Why a connection ends; none: because we left it.
type End = Option<SocketLoss>;

/// Why nothing more is read.
enum Stop {
    /// What the provider sent cannot be: it is told why.
    Broken(CloseCode, &'static str),
    /// The provider has said goodbye.
    Goodbye(Option<CloseCode>),
}

impl From<Nonsense> for Stop {
    fn from(_: Nonsense) -> Self {
        Self::Broken(CloseCode::INVALID_DATA, "this is no JSON-RPC")
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Broken(fault.code(), "a rule was broken")
    }
}

impl Connection {
    pub(super) fn new(shard: Rc<Shard>, sockets: Rc<Sockets>, link: Rc<Link>, opened: Opened) -> Self {
        let Opened { transport, timer, input, deflate } = opened;
        let (settings, now) = (sockets.settings(), shard.clock.now());
        let reader = Reader::new(ReaderConfig {
            role: Role::Client,
            message_bytes_max: limits::UPSTREAM_MESSAGE_BYTES_MAX,
            compression: deflate.is_some(),
        });
        Self {
            alive: KeepAlive::new(now, settings.ping_after, settings.pong_timeout),
            inflater: deflate.map(|agreed| Inflater::new(agreed.theirs)),
            inflated: Vec::new(),
            closing: Closing::default(),
            idle_since: None,
            goodbye_until: Instant::NEVER,
            shard,
            sockets,
            link,
            transport,
            timer,
            input,
            reader,
        }
    }

    /// Serves it to its end.
    pub(super) async fn serve(mut self) -> End {
        // What came behind the handshake.
        let mut end = self.take_messages();
        while end.is_ok() {
            end = self.turn().await;
        }
        let end = end.err().flatten();
        self.finish().await;
        end
    }

    /// Sends what waits, then waits for one thing and does it.
    async fn turn(&mut self) -> Result<(), End> {
        self.flush().await?;
        let now = self.shard.clock.now();
        if now >= self.goodbye_until {
            return Err(None);
        }
        self.leave_in_time(now);
        let until = match self.alive.poll(now) {
            Pulse::Wait(until) => until,
            Pulse::Ping => {
                self.link.out.frame(Opcode::Ping, b"");
                return Ok(());
            }
            Pulse::Gone if self.closing.is_open() => return Err(Some(SocketLoss::Silent)),
            Pulse::Gone => return Err(None),
        };
        // What is past already is nothing to wait for: the shard's clock stands still while nobody waits.
        let kept = self.idle_since.zip(self.sockets.kept_for(&self.link)).map(|(since, time)| since + time);
        let until = until.min(kept.filter(|at| *at > now).unwrap_or(Instant::NEVER)).min(self.goodbye_until);
        if !self.wait(until).await? {
            return Ok(());
        }
        self.alive.on_bytes(self.shard.clock.now());
        self.take_messages()
    }

    /// Says goodbye where nobody uses it any more, or it is to be left.
    fn leave_in_time(&mut self, now: Instant) {
        if self.link.is_used() {
            self.idle_since = None;
        } else {
            self.idle_since.get_or_insert(now);
        }
        let is_idle = || {
            let since = self.idle_since?;
            (now >= since + self.sockets.kept_for(&self.link)?).then_some(CloseCode::NORMAL)
        };
        let leaves = self.link.leaves_with().filter(|_| self.link.calls() == 0 || self.shard.phase() == Phase::Closing);
        if let Some(code) = leaves.or_else(is_idle)
            && self.closing.send()
        {
            self.link.leave(&self.shard, code);
            self.link.out.close(Some(code), "");
            self.goodbye_until = now + limits::UPSTREAM_SOCKET_GOODBYE;
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        while let Some(frames) = self.link.out.take() {
            let deadline = self.shard.clock.now() + self.sockets.settings().patience;
            match self.timer.limit(deadline, self.transport.send(frames)).await {
                Ok(Ok(Some(buffer))) => self.shard.buffers.give(buffer),
                Ok(Ok(None)) => {}
                Ok(Err(_)) => return Err(self.cut()),
                Err(_) => return Err(Some(SocketLoss::Silent)),
            }
        }
        Ok(())
    }

    /// Waits for bytes, for something to send or to look at, or for `until`. Whether bytes have come.
    async fn wait(&mut self, until: Instant) -> Result<bool, End> {
        let Self { transport, timer, input, link, reader, .. } = self;
        let had = input.len();
        // The room is zeroed where TLS reads into it: no more than what a message under way needs.
        let most = if reader.wants() > had { limits::READ_BYTES_MAX } else { limits::FIRST_READ_BYTES_MAX };
        let woken = {
            let read = pin!(transport.read_into(input, most));
            let wanted = pin!(link.out.wanted());
            let either = select(read, wanted);
            timer.limit(until, either).await.map(|either| match either {
                Either::Left((read, _)) => Some(read),
                Either::Right(_) => None,
            })
        };
        match woken {
            Ok(Some(Ok(1..))) => Ok(true),
            Ok(Some(Ok(0) | Err(_))) => Err(self.cut()),
            Ok(None) | Err(_) => {
                // A read that was given up may have made room already.
                input.truncate(had);
                Ok(false)
            }
        }
    }

    /// The connection has ended: lost, or left by us.
    fn cut(&self) -> End {
        self.closing.is_open().then_some(SocketLoss::Cut)
    }

    /// Takes every message and control frame that has come.
    fn take_messages(&mut self) -> Result<(), End> {
        let (now, had_answered) = (self.shard.clock.now(), self.link.has_answered());
        let (mut done, mut stop) = (0, None);
        // Ends: each event consumes bytes of what has come.
        while stop.is_none() {
            let Self { reader, input, .. } = self;
            let heard = match reader.read(now, &mut input[done..]) {
                Ok(Step { consumed, event }) => {
                    done += consumed;
                    let Some(event) = event else { break };
                    hear(&self.shard, &self.link, &mut self.inflater, &mut self.inflated, event)
                }
                Err(fault) => Err(fault.into()),
            };
            stop = heard.err();
        }
        self.input.drain(..done);
        if self.input.is_empty() {
            self.input.shrink_to(limits::BUFFER_KEPT_BYTES_MAX);
        }
        if !had_answered && self.link.has_answered() {
            self.sockets.on_answer();
        }
        stop.map_or(Ok(()), |stop| Err(self.stopped(&stop)))
    }

    /// Says the last word, where it is ours to say.
    fn stopped(&mut self, stop: &Stop) -> End {
        let (loss, code, reason) = match *stop {
            Stop::Broken(code, reason) => (SocketLoss::Fault, Some(code), reason),
            Stop::Goodbye(code) => (SocketLoss::Closed(code.map(CloseCode::number)), code, ""),
        };
        // Once ours is said, whatever comes is the end that we wanted.
        self.closing.send().then(|| {
            self.link.out.close(code, reason);
            loss
        })
    }

    /// Sends what is left to be said, and lets go.
    async fn finish(mut self) {
        let deadline = self.shard.clock.now() + limits::UPSTREAM_SOCKET_GOODBYE;
        let last = self.link.out.take();
        let Self { transport, timer, .. } = &mut self;
        let goodbye = async {
            if let Some(last) = last {
                let _ = transport.write_all(last).await;
            }
            transport.finish().await;
        };
        let _ = timer.limit(deadline, goodbye).await;
        self.shard.buffers.give(std::mem::take(&mut self.input));
    }
}

/// Acts on one event.
fn hear(
    shard: &Shard,
    link: &Link,
    inflater: &mut Option<Inflater>,
    inflated: &mut Vec<u8>,
    event: Event<'_>,
) -> Result<(), Stop> {
    match event {
        Event::Message { kind, compressed, bytes } => {
            let bytes = match inflater {
                Some(inflater) if compressed => {
                    inflater.message(kind, bytes, inflated, limits::UPSTREAM_MESSAGE_BYTES_MAX)?;
                    &inflated[..]
                }
                _ => bytes,
            };
            #[cfg(test)]
            if let Some(echoed) = &mut *link.echoed.borrow_mut() {
                let opcode = if kind == crate::websocket::Kind::Text { Opcode::Text } else { Opcode::Binary };
                link.out.frame(opcode, bytes);
                echoed.push(bytes.to_vec());
                return Ok(());
            }
            // Whether it is called text or not: that it is JSON is checked in either case.
            link.on_message(shard, bytes)?;
            inflated.clear();
            inflated.shrink_to(limits::BUFFER_KEPT_BYTES_MAX);
        }
        Event::Ping(bytes) => {
            link.out.frame(Opcode::Pong, bytes);
        }
        Event::Pong(_) => {}
        Event::Close(close) => return Err(Stop::Goodbye(close.code)),
    }
    Ok(())
}
