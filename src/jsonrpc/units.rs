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
    /// Methods that do not weigh what their class does, known by their place in the table.
    by_method: Vec<(&'static MethodInfo, u32)>,
}

impl Units {
    /// `methods`: names, or beginnings and `*`, of those that weigh something of their own; the first that fits counts. Of
    /// methods that nobody knows the class counts.
    #[must_use]
    pub fn new(by_class: [u32; MethodClass::ALL.len()], methods: &[(String, u32)]) -> Self {
        let own = METHODS.iter().filter_map(|method| {
            let (_, units) = methods.iter().find(|(pattern, _)| fits(pattern, method.name))?;
            Some((method, *units))
        });
        Self { by_class, by_method: own.collect() }
    }

    /// What a call of `class` weighs that is like its class.
    #[must_use]
    pub const fn of_class(&self, class: MethodClass) -> u32 {
        self.by_class[class.index()]
    }

    /// What a call of `method` weighs.
    #[must_use]
    pub fn of(&self, method: &'static MethodInfo) -> u32 {
        let own = self.by_method.iter().find(|(known, _)| std::ptr::eq(*known, method));
        own.map_or(self.by_class[method.class.index()], |&(_, units)| units)
    }
}

impl Default for Units {
    fn default() -> Self {
        Self::new(DEFAULT_UNITS, &[])
    }
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
            ("trace_madeUp", 40),
        ] {
            assert_eq!(units.of(info(method)), weight, "{method}");
        }
        assert_eq!(Units::default().of(info("eth_call")), 26);
    }
}
