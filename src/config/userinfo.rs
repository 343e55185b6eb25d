//! A URL's userinfo as an `Authorization` header (RFC 7617).

use super::Secret;

/// `Basic …` for a user and a password as a URL holds them, that is percent-encoded. None without both.
pub(super) fn authorization(user: &str, password: Option<&str>) -> Option<Secret> {
    if user.is_empty() && password.is_none() {
        return None;
    }
    let mut pair = percent_decoded(user);
    pair.push(b':');
    pair.extend(percent_decoded(password.unwrap_or_default()));
    Some(Secret::new(format!("Basic {}", base64(&pair))))
}

/// `%` without two hexadecimal digits is itself.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let escape = if *first == b'%' { after.first_chunk::<2>().and_then(|digits| hex(*digits)) } else { None };
        if escape.is_some() {
            rest = &after[2..];
        }
        decoded.push(escape.unwrap_or(*first));
    }
    decoded
}

fn hex(digits: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(digits[0])? * 16 + digit(digits[1])?)
}

/// RFC 4648 with padding. Read once a reload, so plain and slow.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let index = usize::try_from(group >> (18 - 6 * at) & 63).unwrap_or(0);
            text.push(if at <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn decodes_percents() {
        for (text, bytes) in [("a%20b", "a b"), ("%4", "%4"), ("%zz%", "%zz%"), ("%41%42", "AB"), ("%+4", "%+4")] {
            assert_eq!(percent_decoded(text), bytes.as_bytes(), "{text}");
        }
    }
}
