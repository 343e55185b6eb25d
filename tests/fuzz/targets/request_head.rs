//! Request heads against hyper: what we accept, hyper accepts, and both see the same request in it.
//!
//! Differences that are meant are one-sided: we refuse more. hyper is given the head alone, and what it says of the
//! body's length is taken from the body's size hint, before a byte of it has come.

#![no_main]

mod hyper_server;

use hyper_server::Seen;
use libfuzzer_sys::fuzz_target;
use livechain::http::{Framing, Known, RequestHead, Version, parse};

fuzz_target!(|data: &[u8]| {
    let whole = parse(data);
    beginnings_agree(data, &whole);
    let Ok(Some(head)) = whole else { return };
    assert!(head.head_bytes <= data.len() && data[..head.head_bytes].ends_with(b"\r\n\r\n"));
    let seen = hyper_server::read(&data[..head.head_bytes]).expect("hyper refuses what we accept");
    compare(data, &head, &seen);
});

/// What a beginning of the input says, more input does not change.
fn beginnings_agree(data: &[u8], whole: &Result<Option<RequestHead>, livechain::http::HeadError>) {
    let step = (data.len() / 16).max(1);
    for bytes in (0..data.len()).step_by(step) {
        let part = parse(&data[..bytes]);
        assert!(
            part == Ok(None) || part == *whole,
            "{bytes} bytes: {part:?}, all: {whole:?}"
        );
    }
}

fn compare(data: &[u8], head: &RequestHead, seen: &Seen) {
    let line = &data[..head.head_bytes];
    let method = line
        .trim_ascii_start()
        .split(|byte| *byte == b' ')
        .next()
        .unwrap();
    assert_eq!(seen.method.as_bytes(), method);
    assert_eq!(seen.path.as_bytes(), head.path.of(data), "path");
    let query = head.query.map(|query| query.of(data));
    assert_eq!(seen.query.as_deref().map(str::as_bytes), query, "query");
    if let Some(authority) = &seen.authority {
        assert_eq!(
            Some(authority.as_bytes()),
            head.header(data, Known::Host),
            "authority"
        );
    }
    assert_eq!(seen.is_old, head.version == Version::Http10, "version");
    let framing = match seen.length {
        Some(0) => None,
        other => Some(other),
    };
    let ours = match head.framing {
        Framing::None | Framing::Length(0) => None,
        Framing::Length(length) => Some(Some(length)),
        Framing::Chunked => Some(None),
    };
    assert_eq!(framing, ours, "framing");
}
