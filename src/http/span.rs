//! Where something stands in a head: four bytes instead of a borrowed slice, so that a parsed head may be kept beside
//! the buffer that it points into.
//!
//! Invariant: what a span names never stands at offset 0 (that is the method's or the version's first letter), so
//! that `Option<Span>` is no larger than `Span`.

use std::num::NonZeroU16;

/// A range of a head's bytes, at most [`crate::limits::HEAD_BYTES_MAX`] from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: NonZeroU16,
    len: u16,
}

impl Span {
    /// `None` for offset 0 and for what lies beyond a head's bound; neither happens to a parser that holds to it.
    pub(super) fn new(start: usize, len: usize) -> Option<Self> {
        let start = NonZeroU16::new(u16::try_from(start).ok()?)?;
        let len = u16::try_from(len).ok()?;
        Some(Self { start, len })
    }

    /// Where `part`, a slice of `buf`, stands in it.
    pub(super) fn within(buf: &[u8], part: &[u8]) -> Option<Self> {
        let start = part.as_ptr().addr().checked_sub(buf.as_ptr().addr())?;
        (start + part.len() <= buf.len()).then(|| Self::new(start, part.len()))?
    }

    /// Bytes from the buffer's beginning.
    #[must_use]
    pub fn start(self) -> usize {
        usize::from(self.start.get())
    }

    #[must_use]
    pub fn len(self) -> usize {
        usize::from(self.len)
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The bytes themselves; empty when `buf` is not the buffer that was parsed and is shorter.
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start()..self.start() + self.len()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_span_costs_nothing() {
        assert_eq!(size_of::<Option<Span>>(), 4);
    }

    #[test]
    fn names_its_bytes() {
        let buf = b"GET /path";
        let span = Span::within(buf, &buf[4..]).unwrap();
        assert_eq!((span.start(), span.len(), span.of(buf)), (4, 5, &b"/path"[..]));
        assert_eq!(span.of(b"GET"), b"");
        assert_eq!(Span::new(0, 1), None);
        assert_eq!(Span::new(1, 70_000), None);
    }
}
