//! Attaching: a wish brought to a connection with room for it, and what the provider's word on it means.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::link::{Link, Lost, Place, Ungranted, Use, write_call};
use super::open::OpenError;
use super::{AttachError, CallError, Ear, Wish};
use crate::jsonrpc;
use crate::routing::Health;
use crate::shard::upstream::Upstream;
use crate::shard::{Shard, judge, on_heap, report};
use crate::time::Instant;

/// A wish that was granted. Dropping it ends the subscription.
pub(crate) struct Attached {
    place: Place,
    upstream: Rc<Upstream>,
}

/// Subscribes to `wish` at `upstream`, until `deadline`. Heads that others hear already are good enough unless they have
/// been silent for `stale_after`.
pub(crate) async fn attach(
    shard: &Rc<Shard>,
    upstream: &Rc<Upstream>,
    wish: Wish,
    stale_after: Duration,
    ear: Rc<dyn Ear>,
    deadline: Instant,
) -> Result<Attached, AttachError> {
    let sockets = upstream.sockets.as_ref().filter(|_| upstream.has_socket()).ok_or(AttachError::NoSocket)?;
    let asked = shard.clock.now();
    if upstream.slot.standing.rest(asked).is_some() {
        return Err(AttachError::Limited);
    }
    // It counts against the provider's plan as a call does.
    let _in_flight =
        upstream.enter(jsonrpc::info("eth_subscribe"), "eth_subscribe", asked).ok_or(AttachError::Limited)?;
    let most = sockets.settings().subscriptions_max;
    let on = RefCell::new(None::<(Rc<Link>, Instant)>);
    let granted = async {
        let link = sockets.link(shard, upstream, Use::Subscriptions, |link| link.has_room_for(&wish, most)).await?;
        on.replace(Some((Rc::clone(&link), shard.clock.now())));
        let place = link.listen(shard, &wish, stale_after, ear);
        match place.granted().await {
            Ok(()) => Ok(place),
            Err(Ungranted::Lost) => Err(AttachError::Lost),
            Err(Ungranted::Refused(reply)) => Err(refused(shard, upstream, &reply, asked)),
        }
    };
    let timer = shard.timers.timer();
    let place = on_heap(|| timer.limit(deadline, granted)).await.unwrap_or_else(|_| {
        if let Some((link, asked)) = on.take() {
            link.on_late(shard, asked);
        }
        Err(AttachError::Late)
    })?;
    report::tell_beside(shard, upstream, Health::Good, None, asked);
    Ok(Attached { place, upstream: Rc::clone(upstream) })
}

/// What a refusal says of the provider is told, as a call's is.
fn refused(shard: &Shard, upstream: &Upstream, reply: &[u8], asked: Instant) -> AttachError {
    let said = jsonrpc::inspect(reply, None, &mut shard.scratch.borrow_mut());
    let jsonrpc::Reply::Error(error) = said else { return AttachError::Lost };
    let (health, class) = judge::of_error(&upstream.slot, jsonrpc::info("eth_subscribe"), &error);
    report::tell_beside(shard, upstream, health, None, asked);
    if !class.relayed() {
        // What it says of our plan or our key is not for clients, and nothing about what they want.
        return AttachError::Limited;
    }
    AttachError::Refused { error: reply[error.error].to_vec(), class }
}

impl From<OpenError> for AttachError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::BackingOff => Self::BackingOff,
            OpenError::Full => Self::Limited,
            OpenError::Retired => Self::NoSocket,
            error => Self::Connect(error),
        }
    }
}

impl Attached {
    /// Asks on the same connection; the reply as the provider wrote it, under an id of the connection's own.
    pub(crate) async fn call(
        &self,
        shard: &Shard,
        method: &str,
        params: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, CallError> {
        let link = &self.place.link;
        let _in_flight =
            self.upstream.enter(jsonrpc::info(method), method, shard.clock.now()).ok_or(CallError::Limited)?;
        if !link.is_open() {
            return Err(CallError::Lost);
        }
        if !link.has_room_for_call(params.len()) {
            return Err(CallError::Limited);
        }
        let write = |payload: &mut Vec<u8>, number| {
            write_call(payload, number, method, params);
            Ok(())
        };
        let (asked, ()) = link.call(shard, write).map_err(|_| CallError::Lost)?;
        let timer = shard.timers.timer();
        match timer.limit(deadline, asked.answer()).await {
            Ok(Ok(answered)) => Ok(answered.buffer),
            Ok(Err(Lost { .. })) => Err(CallError::Lost),
            Err(_) => Err(CallError::Late),
        }
    }
}
