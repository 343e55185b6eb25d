//! Attaching over real sockets: a shard of its own, and a provider that a test plays frame by frame.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use ringbuf::traits::Consumer;

use super::*;
use crate::limits;
use crate::link::{ControlEnd, EventKind, SocketLoss};
use crate::routing::Gate;
use crate::shard::Shard;
use crate::shard::alone::alone;
use crate::shard::upstream::Upstream;
use crate::time::Instant;
use crate::websocket::{Event, Opcode, Reader, ReaderConfig, Role, accept_of, write_frame};

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The provider's side of one connection.
struct Peer {
    stream: TcpStream,
    reader: Reader,
    held: Vec<u8>,
}

impl Peer {
    fn accept(listener: &TcpListener) -> Self {
        Self::greet(listener.accept().unwrap().0)
    }

    fn greet(mut stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).unwrap(), 1);
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = String::from_utf8(accept_of(key.as_bytes().try_into().unwrap()).to_vec()).unwrap();
        let answer = format!(
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).unwrap();
        let reader = Reader::new(ReaderConfig { role: Role::Server, message_bytes_max: 1 << 20, compression: false });
        Self { stream, reader, held: Vec::new() }
    }

    /// The next message; none at a goodbye or the end.
    fn hear(&mut self) -> Option<String> {
        loop {
            let step = self.reader.read(Instant::START, &mut self.held).unwrap();
            let consumed = step.consumed;
            let heard = step.event.map(|event| match event {
                Event::Message { bytes, .. } => Some(String::from_utf8(bytes.to_vec()).unwrap()),
                Event::Close(_) => None,
                other => panic!("{other:?}"),
            });
            self.held.drain(..consumed);
            if let Some(heard) = heard {
                return heard;
            }
            let mut piece = [0; 4096];
            let count = self.stream.read(&mut piece).unwrap();
            if count == 0 {
                return None;
            }
            self.held.extend_from_slice(&piece[..count]);
        }
    }

    /// The next call's number, which is this method's with these params.
    fn asked(&mut self, method: &str, params: &str) -> u64 {
        let text = self.hear().expect("a call");
        let call: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((call["method"].as_str(), call["params"].to_string().as_str()), (Some(method), params), "{text}");
        call["id"].as_u64().unwrap()
    }

    /// Sends these messages at once.
    fn say(&mut self, texts: &[String]) {
        let mut frames = Vec::new();
        for text in texts {
            write_frame(&mut frames, Opcode::Text, false, text.as_bytes(), None);
        }
        self.stream.write_all(&frames).unwrap();
    }
}

fn result(number: u64, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{number},"result":{result}}}"#)
}

fn push(subscription: &str, result: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"eth_subscription","params":{{"subscription":"{subscription}","result":{result}}}}}"#
    )
}

/// Writes down what it hears, and leaves when it is told to.
#[derive(Default)]
struct Notes {
    heard: RefCell<Vec<String>>,
    /// Given up at the next push.
    gives_up: RefCell<Option<Attached>>,
}

impl Ear for Notes {
    fn agreed(&self) {
        self.heard.borrow_mut().push("agreed".to_owned());
    }

    fn pushed(&self, what: Pushed, result: &[u8]) {
        self.heard.borrow_mut().push(format!("{what:?} {}", String::from_utf8_lossy(result)));
        drop(self.gives_up.take());
    }

    fn lost(&self) {
        self.heard.borrow_mut().push("lost".to_owned());
    }
}

impl Notes {
    /// Waits for so many words.
    async fn wait(&self, shard: &Shard, count: usize) -> Vec<String> {
        until(shard, || self.heard.borrow().len() >= count).await;
        self.heard.borrow().clone()
    }
}

async fn until(shard: &Shard, what: impl Fn() -> bool) {
    let end = shard.clock.now() + PATIENCE;
    while !what() {
        assert!(shard.clock.now() < end, "waited too long");
        shard.timers.sleep_until(shard.clock.now() + Duration::from_millis(2)).await;
    }
}

/// Runs `test` against a provider that `provider` plays.
fn with<F: Future<Output = ()>>(
    config: &str,
    provider: impl FnOnce(TcpListener) + Send + 'static,
    test: impl FnOnce(Rc<Shard>, Rc<Upstream>, ControlEnd) -> F,
) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = listener.local_addr().unwrap();
    let config = format!(
        "{config}\n[[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"alpha\"\n\
         url = \"http://127.0.0.1:9\"\nws_url = \"ws://{url}/\"\n"
    );
    let played: JoinHandle<()> = std::thread::spawn(move || provider(listener));
    alone(&config, |shard, control| {
        let upstream = Rc::clone(&shard.view().chains[0].upstreams[0]);
        test(shard, upstream, control)
    });
    played.join().unwrap();
}

async fn attached(shard: &Rc<Shard>, upstream: &Rc<Upstream>, wish: Wish, ear: &Rc<Notes>) -> Attached {
    let ear: Rc<dyn Ear> = Rc::<Notes>::clone(ear);
    attach(shard, upstream, wish, Duration::MAX, ear, shard.clock.now() + PATIENCE)
        .await
        .unwrap_or_else(|error| panic!("{error:?}"))
}

async fn refused(shard: &Rc<Shard>, upstream: &Rc<Upstream>, wait: Duration) -> AttachError {
    let ear: Rc<dyn Ear> = Rc::new(Notes::default());
    match attach(shard, upstream, Wish::Heads, Duration::MAX, ear, shard.clock.now() + wait).await {
        Ok(_) => panic!("nobody refused"),
        Err(error) => error,
    }
}

const FILTER: &str = r#"{"address":"0xaa"}"#;

fn logs() -> Wish {
    Wish::Logs { filter: FILTER.into() }
}

fn log_params() -> String {
    format!(r#"["logs",{FILTER}]"#)
}

#[test]
fn what_comes_right_behind_the_agreement_is_heard_and_nothing_before_it() {
    let provider = |listener: TcpListener| {
        let mut peer = Peer::accept(&listener);
        let number = peer.asked("eth_subscribe", &log_params());
        peer.say(&[push("L", "1"), result(number, "\"L\""), push("L", "2")]);
        let number = peer.asked("eth_subscribe", r#"["newHeads"]"#);
        // All in one piece: the future that waits is polled behind it.
        peer.say(&[push("L", "3"), result(number, "\"H\""), push("H", "{\"n\":4}"), push("L", "[5]"), push("?", "6")]);
        assert_eq!(peer.asked("eth_unsubscribe", r#"["L"]"#), number + 1);
        assert_eq!(peer.asked("eth_unsubscribe", r#"["H"]"#), number + 2);
        peer.say(&[push("L", "7"), result(number + 2, "true")]);
        assert_eq!(peer.hear(), None, "a goodbye");
    };
    with("", provider, |shard, upstream, _| async move {
        assert!(upstream.has_socket());
        let notes = Rc::new(Notes::default());
        let attached = attached(&shard, &upstream, logs(), &notes).await;
        assert_eq!(notes.wait(&shard, 3).await, ["agreed", r#"Head {"n":4}"#, "Log [5]"]);
        assert_eq!(shard.counters.upstream_subscriptions.get(), 2);
        drop(attached);
        assert_eq!(shard.counters.upstream_subscriptions.get(), 0);
        // It is kept for the next one, for a while.
        until(&shard, || shard.counters.upstream_sockets.get() == 0).await;
        assert_eq!(notes.heard.borrow().len(), 3);
    });
}

#[test]
fn heads_are_shared_and_a_full_connection_has_another_beside_it() {
    let provider = |listener: TcpListener| {
        let mut first = Peer::accept(&listener);
        let number = first.asked("eth_subscribe", r#"["newHeads"]"#);
        first.say(&[result(number, "\"H\"")]);
        let number = first.asked("eth_subscribe", &log_params());
        first.say(&[result(number, "\"L\""), push("H", "1"), push("L", "2")]);
        let mut second = Peer::accept(&listener);
        let number = second.asked("eth_subscribe", &log_params());
        second.say(&[result(number, "\"L\"")]);
        let number = second.asked("eth_subscribe", r#"["newHeads"]"#);
        second.say(&[result(number, "\"H\""), push("H", "3")]);
        // Calls of an attachment come by its own connection.
        let number = second.asked("eth_getLogs", r#"[{"blockHash":"0x1"}]"#);
        second.say(&[result(number, "[]")]);
        drop((first, second));
    };
    with("[upstream]\nsubscriptions_per_connection = 2", provider, |shard, upstream, mut control| async move {
        let [a, b, c, d] = [(); 4].map(|()| Rc::new(Notes::default()));
        let _a = attached(&shard, &upstream, Wish::Heads, &a).await;
        let _b = attached(&shard, &upstream, Wish::Heads, &b).await;
        let _c = attached(&shard, &upstream, logs(), &c).await;
        assert_eq!(c.wait(&shard, 3).await, ["agreed", "Head 1", "Log 2"]);
        let attached = attached(&shard, &upstream, logs(), &d).await;
        let deadline = shard.clock.now() + PATIENCE;
        let reply = attached.call(&shard, "eth_getLogs", br#"[{"blockHash":"0x1"}]"#, deadline).await.unwrap();
        assert!(reply.ends_with(br#","result":[]}"#), "{}", reply.escape_ascii());
        assert_eq!(d.wait(&shard, 3).await, ["agreed", "Head 3", "lost"]);
        for ear in [a, b] {
            assert_eq!(ear.wait(&shard, 3).await, ["agreed", "Head 1", "lost"]);
        }
        assert_eq!(attached.call(&shard, "eth_getLogs", b"[]", deadline).await.unwrap_err(), CallError::Lost);
        until(&shard, || shard.counters.upstream_sockets_lost.get() == 2).await;
        let lost = std::iter::from_fn(|| control.events.try_pop());
        assert_eq!(lost.filter(|event| event.kind == EventKind::SocketLost(SocketLoss::Cut)).count(), 2);
    });
}

#[test]
fn an_ear_may_leave_while_it_hears() {
    let provider = |listener: TcpListener| {
        let mut peer = Peer::accept(&listener);
        let number = peer.asked("eth_subscribe", r#"["newHeads"]"#);
        peer.say(&[result(number, "\"H\"")]);
        let number = peer.asked("eth_subscribe", r#"["syncing"]"#);
        peer.say(&[result(number, "\"S\""), push("H", "1"), push("H", "2"), push("S", "3")]);
        peer.asked("eth_unsubscribe", r#"["H"]"#);
    };
    with("", provider, |shard, upstream, _| async move {
        let (leaves, stays) = (Rc::new(Notes::default()), Rc::new(Notes::default()));
        let attachment = attached(&shard, &upstream, Wish::Heads, &leaves).await;
        *leaves.gives_up.borrow_mut() = Some(attachment);
        let _stays = attached(&shard, &upstream, Wish::Other { params: br#"["syncing"]"#.to_vec() }, &stays).await;
        assert_eq!(stays.wait(&shard, 3).await, ["agreed", "Other 3", "lost"]);
        assert_eq!(*leaves.heard.borrow(), ["agreed", "Head 1"]);
    });
}

#[test]
fn a_refusal_is_handed_on_and_told_as_a_calls_is() {
    let provider = |listener: TcpListener| {
        let mut peer = Peer::accept(&listener);
        let number = peer.asked("eth_subscribe", r#"["newHeads"]"#);
        let error = r#"{"code":-32601,"message":"no such subscription"}"#;
        peer.say(&[format!(r#"{{"id":{number},"error":{error}}}"#)]);
        peer.asked("eth_subscribe", r#"["newHeads"]"#);
        peer.say(&[r#"{"id":null,"error":{"code":429,"message":"slow down"}}"#.to_owned()]);
        assert_eq!(peer.hear(), None);
    };
    with("", provider, |shard, upstream, mut control| async move {
        let AttachError::Refused { error, .. } = refused(&shard, &upstream, PATIENCE).await else { panic!() };
        assert_eq!(error, br#"{"code":-32601,"message":"no such subscription"}"#);
        // Its words on our plan are kept from whoever wanted it.
        assert!(matches!(refused(&shard, &upstream, PATIENCE).await, AttachError::Limited));
        // It rests, and is not asked again.
        assert!(matches!(refused(&shard, &upstream, PATIENCE).await, AttachError::Limited));
        let mut events = std::iter::from_fn(|| control.events.try_pop());
        assert!(events.any(|event| matches!(event.kind, EventKind::Cooldown(_))));
        upstream.retire(&shard);
        until(&shard, || shard.counters.upstream_sockets.get() == 0).await;
    });
}

#[test]
fn connections_that_fail_are_told_to_the_breaker_and_not_tried_while_it_is_open() {
    let provider = |listener: TcpListener| {
        for _ in 0..2 {
            drop(listener.accept().unwrap());
        }
    };
    with("[breaker]\nfailures = 2", provider, |shard, upstream, _| async move {
        let mut failures = 0;
        let end = shard.clock.now() + PATIENCE;
        while failures < 2 && shard.clock.now() < end {
            match refused(&shard, &upstream, PATIENCE).await {
                AttachError::Connect(_) => failures += 1,
                AttachError::BackingOff => shard.timers.sleep_until(shard.clock.now() + Duration::from_millis(5)).await,
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(upstream.slot.standing.gate(shard.clock.now()), Gate::Shut { .. }));
        assert!(matches!(refused(&shard, &upstream, PATIENCE).await, AttachError::BackingOff));
        assert_eq!(shard.counters.upstream_sockets_refused.get(), 2);
    });
}

#[test]
fn who_waits_too_long_leaves_nothing_behind_and_a_provider_that_goes_is_left() {
    let provider = |listener: TcpListener| {
        let mut peer = Peer::accept(&listener);
        let late = peer.asked("eth_subscribe", r#"["newHeads"]"#);
        let number = peer.asked("eth_subscribe", r#"["syncing"]"#);
        // Nobody wants the first any more.
        peer.say(&[result(number, "\"S\""), result(late, "\"H\"")]);
        peer.asked("eth_unsubscribe", r#"["H"]"#);
        assert_eq!(peer.hear(), None);
    };
    with("", provider, |shard, upstream, _| async move {
        assert!(matches!(refused(&shard, &upstream, Duration::from_millis(1500)).await, AttachError::Late));
        let notes = Rc::new(Notes::default());
        let _attached = attached(&shard, &upstream, Wish::Other { params: br#"["syncing"]"#.to_vec() }, &notes).await;
        until(&shard, || shard.counters.upstream_subscriptions.get() == 1).await;
        upstream.retire(&shard);
        assert_eq!(*notes.heard.borrow(), ["agreed", "lost"], "at once");
        assert!(matches!(refused(&shard, &upstream, PATIENCE).await, AttachError::NoSocket));
        until(&shard, || shard.counters.upstream_sockets.get() == 0).await;
        assert_eq!(shard.counters.upstream_sockets_lost.get(), 0, "it was we who went");
    });
}

#[test]
fn a_connection_that_brings_nothing_is_left_for_another() {
    let provider = |listener: TcpListener| {
        let mut dead = Peer::accept(&listener);
        dead.asked("eth_subscribe", r#"["newHeads"]"#);
        let mut deaf = Peer::accept(&listener);
        let number = deaf.asked("eth_subscribe", r#"["syncing"]"#);
        deaf.say(&[result(number, "\"S\"")]);
        deaf.asked("eth_subscribe", r#"["newHeads"]"#);
        // Not a word on heads, but others go on to hear of theirs.
        deaf.stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        for n in 0.. {
            deaf.say(&[push("S", &n.to_string())]);
            if listener.set_nonblocking(true).is_ok()
                && let Ok((stream, _)) = listener.accept()
            {
                stream.set_nonblocking(false).unwrap();
                let mut third = Peer::greet(stream);
                let number = third.asked("eth_subscribe", r#"["newHeads"]"#);
                third.say(&[result(number, "\"H\""), push("H", "1")]);
                deaf.say(&[push("S", "\"end\"")]);
                assert_eq!((dead.hear(), third.hear()), (None, None), "a goodbye");
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    with("", provider, |shard, upstream, _| async move {
        let wait = limits::UPSTREAM_SOCKET_UNHEARD_MAX + Duration::from_secs(3);
        assert!(matches!(refused(&shard, &upstream, wait).await, AttachError::Late));
        let (others, heads) = (Rc::new(Notes::default()), Rc::new(Notes::default()));
        let _others = attached(&shard, &upstream, Wish::Other { params: br#"["syncing"]"#.to_vec() }, &others).await;
        assert!(matches!(refused(&shard, &upstream, wait).await, AttachError::Late));
        let _heads = attached(&shard, &upstream, Wish::Heads, &heads).await;
        assert_eq!(heads.wait(&shard, 2).await, ["agreed", "Head 1"]);
        until(&shard, || others.heard.borrow().last().is_some_and(|last| last == "Other \"end\"")).await;
        assert_eq!(shard.counters.upstream_sockets_lost.get(), 1, "as a silent one is");
        upstream.retire(&shard);
        until(&shard, || shard.counters.upstream_sockets.get() == 0).await;
    });
}

/// One conversation with a conformance suite's server: what comes is sent back, until the server ends it. Answers what came.
fn echo(address: &str, target: &str) -> Vec<Vec<u8>> {
    let config = format!(
        "[upstream]\ncompression = true\n[[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"alpha\"\n\
         url = \"http://127.0.0.1:9\"\nws_url = \"ws://{address}{target}\"\n"
    );
    alone(&config, |shard, _| async move {
        let upstream = Rc::clone(&shard.view().chains[0].upstreams[0]);
        let sockets = upstream.sockets.as_ref().unwrap();
        let opened = open::open(&shard, sockets).await.unwrap();
        let link = link::Link::new(link::Use::Calls, shard.clock.now(), 7);
        *link.echoed.borrow_mut() = Some(Vec::new());
        serve::Connection::new(Rc::clone(&shard), Rc::clone(sockets), Rc::clone(&link), opened).serve().await;
        link.echoed.take().unwrap()
    })
}

/// `LIVECHAIN_FUZZING_SERVER=127.0.0.1:9001 cargo test --lib conformance -- --ignored`, where Autobahn's fuzzing server listens
/// there. It judges, and writes its report under the agent `livechain-upstream`.
#[test]
#[ignore = "needs a conformance suite's server"]
fn conformance_of_this_side() {
    let address = std::env::var("LIVECHAIN_FUZZING_SERVER").unwrap();
    let count = String::from_utf8(echo(&address, "/getCaseCount")[0].clone()).unwrap();
    for case in 1..=count.parse::<u32>().unwrap() {
        echo(&address, &format!("/runCase?case={case}&agent=livechain-upstream"));
    }
    echo(&address, "/updateReports?agent=livechain-upstream");
}
