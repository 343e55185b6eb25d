//! Real clients that hold a WebSocket and print what it tells: `watch-viem.mjs`, `watch-ethers.mjs`, `watch_web3py.py`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::growing::{Block, Log};
use super::{eventually, real};

/// A client's program, and the topics of the logs that it asks for.
pub const WATCHERS: [(&str, &str); 3] = [
    ("viem", "[]"),
    ("ethers", "[\"0x0000000000000000000000000000000000000000000000000000000000000041\"]"),
    (
        "web3py",
        "[[\"0x0000000000000000000000000000000000000000000000000000000000000041\",\
         \"0x0000000000000000000000000000000000000000000000000000000000000042\"]]",
    ),
];

/// What a client printed.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub ready: bool,
    pub heads: Vec<Block>,
    /// And whether it was taken back.
    pub logs: Vec<(Log, bool)>,
    /// Numbers by its own block events.
    pub blocks: Vec<u64>,
    /// Calls that failed, connections that ended, and lines that are not what such a program prints.
    pub wrong: Vec<String>,
    /// At its end.
    pub calls: Option<u64>,
}

impl Told {
    pub fn line(&mut self, line: &str) {
        let Ok(value) = serde_json::from_str::<Value>(line) else {
            self.wrong.push(line.to_owned());
            return;
        };
        let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (head, log) = (&value["head"], &value["log"]);
        if head.is_object() {
            let (hash, parent) = (text(&head["hash"]), text(&head["parent"]));
            self.heads.push(Block { number: number(&head["number"]), hash, parent });
        } else if log.is_object() {
            let (number, index) = (number(&log["number"]), number(&log["index"]));
            self.logs.push((Log { number, index, block: text(&log["block"]) }, log["removed"] == true));
        } else if let Some(block) = value["block"].as_u64() {
            self.blocks.push(block);
        } else if value["ready"] == true {
            self.ready = true;
        } else if let Some(calls) = value["calls"].as_u64() {
            self.calls = Some(calls);
        } else {
            self.wrong.push(line.to_owned());
        }
    }
}

/// A client at work. It is killed when this is dropped.
pub struct Watcher {
    pub name: &'static str,
    pub topics: &'static str,
    child: Child,
    /// It ends when this does.
    input: Option<ChildStdin>,
    told: Arc<Mutex<Told>>,
}

impl Watcher {
    /// Starts one of [`WATCHERS`] on a WebSocket to this URL.
    pub fn start((name, topics): (&'static str, &'static str), url: &str, address: &str) -> Self {
        let mut command =
            real::script(&if name == "web3py" { "watch_web3py.py".to_owned() } else { format!("watch-{name}.mjs") });
        command.args([url, address]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{name}: {e}"));
        let told = Arc::<Mutex<Told>>::default();
        gather(child.stdout.take().unwrap(), Arc::clone(&told));
        // Whatever it says there is wrong.
        gather(child.stderr.take().unwrap(), Arc::clone(&told));
        let input = child.stdin.take();
        Self { name, topics, child, input, told }
    }

    /// Waits until all its subscriptions are agreed.
    pub fn wait_ready(&self) {
        eventually(&format!("{} to be ready", self.name), || {
            self.so_far(|told| {
                assert!(told.wrong.is_empty(), "{}: {}", self.name, told.wrong.join("\n"));
                told.ready.then_some(())
            })
        });
    }

    /// Looks at what it has told so far.
    pub fn so_far<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&self.told.lock().unwrap())
    }

    /// Whether it has been told of this block and of its logs.
    pub fn has(&self, number: u64) -> bool {
        self.so_far(|told| {
            let head = told.heads.last().is_some_and(|head| head.number >= number);
            head && told.logs.last().is_some_and(|(log, _)| log.number >= number)
        })
    }

    /// Ends it; all that it told.
    pub fn end(mut self) -> Told {
        drop(self.input.take());
        let status = eventually(&format!("{} to end", self.name), || self.child.try_wait().unwrap());
        let told = eventually("its last line", || {
            self.so_far(|told| told.calls.map(|_| told.clone()))
                .or_else(|| (!status.success()).then(|| self.so_far(Told::clone)))
        });
        assert!(status.success(), "{} ended with {status}: {:?}", self.name, told.wrong);
        told
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(from: impl Read + Send + 'static, told: Arc<Mutex<Told>>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            told.lock().unwrap().line(&line);
        }
    });
}
