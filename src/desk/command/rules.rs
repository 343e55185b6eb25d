//! The flags of what a plan or a key may be used for, and from where.
//!
//! A list that is given stands in the place of the one that was; `--lift` takes one away, so that everything is allowed.

use clap::ValueEnum;

use crate::ledger::RulesText;

/// Lists, each by a flag that may be repeated.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RuleFlags {
    /// A chain that may be called, by name; repeat it for more. All of them where there is none.
    #[arg(long = "chain", value_name = "CHAIN")]
    chains: Vec<String>,
    /// A method that may be called, or a beginning and `*`; repeat it for more.
    #[arg(long = "method", value_name = "METHOD")]
    methods: Vec<String>,
    /// A method that may not, whatever else is allowed.
    #[arg(long = "refuse-method", value_name = "METHOD")]
    methods_refused: Vec<String>,
    /// An origin whose pages may call: <https://app.example>, <https://*.example> for every name below it,
    /// <http://localhost:*> for every port, * for any, null for pages without one.
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// An address that may call, or a network: 10.0.0.0/8.
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// A region whose nodes may be called.
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<String>,
}

/// Lists that are taken away.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Lifts {
    /// A rule that no longer holds; repeat it for more.
    #[arg(long, value_name = "RULE", value_enum)]
    lift: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rule {
    Chain,
    Method,
    RefuseMethod,
    Origin,
    Network,
    Region,
}

impl RuleFlags {
    pub(super) const fn is_empty(&self) -> bool {
        self.chains.is_empty()
            && self.methods.is_empty()
            && self.methods_refused.is_empty()
            && self.origins.is_empty()
            && self.networks.is_empty()
            && self.regions.is_empty()
    }

    /// Those without anything before them.
    pub(super) fn rules(self) -> RulesText {
        let mut rules = RulesText::default();
        self.put(&mut rules);
        rules
    }

    pub(super) fn put(self, rules: &mut RulesText) {
        let put = |flag: Vec<String>, into: &mut Option<Vec<String>>| {
            if !flag.is_empty() {
                *into = Some(flag);
            }
        };
        put(self.chains, &mut rules.chains);
        put(self.methods, &mut rules.methods);
        put(self.origins, &mut rules.origins);
        put(self.networks, &mut rules.networks);
        put(self.regions, &mut rules.regions);
        if !self.methods_refused.is_empty() {
            rules.methods_refused = self.methods_refused;
        }
    }
}

impl Lifts {
    pub(super) const fn is_empty(&self) -> bool {
        self.lift.is_empty()
    }

    pub(super) fn take(&self, rules: &mut RulesText) {
        for rule in &self.lift {
            match rule {
                Rule::Chain => rules.chains = None,
                Rule::Method => rules.methods = None,
                Rule::RefuseMethod => rules.methods_refused.clear(),
                Rule::Origin => rules.origins = None,
                Rule::Network => rules.networks = None,
                Rule::Region => rules.regions = None,
            }
        }
    }
}

/// What people should know of rules: a chain that this node does not have may be a slip of the hand.
pub(super) fn doubts(rules: &RulesText, chains: &[&str]) -> String {
    let unknown = rules.chains.iter().flatten().filter(|chain| !chains.contains(&chain.as_str()));
    let lines: Vec<_> = unknown.map(|chain| format!("livechain: this config has no chain {chain:?}\n")).collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_replaces_and_what_is_lifted_goes() {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let mut rules = RulesText { chains: words(&["a"]), regions: words(&["eu"]), ..RulesText::default() };
        rules.methods_refused = vec!["x".into()];
        Lifts { lift: vec![Rule::Region, Rule::RefuseMethod] }.take(&mut rules);
        let flags = RuleFlags { chains: vec!["b".into(), "c".into()], ..RuleFlags::default() };
        assert!(!flags.is_empty() && RuleFlags::default().is_empty());
        flags.put(&mut rules);
        assert_eq!(rules, RulesText { chains: words(&["b", "c"]), ..RulesText::default() });
        assert_eq!(doubts(&rules, &["b"]), "livechain: this config has no chain \"c\"\n");
        assert_eq!(doubts(&RulesText::default(), &[]), "");
    }
}
