//! Real clients against a real chain: viem, ethers and web3.py, one Anvil, three providers that are relays before it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::time::Duration;

use support::real::{Anvil, CLIENTS, Running, client};
use support::relay::{Mood, Relay};
use support::{Chain, Node, Setup, eventually, json};

/// More than a call needs at its next provider once its first has let it wait in vain: 0.4 s is all that some have.
const HELD_UP: Duration = Duration::from_millis(500);

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

fn start(anvil: &Anvil) -> (Node, [Relay; 3]) {
    let relays = [(); 3].map(|()| Relay::start(anvil.address));
    let chain = NAMES.iter().zip(&relays).fold(
        Chain::new("anvil", 31337).line("strategy = \"load-balanced\"").line("block_time = \"1s\""),
        |chain, (name, relay)| chain.provider_with(name, &relay.url(), ""),
    );
    let node = Setup::new()
        .chain(chain)
        .set("breaker", "cooldown = \"200ms\"")
        .set("breaker", "cooldown_max = \"1s\"")
        // A failure here is read in what the clients print, not in a thousand changes of breakers before it.
        .set("log", "level = \"info,livechain::event=off\"")
        .start();
    (node, relays)
}

fn url(node: &Node) -> String {
    format!("http://{}/rpc/anvil", node.http)
}

#[test]
fn viem_ethers_and_web3py_find_everything_as_it_should_be() {
    let anvil = Anvil::start();
    let (node, _relays) = start(&anvil);
    let running = CLIENTS.map(|name| client(name, &url(&node), None));
    for one in running {
        println!("{}", one.succeeds());
    }
}

#[test]
fn no_repeatable_call_fails_while_providers_do() {
    let anvil = Anvil::start();
    let (node, relays) = start(&anvil);
    let mut running = CLIENTS.map(|name| client(name, &url(&node), Some(30)));
    let mut rounds = 0;
    while !running.iter_mut().all(Running::is_finished) {
        let (name, relay) = (NAMES[rounds % 3], &relays[rounds % 3]);
        match rounds / 3 % 3 {
            0 => {
                relay.kill();
                std::thread::sleep(Duration::from_millis(800));
                relay.revive();
            }
            mood => {
                relay.mood(if mood == 1 { Mood::Pause } else { Mood::CutAnswers });
                std::thread::sleep(Duration::from_millis(1200));
                relay.mood(Mood::Pass);
            }
        }
        // One at a time: the next one falls when this one is back, ...
        eventually(&format!("{name} to be back"), || {
            let answer = node.post(&format!("/rpc/provider/{name}/anvil"), &json::call("eth_blockNumber", "[]"));
            (answer.status == 200).then_some(())
        });
        // ... and when what it held up has been answered elsewhere: a second attempt has what time the first one left it,
        // and a second trouble within one call is another test's.
        std::thread::sleep(HELD_UP);
        rounds += 1;
    }
    for one in running {
        println!("{}", one.succeeds());
    }
    assert!(rounds >= 9, "only {rounds} failures in all that time");
}
