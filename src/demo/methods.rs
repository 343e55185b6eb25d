//! What the demo's providers answer to one call. A function of the call and the head, but for filters.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::chain;

/// Blocks that `eth_getLogs` looks through; beyond it refuses as providers do.
const LOG_BLOCKS_MAX: u64 = 1000;

/// Filters of one provider; the oldest makes room.
const FILTERS_MAX: usize = 1024;

/// An error as JSON-RPC has it.
#[derive(Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) code: i64,
    pub(super) message: String,
    pub(super) data: Option<Value>,
}

impl Failure {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

/// A provider's filters: what they are about and the last block that they told.
#[derive(Debug, Default)]
pub(super) struct Filters(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// The newest one's number.
    last: u64,
    by_number: HashMap<u64, Filter>,
}

#[derive(Clone, Copy, Debug)]
struct Filter {
    about: About,
    told: u64,
}

#[derive(Clone, Copy, Debug)]
enum About {
    Blocks,
    Logs,
}

/// The answer to `method`, for a provider whose newest block is `head`.
pub(super) fn answer(id: &str, method: &str, params: &Value, head: u64, filters: &Filters) -> Result<Value, Failure> {
    let text = |index: usize| params[index].as_str().unwrap_or_default();
    Ok(match method {
        "eth_blockNumber" => chain::quantity(head).into(),
        "eth_chainId" => "0x1".into(),
        "net_version" => "1".into(),
        "eth_syncing" => false.into(),
        "web3_clientVersion" => format!("LivechainDemo/{id}").into(),
        "eth_gasPrice" => chain::gas_price(head).into(),
        "eth_getBlockByNumber" => block(number(&params[0], head)?, &params[1], head),
        "eth_getBlockByHash" => match chain::number_of(text(0), head) {
            Some(number) => block(number, &params[1], head),
            None => Value::Null,
        },
        "eth_getBalance" | "eth_getTransactionCount" | "eth_getCode" => of_account(method, account(&params[0])?),
        "eth_call" => call(&params[0])?,
        "eth_getLogs" => logs(&params[0], head)?,
        "eth_newBlockFilter" => filters.add(About::Blocks, head).into(),
        "eth_newFilter" => filters.add(About::Logs, head).into(),
        "eth_getFilterChanges" => filters.changes(text(0), head)?,
        "eth_uninstallFilter" => filters.remove(text(0)).into(),
        _ => {
            return Err(Failure::new(-32601, format!("the method {method} does not exist/is not available")));
        }
    })
}

/// What follows from an account alone.
fn of_account(method: &str, account: &str) -> Value {
    match method {
        "eth_getBalance" => chain::quantity(chain::number_of_account("balance", account, 1 << 62)).into(),
        "eth_getTransactionCount" => chain::quantity(chain::number_of_account("nonce", account, 1000)).into(),
        _ if account.eq_ignore_ascii_case(chain::TOKEN) => "0x60806040".into(),
        _ => "0x".into(),
    }
}

fn block(number: u64, whole: &Value, head: u64) -> Value {
    if number > head { Value::Null } else { chain::block(number, whole.as_bool().unwrap_or_default()) }
}

/// A block's number, as a quantity or a tag; absent means the latest.
fn number(value: &Value, head: u64) -> Result<u64, Failure> {
    let wrong = || Failure::new(-32602, format!("invalid argument: {value} is not a block"));
    match value.as_str() {
        None if value.is_null() => Ok(head),
        None => Err(wrong()),
        Some("latest" | "pending") => Ok(head),
        Some("safe" | "finalized") => Ok(head.saturating_sub(64)),
        Some("earliest") => Ok(0),
        Some(text) => {
            let digits = text.strip_prefix("0x").ok_or_else(wrong)?;
            u64::from_str_radix(digits, 16).map_err(|_| wrong())
        }
    }
}

fn account(value: &Value) -> Result<&str, Failure> {
    let text = value.as_str().unwrap_or_default();
    let valid = text.len() == 42 && text.starts_with("0x") && text[2..].bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then_some(text).ok_or_else(|| Failure::new(-32602, format!("invalid argument: {value} is not an address")))
}

/// 32 bytes that follow from the call's data; without data it reverts, so that revert data can be seen to arrive.
fn call(request: &Value) -> Result<Value, Failure> {
    let to = account(&request["to"])?.to_ascii_lowercase();
    let data = request["data"].as_str().or_else(|| request["input"].as_str()).unwrap_or_default();
    if data.len() <= 2 {
        // Error(string) with "demo".
        let revert = format!("0x08c379a0{:064x}{:064x}{:0<64}", 32, 4, "64656d6f");
        return Err(Failure { data: Some(revert.into()), ..Failure::new(3, "execution reverted: demo") });
    }
    Ok(chain::hash(&[to.as_bytes(), data.as_bytes()]).into())
}

fn logs(filter: &Value, head: u64) -> Result<Value, Failure> {
    if let Some(hash) = filter["blockHash"].as_str() {
        let number = chain::number_of(hash, head).ok_or_else(|| Failure::new(-32000, "unknown block"))?;
        return Ok(json!([chain::log(number)]));
    }
    let (from, to) = (number(&filter["fromBlock"], head)?, number(&filter["toBlock"], head)?.min(head));
    if to.saturating_sub(from) >= LOG_BLOCKS_MAX {
        return Err(Failure::new(-32602, format!("block range too large: limited to a {LOG_BLOCKS_MAX} block range")));
    }
    Ok((from..=to).map(chain::log).collect())
}

impl Filters {
    fn add(&self, about: About, head: u64) -> String {
        let mut filters = self.held();
        filters.last += 1;
        let number = filters.last;
        if filters.by_number.len() >= FILTERS_MAX
            && let Some(oldest) = filters.by_number.keys().min().copied()
        {
            filters.by_number.remove(&oldest);
        }
        filters.by_number.insert(number, Filter { about, told: head });
        chain::quantity(number)
    }

    fn changes(&self, id: &str, head: u64) -> Result<Value, Failure> {
        let mut filters = self.held();
        let found = number_of(id).and_then(|number| filters.by_number.get_mut(&number));
        let filter = found.ok_or_else(|| Failure::new(-32000, "filter not found"))?;
        // A provider that slept is asked for no more than others answer at once.
        let news = (filter.told + 1).max((head + 1).saturating_sub(LOG_BLOCKS_MAX))..=head;
        filter.told = filter.told.max(head);
        Ok(match filter.about {
            About::Blocks => news.map(chain::block_hash).collect(),
            About::Logs => news.map(chain::log).collect(),
        })
    }

    fn remove(&self, id: &str) -> bool {
        number_of(id).is_some_and(|number| self.held().by_number.remove(&number).is_some())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number_of(id: &str) -> Option<u64> {
    u64::from_str_radix(id.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: u64 = 5000;
    const ACCOUNT: &str = "0x00000000000000000000000000000000000000aa";

    fn ask(method: &str, params: &Value) -> Result<Value, Failure> {
        answer("fast", method, params, HEAD, &Filters::default())
    }

    #[test]
    fn calls_are_answered_like_a_nodes() {
        let cases = [
            ("eth_blockNumber", json!([]), json!("0x1388")),
            ("eth_chainId", json!([]), json!("0x1")),
            ("net_version", json!([]), json!("1")),
            ("web3_clientVersion", json!([]), json!("LivechainDemo/fast")),
            ("eth_getBlockByNumber", json!(["latest", false]), chain::block(HEAD, false)),
            ("eth_getBlockByNumber", json!(["0x64", true]), chain::block(100, true)),
            ("eth_getBlockByNumber", json!(["0xffffff", false]), Value::Null),
            ("eth_getBlockByHash", json!([chain::block_hash(HEAD), false]), chain::block(HEAD, false)),
            ("eth_getBlockByHash", json!(["0x00", false]), Value::Null),
            ("eth_getCode", json!([ACCOUNT, "latest"]), json!("0x")),
            ("eth_getCode", json!([chain::TOKEN, "latest"]), json!("0x60806040")),
            ("eth_getLogs", json!([{ "fromBlock": "0x1", "toBlock": "0x2" }]), json!([chain::log(1), chain::log(2)])),
            ("eth_uninstallFilter", json!(["0x1"]), json!(false)),
        ];
        for (method, params, expected) in cases {
            assert_eq!(ask(method, &params), Ok(expected), "{method} {params}");
        }
        for method in ["eth_getBalance", "eth_getTransactionCount"] {
            let one = ask(method, &json!([ACCOUNT, "latest"])).unwrap();
            assert!(one.as_str().unwrap().starts_with("0x"));
            assert_eq!(ask(method, &json!([ACCOUNT.replace('a', "A"), "latest"])), Ok(one), "whatever the case");
        }
    }

    #[test]
    fn faults_have_codes() {
        let cases = [
            ("eth_unheardOf", json!([]), -32601),
            ("eth_getBalance", json!(["0x12"]), -32602),
            ("eth_getBlockByNumber", json!(["soon"]), -32602),
            ("eth_getBlockByNumber", json!([7]), -32602),
            ("eth_getLogs", json!([{ "fromBlock": "0x0", "toBlock": "latest" }]), -32602),
            ("eth_call", json!([{ "to": ACCOUNT }, "latest"]), 3),
            ("eth_getFilterChanges", json!(["0x7"]), -32000),
        ];
        for (method, params, code) in cases {
            assert_eq!(ask(method, &params).unwrap_err().code, code, "{method} {params}");
        }
    }

    #[test]
    fn filters_tell_what_is_new_once() {
        let filters = Filters::default();
        let ask = |method: &str, params: Value, head| answer("fast", method, &params, head, &filters);
        let blocks = ask("eth_newBlockFilter", json!([]), 10).unwrap();
        let logs = ask("eth_newFilter", json!([{}]), 10).unwrap();
        let news = json!([chain::block_hash(11), chain::block_hash(12)]);
        assert_eq!(ask("eth_getFilterChanges", json!([blocks]), 12), Ok(news));
        assert_eq!(ask("eth_getFilterChanges", json!([blocks]), 12), Ok(json!([])));
        assert_eq!(ask("eth_getFilterChanges", json!([logs]), 11), Ok(json!([chain::log(11)])));
        assert_eq!(ask("eth_uninstallFilter", json!([blocks]), 12), Ok(json!(true)));
        assert!(ask("eth_getFilterChanges", json!([blocks]), 12).is_err());
    }

    #[test]
    fn filters_are_bounded() {
        let filters = Filters::default();
        let ids: Vec<_> = (0..=FILTERS_MAX).map(|_| filters.add(About::Blocks, 0)).collect();
        assert!(filters.changes(&ids[0], 1).is_err());
        assert!(filters.changes(&ids[1], 1).is_ok());
    }
}
