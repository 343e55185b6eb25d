//! Ranking over real sockets: the traffic goes to whoever answers fastest now, and operators see why.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use support::{Chain, Node, Provider, Reply, Setup, json, within};

/// Discovery takes seconds of traffic; the machines that run this share few cores.
const PATIENCE: Duration = Duration::from_mins(2);

/// A provider that answers with its name after `ms`.
fn named(name: &'static str, ms: u64) -> Provider {
    let provider = Provider::answering("\"\"");
    takes(&provider, name, ms);
    provider
}

fn takes(provider: &Provider, name: &'static str, ms: u64) {
    provider.script(move |call| Reply::result(call, &format!("\"{name}\"")).after(Duration::from_millis(ms)));
}

/// Alpha and beta, neither preferred.
fn setup(alpha: &Provider, beta: &Provider) -> Setup {
    let chain = Chain::new("ethereum", 1).line("strategy = \"fastest\"");
    let chain = chain.provider_with("alpha", &alpha.url(), "").provider_with("beta", &beta.url(), "");
    // On a loaded machine a slow provider may seem too slow to be explored before its evidence is old.
    Setup::new().chain(chain).set("ranking", "explore_stale = \"5s\"")
}

/// Clients that call without a pause; and who answered the latest calls.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(node: &Node) -> Self {
        Self::of(node, &json::read())
    }

    fn of(node: &Node, body: &str) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let threads = (0..4).map(|_| {
            let (mut client, stop, answers) = (node.connect(), Arc::clone(&stop), Arc::clone(&answers));
            let body = body.to_owned();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.post("/rpc/ethereum", &body).answer();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answers.lock().unwrap().push(answer.result());
                    std::thread::sleep(Duration::from_millis(5));
                }
            })
        });
        let threads = threads.collect();
        Self { stop, answers, threads }
    }

    /// Waits until nearly all calls of a while are answered by `name`.
    fn goes_to(&self, name: &str) {
        let name = format!("\"{name}\"");
        self.answers.lock().unwrap().clear();
        within(PATIENCE, &format!("the traffic to go to {name}"), || {
            let mut answers = self.answers.lock().unwrap();
            if answers.len() < 100 {
                return None;
            }
            let to_it = answers.drain(..).filter(|answer| *answer == name).count();
            (to_it >= 85).then_some(())
        });
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn who_becomes_slow_loses_the_traffic_and_wins_it_back() {
    let (alpha, beta) = (named("alpha", 5), named("beta", 25));
    let node = setup(&alpha, &beta).start();
    let load = Load::on(&node);
    load.goes_to("alpha");
    takes(&alpha, "alpha", 60);
    load.goes_to("beta");
    takes(&alpha, "alpha", 5);
    load.goes_to("alpha");
    for provider in ["beta", "alpha"] {
        within(PATIENCE, &format!("an event to tell that {provider} leads"), || {
            node.log().lines().any(|line| line.contains("leads") && line.contains(provider)).then_some(())
        });
    }
    load.end();
}

/// A chain's leaderboard of the class that [`json::read`] is of.
fn leaderboard(node: &Node) -> serde_json::Value {
    let page: serde_json::Value = serde_json::from_str(&node.admin_get("/api/leaderboard/ethereum").text()).unwrap();
    let classes = page["chains"][0]["classes"].as_array().unwrap();
    classes.iter().find(|class| class["class"] == "read").cloned().unwrap_or_default()
}

/// The line of one provider.
fn line(node: &Node, provider: &str) -> serde_json::Value {
    let lines = leaderboard(node)["providers"].as_array().cloned().unwrap_or_default();
    lines.into_iter().find(|line| line["provider"] == provider).unwrap_or_default()
}

#[test]
fn the_leaderboard_tells_who_leads_and_by_what() {
    let (alpha, beta) = (named("alpha", 25), named("beta", 5));
    let node = setup(&alpha, &beta).start();
    let load = Load::on(&node);
    load.goes_to("beta");
    let found = within(PATIENCE, "both to be measured", || {
        let board = leaderboard(&node);
        let known = |at: usize| board["providers"][at]["samples"].as_f64().is_some_and(|samples| samples >= 1.0);
        (known(0) && known(1)).then_some(board)
    });
    assert_eq!((&found["leader"], &found["providers"][0]["rank"]), (&"beta".into(), &1.into()));
    assert_eq!(
        (&found["providers"][0]["provider"], &found["providers"][0]["state"]),
        (&"beta".into(), &"ready".into())
    );
    let figure =
        |at: usize, name: &str| found["providers"][at][name].as_f64().unwrap_or_else(|| panic!("{name}: {found}"));
    for name in ["score_ms", "ema_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms"] {
        assert!(figure(1, name) >= 24.0, "alpha takes 25 ms: {name} {found}");
        assert!(figure(0, name) >= 4.9, "beta takes 5 ms: {name} {found}");
    }
    assert!(figure(0, "ema_ms") < figure(1, "ema_ms") && figure(0, "score_ms") < figure(1, "score_ms"), "{found}");
    assert!(figure(0, "success_rate") > 0.99 && figure(0, "throttle_rate") < 0.01, "{found}");
    let metric = |name: &str, labels: &[&str]| -> Option<f64> {
        let page = node.admin_get("/metrics").text();
        let line =
            page.lines().find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    let of = ["provider=\"alpha\"", "class=\"read\""];
    assert!(metric("livechain_ranking_score_seconds", &of).is_some_and(|score| score >= 0.024));
    within(PATIENCE, "explored calls to be compared", || {
        metric("livechain_regret_calls_total", &of).filter(|n| *n > 0.0)
    });
    let (lost, won) =
        (metric("livechain_regret_lost_seconds_total", &of), metric("livechain_regret_won_seconds_total", &of));
    assert!(won > lost, "alpha is the slower one: lost {lost:?}, won {won:?}");
    load.end();
}

#[test]
fn a_reload_keeps_what_is_known_of_those_that_stay() {
    let (alpha, beta, gamma) = (named("alpha", 5), named("beta", 25), named("gamma", 40));
    let mut node = setup(&alpha, &beta).start();
    let load = Load::on(&node);
    load.goes_to("alpha");
    let samples = |node: &Node, provider| line(node, provider)["samples"].as_f64().unwrap_or_default();
    within(PATIENCE, "evidence", || (samples(&node, "alpha") > 100.0).then_some(()));
    load.end();
    let chain = Chain::new("ethereum", 1).line("strategy = \"fastest\"");
    let chain = chain.provider_with("gamma", &gamma.url(), "").provider_with("beta", &beta.url(), "");
    let chain = chain.provider_with("alpha", &alpha.url(), "");
    node.reload(move |setup| setup.chains(&[chain]));
    within(PATIENCE, "the reload", || line(&node, "gamma").is_object().then_some(()));
    // Nobody has called since: this is what was known before, a little decayed.
    let board = leaderboard(&node);
    assert_eq!(board["leader"], "alpha");
    assert!(samples(&node, "alpha") > 20.0, "{board}");
    assert_eq!(board["providers"][2]["provider"], "gamma", "of whom nothing is known: {board}");
    assert!(board["providers"][2]["samples"].is_null(), "{board}");
    // But for one or two that find out about the others.
    let answers: Vec<_> = (0..10).map(|_| node.ethereum(&json::read()).result()).collect();
    assert!(answers.iter().filter(|answer| *answer == "\"alpha\"").count() >= 6, "{answers:?}");
}

#[test]
fn who_fails_two_calls_of_three_is_found_out_without_a_run_of_failures() {
    let (alpha, beta) = (named("alpha", 1), named("beta", 1));
    let count = Arc::new(AtomicUsize::new(0));
    alpha.script(move |call| match count.fetch_add(1, Ordering::Relaxed) % 3 {
        0 => Reply::result(call, "\"alpha\""),
        _ => Reply::status(502, ""),
    });
    let chain = Chain::new("ethereum", 1).line("strategy = \"load-balanced\"");
    let chain = chain.provider_with("alpha", &alpha.url(), "").provider_with("beta", &beta.url(), "");
    let node = Setup::new().chain(chain).set("breaker", "failures = 100").start();
    let load = Load::on(&node);
    within(PATIENCE, "the breaker to open", || {
        let opened = |line: &&str| line.contains("breaker_opened") && line.contains("alpha");
        node.log().lines().find(opened).map(str::to_owned)
    });
    within(PATIENCE, "the leaderboard to tell why", || {
        let line = line(&node, "alpha");
        let why = line["why"].as_array().cloned().unwrap_or_default();
        (line["state"] == "out" && why.iter().any(|why| why["reason"] == "breaker_open")).then_some(())
    });
    load.end();
}

#[test]
fn a_method_that_is_not_like_its_class_goes_its_own_way() {
    // Alpha is the faster one at balances, beta at blocks; both are reads.
    let (alpha, beta) = (named("alpha", 0), named("beta", 0));
    let by_method = |provider: &Provider, name: &'static str, balance_ms: u64, block_ms: u64| {
        provider.script(move |call| {
            let ms = if call.method() == "eth_getBalance" { balance_ms } else { block_ms };
            Reply::result(call, &format!("\"{name}\"")).after(Duration::from_millis(ms))
        });
    };
    by_method(&alpha, "alpha", 3, 80);
    by_method(&beta, "beta", 10, 40);
    let node = setup(&alpha, &beta).start();
    let balances = Load::of(&node, &json::call("eth_getBalance", "[\"0x0\",\"latest\"]"));
    let blocks = Load::of(&node, &json::call("eth_getBlockByNumber", "[\"latest\",true]"));
    within(PATIENCE, "a method to be ranked by itself", || {
        let page = node.admin_get("/api/leaderboard").text();
        ["eth_getBalance", "eth_getBlockByNumber"].iter().any(|name| page.contains(name)).then_some(())
    });
    balances.goes_to("alpha");
    blocks.goes_to("beta");
    balances.end();
    blocks.end();
}
