//! What the words of a provider's error point to: all patterns in one pass over the message.
//!
//! The list is in order of precedence: of all signs that occur in a message, the one of the earliest group counts,
//! wherever in the message it stands. Mostly that is the order of the classes; an exception stands where one phrase
//! lies within another of a different meaning ("unknown transaction", "gas limit exceeded").
//!
//! Case does not count. The patterns come from the nodes' sources and from errors seen of the large providers.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::failure::Class;
use crate::limits::ERROR_MESSAGE_SEARCHED_BYTES_MAX;

/// What a message's words point to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sign {
    pub(super) class: Class,
    /// The phrase names what it is about. Weak ones ("not supported": what?) are never held against a provider.
    pub(super) strong: bool,
}

const fn strong(class: Class) -> Sign {
    Sign { class, strong: true }
}

const fn weak(class: Class) -> Sign {
    Sign { class, strong: false }
}

/// How an execution error begins. Anchored: what follows is of the caller's choosing.
const EXECUTION_BEGINS: [&str; 7] = [
    "execution reverted",
    "vm exception",
    "vm execution error",
    "error: vm exception",
    "reverted",
    "transaction reverted",
    "transaction execution fails",
];

#[rustfmt::skip]
static GROUPS: [(Sign, &[&str]); 16] = [
    (strong(Class::Execution), &[
        "out of gas", "intrinsic gas too", "gas required exceeds", "insufficient funds", "invalid opcode",
        "stack underflow", "stack limit reached", "invalid jump destination", "max initcode size exceeded",
        // Before "limit exceeded": a block's or a call's gas is nobody's rate.
        "gas limit",
    ]),
    // Before "block range": the end lies before the beginning.
    (strong(Class::BadParams), &["invalid block range"]),
    (strong(Class::RangeTooLarge), &[
        "block range", "blockrange", "blocks range", "blocks distance", "too many blocks", "number of requested blocks",
        "must be smaller than size", "range limit", "range too large", "range is too large", "ranges over", "max range",
        "exceeds the range", "limited to a", "limited to 0", "returned more than", "requested more than",
        "exceeds max results", "query exceeds limit", "exceeds limit of", "limit the query to", "try paginating",
        "is too big", "response size exceeded", "response size should not", "response too large", "too large, max is",
    ]),
    (strong(Class::TooManyAddresses), &[
        "specify less number of address", "addresses or topics per search position", "too many addresses", "too many topics",
        "exceed max topics",
    ]),
    (strong(Class::Quota), &[
        "monthly capacity limit", "monthly limit", "monthly quota", "reached the free tier", "/billing",
        "daily request count exceeded", "daily request limit", "daily limit", "payment required",
    ]),
    (strong(Class::RateLimited), &[
        "exceeded the quota usage", "too many request", "rate limit", "rate-limit", "limit exceeded", "request limit reached",
        "requests limited to", "credits limited to", "compute units per second", "rps limit", "request rate exceeded",
        "under too much load",
    ]),
    // After the rates: those that are hit suggest a larger plan, too.
    (strong(Class::Quota), &["upgrade your plan"]),
    (strong(Class::Auth), &[
        "invalid api key", "must be authenticated", "key is inactive", "invalid project id", "unauthorized", "token is invalid",
        "rejected due to project id settings",
    ]),
    (strong(Class::MissingData), &[
        "missing trie node", "header not found", "unknown block", "block not found", "historical state", "no state available",
        "prun", "world state unavailable", "state is not available", "cannot query unfinalized", "after last accepted block",
        "archive", "transaction not found", "state histories", "state 0x", "header range not found",
        // Before "known transaction".
        "unknown transaction",
    ]),
    (strong(Class::AlreadyKnown), &[
        "already known", "alreadyknown", "known transaction", "already imported", "already in mempool", "already in the mempool",
    ]),
    (strong(Class::TransactionPolicy), &[
        "nonce too", "oldnonce", "noncegap", "underpriced", "fee too low", "feetoolow", "less than block base fee",
        "max priority fee per gas higher", "could not replace existing tx", "exceeds the configured cap", "nonce has already been used",
        // Before "not supported": the transaction's, not the method's.
        "transaction type", "tx type",
    ]),
    (strong(Class::UnsupportedMethod), &[
        "method not found", "method not supported", "method is not supported", "unsupported method", "not whitelisted",
        "is not available on", "is not included in your current plan", "does not exist/is not available", "method not enabled", "method is disabled",
    ]),
    (weak(Class::UnsupportedMethod), &["not supported"]),
    (strong(Class::BadParams), &[
        "invalid argument", "invalid param", "invalid parameter", "missing value for required argument", "cannot unmarshal",
        "rlp: ", "rlp error", "failed to decode", "invalid sender", "invalid chain id", "invalid signature",
    ]),
    (strong(Class::NodeTimeout), &[
        "request timed out", "execution timeout", "context deadline", "execution aborted", "request timeout",
        "query timeout", "timeout exceeded", "due to enabled timeout",
    ]),
    // nginx, Envoy and cloud balancers, put into an error by a gateway.
    (weak(Class::Transport), &["bad gateway", "service unavailable", "gateway timeout", "no available upstream", "can't route your request",
        "no backend is currently healthy"]),
];

struct Matcher {
    automaton: AhoCorasick,
    /// Of each pattern, the number of its group.
    groups: Vec<usize>,
}

static MATCHER: LazyLock<Matcher> = LazyLock::new(|| {
    let patterns = GROUPS.iter().enumerate().flat_map(|(n, (_, words))| words.iter().map(move |word| (n, *word)));
    let (groups, words): (Vec<usize>, Vec<&str>) = patterns.unzip();
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .kind(Some(AhoCorasickKind::ContiguousNFA))
        .build(words)
        .expect("a few hundred short patterns are within every limit of the automaton");
    Matcher { automaton, groups }
});

/// The sign of the highest precedence in a message, if any.
pub(super) fn sign_of(message: &str) -> Option<Sign> {
    sign_of_bytes(message.as_bytes())
}

/// The same for what may not be text: a page, a truncated body.
pub(super) fn sign_of_bytes(message: &[u8]) -> Option<Sign> {
    let searched = &message[..message.len().min(ERROR_MESSAGE_SEARCHED_BYTES_MAX)];
    let matcher = &*MATCHER;
    let found =
        matcher.automaton.find_overlapping_iter(searched).map(|found| matcher.groups[found.pattern().as_usize()]);
    found.min().map(|group| GROUPS[group].0)
}

/// Whether any sign stands anywhere in a text.
pub(super) fn sign_within(text: &[u8]) -> bool {
    MATCHER.automaton.find_overlapping_iter(text).next().is_some()
}

/// Whether the message is an execution error's by its beginning.
pub(super) fn begins_as_execution(message: &str) -> bool {
    let message = message.trim_start().as_bytes();
    EXECUTION_BEGINS
        .iter()
        .any(|begin| message.get(..begin.len()).is_some_and(|m| m.eq_ignore_ascii_case(begin.as_bytes())))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every pattern, for whoever wants to put them into a caller's mouth.
    pub(in super::super) fn all_patterns() -> impl Iterator<Item = &'static str> {
        GROUPS.iter().flat_map(|(_, words)| words.iter().copied())
    }

    #[test]
    fn every_pattern_is_found_in_its_own_group_or_an_earlier_one() {
        for (sign, words) in &GROUPS {
            for word in *words {
                let found = sign_of(&format!("Xx {} yY", word.to_uppercase())).unwrap();
                assert_eq!(found, *sign, "{word}");
            }
        }
    }

    #[test]
    fn precedence_is_by_group_and_not_by_place() {
        for (message, class) in [
            ("unknown transaction", Class::MissingData),
            ("known transaction: abc", Class::AlreadyKnown),
            ("exceeds block gas limit exceeded", Class::Execution),
            ("invalid block range params", Class::BadParams),
            ("rate limit reached, upgrade your plan", Class::RateLimited),
            ("upgrade your plan", Class::Quota),
            ("transaction type not supported", Class::TransactionPolicy),
        ] {
            assert_eq!(sign_of(message).map(|sign| sign.class), Some(class), "{message}");
        }
        assert_eq!(sign_of("all is well"), None);
        assert_eq!(sign_of(""), None);
    }

    #[test]
    fn only_the_head_of_a_message_is_searched() {
        let late = format!("{}rate limit", " ".repeat(ERROR_MESSAGE_SEARCHED_BYTES_MAX));
        assert_eq!(sign_of(&late), None);
    }
}
