//! Taking clients in: one loop a listener, which never dies and never spins.
//!
//! Out of descriptors or memory, it waits with a growing delay and tries again: the connections that wait are the
//! kernel's until then. Over its own limit it closes what it accepts at once, so that the client can go elsewhere,
//! instead of leaving it in a queue that nobody serves.

use std::net::SocketAddr;
use std::rc::Rc;

use futures_util::future::FutureExt;

use super::ring::{Listener, Stream};
use super::{Shard, serve};
use crate::limits;
use crate::link::{Event, EventKind, Phase};

/// Accepts until the node is closing.
pub(crate) async fn accept(shard: Rc<Shard>, listener: Listener) {
    let mut delay = limits::ACCEPT_DELAY_FIRST;
    while shard.phase() < Phase::Closing {
        let accepted = futures_util::select_biased! {
            () = shard.closing.wait().fuse() => break,
            accepted = listener.accept().fuse() => accepted,
        };
        if let Ok((stream, peer)) = accepted {
            delay = limits::ACCEPT_DELAY_FIRST;
            admit(&shard, stream, peer);
        } else {
            shard.counters.accept_failures.add(1);
            shard.timers.sleep_until(shard.clock.now() + delay).await;
            delay = (delay * 2).min(limits::ACCEPT_DELAY_MAX);
        }
    }
    // What waits in the queue is another process's to accept, or else taken in: closing would reset it.
    let waiting = if shard.handed_over() { listener.stop().await } else { listener.stop_and_take_queue().await };
    for (stream, peer) in waiting {
        admit(&shard, stream, peer);
    }
}

fn admit(shard: &Rc<Shard>, stream: Stream, peer: SocketAddr) {
    shard.counters.accepted.add(1);
    if shard.connections.get() >= shard.view().snapshot.config.shards.connections_max {
        shard.counters.refused.add(1);
        return;
    }
    let guard = shard.connected();
    let (ring, shard) = (shard.ring.clone(), Rc::clone(shard));
    ring.spawn(async move {
        let _guard = guard;
        // glommio aborts the process on a panic in a task: one bad connection must be one closed connection.
        let served = std::panic::AssertUnwindSafe(serve::serve(Rc::clone(&shard), stream, peer));
        if served.catch_unwind().await.is_err() {
            shard.counters.panics.add(1);
            shard.recorder.event(Event::of_node(EventKind::Panicked), &shard.counters);
        }
    })
    .detach();
}
