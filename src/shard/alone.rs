//! A shard for tests of what needs one: it listens nowhere and hears of no control.

use std::rc::Rc;
use std::sync::Arc;

use glommio::{LocalExecutorBuilder, Placement};

use super::Shard;
use super::start::Seed;
use crate::link::{Bell, ControlEnd, Counters, MeshEnd, PhaseCell, Slot, Snapshot, pair, probe_pair};

/// Runs `test` on a shard of its own that goes by `config`. Hosts are addresses.
pub(crate) fn alone<T, F: Future<Output = T>>(config: &str, test: impl FnOnce(Rc<Shard>, ControlEnd) -> F) -> T {
    beside(config, |shard, control, _| test(shard, control))
}

/// The same, with another shard's end of the mesh, which hears nothing unless `test` listens there.
pub(crate) fn beside<T, F: Future<Output = T>>(
    config: &str,
    test: impl FnOnce(Rc<Shard>, ControlEnd, MeshEnd) -> F,
) -> T {
    let (mut seed, control) = seed(config);
    let (bell, _doorbell) = Bell::new().unwrap();
    let mut ends = MeshEnd::all(&[Arc::new(Bell::new().unwrap().0), Arc::new(bell)]);
    let other = ends.remove(1);
    seed.mesh = ends.remove(0);
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
    executor.run(async move {
        let (shard, _posts) = Shard::new(seed).unwrap();
        let ring = shard.ring.clone();
        ring.watch(async {
            let driver = ring.start();
            let timers = ring.spawn(Rc::clone(&shard.timers).drive());
            let result = test(Rc::clone(&shard), control, other).await;
            shard.timers.stop();
            timers.await;
            ring.shutdown();
            driver.await;
            result
        })
        .await
    })
}

fn seed(config: &str) -> (Seed, ControlEnd) {
    let (ends, control) = pair();
    let counters = Arc::new(Counters::default());
    let (bell, doorbell) = Bell::new().unwrap();
    let seed = Seed {
        index: 0,
        core: 0,
        listeners: Vec::new(),
        entrance: Arc::new(Slot::new(Arc::default())),
        addresses: Arc::default(),
        snapshots: Arc::new(Slot::new(Arc::new(Snapshot::of(config)))),
        rankings: Arc::new(Slot::new(Arc::default())),
        rosters: Arc::new(Slot::new(Arc::default())),
        doorbell,
        mesh: MeshEnd::all(&[Arc::new(bell)]).remove(0),
        phase: Arc::new(PhaseCell::default()),
        node: Arc::new([Arc::clone(&counters)]),
        counters,
        ends,
        probes: probe_pair().0,
        boot: 7,
        epoch: std::time::Instant::now(),
    };
    (seed, control)
}
