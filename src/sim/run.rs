//! One run: the queue of events, and time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use super::call::{Call, Drawn, Flight};
use super::node::{Judged, Node};
use super::settings::{Cripple, INTERVAL, Settings};
use super::world::{METHODS, World, between, normal};
use crate::limits::REPORTS_EVERY;
use crate::link::ProbeEnded;
use crate::routing::{Attempt, Demand, Health, Probe, Question, Random, Ranking, Rest, Step, Strategy, Transition};
use crate::time::Instant;

/// How long control's word is under way to a shard: a doorbell, and the request that the shard is at.
const NEWS_TAKE: (f64, f64) = (0.000_1, 0.02);

/// Who watches a run.
pub(super) trait Watcher {
    fn on_call(&mut self, _run: &Run, _call: &Call) {}
    fn on_attempt(&mut self, _run: &Run, _call: &Call, _flight: &Flight, _trials: &[usize]) {}
    fn on_end(&mut self, _run: &Run, _call: &Call, _flight: &Flight) {}
    /// An attempt is cancelled.
    fn on_lost(&mut self, _run: &Run, _call: &Call, _flight: &Flight) {}
    fn on_done(&mut self, _run: &Run, _call: &Call) {}
    /// A breaker has opened or closed; `by_ratio`: control's counts have opened it.
    fn on_change(&mut self, _run: &Run, _provider: usize, _change: Transition, _by_ratio: bool) {}
    fn on_publish(&mut self, _run: &Run) {}
}

pub(super) struct Run {
    pub(super) now: Instant,
    pub(super) seed: u64,
    pub(super) world: World,
    pub(super) node: Node,
    strategy: Strategy,
    random: Random,
    /// How long news takes: a source of its own, for the same reason.
    delays: Random,
    /// Sets off the calls' draws: numbers of their own, so that a world is the same whatever the node draws in it.
    draws: u64,
    queue: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    sequence: u64,
    /// Rankings under way to shards.
    news: Vec<Option<Arc<Ranking>>>,
    calls: Vec<Option<Box<Call>>>,
    burst_until: Instant,
    /// Probes that were ever ordered, and ends of which control has not heard.
    orders: Vec<Probe>,
    words: Vec<(Probe, ProbeEnded)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    /// An attempt, by its call's number and its own.
    Ends(usize, u8),
    /// A call's attempt has taken its time.
    Hedges(usize),
    Ships(usize),
    Publishes,
    Hears(usize, usize),
    /// Control hears of probes' ends, and orders those that are due.
    Reports,
    /// A shard carries out an order.
    Probes(usize),
}

impl Run {
    pub(super) fn new(world: World, seed: u64, strategy: Strategy, settings: &Settings) -> Self {
        let node = Node::new(&world, seed, settings);
        let mut run = Self {
            now: Instant::START,
            seed,
            strategy,
            random: Random::new(seed ^ 0x5eed),
            delays: Random::new(seed ^ 0xde1a),
            draws: Random::new(seed ^ 0xd4a3).next_u64(),
            queue: BinaryHeap::new(),
            sequence: 0,
            news: Vec::new(),
            calls: Vec::new(),
            burst_until: Instant::START,
            orders: Vec::new(),
            words: Vec::new(),
            node,
            world,
        };
        run.push(Instant::START, Event::Arrives);
        run.push(Instant::START, Event::Reports);
        run.push(Instant::START + INTERVAL, Event::Publishes);
        for shard in 0..run.node.shards.len() {
            let phase = INTERVAL.mul_f64(run.random.next_unit());
            run.push(Instant::START + phase, Event::Ships(shard));
        }
        run
    }

    /// Runs the whole span, and until the last call has ended.
    pub(super) fn play(&mut self, watcher: &mut dyn Watcher) {
        let end = Instant::START + self.world.span;
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            self.now = at;
            let over = at > end;
            match event {
                Event::Arrives if !over => self.arrives(watcher),
                Event::Ends(call, attempt) => self.ends(call, attempt, watcher),
                Event::Hedges(call) => self.hedges(call, watcher),
                Event::Ships(shard) if !over => {
                    self.node.control.merge(at, shard, &mut self.node.shards[shard]);
                    self.push(at + INTERVAL, Event::Ships(shard));
                }
                Event::Publishes if !over => self.publishes(watcher),
                Event::Hears(shard, news) => self.hears(shard, news),
                Event::Reports if !over => self.reports(),
                Event::Probes(order) => self.probes(self.orders[order], watcher),
                Event::Arrives | Event::Ships(_) | Event::Publishes | Event::Reports => {}
            }
        }
    }

    /// What must hold. Says where it does not, and how to see it again.
    #[track_caller]
    pub(super) fn holds(&self, truth: bool, what: &str) {
        let (seed, seconds) = (self.seed, self.world.span.as_secs());
        assert!(
            truth,
            "{what}, at {} us of seed {seed}\n\
             replay: LIVECHAIN_SIM_SEED={seed} LIVECHAIN_SIM_SECONDS={seconds} cargo test sim::invariants",
            self.now.micros()
        );
    }

    /// Calls that never came to an end.
    pub(super) fn open_calls(&self) -> usize {
        self.calls.iter().flatten().count()
    }

    fn push(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, event)));
    }

    fn arrives(&mut self, watcher: &mut dyn Watcher) {
        let random = &mut self.random;
        if self.world.bursts && random.next_unit() < 0.005 {
            self.burst_until = self.now + Duration::from_millis(100);
        }
        let rate = self.world.calls_per_s * if self.now < self.burst_until { 10.0 } else { 1.0 };
        let gap = Duration::from_secs_f64(-random.next_unit().ln() / rate);
        let number = self.calls.len();
        let drawn = Drawn {
            number,
            came: self.now,
            shard: random.next_u64() as usize % self.world.shards,
            method: self.world.methods[random.next_u64() as usize % self.world.methods.len()],
            z: normal(random),
            draw: Random::new(number as u64 ^ self.draws).next_u64(),
        };
        let next = self.now + gap;
        self.push(next, Event::Arrives);
        let settings = &self.node.settings;
        let info = METHODS[drawn.method].info();
        let repeatable = info.repeatable || settings.is(Cripple::RepeatsAll);
        let row = self.node.shards[drawn.shard].ranker.row_of(info);
        let demand = Demand { strategy: self.strategy, class: info.class, row, repeatable };
        let longer = if settings.is(Cripple::WaitsLonger) { Duration::from_secs(1) } else { Duration::ZERO };
        let call = Call::new(drawn, demand, settings.attempts_max, longer);
        self.calls.push(None);
        self.node.on_call(call.shard);
        watcher.on_call(self, &call);
        self.steps(Box::new(call), watcher);
    }

    /// Asks the next provider, waits for the one under way, or ends the call.
    fn steps(&mut self, mut call: Box<Call>, watcher: &mut dyn Watcher) {
        let (step, trials) = self.node.step(self.now, &mut call);
        match step {
            Step::Try(attempt) => {
                let (hedging, looked_at) = self.node.hedging(&call, &attempt);
                self.sends(&mut call, attempt, &trials, watcher);
                if let Some(flight) = call.flights.last_mut() {
                    flight.looked_at = looked_at;
                }
                call.attempts.arm(hedging);
                if let Some(at) = call.attempts.hedge_at() {
                    self.push(at, Event::Hedges(call.number));
                }
                self.keep(call);
            }
            Step::Wait => self.keep(call),
            Step::GiveUp(_) => self.done(call, watcher),
        }
    }

    fn sends(&mut self, call: &mut Call, attempt: Attempt, trials: &[usize], watcher: &mut dyn Watcher) {
        let (provider, number) = (attempt.provider, attempt.number);
        call.explored |= attempt.explored.is_some();
        call.asked.push(provider);
        let place = self.node.take(self.now, call, provider);
        self.holds(place.is_some(), "room that was not there");
        let Some(place) = place else { unreachable!("it holds") };
        let (z, luck) = call.luck(number);
        let reply = self.world.providers[provider].reply(self.now, &METHODS[call.method], z, luck);
        let flight = Flight::new(attempt, place, self.now, reply);
        watcher.on_attempt(self, call, &flight, trials);
        self.push(flight.ends, Event::Ends(call.number, number));
        call.flights.push(flight);
    }

    fn hedges(&mut self, number: usize, watcher: &mut dyn Watcher) {
        let due = |call: &mut Box<Call>| call.attempts.hedge_at().is_some_and(|at| at <= self.now);
        // It was answered, or failed, before.
        let Some(mut call) = self.calls[number].take_if(due) else { return };
        let (step, trials) = self.node.hedge(self.now, &mut call);
        if let Step::Try(attempt) = step {
            self.sends(&mut call, attempt, &trials, watcher);
        }
        self.keep(call);
    }

    fn ends(&mut self, number: usize, attempt: u8, watcher: &mut dyn Watcher) {
        let runs = |call: &mut Box<Call>| call.flights.iter().any(|flight| flight.attempt.number == attempt);
        // It was cancelled.
        let Some(mut call) = self.calls[number].take_if(runs) else { return };
        let Some(flight) = call.take_flight(attempt) else { unreachable!("it runs") };
        let provider = flight.attempt.provider;
        let judged = self.node.note(self.now, &call, &flight);
        if let Some(change) = judged.changed {
            watcher.on_change(self, provider, change, false);
        }
        watcher.on_end(self, &call, &flight);
        call.said = call.probe.map(|probe| self.said(probe, flight.sent, &judged));
        self.leaves(&call, flight);
        if let Some(failure) = judged.failure {
            call.unsent &= !failure.sent;
            call.attempts.on_failure(attempt, failure);
            self.steps(call, watcher);
            return;
        }
        call.answered = Some(provider);
        if let Some(loser) = call.attempts.on_answer(self.now, attempt) {
            if self.node.settings.is(Cripple::KeepsLosers) {
                call.done += 1;
                watcher.on_done(self, &call);
                self.keep(call);
                return;
            }
            let Some(flight) = call.take_flight(loser.number) else { unreachable!("who loses was under way") };
            self.node.lost(&call, loser);
            watcher.on_lost(self, &call, &flight);
            self.leaves(&call, flight);
        }
        self.done(call, watcher);
    }

    fn leaves(&mut self, call: &Call, flight: Flight) {
        self.world.providers[flight.attempt.provider].used.on_end();
        self.node.leave(call, flight);
    }

    fn keep(&mut self, call: Box<Call>) {
        let number = call.number;
        self.calls[number] = Some(call);
    }

    fn done(&mut self, mut call: Box<Call>, watcher: &mut dyn Watcher) {
        call.done += 1;
        if let Some(probe) = call.probe {
            self.words.push((probe, call.said.unwrap_or(ProbeEnded::NotAsked)));
        }
        watcher.on_done(self, &call);
    }

    fn publishes(&mut self, watcher: &mut dyn Watcher) {
        for (provider, change) in self.node.control.judge(self.now, &self.node.standings, &self.node.watch) {
            watcher.on_change(self, provider, change, true);
        }
        let ranking = self.node.control.publish(self.now, &self.node.standings, &self.node.watch);
        self.news.push(Some(ranking));
        for shard in 0..self.node.shards.len() {
            let takes = self.news_take();
            self.push(self.now + takes, Event::Hears(shard, self.news.len() - 1));
        }
        self.push(self.now + INTERVAL, Event::Publishes);
        watcher.on_publish(self);
    }

    fn news_take(&mut self) -> Duration {
        Duration::from_secs_f64(between(&mut self.delays, NEWS_TAKE.0, NEWS_TAKE.1))
    }

    fn reports(&mut self) {
        let Node { watch, standings, control, .. } = &mut self.node;
        for (probe, end) in self.words.drain(..) {
            watch.on_word(self.now, probe, end, standings);
        }
        for probe in watch.ask(self.now, &control.answered, standings) {
            let takes = self.news_take();
            self.orders.push(probe);
            self.push(self.now + takes, Event::Probes(self.orders.len() - 1));
        }
        self.push(self.now + REPORTS_EVERY, Event::Reports);
    }

    fn probes(&mut self, probe: Probe, watcher: &mut dyn Watcher) {
        let method = match probe.question {
            Question::ChainId => METHODS.len() - 1,
            Question::BlockNumber => METHODS.len() - 2,
        };
        let number = self.calls.len();
        let shard = self.orders.len() % self.world.shards;
        let (z, draw) = (normal(&mut self.delays), self.delays.next_u64());
        let drawn = Drawn { number, came: self.now, shard, method, z, draw };
        let call = Call::probe(drawn, probe, self.node.settings.probe_timeout);
        self.calls.push(None);
        watcher.on_call(self, &call);
        self.steps(Box::new(call), watcher);
    }

    /// What an attempt of the node's own showed.
    fn said(&self, probe: Probe, sent: Instant, judged: &Judged) -> ProbeEnded {
        let provider = &self.world.providers[probe.provider];
        match (judged.health, self.node.standings[probe.provider].rest(self.now)) {
            (Some(Health::Good), _) => ProbeEnded::Answered(Some(match probe.question {
                Question::ChainId => provider.chain(sent),
                Question::BlockNumber => provider.height(sent, self.world.block_time),
            })),
            (Some(Health::Cooldown(_)), Some(Rest::Cooled { until } | Rest::Parked { until })) => {
                ProbeEnded::Limited(until.since(self.now))
            }
            (Some(Health::Cooldown(_)), None) => ProbeEnded::Answered(None),
            _ => ProbeEnded::Failed,
        }
    }

    fn hears(&mut self, shard: usize, news: usize) {
        if let Some(ranking) = &self.news[news] {
            self.node.shards[shard].ranker.adopt(Arc::clone(ranking), shard);
        }
        // The last but a few are no longer under way to anyone.
        if let Some(old) = news.checked_sub(8) {
            self.news[old] = None;
        }
    }
}
