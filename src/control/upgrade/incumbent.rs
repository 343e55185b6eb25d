//! The running side of an upgrade: gives copies of its sockets to whoever may have them, and goes when told.
//!
//! One newcomer at a time. The talk is a few blocking messages with time limits, on a thread of the runtime's own
//! pool, so that a newcomer that stalls stalls nobody.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::manifest::{Listening, Manifest};
use super::{DONE, READY, UpgradeError, address, check_peer, descriptors, name};
use crate::control::listeners::Listeners;
use crate::limits;

/// Waits for newcomers.
#[derive(Debug)]
pub(in crate::control) struct Incumbent {
    listener: tokio::net::UnixListener,
    /// The same socket, to be given away.
    socket: Arc<UnixListener>,
    talk: Option<JoinHandle<Result<UnixStream, UpgradeError>>>,
}

/// A newcomer that accepts on our sockets and waits for us to stop.
#[derive(Debug)]
pub(in crate::control) struct Takeover(UnixStream);

impl Incumbent {
    /// Listens under the name of `listen`, or goes on with the socket of the node before. `None` where
    /// the addresses have no name. Needs a runtime.
    pub(in crate::control) fn new(listen: &[SocketAddr], inherited: Option<UnixListener>) -> io::Result<Option<Self>> {
        let socket = match (inherited, name(listen)) {
            (Some(socket), _) => socket,
            (None, Some(name)) => UnixListener::bind_addr(&address(&name)?)?,
            (None, None) => return Ok(None),
        };
        socket.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(socket.try_clone()?)?;
        Ok(Some(Self { listener, socket: Arc::new(socket), talk: None }))
    }

    /// The next newcomer that is ready. Those that fail are logged and forgotten.
    /// Cancel safe: a talk under way goes on at the next call.
    pub(in crate::control) async fn next(&mut self, listeners: &Arc<Listeners>) -> Takeover {
        loop {
            if self.talk.is_none() {
                let stream = self.accept().await;
                let (socket, listeners) = (Arc::clone(&self.socket), Arc::clone(listeners));
                self.talk = Some(tokio::task::spawn_blocking(move || give(stream, &socket, &listeners)));
            }
            let Some(talk) = &mut self.talk else { continue };
            let result = talk.await;
            self.talk = None;
            match result {
                Ok(Ok(stream)) => return Takeover(stream),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "an upgrade failed; this process goes on serving");
                }
                Err(error) => {
                    tracing::error!(%error, "an upgrade's talk ended; this process goes on serving");
                }
            }
        }
    }

    async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => return stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting an upgrade");
                    tokio::time::sleep(limits::UPGRADE_MESSAGE_WAIT).await;
                }
            }
        }
    }
}

impl Takeover {
    /// Tells the newcomer that this process accepts no longer.
    pub(in crate::control) fn done(mut self) {
        // It serves whether it hears this or not.
        let _ = self.0.write_all(&[DONE]);
    }
}

/// Gives everything and waits until the newcomer serves.
fn give(mut stream: UnixStream, socket: &UnixListener, listeners: &Listeners) -> Result<UnixStream, UpgradeError> {
    stream.set_nonblocking(false)?;
    check_peer(&stream)?;
    stream.set_write_timeout(Some(limits::UPGRADE_MESSAGE_WAIT))?;
    stream.set_read_timeout(Some(limits::UPGRADE_WAIT))?;
    let admin = listeners.admin.as_ref().map(TcpListener::local_addr).transpose()?;
    let http =
        listeners.data.iter().map(|bound| Listening { address: bound.address, sockets: bound.sockets.len() }).collect();
    Manifest::new(http, admin).write(&mut stream)?;
    let mut all: Vec<BorrowedFd<'_>> = vec![socket.as_fd()];
    all.extend(listeners.data.iter().flat_map(|bound| bound.sockets.iter().map(AsFd::as_fd)));
    all.extend(listeners.admin.as_ref().map(AsFd::as_fd));
    descriptors::send(&stream, &all)?;
    let mut word = [0];
    stream.read_exact(&mut word)?;
    if word[0] == READY { Ok(stream) } else { Err(UpgradeError::Manifest(format!("word {:#x}", word[0]))) }
}
