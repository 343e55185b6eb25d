//! One row of usage: what it is about, and its sums.

use std::hash::{Hash, Hasher};

use super::super::key::KeyId;
use super::super::map::TenantId;
use crate::jsonrpc::{Class, METHOD_COUNT, MethodInfo, Reason, known_method};

/// What a row is about. Chains and providers are numbers that control hands out and never uses again; 0 stands for
/// none, and for all of them together where detail was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageKey {
    pub tenant: TenantId,
    /// [`KeyId::NOBODY`] for anonymous use.
    pub key: KeyId,
    pub chain: u32,
    pub method: MethodNumber,
    /// Who answered; 0 where the node did, or nobody.
    pub provider: u32,
    /// Minutes since 1970.
    pub minute: u32,
}

/// A known method, or what all others are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MethodNumber(u8);

/// What calls have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All of them, refused ones included.
    pub calls: u64,
    /// Those that are paid for, and what they weigh together.
    pub billable: u64,
    pub units: u64,
    /// Errors, by [`Fault`].
    pub errors: [u64; Fault::ALL.len()],
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Answered from what was answered before.
    pub cache_hits: u64,
    /// Askings of providers.
    pub attempts: u64,
}

/// Who is to blame for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    Client,
    Provider,
    Node,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a result, whoever gave it.
    Answered,
    /// With a provider's error, relayed.
    Error(Class),
    /// With an error of our own.
    Failed(Reason),
    /// The client left after the call was sent.
    Left,
}

/// A call that has ended.
#[derive(Clone, Copy, Debug)]
pub struct CallEnd {
    pub end: End,
    /// What it weighs by its plan.
    pub units: u32,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub attempts: u8,
    pub cache_hit: bool,
}

impl MethodNumber {
    /// All methods that are not known by name, and all of them where detail was dropped.
    pub const OTHER: Self = Self(u8::MAX);
    /// Notifications of subscriptions, each counted as a call.
    pub const NOTIFICATION: Self = Self(u8::MAX - 1);

    #[inline]
    #[must_use]
    pub fn of(method: &MethodInfo) -> Self {
        method.number().map_or(Self::OTHER, Self)
    }

    /// The word in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NOTIFICATION => "eth_subscription",
            Self(number) => known_method(number).map_or("other", |method| method.name),
        }
    }
}

const _: () = assert!(METHOD_COUNT < MethodNumber::NOTIFICATION.0 as usize);

impl Default for MethodNumber {
    fn default() -> Self {
        Self::OTHER
    }
}

impl Fault {
    pub const ALL: [Self; 3] = [Self::Client, Self::Provider, Self::Node];

    /// The word in the ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Provider => "provider",
            Self::Node => "node",
        }
    }

    /// Of a provider's error.
    #[must_use]
    pub const fn of_class(class: Class) -> Self {
        match class {
            Class::Execution
            | Class::RangeTooLarge
            | Class::TooManyAddresses
            | Class::AlreadyKnown
            | Class::TransactionPolicy
            | Class::UnsupportedMethod
            | Class::BadParams => Self::Client,
            Class::Quota
            | Class::RateLimited
            | Class::Auth
            | Class::MissingData
            | Class::NodeTimeout
            | Class::Transport
            | Class::Internal
            | Class::Other => Self::Provider,
        }
    }

    /// Of an error of our own.
    #[must_use]
    pub const fn of_reason(reason: Reason) -> Self {
        match reason {
            Reason::NoProvider | Reason::Deadline | Reason::FilterNotFound => Self::Provider,
            Reason::Capacity => Self::Node,
            Reason::ParseError
            | Reason::InvalidRequest
            | Reason::BatchTooLarge
            | Reason::MethodBlocked
            | Reason::MethodUnknown
            | Reason::InvalidParams
            | Reason::SubscriptionNotFound
            | Reason::AnswerTooLarge
            | Reason::Quota
            | Reason::MalformedHttp
            | Reason::Unauthorized
            | Reason::Forbidden
            | Reason::NotFound
            | Reason::MethodNotAllowed
            | Reason::SlowClient
            | Reason::BodyTooLarge => Self::Client,
        }
    }
}

impl End {
    /// Whether the client pays for it.
    #[must_use]
    pub const fn billable(self) -> bool {
        match self {
            Self::Answered | Self::Left => true,
            Self::Error(class) => class.billable(),
            Self::Failed(_) => false,
        }
    }

    /// Whose fault it is, where it is one.
    #[must_use]
    pub const fn fault(self) -> Option<Fault> {
        match self {
            Self::Answered | Self::Left => None,
            Self::Error(class) => Some(Fault::of_class(class)),
            Self::Failed(reason) => Some(Fault::of_reason(reason)),
        }
    }
}

impl Usage {
    /// What one call has used.
    #[must_use]
    pub fn of_call(call: &CallEnd) -> Self {
        let mut usage = Self::default();
        usage.add_call(call);
        usage
    }

    /// Adds what one call has used.
    #[inline]
    pub fn add_call(&mut self, call: &CallEnd) {
        self.calls += 1;
        // Most are, and need no look at what their end means.
        let answered = call.end == End::Answered;
        if answered || call.end.billable() {
            self.billable += 1;
            self.units += u64::from(call.units);
        }
        if !answered && let Some(fault) = call.end.fault() {
            self.errors[fault as usize] += 1;
        }
        self.bytes_in += call.bytes_in;
        self.bytes_out += call.bytes_out;
        self.cache_hits += u64::from(call.cache_hit);
        self.attempts += u64::from(call.attempts);
    }

    /// What so many notifications have used that weigh `units` together.
    #[must_use]
    pub fn of_notifications(count: u64, units: u64, bytes_out: u64) -> Self {
        Self { calls: count, billable: count, units, bytes_out, ..Self::default() }
    }

    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.billable += other.billable;
        self.units += other.units;
        for (sum, errors) in self.errors.iter_mut().zip(other.errors) {
            *sum += errors;
        }
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.cache_hits += other.cache_hits;
        self.attempts += other.attempts;
    }
}

impl Hash for UsageKey {
    /// In three words.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.key.0 ^ u64::from(self.tenant.0) << 32);
        state.write_u64(u64::from(self.chain) << 32 | u64::from(self.provider));
        state.write_u64(u64::from(self.minute) << 8 | u64::from(self.method.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::info;

    #[test]
    fn a_method_is_a_known_one_or_other() {
        for (method, name) in [("eth_call", "eth_call"), ("txpool_status", "txpool_status"), ("made_up", "other")] {
            assert_eq!(MethodNumber::of(info(method)).name(), name);
        }
        assert_eq!(MethodNumber::NOTIFICATION.name(), "eth_subscription");
        assert_eq!(MethodNumber::default().name(), "other");
    }

    #[test]
    fn who_pays_and_who_is_to_blame() {
        use Fault::{Client, Node, Provider};
        for (end, billable, fault) in [
            (End::Answered, true, None),
            (End::Left, true, None),
            (End::Error(Class::Execution), true, Some(Client)),
            (End::Error(Class::RangeTooLarge), true, Some(Client)),
            (End::Error(Class::BadParams), true, Some(Client)),
            (End::Error(Class::MissingData), true, Some(Provider)),
            (End::Error(Class::UnsupportedMethod), false, Some(Client)),
            (End::Error(Class::Internal), false, Some(Provider)),
            (End::Error(Class::NodeTimeout), false, Some(Provider)),
            (End::Failed(Reason::MethodBlocked), false, Some(Client)),
            (End::Failed(Reason::MethodUnknown), false, Some(Client)),
            (End::Failed(Reason::Quota), false, Some(Client)),
            (End::Failed(Reason::NoProvider), false, Some(Provider)),
            (End::Failed(Reason::Deadline), false, Some(Provider)),
            (End::Failed(Reason::Capacity), false, Some(Node)),
        ] {
            assert_eq!((end.billable(), end.fault()), (billable, fault), "{end:?}");
            let call = CallEnd { end, units: 26, bytes_in: 100, bytes_out: 50, attempts: 2, cache_hit: false };
            let usage = Usage::of_call(&call);
            assert_eq!((usage.calls, usage.billable), (1, billable.into()), "{end:?}");
            assert_eq!(usage.units, if billable { 26 } else { 0 }, "{end:?}");
            assert_eq!(usage.errors.iter().sum::<u64>(), u64::from(fault.is_some()), "{end:?}");
        }
    }

    #[test]
    fn sums_are_sums() {
        let call = CallEnd {
            end: End::Failed(Reason::Capacity),
            units: 5,
            bytes_in: 1,
            bytes_out: 2,
            attempts: 3,
            cache_hit: true,
        };
        let mut sum = Usage::of_call(&call);
        sum.add(&Usage::of_call(&CallEnd { end: End::Answered, cache_hit: false, ..call }));
        sum.add(&Usage::of_notifications(7, 70, 700));
        let expected = Usage {
            calls: 9,
            billable: 8,
            units: 75,
            errors: [0, 0, 1],
            bytes_in: 2,
            bytes_out: 704,
            cache_hits: 1,
            attempts: 6,
        };
        assert_eq!(sum, expected);
    }
}
