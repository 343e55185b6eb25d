//! A provider's standing: its breaker and its cooldowns, and the one answer that they make: may a call be sent?
//!
//! One per provider, shared by all shards, alone in its cache line (two, as processors fetch them in pairs): every call
//! reads its words, trouble alone writes them. Which news goes to which word is decided here and nowhere else:
//!
//! | health | breaker | the provider's cooldown | that of the call's class |
//! |---|---|---|---|
//! | good, untouched | success | success | success |
//! | failure | failure | | |
//! | cooldown | | limited | |
//! | class cooldown | | | limited |
//! | park | | parked | |
//! | slow, suspect | | | |
//!
//! A refusal or a slow answer is no transport failure, but it often comes from an edge before the node and shows nothing
//! of what is behind it: it neither prolongs nor ends a run of failures, and a trial that meets one stays undecided until
//! its lease ends.
//!
//! **Held back.** While a breaker closes little by little its gate is open, but a share of the calls should go to others
//! ([`Standing::holds_back`]). That is a wish and no gate: where nobody else is ready, it is asked all the same.

use super::breaker::{Admission, Breaker, BreakerConfig, FailureCounts, Transition, Trial};
use super::cooldown::{CooldownConfig, Cooldowns, Rest, RestChange};
use super::health::Health;
use crate::jsonrpc::MethodClass;
use crate::time::Instant;

/// Whether a provider may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// Shut, but for a call that [claims a trial](Standing::claim_trial).
    Trial,
    /// The breaker is open or the provider cools down.
    Shut {
        until: Instant,
    },
    /// A quota is used up: asking is pointless, not only impolite.
    Parked {
        until: Instant,
    },
}

/// How one attempt ended.
#[derive(Debug)]
pub struct Outcome<'a> {
    pub health: Health,
    pub class: MethodClass,
    /// When the attempt began.
    pub sent: Instant,
    pub trial: Option<&'a Trial>,
    /// Any number that other nodes are not likely to have: it spreads the moments of retry.
    pub draw: u64,
}

/// What an outcome changed; an event each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub breaker: Option<Transition>,
    pub cooldown: Option<RestChange>,
    /// The cooldown of the call's class.
    pub class_cooldown: Option<RestChange>,
}

/// What standing is lost and won by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StandingConfig {
    pub breaker: BreakerConfig,
    pub cooldown: CooldownConfig,
}

/// See the module.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Standing {
    breaker: Breaker,
    cooldowns: Cooldowns,
}

impl Standing {
    #[must_use]
    pub const fn new() -> Self {
        Self { breaker: Breaker::new(), cooldowns: Cooldowns::new() }
    }

    /// Whether any call may be sent. Reads only.
    #[must_use]
    pub fn gate(&self, now: Instant) -> Gate {
        self.gate_of(now, self.cooldowns.provider().rests(now))
    }

    /// Whether a call of `class` may be sent. Reads only.
    #[inline]
    #[must_use]
    pub fn gate_for(&self, now: Instant, class: MethodClass) -> Gate {
        // As nearly always: three words and one branch.
        if self.breaker.is_closed() & self.cooldowns.is_at_rest(class) {
            return Gate::Open;
        }
        self.gate_of(now, self.cooldowns.rests(now, class))
    }

    /// Whether a call should go to another provider that is ready, if there is one: this one has just come back.
    /// `draw`: 64 even bits, the same for all looks of one call at one provider. Reads only.
    #[inline]
    #[must_use]
    pub fn holds_back(&self, now: Instant, draw: u64, config: &StandingConfig) -> bool {
        self.breaker.holds_back(now, draw, &config.breaker)
    }

    /// The share of calls that its breaker gives it, for pages.
    #[must_use]
    pub fn share(&self, now: Instant, config: &StandingConfig) -> f64 {
        self.breaker.share(now, &config.breaker)
    }

    /// What the breaker alone says, for pages.
    #[must_use]
    pub fn admission(&self, now: Instant) -> Admission {
        self.breaker.admits(now)
    }

    /// What the provider's cooldown alone says, for pages.
    #[must_use]
    pub fn rest(&self, now: Instant) -> Option<Rest> {
        self.cooldowns.provider().rests(now)
    }

    /// What the cooldown of `class` alone says, for pages.
    #[must_use]
    pub fn class_rest(&self, now: Instant, class: MethodClass) -> Option<Rest> {
        self.cooldowns.class(class).rests(now)
    }

    /// When its breaker last closed, from which control counts; none while it is out.
    #[must_use]
    pub fn closed_at(&self) -> Option<Instant> {
        self.breaker.closed_at()
    }

    /// Takes a trial's place, if one is still free.
    pub fn claim_trial(&self, now: Instant) -> Option<(Trial, Option<Transition>)> {
        self.breaker.claim_trial(now)
    }

    /// Gives it back, when the attempt was abandoned before it showed anything (it was not sent, the client left). Not when
    /// a hedge was faster: [`Loser`](super::Loser).
    pub fn release_trial(&self, trial: &Trial) {
        self.breaker.release_trial(trial);
    }

    /// An attempt has ended.
    pub fn on_outcome(&self, now: Instant, outcome: &Outcome<'_>, config: &StandingConfig) -> Changes {
        let &Outcome { health, class, sent, trial, draw } = outcome;
        let (whole, own) = (self.cooldowns.provider(), self.cooldowns.class(class));
        let mut changes = Changes::default();
        match health {
            Health::Good | Health::Untouched => {
                changes.breaker = self.breaker.on_success(now, trial, &config.breaker);
                if !self.cooldowns.is_at_rest(class) {
                    changes.cooldown = whole.on_success(now, sent);
                    changes.class_cooldown = own.on_success(now, sent);
                }
            }
            Health::Failure => changes.breaker = self.breaker.on_failure(now, trial, &config.breaker, draw),
            Health::Cooldown(asked) => changes.cooldown = whole.on_limited(now, sent, asked, &config.cooldown),
            Health::ClassCooldown(asked) => {
                changes.class_cooldown = own.on_limited(now, sent, asked, &config.cooldown);
            }
            Health::Park => changes.cooldown = whole.on_parked(now, &config.cooldown),
            Health::Slow | Health::Suspect => {}
        }
        changes
    }

    /// Control has counted the calls of all shards since [`Standing::closed_at`] or later.
    pub fn on_counts(
        &self,
        now: Instant,
        counts: &FailureCounts,
        config: &StandingConfig,
        draw: u64,
    ) -> Option<Transition> {
        self.breaker.on_counts(now, counts, &config.breaker, draw)
    }

    fn gate_of(&self, now: Instant, rest: Option<Rest>) -> Gate {
        match (rest, self.breaker.admits(now)) {
            (Some(Rest::Parked { until }), _) => Gate::Parked { until },
            (Some(Rest::Cooled { until }), Admission::No { until: later }) => Gate::Shut { until: until.max(later) },
            (Some(Rest::Cooled { until }), _) | (None, Admission::No { until }) => Gate::Shut { until },
            (None, Admission::Trial) => Gate::Trial,
            (None, Admission::Yes) => Gate::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CONFIG: StandingConfig = StandingConfig {
        breaker: BreakerConfig { failures: 1, jitter_percent: 0, trials: 1, ..BreakerConfig::DEFAULT },
        cooldown: CooldownConfig::DEFAULT,
    };
    const CLASS: MethodClass = MethodClass::Logs;

    fn outcome(health: Health, at: Instant, trial: Option<&Trial>) -> Outcome<'_> {
        Outcome { health, class: CLASS, sent: at, trial, draw: 0 }
    }

    fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    /// The gate at second 10 after what was seen there.
    fn after(seen: &[Health]) -> Gate {
        let standing = Standing::new();
        for &health in seen {
            standing.on_outcome(secs(10), &outcome(health, secs(10), None), &CONFIG);
        }
        standing.gate_for(secs(10), CLASS)
    }

    #[test]
    fn each_health_goes_to_its_word() {
        let long = Health::Cooldown(Some(Duration::from_secs(30)));
        let shut = |gate, least_s| matches!(gate, Gate::Shut { until } if until >= secs(least_s));
        for calm in [Health::Good, Health::Untouched, Health::Slow, Health::Suspect] {
            assert_eq!(after(&[calm]), Gate::Open, "{calm:?}");
            assert!(shut(after(&[Health::Cooldown(None), calm]), 11), "{calm:?} lifts no fresh cooldown");
        }
        assert_eq!(after(&[Health::Failure]), Gate::Shut { until: secs(15) });
        assert_eq!(after(&[Health::Failure, Health::Slow]), Gate::Shut { until: secs(15) });
        assert_eq!(after(&[Health::Failure, Health::Untouched]), Gate::Open);
        assert!(shut(after(&[Health::Failure, Health::Cooldown(None)]), 15), "the later of the two");
        assert!(shut(after(&[Health::Failure, long]), 40), "the later of the two");
        assert!(matches!(after(&[Health::Failure, Health::Park, long]), Gate::Parked { .. }));
    }

    #[test]
    fn a_limit_of_one_class_stops_no_other() {
        let standing = Standing::new();
        let limited = Health::ClassCooldown(Some(Duration::from_secs(30)));
        let changes = standing.on_outcome(secs(10), &outcome(limited, secs(10), None), &CONFIG);
        assert_eq!((changes.breaker, changes.cooldown), (None, None));
        assert!(matches!(changes.class_cooldown, Some(RestChange::Began(Rest::Cooled { .. }))));
        assert!(matches!(standing.gate_for(secs(11), CLASS), Gate::Shut { .. }));
        assert_eq!(standing.gate_for(secs(11), MethodClass::Head), Gate::Open);
        assert_eq!(standing.gate(secs(11)), Gate::Open);
        let head = Outcome { class: MethodClass::Head, ..outcome(Health::Good, secs(12), None) };
        assert_eq!(standing.on_outcome(secs(12), &head, &CONFIG), Changes::default(), "it says nothing about logs");
        let logs = standing.on_outcome(secs(12), &outcome(Health::Good, secs(12), None), &CONFIG);
        assert_eq!(logs.class_cooldown, Some(RestChange::Lifted));
        assert_eq!(standing.gate_for(secs(12), CLASS), Gate::Open);
    }

    #[test]
    fn it_holds_back_while_it_comes_back() {
        let standing = Standing::new();
        standing.on_outcome(secs(0), &outcome(Health::Failure, secs(0), None), &CONFIG);
        assert_eq!(standing.closed_at(), None);
        standing.on_outcome(secs(5), &outcome(Health::Good, secs(5), None), &CONFIG);
        assert_eq!((standing.gate(secs(5)), standing.closed_at()), (Gate::Open, Some(secs(5))));
        assert!(standing.holds_back(secs(6), u64::MAX, &CONFIG) && !standing.holds_back(secs(6), 0, &CONFIG));
        assert!(!standing.holds_back(secs(15), u64::MAX, &CONFIG));
        let counts = FailureCounts { since: secs(5), failures: 30, calls: 40 };
        assert!(standing.on_counts(secs(8), &counts, &CONFIG, 0).is_some());
    }

    #[test]
    fn one_trial_decides() {
        let standing = Standing::new();
        let on = |now, health, trial: Option<&Trial>| {
            standing.on_outcome(now, &outcome(health, now, trial), &CONFIG).breaker
        };
        on(secs(0), Health::Failure, None);
        assert_eq!(standing.gate(secs(5)), Gate::Trial);
        let (trial, change) = standing.claim_trial(secs(5)).unwrap();
        assert_eq!(change, Some(Transition::HalfOpened));
        assert_eq!(on(secs(6), Health::Suspect, Some(&trial)), None, "undecided");
        assert!(matches!(standing.gate(secs(6)), Gate::Shut { .. }));
        assert_eq!(on(secs(6), Health::Failure, Some(&trial)), Some(Transition::Opened { until: secs(16) }));
    }

    #[test]
    fn it_is_alone_in_its_cache_line() {
        assert_eq!(align_of::<Standing>(), 128);
        assert_eq!(size_of::<Standing>(), 128);
    }
}
