//! Certificates of this node's own: read from PEM, checked as a pair with their key, and chosen by the name that a client
//! asks for (SNI). Beside them, authorities, by which those of others are verified.
//!
//! The names are the certificate's (`subjectAltName`); an operator lists files and no names, so that the two cannot
//! disagree. A name is looked for as it stands, then with `*` in place of its first label. Of all certificates found for
//! a name the first wins whose key the client can verify: one for ECDSA before one for RSA serves old clients too. Who
//! names none of them, or no name, gets the first.
//!
//! Nothing of a key is ever printed.

mod authorities;
mod der;

pub use authorities::{AuthorityError, authorities};

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::limits;

/// A certificate with its chain and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// Those that it is for, in lower case.
    pub names: Vec<String>,
    /// Seconds since 1970 at which it ends, where that can be read.
    pub not_after: Option<i64>,
}

/// Why a pair of files is none. Says nothing of what is in them.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("the certificate's file holds no certificate in PEM")]
    NoCertificate,
    #[error("the certificate's file is no PEM: {0}")]
    Certificate(pem::Error),
    #[error("the key's file holds no private key in PEM (PKCS #8, PKCS #1 or SEC 1)")]
    NoKey,
    #[error("the key's kind is not supported: {0}")]
    Key(Error),
    #[error("the key belongs to another certificate")]
    Mismatch,
    #[error("the certificate cannot be read: {0}")]
    Unreadable(Error),
    #[error("more than {} certificates in one file", limits::CERTIFICATE_CHAIN_MAX)]
    TooMany,
    #[error("the certificate's file cannot be read: {0}")]
    CertificateFile(io::Error),
    #[error("the key's file cannot be read: {0}")]
    KeyFile(io::Error),
}

/// What a file of certificates or a key holds; one that is far too long is none.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let allowed = limits::CERTIFICATE_FILE_BYTES_MAX;
    // One byte more than allowed tells a file that is too long; a device without end stops here as well.
    std::fs::File::open(path)?.take(allowed as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > allowed {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {allowed} bytes")));
    }
    Ok(bytes)
}

impl Certificate {
    /// The pair in two files.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let certificate = read_file(certificate).map_err(CertificateError::CertificateFile)?;
        Self::from_pem(&certificate, &read_file(key).map_err(CertificateError::KeyFile)?)
    }

    /// A pair of PEM texts: the certificate with its chain behind it, and its key.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
            .take(limits::CERTIFICATE_CHAIN_MAX + 1)
            .collect::<Result<_, _>>()
            .map_err(CertificateError::Certificate)?;
        if chain.len() > limits::CERTIFICATE_CHAIN_MAX {
            return Err(CertificateError::TooMany);
        }
        let own = chain.first().ok_or(CertificateError::NoCertificate)?;
        let facts = der::facts(own);
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        let key = any_supported_type(&key).map_err(CertificateError::Key)?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => return Err(CertificateError::Mismatch),
            Err(error) => return Err(CertificateError::Unreadable(error)),
        }
        Ok(Self { key: Arc::new(key), names: facts.names, not_after: facts.not_after })
    }

    /// What it is called where it must be told from others: its first name.
    #[must_use]
    pub fn label(&self) -> &str {
        self.names.first().map_or("none", String::as_str)
    }
}

/// Certificates by their names.
#[derive(Debug, Default)]
pub struct Chooser {
    /// In the order of the config; the first is for whoever asks for none of them.
    keys: Vec<Arc<CertifiedKey>>,
    /// Positions in `keys`, in order.
    by_name: HashMap<String, Vec<usize>>,
}

impl Chooser {
    #[must_use]
    pub fn new(certificates: &[Certificate]) -> Self {
        let mut by_name = HashMap::<String, Vec<usize>>::new();
        for (at, certificate) in certificates.iter().enumerate() {
            for name in &certificate.names {
                by_name.entry(name.clone()).or_default().push(at);
            }
        }
        Self { keys: certificates.iter().map(|certificate| Arc::clone(&certificate.key)).collect(), by_name }
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let [exact, wildcard] = name.map_or([&[][..]; 2], |name| self.named(&name.to_ascii_lowercase()));
        let found = || exact.iter().chain(wildcard);
        let can_sign = |at: &&usize| self.keys[**at].key.choose_scheme(schemes).is_some();
        let at = found().find(can_sign).or_else(|| found().next());
        at.map_or(self.keys.first(), |&at| Some(&self.keys[at]))
    }

    /// Those for the name itself, and those for all of its parent's.
    fn named(&self, name: &str) -> [&[usize]; 2] {
        let positions = |name: &str| self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        let wildcard = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        [positions(name), wildcard.map_or(&[], |name| positions(&name))]
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};

    use super::*;

    fn pair(names: &[&str], kind: &'static SignatureAlgorithm) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate_for(kind).unwrap();
        (CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn certificate(names: &[&str], kind: &'static SignatureAlgorithm) -> Certificate {
        let (certificate, key) = pair(names, kind);
        Certificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
    }

    #[test]
    fn a_name_finds_its_certificate_and_the_first_is_for_all_others() {
        let all = [&["a.example", "b.example"][..], &["*.c.example"], &["d.c.example"]];
        let all = all.map(|names| certificate(names, &PKCS_ECDSA_P256_SHA256));
        let chooser = Chooser::new(&all);
        for (name, at) in [
            (Some("a.example"), 0),
            (Some("B.Example"), 0),
            (Some("x.c.example"), 1),
            (Some("d.c.example"), 2),
            (Some("c.example"), 0),
            (Some("y.x.c.example"), 0),
            (Some("example"), 0),
            (Some(""), 0),
            (None, 0),
        ] {
            let found = chooser.choose(name, &[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
            assert!(Arc::ptr_eq(found, &all[at].key), "{name:?}");
        }
        assert!(Chooser::default().choose(Some("a.example"), &[]).is_none());
    }

    #[test]
    fn of_two_for_a_name_the_first_that_the_client_can_verify_is_taken() {
        let all = [&PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256].map(|kind| certificate(&["a.example"], kind));
        let chooser = Chooser::new(&all);
        let (ecdsa, rsa) = (SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256);
        for (schemes, at) in [(&[rsa, ecdsa][..], 0), (&[rsa], 1), (&[], 0)] {
            assert!(Arc::ptr_eq(chooser.choose(Some("a.example"), schemes).unwrap(), &all[at].key), "{schemes:?}");
        }
    }

    #[test]
    fn a_wildcards_is_taken_where_the_client_cannot_verify_the_names_own() {
        let own = certificate(&["a.example"], &PKCS_ECDSA_P256_SHA256);
        let wildcard = certificate(&["*.example"], &PKCS_RSA_SHA256);
        let (ecdsa, rsa) = (SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256);
        for all in [[&own, &wildcard], [&wildcard, &own]] {
            let chooser = Chooser::new(&all.map(Clone::clone));
            for (name, schemes, expected) in [
                ("a.example", &[rsa][..], &wildcard),
                ("a.example", &[rsa, ecdsa], &own),
                ("a.example", &[], &own),
                ("b.example", &[ecdsa], &wildcard),
            ] {
                let found = chooser.choose(Some(name), schemes).unwrap();
                assert!(Arc::ptr_eq(found, &expected.key), "{name} {schemes:?}");
            }
        }
    }

    #[test]
    fn what_is_no_pair_is_told() {
        let (one, key) = pair(&["a.example"], &PKCS_ECDSA_P256_SHA256);
        let (other, _) = pair(&["a.example"], &PKCS_ECDSA_P256_SHA256);
        let long = one.repeat(limits::CERTIFICATE_CHAIN_MAX + 1);
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (certificate, key, expected) in [
            (other.as_str(), key.as_str(), "another certificate"),
            ("", &key, "no certificate"),
            (&key, &key, "no certificate"),
            (&one, "", "no private key"),
            (&one, &one, "no private key"),
            (garbage, &key, "cannot be read"),
            ("-----BEGIN CERTIFICATE-----\n", &key, "no PEM"),
            (&long, &key, "more than"),
        ] {
            let error = Certificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("BEGIN PRIVATE"), "{error}");
        }
    }
}
