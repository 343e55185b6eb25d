//! TLS as tests speak it: rustls where they look at bytes, `openssl s_client` where another's opinion counts, `HAProxy`
//! before the node.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned};

use super::certs::Authority;
use super::{Client, PATIENCE, Setup, eventually, ports};

/// A client of the node over TLS.
pub type Secure = Client<StreamOwned<ClientConnection, TcpStream>>;

/// The name that nodes here are certified for.
pub const NAME: &str = "node.example";

/// How a client of the tests speaks TLS.
pub struct Speaks {
    pub config: ClientConfig,
}

impl Speaks {
    /// Trusts `authority`, offers what rustls does, and resumes nothing.
    pub fn to(authority: &Authority) -> Self {
        Self::with(authority, None, rustls::ALL_VERSIONS)
    }

    /// With a certificate of its own, and these versions alone.
    pub fn with(
        authority: &Authority,
        own: Option<(&str, &str)>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            Some((cert, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Self { config }
    }

    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub fn resuming(mut self) -> Self {
        self.config.resumption = Resumption::in_memory_sessions(64);
        self
    }

    pub fn shared(self) -> Arc<ClientConfig> {
        Arc::new(self.config)
    }
}

/// A connection with its handshake done, or why it cannot be.
pub fn connect(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> io::Result<Secure> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    shake_hands(stream, name, config)
}

/// The same on a connection that is there.
pub fn shake_hands(mut stream: TcpStream, name: &str, config: &Arc<ClientConfig>) -> io::Result<Secure> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    Ok(Client::on(StreamOwned::new(tls, stream)))
}

impl Secure {
    pub fn version(&mut self) -> ProtocolVersion {
        self.stream().conn.protocol_version().unwrap()
    }

    pub fn resumed(&mut self) -> bool {
        self.stream().conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate that the node shows, DER.
    pub fn shown(&mut self) -> Vec<u8> {
        self.stream().conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Says `close_notify`, and goes on reading.
    pub fn say_goodbye(&mut self) {
        let stream = self.stream();
        stream.conn.send_close_notify();
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut stream.sock).unwrap();
        }
    }
}

/// A node of one chain with `https` beside `http`, and `certificates` by the authority, each a list of names.
pub fn setup(setup: Setup, authority: &Authority, certificates: &[&[&str]]) -> (Setup, SocketAddr) {
    let https = ports::unused();
    let mut setup = setup.set("listen", &format!("https = [\"{https}\"]"));
    let mut listed = Vec::new();
    for (at, names) in certificates.iter().enumerate() {
        let (cert, key) = authority.pair(names);
        setup = setup.file(&format!("cert{at}.pem"), &cert).file(&format!("key{at}.pem"), &key);
        listed.push(format!("{{ cert = \"@cert{at}.pem@\", key = \"@key{at}.pem@\" }}"));
    }
    let setup = setup.file("ca.pem", &authority.pem());
    (setup.set("listen", &format!("certificates = [{}]", listed.join(", "))), https)
}

/// What `openssl s_client` says with these arguments, given this input; and whether it was content.
pub fn openssl(address: SocketAddr, arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = super::program("timeout")
        .args(["20", "openssl", "s_client", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that has failed already reads nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

/// A real `HAProxy`, killed when this is dropped.
pub struct HaProxy {
    pub address: SocketAddr,
    child: Child,
    _dir: tempfile::TempDir,
}

impl HaProxy {
    /// Passes TCP or HTTP (`mode`) on to `to`, with these words behind the server's address, and further lines of its backend.
    pub fn start(mode: &str, to: SocketAddr, words: &str, lines: &str) -> Self {
        let (dir, address) = (tempfile::tempdir().unwrap(), ports::unused());
        let config = dir.path().join("haproxy.cfg");
        let text = format!(
            "global\n  maxconn 100\ndefaults\n  mode {mode}\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
             listen door\n  bind {address}\n  {lines}\n  server node {to} {words}\n"
        );
        std::fs::write(&config, text).unwrap();
        let child = super::program("haproxy").arg("-db").arg("-f").arg(&config).spawn().unwrap();
        let haproxy = Self { address, child, _dir: dir };
        eventually("HAProxy to listen", || TcpStream::connect(address).ok());
        haproxy
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `curl` says with these arguments.
///
/// # Panics
/// When it fails.
pub fn curl(arguments: &[&str]) -> String {
    let output = super::program("curl").args(["-sS", "--max-time", "20"]).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "curl {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Everything until the end of the connection.
pub fn rest(stream: &mut impl Read) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes).map(|_| ());
    (bytes, ended)
}
