//! What was bought from a provider's vendor is not overrun, whatever the clients and however many shards.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::thread;
use std::time::{Duration, Instant};

use support::{Chain, Node, Provider, Reply, Setup, eventually, json};

/// A node of all cores whose first provider has this plan; the second, where there is one, has none.
fn node(limits: &str, providers: &[&Provider]) -> Node {
    let plan = format!("priority = 1\n[chains.providers.limits]\n{limits}");
    let mut chain = Chain::new("ethereum", 1).provider_with("alpha", &providers[0].url(), &plan);
    if let Some(second) = providers.get(1) {
        chain = chain.provider_with("beta", &second.url(), "priority = 2");
    }
    Setup::new().chain(chain).start()
}

/// Calls over several connections, so that every shard has some; how often each result came.
fn calls(node: &Node, connections: usize, calls: usize) -> Vec<String> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = node.connect();
                    let each = (0..calls).map(|_| client.post("/rpc/ethereum", &json::read()).answer().result());
                    each.collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

fn counted(results: &[String], result: &str) -> usize {
    results.iter().filter(|one| *one == result).count()
}

#[test]
fn no_more_calls_go_to_a_provider_than_its_plan_has() {
    let slow =
        |result: &'static str| Provider::start(move |call| Reply::result(call, result).after(Duration::from_millis(5)));
    let (limited, other) = (slow("1"), slow("2"));
    let node = node("calls_per_second = 20", &[&limited, &other]);
    let start = Instant::now();
    let results = calls(&node, 8, 50);
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    let (first, second) = (counted(&results, "1"), counted(&results, "2"));
    assert_eq!(first + second, 400, "every call is answered");
    // In any second at most the plan; and it is used.
    assert!((2..=20 * seconds).contains(&first), "{first} calls in {seconds} s");
    assert_eq!(first, limited.calls("eth_getBalance").len());
    let page = node.admin_get("/api/providers").text();
    assert!(page.contains(r#""calls_per_second":20"#), "{page}");
}

#[test]
fn no_more_calls_are_in_flight_than_its_plan_allows() {
    let limited = Provider::start(|call| Reply::result(call, "1").after(Duration::from_millis(30)));
    let other = Provider::answering("2");
    let node = node("in_flight = 3", &[&limited, &other]);
    let results = calls(&node, 12, 10);
    assert!(counted(&results, "1") > 0);
    assert_eq!(counted(&results, "1") + counted(&results, "2"), 120);
    assert!((1..=3).contains(&limited.in_flight_peak()), "{}", limited.in_flight_peak());
    // All places are free again.
    let page = node.admin_get("/api/providers").text();
    assert!(page.contains(r#""in_flight_max":3,"tuned":1.0,"in_flight":0"#), "{page}");
}

#[test]
fn a_streamed_answer_is_in_flight_until_its_end() {
    let bytes = 60_000_000;
    let limited = Provider::start(move |call| Reply::flood(call, bytes));
    let other = Provider::answering("2");
    let node = node("in_flight = 1", &[&limited, &other]);
    let mut reading = support::Client::small_window(node.http);
    reading.post("/rpc/ethereum", &json::read());
    assert!(reading.head().line.contains("200"));
    assert_eq!(node.ethereum(&json::read()).result(), "2", "the one place is taken");
    drop(reading);
    let place = || node.admin_get("/api/providers").text().contains(r#""in_flight":0"#).then_some(());
    eventually("the place to be free", place);
}

#[test]
fn a_months_units_are_used_up_by_what_methods_weigh() {
    let (limited, other) = (Provider::answering("1"), Provider::answering("2"));
    let limits = "units_per_month = 1000\n[chains.providers.limits.units]\nread = 1\n\
                  [chains.providers.limits.method_units]\neth_getBalance = 300\n\"alchemy_*\" = 40";
    let node = node(limits, &[&limited, &other]);
    let results: Vec<_> = (0..6).map(|_| node.ethereum(&json::read()).result()).collect();
    assert_eq!(results, ["1", "1", "1", "2", "2", "2"]);
    let code = json::call("eth_getCode", "[\"0xaa\",\"latest\"]");
    assert_eq!(node.ethereum(&code).result(), "1", "a hundred units are left");
    let page = node.admin_get("/metrics").text();
    let used = page.lines().find(|line| line.starts_with("livechain_provider_plan_month_units")).unwrap();
    assert!(used.ends_with(" 901"), "{used}");
    let foreign = json::call("alchemy_getAssetTransfers", "[]");
    let results: Vec<_> = (0..3).map(|_| node.ethereum(&foreign).result()).collect();
    assert_eq!(results, ["1", "1", "2"], "40 each of 99");
}

#[test]
fn where_nobody_else_is_left_the_client_is_told() {
    let limited = Provider::answering("1");
    let node = node("calls_per_second = 1", &[&limited]);
    assert_eq!(node.ethereum(&json::read()).result(), "1");
    let refused = eventually("a refusal", || {
        let answer = node.ethereum(&json::read());
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((refused.status, refused.own_error()), (503, -32002));
    // And it is asked again when there is room.
    eventually("the next second", || (node.ethereum(&json::read()).status == 200).then_some(()));
}

#[test]
fn a_refusal_tunes_the_plan_down_where_the_config_says_so() {
    for (tune, tuned) in [(true, true), (false, false)] {
        let limited = Provider::start(|_| Reply::status(429, "").field("Retry-After: 1"));
        let other = Provider::answering("2");
        let node = node(&format!("calls_per_second = 100\ntune = {tune}"), &[&limited, &other]);
        assert_eq!(node.ethereum(&json::read()).result(), "2");
        eventually("the events", || {
            let log = node.log();
            // The one that may be missing is told after the other.
            (log.contains("cooldown") && (!tuned || log.contains("tuned_down"))).then_some(())
        });
        let page = node.admin_get("/api/providers").text();
        assert_eq!(page.contains(r#""tuned":0.7"#), tuned, "{page}");
        assert_eq!(node.log().contains("tuned_down"), tuned);
    }
}
