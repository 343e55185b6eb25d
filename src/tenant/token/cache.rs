//! Tokens that were found good before, so that they are not verified again: by a connection, and by a shard.
//!
//! A connection keeps the token's own bytes: to compare them is a fraction of hashing them. A shard keeps hashes (SHA-256,
//! since whoever could make two texts meet would be let in with the other's) and what the tokens say; no text.
//!
//! **Bounded** in two halves: what is used goes into the young one; when that is full it becomes the old one, and what the
//! old one still had is forgotten. So the cost of each look-up is constant, and what is used stays. Only good tokens are
//! remembered: who sends bad ones fills nothing.
//!
//! **Good for one generation** of keys ([`Tokens::generation`](super::Tokens::generation)), and until the token ends.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::rc::Rc;

use aws_lc_rs::digest::{SHA256, digest};

use super::{TokenEntry, TokenFault, Tokens};
use crate::limits::{TOKEN_BYTES_MAX, TOKENS_REMEMBERED_MAX};

/// A token's text as a connection remembers it.
#[derive(Clone)]
pub struct RememberedToken(Box<[u8]>);

impl RememberedToken {
    /// Of a token that was found good, which is bounded by that.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        debug_assert!(text.len() <= TOKEN_BYTES_MAX, "it was found good");
        Self(text.into())
    }

    /// Whether `text` is this token, without a word about how much of it is: a connection may be a balancer's, and its
    /// requests different clients'. How long ours is may show.
    #[inline]
    #[must_use]
    pub fn is(&self, text: &[u8]) -> bool {
        let differ = |differ, (ours, theirs): (&u8, &u8)| differ | (ours ^ theirs);
        self.0.len() == text.len() && self.0.iter().zip(text).fold(0, differ) == 0
    }
}

impl fmt::Debug for RememberedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RememberedToken(***)")
    }
}

type Hash = [u8; 32];
type Half = HashMap<Hash, Rc<TokenEntry>, RandomState>;

/// Good tokens of one shard. See the module.
#[derive(Default)]
pub struct TokenCache {
    generation: u64,
    young: Half,
    old: Half,
}

impl TokenCache {
    /// As [`Tokens::find`], without its work where that was done before.
    pub fn find(&mut self, tokens: &Tokens, text: &[u8], now_s: u64) -> Result<Rc<TokenEntry>, TokenFault> {
        if self.generation != tokens.generation() {
            *self = Self { generation: tokens.generation(), ..Self::default() };
        }
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::Length);
        }
        let hash = hash(text);
        let known = self.young.get(&hash).map(Rc::clone);
        let entry = match known.or_else(|| self.old.remove(&hash)) {
            Some(entry) if now_s >= entry.expires_s => {
                self.young.remove(&hash);
                return Err(TokenFault::Expired);
            }
            Some(entry) => entry,
            None => Rc::new(tokens.find(text, now_s)?),
        };
        self.remember(hash, &entry);
        Ok(entry)
    }

    fn remember(&mut self, hash: Hash, entry: &Rc<TokenEntry>) {
        if self.young.len() >= TOKENS_REMEMBERED_MAX / 2 && !self.young.contains_key(&hash) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.entry(hash).or_insert_with(|| Rc::clone(entry));
    }

    /// How many are remembered, for pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for TokenCache {
    /// Without hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("tokens", &self.len()).finish_non_exhaustive()
    }
}

fn hash(text: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, text).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::super::forge::{Claims, Issuer, NOW_S, tokens};
    use super::super::keyring::TokenAlgorithm;
    use super::*;

    #[test]
    fn a_connection_knows_its_token_again() {
        let remembered = RememberedToken::new(b"eyJ.a.b");
        assert!(remembered.is(b"eyJ.a.b"));
        for other in [&b""[..], b"eyJ.a.", b"eyJ.a.c", b"fyJ.a.b", b"eyJ.a.b ", b" eyJ.a.b"] {
            assert!(!remembered.is(other), "{other:?}");
        }
        assert_eq!(format!("{remembered:?}"), "RememberedToken(***)");
    }

    #[test]
    fn what_was_good_is_not_verified_again_until_it_ends_or_keys_change() {
        let issuer = Issuer::new(TokenAlgorithm::EdDsa, None);
        let (good, token) = (tokens(vec![issuer.key()]), issuer.sign(&Claims::good()));
        let mut cache = TokenCache::default();
        let first = cache.find(&good, token.as_bytes(), NOW_S).unwrap();
        let second = cache.find(&good, token.as_bytes(), NOW_S).unwrap();
        assert!(Rc::ptr_eq(&first, &second));
        let ends = first.expires_s;
        assert!(cache.find(&good, token.as_bytes(), ends - 1).is_ok());
        assert_eq!(cache.find(&good, token.as_bytes(), ends).unwrap_err(), TokenFault::Expired);
        assert!(cache.is_empty(), "one that has ended is forgotten");
        cache.find(&good, token.as_bytes(), NOW_S).unwrap();
        let rotated = good.with_keys(vec![Issuer::new(TokenAlgorithm::EdDsa, None).key()]);
        assert_eq!(cache.find(&rotated, token.as_bytes(), NOW_S).unwrap_err(), TokenFault::Signature);
        assert!(cache.is_empty(), "nothing of the old keys");
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let issuer = Issuer::new(TokenAlgorithm::Hs256, None);
        let tokens = tokens(vec![issuer.key()]);
        let token = |n: usize| issuer.sign(&Claims::good().with("sub", &format!("\"{n}\"")));
        let mut cache = TokenCache::default();
        let used = token(0);
        let kept = cache.find(&tokens, used.as_bytes(), NOW_S).unwrap();
        for n in 1..TOKENS_REMEMBERED_MAX * 2 {
            cache.find(&tokens, token(n).as_bytes(), NOW_S).unwrap();
            if n % 1000 == 0 {
                assert!(Rc::ptr_eq(&kept, &cache.find(&tokens, used.as_bytes(), NOW_S).unwrap()), "{n}");
            }
            assert!(cache.len() <= TOKENS_REMEMBERED_MAX);
        }
        // Bad ones push nobody out.
        let before = cache.len();
        for n in 0..100 {
            let mut bad = token(n);
            bad.push('A');
            assert!(cache.find(&tokens, bad.as_bytes(), NOW_S).is_err());
        }
        assert_eq!(cache.len(), before);
    }
}
