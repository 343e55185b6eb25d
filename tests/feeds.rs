//! Shared subscriptions over real sockets: one stream to each client, whatever becomes of providers and the chain.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use serde_json::{Value, json};
use support::blocks::{Block, Blocks, EVEN, ODD, Telling};
use support::socket::Socket;
use support::{Chain, Node, Reply, Setup, eventually, one_core};

/// Feeds without a client that a shard keeps: `limits::FEEDS_LINGERING_MAX`.
const LINGERING_MAX: u64 = 256;

/// A client that subscribes, and applies what it is told.
struct Subscriber {
    socket: Socket,
    id: String,
    /// What it holds: hashes of blocks, or block and index of logs.
    held: Vec<String>,
}

impl Subscriber {
    fn open(node: &Node, params: &Value) -> Self {
        Self::over(Socket::open(node.http, "/ws/rpc/ethereum"), params)
    }

    fn over(mut socket: Socket, params: &Value) -> Self {
        let id =
            serde_json::from_str(&socket.call(&support::json::call("eth_subscribe", &params.to_string()))).unwrap();
        Self { socket, id, held: vec![] }
    }

    fn heads(node: &Node) -> Self {
        Self::open(node, &json!(["newHeads"]))
    }

    /// The next notification's result.
    fn next(&mut self) -> Value {
        let (_, message) = self.socket.message();
        let message: Value = serde_json::from_slice(&message).unwrap();
        assert_eq!(
            (&message["method"], &message["params"]["subscription"]),
            (&json!("eth_subscription"), &json!(self.id))
        );
        message["params"]["result"].clone()
    }

    /// Takes a head in. A branch takes the place of what lies above its parent.
    fn apply_head(&mut self) {
        let head = self.next();
        let (hash, parent) = (head["hash"].as_str().unwrap().to_owned(), head["parentHash"].as_str().unwrap());
        assert!(!self.held.contains(&hash), "a head twice: {head}");
        assert!(head.get("transactions").is_none() && head.get("size").is_none(), "a block, not a head: {head}");
        match self.held.iter().position(|held| held == parent) {
            Some(at) => self.held.truncate(at + 1),
            // The first one, or all that it has heard of is gone.
            None => self.held.clear(),
        }
        self.held.push(hash);
    }

    fn apply_log(&mut self) {
        let log = self.next();
        let name = format!("{} {}", log["blockHash"].as_str().unwrap(), log["logIndex"].as_str().unwrap());
        if log["removed"] == true {
            let at = self.held.iter().position(|held| *held == name);
            self.held.remove(at.unwrap_or_else(|| panic!("removed, and never told: {log}")));
        } else {
            assert!(!self.held.contains(&name), "a log twice: {log}");
            self.held.push(name);
        }
    }

    /// Reads until it holds exactly the chain's blocks above `base`.
    fn holds_heads(&mut self, blocks: &Blocks, base: &Block) {
        let expected: Vec<_> = blocks.above(base.number).into_iter().map(|block| block.hash).collect();
        while self.held != expected {
            self.apply_head();
        }
    }

    /// Reads until it holds exactly the chain's logs above `base`, those with even or odd indices alone if told so.
    fn holds_logs(&mut self, blocks: &Blocks, base: &Block, parity: Option<usize>) {
        let logs = |block: Block| {
            let indices = (0..block.logs).filter(move |index| parity.is_none_or(|parity| index % 2 == parity));
            indices.map(move |index| format!("{} {index:#x}", block.hash))
        };
        let expected: Vec<_> = blocks.above(base.number).into_iter().flat_map(logs).collect();
        while self.held != expected {
            self.apply_log();
        }
    }

    fn error(&mut self, method: &str, params: &Value) -> Value {
        error(&mut self.socket, method, params)
    }
}

fn error(socket: &mut Socket, method: &str, params: &Value) -> Value {
    let (_, answer) = socket.text(&support::json::call(method, &params.to_string())).message();
    serde_json::from_slice::<Value>(&answer).unwrap()["error"].clone()
}

fn chain_of(providers: &[&Telling]) -> Chain {
    with_providers(Chain::new("ethereum", 1).line("block_time = \"300ms\""), providers)
}

fn with_providers(chain: Chain, providers: &[&Telling]) -> Chain {
    let all = ["alpha", "beta", "gamma"].iter().zip(providers).enumerate();
    all.fold(chain, |chain, (n, (id, provider))| {
        let lines = format!("priority = {}\nws_url = \"{}\"", n + 1, provider.ws_url());
        chain.provider_with(id, &provider.http.url(), &lines)
    })
}

fn setup(providers: &[&Telling]) -> Setup {
    Setup::new().chain(chain_of(providers))
}

/// Of a chain that may be silent for as long as a test takes: nobody is asked anew for that.
fn patient(providers: &[&Telling]) -> Setup {
    Setup::new().chain(with_providers(Chain::new("ethereum", 1).line("block_time = \"60s\""), providers))
}

fn metric(node: &Node, name: &str) -> u64 {
    let page = node.admin_get("/metrics").text();
    let lines = page.lines().filter(|line| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn clients_of_all_shards_share_one_subscription() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let node = patient(&[&alpha]).start();
    let base = blocks.tip();
    let mut clients: Vec<_> = (0..12).map(|_| Subscriber::heads(&node)).collect();
    (0..5).for_each(|_| drop(blocks.mine(0)));
    for client in &mut clients {
        client.holds_heads(&blocks, &base);
    }
    assert_eq!(alpha.subscribed(), [json!(["newHeads"])]);
    assert_eq!((metric(&node, "livechain_subscriptions"), metric(&node, "livechain_feeds")), (12, 1));
    eventually("all are counted", || (metric(&node, "livechain_notifications_total") == 60).then_some(()));
    drop(clients);
    eventually("none is left", || (metric(&node, "livechain_subscriptions") == 0).then_some(()));
}

#[test]
fn filters_that_mean_the_same_are_one() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let node = patient(&[&alpha]).start();
    let base = blocks.tip();
    let upper = EVEN.to_uppercase().replace("0X", "0x");
    let mut all = Subscriber::open(&node, &json!(["logs", {}]));
    let mut even = Subscriber::open(&node, &json!(["logs", { "address": EVEN }]));
    let mut also_even = Subscriber::open(&node, &json!(["logs", { "address": [upper, EVEN], "topics": [] }]));
    let mut odd = Subscriber::open(&node, &json!(["logs", { "address": [ODD] }]));
    blocks.mine(3);
    blocks.mine(0);
    blocks.mine(4);
    all.holds_logs(&blocks, &base, None);
    even.holds_logs(&blocks, &base, Some(0));
    also_even.holds_logs(&blocks, &base, Some(0));
    odd.holds_logs(&blocks, &base, Some(1));
    let filters = alpha.subscribed().iter().filter(|params| params[0] == "logs").count();
    assert_eq!(filters, 3, "{:?}", alpha.subscribed());
}

#[test]
fn a_lost_provider_is_replaced_without_a_gap() {
    let blocks = Blocks::new();
    let (alpha, beta) = (Telling::start(&blocks), Telling::start(&blocks));
    let node = setup(&[&alpha, &beta]).start();
    let base = blocks.tip();
    let (mut heads, mut logs) = (Subscriber::heads(&node), Subscriber::open(&node, &json!(["logs", {}])));
    for round in 0..6 {
        blocks.mine(2);
        let (hit, other) = if round % 2 == 0 { (&alpha, &beta) } else { (&beta, &alpha) };
        hit.down(true);
        (0..3).for_each(|_| drop(blocks.mine(3)));
        eventually("both are heard from the other", || (other.open() >= 2).then_some(()));
        blocks.mine(1);
        heads.holds_heads(&blocks, &base);
        logs.holds_logs(&blocks, &base, None);
        hit.down(false);
        hit.http.sever();
    }
    assert!(metric(&node, "livechain_feed_failovers_total") >= 12, "{}", node.log());
}

#[test]
fn one_that_falls_silent_is_replaced() {
    let blocks = Blocks::new();
    let (alpha, beta) = (Telling::start(&blocks), Telling::start(&blocks));
    let node = setup(&[&alpha, &beta]).start();
    let base = blocks.tip();
    let (mut heads, mut logs) = (Subscriber::heads(&node), Subscriber::open(&node, &json!(["logs", {}])));
    blocks.mine(1);
    alpha.silence(true);
    (0..3).for_each(|_| drop(blocks.mine(2)));
    heads.holds_heads(&blocks, &base);
    logs.holds_logs(&blocks, &base, None);
    assert!(beta.open() > 0);
    eventually("what nobody listens to is left", || (alpha.open() == 0).then_some(()));
}

#[test]
fn a_replacement_that_is_behind_is_waited_for() {
    let blocks = Blocks::new();
    let (alpha, beta) = (Telling::start(&blocks), Telling::start(&blocks));
    let node = setup(&[&alpha, &beta]).start();
    let base = blocks.tip();
    let (mut heads, mut logs) = (Subscriber::heads(&node), Subscriber::open(&node, &json!(["logs", {}])));
    beta.hold_back(true);
    (0..3).for_each(|_| drop(blocks.mine(2)));
    heads.holds_heads(&blocks, &base);
    logs.holds_logs(&blocks, &base, None);
    alpha.down(true);
    eventually("beta is subscribed to", || (beta.open() >= 2).then_some(()));
    blocks.mine(2);
    beta.hold_back(false);
    heads.holds_heads(&blocks, &base);
    logs.holds_logs(&blocks, &base, None);
}

#[test]
fn logs_that_a_lost_provider_did_not_push_are_not_left_out_on_the_word_of_one_that_is_behind() {
    let blocks = Blocks::new();
    let (alpha, beta) = (Telling::start(&blocks), Telling::start(&blocks));
    let node = setup(&[&alpha, &beta]).start();
    let base = blocks.tip();
    let (mut heads, mut logs) = (Subscriber::heads(&node), Subscriber::open(&node, &json!(["logs", {}])));
    blocks.mine(2);
    blocks.mine(2);
    heads.holds_heads(&blocks, &base);
    logs.holds_logs(&blocks, &base, None);
    beta.hold_back(true);
    alpha.push_no_logs(true);
    blocks.mine(3);
    heads.holds_heads(&blocks, &base);
    alpha.http.down();
    alpha.down(true);
    eventually("beta says that there are none", || (beta.logs_unknown() > 0).then_some(()));
    // Nor does it push them.
    beta.push_no_logs(true);
    beta.hold_back(false);
    beta.push_no_logs(false);
    blocks.mine(1);
    logs.holds_logs(&blocks, &base, None);
}

#[test]
fn logs_are_not_left_out_on_the_word_of_a_node_that_is_behind_the_one_that_pushes() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let node = patient(&[&alpha]).start();
    let base = blocks.tip();
    alpha.hold_back_http();
    let mut logs = Subscriber::open(&node, &json!(["logs", { "address": EVEN }]));
    for _ in 0..2 {
        // The first block of a connection, whose logs went out just before they were subscribed to.
        alpha.push_no_logs(true);
        blocks.mine(3);
        alpha.push_no_logs(false);
        blocks.mine(0);
        blocks.mine(2);
        logs.holds_logs(&blocks, &base, Some(0));
        alpha.sever();
        eventually("it is subscribed to again", || (alpha.open() == 2).then_some(()));
    }
}

#[test]
fn heads_that_a_provider_has_forgotten_are_asked_for_anew() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let node = setup(&[&alpha]).start();
    let base = blocks.tip();
    let (mut heads, mut logs) = (Subscriber::heads(&node), Subscriber::open(&node, &json!(["logs", {}])));
    blocks.mine(1);
    heads.holds_heads(&blocks, &base);
    let asked = || alpha.subscribed().iter().filter(|params| params[0] == "newHeads").count();
    let before = asked();
    alpha.forget_heads();
    blocks.mine(1);
    eventually("they are asked for again", || (asked() > before).then_some(()));
    blocks.mine(2);
    heads.holds_heads(&blocks, &base);
    logs.holds_logs(&blocks, &base, None);
}

#[test]
fn only_so_many_feeds_that_nobody_wants_any_more_linger() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let node = patient(&[&alpha]).set("subscriptions", "linger = \"600s\"").set("shards", &one_core()).start();
    let mut stays = Subscriber::heads(&node);
    let mut socket = Socket::open(node.http, "/ws/rpc/ethereum");
    for n in 0..LINGERING_MAX + 40 {
        let filter = json!(["logs", { "address": format!("0x{n:040x}") }]);
        let id = socket.call(&support::json::call("eth_subscribe", &filter.to_string()));
        assert_eq!(socket.call(&support::json::call("eth_unsubscribe", &format!("[{id}]"))), "true");
    }
    eventually("the oldest are left", || (metric(&node, "livechain_feeds") <= LINGERING_MAX + 2).then_some(()));
    eventually("so are they at the provider", || (alpha.open() as u64 <= LINGERING_MAX + 20).then_some(()));
    let base = blocks.tip();
    blocks.mine(1);
    stays.holds_heads(&blocks, &base);
}

#[test]
fn reorganisations_are_told_back_and_forth() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let node = setup(&[&alpha]).start();
    let base = blocks.tip();
    let (mut heads, mut logs) = (Subscriber::heads(&node), Subscriber::open(&node, &json!(["logs", {}])));
    for _ in 0..4 {
        blocks.mine(2);
    }
    heads.holds_heads(&blocks, &base);
    logs.holds_logs(&blocks, &base, None);
    let before = blocks.tip();
    blocks.reorganise(3, &[1, 2, 3, 1]);
    heads.holds_heads(&blocks, &base);
    logs.holds_logs(&blocks, &base, None);
    let other = blocks.tip();
    blocks.return_to(&before);
    blocks.mine(5);
    heads.holds_heads(&blocks, &base);
    logs.holds_logs(&blocks, &base, None);
    // Into a reorganisation that nobody pushed, on another provider's word.
    blocks.return_to(&other);
    let beta = Telling::start(&blocks);
    drop((beta, node));
}

#[test]
fn a_reorganisation_during_a_change_of_providers_is_told() {
    let blocks = Blocks::new();
    let (alpha, beta) = (Telling::start(&blocks), Telling::start(&blocks));
    let node = setup(&[&alpha, &beta]).start();
    let base = blocks.tip();
    let (mut heads, mut logs) = (Subscriber::heads(&node), Subscriber::open(&node, &json!(["logs", {}])));
    for _ in 0..3 {
        blocks.mine(2);
    }
    heads.holds_heads(&blocks, &base);
    logs.holds_logs(&blocks, &base, None);
    alpha.down(true);
    blocks.reorganise(2, &[3, 0, 2, 1]);
    heads.holds_heads(&blocks, &base);
    logs.holds_logs(&blocks, &base, None);
}

#[test]
fn a_provider_that_tells_of_another_chain_is_left_and_nobody_is_closed() {
    // Further than is ever filled, and near.
    for far in [100_000, 7] {
        let blocks = Blocks::new();
        let [alpha, beta] = [(); 2].map(|()| Telling::start(&blocks));
        let node = setup(&[&alpha, &beta]).start();
        let (mut heads, mut logs) = (Subscriber::heads(&node), Subscriber::open(&node, &json!(["logs", {}])));
        let base = blocks.tip();
        blocks.mine(2);
        heads.holds_heads(&blocks, &base);
        logs.holds_logs(&blocks, &base, None);
        eventually("it is left for the other", || {
            alpha.stray(blocks.tip().number + far);
            (beta.open() > 1).then_some(())
        });
        (0..3).for_each(|_| drop(blocks.mine(2)));
        heads.holds_heads(&blocks, &base);
        logs.holds_logs(&blocks, &base, None);
    }
}

#[test]
fn what_cannot_be_made_good_closes_the_client() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let node = setup(&[&alpha]).set("subscriptions", "outage_max = \"1s\"").start();
    let mut client = Subscriber::heads(&node);
    blocks.mine(0);
    client.apply_head();
    alpha.down(true);
    assert_eq!(client.socket.closed(), Some(1012));
    eventually("it is told of", || node.log().contains("feed_broken").then_some(()));
    // It comes back, and so does the stream.
    alpha.down(false);
    let base = blocks.tip();
    let mut client = eventually("it can subscribe again", || {
        let mut socket = Socket::open(node.http, "/ws/rpc/ethereum");
        let (_, answer) = socket.text(&support::json::call("eth_subscribe", "[\"newHeads\"]")).message();
        let id = serde_json::from_slice::<Value>(&answer).unwrap()["result"].as_str()?.to_owned();
        Some(Subscriber { socket, id, held: vec![] })
    });
    blocks.mine(0);
    client.holds_heads(&blocks, &base);
}

#[test]
fn a_client_may_subscribe_twice_and_leave() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let node = patient(&[&alpha]).set("subscriptions", "linger = \"100ms\"").start();
    let client = Subscriber::heads(&node);
    let first = client.id.clone();
    let mut client = Subscriber::over(client.socket, &json!(["newHeads"]));
    assert_ne!(client.id, first);
    let block = blocks.mine(0);
    let told: Vec<Value> = (0..2).map(|_| serde_json::from_slice(&client.socket.message().1).unwrap()).collect();
    let mut ids: Vec<_> = told.iter().map(|told| told["params"]["subscription"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let mut expected = [first.as_str(), client.id.as_str()];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    assert!(told.iter().all(|told| told["params"]["result"]["hash"] == json!(block.hash)));

    let unsubscribe = support::json::call("eth_unsubscribe", &json!([first]).to_string());
    assert_eq!(client.socket.call(&unsubscribe), "true");
    assert_eq!(client.error("eth_unsubscribe", &json!([first]))["code"], -32000);
    let base = blocks.tip();
    blocks.mine(0);
    client.holds_heads(&blocks, &base);
    assert_eq!(alpha.unsubscribed(), 0);
    let unsubscribe = support::json::call("eth_unsubscribe", &json!([client.id]).to_string());
    assert_eq!(client.socket.call(&unsubscribe), "true");
    eventually("the provider's is left, too", || (alpha.open() == 0).then_some(()));
    assert_eq!(metric(&node, "livechain_feeds"), 0);
}

#[test]
fn what_nobody_serves_is_refused_in_words() {
    let blocks = Blocks::new();
    let (alpha, beta) = (Telling::start(&blocks), Telling::start(&blocks));
    let plain = Chain::new("plain", 5).provider("alpha", &alpha.http.url());
    let node = setup(&[&alpha, &beta]).chain(plain).start();
    let mut socket = Socket::open(node.http, "/ws/rpc/ethereum");
    for params in [json!([]), json!(["logs", { "address": "0x1" }]), json!(["logs", { "fromBlock": "0x1" }]), json!({})]
    {
        assert_eq!(error(&mut socket, "eth_subscribe", &params)["code"], -32602, "{params}");
    }
    assert_eq!(error(&mut socket, "eth_unsubscribe", &json!([7]))["code"], -32602);
    let refusal = json!({ "code": -32602, "message": "this filter is not for you" });
    alpha.refuse(refusal.clone());
    beta.refuse(refusal.clone());
    assert_eq!(error(&mut socket, "eth_subscribe", &json!(["logs", { "address": EVEN }])), refusal);
    let mut socket = Socket::open(node.http, "/ws/rpc/plain");
    assert_eq!(error(&mut socket, "eth_subscribe", &json!(["newHeads"]))["code"], -32601);
    // Over HTTP nobody could be told.
    let answer = node.ethereum(&support::json::call("eth_subscribe", "[\"newHeads\"]"));
    assert_eq!(answer.error()["code"], -32601);
}

#[test]
fn one_that_refuses_is_passed_over() {
    let blocks = Blocks::new();
    let (alpha, beta) = (Telling::start(&blocks), Telling::start(&blocks));
    alpha.refuse(json!({ "code": -32601, "message": "the method eth_subscribe does not exist" }));
    let node = setup(&[&alpha, &beta]).start();
    let base = blocks.tip();
    let mut client = Subscriber::heads(&node);
    blocks.mine(0);
    client.holds_heads(&blocks, &base);
    assert_eq!((alpha.open(), beta.open()), (0, 1));
}

#[test]
fn a_connection_has_so_many_subscriptions() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let node = patient(&[&alpha]).set("websocket", "subscriptions_max = 3").start();
    let mut client = Subscriber::heads(&node);
    for _ in 0..2 {
        client = Subscriber::over(client.socket, &json!(["newHeads"]));
    }
    assert_eq!(client.error("eth_subscribe", &json!(["newHeads"]))["code"], -32005);
    assert_eq!(alpha.subscribed().len(), 1);
}

#[test]
fn subscribing_in_a_batch_is_answered_before_it_is_told() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let node = setup(&[&alpha]).start();
    let mut socket = Socket::open(node.http, "/ws/rpc/ethereum");
    let call = |id, method, params| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let batch = json!([
        call(1, "eth_subscribe", json!(["newHeads"])),
        call(2, "eth_blockNumber", json!([])),
        call(3, "eth_subscribe", json!(["logs", {}])),
    ]);
    let (_, answer) = socket.text(&batch.to_string()).message();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let block = blocks.mine(1);
    let told: Vec<Value> = (0..2).map(|_| serde_json::from_slice(&socket.message().1).unwrap()).collect();
    for (item, name) in [(0, "hash"), (2, "blockHash")] {
        let of = told.iter().find(|told| told["params"]["subscription"] == answer[item]["result"]);
        assert_eq!(of.unwrap()["params"]["result"][name], json!(block.hash), "{told:?}");
    }
}

#[test]
fn a_slow_client_is_closed_alone() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let node = setup(&[&alpha])
        .set("websocket", "queued_bytes_max = \"2MiB\"")
        .set("http", "body_timeout = \"60s\"")
        .set("shards", &one_core())
        .start();
    let base = blocks.tip();
    let mut slow = Subscriber::open(&node, &json!(["logs", {}]));
    let mut quick = Subscriber::open(&node, &json!(["logs", {}]));
    // More in all than the sockets on the way can hold; one block fits the quick one's queue, whenever it reads.
    for _ in 0..40 {
        blocks.mine_large(16, 20_000);
        quick.holds_logs(&blocks, &base, None);
    }
    assert_eq!(slow.socket.closed(), Some(1013));
    eventually("it is forgotten", || (metric(&node, "livechain_subscriptions") == 1).then_some(()));
    blocks.mine(1);
    quick.holds_logs(&blocks, &base, None);
}

#[test]
fn other_subscriptions_are_passed_on() {
    let blocks = Blocks::new();
    let (alpha, beta) = (Telling::start(&blocks), Telling::start(&blocks));
    let node = setup(&[&alpha, &beta]).start();
    let mut client = Subscriber::open(&node, &json!(["newPendingTransactions"]));
    let block = blocks.mine(0);
    assert_eq!(client.next(), json!(block.hash));
    alpha.down(true);
    eventually("beta is subscribed to", || (beta.open() == 1).then_some(()));
    let block = blocks.mine(0);
    assert_eq!(client.next(), json!(block.hash));
}

#[test]
fn a_chain_that_is_taken_away_closes_its_clients() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let other = Chain::new("other", 7).provider("alpha", &alpha.http.url());
    let mut node = setup(&[&alpha]).chain(other.clone()).start();
    let mut client = Subscriber::heads(&node);
    node.reload(|setup| setup.chains(&[other]));
    assert_eq!(client.socket.closed(), Some(1012));
}

#[test]
fn a_closing_node_says_goodbye() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let mut node = setup(&[&alpha]).start();
    let mut client = Subscriber::heads(&node);
    node.signal("TERM");
    assert_eq!(client.socket.closed(), Some(1001));
    assert!(node.wait_end().success());
}

#[test]
fn a_sessions_calls_stay_at_one_provider_until_it_must_move() {
    let blocks = Blocks::new();
    let (alpha, beta) = (Telling::start(&blocks), Telling::start(&blocks));
    let node = Setup::new()
        .chain(chain_of(&[&alpha, &beta]).line("strategy = \"load-balanced\""))
        .set("shards", &one_core())
        .start();
    let calls = |provider: &Telling| provider.http.calls("eth_getBalance").len();
    let mut sessions: Vec<_> = (0..4).map(|_| Socket::open(node.http, "/ws/rpc/ethereum")).collect();
    for session in &mut sessions {
        let before = (calls(&alpha), calls(&beta));
        (0..8).for_each(|_| drop(session.call(&support::json::read())));
        let moved = (calls(&alpha) - before.0, calls(&beta) - before.1);
        assert!(moved == (8, 0) || moved == (0, 8), "{moved:?}");
    }
    assert!(calls(&alpha) > 0 && calls(&beta) > 0, "sessions spread");
    alpha.http.down();
    for session in &mut sessions {
        (0..8).for_each(|_| drop(session.call(&support::json::read())));
    }
}

#[test]
fn a_sessions_head_never_goes_back() {
    let blocks = Blocks::new();
    let (alpha, beta) = (Telling::start(&blocks), Telling::start(&blocks));
    let node = setup(&[&alpha, &beta]).set("shards", &one_core()).start();
    let mut session = Socket::open(node.http, "/ws/rpc/ethereum");
    let number = support::json::call("eth_blockNumber", "[]");
    beta.hold_back(true);
    blocks.mine(0);
    let seen = blocks.mine(0);
    assert_eq!(session.call(&number), format!("\"{:#x}\"", seen.number));
    alpha.http.down();
    // Another session is told what beta has.
    let mut other = Socket::open(node.http, "/ws/rpc/ethereum");
    assert_eq!(other.call(&number), format!("\"{:#x}\"", seen.number - 2));
    assert_eq!(session.call(&number), format!("\"{:#x}\"", seen.number));
}

#[test]
fn what_providers_say_of_our_plan_is_kept_from_clients() {
    let blocks = Blocks::new();
    let (alpha, beta) = (Telling::start(&blocks), Telling::start(&blocks));
    let words = "too many requests: the plan of key k-5ec2e7 is used up";
    for (provider, code) in [(&alpha, 429), (&beta, -32005)] {
        provider.refuse(json!({ "code": code, "message": words }));
    }
    let node = setup(&[&alpha, &beta]).set("rpc.deadlines", "other = \"1s\"").start();
    let mut socket = Socket::open(node.http, "/ws/rpc/ethereum");
    let error = error(&mut socket, "eth_subscribe", &json!(["newHeads"]));
    assert!(error["code"] == -32002 && !error.to_string().contains("5ec2e7"), "{error}");
}

/// A provider that answers `eth_getBalance` once the sender is dropped.
fn slow(provider: &Telling) -> std::sync::mpsc::Sender<()> {
    let (go, wait) = std::sync::mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    provider.http.script(move |call| {
        if call.method() == "eth_getBalance" {
            let _ = wait.lock().unwrap().recv();
        }
        Reply::result(call, "\"0x5\"")
    });
    go
}

#[test]
fn an_id_that_comes_again_is_counted_once() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let node = setup(&[&alpha]).set("shards", &one_core()).start();
    let call = |id, method, params| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let mut client = Subscriber::heads(&node);
    let unsubscribe = support::json::call("eth_unsubscribe", &json!([client.id]).to_string());
    assert_eq!(client.socket.call(&unsubscribe), "true");
    let go = slow(&alpha);
    let balance = json!([format!("0x{}", "a".repeat(40)), "latest"]);
    let batch = json!([call(1, "eth_subscribe", json!(["newHeads"])), call(2, "eth_getBalance", balance)]);
    client.socket.text(&batch.to_string());
    alpha.http.wait_calls("eth_getBalance", 1);
    // What the batch has subscribed to, which it has not told yet, has the id that is known from before.
    assert_eq!(client.socket.call(&unsubscribe), "true");
    let mut client = Subscriber::over(client.socket, &json!(["newHeads"]));
    drop(go);
    let (_, answer) = client.socket.message();
    assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap()[0]["result"], json!(client.id));
    let base = blocks.tip();
    blocks.mine(0);
    client.holds_heads(&blocks, &base);
    assert_eq!(metric(&node, "livechain_subscriptions"), 1);
    drop(client);
    eventually("none is left", || (metric(&node, "livechain_subscriptions") == 0).then_some(()));
}

#[test]
fn a_closing_node_answers_before_it_says_goodbye_whichever_shard_closes_first() {
    let blocks = Blocks::new();
    let alpha = Telling::start(&blocks);
    let mut node = setup(&[&alpha]).set("life", "drain_delay = \"0ms\"").start();
    let mut client = Subscriber::heads(&node);
    // Some are owned by a shard that has no clients of its own.
    for byte in 1..9 {
        let filter = json!(["logs", { "address": format!("0x{byte:040x}") }]);
        client = Subscriber::over(client.socket, &filter);
    }
    let (go, open) = (slow(&alpha), alpha.open());
    let balance = json!([format!("0x{}", "a".repeat(40)), "latest"]);
    client.socket.text(&support::json::call("eth_getBalance", &balance.to_string()));
    alpha.http.wait_calls("eth_getBalance", 1);
    node.signal("TERM");
    eventually("the other shard has closed", || (alpha.open() < open).then_some(()));
    drop(go);
    let (_, answer) = client.socket.message();
    assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap()["result"], "0x5");
    assert_eq!(client.socket.closed(), Some(1001));
    assert!(node.wait_end().success());
}
