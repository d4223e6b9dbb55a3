//! The postings of one stream key in one part, and which of them a read wants.

use graven_model::Direction;
use std::ops::Range;

/// Where a read of a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamFrom {
    /// With this revision.
    Revision(u64),
    /// With the event that follows this log position in the direction of the read.
    After(u64),
    /// With the first event forward, with the last one backward.
    End,
}

/// What a part knows of a stream key beside its postings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamKey {
    /// Revision of the first posting.
    pub(super) first_revision: u64,
    /// The revisions are not consecutive: two streams share the key.
    pub(super) mixed: bool,
}

impl StreamKey {
    pub(super) fn starting_at(first_revision: u64) -> StreamKey {
        StreamKey { first_revision, mixed: false }
    }

    /// Takes note that the posting after `count` others has this revision.
    pub(super) fn continue_with(&mut self, count: u64, revision: u64) {
        if self.first_revision.checked_add(count) != Some(revision) {
            self.mixed = true;
        }
    }
}

/// The postings of a stream key in one part, ascending.
#[derive(Clone, Copy)]
pub(super) struct StreamList<'a> {
    pub(super) key: StreamKey,
    postings: Postings<'a>,
}

#[derive(Clone, Copy)]
enum Postings<'a> {
    Memory(&'a [u32]),
    /// u32 LE.
    File(&'a [u8]),
}

impl<'a> StreamList<'a> {
    pub(super) fn in_memory(key: StreamKey, postings: &'a [u32]) -> StreamList<'a> {
        StreamList { key, postings: Postings::Memory(postings) }
    }

    pub(super) fn in_file(key: StreamKey, postings: &'a [u8]) -> StreamList<'a> {
        StreamList { key, postings: Postings::File(postings) }
    }

    pub(super) fn len(&self) -> usize {
        match self.postings {
            Postings::Memory(postings) => postings.len(),
            Postings::File(bytes) => bytes.len() / 4,
        }
    }

    /// # Panics
    /// If there are not so many.
    pub(super) fn at(&self, index: usize) -> u32 {
        match self.postings {
            Postings::Memory(postings) => postings[index],
            Postings::File(bytes) => {
                let (numbers, _) = bytes.as_chunks::<4>();
                u32::from_le_bytes(numbers[index])
            }
        }
    }

    /// Indexes of the postings a read wants, given the part's base and the first position (relative) it must not see.
    pub(super) fn wanted(
        &self,
        from: StreamFrom,
        direction: Direction,
        base: u64,
        limit: u32,
    ) -> Range<usize> {
        let visible = self.count(|position| position < limit);
        let first = self.key.first_revision;
        let count = |revisions: u64| usize::try_from(revisions).unwrap_or(usize::MAX).min(visible);
        match (direction, from) {
            (_, StreamFrom::End) => 0..visible,
            (_, StreamFrom::Revision(_)) if self.key.mixed => 0..visible,
            (Direction::Forward, StreamFrom::Revision(from)) => count(from.saturating_sub(first))..visible,
            (Direction::Backward, StreamFrom::Revision(from)) => {
                0..from.checked_sub(first).map_or(0, |distance| count(distance.saturating_add(1)))
            }
            (Direction::Forward, StreamFrom::After(after)) => {
                self.count(|position| base + u64::from(position) <= after).min(visible)..visible
            }
            (Direction::Backward, StreamFrom::After(after)) => {
                0..self.count(|position| base + u64::from(position) < after).min(visible)
            }
        }
    }

    /// How many postings come before the first one that is not `before`.
    fn count(&self, before: impl Fn(u32) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        if high > 0 && before(self.at(high - 1)) {
            return high;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.at(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}
