//! Money is counted here: what clients counted, what quotas allowed and what the ledger says are one.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic, and its numbers are small")]

mod support;

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use livechain::ledger::Grouping;
use livechain::tenant::key::KeyId;
use support::client::request;
use support::postgres::Postgres;
use support::shop::Shop;
use support::socket::Socket;
use support::{Client, Node, Provider, Setup, within};

/// How long the load lasts, and the window that is sold.
const LOAD: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_secs(10);
/// Calls of a batch.
const BATCH: u8 = 5;

/// A key under load.
struct Sold {
    key: String,
    id: KeyId,
    calls_per_second: u32,
    burst: u32,
}

impl Sold {
    /// A call that a provider knows the key by.
    fn call(&self) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x{:016x}","latest"]}}"#, self.id.0)
    }

    fn path(&self) -> String {
        format!("/v1/{}/rpc/ethereum", self.key)
    }
}

/// What clients of one key saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    answered: u64,
    refused: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Counted {
    fn add(&mut self, asked: &str, said: &str) {
        let (answered, refused) = (said.matches(r#""result""#).count(), said.matches("-32005").count());
        assert_eq!(asked.matches(r#""method""#).count(), answered + refused, "{said}");
        self.answered += answered as u64;
        self.refused += refused as u64;
        // Brackets and commas of a batch are no call's.
        let around = |text: &str, calls: usize| text.len() - if text.starts_with('[') { calls + 1 } else { 0 };
        self.bytes_in += around(asked, answered + refused) as u64;
        self.bytes_out += around(said, answered + refused) as u64;
    }

    fn and(self, other: Self) -> Self {
        Self {
            answered: self.answered + other.answered,
            refused: self.refused + other.refused,
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
        }
    }
}

/// Asks `per_second` times a second until the load is over; what came back.
fn load(until: Instant, per_second: f64, body: &str, mut ask: impl FnMut(&str) -> String) -> Counted {
    let (mut counted, mut due) = (Counted::default(), Instant::now());
    while Instant::now() < until {
        counted.add(body, &ask(body));
        due += Duration::from_secs_f64(1.0 / per_second);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    counted
}

/// Twice what was sold: over HTTP, in batches, and over a WebSocket; each on a connection of its own.
fn clients(node: &Node, sold: &Sold, until: Instant) -> Counted {
    let (rate, call, path) = (f64::from(sold.calls_per_second), sold.call(), sold.path());
    let batch = format!("[{}]", vec![call.clone(); BATCH.into()].join(","));
    let post = |client: &mut Client, body: &str| client.send(request(&path, body)).answer().text();
    thread::scope(|scope| {
        let parts = [
            scope.spawn(|| {
                let mut client = node.connect();
                load(until, rate * 0.7, &call, |body| post(&mut client, body))
            }),
            scope.spawn(|| {
                let mut client = node.connect();
                load(until, rate * 0.7 / f64::from(BATCH), &batch, |body| post(&mut client, body))
            }),
            scope.spawn(|| {
                let mut socket = Socket::open(node.http, &path);
                load(until, rate * 0.6, &call, |body| String::from_utf8(socket.text(body).message().1).unwrap())
            }),
        ];
        parts.into_iter().map(|part| part.join().unwrap()).fold(Counted::default(), Counted::and)
    })
}

/// For how long in all the machine stood still until `until`, as the worst of a few threads saw it that wake often: what
/// is granted meanwhile is seen late, and what nobody asks for is not granted.
fn stood_still(until: Instant) -> Duration {
    const NAP: Duration = Duration::from_millis(5);
    let watch = || {
        let (mut lost, mut last) = (Duration::ZERO, Instant::now());
        while last < until {
            thread::sleep(NAP);
            let now = Instant::now();
            // A timer and a busy core may take this much without anything being wrong.
            lost += (now - last).saturating_sub(NAP * 5);
            last = now;
        }
        lost
    };
    thread::scope(|scope| {
        let watching: Vec<_> = (0..4).map(|_| scope.spawn(watch)).collect();
        watching.into_iter().map(|watched| watched.join().unwrap()).max().unwrap_or_default()
    })
}

/// The most and the fewest calls of any window, which begins with a call, or at any tenth of a second that leaves the whole
/// window within the load.
fn windows(calls: &[Instant], start: Instant) -> (usize, usize) {
    let within = |from: Instant| calls.iter().filter(|at| (from..from + WINDOW).contains(*at)).count();
    let most = calls.iter().map(|from| within(*from)).max().unwrap_or(0);
    // The first second is the clients' to begin in.
    let tenths = (10..).map(|tenth| start + Duration::from_millis(100) * tenth);
    let fewest = tenths.take_while(|from| *from + WINDOW < start + LOAD).map(within).min().unwrap_or(0);
    (most, fewest)
}

#[test]
fn what_was_sold_is_what_was_allowed_and_what_the_ledger_has() {
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let keys: Vec<Sold> = [20, 20, 30, 40, 50, 60, 80, 100]
        .into_iter()
        .enumerate()
        .map(|(number, calls_per_second)| {
            let (plan, burst) = (format!("plan-{number}"), calls_per_second / 2);
            shop.plan(&plan, &format!(r#"{{"calls_per_second":{calls_per_second},"calls_burst":{burst}}}"#));
            let (key, id) = shop.key(&plan);
            Sold { key, id, calls_per_second, burst }
        })
        .collect();
    let mut node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    let (start, until) = (Instant::now(), Instant::now() + LOAD);
    let (counted, still): (Vec<Counted>, Duration) = thread::scope(|scope| {
        let still = scope.spawn(|| stood_still(until));
        let clients: Vec<_> = keys.iter().map(|sold| scope.spawn(|| clients(&node, sold, until))).collect();
        let counted = clients.into_iter().map(|clients| clients.join().unwrap()).collect();
        (counted, still.join().unwrap())
    });
    println!("the machine stood still for {still:?} in all");
    node.signal("TERM");
    assert!(node.wait_end().success());
    let mut seen: HashMap<String, Vec<Instant>> = HashMap::new();
    for call in provider.calls("eth_getBalance") {
        seen.entry(call.params()).or_default().push(call.at);
    }
    for (sold, counted) in keys.iter().zip(counted) {
        let (rate, burst) = (sold.calls_per_second as usize, sold.burst as usize);
        let calls = &seen[&format!(r#"["0x{:016x}","latest"]"#, sold.id.0)];
        let (most, fewest) = windows(calls, start);
        println!("{rate} a second, burst {burst}: {fewest} to {most} in any 10 s; {counted:?}");
        // What the machine's own stops move: nothing on one that is left alone.
        let moved = rate * usize::try_from(still.as_millis()).unwrap() / 1000;
        assert!((most - moved.min(most)) * 100 <= 101 * (10 * rate + burst), "{most} in 10 s of {rate} and {burst}");
        assert!((fewest + moved) * 100 >= 99 * 10 * rate, "{fewest} in 10 s of {rate}");
        assert!(counted.refused * 3 > counted.answered, "twice of what was sold was asked for: {counted:?}");
        let used = shop.used(sold.id);
        let ledger = Counted {
            answered: used.billable,
            refused: used.calls - used.billable,
            bytes_in: used.bytes_in,
            bytes_out: used.bytes_out,
        };
        assert_eq!(ledger, counted);
        assert_eq!((used.billable as usize, used.units), (calls.len(), 20 * counted.answered));
    }
}

/// What one client saw of a node that is killed.
#[derive(Default)]
struct Seen {
    /// When each answer came.
    answers: Vec<Instant>,
    /// A call had no answer when the node died.
    cut: bool,
}

fn ask_until_it_dies(node: &Node, path: &str, body: &str) -> Seen {
    let mut seen = Seen::default();
    let Ok(stream) = std::net::TcpStream::connect(node.http) else { return seen };
    let mut client = Client::over(stream);
    loop {
        // What was sent may have been asked, whether or not anything comes back.
        match client.send(request(path, body)).try_answer() {
            Ok(Some(answer)) if answer.status == 200 => seen.answers.push(Instant::now()),
            Ok(Some(answer)) => panic!("{}", answer.text()),
            Ok(None) | Err(_) => {
                seen.cut = true;
                return seen;
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Usage is shipped by the shards, collected, and written once a second: what a kill may cost, beside the commit.
const UNWRITTEN: Duration = Duration::from_millis(1_000 + 500);
/// A commit to a disk that does much else, on a machine that does, too.
const COMMIT: Duration = Duration::from_millis(1_500);

#[test]
fn killed_at_any_moment_a_node_counts_nothing_twice_and_loses_little() {
    const CLIENTS: usize = 4;
    let (mut shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let (key, id) = shop.plan("basic", "{}").key("basic");
    let setup = shop.in_setup(Setup::ethereum(&[&provider]));
    let path = format!("/v1/{key}/rpc/ethereum");
    let call = support::json::read();
    let (mut answered, mut cut, mut old) = (0, 0, 0);
    for round in 0..30_u64 {
        let node = setup.clone().start();
        // Spread over four seconds, no two alike.
        let lives = Duration::from_millis(300 + round * 1_237 % 4_000);
        let seen = Mutex::new(Vec::new());
        let died = thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let of_one = ask_until_it_dies(&node, &path, &call);
                    seen.lock().unwrap().push(of_one);
                });
            }
            thread::sleep(lives);
            let died = Instant::now();
            node.signal("KILL");
            died
        });
        for seen in seen.into_inner().unwrap() {
            answered += seen.answers.len() as u64;
            cut += u64::from(seen.cut);
            old += seen.answers.iter().filter(|at| **at + UNWRITTEN + COMMIT < died).count() as u64;
        }
        drop(node);
        let used = shop.used(id);
        assert!(used.billable <= answered + cut, "round {round}: {used:?}, and clients counted {answered} and {cut}");
        assert!(used.billable >= old, "round {round}: {used:?}, and {old} answers were old enough to be there");
        assert_eq!(used.units, used.billable * 20, "a row that is torn");
    }
    println!("{answered} answers, {cut} calls cut, {old} old enough; the ledger has {:?}", shop.used(id));
    assert_eq!(shop.usage(Grouping::Tenant).len(), 1);
    // It is a ledger still: a node starts on it, and ends with all of what it did.
    let before = shop.used(id).billable;
    let mut node = setup.start();
    let mut client = node.connect();
    for _ in 0..10 {
        assert_eq!(client.send(request(&path, &call)).answer().status, 200);
    }
    within(Duration::from_mins(1), "the last calls are written", || {
        (shop.used(id).billable == before + 10).then_some(())
    });
    node.signal("TERM");
    assert!(node.wait_end().success());
    assert_eq!(shop.used(id).billable, before + 10);
}

#[test]
fn a_database_that_dies_and_comes_back_costs_no_call() {
    let server = Postgres::start();
    let mut shop = Shop::at(&server.url(&server.database()));
    let provider = Provider::answering("\"0x1\"");
    let (key, id) = shop.plan("basic", "{}").key("basic");
    let mut node = shop.in_setup(Setup::ethereum(&[&provider])).start();
    let (path, call) = (format!("/v1/{key}/rpc/ethereum"), support::json::read());
    let until = Instant::now() + Duration::from_secs(12);
    let counted = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = node.connect();
                    load(until, 200.0, &call, |body| client.send(request(&path, body)).answer().text())
                })
            })
            .collect();
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(1_700));
            server.kill();
            thread::sleep(Duration::from_millis(1_300));
            server.start_again();
        }
        clients.into_iter().map(|client| client.join().unwrap()).fold(Counted::default(), Counted::and)
    });
    node.signal("TERM");
    assert!(node.wait_end().success());
    let used = within(Duration::from_secs(30), "the database answers", || shop.try_used(id));
    println!("{counted:?}, {used:?}");
    assert_eq!((used.calls, used.billable, used.units), (counted.answered, counted.answered, 20 * counted.answered));
    assert_eq!((used.bytes_in, used.bytes_out), (counted.bytes_in, counted.bytes_out));
}
