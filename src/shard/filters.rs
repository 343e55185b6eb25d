//! Filters over HTTP: they live at one provider, so the id that a client gets names that provider.
//!
//! Nothing is kept here: the sealed id alone says where a filter is, so it works on any shard, on any node with the same
//! provider, and after a restart. A provider that is gone, or whose address changed, is "filter not found", as a
//! restarted node would say.

use super::Shard;
use super::door::{Answer, Ask, Said, Whole};
use crate::jsonrpc::{self, Reason};

/// Puts an id of ours in place of the provider's in the answer to a call that made a filter.
pub(crate) fn seal(shard: &Shard, ask: &Ask<'_>, answer: &mut Answer) {
    let (Some(provider), Said::Whole(whole)) = (&answer.provider, &mut answer.said) else { return };
    let id = ask.call.id.unwrap_or(b"null");
    let mut text = shard.buffers.take();
    whole.write(&mut text, id);
    let mut scratch = shard.scratch.borrow_mut();
    let reply = jsonrpc::inspect(&text, ask.call.id, &mut scratch);
    drop(scratch);
    if let jsonrpc::Reply::Success { result, .. } = reply
        && let Some(sealed) = jsonrpc::seal_filter(&provider.slot.filter_key, &text[result])
    {
        let mut own = std::mem::take(&mut whole.buffer);
        own.clear();
        jsonrpc::write_result(&mut own, id, &sealed);
        *whole = Whole::of(own);
    }
    shard.buffers.give(text);
}

/// What a node says of a filter that it does not know.
pub(crate) const NOT_FOUND: &str = "filter not found";

/// The filter's provider cannot be asked, so its filter is lost: its client is to make another.
pub(crate) fn gone(answer: &mut Answer) {
    if let Said::Failed { reason: reason @ Reason::NoProvider, message } = &mut answer.said {
        (*reason, *message) = (Reason::FilterNotFound, NOT_FOUND);
    }
}

/// Where the filter that a call names lives, and the call as that provider must see it.
pub(crate) fn open(ask: &Ask<'_>) -> Option<(usize, Vec<u8>)> {
    let upstreams = &ask.route.chain.upstreams;
    let keys = upstreams.iter().map(|upstream| &upstream.slot.filter_key);
    let (position, provider_id) = jsonrpc::open_filter(&ask.call, keys)?;
    if ask.route.only.is_some_and(|only| only != position) {
        return None;
    }
    Some((position, jsonrpc::with_filter_id(&ask.call, &provider_id)?))
}
