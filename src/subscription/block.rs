//! A block's header and a log, as far as the stream needs to know them.

use std::fmt;
use std::sync::Arc;

/// JSON as a provider wrote it, shared by all who are told it.
pub type Raw = Arc<[u8]>;

/// A block's hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub [u8; 32]);

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub hash: BlockHash,
    pub parent: BlockHash,
    pub number: u64,
    /// What a client of `newHeads` is told; empty where only logs are.
    pub raw: Raw,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub block: BlockHash,
    /// `logIndex`: its place among all logs of its block.
    pub index: u64,
    pub raw: Raw,
}
