//! What a provider has shown that it cannot do: methods that it lacks, blocks that it no longer has, ranges that it refuses.
//!
//! Such a refusal is no fault, and the next provider answers. But every call that is sent into it loses a round trip, so it
//! is remembered for a while and the provider is passed over for such calls. What it can do is learned as well: an answer
//! where there should have been none moves the bound or lifts it.
//!
//! | lesson | what is believed | for |
//! |---|---|---|
//! | it lacks a method | that | [`LearnedConfig::method`] |
//! | it misses a block's data | it has no such data of that block and those below, state and history apart | `bound` |
//! | it refuses a range, and says what it allows | that | `range` |
//! | it refuses a range | it refuses that many blocks and more | `range_guessed` |
//!
//! **Who teaches.** Only what is *certain* is learned: said by a code or a status, or by words in an error that cannot carry the
//! caller's. Else a client could talk a provider out of work for all others by a contract's revert text. Only known methods
//! are learned, so that made-up ones fill nothing. Missing blocks near the head teach nothing: there, they are
//! merely not yet there, and that is [`Heads`](super::Heads)' business. Refusals for what a query would *return* are not ranges: the same
//! range over a quiet contract is fine.
//!
//! State moves: a pruned node keeps the last 128 blocks' state, so its bound rises with each call that it refuses. Bounds that are too
//! low cost a round trip, and that is the safe side; none is ever guessed ahead of what was seen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::jsonrpc::Depth;
use crate::limits::{LACKING_METHOD_BELIEVED, LACKING_METHODS_MAX};
use crate::time::Instant;

/// How long each lesson is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedConfig {
    /// A plan or a node may be upgraded.
    pub method: Duration,
    /// A node that prunes does not stop; one that is made an archive is found out within the hour.
    pub bound: Duration,
    /// A plan's limit changes with the plan.
    pub range: Duration,
    /// Where the limit was not said, how much less would do is a guess.
    pub range_guessed: Duration,
    /// Blocks below the head within which nothing that is missing teaches anything: half of what a pruned node keeps.
    pub recent_blocks: u64,
}

impl LearnedConfig {
    pub const DEFAULT: Self = Self {
        method: LACKING_METHOD_BELIEVED,
        bound: Duration::from_hours(1),
        range: Duration::from_hours(1),
        range_guessed: Duration::from_mins(5),
        recent_blocks: 64,
    };
}

impl Default for LearnedConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The lowest block whose data a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    pub depth: Depth,
    pub block: u64,
}

/// A call as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallFacts<'a> {
    pub method: &'a str,
    /// None: it names no block by number, or the newest one.
    pub needs: Option<Needs>,
    /// Blocks that it scans, both ends included.
    pub range_blocks: Option<u64>,
}

/// What an attempt taught about its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson<'a> {
    /// It lacks this method, which is a known one.
    Lacks { method: &'static str },
    /// It misses the data of a block, while the chain's head is at `head`.
    Misses { needs: Needs, head: Option<u64> },
    /// It refuses to scan as many blocks, and perhaps says how many it allows.
    RefusesRange { blocks: u64, allowed: Option<u64> },
    /// It gave a result, and neither `null` nor an empty list: that is how many nodes say that they have dropped a block.
    Answered(CallFacts<'a>),
}

/// Why a provider is passed over for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    Method,
    /// It has such data only above this block.
    Missing {
        up_to: u64,
    },
    Range {
        allowed: u64,
    },
}

/// What is remembered of one provider.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    /// At most [`LACKING_METHODS_MAX`], and empty for nearly all.
    methods: Vec<(&'static str, Instant)>,
    state: Option<Believed>,
    history: Option<Believed>,
    range: Option<Believed>,
}

/// Missing up to this block; or, at most so many blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Believed {
    bound: u64,
    until: Instant,
}

impl Learned {
    #[must_use]
    pub const fn new() -> Self {
        Self { methods: Vec::new(), state: None, history: None, range: None }
    }

    /// Whether nothing is believed any more.
    #[must_use]
    pub fn is_blank(&self, now: Instant) -> bool {
        self.methods.iter().all(|&(_, until)| now >= until)
            && [self.state, self.history, self.range].into_iter().all(|believed| bound(believed, now).is_none())
    }

    /// Whether the provider is believed to be able to answer such a call.
    pub fn allows(&self, call: &CallFacts<'_>, now: Instant) -> Result<(), Gap> {
        if self.methods.iter().any(|&(method, until)| method == call.method && now < until) {
            return Err(Gap::Method);
        }
        if let Some(needs) = call.needs
            && let Some(up_to) = bound(self.missing(needs.depth), now)
            && needs.block <= up_to
        {
            return Err(Gap::Missing { up_to });
        }
        match (call.range_blocks, bound(self.range, now)) {
            (Some(blocks), Some(allowed)) if blocks > allowed => Err(Gap::Range { allowed }),
            _ => Ok(()),
        }
    }

    /// An attempt has taught something. `certain`: see the module; an uncertain lesson is none, but an answer always is.
    pub fn on_lesson(&mut self, now: Instant, lesson: Lesson<'_>, certain: bool, config: &LearnedConfig) {
        match lesson {
            Lesson::Answered(call) => self.answered(&call),
            _ if !certain => {}
            Lesson::Lacks { method } => self.lacks(now, method, config),
            Lesson::Misses { needs, head } => {
                let old = head.is_some_and(|head| needs.block < head.saturating_sub(config.recent_blocks));
                if old {
                    let known = bound(self.missing(needs.depth), now).unwrap_or(0);
                    let believed = Believed { bound: needs.block.max(known), until: now + config.bound };
                    *self.missing_mut(needs.depth) = Some(believed);
                }
            }
            Lesson::RefusesRange { blocks, allowed } => {
                // One block is no range: it was refused for something else.
                let Some(less) = blocks.checked_sub(1).filter(|less| *less > 0) else { return };
                let (limit, time) = match allowed.filter(|allowed| *allowed > 0) {
                    // Some count both ends, some do not: what was refused is refused.
                    Some(allowed) => (allowed.min(less), config.range),
                    None => (bound(self.range, now).map_or(less, |known| known.min(less)), config.range_guessed),
                };
                self.range = Some(Believed { bound: limit, until: now + time });
            }
        }
    }

    fn answered(&mut self, call: &CallFacts<'_>) {
        // Nearly always there is nothing to unlearn.
        if let Some(place) = self.methods.iter().position(|(method, _)| *method == call.method) {
            self.methods.swap_remove(place);
        }
        if let Some(needs) = call.needs {
            let missing = self.missing_mut(needs.depth);
            if let Some(believed) = missing.filter(|believed| needs.block <= believed.bound) {
                *missing = needs.block.checked_sub(1).map(|bound| Believed { bound, ..believed });
            }
        }
        if let (Some(blocks), Some(believed)) = (call.range_blocks, &mut self.range) {
            believed.bound = believed.bound.max(blocks);
        }
    }

    fn lacks(&mut self, now: Instant, method: &'static str, config: &LearnedConfig) {
        self.methods.retain(|&(known, until)| now < until && known != method);
        if self.methods.len() < LACKING_METHODS_MAX {
            self.methods.push((method, now + config.method));
        }
    }

    const fn missing(&self, depth: Depth) -> Option<Believed> {
        match depth {
            Depth::State => self.state,
            Depth::History => self.history,
        }
    }

    const fn missing_mut(&mut self, depth: Depth) -> &mut Option<Believed> {
        match depth {
            Depth::State => &mut self.state,
            Depth::History => &mut self.history,
        }
    }
}

/// Until when what is believed of one provider, as the shard says that learned last: for pages. Nothing is decided by it.
#[derive(Debug, Default)]
pub struct BeliefCells([AtomicU64; BELIEFS.len()]);

/// What can be believed of a provider, as pages name it: that it lacks a method, state, history, or long ranges.
pub const BELIEFS: [&str; 4] = ["method", "state", "history", "range"];

impl BeliefCells {
    /// A shard has learned.
    pub fn tell(&self, learned: &Learned) {
        let method = learned.methods.iter().map(|&(_, until)| until).max();
        let [state, history, range] =
            [learned.state, learned.history, learned.range].map(|believed| believed.map(|believed| believed.until));
        for (cell, until) in self.0.iter().zip([method, state, history, range]) {
            cell.store(until.unwrap_or(Instant::START).micros(), Ordering::Relaxed);
        }
    }

    /// What is believed now, and for how long still.
    pub fn read(&self, now: Instant) -> impl Iterator<Item = (&'static str, Duration)> {
        let until = |cell: &AtomicU64| Instant::from_micros(cell.load(Ordering::Relaxed));
        let all = BELIEFS.into_iter().zip(self.0.iter().map(until));
        all.filter(move |(_, until)| now < *until).map(move |(name, until)| (name, until.since(now)))
    }
}

fn bound(believed: Option<Believed>, now: Instant) -> Option<u64> {
    believed.filter(|believed| now < believed.until).map(|believed| believed.bound)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: LearnedConfig = LearnedConfig::DEFAULT;
    const HEAD: Option<u64> = Some(1000);

    fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn call(method: &str) -> CallFacts<'_> {
        CallFacts { method, needs: None, range_blocks: None }
    }

    const fn at(depth: Depth, block: u64) -> CallFacts<'static> {
        CallFacts { method: "eth_getBalance", needs: Some(Needs { depth, block }), range_blocks: None }
    }

    const fn over(blocks: u64) -> CallFacts<'static> {
        CallFacts { method: "eth_getLogs", needs: None, range_blocks: Some(blocks) }
    }

    const fn misses(depth: Depth, block: u64) -> Lesson<'static> {
        Lesson::Misses { needs: Needs { depth, block }, head: HEAD }
    }

    fn learn(lessons: &[Lesson<'_>]) -> Learned {
        let mut learned = Learned::new();
        for &lesson in lessons {
            learned.on_lesson(secs(10), lesson, true, &CONFIG);
        }
        learned
    }

    #[test]
    fn a_method_is_lost_for_five_minutes_or_until_it_answers() {
        let mut learned = learn(&[Lesson::Lacks { method: "trace_block" }]);
        assert_eq!(learned.allows(&call("trace_block"), secs(309)), Err(Gap::Method));
        assert_eq!(learned.allows(&call("eth_call"), secs(10)), Ok(()));
        assert_eq!(learned.allows(&call("trace_block"), secs(310)), Ok(()));
        learned.on_lesson(secs(20), Lesson::Answered(call("trace_block")), true, &CONFIG);
        assert_eq!(learned.allows(&call("trace_block"), secs(20)), Ok(()));
    }

    #[test]
    fn blocks_that_are_gone_are_gone_below_too_for_that_kind_of_data() {
        use Depth::{History, State};
        let learned = learn(&[misses(State, 500), misses(State, 300), misses(History, 20)]);
        // Data, block → missing up to.
        for (depth, block, up_to) in [
            (State, 0, Some(500)),
            (State, 500, Some(500)),
            (State, 501, None),
            (History, 20, Some(20)),
            (History, 21, None),
        ] {
            let expected = up_to.map_or(Ok(()), |up_to| Err(Gap::Missing { up_to }));
            assert_eq!(learned.allows(&at(depth, block), secs(11)), expected, "{depth:?} {block}");
        }
        assert_eq!(learned.allows(&at(State, 0), secs(10 + 3600)), Ok(()), "an hour later");
        assert_eq!(learned.allows(&call("eth_getBalance"), secs(11)), Ok(()), "the newest block");
    }

    #[test]
    fn an_answer_moves_the_bound_down() {
        let mut learned = learn(&[misses(Depth::State, 500)]);
        let mut answered =
            |block| learned.on_lesson(secs(11), Lesson::Answered(at(Depth::State, block)), false, &CONFIG);
        answered(501);
        answered(400);
        let allows = |block| learned.allows(&at(Depth::State, block), secs(12)).is_ok();
        assert!(allows(400) && !allows(399));
        let mut archive = learn(&[misses(Depth::State, 500)]);
        archive.on_lesson(secs(11), Lesson::Answered(at(Depth::State, 0)), false, &CONFIG);
        assert_eq!(archive.allows(&at(Depth::State, 0), secs(12)), Ok(()));
    }

    #[test]
    fn what_is_missing_near_the_head_teaches_nothing() {
        for (block, head, learns) in
            [(935, HEAD, true), (936, HEAD, false), (1001, HEAD, false), (0, None, false), (0, Some(10), false)]
        {
            let needs = Needs { depth: Depth::State, block };
            let learned = learn(&[Lesson::Misses { needs, head }]);
            assert_eq!(learned.allows(&at(Depth::State, 0), secs(11)).is_err(), learns, "{block} of {head:?}");
        }
    }

    #[test]
    fn ranges_are_learned_as_said_or_guessed() {
        // Lessons of blocks and what is allowed → what is believed.
        type Refusal = (u64, Option<u64>);
        let cases: [(&[Refusal], Option<u64>); 9] = [
            (&[(5000, Some(2000))], Some(2000)),
            (&[(10_000, Some(10_000))], Some(9_999)),
            (&[(10_000, Some(20_000))], Some(9_999)),
            (&[(5000, None)], Some(4999)),
            (&[(5000, None), (9000, None), (3000, None)], Some(2999)),
            (&[(5000, None), (9000, Some(6000))], Some(6000)),
            (&[(5000, Some(0))], Some(4999)),
            (&[(1, Some(1))], None),
            (&[(0, None)], None),
        ];
        for (refusals, allowed) in cases {
            let lessons: Vec<_> =
                refusals.iter().map(|&(blocks, allowed)| Lesson::RefusesRange { blocks, allowed }).collect();
            let learned = learn(&lessons);
            let expected = allowed.map_or(Ok(()), |allowed| Err(Gap::Range { allowed }));
            assert_eq!(learned.allows(&over(u64::MAX), secs(11)), expected, "{refusals:?}");
            if let Some(allowed) = allowed {
                assert_eq!(learned.allows(&over(allowed), secs(11)), Ok(()));
            }
        }
        let mut said = learn(&[Lesson::RefusesRange { blocks: 5000, allowed: Some(2000) }]);
        said.on_lesson(secs(11), Lesson::Answered(over(3000)), false, &CONFIG);
        assert_eq!(said.allows(&over(3001), secs(11)), Err(Gap::Range { allowed: 3000 }));
        assert_eq!(said.allows(&over(3001), secs(10 + 3600)), Ok(()));
        let guessed = learn(&[Lesson::RefusesRange { blocks: 5000, allowed: None }]);
        assert_eq!(guessed.allows(&over(5000), secs(10 + 300)), Ok(()), "a guess is believed for five minutes");
    }

    #[test]
    fn pages_are_told_what_is_believed_and_for_how_long() {
        let cells = BeliefCells::default();
        let told = |at| cells.read(secs(at)).map(|(name, time)| (name, time.as_secs())).collect::<Vec<_>>();
        assert_eq!(told(0), []);
        cells.tell(&learn(&[Lesson::Lacks { method: "trace_block" }, misses(Depth::State, 500)]));
        assert_eq!(told(20), [("method", 290), ("state", 3590)]);
        assert_eq!(told(400), [("state", 3210)]);
        cells.tell(&learn(&[Lesson::RefusesRange { blocks: 9, allowed: None }]));
        assert_eq!(told(20), [("range", 290)], "the last word");
    }

    #[test]
    fn a_clients_words_teach_nothing() {
        let mut learned = Learned::new();
        for lesson in [
            Lesson::Lacks { method: "eth_call" },
            misses(Depth::State, 500),
            Lesson::RefusesRange { blocks: 5000, allowed: Some(1) },
        ] {
            learned.on_lesson(secs(10), lesson, false, &CONFIG);
        }
        for call in [call("eth_call"), at(Depth::State, 0), over(5000)] {
            assert_eq!(learned.allows(&call, secs(10)), Ok(()), "{call:?}");
        }
    }

    const METHODS: [&str; 3] = ["eth_call", "trace_block", "debug_traceCall"];

    proptest! {
        /// Whatever was taught: an hour later all is forgotten, and what was just answered is never refused.
        #[test]
        fn everything_is_forgotten_and_answers_count(
            lessons in prop::collection::vec((0..4_u8, 0..3_usize, 0..1200_u64, prop::option::of(0..2000_u64), 0..400_u64), 0..60),
        ) {
            let (mut learned, mut now) = (Learned::new(), secs(0));
            for (kind, name, number, allowed, wait) in lessons {
                now = now + Duration::from_secs(wait);
                let depth = if name == 0 { Depth::State } else { Depth::History };
                let answered =
                    CallFacts { method: METHODS[name], needs: Some(Needs { depth, block: number }), range_blocks: allowed };
                let lesson = match kind {
                    0 => Lesson::Lacks { method: METHODS[name] },
                    1 => misses(depth, number),
                    2 => Lesson::RefusesRange { blocks: number, allowed },
                    _ => Lesson::Answered(answered),
                };
                learned.on_lesson(now, lesson, true, &CONFIG);
                prop_assert!(learned.methods.len() <= METHODS.len());
                if kind == 3 {
                    prop_assert_eq!(learned.allows(&answered, now), Ok(()));
                }
                prop_assert_eq!(learned.allows(&at(Depth::State, 936), now), Ok(()), "recent blocks are never missing");
                prop_assert_eq!(learned.allows(&over(1), now), Ok(()), "one block is always allowed");
            }
            let later = now + CONFIG.bound;
            for method in METHODS {
                let hard = CallFacts { method, needs: Some(Needs { depth: Depth::State, block: 0 }), range_blocks: Some(u64::MAX) };
                prop_assert_eq!(learned.allows(&hard, later), Ok(()));
            }
        }
    }
}
