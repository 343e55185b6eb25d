//! A word that all shards share, changed without a lock.
//!
//! **Memory order**: relaxed. The word is all there is to know, and guards no other memory.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::limits::WORD_TRIES_MAX;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SharedWord(AtomicU64);

impl SharedWord {
    pub(crate) const fn new(word: u64) -> Self {
        Self(AtomicU64::new(word))
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Changes the word by `change`, until that holds, sees nothing to do, or has lost [`WORD_TRIES_MAX`] times to
    /// others. What it was and what it is, where it was changed.
    #[inline]
    pub(crate) fn change(&self, mut change: impl FnMut(u64) -> Option<u64>) -> Option<(u64, u64)> {
        let mut before = self.get();
        for _ in 0..WORD_TRIES_MAX {
            let after = change(before)?;
            match self.0.compare_exchange_weak(before, after, Relaxed, Relaxed) {
                Ok(_) => return Some((before, after)),
                Err(newer) => before = newer,
            }
        }
        None
    }

    /// Takes `amount` off, which is in there; what it was.
    pub(crate) fn lower(&self, amount: u64) -> u64 {
        self.0.fetch_sub(amount, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_holds_or_is_none() {
        let word = SharedWord::new(7);
        assert_eq!(word.change(|seen| Some(seen * 2)), Some((7, 14)));
        assert_eq!(word.change(|_| None), None);
        assert_eq!((word.lower(4), word.get()), (14, 10));
    }

    #[test]
    fn who_loses_tries_again_and_not_for_ever() {
        for (losses, holds) in [(1, true), (WORD_TRIES_MAX - 1, true), (WORD_TRIES_MAX, false)] {
            let (word, mut tries) = (SharedWord::default(), 0);
            let changed = word.change(|seen| {
                tries += 1;
                // Somebody else is faster.
                if tries <= losses {
                    word.0.store(seen + 10, Relaxed);
                }
                Some(seen + 1)
            });
            let others = 10 * losses as u64;
            assert_eq!(changed, holds.then_some((others, others + 1)), "{losses}");
        }
    }
}
