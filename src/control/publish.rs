//! Publishing snapshots: into every shard's slot, with a ring of its bell, and freed here when no shard holds them.
//!
//! Freeing a snapshot of hundreds of providers takes longer than a call should wait. So a reference to each is kept
//! until it is the only one left; since nothing can make a new one then, that count is no race.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::ClientConfig;

use super::names::Names;
use super::view::View;
use crate::config::Config;
use crate::link::{Bell, Ranked, Rankings, Slot, Snapshot};
use crate::routing::Ranking;
use crate::tenant::Roster;

/// The way to one shard.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) snapshots: Arc<Slot<Snapshot>>,
    pub(super) rankings: Arc<Slot<Rankings>>,
    pub(super) rosters: Arc<Slot<Roster>>,
    pub(super) bell: Arc<Bell>,
}

/// Publishes to all shards and to the admin port.
#[derive(Debug)]
pub(super) struct Publisher {
    view: Arc<View>,
    doors: Vec<Door>,
    /// The newest, and those before that some shard may still hold.
    kept: Vec<Arc<Snapshot>>,
    kept_rosters: Vec<Arc<Roster>>,
    /// Likewise: what was published to all, and what is in it, which a shard holds for longer.
    kept_rankings: Vec<Arc<Rankings>>,
    kept_chains: Vec<Arc<Ranking>>,
    /// Numbers of the newest snapshot's provider slots.
    slots: HashSet<u64>,
}

impl Publisher {
    /// The shards start with `view`'s snapshot.
    pub(super) fn new(view: Arc<View>, doors: Vec<Door>) -> Self {
        let snapshot = view.snapshot();
        let slots = numbers(&snapshot);
        let kept_rosters = doors.iter().map(|door| door.rosters.load().1).collect();
        Self {
            view,
            doors,
            kept: vec![snapshot],
            kept_rosters,
            kept_rankings: Vec::new(),
            kept_chains: Vec::new(),
            slots,
        }
    }

    /// The newest snapshot.
    pub(super) fn newest(&self) -> Arc<Snapshot> {
        self.view.snapshot()
    }

    /// Numbers of its provider slots.
    pub(super) fn slots(&self) -> &HashSet<u64> {
        &self.slots
    }

    /// Makes the snapshot of `config` and what `names` knows, and gives it to all.
    pub(super) fn publish(&mut self, config: Arc<Config>, tls: Arc<ClientConfig>, names: &Names) {
        let before = self.newest();
        let snapshot = Arc::new(Snapshot::build(
            config,
            Some(&before),
            tls,
            |url| names.addresses(url),
            |day| self.view.month(day),
        ));
        self.slots = numbers(&snapshot);
        self.view.totals().retain(&self.slots);
        self.view.publish(Arc::clone(&snapshot));
        for door in &self.doors {
            door.snapshots.publish(Arc::clone(&snapshot));
        }
        let rankings = {
            let (mut rank, now) = (self.view.rank(), self.view.now());
            rank.place(now, &snapshot);
            rank.publish(now)
        };
        self.publish_rankings(rankings);
        self.kept.push(snapshot);
        self.ring();
    }

    /// Gives `rankings` to all shards, if there are any. Wakes none: one that has no calls needs no ranking.
    pub(super) fn publish_rankings(&mut self, rankings: Option<Rankings>) {
        let Some(rankings) = rankings.map(Arc::new) else { return };
        for door in &self.doors {
            door.rankings.publish(Arc::clone(&rankings));
        }
        // A reload may have moved a chain whose ranking says what it said before.
        let before = self.kept_rankings.last().map_or(&[][..], |before| &before.chains);
        let same = |old: &Ranked, new: &Ranked| Arc::ptr_eq(&old.ranking, &new.ranking);
        for (at, new) in rankings.chains.iter().enumerate() {
            let is_kept = before.get(at).is_some_and(|old| same(old, new)) || before.iter().any(|old| same(old, new));
            if !is_kept {
                self.kept_chains.push(Arc::clone(&new.ranking));
            }
        }
        self.kept_rankings.push(rankings);
    }

    /// Gives everyone who may come in to all shards, parked ones too: who is revoked is gone at once.
    pub(super) fn publish_roster(&mut self, roster: Roster) {
        let roster = Arc::new(roster);
        for door in &self.doors {
            door.rosters.publish(Arc::clone(&roster));
        }
        self.kept_rosters.push(roster);
        self.ring();
    }

    /// Wakes one shard.
    pub(super) fn ring_one(&self, shard: usize) {
        if let Some(door) = self.doors.get(shard) {
            door.bell.ring();
        }
    }

    /// Wakes every shard.
    pub(super) fn ring(&self) {
        self.doors.iter().for_each(|door| door.bell.ring());
    }

    /// Frees the snapshots and rankings that no shard holds any more.
    pub(super) fn sweep(&mut self) {
        self.kept_rankings.retain(|rankings| Arc::strong_count(rankings) > 1);
        self.kept_chains.retain(|ranking| Arc::strong_count(ranking) > 1);
        self.kept.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.kept_rosters.retain(|roster| Arc::strong_count(roster) > 1);
    }
}

fn numbers(snapshot: &Snapshot) -> HashSet<u64> {
    let providers = snapshot.chains.iter().flat_map(|chain| &chain.providers);
    providers.map(|provider| provider.slot.number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Dropped, tls};
    use crate::link::{Doorbell, PhaseCell};
    use crate::routing::Month;

    fn config(providers: &[&str]) -> Arc<Config> {
        let providers: String = providers
            .iter()
            .map(|id| format!("[[chains.providers]]\nid = \"{id}\"\nurl = \"http://127.0.0.1:8000/{id}\"\n"))
            .collect::<Vec<_>>()
            .concat();
        let text = format!("[[chains]]\nname = \"ethereum\"\nid = 1\n{providers}");
        Arc::new(Config::parse(&text, "test", |_| None, &[0]).unwrap())
    }

    /// A publisher to one shard of alpha and beta, and the shard's side of it.
    fn to_one_shard() -> (Publisher, Names, Arc<Slot<Snapshot>>, Arc<Slot<Rankings>>, Doorbell) {
        let first = config(&["alpha", "beta"]);
        let names = Names::new(&first).unwrap();
        let tls = tls::client_config(None).unwrap();
        let snapshot = Arc::new(Snapshot::build(first, None, tls, |url| names.addresses(url), |_| Month::default()));
        let (bell, doorbell) = Bell::new().unwrap();
        let snapshots = Arc::new(Slot::new(Arc::clone(&snapshot)));
        let rankings = Arc::new(Slot::new(Arc::default()));
        let door = Door {
            snapshots: Arc::clone(&snapshots),
            rankings: Arc::clone(&rankings),
            rosters: Arc::new(Slot::new(Arc::default())),
            bell: Arc::new(bell),
        };
        let epoch = std::time::Instant::now();
        let view = Arc::new(View::new(Arc::new(PhaseCell::default()), vec![], epoch, Dropped::default(), snapshot));
        (Publisher::new(view, vec![door]), names, snapshots, rankings, doorbell)
    }

    #[tokio::test]
    async fn a_snapshot_is_freed_once_no_shard_holds_it() {
        let (mut publisher, names, slot, _rankings, _doorbell) = to_one_shard();
        let (_, in_use) = slot.load();
        let old = Arc::downgrade(&in_use);
        let tls = Arc::clone(&in_use.tls);
        publisher.publish(config(&["beta", "gamma"]), tls, &names);
        publisher.sweep();
        drop(in_use);
        assert!(old.upgrade().is_some(), "the shard frees nothing");
        publisher.sweep();
        assert!(old.upgrade().is_none());
        let (generation, newest) = slot.load();
        assert_eq!(generation, 2);
        assert_eq!(numbers(&newest), *publisher.slots());
        publisher.sweep();
        assert_eq!(publisher.kept.len(), 1, "the newest is kept");
    }

    #[tokio::test]
    async fn a_ranking_is_freed_once_no_shard_goes_by_it() {
        let (mut publisher, _names, _slot, slot, _doorbell) = to_one_shard();
        let slots: Arc<[u64]> = [1, 2].into();
        let ranked = |ranking: &Arc<Ranking>| Ranked { slots: Arc::clone(&slots), ranking: Arc::clone(ranking) };
        let (busy, quiet) = (Arc::new(Ranking::new(2, 64.0)), Arc::new(Ranking::new(2, 64.0)));
        let old = [Arc::downgrade(&busy), Arc::downgrade(&quiet)];
        publisher.publish_rankings(Some(Rankings { chains: vec![ranked(&busy), ranked(&quiet)] }));
        let in_use = Arc::clone(&slot.load().1.chains[0].ranking);
        // The quiet chain's says what it said; a reload has moved it.
        let newer = Arc::new(Ranking::new(2, 64.0));
        publisher.publish_rankings(Some(Rankings { chains: vec![ranked(&quiet), ranked(&newer)] }));
        drop((busy, quiet, newer));
        publisher.sweep();
        drop(in_use);
        assert!(old[0].upgrade().is_some(), "the shard frees nothing");
        publisher.sweep();
        assert!(old[0].upgrade().is_none() && old[1].upgrade().is_some());
        publisher.publish_rankings(Some(Rankings::default()));
        publisher.sweep();
        assert!(old[1].upgrade().is_none(), "kept once, and freed once it is used no more");
        assert_eq!((publisher.kept_rankings.len(), publisher.kept_chains.len()), (1, 0));
    }

    #[tokio::test]
    async fn a_provider_that_stays_keeps_its_slot() {
        let tls = tls::client_config(None).unwrap();
        let names = Names::new(&config(&["alpha"])).unwrap();
        let build = |ids: &[&str], previous: Option<&Snapshot>| {
            Snapshot::build(config(ids), previous, Arc::clone(&tls), |url| names.addresses(url), |_| Month::default())
        };
        let first = build(&["alpha", "beta"], None);
        let second = build(&["gamma", "beta"], Some(&first));
        let slot = |snapshot: &Snapshot, index: usize| Arc::clone(&snapshot.chains[0].providers[index].slot);
        assert!(Arc::ptr_eq(&slot(&first, 1), &slot(&second, 1)));
        assert!(!numbers(&first).contains(&slot(&second, 0).number));
    }
}
