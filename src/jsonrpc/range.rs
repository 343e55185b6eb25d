//! How many blocks a provider lets a query scan, from the words with which it refuses one that scans more.
//!
//! Every vendor has words of its own, and a number in them may be the limit, what was asked for, or neither. A number is
//! taken for the limit when a word that sets limits stands before it ("max", "up to", "exceeds"), with no other number
//! between, and of several such the last: vendors say first what was asked and then what is allowed. Numbers in hex are block
//! numbers, those within a word are names of methods.
//!
//! A refusal for what the query would *return*, or for the time that it takes, is none for its range: the same range over
//! a quiet contract is fine. Where both are spoken of, nothing is concluded.

use crate::limits::ERROR_MESSAGE_SEARCHED_BYTES_MAX;

/// A provider will not scan as many blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeRefusal {
    /// What it does allow, in blocks, if it says so. At least 1.
    pub allowed: Option<u64>,
}

/// Words about blocks; without any it is something else that is too large.
const ABOUT_BLOCKS: [&str; 2] = ["block", "range"];
/// Words about what is returned, or about time.
const ABOUT_RESULTS: [&str; 10] = [
    "result",
    "response",
    "returned",
    "logs matched",
    "many logs",
    "of logs",
    "entries",
    "timeout",
    "timed out",
    "time out",
];
/// Words that set a limit, before the number.
const LIMITS: [&str; 11] = [
    "max",
    "limit",
    "up to",
    "at most",
    "over ",
    "exceed",
    "more than",
    "greater than",
    "smaller than",
    "allowed",
    ">",
];
/// And behind it.
const LIMITS_BEHIND: [&str; 3] = ["or less", "or fewer", "max"];
/// What a number counts that is no block.
const OTHER_UNITS: [&str; 6] = ["log", "event", "byte", "second", "address", "topic"];

/// What a message says about the range that was asked for; none where it is not about that. The caller has seen by other signs
/// that it is a refusal for something too large.
#[must_use]
pub fn range_refusal(message: &str) -> Option<RangeRefusal> {
    // Messages are short, and refusals rare: a copy is simplest.
    let end = message.len().min(ERROR_MESSAGE_SEARCHED_BYTES_MAX);
    let message = String::from_utf8_lossy(&message.as_bytes()[..end]).to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if !says(&ABOUT_BLOCKS) || says(&ABOUT_RESULTS) {
        return None;
    }
    Some(RangeRefusal { allowed: limit(&message) })
}

/// The last number that is said to be a limit.
fn limit(message: &str) -> Option<u64> {
    let says = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
    let (mut rest, mut found, mut was_limit) = (message, None, false);
    while let Some(Number { before, value, after }) = next_number(rest) {
        let here = after.trim_start();
        // "0 - 1000": one limit, of which the second number tells.
        let goes_on = was_limit && matches!(before.trim(), "-" | "to");
        let is_limit = goes_on || says(before, &LIMITS) || LIMITS_BEHIND.iter().any(|word| here.starts_with(word));
        let counts_blocks = !OTHER_UNITS.iter().any(|unit| here.starts_with(unit));
        if is_limit && counts_blocks {
            found = Some(value);
        }
        (rest, was_limit) = (after, is_limit);
    }
    found.filter(|blocks| *blocks > 0)
}

struct Number<'t> {
    before: &'t str,
    value: u64,
    after: &'t str,
}

/// The next number in decimal: `10000`, `10,000`, `10.000`, `10_000`, `10k`.
fn next_number(text: &str) -> Option<Number<'_>> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += bytes[at..].iter().position(u8::is_ascii_alphanumeric)?;
        let word = at + bytes[at..].iter().take_while(|byte| is_of_word(**byte)).count();
        if let Some((value, length)) = number(&bytes[at..word]) {
            return Some(Number { before: &text[..at], value, after: &text[at + length..] });
        }
        at = word;
    }
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b',' | b'.' | b'_')
}

/// The number that a word is, and its length: digits in one run or in groups of three, a factor, and no more letters.
fn number(word: &[u8]) -> Option<(u64, usize)> {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = digits(word);
    if end == 0 {
        return None;
    }
    let mut groups = end <= 3;
    while groups && matches!(word.get(end), Some(b',' | b'.' | b'_')) && digits(&word[end + 1..]) == 3 {
        end += 4;
    }
    groups &= end > 3;
    let (factor, length) = match word.get(end) {
        Some(b'k') => (1_000, end + 1),
        Some(b'm') => (1_000_000, end + 1),
        _ => (1, end),
    };
    // A version, a fraction or a name; a comma or a full stop may end a clause.
    let ends = match word.get(length) {
        None => true,
        Some(b',' | b'.') => groups || !word.get(length + 1).is_some_and(u8::is_ascii_digit),
        Some(_) => false,
    };
    let digit = |value: u64, byte: &u8| value.checked_mul(10)?.checked_add(u64::from(byte - b'0'));
    let value = word[..end].iter().filter(|byte| byte.is_ascii_digit()).try_fold(0, digit)?;
    ends.then_some((value.checked_mul(factor)?, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Messages as vendors send them, and what they allow.
    #[rustfmt::skip]
    const SAID: &[(&str, Option<u64>)] = &[
        // Alchemy (BobTheBuidler/dank_mids#772), its free plan, Aurora
        ("You can make eth_getLogs requests with up to a 500 block range. Based on your parameters, this block range should work: [0x123c9b2, 0x123cba5]", Some(500)),
        ("Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range. Based on your parameters, this block range should work: [0x1, 0xa]. Upgrade to PAYG for expanded block range.", Some(10)),
        ("You can make eth_getLogs requests with up to a 10,000 block range.", Some(10_000)),
        // Infura (INFURA/infura#237)
        ("range 1000000 exceeds limit of 10000", Some(10_000)),
        // QuickNode (its error reference), Blast's free plan, 1RPC
        ("eth_getLogs and eth_newFilter are limited to a 10,000 blocks range", Some(10_000)),
        ("eth_getLogs is limited to a 5 range", Some(5)),
        // dRPC
        ("ranges over 10000 blocks are not supported on freetier", Some(10_000)),
        // Ankr; on TAC (ponder-sh/ponder#1940)
        ("block range is too wide", None),
        ("maximum [from, to] blocks distance: 10000", Some(10_000)),
        // reth, Hyperliquid
        ("query exceeds max block range 100000", Some(100_000)),
        // Avalanche's coreth, with what was asked for first
        ("requested too many blocks from 5 to 70000, maximum is set to 2048", Some(2048)),
        // PublicNode, BSC, Ronin, Merkle, Morph (enviodev/hyperindex#605), Alchemy's rollups (enviodev/hyperindex#716)
        ("exceed maximum block range: 50000", Some(50_000)),
        ("eth_getLogs is limited to 0 - 1000 blocks range", Some(1000)),
        ("block range is too large, max is 1k blocks", Some(1000)),
        ("eth_getLogs range is too large, max is 10k blocks", Some(10_000)),
        ("block range is larger than max block range, block range = 5120, max block range = 5000", Some(5000)),
        ("block range too large (2500), maximum allowed is 2000 blocks", Some(2000)),
        ("eth_getLogs block range too large, range: 855077, max: 3500", Some(3500)),
        // Cloudflare, thirdweb, BlockPI, Blast, Coinbase, Swell, Somnia, Harmony, Moonbeam
        ("Max range: 800", Some(800)),
        ("Maximum allowed number of requested blocks is 1000", Some(1000)),
        ("eth_getLogs is limited to 1024 block range", Some(1024)),
        ("eth_getLogs range exceeds the range allowed for your plan (20000 > 10000)", Some(10_000)),
        ("please limit the query to at most 1000 blocks", Some(1000)),
        ("block range greater than 10000 max", Some(10_000)),
        ("block range exceeds 1000", Some(1000)),
        ("query must be smaller than size 1024 blocks", Some(1024)),
        ("block range is too wide (maximum 1024)", Some(1024)),
        // An older Infura, in groups with dots; Chainstack; scroll's geth
        ("Limit exceeded: Query requested more than 10.000 blocks", Some(10_000)),
        ("Block range limit exceeded. See more details at https://docs.chainstack.com/docs/limits#evm-range-limits", None),
        ("block range is bigger than maxBlockRange", None),
        ("Please use a block range of 2_000 or less.", Some(2000)),
        ("block range is too wide, at most 0 blocks", None),
        ("block range 99999999999999999999999999, max 5", Some(5)),
        ("Block range exceeds 5 seconds", None),
        ("max range of v1.2.3 exceeded", None),
    ];

    #[test]
    fn what_vendors_say() {
        for &(message, allowed) in SAID {
            assert_eq!(range_refusal(message), Some(RangeRefusal { allowed }), "{message}");
            assert_eq!(range_refusal(&message.to_uppercase()), Some(RangeRefusal { allowed }), "{message}");
        }
    }

    #[test]
    fn what_would_be_returned_is_no_range() {
        for message in [
            // Infura, zkEVM; Alchemy, whose limit does not hold where there are few logs; reth; Arbitrum; PublicNode; 1RPC; Base; geth
            "query returned more than 10000 results. Try with this block range [0x1, 0x2].",
            "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on the response size, or you can request any block range with a cap of 10K logs in the response. Based on your parameters and the response size limit, this block range should work: [0x0, 0x87fe9]",
            "query exceeds max results 20000, retry with the range 100-200",
            "logs matched by query exceeds limit of 10000",
            "query timeout exceeded. Consider reducing your block range.",
            "response size should not greater than 2097152 bytes",
            "backend response too large",
            "query limit of 10000 exceeded",
            "exceed max addresses or topics per search position",
            "Response is too big",
            "",
        ] {
            assert_eq!(range_refusal(message), None, "{message}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(message in "[a-zé0-9,._ >max]{0,60}", cut in 0..60_usize) {
            let _ = range_refusal(&message);
            let _ = range_refusal(&format!("max range {}", message.chars().skip(cut).collect::<String>()));
        }

        #[test]
        fn a_limit_is_read_as_it_was_written(limit in 1..1_000_000_000_u64) {
            let said = range_refusal(&format!("block range 77 is too wide, max {limit}."));
            prop_assert_eq!(said, Some(RangeRefusal { allowed: Some(limit) }));
        }
    }
}
