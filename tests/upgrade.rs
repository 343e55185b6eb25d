//! Reload and upgrade as real clients see them: wrk and viem at work all the while.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::time::Duration;

use support::real::{Anvil, client, wrk};
use support::{Chain, Node, Provider, Setup, eventually};

const SECONDS: u64 = 12;

fn chains(anvil: &Anvil, provider: &Provider, name: &str) -> [Chain; 2] {
    [
        Chain::new("ethereum", 1).provider(name, &provider.url()),
        Chain::new("anvil", 31337).provider(name, &format!("http://{}", anvil.address)),
    ]
}

/// Waits until calls are answered by the provider that goes by this name.
fn answered_by(node: &Node, name: &str) {
    eventually(&format!("calls to go to {name}"), || {
        (node.ethereum(&support::json::read()).field("x-livechain-provider") == Some(name)).then_some(())
    });
}

#[test]
fn wrk_and_viem_notice_neither_reloads_nor_upgrades() {
    let anvil = Anvil::start();
    let provider = Provider::answering("\"0x1\"");
    let mut node = Setup::new().chains(&chains(&anvil, &provider, "first")).start();
    let viem = client("viem", &format!("http://{}/rpc/anvil", node.http), Some(SECONDS));
    let mut wrk = wrk(&format!("http://{}/rpc/ethereum", node.http), 32, SECONDS + 2);
    let (mut reloads, mut upgrades) = (0, 0);
    while !wrk.is_finished() {
        reloads += 1;
        let name = format!("after-{reloads}");
        node.reload(|s| s.chains(&chains(&anvil, &provider, &name)));
        answered_by(&node, &name);
        std::thread::sleep(Duration::from_millis(300));
        let next = node.successor();
        assert_eq!(node.wait_end().code(), Some(0), "{}", node.log());
        node = next;
        upgrades += 1;
        std::thread::sleep(Duration::from_millis(300));
    }
    println!("{reloads} reloads, {upgrades} upgrades\n{}", viem.succeeds());
    let said = wrk.succeeds();
    println!("{said}");
    for word in ["Socket errors", "Non-2xx", "wrong bodies"] {
        assert!(!said.contains(word), "{said}");
    }
    assert!(said.contains("requests in"), "{said}");
    assert!(upgrades >= 2, "{upgrades} upgrades in {SECONDS} s");
}
