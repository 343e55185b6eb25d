//! What is told of a WebSocket when it is over: how it ended, and what passed over it.

use super::{Opened, Session};
use crate::link::SocketEnd;
use crate::shard::Shard;
use crate::shard::access::Line;
use crate::websocket::CloseCode;

/// RFC 6455's words for what no close frame said (section 7.4.1): they stand in the log, never on the wire.
const NO_CODE: u16 = 1005;
const NO_CLOSE: u16 = 1006;

/// What is known of it so far.
pub(super) struct Ended {
    /// Who ended it and with which code; the first word counts.
    said: Option<(SocketEnd, u16)>,
    pub(super) messages_in: u64,
    pub(super) bytes_in: u64,
    /// Sent before it began.
    sent_before: u64,
}

impl Ended {
    pub(super) const fn new(sent_before: u64) -> Self {
        Self { said: None, messages_in: 0, bytes_in: 0, sent_before }
    }

    /// We say goodbye.
    pub(super) fn on_ours(&mut self, code: CloseCode) {
        let end = match code {
            CloseCode::AWAY => SocketEnd::Away,
            CloseCode::TOO_LARGE => SocketEnd::TooLarge,
            CloseCode::POLICY => SocketEnd::Policy,
            CloseCode::INTERNAL => SocketEnd::Internal,
            CloseCode::RESTART => SocketEnd::Restart,
            CloseCode::TRY_LATER => SocketEnd::Slow,
            _ => SocketEnd::Protocol,
        };
        self.said.get_or_insert((end, code.number()));
    }

    /// The client does.
    pub(super) fn on_theirs(&mut self, code: Option<CloseCode>) {
        self.said.get_or_insert((SocketEnd::Client, code.map_or(NO_CODE, CloseCode::number)));
    }

    /// It has not answered our ping.
    pub(super) fn on_silence(&mut self) {
        self.said.get_or_insert((SocketEnd::Silent, NO_CLOSE));
    }

    /// Counts it, and tells the access log where that is to hear of it.
    pub(super) fn tell(&self, shard: &Shard, session: &Session, opened: &Opened, sent: u64) {
        let (end, code) = self.said.unwrap_or((SocketEnd::Lost, NO_CLOSE));
        shard.counters.socket_end(end);
        let Some(line) =
            Line::of_socket(shard, session.peer(), session.account().as_deref(), opened.request_id, &opened.route)
        else {
            return;
        };
        let passed = crate::link::Passed {
            messages_in: self.messages_in,
            messages_out: session.sending.messages(),
            bytes_in: self.bytes_in,
        };
        line.write_socket(shard, opened.since, (end, code), passed, sent - self.sent_before);
    }
}
