//! Errors as the newer services tell them: a status with details.

use super::{Refusal, expected_number, last_number, shortened, writer};
use graven_model::error::Details;
use graven_model::{Code, Error, Expected, FailedCheck, StreamName, StreamState, limits};
use graven_proto::kurrentdb::google::{BadRequest, ErrorInfo, RetryInfo, bad_request::FieldViolation};
use graven_proto::kurrentdb::rpc::{
    AccessDeniedErrorDetails, NotLeaderNodeErrorDetails, not_leader_node_error_details::NodeInfo,
};
use graven_proto::kurrentdb::well_known::{Any, Duration};
use graven_proto::kurrentdb::{google, v2_errors};
use graven_proto::status::grpc_code;
use prost::{Message as _, Name};
use tonic::{Code as GrpcCode, Status};

/// Bytes of the details of one status: they go as a header, which clients bound.
pub(in crate::server::kurrent) const DETAILS_BYTES_MAX: usize = 4 << 10;

/// What a reason belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Domain {
    Streams,
    Server,
}

impl Domain {
    fn word(self) -> &'static str {
        match self {
            Domain::Streams => "streams",
            Domain::Server => "server",
        }
    }
}

/// What a status says beside its code and its text.
struct Reason {
    domain: Domain,
    /// Its name in the interface, without the prefix of the enumeration.
    name: &'static str,
}

const fn of_streams(name: &'static str) -> Reason {
    Reason { domain: Domain::Streams, name }
}

const fn of_server(name: &'static str) -> Reason {
    Reason { domain: Domain::Server, name }
}

impl Refusal {
    /// An error of the store as the newer services tell it.
    pub(in crate::server::kurrent) fn rich(error: &Error) -> Refusal {
        let first = match &error.details {
            Details::FailedChecks(checks) => checks.first(),
            _ => None,
        };
        let retry = || Some(detail(&RetryInfo { retry_delay: Some(Duration { seconds: 1, nanos: 0 }) }));
        let (status, reason, detail) = match error.code {
            Code::NotTheWriter => {
                let leader =
                    writer(error).map(|(host, port)| NodeInfo { host, port: port.into(), node_id: None });
                let details = detail(&NotLeaderNodeErrorDetails { current_leader: leader });
                (GrpcCode::FailedPrecondition, of_server("NOT_LEADER_NODE"), Some(details))
            }
            Code::Overloaded => (GrpcCode::Unavailable, of_server("SERVER_OVERLOADED"), retry()),
            Code::Unavailable
            | Code::Closed
            | Code::ConnectionFailed
            | Code::JournalUnreachable
            | Code::NotYetThere => (GrpcCode::Unavailable, of_server("SERVER_NOT_READY"), retry()),
            Code::Timeout => (GrpcCode::DeadlineExceeded, of_server("OPERATION_TIMEOUT"), retry()),
            // The first stream that is not as expected speaks for all of them.
            Code::WrongExpectedRevision | Code::StreamTombstoned | Code::StreamDeleted => {
                let (reason, details) =
                    first.map_or((of_streams("STREAM_REVISION_CONFLICT"), None), not_as_expected);
                (GrpcCode::FailedPrecondition, reason, details)
            }
            Code::AppendTooLarge | Code::BodyTooLarge => return Refusal::transaction_too_large(0),
            _ if matches!(error.code.entry().status, 400 | 413 | 415) => {
                return Refusal::bad_request(error.code, "", &error.to_string());
            }
            // What would only repeat itself is not told as a failure of the connection.
            _ => (grpc_code(error.code), of_server("SERVER_MALFUNCTION"), None),
        };
        Refusal::with_reason(error.code, status, &reason, &error.message, detail)
    }

    /// A refusal with a detail of its own.
    pub(in crate::server::kurrent) fn detailed(
        code: Code,
        status: GrpcCode,
        reason: &'static str,
        text: &str,
        details: &impl Name,
    ) -> Refusal {
        Refusal::with_reason(code, status, &of_streams(reason), text, Some(detail(details)))
    }

    /// A refusal whose reason says everything.
    pub(in crate::server::kurrent) fn bare(status: GrpcCode, reason: &'static str, text: &str) -> Refusal {
        Refusal::with_reason(Code::InvalidAppend, status, &of_streams(reason), text, None)
    }

    /// A field that is not as it has to be.
    pub(in crate::server::kurrent) fn bad_request(code: Code, field: &str, what: &str) -> Refusal {
        let violation = FieldViolation { field: field.to_owned(), description: shortened(what.to_owned()) };
        let details = detail(&BadRequest { field_violations: vec![violation] });
        Refusal::with_reason(code, GrpcCode::InvalidArgument, &of_server("BAD_REQUEST"), what, Some(details))
    }

    /// What nobody but the store itself may do with a stream.
    pub(in crate::server::kurrent) fn access_denied_to(operation: &str, stream: &StreamName) -> Refusal {
        let details = detail(&AccessDeniedErrorDetails {
            operation: operation.to_owned(),
            username: None,
            permission: None,
        });
        let text = format!("stream {:?} is written by the store alone", stream.as_str());
        let reason = of_server("ACCESS_DENIED");
        Refusal::with_reason(
            Code::InvalidStreamName,
            GrpcCode::PermissionDenied,
            &reason,
            &text,
            Some(details),
        )
    }

    /// One append over the bound, of so many bytes; 0 if nobody counted them.
    pub(in crate::server::kurrent) fn transaction_too_large(size: usize) -> Refusal {
        let max_size = int32(limits::APPEND_BYTES_MAX);
        let details = v2_errors::AppendTransactionSizeExceededErrorDetails { size: int32(size), max_size };
        let text = format!("the append is larger than {max_size} bytes");
        let reason = "APPEND_TRANSACTION_SIZE_EXCEEDED";
        Refusal::detailed(Code::AppendTooLarge, GrpcCode::Aborted, reason, &text, &details)
    }

    /// One record over the bound.
    pub(in crate::server::kurrent) fn record_too_large(
        stream: &str,
        record_id: &str,
        size: usize,
    ) -> Refusal {
        let (size, max_size) = (int32(size), int32(limits::EVENT_BYTES_MAX));
        let details = v2_errors::AppendRecordSizeExceededErrorDetails {
            stream: stream.to_owned(),
            record_id: record_id.to_owned(),
            size,
            max_size,
        };
        let text = format!("record {record_id} has {size} bytes; at most {max_size} are allowed");
        let reason = "APPEND_RECORD_SIZE_EXCEEDED";
        Refusal::detailed(Code::EventTooLarge, GrpcCode::InvalidArgument, reason, &text, &details)
    }

    fn with_reason(code: Code, status: GrpcCode, reason: &Reason, text: &str, typed: Option<Any>) -> Refusal {
        let text = shortened(text.to_owned());
        let info = ErrorInfo {
            reason: reason.name.to_owned(),
            domain: reason.domain.word().to_owned(),
            ..ErrorInfo::default()
        };
        // The last detail is the one a client decodes that expects a single one.
        let details = [Some(detail(&info)), typed].into_iter().flatten().collect();
        let rich = google::Status { code: status as i32, message: text.clone(), details };
        Refusal::with_status(code, Status::with_details(status, text, rich.encode_to_vec().into()))
    }
}

/// A message as a detail.
fn detail<M: Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

fn not_as_expected(check: &FailedCheck) -> (Reason, Option<Any>) {
    let stream = check.stream.as_str().to_owned();
    match (check.actual, check.expected) {
        (StreamState::Tombstoned, _) => {
            let details = detail(&v2_errors::StreamTombstonedErrorDetails { stream });
            (of_streams("STREAM_TOMBSTONED"), Some(details))
        }
        (StreamState::SoftDeleted(_), Expected::Exists) => {
            let details = detail(&v2_errors::StreamDeletedErrorDetails { stream });
            (of_streams("STREAM_DELETED"), Some(details))
        }
        (actual, expected) => {
            let details = detail(&v2_errors::StreamRevisionConflictErrorDetails {
                stream,
                expected_revision: expected_number(expected),
                actual_revision: last_number(actual),
            });
            (of_streams("STREAM_REVISION_CONFLICT"), Some(details))
        }
    }
}

fn int32(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
