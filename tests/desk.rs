//! What an operator does with tenants, plans, keys and usage: by the command line, by the admin port, beside a node.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use livechain::ledger::{Store, UsageBatch, UsageRow};
use livechain::tenant::Usage;
use serde_json::Value;
use support::shop::{CALL, PEPPER, Shop};
use support::{Answer, Client, Node, Provider, Setup, eventually};
use tempfile::TempDir;

/// A config with a store of its own, and no node.
struct Place {
    dir: TempDir,
    config: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = format!("store = \"sqlite:{}\"", dir.path().join("ledger.db").display());
        let provider = Provider::answering("\"0x1\"");
        let setup = Setup::ethereum(&[&provider]).set("tenants", &store).set("tenants", "pepper = \"${TEST_PEPPER}\"");
        let config = dir.path().join("livechain.toml");
        std::fs::write(&config, setup.text()).unwrap();
        Self { dir, config }
    }

    fn run(&self, line: &str) -> Output {
        run(&self.config, line)
    }

    fn out(&self, line: &str) -> String {
        out(&self.run(line), line)
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.out(&format!("{line} --format json"))).unwrap()
    }

    fn store(&self) -> Store {
        let address = format!("sqlite:{}", self.dir.path().join("ledger.db").display());
        Store::open(&address.parse().unwrap()).unwrap()
    }
}

fn run(config: &Path, line: &str) -> Output {
    run_under(PEPPER, config, line)
}

fn run_under(pepper: &str, config: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_livechain"))
        .args(line.split_whitespace())
        .arg("--config")
        .arg(config)
        .env("TEST_PEPPER", pepper)
        .output()
        .unwrap()
}

fn out(output: &Output, line: &str) -> String {
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_key_is_made_shown_once_rotated_and_revoked() {
    let place = Place::new();
    assert_eq!(place.json("tenant create acme --note seventeen")["name"], "acme");
    place.out("plan create pro --calls-per-second 25 --units trace_*=500 --without-store refuse");
    let made = place.run("key create --tenant acme --plan pro --label web --expires 90d --chain ethereum");
    let key = out(&made, "key create").trim_end().to_owned();
    assert!(key.starts_with("lc_live_") && key.len() == 47 && !key.contains('\n'), "{key}");
    assert!(!String::from_utf8_lossy(&made.stderr).contains(&key));
    let list = place.json("key list --tenant acme");
    let id = list["keys"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!((&list["keys"][0]["plan"], &list["keys"][0]["state"]), (&"pro".into(), &"active".into()));
    let rotated = place.json(&format!("key rotate {id} --grace 12h"));
    assert_eq!((&rotated["old"]["id"], &rotated["rules"]["chains"][0]), (&id.as_str().into(), &"ethereum".into()));
    let second = rotated["key"].as_str().unwrap().to_owned();
    assert_ne!(second, key);
    assert_eq!((&rotated["shares_quota_of"], &rotated["old"]["shares_quota_of"]), (&id.as_str().into(), &Value::Null));
    assert_eq!(place.json(&format!("key change {id} --label old --lift chain"))["rules"], Value::Null);
    assert_eq!(place.json(&format!("key revoke {id}"))["state"], "revoked");
    assert_eq!(place.json("key list")["keys"].as_array().unwrap().len(), 1);
    assert_eq!(place.json("key list --revoked")["keys"].as_array().unwrap().len(), 2);
    assert_eq!(place.json("plan change pro --calls-per-second none --sockets 3")["terms"]["sockets"], 3);
    assert_eq!(place.json("tenant rename acme acme2")["name"], "acme2");
    for line in ["tenant list", "plan list", "plan show pro", "key list --revoked", &format!("key show {id}")] {
        for line in [line.to_owned(), format!("{line} --format json")] {
            let text = place.out(&line);
            assert!(!text.contains("lc_live_") && !text.contains(PEPPER), "{line}: {text}");
        }
    }
    for file in std::fs::read_dir(place.dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let holds = |secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!holds(&key) && !holds(&second), "a key's text is on the disk");
    }
}

#[test]
fn what_is_written_wrong_ends_with_two_and_a_store_out_of_reach_with_one() {
    let place = Place::new();
    place.out("tenant create acme");
    place.out("plan create basic");
    let mistaken = "lc_live_000000000000000000000000000000000aaaaaa";
    for (line, words) in [
        ("tenant create acme", "already"),
        ("tenant show nobody", "no such tenant"),
        ("key create --tenant acme --plan none", "no such plan"),
        ("key show 12", "16 hexadecimal digits"),
        ("key revoke 00000000deadbeef", "no such key"),
        (&format!("key revoke {mistaken}"), "a key's text"),
        (&format!("key show 00000000deadbeef {mistaken}"), "unexpected"),
        ("plan change pro", "a change of something"),
        ("plan create pro --calls-per-second many", "whole number"),
        ("plan create pro --calls-burst 5", "not limited"),
        ("plan create -pro", "unexpected"),
        ("tenant create =1+1", "formula"),
        ("usage --from 2026-02-30", "from: expected a day"),
        ("usage --from 2026-02-02 --to 2026-02-01", "behind `from`"),
        ("usage --from 2026-02-01T10:00:00.7Z", "from: parts of a second"),
        ("key create --tenant acme --plan pro --expires 2999-02-01T10:00:00.7Z", "expires: parts of a second"),
        (&format!("tenant create {mistaken}"), "a key's text"),
        (&format!("tenant create other --note {mistaken}"), "a key's text"),
        (&format!("tenant rename acme {mistaken}"), "a key's text"),
        (&format!("tenant note acme {mistaken}"), "a key's text"),
        (&format!("plan create x{mistaken}"), "a key's text"),
        (&format!("plan create pro --chain {mistaken}"), "a key's text"),
        (&format!("key create --tenant acme --plan basic --label {mistaken}"), "a key's text"),
        ("plan create pro --origin https://app.example*", "origins: expected"),
        ("plan create pro --origin https://app.example/", "origins: expected"),
        ("key create --tenant acme --plan pro --origin app.example", "origins: expected"),
    ] {
        let output = place.run(line);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {told}");
        assert!(told.contains(words) && !told.contains(mistaken) && output.stdout.is_empty(), "{line}: {told}");
    }
    place.out("plan create pro");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_livechain"));
    command.args("key create --tenant acme --plan pro --config".split(' ')).arg(&place.config);
    let output = command.env("TEST_PEPPER", PEPPER).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "nobody has the key that was made");
    assert!(String::from_utf8_lossy(&output.stderr).contains("it is done, and cannot be written out"));
    let text = std::fs::read_to_string(&place.config).unwrap();
    let gone = text.replace("ledger.db", "no/such/folder/ledger.db");
    std::fs::write(&place.config, gone).unwrap();
    assert_eq!(place.run("tenant list").status.code(), Some(1));
    assert_eq!(place.run("key show 12").status.code(), Some(2), "what is wrong is told without the store");
}

#[test]
fn an_origin_is_stored_as_browsers_send_it() {
    let place = Place::new();
    let flags = "--origin HTTPS://App.Example:443 --origin https://*.app.example:* --origin http://localhost:3000";
    let plan = place.json(&format!("plan create pro {flags}"));
    assert_eq!(
        plan["terms"]["rules"]["origins"],
        serde_json::json!(["https://app.example", "https://*.app.example:*", "http://localhost:3000"])
    );
    place.out("tenant create acme");
    let key = place.json("key create --tenant acme --plan pro --origin https://APP.example --origin null");
    assert_eq!(key["rules"]["origins"], serde_json::json!(["https://app.example", "null"]));
    let id = key["id"].as_str().unwrap();
    let changed = place.json(&format!("key change {id} --origin https://B.example"));
    assert_eq!(changed["rules"]["origins"], serde_json::json!(["https://b.example"]));
}

#[test]
fn a_burst_goes_with_its_rate() {
    let place = Place::new();
    place.out("plan create pro --calls-per-second 5 --calls-burst 9 --units-per-second 50 --units-burst 90");
    let terms = place.json("plan change pro --calls-per-second none")["terms"].clone();
    assert_eq!(terms, serde_json::json!({"units_per_second": 50, "units_burst": 90}));
    let odd = place.run("plan change pro --units-per-second none --units-burst 100");
    assert_eq!(odd.status.code(), Some(2), "a burst of nothing was asked for");
    assert_eq!(place.json("plan change pro --units-per-second none")["terms"], serde_json::json!({}));
}

#[test]
fn no_key_is_made_under_another_pepper() {
    const OTHER: &str = "another pepper that is long enough to be one";
    const JSON: &str = "Content-Type: application/json\r\n";
    let place = Place::new();
    place.out("tenant create acme");
    place.out("plan create pro");
    let made = place.json("key create --tenant acme --plan pro");
    let id = made["id"].as_str().unwrap();
    for line in ["key create --tenant acme --plan pro", &format!("key rotate {id}")] {
        let refused = run_under(OTHER, &place.config, line);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "{line}: {told}");
        assert!(told.contains("tenants.pepper") && told.contains("revoke"), "{line}: {told}");
    }
    assert_eq!(place.json("key list")["keys"].as_array().unwrap().len(), 1, "nothing was made");
    // A node would know none of the keys.
    let provider = Provider::answering("\"0x1\"");
    let node = |pepper: &str| {
        let store = format!("store = \"sqlite:{}\"", place.dir.path().join("ledger.db").display());
        let setup = Setup::ethereum(&[&provider]).set("tenants", &store).set("tenants", "pepper = \"${TEST_PEPPER}\"");
        setup.env("TEST_PEPPER", pepper)
    };
    let mut refused = node(OTHER).launch();
    assert!(!refused.wait_end().success());
    let told = |log: &str| log.contains("tenants.pepper") && log.contains("revoke");
    eventually("it says why", || told(&refused.log()).then_some(()));
    drop(node(PEPPER).start());
    // On purpose: whoever has revoked all keys has none to lose.
    out(&run_under(OTHER, &place.config, &format!("key revoke {id}")), "key revoke");
    let node = node(OTHER).start();
    let order = r#"{"tenant": "acme", "plan": "pro"}"#;
    let made = admin(&node, "POST", "/api/keys", JSON, order);
    assert_eq!(made.status, 201, "{}", made.text());
    let key = serde_json::from_slice::<Value>(&made.body).unwrap()["key"].as_str().unwrap().to_owned();
    let good = || node.post(&format!("/v1/{key}/rpc/ethereum"), CALL).status == 200;
    eventually("the new key is good", || good().then_some(()));
    let refused = place.run("key create --tenant acme --plan pro");
    assert_eq!(refused.status.code(), Some(2), "the pepper of before is the other one now");
}

#[test]
fn usage_is_told_exactly_in_every_form() {
    let place = Place::new();
    place.out("tenant create acme");
    let mut store = place.store();
    let tenant = store.tenant("acme").unwrap().id;
    let row = |method, minute, calls| UsageRow {
        tenant,
        key: livechain::tenant::key::KeyId(7),
        chain: "ethereum".into(),
        method,
        provider: "alpha".into(),
        minute,
        usage: Usage { calls, billable: calls, units: calls * 26, ..Usage::default() },
    };
    // 2026-11-20 00:00, and the last minute of that day, and the first of the next.
    let day = 29_918_880;
    let rows =
        vec![row("eth_call", day, 3), row("eth_getLogs", day + 1439, 4_000_000_000), row("eth_call", day + 1440, 5)];
    store.commit(&UsageBatch { node: "a".into(), boot: 1, sequence: 1, rows }).unwrap();
    let window = "usage --tenant acme --from 2026-11-20 --to 2026-11-21";
    let csv = place.out(&format!("{window} --by method --format csv"));
    let names = "calls,billable,units,errors_client,errors_provider,errors_node,bytes_in,bytes_out,cache_hits,attempts";
    assert_eq!(
        csv,
        format!(
            "method,{names}\neth_call,3,3,78,0,0,0,0,0,0,0\n\
             eth_getLogs,4000000000,4000000000,104000000000,0,0,0,0,0,0,0\n"
        )
    );
    let json: Value = serde_json::from_str(&place.out(&format!("{window} --by key --format json"))).unwrap();
    assert_eq!(
        (&json["lines"][0]["group"], &json["total"]["calls"]),
        (&"0000000000000007".into(), &4_000_000_003_u64.into())
    );
    let table = place.out("usage --tenant acme --from 2026-11-20 --to 2026-11-22 --by day");
    let firsts: Vec<_> =
        table.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(firsts, ["day calls", "2026-11-20 4000000003", "2026-11-21 5", "total 4000000008"]);
}

fn admin(node: &Node, method: &str, path: &str, fields: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    Client::open(node.admin).send(format!("{head}{fields}Content-Length: {length}\r\n\r\n{body}")).answer()
}

#[test]
fn a_running_node_takes_what_the_admin_port_makes_and_what_the_command_line_revokes() {
    const JSON: &str = "Content-Type: application/json\r\n";
    let (shop, provider) = (Shop::new(), Provider::answering("\"0x1\""));
    let setup = shop.in_setup(Setup::ethereum(&[&provider]));
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("livechain.toml");
    std::fs::write(&config, setup.text()).unwrap();
    let node = setup.start();
    let good = |key: &str| node.post(&format!("/v1/{key}/rpc/ethereum"), CALL).status == 200;
    let plan = r#"{"name": "pro", "terms": {}}"#;
    for (method, path, fields, body, status) in [
        ("POST", "/api/plans", "", plan, 415),
        ("POST", "/api/plans", "Content-Type: text/plain\r\n", plan, 415),
        ("POST", "/api/plans", JSON, r#"{"name": "pro", "terms": {"call": 1}}"#, 400),
        ("POST", "/api/plans", JSON, r#"{"name": "pro", "terms": {"rules": {"origins": ["https://a*"]}}}"#, 400),
        ("POST", "/api/tenants", JSON, r#"{"name": "lc_live_000000000000000000000000000000000aaaaaa"}"#, 400),
        ("POST", "/api/plans", JSON, plan, 201),
        ("POST", "/api/plans", JSON, plan, 409),
        ("POST", "/api/keys", JSON, r#"{"tenant": "nobody", "plan": "pro"}"#, 404),
        ("POST", "/api/keys", JSON, "{", 400),
        ("POST", "/api/keys", JSON, r#"["acme", "pro"]"#, 400),
        ("PUT", "/api/plans/pro", JSON, r#"{"terms": []}"#, 400),
        ("DELETE", "/api/plans", "", "", 405),
        ("GET", "/api/keys?most=0", "", "", 400),
        ("GET", "/api/keys?mots=1", "", "", 400),
        ("GET", "/api/keys/lc_live_x", "", "", 400),
        ("GET", "/api/tenants/acme", "", "", 200),
        ("PATCH", "/api/tenants/acme", JSON, r#"{"note": "seventeen"}"#, 200),
        ("GET", "/api/usage?by=day&format=csv", "", "", 200),
    ] {
        let answer = admin(&node, method, path, fields, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        let error = || serde_json::from_slice::<Value>(&answer.body).unwrap()["error"].is_string();
        assert!(status < 300 || error(), "{method} {path}: {}", answer.text());
    }
    // Refused by its head: not a byte of it is waited for.
    let large = format!("POST /api/plans HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 99999999\r\n\r\n");
    let refused = Client::open(node.admin).send(large).answer();
    assert_eq!((refused.status, refused.text().trim()), (413, r#"{"error":"the body is too large"}"#));
    let made = admin(&node, "POST", "/api/keys", JSON, r#"{"tenant": "acme", "plan": "pro"}"#);
    assert_eq!(made.status, 201, "{}", made.text());
    let made: Value = serde_json::from_slice(&made.body).unwrap();
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    eventually("the key is good", || good(key).then_some(()));
    assert!(!admin(&node, "GET", "/api/keys", "", "").text().contains("lc_live_"));
    out(&run(&config, &format!("key revoke {id}")), "key revoke");
    eventually("the key is none", || (!good(key)).then_some(()));
    assert!(!node.log().contains(key) && !node.log().contains(PEPPER));
}
