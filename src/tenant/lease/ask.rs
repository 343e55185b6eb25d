//! What passes between a node and the store, one key at a time.

use crate::tenant::key::KeyId;

/// What a node says and wants of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub key: KeyId,
    /// Calls and units.
    pub rates: [Option<RateAsk>; 2],
    pub month: Option<MonthAsk>,
}

/// Of a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateAsk {
    /// In a second.
    pub rate: u64,
    pub burst: u64,
    /// Was leased and not used.
    pub back: u64,
    /// Was used and not leased.
    pub debt: u64,
    pub want: u64,
    /// Less than that is of no use.
    pub least: u64,
}

/// Of a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MonthAsk {
    pub month: u16,
    /// Which of the node's counts of that month it is: one that was given up stays in the sum.
    pub count: u64,
    pub limit: u64,
    /// What the ledger knows of: for a store that knows nothing.
    pub base: u64,
    /// All that this count has, since it first asked; less than nothing where more was given back than it has used.
    pub used: i64,
    /// What of that is in the sum all the same if the store does not know of this count.
    pub told: i64,
    /// The count ends; what it has used stays in the sum.
    pub close: bool,
    pub want: u64,
    pub least: u64,
}

/// What the store says to an [`Ask`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Calls and units.
    pub rates: [RateAnswer; 2],
    pub month: MonthAnswer,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateAnswer {
    pub granted: u64,
    /// What could be had beside that.
    pub room: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MonthAnswer {
    pub granted: u64,
    /// What of the month is neither used nor leased.
    pub left: u64,
}
