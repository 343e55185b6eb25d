//! The table of provider errors: each row's literal words, as providers send them, over real sockets.
//!
//! Two providers, the first preferred. What the table says of a row is seen from outside: whether the second one is
//! asked, what the client gets when both say the same, and whether the first is still asked for the call after it.
//! Every row has two chains of its own in one node, so that no row's standing touches another's.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and reports what it measured")]

mod support;

use std::time::{Duration, Instant};

use support::{Answer, Chain, Node, PATIENCE, Provider, Reply, Seen, Setup, eventually, json};

/// What happens to a call that gets this answer from the first provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    /// The client gets it.
    Return,
    /// The second provider is asked.
    FailOver,
    /// Depends on what is known of the second; the client gets one or the other.
    Either,
}

/// What the client gets when every provider says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum All {
    /// The provider's own words, byte for byte.
    Relayed,
    /// Our own error with this code, under this status, and none of the provider's words.
    Own(u16, i64),
    /// An error with this code, ours or theirs.
    Code(i64),
}

/// Whether the provider is asked for the next call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Asked,
    Rested,
    /// Not at once perhaps, but again when it answers well.
    Soon,
}

/// One answer of a provider, and all that must follow from it.
struct Row {
    method: &'static str,
    status: u16,
    /// An error object, or any other body.
    says: &'static str,
    then: Then,
    all: All,
    next: Next,
}

const NO_PROVIDER: All = All::Own(503, -32002);
/// A signed transaction, and the hash that ethers computes of it.
const RAW: &str = "0x02f862010501648252089400000000000000000000000000000000000000a10180c001a0f8aa8e94721b328997127cf0e8\
    f309be151849f08d1c3d53de110ade9f1bb75da040ab696c5f89681b381b59396a8e9e2c24e90de81a4efa2a489b794f6d6b9d5e";
const HASH: &str = "\"0xdc36604f5bab0e1410feba2291c283541df765043648e4095c2b21c594eb3762\"";

fn rows(method: &'static str, then: Then, all: All, next: Next, says: &[(u16, &'static str)]) -> Vec<Row> {
    says.iter().map(|(status, says)| Row { method, status: *status, says, then, all, next }).collect()
}

fn reply(call: &Seen, status: u16, says: &str) -> Reply {
    if says.starts_with('{') {
        Reply::status(status, format!(r#"{{"jsonrpc":"2.0","id":{},"error":{says}}}"#, call.id()))
    } else {
        Reply::status(status, says).field("Content-Type: text/html")
    }
}

fn params(method: &str) -> String {
    match method {
        "eth_sendRawTransaction" => format!("[\"{RAW}\"]"),
        "eth_call" | "eth_estimateGas" => {
            r#"[{"to":"0x00000000000000000000000000000000000000aa"},"latest"]"#.to_owned()
        }
        "eth_getLogs" => r#"[{"fromBlock":"0x1","toBlock":"0xffff"}]"#.to_owned(),
        _ => r#"["0x00000000000000000000000000000000000000aa","latest"]"#.to_owned(),
    }
}

/// A row's two chains: one whose second provider is honest, one where both say the same.
struct Trial {
    row: Row,
    first: Provider,
    second: Provider,
    same: [Provider; 2],
}

impl Trial {
    fn new(row: Row) -> Self {
        let (status, says) = (row.status, row.says);
        let says_so = move || Provider::start(move |call| reply(call, status, says));
        let second = Provider::answering("\"second\"");
        Self { row, first: says_so(), second, same: [says_so(), says_so()] }
    }

    fn chains(&self, n: usize) -> [Chain; 2] {
        let id = 1000 + 2 * n as u64;
        let chain = |name: &str, id, a: &Provider, b: &Provider| {
            Chain::new(&format!("{name}{n}"), id).provider("alpha", &a.url()).provider("beta", &b.url())
        };
        [chain("one", id, &self.first, &self.second), chain("all", id + 1, &self.same[0], &self.same[1])]
    }

    fn check(&self, node: &Node, n: usize) -> Result<(), String> {
        let body = json::call(self.row.method, &params(self.row.method));
        let one = node.post(&format!("/rpc/one{n}"), &body);
        self.check_one(&one)?;
        self.check_next(node, n)?;
        self.check_all(&node.post(&format!("/rpc/all{n}"), &body))
    }

    fn check_one(&self, answer: &Answer) -> Result<(), String> {
        let relayed = answer.status == 200 && answer.raw("error").as_deref() == Some(self.row.says);
        let second = answer.status == 200 && answer.raw("result").as_deref() == Some("\"second\"");
        let right = match self.row.then {
            Then::Return => relayed && self.second.calls(self.row.method).is_empty(),
            Then::FailOver => second,
            Then::Either => relayed || second,
        };
        let asked = self.first.calls(self.row.method).len();
        if asked != 1 {
            return Err(format!("the first provider was asked {asked} times"));
        }
        right
            .then_some(())
            .ok_or_else(|| format!("{:?} expected: {} {}", self.row.then, answer.head.line, answer.text()))
    }

    fn check_next(&self, node: &Node, n: usize) -> Result<(), String> {
        self.first.script(|call| Reply::result(call, "\"first\""));
        let start = Instant::now();
        loop {
            let answer = node.post(&format!("/rpc/one{n}"), &json::read());
            let first = answer.raw("result").as_deref() == Some("\"first\"");
            match (self.row.next, first) {
                (Next::Asked | Next::Soon, true) | (Next::Rested, false) => return Ok(()),
                (Next::Soon, false) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                _ => {
                    return Err(format!("{:?} expected, then: {}", self.row.next, answer.text()));
                }
            }
        }
    }

    fn check_all(&self, answer: &Answer) -> Result<(), String> {
        let code = || answer.error()["code"].as_i64();
        let right = match self.row.all {
            All::Relayed => answer.status == 200 && answer.raw("error").as_deref() == Some(self.row.says),
            All::Own(status, wanted) => {
                let words = self.row.says.split('"').filter(|w| w.len() > 12).any(|w| answer.text().contains(w));
                answer.status == status && code() == Some(wanted) && answer.own_error() == wanted && !words
            }
            All::Code(wanted) => answer.status == 200 && code() == Some(wanted),
        };
        right
            .then_some(())
            .ok_or_else(|| format!("{:?} expected of all: {} {}", self.row.all, answer.head.line, answer.text()))
    }
}

/// Tries every row; reports all that are wrong.
fn check(rows: Vec<Row>) {
    let trials: Vec<Trial> = rows.into_iter().map(Trial::new).collect();
    let chains: Vec<Chain> = trials.iter().enumerate().flat_map(|(n, t)| t.chains(n)).collect();
    let node = Setup::new().chains(&chains).set("breaker", "failures = 5").start();
    let wrong: Vec<String> = trials
        .iter()
        .enumerate()
        .filter_map(|(n, t)| {
            t.check(&node, n).err().map(|e| format!("{} {} {}: {e}", t.row.method, t.row.status, t.row.says))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), trials.len(), wrong.join("\n"));
}

#[test]
fn an_execution_error_is_an_answer() {
    let mut all = rows(
        "eth_call",
        Then::Return,
        All::Relayed,
        Next::Asked,
        &[
            (
                200,
                r#"{"code":3,"message":"execution reverted: ERC20: transfer amount exceeds balance","data":"0x08c379a0"}"#,
            ),
            (200, r#"{"code":-32000,"message":"execution reverted"}"#),
            (200, r#"{"code":-32015,"message":"VM execution error.","data":"Reverted 0x"}"#),
            (200, r#"{"code":-32603,"message":"VM Exception while processing transaction: revert"}"#),
            (200, r#"{"code":-32000,"message":"out of gas"}"#),
            (200, r#"{"code":-32000,"message":"invalid opcode: INVALID"}"#),
            (400, r#"{"code":3,"message":"execution reverted","data":"0x"}"#),
            (500, r#"{"code":3,"message":"execution reverted","data":"0x"}"#),
            // The caller chose these words: none of them may steer us.
            (200, r#"{"code":3,"message":"execution reverted: too many requests"}"#),
            (200, r#"{"code":3,"message":"execution reverted: invalid api key"}"#),
            (200, r#"{"code":-32000,"message":"execution reverted: monthly capacity limit, upgrade your plan"}"#),
            (
                200,
                r#"{"code":-32603,"message":"VM Exception while processing transaction: reverted with reason string 'rate limit exceeded'"}"#,
            ),
        ],
    );
    all.append(&mut rows(
        "eth_estimateGas",
        Then::Return,
        All::Relayed,
        Next::Asked,
        &[
            (200, r#"{"code":-32000,"message":"gas required exceeds allowance (30000000)"}"#),
            (200, r#"{"code":-32000,"message":"intrinsic gas too high"}"#),
        ],
    ));
    all.append(&mut rows("eth_sendRawTransaction", Then::Return, All::Relayed, Next::Asked, &[
        (200, r#"{"code":-32000,"message":"insufficient funds for gas * price + value: balance 0, tx cost 1, overshot 1"}"#),
    ]));
    check(all);
}

#[test]
fn a_range_too_large_reaches_the_client() {
    let mut all = rows(
        "eth_getLogs",
        Then::Either,
        All::Relayed,
        Next::Asked,
        &[
            (200, r#"{"code":-32614,"message":"eth_getLogs is limited to a 10,000 range"}"#),
            (413, r#"{"code":-32614,"message":"eth_getLogs is limited to a 10,000 range"}"#),
            (200, r#"{"code":-32005,"message":"query returned more than 10000 results"}"#),
            (200, r#"{"code":-32000,"message":"exceed maximum block range: 5000"}"#),
            (400, r#"{"code":-32600,"message":"You can make eth_getLogs requests with up to a 500 block range."}"#),
            (200, r#"{"code":-32005,"message":"query exceeds max results 20000, retry with the range 1-2"}"#),
            (200, r#"{"code":-32000,"message":"query exceeds limit"}"#),
            (200, r#"{"code":-32000,"message":"Too many logs, try paginating"}"#),
            (200, r#"{"code":-32008,"message":"Response is too big"}"#),
            (200, r#"{"code":-32062,"message":"Block range is too large"}"#),
        ],
    );
    all.append(&mut rows(
        "eth_getLogs",
        Then::Return,
        All::Relayed,
        Next::Asked,
        &[
            (200, r#"{"code":-32000,"message":"Please specify less number of addresses"}"#),
            (200, r#"{"code":-32000,"message":"exceed max addresses or topics per search position"}"#),
        ],
    ));
    check(all);
}

#[test]
fn quota_and_rate_limits_never_leave_the_node() {
    check(rows(
        "eth_getBalance",
        Then::FailOver,
        NO_PROVIDER,
        Next::Rested,
        &[
            (402, ""),
            (402, r#"{"code":402,"message":"payment required"}"#),
            (200, r#"{"code":402,"message":"payment required"}"#),
            (
                429,
                r#"{"code":429,"message":"Monthly capacity limit exceeded. Visit https://dashboard.example/settings/billing to upgrade your scaling policy."}"#,
            ),
            (200, r#"{"code":-32000,"message":"You have reached the free tier limit"}"#),
            (200, r#"{"code":-32000,"message":"please upgrade your plan to continue"}"#),
            (429, ""),
            (429, "<html>Too Many Requests</html>"),
            (429, r#"{"code":-32000,"message":"slow down"}"#),
            (200, r#"{"code":429,"message":"compute units exceeded"}"#),
            (
                200,
                r#"{"code":-32007,"message":"50/second request limit reached - reduce calls per second or upgrade your account at quicknode.com"}"#,
            ),
            (200, r#"{"code":-32009,"message":"requests per minute reached"}"#),
            (200, r#"{"code":-32005,"message":"daily request count exceeded, request rate limited"}"#),
            (200, r#"{"code":-32001,"message":"Exceeded the quota usage"}"#),
            (200, r#"{"code":15,"message":"Too many request, try again later"}"#),
            (200, r#"{"code":1015,"message":"You are being rate limited"}"#),
            (200, r#"{"code":-32000,"message":"Too Many Requests"}"#),
            (200, r#"{"code":-32000,"message":"rate limit exceeded"}"#),
            (200, r#"{"code":-32000,"message":"limit exceeded"}"#),
            (200, r#"{"code":-32000,"message":"request limit reached"}"#),
        ],
    ));
}

#[test]
fn text_alone_never_penalises_a_provider_where_a_caller_may_write_it() {
    let texts: [(u16, &'static str); 4] = [
        (200, r#"{"code":-32000,"message":"rate limit exceeded"}"#),
        (200, r#"{"code":-32000,"message":"monthly capacity limit exceeded, upgrade your plan"}"#),
        (200, r#"{"code":-32000,"message":"too many requests"}"#),
        (200, r#"{"code":-32000,"message":"invalid api key"}"#),
    ];
    for method in
        ["eth_call", "eth_estimateGas", "eth_createAccessList", "trace_call", "debug_traceCall", "eth_nobodyKnows"]
    {
        let trials: Vec<Row> = rows(method, Then::Either, All::Relayed, Next::Asked, &texts);
        let trials: Vec<Trial> = trials.into_iter().map(Trial::new).collect();
        let chains: Vec<Chain> = trials.iter().enumerate().flat_map(|(n, t)| t.chains(n)).collect();
        let node = Setup::new().chains(&chains).start();
        for (n, trial) in trials.iter().enumerate() {
            let answer = node.post(&format!("/rpc/one{n}"), &json::call(method, &params(method)));
            trial
                .check_one(&answer)
                .and_then(|()| trial.check_next(&node, n))
                .unwrap_or_else(|e| panic!("{method} {}: {e}", trial.row.says));
        }
    }
    // A status is not text.
    check(rows("eth_call", Then::FailOver, NO_PROVIDER, Next::Rested, &[(429, "")]));
}

#[test]
fn a_refused_key_is_failed_over_and_judged_by_more_than_one_call() {
    check(rows(
        "eth_getBalance",
        Then::FailOver,
        NO_PROVIDER,
        Next::Soon,
        &[
            (401, ""),
            (401, r#"{"code":-32000,"message":"unauthorized"}"#),
            (403, "<html>blocked by our firewall</html>"),
            (403, r#"{"code":-32000,"message":"forbidden"}"#),
            (200, r#"{"code":-32000,"message":"Invalid API key"}"#),
            (200, r#"{"code":-32600,"message":"Must be authenticated!"}"#),
            (200, r#"{"code":-32000,"message":"App key is inactive"}"#),
        ],
    ));
}

#[test]
fn missing_data_reaches_the_client_when_nobody_has_it() {
    check(rows(
        "eth_getBalance",
        Then::Either,
        All::Relayed,
        Next::Asked,
        &[
            (200, r#"{"code":-32000,"message":"missing trie node 5ba2 (path ) state 0x5ba2 is not available"}"#),
            (200, r#"{"code":-32000,"message":"header not found"}"#),
            (200, r#"{"code":-32000,"message":"Unknown block"}"#),
            (200, r#"{"code":-32001,"message":"block not found"}"#),
            (200, r#"{"code":-32000,"message":"historical state 0xaa is not available"}"#),
            (200, r#"{"code":-32000,"message":"state at block #12 is pruned"}"#),
            (200, r#"{"code":-32000,"message":"no state available for block 0x1"}"#),
            (200, r#"{"code":-32000,"message":"cannot query unfinalized data"}"#),
        ],
    ));
}

#[test]
fn what_a_pool_says_of_a_transaction_is_an_answer() {
    check(rows(
        "eth_sendRawTransaction",
        Then::Return,
        All::Relayed,
        Next::Asked,
        &[
            (200, r#"{"code":-32000,"message":"nonce too low: next nonce 5, tx nonce 4"}"#),
            (200, r#"{"code":-32000,"message":"replacement transaction underpriced"}"#),
            (200, r#"{"code":-32000,"message":"transaction fee too low"}"#),
            (200, r#"{"code":-32000,"message":"rlp: expected input list for types.LegacyTx"}"#),
        ],
    ));
}

#[test]
fn bad_params_are_the_clients() {
    check(rows(
        "eth_getBalance",
        Then::Return,
        All::Relayed,
        Next::Asked,
        &[
            (200, r#"{"code":-32602,"message":"missing value for required argument 1"}"#),
            (400, r#"{"code":-32602,"message":"bad"}"#),
            (200, r#"{"code":-32000,"message":"invalid argument 0: hex string without 0x prefix"}"#),
            (200, r#"{"code":-32000,"message":"Invalid params"}"#),
        ],
    ));
}

#[test]
fn a_method_that_a_provider_lacks_is_asked_of_another() {
    check(rows(
        "eth_getProof",
        Then::FailOver,
        All::Code(-32601),
        Next::Asked,
        &[
            (200, r#"{"code":-32601,"message":"the method eth_getProof does not exist/is not available"}"#),
            (200, r#"{"code":-32004,"message":"This request method is not supported"}"#),
            (405, ""),
            (200, r#"{"code":-32000,"message":"Method not found"}"#),
            (200, r#"{"code":-32000,"message":"eth_getProof is not supported"}"#),
            (200, r#"{"code":-32000,"message":"rpc method is not whitelisted"}"#),
            (200, r#"{"code":-32000,"message":"eth_getProof is not available on the Free tier"}"#),
        ],
    ));
}

#[test]
fn a_provider_loses_only_the_method_that_it_lacks() {
    let lacking = Provider::start(|call| match call.method().as_str() {
        "eth_getProof" => reply(call, 200, r#"{"code":-32601,"message":"method not found"}"#),
        _ => Reply::result(call, "\"first\""),
    });
    let second = Provider::answering("\"second\"");
    let node = Setup::ethereum(&[&lacking, &second]).start();
    for _ in 0..5 {
        assert_eq!(node.ethereum(&json::call("eth_getProof", "[]")).result(), "\"second\"");
        assert_eq!(node.ethereum(&json::read()).result(), "\"first\"");
    }
    // Shards may learn it each for itself, but nobody asks again.
    let asked = lacking.calls("eth_getProof").len();
    assert!(asked <= std::thread::available_parallelism().unwrap().get(), "asked {asked} times");
}

#[test]
fn a_limit_that_an_operator_says_is_of_one_class_rests_no_other() {
    let says = r#"{"code":-32009,"message":"trace requests limited to 10/second"}"#;
    let limited = Provider::start(move |call| match call.method().as_str() {
        "trace_block" => reply(call, 429, says).field("Retry-After: 30"),
        _ => Reply::result(call, "\"first\""),
    });
    let second = Provider::answering("\"second\"");
    let rule =
        "priority = 1\n[[chains.providers.errors]]\ncode = -32009\nclass = \"rate_limited\"\nscope = \"method_class\"";
    let chain = Chain::new("ethereum", 1).provider_with("alpha", &limited.url(), rule);
    let node = Setup::new().chain(chain.provider_with("beta", &second.url(), "priority = 2")).start();
    for _ in 0..5 {
        assert_eq!(node.ethereum(&json::call("trace_block", r#"["0x1"]"#)).result(), "\"second\"");
        assert_eq!(node.ethereum(&json::read()).result(), "\"first\"");
    }
    assert_eq!(limited.calls("trace_block").len(), 1, "it rests in all shards at once");
    eventually("the event", || node.log().contains("class_cooldown").then_some(()));
}

#[test]
fn an_overloaded_node_and_an_internal_error_are_tried_elsewhere() {
    check(rows(
        "eth_getBalance",
        Then::FailOver,
        All::Relayed,
        Next::Soon,
        &[
            (200, r#"{"code":-32000,"message":"request timed out"}"#),
            (200, r#"{"code":-32002,"message":"execution timeout"}"#),
            (200, r#"{"code":-32000,"message":"context deadline exceeded"}"#),
            (200, r#"{"code":-32603,"message":"Internal error"}"#),
            (500, r#"{"code":-32603,"message":"Internal error"}"#),
        ],
    ));
}

#[test]
fn a_broken_answer_is_tried_elsewhere_and_one_breaks_nothing() {
    check(rows(
        "eth_getBalance",
        Then::FailOver,
        NO_PROVIDER,
        Next::Asked,
        &[
            (500, "<html>Internal Server Error</html>"),
            (502, "<html>Bad Gateway</html>"),
            (503, ""),
            (504, "upstream request timeout"),
            (200, "<html>Welcome to nginx!</html>"),
            (200, ""),
            (200, "upstream connect error or disconnect/reset before headers"),
            (404, "404 page not found"),
        ],
    ));
}

#[test]
fn an_error_without_a_row_is_returned() {
    check(rows(
        "eth_getBalance",
        Then::Return,
        All::Relayed,
        Next::Asked,
        &[
            (200, r#"{"code":-32000,"message":"something that nobody has a row for"}"#),
            (200, r#"{"code":-39999,"message":"something that nobody has a row for"}"#),
            (200, r#"{"code":-32000,"message":""}"#),
            (200, r#"{"code":-32000}"#),
        ],
    ));
}

#[test]
fn a_transaction_that_is_already_known_was_sent() {
    let says = [
        "already known",
        "ALREADY_EXISTS: already known",
        "known transaction: 0xaa",
        "Transaction already imported",
        "tx already in mempool",
    ];
    for message in says {
        let provider =
            Provider::start(move |call| Reply::error(call, &format!(r#"{{"code":-32000,"message":"{message}"}}"#)));
        let node = Setup::ethereum(&[&provider]).start();
        let answer = node.ethereum(&json::call("eth_sendRawTransaction", &params("eth_sendRawTransaction")));
        assert_eq!((answer.status, answer.result()), (200, HASH.to_owned()), "{message}");
        let other = node.ethereum(&json::read());
        assert!(other.raw("error").is_some(), "{message}: only a transaction can be known");
    }
}

#[test]
fn a_nonce_too_low_for_our_own_transaction_means_that_it_was_mined() {
    // The first provider takes the transaction, and its answer is lost; the second has it mined by then.
    let first = Provider::start(|_| Reply::ok("").fault(support::Fault::Cut(support::reply::At::Start)));
    let second = Provider::start(|call| Reply::error(call, r#"{"code":-32000,"message":"nonce too low"}"#));
    // A connection opened ahead and found dead before any byte is replaced without counting: it would be asked twice.
    let node = Setup::ethereum(&[&first, &second]).set("upstream", "connections_warm = 0").start();
    let answer = node.ethereum(&json::call("eth_sendRawTransaction", &params("eth_sendRawTransaction")));
    assert_eq!((answer.status, answer.result()), (200, HASH.to_owned()));
    assert_eq!((first.calls("eth_sendRawTransaction").len(), second.calls("eth_sendRawTransaction").len()), (1, 1));
}

#[test]
fn a_nonce_too_low_for_a_transaction_that_nobody_took_is_told() {
    let says = r#"{"code":-32000,"message":"nonce too low"}"#;
    // Refusals of which it is certain that they did nothing.
    let refusals: [fn(&Seen) -> Reply; 3] = [
        |_| Reply::status(429, ""),
        |_| Reply::status(401, ""),
        |call| Reply::error(call, r#"{"code":-32601,"message":"the method is not available"}"#),
    ];
    for refusal in refusals {
        let (first, second) = (Provider::start(refusal), Provider::start(move |call| Reply::error(call, says)));
        let node = Setup::ethereum(&[&first, &second]).set("upstream", "connections_warm = 0").start();
        let answer = node.ethereum(&json::call("eth_sendRawTransaction", &params("eth_sendRawTransaction")));
        assert_eq!((answer.status, answer.raw("error").as_deref()), (200, Some(says)), "{}", answer.text());
        assert_eq!(first.calls("eth_sendRawTransaction").len(), 1);
    }
}

#[test]
fn a_transaction_that_is_sent_again_was_sent() {
    let provider = Provider::start(|call| Reply::result(call, HASH));
    // Which shard takes the second call is the kernel's choice.
    let node = Setup::ethereum(&[&provider]).set("shards", "cores = [0]").start();
    let send = json::call("eth_sendRawTransaction", &params("eth_sendRawTransaction"));
    assert_eq!(node.ethereum(&send).result(), HASH);
    provider
        .script(|call| Reply::error(call, r#"{"code":-32000,"message":"nonce too low: next nonce 7, tx nonce 6"}"#));
    assert_eq!(node.ethereum(&send).result(), HASH, "mined in the meantime");
    let other = send.replacen("f9bb", "f9bc", 1).replacen("9d5e", "9d5f", 1);
    assert_ne!(other, send);
    assert!(node.ethereum(&other).raw("error").is_some(), "another transaction's nonce is its own affair");
}
