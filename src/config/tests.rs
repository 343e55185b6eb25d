//! A config's text, and what is said about it.

use proptest::prelude::*;

use super::*;
use crate::routing::{ProbeConfig, RankingConfig, StandingConfig};

/// The least that is a config.
const CHAIN: &str =
    "[[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"a\"\nurl = \"http://a.example\"\n";

fn environment(name: &str) -> Option<String> {
    match name {
        "KEY" => Some("s3cret".to_owned()),
        "NOT_A_LABEL" => Some("s3cret words".to_owned()),
        "HOSTNAME" => Some("host-1".to_owned()),
        _ => None,
    }
}

fn parse(source: &str) -> Result<Config, Problems> {
    Config::parse(source, "test.toml", environment, &[0, 1, 2, 8])
}

fn fine(source: &str) -> Config {
    parse(source).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Checks that a text has these problems and no others: line, column, a part of the message. Line 0 is outside the file.
fn check(source: &str, expected: &[(usize, usize, &str)]) {
    let problems = parse(source).expect_err("a problem is expected");
    let found: Vec<(usize, usize, &str)> = problems
        .iter()
        .map(|problem| {
            let (line, column) = problem.position().map_or((0, 0), |at| (at.line, at.column));
            (line, column, problem.message())
        })
        .collect();
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, expected)| (found.0, found.1) == (expected.0, expected.1) && found.2.contains(expected.2));
    assert!(same, "expected {expected:#?}\nfound {found:#?}\n{problems}");
}

/// As [`check`], for keys written before the one chain that a config needs.
fn check_before_chain(source: &str, expected: &[(usize, usize, &str)]) {
    check(&format!("{source}\n{CHAIN}"), expected);
}

/// As [`check`], for keys of the one provider, from line 7 on.
fn check_provider(source: &str, expected: &[(usize, usize, &str)]) {
    check(&format!("{CHAIN}{source}\n"), expected);
}

#[test]
fn the_least_config_has_all_defaults() {
    let config = fine(CHAIN);
    assert_eq!((config.node.region.as_str(), config.node.id.as_str()), ("local", "host-1"));
    assert_eq!(config.listen.http, ["0.0.0.0:8545".parse().unwrap()]);
    assert_eq!(config.listen.admin, Some("127.0.0.1:9545".parse().unwrap()));
    assert_eq!(config.shards.cores, [0, 1, 2, 8]);
    assert_eq!(config.http.idle_timeout.as_secs(), 75);
    assert_eq!(config.http.body_bytes_max, 10 * 1024 * 1024);
    assert_eq!(config.rpc.blocked_methods.len(), 8);
    let classes: Vec<_> = config.rpc.deadlines.iter().map(|(class, _)| *class).collect();
    assert_eq!(classes, crate::jsonrpc::MethodClass::ALL);
    let chain = &config.chains[0];
    assert_eq!((chain.network_id, chain.block_time.as_secs()), (1, 12));
    assert_eq!(chain.strategy, crate::routing::Strategy::Fastest);
    assert_eq!((chain.providers[0].priority, chain.providers[0].weight), (1, 1));
}

#[test]
fn the_example_is_valid_without_any_variable() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(Config::default_path());
    let config = Config::load(&path, |_| None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.chains[0].providers.len(), 3);
}

#[test]
fn all_problems_are_told_at_once() {
    let source = r#"nod = 1
[listen]
http = ["0.0.0.0:8545", 7, "here:1"]
admin = true
[shards]
conections_max = 5
[http]
head_timeout = 10
body_bytes_max = "10MB"
[rpc]
batch_items_max = -1
deadlines = { head = "1s", reed = "2s" }
[breaker]
cooldown = "2m"
cooldown_max = "1m"
[log]
access_sample = 1.5
[[chains]]
id = "1"
strategy = "quickest"
[[chains.providers]]
url = "ftp://a.example"
weight = 0
"#;
    check(
        source,
        &[
            (1, 1, "unknown key `nod`; did you mean `node`?"),
            (3, 25, "expected an IP address and a port such as \"0.0.0.0:8545\" or \"[::]:8545\", found an integer"),
            (3, 28, "expected an IP address"),
            (4, 9, "or \"off\", found a boolean"),
            (6, 1, "did you mean `connections_max`?"),
            (8, 16, "expected a duration such as \"250ms\", \"12s\", \"2m\" or \"1h\", found an integer"),
            (9, 18, "expected a size"),
            (11, 19, "out of bounds: 1 to 10000"),
            (12, 28, "unknown key `reed`; did you mean `read`?"),
            (14, 12, "longer than the longest cooldown"),
            (17, 17, "out of bounds: 0 to 1"),
            (18, 1, "this chain has no `name`"),
            (19, 6, "expected a whole number, 1 to"),
            (20, 12, "expected a strategy"),
            (21, 1, "this provider has no `id`"),
            (22, 7, "the scheme must be `http` or `https`"),
            (23, 10, "out of bounds: 1 to 10000"),
        ],
    );
}

#[test]
fn the_shape_of_sections() {
    check_before_chain("node = 3", &[(1, 8, "expected a table, found an integer")]);
    check_before_chain("[[node]]", &[(1, 1, "expected a table, found an array")]);
    check_before_chain("[http]\ncors = \"*\"", &[(2, 8, "expected a table, found a string")]);
    check_before_chain("[http]\nprovider_header = \"yes\"", &[(2, 19, "expected a boolean, found a string")]);
    check_before_chain("[shards]\ncores = 2", &[(2, 9, "expected an array, found an integer")]);
    check("chains = 3", &[(1, 10, "expected an array, found an integer")]);
    check("[chains]\nname = \"a\"", &[(1, 1, "expected an array, found a table")]);
    check("chains = [3]", &[(1, 11, "expected a table, found an integer")]);
    check("", &[(0, 0, "no chain is configured")]);
    check("chains = []", &[(1, 10, "no chain is configured")]);
    check_provider("headers = 3", &[(7, 11, "expected a table")]);
    check_provider("regions = { eu = 3 }", &[(7, 18, "expected a table")]);
    check_provider("zzzz = 3", &[(7, 1, "unknown key `zzzz`; known here: id, url")]);
}

#[test]
fn broken_toml_is_one_problem() {
    check("[node]\nregion = \"a\nid = \"b\"\n", &[(2, 12, "not TOML: invalid basic string")]);
    check("[node]\nregion = a b\n", &[(2, 10, "not TOML")]);
    check("[node]\n[node]\n", &[(2, 2, "not TOML: duplicate key")]);
    check("a = [1,\nb = 2\n", &[(2, 3, "not TOML")]);
    check("\u{feff}[node", &[(1, 7, "not TOML")]);
}

#[test]
fn references_are_filled_after_parsing() {
    let config = fine(&format!("[node]\nregion = \"${{NONE:-eu}}-1\"\n{CHAIN}headers = {{ k = \"Bearer ${{KEY}}\" }}"));
    assert_eq!(config.node.region, "eu-1");
    assert_eq!(config.chains[0].providers[0].headers, [("k".to_owned(), Secret::new("Bearer s3cret"))]);
    check_before_chain(
        "[node]\nregion = \"${A}/${KEY}/${B}\"\nid = \"${\"",
        &[
            (2, 11, "the environment variable `A` is not set"),
            (2, 23, "the environment variable `B` is not set"),
            (3, 6, "`${` begins a reference"),
        ],
    );
    check_before_chain("[node]\nregion = \"${NOT_A_LABEL}\"", &[(2, 10, "(with the environment's values filled in)")]);
}

#[test]
fn the_environment_overrides_who_the_node_is() {
    let parse = |source: &str, set: &[(&str, &str)]| {
        let environment =
            |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Config::parse(&format!("{source}\n{CHAIN}"), "test.toml", environment, &[0])
    };
    let check = |source, set: &[(&str, &str)], region: &str, id: &str| {
        let node = parse(source, set).unwrap_or_else(|problems| panic!("{problems}")).node;
        assert_eq!((node.region.as_str(), node.id.as_str()), (region, id), "{source} {set:?}");
    };
    let file = "[node]\nregion = \"file\"\nid = \"file\"";
    check(file, &[], "file", "file");
    check(file, &[("HOSTNAME", "host")], "file", "file");
    check(file, &[("LASSO_NODE_ID", "lasso")], "file", "lasso");
    check(file, &[("LASSO_NODE_ID", "lasso"), ("LIVECHAIN_NODE_ID", "live")], "file", "live");
    check(file, &[("LIVECHAIN_REGION", "env")], "env", "file");
    check(file, &[("LIVECHAIN_REGION", "")], "file", "file");
    check("", &[], "local", "livechain");
    for (name, value) in [("LIVECHAIN_REGION", "a b"), ("LASSO_NODE_ID", "a/b"), ("HOSTNAME", "é")] {
        let problems = parse("", &[(name, value)]).expect_err("not a label");
        assert_eq!(problems.len(), 1, "{problems}");
        assert_eq!(problems.iter().next().and_then(Problem::position), None);
    }
}

#[test]
fn addresses() {
    let twice = "[listen]\nhttp = [\"0.0.0.0:1\", \"0.0.0.0:1\"]";
    check_before_chain(twice, &[(2, 22, "this address is listed twice")]);
    check_before_chain(
        "[listen]\nhttp = [\"127.0.0.1:1\", \"0.0.0.0:1\"]",
        &[(2, 9, "another address already covers this one")],
    );
    check_before_chain("[listen]\nhttp = []", &[(2, 8, "at least one address")]);
    check_before_chain("[listen]\nadmin = \"127.0.0.1:8545\"", &[(2, 9, "must not be a data port")]);
    check_before_chain("[listen]\nadmin = \"0.0.0.0:9545\"", &[(2, 9, "`admin_token` is needed")]);
    check_before_chain("[listen]\nadmin = \"0.0.0.0:9545\"\nadmin_token = \"\"", &[(3, 15, "a token has")]);
    check_before_chain("[listen]\nadmin = \"localhost:9545\"", &[(2, 9, "expected an IP address")]);
    let open = fine(&format!("[listen]\nadmin = \"[::]:9545\"\nadmin_token = \"${{KEY}}\"\n{CHAIN}"));
    assert_eq!(open.listen.admin_token, Some(Secret::new("s3cret")));
    assert_eq!(fine(&format!("[listen]\nadmin = \"off\"\n{CHAIN}")).listen.admin, None);
    assert_eq!(fine(&format!("[listen]\nhttp = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n{CHAIN}")).listen.http.len(), 2);
}

#[test]
fn cores() {
    let not_ours = "core 3 is not one that the process may use: 0-2, 8";
    check_before_chain("[shards]\ncores = [0, 3]", &[(2, 13, not_ours)]);
    check_before_chain("[shards]\ncores = [1, 0, 1]", &[(2, 16, "this core is listed twice")]);
    check_before_chain("[shards]\ncores = []", &[(2, 9, "at least one core")]);
    assert_eq!(fine(&format!("[shards]\ncores = [8, 1]\n{CHAIN}")).shards.cores, [8, 1]);
}

#[test]
fn limits_that_contradict_each_other() {
    check_before_chain(
        "[rpc]\nbatch_items_max = 8\nbatch_in_flight_max = 9",
        &[(3, 23, "more items in flight than a batch may have")],
    );
    check_before_chain("[rpc]\nbatch_in_flight_max = 101", &[(2, 23, "more items in flight")]);
    check_before_chain("[breaker]\ncooldown = \"2m\"", &[(2, 12, "(`cooldown_max`), whose default holds: set both")]);
    check_before_chain("[upstream]\nconnections_warm = 257", &[(2, 20, "more warm connections")]);
    check_before_chain("[http.cors]\norigins = [\"https://a.example\", \"*\"]", &[(2, 33, "stands alone")]);
}

#[test]
fn a_default_gives_way_to_a_written_bound() {
    let config = fine(&format!(
        "[rpc]\nbatch_items_max = 8\n[upstream]\nconnections_max = 1\n[breaker]\ncooldown_max = \"1s\"\n{CHAIN}"
    ));
    assert_eq!(config.rpc.batch_in_flight_max, 8);
    assert_eq!(config.upstream.connections_warm, 1);
    assert_eq!(config.breaker.by.cooldown.as_secs(), 1);
}

#[test]
fn heads_are_asked_for_before_the_last_word_is_old() {
    check_before_chain(
        "[probes]\nevery_busy = \"3m\"",
        &[(2, 14, "(`heads.believed`), whose default holds: set both")],
    );
    check_before_chain("[probes]\nevery = \"1m\"", &[(2, 9, "(`every_busy`), whose default holds: set both")]);
    let config = fine(&format!("[heads]\nbelieved = \"5s\"\n{CHAIN}"));
    let ProbeConfig { every, every_busy, lease, .. } = config.probes.pace;
    assert_eq!((every.as_secs(), every_busy.as_secs(), lease.as_secs()), (5, 5, 15));
    let config = fine(&format!("[probes]\ntimeout = \"1m\"\n{CHAIN}"));
    assert_eq!((config.probes.enabled, config.probes.pace.lease.as_secs()), (true, 70));
}

#[test]
fn hedges_wait_between_their_floor_and_their_cap() {
    check_before_chain("[hedging]\nfloor = \"2s\"", &[(2, 9, "(`cap`), whose default holds: set both")]);
    check_before_chain("[hedging]\nraced_methods = [\"eth_*x\"]", &[(2, 18, "`*` at the end")]);
    let config = fine(&format!("[hedging]\ncap = \"5ms\"\nraced_methods = [\"eth_send*\"]\n{CHAIN}"));
    assert_eq!((config.hedging.by.floor.as_millis(), config.hedging.by.budget_percent), (5, 5));
    assert_eq!(config.hedging.raced_methods, ["eth_send*"]);
}

#[test]
fn a_chain_may_say_how_far_its_providers_may_lag() {
    for (line, lag) in [("", 3), ("block_time = \"2s\"\n", 15), ("max_lag_blocks = 0\n", 0)] {
        let config = fine(&CHAIN.replace("id = 1\n", &format!("id = 1\n{line}")));
        assert_eq!(config.chains[0].head_limits(&config.heads).max_lag, lag, "{line}");
    }
}

#[test]
fn chains_and_providers_are_told_apart() {
    let again = CHAIN.replace("id = \"a\"", "id = \"b\"");
    check(&format!("{CHAIN}{again}"), &[(8, 8, "another chain has this name"), (9, 6, "another chain has this id")]);
    let provider = "[[chains.providers]]\nid = \"a\"\nurl = \"http://b.example\"";
    check_provider(provider, &[(8, 6, "another provider of this chain has this id")]);
    check("[[chains]]\nname = \"a\"\nid = 1", &[(1, 1, "this chain has no provider")]);
    check("[[chains]]\nname = \"a\"\nid = 1\nproviders = []", &[(4, 13, "at least one provider")]);
    check_provider("[[chains]]", &[(7, 1, "no `name`"), (7, 1, "no `id`"), (7, 1, "no provider")]);
    check(&CHAIN.replace("\"ethereum\"", "\"1\""), &[(2, 8, "not digits alone")]);
    check(&CHAIN.replace("id = 1", "id = 18446744073709551616"), &[(3, 6, "does not fit 64 bits")]);
    check(&CHAIN.replace("id = 1", "id = 0"), &[(3, 6, "out of bounds")]);
}

#[test]
fn calls_over_websocket_need_somewhere_to_go() {
    check_provider("calls = \"websocket\"", &[(7, 9, "calls over WebSocket need `ws_url`")]);
    check_provider("calls = \"pigeon\"", &[(7, 9, "expected what calls go over")]);
    let provider = &fine(&format!("{CHAIN}ws_url = \"wss://a.example\"\ncalls = \"websocket\"")).chains[0].providers[0];
    assert_eq!(provider.calls, CallsOver::WebSocket);
    // The handshake is the node's own to write.
    let headers = "[chains.providers.headers]\nSec-WebSocket-Protocol = \"json\"";
    check_provider(headers, &[(8, 1, "`sec-websocket-protocol` is set by the proxy itself")]);
}

#[test]
fn regions_choose_urls() {
    let source = format!(
        "[node]\nregion = \"eu\"\n{CHAIN}ws_url = \"wss://a.example\"\n\
         [chains.providers.regions.eu]\nurl = \"https://eu.example\"\n[chains.providers.regions.us]\nurl = \"https://us.example\"\n"
    );
    let provider = &fine(&source).chains[0].providers[0];
    assert_eq!(provider.url.host, "eu.example");
    assert_eq!(provider.ws_url.as_ref().map(|url| url.host.as_str()), Some("a.example"));
    check_provider("[chains.providers.regions.eu]", &[(7, 27, "this region needs `url`, `ws_url` or both")]);
    check_provider(
        "[chains.providers.regions.\"e u\"]\nurl = \"\"",
        &[(7, 27, "expected a name"), (8, 7, "not a URL")],
    );
}

#[test]
fn headers_are_http() {
    let check = |headers: &str, expected: &[(usize, usize, &str)]| {
        check_provider(&format!("[chains.providers.headers]\n{headers}"), expected);
    };
    check("\"a b\" = \"v\"", &[(8, 1, "letters, digits and `-`")]);
    check("Host = \"v\"", &[(8, 1, "`host` is set by the proxy itself")]);
    check("content-length = \"1\"", &[(8, 1, "set by the proxy")]);
    check("k = \"a\\r\\nb\"", &[(8, 5, "visible ASCII")]);
    check("k = 5", &[(8, 5, "expected a header's value, found an integer")]);
    check("k = \"a\"\nK = \"b\"", &[(9, 1, "given twice")]);
}

#[test]
fn errors_have_rules() {
    let config = fine(&format!(
        "{CHAIN}[[chains.providers.errors]]\ncode = -32099\ncontains = \"slow down\"\nclass = \"rate_limited\"\n"
    ));
    let expected = crate::jsonrpc::Override {
        code: Some(-32099),
        contains: Some("slow down".to_owned()),
        class: crate::jsonrpc::Class::RateLimited,
        scope: crate::jsonrpc::Scope::Provider,
    };
    assert_eq!(config.chains[0].providers[0].errors, [expected]);
    let scoped =
        |class| format!("[[chains.providers.errors]]\ncode = 1\nclass = \"{class}\"\nscope = \"method_class\"\n");
    let config = fine(&format!("{CHAIN}{}", scoped("rate_limited")));
    assert_eq!(config.chains[0].providers[0].errors[0].scope, crate::jsonrpc::Scope::MethodClass);
    check_provider(&scoped("quota"), &[(10, 9, "only a rate limit can be of one method class alone")]);
    check_provider(&scoped("quota").replace("method_class", "method"), &[(10, 9, "expected a scope")]);
    check_provider(
        "[[chains.providers.errors]]\ncode = 9999999999\n[[chains.providers.errors]]\nclass = \"slow\"\n[[chains.providers.errors]]\ncontains = \"\"\nclass = \"auth\"",
        &[
            (7, 1, "this rule has no `class`"),
            (8, 8, "out of bounds"),
            (9, 1, "this rule needs `code`, `contains` or both"),
            (10, 9, "expected a class of errors: execution, range_too_large"),
            (12, 12, "expected 1 to 256 bytes"),
        ],
    );
}

#[test]
fn credentials_come_from_one_place() {
    let chain = CHAIN.replace("http://", "http://user:s3cret@");
    check(&format!("{chain}headers = {{ Authorization = \"x\" }}"), &[(7, 13, "sent as `authorization` too")]);
    let authorization = fine(&chain).chains[0].providers[0].url.authorization.clone();
    assert_eq!(authorization, Some(Secret::new("Basic dXNlcjpzM2NyZXQ=")));
}

#[test]
fn a_problem_is_drawn_over_its_line() {
    let source = format!("{CHAIN}{}", CHAIN.replace("id = 1", "id = 1 # s3cret"));
    let drawn = parse(&source.replace("ethereum", "eth")).unwrap_err().to_string();
    let expected = r#"error: another chain has this name already
 --> test.toml:8:8
  |
2 | name = "eth"
  |        ----- first here
...
8 | name = "eth"
  |        ^^^^^

error: another chain has this id already
 --> test.toml:9:6
  |
3 | id = 1
  |      - first here
...
9 | id = 1
  |      ^

2 problems in test.toml"#;
    assert_eq!(drawn, expected, "{drawn}");
}

#[test]
fn of_a_url_scheme_and_host_are_shown() {
    let check = |url: &str, shown: &str| {
        let drawn = parse(&CHAIN.replace("http://a.example", url)).unwrap_err().to_string();
        assert!(drawn.contains(&format!("url = \"{shown}\"")), "{url}\n{drawn}");
        assert!(!drawn.contains("s3cret"), "{drawn}");
    };
    check("https://a.example/s3cret#", "https://a.example********");
    check("https://u:s3cret@a.example/#", "https://*********a.example**");
    check("https://a.example:1/?k=s3cret#", "https://a.example:1***********");
    check("https://u:s3/cret@a.example/#", "https://*********************");
    // Beyond doubt it is only where no later `@` makes it a user's name.
    check("https://s3:12/cret@a.example/#", "https://**********************");
    check("https://${KEY}.a.example/${KEY}#", "https://${KEY}.a.example*${KEY}*");
    check("${NONE:-s3cret}:", "${NONE**********");
    check("s3cret", "******");
    check("ftp://s3cret@a", "**************");
}

/// Texts with the secret in each place where one may be, beside a fault that draws the line.
const WITH_SECRETS: [&str; 20] = [
    "[listen]\nadmin_token = \"s3cret s\"\n",
    "[listen]\nadmin_tokn = \"s3cret\"\n",
    "[listen]\nadmin_token = 's3cret\n",
    "[listen]\nadmin_token = s3cret\n",
    "[listen]\nadmin_token = \"\"\"\nregion = s3cret\n",
    "[listen]\nadmin_token = [\"s3cret\"]\n",
    "[listen]\nadmin_token = { s = \"s3cret\" }\n",
    "[listen]\nhttp = 3 # s3cret\n",
    "node = { region = \"a b\", x = \"s3cret\" } # \"s3cret\n",
    "[node]\nregion = \"${NOT_A_LABEL}\"\n",
    "[[chains]]\nproviders = [{ url = \"https://h/s3cret#\", ws_url = \"https://h/s3cret\" }]\n",
    "[[chains]]\nproviders = [{ url = \"https://s3cret@h/#\", headers = { k = \"s3cret\\n\" } }]\n",
    "[[chains]]\nproviders = [{ url = \"https://h/${KEY}#\", headers = { k = \"${KEY}\\n\" } }]\n",
    "[[chains]]\nproviders = [{ url = \"https://h/${KEY:-s3cret}#\" }]\n",
    "[[chains]]\nproviders = [{ headers = { \"s3cret x\" = \"s3cret\" } }]\n",
    "[[chains]]\nproviders = [{ regions = { eu = { url = \"https://h:0/s3cret\", id = \"s3cret\" } } }]\n",
    "[[chains]]\nurl = \"https://h/s3cret\"\nproviders = \"s3cret\"\n",
    "[[chains]]\n[[chains.providers]]\nurl = https://h/s3cret\n",
    "[[chains]]\n[[chains.providers]]\nheaders = {\n  region = s3cret\n",
    "\"https://h/s3cret\" = 1\n",
];

#[test]
fn no_rendering_shows_a_secret() {
    for source in WITH_SECRETS {
        let problems = parse(source).expect_err(source);
        for shown in [problems.to_string(), problems.render(true), format!("{problems:?}")] {
            assert!(!shown.contains("s3cret"), "{source}\n{shown}");
        }
    }
    let source = format!(
        "[listen]\nadmin_token = \"s3cret\"\n{CHAIN}ws_url = \"wss://u:s3cret@h/s3cret?s3cret\"\n\
         headers = {{ k = \"s3cret\" }}\nregions = {{ local = {{ url = \"https://s3cret@h/${{KEY}}\" }} }}\n"
    );
    let config = fine(&source);
    assert!(config.chains[0].providers[0].url.target.expose().contains("s3cret"));
    assert!(!format!("{config:?} {config:#?}").contains("s3cret"));
}

#[test]
fn many_problems_are_counted() {
    let source = "[[chains]]\n".repeat(200);
    let problems = parse(&source).expect_err("nothing is in them");
    assert_eq!(problems.len(), 600);
    assert!(problems.to_string().ends_with("… and 500 more\n\n600 problems in test.toml"));
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("livechain.toml");
    let check = |bytes: Option<&[u8]>, words: &str| {
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let problems = Config::load(&path, |_| None).expect_err(words);
        assert!(problems.len() == 1 && problems.to_string().contains(words), "{problems}");
    };
    check(None, "the file cannot be read");
    check(Some(b"\xff"), "the file cannot be read");
    check(Some(&vec![b'\n'; limits::CONFIG_BYTES_MAX + 1]), "the file is longer");
    let ca = format!("[upstream]\nca_file = \"{}\"\n{CHAIN}", path.display());
    check(Some(ca.as_bytes()), "it holds none in PEM");
    check(Some(ca.replace("livechain.toml", "none.pem").as_bytes()), "no certificates can be read");
}

#[test]
fn what_ranking_and_breakers_go_by_is_read_within_bounds() {
    let wrong = [
        ("[ranking]\npercentile = 1", 2, 14, "out of bounds: 0.5 to 0.99"),
        ("[ranking]\nexplore_share = -1", 2, 17, "out of bounds: 0 to 0.5"),
        ("[ranking]\nwidening = nan", 2, 12, "out of bounds: 0 to 10"),
        ("[ranking]\nchange_sum = \"8\"", 2, 14, "expected a number, 1 to 1000"),
        ("[ranking]\ninterval = \"10ms\"", 2, 12, "out of bounds: 50ms to 2s"),
        ("[breaker]\ntrials = 8", 2, 10, "out of bounds: 1 to 7"),
        ("[cooldown]\nfirst = \"2m\"", 2, 9, "(`max`), whose default holds: set both"),
    ];
    for (text, line, column, words) in wrong {
        check_before_chain(text, &[(line, column, words)]);
    }
    let text = "[ranking]\nwidening = 2\nsamples_max = 50\n[breaker]\nratio_window = \"3s\"\n[cooldown]\npark = \"1m\"";
    let config = fine(&format!("{text}\n{CHAIN}"));
    let expected = RankingConfig { widening: 2.0, samples_max: 50.0, ..RankingConfig::DEFAULT };
    assert_eq!(config.ranking.by, expected);
    assert_eq!((config.breaker.ratio_window.as_secs(), config.cooldown.park.as_secs()), (3, 60));
    assert_eq!(fine(CHAIN).standing(), StandingConfig::default());
}

/// Lines of a config and what damages them, so that arbitrary texts reach beyond the parser.
fn toml_ish() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("[[chains]]\n".to_owned()),
        Just("[[chains.providers]]\n".to_owned()),
        Just("[chains.providers.regions.eu]\n".to_owned()),
        Just("[chains.providers.headers]\n".to_owned()),
        "\\[(node|listen|shards|http|http\\.cors|rpc|rpc\\.deadlines|upstream|ranking|breaker|cooldown|life|log)\\]\n",
        "(region|id|name|http|admin|cores|url|ws_url|weight|level|origins|k|\"q é\"|'#') = ([0-9]{1,3}|-1|1\\.5|true|1979-05-27|\\[[0-9, ]{0,6}\\]|\"[a-z0-9:/.${}@#é🞶-]{0,20}\"|'''\n[a-z]{0,3}''') ?(#.{0,5})?\n",
        "(url|ws_url) = \"(https|ws)://[a-z$@{}:/.]{0,12}\"\n",
        "\\PC{0,12}\n?",
    ];
    proptest::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn no_text_panics(source in toml_ish()) {
        if let Err(problems) = parse(&source) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.to_string().contains("test.toml"));
        }
    }

    #[test]
    fn no_bytes_panic(source in "(?s).{0,64}") {
        if let Err(problems) = parse(&source) {
            prop_assert!(!problems.is_empty());
            prop_assert!(!problems.render(true).is_empty());
        }
    }
}
