//! `livechain`: arguments, config, run.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use livechain::config::Config;
use livechain::{control, demo};
use mimalloc::MiMalloc;

/// Small buffers and futures come and go on each shard's thread, which is what it is made for.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The config was refused.
const EXIT_REFUSED: u8 = 2;

/// Sends each JSON-RPC call to the provider that answers it best from this region now.
#[derive(Parser)]
#[command(name = "livechain", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node.
    Run(ConfigFile),
    /// Run a node before three built-in providers, to try it without a network.
    Demo {
        /// Where clients call.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8545")]
        listen: SocketAddr,
        /// The admin port; a loopback address.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9545")]
        admin: SocketAddr,
    },
    /// Check a config: say that it is fine, or everything that is wrong with it.
    Check(ConfigFile),
}

#[derive(clap::Args)]
struct ConfigFile {
    /// The config file.
    #[arg(long = "config", value_name = "FILE", default_value_os_t = Config::default_path().to_path_buf())]
    path: PathBuf,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(file) => file.with(|config| Ok(control::run(config, Some(file.path.clone()))?)),
        Command::Demo { listen, admin } => ended(demo::run(demo::Options { listen, admin }).map_err(Into::into)),
        Command::Check(file) => file.with(|config| {
            say(&mut io::stdout(), &format!("{}: fine\n{}", file.path.display(), config.summary()));
            Ok(())
        }),
    }
}

impl ConfigFile {
    /// Does something with the config, or tells its problems.
    fn with(&self, then: impl FnOnce(Config) -> anyhow::Result<()>) -> ExitCode {
        match Config::load(&self.path, |name| std::env::var(name).ok()) {
            Ok(config) => ended(then(config)),
            Err(problems) => {
                say(&mut io::stderr(), &problems.render(wants_color()));
                ExitCode::from(EXIT_REFUSED)
            }
        }
    }
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&mut io::stderr(), &format!("livechain: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// As <https://no-color.org> asks: an empty variable asks for nothing.
fn wants_color() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A reader that went away (`livechain check | head -1`) is no failure of ours.
fn say(to: &mut impl Write, text: &str) {
    let _ = writeln!(to, "{text}");
}
