//! What a token's claims say, read strictly, and whether that is good now.
//!
//! The names of some claims are the operator's, and one may be a registered one (a tenant that is the `sub`). So a claim
//! is kept as it is written under each of the names that it goes by, and read as what is wanted of it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{ClaimNames, TokenConfig, TokenFault};
use crate::limits::{TOKEN_NAME_BYTES_MAX, TOKEN_NAMES_MAX};
use crate::tenant::rules::RulesConfig;

/// Claims that are read.
#[derive(Clone, Copy)]
enum Claim {
    Expires,
    NotBefore,
    Issuer,
    Audience,
    Subject,
    Tenant,
    Plan,
    Chains,
    Regions,
}

const CLAIMS: usize = Claim::Regions as usize + 1;

/// See the module.
pub(super) struct Claims<'a>([Option<&'a RawValue>; CLAIMS]);

/// What a good token says.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) tenant: String,
    pub(super) plan: String,
    pub(super) rules: RulesConfig,
    pub(super) expires_s: u64,
}

impl<'a> Claims<'a> {
    pub(super) fn read(json: &'a [u8], names: &ClaimNames) -> Result<Self, TokenFault> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let claims = Reader(names).deserialize(&mut reader).and_then(|claims| reader.end().map(|()| claims));
        claims.map_err(|_| TokenFault::Malformed)
    }

    /// What they say, if it is good at `now_s`.
    pub(super) fn judge(&self, config: &TokenConfig, now_s: u64) -> Result<Said, TokenFault> {
        let expires_s = self.time(Claim::Expires, f64::floor)?.ok_or(TokenFault::Expired)?;
        let expires_s = expires_s.saturating_add(config.leeway_s);
        if now_s >= expires_s {
            return Err(TokenFault::Expired);
        }
        let from_s = self.time(Claim::NotBefore, f64::ceil)?.unwrap_or(0);
        if now_s.saturating_add(config.leeway_s) < from_s {
            return Err(TokenFault::NotYet);
        }
        let issuer: String = self.of(Claim::Issuer)?.ok_or(TokenFault::Issuer)?;
        if !config.issuers.contains(&issuer) {
            return Err(TokenFault::Issuer);
        }
        let OneOrMore(audience) = self.of(Claim::Audience)?.ok_or(TokenFault::Audience)?;
        if !audience.iter().any(|one| config.audiences.contains(one)) {
            return Err(TokenFault::Audience);
        }
        Ok(Said {
            issuer,
            subject: self.of(Claim::Subject)?.unwrap_or_default(),
            tenant: self.name(Claim::Tenant)?,
            plan: self.name(Claim::Plan)?,
            rules: RulesConfig {
                chains: self.names(Claim::Chains)?,
                regions: self.names(Claim::Regions)?,
                ..RulesConfig::default()
            },
            expires_s,
        })
    }

    fn of<T: Deserialize<'a>>(&self, claim: Claim) -> Result<Option<T>, TokenFault> {
        let read = |raw: &'a RawValue| serde_json::from_str(raw.get()).map_err(|_| TokenFault::Malformed);
        self.0[claim as usize].map(read).transpose()
    }

    /// Whole seconds; `whole` is where a part of one goes: the token is never good for longer than it says.
    fn time(&self, claim: Claim, whole: fn(f64) -> f64) -> Result<Option<u64>, TokenFault> {
        let number: Option<serde_json::Number> = self.of(claim)?;
        let seconds = |number: serde_json::Number| {
            // Before 1970, or beyond what fits: the nearest that does.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let near = |number: f64| whole(number) as u64;
            number.as_u64().or_else(|| number.as_f64().map(near)).ok_or(TokenFault::Malformed)
        };
        number.map(seconds).transpose()
    }

    fn name(&self, claim: Claim) -> Result<String, TokenFault> {
        let name: Option<String> = self.of(claim).map_err(|_| TokenFault::Claims)?;
        name.filter(|name| is_name(name)).ok_or(TokenFault::Claims)
    }

    /// None where nothing is said, which allows everything.
    fn names(&self, claim: Claim) -> Result<Option<Vec<String>>, TokenFault> {
        let names: Option<OneOrMore> = self.of(claim).map_err(|_| TokenFault::Claims)?;
        match names {
            None => Ok(None),
            Some(OneOrMore(names)) if names.len() <= TOKEN_NAMES_MAX && names.iter().all(|name| is_name(name)) => {
                Ok(Some(names))
            }
            Some(_) => Err(TokenFault::Claims),
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=TOKEN_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control)
}

/// Goes by the operator's names.
struct Reader<'n>(&'n ClaimNames);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Claims<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Claims<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Claims<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims<'de>, A::Error> {
        // In the order of `Claim`.
        let ClaimNames { tenant, plan, chains, regions } = self.0;
        let names: [&str; CLAIMS] = ["exp", "nbf", "iss", "aud", "sub", tenant, plan, chains, regions];
        let mut claims = Claims([None; CLAIMS]);
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            if !names.contains(&&*name) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: &RawValue = map.next_value()?;
            for (claim, _) in claims.0.iter_mut().zip(names).filter(|(_, known)| *known == name) {
                if claim.replace(value).is_some() {
                    return Err(A::Error::custom("a claim stands there twice"));
                }
            }
        }
        Ok(claims)
    }
}

/// A text, or a list of them.
struct OneOrMore(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(String),
            More(Vec<String>),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::One(one) => vec![one],
            Either::More(more) => more,
        }))
    }
}
