//! Taking clients in: one loop a listener, which never dies and never spins.
//!
//! Out of descriptors or memory, it waits with a growing delay and tries again: the connections that wait are the
//! kernel's until then. Over its own limit it closes what it accepts at once, so that the client can go elsewhere,
//! instead of leaving it in a queue that nobody serves.
//!
//! Where the operator sets a pace, what comes faster waits: in the ring's short queue, then in the kernel's. Nobody is
//! refused for it, and a storm of handshakes leaves the shard to the calls of those who are there.

use std::net::SocketAddr;
use std::rc::Rc;

use futures_util::future::FutureExt;

use super::arrive::Arrival;
use super::guard::guarded;
use super::ring::{Listener, Stream};
use super::{Shard, serve};
use crate::limits;
use crate::link::Phase;

/// Accepts until the node is closing.
pub(crate) async fn accept(shard: Rc<Shard>, listener: Listener, secure: bool) {
    let mut delay = limits::ACCEPT_DELAY_FIRST;
    while shard.phase() < Phase::Closing {
        let accepted = futures_util::select_biased! {
            () = shard.closing.wait().fuse() => break,
            accepted = listener.accept().fuse() => accepted,
        };
        if let Ok((stream, peer)) = accepted {
            delay = limits::ACCEPT_DELAY_FIRST;
            admit(&shard, stream, peer, secure);
            rest(&shard).await;
        } else {
            shard.counters.accept_failures.add(1);
            shard.timers.sleep_until(shard.clock.now() + delay).await;
            delay = (delay * 2).min(limits::ACCEPT_DELAY_MAX);
        }
    }
    // What waits in the queue is another process's to accept, or else taken in: closing would reset it.
    let waiting = if shard.handed_over() { listener.stop().await } else { listener.stop_and_take_queue().await };
    for (stream, peer) in waiting {
        admit(&shard, stream, peer, secure);
    }
}

/// Waits until the next connection may come, or the node closes.
async fn rest(shard: &Rc<Shard>) {
    let Some(per_second) = shard.view().snapshot.config.listen.accepts_per_second else { return };
    let now = shard.clock.now();
    let mut pace = shard.pace.get();
    let next = pace.on_one(now, per_second, limits::ACCEPTS_BURST);
    shard.pace.set(pace);
    if next > now {
        futures_util::select_biased! {
            () = shard.closing.wait().fuse() => {}
            () = shard.timers.sleep_until(next).fuse() => {}
        }
    }
}

fn admit(shard: &Rc<Shard>, stream: Stream, peer: SocketAddr, secure: bool) {
    shard.counters.accepted.add(1);
    if shard.connections.get() >= shard.view().snapshot.config.shards.connections_max {
        shard.counters.refused.add(1);
        return;
    }
    let Some(arrival) = Arrival::new(shard, stream, peer, secure) else { return };
    let guard = shard.connected();
    let (ring, shard) = (shard.ring.clone(), Rc::clone(shard));
    ring.spawn(async move {
        let _guard = guard;
        // One bad connection must be one closed connection.
        guarded(&shard, serve::serve(Rc::clone(&shard), arrival)).await;
    })
    .detach();
}
