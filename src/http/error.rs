//! Why a head is refused. The fault is the sender's every time, and the connection closes every time: after a head
//! that we do not understand nobody knows where the next message begins.

use super::Status;

/// What is wrong with a head. Of a provider's head it is a transport failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("the head is larger than 16 KiB")]
    TooLarge,
    #[error("the head has more than 100 fields")]
    TooManyFields,
    #[error("too many empty lines before the request line")]
    EmptyLines,
    #[error("the request line is not `method target HTTP/1.x`")]
    RequestLine,
    #[error("the status line is not `HTTP/1.x code reason`")]
    StatusLine,
    #[error("the version is neither HTTP/1.1 nor HTTP/1.0")]
    Version,
    #[error("the request target is malformed")]
    Target,
    #[error("a field's name is missing or has a character that is none of a token")]
    FieldName,
    #[error("a field's value has a control character")]
    FieldValue,
    #[error("a field's name is followed by white space")]
    SpaceBeforeColon,
    #[error("a field is folded over several lines")]
    Folded,
    #[error("a carriage return without a line feed")]
    BareCr,
    #[error("a line feed without a carriage return")]
    BareLf,
    #[error("a NUL byte in the head")]
    Nul,
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    #[error("Content-Length is not a decimal number within 64 bits")]
    LengthMalformed,
    #[error("more than one Content-Length")]
    LengthRepeated,
    #[error("Transfer-Encoding is not exactly one `chunked`")]
    Coding,
    #[error("Transfer-Encoding in HTTP/1.0")]
    CodingInOldVersion,
    #[error("Host is missing")]
    HostMissing,
    #[error("more than one Host")]
    HostRepeated,
    #[error("Host is malformed")]
    HostMalformed,
    #[error("a field that may stand once stands twice")]
    Repeated,
    #[error("an expectation other than 100-continue")]
    Expectation,
}

impl HeadError {
    /// What a client is answered before its connection closes.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::TooLarge | Self::TooManyFields => Status::HeaderFieldsTooLarge,
            Self::Expectation => Status::ExpectationFailed,
            _ => Status::BadRequest,
        }
    }
}
