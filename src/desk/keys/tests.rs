use super::*;
use crate::limits::PEPPER_BYTES_MIN;

const NOW: u64 = 1_795_320_306;

#[test]
fn a_made_key_is_known_by_its_hash_and_told_in_one_place() {
    let pepper = Pepper::new(&[7; PEPPER_BYTES_MIN]).unwrap();
    let (text, name) = make(&pepper).unwrap();
    let read = KeyText::read(text.expose().as_bytes()).unwrap();
    assert!(pepper.hash(read) == name.hash);
    assert_ne!(make(&pepper).unwrap().1.id, name.id);
    let row = KeyRow {
        id: name.id,
        hash: name.hash,
        tenant: crate::tenant::TenantId(1),
        plan: crate::ledger::PlanId(1),
        rules: None,
        label: "web".into(),
        created_s: NOW,
        quota: name.id,
        expires_s: Some(NOW + 5),
        revoked_s: None,
    };
    let names = Names::of([(1, "acme")], [(1, "pro")]);
    let document = names.document(row.clone(), NOW);
    let made = MadeKey { key: text.clone(), document: document.clone(), old: None };
    assert!(!format!("{made:?} {name:?} {row:?}").contains(text.expose()));
    assert!(!serde_json::to_string(&document).unwrap().contains("lc_live_"));
    let json = serde_json::to_string(&made).unwrap();
    assert_eq!(
        json,
        format!(
            r#"{{"key":"{}","id":"{}","tenant":"acme","plan":"pro","label":"web","state":"active","created":"2026-11-22T04:05:06Z","expires":"2026-11-22T04:05:11Z","revoked":null,"shares_quota_of":null,"rules":null}}"#,
            text.expose(),
            name.id
        )
    );
    for (at, revoked_s, expected) in
        [(NOW + 4, None, "active"), (NOW + 5, None, "expired"), (NOW + 5, Some(NOW), "revoked")]
    {
        assert_eq!(names.document(KeyRow { revoked_s, ..row.clone() }, at).state, expected);
    }
    assert_eq!(Names::of([], []).document(row, NOW).tenant, "#1");
}

#[test]
fn an_id_that_is_none_is_not_said_again() {
    let key = make(&Pepper::new(&[7; PEPPER_BYTES_MIN]).unwrap()).unwrap().0;
    for (text, expected) in [
        ("", Refusal::KeyId),
        ("12", Refusal::KeyId),
        ("00000000deadbeeg", Refusal::KeyId),
        (key.expose(), Refusal::KeyText),
        (&key.expose()[..20], Refusal::KeyText),
        (&format!(" {}\n", key.expose()), Refusal::KeyText),
    ] {
        let refused = id(text).unwrap_err();
        assert_eq!(refused, expected, "{text}");
        assert!(!refused.to_string().contains("lc_live_"));
    }
    assert_eq!(id("00000000deadbeef"), Ok(KeyId(0xdead_beef)));
}

#[test]
fn an_order_is_checked_before_the_store_is_asked() {
    let order = |json: &str| serde_json::from_str::<KeyOrder>(json).map_err(|error| error.to_string());
    for (json, words) in [
        (r#"{"tenant": "acme"}"#, "missing field `plan`"),
        (r#"{"tenant": "acme", "plan": "pro", "id": 1}"#, "unknown field `id`"),
        (r#"{"tenant": "acme", "plan": "pro", "rules": {"chain": []}}"#, "unknown field `chain`"),
        (r#"{"tenant": "acme", "plan": "pro", "rules": {"networks": ["10.0.0.1/8"]}}"#, "networks"),
        (r#"{"tenant": "acme", "plan": "pro", "expires": "2020-01-01"}"#, "expires: lies in the past"),
        (r#"{"tenant": "acme", "plan": "pro", "expires": "soon"}"#, "expires: expected"),
    ] {
        let refused = order(json).and_then(|order| order.check(NOW).map_err(|refused| refused.to_string()));
        let refused = refused.unwrap_err();
        assert!(refused.contains(words), "{json}: {refused}");
    }
    let terms = order(r#"{"tenant": "acme", "plan": "pro", "expires": "1d", "rules": {}}"#).unwrap();
    let terms = terms.check(NOW).unwrap();
    assert_eq!((terms.expires_s, terms.rules), (Some(NOW + 86_400), None));
}

#[test]
fn null_takes_away_and_absence_leaves() {
    let order = |json: &str| serde_json::from_str::<KeyChangeOrder>(json).unwrap().check(NOW);
    for (json, expires_s, rules) in [
        (r#"{"label": "x"}"#, None, None),
        (r#"{"expires": null, "rules": null}"#, Some(None), Some(None)),
        (r#"{"expires": "never", "rules": {}}"#, Some(None), Some(None)),
        (
            r#"{"expires": "1s", "rules": {"chains": ["base"]}}"#,
            Some(Some(NOW + 1)),
            Some(Some(Box::new(RulesText { chains: Some(vec!["base".into()]), ..RulesText::default() }))),
        ),
    ] {
        let checked = order(json).unwrap();
        assert_eq!((checked.change.expires_s, checked.change.rules), (expires_s, rules), "{json}");
    }
    assert_eq!(order("{}").unwrap_err(), Refusal::NoChange);
    assert_eq!(RotateOrder::default().check(), Ok(86_400));
    assert_eq!(RotateOrder { grace: Some("0s".into()) }.check(), Ok(0));
    assert_eq!(RotateOrder { grace: Some("1w".into()) }.check(), Err(Refusal::Span { field: "grace" }));
}
