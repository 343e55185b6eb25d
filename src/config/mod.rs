//! What an operator writes, checked into what the program uses.
//!
//! ```text
//! text ─ toml ─▶ tables with places ─ reader ─▶ raw::File ─ check ─▶ Config
//!                                       │ environment    │ machine
//!                                       └── problems ────┴──▶ Problems, drawn over masked text
//! ```
//!
//! **All problems at once.** `serde` ends at the first error, and a hand-written walk would describe each key once more.
//! So the types of [`raw`] are the one description, and our own deserializer ([`reader`]) drives them: an unknown key or a
//! value of the wrong shape is noted with its place, and the reading goes on, because each field is a [`given::Given`], whose
//! reading cannot fail. The JSON schema and the test of the reference are drawn from the same types.
//!
//! **No secret is shown.** Messages never quote values; the lines drawn below them are masked ([`mask`]) unless known to
//! be harmless; [`Config`] holds credentials as [`Secret`], which has no `Display`.
//!
//! Reading order: [`types`] (what the program uses), [`raw`] (what is written), [`values`] (what one value may be),
//! [`reader`] and [`given`], [`environment`], [`check`], [`problems`] and [`mask`], [`schema`].

mod check;
mod environment;
mod file;
mod given;
mod machine;
mod mask;
mod problems;
mod raw;
mod reader;
mod schema;
mod secret;
mod similar;
mod summary;
#[cfg(test)]
mod tests;
mod types;
mod userinfo;
mod values;

use std::io::Read;
use std::path::Path;

use toml::de::{DeTable, DeValue};

pub use file::ConfigFile;
pub use machine::cores_available;
pub use problems::{Position, Problem, Problems};
pub use schema::schema;
pub use secret::Secret;
pub use types::*;

use crate::certificate::{Certificate, authorities};
use crate::limits;
use crate::tenant::token::KeySet;
use check::Surroundings;

impl Config {
    /// Where the config is looked for when no file is named.
    #[must_use]
    pub fn default_path() -> &'static Path {
        Path::new("config/livechain.toml")
    }

    /// Reads and checks a file for this machine.
    ///
    /// `environment` answers variables by name; for a `HOSTNAME` that it does not know the kernel is asked.
    pub fn load(path: &Path, environment: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let origin = path.display().to_string();
        let source = read_file(path).map_err(|message| Problems::of_file(&origin, message))?;
        let host = machine::host_name();
        let environment = |name: &str| environment(name).or_else(|| host.clone().filter(|_| name == "HOSTNAME"));
        let around = Surroundings {
            environment: &environment,
            cores: &cores_available(),
            ca_fault: &ca_fault,
            pair_fault: &pair_fault,
            token_keys_fault: &token_keys_fault,
        };
        parse(&source, &origin, &around)
    }

    /// Checks a config's text. Touches neither the file system nor the process.
    ///
    /// `origin` is what problems name as the file. `environment` answers variables by name, `HOSTNAME` among them.
    pub fn parse(
        source: &str,
        origin: &str,
        environment: impl Fn(&str) -> Option<String>,
        cores_available: &[usize],
    ) -> Result<Self, Problems> {
        let around = Surroundings {
            environment: &environment,
            cores: cores_available,
            ca_fault: &|_| None,
            pair_fault: &|_, _| None,
            token_keys_fault: &|_| None,
        };
        parse(source, origin, &around)
    }
}

fn parse(source: &str, origin: &str, around: &Surroundings<'_>) -> Result<Config, Problems> {
    let document = match DeTable::parse(source) {
        Ok(document) => DeValue::Table(document.into_inner()),
        Err(error) => {
            // What follows the first fault is mostly its echo.
            let message = format!("not TOML: {}", error.message());
            let shown = mask::mask_broken(source, &schema::Vocabulary::new());
            return Err(Problems::new(origin, source, shown, vec![Problem::maybe_at(error.span(), message)]));
        }
    };
    let (raw, reader::Notes { mut problems, visible }) =
        reader::read::<raw::File>(&document, source, around.environment);
    let config = raw.and_then(|raw| check::check(&raw, around, &mut problems));
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Problems::new(origin, source, mask::mask(source, &document, &visible), problems)),
    }
}

/// The file's text, or why it cannot be had.
fn read_file(path: &Path) -> Result<String, String> {
    let fault = |error: std::io::Error| format!("the file cannot be read: {error}");
    let file = std::fs::File::open(path).map_err(fault)?;
    let mut text = String::new();
    // One byte more than allowed tells a file that is too long; a device or a pipe without end stops here as well.
    let allowed = u64::try_from(limits::CONFIG_BYTES_MAX).unwrap_or(u64::MAX);
    file.take(allowed + 1).read_to_string(&mut text).map_err(fault)?;
    if text.len() > limits::CONFIG_BYTES_MAX {
        return Err(format!("the file is longer than {} bytes", limits::CONFIG_BYTES_MAX));
    }
    Ok(text)
}

/// Why a certificate's file and a key's are no pair.
fn pair_fault(cert: &Path, key: &Path) -> Option<String> {
    Certificate::from_files(cert, key).err().map(|error| error.to_string())
}

/// Why a file's certificates are no authorities.
fn ca_fault(path: &Path) -> Option<String> {
    authorities(path).err().map(|error| error.to_string())
}

/// Why a file holds no keys that tokens could be verified with.
fn token_keys_fault(path: &Path) -> Option<String> {
    let read = || {
        let allowed = u64::try_from(limits::TOKEN_KEY_SET_BYTES_MAX).unwrap_or(u64::MAX);
        let mut text = Vec::new();
        std::fs::File::open(path)?.take(allowed + 1).read_to_end(&mut text).map(|_| text)
    };
    let text = match read() {
        Ok(text) => text,
        Err(error) => return Some(error.to_string()),
    };
    KeySet::read(&text).err().map(|fault| fault.to_string())
}
