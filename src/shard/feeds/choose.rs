//! Which provider a feed is to be heard from: the one that ranking would ask for the chain's head, of those that have a
//! WebSocket.
//!
//! A subscription is no call: it takes no turn of those that are on trial, and proves nothing of them.

use std::rc::Rc;

use super::own::Owned;
use crate::jsonrpc;
use crate::link::FeedKey;
use crate::routing::{Demand, Facts, Gate, Providers, Trial, Tried};
use crate::shard::Shard;
use crate::shard::candidates::Candidates;
use crate::shard::door::Ask;
use crate::shard::place::Route;
use crate::shard::upstream::Upstream;
use crate::shard::view::View;
use crate::time::Instant;

/// The call that a feed is ranked like.
const LIKE: &str = "eth_blockNumber";

/// Where the feed of `key` leads in `view`; none where its chain, or the provider that it names, is there no more.
pub(super) fn route(view: &View, key: &FeedKey) -> Option<Route> {
    let chain = view.chain(&key.chain)?;
    let only = match &key.only {
        None => None,
        Some(id) => Some(chain.upstreams.iter().position(|upstream| upstream.slot.id == *id)?),
    };
    Some(Route { chain: Rc::clone(chain), strategy: chain.entry.config.strategy, only })
}

/// Those of a route that have a WebSocket.
pub(super) fn with_socket(route: &Route) -> impl Iterator<Item = &Rc<Upstream>> {
    let named = move |at: &usize| route.only.is_none_or(|only| only == *at);
    let all = route.chain.upstreams.iter().enumerate();
    all.filter(move |(at, _)| named(at)).map(|(_, upstream)| upstream).filter(|upstream| upstream.has_socket())
}

/// The best that is well, another than before if it can be; only where nobody is, one whose gate is shut.
/// `before`: the slot of the one that it is to replace.
pub(super) fn choose(
    shard: &Shard,
    view: &View,
    route: &Route,
    owned: &Owned,
    before: Option<u64>,
) -> Option<Rc<Upstream>> {
    let call = jsonrpc::Call { raw: b"", id: None, method: LIKE.into(), params: None };
    let ask = Ask::new(route, call, false);
    let chain = &route.chain;
    let row = chain.ranker.borrow().row_of(ask.info);
    // Not repeatable: whoever is not known to be well comes last.
    let demand = Demand { strategy: route.strategy, class: ask.info.class, row, repeatable: false };
    let candidates = Candidates { shard, chain, ask: &ask, standing: &view.standing, draw: shard.draw() };
    let providers = Subscribable(candidates);
    let now = shard.clock.now();
    let pick = |force: bool, avoid: &dyn Fn(u64) -> bool| {
        let mut tried = route.only.map_or(Tried::none(), Tried::all_but);
        let all = chain.upstreams.iter().enumerate();
        all.filter(|(_, upstream)| avoid(upstream.slot.number)).for_each(|(at, _)| tried.add(at));
        let pick = chain.ranker.borrow_mut().pick(now, demand, tried, force, &providers).ok()?;
        Some(Rc::clone(&chain.upstreams[pick.provider]))
    };
    let (was, failed) = (|slot| Some(slot) == before, |slot| owned.passes_over(slot, now));
    pick(false, &|slot| was(slot) || failed(slot))
        .or_else(|| pick(false, &failed))
        .or_else(|| pick(true, &was))
        .or_else(|| pick(true, &|_| false))
}

struct Subscribable<'a>(Candidates<'a>);

impl Providers for Subscribable<'_> {
    fn count(&self) -> usize {
        self.0.count()
    }

    fn facts(&self, provider: usize, now: Instant) -> Facts {
        let facts = self.0.facts(provider, now);
        let gate = if matches!(facts.gate, Gate::Trial) { Gate::Parked { until: Instant::NEVER } } else { facts.gate };
        let supports = self.0.chain.upstreams[provider].has_socket();
        // Its connections for calls and its plan's calls are not what is needed.
        Facts { gate, supports, held: false, room: true, ..facts }
    }

    fn claim_trial(&self, _: usize, _: Instant) -> Option<Trial> {
        None
    }
}
