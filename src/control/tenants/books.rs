//! From what the ledger keeps to what shards look keys up in.
//!
//! Plans and rules get numbers here, each one its own for the life of the process, so that a million keys need not be
//! touched when a plan changes. A plan whose text stays as it is stays the same object: accounts that go by it are not
//! replaced.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::fleet::InUse;
use crate::config;
use crate::ledger::{Directory, KeyRow, PlanId, PlanText, RulesText};
use crate::routing::Month;
use crate::tenant::key::{KeyHash, KeyId, Pepper, WeakPepper};
use crate::tenant::lease::{LeaseTerms, Leased};
use crate::tenant::token::Tokens;
use crate::tenant::{
    Actives, KeyEntry, KeyMap, Keys, MonthUsed, Names, Plan, PlanNumber, Roster, Rules, RulesConfig, RulesNumber, Shop,
    TooManyKeys, Who,
};
use crate::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Books {
    pepper: Pepper,
    /// The name of the plan of those who show no key.
    anonymous: Option<String>,
    active: Arc<Actives>,
    tokens: Option<Arc<Tokens>>,
    names: Arc<Names>,
    /// Keys that take from another's quota, and whose it is.
    quota_of: Arc<HashMap<KeyId, KeyId>>,
    /// Where a fleet's store counts, too: what it goes by.
    fleet: Option<Shared>,
    keys: Keys,
    /// By [`PlanNumber`].
    plans: Vec<Page>,
    plan_numbers: HashMap<PlanId, PlanNumber>,
    /// By [`RulesNumber`]; the first are empty.
    rules: Vec<Arc<Rules>>,
    /// By their text.
    rules_numbers: HashMap<String, RulesNumber>,
}

/// What a fleet's task reads.
#[derive(Clone, Debug, Default)]
struct Shared {
    /// By [`PlanNumber`].
    terms: Arc<Mutex<Vec<LeaseTerms>>>,
    /// What keys had used of a month, by its number, when the node started.
    bases: Arc<Mutex<HashMap<(KeyId, u16), u64>>>,
}

impl Shared {
    fn terms(&self) -> MutexGuard<'_, Vec<LeaseTerms>> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bases(&self) -> MutexGuard<'_, HashMap<(KeyId, u16), u64>> {
        self.bases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plan as it was read last.
#[derive(Debug)]
struct Page {
    name: String,
    text: PlanText,
    month: Month,
    ready: Arc<Plan>,
}

impl Page {
    fn new(name: &str, text: &PlanText, month: &impl Fn(u8) -> Month) -> Self {
        let month = month(text.month_starts_on.unwrap_or(1));
        let config = text.config().unwrap_or_else(|error| {
            // The ledger tells only of plans that can be read; what is in doubt lets nobody in.
            tracing::error!(plan = name, %error, "this plan cannot be read; its keys are refused");
            let rules = RulesConfig { chains: Some(Vec::new()), ..RulesConfig::default() };
            crate::tenant::PlanConfig { rules, ..crate::tenant::PlanConfig::default() }
        });
        Self { name: name.to_owned(), text: text.clone(), month, ready: Arc::new(Plan::new(&config, month)) }
    }
}

impl Books {
    pub(super) fn new(config: &config::Tenants) -> Result<Self, WeakPepper> {
        Ok(Self {
            pepper: Pepper::new(config.pepper.expose().as_bytes())?,
            anonymous: config.anonymous.clone(),
            active: Arc::default(),
            tokens: None,
            fleet: config.fleet.is_some().then(Shared::default),
            names: Arc::default(),
            quota_of: Arc::default(),
            keys: Keys::new(Arc::new(KeyMap::default()), 1),
            plans: Vec::new(),
            plan_numbers: HashMap::new(),
            rules: vec![Arc::default()],
            rules_numbers: HashMap::new(),
        })
    }

    /// Keys that there are, and each change since the map was built: a few more than there are.
    pub(super) fn keys(&self) -> usize {
        self.keys.map().len() + self.keys.changed()
    }

    /// Keys and strangers in use.
    pub(super) fn active(&self) -> (usize, usize) {
        (self.active.keys.len(), self.active.strangers.len())
    }

    pub(super) fn set_anonymous(&mut self, plan: Option<String>) {
        self.anonymous = plan;
    }

    /// Takes over what the ledger says. `unix` is the moment that the node calls `now`.
    pub(super) fn enter(
        &mut self,
        directory: &Directory,
        now: Instant,
        unix: Duration,
        month: &impl Fn(u8) -> Month,
    ) -> Roster {
        for problem in &directory.unreadable {
            tracing::error!(problem, "the ledger holds what cannot be read");
        }
        for plan in &directory.plans {
            self.enter_plan(plan.id, &plan.name, &plan.text, month);
        }
        self.enter_keys(directory, now, unix);
        self.enter_quotas(directory);
        self.names = Arc::new(self.names(directory));
        self.roster(now, month)
    }

    fn names(&self, directory: &Directory) -> Names {
        let tenants = directory.tenants.iter().map(|tenant| (tenant.name.as_str().into(), tenant.id));
        let plans = directory
            .plans
            .iter()
            .filter_map(|plan| Some((plan.name.as_str().into(), *self.plan_numbers.get(&plan.id)?)));
        Names { tenants: tenants.collect(), plans: plans.collect() }
    }

    pub(super) const fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    pub(super) fn set_tokens(&mut self, tokens: Option<Arc<Tokens>>) {
        self.tokens = tokens;
    }

    fn enter_plan(&mut self, id: PlanId, name: &str, text: &PlanText, month: &impl Fn(u8) -> Month) {
        match self.plan_numbers.get(&id).map(|number| &mut self.plans[number.0 as usize]) {
            Some(page) if page.text == *text => name.clone_into(&mut page.name),
            Some(page) => *page = Page::new(name, text, month),
            None => {
                let number = PlanNumber(u32::try_from(self.plans.len()).unwrap_or(u32::MAX));
                self.plans.push(Page::new(name, text, month));
                self.plan_numbers.insert(id, number);
            }
        }
    }

    fn enter_keys(&mut self, directory: &Directory, now: Instant, unix: Duration) {
        let entries: Vec<(KeyHash, Option<KeyEntry>)> =
            directory.keys.iter().map(|key| (key.hash, self.entry(key, now, unix))).collect();
        let entered = if directory.whole {
            let all = entries.into_iter().filter_map(|(hash, entry)| Some((hash, entry?)));
            let next = self.keys.generation() + 1;
            KeyMap::build(all).map(|map| Keys::new(Arc::new(map), next))
        } else {
            self.changed(&entries)
        };
        match entered {
            Ok(keys) => self.keys = keys,
            Err(error) => tracing::error!(%error, "the changed keys are not taken over"),
        }
    }

    fn enter_quotas(&mut self, directory: &Directory) {
        let shares = |key: &KeyRow| key.revoked_s.is_none() && key.quota != key.id;
        let is_news = |key: &KeyRow| shares(key) != self.quota_of.contains_key(&key.id);
        if !directory.whole && !directory.keys.iter().any(is_news) {
            return;
        }
        let mut shared = if directory.whole { HashMap::new() } else { HashMap::clone(&self.quota_of) };
        for key in &directory.keys {
            if shares(key) {
                shared.insert(key.id, key.quota);
            } else {
                shared.remove(&key.id);
            }
        }
        self.quota_of = Arc::new(shared);
    }

    fn changed(&self, changes: &[(KeyHash, Option<KeyEntry>)]) -> Result<Keys, TooManyKeys> {
        match self.keys.with(changes.iter().copied()) {
            Ok(keys) => Ok(keys),
            // Many at once, or since long: into the map, piece by piece.
            Err(_) => changes.chunks(crate::limits::KEYS_CHANGED_MAX).try_fold(self.keys.rebuilt()?, |keys, some| {
                keys.with(some.iter().copied()).map_or_else(|_| Ok(keys.clone()), |keys| keys.rebuilt())
            }),
        }
    }

    /// None: nobody may come in with it.
    fn entry(&mut self, key: &KeyRow, now: Instant, unix: Duration) -> Option<KeyEntry> {
        if key.revoked_s.is_some() {
            return None;
        }
        let plan = *self.plan_numbers.get(&key.plan)?;
        let expires = key.expires_s.map_or(Instant::NEVER, |at| {
            // One that is over is over now.
            now + Duration::from_secs(at).saturating_sub(unix)
        });
        let rules = key.rules.as_deref().map_or(RulesNumber(0), |text| self.rules_number(text));
        Some(KeyEntry { key: key.id, tenant: key.tenant, plan, rules, expires })
    }

    fn rules_number(&mut self, text: &RulesText) -> RulesNumber {
        let json = text.json();
        if let Some(number) = self.rules_numbers.get(&json) {
            return *number;
        }
        let config = text.config().unwrap_or_else(|error| {
            tracing::error!(%error, "the rules of a key cannot be read; it is refused");
            RulesConfig { chains: Some(Vec::new()), ..RulesConfig::default() }
        });
        let number = RulesNumber(u32::try_from(self.rules.len()).unwrap_or(u32::MAX));
        self.rules.push(Arc::new(Rules::new(&config)));
        self.rules_numbers.insert(json, number);
        number
    }

    /// Who may come in now.
    pub(super) fn roster(&mut self, now: Instant, month: &impl Fn(u8) -> Month) -> Roster {
        for page in &mut self.plans {
            if page.month.ends.is_some_and(|ends| now >= ends) {
                *page = Page::new(&page.name, &page.text, month);
            }
        }
        if let Some(fleet) = &self.fleet {
            *fleet.terms() = self.plans.iter().map(|plan| plan.ready.lease).collect();
        }
        let anonymous = self.anonymous.as_ref().and_then(|name| {
            let found = self.plans.iter().position(|plan| plan.name == *name);
            if found.is_none() {
                tracing::warn!(plan = name, "there is no such plan: who shows no key is refused");
            }
            Some(PlanNumber(u32::try_from(found?).ok()?))
        });
        Roster::of(Shop {
            keys: self.keys.clone(),
            pepper: self.pepper.clone(),
            plans: self.plans.iter().map(|plan| Arc::clone(&plan.ready)).collect(),
            rules: self.rules.clone(),
            anonymous,
            tokens: self.tokens.clone(),
            fleet: self.fleet.is_some(),
            names: Arc::clone(&self.names),
            quota_of: Arc::clone(&self.quota_of),
            active: Arc::clone(&self.active),
        })
    }

    pub(super) fn is_of_last_month(&self, now: Instant) -> bool {
        self.plans.iter().filter_map(|plan| plan.month.ends).any(|ends| now >= ends)
    }

    /// Whose month begins when: the quotas of keys whose plans limit it.
    pub(super) fn month_starts(&self, directory: &Directory) -> HashMap<KeyId, u8> {
        let day = |key: &KeyRow| {
            let text = &self.plans[self.plan_numbers.get(&key.plan)?.0 as usize].text;
            text.units_per_month.map(|_| text.month_starts_on.unwrap_or(1))
        };
        directory.keys.iter().filter_map(|key| Some((key.quota, day(key)?))).collect()
    }

    /// The days that months of plans begin on which limit them.
    pub(super) fn month_days(&self) -> BTreeSet<u8> {
        let limited = self.plans.iter().filter(|plan| plan.text.units_per_month.is_some());
        limited.map(|plan| plan.text.month_starts_on.unwrap_or(1)).collect()
    }

    /// Hands back what the ledger has of a quota's month.
    pub(super) fn restore(&self, key: KeyId, used: MonthUsed) {
        self.tell_fleet(key, used);
        self.active.keys.restore_month(Who::Key(key), used);
    }

    /// The same of a token's bearer, whose plan nobody knows yet: what it has used of the months of all.
    pub(super) fn restore_bearer(&self, bearer: KeyId, used: Vec<MonthUsed>) {
        for used in &used {
            self.tell_fleet(bearer, *used);
        }
        self.active.keys.restore_undecided(Who::Key(bearer), used);
    }

    fn tell_fleet(&self, key: KeyId, used: MonthUsed) {
        if let Some(fleet) = &self.fleet {
            fleet.bases().insert((key, used.month), used.units);
        }
    }

    /// What tells a fleet which keys are in use. The node's clock began at `epoch`.
    pub(super) fn in_use(&self, epoch: std::time::Instant) -> Option<InUse> {
        let (fleet, active) = (self.fleet.clone()?, Arc::clone(&self.active));
        Some(Arc::new(move || {
            let (terms, bases, now) = (fleet.terms(), fleet.bases(), Instant::START + epoch.elapsed());
            let leased = active.keys.leased().into_iter().filter_map(|(key, plan, lease)| {
                let terms = *terms.get(plan.0 as usize)?;
                let base = bases.get(&(key, terms.month.number_at(now))).copied().unwrap_or_default();
                Some(Leased { key, lease, terms, base })
            });
            leased.collect()
        }))
    }

    /// Forgets the words of whoever is not in use; what they have used of `month`, the calendar's, is kept.
    pub(super) fn sweep(&self, now: Instant, month: Month) {
        self.active.keys.forget(now, month.number);
        self.active.strangers.forget(now, month.number);
    }
}
