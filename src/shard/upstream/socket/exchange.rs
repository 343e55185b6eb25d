//! One call to one provider over its WebSockets, where the config has calls go there.
//!
//! The call gets a number of the connection's own for its id, and the answer the call's id in its place, so that whoever asked
//! sees nothing of it. Calls share a connection, and answers come in any order. What is different from HTTP: an answer comes
//! whole, however large; a call that is given up leaves the connection to the others; one lost connection is the end of all
//! calls on it, each of which then goes where its own rules say.

use std::cell::RefCell;
use std::rc::Rc;

use super::link::{Answered, Link, Lost, Use};
use super::open::OpenError;
use crate::jsonrpc;
use crate::shard::Shard;
use crate::shard::upstream::Upstream;
use crate::shard::upstream::exchange::{Content, ExchangeError, Reply};
use crate::time::Instant;

/// Which connections will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Any,
    /// One that was opened from now on: it cannot be [stale](ExchangeError::Stale).
    Fresh,
}

/// Sends `body` to `upstream` and waits for its answer, until `deadline`.
pub(crate) async fn exchange(
    shard: &Shard,
    upstream: &Rc<Upstream>,
    body: &[u8],
    which: Which,
    deadline: Instant,
) -> Result<Reply, ExchangeError> {
    let (asked, sent) = (shard.clock.now(), RefCell::new(None));
    let timer = shard.timers.spare();
    let done = timer.limit(deadline, ask(shard, upstream, body, which, &sent)).await;
    shard.timers.give_back(timer);
    done.unwrap_or_else(|_| {
        Err(match sent.take() {
            Some((link, at)) => {
                link.on_late(shard, at);
                ExchangeError::Late { had: deadline.since(at) }
            }
            None => ExchangeError::Unconnected { had: deadline.since(asked) },
        })
    })
}

/// Opens a connection ahead of need.
pub(crate) async fn warm(shard: &Shard, upstream: &Rc<Upstream>) -> Result<(), OpenError> {
    let Some(sockets) = &upstream.sockets else { return Err(OpenError::Retired) };
    sockets.link(shard, upstream, Use::Calls, Link::is_open).await.map(|_| ())
}

async fn ask(
    shard: &Shard,
    upstream: &Rc<Upstream>,
    body: &[u8],
    which: Which,
    sent: &RefCell<Option<(Rc<Link>, Instant)>>,
) -> Result<Reply, ExchangeError> {
    let sockets = upstream.sockets.as_ref().ok_or(ExchangeError::Full)?;
    let since = match which {
        Which::Any => Instant::START,
        Which::Fresh => shard.clock.now(),
    };
    let fits = |link: &Link| link.born >= since && link.has_room_for_call(body.len());
    let link = sockets.link(shard, upstream, Use::Calls, fits).await?;
    let is_fresh = which == Which::Fresh || !link.has_answered();
    let numbered =
        link.call(shard, |out, number| jsonrpc::write_numbered(out, body, number, &mut shard.scratch.borrow_mut()));
    // What comes here has been read as a call before.
    let Ok((asked, id)) = numbered else { return Err(ExchangeError::Full) };
    sent.replace(Some((link, shard.clock.now())));
    match asked.answer().await {
        Ok(answered) => Ok(reply(shard, answered, id.map(|id| &body[id]))),
        Err(Lost { sent }) if !is_fresh => Err(ExchangeError::Stale { sent }),
        Err(Lost { sent: true }) => Err(ExchangeError::Closed),
        Err(Lost { sent: false }) => Err(OpenError::Lost.into()),
    }
}

fn reply(shard: &Shard, answered: Answered, id: Option<&[u8]>) -> Reply {
    let Answered { mut buffer, id: own } = answered;
    if let (Some(own), Some(id)) = (own, id) {
        let mut with_id = shard.buffers.take();
        jsonrpc::write_with_id(&mut with_id, &buffer, own, id);
        shard.buffers.give(std::mem::replace(&mut buffer, with_id));
    }
    // As HTTP's status would be: the body says what it is.
    Reply { status: 200, retry_after: None, content: Content::Whole { range: 0..buffer.len(), buffer } }
}

impl From<OpenError> for ExchangeError {
    fn from(error: OpenError) -> Self {
        if error.was_tried() { Self::Handshake(error) } else { Self::Full }
    }
}
