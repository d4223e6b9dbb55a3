//! What a stream is: alive, deleted, tombstoned; which of its events are visible; what its metadata says.

use super::{DELETED, Model};
use bytes::Bytes;
use graven_model::{Kind, Revision, StoredEvent, StreamName, StreamState, Timestamp};
use serde_json::{Map, Value};

/// A stream's metadata object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata(Map<String, Value>);

impl Metadata {
    fn parse(json: &[u8]) -> Metadata {
        Metadata(serde_json::from_slice(json).expect("only JSON objects are accepted as metadata"))
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    /// `$tb`, if it says one.
    #[must_use]
    pub fn truncate_before(&self) -> Option<u64> {
        self.number("$tb")
    }

    /// The same object with `$tb` raised to this.
    #[must_use]
    pub fn with_truncation_raised(self, before: Revision) -> Bytes {
        let raised = before.0.max(self.truncate_before().unwrap_or(0));
        self.with_truncate_before(Revision(raised))
    }

    /// The same object with another `$tb`.
    #[must_use]
    pub fn with_truncate_before(mut self, before: Revision) -> Bytes {
        self.0.insert("$tb".into(), before.0.into());
        serde_json::to_vec(&self.0).expect("a JSON object prints").into()
    }
}

/// The metadata a soft delete writes.
pub(super) fn deleted_metadata() -> Bytes {
    Metadata::default().with_truncate_before(Revision(DELETED))
}

impl Model {
    /// Alive, deleted, tombstoned or never begun.
    #[must_use]
    pub fn state(&self, stream: &StreamName) -> StreamState {
        let Some(last) = self.events_of(stream).last() else { return StreamState::NoStream };
        if last.kind == Kind::Tombstone {
            StreamState::Tombstoned
        } else if self.metadata(stream).truncate_before() == Some(DELETED) {
            StreamState::SoftDeleted(last.revision)
        } else {
            StreamState::At(last.revision)
        }
    }

    /// The last event but for a tombstone.
    pub(super) fn last_event(&self, stream: &StreamName) -> Option<&StoredEvent> {
        self.events_of(stream).rfind(|event| event.kind != Kind::Tombstone)
    }

    /// Revision of the last event, a tombstone aside.
    #[must_use]
    pub fn last_revision(&self, stream: &StreamName) -> Option<Revision> {
        self.last_event(stream).map(|event| event.revision)
    }

    /// What the last event of `$$stream` says; an empty object without one.
    #[must_use]
    pub fn metadata(&self, stream: &StreamName) -> Metadata {
        self.metadata_event(stream).map_or_else(Metadata::default, |event| Metadata::parse(&event.event.data))
    }

    /// The last event of `$$stream`.
    #[must_use]
    pub fn metadata_event(&self, stream: &StreamName) -> Option<&StoredEvent> {
        self.events_of(&stream.metadata().ok()?).last()
    }

    /// The first revision that `$tb` and `$maxCount` leave visible; of a metadata stream, the last one.
    pub(super) fn first_visible_revision(&self, stream: &StreamName) -> u64 {
        let after_last = self.last_revision(stream).map_or(0, |last| last.0 + 1);
        if stream.is_metadata() {
            return after_last.saturating_sub(1);
        }
        let metadata = self.metadata(stream);
        let max_count = metadata.number("$maxCount").unwrap_or(u64::MAX);
        metadata.truncate_before().unwrap_or(0).max(after_last.saturating_sub(max_count))
    }

    /// Whether a read of the stream shows this event.
    pub(super) fn is_visible(&self, event: &StoredEvent, now: Timestamp) -> bool {
        const SECOND_US: i64 = 1_000_000;
        let age_us = now.micros() - event.committed_at.micros();
        let max_age = self.metadata(&event.stream).number("$maxAge");
        let young = max_age.is_none_or(|seconds| age_us <= (seconds as i64).saturating_mul(SECOND_US));
        event.revision.0 >= self.first_visible_revision(&event.stream) && young
    }
}
