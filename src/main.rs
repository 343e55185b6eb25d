//! `livechain`: arguments, config, run.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use livechain::config::{Config, ConfigFile};
use livechain::{control, demo, desk};
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
#[allow(clippy::large_enum_variant, reason = "there is one, once")]
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
    #[command(flatten)]
    Desk(desk::Task),
}

fn main() -> ExitCode {
    match Arguments::try_parse().unwrap_or_else(|error| desk::exit_with(&error)).command {
        Command::Run(file) => {
            with(&file, |config| ended(control::run(config, Some(file.path().to_owned())).map_err(Into::into)))
        }
        Command::Demo { listen, admin } => ended(demo::run(demo::Options { listen, admin }).map_err(Into::into)),
        Command::Check(file) => with(&file, |config| {
            say(&mut io::stdout(), &format!("{}: fine\n{}", file.path().display(), config.summary()));
            ExitCode::SUCCESS
        }),
        Command::Desk(task) => with(&task.file().clone(), |config| desk::run(task, &config)),
    }
}

/// Does something with the config, unless it has problems.
fn with(file: &ConfigFile, then: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    file.load().map_or(ExitCode::from(EXIT_REFUSED), then)
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

/// A reader that went away (`livechain check | head -1`) is no failure of ours.
fn say(to: &mut impl Write, text: &str) {
    let _ = writeln!(to, "{text}");
}
