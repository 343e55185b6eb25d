//! What an incumbent says about the descriptors that follow.
//!
//! The version counts changes that an older newcomer would misread; it refuses one that it does not know, and then
//! the incumbent stays. Fields may be added without a new version: unknown ones are skipped.

use std::io::{Read, Write};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::UpgradeError;
use crate::limits;

/// The only version so far.
const VERSION: u32 = 1;

/// In the order of the descriptors: the upgrade socket, then each address's sockets, then the admin port's.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    version: u32,
    pub(super) http: Vec<Listening>,
    pub(super) admin: Option<SocketAddr>,
}

/// One address and how many sockets listen on it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) sockets: usize,
}

impl Manifest {
    pub(super) fn new(http: Vec<Listening>, admin: Option<SocketAddr>) -> Self {
        Self { version: VERSION, http, admin }
    }

    /// Descriptors that follow it.
    pub(super) fn descriptors(&self) -> usize {
        let http = self.http.iter().fold(0_usize, |sum, listening| sum.saturating_add(listening.sockets));
        http.saturating_add(1).saturating_add(usize::from(self.admin.is_some()))
    }

    pub(super) fn write(&self, stream: &mut impl Write) -> Result<(), UpgradeError> {
        let json = serde_json::to_vec(self).map_err(|error| UpgradeError::Manifest(error.to_string()))?;
        let length = u32::try_from(json.len()).map_err(|error| UpgradeError::Manifest(error.to_string()))?;
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&json)?;
        Ok(())
    }

    pub(super) fn read(stream: &mut impl Read) -> Result<Self, UpgradeError> {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > limits::UPGRADE_MANIFEST_BYTES_MAX {
            return Err(UpgradeError::Manifest(format!("{length} bytes long")));
        }
        let mut json = vec![0; length];
        stream.read_exact(&mut json)?;
        let manifest: Self =
            serde_json::from_slice(&json).map_err(|error| UpgradeError::Manifest(error.to_string()))?;
        manifest.check()
    }

    fn check(self) -> Result<Self, UpgradeError> {
        if self.version != VERSION {
            return Err(UpgradeError::Manifest(format!("version {}, this program knows {VERSION}", self.version)));
        }
        if self.descriptors() > limits::UPGRADE_DESCRIPTORS_MAX {
            return Err(UpgradeError::Manifest(format!("{} descriptors", self.descriptors())));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let address = "127.0.0.1:8545".parse().unwrap();
        Manifest::new(vec![Listening { address, sockets: 2 }], Some("127.0.0.1:9545".parse().unwrap()))
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        sample().write(&mut bytes).unwrap();
        assert_eq!(Manifest::read(&mut &bytes[..]).unwrap(), sample());
        assert_eq!(sample().descriptors(), 4);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let framed = |json: &str| [&u32::try_from(json.len()).unwrap().to_be_bytes(), json.as_bytes()].concat();
        let cases = [
            framed(r#"{"version":2,"http":[],"admin":null}"#),
            framed(r#"{"version":1,"http":[{"address":"127.0.0.1:1","sockets":9999999}],"admin":null}"#),
            framed("nonsense"),
            u32::MAX.to_be_bytes().to_vec(),
            vec![0, 0],
        ];
        for bytes in cases {
            assert!(Manifest::read(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
        let more = framed(r#"{"version":1,"http":[],"admin":null,"later":true}"#);
        assert!(Manifest::read(&mut &more[..]).is_ok());
    }
}
