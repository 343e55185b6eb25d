//! A provider's breaker: stops sending calls to a provider whose transport fails again and again.
//!
//! Like the fuse in a house: a *run* of transport failures with no success between them opens it, and calls go
//! elsewhere at once instead of each finding out by itself. After a while one call, the *trial*, is let through. An
//! answer closes the breaker; a failure opens it again for twice as long, up to a limit.
//!
//! ```text
//!             a run of `failures`                retry time reached, one call claims the trial
//!   Closed ─────────────────────────▶ Open ─────────────────────────────────────▶ HalfOpen
//!     ▲                                ▲  └──────────── any success ──┐             │   │
//!     │                                └──────── the trial fails ─────┼─────────────┘   │
//!     └───────────────────────────────────────────────────────────────┴──── any success ┘
//! ```
//!
//! **One word, all shards.** All of it is packed in one `AtomicU64` that every shard reads before a call. Success writes
//! nothing unless it ends a run, so in good times the line stays shared in every core's cache.
//!
//! **Memory order.** `Relaxed` throughout: the word is the whole state and guards no other memory, so nothing needs to
//! become visible *with* it; that changes are not lost comes from compare-and-swap alone, which is atomic at any order.
//! A shard that reads an old word sends one call more or less, as it would had it read a moment earlier. The loops are
//! bounded by [`WORD_TRIES_MAX`]; news that lost them all is dropped, as the winners have said what there was to say.
//!
//! **Whose word counts.**
//! - A success closes it from any state, whoever brings it: bytes have just arrived. That includes calls sent before it
//!   opened, and those sent through a closed gate because no other provider was left.
//! - While open, failures are ignored: the rest of the burst that opened it must not drive up the back-off.
//! - While half-open, only the present trial's failure counts; others are late news of the time before.
//! - A trial that reports nothing (its client left, its task was dropped, the answer was a rate limit) holds its place for
//!   [`TRIAL_LEASE`] and no longer: nothing needs to run for the place to become free, so nothing can forget to.
//!   A later trial gets another epoch, and the failure of the one before no longer counts.
//!
//! Times are whole milliseconds, a retry time rounded up: never early. 40 bits of them last 34 years. Left out: failure
//! ratios, jitter and a gradual close, which need counts merged over the shards.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::limits::WORD_TRIES_MAX;
use crate::time::Instant;

/// How long a trial holds its place without a word. Longer than most classes' deadlines, so that trials rarely overlap;
/// short enough that a client that hangs up costs a provider little.
pub const TRIAL_LEASE: Duration = Duration::from_secs(10);

/// When it opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Transport failures in a row that open it, 1 to 1023; beyond is taken as the nearest.
    pub failures: u32,
    /// How long it stays open the first time; doubles with each failed trial.
    pub cooldown: Duration,
    pub cooldown_max: Duration,
}

/// Whether a call may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Yes,
    /// One call may, if it can [claim the trial](Breaker::claim_trial).
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
    Opened { until: Instant },
    HalfOpened,
    Closed,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Breaker(AtomicU64);

impl Breaker {
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether a call may be sent. Reads only.
    #[must_use]
    pub fn admits(&self, now: Instant) -> Admission {
        let word = self.read();
        match word.state {
            State::Closed => Admission::Yes,
            State::Open | State::HalfOpen if floor_ms(now) >= word.when_ms => Admission::Trial,
            State::Open | State::HalfOpen => Admission::No { until: from_ms(word.when_ms) },
        }
    }

    /// Takes the trial's place where [`Breaker::admits`] said [`Admission::Trial`] and nobody was faster.
    pub fn claim_trial(&self, now: Instant) -> Option<(Trial, Option<Transition>)> {
        let (before, after) = self.update(|word| {
            if word.state == State::Closed || floor_ms(now) < word.when_ms {
                return None;
            }
            let epoch = word.epoch.wrapping_add(1);
            Some(Word { state: State::HalfOpen, epoch, when_ms: ceil_ms(now + TRIAL_LEASE), ..word })
        })?;
        let change = (before.state == State::Open).then_some(Transition::HalfOpened);
        Some((Trial { epoch: after.epoch }, change))
    }

    /// Gives a trial's place back: it ended before it could show anything. The next call may take it at once.
    pub fn release_trial(&self, now: Instant, trial: &Trial) {
        self.update(|word| {
            let present = word.state == State::HalfOpen && word.epoch == trial.epoch;
            present.then_some(Word { when_ms: floor_ms(now).min(word.when_ms), ..word })
        });
    }

    /// The provider answered.
    pub fn on_success(&self) -> Option<Transition> {
        let (before, _) = self.update(|word| {
            let at_rest = word.state == State::Closed && word.run == 0;
            (!at_rest).then_some(Word { epoch: word.epoch, ..Word::default() })
        })?;
        (before.state != State::Closed).then_some(Transition::Closed)
    }

    /// The transport failed, on a trial or on any other call.
    pub fn on_failure(&self, now: Instant, trial: Option<&Trial>, config: &BreakerConfig) -> Option<Transition> {
        let (_, after) = self.update(|word| match word.state {
            State::Closed => {
                let run = word.run + 1;
                let opens = u32::from(run) >= config.failures.min(RUN_MAX.into());
                Some(if opens { word.opened(now, config) } else { Word { run, ..word } })
            }
            State::Open => None,
            State::HalfOpen => {
                let its_own = trial.is_some_and(|trial| trial.epoch == word.epoch);
                its_own.then(|| word.opened(now, config))
            }
        })?;
        let opened = after.state == State::Open;
        opened.then(|| Transition::Opened { until: from_ms(after.when_ms) })
    }

    fn read(&self) -> Word {
        Word::unpack(self.0.load(Relaxed))
    }

    /// Changes the word by `change`, until it holds or `change` sees nothing to do. Before and after.
    fn update(&self, change: impl Fn(Word) -> Option<Word>) -> Option<(Word, Word)> {
        let mut seen = self.0.load(Relaxed);
        for _ in 0..WORD_TRIES_MAX {
            let before = Word::unpack(seen);
            let after = change(before)?;
            match self.0.compare_exchange_weak(seen, after.pack(), Relaxed, Relaxed) {
                Ok(_) => return Some((before, after)),
                Err(newer) => seen = newer,
            }
        }
        None
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open,
    HalfOpen,
}

/// The word unpacked. From the low end: 40 bits `when_ms`, 8 `epoch`, 4 `openings`, 10 `run`, 2 `state`.
///
/// Closed: `openings` and `when_ms` are 0 and `run < failures`. Otherwise `run` is 0 and `openings` at least 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Word {
    state: State,
    /// Failures since the last success, while closed.
    run: u16,
    /// Times it has opened since the last success; at the most 15.
    openings: u8,
    /// Which trial is the present one. Survives closing, so that an old trial is never mistaken for a new one.
    epoch: u8,
    /// Open: when a trial may be claimed. Half-open: when the present trial's lease ends.
    when_ms: u64,
}

const WHEN_MAX: u64 = (1 << 40) - 1;
const RUN_MAX: u16 = (1 << 10) - 1;
const OPENINGS_MAX: u8 = (1 << 4) - 1;

impl Word {
    fn pack(self) -> u64 {
        let state = match self.state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
        };
        self.when_ms.min(WHEN_MAX)
            | u64::from(self.epoch) << 40
            | u64::from(self.openings.min(OPENINGS_MAX)) << 48
            | u64::from(self.run.min(RUN_MAX)) << 52
            | state << 62
    }

    fn unpack(word: u64) -> Self {
        Self {
            when_ms: word & WHEN_MAX,
            epoch: ((word >> 40) & 0xff) as u8,
            openings: ((word >> 48) & 0xf) as u8,
            run: ((word >> 52) & 0x3ff) as u16,
            state: match word >> 62 {
                0 => State::Closed,
                1 => State::Open,
                _ => State::HalfOpen,
            },
        }
    }

    /// Open from now on, for twice as long as the time before.
    fn opened(self, now: Instant, config: &BreakerConfig) -> Self {
        let openings = self.openings.saturating_add(1).min(OPENINGS_MAX);
        let length = back_off(config.cooldown, config.cooldown_max, openings);
        Self { state: State::Open, run: 0, openings, epoch: self.epoch, when_ms: ceil_ms(now + length) }
    }
}

/// `first`, doubled with each time after the first (`times` counts from 1), at most `max`.
pub(super) fn back_off(first: Duration, max: Duration, times: u8) -> Duration {
    let doublings = u32::from(times.saturating_sub(1)).min(31);
    first.saturating_mul(1 << doublings).min(max)
}

const fn floor_ms(at: Instant) -> u64 {
    at.micros() / 1000
}

fn ceil_ms(at: Instant) -> u64 {
    at.micros().div_ceil(1000).min(WHEN_MAX)
}

const fn from_ms(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const CONFIG: BreakerConfig =
        BreakerConfig { failures: 3, cooldown: Duration::from_secs(1), cooldown_max: Duration::from_secs(10) };

    fn ms(ms: u64) -> Instant {
        from_ms(ms)
    }

    fn open_at(now: Instant) -> Breaker {
        let breaker = Breaker::new();
        for _ in 0..CONFIG.failures {
            breaker.on_failure(now, None, &CONFIG);
        }
        breaker
    }

    #[test]
    fn a_run_opens_it_and_a_success_between_starts_the_run_anew() {
        let breaker = Breaker::new();
        for _ in 0..10 {
            assert_eq!(breaker.on_failure(ms(0), None, &CONFIG), None);
            assert_eq!(breaker.on_failure(ms(0), None, &CONFIG), None);
            assert_eq!(breaker.on_success(), None);
        }
        assert_eq!(breaker.admits(ms(0)), Admission::Yes);
        breaker.on_failure(ms(5), None, &CONFIG);
        breaker.on_failure(ms(5), None, &CONFIG);
        let opened = Transition::Opened { until: ms(1005) };
        assert_eq!(breaker.on_failure(ms(5), None, &CONFIG), Some(opened));
        assert_eq!(breaker.admits(ms(1004)), Admission::No { until: ms(1005) });
        assert_eq!(breaker.admits(ms(1005)), Admission::Trial);
    }

    #[test]
    fn failed_trials_double_the_wait_up_to_the_limit() {
        let breaker = open_at(ms(0));
        let mut now = ms(1000);
        for wait_ms in [2000, 4000, 8000, 10_000, 10_000] {
            let (trial, change) = breaker.claim_trial(now).unwrap();
            assert_eq!(change, Some(Transition::HalfOpened));
            let until = now + Duration::from_millis(wait_ms);
            assert_eq!(breaker.on_failure(now, Some(&trial), &CONFIG), Some(Transition::Opened { until }));
            now = until;
        }
        let _trial = breaker.claim_trial(now).unwrap();
        assert_eq!(breaker.on_success(), Some(Transition::Closed));
        // The success has ended the back-off too.
        let again = open_at(ms(0));
        assert_eq!(again.admits(ms(1000)), Admission::Trial);
    }

    #[test]
    fn the_burst_that_opened_it_does_not_lengthen_it() {
        let breaker = open_at(ms(0));
        for _ in 0..100 {
            assert_eq!(breaker.on_failure(ms(500), None, &CONFIG), None);
        }
        assert_eq!(breaker.admits(ms(1000)), Admission::Trial);
    }

    #[test]
    fn late_failures_of_others_do_not_end_a_trial() {
        let breaker = open_at(ms(0));
        let _trial = breaker.claim_trial(ms(1000)).unwrap();
        assert_eq!(breaker.on_failure(ms(1001), None, &CONFIG), None);
        assert_eq!(breaker.claim_trial(ms(1001)), None, "one trial at a time");
        assert_eq!(breaker.on_success(), Some(Transition::Closed));
    }

    #[test]
    fn a_forgotten_trial_holds_its_place_for_its_lease_only() {
        let breaker = open_at(ms(0));
        let (forgotten, _) = breaker.claim_trial(ms(1000)).unwrap();
        assert_eq!(breaker.admits(ms(10_999)), Admission::No { until: ms(11_000) });
        let (_trial, change) = breaker.claim_trial(ms(11_000)).unwrap();
        assert_eq!(change, None, "it was half-open already");
        assert_eq!(breaker.on_failure(ms(11_001), Some(&forgotten), &CONFIG), None);
    }

    #[test]
    fn a_released_trial_is_free_at_once() {
        let breaker = open_at(ms(0));
        let (first, _) = breaker.claim_trial(ms(1000)).unwrap();
        breaker.release_trial(ms(1001), &first);
        let (_second, _) = breaker.claim_trial(ms(1001)).unwrap();
        breaker.release_trial(ms(1002), &first);
        assert_eq!(breaker.claim_trial(ms(1002)), None, "an old trial frees nobody's place");
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
        let config = BreakerConfig { failures: u32::MAX, cooldown: Duration::MAX, cooldown_max: Duration::MAX };
        let breaker = Breaker::new();
        let opened = (0..RUN_MAX).filter_map(|_| breaker.on_failure(Instant::NEVER, None, &config)).count();
        assert_eq!(opened, 1);
        let zero = BreakerConfig { failures: 0, ..CONFIG };
        assert!(Breaker::new().on_failure(ms(0), None, &zero).is_some());
    }

    /// What the word means, in plain fields and with times that do not round.
    #[derive(Debug, Default)]
    struct Model {
        open: bool,
        trial: Option<u64>,
        when: u64,
        run: u32,
        openings: u32,
    }

    impl Model {
        fn open(&mut self, now: u64) {
            self.openings += 1;
            self.open = true;
            self.trial = None;
            self.run = 0;
            self.when = now + (1000 << (self.openings - 1).min(10)).min(10_000);
        }

        fn fail(&mut self, now: u64, trial: Option<u64>) -> bool {
            let opens = if self.open {
                self.trial.is_some() && self.trial == trial
            } else {
                self.run += 1;
                self.run == CONFIG.failures
            };
            if opens {
                self.open(now);
            }
            opens
        }

        fn admits(&self, now: u64) -> Admission {
            match self.open {
                false => Admission::Yes,
                true if now >= self.when => Admission::Trial,
                true => Admission::No { until: ms(self.when) },
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Wait(u64),
        Succeed,
        Fail,
        FailTrial(prop::sample::Index),
        Claim,
        Release(prop::sample::Index),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => prop_oneof![0..50_u64, 900..1100_u64, 0..12_000_u64].prop_map(Op::Wait),
            1 => Just(Op::Succeed),
            6 => Just(Op::Fail),
            3 => any::<prop::sample::Index>().prop_map(Op::FailTrial),
            4 => Just(Op::Claim),
            1 => any::<prop::sample::Index>().prop_map(Op::Release),
        ]
    }

    proptest! {
        #[test]
        fn it_behaves_as_its_model(ops in prop::collection::vec(op(), 0..120)) {
            let (breaker, mut model) = (Breaker::new(), Model::default());
            let (mut now, mut trials) = (0_u64, Vec::new());
            for op in ops {
                match op {
                    Op::Wait(wait) => now += wait,
                    Op::Succeed => {
                        let expected = model.open.then_some(Transition::Closed);
                        prop_assert_eq!(breaker.on_success(), expected);
                        model = Model::default();
                    }
                    Op::Fail => {
                        let opened = breaker.on_failure(ms(now), None, &CONFIG).is_some();
                        prop_assert_eq!(opened, model.fail(now, None));
                    }
                    Op::FailTrial(_) | Op::Release(_) if trials.is_empty() => {}
                    Op::FailTrial(index) => {
                        let (id, trial) = index.get(&trials);
                        let opened = breaker.on_failure(ms(now), Some(trial), &CONFIG).is_some();
                        prop_assert_eq!(opened, model.fail(now, Some(*id)));
                    }
                    Op::Release(index) => {
                        let (id, trial) = index.get(&trials);
                        breaker.release_trial(ms(now), trial);
                        if model.trial == Some(*id) {
                            model.when = model.when.min(now);
                        }
                    }
                    Op::Claim => {
                        let due = model.open && now >= model.when;
                        let claimed = breaker.claim_trial(ms(now));
                        prop_assert_eq!(claimed.is_some(), due);
                        if let Some((trial, change)) = claimed {
                            prop_assert_eq!(change.is_some(), model.trial.is_none());
                            let id = trials.len() as u64;
                            trials.push((id, trial));
                            model.trial = Some(id);
                            model.when = now + 10_000;
                        }
                    }
                }
                prop_assert_eq!(breaker.admits(ms(now)), model.admits(now));
                let word = breaker.read();
                prop_assert_eq!(Word::unpack(word.pack()), word);
            }
        }
    }

    /// Runs `work` in four threads that start together, and sums what they say.
    fn together(work: impl Fn() -> usize + Sync) -> usize {
        let start = Barrier::new(4);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
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

    #[test]
    fn shards_that_fail_together_open_it_once_and_claim_one_trial() {
        for _ in 0..50 {
            let breaker = Breaker::new();
            let config = BreakerConfig { failures: 400, ..CONFIG };
            let fail = || (0..100).filter(|_| breaker.on_failure(ms(0), None, &config).is_some()).count();
            assert_eq!(together(fail), 1, "no failure was lost, none counted twice");
            assert_eq!(together(|| breaker.claim_trial(ms(1000)).iter().count()), 1);
            assert_eq!(together(|| breaker.on_success().iter().count()), 1, "one shard tells of it");
        }
    }
}
