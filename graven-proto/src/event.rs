//! Events.

use crate::{unknown, wire};
use bytes::Bytes;
use graven_model::{
    CheckState, Code, ContentType, ContentTypeRef, Error, EventId, Kind, NewEvent, Position, Result,
    Revision, SchemaRef, StoredEvent, StreamName, Text, Timestamp,
};

/// The 16 bytes of an event id.
///
/// # Errors
/// [`Code::InvalidEventId`] for another number of bytes.
pub(crate) fn event_id(bytes: &[u8]) -> Result<EventId> {
    match bytes.try_into() {
        Ok(id) => Ok(EventId(id)),
        Err(_) => Err(Error::new(Code::InvalidEventId, "an event id is not a UUID")
            .expected("its 16 bytes")
            .found(format!("{} bytes", bytes.len()))),
    }
}

/// Media type as it stands on the wire: nothing for the most common one.
pub(crate) fn content_type_text(content_type: ContentTypeRef<'_>) -> &str {
    match content_type {
        ContentTypeRef::Json => "",
        other => other.as_str(),
    }
}

pub(crate) fn content_type(text: &str) -> ContentType {
    if text.is_empty() { ContentType::Json } else { ContentType::from_text(text) }
}

fn check_state(number: i32) -> Result<CheckState> {
    Ok(match wire::CheckState::try_from(number) {
        Ok(wire::CheckState::None) => CheckState::None,
        Ok(wire::CheckState::Ok) => CheckState::Ok,
        Ok(wire::CheckState::Failed) => CheckState::Failed,
        Ok(wire::CheckState::Skipped) => CheckState::Skipped,
        Err(_) => return Err(unknown("check state", number)),
    })
}

pub(crate) fn kind(number: i32) -> Result<Kind> {
    u8::try_from(number).ok().and_then(Kind::from_u8).ok_or_else(|| unknown("kind", number))
}

pub(crate) fn schema_ref(schema: Option<wire::SchemaRef>) -> Result<SchemaRef> {
    let Some(schema) = schema else { return Ok(SchemaRef::default()) };
    Ok(SchemaRef { version: schema.version, id: schema.id, check: check_state(schema.check)? })
}

/// The schema on the wire; none for "no schema".
pub(crate) fn schema_message(schema: SchemaRef) -> Option<wire::SchemaRef> {
    (schema != SchemaRef::default()).then_some(wire::SchemaRef {
        version: schema.version,
        id: schema.id,
        check: schema.check as i32,
    })
}

fn texts(names: Vec<String>) -> Vec<Text> {
    names.into_iter().map(Text::from).collect()
}

pub(crate) fn strings(names: &[Text]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

impl TryFrom<wire::NewEvent> for NewEvent {
    type Error = Error;

    /// # Errors
    /// [`Code::InvalidEventId`], [`Code::BadRequest`]. Bounds are the store's to check.
    fn try_from(event: wire::NewEvent) -> Result<NewEvent> {
        Ok(NewEvent {
            id: event_id(&event.id)?,
            event_type: event.r#type.into(),
            content_type: content_type(&event.content_type),
            data: event.data,
            metadata: event.metadata,
            occurred_at: event.occurred_at.map(Timestamp::from_micros),
            schema: schema_ref(event.schema)?,
            tags: texts(event.tags),
            data_subject: event.data_subject.map(Text::from),
            encrypted: event.encrypted,
        })
    }
}

impl From<&NewEvent> for wire::NewEvent {
    /// The index of the stream stays 0.
    fn from(event: &NewEvent) -> wire::NewEvent {
        wire::NewEvent {
            stream: 0,
            id: Bytes::copy_from_slice(&event.id.0),
            r#type: event.event_type.to_string(),
            content_type: content_type_text(event.content_type.borrowed()).to_owned(),
            data: event.data.clone(),
            metadata: event.metadata.clone(),
            tags: strings(&event.tags),
            occurred_at: event.occurred_at.map(Timestamp::micros),
            data_subject: event.data_subject.as_deref().map(str::to_owned),
            encrypted: event.encrypted,
            schema: schema_message(event.schema),
        }
    }
}

impl TryFrom<wire::StoredEvent> for StoredEvent {
    type Error = Error;

    /// # Errors
    /// As for a new event; [`Code::InvalidStreamName`].
    fn try_from(event: wire::StoredEvent) -> Result<StoredEvent> {
        Ok(StoredEvent {
            position: Position(event.position),
            stream: StreamName::new(event.stream)?,
            revision: Revision(event.revision),
            committed_at: Timestamp::from_micros(event.committed_at),
            kind: kind(event.kind)?,
            erased: event.erased,
            event: NewEvent {
                id: event_id(&event.id)?,
                event_type: event.r#type.into(),
                content_type: content_type(&event.content_type),
                data: event.data,
                metadata: event.metadata,
                occurred_at: event.occurred_at.map(Timestamp::from_micros),
                schema: schema_ref(event.schema)?,
                tags: texts(event.tags),
                data_subject: event.data_subject.map(Text::from),
                encrypted: event.encrypted,
            },
        })
    }
}

impl From<&StoredEvent> for wire::StoredEvent {
    fn from(stored: &StoredEvent) -> wire::StoredEvent {
        let event = &stored.event;
        wire::StoredEvent {
            position: stored.position.0,
            stream: stored.stream.as_str().to_owned(),
            revision: stored.revision.0,
            committed_at: stored.committed_at.micros(),
            id: Bytes::copy_from_slice(&event.id.0),
            r#type: event.event_type.to_string(),
            content_type: content_type_text(event.content_type.borrowed()).to_owned(),
            data: event.data.clone(),
            metadata: event.metadata.clone(),
            tags: strings(&event.tags),
            occurred_at: event.occurred_at.map(Timestamp::micros),
            data_subject: event.data_subject.as_deref().map(str::to_owned),
            encrypted: event.encrypted,
            schema: schema_message(event.schema),
            kind: stored.kind as i32,
            erased: stored.erased,
        }
    }
}
