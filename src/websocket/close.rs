//! Closing: codes, the close frame's payload, and who still owes whom a goodbye (RFC 6455, sections 5.5.1, 7.1 and
//! 7.4).

use super::fault::Fault;
use super::frame::{CONTROL_BYTES_MAX, Opcode, Role, write_frame};
use super::mask::Mask;

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    pub const NORMAL: Self = Self(1000);
    /// The node stops, or the page is left.
    pub const AWAY: Self = Self(1001);
    pub const PROTOCOL: Self = Self(1002);
    pub const UNSUPPORTED: Self = Self(1003);
    pub const INVALID_DATA: Self = Self(1007);
    pub const POLICY: Self = Self(1008);
    pub const TOO_LARGE: Self = Self(1009);
    pub const INTERNAL: Self = Self(1011);
    /// What it was connected to has begun anew: come back and subscribe again.
    pub const RESTART: Self = Self(1012);
    pub const TRY_LATER: Self = Self(1013);

    /// The code, where it may stand on the wire: those of the RFC and of IANA's registry, and the ranges for libraries
    /// (3000) and applications (4000). 1004 to 1006 and 1015 never do.
    #[must_use]
    pub const fn from_wire(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// What a close frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'b> {
    /// `None`: the frame was empty.
    pub code: Option<CloseCode>,
    pub reason: &'b str,
}

impl<'b> Close<'b> {
    pub(super) fn read(payload: &'b [u8]) -> Result<Self, Fault> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            return if payload.is_empty() { Ok(Self { code: None, reason: "" }) } else { Err(Fault::CloseLength) };
        };
        let code = CloseCode::from_wire(u16::from_be_bytes(*code)).ok_or(Fault::CloseCode)?;
        let reason = std::str::from_utf8(reason).map_err(|_| Fault::NotUtf8)?;
        Ok(Self { code: Some(code), reason })
    }
}

/// Appends a close frame. A reason that does not fit (123 bytes) is cut between two characters.
pub fn write_close(out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str, mask: Option<Mask>) {
    let mut payload = [0; CONTROL_BYTES_MAX];
    let Some(code) = code else { return write_frame(out, Opcode::Close, false, &[], mask) };
    let (number, room) = payload.split_at_mut(2);
    number.copy_from_slice(&code.number().to_be_bytes());
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(room.len())];
    room[..reason.len()].copy_from_slice(reason);
    write_frame(out, Opcode::Close, false, &payload[..2 + reason.len()], mask);
}

/// The two halves of a goodbye. After ours nothing else is sent; after theirs nothing else is read; after both the
/// connection is closed, by the server first (section 7.1.1). How long theirs is waited for is the caller's affair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closing {
    sent: bool,
    received: bool,
}

impl Closing {
    /// Ours is to be sent now: false when it has been.
    pub fn send(&mut self) -> bool {
        !std::mem::replace(&mut self.sent, true)
    }

    /// Theirs has come: whether ours is still to be sent, with their code.
    pub fn receive(&mut self) -> bool {
        self.received = true;
        self.send()
    }

    /// Messages may still be sent.
    #[must_use]
    pub const fn is_open(self) -> bool {
        !self.sent
    }

    /// Nothing is left to be said.
    #[must_use]
    pub const fn is_done(self) -> bool {
        self.sent && self.received
    }

    /// Whether we end the connection now, rather than wait for the other side to.
    #[must_use]
    pub const fn hangs_up(self, role: Role) -> bool {
        self.is_done() && matches!(role, Role::Server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_stand_on_the_wire() {
        let allowed = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
        for code in allowed {
            assert_eq!(CloseCode::from_wire(code).map(CloseCode::number), Some(code));
        }
        for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            assert_eq!(CloseCode::from_wire(code), None, "{code}");
        }
    }

    #[test]
    fn payloads_are_read() {
        assert_eq!(Close::read(b""), Ok(Close { code: None, reason: "" }));
        assert_eq!(Close::read(b"\x03\xe8"), Ok(Close { code: Some(CloseCode::NORMAL), reason: "" }));
        assert_eq!(Close::read(b"\x03\xe9bye"), Ok(Close { code: Some(CloseCode::AWAY), reason: "bye" }));
        assert_eq!(Close::read(b"\x03"), Err(Fault::CloseLength));
        assert_eq!(Close::read(b"\x03\xed"), Err(Fault::CloseCode));
        assert_eq!(Close::read(b"\x03\xe8\xff"), Err(Fault::NotUtf8));
    }

    #[test]
    fn what_is_written_is_read_and_cut_between_characters() {
        for (reason, kept) in [("", 0), ("gone", 4), (&"é".repeat(62), 122), (&"x".repeat(200), 123)] {
            let mut out = Vec::new();
            write_close(&mut out, Some(CloseCode::RESTART), reason, None);
            let read = Close::read(&out[2..]).unwrap();
            assert_eq!((read.code, read.reason), (Some(CloseCode::RESTART), &reason[..kept]));
        }
        let mut out = Vec::new();
        write_close(&mut out, None, "", None);
        assert_eq!(out, b"\x88\x00");
    }

    #[test]
    fn each_side_says_goodbye_once() {
        let mut ours = Closing::default();
        assert!(ours.is_open() && ours.send() && !ours.send() && !ours.is_open() && !ours.is_done());
        assert!(!ours.receive() && ours.is_done());
        assert!(ours.hangs_up(Role::Server) && !ours.hangs_up(Role::Client));
        let mut theirs = Closing::default();
        assert!(theirs.receive() && !theirs.receive() && theirs.is_done());
    }
}
