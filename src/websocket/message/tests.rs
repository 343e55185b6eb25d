use proptest::prelude::*;

use super::super::close::{CloseCode, write_close};
use super::super::frame::write_frame;
use super::super::mask::Mask;
use super::*;
use crate::limits::{WEBSOCKET_CONTROL_BURST, WEBSOCKET_MESSAGE_BYTES_DEFAULT};

const MASK: Mask = [0x37, 0xfa, 0x21, 0x3d];
const LIMIT: usize = 1000;

/// An event that outlives its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Compressed(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<CloseCode>, String),
}

impl From<Event<'_>> for Said {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message { compressed: true, bytes, .. } => Self::Compressed(bytes.to_vec()),
            Event::Message { kind: Kind::Text, bytes, .. } => {
                assert!(std::str::from_utf8(bytes).is_ok());
                Self::Text(bytes.to_vec())
            }
            Event::Message { kind: Kind::Binary, bytes, .. } => Self::Binary(bytes.to_vec()),
            Event::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Event::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Event::Close(close) => Self::Close(close.code, close.reason.to_owned()),
        }
    }
}

fn reader(role: Role) -> Reader {
    Reader::new(ReaderConfig { role, message_bytes_max: LIMIT, compression: true })
}

/// Reads a stream that comes in these parts; the fault too where there is one.
fn said_in_parts<'p>(role: Role, parts: impl IntoIterator<Item = &'p [u8]>) -> (Vec<Said>, Option<Fault>) {
    let (mut reader, mut buf, mut said) = (reader(role), Vec::new(), Vec::new());
    for part in parts {
        buf.extend_from_slice(part);
        loop {
            let step = match reader.read(Instant::START, &mut buf) {
                Ok(step) => step,
                Err(fault) => {
                    assert!(reader.is_over());
                    return (said, Some(fault));
                }
            };
            let (consumed, event) = (step.consumed, step.event.map(Said::from));
            let is_done = event.is_none();
            said.extend(event);
            buf.drain(..consumed);
            assert!(reader.assembled.len() <= LIMIT && buf.len() <= LIMIT + 14 + part.len());
            if is_done {
                break;
            }
        }
    }
    (said, None)
}

fn said(role: Role, stream: &[u8]) -> (Vec<Said>, Option<Fault>) {
    let whole = said_in_parts(role, [stream]);
    assert_eq!(said_in_parts(role, stream.chunks(1)), whole, "byte by byte: {}", stream.escape_ascii());
    whole
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let mut frame = vec![first, u8::try_from(payload.len()).unwrap()];
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn messages_are_read() {
    let mut masked = Vec::new();
    write_frame(&mut masked, Opcode::Text, false, "héllo".as_bytes(), Some(MASK));
    write_frame(&mut masked, Opcode::Binary, false, b"{}", Some(MASK));
    assert_eq!(said(Role::Server, &masked), (vec![Said::Text("héllo".into()), Said::Binary(b"{}".to_vec())], None));
    assert_eq!(said(Role::Client, b"\x81\x00\x82\x00"), (vec![Said::Text(vec![]), Said::Binary(vec![])], None));
    assert_eq!(said(Role::Client, b"\xc1\x01\xff"), (vec![Said::Compressed(vec![0xff])], None));
}

#[test]
fn fragments_are_put_together_and_control_frames_stand_between() {
    let stream = [
        frame(0x01, b"H\xc3"),
        frame(0x89, b"one"),
        frame(0x00, b""),
        frame(0x8a, b""),
        frame(0x00, b"\xa9l"),
        frame(0x80, b"lo"),
        frame(0x42, b"a"),
        frame(0x80, b"b"),
        frame(0x02, b"\xff"),
        frame(0x80, b""),
    ];
    let expected = vec![
        Said::Ping(b"one".to_vec()),
        Said::Pong(vec![]),
        Said::Text("Héllo".into()),
        Said::Compressed(b"ab".to_vec()),
        Said::Binary(vec![0xff]),
    ];
    assert_eq!(said(Role::Client, &stream.concat()), (expected, None));
}

#[test]
fn a_message_of_one_frame_is_handed_out_where_it_stands() {
    let mut stream = Vec::new();
    write_frame(&mut stream, Opcode::Text, false, b"Hello", Some(MASK));
    let at = stream.as_ptr().addr() + 6;
    let mut reader = reader(Role::Server);
    assert_eq!(reader.read(Instant::START, &mut stream[..8]).unwrap(), Step { consumed: 0, event: None });
    assert_eq!(reader.wants(), stream.len());
    let step = reader.read(Instant::START, &mut stream).unwrap();
    let Some(Event::Message { bytes, .. }) = step.event else { panic!("{step:?}") };
    assert_eq!((bytes, bytes.as_ptr().addr(), step.consumed), (&b"Hello"[..], at, 11));
}

#[test]
fn nothing_is_read_behind_a_close_frame() {
    let mut stream = Vec::new();
    write_close(&mut stream, Some(CloseCode::AWAY), "bye", None);
    stream.extend_from_slice(b"\xff\xff garbage");
    assert_eq!(said(Role::Client, &stream), (vec![Said::Close(Some(CloseCode::AWAY), "bye".into())], None));
    assert_eq!(said(Role::Client, b"\x88\x00\x81\x01a"), (vec![Said::Close(None, String::new())], None));
}

#[test]
fn faults_and_their_codes() {
    let large = u16::try_from(LIMIT + 1).unwrap().to_be_bytes();
    let cases: [(&[u8], Fault, u16); 14] = [
        (b"\x80\x00", Fault::NothingToContinue, 1002),
        (b"\x00\x00", Fault::NothingToContinue, 1002),
        (b"\x01\x01a\x81\x01b", Fault::MessageWithinMessage, 1002),
        (b"\x01\x01a\x02\x01b", Fault::MessageWithinMessage, 1002),
        (b"\x81\x81", Fault::Masked, 1002),
        (b"\xb1", Fault::ReservedBit, 1002),
        (b"\x83", Fault::ReservedOpcode, 1002),
        (b"\x09", Fault::ControlFragmented, 1002),
        (b"\x89\x7e", Fault::ControlTooLong, 1002),
        (b"\x88\x01\x03", Fault::CloseLength, 1002),
        (b"\x88\x02\x03\xed", Fault::CloseCode, 1002),
        (b"\x88\x03\x03\xe8\xff", Fault::NotUtf8, 1007),
        (b"\x81\x7f\0\0\0\x01\0\0\0\0", Fault::MessageTooLarge, 1009),
        (&[0x82, 126, large[0], large[1]], Fault::MessageTooLarge, 1009),
    ];
    for (stream, fault, code) in cases {
        assert_eq!(said(Role::Client, stream), (vec![], Some(fault)), "{}", stream.escape_ascii());
        assert_eq!(fault.code().number(), code);
    }
}

#[test]
fn broken_text_is_refused_before_its_frame_or_message_ends() {
    // Of a hundred bytes announced, three have come.
    assert_eq!(said(Role::Client, b"\x81\x64a\xed\xa0"), (vec![], Some(Fault::NotUtf8)));
    assert_eq!(said(Role::Client, b"\x01\x01\xe2\x00\x01\x28"), (vec![], Some(Fault::NotUtf8)));
    assert_eq!(said(Role::Client, b"\x81\x01\xe2"), (vec![], Some(Fault::NotUtf8)));
    assert_eq!(said(Role::Client, b"\x01\x01\xe2\x80\x00"), (vec![], Some(Fault::NotUtf8)));
}

#[test]
fn fragments_are_bounded_in_bytes_and_in_number() {
    let mut stream = frame(0x02, &[b'x'; 100]);
    for _ in 0..9 {
        stream.extend(frame(0x00, &[b'x'; 100]));
    }
    let whole = [stream.clone(), frame(0x80, b"")].concat();
    assert_eq!(said(Role::Client, &whole), (vec![Said::Binary(vec![b'x'; LIMIT])], None));
    let beyond = [stream, frame(0x00, b"y")].concat();
    assert_eq!(said(Role::Client, &beyond), (vec![], Some(Fault::MessageTooLarge)));

    let empty = b"\x00\x00".repeat(WEBSOCKET_FRAGMENTS_MAX as usize);
    let most = [b"\x02\x00", &empty[2..], b""].concat();
    assert_eq!(said_in_parts(Role::Client, [&most[..]]), (vec![], None));
    let too_many = [b"\x02\x00", &empty[..]].concat();
    assert_eq!(said_in_parts(Role::Client, [&too_many[..]]), (vec![], Some(Fault::TooManyFragments)));
    assert_eq!(Fault::TooManyFragments.code(), CloseCode::POLICY);
}

#[test]
fn a_flood_of_control_frames_ends_the_connection() {
    let burst = WEBSOCKET_CONTROL_BURST as usize;
    let (said, fault) = said_in_parts(Role::Client, [&b"\x89\x00".repeat(burst)[..]]);
    assert_eq!((said.len(), fault), (burst, None));
    let (said, fault) = said_in_parts(Role::Client, [&b"\x8a\x00".repeat(burst + 1)[..]]);
    assert_eq!((said.len(), fault), (burst, Some(Fault::ControlFlood)));
    assert_eq!(Fault::ControlFlood.code(), CloseCode::POLICY);
}

#[test]
fn a_large_message_leaves_no_large_buffer_behind() {
    let mut reader = Reader::new(ReaderConfig {
        role: Role::Client,
        message_bytes_max: WEBSOCKET_MESSAGE_BYTES_DEFAULT,
        compression: false,
    });
    let head = |first, payload_bytes: u64| [&[first, 127][..], &payload_bytes.to_be_bytes()].concat();
    let large = 32 * BUFFER_BYTES;
    let mut stream = [head(0x02, large as u64), vec![0; large], b"\x80\x00".to_vec()].concat();
    let step = reader.read(Instant::START, &mut stream).unwrap();
    assert!(matches!(step.event, Some(Event::Message { bytes, .. }) if bytes.len() == large));
    assert_eq!(reader.read(Instant::START, &mut []).unwrap().event, None);
    assert!(reader.assembled.capacity() <= BUFFER_BYTES);
}

/// A stream of good messages in fragments, control frames between, and what it says.
fn good_stream(role: Role) -> impl Strategy<Value = (Vec<u8>, Vec<Said>)> {
    let mask = || if role == Role::Server { any::<Mask>().prop_map(Some).boxed() } else { Just(None).boxed() };
    let control = prop::collection::vec(any::<u8>(), 0..126);
    let message = prop_oneof![
        any::<String>().prop_map(|text| (Kind::Text, text.into_bytes())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| (Kind::Binary, bytes)),
    ];
    let cut = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    let item = (message, cut, prop::option::of(control), mask());
    prop::collection::vec(item, 0..6).prop_map(|items| {
        let (mut stream, mut said) = (Vec::new(), Vec::new());
        for ((kind, bytes), cuts, ping, mask) in items {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut from = 0;
            for (n, cut) in cuts.iter().copied().chain([bytes.len()]).enumerate() {
                let opcode = match (n, kind) {
                    (0, Kind::Text) => Opcode::Text,
                    (0, Kind::Binary) => Opcode::Binary,
                    _ => Opcode::Continuation,
                };
                let (last, part) = (n == cuts.len(), &bytes[from..cut]);
                let head = FrameHead { opcode, last, compressed: false, mask, payload_bytes: part.len() as u64 };
                stream.extend_from_slice(head.write().as_ref());
                let at = stream.len();
                stream.extend_from_slice(part);
                if let Some(mask) = mask {
                    apply_mask(&mut stream[at..], mask, 0);
                }
                from = cut;
                if let Some(ping) = ping.as_ref().filter(|_| n == 0 && !last) {
                    write_frame(&mut stream, Opcode::Ping, false, ping, mask);
                    said.push(Said::Ping(ping.clone()));
                }
            }
            said.push(match kind {
                Kind::Text => Said::Text(bytes),
                Kind::Binary => Said::Binary(bytes),
            });
        }
        (stream, said)
    })
}

/// Cuts a stream into parts.
fn cut<'s>(stream: &'s [u8], cuts: &[prop::sample::Index]) -> Vec<&'s [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.sort_unstable();
    let mut from = 0;
    let mut parts = Vec::new();
    for cut in cuts.into_iter().chain([stream.len()]) {
        parts.push(&stream[from..cut]);
        from = cut;
    }
    parts
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_is_cut(
        (role, (stream, expected)) in prop_oneof![
            good_stream(Role::Server).prop_map(|stream| (Role::Server, stream)),
            good_stream(Role::Client).prop_map(|stream| (Role::Client, stream)),
        ],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        prop_assume!(stream.len() < LIMIT);
        prop_assert_eq!(said_in_parts(role, cut(&stream, &cuts)), (expected, None));
    }

    #[test]
    fn any_bytes_are_judged_alike_however_they_are_cut(
        frames in prop::collection::vec(
            (any::<u8>(), prop_oneof![Just(None), (0_u8..130).prop_map(Some)], prop::collection::vec(any::<u8>(), 0..20)), 0..6,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut stream = Vec::new();
        for (first, length, payload) in frames {
            stream.push(first & 0x8f);
            stream.push(length.unwrap_or(u8::try_from(payload.len()).unwrap()));
            stream.extend_from_slice(&payload);
        }
        for role in [Role::Client, Role::Server] {
            let whole = said_in_parts(role, [&stream[..]]);
            prop_assert_eq!(said_in_parts(role, cut(&stream, &cuts)), whole);
        }
    }
}
