//! A changed config file, taken over while the node runs.
//!
//! All or nothing: a file with a problem is refused, its problems are logged, and what ran goes on. What was decided when
//! the process started (sockets, threads, the log's writer) stays as it is and is told; for those there is the upgrade.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;

use super::tls;
use crate::config::Config;

/// A config fit to be published.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) config: Arc<Config>,
    pub(super) tls: Arc<ClientConfig>,
}

/// Reads `path` again. `None` when it is refused; why is in the log.
pub(super) fn load(path: &Path, running: &Config) -> Option<Reload> {
    let mut config = match Config::load(path, |name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(problems) => {
            // Masked as they are drawn.
            for line in problems.render(false).lines() {
                tracing::error!("{line}");
            }
            tracing::error!(problems = problems.len(), "reload refused; the last config goes on");
            return None;
        }
    };
    for what in keep_fixed(&mut config, running) {
        tracing::warn!("{what} changed; the change waits for a restart or an upgrade");
    }
    match tls::client_config(config.upstream.ca_file.as_deref()) {
        Ok(tls) => Some(Reload { config: Arc::new(config), tls }),
        Err(error) => {
            tracing::error!(%error, "reload refused; the last config goes on");
            None
        }
    }
}

/// Puts back what a running process cannot change; answers what that was.
fn keep_fixed(config: &mut Config, running: &Config) -> Vec<&'static str> {
    let mut kept = Vec::new();
    keep("[listen] http", &mut config.listen.http, &running.listen.http, &mut kept);
    keep("[listen] admin", &mut config.listen.admin, &running.listen.admin, &mut kept);
    keep("[shards] cores", &mut config.shards.cores, &running.shards.cores, &mut kept);
    keep("[shards] spin_us", &mut config.shards.spin, &running.shards.spin, &mut kept);
    keep("[life] upgrade", &mut config.life.upgrade, &running.life.upgrade, &mut kept);
    keep("[log] format", &mut config.log.format, &running.log.format, &mut kept);
    // The new file was checked against its own admin address, which may be one that needs no token.
    let open = config.listen.admin.is_some_and(|address| !address.ip().is_loopback());
    if open && config.listen.admin_token.is_none() {
        keep("[listen] admin_token", &mut config.listen.admin_token, &running.listen.admin_token, &mut kept);
    }
    kept
}

fn keep<T: Clone + PartialEq>(what: &'static str, new: &mut T, running: &T, kept: &mut Vec<&'static str>) {
    if new != running {
        new.clone_from(running);
        kept.push(what);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const CHAINS: &str = r#"
        [[chains]]
        name = "ethereum"
        id = 1
        [[chains.providers]]
        id = "alpha"
        url = "https://alpha.example/k3y"
    "#;

    fn config(more: &str) -> Config {
        Config::parse(&format!("{more}\n{CHAINS}"), "test", |_| None, &[0, 1]).unwrap()
    }

    #[test]
    fn what_a_process_cannot_change_stays() {
        let running = config("[shards]\ncores = [0]\n[listen]\nhttp = [\"127.0.0.1:8545\"]");
        let cases: [(&str, &[&str]); 5] = [
            ("[shards]\ncores = [0]", &["[listen] http"]),
            ("[listen]\nhttp = [\"127.0.0.1:8545\"]", &["[shards] cores"]),
            (
                "[shards]\ncores = [0]\n[listen]\nhttp = [\"127.0.0.1:8545\"]\nadmin = \"off\"\n[log]\nformat = \"json\"",
                &["[listen] admin", "[log] format"],
            ),
            (
                "[shards]\ncores = [0]\n[listen]\nhttp = [\"127.0.0.1:8545\"]\n[life]\nupgrade = false",
                &["[life] upgrade"],
            ),
            ("[shards]\ncores = [0]\nconnections_max = 7\n[listen]\nhttp = [\"127.0.0.1:8545\"]", &[]),
        ];
        for (text, expected) in cases {
            let mut new = config(text);
            assert_eq!(keep_fixed(&mut new, &running), expected, "{text}");
            assert_eq!(new.listen, running.listen);
            assert_eq!(new.shards.cores, running.shards.cores);
        }
    }

    #[test]
    fn an_open_admin_port_keeps_its_token() {
        let running = config("[listen]\nadmin = \"0.0.0.0:9545\"\nadmin_token = \"0123456789abcdef0123456789abcdef\"");
        let mut new = config("[listen]\nadmin = \"127.0.0.1:9545\"");
        assert_eq!(keep_fixed(&mut new, &running).len(), 2);
        assert_eq!(new.listen, running.listen);
        let mut new = config("[listen]\nadmin = \"0.0.0.0:9545\"\nadmin_token = \"another0123456789another01234567\"");
        assert!(keep_fixed(&mut new, &running).is_empty(), "a new token is taken over");
    }

    #[test]
    fn a_bad_file_is_refused() {
        let running = config("");
        let load_text = |text: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            load(file.path(), &running)
        };
        assert!(load_text(CHAINS).is_some());
        assert!(load_text("[nodes]").is_none());
        assert!(load(Path::new("/nowhere.toml"), &running).is_none());
    }
}
