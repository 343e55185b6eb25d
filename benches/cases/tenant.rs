//! What keys, quotas and metering cost a request.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use livechain::jsonrpc::{MethodInfo, info};
use livechain::routing::{Month, Random};
use livechain::tenant::key::{KEY_RANDOM_BYTES, KeyHash, KeyId, KeyText, NewKey, Pepper, RememberedKey};
use livechain::tenant::{
    Account, CallEnd, End, KeyEntry, KeyMap, KeyPlaces, Keys, Known, MethodNumber, Plan, PlanConfig, PlanNumber, Quota,
    QuotaConfig, Rules, RulesNumber, TenantId, UsageKey, UsageTable, find_key, shown_key,
};
use livechain::time::Instant;

use super::{Case, NOW};

/// Keys of a large reseller.
const KEYS: u64 = 1_000_000;
/// Calls until every chunk of a busy key has something left.
const CALLS_BEFORE: usize = 1_200;

/// Everything that a key costs one request of a connection that has shown it before: the key, its rules, four limits
/// and a row of usage. The key is busy, and what the call needs is in the shard's share.
pub(crate) fn tenant_call() -> Case {
    let per_second = |calls| QuotaConfig {
        calls_per_second: Some(calls),
        units_per_second: Some(calls * 20),
        units_per_month: Some(1_000_000_000_000),
        in_flight: Some(1_000),
        ..QuotaConfig::default()
    };
    tenant_call_under(per_second(100_000), Duration::from_micros(20), CALLS_BEFORE)
}

/// The same at a low rate, where every call is counted in the words that all shards share.
pub(crate) fn tenant_call_exact() -> Case {
    let slow = QuotaConfig {
        calls_per_second: Some(100),
        units_per_second: Some(100),
        units_per_month: Some(1_000_000_000_000),
        in_flight: Some(10),
        ..QuotaConfig::default()
    };
    tenant_call_under(slow, Duration::from_secs(1), 0)
}

/// Calls come one `apart` from the other.
fn tenant_call_under(quota: QuotaConfig, apart: Duration, before: usize) -> Case {
    let shop = Shop::new(1);
    let plan = Plan::new(&PlanConfig { quota, ..PlanConfig::default() }, Month::default());
    let account = Account::new(Known::of(entry(1), Arc::new(plan), Arc::new(Rules::default())), Arc::new(Quota::new()));
    let remembered = KeyText::read(shop.key.expose().as_bytes()).expect("a key").remember();
    let (usage, method) = (UsageTable::new(1024), info("eth_getBalance"));
    let mut desk = Desk { key: shop.key, remembered, account, usage, method, now: NOW, apart };
    (0..before).for_each(|_| desk.call());
    Box::new(move || desk.call())
}

/// What a shard has at hand.
struct Desk {
    key: NewKey,
    remembered: RememberedKey,
    account: Rc<Account>,
    usage: UsageTable,
    method: &'static MethodInfo,
    now: Instant,
    apart: Duration,
}

impl Desk {
    fn call(&mut self) {
        let path = Some(black_box(self.key.expose().as_bytes()));
        let shown = shown_key(&KeyPlaces { path, ..KeyPlaces::default() }).ok().flatten();
        assert!(shown.is_some_and(|shown| self.remembered.is(shown)), "the same key again");
        self.now = self.now + self.apart;
        // Found on the way of every call, with a key or without.
        let method = black_box(self.method);
        let Ok(place) = self.account.call(black_box(self.now), method, black_box("eth_getBalance")) else {
            unreachable!("a plan with room")
        };
        let end = black_box(End::Answered);
        let call = CallEnd { end, units: place.units, bytes_in: 118, bytes_out: 56, attempts: 1, cache_hit: false };
        let entry = &self.account.known.entry;
        let method = MethodNumber::of(method);
        let row = UsageKey { tenant: entry.tenant, key: entry.key, chain: 1, method, provider: 2, minute: 29_340_000 };
        self.usage.add_call(black_box(&row), &call);
    }
}

/// A key that this connection has not shown before, out of a million.
pub(crate) fn key_first_look() -> Case {
    let shop = Shop::new(KEYS);
    Box::new(move || {
        let path = Some(black_box(shop.key.expose().as_bytes()));
        let shown = shown_key(&KeyPlaces { path, ..KeyPlaces::default() }).ok().flatten();
        assert!(black_box(find_key(shown, &shop.pepper, &shop.keys, NOW)).is_ok(), "a key that is known");
    })
}

/// Of that, finding its hash among a million, some of which have changed.
pub(crate) fn key_in_a_million() -> Case {
    let shop = Shop::new(KEYS);
    let changed = (0..100).map(|number| (hash(number * 1000, KEYS, &mut Random::new(number)), None));
    let keys = shop.keys.with(changed).expect("a few changes");
    let hash = shop.hash();
    Box::new(move || assert!(black_box(keys.find(black_box(&hash))).is_some(), "a key that is known"))
}

/// Building the map of a million, as after a start.
#[allow(dead_code, reason = "the bench of instructions leaves out what sorts a million rows")]
pub(crate) fn build_of_a_million_keys() -> Case {
    let mut random = Random::new(1);
    let all: Vec<_> =
        (0..KEYS).map(|number| (hash(random.next_u64() % KEYS, KEYS, &mut random), entry(number))).collect();
    Box::new(move || {
        let map = KeyMap::build(all.iter().copied()).expect("not too many");
        assert!(black_box(&map).bytes() < 48 * map.len(), "bytes a key");
    })
}

struct Shop {
    pepper: Pepper,
    keys: Keys,
    key: NewKey,
}

impl Shop {
    /// With so many other keys.
    fn new(others: u64) -> Self {
        let pepper = Pepper::new(b"a pepper of the benches, long enough").expect("long enough");
        let key = NewKey::from_random(&[7; KEY_RANDOM_BYTES]);
        let mut random = Random::new(7);
        let mut all: Vec<_> = (0..others).map(|number| (hash(number, others, &mut random), entry(number))).collect();
        let text = KeyText::read(key.expose().as_bytes()).expect("a key");
        all.push((pepper.hash(text), entry(others)));
        let map = KeyMap::build(all).expect("not too many");
        Self { keys: Keys::new(Arc::new(map), 1), pepper, key }
    }

    fn hash(&self) -> KeyHash {
        self.pepper.hash(KeyText::read(self.key.expose().as_bytes()).expect("a key"))
    }
}

/// One of hashes that are spread as evenly as real ones; in order, so that no time goes into sorting them.
fn hash(number: u64, of: u64, random: &mut Random) -> KeyHash {
    let step = u64::MAX / of;
    let words = [number * step + random.next_u64() % step, random.next_u64(), random.next_u64(), random.next_u64()];
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_be_bytes();
    }
    KeyHash(bytes)
}

fn entry(number: u64) -> KeyEntry {
    KeyEntry {
        key: KeyId(number + 1),
        tenant: TenantId(1),
        plan: PlanNumber(0),
        rules: RulesNumber(0),
        expires: Instant::NEVER,
    }
}
