//! Errors as gRPC statuses and back.
//!
//! The code of the status follows from the error's row of the table. The whole error goes along as a
//! [`wire::Error`](crate::wire::Error) in `grpc-status-details-bin`, so that the other side has the same
//! [`Error`] again.

use crate::wire;
use bytes::Bytes;
use graven_model::error::Details;
use graven_model::{Code, Error, FailedCheck, Position, Result};
use prost::Message;
use tonic::{Code as GrpcCode, Status};

/// Bytes of an error that travel in a status: it goes as a header, and clients bound those. What does not fit are
/// unseen events, then failed checks, from the end; an answer of a session carries all of them.
pub const DETAILS_BYTES_MAX: usize = 4 << 10;

/// Bytes of a status message, for the same reason.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

const TYPE_URL: &str = "type.googleapis.com/graven.v1.Error";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<AnyMessage>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct AnyMessage {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The gRPC status code of a row of the error table.
#[must_use]
pub fn grpc_code(code: Code) -> GrpcCode {
    match code {
        // What a generic client would take for a wrong path of HTTP is a method that is not there.
        Code::NotFound | Code::MethodNotAllowed => return GrpcCode::Unimplemented,
        Code::OutcomeUnknown => return GrpcCode::Unknown,
        Code::Corrupted => return GrpcCode::DataLoss,
        _ => {}
    }
    let entry = code.entry();
    match entry.status {
        400 | 415 => GrpcCode::InvalidArgument,
        403 => GrpcCode::PermissionDenied,
        404 => GrpcCode::NotFound,
        408 => GrpcCode::DeadlineExceeded,
        // A client that repeats the call by itself would find the same node again.
        409 | 410 | 421 | 422 => GrpcCode::FailedPrecondition,
        // A test-and-set that failed: read, decide and write again.
        412 => GrpcCode::Aborted,
        413 | 507 => GrpcCode::ResourceExhausted,
        503 if entry.retryable => GrpcCode::Unavailable,
        // Clients repeat by themselves what is unavailable; this would not get better.
        503 => GrpcCode::FailedPrecondition,
        _ => GrpcCode::Internal,
    }
}

impl From<&Error> for wire::Error {
    fn from(error: &Error) -> wire::Error {
        use wire::error::Details as Wire;
        let entry = error.code.entry();
        let details = match &error.details {
            Details::None => None,
            Details::FailedChecks(checks) => {
                let checks = checks.iter().map(wire::FailedCheck::from).collect();
                Some(Wire::FailedChecks(wire::FailedChecks { checks }))
            }
            Details::ConditionMatch(position) => Some(Wire::MatchingPosition(position.0)),
            Details::Item(item) => Some(Wire::Item(*item)),
            Details::Writer(address) => Some(Wire::Writer(address.clone())),
        };
        wire::Error {
            code: u32::from(entry.number),
            name: entry.name.to_owned(),
            message: error.message.clone(),
            expected: error.expected.clone(),
            found: error.found.clone(),
            retryable: entry.retryable,
            no_side_effects: entry.no_side_effects,
            hint: entry.hint.to_owned(),
            grpc_code: grpc_code(error.code) as i32,
            details,
        }
    }
}

impl From<wire::Error> for Error {
    /// The error again. A code this version does not know becomes the one its gRPC code says, and keeps its number in the
    /// message; details that are malformed are left out.
    fn from(error: wire::Error) -> Error {
        use wire::error::Details as Wire;
        let known = Code::ALL.iter().copied().find(|code| u32::from(code.entry().number) == error.code);
        let (code, message) = match known {
            Some(code) => (code, error.message),
            None => {
                let code = code_of(GrpcCode::from_i32(error.grpc_code), error.no_side_effects);
                (code, format!("GRV-{} ({}): {}", error.code, error.name, error.message))
            }
        };
        let details = match error.details {
            None => Details::None,
            Some(Wire::FailedChecks(failed)) => failed
                .checks
                .into_iter()
                .map(FailedCheck::try_from)
                .collect::<Result<_>>()
                .map_or(Details::None, Details::FailedChecks),
            Some(Wire::MatchingPosition(position)) => Details::ConditionMatch(Position(position)),
            Some(Wire::Item(item)) => Details::Item(item),
            Some(Wire::Writer(address)) => Details::Writer(address),
        };
        Error { code, message, expected: error.expected, found: error.found, details }
    }
}

/// The error as the status of a call.
#[must_use]
pub fn from_error(error: &Error) -> Status {
    let code = grpc_code(error.code);
    let mut message = error.to_string();
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate((0..=MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0));
    }
    let mut detail = wire::Error::from(error);
    fit(&mut detail);
    let rich = RichStatus {
        code: code as i32,
        message: message.clone(),
        details: vec![AnyMessage { type_url: TYPE_URL.to_owned(), value: detail.encode_to_vec().into() }],
    };
    Status::with_details(code, message, rich.encode_to_vec().into())
}

/// Leaves out of an error what does not fit a header.
fn fit(error: &mut wire::Error) {
    use wire::error::Details as Wire;
    let mut excess = error.encoded_len().saturating_sub(DETAILS_BYTES_MAX);
    if let Some(Wire::FailedChecks(failed)) = &mut error.details {
        for check in failed.checks.iter_mut().rev() {
            while excess > 0
                && let Some(event) = check.unseen.pop()
            {
                excess = excess.saturating_sub(event.encoded_len());
            }
        }
        while excess > 0 && failed.checks.len() > 1 {
            let check = failed.checks.pop().expect("there are at least two");
            excess = excess.saturating_sub(check.encoded_len());
        }
    }
    if excess > 0 {
        let cut = |text: &mut String| {
            let end = (0..=text.len().min(MESSAGE_BYTES_MAX)).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
        };
        cut(&mut error.message);
        error.expected.iter_mut().chain(&mut error.found).for_each(cut);
    }
}

/// The error a status stands for: the very one the server had if it came along, else the nearest code.
#[must_use]
pub fn to_error(status: &Status) -> Error {
    if let Some(error) = carried(status) {
        return error;
    }
    Error::new(
        code_of(status.code(), false),
        match status.message() {
            "" => format!("the call failed: {}", status.code().description()),
            message => message.to_owned(),
        },
    )
}

fn carried(status: &Status) -> Option<Error> {
    let rich = RichStatus::decode(status.details()).ok()?;
    let detail = rich.details.into_iter().find(|detail| detail.type_url == TYPE_URL)?;
    Some(wire::Error::decode(detail.value).ok()?.into())
}

/// The code for a status that none of ours came with: from a proxy, from the client's own library, or of a newer
/// version.
fn code_of(code: GrpcCode, no_side_effects: bool) -> Code {
    match code {
        GrpcCode::InvalidArgument | GrpcCode::OutOfRange => Code::BadRequest,
        GrpcCode::NotFound | GrpcCode::Unimplemented => Code::NotFound,
        GrpcCode::DeadlineExceeded | GrpcCode::Cancelled => Code::Timeout,
        GrpcCode::ResourceExhausted => Code::BodyTooLarge,
        GrpcCode::Unavailable if no_side_effects => Code::Unavailable,
        GrpcCode::Unavailable => Code::ConnectionFailed,
        GrpcCode::DataLoss => Code::Corrupted,
        _ => Code::Internal,
    }
}
