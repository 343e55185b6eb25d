//! Eight bytes at a time in a plain word: where the first byte stands that ends a run.
//!
//! Names, values and strings are short, mostly a few words long; up to that a loop over words beats what needs a call to
//! pick its vector code at run time. The marks are those of Hacker's Delight: a byte that is looked for has its top bit set in
//! the mark, and so may have bytes *above* it (a borrow runs upwards), so that only the lowest mark counts. It is
//! taken from the little end.

/// Bytes that are looked at together.
pub(crate) const WORD_BYTES: usize = 8;

const TOP_BITS: u64 = every(0x80);

const fn every(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WORD_BYTES])
}

/// Eight bytes of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word(u64);

/// A byte of the word that was asked for, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks(u64);

impl Word {
    #[inline]
    pub(crate) const fn of(bytes: [u8; WORD_BYTES]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// The word that begins at `at`; `None` when fewer bytes follow.
    #[inline]
    pub(crate) fn at(text: &[u8], at: usize) -> Option<Self> {
        text.get(at..at + WORD_BYTES)?.first_chunk().copied().map(Self::of)
    }

    /// Marks `byte`, which must be ASCII. A byte beyond ASCII is never marked.
    #[inline]
    pub(crate) const fn equal(self, byte: u8) -> Marks {
        debug_assert!(byte.is_ascii());
        Marks((self.0 ^ every(byte)).wrapping_sub(every(1)) & !self.0 & TOP_BITS)
    }

    /// With ASCII's upper-case letters in lower case.
    #[inline]
    pub(crate) const fn lowered(self) -> u64 {
        // Sums of seven bits reach the top bit from a certain value on, and run into no neighbour.
        let low = self.0 & !TOP_BITS;
        let from_a = low.wrapping_add(every(0x80 - b'A'));
        let beyond_z = low.wrapping_add(every(0x7f - b'Z'));
        let upper = from_a & !beyond_z & !self.0 & TOP_BITS;
        self.0 | upper >> 2
    }

    /// Marks the bytes below `bound`, which must be ASCII.
    #[inline]
    pub(crate) const fn below(self, bound: u8) -> Marks {
        debug_assert!(bound.is_ascii());
        Marks(self.0.wrapping_sub(every(bound)) & !self.0 & TOP_BITS)
    }
}

impl Marks {
    #[inline]
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The place of the first marked byte in its word.
    #[inline]
    pub(crate) const fn first(self) -> Option<usize> {
        if self.0 == 0 { None } else { Some((self.0.trailing_zeros() / u8::BITS) as usize) }
    }
}

/// Where `byte`, which must be ASCII, first stands.
#[inline]
pub(crate) fn find(text: &[u8], byte: u8) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = Word::at(text, at) {
        if let Some(bytes) = word.equal(byte).first() {
            return Some(at + bytes);
        }
        at += WORD_BYTES;
    }
    text[at..].iter().position(|other| *other == byte).map(|bytes| at + bytes)
}

/// As the standard library's, but quick at what is left behind the last vector too.
#[inline]
pub(crate) fn is_ascii(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks();
    let words = words.iter().fold(0, |all, word| all | u64::from_le_bytes(*word));
    words & TOP_BITS == 0 && rest.iter().all(u8::is_ascii)
}

/// Whether both say the same but for the case of ASCII's letters.
#[inline]
pub(crate) fn equal_in_any_case(a: &[u8], b: &[u8]) -> bool {
    let (Some(a_end), Some(b_end)) = (a.last_chunk(), b.last_chunk()) else {
        return a.eq_ignore_ascii_case(b);
    };
    let equal = |a: &[u8; WORD_BYTES], b: &[u8; WORD_BYTES]| Word::of(*a).lowered() == Word::of(*b).lowered();
    // The last word overlaps the one before.
    a.len() == b.len() && a.as_chunks().0.iter().zip(b.as_chunks().0).all(|(a, b)| equal(a, b)) && equal(a_end, b_end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_word_needs_eight_bytes() {
        assert!(Word::at(b"01234567", 0).is_some());
        assert!(Word::at(b"01234567", 1).is_none());
        assert!(Word::at(b"", 1).is_none());
    }

    proptest! {
        #[test]
        fn cases_are_folded_as_the_standard_library_folds_them(
            a in proptest::collection::vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            for other in [a.to_ascii_lowercase(), a.to_ascii_uppercase()] {
                prop_assert!(equal_in_any_case(&a, &other));
                let mut other = other;
                if !other.is_empty() {
                    let at = at.index(other.len());
                    other[at] = byte;
                }
                prop_assert_eq!(equal_in_any_case(&a, &other), a.eq_ignore_ascii_case(&other));
            }
        }

        #[test]
        fn what_is_ascii(mut text in proptest::collection::vec(0_u8..0x80, 0..40), at in any::<prop::sample::Index>()) {
            prop_assert!(is_ascii(&text));
            if !text.is_empty() {
                let at = at.index(text.len());
                text[at] |= 0x80;
                prop_assert!(!is_ascii(&text));
            }
        }

        #[test]
        fn a_byte_is_found(text in proptest::collection::vec(0x5a_u8..0x5f, 0..30)) {
            prop_assert_eq!(find(&text, b'\\'), text.iter().position(|byte| *byte == b'\\'));
        }

        #[test]
        fn the_first_mark_is_the_first_such_byte(
            bytes in proptest::array::uniform8(prop_oneof![any::<u8>(), 0x1e_u8..0x24, 0x7e_u8..0x82]),
            other in 0x1e_u8..0x24,
            bound in 0_u8..0x80,
        ) {
            let word = Word::at(&bytes, 0).unwrap();
            prop_assert_eq!(word.equal(other).first(), bytes.iter().position(|byte| *byte == other));
            prop_assert_eq!(word.below(bound).first(), bytes.iter().position(|byte| *byte < bound));
            let either = |byte: &u8| *byte < bound || *byte == other;
            prop_assert_eq!(word.below(bound).or(word.equal(other)).first(), bytes.iter().position(either));
        }
    }
}
