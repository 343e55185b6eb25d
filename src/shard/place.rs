//! What a request's head asks for, before a byte of its body is taken.

use std::rc::Rc;

use super::serve::Visit;
use super::view::{Chain, View};
use crate::admin::bodies;
use crate::http::{Known, Method, RequestHead, RpcTarget, Status, Target};
use crate::jsonrpc::Reason;
use crate::routing::Strategy;

/// Where a request leads.
pub(crate) enum Place {
    Rpc(Route),
    /// The same, for a WebSocket.
    Socket(Route),
    Api(Api),
    /// A browser asks whether it may.
    Preflight,
    Refused(Reason, &'static str),
    /// The page takes only these methods.
    NotAllowed {
        allow: &'static str,
    },
}

/// Which providers a call may go to.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) chain: Rc<Chain>,
    pub(crate) strategy: Strategy,
    /// The one provider that the URL names, by position.
    pub(crate) only: Option<usize>,
}

impl Route {
    /// The same in another view; none where it leads nowhere any more.
    pub(crate) fn again(&self, view: &View) -> Option<Self> {
        let chain = view.chain(&self.chain.entry.name)?;
        let only = match self.only {
            None => None,
            Some(was) => {
                let id = &self.chain.upstreams.get(was)?.slot.id;
                Some(chain.upstreams.iter().position(|upstream| upstream.slot.id == *id)?)
            }
        };
        Some(Self { chain: Rc::clone(chain), strategy: self.strategy, only })
    }
}

/// The same for as long as the view is: what a connection may keep, so that it keeps no chain of an older view alive.
#[derive(Clone, Copy)]
pub(crate) struct KnownRoute {
    view: u64,
    /// Position.
    chain: usize,
    strategy: Strategy,
    only: Option<usize>,
}

impl KnownRoute {
    /// Of a place that `view` has led to.
    pub(crate) fn of(view: &View, place: &Place) -> Option<Self> {
        let Place::Rpc(Route { chain, strategy, only }) = place else { return None };
        Some(Self { view: view.number, chain: chain.index, strategy: *strategy, only: *only })
    }

    /// The place, if `view` is the one that led to it.
    pub(crate) fn place(self, view: &View) -> Option<Place> {
        let chain = view.chains.get(self.chain).filter(|_| self.view == view.number)?;
        Some(Place::Rpc(Route { chain: Rc::clone(chain), strategy: self.strategy, only: self.only }))
    }
}

/// A page of the node's own.
pub(crate) enum Api {
    Health,
    Ready(Option<usize>),
    Region,
    Status,
}

/// Finds the place that `head`, whose bytes are `bytes`, asks for.
pub(crate) fn find(view: &View, head: &RequestHead, bytes: &[u8]) -> Place {
    let target = Target::parse(head.path.of(bytes));
    match (target, head.method) {
        (Target::Unknown, _) => Place::Refused(Reason::NotFound, "no such path"),
        (_, Method::Options) if asks_cross_origin(head, bytes) && view.lines.answers_cross_origin() => Place::Preflight,
        (Target::Rpc(target), Method::Get) if target.websocket_path || head.wants_websocket(bytes) => {
            match rpc(view, &target) {
                Place::Rpc(route) => Place::Socket(route),
                other => other,
            }
        }
        (Target::Rpc(target), Method::Post) if !target.websocket_path => rpc(view, &target),
        (Target::Rpc(_), _) => Place::NotAllowed { allow: "POST, OPTIONS" },
        (api, Method::Get | Method::Head) => page(view, api),
        _ => Place::NotAllowed { allow: "GET, HEAD" },
    }
}

fn asks_cross_origin(head: &RequestHead, bytes: &[u8]) -> bool {
    head.header(bytes, Known::Origin).is_some() && head.header(bytes, Known::AccessControlRequestMethod).is_some()
}

fn rpc(view: &View, target: &RpcTarget<'_>) -> Place {
    let found = match target.chain {
        Some(name) => view.chain(name),
        // No name is needed where there is one chain.
        None => view.chains.first().filter(|_| view.chains.len() == 1),
    };
    let Some(chain) = found else {
        return Place::Refused(Reason::NotFound, "no such chain");
    };
    let only = match target.provider {
        None => None,
        Some(id) => match chain.upstreams.iter().position(|upstream| *upstream.slot.id == *id) {
            Some(position) => Some(position),
            None => return Place::Refused(Reason::NotFound, "this chain has no such provider"),
        },
    };
    let strategy = target.strategy.unwrap_or(chain.entry.config.strategy);
    Place::Rpc(Route { chain: Rc::clone(chain), strategy, only })
}

fn page(view: &View, target: Target<'_>) -> Place {
    Place::Api(match target {
        Target::Health => Api::Health,
        Target::Ready(None) => Api::Ready(None),
        Target::Ready(Some(name)) => match view.snapshot.chain_index(name) {
            Some(index) => Api::Ready(Some(index)),
            None => return Place::Refused(Reason::NotFound, "no such chain"),
        },
        Target::Region => Api::Region,
        Target::Status => Api::Status,
        Target::Rpc(_) | Target::Unknown => return Place::Refused(Reason::NotFound, "no such path"),
    })
}

impl Api {
    /// The page's status and JSON.
    pub(crate) fn answer(&self, visit: &Visit) -> (Status, String) {
        let snapshot = &visit.view.snapshot;
        let (phase, now) = (visit.shard.phase(), visit.started);
        match self {
            Self::Health => (Status::Ok, bodies::health()),
            Self::Ready(chain) => {
                let (ready, body) = bodies::ready(snapshot, phase, now, *chain);
                (if ready { Status::Ok } else { Status::ServiceUnavailable }, body)
            }
            Self::Region => (Status::Ok, bodies::region(&snapshot.config.node)),
            Self::Status => (Status::Ok, bodies::status(snapshot, &visit.shard.node, phase, now)),
        }
    }
}
