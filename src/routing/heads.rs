//! A chain's head, who is behind it, and who is on another chain.
//!
//! Providers tell their newest block when they are probed, when clients ask for it, and on their sockets. No one of them is to be
//! believed alone: one that makes up blocks would take all others out. So **the head is what the majority supports**: the
//! highest block that more than half of the healthy providers of the right chain have reached, as their fresh words tell
//! ([`HeadsConfig::believed`]). Those not heard of yet count as not having reached it, so that the first to speak decides nothing.
//! One that has not moved for as long as the lag that is allowed has no voice while another one moves, or of two
//! providers the one that hangs would hold the chain. Who was not asked in that time is not known to hang: its word
//! stands, or the one that lags would soon be alone with whoever was asked last.
//!
//! **Lag** is measured when a provider is heard, against the head as known then, and stays until it is heard again. Others were
//! heard earlier, so that the head known is at most the true one: lag is understated by what has been made since, and a
//! provider that is well never looks behind. Projecting old words forward by the block time would be closer to
//! the truth until a chain halts, and then take out whoever was asked last.
//!
//! A provider is out for calls that depend on the head when it lags by more than [`HeadLimits::max_lag`] blocks, until it lags by
//! half of that; or when it is further ahead than anyone could be and a majority says otherwise. It is out for all calls
//! while it says that it is another chain. What is no longer fresh puts nobody out. That a provider cannot be reached says nothing
//! about its chain: it is told apart, and taking it out is the breaker's business.
//!
//! Left out: telling which calls depend on the head, and reorganisations; a block number says nothing about which block.

use std::time::Duration;

use crate::limits::PROVIDERS_PER_CHAIN_MAX;
use crate::time::Instant;

/// How far apart providers may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadsConfig {
    /// Blocks that a provider may lag; by default what is made in `lag_time`, and `lag_blocks_min` at the least.
    pub max_lag_blocks: Option<u64>,
    /// Time behind that nobody notices: dapps poll every few seconds, and gateways cache a head for as long.
    pub lag_time: Duration,
    /// Providers' nodes hear of a block one or two late without anything being wrong.
    pub lag_blocks_min: u64,
    /// Times the allowed lag that a provider may be ahead of the majority: blocks that nobody else has heard of.
    pub ahead_factor: u64,
    /// How long a provider's word counts: a few probes' time.
    pub believed: Duration,
}

impl HeadsConfig {
    pub const DEFAULT: Self = Self {
        max_lag_blocks: None,
        lag_time: Duration::from_secs(30),
        lag_blocks_min: 3,
        ahead_factor: 4,
        believed: Duration::from_mins(2),
    };

    /// What that means for a chain that makes a block every `block_time`.
    #[must_use]
    pub fn limits(&self, block_time: Duration) -> HeadLimits {
        let block_time = block_time.max(Duration::from_millis(1));
        let in_time = u64::try_from(self.lag_time.as_millis() / block_time.as_millis()).unwrap_or(u64::MAX);
        let max_lag = self.max_lag_blocks.unwrap_or(in_time.max(self.lag_blocks_min));
        HeadLimits {
            max_lag,
            far_ahead: max_lag.max(1).saturating_mul(self.ahead_factor.max(1)),
            block_time,
            // A chain's blocks come unevenly: three in the time of one are nothing.
            stalled: block_time.saturating_mul(u32::try_from(max_lag.max(3)).unwrap_or(u32::MAX)),
            believed: self.believed,
        }
    }
}

impl Default for HeadsConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The config as one chain's blocks and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Blocks.
    pub max_lag: u64,
    /// Blocks.
    pub far_ahead: u64,
    pub block_time: Duration,
    /// Without a new block: no voice.
    pub stalled: Duration,
    pub believed: Duration,
}

/// A provider's place relative to the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    #[default]
    InStep,
    Lagging,
    FarAhead,
}

/// What a provider's word changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadEvent {
    Lagging {
        blocks: u64,
    },
    FarAhead {
        blocks: u64,
    },
    /// After lagging or being far ahead.
    InStep,
    WrongChain {
        said: u64,
    },
    /// After being on a wrong one.
    RightChain,
    Unreachable,
    /// After being unreachable.
    Reachable,
}

/// What is known of one provider, for pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadFacts {
    /// Its newest block, and when it said so.
    pub heard: Option<(u64, Instant)>,
    /// Blocks behind the head as known then.
    pub lag: u64,
    pub level: Level,
    /// The chain that it says it is, where that is not ours.
    pub wrong_chain: Option<u64>,
    pub unreachable: bool,
}

/// One chain's heads.
#[derive(Clone, Debug)]
pub struct Heads {
    limits: HeadLimits,
    chain_id: u64,
    head: Option<u64>,
    /// When the head last rose.
    head_at: Instant,
    known: Vec<Known>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Its newest block, and when it said so.
    heard: Option<(u64, Instant)>,
    /// When its block last rose.
    moved_at: Instant,
    lag: u64,
    level: Level,
    wrong_chain: Option<u64>,
    unreachable: bool,
}

/// What those say who have a voice.
struct Votes {
    heights: Vec<u64>,
    /// How many have one, heard of or not.
    voters: usize,
}

impl Heads {
    #[must_use]
    pub fn new(providers: usize, chain_id: u64, limits: HeadLimits) -> Self {
        let known = vec![Known::default(); providers.min(PROVIDERS_PER_CHAIN_MAX)];
        Self { limits, chain_id, head: None, head_at: Instant::START, known }
    }

    /// Takes over what `before` knew of the same provider: `was` is its position there, `is` the one here. For a reload.
    pub fn take_over(&mut self, before: &Self, was: usize, is: usize) {
        if let (Some(known), Some(place)) = (before.known.get(was), self.known.get_mut(is)) {
            *place = *known;
            (self.head, self.head_at) = (self.head.max(before.head), self.head_at.max(before.head_at));
        }
    }

    /// `provider` says that its newest block is `height`. `healthy`: a bit for each provider whose gate is not shut.
    pub fn on_head(&mut self, now: Instant, provider: usize, height: u64, healthy: u64) -> Option<HeadEvent> {
        let known = self.known.get_mut(provider)?;
        let reached = std::mem::take(&mut known.unreachable).then_some(HeadEvent::Reachable);
        if known.heard.is_none_or(|(before, _)| height > before) {
            known.moved_at = now;
        }
        known.heard = Some((height, now));
        self.update_head(now, healthy);
        let level = self.level(now, provider, height, healthy);
        let head = self.head.unwrap_or(height);
        let known = &mut self.known[provider];
        known.lag = head.saturating_sub(height);
        let before = std::mem::replace(&mut known.level, level);
        let changed = (before != level).then_some(match level {
            Level::InStep => HeadEvent::InStep,
            Level::Lagging => HeadEvent::Lagging { blocks: known.lag },
            Level::FarAhead => HeadEvent::FarAhead { blocks: height.saturating_sub(head) },
        });
        changed.or(reached)
    }

    /// `provider` says which chain it is.
    pub fn on_chain_id(&mut self, provider: usize, said: u64) -> Option<HeadEvent> {
        let expected = self.chain_id;
        let known = self.known.get_mut(provider)?;
        let reached = std::mem::take(&mut known.unreachable).then_some(HeadEvent::Reachable);
        let wrong = (said != expected).then_some(said);
        let before = std::mem::replace(&mut known.wrong_chain, wrong);
        match wrong {
            Some(said) if before != wrong => Some(HeadEvent::WrongChain { said }),
            None if before.is_some() => Some(HeadEvent::RightChain),
            _ => reached,
        }
    }

    /// A probe did not reach `provider`.
    pub fn on_unreachable(&mut self, provider: usize) -> Option<HeadEvent> {
        let known = self.known.get_mut(provider)?;
        let news = !std::mem::replace(&mut known.unreachable, true);
        news.then_some(HeadEvent::Unreachable)
    }

    /// The newest block that a majority has.
    #[must_use]
    pub const fn head(&self) -> Option<u64> {
        self.head
    }

    /// A bit for each provider that is out for calls that depend on the head.
    #[must_use]
    pub fn out_of_step(&self, now: Instant) -> u64 {
        self.mask(|known| known.level != Level::InStep && known.is_fresh(now, &self.limits))
    }

    /// A bit for each provider that is out for all calls: it says that it is another chain.
    #[must_use]
    pub fn wrong_chain(&self) -> u64 {
        self.mask(|known| known.wrong_chain.is_some())
    }

    /// What is known of `provider`.
    #[must_use]
    pub fn facts(&self, provider: usize) -> Option<HeadFacts> {
        let &Known { heard, lag, level, wrong_chain, unreachable, .. } = self.known.get(provider)?;
        Some(HeadFacts { heard, lag, level, wrong_chain, unreachable })
    }

    fn mask(&self, holds: impl Fn(&Known) -> bool) -> u64 {
        self.known.iter().enumerate().filter(|(_, known)| holds(known)).fold(0, |mask, (bit, _)| mask | 1 << bit)
    }

    fn update_head(&mut self, now: Instant, healthy: u64) {
        let Votes { mut heights, voters } = self.votes(now, healthy);
        heights.sort_unstable_by(|a, b| b.cmp(a));
        // One more than half of the voters have this one.
        let Some(&head) = heights.get(voters / 2) else { return };
        if self.head.is_none_or(|before| head > before) {
            self.head_at = now;
        }
        self.head = Some(head);
    }

    fn votes(&self, now: Instant, healthy: u64) -> Votes {
        let known =
            || self.known.iter().enumerate().filter(|(bit, _)| healthy & (1 << bit) != 0).map(|(_, known)| known);
        let fresh = |known: &&Known| known.wrong_chain.is_none() && known.is_fresh(now, &self.limits);
        let some_move = known().filter(fresh).any(|known| now.since(known.moved_at) <= self.limits.stalled);
        let silenced = |known: &&Known| fresh(known) && some_move && known.hangs(now, &self.limits);
        let voters = || known().filter(|known| known.wrong_chain.is_none() && !silenced(known));
        let heights = voters().filter(fresh).filter_map(|known| known.heard.map(|(height, _)| height));
        Votes { heights: heights.collect(), voters: voters().count() }
    }

    fn level(&self, now: Instant, provider: usize, height: u64, healthy: u64) -> Level {
        let Some(head) = self.head else { return Level::InStep };
        let was_lagging = self.known[provider].level == Level::Lagging;
        let allowed = if was_lagging { self.limits.max_lag / 2 } else { self.limits.max_lag };
        if head.saturating_sub(height) > allowed {
            return Level::Lagging;
        }
        // The others may not have been asked for a while: what could have been made since is no lead.
        let since = now.since(self.head_at).as_millis() / self.limits.block_time.as_millis().max(1);
        let possible = self.limits.far_ahead.saturating_add(u64::try_from(since).unwrap_or(u64::MAX));
        let Votes { heights, voters } = self.votes(now, healthy);
        let below = heights.iter().filter(|other| other.saturating_add(possible) < height).count();
        if below * 2 > voters { Level::FarAhead } else { Level::InStep }
    }
}

impl Known {
    fn is_fresh(&self, now: Instant, limits: &HeadLimits) -> bool {
        self.heard.is_some_and(|(_, at)| now.since(at) <= limits.believed)
    }

    /// Whether it was asked long after it last moved, and had no newer block, or no answer.
    fn hangs(&self, now: Instant, limits: &HeadLimits) -> bool {
        let asked = self.heard.map(|(_, at)| if self.unreachable { now } else { at });
        asked.is_some_and(|at| at.since(self.moved_at) > limits.stalled)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::random::Random;
    use super::*;

    const ALL: u64 = u64::MAX;

    fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    /// A chain of 12 s: three blocks of lag, twelve of lead.
    fn heads(providers: usize) -> Heads {
        Heads::new(providers, 1, HeadsConfig::DEFAULT.limits(Duration::from_secs(12)))
    }

    /// Everyone says a height at second 100, in order; the events of it.
    fn told(heads: &mut Heads, heights: &[u64]) -> Vec<Option<HeadEvent>> {
        heights.iter().enumerate().map(|(provider, &height)| heads.on_head(secs(100), provider, height, ALL)).collect()
    }

    #[test]
    fn limits_follow_the_block_time() {
        // Block time in ms → lag, lead, stall in ms.
        for (block_time, max_lag, far_ahead, stalled) in [
            (12_000, 3, 12, 36_000),
            (2_000, 15, 60, 30_000),
            (250, 120, 480, 30_000),
            (60_000, 3, 12, 180_000),
            (0, 30_000, 120_000, 30_000),
        ] {
            let limits = HeadsConfig::DEFAULT.limits(Duration::from_millis(block_time));
            assert_eq!((limits.max_lag, limits.far_ahead), (max_lag, far_ahead), "{block_time}");
            assert_eq!(limits.stalled, Duration::from_millis(stalled), "{block_time}");
        }
        let own = HeadsConfig { max_lag_blocks: Some(0), ..HeadsConfig::DEFAULT }.limits(Duration::from_secs(1));
        assert_eq!((own.max_lag, own.far_ahead), (0, 4));
    }

    #[test]
    fn the_head_is_what_the_majority_supports() {
        let cases: [(&[u64], u64); 7] = [
            (&[100], 100),
            (&[100, 101], 100),
            (&[100, 101, 102], 101),
            (&[100, 100, 100, 90], 100),
            (&[100, 100, 90, 90], 90),
            (&[100, 100, 5000], 100),
            (&[100, 100, 0, 5000, 100], 100),
        ];
        for (heights, head) in cases {
            let mut heads = heads(heights.len());
            told(&mut heads, heights);
            assert_eq!(heads.head(), Some(head), "{heights:?}");
        }
        assert_eq!(heads(3).head(), None);
    }

    #[test]
    fn a_provider_that_lags_is_out_until_it_has_caught_up() {
        let mut heads = heads(4);
        told(&mut heads, &[100, 100, 100, 90]);
        assert_eq!(heads.out_of_step(secs(100)), 0b1000);
        assert_eq!(heads.facts(3).map(|facts| (facts.lag, facts.level)), Some((10, Level::Lagging)));
        // Height → event: out above three blocks of lag, back at one.
        for (height, event) in [
            (97, None),
            (98, None),
            (99, Some(HeadEvent::InStep)),
            (97, None),
            (96, Some(HeadEvent::Lagging { blocks: 4 })),
        ] {
            assert_eq!(heads.on_head(secs(101), 3, height, ALL), event, "{height}");
        }
        assert_eq!(heads.out_of_step(secs(221)), 0b1000);
        assert_eq!(heads.out_of_step(secs(222)), 0, "what is not fresh puts nobody out");
    }

    #[test]
    fn a_lone_provider_far_ahead_is_not_believed() {
        let mut three = heads(3);
        assert_eq!(told(&mut three, &[100, 100, 113]), [None, None, Some(HeadEvent::FarAhead { blocks: 13 })]);
        assert_eq!((three.head(), three.out_of_step(secs(100))), (Some(100), 0b100));
        assert_eq!(three.on_head(secs(101), 2, 112, ALL), Some(HeadEvent::InStep));
        // The others have not been asked for two minutes: ten blocks may have been made.
        assert_eq!(three.on_head(secs(220), 2, 122, ALL), None);
        // Of two, nobody knows who is right.
        let mut two = heads(2);
        assert_eq!(told(&mut two, &[100, 5000]), [None, None]);
        assert_eq!(two.out_of_step(secs(100)), 0);
        // It came first: the others do not lag behind it.
        let mut first = heads(3);
        assert_eq!(told(&mut first, &[5000, 100, 100]), [None, None, None]);
        assert_eq!(first.out_of_step(secs(100)), 0b000);
        assert_eq!(first.on_head(secs(101), 0, 5001, ALL), Some(HeadEvent::FarAhead { blocks: 4901 }));
    }

    #[test]
    fn of_two_the_one_that_hangs_does_not_hold_the_chain() {
        let mut heads = heads(2);
        for block in 0..10 {
            let now = secs(100 + block * 12);
            heads.on_head(now, 0, 1000 + block, ALL);
            heads.on_head(now, 1, 1000, ALL);
        }
        assert_eq!(heads.head(), Some(1009));
        assert_eq!(heads.out_of_step(secs(208)), 0b10);
    }

    #[test]
    fn who_was_not_asked_for_a_while_keeps_its_voice_and_who_does_not_answer_loses_it() {
        let mut four = heads(4);
        told(&mut four, &[1000, 1000, 1000, 950]);
        four.on_head(secs(160), 0, 1005, ALL);
        four.on_head(secs(160), 3, 955, ALL);
        assert_eq!((four.head(), four.out_of_step(secs(160))), (Some(1000), 0b1000), "two were not asked");
        // Whether the other one could be reached → the head.
        for (reached, head) in [(true, 1000), (false, 1005)] {
            let mut two = heads(2);
            told(&mut two, &[1000, 1000]);
            if !reached {
                two.on_unreachable(1);
            }
            two.on_head(secs(160), 0, 1005, ALL);
            assert_eq!(two.head(), Some(head), "{reached}");
        }
    }

    #[test]
    fn a_chain_that_halts_puts_nobody_out() {
        let mut heads = heads(3);
        told(&mut heads, &[100, 101, 101]);
        for at in 0..100 {
            for (provider, height) in [(0, 100), (1, 101), (2, 101)] {
                assert_eq!(heads.on_head(secs(110 + at * 10), provider, height, ALL), None);
            }
        }
        assert_eq!((heads.head(), heads.out_of_step(secs(1100))), (Some(101), 0));
    }

    #[test]
    fn the_unhealthy_and_the_wrong_have_no_voice() {
        let mut heads = heads(5);
        heads.on_chain_id(3, 5);
        for (provider, height) in [(0, 100), (1, 90), (2, 90), (3, 90), (4, 90)] {
            heads.on_head(secs(100), provider, height, 0b01001);
        }
        assert_eq!(heads.head(), Some(100));
        assert_eq!(heads.out_of_step(secs(100)), 0b11110, "they are measured all the same");
    }

    #[test]
    fn a_wrong_chain_and_an_unreachable_provider_are_two_things() {
        use HeadEvent::{Reachable, RightChain, Unreachable, WrongChain};
        let mut heads = heads(2);
        assert_eq!(heads.on_chain_id(0, 1), None);
        assert_eq!(heads.on_chain_id(0, 56), Some(WrongChain { said: 56 }));
        assert_eq!(heads.on_chain_id(0, 56), None, "told once");
        assert_eq!(heads.wrong_chain(), 0b01);
        assert_eq!(heads.on_unreachable(0), Some(Unreachable));
        assert_eq!(heads.on_unreachable(0), None);
        assert_eq!(heads.wrong_chain(), 0b01, "not to be reached is no other answer");
        assert_eq!(heads.on_chain_id(0, 1), Some(RightChain));
        assert_eq!(heads.wrong_chain(), 0);
        heads.on_unreachable(1);
        assert_eq!(heads.wrong_chain(), 0);
        assert_eq!(heads.on_head(secs(1), 1, 9, ALL), Some(Reachable));
        assert_eq!(heads.on_head(secs(1), 7, 9, ALL), None, "nobody");
    }

    #[test]
    fn a_reload_keeps_what_is_known() {
        let mut before = heads(4);
        told(&mut before, &[100, 100, 100, 90]);
        let mut after = heads(2);
        after.take_over(&before, 3, 0);
        after.take_over(&before, 1, 1);
        assert_eq!((after.head(), after.out_of_step(secs(100))), (Some(100), 0b01));
    }

    proptest! {
        /// Providers of a chain that goes on: the well ones are late by a block or two and are asked at any time, one lags, and
        /// a minority makes up blocks. No well one is ever out, the head is never made up, and who lags is found.
        #[test]
        fn the_well_stay_in(
            seed in any::<u64>(),
            well in 3..8_usize,
            liars in 0..3_usize,
            block_ms in prop::sample::select(&[250_u64, 2_000, 12_000][..]),
        ) {
            let liars = liars.min(well - 2);
            let limits = HeadsConfig::DEFAULT.limits(Duration::from_millis(block_ms));
            let mut heads = Heads::new(well + 1 + liars, 1, limits);
            let mut random = Random::new(seed);
            let lag = limits.max_lag * 3 + 60_000 / block_ms;
            let mut now_ms = 1_000_000;
            for round in 0..400 {
                now_ms += random.next_u64() % 3_000;
                let (now, truth) = (Instant::from_micros(now_ms * 1000), 1_000_000 + now_ms / block_ms);
                let provider = usize::try_from(random.next_u64()).unwrap_or(0) % (well + 1 + liars);
                let height = match provider {
                    one if one < well => truth - random.next_u64() % 3,
                    one if one == well => truth - lag,
                    _ => truth + random.next_u64() % 1_000_000,
                };
                let event = heads.on_head(now, provider, height, ALL);
                if provider < well {
                    prop_assert!(!matches!(event, Some(HeadEvent::Lagging { .. } | HeadEvent::FarAhead { .. })), "{event:?}");
                }
                if round > 100 {
                    prop_assert!(heads.head() <= Some(truth));
                    prop_assert!(provider != well || heads.out_of_step(now) & (1 << well) != 0, "it lags by {lag}");
                }
            }
        }
    }
}
