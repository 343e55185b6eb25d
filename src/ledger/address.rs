//! Where the ledger is: `sqlite:PATH` or `postgres://user:password@host/database?sslmode=…`.
//!
//! **TLS.** `sslmode` is `disable` or `require`; `verify-full` says the same as `require`, since a certificate is always
//! verified: against the web's roots, and those of `sslrootcert=FILE`. `prefer` and `allow` are refused, as whoever can
//! listen can also say that there is no TLS. Absent, it is `require`, and `disable` where all hosts are this one.
//!
//! **No password is shown**, whatever is printed of an address or of an error about it. That is why no error quotes
//! the text: a password with a `?` or an `@` in it ends up in any part.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_postgres::config::{Host, SslMode};

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreAddress {
    Sqlite(PathBuf),
    Postgres(Box<PostgresAddress>),
}

/// A PostgreSQL database.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresAddress {
    pub(super) config: tokio_postgres::Config,
    pub(super) root_file: Option<PathBuf>,
}

/// Why a text is no address of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("a ledger's address begins with sqlite: or postgres://")]
    Scheme,
    #[error("sqlite: is followed by the path of a file")]
    Path,
    #[error("expected postgres://user:password@host/database, with %-escapes for what is special in any of them")]
    Postgres,
    #[error("a PostgreSQL address names a database: postgres://user:password@host/database")]
    Database,
    #[error("sslmode is disable, require or verify-full (certificates are verified with either of these two)")]
    SslMode,
}

impl StoreAddress {
    /// The file, where it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl FromStr for StoreAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            // SQLite gives these a meaning of their own, of a store that nobody finds again.
            let meant = !path.is_empty() && !path.starts_with(':') && !path.starts_with("//") && !path.ends_with('/');
            return if meant { Ok(Self::Sqlite(path.into())) } else { Err(AddressError::Path) };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return postgres(text).map(|address| Self::Postgres(Box::new(address)));
        }
        Err(AddressError::Scheme)
    }
}

fn postgres(text: &str) -> Result<PostgresAddress, AddressError> {
    // A password may have a question mark in it.
    let host = text.find('@').unwrap_or_default();
    let (base, query) = text[host..].find('?').map_or((text, ""), |at| (&text[..host + at], &text[host + at + 1..]));
    let (mut mode, mut root_file, mut others) = (None, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", word)) => mode = Some(word),
            Some(("sslrootcert", path)) => root_file = Some(PathBuf::from(path)),
            _ => others.push(pair),
        }
    }
    let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    let mut config: tokio_postgres::Config = rest.parse().map_err(|_| AddressError::Postgres)?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(AddressError::Postgres);
    }
    if config.get_dbname().is_none_or(str::is_empty) {
        return Err(AddressError::Database);
    }
    config.ssl_mode(match mode {
        Some("disable") => SslMode::Disable,
        Some("require" | "verify-full") => SslMode::Require,
        Some(_) => return Err(AddressError::SslMode),
        None if config.get_hosts().iter().all(is_here) && config.get_hostaddrs().iter().all(IpAddr::is_loopback) => {
            SslMode::Disable
        }
        None => SslMode::Require,
    });
    Ok(PostgresAddress { config, root_file })
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost"
                || name.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(address) => write!(f, "{address}"),
        }
    }
}

impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        for (n, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
            let ports = self.config.get_ports();
            if let Some(port) = ports.get(n).or(ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown_without_its_password() {
        for (text, shown) in [
            ("sqlite:/var/lib/livechain/ledger.db", "sqlite:/var/lib/livechain/ledger.db"),
            ("sqlite:ledger.db", "sqlite:ledger.db"),
            ("postgres://shop:s3cr3t@db.example/ledger", "postgres://db.example:5432/ledger"),
            ("postgres://shop:pa?s3cr3t@db.example/l?sslmode=require", "postgres://db.example:5432/l"),
            ("postgresql://shop:s3cr3t@db.example:6432/ledger?sslmode=require", "postgres://db.example:6432/ledger"),
            ("postgres://shop:s3cr3t@a.example,b.example/l", "postgres://a.example:5432,b.example:5432/l"),
            (
                "postgres://shop:s3cr3t%40%3F@%2Frun%2Fpostgresql/l?connect_timeout=3",
                "postgres:///run/postgresql:5432/l",
            ),
        ] {
            let address: StoreAddress = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(format!("{address}"), shown);
            assert_eq!(format!("{address:?}"), format!("{address}"));
            assert!(!format!("{address:?}").contains("s3cr3t"));
            assert_eq!(text.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_quoting_it() {
        use AddressError::{Database, Path, Postgres, Scheme, SslMode};
        for (text, expected) in [
            ("", Scheme),
            ("/var/lib/ledger.db", Scheme),
            ("mysql://a:s3cr3t@b/c", Scheme),
            ("sqlite:", Path),
            ("sqlite::memory:", Path),
            ("sqlite://ledger.db", Path),
            ("sqlite:ledger/", Path),
            ("postgres://", Postgres),
            ("postgres://shop:s3cr3t@db.example:port/l", Postgres),
            ("postgres://shop:pa/s3cr3t@db.example/l?x=y", Postgres),
            ("postgres://shop:pa@s3cr3t@db.example/l?sslmode=x", SslMode),
            ("postgres://shop:s3cr3t@db.example", Database),
            ("postgres://shop:s3cr3t@db.example/l?sslmode=prefer", SslMode),
            ("postgres://shop:s3cr3t@db.example/l?sslmode=s3cr3t", SslMode),
        ] {
            let error = text.parse::<StoreAddress>().unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!format!("{error} {error:?}").contains("s3cr3t"));
        }
    }

    #[test]
    fn what_leaves_the_machine_is_encrypted_unless_it_is_said_not_to_be() {
        for (text, mode) in [
            ("postgres://a@db.example/l", SslMode::Require),
            ("postgres://a@10.0.0.1/l", SslMode::Require),
            ("postgres://a@localhost,db.example/l", SslMode::Require),
            ("postgres://a@db.example/l?sslmode=verify-full", SslMode::Require),
            ("postgres://a@db.example/l?sslmode=disable", SslMode::Disable),
            ("postgres://a@localhost/l", SslMode::Disable),
            ("postgres://a@127.0.0.1:5433/l", SslMode::Disable),
            ("postgres://a@[::1]/l", SslMode::Disable),
            ("postgres://a@%2Frun%2Fpostgresql/l", SslMode::Disable),
            ("postgres://a@localhost/l?sslmode=require", SslMode::Require),
        ] {
            let Ok(StoreAddress::Postgres(address)) = text.parse() else { panic!("{text}") };
            assert_eq!(address.config.get_ssl_mode(), mode, "{text}");
        }
    }
}
