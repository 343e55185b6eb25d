//! The classes of what a provider may say instead of a result, and what follows from each.
//!
//! One row of the taxonomy, one variant. What decides between them is in `classify`.

/// A class of provider errors, in the order in which they are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// The code ran and failed: an answer.
    Execution,
    /// The range or the response is larger than this provider allows.
    RangeTooLarge,
    /// A log filter names too many addresses or topics.
    TooManyAddresses,
    /// The provider's plan is used up or unpaid.
    Quota,
    /// Too many calls just now.
    RateLimited,
    /// Our key is refused.
    Auth,
    /// This provider does not have the block or the state.
    MissingData,
    /// The transaction is in the pool already.
    AlreadyKnown,
    /// The transaction's nonce, price or type does not pass.
    TransactionPolicy,
    /// The provider does not offer this method.
    UnsupportedMethod,
    /// The params are wrong.
    BadParams,
    /// The node gave up in time.
    NodeTimeout,
    /// No JSON-RPC answer at all.
    Transport,
    /// Code -32603 and nothing better known.
    Internal,
    /// Nothing above.
    Other,
}

/// What is done with a call whose provider answered so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// This is the client's answer.
    Return,
    /// Ask the next provider.
    FailOver,
    /// Ask one more provider, then return what it says.
    FailOverOnce,
    /// Ask a provider with a larger limit, if there is one; else return.
    LargerLimit,
    /// Ask an archive or one with a higher head, if there is one; else return.
    MoreData,
    /// `eth_sendRawTransaction`: success with the hash computed here. Any other method: return.
    OurHash,
}

/// What it says of the provider, where that may be held against it ([`super::Verdict::penalise`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// It works: as good as a result.
    Good,
    Untouched,
    /// A breaker failure.
    Failure,
    /// It answered, too late.
    Slow,
    /// Cooled with exponential back-off, `Retry-After` honoured; no breaker failure.
    Cooldown,
    /// The same, but for calls of this method's class alone.
    ClassCooldown,
    /// Out for long; an event.
    Park,
    /// Out only if our own probe gets the same; an event.
    Suspect,
    /// It loses this method for a while, where the method is a known one.
    LosesMethod,
}

impl Class {
    /// Every class, in the order of its index.
    pub const ALL: [Self; 15] = [
        Self::Execution,
        Self::RangeTooLarge,
        Self::TooManyAddresses,
        Self::Quota,
        Self::RateLimited,
        Self::Auth,
        Self::MissingData,
        Self::AlreadyKnown,
        Self::TransactionPolicy,
        Self::UnsupportedMethod,
        Self::BadParams,
        Self::NodeTimeout,
        Self::Transport,
        Self::Internal,
        Self::Other,
    ];

    /// Its position in [`Class::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word used in config, metrics and pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Execution => "execution",
            Self::RangeTooLarge => "range_too_large",
            Self::TooManyAddresses => "too_many_addresses",
            Self::Quota => "quota",
            Self::RateLimited => "rate_limited",
            Self::Auth => "auth",
            Self::MissingData => "missing_data",
            Self::AlreadyKnown => "already_known",
            Self::TransactionPolicy => "transaction_policy",
            Self::UnsupportedMethod => "unsupported_method",
            Self::BadParams => "bad_params",
            Self::NodeTimeout => "node_timeout",
            Self::Transport => "transport",
            Self::Internal => "internal",
            Self::Other => "other",
        }
    }

    /// The class of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::RangeTooLarge => Action::LargerLimit,
            Self::MissingData => Action::MoreData,
            Self::AlreadyKnown => Action::OurHash,
            Self::Quota
            | Self::RateLimited
            | Self::Auth
            | Self::UnsupportedMethod
            | Self::NodeTimeout
            | Self::Transport => Action::FailOver,
            Self::Internal => Action::FailOverOnce,
            Self::Execution | Self::TooManyAddresses | Self::TransactionPolicy | Self::BadParams | Self::Other => {
                Action::Return
            }
        }
    }

    /// Whether the first provider may have acted on the call, so that only a repeatable one may go to another.
    #[must_use]
    pub const fn may_have_acted(self) -> bool {
        matches!(self, Self::NodeTimeout | Self::Transport | Self::Internal)
    }

    /// Whether the provider's words may reach the client.
    #[must_use]
    pub const fn relayed(self) -> bool {
        !matches!(self, Self::Quota | Self::RateLimited | Self::Auth | Self::Transport)
    }

    /// Whether the client pays for a call that ended so.
    #[must_use]
    pub const fn billable(self) -> bool {
        self.relayed() && !matches!(self, Self::UnsupportedMethod | Self::NodeTimeout | Self::Internal)
    }

    #[must_use]
    pub const fn health(self) -> Health {
        match self {
            Self::Execution | Self::AlreadyKnown | Self::TransactionPolicy | Self::BadParams => Health::Good,
            Self::RangeTooLarge | Self::TooManyAddresses | Self::MissingData | Self::Other => Health::Untouched,
            Self::Quota => Health::Park,
            Self::RateLimited => Health::Cooldown,
            Self::Auth => Health::Suspect,
            Self::UnsupportedMethod => Health::LosesMethod,
            Self::NodeTimeout | Self::Internal => Health::Slow,
            Self::Transport => Health::Failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_taxonomys_columns() {
        use Action::{FailOver, FailOverOnce, LargerLimit, MoreData, OurHash, Return};
        use Health::{Cooldown, Failure, Good, LosesMethod, Park, Slow, Suspect, Untouched};
        // action, relayed, billable, health
        let rows = [
            (Return, true, true, Good),
            (LargerLimit, true, true, Untouched),
            (Return, true, true, Untouched),
            (FailOver, false, false, Park),
            (FailOver, false, false, Cooldown),
            (FailOver, false, false, Suspect),
            (MoreData, true, true, Untouched),
            (OurHash, true, true, Good),
            (Return, true, true, Good),
            (FailOver, true, false, LosesMethod),
            (Return, true, true, Good),
            (FailOver, true, false, Slow),
            (FailOver, false, false, Failure),
            (FailOverOnce, true, false, Slow),
            (Return, true, true, Untouched),
        ];
        for (n, (class, row)) in Class::ALL.into_iter().zip(rows).enumerate() {
            assert_eq!((class.action(), class.relayed(), class.billable(), class.health()), row, "{class:?}");
            assert_eq!(class.index(), n);
            assert_eq!(Class::from_name(class.name()), Some(class));
        }
        assert_eq!(Class::from_name("nothing"), None);
    }
}
