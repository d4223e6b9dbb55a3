//! Reads: every event is looked at, those that fit are kept.

use super::{Model, refused};
use graven_model::error::Details;
use graven_model::{
    Code, Direction, Error, EventFilter, Expected, Kind, Pattern, ReadRequest, Result, Selector, Start,
    StoredEvent, StreamName, StreamState, Timestamp, ids::category_of,
};
use regex::Regex;

impl Model {
    /// Everything a read gives, over all its pages; `limit` and `bytes_max` do not cut.
    ///
    /// # Errors
    /// [`Code::StreamNotFound`], [`Code::StreamDeleted`], [`Code::StreamTombstoned`] for reads of such streams.
    pub fn read(&self, request: &ReadRequest, now: Timestamp) -> Result<Vec<StoredEvent>> {
        let mut events = self.select(&request.selector, &request.filter, now)?;
        events.retain(|event| begins(event, request.start, request.direction));
        if request.direction == Direction::Backward {
            events.reverse();
        }
        Ok(events)
    }

    /// Everything a follower that begins after `after` has been given once it caught up. A stream need not exist.
    #[must_use]
    pub fn follow(
        &self,
        selector: &Selector,
        after: Start,
        filter: &EventFilter,
        now: Timestamp,
    ) -> Vec<StoredEvent> {
        let mut events = self.select(selector, filter, now).unwrap_or_default();
        events.retain(|event| comes_after(event, after));
        events
    }

    /// The tombstone a follower of a stream that begins after `after` is given before it ends.
    ///
    /// # Errors
    /// [`Code::InvalidFilter`].
    pub fn follow_to_the_end(
        &self,
        stream: &StreamName,
        after: Start,
        filter: &EventFilter,
    ) -> Result<Option<StoredEvent>> {
        let filter = Filter::new(filter)?;
        let tombstone = self.events_of(stream).rfind(|event| event.kind == Kind::Tombstone);
        Ok(tombstone.filter(|event| comes_after(event, after) && filter.passes(event)).cloned())
    }

    /// Adds to failed checks the events their caller has not seen, up to `max` a stream.
    #[must_use]
    pub fn with_unseen(&self, mut error: Error, max: u32, now: Timestamp) -> Error {
        let Details::FailedChecks(checks) = &mut error.details else { return error };
        for check in checks {
            let from = match (check.expected, check.actual) {
                (Expected::Revision(seen), StreamState::At(_)) => seen.0.saturating_add(1),
                (Expected::NoStream, StreamState::At(_)) => 0,
                _ => continue,
            };
            check.unseen = self.visible_events(&check.stream, now).unwrap_or_default();
            check.unseen.retain(|event| event.revision.0 >= from);
            check.unseen.truncate(max as usize);
        }
        error
    }

    fn select(&self, selector: &Selector, filter: &EventFilter, now: Timestamp) -> Result<Vec<StoredEvent>> {
        let events: Vec<StoredEvent> = match selector {
            Selector::Stream(stream) => self.visible_events(stream, now)?,
            other => self.log.iter().filter(|event| selects(other, event)).cloned().collect(),
        };
        let filter = Filter::new(filter)?;
        Ok(events.into_iter().filter(|event| filter.passes(event)).collect())
    }

    pub(super) fn visible_events(&self, stream: &StreamName, now: Timestamp) -> Result<Vec<StoredEvent>> {
        match self.state(stream) {
            StreamState::NoStream => Err(refused(Code::StreamNotFound, "no such stream")),
            StreamState::SoftDeleted(_) => Err(refused(Code::StreamDeleted, "the stream is deleted")),
            StreamState::Tombstoned => Err(refused(Code::StreamTombstoned, "the stream is tombstoned")),
            StreamState::At(_) => {
                Ok(self.events_of(stream).filter(|event| self.is_visible(event, now)).cloned().collect())
            }
        }
    }
}

fn comes_after(event: &StoredEvent, after: Start) -> bool {
    match after {
        Start::Start => true,
        Start::End => false,
        Start::Revision(revision) => event.revision > revision,
        Start::Position(position) => event.position > position,
        Start::Time(time) => event.committed_at >= time,
    }
}

/// Whether a read that begins at `start` gets to this event.
fn begins(event: &StoredEvent, start: Start, direction: Direction) -> bool {
    match (direction, start) {
        (Direction::Forward, Start::Start) | (Direction::Backward, Start::End) => true,
        (Direction::Forward, Start::End) | (Direction::Backward, Start::Start) => false,
        (Direction::Forward, Start::Revision(revision)) => event.revision >= revision,
        (Direction::Backward, Start::Revision(revision)) => event.revision <= revision,
        (Direction::Forward, Start::Position(position)) => event.position >= position,
        (Direction::Backward, Start::Position(position)) => event.position <= position,
        (Direction::Forward, Start::Time(time)) => event.committed_at >= time,
        (Direction::Backward, Start::Time(time)) => event.committed_at <= time,
    }
}

fn selects(selector: &Selector, event: &StoredEvent) -> bool {
    match selector {
        Selector::Stream(stream) => event.stream == *stream,
        Selector::All => true,
        Selector::Category(category) => category_of(event.stream.as_str()) == Some(category),
        Selector::Types(types) => types.contains(&event.event.event_type),
        Selector::Tags(tags) => tags.iter().all(|tag| event.event.tags.contains(tag)),
        Selector::Query(query) => query.matches(&event.event.event_type, &event.event.tags),
    }
}

struct Filter {
    stream: Option<Names>,
    event_type: Option<Names>,
    exclude_system: bool,
}

enum Names {
    Prefixes(Vec<graven_model::Text>),
    Regex(Regex),
}

impl Filter {
    fn new(filter: &EventFilter) -> Result<Filter> {
        let names = |pattern: &Option<Pattern>| pattern.as_ref().map(Names::new).transpose();
        Ok(Filter {
            stream: names(&filter.stream)?,
            event_type: names(&filter.event_type)?,
            exclude_system: filter.exclude_system,
        })
    }

    fn passes(&self, event: &StoredEvent) -> bool {
        let (stream, event_type) = (event.stream.as_str(), &*event.event.event_type);
        self.stream.as_ref().is_none_or(|names| names.fit(stream))
            && self.event_type.as_ref().is_none_or(|names| names.fit(event_type))
            && !(self.exclude_system && (stream.starts_with('$') || event_type.starts_with('$')))
    }
}

impl Names {
    fn new(pattern: &Pattern) -> Result<Names> {
        Ok(match pattern {
            Pattern::Prefixes(prefixes) => Names::Prefixes(prefixes.clone()),
            Pattern::Regex(text) => Names::Regex(
                Regex::new(text).map_err(|error| refused(Code::InvalidFilter, error.to_string()))?,
            ),
        })
    }

    fn fit(&self, name: &str) -> bool {
        match self {
            Names::Prefixes(prefixes) => prefixes.iter().any(|prefix| name.starts_with(&**prefix)),
            Names::Regex(regex) => regex.is_match(name),
        }
    }
}
