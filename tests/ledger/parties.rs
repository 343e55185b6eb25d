//! Tenants, plans and keys, and what is told of their changes.

use livechain::desk::keys::{self, KeyOrder};
use livechain::desk::plans;
use livechain::ledger::{
    KeyChange, KeyFilter, KeyRow, NewKeyName, NewKeyRow, PlanChange, PlanId, PlanText, RulesText, Store, StoreError,
    TenantChange,
};
use livechain::tenant::TenantId;
use livechain::tenant::key::{KeyHash, KeyId, PepperTag};

use super::place::{Place, on_both};

/// What would do harm if it were ever taken for a statement.
const HOSTILE: &str = "Robert'); DROP TABLE tenants; -- \"x\" ?1 $1 %s \\";

pub(crate) fn plan_text(json: &str) -> PlanText {
    PlanText::parse(json).unwrap()
}

pub(crate) fn new_key(n: u64, tenant: TenantId, plan: PlanId) -> NewKeyRow {
    let mut hash = [7; 32];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    NewKeyRow { name: name(n, hash), tenant, plan, rules: None, label: String::new(), expires_s: None }
}

fn name(id: u64, hash: [u8; 32]) -> NewKeyName {
    NewKeyName { id: KeyId(id), hash: KeyHash(hash), pepper: PepperTag([1; 32]) }
}

/// A tenant, a plan, and two keys: one with an id whose first bit is set.
fn shop(store: &mut Store) -> (TenantId, PlanId, [KeyRow; 2]) {
    let tenant = store.create_tenant("acme", "customer 7", 1_000).unwrap().id;
    let plan = store.create_plan("pro", &plan_text(r#"{"calls_per_second": 50}"#), 1_001).unwrap().id;
    let keys = [1, u64::MAX - 5].map(|n| store.create_key(&new_key(n, tenant, plan), 1_002).unwrap());
    (tenant, plan, keys)
}

fn ids(keys: &[KeyRow]) -> Vec<u64> {
    keys.iter().map(|key| key.id.0).collect()
}

#[test]
fn what_is_made_is_there_when_the_ledger_is_opened_again() {
    on_both(|place| {
        let (tenant, plan, keys) = shop(&mut place.open());
        let mut store = place.open();
        let tenants = store.tenants().unwrap();
        assert_eq!(tenants.len(), 1);
        assert_eq!((tenants[0].id, &*tenants[0].name, &*tenants[0].note), (tenant, "acme", "customer 7"));
        assert_eq!(store.plan("pro").unwrap().text, plan_text(r#"{"calls_per_second": 50}"#));
        assert_eq!(store.plans().unwrap()[0].id, plan);
        for key in &keys {
            assert_eq!(store.key(key.id).as_ref(), Ok(key));
        }
        assert_eq!(store.tenant("nobody"), Err(StoreError::NotFound("tenant")));
        assert_eq!(store.plan("none"), Err(StoreError::NotFound("plan")));
        assert_eq!(store.key(KeyId(99)), Err(StoreError::NotFound("key")));
    });
}

#[test]
fn what_is_changed_is_changed_and_the_rest_stays() {
    on_both(|place| {
        let mut store = place.open();
        let (tenant, plan, [key, _]) = shop(&mut store);
        let other = store.create_plan("free", &PlanText::default(), 0).unwrap().id;
        let row =
            store.change_tenant(tenant, &TenantChange { note: Some("new".into()), ..Default::default() }).unwrap();
        assert_eq!((&*row.name, &*row.note, row.created_s), ("acme", "new", 1_000));
        let text = plan_text(r#"{"in_flight": 3, "rules": {"chains": ["base"]}}"#);
        let change = PlanChange { text: Some(text.clone()), ..Default::default() };
        assert_eq!(store.change_plan(plan, &change).unwrap().text, text);
        let change = PlanChange { name: Some("gold".into()), ..Default::default() };
        assert_eq!(store.change_plan(plan, &change).unwrap().text, text);
        assert_eq!(store.plan("gold").unwrap().text, text);
        let rules = RulesText { origins: Some(vec!["https://a.example".into()]), ..Default::default() };
        let change = KeyChange {
            plan: Some(other),
            rules: Some(Some(Box::new(rules.clone()))),
            expires_s: Some(Some(9)),
            label: None,
        };
        let changed = KeyRow { plan: other, rules: Some(Box::new(rules)), expires_s: Some(9), ..key.clone() };
        assert_eq!(store.change_key(key.id, &change).as_ref(), Ok(&changed));
        let change = KeyChange { expires_s: Some(None), label: Some("web".into()), ..Default::default() };
        store.change_key(key.id, &change).unwrap();
        assert_eq!(store.key(key.id), Ok(KeyRow { expires_s: None, label: "web".into(), ..changed }));
    });
}

#[test]
fn what_makes_no_sense_is_refused_and_nothing_changes() {
    on_both(|place| {
        let mut store = place.open();
        let (tenant, plan, [key, other]) = shop(&mut store);
        let before = (store.revision().unwrap(), store.directory(None).unwrap());
        let named = |name: &str| TenantChange { name: Some(name.into()), ..Default::default() };
        let wrong_text = plan_text(r#"{"month_starts_on": 31}"#);
        let wrong_rules =
            Some(Box::new(RulesText { networks: Some(vec!["everywhere".into()]), ..RulesText::default() }));
        let refusals = [
            store.create_tenant("acme", "", 0).map(drop),
            store.create_tenant("", "", 0).map(drop),
            store.create_tenant(" acme", "", 0).map(drop),
            store.create_tenant("ac\nme", "", 0).map(drop),
            store.create_tenant("=HYPERLINK(1)", "", 0).map(drop),
            store.create_plan("@SUM(1)", &PlanText::default(), 0).map(drop),
            store.create_tenant("a\0b", "", 0).map(drop),
            store.create_tenant(&"a".repeat(65), "", 0).map(drop),
            store.create_tenant("fine", &"a".repeat(257), 0).map(drop),
            store.change_tenant(TenantId(99), &named("x")).map(drop),
            store.change_tenant(tenant, &named("")).map(drop),
            store.create_plan("pro", &PlanText::default(), 0).map(drop),
            store.create_plan("other", &wrong_text, 0).map(drop),
            store.change_plan(plan, &PlanChange { text: Some(wrong_text), ..Default::default() }).map(drop),
            store.change_plan(PlanId(99), &PlanChange::default()).map(drop),
            store.create_key(&new_key(7, TenantId(99), plan), 0).map(drop),
            store.create_key(&new_key(7, tenant, PlanId(99)), 0).map(drop),
            store.create_key(&new_key(0, tenant, plan), 0).map(drop),
            store.create_key(&new_key(1, tenant, plan), 0).map(drop),
            store.create_key(&NewKeyRow { name: name(7, other.hash.0), ..new_key(7, tenant, plan) }, 0).map(drop),
            store.create_key(&NewKeyRow { rules: wrong_rules, ..new_key(7, tenant, plan) }, 0).map(drop),
            store.change_key(KeyId(99), &KeyChange::default()).map(drop),
            store.change_key(key.id, &KeyChange { plan: Some(PlanId(99)), ..Default::default() }).map(drop),
            store.revoke_key(KeyId(99), 0).map(drop),
            store.rotate_key(KeyId(99), name(8, [8; 32]), 0, 0).map(drop),
            store.rotate_key(key.id, name(other.id.0, [8; 32]), 0, 0).map(drop),
        ];
        for (n, refusal) in refusals.iter().enumerate() {
            assert!(refusal.as_ref().is_err_and(StoreError::of_asker), "{} {n}: {refusal:?}", place.name());
        }
        assert_eq!((store.revision().unwrap(), store.directory(None).unwrap()), before);
    });
}

#[test]
fn no_text_is_ever_a_statement() {
    on_both(|place| {
        let mut store = place.open();
        let tenant = store.create_tenant(HOSTILE, HOSTILE, 0).unwrap();
        assert_eq!(store.tenant(HOSTILE).as_ref(), Ok(&tenant));
        let plan = store.create_plan(HOSTILE, &PlanText::default(), 0).unwrap();
        assert_eq!(store.plan(HOSTILE).unwrap().id, plan.id);
        let key = NewKeyRow { label: HOSTILE.into(), ..new_key(3, tenant.id, plan.id) };
        store.create_key(&key, 0).unwrap();
        assert_eq!(store.key(KeyId(3)).unwrap().label, HOSTILE);
        assert_eq!(store.tenants().unwrap(), [tenant]);
    });
}

#[test]
fn keys_are_listed_page_by_page() {
    on_both(|place| {
        let mut store = place.open();
        let (tenant, plan, keys) = shop(&mut store);
        let other = store.create_tenant("other", "", 0).unwrap().id;
        for n in 10..30 {
            store.create_key(&new_key(n, if n % 2 == 0 { tenant } else { other }, plan), 0).unwrap();
        }
        store.revoke_key(KeyId(10), 5).unwrap();
        let mut seen = Vec::new();
        let mut filter = KeyFilter { tenant: Some(tenant), most: Some(4), ..KeyFilter::default() };
        loop {
            let page = store.keys(&filter).unwrap();
            assert!(page.len() <= 4 && page.iter().all(|key| key.tenant == tenant));
            let Some(last) = page.last() else { break };
            filter.after = Some(last.id);
            seen.extend(ids(&page));
        }
        seen.sort_unstable();
        let mut expected: Vec<_> = (12..30).step_by(2).chain(ids(&keys)).collect();
        expected.sort_unstable();
        assert_eq!(seen, expected);
        assert_eq!(store.keys(&KeyFilter::default()).unwrap().len(), 21);
        assert_eq!(store.keys(&KeyFilter { revoked: true, ..KeyFilter::default() }).unwrap().len(), 22);
        let last = KeyFilter { after: Some(KeyId(i64::MAX.cast_unsigned())), ..KeyFilter::default() };
        assert_eq!(store.keys(&last), Ok(Vec::new()));
    });
}

#[test]
fn a_rotated_key_leaves_its_place_to_another_like_it() {
    on_both(|place| {
        let mut store = place.open();
        let (.., [key, other]) = shop(&mut store);
        let change = KeyChange {
            rules: Some(Some(Box::new(RulesText { chains: Some(vec!["base".into()]), ..Default::default() }))),
            label: Some("app".into()),
            ..Default::default()
        };
        let key = store.change_key(key.id, &change).unwrap();
        let (new, old) = store.rotate_key(key.id, name(50, [5; 32]), 3_600, 2_000).unwrap();
        assert_eq!(old, KeyRow { expires_s: Some(5_600), ..key.clone() });
        assert_eq!(new, KeyRow { id: KeyId(50), hash: KeyHash([5; 32]), created_s: 2_000, ..key.clone() });
        let (third, _) = store.rotate_key(new.id, name(53, [4; 32]), 0, 2_000).unwrap();
        assert_eq!((new.quota, third.quota, store.key(third.id).unwrap().quota), (key.id, key.id, key.id));
        // They have one plan.
        let (since, plan) = (store.revision().unwrap(), store.create_plan("large", &plan_text("{}"), 0).unwrap().id);
        store.change_key(third.id, &KeyChange { plan: Some(plan), ..Default::default() }).unwrap();
        let mut changed = ids(&store.directory(Some(since)).unwrap().keys);
        changed.sort_unstable();
        assert_eq!(changed, [key.id.0, new.id.0, third.id.0]);
        assert!([key.id, new.id, third.id].iter().all(|id| store.key(*id).unwrap().plan == plan));
        assert_ne!(store.key(other.id).unwrap().plan, plan);
        // One that ends sooner by itself does so.
        let (_, old) = store.rotate_key(old.id, name(51, [6; 32]), 9_000, 2_000).unwrap();
        assert_eq!(old.expires_s, Some(5_600));
        for (id, now) in [(old.id, 5_600), (store.revoke_key(other.id, 1).unwrap().id, 2)] {
            let refused = store.rotate_key(id, name(52, [9; 32]), 0, now);
            assert!(refused.is_err_and(|error| error.of_asker()));
        }
        assert_eq!(store.revoke_key(other.id, 77).unwrap().revoked_s, Some(1), "as it was revoked first");
    });
}

#[test]
fn whoever_follows_the_revision_sees_every_change() {
    on_both(|place| {
        let (mut writer, mut reader) = (place.open(), place.open());
        let (tenant, plan, [key, other]) = shop(&mut writer);
        let whole = reader.directory(None).unwrap();
        assert!(whole.whole && whole.unreadable.is_empty());
        assert_eq!((whole.tenants.len(), whole.plans.len()), (1, 1));
        let mut all = ids(&whole.keys);
        all.sort_unstable();
        assert_eq!(all, [1, u64::MAX - 5]);
        assert_eq!(reader.revision(), Ok(whole.revision));

        let nothing = reader.directory(Some(whole.revision)).unwrap();
        assert_eq!((nothing.revision, nothing.whole, nothing.keys.len()), (whole.revision, false, 0));

        writer.revoke_key(key.id, 5).unwrap();
        let change = reader.directory(Some(whole.revision)).unwrap();
        assert!(change.revision > whole.revision && !change.whole);
        assert_eq!(change.keys, [KeyRow { revoked_s: Some(5), ..key }]);

        // Of a tenant or a plan: they are always all there.
        writer.change_tenant(tenant, &TenantChange { name: Some("b".into()), ..Default::default() }).unwrap();
        writer.change_plan(plan, &PlanChange { name: Some("c".into()), ..Default::default() }).unwrap();
        let next = reader.directory(Some(change.revision)).unwrap();
        assert_eq!((&*next.tenants[0].name, &*next.plans[0].name, next.keys.len()), ("b", "c", 0));
        assert_eq!(next.revision, change.revision + 2);

        let whole = reader.directory(None).unwrap();
        assert_eq!(ids(&whole.keys), [other.id.0], "what was revoked is not in the whole");
        let ahead = reader.directory(Some(next.revision + 1)).unwrap();
        assert!(ahead.whole, "a store that is behind was put back from a copy");
    });
}

#[test]
fn changes_made_at_once_are_all_seen() {
    on_both(|place| {
        let (tenant, plan, _) = shop(&mut place.open());
        let known = place.open().directory(None).unwrap();
        let (mut seen, mut since) = (Vec::new(), known.revision);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4_u64)
                .map(|writer| {
                    scope.spawn(move || {
                        let mut store = place.open();
                        for n in 0..25 {
                            store.create_key(&new_key(100 + writer * 100 + n, tenant, plan), 0).unwrap();
                        }
                    })
                })
                .collect();
            let mut reader = place.open();
            loop {
                let ended = writers.iter().all(std::thread::ScopedJoinHandle::is_finished);
                let change = reader.directory(Some(since)).unwrap();
                assert!(!change.whole && change.revision >= since);
                since = change.revision;
                seen.extend(ids(&change.keys));
                if ended {
                    break;
                }
            }
        });
        seen.sort_unstable();
        let expected: Vec<u64> = (0..4).flat_map(|writer| (0..25).map(move |n| 100 + writer * 100 + n)).collect();
        assert_eq!(seen, expected, "{}: each once", place.name());
        assert_eq!(since, known.revision + 100);
    });
}

#[test]
fn what_cannot_be_read_lets_nobody_in_and_holds_nothing_up() {
    on_both(|place: &Place| {
        let mut store = place.open();
        let (tenant, plan, [key, other]) = shop(&mut store);
        let newer = store.create_plan("newer", &PlanText::default(), 0).unwrap();
        store.create_key(&new_key(20, tenant, newer.id), 0).unwrap();
        place.raw("UPDATE plans SET terms = '{\"of_tomorrow\": 1}' WHERE name = 'newer'");
        place.raw("UPDATE keys SET rules = '{\"of_tomorrow\": 1}' WHERE id = 1");
        let revoked = store.revoke_key(other.id, 9).unwrap();
        let change = store.directory(Some(0)).unwrap();
        let nothing = PlanText { rules: RulesText::nothing(), ..PlanText::default() };
        assert_eq!((change.plans.len(), change.plans[0].id, &change.plans[1].text), (2, plan, &nothing));
        assert_eq!(change.unreadable.len(), 1);
        assert!(change.unreadable[0].contains("newer"));
        let found = |id| change.keys.iter().find(|row| row.id == id).unwrap();
        assert_eq!(found(key.id).rules.as_deref(), Some(&RulesText::nothing()));
        assert_eq!(found(other.id), &revoked);
        // It is seen, and it is in nobody's way.
        assert_eq!(store.plans().unwrap()[1].text, nothing);
        assert!(store.plan("newer").is_err_and(|error| !error.of_asker() && !error.passes()));
        let order = KeyOrder { tenant: "acme".into(), plan: "pro".into(), ..KeyOrder::default() };
        let made = keys::create(&mut store, order.check(0).unwrap(), name(30, [30; 32]), 0).unwrap();
        assert_eq!((made.tenant.as_str(), made.plan.as_str()), ("acme", "pro"));
        assert_eq!(keys::show(&mut store, KeyId(20), 0).unwrap().plan, "newer");
        assert_eq!(keys::revoke(&mut store, KeyId(30), 0).unwrap().state, "revoked");
        let change = PlanChange { text: Some(PlanText::default()), ..Default::default() };
        assert!(plans::change(&mut store, "newer", &change).is_ok(), "it can be given a text that is known");
        assert_eq!(store.directory(None).unwrap().unreadable.len(), 0);
    });
}

#[test]
fn all_keys_are_made_under_one_pepper() {
    on_both(|place| {
        let mut store = place.open();
        let [own, other] = [[1; 32], [2; 32]].map(PepperTag);
        let of_other = |n: u64| NewKeyName { pepper: other, ..name(n, [u8::try_from(n).unwrap(); 32]) };
        store.hold_to(other).unwrap();
        // No key is lost by it.
        store.hold_to(own).unwrap();
        let (tenant, plan, keys) = shop(&mut store);
        let stranger = NewKeyRow { name: of_other(40), ..new_key(40, tenant, plan) };
        let revision = store.revision();
        assert_eq!(store.create_key(&stranger, 0).map(drop), Err(StoreError::Pepper));
        assert_eq!(store.rotate_key(keys[0].id, of_other(41), 0, 0).map(drop), Err(StoreError::Pepper));
        assert_eq!(store.hold_to(other), Err(StoreError::Pepper));
        assert_eq!((store.hold_to(own), store.revision()), (Ok(()), revision), "nothing was changed");
        // Of a ledger of before: whoever makes a key says which it is.
        place.raw("UPDATE revision SET pepper = NULL");
        assert_eq!((store.hold_to(other), store.hold_to(own)), (Ok(()), Ok(())));
        store.create_key(&new_key(42, tenant, plan), 0).unwrap();
        assert_eq!(store.hold_to(other), Err(StoreError::Pepper));
        for id in [keys[0].id, keys[1].id, KeyId(42)] {
            store.revoke_key(id, 0).unwrap();
        }
        assert_eq!(store.create_key(&stranger, 0).map(drop), Err(StoreError::Pepper), "the nodes' is the old one yet");
        store.hold_to(other).unwrap();
        store.create_key(&stranger, 0).unwrap();
        assert_eq!(store.hold_to(own), Err(StoreError::Pepper));
    });
}

#[test]
fn an_origin_from_before_it_was_refused_is_told_of_and_kept() {
    on_both(|place| {
        let mut store = place.open();
        let old = r#"{"rules":{"origins":["https://app.example*"]}}"#;
        let new = plan_text(r#"{"rules": {"origins": ["https://App.example"]}}"#);
        let plan = store.create_plan("pro", &new, 0).unwrap();
        assert_eq!(plan.text.json(), r#"{"rules":{"origins":["https://app.example"]}}"#);
        place.raw(&format!("UPDATE plans SET terms = '{old}'"));
        assert_eq!(store.plan("pro").unwrap().text.json(), old);
        let told = store.directory(None).unwrap().unreadable;
        assert!(told.len() == 1 && told[0].contains("pro") && told[0].contains("origins"), "{told:?}");
        let change = PlanChange { text: Some(plan_text(old)), ..Default::default() };
        assert!(store.change_plan(plan.id, &change).is_err_and(|error| error.of_asker()));
    });
}
