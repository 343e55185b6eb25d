//! Hex digits, as Ethereum writes bytes: lower case out, either case in.

pub(super) const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends bytes as lower-case hex digits.
pub(super) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

/// The bytes that an even number of hex digits stand for, `bytes_max` at most.
pub(super) fn decoded(hex: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    if !hex.len().is_multiple_of(2) || hex.len() / 2 > bytes_max {
        return None;
    }
    hex.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut out = Vec::new();
        push_hex(&mut out, &[0, 0x1f, 0xab, 0xff]);
        assert_eq!(out, b"001fabff");
        assert_eq!(decoded(b"001fABff", 4), Some(vec![0, 0x1f, 0xab, 0xff]));
        assert_eq!(decoded(b"", 0), Some(Vec::new()));
        for wrong in ["0", "0g", " 0", "001fabff00"] {
            assert_eq!(decoded(wrong.as_bytes(), 4), None, "{wrong}");
        }
    }
}
