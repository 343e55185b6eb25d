//! Ranking over real sockets: the traffic goes to whoever answers fastest now, and operators see why.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use support::{Chain, Node, Provider, Reply, Setup, json, within};

/// Discovery takes seconds of traffic; the machines that run this share few cores.
const PATIENCE: Duration = Duration::from_secs(60);

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
    Setup::new().chain(chain)
}

/// Clients that call without a pause; and who answered the latest calls.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(node: &Node) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let threads = (0..4).map(|_| {
            let (mut client, stop, answers) = (node.connect(), Arc::clone(&stop), Arc::clone(&answers));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.post("/rpc/ethereum", &json::read()).answer();
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
    load.end();
    let told = node.log();
    for provider in ["alpha", "beta"] {
        let event = |line: &&str| line.contains("leads") && line.contains(provider);
        assert!(told.lines().any(|line| event(&line)), "no event tells that {provider} leads");
    }
}
