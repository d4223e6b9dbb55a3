//! What clients propose to store, as events: the part that all appends of the older service have alike.

use super::errors::Refusal;
use super::words::{content_type, event_id};
use crate::server::long_read::too_late;
use bytes::Bytes;
use graven_model::{Code, Error, EventId, Expected, NewEvent, Result, Revision, SchemaRef, limits};
use graven_proto::kurrentdb::shared::Uuid;
use graven_proto::kurrentdb::streams::{append_req, batch_append_req};
use std::collections::BTreeMap;

/// An event as it is proposed.
pub(super) struct Proposed {
    id: Option<Uuid>,
    metadata: BTreeMap<String, String>,
    custom_metadata: Bytes,
    data: Bytes,
}

impl From<append_req::ProposedMessage> for Proposed {
    fn from(message: append_req::ProposedMessage) -> Proposed {
        let append_req::ProposedMessage { id, metadata, custom_metadata, data } = message;
        Proposed { id, metadata, custom_metadata, data }
    }
}

impl From<batch_append_req::ProposedMessage> for Proposed {
    fn from(message: batch_append_req::ProposedMessage) -> Proposed {
        let batch_append_req::ProposedMessage { id, metadata, custom_metadata, data } = message;
        Proposed { id, metadata, custom_metadata, data }
    }
}

/// What is wrong with what was proposed.
#[derive(Debug)]
pub(super) enum Flaw {
    /// The type or the content type of an event is missing.
    MissingMetadata,
    /// An event is over the bound.
    EventTooLarge { id: EventId, size: usize },
    /// All of it is over the bound.
    AppendTooLarge,
    /// Nobody writes its stream.
    NotWritable,
    /// The time its caller waits is over.
    TimedOut,
    /// Anything else.
    Invalid(Error),
}

impl From<Error> for Flaw {
    fn from(error: Error) -> Flaw {
        match error.code {
            Code::AppendTooLarge | Code::BodyTooLarge => Flaw::AppendTooLarge,
            _ => Flaw::Invalid(error),
        }
    }
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Refusal {
        match flaw {
            Flaw::MissingMetadata => Refusal::missing_metadata(),
            Flaw::EventTooLarge { id, size } => Refusal::event_too_large(id, size),
            Flaw::AppendTooLarge => Error::new(Code::AppendTooLarge, "the append is too large").into(),
            Flaw::NotWritable => Refusal::access_denied(),
            Flaw::TimedOut => too_late().into(),
            Flaw::Invalid(error) => error.into(),
        }
    }
}

impl Flaw {
    /// The code of the error table, for the metrics.
    pub(super) fn code(&self) -> Code {
        match self {
            Flaw::MissingMetadata => Code::BadRequest,
            Flaw::EventTooLarge { .. } => Code::EventTooLarge,
            Flaw::AppendTooLarge => Code::AppendTooLarge,
            Flaw::NotWritable => Code::InvalidStreamName,
            Flaw::TimedOut => Code::Timeout,
            Flaw::Invalid(error) => error.code,
        }
    }
}

/// The events of one append to one stream, as they come.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// As an append takes them.
    pub(super) events: Vec<(u32, NewEvent)>,
    /// Bytes of their data and metadata.
    pub(super) bytes: usize,
}

impl Events {
    /// Adds one.
    ///
    /// # Errors
    /// What is wrong with it, or with all of them together.
    pub(super) fn add(&mut self, proposed: impl Into<Proposed>) -> Result<(), Flaw> {
        let Proposed { id, metadata, custom_metadata, data } = proposed.into();
        let (Some(event_type), Some(announced)) = (metadata.get("type"), metadata.get("content-type")) else {
            return Err(Flaw::MissingMetadata);
        };
        let id = event_id(id.as_ref())?;
        let size = data.len() + custom_metadata.len();
        if size > limits::EVENT_BYTES_MAX {
            return Err(Flaw::EventTooLarge { id, size });
        }
        if self.bytes + size > limits::APPEND_BYTES_MAX || self.events.len() == limits::APPEND_EVENTS_MAX {
            return Err(Flaw::AppendTooLarge);
        }
        self.bytes += size;
        let event = NewEvent {
            id,
            event_type: event_type.as_str().into(),
            content_type: content_type(announced, &data),
            data,
            metadata: custom_metadata,
            occurred_at: None,
            schema: SchemaRef::default(),
            tags: Vec::new(),
            data_subject: None,
            encrypted: false,
        };
        self.events.push((0, event));
        Ok(())
    }
}

/// The revision a stream is expected to be at, in the older service's numbers.
///
/// # Errors
/// [`Code::InvalidAppend`] for a number no revision has.
pub(super) fn at_revision(number: u64) -> Result<Expected> {
    match i64::try_from(number) {
        Ok(_) => Ok(Expected::Revision(Revision(number))),
        Err(_) if number == u64::MAX => Ok(Expected::NoStream),
        Err(_) => Err(Error::new(Code::InvalidAppend, "the expected revision is not one there is")
            .expected(format!("at most {}", i64::MAX))
            .found(number.to_string())),
    }
}

/// What an append is told that does not say what it expects.
pub(super) fn no_expectation() -> Error {
    Error::new(Code::InvalidAppend, "the expected revision is missing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::kurrent::words::uuid;
    use graven_model::ContentType;

    fn proposed(metadata: &[(&str, &str)], data: Vec<u8>) -> Proposed {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Proposed {
            id: Some(uuid(EventId([7; 16]), true)),
            metadata: metadata.iter().map(text).collect(),
            custom_metadata: Bytes::from_static(b"m"),
            data: data.into(),
        }
    }

    const COMPLETE: [(&str, &str); 2] = [("type", "Opened"), ("content-type", "application/json")];

    #[test]
    fn an_event_needs_type_content_type_and_id() {
        let mut events = Events::default();
        events.add(proposed(&COMPLETE, b"{}".to_vec())).unwrap();
        for part in [0, 1] {
            let flaw = events.add(proposed(&COMPLETE[part..=part], Vec::new())).unwrap_err();
            assert!(matches!(flaw, Flaw::MissingMetadata), "{flaw:?}");
        }
        let nameless = Proposed { id: None, ..proposed(&COMPLETE, Vec::new()) };
        let flaw = events.add(nameless).unwrap_err();
        assert!(matches!(flaw, Flaw::Invalid(Error { code: Code::InvalidEventId, .. })), "{flaw:?}");
        let [(0, event)] = &events.events[..] else { panic!("{events:?}") };
        assert_eq!((&*event.event_type, &event.content_type), ("Opened", &ContentType::Json));
        assert_eq!((&event.data[..], &event.metadata[..], events.bytes), (&b"{}"[..], &b"m"[..], 3));
    }

    #[test]
    fn events_are_bounded_one_by_one_and_together() {
        let mut events = Events::default();
        let flaw = events.add(proposed(&COMPLETE, vec![b' '; limits::EVENT_BYTES_MAX])).unwrap_err();
        assert!(
            matches!(flaw, Flaw::EventTooLarge { size, .. } if size == limits::EVENT_BYTES_MAX + 1),
            "{flaw:?}"
        );
        events.bytes = limits::APPEND_BYTES_MAX - 2;
        assert!(matches!(events.add(proposed(&COMPLETE, b"{}".to_vec())), Err(Flaw::AppendTooLarge)));
        events.add(proposed(&COMPLETE, b"1".to_vec())).unwrap();
    }

    #[test]
    fn the_largest_number_says_that_there_is_no_stream() {
        assert_eq!(at_revision(7).unwrap(), Expected::Revision(Revision(7)));
        assert_eq!(at_revision(u64::MAX).unwrap(), Expected::NoStream);
        assert_eq!(at_revision(u64::MAX - 1).unwrap_err().code, Code::InvalidAppend);
    }
}
