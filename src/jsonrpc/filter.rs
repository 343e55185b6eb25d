//! Ids of ours for filters, which live on one provider.
//!
//! A filter's id as the provider gave it says nothing about where it lives, and any shard may get the next call for it.
//! So the client gets one that says so: `0x` and, in hex, a version byte, the provider's 8-byte tag, a 16-byte MAC and
//! the provider's own id. Nothing is stored; a node that has restarted, or another with the same config, opens it
//! too. Clients (ethers, viem, web3.py) hand ids back as they got them.
//!
//! The MAC (HMAC-SHA-256, cut to 128 bits) keeps a client from naming filters that it was not given, and whatever
//! else it would like to have sent to a provider as an id. Its key is derived from the chain, the provider and its URL,
//! which is secret as soon as it holds the operator's key. After a change of URL old ids are unknown, as they should be:
//! the filters lived elsewhere.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};

use super::call::Call;
use super::error::escape;
use super::hex::{decoded, push_hex};
use super::reply::splice;
use super::scan::{first_string, unescaped};
use super::tokens::string_end;
use crate::limits::FILTER_ID_BYTES_MAX;

const VERSION: u8 = 1;
const TAG_BYTES: usize = 8;
const MAC_BYTES: usize = 16;
const HEADER_BYTES: usize = 1 + TAG_BYTES + MAC_BYTES;

/// What seals and opens the filter ids of one provider of one chain.
#[derive(Clone)]
pub struct FilterKey {
    tag: [u8; TAG_BYTES],
    key: hmac::Key,
}

impl FilterKey {
    /// The key of this provider. The same on every node with the same config.
    #[must_use]
    pub fn derive(chain: &str, provider: &str, url: &str) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"livechain filter id");
        for part in [chain, provider, url] {
            // Lengths, so that no two triples look alike.
            hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, hash.finish().as_ref());
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&hmac::sign(&key, b"tag").as_ref()[..TAG_BYTES]);
        Self { tag, key }
    }

    fn mac(&self, provider_id: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[VERSION]);
        context.update(provider_id);
        context.sign()
    }
}

impl std::fmt::Debug for FilterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilterKey").finish_non_exhaustive()
    }
}

/// The id that the client gets, as raw JSON. `provider_id` is the result of the provider, raw: a string or a number.
/// None for anything else, and for one too long to be honest.
#[must_use]
pub fn seal_filter(key: &FilterKey, provider_id: &[u8]) -> Option<Vec<u8>> {
    let is_id = is_scalar(provider_id) && provider_id.len() <= FILTER_ID_BYTES_MAX;
    is_id.then(|| {
        let mut out = b"\"0x".to_vec();
        push_hex(&mut out, &[VERSION]);
        push_hex(&mut out, &key.tag);
        push_hex(&mut out, &key.mac(provider_id).as_ref()[..MAC_BYTES]);
        push_hex(&mut out, provider_id);
        out.push(b'"');
        out
    })
}

/// Of the candidates, the one whose filter the call's first param names, and the provider's own id as raw JSON.
/// None: not one of our ids, or its provider is none of these.
pub fn open_filter<'k>(
    call: &Call<'_>,
    candidates: impl IntoIterator<Item = &'k FilterKey>,
) -> Option<(usize, Vec<u8>)> {
    let params = call.params?;
    let sealed = params.get(first_string(params)?)?;
    let bytes = decoded(sealed.strip_prefix(b"\"0x")?.strip_suffix(b"\"")?, HEADER_BYTES + FILTER_ID_BYTES_MAX)?;
    let (header, provider_id) = bytes.split_at_checked(HEADER_BYTES)?;
    let (version, header) = header.split_first()?;
    let (tag, mac) = header.split_at_checked(TAG_BYTES)?;
    let is_its = |key: &FilterKey| {
        key.tag == *tag && verify_slices_are_equal(&key.mac(provider_id).as_ref()[..MAC_BYTES], mac).is_ok()
    };
    let number = candidates.into_iter().position(is_its).filter(|_| *version == VERSION)?;
    is_scalar(provider_id).then(|| (number, provider_id.to_vec()))
}

/// One JSON string, or digits, and nothing behind. It is spliced into a call, and a seal is no stronger than its provider's
/// address is secret: what was forged must not bring members of its own along.
fn is_scalar(id: &[u8]) -> bool {
    match id.first() {
        Some(b'"') => id.len() >= 2 && id.ends_with(b"\"") && string_end(id, 0) == id.len() && unescaped(id).is_some(),
        Some(b'0'..=b'9') => id.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// The call as the provider gets it: with its own id in place of ours.
#[must_use]
pub fn with_filter_id(call: &Call<'_>, provider_id: &[u8]) -> Option<Vec<u8>> {
    let params = call.params?;
    let mut out = Vec::with_capacity(call.raw.len());
    out.extend_from_slice(br#"{"jsonrpc":"2.0","#);
    if let Some(id) = call.id {
        out.extend_from_slice(br#""id":"#);
        out.extend_from_slice(id);
        out.push(b',');
    }
    out.extend_from_slice(br#""method":""#);
    escape(&mut out, &call.method);
    out.extend_from_slice(br#"","params":"#);
    splice(&mut out, params, first_string(params)?, provider_id);
    out.push(b'}');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Document, Limits, parse};
    use super::super::tokens::Scratch;
    use super::*;

    fn keys() -> [FilterKey; 3] {
        [
            FilterKey::derive("ethereum", "alpha", "https://a.example/k1"),
            FilterKey::derive("ethereum", "beta", "https://b.example/k2"),
            FilterKey::derive("base", "alpha", "https://a.example/k1"),
        ]
    }

    fn with_call<R>(body: &str, then: impl FnOnce(&Call<'_>) -> R) -> R {
        let limits = Limits { batch_items_max: 1 };
        let Ok(Document::Single(Ok(call))) = parse(body.as_bytes(), &mut Scratch::new(), limits) else {
            panic!("{body}")
        };
        then(&call)
    }

    fn opened(param: &str, keys: &[FilterKey]) -> Option<(usize, String)> {
        let body = format!(r#"{{"id":1,"method":"eth_getFilterChanges","params":[ {param} ]}}"#);
        with_call(&body, |call| open_filter(call, keys)).map(|(n, id)| (n, String::from_utf8(id).unwrap()))
    }

    fn sealed(key: &FilterKey, id: &str) -> String {
        String::from_utf8(seal_filter(key, id.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn ids_find_their_way_back() {
        let keys = keys();
        for id in [r#""0x1""#, r#""0x9b25edab8d9f4b1ea6e1f6e5c4b2a901""#, "12", r#""a\"b""#, r#""""#] {
            for (n, key) in keys.iter().enumerate() {
                let sealed = sealed(key, id);
                assert!(sealed.starts_with(r#""0x01"#), "{sealed}");
                assert!(sealed[3..sealed.len() - 1].bytes().all(|byte| byte.is_ascii_hexdigit()), "{sealed}");
                assert_eq!(opened(&sealed, &keys), Some((n, id.to_owned())));
                let upper = sealed.to_uppercase().replace("0X", "0x");
                assert_eq!(opened(&upper, &keys), Some((n, id.to_owned())));
            }
        }
    }

    #[test]
    fn keys_survive_a_restart_and_not_a_change() {
        let id = sealed(&keys()[0], r#""0x1""#);
        let opens =
            |chain: &str, provider: &str, url: &str| opened(&id, &[FilterKey::derive(chain, provider, url)]).is_some();
        assert!(opens("ethereum", "alpha", "https://a.example/k1"));
        assert!(!opens("ethereum", "alpha", "https://a.example/k2"));
        assert!(!opens("ethereum", "beta", "https://a.example/k1"));
        assert!(!opens("base", "alpha", "https://a.example/k1"));
        assert!(!opens("ethereuma", "lpha", "https://a.example/k1"));
        assert_eq!(opened(&id, &[]), None);
    }

    #[test]
    fn nothing_else_opens() {
        let keys = keys();
        let id = sealed(&keys[0], r#""0x1""#);
        for at in 3..id.len() - 1 {
            let mut forged = id.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(opened(std::str::from_utf8(&forged).unwrap(), &keys), None, "byte {at}");
        }
        for end in 1..id.len() - 1 {
            assert_eq!(opened(&format!("{}\"", &id[..end]), &keys), None);
        }
        let longer = format!("{}00\"", &id[..id.len() - 1]);
        for param in [r#""0x1""#, r#""0x""#, r#""""#, "1", "null", "[]", r#"{"a":"b"}"#, longer.as_str()] {
            assert_eq!(opened(param, &keys), None, "{param}");
        }
        let endless = format!("\"0x{}\"", "01".repeat(FILTER_ID_BYTES_MAX * 2));
        assert_eq!(opened(&endless, &keys), None);
    }

    #[test]
    fn only_ids_are_sealed() {
        let key = &keys()[0];
        for result in ["null", "true", "[]", "{}", ""] {
            assert_eq!(seal_filter(key, result.as_bytes()), None, "{result}");
        }
        let quoted = |n: usize| format!("\"{}\"", "a".repeat(n - 2));
        assert!(seal_filter(key, quoted(FILTER_ID_BYTES_MAX).as_bytes()).is_some());
        assert!(seal_filter(key, quoted(FILTER_ID_BYTES_MAX + 1).as_bytes()).is_none());
        let longest = sealed(key, &quoted(FILTER_ID_BYTES_MAX));
        assert_eq!(opened(&longest, &keys()), Some((0, quoted(FILTER_ID_BYTES_MAX))));
    }

    #[test]
    fn bodies_are_rewritten() {
        let id = sealed(&keys()[0], r#""0xab""#);
        for (head, expected_head) in [(r#""id":"x","#, r#""id":"x","#), ("", "")] {
            let body = format!(r#"{{{head}"method":"eth_getFilterLogs","params": [ {id} , 5 ] }}"#);
            let forwarded = with_call(&body, |call| with_filter_id(call, br#""0xab""#)).unwrap();
            let expected =
                format!(r#"{{"jsonrpc":"2.0",{expected_head}"method":"eth_getFilterLogs","params":[ "0xab" , 5 ]}}"#);
            assert_eq!(String::from_utf8(forwarded).unwrap(), expected);
        }
    }

    #[test]
    fn a_forged_id_brings_no_members_of_its_own_along() {
        // Whoever knows a provider's address can make the key where no credential is in it.
        let key = FilterKey::derive("ethereum", "alpha", "http://public.example/");
        for inside in [r#""0x1"],"method":"personal_unlockAccount","params":["0x2""#, r#""0x1"#, "1,2", "[1]", "{}", ""]
        {
            let mut sealed = b"0x".to_vec();
            push_hex(&mut sealed, &[VERSION]);
            push_hex(&mut sealed, &key.tag);
            push_hex(&mut sealed, &key.mac(inside.as_bytes()).as_ref()[..MAC_BYTES]);
            push_hex(&mut sealed, inside.as_bytes());
            let params = format!("[\"{}\"]", String::from_utf8(sealed).unwrap());
            let call = Call {
                raw: b"{}",
                id: Some(b"1"),
                method: "eth_getFilterChanges".into(),
                params: Some(params.as_bytes()),
            };
            assert_eq!(open_filter(&call, [&key]), None, "{inside}");
            assert_eq!(seal_filter(&key, inside.as_bytes()), None, "{inside}");
        }
    }
}
