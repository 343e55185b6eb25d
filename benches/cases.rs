//! The pure parts, each as a closure that does it once; what it needs is made before and reused, as a shard does.

mod tenant;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use livechain::http::{
    self, After, AnswerBody, AnswerHead, Decoder, FieldLines, Known, Status, Target, UpstreamParts, UpstreamTemplate,
};
use livechain::jsonrpc::{
    self, BLOCKED_BY_DEFAULT, BlockFacts, Blocked, Document, Evidence, Limits, MethodClass, Reply, Scratch, classify,
    info,
};
use livechain::link::{self, Rankings, Row, RowKey, Slot};
use livechain::routing::{
    Attempts, Board, BreakerConfig, CooldownConfig, Demand, Facts, Footing, HeadCell, Health, Outcome, Providers,
    Ranker, RankingConfig, RowIndex, Standing, StandingConfig, Step, Strategy, Tally, Trial,
};
use livechain::time::Instant;

#[allow(unused_imports, reason = "the bench of instructions leaves out what sorts a million rows")]
pub(crate) use self::tenant::build_of_a_million_keys;
pub(crate) use self::tenant::{key_first_look, key_in_a_million, tenant_call, tenant_call_exact};
use crate::inputs;

pub(crate) type Case = Box<dyn FnMut()>;

const LIMITS: Limits = Limits { batch_items_max: 100 };
const READ: Demand = Demand {
    strategy: Strategy::Fastest,
    class: MethodClass::Read,
    row: RowIndex::of_class(MethodClass::Read),
    repeatable: true,
};
const TOOK: Duration = Duration::from_micros(740);
/// Some hours into a node's life.
const NOW: Instant = Instant::from_micros(10_000_000_000);

pub(crate) fn request_head() -> Case {
    Box::new(|| {
        let _ = black_box(http::parse(black_box(inputs::REQUEST_HEAD)));
    })
}

pub(crate) fn target() -> Case {
    Box::new(|| {
        black_box(Target::parse(black_box(b"/v1/k3y-0123456789abcdef/rpc/fastest/ethereum")));
    })
}

pub(crate) fn parse_call() -> Case {
    parse(inputs::CALL.to_vec())
}

pub(crate) fn parse_batch_of_20() -> Case {
    parse(inputs::batch())
}

fn parse(body: Vec<u8>) -> Case {
    let mut scratch = Scratch::new();
    assert!(jsonrpc::parse(&body, &mut scratch, LIMITS).is_ok(), "a body that is fine");
    Box::new(move || drop(black_box(jsonrpc::parse(black_box(&body), &mut scratch, LIMITS))))
}

pub(crate) fn inspect_small() -> Case {
    inspect(inputs::REPLY.to_vec())
}

pub(crate) fn inspect_64k() -> Case {
    inspect(inputs::reply_64k())
}

fn inspect(body: Vec<u8>) -> Case {
    let mut scratch = Scratch::new();
    let reply = jsonrpc::inspect(&body, Some(inputs::CALL_ID), &mut scratch);
    assert!(matches!(reply, Reply::Success { .. }), "a reply that is fine");
    Box::new(move || drop(black_box(jsonrpc::inspect(black_box(&body), Some(inputs::CALL_ID), &mut scratch))))
}

pub(crate) fn classify_message() -> Case {
    let evidence = Evidence {
        http_status: 200,
        code: Some(-32000),
        message: inputs::ERROR_MESSAGE,
        method: info("eth_call"),
        params: None,
    };
    Box::new(move || {
        black_box(classify(black_box(&evidence), &[]));
    })
}

pub(crate) fn block_facts() -> Case {
    let method = info("eth_getLogs");
    Box::new(move || {
        black_box(BlockFacts::of(method, black_box(Some(inputs::LOGS_PARAMS))).blocks(Some(20_000_000)));
    })
}

/// What an answer to `eth_blockNumber` costs beyond another one.
pub(crate) fn said_head() -> Case {
    let cell = HeadCell::default();
    Box::new(move || {
        if let Some(height) = jsonrpc::quantity(black_box(b"\"0x1312d00\"")) {
            cell.hear(height);
        }
    })
}

pub(crate) fn reply_head() -> Case {
    Box::new(|| {
        let _ = black_box(http::parse_response(black_box(inputs::REPLY_HEAD)));
    })
}

pub(crate) fn write_answer_head() -> Case {
    let (lines, mut out) = (Lines::new(), Vec::with_capacity(4096));
    Box::new(move || {
        out.clear();
        lines.answer(&mut out, inputs::REPLY.len());
        black_box(&out);
    })
}

pub(crate) fn write_upstream_head() -> Case {
    let (template, mut out) = (template(), Vec::with_capacity(4096));
    Box::new(move || {
        out.clear();
        template.write(&mut out, black_box(inputs::CALL.len() as u64));
        black_box(&out);
    })
}

pub(crate) fn pick_of_3() -> Case {
    pick_of(3)
}

pub(crate) fn pick_of_20() -> Case {
    pick_of(20)
}

fn pick_of(count: usize) -> Case {
    let mut chain = Chain::new(count);
    Box::new(move || {
        black_box(chain.next());
    })
}

pub(crate) fn gate_and_outcome() -> Case {
    let standing = Standing::new();
    Box::new(move || {
        black_box(black_box(&standing).gate_for(NOW, MethodClass::Read));
        black_box(standing.on_outcome(NOW + TOOK, &GOOD, &STANDING));
    })
}

pub(crate) fn chunked_64k() -> Case {
    let (wire, mut out) = (inputs::chunked_64k(), Vec::with_capacity(128 * 1024));
    Box::new(move || {
        out.clear();
        let progress = Decoder::new(u64::MAX).decode(black_box(&wire), &mut out);
        debug_assert!(progress.is_ok_and(|progress| progress.done), "a whole body");
        black_box(&out);
    })
}

/// What calling a case costs by itself.
pub(crate) fn nothing() -> Case {
    Box::new(|| ())
}

/// Everything pure that a single call costs, in the order of `shard/serve.rs`, ranked by what control has published.
pub(crate) fn request_path() -> Case {
    path_over(Chain::new(3))
}

/// The same while control has not spoken, by the shard's own means: what publishing costs is the difference.
pub(crate) fn request_path_unranked() -> Case {
    path_over(Chain::unranked(3))
}

/// What a shard does for one chain when control has published, a few times a second.
pub(crate) fn adopt_of_3() -> Case {
    let (mut board, mut ranker) = (board(3), Ranker::new(3, 7));
    let rankings = [1, 2].map(|tick| Arc::new(board.publish(NOW + Duration::from_millis(250 * tick), |_| true)));
    let mut turn = 0;
    Box::new(move || {
        turn ^= 1;
        drop(black_box(ranker.adopt(Arc::clone(&rankings[turn]), 0)));
    })
}

fn path_over(chain: Chain) -> Case {
    let rankings = Slot::new(Arc::new(Rankings::default()));
    let mut path = Path {
        ranked: rankings.generation(),
        rankings,
        scratch: Scratch::new(),
        blocked: Blocked::new(BLOCKED_BY_DEFAULT),
        chain,
        template: template(),
        lines: Lines::new(),
        row: Row::new(RowKey::of_class(1, MethodClass::Read)),
        request: Vec::with_capacity(4096),
        answer: Vec::with_capacity(4096),
    };
    Box::new(move || path.call(black_box(inputs::REQUEST_HEAD), black_box(inputs::CALL)))
}

struct Path {
    rankings: Slot<Rankings>,
    ranked: u64,
    scratch: Scratch,
    blocked: Blocked,
    chain: Chain,
    template: UpstreamTemplate,
    lines: Lines,
    row: Row,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Path {
    fn call(&mut self, head: &[u8], body: &[u8]) {
        assert!(black_box(&self.rankings).generation() == self.ranked, "nothing new");
        let Ok(Some(parsed)) = http::parse(head) else { unreachable!("a head that is fine") };
        black_box(Target::parse(parsed.path.of(head)));
        black_box((parsed.header(head, Known::LivechainMeta), parsed.header(head, Known::Origin)));
        let Ok(Document::Single(Ok(call))) = jsonrpc::parse(body, &mut self.scratch, LIMITS) else {
            unreachable!("a call that is fine")
        };
        let method = black_box(info(&call.method));
        black_box(self.blocked.contains(&call.method));
        let provider = self.chain.next();

        self.request.clear();
        self.template.write(&mut self.request, call.raw.len() as u64);
        self.request.extend_from_slice(call.raw);
        black_box(&self.request);

        black_box(http::parse_response(black_box(inputs::REPLY_HEAD)).is_ok());
        let reply = jsonrpc::inspect(black_box(inputs::REPLY), call.id, &mut self.scratch);
        black_box(matches!(reply, Reply::Success { .. }));
        self.chain.answered(provider, method.class);
        self.row.record_method(method, link::Outcome::Success, TOOK);

        self.answer.clear();
        self.lines.answer(&mut self.answer, inputs::REPLY.len());
        self.answer.extend_from_slice(inputs::REPLY);
        black_box(&self.answer);
    }
}

/// What an answer's head is made of.
struct Lines {
    node: FieldLines,
    provider: FieldLines,
    date: [u8; http::DATE_BYTES],
}

impl Lines {
    fn new() -> Self {
        let lines = |fields: &[(&str, &str)]| FieldLines::new(fields).expect("fields that are fine");
        Self {
            node: lines(&[("X-Livechain-Region", "us-east-1"), ("X-Livechain-Node", "us-east-1-a")]),
            provider: lines(&[("X-Livechain-Provider", "alpha")]),
            date: http::http_date(1_760_433_667),
        }
    }

    fn answer(&self, out: &mut Vec<u8>, body_bytes: usize) {
        AnswerHead::begin(out, Status::Ok, &self.node, &self.date)
            .field("X-Livechain-Request-Id", black_box(b"9e3779b97f4a7c15"))
            .lines(&self.provider)
            .json()
            .end(AnswerBody::Length(black_box(body_bytes) as u64), After::KeepAlive);
    }
}

fn template() -> UpstreamTemplate {
    let parts = UpstreamParts {
        target: "/v2/0123456789abcdef0123456789abcdef",
        host: "eth-mainnet.provider.example",
        port: 443,
        tls: true,
        authorization: None,
        fields: &[],
        gzip: false,
    };
    UpstreamTemplate::new(&parts).expect("parts that are fine")
}

const STANDING: StandingConfig = StandingConfig {
    breaker: BreakerConfig::DEFAULT,
    cooldown: CooldownConfig {
        first: Duration::from_secs(1),
        max: Duration::from_mins(1),
        retry_after_max: Duration::from_hours(1),
        park: Duration::from_mins(10),
    },
};

const GOOD: Outcome<'static> =
    Outcome { health: Health::Good, class: MethodClass::Read, sent: NOW, trial: None, draw: 0 };

/// Providers that are all well, each ranked a little slower than the one before.
struct Chain {
    ranker: Ranker,
    standings: Standings,
}

struct Standings(Vec<Standing>);

impl Standings {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| Standing::new()).collect())
    }
}

/// As control knows them.
fn board(count: usize) -> Board {
    let slots: Vec<_> = (0..count as u64).collect();
    let mut board = Board::new(NOW, &slots, 1, RankingConfig::default());
    for &slot in &slots {
        let tally = Tally { answers: 50, ..Tally::default() };
        board.merge_values(NOW, 0, slot, READ.row, &[(740 + 50 * slot, 50)], &tally);
    }
    board
}

impl Chain {
    fn new(count: usize) -> Self {
        let mut board = board(count);
        // The second publication has no grant to explore, as most have none.
        board.publish(NOW, |_| true);
        let mut ranker = Ranker::new(count, 7);
        ranker.adopt(Arc::new(board.publish(NOW + Duration::from_millis(250), |_| true)), 0);
        Self { ranker, standings: Standings::new(count) }
    }

    /// The same, as this shard knows them by itself.
    fn unranked(count: usize) -> Self {
        let mut ranker = Ranker::new(count, 7);
        for provider in 0..count {
            ranker.on_answer(provider, READ.class, NOW, TOOK + Duration::from_micros(50 * provider as u64));
        }
        Self { ranker, standings: Standings::new(count) }
    }

    /// The provider of a call's first attempt.
    fn next(&mut self) -> usize {
        let mut attempts: Attempts<()> = Attempts::new(READ, NOW + Duration::from_secs(2), 3);
        match attempts.next(black_box(NOW), &mut self.ranker, &self.standings) {
            Step::Try(attempt) => attempt.provider,
            Step::Wait | Step::GiveUp(_) => unreachable!("all are well"),
        }
    }

    fn answered(&mut self, provider: usize, class: MethodClass) {
        black_box(self.standings.0[provider].on_outcome(NOW + TOOK, &GOOD, &STANDING));
        self.ranker.on_answer(provider, class, NOW + TOOK, TOOK);
    }
}

impl Providers for Standings {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn facts(&self, provider: usize, now: Instant) -> Facts {
        let standing = &self.0[provider];
        let (gate, held) = (standing.gate_for(now, READ.class), standing.holds_back(now, 0, &STANDING));
        Facts { gate, held, footing: Footing::InStep, priority: 1, weight: 1, in_flight: 2, supports: true, room: true }
    }

    fn claim_trial(&self, provider: usize, now: Instant) -> Option<Trial> {
        self.0[provider].claim_trial(now).map(|(trial, _)| trial)
    }
}
