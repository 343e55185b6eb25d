//! A provider's breaker: stops sending calls to a provider whose transport fails again and again.
//!
//! Like the fuse in a house: a *run* of transport failures with no success between them opens it, and calls go
//! elsewhere at once instead of each finding out by itself. So does a *ratio* of failures that is too high over the calls
//! of all shards, which control counts. After a while a call or a few, the *trials*, are let through. Answers close the
//! breaker, and traffic comes back little by little; a failure opens it again for twice as long, up to a limit.
//!
//! ```text
//!             a run of `failures`,           retry time reached,
//!             a ratio over a window          a call claims a trial
//!   Closed ──────────────────────▶ Open ──────────────────────────▶ HalfOpen
//!     ▲  a run, a ratio ┌──────────▲ ▲                                │  │
//!     │                 │          │ └──────── a trial fails ─────────┘  │
//!     └───────────── Easing ◀──────┴── any success, or enough of trials ─┘
//!       ramp is over,              after a run: any success
//!       and an answer came
//! ```
//!
//! **One word, all shards.** All of it is packed in one `AtomicU64` ([`word`]) that every shard reads before a call. Success
//! writes nothing unless it ends a run or changes the state, so in good times the line stays shared in every core's cache.
//!
//! **Memory order.** `Relaxed` throughout: the word is the whole state and guards no other memory, so nothing needs to
//! become visible *with* it; that changes are not lost comes from compare-and-swap alone, which is atomic at any order.
//! A shard that reads an old word sends one call more or less, as it would had it read a moment earlier. The loops are
//! bounded by [`WORD_TRIES_MAX`](crate::limits::WORD_TRIES_MAX); news that lost them all is dropped, as the winners have said what there was to say.
//!
//! **Whose word counts.**
//! - A run says that nothing comes through, and one answer disproves it. Opened by a run, it is closed by a success from
//!   any state, whoever brings it: bytes have just arrived. That includes calls sent before it opened, and those sent
//!   through a closed gate because no other provider was left. One trial at a time is enough.
//! - A ratio says that much does not come through, and one answer disproves nothing. Opened by a ratio, it is closed by trials
//!   alone, once several have succeeded with no failure between; as many may run at once as are still needed.
//! - While open, failures are ignored: the rest of the burst that opened it must not drive up the back-off.
//! - While half-open, only a present trial's failure counts; others are late news of the time before.
//! - A trial that reports nothing (its client left, its task was dropped, the answer was a rate limit) holds its place until
//!   [`TRIAL_LEASE`] after the last claim of its round and no longer: nothing needs to run for the place to become free, so
//!   nothing can forget to. The next round has another epoch, and a failure out of the one before no longer counts; but those
//!   still under way when one of them opens it again keep their places until they end or the next round's leases do.
//! - The counts of a ratio must begin after it last closed ([`Breaker::closed_at`]): what opened it once must not do so again.
//!
//! **Easing.** A provider that has just come back has cold caches, and all shards' traffic at once is how it went down. The share
//! of calls that it gets grows from a first share to all of them over the ramp. It is a function of the word, the moment and a
//! draw, so shards agree on it and nobody writes; a failing run or ratio opens it again, for longer than before.
//!
//! Times are whole milliseconds, a retry time rounded up: never early. 40 bits of them last 34 years. Jitter shortens a wait, so
//! that the cap is one and nodes that waited together do not come back together.

#[cfg(test)]
mod interleaving;
mod word;

use std::time::Duration;

use self::word::{OPENINGS_MAX, RUN_MAX, State, TRIALS_MAX, Trials, Word, ceil_ms, floor_ms, from_ms};
use super::random::Random;
use crate::time::Instant;
use crate::word::SharedWord;

/// How long a trial holds its place without a word. Longer than most classes' deadlines, so that trials rarely overlap;
/// short enough that a client that hangs up costs a provider little.
pub const TRIAL_LEASE: Duration = Duration::from_secs(10);

/// When it opens, for how long, and how it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Transport failures in a row that open it, 1 to 1023; beyond is taken as the nearest. One cut connection is noise.
    pub failures: u32,
    /// How long it stays open the first time; doubles with each time that it opens again before it has closed in full.
    /// A process restarts within the default.
    pub cooldown: Duration,
    /// A provider that is back serves again within about this.
    pub cooldown_max: Duration,
    /// The part of a wait that a draw may take off it, 0 to 100: a fifth spreads the nodes of a fleet over seconds.
    pub jitter_percent: u32,
    /// Failures among a window's calls that open it: at half, a second attempt is what most calls need.
    pub ratio_percent: u32,
    /// Calls below which a window's ratio says nothing: of twenty good ones, half do not fail by chance.
    pub ratio_calls_min: u64,
    /// Successes that end what a ratio began, 1 to 7; as many calls may find out at once. Of one that fails every second
    /// call, one in eight passes three. What a run began ends with one, and one at a time finds out.
    pub trials: u32,
    /// Over how long traffic comes back; zero: at once. A pool is warm, and a bad one found out, within it.
    pub ramp: Duration,
    /// The share of its calls that it gets at first, 0 to 100: enough to be measured by.
    pub ramp_first_percent: u32,
}

impl BreakerConfig {
    /// The reasons stand with the fields.
    pub const DEFAULT: Self = Self {
        failures: 5,
        cooldown: Duration::from_secs(5),
        cooldown_max: Duration::from_mins(1),
        jitter_percent: 20,
        ratio_percent: 50,
        ratio_calls_min: 20,
        trials: 3,
        ramp: Duration::from_secs(10),
        ramp_first_percent: 10,
    };
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether a call may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Yes,
    /// One call may, if it can [claim a trial](Breaker::claim_trial).
    Trial,
    No {
        until: Instant,
    },
}

/// A call that finds out whether the provider is back. It is given to one caller, and handed in with its outcome.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a trial that is not reported holds its place until its lease ends"]
pub struct Trial {
    epoch: u8,
}

/// A change of state, told once, to the shard that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    Opened {
        until: Instant,
    },
    HalfOpened,
    /// Traffic comes back. That the ramp is over is no change: it is over for all at the same moment, and nobody says so.
    Closed,
}

/// Calls of all shards to one provider that have ended since a moment, and those of them whose transport failed. Refusals
/// for a rate are none of either. Whoever counts by what shards ship allows for the time that it was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureCounts {
    pub since: Instant,
    pub failures: u64,
    pub calls: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Breaker(SharedWord);

impl Breaker {
    #[must_use]
    pub const fn new() -> Self {
        Self(SharedWord::new(0))
    }

    /// Whether all calls may be sent. Reads only.
    #[inline]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        Word::is_closed(self.0.get())
    }

    /// Whether a call may be sent. Reads only.
    #[must_use]
    pub fn admits(&self, now: Instant) -> Admission {
        let packed = self.0.get();
        if Word::is_closed(packed) {
            return Admission::Yes;
        }
        let word = Word::unpack(packed);
        let place_left = word.state == State::HalfOpen && word.trials.left > 0;
        if place_left || floor_ms(now) >= word.when_ms {
            Admission::Trial
        } else {
            Admission::No { until: from_ms(word.when_ms) }
        }
    }

    /// Whether a call that it [admits](Breaker::admits) should go to others, if there are any, since traffic is still
    /// ramping up. `draw`: any 64 even bits, the same for all looks of one call at one provider. Reads only.
    #[inline]
    #[must_use]
    pub fn holds_back(&self, now: Instant, draw: u64, config: &BreakerConfig) -> bool {
        let packed = self.0.get();
        !Word::is_at_rest(packed) && Word::unpack(packed).holds_back(now, draw, config)
    }

    /// Takes a trial's place where [`Breaker::admits`] said [`Admission::Trial`] and nobody was faster.
    pub fn claim_trial(&self, now: Instant) -> Option<(Trial, Option<Transition>)> {
        let (before, after) = self.update(|word| {
            let over = floor_ms(now) >= word.when_ms;
            let Trials { needed, left, .. } = word.trials;
            let (epoch, left) = match word.state {
                State::Open if over => (word.epoch.wrapping_add(1), left),
                State::HalfOpen if over => (word.epoch.wrapping_add(1), needed),
                State::HalfOpen if left > 0 => (word.epoch, left),
                State::Closed | State::Easing | State::Open | State::HalfOpen => return None,
            };
            let trials = Trials { left: left.saturating_sub(1), ..word.trials };
            // Shards' clocks differ a little: a lease is never shortened.
            let when_ms = if over { ceil_ms(now + TRIAL_LEASE) } else { word.when_ms.max(ceil_ms(now + TRIAL_LEASE)) };
            Some(Word { state: State::HalfOpen, trials, epoch, when_ms, ..word })
        })?;
        let change = (before.state == State::Open).then_some(Transition::HalfOpened);
        Some((Trial { epoch: after.epoch }, change))
    }

    /// Gives a trial's place back: it ended before it could show anything. The next call may take it at once.
    pub fn release_trial(&self, trial: &Trial) {
        self.update(|word| word.freed(Some(trial)));
    }

    /// The provider answered, a trial or any other call.
    pub fn on_success(&self, now: Instant, trial: Option<&Trial>, config: &BreakerConfig) -> Option<Transition> {
        if Word::is_at_rest(self.0.get()) {
            return None;
        }
        self.on_success_after_trouble(now, trial, config)
    }

    /// Apart and never inlined, so that the success of good times stays a few instructions.
    #[cold]
    #[inline(never)]
    fn on_success_after_trouble(
        &self,
        now: Instant,
        trial: Option<&Trial>,
        config: &BreakerConfig,
    ) -> Option<Transition> {
        let (before, after) = self.update(|word| match word.state {
            State::Closed => (word.run > 0).then(|| word.closed()),
            State::Easing if word.is_ramp_over(now, config) => Some(word.closed()),
            State::Easing => (word.run > 0).then_some(Word { run: 0, ..word }),
            State::Open | State::HalfOpen if !word.trials.by_ratio => Some(word.ended(now, config)),
            // One less is needed and one less under way: the places left are as many.
            State::HalfOpen if word.has(trial) => Some(match word.trials.needed {
                0 | 1 => word.ended(now, config),
                needed => Word { trials: Trials { needed: needed - 1, ..word.trials }, ..word },
            }),
            State::Open => word.freed(trial),
            State::HalfOpen => None,
        })?;
        let was_out = matches!(before.state, State::Open | State::HalfOpen);
        let is_back = matches!(after.state, State::Closed | State::Easing);
        (was_out && is_back).then_some(Transition::Closed)
    }

    /// The transport failed, on a trial or on any other call. `draw`: any number; it spreads the moments of retry.
    pub fn on_failure(
        &self,
        now: Instant,
        trial: Option<&Trial>,
        config: &BreakerConfig,
        draw: u64,
    ) -> Option<Transition> {
        let (before, after) = self.update(|word| match word.state {
            State::Closed | State::Easing => {
                let run = word.run.saturating_add(1).min(RUN_MAX);
                let opens = u32::from(run) >= config.failures.min(RUN_MAX.into());
                Some(if opens { word.opened(now, false, config, draw) } else { Word { run, ..word } })
            }
            State::Open => word.freed(trial),
            State::HalfOpen => word.has(trial).then(|| word.opened(now, word.trials.by_ratio, config, draw)),
        })?;
        if before.state == State::Open { None } else { after.opening() }
    }

    /// What control has counted over all shards. Opens it when too much of it failed.
    pub fn on_counts(
        &self,
        now: Instant,
        counts: &FailureCounts,
        config: &BreakerConfig,
        draw: u64,
    ) -> Option<Transition> {
        let enough = counts.calls >= config.ratio_calls_min.max(1);
        let too_many = u128::from(counts.failures) * 100 >= u128::from(counts.calls) * u128::from(config.ratio_percent);
        if !(enough && too_many && counts.failures > 0) {
            return None;
        }
        let (_, after) = self.update(|word| {
            let closed = matches!(word.state, State::Closed | State::Easing);
            let fresh = floor_ms(counts.since) >= word.when_ms;
            (closed && fresh).then(|| word.opened(now, true, config, draw))
        })?;
        after.opening()
    }

    /// When it last closed: the start for whoever has never failed, none while it is open or half-open. Counts are to
    /// begin at it or later.
    #[must_use]
    pub fn closed_at(&self) -> Option<Instant> {
        let packed = self.0.get();
        Word::is_closed(packed).then(|| from_ms(Word::unpack(packed).when_ms))
    }

    /// The share of its calls that it gets, for pages: 1 when it is closed in full, 0 when it is out.
    #[must_use]
    pub fn share(&self, now: Instant, config: &BreakerConfig) -> f64 {
        let word = Word::unpack(self.0.get());
        match word.state {
            State::Closed => 1.0,
            State::Easing => {
                u32::try_from(word.share(now, config)).map_or(1.0, |share| f64::from(share) / SHARE_ALL_F64)
            }
            State::Open | State::HalfOpen => 0.0,
        }
    }

    /// Changes the word by `change`, until it holds or `change` sees nothing to do. Before and after.
    fn update(&self, change: impl Fn(Word) -> Option<Word>) -> Option<(Word, Word)> {
        let (before, after) = self.0.change(|seen| change(Word::unpack(seen)).map(Word::pack))?;
        Some((Word::unpack(before), Word::unpack(after)))
    }
}

/// All calls, as a share: draws have 32 bits.
const SHARE_ALL: u64 = 1 << 32;
const SHARE_ALL_F64: f64 = 4_294_967_296.0;

impl Word {
    /// Whether `trial` is one of the present round.
    fn has(self, trial: Option<&Trial>) -> bool {
        self.state == State::HalfOpen && trial.is_some_and(|trial| trial.epoch == self.epoch)
    }

    /// The same with the place of `trial` free again, if it had one.
    fn freed(self, trial: Option<&Trial>) -> Option<Self> {
        let out = matches!(self.state, State::Open | State::HalfOpen);
        let Trials { left, needed, .. } = self.trials;
        let had = out && trial.is_some_and(|trial| trial.epoch == self.epoch) && left < needed;
        had.then(|| Self { trials: Trials { left: left + 1, ..self.trials }, ..self })
    }

    /// Open from now on, for twice as long as the time before, less what the draw takes off.
    fn opened(self, now: Instant, by_ratio: bool, config: &BreakerConfig, draw: u64) -> Self {
        let openings = self.openings.saturating_add(1).min(OPENINGS_MAX);
        let length = jittered(back_off(config.cooldown, config.cooldown_max, openings), config.jitter_percent, draw);
        let several = u8::try_from(config.trials).unwrap_or(TRIALS_MAX).clamp(1, TRIALS_MAX);
        let needed = if by_ratio { several } else { 1 };
        // Half-open, one of those under way has just failed, and the others are still to end.
        let Trials { needed: had, left, .. } = self.trials;
        let under_way = if self.state == State::HalfOpen { had.saturating_sub(left + 1) } else { 0 };
        let trials = Trials { by_ratio, left: needed.saturating_sub(under_way).max(1), needed };
        Self { state: State::Open, run: 0, trials, openings, epoch: self.epoch, when_ms: ceil_ms(now + length) }
    }

    /// Closed again, with a ramp or without one.
    fn ended(self, now: Instant, config: &BreakerConfig) -> Self {
        if config.ramp.is_zero() { self.eased(now).closed() } else { self.eased(now) }
    }

    fn is_ramp_over(self, now: Instant, config: &BreakerConfig) -> bool {
        now.since(from_ms(self.when_ms)) >= config.ramp
    }

    /// Apart, as [`Breaker::on_success`] has it.
    #[cold]
    #[inline(never)]
    fn holds_back(self, now: Instant, draw: u64, config: &BreakerConfig) -> bool {
        self.state == State::Easing && draw >> 32 >= self.share(now, config)
    }

    /// While easing: the part of [`SHARE_ALL`] that it gets.
    fn share(self, now: Instant, config: &BreakerConfig) -> u64 {
        let ramp = micros(config.ramp).max(1);
        let elapsed = micros(now.since(from_ms(self.when_ms))).min(ramp);
        let grown = u128::from(elapsed) * u128::from(SHARE_ALL) / u128::from(ramp);
        let first = u64::from(config.ramp_first_percent.min(100)) * SHARE_ALL / 100;
        u64::try_from(grown).map_or(SHARE_ALL, |grown| grown.max(first))
    }

    fn opening(self) -> Option<Transition> {
        (self.state == State::Open).then(|| Transition::Opened { until: from_ms(self.when_ms) })
    }
}

/// `first`, doubled with each time after the first (`times` counts from 1), at most `max`.
pub(super) fn back_off(first: Duration, max: Duration, times: u8) -> Duration {
    let doublings = u32::from(times.saturating_sub(1)).min(31);
    first.saturating_mul(1 << doublings).min(max)
}

/// `length` less up to `percent` of it, as `draw` has it.
pub(super) fn jittered(length: Duration, percent: u32, draw: u64) -> Duration {
    // Mixed, so that a counter will do for a draw.
    let drawn = Random::new(draw).next_u64() >> 32;
    let length_us = micros(length);
    let off = u128::from(length_us) * u128::from(percent.min(100)) * u128::from(drawn) / (100 << 32);
    Duration::from_micros(length_us.saturating_sub(u64::try_from(off).unwrap_or(length_us)))
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        failures: 3,
        cooldown: Duration::from_secs(1),
        cooldown_max: Duration::from_secs(10),
        jitter_percent: 0,
        ratio_percent: 50,
        ratio_calls_min: 20,
        trials: 2,
        ramp: Duration::from_secs(4),
        ramp_first_percent: 25,
    };

    fn ms(ms: u64) -> Instant {
        from_ms(ms)
    }

    fn fail(breaker: &Breaker, now: Instant, trial: Option<&Trial>) -> Option<Transition> {
        breaker.on_failure(now, trial, &CONFIG, 0)
    }

    fn succeed(breaker: &Breaker, now: Instant, trial: Option<&Trial>) -> Option<Transition> {
        breaker.on_success(now, trial, &CONFIG)
    }

    fn open_at(now: Instant) -> Breaker {
        let breaker = Breaker::new();
        for _ in 0..CONFIG.failures {
            fail(&breaker, now, None);
        }
        breaker
    }

    fn counts(since_ms: u64, failures: u64, calls: u64) -> FailureCounts {
        FailureCounts { since: ms(since_ms), failures, calls }
    }

    fn open_by_ratio_at(now_ms: u64) -> Breaker {
        let breaker = Breaker::new();
        let opened = breaker.on_counts(ms(now_ms), &counts(0, 10, 20), &CONFIG, 0);
        assert_eq!(opened, Some(Transition::Opened { until: ms(now_ms + 1000) }));
        breaker
    }

    #[test]
    fn a_run_opens_it_and_a_success_between_starts_the_run_anew() {
        let breaker = Breaker::new();
        for _ in 0..10 {
            assert_eq!(fail(&breaker, ms(0), None), None);
            assert_eq!(fail(&breaker, ms(0), None), None);
            assert_eq!(succeed(&breaker, ms(0), None), None);
        }
        assert_eq!(breaker.admits(ms(0)), Admission::Yes);
        fail(&breaker, ms(5), None);
        fail(&breaker, ms(5), None);
        let opened = Transition::Opened { until: ms(1005) };
        assert_eq!(fail(&breaker, ms(5), None), Some(opened));
        assert_eq!(breaker.admits(ms(1004)), Admission::No { until: ms(1005) });
        assert_eq!(breaker.admits(ms(1005)), Admission::Trial);
    }

    #[test]
    fn a_ratio_of_enough_calls_opens_it() {
        // Failures, calls → opens.
        for (failures, calls, opens) in
            [(10, 20, true), (9, 20, false), (9, 9, false), (500, 1000, true), (499, 1000, false), (0, 0, false)]
        {
            let breaker = Breaker::new();
            let opened = breaker.on_counts(ms(7), &counts(0, failures, calls), &CONFIG, 0);
            assert_eq!(opened.is_some(), opens, "{failures} of {calls}");
        }
        let never = BreakerConfig { ratio_percent: 0, ratio_calls_min: 0, ..CONFIG };
        assert_eq!(Breaker::new().on_counts(ms(7), &counts(0, 0, 0), &never, 0), None, "no failure, no opening");
    }

    #[test]
    fn counts_from_before_it_closed_do_not_open_it_again() {
        let breaker = open_at(ms(0));
        assert_eq!(breaker.closed_at(), None);
        assert_eq!(breaker.on_counts(ms(10), &counts(0, 20, 20), &CONFIG, 0), None, "it is open already");
        assert_eq!(succeed(&breaker, ms(500), None), Some(Transition::Closed));
        assert_eq!(breaker.closed_at(), Some(ms(500)));
        assert_eq!(breaker.on_counts(ms(600), &counts(499, 20, 20), &CONFIG, 0), None);
        assert_eq!(succeed(&breaker, ms(5000), None), None, "closed in full");
        assert_eq!(breaker.on_counts(ms(5000), &counts(499, 20, 20), &CONFIG, 0), None);
        assert!(breaker.on_counts(ms(5000), &counts(500, 20, 20), &CONFIG, 0).is_some());
    }

    #[test]
    fn what_a_ratio_opened_is_closed_by_enough_trials_alone() {
        let breaker = open_by_ratio_at(0);
        assert_eq!(succeed(&breaker, ms(10), None), None, "one answer disproves no ratio");
        let (first, _) = breaker.claim_trial(ms(1000)).unwrap();
        let (second, _) = breaker.claim_trial(ms(1000)).unwrap();
        assert_eq!(succeed(&breaker, ms(1010), None), None);
        assert_eq!(succeed(&breaker, ms(1010), Some(&first)), None, "one of two");
        assert_eq!(succeed(&breaker, ms(1010), Some(&second)), Some(Transition::Closed));

        let fails = open_by_ratio_at(0);
        let (first, _) = fails.claim_trial(ms(1000)).unwrap();
        let (second, _) = fails.claim_trial(ms(1000)).unwrap();
        succeed(&fails, ms(1010), Some(&first));
        assert_eq!(fail(&fails, ms(1020), Some(&second)), Some(Transition::Opened { until: ms(3020) }));
        let (one, _) = fails.claim_trial(ms(3020)).unwrap();
        assert_eq!(succeed(&fails, ms(3030), Some(&one)), None, "what succeeded before counts no more");
    }

    #[test]
    fn failed_trials_double_the_wait_up_to_the_limit() {
        let breaker = open_at(ms(0));
        let mut now = ms(1000);
        for wait_ms in [2000, 4000, 8000, 10_000, 10_000] {
            let (trial, change) = breaker.claim_trial(now).unwrap();
            assert_eq!(change, Some(Transition::HalfOpened));
            let until = now + Duration::from_millis(wait_ms);
            assert_eq!(fail(&breaker, now, Some(&trial)), Some(Transition::Opened { until }));
            now = until;
        }
        let _trial = breaker.claim_trial(now).unwrap();
        assert_eq!(succeed(&breaker, now, None), Some(Transition::Closed));
        // An answer after the ramp ends the back-off.
        let ramped = now + CONFIG.ramp;
        succeed(&breaker, ramped, None);
        let opened = (0..3).filter_map(|_| fail(&breaker, ramped, None)).count();
        assert_eq!(opened, 1);
        assert_eq!(breaker.admits(ramped), Admission::No { until: ramped + CONFIG.cooldown });
    }

    #[test]
    fn reopening_within_the_ramp_waits_longer() {
        let breaker = open_at(ms(0));
        succeed(&breaker, ms(1000), None);
        fail(&breaker, ms(2000), None);
        fail(&breaker, ms(2000), None);
        assert_eq!(fail(&breaker, ms(2000), None), Some(Transition::Opened { until: ms(4000) }));
        succeed(&breaker, ms(4000), None);
        let opened = breaker.on_counts(ms(5000), &counts(4000, 20, 20), &CONFIG, 0);
        assert_eq!(opened, Some(Transition::Opened { until: ms(9000) }));
    }

    #[test]
    fn traffic_comes_back_little_by_little() {
        let breaker = open_at(ms(0));
        succeed(&breaker, ms(1000), None);
        let draws = || (0..100).map(|part| part * (u64::MAX / 100) + u64::MAX / 200);
        // Time → percent of draws that pass.
        for (at, percent) in [(1000, 25), (1500, 25), (2000, 25), (3000, 50), (4000, 75), (5000, 100), (90_000, 100)] {
            assert_eq!(breaker.admits(ms(at)), Admission::Yes);
            let passed = draws().filter(|draw| !breaker.holds_back(ms(at), *draw, &CONFIG)).count();
            assert_eq!(passed, percent, "at {at}");
            let share = breaker.share(ms(at), &CONFIG) * 100.0;
            assert!((share - f64::from(u32::try_from(percent).unwrap())).abs() < 0.01, "at {at}");
        }
        let at_once = BreakerConfig { ramp: Duration::ZERO, ..CONFIG };
        let breaker = open_at(ms(0));
        breaker.on_success(ms(1000), None, &at_once);
        assert!(!breaker.holds_back(ms(1000), u64::MAX, &at_once));
        assert!(!Breaker::new().holds_back(ms(0), u64::MAX, &CONFIG));
    }

    #[test]
    fn in_good_times_a_success_writes_nothing() {
        let breaker = open_at(ms(0));
        succeed(&breaker, ms(1000), None);
        let easing = breaker.0.get();
        succeed(&breaker, ms(2000), None);
        assert_eq!(breaker.0.get(), easing);
        succeed(&breaker, ms(5000), None);
        let closed = breaker.0.get();
        assert_ne!(closed, easing, "the end of the ramp is written once");
        succeed(&breaker, ms(6000), None);
        assert_eq!(breaker.0.get(), closed);
    }

    #[test]
    fn jitter_shortens_within_its_part() {
        let length = Duration::from_secs(100);
        let drawn: Vec<_> = (0..1000).map(|draw| jittered(length, 20, draw)).collect();
        assert!(drawn.iter().all(|wait| *wait > Duration::from_secs(80) && *wait <= length));
        assert!(drawn.iter().any(|wait| *wait < Duration::from_secs(81)));
        assert!(drawn.iter().any(|wait| *wait > Duration::from_secs(99)));
        assert_eq!(jittered(length, 0, 7), length);
        assert_eq!(jittered(Duration::MAX, 0, 7), Duration::from_micros(u64::MAX));
        assert!(jittered(Duration::MAX, u32::MAX, 7) < Duration::from_micros(u64::MAX));
    }

    #[test]
    fn the_burst_that_opened_it_does_not_lengthen_it() {
        let breaker = open_at(ms(0));
        for _ in 0..100 {
            assert_eq!(fail(&breaker, ms(500), None), None);
        }
        assert_eq!(breaker.admits(ms(1000)), Admission::Trial);
    }

    #[test]
    fn late_failures_of_others_do_not_end_a_trial() {
        let breaker = open_at(ms(0));
        let _one = breaker.claim_trial(ms(1000)).unwrap();
        assert_eq!(fail(&breaker, ms(1001), None), None);
        assert_eq!(breaker.claim_trial(ms(1001)), None, "one at a time, after a run");
        assert_eq!(succeed(&breaker, ms(1002), None), Some(Transition::Closed));
    }

    #[test]
    fn forgotten_trials_hold_their_places_for_their_lease_only() {
        let breaker = open_by_ratio_at(0);
        let (forgotten, _) = breaker.claim_trial(ms(1000)).unwrap();
        let (_other, _) = breaker.claim_trial(ms(3000)).unwrap();
        assert_eq!(breaker.admits(ms(12_999)), Admission::No { until: ms(13_000) });
        let (_trial, change) = breaker.claim_trial(ms(13_000)).unwrap();
        assert_eq!(change, None, "it was half-open already");
        assert_eq!(fail(&breaker, ms(13_001), Some(&forgotten)), None);
    }

    #[test]
    fn a_released_trial_is_free_at_once() {
        let breaker = open_at(ms(0));
        let (first, _) = breaker.claim_trial(ms(1000)).unwrap();
        breaker.release_trial(&first);
        let (second, _) = breaker.claim_trial(ms(1001)).unwrap();
        assert_eq!(breaker.claim_trial(ms(1001)), None);
        let _next_round = breaker.claim_trial(ms(11_001)).unwrap();
        breaker.release_trial(&second);
        assert_eq!(breaker.claim_trial(ms(11_002)), None, "an old trial frees nobody's place");
    }

    #[test]
    fn those_under_way_when_it_opens_again_keep_their_places() {
        let two_under_way = || {
            let breaker = open_by_ratio_at(0);
            let (first, _) = breaker.claim_trial(ms(1000)).unwrap();
            let (second, _) = breaker.claim_trial(ms(1000)).unwrap();
            fail(&breaker, ms(1000), Some(&first));
            (breaker, second)
        };
        let (runs, second) = two_under_way();
        let _third = runs.claim_trial(ms(3000)).unwrap();
        assert_eq!(runs.claim_trial(ms(3000)), None, "the second still runs");
        assert_eq!(fail(&runs, ms(3001), Some(&second)), None, "late news");

        let (ends, second) = two_under_way();
        assert_eq!(fail(&ends, ms(1500), Some(&second)), None);
        assert_eq!(ends.admits(ms(2999)), Admission::No { until: ms(3000) }, "it changed no more than its place");
        let _one = ends.claim_trial(ms(3000)).unwrap();
        assert!(ends.claim_trial(ms(3000)).is_some());
    }

    #[test]
    fn it_never_admits_early() {
        let breaker = open_at(Instant::from_micros(1));
        let due = Instant::from_micros(1) + CONFIG.cooldown;
        assert!(matches!(breaker.admits(due), Admission::No { .. }));
        assert_eq!(breaker.admits(ms(1001)), Admission::Trial);
    }

    #[test]
    fn extreme_values_saturate() {
        let config = BreakerConfig {
            failures: u32::MAX,
            cooldown: Duration::MAX,
            cooldown_max: Duration::MAX,
            jitter_percent: u32::MAX,
            ratio_percent: u32::MAX,
            ratio_calls_min: u64::MAX,
            trials: u32::MAX,
            ramp: Duration::MAX,
            ramp_first_percent: u32::MAX,
        };
        let breaker = Breaker::new();
        let fail = |_| breaker.on_failure(Instant::NEVER, None, &config, u64::MAX);
        assert_eq!((0..RUN_MAX).filter_map(fail).count(), 1);
        breaker.on_success(Instant::NEVER, None, &config);
        assert!(!breaker.holds_back(Instant::NEVER, u64::MAX, &config), "the first share is all of it");
        let all = FailureCounts { since: Instant::NEVER, failures: u64::MAX, calls: u64::MAX };
        assert_eq!(breaker.on_counts(Instant::NEVER, &all, &config, 0), None);
        let zero = BreakerConfig { failures: 0, trials: 0, ratio_calls_min: 0, ratio_percent: 0, ..CONFIG };
        let breaker = Breaker::new();
        assert!(breaker.on_failure(ms(0), None, &zero, 0).is_some());
        assert!(breaker.claim_trial(ms(1000)).is_some(), "one trial at the least");
    }

    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    enum Phase {
        #[default]
        Closed,
        Easing,
        Open,
        HalfOpen,
    }

    /// What the word means, in plain fields: trials by their names, and times that do not round.
    #[derive(Debug, Default)]
    struct Model {
        phase: Phase,
        by_ratio: bool,
        /// Trials that hold a place: under way or forgotten.
        trials: Vec<usize>,
        /// Those of the present round, ended or not.
        round: Vec<usize>,
        needed: usize,
        when: u64,
        run: u32,
        openings: u32,
    }

    impl Model {
        fn is_out(&self) -> bool {
            matches!(self.phase, Phase::Open | Phase::HalfOpen)
        }

        fn open(&mut self, now: u64, by_ratio: bool) {
            let openings = self.openings + 1;
            let when = now + (1000 << (openings - 1).min(10)).min(10_000);
            let (trials, round) = (std::mem::take(&mut self.trials), std::mem::take(&mut self.round));
            let needed = if by_ratio { CONFIG.trials as usize } else { 1 };
            *self = Self { phase: Phase::Open, by_ratio, trials, round, needed, when, run: 0, openings };
        }

        fn close(&mut self, now: u64) {
            *self = Self { phase: Phase::Easing, openings: self.openings, when: now, ..Self::default() };
        }

        fn fail(&mut self, now: u64, trial: Option<usize>) -> bool {
            let opens = match self.phase {
                Phase::Closed | Phase::Easing => {
                    self.run += 1;
                    self.run == CONFIG.failures
                }
                Phase::Open => false,
                Phase::HalfOpen => trial.is_some_and(|trial| self.round.contains(&trial)),
            };
            self.end(trial);
            if opens {
                let by_ratio = self.phase == Phase::HalfOpen && self.by_ratio;
                self.open(now, by_ratio);
            }
            opens
        }

        /// A trial of the present round gives its place back.
        fn end(&mut self, trial: Option<usize>) {
            let round = &self.round;
            self.trials.retain(|one| Some(*one) != trial || !round.contains(one));
        }

        fn succeed(&mut self, now: u64, trial: Option<usize>) -> bool {
            let of_round = self.phase == Phase::HalfOpen && trial.is_some_and(|trial| self.round.contains(&trial));
            match self.phase {
                Phase::Easing if now - self.when >= 4000 => *self = Self { when: self.when, ..Self::default() },
                Phase::Closed | Phase::Easing => self.run = 0,
                Phase::Open | Phase::HalfOpen => {
                    self.end(trial);
                    self.needed -= usize::from(self.by_ratio && of_round);
                    if !self.by_ratio || self.needed == 0 {
                        self.close(now);
                        return true;
                    }
                }
            }
            false
        }

        fn admits(&self, now: u64) -> Admission {
            let place = self.phase == Phase::HalfOpen && self.trials.len() < self.needed;
            match self.is_out() {
                false => Admission::Yes,
                true if place || now >= self.when => Admission::Trial,
                true => Admission::No { until: ms(self.when) },
            }
        }

        /// Whether it was open and not half-open, if a trial may be claimed.
        fn claim(&mut self, now: u64, id: usize) -> Option<bool> {
            if self.admits(now) != Admission::Trial {
                return None;
            }
            if now >= self.when {
                self.round.clear();
                if self.phase == Phase::HalfOpen {
                    self.trials.clear();
                }
            }
            self.trials.push(id);
            self.round.push(id);
            self.when = if now >= self.when { now + 10_000 } else { self.when.max(now + 10_000) };
            Some(std::mem::replace(&mut self.phase, Phase::HalfOpen) == Phase::Open)
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Wait(u64),
        Succeed,
        Fail,
        Count(u64, u64),
        Claim,
        /// Each trial is handed in once.
        SucceedTrial(prop::sample::Index),
        FailTrial(prop::sample::Index),
        Release(prop::sample::Index),
    }

    fn op() -> impl Strategy<Value = Op> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            3 => prop_oneof![0..50_u64, 900..1100_u64, 0..12_000_u64].prop_map(Op::Wait),
            1 => Just(Op::Succeed),
            6 => Just(Op::Fail),
            2 => (0..25_u64, 0..5_000_u64).prop_map(|(failures, ago)| Op::Count(failures, ago)),
            4 => Just(Op::Claim),
            2 => index().prop_map(Op::SucceedTrial),
            2 => index().prop_map(Op::FailTrial),
            1 => index().prop_map(Op::Release),
        ]
    }

    fn take<T>(trials: &mut Vec<T>, index: prop::sample::Index) -> Option<T> {
        (!trials.is_empty()).then(|| trials.remove(index.index(trials.len())))
    }

    proptest! {
        #[test]
        fn it_behaves_as_its_model(ops in prop::collection::vec(op(), 0..160)) {
            let (breaker, mut model) = (Breaker::new(), Model::default());
            let (mut now, mut trials, mut id) = (0_u64, Vec::new(), 0_usize);
            for op in ops {
                match op {
                    Op::Wait(wait) => now += wait,
                    Op::Succeed => {
                        let closed = succeed(&breaker, ms(now), None) == Some(Transition::Closed);
                        prop_assert_eq!(closed, model.succeed(now, None));
                    }
                    Op::Fail => {
                        let opened = fail(&breaker, ms(now), None).is_some();
                        prop_assert_eq!(opened, model.fail(now, None));
                    }
                    Op::Count(failures, ago) => {
                        let since = now.saturating_sub(ago);
                        let opened = breaker.on_counts(ms(now), &counts(since, failures, 25), &CONFIG, 0).is_some();
                        let expected = !model.is_out() && failures >= 13 && since >= model.when;
                        prop_assert_eq!(opened, expected);
                        if expected {
                            model.open(now, true);
                        }
                    }
                    Op::SucceedTrial(index) => if let Some((id, trial)) = take(&mut trials, index) {
                        let closed = succeed(&breaker, ms(now), Some(&trial)) == Some(Transition::Closed);
                        prop_assert_eq!(closed, model.succeed(now, Some(id)));
                    }
                    Op::FailTrial(index) => if let Some((id, trial)) = take(&mut trials, index) {
                        let opened = fail(&breaker, ms(now), Some(&trial)).is_some();
                        prop_assert_eq!(opened, model.fail(now, Some(id)));
                    }
                    Op::Release(index) => if let Some((id, trial)) = take(&mut trials, index) {
                        breaker.release_trial(&trial);
                        model.end(Some(id));
                    }
                    Op::Claim => {
                        id += 1;
                        let (expected, claimed) = (model.claim(now, id), breaker.claim_trial(ms(now)));
                        prop_assert_eq!(claimed.as_ref().map(|(_, change)| change.is_some()), expected);
                        trials.extend(claimed.map(|(trial, _)| (id, trial)));
                    }
                }
                prop_assert_eq!(breaker.admits(ms(now)), model.admits(now));
                prop_assert_eq!(breaker.holds_back(ms(now), u64::MAX, &CONFIG),
                    model.phase == Phase::Easing && now - model.when < 4000);
                let packed = breaker.0.get();
                prop_assert_eq!(Word::unpack(packed).pack(), packed);
            }
        }

        /// However often it fails: the next chance is never further away than the cap and a lease.
        #[test]
        fn nobody_is_out_for_longer_than_the_cap_and_a_lease(ops in prop::collection::vec(op(), 0..80), draw in any::<u64>()) {
            let config = BreakerConfig { jitter_percent: 20, ..CONFIG };
            let (breaker, mut now) = (Breaker::new(), 0_u64);
            for op in ops {
                match op {
                    Op::Wait(wait) => now += wait,
                    Op::Claim => drop(breaker.claim_trial(ms(now))),
                    Op::Count(failures, _) => drop(breaker.on_counts(ms(now), &counts(now, failures, 25), &config, draw)),
                    Op::Succeed => drop(breaker.on_success(ms(now), None, &config)),
                    _ => drop(breaker.on_failure(ms(now), None, &config, draw)),
                }
                if let Admission::No { until } = breaker.admits(ms(now)) {
                    prop_assert!(until.since(ms(now)) <= config.cooldown_max.max(TRIAL_LEASE));
                    prop_assert_eq!(breaker.admits(until), Admission::Trial);
                }
            }
        }
    }

    const THREADS: u32 = 4;

    /// Runs `work` in threads that start together, and sums what they say.
    fn together(work: impl Fn() -> usize + Sync) -> usize {
        let start = Barrier::new(THREADS as usize);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        work()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        })
    }

    /// So few that nobody can lose every try: each one lost is a change that another thread made.
    const FAILURES_EACH: u32 = 20;
    const _: () = assert!((THREADS - 1) * FAILURES_EACH < 64 && crate::limits::WORD_TRIES_MAX >= 64);

    #[test]
    fn shards_that_fail_together_open_it_once_and_claim_what_is_allowed() {
        for _ in 0..250 {
            let breaker = Breaker::new();
            let config = BreakerConfig { failures: THREADS * FAILURES_EACH, ..CONFIG };
            let fail = || (0..FAILURES_EACH).filter(|_| breaker.on_failure(ms(0), None, &config, 0).is_some()).count();
            assert_eq!(together(fail), 1, "no failure was lost, none counted twice");
            assert_eq!(together(|| breaker.claim_trial(ms(1000)).iter().count()), 1);
            assert_eq!(together(|| succeed(&breaker, ms(1000), None).iter().count()), 1, "one shard tells of it");
            let ratio = open_by_ratio_at(0);
            assert_eq!(together(|| ratio.claim_trial(ms(1000)).iter().count()), 2);
        }
    }
}
