//! The keys that tokens are signed with, each with its one algorithm, and how they are read: from a file (PEM or JWKS),
//! from what an issuer publishes (JWKS), from a shared secret.
//!
//! A key that could not verify anything is found when it is read and not when a client comes. In a set of several those
//! that are not for us (for encryption, of other algorithms, of other curves) are passed over, since issuers publish all
//! they have; a secret in a set is passed over, too: what is published is no secret.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::value::RawValue;

use super::parts::decode;
use crate::limits::{TOKEN_KEY_SET_BYTES_MAX, TOKEN_KEYS_MAX, TOKEN_SECRET_BYTES_MIN};

/// How tokens may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenAlgorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl TokenAlgorithm {
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// As headers write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    const fn library(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// A key that tokens are verified with.
#[derive(Clone)]
pub struct TokenKey {
    algorithm: TokenAlgorithm,
    /// `kid`.
    name: Option<Box<str>>,
    key: DecodingKey,
}

/// What a file or an issuer's answer holds.
#[derive(Debug)]
pub struct KeySet {
    /// At least one.
    pub keys: Vec<TokenKey>,
    /// Others that are not for us.
    pub passed_over: usize,
}

/// Why no key can be had from a text. It says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    #[error("a set of keys has at most {TOKEN_KEY_SET_BYTES_MAX} bytes")]
    Size,
    #[error("neither a set of keys in JSON (JWKS) nor one public key in PEM")]
    Format,
    #[error("a private key, where a public one is wanted")]
    Private,
    #[error("the public key is none of RSA (2048 bits at least), P-256 or Ed25519")]
    Unusable,
    #[error("more than one key in PEM; several keys are written as a JWKS, in which they have names")]
    Several,
    #[error("at most {TOKEN_KEYS_MAX} keys")]
    TooMany,
    #[error("no key in it that is for RS256, ES256 or EdDSA")]
    Empty,
    /// As somebody says who takes the last one back, while [`Self::Empty`] may be a mistake: there are keys.
    #[error("a set of keys that holds none at all")]
    NoKeys,
    #[error("a secret has at least {TOKEN_SECRET_BYTES_MIN} bytes")]
    WeakSecret,
}

impl TokenKey {
    /// A secret that issuer and node share, for HS256. It has no name.
    pub fn from_secret(secret: &[u8]) -> Result<Self, KeySetFault> {
        if secret.len() < TOKEN_SECRET_BYTES_MIN {
            return Err(KeySetFault::WeakSecret);
        }
        Ok(Self { algorithm: TokenAlgorithm::Hs256, name: None, key: DecodingKey::from_secret(secret) })
    }

    /// One public key. It has no name.
    pub fn from_pem(pem: &str) -> Result<Self, KeySetFault> {
        let mut begins = pem.match_indices("-----BEGIN ").map(|(at, _)| &pem[at..]);
        let (first, second) = (begins.next().ok_or(KeySetFault::Format)?, begins.next());
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeySetFault::Private);
        }
        if second.is_some() {
            return Err(KeySetFault::Several);
        }
        // Certificates, too, would be read below, and not as they should.
        if !["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"].iter().any(|tag| first.starts_with(tag)) {
            return Err(KeySetFault::Format);
        }
        let pem = pem.as_bytes();
        let (algorithm, key) = DecodingKey::from_rsa_pem(pem)
            .map(|key| (TokenAlgorithm::Rs256, key))
            .or_else(|_| DecodingKey::from_ec_pem(pem).map(|key| (TokenAlgorithm::Es256, key)))
            .or_else(|_| DecodingKey::from_ed_pem(pem).map(|key| (TokenAlgorithm::EdDsa, key)))
            .map_err(|_| KeySetFault::Format)?;
        let bytes = key.try_get_as_bytes().map_err(|_| KeySetFault::Format)?;
        if !is_usable(algorithm, bytes) {
            return Err(KeySetFault::Unusable);
        }
        Ok(Self { algorithm, name: None, key })
    }

    /// None where it is not for us.
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|what| *what == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        let (algorithm, usable) = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                (TokenAlgorithm::Rs256, rsa_is_usable(&decode(&rsa.n).ok()?, &decode(&rsa.e).ok()?))
            }
            AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
                let coordinates = [decode(&point.x).ok()?, decode(&point.y).ok()?];
                let whole = coordinates.iter().all(|one| one.len() == 32);
                let point = [&[4], &*coordinates.concat()].concat();
                (TokenAlgorithm::Es256, whole && is_usable(TokenAlgorithm::Es256, &point))
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                (TokenAlgorithm::EdDsa, is_usable(TokenAlgorithm::EdDsa, &decode(&pair.x).ok()?))
            }
            _ => return None,
        };
        let fits = common.key_algorithm.is_none_or(|said| said == KeyAlgorithm::from(algorithm.library()));
        if !(signs && usable && fits) {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        Some(Self { algorithm, name: common.key_id.clone().map(Into::into), key })
    }

    #[must_use]
    pub const fn algorithm(&self) -> TokenAlgorithm {
        self.algorithm
    }

    /// What tokens call it (`kid`).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether this is the key's signature, in base64url.
    pub(super) fn signed(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm.library()).unwrap_or(false)
    }
}

impl KeySet {
    /// A file's or an answer's: a JWKS, or one key in PEM.
    pub fn read(text: &[u8]) -> Result<Self, KeySetFault> {
        if text.len() > TOKEN_KEY_SET_BYTES_MAX {
            return Err(KeySetFault::Size);
        }
        let text = std::str::from_utf8(text).map_err(|_| KeySetFault::Format)?;
        if text.trim_ascii_start().starts_with('{') {
            return Self::from_jwks(text);
        }
        Ok(Self { keys: vec![TokenKey::from_pem(text)?], passed_over: 0 })
    }

    /// As issuers publish it: no other format.
    pub fn from_jwks(text: &str) -> Result<Self, KeySetFault> {
        #[derive(serde::Deserialize)]
        struct Jwks<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let Jwks { keys: all } = serde_json::from_str(text).map_err(|_| KeySetFault::Format)?;
        if all.len() > TOKEN_KEYS_MAX {
            return Err(KeySetFault::TooMany);
        }
        if all.is_empty() {
            return Err(KeySetFault::NoKeys);
        }
        let read = |raw: &&RawValue| serde_json::from_str(raw.get()).ok().and_then(|jwk| TokenKey::from_jwk(&jwk));
        let keys: Vec<_> = all.iter().filter_map(read).collect();
        if keys.is_empty() {
            return Err(KeySetFault::Empty);
        }
        Ok(Self { passed_over: all.len() - keys.len(), keys })
    }
}

fn is_usable(algorithm: TokenAlgorithm, bytes: &[u8]) -> bool {
    match algorithm {
        TokenAlgorithm::Hs256 => false,
        TokenAlgorithm::Rs256 => {
            aws_lc_rs::rsa::PublicKey::from_der(bytes).is_ok_and(|key| (256..=1024).contains(&key.modulus_len()))
        }
        // The length, too: other forms of the same point would be refused with each signature.
        TokenAlgorithm::Es256 => bytes.len() == 65 && ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes).is_ok(),
        TokenAlgorithm::EdDsa => bytes.len() == 32 && ParsedPublicKey::new(&ED25519, bytes).is_ok(),
    }
}

/// As long as verification wants it.
fn rsa_is_usable(modulus: &[u8], exponent: &[u8]) -> bool {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let bits = modulus.get(zeros).map_or(0, |first| (modulus.len() - zeros) * 8 - first.leading_zeros() as usize);
    (2048..=8192).contains(&bits)
        && RsaPublicKeyComponents { n: modulus, e: exponent }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).is_ok()
}

impl fmt::Debug for TokenKey {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, name, .. } = self;
        f.debug_struct("TokenKey").field("algorithm", algorithm).field("name", name).finish_non_exhaustive()
    }
}
