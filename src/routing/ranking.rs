//! What control publishes for one chain: every provider's cost in every row, immutable.
//!
//! A *row* is a method class, or a method that was promoted because it is not like its class ([`RowIndex`]). A shard
//! reads one row per attempt: a slice of small entries in the order of the chain's providers; nothing looked up by
//! name, nothing allocated. All judgement went in before: the entry's cost has its hysteresis and its widening in it,
//! and whom to explore next, and how often, is one provider and one number. A shard that never hears of a newer ranking
//! goes on with this one.

use crate::jsonrpc::{MethodClass, MethodInfo};
use crate::limits::{PROMOTED_METHODS_MAX, PROVIDERS_PER_CHAIN_MAX};

/// Rows that a chain can have.
pub const ROWS_MAX: usize = MethodClass::ALL.len() + PROMOTED_METHODS_MAX;
const _: () = assert!(ROWS_MAX <= u8::MAX as usize);

/// Which row a call is ranked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowIndex(u8);

impl RowIndex {
    /// The row of a promoted method, by its position among them; `None` past [`PROMOTED_METHODS_MAX`].
    #[must_use]
    pub fn promoted(position: usize) -> Option<Self> {
        let row = u8::try_from(MethodClass::ALL.len() + position).ok()?;
        (position < PROMOTED_METHODS_MAX).then_some(Self(row))
    }

    /// The row at a position among all; `None` past the last.
    #[must_use]
    pub fn at(index: usize) -> Option<Self> {
        u8::try_from(index).ok().filter(|_| index < ROWS_MAX).map(Self)
    }

    /// Its position among all rows.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl RowIndex {
    /// The row of a class.
    #[must_use]
    pub const fn of_class(class: MethodClass) -> Self {
        Self(class as u8)
    }
}

impl From<MethodClass> for RowIndex {
    fn from(class: MethodClass) -> Self {
        Self::of_class(class)
    }
}

/// One provider in one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// What ranking compares, in microseconds; more than any real one where nothing is known.
    pub cost_us: f32,
    /// What a call to it takes on average, in microseconds; 0 where nothing is known. For regret.
    pub mean_us: f32,
    /// What 95 of 100 of its answers take at most, in microseconds; 0 where nothing is known. For hedging.
    pub p95_us: f32,
    /// Below the success-rate floor: only when nobody else is ready.
    pub poor: bool,
}

impl Entry {
    /// Nothing is known: behind everyone of whom something is.
    pub const UNKNOWN: Self = Self { cost_us: 1e9, mean_us: 0.0, p95_us: 0.0, poor: false };
}

/// Calls under way at one provider, as the node knows them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Added to the shard's own calls under way: those of the other shards, less those that are usual.
    pub offset: f32,
    /// What one call beyond adds to the cost, as a part of it.
    pub each: f32,
}

/// A grant: `calls` of `shard` go to `provider` for the evidence alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explore {
    pub provider: u8,
    pub shard: u16,
    pub calls: u8,
    /// Another number is another grant: the same one published again is not carried out again.
    pub number: u32,
}

impl Explore {
    pub const NOBODY: Self = Self { provider: 0, shard: 0, calls: 0, number: 0 };
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    providers: usize,
    loads: Vec<Load>,
    /// `providers` each; `None` while nothing is known of any.
    rows: [Option<Box<[Entry]>>; ROWS_MAX],
    explore: [Explore; ROWS_MAX],
    /// Methods that have a row of their own.
    own: Vec<(&'static MethodInfo, RowIndex)>,
}
const _: () = assert!(PROVIDERS_PER_CHAIN_MAX <= u8::MAX as usize);

impl Ranking {
    /// A ranking of `providers` that says nothing yet. Providers beyond [`PROVIDERS_PER_CHAIN_MAX`] are left out.
    #[must_use]
    pub fn new(providers: usize, in_flight_doubles: f64) -> Self {
        let providers = providers.min(PROVIDERS_PER_CHAIN_MAX);
        let load = Load { offset: 0.0, each: narrow(in_flight_doubles.max(1.0).recip()) };
        Self { providers, loads: vec![load; providers], ..Self::default() }
    }

    /// How many providers it is about. One of another number was made for another configuration.
    #[must_use]
    pub const fn providers(&self) -> usize {
        self.providers
    }

    /// The entries of a row by provider; `None` while nothing is known of any.
    #[must_use]
    pub fn row(&self, row: RowIndex) -> Option<&[Entry]> {
        self.rows[row.index()].as_deref()
    }

    /// The row that a method of the table of known methods is ranked by: its own, or its class's.
    #[inline]
    #[must_use]
    pub fn row_of(&self, method: &'static MethodInfo) -> RowIndex {
        // Empty almost always.
        let own = self.own.iter().find(|(known, _)| std::ptr::eq(*known, method));
        own.map_or_else(|| method.class.into(), |&(_, row)| row)
    }

    /// Which methods have a row of their own. A method is known by its place in the table, so that it is found without
    /// looking at its name.
    pub fn set_own(&mut self, own: Vec<(&'static MethodInfo, RowIndex)>) {
        self.own = own;
    }

    /// Whom to explore in a row.
    #[must_use]
    pub fn explore(&self, row: RowIndex) -> Explore {
        self.explore[row.index()]
    }

    /// Loads by provider.
    #[must_use]
    pub fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// Sets a row. `entries` are by provider.
    pub fn set(&mut self, row: RowIndex, entries: impl Iterator<Item = Entry>, explore: Explore) {
        let filled = entries.chain(std::iter::repeat(Entry::UNKNOWN)).take(self.providers).collect();
        self.rows[row.index()] = Some(filled);
        self.explore[row.index()] = explore;
    }

    /// Sets what is under way at a provider: at the other shards, and usually.
    pub fn set_load(&mut self, provider: usize, elsewhere: f64, usual: f64, in_flight_doubles: f64) {
        if let Some(load) = self.loads.get_mut(provider) {
            let each = narrow((in_flight_doubles + usual).max(1.0).recip());
            *load = Load { offset: narrow(elsewhere - usual), each };
        }
    }
}

/// Single precision is exact to a ten-millionth: far below what is measured.
#[allow(clippy::cast_possible_truncation)]
pub(super) const fn narrow(value: f64) -> f32 {
    value as f32
}
