//! Which class a provider's error belongs to, and whether it may be held against the provider.
//!
//! Codes differ by provider and words by version, so neither suffices. The order: the operator's overrides; then
//! what an execution error looks like; then statuses and codes that say something; then the message's words; then
//! what is left of codes. A code or status that is used for several things (429, -32005, -32602) names the classes
//! that words may make of it.
//!
//! Two rules keep clients from steering us. A revert's text is the caller's: what begins as an execution error is one,
//! whatever follows. And where an error can carry the caller's words, words alone choose between another provider and an
//! answer but are never held against a provider: for methods that run code or are unknown to us, and for any call whose
//! params hold such words already (nodes repeat what they could not read).

use super::failure::{Class, Health};
use super::method::MethodInfo;
use super::signs::{Sign, begins_as_execution, sign_of, sign_of_bytes, sign_within};
use crate::limits::PARAMS_SEARCHED_BYTES_MAX;

/// What there is to judge by: a reply that is a JSON-RPC error.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    pub http_status: u16,
    pub code: Option<i64>,
    pub message: &'a str,
    pub method: &'a MethodInfo,
    /// What the caller wrote: words that stand there may come back in the message.
    pub params: Option<&'a [u8]>,
}

/// A provider's peculiarity, from its config. All that is given must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pub code: Option<i64>,
    /// Part of the message; ASCII case does not count.
    pub contains: Option<String>,
    pub class: Class,
    pub scope: Scope,
}

/// Which calls a provider means when it limits their rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    #[default]
    Provider,
    /// Those of the call's method class alone.
    MethodClass,
}

/// The judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub class: Class,
    /// Whether what the class says of the provider's health counts.
    pub penalise: bool,
    pub scope: Scope,
}

impl Verdict {
    const fn certain(class: Class) -> Self {
        Self { class, penalise: true, scope: Scope::Provider }
    }

    /// What to do to the provider's standing.
    #[must_use]
    pub const fn health(self) -> Health {
        match self.class.health() {
            Health::Good => Health::Good,
            Health::Cooldown if self.penalise && matches!(self.scope, Scope::MethodClass) => Health::ClassCooldown,
            health if self.penalise => health,
            _ => Health::Untouched,
        }
    }
}

/// Judges a JSON-RPC error.
#[must_use]
pub fn classify(evidence: &Evidence<'_>, overrides: &[Override]) -> Verdict {
    if let Some(verdict) = overrides.iter().find_map(|rule| rule.verdict(evidence)) {
        return verdict;
    }
    if evidence.code == Some(3) || begins_as_execution(evidence.message) {
        return Verdict::certain(Class::Execution);
    }
    if let Some((class, unless)) = by_status(evidence.http_status).or_else(|| by_code(evidence.code?)) {
        let refined = sign_of_unless(evidence.message.as_bytes(), unless);
        // The code is the provider's: of two classes that it may mean, words decide, and whoever's they are is no matter
        // where neither is held against it.
        let penalise = refined.is_none_or(|refined| refined == class || !evidence.params_hold_words());
        return Verdict { penalise, ..Verdict::certain(refined.unwrap_or(class)) };
    }
    if let Some(Sign { class, strong }) = sign_of(evidence.message) {
        let callers = evidence.method.client_words || evidence.params_hold_words();
        return Verdict { penalise: strong && !callers, ..Verdict::certain(class) };
    }
    Verdict::certain(match evidence.code {
        Some(-32603) => Class::Internal,
        _ if evidence.http_status >= 500 => Class::Transport,
        _ => Class::Other,
    })
}

/// Judges a reply without a JSON-RPC body, by its status and, between a rate and a quota, by its words.
#[must_use]
pub fn classify_http(status: u16, body: &[u8]) -> Verdict {
    let Some((class, unless)) = by_status(status) else {
        return Verdict::certain(Class::Transport);
    };
    Verdict::certain(sign_of_unless(body, unless).unwrap_or(class))
}

/// The class of a code or status, and those that the message may make of it.
type Known = (Class, &'static [Class]);

fn by_status(status: u16) -> Option<Known> {
    Some(match status {
        401 | 403 => (Class::Auth, &[Class::Quota, Class::RateLimited]),
        402 => (Class::Quota, &[]),
        405 => (Class::UnsupportedMethod, &[]),
        413 => (Class::RangeTooLarge, &[]),
        // Alchemy says a used-up month with 429, too.
        429 => (Class::RateLimited, &[Class::Quota]),
        _ => return None,
    })
}

fn by_code(code: i64) -> Option<Known> {
    Some(match code {
        -32614 => (Class::RangeTooLarge, &[]),
        402 => (Class::Quota, &[]),
        // QuickNode's rates, Ankr's, dRPC's, Cloudflare's.
        429 | -32007 | -32009 | -32090 | 15 | 1015 => (Class::RateLimited, &[Class::Quota]),
        -32005 => (Class::RateLimited, &[Class::RangeTooLarge, Class::TooManyAddresses, Class::Quota]),
        401 | 403 => (Class::Auth, &[Class::Quota, Class::RateLimited]),
        // geth's "pruned history unavailable".
        4444 => (Class::MissingData, &[]),
        -32601 | -32004 => (Class::UnsupportedMethod, &[]),
        // Alchemy and Infura say a range's limit so.
        -32602 => (Class::BadParams, &[Class::RangeTooLarge, Class::TooManyAddresses]),
        _ => return None,
    })
}

fn sign_of_unless(message: &[u8], unless: &[Class]) -> Option<Class> {
    if unless.is_empty() {
        return None;
    }
    sign_of_bytes(message).map(|sign| sign.class).filter(|class| unless.contains(class))
}

impl Evidence<'_> {
    /// Whether a message's words may be the caller's own, given back. Escapes may spell any.
    #[cold]
    fn params_hold_words(&self) -> bool {
        self.params.is_some_and(|params| {
            params.len() > PARAMS_SEARCHED_BYTES_MAX || params.contains(&b'\\') || sign_within(params)
        })
    }
}

impl Override {
    fn verdict(&self, evidence: &Evidence<'_>) -> Option<Verdict> {
        let code_holds = self.code.is_none_or(|code| evidence.code == Some(code));
        let words_hold = self.contains.as_ref().is_none_or(|words| contains(evidence.message, words));
        let says_something = self.code.is_some() || self.contains.is_some();
        let callers = || {
            let written = evidence.params.map(String::from_utf8_lossy).unwrap_or_default();
            let repeats = self.contains.as_ref().is_some_and(|words| contains(&written, words));
            evidence.method.client_words || repeats || written.contains('\\')
        };
        (says_something && code_holds && words_hold).then(|| Verdict {
            class: self.class,
            penalise: self.code.is_some() || !callers(),
            scope: self.scope,
        })
    }
}

fn contains(message: &str, words: &str) -> bool {
    words.is_empty() || message.as_bytes().windows(words.len()).any(|part| part.eq_ignore_ascii_case(words.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::method::info;
    use super::super::signs::tests::all_patterns;
    use super::*;

    const LOGS: &str = "eth_getLogs";
    const CALL: &str = "eth_call";
    const READ: &str = "eth_getBalance";
    const SEND: &str = "eth_sendRawTransaction";

    fn judge(http_status: u16, code: impl Into<Option<i64>>, message: &str, method: &str) -> Verdict {
        classify(&Evidence { http_status, code: code.into(), message, method: info(method), params: None }, &[])
    }

    type Row = (Class, u16, i64, &'static str, &'static str);

    /// What was seen: class, HTTP status, code, method, message. Who said it stands above.
    #[rustfmt::skip]
    const SEEN: &[Row] = &[
        // geth, erigon, reth, Nethermind, Besu, OpenEthereum, Hardhat, Ganache
        (Class::Execution, 200, 3, CALL, "execution reverted: ERC20: transfer amount exceeds balance"),
        (Class::Execution, 200, -32000, CALL, "execution reverted"),
        (Class::Execution, 200, -32015, CALL, "VM execution error."),
        (Class::Execution, 200, -32603, CALL, "Error: VM Exception while processing transaction: reverted with reason string 'x'"),
        (Class::Execution, 200, -32000, CALL, "VM Exception while processing transaction: revert"),
        (Class::Execution, 500, -32000, CALL, "execution reverted"),
        (Class::Execution, 200, -32000, "eth_estimateGas", "gas required exceeds allowance (30000000)"),
        (Class::Execution, 200, -32000, SEND, "insufficient funds for gas * price + value: balance 0, tx cost 21000, overshot 21000"),
        (Class::Execution, 200, -32000, CALL, "out of gas"),
        (Class::Execution, 200, -32000, CALL, "invalid opcode: opcode 0xfe not defined"),
        (Class::Execution, 200, -32003, CALL, "intrinsic gas too high -- CallGasCostMoreThanGasLimit"),
        (Class::Execution, 200, -32000, SEND, "intrinsic gas too low: gas 20000, minimum needed 21000"),
        (Class::Execution, 200, -32000, SEND, "exceeds block gas limit"),
        // Alchemy
        (Class::RangeTooLarge, 200, -32602, LOGS, "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on the response size, or you can request any block range with a cap of 10K logs in the response. Based on your parameters and the response size limit, this block range should work: [0x0, 0x87fe9]"),
        (Class::RangeTooLarge, 400, -32600, LOGS, "You can make eth_getLogs requests with up to a 500 block range. Based on your parameters, this block range should work: [0x123c9b2, 0x123cba5]"),
        // Infura
        (Class::RangeTooLarge, 200, -32005, LOGS, "query returned more than 10000 results. Try with this block range [0x1, 0x2]."),
        (Class::RangeTooLarge, 200, -32602, LOGS, "range 1000000 exceeds limit of 10000"),
        // QuickNode
        (Class::RangeTooLarge, 413, -32614, LOGS, "eth_getLogs is limited to a 10,000 range"),
        (Class::RangeTooLarge, 200, -32614, LOGS, "eth_getLogs is limited to a 5 range"),
        // dRPC, Ankr, BSC, Polygon, Morph, PublicNode, erigon, reth
        (Class::RangeTooLarge, 400, 35, LOGS, "ranges over 10000 blocks are not supported on freetier"),
        (Class::RangeTooLarge, 200, -32600, LOGS, "block range is too wide"),
        (Class::RangeTooLarge, 200, -32000, LOGS, "exceed maximum block range: 50000"),
        (Class::RangeTooLarge, 200, -32005, LOGS, "eth_getLogs block range too large, range: 855077, max: 3500"),
        (Class::RangeTooLarge, 200, -32000, LOGS, "block range is larger than max block range, block range = 5120, max block range = 5000"),
        (Class::RangeTooLarge, 200, -32000, LOGS, "block range too large (2500), maximum allowed is 2000 blocks"),
        (Class::RangeTooLarge, 200, -32602, LOGS, "query exceeds max results 20000, retry with the range 100-200"),
        (Class::RangeTooLarge, 200, -32602, LOGS, "query exceeds max block range 100000"),
        (Class::RangeTooLarge, 200, -32000, LOGS, "logs matched by query exceeds limit of 10000"),
        (Class::RangeTooLarge, 200, -32005, LOGS, "Limit exceeded: Query requested more than 10.000 blocks"),
        (Class::RangeTooLarge, 200, -32000, LOGS, "query timeout exceeded. Consider reducing your block range."),
        (Class::RangeTooLarge, 200, -32008, "debug_traceBlockByNumber", "Response is too big"),
        // PublicNode, geth
        (Class::TooManyAddresses, 200, -32701, LOGS, "Please specify less number of addresses"),
        (Class::TooManyAddresses, 200, -32602, LOGS, "exceed max addresses or topics per search position"),
        (Class::TooManyAddresses, 200, -32005, LOGS, "too many addresses in filter"),
        // Alchemy, dRPC, Infura, QuickNode
        (Class::Quota, 429, 429, READ, "Monthly capacity limit exceeded. Visit https://dashboard.alchemyapi.io/settings/billing to upgrade your scaling policy for continued service."),
        (Class::Quota, 200, 429, READ, "Monthly capacity limit exceeded."),
        (Class::Quota, 403, 0, READ, "You've reached the free tier limit"),
        (Class::Quota, 402, -32000, READ, "Payment Required"),
        (Class::Quota, 200, 402, CALL, "x"),
        (Class::Quota, 429, -32005, READ, "daily request count exceeded, request rate limited"),
        (Class::Quota, 200, -32003, READ, "daily request limit reached - upgrade your account at quicknode.com"),
        (Class::Quota, 200, -32000, READ, "please upgrade your plan"),
        // Alchemy, Infura, QuickNode, dRPC, Ankr, Cloudflare, Chainstack
        (Class::RateLimited, 429, 429, CALL, "Your app has exceeded its compute units per second capacity. If you have retries enabled, you can safely ignore this message."),
        (Class::RateLimited, 200, -32005, CALL, "project ID request rate exceeded"),
        (Class::RateLimited, 200, -32005, CALL, "rate limit exceeded"),
        (Class::RateLimited, 200, -32007, CALL, "50/second request limit reached - reduce calls per second or upgrade your account at quicknode.com"),
        (Class::RateLimited, 200, -32009, CALL, "trace requests limited to 10/second"),
        (Class::RateLimited, 429, -32007, CALL, "300/second request limit reached, please upgrade your plan"),
        (Class::RateLimited, 200, -32001, READ, "Exceeded the quota usage"),
        (Class::RateLimited, 200, 15, CALL, "Too many request, try again later"),
        (Class::RateLimited, 200, -32090, CALL, "Too many requests, reason: call rate limit exhausted, retry in 10s"),
        (Class::RateLimited, 200, 1015, CALL, "Rate limited"),
        (Class::RateLimited, 429, -32000, CALL, "anything"),
        (Class::RateLimited, 200, -32000, READ, "You've exceeded the RPS limit available on the current plan."),
        (Class::RateLimited, 200, -32016, READ, "over rate limit"),
        // Alchemy, Infura, QuickNode
        (Class::Auth, 401, -32600, READ, "Must be authenticated!"),
        (Class::Auth, 200, -32000, READ, "Must be authenticated!"),
        (Class::Auth, 401, -32002, READ, "invalid project id"),
        (Class::Auth, 403, -32052, CALL, "API key is not allowed to access blockchain"),
        (Class::Auth, 200, -32000, READ, "App's key is inactive"),
        (Class::Auth, 200, -32000, READ, "Invalid API key"),
        (Class::Auth, 403, -32601, READ, "x"),
        // geth, erigon, Nethermind, reth, Besu, OpenEthereum, Avalanche, Infura
        (Class::MissingData, 200, -32000, READ, "missing trie node 0123 (path ) state 0x0123 is not available, not found"),
        (Class::MissingData, 200, -32000, READ, "header not found"),
        (Class::MissingData, 200, -32000, READ, "header for hash not found, block not found"),
        (Class::MissingData, 200, -39001, READ, "Unknown block"),
        (Class::MissingData, 200, -32000, READ, "historical state 0x12 is not available"),
        (Class::MissingData, 200, -32000, READ, "required historical state unavailable (reexec=128)"),
        (Class::MissingData, 200, 4444, READ, "pruned history unavailable"),
        (Class::MissingData, 200, -32000, LOGS, "old data not available due to pruning"),
        (Class::MissingData, 200, -32002, READ, "No state available for block 0xabc"),
        (Class::MissingData, 200, -32000, READ, "state at block #1 is pruned"),
        (Class::MissingData, 200, -32000, READ, "World state unavailable"),
        (Class::MissingData, 200, -32000, READ, "This request is not supported because your node is running with state pruning. Run with --pruning=archive."),
        (Class::MissingData, 200, -32000, READ, "cannot query unfinalized data"),
        (Class::MissingData, 200, -32002, READ, "project ID does not have access to archive state"),
        (Class::MissingData, 200, -32000, "debug_traceTransaction", "transaction not found"),
        // geth, Nethermind, Besu, OpenEthereum
        (Class::AlreadyKnown, 200, -32000, SEND, "already known"),
        (Class::AlreadyKnown, 200, -32010, SEND, "AlreadyKnown"),
        (Class::AlreadyKnown, 400, -32000, SEND, "Known transaction"),
        (Class::AlreadyKnown, 200, -32603, SEND, "Known transaction (3b7baba5)"),
        (Class::AlreadyKnown, 200, -32010, SEND, "Transaction with the same hash was already imported."),
        (Class::AlreadyKnown, 200, -32603, SEND, "tx already in mempool"),
        // geth, Nethermind, Besu
        (Class::TransactionPolicy, 200, -32000, SEND, "nonce too low: next nonce 5, tx nonce 4"),
        (Class::TransactionPolicy, 200, -32000, SEND, "replacement transaction underpriced"),
        (Class::TransactionPolicy, 200, -32000, SEND, "transaction underpriced: tip needed 1000000000, tip permitted 1"),
        (Class::TransactionPolicy, 200, -32010, SEND, "FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 1"),
        (Class::TransactionPolicy, 200, -32010, SEND, "OldNonce, Current nonce: 5, nonce of rejected tx: 4"),
        (Class::TransactionPolicy, 200, -32000, SEND, "max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1, baseFee: 7"),
        (Class::TransactionPolicy, 200, -32000, SEND, "tx fee (1.05 ether) exceeds the configured cap (1.00 ether)"),
        (Class::TransactionPolicy, 200, -32000, SEND, "transaction type not supported"),
        // geth, Alchemy, Infura, QuickNode, Besu, dRPC
        (Class::UnsupportedMethod, 200, -32601, "trace_block", "the method trace_block does not exist/is not available"),
        (Class::UnsupportedMethod, 200, -32600, READ, "Unsupported method: eth_x. See available methods at https://docs.alchemy.com/alchemy/documentation/apis"),
        (Class::UnsupportedMethod, 405, -32000, READ, "x"),
        (Class::UnsupportedMethod, 200, -32004, READ, "method not supported"),
        (Class::UnsupportedMethod, 200, -32601, "trace_block", "rate limit exceeded: the method is a client's word"),
        (Class::UnsupportedMethod, 200, -32604, READ, "Method not enabled"),
        (Class::UnsupportedMethod, 200, -32000, READ, "rpc method is not whitelisted"),
        (Class::UnsupportedMethod, 400, 12, READ, "method is not available on freetier, please upgrade to paid tier"),
        // geth, reth
        (Class::BadParams, 200, -32602, READ, "invalid argument 0: json: cannot unmarshal hex string without 0x prefix into Go value of type common.Address"),
        (Class::BadParams, 200, -32602, READ, "rate limit exceeded, says the caller's param"),
        (Class::BadParams, 200, -32000, SEND, "rlp: expected input list for types.LegacyTx"),
        (Class::BadParams, 200, -32000, SEND, "failed to decode signed transaction"),
        (Class::BadParams, 200, -32000, LOGS, "invalid block range params"),
        (Class::BadParams, 200, -32000, SEND, "invalid sender"),
        // geth, dRPC
        (Class::NodeTimeout, 200, -32002, READ, "request timed out"),
        (Class::NodeTimeout, 200, -32000, "debug_traceTransaction", "execution timeout"),
        (Class::NodeTimeout, 200, -32000, CALL, "execution aborted (timeout = 5s)"),
        (Class::NodeTimeout, 200, -32000, READ, "context deadline exceeded"),
        (Class::NodeTimeout, 408, 30, READ, "Request timeout on the free tier, please upgrade your tier to the paid one"),
        // Gateways
        (Class::Transport, 503, -32000, READ, "no nodes"),
        (Class::Transport, 502, 0, READ, ""),
        (Class::Transport, 200, -32603, READ, "502 Bad Gateway"),
        (Class::Internal, 200, -32603, READ, "Internal error"),
        (Class::Internal, 500, -32603, READ, "Internal error"),
        (Class::Other, 200, -32000, READ, "something new"),
        (Class::Other, 400, -32000, READ, ""),
        (Class::Other, 200, -32000, CALL, "method handler crashed"),
    ];

    #[test]
    fn what_providers_say() {
        for &(class, status, code, method, message) in SEEN {
            assert_eq!(judge(status, code, message, method).class, class, "{status} {code} {message}");
        }
        for class in Class::ALL {
            assert!(SEEN.iter().any(|row| row.0 == class), "no message of {class:?}");
        }
    }

    /// A caller chooses the text of its revert: every phrase that means something, in every spelling of a revert.
    #[test]
    fn a_reverts_text_harms_no_provider() {
        let phrases: Vec<&str> = all_patterns().chain(SEEN.iter().map(|row| row.4)).collect();
        let everything = phrases.join("; ");
        let methods = [CALL, "eth_estimateGas", "eth_createAccessList", "debug_traceCall", "trace_call", "foo_bar"];
        for phrase in phrases.into_iter().chain([everything.as_str()]) {
            for (code, begin) in [
                (3, "execution reverted: "),
                (3, ""),
                (-32000, "execution reverted: "),
                (-32015, "VM execution error: "),
                (-32603, "Error: VM Exception while processing transaction: reverted with reason string "),
            ] {
                for method in methods {
                    let verdict = judge(200, code, &format!("{begin}{phrase}"), method);
                    assert_eq!(verdict.class, Class::Execution, "{code} {begin}{phrase}");
                    assert_eq!(verdict.health(), Health::Good);
                }
            }
            // A node that shows the bare reason, behind a code that says nothing.
            for (code, method) in [-32000, -32015, 0].into_iter().flat_map(|code| methods.map(|method| (code, method)))
            {
                let verdict = judge(200, code, phrase, method);
                assert!(matches!(verdict.health(), Health::Good | Health::Untouched), "{method} {phrase}: {verdict:?}");
            }
        }
    }

    #[test]
    fn words_count_where_the_caller_has_none() {
        for (status, code, message, method, health) in [
            (200, -32000, "rate limit", READ, Health::Cooldown),
            (200, -32000, "rate limit", CALL, Health::Untouched),
            (200, -32000, "rate limit", "foo_unknown", Health::Untouched),
            (200, -32005, "rate limit", CALL, Health::Cooldown),
            (429, -32000, "rate limit", CALL, Health::Cooldown),
            (200, -32000, "monthly capacity limit", READ, Health::Park),
            (200, -32000, "method not found", READ, Health::LosesMethod),
            (200, -32601, "x", CALL, Health::LosesMethod),
            // Of what, it does not say; a param may have asked for it.
            (200, -32000, "this is not supported", READ, Health::Untouched),
            (200, -32000, "request timed out", READ, Health::Slow),
            (200, -32000, "request timed out", "debug_traceCall", Health::Untouched),
            (200, -32603, "oops", CALL, Health::Slow),
            (403, -32000, "x", CALL, Health::Suspect),
            (503, -32000, "x", CALL, Health::Failure),
        ] {
            assert_eq!(judge(status, code, message, method).health(), health, "{status} {code} {message} {method}");
        }
    }

    #[test]
    fn words_that_the_params_hold_are_not_the_providers() {
        let contains = Some("house is full".to_owned());
        let rules = [Override { code: None, contains, class: Class::RateLimited, scope: Scope::Provider }];
        for (code, message, params, class, health) in [
            (-32000, "rate limit", r#"["0xa","latest"]"#, Class::RateLimited, Health::Cooldown),
            (-32000, "cannot read \"rate limit\"", r#"["rate limit","latest"]"#, Class::RateLimited, Health::Untouched),
            (-32000, "cannot read \"rate limit\"", r#"["\u0072ate limit"]"#, Class::RateLimited, Health::Untouched),
            (-32000, "invalid api key", r#"["Rate Limit"]"#, Class::Auth, Health::Untouched),
            (
                -32602,
                "invalid argument: \"block range\"",
                r#"["block range"]"#,
                Class::RangeTooLarge,
                Health::Untouched,
            ),
            (-32005, "slow down", r#"["rate limit"]"#, Class::RateLimited, Health::Cooldown),
            (-32005, "daily limit", r#"["0xa"]"#, Class::Quota, Health::Park),
            (-32005, "daily limit", r#"["daily limit"]"#, Class::Quota, Health::Untouched),
            (-32000, "The house is full", r#"["0xa"]"#, Class::RateLimited, Health::Cooldown),
            (-32000, "The house is full", r#"["house is FULL"]"#, Class::RateLimited, Health::Untouched),
        ] {
            let params = Some(params.as_bytes());
            let evidence = Evidence { http_status: 200, code: Some(code), message, method: info(READ), params };
            let verdict = classify(&evidence, &rules);
            assert_eq!((verdict.class, verdict.health()), (class, health), "{code} {message} {params:?}");
        }
        let long = format!("[\"0x{}\"]", "0".repeat(PARAMS_SEARCHED_BYTES_MAX));
        let method = info(SEND);
        let params = Some(long.as_bytes());
        let evidence = Evidence { http_status: 200, code: Some(-32000), message: "rate limit", method, params };
        assert!(!classify(&evidence, &[]).penalise, "too long to be searched");
    }

    #[test]
    fn overrides_come_first() {
        let rule = |code, contains: Option<&str>, class| Override {
            code,
            contains: contains.map(str::to_owned),
            class,
            scope: Scope::Provider,
        };
        let rules = [
            rule(None, None, Class::Auth),
            rule(Some(-32099), None, Class::Quota),
            rule(Some(3), Some("Come BACK"), Class::RateLimited),
            rule(None, Some("house is full"), Class::RateLimited),
        ];
        for (code, message, method, class, penalise) in [
            (-32099, "x", CALL, Class::Quota, true),
            (3, "please come back", CALL, Class::RateLimited, true),
            (3, "reverted", CALL, Class::Execution, true),
            (-32000, "The House Is Full", READ, Class::RateLimited, true),
            (-32000, "The House Is Full", CALL, Class::RateLimited, false),
            (-32000, "x", READ, Class::Other, true),
        ] {
            let verdict = classify(
                &Evidence { http_status: 200, code: Some(code), message, method: info(method), params: None },
                &rules,
            );
            assert_eq!((verdict.class, verdict.penalise), (class, penalise), "{code} {message}");
        }
        assert_eq!(judge(200, None, "", READ).class, Class::Other);
    }

    #[test]
    fn an_override_may_say_that_a_class_alone_is_limited() {
        let rule =
            Override { code: Some(-32009), contains: None, class: Class::RateLimited, scope: Scope::MethodClass };
        let health = |rule: &Override, code| {
            let method = info("trace_block");
            let evidence = Evidence { http_status: 429, code: Some(code), message: "", method, params: None };
            classify(&evidence, std::slice::from_ref(rule)).health()
        };
        assert_eq!(health(&rule, -32009), Health::ClassCooldown);
        assert_eq!(health(&rule, -32007), Health::Cooldown, "another code");
        let words = Override { code: None, contains: Some("trace".to_owned()), ..rule };
        let evidence = Evidence {
            http_status: 200,
            code: None,
            message: "trace calls",
            method: info("trace_block"),
            params: None,
        };
        assert_eq!(classify(&evidence, &[words]).health(), Health::Untouched, "the caller's words");
    }

    #[test]
    fn replies_without_a_json_rpc_body() {
        for (status, body, class) in [
            (429, "Too Many Requests", Class::RateLimited),
            (429, "error code: 1015", Class::RateLimited),
            (429, "Monthly capacity limit exceeded", Class::Quota),
            (402, "", Class::Quota),
            (401, "", Class::Auth),
            (403, "<html>Forbidden</html>", Class::Auth),
            (403, "you have reached the free tier limit", Class::Quota),
            (405, "", Class::UnsupportedMethod),
            (413, "", Class::RangeTooLarge),
            (500, "rate limit", Class::Transport),
            (502, "<html>", Class::Transport),
            (404, "404 page not found", Class::Transport),
            (302, "", Class::Transport),
            (200, "<html></html>", Class::Transport),
            (200, "", Class::Transport),
            (204, "", Class::Transport),
        ] {
            assert_eq!(classify_http(status, body.as_bytes()), Verdict::certain(class), "{status} {body}");
        }
    }
}
