//! What KurrentDB's clients see of an error: the one place that decides it.
//!
//! They tell errors apart by status code, by ASCII trailers, and some by the very words of the message, so these are
//! fixed. The older services never send `grpc-status-details-bin`: one of the clients then overlooks the rest. The newer
//! ones always do, with the detail that says most as the last.

mod rich;

use crate::server::grpc::answer::streaming;
use crate::server::problem::Refused;
use axum::body::Body;
use axum::http::{HeaderMap, Response, Uri};
use graven_model::error::Details;
use graven_model::{Code, Error, EventId, Expected, Revision, StreamState, limits};
use graven_proto::status::grpc_code;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Code as GrpcCode, Status};

pub(super) use rich::DETAILS_BYTES_MAX;

/// Bytes of a status message: it goes as a header, which clients bound.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// The number that stands for any revision where a text or the newer services name one.
pub(super) const ANY: i64 = -2;
/// For no stream.
pub(super) const NO_STREAM: i64 = -1;
/// For a stream that exists.
pub(super) const EXISTS: i64 = -4;
/// For a stream that was deleted and can be written again.
pub(super) const SOFT_DELETED: i64 = -5;
/// For a stream that was ended for ever.
pub(super) const TOMBSTONED: i64 = -6;

/// A call that is answered with nothing but an error.
#[derive(Debug)]
pub(super) struct Refusal(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: Status,
    /// For the metrics.
    code: Code,
}

/// What a call is about, as far as the trailers of its refusal name it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct About<'a> {
    /// The stream, or what the group reads, as the client named it.
    pub(super) stream: &'a str,
    /// The consumer group.
    pub(super) group: &'a str,
}

impl<'a> About<'a> {
    /// About a stream.
    pub(super) fn stream(stream: &'a str) -> About<'a> {
        About { stream, group: "" }
    }

    /// About a consumer group and what it reads.
    pub(super) fn group(stream: &'a str, group: &'a str) -> About<'a> {
        About { stream, group }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::of(&error, About::default())
    }
}

impl Refusal {
    /// An error of the store as the older services tell it.
    pub(super) fn of(error: &Error, about: About<'_>) -> Refusal {
        let About { stream, group } = about;
        let of_group = |exception| [("exception", exception), ("stream-name", stream), ("group-name", group)];
        let (status, text, trailers): (GrpcCode, String, &[(&'static str, &str)]) = match error.code {
            Code::NotTheWriter => return not_leader(error),
            Code::Overloaded => (GrpcCode::Unavailable, "Server Is Too Busy".to_owned(), &[]),
            Code::Unavailable
            | Code::Closed
            | Code::ConnectionFailed
            | Code::JournalUnreachable
            | Code::NotYetThere => (GrpcCode::Unavailable, "Server Is Not Ready".to_owned(), &[]),
            // Most often the deadline the client set, which it has a class of its own for.
            Code::Timeout => {
                (GrpcCode::DeadlineExceeded, format!("Operation timed out: {}", error.message), &[])
            }
            Code::StreamDeleted | Code::StreamTombstoned => (
                GrpcCode::FailedPrecondition,
                format!("Event stream '{stream}' is deleted."),
                &[("exception", "stream-deleted"), ("stream-name", stream)],
            ),
            Code::StreamNotFound => (
                GrpcCode::NotFound,
                format!("Event stream '{stream}' is not found."),
                &[("exception", "stream-not-found"), ("stream-name", stream)],
            ),
            Code::WrongExpectedRevision => return wrong_version(error, stream),
            Code::AppendTooLarge | Code::BodyTooLarge => return append_too_large(),
            Code::GroupNotFound => (
                GrpcCode::NotFound,
                format!("Subscription group {group} on stream {stream} does not exist."),
                &of_group("persistent-subscription-does-not-exist"),
            ),
            Code::GroupExists => (
                GrpcCode::AlreadyExists,
                format!("Subscription group {group} on stream {stream} exists."),
                &of_group("persistent-subscription-exists"),
            ),
            Code::GroupFull => (
                GrpcCode::FailedPrecondition,
                format!("Maximum subscriptions reached for subscription group {group} on stream {stream}."),
                &of_group("maximum-subscribers-reached"),
            ),
            Code::GroupChanged => (
                GrpcCode::Cancelled,
                format!("Subscription group {group} on stream {stream} was dropped."),
                &of_group("persistent-subscription-dropped"),
            ),
            Code::InvalidGroup | Code::TooManyGroups | Code::DeadLettersFull => {
                return group_failed(error.code, about, &error.to_string());
            }
            _ => (grpc_code(error.code), error.to_string(), &[]),
        };
        Refusal::new(error.code, status, text, trailers)
    }

    /// A refusal in words of its own, with the trailers of its kind.
    pub(super) fn new(
        code: Code,
        status: GrpcCode,
        text: impl Into<String>,
        trailers: &[(&'static str, &str)],
    ) -> Refusal {
        let mut metadata = MetadataMap::with_capacity(trailers.len());
        for (name, value) in trailers {
            metadata.insert(*name, ascii(value));
        }
        let text = shortened(text.into());
        Refusal::with_status(code, Status::with_metadata(status, text, metadata))
    }

    fn with_status(code: Code, status: Status) -> Refusal {
        Refusal(Box::new(Inner { status, code }))
    }

    /// An argument, or a combination of them, that makes no sense.
    pub(super) fn invalid(text: impl Into<String>) -> Refusal {
        Refusal::new(Code::BadRequest, GrpcCode::InvalidArgument, text, &[])
    }

    /// A method there is not, or not yet.
    pub(super) fn unimplemented(path: &str) -> Refusal {
        let text = format!("this server does not have the method {:?}", limits::shorten(path));
        Refusal::new(Code::NotFound, GrpcCode::Unimplemented, text, &[])
    }

    /// What nobody but the store itself may do.
    pub(super) fn access_denied() -> Refusal {
        let trailers = [("exception", "access-denied")];
        Refusal::new(Code::InvalidStreamName, GrpcCode::PermissionDenied, "Access Denied", &trailers)
    }

    /// An event without a type or a content type.
    pub(super) fn missing_metadata() -> Refusal {
        Refusal::new(
            Code::BadRequest,
            GrpcCode::InvalidArgument,
            "Required Metadata Property 'type' or 'content-type' is missing",
            &[
                ("exception", "missing-required-metadata-property"),
                ("required-metadata-properties", "type,content-type"),
            ],
        )
    }

    /// One event over the bound.
    pub(super) fn event_too_large(id: EventId, size: usize) -> Refusal {
        let max = limits::EVENT_BYTES_MAX;
        Refusal::new(
            Code::EventTooLarge,
            GrpcCode::InvalidArgument,
            format!("Event with Id: {id}, Size: {size}, exceeds Maximum Append Event Size of {max}."),
            &[
                ("exception", "maximum-append-event-size-exceeded"),
                ("maximum-append-event-size", &max.to_string()),
                ("event-id", &id.to_string()),
                ("proposed-append-event-size", &size.to_string()),
            ],
        )
    }

    /// An index nobody keeps.
    pub(super) fn index_not_found(index: &str) -> Refusal {
        let trailers = [("exception", "index-not-found"), ("index-name", index)];
        Refusal::new(
            Code::StreamNotFound,
            GrpcCode::NotFound,
            format!("Index '{index}' does not exist."),
            &trailers,
        )
    }

    /// A consumer group that cannot be what it is asked to be.
    pub(super) fn group_failed(about: About<'_>, reason: &str) -> Refusal {
        group_failed(Code::InvalidGroup, about, reason)
    }

    /// The code of the error table, for the metrics.
    pub(super) fn code(&self) -> Code {
        self.0.code
    }

    /// The answer that is nothing but this.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = streaming(Body::empty());
        add(response.headers_mut(), &self.0.status);
        self.note();
        response.extensions_mut().insert(Refused(self.0.code));
        response
    }

    /// The end of an answer that this broke off.
    pub(super) fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(8);
        add(&mut trailers, &self.0.status);
        self.note();
        trailers
    }

    /// Writes a failure of the server down.
    fn note(&self) {
        let entry = self.0.code.entry();
        if entry.status >= 500 && !entry.retryable {
            tracing::error!(code = %self.0.code, "{}", self.0.status.message());
        }
    }
}

fn add(headers: &mut HeaderMap, status: &Status) {
    if status.add_header(headers).is_err() {
        // Text from outside that no header takes: the code alone.
        Status::new(status.code(), "").add_header(headers).expect("a code is a header value");
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        text.truncate((0..=MESSAGE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    }
    text
}

/// A trailer's value: visible ASCII as it is, everything else percent-encoded.
fn ascii(text: &str) -> AsciiMetadataValue {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' => value.push(char::from(byte)),
            _ => value.push_str(&format!("%{byte:02X}")),
        }
    }
    AsciiMetadataValue::try_from(value).expect("visible ASCII is a header value")
}

/// Host and port of the node that writes, if anybody told them.
fn writer(error: &Error) -> Option<(String, u16)> {
    let Details::Writer(url) = &error.details else { return None };
    let uri: Uri = url.parse().ok()?;
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Some((uri.host()?.to_owned(), uri.port_u16().unwrap_or(default)))
}

fn not_leader(error: &Error) -> Refusal {
    let Some((host, port)) = writer(error) else {
        let text = "No leader info available in response";
        return Refusal::new(error.code, GrpcCode::Unknown, text, &[]);
    };
    let trailers = [
        ("exception", "not-leader"),
        ("leader-endpoint-host", &host[..]),
        ("leader-endpoint-port", &port.to_string()),
    ];
    Refusal::new(error.code, GrpcCode::NotFound, "Leader info available", &trailers)
}

fn wrong_version(error: &Error, stream: &str) -> Refusal {
    let first = match &error.details {
        Details::FailedChecks(checks) => checks.first(),
        _ => None,
    };
    let expected = first.map_or(ANY, |check| expected_number(check.expected));
    let actual = first.map_or(NO_STREAM, |check| last_number(check.actual));
    Refusal::new(
        error.code,
        GrpcCode::FailedPrecondition,
        format!(
            "Delete failed due to WrongExpectedVersion. \
             Stream: {stream}, Expected version: {expected}, Actual version: {actual}"
        ),
        &[
            ("exception", "wrong-expected-version"),
            ("stream-name", stream),
            ("expected-version", &expected.to_string()),
            ("actual-version", &actual.to_string()),
        ],
    )
}

fn append_too_large() -> Refusal {
    let max = limits::APPEND_BYTES_MAX;
    Refusal::new(
        Code::AppendTooLarge,
        GrpcCode::InvalidArgument,
        format!("Maximum Append Size of {max} Exceeded."),
        &[("exception", "maximum-append-size-exceeded"), ("maximum-append-size", &max.to_string())],
    )
}

fn group_failed(code: Code, about: About<'_>, reason: &str) -> Refusal {
    let About { stream, group } = about;
    let reason = shortened(reason.to_owned());
    Refusal::new(
        code,
        GrpcCode::Internal,
        format!("Subscription group {group} on stream {stream} failed: '{reason}'"),
        &[
            ("exception", "persistent-subscription-failed"),
            ("stream-name", stream),
            ("group-name", group),
            ("reason", &reason),
        ],
    )
}

/// What was expected, as a number.
pub(super) fn expected_number(expected: Expected) -> i64 {
    match expected {
        Expected::Any => ANY,
        Expected::NoStream => NO_STREAM,
        Expected::Exists => EXISTS,
        Expected::Deleted => SOFT_DELETED,
        Expected::Tombstoned => TOMBSTONED,
        Expected::Revision(Revision(revision)) => signed(revision),
    }
}

/// A stream's last revision, as a number: what the older services and single writes of the newer ones compare with.
pub(super) fn last_number(state: StreamState) -> i64 {
    match state {
        StreamState::NoStream => NO_STREAM,
        StreamState::At(Revision(revision)) | StreamState::SoftDeleted(Revision(revision)) => {
            signed(revision)
        }
        StreamState::Tombstoned => signed(Revision::TOMBSTONE.0),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
