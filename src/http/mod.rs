//! HTTP/1.1 as bytes: request and response heads, chunked framing, targets, head writing. Pure.
//!
//! What comes in is read by [`parse`] and [`parse_response`], which answer complete, incomplete or refused, and is never
//! copied: a head is a handful of [`Span`]s into the caller's buffer. What goes out is appended to a buffer that the
//! caller reuses, around templates that were rendered once. Nothing here names a socket, a runtime or a clock.
//!
//! Towards clients framing is strict, since a balancer before us may read a doubtful message otherwise and two readings
//! of one byte stream are how requests are smuggled. Towards providers it is tolerant where the doubt cannot change
//! where a message ends.

mod chunked;
mod date;
mod error;
mod field;
mod framing;
mod lines;
mod repeat;
mod request;
mod response;
mod span;
mod status;
mod target;
mod uri;
mod write;

pub use chunked::{CHUNK_END, ChunkError, Decoder, LAST_CHUNK, Piece, Progress, write_chunk_head};
pub use date::{DATE_BYTES, http_date, parse_http_date, retry_after};
pub use error::HeadError;
pub use field::Known;
pub use framing::Framing;
pub use repeat::HeadReader;
pub use request::{Method, RequestHead, Version, parse};
pub use response::{ContentEncoding, ResponseFraming, ResponseHead, parse_response};
pub use span::Span;
pub use status::Status;
pub use target::{RpcTarget, Target, path_key};
pub(crate) use write::push_checked;
pub use write::{
    After, AnswerBody, AnswerHead, BadField, CONTINUE, FieldLines, UpstreamParts, UpstreamTemplate, is_field_name,
    is_field_value, is_reserved_upstream_field,
};
