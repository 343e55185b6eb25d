//! The newest snapshot as this shard works with it: each provider with its pool, each chain with its turn.
//!
//! Made anew when control publishes; an [`Upstream`] whose slot is still there is taken over with its connections and
//! all that was learned. Calls that run keep the view that they started with.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::Resumption;

use super::Shard;
use super::client::Patience;
use super::respond::NodeLines;
use super::upstream::Upstream;
use crate::config::WebSocket;
use crate::jsonrpc;
use crate::limits;
use crate::link::{ChainEntry, Ranked, Snapshot};
use crate::routing::{Ranker, StandingConfig};
use crate::websocket::deflate::DeflateTerms;
use crate::websocket::{Origins, Terms};

pub(crate) struct View {
    /// Counts the shard's views.
    pub(crate) number: u64,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) chains: Vec<Rc<Chain>>,
    /// The header lines that all answers carry.
    pub(crate) lines: NodeLines,
    pub(crate) patience: Patience,
    pub(crate) batch_limits: jsonrpc::Limits,
    pub(crate) standing: StandingConfig,
    /// On which WebSockets are opened.
    pub(crate) sockets: Terms,
    tls: Arc<rustls::ClientConfig>,
}

/// A chain with this shard's side of its providers, in the order of the config.
pub(crate) struct Chain {
    /// Its position in the view.
    pub(crate) index: usize,
    pub(crate) entry: Arc<ChainEntry>,
    pub(crate) upstreams: Vec<Rc<Upstream>>,
    /// What this shard has measured of them, and whose turn it is.
    pub(crate) ranker: RefCell<Ranker>,
}

impl Chain {
    /// Goes by what control has published, if it is about these providers.
    pub(crate) fn adopt(&self, ranked: &Ranked, shard: usize) {
        if ranked.is_about(self.upstreams.iter().map(|upstream| upstream.slot.number)) {
            // What comes back is freed by control, which holds a reference as long as we did.
            self.ranker.borrow_mut().adopt(Arc::clone(&ranked.ranking), shard);
        }
    }

    /// Its ranker for a newer view that has `upstreams`: where they are the same ones, all goes on as it was; else what
    /// was measured of those that are still there.
    fn ranker_for(&self, upstreams: &[Rc<Upstream>], fresh: Ranker) -> Ranker {
        let same = self.upstreams.len() == upstreams.len()
            && self.upstreams.iter().zip(upstreams).all(|(old, new)| Rc::ptr_eq(old, new));
        if same {
            return self.ranker.borrow().clone();
        }
        let mut ranker = fresh;
        self.hand_over(upstreams, &mut ranker);
        ranker
    }

    /// Gives `ranker`, made for `upstreams`, what was measured of those that are still there.
    fn hand_over(&self, upstreams: &[Rc<Upstream>], ranker: &mut Ranker) {
        for (was, old) in self.upstreams.iter().enumerate() {
            if let Some(is) = upstreams.iter().position(|new| Rc::ptr_eq(old, new)) {
                ranker.take_over(&self.ranker.borrow(), was, is);
            }
        }
    }
}

impl View {
    /// `seed` sets off the chains' random draws.
    pub(crate) fn new(snapshot: Arc<Snapshot>, previous: Option<&Self>, seed: u64) -> Rc<Self> {
        let tls = match previous {
            Some(view) if Arc::ptr_eq(&view.snapshot.tls, &snapshot.tls) => Arc::clone(&view.tls),
            _ => own_sessions(&snapshot.tls),
        };
        let kept: HashMap<u64, &Rc<Upstream>> = previous
            .into_iter()
            .flat_map(|view| &view.chains)
            .flat_map(|chain| &chain.upstreams)
            .map(|upstream| (upstream.slot.number, upstream))
            .collect();
        let config = &snapshot.config.upstream;
        let chains = snapshot.chains.iter().enumerate().map(|(index, entry)| {
            let upstreams: Vec<_> = entry
                .providers
                .iter()
                .map(|provider| match kept.get(&provider.slot.number) {
                    Some(&upstream) => {
                        upstream.update(provider, &tls, config);
                        Rc::clone(upstream)
                    }
                    None => Upstream::new(provider, &tls, config),
                })
                .collect();
            let mut ranker = Ranker::new(upstreams.len(), seed ^ entry.config.id);
            if let Some(chain) = previous.and_then(|view| view.chain_named(&entry.name)) {
                ranker = chain.ranker_for(&upstreams, ranker);
            }
            Rc::new(Chain { index, entry: Arc::clone(entry), upstreams, ranker: RefCell::new(ranker) })
        });
        let chains = chains.collect();
        let config = &snapshot.config;
        Rc::new(Self {
            number: previous.map_or(0, |view| view.number + 1),
            chains,
            lines: NodeLines::new(config),
            patience: Patience {
                idle: config.http.idle_timeout,
                head: config.http.head_timeout,
                body: config.http.body_timeout,
            },
            batch_limits: jsonrpc::Limits { batch_items_max: config.rpc.batch_items_max },
            standing: config.standing(),
            sockets: terms(&config.websocket),
            tls,
            snapshot,
        })
    }

    /// The chain that a URL names by name or decimal id.
    pub(crate) fn chain(&self, name: &str) -> Option<&Rc<Chain>> {
        self.snapshot.chain_index(name).map(|index| &self.chains[index])
    }

    fn chain_named(&self, name: &str) -> Option<&Rc<Chain>> {
        self.chains.iter().find(|chain| *chain.entry.name == *name)
    }

    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Rc<Upstream>> {
        self.chains.iter().flat_map(|chain| &chain.upstreams)
    }

    /// Closes the unused connections of providers that `newer` no longer has.
    pub(crate) fn retire(&self, newer: &Self, shard: &Shard) {
        for upstream in self.upstreams() {
            if !newer.upstreams().any(|other| Rc::ptr_eq(other, upstream)) {
                upstream.retire(shard);
            }
        }
    }
}

fn terms(config: &WebSocket) -> Terms {
    let any = config.origins.iter().any(|origin| origin == "*");
    let origins = if any { Origins::Any } else { Origins::Listed(config.origins.clone()) };
    // Without takeover: see `websocket::compress`.
    let deflate = config.compression.map(|compression| DeflateTerms::new(compression.window_bits, false));
    Terms { origins, protocols: config.protocols.clone(), deflate }
}

/// The same configuration with a session cache that no other shard locks.
fn own_sessions(shared: &Arc<rustls::ClientConfig>) -> Arc<rustls::ClientConfig> {
    let mut own = (**shared).clone();
    own.resumption = Resumption::in_memory_sessions(limits::TLS_SESSIONS_PER_SHARD_MAX);
    Arc::new(own)
}
