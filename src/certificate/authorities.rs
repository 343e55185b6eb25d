//! Authorities in a file: those whose certificates a peer may show.
//!
//! The config is checked with the same reading that the program goes by, so that what `livechain check` calls fine is what
//! `livechain run` takes.

use std::io;
use std::path::Path;

use rustls::{Error, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};

use super::read_file;

/// Why a file of authorities is none. Says nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("it holds none in PEM")]
    None,
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("{0}")]
    Pem(#[from] pem::Error),
    #[error("{0}")]
    Unreadable(#[from] Error),
}

/// All certificates in a file of PEM, at least one.
pub fn authorities(path: &Path) -> Result<RootCertStore, AuthorityError> {
    let pem = read_file(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() { Err(AuthorityError::None) } else { Ok(roots) }
}
