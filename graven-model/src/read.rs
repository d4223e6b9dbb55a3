//! [`ReadRequest`]: which events, from where, which way, how many; [`Page`]: a bounded answer.
//! [`FollowRequest`]: a read that does not end; [`FollowStep`]: what it gives.

use crate::event::StoredEvent;
use crate::ids::{Position, Revision, StreamName, Text};
use crate::time::Timestamp;

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// One stream, by revision.
    Stream(StreamName),
    /// The whole log, by position.
    All,
    /// All streams of a category (the text before the first `-`), by position.
    Category(Text),
    /// All events of any of these types, by position.
    Types(Vec<Text>),
    /// All events that carry all of these tags, by position.
    Tags(Vec<Text>),
    /// A DCB query, by position.
    Query(Query),
}

/// A DCB query (dcb.events): its items are OR-ed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// At least one must match.
    pub items: Vec<QueryItem>,
}

/// One item: the type is one of `types` (none = any) and all of `tags` are present (none = any).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryItem {
    /// Any of these; empty = any type.
    pub types: Vec<Text>,
    /// All of these; empty = no demand.
    pub tags: Vec<Text>,
    /// Must be said for an item with neither types nor tags, which matches every event.
    pub all: bool,
}

impl Query {
    /// A query of one item.
    #[must_use]
    pub fn item<A: Into<Text>, B: Into<Text>>(
        types: impl IntoIterator<Item = A>,
        tags: impl IntoIterator<Item = B>,
    ) -> Query {
        Query::default().or(types, tags)
    }

    /// The same query or this item too.
    #[must_use]
    pub fn or<A: Into<Text>, B: Into<Text>>(
        mut self,
        types: impl IntoIterator<Item = A>,
        tags: impl IntoIterator<Item = B>,
    ) -> Query {
        self.items.push(QueryItem {
            types: types.into_iter().map(Into::into).collect(),
            tags: tags.into_iter().map(Into::into).collect(),
            all: false,
        });
        self
    }

    /// Whether an event of this type with these tags matches.
    #[must_use]
    pub fn matches(&self, event_type: &str, tags: &[Text]) -> bool {
        self.items.iter().any(|item| {
            (item.types.is_empty() || item.types.iter().any(|wanted| &**wanted == event_type))
                && item.tags.iter().all(|wanted| tags.contains(wanted))
        })
    }
}

/// Where a read begins. The event named is included, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// The first event forwards; nothing backwards.
    #[default]
    Start,
    /// The last event backwards; what comes next forwards.
    End,
    /// A revision; for [`Selector::Stream`] only.
    Revision(Revision),
    /// A position in the log; for every selector.
    Position(Position),
    /// Forwards: the first event committed at or after this. Backwards: the last one committed at or before it.
    Time(Timestamp),
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Forward,
    /// Newest first.
    Backward,
}

/// How a filter looks at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// The name starts with one of these.
    Prefixes(Vec<Text>),
    /// The regular expression matches somewhere in the name (syntax of the Rust crate `regex`, with look-around and
    /// back-references).
    Regex(Text),
}

/// Narrows a selector; both parts must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// On the stream name.
    pub stream: Option<Pattern>,
    /// On the event type.
    pub event_type: Option<Pattern>,
    /// Leave out streams and types whose name starts with `$`.
    pub exclude_system: bool,
}

impl EventFilter {
    /// True if it lets everything through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == EventFilter::default()
    }
}

/// One page of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// Which events.
    pub selector: Selector,
    /// Where it begins.
    pub start: Start,
    /// Which way.
    pub direction: Direction,
    /// Events a page, 1 to [`crate::limits::PAGE_EVENTS_MAX`].
    pub limit: u32,
    /// Bytes a page; at least one event is returned however large.
    pub bytes_max: usize,
    /// Narrows the selector.
    pub filter: EventFilter,
}

impl ReadRequest {
    /// A forward read from the start with default bounds.
    #[must_use]
    pub fn new(selector: Selector) -> ReadRequest {
        ReadRequest {
            selector,
            start: Start::Start,
            direction: Direction::Forward,
            limit: crate::limits::PAGE_EVENTS_DEFAULT,
            bytes_max: crate::limits::PAGE_BYTES_DEFAULT,
            filter: EventFilter::default(),
        }
    }

    /// The same read from somewhere else.
    #[must_use]
    pub fn from(mut self, start: Start) -> ReadRequest {
        self.start = start;
        self
    }

    /// The same read, newest first; begins at the end if it began at the start.
    #[must_use]
    pub fn backward(mut self) -> ReadRequest {
        self.direction = Direction::Backward;
        if self.start == Start::Start {
            self.start = Start::End;
        }
        self
    }

    /// The same read with at most this many events a page.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> ReadRequest {
        self.limit = limit;
        self
    }

    /// The same read through a filter.
    #[must_use]
    pub fn filter(mut self, filter: EventFilter) -> ReadRequest {
        self.filter = filter;
        self
    }
}

/// A bounded answer to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The events, in the order asked for.
    pub events: Vec<StoredEvent>,
    /// Where the next page begins; `None` when the end (or the beginning, backwards) was reached.
    pub next: Option<Start>,
    /// Events in the log when the page was read: positions below this were visible.
    pub head: Position,
    /// For a stream read: its last revision, if it has events.
    pub last_revision: Option<Revision>,
}

/// What there is to say of a page once its events were handed out one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageEnd {
    /// Events handed out.
    pub events: usize,
    /// Position of the last of them.
    pub last_position: Option<Position>,
    /// As [`Page::next`].
    pub next: Option<Start>,
    /// As [`Page::head`].
    pub head: Position,
    /// As [`Page::last_revision`].
    pub last_revision: Option<Revision>,
}

/// Which events to follow, from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowRequest {
    /// Which events.
    pub selector: Selector,
    /// Exclusive for a revision or position, inclusive for a time; `Start` = from the beginning, `End` = only new ones.
    pub after: Start,
    /// Narrows the selector.
    pub filter: EventFilter,
    /// Events a step at the most.
    pub page_events: u32,
    /// Bytes a step at the most.
    pub page_bytes: usize,
    /// Log events looked at between two checkpoints.
    pub checkpoint_every: u64,
}

impl FollowRequest {
    /// With default bounds.
    #[must_use]
    pub fn new(selector: Selector, after: Start) -> FollowRequest {
        FollowRequest {
            selector,
            after,
            filter: EventFilter::default(),
            page_events: crate::limits::PAGE_EVENTS_DEFAULT,
            page_bytes: crate::limits::PAGE_BYTES_DEFAULT,
            checkpoint_every: 1_000,
        }
    }
}

/// What a follower gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowStep {
    /// The next events, in order.
    Events(Vec<StoredEvent>),
    /// Everything below this head was delivered; what comes next is live. Comes again after the follower fell behind.
    CaughtUp(Position),
    /// All matching events up to and including this position were delivered.
    Checkpoint(Position),
}
