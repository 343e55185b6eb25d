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

/// Judges a reply without a JSON-RPC body, by its status and, between a rate and a quota, by its words. `params`: what the
/// caller wrote, which a firewall's page may repeat.
#[must_use]
pub fn classify_http(status: u16, body: &[u8], params: Option<&[u8]>) -> Verdict {
    let Some((class, unless)) = by_status(status) else {
        return Verdict::certain(Class::Transport);
    };
    let refined = sign_of_unless(body, unless);
    let penalise = refined.is_none_or(|refined| refined == class || !hold_words(params));
    Verdict { penalise, ..Verdict::certain(refined.unwrap_or(class)) }
}

/// The class of a code or status, and those that the message may make of it.
type Known = (Class, &'static [Class]);

fn by_status(status: u16) -> Option<Known> {
    Some(match status {
        // Gateways refuse methods so, too.
        401 | 403 => (Class::Auth, &[Class::Quota, Class::RateLimited, Class::UnsupportedMethod]),
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
        429 | -32007 | -32009 | -32012 | -32090 | 15 | 1015 => (Class::RateLimited, &[Class::Quota]),
        -32005 => (
            Class::RateLimited,
            // The last is Infura's word on a query that it gave up.
            &[Class::RangeTooLarge, Class::TooManyAddresses, Class::Quota, Class::NodeTimeout],
        ),
        401 | 403 => (Class::Auth, &[Class::Quota, Class::RateLimited]),
        // geth's "pruned history unavailable".
        4444 => (Class::MissingData, &[]),
        // The latter two are QuickNode's: a trace that the plan does not have.
        -32601 | -32004 | -32612 | -32613 => (Class::UnsupportedMethod, &[]),
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
        hold_words(self.params)
    }
}

fn hold_words(params: Option<&[u8]>) -> bool {
    params.is_some_and(|params| {
        params.len() > PARAMS_SEARCHED_BYTES_MAX || params.contains(&b'\\') || sign_within(params)
    })
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

    const CALL: &str = "eth_call";
    const READ: &str = "eth_getBalance";
    const SEND: &str = "eth_sendRawTransaction";

    fn judge(http_status: u16, code: impl Into<Option<i64>>, message: &str, method: &str) -> Verdict {
        classify(&Evidence { http_status, code: code.into(), message, method: info(method), params: None }, &[])
    }

    /// A line of the taxonomy's file.
    struct Row {
        class: Class,
        vendor: &'static str,
        status: u16,
        code: i64,
        method: &'static str,
        message: &'static str,
    }

    const FILE: &str = include_str!("taxonomy.txt");
    /// Those of whom every row must have a word, or be known to have none.
    const VENDORS: [&str; 9] =
        ["alchemy", "infura", "quicknode", "drpc", "ankr", "geth", "erigon", "nethermind", "reth"];

    fn lines() -> impl Iterator<Item = &'static str> {
        FILE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
    }

    fn seen() -> impl Iterator<Item = Row> {
        lines().filter(|line| !line.starts_with("none ")).map(|line| {
            let parts: Vec<&str> = line.splitn(6, " | ").collect();
            let [class, vendor, status, code, method, message] = parts[..] else { panic!("six parts: {line}") };
            let class = Class::from_name(class).unwrap_or_else(|| panic!("a class: {line}"));
            Row { class, vendor, status: status.parse().unwrap(), code: code.parse().unwrap(), method, message }
        })
    }

    #[test]
    fn what_providers_say() {
        let wrong: Vec<String> = seen()
            .filter_map(|row| {
                let found = judge(row.status, row.code, row.message, row.method).class;
                let Row { class, vendor, status, code, message, .. } = row;
                (found != class).then(|| format!("{found:?}, not {class:?}: {vendor} {status} {code} {message}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_row_has_every_vendors_words_or_says_that_there_are_none() {
        let none: Vec<(Class, &str)> = lines()
            .filter_map(|line| line.strip_prefix("none ")?.split_once(" | "))
            .flat_map(|(class, vendors)| {
                let class = Class::from_name(class).unwrap();
                vendors.split(' ').map(move |vendor| (class, vendor))
            })
            .collect();
        for class in Class::ALL {
            for vendor in VENDORS {
                let has = seen().any(|row| row.class == class && row.vendor == vendor);
                assert!(has != none.contains(&(class, vendor)), "{class:?} of {vendor}");
            }
        }
    }

    #[test]
    fn every_pattern_is_somebodys_words() {
        let missing: Vec<&str> = all_patterns()
            .filter(|pattern| !seen().any(|row| row.message.to_ascii_lowercase().contains(pattern)))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// A caller chooses the text of its revert: every phrase that means something, in every spelling of a revert.
    #[test]
    fn a_reverts_text_harms_no_provider() {
        let phrases: Vec<&str> = all_patterns().chain(seen().map(|row| row.message)).collect();
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
            assert_eq!(classify_http(status, body.as_bytes(), None), Verdict::certain(class), "{status} {body}");
        }
    }

    #[test]
    fn a_page_that_repeats_the_callers_words_is_not_held_against_the_provider() {
        // What the caller wrote, what the page says → whether it counts.
        let cases = [
            (403, "method not supported", "blocked: method not supported", false),
            (429, "monthly capacity limit", "blocked: monthly capacity limit", false),
            (429, "0xaa", "monthly capacity limit", true),
            (429, "monthly capacity limit", "slow down", true),
            (403, "too many requests", "no", true),
        ];
        for (status, params, body, penalise) in cases {
            let verdict = classify_http(status, body.as_bytes(), Some(params.as_bytes()));
            assert_eq!(verdict.penalise, penalise, "{status} {params} {body}");
        }
    }
}
