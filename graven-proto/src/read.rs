//! Reads: selectors, places to begin, filters, pages.

use crate::event::strings;
use crate::{missing, unknown, wire};
use graven_model::{
    Direction, Error, EventFilter, Page, Pattern, Position, Query, QueryItem, ReadRequest, Result, Revision,
    Selector, Start, StoredEvent, StreamName, Text, Timestamp, limits,
};

fn texts(names: Vec<String>) -> Vec<Text> {
    names.into_iter().map(Text::from).collect()
}

fn names(names: &[Text]) -> wire::Names {
    wire::Names { names: strings(names) }
}

impl From<wire::Query> for Query {
    fn from(query: wire::Query) -> Query {
        let item = |item: wire::QueryItem| QueryItem {
            types: texts(item.types),
            tags: texts(item.tags),
            all: item.all,
        };
        Query { items: query.items.into_iter().map(item).collect() }
    }
}

impl From<&Query> for wire::Query {
    fn from(query: &Query) -> wire::Query {
        let item = |item: &QueryItem| wire::QueryItem {
            types: strings(&item.types),
            tags: strings(&item.tags),
            all: item.all,
        };
        wire::Query { items: query.items.iter().map(item).collect() }
    }
}

/// Which events; the field must be there.
///
/// # Errors
/// [`graven_model::Code::BadRequest`] if nothing is selected; [`graven_model::Code::InvalidStreamName`].
pub fn selector(field: Option<wire::Selector>) -> Result<Selector> {
    use wire::selector::Kind;
    Ok(match field.and_then(|selector| selector.kind).ok_or_else(|| missing("the selector"))? {
        Kind::Stream(name) => Selector::Stream(StreamName::new(name)?),
        Kind::All(wire::All {}) => Selector::All,
        Kind::Category(name) => Selector::Category(name.into()),
        Kind::Types(names) => Selector::Types(texts(names.names)),
        Kind::Tags(names) => Selector::Tags(texts(names.names)),
        Kind::Query(query) => Selector::Query(query.into()),
    })
}

impl From<&Selector> for wire::Selector {
    fn from(selector: &Selector) -> wire::Selector {
        use wire::selector::Kind;
        let kind = match selector {
            Selector::Stream(name) => Kind::Stream(name.as_str().to_owned()),
            Selector::All => Kind::All(wire::All {}),
            Selector::Category(name) => Kind::Category(name.to_string()),
            Selector::Types(types) => Kind::Types(names(types)),
            Selector::Tags(tags) => Kind::Tags(names(tags)),
            Selector::Query(query) => Kind::Query(query.into()),
        };
        wire::Selector { kind: Some(kind) }
    }
}

/// A place to begin; `None` if the field says nothing.
///
/// # Errors
/// [`graven_model::Code::BadRequest`] for an end there is not.
pub fn start(field: Option<wire::Start>) -> Result<Option<Start>> {
    use wire::start::Kind;
    Ok(Some(match field.and_then(|start| start.kind) {
        None => return Ok(None),
        Some(Kind::End(end)) => match wire::End::try_from(end) {
            Ok(wire::End::Start) => Start::Start,
            Ok(wire::End::End) => Start::End,
            Err(_) => return Err(unknown("end", end)),
        },
        Some(Kind::Revision(revision)) => Start::Revision(Revision(revision)),
        Some(Kind::Position(position)) => Start::Position(Position(position)),
        Some(Kind::Time(time)) => Start::Time(Timestamp::from_micros(time)),
    }))
}

impl From<Start> for wire::Start {
    fn from(start: Start) -> wire::Start {
        use wire::start::Kind;
        let kind = match start {
            Start::Start => Kind::End(wire::End::Start as i32),
            Start::End => Kind::End(wire::End::End as i32),
            Start::Revision(revision) => Kind::Revision(revision.0),
            Start::Position(position) => Kind::Position(position.0),
            Start::Time(time) => Kind::Time(time.micros()),
        };
        wire::Start { kind: Some(kind) }
    }
}

fn pattern(pattern: wire::Pattern) -> Option<Pattern> {
    use wire::pattern::Kind;
    pattern.kind.map(|kind| match kind {
        Kind::Prefixes(names) => Pattern::Prefixes(texts(names.names)),
        Kind::Regex(regex) => Pattern::Regex(regex.into()),
    })
}

impl From<&Pattern> for wire::Pattern {
    fn from(pattern: &Pattern) -> wire::Pattern {
        use wire::pattern::Kind;
        let kind = match pattern {
            Pattern::Prefixes(prefixes) => Kind::Prefixes(names(prefixes)),
            Pattern::Regex(regex) => Kind::Regex(regex.to_string()),
        };
        wire::Pattern { kind: Some(kind) }
    }
}

impl From<wire::EventFilter> for EventFilter {
    fn from(filter: wire::EventFilter) -> EventFilter {
        EventFilter {
            stream: filter.stream.and_then(pattern),
            event_type: filter.r#type.and_then(pattern),
            exclude_system: filter.exclude_system,
        }
    }
}

impl From<&EventFilter> for wire::EventFilter {
    fn from(filter: &EventFilter) -> wire::EventFilter {
        wire::EventFilter {
            stream: filter.stream.as_ref().map(wire::Pattern::from),
            r#type: filter.event_type.as_ref().map(wire::Pattern::from),
            exclude_system: filter.exclude_system,
        }
    }
}

/// The bytes of a page somebody wishes for; 0 = `default`.
pub fn page_bytes(wish: u64, default: usize) -> usize {
    match wish {
        0 => default,
        wish => usize::try_from(wish).unwrap_or(usize::MAX).min(limits::PAGE_BYTES_MAX),
    }
}

impl TryFrom<wire::ReadRequest> for ReadRequest {
    type Error = Error;

    /// The read of one page; `limit` and `pages` are for who reads several.
    ///
    /// # Errors
    /// [`graven_model::Code::BadRequest`], [`graven_model::Code::InvalidStreamName`]. Bounds are the store's to check.
    fn try_from(request: wire::ReadRequest) -> Result<ReadRequest> {
        let direction = match wire::Direction::try_from(request.direction) {
            Ok(wire::Direction::Forward) => Direction::Forward,
            Ok(wire::Direction::Backward) => Direction::Backward,
            Err(_) => return Err(unknown("direction", request.direction)),
        };
        let first = match direction {
            Direction::Forward => Start::Start,
            Direction::Backward => Start::End,
        };
        Ok(ReadRequest {
            selector: selector(request.selector)?,
            start: start(request.start)?.unwrap_or(first),
            direction,
            limit: if request.page_events == 0 { limits::PAGE_EVENTS_DEFAULT } else { request.page_events },
            bytes_max: page_bytes(request.page_bytes, limits::PAGE_BYTES_DEFAULT),
            filter: request.filter.unwrap_or_default().into(),
        })
    }
}

impl From<&ReadRequest> for wire::ReadRequest {
    /// The same page; for more of them raise `pages`, or set it to 0 for all.
    fn from(request: &ReadRequest) -> wire::ReadRequest {
        wire::ReadRequest {
            selector: Some((&request.selector).into()),
            start: Some(request.start.into()),
            direction: match request.direction {
                Direction::Forward => wire::Direction::Forward,
                Direction::Backward => wire::Direction::Backward,
            } as i32,
            filter: (!request.filter.is_empty()).then(|| (&request.filter).into()),
            limit: 0,
            page_events: request.limit,
            page_bytes: request.bytes_max as u64,
            pages: 1,
            min_position: None,
        }
    }
}

impl TryFrom<wire::ReadResponse> for Page {
    type Error = Error;

    /// # Errors
    /// The code of what is malformed.
    fn try_from(response: wire::ReadResponse) -> Result<Page> {
        Ok(Page {
            events: response.events.into_iter().map(StoredEvent::try_from).collect::<Result<_>>()?,
            next: start(response.next)?,
            head: Position(response.head),
            last_revision: response.last_revision.map(Revision),
        })
    }
}

impl From<&Page> for wire::ReadResponse {
    fn from(page: &Page) -> wire::ReadResponse {
        wire::ReadResponse {
            events: page.events.iter().map(wire::StoredEvent::from).collect(),
            next: page.next.map(wire::Start::from),
            head: page.head.0,
            last_revision: page.last_revision.map(|revision| revision.0),
        }
    }
}

/// The id of an [`wire::EventsByIdRequest`].
///
/// # Errors
/// [`graven_model::Code::InvalidEventId`].
pub fn event_id(request: &wire::EventsByIdRequest) -> Result<graven_model::EventId> {
    crate::event::event_id(&request.id)
}
