//! How a provider and a chain stand now: one definition for health endpoints, pages and metrics.

use crate::jsonrpc::MethodClass;
use crate::link::{ChainEntry, ProviderEntry};
use crate::routing::{Admission, Footing, Rest, Score, StandingConfig};
use crate::time::Instant;

/// A provider's breaker in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    /// Open, but the next call may try.
    HalfOpen,
    Open,
}

impl BreakerState {
    /// Of `provider` at `now`.
    #[must_use]
    pub fn of(provider: &ProviderEntry, now: Instant) -> Self {
        match provider.slot.standing.admission(now) {
            Admission::Yes => Self::Closed,
            Admission::Trial => Self::HalfOpen,
            Admission::No { .. } => Self::Open,
        }
    }

    /// The word used in pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// Why `provider` is left alone, if it is, and for how many seconds more.
#[must_use]
pub fn rest(provider: &ProviderEntry, now: Instant) -> Option<(&'static str, f64)> {
    let (word, until) = match provider.slot.standing.rest(now)? {
        Rest::Cooled { until } => ("cooled", until),
        Rest::Parked { until } => ("parked", until),
    };
    Some((word, until.since(now).as_secs_f64()))
}

/// Whether calls can be sent to `provider`: its address is known, its breaker lets them, it is of the right chain and takes
/// our credentials. A rest does not count: it ends by itself, and a provider that limits us is alive.
#[must_use]
pub fn provider_usable(provider: &ProviderEntry, now: Instant) -> bool {
    !provider.addresses.is_empty()
        && BreakerState::of(provider, now) != BreakerState::Open
        && !matches!(provider.slot.footing.get(), Footing::WrongChain | Footing::Refused)
}

/// Why `provider` is passed over, if it is, in one word: what keeps it from most calls comes first. `footing`: why it is out as
/// far as its chain goes.
#[must_use]
pub fn out(provider: &ProviderEntry, footing: Option<&'static str>, now: Instant) -> Option<&'static str> {
    let for_all = matches!(provider.slot.footing.get(), Footing::WrongChain | Footing::Refused);
    let wrong = footing.filter(|_| for_all);
    let unresolved = provider.addresses.is_empty().then_some("unresolved");
    let open = (BreakerState::of(provider, now) == BreakerState::Open).then_some("breaker");
    wrong.or(unresolved).or(open).or_else(|| Some(rest(provider, now)?.0)).or(footing)
}

/// Whether calls on `chain` can be answered.
#[must_use]
pub fn chain_usable(chain: &ChainEntry, now: Instant) -> bool {
    chain.providers.iter().any(|provider| provider_usable(provider, now))
}

/// What a provider gets of the calls of a class, in the order in which providers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// All that ranking gives it.
    Ready,
    /// A part of it, growing: its breaker has just closed.
    Easing,
    /// A call that finds out whether it is back.
    Trial,
    /// What is left when no other is ready.
    Last,
    /// Nothing.
    Out,
}

impl State {
    pub const ALL: [Self; 5] = [Self::Ready, Self::Easing, Self::Trial, Self::Last, Self::Out];

    /// The word used in pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Easing => "easing",
            Self::Trial => "trial",
            Self::Last => "last",
            Self::Out => "out",
        }
    }
}

/// Something that keeps calls from a provider, or some of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    pub word: &'static str,
    /// For how long still, where that is known.
    pub seconds: Option<f64>,
    state: State,
}

/// What `provider` gets of the calls of `class`, and why so. `score`: its figures for the class, where there are any.
#[must_use]
pub fn class_state(
    provider: &ProviderEntry,
    class: MethodClass,
    score: Option<&Score>,
    now: Instant,
    config: &StandingConfig,
) -> (State, Vec<Reason>) {
    let standing = &provider.slot.standing;
    let mut reasons = Vec::new();
    let mut add = |state, word, until: Option<Instant>| {
        reasons.push(Reason { word, seconds: until.map(|until| until.since(now).as_secs_f64()), state });
    };
    if provider.addresses.is_empty() {
        add(State::Out, "no_address", None);
    }
    match provider.slot.footing.get().for_class(class) {
        Footing::InStep => {}
        Footing::OutOfStep => add(State::Last, "out_of_step", None),
        Footing::WrongChain => add(State::Out, "wrong_chain", None),
        Footing::Refused => add(State::Out, "key_refused", None),
        Footing::Unasked => add(State::Last, "unasked", None),
    }
    match standing.admission(now) {
        Admission::No { until } => add(State::Out, "breaker_open", Some(until)),
        Admission::Trial => add(State::Trial, "breaker_half_open", None),
        Admission::Yes if standing.share(now, config) < 1.0 => add(State::Easing, "breaker_easing", None),
        Admission::Yes => {}
    }
    let rests =
        [(standing.rest(now), "cooled", "parked"), (standing.class_rest(now, class), "class_cooled", "class_parked")];
    for (rest, cooled, parked) in rests {
        match rest {
            Some(Rest::Cooled { until }) => add(State::Out, cooled, Some(until)),
            Some(Rest::Parked { until }) => add(State::Out, parked, Some(until)),
            None => {}
        }
    }
    if let Some(full) = provider.full(now, class) {
        add(State::Out, full.name(), None);
    }
    if score.is_some_and(|score| score.poor) {
        add(State::Last, "success_floor", None);
    }
    (reasons.iter().map(|reason| reason.state).max().unwrap_or(State::Ready), reasons)
}
