//! Chunked bodies against a second reader, written for plainness: it has the whole input and cuts it line by line.
//!
//! The input's first byte says in what parts the decoder gets the rest. Both must agree on the data and on where the body ends,
//! or refuse it both, and the decoder must refuse nothing that the reader finds merely incomplete.

#![no_main]

use libfuzzer_sys::fuzz_target;
use livechain::http::{ChunkError, Decoder};

/// Within what the decoder takes for extensions and trailers whatever the input is.
const INPUT_BYTES_MAX: usize = 4000;
const BODY_BYTES_MAX: u64 = 1 << 40;

fuzz_target!(|data: &[u8]| {
    let [part, body @ ..] = data else { return };
    if body.len() > INPUT_BYTES_MAX {
        return;
    }
    let decoded = in_parts(body, usize::from(*part) + 1);
    assert_eq!(decoded, in_parts(body, usize::MAX), "parts of {part}");
    assert_eq!(decoded, by_name(body), "by name");
    match (decoded, plain(body)) {
        (Ok(decoded), Plain::Whole { data, bytes }) => assert_eq!(decoded, Some((data, bytes))),
        (Ok(decoded), Plain::Incomplete) => assert_eq!(decoded, None),
        // The decoder need not wait for the end of a line that is wrong already; the plain reader does.
        (Err(error), Plain::Incomplete) => {
            let ended = plain(&[body, b"\r\n"].concat());
            assert!(
                matches!(ended, Plain::Refused),
                "refused, but could go on: {error}"
            );
        }
        (decoded, Plain::Refused) => assert!(decoded.is_err(), "accepted: {decoded:?}"),
        (Err(error), Plain::Whole { .. }) => panic!("refused: {error}"),
    }
});

type Outcome = Result<Option<(Vec<u8>, usize)>, ChunkError>;

fn in_parts(body: &[u8], part_bytes: usize) -> Outcome {
    let (mut decoder, mut out, mut consumed) = (Decoder::new(BODY_BYTES_MAX), Vec::new(), 0);
    for part in body.chunks(part_bytes) {
        let progress = decoder.decode(part, &mut out)?;
        consumed += progress.consumed;
        if progress.done {
            return Ok(Some((out, consumed)));
        }
        assert_eq!(progress.consumed, part.len());
    }
    Ok(None)
}

/// The same through ranges of the input.
fn by_name(body: &[u8]) -> Outcome {
    let (mut decoder, mut out, mut consumed) = (Decoder::new(BODY_BYTES_MAX), Vec::new(), 0);
    while consumed < body.len() {
        let rest = &body[consumed..];
        let piece = decoder.next(rest)?;
        assert!(piece.data.end <= piece.consumed && (piece.consumed > 0 || piece.done));
        out.extend_from_slice(&rest[piece.data]);
        consumed += piece.consumed;
        if piece.done {
            return Ok(Some((out, consumed)));
        }
    }
    Ok(None)
}

enum Plain {
    Whole { data: Vec<u8>, bytes: usize },
    Incomplete,
    Refused,
}

fn plain(body: &[u8]) -> Plain {
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = line(&body[at..]) else {
            return Plain::Incomplete;
        };
        at += line.len() + 2;
        let Some(size) = size(line) else {
            return Plain::Refused;
        };
        if size == 0 {
            return trailers(body, at, data);
        }
        if (data.len() as u64).saturating_add(size) > BODY_BYTES_MAX {
            return Plain::Refused;
        }
        let size = size as usize;
        let Some(chunk) = body[at..].get(..size) else {
            return Plain::Incomplete;
        };
        data.extend_from_slice(chunk);
        at += size;
        match &body[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [] | [b'\r'] => return Plain::Incomplete,
            _ => return Plain::Refused,
        }
    }
}

fn trailers(body: &[u8], mut at: usize, data: Vec<u8>) -> Plain {
    loop {
        let Some(line) = line(&body[at..]) else {
            return Plain::Incomplete;
        };
        at += line.len() + 2;
        if line.is_empty() {
            return Plain::Whole { data, bytes: at };
        }
        let is_token =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        if colon == 0 || !line[..colon].iter().all(is_token) || !is_text(&line[colon..]) {
            return Plain::Refused;
        }
    }
}

/// Up to the first CR LF.
fn line(input: &[u8]) -> Option<&[u8]> {
    let end = input.windows(2).position(|pair| pair == b"\r\n")?;
    Some(&input[..end])
}

fn size(line: &[u8]) -> Option<u64> {
    let (digits, extension) = match line.iter().position(|byte| *byte == b';') {
        Some(end) => line.split_at(end),
        None => (line, &b""[..]),
    };
    let is_size = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    if !is_size || !is_text(extension) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// No control character but tab.
fn is_text(text: &[u8]) -> bool {
    text.iter()
        .all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}
