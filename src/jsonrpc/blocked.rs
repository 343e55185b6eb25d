//! Which methods are never forwarded.
//!
//! By default those that use a node's own keys or change the node: a provider that leaves them open is a risk to
//! whoever shares it, and none of a reseller's clients has a use for them.

/// Blocked unless the config says otherwise. A trailing `*` stands for any rest.
pub const BLOCKED_BY_DEFAULT: [&str; 8] = [
    "eth_sign",
    "eth_signTransaction",
    "eth_sendTransaction",
    "eth_accounts",
    "personal_*",
    "admin_*",
    "miner_*",
    "debug_setHead",
];

/// The blocked methods, made for the question that nearly every call answers with no.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    exact: Vec<String>,
    prefixes: Vec<String>,
    /// Bit n: some exact name has n bytes; the last bit for all longer ones.
    lengths: u64,
}

impl Blocked {
    /// From names, or prefixes ending in `*`; `*` alone blocks everything.
    pub fn new<P: AsRef<str>>(patterns: impl IntoIterator<Item = P>) -> Self {
        let mut blocked = Self::default();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            if let Some(prefix) = pattern.strip_suffix('*') {
                blocked.prefixes.push(prefix.to_owned());
            } else {
                blocked.lengths |= length_bit(pattern);
                blocked.exact.push(pattern.to_owned());
            }
        }
        blocked
    }

    /// Whether a call of this method is refused.
    #[must_use]
    pub fn contains(&self, method: &str) -> bool {
        let exact = self.lengths & length_bit(method) != 0 && self.exact.iter().any(|name| name == method);
        exact || self.prefixes.iter().any(|prefix| method.starts_with(prefix.as_str()))
    }
}

fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_list() {
        let blocked = Blocked::new(BLOCKED_BY_DEFAULT);
        for (method, expected) in [
            ("eth_sign", true),
            ("eth_signTransaction", true),
            ("eth_sendTransaction", true),
            ("eth_accounts", true),
            ("personal_unlockAccount", true),
            ("personal_", true),
            ("admin_peers", true),
            ("miner_start", true),
            ("debug_setHead", true),
            ("eth_signs", false),
            ("eth_sig", false),
            ("eth_sendRawTransaction", false),
            ("personal", false),
            ("debug_setHeads", false),
            ("eth_call", false),
            ("", false),
        ] {
            assert_eq!(blocked.contains(method), expected, "{method}");
        }
    }

    #[test]
    fn patterns() {
        assert!(!Blocked::new([""; 0]).contains("eth_call"));
        assert!(Blocked::new(["*"]).contains("eth_call"));
        assert!(Blocked::new(["eth_call*"]).contains("eth_call"));
        let long = "m".repeat(200);
        assert!(Blocked::new([&long]).contains(&long));
        assert!(!Blocked::new([&long]).contains(&long[1..]));
    }
}
