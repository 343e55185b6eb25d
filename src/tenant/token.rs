//! Tokens (JWT) that stand in for keys: whose they are and what they allow, said by an issuer that is trusted.
//!
//! ```text
//!   eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ . eyJleHAiOjE3OT… . MEUCIQ…
//!   header: which key, which algorithm   claims             signature over both, as they are written
//! ```
//!
//! **Order of asking**, cheapest first, and nothing believed before the signature holds but which key to try: length,
//! three parts of the right alphabet, header, key, signature, claims. What a header says of keys by itself (`jwk`,
//! `jku`, `x5u`, `x5c`) is not looked at, and one that demands something (`crit`) is refused.
//!
//! **A key has one algorithm** ([`TokenKey`]). The header only says which key; its `alg` must be that key's. So a public
//! key never becomes a secret, and `none` is the algorithm of no key. A token that names a key (`kid`) is held against
//! that one alone; one that names none finds its key only where the algorithm has just one.
//!
//! **Claims.** `exp`, `iss` and `aud` must be there; `nbf` is kept to where it is. Tenant and plan are names that whoever
//! asks looks up; chains and regions narrow what the plan allows, and where they are absent nothing is narrowed. A claim
//! that is read and stands there twice, or is of another kind than it should be, spoils the token.
//!
//! **Whose quota.** The [`KeyId`] is made of issuer, tenant and subject (`sub`), under the pepper: a new token of the same
//! subject goes on with the quota and the usage of the old one, on every node of a fleet, and the id tells nobody who the
//! subject is. Tokens without a subject share one of their tenant's. The token's own number (`jti`) counts for nothing:
//! else each new token would be a new quota. No id is a key's, but for a chance of one in 2^64 for each pair.
//!
//! A verification takes tens of microseconds, so that a connection remembers its token ([`RememberedToken`]) and a shard
//! those that were good ([`TokenCache`]).
//!
//! Left out: where keys come from and when they are read again (`control`); calendars: `now` is seconds since 1970.

mod cache;
mod claims;
#[cfg(test)]
pub(crate) mod forge;
mod keyring;
mod parts;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

pub use self::cache::{RememberedToken, TokenCache};
use self::claims::Claims;
pub use self::keyring::{KeySet, KeySetFault, TokenAlgorithm, TokenKey};
use self::parts::{Header, Parts};
use super::key::{KeyId, Pepper};
use super::rules::Rules;

/// What tokens are held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// One of them must be the token's `iss`.
    pub issuers: Vec<String>,
    /// One of them must be among the token's `aud`.
    pub audiences: Vec<String>,
    pub claims: ClaimNames,
    /// How far clocks may be apart: a token is good for so much longer at both ends.
    pub leeway_s: u64,
}

/// What the claims are called that say what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    pub tenant: String,
    pub plan: String,
    pub chains: String,
    pub regions: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        let [tenant, plan, chains, regions] = ["tenant", "plan", "chains", "regions"].map(str::to_owned);
        Self { tenant, plan, chains, regions }
    }
}

/// What a good token says.
#[derive(Clone, Debug)]
pub struct TokenEntry {
    pub key: KeyId,
    /// The tenant's name.
    pub tenant: Box<str>,
    /// The plan's name.
    pub plan: Box<str>,
    /// Which chains and regions it is for.
    pub rules: Arc<Rules>,
    /// From when on it is none any more, leeway included: seconds since 1970.
    pub expires_s: u64,
}

/// Why a text is no token of ours. The client is told the same short words whichever it is; counters and tests tell
/// them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("this is no token of ours")]
pub enum TokenFault {
    /// Longer than any token may be.
    Length,
    /// Not three parts, no base64url, no JSON, or not the JSON that it should be.
    Malformed,
    /// The header's algorithm is none that we know.
    Algorithm,
    /// The header demands what we do not know.
    Critical,
    /// The header names a key that we do not have, or none where there are several or none.
    UnknownKey,
    /// The signature is not this key's.
    Signature,
    Issuer,
    Audience,
    Expired,
    NotYet,
    /// Says nothing, or nothing usable, about tenant, plan, chains or regions.
    Claims,
}

impl TokenFault {
    pub const ALL: [Self; 11] = [
        Self::Length,
        Self::Malformed,
        Self::Algorithm,
        Self::Critical,
        Self::UnknownKey,
        Self::Signature,
        Self::Issuer,
        Self::Audience,
        Self::Expired,
        Self::NotYet,
        Self::Claims,
    ];

    /// The word used in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Claims => "claims",
        }
    }
}

/// Whether what a request shows is to be read as a token and not as a key: all tokens begin with a brace and then a quote
/// or a blank, which is this in base64url whatever follows; no key does. Whether it is one, [`Tokens::find`] says.
#[inline]
#[must_use]
pub fn looks_like_token(shown: &[u8]) -> bool {
    matches!(shown, [b'e', b'w' | b'y', ..])
}

/// All that tokens are judged by; immutable but for a flag, published by control.
#[derive(Clone, Debug)]
pub struct Tokens {
    config: TokenConfig,
    keys: Arc<[TokenKey]>,
    pepper: Pepper,
    generation: u64,
    /// Somebody has shown a token of a key that is not here.
    missed: Arc<AtomicBool>,
}

impl Tokens {
    /// Of `keys` with the same name and algorithm the first one counts. `generation` grows with every change: what a
    /// shard remembers holds for one.
    #[must_use]
    pub fn new(config: TokenConfig, keys: Vec<TokenKey>, pepper: Pepper, generation: u64) -> Self {
        Self { config, keys: keys.into(), pepper, generation, missed: Arc::default() }
    }

    /// The same with other keys, under the next generation; the flag is the same one.
    #[must_use]
    pub fn with_keys(&self, keys: Vec<TokenKey>) -> Self {
        Self { keys: keys.into(), generation: self.generation + 1, ..self.clone() }
    }

    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// How many keys there are, for pages.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Whether since the last time somebody asked for a key that is not here: the issuer may have a new one. Anybody can
    /// make it so, so that whoever goes and looks must not do it each time.
    #[must_use]
    pub fn take_missed(&self) -> bool {
        self.missed.load(Relaxed) && self.missed.swap(false, Relaxed)
    }

    /// What this token says, if it is a good one now, in seconds since 1970. Bounded work, whatever it is.
    pub fn find(&self, text: &[u8], now_s: u64) -> Result<TokenEntry, TokenFault> {
        let parts = Parts::split(text)?;
        let header = Header::read(parts.header)?;
        let key = self.key(&header)?;
        if !key.signed(parts.signed, parts.signature) {
            return Err(TokenFault::Signature);
        }
        let json = parts::decode(parts.claims)?;
        let claims = Claims::read(&json, &self.config.claims)?;
        let said = claims.judge(&self.config, now_s)?;
        Ok(TokenEntry {
            key: self.identity(&said.issuer, &said.tenant, &said.subject),
            tenant: said.tenant.into(),
            plan: said.plan.into(),
            rules: Arc::new(Rules::new(&said.rules)),
            expires_s: said.expires_s,
        })
    }

    fn key(&self, header: &Header) -> Result<&TokenKey, TokenFault> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithm() == header.algorithm);
        let found = match &header.key {
            Some(name) => fitting.find(|key| key.name() == Some(name)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        };
        found.ok_or_else(|| {
            // Only a name can be a new key's. Read first: the line is all shards'.
            if header.key.is_some() && !self.missed.load(Relaxed) {
                self.missed.store(true, Relaxed);
            }
            TokenFault::UnknownKey
        })
    }

    /// See the module.
    fn identity(&self, issuer: &str, tenant: &str, subject: &str) -> KeyId {
        let hash = self.pepper.tag("livechain token", &[issuer, tenant, subject]);
        let (first, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
        // Nobody has no id.
        KeyId(u64::from_be_bytes(*first).max(1))
    }
}
