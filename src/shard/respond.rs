//! Answers to clients: heads around bodies, one buffer out per answer.

use super::Shard;
use super::client::{Client, End};
use super::door::{Answer, Trace, Whole};
use super::metering::Metered;
use super::serve::Visit;
use super::tenants::Denied;
use super::upstream::Upstream;
use super::upstream::exchange::Streamed;
use crate::config::Config;
use crate::http::{
    After, AnswerBody, AnswerHead, CHUNK_END, FieldLines, Known, LAST_CHUNK, Method, RequestHead, Status, Version,
    write_chunk_head,
};
use crate::jsonrpc::{IdMatch, Reason, write_error};
use crate::limits;
use crate::tenant::{Figures, Refused};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Header lines rendered once per configuration.
pub(crate) struct NodeLines {
    node: FieldLines,
    /// Cross-origin lines, by the origin that they are for; `*` stands alone.
    origins: Vec<(String, FieldLines)>,
    preflight: FieldLines,
    /// Whether answers name the provider.
    pub(crate) name_provider: bool,
}

/// What an answer's head says beside its body.
#[derive(Default)]
pub(crate) struct Outgoing {
    pub(crate) request_id: u64,
    pub(crate) close: bool,
    /// The client speaks HTTP/1.0.
    old: bool,
    /// HEAD: no body is sent.
    head_only: bool,
    pub(crate) meta: bool,
    /// The request's `Origin`, where one was sent.
    origin: Option<Box<[u8]>>,
    /// The provider's header line.
    pub(crate) provider: Option<Rc<FieldLines>>,
    timing: Option<String>,
    /// The key's quota refused the call.
    refused: Option<Refused>,
    /// `WWW-Authenticate` is to be said.
    unknown: bool,
    /// Bytes of JSON in the body.
    pub(crate) body_bytes: Cell<u64>,
    /// What `Allow` says of a method that is not.
    pub(crate) allow: Option<&'static str>,
}

impl NodeLines {
    pub(crate) fn new(config: &Config) -> Self {
        let lines = |fields: &[(&str, &str)]| FieldLines::new(fields).unwrap_or_default();
        let node = lines(&[("X-Livechain-Region", &config.node.region), ("X-Livechain-Node", &config.node.id)]);
        let cors = config.http.cors.as_ref();
        let origins = cors.map_or(&[][..], |cors| &cors.origins).iter().map(|origin| {
            let vary = if origin == "*" { &[][..] } else { &[("Vary", "Origin")][..] };
            let mut fields =
                vec![("Access-Control-Allow-Origin", origin.as_str()), ("Access-Control-Expose-Headers", EXPOSED)];
            fields.extend_from_slice(vary);
            (origin.clone(), lines(&fields))
        });
        let max_age = cors.map_or(0, |cors| cors.max_age.as_secs()).to_string();
        let preflight = lines(&[
            ("Access-Control-Allow-Methods", "POST, GET, OPTIONS"),
            ("Access-Control-Allow-Headers", "Content-Type, Authorization, X-Livechain-Key, X-Livechain-Meta"),
            ("Access-Control-Max-Age", &max_age),
        ]);
        Self { node, origins: origins.collect(), preflight, name_provider: config.http.provider_header }
    }

    pub(crate) fn answers_cross_origin(&self) -> bool {
        !self.origins.is_empty()
    }

    fn cross_origin(&self, origin: Option<&[u8]>) -> Option<&FieldLines> {
        let origin = origin?;
        let found = self.origins.iter().find(|(allowed, _)| allowed == "*" || allowed.as_bytes() == origin);
        found.map(|(_, lines)| lines)
    }
}

/// What a page of another origin may read of our headers.
const EXPOSED: &str = "X-Livechain-Region, X-Livechain-Node, X-Livechain-Provider, X-Livechain-Request-Id, \
                       Server-Timing, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset";

impl Outgoing {
    pub(crate) fn new(request_id: u64, head: &RequestHead, bytes: &[u8]) -> Self {
        let meta_header = head.header(bytes, Known::LivechainMeta) == Some(b"1");
        let query = head.query.map_or(&[][..], |query| query.of(bytes));
        Self {
            request_id,
            close: !head.keep_alive,
            old: head.version == Version::Http10,
            head_only: head.method == Method::Head,
            meta: meta_header || query.split(|&byte| byte == b'&').any(|pair| pair == b"meta=1"),
            origin: head.header(bytes, Known::Origin).map(Into::into),
            provider: None,
            timing: None,
            refused: None,
            unknown: false,
            body_bytes: Cell::new(0),
            allow: None,
        }
    }

    /// For an answer to what could not be read.
    pub(crate) fn closing(request_id: u64) -> Self {
        Self { request_id, close: true, ..Self::default() }
    }

    /// Names who answered, and on request what it took.
    pub(crate) fn name(&mut self, answer: &Answer, total: Duration, name_provider: bool) {
        self.provider = answer.provider.as_ref().map(|upstream| Rc::clone(&upstream.name_line));
        self.refused = answer.refused;
        if self.meta {
            self.timing = Some(timing(&answer.trace, total, name_provider));
        }
    }

    /// The same of a batch, which may have several providers.
    pub(crate) fn name_batch(&mut self, provider: Option<&Upstream>, total: Duration) {
        self.provider = provider.map(|upstream| Rc::clone(&upstream.name_line));
        if self.meta {
            self.timing = Some(timing(&[], total, false));
        }
    }

    fn after(&self) -> After {
        match (self.close, self.old) {
            (true, _) => After::Close,
            (false, true) => After::KeepAliveSaid,
            (false, false) => After::KeepAlive,
        }
    }
}

/// `Server-Timing`: each attempt with its provider and outcome, then all of it, in milliseconds.
fn timing(trace: &[Trace], total: Duration, name_provider: bool) -> String {
    use std::fmt::Write as _;
    let mut value = String::new();
    for (number, attempt) in trace.iter().enumerate() {
        let ms = attempt.took.as_secs_f64() * 1000.0;
        let (provider, space) = if name_provider { (&*attempt.provider, " ") } else { ("", "") };
        let outcome = attempt.outcome.name();
        // Writing to a string cannot fail.
        let _ = write!(value, "attempt{};desc=\"{provider}{space}{outcome}\";dur={ms:.2}, ", number + 1);
    }
    let _ = write!(value, "total;dur={:.2}", total.as_secs_f64() * 1000.0);
    value
}

pub(super) fn head<'a>(visit: &Visit, out: &'a mut Vec<u8>, status: Status) -> AnswerHead<'a> {
    let lines = &visit.view.lines;
    let mut id = [0; 16];
    let mut head = AnswerHead::begin(out, status, &lines.node, &visit.shard.clock.date())
        .field("X-Livechain-Request-Id", hex(visit.out.request_id, &mut id));
    if let Some(provider) = visit.out.provider.as_ref().filter(|_| lines.name_provider) {
        head = head.lines(provider);
    }
    if let Some(cors) = lines.cross_origin(visit.out.origin.as_deref()) {
        head = head.lines(cors);
    }
    if let Some(allow) = visit.out.allow {
        head = head.field("Allow", allow.as_bytes());
    }
    if let Some(timing) = &visit.out.timing {
        head = head.field("Server-Timing", timing.as_bytes());
    }
    if let Some(refused) = &visit.out.refused {
        head = limits_lines(head, refused);
    }
    if visit.out.unknown {
        head = head.field("WWW-Authenticate", b"Bearer realm=\"livechain\"");
    }
    head
}

/// What a quota that refuses has, and when to come again.
#[cold]
pub(super) fn limits_lines<'a>(mut head: AnswerHead<'a>, refused: &Refused) -> AnswerHead<'a> {
    if let Some(seconds) = refused.retry_after_s() {
        head = head.number("Retry-After", seconds);
    }
    let Figures { limit, remaining, reset_s } = refused.figures;
    head.number("RateLimit-Limit", limit).number("RateLimit-Remaining", remaining).number("RateLimit-Reset", reset_s)
}

/// A whole answer with a JSON body.
pub(crate) fn whole(visit: &Visit, out: &mut Vec<u8>, status: Status, body: &[u8]) {
    head(visit, out, status).json().end(AnswerBody::Length(body.len() as u64), visit.out.after());
    visit.out.body_bytes.set(body.len() as u64);
    if !visit.out.head_only {
        out.extend_from_slice(body);
    }
}

/// A provider's reply to the call with `id`.
pub(crate) fn reply(visit: &Visit, out: &mut Vec<u8>, reply: &Whole, id: &[u8]) {
    if reply.id == IdMatch::Exact {
        return whole(visit, out, Status::Ok, &reply.buffer[reply.range.clone()]);
    }
    let mut body = visit.shard.buffers.take();
    reply.write(&mut body, id);
    whole(visit, out, Status::Ok, &body);
    visit.shard.buffers.give(body);
}

/// The answer to notifications: there is nothing to say.
pub(crate) fn nothing(visit: &Visit, out: &mut Vec<u8>) {
    head(visit, out, Status::NoContent).end(AnswerBody::None, visit.out.after());
}

pub(crate) fn preflight(visit: &Visit, out: &mut Vec<u8>) {
    head(visit, out, Status::NoContent).lines(&visit.view.lines.preflight).end(AnswerBody::None, visit.out.after());
}

/// A failure of ours, told as JSON-RPC.
pub(crate) fn failure(visit: &Visit, out: &mut Vec<u8>, id: &[u8], reason: Reason, message: &str) {
    visit.shard.counters.failure(reason);
    let mut body = visit.shard.buffers.take();
    write_error(&mut body, id, reason, message);
    let status = Status::from_code(reason.status()).unwrap_or(Status::InternalServerError);
    whole(visit, out, status, &body);
    visit.shard.buffers.give(body);
}

/// Turns somebody away.
pub(super) fn denied(visit: &mut Visit, out: &mut Vec<u8>, denied: Denied) {
    let (reason, message) = match denied {
        Denied::Verdict(verdict) => (verdict.reason().unwrap_or(Reason::Forbidden), verdict.message()),
        Denied::Full => (Reason::Capacity, "this node has no room for one more who is active"),
    };
    visit.out.unknown = reason == Reason::Unauthorized;
    visit.out.refused = denied.over_quota();
    failure(visit, out, b"null", reason, message);
}

/// An answer that comes in pieces: handed on as it comes, each piece sent before the next is read.
pub(crate) async fn stream(
    visit: &Visit,
    client: &mut Client,
    mut streamed: Box<Streamed>,
    mut metered: Option<&mut Metered>,
) -> Result<(), End> {
    let shard = &visit.shard;
    let framing = match (streamed.length, visit.out.old) {
        (Some(length), _) => AnswerBody::Length(length),
        (None, false) => AnswerBody::Chunked,
        (None, true) => AnswerBody::UntilClose,
    };
    let after = if framing == AnswerBody::UntilClose { After::Close } else { visit.out.after() };
    let mut out = shard.buffers.take();
    head(visit, &mut out, Status::Ok).json().end(framing, after);
    let start = std::mem::take(&mut streamed.start);
    if let Some(metered) = &mut metered {
        metered.sent(start.len() as u64);
    }
    if framing == AnswerBody::Chunked {
        push_chunk(&mut out, &start);
    } else {
        out.extend_from_slice(&start);
    }
    client.send(shard, out, visit.patience).await?;
    let patience = visit.view.snapshot.config.upstream.progress_timeout;
    // Ends: each turn brings a byte within `patience` or fails.
    loop {
        let mut piece = shard.buffers.take();
        // A provider that stops in the middle has lied about its length, and so would we: the connection closes.
        let Ok(more) = streamed.next(shard, &mut piece, patience).await else {
            if let Some(metered) = metered {
                metered.failed(Reason::NoProvider);
            }
            return Err(End::Lost);
        };
        if let Some(metered) = &mut metered {
            metered.sent(piece.len() as u64);
        }
        if framing == AnswerBody::Chunked {
            piece = chunk(shard, piece, !more);
        }
        client.send(shard, piece, visit.patience).await?;
        if !more {
            break;
        }
    }
    if framing == AnswerBody::UntilClose { Err(End::Idle) } else { Ok(()) }
}

/// `piece` as a chunk, and the last one behind it.
fn chunk(shard: &Shard, piece: Vec<u8>, last: bool) -> Vec<u8> {
    let mut out = shard.buffers.take();
    push_chunk(&mut out, &piece);
    shard.buffers.give(piece);
    if last {
        out.extend_from_slice(LAST_CHUNK);
    }
    out
}

fn push_chunk(out: &mut Vec<u8>, piece: &[u8]) {
    if !piece.is_empty() {
        write_chunk_head(out, piece.len());
        out.extend_from_slice(piece);
        out.extend_from_slice(CHUNK_END);
    }
}

/// `id` as 16 hexadecimal digits.
fn hex(id: u64, digits: &mut [u8; 16]) -> &[u8] {
    for (index, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(id >> (60 - 4 * index) & 15) as usize];
    }
    digits
}

const _: () = assert!(limits::READ_BYTES_MAX <= limits::BUFFER_KEPT_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_sixteen_digits() {
        let mut digits = [0; 16];
        assert_eq!(hex(0x0123_4567_89ab_cdef, &mut digits), b"0123456789abcdef");
        assert_eq!(hex(1, &mut digits), b"0000000000000001");
    }
}
