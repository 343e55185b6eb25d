//! Opening: made once, brought up by migrations, left alone where that cannot be.

use std::os::unix::fs::PermissionsExt;

use livechain::ledger::{Grouping, Store, StoreError};
use livechain::tenant::TenantId;
use livechain::tenant::key::KeyId;

use super::parties::new_key;
use super::place::{Place, on_both};
use super::usage::all;

const VERSION_1: &str = include_str!("../../src/ledger/schema/1.sql");
/// What the newest is.
const VERSION: u32 = 4;

/// Rows of a ledger that was in use: two tenants, a plan, keys, usage of two days.
const OLD_ROWS: &str = "
INSERT INTO tenants VALUES (1, 'acme', 'first', 100, 1), (2, 'other', '', 101, 2);
INSERT INTO plans VALUES (1, 'pro', '{\"calls_per_second\":5}', 102, 3);
INSERT INTO keys VALUES (-2, HASH, 1, 1, '{\"chains\":[\"base\"]}', 'web', 103, NULL, 9, 4);
UPDATE revision SET revision = 4;
INSERT INTO commits VALUES ('node-a', BOOT, 17, 1);
INSERT INTO usage VALUES
  (1, 1440, -2, 'base', 'eth_call', 'alpha', 5, 4, 80, 1, 0, 0, 50, 500, 0, 5),
  (1, 1441, -2, 'base', 'eth_call', 'alpha', 1, 1, 20, 0, 0, 0, 10, 100, 0, 1),
  (1, 2880, -2, '', 'other', '', 2, 0, 0, 0, 0, 2, 20, 200, 0, 0),
  (2, 2880, 0, '', 'other', '', 7, 7, 140, 0, 0, 0, 70, 700, 0, 7);
";

/// Makes a ledger as version 1 of the program did.
fn old(place: &Place) {
    match place {
        Place::Sqlite(_) => {
            place.raw("PRAGMA journal_mode=WAL; PRAGMA application_id=1279478855; PRAGMA user_version=1");
            place.raw(VERSION_1);
        }
        Place::Postgres { .. } => {
            let of_postgres = VERSION_1
                .replace(" STRICT, WITHOUT ROWID;", ";")
                .replace(" STRICT;", ";")
                .replace("INTEGER", "BIGINT")
                .replace("BLOB", "BYTEA");
            place.raw(&of_postgres);
            place.raw(
                "CREATE TABLE livechain_schema (version BIGINT NOT NULL); INSERT INTO livechain_schema VALUES (1)",
            );
        }
    }
    let bytes = |hex: &str| match place {
        Place::Sqlite(_) => format!("X'{hex}'"),
        Place::Postgres { .. } => format!("'\\x{hex}'"),
    };
    place.raw(&OLD_ROWS.replace("HASH", &bytes(&"ab".repeat(32))).replace("BOOT", &bytes(&"00".repeat(16))));
}

fn version(place: &Place) -> String {
    match place {
        Place::Sqlite(_) => place.rows("PRAGMA user_version"),
        Place::Postgres { .. } => place.rows("SELECT version FROM livechain_schema"),
    }
}

/// All tables, columns and rows, in words.
fn contents(place: &Place) -> String {
    let tables = match place {
        Place::Sqlite(_) => "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name",
        Place::Postgres { .. } => {
            "SELECT table_name, column_name, data_type FROM information_schema.columns \
             WHERE table_schema = 'public' ORDER BY 1, 2"
        }
    };
    let rows = ["revision", "tenants", "plans", "keys", "commits", "usage"]
        .map(|table| place.rows(&format!("SELECT * FROM {table} ORDER BY 1, 2")));
    format!("{}\n{}\n{}", version(place), place.rows(tables), rows.join("\n"))
}

#[test]
fn an_old_ledger_opens_with_all_that_was_in_it() {
    on_both(|place| {
        old(place);
        let mut store = place.open();
        assert_eq!(version(place), VERSION.to_string());
        let tenants = store.tenants().unwrap();
        let names: Vec<_> = tenants.iter().map(|tenant| (&*tenant.name, &*tenant.note, tenant.created_s)).collect();
        assert_eq!(names, [("acme", "first", 100), ("other", "", 101)]);
        assert_eq!(store.plan("pro").unwrap().text.calls_per_second, Some(5));
        let key = store.key(KeyId((-2_i64).cast_unsigned())).unwrap();
        assert_eq!((key.tenant, &*key.label, key.revoked_s), (TenantId(1), "web", Some(9)));
        assert_eq!((key.hash.0, key.quota, store.revision()), ([0xab; 32], key.id, Ok(4)));
        let usage = store.usage(&all(Grouping::Tenant)).unwrap();
        let sums: Vec<_> =
            usage.iter().map(|line| (line.usage.calls, line.usage.units, line.usage.bytes_out)).collect();
        assert_eq!(sums, [(8, 100, 800), (7, 140, 700)]);
        let month = |since| {
            let mut units: Vec<_> = place.open().month_units(since).unwrap().iter().map(|month| month.units).collect();
            units.sort_unstable();
            units
        };
        assert_eq!((month(0), month(2_880)), (vec![100, 140], vec![140]), "days are those that were used");
        // What was committed before is known.
        let again = super::usage::batch(0, 17, Vec::new());
        assert_eq!(store.commit(&again), Ok(livechain::ledger::Committed::Before));
        let plan = store.plan("pro").unwrap().id;
        assert!(store.create_key(&new_key(5, TenantId(2), plan), 1).is_ok());
    });
}

#[test]
fn a_migration_that_fails_leaves_the_ledger_as_it_was() {
    on_both(|place| {
        old(place);
        // What the last statements of the migration want to make is there, so that it fails when most is done.
        place.raw("CREATE TABLE key_days (of TEXT)");
        let before = contents(place);
        let bytes = || match place {
            Place::Sqlite(_) => {
                place.raw("PRAGMA wal_checkpoint(TRUNCATE)");
                std::fs::read(place.file()).unwrap()
            }
            Place::Postgres { .. } => Vec::new(),
        };
        let file = bytes();
        for _ in 0..2 {
            let refused = Store::open(&place.address()).expect_err("it cannot be migrated");
            assert!(matches!(refused, StoreError::Migration { number: 2, .. }), "{refused:?}");
            assert_eq!(contents(place), before, "{}", place.name());
            assert_eq!(bytes(), file, "byte for byte");
        }
        // The old version would go on with it; and once nothing is in the way, the new one does.
        place.raw(
            "INSERT INTO usage SELECT tenant, minute + 1, key, chain, method, provider, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0 \
                   FROM usage WHERE tenant = 2",
        );
        place.raw("DROP TABLE key_days");
        let mut store = place.open();
        let calls: Vec<_> = store.usage(&all(Grouping::Tenant)).unwrap().iter().map(|line| line.usage.calls).collect();
        assert_eq!(calls, [8, 8]);
    });
}

#[test]
fn a_ledger_of_a_newer_version_is_left_alone() {
    on_both(|place| {
        drop(place.open());
        match place {
            Place::Sqlite(_) => place.raw("PRAGMA user_version=5"),
            Place::Postgres { .. } => place.raw("UPDATE livechain_schema SET version = 5"),
        }
        let before = contents(place);
        let refused = Store::open(&place.address()).expect_err("it is newer");
        assert_eq!(refused, StoreError::Newer { found: 5, known: VERSION });
        assert_eq!(contents(place), before);
    });
}

#[test]
fn a_database_of_something_else_is_left_alone() {
    let place = Place::sqlite();
    place.raw("CREATE TABLE recipes (name TEXT); INSERT INTO recipes VALUES ('soup')");
    let before = std::fs::read(place.file()).unwrap();
    assert!(matches!(Store::open(&place.address()), Err(StoreError::Foreign(_))));
    assert_eq!(std::fs::read(place.file()).unwrap(), before);

    let place = Place::sqlite();
    std::fs::write(place.file(), "Dear diary, this is a text of more than a hundred bytes. ".repeat(20)).unwrap();
    let before = std::fs::read(place.file()).unwrap();
    assert!(matches!(Store::open(&place.address()), Err(StoreError::Foreign(_))));
    assert_eq!(std::fs::read(place.file()).unwrap(), before);
}

#[test]
fn many_may_open_it_at_once() {
    on_both(|place| {
        // A new file is made faster than eight threads get to it: several, so that some meet in the middle.
        let (tries, new): (_, fn() -> Place) =
            if matches!(place, Place::Sqlite(_)) { (30, Place::sqlite) } else { (1, Place::postgres) };
        for from in (0..2).cycle().take(2 * tries) {
            let place = new();
            if from == 1 {
                old(&place);
            }
            let start = std::sync::Barrier::new(8);
            std::thread::scope(|scope| {
                for n in 0..8 {
                    let (place, start) = (&place, &start);
                    scope.spawn(move || {
                        start.wait();
                        place.open().create_tenant(&format!("t{n}"), "", 0).unwrap();
                    });
                }
            });
            assert_eq!(place.open().tenants().unwrap().len(), 8 + 2 * from);
        }
    });
}

#[test]
fn the_file_and_those_beside_it_are_its_owners_alone() {
    let place = Place::sqlite();
    let mut store = place.open();
    store.create_tenant("acme", "", 0).unwrap();
    let directory = place.file().parent().unwrap().to_owned();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort_unstable();
    assert_eq!(names, ["ledger.db", "ledger.db-shm", "ledger.db-wal"]);
    let pragma = |name: &str| place.rows(&format!("PRAGMA {name}"));
    assert_eq!((pragma("journal_mode"), pragma("integrity_check")), ("wal".into(), "ok".into()));
}

#[test]
fn a_file_that_is_replaced_under_an_open_ledger_is_noticed() {
    let place = Place::sqlite();
    let mut store = place.open();
    store.create_tenant("acme", "", 0).unwrap();
    std::fs::rename(place.file(), place.file().with_extension("old")).unwrap();
    for _ in 0..2 {
        assert!(matches!(store.create_tenant("lost", "", 0), Err(StoreError::Unavailable(_))));
        assert!(matches!(store.revision(), Err(StoreError::Unavailable(_))));
        let _ = std::fs::write(place.file(), "");
    }
}

#[test]
fn postgres_is_spoken_to_over_tls_and_its_certificate_is_verified() {
    let place = Place::postgres();
    let Place::Postgres { server, database } = &place else { unreachable!() };
    let url = server.url(database);
    let with_root = format!("{url}?sslmode=require&sslrootcert={}", server.root_file.display());
    let mut store = Store::open(&with_root.parse().unwrap()).unwrap();
    store.create_tenant("acme", "", 0).unwrap();
    let encrypted = "SELECT COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE ssl AND application_name = 'livechain' AND datname = current_database()";
    assert_eq!(place.rows(encrypted), "1");
    for (query, words) in [("?sslmode=require", "certificate"), ("?sslmode=verify-full", "certificate")] {
        let refused = Store::open(&format!("{url}{query}").parse().unwrap()).expect_err("nobody knows its authority");
        assert!(matches!(&refused, StoreError::Unavailable(why) if why.contains(words)), "{refused:?}");
    }
    let by_number = with_root.replace("localhost", "127.0.0.1");
    assert!(Store::open(&by_number.parse().unwrap()).is_err(), "it is certified for its name");
}

#[test]
fn no_error_shows_a_password() {
    let place = Place::postgres();
    let Place::Postgres { server, database } = &place else { unreachable!() };
    let url = server.url(database);
    let nobody = super::support::ports::unused();
    for wrong in [
        url.replace("tests@", "testz@"),
        url.replace("//shop", "//thief"),
        url.replace(&format!("/{database}"), "/none"),
        url.replace(&server.address.port().to_string(), &nobody.port().to_string()),
    ] {
        let error = Store::open(&wrong.parse().unwrap()).expect_err("it is wrong");
        let shown = format!("{error} {error:?}");
        assert!(error.passes() && !shown.contains("s3cr3t"), "{shown}");
        assert!(shown.contains("localhost"), "{shown}");
    }
}
