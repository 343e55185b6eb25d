//! What a node meets: providers with latencies that change, faults that come and go, calls that arrive in bursts.
//!
//! A latency is `base · path(t) · cost · exp(spread · skewed(z))` with `z` normal: lognormal, with a heavier right
//! side. Written with `z` and not drawn inside, so that any percentile is known exactly (the oracle's knowledge), and
//! one call's luck can be held against two providers (`z` in common: the difference is theirs).

use std::collections::VecDeque;
use std::time::Duration;

use crate::jsonrpc::{MethodInfo, info};
use crate::routing::{OutboundConfig, Random};
use crate::time::Instant;

/// The normal deviate of a percentile, for those that tests ask for.
pub(super) fn deviate(part: f64) -> f64 {
    match (part * 100.0).round() as u32 {
        50 => 0.0,
        90 => 1.2816,
        95 => 1.6449,
        99 => 2.3263,
        other => unreachable!("no test asks for the {other}th percentile"),
    }
}

/// The methods that are called, the first ones in all worlds, and the node's own questions at the end.
pub(super) const METHODS: [Method; 6] = [
    Method { name: "eth_getBalance", cost: 1.0, units: 1, apart: false },
    Method { name: "eth_call", cost: 1.6, units: 3, apart: false },
    // May not be sent twice, unlike a raw transaction.
    Method { name: "eth_sendTransaction", cost: 2.0, units: 5, apart: false },
    Method { name: "eth_getBlockByNumber", cost: 1.0, units: 2, apart: true },
    Method { name: "eth_blockNumber", cost: 0.7, units: 1, apart: false },
    Method { name: "eth_chainId", cost: 0.5, units: 1, apart: false },
];

/// How many of them clients call.
pub(super) const CLIENTS_METHODS: usize = 4;

#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    name: &'static str,
    /// What it takes beside a read.
    pub(super) cost: f64,
    /// What vendors count it as.
    pub(super) units: u32,
    /// It is not like its class: what it takes is another thing at each provider.
    apart: bool,
}

impl Method {
    pub(super) fn info(&self) -> &'static MethodInfo {
        info(self.name)
    }
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) providers: Vec<Provider>,
    pub(super) shards: usize,
    pub(super) calls_per_s: f64,
    /// Every so often, ten times as many for a tenth of a second.
    pub(super) bursts: bool,
    pub(super) block_time: Duration,
    /// Which of [`METHODS`] are called.
    pub(super) methods: Vec<usize>,
    pub(super) span: Duration,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Provider {
    pub(super) base_ms: f64,
    pub(super) spread: f64,
    pub(super) skew: f64,
    /// Logarithm of what a method apart takes beside others.
    pub(super) apart: f64,
    /// Logarithms of what the base is multiplied by, a step each.
    pub(super) path: Vec<f64>,
    pub(super) faults: Vec<Fault>,
    /// Calls a second beyond which it refuses, and whether it then says for how long.
    pub(super) limit: Option<(f64, Option<Duration>)>,
    /// What it tells of the chain that is not so.
    pub(super) tales: Vec<Tale>,
    pub(super) bucket: (f64, Instant),
    /// What was bought from it, beyond which it refuses; and what the operator has written in the config.
    pub(super) plan: OutboundConfig,
    pub(super) told: OutboundConfig,
    /// What of the plan is used.
    pub(super) used: Used,
}

/// A vendor's count, by the strictest reading: any span of one second.
#[derive(Clone, Debug, Default)]
pub(super) struct Used {
    /// Calls of the last second, with their units.
    second: VecDeque<(Instant, u32)>,
    month: u64,
    under_way: u32,
}

impl Used {
    /// One more call; whether the plan allows it.
    pub(super) fn on_call(&mut self, now: Instant, units: u32, plan: &OutboundConfig) -> bool {
        while self.second.front().is_some_and(|&(at, _)| now.since(at) >= Duration::from_secs(1)) {
            self.second.pop_front();
        }
        self.second.push_back((now, units));
        self.under_way += 1;
        self.month += u64::from(units);
        let in_second = self.second.iter().map(|&(_, units)| units).sum::<u32>();
        plan.in_flight.is_none_or(|most| self.under_way <= most)
            && plan.calls_per_second.is_none_or(|most| self.second.len() <= most as usize)
            && plan.units_per_second.is_none_or(|most| in_second <= most)
            && plan.units_per_month.is_none_or(|most| self.month <= most)
    }

    /// The last one is taken back: it was refused.
    fn refuse(&mut self, units: u32) {
        self.second.pop_back();
        self.month -= u64::from(units);
    }

    pub(super) fn on_end(&mut self) {
        self.under_way -= 1;
    }
}

impl World {
    /// Blocks by which a provider's head is behind the chain's.
    pub(super) fn lag(&self, provider: usize, now: Instant) -> u64 {
        let truth = Provider::default().height(now, self.block_time);
        truth.saturating_sub(self.providers[provider].height(now, self.block_time))
    }
}

/// Moments at which a drifting provider's latency changes.
pub(super) const STEP: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) from: Instant,
    pub(super) until: Instant,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Connections are refused.
    Dead,
    /// Calls are taken and never answered.
    Stall,
    /// Dead every other half of this.
    Flap(Duration),
    /// This part of the calls is answered with rubbish.
    Broken(f64),
    /// Everything takes this many times as long.
    Slow(f64),
}

/// What a provider tells of the chain, for a while, that is not so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tale {
    pub(super) from: Instant,
    pub(super) until: Instant,
    pub(super) told: Told,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Told {
    /// So many blocks too few.
    Behind(u64),
    /// The block at which it began.
    Stuck,
    /// So many too many.
    Ahead(u64),
    /// The blocks of another chain, and that chain's id.
    OtherChain,
}

/// The chain's id, and another one's.
pub(super) const CHAIN: u64 = 1;
const OTHER_CHAIN: u64 = 56;
/// The chain's height at the start.
const FIRST_BLOCK: u64 = 1_000;

/// What becomes of one call at a provider.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reply {
    Answer(Duration),
    /// Nothing of the call was read.
    Refused(Duration),
    /// A page of HTML, a cut connection: the call may have been done.
    Garbage(Duration),
    Limited(Duration, Option<Duration>),
    Silent,
}

impl Provider {
    /// The latency of a call whose luck is `z`.
    pub(super) fn latency(&self, now: Instant, method: &Method, z: f64) -> Duration {
        let step = (now.micros() / STEP.as_micros() as u64) as usize;
        let path = self.path.get(step).or(self.path.last()).copied().unwrap_or(0.0);
        let apart = if method.apart { self.apart } else { 0.0 };
        let skewed = z + self.skew * z.max(0.0).powi(2);
        let slow: f64 = self.active(now).map(|kind| if let Kind::Slow(times) = kind { times } else { 1.0 }).product();
        Duration::from_secs_f64(
            (self.base_ms / 1e3 * method.cost * slow * (path + apart + self.spread * skewed).exp()).clamp(5e-5, 100.0),
        )
    }

    /// What it says to a call sent now.
    pub(super) fn reply(&mut self, now: Instant, method: &Method, z: f64, luck: f64) -> Reply {
        let took = self.latency(now, method, z);
        let round_trip = Duration::from_secs_f64(self.base_ms / 4e3);
        let within = self.used.on_call(now, method.units, &self.plan);
        if !within {
            self.used.refuse(method.units);
        }
        if self.is_dead(now) {
            return Reply::Refused(round_trip);
        }
        if self.active(now).any(|kind| kind == Kind::Stall) {
            return Reply::Silent;
        }
        if !within {
            return Reply::Limited(round_trip, None);
        }
        if self.refuses(now) {
            return Reply::Limited(round_trip, self.limit.and_then(|(_, retry_after)| retry_after));
        }
        if self.active(now).any(|kind| matches!(kind, Kind::Broken(part) if luck < part)) {
            return Reply::Garbage(took);
        }
        Reply::Answer(took)
    }

    fn is_dead(&self, now: Instant) -> bool {
        self.faults.iter().filter(|fault| fault.is_at(now)).any(|fault| match fault.kind {
            Kind::Dead => true,
            Kind::Flap(half) => (now.since(fault.from).as_micros() / half.as_micros().max(1)).is_multiple_of(2),
            _ => false,
        })
    }

    /// Since when it is dead without a break; not of flapping.
    pub(super) fn dead_since(&self, now: Instant) -> Option<Instant> {
        let dead = |fault: &&Fault| fault.is_at(now) && fault.kind == Kind::Dead;
        self.faults.iter().filter(dead).map(|fault| fault.from).min()
    }

    /// Nothing is wrong with it, nor was within `calm` before.
    pub(super) fn is_well(&self, now: Instant, calm: Duration) -> bool {
        self.limit.is_none()
            && self.told == self.plan
            && self.faults.iter().all(|fault| now < fault.from || fault.until + calm <= now)
    }

    /// The newest block that it tells of.
    pub(super) fn height(&self, now: Instant, block_time: Duration) -> u64 {
        let height = |at: Instant| FIRST_BLOCK + at.micros() / block_time.as_micros() as u64;
        match self.tale(now).copied() {
            None => height(now),
            Some(Tale { told: Told::Behind(blocks), .. }) => height(now).saturating_sub(blocks),
            Some(Tale { told: Told::Stuck, from, .. }) => height(from),
            Some(Tale { told: Told::Ahead(blocks), .. }) => height(now) + blocks,
            Some(Tale { told: Told::OtherChain, .. }) => height(now) * 3,
        }
    }

    /// The chain that it says it is.
    pub(super) fn chain(&self, now: Instant) -> u64 {
        let other = self.tale(now).is_some_and(|tale| tale.told == Told::OtherChain);
        if other { OTHER_CHAIN } else { CHAIN }
    }

    pub(super) fn tale(&self, now: Instant) -> Option<&Tale> {
        self.tales.iter().find(|tale| tale.from <= now && now < tale.until)
    }

    fn active(&self, now: Instant) -> impl Iterator<Item = Kind> {
        self.faults.iter().filter(move |fault| fault.is_at(now)).map(|fault| fault.kind)
    }

    fn refuses(&mut self, now: Instant) -> bool {
        let Some((per_s, _)) = self.limit else { return false };
        let (tokens, at) = self.bucket;
        let tokens = (tokens + now.since(at).as_secs_f64() * per_s).min(per_s);
        self.bucket = ((tokens - 1.0).max(0.0), now);
        tokens < 1.0
    }
}

impl Fault {
    fn is_at(&self, now: Instant) -> bool {
        self.from <= now && now < self.until
    }
}

/// A walk of `steps`, each moving by a normal step of `per_step`, drawn back towards 0 so that it stays within a factor
/// of about two.
pub(super) fn walk(random: &mut Random, steps: usize, per_step: f64) -> Vec<f64> {
    let mut at = 0.0;
    (0..steps)
        .map(|_| {
            at += normal(random) * per_step - at * per_step * per_step * 4.0;
            at
        })
        .collect()
}

pub(super) fn normal(random: &mut Random) -> f64 {
    (-2.0 * random.next_unit().ln()).sqrt() * (std::f64::consts::TAU * random.next_unit()).cos()
}

pub(super) fn between(random: &mut Random, low: f64, high: f64) -> f64 {
    low + (high - low) * random.next_unit()
}

pub(super) fn at(seconds: f64) -> Instant {
    Instant::START + Duration::from_secs_f64(seconds)
}
