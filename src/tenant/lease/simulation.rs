//! A region under virtual time: nodes with unfair demand, a network, a store that comes and goes, nodes that restart.
//!
//! Time goes in milliseconds. What is judged is what was let through, at its true moment, by all nodes together.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::store::{NodeId, Store};
use super::*;
use crate::bucket::Month;
use crate::limits::LEASE_TICK;
use crate::routing::Random;
use crate::tenant::key::KeyId;
use crate::tenant::plan::{PlanConfig, WithoutStore};
use crate::tenant::quota::windows::Grants;
use crate::tenant::quota::{Quota, QuotaConfig, Share, Terms};
use crate::time::Instant;

const KEY: KeyId = KeyId(7);
const MONTH: Month = Month { number: 9, ends: None, next: 39 };
/// When a node gives up on an answer.
const TIMEOUT_MS: u64 = 250;
const BEGIN_MS: u64 = 100_000;

struct World {
    quota: QuotaConfig,
    without_store: WithoutStore,
    /// Calls a second that each node's clients make.
    demand: Vec<f64>,
    /// What a call weighs, at most.
    weight: u32,
    seconds: u64,
    /// Milliseconds in which the store is gone.
    outages: Vec<Range<u64>>,
    /// Each node begins anew so often.
    restart_ms: Option<u64>,
    /// When each node forgets the key's words and makes new ones.
    forgets: Vec<u64>,
    /// Units that each node bills once a second without having asked for them.
    billed: u64,
}

impl World {
    fn new(quota: QuotaConfig, demand: Vec<f64>) -> Self {
        Self {
            quota,
            without_store: WithoutStore::Refuse,
            demand,
            weight: 1,
            seconds: 40,
            outages: Vec::new(),
            restart_ms: None,
            forgets: Vec::new(),
            billed: 0,
        }
    }
}

struct Node {
    id: NodeId,
    lease: Arc<Lease>,
    leases: Leases,
    quota: Quota,
    own: Share,
    pending: f64,
    tick_at: u64,
    /// A round under way.
    round: Option<Round>,
}

struct Round {
    asks: Vec<Ask>,
    /// When it is at the store, and when its answer is back.
    at_store: u64,
    back: u64,
    answers: Option<Vec<Answer>>,
}

#[derive(Default)]
struct Outcome {
    calls: Grants,
    units: Grants,
    /// By node: asked for and let through.
    asked: Vec<u64>,
    got: Vec<u64>,
    used: u64,
    sum: u64,
    /// Of the month's sum, before everything was handed back.
    sum_before: u64,
    used_while_gone: VecDeque<u64>,
}

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

struct Sim<'w> {
    world: &'w World,
    terms: LeaseTerms,
    own: Terms,
    store: Store,
    random: Random,
    out: Outcome,
}

fn run(world: &World, seed: u64) -> Outcome {
    let plan = PlanConfig { quota: world.quota, without_store: world.without_store, ..PlanConfig::default() };
    let terms = LeaseTerms::new(&plan, MONTH);
    let own = Terms::new(&world.quota, plan.units.heaviest(), MONTH);
    let mut sim =
        Sim { world, terms, own, store: Store::default(), random: Random::new(seed), out: Outcome::default() };
    sim.out.asked = vec![0; world.demand.len()];
    sim.out.got = vec![0; world.demand.len()];
    let mut nodes: Vec<_> = (0..world.demand.len()).map(|index| sim.node(index as u64)).collect();
    for ms in BEGIN_MS..BEGIN_MS + world.seconds * 1000 {
        for (index, node) in nodes.iter_mut().enumerate() {
            let restarts = world.restart_ms.is_some_and(|every| (ms + index as u64 * 137).is_multiple_of(every));
            if restarts {
                *node = sim.node(node.id + 1000);
            }
            if world.forgets.contains(&(ms - BEGIN_MS)) {
                node.lease = Arc::new(Lease::new(&sim.terms));
            }
            if world.billed > 0 && (ms + index as u64 * 137).is_multiple_of(1_000) {
                node.lease.bill(world.billed);
                sim.out.used += world.billed;
            }
            sim.clients(index, node, ms);
            sim.network(node, ms);
            sim.control(node, ms);
        }
    }
    sim.out.sum_before = sim.store.sum(KEY, MONTH.number);
    let end = BEGIN_MS + world.seconds * 1000;
    for node in &mut nodes {
        // What is under way is lost; the last word says it all again.
        let asks = node.leases.finish(at(end));
        for ask in asks {
            sim.store.answer(end * 1000, node.id, &ask);
        }
    }
    sim.out.sum = sim.store.sum(KEY, MONTH.number);
    sim.out
}

impl Sim<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound.max(1)
    }

    fn node(&mut self, id: NodeId) -> Node {
        Node {
            id,
            lease: Arc::new(Lease::new(&self.terms)),
            leases: Leases::new(self.random.next_u64()),
            quota: Quota::new(),
            own: Share::default(),
            pending: 0.0,
            tick_at: BEGIN_MS + self.below(25),
            round: None,
        }
    }

    fn clients(&mut self, index: usize, node: &mut Node, ms: u64) {
        // Uneven, as clients are.
        let uneven = f64::from(u32::try_from(self.below(2001)).unwrap()) / 1000.0;
        node.pending += self.world.demand[index] / 1000.0 * uneven;
        while node.pending >= 1.0 {
            node.pending -= 1.0;
            let units = 1 + u32::try_from(self.below(self.world.weight.into())).unwrap();
            self.out.asked[index] += 1;
            let Ok(taken) = node.quota.take(at(ms), units, &self.own, &mut node.own) else { continue };
            if node.lease.take(at(ms), units).is_err() {
                node.quota.give_back(at(ms), taken, &self.own, &mut node.own);
                continue;
            }
            node.quota.end(taken);
            self.out.got[index] += 1;
            self.out.used += u64::from(units);
            self.out.calls.add(ms * 1000, 1);
            self.out.units.add(ms * 1000, units.into());
            if self.is_gone(ms) {
                self.out.used_while_gone.push_back(ms);
            }
        }
    }

    fn is_gone(&self, ms: u64) -> bool {
        self.world.outages.iter().any(|gone| gone.contains(&(ms - BEGIN_MS)))
    }

    fn network(&mut self, node: &mut Node, ms: u64) {
        let Some(round) = &mut node.round else { return };
        if ms == round.at_store && !self.world.outages.iter().any(|gone| gone.contains(&(ms - BEGIN_MS))) {
            let answer = |ask: &Ask| self.store.answer(ms * 1000, node.id, ask);
            round.answers = Some(round.asks.iter().map(answer).collect());
        }
        if ms < round.back {
            return;
        }
        let gone = self.world.outages.iter().any(|gone| gone.contains(&(ms - BEGIN_MS)));
        let Some(answers) = round.answers.take().filter(|_| !gone) else {
            // Heard or not, no answer comes.
            round.answers = None;
            if ms >= round.at_store + TIMEOUT_MS {
                node.leases.on_failure(at(ms), &round.asks);
                node.round = None;
            }
            return;
        };
        for (ask, answer) in round.asks.iter().zip(&answers) {
            node.leases.on_answer(at(ms), ask, answer);
        }
        node.leases.on_round(at(ms));
        node.round = None;
    }

    fn control(&mut self, node: &mut Node, ms: u64) {
        if ms < node.tick_at {
            return;
        }
        // Half to one and a half of it, as control does it: else one of them would always be the first.
        let tick = u64::try_from(LEASE_TICK.as_millis()).unwrap();
        node.tick_at = ms + tick / 2 + self.below(tick + 1);
        let leased = Leased { key: KEY, lease: Arc::clone(&node.lease), terms: self.terms, base: 0 };
        if node.round.is_some() {
            // Control goes on looking, so that it sees that the store is late.
            assert!(node.leases.tick(at(ms), [leased]).is_empty(), "one ask a key");
            return;
        }
        let asks = node.leases.tick(at(ms), [leased]);
        if !asks.is_empty() {
            let at_store = ms + 1 + self.below(3);
            let back = at_store + 1 + self.below(3);
            node.round = Some(Round { asks, at_store, back, answers: None });
        }
    }
}

fn calls(rate: u32, burst: u32) -> QuotaConfig {
    QuotaConfig { calls_per_second: Some(rate), calls_burst: Some(burst), ..QuotaConfig::default() }
}

/// A round of one node's, answered at once; how many asks.
fn round(leases: &mut Leases, store: &mut Store, ms: u64, (lease, terms): (&Arc<Lease>, LeaseTerms)) -> usize {
    let asks = leases.tick(at(ms), [Leased { key: KEY, lease: Arc::clone(lease), terms, base: 0 }]);
    for ask in &asks {
        let answer = store.answer(ms * 1000, 1, ask);
        leases.on_answer(at(ms), ask, &answer);
    }
    leases.on_round(at(ms));
    asks.len()
}

/// Ten nodes of which some have much more to do than others.
fn unfair(total: f64) -> Vec<f64> {
    let weights = [40.0, 20.0, 10.0, 10.0, 5.0, 5.0, 4.0, 3.0, 2.0, 1.0];
    weights.iter().map(|weight| total * weight / 100.0).collect()
}

/// What may be had in ten seconds, and the calls that nodes may meet a key with.
fn most(rate: u64, burst: u64, nodes: u64) -> u64 {
    (10 * rate + burst) * 101 / 100 + nodes
}

#[test]
fn a_region_gets_what_was_sold_and_hardly_more() {
    for (rate, burst, total) in
        [(1_u32, 1_u32, 20.0), (10, 10, 100.0), (100, 50, 300.0), (1_000, 1_000, 3_000.0), (5_000, 500, 6_000.0)]
    {
        for seed in 0..3 {
            let outcome = run(&World::new(calls(rate, burst), unfair(total)), seed);
            let (found, allowed) = (outcome.calls.most(), most(rate.into(), burst.into(), 10));
            assert!(found <= allowed, "{found} of {allowed} in 10 s at {rate} and {burst}, seed {seed}");
            let (got, sold): (u64, u64) = (outcome.got.iter().sum(), u64::from(rate) * 40);
            assert!(got * 100 >= sold * 95, "{got} of {sold} at {rate} and {burst}, seed {seed}");
        }
    }
}

#[test]
fn nobody_starves() {
    for (rate, total) in [(10_u32, 60.0), (100, 300.0), (1_000, 5_000.0)] {
        let outcome = run(&World { seconds: 60, ..World::new(calls(rate, rate), unfair(total)) }, 5);
        for (node, (asked, got)) in outcome.asked.iter().zip(&outcome.got).enumerate() {
            let fair = (u64::from(rate) * 60 / 10).min(*asked);
            // At ten a second few of the moments at which a call comes are ones at which a token does.
            let part = if rate < 100 { 25 } else { 50 };
            assert!(got * 100 >= fair * part, "node {node} got {got} of {asked} at {rate}: {:?}", outcome.got);
        }
    }
}

#[test]
fn below_the_rate_nearly_nothing_is_refused() {
    for (rate, total) in [(10_u32, 5.0), (100, 60.0), (1_000, 700.0)] {
        let outcome = run(&World::new(calls(rate, rate), unfair(total)), 11);
        let (asked, got): (u64, u64) = (outcome.asked.iter().sum(), outcome.got.iter().sum());
        assert!(got * 100 >= asked * 97, "{got} of {asked} at {rate}");
    }
}

#[test]
fn units_are_leased_by_what_calls_weigh() {
    let quota = QuotaConfig { units_per_second: Some(1_000), ..QuotaConfig::default() };
    let world = World { weight: 60, ..World::new(quota, unfair(100.0)) };
    let outcome = run(&world, 3);
    // A call of each node beyond it.
    let (found, allowed) = (outcome.units.most(), most(1_000, 1_000, 10 * 60));
    assert!(found <= allowed, "{found} of {allowed}");
    assert!(outcome.used * 100 >= 1_000 * 40 * 90, "{}", outcome.used);
}

#[test]
fn a_store_that_is_gone_lets_nothing_through_where_the_plan_refuses() {
    let world = World {
        outages: vec![10_000..14_000, 20_000..20_300, 25_000..25_040],
        ..World::new(calls(200, 200), unfair(600.0))
    };
    for seed in 0..3 {
        let outcome = run(&world, seed);
        let (found, allowed) = (outcome.calls.most(), most(200, 200, 10));
        assert!(found <= allowed, "{found} of {allowed}, seed {seed}");
        let late = outcome.used_while_gone.iter().filter(|ms| (10_150..14_000).contains(&(**ms - BEGIN_MS))).count();
        assert!(late <= 10 * 2, "{late}: what was leased is used up soon, but for what quiet nodes had");
        let got: u64 = outcome.got.iter().sum();
        assert!(got * 100 >= 200 * 34 * 90, "{got}: it comes back");
    }
}

#[test]
fn a_store_that_is_gone_is_not_noticed_where_the_plan_goes_on() {
    let quota = QuotaConfig { units_per_month: Some(10_000_000), ..calls(1_000, 1_000) };
    let world = World {
        without_store: WithoutStore::GoOn,
        outages: vec![10_000..20_000, 30_000..30_200],
        ..World::new(quota, unfair(800.0))
    };
    for seed in 0..3 {
        let outcome = run(&world, seed);
        let (asked, got): (u64, u64) = (outcome.asked.iter().sum(), outcome.got.iter().sum());
        assert!(got * 100 >= asked * 99, "{got} of {asked}");
        assert!(outcome.used_while_gone.len() > 7_000);
        assert_eq!(outcome.sum, outcome.used, "what was used meanwhile is in the sum");
    }
}

#[test]
fn a_month_is_exact() {
    for (without_store, outages) in [
        (WithoutStore::Refuse, vec![]),
        (WithoutStore::Refuse, vec![5_000..9_000, 15_000..15_100]),
        (WithoutStore::GoOn, vec![]),
        (WithoutStore::GoOn, vec![5_000..9_000, 15_000..15_100]),
    ] {
        for seed in 0..3 {
            let quota = QuotaConfig { units_per_month: Some(100_000), ..QuotaConfig::default() };
            let world =
                World { without_store, weight: 26, outages: outages.clone(), ..World::new(quota, unfair(400.0)) };
            let outcome = run(&world, seed);
            assert_eq!(outcome.sum, outcome.used, "after all is handed back");
            let leased = outcome.sum_before.abs_diff(outcome.used);
            assert!(leased <= 10 * 1_000, "{leased} are leased out");
            if outages.is_empty() {
                // A first call of each node beyond it.
                assert!(outcome.used <= 100_000 + 10 * 60, "{}", outcome.used);
                assert!(outcome.used >= 99_000, "{}", outcome.used);
            }
        }
    }
}

#[test]
fn what_is_billed_without_having_been_asked_for_is_in_the_sum() {
    let quota = QuotaConfig { units_per_month: Some(100_000_000), ..calls(100, 100) };
    for demand in [0.0, 50.0] {
        let world = World { billed: 5_000, ..World::new(quota, vec![demand; 3]) };
        let outcome = run(&world, 1);
        assert!(outcome.used >= 3 * 39 * 5_000);
        assert_eq!(outcome.sum, outcome.used);
    }
}

#[test]
fn a_month_outlives_the_words_that_it_was_counted_by() {
    let quota = QuotaConfig { units_per_month: Some(10_000_000), ..calls(1_000, 1_000) };
    for outages in [vec![], vec![10_000..20_000, 27_000..27_300]] {
        let world = World {
            without_store: WithoutStore::GoOn,
            forgets: vec![5_000, 12_000, 15_000, 25_000],
            outages,
            ..World::new(quota, unfair(800.0))
        };
        let outcome = run(&world, 4);
        assert_eq!(outcome.sum, outcome.used);
    }
}

/// Keys whose turn comes while a round is under way wait for the next one.
#[test]
fn a_slow_round_forgets_nobody() {
    const ROUND_MS: u64 = 40;
    let quota = QuotaConfig { units_per_month: Some(10_000_000), ..calls(100, 100) };
    let terms = LeaseTerms::new(&PlanConfig { quota, ..PlanConfig::default() }, MONTH);
    let keys = [1, 2, 3].map(|key| (KeyId(key), Arc::new(Lease::new(&terms))));
    let (mut leases, mut store, mut got) = (Leases::new(1), Store::default(), [0; 3]);
    let mut under_way: Option<(u64, Vec<Ask>)> = None;
    for ms in 0..20_000 {
        for ((_, lease), got) in keys.iter().zip(&mut got).filter(|_| ms % 20 == 0) {
            *got += u32::from(lease.take(at(ms), 1).is_ok());
        }
        if let Some((_, asks)) = under_way.take_if(|(sent, _)| *sent + ROUND_MS == ms) {
            for ask in &asks {
                let answer = store.answer(ms * 1000, 1, ask);
                leases.on_answer(at(ms), ask, &answer);
            }
            leases.on_round(at(ms));
        }
        if ms % 25 == 0 {
            let leased =
                |(key, lease): &(KeyId, Arc<Lease>)| Leased { key: *key, lease: Arc::clone(lease), terms, base: 0 };
            // They begin to be used one after the other.
            let begun = keys.iter().take(1 + usize::try_from(ms / 25).unwrap_or(0)).map(leased);
            let asks = leases.tick(at(ms), begun);
            assert!(asks.is_empty() || under_way.is_none(), "one round at a time");
            under_way = under_way.or((!asks.is_empty()).then_some((ms, asks)));
        }
    }
    assert!(got.iter().all(|got| *got >= 950), "{got:?} of 1000");
}

/// A count is closed while a call is under way that turns out not to be paid for.
#[test]
fn what_is_given_back_late_is_taken_off_the_sum() {
    let quota = QuotaConfig { units_per_month: Some(1_000_000), ..calls(100, 100) };
    let terms = LeaseTerms::new(&PlanConfig { quota, ..PlanConfig::default() }, MONTH);
    for (late_ms, is_used_again) in [(10, false), (200, false), (2_000, false), (2_000, true)] {
        let lease = Arc::new(Lease::new(&terms));
        let (mut leases, mut store) = (Leases::new(1), Store::default());
        for ms in (0..20_000).step_by(10) {
            if [1_000, 1_050].contains(&ms) || (is_used_again && ms == 1_990) {
                assert_eq!(lease.take(at(ms), 26), Ok(()));
            }
            if ms == 1_000 + late_ms {
                lease.unbill(26, MONTH.number);
            }
            round(&mut leases, &mut store, ms, (&lease, terms));
        }
        let used = if is_used_again { 52 } else { 26 };
        assert_eq!(store.sum(KEY, MONTH.number), used, "given back after {late_ms} ms");
        assert_eq!((leases.tick(at(20_000), []).len(), leases.len()), (0, 0), "nothing is left to say");
    }
}

#[test]
fn a_limit_that_is_lifted_and_set_again_forgets_nothing() {
    let limited = QuotaConfig { units_per_month: Some(1_000_000), ..calls(1_000, 1_000) };
    let terms = |quota| LeaseTerms::new(&PlanConfig { quota, ..PlanConfig::default() }, MONTH);
    let (with, without) = (terms(limited), terms(calls(1_000, 1_000)));
    let lease = Arc::new(Lease::new(&with));
    let (mut leases, mut store, mut used) = (Leases::new(1), Store::default(), 0);
    for ms in (0..30_000).step_by(25) {
        let terms = if (10_000..20_000).contains(&ms) { without } else { with };
        if lease.take(at(ms), 20).is_ok() && terms.units_per_month.is_some() {
            used += 20;
        }
        round(&mut leases, &mut store, ms, (&lease, terms));
    }
    for ask in leases.finish(at(30_000)) {
        store.answer(30_000_000, 1, &ask);
    }
    let sum = store.sum(KEY, MONTH.number);
    // What was leased out when the limit was lifted stays in it.
    assert!((used..=used + 2_500).contains(&sum), "{sum} of {used}");
}

#[test]
fn what_is_not_limited_never_runs_out() {
    let terms = LeaseTerms::new(&PlanConfig { quota: calls(1_000, 1_000), ..PlanConfig::default() }, MONTH);
    let lease = Arc::new(Lease::new(&terms));
    let (mut leases, mut store) = (Leases::new(1), Store::default());
    for ms in (0..60_000).step_by(25) {
        // Some hundred times what any call weighs.
        assert_eq!(lease.take(at(ms), 1 << 31), Ok(()), "{ms}");
        round(&mut leases, &mut store, ms, (&lease, terms));
    }
}

#[test]
fn nodes_that_restart_change_little() {
    let quota = QuotaConfig { units_per_month: Some(1_000_000), ..calls(500, 500) };
    let world = World { restart_ms: Some(7_000), ..World::new(quota, unfair(2_000.0)) };
    for seed in 0..3 {
        let outcome = run(&world, seed);
        // Each restart, of which a node has two in ten seconds, is one more that meets the key.
        let (found, allowed) = (outcome.calls.most(), most(500, 500, 3 * 10 * 6));
        assert!(found <= allowed, "{found} of {allowed}, seed {seed}");
        // What a node had leased when it was killed is lost for the month, and what it had used since it last asked is
        // not in the sum.
        assert!(outcome.sum.abs_diff(outcome.used) <= 60 * 1_000, "{} and {}", outcome.sum, outcome.used);
    }
}

#[test]
fn a_quiet_key_does_not_trouble_the_store() {
    let terms = LeaseTerms::new(&PlanConfig { quota: calls(10, 10), ..PlanConfig::default() }, MONTH);
    let lease = Arc::new(Lease::new(&terms));
    let (mut leases, mut store) = (Leases::new(1), Store::default());
    let mut asked = Vec::new();
    for ms in (0..20_000).step_by(25) {
        if ms == 5_000 {
            assert_eq!(lease.take(at(ms), 1), Ok(()));
        }
        let asks = round(&mut leases, &mut store, ms, (&lease, terms));
        asked.extend(std::iter::repeat_n(ms, asks));
    }
    assert!(!asked.is_empty() && asked.len() < 12, "{asked:?}");
    assert!(asked.iter().all(|ms| (5_000..7_000).contains(ms)), "{asked:?}");
    // Nobody holds its words any more.
    assert_eq!((leases.tick(at(20_000), []).len(), leases.len()), (0, 0));
}
