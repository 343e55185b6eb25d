//! The listening sockets: one per address and shard, all bound before any shard starts.
//!
//! `SO_REUSEPORT` gives every shard a queue of its own and lets the kernel spread connections over them. It would also
//! let a second node of the same user bind the same ports unnoticed and take half of the calls; so each address is
//! first tried without it, and an address in use is an error. Taking over is the upgrade's business, never an accident.
//!
//! Control keeps its copies while the node serves, to hand them to a successor; they must be dropped before the shards
//! close theirs, or the kernel would go on queueing connections that nobody accepts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use crate::config::Listen;
use crate::limits;
use crate::shard::Listening;

/// An address and the sockets that listen on it.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    pub(super) sockets: Vec<OwnedFd>,
    /// Clients speak TLS there. A socket does not know; whoever listens on it says so.
    pub(super) secure: bool,
}

/// Everything that a node listens on.
#[derive(Debug)]
pub(super) struct Listeners {
    /// For clients, plain ones first.
    pub(super) data: Vec<Bound>,
    pub(super) admin: Option<TcpListener>,
}

/// The addresses that clients come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data<'a> {
    pub(super) http: &'a [SocketAddr],
    pub(super) https: &'a [SocketAddr],
}

/// Why an address cannot be listened on, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("{0} is in use by another process; stop that one, or choose another address under [listen]")]
    InUse(SocketAddr),
    #[error("{0} is not an address of this machine; correct it under [listen]")]
    NotHere(SocketAddr),
    #[error("{0} may not be listened on: a port below 1024 needs root or CAP_NET_BIND_SERVICE")]
    Forbidden(SocketAddr),
    #[error("listening on {address}: {error}")]
    Other { address: SocketAddr, error: io::Error },
}

impl ListenError {
    fn new(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::AddrNotAvailable => Self::NotHere(address),
            io::ErrorKind::PermissionDenied => Self::Forbidden(address),
            _ => Self::Other { address, error },
        }
    }
}

impl Listeners {
    /// Binds `shards` sockets for each address that clients come to, and one for `admin`.
    pub(super) fn bind(data: Data<'_>, admin: Option<SocketAddr>, shards: usize) -> Result<Self, ListenError> {
        let all = data.all();
        check_free(&all)?;
        let bind = |(at, &address)| bind_shards(address, &all, shards, at >= data.http.len());
        let data = all.iter().enumerate().map(bind).collect::<Result<_, _>>()?;
        let admin = admin.map(bind_admin).transpose()?;
        Ok(Self { data, admin })
    }

    /// Goes on with what a running node gave, binding what `data` and `shards` need beyond it.
    pub(super) fn inherit(
        mut given: Vec<Bound>,
        given_admin: Option<TcpListener>,
        data: Data<'_>,
        admin: Option<SocketAddr>,
        shards: usize,
    ) -> Result<Self, ListenError> {
        let all = data.all();
        for bound in &mut given {
            bound.secure = data.https.contains(&bound.address);
            while bound.sockets.len() < shards {
                bound.sockets.push(bind_shared(bound.address, &all)?);
            }
        }
        let same = |listener: &TcpListener| listener.local_addr().ok() == admin;
        let admin = match (given_admin.filter(same), admin) {
            (Some(listener), _) => Some(listener),
            (None, Some(address)) => Some(bind_admin(address)?),
            (None, None) => None,
        };
        Ok(Self { data: given, admin })
    }

    /// Copies for each of `shards`: at least one socket of every address, and every socket at one shard.
    pub(super) fn for_shards(&self, shards: usize) -> io::Result<Vec<Vec<Listening>>> {
        let mut all: Vec<Vec<Listening>> = (0..shards).map(|_| Vec::new()).collect();
        for bound in &self.data {
            for (index, socket) in bound.sockets.iter().enumerate() {
                all[index % shards].push(Listening { fd: socket.try_clone()?, secure: bound.secure });
            }
        }
        Ok(all)
    }

    /// Begins no new connection from here on; those whose handshake has begun still come into the queues.
    ///
    /// Closing a listening socket resets what came into its queue since the last look, and what is still shaking hands:
    /// connections that their clients already believe in. So the kernel first drops the packets that would begin one
    /// (a filter over the TCP header), and whoever sends them tries again until the port is closed or another's. It holds
    /// for the socket, whoever has it: never for one that a successor has.
    pub(super) fn begin_no_more(&self) -> io::Result<()> {
        let mut sockets = self.data.iter().flat_map(|bound| &bound.sockets);
        sockets.try_for_each(|socket| SockRef::from(socket).attach_filter(&without_syn()))
    }

    /// Nothing any more.
    pub(super) fn none() -> Self {
        Self { data: Vec::new(), admin: None }
    }

    /// Where it listens for clients.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.data.iter().map(|bound| bound.address).collect()
    }

    /// Where they speak TLS with it, or plainly.
    pub(super) fn addresses_of(&self, secure: bool) -> Vec<SocketAddr> {
        self.data.iter().filter(|bound| bound.secure == secure).map(|bound| bound.address).collect()
    }
}

impl Data<'_> {
    /// Plain ones first.
    pub(super) fn all(&self) -> Vec<SocketAddr> {
        [self.http, self.https].concat()
    }
}

impl<'a> From<&'a Listen> for Data<'a> {
    fn from(listen: &'a Listen) -> Self {
        Self { http: &listen.http, https: &listen.https }
    }
}

/// Whether `http` can be listened on, and nobody does.
pub(super) fn check_free(http: &[SocketAddr]) -> Result<(), ListenError> {
    for &address in http {
        bind(address, v6_only(address, http), Sharing::Alone).map_err(|error| ListenError::new(address, error))?;
    }
    Ok(())
}

/// Whether others may bind the same address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    Shared,
}

/// A packet filter in classic BPF: lets every TCP segment pass but those with SYN set.
fn without_syn() -> [SockFilter; 4] {
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const { assert!(LOAD_BYTE as u32 == libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) };
    const { assert!(JUMP_IF_SET as u32 == libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) };
    const { assert!(RETURN as u32 == libc::BPF_RET | libc::BPF_K) };
    [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

fn bind_shards(address: SocketAddr, http: &[SocketAddr], shards: usize, secure: bool) -> Result<Bound, ListenError> {
    let first = bind_shared(address, http)?;
    // A port left to the kernel is the same for all shards.
    let local = local_address(&first).map_err(|error| ListenError::new(address, error))?;
    let mut sockets = vec![first];
    while sockets.len() < shards {
        sockets.push(bind_shared(local, http)?);
    }
    Ok(Bound { address: local, sockets, secure })
}

fn bind_shared(address: SocketAddr, http: &[SocketAddr]) -> Result<OwnedFd, ListenError> {
    let listen = || {
        let socket = bind(address, v6_only(address, http), Sharing::Shared)?;
        socket.listen(limits::LISTEN_BACKLOG)?;
        Ok(socket.into())
    };
    listen().map_err(|error| ListenError::new(address, error))
}

fn bind_admin(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listen = || {
        let socket = bind(address, false, Sharing::Alone)?;
        socket.listen(limits::LISTEN_BACKLOG)?;
        Ok(socket.into())
    };
    listen().map_err(|error| ListenError::new(address, error))
}

fn bind(address: SocketAddr, v6_only: bool, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // Connections of a process before us that linger in TIME_WAIT are no reason to fail.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Shared)?;
    // Inherited by what is accepted: one system call less a connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// An IPv6 address also takes IPv4 connections, as Linux has it, unless an IPv4 address of the same port is listed.
fn v6_only(address: SocketAddr, listed: &[SocketAddr]) -> bool {
    listed.iter().any(|other| other.is_ipv4() && other.port() == address.port())
}

fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let local = SockRef::from(socket).local_addr()?;
    local.as_socket().ok_or_else(|| io::Error::other("a TCP socket without an IP address"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    const HERE: &str = "127.0.0.1:0";

    fn plain(http: &[SocketAddr]) -> Data<'_> {
        Data { http, https: &[] }
    }

    fn bind_here(shards: usize) -> Listeners {
        Listeners::bind(plain(&[HERE.parse().unwrap()]), None, shards).unwrap()
    }

    #[test]
    fn each_shard_gets_a_socket_of_the_same_port() {
        let listeners = bind_here(3);
        let shards = listeners.for_shards(3).unwrap();
        for sockets in &shards {
            assert_eq!(sockets.len(), 1);
            assert_eq!(local_address(&sockets[0].fd).unwrap(), listeners.addresses()[0]);
        }
        TcpStream::connect(listeners.addresses()[0]).unwrap();
    }

    #[test]
    fn a_listener_that_begins_no_more_keeps_what_has_begun() {
        let listeners = bind_here(1);
        let address = listeners.addresses()[0];
        let listener = TcpListener::from(listeners.for_shards(1).unwrap().remove(0).remove(0).fd);
        let before = TcpStream::connect(address).unwrap();
        listeners.begin_no_more().unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(50)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let (mut accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer, before.local_addr().unwrap());
        accepted.write_all(b"!").unwrap();
        let mut byte = [0];
        (&before).read_exact(&mut byte).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "the late one never came");
    }

    #[test]
    fn a_port_in_use_is_told_although_it_could_be_shared() {
        let listeners = bind_here(1);
        let address = listeners.addresses()[0];
        let error = Listeners::bind(plain(&[address]), None, 1).unwrap_err();
        assert!(matches!(error, ListenError::InUse(told) if told == address), "{error}");
        let error = Listeners::bind(plain(&[]), Some(address), 1).unwrap_err();
        assert!(matches!(error, ListenError::InUse(_)), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_told() {
        let error = Listeners::bind(plain(&["192.0.2.1:0".parse().unwrap()]), None, 1).unwrap_err();
        assert!(matches!(error, ListenError::NotHere(_)), "{error}");
    }

    #[test]
    fn more_shards_bind_more_and_fewer_share_out_all() {
        for (before, shards, expected) in [(2, 2, vec![1, 1]), (1, 3, vec![1, 1, 1]), (5, 2, vec![3, 2])] {
            let old = bind_here(before);
            let http = old.addresses();
            let new = Listeners::inherit(old.data, None, plain(&http), None, shards).unwrap();
            let counts: Vec<_> = new.for_shards(shards).unwrap().iter().map(Vec::len).collect();
            assert_eq!(counts, expected, "{before} sockets for {shards} shards");
        }
    }

    #[test]
    fn whoever_takes_over_says_where_tls_is_spoken() {
        let here = [HERE.parse().unwrap()];
        let old = Listeners::bind(Data { http: &here, https: &here }, None, 2).unwrap();
        let secure = |listeners: &Listeners| {
            let shards = listeners.for_shards(2).unwrap();
            shards.iter().map(|sockets| sockets.iter().map(|one| one.secure).collect()).collect::<Vec<Vec<bool>>>()
        };
        assert_eq!(secure(&old), [[false, true], [false, true]]);
        let (http, https) = (old.addresses_of(true), old.addresses_of(false));
        let new = Listeners::inherit(old.data, None, Data { http: &http, https: &https }, None, 2).unwrap();
        assert_eq!(secure(&new), [[true, false], [true, false]]);
    }

    #[test]
    fn the_admin_listener_is_kept_only_for_its_own_address() {
        let old = Listeners::bind(plain(&[]), Some(HERE.parse().unwrap()), 1).unwrap();
        let listener = old.admin.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Listeners::inherit(Vec::new(), Some(listener), plain(&[]), Some(address), 1).unwrap().admin.unwrap();
        let other = Listeners::inherit(Vec::new(), Some(kept), plain(&[]), Some(HERE.parse().unwrap()), 1).unwrap();
        assert_ne!(other.admin.unwrap().local_addr().unwrap(), address);
    }

    #[test]
    fn v6_takes_v4_unless_v4_is_listed() {
        let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let v6 = "[::]:8545".parse().unwrap();
        assert!(!v6_only(v6, &list(&["[::]:8545", "0.0.0.0:8546"])));
        assert!(v6_only(v6, &list(&["[::]:8545", "0.0.0.0:8545"])));
    }
}
