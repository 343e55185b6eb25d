//! TLS towards providers: what all shards share of it.
//!
//! The crypto provider is named, not taken from the process: a library that installs another one changes nothing here.
//! Session caches are not shared; a shard gives its copy one of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::certificate::{AuthorityError, authorities};

/// Why providers cannot be trusted as the config has it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("[upstream] ca_file {path}: {error}")]
    CaFile { path: PathBuf, error: AuthorityError },
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// TLS 1.2 and 1.3, the web's roots and those of `ca_file`, HTTP/1.1 by ALPN.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        let own = authorities(path).map_err(|error| TlsError::CaFile { path: path.into(), error })?;
        roots.extend(own.roots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn with_file(text: &str) -> Result<Arc<ClientConfig>, TlsError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        client_config(Some(file.path()))
    }

    #[test]
    fn it_speaks_http_1_1() {
        assert_eq!(client_config(None).unwrap().alpn_protocols, [b"http/1.1"]);
    }

    #[test]
    fn a_ca_file_is_read_or_told() {
        let pem = rcgen::generate_simple_self_signed(vec!["ca.example".into()]).unwrap().cert.pem();
        assert!(with_file(&pem).is_ok());
        for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = with_file(text).unwrap_err().to_string();
            assert!(error.starts_with("[upstream] ca_file"), "{error}");
        }
        assert!(client_config(Some(Path::new("/nowhere.pem"))).is_err());
    }
}
