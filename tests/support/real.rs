//! Real programs: Anvil as a chain, viem, ethers and web3.py as clients, wrk as load. Installed by `tests/setup`.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;

use super::{Client, eventually, json, ports};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Installs what is missing; at most once a process.
pub fn setup() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let output = Command::new(tests().join("setup")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tests/setup failed:\n{said}");
    });
}

/// A chain of its own, with a block for every transaction. It is killed when this is dropped.
pub struct Anvil {
    pub address: SocketAddr,
    child: Child,
}

impl Anvil {
    /// # Panics
    /// When it is not installed or does not answer.
    pub fn start() -> Self {
        Self::start_at(ports::unused())
    }

    /// # Panics
    /// When it is not installed or does not answer.
    pub fn start_at(address: SocketAddr) -> Self {
        setup();
        let child = super::program(anvil_binary())
            .args(["--silent", "--host", "127.0.0.1", "--port", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let anvil = Self { address, child };
        eventually("Anvil to answer", || {
            let stream = std::net::TcpStream::connect(address).ok()?;
            let answer = Client::over(stream).post("/", &json::call("eth_chainId", "[]")).try_answer().ok()??;
            (answer.raw("result")? == "\"0x7a69\"").then_some(())
        });
        anvil
    }

    /// One call of its own, beside those that are tested.
    pub fn ask(&self, method: &str, params: &str) -> String {
        Client::open(self.address).post("/", &json::call(method, params)).answer().result()
    }

    /// SIGKILL: it ends without a word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The npm package's own launcher would leave a process behind; its platform package has the program itself.
fn anvil_binary() -> PathBuf {
    let packages = tests().join("clients/node_modules/@foundry-rs");
    std::fs::read_dir(&packages)
        .unwrap_or_else(|e| panic!("{}: {e}", packages.display()))
        .map(|entry| entry.unwrap().path().join("bin/anvil"))
        .find(|path| path.is_file())
        .expect("Anvil for this platform")
}

/// The real clients.
pub const CLIENTS: [&str; 3] = ["viem", "ethers", "web3py"];

/// A program at work. It is killed when this is dropped.
pub struct Running {
    name: String,
    child: Child,
    said: Option<[JoinHandle<String>; 2]>,
}

impl Running {
    fn start(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{name}: {e}"));
        let said = [gather(child.stdout.take().unwrap()), gather(child.stderr.take().unwrap())];
        Self { name: name.to_owned(), child, said: Some(said) }
    }

    /// Waits for its end; what it printed.
    ///
    /// # Panics
    /// When it failed, with what it printed.
    pub fn succeeds(mut self) -> String {
        let status = self.child.wait().unwrap();
        let said = self.said.take().expect("taken once").map(|s| s.join().unwrap()).concat();
        assert!(status.success(), "{} ended with {status}:\n{said}", self.name);
        said
    }

    pub fn is_finished(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = from.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    })
}

/// Starts a real client against a node; `seconds` of calls in a loop, or every kind of call once.
pub fn client(name: &str, url: &str, seconds: Option<u64>) -> Running {
    let mut command = script(&if name == "web3py" { "web3py.py".to_owned() } else { format!("{name}.mjs") });
    command.arg(url);
    if let Some(seconds) = seconds {
        command.arg("--loop").arg(seconds.to_string());
    }
    Running::start(name, command)
}

/// A script of `tests/clients`, by what runs its kind.
pub fn script(file: &str) -> Command {
    setup();
    let clients = tests().join("clients");
    let python = Path::new(file).extension().is_some_and(|kind| kind == "py");
    let mut command = if python { super::program(clients.join(".venv/bin/python")) } else { super::program("node") };
    command.arg(clients.join(file));
    command
}

/// wrk with `POST`ed calls for so many seconds.
pub fn wrk(url: &str, connections: usize, seconds: u64) -> Running {
    setup();
    let mut command = super::program("wrk");
    command.args(["-t1", "-c", &connections.to_string(), "-d", &format!("{seconds}s"), "--timeout", "10s", "-s"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("perf/post.lua")).arg(url);
    Running::start("wrk", command)
}
