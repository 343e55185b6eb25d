//! `livechain demo`: a whole node to try without a network, before three providers that it brings along.
//!
//! The providers are real HTTP servers on loopback ports, on a thread of their own, so that the node does with them what
//! it does with any other: a fast one, a slow one, and one that fails every tenth call. They answer like nodes of one
//! chain whose head moves (`demo/chain.rs`), so that what is shown is an answer's way, not a fixture.

mod chain;
mod methods;
mod provider;
mod socket;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{self, Config};
use crate::control::{self, RunError, Serving};
use provider::{Provider, Temper};

/// What the providers are like.
const PROVIDERS: [(&str, Temper); 3] = [
    ("fast", Temper { delay: Duration::from_millis(2), fails_every: None }),
    ("slow", Temper { delay: Duration::from_millis(40), fails_every: None }),
    ("flaky", Temper { delay: Duration::from_millis(5), fails_every: Some(10) }),
];

const HEAD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}"#;

const HEADS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;

const BATCH: &str = r#"[{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]},{"jsonrpc":"2.0","id":2,"method":"eth_getBlockByNumber","params":["latest",false]}]"#;

/// Calls to try: what they show, curl's arguments, path and body.
const CALLS: [(&str, &str, &str, &str); 5] = [
    ("A call; the headers say who answered", "-si", "/rpc/ethereum", HEAD),
    ("A batch", "-s", "/rpc/ethereum", BATCH),
    ("What it took: see Server-Timing", "-si", "/rpc/ethereum?meta=1", HEAD),
    ("Another strategy, by the chain's id", "-s", "/rpc/load-balanced/1", HEAD),
    ("One provider, failing now and then", "-s", "/rpc/provider/flaky/ethereum", HEAD),
];

/// Where the demo listens.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub listen: SocketAddr,
    /// A loopback address: the demo has no token.
    pub admin: SocketAddr,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("the demo's providers: {0}")]
    Providers(#[from] io::Error),
    #[error("{0}")]
    Config(#[from] config::Problems),
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Starts the providers, then a node before them, until it is told to stop.
pub fn run(options: Options) -> Result<(), DemoError> {
    let mut providers = Vec::with_capacity(PROVIDERS.len());
    for (id, temper) in PROVIDERS {
        providers.push((id, provider::serve(Provider::new(id, temper))?));
    }
    let text = config_text(options, &providers);
    let environment = |name: &str| std::env::var(name).ok();
    let config = Config::parse(&text, "the demo's config", environment, &config::cores_available())?;
    control::run_then(config, None, |serving| {
        // Nobody reads it where standard output is closed; the node runs all the same.
        let _ = io::stdout().write_all(welcome(serving).as_bytes());
    })?;
    Ok(())
}

fn config_text(options: Options, providers: &[(&str, SocketAddr)]) -> String {
    let Options { listen, admin } = options;
    let mut text = format!(
        r#"
        [node]
        region = "demo"
        id = "demo"
        [listen]
        http = ["{listen}"]
        admin = "{admin}"
        [life]
        drain_delay = "0s"
        drain_limit = "5s"
        upgrade = false
        [[chains]]
        name = "ethereum"
        id = 1
        block_time = "{}s"
        strategy = "fastest"
        "#,
        chain::BLOCK_TIME.as_secs()
    );
    for (id, address) in providers {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "[[chains.providers]]\nid = \"{id}\"\nurl = \"http://{address}\"\nws_url = \"ws://{address}\""
        );
    }
    text
}

/// What runs, and lines to paste.
fn welcome(serving: &Serving) -> String {
    let node = serving.http.first().map_or_else(String::new, ToString::to_string);
    let admin = serving.admin.map_or_else(String::new, |address| address.to_string());
    let providers: String = PROVIDERS.iter().map(|(id, temper)| describe(id, *temper)).collect();
    let calls: String = CALLS.iter().map(|call| line(&node, call)).collect();
    format!(
        "\nLivechain runs before three providers of one chain, \"ethereum\" (id 1), whose head moves \
         every {} s:\n{providers}{calls}\n# Every new head, over a WebSocket\n\
         npx --yes wscat -c 'ws://{node}/rpc/ethereum' -x '{HEADS}' -w 10\n\n# The node\ncurl -s 'http://{node}/api/status'\n\n\
         # Its operator's pages\ncurl -s 'http://{admin}/api/providers'\n\
         curl -s 'http://{admin}/metrics'\n\nCtrl-C ends it.\n",
        chain::BLOCK_TIME.as_secs()
    )
}

fn line(node: &str, (title, arguments, path, body): &(&str, &str, &str, &str)) -> String {
    format!("\n# {title}\ncurl {arguments} 'http://{node}{path}' -d '{body}'\n")
}

fn describe(id: &str, temper: Temper) -> String {
    let fails = temper.fails_every.map(|every| format!(", fails every {every}th call"));
    format!("  {id:<6} answers in {} ms{}\n", temper.delay.as_millis(), fails.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_config_has_no_problem() {
        let options = Options { listen: "127.0.0.1:8545".parse().unwrap(), admin: "127.0.0.1:9545".parse().unwrap() };
        let providers = [("fast", options.listen), ("slow", options.listen)];
        let config = Config::parse(&config_text(options, &providers), "demo", |_| None, &[0]).unwrap();
        assert_eq!(config.chains[0].providers.len(), 2);
        assert_eq!(config.listen.admin, Some(options.admin));
    }

    #[test]
    fn the_lines_name_where_it_listens() {
        let serving = Serving {
            http: vec!["127.0.0.1:18545".parse().unwrap()],
            https: vec![],
            admin: Some("127.0.0.1:19545".parse().unwrap()),
        };
        let text = welcome(&serving);
        assert!(text.contains("curl -si 'http://127.0.0.1:18545/rpc/ethereum' -d '{\"jsonrpc\""), "{text}");
        assert!(text.contains("'http://127.0.0.1:19545/metrics'"), "{text}");
    }
}
