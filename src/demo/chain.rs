//! The demo's chain: every block follows from its number, and the head from the time of day.
//!
//! So three providers agree without talking, and answers are the same after a restart. Nothing is stored.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sha3::{Digest, Keccak256};

/// Between two blocks.
pub(super) const BLOCK_TIME: Duration = Duration::from_secs(2);

/// When block 0 was, in seconds of Unix time: 14 November 2023. The head has eight digits, as on a real chain.
const GENESIS_UNIX_S: u64 = 1_700_000_000;

/// How far back a block is found by its hash: hashes lead nowhere but by trying.
const HASHES_SEARCHED: u64 = 256;

/// The token whose transfers are the chain's logs.
pub(super) const TOKEN: &str = "0x00000000000000000000000000000000000de305";

/// `Transfer(address,address,uint256)`.
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// The newest block's number at `now`.
pub(super) fn head(now: SystemTime) -> u64 {
    let unix = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    unix.saturating_sub(GENESIS_UNIX_S) / BLOCK_TIME.as_secs()
}

/// The number of the block with that hash, if it is one of the last.
pub(super) fn number_of(hash: &str, head: u64) -> Option<u64> {
    (head.saturating_sub(HASHES_SEARCHED)..=head).rev().find(|&number| block_hash(number).eq_ignore_ascii_case(hash))
}

/// 32 bytes that follow from `parts`, as `0x…`.
pub(super) fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

pub(super) fn block_hash(number: u64) -> String {
    hash(&[b"block", &number.to_be_bytes()])
}

/// 20 bytes that follow from `parts`.
fn address(parts: &[&[u8]]) -> String {
    format!("0x{}", &hash(parts)[26..])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("0x"), |text, byte| text + &format!("{byte:02x}"))
}

/// A block as `eth_getBlockByNumber` has it, with its one transaction whole or as a hash.
pub(super) fn block(number: u64, whole: bool) -> Value {
    let part = |name: &str| hash(&[name.as_bytes(), &number.to_be_bytes()]);
    let transaction = transaction(number);
    let parent = number.checked_sub(1).map_or_else(|| format!("0x{}", "0".repeat(64)), block_hash);
    json!({
        "number": quantity(number),
        "hash": block_hash(number),
        "parentHash": parent,
        "timestamp": quantity(GENESIS_UNIX_S + number * BLOCK_TIME.as_secs()),
        "stateRoot": part("state"),
        "transactionsRoot": part("transactions"),
        "receiptsRoot": part("receipts"),
        "sha3Uncles": part("uncles"),
        "mixHash": part("mix"),
        "miner": address(&[b"miner", &[number.to_be_bytes()[7] % 8]]),
        "nonce": "0x0000000000000000",
        "difficulty": "0x0",
        "extraData": "0x6c697665636861696e2064656d6f",
        "logsBloom": format!("0x{}", "0".repeat(512)),
        "gasLimit": "0x1c9c380",
        "gasUsed": "0xc350",
        "baseFeePerGas": gas_price(number),
        "size": "0x220",
        "uncles": [],
        "transactions": [if whole { transaction } else { transaction["hash"].clone() }],
    })
}

fn transaction(number: u64) -> Value {
    let key = number.to_be_bytes();
    json!({
        "blockHash": block_hash(number),
        "blockNumber": quantity(number),
        "hash": hash(&[b"transaction", &key]),
        "transactionIndex": "0x0",
        "type": "0x0",
        "chainId": "0x1",
        "from": address(&[b"from", &key]),
        "to": TOKEN,
        "nonce": quantity(number % 1000),
        "value": "0x0",
        "gas": "0xc350",
        "gasPrice": gas_price(number),
        "input": "0x",
        "v": "0x25",
        "r": hash(&[b"r", &key]),
        "s": hash(&[b"s", &key]),
    })
}

/// A transfer of the token: one a block.
pub(super) fn log(number: u64) -> Value {
    let key = number.to_be_bytes();
    let topic = |parts: &[&[u8]]| format!("0x{}{}", "0".repeat(24), &address(parts)[2..]);
    json!({
        "address": TOKEN,
        "topics": [TRANSFER, topic(&[b"from", &key]), topic(&[b"to", &key])],
        "data": format!("0x{number:064x}"),
        "blockNumber": quantity(number),
        "blockHash": block_hash(number),
        "transactionHash": hash(&[b"transaction", &key]),
        "transactionIndex": "0x0",
        "logIndex": "0x0",
        "removed": false,
    })
}

/// In wei; sways with the block.
pub(super) fn gas_price(number: u64) -> String {
    quantity(10_000_000_000 + number % 32 * 100_000_000)
}

/// A number that follows from an account, below `limit`.
pub(super) fn number_of_account(what: &str, account: &str, limit: u64) -> u64 {
    let digits = hash(&[what.as_bytes(), account.to_ascii_lowercase().as_bytes()]);
    u64::from_str_radix(&digits[2..18], 16).unwrap_or_default() % limit
}

/// As Ethereum writes numbers.
pub(super) fn quantity(number: u64) -> String {
    format!("{number:#x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_moves_with_time() {
        let at = |seconds| head(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), 0);
        assert_eq!(at(GENESIS_UNIX_S + 1), 0);
        assert_eq!(at(GENESIS_UNIX_S + 2 * 1000), 1000);
    }

    #[test]
    fn blocks_are_linked_and_found_by_hash() {
        let (parent, child) = (block(999, false), block(1000, true));
        assert_eq!(child["parentHash"], parent["hash"]);
        assert_eq!(parent["transactions"][0], log(999)["transactionHash"]);
        assert_eq!(child["transactions"][0]["hash"], log(1000)["transactionHash"]);
        assert_eq!(number_of(&block_hash(1000), 1100), Some(1000));
        assert_eq!(number_of(&block_hash(1000), 2000), None);
        assert_eq!(block_hash(7).len(), 66);
        assert_eq!(address(&[b"x"]).len(), 42);
    }
}
