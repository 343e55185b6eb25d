//! Method classes: calls of like cost, measured, ranked and given time together.

/// A group of methods of like cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum MethodClass {
    /// `eth_blockNumber`, `eth_gasPrice`: a number every node has at hand.
    Head,
    /// Balances, code, storage, blocks, transactions: one look-up.
    Read,
    /// `eth_getTransactionReceipt`, `eth_getBlockReceipts`.
    Receipt,
    /// `eth_call`, `eth_estimateGas`: the node runs code.
    Execute,
    /// `eth_getLogs` and what scans.
    Logs,
    /// `eth_getProof`.
    Proof,
    /// `trace_*`, `debug_*`.
    Trace,
    /// `eth_sendRawTransaction`.
    Write,
    /// Filters: state at one provider.
    Filter,
    /// Everything else.
    Other,
}

impl MethodClass {
    /// Every class, in the order of its index.
    pub const ALL: [Self; 10] = [
        Self::Head,
        Self::Read,
        Self::Receipt,
        Self::Execute,
        Self::Logs,
        Self::Proof,
        Self::Trace,
        Self::Write,
        Self::Filter,
        Self::Other,
    ];

    /// Its position in [`MethodClass::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word used in config, metrics and pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Read => "read",
            Self::Receipt => "receipt",
            Self::Execute => "execute",
            Self::Logs => "logs",
            Self::Proof => "proof",
            Self::Trace => "trace",
            Self::Write => "write",
            Self::Filter => "filter",
            Self::Other => "other",
        }
    }
}
