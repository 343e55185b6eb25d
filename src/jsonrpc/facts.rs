//! What a call needs of the chain, read from its params: which block's data, how many blocks, the newest one or not.
//!
//! Read only where it can matter, by whoever wants to know: when a provider is known to lack something, and when one says that
//! it does. Nothing is allocated: the params have been validated with the call, so a walk over their top level is
//! enough, and a filter's or a block's object is walked one level down.
//!
//! **What is not plain is unknown** ([`Block::Unnamed`]). What is read here is also what a provider's refusal is understood
//! by, so a client must not be able to have us read other blocks than the provider does: a key that is spelt with escapes
//! or in another case or stands twice, a number in an unusual form, params by name. Unknown teaches nothing and keeps nobody out.
//!
//! Left out: a call's cost, and blocks that are named by hash or through a transaction. Where such data ends is not learned.

use super::method::MethodInfo;
use super::tokens::string_end;

/// Which data of a block a call needs. Nodes drop them at different times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Balances, code, storage, calls, proofs, traces: what pruned nodes drop after 128 blocks.
    State,
    /// Blocks, receipts, logs: what nodes may drop after a year.
    History,
}

/// Where a method's params name blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockParam {
    /// Nowhere: it is about the newest block, or about what has a hash.
    None,
    /// One block, as the param at this position from 0.
    At(u8, Depth),
    /// From one block to another, in the filter that is the first param.
    Filter(Depth),
}

/// A block as a call names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// `latest`, `pending`, or no word at all, which means the same.
    Head,
    /// `safe`, `finalized`: a while behind the newest one.
    Settled,
    /// By number; `earliest` is 0.
    Number(u64),
    /// By hash, by nothing that we understand, or not at all where the method takes no block.
    Unnamed,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFacts {
    pub depth: Depth,
    /// The oldest block whose data it needs.
    pub from: Block,
    /// The newest.
    pub to: Block,
    /// It scans what lies between, both ends included.
    pub scans: bool,
}

impl BlockFacts {
    const UNKNOWN: Self = Self { depth: Depth::History, from: Block::Unnamed, to: Block::Unnamed, scans: false };

    /// What a call of `method` with these params (raw JSON, valid) needs.
    #[must_use]
    pub fn of(method: &MethodInfo, params: Option<&[u8]>) -> Self {
        let params = params.unwrap_or(b"[]");
        match method.block {
            BlockParam::None => Self::UNKNOWN,
            BlockParam::At(position, depth) => {
                let block = element(params, position).map_or(Block::Unnamed, block);
                Self { depth, from: block, to: block, scans: false }
            }
            BlockParam::Filter(depth) => match element(params, 0).map(ends) {
                Some(Some((from, to))) => Self { depth, from, to, scans: true },
                _ => Self { depth, ..Self::UNKNOWN },
            },
        }
    }

    /// The oldest block that it needs by number, as it names it.
    #[must_use]
    pub const fn oldest(&self) -> Option<u64> {
        match self.from {
            Block::Number(number) => Some(number),
            _ => None,
        }
    }

    /// How many blocks it scans, both ends included; `head` is the chain's newest, where that is known.
    #[must_use]
    pub fn blocks(&self, head: Option<u64>) -> Option<u64> {
        let number = |block| match block {
            Block::Number(number) => Some(number),
            Block::Head => head,
            Block::Settled | Block::Unnamed => None,
        };
        match (self.scans, self.from, self.to) {
            (false, ..) => None,
            (true, Block::Head, Block::Head) => Some(1),
            (true, from, to) => number(to)?.checked_sub(number(from)?)?.checked_add(1),
        }
    }

    /// The newest block that it is about, where it names all by number. None: it may depend on the chain's head.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        match (self.from, self.to) {
            (Block::Number(from), Block::Number(to)) => Some(from.max(to)),
            _ => None,
        }
    }
}

/// A blank, as JSON has them.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The elements of an array, or the members of an object, one after the other: raw, without what surrounds them.
struct Parts<'b> {
    text: &'b [u8],
    at: usize,
}

impl<'b> Parts<'b> {
    /// Of a text that begins with `open`.
    fn of(text: &'b [u8], open: u8) -> Option<Self> {
        (text.first() == Some(&open)).then_some(Self { text, at: 1 })
    }

    fn skip_blanks(&mut self) -> Option<u8> {
        while is_blank(*self.text.get(self.at)?) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// The value that begins behind any blanks; none at the end.
    fn value(&mut self) -> Option<&'b [u8]> {
        let first = self.skip_blanks()?;
        let start = self.at;
        self.at = match first {
            b'"' => string_end(self.text, start),
            b'[' | b'{' => closing(self.text, start)?,
            b']' | b'}' | b',' | b':' => return None,
            _ => {
                let ends = |byte: &u8| is_blank(*byte) || matches!(byte, b',' | b']' | b'}' | b':');
                start + self.text[start..].iter().position(ends)?
            }
        };
        self.text.get(start..self.at)
    }

    /// Steps over `byte`, if it is what comes next.
    fn step(&mut self, byte: u8) -> Option<()> {
        (self.skip_blanks()? == byte).then(|| self.at += 1)
    }
}

/// Behind the bracket that closes the one at `start`.
fn closing(text: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0_usize);
    loop {
        match *text.get(at)? {
            b'"' => {
                at = string_end(text, at);
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The element of an array at a position: empty where the array is shorter, none where it is no array.
fn element(array: &[u8], position: u8) -> Option<&[u8]> {
    let mut parts = Parts::of(array, b'[')?;
    for before in 0..=position {
        if before > 0 && parts.step(b',').is_none() {
            return Some(b"");
        }
        match parts.value() {
            Some(value) if before == position => return Some(value),
            Some(_) => {}
            None => return Some(b""),
        }
    }
    None
}

/// The values of the members of these names. None for what is no object, and where what it says is not plain: a name with
/// an escape in it may be any other, of two of one name nobody knows which one counts, and some nodes (those in Go) do not mind
/// a name's case, beyond ASCII too.
fn members<'b, const N: usize>(object: &'b [u8], names: [&str; N]) -> Option<[Option<&'b [u8]>; N]> {
    let mut parts = Parts::of(object, b'{')?;
    let mut found = [None; N];
    while let Some(key) = parts.value() {
        parts.step(b':')?;
        let value = parts.value()?;
        let key = key.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if !key.iter().all(|byte| byte.is_ascii() && *byte != b'\\') {
            return None;
        }
        if let Some(n) = names.iter().position(|name| name.as_bytes().eq_ignore_ascii_case(key)) {
            if found[n].is_some() || names[n].as_bytes() != key {
                return None;
            }
            found[n] = Some(value);
        }
        if parts.step(b',').is_none() {
            break;
        }
    }
    Some(found)
}

/// The ends of a filter's range, where it has one.
fn ends(filter: &[u8]) -> Option<(Block, Block)> {
    let [from, to, hash] = members(filter, ["fromBlock", "toBlock", "blockHash"])?;
    // A filter by hash is about one block, which has no number here.
    hash.is_none_or(|hash| hash == b"null").then(|| (block(from.unwrap_or_default()), block(to.unwrap_or_default())))
}

/// A block param: a tag, a number, or an object as of EIP-1898. Empty: not given.
fn block(param: &[u8]) -> Block {
    match param.first() {
        None => Block::Head,
        Some(b'"') => text(param),
        Some(b'{') => match members(param, ["blockNumber", "blockHash"]) {
            Some([Some(number), None]) if number.first() != Some(&b'{') => block(number),
            _ => Block::Unnamed,
        },
        Some(b'0'..=b'9') => decimal(param).map_or(Block::Unnamed, Block::Number),
        _ if param == b"null" => Block::Head,
        _ => Block::Unnamed,
    }
}

fn text(param: &[u8]) -> Block {
    match param {
        br#""latest""# | br#""pending""# => Block::Head,
        br#""safe""# | br#""finalized""# => Block::Settled,
        br#""earliest""# => Block::Number(0),
        _ => quantity(param).map_or(Block::Unnamed, Block::Number),
    }
}

/// A quantity as nodes write it (`"0x1b4"`, with its quotes), zeros in front forgiven. No more digits than a 64-bit number
/// has: what is longer is a hash.
#[must_use]
pub fn quantity(json: &[u8]) -> Option<u64> {
    let digits = json.strip_prefix(b"\"0x")?.strip_suffix(b"\"")?;
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |number: u64, &digit| Some(number << 4 | u64::from(char::from(digit).to_digit(16)?)))
}

fn decimal(json: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    json.iter().try_fold(0_u64, |number, byte| number.checked_mul(10)?.checked_add(digit(byte)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::method::info;
    use super::Block::{Head, Number, Settled, Unnamed};
    use super::*;

    fn facts(method: &str, params: &str) -> BlockFacts {
        BlockFacts::of(info(method), Some(params.as_bytes()))
    }

    #[test]
    fn one_block() {
        use Depth::{History, State};
        let hash = format!("\"0x{}\"", "0".repeat(64));
        let by_hash = format!("[{hash}]");
        let by_hash_object = format!(r#"["0xa",{{"blockHash":{hash}}}]"#);
        let cases: &[(&str, &str, Depth, Block)] = &[
            ("eth_getBalance", r#"["0xa","0x10"]"#, State, Number(16)),
            ("eth_getBalance", r#" [ "0xa" , "0x00fF" ] "#.trim(), State, Number(255)),
            ("eth_getBalance", r#"["0xa","latest"]"#, State, Head),
            ("eth_getBalance", r#"["0xa"]"#, State, Head),
            ("eth_getBalance", r#"["0xa",null]"#, State, Head),
            ("eth_getBalance", r#"["0xa","safe"]"#, State, Settled),
            ("eth_getBalance", r#"["0xa","earliest"]"#, State, Number(0)),
            ("eth_getBalance", r#"["0xa",{"blockNumber":"0x5"}]"#, State, Number(5)),
            ("eth_getBalance", r#"["0xa",{"blockNumber":{"blockNumber":"0x5"}}]"#, State, Unnamed),
            ("eth_getBalance", r#"["0xa",{"blockNumber":"0x5","blockNumber":"0x6"}]"#, State, Unnamed),
            ("eth_getBalance", r#"["0xa",{"block\u004eumber":"0x5"}]"#, State, Unnamed),
            ("eth_getBalance", &by_hash_object, State, Unnamed),
            ("eth_getBalance", r#"["0xa","l\u0061test"]"#, State, Unnamed),
            ("eth_getBalance", r#"["0xa",16]"#, State, Number(16)),
            ("eth_getBalance", r#"["0xa",1e3]"#, State, Unnamed),
            ("eth_getBalance", r#"["0xa",-1]"#, State, Unnamed),
            ("eth_getBalance", r#"["0xa","0x"]"#, State, Unnamed),
            ("eth_getBalance", r#"["0xa","0x+1"]"#, State, Unnamed),
            ("eth_getBalance", r#"["0xa","0xffffffffffffffff"]"#, State, Number(u64::MAX)),
            ("eth_getBalance", r#"["0xa","0x10000000000000000"]"#, State, Unnamed),
            ("eth_getBalance", r#"["0xa",99999999999999999999]"#, State, Unnamed),
            ("eth_getBalance", r#"{"address":"0xa","block":"0x1"}"#, State, Unnamed),
            ("eth_getStorageAt", r#"["],{","0x0","0x7"]"#, State, Number(7)),
            ("eth_call", r#"[{"data":"0x\"]","a":[[1]]},"0x7",{}]"#, State, Number(7)),
            ("eth_getProof", r#"["0xa",["0x0","0x1"],"0x7"]"#, State, Number(7)),
            ("trace_call", r#"[{},["trace"],"0x7"]"#, State, Number(7)),
            ("debug_traceBlockByNumber", r#"["0x7",{}]"#, State, Number(7)),
            ("eth_getBlockByNumber", r#"["0x7",false]"#, History, Number(7)),
            ("eth_getBlockByNumber", r#"["finalized",false]"#, History, Settled),
            ("eth_getBlockReceipts", r#"["0x7"]"#, History, Number(7)),
            ("eth_getBlockReceipts", &by_hash, History, Unnamed),
            ("alchemy_getTransactionReceipts", r#"[{"blockNumber":"0x7"}]"#, History, Number(7)),
            ("eth_feeHistory", r#"["0x5","0x7",[1]]"#, History, Unnamed),
            ("eth_getTransactionReceipt", r#"["0x7"]"#, History, Unnamed),
            ("eth_blockNumber", "[]", History, Unnamed),
            ("made_up", r#"["0x7","0x8"]"#, History, Unnamed),
        ];
        for &(method, params, depth, block) in cases {
            let expected = BlockFacts { depth, from: block, to: block, scans: false };
            assert_eq!(facts(method, params), expected, "{method} {params}");
        }
        assert_eq!(BlockFacts::of(info("eth_getBalance"), None).from, Head);
        assert_eq!(facts("eth_getBalance", r#"["0xa","0x10"]"#).newest(), Some(16));
        assert_eq!(facts("eth_getBalance", "[]").newest(), None);
    }

    #[test]
    fn ranges() {
        type Case<'a> = (&'a str, Option<(Block, Block)>, Option<u64>);
        let cases: &[Case<'_>] = &[
            (r#"[{"fromBlock":"0x1","toBlock":"0x10"}]"#, Some((Number(1), Number(16))), Some(16)),
            (r#"[{"toBlock":"0x10","address":["0xa"],"fromBlock":"0x10"}]"#, Some((Number(16), Number(16))), Some(1)),
            (r#"[{"fromBlock":"0x10","toBlock":"0x1"}]"#, Some((Number(16), Number(1))), None),
            (r#"[{"fromBlock":"0x1"}]"#, Some((Number(1), Head)), Some(100)),
            (r#"[{"fromBlock":"0x1","toBlock":"latest"}]"#, Some((Number(1), Head)), Some(100)),
            (r#"[{"fromBlock":"0x1000"}]"#, Some((Number(4096), Head)), None),
            ("[{}]", Some((Head, Head)), Some(1)),
            (r#"[{"toBlock":"0x1"}]"#, Some((Head, Number(1))), None),
            (r#"[{"fromBlock":"earliest","toBlock":"0xffffffffffffffff"}]"#, Some((Number(0), Number(u64::MAX))), None),
            (r#"[{"fromBlock":"0x1","toBlock":"finalized"}]"#, Some((Number(1), Settled)), None),
            (r#"[{"fromBlock":"0x1","toBlock":"x"}]"#, Some((Number(1), Unnamed)), None),
            (r#"[{"blockHash":"0x1"}]"#, None, None),
            (r#"[{"blockHash":null,"fromBlock":"0x1","toBlock":"0x1"}]"#, Some((Number(1), Number(1))), Some(1)),
            (r#"[{"fromBlock":"0x1","fromBlock":"0x2"}]"#, None, None),
            (r#"[{"fromBlock":"0x1","to\u0042lock":"0x2"}]"#, None, None),
            (r#"[{"fromBlock":"0x1","FromBlock":"0x2"}]"#, None, None),
            ("[{\"fromBlock\":\"0x1\",\"fromBloc\u{212a}\":\"0x2\"}]", None, None),
            ("[]", None, None),
            ("[[]]", None, None),
            ("{}", None, None),
        ];
        for &(params, expected, blocks) in cases {
            for method in ["eth_getLogs", "eth_newFilter", "trace_filter"] {
                let facts = facts(method, params);
                let (from, to) = expected.unwrap_or((Unnamed, Unnamed));
                assert_eq!((facts.from, facts.to, facts.scans), (from, to, expected.is_some()), "{params}");
                assert_eq!(facts.blocks(Some(100)), blocks, "{params}");
            }
        }
        let open = facts("eth_getLogs", r#"[{"fromBlock":"0x1"}]"#);
        assert_eq!((open.blocks(None), open.oldest(), open.newest()), (None, Some(1), None));
        assert_eq!(facts("eth_getLogs", r#"[{"fromBlock":"0x1","toBlock":"0x9"}]"#).newest(), Some(9));
    }

    #[test]
    fn quantities() {
        let cases: [(&[u8], Option<u64>); 10] = [
            (br#""0x1""#, Some(1)),
            (br#""0x0""#, Some(0)),
            (br#""0x001B4f""#, Some(0x1b4f)),
            (br#""0xffffffffffffffff""#, Some(u64::MAX)),
            (br#""0x10000000000000000""#, None),
            (br#""0x""#, None),
            (br#""0x+1""#, None),
            (br#""1""#, None),
            (b"1", None),
            (b"null", None),
        ];
        for (json, number) in cases {
            assert_eq!(quantity(json), number, "{}", json.escape_ascii());
        }
    }

    /// The same by `serde_json`, for texts without repeated keys and escapes.
    fn model(method: &MethodInfo, params: &Value) -> BlockFacts {
        fn block(param: Option<&Value>) -> Block {
            match param {
                None | Some(Value::Null) => Head,
                Some(Value::Number(number)) => number.as_u64().map_or(Unnamed, Number),
                Some(Value::String(text)) => match text.as_str() {
                    "latest" | "pending" => Head,
                    "safe" | "finalized" => Settled,
                    "earliest" => Number(0),
                    other => other
                        .strip_prefix("0x")
                        .filter(|digits| digits.len() <= 16 && !digits.starts_with('+'))
                        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                        .map_or(Unnamed, Number),
                },
                Some(Value::Object(object)) => match (object.get("blockNumber"), object.get("blockHash")) {
                    (Some(number), None) if !number.is_object() => block(Some(number)),
                    _ => Unnamed,
                },
                Some(_) => Unnamed,
            }
        }
        let array = params.as_array();
        match (method.block, array) {
            (BlockParam::At(position, depth), Some(array)) => {
                let block = block(array.get(usize::from(position)));
                BlockFacts { depth, from: block, to: block, scans: false }
            }
            (BlockParam::At(_, depth), None) => BlockFacts { depth, ..BlockFacts::UNKNOWN },
            (BlockParam::Filter(depth), array) => match array.and_then(|array| array.first()?.as_object()) {
                Some(filter) if filter.get("blockHash").is_none_or(Value::is_null) => BlockFacts {
                    depth,
                    from: block(filter.get("fromBlock")),
                    to: block(filter.get("toBlock")),
                    scans: true,
                },
                _ => BlockFacts { depth, ..BlockFacts::UNKNOWN },
            },
            (BlockParam::None, _) => BlockFacts::UNKNOWN,
        }
    }

    fn blocks() -> impl Strategy<Value = Value> {
        let number = any::<u64>().prop_map(|number| json!(format!("0x{number:x}")));
        let plain = prop_oneof![
            number,
            any::<u32>().prop_map(|number| json!(number)),
            prop::sample::select(vec!["latest", "pending", "safe", "finalized", "earliest", "", "0x", "x", "],", "}{"])
                .prop_map(|tag| json!(tag)),
            Just(Value::Null),
            Just(json!(true)),
            Just(json!([["0x1"], {}])),
            Just(json!(-7)),
        ];
        (plain, 0..4_u8).prop_map(|(block, dress)| match dress {
            0 => json!({ "blockNumber": block }),
            1 => json!({ "requireCanonical": [block.clone()], "blockNumber": block }),
            _ => block,
        })
    }

    fn params() -> impl Strategy<Value = Value> {
        let filter = (prop::option::of(blocks()), prop::option::of(blocks()), 0..8_u8).prop_map(|(from, to, more)| {
            let mut filter = json!({ "address": ["0xa", "b]}"], "topics": [[null], null] });
            let given = [("fromBlock", from), ("toBlock", to), ("blockHash", (more == 0).then(|| json!("0xabc")))];
            for (name, value) in given {
                if let Some(value) = value {
                    filter[name] = value;
                }
            }
            filter
        });
        let element = prop_oneof![blocks(), filter];
        prop_oneof![prop::collection::vec(element, 0..4).prop_map(Value::Array), blocks()]
    }

    const METHODS: [&str; 8] = [
        "eth_getBalance",
        "eth_getStorageAt",
        "eth_getBlockByNumber",
        "eth_getLogs",
        "trace_filter",
        "trace_call",
        "eth_blockNumber",
        "made_up",
    ];

    proptest! {
        #[test]
        fn it_agrees_with_a_model(params in params(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&params) } else { serde_json::to_string(&params) }.unwrap();
            for method in METHODS.map(info) {
                let found = BlockFacts::of(method, Some(text.as_bytes()));
                prop_assert_eq!(found, model(method, &params), "{} {}", method.name, text);
            }
        }

        /// Params have been validated when they come here. That nothing panics must not depend on it.
        #[test]
        fn nothing_panics(text in prop::collection::vec(prop::sample::select(br#"[]{}",:\0x1fbomBlockNu te"#.to_vec()), 0..40)) {
            for method in METHODS.map(info) {
                let _ = BlockFacts::of(method, Some(&text)).blocks(Some(1));
            }
            for at in 0..text.len() {
                let _ = quantity(&text[at..]);
            }
        }
    }
}
