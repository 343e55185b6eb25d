//! Frames that wait: some of this client alone, some shared with others by reference.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::limits;

/// Frames in their order.
#[derive(Default)]
pub(super) struct Queue {
    pieces: VecDeque<Piece>,
    bytes: usize,
}

enum Piece {
    Own(Vec<u8>),
    Shared(Rc<[u8]>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds what `write` appends.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        // Together they are no more than is sent at once, or little more.
        if !matches!(self.pieces.back(), Some(Piece::Own(last)) if last.len() < limits::WEBSOCKET_MERGED_BYTES_MAX) {
            self.pieces.push_back(Piece::Own(Vec::new()));
        }
        if let Some(Piece::Own(last)) = self.pieces.back_mut() {
            let before = last.len();
            write(last);
            self.bytes += last.len() - before;
        }
    }

    pub(super) fn share(&mut self, frame: &Rc<[u8]>) {
        self.bytes += frame.len();
        self.pieces.push_back(Piece::Shared(Rc::clone(frame)));
    }

    /// Everything of `other`, behind what is here.
    pub(super) fn append(&mut self, other: &mut Self) {
        self.bytes += std::mem::take(&mut other.bytes);
        self.pieces.append(&mut other.pieces);
    }

    /// The next bytes to send: what is shared is copied only now, and no more of it than is sent at once.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let mut taken = match self.pieces.pop_front()? {
            Piece::Own(bytes) => bytes,
            Piece::Shared(bytes) => bytes.to_vec(),
        };
        while let Some(next) = self.pieces.front()
            && taken.len() + next.bytes().len() <= limits::WHOLE_BYTES_MAX
        {
            taken.extend_from_slice(next.bytes());
            self.pieces.pop_front();
        }
        self.bytes -= taken.len();
        Some(taken)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_in_the_order_in_which_they_came() {
        let mut queue = Queue::default();
        let shared: Rc<[u8]> = b"shared".as_slice().into();
        queue.write(|out| out.extend_from_slice(b"one"));
        queue.write(|out| out.extend_from_slice(b"two"));
        queue.share(&shared);
        queue.write(|out| out.extend_from_slice(b"three"));
        assert_eq!(queue.bytes(), 17);
        assert_eq!(queue.take().unwrap(), b"onetwosharedthree");
        assert!(queue.take().is_none() && queue.is_empty() && queue.bytes() == 0);
    }

    #[test]
    fn no_more_is_taken_at_once_than_is_sent_at_once() {
        let mut queue = Queue::default();
        let shared: Rc<[u8]> = vec![7; limits::WHOLE_BYTES_MAX / 2].into();
        (0..3).for_each(|_| queue.share(&shared));
        let mut held = Queue::default();
        held.share(&shared);
        queue.append(&mut held);
        assert_eq!((queue.take().unwrap().len(), queue.bytes()), (limits::WHOLE_BYTES_MAX, limits::WHOLE_BYTES_MAX));
        assert_eq!((queue.take().unwrap().len(), queue.bytes()), (limits::WHOLE_BYTES_MAX, 0));
        assert!(held.is_empty() && held.bytes() == 0);
    }

    #[test]
    fn what_is_written_for_a_slow_reader_does_not_grow_together() {
        let mut queue = Queue::default();
        let frames = [40_000, 60_000, 10, 50_000, 60_000];
        for bytes in frames {
            queue.write(|out| out.resize(out.len() + bytes, 7));
        }
        let mut taken = Vec::new();
        while let Some(piece) = queue.take() {
            taken.push(piece.len());
        }
        assert_eq!(taken.iter().sum::<usize>(), frames.iter().sum::<usize>());
        assert!(taken.iter().all(|&bytes| bytes < 2 * limits::WHOLE_BYTES_MAX), "{taken:?}");
    }
}
