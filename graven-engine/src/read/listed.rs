//! Events of a category, of a type, or that began a stream, by number: the lists the index keeps anyway, read as if each
//! were a stream.

use crate::append::{Shared, Sources};
use crate::index::{Item, Term, TermQuery};
use crate::log::frame::Record;
use crate::log::reader::Reader;
use graven_model::{
    Code, Direction, Error, EventRef, Position, Result, Selector, Start, StreamName, Text, limits,
};
use std::sync::Arc;

/// Events that are numbered from 0 in the order of the log. An event keeps its number for ever: none of them leaves the list,
/// not even one that readers of its stream no longer see. A number may belong to no event: a name that shares its 64-bit key
/// with another one shares the numbers, too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventList {
    /// The events of all streams of a category.
    Category(Text),
    /// The events of a type.
    Type(Text),
    /// The first event of every stream.
    FirstEvents,
}

impl EventList {
    /// The list of a selector that has one: a category, or a single type.
    #[must_use]
    pub fn of(selector: &Selector) -> Option<EventList> {
        match selector {
            Selector::Category(name) => Some(EventList::Category(name.clone())),
            Selector::Types(names) => match &names[..] {
                [name] => Some(EventList::Type(name.clone())),
                _ => None,
            },
            _ => None,
        }
    }

    fn term(&self, sources: &Sources) -> Term {
        match self {
            EventList::Category(name) => Term::Category(sources.hasher.category(name)),
            EventList::Type(name) => Term::Type(sources.hasher.event_type(name)),
            EventList::FirstEvents => Term::Births,
        }
    }

    fn query(&self, sources: &Sources) -> TermQuery {
        let item = match self.term(sources) {
            Term::Category(key) => Item { category: Some(key), ..Item::default() },
            Term::Type(key) => Item { types: vec![key], ..Item::default() },
            _ => Item { births: true, ..Item::default() },
        };
        TermQuery { items: vec![item] }
    }

    fn holds(&self, record: &Record<'_>) -> bool {
        match self {
            EventList::Category(name) => graven_model::ids::category_of(record.stream) == Some(name),
            EventList::Type(name) => record.event_type == &**name,
            EventList::FirstEvents => record.revision == 0,
        }
    }
}

/// How many events of a selector stand below a position.
///
/// # Errors
/// [`Code::InvalidStart`] for a selector whose events are not numbered.
pub(crate) fn rank(shared: &Shared, selector: &Selector, below: Position) -> Result<u64> {
    let below = below.0.min(shared.head());
    match selector {
        Selector::All => Ok(below),
        other => Ok(shared.sources.index.rank(listed(other)?.term(&shared.sources), below)),
    }
}

/// The position of the event of a selector that so many others come before.
///
/// # Errors
/// As [`rank`].
pub(crate) fn nth(shared: &Shared, selector: &Selector, number: u64) -> Result<Option<Position>> {
    let head = shared.head();
    let position = match selector {
        Selector::All => Some(number).filter(|number| *number < head),
        other => shared.sources.index.nth(listed(other)?.term(&shared.sources), number, head),
    };
    Ok(position.map(Position))
}

fn listed(selector: &Selector) -> Result<EventList> {
    EventList::of(selector).ok_or_else(|| {
        Error::new(Code::InvalidStart, "the events of this selector are not numbered")
            .expected("all events, a category, or a single type")
    })
}

/// A read of a list by number, page by page. It ends at the head it saw when it began, or was told of last.
pub struct ListReading {
    shared: Arc<Shared>,
    list: EventList,
    query: TermQuery,
    direction: Direction,
    /// Number of the next candidate, and a position beyond which, in the direction of the read, it stands.
    next: Option<(u64, u64)>,
    /// Numbers below it are passed over.
    first: u64,
    /// Positions from here on are not looked at.
    end: u64,
}

/// Candidates fetched in one step.
const STEP: usize = 512;

impl ListReading {
    /// Begins a read. `from` counts the numbers of the list as revisions; a time is no place in it.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        list: EventList,
        from: Start,
        direction: Direction,
    ) -> Result<ListReading> {
        let (index, end) = (&shared.sources.index, shared.head());
        let term = list.term(&shared.sources);
        let mut first = 0;
        let last_of = |below: u64| Some((index.rank(term, below).checked_sub(1)?, below.checked_sub(1)?));
        let next = match (direction, from) {
            (Direction::Forward, Start::Start) => Some((0, 0)),
            (Direction::Forward, Start::End) => Some((index.rank(term, end), end)),
            (Direction::Forward, Start::Position(from)) => {
                let from = from.0.min(end);
                Some((index.rank(term, from), from))
            }
            (Direction::Forward, Start::Revision(number)) => match index.nth(term, number.0, end) {
                Some(position) => Some((number.0, position)),
                None => {
                    first = number.0;
                    Some((index.rank(term, end), end))
                }
            },
            (Direction::Backward, Start::Start) => None,
            (Direction::Backward, Start::End) => last_of(end),
            (Direction::Backward, Start::Position(from)) => last_of(from.0.saturating_add(1).min(end)),
            (Direction::Backward, Start::Revision(number)) => match index.nth(term, number.0, end) {
                Some(position) => Some((number.0, position)),
                None => last_of(end),
            },
            (_, Start::Time(_)) => {
                return Err(Error::new(Code::InvalidStart, "a list of events is not read from a time")
                    .expected("the start, the end, a number or a position"));
            }
        };
        let query = list.query(&shared.sources);
        Ok(ListReading { shared: Arc::clone(shared), list, query, direction, next, first, end })
    }

    /// How many numbers were given away below the end of the read.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.shared.sources.index.rank(self.list.term(&self.shared.sources), self.end)
    }

    /// Number of the next event forwards, if there will be one.
    #[must_use]
    pub fn next_number(&self) -> Option<u64> {
        self.next.map(|(number, _)| number.max(self.first))
    }

    /// Positions below this were there when the read began, or was told of later ones.
    #[must_use]
    pub fn end(&self) -> Position {
        Position(self.end)
    }

    /// Lets a read forwards go on to the head as it is now.
    pub fn reach_head(&mut self) {
        self.end = self.shared.head();
    }

    /// Hands the next events to `each`, in order, with their numbers, where they lie in memory: at most so many, of at most so
    /// many bytes but for the first, and fewer after a bounded amount of work. False at the end. Reads files.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with file and byte, [`Code::Io`]. Some events may have been handed out before.
    pub fn next(
        &mut self,
        events_max: usize,
        bytes_max: usize,
        mut each: impl FnMut(u64, &EventRef<'_>) -> Result<()>,
    ) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let sources = &shared.sources;
        let mut reader = Reader::new(&sources.log);
        let (mut events, mut bytes, mut looked_at) = (0, 0, 0);
        let (mut candidates, mut offsets) = (Vec::new(), Vec::new());
        let bytes_max = bytes_max.clamp(1, limits::PAGE_BYTES_MAX);
        while let Some((_, from)) = self.next {
            if events >= events_max.max(1) || bytes >= bytes_max || looked_at >= limits::PAGE_SCAN_MAX {
                return Ok(true);
            }
            candidates.clear();
            let step = STEP.min(events_max - events).max(1);
            let more =
                sources.index.query(&self.query, from, self.direction, self.end, step, &mut candidates);
            offsets.clear();
            sources.index.offsets(&candidates, &mut offsets);
            for (position, offset) in candidates.iter().zip(&offsets) {
                let Some((number, _)) = self.next else { break };
                looked_at += 1;
                let peeked = reader.peek(*position, *offset)?;
                let record = peeked.record()?;
                if number >= self.first && self.list.holds(&record) {
                    let event = record.event(peeked.position, peeked.commit_time);
                    let hidden = if record.sealed { record.data.len() + record.metadata.len() } else { 0 };
                    let size = event.size_bytes() + hidden;
                    if events > 0 && bytes + size > bytes_max {
                        return Ok(true);
                    }
                    StreamName::check(event.stream)
                        .map_err(|_| peeked.damaged("the record names a stream that cannot be"))?;
                    if record.sealed {
                        let unsealed = sources.subjects.unseal(&record, peeked.position)?;
                        each(number, &unsealed.show(event, &record))?;
                    } else {
                        each(number, &event)?;
                    }
                    events += 1;
                    bytes += size;
                }
                self.pass(number, *position);
            }
            match (more, self.direction) {
                (Some(position), _) => self.next = self.next.map(|(number, _)| (number, position)),
                (None, Direction::Forward) => {
                    self.next = self.next.map(|(number, _)| (number, self.end));
                    return Ok(false);
                }
                (None, Direction::Backward) => self.next = None,
            }
        }
        Ok(false)
    }

    /// Goes beyond a candidate.
    fn pass(&mut self, number: u64, position: u64) {
        self.next = match self.direction {
            Direction::Forward => Some((number + 1, position + 1)),
            Direction::Backward => number.checked_sub(1).zip(position.checked_sub(1)),
        };
    }
}
