//! One run: the queue of events, and time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use super::node::{Flight, INTERVAL, Node};
use super::world::{CLASSES, World, between, normal};
use crate::jsonrpc::{MethodClass, default_deadline};
use crate::routing::{Attempts, Demand, Random, Ranking, RankingConfig, RowIndex, StandingConfig, Step, Strategy};
use crate::time::Instant;

/// How long control's word is under way to a shard: a doorbell, and the request that the shard is at.
const NEWS_TAKE: (f64, f64) = (0.000_1, 0.02);

/// Who watches a run.
pub(super) trait Watcher {
    fn on_attempt(&mut self, _run: &Run, _call: &Call, _flight: &Flight, _trials: &[usize]) {}
    fn on_end(&mut self, _run: &Run, _call: &Call, _flight: &Flight) {}
    fn on_done(&mut self, _run: &Run, _call: &Call) {}
    fn on_publish(&mut self, _run: &Run) {}
}

pub(super) struct Run {
    pub(super) now: Instant,
    pub(super) world: World,
    pub(super) node: Node,
    strategy: Strategy,
    random: Random,
    /// Sets off the calls' draws: numbers of their own, so that a world is the same whatever the node draws in it.
    draws: u64,
    queue: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    sequence: u64,
    /// Rankings under way to shards.
    news: Vec<Option<Arc<Ranking>>>,
    calls: Vec<Option<Box<Call>>>,
    burst_until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    Ends(usize),
    Ships(usize),
    Publishes,
    Hears(usize, usize),
}

pub(super) struct Call {
    pub(super) number: usize,
    pub(super) came: Instant,
    pub(super) shard: usize,
    /// Its position in [`CLASSES`].
    pub(super) class: usize,
    /// Its luck: how its latency lies among others, wherever it is sent.
    pub(super) z: f64,
    pub(super) deadline: Duration,
    /// Drawn for it alone, as the door draws.
    draw: u64,
    pub(super) attempts: Attempts<()>,
    pub(super) flight: Option<Flight>,
    pub(super) explored: bool,
    /// Who answered, where any did.
    pub(super) answered: Option<usize>,
    /// Times that it was brought to an end: once.
    pub(super) done: u32,
}

impl Run {
    pub(super) fn new(
        world: World,
        seed: u64,
        strategy: Strategy,
        ranking: RankingConfig,
        standing: StandingConfig,
    ) -> Self {
        let node = Node::new(world.providers.len(), world.shards, seed, ranking, standing);
        let mut run = Self {
            now: Instant::START,
            strategy,
            random: Random::new(seed ^ 0x5eed),
            draws: Random::new(seed ^ 0xd4a3).next_u64(),
            queue: BinaryHeap::new(),
            sequence: 0,
            news: Vec::new(),
            calls: Vec::new(),
            burst_until: Instant::START,
            node,
            world,
        };
        run.push(Instant::START, Event::Arrives);
        run.push(Instant::START + INTERVAL, Event::Publishes);
        for shard in 0..run.node.shards.len() {
            let phase = INTERVAL.mul_f64(run.random.next_unit());
            run.push(Instant::START + phase, Event::Ships(shard));
        }
        run
    }

    /// Runs the whole span, and until the last call has ended.
    pub(super) fn play(&mut self, watcher: &mut impl Watcher) {
        let end = Instant::START + self.world.span;
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            self.now = at;
            let over = at > end;
            match event {
                Event::Arrives if !over => self.arrives(watcher),
                Event::Ends(call) => self.ends(call, watcher),
                Event::Ships(shard) if !over => {
                    self.node.ship(at, shard);
                    self.push(at + INTERVAL, Event::Ships(shard));
                }
                Event::Publishes if !over => self.publishes(watcher),
                Event::Hears(shard, news) => {
                    if let Some(ranking) = &self.news[news] {
                        self.node.shards[shard].ranker.adopt(Arc::clone(ranking), shard);
                    }
                    // The last but a few are no longer under way to anyone.
                    if let Some(old) = news.checked_sub(8) {
                        self.news[old] = None;
                    }
                }
                Event::Arrives | Event::Ships(_) | Event::Publishes => {}
            }
        }
    }

    /// Calls that never came to an end.
    pub(super) fn open_calls(&self) -> usize {
        self.calls.iter().flatten().count()
    }

    fn push(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, event)));
    }

    fn arrives(&mut self, watcher: &mut impl Watcher) {
        let random = &mut self.random;
        if self.world.bursts && random.next_unit() < 0.005 {
            self.burst_until = self.now + Duration::from_millis(100);
        }
        let rate = self.world.calls_per_s * if self.now < self.burst_until { 10.0 } else { 1.0 };
        let gap = Duration::from_secs_f64(-random.next_unit().ln() / rate);
        let shard = random.next_u64() as usize % self.world.shards;
        let class = random.next_u64() as usize % self.world.classes;
        let z = normal(random);
        let next = self.now + gap;
        self.push(next, Event::Arrives);
        let class_of = CLASSES[class].0;
        let deadline = default_deadline(class_of);
        let repeatable = class_of != MethodClass::Write;
        let demand = Demand { strategy: self.strategy, class: class_of, row: RowIndex::from(class_of), repeatable };
        let call = Call {
            number: self.calls.len(),
            came: self.now,
            shard,
            class,
            z,
            deadline,
            draw: Random::new(self.calls.len() as u64 ^ self.draws).next_u64(),
            attempts: Attempts::new(demand, self.now + deadline, 3),
            flight: None,
            explored: false,
            answered: None,
            done: 0,
        };
        self.calls.push(None);
        self.steps(Box::new(call), watcher);
    }

    /// Asks the next provider, or ends the call.
    fn steps(&mut self, mut call: Box<Call>, watcher: &mut impl Watcher) {
        let now = self.now;
        let (step, trials) = self.node.step(now, call.shard, &mut call.attempts, call.draw);
        match step {
            Step::Try(attempt) => {
                let provider = attempt.provider;
                call.explored |= attempt.explored.is_some();
                self.node.shards[call.shard].in_flight[provider] += 1;
                // A second attempt is another draw.
                let z = if call.attempts.made() == 1 { call.z } else { normal(&mut self.random) };
                let luck = self.random.next_unit();
                let reply = self.world.providers[provider].reply(now, CLASSES[call.class].1, z, luck);
                let flight = Flight::new(attempt, now, reply);
                watcher.on_attempt(self, &call, &flight, &trials);
                self.push(flight.ends, Event::Ends(call.number));
                call.flight = Some(flight);
                let number = call.number;
                self.calls[number] = Some(call);
            }
            Step::Wait => unreachable!("one attempt at a time as yet: none is under way here"),
            Step::GiveUp(_) => self.done(call, watcher),
        }
    }

    fn ends(&mut self, number: usize, watcher: &mut impl Watcher) {
        let Some(mut call) = self.calls[number].take() else { unreachable!("an attempt that ends belongs to a call") };
        let Some(flight) = call.flight.take() else { unreachable!("a call with an end has a flight") };
        self.node.shards[call.shard].in_flight[flight.attempt.provider] -= 1;
        let judged = self.node.note(self.now, call.shard, call.class, &flight, call.deadline, call.draw);
        watcher.on_end(self, &call, &flight);
        match judged.failure {
            None => {
                call.answered = Some(flight.attempt.provider);
                self.done(call, watcher);
            }
            Some(failure) => {
                call.attempts.on_failure(flight.attempt.number, failure);
                self.steps(call, watcher);
            }
        }
    }

    fn done(&mut self, mut call: Box<Call>, watcher: &mut impl Watcher) {
        call.done += 1;
        watcher.on_done(self, &call);
    }

    fn publishes(&mut self, watcher: &mut impl Watcher) {
        let ranking = self.node.publish(self.now);
        self.news.push(Some(ranking));
        for shard in 0..self.node.shards.len() {
            let takes = Duration::from_secs_f64(between(&mut self.random, NEWS_TAKE.0, NEWS_TAKE.1));
            self.push(self.now + takes, Event::Hears(shard, self.news.len() - 1));
        }
        self.push(self.now + INTERVAL, Event::Publishes);
        watcher.on_publish(self);
    }
}
