//! Response heads against httparse in its tolerant mode: what is accepted, where the head ends, and what it says.
//!
//! The strict reader that takes the good heads first must not be told from the tolerant one by any outcome. What the fields mean is
//! worked out a second time here, plainly: one reading of a body's end too many is another client's answer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use livechain::http::{HeadError, ResponseFraming, ResponseHead, parse_response};

const HEADERS_MAX: usize = 100;

fuzz_target!(|data: &[u8]| {
    let whole = parse_response(data);
    beginnings_agree(data, &whole);
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut seen = httparse::Response::new(&mut fields);
    let mut tolerant = httparse::ParserConfig::default();
    tolerant.allow_spaces_after_header_name_in_responses(true);
    tolerant.allow_obsolete_multiline_headers_in_responses(true);
    let status = tolerant.parse_response(&mut seen, data);
    match (whole, status) {
        (Ok(Some(head)), Ok(httparse::Status::Complete(bytes))) => {
            assert_eq!(head.head_bytes, bytes);
            compare(data, &head, &seen);
        }
        (Ok(Some(head)), status) => panic!("{head:?}, httparse: {status:?}"),
        (Ok(None), status) => assert_eq!(status, Ok(httparse::Status::Partial)),
        (Err(_), _) => {}
    }
});

/// What a beginning of the input says, more input does not change.
fn beginnings_agree(data: &[u8], whole: &Result<Option<ResponseHead>, HeadError>) {
    let step = (data.len() / 16).max(1);
    for bytes in (0..data.len()).step_by(step) {
        let part = parse_response(&data[..bytes]);
        assert!(
            part == Ok(None) || part == *whole,
            "{bytes} bytes: {part:?}, all: {whole:?}"
        );
    }
}

fn compare(data: &[u8], head: &ResponseHead, seen: &httparse::Response<'_, '_>) {
    let values = |name: &str| {
        let named = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
        seen.headers.iter().filter(named).map(|field| field.value).collect::<Vec<_>>()
    };
    assert_eq!(Some(head.status), seen.code);
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(lengths.is_empty() || codings.is_empty(), "both");
    let lengths: Vec<u64> = lengths
        .iter()
        .map(|value| std::str::from_utf8(value).expect("digits").parse().expect("a length"))
        .collect();
    assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(codings.len() <= 1 && codings.iter().all(|coding| coding.eq_ignore_ascii_case(b"chunked")));
    let expected = match (lengths.first(), codings.first()) {
        _ if matches!(head.status, 100..=199 | 204 | 304) => ResponseFraming::None,
        (Some(length), _) => ResponseFraming::Length(*length),
        (None, Some(_)) => ResponseFraming::Chunked,
        (None, None) => ResponseFraming::UntilClose,
    };
    assert_eq!(head.framing, expected);
    for (name, span) in [("content-type", head.content_type), ("retry-after", head.retry_after)] {
        let last = values(name).last().copied().filter(|value| !value.iter().any(|byte| b"\r\n".contains(byte)));
        assert_eq!(span.map(|span| span.of(data)), last, "{name}");
    }
    let says = |word: &[u8]| {
        let connection = values("connection");
        let mut members = connection.iter().flat_map(|value| value.split(|byte| *byte == b','));
        members.any(|member| member.trim_ascii().eq_ignore_ascii_case(word))
    };
    assert!(!head.keep_alive || !says(b"close") || values("connection").iter().any(|value| value.contains(&b'\n')));
    assert!(!head.keep_alive || head.framing != ResponseFraming::UntilClose);
    assert!(!head.keep_alive || seen.version == Some(1) || says(b"keep-alive"));
}
