//! Who gets in with what, and what every attempt gets that should not.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::forge::{Claims, Issuer, NOW_S, config, jwks, pem, pepper, tokens};
use super::*;
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_KEY_SET_BYTES_MAX, TOKEN_KEYS_MAX, TOKEN_NAMES_MAX};
use crate::tenant::{Forbidden, Visit};

fn find(tokens: &Tokens, token: &str) -> Result<TokenEntry, TokenFault> {
    tokens.find(token.as_bytes(), NOW_S)
}

fn issuers() -> [Issuer; 4] {
    TokenAlgorithm::ALL.map(|algorithm| Issuer::new(algorithm, None))
}

#[test]
fn a_good_token_of_each_algorithm_says_who_and_what() {
    let mut ids = Vec::new();
    for named in [None, Some("key-1")] {
        for algorithm in TokenAlgorithm::ALL.into_iter().skip(usize::from(named.is_some())) {
            let issuer = Issuer::new(algorithm, named);
            let token = issuer.sign(&Claims::good());
            assert!(looks_like_token(token.as_bytes()));
            let entry = find(&tokens(vec![issuer.key()]), &token).unwrap();
            assert_eq!((&*entry.tenant, &*entry.plan, entry.expires_s), ("acme", "gold", NOW_S + 360), "{algorithm:?}");
            ids.push(entry.key);
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "who it is does not hang on the key");
}

/// Some issuers write their headers with blanks.
#[test]
fn a_token_is_one_however_its_header_is_laid_out() {
    let issuer = Issuer::new(TokenAlgorithm::Es256, None);
    let all = tokens(vec![issuer.key()]);
    for header in [
        "{\"alg\":\"ES256\"}",
        "{ \"alg\":\"ES256\"}",
        "{\n  \"alg\": \"ES256\"\n}",
        "{\r\n\"alg\":\"ES256\"}",
        "{\t\"alg\":\"ES256\"}",
    ] {
        let token = issuer.sign_with(header, &Claims::good().json());
        assert!(find(&all, &token).is_ok() && looks_like_token(token.as_bytes()), "{header:?}: {token}");
    }
    for other in [&b""[..], b"e", b"ex", b"e.", b"fyJ", b"lc_live_ey"] {
        assert!(!looks_like_token(other), "{other:?}");
    }
}

#[test]
fn no_key_stands_in_for_another() {
    let ours = issuers();
    let all = tokens(ours.iter().map(Issuer::key).collect());
    for (one, issuer) in ours.iter().enumerate() {
        assert!(find(&all, &issuer.sign(&Claims::good())).is_ok());
        for other in TokenAlgorithm::ALL {
            let header = format!(r#"{{"alg":"{}"}}"#, other.name());
            let found = find(&all, &issuer.sign_with(&header, &Claims::good().json())).map(drop);
            let same = TokenAlgorithm::ALL[one] == other;
            assert_eq!(found, if same { Ok(()) } else { Err(TokenFault::Signature) }, "{one} as {other:?}");
        }
    }
    // Other people's keys of the same kind.
    for algorithm in [TokenAlgorithm::Hs256, TokenAlgorithm::Es256, TokenAlgorithm::EdDsa] {
        let stranger = Issuer::new(algorithm, None);
        assert_eq!(find(&all, &stranger.sign(&Claims::good())).map(drop), Err(TokenFault::Signature));
    }
}

/// What everybody can read is the secret of nobody.
#[test]
fn a_public_key_is_no_secret() {
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    for issuer in issuers().iter().skip(1) {
        let only = tokens(vec![issuer.key()]);
        for secret in
            [issuer.public.clone(), issuer.pem().into_bytes(), issuer.pem().trim().as_bytes().to_vec(), Vec::new()]
        {
            let forged = sign_with_secret(&secret, header);
            assert_eq!(find(&only, &forged).map(drop), Err(TokenFault::UnknownKey), "no key for HS256");
        }
    }
    // Nor where there is a secret, too.
    let [secret, rsa, ..] = issuers();
    let both = tokens(vec![secret.key(), rsa.key()]);
    assert_eq!(find(&both, &sign_with_secret(rsa.pem().as_bytes(), header)).map(drop), Err(TokenFault::Signature));
    // A set that is published holds none.
    let published = jwks(&[&secret, &rsa]);
    let set = KeySet::from_jwks(&published).unwrap();
    assert_eq!((set.keys.len(), set.passed_over), (1, 1));
    assert_eq!(set.keys[0].algorithm(), TokenAlgorithm::Rs256);
}

fn sign_with_secret(secret: &[u8], header: &str) -> String {
    let signed = [header, &Claims::good().json()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let key = jsonwebtoken::EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    format!("{signed}.{signature}")
}

#[test]
fn headers_are_not_believed() {
    let ours = Issuer::new(TokenAlgorithm::Es256, Some("ours"));
    let theirs = Issuer::new(TokenAlgorithm::Es256, Some("theirs"));
    let all = tokens(vec![ours.key()]);
    let claims = Claims::good().json();
    let carried = theirs.jwk();
    for (signer, header, expected) in [
        (&ours, r#"{"alg":"ES256","kid":"ours"}"#.to_owned(), Ok(())),
        (&ours, r#"{"alg":"ES256"}"#.to_owned(), Ok(())),
        // What is said of keys changes nothing, for better or worse.
        (&ours, format!(r#"{{"alg":"ES256","kid":"ours","jwk":{carried}}}"#), Ok(())),
        (&theirs, format!(r#"{{"alg":"ES256","kid":"ours","jwk":{carried}}}"#), Err(TokenFault::Signature)),
        (&theirs, format!(r#"{{"alg":"ES256","kid":"theirs","jwk":{carried}}}"#), Err(TokenFault::UnknownKey)),
        (
            &theirs,
            r#"{"alg":"ES256","kid":"ours","jku":"http://127.0.0.1/keys"}"#.to_owned(),
            Err(TokenFault::Signature),
        ),
        (&theirs, r#"{"alg":"ES256","kid":"ours","x5u":"http://127.0.0.1/"}"#.to_owned(), Err(TokenFault::Signature)),
        (&theirs, r#"{"alg":"ES256","x5c":["AAAA"]}"#.to_owned(), Err(TokenFault::Signature)),
        (&ours, r#"{"alg":"ES256","kid":"other"}"#.to_owned(), Err(TokenFault::UnknownKey)),
        (&ours, r#"{"alg":"ES256","kid":""}"#.to_owned(), Err(TokenFault::UnknownKey)),
        (&ours, r#"{"alg":"ES256","kid":"../../dev/null"}"#.to_owned(), Err(TokenFault::UnknownKey)),
        (&ours, r#"{"alg":"RS256","kid":"ours"}"#.to_owned(), Err(TokenFault::UnknownKey)),
        (&ours, r#"{"alg":"HS256","kid":"ours"}"#.to_owned(), Err(TokenFault::UnknownKey)),
        (&ours, r#"{"alg":"none","kid":"ours"}"#.to_owned(), Err(TokenFault::Algorithm)),
        (&ours, r#"{"alg":"None"}"#.to_owned(), Err(TokenFault::Algorithm)),
        (&ours, r#"{"alg":"ES256","kid":"ours","crit":["b64"],"b64":false}"#.to_owned(), Err(TokenFault::Critical)),
        (&ours, r#"{"alg":"ES256","kid":"ours","kid":"ours"}"#.to_owned(), Err(TokenFault::Malformed)),
    ] {
        assert_eq!(find(&all, &signer.sign_with(&header, &claims)).map(drop), expected, "{header}");
    }
}

#[test]
fn a_token_without_a_key_name_is_refused_where_there_are_several() {
    let [one, two] = ["1", "2"].map(|name| Issuer::new(TokenAlgorithm::EdDsa, Some(name)));
    let other = Issuer::new(TokenAlgorithm::Es256, Some("3"));
    let unnamed = one.sign_with(r#"{"alg":"EdDSA"}"#, &Claims::good().json());
    for (keys, expected) in [
        (vec![one.key()], Ok(())),
        (vec![one.key(), other.key()], Ok(())),
        (vec![one.key(), two.key()], Err(TokenFault::UnknownKey)),
        (vec![other.key()], Err(TokenFault::UnknownKey)),
        (vec![], Err(TokenFault::UnknownKey)),
    ] {
        let tokens = tokens(keys);
        assert_eq!(find(&tokens, &unnamed).map(drop), expected);
        assert!(!tokens.take_missed(), "no new key would help");
    }
}

#[test]
fn a_key_that_is_not_here_is_asked_for_once() {
    let [ours, theirs] = ["1", "2"].map(|name| Issuer::new(TokenAlgorithm::EdDsa, Some(name)));
    let tokens = tokens(vec![ours.key()]);
    assert!(find(&tokens, &ours.sign(&Claims::good())).is_ok() && !tokens.take_missed());
    assert!(find(&tokens, &theirs.sign(&Claims::good())).is_err());
    let next = tokens.with_keys(vec![ours.key(), theirs.key()]);
    assert!(next.take_missed() && !tokens.take_missed(), "the flag is the same for all generations");
    assert!(find(&next, &theirs.sign(&Claims::good())).is_ok());
    assert_eq!((tokens.generation(), next.generation()), (1, 2));
}

#[test]
fn claims_are_held_against_what_is_expected() {
    let issuer = Issuer::new(TokenAlgorithm::Hs256, None);
    let tokens = tokens(vec![issuer.key()]);
    let good = Claims::good();
    let at = |seconds: i64| (i64::try_from(NOW_S).unwrap() + seconds).to_string();
    let names = |count: usize| format!("[{}]", vec!["\"a\""; count].join(","));
    for (claims, expected) in [
        (good.clone(), Ok(())),
        // Leeway is a minute, both ways.
        (good.with("exp", &at(-59)), Ok(())),
        (good.with("exp", &at(-60)), Err(TokenFault::Expired)),
        (good.with("exp", &format!("{}.9", at(-60))), Err(TokenFault::Expired)),
        (good.with("exp", "0"), Err(TokenFault::Expired)),
        (good.with("exp", "-1"), Err(TokenFault::Expired)),
        (good.with("exp", "-1e300"), Err(TokenFault::Expired)),
        (good.with("exp", "1e300"), Ok(())),
        (good.with("exp", &u64::MAX.to_string()), Ok(())),
        (good.without("exp"), Err(TokenFault::Expired)),
        (good.with("exp", "null"), Err(TokenFault::Malformed)),
        (good.with("exp", "\"9999999999\""), Err(TokenFault::Malformed)),
        (good.with("nbf", &at(60)), Ok(())),
        (good.with("nbf", &at(61)), Err(TokenFault::NotYet)),
        (good.with("nbf", &format!("{}.1", at(60))), Err(TokenFault::NotYet)),
        (good.with("nbf", "1e300"), Err(TokenFault::NotYet)),
        (good.with("nbf", "true"), Err(TokenFault::Malformed)),
        (good.with("iat", &at(1_000_000)), Ok(())),
        (good.without("iss"), Err(TokenFault::Issuer)),
        (good.with("iss", "\"https://issuer.example/\""), Err(TokenFault::Issuer)),
        (good.with("iss", "\"\""), Err(TokenFault::Issuer)),
        (good.with("iss", "[\"https://issuer.example\"]"), Err(TokenFault::Malformed)),
        (good.without("aud"), Err(TokenFault::Audience)),
        (good.with("aud", "\"other\""), Err(TokenFault::Audience)),
        (good.with("aud", "[]"), Err(TokenFault::Audience)),
        (good.with("aud", r#"["other","https://rpc.example"]"#), Ok(())),
        (good.with("aud", r#"["livechain",7]"#), Err(TokenFault::Malformed)),
        (good.with("aud", "null"), Err(TokenFault::Malformed)),
        (good.without("sub"), Ok(())),
        (good.with("sub", "7"), Err(TokenFault::Malformed)),
        (good.without("tenant"), Err(TokenFault::Claims)),
        (good.with("tenant", "\"\""), Err(TokenFault::Claims)),
        (good.with("tenant", "\"a\\u0000b\""), Err(TokenFault::Claims)),
        (good.with("tenant", "[\"acme\"]"), Err(TokenFault::Claims)),
        (good.with("tenant", &format!("\"{}\"", "a".repeat(129))), Err(TokenFault::Claims)),
        (good.without("plan"), Err(TokenFault::Claims)),
        (good.with("plan", "null"), Err(TokenFault::Claims)),
        (good.with("chains", "null"), Err(TokenFault::Claims)),
        (good.with("chains", "{}"), Err(TokenFault::Claims)),
        (good.with("regions", "[null]"), Err(TokenFault::Claims)),
        (good.with("chains", &names(TOKEN_NAMES_MAX)), Ok(())),
        (good.with("chains", &names(TOKEN_NAMES_MAX + 1)), Err(TokenFault::Claims)),
        // What stands there twice is not there.
        (good.clone().and("aud", "\"livechain\""), Err(TokenFault::Malformed)),
        (good.clone().and("exp", &at(300)), Err(TokenFault::Malformed)),
        (good.clone().and("tenant", "\"other\""), Err(TokenFault::Malformed)),
        (good.clone().and("t\\u0065nant", "\"other\""), Err(TokenFault::Malformed)),
        (good.clone().and("other", "1").and("other", "{\"deep\":[[[]]]}"), Ok(())),
    ] {
        assert_eq!(find(&tokens, &issuer.sign(&claims)).map(drop), expected, "{}", claims.json());
    }
    for json in ["", "[]", "7", "null", "\"a\"", "{", "{}x", "\u{feff}{}", &format!("{{\"a\":{}", "[".repeat(4000))] {
        let token = issuer.sign_with(&issuer.header(), json);
        assert_eq!(find(&tokens, &token).map(drop), Err(TokenFault::Malformed), "{json:.20}");
    }
}

#[test]
fn a_token_narrows_what_its_plan_allows() {
    let issuer = Issuer::new(TokenAlgorithm::Hs256, None);
    let tokens = tokens(vec![issuer.key()]);
    let visit = |claims: &Claims, chain, region| {
        let client = IpAddr::from([10, 0, 0, 1]);
        find(&tokens, &issuer.sign(claims)).unwrap().rules.visit(&Visit { chain, region, origin: None, client })
    };
    let good = Claims::good();
    let narrow = good.with("chains", r#"["base","ethereum"]"#).with("regions", "\"eu\"");
    assert_eq!(visit(&good, "polygon", "us"), Ok(()));
    assert_eq!(visit(&narrow, "base", "eu"), Ok(()));
    assert_eq!(visit(&narrow, "polygon", "eu"), Err(Forbidden::Chain));
    assert_eq!(visit(&narrow, "base", "us"), Err(Forbidden::Region));
    assert_eq!(visit(&good.with("chains", "[]"), "base", "eu"), Err(Forbidden::Chain));
}

#[test]
fn claims_go_by_the_operators_names_which_may_be_registered_ones() {
    let issuer = Issuer::new(TokenAlgorithm::Hs256, None);
    let claims = ClaimNames {
        tenant: "sub".into(),
        plan: "https://shop.example/plan".into(),
        chains: "aud".into(),
        regions: "regions".into(),
    };
    let tokens = Tokens::new(TokenConfig { claims, ..config() }, vec![issuer.key()], pepper(), 1);
    let token = Claims::good().with("https://shop.example/plan", "\"silver\"").with("plan", "7");
    let entry = find(&tokens, &issuer.sign(&token)).unwrap();
    assert_eq!((&*entry.tenant, &*entry.plan), ("alice", "silver"));
    assert_eq!(find(&tokens, &issuer.sign(&Claims::good())).map(drop), Err(TokenFault::Claims));
}

#[test]
fn who_it_is_hangs_on_issuer_tenant_and_subject_alone() {
    let issuer = Issuer::new(TokenAlgorithm::Hs256, None);
    let two = TokenConfig { issuers: vec!["https://issuer.example".into(), "other".into()], ..config() };
    let tokens = Tokens::new(two.clone(), vec![issuer.key()], pepper(), 1);
    let id = |tokens: &Tokens, claims: &Claims| find(tokens, &issuer.sign(claims)).unwrap().key;
    let good = Claims::good();
    let alice = id(&tokens, &good);
    for same in [good.with("jti", "\"2\""), good.with("plan", "\"silver\""), good.with("exp", &(NOW_S + 9).to_string())]
    {
        assert_eq!(id(&tokens, &same), alice, "{}", same.json());
    }
    let others = [
        good.with("sub", "\"bob\""),
        good.with("tenant", "\"other\""),
        good.with("iss", "\"other\""),
        good.without("sub"),
    ];
    let mut ids: Vec<_> = others.iter().map(|other| id(&tokens, other)).chain([alice, KeyId::NOBODY]).collect();
    // What stands where makes a difference.
    ids.push(id(&tokens, &good.with("tenant", "\"acm\"").with("sub", "\"ealice\"")));
    let pepper = Pepper::new(&[7; 32]).unwrap();
    ids.push(id(&Tokens::new(two, vec![issuer.key()], pepper, 1), &good));
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn what_is_cut_bent_or_enormous_is_refused() {
    let issuer = Issuer::new(TokenAlgorithm::Es256, None);
    let tokens = tokens(vec![issuer.key()]);
    let token = issuer.sign(&Claims::good());
    for cut in 0..token.len() {
        let fault = find(&tokens, &token[..cut]).map(drop).unwrap_err();
        assert!(matches!(fault, TokenFault::Malformed | TokenFault::Signature), "{cut}: {fault:?}");
    }
    for at in 0..token.len() {
        let mut bent = token.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        assert!(tokens.find(&bent, NOW_S).is_err(), "{at}");
    }
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let der = [&[0x30, 0x44, 2, 32][..], &raw[..32], &[2, 32], &raw[32..]].concat();
    for wrong in [
        String::new(),
        "AAAA".into(),
        URL_SAFE_NO_PAD.encode([0; 64]),
        URL_SAFE_NO_PAD.encode([255; 64]),
        URL_SAFE_NO_PAD.encode(&raw[..63]),
        URL_SAFE_NO_PAD.encode([&raw[..], &[0]].concat()),
        URL_SAFE_NO_PAD.encode([&raw[32..], &raw[..32]].concat()),
        URL_SAFE_NO_PAD.encode(der),
        format!("{signature}="),
        format!("{signature}."),
    ] {
        assert!(find(&tokens, &format!("{signed}.{wrong}")).is_err(), "{wrong}");
    }
    let long = issuer.sign(&Claims::good().with("padding", &format!("\"{}\"", "a".repeat(TOKEN_BYTES_MAX))));
    for enormous in [long, token.repeat(100), "a".repeat(1_000_000)] {
        assert_eq!(find(&tokens, &enormous).map(drop), Err(TokenFault::Length));
    }
}

#[test]
fn every_refusal_has_the_same_words_and_a_name_of_its_own() {
    let mut names: Vec<_> = TokenFault::ALL.iter().map(|fault| fault.name()).collect();
    assert!(TokenFault::ALL.iter().all(|fault| fault.to_string() == TokenFault::Length.to_string()));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TokenFault::ALL.len());
}

#[test]
fn sets_are_read_for_what_is_ours_in_them() {
    let [_, rsa, ec, ed] = TokenAlgorithm::ALL.map(|algorithm| Issuer::new(algorithm, Some(algorithm.name())));
    let changed = |issuer: &Issuer, from: &str, to: &str| {
        let changed = issuer.jwk().replace(from, to);
        assert_ne!(changed, issuer.jwk(), "{from}");
        changed
    };
    let x = URL_SAFE_NO_PAD.encode(&ec.public[1..33]);
    let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
    let n = rsa.jwk().split("\"n\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    for (key, taken) in [
        (rsa.jwk(), true),
        (ec.jwk(), true),
        (ed.jwk(), true),
        (changed(&rsa, r#","alg":"RS256""#, ""), true),
        (changed(&rsa, r#""use":"sig","#, ""), true),
        (changed(&rsa, r#""use":"sig""#, r#""key_ops":["verify"]"#), true),
        (changed(&rsa, r#""use":"sig""#, r#""key_ops":["encrypt"]"#), false),
        (changed(&rsa, "sig", "enc"), false),
        (changed(&rsa, r#""alg":"RS256""#, r#""alg":"RS512""#), false),
        (changed(&rsa, r#""alg":"RS256""#, r#""alg":"HS256""#), false),
        (changed(&rsa, r#""alg":"RS256""#, r#""alg":"RSA-OAEP-256""#), false),
        (changed(&rsa, &n, &short), false),
        (changed(&rsa, &n, "+++"), false),
        (changed(&ec, "ES256", "ES384"), false),
        (changed(&ec, "P-256", "P-384"), false),
        (changed(&ec, "P-256", "secp256k1"), false),
        (changed(&ec, &x, &URL_SAFE_NO_PAD.encode([7; 32])), false),
        (changed(&ec, &x, &URL_SAFE_NO_PAD.encode(&ec.public[2..33])), false),
        (changed(&ed, "Ed25519", "X25519"), false),
        (r#"{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0","alg":"HS256"}"#.to_owned(), false),
        ("{}".to_owned(), false),
        ("7".to_owned(), false),
    ] {
        let set = KeySet::read(format!(r#"{{"keys":[{key}],"more":1}}"#).as_bytes()).map(|set| set.keys.len());
        assert_eq!(set, if taken { Ok(1) } else { Err(KeySetFault::Empty) }, "{key}");
    }
    let all = jwks(&[&rsa, &ec, &ed]).replace("]}", r#",{"kty":"other"}]}"#);
    let set = KeySet::read(all.as_bytes()).unwrap();
    assert_eq!((set.keys.len(), set.passed_over), (3, 1));
    let names: Vec<_> = set.keys.iter().map(TokenKey::name).collect();
    assert_eq!(names, [Some("RS256"), Some("ES256"), Some("EdDSA")]);
}

#[test]
fn files_that_are_no_public_key_are_refused() {
    let [_, rsa, ec, ed] = issuers();
    for issuer in [&rsa, &ec, &ed] {
        assert_eq!(KeySet::read(format!("\n{}", issuer.pem()).as_bytes()).map(|set| set.keys.len()), Ok(1));
    }
    assert!(TokenKey::from_pem(&pem("RSA PUBLIC KEY", &rsa.public)).is_ok());
    let many: Vec<_> = (0..=TOKEN_KEYS_MAX).map(|_| "{}").collect();
    for (text, fault) in [
        (String::new(), KeySetFault::Format),
        ("ssh-ed25519 AAAA".into(), KeySetFault::Format),
        ("{".into(), KeySetFault::Format),
        (r#"{"keys":{}}"#.into(), KeySetFault::Format),
        (r#"{"keys":[]}"#.into(), KeySetFault::NoKeys),
        (format!(r#"{{"keys":[{}]}}"#, many.join(",")), KeySetFault::TooMany),
        (ec.pem().replace("PUBLIC", "PRIVATE"), KeySetFault::Private),
        (ec.pem().replace("PUBLIC", "EC PRIVATE"), KeySetFault::Private),
        (format!("{}{}", ec.pem(), ec.pem().replace("PUBLIC", "PRIVATE")), KeySetFault::Private),
        (ec.pem().replace("PUBLIC KEY", "CERTIFICATE"), KeySetFault::Format),
        (format!("{}{}", ec.pem(), ed.pem()), KeySetFault::Several),
        (pem("PUBLIC KEY", b"nothing"), KeySetFault::Format),
        (pem("RSA PUBLIC KEY", &[0x30, 3, 2, 1, 7]), KeySetFault::Unusable),
        (" ".repeat(TOKEN_KEY_SET_BYTES_MAX + 1), KeySetFault::Size),
    ] {
        assert_eq!(KeySet::read(text.as_bytes()).unwrap_err(), fault, "{text:.40}");
    }
    assert_eq!(KeySet::read(b"\xff{").unwrap_err(), KeySetFault::Format);
    assert_eq!(TokenKey::from_secret(&[7; 31]).unwrap_err(), KeySetFault::WeakSecret);
}

/// Another curve's key would be taken for one of ours by its kind alone.
#[test]
fn a_key_of_another_curve_is_refused() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    assert_eq!(TokenKey::from_pem(&key.public_key_pem()).unwrap_err(), KeySetFault::Unusable);
}

#[test]
fn nothing_is_shown_when_printed() {
    let issuer = Issuer::new(TokenAlgorithm::Hs256, None);
    let tokens = tokens(vec![issuer.key()]);
    let (text, secret) = (format!("{tokens:?}"), format!("{:?}", issuer.public));
    assert!(!text.contains(&secret) && !text.contains(&URL_SAFE_NO_PAD.encode(&issuer.public)), "{text}");
}

proptest! {
    #[test]
    fn whatever_is_read_costs_no_panic(
        text in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "eyJ[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,90}".prop_map(String::into_bytes),
        ],
        json in ".{0,80}",
        now_s in any::<u64>(),
    ) {
        thread_local! {
            static ALL: (Issuer, Tokens) = {
                let secret = Issuer::new(TokenAlgorithm::Hs256, None);
                let ec = Issuer::new(TokenAlgorithm::Es256, None);
                let tokens = tokens(vec![secret.key(), ec.key()]);
                (secret, tokens)
            };
        }
        ALL.with(|(issuer, tokens)| {
            assert!(tokens.find(&text, now_s).is_err());
            // Anything under a good signature, too.
            for json in [json.clone(), format!("{{\"exp\":{json}}}"), format!("{{\"aud\":\"{json}\"}}")] {
                assert!(tokens.find(issuer.sign_with(&issuer.header(), &json).as_bytes(), now_s).is_err());
            }
            let _ = KeySet::read(&text);
            let _ = KeySet::from_jwks(&format!("{{\"keys\":[{json}]}}"));
        });
    }

    #[test]
    fn a_token_is_good_from_its_beginning_to_its_end(
        from_s in 0..2_000_000_000_u64,
        lasts_s in 0..1_000_000_u64,
        at_s in 0..2_001_100_000_u64,
    ) {
        thread_local! {
            static ALL: (Issuer, Tokens) = {
                let issuer = Issuer::new(TokenAlgorithm::Hs256, None);
                let tokens = tokens(vec![issuer.key()]);
                (issuer, tokens)
            };
        }
        ALL.with(|(issuer, tokens)| {
            let ends_s = from_s + lasts_s;
            let claims = Claims::good().with("nbf", &from_s.to_string()).with("exp", &ends_s.to_string());
            let token = issuer.sign(&claims);
            for at_s in [at_s, (from_s + 60).saturating_sub(121), from_s.saturating_sub(60), ends_s + 59, ends_s + 60] {
                let expected = at_s + 60 >= from_s && at_s < ends_s + 60;
                assert_eq!(tokens.find(token.as_bytes(), at_s).is_ok(), expected, "{from_s} {ends_s} {at_s}");
            }
        });
    }
}
