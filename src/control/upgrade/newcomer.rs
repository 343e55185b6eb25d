//! The starting side of an upgrade: gets the sockets of the node that runs, and tells it when it may go.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use socket2::SockRef;

use super::manifest::Manifest;
use super::{DONE, READY, UpgradeError, address, check_peer, descriptors, name};
use crate::control::listeners::Bound;
use crate::limits;

/// What the running node gave.
#[derive(Debug)]
pub(in crate::control) struct Taken {
    pub(in crate::control) http: Vec<Bound>,
    pub(in crate::control) admin: Option<TcpListener>,
    /// On which the next upgrade will be asked for.
    pub(in crate::control) upgrade: UnixListener,
    stream: UnixStream,
}

/// Asks the node that runs on `listen` for its sockets; `None` when there is none.
pub(in crate::control) fn request(listen: &[SocketAddr]) -> Result<Option<Taken>, UpgradeError> {
    let Some(name) = name(listen) else {
        return Ok(None);
    };
    let mut stream = match UnixStream::connect_addr(&address(&name)?) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    check_peer(&stream)?;
    stream.set_read_timeout(Some(limits::UPGRADE_MESSAGE_WAIT))?;
    stream.set_write_timeout(Some(limits::UPGRADE_MESSAGE_WAIT))?;
    let manifest = Manifest::read(&mut stream)?;
    let received = descriptors::receive(&stream, manifest.descriptors())?;
    sort(&manifest, received, stream).map(Some)
}

/// Gives each descriptor its place, after a look that it is what the manifest says.
fn sort(manifest: &Manifest, received: Vec<OwnedFd>, stream: UnixStream) -> Result<Taken, UpgradeError> {
    let mut received = received.into_iter();
    let mut next = || received.next().ok_or_else(|| UpgradeError::Manifest("too few descriptors".into()));
    let upgrade = UnixListener::from(next()?);
    let mut http = Vec::with_capacity(manifest.http.len());
    for listening in &manifest.http {
        let sockets: Vec<_> = (0..listening.sockets).map(|_| next()).collect::<Result<_, _>>()?;
        for socket in &sockets {
            check_listens(socket, listening.address)?;
        }
        http.push(Bound { address: listening.address, sockets, secure: false });
    }
    let admin = match manifest.admin {
        Some(address) => {
            let socket = next()?;
            check_listens(&socket, address)?;
            Some(TcpListener::from(socket))
        }
        None => None,
    };
    Ok(Taken { http, admin, upgrade, stream })
}

fn check_listens(socket: &OwnedFd, address: SocketAddr) -> Result<(), UpgradeError> {
    let socket = SockRef::from(socket);
    let listens = socket.is_listener()? && socket.local_addr()?.as_socket() == Some(address);
    listens.then_some(()).ok_or_else(|| UpgradeError::Manifest(format!("a descriptor does not listen on {address}")))
}

/// The wire to the incumbent, once everything that it gave is in use.
#[derive(Debug)]
pub(in crate::control) struct Farewell(UnixStream);

impl Taken {
    /// Its parts, and the wire on which to say that they serve.
    pub(in crate::control) fn split(self) -> (Vec<Bound>, Option<TcpListener>, UnixListener, Farewell) {
        (self.http, self.admin, self.upgrade, Farewell(self.stream))
    }
}

impl Farewell {
    /// Tells the incumbent that this process accepts, and waits until the other does so no longer.
    /// An error leaves this process serving as it is: the other died, or will go on beside it.
    pub(in crate::control) fn ready(mut self) -> io::Result<()> {
        self.0.write_all(&[READY])?;
        let mut answer = [0];
        self.0.read_exact(&mut answer)?;
        if answer[0] == DONE { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
