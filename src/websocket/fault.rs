//! What a peer may not do, and the close code that answers it (RFC 6455, section 7.4.1).
//!
//! The fault is the peer's every time, and after any of them nothing more of its bytes is read: nobody knows where its
//! next frame begins, or whether it means well.

use super::close::CloseCode;

/// Why a connection is failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    #[error("a reserved bit is set")]
    ReservedBit,
    #[error("a reserved opcode")]
    ReservedOpcode,
    #[error("a client's frame is not masked")]
    Unmasked,
    #[error("a server's frame is masked")]
    Masked,
    #[error("a length is not written in the fewest bytes")]
    LengthNotMinimal,
    #[error("a length of more than 63 bits")]
    LengthTooLarge,
    #[error("a control frame of more than 125 bytes")]
    ControlTooLong,
    #[error("a control frame in fragments")]
    ControlFragmented,
    #[error("a continuation of nothing")]
    NothingToContinue,
    #[error("a message begins before the one under way has ended")]
    MessageWithinMessage,
    #[error("a close frame of one byte")]
    CloseLength,
    #[error("a close code that may not be sent")]
    CloseCode,
    #[error("text that is not UTF-8")]
    NotUtf8,
    #[error("the message is too large")]
    MessageTooLarge,
    #[error("the message has too many fragments")]
    TooManyFragments,
    #[error("too many control frames")]
    ControlFlood,
    #[error("compressed data that is broken")]
    BrokenDeflate,
}

impl Fault {
    /// What the peer is told.
    #[must_use]
    pub const fn code(self) -> CloseCode {
        match self {
            Self::NotUtf8 | Self::BrokenDeflate => CloseCode::INVALID_DATA,
            Self::MessageTooLarge => CloseCode::TOO_LARGE,
            Self::TooManyFragments | Self::ControlFlood => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL,
        }
    }
}
