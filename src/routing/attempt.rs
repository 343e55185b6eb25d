//! The attempts of one call: whom to ask next, how long to wait, when to stop.
//!
//! Driven by whoever does the asking:
//!
//! ```text
//! loop {
//!     match attempts.next(now, &mut ranker, &providers) {
//!         Step::Try(attempt)    => send to attempt.provider, wait until attempt.first_byte_by;
//!                                  an answer ends the call, anything else goes to attempts.on_failure(..)
//!         Step::GiveUp(reason)  => relay attempts.into_relayable(), else answer for ourselves by the reason
//!     }
//! }
//! ```
//!
//! The rules, each with a test of its name:
//! - **One deadline for all**, set when the call came; at most `attempts_max` attempts; no provider twice.
//! - **The first attempt leaves time for a second**: it may use [`FIRST_SHARE`] of what remains, when the call may be sent
//!   again and another provider stands ready. The second takes all that is left; only what it does not use is a third's.
//!   A provider that is merely slow should still win, so the larger part goes to the one that ranking thinks best.
//! - **Failover when safe**: a repeatable call goes on after any failure that another provider might not share. A call that
//!   is not goes on only when not one byte of it was sent: what a provider has read it may have done.
//! - **Fail over once** holds for the call: after two such failures the second one's word stands.
//! - **Through a shut gate once**: when no provider stands ready, one attempt may go to the least bad.
//! - **What is relayed** when all fail is the last error that may be shown to the client, whatever failed after it.
//! - **A method unknown to all who were asked is unknown**; -32601 is then our word.
//! - **A pooled connection found dead is replaced once per attempt, without counting**: it was closed while nobody used it, which says nothing about
//!   the provider. The replacement is a fresh connection, so it cannot be stale in turn. For a call that is not
//!   repeatable only when nothing of it was sent: a peer that closes after reading looks the same from here.

use std::time::Duration;

use super::breaker::Trial;
use super::candidates::{Providers, Tried};
use super::health::Next;
use super::rank::{Demand, InsteadOf, Nobody, Ranker};
use crate::limits::ATTEMPTS_MAX;
use crate::time::Instant;

/// The part of the remaining time that a first attempt may use when a second could follow.
pub const FIRST_SHARE: f64 = 0.6;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Try(Attempt),
    GiveUp(Reason),
}

/// One attempt.
#[derive(Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its position among the chain's providers.
    pub provider: usize,
    /// From 1.
    pub number: u8,
    /// To be handed in to the provider's standing with the outcome.
    pub trial: Option<Trial>,
    /// Its gate was shut, and nobody better was left.
    pub forced: bool,
    /// It is made for the evidence alone.
    pub explored: Option<InsteadOf>,
    /// Connecting, waiting for a connection and for the first byte all end here.
    pub first_byte_by: Instant,
}

/// Why no further attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All that could be asked have failed, or all are out.
    NoProvider,
    Deadline,
    /// This shard has no room for more calls to any of them.
    Capacity,
    /// Everyone who was asked lacks the method.
    MethodUnknown,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<T> {
    pub next: Next,
    /// Whether a byte of the call may have reached the provider.
    pub sent: bool,
    /// Whether the provider said that it lacks the method.
    pub unsupported: bool,
    /// The provider's error, where the client may see it.
    pub relayable: Option<T>,
}

/// The state of one call. `T` is an error that could be relayed, or where to find it.
#[derive(Debug)]
pub struct Attempts<T> {
    demand: Demand,
    deadline: Instant,
    made_max: u8,
    made: u8,
    unsupported: u8,
    tried: Tried,
    /// One attempt has gone through a shut gate.
    forced: bool,
    /// One failure allowed a single further attempt.
    once: bool,
    /// Nothing more may be tried.
    stopped: bool,
    /// The present attempt's pooled connection has been replaced.
    replaced: bool,
    relayable: Option<T>,
}

impl<T> Attempts<T> {
    /// A call that must have its answer's first byte by `deadline`. `attempts_max` is taken within 1 and [`ATTEMPTS_MAX`].
    #[must_use]
    pub fn new(demand: Demand, deadline: Instant, attempts_max: u8) -> Self {
        Self {
            demand,
            deadline,
            made_max: attempts_max.clamp(1, ATTEMPTS_MAX),
            made: 0,
            unsupported: 0,
            tried: Tried::none(),
            forced: false,
            once: false,
            stopped: false,
            replaced: false,
            relayable: None,
        }
    }

    /// The same for a call that names its provider: nobody else is asked.
    #[must_use]
    pub fn only(mut self, provider: usize) -> Self {
        self.tried = Tried::all_but(provider);
        self
    }

    /// Chooses the next attempt. Not while one is under way.
    pub fn next(&mut self, now: Instant, ranker: &mut Ranker, providers: &impl Providers) -> Step {
        if self.stopped || self.made >= self.made_max {
            return Step::GiveUp(self.reason(now, Nobody::Out));
        }
        if now >= self.deadline {
            return Step::GiveUp(Reason::Deadline);
        }
        let pick = match ranker.pick(now, self.demand, self.tried, !self.forced, providers) {
            Ok(pick) => pick,
            Err(nobody) => return Step::GiveUp(self.reason(now, nobody)),
        };
        self.tried.add(pick.provider);
        self.forced |= pick.forced;
        self.replaced = false;
        self.made += 1;
        Step::Try(Attempt {
            provider: pick.provider,
            number: self.made,
            trial: pick.trial,
            forced: pick.forced,
            explored: pick.explored,
            first_byte_by: self.first_byte_by(now, pick.spare),
        })
    }

    /// The attempt under way has failed.
    pub fn on_failure(&mut self, failure: Failure<T>) {
        if failure.relayable.is_some() {
            self.relayable = failure.relayable;
        }
        self.unsupported += u8::from(failure.unsupported);
        let safe = self.demand.repeatable || !failure.sent;
        let useful = match failure.next {
            Next::Return => false,
            Next::FailOver => true,
            Next::FailOverOnce => !std::mem::replace(&mut self.once, true),
        };
        self.stopped |= !(safe && useful);
    }

    /// The attempt under way used a pooled connection that turned out to be dead before any byte of an answer.
    ///
    /// `true`: do the same attempt again, on a fresh connection, until the same moment. `false`: it has failed.
    ///
    /// The data path does not ask this yet: `shard/upstream/exchange.rs` keeps the rule for repeatable calls by itself.
    pub fn on_stale_connection(&mut self, sent: bool) -> bool {
        let safe = self.demand.repeatable || !sent;
        safe && !std::mem::replace(&mut self.replaced, true)
    }

    /// Attempts made so far.
    #[must_use]
    pub const fn made(&self) -> u8 {
        self.made
    }

    /// When the call must have its answer's first byte.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The last error that may be relayed.
    #[must_use]
    pub fn into_relayable(self) -> Option<T> {
        self.relayable
    }

    fn first_byte_by(&self, now: Instant, spare: bool) -> Instant {
        let may_follow = self.made == 1 && self.made_max > 1 && self.demand.repeatable && spare;
        if !may_follow {
            return self.deadline;
        }
        let remaining: Duration = self.deadline.since(now);
        now + remaining.mul_f64(FIRST_SHARE)
    }

    fn reason(&self, now: Instant, nobody: Nobody) -> Reason {
        if self.made == self.unsupported && (self.made > 0 || nobody == Nobody::Unsupported) {
            Reason::MethodUnknown
        } else if now >= self.deadline {
            Reason::Deadline
        } else if nobody == Nobody::Full {
            Reason::Capacity
        } else {
            Reason::NoProvider
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::candidates::Facts;
    use super::super::standing::Gate;
    use super::super::strategy::Strategy as Order;
    use super::*;
    use crate::jsonrpc::MethodClass;

    const READY: Facts = Facts { gate: Gate::Open, priority: 1, weight: 1, in_flight: 0, supports: true, room: true };
    const SHUT: Facts = Facts { gate: Gate::Shut { until: Instant::NEVER }, ..READY };
    const LACKS: Facts = Facts { supports: false, ..READY };
    const FULL: Facts = Facts { room: false, ..READY };

    struct Table(Vec<Facts>);

    impl Providers for Table {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn facts(&self, provider: usize, _now: Instant) -> Facts {
            self.0[provider]
        }

        fn claim_trial(&self, _provider: usize, _now: Instant) -> Option<Trial> {
            None
        }
    }

    /// A call of 1 s over providers asked in the table's order.
    struct World {
        table: Table,
        ranker: Ranker,
        attempts: Attempts<u32>,
    }

    fn world(facts: &[Facts], repeatable: bool) -> World {
        let demand = Demand {
            strategy: Order::LoadBalanced,
            class: MethodClass::Read,
            row: MethodClass::Read.into(),
            repeatable,
        };
        World {
            table: Table(facts.to_vec()),
            ranker: Ranker::new(facts.len(), 1),
            attempts: Attempts::new(demand, ms(1000), 3),
        }
    }

    impl World {
        fn next(&mut self, at: Instant) -> Step {
            self.attempts.next(at, &mut self.ranker, &self.table)
        }

        #[track_caller]
        fn tries(&mut self, at: Instant, provider: usize) -> Instant {
            match self.next(at) {
                Step::Try(attempt) => {
                    assert_eq!(attempt.provider, provider);
                    attempt.first_byte_by
                }
                Step::GiveUp(reason) => panic!("{reason:?}"),
            }
        }

        #[track_caller]
        fn gives_up(&mut self, at: Instant, reason: Reason) {
            assert_eq!(self.next(at), Step::GiveUp(reason));
        }
    }

    fn ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn failed(next: Next) -> Failure<u32> {
        Failure { next, sent: true, unsupported: false, relayable: None }
    }

    const LACKS_METHOD: Failure<u32> =
        Failure { next: Next::FailOver, sent: true, unsupported: true, relayable: Some(32_601) };

    #[test]
    fn at_most_three_attempts_and_no_provider_twice() {
        let mut world = world(&[READY; 5], true);
        for provider in 0..3 {
            world.tries(ms(0), provider);
            world.attempts.on_failure(failed(Next::FailOver));
        }
        world.gives_up(ms(0), Reason::NoProvider);
        assert_eq!(world.attempts.made(), 3);
    }

    #[test]
    fn the_first_attempt_leaves_time_for_a_second() {
        let mut first = world(&[READY; 3], true);
        assert_eq!(first.tries(ms(0), 0), ms(600));
        first.attempts.on_failure(failed(Next::FailOver));
        assert_eq!(first.tries(ms(600), 1), ms(1000));
        // Alone, with nobody ready beside it, or not to be repeated: it gets all.
        assert_eq!(world(&[READY], true).tries(ms(0), 0), ms(1000));
        assert_eq!(world(&[READY, SHUT, FULL, LACKS], true).tries(ms(0), 0), ms(1000));
        assert_eq!(world(&[READY; 3], false).tries(ms(0), 0), ms(1000));
    }

    #[test]
    fn one_deadline_for_all() {
        let mut late = world(&[READY; 3], true);
        late.gives_up(ms(1000), Reason::Deadline);
        let mut slow = world(&[READY; 3], true);
        slow.tries(ms(0), 0);
        slow.attempts.on_failure(failed(Next::FailOver));
        slow.tries(ms(600), 1);
        slow.attempts.on_failure(failed(Next::FailOver));
        slow.gives_up(ms(1000), Reason::Deadline);
    }

    #[test]
    fn failover_when_safe() {
        // Repeatable, sent → goes on.
        for (repeatable, sent, goes_on) in
            [(true, true, true), (true, false, true), (false, false, true), (false, true, false)]
        {
            let mut world = world(&[READY; 2], repeatable);
            world.tries(ms(0), 0);
            world.attempts.on_failure(Failure { sent, ..failed(Next::FailOver) });
            if goes_on {
                world.tries(ms(1), 1);
            } else {
                world.gives_up(ms(1), Reason::NoProvider);
            }
        }
    }

    #[test]
    fn return_stops_and_fail_over_once_goes_on_once() {
        use Next::{FailOver, FailOverOnce, Return};
        let cases: [(&[Next], u8); 5] = [
            (&[Return], 1),
            (&[FailOverOnce, FailOverOnce], 2),
            (&[FailOverOnce, FailOver, FailOver], 3),
            (&[FailOver, FailOverOnce, FailOverOnce], 3),
            (&[FailOver, Return], 2),
        ];
        for (failures, expected) in cases {
            let mut world = world(&[READY; 5], true);
            for &next in failures {
                assert!(matches!(world.next(ms(0)), Step::Try(_)), "{failures:?}");
                world.attempts.on_failure(failed(next));
            }
            world.gives_up(ms(0), Reason::NoProvider);
            assert_eq!(world.attempts.made(), expected, "{failures:?}");
        }
    }

    #[test]
    fn the_last_relayable_error_is_kept() {
        let mut world = world(&[READY; 3], true);
        for relayable in [Some(1), Some(2), None] {
            world.next(ms(0));
            world.attempts.on_failure(Failure { relayable, ..failed(Next::FailOver) });
        }
        assert_eq!(world.attempts.into_relayable(), Some(2));
    }

    #[test]
    fn a_method_unknown_to_all_who_were_asked_is_unknown() {
        world(&[LACKS; 2], true).gives_up(ms(0), Reason::MethodUnknown);
        let mut learns = world(&[READY, LACKS, READY], true);
        for provider in [0, 2] {
            learns.tries(ms(0), provider);
            learns.attempts.on_failure(LACKS_METHOD);
        }
        learns.gives_up(ms(0), Reason::MethodUnknown);
        let mut mixed = world(&[READY; 2], true);
        mixed.tries(ms(0), 0);
        mixed.attempts.on_failure(LACKS_METHOD);
        mixed.tries(ms(0), 1);
        mixed.attempts.on_failure(failed(Next::FailOver));
        mixed.gives_up(ms(0), Reason::NoProvider);
        assert_eq!(mixed.attempts.into_relayable(), Some(32_601));
    }

    #[test]
    fn through_a_shut_gate_once() {
        let mut world = world(&[READY, SHUT, SHUT], true);
        world.tries(ms(0), 0);
        world.attempts.on_failure(failed(Next::FailOver));
        assert!(matches!(world.next(ms(0)), Step::Try(Attempt { provider: 1, forced: true, .. })));
        world.attempts.on_failure(failed(Next::FailOver));
        world.gives_up(ms(0), Reason::NoProvider);
    }

    #[test]
    fn no_room_is_a_reason_of_its_own() {
        world(&[FULL, SHUT], true).tries(ms(0), 1);
        world(&[FULL, LACKS], true).gives_up(ms(0), Reason::Capacity);
        world(&[], true).gives_up(ms(0), Reason::NoProvider);
    }

    #[test]
    fn a_named_provider_is_the_only_one() {
        let mut world = world(&[READY; 3], true);
        world.attempts = Attempts::new(world.attempts.demand, ms(1000), 3).only(1);
        assert_eq!(world.tries(ms(0), 1), ms(1000));
        world.attempts.on_failure(failed(Next::FailOver));
        world.gives_up(ms(0), Reason::NoProvider);
    }

    #[test]
    fn a_dead_pooled_connection_is_replaced_once_per_attempt() {
        let mut repeatable = world(&[READY; 2], true);
        repeatable.tries(ms(0), 0);
        assert!(repeatable.attempts.on_stale_connection(true));
        assert!(!repeatable.attempts.on_stale_connection(true));
        repeatable.attempts.on_failure(failed(Next::FailOver));
        repeatable.tries(ms(0), 1);
        assert!(repeatable.attempts.on_stale_connection(false));
        assert_eq!(repeatable.attempts.made(), 2);

        let mut once = world(&[READY], false);
        once.tries(ms(0), 0);
        assert!(!once.attempts.on_stale_connection(true), "it may have been read");
        assert!(once.attempts.on_stale_connection(false));
    }

    fn facts() -> impl Strategy<Value = Facts> {
        (0..5_u8, 1..4_u32, 1..4_u32, any::<[bool; 2]>()).prop_map(|(gate, priority, weight, [lacks, full])| Facts {
            gate: match gate {
                0 => Gate::Trial,
                1 => Gate::Shut { until: ms(500) },
                2 => Gate::Parked { until: ms(5000) },
                _ => Gate::Open,
            },
            priority,
            weight,
            in_flight: 0,
            supports: !lacks,
            room: !full,
        })
    }

    proptest! {
        /// Whatever fails in whatever way: the bounds hold, and it ends.
        #[test]
        fn every_call_ends_within_its_bounds(
            facts in prop::collection::vec(facts(), 0..70),
            strategy in prop::sample::select(&[Order::Fastest, Order::Priority, Order::LoadBalanced, Order::LatencyWeighted][..]),
            repeatable in any::<bool>(),
            attempts_max in 0..9_u8,
            failures in prop::collection::vec((0..3_u8, any::<bool>(), any::<bool>(), 0..400_u64), 9),
        ) {
            let mut ranker = Ranker::new(facts.len(), 1);
            let table = Table(facts);
            let demand = Demand { strategy, class: MethodClass::Read, row: MethodClass::Read.into(), repeatable };
            let mut attempts = Attempts::<u32>::new(demand, ms(1000), attempts_max);
            let (mut now, mut asked, mut forced) = (ms(0), Vec::new(), 0);
            for (next, sent, unsupported, took) in failures {
                let Step::Try(attempt) = attempts.next(now, &mut ranker, &table) else { break };
                prop_assert!(!asked.contains(&attempt.provider));
                prop_assert!(attempt.first_byte_by > now && attempt.first_byte_by <= ms(1000));
                let facts = table.0[attempt.provider];
                prop_assert!(facts.supports && facts.room);
                asked.push(attempt.provider);
                forced += usize::from(attempt.forced);
                now = (now + Duration::from_millis(took)).min(attempt.first_byte_by);
                let next = [Next::Return, Next::FailOver, Next::FailOverOnce][usize::from(next)];
                attempts.on_failure(Failure { next, sent, unsupported, relayable: None });
                if next == Next::Return || (sent && !repeatable) {
                    prop_assert!(matches!(attempts.next(now, &mut ranker, &table), Step::GiveUp(_)));
                }
            }
            prop_assert!(asked.len() <= 3 && asked.len() <= usize::from(attempts_max.max(1)));
            prop_assert!(forced <= 1);
        }
    }
}
