//! The two small containers of the memory part: a table of 64-bit keys, and a list of positions that is short for
//! most keys.

const EMPTY: u32 = u32::MAX;
const SLOTS_MIN: usize = 64;

/// 64-bit keys, numbered in the order they came; finds the number of a key. Keys are keyed hashes already, so one
/// multiplication spreads them well enough.
pub(super) struct KeyTable {
    slots: Vec<u32>,
    keys: Vec<u64>,
    shift: u32,
}

impl KeyTable {
    pub(super) fn new() -> KeyTable {
        KeyTable { slots: vec![EMPTY; SLOTS_MIN], keys: Vec::new(), shift: 64 - SLOTS_MIN.trailing_zeros() }
    }

    /// The keys by number.
    pub(super) fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// Number of a key; of the newest one if it was added more than once.
    pub(super) fn find(&self, key: u64) -> Option<u32> {
        match self.slots[self.probe(key)] {
            EMPTY => None,
            number => Some(number),
        }
    }

    /// Number of a key, and whether it is new.
    pub(super) fn find_or_add(&mut self, key: u64) -> (u32, bool) {
        let slot = self.probe(key);
        match self.slots[slot] {
            EMPTY => {
                self.slots[slot] = self.next_number();
                self.keys.push(key);
                self.grow_if_full();
                (self.keys.len() as u32 - 1, true)
            }
            number => (number, false),
        }
    }

    /// Gives the key a new number even if it has one; answers with the one it had.
    pub(super) fn add_newest(&mut self, key: u64) -> Option<u32> {
        let slot = self.probe(key);
        let before = self.slots[slot];
        self.slots[slot] = self.next_number();
        self.keys.push(key);
        self.grow_if_full();
        (before != EMPTY).then_some(before)
    }

    fn next_number(&self) -> u32 {
        u32::try_from(self.keys.len()).expect("a memory part is frozen long before it has 2^32 keys")
    }

    /// The slot that holds the key, or the empty one where it belongs.
    fn probe(&self, key: u64) -> usize {
        let mut slot = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        loop {
            let number = self.slots[slot];
            if number == EMPTY || self.keys[number as usize] == key {
                return slot;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    fn grow_if_full(&mut self) {
        if self.keys.len() * 3 < self.slots.len() * 2 {
            return;
        }
        self.slots = vec![EMPTY; self.slots.len() * 2];
        self.shift -= 1;
        for number in 0..self.keys.len() {
            let slot = self.probe(self.keys[number]);
            self.slots[slot] = number as u32;
        }
    }
}

/// Ascending numbers: up to three in place, more on the heap.
pub(super) enum Postings {
    Few(u8, [u32; 3]),
    Many(Vec<u32>),
}

impl Postings {
    pub(super) fn new() -> Postings {
        Postings::Few(0, [0; 3])
    }

    /// Adds a number that is not below the last one; the last one again is left out.
    pub(super) fn push(&mut self, number: u32) {
        if self.as_slice().last() == Some(&number) {
            return;
        }
        match self {
            Postings::Few(len, few) if (*len as usize) < few.len() => {
                few[*len as usize] = number;
                *len += 1;
            }
            Postings::Few(_, few) => {
                let mut many = Vec::with_capacity(8);
                many.extend_from_slice(few);
                many.push(number);
                *self = Postings::Many(many);
            }
            Postings::Many(many) => many.push(number),
        }
    }

    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Postings::Few(len, few) => &few[..*len as usize],
            Postings::Many(many) => many,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn keys_keep_their_numbers_while_the_table_grows() {
        let mut table = KeyTable::new();
        let mut model = HashMap::new();
        for i in 0..10_000u64 {
            let key = (i * i) % 4_001;
            let (number, new) = table.find_or_add(key);
            let next = model.len() as u32;
            assert_eq!(*model.entry(key).or_insert(next), number);
            assert_eq!(new, number == next);
        }
        for (key, number) in &model {
            assert_eq!(table.find(*key), Some(*number));
            assert_eq!(table.keys()[*number as usize], *key);
        }
        assert_eq!(table.find(u64::MAX), None);
    }

    #[test]
    fn the_newest_number_of_a_repeated_key_survives_growth() {
        let mut table = KeyTable::new();
        let mut newest = HashMap::new();
        for number in 0..5_000u32 {
            let key = u64::from(number) % 1_000;
            assert_eq!(table.add_newest(key), newest.insert(key, number));
        }
        for (key, number) in newest {
            assert_eq!(table.find(key), Some(number));
        }
    }

    #[test]
    fn postings_are_small_and_drop_repetitions() {
        assert_eq!(size_of::<Postings>(), 24);
        let mut postings = Postings::new();
        for number in [3, 3, 4, 9, 9, 12, 40] {
            postings.push(number);
        }
        assert_eq!(postings.as_slice(), [3, 4, 9, 12, 40]);
    }
}
