//! A plan's terms and a key's own rules, as documents: what an operator writes and the store keeps.
//!
//! Every field may be absent; what is not known is refused, so that a slip of the hand does not sell everything. The
//! order of nothing matters: of two weights that fit a method the more exact one counts.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::jsonrpc::{DEFAULT_UNITS, Units};
use crate::limits::{PLAN_LIST_MAX, PLAN_WORD_BYTES_MAX};
use crate::tenant::key::KEY_PREFIX;
use crate::tenant::{Network, NetworkError, NoOrigin, Origin, PlanConfig, QuotaConfig, RulesConfig, WithoutStore};

/// A plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct PlanText {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_second: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_burst: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units_per_second: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units_burst: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units_per_month: Option<u64>,
    /// The day, 1 to 28, on which months begin at midnight, UTC; the first where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month_starts_on: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sockets: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<u32>,
    /// What methods weigh, by name, or by beginning and `*`: an exact name before a beginning, a longer one before a
    /// shorter one. What nothing fits weighs what it does by default.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<String, u32>,
    /// What is done while the store that counts for the whole fleet is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_store: Option<WithoutStoreText>,
    #[serde(skip_serializing_if = "RulesText::is_empty")]
    pub rules: RulesText,
}

/// What a plan or a key may be used for, and from where; what is absent is not ruled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct RulesText {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chains: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods_refused: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origins: Option<Vec<String>>,
    /// Addresses, or addresses and a length: `10.0.0.0/8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regions: Option<Vec<String>>,
}

/// See [`WithoutStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutStoreText {
    GoOn,
    Refuse,
}

/// Why a document is no plan, or no rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("{0}")]
    Json(String),
    #[error("month_starts_on: a day from 1 to 28, which every month has")]
    Day,
    #[error("{field}: {network:?}: {why}")]
    Network { field: &'static str, network: String, why: NetworkError },
    #[error("{0}: at most {PLAN_LIST_MAX} entries")]
    Long(&'static str),
    #[error("{0}: an entry has 1 to {PLAN_WORD_BYTES_MAX} bytes, and no control characters or spaces")]
    Word(&'static str),
    #[error("{0}: that is a key's text, which should be shown to nobody")]
    Key(&'static str),
    #[error("{0}: a star stands at the end, for what a name may go on with")]
    Pattern(&'static str),
    #[error("origins: {0}")]
    Origin(#[from] NoOrigin),
}

impl PlanText {
    /// Reads one of JSON.
    pub fn parse(json: &str) -> Result<Self, TextError> {
        read(json)
    }

    /// As JSON, always the same for the same plan.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("maps have text as keys")
    }

    /// As it is to be kept, of what somebody writes.
    pub fn written(&self) -> Result<Self, TextError> {
        self.config()?;
        Ok(Self { rules: self.rules.written()?, ..self.clone() })
    }

    /// What it says, checked.
    pub fn config(&self) -> Result<PlanConfig, TextError> {
        if self.month_starts_on.is_some_and(|day| !(1..=28).contains(&day)) {
            return Err(TextError::Day);
        }
        let quota = QuotaConfig {
            calls_per_second: self.calls_per_second,
            calls_burst: self.calls_burst,
            units_per_second: self.units_per_second,
            units_burst: self.units_burst,
            units_per_month: self.units_per_month,
            in_flight: self.in_flight,
            sockets: self.sockets,
            subscriptions: self.subscriptions,
        };
        let without_store = match self.without_store {
            Some(WithoutStoreText::Refuse) => WithoutStore::Refuse,
            Some(WithoutStoreText::GoOn) | None => WithoutStore::GoOn,
        };
        Ok(PlanConfig { quota, units: self.weights()?, rules: self.rules.config()?, without_store })
    }

    fn weights(&self) -> Result<Units, TextError> {
        check_patterns("units", self.units.keys())?;
        let mut methods: Vec<_> = self.units.iter().map(|(pattern, units)| (pattern.clone(), *units)).collect();
        methods.sort_by_key(|(pattern, _)| (pattern.ends_with('*'), std::cmp::Reverse(pattern.len())));
        Ok(Units::new(DEFAULT_UNITS, &methods))
    }
}

impl RulesText {
    /// Reads them of JSON.
    pub fn parse(json: &str) -> Result<Self, TextError> {
        read(json)
    }

    /// As JSON, always the same for the same rules.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("there are no maps in it")
    }

    /// Whether they rule nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Those that allow nothing: for a key whose own ones cannot be read.
    #[must_use]
    pub fn nothing() -> Self {
        Self { chains: Some(Vec::new()), ..Self::default() }
    }

    /// As they are to be kept, of what somebody writes.
    pub fn written(&self) -> Result<Self, TextError> {
        self.config()?;
        let kept = |text: &String| text.parse().map(|origin: Origin| origin.to_string());
        let origins = self.origins.as_ref().map(|all| all.iter().map(kept).collect::<Result<Vec<_>, _>>());
        Ok(Self { origins: origins.transpose()?, ..self.clone() })
    }

    /// What they say, checked. Of origins, old texts are taken, too: see [`Origin::stored`].
    pub fn config(&self) -> Result<RulesConfig, TextError> {
        for (field, words) in [
            ("chains", &self.chains),
            ("origins", &self.origins),
            ("networks", &self.networks),
            ("regions", &self.regions),
        ] {
            check_words(field, words.iter().flatten())?;
        }
        check_patterns("methods", self.methods.iter().flatten())?;
        check_patterns("methods_refused", &self.methods_refused)?;
        let network = |text: &String| {
            let wrong = |why| TextError::Network { field: "networks", network: text.clone(), why };
            text.parse::<Network>().map_err(wrong)
        };
        let networks = self.networks.as_ref().map(|all| all.iter().map(network).collect::<Result<Vec<_>, _>>());
        Ok(RulesConfig {
            chains: self.chains.clone(),
            methods: self.methods.clone(),
            methods_refused: self.methods_refused.clone(),
            origins: self.origins.as_ref().map(|all| all.iter().map(|text| Origin::stored(text)).collect()),
            networks: networks.transpose()?,
            regions: self.regions.clone(),
        })
    }
}

fn read<T: for<'de> Deserialize<'de>>(json: &str) -> Result<T, TextError> {
    let mut text = serde_json::Deserializer::from_str(json);
    let found = T::deserialize(&mut text).and_then(|found| text.end().map(|()| found));
    found.map_err(|error| TextError::Json(error.to_string()))
}

/// Fields have names: what is derived would take a list of values as well, of which an empty one is everything.
macro_rules! of_names {
    ($($text:ty)*) => { $(
        impl<'de> Deserialize<'de> for $text {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let fields = serde_json::Map::deserialize(deserializer)?;
                <$text>::deserialize(serde_json::Value::Object(fields)).map_err(D::Error::custom)
            }
        }

        impl Serialize for $text {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$text>::serialize(self, serializer)
            }
        }
    )* };
}

of_names!(PlanText RulesText);

fn check_words<'a>(field: &'static str, words: impl IntoIterator<Item = &'a String>) -> Result<(), TextError> {
    for (n, word) in words.into_iter().enumerate() {
        if n == PLAN_LIST_MAX {
            return Err(TextError::Long(field));
        }
        let plain = |char: char| !char.is_control() && !char.is_whitespace();
        if word.contains(KEY_PREFIX) {
            return Err(TextError::Key(field));
        }
        if word.is_empty() || word.len() > PLAN_WORD_BYTES_MAX || !word.chars().all(plain) {
            return Err(TextError::Word(field));
        }
    }
    Ok(())
}

fn check_patterns<'a>(
    field: &'static str,
    patterns: impl IntoIterator<Item = &'a String> + Clone,
) -> Result<(), TextError> {
    check_words(field, patterns.clone())?;
    let mut patterns = patterns.into_iter();
    let inner = patterns.any(|pattern| pattern.strip_suffix('*').unwrap_or(pattern).contains('*'));
    if inner { Err(TextError::Pattern(field)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::info;

    #[test]
    fn a_plan_is_read_as_it_is_written() {
        for (json, written) in [
            ("{}", "{}"),
            (r#"{"rules": {}, "units": {}}"#, "{}"),
            (
                r#"{"units_per_month": 300000000, "calls_per_second": 25, "units": {"trace_*": 100},
                    "rules": {"networks": ["10.0.0.0/8"]}, "without_store": "refuse", "month_starts_on": 15}"#,
                r#"{"calls_per_second":25,"units_per_month":300000000,"month_starts_on":15,"units":{"trace_*":100},"without_store":"refuse","rules":{"networks":["10.0.0.0/8"]}}"#,
            ),
        ] {
            let plan = PlanText::parse(json).unwrap();
            assert_eq!(plan.json(), written);
            assert_eq!(PlanText::parse(written).unwrap(), plan);
            assert!(plan.config().is_ok());
        }
    }

    #[test]
    fn a_plan_that_is_none_is_refused() {
        let long = format!(r#"{{"rules": {{"chains": [{}]}}}}"#, vec![r#""a""#; PLAN_LIST_MAX + 1].join(","));
        for (json, words) in [
            (r#"{"calls_per_secnd": 5}"#, "unknown field"),
            (r#"{"calls_per_second": -5}"#, "invalid value"),
            (r#"{"rules": {"chain": []}}"#, "unknown field"),
            (r#"{"without_store": "pray"}"#, "unknown variant"),
            (r#"{"month_starts_on": 29}"#, "1 to 28"),
            (r#"{"month_starts_on": 0}"#, "1 to 28"),
            (r#"{"rules": {"networks": ["10.0.0.1/8"]}}"#, "10.0.0.1/8"),
            (r#"{"rules": {"chains": [""]}}"#, "chains: an entry"),
            (r#"{"rules": {"methods": ["eth_*Logs"]}}"#, "methods: a star"),
            (r#"{"units": {"*_call": 1}}"#, "units: a star"),
            (r#"{"rules": {"chains": ["lc_live_0"]}}"#, "chains: that is a key"),
            (&long, "at most"),
            ("[]", "expected a map"),
            ("[5]", "expected a map"),
            (r#"{"rules": []}"#, "expected a map"),
            ("{} {}", "trailing"),
            ("", "EOF"),
        ] {
            let refused = PlanText::parse(json).and_then(|plan| plan.config()).unwrap_err().to_string();
            assert!(refused.contains(words), "{json:.60}: {refused}");
        }
    }

    #[test]
    fn origins_are_kept_as_browsers_send_them_and_old_ones_are_still_read() {
        let plan = PlanText::parse(r#"{"rules": {"origins": ["https://App.example:443"]}}"#).unwrap();
        assert_eq!(plan.written().unwrap().json(), r#"{"rules":{"origins":["https://app.example"]}}"#);
        let old = PlanText::parse(r#"{"rules": {"origins": ["https://app.example*", "https://b.example"]}}"#).unwrap();
        assert_eq!(old.written(), Err(TextError::Origin(NoOrigin)));
        let rules = crate::tenant::Rules::new(&old.config().unwrap().rules);
        for (origin, expected) in
            [("https://app.example", false), ("https://app.example.evil.com", false), ("https://b.example", true)]
        {
            let origin = Some(origin.as_bytes());
            let visit = crate::tenant::Visit { chain: "a", region: "a", origin, client: [127, 0, 0, 1].into() };
            assert_eq!(rules.visit(&visit).is_ok(), expected);
        }
    }

    #[test]
    fn of_two_weights_the_more_exact_one_counts() {
        let plan = PlanText::parse(r#"{"units": {"*": 1, "eth_*": 2, "eth_get*": 3, "eth_getLogs": 4, "eth_g*": 5}}"#)
            .unwrap();
        let units = plan.config().unwrap().units;
        for (method, weight) in
            [("eth_getLogs", 4), ("eth_getBalance", 3), ("eth_gasPrice", 5), ("eth_call", 2), ("net_version", 1)]
        {
            assert_eq!(units.of(info(method), method), weight, "{method}");
        }
    }

    #[test]
    fn rules_that_allow_nothing_allow_nothing() {
        use crate::tenant::{Rules, Visit};
        let rules = Rules::new(&RulesText::nothing().config().unwrap());
        let visit = Visit { chain: "ethereum", region: "a", origin: None, client: [127, 0, 0, 1].into() };
        assert!(rules.visit(&visit).is_err());
        assert!(Rules::new(&RulesText::default().config().unwrap()).visit(&visit).is_ok());
    }
}
