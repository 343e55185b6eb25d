//! Numbers as digits and letters: what survives a double click, a URL and a shell.

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Appends the number whose bytes `bytes` are, most significant first, as `CHARS` digits, which must be enough for it.
pub(super) fn push<const CHARS: usize>(out: &mut String, bytes: &[u8]) {
    debug_assert!(CHARS * 595 >= bytes.len() * 8 * 100, "5.95 bits a digit");
    let mut number = bytes.to_vec();
    let mut digits = [0; CHARS];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0;
        for byte in &mut number {
            let part = rest << 8 | u32::from(*byte);
            *byte = u8::try_from(part / 62).expect("the rest is below 62, so that this is below 256");
            rest = part % 62;
        }
        *digit = DIGITS[rest as usize];
    }
    out.extend(digits.map(char::from));
}

/// The number that up to ten digits name.
pub(super) fn read(digits: &[u8]) -> Option<u64> {
    debug_assert!(digits.len() <= 10, "a word holds no more");
    digits.iter().try_fold(0, |number: u64, digit| Some(number * 62 + u64::from(value(*digit)?)))
}

const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'Z' => Some(digit - b'A' + 10),
        b'a'..=b'z' => Some(digit - b'a' + 36),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for (number, text) in
            [(0_u32, "000000"), (61, "00000z"), (62, "000010"), (62 * 62 - 1, "0000zz"), (u32::MAX, "4gfFC3")]
        {
            let mut out = String::new();
            push::<6>(&mut out, &number.to_be_bytes());
            assert_eq!(out, text);
            assert_eq!(read(text.as_bytes()), Some(number.into()));
        }
        assert_eq!(read(b"00-000"), None);
    }

    #[test]
    fn the_largest_secret_fits() {
        let (mut most, mut one_less) = (String::new(), String::new());
        push::<33>(&mut most, &[255; 24]);
        push::<33>(&mut one_less, &[[255; 23].as_slice(), &[254]].concat());
        assert!(most > one_less && !most.starts_with('0'), "{most}");
    }
}
