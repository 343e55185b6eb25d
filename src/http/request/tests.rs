use proptest::prelude::*;

use super::*;
use crate::limits::HEADERS_MAX;

const FIELDS: &str = "POST /rpc/1 HTTP/1.1\r\nHost: a\r\n";

fn accepted(text: &str) -> RequestHead {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text:?}")).expect("complete")
}

fn text(span: Span, buf: &str) -> &str {
    std::str::from_utf8(span.of(buf.as_bytes())).unwrap()
}

#[test]
fn a_head_is_read() {
    let buf = "\r\nPOST /rpc/ethereum?meta=1 HTTP/1.1\r\nHost: a.example:8545\r\ncontent-length:  42 \t\r\n\
               X-Livechain-Key: k\r\nEmpty:\r\nConnection: Upgrade , keep-alive\r\nExpect: 100-Continue\r\n\r\n{body";
    let head = accepted(buf);
    assert_eq!((head.method, head.version, head.framing), (Method::Post, Version::Http11, Framing::Length(42)));
    assert_eq!((text(head.path, buf), head.query.map(|query| text(query, buf))), ("/rpc/ethereum", Some("meta=1")));
    assert_eq!(head.header(buf.as_bytes(), Known::Host), Some(&b"a.example:8545"[..]));
    assert_eq!(head.header(buf.as_bytes(), Known::LivechainKey), Some(&b"k"[..]));
    assert_eq!(head.header(buf.as_bytes(), Known::Origin), None);
    assert!(head.keep_alive && head.expect_continue && head.connection_upgrade);
    assert_eq!(&buf[head.head_bytes..], "{body");
}

#[test]
fn a_head_is_small() {
    assert!(size_of::<RequestHead>() <= 128, "{}", size_of::<RequestHead>());
}

/// Framing, persistence and expectation, by request line and fields.
#[test]
fn what_follows_the_head() {
    use Framing::{Chunked, Length, None};
    for (line, fields, framing, keep_alive, expect_continue) in [
        ("GET / HTTP/1.1", "Host: a\r\n", None, true, false),
        ("GET / HTTP/1.1", "Host: a\r\nConnection: close\r\n", None, false, false),
        ("GET / HTTP/1.1", "Host: a\r\nConnection: x\r\nConnection: CLOSE\r\n", None, false, false),
        ("GET / HTTP/1.1", "Host: a\r\nConnection: keep-alive, close\r\n", None, false, false),
        ("GET / HTTP/1.0", "", None, false, false),
        ("GET / HTTP/1.0", "Connection: Keep-Alive\r\n", None, true, false),
        ("POST / HTTP/1.0", "Content-Length: 3\r\nExpect: 100-continue\r\n", Length(3), false, false),
        ("POST / HTTP/1.0", "Expect: something\r\n", None, false, false),
        ("POST / HTTP/1.1", "Host: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n", Length(0), true, false),
        ("POST / HTTP/1.1", "Host: a\r\nContent-Length: 007\r\n", Length(7), true, false),
        ("POST / HTTP/1.1", "Host: a\r\nContent-Length: 18446744073709551615\r\n", Length(u64::MAX), true, false),
        ("POST / HTTP/1.1", "Host: a\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n", Chunked, true, true),
        ("PUT / HTTP/1.1", "Host: a\r\nTransfer-Encoding:chunked\r\n", Chunked, true, false),
    ] {
        let head = accepted(&format!("{line}\r\n{fields}\r\n"));
        assert_eq!(
            (head.framing, head.keep_alive, head.expect_continue),
            (framing, keep_alive, expect_continue),
            "{line} {fields:?}"
        );
    }
}

#[test]
fn methods() {
    for (name, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("OPTIONS", Method::Options),
        ("PUT", Method::Other),
        ("get", Method::Other),
        ("M-SEARCH", Method::Other),
    ] {
        assert_eq!(accepted(&format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n")).method, method, "{name}");
    }
}

#[test]
fn targets_are_reduced_to_path_and_query() {
    for (method, target, path, query, host) in [
        ("GET", "/", "/", None, "a"),
        ("GET", "/x?y?z", "/x", Some("y?z"), "a"),
        ("GET", "http://b:8545/x?y", "/x", Some("y"), "b:8545"),
        ("GET", "HTTP://b", "/", None, "b"),
        ("GET", "http://b?y", "/", Some("y"), "b"),
        ("OPTIONS", "*", "*", None, "a"),
    ] {
        let buf = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = accepted(&buf);
        assert_eq!((text(head.path, &buf), head.query.map(|query| text(query, &buf))), (path, query), "{target}");
        assert_eq!(head.header(buf.as_bytes(), Known::Host), Some(host.as_bytes()), "{target}");
    }
}

#[test]
fn of_repeated_fields_one_counts() {
    let buf = format!("{FIELDS}X-Forwarded-For: 1\r\nX-Forwarded-For: 2\r\nUser-Agent: x\r\nUser-Agent: y\r\n\r\n");
    let head = accepted(&buf);
    assert_eq!(head.header(buf.as_bytes(), Known::ForwardedFor), Some(&b"2"[..]));
    assert_eq!(head.header(buf.as_bytes(), Known::UserAgent), Some(&b"x"[..]));
}

#[test]
fn websockets_are_asked_for() {
    let fields = "Host: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c, WebSocket\r\n";
    for (line, fields, wanted) in [
        ("GET / HTTP/1.1", fields, true),
        ("POST / HTTP/1.1", fields, false),
        ("GET / HTTP/1.0", fields, false),
        ("GET / HTTP/1.1", "Host: a\r\nUpgrade: websocket\r\n", false),
        ("GET / HTTP/1.1", "Host: a\r\nConnection: upgrade\r\n", false),
        ("GET / HTTP/1.1", "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket2\r\n", false),
    ] {
        let buf = format!("{line}\r\n{fields}\r\n");
        assert_eq!(accepted(&buf).wants_websocket(buf.as_bytes()), wanted, "{buf:?}");
    }
}

#[test]
fn two_empty_lines_are_forgiven() {
    for (lines, outcome) in [
        ("", Ok(())),
        ("\r\n", Ok(())),
        ("\r\n\r\n", Ok(())),
        ("\r\n\r\n\r\n", Err(HeadError::EmptyLines)),
        ("\n", Err(HeadError::BareLf)),
        ("\r\n\n", Err(HeadError::BareLf)),
        ("\rG", Err(HeadError::BareCr)),
    ] {
        let buf = format!("{lines}{FIELDS}\r\n");
        assert_eq!(parse(buf.as_bytes()).map(|head| assert!(head.is_some())), outcome, "{buf:?}");
    }
}

/// Fields that follow a good request line and a good Host.
#[test]
fn fields_are_refused() {
    use HeadError as E;
    for (fields, fault) in [
        // Framing.
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", E::LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", E::LengthAndCoding),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", E::LengthRepeated),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", E::LengthRepeated),
        ("Content-Length: 5,5\r\n", E::LengthMalformed),
        ("Content-Length: 5, 6\r\n", E::LengthMalformed),
        ("Content-Length: +5\r\n", E::LengthMalformed),
        ("Content-Length: -5\r\n", E::LengthMalformed),
        ("Content-Length: 0x5\r\n", E::LengthMalformed),
        ("Content-Length: 5 5\r\n", E::LengthMalformed),
        ("Content-Length: 5;\r\n", E::LengthMalformed),
        ("Content-Length:\r\n", E::LengthMalformed),
        ("Content-Length:  \t\r\n", E::LengthMalformed),
        ("Content-Length: 18446744073709551616\r\n", E::LengthMalformed),
        ("Transfer-Encoding: gzip, chunked\r\n", E::Coding),
        ("Transfer-Encoding: chunked, chunked\r\n", E::Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", E::Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", E::Coding),
        ("Transfer-Encoding: identity\r\n", E::Coding),
        ("Transfer-Encoding: xchunked\r\n", E::Coding),
        ("Transfer-Encoding: \"chunked\"\r\n", E::Coding),
        ("Transfer-Encoding: chunked;q=1\r\n", E::Coding),
        ("Transfer-Encoding: chunked,\r\n", E::Coding),
        ("Transfer-Encoding:\r\n", E::Coding),
        ("Transfer-Encoding: \x0bchunked\r\n", E::FieldValue),
        // Lines.
        ("A: b\r\n c\r\n", E::Folded),
        ("A: b\r\n\tc\r\n", E::Folded),
        ("A: b\r\n \r\n", E::Folded),
        ("A: b\rc\r\n", E::BareCr),
        ("A: b\r\rc\r\n", E::BareCr),
        ("A: b\r\r\n", E::BareCr),
        ("\rA: b\r\n", E::BareCr),
        ("A: b\nC: d\r\n", E::BareLf),
        ("A: b\n", E::BareLf),
        ("A:\nC: d\r\n", E::BareLf),
        ("A: b\n c\r\n", E::BareLf),
        ("\n", E::BareLf),
        ("A: b\0c\r\n", E::Nul),
        ("A\0: b\r\n", E::Nul),
        ("\0A: b\r\n", E::Nul),
        ("A: b\x01\r\n", E::FieldValue),
        ("A: b\x7f\r\n", E::FieldValue),
        ("A : b\r\n", E::SpaceBeforeColon),
        ("Content-Length : 5\r\n", E::SpaceBeforeColon),
        ("Transfer-Encoding\t: chunked\r\n", E::SpaceBeforeColon),
        ("A B: c\r\n", E::SpaceBeforeColon),
        ("A\r\n", E::FieldName),
        (": b\r\n", E::FieldName),
        ("A(): b\r\n", E::FieldName),
        ("Ä: b\r\n", E::FieldName),
        // Who is asked, and by whom.
        ("Host: a\r\n", E::HostRepeated),
        ("host: b\r\n", E::HostRepeated),
        ("Authorization: a\r\nAuthorization: a\r\n", E::Repeated),
        ("X-Livechain-Key: a\r\nX-Livechain-Key: b\r\n", E::Repeated),
        ("Origin: a\r\nOrigin: b\r\n", E::Repeated),
        ("Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: b\r\n", E::Repeated),
        ("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n", E::Repeated),
        ("Expect: 200-ok\r\n", E::Expectation),
        ("Expect: 100-continue, x\r\n", E::Expectation),
        ("Expect:\r\n", E::Expectation),
    ] {
        let buf = format!("{FIELDS}{fields}\r\n");
        assert_eq!(parse(buf.as_bytes()), Err(fault), "{fields:?}");
        // The same without what went before, where the fault needs none of it.
        let buf = format!("{FIELDS}X: y\r\n{fields}Z:\r\n\r\n");
        assert_eq!(parse(buf.as_bytes()), Err(fault), "{fields:?}");
    }
}

/// Whole heads.
#[test]
fn heads_are_refused() {
    use HeadError as E;
    for (head, fault) in [
        // Request lines.
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestLine),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", E::Version),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestLine),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestLine),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestLine),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", E::Version),
        ("GET /\r\nHost: a\r\n\r\n", E::RequestLine),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestLine),
        ("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", E::RequestLine),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", E::BareCr),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", E::BareLf),
        ("GET / HTTP/1.1\nHost: a\n\n", E::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", E::BareLf),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", E::Folded),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", E::Version),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", E::Version),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", E::Version),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", E::Version),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", E::RequestLine),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", E::Version),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}", E::RequestLine),
        // Targets.
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        ("GET rpc HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", E::Target),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        ("GET /\\ HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        ("GET /é HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        ("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        ("GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        // Hosts.
        ("GET / HTTP/1.1\r\n\r\n", E::HostMissing),
        ("GET http://a/ HTTP/1.1\r\n\r\n", E::HostMissing),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", E::HostMalformed),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", E::HostMalformed),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", E::HostMalformed),
        ("GET / HTTP/1.1\r\nHost: a,a\r\n\r\n", E::HostMalformed),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", E::HostMalformed),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", E::HostMalformed),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", E::HostMalformed),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", E::HostMalformed),
        ("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", E::HostMalformed),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", E::HostRepeated),
        // Framing that the old version did not have.
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", E::CodingInOldVersion),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", E::LengthAndCoding),
    ] {
        assert_eq!(parse(head.as_bytes()), Err(fault), "{head:?}");
        splits_agree(head.as_bytes());
    }
}

#[test]
fn heads_are_bounded() {
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    assert!(parse(fields(HEADERS_MAX).as_bytes()).unwrap().is_some());
    assert_eq!(parse(fields(HEADERS_MAX + 1).as_bytes()), Err(HeadError::TooManyFields));

    let spoilt = format!("{FIELDS}{}A b", "A: b\r\n".repeat(HEADERS_MAX));
    assert_eq!(parse(spoilt.as_bytes()), Err(HeadError::TooManyFields));
    splits_agree(spoilt.as_bytes());

    let sized = |bytes: usize| {
        let without = "GET / HTTP/1.1\r\nHost: a\r\nA: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\nbody", "x".repeat(bytes - without))
    };
    assert_eq!(accepted(&sized(HEAD_BYTES_MAX)).head_bytes, HEAD_BYTES_MAX);
    let over = sized(HEAD_BYTES_MAX + 1);
    assert_eq!(parse(over.as_bytes()), Err(HeadError::TooLarge));
    assert_eq!(parse(&over.as_bytes()[..HEAD_BYTES_MAX]), Err(HeadError::TooLarge));
    assert_eq!(parse(&over.as_bytes()[..HEAD_BYTES_MAX - 1]), Ok(None));
}

#[test]
fn statuses_of_faults() {
    for (fault, code) in [
        (HeadError::TooLarge, 431),
        (HeadError::TooManyFields, 431),
        (HeadError::Expectation, 417),
        (HeadError::LengthAndCoding, 400),
    ] {
        assert_eq!(fault.status().code(), code);
    }
}

/// What we accept httparse accepts, and both see the same in it.
fn httparse_agrees(input: &[u8]) {
    let Ok(Some(head)) = parse(input) else { return };
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut seen = httparse::Request::new(&mut fields);
    let status = seen.parse(input);
    assert_eq!(status, Ok(httparse::Status::Complete(head.head_bytes)), "{}", input.escape_ascii());
    assert_eq!(method_of(seen.method.unwrap().as_bytes()), head.method);
    assert_eq!(seen.version == Some(0), head.version == Version::Http10);
    let known = |known: Known| seen.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(known.name()));
    let target = seen.path.unwrap();
    for field in Known::ALL {
        if field == Known::Host && !target.starts_with(['/', '*']) {
            continue;
        }
        let mut values = known(field).map(|field| field.value);
        let expected = if field.repeat() == Repeat::Last { values.next_back() } else { values.next() };
        assert_eq!(head.header(input, field), expected, "{field:?}");
    }
    assert!(head.query.is_none_or(|query| target.as_bytes().ends_with(query.of(input))));
}

/// Every beginning of an input is incomplete, or says already what the whole says.
fn splits_agree(input: &[u8]) {
    httparse_agrees(input);
    let whole = parse(input);
    for bytes in 0..input.len() {
        let part = parse(&input[..bytes]);
        assert!(
            part == Ok(None) || part == whole,
            "{part:?} of {bytes} bytes, {whole:?} of {:?}",
            input.escape_ascii().to_string()
        );
    }
}

/// Pieces of heads, good and bad, strung together.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "GET ",
            "POST ",
            "/",
            "/rpc/1",
            "?a=b",
            "http://a",
            " ",
            "HTTP/1.1",
            "HTTP/1.0",
            "\r\n",
            "\r\n",
            "\r\n",
            "\r",
            "\n",
            "\0",
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "Expect",
            "A",
            ":",
            ": ",
            ": ",
            "a",
            "5",
            "0",
            "chunked",
            "close",
            "100-continue",
            ",",
            "\t",
            "\x7f",
            "é",
        ])
        .prop_map(str::to_owned),
        prop::sample::select(vec![
            "GET / HTTP/1.1\r\n",
            "Host: a\r\n",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "A: b\r\n",
            "A : b\r\n",
            "A: b\n",
            " a\r\n",
            "\r\n",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_split_of_a_strung_head_agrees(start in prop::bool::ANY, pieces in pieces()) {
        let start = if start { FIELDS } else { "" };
        splits_agree(&[start.as_bytes(), &pieces].concat());
    }

    #[test]
    fn any_split_of_a_spoilt_head_agrees(at in 0..200_usize, byte in prop::num::u8::ANY) {
        let mut head = b"POST /rpc/1?meta=1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\
            Connection: keep-alive\r\nAuthorization: Bearer x\r\nX-Livechain-Meta:1\r\n\r\n{}".to_vec();
        let at = at % head.len();
        head[at] = byte;
        splits_agree(&head);
    }

    #[test]
    fn a_good_head_is_read_whatever_follows(bytes in 0..1_000_000_u64, body in prop::collection::vec(prop::num::u8::ANY, 0..50)) {
        let mut buf = format!("{FIELDS}Content-Length: {bytes}\r\n\r\n").into_bytes();
        let head_bytes = buf.len();
        buf.extend(body);
        let head = parse(&buf).unwrap().unwrap();
        prop_assert_eq!((head.head_bytes, head.framing), (head_bytes, Framing::Length(bytes)));
    }
}
