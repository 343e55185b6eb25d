//! UTF-8 checked as it comes: a text that is broken is refused at the byte that breaks it, not at the message's end.
//!
//! Of a character that the bytes so far have only begun, at most three bytes are kept.

use super::fault::Fault;

/// A text under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8 {
    begun: [u8; 4],
    begun_bytes: usize,
}

impl Utf8 {
    /// Takes the text's next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let rest = self.complete(bytes)?;
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(Fault::NotUtf8),
            Err(error) => {
                // Behind what is valid stands the beginning of a character, and nothing else.
                let begun = &rest[error.valid_up_to()..];
                self.begun_bytes = begun.len();
                self.begun[..begun.len()].copy_from_slice(begun);
                Ok(())
            }
        }
    }

    /// The text has ended; ready for another.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        if std::mem::take(&mut self.begun_bytes) == 0 { Ok(()) } else { Err(Fault::NotUtf8) }
    }

    /// Completes the character that was begun; what follows it.
    fn complete<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Fault> {
        let mut rest = bytes;
        while self.begun_bytes > 0 {
            let Some((&next, behind)) = rest.split_first() else { return Ok(rest) };
            self.begun[self.begun_bytes] = next;
            self.begun_bytes += 1;
            rest = behind;
            match std::str::from_utf8(&self.begun[..self.begun_bytes]) {
                Ok(_) => self.begun_bytes = 0,
                Err(error) if error.error_len().is_some() => return Err(Fault::NotUtf8),
                // Four bytes are a character or wrong, so there is room for the next.
                Err(_) => {}
            }
        }
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(parts: &[&[u8]]) -> Result<(), Fault> {
        let mut utf8 = Utf8::default();
        for part in parts {
            utf8.push(part)?;
        }
        utf8.finish()
    }

    #[test]
    fn a_broken_text_is_refused_at_the_byte_that_breaks_it() {
        for (text, good) in [
            (&b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80"[..], 6),
            (b"\xf4\x90\x80\x80", 1),
            (b"\xc0\xaf", 0),
            (b"\xe0\x80", 1),
            (b"ab\x80", 2),
            (b"\xf0\x9f\x98a", 3),
        ] {
            let mut utf8 = Utf8::default();
            for byte in &text[..good] {
                utf8.push(&[*byte]).unwrap();
            }
            assert_eq!(utf8.push(&[text[good]]), Err(Fault::NotUtf8), "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_is_judged_as_the_whole(
            bytes in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                prop::collection::vec(prop::sample::select(vec![0xe2_u8, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80, b'a']), 0..12),
            ],
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut parts = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                parts.push(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(pushed(&parts).is_ok(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
