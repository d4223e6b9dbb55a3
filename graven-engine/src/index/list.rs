//! Ascending posting lists of a part, wherever they lie, and cursors that seek through them in either direction.

use super::packed::{BLOCK_POSTINGS, Packed};
use graven_model::Direction;

/// Ascending positions relative to the part's base.
pub(super) enum List<'a> {
    /// In memory.
    Plain(&'a [u32]),
    /// In a file.
    Packed(Packed<'a>),
    /// All positions below a number.
    Every(u32),
}

impl List<'_> {
    pub(super) fn len(&self) -> u32 {
        match self {
            List::Plain(postings) => postings.len() as u32,
            List::Packed(packed) => packed.count(),
            List::Every(end) => *end,
        }
    }

    /// Calls `visit` with every posting until it answers with an error.
    pub(super) fn try_for_each<E>(&self, mut visit: impl FnMut(u32) -> Result<(), E>) -> Result<(), E> {
        match self {
            List::Plain(postings) => postings.iter().try_for_each(|&posting| visit(posting)),
            List::Packed(packed) => {
                let mut block = Vec::new();
                for number in 0..packed.blocks() {
                    packed.decode(number, &mut block);
                    block.iter().try_for_each(|&posting| visit(posting))?;
                }
                Ok(())
            }
            List::Every(end) => (0..*end).try_for_each(visit),
        }
    }

    /// How many postings are below `limit`.
    pub(super) fn count_below(&self, limit: u32) -> u32 {
        match self {
            List::Plain(postings) => least(postings, 0, limit) as u32,
            List::Packed(packed) => {
                let blocks = first_not(packed.blocks(), |block| packed.block_first(block) < limit);
                let Some(block) = blocks.checked_sub(1) else { return 0 };
                let mut postings = Vec::new();
                packed.decode(block, &mut postings);
                block * BLOCK_POSTINGS + least(&postings, 0, limit) as u32
            }
            List::Every(end) => limit.min(*end),
        }
    }

    /// The posting that so many others come before.
    pub(super) fn nth(&self, number: u32) -> Option<u32> {
        match self {
            List::Plain(postings) => postings.get(number as usize).copied(),
            List::Packed(packed) => {
                let mut postings = Vec::new();
                packed.decode(number / BLOCK_POSTINGS, &mut postings);
                postings.get((number % BLOCK_POSTINGS) as usize).copied()
            }
            List::Every(end) => (number < *end).then_some(number),
        }
    }

    /// The newest posting below `limit`.
    pub(super) fn last_below(self, limit: u32) -> Option<u32> {
        Cursor::new(self, Direction::Backward).seek(limit.checked_sub(1)?)
    }
}

/// Seeks through a list in one direction; targets must not turn back.
pub(super) struct Cursor<'a> {
    list: List<'a>,
    direction: Direction,
    /// Answer of the last seek; still right while the target has not passed it.
    found: Option<u32>,
    /// Forward: everything before it was passed. Backward: everything from it on was passed.
    at: usize,
    block: Option<u32>,
    decoded: Vec<u32>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(list: List<'a>, direction: Direction) -> Cursor<'a> {
        let at = match (&list, direction) {
            (List::Plain(postings), Direction::Backward) => postings.len(),
            _ => 0,
        };
        Cursor { list, direction, found: None, at, block: None, decoded: Vec::new() }
    }

    /// Forward: the least posting that is not below the target. Backward: the greatest that is not above it.
    pub(super) fn seek(&mut self, target: u32) -> Option<u32> {
        match (self.direction, self.found) {
            (Direction::Forward, Some(found)) if found >= target => return self.found,
            (Direction::Backward, Some(found)) if found <= target => return self.found,
            _ => {}
        }
        self.found = match (&self.list, self.direction) {
            (List::Plain(postings), Direction::Forward) => {
                self.at = least(postings, self.at, target);
                postings.get(self.at).copied()
            }
            (List::Plain(postings), Direction::Backward) => {
                self.at = greatest(postings, self.at, target);
                self.at.checked_sub(1).map(|last| postings[last])
            }
            (List::Packed(packed), Direction::Forward) => {
                let packed = *packed;
                self.seek_packed_forward(packed, target)
            }
            (List::Packed(packed), Direction::Backward) => {
                let packed = *packed;
                self.seek_packed_backward(packed, target)
            }
            (List::Every(end), Direction::Forward) => (target < *end).then_some(target),
            (List::Every(end), Direction::Backward) => end.checked_sub(1).map(|last| last.min(target)),
        };
        self.found
    }

    fn seek_packed_forward(&mut self, packed: Packed<'a>, target: u32) -> Option<u32> {
        let mut block = match self.block {
            Some(block) if self.decoded.last().is_some_and(|&last| last >= target) => block,
            Some(block) => self.forward_to(packed, block + 1, target)?,
            None => self.forward_to(packed, 0, target)?,
        };
        loop {
            self.at = least(&self.decoded, self.at, target);
            if let Some(&found) = self.decoded.get(self.at) {
                return Some(found);
            }
            block += 1;
            self.load(packed, block)?;
        }
    }

    /// Decodes the block at or after `from` in which the target belongs.
    fn forward_to(&mut self, packed: Packed<'a>, from: u32, target: u32) -> Option<u32> {
        let after = gallop(from, packed.blocks(), |block| packed.block_first(block) <= target);
        let block = if after > from { after - 1 } else { from };
        self.load(packed, block)?;
        Some(block)
    }

    fn seek_packed_backward(&mut self, packed: Packed<'a>, target: u32) -> Option<u32> {
        let here = self.block.is_some() && self.decoded.first().is_some_and(|&first| first <= target);
        if !here {
            let end = self.block.unwrap_or(packed.blocks());
            // Counts from the end, so that a short step back looks at few entries.
            let passed = gallop(0, end, |back| packed.block_first(end - 1 - back) > target);
            self.load(packed, end.checked_sub(passed + 1)?)?;
            self.at = self.decoded.len();
        }
        self.at = greatest(&self.decoded, self.at, target);
        self.at.checked_sub(1).and_then(|last| self.decoded.get(last).copied())
    }

    fn load(&mut self, packed: Packed<'a>, block: u32) -> Option<()> {
        if block >= packed.blocks() {
            return None;
        }
        packed.decode(block, &mut self.decoded);
        self.block = Some(block);
        self.at = 0;
        Some(())
    }
}

/// First index below `end` for which `before` is false; the true ones come first.
fn first_not(end: u32, before: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// First index in `from..end` for which `before` is false; the true ones come first. Looks near `from` first.
pub(super) fn gallop(from: u32, end: u32, before: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut step) = (from, 1);
    while low < end && before(low + (step - 1).min(end - 1 - low)) {
        low = low.saturating_add(step).min(end);
        step = step.saturating_mul(2);
    }
    let high = low.saturating_add(step - 1).min(end);
    low + first_not(high.saturating_sub(low), |index| before(low + index))
}

/// Index of the first element at or after `from` that is not below the target.
fn least(postings: &[u32], from: usize, target: u32) -> usize {
    gallop(from as u32, postings.len() as u32, |index| postings[index as usize] < target) as usize
}

/// Number of elements among the first `end` that are not above the target.
fn greatest(postings: &[u32], end: usize, target: u32) -> usize {
    end - gallop(0, end as u32, |back| postings[end - 1 - back as usize] > target) as usize
}

#[cfg(test)]
mod tests {
    use super::super::packed::PackedWriter;
    use super::*;
    use proptest::prelude::*;

    fn pack(postings: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = PackedWriter::begin(postings.len() as u32, &mut bytes);
        for &posting in postings {
            assert!(writer.push(posting, &mut bytes));
        }
        assert!(writer.end(&mut bytes));
        bytes
    }

    fn walk(list: List, direction: Direction, targets: &[u32]) -> Vec<Option<u32>> {
        let mut cursor = Cursor::new(list, direction);
        targets.iter().map(|&target| cursor.seek(target)).collect()
    }

    proptest! {
        #[test]
        fn cursors_find_what_a_search_finds(
            steps in prop::collection::vec(prop_oneof![4 => 1..3u32, 1 => 1..5_000u32, 1 => 1..2_000_000u32], 0..700),
            mut targets in prop::collection::vec(0..3_000u32, 0..60),
            scale in prop_oneof![Just(1u32), Just(40), Just(100_000)],
        ) {
            let mut next = 0u32;
            let postings: Vec<u32> = steps.iter().map(|step| { next += step; next - 1 }).collect();
            let bytes = pack(&postings);
            let packed = Packed::new(&bytes);
            prop_assert_eq!(packed.count() as usize, postings.len());
            let mut all = Vec::new();
            List::Packed(packed).try_for_each(|posting| { all.push(posting); Ok::<(), ()>(()) }).unwrap();
            prop_assert_eq!(&all, &postings);
            for target in &mut targets {
                *target *= scale;
                let below = postings.iter().copied().filter(|p| p < target).max();
                prop_assert_eq!(List::Packed(packed).last_below(*target), below);
                prop_assert_eq!(List::Plain(&postings).last_below(*target), below);
                let count = postings.iter().filter(|p| *p < target).count() as u32;
                prop_assert_eq!(List::Packed(packed).count_below(*target), count);
                prop_assert_eq!(List::Plain(&postings).count_below(*target), count);
            }
            for number in (0..postings.len() + 2).step_by(1 + postings.len() / 50) {
                let expected = postings.get(number).copied();
                prop_assert_eq!(List::Packed(packed).nth(number as u32), expected);
                prop_assert_eq!(List::Plain(&postings).nth(number as u32), expected);
            }
            targets.sort_unstable();
            let expected: Vec<_> =
                targets.iter().map(|t| postings.iter().copied().find(|p| p >= t)).collect();
            prop_assert_eq!(walk(List::Packed(packed), Direction::Forward, &targets), expected.clone());
            prop_assert_eq!(walk(List::Plain(&postings), Direction::Forward, &targets), expected);
            targets.reverse();
            let expected: Vec<_> =
                targets.iter().map(|t| postings.iter().copied().rev().find(|p| p <= t)).collect();
            prop_assert_eq!(walk(List::Packed(packed), Direction::Backward, &targets), expected.clone());
            prop_assert_eq!(walk(List::Plain(&postings), Direction::Backward, &targets), expected);
        }

        #[test]
        fn bytes_that_are_no_list_end_early_and_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let packed = Packed::new(&bytes);
            let mut seen = 0u64;
            List::Packed(packed).try_for_each(|_| { seen += 1; Ok::<(), ()>(()) }).unwrap();
            prop_assert!(seen <= u64::from(packed.count()));
            for direction in [Direction::Forward, Direction::Backward] {
                walk(List::Packed(packed), direction, &[7]);
            }
            for number in [0, 1, 127, 128, u32::MAX] {
                prop_assert!(List::Packed(packed).count_below(number) <= packed.count());
                List::Packed(packed).nth(number);
            }
        }
    }

    #[test]
    fn every_position_is_found_up_to_the_end() {
        assert_eq!(walk(List::Every(3), Direction::Forward, &[0, 2, 3]), [Some(0), Some(2), None]);
        assert_eq!(walk(List::Every(3), Direction::Backward, &[9, 1]), [Some(2), Some(1)]);
        assert_eq!(walk(List::Every(0), Direction::Backward, &[9]), [None]);
        assert_eq!((List::Every(3).count_below(2), List::Every(3).count_below(9)), (2, 3));
        assert_eq!((List::Every(3).nth(2), List::Every(3).nth(3)), (Some(2), None));
    }
}
