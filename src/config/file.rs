//! The config as every command is told of it: `--config FILE`.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::Config;

/// See the module.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigFile {
    /// The config file.
    #[arg(long = "config", value_name = "FILE", global = true, default_value_os_t = Config::default_path().to_path_buf())]
    path: PathBuf,
}

impl ConfigFile {
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The config, with this process's environment; where it is refused, its problems are told on standard error.
    #[must_use]
    pub fn load(&self) -> Option<Config> {
        match Config::load(&self.path, |name| std::env::var(name).ok()) {
            Ok(config) => Some(config),
            Err(problems) => {
                // A reader that went away is no failure of ours.
                let _ = writeln!(io::stderr(), "{}", problems.render(wants_color()));
                None
            }
        }
    }
}

/// As <https://no-color.org> asks: an empty variable asks for nothing.
fn wants_color() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
