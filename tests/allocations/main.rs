//! What the data path allocates for a call in steady state: connections kept on both sides, one small call at a time.
//!
//! Every allocation of the shard's thread is booked on the innermost of our source files in its stack, and each file has
//! its row in [`EXPECTED`] with the reason for what it may ask for. A file without a row may ask for nothing but what a
//! table takes that grows late.
//!
//! One client waits for each answer, so the shard goes to sleep about twice a call: what sleeping costs would be seen.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod counting;
mod peers;

use std::time::{Duration, Instant};

use livechain::limits;
use peers::{Client, Node};

/// Tables have grown, buffers are there, the provider's connection is open.
const WARM_UP: u64 = 1_000;
const CALLS: u64 = 10_000;

/// Of a file without a row: far from once a call.
const STRAY_MAX: u64 = 10;

#[derive(Clone, Copy, Debug)]
enum Allowed {
    /// So many for each call, no more and no fewer: fewer want a new number here.
    Call(u64),
    /// At most so many for each time that measurements are shipped.
    Shipment(u64),
}

const EXPECTED: [(&str, Allowed); 5] = [
    // The future of a request, boxed for as long as it runs: it takes kilobytes, which an idle connection must not hold.
    // An allocator's bin of that size has it back at once; keeping it ourselves would take unsafe code.
    ("src/shard/heap.rs", Allowed::Call(1)),
    // The wheel's own sleep on the ring, begun anew as timers move down: what the kernel reads stands on the heap.
    ("src/shard/ring/sleep.rs", Allowed::Shipment(8)),
    // The task that ships and sweeps: its timer, the keys of the rows, a row where none came back in time.
    ("src/shard/timers.rs", Allowed::Shipment(12)),
    ("src/shard/record.rs", Allowed::Shipment(8)),
    ("src/link/report.rs", Allowed::Shipment(8)),
];

#[test]
fn a_call_on_connections_that_are_kept_allocates_only_what_is_listed_here() {
    let mut node = Node::start(peers::provider());
    let mut client = Client::connect(node.address);
    client.call(WARM_UP);
    node.collect();
    let start = Instant::now();
    let made = counting::count_of("shard-0", || client.call(CALLS));
    let shipments = shipments(start.elapsed());
    let mut wrong = Vec::new();
    for (file, &count) in &made {
        println!("{count:>8} in {CALLS} calls  {file}");
        let row = EXPECTED.iter().find(|(named, _)| named == file);
        let fine = match row.map(|(_, allowed)| *allowed) {
            Some(Allowed::Call(each)) => count == each * CALLS,
            Some(Allowed::Shipment(each)) => count <= each * shipments,
            None => count <= STRAY_MAX,
        };
        if !fine {
            wrong.push(format!("{file}: {count} in {CALLS} calls and {shipments} shipments, allowed {row:?}"));
        }
    }
    drop(client);
    node.stop();
    assert!(wrong.is_empty(), "{wrong:#?}\n`ALLOCATIONS_TRACE=1` prints the stacks");
    assert!(made.contains_key("src/shard/heap.rs"), "nothing was counted");
}

/// How often the shard may have shipped within `elapsed`.
fn shipments(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis() / u128::from(limits::RANKING_INTERVAL_MS_DEFAULT)).unwrap() + 2
}
