//! A slab whose keys know which life of a slot they mean.
//!
//! Descriptors and slots are reused within microseconds, and a completion may be on its way while that happens. A key
//! carries the generation of its slot, a token carries the key through the kernel, and a key of an earlier life finds
//! nothing. A slot is given back only when no operation names it any more, so a stale token is a defect that is
//! counted, never a wrong delivery.
//!
//! Token, the `user_data` of an operation: `operation:8 | generation:24 | index:32`. A generation repeats after 16
//! million lives of one slot.

const GENERATION_MASK: u32 = (1 << 24) - 1;

/// One life of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// This key and an operation's code as `user_data`.
    pub(super) const fn token(self, operation: u8) -> u64 {
        (operation as u64) << 56 | (self.generation as u64) << 32 | self.index as u64
    }

    /// The operation's code and the key out of `user_data`.
    pub(super) const fn of_token(token: u64) -> (u8, Self) {
        let [i0, i1, i2, i3, g0, g1, g2, operation] = token.to_le_bytes();
        let index = u32::from_le_bytes([i0, i1, i2, i3]);
        (operation, Self { index, generation: u32::from_le_bytes([g0, g1, g2, 0]) })
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// A slab with generations.
#[derive(Debug)]
pub(super) struct Slots<T> {
    all: Vec<Slot<T>>,
    free: Vec<u32>,
    used: usize,
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Self {
        Self { all: Vec::new(), free: Vec::new(), used: 0 }
    }

    /// Slots in use.
    pub(super) const fn len(&self) -> usize {
        self.used
    }

    pub(super) fn insert(&mut self, value: T) -> Key {
        self.used += 1;
        if let Some(index) = self.free.pop() {
            let slot = &mut self.all[index as usize];
            debug_assert!(slot.value.is_none(), "a free slot is empty");
            slot.value = Some(value);
            return Key { index, generation: slot.generation };
        }
        let index = u32::try_from(self.all.len()).expect("descriptors, and so slots, are far fewer than 2^32");
        self.all.push(Slot { generation: 0, value: Some(value) });
        Key { index, generation: 0 }
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.all.get(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.all.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    /// Ends this life of the slot.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.all.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        self.free.push(key.index);
        self.used -= 1;
        Some(value)
    }

    /// The key of the life that a slot has now.
    pub(super) fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.all.get(index as usize)?;
        slot.value.as_ref().map(|_| Key { index, generation: slot.generation })
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        (0..self.all.len()).filter_map(|index| u32::try_from(index).ok().and_then(|index| self.key_at(index))).collect()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.all.iter().filter_map(|slot| slot.value.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_an_earlier_life_finds_nothing() {
        let mut slots = Slots::new();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(first.index, second.index, "the slot is reused");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn tokens_carry_operation_life_and_slot() {
        for (operation, generation, index) in
            [(0, 0, 0), (255, GENERATION_MASK, u32::MAX), (3, 0x00AB_CDEF, 0x1234_5678)]
        {
            let key = Key { index, generation };
            assert_eq!(Key::of_token(key.token(operation)), (operation, key));
        }
    }

    #[test]
    fn a_generation_wraps_within_its_bits() {
        let mut slots = Slots::new();
        let key = slots.insert(1);
        slots.all[0].generation = GENERATION_MASK;
        assert_eq!(slots.remove(key), None);
        let last = slots.key_at(0).unwrap();
        assert_eq!(slots.remove(last), Some(1));
        assert_eq!(slots.key_at(0), None);
        assert_eq!(slots.insert(2).generation, 0);
    }
}
