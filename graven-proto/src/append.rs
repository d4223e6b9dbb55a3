//! Appends and receipts.

use crate::event::event_id;
use crate::{missing, unknown, wire};
use bytes::Bytes;
use graven_model::error::Details;
use graven_model::{
    AppendRequest, Condition, Error, Expected, FailedCheck, Idempotency, NewEvent, Position, Receipt, Result,
    Revision, StoredEvent, StreamName, StreamReceipt, StreamState, StreamWrite, Timestamp,
};

/// What a stream must look like; a field that is absent says [`Expected::Any`].
///
/// # Errors
/// [`graven_model::Code::BadRequest`] for a state there is not.
pub fn expected(field: Option<wire::Expected>) -> Result<Expected> {
    use wire::expected::Kind;
    match field.and_then(|expected| expected.kind) {
        None => Ok(Expected::Any),
        Some(Kind::Revision(revision)) => Ok(Expected::Revision(Revision(revision))),
        Some(Kind::State(state)) => match wire::ExpectedState::try_from(state) {
            Ok(wire::ExpectedState::Any) => Ok(Expected::Any),
            Ok(wire::ExpectedState::NoStream) => Ok(Expected::NoStream),
            Ok(wire::ExpectedState::Exists) => Ok(Expected::Exists),
            Ok(wire::ExpectedState::Deleted) => Ok(Expected::Deleted),
            Ok(wire::ExpectedState::Tombstoned) => Ok(Expected::Tombstoned),
            Err(_) => Err(unknown("expected state", state)),
        },
    }
}

impl From<Expected> for wire::Expected {
    fn from(expected: Expected) -> wire::Expected {
        use wire::expected::Kind;
        let kind = match expected {
            Expected::Any => None,
            Expected::NoStream => Some(Kind::State(wire::ExpectedState::NoStream as i32)),
            Expected::Exists => Some(Kind::State(wire::ExpectedState::Exists as i32)),
            Expected::Deleted => Some(Kind::State(wire::ExpectedState::Deleted as i32)),
            Expected::Tombstoned => Some(Kind::State(wire::ExpectedState::Tombstoned as i32)),
            Expected::Revision(revision) => Some(Kind::Revision(revision.0)),
        };
        wire::Expected { kind }
    }
}

impl From<StreamState> for wire::StreamState {
    fn from(state: StreamState) -> wire::StreamState {
        use wire::StreamStatus;
        let (status, revision) = match state {
            StreamState::NoStream => (StreamStatus::NoStream, 0),
            StreamState::At(revision) => (StreamStatus::At, revision.0),
            StreamState::SoftDeleted(revision) => (StreamStatus::Deleted, revision.0),
            StreamState::Tombstoned => (StreamStatus::Tombstoned, 0),
        };
        wire::StreamState { status: status as i32, revision }
    }
}

impl TryFrom<wire::StreamState> for StreamState {
    type Error = Error;

    /// # Errors
    /// [`graven_model::Code::BadRequest`] for a status there is not.
    fn try_from(state: wire::StreamState) -> Result<StreamState> {
        use wire::StreamStatus;
        let revision = Revision(state.revision);
        Ok(match StreamStatus::try_from(state.status) {
            Ok(StreamStatus::NoStream) => StreamState::NoStream,
            Ok(StreamStatus::At) => StreamState::At(revision),
            Ok(StreamStatus::Deleted) => StreamState::SoftDeleted(revision),
            Ok(StreamStatus::Tombstoned) => StreamState::Tombstoned,
            Err(_) => return Err(unknown("stream status", state.status)),
        })
    }
}

impl TryFrom<wire::AppendRequest> for AppendRequest {
    type Error = Error;

    /// # Errors
    /// [`graven_model::Code::InvalidStreamName`]; [`graven_model::Code::InvalidEventId`] and
    /// [`graven_model::Code::BadRequest`], with the index of the event. All other bounds are the store's to check.
    fn try_from(request: wire::AppendRequest) -> Result<AppendRequest> {
        let mut streams = Vec::with_capacity(request.streams.len());
        for write in request.streams {
            streams.push(StreamWrite {
                stream: StreamName::new(write.stream)?,
                expected: expected(write.expected)?,
            });
        }
        let mut events = Vec::with_capacity(request.events.len());
        for (item, event) in request.events.into_iter().enumerate() {
            let stream = event.stream;
            let event = NewEvent::try_from(event).map_err(|error| error.with(Details::Item(item as u64)))?;
            events.push((stream, event));
        }
        Ok(AppendRequest {
            streams,
            events,
            condition: request.condition.map(Condition::try_from).transpose()?,
            idempotency: match wire::Idempotency::try_from(request.idempotency) {
                Ok(wire::Idempotency::Whole) => Idempotency::Whole,
                Ok(wire::Idempotency::EachEvent) => Idempotency::EachEvent,
                Err(_) => return Err(unknown("idempotency", request.idempotency)),
            },
            unseen_max: request.unseen_max,
        })
    }
}

impl From<&AppendRequest> for wire::AppendRequest {
    fn from(request: &AppendRequest) -> wire::AppendRequest {
        wire::AppendRequest {
            streams: request
                .streams
                .iter()
                .map(|write| wire::StreamWrite {
                    stream: write.stream.as_str().to_owned(),
                    expected: (write.expected != Expected::Any).then(|| write.expected.into()),
                })
                .collect(),
            events: request
                .events
                .iter()
                .map(|(stream, event)| wire::NewEvent { stream: *stream, ..event.into() })
                .collect(),
            condition: request.condition.as_ref().map(wire::Condition::from),
            idempotency: match request.idempotency {
                Idempotency::Whole => wire::Idempotency::Whole,
                Idempotency::EachEvent => wire::Idempotency::EachEvent,
            } as i32,
            unseen_max: request.unseen_max,
            proof: false,
        }
    }
}

impl TryFrom<wire::Condition> for Condition {
    type Error = Error;

    /// # Errors
    /// [`graven_model::Code::BadRequest`] without a query.
    fn try_from(condition: wire::Condition) -> Result<Condition> {
        Ok(Condition {
            query: condition.query.ok_or_else(|| missing("the condition's query"))?.into(),
            after: condition.after.map(Position),
        })
    }
}

impl From<&Condition> for wire::Condition {
    fn from(condition: &Condition) -> wire::Condition {
        wire::Condition {
            query: Some((&condition.query).into()),
            after: condition.after.map(|position| position.0),
        }
    }
}

impl From<&Receipt> for wire::Receipt {
    fn from(receipt: &Receipt) -> wire::Receipt {
        wire::Receipt {
            first_position: receipt.first_position.0,
            last_position: receipt.last_position.map(|position| position.0),
            streams: receipt
                .streams
                .iter()
                .map(|share| wire::StreamReceipt {
                    stream: share.stream.as_str().to_owned(),
                    revision: share.revision.map(|revision| revision.0),
                })
                .collect(),
            committed_at: receipt.committed_at.micros(),
            appended: receipt.appended,
            duplicates: receipt.duplicates,
            proof: String::new(),
        }
    }
}

impl TryFrom<wire::Receipt> for Receipt {
    type Error = Error;

    /// # Errors
    /// [`graven_model::Code::InvalidStreamName`].
    fn try_from(receipt: wire::Receipt) -> Result<Receipt> {
        let mut streams = Vec::with_capacity(receipt.streams.len());
        for share in receipt.streams {
            streams.push(StreamReceipt {
                stream: StreamName::new(share.stream)?,
                revision: share.revision.map(Revision),
            });
        }
        Ok(Receipt {
            first_position: Position(receipt.first_position),
            last_position: receipt.last_position.map(Position),
            streams,
            committed_at: Timestamp::from_micros(receipt.committed_at),
            appended: receipt.appended,
            duplicates: receipt.duplicates,
        })
    }
}

impl From<&FailedCheck> for wire::FailedCheck {
    fn from(check: &FailedCheck) -> wire::FailedCheck {
        wire::FailedCheck {
            stream: check.stream.as_str().to_owned(),
            expected: Some(check.expected.into()),
            actual: Some(check.actual.into()),
            partial_retry: check.partial_retry.map(|id| Bytes::copy_from_slice(&id.0)),
            unseen: check.unseen.iter().map(wire::StoredEvent::from).collect(),
        }
    }
}

impl TryFrom<wire::FailedCheck> for FailedCheck {
    type Error = Error;

    /// # Errors
    /// The code of what is malformed.
    fn try_from(check: wire::FailedCheck) -> Result<FailedCheck> {
        Ok(FailedCheck {
            stream: StreamName::new(check.stream)?,
            expected: expected(check.expected)?,
            actual: check.actual.unwrap_or_default().try_into()?,
            partial_retry: check.partial_retry.as_deref().map(event_id).transpose()?,
            unseen: check.unseen.into_iter().map(StoredEvent::try_from).collect::<Result<_>>()?,
        })
    }
}
