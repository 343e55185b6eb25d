//! Subscriptions as real clients hold them: viem, ethers and web3.py, a WebSocket each, before one Anvil behind three relays.
//!
//! A stream is judged at the end, against the chain as Anvil has it: each block and each log once, in order, whoever was
//! heard meanwhile, and logs of blocks that are no more taken back. Nothing here is timed; what must happen has long deadlines.
//! The tests beside them show that the clients hear all when Anvil itself is asked, and that the judge finds what is wrong.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::time::Duration;

use support::growing::{Block, EVENTS, Growing, Log};
use support::relay::{Mood, Relay};
use support::watcher::{Told, WATCHERS, Watcher};
use support::{Chain, Node, Setup, eventually, json, judge, within};

/// What must happen takes seconds; the machines that run this share few cores.
const PATIENCE: Duration = Duration::from_mins(1);
const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
const BLOCK_TIME: Duration = Duration::from_millis(100);
/// More than a call needs at its next provider once its first has let it wait in vain.
const HELD_UP: Duration = Duration::from_millis(500);
const FAILOVERS: usize = 30;
/// Blocks that must have come from somebody else before a provider is let back.
const ELSEWHERE: u64 = 3;

fn start(chain: &Growing) -> (Node, [Relay; 3]) {
    let relays = [(); 3].map(|()| Relay::start(chain.anvil.address));
    let config = NAMES.iter().zip(&relays).fold(
        Chain::new("anvil", 31337).line("strategy = \"load-balanced\"").line("block_time = \"100ms\""),
        |config, (name, relay)| config.provider_with(name, &relay.url(), &format!("ws_url = \"{}\"", relay.ws_url())),
    );
    let node = Setup::new()
        .chain(config)
        .set("breaker", "cooldown = \"200ms\"")
        .set("breaker", "cooldown_max = \"1s\"")
        .set("log", "level = \"info,livechain::event=off\"")
        .start();
    (node, relays)
}

/// All clients on this URL, with their subscriptions agreed.
fn watch(url: &str, chain: &Growing) -> [Watcher; 3] {
    let watchers = WATCHERS.map(|client| Watcher::start(client, url, &chain.emitter));
    watchers.iter().for_each(Watcher::wait_ready);
    watchers
}

/// Waits until all have been told of the block with this number, and of its logs.
#[track_caller]
fn wait_for(watchers: &[Watcher], number: u64, what: &str) {
    within(PATIENCE, &format!("all clients to have block {number} {what}"), || {
        for watcher in watchers {
            watcher.so_far(|told| assert!(told.wrong.is_empty(), "{}, {what}: {:?}", watcher.name, told.wrong));
        }
        watchers.iter().all(|watcher| watcher.has(number)).then_some(())
    });
}

/// Waits until all have been told of all that there is: the last block, its last log, and as many block events as heads.
///
/// Before blocks are replaced too: viem reads the block of each head by its number, and Anvil has none while it replaces it.
#[track_caller]
fn settle(watchers: &[Watcher], chain: &Growing, what: &str) {
    let height = chain.height();
    wait_for(watchers, height, what);
    for watcher in watchers {
        let last = chain.logs_after(height - 1, watcher.topics).pop();
        within(PATIENCE, &format!("{} to have {last:?}, and its block events, {what}", watcher.name), || {
            watcher.so_far(|told| {
                let log = told.logs.last().map(|(log, _)| log) == last.as_ref();
                (log && (told.blocks.is_empty() || told.blocks.len() >= told.heads.len())).then_some(())
            })
        });
    }
}

/// Ends all clients; what is wrong with what each was told.
fn verdict(watchers: [Watcher; 3], judge: impl Fn(&Told, &str) -> Vec<String>) {
    let mut wrong = Vec::new();
    for watcher in watchers {
        let (name, topics) = (watcher.name, watcher.topics);
        let told = watcher.end();
        println!(
            "{name}: {} heads, {} logs, {} calls",
            told.heads.len(),
            told.logs.len(),
            told.calls.unwrap_or_default()
        );
        wrong.extend(judge(&told, topics).into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// That all were told of the whole chain after this block, and of nothing else.
fn told_all(watchers: [Watcher; 3], chain: &Growing, first: u64) {
    let blocks = chain.blocks_after(first);
    verdict(watchers, |told, topics| {
        let mut wrong = judge::grown(told, &blocks, &chain.logs_after(first, topics));
        // By their own block events, where a client has any. viem reads each block, and these overtake one another.
        let mut numbers = told.blocks.clone();
        numbers.sort_unstable();
        if !numbers.is_empty() {
            let truth: Vec<u64> = blocks.iter().map(|block| block.number).collect();
            wrong.extend(judge::differences("block events", &numbers, &truth));
        }
        wrong
    });
}

#[test]
fn the_clients_hear_all_that_anvil_itself_tells() {
    let chain = Growing::start();
    let watchers = watch(&format!("ws://{}", chain.anvil.address), &chain);
    let first = chain.height();
    (0..20).for_each(|_| chain.mine());
    settle(&watchers, &chain, "in the end");
    told_all(watchers, &chain, first);
}

/// Why the node has to tell by itself that logs are gone.
#[test]
fn anvil_tells_of_a_reorganisation_by_new_heads_and_takes_no_log_back() {
    let chain = Growing::start();
    let watchers = watch(&format!("ws://{}", chain.anvil.address), &chain);
    let root = chain.blocks_after(0).pop().unwrap();
    (0..5).for_each(|_| chain.mine());
    settle(&watchers, &chain, "before the reorganisation");
    let gone = chain.blocks_after(root.number + 3);
    chain.reorganise(2);
    chain.mine();
    settle(&watchers, &chain, "in the end");
    let blocks = chain.blocks_after(root.number);
    verdict(watchers, |told, topics| {
        let heads = Told { logs: Vec::new(), ..told.clone() };
        let mut wrong = judge::reorganised(&heads, &root, &blocks, &[], &[]);
        let kept = |log: &&Log| gone.iter().any(|block| block.hash == log.block);
        let (logs, removed) = (told.logs.iter().map(|(log, _)| log), told.logs.iter().any(|(_, removed)| *removed));
        let lost = logs.filter(kept).count();
        if removed || lost == 0 {
            wrong.push(format!("{topics}: {lost} logs of blocks that are gone, some taken back: {removed}"));
        }
        wrong
    });
}

#[test]
fn every_block_and_log_comes_once_and_in_order_through_thirty_failovers() {
    let chain = Growing::start();
    let (node, relays) = start(&chain);
    let watchers = watch(&format!("ws://{}/ws/rpc/anvil", node.http), &chain);
    let first = chain.height();
    let mining = chain.mine_every(BLOCK_TIME);
    wait_for(&watchers, first + ELSEWHERE, "before any failover");
    for round in 0..FAILOVERS {
        let at = heard(&relays);
        let (name, relay) = (NAMES[at], &relays[at]);
        let before = failovers(&node);
        let mood = [None, Some(Mood::Pause), Some(Mood::HoldSockets), Some(Mood::CutAnswers)][round % 4];
        match mood {
            None => relay.kill(),
            Some(mood) => relay.mood(mood),
        }
        let what = format!("with {name} hit by {mood:?}, failover {round}");
        within(PATIENCE, &format!("a stream to go on elsewhere {what}"), || (failovers(&node) > before).then_some(()));
        // What was told meanwhile may have been on its way; this was not.
        wait_for(&watchers, chain.height() + ELSEWHERE, &what);
        match mood {
            None => relay.revive(),
            Some(_) => relay.mood(Mood::Pass),
        }
        // One at a time: the next one falls when this one is back, and when the calls that it held up are answered.
        within(PATIENCE, &format!("{name} to be back"), || {
            let answer = node.post(&format!("/rpc/provider/{name}/anvil"), &json::call("eth_blockNumber", "[]"));
            (answer.status == 200).then_some(())
        });
        std::thread::sleep(HELD_UP);
    }
    mining.end();
    settle(&watchers, &chain, "in the end");
    println!("{} streams went on at another provider, {FAILOVERS} times forced", failovers(&node));
    told_all(watchers, &chain, first);
}

/// Streams that went on at another provider so far, as the node counts them.
fn failovers(node: &Node) -> u64 {
    let page = node.admin_get("/metrics").text();
    let lines = page.lines().filter(|line| line.starts_with("livechain_feed_failovers_total"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Whom the node hears now: whose WebSockets have pushed most since we began to look.
fn heard(relays: &[Relay; 3]) -> usize {
    let before = relays.each_ref().map(Relay::pushes);
    eventually("a provider that pushes", || {
        let since = |at: &usize| relays[*at].pushes() - before[*at];
        let most = (0..relays.len()).max_by_key(since)?;
        (since(&most) >= 2).then_some(most)
    })
}

#[test]
fn reorganisations_reach_every_client_and_logs_are_taken_back() {
    let chain = Growing::start();
    let (node, _relays) = start(&chain);
    let watchers = watch(&format!("ws://{}/ws/rpc/anvil", node.http), &chain);
    let root = chain.blocks_after(0).pop().unwrap();
    let mut gone = Vec::new();
    (0..6).for_each(|_| chain.mine());
    for depth in 1..=5 {
        settle(&watchers, &chain, &format!("before {depth} blocks are replaced"));
        gone.extend(chain.blocks_after(chain.height() - depth));
        chain.reorganise(depth);
        chain.mine();
    }
    back_and_forth(&chain, &watchers, &mut gone);
    settle(&watchers, &chain, "in the end");
    let blocks = chain.blocks_after(root.number);
    verdict(watchers, |told, topics| {
        let taken = told_of(told, &gone);
        let mut wrong = judge::reorganised(told, &root, &blocks, &chain.logs_after(root.number, topics), &taken);
        if taken.len() < gone.len() {
            wrong.push(format!("{} logs in {} blocks that are gone", taken.len(), gone.len()));
        }
        wrong
    });
}

/// A, then B in its place, then A again with more: Anvil keeps no fork that it has left, so A is put away and brought back.
fn back_and_forth(chain: &Growing, watchers: &[Watcher], gone: &mut Vec<Block>) {
    let root = chain.height();
    let snapshot = chain.anvil.ask("evm_snapshot", "[]");
    (0..2).for_each(|_| chain.mine());
    settle(watchers, chain, "on A");
    gone.extend(chain.blocks_after(root));
    let a = chain.anvil.ask("anvil_dumpState", "[true]");
    assert_eq!(chain.anvil.ask("evm_revert", &format!("[{snapshot}]")), "true");
    (0..3).for_each(|_| chain.mine());
    settle(watchers, chain, "on B");
    gone.extend(chain.blocks_after(root));
    assert_eq!(chain.anvil.ask("anvil_loadState", &format!("[{a}]")), "true");
    (0..3).for_each(|_| chain.mine());
}

/// The logs of these blocks that a client was told of, once each time that its block was the chain's and ceased to be.
fn told_of(told: &Told, gone: &[Block]) -> Vec<Log> {
    let mut logs: Vec<Log> = told.logs.iter().filter(|(_, removed)| !removed).map(|(log, _)| log.clone()).collect();
    logs.sort();
    logs.dedup();
    gone.iter().flat_map(|block| logs.iter().filter(|log| log.block == block.hash).cloned()).collect()
}

#[test]
fn the_judge_finds_what_is_wrong() {
    let block = |number: u64, fork: &str| {
        let parent = if number == 2 { "1".to_owned() } else { format!("{}{fork}", number - 1) };
        Block { number, hash: format!("{number}{fork}"), parent }
    };
    let log = |number: u64, fork: &str, index| Log { number, index, block: format!("{number}{fork}") };
    let root = Block { number: 1, hash: "1".to_owned(), parent: "0".to_owned() };
    let told = |heads: &[Block], logs: &[(Log, bool)]| Told {
        heads: heads.to_vec(),
        logs: logs.to_vec(),
        calls: Some(1),
        ..Told::default()
    };
    let (blocks, logs) = ([block(2, "a"), block(3, "a")], [log(2, "a", 0), log(3, "a", 0)]);
    let [two, three] = blocks.clone();
    let [first, last] = logs.clone().map(|log| (log, false));
    let grown = |heads: &[Block], told_logs: &[(Log, bool)]| judge::grown(&told(heads, told_logs), &blocks, &logs);
    assert_eq!(grown(&blocks, &[first.clone(), last.clone()]), [""; 0]);
    let (b2, gone) = (block(2, "b"), log(2, "b", 0));
    let forked = [(gone.clone(), false), (gone.clone(), true), first.clone(), last.clone()];
    let reorganised = |heads: &[Block], told_logs: &[(Log, bool)]| {
        judge::reorganised(&told(heads, told_logs), &root, &blocks, &logs, std::slice::from_ref(&gone))
    };
    assert_eq!(reorganised(&[b2.clone(), two.clone(), three.clone()], &forked), [""; 0]);
    let heads = [b2.clone(), two.clone(), three.clone()];
    let found = [
        ("a head is missing", grown(std::slice::from_ref(&three), &[first.clone(), last.clone()])),
        ("a head comes twice", grown(&[two.clone(), two.clone(), three.clone()], &[first.clone(), last.clone()])),
        ("heads out of order", grown(&[three.clone(), two.clone()], &[first.clone(), last.clone()])),
        ("a log is missing", grown(&blocks, std::slice::from_ref(&last))),
        ("a log comes twice", grown(&blocks, &[first.clone(), first.clone(), last.clone()])),
        ("logs out of order", grown(&blocks, &[last.clone(), first.clone()])),
        ("a log is taken back", grown(&blocks, &[first.clone(), last.clone(), (logs[1].clone(), true)])),
        ("a stray head", reorganised(&[b2.clone(), three.clone(), two.clone(), three.clone()], &forked)),
        ("the other fork in the end", reorganised(&[two.clone(), three.clone(), b2.clone()], &forked)),
        ("nothing taken back", reorganised(&heads, &[forked[0].clone(), first.clone(), last.clone()])),
        ("taken back unsaid", reorganised(&heads, &[forked[1].clone(), first.clone(), last.clone()])),
        ("never on the fork", reorganised(&heads, &[first.clone(), last.clone()])),
        (
            "a call failed",
            judge::grown(&Told { wrong: vec!["x".to_owned()], ..told(&blocks, &[first, last]) }, &blocks, &logs),
        ),
    ];
    let missed: Vec<_> = found.iter().filter(|(_, wrong)| wrong.is_empty()).map(|(what, _)| what).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
    assert_eq!(EVENTS, 4, "two transactions, two events each");
}
