//! What is wrong with an order: the asker's fault, told before the store is asked.

use crate::ledger::TextError;
use crate::limits;

/// See the module. What was written is quoted only where it cannot be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{field}: expected a day (2027-01-31) or a moment (2027-01-31T12:00:00Z)")]
    Moment { field: &'static str },
    #[error("{field}: expected a whole number and s, m, h or d: 30m, 90d")]
    Span { field: &'static str },
    #[error("{field}: expected a span (90d), a day (2027-01-31), a moment (2027-01-31T12:00:00Z), or never")]
    Expiry { field: &'static str },
    #[error("{field}: lies in the past")]
    Past { field: &'static str },
    #[error("{field}: lies behind the year 9999")]
    Far { field: &'static str },
    #[error("{field}: usage is counted by the minute, so that seconds would cut one in two")]
    Seconds { field: &'static str },
    #[error("{field}: parts of a second are not kept: expected whole ones")]
    Parts { field: &'static str },
    #[error("to: expected a moment behind `from`; what is counted ends before it")]
    Window,
    #[error("a key id has 16 hexadecimal digits: `livechain key list` shows them")]
    KeyId,
    /// Said without showing it.
    #[error("that is a key's text; its id is asked for, 16 hexadecimal digits, and the text should be shown to nobody")]
    KeyText,
    #[error("most: expected a number from 1 to {}", limits::KEYS_LISTED_MAX)]
    Most,
    #[error("expected a change of something")]
    NoChange,
    #[error("calls_burst: it is a burst of calls_per_second, which is not limited")]
    CallsBurst,
    #[error("units_burst: it is a burst of units_per_second, which is not limited")]
    UnitsBurst,
    #[error(transparent)]
    Text(#[from] TextError),
}
