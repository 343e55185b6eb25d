//! Why the store does not do what it is asked.

use super::address::AddressError;
use super::text::TextError;

/// See the module. None of it shows a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or the connection broke; what was under way may or may not have been done.
    #[error("the ledger is out of reach: {0}")]
    Unavailable(String),
    /// Others were at work on the same rows; nothing was done.
    #[error("the ledger is busy: {0}")]
    Busy(String),
    #[error("the ledger's schema has version {found}; this program knows up to {known}: use a newer one")]
    Newer { found: u32, known: u32 },
    #[error("this is a database of something else: {0}")]
    Foreign(String),
    #[error("migration {number} of the ledger's schema failed, and nothing was changed: {why}")]
    Migration { number: u32, why: String },
    #[error(transparent)]
    Address(#[from] AddressError),
    /// What was asked for is not there.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("there is a {0} of that name already")]
    Taken(&'static str),
    /// A key made under it would be known to nobody, and a node would know none of the others.
    #[error(
        "tenants.pepper is another one than the ledger's keys are hashed under, so that none of them would be known: put \
         the old one back; or, to change it for good, which ends every key, revoke them all (`livechain key list` tells \
         which are left), start the nodes with the new one, and make new keys then"
    )]
    Pepper,
    #[error("{field}: {why}")]
    Invalid { field: &'static str, why: &'static str },
    #[error(transparent)]
    Text(#[from] TextError),
    /// The answer would be larger than anybody reads.
    #[error("more than {0} lines: ask for one tenant, or a shorter time")]
    TooMuch(usize),
    /// What is kept of that time cannot be divided as it is asked for.
    #[error("of that time the ledger keeps whole {kept}, UTC: begin and end with one, and ask by nothing shorter")]
    Coarser { kept: &'static str },
    /// The engine refused, and would again.
    #[error("the ledger's database: {0}")]
    Engine(String),
}

impl StoreError {
    /// Whether the same may work later, with nobody doing anything about it.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy(_))
    }

    /// Whether it is the asker's fault, and the store is well.
    #[must_use]
    pub const fn of_asker(&self) -> bool {
        matches!(
            self,
            Self::NotFound(_)
                | Self::Taken(_)
                | Self::Invalid { .. }
                | Self::Text(_)
                | Self::TooMuch(_)
                | Self::Coarser { .. }
        )
    }
}
