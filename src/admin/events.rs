//! `/api/events`: what happens to providers, as it happens, as server-sent events.
//!
//! Each event has its kind as its name and its number as its id, so that a browser that comes back (`Last-Event-ID`) is told what
//! it missed; one that comes for the first time is told the last ones there were. A reader who takes too little is sent away
//! (`control::Events`), one who takes nothing is cut by the port's patience with silence, and one who may not be here any
//! more is told nothing further.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::http::{StatusCode, header};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::time::timeout;

use super::auth::Asker;
use super::refused;
use crate::control::{Told, View};
use crate::jsonrpc::MethodClass;
use crate::limits;

/// The stream; 503 while all places are taken.
pub(super) fn stream(view: Arc<View>, asker: Asker) -> Response {
    let seen = asker.headers().get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let Some(reader) = view.events.read(seen.unwrap_or(0)) else {
        let retry = [(header::RETRY_AFTER, limits::EVENTS_ALIVE_EVERY.as_secs().to_string())];
        return (retry, refused(StatusCode::SERVICE_UNAVAILABLE, "too many readers")).into_response();
    };
    let events = stream::unfold((reader, view, asker), |(mut reader, view, asker)| async {
        loop {
            let told = timeout(limits::EVENTS_ALIVE_EVERY, reader.next()).await;
            if !asker.may_stay(&view) {
                return None;
            }
            if let Ok(next) = told {
                let told = next?;
                return Some((Ok::<_, Infallible>(sent(&told)), (reader, view, asker)));
            }
        }
    });
    let alive = KeepAlive::new().interval(limits::EVENTS_ALIVE_EVERY);
    ([(header::CACHE_CONTROL, "no-store")], Sse::new(events).keep_alive(alive)).into_response()
}

fn sent(told: &Told) -> Sent {
    Sent::default().id(told.number.to_string()).event(told.event.kind.name()).data(body(told))
}

/// On one line, as the format wants it.
fn body(told: &Told) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        at_ms: u128,
        kind: &'static str,
        /// Empty, with the provider, where the node itself is meant.
        chain: &'a str,
        provider: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        blocks: Option<u64>,
        /// The chain that the provider says it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        said: Option<u64>,
        /// What is used of its plan from now on, in thousandths.
        #[serde(skip_serializing_if = "Option::is_none")]
        per_mille: Option<u32>,
        /// The class of methods that it leads or is limited in.
        #[serde(skip_serializing_if = "Option::is_none")]
        class: Option<&'static str>,
        /// How its WebSocket came to its end, and the code of its goodbye.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
    }
    let event = &told.event;
    let body = Body {
        at_ms: told.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis(),
        kind: event.kind.name(),
        chain: &event.chain,
        provider: &event.provider,
        seconds: event.kind.lasts().map(|time| time.as_secs_f64()),
        blocks: event.kind.blocks(),
        said: event.kind.chain_id(),
        per_mille: event.kind.per_mille(),
        class: event.kind.class().map(MethodClass::name),
        why: event.kind.why(),
        code: event.kind.code(),
    };
    super::bodies::json(&body).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::link::{Event, EventKind, SocketLoss};

    #[test]
    fn an_event_says_what_belongs_to_its_kind() {
        let cases = [
            (EventKind::BreakerOpened, r#""kind":"breaker_opened","chain":"base","provider":"alpha"}"#),
            (EventKind::Cooldown(Duration::from_millis(1500)), r#""provider":"alpha","seconds":1.5}"#),
            (
                EventKind::ClassCooldown(MethodClass::Trace, Duration::from_secs(2)),
                r#""kind":"class_cooldown","chain":"base","provider":"alpha","seconds":2.0,"class":"trace"}"#,
            ),
            (EventKind::Lagging(10), r#""kind":"lagging","chain":"base","provider":"alpha","blocks":10}"#),
            (EventKind::TunedDown(700), r#""provider":"alpha","per_mille":700}"#),
            (EventKind::WrongChain(56), r#""provider":"alpha","said":56}"#),
            (
                EventKind::SocketLost(SocketLoss::Cut),
                r#""kind":"socket_lost","chain":"base","provider":"alpha","why":"cut"}"#,
            ),
            (
                EventKind::SocketLost(SocketLoss::Closed(Some(1012))),
                r#""provider":"alpha","why":"closed","code":1012}"#,
            ),
            (EventKind::Leads(MethodClass::Read), r#""provider":"alpha","class":"read"}"#),
        ];
        for (kind, end) in cases {
            let event = Event { chain: "base".into(), provider: "alpha".into(), kind };
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
            let text = body(&Told { number: 7, at, event });
            assert!(text.starts_with(r#"{"at_ms":1700000000123,"#) && text.ends_with(end), "{text}");
        }
    }
}
