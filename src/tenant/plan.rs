//! A plan: what was sold to a tenant, and what a key of it may do.
//!
//! Which key is shown is found out once for each request ([`find_key`]), from its head alone; whether it may come in is
//! the plan's and the key's rules' to say ([`Plan::visit`]); what its calls weigh and whether there is room for them is
//! asked call by call. All of it ends in a [`Verdict`], which knows what the client is told.

use super::key::{KeyFault, KeyHash, KeyText, Pepper};
use super::lease::LeaseTerms;
use super::map::{KeyEntry, Keys};
use super::quota::{QuotaConfig, Refused, Terms};
use super::rules::{Forbidden, Rules, RulesConfig, Visit};
use super::shown::TwoKeys;
use super::token::TokenFault;
use crate::bucket::Month;
use crate::jsonrpc::{Reason, Units};
use crate::time::Instant;

/// What is done with keys of a plan while the store that counts for the whole fleet is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutStore {
    /// The node goes on with what it counts by itself: clients are served, and may get more than was sold.
    #[default]
    GoOn,
    /// It refuses when what it was leased is used up.
    Refuse,
}

/// A plan as it is written.
#[derive(Clone, Debug, Default)]
pub struct PlanConfig {
    pub quota: QuotaConfig,
    /// What methods weigh.
    pub units: Units,
    pub rules: RulesConfig,
    pub without_store: WithoutStore,
}

/// A plan made ready: one for each snapshot.
#[derive(Debug)]
pub struct Plan {
    pub terms: Terms,
    pub units: Units,
    pub rules: Rules,
    pub without_store: WithoutStore,
    /// What of it a fleet shares.
    pub lease: LeaseTerms,
}

/// Why nobody knows who this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unauthorized {
    Missing,
    TwoKeys,
    Malformed(KeyFault),
    /// Never made, or revoked: nobody is told which.
    Unknown,
    Expired,
    Token(TokenFault),
}

impl Unauthorized {
    /// What the client is told: of a key that is none, the same whatever is wrong with it.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Missing => "a key is needed: /v1/{key}/…, X-Livechain-Key, Authorization: Bearer, or ?key=",
            Self::TwoKeys => "the request shows two different keys",
            Self::Malformed(_) | Self::Unknown => "this is no key of ours",
            Self::Expired | Self::Token(TokenFault::Expired) => "this key has expired",
            Self::Token(_) => "this is no token of ours",
        }
    }
}

impl From<TwoKeys> for Unauthorized {
    fn from(_: TwoKeys) -> Self {
        Self::TwoKeys
    }
}

impl From<KeyFault> for Unauthorized {
    fn from(fault: KeyFault) -> Self {
        Self::Malformed(fault)
    }
}

/// What becomes of a request or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    Unauthorized(Unauthorized),
    Forbidden(Forbidden),
    OverQuota(Refused),
}

/// What is known of the key that a request shows ([`super::shown_key`]), and its hash.
pub fn find_key(
    shown: Option<&[u8]>,
    pepper: &Pepper,
    keys: &Keys,
    now: Instant,
) -> Result<(KeyHash, KeyEntry), Unauthorized> {
    let text = KeyText::read(shown.ok_or(Unauthorized::Missing)?)?;
    let hash = pepper.hash(text);
    Ok((hash, find_hash(&hash, keys, now)?))
}

/// What is known of the key that has this hash.
pub(super) fn find_hash(hash: &KeyHash, keys: &Keys, now: Instant) -> Result<KeyEntry, Unauthorized> {
    let found = keys.find(hash).ok_or(Unauthorized::Unknown)?;
    if now < found.expires { Ok(found) } else { Err(Unauthorized::Expired) }
}

impl Plan {
    #[must_use]
    pub fn new(config: &PlanConfig, month: Month) -> Self {
        Self {
            terms: Terms::new(&config.quota, config.units.heaviest(), month),
            units: config.units.clone(),
            rules: Rules::new(&config.rules),
            without_store: config.without_store,
            lease: LeaseTerms::new(config, month),
        }
    }

    /// Whether a request of a key that has `own` rules may come in.
    pub fn visit(&self, own: &Rules, visit: &Visit<'_>) -> Result<(), Forbidden> {
        self.rules.visit(visit).and_then(|()| own.visit(visit))
    }

    /// Whether a key that has `own` rules may call this method.
    #[inline]
    pub fn method(&self, own: &Rules, name: &str) -> Result<(), Forbidden> {
        self.rules.method(name).and_then(|()| own.method(name))
    }
}

impl Verdict {
    /// The failure that the client is told; none where there is none.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Allowed => None,
            Self::Unauthorized(_) => Some(Reason::Unauthorized),
            Self::Forbidden(_) => Some(Reason::Forbidden),
            Self::OverQuota(_) => Some(Reason::Quota),
        }
    }

    /// In words, of which none is the client's own.
    #[must_use]
    pub const fn message(&self) -> &'static str {
        match self {
            Self::Allowed => "",
            Self::Unauthorized(why) => why.message(),
            Self::Forbidden(what) => what.message(),
            Self::OverQuota(refused) => refused.limit.message(),
        }
    }

    /// The seconds of `Retry-After`.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::OverQuota(refused) => refused.retry_after_s(),
            _ => None,
        }
    }
}

impl From<Unauthorized> for Verdict {
    fn from(why: Unauthorized) -> Self {
        Self::Unauthorized(why)
    }
}

impl From<Forbidden> for Verdict {
    fn from(what: Forbidden) -> Self {
        Self::Forbidden(what)
    }
}

impl From<Refused> for Verdict {
    fn from(refused: Refused) -> Self {
        Self::OverQuota(refused)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::key::{KEY_BYTES, KEY_RANDOM_BYTES, NewKey};
    use super::super::map::{KeyMap, PlanNumber, RulesNumber, TenantId};
    use super::super::quota::{Quota, Share};
    use super::super::shown::{KeyPlaces, shown_key};
    use super::*;

    fn s(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    struct Shop {
        pepper: Pepper,
        keys: Keys,
        good: NewKey,
        ends: NewKey,
        revoked: NewKey,
    }

    fn shop() -> Shop {
        let pepper = Pepper::new(b"a pepper that nobody outside of these tests has").unwrap();
        let [good, ends, revoked] = [1, 2, 3].map(|seed| NewKey::from_random(&[seed; KEY_RANDOM_BYTES]));
        let hash = |key: &NewKey| pepper.hash(KeyText::read(key.expose().as_bytes()).unwrap());
        let entry = |key: &NewKey, expires| KeyEntry {
            key: key.id(),
            tenant: TenantId(1),
            plan: PlanNumber(0),
            rules: RulesNumber(0),
            expires,
        };
        let rows = [(&good, Instant::NEVER), (&ends, s(100)), (&revoked, Instant::NEVER)]
            .map(|(key, expires)| (hash(key), entry(key, expires)));
        let keys = Keys::new(Arc::new(KeyMap::build(rows).unwrap()), 1).with([(hash(&revoked), None)]).unwrap();
        Shop { pepper, keys, good, ends, revoked }
    }

    #[test]
    fn who_shows_what_is_let_in_or_told_why_not() {
        let shop = shop();
        let (good, ends, revoked) = (shop.good.expose(), shop.ends.expose(), shop.revoked.expose());
        let strange = NewKey::from_random(&[9; KEY_RANDOM_BYTES]);
        let twice = format!("key={good}&key={ends}");
        let enormous = good.repeat(1000);
        for (path, query, at, expected) in [
            (Some(good), None, 0, Ok(shop.good.id())),
            (Some(ends), None, 99, Ok(shop.ends.id())),
            (Some(ends), None, 100, Err(Unauthorized::Expired)),
            (Some(revoked), None, 0, Err(Unauthorized::Unknown)),
            (Some(strange.expose()), None, 0, Err(Unauthorized::Unknown)),
            (None, None, 0, Err(Unauthorized::Missing)),
            (None, Some("key="), 0, Err(KeyFault::Length.into())),
            (Some(&good[..KEY_BYTES - 1]), None, 0, Err(KeyFault::Length.into())),
            (Some(&enormous), None, 0, Err(KeyFault::Length.into())),
            (None, Some(&twice), 0, Err(Unauthorized::TwoKeys)),
        ] {
            let (path, query) = (path.map(str::as_bytes), query.map(str::as_bytes));
            let shown = shown_key(&KeyPlaces { path, query, ..KeyPlaces::default() });
            let found =
                shown.map_err(Unauthorized::from).and_then(|shown| find_key(shown, &shop.pepper, &shop.keys, s(at)));
            let found = found.map(|(_, entry)| entry.key);
            assert_eq!(found, expected);
            if let Err(why) = found {
                let verdict = Verdict::from(why);
                assert_eq!(verdict.reason(), Some(Reason::Unauthorized));
                assert!(!verdict.message().contains(&good[..12]) && !verdict.message().is_empty());
            }
        }
        let words = |why: Unauthorized| Verdict::from(why).message();
        assert_eq!(words(Unauthorized::Unknown), words(KeyFault::Checksum.into()), "what is near is not told");
    }

    #[test]
    fn plan_and_key_must_both_allow() {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let rules =
            RulesConfig { chains: list(&["ethereum", "base"]), methods: list(&["eth_*"]), ..Default::default() };
        let plan = Plan::new(&PlanConfig { rules, ..PlanConfig::default() }, Month::default());
        let own =
            RulesConfig { chains: list(&["base"]), methods_refused: vec!["eth_getLogs".into()], ..Default::default() };
        let own = Rules::new(&own);
        let visit = |chain| Visit { chain, region: "a", origin: None, client: [127, 0, 0, 1].into() };
        for (chain, expected) in
            [("base", Ok(())), ("ethereum", Err(Forbidden::Chain)), ("polygon", Err(Forbidden::Chain))]
        {
            assert_eq!(plan.visit(&own, &visit(chain)), expected, "{chain}");
        }
        for (method, allowed) in [("eth_call", true), ("eth_getLogs", false), ("net_version", false)] {
            assert_eq!(plan.method(&own, method).is_ok(), allowed, "{method}");
        }
        let verdict = Verdict::from(Forbidden::Method);
        assert_eq!((verdict.reason(), verdict.retry_after_s()), (Some(Reason::Forbidden), None));
    }

    #[test]
    fn methods_weigh_what_the_plan_says() {
        let units = Units::new(crate::jsonrpc::DEFAULT_UNITS, &[("trace_*".to_owned(), 500)]);
        let quota = QuotaConfig { units_per_second: Some(100), ..QuotaConfig::default() };
        let plan = Plan::new(&PlanConfig { quota, units, ..PlanConfig::default() }, Month::default());
        let (words, mut own) = (Quota::new(), Share::default());
        let mut take =
            |now, method| words.take(now, plan.units.of(crate::jsonrpc::info(method), method), &plan.terms, &mut own);
        assert!(take(s(50), "trace_block").is_ok(), "the burst is as much as the dearest method weighs");
        let verdict = Verdict::from(take(s(50), "eth_call").unwrap_err());
        assert_eq!((verdict.reason(), verdict.retry_after_s()), (Some(Reason::Quota), Some(1)));
        assert!(take(s(51), "eth_call").is_ok());
    }
}
