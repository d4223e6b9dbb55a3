//! What the writer can find out: events by id, by revision, by query, whether in the log or on their way into it.

use super::names::Slot;
use super::prepare::Hashed;
use crate::audit::{Erasing, SubjectKeys, Tiles};
use crate::index::{Hasher, Index, Item, StreamFrom, Term, TermQuery};
use crate::log::Log;
use crate::log::frame::Subject;
use crate::log::reader::Reader;
use crate::store::Options;
use graven_model::{
    AppendRequest, Code, Condition, Direction, Error, EventId, Kind, NewEvent, Position, Query, Result,
    StreamName,
};
use graven_proof::{Hash, leaf};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

/// The request an event comes from.
pub(crate) struct Source {
    pub(crate) request: AppendRequest,
    pub(crate) kind: Kind,
    pub(crate) hashed: Vec<Hashed>,
    /// Of the erasures under way when it was sealed.
    pub(crate) generation: u64,
    /// Where the writer keeps the heads of the request's streams, in their order.
    pub(crate) slots: Vec<Slot>,
}

/// An event that is encoded and not yet durable.
pub(crate) struct PendingEvent {
    pub(crate) source: Arc<Source>,
    /// Index in the source's events.
    pub(crate) index: u32,
    pub(crate) revision: u64,
    pub(crate) commit_time: i64,
}

impl PendingEvent {
    /// The event's stream and what the producer handed in.
    pub(crate) fn parts(&self) -> (&StreamName, &NewEvent) {
        let (stream, event) = &self.source.request.events[self.index as usize];
        (&self.source.request.streams[*stream as usize].stream, event)
    }
}

/// Events that are encoded and not yet durable, in order: those of batches on their way, then those of the batch being
/// made.
#[derive(Default)]
pub(crate) struct Pending {
    on_their_way: VecDeque<(u64, Arc<Vec<PendingEvent>>)>,
    first: u64,
    being_made: Vec<PendingEvent>,
    /// Positions from here on are not looked at; `None` for the writer, who sees everything.
    below: Option<u64>,
    /// What the lookups of this batch read last.
    reader: RefCell<Option<Reader>>,
}

impl Pending {
    /// Nothing pending, and nothing at or above `head` is seen: the view of a reader.
    pub(crate) fn none_below(head: u64) -> Pending {
        Pending { first: u64::MAX, below: Some(head), ..Pending::default() }
    }

    pub(crate) fn below(&self) -> u64 {
        self.below.unwrap_or(u64::MAX)
    }

    /// Begins a batch whose first event gets this position, and forgets what became durable.
    pub(crate) fn begin(&mut self, first: u64, durable: u64) {
        while self.on_their_way.front().is_some_and(|(first, events)| first + events.len() as u64 <= durable)
        {
            self.on_their_way.pop_front();
        }
        debug_assert!(self.being_made.is_empty());
        self.first = first;
    }

    pub(crate) fn push(&mut self, event: PendingEvent) {
        self.being_made.push(event);
    }

    /// Ends the batch being made.
    pub(crate) fn seal(&mut self) -> Arc<Vec<PendingEvent>> {
        // Bytes read ahead may be older than what is written next, and the segment it read last may be replaced by then.
        *self.reader.get_mut() = None;
        let events = Arc::new(std::mem::take(&mut self.being_made));
        if !events.is_empty() {
            self.on_their_way.push_back((self.first, Arc::clone(&events)));
        }
        events
    }

    fn get(&self, position: u64) -> Option<&PendingEvent> {
        if position >= self.first {
            return self.being_made.get((position - self.first) as usize);
        }
        self.on_their_way
            .iter()
            .rev()
            .find(|(first, _)| *first <= position)
            .and_then(|(first, events)| events.get((position - first) as usize))
    }
}

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: u64,
    pub(crate) revision: u64,
    pub(crate) commit_time: i64,
}

/// What a fact needs to know of an event.
pub(crate) struct View<'a> {
    pub(crate) stream: &'a str,
    pub(crate) id: [u8; 16],
    pub(crate) event_type: &'a str,
    pub(crate) has_tag: &'a dyn Fn(&str) -> bool,
    pub(crate) data: &'a [u8],
    pub(crate) place: Place,
    pub(crate) stream_salt: Option<[u8; 16]>,
    pub(crate) tag_salt: &'a dyn Fn(&str) -> Option<[u8; 16]>,
}

/// Name under which a data subject is indexed and keyed, apart from all tags.
pub(crate) fn subject_tag(subject: &str) -> String {
    format!("$subject/{subject}")
}

/// The stores a lookup goes to.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) log: Arc<Log>,
    pub(crate) index: Arc<Index>,
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) hasher: Arc<Hasher>,
    pub(crate) subjects: Arc<SubjectKeys>,
    pub(crate) erasing: Arc<Erasing>,
    pub(crate) audit: Audit,
}

/// Whether what is appended gets its audit trail. It always does, unless a measurement leaves it out.
#[derive(Clone, Copy)]
pub(crate) struct Audit {
    #[cfg(feature = "measure-without-audit")]
    left_out: bool,
}

impl Audit {
    /// True in every build but the bench's.
    #[inline]
    pub(crate) const fn is_on(self) -> bool {
        #[cfg(feature = "measure-without-audit")]
        return !self.left_out;
        #[cfg(not(feature = "measure-without-audit"))]
        true
    }
}

/// Candidates looked at in one step.
const STEP: usize = 64;

impl Sources {
    #[cfg_attr(
        not(feature = "measure-without-audit"),
        expect(unused_variables, reason = "says what to leave out")
    )]
    pub(crate) fn new(
        log: Arc<Log>,
        index: Arc<Index>,
        tiles: Arc<Tiles>,
        hasher: Arc<Hasher>,
        subjects: Arc<SubjectKeys>,
        options: &Options,
    ) -> Sources {
        let audit = Audit {
            #[cfg(feature = "measure-without-audit")]
            left_out: options.without_audit,
        };
        Sources { log, index, tiles, hasher, subjects, erasing: Arc::default(), audit }
    }

    /// Looks at the event at a position.
    pub(crate) fn view<T>(
        &self,
        pending: &Pending,
        position: u64,
        look: impl FnOnce(&View<'_>) -> T,
    ) -> Result<T> {
        if let Some(event) = pending.get(position) {
            let (stream, new) = event.parts();
            return Ok(look(&View {
                stream: stream.as_str(),
                id: new.id.0,
                event_type: &new.event_type,
                has_tag: &|tag| new.tags.iter().any(|own| &**own == tag),
                data: &new.data,
                place: Place { position, revision: event.revision, commit_time: event.commit_time },
                stream_salt: None,
                tag_salt: &|_| None,
            }));
        }
        let offset = self.offset(position)?;
        let mut reader = pending.reader.borrow_mut();
        let fetched = reader.get_or_insert_with(|| Reader::new(&self.log)).fetch(position, offset)?;
        drop(reader);
        let record = fetched.record()?;
        Ok(look(&View {
            stream: record.stream,
            id: record.id,
            event_type: record.event_type,
            has_tag: &|tag| record.tags.iter().any(|(own, _)| *own == tag),
            data: record.data,
            place: Place { position, revision: record.revision, commit_time: fetched.commit_time },
            stream_salt: record.stream_salt,
            tag_salt: &|tag| {
                let subject = match record.subject {
                    Some(Subject::Named(name, salt)) if subject_tag(name) == tag => salt,
                    _ => None,
                };
                record.tags.iter().find(|(own, _)| *own == tag).map_or(subject, |own| own.1)
            },
        }))
    }

    /// Byte offset of a position's record in its segment.
    pub(crate) fn offset(&self, position: u64) -> Result<u32> {
        self.index
            .offset(position)
            .ok_or_else(|| Error::new(Code::Internal, format!("the index does not know position {position}")))
    }

    /// The newest event with this id in this stream.
    pub(crate) fn find(&self, pending: &Pending, stream: &StreamName, id: EventId) -> Result<Option<Place>> {
        let key = self.hasher.id(&id.0, self.hasher.stream(stream.as_str()));
        let mut candidates = Vec::new();
        self.index.id(key, pending.below(), &mut candidates);
        for position in candidates {
            let place = self.view(pending, position, |view| {
                (view.id == id.0 && view.stream == stream.as_str()).then_some(view.place)
            })?;
            if place.is_some() {
                return Ok(place);
            }
        }
        Ok(None)
    }

    /// Calls `look` for the events of a stream from a place on until it gives something.
    pub(crate) fn scan_stream<T>(
        &self,
        pending: &Pending,
        stream: &str,
        from: StreamFrom,
        direction: Direction,
        mut look: impl FnMut(&View<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        let key = self.hasher.stream(stream);
        let mut from = from;
        loop {
            let mut candidates = Vec::new();
            // The first candidate nearly always is the one; more are only needed where hashes collide.
            let step = if matches!(from, StreamFrom::After(_)) { STEP } else { 1 };
            self.index.stream(key, from, direction, pending.below(), step, &mut candidates);
            let Some(last) = candidates.last().copied() else { return Ok(None) };
            for position in candidates {
                let found = self
                    .view(pending, position, |view| if view.stream == stream { look(view) } else { None })?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            from = StreamFrom::After(last);
        }
    }

    /// The event of a stream at a revision.
    pub(crate) fn at(
        &self,
        pending: &Pending,
        stream: &StreamName,
        revision: u64,
    ) -> Result<Option<(EventId, Place)>> {
        self.scan_stream(
            pending,
            stream.as_str(),
            StreamFrom::Revision(revision),
            Direction::Forward,
            |view| {
                (view.place.revision >= revision)
                    .then(|| (view.place.revision == revision).then_some((EventId(view.id), view.place)))
            },
        )
        .map(Option::flatten)
    }

    /// The stream's last event, its tombstone aside.
    pub(crate) fn last(&self, pending: &Pending, stream: &str) -> Result<Option<Place>> {
        self.scan_stream(pending, stream, StreamFrom::End, Direction::Backward, |view| Some(view.place))
    }

    /// Whether a stream has a tombstone.
    pub(crate) fn tombstone(&self, pending: &Pending, stream: &str) -> Result<Option<Place>> {
        let mut candidates = Vec::new();
        self.index.tombstone(self.hasher.stream(stream), pending.below(), &mut candidates);
        for position in candidates {
            let place = self.view(pending, position, |view| (view.stream == stream).then_some(view.place))?;
            if place.is_some() {
                return Ok(place);
            }
        }
        Ok(None)
    }

    /// The newest metadata of a stream, looked at.
    pub(crate) fn metadata<T>(
        &self,
        pending: &Pending,
        stream: &str,
        mut look: impl FnMut(&[u8]) -> T,
    ) -> Result<Option<T>> {
        let name = format!("$${stream}");
        self.scan_stream(pending, &name, StreamFrom::End, Direction::Backward, |view| Some(look(view.data)))
    }

    /// The salt of a stream's name, kept with its first event.
    pub(crate) fn stream_salt(&self, pending: &Pending, stream: &str) -> Result<Option<[u8; 16]>> {
        if !self.audit.is_on() {
            return Ok(Some([0; 16]));
        }
        self.scan_stream(pending, stream, StreamFrom::Revision(0), Direction::Forward, |view| {
            Some(view.stream_salt)
        })
        .map(Option::flatten)
    }

    /// The salt of a tag (or of a subject's tag name), kept with the first event that carries it.
    pub(crate) fn tag_salt(&self, pending: &Pending, tag: &str) -> Result<Option<[u8; 16]>> {
        Ok(self.salted_tag(pending, tag)?.map(|(_, salt)| salt))
    }

    /// As [`Sources::tag_salt`], with the position of that event. A name that was erased has none, though it may still stand
    /// somewhere.
    pub(crate) fn salted_tag(&self, pending: &Pending, tag: &str) -> Result<Option<(u64, [u8; 16])>> {
        if !self.audit.is_on() {
            return Ok(None);
        }
        let query = TermQuery { items: vec![Item { tags: vec![self.hasher.tag(tag)], ..Item::default() }] };
        self.scan_query(pending, &query, 0, |view| {
            let salt = (view.tag_salt)(tag)?;
            let forgotten = self.erasing.is_forgotten(&leaf::name_key(&salt, tag.as_bytes()));
            (!forgotten).then_some((view.place.position, salt))
        })
    }

    /// The first event after a position that matches a query.
    pub(crate) fn first_match(&self, pending: &Pending, condition: &Condition) -> Result<Option<Position>> {
        let from = condition.after.map_or(0, |after| after.0.saturating_add(1));
        let items: Vec<_> =
            condition.query.items.iter().filter(|item| self.may_match(item, from)).cloned().collect();
        if items.is_empty() {
            return Ok(None);
        }
        let query = Query { items };
        self.scan_query(pending, &self.hasher.query(&query), from, |view| {
            let matches = query.items.iter().any(|item| {
                (item.types.is_empty() || item.types.iter().any(|wanted| &**wanted == view.event_type))
                    && item.tags.iter().all(|tag| (view.has_tag)(tag))
            });
            matches.then_some(Position(view.place.position))
        })
    }

    /// False if the newest event of each of an item's terms is too old for the item to match: no scan is needed then.
    fn may_match(&self, item: &graven_model::QueryItem, from: u64) -> bool {
        let recent = |term: Term| self.index.last(term, u64::MAX).is_some_and(|last| last >= from);
        (item.types.is_empty()
            || item.types.iter().any(|name| recent(Term::Type(self.hasher.event_type(name)))))
            && item.tags.iter().all(|tag| recent(Term::Tag(self.hasher.tag(tag))))
    }

    fn scan_query<T>(
        &self,
        pending: &Pending,
        query: &TermQuery,
        from: u64,
        mut look: impl FnMut(&View<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        let mut from = from;
        let mut step = 1;
        loop {
            let mut candidates = Vec::new();
            let next =
                self.index.query(query, from, Direction::Forward, pending.below(), step, &mut candidates);
            for position in candidates {
                let found = self.view(pending, position, &mut look)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            let Some(next) = next else { return Ok(None) };
            from = next;
            step = STEP;
        }
    }

    /// Leaf hash of an event.
    pub(crate) fn leaf(&self, position: u64) -> Result<Hash> {
        if self.audit.is_on() { self.tiles.leaf(position) } else { Ok(Hash::default()) }
    }
}
