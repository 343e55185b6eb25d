//! A checked config in a few lines that hold no secret, for `livechain check` and the log at start.

use std::fmt::{self, Write};
use std::net::SocketAddr;

use super::types::{Chain, Config, Provider, Url};

impl Config {
    /// What the config amounts to: the node, its addresses and cores, each chain with its providers.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_summary(&mut text);
        text.truncate(text.trim_end().len());
        text
    }

    fn write_summary(&self, to: &mut String) -> fmt::Result {
        writeln!(to, "node {} in {}, {} shards", self.node.id, self.node.region, self.shards.cores.len())?;
        let listed = |list: &[SocketAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let admin = self.listen.admin.map_or_else(|| "off".to_owned(), |admin| admin.to_string());
        for (scheme, list) in [("http", &self.listen.http), ("https", &self.listen.https)] {
            if !list.is_empty() {
                write!(to, "{scheme} on {}, ", listed(list))?;
            }
        }
        writeln!(to, "admin {admin}")?;
        for chain in &self.chains {
            write_chain(chain, to)?;
        }
        Ok(())
    }
}

fn write_chain(chain: &Chain, to: &mut String) -> fmt::Result {
    writeln!(to, "chain {} (id {}), {}", chain.name, chain.id, chain.strategy.name())?;
    for provider in &chain.providers {
        write_provider(provider, to)?;
    }
    Ok(())
}

fn write_provider(provider: &Provider, to: &mut String) -> fmt::Result {
    write!(to, "  {} {}", provider.id, shown(&provider.url, ["http", "https"]))?;
    if let Some(ws_url) = &provider.ws_url {
        write!(to, " {}", shown(ws_url, ["ws", "wss"]))?;
    }
    writeln!(to)
}

/// Scheme, host and port; what may hold a key is `***`.
fn shown(url: &Url, [plain, tls]: [&str; 2]) -> String {
    let scheme = if url.tls { tls } else { plain };
    let userinfo = if url.authorization.is_some() { "***@" } else { "" };
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let port = if url.port == if url.tls { 443 } else { 80 } { String::new() } else { format!(":{}", url.port) };
    let target = if url.target.expose() == "/" { "/" } else { "/***" };
    format!("{scheme}://{userinfo}{host}{port}{target}")
}
