//! Hedging: a second attempt beside one that takes its time, within a budget, and the first answer wins.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use support::reply::At;
use support::{Chain, Fault, Node, Provider, Reply, Seen, Setup, eventually, json};

type Says = fn(&Seen) -> Reply;

const SEND: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_sendTransaction","params":[{"from":"0xaa","to":"0xbb"}]}"#;

/// Two providers, the first preferred; a hedge after 50 ms, as nothing is known of either.
fn setup(first: &Provider, second: &Provider, budget_percent: u32) -> Setup {
    Setup::ethereum(&[first, second])
        .set("shards", &support::one_core())
        .set("hedging", "cap = \"50ms\"")
        .set("hedging", &format!("budget_percent = {budget_percent}"))
}

fn slow(result: &'static str, wait: Duration) -> Provider {
    Provider::start(move |call| Reply::result(call, result).after(wait))
}

/// One that says `reply` 300 ms after `other` has been asked for the first time: however slow the machine is, there is a hedge.
fn behind(other: &Arc<Provider>, reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Provider {
    let other = Arc::clone(other);
    Provider::start(move |call| {
        eventually("the other to be asked", || (!other.seen().is_empty()).then_some(()));
        reply(call).after(Duration::from_millis(300))
    })
}

/// A counter's value on the metrics page, once it is at least `least`.
fn counted(node: &Node, name: &str, least: u64) -> u64 {
    eventually(name, || {
        let page = node.admin_get("/metrics").text();
        let line =
            page.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))?;
        line.rsplit(' ').next()?.parse().ok().filter(|count| *count >= least)
    })
}

#[test]
fn a_call_that_takes_its_time_is_answered_by_the_next_provider_and_the_first_is_cancelled() {
    let (hanging, good) = (Provider::start(|_| Reply::hang()), Provider::answering("\"good\""));
    let node = setup(&hanging, &good, 100).start();
    let answer = node.post("/rpc/ethereum?meta=1", &json::read());
    assert_eq!(answer.result(), "\"good\"");
    assert_eq!(answer.field("x-livechain-provider"), Some("beta"));
    let timing = answer.field("server-timing").unwrap();
    assert!(timing.contains("alpha") && timing.contains("outrun") && timing.contains("beta"), "{timing}");
    eventually("the loser's connection to be closed", || (hanging.open() <= 1).then_some(()));
    assert_eq!((hanging.calls("eth_getBalance").len(), good.calls("eth_getBalance").len()), (1, 1));
    assert_eq!(counted(&node, "livechain_hedges_total", 1), 1);
    assert_eq!(counted(&node, "livechain_hedges_won_total", 1), 1);
    // The loser was not allowed to end: nothing is held against it.
    let providers = node.admin_get("/api/providers").text();
    assert!(!providers.contains("open\":true") && !node.log().contains("breaker_opened"), "{providers}");
    let outrun = eventually("the loser to be counted", || {
        let page = node.admin_get("/metrics").text();
        page.lines().find(|line| line.contains("outrun") && line.contains("alpha")).map(str::to_owned)
    });
    assert!(outrun.ends_with(" 1"), "{outrun}");
}

#[test]
fn the_first_one_may_still_win() {
    let second = Arc::new(Provider::start(|_| Reply::hang()));
    let first = behind(&second, |call| Reply::result(call, "\"first\""));
    let node = setup(&first, &second, 100).start();
    assert_eq!(node.ethereum(&json::read()).result(), "\"first\"");
    assert_eq!(second.calls("eth_getBalance").len(), 1);
    assert_eq!(counted(&node, "livechain_hedges_total", 1), 1);
    assert_eq!(counted(&node, "livechain_hedges_won_total", 0), 0);
}

#[test]
fn a_failure_of_one_waits_for_the_other() {
    let fails: Says = |_| Reply::status(502, "");
    let cuts: Says = |call| Reply::result(call, "1").fault(Fault::Cut(At::Start));
    let wins: Says = |call| Reply::result(call, "\"first\"");
    let later = Duration::from_millis(600);
    // First, second, answered with.
    for (first, second, answered) in [
        (fails, slow("\"second\"", later), "\"second\""),
        (cuts, slow("\"second\"", later), "\"second\""),
        (wins, Provider::start(fails), "\"first\""),
        (wins, Provider::start(|_| Reply::ok("<h1>")), "\"first\""),
    ] {
        let second = Arc::new(second);
        let first = behind(&second, first);
        let node = setup(&first, &second, 100).start();
        assert_eq!(node.ethereum(&json::read()).result(), answered);
        assert_eq!((first.calls("eth_getBalance").len(), second.calls("eth_getBalance").len()), (1, 1));
    }
}

#[test]
fn when_both_fail_a_third_is_asked() {
    let late = |_: &_| Reply::status(502, "").after(Duration::from_millis(200));
    let (first, second) = (Provider::start(late), Provider::start(late));
    let third = Provider::answering("\"third\"");
    let node = Setup::ethereum(&[&first, &second, &third])
        .set("hedging", "cap = \"50ms\"")
        .set("hedging", "budget_percent = 100")
        .start();
    assert_eq!(node.ethereum(&json::read()).result(), "\"third\"");
}

#[test]
fn hedges_are_a_share_of_the_calls() {
    let (first, second) = (slow("\"first\"", Duration::from_millis(100)), Provider::answering("\"second\""));
    let node = setup(&first, &second, 10).start();
    let results: Vec<String> = thread::scope(|scope| {
        let calls: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = node.connect();
                    (0..15).map(|_| client.post("/rpc/ethereum", &json::read()).answer().result()).collect::<Vec<_>>()
                })
            })
            .collect();
        calls.into_iter().flat_map(|call| call.join().unwrap()).collect()
    });
    let hedged = second.calls("eth_getBalance").len();
    assert_eq!(results.len(), 60);
    assert!(results.iter().all(|result| ["\"first\"", "\"second\""].contains(&result.as_str())), "{results:?}");
    assert!((1..=6).contains(&hedged), "{hedged} of 60 calls at 10 %");
}

#[test]
fn nothing_is_hedged_that_may_not_be_repeated_or_has_one_provider() {
    let wait = Duration::from_millis(250);
    let (first, second) = (slow("\"first\"", wait), Provider::answering("\"second\""));
    let node = setup(&first, &second, 100).set("rpc", "blocked_methods = []").start();
    assert_eq!(node.ethereum(SEND).result(), "\"first\"");
    assert_eq!(node.post("/rpc/provider/alpha/ethereum", &json::read()).result(), "\"first\"");
    assert_eq!(second.seen().len(), 0);
    let none = setup(&first, &second, 0).start();
    assert_eq!(none.ethereum(&json::read()).result(), "\"first\"");
    assert_eq!(second.seen().len(), 0);
}

#[test]
fn raced_methods_go_to_two_at_once() {
    let (first, second) = (slow("\"first\"", Duration::from_millis(600)), Provider::answering("\"second\""));
    let node = setup(&first, &second, 0)
        .set("hedging", "cap = \"1m\"")
        .set("hedging", "raced_methods = [\"eth_getBal*\"]")
        .start();
    assert_eq!(node.ethereum(&json::read()).result(), "\"second\"");
    assert_eq!(node.ethereum(&json::call("eth_getCode", "[\"0xaa\",\"latest\"]")).result(), "\"first\"");
    assert_eq!((first.calls("eth_getBalance").len(), second.calls("eth_getCode").len()), (1, 0));
}

#[test]
fn items_of_a_batch_are_hedged_each() {
    let hanging = Provider::start(|_| Reply::hang());
    let good = Provider::start(|call| Reply::result(call, &call.id()));
    let node = setup(&hanging, &good, 100).start();
    let items: Vec<String> = (1..=5).map(|id| json::read().replacen("\"id\":1", &format!("\"id\":{id}"), 1)).collect();
    let answer = node.ethereum(&format!("[{}]", items.join(",")));
    let results: Vec<_> = json::items(&answer.body).iter().map(|item| json::raw(item.as_bytes(), "result")).collect();
    assert_eq!(results, (1..=5).map(|id| Some(id.to_string())).collect::<Vec<_>>());
    assert_eq!(good.calls("eth_getBalance").len(), 5);
}

#[test]
fn an_answer_that_has_begun_is_not_hedged() {
    // The first part of a large answer is the answer: what follows may take its time.
    let first = Provider::start(|call| Reply::flood(call, 200_000));
    let second = Provider::answering("\"second\"");
    let node = setup(&first, &second, 100).set("hedging", "cap = \"1s\"").start();
    assert_eq!(node.ethereum(&json::read()).field("x-livechain-provider"), Some("alpha"));
    assert_eq!(second.seen().len(), 0);
}

#[test]
fn a_provider_that_has_gone_silent_is_found_out_although_its_calls_are_rescued() {
    let (silent, good) = (Provider::start(|_| Reply::hang()), Provider::answering("\"good\""));
    let node = setup(&silent, &good, 100).set("breaker", "failures = 2").start();
    let results: Vec<_> = (0..3).map(|_| node.ethereum(&json::read()).result()).collect();
    assert_eq!(results, ["\"good\""; 3]);
    assert_eq!(counted(&node, "livechain_hedges_won_total", 3), 3);
    eventually("the breaker to open", || {
        assert_eq!(node.ethereum(&json::read()).result(), "\"good\"");
        node.log().contains("breaker_opened").then_some(())
    });
}

#[test]
fn a_trial_is_left_to_its_end() {
    // Down, then back and slower than a hedge waits: the trial must be able to say so.
    let (first, second) = (Provider::start(|_| Reply::status(502, "")), Provider::answering("\"second\""));
    let node = setup(&first, &second, 100)
        .set("breaker", "failures = 1")
        .set("breaker", "cooldown = \"100ms\"")
        .set("breaker", "cooldown_max = \"100ms\"")
        .start();
    // A failure that comes after the hedge's answer opens nothing.
    eventually("the breaker to open", || {
        assert_eq!(node.ethereum(&json::read()).result(), "\"second\"");
        node.log().contains("breaker_opened").then_some(())
    });
    first.script(|call| Reply::result(call, "\"first\"").after(Duration::from_millis(300)));
    eventually("the breaker to close", || {
        let result = node.ethereum(&json::read()).result();
        assert!(["\"first\"", "\"second\""].contains(&result.as_str()));
        node.log().contains("breaker_closed").then_some(())
    });
}

#[test]
fn a_trial_that_loses_as_a_hedge_is_not_every_next_calls() {
    let second = Arc::new(Provider::start(|_| Reply::status(502, "")));
    let first = behind(&second, |call| Reply::result(call, "\"first\""));
    let chain = Chain::new("ethereum", 1).provider_with("alpha", &first.url(), "priority = 1").provider_with(
        "beta",
        &second.url(),
        "priority = 2",
    );
    let node = Setup::new()
        .chain(chain.line("strategy = \"priority\""))
        .set("shards", "cores = [0]")
        .set("hedging", "cap = \"50ms\"")
        .set("hedging", "budget_percent = 100")
        .set("breaker", "failures = 1")
        .set("breaker", "cooldown = \"100ms\"")
        .set("breaker", "cooldown_max = \"100ms\"")
        .start();
    assert_eq!(node.ethereum(&json::read()).result(), "\"first\"");
    assert_eq!(second.calls("eth_getBalance").len(), 1, "a hedge, which failed");
    second.script(|_| Reply::hang());
    eventually("a hedge to be its trial", || {
        assert_eq!(node.ethereum(&json::read()).result(), "\"first\"");
        (second.calls("eth_getBalance").len() == 2).then_some(())
    });
    // It was outrun, and has its place for a while yet.
    for _ in 0..3 {
        assert_eq!(node.ethereum(&json::read()).result(), "\"first\"");
    }
    assert_eq!(second.calls("eth_getBalance").len(), 2);
}

#[test]
fn a_refused_transaction_waits_for_the_attempt_that_may_have_had_it_mined() {
    const LOW: &str = r#"{"code":-32000,"message":"nonce too low"}"#;
    let send = json::call("eth_sendRawTransaction", r#"["0x02ff"]"#);
    // What the first one says in the end, and what the client is told.
    let cases: [(Says, &str); 3] = [
        (|call| Reply::result(call, "\"0xaa\""), r#""result":"0xaa""#),
        (|call| Reply::result(call, "1").fault(Fault::Cut(At::Start)), r#""result":"0x"#),
        (|call| Reply::error(call, LOW), "nonce too low"),
    ];
    for (first, told) in cases {
        let second = Arc::new(Provider::start(|call| Reply::error(call, LOW)));
        let first = behind(&second, first);
        let node = setup(&first, &second, 100).set("upstream", "connections_warm = 0").start();
        let answer = node.ethereum(&send).text();
        assert!(answer.contains(told), "{answer}");
        assert_eq!(second.calls("eth_sendRawTransaction").len(), 1);
    }
}
