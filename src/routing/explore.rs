//! Whom to ask for evidence alone, and how often: the plan of one row, made at each publication.
//!
//! Who is never asked is never known, and the best provider of tomorrow is among those not asked today. So a share of
//! calls goes to others. It is spent where it teaches most:
//!
//! - **Tokens.** Each call earns [`RankingConfig::explore_share`] of a token, and some seconds' worth are kept. A token
//!   is an explored call.
//! - **Grants.** One at a time: a provider, a shard, a number of calls. It goes to one shard, named in turn by traffic,
//!   and that shard sends its next calls there: nothing is drawn, so that a token is a sample, a fraction of a second
//!   later. The next grant is given when the sample has come back, or has had its time.
//! - **Turns.** The grant goes to whoever has gone longest without a sample, so that all are seen at even distances.
//!   Who gets traffic anyway needs none.
//! - **Hope.** One that may well be the best, as far as its evidence goes, has its turn four times as often.
//! - **Promise.** One that seems to have become better than the best gets several samples at once, on credit where need
//!   be: it is found out within a second or two of its first surprising answer. Debts are paid by fewer explored calls
//!   later: the share holds over time.
//! - **Budget.** One whose calls are expected to take longer than the best's times [`RankingConfig::explore_factor`]
//!   gets none (expected, not as ranked: thin evidence is ranked dearer, and must not be kept thin by that) ...
//! - **No starving.** ... unless it has not been seen for [`RankingConfig::explore_stale`], or never: then it gets a
//!   grant whether there are tokens or not. On a chain with traffic nobody stays unseen longer than that and the time
//!   of some calls per provider, as grants go one by one.
//! - **In vain.** A grant that brings no sample (its tier is not in use, its shard has no such calls) is repeated after
//!   twice the time of the one before, so that it does not take the turns of those that can be seen. Once a provider's gate
//!   was shut, what was in vain before is forgotten: that was why, and it is to be seen when it is back.

use std::time::Duration;

use super::ranking::Explore;
use super::score::Cost;
use super::settings::RankingConfig;
use crate::time::Instant;

/// From a grant until its sample must have come back (published, used, answered, shipped, merged), and how many times
/// that is the interval of publications at least.
const RETURN: Duration = Duration::from_millis(750);
const RETURN_INTERVALS: u32 = 3;
/// On a quiet chain: calls of the row within which the shard must have had one.
const RETURN_CALLS: f64 = 8.0;
/// The longest that a grant may wait for calls.
const RETURN_MAX: Duration = Duration::from_secs(30);
/// How much sooner the turn comes of one that may be the best, and of one that seems to have become it.
const HOPE_HASTE: f64 = 4.0;
const PROMISE_HASTE: f64 = 8.0;
/// Samples that decide about a promising one, and the most that is owed for them.
const PROMISE_SAMPLES: f64 = 4.0;
/// Tokens kept: this many seconds' worth, and at least [`TOKENS_MIN`].
const TOKENS_KEPT_S: f64 = 5.0;
const TOKENS_MIN: f64 = 4.0;
/// The rate of calls is averaged over about this.
const RATE_S: f64 = 2.0;
/// Doublings of the wait after a grant in vain.
const IN_VAIN_MAX: u8 = 5;

/// One provider as the plan sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prospect {
    /// `None`: unknown.
    pub(super) cost: Option<Cost>,
    pub(super) sampled: Option<Instant>,
    /// Attempts ever seen.
    pub(super) attempts: u64,
    /// Whether calls can be sent to it at all.
    pub(super) open: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    tokens: f64,
    calls_per_s: f64,
    /// Between the last two publications.
    interval: Duration,
    grant: Option<Grant>,
    grants: u32,
    turns: Vec<Turn>,
    /// Calls by shard, less what their grants cost: the highest is next.
    shards: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    explore: Explore,
    given: Instant,
    /// Attempts that its provider will have had when all are back.
    attempts: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    granted: Option<Instant>,
    in_vain: u8,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    provider: usize,
    urgency: f64,
    promising: bool,
    /// How many calls it is to get.
    calls: f64,
}

impl Plan {
    /// A shard has had `calls` of this row.
    pub(super) fn on_calls(&mut self, shard: usize, calls: f64) {
        if self.shards.len() <= shard {
            self.shards.resize(shard + 1, 0.0);
        }
        self.shards[shard] += calls;
    }

    /// `calls` have come within `since_last` at all shards. `best` is the leader's cost.
    pub(super) fn next(
        &mut self,
        now: Instant,
        since_last: Duration,
        calls: f64,
        best: Cost,
        prospects: &[Prospect],
        config: &RankingConfig,
    ) -> Explore {
        self.turns.resize(prospects.len(), Turn::default());
        for (turn, _) in self.turns.iter_mut().zip(prospects).filter(|(_, prospect)| !prospect.open) {
            turn.in_vain = 0;
        }
        self.earn(since_last, calls, config);
        let runs = self.grant.is_some_and(|grant| self.runs(now, &grant, prospects));
        let claims = (0..prospects.len()).filter_map(|provider| self.claim(now, provider, best, prospects, config));
        // A grant that runs is replaced only for the sake of a promise.
        let chosen = claims.max_by(|a, b| a.urgency.total_cmp(&b.urgency)).filter(|claim| !runs || claim.promising);
        match chosen {
            Some(claim) => self.give(now, claim, prospects),
            None if !runs => self.grant = None,
            None => {}
        }
        self.grant.map_or(Explore::NOBODY, |grant| grant.explore)
    }

    fn earn(&mut self, since_last: Duration, calls: f64, config: &RankingConfig) {
        self.interval = since_last;
        let seconds = since_last.as_secs_f64().max(1e-3);
        let step = 1.0 - (-seconds / RATE_S).exp();
        self.calls_per_s += (calls / seconds - self.calls_per_s) * step;
        let kept = (config.explore_share * self.calls_per_s * TOKENS_KEPT_S).max(TOKENS_MIN);
        self.tokens = (self.tokens + config.explore_share * calls).min(kept);
    }

    /// Whether `grant` may still bring its sample.
    fn runs(&self, now: Instant, grant: &Grant, prospects: &[Prospect]) -> bool {
        let Some(prospect) = prospects.get(usize::from(grant.explore.provider)) else { return false };
        prospect.open && prospect.attempts < grant.attempts && now.since(grant.given) < self.patience()
    }

    /// How long a grant may take.
    fn patience(&self) -> Duration {
        Duration::from_secs_f64((RETURN_CALLS / self.calls_per_s.max(1e-3)).min(RETURN_MAX.as_secs_f64()))
            .max(RETURN)
            .max(self.interval * RETURN_INTERVALS)
    }

    /// What `provider` may claim now.
    fn claim(
        &self,
        now: Instant,
        provider: usize,
        best: Cost,
        prospects: &[Prospect],
        config: &RankingConfig,
    ) -> Option<Claim> {
        let (prospect, turn) = (prospects[provider], self.turns[provider]);
        let seen_since = |granted: Instant| prospect.sampled.is_some_and(|sampled| sampled > granted);
        let waits = |granted: Instant| {
            !seen_since(granted) && now.since(granted) < self.patience() * (1 << turn.in_vain.min(IN_VAIN_MAX))
        };
        let own = self.grant.filter(|grant| usize::from(grant.explore.provider) == provider);
        let under_way = own.is_some_and(|grant| self.runs(now, &grant, prospects));
        if !prospect.open || under_way || turn.granted.is_some_and(waits) {
            return None;
        }
        let age = prospect.sampled.map_or(config.explore_stale * 2, |sampled| now.since(sampled));
        let rivals = |us: f64| prospect.cost.is_some_and(|cost| us < best.us && cost.us > best.us && !cost.poor);
        let promising = prospect.cost.and_then(|cost| cost.promise_us).is_some_and(rivals);
        let hoped = prospect.cost.is_some_and(|cost| rivals(cost.hope_us));
        let haste = if promising {
            PROMISE_HASTE
        } else if hoped {
            HOPE_HASTE
        } else {
            1.0
        };
        let claim = Claim { provider, urgency: age.as_secs_f64() * haste, promising, calls: 1.0 };
        if age >= config.explore_stale {
            return Some(Claim { promising: false, ..claim });
        }
        if promising {
            let calls = PROMISE_SAMPLES.min(config.explore_burst);
            return (self.tokens > 0.0).then_some(Claim { calls, ..claim });
        }
        let limit_us = best.typical_us * config.explore_factor + config.explore_slack.as_secs_f64() * 1e6;
        let within = prospect.cost.is_some_and(|cost| cost.typical_us <= limit_us && !cost.poor);
        let calls = (config.explore_share * self.calls_per_s * RETURN.as_secs_f64()).floor();
        let calls = calls.min(config.explore_burst).min(self.tokens).max(1.0);
        (within && self.tokens >= 1.0).then_some(Claim { calls, ..claim })
    }

    fn give(&mut self, now: Instant, claim: Claim, prospects: &[Prospect]) {
        let turn = &mut self.turns[claim.provider];
        let came = prospects[claim.provider].sampled;
        let vain = turn.granted.is_some_and(|granted| came.is_none_or(|came| came <= granted));
        turn.in_vain = if vain { (turn.in_vain + 1).min(IN_VAIN_MAX) } else { 0 };
        turn.granted = Some(now);
        self.tokens = (self.tokens - claim.calls).max(-PROMISE_SAMPLES);
        self.grants = self.grants.wrapping_add(1);
        let explore = Explore {
            provider: small(claim.provider),
            shard: u16::try_from(self.shard()).unwrap_or(u16::MAX),
            calls: whole(claim.calls),
            number: self.grants,
        };
        let attempts = prospects[claim.provider].attempts + u64::from(explore.calls);
        self.grant = Some(Grant { explore, given: now, attempts });
    }

    /// The shard whose turn it is: each as often as it has calls.
    fn shard(&mut self) -> usize {
        let total: f64 = self.shards.iter().sum();
        let highest = (0..self.shards.len()).max_by(|&a, &b| self.shards[a].total_cmp(&self.shards[b]));
        self.shards.iter_mut().for_each(|calls| *calls *= SHARDS_FADE);
        let Some(highest) = highest else { return 0 };
        self.shards[highest] -= total * SHARDS_FADE;
        highest
    }
}

/// How much of the old traffic counts at the next turn.
const SHARDS_FADE: f64 = 0.9;

fn small(provider: usize) -> u8 {
    u8::try_from(provider).unwrap_or(u8::MAX)
}

/// At most [`RankingConfig::explore_burst`].
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn whole(calls: f64) -> u8 {
    calls as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(250);

    fn cost(typical_ms: f64) -> Cost {
        let us = typical_ms * 1_500.0;
        Cost { us, hope_us: us * 0.9, promise_us: None, typical_us: typical_ms * 1_000.0, poor: false }
    }

    /// A chain whose first provider has all the traffic; grants are carried out at once.
    struct Chain {
        plan: Plan,
        prospects: Vec<Prospect>,
        now: Instant,
        /// Explored calls by provider, and the longest that each went unseen.
        explored: Vec<u64>,
        unseen: Vec<Duration>,
        done: u32,
    }

    impl Chain {
        fn new(typical_ms: &[f64]) -> Self {
            let prospect = |&ms: &f64| Prospect {
                cost: (ms > 0.0).then(|| cost(ms)),
                sampled: (ms > 0.0).then_some(Instant::START),
                attempts: 0,
                open: true,
            };
            let prospects: Vec<_> = typical_ms.iter().map(prospect).collect();
            let (explored, unseen) = (vec![0; prospects.len()], vec![Duration::ZERO; prospects.len()]);
            Self { plan: Plan::default(), prospects, now: Instant::START, explored, unseen, done: 0 }
        }

        /// `calls` in each interval. Those in `deaf` are never reached by their grants.
        fn play(&mut self, seconds: u64, calls: f64, deaf: &[usize]) {
            let config = RankingConfig::default();
            for _ in 0..seconds * 4 {
                self.now = self.now + INTERVAL;
                self.prospects[0].sampled = Some(self.now);
                self.plan.on_calls(0, calls);
                let best = self.prospects[0].cost.expect("a leader");
                let explore = self.plan.next(self.now, INTERVAL, calls, best, &self.prospects, &config);
                let provider = usize::from(explore.provider);
                if explore.calls > 0 && explore.number != self.done && !deaf.contains(&provider) {
                    self.done = explore.number;
                    let prospect = &mut self.prospects[provider];
                    let unseen = prospect.sampled.map_or(Duration::ZERO, |sampled| self.now.since(sampled));
                    self.unseen[provider] = self.unseen[provider].max(unseen);
                    prospect.sampled = Some(self.now + Duration::from_micros(1));
                    prospect.attempts += u64::from(explore.calls);
                    self.explored[provider] += u64::from(explore.calls);
                }
            }
        }
    }

    #[test]
    fn the_share_holds_and_all_are_seen_at_even_distances() {
        let mut chain = Chain::new(&[30.0, 40.0, 50.0, 60.0]);
        chain.play(100, 12.5, &[]);
        let explored: u64 = chain.explored.iter().sum();
        assert!((95..=104).contains(&explored), "2 % of 5,000: {:?}", chain.explored);
        assert_eq!(chain.explored[0], 0, "who has the traffic needs no look");
        assert!(chain.unseen.iter().all(|&unseen| unseen <= Duration::from_secs(4)), "{:?}", chain.unseen);
    }

    #[test]
    fn who_is_too_slow_is_seen_when_its_evidence_is_old() {
        let mut chain = Chain::new(&[30.0, 40.0, 500.0]);
        chain.play(300, 12.5, &[]);
        assert!((8..=10).contains(&chain.explored[2]), "{:?}", chain.explored);
        assert!(chain.unseen[2] <= Duration::from_secs(31), "{:?}", chain.unseen);
    }

    #[test]
    fn the_unknown_is_seen_at_once_and_on_a_quiet_chain_too() {
        let mut chain = Chain::new(&[30.0, 0.0]);
        chain.play(1, 12.5, &[]);
        assert_eq!(chain.explored[1], 1);
        let mut quiet = Chain::new(&[30.0, 40.0]);
        quiet.play(300, 0.025, &[]);
        assert!(quiet.explored[1] >= 8, "{:?}", quiet.explored);
    }

    #[test]
    fn a_promise_is_looked_into_at_once_and_paid_for_later() {
        let mut chain = Chain::new(&[30.0, 40.0, 50.0]);
        chain.play(20, 12.5, &[]);
        let before = chain.explored.clone();
        chain.prospects[2].cost = Some(Cost { promise_us: Some(10_000.0), ..cost(50.0) });
        chain.play(1, 12.5, &[]);
        assert!(chain.explored[2] >= before[2] + 4, "{:?} after {before:?}", chain.explored);
        chain.prospects[2].cost = Some(cost(50.0));
        chain.play(79, 12.5, &[]);
        let explored: u64 = chain.explored.iter().sum();
        assert!(explored <= 106, "{explored}");
    }

    #[test]
    fn grants_in_vain_leave_the_turns_to_others() {
        let mut chain = Chain::new(&[30.0, 40.0, 0.0]);
        chain.play(100, 12.5, &[2]);
        assert!(chain.explored[1] > 70, "{:?}", chain.explored);
    }

    #[test]
    fn who_was_shut_is_seen_soon_after_whatever_was_in_vain() {
        let mut chain = Chain::new(&[30.0, 40.0, 0.0]);
        chain.play(100, 12.5, &[2]);
        chain.prospects[2].open = false;
        chain.play(1, 12.5, &[]);
        chain.prospects[2].open = true;
        chain.play(2, 12.5, &[]);
        assert_eq!(chain.explored[2], 1);
    }

    #[test]
    fn shards_have_grants_as_they_have_calls() {
        let mut plan = Plan::default();
        let mut grants = [0_u32; 3];
        for _ in 0..1000 {
            for (shard, calls) in [(0, 6.0), (1, 3.0), (2, 1.0)] {
                plan.on_calls(shard, calls);
            }
            grants[plan.shard()] += 1;
        }
        assert!(grants[0].abs_diff(600) < 50 && grants[1].abs_diff(300) < 50 && grants[2] > 50, "{grants:?}");
    }
}
