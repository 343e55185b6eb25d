//! A client's call, and its attempts under way.

use std::time::Duration;

use super::world::{METHODS, Reply};
use crate::jsonrpc::{MethodInfo, default_deadline};
use crate::link::ProbeEnded;
use crate::routing::{Attempt, Attempts, Demand, Place, Probe, Random, RowIndex, Strategy};
use crate::time::Instant;

pub(super) struct Call {
    pub(super) number: usize,
    pub(super) came: Instant,
    pub(super) shard: usize,
    /// Its position in [`METHODS`].
    pub(super) method: usize,
    pub(super) info: &'static MethodInfo,
    /// By what it is ranked.
    pub(super) row: RowIndex,
    /// Its luck: how its latency lies among others, wherever it is sent.
    pub(super) z: f64,
    pub(super) deadline: Duration,
    /// Drawn for it alone, as the door draws.
    pub(super) draw: u64,
    pub(super) attempts: Attempts<()>,
    /// Attempts under way.
    pub(super) flights: Vec<Flight>,
    /// Who was asked, one after the other.
    pub(super) asked: Vec<usize>,
    /// No byte of it has left the node.
    pub(super) unsent: bool,
    pub(super) explored: bool,
    /// It is the node's own question; and what came of it.
    pub(super) probe: Option<Probe>,
    pub(super) said: Option<ProbeEnded>,
    /// Who answered, where any did.
    pub(super) answered: Option<usize>,
    /// Times that it was brought to an end: once.
    pub(super) done: u32,
}

/// What a call is drawn as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    pub(super) number: usize,
    pub(super) came: Instant,
    pub(super) shard: usize,
    pub(super) method: usize,
    pub(super) z: f64,
    pub(super) draw: u64,
}

impl Call {
    /// One of the node's own questions.
    pub(super) fn probe(drawn: Drawn, probe: Probe, timeout: Duration) -> Self {
        let info = METHODS[drawn.method].info();
        let (class, row) = (info.class, info.class.into());
        let demand = Demand { strategy: Strategy::Priority, class, row, repeatable: info.repeatable };
        let attempts = Attempts::new(demand, drawn.came + timeout, 1).only(probe.provider);
        Self { deadline: timeout, attempts, probe: Some(probe), ..Self::new(drawn, demand, 1, Duration::ZERO) }
    }

    /// `longer`: by how much its attempts may outlast its deadline, in a node that is not as it should be.
    pub(super) fn new(drawn: Drawn, demand: Demand, attempts_max: u8, longer: Duration) -> Self {
        let Drawn { number, came, shard, method, z, draw } = drawn;
        let info = METHODS[method].info();
        let deadline = default_deadline(info.class);
        let attempts = Attempts::new(demand, came + deadline + longer, attempts_max);
        let (flights, asked) = (Vec::new(), Vec::new());
        let (unsent, explored, answered, done) = (true, false, None, 0);
        Self {
            number,
            came,
            shard,
            method,
            info,
            row: demand.row,
            z,
            deadline,
            draw,
            attempts,
            flights,
            asked,
            unsent,
            explored,
            probe: None,
            said: None,
            answered,
            done,
        }
    }

    /// The luck of attempt `number`, and a draw beside it: the first one's is the call's own. Another attempt is
    /// another draw, of numbers of the call's own, so that the world is the same whatever the node does in it.
    pub(super) fn luck(&self, number: u8) -> (f64, f64) {
        let mut random = Random::new(self.draw ^ u64::from(number));
        let luck = random.next_unit();
        if number == 1 { (self.z, luck) } else { (super::world::normal(&mut random), luck) }
    }

    /// Attempt `number`, taken out.
    pub(super) fn take_flight(&mut self, number: u8) -> Option<Flight> {
        let at = self.flights.iter().position(|flight| flight.attempt.number == number)?;
        Some(self.flights.swap_remove(at))
    }
}

/// An attempt under way.
pub(super) struct Flight {
    pub(super) attempt: Attempt,
    /// Its place in what may be under way at the provider.
    pub(super) place: Place,
    pub(super) sent: Instant,
    pub(super) ends: Instant,
    pub(super) reply: Reply,
    /// Nobody is asked beside it, so that it comes to its end.
    pub(super) looked_at: bool,
}

impl Flight {
    pub(super) fn new(attempt: Attempt, place: Place, now: Instant, reply: Reply) -> Self {
        let ends = match reply {
            Reply::Answer(took) | Reply::Refused(took) | Reply::Garbage(took) | Reply::Limited(took, _) => now + took,
            Reply::Silent => Instant::NEVER,
        };
        Self { sent: now, ends: ends.min(attempt.first_byte_by), reply, attempt, place, looked_at: false }
    }

    pub(super) fn is_late(&self) -> bool {
        match self.reply {
            Reply::Silent => true,
            Reply::Answer(took) | Reply::Refused(took) | Reply::Garbage(took) | Reply::Limited(took, _) => {
                self.sent + took > self.attempt.first_byte_by
            }
        }
    }
}
