//! The one answer each append gets.

use crate::server::kurrent::append::{failed_check, last_revision};
use crate::server::kurrent::propose::Flaw;
use crate::server::kurrent::words::position;
use bytes::Bytes;
use graven_model::{Code, Error, Expected, FailedCheck, Receipt, limits};
use graven_proto::kurrentdb::google::Status;
use graven_proto::kurrentdb::shared::{
    AccessDenied, BadRequest, MaximumAppendEventSizeExceeded, MaximumAppendSizeExceeded, StreamDeleted,
    StreamIdentifier, Timeout, Unknown, Uuid, WrongExpectedVersion, wrong_expected_version as wrong,
};
use graven_proto::kurrentdb::streams::BatchAppendResp;
use graven_proto::kurrentdb::streams::batch_append_req::Options;
use graven_proto::kurrentdb::streams::batch_append_req::options::ExpectedStreamPosition as Asked;
use graven_proto::kurrentdb::streams::batch_append_resp::{
    ExpectedStreamPosition as Echo, Result as Wire, Success, success,
};
use graven_proto::kurrentdb::well_known::Any;
use prost::Name;
use tonic::Code as GrpcCode;

/// What an answer repeats of its append.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    correlation_id: Option<Uuid>,
    stream_identifier: StreamIdentifier,
    expected: Option<Echo>,
}

impl Subject {
    /// What the first part of an append says of it.
    pub(super) fn new(correlation_id: Option<Uuid>, options: Option<&Options>) -> Subject {
        let named = options.and_then(|options| options.stream_identifier.as_ref());
        let name: &[u8] = named.map_or(&[], |named| &named.stream_name);
        // A copy, so that the answer does not hold the message.
        let stream_name = Bytes::copy_from_slice(&name[..name.len().min(limits::STREAM_NAME_BYTES_MAX)]);
        let expected = options.and_then(|options| options.expected_stream_position).map(echo);
        Subject { correlation_id, stream_identifier: StreamIdentifier { stream_name }, expected }
    }

    /// Whether later options are those of the first part.
    pub(super) fn repeats(&self, options: &Options) -> bool {
        options.stream_identifier.as_ref() == Some(&self.stream_identifier)
            && options.expected_stream_position.map(echo) == self.expected
    }
}

fn echo(asked: Asked) -> Echo {
    match asked {
        Asked::StreamPosition(revision) => Echo::StreamPosition(revision),
        Asked::NoStream(()) => Echo::NoStream(()),
        Asked::Any(()) => Echo::Any(()),
        Asked::StreamExists(()) => Echo::StreamExists(()),
    }
}

/// What became of an append.
#[derive(Debug)]
pub(super) enum Outcome {
    Stored(Receipt),
    Refused(Error),
    Flawed(Flaw),
}

impl Outcome {
    /// The code of the error table, if it was refused.
    pub(super) fn code(&self) -> Option<Code> {
        match self {
            Outcome::Stored(_) => None,
            Outcome::Refused(error) => Some(error.code),
            Outcome::Flawed(flaw) => Some(flaw.code()),
        }
    }
}

/// The answer to an append.
pub(super) fn answer(subject: &Subject, outcome: &Outcome) -> BatchAppendResp {
    respond(
        subject,
        match outcome {
            Outcome::Stored(receipt) => Wire::Success(success(receipt)),
            Outcome::Refused(error) => Wire::Error(refused(subject, error)),
            Outcome::Flawed(flaw) => Wire::Error(flawed(flaw)),
        },
    )
}

/// The answer to an append whose time is over.
pub(super) fn timed_out(subject: &Subject) -> BatchAppendResp {
    respond(subject, Wire::Error(flawed(&Flaw::TimedOut)))
}

fn respond(subject: &Subject, result: Wire) -> BatchAppendResp {
    let Subject { correlation_id, stream_identifier, expected } = subject.clone();
    BatchAppendResp {
        correlation_id,
        stream_identifier: Some(stream_identifier),
        expected_stream_position: expected,
        result: Some(result),
    }
}

fn success(receipt: &Receipt) -> Success {
    let revision = receipt.streams.first().and_then(|stream| stream.revision);
    Success {
        current_revision_option: Some(match revision {
            Some(revision) => success::CurrentRevisionOption::CurrentRevision(revision.0),
            None => success::CurrentRevisionOption::NoStream(()),
        }),
        position_option: Some(match receipt.last_position {
            Some(last) => success::PositionOption::Position(position(last)),
            None => success::PositionOption::NoPosition(()),
        }),
    }
}

fn refused(subject: &Subject, error: &Error) -> Status {
    if let Some(check) = failed_check(error) {
        return status(GrpcCode::AlreadyExists, "WrongExpectedVersion", &conflict(check));
    }
    match error.code {
        Code::StreamTombstoned | Code::StreamDeleted => {
            let stream_identifier = Some(subject.stream_identifier.clone());
            status(GrpcCode::NotFound, "StreamDeleted", &StreamDeleted { stream_identifier })
        }
        Code::Timeout => flawed(&Flaw::TimedOut),
        Code::AppendTooLarge => flawed(&Flaw::AppendTooLarge),
        _ if error.code.entry().status == 400 => bad_request(error),
        // The client has no word for it; the text says what it was.
        _ => status(GrpcCode::Unknown, &error.to_string(), &Unknown {}),
    }
}

fn flawed(flaw: &Flaw) -> Status {
    match flaw {
        Flaw::MissingMetadata => {
            let message = "the type or the content type of an event is missing".to_owned();
            status(GrpcCode::InvalidArgument, "BadRequest", &BadRequest { message })
        }
        Flaw::EventTooLarge { id, size } => status(
            GrpcCode::InvalidArgument,
            "MaximumAppendEventSizeExceeded",
            &MaximumAppendEventSizeExceeded {
                event_id: id.to_string(),
                proposed_event_size: u32::try_from(*size).unwrap_or(u32::MAX),
                max_append_event_size: limits::EVENT_BYTES_MAX as u32,
            },
        ),
        Flaw::AppendTooLarge => status(
            GrpcCode::InvalidArgument,
            "MaximumAppendSizeExceeded",
            &MaximumAppendSizeExceeded { max_append_size: limits::APPEND_BYTES_MAX as u32 },
        ),
        Flaw::NotWritable => status(GrpcCode::PermissionDenied, "AccessDenied", &AccessDenied {}),
        Flaw::TimedOut => status(GrpcCode::DeadlineExceeded, "Timeout", &Timeout {}),
        Flaw::Invalid(error) => bad_request(error),
    }
}

fn bad_request(error: &Error) -> Status {
    status(GrpcCode::InvalidArgument, "BadRequest", &BadRequest { message: error.to_string() })
}

fn conflict(check: &FailedCheck) -> WrongExpectedVersion {
    WrongExpectedVersion {
        current_stream_revision_option: Some(match last_revision(check.actual) {
            Some(last) => wrong::CurrentStreamRevisionOption::CurrentStreamRevision(last.0),
            None => wrong::CurrentStreamRevisionOption::CurrentNoStream(()),
        }),
        expected_stream_position_option: Some(match check.expected {
            // The last two are not asked for in this service.
            Expected::Any | Expected::Deleted | Expected::Tombstoned => {
                wrong::ExpectedStreamPositionOption::ExpectedAny(())
            }
            Expected::NoStream => wrong::ExpectedStreamPositionOption::ExpectedNoStream(()),
            Expected::Exists => wrong::ExpectedStreamPositionOption::ExpectedStreamExists(()),
            Expected::Revision(revision) => {
                wrong::ExpectedStreamPositionOption::ExpectedStreamPosition(revision.0)
            }
        }),
    }
}

fn status<M: Name>(code: GrpcCode, message: &str, detail: &M) -> Status {
    let detail = Any { type_url: M::type_url(), value: detail.encode_to_vec() };
    Status { code: code as i32, message: message.to_owned(), details: vec![detail] }
}
