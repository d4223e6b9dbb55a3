//! Lookups of one thing: an offset, a stream, a tombstone, an id, the newest event of a term.

use super::list::List;
use super::memory::{Memory, Terms};
use super::part::Part;
use super::streams::StreamList;
use super::{Index, PartSet, StreamFrom, Term};
use graven_model::Direction;
use std::ops::ControlFlow;

/// Answer of [`Index::offsets`] for a position that is not indexed.
pub(crate) const NO_OFFSET: u32 = u32::MAX;

impl Index {
    /// Offset of the record of an event within its segment; also of events that are not durable yet.
    pub(crate) fn offset(&self, position: u64) -> Option<u32> {
        let set = self.shared.set();
        set.visit_part_of(position, |view| view.offset(relative(position, view.base())?))
    }

    /// Offsets of many events, in the order of `positions`; [`NO_OFFSET`] for what is not indexed. Cheapest if
    /// neighbours lie close together.
    pub(crate) fn offsets(&self, positions: &[u64], out: &mut Vec<u32>) {
        let set = self.shared.set();
        out.reserve(positions.len());
        let mut rest = positions;
        while let Some(&first) = rest.first() {
            let before = out.len();
            set.visit_part_of(first, |view| {
                for &position in rest {
                    match relative(position, view.base()).and_then(|relative| view.offset(relative)) {
                        Some(offset) => out.push(offset),
                        None => break,
                    }
                }
                Some(())
            });
            if out.len() == before {
                out.push(NO_OFFSET);
            }
            rest = &rest[out.len() - before..];
        }
    }

    /// Candidates for the events of a stream from `from` on, at most `max`, in the direction's order. Parts whose
    /// revisions are consecutive answer from exactly the revision asked for; parts in which two streams share the
    /// key answer with all they have.
    pub(crate) fn stream(
        &self,
        key: u64,
        from: StreamFrom,
        direction: Direction,
        below: u64,
        max: usize,
        out: &mut Vec<u64>,
    ) {
        let full = out.len().saturating_add(max);
        let set = self.shared.set();
        set.visit(direction, |view| {
            let base = view.base();
            let outside = match (direction, from) {
                (Direction::Forward, StreamFrom::After(after)) => view.end() <= after,
                (Direction::Backward, StreamFrom::After(after)) => base >= after,
                _ => false,
            };
            let Some(list) = view.stream(key).filter(|_| !outside && base < below) else {
                return ControlFlow::Continue(());
            };
            let wanted = list.wanted(from, direction, base, view.limit(below));
            let mut push = |index| {
                if out.len() >= full {
                    return ControlFlow::Break(());
                }
                view.push(list.at(index), out);
                ControlFlow::Continue(())
            };
            match direction {
                Direction::Forward => wanted.into_iter().try_for_each(&mut push),
                Direction::Backward => wanted.rev().try_for_each(&mut push),
            }
        });
    }

    /// Candidates for the tombstone of a stream, oldest first.
    pub(crate) fn tombstone(&self, key: u64, below: u64, out: &mut Vec<u64>) {
        self.shared.set().visit(Direction::Forward, |view| {
            let limit = view.limit(below);
            let found = view.list(Terms::Tombstone, key).try_for_each(|position| {
                if position >= limit {
                    return Err(());
                }
                view.push(position, out);
                Ok(())
            });
            // An error is only the end of what may be seen.
            found.map_or(ControlFlow::Break(()), ControlFlow::Continue)
        });
    }

    /// Candidates for an id in a stream (key by [`super::Hasher::id`]), newest first.
    pub(crate) fn id(&self, key: u64, below: u64, out: &mut Vec<u64>) {
        self.shared.set().visit(Direction::Backward, |view| {
            let limit = view.limit(below);
            let mut push = |position: u32| {
                if position < limit {
                    view.push(position, out);
                }
            };
            match view {
                View::Memory(memory, _) => memory.id(key).for_each(&mut push),
                View::Sealed(part) => part.id(key).for_each(&mut push),
            }
            ControlFlow::Continue(())
        });
    }

    /// Candidates for an id in any stream, at most `max`, oldest first. Looks at every id in memory.
    pub(crate) fn id_prefix(&self, key: u64, below: u64, max: usize, out: &mut Vec<u64>) {
        let full = out.len().saturating_add(max);
        self.shared.set().visit(Direction::Forward, |view| {
            let (limit, room) = (view.limit(below), full - out.len());
            let mut least = Vec::new();
            match view {
                View::Memory(memory, _) => {
                    least.extend(memory.id_prefix(key).take_while(|&position| position < limit).take(room));
                }
                View::Sealed(part) => {
                    for position in part.id_prefix(key).filter(|&position| position < limit) {
                        least.push(position);
                        if least.len() >= room.saturating_mul(2).max(1_024) {
                            least.sort_unstable();
                            least.truncate(room);
                        }
                    }
                    least.sort_unstable();
                    least.truncate(room);
                }
            }
            least.into_iter().for_each(|position| view.push(position, out));
            if out.len() >= full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }

    /// Newest candidate for an event of a term, without a scan.
    pub(crate) fn last(&self, term: Term, below: u64) -> Option<u64> {
        let (terms, key) = term.parts();
        let mut found = None;
        self.shared.set().visit(Direction::Backward, |view| {
            let last = view.list(terms, key).last_below(view.limit(below));
            match last.filter(|&position| position < view.events()) {
                Some(position) => {
                    found = Some(view.base() + u64::from(position));
                    ControlFlow::Break(())
                }
                None => ControlFlow::Continue(()),
            }
        });
        found
    }

    /// Candidates there are for the events of a term, durable or not.
    #[cfg(test)]
    pub(crate) fn count(&self, term: Term) -> u64 {
        let (terms, key) = term.parts();
        let mut count = 0;
        self.shared.set().visit(Direction::Backward, |view| {
            count += u64::from(view.list(terms, key).len());
            ControlFlow::Continue(())
        });
        count
    }
}

fn relative(position: u64, base: u64) -> Option<u32> {
    u32::try_from(position.checked_sub(base)?).ok()
}

impl PartSet {
    /// Calls `visit` with one part after another, oldest or newest first, until it breaks off.
    pub(super) fn visit(&self, direction: Direction, mut visit: impl FnMut(&View) -> ControlFlow<()>) {
        for number in 0..self.parts() {
            let number = match direction {
                Direction::Forward => number,
                Direction::Backward => self.parts() - 1 - number,
            };
            if self.with_part(number, &mut visit).is_break() {
                return;
            }
        }
    }

    /// Number of parts, in files and in memory.
    pub(super) fn parts(&self) -> usize {
        self.sealed.len() + self.memory.len()
    }

    /// Position of the first event of a part; parts are numbered from the oldest.
    pub(super) fn base(&self, number: usize) -> u64 {
        match self.sealed.get(number) {
            Some(part) => part.base(),
            None => self.memory[number - self.sealed.len()].base,
        }
    }

    /// Looks into a part; one in memory is locked meanwhile.
    pub(super) fn with_part<T>(&self, number: usize, visit: impl FnOnce(&View) -> T) -> T {
        match self.sealed.get(number) {
            Some(part) => visit(&View::Sealed(part)),
            None => {
                let part = &self.memory[number - self.sealed.len()];
                visit(&View::Memory(&part.data.read(), part.base))
            }
        }
    }

    /// Number of the part in which a position lies, or would lie.
    pub(super) fn part_of(&self, position: u64) -> usize {
        let sealed_end = self.memory.first().map_or(0, |part| part.base);
        let after = if position < sealed_end {
            self.sealed.partition_point(|part| part.base() <= position)
        } else {
            self.sealed.len() + self.memory.partition_point(|part| part.base <= position)
        };
        after.saturating_sub(1)
    }

    fn visit_part_of<T>(&self, position: u64, visit: impl FnOnce(&View) -> Option<T>) -> Option<T> {
        self.with_part(self.part_of(position), visit)
    }
}

/// A part, wherever it lies.
pub(super) enum View<'a> {
    /// With its base.
    Memory(&'a Memory, u64),
    Sealed(&'a Part),
}

impl View<'_> {
    pub(super) fn base(&self) -> u64 {
        match self {
            View::Memory(_, base) => *base,
            View::Sealed(part) => part.base(),
        }
    }

    pub(super) fn events(&self) -> u32 {
        match self {
            View::Memory(memory, _) => memory.events(),
            View::Sealed(part) => part.events(),
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.base() + u64::from(self.events())
    }

    /// `below` as a relative position, at most the number of events.
    pub(super) fn limit(&self, below: u64) -> u32 {
        below.saturating_sub(self.base()).min(u64::from(self.events())) as u32
    }

    fn offset(&self, position: u32) -> Option<u32> {
        match self {
            View::Memory(memory, _) => memory.offsets().get(position as usize).copied(),
            View::Sealed(part) => part.offset(position),
        }
    }

    fn stream(&self, key: u64) -> Option<StreamList<'_>> {
        match self {
            View::Memory(memory, _) => memory.stream(key),
            View::Sealed(part) => part.stream(key),
        }
    }

    pub(super) fn list(&self, terms: Terms, key: u64) -> List<'_> {
        match self {
            View::Memory(memory, _) => memory.list(terms, key),
            View::Sealed(part) => part.list(terms, key),
        }
    }

    /// Adds a relative position to an answer; a damaged file's nonsense is left out.
    pub(super) fn push(&self, position: u32, out: &mut Vec<u64>) {
        if position < self.events() {
            out.push(self.base() + u64::from(position));
        }
    }
}
