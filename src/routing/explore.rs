//! Whom to ask for evidence alone, and how often: the plan of one row, made at each publication.
//!
//! Who is never asked is never known, and the best provider of tomorrow is among those not asked today. So a share of calls
//! goes to others. It is spent where it teaches most:
//!
//! - **Tokens.** Each call earns [`RankingConfig::explore_share`] of a token, and some seconds' worth are kept. A token is an explored call.
//! - **Grants.** One at a time: a provider, a shard, a number of calls. It goes to one shard, named in turn by traffic, and that shard
//!   sends its next calls there: nothing is drawn, so that a token is a sample, a fraction of a second later. The next grant is given when the
//!   sample has come back, or has had its time.
//! - **Turns.** The grant goes to whoever has gone longest without a sample, so that all are seen at even distances. Who
//!   gets traffic anyway needs none.
//! - **Promise.** One whose [hope](super::score) is below the best's cost waits an eighth as long, and gets several samples
//!   at once, on credit where need be: a provider that has become better is found out within a second or two of its first
//!   surprising answer. Debts are paid by fewer explored calls later: the share holds over time.
//! - **Budget.** One whose calls are expected to take longer than the best's times [`RankingConfig::explore_factor`] gets none
//!   (expected, not as ranked: thin evidence is ranked dearer, and must not be kept thin by that) ...
//! - **No starving.** ... unless it has not been seen for [`RankingConfig::explore_stale`], or never: then it gets a grant
//!   whether there are tokens or not. On a chain with traffic nobody stays unseen longer than that and the time of
//!   some calls per provider, as grants go one by one.
//! - **In vain.** A grant that brings no sample (its tier is not in use, its shard has no such calls) is repeated after twice the
//!   time of the one before, so that it does not take the turns of those that can be seen.

use std::time::Duration;

use super::ranking::Explore;
use super::score::Cost;
use super::settings::RankingConfig;
use crate::time::Instant;

/// From a grant until its sample must have come back: published, used, answered, shipped, merged.
const RETURN: Duration = Duration::from_millis(750);
/// On a quiet chain: calls of the row within which the shard must have had one.
const RETURN_CALLS: f64 = 8.0;
/// The longest that a grant may wait for calls.
const RETURN_MAX: Duration = Duration::from_secs(30);
/// How much sooner a promising provider's turn comes.
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
        Duration::from_secs_f64((RETURN_CALLS / self.calls_per_s.max(1e-3)).min(RETURN_MAX.as_secs_f64())).max(RETURN)
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
        let promising = prospect.cost.is_some_and(|cost| cost.hope_us < best.us && cost.us > best.us && !cost.poor);
        let haste = if promising { PROMISE_HASTE } else { 1.0 };
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
