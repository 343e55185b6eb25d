//! The command line of the desk: `livechain tenant`, `plan`, `key` and `usage`.
//!
//! It opens the configured store itself, whether a node runs beside it or not; nodes notice what has changed. What
//! scripts take is on standard output, what people are told besides on standard error. A key's text stands alone on its
//! line, once.
//!
//! It ends with 0 when it is done, with 2 for what the operator wrote wrong (arguments, names, the config), and with 1
//! where the store does not do it, which may be worth another try.

mod key;
mod limit;
mod plan;
mod rules;
mod tenant;
mod told;
mod usage;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use self::told::Format;
use super::Refusal;
use super::keys::NoRandom;
use crate::config::{Config, ConfigFile};
use crate::ledger::{Store, StoreAddress, StoreError};
use crate::tenant::key::{KEY_PREFIX, Pepper, WeakPepper};

/// The operator wrote something wrong.
const EXIT_REFUSED: u8 = 2;

/// What is to be done.
#[derive(Debug, clap::Subcommand)]
pub enum Task {
    /// Tenants: who pays.
    Tenant {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        task: tenant::TenantTask,
    },
    /// Plans: what is sold.
    Plan {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        task: plan::PlanTask,
    },
    /// Keys: what a tenant's clients show.
    Key {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        task: key::KeyTask,
    },
    /// What was used, in exact sums.
    Usage {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        asked: usage::UsageFlags,
    },
}

/// Where it is done, and how it is told.
#[derive(Debug, clap::Args)]
pub struct Place {
    #[command(flatten)]
    file: ConfigFile,
    /// How the answer is written.
    #[arg(long, global = true, value_enum, default_value_t)]
    format: Format,
}

/// Why a task was not done.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("this config has no [tenants], so that there is no store to work on")]
    NoTenants,
    #[error("tenants.pepper: {0}")]
    Pepper(#[from] WeakPepper),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}

/// What tasks work on. Nothing is opened before the order is checked.
struct Books<'a> {
    address: &'a StoreAddress,
    pepper: Pepper,
    /// By name.
    chains: Vec<&'a str>,
    now_s: u64,
}

impl Task {
    #[must_use]
    pub const fn file(&self) -> &ConfigFile {
        match self {
            Self::Tenant { place, .. } | Self::Plan { place, .. } | Self::Key { place, .. } => &place.file,
            Self::Usage { file, .. } => file,
        }
    }
}

/// Does a task on the store that `config` names, and tells what became of it.
#[must_use]
pub fn run(task: Task, config: &Config) -> ExitCode {
    let done = Books::of(config).and_then(|books| match task {
        Task::Tenant { place, task } => task.run(&books, place.format),
        Task::Plan { place, task } => task.run(&books, place.format),
        Task::Key { place, task } => task.run(&books, place.format),
        Task::Usage { asked, .. } => asked.run(&books),
    });
    match done {
        Ok(told) => {
            say(&mut io::stderr(), &told.aside);
            match written(&mut io::stdout(), &told.out) {
                Ok(()) => ExitCode::SUCCESS,
                // `livechain key list | head`: a reader that has seen enough. But what is told once was meant to be read.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !told.out.contains(KEY_PREFIX) => {
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    say(&mut io::stderr(), &format!("livechain: it is done, and cannot be written out: {error}\n"));
                    ExitCode::FAILURE
                }
            }
        }
        Err(trouble) => {
            say(&mut io::stderr(), &format!("livechain: {trouble}\n"));
            ExitCode::from(trouble.exit_code())
        }
    }
}

/// Tells what is wrong with the arguments, and ends. They are quoted; a key among them is not.
pub fn exit_with(error: &clap::Error) -> ! {
    let text = error.to_string();
    if text.contains(KEY_PREFIX) {
        say(&mut io::stderr(), &masked(&text));
        std::process::exit(EXIT_REFUSED.into());
    }
    error.exit()
}

/// The text without the secrets of keys in it.
fn masked(text: &str) -> String {
    let mut parts = text.split(KEY_PREFIX);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str(KEY_PREFIX);
        masked.push_str("***");
        masked.push_str(part.trim_start_matches(|char: char| char.is_ascii_alphanumeric()));
    }
    masked
}

/// Where standard error is gone, there is nobody left to tell.
fn say(to: &mut impl Write, text: &str) {
    let _ = written(to, text);
}

fn written(to: &mut impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes()).and_then(|()| to.flush())
}

impl Trouble {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::NoTenants
            | Self::Pepper(_)
            | Self::Refused(_)
            | Self::Store(StoreError::Address(_) | StoreError::Pepper) => EXIT_REFUSED,
            Self::Store(error) if error.of_asker() => EXIT_REFUSED,
            Self::Store(_) | Self::NoRandom(_) => 1,
        }
    }
}

impl<'a> Books<'a> {
    fn of(config: &'a Config) -> Result<Self, Trouble> {
        let tenants = config.tenants.as_ref().ok_or(Trouble::NoTenants)?;
        Ok(Self {
            address: &tenants.store,
            pepper: Pepper::new(tenants.pepper.expose().as_bytes())?,
            chains: config.chains.iter().map(|chain| chain.name.as_str()).collect(),
            now_s: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        })
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_among_the_arguments_is_not_repeated() {
        for (text, expected) in [
            ("unexpected argument 'x'", "unexpected argument 'x'"),
            ("unexpected 'lc_live_4zT0Qe1xB9Zk' found", "unexpected 'lc_live_***' found"),
            ("lc_live_abc lc_live_", "lc_live_*** lc_live_***"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn who_is_to_blame_tells_the_exit_code() {
        for (trouble, code) in [
            (Trouble::NoTenants, 2),
            (Trouble::Pepper(WeakPepper), 2),
            (Trouble::Refused(Refusal::KeyId), 2),
            (Trouble::Store(StoreError::NotFound("plan")), 2),
            (Trouble::Store(StoreError::Taken("tenant")), 2),
            (Trouble::Store(StoreError::Pepper), 2),
            (Trouble::Store(StoreError::Unavailable("gone".into())), 1),
            (Trouble::Store(StoreError::Newer { found: 9, known: 2 }), 1),
            (Trouble::NoRandom(NoRandom), 1),
        ] {
            assert_eq!(trouble.exit_code(), code, "{trouble}");
        }
    }
}
