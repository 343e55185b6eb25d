//! TLS towards a database server: its certificate is verified, always.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::certificate::authorities;
use crate::ledger::error::StoreError;

/// With the web's roots, and those of a file. Whether it is used, the address says.
pub(super) fn connector(root_file: Option<&Path>) -> Result<MakeRustlsConnect, StoreError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = root_file {
        let own = authorities(path)
            .map_err(|why| StoreError::Unavailable(format!("sslrootcert {}: {why}", path.display())))?;
        roots.extend(own.roots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Engine(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
