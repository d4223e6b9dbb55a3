//! One event as the server sends it, back into [`StoredEvent`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use graven_model::{
    CheckState, Code, ContentType, Error, EventId, Kind, NewEvent, Position, Result, Revision, SchemaRef,
    StoredEvent, StreamName, Text, Timestamp,
};
use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The JSON form, borrowed from the answer where it can be.
#[derive(serde::Deserialize)]
pub(crate) struct EventJson<'a> {
    /// Place in the log.
    pub(crate) position: u64,
    /// Its stream.
    #[serde(borrow)]
    pub(crate) stream: Cow<'a, str>,
    /// Place in the stream.
    pub(crate) revision: u64,
    /// Identity.
    pub(crate) id: EventId,
    /// Type name.
    #[serde(borrow, rename = "type")]
    pub(crate) event_type: Cow<'a, str>,
    /// Commit time.
    pub(crate) committed_at: Timestamp,
    /// Own time.
    pub(crate) time: Option<Timestamp>,
    #[serde(borrow, default = "json_type")]
    content_type: Cow<'a, str>,
    /// JSON payload.
    #[serde(borrow, default, deserialize_with = "raw")]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "raw")]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata_base64: Option<Cow<'a, str>>,
    #[serde(default)]
    tags: Vec<Text>,
    data_subject: Option<Text>,
    schema: Option<SchemaJson>,
    #[serde(default)]
    encrypted: bool,
    /// The payload was erased.
    #[serde(default)]
    erased: bool,
    kind: Option<String>,
}

#[derive(serde::Deserialize)]
struct SchemaJson {
    version: u32,
    id: u32,
    #[serde(default)]
    check: String,
}

fn json_type() -> Cow<'static, str> {
    Cow::Borrowed("application/json")
}

/// `null` is a payload too; only a missing field is none.
fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> EventJson<'a> {
    /// Reads one event.
    ///
    /// # Errors
    /// [`Code::ConnectionFailed`] if it is not what the server's documentation says.
    pub(crate) fn parse(text: &'a str) -> Result<EventJson<'a>> {
        serde_json::from_str(text).map_err(|error| strange(error.to_string()))
    }

    /// Payload for people: JSON as it is, the size of anything else.
    pub(crate) fn shown_data(&self) -> Cow<'a, str> {
        match (self.data, &self.data_base64) {
            _ if self.erased => Cow::Borrowed("(erased)"),
            (Some(data), _) => super::json::compact(data.get()),
            (None, Some(base64)) => {
                Cow::Owned(format!("({} bytes of {})", base64.len() / 4 * 3, self.content_type))
            }
            (None, None) => Cow::Borrowed(""),
        }
    }

    /// The event with all its parts.
    ///
    /// # Errors
    /// As [`EventJson::parse`].
    pub(crate) fn into_stored(self) -> Result<StoredEvent> {
        let kind = match self.kind.as_deref() {
            None => Kind::Event,
            Some(name) => KINDS
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, kind)| *kind)
                .ok_or_else(|| strange(format!("unknown kind {name:?}")))?,
        };
        let schema = match self.schema {
            None => SchemaRef::default(),
            Some(schema) => {
                SchemaRef { version: schema.version, id: schema.id, check: check_state(&schema.check)? }
            }
        };
        Ok(StoredEvent {
            position: Position(self.position),
            stream: StreamName::new(&*self.stream)?,
            revision: Revision(self.revision),
            committed_at: self.committed_at,
            kind,
            erased: self.erased,
            event: NewEvent {
                id: self.id,
                event_type: (&*self.event_type).into(),
                content_type: ContentType::from_text(&self.content_type),
                data: if self.erased {
                    Bytes::new()
                } else {
                    payload(self.data, self.data_base64.as_deref())?
                },
                metadata: payload(self.metadata, self.metadata_base64.as_deref())?,
                occurred_at: self.time,
                schema,
                tags: self.tags,
                data_subject: self.data_subject,
                encrypted: self.encrypted,
            },
        })
    }
}

fn payload(raw: Option<&RawValue>, base64: Option<&str>) -> Result<Bytes> {
    match (raw, base64) {
        (Some(raw), _) => Ok(Bytes::copy_from_slice(raw.get().as_bytes())),
        (None, Some(text)) => {
            STANDARD.decode(text).map(Bytes::from).map_err(|error| strange(format!("broken base64: {error}")))
        }
        (None, None) => Ok(Bytes::new()),
    }
}

fn strange(why: String) -> Error {
    Error::new(Code::ConnectionFailed, format!("the server sent an event this version cannot read: {why}"))
}

/// Names of the kinds, as the server writes them.
const KINDS: [(&str, Kind); 8] = [
    ("map-root", Kind::MapRoot),
    ("erasure", Kind::Erasure),
    ("key", Kind::Key),
    ("anchor", Kind::Anchor),
    ("tombstone", Kind::Tombstone),
    ("migration", Kind::Migration),
    ("retention", Kind::Retention),
    ("hold", Kind::Hold),
];

fn check_state(name: &str) -> Result<CheckState> {
    match name {
        "" | "none" => Ok(CheckState::None),
        "ok" => Ok(CheckState::Ok),
        "failed" => Ok(CheckState::Failed),
        "skipped" => Ok(CheckState::Skipped),
        other => Err(strange(format!("unknown schema check {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_keeps_its_payload_byte_for_byte() {
        let text = r#"{"position":7,"stream":"a-1","revision":2,"id":"dbfe5d37-8a38-578b-a901-e862f11b7888","type":"T",
            "committed_at":"2011-09-30T22:38:44.546Z","time":"2010-01-01T00:00:00Z","content_type":"application/json",
            "data":{"n": 1.00, "a":[ ]},"metadata":null,"tags":["x"],"data_subject":"p","encrypted":true,
            "schema":{"version":1,"id":7,"check":"ok"}}"#;
        let event = EventJson::parse(text).unwrap().into_stored().unwrap();
        assert_eq!(&*event.event.data, br#"{"n": 1.00, "a":[ ]}"#);
        assert_eq!(&*event.event.metadata, b"null");
        assert_eq!(event.event.schema, SchemaRef { version: 1, id: 7, check: CheckState::Ok });
        assert_eq!((event.position, event.revision, event.kind), (Position(7), Revision(2), Kind::Event));
        assert!(event.event.encrypted && event.event.occurred_at.is_some());
    }

    #[test]
    fn an_erased_payload_is_none_and_not_null() {
        let text = r#"{"position":7,"stream":"a-1","revision":2,"id":"dbfe5d37-8a38-578b-a901-e862f11b7888","type":"T",
            "committed_at":"2011-09-30T22:38:44.546Z","content_type":"application/json","data":null,"erased":true}"#;
        let event = EventJson::parse(text).unwrap();
        assert_eq!(event.shown_data(), "(erased)");
        let event = event.into_stored().unwrap();
        assert!(event.erased && event.event.data.is_empty());
    }

    #[test]
    fn a_binary_payload_and_a_kind_are_read() {
        let text = r#"{"position":7,"stream":"a\u00e4-1","revision":2,"id":"dbfe5d37-8a38-578b-a901-e862f11b7888","type":"T",
            "committed_at":"2011-09-30T22:38:44.546Z","content_type":"application/octet-stream","data_base64":"AAH/",
            "kind":"tombstone"}"#;
        let event = EventJson::parse(text).unwrap().into_stored().unwrap();
        assert_eq!(&*event.event.data, [0, 1, 255]);
        assert_eq!((event.stream.as_str(), event.kind), ("aä-1", Kind::Tombstone));
        assert!(EventJson::parse(&text.replace("tombstone", "other")).unwrap().into_stored().is_err());
    }
}
