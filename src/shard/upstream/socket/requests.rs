//! What a connection waits for an answer to, by numbers of its own. Pure.
//!
//! Numbers count upwards and come never again, so that a late answer, or one that a provider invents, is nobody's. An error
//! without a number (providers write `"id":null` when they refuse before they read) is for the one request that has no
//! answer yet; with several, those included that nobody waits for any more, it could be anyone's, and is dropped.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::UPSTREAM_SOCKET_ABANDONED_MAX;

/// Requests under way; `T` is who waits.
#[derive(Debug)]
pub(super) struct Requests<T> {
    last: u64,
    waiting: BTreeMap<u64, T>,
    /// Sent and not answered, and nobody waits.
    abandoned: BTreeSet<u64>,
    /// There were more of these than are kept.
    lost_count: bool,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Self { last: 0, waiting: BTreeMap::new(), abandoned: BTreeSet::new(), lost_count: false }
    }
}

impl<T> Requests<T> {
    /// The number of the next one.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The one with this number is sent.
    pub(super) fn wait(&mut self, number: u64, who: T) {
        self.waiting.insert(number, who);
    }

    /// An answer has come: who waits for it, if anybody does.
    pub(super) fn answered(&mut self, number: Option<u64>) -> Option<T> {
        if let Some(number) = number {
            self.abandoned.remove(&number);
            return self.waiting.remove(&number);
        }
        if self.lost_count || self.waiting.len() + self.abandoned.len() != 1 {
            return None;
        }
        self.abandoned.clear();
        self.waiting.pop_first().map(|(_, who)| who)
    }

    /// Nobody waits for it any more. Answers whether somebody did.
    pub(super) fn forget(&mut self, number: u64) -> bool {
        let waited = self.waiting.remove(&number).is_some();
        if waited {
            self.abandon(number);
        }
        waited
    }

    /// The one with this number is sent, and nobody waits for its answer.
    pub(super) fn abandon(&mut self, number: u64) {
        self.abandoned.insert(number);
        if self.abandoned.len() > UPSTREAM_SOCKET_ABANDONED_MAX {
            self.abandoned.pop_first();
            self.lost_count = true;
        }
    }

    pub(super) fn are_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.waiting.len()
    }

    /// All who wait: they get no answer.
    pub(super) fn end(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.waiting).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(count: usize) -> Requests<char> {
        let mut requests = Requests::default();
        for who in ('a'..).take(count) {
            let number = requests.number();
            requests.wait(number, who);
        }
        requests
    }

    #[test]
    fn an_answer_is_its_numbers_once_and_in_any_order() {
        let mut requests = with(3);
        assert_eq!(requests.answered(Some(3)), Some('c'));
        assert_eq!(requests.answered(Some(3)), None, "a second answer is nobody's");
        assert!(requests.forget(1) && !requests.forget(1));
        assert_eq!(requests.answered(Some(1)), None, "it comes too late");
        assert_eq!([requests.answered(Some(0)), requests.answered(Some(9))], [None, None]);
        assert_eq!(requests.number(), 4, "numbers do not come again");
        assert_eq!(requests.end().collect::<String>(), "b");
        assert_eq!(requests.len(), 0);
    }

    #[test]
    fn an_answer_without_a_number_is_that_of_the_only_one() {
        assert_eq!(with(0).answered(None), None);
        assert_eq!(with(1).answered(None), Some('a'));
        let mut two = with(2);
        assert_eq!((two.answered(None), two.len()), (None, 2));
    }

    #[test]
    fn an_answer_without_a_number_may_be_that_of_one_that_was_given_up() {
        let mut requests = with(2);
        requests.forget(1);
        assert_eq!(requests.answered(None), None, "it may be of the first");
        assert_eq!((requests.answered(Some(1)), requests.answered(None)), (None, Some('b')));
        requests.abandon(9);
        assert_eq!(requests.answered(None), None, "the one that nobody waits for");
        let number = requests.number();
        requests.wait(number, 'c');
        assert_eq!(requests.answered(None), Some('c'));
        (0..=UPSTREAM_SOCKET_ABANDONED_MAX as u64).for_each(|number| requests.abandon(100 + number));
        assert_eq!(requests.abandoned.len(), UPSTREAM_SOCKET_ABANDONED_MAX);
        for number in 0..=UPSTREAM_SOCKET_ABANDONED_MAX as u64 {
            assert_eq!(requests.answered(Some(100 + number)), None);
        }
        requests.wait(1_000_000, 'd');
        assert_eq!(requests.answered(None), None, "whose it is cannot be known any more");
    }
}
