//! Four providers behind two shards under steady load, and each falls in its own way, in turn: no call of a client fails,
//! and the leaderboard and the events tell what happened.
//!
//! All four are Anvils, processes of their own with a chain of their own. One is killed as it stands; before each of the
//! others is a front that passes calls on until it is told to be rate limited, to stall, to answer with a page, or to lag.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::real::Anvil;
use support::reply::At;
use support::{Chain, Client, Fault, Node, Provider, Reply, Seen, Setup, json, within};

/// What must happen takes seconds; the machines that run this share few cores.
const PATIENCE: Duration = Duration::from_mins(1);
const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
const BLOCKS: u64 = 100;
/// Clients, and the time between two calls of each.
const CLIENTS: usize = 6;
const PACE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    /// 429 with `Retry-After`.
    Limited,
    /// The head and half of a small body, and no more.
    Stalled,
    /// 200 and a page.
    Html,
    /// Ten blocks behind.
    Lagging,
}

/// A provider before an Anvil that does what it is told to.
struct Front {
    anvil: Anvil,
    provider: Provider,
    mood: Arc<Mutex<Mood>>,
}

impl Front {
    fn start() -> Self {
        let (anvil, mood) = (started(), Arc::new(Mutex::new(Mood::Well)));
        let (address, told) = (anvil.address, Arc::clone(&mood));
        let provider = Provider::start(move |call| {
            let mood = *told.lock().unwrap();
            let answer = || Reply::ok(passed_on(address, call));
            match mood {
                Mood::Limited => Reply::status(429, "slow down").field("Retry-After: 2"),
                Mood::Stalled => answer().fault(Fault::Stall(At::Body(20))),
                Mood::Html => Reply::ok("<html><h1>Welcome to nginx!</h1></html>").field("Content-Type: text/html"),
                Mood::Lagging if call.method() == "eth_blockNumber" => {
                    Reply::result(call, &format!("\"{:#x}\"", BLOCKS - 10))
                }
                Mood::Well | Mood::Lagging => answer(),
            }
        });
        Self { anvil, provider, mood }
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

fn started() -> Anvil {
    grown(Anvil::start())
}

fn grown(anvil: Anvil) -> Anvil {
    anvil.ask("anvil_mine", &format!("[\"{BLOCKS:#x}\"]"));
    anvil
}

/// What the Anvil at `address` answers to `call`.
fn passed_on(address: std::net::SocketAddr, call: &Seen) -> Vec<u8> {
    thread_local! {
        static CLIENT: RefCell<Option<Client>> = const { RefCell::new(None) };
    }
    CLIENT.with_borrow_mut(|client| {
        let client = client.get_or_insert_with(|| Client::open(address));
        client.post("/", &String::from_utf8_lossy(&call.body)).answer().body
    })
}

/// One call of a client.
struct Called {
    at: Instant,
    took: Duration,
    failure: Option<String>,
}

/// Clients that call at a steady pace.
struct Load {
    stop: Arc<AtomicBool>,
    called: Arc<Mutex<Vec<Called>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(node: &Node) -> Self {
        let (stop, called) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Called>>>::default());
        let count = Arc::new(AtomicUsize::new(0));
        let threads = (0..CLIENTS).map(|_| {
            let (stop, called, count, address) =
                (Arc::clone(&stop), Arc::clone(&called), Arc::clone(&count), node.http);
            thread::spawn(move || {
                let mut client = Client::open(address);
                while !stop.load(Ordering::Relaxed) {
                    let body = body(count.fetch_add(1, Ordering::Relaxed));
                    let at = Instant::now();
                    let answer = client.post("/rpc/anvil", &body).try_answer();
                    let failure = match answer {
                        Ok(Some(answer)) if answer.status == 200 && answer.raw("result").is_some() => None,
                        Ok(Some(answer)) => Some(format!("{body}: {} {}", answer.head.line, answer.text())),
                        other => {
                            client = Client::open(address);
                            Some(format!("{body}: no answer: {:?}", other.err()))
                        }
                    };
                    called.lock().unwrap().push(Called { at, took: at.elapsed(), failure });
                    thread::sleep(PACE);
                }
            })
        });
        Self { threads: threads.collect(), stop, called }
    }

    /// Says how long calls took that were sent since `start`, and that none failed.
    #[track_caller]
    fn report(&self, what: &str, start: Instant) {
        let called = self.called.lock().unwrap();
        let since: Vec<_> = called.iter().filter(|call| call.at >= start).collect();
        let failures: Vec<_> = since.iter().filter_map(|call| call.failure.as_deref()).collect();
        assert!(failures.is_empty(), "{what}: {failures:?}");
        let mut took: Vec<_> = since.iter().map(|call| call.took).collect();
        took.sort_unstable();
        let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
        let most = took.last().copied().unwrap_or_default();
        println!(
            "{what}: {} calls in {:.1} affected seconds, none failed; P50 {:.1?}, P99 {:.1?}, longest {most:.1?}",
            took.len(),
            start.elapsed().as_secs_f64(),
            at(50),
            at(99),
        );
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Calls of several classes, all repeatable.
fn body(number: usize) -> String {
    const ACCOUNT: &str = "\"0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266\"";
    match number % 4 {
        0 => json::call("eth_blockNumber", "[]"),
        1 => json::call("eth_call", &format!("[{{\"to\":{ACCOUNT}}},\"latest\"]")),
        2 => json::call("eth_getBlockByNumber", "[\"latest\",false]"),
        _ => json::call("eth_getBalance", &format!("[{ACCOUNT},\"latest\"]")),
    }
}

fn start(alpha: &Anvil, fronts: &[Front; 3]) -> Node {
    let chain = Chain::new("anvil", 31337).line("strategy = \"fastest\"").line("max_lag_blocks = 3");
    let urls = [format!("http://{}", alpha.address)].into_iter().chain(fronts.iter().map(|f| f.provider.url()));
    let chain = NAMES.iter().zip(urls).fold(chain, |chain, (name, url)| chain.provider_with(name, &url, ""));
    let cores = if thread::available_parallelism().unwrap().get() > 1 { "cores = [0, 1]" } else { "cores = [0]" };
    Setup::new()
        .chain(chain)
        .set("shards", cores)
        .set("breaker", "cooldown = \"1s\"")
        .set("breaker", "cooldown_max = \"2s\"")
        .set("breaker", "ramp = \"1s\"")
        // All four have calls, whoever is the fastest.
        .set("ranking", "explore_share = 0.2")
        .set("ranking", "explore_factor = 100.0")
        .set("hedging", "budget_percent = 5")
        .set("probes", "enabled = true")
        .set("probes", "every = \"250ms\"")
        .set("probes", "every_busy = \"250ms\"")
        .start()
}

/// Waits until an event of this kind about a provider is told, after the first `seen` bytes of the log.
fn told(node: &Node, seen: usize, kind: &str, provider: &str) {
    within(PATIENCE, &format!("{kind} of {provider}"), || {
        let log = node.log();
        let said = |line: &str| line.contains(kind) && line.contains(provider);
        log.get(seen..)?.lines().any(said).then_some(())
    });
}

/// Each line of the leaderboard that is about a provider.
fn lines(node: &Node, provider: &str) -> Vec<Value> {
    let page: Value = serde_json::from_str(&node.admin_get("/api/leaderboard").text()).unwrap();
    let classes = page["chains"][0]["classes"].as_array().cloned().unwrap_or_default();
    let lines = classes.iter().flat_map(|class| class["providers"].as_array().cloned().unwrap_or_default());
    lines.filter(|line| line["provider"] == provider).collect()
}

/// Waits until the leaderboard says why a provider is passed over in some class.
fn shown(node: &Node, provider: &str, why: &str) {
    within(PATIENCE, &format!("the leaderboard to say {why} of {provider}"), || {
        let says = |line: &Value| {
            let reasons = line["why"].as_array().cloned().unwrap_or_default();
            line["state"] != "ready" && reasons.iter().any(|reason| reason["reason"] == why)
        };
        lines(node, provider).iter().any(says).then_some(())
    });
}

/// Waits until all are ready in all classes that have calls.
fn all_well(node: &Node) {
    within(PATIENCE, "all to be ready", || {
        let ready = |name: &&str| lines(node, name).iter().all(|line| line["state"] == "ready");
        NAMES.iter().all(ready).then_some(())
    });
}

#[test]
fn no_call_fails_while_each_of_four_providers_falls_in_its_own_way() {
    let alpha = started();
    let fronts = [(); 3].map(|()| Front::start());
    let [beta, gamma, delta] = &fronts;
    let node = start(&alpha, &fronts);
    let load = Load::on(&node);
    let quiet = Instant::now();
    within(PATIENCE, "all to be measured", || {
        let known = |name: &&str| lines(&node, name).iter().any(|line| line["samples"].as_f64() > Some(2.0));
        NAMES.iter().all(known).then_some(())
    });
    load.report("all well", quiet);

    let (seen, start, address) = (node.log().len(), Instant::now(), alpha.address);
    alpha.kill();
    told(&node, seen, "breaker_opened", "alpha");
    shown(&node, "alpha", "breaker_open");
    load.report("alpha killed with SIGKILL", start);
    let alpha = grown(Anvil::start_at(address));
    told(&node, seen, "breaker_closed", "alpha");
    all_well(&node);

    for (front, name, mood, kind, why, back) in [
        (beta, "beta", Mood::Limited, "cooldown", "cooled", None),
        (gamma, "gamma", Mood::Stalled, "breaker_opened", "breaker_open", Some("breaker_closed")),
        (delta, "delta", Mood::Html, "breaker_opened", "breaker_open", Some("breaker_closed")),
        (beta, "beta", Mood::Lagging, "lagging", "out_of_step", Some("in_step")),
    ] {
        let (seen, start) = (node.log().len(), Instant::now());
        front.is(mood);
        told(&node, seen, kind, name);
        shown(&node, name, why);
        let before = front.provider.calls("eth_getBalance").len();
        // A second of calls, most of which would have been its own.
        thread::sleep(Duration::from_secs(1));
        let after = front.provider.calls("eth_getBalance").len();
        load.report(&format!("{name} {mood:?}"), start);
        // Out is out, but for calls that were on their way, and trials.
        assert!(after - before <= 10, "{name} {mood:?} was asked {} times in a second", after - before);
        front.is(Mood::Well);
        if let Some(back) = back {
            told(&node, seen, back, name);
        }
        all_well(&node);
    }
    load.report("all of it", quiet);
    load.end();
    let events = node.log().lines().filter(|line| line.contains("livechain::event")).count();
    println!("{events} events told");
    drop(alpha);
    for front in fronts {
        front.anvil.kill();
    }
}
