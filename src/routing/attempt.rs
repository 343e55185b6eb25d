//! The attempts of one call: whom to ask next, how long to wait, when to stop.
//!
//! Driven by whoever does the asking:
//!
//! ```text
//! loop {
//!     match attempts.next(now, &mut ranker, &providers) {
//!         Step::Try(attempt)    => attempts.arm(hedging); send to attempt.provider, until attempt.first_byte_by
//!         Step::Wait            => another attempt still runs
//!         Step::GiveUp(reason)  => relay attempts.into_relayable(), else answer for ourselves by the reason; done
//!     }
//!     wait for what comes first:
//!         attempts.hedge_at()   => if attempts.on_hedge(..) is Step::Try(attempt), send that one too; wait on
//!         an answer             => attempts.on_answer(..) names the attempt that lost, to be cancelled; done
//!         a failure             => attempts.on_failure(..)
//! }
//! ```
//!
//! The rules, each with a test of its name:
//! - **One deadline for all**, set when the call came; at most `attempts_max` attempts, hedges included; no provider twice.
//! - **The first attempt leaves time for a second**: it may use [`FIRST_SHARE`] of what remains, when the call may be sent
//!   again and another provider stands ready. The second takes all that is left; only what it does not use is a third's.
//!   A provider that is merely slow should still win, so the larger part goes to the one that ranking thinks best.
//! - **Failover when safe**: a repeatable call goes on after any failure that another provider might not share. A call that
//!   is not goes on only when not one byte of it was sent: what a provider has read it may have done.
//! - **Fail over once** holds for the call: after two such failures the second one's word stands.
//! - **A session's calls go where it lives**, first; when that fails, on by rank as any other.
//! - **Through a shut gate once**: when no provider stands ready, one attempt may go to the least bad.
//! - **What is relayed** when all fail is the last error that may be shown to the client, whatever failed after it.
//! - **A method unknown to all who were asked is unknown**; -32601 is then our word.
//! - **A pooled connection found dead is replaced once per attempt, without counting** ([`Redial::replaces_stale`]): it was closed
//!   while nobody used it, which says nothing about the provider. The replacement is a fresh connection, so it cannot be stale in turn.
//!   For a call that is not repeatable only when nothing of it was sent: a peer that closes after reading looks the same from here.
//! - **At most two run at once, and one hedge a call**: when the attempt under way exceeds what it was given
//!   ([`Hedging`]), the next provider is asked beside it, if the budget has a hedge. Never for a call that is not repeatable,
//!   never through a shut gate, and rather to a provider that is known to be well than to one on trial: a hedge is to rescue
//!   a call, not to find out about a provider.
//! - **The first answer wins**; the other attempt is cancelled, and [`Loser`] says what that shows of its provider.
//! - **A trial has nobody beside it**: beside a provider that is well it could only lose, and one that is well again would not be
//!   found out.
//! - **A failure of one while the other runs does not end the call**, whatever it says; the other one's end decides.

use std::time::Duration;

use super::breaker::Trial;
use super::candidates::{Providers, Tried};
use super::health::Next;
use super::hedge::{HedgeBudget, Hedging};
use super::rank::{Demand, InsteadOf, Nobody, Pick, Ranker};
use super::standing::Gate;
use crate::limits::ATTEMPTS_MAX;
use crate::time::Instant;

/// The part of the remaining time that a first attempt may use when a second could follow.
pub const FIRST_SHARE: f64 = 0.6;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Try(Attempt),
    /// Nothing for now: an attempt is under way.
    Wait,
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
    /// It runs beside another one.
    pub hedge: bool,
    /// Connecting, waiting for a connection and for the first byte all end here.
    pub first_byte_by: Instant,
    pub redial: Redial,
}

/// The right of one attempt to another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redial {
    repeatable: bool,
    /// Its pooled connection has been replaced.
    replaced: bool,
}

impl Redial {
    /// It used a pooled connection that turned out to be dead before any byte of an answer. `sent`: whether a byte of
    /// the call may have reached the provider.
    ///
    /// `true`: do the same attempt again, on a fresh connection, until the same moment. `false`: it has failed.
    pub const fn replaces_stale(&mut self, sent: bool) -> bool {
        let safe = self.repeatable || !sent;
        let replaces = safe && !self.replaced;
        self.replaced |= replaces;
        replaces
    }
}

/// The attempt that was still under way when another one was answered. It is to be cancelled. Its trial, if it was one,
/// is not to be released but forgotten, so that it holds its place until its lease ends: given back at once it would be
/// every next call's, and a provider that hangs would get them all without ever failing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loser {
    pub provider: usize,
    pub number: u8,
    pub shows: Shows,
}

/// What an attempt shows that was cancelled. Nothing about health: it was not allowed to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// It had less time than it was expected to take; or it raced, and all that is known is that another was faster.
    Nothing,
    /// It would have taken at least this long.
    AtLeast(Duration),
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
    /// Those under way: one, or two with a hedge.
    running: [Option<Running>; 2],
    hedge: Hedge,
    /// One attempt has gone through a shut gate.
    forced: bool,
    /// One failure allowed a single further attempt.
    once: bool,
    /// Nothing more may be tried.
    stopped: bool,
    relayable: Option<T>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    provider: usize,
    number: u8,
    sent: Instant,
    first_byte_by: Instant,
    on_trial: bool,
}

#[derive(Clone, Copy, Debug)]
enum Hedge {
    /// Not asked for, or had already.
    None,
    /// Asked for, for the attempt under way.
    Armed { at: Instant, hedging: Hedging },
    /// Under way or over; an attempt was expected to take no longer than this, or raced.
    Sent { expected: Option<Duration> },
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
            running: [None; 2],
            hedge: Hedge::None,
            forced: false,
            once: false,
            stopped: false,
            relayable: None,
        }
    }

    /// The same for a call that names its provider: nobody else is asked.
    #[must_use]
    pub fn only(mut self, provider: usize) -> Self {
        self.tried = Tried::all_but(provider);
        self
    }

    /// Chooses the next attempt, once none is under way.
    pub fn next(&mut self, now: Instant, ranker: &mut Ranker, providers: &impl Providers) -> Step {
        if self.is_running() {
            return Step::Wait;
        }
        if self.stopped || self.made >= self.made_max {
            return Step::GiveUp(self.reason(now, Nobody::Out));
        }
        if now >= self.deadline {
            return Step::GiveUp(Reason::Deadline);
        }
        match ranker.pick(now, self.demand, self.tried, !self.forced, providers) {
            Ok(pick) => Step::Try(self.begin(now, pick, false)),
            Err(nobody) => Step::GiveUp(self.reason(now, nobody)),
        }
    }

    /// The first attempt of a call whose session lives at `provider`, against which nothing stands.
    #[cold]
    pub fn at_home(&mut self, now: Instant, provider: usize, providers: &impl Providers) -> Attempt {
        let ready = |other| other != provider && providers.facts(other, now).gate == Gate::Open;
        let spare = (0..providers.count()).any(ready);
        self.begin(now, Pick { provider, trial: None, forced: false, spare, explored: None }, false)
    }

    /// What may be done about the attempt that [`Attempts::next`] has just given, should it take its time.
    pub fn arm(&mut self, hedging: Hedging) {
        let (Some(running), Some(delay)) = (self.running().next(), hedging.delay()) else {
            return;
        };
        let at = running.sent + delay;
        let allowed = self.demand.repeatable && self.made < self.made_max && !matches!(self.hedge, Hedge::Sent { .. });
        // From then on the next attempt is due by itself.
        if allowed && !running.on_trial && at < running.first_byte_by {
            self.hedge = Hedge::Armed { at, hedging };
        }
    }

    /// When [`Attempts::on_hedge`] is due.
    #[must_use]
    pub const fn hedge_at(&self) -> Option<Instant> {
        match self.hedge {
            Hedge::Armed { at, .. } => Some(at),
            Hedge::None | Hedge::Sent { .. } => None,
        }
    }

    /// The attempt under way has taken its time: chooses one to run beside it, or says [`Step::Wait`].
    pub fn on_hedge(
        &mut self,
        now: Instant,
        budget: &mut HedgeBudget,
        ranker: &mut Ranker,
        providers: &impl Providers,
    ) -> Step {
        let Hedge::Armed { at, hedging } = self.hedge else {
            return Step::Wait;
        };
        if now < at {
            return Step::Wait;
        }
        self.hedge = Hedge::None;
        let race = hedging == Hedging::Race;
        if now >= self.deadline || !(race || budget.has()) {
            return Step::Wait;
        }
        // Ranked as a call that may not be repeated: those on trial and those not known come last.
        let demand = Demand { repeatable: false, ..self.demand };
        let Ok(pick) = ranker.pick(now, demand, self.tried, false, providers) else {
            return Step::Wait;
        };
        if !race {
            budget.take();
        }
        self.hedge = Hedge::Sent { expected: hedging.delay().filter(|_| !race) };
        Step::Try(self.begin(now, pick, true))
    }

    /// Attempt `number` was answered: the call has ended. Tells which other one is to be cancelled.
    pub fn on_answer(&mut self, now: Instant, number: u8) -> Option<Loser> {
        self.end(number);
        self.stopped = true;
        let lost = self.running.iter_mut().find_map(Option::take)?;
        let had = now.since(lost.sent);
        let shows = match self.hedge {
            Hedge::Sent { expected: Some(expected) } if had >= expected => Shows::AtLeast(had),
            _ => Shows::Nothing,
        };
        Some(Loser { provider: lost.provider, number: lost.number, shows })
    }

    /// Attempt `number` has failed.
    pub fn on_failure(&mut self, number: u8, failure: Failure<T>) {
        self.end(number);
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

    /// Whether an attempt is under way.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running().next().is_some()
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

    fn begin(&mut self, now: Instant, pick: Pick, hedge: bool) -> Attempt {
        let Pick { provider, trial, forced, spare, explored } = pick;
        self.tried.add(provider);
        self.forced |= forced;
        self.made += 1;
        let first_byte_by = self.first_byte_by(now, spare);
        let on_trial = trial.is_some();
        let running = Running { provider, number: self.made, sent: now, first_byte_by, on_trial };
        if let Some(free) = self.running.iter_mut().find(|place| place.is_none()) {
            *free = Some(running);
        }
        let repeatable = self.demand.repeatable;
        Attempt {
            provider,
            number: self.made,
            trial,
            forced,
            explored,
            hedge,
            first_byte_by,
            redial: Redial { repeatable, replaced: false },
        }
    }

    fn end(&mut self, number: u8) {
        for place in &mut self.running {
            place.take_if(|running| running.number == number);
        }
        if let Hedge::Armed { .. } = self.hedge {
            self.hedge = Hedge::None;
        }
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.running.iter().flatten()
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

    use super::super::breaker::{Breaker, BreakerConfig};
    use super::super::candidates::Facts;
    use super::super::footing::Footing;
    use super::super::hedge::HedgeConfig;
    use super::super::standing::Gate;
    use super::super::strategy::Strategy as Order;
    use super::*;
    use crate::jsonrpc::MethodClass;

    const READY: Facts = Facts::READY;
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
        /// The newest attempt fails.
        fn fails(&mut self, failure: Failure<u32>) {
            self.attempts.on_failure(self.attempts.made(), failure);
        }

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
                other => panic!("{other:?}"),
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
            world.fails(failed(Next::FailOver));
        }
        world.gives_up(ms(0), Reason::NoProvider);
        assert_eq!(world.attempts.made(), 3);
    }

    #[test]
    fn the_first_attempt_leaves_time_for_a_second() {
        let mut first = world(&[READY; 3], true);
        assert_eq!(first.tries(ms(0), 0), ms(600));
        first.fails(failed(Next::FailOver));
        assert_eq!(first.tries(ms(600), 1), ms(1000));
        assert_eq!(
            world(&[READY, Facts { held: true, ..READY }], true).tries(ms(0), 0),
            ms(600),
            "held is no less able"
        );
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
        slow.fails(failed(Next::FailOver));
        slow.tries(ms(600), 1);
        slow.fails(failed(Next::FailOver));
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
            world.fails(Failure { sent, ..failed(Next::FailOver) });
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
                world.fails(failed(next));
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
            world.fails(Failure { relayable, ..failed(Next::FailOver) });
        }
        assert_eq!(world.attempts.into_relayable(), Some(2));
    }

    #[test]
    fn a_method_unknown_to_all_who_were_asked_is_unknown() {
        world(&[LACKS; 2], true).gives_up(ms(0), Reason::MethodUnknown);
        let mut learns = world(&[READY, LACKS, READY], true);
        for provider in [0, 2] {
            learns.tries(ms(0), provider);
            learns.fails(LACKS_METHOD);
        }
        learns.gives_up(ms(0), Reason::MethodUnknown);
        let mut mixed = world(&[READY; 2], true);
        mixed.tries(ms(0), 0);
        mixed.fails(LACKS_METHOD);
        mixed.tries(ms(0), 1);
        mixed.fails(failed(Next::FailOver));
        mixed.gives_up(ms(0), Reason::NoProvider);
        assert_eq!(mixed.attempts.into_relayable(), Some(32_601));
    }

    #[test]
    fn through_a_shut_gate_once() {
        let mut world = world(&[READY, SHUT, SHUT], true);
        world.tries(ms(0), 0);
        world.fails(failed(Next::FailOver));
        assert!(matches!(world.next(ms(0)), Step::Try(Attempt { provider: 1, forced: true, .. })));
        world.fails(failed(Next::FailOver));
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
        world.fails(failed(Next::FailOver));
        world.gives_up(ms(0), Reason::NoProvider);
    }

    #[test]
    fn a_sessions_calls_go_where_it_lives() {
        let mut world = world(&[READY; 3], true);
        let first = world.attempts.at_home(ms(0), 2, &world.table);
        assert!(first.provider == 2 && first.first_byte_by < ms(1000), "it leaves time for a second");
        world.fails(failed(Next::FailOver));
        // Then on by rank.
        world.tries(ms(0), 0);
        world.fails(failed(Next::FailOver));
        world.tries(ms(0), 1);
    }

    #[test]
    fn a_dead_pooled_connection_is_replaced_once_per_attempt() {
        let attempt = |world: &mut World| match world.next(ms(0)) {
            Step::Try(attempt) => attempt,
            other => panic!("{other:?}"),
        };
        let mut repeatable = world(&[READY; 2], true);
        let mut first = attempt(&mut repeatable);
        assert!(first.redial.replaces_stale(true));
        assert!(!first.redial.replaces_stale(true));
        repeatable.fails(failed(Next::FailOver));
        assert!(attempt(&mut repeatable).redial.replaces_stale(false));
        assert_eq!(repeatable.attempts.made(), 2);

        let mut once = attempt(&mut world(&[READY], false));
        assert!(!once.redial.replaces_stale(true), "it may have been read");
        assert!(once.redial.replaces_stale(false));
    }

    const AFTER_100: Hedging = Hedging::After(Duration::from_millis(100));

    impl World {
        /// What comes of a hedge at `at`: the provider it goes to.
        fn hedges(&mut self, at: Instant, budget: &mut HedgeBudget) -> Option<usize> {
            match self.attempts.on_hedge(at, budget, &mut self.ranker, &self.table) {
                Step::Try(attempt) => {
                    assert!(attempt.hedge && !attempt.forced && attempt.first_byte_by == self.attempts.deadline());
                    Some(attempt.provider)
                }
                Step::Wait => None,
                Step::GiveUp(reason) => panic!("{reason:?} while an attempt runs"),
            }
        }
    }

    fn budget_of(hedges: u32) -> HedgeBudget {
        let (mut budget, config) = (HedgeBudget::new(), HedgeConfig::DEFAULT);
        (0..hedges * 100 / config.budget_percent).for_each(|_| budget.on_call(&config));
        budget
    }

    #[test]
    fn the_first_answer_wins_and_what_the_loser_shows_is_said() {
        // Winner, when → what the loser shows. The hedge is sent after 100 ms.
        let at_least = |ms| Shows::AtLeast(Duration::from_millis(ms));
        for (winner, at, provider, shows) in
            [(2, 130, 0, at_least(130)), (1, 130, 1, Shows::Nothing), (1, 250, 1, at_least(150))]
        {
            let mut world = world(&[READY; 3], true);
            world.tries(ms(0), 0);
            world.attempts.arm(AFTER_100);
            assert_eq!(world.attempts.hedge_at(), Some(ms(100)));
            assert_eq!(world.hedges(ms(99), &mut budget_of(1)), None, "not yet");
            assert_eq!(world.hedges(ms(100), &mut budget_of(1)), Some(1));
            assert_eq!(world.attempts.hedge_at(), None, "one hedge a call");
            let loser = world.attempts.on_answer(ms(at), winner);
            assert_eq!(loser, Some(Loser { provider, number: 3 - winner, shows }));
            assert!(!world.attempts.is_running());
        }
        let mut raced = world(&[READY; 3], true);
        raced.tries(ms(0), 0);
        raced.attempts.arm(Hedging::Race);
        assert_eq!(raced.hedges(ms(0), &mut HedgeBudget::new()), Some(1));
        // A sample as short as the winner's would make who always loses look as fast.
        let loser = raced.attempts.on_answer(ms(130), 2);
        assert_eq!(loser, Some(Loser { provider: 0, number: 1, shows: Shows::Nothing }));
        let mut alone = world(&[READY; 3], true);
        alone.tries(ms(0), 0);
        alone.attempts.arm(AFTER_100);
        assert_eq!(alone.attempts.on_answer(ms(50), 1), None);
        assert_eq!(alone.attempts.hedge_at(), None, "nobody is left to be hedged");
    }

    #[test]
    fn a_failure_of_one_while_the_other_runs_does_not_end_the_call() {
        for next in [Next::FailOver, Next::FailOverOnce, Next::Return] {
            for failing in [1, 2] {
                let mut world = world(&[READY; 3], true);
                world.tries(ms(0), 0);
                world.attempts.arm(AFTER_100);
                world.hedges(ms(100), &mut budget_of(1));
                world.attempts.on_failure(failing, failed(next));
                assert_eq!(world.next(ms(110)), Step::Wait, "{next:?}");
                assert_eq!(world.attempts.on_answer(ms(120), 3 - failing), None, "nobody is left to lose");
            }
        }
        let mut both = world(&[READY; 3], true);
        both.tries(ms(0), 0);
        both.attempts.arm(AFTER_100);
        both.hedges(ms(100), &mut budget_of(1));
        both.attempts.on_failure(1, failed(Next::FailOver));
        both.attempts.on_failure(2, failed(Next::FailOver));
        both.tries(ms(110), 2);
    }

    #[test]
    fn hedges_keep_to_the_budget_and_races_do_not() {
        let mut poor = world(&[READY; 3], true);
        poor.tries(ms(0), 0);
        poor.attempts.arm(AFTER_100);
        assert_eq!(poor.hedges(ms(100), &mut HedgeBudget::new()), None);
        assert_eq!(poor.attempts.hedge_at(), None, "asked once");

        let mut race = world(&[READY; 3], true);
        race.tries(ms(5), 0);
        race.attempts.arm(Hedging::Race);
        assert_eq!(race.attempts.hedge_at(), Some(ms(5)));
        let mut budget = budget_of(1);
        assert_eq!(race.hedges(ms(5), &mut budget), Some(1));
        assert!(budget.has(), "it costs nothing");
    }

    #[test]
    fn no_hedge_where_none_is_allowed_or_none_would_help() {
        // Facts, repeatable, attempts, hedging.
        let trial = Facts { gate: Gate::Trial, ..READY };
        let cases: [(&[Facts], bool, u8, Hedging); 7] = [
            (&[READY, READY], false, 3, AFTER_100),
            (&[READY, READY], false, 3, Hedging::Race),
            (&[READY, READY], true, 1, AFTER_100),
            (&[READY, READY], true, 3, Hedging::Never),
            (&[READY, READY], true, 3, Hedging::After(Duration::from_millis(600))),
            (&[READY, SHUT, LACKS, FULL], true, 3, AFTER_100),
            (&[READY], true, 3, AFTER_100),
        ];
        for (facts, repeatable, attempts_max, hedging) in cases {
            let mut world = world(facts, repeatable);
            world.attempts = Attempts::new(world.attempts.demand, ms(1000), attempts_max);
            world.tries(ms(0), 0);
            world.attempts.arm(hedging);
            assert_eq!(world.hedges(ms(600), &mut budget_of(1)), None, "{facts:?} {hedging:?}");
            assert_eq!(world.attempts.made(), 1);
        }
        let mut known_first = world(&[READY, trial, READY], true);
        known_first.table.0[1].gate = Gate::Open;
        known_first.tries(ms(0), 0);
        known_first.attempts.arm(AFTER_100);
        known_first.table.0[1].gate = Gate::Trial;
        assert_eq!(known_first.hedges(ms(100), &mut budget_of(1)), Some(2), "not to the one on trial");
    }

    /// Providers whose trials are to be had.
    struct Granting(Table);

    impl Providers for Granting {
        fn count(&self) -> usize {
            self.0.count()
        }

        fn facts(&self, provider: usize, now: Instant) -> Facts {
            self.0.facts(provider, now)
        }

        fn claim_trial(&self, _provider: usize, now: Instant) -> Option<Trial> {
            let config = BreakerConfig { failures: 1, cooldown: Duration::ZERO, ..BreakerConfig::DEFAULT };
            let breaker = Breaker::new();
            breaker.on_failure(now, None, &config, 0);
            breaker.claim_trial(now + Duration::from_millis(1)).map(|(trial, _)| trial)
        }
    }

    #[test]
    fn a_trial_has_nobody_beside_it() {
        let demand = Demand { strategy: Order::Fastest, ..world(&[], true).attempts.demand };
        for (gate, hedging, expected) in [
            (Gate::Trial, AFTER_100, None),
            (Gate::Open, AFTER_100, Some(ms(100))),
            (Gate::Trial, Hedging::Race, None),
            (Gate::Open, Hedging::Race, Some(ms(0))),
        ] {
            let (mut attempts, mut ranker) = (Attempts::<()>::new(demand, ms(1000), 3), Ranker::new(2, 1));
            let providers = Granting(Table(vec![Facts { gate, ..READY }, READY]));
            let Step::Try(first) = attempts.next(ms(0), &mut ranker, &providers) else { panic!("nobody is asked") };
            assert_eq!((first.provider, first.trial.is_some()), (0, gate == Gate::Trial));
            attempts.arm(hedging);
            assert_eq!(attempts.hedge_at(), expected, "{gate:?} {hedging:?}");
        }
    }

    #[test]
    fn a_second_attempt_is_hedged_where_the_first_was_not() {
        let mut world = world(&[READY; 3], true);
        world.tries(ms(0), 0);
        world.attempts.arm(AFTER_100);
        world.fails(failed(Next::FailOver));
        assert_eq!(world.attempts.hedge_at(), None);
        world.tries(ms(50), 1);
        world.attempts.arm(AFTER_100);
        assert_eq!(world.attempts.hedge_at(), Some(ms(150)));
        assert_eq!(world.hedges(ms(150), &mut budget_of(1)), Some(2));
        assert_eq!(world.attempts.made(), 3, "hedges count");
    }

    fn facts() -> impl Strategy<Value = Facts> {
        const FOOTINGS: [Footing; 3] = [Footing::InStep, Footing::OutOfStep, Footing::WrongChain];
        (0..5_u8, 0..3_u8, 1..4_u32, 1..4_u32, any::<[bool; 3]>()).prop_map(
            |(gate, footing, priority, weight, [lacks, full, held])| Facts {
                gate: match gate {
                    0 => Gate::Trial,
                    1 => Gate::Shut { until: ms(500) },
                    2 => Gate::Parked { until: ms(5000) },
                    _ => Gate::Open,
                },
                held,
                footing: FOOTINGS[usize::from(footing)],
                priority,
                weight,
                in_flight: 0,
                supports: !lacks,
                room: !full,
            },
        )
    }

    /// How an attempt of the property below ends, and after how many ms; it is late where its time runs out before.
    #[derive(Clone, Debug)]
    struct End {
        after: u64,
        answers: bool,
        next: Next,
        sent: bool,
        unsupported: bool,
    }

    fn end() -> impl Strategy<Value = End> {
        let next = prop::sample::select(&[Next::Return, Next::FailOver, Next::FailOver, Next::FailOverOnce][..]);
        (0..500_u64, prop::bool::weighted(0.3), next, any::<[bool; 2]>())
            .prop_map(|(after, answers, next, [sent, unsupported])| End { after, answers, next, sent, unsupported })
    }

    fn hedging() -> impl Strategy<Value = Hedging> {
        prop_oneof![
            1 => Just(Hedging::Never),
            3 => (0..700_u64).prop_map(|after| Hedging::After(Duration::from_millis(after))),
            1 => Just(Hedging::Race),
        ]
    }

    proptest! {
        /// Whatever fails in whatever way, hedged or not: the bounds hold, and it ends once.
        #[test]
        fn every_call_ends_within_its_bounds(
            facts in prop::collection::vec(facts(), 0..70),
            strategy in prop::sample::select(&[Order::Fastest, Order::Priority, Order::LoadBalanced, Order::LatencyWeighted][..]),
            repeatable in any::<bool>(),
            attempts_max in 0..9_u8,
            ends in prop::collection::vec(end(), 4),
            hedging in hedging(),
            hedges in 0..2_u32,
        ) {
            let mut ranker = Ranker::new(facts.len(), 1);
            let table = Table(facts);
            let demand = Demand { strategy, class: MethodClass::Read, row: MethodClass::Read.into(), repeatable };
            let mut attempts = Attempts::<u32>::new(demand, ms(1000), attempts_max);
            let (mut now, mut asked, mut forced, mut budget) = (ms(0), Vec::new(), 0, budget_of(hedges));
            // When each ends that runs, by number, and whether it is late then.
            let mut running: Vec<(Instant, u8, bool)> = Vec::new();
            let (mut hedged, mut unsafe_failure) = (0, false);
            let answered = loop {
                let next = attempts.next(now, &mut ranker, &table);
                let begun = match next {
                    Step::Try(attempt) => {
                        prop_assert!(running.is_empty() && !attempt.hedge && !unsafe_failure);
                        attempts.arm(hedging);
                        Some(attempt)
                    }
                    Step::GiveUp(_) => {
                        prop_assert!(running.is_empty(), "gave up while one was under way");
                        break false;
                    }
                    Step::Wait => {
                        prop_assert!(!running.is_empty());
                        let soonest = running.iter().min().copied().unwrap();
                        match attempts.hedge_at() {
                            Some(at) if at < soonest.0 => {
                                now = now.max(at);
                                match attempts.on_hedge(now, &mut budget, &mut ranker, &table) {
                                    Step::Try(attempt) => Some(attempt),
                                    step => {
                                        prop_assert_eq!(step, Step::Wait);
                                        None
                                    }
                                }
                            }
                            _ => {
                                running.retain(|one| *one != soonest);
                                now = soonest.0;
                                let (number, late) = (soonest.1, soonest.2);
                                let End { answers, next, sent, unsupported, .. } = ends[usize::from(number)].clone();
                                if answers && !late {
                                    let loser = attempts.on_answer(now, number);
                                    prop_assert_eq!(loser.map(|l| l.number), running.first().map(|r| r.1));
                                    break true;
                                }
                                unsafe_failure = sent && !repeatable;
                                attempts.on_failure(number, Failure { next, sent, unsupported, relayable: None });
                                None
                            }
                        }
                    }
                };
                if let Some(attempt) = begun {
                    prop_assert!(!asked.contains(&attempt.provider));
                    prop_assert!(attempt.first_byte_by > now && attempt.first_byte_by <= ms(1000));
                    let facts = table.0[attempt.provider];
                    prop_assert!(facts.supports && facts.room);
                    asked.push(attempt.provider);
                    forced += usize::from(attempt.forced);
                    hedged += u32::from(attempt.hedge);
                    let end = now + Duration::from_millis(ends[usize::from(attempt.number)].after);
                    let late = end >= attempt.first_byte_by;
                    running.push((end.min(attempt.first_byte_by), attempt.number, late));
                    prop_assert!(running.len() <= 1 + usize::from(repeatable));
                }
            };
            prop_assert!(asked.len() <= 3 && asked.len() <= usize::from(attempts_max.max(1)));
            prop_assert!(forced <= 1 && hedged <= 1 && now <= ms(1000));
            prop_assert!(hedged <= hedges || hedging == Hedging::Race);
            let after = attempts.next(now, &mut ranker, &table);
            prop_assert!(matches!(after, Step::GiveUp(_)), "it ends once, answered or not: {answered}");
        }
    }
}
