//! Where keys are read: a file, and what an issuer publishes. What is the same as before is not read again.
//!
//! A well-formed set without a key takes all of them back. One that has keys, none of which is for us, may be a mistake
//! and is a fault as any other.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client, StatusCode, redirect};
use rustls::ClientConfig;

use crate::config::{Secret, Url};
use crate::limits::{TOKEN_FETCH_TIMEOUT, TOKEN_KEY_SET_BYTES_MAX};
use crate::tenant::token::{KeySet, KeySetFault, TokenKey};

/// A file of keys.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// As it was read last, whether or not it was any good.
    seen: Result<Vec<u8>, String>,
    keys: Vec<TokenKey>,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let text = read(path)?;
        let set = KeySet::read(&text).map_err(|fault| fault.to_string())?;
        Ok(Self { path: path.to_owned(), seen: Ok(text), keys: set.keys })
    }

    pub(super) fn keys(&self) -> &[TokenKey] {
        &self.keys
    }

    /// Whether there are other keys in it than before.
    pub(super) fn look(&mut self) -> bool {
        let seen = read(&self.path);
        if seen == self.seen {
            return false;
        }
        let keys = seen.as_ref().map_err(Clone::clone).and_then(|text| {
            let keys = even_none(KeySet::read(text));
            keys.map_err(|fault| fault.to_string())
        });
        self.seen = seen;
        match keys {
            Ok(keys) => {
                if keys.is_empty() {
                    tracing::warn!(path = %self.path.display(), "the file of tokens' keys holds none any more");
                }
                self.keys = keys;
                true
            }
            Err(fault) => {
                tracing::warn!(fault, path = %self.path.display(), "the file of tokens' keys; the last ones go on");
                false
            }
        }
    }
}

/// The keys of a set, of which there may be none.
fn even_none(set: Result<KeySet, KeySetFault>) -> Result<Vec<TokenKey>, KeySetFault> {
    match set {
        Ok(set) => Ok(set.keys),
        Err(KeySetFault::NoKeys) => Ok(Vec::new()),
        Err(fault) => Err(fault),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let fault = |error: std::io::Error| error.to_string();
    let mut text = Vec::new();
    // One byte more than allowed tells a file that is too long.
    let file = std::fs::File::open(path).map_err(fault)?;
    file.take(TOKEN_KEY_SET_BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(fault)?;
    Ok(text)
}

/// An issuer's published keys.
pub(super) struct Issuer {
    client: Client,
    url: Secret,
    authorization: Option<HeaderValue>,
    /// As it was answered last.
    seen: Option<Vec<u8>>,
    keys: Vec<TokenKey>,
}

/// Why an issuer's keys could not be had. It says nothing of the URL or the answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("{0}")]
    Transport(String),
    #[error("status {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Keys(#[from] KeySetFault),
}

impl From<reqwest::Error> for AskError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        // What went wrong stands at the end of the chain.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Self::Transport(format!("{error}: {cause}"))
    }
}

impl Issuer {
    pub(super) fn new(url: &Url, tls: &ClientConfig) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(TOKEN_FETCH_TIMEOUT)
            .pool_max_idle_per_host(0)
            .build()?;
        let authorization = url.authorization.as_ref().and_then(|text| {
            let mut value = HeaderValue::from_str(text.expose()).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Ok(Self { client, url: whole(url), authorization, seen: None, keys: Vec::new() })
    }

    pub(super) fn keys(&self) -> &[TokenKey] {
        &self.keys
    }

    /// Whether there are other keys than before.
    pub(super) async fn ask(&mut self) -> Result<bool, AskError> {
        let mut request = self.client.get(self.url.expose()).header(ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut response = request.send().await?;
        if response.status() != StatusCode::OK {
            return Err(AskError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > TOKEN_KEY_SET_BYTES_MAX {
                return Err(KeySetFault::Size.into());
            }
            body.extend_from_slice(&chunk);
        }
        if self.seen.as_ref() == Some(&body) {
            return Ok(false);
        }
        let text = std::str::from_utf8(&body).map_err(|_| KeySetFault::Format)?;
        self.keys = even_none(KeySet::from_jwks(text))?;
        self.seen = Some(body);
        if self.keys.is_empty() {
            tracing::warn!("the tokens' issuer publishes no keys; its tokens are refused");
        }
        Ok(true)
    }

    /// Whether there were any.
    pub(super) fn forget(&mut self) -> bool {
        self.seen = None;
        !std::mem::take(&mut self.keys).is_empty()
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("keys", &self.keys).finish_non_exhaustive()
    }
}

fn whole(url: &Url) -> Secret {
    let scheme = if url.tls { "https" } else { "http" };
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    Secret::new(format!("{scheme}://{host}:{}{}", url.port, url.target.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::token::TokenAlgorithm;
    use crate::tenant::token::forge::{Issuer as Signer, jwks};

    #[test]
    fn a_file_that_is_no_good_any_more_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let [first, second] = ["1", "2"].map(|name| Signer::new(TokenAlgorithm::EdDsa, Some(name)));
        let names = |file: &File| file.keys().iter().map(|key| key.name().unwrap().to_owned()).collect::<Vec<_>>();
        assert!(File::open(&path).is_err());
        std::fs::write(&path, jwks(&[&first])).unwrap();
        let mut file = File::open(&path).unwrap();
        assert!(!file.look());
        let huge = " ".repeat(TOKEN_KEY_SET_BYTES_MAX + 1);
        let not_ours = r#"{"keys":[{"kty":"oct","k":"AA"}]}"#;
        for text in [Some(""), Some("-----BEGIN PUBLIC"), Some("{\"keys\":5}"), Some(not_ours), Some(&huge), None] {
            match text {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            assert!(!file.look() && !file.look(), "{text:?}");
            assert_eq!(names(&file), ["1"]);
        }
        std::fs::write(&path, jwks(&[&second])).unwrap();
        assert!(file.look() && !file.look());
        assert_eq!(names(&file), ["2"]);
    }

    #[test]
    fn a_file_takes_its_last_key_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let signer = Signer::new(TokenAlgorithm::EdDsa, Some("1"));
        std::fs::write(&path, r#"{"keys":[]}"#).unwrap();
        assert!(File::open(&path).is_err(), "whoever starts with it has made a mistake");
        std::fs::write(&path, jwks(&[&signer])).unwrap();
        let mut file = File::open(&path).unwrap();
        std::fs::write(&path, r#"{"keys":[]}"#).unwrap();
        assert!(file.look() && !file.look());
        assert!(file.keys().is_empty());
        std::fs::write(&path, jwks(&[&signer])).unwrap();
        assert!(file.look() && file.keys().len() == 1);
    }

    #[test]
    fn a_url_is_put_together_again() {
        let url = |tls, host: &str, port| Url {
            tls,
            host: host.to_owned(),
            port,
            target: Secret::new("/a?b"),
            authorization: None,
        };
        assert_eq!(whole(&url(true, "issuer.example", 443)).expose(), "https://issuer.example:443/a?b");
        assert_eq!(whole(&url(false, "::1", 8000)).expose(), "http://[::1]:8000/a?b");
    }
}
