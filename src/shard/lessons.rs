//! What replies teach about their providers, and what a call needs of one: [`Learned`] as shards use it.
//!
//! A lesson is found where a reply is judged, and learned where its attempt is told of. What a call needs is read from its
//! params when somebody first wants to know, which is seldom: nearly always nothing is known against any provider.

use super::door::Ask;
use super::upstream::Upstream;
use crate::jsonrpc::{self, BlockFacts, Class, range_refusal};
use crate::routing::{CallFacts, HeadsConfig, Learned, LearnedConfig, Lesson, Needs};
use crate::time::Instant;

/// What a reply shows that its provider can or cannot do. Only what is certain: see [`Learned`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taught {
    Nothing,
    /// It gave a result that is one, and something had been believed of it.
    Answered,
    LacksMethod,
    MissesData,
    /// It scans fewer blocks: so many, if it said.
    RefusesRange(Option<u64>),
}

impl Taught {
    /// By a result, raw.
    #[inline]
    pub(crate) fn by_result(upstream: &Upstream, result: &[u8]) -> Self {
        if upstream.is_blank() || matches!(result, b"null" | b"[]") { Self::Nothing } else { Self::Answered }
    }

    /// By an error, and how it was judged.
    pub(crate) fn by_error(verdict: jsonrpc::Verdict, message: &str) -> Self {
        match verdict.class {
            _ if !verdict.penalise => Self::Nothing,
            Class::UnsupportedMethod => Self::LacksMethod,
            Class::MissingData => Self::MissesData,
            Class::RangeTooLarge => {
                range_refusal(message).map_or(Self::Nothing, |refusal| Self::RefusesRange(refusal.allowed))
            }
            _ => Self::Nothing,
        }
    }
}

impl Ask<'_> {
    /// What it needs of a provider.
    #[cold]
    pub(crate) fn needs(&self) -> CallFacts<'_> {
        let blocks = self.block_facts();
        CallFacts {
            method: self.info.name,
            needs: blocks.oldest().map(|block| Needs { depth: blocks.depth, block }),
            range_blocks: blocks.blocks(self.head()),
        }
    }

    /// The newest block that it is about, where it names all of them by number.
    pub(crate) fn newest_block(&self) -> Option<u64> {
        self.block_facts().newest()
    }

    fn block_facts(&self) -> &BlockFacts {
        self.blocks.get_or_init(|| BlockFacts::of(self.info, self.call.params))
    }

    /// Whether the chain may have a block of this number by now, as far as is known.
    pub(crate) fn may_have(&self, height: u64, heads: &HeadsConfig) -> bool {
        let chain = &self.route.chain.entry;
        chain.head.get().is_none_or(|head| height <= head.saturating_add(chain.config.head_limits(heads).far_ahead))
    }

    /// The chain's newest block, while that is known.
    fn head(&self) -> Option<u64> {
        self.route.chain.entry.head.get()
    }
}

/// Has `learned` learn what an attempt at `ask` taught.
pub(crate) fn learn(learned: &mut Learned, ask: &Ask<'_>, taught: Taught, now: Instant, config: &LearnedConfig) {
    let call = ask.needs();
    let lesson = match taught {
        Taught::Nothing => None,
        Taught::Answered => Some(Lesson::Answered(call)),
        // Names that are made up fill nothing.
        Taught::LacksMethod => ask.info.known().then_some(Lesson::Lacks { method: ask.info.name }),
        Taught::MissesData => call.needs.map(|needs| Lesson::Misses { needs, head: ask.head() }),
        Taught::RefusesRange(allowed) => call.range_blocks.map(|blocks| Lesson::RefusesRange { blocks, allowed }),
    };
    if let Some(lesson) = lesson {
        learned.on_lesson(now, lesson, true, config);
    }
}
