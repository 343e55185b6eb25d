//! Answers that we write ourselves; of those, the ones that need no provider: a chain's numbers do not change.

use super::hex::DIGITS;
use super::method::Local;

/// The two numbers of a chain that clients ask for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainNumbers {
    pub chain_id: u64,
    pub network_id: u64,
}

/// Appends the answer to `eth_chainId` (`"0x1"`) or `net_version` (`"1"`). `id` is raw JSON.
pub fn write_local(out: &mut Vec<u8>, id: &[u8], local: Local, numbers: ChainNumbers) {
    let (prefix, number, base) = match local {
        Local::ChainId => ("\"0x", numbers.chain_id, 16),
        Local::NetworkId => ("\"", numbers.network_id, 10),
    };
    let mut text = [b'"'; TEXT_BYTES_MAX];
    write_result(out, id, quoted(prefix, number, base, &mut text));
}

/// Appends an answer. `id` and `result` are raw JSON.
pub fn write_result(out: &mut Vec<u8>, id: &[u8], result: &[u8]) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    out.extend_from_slice(br#","result":"#);
    out.extend_from_slice(result);
    out.push(b'}');
}

/// A quote, `0x` or the 20 digits of the largest number, and a quote.
const TEXT_BYTES_MAX: usize = 22;

/// Writes from the back; the last byte of `text` is the closing quote already.
fn quoted<'t>(prefix: &str, mut number: u64, base: u64, text: &'t mut [u8; TEXT_BYTES_MAX]) -> &'t [u8] {
    let mut at = TEXT_BYTES_MAX - 1;
    loop {
        at -= 1;
        text[at] = DIGITS[usize::try_from(number % base).unwrap_or(0)];
        number /= base;
        if number == 0 {
            break;
        }
    }
    let start = at - prefix.len();
    text[start..at].copy_from_slice(prefix.as_bytes());
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let cases = [
            (Local::ChainId, 1, r#""0x1""#),
            (Local::ChainId, 0, r#""0x0""#),
            (Local::ChainId, 42_161, r#""0xa4b1""#),
            (Local::ChainId, u64::MAX, r#""0xffffffffffffffff""#),
            (Local::NetworkId, 1, r#""1""#),
            (Local::NetworkId, u64::MAX, r#""18446744073709551615""#),
        ];
        for (local, number, result) in cases {
            let mut out = Vec::new();
            let numbers = ChainNumbers { chain_id: number, network_id: number };
            write_local(&mut out, br#""a\u0062""#, local, numbers);
            let expected = format!(r#"{{"jsonrpc":"2.0","id":"a\u0062","result":{result}}}"#);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
