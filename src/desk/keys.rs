//! Keys: made, shown, changed, rotated, revoked.
//!
//! A revoked key stays revoked, and stays a row: whoever wants the customer back makes another one. Rotation is a new key
//! with the old one's terms, while the old one goes on for a span in which the customer changes over; both take from one
//! quota.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Refusal, moment};
use crate::config::Secret;
use crate::ledger::{KeyChange, KeyFilter, KeyRow, NewKeyName, NewKeyRow, RulesText, Store, StoreError};
use crate::tenant::key::{KEY_PREFIX, KEY_RANDOM_BYTES, KeyId, KeyText, NewKey, Pepper};

mod names;

use names::Names;

/// A key to be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyOrder {
    pub tenant: String,
    pub plan: String,
    #[serde(default)]
    pub label: String,
    /// A span, a day, a moment, or never.
    #[serde(default)]
    pub expires: Option<String>,
    #[serde(default)]
    pub rules: RulesText,
}

/// What is absent stays; of what is there, null takes away.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyChangeOrder {
    pub plan: Option<String>,
    pub label: Option<String>,
    #[serde(deserialize_with = "even_null")]
    pub expires: Option<Option<String>>,
    /// In the place of all that there were.
    #[serde(deserialize_with = "even_null")]
    pub rules: Option<Option<RulesText>>,
}

/// For how long the old key goes on beside the new one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RotateOrder {
    /// A span.
    pub grace: Option<String>,
}

/// Which keys are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeysAsked {
    pub tenant: Option<String>,
    /// The last id of the page before.
    pub after: Option<String>,
    pub most: Option<usize>,
    /// Whether revoked ones are wanted, too.
    pub revoked: bool,
}

/// A checked [`KeyOrder`].
#[derive(Clone, Debug)]
pub struct KeyTerms {
    tenant: String,
    plan: String,
    label: String,
    expires_s: Option<u64>,
    rules: Option<Box<RulesText>>,
}

/// A checked [`KeyChangeOrder`].
#[derive(Clone, Debug)]
pub struct KeyTermsChange {
    plan: Option<String>,
    change: KeyChange,
}

/// A checked [`KeysAsked`].
#[derive(Clone, Debug)]
pub struct KeysWanted {
    tenant: Option<String>,
    filter: KeyFilter,
    most: usize,
}

/// A key, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyDocument {
    pub id: String,
    pub tenant: String,
    pub plan: String,
    pub label: String,
    /// `active`, `expired` or `revoked`.
    pub state: &'static str,
    pub created: String,
    pub expires: Option<String>,
    pub revoked: Option<String>,
    /// The key whose quota it takes from, where that is not its own.
    pub shares_quota_of: Option<String>,
    pub rules: Option<Box<RulesText>>,
}

/// Keys by id.
#[derive(Clone, Debug, Serialize)]
pub struct KeyList {
    pub keys: Vec<KeyDocument>,
    /// To be asked for behind it, where there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A key that was made, with its text: the one place where it is told.
#[derive(Clone, Debug, Serialize)]
pub struct MadeKey {
    #[serde(serialize_with = "told")]
    pub key: Secret,
    #[serde(flatten)]
    pub document: KeyDocument,
    /// The one that it stands in for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<KeyDocument>,
}

/// The system has no random bytes to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandom;

/// By default the customer has a day to change over.
const GRACE_DEFAULT: &str = "1d";

/// Makes a key: its text for whoever asked, its name for the store.
pub fn make(pepper: &Pepper) -> Result<(Secret, NewKeyName), NoRandom> {
    let mut random = [0; KEY_RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| NoRandom)?;
    let key = NewKey::from_random(&random);
    let text = KeyText::read(key.expose().as_bytes()).expect("a key is read as it is made");
    Ok((Secret::new(key.expose()), NewKeyName { id: key.id(), hash: pepper.hash(text), pepper: pepper.own_tag() }))
}

/// Reads an id. What is none is never quoted: it may be a key.
pub fn id(text: &str) -> Result<KeyId, Refusal> {
    if text.contains(KEY_PREFIX.trim_end_matches('_')) {
        return Err(Refusal::KeyText);
    }
    text.parse().map_err(|_| Refusal::KeyId)
}

impl KeyOrder {
    pub fn check(self, now_s: u64) -> Result<KeyTerms, Refusal> {
        self.rules.written()?;
        let expires_s = self.expires.map(|text| moment::expiry("expires", &text, now_s)).transpose()?.flatten();
        let rules = Some(self.rules).filter(|rules| !rules.is_empty()).map(Box::new);
        Ok(KeyTerms { tenant: self.tenant, plan: self.plan, label: self.label, expires_s, rules })
    }
}

impl KeyChangeOrder {
    pub fn check(self, now_s: u64) -> Result<KeyTermsChange, Refusal> {
        if self.plan.is_none() && self.label.is_none() && self.expires.is_none() && self.rules.is_none() {
            return Err(Refusal::NoChange);
        }
        let ends = |text: Option<String>| match text {
            Some(text) => moment::expiry("expires", &text, now_s),
            None => Ok(None),
        };
        if let Some(Some(rules)) = &self.rules {
            rules.written()?;
        }
        let own = |rules: Option<RulesText>| rules.filter(|rules| !rules.is_empty()).map(Box::new);
        let change = KeyChange {
            plan: None,
            rules: self.rules.map(own),
            label: self.label,
            expires_s: self.expires.map(ends).transpose()?,
        };
        Ok(KeyTermsChange { plan: self.plan, change })
    }
}

impl RotateOrder {
    /// The grace, in seconds.
    pub fn check(&self) -> Result<u64, Refusal> {
        moment::span("grace", self.grace.as_deref().unwrap_or(GRACE_DEFAULT))
    }
}

impl KeysAsked {
    pub fn check(self) -> Result<KeysWanted, Refusal> {
        let most = super::most(self.most)?;
        let after = self.after.map(|text| id(&text)).transpose()?;
        let filter = KeyFilter { tenant: None, after, revoked: self.revoked, most: None };
        Ok(KeysWanted { tenant: self.tenant, filter, most })
    }
}

pub fn create(store: &mut Store, terms: KeyTerms, name: NewKeyName, now_s: u64) -> Result<KeyDocument, StoreError> {
    let row = NewKeyRow {
        name,
        tenant: store.tenant(&terms.tenant)?.id,
        plan: store.plan(&terms.plan)?.id,
        rules: terms.rules,
        label: terms.label,
        expires_s: terms.expires_s,
    };
    // Before it is made: behind it, nothing may fail, or nobody would have its text.
    let names = Names::read(store)?;
    Ok(names.document(store.create_key(&row, now_s)?, now_s))
}

pub fn list(store: &mut Store, wanted: &KeysWanted, now_s: u64) -> Result<KeyList, StoreError> {
    let tenant = wanted.tenant.as_deref().map(|name| store.tenant(name)).transpose()?.map(|tenant| tenant.id);
    // One more than a page tells whether there is another; the store gives no more than a page at once.
    let page = KeyFilter { tenant, most: Some(wanted.most), ..wanted.filter };
    let rows = store.keys(&page)?;
    let last = rows.last().filter(|_| rows.len() == wanted.most).map(|row| row.id);
    let more = match last {
        Some(last) => !store.keys(&KeyFilter { after: Some(last), most: Some(1), ..page })?.is_empty(),
        None => false,
    };
    let names = Names::read(store)?;
    let keys = rows.into_iter().map(|row| names.document(row, now_s)).collect();
    Ok(KeyList { keys, next: last.filter(|_| more).map(|last| last.to_string()) })
}

pub fn show(store: &mut Store, id: KeyId, now_s: u64) -> Result<KeyDocument, StoreError> {
    let row = store.key(id)?;
    Ok(Names::read(store)?.document(row, now_s))
}

pub fn change(store: &mut Store, id: KeyId, order: KeyTermsChange, now_s: u64) -> Result<KeyDocument, StoreError> {
    let plan = order.plan.map(|plan| store.plan(&plan)).transpose()?.map(|plan| plan.id);
    let names = Names::read(store)?;
    Ok(names.document(store.change_key(id, &KeyChange { plan, ..order.change })?, now_s))
}

pub fn revoke(store: &mut Store, id: KeyId, now_s: u64) -> Result<KeyDocument, StoreError> {
    let names = Names::read(store)?;
    Ok(names.document(store.revoke_key(id, now_s)?, now_s))
}

/// Gives the new one and the old one.
pub fn rotate(
    store: &mut Store,
    old: KeyId,
    new: NewKeyName,
    grace_s: u64,
    now_s: u64,
) -> Result<(KeyDocument, KeyDocument), StoreError> {
    let names = Names::read(store)?;
    let (new, old) = store.rotate_key(old, new, grace_s, now_s)?;
    Ok((names.document(new, now_s), names.document(old, now_s)))
}

fn state(row: &KeyRow, now_s: u64) -> &'static str {
    if row.revoked_s.is_some() {
        "revoked"
    } else if row.expires_s.is_some_and(|expires| expires <= now_s) {
        "expired"
    } else {
        "active"
    }
}

fn told<S: serde::Serializer>(key: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.expose())
}

/// Tells null from absence.
#[allow(clippy::option_option, reason = "absent, null and a value are three")]
fn even_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests;
