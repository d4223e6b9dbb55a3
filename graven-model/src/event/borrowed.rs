//! [`EventRef`]: a stored event that lies in somebody else's memory, for whoever only passes it on.

use super::{ContentType, Kind, NewEvent, SchemaRef, StoredEvent};
use crate::error::Result;
use crate::frame::SaltedName;
use crate::ids::{EventId, Position, Revision, Text};
use crate::names::Names;
use crate::time::Timestamp;
use bytes::Bytes;

/// An event as the log holds it, borrowed from a [`StoredEvent`] or from the bytes of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// Place in the log.
    pub position: Position,
    /// Name of the stream it belongs to.
    pub stream: &'a str,
    /// Place in the stream.
    pub revision: Revision,
    /// When the store committed it.
    pub committed_at: Timestamp,
    /// What kind of record it is.
    pub kind: Kind,
    /// Identity.
    pub id: EventId,
    /// Type name.
    pub event_type: &'a str,
    /// Media type of `data`.
    pub content_type: ContentTypeRef<'a>,
    /// Payload.
    pub data: &'a [u8],
    /// Metadata; empty if there is none.
    pub metadata: &'a [u8],
    /// The event's own time.
    pub occurred_at: Option<Timestamp>,
    /// Schema version, id and check.
    pub schema: SchemaRef,
    /// Tags.
    pub tags: TagsRef<'a>,
    /// The person the event is about.
    pub data_subject: Option<&'a str>,
    /// True if `data` is ciphertext.
    pub encrypted: bool,
    /// The payload was erased: `data` is empty.
    pub erased: bool,
}

impl EventRef<'_> {
    /// Bytes a page accounts for this event: payload, metadata and names.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.data.len()
            + self.metadata.len()
            + self.event_type.len()
            + self.stream.len()
            + self.tags.iter().map(str::len).sum::<usize>()
            + 64
    }

    /// The event, its payload and metadata sharing the memory of `bytes`, in which they lie.
    ///
    /// # Errors
    /// As [`crate::StreamName::new`], if no stream can have its stream's name.
    ///
    /// # Panics
    /// If payload or metadata lie elsewhere.
    pub fn to_stored(&self, bytes: &Bytes, names: &mut Names) -> Result<StoredEvent> {
        Ok(StoredEvent {
            position: self.position,
            stream: names.stream(self.stream)?,
            revision: self.revision,
            committed_at: self.committed_at,
            kind: self.kind,
            erased: self.erased,
            event: NewEvent {
                id: self.id,
                event_type: names.text(self.event_type),
                content_type: match self.content_type {
                    ContentTypeRef::Json => ContentType::Json,
                    ContentTypeRef::Binary => ContentType::Binary,
                    ContentTypeRef::Other(text) => ContentType::Other(names.text(text)),
                },
                data: if self.data.is_empty() { Bytes::new() } else { bytes.slice_ref(self.data) },
                metadata: if self.metadata.is_empty() {
                    Bytes::new()
                } else {
                    bytes.slice_ref(self.metadata)
                },
                occurred_at: self.occurred_at,
                schema: self.schema,
                tags: self.tags.iter().map(|tag| names.text(tag)).collect(),
                data_subject: self.data_subject.map(|name| names.text(name)),
                encrypted: self.encrypted,
            },
        })
    }
}

impl<'a> From<&'a StoredEvent> for EventRef<'a> {
    fn from(stored: &'a StoredEvent) -> EventRef<'a> {
        let event = &stored.event;
        EventRef {
            position: stored.position,
            stream: stored.stream.as_str(),
            revision: stored.revision,
            committed_at: stored.committed_at,
            kind: stored.kind,
            id: event.id,
            event_type: &event.event_type,
            content_type: event.content_type.borrowed(),
            data: &event.data,
            metadata: &event.metadata,
            occurred_at: event.occurred_at,
            schema: event.schema,
            tags: TagsRef(Held::Texts(&event.tags)),
            data_subject: event.data_subject.as_deref(),
            encrypted: event.encrypted,
            erased: stored.erased,
        }
    }
}

/// A media type, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentTypeRef<'a> {
    /// `application/json`
    Json,
    /// `application/octet-stream`
    Binary,
    /// Any other media type.
    Other(&'a str),
}

impl<'a> ContentTypeRef<'a> {
    /// The media type as text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        match self {
            ContentTypeRef::Json => "application/json",
            ContentTypeRef::Binary => "application/octet-stream",
            ContentTypeRef::Other(text) => text,
        }
    }

    /// As [`ContentType::is_json`].
    #[must_use]
    pub fn is_json(self) -> bool {
        match self {
            ContentTypeRef::Json => true,
            ContentTypeRef::Binary => false,
            ContentTypeRef::Other(text) => {
                let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                essence == "application/json" || essence.ends_with("+json")
            }
        }
    }
}

/// Tags, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct TagsRef<'a>(Held<'a>);

#[derive(Debug, Clone, Copy)]
enum Held<'a> {
    Texts(&'a [Text]),
    Salted(&'a [(&'a str, SaltedName)]),
}

impl<'a> TagsRef<'a> {
    pub(crate) fn salted(tags: &'a [(&'a str, SaltedName)]) -> TagsRef<'a> {
        TagsRef(Held::Salted(tags))
    }

    /// The tags in the order they are stored in.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a str> {
        let length = match self.0 {
            Held::Texts(tags) => tags.len(),
            Held::Salted(tags) => tags.len(),
        };
        (0..length).map(move |at| match self.0 {
            Held::Texts(tags) => &*tags[at],
            Held::Salted(tags) => tags[at].0,
        })
    }
}

impl PartialEq for TagsRef<'_> {
    fn eq(&self, other: &TagsRef<'_>) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for TagsRef<'_> {}
