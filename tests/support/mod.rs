//! What the black-box tests share: a node under test, scripted providers, raw clients, relays.
//!
//! Everything here is blocking `std` on threads of its own, and not the program's runtime or HTTP code: a test must
//! decide byte by byte what goes over a socket, and must not share a fault with what it tests. Nothing waits for luck:
//! whatever takes time is polled until [`PATIENCE`] is used up, and then the test fails with what it waited for.

#![allow(dead_code, unreachable_pub, reason = "each test file is a crate of its own and uses a part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    clippy::missing_fields_in_debug
)]
#![allow(missing_debug_implementations, reason = "nothing here is ever printed")]

pub mod blocks;
pub mod certs;
pub mod client;
pub mod growing;
pub mod json;
pub mod judge;
pub mod load;
pub mod node;
pub mod ports;
pub mod postgres;
pub mod provider;
pub mod pusher;
pub mod real;
pub mod relay;
pub mod reply;
pub mod secure;
pub mod shop;
pub mod socket;
pub mod watcher;
pub mod wire;

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[allow(unused_imports, reason = "not every test file uses all")]
pub use client::{Answer, Client};
#[allow(unused_imports, reason = "not every test file uses all")]
pub use node::{Chain, Node, Setup};
#[allow(unused_imports, reason = "not every test file uses all")]
pub use provider::{Provider, Seen};
#[allow(unused_imports, reason = "not every test file uses all")]
pub use pusher::{Act, Handshake, Pusher};
#[allow(unused_imports, reason = "not every test file uses all")]
pub use reply::{Fault, Reply};

/// How long anything that must happen may take. Generous: the machines that run this share few cores.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until `probe` gives something.
///
/// # Panics
/// After [`PATIENCE`], with `what`.
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe)
}

/// Polls until `probe` gives something, for at most `limit`.
///
/// # Panics
/// After `limit`, with `what`.
pub fn within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The line of a config that has one shard, on a core that this process may use.
///
/// # Panics
/// Where the kernel does not say which those are.
pub fn one_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list of cores");
    let first: String = allowed.trim().chars().take_while(char::is_ascii_digit).collect();
    format!("cores = [{first}]")
}

/// A program that ends when the thread that starts it does, so that a test run that is killed leaves nothing behind.
/// Where `setpriv` (util-linux) cannot do that, an ordinary one.
pub fn program(name: impl AsRef<OsStr>) -> Command {
    static CAN: OnceLock<bool> = OnceLock::new();
    let works = || {
        let mut trial = Command::new("setpriv");
        trial.args(["--pdeathsig", "KILL", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        trial.status().is_ok_and(|status| status.success())
    };
    if !*CAN.get_or_init(works) {
        return Command::new(name);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(name.as_ref());
    command
}
