//! The node under test: its config, its process, and what can be asked of both.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::{Answer, Client, Provider, client, eventually, ports};

/// The region and the id that every node here goes by.
pub const REGION: &str = "test-1";
pub const NODE_ID: &str = "node-a";

/// A chain of a config.
#[derive(Clone, Debug)]
pub struct Chain {
    lines: Vec<String>,
    providers: Vec<String>,
}

impl Chain {
    pub fn new(name: &str, id: u64) -> Self {
        let lines = vec![format!("name = \"{name}\""), format!("id = {id}"), "block_time = \"12s\"".to_owned()];
        Self { lines, providers: Vec::new() }.line("strategy = \"priority\"")
    }

    /// Adds a line, in place of one for the same key.
    pub fn line(mut self, line: &str) -> Self {
        let key = line.split('=').next().unwrap_or_default();
        self.lines.retain(|l| l.split('=').next() != Some(key));
        self.lines.push(line.to_owned());
        self
    }

    /// Adds a provider; each is less preferred than the one before it.
    pub fn provider(self, id: &str, url: &str) -> Self {
        let priority = self.providers.len() + 1;
        self.provider_with(id, url, &format!("priority = {priority}"))
    }

    /// Adds a provider with further lines.
    pub fn provider_with(mut self, id: &str, url: &str, lines: &str) -> Self {
        self.providers.push(format!("[[chains.providers]]\nid = \"{id}\"\nurl = \"{url}\"\n{lines}\n"));
        self
    }
}

/// A config in the making.
#[derive(Clone, Debug)]
pub struct Setup {
    sections: BTreeMap<String, Vec<String>>,
    chains: Vec<Chain>,
    files: Vec<(String, String)>,
    env: Vec<(String, String)>,
    descriptors_max: Option<usize>,
    http: SocketAddr,
    admin: SocketAddr,
}

impl Setup {
    /// No chain yet; ports of its own; quick to drain; it asks nothing by itself and hedges nothing, so that a provider sees the
    /// test's calls alone, once each.
    pub fn new() -> Self {
        let (http, admin) = (ports::unused(), ports::unused());
        Self {
            sections: BTreeMap::new(),
            chains: Vec::new(),
            files: Vec::new(),
            env: Vec::new(),
            descriptors_max: None,
            http,
            admin,
        }
        .set("node", &format!("region = \"{REGION}\""))
        .set("node", &format!("id = \"{NODE_ID}\""))
        .set("listen", &format!("http = [\"{http}\"]"))
        .set("listen", &format!("admin = \"{admin}\""))
        .set("life", "drain_delay = \"100ms\"")
        .set("probes", "enabled = false")
        .set("hedging", "budget_percent = 0")
    }

    /// One chain, `ethereum` with the id 1, and its providers in the order of preference: `alpha`, `beta`, `gamma`.
    pub fn ethereum(providers: &[&Provider]) -> Self {
        let names = ["alpha", "beta", "gamma"];
        let chain = names.iter().zip(providers).fold(Chain::new("ethereum", 1), |c, (n, p)| c.provider(n, &p.url()));
        Self::new().chain(chain)
    }

    pub fn chain(mut self, chain: Chain) -> Self {
        self.chains.push(chain);
        self
    }

    /// Puts other chains in the place of all.
    pub fn chains(mut self, chains: &[Chain]) -> Self {
        self.chains = chains.to_vec();
        self
    }

    /// Sets a line in a section, in place of one for the same key.
    pub fn set(mut self, section: &str, line: &str) -> Self {
        let key = line.split('=').next().unwrap_or_default().to_owned();
        let lines = self.sections.entry(section.to_owned()).or_default();
        lines.retain(|l| l.split('=').next() != Some(key.as_str()));
        lines.push(line.to_owned());
        self
    }

    /// A file beside the config; `@name@` in the config stands for its path.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How many descriptors the process may have.
    pub fn descriptors_max(self, max: usize) -> Self {
        Self { descriptors_max: Some(max), ..self }
    }

    /// The config as TOML.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (section, lines) in &self.sections {
            writeln!(text, "[{section}]\n{}\n", lines.join("\n")).unwrap();
        }
        for chain in &self.chains {
            writeln!(text, "[[chains]]\n{}\n\n{}", chain.lines.join("\n"), chain.providers.join("\n")).unwrap();
        }
        text
    }

    /// Starts a node and waits until it is ready.
    pub fn start(self) -> Node {
        let mut node = self.launch();
        node.wait_ready();
        node
    }

    /// Starts a node and waits for nothing.
    pub fn launch(self) -> Node {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let config = dir.path().join("livechain.toml");
        write_config(&self, &dir, &config);
        Node::spawn(self, dir, config)
    }
}

fn write_config(setup: &Setup, dir: &TempDir, config: &PathBuf) {
    let mut text = setup.text();
    for (name, content) in &setup.files {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        text = text.replace(&format!("@{name}@"), path.to_str().unwrap());
    }
    fs::write(config, text).unwrap();
}

/// What is tested: the build of these tests, or the one that `LIVECHAIN_BINARY` names.
fn binary() -> String {
    std::env::var("LIVECHAIN_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_livechain").to_owned())
}

/// A running node. It is killed when this is dropped.
pub struct Node {
    pub http: SocketAddr,
    pub admin: SocketAddr,
    setup: Setup,
    child: Child,
    log: Arc<Mutex<Vec<u8>>>,
    dir: Arc<TempDir>,
    config: PathBuf,
}

impl Node {
    fn spawn(setup: Setup, dir: Arc<TempDir>, config: PathBuf) -> Self {
        let limit = setup.descriptors_max.map_or(String::new(), |max| format!("ulimit -n {max} && "));
        let mut child = super::program("sh")
            .args(["-c", &format!("{limit}exec \"$0\" \"$@\""), &binary(), "run", "--config"])
            .arg(&config)
            .envs(setup.env.iter().map(|(n, v)| (n, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<Vec<u8>>>::default();
        gather(child.stdout.take().unwrap(), log.clone());
        gather(child.stderr.take().unwrap(), log.clone());
        Self { http: setup.http, admin: setup.admin, setup, child, log, dir, config }
    }

    /// A second process on the same config and ports, not waited for.
    pub fn successor(&self) -> Self {
        Self::spawn(self.setup.clone(), self.dir.clone(), self.config.clone())
    }

    /// Waits until `/api/ready` says so.
    ///
    /// # Panics
    /// When the process ends instead, or never gets ready; with what it logged.
    pub fn wait_ready(&mut self) {
        eventually("the node to be ready", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the node ended with {status}:\n{}", self.log());
            }
            (try_get(self.http, "/api/ready")? == 200).then_some(())
        });
    }

    /// Writes another config in the place of its own and asks for a reload.
    pub fn reload(&mut self, change: impl FnOnce(Setup) -> Setup) {
        self.setup = change(self.setup.clone());
        write_config(&self.setup, &self.dir, &self.config);
        self.signal("HUP");
    }

    /// Writes this text as its config and asks for a reload.
    pub fn reload_text(&self, text: &str) {
        self.overwrite(text);
        self.signal("HUP");
    }

    /// Writes this text as its config, and says nothing.
    pub fn overwrite(&self, text: &str) {
        fs::write(&self.config, text).unwrap();
    }

    /// A file beside its config.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes such a file in one go, as whoever renews certificates does.
    pub fn write(&self, name: &str, text: &str) {
        let beside = self.path(&format!("{name}.new"));
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.path(name)).unwrap();
    }

    /// The value of a metric without what is behind its point, the sum of those whose line begins with `name` and holds all of `labels`.
    pub fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let page = self.admin_get("/metrics").text();
        let found = page.lines().filter(|line| {
            line.starts_with(&format!("livechain_{name}{{")) && labels.iter().all(|label| line.contains(label))
        });
        let values = found.map(|line| line.rsplit(' ').next().unwrap());
        values.map(|value| value.split('.').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Everything it wrote to its standard output and error.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())).status().unwrap();
        assert!(status.success(), "kill -{name}");
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub fn wait_end(&mut self) -> ExitStatus {
        eventually("the node to end", || self.child.try_wait().unwrap())
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// CPU time used, in ticks of 10 ms, user and system, all threads.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// A new connection to the data port.
    pub fn connect(&self) -> Client {
        Client::open(self.http)
    }

    /// One call on a connection of its own.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.connect().send(client::request_with(path, "Connection: close\r\n", body)).answer()
    }

    /// One call to `/rpc/ethereum`.
    pub fn ethereum(&self, body: &str) -> Answer {
        self.post("/rpc/ethereum", body)
    }

    /// `GET` on the data port.
    pub fn get(&self, path: &str) -> Answer {
        get(self.http, path)
    }

    /// `GET` on the admin port.
    pub fn admin_get(&self, path: &str) -> Answer {
        get(self.admin, path)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the node:\n{}", self.log());
        }
    }
}

fn get(address: SocketAddr, path: &str) -> Answer {
    Client::open(address).send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).answer()
}

/// The status of a `GET`, `None` where the connection fails.
pub fn try_get(address: SocketAddr, path: &str) -> Option<u16> {
    let stream = std::net::TcpStream::connect(address).ok()?;
    let mut client = Client::over(stream);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    client.try_answer().ok()?.map(|a| a.status)
}

fn gather(mut from: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(n) = from.read(&mut piece) {
            if n == 0 {
                return;
            }
            into.lock().unwrap().extend_from_slice(&piece[..n]);
        }
    });
}
