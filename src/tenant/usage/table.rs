//! Rows of usage, found by their key, at most so many of them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::super::key::KeyId;
use super::super::map::TenantId;
use super::row::{CallEnd, MethodNumber, Usage, UsageKey};

/// What detail a table keeps: each grain drops one more than the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grain {
    #[default]
    Whole,
    /// Without who answered.
    NoProviders,
    /// Methods are `other`.
    NoMethods,
    NoChains,
    /// Minutes are their hours' first ones.
    Hours,
    NoKeys,
    /// One row for the whole node, without even a minute.
    Node,
}

/// See the module above.
#[derive(Debug)]
pub struct UsageTable {
    rows: HashMap<UsageKey, Usage, BuildHasherDefault<Spread>>,
    rows_max: usize,
    grain: Grain,
}

impl Grain {
    const fn coarser(self) -> Self {
        match self {
            Self::Whole => Self::NoProviders,
            Self::NoProviders => Self::NoMethods,
            Self::NoMethods => Self::NoChains,
            Self::NoChains => Self::Hours,
            Self::Hours => Self::NoKeys,
            Self::NoKeys | Self::Node => Self::Node,
        }
    }

    /// The key of the row that `key`'s usage is summed in.
    fn of(self, mut key: UsageKey) -> UsageKey {
        if self == Self::Node {
            return UsageKey::default();
        }
        if self >= Self::NoProviders {
            key.provider = 0;
        }
        if self >= Self::NoMethods {
            key.method = MethodNumber::OTHER;
        }
        if self >= Self::NoChains {
            key.chain = 0;
        }
        if self >= Self::Hours {
            key.minute -= key.minute % 60;
        }
        if self >= Self::NoKeys {
            key.key = KeyId::NOBODY;
        }
        key
    }
}

impl UsageTable {
    /// One of at most `rows_max` rows, and at least one.
    #[must_use]
    pub fn new(rows_max: usize) -> Self {
        Self { rows: HashMap::default(), rows_max: rows_max.max(1), grain: Grain::Whole }
    }

    /// Adds a call that has ended.
    #[inline]
    pub fn add_call(&mut self, key: &UsageKey, call: &CallEnd) {
        if self.grain == Grain::Whole
            && let Some(sum) = self.rows.get_mut(key)
        {
            sum.add_call(call);
            return;
        }
        self.add_new(key, &Usage::of_call(call));
    }

    /// Adds what was used.
    pub fn add(&mut self, key: &UsageKey, usage: &Usage) {
        if self.grain == Grain::Whole
            && let Some(sum) = self.rows.get_mut(key)
        {
            sum.add(usage);
            return;
        }
        self.add_new(key, usage);
    }

    #[cold]
    fn add_new(&mut self, key: &UsageKey, usage: &Usage) {
        let mut at = self.grain.of(*key);
        if self.rows.len() >= self.rows_max && !self.rows.contains_key(&at) {
            self.make_room();
            at = self.grain.of(*key);
        }
        self.rows.entry(at).or_default().add(usage);
    }

    /// Drops detail until an eighth is free, so that the next row does not come to the same pass; the coarsest grain
    /// has one row in all.
    fn make_room(&mut self) {
        while self.rows.len() > self.rows_max - self.rows_max.div_ceil(8) && self.grain != Grain::Node {
            self.grain = self.grain.coarser();
            let mut coarse: HashMap<UsageKey, Usage, _> = HashMap::default();
            for (key, usage) in self.rows.drain() {
                coarse.entry(self.grain.of(key)).or_default().add(&usage);
            }
            self.rows = coarse;
        }
    }

    /// Takes over all that `other` has; it is empty then, and as good as new.
    pub fn absorb(&mut self, other: &mut Self) {
        for (key, usage) in other.rows.drain() {
            self.add(&key, &usage);
        }
        other.grain = Grain::Whole;
    }

    /// Takes out at most `most` rows.
    #[must_use]
    pub fn take(&mut self, most: usize) -> Vec<(UsageKey, Usage)> {
        let taken: Vec<_> = self.rows.extract_if(|_, _| true).take(most).collect();
        if self.rows.is_empty() {
            self.grain = Grain::Whole;
        }
        taken
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What detail it keeps now, for pages and alarms.
    #[must_use]
    pub const fn grain(&self) -> Grain {
        self.grain
    }

    /// The sum of all rows.
    #[must_use]
    pub fn total(&self) -> Usage {
        let mut total = Usage::default();
        self.rows.values().for_each(|usage| total.add(usage));
        total
    }
}

/// For keys of our own making: random ids and counted numbers, which nobody can choose so that they meet.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(29) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    fn finish(&self) -> u64 {
        // The table takes the lowest bits for the place and the highest for the tag; a product's best are its highest.
        self.0 ^ self.0 >> 32
    }
}

impl TenantId {
    /// Of usage whose tenant was dropped with all other detail.
    pub const NOBODY: Self = Self(0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::row::End;
    use super::*;
    use crate::jsonrpc::info;
    use crate::routing::Random;

    fn one(units: u64) -> Usage {
        Usage { calls: 1, billable: 1, units, ..Usage::default() }
    }

    fn key(random: &mut Random, spread: u64) -> UsageKey {
        let mut below = |most: u64| u32::try_from(random.next_u64() % most).unwrap();
        let methods = ["eth_call", "eth_getLogs", "eth_getBalance", "eth_chainId", "made_up"];
        let number = below(spread);
        UsageKey {
            tenant: TenantId(1 + number % 3),
            key: KeyId(1 + u64::from(number)),
            chain: 1 + below(4),
            method: MethodNumber::of(info(methods[below(5) as usize])),
            provider: below(3),
            minute: 29_000_000 + below(spread),
        }
    }

    #[test]
    fn the_same_key_is_one_row() {
        let (mut table, mut random) = (UsageTable::new(100), Random::new(1));
        let (a, b) = (key(&mut random, 50), key(&mut random, 50));
        for units in 1..=3 {
            table.add(&a, &one(units));
        }
        let call = CallEnd { end: End::Answered, units: 10, bytes_in: 0, bytes_out: 0, attempts: 0, cache_hit: false };
        table.add_call(&b, &call);
        let mut rows = table.take(100);
        rows.sort_by_key(|(_, usage)| usage.calls);
        table.add_call(&b, &call);
        table.add_call(&b, &call);
        assert_eq!(table.take(1), [(b, Usage { calls: 2, billable: 2, units: 20, ..Usage::default() })]);
        assert_eq!(rows, [(b, one(10)), (a, Usage { calls: 3, billable: 3, units: 6, ..Usage::default() })]);
        assert!(table.is_empty());
    }

    #[test]
    fn detail_goes_in_order_and_comes_back_when_the_table_is_empty() {
        // Rows that differ in one thing only; when they are too many, that is what goes.
        let whole = UsageKey {
            tenant: TenantId(1),
            key: KeyId(7),
            chain: 3,
            method: MethodNumber::of(info("eth_call")),
            provider: 2,
            minute: 6_001,
        };
        let methods: Vec<_> =
            ["eth_getLogs", "eth_chainId", "net_version"].map(|name| MethodNumber::of(info(name))).into();
        let vary = |n: u32, grain: Grain| match grain {
            Grain::Whole | Grain::NoProviders => UsageKey { provider: n, ..whole },
            Grain::NoMethods => UsageKey { method: methods[n as usize % 3], provider: n, ..whole },
            Grain::NoChains => UsageKey { chain: n, ..whole },
            Grain::Hours => UsageKey { minute: 6_000 + n % 60, ..whole },
            Grain::NoKeys => UsageKey { key: KeyId(n.into()), ..whole },
            Grain::Node => UsageKey { tenant: TenantId(n), ..whole },
        };
        for (grain, room) in [
            (Grain::NoProviders, 8),
            (Grain::NoMethods, 2),
            (Grain::NoChains, 8),
            (Grain::Hours, 8),
            (Grain::NoKeys, 8),
            (Grain::Node, 8),
        ] {
            let mut table = UsageTable::new(room);
            for n in 0..40 {
                table.add(&vary(n, grain), &one(1));
                assert!(table.len() <= room, "{grain:?}");
            }
            assert_eq!(table.grain(), grain);
            assert_eq!(table.total(), Usage { calls: 40, billable: 40, units: 40, ..Usage::default() });
            let taken = table.take(usize::MAX);
            assert!(taken.iter().all(|(key, _)| grain.of(*key) == *key), "{grain:?}");
            assert_eq!(table.grain(), Grain::Whole);
            table.add(&whole, &one(1));
            assert_eq!(table.take(1), [(whole, one(1))]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever the tables' sizes, the shards and the moments of collection: not a call and not a unit is lost, and
        /// no row has more than its share as long as there was room.
        #[test]
        fn nothing_is_lost_by_merging_and_dropping_detail(
            shard_rows in 1..60_usize,
            node_rows in 1..200_usize,
            shards in 1..5_usize,
            spread in 1..200_u64,
            calls in 0..2_000_u64,
            seed in any::<u64>(),
        ) {
            let mut random = Random::new(seed);
            let mut tables: Vec<_> = (0..shards).map(|_| UsageTable::new(shard_rows)).collect();
            let (mut node, mut expected, mut ledger) = (UsageTable::new(node_rows), Usage::default(), Usage::default());
            for _ in 0..calls {
                let key = key(&mut random, spread);
                let usage = Usage { bytes_in: 3, errors: [1, 0, 2], ..one(random.next_u64() % 100) };
                let shard = usize::try_from(random.next_u64() % shards as u64).unwrap();
                tables[shard].add(&key, &usage);
                expected.add(&usage);
                prop_assert!(tables[shard].len() <= shard_rows);
                if random.next_u64().is_multiple_of(50) {
                    node.absorb(&mut tables[shard]);
                    prop_assert!(tables[shard].is_empty() && node.len() <= node_rows);
                }
                if random.next_u64().is_multiple_of(300) {
                    node.take(7).iter().for_each(|(_, usage)| ledger.add(usage));
                }
            }
            for table in &mut tables {
                node.absorb(table);
            }
            node.take(usize::MAX).iter().for_each(|(_, usage)| ledger.add(usage));
            prop_assert_eq!(ledger, expected);
        }
    }
}
