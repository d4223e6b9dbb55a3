//! One bounded page of a read.

use super::filter::Filter;
use super::metadata::StreamMetadata;
use super::sink::{Each, Gathered, Sink};
use super::{select, start};
use crate::append::{Pending, Shared, Sources};
use crate::index::StreamFrom;
use crate::log::reader::{Peeked, Reader};
use graven_model::{
    Code, Direction, Error, EventRef, Page, PageEnd, Position, ReadRequest, Result, Revision, Selector,
    Start, StreamName, limits,
};

/// Reads one page.
///
/// # Errors
/// [`Code::StreamNotFound`], [`Code::StreamDeleted`], [`Code::StreamTombstoned`] for a stream that cannot be read; the
/// `Invalid…` code of a bound that is exceeded; [`Code::Corrupted`], [`Code::Io`].
pub(crate) fn read(shared: &Shared, request: &ReadRequest) -> Result<Page> {
    let mut gathered = Gathered::default();
    let PageEnd { next, head, last_revision, .. } = read_into(shared, request, None, &mut gathered)?;
    Ok(Page { events: gathered.events, next, head, last_revision })
}

/// Reads one page of what lies below a position and hands its events to `each`, in order.
///
/// # Errors
/// As [`read`]. Some events may have been handed out before.
pub(crate) fn read_each(
    shared: &Shared,
    request: &ReadRequest,
    below: Option<Position>,
    each: impl FnMut(&EventRef<'_>),
) -> Result<PageEnd> {
    read_into(shared, request, below, &mut Each(each))
}

fn read_into(
    shared: &Shared,
    request: &ReadRequest,
    below: Option<Position>,
    sink: &mut impl Sink,
) -> Result<PageEnd> {
    if request.limit == 0 || request.limit > limits::PAGE_EVENTS_MAX {
        return Err(Error::new(Code::InvalidLimit, "the number of events a page is out of bounds")
            .expected(format!("1 to {}", limits::PAGE_EVENTS_MAX))
            .found(request.limit.to_string()));
    }
    select::check(&request.selector)?;
    let filter = Filter::compile(&request.filter)?;
    let sources = &shared.sources;
    let head = shared.head();
    let end = below.map_or(head, |below| head.min(below.0));
    let window = match &request.selector {
        Selector::Stream(stream) => Some(Window::of(shared, head, stream)?),
        _ => None,
    };
    let start = match (&window, request.direction, request.start) {
        // Hidden events at the beginning are not even looked at.
        (Some(window), Direction::Forward, Start::Start) if window.first > 0 => {
            Start::Revision(Revision(window.first))
        }
        (Some(window), Direction::Forward, Start::Revision(revision)) => {
            Start::Revision(Revision(revision.0.max(window.first)))
        }
        (_, _, start) => start,
    };
    let from = start::resolve(sources, end, &request.selector, start, request.direction)?;
    let scan = match from {
        Some(from) => scan(
            &Scan {
                sources,
                head: end,
                selector: &request.selector,
                filter: &filter,
                window: window.as_ref(),
                direction: request.direction,
                limit: request.limit as usize,
                bytes_max: request.bytes_max.clamp(1, limits::PAGE_BYTES_MAX),
            },
            from,
            sink,
        )?,
        None => Scanned::default(),
    };
    let at_the_end = match (&window, scan.last, request.direction) {
        (Some(window), Some(last), Direction::Forward) => last.revision.0 >= window.last,
        (Some(window), Some(last), Direction::Backward) => last.revision.0 <= window.first,
        _ => false,
    };
    let next = scan
        .next
        .filter(|_| !at_the_end)
        .map(|position| next_start(&request.selector, request.direction, scan.last, position));
    Ok(PageEnd {
        events: scan.events,
        last_position: scan.last.map(|last| last.position),
        next,
        head: Position(head),
        last_revision: window.map(|window| Revision(window.last)),
    })
}

/// Where the next page begins: by revision for a stream, by position otherwise.
fn next_start(selector: &Selector, direction: Direction, last: Option<Place>, position: u64) -> Start {
    match (selector, last, direction) {
        (Selector::Stream(_), Some(last), Direction::Forward) => Start::Revision(last.revision.next()),
        (Selector::Stream(_), Some(last), Direction::Backward) if last.revision.0 > 0 => {
            Start::Revision(Revision(last.revision.0 - 1))
        }
        _ => Start::Position(Position(position)),
    }
}

/// What of a stream is visible.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) first: u64,
    pub(crate) last: u64,
    oldest: Option<i64>,
}

impl Window {
    /// The visible window of a stream, by its metadata.
    pub(crate) fn of(shared: &Shared, head: u64, stream: &StreamName) -> Result<Window> {
        let pending = Pending::none_below(head);
        let sources = &shared.sources;
        let name = stream.as_str();
        if sources.tombstone(&pending, name)?.is_some() {
            return Err(Error::new(Code::StreamTombstoned, format!("stream {name:?} was tombstoned")));
        }
        let metadata = if stream.is_metadata() {
            StreamMetadata { max_count: Some(1), ..StreamMetadata::default() }
        } else {
            sources.metadata(&pending, name, StreamMetadata::parse)?.transpose()?.unwrap_or_default()
        };
        let Some(last) = sources.last(&pending, name)? else {
            return Err(Error::new(Code::StreamNotFound, format!("stream {name:?} has no events")));
        };
        if metadata.is_deleted() {
            return Err(Error::new(
                Code::StreamDeleted,
                format!("stream {name:?} was deleted at revision {}", last.revision),
            ));
        }
        Ok(Window {
            first: metadata.first_visible(last.revision),
            last: last.revision,
            oldest: metadata.oldest_visible(shared.env.clock.now_us()),
        })
    }

    /// The same window without the revisions below one.
    pub(crate) fn narrowed(self, first: u64) -> Window {
        Window { first: self.first.max(first), ..self }
    }

    /// Everything from a revision on, with the tombstone of a stream that has one.
    pub(crate) fn from_revision(first: u64) -> Window {
        Window { first, last: u64::MAX, oldest: None }
    }

    /// True if events are hidden by their age.
    pub(crate) fn by_age(&self) -> bool {
        self.oldest.is_some()
    }

    pub(crate) fn shows(&self, revision: u64, commit_time: i64) -> bool {
        revision >= self.first && self.oldest.is_none_or(|oldest| commit_time >= oldest)
    }
}

/// A read by position.
pub(crate) struct Scan<'a> {
    pub(crate) sources: &'a Sources,
    pub(crate) head: u64,
    pub(crate) selector: &'a Selector,
    pub(crate) filter: &'a Filter,
    pub(crate) window: Option<&'a Window>,
    pub(crate) direction: Direction,
    pub(crate) limit: usize,
    pub(crate) bytes_max: usize,
}

/// How many events a scan found, the last of them, and the position it goes on from, if it did not reach its end.
#[derive(Default)]
pub(crate) struct Scanned {
    events: usize,
    last: Option<Place>,
    pub(crate) next: Option<u64>,
}

/// Where an event stands.
#[derive(Clone, Copy)]
struct Place {
    position: Position,
    revision: Revision,
}

/// Candidates fetched in one step.
const STEP: usize = 512;

/// Reads from a position on, in either direction, until a bound or the end is reached.
pub(crate) fn scan(scan: &Scan<'_>, from: u64, sink: &mut impl Sink) -> Result<Scanned> {
    let mut found = Found { scan, sink, events: 0, last: None, bytes: 0, looked_at: 0 };
    let mut reader = Reader::new(&scan.sources.log);
    let mut from = from;
    let mut candidates = Vec::new();
    let mut offsets = Vec::new();
    loop {
        candidates.clear();
        let more = found.candidates(from, &mut candidates);
        offsets.clear();
        scan.sources.index.offsets(&candidates, &mut offsets);
        for (position, offset) in candidates.iter().zip(&offsets) {
            match found.take(&reader.peek(*position, *offset)?)? {
                Taken::Looked => {}
                Taken::Full => return Ok(found.until(Some(*position))),
                Taken::End => return Ok(found.until(None)),
            }
        }
        match more {
            Some(next) if found.full() || found.looked_at >= limits::PAGE_SCAN_MAX => {
                return Ok(found.until(Some(next)));
            }
            Some(next) => from = next,
            None => return Ok(found.until(None)),
        }
    }
}

/// What came of a candidate.
enum Taken {
    /// It was taken or does not belong to the read.
    Looked,
    /// It belongs to the read and the page is full.
    Full,
    /// Nothing after it can belong to the read.
    End,
}

struct Found<'a, S> {
    scan: &'a Scan<'a>,
    sink: &'a mut S,
    events: usize,
    last: Option<Place>,
    bytes: usize,
    looked_at: u64,
}

impl<S: Sink> Found<'_, S> {
    fn until(&self, next: Option<u64>) -> Scanned {
        Scanned { events: self.events, last: self.last, next }
    }

    fn full(&self) -> bool {
        self.events >= self.scan.limit || self.bytes >= self.scan.bytes_max
    }

    /// Positions that may belong to the read, from one on; returns where to go on, or `None` at the end.
    fn candidates(&self, from: u64, out: &mut Vec<u64>) -> Option<u64> {
        let Scan { sources, head, selector, direction, .. } = *self.scan;
        let step =
            STEP.min(if self.scan.filter.is_empty() { self.scan.limit - self.events } else { STEP }).max(1);
        let forward = direction == Direction::Forward;
        match selector {
            Selector::All if forward => {
                let end = head.min(from.saturating_add(step as u64));
                out.extend(from..end);
                (end < head).then_some(end)
            }
            Selector::All => {
                let low = (from + 1).saturating_sub(step as u64);
                out.extend((low..=from).rev());
                low.checked_sub(1)
            }
            Selector::Stream(stream) => {
                let place = match (forward, from.checked_sub(1)) {
                    (true, None) => StreamFrom::End,
                    (true, Some(before)) => StreamFrom::After(before),
                    (false, _) => StreamFrom::After(from.saturating_add(1)),
                };
                sources.index.stream(
                    sources.hasher.stream(stream.as_str()),
                    place,
                    direction,
                    head,
                    step,
                    out,
                );
                let last = (out.len() >= step).then(|| out.last().copied()).flatten()?;
                if forward { Some(last + 1) } else { last.checked_sub(1) }
            }
            _ => sources.index.query(&sources.hasher.selector(selector), from, direction, head, step, out),
        }
    }

    /// Takes an event if it belongs to the read and the page has room.
    fn take(&mut self, peeked: &Peeked<'_>) -> Result<Taken> {
        self.looked_at += 1;
        let record = peeked.record()?;
        if !select::selects(self.scan.selector, &record) {
            return Ok(Taken::Looked);
        }
        if let Some(window) = self.scan.window
            && !window.shows(record.revision, peeked.commit_time)
        {
            let backward = self.scan.direction == Direction::Backward;
            return Ok(if backward && record.revision < window.first { Taken::End } else { Taken::Looked });
        }
        if !self.scan.filter.matches(record.stream, record.event_type)? {
            return Ok(Taken::Looked);
        }
        if self.full() {
            return Ok(Taken::Full);
        }
        let event = record.event(peeked.position, peeked.commit_time);
        let hidden = if record.sealed { record.data.len() + record.metadata.len() } else { 0 };
        let size = event.size_bytes() + hidden;
        if self.events > 0 && self.bytes + size > self.scan.bytes_max {
            return Ok(Taken::Full);
        }
        let taken = if record.sealed {
            let unsealed = self.scan.sources.subjects.unseal(&record, peeked.position)?;
            self.sink.take(&unsealed.show(event, &record), &unsealed.memory())
        } else {
            self.sink.take(&event, peeked.memory)
        };
        taken.map_err(|_| peeked.damaged("the record names a stream that cannot be"))?;
        self.bytes += size;
        self.events += 1;
        self.last = Some(Place { position: event.position, revision: event.revision });
        Ok(Taken::Looked)
    }
}
