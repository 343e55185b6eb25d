//! A provider's footing on its chain, as all shards see it: one word, written by control when it changes.
//!
//! [`Heads`](super::Heads) knows why; a call only needs to know whether the provider is to be asked. In the provider's own slot and
//! not in a mask by position: it outlives a reload, and a call looks at it where it looks at the provider's gate.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::jsonrpc::MethodClass;

/// Where a provider stands on its chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Footing {
    /// Or its head is not known.
    #[default]
    InStep,
    /// It lags, or is further ahead than anyone could be: for calls that depend on the head it is asked when nobody else is
    /// left.
    OutOfStep,
    /// It says that it is another chain: never asked.
    WrongChain,
    /// It has not been asked yet which chain it is: for all calls, asked when nobody else is left. So one that a reload brings
    /// waits for the first probe's end, and at a node's start nobody waits.
    Unasked,
    /// It refuses our credentials, even for the node's own question: as good as parked, for all calls.
    Refused,
}

impl Footing {
    /// What it is to calls of a class.
    #[inline]
    #[must_use]
    pub const fn for_class(self, class: MethodClass) -> Self {
        match self {
            Self::OutOfStep if !depends_on_head(class) => Self::InStep,
            other => other,
        }
    }
}

/// Whether calls of a class may ask about the chain's newest blocks, so that a provider which does not have them answers wrongly
/// or not at all.
///
/// By class, and so on the safe side: a call that names an old block is looked at by itself, where somebody lags. Traces and
/// methods unknown to us are about old blocks mostly, and few providers have them.
const fn depends_on_head(class: MethodClass) -> bool {
    !matches!(class, MethodClass::Trace | MethodClass::Other)
}

/// The word. Nothing else is published by it, so every access is relaxed.
#[derive(Debug, Default)]
pub struct FootingCell(AtomicU8);

impl FootingCell {
    #[inline]
    #[must_use]
    pub fn get(&self) -> Footing {
        match self.0.load(Ordering::Relaxed) {
            0 => Footing::InStep,
            1 => Footing::OutOfStep,
            2 => Footing::WrongChain,
            3 => Footing::Unasked,
            _ => Footing::Refused,
        }
    }

    /// Written only when it changes, so that shards keep the cache line.
    pub fn set(&self, footing: Footing) {
        if self.get() != footing {
            self.0.store(footing as u8, Ordering::Relaxed);
        }
    }
}

/// A newest block, where it is known: a chain's, as control tells shards, or a provider's, as its answers to clients tell
/// control. A word like the one above.
#[derive(Debug)]
pub struct HeadCell(AtomicU64);

impl HeadCell {
    /// No block has this number.
    const UNKNOWN: u64 = u64::MAX;

    #[must_use]
    pub fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|head| *head != Self::UNKNOWN)
    }

    /// Written only when it changes.
    pub fn set(&self, head: Option<u64>) {
        if self.get() != head {
            self.0.store(head.unwrap_or(Self::UNKNOWN), Ordering::Relaxed);
        }
    }

    /// Heard of once more, by one of several who hear of it. Written only when it is news.
    #[inline]
    pub fn hear(&self, height: u64) {
        // Nothing is lost but one of two that come at the same moment.
        if self.get().is_none_or(|known| height > known) {
            self.set(Some(height));
        }
    }

    /// What was heard since the last time.
    pub fn take(&self) -> Option<u64> {
        self.get()?;
        Some(self.0.swap(Self::UNKNOWN, Ordering::Relaxed)).filter(|head| *head != Self::UNKNOWN)
    }
}

impl Default for HeadCell {
    fn default() -> Self {
        Self(AtomicU64::new(Self::UNKNOWN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lagging_matters_to_what_depends_on_the_head() {
        for (footing, class, expected) in [
            (Footing::OutOfStep, MethodClass::Head, Footing::OutOfStep),
            (Footing::OutOfStep, MethodClass::Read, Footing::OutOfStep),
            (Footing::OutOfStep, MethodClass::Trace, Footing::InStep),
            (Footing::WrongChain, MethodClass::Trace, Footing::WrongChain),
            (Footing::Unasked, MethodClass::Other, Footing::Unasked),
        ] {
            assert_eq!(footing.for_class(class), expected, "{class:?}");
        }
    }

    #[test]
    fn what_is_set_is_read() {
        use Footing::{InStep, OutOfStep, Refused, Unasked, WrongChain};
        let cell = FootingCell::default();
        assert_eq!(cell.get(), InStep);
        for footing in [Unasked, Refused, WrongChain, OutOfStep, InStep] {
            cell.set(footing);
            assert_eq!(cell.get(), footing);
        }
        let head = HeadCell::default();
        assert_eq!(head.get(), None);
        for said in [Some(0), Some(7), None] {
            head.set(said);
            assert_eq!(head.get(), said);
        }
        for height in [5, 9, 7] {
            head.hear(height);
        }
        assert_eq!((head.take(), head.take()), (Some(9), None));
        head.hear(7);
        assert_eq!(head.take(), Some(7), "one that went back");
    }
}
