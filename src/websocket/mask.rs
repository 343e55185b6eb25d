//! The mask of a client's frames (RFC 6455, section 5.3): eight bytes at a time, in place.
//!
//! It hides nothing; it keeps a page's script from writing bytes of its choice on the wire, for which each frame needs
//! a key that the script cannot guess. Such keys come from the caller.

use crate::swar::WORD_BYTES;

/// A frame's masking key.
pub type Mask = [u8; 4];

/// Masks or unmasks `payload`, of which the first byte stands at `offset` of its frame's payload.
pub fn apply_mask(payload: &mut [u8], mask: Mask, offset: usize) {
    let mut key = mask;
    key.rotate_left(offset % mask.len());
    let [a, b, c, d] = key;
    let word_key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<WORD_BYTES>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ word_key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_and_bytes_are_masked_alike(
            payload in prop::collection::vec(any::<u8>(), 0..100), mask: Mask, offset in 0_usize..9,
        ) {
            let expected: Vec<u8> =
                payload.iter().enumerate().map(|(n, byte)| byte ^ mask[(n + offset) % 4]).collect();
            let mut masked = payload;
            apply_mask(&mut masked, mask, offset);
            prop_assert_eq!(masked, expected);
        }
    }
}
