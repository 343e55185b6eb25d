//! Heads of which most repeat the one before to the byte: an SDK sends what it sent last time, and a node's answers of one
//! length differ in their date, once a second.
//!
//! A head says by itself where it ends, so what a buffer holds behind a complete head cannot change how that head is
//! read: a buffer that begins with the bytes of the last head begins with the same head. To compare a few hundred
//! bytes costs a tenth of reading them.
//!
//! Nothing is kept of a first head: many connections bring one request only. Nor of a large one: idle connections are to
//! stay small.

use super::{HeadError, RequestHead, ResponseHead, request, response};
use crate::limits::REPEATED_HEAD_BYTES_MAX;

/// Reads heads that are likely to repeat each other: of requests, or of responses. What follows from a head alone may be
/// noted beside it, and is there again when the head is.
#[derive(Debug)]
pub struct HeadReader<H, N = ()> {
    last: Option<Box<Last<H, N>>>,
    /// A head has been read.
    begun: bool,
    /// `last` is the head that was read last.
    is_last: bool,
}

#[derive(Debug)]
struct Last<H, N> {
    bytes: Vec<u8>,
    head: H,
    note: Option<N>,
}

impl<H, N> Default for HeadReader<H, N> {
    fn default() -> Self {
        Self { last: None, begun: false, is_last: false }
    }
}

impl<N> HeadReader<RequestHead, N> {
    /// As [`super::parse`], with the same outcome.
    pub fn read(&mut self, buf: &[u8]) -> Result<Option<RequestHead>, HeadError> {
        self.read_with(buf, request::parse, |head| head.head_bytes)
    }
}

impl<N> HeadReader<ResponseHead, N> {
    /// As [`super::parse_response`], with the same outcome.
    pub fn read(&mut self, buf: &[u8]) -> Result<Option<ResponseHead>, HeadError> {
        self.read_with(buf, response::parse_response, |head| head.head_bytes)
    }
}

impl<H, N> HeadReader<H, N> {
    /// What was noted of the head that was read last, or of one with the same bytes.
    #[must_use]
    pub fn note(&self) -> Option<&N> {
        self.last.as_ref().filter(|_| self.is_last)?.note.as_ref()
    }

    /// Notes what follows from the head that was read last. Lost where that head is not kept.
    pub fn set_note(&mut self, note: N) {
        if let Some(last) = self.last.as_mut().filter(|_| self.is_last) {
            last.note = Some(note);
        }
    }
}

impl<H: Copy, N> HeadReader<H, N> {
    fn read_with(
        &mut self,
        buf: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<Option<H>, HeadError>,
        length: impl Fn(&H) -> usize,
    ) -> Result<Option<H>, HeadError> {
        if let Some(last) = &self.last
            && buf.starts_with(&last.bytes)
        {
            self.is_last = true;
            return Ok(Some(last.head));
        }
        self.is_last = false;
        let read = parse(buf)?;
        if let Some(head) = read
            && std::mem::replace(&mut self.begun, true)
            && length(&head) <= REPEATED_HEAD_BYTES_MAX
        {
            self.remember(&buf[..length(&head)], head);
        }
        Ok(read)
    }

    fn remember(&mut self, bytes: &[u8], head: H) {
        self.is_last = true;
        match &mut self.last {
            Some(last) => {
                last.bytes.clear();
                last.bytes.extend_from_slice(bytes);
                last.head = head;
                last.note = None;
            }
            None => self.last = Some(Box::new(Last { bytes: bytes.to_vec(), head, note: None })),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADS: [&str; 6] = [
        "POST /rpc/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n",
        "POST /rpc/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n",
        "POST /rpc/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX: y\r\n\r\n",
        "POST /rpc/2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /api/health HTTP/1.0\r\n\r\n",
        "POST /rpc/1 HTTP/1.1\r\nHost : a\r\n\r\n",
    ];

    proptest! {
        /// Whatever was read before, whole or in parts, a buffer is read as it is by itself.
        #[test]
        fn every_buffer_is_read_as_if_it_were_the_first(
            buffers in proptest::collection::vec((0..HEADS.len(), 0..HEADS.len(), 0_usize..120), 1..40),
        ) {
            let mut reader = HeadReader::<RequestHead, Vec<u8>>::default();
            for (head, behind, length) in buffers {
                let text = [HEADS[head], "{}", HEADS[behind]].concat();
                let buf = &text.as_bytes()[..length.min(text.len())];
                let read = reader.read(buf);
                prop_assert_eq!(read, request::parse(buf));
                let Ok(Some(found)) = read else {
                    prop_assert_eq!(reader.note(), None);
                    continue;
                };
                // The note of a head is its own bytes.
                let bytes = &buf[..found.head_bytes];
                prop_assert!(reader.note().is_none_or(|note| note == bytes));
                reader.set_note(bytes.to_vec());
            }
        }
    }

    const ANSWERS: [&str; 6] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\n",
        "HTTP/1.1 429 No\r\nRetry-After: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
    ];

    proptest! {
        #[test]
        fn so_is_every_answer(
            buffers in proptest::collection::vec((0..ANSWERS.len(), 0..ANSWERS.len(), 0_usize..120), 1..40),
        ) {
            let mut reader = HeadReader::<ResponseHead, ()>::default();
            for (head, behind, length) in buffers {
                let text = [ANSWERS[head], "{}", ANSWERS[behind]].concat();
                let buf = &text.as_bytes()[..length.min(text.len())];
                prop_assert_eq!(reader.read(buf), response::parse_response(buf));
            }
        }
    }

    #[test]
    fn the_third_of_a_kind_is_known() {
        let mut reader = HeadReader::<RequestHead, ()>::default();
        for (known, text) in [(false, HEADS[0]), (true, HEADS[0]), (true, HEADS[0]), (true, HEADS[4])] {
            reader.read(text.as_bytes()).unwrap().unwrap();
            assert_eq!(reader.last.as_ref().map(|last| last.bytes.as_slice()), known.then_some(text.as_bytes()));
        }
    }

    #[test]
    fn a_note_is_there_when_its_head_is() {
        let mut reader = HeadReader::<RequestHead, usize>::default();
        let large = HEADS[0].replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "y".repeat(REPEATED_HEAD_BYTES_MAX)));
        // Head, what is noted then, what was noted before.
        let steps = [
            (HEADS[0], 1, None),
            (HEADS[0], 2, None),
            (HEADS[0], 3, Some(2)),
            (&large, 4, None),
            (HEADS[0], 5, Some(3)),
            (HEADS[1], 6, None),
        ];
        for (head, note, noted) in steps {
            reader.read(head.as_bytes()).unwrap().unwrap();
            assert_eq!(reader.note().copied(), noted, "{note}");
            reader.set_note(note);
        }
    }

    #[test]
    fn a_large_head_is_not_kept() {
        let mut reader = HeadReader::<RequestHead, ()>::default();
        let large = HEADS[0].replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "y".repeat(REPEATED_HEAD_BYTES_MAX)));
        for _ in 0..3 {
            assert!(reader.read(large.as_bytes()).unwrap().is_some());
        }
        assert!(reader.last.is_none());
    }
}
