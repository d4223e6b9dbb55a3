//! [`NewEvent`]: what a producer hands in. [`StoredEvent`]: what the log gives back. [`EventRef`]: the same, borrowed.

mod borrowed;

use crate::ids::{EventId, Position, Revision, StreamName, Text};
use crate::time::Timestamp;
use bytes::Bytes;

pub use borrowed::{ContentTypeRef, EventRef, TagsRef};
pub use graven_proof::leaf::{CheckState, Kind};

/// Media type of an event's payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum ContentType {
    /// `application/json`
    #[default]
    Json,
    /// `application/octet-stream`
    Binary,
    /// Any other media type, 1 to [`crate::limits::CONTENT_TYPE_BYTES_MAX`] bytes of visible ASCII.
    Other(Text),
}

impl ContentType {
    /// The media type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.borrowed().as_str()
    }

    /// Wraps a media type; the two common ones become their own variants.
    #[must_use]
    pub fn from_text(text: &str) -> ContentType {
        match text {
            "application/json" => ContentType::Json,
            "application/octet-stream" => ContentType::Binary,
            other => ContentType::Other(other.into()),
        }
    }

    /// True if the payload is JSON text: `application/json` or a `+json` suffix, in either case (RFC 2045).
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.borrowed().is_json()
    }

    /// The same, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> ContentTypeRef<'_> {
        match self {
            ContentType::Json => ContentTypeRef::Json,
            ContentType::Binary => ContentTypeRef::Binary,
            ContentType::Other(text) => ContentTypeRef::Other(text),
        }
    }
}

/// Which registered schema an event was checked against. `version` and `id` are 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchemaRef {
    /// Version of the event type's schema, from 1; 0 = none.
    pub version: u32,
    /// Global id of the schema in the registry, from 1; 0 = none.
    pub id: u32,
    /// What the check at append time said.
    pub check: CheckState,
}

/// An event as a producer hands it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Identity, the key of idempotency within a stream.
    pub id: EventId,
    /// Type name, 1 to [`crate::limits::EVENT_TYPE_BYTES_MAX`] bytes.
    pub event_type: Text,
    /// Media type of `data`.
    pub content_type: ContentType,
    /// Payload, stored byte for byte as given.
    pub data: Bytes,
    /// Metadata (JSON by convention), stored byte for byte; empty is the same as none.
    pub metadata: Bytes,
    /// The event's own time as the producer gives it; the store adds its commit time beside it.
    pub occurred_at: Option<Timestamp>,
    /// Schema version and id; all zero until a registry checks events.
    pub schema: SchemaRef,
    /// Tags to select by; duplicates are dropped.
    pub tags: Vec<Text>,
    /// The person the event is about, for erasure.
    pub data_subject: Option<Text>,
    /// True if `data` is ciphertext already.
    pub encrypted: bool,
}

impl NewEvent {
    /// A JSON event with nothing but id, type and payload.
    #[must_use]
    pub fn json(id: EventId, event_type: impl Into<Text>, data: impl Into<Bytes>) -> NewEvent {
        NewEvent {
            id,
            event_type: event_type.into(),
            content_type: ContentType::Json,
            data: data.into(),
            metadata: Bytes::new(),
            occurred_at: None,
            schema: SchemaRef::default(),
            tags: Vec::new(),
            data_subject: None,
            encrypted: false,
        }
    }

    /// The same event with tags.
    #[must_use]
    pub fn tagged<T: Into<Text>>(mut self, tags: impl IntoIterator<Item = T>) -> NewEvent {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }
}

/// An event as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Place in the log.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Place in the stream.
    pub revision: Revision,
    /// When the store committed it. Never decreases along the log.
    pub committed_at: Timestamp,
    /// What kind of record it is; [`Kind::Event`] for everything a producer wrote.
    pub kind: Kind,
    /// The payload was erased: `event.data` is empty, and so is whatever else was erased with it.
    pub erased: bool,
    /// What the producer handed in.
    pub event: NewEvent,
}

impl StoredEvent {
    /// Bytes a page accounts for this event: payload, metadata and names.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        EventRef::from(self).size_bytes()
    }
}
