//! A changed config file, taken over while the node runs.
//!
//! All or nothing: a file with a problem is refused, its problems are logged, and what ran goes on. What was decided when
//! the process started (sockets, threads, the log's writer) stays as it is and is told; for those there is the upgrade.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;

use super::entrance::Made;
use super::tls;
use crate::config::{Config, Listen, Tenants};

/// A config fit to be published.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) config: Arc<Config>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) entrance: Made,
}

/// Reads `path` again. `None` when it is refused; why is in the log.
pub(super) fn load(path: &Path, running: &Config, entrance: &Made) -> Option<Reload> {
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
    let refused = |error: &dyn std::error::Error| tracing::error!(%error, "reload refused; the last config goes on");
    let entrance = Made::new(&config.listen, Some(entrance)).map_err(|error| refused(&error)).ok()?;
    let tls = tls::client_config(config.upstream.ca_file.as_deref()).map_err(|error| refused(&error)).ok()?;
    Some(Reload { config: Arc::new(config), tls, entrance })
}

/// Puts back what a running process cannot change; answers what that was.
fn keep_fixed(config: &mut Config, running: &Config) -> Vec<&'static str> {
    let mut kept = Vec::new();
    keep("[listen] http", &mut config.listen.http, &running.listen.http, &mut kept);
    keep_https(&mut config.listen, &running.listen, &mut kept);
    keep_admin(&mut config.listen, &running.listen, &mut kept);
    keep("[shards] cores", &mut config.shards.cores, &running.shards.cores, &mut kept);
    keep("[shards] spin_us", &mut config.shards.spin, &running.shards.spin, &mut kept);
    keep("[life] upgrade", &mut config.life.upgrade, &running.life.upgrade, &mut kept);
    keep("[log] format", &mut config.log.format, &running.log.format, &mut kept);
    keep_tenants(&mut config.tenants, running.tenants.as_ref(), &mut kept);
    kept
}

/// The new file was checked against its own addresses, which may be such as need no certificate. A port that stays open goes
/// on showing one, and asking for its clients'.
fn keep_https(new: &mut Listen, running: &Listen, kept: &mut Vec<&'static str>) {
    if !keep("[listen] https", &mut new.https, &running.https, kept) {
        return;
    }
    keep("[listen] client_ca", &mut new.client_ca, &running.client_ca, kept);
    if !new.https.is_empty() && new.certificates.is_empty() {
        keep("[listen] certificates", &mut new.certificates, &running.certificates, kept);
    }
}

/// Likewise: what guards an admin port that others than this machine reach, stays. With its TLS, so that a token does not
/// come to go in the clear.
fn keep_admin(new: &mut Listen, running: &Listen, kept: &mut Vec<&'static str>) {
    let moved = keep("[listen] admin", &mut new.admin, &running.admin, kept);
    let open = new.admin.is_some_and(|address| !address.ip().to_canonical().is_loopback());
    if !(moved && open) {
        return;
    }
    keep("[listen] admin_cert", &mut new.admin_tls, &running.admin_tls, kept);
    if new.admin_token.is_none() {
        keep("[listen] admin_token", &mut new.admin_token, &running.admin_token, kept);
    }
}

/// The store is opened once, and what is kept in it hashed under one pepper.
fn keep_tenants(new: &mut Option<Tenants>, running: Option<&Tenants>, kept: &mut Vec<&'static str>) {
    match (&mut *new, running) {
        (Some(new), Some(running)) => {
            keep("[tenants] store", &mut new.store, &running.store, kept);
            keep("[tenants] pepper", &mut new.pepper, &running.pepper, kept);
            keep("[tenants] retention", &mut new.retention, &running.retention, kept);
            keep("[tenants.fleet]", &mut new.fleet, &running.fleet, kept);
        }
        (None, None) => {}
        _ => {
            *new = running.cloned();
            kept.push("[tenants]");
        }
    }
}

/// Answers whether there was something to put back.
fn keep<T: Clone + PartialEq>(what: &'static str, new: &mut T, running: &T, kept: &mut Vec<&'static str>) -> bool {
    let differs = new != running;
    if differs {
        new.clone_from(running);
        kept.push(what);
    }
    differs
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
    fn an_open_port_goes_on_asking_for_certificates() {
        let own = "certificates = [{ cert = \"/own.pem\", key = \"/key.pem\" }]";
        let required = format!("https = [\"127.0.0.1:8443\"]\n{own}\nclient_ca = \"/ca.pem\"");
        let optional = format!("{required}\nclient_certificates = \"optional\"");
        let cases: [(&str, &str, &[&str]); 5] = [
            (&required, "", &["[listen] https", "[listen] client_ca", "[listen] certificates"]),
            (&optional, "", &["[listen] https", "[listen] client_ca", "[listen] certificates"]),
            (&required, own, &["[listen] https", "[listen] client_ca"]),
            (&required, &optional.replace("8443", "9443"), &["[listen] https", "[listen] client_ca"]),
            // The port stays, and what it asks for is changed on purpose.
            (&required, &optional, &[]),
        ];
        for (running, new, expected) in cases {
            let running = config(&format!("[listen]\n{running}"));
            let mut new = config(&format!("[listen]\n{new}"));
            assert_eq!(keep_fixed(&mut new, &running), expected, "{:?}", new.listen);
            if !expected.is_empty() {
                assert_eq!(new.listen, running.listen);
            }
        }
    }

    #[test]
    fn an_open_admin_port_keeps_its_tls() {
        const TOKEN: &str = "admin_token = \"0123456789abcdef0123456789abcdef\"";
        const OPEN: &str = "[listen]\nadmin = \"0.0.0.0:9545\"";
        const LOCAL: &str = "[listen]\nadmin = \"127.0.0.1:9545\"";
        const TLS: &str = "admin_cert = \"/own.pem\"\nadmin_key = \"/key.pem\"";
        const CA: &str = "admin_client_ca = \"/ca.pem\"";
        let tls_and_token = format!("{OPEN}\n{TLS}\n{TOKEN}");
        let certified = format!("{OPEN}\n{TLS}\n{CA}");
        let plain = format!("{OPEN}\n{TOKEN}");
        for (running, new, expected) in [
            (&tls_and_token, format!("{LOCAL}\n{TOKEN}"), &["[listen] admin", "[listen] admin_cert"][..]),
            (&certified, LOCAL.to_owned(), &["[listen] admin", "[listen] admin_cert"]),
            (&tls_and_token, LOCAL.to_owned(), &["[listen] admin", "[listen] admin_cert", "[listen] admin_token"]),
            // With the new file's TLS put back its authority is gone, and only the token guards the port.
            (
                &plain,
                format!("{LOCAL}\n{TLS}\n{CA}"),
                &["[listen] admin", "[listen] admin_cert", "[listen] admin_token"],
            ),
        ] {
            let running = config(running);
            let mut new = config(&new);
            assert_eq!(keep_fixed(&mut new, &running), expected, "{:?}", new.listen);
            assert_eq!(new.listen, running.listen);
        }
        let mut new = config(&certified);
        assert!(keep_fixed(&mut new, &config(&tls_and_token)).is_empty(), "another guard of the same port");
    }

    #[test]
    fn a_bad_file_is_refused() {
        let running = config("");
        let made = Made::new(&running.listen, None).unwrap();
        let load_text = |text: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            load(file.path(), &running, &made)
        };
        assert!(load_text(CHAINS).is_some());
        assert!(load_text("[nodes]").is_none());
        assert!(load(Path::new("/nowhere.toml"), &running, &made).is_none());
    }
}
