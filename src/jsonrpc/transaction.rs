//! The hash of a raw signed transaction: what `eth_sendRawTransaction` would have answered.
//!
//! A provider that says "already known" has the transaction; its hash is then the honest answer, and computed here.
//! It is keccak-256 of the signed bytes. A blob transaction (type 3) travels with its blobs, as
//! `0x03 ‖ rlp([payload, blobs, …])` or `0x03 ‖ rlp([payload, version, blobs, …])`, but is named without them:
//! `0x03 ‖ rlp(payload)`. Where the first item of the list is a list, it is the payload of such a wrapper.
//! Nothing else of a transaction is looked at: whether it is valid, the provider has said.

use sha3::{Digest, Keccak256};

use super::hex::{decoded, push_hex};
use super::local::write_result;
use super::scan::first_string;
use crate::limits::TRANSACTION_BYTES_MAX;

/// A transaction's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionHash(pub [u8; 32]);

const TYPE_BLOB: u8 = 3;

/// The hash of the transaction in the params of `eth_sendRawTransaction`. None where there is none to hash.
#[must_use]
pub fn transaction_hash(params: &[u8]) -> Option<TransactionHash> {
    let string = params.get(first_string(params)?)?;
    let hex = string.strip_prefix(b"\"0x")?.strip_suffix(b"\"")?;
    let raw = decoded(hex, TRANSACTION_BYTES_MAX)?;
    let mut keccak = Keccak256::new();
    match raw.split_first()? {
        (&TYPE_BLOB, list) => {
            keccak.update([TYPE_BLOB]);
            keccak.update(without_blobs(list)?);
        }
        _ => keccak.update(&raw),
    }
    Some(TransactionHash(keccak.finalize().into()))
}

/// Appends the answer that `eth_sendRawTransaction` gives on success. `id` is raw JSON.
pub fn write_hash(out: &mut Vec<u8>, id: &[u8], hash: TransactionHash) {
    let mut result = Vec::with_capacity(2 * hash.0.len() + 4);
    result.extend_from_slice(b"\"0x");
    push_hex(&mut result, &hash.0);
    result.push(b'"');
    write_result(out, id, &result);
}

/// The RLP of a blob transaction's payload: the list's first item where that is a list, else the list itself.
fn without_blobs(list: &[u8]) -> Option<&[u8]> {
    let (header, length) = list_header(list)?;
    let items = list.get(header..header.checked_add(length)?)?;
    match list_header(items) {
        Some((header, length)) => items.get(..header.checked_add(length)?),
        None => Some(list),
    }
}

/// The bytes of a list's header and of its content; none when no list begins here.
fn list_header(rlp: &[u8]) -> Option<(usize, usize)> {
    match *rlp.first()? {
        short @ 0xc0..=0xf7 => Some((1, usize::from(short - 0xc0))),
        long @ 0xf8.. => {
            let width = usize::from(long - 0xf7);
            let length = rlp
                .get(1..=width)?
                .iter()
                .try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?;
            Some((1 + width, length))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Signed with the key 0x46…46 by eth-account 0.14; the blob transaction's hash is ethers 6's.
    const LEGACY: (&str, &str) = (
        "0xf86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83",
        "0x33469b22e9f636356c4160a87eb19df52b7412e8eac32a4a55ffe88ea8350788",
    );
    const TYPE_1: (&str, &str) = (
        "0x01f8a701098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080f838f7941111111111111111111111111111111111111111e1a0222222222222222222222222222222222222222222222222222222222222222280a0d4e9818a4baf10a71f302b2768875ca565cf159048f0319f10cf7b49577adf12a038e477ad992c1a7d83fe13f98afb5672fa7655304b7de93ebfe9f80c07357062",
        "0x1cf68e98e42f366437ac728534e1361bf9f0539eceabbf3b6a23e404b716277a",
    );
    const TYPE_2: (&str, &str) = (
        "0x02f8730109843b9aca008506fc23ac00825208943535353535353535353535353535353535353535880de0b6b3a764000080c001a0ad4241a480b4069450d9bd1823a3afb8bd5a697e2135056f13fc85778785a013a0782c2fc38f01d18de96e4f5caeb077484ef6d844f2ce873a475515552460c075",
        "0x8a3ff34f002402f5d26a11e21f0efcd1810e189a4ba6555cf013579c8ac06727",
    );
    const TYPE_3: (&str, &str) = (
        "0x03f89a0109843b9aca008506fc23ac00825208943535353535353535353535353535353535353535880de0b6b3a764000080c0843b9aca00e1a0010657f37554c781402a22917dee2f75def7ab966d7b770905398eba3c44401401a0533478c05ea72b57273c3140293be6ab4b22a0cd59711ef0600756a9419c6e8aa043c219205825b96bec806c65216c992d5f759b0a9bdd7ef8fab965dd40569518",
        "0x6f2b9b56ac9d2b2044eebae0eea735c669b8a43ab36c6b7fa580b5cd26520282",
    );
    const TYPE_4: (&str, &str) = (
        "0x04f8d10109843b9aca008506fc23ac00825208943535353535353535353535353535353535353535880de0b6b3a764000080c0f85cf85a019433333333333333333333333333333333333333330a01a0c0f2c9520b32a114cee35435d8640fa2f1fcad946b0a16dfec6fd6dedd58d37ca0147157147784f70345081f90da843c0a496432d128458751324b55674002849801a0ad53df825797bdb895371e47f125845bddb68dd9f8addb341a035dde62de248ea04fd2dfa2de6475963a8fff0760faa72844785ba9adfc764a584bf63c36fff6a5",
        "0x4e3bab61b9610502387a7151f1b98a1dc64f143e33d2616b2202bb3f07f50c0e",
    );

    fn hash_of(raw: &str) -> Option<String> {
        let hash = transaction_hash(format!("[\"{raw}\"]").as_bytes())?;
        let mut out = b"0x".to_vec();
        push_hex(&mut out, &hash.0);
        Some(String::from_utf8(out).unwrap())
    }

    fn rlp_list(content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[0xfb], &length[..], content].concat()
    }

    /// The blob transaction as it travels: with `version`, where there is one, and sidecar lists of some length.
    fn wrapped(version: &[u8], sidecar: usize) -> String {
        let payload = decoded(&TYPE_3.0.as_bytes()[4..], TRANSACTION_BYTES_MAX).unwrap();
        let lists = rlp_list(&vec![0x01; sidecar]).repeat(3);
        let mut out = b"0x03".to_vec();
        push_hex(&mut out, &rlp_list(&[&payload, version, &lists].concat()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hashes_of_every_type() {
        for (raw, hash) in [LEGACY, TYPE_1, TYPE_2, TYPE_3, TYPE_4] {
            assert_eq!(hash_of(raw).as_deref(), Some(hash));
            let upper = raw.to_uppercase().replace("0X", "0x");
            assert_eq!(hash_of(&upper).as_deref(), Some(hash));
        }
    }

    #[test]
    fn blobs_are_no_part_of_the_name() {
        for sidecar in [0, 1, 131_072] {
            assert_eq!(hash_of(&wrapped(&[], sidecar)).as_deref(), Some(TYPE_3.1));
            assert_eq!(hash_of(&wrapped(&[1], sidecar)).as_deref(), Some(TYPE_3.1));
        }
    }

    #[test]
    fn what_is_no_transaction_has_no_hash() {
        for raw in
            ["", "0x", "0x0", "0xzz", "f86c", "0x03", "0x0305", "0x03fb0000", "0x03ffffffffffffffffff", "0x03c2c5"]
        {
            assert_eq!(hash_of(raw), None, "{raw}");
        }
        for params in ["", "[]", "{}", "[1]", "[[\"0x01\"]]", "[\"0x01", "[null,\"0x01\"]"] {
            assert_eq!(transaction_hash(params.as_bytes()), None, "{params}");
        }
        assert_eq!(hash_of(&format!("0x{}", "00".repeat(TRANSACTION_BYTES_MAX + 1))), None);
        for cut in 0..TYPE_3.0.len() {
            let _ = hash_of(&TYPE_3.0[..cut]);
        }
    }

    #[test]
    fn the_answer() {
        let mut out = Vec::new();
        let hash = transaction_hash(format!("[ \"{}\" ]", TYPE_2.0).as_bytes()).unwrap();
        write_hash(&mut out, b"7", hash);
        let expected = format!(r#"{{"jsonrpc":"2.0","id":7,"result":"{}"}}"#, TYPE_2.1);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
