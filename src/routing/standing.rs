//! A provider's standing: its breaker and its cooldown, and the one answer that they make: may a call be sent?
//!
//! One per provider, shared by all shards, alone in its cache line (two, as processors fetch them in pairs): every call
//! reads both words, trouble alone writes them. Which news goes to which word is decided here and nowhere else:
//!
//! | health | breaker | cooldown |
//! |---|---|---|
//! | good, untouched | success | success |
//! | failure | failure | |
//! | cooldown | | limited |
//! | park | | parked |
//! | slow, suspect | | |
//!
//! A refusal or a slow answer is no transport failure, but it often comes from an edge before the node and shows nothing
//! of what is behind it: it neither prolongs nor ends a run of failures, and a trial that meets one stays undecided until
//! its lease ends.

use super::breaker::{Admission, Breaker, BreakerConfig, Transition, Trial};
use super::cooldown::{Cooldown, CooldownConfig, Rest, RestChange};
use super::health::Health;
use crate::time::Instant;

/// Whether a provider may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// Shut, but for one call that [claims the trial](Standing::claim_trial).
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
    /// When the attempt began.
    pub sent: Instant,
    pub trial: Option<&'a Trial>,
}

/// What an outcome changed; an event each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub breaker: Option<Transition>,
    pub cooldown: Option<RestChange>,
}

/// What standing is lost and won by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandingConfig {
    pub breaker: BreakerConfig,
    pub cooldown: CooldownConfig,
}

/// See the module.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Standing {
    breaker: Breaker,
    cooldown: Cooldown,
}

impl Standing {
    #[must_use]
    pub const fn new() -> Self {
        Self { breaker: Breaker::new(), cooldown: Cooldown::new() }
    }

    /// Whether a call may be sent. Reads only.
    #[must_use]
    pub fn gate(&self, now: Instant) -> Gate {
        let admission = self.breaker.admits(now);
        match (self.cooldown.rests(now), admission) {
            (Some(Rest::Parked { until }), _) => Gate::Parked { until },
            (Some(Rest::Cooled { until }), Admission::No { until: later }) => Gate::Shut { until: until.max(later) },
            (Some(Rest::Cooled { until }), _) | (None, Admission::No { until }) => Gate::Shut { until },
            (None, Admission::Trial) => Gate::Trial,
            (None, Admission::Yes) => Gate::Open,
        }
    }

    /// What the breaker alone says, for pages.
    #[must_use]
    pub fn admission(&self, now: Instant) -> Admission {
        self.breaker.admits(now)
    }

    /// What the cooldown alone says, for pages.
    #[must_use]
    pub fn rest(&self, now: Instant) -> Option<Rest> {
        self.cooldown.rests(now)
    }

    /// Takes the trial's place, if it is still free.
    pub fn claim_trial(&self, now: Instant) -> Option<(Trial, Option<Transition>)> {
        self.breaker.claim_trial(now)
    }

    /// Gives it back, when the attempt was abandoned before it showed anything (the client left).
    pub fn release_trial(&self, now: Instant, trial: &Trial) {
        self.breaker.release_trial(now, trial);
    }

    /// An attempt has ended.
    pub fn on_outcome(&self, now: Instant, outcome: &Outcome<'_>, config: &StandingConfig) -> Changes {
        let (mut breaker, mut cooldown) = (None, None);
        match outcome.health {
            Health::Good | Health::Untouched => {
                breaker = self.breaker.on_success();
                cooldown = self.cooldown.on_success(now, outcome.sent);
            }
            Health::Failure => {
                breaker = self.breaker.on_failure(now, outcome.trial, &config.breaker);
            }
            Health::Cooldown(asked) => {
                cooldown = self.cooldown.on_limited(now, outcome.sent, asked, &config.cooldown);
            }
            Health::Park => cooldown = self.cooldown.on_parked(now, &config.cooldown),
            Health::Slow | Health::Suspect => {}
        }
        Changes { breaker, cooldown }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CONFIG: StandingConfig = StandingConfig {
        breaker: BreakerConfig { failures: 1, cooldown: Duration::from_secs(5), cooldown_max: Duration::from_mins(1) },
        cooldown: CooldownConfig {
            first: Duration::from_secs(1),
            max: Duration::from_mins(1),
            retry_after_max: Duration::from_mins(10),
            park: Duration::from_mins(10),
        },
    };

    fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    /// The gate at second 10 after what was seen there.
    fn after(seen: &[Health]) -> Gate {
        let standing = Standing::new();
        for &health in seen {
            standing.on_outcome(secs(10), &Outcome { health, sent: secs(10), trial: None }, &CONFIG);
        }
        standing.gate(secs(10))
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
    fn one_trial_decides() {
        let standing = Standing::new();
        let on = |now, health, trial: Option<&Trial>| {
            standing.on_outcome(now, &Outcome { health, sent: now, trial }, &CONFIG).breaker
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
