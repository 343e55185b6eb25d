//! Tokens, against jsonwebtoken: what we let in, it lets in, and means the same.
//!
//! Nothing the fuzzer makes has a good signature, so that its bytes are a token as they stand, a set of keys, and then
//! header and claims (a line each, or claims alone) under a good signature. We are stricter; the library may take what we
//! refuse.

#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, crypto, decode};
use libfuzzer_sys::fuzz_target;
use livechain::tenant::key::Pepper;
use livechain::tenant::token::{
    ClaimNames, KeySet, TokenAlgorithm, TokenCache, TokenConfig, TokenKey, Tokens, looks_like_token,
};
use serde::Deserialize;
use serde::de::IgnoredAny;

const SECRET: &[u8] = b"a secret that nobody outside of this fuzzer has";
const NOW_S: u64 = 1_795_300_000;

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
    let config = TokenConfig {
        issuers: vec!["i".into(), "https://issuer.example".into()],
        audiences: vec!["a".into(), "livechain".into()],
        claims: ClaimNames::default(),
        leeway_s: 60,
    };
    let key = TokenKey::from_secret(SECRET).expect("long enough");
    Tokens::new(config, vec![key], Pepper::new(SECRET).expect("long enough"), 1)
});

/// What a user of the library would have it read. Of members that nobody reads nothing but JSON's grammar is asked, there
/// as here: a number may be greater than any float, a `\u` half a pair.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<IgnoredAny>,
    crit: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Claims {
    tenant: String,
    plan: String,
    exp: f64,
}

fuzz_target!(|data: &[u8]| {
    assert!(TOKENS.find(data, NOW_S).is_err(), "nobody can sign");
    if let Ok(set) = KeySet::read(data) {
        assert!(!set.keys.is_empty() && set.keys.iter().all(|key| key.algorithm() != TokenAlgorithm::Hs256));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.split_once('\n') {
        Some((header, claims)) => signed(header, claims),
        None => signed(r#"{"alg":"HS256"}"#, text),
    }
});

fn signed(header: &str, claims: &str) {
    let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = crypto::sign(signed.as_bytes(), &EncodingKey::from_secret(SECRET), Algorithm::HS256).expect("signs");
    let token = format!("{signed}.{signature}");
    let Ok(entry) = TOKENS.find(token.as_bytes(), NOW_S) else { return };
    assert!(looks_like_token(token.as_bytes()));

    let header: Header = serde_json::from_str(header).expect("JSON");
    assert!(header.alg == "HS256" && header.crit.is_none() && header.kid.is_none());
    let ours: Claims = serde_json::from_str(claims).expect("JSON");
    assert!(*ours.tenant == *entry.tenant && *ours.plan == *entry.plan);
    assert!(ours.exp + 60.0 > NOW_S as f64 && entry.expires_s > NOW_S);

    // The library reads some members of the header that we do not look at, and wants them right.
    let plain = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(claims));
    let signature = crypto::sign(plain.as_bytes(), &EncodingKey::from_secret(SECRET), Algorithm::HS256).expect("signs");
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&["i", "https://issuer.example"]);
    validation.set_audience(&["a", "livechain"]);
    validation.required_spec_claims = ["iss", "aud"].map(str::to_owned).into();
    // These two go by the system's clock.
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    let theirs = decode::<Claims>(format!("{plain}.{signature}"), &DecodingKey::from_secret(SECRET), &validation);
    assert_eq!(theirs.expect("we are the stricter ones").claims, ours);

    let mut cache = TokenCache::default();
    for _ in 0..2 {
        let again = cache.find(&TOKENS, token.as_bytes(), NOW_S).expect("as before");
        assert_eq!((again.key, again.expires_s), (entry.key, entry.expires_s));
    }
    assert!(cache.find(&TOKENS, token.as_bytes(), entry.expires_s).is_err());
}
