//! Everyone who may come in, as control publishes them: keys, plans and rules of one moment, immutable.
//!
//! A node without a store of tenants has none: everybody is let in and nothing is counted ([`Roster::open`]). What must
//! outlive a roster, the words of those who are active, is shared by all of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::active::{Active, Who};
use super::key::{KeyHash, KeyId, Pepper};
use super::map::{KeyEntry, Keys, PlanNumber, RulesNumber, TenantId};
use super::network::AddressBlock;
use super::plan::{Plan, Unauthorized, find_hash, find_key};
use super::quota::Quota;
use super::rules::Rules;
use super::token::{TokenEntry, TokenFault, Tokens};
use crate::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub struct Roster(Option<Shop>);

/// What there is where tenants are.
#[derive(Debug)]
pub struct Shop {
    pub keys: Keys,
    pub pepper: Pepper,
    /// By [`PlanNumber`].
    pub plans: Vec<Arc<Plan>>,
    /// By [`RulesNumber`]; the first ones are empty.
    pub rules: Vec<Arc<Rules>>,
    /// The plan of those who show no key; none: they are refused.
    pub anonymous: Option<PlanNumber>,
    /// Who may stand in for a key; none: no token does.
    pub tokens: Option<Arc<Tokens>>,
    pub names: Arc<Names>,
    /// Keys that take from another's quota, and whose it is: those that were rotated.
    pub quota_of: Arc<HashMap<KeyId, KeyId>>,
    /// Whether a fleet's store counts, too.
    pub fleet: bool,
    pub active: Arc<Actives>,
}

/// What tokens name, by name.
#[derive(Debug, Default)]
pub struct Names {
    pub tenants: HashMap<Box<str>, TenantId>,
    pub plans: HashMap<Box<str>, PlanNumber>,
}

/// The words of all who are active, kept over all rosters.
#[derive(Debug, Default)]
pub struct Actives {
    pub keys: Active,
    /// Apart, since they come in any number.
    pub strangers: Active,
}

/// Somebody who may come in.
#[derive(Clone, Debug)]
pub struct Known {
    pub who: Who,
    /// The key's; none of a stranger, and of a token's bearer.
    hash: Option<KeyHash>,
    pub entry: KeyEntry,
    pub plan: Arc<Plan>,
    pub rules: Arc<Rules>,
}

impl Roster {
    /// Of a node without tenants.
    #[must_use]
    pub const fn open() -> Self {
        Self(None)
    }

    #[must_use]
    pub const fn of(shop: Shop) -> Self {
        Self(Some(shop))
    }

    /// None: everybody may come in.
    #[must_use]
    pub const fn shop(&self) -> Option<&Shop> {
        self.0.as_ref()
    }
}

impl Shop {
    /// Who shows this, coming from `client`.
    pub fn find(&self, shown: Option<&[u8]>, client: AddressBlock, now: Instant) -> Result<Known, Unauthorized> {
        match (shown, self.anonymous) {
            (None, Some(plan)) => self.known(Who::Stranger(client), None, stranger(plan)),
            (shown, _) => {
                let (hash, entry) = find_key(shown, &self.pepper, &self.keys, now)?;
                self.known(Who::Key(entry.key), Some(hash), entry)
            }
        }
    }

    /// The bearer of a good token; `unix_s` is the moment that the node calls `now`.
    pub fn bearer(&self, token: &TokenEntry, now: Instant, unix_s: u64) -> Result<Known, Unauthorized> {
        let tenant = *self.names.tenants.get(&token.tenant).ok_or(Unauthorized::Token(TokenFault::Claims))?;
        let plan = *self.names.plans.get(&token.plan).ok_or(Unauthorized::Token(TokenFault::Claims))?;
        let expires = now + Duration::from_secs(token.expires_s.saturating_sub(unix_s));
        let entry = KeyEntry { key: token.key, tenant, plan, rules: RulesNumber(0), expires };
        let known = self.known(Who::Key(token.key), None, entry)?;
        Ok(Known { rules: Arc::clone(&token.rules), ..known })
    }

    /// Somebody whom an earlier roster knew as `known`, as this one does.
    pub fn again(&self, known: &Known, now: Instant) -> Result<Known, Unauthorized> {
        match (&known.hash, known.who, self.anonymous) {
            (Some(hash), ..) => self.known(known.who, known.hash, find_hash(hash, &self.keys, now)?),
            // A token is good until it expires; its plan may have changed.
            (None, Who::Key(_), _) if now < known.entry.expires => {
                Ok(Known { rules: Arc::clone(&known.rules), ..self.known(known.who, None, known.entry)? })
            }
            (None, Who::Key(_), _) => Err(Unauthorized::Expired),
            (None, Who::Stranger(_), Some(plan)) => self.known(known.who, None, stranger(plan)),
            (None, Who::Stranger(_), None) => Err(Unauthorized::Missing),
        }
    }

    fn known(&self, who: Who, hash: Option<KeyHash>, entry: KeyEntry) -> Result<Known, Unauthorized> {
        // Control publishes plans and rules with the keys that name them.
        let plan = self.plans.get(entry.plan.0 as usize).ok_or(Unauthorized::Unknown)?;
        let rules = self.rules.get(entry.rules.0 as usize).ok_or(Unauthorized::Unknown)?;
        Ok(Known { who, hash, entry, plan: Arc::clone(plan), rules: Arc::clone(rules) })
    }

    /// The words of somebody; none where there is no room for one more.
    #[must_use]
    pub fn words(&self, known: &Known) -> Option<Arc<Quota>> {
        let month = known.plan.terms.month.number;
        let words = match known.who {
            Who::Key(key) => self.active.keys.words(Who::Key(*self.quota_of.get(&key).unwrap_or(&key)), month),
            Who::Stranger(_) => self.active.strangers.words(known.who, month),
        }?;
        self.lend(known, &words);
        Some(words)
    }

    /// In a fleet: from now on these `words` go by the plan that `known` has. Strangers are each node's own.
    pub fn lend(&self, known: &Known, words: &Quota) {
        if self.fleet && matches!(known.who, Who::Key(_)) {
            words.lend(known.entry.plan, &known.plan.lease);
        }
    }
}

impl Known {
    /// Somebody who is known otherwise than by the map of keys.
    #[must_use]
    pub const fn of(entry: KeyEntry, plan: Arc<Plan>, rules: Arc<Rules>) -> Self {
        Self { who: Who::Key(entry.key), hash: None, entry, plan, rules }
    }

    /// Whether both have the same tenant, plan and rules.
    #[must_use]
    pub fn goes_by(&self, other: &Self) -> bool {
        self.entry.tenant == other.entry.tenant
            && Arc::ptr_eq(&self.plan, &other.plan)
            && Arc::ptr_eq(&self.rules, &other.rules)
    }

    /// Whether all that matters of it is as it was.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.entry == other.entry && Arc::ptr_eq(&self.plan, &other.plan) && Arc::ptr_eq(&self.rules, &other.rules)
    }
}

const fn stranger(plan: PlanNumber) -> KeyEntry {
    KeyEntry { key: KeyId::NOBODY, tenant: TenantId(0), plan, rules: RulesNumber(0), expires: Instant::NEVER }
}

#[cfg(test)]
mod tests {
    use super::super::key::{KEY_RANDOM_BYTES, KeyText, NewKey};
    use super::super::map::KeyMap;
    use super::super::plan::PlanConfig;
    use super::*;
    use crate::bucket::Month;

    #[test]
    fn who_shows_no_key_is_a_stranger_where_there_may_be_strangers() {
        let pepper = Pepper::new(&[7; 32]).unwrap();
        let key = NewKey::from_random(&[1; KEY_RANDOM_BYTES]);
        let entry = KeyEntry { key: key.id(), plan: PlanNumber(1), ..stranger(PlanNumber(0)) };
        let hash = pepper.hash(KeyText::read(key.expose().as_bytes()).unwrap());
        let plan = || Arc::new(Plan::new(&PlanConfig::default(), Month::default()));
        let mut shop = Shop {
            keys: Keys::new(Arc::new(KeyMap::build([(hash, entry)]).unwrap()), 1),
            pepper,
            plans: vec![plan(), plan()],
            rules: vec![Arc::default()],
            anonymous: Some(PlanNumber(0)),
            tokens: None,
            fleet: false,
            names: Arc::default(),
            quota_of: Arc::default(),
            active: Arc::default(),
        };
        let client = AddressBlock::of([10, 0, 0, 1].into());
        let find = |shop: &Shop, shown: Option<&str>| {
            shop.find(shown.map(str::as_bytes), client, Instant::START).map(|known| known.who)
        };
        assert_eq!(find(&shop, None), Ok(Who::Stranger(client)));
        assert_eq!(find(&shop, Some(key.expose())), Ok(Who::Key(key.id())));
        assert!(matches!(find(&shop, Some("")), Err(Unauthorized::Malformed(_))), "an empty key is no wish");
        let [by_key, by_address] = [Some(key.expose()), None]
            .map(|shown| shop.find(shown.map(str::as_bytes), client, Instant::START).unwrap());
        assert!(shop.again(&by_key, Instant::START).unwrap().is_same(&by_key));
        shop.anonymous = None;
        assert_eq!(find(&shop, None), Err(Unauthorized::Missing));
        assert!(shop.again(&by_address, Instant::START).is_err());
        shop.plans[1] = plan();
        assert!(!shop.again(&by_key, Instant::START).unwrap().is_same(&by_key), "another plan");
        shop.keys = shop.keys.with([(hash, None)]).unwrap();
        assert_eq!(shop.again(&by_key, Instant::START).map(drop), Err(Unauthorized::Unknown));
        shop.keys = shop.keys.with([(hash, Some(entry))]).unwrap();
        shop.plans.pop();
        assert_eq!(find(&shop, Some(key.expose())), Err(Unauthorized::Unknown), "a plan that is not there");
    }
}
