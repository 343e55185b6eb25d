//! Connections that are open and do nothing: they cost little, and none is lost.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use support::socket::Socket;
use support::{Client, Node, Provider, Setup, eventually, json};

const CONNECTIONS: usize = 9_000;
/// Used at the same time: about what the pools and the provider of this test take without queueing for long.
const WAVE: usize = 200;
/// What an idle connection may cost the node. The aim is 8 KiB in a release build; this is the alarm.
const BYTES_MAX: u64 = 24 * 1024;

const WEBSOCKETS: usize = 8_000;
/// What an idle WebSocket may cost, in any build.
const WEBSOCKET_BYTES_MAX: u64 = 6 * 1024;

/// Descriptors that this process may have; the node inherits the limit.
fn descriptors_max() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|l| l.starts_with("Max open files")).expect("the limit on open files");
    line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX)
}

fn start(provider: &Provider) -> Node {
    Setup::ethereum(&[provider])
        .set("shards", "connections_max = 10000")
        .set("http", "idle_timeout = \"10m\"")
        .set("websocket", "connections_max = 10000")
        .set("websocket", "ping_after = \"10m\"")
        .set("upstream", "queue_max = 1000")
        // The provider's connections are not what is counted here.
        .set("upstream", "idle_timeout = \"1s\"")
        .start()
}

#[test]
fn thousands_of_idle_connections_are_cheap_and_all_of_use() {
    let count = CONNECTIONS.min(descriptors_max().saturating_sub(1_000));
    let provider = Provider::answering("\"0x1\"");
    let node = start(&provider);
    // Warm, so that only connections are measured.
    for _ in 0..WAVE {
        node.ethereum(&json::read());
    }
    let (rss, descriptors) = (node.rss(), node.descriptors());
    let mut clients: Vec<Client> = (0..count).map(|_| node.connect()).collect();
    eventually("all to be accepted", || // The provider's connections, counted before, may have been let go since.
        (node.descriptors() + 50 >= descriptors + count).then_some(()));
    report("open and idle", node.rss().saturating_sub(rss), count);
    for wave in clients.chunks_mut(WAVE) {
        for client in wave.iter_mut() {
            client.post("/rpc/ethereum", &json::read());
        }
        for client in wave {
            assert_eq!(client.answer().result(), "\"0x1\"");
        }
    }
    let used = node.rss().saturating_sub(rss);
    report("idle after a call each", used, count);
    assert!(used / (count as u64) < BYTES_MAX, "{used} bytes for {count} connections");
    drop(clients);
    eventually("all to be let go", || (node.descriptors() < descriptors + 100).then_some(()));
}

#[test]
fn thousands_of_idle_websockets_are_cheap_and_all_of_use() {
    let count = WEBSOCKETS.min(descriptors_max().saturating_sub(1_000));
    let provider = Provider::answering("\"0x1\"");
    let node = start(&provider);
    for _ in 0..WAVE {
        assert_eq!(Socket::open(node.http, "/rpc/ethereum").call(&json::read()), "\"0x1\"");
    }
    eventually("the first ones to have gone", || (websockets(&node) == 0).then_some(()));
    let rss = node.rss();
    let mut sockets: Vec<Socket> = (0..count).map(|_| Socket::open(node.http, "/rpc/ethereum")).collect();
    assert_eq!(websockets(&node), count);
    report("open and idle over WebSocket", node.rss().saturating_sub(rss), count);
    for wave in sockets.chunks_mut(WAVE) {
        for socket in wave.iter_mut() {
            socket.text(&json::read());
        }
        for socket in wave {
            assert_eq!(json::raw(&socket.message().1, "result").unwrap(), "\"0x1\"");
        }
    }
    let used = node.rss().saturating_sub(rss);
    report("idle over WebSocket after a call each", used, count);
    assert!(used / (count as u64) < WEBSOCKET_BYTES_MAX, "{used} bytes for {count} WebSockets");
    drop(sockets);
    eventually("all to be let go", || (websockets(&node) == 0).then_some(()));
}

/// WebSockets open, as the node tells anybody.
fn websockets(node: &Node) -> usize {
    let status: serde_json::Value = serde_json::from_str(&node.get("/api/status").text()).unwrap();
    usize::try_from(status["websockets"].as_u64().unwrap()).unwrap()
}

fn report(what: &str, bytes: u64, count: usize) {
    println!("{count} connections {what}: {} bytes of RSS each", bytes / count as u64);
}

#[test]
fn an_idle_node_uses_no_processor() {
    let provider = Provider::answering("1");
    let node = start(&provider);
    let mut clients: Vec<Client> = (0..100).map(|_| node.connect()).collect();
    for client in &mut clients {
        client.post("/rpc/ethereum", &json::read()).answer();
    }
    // Whatever follows the calls may finish first.
    let quiet = || {
        let (start, ticks) = (Instant::now(), node.cpu_ticks());
        std::thread::sleep(Duration::from_secs(1));
        // A tick is 10 ms: one a second is one percent of a core.
        u128::from(node.cpu_ticks() - ticks) * 1000 / start.elapsed().as_millis()
    };
    let percent = (0..5).map(|_| quiet()).min().unwrap_or_default();
    println!("idle with 100 connections: {percent} % of a core");
    assert!(percent <= 3, "{percent} % of a core while nothing happens");
}

#[test]
fn connections_over_the_limit_do_not_hurt_the_others() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider]).set("shards", "cores = [0]").set("shards", "connections_max = 50").start();
    let mut within: Vec<Client> = (0..50).map(|_| node.connect()).collect();
    let served = within.iter_mut().filter_map(works).count();
    // The tests' own health checks may hold one or two places for a moment.
    assert!(served >= 45, "{served} of 50 served");
    let beyond: Vec<Client> = (0..50).map(|_| node.connect()).collect();
    let ticks = node.cpu_ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(node.cpu_ticks() - ticks < 25, "a busy loop at the limit");
    assert!(within.iter_mut().filter_map(works).count() >= 45, "those within go on");
    drop((within, beyond));
    eventually("room again", || works(&mut node.connect()));
}

#[test]
fn a_node_without_descriptors_neither_spins_nor_dies() {
    let provider = Provider::answering("1");
    let node = Setup::ethereum(&[&provider]).set("shards", "cores = [0]").descriptors_max(128).start();
    let mut within = node.connect();
    assert!(works(&mut within).is_some());
    // More than it can take: the rest waits in the kernel's queue.
    let beyond: Vec<Client> = (0..200).map(|_| node.connect()).collect();
    eventually("the descriptors to be used up", || (node.descriptors() >= 126).then_some(()));
    let (start, ticks) = (Instant::now(), node.cpu_ticks());
    std::thread::sleep(Duration::from_millis(500));
    let percent = u128::from(node.cpu_ticks() - ticks) * 1000 / start.elapsed().as_millis();
    assert!(percent < 30, "a busy loop: {percent} % of a core");
    assert!(works(&mut within).is_some(), "who is connected goes on");
    drop(beyond);
    eventually("new clients to be served again", || works(&mut node.connect()));
    let page = node.admin_get("/metrics").text();
    let line = page.lines().find(|line| line.starts_with("livechain_accept_failures_total{")).expect("its counter");
    assert!(!line.ends_with(" 0"), "accepting never failed, so this shows nothing: {line}");
}

/// Whether a connection serves a call.
fn works(client: &mut Client) -> Option<()> {
    let answer = client.post("/rpc/ethereum", &json::read()).try_answer().ok()??;
    (answer.status == 200).then_some(())
}
