//! A real chain that grows when a test says so, with the same few events in every block.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::real::Anvil;
use super::{Client, eventually, json};

/// A contract that answers whatever call with two events, `0x41` and `0x42`, each with the block's number as its data:
/// `NUMBER PUSH1 0 MSTORE`, then twice `PUSH1 topic PUSH1 32 PUSH1 0 LOG1`; and before it what deploys it.
const EMITTER: &str = "0x6013600c60003960136000f343600052604160206000a1604260206000a100";
/// Transactions of a block, two events each.
const TRANSACTIONS: usize = 2;
pub const EVENTS: usize = 2 * TRANSACTIONS;
const GAS: &str = "0x20000";
/// Above what Anvil's base fee may come to.
const FEE: &str = "0x174876e800";

/// A block as the chain has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub number: u64,
    pub hash: String,
    pub parent: String,
}

/// A log as the chain has it, or as a client was told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Log {
    pub number: u64,
    pub index: u64,
    pub block: String,
}

/// An Anvil that mines when it is told to.
pub struct Growing {
    pub anvil: Anvil,
    /// Of the contract.
    pub emitter: String,
    accounts: Vec<String>,
}

impl Growing {
    pub fn start() -> Self {
        let anvil = Anvil::start();
        let accounts: Vec<String> = serde_json::from_str(&anvil.ask("eth_accounts", "[]")).unwrap();

        let sent = format!("[{{\"from\":\"{}\",\"data\":\"{EMITTER}\",\"gas\":\"0x100000\"}}]", accounts[0]);
        let hash = anvil.ask("eth_sendTransaction", &sent);
        let emitter = eventually("the contract", || {
            let receipt: Value =
                serde_json::from_str(&anvil.ask("eth_getTransactionReceipt", &format!("[{hash}]"))).ok()?;
            assert!(receipt.is_null() || receipt["status"] == "0x1", "{receipt}");
            Some(receipt["contractAddress"].as_str()?.to_owned())
        });
        anvil.ask("evm_setAutomine", "[false]");
        Self { anvil, emitter, accounts }
    }

    /// One more block, with [`EVENTS`] events.
    pub fn mine(&self) {
        mine(&mut Client::open(self.anvil.address), &self.transactions());
    }

    /// A block every so often until told to stop, from a thread of its own.
    pub fn mine_every(&self, time: Duration) -> Mining {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, calls, address) = (Arc::clone(&stop), self.transactions(), self.anvil.address);
        let thread = thread::spawn(move || {
            let mut client = Client::open(address);
            while !told.load(Ordering::Relaxed) {
                mine(&mut client, &calls);
                thread::sleep(time);
            }
        });
        Mining { stop, thread }
    }

    /// Replaces the last so many blocks by as many others, each with two events.
    pub fn reorganise(&self, depth: u64) {
        let of = |block| format!("[{},{block}]", transaction(&self.accounts[2], &self.emitter));
        let blocks: Vec<String> = (0..depth).map(of).collect();
        self.anvil.ask("anvil_reorg", &format!("[{depth},[{}]]", blocks.join(",")));
    }

    pub fn height(&self) -> u64 {
        hex(&serde_json::from_str(&self.anvil.ask("eth_blockNumber", "[]")).unwrap())
    }

    /// The chain's blocks after the one with this number.
    pub fn blocks_after(&self, number: u64) -> Vec<Block> {
        let block = |number| {
            let block = self.anvil.ask("eth_getBlockByNumber", &format!("[\"{number:#x}\",false]"));
            let block: Value = serde_json::from_str(&block).unwrap();
            Block { number: hex(&block["number"]), hash: text(&block["hash"]), parent: text(&block["parentHash"]) }
        };
        (number + 1..=self.height()).map(block).collect()
    }

    /// The contract's logs after the block with this number, in order; `topics` as a filter has them.
    pub fn logs_after(&self, number: u64, topics: &str) -> Vec<Log> {
        let filter = format!(
            "[{{\"address\":\"{}\",\"topics\":{topics},\"fromBlock\":\"{:#x}\",\"toBlock\":\"latest\"}}]",
            self.emitter,
            number + 1
        );
        let logs: Vec<Value> = serde_json::from_str(&self.anvil.ask("eth_getLogs", &filter)).unwrap();
        let log = |log: &Value| Log {
            number: hex(&log["blockNumber"]),
            index: hex(&log["logIndex"]),
            block: text(&log["blockHash"]),
        };
        logs.iter().map(log).collect()
    }

    fn transactions(&self) -> Vec<String> {
        let senders = &self.accounts[3..3 + TRANSACTIONS];
        let call =
            |from: &String| json::call("eth_sendTransaction", &format!("[{}]", transaction(from, &self.emitter)));
        senders.iter().map(call).collect()
    }
}

/// Somebody who makes a chain grow.
pub struct Mining {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Mining {
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn mine(client: &mut Client, transactions: &[String]) {
    for call in transactions {
        client.post("/", call).answer().result();
    }
    client.post("/", &json::call("evm_mine", "[]")).answer().result();
}

fn transaction(from: &str, to: &str) -> String {
    format!(
        "{{\"from\":\"{from}\",\"to\":\"{to}\",\"gas\":\"{GAS}\",\"maxFeePerGas\":\"{FEE}\",\"maxPriorityFeePerGas\":\"0x1\"}}"
    )
}

fn hex(value: &Value) -> u64 {
    let text = value.as_str().unwrap();
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
