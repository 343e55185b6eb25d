//! All keys of a node: one immutable map for all shards, and a small delta before it.
//!
//! A reseller has a million keys and changes one at a time. So the map is built once, dense and never changed, and what
//! has changed since stands in a delta of some thousand rows, which is looked at first. Control publishes both together
//! as [`Keys`] under a generation; when the delta is full it builds the map anew from both, beside the shards.
//!
//! **Shape.** Keys are known by their hash, which nobody without the pepper can choose, and whose bits are even. So the
//! rows are sorted by it, and its first bits lead through an index to a handful of neighbours: two lines of memory that
//! are not near, then the row's own. No probing, no load factor, 41 bytes a key. The first 128 bits of the hash stand
//! for all of it: to find a second key to one of a million takes 2^108 tries against a running node.
//!
//! Left out: plans and rules themselves; a row names them by number, as there are few of them and many keys.

use std::sync::Arc;

use super::key::{KeyHash, KeyId};
use crate::limits::{KEYS_CHANGED_MAX, KEYS_MAX};
use crate::time::Instant;

/// Whom a key belongs to, and who pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(pub u32);

/// A plan's position among those that are published with the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PlanNumber(pub u32);

/// The position of a key's own rules among those that are published with the keys. Most keys share the empty ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RulesNumber(pub u32);

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    pub key: KeyId,
    pub tenant: TenantId,
    pub plan: PlanNumber,
    pub rules: RulesNumber,
    /// From when on it is none any more, to the second; [`Instant::NEVER`] if there is no such moment.
    pub expires: Instant,
}

/// More keys than a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node holds at most {KEYS_MAX} keys")]
pub struct TooManyKeys;

/// As many changes as stand before the map: it is time to build it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{KEYS_CHANGED_MAX} keys have changed since the map was built")]
pub struct DeltaFull;

/// The beginning of a [`KeyHash`].
type Prefix = u128;

/// See the module.
#[derive(Debug)]
pub struct KeyMap {
    /// Of the prefixes that begin with `n`, the first one's position; and the end of all.
    starts: Box<[u32]>,
    /// Bits of a prefix that lead there.
    bits: u32,
    /// Sorted.
    prefixes: Box<[Prefix]>,
    rows: Box<[Row]>,
}

/// A [`KeyEntry`], smaller.
#[derive(Clone, Copy, Debug)]
struct Row {
    key: u64,
    tenant: u32,
    plan: u32,
    rules: u32,
    /// Seconds since the node started; the largest for never.
    expires_s: u32,
}

/// The map with what has changed since. Cloning it for the next change copies the delta alone.
#[derive(Clone, Debug)]
pub struct Keys {
    map: Arc<KeyMap>,
    /// Sorted; without a row: revoked.
    delta: Vec<(Prefix, Option<Row>)>,
    generation: u64,
}

impl Default for KeyMap {
    /// Nobody's.
    fn default() -> Self {
        Self::of_sorted(&[])
    }
}

impl KeyMap {
    /// Builds it of keys in any order. Of two with the same hash the later one counts.
    pub fn build(keys: impl IntoIterator<Item = (KeyHash, KeyEntry)>) -> Result<Self, TooManyKeys> {
        let mut all: Vec<(Prefix, Row)> = Vec::new();
        for (hash, entry) in keys {
            if all.len() == KEYS_MAX {
                return Err(TooManyKeys);
            }
            all.push((prefix(&hash), Row::of(&entry)));
        }
        all.sort_by_key(|(prefix, _)| *prefix);
        all.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = later.1;
            }
            same
        });
        Ok(Self::of_sorted(&all))
    }

    fn of_sorted(all: &[(Prefix, Row)]) -> Self {
        // Four neighbours on average.
        let bits = all.len().max(4).ilog2() - 1;
        let mut starts = Vec::with_capacity((1 << bits) + 1);
        let mut next = 0;
        for begins in 0..1_u64 << bits {
            starts.push(position(next));
            next += all[next..].iter().take_while(|(prefix, _)| first_bits(*prefix, bits) == begins).count();
        }
        starts.push(position(next));
        Self {
            starts: starts.into(),
            bits,
            prefixes: all.iter().map(|(prefix, _)| *prefix).collect(),
            rows: all.iter().map(|(_, row)| *row).collect(),
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Memory that it takes, for pages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.prefixes) + size_of_val(&*self.rows)
    }

    fn find(&self, wanted: Prefix) -> Option<&Row> {
        let begins = usize::try_from(first_bits(wanted, self.bits)).ok()?;
        let (start, end) = (self.starts.get(begins)?, self.starts.get(begins + 1)?);
        let neighbours = self.prefixes.get(*start as usize..*end as usize)?;
        let at = neighbours.iter().position(|prefix| *prefix == wanted)?;
        self.rows.get(*start as usize + at)
    }
}

impl Keys {
    #[must_use]
    pub const fn new(map: Arc<KeyMap>, generation: u64) -> Self {
        Self { map, delta: Vec::new(), generation }
    }

    /// Grows with every change: what a connection remembers holds for one generation.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What is known of the key of this hash; none where there is no such key, or none any more.
    #[must_use]
    pub fn find(&self, hash: &KeyHash) -> Option<KeyEntry> {
        let wanted = prefix(hash);
        if !self.delta.is_empty()
            && let Ok(at) = self.delta.binary_search_by_key(&wanted, |(prefix, _)| *prefix)
        {
            return self.delta[at].1.as_ref().map(Row::entry);
        }
        self.map.find(wanted).map(Row::entry)
    }

    /// The next generation, in which these keys are added or changed, or, where there is no entry, revoked.
    pub fn with(&self, changes: impl IntoIterator<Item = (KeyHash, Option<KeyEntry>)>) -> Result<Self, DeltaFull> {
        let mut next = Self { generation: self.generation + 1, ..self.clone() };
        for (hash, entry) in changes {
            let (prefix, row) = (prefix(&hash), entry.as_ref().map(Row::of));
            match next.delta.binary_search_by_key(&prefix, |(known, _)| *known) {
                Ok(at) => next.delta[at].1 = row,
                Err(_) if next.delta.len() == KEYS_CHANGED_MAX => return Err(DeltaFull),
                Err(at) => next.delta.insert(at, (prefix, row)),
            }
        }
        Ok(next)
    }

    /// The next generation with all changes in the map, and none before it.
    pub fn rebuilt(&self) -> Result<Self, TooManyKeys> {
        let mut all = Vec::with_capacity(self.map.len() + self.delta.len());
        let mut changes = self.delta.iter().peekable();
        for (prefix, row) in self.map.prefixes.iter().zip(&self.map.rows) {
            while let Some((changed, now)) = changes.next_if(|(changed, _)| changed < prefix) {
                all.extend(now.map(|row| (*changed, row)));
            }
            match changes.next_if(|(changed, _)| changed == prefix) {
                Some((_, now)) => all.extend(now.map(|row| (*prefix, row))),
                None => all.push((*prefix, *row)),
            }
        }
        all.extend(changes.filter_map(|(changed, now)| now.map(|row| (*changed, row))));
        if all.len() > KEYS_MAX {
            return Err(TooManyKeys);
        }
        Ok(Self::new(Arc::new(KeyMap::of_sorted(&all)), self.generation + 1))
    }

    /// Changes that stand before the map.
    #[must_use]
    pub const fn changed(&self) -> usize {
        self.delta.len()
    }

    /// The map below the changes.
    #[must_use]
    pub fn map(&self) -> &KeyMap {
        &self.map
    }
}

impl Row {
    fn of(entry: &KeyEntry) -> Self {
        // Rounded down: a key is never good for longer than it was said.
        let expires_s = u32::try_from(entry.expires.micros() / 1_000_000).unwrap_or(u32::MAX);
        let (tenant, plan, rules) = (entry.tenant.0, entry.plan.0, entry.rules.0);
        Self { key: entry.key.0, tenant, plan, rules, expires_s }
    }

    fn entry(&self) -> KeyEntry {
        let expires = match self.expires_s {
            u32::MAX => Instant::NEVER,
            seconds => Instant::from_micros(u64::from(seconds) * 1_000_000),
        };
        KeyEntry {
            key: KeyId(self.key),
            tenant: TenantId(self.tenant),
            plan: PlanNumber(self.plan),
            rules: RulesNumber(self.rules),
            expires,
        }
    }
}

fn prefix(hash: &KeyHash) -> Prefix {
    let (first, _) = hash.0.split_first_chunk().expect("a hash has 32 bytes");
    Prefix::from_be_bytes(*first)
}

const fn first_bits(prefix: Prefix, bits: u32) -> u64 {
    (prefix >> 64) as u64 >> (u64::BITS - bits)
}

fn position(at: usize) -> u32 {
    u32::try_from(at).expect("at most KEYS_MAX")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::routing::Random;

    fn hash(seed: u64) -> KeyHash {
        let mut random = Random::new(seed);
        let mut bytes = [0; 32];
        for chunk in bytes.as_chunks_mut::<8>().0 {
            *chunk = random.next_u64().to_be_bytes();
        }
        KeyHash(bytes)
    }

    fn entry(number: u64) -> KeyEntry {
        KeyEntry {
            key: KeyId(number),
            tenant: TenantId(u32::try_from(number % 1000).unwrap()),
            plan: PlanNumber(u32::try_from(number % 7).unwrap()),
            rules: RulesNumber(0),
            expires: Instant::NEVER,
        }
    }

    #[test]
    fn every_key_is_found_and_no_other() {
        for count in [0, 1, 2, 3, 4, 5, 8, 9, 1000, 20_000] {
            let map = KeyMap::build((0..count).map(|n| (hash(n), entry(n)))).unwrap();
            let keys = Keys::new(Arc::new(map), 1);
            assert_eq!(keys.map().len(), usize::try_from(count).unwrap());
            for n in 0..count {
                assert_eq!(keys.find(&hash(n)), Some(entry(n)), "{n} of {count}");
            }
            for n in count..count + 1000 {
                assert_eq!(keys.find(&hash(n)), None);
            }
            for edge in [KeyHash([0; 32]), KeyHash([255; 32])] {
                assert_eq!(keys.find(&edge), None);
            }
        }
    }

    #[test]
    fn hashes_that_begin_alike_are_told_apart() {
        let near = |last: u8| KeyHash(std::array::from_fn(|n| if n == 15 { last } else { 9 }));
        let map = KeyMap::build((0..200_u8).map(|n| (near(n), entry(n.into())))).unwrap();
        let keys = Keys::new(Arc::new(map), 1);
        assert!((0..200_u8).all(|n| keys.find(&near(n)) == Some(entry(n.into()))));
        assert_eq!(keys.find(&near(201)), None);
    }

    #[test]
    fn a_key_takes_less_than_48_bytes() {
        let map = KeyMap::build((0..100_000).map(|n| (hash(n), entry(n)))).unwrap();
        assert!(map.bytes() < 48 * map.len(), "{}", map.bytes() / map.len());
        assert_eq!(size_of::<Row>(), 24);
    }

    #[test]
    fn of_two_with_the_same_hash_the_later_one_counts() {
        let twice = [(hash(1), entry(1)), (hash(2), entry(2)), (hash(1), entry(3)), (hash(1), entry(4))];
        let keys = Keys::new(Arc::new(KeyMap::build(twice).unwrap()), 1);
        assert_eq!(keys.map().len(), 2);
        assert_eq!(keys.find(&hash(1)), Some(entry(4)));
    }

    #[test]
    fn an_end_is_kept_to_the_second_and_never_later() {
        for (given, kept) in [
            (Instant::NEVER, Instant::NEVER),
            (Instant::from_micros(7_900_000), Instant::from_micros(7_000_000)),
            (Instant::START, Instant::START),
            (Instant::from_micros(u64::from(u32::MAX) * 1_000_000), Instant::NEVER),
        ] {
            let keys = [(hash(1), KeyEntry { expires: given, ..entry(1) })];
            let keys = Keys::new(Arc::new(KeyMap::build(keys).unwrap()), 1);
            assert_eq!(keys.find(&hash(1)).map(|found| found.expires), Some(kept), "{given:?}");
        }
    }

    #[test]
    fn the_delta_is_bounded() {
        let empty = Keys::new(Arc::new(KeyMap::build([]).unwrap()), 1);
        let full = (0..KEYS_CHANGED_MAX as u64).map(|n| (hash(n), Some(entry(n))));
        let full = empty.with(full).unwrap();
        assert_eq!(full.with([(hash(u64::MAX), None)]).unwrap_err(), DeltaFull);
        let changed = full.with([(hash(7), None)]).unwrap();
        assert_eq!((changed.find(&hash(7)), changed.generation()), (None, 3));
        let rebuilt = changed.rebuilt().unwrap();
        assert_eq!((rebuilt.changed(), rebuilt.map().len()), (0, KEYS_CHANGED_MAX - 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever is added, changed, revoked and rebuilt: it is what a plain map would say.
        #[test]
        fn changes_are_seen_as_they_were_made(
            steps in proptest::collection::vec((0..30_u64, proptest::option::of(0..1000_u64), any::<bool>()), 0..120),
            first in 0..30_u64,
        ) {
            let mut model: HashMap<u64, u64> = (0..first).map(|n| (n, n)).collect();
            let mut keys = Keys::new(Arc::new(KeyMap::build((0..first).map(|n| (hash(n), entry(n)))).unwrap()), 0);
            for (number, now, rebuild) in steps {
                keys = keys.with([(hash(number), now.map(entry))]).unwrap();
                match now {
                    Some(now) => model.insert(number, now),
                    None => model.remove(&number),
                };
                if rebuild {
                    keys = keys.rebuilt().unwrap();
                    prop_assert_eq!(keys.map().len(), model.len());
                }
                for n in 0..31 {
                    prop_assert_eq!(keys.find(&hash(n)), model.get(&n).copied().map(entry));
                }
            }
        }
    }
}
