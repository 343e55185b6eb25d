//! A key as text: how it is made, read, and turned into what the store and the map know it by.
//!
//! ```text
//!   lc_live_ 4zT0…33 characters…Qe 1xB9Zk        47 bytes in all
//!   prefix   secret, 192 random bits checksum
//! ```
//!
//! The prefix tells secret scanners and people what they have found. The checksum covers prefix and secret: a key that
//! is truncated or mistyped is refused without a look-up, and one that is enormous by its length alone, so that
//! refusing costs the same small work whatever is sent. It keeps nobody out who knows how it is made; the secret does.
//!
//! **What is kept** is the keyed hash (HMAC-SHA-256 under the operator's pepper): a stolen store opens nothing, and
//! nobody without the pepper can make two keys that meet in the map. The secret is random, so that no slow hash is
//! needed. **What is shown** in logs, pages and metrics is the [`KeyId`], made of random bits of its own: it says
//! nothing about the secret.
//!
//! No type here shows what it holds when it is printed for debugging.

mod base62;
mod checksum;

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;

use crate::limits::PEPPER_BYTES_MIN;

/// What every key begins with.
pub const KEY_PREFIX: &str = "lc_live_";
/// Random bytes that a key is made of.
pub const KEY_RANDOM_BYTES: usize = 32;

const SECRET_BYTES: usize = 24;
const SECRET_CHARS: usize = 33;
const CHECKSUM_CHARS: usize = 6;
const CHECKED_BYTES: usize = KEY_PREFIX.len() + SECRET_CHARS;
/// Bytes of a key's text, always.
pub const KEY_BYTES: usize = CHECKED_BYTES + CHECKSUM_CHARS;
const WORDS: usize = KEY_BYTES.div_ceil(8);

const _: () = assert!(SECRET_BYTES * 8 >= 160 && SECRET_BYTES + size_of::<KeyId>() == KEY_RANDOM_BYTES);

/// A key's public name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u64);

impl KeyId {
    /// Of those who show no key. No key has it.
    pub const NOBODY: Self = Self(0);
}

/// A key that has just been made: to be shown once and stored as its hash.
#[derive(Clone)]
pub struct NewKey {
    text: String,
    id: KeyId,
}

/// The text of a key that is well-formed; whether there is such a key is the map's to say.
#[derive(Clone, Copy)]
pub struct KeyText<'a>(&'a [u8; KEY_BYTES]);

/// Why a text is no key. All the same to the client; tests and counters tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("a key has {KEY_BYTES} characters")]
    Length,
    #[error("a key begins with {KEY_PREFIX}")]
    Prefix,
    #[error("a key consists of letters and digits")]
    Alphabet,
    #[error("the key is mistyped")]
    Checksum,
}

/// What the store and the map know a key by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

/// The operator's secret under which keys are hashed.
#[derive(Clone)]
pub struct Pepper(hmac::Key);

/// What a store knows a pepper by: the same pepper, the same tag. Of pepper and keys it tells nothing that hashes do not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PepperTag(pub [u8; 32]);

/// The pepper is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pepper has at least {PEPPER_BYTES_MIN} bytes")]
pub struct WeakPepper;

/// A key's text as a connection remembers it.
#[derive(Clone, Copy)]
pub struct RememberedKey([u64; WORDS]);

impl NewKey {
    /// Makes a key of bytes from a source that nobody can foretell.
    #[must_use]
    pub fn from_random(random: &[u8; KEY_RANDOM_BYTES]) -> Self {
        let (secret, id) = random.split_first_chunk::<SECRET_BYTES>().expect("as many and some more");
        // Nobody has no id.
        let id = id.iter().fold(0, |id, byte| id << 8 | u64::from(*byte)).max(1);
        let mut text = KEY_PREFIX.to_owned();
        base62::push::<SECRET_CHARS>(&mut text, secret);
        let check = checksum::of(text.as_bytes());
        base62::push::<CHECKSUM_CHARS>(&mut text, &check.to_be_bytes());
        Self { text, id: KeyId(id) }
    }

    /// The text itself: for whoever it is made for, once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }
}

impl<'a> KeyText<'a> {
    /// Reads what a request shows; bounded work, whatever it is.
    pub fn read(text: &'a [u8]) -> Result<Self, KeyFault> {
        let text: &[u8; KEY_BYTES] = text.try_into().map_err(|_| KeyFault::Length)?;
        let (checked, check) = text.split_at(CHECKED_BYTES);
        let secret = checked.strip_prefix(KEY_PREFIX.as_bytes()).ok_or(KeyFault::Prefix)?;
        if !secret.iter().all(u8::is_ascii_alphanumeric) {
            return Err(KeyFault::Alphabet);
        }
        let told = base62::read(check).ok_or(KeyFault::Alphabet)?;
        if told == u64::from(checksum::of(checked)) { Ok(Self(text)) } else { Err(KeyFault::Checksum) }
    }

    /// For [`RememberedKey::is`].
    #[must_use]
    pub fn remember(self) -> RememberedKey {
        RememberedKey(words(self.0))
    }
}

impl RememberedKey {
    /// Whether `text` is this key, without a word about how much of it is: a connection may be a balancer's, and its
    /// requests different clients'.
    #[inline]
    #[must_use]
    pub fn is(&self, text: &[u8]) -> bool {
        let Ok(text) = text.try_into() else { return false };
        let differ = self.0.iter().zip(words(text)).fold(0, |differ, (ours, theirs)| differ | (ours ^ theirs));
        differ == 0
    }
}

/// The last word overlaps the one before it, so that nothing is copied.
#[inline]
fn words(text: &[u8; KEY_BYTES]) -> [u64; WORDS] {
    std::array::from_fn(|n| {
        let at = (n * 8).min(KEY_BYTES - 8);
        text[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    })
}

impl Pepper {
    pub fn new(secret: &[u8]) -> Result<Self, WeakPepper> {
        if secret.len() < PEPPER_BYTES_MIN {
            return Err(WeakPepper);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    #[must_use]
    pub fn hash(&self, key: KeyText<'_>) -> KeyHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(hmac::sign(&self.0, key.0).as_ref());
        KeyHash(hash)
    }

    /// For the store, which sees to it that all keys are hashed under one pepper.
    #[must_use]
    pub fn own_tag(&self) -> PepperTag {
        PepperTag(self.tag("livechain pepper", &[]))
    }

    /// The same for what is no key: `what` says what it is, so that nothing is mistaken for another thing, and lengths
    /// keep the parts apart.
    pub(super) fn tag(&self, what: &str, parts: &[&str]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in std::iter::once(&what).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is none that a [`KeyId`] is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id has 16 hexadecimal digits")]
pub struct NoKeyId;

impl FromStr for KeyId {
    type Err = NoKeyId;

    fn from_str(text: &str) -> Result<Self, NoKeyId> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits {
            return Err(NoKeyId);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| NoKeyId)
    }
}

macro_rules! silent {
    ($($name:literal: $type:ty),*) => {
        $(impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($name, "(***)"))
            }
        })*
    };
}

silent!("NewKey": NewKey, "KeyText": KeyText<'_>, "KeyHash": KeyHash, "Pepper": Pepper,
    "PepperTag": PepperTag, "RememberedKey": RememberedKey);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn random(seed: u8) -> [u8; KEY_RANDOM_BYTES] {
        std::array::from_fn(|n| seed.wrapping_mul(31).wrapping_add(u8::try_from(n).unwrap().wrapping_mul(97)))
    }

    fn pepper() -> Pepper {
        Pepper::new(&[7; PEPPER_BYTES_MIN]).unwrap()
    }

    #[test]
    fn a_key_is_what_its_random_bytes_make_it() {
        for (random, text, id) in [
            ([0; 32], "lc_live_000000000000000000000000000000000", "0000000000000001"),
            ([255; 32], "", "ffffffffffffffff"),
        ] {
            let key = NewKey::from_random(&random);
            assert_eq!(key.expose().len(), KEY_BYTES);
            assert_eq!(key.id().to_string(), id);
            assert_eq!(id.parse(), Ok(key.id()));
            assert!(KeyText::read(key.expose().as_bytes()).is_ok());
            if !text.is_empty() {
                assert_eq!(key.expose()[..CHECKED_BYTES], text[..CHECKED_BYTES]);
            }
        }
    }

    #[test]
    fn the_id_says_nothing_about_the_secret() {
        let one = NewKey::from_random(&random(1));
        let mut other = random(1);
        other[SECRET_BYTES..].fill(9);
        let other = NewKey::from_random(&other);
        assert_eq!(one.expose(), other.expose());
        assert_ne!(one.id(), other.id());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let key = NewKey::from_random(&random(3)).expose().to_owned();
        let with = |at: usize, by: &str| [&key[..at], by, &key[at + by.len()..]].concat();
        for (text, fault) in [
            (String::new(), KeyFault::Length),
            (key[..KEY_BYTES - 1].to_owned(), KeyFault::Length),
            (format!("{key}0"), KeyFault::Length),
            (key.repeat(100_000), KeyFault::Length),
            (with(3, "test"), KeyFault::Prefix),
            (key.replace("lc_", "LC_"), KeyFault::Prefix),
            (with(20, "-"), KeyFault::Alphabet),
            (with(20, "é"), KeyFault::Alphabet),
            (with(KEY_BYTES - 1, "_"), KeyFault::Alphabet),
            (with(KEY_BYTES - CHECKSUM_CHARS, "zzzzzz"), KeyFault::Checksum),
        ] {
            assert_eq!(KeyText::read(text.as_bytes()).unwrap_err(), fault, "{text:.60}");
        }
        assert_eq!(KeyText::read(&[0xff; KEY_BYTES]).unwrap_err(), KeyFault::Prefix);
    }

    #[test]
    fn no_single_slip_of_the_hand_passes() {
        let key = NewKey::from_random(&random(5)).expose().to_owned().into_bytes();
        for at in 0..KEY_BYTES {
            for byte in 0..=u8::MAX {
                let mut slip = key.clone();
                slip[at] = byte;
                assert_eq!(KeyText::read(&slip).is_ok(), byte == key[at], "{at} {byte}");
            }
            let mut swapped = key.clone();
            swapped.swap(at, (at + 1) % KEY_BYTES);
            assert_eq!(KeyText::read(&swapped).is_ok(), swapped == key, "{at}");
        }
    }

    #[test]
    fn nothing_is_shown_when_printed() {
        let key = NewKey::from_random(&random(9));
        let text = KeyText::read(key.expose().as_bytes()).unwrap();
        for shown in [
            format!("{key:?}"),
            format!("{text:?}"),
            format!("{:?}", text.remember()),
            format!("{:?}", pepper().hash(text)),
            format!("{:?}", pepper()),
            format!("{:?}", pepper().own_tag()),
        ] {
            assert!(shown.ends_with("(***)") && shown.len() < 24, "{shown}");
        }
    }

    #[test]
    fn the_hash_is_the_peppers_and_the_keys() {
        let keys = [1, 2].map(|seed| NewKey::from_random(&random(seed)));
        let texts = keys.each_ref().map(|key| KeyText::read(key.expose().as_bytes()).unwrap());
        let other = Pepper::new(&[8; PEPPER_BYTES_MIN]).unwrap();
        assert_eq!(pepper().hash(texts[0]), pepper().hash(texts[0]));
        assert_ne!(pepper().hash(texts[0]), pepper().hash(texts[1]));
        assert_ne!(pepper().hash(texts[0]), other.hash(texts[0]));
        assert!(Pepper::new(&[7; PEPPER_BYTES_MIN - 1]).is_err());
        assert!(pepper().own_tag() == pepper().own_tag() && pepper().own_tag() != other.own_tag());
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        for text in ["", "0", "+123456789abcdef0", "00000000000000000", "000000000000000g", "é00000000000000"] {
            assert_eq!(text.parse::<KeyId>(), Err(NoKeyId), "{text}");
        }
    }

    proptest! {
        #[test]
        fn keys_are_read_as_they_are_made(
            random in any::<[u8; KEY_RANDOM_BYTES]>(),
            other in any::<[u8; KEY_RANDOM_BYTES]>(),
        ) {
            let (key, other) = (NewKey::from_random(&random), NewKey::from_random(&other));
            let text = KeyText::read(key.expose().as_bytes()).unwrap();
            prop_assert!(text.remember().is(key.expose().as_bytes()));
            prop_assert!(!text.remember().is(&key.expose().as_bytes()[1..]));
            prop_assert_eq!(text.remember().is(other.expose().as_bytes()), key.expose() == other.expose());
        }

        #[test]
        fn whatever_is_read_costs_no_panic(text in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = KeyText::read(&text);
        }
    }
}
