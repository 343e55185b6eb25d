//! What is known of a method by its name: its cost, whether it may be asked twice, and what its errors may carry.
//!
//! Every call is looked up, so the table is found by one multiplication: a hash of the name's last eight bytes
//! (names of one family share their beginnings) into 256 slots that the compiler fills.

use std::time::Duration;

use super::class::MethodClass;
use super::facts::{BlockParam, Depth};

/// A method's properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodInfo {
    /// Empty for a method that is not in the table.
    pub name: &'static str,
    pub class: MethodClass,
    /// Whether asking another provider again does no harm. `eth_sendRawTransaction` is repeatable: its hash names it.
    pub repeatable: bool,
    /// Answered by this node.
    pub local: Option<Local>,
    pub filter: FilterRole,
    /// Where its params name blocks.
    pub block: BlockParam,
    /// Whether an error's text can be of the caller's choosing: a revert reason, a method's name.
    pub client_words: bool,
    /// `eth_subscribe` and `eth_unsubscribe`: sockets only.
    pub subscription: bool,
    /// `eth_sendRawTransaction`: "already known" is success.
    pub raw_transaction: bool,
    /// Its position in the table; [`UNKNOWN`] for one that is not in it.
    number: u8,
}

/// What this node answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    ChainId,
    NetworkId,
}

/// How a method touches filters, which live at one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterRole {
    None,
    /// Its result is a filter's id.
    Creates,
    /// Its first param is a filter's id.
    Uses,
}

impl MethodInfo {
    /// Whether the method is in the table.
    #[must_use]
    pub const fn known(&self) -> bool {
        !self.name.is_empty()
    }

    /// Its number below [`METHOD_COUNT`], if it is in the table.
    #[inline]
    #[must_use]
    pub const fn number(&self) -> Option<u8> {
        if self.number == UNKNOWN { None } else { Some(self.number) }
    }
}

/// The method of this number, if there is one.
#[must_use]
pub fn known_method(number: u8) -> Option<&'static MethodInfo> {
    METHODS.get(usize::from(number))
}

/// The time a call of this class has until the first byte of its answer, unless the config says otherwise.
#[must_use]
pub const fn default_deadline(class: MethodClass) -> Duration {
    Duration::from_secs(match class {
        MethodClass::Head => 1,
        MethodClass::Read => 2,
        MethodClass::Receipt => 3,
        MethodClass::Execute | MethodClass::Logs => 5,
        MethodClass::Trace => 45,
        MethodClass::Proof | MethodClass::Write | MethodClass::Filter | MethodClass::Other => 10,
    })
}

/// What is known of the method of this name; of an unknown one, what its name lets one guess.
#[must_use]
pub fn info(name: &str) -> &'static MethodInfo {
    let mut slot = hash(name.as_bytes());
    loop {
        match METHODS.get(usize::from(SLOTS[slot])) {
            Some(found) if found.name == name => return found,
            Some(_) => slot = (slot + 1) % SLOTS.len(),
            None => return unknown(name),
        }
    }
}

fn unknown(name: &str) -> &'static MethodInfo {
    static READS: MethodInfo = MethodInfo { client_words: true, ..method("", MethodClass::Other) };
    static WRITES: MethodInfo = MethodInfo { repeatable: false, class: MethodClass::Write, ..READS };
    static TRACES: MethodInfo = MethodInfo { class: MethodClass::Trace, ..READS };
    // Asking twice what we do not know must not send, sign or cancel anything twice.
    const ACTS: [&str; 5] = ["send", "sign", "submit", "cancel", "set"];
    let verb = name.split_once('_').map_or(name, |(_, verb)| verb);
    if ACTS.iter().any(|act| verb.starts_with(act)) {
        &WRITES
    } else if name.contains("trace_") || name.starts_with("debug_") {
        &TRACES
    } else {
        &READS
    }
}

/// An unused slot: no method has this number.
const EMPTY: u8 = u8::MAX;
const _: () = assert!(METHODS.len() < 160, "probing gets long, and numbers must stay below EMPTY");

static SLOTS: [u8; 256] = slots();

const fn slots() -> [u8; 256] {
    let mut slots = [EMPTY; 256];
    let mut number = 0_u8;
    while (number as usize) < METHODS.len() {
        let mut slot = hash(METHODS[number as usize].name.as_bytes());
        while slots[slot] != EMPTY {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = number;
        number += 1;
    }
    slots
}

/// A slot number.
const fn hash(name: &[u8]) -> usize {
    // The golden ratio's bits: the product's top byte depends on all of the input.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let tail = match name.last_chunk::<8>() {
        Some(tail) => u64::from_le_bytes(*tail),
        None => name.len() as u64,
    };
    (tail ^ name.len() as u64).wrapping_mul(SPREAD).to_le_bytes()[7] as usize
}

const fn method(name: &'static str, class: MethodClass) -> MethodInfo {
    MethodInfo {
        name,
        class,
        repeatable: true,
        local: None,
        filter: FilterRole::None,
        block: BlockParam::None,
        client_words: false,
        subscription: false,
        raw_transaction: false,
        number: UNKNOWN,
    }
}

const fn numbered(mut table: [MethodInfo; METHOD_COUNT]) -> [MethodInfo; METHOD_COUNT] {
    let mut number = 0_u8;
    while (number as usize) < METHOD_COUNT {
        table[number as usize].number = number;
        number += 1;
    }
    table
}

/// A method whose param at this position names a block, and whose answer is made of that block's state.
const fn state(position: u8, of: MethodInfo) -> MethodInfo {
    MethodInfo { block: BlockParam::At(position, Depth::State), ..of }
}

/// The same, made of what was recorded of the block.
const fn history(position: u8, of: MethodInfo) -> MethodInfo {
    MethodInfo { block: BlockParam::At(position, Depth::History), ..of }
}

/// A method that scans the blocks which the filter that is its first param names.
const fn scan(depth: Depth, of: MethodInfo) -> MethodInfo {
    MethodInfo { block: BlockParam::Filter(depth), ..of }
}

const fn head(name: &'static str) -> MethodInfo {
    method(name, MethodClass::Head)
}

const fn local(name: &'static str, answer: Local) -> MethodInfo {
    MethodInfo { local: Some(answer), ..head(name) }
}

const fn read(name: &'static str) -> MethodInfo {
    method(name, MethodClass::Read)
}

const fn receipt(name: &'static str) -> MethodInfo {
    method(name, MethodClass::Receipt)
}

const fn logs(name: &'static str) -> MethodInfo {
    method(name, MethodClass::Logs)
}

const fn execute(name: &'static str) -> MethodInfo {
    MethodInfo { client_words: true, ..method(name, MethodClass::Execute) }
}

const fn trace(name: &'static str) -> MethodInfo {
    MethodInfo { client_words: true, ..method(name, MethodClass::Trace) }
}

const fn write(name: &'static str) -> MethodInfo {
    MethodInfo { repeatable: false, ..method(name, MethodClass::Write) }
}

const fn filter(name: &'static str, role: FilterRole) -> MethodInfo {
    MethodInfo { filter: role, ..method(name, MethodClass::Filter) }
}

const fn other(name: &'static str) -> MethodInfo {
    method(name, MethodClass::Other)
}

const fn subscription(name: &'static str) -> MethodInfo {
    MethodInfo { subscription: true, ..other(name) }
}

/// Methods that are known by name.
pub const METHOD_COUNT: usize = 106;

/// No method in the table has this number.
const UNKNOWN: u8 = u8::MAX;

#[rustfmt::skip]
pub(super) static METHODS: [MethodInfo; METHOD_COUNT] = numbered([
    local("eth_chainId", Local::ChainId),
    local("net_version", Local::NetworkId),
    head("eth_blockNumber"),
    head("eth_gasPrice"),
    head("eth_blobBaseFee"),
    head("eth_syncing"),
    head("eth_protocolVersion"),
    head("eth_mining"),
    head("eth_hashrate"),
    head("eth_coinbase"),
    head("net_listening"),
    head("net_peerCount"),
    head("web3_clientVersion"),
    read("eth_maxPriorityFeePerGas"),
    // Its oldest block is so many below the one that it names, and not read: what is missing may be any of them.
    read("eth_feeHistory"),
    state(1, read("eth_getBalance")),
    state(1, read("eth_getCode")),
    state(2, read("eth_getStorageAt")),
    state(1, read("eth_getAccount")),
    state(1, read("eth_getTransactionCount")),
    read("eth_getBlockByHash"),
    history(0, read("eth_getBlockByNumber")),
    read("eth_getHeaderByHash"),
    history(0, read("eth_getHeaderByNumber")),
    read("eth_getBlockTransactionCountByHash"),
    history(0, read("eth_getBlockTransactionCountByNumber")),
    read("eth_getTransactionByHash"),
    read("eth_getTransactionByBlockHashAndIndex"),
    history(0, read("eth_getTransactionByBlockNumberAndIndex")),
    read("eth_getTransactionBySenderAndNonce"),
    read("eth_getRawTransactionByHash"),
    read("eth_getRawTransactionByBlockHashAndIndex"),
    history(0, read("eth_getRawTransactionByBlockNumberAndIndex")),
    read("eth_getUncleByBlockHashAndIndex"),
    history(0, read("eth_getUncleByBlockNumberAndIndex")),
    read("eth_getUncleCountByBlockHash"),
    history(0, read("eth_getUncleCountByBlockNumber")),
    read("web3_sha3"),
    read("erigon_getHeaderByHash"),
    history(0, read("erigon_getHeaderByNumber")),
    read("erigon_getBlockByTimestamp"),
    receipt("eth_getTransactionReceipt"),
    history(0, receipt("eth_getBlockReceipts")),
    history(0, receipt("alchemy_getTransactionReceipts")),
    receipt("erigon_getBlockReceiptsByBlockHash"),
    state(1, execute("eth_call")),
    state(1, execute("eth_estimateGas")),
    state(1, execute("eth_createAccessList")),
    state(1, execute("eth_callMany")),
    state(1, execute("eth_simulateV1")),
    scan(Depth::History, logs("eth_getLogs")),
    scan(Depth::History, logs("erigon_getLogs")),
    scan(Depth::History, logs("erigon_getLatestLogs")),
    state(2, method("eth_getProof", MethodClass::Proof)),
    state(0, trace("trace_block")),
    state(2, trace("trace_call")),
    state(1, trace("trace_callMany")),
    scan(Depth::State, trace("trace_filter")),
    trace("trace_get"),
    trace("trace_rawTransaction"),
    state(0, trace("trace_replayBlockTransactions")),
    trace("trace_replayTransaction"),
    trace("trace_transaction"),
    trace("debug_traceBlock"),
    trace("debug_traceBlockByHash"),
    state(0, trace("debug_traceBlockByNumber")),
    state(1, trace("debug_traceCall")),
    state(1, trace("debug_traceCallMany")),
    trace("debug_traceTransaction"),
    trace("debug_storageRangeAt"),
    state(0, trace("debug_accountRange")),
    trace("debug_getBadBlocks"),
    history(0, trace("debug_getRawBlock")),
    history(0, trace("debug_getRawHeader")),
    history(0, trace("debug_getRawReceipts")),
    trace("debug_getRawTransaction"),
    trace("debug_getModifiedAccountsByHash"),
    state(0, trace("debug_getModifiedAccountsByNumber")),
    MethodInfo { repeatable: false, ..trace("debug_setHead") },
    MethodInfo { raw_transaction: true, repeatable: true, ..write("eth_sendRawTransaction") },
    // Its result is a receipt, so that "already known" has no success to be turned into.
    write("eth_sendRawTransactionSync"),
    write("eth_sendRawTransactionConditional"),
    write("eth_sendTransaction"),
    write("eth_sendPrivateTransaction"),
    write("eth_sendBundle"),
    write("eth_sendUserOperation"),
    write("eth_cancelPrivateTransaction"),
    write("eth_cancelBundle"),
    write("eth_sign"),
    write("eth_signTransaction"),
    write("eth_signTypedData"),
    write("eth_submitWork"),
    write("eth_submitHashrate"),
    scan(Depth::History, filter("eth_newFilter", FilterRole::Creates)),
    filter("eth_newBlockFilter", FilterRole::Creates),
    filter("eth_newPendingTransactionFilter", FilterRole::Creates),
    filter("eth_getFilterChanges", FilterRole::Uses),
    filter("eth_getFilterLogs", FilterRole::Uses),
    filter("eth_uninstallFilter", FilterRole::Uses),
    subscription("eth_subscribe"),
    subscription("eth_unsubscribe"),
    other("eth_accounts"),
    other("txpool_content"),
    other("txpool_contentFrom"),
    other("txpool_inspect"),
    other("txpool_status"),
]);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_method_is_found_and_stands_once() {
        let mut seen = HashSet::new();
        for method in &METHODS {
            assert!(seen.insert(method.name), "{} stands twice", method.name);
            assert_eq!(info(method.name), method);
            assert!(info(method.name).known());
            assert_eq!(method.number().and_then(known_method), Some(method));
        }
    }

    #[test]
    fn probing_is_short() {
        let probes = |name: &str| {
            let mut slot = hash(name.as_bytes());
            let mut n = 1;
            while METHODS[usize::from(SLOTS[slot])].name != name {
                slot = (slot + 1) % SLOTS.len();
                n += 1;
            }
            n
        };
        let longest = METHODS.iter().map(|method| probes(method.name)).max();
        assert!(longest <= Some(8), "{longest:?}");
    }

    #[test]
    fn unknown_methods() {
        for (name, class, repeatable) in [
            ("", MethodClass::Other, true),
            ("x", MethodClass::Other, true),
            ("eth_calls", MethodClass::Other, true),
            ("ETH_CALL", MethodClass::Other, true),
            ("bor_getAuthor", MethodClass::Other, true),
            ("arbtrace_block", MethodClass::Trace, true),
            ("debug_dbGet", MethodClass::Trace, true),
            ("debug_setGCPercent", MethodClass::Write, false),
            ("personal_sendTransaction", MethodClass::Write, false),
            ("eth_sendMegabundle", MethodClass::Write, false),
            ("personal_signTypedData", MethodClass::Write, false),
        ] {
            let found = info(name);
            assert!(!found.known(), "{name}");
            assert_eq!(found.number(), None, "{name}");
            assert!(found.client_words, "{name}");
            assert_eq!((found.class, found.repeatable), (class, repeatable), "{name}");
        }
    }

    #[test]
    fn properties_that_others_rely_on() {
        let with = |holds: fn(&MethodInfo) -> bool| -> Vec<&str> {
            METHODS.iter().filter(|method| holds(method)).map(|method| method.name).collect()
        };
        assert_eq!(with(|m| m.local.is_some()), ["eth_chainId", "net_version"]);
        assert_eq!(with(|m| m.subscription), ["eth_subscribe", "eth_unsubscribe"]);
        assert_eq!(with(|m| m.raw_transaction), ["eth_sendRawTransaction"]);
        assert_eq!(
            with(|m| m.filter == FilterRole::Creates),
            ["eth_newFilter", "eth_newBlockFilter", "eth_newPendingTransactionFilter"]
        );
        assert_eq!(
            with(|m| m.filter == FilterRole::Uses),
            ["eth_getFilterChanges", "eth_getFilterLogs", "eth_uninstallFilter"]
        );
        assert!(METHODS.iter().all(|m| m.client_words == matches!(m.class, MethodClass::Execute | MethodClass::Trace)));
        assert!(info("eth_sendRawTransaction").repeatable);
        assert!(!info("eth_sendTransaction").repeatable);
    }

    #[test]
    fn deadlines_by_class() {
        for (name, seconds) in [
            ("eth_blockNumber", 1),
            ("eth_gasPrice", 1),
            ("eth_getBalance", 2),
            ("eth_getTransactionReceipt", 3),
            ("eth_call", 5),
            ("eth_estimateGas", 5),
            ("eth_getLogs", 5),
            ("eth_getProof", 10),
            ("trace_block", 45),
            ("debug_traceCall", 45),
            ("eth_sendRawTransaction", 10),
            ("eth_newFilter", 10),
            ("anything", 10),
        ] {
            assert_eq!(default_deadline(info(name).class), Duration::from_secs(seconds), "{name}");
        }
    }
}
