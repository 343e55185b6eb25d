//! JSON as bytes: what stands where in a document, unchanged.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The bytes of the member called `key`, white space around them apart.
pub fn raw(document: &[u8], key: &str) -> Option<String> {
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(document).ok()?;
    members.get(key).map(|v| v.get().to_owned())
}

/// The bytes of each item of an array.
///
/// # Panics
/// When it is no array.
pub fn items(document: &[u8]) -> Vec<String> {
    let items: Vec<Box<RawValue>> = serde_json::from_slice(document)
        .unwrap_or_else(|e| panic!("no array ({e}): {}", String::from_utf8_lossy(document)));
    items.iter().map(|v| v.get().to_owned()).collect()
}

/// A call with the id 1.
pub fn call(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

/// An ordinary repeatable call.
pub fn read() -> String {
    call("eth_getBalance", r#"["0x00000000000000000000000000000000000000aa","latest"]"#)
}
