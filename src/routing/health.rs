//! What an attempt's end says: about the provider (its health) and about the call (what comes next).
//!
//! The two are apart on purpose. A reverted `eth_call` ends the call and shows a well provider; a rate limit moves the
//! call on at once and is no failure. The error taxonomy decides both and hands them here; this module knows no
//! JSON-RPC but the method class.

use std::time::Duration;

use crate::jsonrpc::MethodClass;

/// What an attempt showed about the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answered as it should. Ends a run of failures, lifts a cooldown.
    Good,
    /// It answered, with a limit of its own (range, pruned state, missing method). For the breaker as good as [`Health::Good`].
    Untouched,
    /// It took too long over a call whose cost the caller chose. Counts for latency alone.
    Slow,
    /// The transport failed. Counts for the breaker.
    Failure,
    /// It limits our rate, and perhaps says for how long.
    Cooldown(Option<Duration>),
    /// It limits calls of this class, and says that it means no others.
    ClassCooldown(Option<Duration>),
    /// A quota is used up or a bill unpaid: no call will succeed for long.
    Park,
    /// It refused our credentials, on this call at least. An event; only a probe of ours may take it out.
    Suspect,
}

impl Health {
    /// What it shows that a provider was silent until the attempt's own deadline.
    ///
    /// Where a call is one look-up, a provider that says nothing is failing. Where the caller chooses what the node
    /// computes, silence may be the caller's doing, and counting it would let one client open breakers for all.
    #[must_use]
    pub const fn of_timeout(class: MethodClass) -> Self {
        match class {
            MethodClass::Head | MethodClass::Read | MethodClass::Receipt | MethodClass::Write | MethodClass::Filter => {
                Self::Failure
            }
            MethodClass::Execute | MethodClass::Logs | MethodClass::Proof | MethodClass::Trace | MethodClass::Other => {
                Self::Slow
            }
        }
    }
}

/// What a failed attempt leaves for its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The caller gets what there is: another provider would say the same.
    Return,
    /// Another provider may do better.
    FailOver,
    /// Another provider may do better, but one more is enough to know.
    FailOverOnce,
}
