//! Open descriptors through a Unix socket (`SCM_RIGHTS`), in order and counted.
//!
//! A message carries at most [`limits::UPGRADE_DESCRIPTORS_PER_MESSAGE`] of them beside one byte that says how many:
//! the kernel neither merges nor splits what carries descriptors, and a receiver that got fewer than the byte says
//! (its own descriptor limit cuts the rest off silently) finds out.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use crate::limits;

const PER_MESSAGE: usize = limits::UPGRADE_DESCRIPTORS_PER_MESSAGE;
const SPACE: usize = rustix::cmsg_space!(ScmRights(PER_MESSAGE));

/// Sends copies of `descriptors`.
pub(super) fn send(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for chunk in descriptors.chunks(PER_MESSAGE) {
        let count = [u8::try_from(chunk.len()).expect("a chunk is smaller than the kernel's 253")];
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(chunk)) {
            return Err(io::Error::other("no room for the descriptors of one message"));
        }
        rustix::net::sendmsg(stream, &[IoSlice::new(&count)], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives `count` descriptors, closed on exec.
pub(super) fn receive(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let expected = (count - all.len()).min(PER_MESSAGE);
        let before = all.len();
        let told = receive_message(stream, &mut all)?;
        let got = all.len() - before;
        if got != expected || usize::from(told) != expected {
            let message = format!("{got} descriptors came, {told} were sent, {expected} were expected");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
    Ok(all)
}

/// Appends one message's descriptors; answers how many it says it has.
fn receive_message(stream: &UnixStream, all: &mut Vec<OwnedFd>) -> io::Result<u8> {
    let mut told = [0];
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        rustix::net::recvmsg(stream, &mut [IoSliceMut::new(&mut told)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            all.extend(descriptors);
        }
    }
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(told[0])
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;

    use super::*;

    /// Sends `count` descriptors of numbered files and reads the numbers back.
    fn check(count: usize) {
        let files: Vec<_> = (0..count)
            .map(|number| {
                let mut file = tempfile::tempfile().unwrap();
                write!(file, "{number}").unwrap();
                file.rewind().unwrap();
                file
            })
            .collect();
        let (here, there) = UnixStream::pair().unwrap();
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        send(&here, &borrowed).unwrap();
        for (number, descriptor) in receive(&there, count).unwrap().into_iter().enumerate() {
            let mut text = String::new();
            std::fs::File::from(descriptor).read_to_string(&mut text).unwrap();
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn descriptors_arrive_in_order() {
        for count in [0, 1, PER_MESSAGE, PER_MESSAGE + 1, 3 * PER_MESSAGE] {
            check(count);
        }
    }

    #[test]
    fn fewer_than_expected_is_an_error() {
        let (here, there) = UnixStream::pair().unwrap();
        send(&here, &[here.as_fd()]).unwrap();
        assert!(receive(&there, 2).is_err());
        drop(here);
        assert!(receive(&there, 1).is_err());
    }
}
