//! How long a body is, from Content-Length and Transfer-Encoding (RFC 9112, section 6).
//!
//! Both sides share the rules that keep two readers from finding two ends: never both fields, a length is digits and
//! nothing else, the only coding is `chunked`, alone. They differ in one: a provider that repeats an equal
//! Content-Length is believed, a client is not.

use super::error::HeadError;

/// How a request's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none: the next request follows the head.
    None,
    /// After this many bytes.
    Length(u64),
    /// In chunks; see [`super::Decoder`].
    Chunked,
}

/// What a head's fields have said of its body so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BodyFields {
    length: Option<u64>,
    chunked: bool,
}

impl BodyFields {
    /// A client's Content-Length: one.
    pub(super) fn length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let length = decimal(value).ok_or(HeadError::LengthMalformed)?;
        match self.length.replace(length) {
            None => Ok(()),
            Some(_) => Err(HeadError::LengthRepeated),
        }
    }

    /// A provider's Content-Length: any number of equal ones.
    pub(super) fn length_repeatable(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let length = decimal(value).ok_or(HeadError::LengthMalformed)?;
        match self.length.replace(length) {
            Some(other) if other != length => Err(HeadError::LengthRepeated),
            _ => Ok(()),
        }
    }

    /// Transfer-Encoding: one field, one coding, `chunked`.
    pub(super) fn coding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::Coding);
        }
        self.chunked = true;
        Ok(())
    }

    pub(super) fn framing(self, is_old_version: bool) -> Result<Framing, HeadError> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(HeadError::LengthAndCoding),
            (None, true) if is_old_version => Err(HeadError::CodingInOldVersion),
            (None, true) => Ok(Framing::Chunked),
            (Some(length), false) => Ok(Framing::Length(length)),
            (None, false) => Ok(Framing::None),
        }
    }
}

/// Digits alone, within 64 bits.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// The last decimal digit of a number.
pub(super) const fn digit(number: u64) -> u8 {
    b"0123456789"[(number % 10) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_is_digits_within_64_bits() {
        for (text, number) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999999999999999", None),
            ("", None),
            ("+5", None),
            ("-5", None),
            ("5,5", None),
            ("5 5", None),
            ("0x5", None),
            ("5.0", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), number, "{text:?}");
        }
    }
}
