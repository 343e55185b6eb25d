//! What calls weigh: compute units by class, and by method where one is not like its class.
//!
//! Vendors price by method, each in its own table. A class's default is the dearest that Alchemy's published table has for a
//! usual method of the class (2026: `eth_call` 26, `eth_getLogs` 60, `debug_traceCall` 40, `eth_sendRawTransaction` 40),
//! so that a plan counted by it is rather underused than overrun. Who must be exact writes the methods down.

use super::class::MethodClass;
use super::method::{METHODS, MethodInfo};

/// By [`MethodClass::index`].
pub const DEFAULT_UNITS: [u32; MethodClass::ALL.len()] = [20, 20, 20, 26, 60, 20, 40, 40, 60, 20];

/// Weights of all methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    by_class: [u32; MethodClass::ALL.len()],
    /// By [`MethodInfo::number`].
    by_method: Box<[u32]>,
    /// As they were given, for methods that nobody knows.
    given: Box<[(String, u32)]>,
    /// The first KiB of a subscription's notification, and each further one.
    notified_kib: u32,
}

/// What notifications are called in lists of weights.
const NOTIFICATION: &str = "eth_subscription";

impl Units {
    /// `methods`: names, or beginnings and `*`, of those that weigh something of their own, known or not; the first that
    /// fits counts. A KiB of a subscription's notification is `eth_subscription`'s, and by default a read.
    #[must_use]
    pub fn new(by_class: [u32; MethodClass::ALL.len()], methods: &[(String, u32)]) -> Self {
        let of = |method: &MethodInfo| given(methods, method.name).unwrap_or(by_class[method.class.index()]);
        let notified_kib = given(methods, NOTIFICATION).unwrap_or(by_class[MethodClass::Read.index()]);
        Self { by_class, by_method: METHODS.iter().map(of).collect(), given: methods.into(), notified_kib }
    }

    /// What a subscription's notification of so many bytes weighs.
    #[must_use]
    pub fn of_notification(&self, bytes: u64) -> u64 {
        u64::from(self.notified_kib) * bytes.div_ceil(1024)
    }

    /// What a call of `class` weighs that is like its class.
    #[must_use]
    pub const fn of_class(&self, class: MethodClass) -> u32 {
        self.by_class[class.index()]
    }

    /// What a call of `method` weighs that is written `name`.
    #[inline]
    #[must_use]
    pub fn of(&self, method: &MethodInfo, name: &str) -> u32 {
        let known = method.number().and_then(|number| self.by_method.get(usize::from(number)));
        known.copied().unwrap_or_else(|| self.of_unknown(method, name))
    }

    #[cold]
    fn of_unknown(&self, method: &MethodInfo, name: &str) -> u32 {
        given(&self.given, name).unwrap_or(self.by_class[method.class.index()])
    }

    /// What the dearest call weighs.
    #[must_use]
    pub fn heaviest(&self) -> u32 {
        let given = self.given.iter().map(|(_, units)| units);
        self.by_class.iter().chain(&self.by_method).chain(given).copied().max().unwrap_or(0)
    }
}

impl Default for Units {
    fn default() -> Self {
        Self::new(DEFAULT_UNITS, &[])
    }
}

fn given(methods: &[(String, u32)], name: &str) -> Option<u32> {
    methods.iter().find(|(pattern, _)| fits(pattern, name)).map(|(_, units)| *units)
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::super::method::info;
    use super::*;

    #[test]
    fn a_method_weighs_what_it_is_given_or_what_its_class_does() {
        let methods = [("eth_call".to_owned(), 7), ("trace_*".to_owned(), 300), ("trace_block".to_owned(), 1)];
        let units = Units::new(DEFAULT_UNITS, &methods);
        for (method, weight) in [
            ("eth_call", 7),
            ("eth_estimateGas", 26),
            ("trace_block", 300),
            ("debug_traceCall", 40),
            ("eth_getLogs", 60),
            ("made_up", 20),
            ("trace_madeUp", 300),
        ] {
            assert_eq!(units.of(info(method), method), weight, "{method}");
        }
        assert_eq!(Units::default().of(info("eth_call"), "eth_call"), 26);
        for (bytes, weight) in [(1, 20), (1024, 20), (1025, 40)] {
            assert_eq!(units.of_notification(bytes), weight, "{bytes}");
        }
        let dear = Units::new(DEFAULT_UNITS, &[("zks_*".to_owned(), 5000)]);
        assert_eq!((dear.heaviest(), dear.of(info("zks_foo"), "zks_foo")), (5000, 5000));
        let free = Units::new(DEFAULT_UNITS, &[("eth_subscription".to_owned(), 0)]);
        assert_eq!(free.of_notification(5000), 0);
        assert_eq!((units.heaviest(), Units::default().heaviest()), (300, 60));
    }
}
