//! A provider's cooldown: leaves a provider alone that has said "too many".
//!
//! A rate limit is no failure: the provider is well and asks for less. So it has a word of its own beside the breaker's.
//! The first refusal cools the provider for a second, each one after that for twice as long, up to a minute; where the
//! provider says how long (`Retry-After`), that holds instead, up to ten minutes. A used-up quota or an unpaid bill
//! *parks* it: ten minutes, whatever it says.
//!
//! **Waves.** Sixty calls are under way when the first is refused; fifty more refusals and nine answers follow within
//! milliseconds. Neither may count: the refusals would drive the back-off to its limit, the answers would lift what has
//! just begun. So the word remembers when the cooldown *began*, and news of calls sent before that is old news:
//! - refused while it lasts: only a longer `Retry-After` prolongs it;
//! - refused after it has ended: the next one begins, twice as long, unless the call was sent before it began;
//! - answered: lifts it, back-off included, when the call was sent after it began (after its end, or through a closed gate
//!   because no provider was left).
//!
//! **By class.** Where the provider says that it limits one kind of call (its `eth_getLogs`), only that method class rests: there is a
//! word for the provider and one for each class ([`Cooldowns`]). An answer lifts the provider's word and that of its own
//! class; what it says about another class's limit is nothing.
//!
//! Packed in one `AtomicU64` as 36 bits *until*, 22 bits *length*, 4 bits back-off, 2 bits kind, in ticks of 16.384 ms: coarse,
//! as providers count in seconds. Until is rounded up: never early. Memory order and bounded loops as in the breaker.

use std::time::Duration;

use super::breaker::back_off;
use crate::jsonrpc::MethodClass;
use crate::time::Instant;
use crate::word::SharedWord;

/// How long providers are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CooldownConfig {
    /// The first time; doubles with each refusal after it.
    pub first: Duration,
    pub max: Duration,
    /// The longest `Retry-After` that is believed: a clumsy or hostile header must not take a provider out for a day.
    pub retry_after_max: Duration,
    /// For a used-up quota or an unpaid bill.
    pub park: Duration,
}

impl CooldownConfig {
    /// Rates are counted per second or per minute: after a minute any window has passed. What is short when a provider
    /// parks is a month's plan, and a look every ten minutes finds the new one.
    pub const DEFAULT: Self = Self {
        first: Duration::from_secs(1),
        max: Duration::from_mins(1),
        retry_after_max: Duration::from_mins(10),
        park: Duration::from_mins(10),
    };
}

impl Default for CooldownConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a provider is left alone, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    Cooled { until: Instant },
    Parked { until: Instant },
}

/// A change, told once, to the shard that made it. A cooldown that runs out is no change: nobody writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestChange {
    Began(Rest),
    Lifted,
}

/// A provider's cooldowns: its own, and one for each method class. 88 bytes; all shards read two words a call.
#[derive(Debug, Default)]
pub struct Cooldowns {
    provider: Cooldown,
    /// By [`MethodClass::index`].
    classes: [Cooldown; MethodClass::ALL.len()],
}

impl Cooldowns {
    #[must_use]
    pub const fn new() -> Self {
        Self { provider: Cooldown::new(), classes: [const { Cooldown::new() }; MethodClass::ALL.len()] }
    }

    /// The provider's own.
    #[must_use]
    pub const fn provider(&self) -> &Cooldown {
        &self.provider
    }

    /// That of one class alone.
    #[must_use]
    pub const fn class(&self, class: MethodClass) -> &Cooldown {
        &self.classes[class.index()]
    }

    /// Whether neither has anything to tell of calls of `class`, as nearly always. Reads only.
    #[inline]
    #[must_use]
    pub fn is_at_rest(&self, class: MethodClass) -> bool {
        self.provider.0.get() | self.class(class).0.get() == 0
    }

    /// Whether calls of `class` are left alone now: the later of both; parked, whatever the class, once the provider is.
    #[must_use]
    pub fn rests(&self, now: Instant, class: MethodClass) -> Option<Rest> {
        if self.is_at_rest(class) {
            return None;
        }
        let (whole, own) = (self.provider.rests(now), self.class(class).rests(now));
        match (whole, own) {
            (Some(Rest::Cooled { until }), Some(Rest::Cooled { until: other })) => {
                Some(Rest::Cooled { until: until.max(other) })
            }
            (whole, own) => whole.or(own),
        }
    }
}

/// One cooldown; see the module.
#[derive(Debug, Default)]
pub struct Cooldown(SharedWord);

impl Cooldown {
    #[must_use]
    pub const fn new() -> Self {
        Self(SharedWord::new(0))
    }

    /// Whether the provider is left alone now. Reads only.
    #[must_use]
    pub fn rests(&self, now: Instant) -> Option<Rest> {
        let packed = self.0.get();
        if packed == 0 {
            return None;
        }
        let word = Word::unpack(packed);
        if floor(now) >= word.until { None } else { word.rest() }
    }

    /// A call sent at `sent` was refused for its rate.
    pub fn on_limited(
        &self,
        now: Instant,
        sent: Instant,
        retry_after: Option<Duration>,
        config: &CooldownConfig,
    ) -> Option<RestChange> {
        // "Retry after 0" tells nothing; the back-off does.
        let asked = retry_after.filter(|asked| !asked.is_zero()).map(|asked| asked.min(config.retry_after_max));
        self.update(|word| {
            if floor(now) < word.until {
                return word.prolonged(now, asked?);
            }
            if word.kind != Kind::None && floor(sent) < word.since() {
                return None;
            }
            let times = if word.kind == Kind::Cooled { word.times.saturating_add(1) } else { 1 };
            let length = asked.unwrap_or_else(|| back_off(config.first, config.max, times));
            Some(Word::new(Kind::Cooled, times, now, length))
        })
        .map(RestChange::Began)
    }

    /// A quota is used up.
    pub fn on_parked(&self, now: Instant, config: &CooldownConfig) -> Option<RestChange> {
        self.update(|word| {
            let parked = word.kind == Kind::Parked && floor(now) < word.until;
            (!parked).then(|| Word::new(Kind::Parked, 0, now, config.park))
        })
        .map(RestChange::Began)
    }

    /// A call sent at `sent` was answered.
    pub fn on_success(&self, now: Instant, sent: Instant) -> Option<RestChange> {
        let (before, _) = self.0.change(|seen| {
            if seen == 0 {
                return None;
            }
            let word = Word::unpack(seen);
            (word.kind != Kind::None && floor(sent) >= word.since()).then_some(0)
        })?;
        // One that ran out has ended already: only its back-off was left.
        (floor(now) < Word::unpack(before).until).then_some(RestChange::Lifted)
    }

    fn update(&self, change: impl Fn(Word) -> Option<Word>) -> Option<Rest> {
        let (_, after) = self.0.change(|seen| change(Word::unpack(seen)).map(Word::pack))?;
        Word::unpack(after).rest()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    None,
    Cooled,
    Parked,
}

/// The word unpacked. `until`, `length` and what they imply are ticks; `length <= until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    kind: Kind,
    /// Refusals in a row, waves counted once.
    times: u8,
    until: u64,
    length: u64,
}

const TICK_BITS: u32 = 14;
const UNTIL_MAX: u64 = (1 << 36) - 1;
const LENGTH_MAX: u64 = (1 << 22) - 1;
const TIMES_MAX: u8 = (1 << 4) - 1;

impl Word {
    fn new(kind: Kind, times: u8, now: Instant, length: Duration) -> Self {
        let length = ceil(Instant::START + length).clamp(1, LENGTH_MAX);
        Self { kind, times: times.min(TIMES_MAX), until: (ceil(now) + length).min(UNTIL_MAX), length }
    }

    /// When it began, rounded up: what was sent within its first tick counts as sent before.
    fn since(self) -> u64 {
        self.until - self.length
    }

    /// The same cooldown, until `asked` from now where that is later. A parked one rests longer than any header asks.
    fn prolonged(self, now: Instant, asked: Duration) -> Option<Self> {
        let until = Self::new(self.kind, self.times, now, asked).until;
        let longer = self.kind == Kind::Cooled && until > self.until;
        longer.then(|| Self { until, length: (until - self.since()).min(LENGTH_MAX), ..self })
    }

    fn rest(self) -> Option<Rest> {
        let until = Instant::from_micros(self.until << TICK_BITS);
        match self.kind {
            Kind::None => None,
            Kind::Cooled => Some(Rest::Cooled { until }),
            Kind::Parked => Some(Rest::Parked { until }),
        }
    }

    fn pack(self) -> u64 {
        let kind = match self.kind {
            Kind::None => 0,
            Kind::Cooled => 1,
            Kind::Parked => 2,
        };
        self.until | self.length << 36 | u64::from(self.times) << 58 | kind << 62
    }

    fn unpack(word: u64) -> Self {
        Self {
            until: word & UNTIL_MAX,
            length: (word >> 36) & LENGTH_MAX,
            times: ((word >> 58) & 0xf) as u8,
            kind: match word >> 62 {
                0 => Kind::None,
                1 => Kind::Cooled,
                _ => Kind::Parked,
            },
        }
    }
}

const fn floor(at: Instant) -> u64 {
    at.micros() >> TICK_BITS
}

const fn ceil(at: Instant) -> u64 {
    at.micros().div_ceil(1 << TICK_BITS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two ticks: one from rounding the beginning, one from rounding the length.
    const SLACK: Duration = Duration::from_micros(2 << TICK_BITS);

    fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn length(change: Option<RestChange>, now: Instant) -> Duration {
        match change {
            Some(RestChange::Began(Rest::Cooled { until } | Rest::Parked { until })) => until.since(now),
            other => panic!("no cooldown began: {other:?}"),
        }
    }

    #[track_caller]
    fn check_length(change: Option<RestChange>, now: Instant, expected_s: u64) {
        let (length, expected) = (length(change, now), Duration::from_secs(expected_s));
        assert!(length >= expected && length <= expected + SLACK, "{length:?} is not {expected:?}");
    }

    #[test]
    fn refusals_double_it_up_to_a_minute_and_success_starts_anew() {
        let (cooldown, config) = (Cooldown::new(), CooldownConfig::default());
        let mut now = secs(100);
        for expected_s in [1, 2, 4, 8, 16, 32, 60, 60] {
            check_length(cooldown.on_limited(now, now, None, &config), now, expected_s);
            now = now + Duration::from_secs(expected_s) + SLACK;
            assert_eq!(cooldown.rests(now), None);
        }
        assert_eq!(cooldown.on_success(now, now), None, "it had run out");
        check_length(cooldown.on_limited(now, now, None, &config), now, 1);
    }

    #[test]
    fn what_the_provider_asks_for_holds_within_bounds() {
        // Retry-After in seconds → cooldown in seconds.
        for (asked, expected) in [(Some(0), 1), (None, 1), (Some(3), 3), (Some(120), 120), (Some(86_400), 600)] {
            let (cooldown, config) = (Cooldown::new(), CooldownConfig::default());
            let asked = asked.map(Duration::from_secs);
            check_length(cooldown.on_limited(secs(9), secs(9), asked, &config), secs(9), expected);
        }
    }

    #[test]
    fn a_class_rests_alone_and_with_its_provider() {
        use MethodClass::{Head, Logs};
        let (cooldowns, config) = (Cooldowns::new(), CooldownConfig::default());
        cooldowns.class(Logs).on_limited(secs(10), secs(10), Some(Duration::from_secs(20)), &config);
        assert!(cooldowns.rests(secs(11), Logs).is_some());
        assert_eq!(cooldowns.rests(secs(11), Head), None);
        cooldowns.provider().on_limited(secs(10), secs(10), Some(Duration::from_secs(5)), &config);
        let until = |class| match cooldowns.rests(secs(11), class) {
            Some(Rest::Cooled { until }) => until.since(secs(0)).as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!((until(Logs), until(Head)), (30, 15));
        cooldowns.provider().on_parked(secs(11), &config);
        assert!(matches!(cooldowns.rests(secs(12), Logs), Some(Rest::Parked { .. })));
    }

    #[test]
    fn a_wave_counts_once() {
        let (cooldown, config) = (Cooldown::new(), CooldownConfig::default());
        let (sent, now) = (secs(10), secs(11));
        check_length(cooldown.on_limited(now, sent, None, &config), now, 1);
        for _ in 0..50 {
            assert_eq!(cooldown.on_limited(now, sent, None, &config), None);
            assert_eq!(cooldown.on_success(now, sent), None, "sent before it began");
        }
        assert!(cooldown.rests(now).is_some());
        // A straggler of the wave, after the cooldown has ended.
        assert_eq!(cooldown.on_limited(secs(14), sent, None, &config), None);
        check_length(cooldown.on_limited(secs(14), secs(14), None, &config), secs(14), 2);
    }

    #[test]
    fn a_longer_retry_after_prolongs_and_keeps_the_beginning() {
        let (cooldown, config) = (Cooldown::new(), CooldownConfig::default());
        cooldown.on_limited(secs(10), secs(9), None, &config);
        let asked = Some(Duration::from_secs(30));
        check_length(cooldown.on_limited(secs(10), secs(9), asked, &config), secs(10), 30);
        assert_eq!(cooldown.on_limited(secs(11), secs(9), Some(Duration::from_secs(2)), &config), None);
        assert_eq!(cooldown.on_success(secs(12), secs(9)), None);
        assert_eq!(cooldown.on_success(secs(12), secs(11)), Some(RestChange::Lifted));
        assert_eq!(cooldown.rests(secs(12)), None);
    }

    #[test]
    fn a_park_outlasts_rate_limits_and_yields_to_an_answer() {
        let (cooldown, config) = (Cooldown::new(), CooldownConfig::default());
        cooldown.on_limited(secs(1), secs(1), None, &config);
        check_length(cooldown.on_parked(secs(1), &config), secs(1), 600);
        assert_eq!(cooldown.on_parked(secs(2), &config), None, "told once");
        assert_eq!(cooldown.on_limited(secs(2), secs(2), Some(Duration::from_secs(5000)), &config), None);
        assert!(matches!(cooldown.rests(secs(600)), Some(Rest::Parked { .. })));
        assert_eq!(cooldown.on_success(secs(300), secs(299)), Some(RestChange::Lifted));
    }

    proptest! {
        /// Any order of news: never early, never longer than the bounds, and a word that packs and unpacks.
        #[test]
        fn it_stays_within_its_bounds(ops in prop::collection::vec((0..4_u8, 0..90_000_u64, 0..2_000_u64), 1..80)) {
            let (cooldown, config) = (Cooldown::new(), CooldownConfig::default());
            let mut now = secs(5);
            for (op, wait_ms, value) in ops {
                now = now + Duration::from_millis(wait_ms);
                let sent = Instant::from_micros(now.micros() - value * 1000);
                let change = match op {
                    0 => cooldown.on_limited(now, sent, None, &config),
                    1 => cooldown.on_limited(now, sent, Some(Duration::from_secs(value)), &config),
                    2 => cooldown.on_parked(now, &config),
                    _ => cooldown.on_success(now, sent),
                };
                if let Some(RestChange::Began(rest)) = change {
                    prop_assert_eq!(cooldown.rests(now), Some(rest));
                    let length = length(change, now);
                    prop_assert!(length >= Duration::from_secs(1));
                    prop_assert!(length <= Duration::from_mins(10) + SLACK);
                }
                if change == Some(RestChange::Lifted) {
                    prop_assert_eq!(cooldown.rests(now), None);
                }
                let word = cooldown.0.get();
                prop_assert_eq!(Word::unpack(word).pack(), word);
                prop_assert!(Word::unpack(word).length <= Word::unpack(word).until);
            }
        }
    }
}
