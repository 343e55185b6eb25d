//! How many of something are under way at once, over all shards.
//!
//! Exact at any number: who enters and leaves changes one word. Guards belong to whoever enters.

use crate::word::SharedWord;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Places(SharedWord);

impl Places {
    pub(crate) const fn new() -> Self {
        Self(SharedWord::new(0))
    }

    pub(crate) fn taken(&self) -> u32 {
        u32::try_from(self.0.get()).unwrap_or(u32::MAX)
    }

    /// Whether one more is within `most`; counts it if so.
    pub(crate) fn enter(&self, most: u32) -> bool {
        self.0.change(|taken| (taken < u64::from(most)).then_some(taken + 1)).is_some()
    }

    /// One that has entered has ended, however it did.
    pub(crate) fn leave(&self) {
        let before = self.0.lower(1);
        debug_assert!(before > 0, "who leaves has entered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_enter_as_there_are_places() {
        let places = Places::new();
        assert!(!places.enter(0));
        assert!(places.enter(2) && places.enter(2) && !places.enter(2));
        places.leave();
        assert!(places.enter(2));
        assert_eq!(places.taken(), 2);
        assert!(!places.enter(1), "a plan that became smaller");
    }
}
