//! Byte buffers that a shard uses again and again.
//!
//! Taken empty, given back with whatever they hold. A buffer that grew for one large message is not kept, and neither
//! is one more than a busy turn needs: idle memory stays small.

use std::cell::RefCell;

use super::ring::Ring;
use crate::limits;

pub(crate) struct Buffers {
    free: RefCell<Vec<Vec<u8>>>,
    /// Keeps those that were sent from.
    ring: Ring,
}

impl Buffers {
    pub(crate) fn new(ring: Ring) -> Self {
        Self { free: RefCell::default(), ring }
    }

    /// An empty buffer.
    pub(crate) fn take(&self) -> Vec<u8> {
        let kept = self.free.borrow_mut().pop().or_else(|| self.ring.spare_buffer());
        kept.unwrap_or_else(|| Vec::with_capacity(limits::BUFFER_BYTES))
    }

    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let mut free = self.free.borrow_mut();
        if buffer.capacity() <= limits::BUFFER_KEPT_BYTES_MAX
            && buffer.capacity() > 0
            && free.len() < limits::BUFFERS_KEPT_MAX
        {
            buffer.clear();
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::RingOptions;
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_a_grown_one_not_at_all() {
        let buffers = Buffers::new(Ring::new(RingOptions::default()).unwrap());
        let mut buffer = buffers.take();
        buffer.extend_from_slice(b"left over");
        let place = buffer.as_ptr();
        buffers.give(buffer);
        let again = buffers.take();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), place);
        buffers.give(Vec::with_capacity(limits::BUFFER_KEPT_BYTES_MAX + 1));
        assert_eq!(buffers.take().capacity(), limits::BUFFER_BYTES);
    }
}
