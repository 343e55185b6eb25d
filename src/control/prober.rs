//! The rings to the shards' probing: orders out, each to the next shard in turn, and words in.

use ringbuf::traits::{Consumer, Producer};

use super::events::Events;
use super::publish::Publisher;
use super::view::View;
use crate::limits;
use crate::link::{ProbeControlEnd, ProbeOrder};

/// Control's ends of all shards' rings for probes.
pub(super) struct Prober {
    ends: Vec<ProbeControlEnd>,
    /// Whose turn it is.
    next: usize,
}

impl Prober {
    pub(super) fn new(ends: Vec<ProbeControlEnd>) -> Self {
        Self { ends, next: 0 }
    }

    /// Takes in what came of probes, and orders those that are due.
    pub(super) fn on_time(&mut self, view: &View, publisher: &Publisher) {
        let now = view.now();
        let mut watch = view.watch();
        for end in &mut self.ends {
            for word in end.words.pop_iter().take(limits::PROBES_IN_RING_MAX) {
                tell(&view.events, watch.on_word(now, word));
            }
        }
        watch.on_time(now);
        let totals = view.totals();
        let events = watch.ask(now, &totals, |order| self.send(order, publisher));
        tell(&view.events, events);
    }

    /// To the next shard that has room.
    fn send(&mut self, mut order: ProbeOrder, publisher: &Publisher) -> bool {
        for _ in 0..self.ends.len() {
            let shard = self.next % self.ends.len();
            self.next = shard + 1;
            match self.ends[shard].orders.try_push(order) {
                Ok(()) => {
                    publisher.ring_one(shard);
                    return true;
                }
                Err(back) => order = back,
            }
        }
        false
    }
}

fn tell(to: &Events, events: impl IntoIterator<Item = crate::link::Event>) {
    events.into_iter().for_each(|event| to.tell(event));
}
