//! The memory that receives land in: a ring of buffers lent to the kernel, and the books on where each of them is.
//!
//! A buffer is with the **kernel** (published in the ring; the kernel picks the next one when bytes have come, so an
//! idle connection holds none) or **held** (a completion named it; its bytes wait in some socket's list). Giving one
//! back publishes it at once. The lists of the sockets are threaded through the books (`next`), so a socket's list
//! costs it six bytes and no allocation.
//!
//! Invariants: `held + with the kernel == count`; a held buffer is in exactly one list; only the kernel writes to a
//! buffer that it has, and only within an enter (`DEFER_TASKRUN`), so bytes of a held buffer do not change.
//!
//! In debug builds a buffer is filled with a pattern when it goes to the kernel and what lies behind the received
//! bytes is checked when it comes back: a write through a stale pointer shows. (Sanitizers do not see the kernel's.)

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

/// What a buffer is filled with while it is with the kernel, in debug builds.
const PATTERN: u8 = 0xA5;
/// No buffer: the end of a list. Counts stay below it.
const NONE: u16 = u16::MAX;
/// Between two buffers, in bytes. Most messages are short, so that of each buffer the first lines alone are used; at a distance
/// of a power of two these would share a few sets of every cache. Odd in lines, and more than a short message has.
const GAP: usize = 5 * 64;
/// The group that receives name. There is one.
pub(super) const GROUP: u16 = 0;

/// A socket's received buffers, oldest first.
#[derive(Debug)]
pub(super) struct BufferList {
    first: u16,
    last: u16,
    len: u16,
}

impl BufferList {
    pub(super) const fn new() -> Self {
        Self { first: NONE, last: NONE, len: 0 }
    }

    pub(super) const fn len(&self) -> u16 {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Where a buffer is, and which of its bytes wait to be read.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    end: u32,
    next: u16,
    held: bool,
}

/// The ring of provided buffers and its books.
#[derive(Debug)]
pub(super) struct Buffers {
    mapping: Mapping,
    /// Bytes from the start of the mapping to the first buffer.
    data_offset: usize,
    size: usize,
    count: u16,
    tail: u16,
    held: u16,
    held_max: u16,
    books: Vec<Entry>,
}

impl Buffers {
    /// Maps `count` (a power of two, at most 32768) buffers of `size` bytes; their pages are touched on first use.
    pub(super) fn new(count: u16, size: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "the kernel takes powers of two up to 32768");
        let data_offset = (usize::from(count) * size_of::<BufRingEntry>()).next_multiple_of(PAGE_BYTES);
        let mapping = Mapping::new(data_offset + usize::from(count) * (size + GAP))?;
        let books = vec![Entry { start: 0, end: 0, next: NONE, held: true }; usize::from(count)];
        let mut buffers = Self { mapping, data_offset, size, count, tail: 0, held: count, held_max: 0, books };
        for id in 0..count {
            buffers.give_back(id);
        }
        Ok(buffers)
    }

    /// Where the kernel finds the ring.
    pub(super) fn ring_address(&self) -> u64 {
        self.mapping.start.as_ptr().addr() as u64
    }

    pub(super) const fn count(&self) -> u16 {
        self.count
    }

    /// Bytes of one buffer.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Buffers whose bytes wait in some socket's list.
    pub(super) const fn held(&self) -> u16 {
        self.held
    }

    /// The most that were ever held.
    pub(super) const fn held_max(&self) -> u16 {
        self.held_max
    }

    /// Books a buffer in which the kernel has put `len` bytes, and appends it to `list`. `false` when the kernel names
    /// a buffer that it did not have or more bytes than fit: then nothing is booked.
    pub(super) fn take(&mut self, id: u16, len: usize, list: &mut BufferList) -> bool {
        let size = self.size;
        let Some(entry) = self.books.get_mut(usize::from(id)) else {
            return false;
        };
        let Ok(end) = u32::try_from(len) else {
            return false;
        };
        if entry.held || len > size {
            return false;
        }
        *entry = Entry { start: 0, end, next: NONE, held: true };
        self.held += 1;
        self.held_max = self.held_max.max(self.held);
        self.check_pattern(id, len);
        match list.last {
            NONE => list.first = id,
            before => self.books[usize::from(before)].next = id,
        }
        list.last = id;
        list.len += 1;
        true
    }

    /// Books a buffer that a completion named without bytes for anybody, and lends it again.
    pub(super) fn return_unused(&mut self, id: Option<u16>) {
        let mut list = BufferList::new();
        if id.is_some_and(|id| self.take(id, 0, &mut list)) {
            self.clear(&mut list);
        }
    }

    /// The unread bytes of a list's oldest buffer; empty for an empty list.
    pub(super) fn front(&self, list: &BufferList) -> &[u8] {
        if list.is_empty() {
            return &[];
        }
        let entry = self.books[usize::from(list.first)];
        debug_assert!(entry.held, "a listed buffer is held");
        &self.bytes(list.first)[entry.start as usize..entry.end as usize]
    }

    /// Takes `count` bytes off the front of the oldest buffer, and gives it back when it is empty.
    pub(super) fn consume(&mut self, list: &mut BufferList, count: usize) {
        let id = list.first;
        let entry = &mut self.books[usize::from(id)];
        let start = entry.start as usize + count;
        assert!(start <= entry.end as usize, "no more is consumed than front() showed");
        if start == entry.end as usize {
            self.pop(list);
            self.give_back(id);
        } else {
            entry.start = u32::try_from(start).expect("offsets in a buffer fit, for its end does");
        }
    }

    /// Takes the oldest buffer out of its list without giving it back.
    pub(super) fn pop(&mut self, list: &mut BufferList) -> Option<u16> {
        if list.is_empty() {
            return None;
        }
        let id = list.first;
        list.first = self.books[usize::from(id)].next;
        list.len -= 1;
        if list.len == 0 {
            list.last = NONE;
        }
        Some(id)
    }

    /// Gives a list's buffers back, read or not.
    pub(super) fn clear(&mut self, list: &mut BufferList) {
        while let Some(id) = self.pop(list) {
            self.give_back(id);
        }
    }

    /// Publishes a held buffer to the kernel.
    fn give_back(&mut self, id: u16) {
        let entry = &mut self.books[usize::from(id)];
        assert!(entry.held, "a buffer is given back once");
        entry.held = false;
        self.held -= 1;
        self.fill_pattern(id);
        let data = self.offset_of(id);
        let position = usize::from(self.tail & (self.count - 1));
        // SAFETY: the mapping starts with `count` entries, page-aligned, and `position < count`; the kernel reads entries
        // only up to the tail that is published below, so nobody else uses this one now. The accessors leave the
        // reserved field of entry 0, which is the tail, alone.
        let slot = unsafe { &mut *self.mapping.start.cast::<BufRingEntry>().add(position).as_ptr() };
        slot.set_addr(self.ring_address() + data as u64);
        slot.set_len(u32::try_from(self.size).expect("a buffer's size is far below 4 GiB"));
        slot.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `tail` gives the address of the ring's tail inside entry 0 of a live mapping, aligned for u16; the
        // kernel reads it with acquire semantics, so the entry above is visible before it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.mapping.start.as_ptr().cast()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Bytes from the start of the mapping to a buffer.
    fn offset_of(&self, id: u16) -> usize {
        self.data_offset + usize::from(id) * (self.size + GAP)
    }

    fn bytes(&self, id: u16) -> &[u8] {
        let offset = self.offset_of(id);
        // SAFETY: `id < count`, so the range lies in the mapping, which zeroed pages initialised. The buffer is held, so
        // the kernel does not write to it, and giving it back takes `&mut self`, which ends this borrow.
        unsafe { std::slice::from_raw_parts(self.mapping.start.as_ptr().add(offset), self.size) }
    }

    fn fill_pattern(&mut self, id: u16) {
        if cfg!(debug_assertions) {
            let offset = self.offset_of(id);
            // SAFETY: as in `bytes`; the kernel does not have the buffer yet, and `&mut self` excludes readers.
            let start = unsafe { self.mapping.start.as_ptr().add(offset) };
            // SAFETY: likewise.
            unsafe { start.write_bytes(PATTERN, self.size) };
        }
    }

    fn check_pattern(&self, id: u16, len: usize) {
        if cfg!(debug_assertions) {
            let untouched = self.bytes(id)[len..].iter().all(|byte| *byte == PATTERN);
            assert!(untouched, "buffer {id} was written to behind its {len} received bytes");
        }
    }

    /// Leaves the memory mapped for ever: the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        self.mapping.leaked = true;
    }
}

/// The kernel wants the ring aligned to a page; 64 KiB is the largest that Linux uses.
const PAGE_BYTES: usize = 64 * 1024;

/// Anonymous pages.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
    leaked: bool,
}

impl Mapping {
    fn new(len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Self { start, len, leaked: false })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: start and len are those of the mapping that `new` made, nobody keeps a reference into it past
            // `Buffers`, and the kernel's ring is closed before it (see the order of fields in `Core`).
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes into a buffer as the kernel would.
    fn land(buffers: &mut Buffers, id: u16, bytes: &[u8]) {
        let offset = buffers.offset_of(id);
        // SAFETY: no kernel has these buffers in this test; the range is inside the mapping.
        unsafe { std::slice::from_raw_parts_mut(buffers.mapping.start.as_ptr().add(offset), bytes.len()) }
            .copy_from_slice(bytes);
    }

    #[test]
    fn bytes_come_out_in_order_and_buffers_go_back() {
        let mut buffers = Buffers::new(4, 64).unwrap();
        let mut list = BufferList::new();
        for (id, text) in [(2, "one"), (0, "two"), (3, "three")] {
            land(&mut buffers, id, text.as_bytes());
            assert!(buffers.take(id, text.len(), &mut list));
        }
        assert_eq!((buffers.held(), list.len()), (3, 3));
        assert_eq!(buffers.front(&list), b"one");
        buffers.consume(&mut list, 1);
        assert_eq!(buffers.front(&list), b"ne");
        buffers.consume(&mut list, 2);
        assert_eq!(buffers.front(&list), b"two");
        buffers.clear(&mut list);
        assert_eq!((buffers.held(), buffers.held_max(), list.len()), (0, 3, 0));
        assert_eq!(buffers.front(&list), b"");
    }

    #[test]
    fn what_the_kernel_cannot_mean_is_not_booked() {
        let mut buffers = Buffers::new(2, 64).unwrap();
        let mut list = BufferList::new();
        assert!(buffers.take(1, 0, &mut list));
        for (id, len, why) in [(1, 0, "held already"), (2, 0, "no such buffer"), (0, 65, "longer than a buffer")] {
            assert!(!buffers.take(id, len, &mut list), "{why}");
        }
        assert_eq!(buffers.held(), 1);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "written to behind")]
    fn a_write_into_a_lent_buffer_shows() {
        let mut buffers = Buffers::new(2, 64).unwrap();
        land(&mut buffers, 0, &[0; 10]);
        buffers.take(0, 9, &mut BufferList::new());
    }
}
