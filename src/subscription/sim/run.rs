//! One run: the queue of events, and the shell around the core.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::client::Client;
use super::world::{Provider, World, below, chance};
use crate::routing::Random;
use crate::subscription::core::{Action, Core, Settings};
use crate::subscription::{BlockHash, Epoch, Feed, Fetch, FetchId, Header, Log};
use crate::time::Instant;

/// Trouble, then calm, then a chain that stands still.
const TROUBLE: Duration = Duration::from_mins(1);
const CALM: Duration = Duration::from_secs(25);
const STILL: Duration = Duration::from_secs(15);
/// How far apart a block's head and logs come, in ms: within what the core allows for.
const SKEW_MS: u64 = 800;

/// What is wrong with the shell around the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    FillsNothing,
    /// It takes a block to have no logs on the word of one that does not know it.
    BelievesAnyone,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) closed: u64,
    pub(super) slow_closed: u64,
    pub(super) epochs: u64,
    pub(super) fetches: u64,
    pub(super) emissions: u64,
    pub(super) reorganisations: u64,
    /// Heads pushed that were of another chain.
    pub(super) strays: u64,
}

impl Outcome {
    pub(super) fn add(&mut self, other: &Self) {
        self.closed += other.closed;
        self.slow_closed += other.slow_closed;
        self.epochs += other.epochs;
        self.fetches += other.fetches;
        self.emissions += other.emissions;
        self.reorganisations += other.reorganisations;
        self.strays += other.strays;
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    ChainMoves,
    Sees {
        provider: usize,
        head: BlockHash,
    },
    Troubles,
    Connects {
        epoch: Epoch,
        provider: usize,
    },
    Subscribed {
        epoch: Epoch,
    },
    Lost {
        epoch: Epoch,
    },
    PushesHead {
        connection: usize,
        head: BlockHash,
    },
    PushesLog {
        connection: usize,
        block: BlockHash,
        n: usize,
    },
    Serves {
        id: FetchId,
        fetch: Fetch,
    },
    Answers {
        id: FetchId,
        hashes: Option<Vec<BlockHash>>,
    },
    /// Of a block; none of one that the provider does not know.
    AnswersLogs {
        id: FetchId,
        block: Option<BlockHash>,
    },
    ClientsRead,
    Wakes,
}

#[derive(Debug)]
struct Connection {
    epoch: Epoch,
    provider: usize,
    is_alive: bool,
    /// Half open: nothing comes any more, and nobody says so.
    is_silent: bool,
    /// No head has been pushed yet: it may be that of a block whose logs went out just before we subscribed to them.
    is_fresh: bool,
    heads_at: Instant,
    logs_at: Instant,
}

pub(super) struct Run {
    now: Instant,
    random: Random,
    world: World,
    feed: Feed,
    core: Core,
    /// Cores so far: what is under way to an older one is lost.
    cores: u64,
    clients: Vec<Client>,
    connections: Vec<Connection>,
    provider_of: BTreeMap<Epoch, usize>,
    queue: BinaryHeap<Reverse<(Instant, u64, u64, Event)>>,
    sequence: u64,
    wakes_at: Instant,
    flaw: Option<Flaw>,
    outcome: Outcome,
}

impl Run {
    pub(super) fn new(seed: u64, feed: Feed, flaw: Option<Flaw>) -> Self {
        let mut random = Random::new(seed);
        let world = World::new(&mut random);
        let mut run = Self {
            now: Instant::START,
            world,
            feed,
            core: Core::new(settings(feed), Instant::START),
            cores: 0,
            clients: Vec::new(),
            connections: Vec::new(),
            provider_of: BTreeMap::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            wakes_at: Instant::NEVER,
            flaw,
            outcome: Outcome::default(),
            random,
        };
        run.after(0, Event::ChainMoves);
        run.after(1000, Event::Troubles);
        run.after(100, Event::ClientsRead);
        run
    }

    pub(super) fn play(mut self) -> Outcome {
        let end = Instant::START + TROUBLE + CALM + STILL;
        self.obey();
        while let Some(Reverse((at, _, core, event))) = self.queue.pop() {
            if at > end {
                break;
            }
            self.now = at;
            self.happens(event, core == self.cores);
            self.obey();
        }
        for client in &mut self.clients {
            let is_cut = client.outbox.is_full();
            client.read(&self.world, u64::MAX);
            if !is_cut {
                client.check(&self.world, self.feed);
            }
            self.outcome.slow_closed += u64::from(is_cut);
        }
        let tip = self.core.tip().map(|tip| tip.hash);
        assert_eq!(tip, Some(self.world.head()), "the head was never reached");
        self.outcome.reorganisations = self.world.reorganisations;
        self.outcome
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now + Duration::from_millis(ms), event);
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, self.cores, event)));
    }

    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + below(&mut self.random, to - from)
    }

    fn is_calm(&self) -> bool {
        self.now > Instant::START + TROUBLE
    }

    fn happens(&mut self, event: Event, is_of_this_core: bool) {
        let now = self.now;
        match event {
            Event::ChainMoves => self.chain_moves(),
            Event::Sees { provider, head } => self.provider_sees(provider, head),
            Event::Troubles => self.troubles(),
            Event::ClientsRead => {
                for client in &mut self.clients {
                    client.read(&self.world, client.reads);
                }
                self.after(100, Event::ClientsRead);
            }
            // The rest is between one core and the world.
            _ if !is_of_this_core => {}
            Event::Connects { epoch, provider } => self.connects(epoch, provider),
            Event::Subscribed { epoch } => self.core.on_subscribed(now, epoch),
            Event::Lost { epoch } => self.core.on_lost(now, epoch),
            Event::PushesHead { connection, head } => {
                if let Some(epoch) = self.hears(connection) {
                    let header = self.world.block(head).header.clone();
                    self.core.on_head(now, epoch, header);
                }
            }
            Event::PushesLog { connection, block, n } => {
                if let Some(epoch) = self.hears(connection) {
                    let log = self.world.block(block).logs[n].clone();
                    self.core.on_log(now, epoch, log);
                }
            }
            Event::Serves { id, fetch } => self.serves(id, fetch),
            Event::Answers { id, hashes: None } => self.core.on_unfetched(now, id),
            Event::AnswersLogs { id, block } => {
                let found = block.filter(|_| self.flaw != Some(Flaw::FillsNothing));
                let logs: Vec<Log> = found.map_or(Vec::new(), |hash| self.world.block(hash).logs.clone());
                let knows_block = block.is_some() || self.flaw == Some(Flaw::BelievesAnyone);
                self.core.on_fetched_logs(now, id, logs, knows_block);
            }
            Event::Answers { id, hashes: Some(hashes) } => {
                let headers: Vec<Header> = hashes.iter().map(|hash| self.world.block(*hash).header.clone()).collect();
                self.core.on_fetched_headers(now, id, headers);
            }
            Event::Wakes => {
                self.wakes_at = Instant::NEVER;
                self.core.on_tick(now);
            }
        }
        // Clients join when the stream has begun.
        if self.clients.is_empty()
            && let Some(base) = self.core.tip().cloned()
        {
            let slow = self.between(0, 3);
            self.clients.push(Client::new(base.clone(), u64::MAX, usize::MAX));
            self.clients.push(Client::new(base, slow, 24));
        }
    }

    fn hears(&self, connection: usize) -> Option<Epoch> {
        let connection = &self.connections[connection];
        (connection.is_alive && !connection.is_silent).then_some(connection.epoch)
    }

    fn chain_moves(&mut self) {
        if self.now > Instant::START + TROUBLE + CALM {
            return;
        }
        let is_calm = self.is_calm();
        self.world.step(is_calm, &mut self.random);
        let head = self.world.head();
        for provider in 0..self.world.providers.len() {
            let jitter = self.between(0, 50);
            let delay = self.world.providers[provider].delay_ms + jitter;
            // A block of its own first, that nobody else builds on.
            if !is_calm && chance(&mut self.random, 20) {
                let own = self.world.make(self.world.block(head).header.parent, &mut self.random);
                self.after(delay / 2, Event::Sees { provider, head: own });
            }
            self.after(delay, Event::Sees { provider, head });
        }
        if chance(&mut self.random, 200) {
            let number = self.world.number(head);
            self.core.on_head_elsewhere(self.now, number);
        }
        let next = self.between(600, 1400);
        self.after(next, Event::ChainMoves);
    }

    fn provider_sees(&mut self, provider: usize, head: BlockHash) {
        let is_older = self.world.number(head) + 6 < self.world.number(self.world.providers[provider].head);
        if is_older || self.world.providers[provider].head == head {
            return;
        }
        let new = self.world.sees(provider, head);
        if let Some(ahead) = self.world.providers[provider].strays {
            return self.strays(provider, ahead);
        }
        let pushes_all = self.world.providers[provider].pushes_all;
        for connection in 0..self.connections.len() {
            let of = &self.connections[connection];
            if !of.is_alive || of.provider != provider {
                continue;
            }
            let misses_first = chance(&mut self.random, 300);
            for &block in &new {
                let misses_logs = misses_first && self.connections[connection].is_fresh;
                if pushes_all || block == head {
                    self.connections[connection].is_fresh = false;
                    let times = 1 + u64::from(chance(&mut self.random, 50));
                    for _ in 0..times {
                        let at = self.push_time(|connection| &mut connection.heads_at, connection);
                        self.at(at, Event::PushesHead { connection, head: block });
                    }
                }
                let logs = if misses_logs { 0 } else { self.world.block(block).logs.len() };
                for n in 0..logs {
                    let at = self.push_time(|connection| &mut connection.logs_at, connection);
                    self.at(at, Event::PushesLog { connection, block, n });
                }
            }
        }
    }

    fn strays(&mut self, provider: usize, ahead: u64) {
        let head = self.world.make_stray(ahead, &mut self.random);
        for connection in 0..self.connections.len() {
            if self.connections[connection].is_alive && self.connections[connection].provider == provider {
                self.outcome.strays += 1;
                let at = self.push_time(|connection| &mut connection.heads_at, connection);
                self.at(at, Event::PushesHead { connection, head });
            }
        }
    }

    /// In order with what was pushed before of its kind.
    fn push_time(&mut self, of: fn(&mut Connection) -> &mut Instant, connection: usize) -> Instant {
        let slow = if chance(&mut self.random, 100) { SKEW_MS } else { 60 };
        let takes = Duration::from_millis(below(&mut self.random, slow));
        let last = of(&mut self.connections[connection]);
        *last = (*last).max(self.now + takes);
        *last
    }

    fn troubles(&mut self) {
        let providers = self.world.providers.len() as u64;
        if self.is_calm() {
            for provider in &mut self.world.providers {
                (provider.is_up, provider.delay_ms, provider.strays) = (true, 100, None);
            }
            return;
        }
        let provider = below(&mut self.random, providers) as usize;
        match below(&mut self.random, 11) {
            0..=3 => self.cut(provider),
            4 => {
                self.world.providers[provider].is_up = false;
                self.cut(provider);
            }
            5 => self.world.providers[provider].delay_ms = 3000 + below(&mut self.random, 6000),
            6 => {
                for connection in self.connections.iter_mut().filter(|connection| connection.provider == provider) {
                    connection.is_silent = true;
                }
            }
            7 if chance(&mut self.random, 500) => {
                let ahead = [0, 1, 3, 10_000][below(&mut self.random, 4) as usize];
                self.world.providers[provider].strays = Some(ahead);
            }
            _ => {
                let delay_ms = 20 + below(&mut self.random, 400);
                let provider = &mut self.world.providers[provider];
                (provider.is_up, provider.delay_ms, provider.strays) = (true, delay_ms, None);
            }
        }
        let next = self.between(300, 4000);
        self.after(next, Event::Troubles);
    }

    /// Connections to a provider are lost, and what is under way on them.
    fn cut(&mut self, provider: usize) {
        for connection in 0..self.connections.len() {
            let of = &mut self.connections[connection];
            if of.provider != provider || !std::mem::replace(&mut of.is_alive, false) {
                continue;
            }
            let epoch = of.epoch;
            let takes = self.between(0, 300);
            self.after(takes, Event::Lost { epoch });
        }
    }

    fn pick(&mut self, not: Option<usize>) -> usize {
        let count = self.world.providers.len();
        let pick = below(&mut self.random, count as u64) as usize;
        if Some(pick) == not { (pick + 1) % count } else { pick }
    }

    fn connects(&mut self, epoch: Epoch, provider: usize) {
        if !self.world.providers[provider].is_up {
            // Refused, or not a word.
            if chance(&mut self.random, 700) {
                self.after(50, Event::Lost { epoch });
            }
            return;
        }
        let said_at = self.now + Duration::from_millis(20);
        self.connections.push(Connection {
            epoch,
            provider,
            is_alive: true,
            is_silent: false,
            is_fresh: true,
            heads_at: said_at,
            logs_at: said_at,
        });
        self.provider_of.insert(epoch, provider);
        self.at(said_at, Event::Subscribed { epoch });
    }

    /// A provider looks something up; its answer takes as long again.
    fn serves(&mut self, id: FetchId, fetch: Fetch) {
        let takes = self.between(5, 150);
        let provider = match fetch {
            Fetch::Latest { epoch } => {
                let mut of = self.connections.iter().filter(|connection| connection.epoch == epoch);
                of.find(|connection| connection.is_alive && !connection.is_silent).map(|connection| connection.provider)
            }
            _ => Some(self.pick(None)).filter(|provider| self.world.providers[*provider].is_up),
        };
        let provider = provider.filter(|_| !chance(&mut self.random, 50)).map(|at| &self.world.providers[at]);
        let knows = |provider: &Provider, hash: BlockHash| provider.seen.contains(&hash).then_some(hash);
        let hashes = provider.and_then(|provider| match fetch {
            Fetch::Latest { .. } => Some(vec![provider.head]),
            Fetch::Header { hash } => knows(provider, hash).map(|hash| vec![hash]),
            Fetch::Headers { from, to } => {
                let chain = self.world.chain_of(provider.head);
                Some(chain.into_iter().filter(|hash| (from..=to).contains(&self.world.number(*hash))).collect())
            }
            Fetch::Logs { .. } => None,
        });
        let event = match (fetch, provider) {
            // Of a block that it does not know, some have no logs, and others an error.
            (Fetch::Logs { block }, Some(provider)) if knows(provider, block).is_some() || provider.pushes_all => {
                Event::AnswersLogs { id, block: knows(provider, block) }
            }
            _ => Event::Answers { id, hashes },
        };
        // On its own socket an answer comes in order with what is pushed.
        self.after(if matches!(fetch, Fetch::Latest { .. }) { 1 } else { takes }, event);
    }

    /// Does what the core says.
    fn obey(&mut self) {
        while let Some(action) = self.core.poll() {
            match action {
                Action::Subscribe { epoch, instead_of } => {
                    self.outcome.epochs += 1;
                    let not = instead_of.and_then(|epoch| self.provider_of.get(&epoch).copied());
                    let provider = self.pick(not);
                    let takes = self.between(20, 300);
                    self.after(takes, Event::Connects { epoch, provider });
                }
                Action::Unsubscribe { epoch } => {
                    let of = self.connections.iter_mut().filter(|connection| connection.epoch == epoch);
                    of.for_each(|connection| connection.is_alive = false);
                }
                Action::Fetch { id, fetch } => {
                    self.outcome.fetches += 1;
                    let takes = self.between(5, 100);
                    self.after(takes, Event::Serves { id, fetch });
                }
                Action::Emit(emission) => {
                    self.outcome.emissions += 1;
                    for client in &mut self.clients {
                        let _ = client.outbox.push(emission.clone(), 1);
                        if client.reads == u64::MAX {
                            client.read(&self.world, u64::MAX);
                        }
                    }
                }
                Action::Close { .. } => self.begins_anew(),
            }
        }
        let wakes_at = self.core.next_wake(self.now).max(self.now + Duration::from_millis(1));
        if wakes_at < self.wakes_at {
            self.wakes_at = wakes_at;
            self.at(wakes_at, Event::Wakes);
        }
    }

    /// The clients were told 1012, and subscribe again.
    fn begins_anew(&mut self) {
        self.outcome.closed += 1;
        self.cores += 1;
        self.clients.clear();
        self.connections.clear();
        self.provider_of.clear();
        self.wakes_at = Instant::NEVER;
        self.core = Core::new(settings(self.feed), self.now);
    }
}

fn settings(feed: Feed) -> Settings {
    Settings { feed, stale_after: Duration::from_secs(5), outage_max: Duration::from_secs(30), lag_max: 3 }
}
