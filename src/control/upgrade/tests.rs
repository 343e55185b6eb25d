//! A hand-over between two threads, each with its side's sockets.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use std::os::unix::net::UnixListener;

use super::*;
use crate::control::listeners::{Data, Listeners};

/// The running side: two shards' sockets and an admin port.
struct Running {
    listeners: Arc<Listeners>,
    incumbent: Incumbent,
}

impl Running {
    fn start() -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let listeners = Arc::new(Listeners::bind(Data { http: &[any], https: &[] }, Some(any), 2).unwrap());
        let incumbent = Incumbent::new(&listeners.addresses(), None).unwrap().unwrap();
        Self { listeners, incumbent }
    }

    fn addresses(&self) -> (Vec<SocketAddr>, SocketAddr) {
        (self.listeners.addresses(), self.listeners.admin.as_ref().unwrap().local_addr().unwrap())
    }

    /// Until a newcomer is ready; then lets go of everything.
    async fn give_way(mut self) {
        let takeover = self.incumbent.next(&self.listeners).await;
        drop(self);
        takeover.done();
    }
}

fn accepts(listeners: &[&TcpListener], address: SocketAddr) {
    let mut client = TcpStream::connect(address).unwrap();
    for listener in listeners {
        listener.set_nonblocking(true).unwrap();
    }
    // The connection waits in the queue of one of them.
    let accepted = listeners.iter().find_map(|listener| listener.accept().ok());
    drop(accepted.expect("some socket has the connection"));
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

/// Takes over as a newcomer does, and serves a client on each port after the other side has gone.
fn take(http: &[SocketAddr], admin: SocketAddr) -> UnixListener {
    let taken = request(http).unwrap().expect("a node runs there");
    let (given, given_admin, socket, farewell) = taken.split();
    assert_eq!(given.iter().map(|bound| bound.sockets.len()).collect::<Vec<_>>(), [2]);
    let waiting = TcpStream::connect(http[0]).unwrap();
    farewell.ready().unwrap();
    let sockets: Vec<_> = given[0].sockets.iter().map(|socket| socket.try_clone().unwrap().into()).collect();
    let sockets: Vec<&TcpListener> = sockets.iter().collect();
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
    }
    let found = sockets.iter().find_map(|socket| socket.accept().ok());
    assert_eq!(found.unwrap().1, waiting.local_addr().unwrap(), "a connection that waited is not lost");
    accepts(&sockets, http[0]);
    accepts(&[&given_admin.unwrap()], admin);
    socket
}

#[tokio::test]
async fn a_newcomer_gets_every_socket_and_the_next_one_too() {
    let running = Running::start();
    let (http, admin) = running.addresses();
    let give_way = tokio::spawn(running.give_way());
    let (again, socket) = tokio::task::spawn_blocking(move || {
        let socket = take(&http, admin);
        (http, socket)
    })
    .await
    .unwrap();
    give_way.await.unwrap();
    assert!(Incumbent::new(&again, None).is_err(), "the name is the newcomer's now");
    assert!(Incumbent::new(&again, Some(socket)).unwrap().is_some());
}

#[tokio::test]
async fn a_newcomer_that_fails_leaves_the_node_serving() {
    let running = Running::start();
    let (http, admin) = running.addresses();
    let give_way = tokio::spawn(running.give_way());
    let socket = tokio::task::spawn_blocking(move || {
        drop(request(&http).unwrap().expect("a node runs there"));
        take(&http, admin)
    });
    socket.await.unwrap();
    give_way.await.unwrap();
}

#[test]
fn where_nobody_runs_there_is_nothing_to_take() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(request(&[free]).unwrap().is_none());
    assert!(request(&["127.0.0.1:0".parse().unwrap()]).unwrap().is_none());
}

fn addresses(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn the_name_follows_the_addresses_and_not_their_order() {
    let one = name(&addresses(&["0.0.0.0:8545", "[::]:8545"])).unwrap();
    assert_eq!(name(&addresses(&["[::]:8545", "0.0.0.0:8545"])).unwrap(), one);
    assert_ne!(name(&addresses(&["0.0.0.0:8545"])).unwrap(), one);
    assert_eq!(one.len(), "livechain/".len() + 16);
}

#[test]
fn versions_agree_on_the_name() {
    // Changing it would leave the node of yesterday without a successor.
    assert_eq!(name(&addresses(&["127.0.0.1:8545"])).unwrap(), "livechain/237d3e1462df92ae");
}

#[test]
fn a_port_of_the_kernels_choice_has_no_name() {
    assert_eq!(name(&addresses(&["127.0.0.1:0"])), None);
}
