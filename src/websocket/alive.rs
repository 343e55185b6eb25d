//! Whether the peer is still there: a ping of ours when it has been silent, and an end when it stays so.
//!
//! A peer that is gone without a word (a phone out of reach, a balancer that forgot us) keeps its connection open for
//! as long as nothing is sent to it. Any byte of its counts, not only the pong: one that is busy sending is there.

use std::time::Duration;

use crate::time::Instant;

/// When to ping and when to give up.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// Silence after which it is pinged; below what balancers between us cut idle connections at.
    ping_after: Duration,
    /// Silence after the ping that ends the connection.
    patience: Duration,
    heard_at: Instant,
    pinged_at: Option<Instant>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Nothing before this moment.
    Wait(Instant),
    /// Send a ping; it counts as sent.
    Ping,
    /// It is gone. Nobody would read a close frame: end the connection.
    Gone,
}

impl KeepAlive {
    #[must_use]
    pub const fn new(now: Instant, ping_after: Duration, patience: Duration) -> Self {
        Self { ping_after, patience, heard_at: now, pinged_at: None }
    }

    /// Bytes of the peer have come.
    pub fn on_bytes(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    /// Nobody listened for so long: that is no silence of the peer's.
    pub fn pause(&mut self, unheard: Duration) {
        self.heard_at = self.heard_at + unheard;
        self.pinged_at = self.pinged_at.map(|pinged| pinged + unheard);
    }

    /// Asked whenever the moment of the last [`Pulse::Wait`] has come.
    pub fn poll(&mut self, now: Instant) -> Pulse {
        let due = self.pinged_at.map_or(self.heard_at + self.ping_after, |pinged| pinged + self.patience);
        match self.pinged_at {
            _ if now < due => Pulse::Wait(due),
            Some(_) => Pulse::Gone,
            None => {
                self.pinged_at = Some(now);
                Pulse::Ping
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_asked_about_once_and_then_ends_it() {
        let at = |seconds| Instant::START + Duration::from_secs(seconds);
        let mut alive = KeepAlive::new(at(0), Duration::from_secs(30), Duration::from_secs(10));
        assert_eq!(alive.poll(at(0)), Pulse::Wait(at(30)));
        alive.on_bytes(at(20));
        assert_eq!(alive.poll(at(30)), Pulse::Wait(at(50)));
        assert_eq!(alive.poll(at(51)), Pulse::Ping);
        assert_eq!(alive.poll(at(51)), Pulse::Wait(at(61)));
        alive.on_bytes(at(60));
        assert_eq!(alive.poll(at(61)), Pulse::Wait(at(90)));
        assert_eq!(alive.poll(at(90)), Pulse::Ping);
        assert_eq!(alive.poll(at(99)), Pulse::Wait(at(100)));
        assert_eq!(alive.poll(at(100)), Pulse::Gone);
    }

    #[test]
    fn what_nobody_listened_to_is_no_silence() {
        let at = |seconds| Instant::START + Duration::from_secs(seconds);
        let mut alive = KeepAlive::new(at(0), Duration::from_secs(30), Duration::from_secs(10));
        alive.pause(Duration::from_secs(100));
        assert_eq!(alive.poll(at(110)), Pulse::Wait(at(130)));
        assert_eq!(alive.poll(at(130)), Pulse::Ping);
        alive.pause(Duration::from_secs(20));
        assert_eq!(alive.poll(at(155)), Pulse::Wait(at(160)));
        assert_eq!(alive.poll(at(160)), Pulse::Gone);
    }
}
