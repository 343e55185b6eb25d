//! A PostgreSQL server of the tests' own, with its data in a directory that goes with it.
//!
//! It is spoken to by `psql` where a test looks beside the program. As root it runs as `postgres`, which will not run as
//! root. It ends with the last test that uses it, also when the run is killed: a thread of its own starts it, since
//! `setpriv` ends a program with the thread that did.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use super::certs::Authority;
use super::{eventually, ports};

/// Whoever owns everything in it, and the password.
const USER: &str = "shop";
pub const PASSWORD: &str = "s3cr3t/of@the?tests";
const PASSWORD_IN_URL: &str = "s3cr3t%2Fof%40the%3Ftests";

pub struct Postgres {
    pub address: SocketAddr,
    /// Of the authority that its certificate is of.
    pub root_file: PathBuf,
    commands: Sender<Act>,
    owner: Option<JoinHandle<()>>,
    databases: AtomicU32,
    // Last: it goes when nothing is in it any more.
    directory: tempfile::TempDir,
}

enum Act {
    Start(Sender<()>),
    Kill(Sender<()>),
}

impl Postgres {
    /// The one that tests of this process share, each with a database of its own.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Self::start());
        *shared = Arc::downgrade(&started);
        started
    }

    /// # Panics
    /// When it cannot be installed or does not answer.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let (password, root_file) = (directory.path().join("password"), directory.path().join("root.pem"));
        std::fs::write(&password, PASSWORD).unwrap();
        let authority = Authority::new();
        std::fs::write(&root_file, authority.pem()).unwrap();
        give_away(directory.path());
        let mut init = as_postgres("initdb");
        init.args(["--no-sync", "--wal-segsize=4", "--auth=scram-sha-256", "--username", USER, "--encoding=UTF8"]);
        init.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data);
        run(&mut init);
        let (certificate, key) = authority.pair(&["localhost"]);
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = data.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        give_away(&data);
        let address = ports::unused();
        let (commands, acts) = channel();
        let place = data.clone();
        let owner = std::thread::spawn(move || own(&place, address, &acts));
        let server = Self { address, root_file, commands, owner: Some(owner), databases: AtomicU32::new(0), directory };
        server.start_again();
        server
    }

    /// SIGKILL: it ends without a word, and what was not committed is gone.
    pub fn kill(&self) {
        let (done, told) = channel();
        self.commands.send(Act::Kill(done)).unwrap();
        told.recv().unwrap();
    }

    /// Starts it where it was killed.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start_again(&self) {
        eventually("PostgreSQL to answer", || {
            let (done, told) = channel();
            self.commands.send(Act::Start(done)).unwrap();
            told.recv().unwrap();
            self.psql("postgres", "SELECT 1").ok()
        });
    }

    /// Makes a database; its name.
    pub fn database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}")).unwrap();
        name
    }

    /// The address of a database as the program has it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD_IN_URL}@localhost:{}/{database}", self.address.port())
    }

    /// What a statement says: rows as lines, columns with `|` between them.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER, "-d", database]);
        psql.args(["-p", &self.address.port().to_string(), "-f", "-"]).env("PGPASSWORD", PASSWORD);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut psql = psql.spawn().unwrap();
        std::io::Write::write_all(&mut psql.stdin.take().unwrap(), sql.as_bytes()).unwrap();
        let said = psql.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if said.status.success() { Ok(text(&said.stdout)) } else { Err(text(&said.stderr)) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let (done, told) = channel();
        if self.commands.send(Act::Kill(done)).is_ok() {
            let _ = told.recv();
        }
        // The owner ends when nobody can tell it anything any more.
        self.commands = channel().0;
        let _ = self.owner.take().map(JoinHandle::join);
        let _ = &self.directory;
    }
}

/// Starts and kills it, in a thread that lives as long as it may.
fn own(data: &Path, address: SocketAddr, acts: &Receiver<Act>) {
    let mut running: Option<std::process::Child> = None;
    for act in acts {
        match act {
            Act::Start(done) => {
                // One that found its predecessor's children still there has ended.
                let alive = running.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none());
                if !alive {
                    let log = std::fs::OpenOptions::new().create(true).append(true).open(data.join("log")).unwrap();
                    let mut server = as_postgres("postgres");
                    server.arg("-D").arg(data).arg("-k").arg(data).args(["-p", &address.port().to_string()]);
                    // Its host's fall is not tested, its own is: nothing of that depends on the disk.
                    for set in ["listen_addresses=localhost", "ssl=on", "fsync=off", "max_connections=60"] {
                        server.args(["-c", set]);
                    }
                    running = Some(server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
                }
                let _ = done.send(());
            }
            Act::Kill(done) => {
                if let Some(mut child) = running.take() {
                    child.kill().unwrap();
                    child.wait().unwrap();
                }
                let _ = done.send(());
            }
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program of the server's, as somebody who may run it.
fn as_postgres(name: &str) -> Command {
    let path = binaries().join(name);
    let mut command = super::program("setpriv");
    if is_root() {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--pdeathsig", "KILL"]);
    } else {
        command.args(["--pdeathsig", "KILL"]);
    }
    command.arg(path);
    command
}

/// Debian keeps them out of everybody's way, by version.
fn binaries() -> PathBuf {
    let find = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        let newest = versions.filter_map(|entry| entry.ok().map(|entry| entry.path())).max_by_key(number)?;
        Some(newest.join("bin")).filter(|bin| bin.join("initdb").is_file())
    };
    find().unwrap_or_else(|| {
        super::real::setup();
        find().expect("PostgreSQL's programs, which tests/setup installs")
    })
}

fn give_away(directory: &Path) {
    if is_root() {
        run(Command::new("chown").args(["-R", "postgres:postgres"]).arg(directory));
    }
}

fn run(command: &mut Command) {
    let said = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(said.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said.stderr));
}
