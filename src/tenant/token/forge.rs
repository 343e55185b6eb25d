//! For tests: issuers with keys of their own, made at run time, and tokens good and bad.

use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};

use super::*;
use crate::tenant::key::Pepper;

/// A moment of 2026.
pub(crate) const NOW_S: u64 = 1_795_300_000;

/// Who signs tokens.
pub(crate) struct Issuer {
    algorithm: TokenAlgorithm,
    name: Option<String>,
    private: EncodingKey,
    /// The secret; or the public key: as RFC 8017 has it for RSA, the point for EC, 32 bytes for Ed25519.
    pub(crate) public: Vec<u8>,
    /// As PEM has it.
    spki: Vec<u8>,
}

impl Issuer {
    pub(crate) fn new(algorithm: TokenAlgorithm, name: Option<&str>) -> Self {
        let (private, public, spki) = match algorithm {
            TokenAlgorithm::Hs256 => {
                let mut secret = vec![0; 32];
                aws_lc_rs::rand::fill(&mut secret).unwrap();
                (EncodingKey::from_secret(&secret), secret, Vec::new())
            }
            TokenAlgorithm::Rs256 => {
                let pair = rsa(name);
                let private = rsa_private_pem(pair);
                let spki: aws_lc_rs::encoding::PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                (private, pair.public_key().as_ref().to_vec(), spki.as_ref().to_vec())
            }
            TokenAlgorithm::Es256 => {
                let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref()).unwrap();
                let spki: aws_lc_rs::encoding::PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                let public = pair.public_key().as_ref().to_vec();
                (EncodingKey::from_ec_der(der.as_ref()), public, spki.as_ref().to_vec())
            }
            TokenAlgorithm::EdDsa => {
                let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
                let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap();
                let spki: aws_lc_rs::encoding::PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                let public = pair.public_key().as_ref().to_vec();
                (EncodingKey::from_ed_der(der.as_ref()), public, spki.as_ref().to_vec())
            }
        };
        Self { algorithm, name: name.map(str::to_owned), private, public, spki }
    }

    /// What a node verifies with, read as a node reads it.
    pub(crate) fn key(&self) -> TokenKey {
        match self.algorithm {
            TokenAlgorithm::Hs256 => TokenKey::from_secret(&self.public).unwrap(),
            _ if self.name.is_some() => KeySet::from_jwks(&jwks(&[self])).unwrap().keys.remove(0),
            _ => TokenKey::from_pem(&self.pem()).unwrap(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki)
    }

    /// As issuers publish it.
    pub(crate) fn jwk(&self) -> String {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let name = self.name.as_ref().map(|name| format!(r#","kid":"{name}""#)).unwrap_or_default();
        let parts = match self.algorithm {
            TokenAlgorithm::Hs256 => format!(r#""kty":"oct","k":"{}""#, text(&self.public)),
            TokenAlgorithm::Rs256 => {
                let key = aws_lc_rs::rsa::PublicKey::from_der(&self.public).unwrap();
                let (n, e) = (key.modulus(), key.exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                format!(r#""kty":"RSA","n":"{}","e":"{}""#, text(n), text(e))
            }
            TokenAlgorithm::Es256 => {
                let (x, y) = self.public[1..].split_at(32);
                format!(r#""kty":"EC","crv":"P-256","x":"{}","y":"{}""#, text(x), text(y))
            }
            TokenAlgorithm::EdDsa => format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, text(&self.public)),
        };
        format!(r#"{{{parts},"use":"sig","alg":"{}"{name}}}"#, self.algorithm.name())
    }

    pub(crate) fn header(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(r#","kid":"{name}""#)).unwrap_or_default();
        format!(r#"{{"alg":"{}","typ":"JWT"{name}}}"#, self.algorithm.name())
    }

    pub(crate) fn sign(&self, claims: &Claims) -> String {
        self.sign_with(&self.header(), &claims.json())
    }

    pub(crate) fn sign_with(&self, header: &str, claims: &str) -> String {
        self.sign_text(&[header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join("."))
    }

    /// `signed`: header and claims in base64url.
    pub(crate) fn sign_text(&self, signed: &str) -> String {
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.private, self.library()).unwrap();
        format!("{signed}.{signature}")
    }

    fn library(&self) -> Algorithm {
        match self.algorithm {
            TokenAlgorithm::Hs256 => Algorithm::HS256,
            TokenAlgorithm::Rs256 => Algorithm::RS256,
            TokenAlgorithm::Es256 => Algorithm::ES256,
            TokenAlgorithm::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// A set of keys as an issuer answers it.
pub(crate) fn jwks(issuers: &[&Issuer]) -> String {
    let keys: Vec<_> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

pub(crate) fn pem(tag: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", lines.join("\n"))
}

/// Two of them serve all tests: making one takes a while.
fn rsa(name: Option<&str>) -> &'static RsaKeyPair {
    static PAIRS: [OnceLock<RsaKeyPair>; 2] = [OnceLock::new(), OnceLock::new()];
    PAIRS[usize::from(name.is_some())].get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

fn rsa_private_pem(pair: &RsaKeyPair) -> EncodingKey {
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    EncodingKey::from_rsa_pem(pem("PRIVATE KEY", der.as_ref()).as_bytes()).unwrap()
}

/// Claims as a list, so that one can stand there twice.
#[derive(Clone)]
pub(crate) struct Claims(Vec<(String, String)>);

impl Claims {
    pub(crate) fn good() -> Self {
        let expires = (NOW_S + 300).to_string();
        let claims = [
            ("iss", "\"https://issuer.example\""),
            ("aud", "\"livechain\""),
            ("sub", "\"alice\""),
            ("exp", expires.as_str()),
            ("tenant", "\"acme\""),
            ("plan", "\"gold\""),
        ];
        Self(claims.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }

    /// One claim, in JSON, instead of what it was.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        self.without(name).and(name, value)
    }

    pub(crate) fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| known != name).cloned().collect())
    }

    /// One more, whether or not it is there.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(&self) -> String {
        let claims: Vec<_> = self.0.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", claims.join(","))
    }
}

pub(crate) fn config() -> TokenConfig {
    TokenConfig {
        issuers: vec!["https://issuer.example".to_owned()],
        audiences: vec!["livechain".to_owned(), "https://rpc.example".to_owned()],
        claims: ClaimNames::default(),
        leeway_s: 60,
    }
}

pub(crate) fn pepper() -> Pepper {
    Pepper::new(b"a pepper that nobody outside of these tests has").unwrap()
}

pub(crate) fn tokens(keys: Vec<TokenKey>) -> Tokens {
    Tokens::new(config(), keys, pepper(), 1)
}
