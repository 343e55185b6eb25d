//! All of it together, for half a minute: keys of several rates on two shards, asked for twice what was sold.
//!
//! Clients count what they send and what they pay for; the ledger loses words. In the end both have the same, key by key,
//! to the last call and unit, and no ten seconds saw more or less than was sold.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::key::KeyId;
use super::quota::windows::Grants;
use super::*;
use crate::jsonrpc::{Class, Reason, info};
use crate::routing::{Month, Random};
use crate::time::Instant;

const SHARDS: usize = 2;
const RATES: [u32; 8] = [4, 20, 60, 150, 200, 400, 1_000, 2_500];
const START_MS: u64 = 100_000;
const END_MS: u64 = 132_000;
const METHODS: [&str; 4] = ["eth_call", "eth_getBalance", "eth_getLogs", "made_up"];

/// What a key's clients know.
#[derive(Default)]
struct Client {
    sent: u64,
    paid_units: u64,
    refused: u64,
    allowed: Grants,
    /// Calls that are due, in thousandths.
    due: u64,
}

struct Shard {
    accounts: Vec<Rc<Account>>,
    usage: UsageTable,
    /// Calls under way, and when they end.
    running: VecDeque<(u64, CallPlace, UsageKey, End)>,
}

fn shard(active: &Active) -> Shard {
    let account = |(number, rate): (u64, u32)| {
        let quota = QuotaConfig {
            calls_per_second: Some(rate),
            units_per_month: Some(1_000_000_000),
            in_flight: Some(1_000_000),
            ..QuotaConfig::default()
        };
        let plan = Plan::new(&PlanConfig { quota, ..PlanConfig::default() }, Month::default());
        let entry = KeyEntry {
            key: KeyId(number),
            tenant: TenantId(1),
            plan: PlanNumber(0),
            rules: RulesNumber(0),
            expires: Instant::NEVER,
        };
        let words = active.words(Who::Key(KeyId(number)), 0).unwrap();
        Account::new(Known::of(entry, Arc::new(plan), Arc::default()), words)
    };
    Shard { accounts: (1..).zip(RATES).map(account).collect(), usage: UsageTable::new(100), running: VecDeque::new() }
}

impl Shard {
    fn call(&mut self, key: usize, now_ms: u64, client: &mut Client, random: &mut Random) {
        let account = &self.accounts[key];
        let name = METHODS[usize::try_from(random.next_u64() % 4).unwrap()];
        let row = UsageKey {
            tenant: account.known.entry.tenant,
            key: account.known.entry.key,
            chain: 1 + u32::try_from(random.next_u64() % 3).unwrap(),
            method: MethodNumber::of(info(name)),
            provider: u32::try_from(random.next_u64() % 3).unwrap(),
            minute: u32::try_from(now_ms / 60_000).unwrap(),
        };
        client.sent += 1;
        match account.call(Instant::from_micros(now_ms * 1000), info(name), name) {
            Ok(place) => {
                client.allowed.add(now_ms * 1000, 1);
                let end = match random.next_u64() % 10 {
                    0 => End::Error(Class::Execution),
                    1 => End::Failed(Reason::Deadline),
                    2 => End::Left,
                    _ => End::Answered,
                };
                client.paid_units += if end.billable() { place.units.into() } else { 0 };
                self.running.push_back((now_ms + random.next_u64() % 50, place, row, end));
            }
            Err(verdict) => {
                assert_eq!(verdict.reason(), Some(Reason::Quota));
                client.refused += 1;
                self.end(0, &row, End::Failed(Reason::Quota));
            }
        }
    }

    fn end_due(&mut self, now_ms: u64) {
        while let Some((_, place, row, end)) = self.running.pop_front_if(|(ends_ms, ..)| *ends_ms <= now_ms) {
            if !end.billable() {
                place.unbill();
            }
            self.end(place.units, &row, end);
        }
    }

    fn end(&mut self, units: u32, row: &UsageKey, end: End) {
        let call = CallEnd { end, units, bytes_in: 100, bytes_out: 60, attempts: 1, cache_hit: false };
        self.usage.add_call(row, &call);
    }
}

#[test]
fn at_twice_the_quota_the_ledger_has_what_the_clients_counted() {
    let (active, mut random) = (Active::default(), Random::new(11));
    let mut shards: Vec<Shard> = (0..SHARDS).map(|_| shard(&active)).collect();
    let mut clients: [Client; RATES.len()] = std::array::from_fn(|_| Client::default());
    let (mut spool, mut ledger): (Spool, HashMap<u64, Batch>) = Default::default();
    for now_ms in START_MS..END_MS {
        for (key, (client, rate)) in clients.iter_mut().zip(RATES).enumerate() {
            client.due += 2 * u64::from(rate);
            let batch = 1 + random.next_u64() % u64::from(rate / 8).clamp(1, 40);
            if client.due >= batch * 1000 {
                client.due -= batch * 1000;
                let shard = usize::try_from(random.next_u64() % SHARDS as u64).unwrap();
                (0..batch).for_each(|_| shards[shard].call(key, now_ms, client, &mut random));
            }
        }
        for shard in &mut shards {
            shard.end_due(now_ms);
            if now_ms.is_multiple_of(1000) {
                spool.absorb(&mut shard.usage);
            }
        }
        if now_ms.is_multiple_of(300) {
            write(&mut spool, &mut ledger, random.next_u64().is_multiple_of(2));
        }
    }
    for shard in &mut shards {
        shard.end_due(u64::MAX);
        spool.absorb(&mut shard.usage);
    }
    while spool.rows() > 0 {
        write(&mut spool, &mut ledger, true);
    }
    check(&clients, &ledger, &active);
}

/// One commit; whether the ledger's word of it arrives is the caller's to say.
fn write(spool: &mut Spool, ledger: &mut HashMap<u64, Batch>, answers: bool) {
    let Some(batch) = spool.offer() else { return };
    let sequence = batch.sequence;
    ledger.entry(sequence).or_insert_with(|| batch.clone());
    if answers {
        spool.on_written(sequence);
    }
}

fn check(clients: &[Client], ledger: &HashMap<u64, Batch>, active: &Active) {
    for (number, (client, rate)) in (1..).zip(clients.iter().zip(RATES)) {
        let mut sum = Usage::default();
        let rows = ledger.values().flat_map(|batch| &batch.rows);
        rows.filter(|(key, _)| key.key == KeyId(number)).for_each(|(_, usage)| sum.add(usage));
        assert_eq!((sum.calls, sum.units), (client.sent, client.paid_units), "{rate}");
        assert!(client.refused * 10 > client.sent * 4, "{rate}: about every second one");

        let words = active.words(Who::Key(KeyId(number)), 0).unwrap();
        assert_eq!(words.lasting(), [0; 3], "{rate}");
        let (rate, most) = (u64::from(rate), client.allowed.most());
        let least = client.allowed.least((START_MS + 2_000) * 1000, END_MS * 1000);
        assert!(most * 100 <= 101 * 11 * rate, "{most} in 10 s of {rate}");
        assert!((least + 1) * 100 >= 99 * 10 * rate, "{least} in 10 s of {rate}");
        let month = words.month_used(Instant::START, Month::default());
        assert!((client.paid_units..client.paid_units + 30_000).contains(&month), "{month} of {}", client.paid_units);
    }
}
