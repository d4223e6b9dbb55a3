//! [`Model`]: an event store as plain as can be, for the engine to be checked against.
//!
//! The log is a vector and everything else is worked out from it each time. Slow, small and meant to be read beside the
//! decision table of appends.

mod decide;
mod info;
mod read;
mod streams;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use graven_model::{
    AppendRequest, Code, ContentType, Error, EventId, Expected, Idempotency, Kind, NewEvent, Position,
    Receipt, Result, Revision, StoredEvent, StreamName, StreamReceipt, StreamState, Timestamp,
};
use std::collections::{BTreeMap, HashMap};

pub use streams::Metadata;

/// The largest `$tb`: nothing of the stream is visible, which is what a soft delete says.
pub(crate) const DELETED: u64 = i64::MAX as u64;

/// An event store in memory without any cleverness.
#[derive(Debug, Clone, Default)]
pub struct Model {
    log: Vec<StoredEvent>,
    /// Positions of a stream's events. The one shortcut, so that a run of thousands of steps ends.
    streams: HashMap<StreamName, Vec<usize>>,
    /// Positions of an id's events.
    ids: HashMap<EventId, Vec<usize>>,
}

impl Model {
    /// An empty store.
    #[must_use]
    pub fn new() -> Model {
        Model::default()
    }

    /// All events, in the order of their positions.
    #[must_use]
    pub fn log(&self) -> &[StoredEvent] {
        &self.log
    }

    /// Events in the log.
    #[must_use]
    pub fn head(&self) -> Position {
        Position(self.log.len() as u64)
    }

    /// Appends, or says why not.
    ///
    /// # Errors
    /// Those of the decision table: [`Code::WrongExpectedRevision`], [`Code::StreamDeleted`],
    /// [`Code::StreamTombstoned`], [`Code::ConditionFailed`].
    pub fn append(&mut self, request: &AppendRequest, now: Timestamp) -> Result<Receipt> {
        match request.idempotency {
            Idempotency::Whole => self.append_whole(request, now),
            Idempotency::EachEvent => self.append_each(request, now),
        }
    }

    /// Soft delete.
    ///
    /// # Errors
    /// As [`Model::append`]; a stream without events and metadata is [`Code::WrongExpectedRevision`].
    pub fn delete_stream(
        &mut self,
        stream: &StreamName,
        expected: Expected,
        now: Timestamp,
    ) -> Result<Receipt> {
        self.check_delete(stream, expected)?;
        let own = StreamReceipt { stream: stream.clone(), revision: self.last_revision(stream) };
        let mut receipt = self.store_metadata(stream, streams::deleted_metadata(), now);
        receipt.streams.insert(0, own);
        Ok(receipt)
    }

    /// Hard delete.
    ///
    /// # Errors
    /// As [`Model::append`].
    pub fn tombstone_stream(
        &mut self,
        stream: &StreamName,
        expected: Expected,
        now: Timestamp,
    ) -> Result<Receipt> {
        self.check_tombstone(stream, expected)?;
        let time = self.commit_time(now);
        let mut event = NewEvent::json(EventId::default(), "$streamDeleted", Bytes::new());
        event.content_type = ContentType::Binary;
        let revision = self.last_revision(stream);
        let position = self.push(stream, Revision::TOMBSTONE, Kind::Tombstone, event, time);
        Ok(Receipt {
            first_position: position,
            last_position: Some(position),
            streams: vec![StreamReceipt { stream: stream.clone(), revision }],
            committed_at: time,
            appended: 1,
            duplicates: 0,
        })
    }

    /// Hides the events below `before`.
    ///
    /// # Errors
    /// As the engine's `truncate_stream`.
    pub fn truncate_stream(
        &mut self,
        stream: &StreamName,
        before: Revision,
        now: Timestamp,
    ) -> Result<Receipt> {
        self.check_truncate(stream, before)?;
        let json = self.metadata(stream).with_truncation_raised(before);
        Ok(self.store_metadata(stream, json, now))
    }

    /// Replaces a stream's metadata.
    ///
    /// # Errors
    /// As [`Model::append`] for the metadata stream.
    pub fn set_stream_metadata(
        &mut self,
        stream: &StreamName,
        expected: Expected,
        json: Bytes,
        now: Timestamp,
    ) -> Result<Receipt> {
        self.check_set_metadata(stream, expected)?;
        Ok(self.store_metadata(stream, json, now))
    }

    fn store_metadata(&mut self, stream: &StreamName, json: Bytes, now: Timestamp) -> Receipt {
        let before = self.state(stream);
        let of = stream.metadata().expect("streams with metadata have names that take a prefix");
        let time = self.commit_time(now);
        let (position, revision) =
            self.push_next(&of, NewEvent::json(EventId::default(), "$metadata", json), time);
        if let StreamState::SoftDeleted(last) = before {
            self.bring_back(stream, last, time);
        }
        let revision = self.last_revision(&of).unwrap_or(revision);
        Receipt {
            first_position: position,
            last_position: Some(position),
            streams: vec![StreamReceipt { stream: of, revision: Some(revision) }],
            committed_at: time,
            appended: 1,
            duplicates: 0,
        }
    }

    /// Takes over the id of an event the store made by itself (metadata, a tombstone); other ids are never changed.
    pub fn learn_id(&mut self, stored: &StoredEvent) {
        let at = stored.position.0 as usize;
        let Some(own) = self.log.get_mut(at) else { return };
        if own.event.id == EventId::default() {
            own.event.id = stored.event.id;
            self.ids.entry(EventId::default()).or_default().retain(|position| *position != at);
            self.ids.entry(stored.event.id).or_default().push(at);
        }
    }

    /// Commit times never decrease, whatever the clock says.
    fn commit_time(&self, now: Timestamp) -> Timestamp {
        self.log.last().map_or(now, |last| now.max(last.committed_at))
    }

    fn push_next(&mut self, stream: &StreamName, event: NewEvent, time: Timestamp) -> (Position, Revision) {
        let revision = self.last_revision(stream).map_or(Revision(0), Revision::next);
        (self.push(stream, revision, Kind::Event, event, time), revision)
    }

    fn push(
        &mut self,
        stream: &StreamName,
        revision: Revision,
        kind: Kind,
        event: NewEvent,
        time: Timestamp,
    ) -> Position {
        let position = self.head();
        self.streams.entry(stream.clone()).or_default().push(self.log.len());
        self.ids.entry(event.id).or_default().push(self.log.len());
        self.log.push(StoredEvent {
            position,
            stream: stream.clone(),
            revision,
            committed_at: time,
            kind,
            erased: false,
            event,
        });
        position
    }

    fn events_of(&self, stream: &StreamName) -> impl DoubleEndedIterator<Item = &StoredEvent> {
        self.streams.get(stream).into_iter().flatten().map(|position| &self.log[*position])
    }

    /// All events with this id, oldest first.
    #[must_use]
    pub fn events_by_id(&self, id: EventId) -> Vec<StoredEvent> {
        self.ids.get(&id).into_iter().flatten().map(|position| self.log[*position].clone()).collect()
    }

    /// The event with this id in this stream, if any; the newest one if there are several.
    fn known(&self, stream: &StreamName, id: EventId) -> Option<&StoredEvent> {
        let positions = self.ids.get(&id)?;
        positions.iter().rev().map(|position| &self.log[*position]).find(|event| event.stream == *stream)
    }

    /// Names of all streams ever begun, oldest first.
    #[must_use]
    pub fn stream_names(&self) -> Vec<StreamName> {
        let births: BTreeMap<usize, &StreamName> =
            self.streams.iter().map(|(name, positions)| (positions[0], name)).collect();
        births.into_values().cloned().collect()
    }
}

fn refused(code: Code, what: impl Into<String>) -> Error {
    Error::new(code, what)
}
