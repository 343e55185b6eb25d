//! A shard's timers: a wheel of wheels, as the hands of a clock.
//!
//! The shard has one deadline per connection and per call under way, most of them moved or cancelled long before they fall
//! due. A heap pays log n for each of those; here arming, moving and cancelling are each a few writes, whatever is armed.
//!
//! **How.** Time is counted in ticks of a millisecond. Like seconds, minutes and hours, each of [`LEVELS`] levels has 64
//! slots, and a slot of one level spans all 64 of the level below. A timer hangs in the level of the highest *digit* (6 bits)
//! in which its tick differs from the hand's: due within the same 64 ticks: level 0, in the slot of its very tick;
//! within the same 4096: level 1; and so on. When the hand enters a slot of a higher level, its timers move down,
//! at most once per level in a timer's life. A bit per slot tells which are occupied, so that empty time is skipped
//! and not stepped through.
//!
//! **Invariants.**
//! - A timer in level `l` agrees with the hand in all digits above `l`, and its digit `l` is greater than the hand's. Hence
//!   every timer of a level falls due before all timers of the next, and the first occupied slot of the first occupied
//!   level is the next one to look at.
//! - A timer is in exactly one list: a slot's or `DUE` (its tick has come). A slot's bit is set exactly when its list is not
//!   empty and the hand has not *entered* it.
//! - At most one slot is entered and not yet cleared out; until it is, the hand stands still. Nothing is added to it
//!   meanwhile, since its digit is the hand's.
//! - The hand never goes back. Every tick at or before it has been dealt with, or is in `DUE` or in the entered slot.
//! - Never early: a moment is rounded up to a tick, `now` is rounded down. At most a millisecond late, beside the shard's
//!   own lateness in calling.
//!
//! **Keys** carry a generation: the key of a timer that has fired or was cancelled does nothing, even when its place has a
//! new owner. Places are reused in a free list, so nothing is allocated once the most timers ever armed have been.
//!
//! Lazy use: where a deadline moves with every byte, leave the timer be; when it fires, compare with the true deadline
//! and arm it again. [`Wheel::rearm`] is for the rest: cheap, and the key stays.

use crate::limits::TIMERS_PER_TURN_MAX;
use crate::time::Instant;

/// Timers of one shard.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    /// The tick up to which everything has been dealt with.
    hand: u64,
    entries: Vec<Entry<T>>,
    /// Head of the free list.
    free: u32,
    armed: usize,
    armed_max: usize,
    lists: [List; LISTS],
    /// The slot that the hand is in, while timers are in it. Never an empty one.
    entered: Option<u32>,
    /// By level, a bit for each occupied slot.
    occupied: [u64; LEVELS as usize],
}

/// Names an armed timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

/// The wheel holds as many timers as it may; the payload comes back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full<T>(pub(crate) T);

/// Levels of 64 slots: 2^42 ticks, 139 years. What lies beyond never falls due.
const LEVELS: u32 = 7;
const DIGIT_BITS: u32 = 6;
const SLOTS: u32 = 1 << DIGIT_BITS;
const TICK_MAX: u64 = (1 << (LEVELS * DIGIT_BITS)) - 1;
const TICK_MICROS: u64 = 1000;

/// The list after the slots'.
const DUE: u32 = LEVELS * SLOTS;
const LISTS: usize = DUE as usize + 1;

/// No entry.
const NIL: u32 = u32::MAX;
/// In place of a list: the entry is free, and `next` is the next free one.
const FREE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

#[derive(Debug)]
struct Entry<T> {
    tick: u64,
    previous: u32,
    next: u32,
    generation: u32,
    list: u32,
    payload: Option<T>,
}

impl<T> Wheel<T> {
    /// An empty wheel that holds `armed_max` timers at the most (and never more than fit 32 bits).
    #[must_use]
    pub(crate) fn new(armed_max: usize) -> Self {
        Self {
            hand: 0,
            entries: Vec::new(),
            free: NIL,
            armed: 0,
            armed_max: armed_max.min(NIL as usize),
            lists: [List { head: NIL, tail: NIL }; LISTS],
            entered: None,
            occupied: [0; LEVELS as usize],
        }
    }

    /// How many timers are armed.
    #[must_use]
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.armed
    }

    /// Hands out `payload` once `at` has come. A moment that has passed falls due at the next [`Wheel::expire`].
    pub(crate) fn arm(&mut self, at: Instant, payload: T) -> Result<Key, Full<T>> {
        if self.armed >= self.armed_max {
            return Err(Full(payload));
        }
        let index = self.take_free();
        let entry = &mut self.entries[index as usize];
        entry.tick = tick_of(at);
        entry.payload = Some(payload);
        let key = Key { index, generation: entry.generation };
        self.armed += 1;
        self.place(index);
        Ok(key)
    }

    /// Moves a timer to another moment; its key stays. `false` when it has fired or was cancelled.
    pub(crate) fn rearm(&mut self, key: Key, at: Instant) -> bool {
        if !self.is_armed(key) {
            return false;
        }
        let tick = tick_of(at);
        if self.entries[key.index as usize].tick != tick {
            self.unlink(key.index);
            self.entries[key.index as usize].tick = tick;
            self.place(key.index);
        }
        true
    }

    /// Forgets a timer. Its payload, or `None` when it has fired or was cancelled.
    pub(crate) fn cancel(&mut self, key: Key) -> Option<T> {
        if !self.is_armed(key) {
            return None;
        }
        self.unlink(key.index);
        self.release(key.index)
    }

    /// Whether the key's timer has neither fired nor been cancelled.
    #[must_use]
    pub(crate) fn is_armed(&self, key: Key) -> bool {
        let entry = self.entries.get(key.index as usize);
        entry.is_some_and(|entry| entry.list != FREE && entry.generation == key.generation)
    }

    /// When to call [`Wheel::expire`] next; `None` when nothing is armed. Never later than the first timer is due, but perhaps
    /// earlier: for a timer further off than 64 ms it is the moment at which it moves down.
    #[must_use]
    pub(crate) fn next_at(&self) -> Option<Instant> {
        if self.lists[DUE as usize].head != NIL || self.entered.is_some() {
            return Some(Instant::from_micros(self.hand * TICK_MICROS));
        }
        let (_, tick) = self.next_slot()?;
        Some(Instant::from_micros(tick * TICK_MICROS))
    }

    /// Hands out the payloads of timers whose moment has come, in the order of their ticks.
    ///
    /// At most [`TIMERS_PER_TURN_MAX`] steps (a timer that fires, or moves down a level) in one call. `true`: there
    /// is more to do at once; [`Wheel::next_at`] says so too.
    #[cfg(test)]
    pub(crate) fn expire(&mut self, now: Instant, fire: &mut impl FnMut(T)) -> bool {
        let mut steps = TIMERS_PER_TURN_MAX;
        while let Some(payload) = self.step(now, &mut steps) {
            fire(payload);
        }
        steps == 0 && self.next_at().is_some_and(|at| at <= now)
    }

    /// One of them, for a caller that arms timers as they fire. `None`: no more, or no more than moved down in the
    /// [`TIMERS_PER_TURN_MAX`] steps of this call ([`Wheel::next_at`] tells which).
    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        self.step(now, &mut { TIMERS_PER_TURN_MAX })
    }

    /// Goes on until a timer fires, nothing is left to do, or `steps` are used up.
    fn step(&mut self, now: Instant, steps: &mut usize) -> Option<T> {
        while *steps > 0 {
            if let Some(slot) = self.entered {
                let index = self.lists[slot as usize].head;
                self.unlink(index);
                self.place(index);
            } else if self.lists[DUE as usize].head != NIL {
                let index = self.lists[DUE as usize].head;
                *steps -= 1;
                self.unlink(index);
                return self.release(index);
            } else if !self.turn(floor_tick(now)) {
                return None;
            }
            *steps -= 1;
        }
        None
    }

    /// Moves the hand into the next occupied slot, or to `now` where none comes before. `false` when it has arrived.
    fn turn(&mut self, now: u64) -> bool {
        match self.next_slot() {
            Some((list, tick)) if tick <= now => {
                self.hand = tick;
                self.clear_bit(list);
                self.entered = Some(list);
                true
            }
            _ => {
                self.hand = self.hand.max(now);
                false
            }
        }
    }

    /// The slot that the hand comes to next, and the first tick of it.
    fn next_slot(&self) -> Option<(u32, u64)> {
        let (level, slots) = (0..LEVELS).zip(self.occupied).find(|(_, slots)| *slots != 0)?;
        let slot = slots.trailing_zeros();
        let shift = level * DIGIT_BITS;
        let above = (self.hand >> shift >> DIGIT_BITS) << DIGIT_BITS;
        Some((level * SLOTS + slot, (above | u64::from(slot)) << shift))
    }

    /// Hangs an entry that is in no list where its tick belongs.
    fn place(&mut self, index: u32) {
        let tick = self.entries[index as usize].tick;
        if tick <= self.hand {
            self.link(index, DUE);
            return;
        }
        let level = (tick ^ self.hand).ilog2() / DIGIT_BITS;
        let slot = ((tick >> (level * DIGIT_BITS)) & 0x3f) as u32;
        self.occupied[level as usize] |= 1 << slot;
        self.link(index, level * SLOTS + slot);
    }

    /// Appends an entry to a list.
    fn link(&mut self, index: u32, list: u32) {
        let tail = std::mem::replace(&mut self.lists[list as usize].tail, index);
        let entry = &mut self.entries[index as usize];
        (entry.list, entry.previous, entry.next) = (list, tail, NIL);
        match tail {
            NIL => self.lists[list as usize].head = index,
            tail => self.entries[tail as usize].next = index,
        }
    }

    /// Takes an entry out of the list that it is in.
    fn unlink(&mut self, index: u32) {
        let Entry { list, previous, next, .. } = self.entries[index as usize];
        match previous {
            NIL => self.lists[list as usize].head = next,
            previous => self.entries[previous as usize].next = next,
        }
        match next {
            NIL => self.lists[list as usize].tail = previous,
            next => self.entries[next as usize].previous = previous,
        }
        if self.lists[list as usize].head == NIL {
            self.clear_bit(list);
            self.entered = self.entered.filter(|entered| *entered != list);
        }
    }

    fn clear_bit(&mut self, list: u32) {
        if let Some(slots) = self.occupied.get_mut((list / SLOTS) as usize) {
            *slots &= !(1 << (list % SLOTS));
        }
    }

    /// An entry that is in no list, new or used before.
    fn take_free(&mut self) -> u32 {
        if self.free != NIL {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            return index;
        }
        let index = u32::try_from(self.entries.len()).expect("armed_max fits 32 bits");
        let (tick, generation, payload) = (0, 0, None);
        self.entries.push(Entry { tick, previous: NIL, next: NIL, generation, list: FREE, payload });
        index
    }

    /// Frees an entry that is in no list, and voids its key.
    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.list = FREE;
        entry.next = std::mem::replace(&mut self.free, index);
        self.armed -= 1;
        entry.payload.take()
    }
}

/// The first tick at which `at` has come.
fn tick_of(at: Instant) -> u64 {
    at.micros().div_ceil(TICK_MICROS).min(TICK_MAX)
}

/// The last tick that has come at `now`. Never the very last one: a timer there is one that never falls due.
fn floor_tick(now: Instant) -> u64 {
    (now.micros() / TICK_MICROS).min(TICK_MAX - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn expired<T>(wheel: &mut Wheel<T>, now: Instant) -> Vec<T> {
        let mut fired = Vec::new();
        while wheel.expire(now, &mut |payload| fired.push(payload)) {}
        fired
    }

    #[test]
    fn each_fires_in_its_millisecond_at_every_level() {
        for start in [0, 1, 63, 64, 4095, 1_000_003] {
            for delay in [1, 2, 63, 64, 65, 4095, 4096, 4097, 262_144, 16_777_216, 1 << 35] {
                let mut wheel = Wheel::new(10);
                assert_eq!(expired(&mut wheel, ms(start)), [0; 0]);
                wheel.arm(ms(start + delay), 7).unwrap();
                assert_eq!(expired(&mut wheel, ms(start + delay - 1)), [0; 0], "{start} {delay}");
                assert_eq!(expired(&mut wheel, ms(start + delay)), [7], "{start} {delay}");
                assert_eq!(wheel.next_at(), None);
            }
        }
    }

    #[test]
    fn never_early_within_a_millisecond() {
        let mut wheel = Wheel::new(10);
        wheel.arm(Instant::from_micros(5001), ()).unwrap();
        assert_eq!(expired(&mut wheel, Instant::from_micros(5999)), []);
        assert_eq!(wheel.next_at(), Some(ms(6)));
        assert_eq!(expired(&mut wheel, ms(6)), [()]);
    }

    #[test]
    fn what_has_passed_is_due_at_once() {
        let mut wheel = Wheel::new(10);
        expired(&mut wheel, ms(500));
        wheel.arm(ms(20), 'a').unwrap();
        wheel.arm(ms(500), 'b').unwrap();
        assert_eq!(wheel.next_at(), Some(ms(500)));
        assert_eq!(expired(&mut wheel, ms(500)), ['a', 'b']);
    }

    #[test]
    fn a_key_is_void_once_its_timer_is_gone() {
        let mut wheel = Wheel::new(10);
        let fired = wheel.arm(ms(1), 1).unwrap();
        let cancelled = wheel.arm(ms(2), 2).unwrap();
        assert_eq!(expired(&mut wheel, ms(1)), [1]);
        assert_eq!(wheel.cancel(cancelled), Some(2));
        let successors = [wheel.arm(ms(9), 3).unwrap(), wheel.arm(ms(9), 4).unwrap()];
        for gone in [fired, cancelled] {
            assert!(!wheel.is_armed(gone));
            assert!(!wheel.rearm(gone, ms(3)));
            assert_eq!(wheel.cancel(gone), None);
        }
        assert!(successors.iter().all(|key| wheel.is_armed(*key)));
        assert_eq!(wheel.entries.len(), 2, "places are used again");
    }

    #[test]
    fn a_full_wheel_gives_the_payload_back() {
        let mut wheel = Wheel::new(1);
        let key = wheel.arm(ms(1), "first").unwrap();
        assert_eq!(wheel.arm(ms(1), "second"), Err(Full("second")));
        wheel.cancel(key);
        assert!(wheel.arm(ms(1), "third").is_ok());
    }

    #[test]
    fn never_is_never() {
        let mut wheel = Wheel::new(1);
        wheel.arm(Instant::NEVER, ()).unwrap();
        assert_eq!(expired(&mut wheel, Instant::NEVER), []);
        assert_eq!(wheel.len(), 1);
    }

    #[test]
    fn an_entered_slot_whose_last_timer_is_cancelled_wakes_nobody() {
        let mut wheel = Wheel::new(10);
        let keys = [wheel.arm(ms(5), 0).unwrap(), wheel.arm(ms(5), 1).unwrap()];
        // Two steps: enter the slot, move the first timer on.
        assert_eq!(wheel.step(ms(5), &mut 2), None);
        assert_eq!(keys.map(|key| wheel.cancel(key)), [Some(0), Some(1)]);
        assert_eq!(wheel.next_at(), None);
        wheel.arm(ms(6), 2).unwrap();
        assert_eq!(expired(&mut wheel, ms(6)), [2]);
    }

    #[test]
    fn one_call_does_a_bounded_amount_of_work() {
        let count = 3 * TIMERS_PER_TURN_MAX;
        let mut wheel = Wheel::new(count);
        for i in 0..count {
            wheel.arm(ms(60_000), i).unwrap();
        }
        let (mut fired, mut calls) = (Vec::new(), 0);
        while wheel.next_at().is_some_and(|at| at <= ms(60_000)) {
            let before = fired.len();
            wheel.expire(ms(60_000), &mut |payload| fired.push(payload));
            assert!(fired.len() - before <= TIMERS_PER_TURN_MAX);
            calls += 1;
        }
        assert_eq!(fired, (0..count).collect::<Vec<_>>(), "in the order in which they were armed");
        // Three levels down, then fired: four steps a timer at the most, and a few for the hand.
        assert!((4..=13).contains(&calls), "{calls}");
    }

    #[test]
    fn pop_lets_a_timer_be_armed_as_another_fires() {
        let mut wheel = Wheel::new(2);
        wheel.arm(ms(10), 0).unwrap();
        let mut count = 0;
        for now in 0..1000 {
            while let Some(payload) = wheel.pop(ms(now)) {
                count += 1;
                wheel.arm(ms(now + 10), payload).unwrap();
            }
        }
        assert_eq!((count, wheel.len()), (99, 1));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Arm(u64),
        Cancel(prop::sample::Index),
        Rearm(prop::sample::Index, u64),
        Wait(u64),
        /// Expires once and leaves what the bound leaves.
        WaitOnce(u64),
    }

    fn delay_us() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => 0..70_000_u64,
            4 => 0..5_000_000_u64,
            2 => 0..400_000_000_u64,
            1 => 0..(1_u64 << 45),
            1 => Just(u64::MAX),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => delay_us().prop_map(Op::Arm),
            2 => any::<prop::sample::Index>().prop_map(Op::Cancel),
            2 => (any::<prop::sample::Index>(), delay_us()).prop_map(|(index, delay)| Op::Rearm(index, delay)),
            4 => delay_us().prop_map(|delay| Op::Wait(delay.min(1 << 46))),
            2 => delay_us().prop_map(|delay| Op::WaitOnce(delay.min(1 << 46))),
        ]
    }

    proptest! {
        /// Against a map from id to tick: fires the same timers, in the order of ticks, and never sleeps past one.
        #[test]
        fn it_behaves_as_its_model(ops in prop::collection::vec(op(), 0..200)) {
            let (mut wheel, mut model) = (Wheel::new(50), BTreeMap::<usize, u64>::new());
            let (mut keys, mut now) = (Vec::new(), Instant::START);
            for op in ops {
                match op {
                    Op::Arm(delay) => {
                        let at = now + Duration::from_micros(delay);
                        match wheel.arm(at, keys.len()) {
                            Ok(key) => {
                                model.insert(keys.len(), tick_of(at));
                                keys.push(key);
                            }
                            Err(Full(id)) => prop_assert_eq!((id, model.len()), (keys.len(), 50)),
                        }
                    }
                    Op::Cancel(_) | Op::Rearm(..) if keys.is_empty() => {}
                    Op::Cancel(index) => {
                        let id = index.index(keys.len());
                        let expected = model.remove(&id).map(|_| id);
                        prop_assert_eq!(wheel.cancel(keys[id]), expected);
                    }
                    Op::Rearm(index, delay) => {
                        let id = index.index(keys.len());
                        let at = now + Duration::from_micros(delay);
                        let armed = model.get_mut(&id).map(|tick| *tick = tick_of(at)).is_some();
                        prop_assert_eq!(wheel.rearm(keys[id], at), armed);
                    }
                    Op::Wait(wait) | Op::WaitOnce(wait) => {
                        now = now + Duration::from_micros(wait);
                        let mut fired = Vec::new();
                        if matches!(op, Op::Wait(_)) {
                            fired = expired(&mut wheel, now);
                        } else {
                            wheel.step(now, &mut 3).into_iter().for_each(|id| fired.push(id));
                        }
                        for id in &fired {
                            let tick = model.remove(id);
                            prop_assert!(tick.is_some_and(|tick| tick <= floor_tick(now)), "early or twice");
                        }
                        if matches!(op, Op::Wait(_)) {
                            let late = model.values().any(|tick| *tick <= floor_tick(now));
                            prop_assert!(!late, "one was left out");
                        }
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                let first = model.values().min().map(|tick| Instant::from_micros(tick * TICK_MICROS));
                prop_assert_eq!(wheel.next_at().is_some(), first.is_some());
                if let (Some(next), Some(first)) = (wheel.next_at(), first) {
                    prop_assert!(next <= first.max(now), "it would sleep past one");
                }
            }
        }

        /// With nothing armed as they fire, ticks come in order.
        #[test]
        fn they_fire_in_order(delays in prop::collection::vec(delay_us(), 0..100), wait in 0..500_000_000_u64) {
            let mut wheel = Wheel::new(100);
            for delay in delays {
                wheel.arm(Instant::from_micros(delay), tick_of(Instant::from_micros(delay))).unwrap();
            }
            let fired = expired(&mut wheel, Instant::from_micros(wait));
            prop_assert!(fired.is_sorted());
        }
    }
}
