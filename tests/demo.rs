//! `livechain demo`: what it prints can be pasted, and answers.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use support::{Client, eventually, json, ports};

/// A running demo and the lines that it printed first. It is killed when this is dropped.
struct Demo {
    http: SocketAddr,
    admin: SocketAddr,
    child: Child,
    printed: Vec<String>,
}

impl Demo {
    fn start() -> Self {
        let (http, admin) = (ports::unused(), ports::unused());
        let mut child = support::program(env!("CARGO_BIN_EXE_livechain"))
            .args(["demo", "--listen", &http.to_string(), "--admin", &admin.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.for_each(|line| drop(send.send(line))));
        let mut printed = Vec::new();
        while !printed.last().is_some_and(|line: &String| line.starts_with("Ctrl-C")) {
            printed.push(receive.recv_timeout(support::PATIENCE).expect("the lines to paste"));
        }
        Self { http, admin, child, printed }
    }

    fn ask(&self, body: &str) -> support::Answer {
        Client::open(self.http).post("/rpc/ethereum", body).answer()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The URL and the body of a curl line.
fn pasted(line: &str) -> (&str, Option<&str>) {
    let mut quoted = line.split('\'').skip(1).step_by(2);
    (quoted.next().expect("a URL in quotes"), quoted.next())
}

#[test]
fn every_line_to_paste_is_answered() {
    let demo = Demo::start();
    let lines: Vec<&String> = demo.printed.iter().filter(|line| line.starts_with("curl ")).collect();
    assert!(lines.len() >= 5, "{:?}", demo.printed);
    for line in lines {
        let (url, body) = pasted(line);
        let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let address: SocketAddr = address.parse().unwrap();
        assert!([demo.http, demo.admin].contains(&address), "{line}");
        let method = if body.is_some() { "POST" } else { "GET" };
        let body = body.unwrap_or_default();
        let request =
            format!("{method} /{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = Client::open(address).send(request).answer();
        assert_eq!(answer.status, 200, "{line}: {}", answer.text());
        // The flaky provider fails when it is asked alone; nothing else may.
        if !body.is_empty() && !path.contains("flaky") {
            assert!(!answer.text().contains("error"), "{line}: {}", answer.text());
        }
    }
}

#[test]
fn the_demos_chain_moves_and_no_call_fails() {
    let demo = Demo::start();
    let head =
        || u64::from_str_radix(demo.ask(&json::call("eth_blockNumber", "[]")).result()[3..].trim_end_matches('"'), 16);
    let first = head().unwrap();
    eventually("a new head", || (head().unwrap() > first).then_some(()));
    for n in 0..60 {
        let answer = demo.ask(&json::read());
        assert!(answer.status == 200 && answer.raw("result").is_some(), "call {n}: {}", answer.text());
    }
    assert_eq!(demo.ask(&json::call("eth_chainId", "[]")).result(), "\"0x1\"");
}

#[test]
fn its_heads_are_told() {
    let demo = Demo::start();
    let mut socket = support::socket::Socket::open(demo.http, "/rpc/ethereum");
    let id = socket.call(&json::call("eth_subscribe", "[\"newHeads\"]"));
    let mut parent = None;
    for _ in 0..2 {
        let (_, told) = socket.message();
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told["params"]["subscription"].to_string(), id);
        let head = &told["params"]["result"];
        assert!(parent.is_none_or(|parent| parent == head["parentHash"]), "{told}");
        parent = Some(head["hash"].clone());
    }
}
