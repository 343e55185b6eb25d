//! What has been asked for through the door and not come yet: nothing twice, few at a time, and again after a pause.
//!
//! All of it but [`Fetch::Latest`] is named by what it is, so that it does not matter which provider answers.

use std::collections::BTreeMap;

use super::block::BlockHash;
use super::source::Epoch;
use crate::limits::{FETCH_RETRY_FIRST, FETCH_RETRY_MAX, FETCHES_IN_FLIGHT_MAX};
use crate::time::Instant;

/// One asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(test, derive(Default))]
pub struct FetchId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fetch {
    /// The newest header, from the subscription's own provider and best on its own socket.
    Latest { epoch: Epoch },
    /// `eth_getBlockByHash`
    Header { hash: BlockHash },
    /// `eth_getBlockByNumber` for each, both ends included.
    Headers { from: u64, to: u64 },
    /// `eth_getLogs` with the filter and this `blockHash`. Never by numbers: a node that changes its mind meanwhile
    /// would leave out a block's logs without a word. That there are none counts only from whoever has shown before that
    /// it knows the block.
    Logs { block: BlockHash },
}

#[derive(Debug, Default)]
pub(super) struct Fetches {
    asked: u64,
    open: BTreeMap<Fetch, Open>,
}

#[derive(Debug)]
struct Open {
    /// Under way, or to be asked again at a moment.
    state: Result<FetchId, Instant>,
    tries: u32,
    wanted: bool,
}

impl Fetches {
    /// Forgets who wants what: what still is wanted is said again now.
    pub(super) fn forget_wants(&mut self) {
        self.open.values_mut().for_each(|open| open.wanted = false);
    }

    /// Wants this: the number to ask it under, where it is to be asked now.
    pub(super) fn want(&mut self, now: Instant, fetch: Fetch) -> Option<FetchId> {
        let in_flight = self.open.values().filter(|open| open.state.is_ok()).count();
        let has_room = in_flight < FETCHES_IN_FLIGHT_MAX;
        let open = self.open.entry(fetch).or_insert(Open { state: Err(Instant::START), tries: 0, wanted: true });
        open.wanted = true;
        match open.state {
            Err(at) if at <= now && has_room => {
                self.asked += 1;
                open.state = Ok(FetchId(self.asked));
                open.state.ok()
            }
            _ => None,
        }
    }

    /// What is asked for under this number, where it still is.
    pub(super) fn under(&self, id: FetchId) -> Option<Fetch> {
        self.open.iter().find(|(_, open)| open.state == Ok(id)).map(|(fetch, _)| *fetch)
    }

    /// No answer will come, or none that is one.
    pub(super) fn failed(&mut self, now: Instant, id: FetchId) -> Option<Fetch> {
        let (fetch, open) = self.open.iter_mut().find(|(_, open)| open.state == Ok(id))?;
        let pause = FETCH_RETRY_FIRST.saturating_mul(1 << open.tries.min(16)).min(FETCH_RETRY_MAX);
        open.tries += 1;
        open.state = Err(now + pause);
        Some(*fetch)
    }

    /// Drops what is no longer wanted and not under way.
    pub(super) fn drop_unwanted(&mut self) {
        self.open.retain(|_, open| open.wanted || open.state.is_ok());
    }

    pub(super) fn forget(&mut self, fetch: Fetch) {
        self.open.remove(&fetch);
    }

    /// Something that is wanted was asked for in vain.
    pub(super) fn has_failed(&self) -> bool {
        self.open.values().any(|open| open.wanted && open.tries > 0)
    }

    /// When something is to be asked again.
    pub(super) fn next_retry(&self, now: Instant) -> Option<Instant> {
        self.open.values().filter_map(|open| open.state.err()).filter(|at| *at > now).min()
    }
}
