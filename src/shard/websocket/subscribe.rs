//! `eth_subscribe` and `eth_unsubscribe`, on one connection.
//!
//! A client is told its subscription's id before anything else of it: what it subscribed to begins when the answer to its
//! message, a batch's too, has been handed in to be sent.

use super::{Caller, Session};
use crate::jsonrpc::{self, Class, Reason};
use crate::link::{FeedEnd, FeedKey};
use crate::shard::door::{Answer, Ask};
use crate::shard::feeds::{self, Denied};
use crate::shard::view::View;
use crate::subscription::Wanted;
use crate::tenant::Lasting;

/// Counts among the session's subscriptions until it is one, or denied.
struct Subscribing<'a>(&'a Session);

impl Caller {
    /// Answers a call of either method.
    pub(crate) async fn answer(&self, view: &View, ask: &Ask<'_>) -> Answer {
        let Some(id) = ask.call.id else {
            // Nobody would learn the subscription's id.
            return Answer::own(Vec::new());
        };
        let params = ask.call.params.unwrap_or(b"[]");
        match &*ask.call.method {
            "eth_subscribe" => self.subscribe(view, ask, id, params).await,
            _ => self.unsubscribe(id, params),
        }
    }

    async fn subscribe(&self, view: &View, ask: &Ask<'_>, id: &[u8], params: &[u8]) -> Answer {
        let wanted = match Wanted::read(params) {
            Ok(wanted) => wanted,
            Err(error) => return Answer::failed(Reason::InvalidParams, error.message()),
        };
        if self.session.subscriptions() >= view.snapshot.config.websocket.subscriptions_max {
            return Answer::failed(Reason::Quota, "too many subscriptions on this connection");
        }
        let place =
            match self.session.account().map(|account| account.open(self.shard.clock.now(), Lasting::Subscription)) {
                None => None,
                Some(Ok(place)) => Some(place),
                Some(Err(verdict)) => return Answer::failed(Reason::Quota, verdict.message()),
            };
        let _subscribing = Subscribing::new(&self.session);
        let chain = &ask.route.chain;
        let only = ask.route.only.map(|only| chain.upstreams[only].slot.id.clone());
        let key = FeedKey { chain: chain.entry.name.clone(), only, wanted };
        let deadline = self.shard.clock.now() + view.snapshot.deadlines[ask.info.class.index()];
        match feeds::subscribe(&self.shard, &self.session, key, deadline).await {
            Ok(mut subscription) => {
                subscription.place = place;
                let text = format!("\"{:#x}\"", subscription.id());
                self.subscribed.borrow_mut().push(subscription.id());
                self.session.keep(subscription);
                self.result(id, text.as_bytes())
            }
            Err(Denied::Ended(FeedEnd::Refused(error, class))) => self.refused(id, &error, class),
            Err(denied) => {
                let (reason, message) = told(&denied);
                Answer::failed(reason, message)
            }
        }
    }

    fn unsubscribe(&self, id: &[u8], params: &[u8]) -> Answer {
        let Ok([of]) = serde_json::from_slice::<[&str; 1]>(params) else {
            return Answer::failed(Reason::InvalidParams, "params must be a list of one subscription's id");
        };
        let of = of.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        if of.is_some_and(|of| self.session.unsubscribe(of)) {
            self.result(id, b"true")
        } else {
            Answer::failed(Reason::SubscriptionNotFound, "subscription not found")
        }
    }

    fn result(&self, id: &[u8], result: &[u8]) -> Answer {
        let mut buffer = self.shard.buffers.take();
        jsonrpc::write_result(&mut buffer, id, result);
        Answer::own(buffer)
    }

    /// The providers' own word.
    fn refused(&self, id: &[u8], error: &[u8], class: Class) -> Answer {
        let mut buffer = self.shard.buffers.take();
        for part in [&br#"{"jsonrpc":"2.0","id":"#[..], id, br#","error":"#, error, b"}"] {
            buffer.extend_from_slice(part);
        }
        Answer::refused(buffer, class)
    }
}

fn told(denied: &Denied) -> (Reason, &'static str) {
    match denied {
        Denied::Late => (Reason::Deadline, "no provider's subscription began in time"),
        Denied::Full => (Reason::Capacity, "this node has no room for another subscription"),
        Denied::Ended(FeedEnd::NoSocket) => (Reason::MethodUnknown, "no provider has subscriptions"),
        Denied::Ended(_) => (Reason::NoProvider, "no provider could be subscribed to"),
    }
}

impl<'a> Subscribing<'a> {
    fn new(session: &'a Session) -> Self {
        session.subscribing.set(session.subscribing.get() + 1);
        Self(session)
    }
}

impl Drop for Subscribing<'_> {
    fn drop(&mut self) {
        self.0.subscribing.set(self.0.subscribing.get() - 1);
    }
}
