//! The tables, row by row.

use super::*;
use graven_model::{FailedCheck, StreamName};
use graven_proto::kurrentdb::google::{BadRequest, ErrorInfo, Status as RichStatus};
use graven_proto::kurrentdb::rpc::NotLeaderNodeErrorDetails;
use graven_proto::kurrentdb::v2_errors;
use prost::{Message as _, Name};

const STREAM: &str = "loan-1";

fn error(code: Code) -> Error {
    Error::new(code, "why")
}

fn failed(expected: Expected, actual: StreamState) -> Error {
    let stream = StreamName::new(STREAM).unwrap();
    let check = FailedCheck { stream, expected, actual, partial_retry: None, unseen: Vec::new() };
    let code =
        if actual == StreamState::Tombstoned { Code::StreamTombstoned } else { Code::WrongExpectedRevision };
    error(code).with(Details::FailedChecks(vec![check]))
}

fn elsewhere(url: &str) -> Error {
    error(Code::NotTheWriter).naming_writer(url)
}

/// Code, text and trailers in the order of their names, as they go over the wire.
fn told(refusal: &Refusal) -> (GrpcCode, String, Vec<(String, String)>) {
    let status = &refusal.0.status;
    assert!(status.details().is_empty(), "an older service sends no details");
    let headers = refusal.trailers();
    assert!(headers.iter().all(|(_, value)| value.to_str().is_ok()));
    let mut trailers: Vec<_> = headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "grpc-status" | "grpc-message"))
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
        .collect();
    trailers.sort();
    (status.code(), status.message().to_owned(), trailers)
}

/// A refusal, and what it becomes: code, message, trailers.
type Row<'a> = (Refusal, GrpcCode, &'a str, Vec<(&'a str, &'a str)>);

#[test]
fn the_older_services_tell_errors_by_code_text_and_trailers() {
    let group = About::group(STREAM, "g");
    let of_group = |exception: &'static str| {
        vec![("exception", exception), ("group-name", "g"), ("stream-name", STREAM)]
    };
    let rows: Vec<Row> = vec![
        (
            elsewhere("http://10.0.0.7:2114").into(),
            GrpcCode::NotFound,
            "Leader info available",
            vec![
                ("exception", "not-leader"),
                ("leader-endpoint-host", "10.0.0.7"),
                ("leader-endpoint-port", "2114"),
            ],
        ),
        (elsewhere("").into(), GrpcCode::Unknown, "No leader info available in response", vec![]),
        (error(Code::Overloaded).into(), GrpcCode::Unavailable, "Server Is Too Busy", vec![]),
        (error(Code::Unavailable).into(), GrpcCode::Unavailable, "Server Is Not Ready", vec![]),
        (error(Code::Closed).into(), GrpcCode::Unavailable, "Server Is Not Ready", vec![]),
        (error(Code::Timeout).into(), GrpcCode::DeadlineExceeded, "Operation timed out: why", vec![]),
        (
            Refusal::of(&error(Code::StreamTombstoned), About::stream(STREAM)),
            GrpcCode::FailedPrecondition,
            "Event stream 'loan-1' is deleted.",
            vec![("exception", "stream-deleted"), ("stream-name", STREAM)],
        ),
        (
            Refusal::of(&error(Code::StreamNotFound), About::stream(STREAM)),
            GrpcCode::NotFound,
            "Event stream 'loan-1' is not found.",
            vec![("exception", "stream-not-found"), ("stream-name", STREAM)],
        ),
        (
            Refusal::of(
                &failed(Expected::Revision(Revision(7)), StreamState::At(Revision(3))),
                About::stream(STREAM),
            ),
            GrpcCode::FailedPrecondition,
            "Delete failed due to WrongExpectedVersion. Stream: loan-1, Expected version: 7, Actual version: 3",
            vec![
                ("actual-version", "3"),
                ("exception", "wrong-expected-version"),
                ("expected-version", "7"),
                ("stream-name", STREAM),
            ],
        ),
        (
            Refusal::of(&failed(Expected::Any, StreamState::NoStream), About::stream(STREAM)),
            GrpcCode::FailedPrecondition,
            "Delete failed due to WrongExpectedVersion. Stream: loan-1, Expected version: -2, Actual version: -1",
            vec![
                ("actual-version", "-1"),
                ("exception", "wrong-expected-version"),
                ("expected-version", "-2"),
                ("stream-name", STREAM),
            ],
        ),
        (
            Refusal::event_too_large(EventId([0; 16]), 20_000_000),
            GrpcCode::InvalidArgument,
            "Event with Id: 00000000-0000-0000-0000-000000000000, Size: 20000000, \
             exceeds Maximum Append Event Size of 16777216.",
            vec![
                ("event-id", "00000000-0000-0000-0000-000000000000"),
                ("exception", "maximum-append-event-size-exceeded"),
                ("maximum-append-event-size", "16777216"),
                ("proposed-append-event-size", "20000000"),
            ],
        ),
        (
            error(Code::AppendTooLarge).into(),
            GrpcCode::InvalidArgument,
            "Maximum Append Size of 67108864 Exceeded.",
            vec![("exception", "maximum-append-size-exceeded"), ("maximum-append-size", "67108864")],
        ),
        (
            Refusal::missing_metadata(),
            GrpcCode::InvalidArgument,
            "Required Metadata Property 'type' or 'content-type' is missing",
            vec![
                ("exception", "missing-required-metadata-property"),
                ("required-metadata-properties", "type,content-type"),
            ],
        ),
        (
            Refusal::access_denied(),
            GrpcCode::PermissionDenied,
            "Access Denied",
            vec![("exception", "access-denied")],
        ),
        (
            Refusal::index_not_found("$idx-x"),
            GrpcCode::NotFound,
            "Index '$idx-x' does not exist.",
            vec![("exception", "index-not-found"), ("index-name", "$idx-x")],
        ),
        (
            Refusal::of(&error(Code::GroupNotFound), group),
            GrpcCode::NotFound,
            "Subscription group g on stream loan-1 does not exist.",
            of_group("persistent-subscription-does-not-exist"),
        ),
        (
            Refusal::of(&error(Code::GroupExists), group),
            GrpcCode::AlreadyExists,
            "Subscription group g on stream loan-1 exists.",
            of_group("persistent-subscription-exists"),
        ),
        (
            Refusal::of(&error(Code::GroupFull), group),
            GrpcCode::FailedPrecondition,
            "Maximum subscriptions reached for subscription group g on stream loan-1.",
            of_group("maximum-subscribers-reached"),
        ),
        (
            Refusal::of(&error(Code::GroupChanged), group),
            GrpcCode::Cancelled,
            "Subscription group g on stream loan-1 was dropped.",
            of_group("persistent-subscription-dropped"),
        ),
        (
            Refusal::group_failed(group, "read batch size"),
            GrpcCode::Internal,
            "Subscription group g on stream loan-1 failed: 'read batch size'",
            vec![
                ("exception", "persistent-subscription-failed"),
                ("group-name", "g"),
                ("reason", "read batch size"),
                ("stream-name", STREAM),
            ],
        ),
        (Refusal::invalid("what"), GrpcCode::InvalidArgument, "what", vec![]),
        (error(Code::InvalidStreamName).into(), GrpcCode::InvalidArgument, "GRV-1001: why", vec![]),
        (error(Code::DiskFull).into(), GrpcCode::ResourceExhausted, "GRV-1404: why", vec![]),
        (error(Code::OutcomeUnknown).into(), GrpcCode::Unknown, "GRV-1500: why", vec![]),
        (
            Refusal::unimplemented("/a/B"),
            GrpcCode::Unimplemented,
            "this server does not have the method \"/a/B\"",
            vec![],
        ),
    ];
    for (refusal, code, text, trailers) in rows {
        let trailers: Vec<_> =
            trailers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(told(&refusal), (code, text.to_owned(), trailers));
    }
}

#[test]
fn a_name_no_header_takes_is_escaped() {
    let name = "größe\u{7f}\r\n";
    let refusal = Refusal::of(&error(Code::StreamDeleted), About::stream(name));
    let (_, text, trailers) = told(&refusal);
    assert_eq!(text, format!("Event stream '{name}' is deleted."));
    assert!(
        trailers.contains(&("stream-name".to_owned(), "gr%C3%B6%C3%9Fe%7F%0D%0A".to_owned())),
        "{trailers:?}"
    );
    let headers = refusal.trailers();
    assert_eq!(headers["grpc-message"], "Event%20stream%20'gr%C3%B6%C3%9Fe%7F%0D%0A'%20is%20deleted.");
    let long = Refusal::invalid("ö".repeat(4_000)).trailers();
    assert!(long["grpc-message"].len() <= 6 * MESSAGE_BYTES_MAX);
}

/// Code, reason and domain, and the last detail, which is of this kind.
fn rich<M: Name + Default>(refusal: &Refusal) -> (GrpcCode, String, String, M) {
    let status = &refusal.0.status;
    let rich = RichStatus::decode(status.details()).unwrap();
    assert_eq!((rich.code, &*rich.message), (status.code() as i32, status.message()));
    let [info, typed] = &rich.details[..] else { panic!("{rich:?}") };
    assert_eq!(info.type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    assert_eq!(typed.type_url, format!("type.googleapis.com/{}", M::full_name()));
    let info = ErrorInfo::decode(&info.value[..]).unwrap();
    (status.code(), info.reason, info.domain, M::decode(&typed.value[..]).unwrap())
}

#[test]
fn the_newer_services_tell_errors_by_reason_and_detail() {
    let (code, reason, domain, conflict) = rich::<v2_errors::StreamRevisionConflictErrorDetails>(
        &Refusal::rich(&failed(Expected::NoStream, StreamState::At(Revision(0)))),
    );
    assert_eq!(
        (code, &*reason, &*domain),
        (GrpcCode::FailedPrecondition, "STREAM_REVISION_CONFLICT", "streams")
    );
    assert_eq!(
        (&*conflict.stream, conflict.expected_revision, conflict.actual_revision),
        (STREAM, NO_STREAM, 0)
    );

    let (code, reason, _, gone) = rich::<v2_errors::StreamTombstonedErrorDetails>(&Refusal::rich(&failed(
        Expected::Any,
        StreamState::Tombstoned,
    )));
    assert_eq!((code, &*reason), (GrpcCode::FailedPrecondition, "STREAM_TOMBSTONED"));
    assert_eq!(gone.stream, STREAM);

    let (code, reason, domain, leader) =
        rich::<NotLeaderNodeErrorDetails>(&Refusal::rich(&elsewhere("https://db.example")));
    assert_eq!((code, &*reason, &*domain), (GrpcCode::FailedPrecondition, "NOT_LEADER_NODE", "server"));
    let leader = leader.current_leader.unwrap();
    assert_eq!((&*leader.host, leader.port), ("db.example", 443));

    for (refused, status, name) in [
        (Code::Overloaded, GrpcCode::Unavailable, "SERVER_OVERLOADED"),
        (Code::Unavailable, GrpcCode::Unavailable, "SERVER_NOT_READY"),
        (Code::Timeout, GrpcCode::DeadlineExceeded, "OPERATION_TIMEOUT"),
    ] {
        let (code, reason, domain, retry) =
            rich::<graven_proto::kurrentdb::google::RetryInfo>(&Refusal::rich(&error(refused)));
        assert_eq!((code, &*reason, &*domain), (status, name, "server"));
        assert_eq!(retry.retry_delay.unwrap().seconds, 1);
    }

    let (code, reason, domain, bad) = rich::<BadRequest>(&Refusal::rich(&error(Code::InvalidEventType)));
    assert_eq!((code, &*reason, &*domain), (GrpcCode::InvalidArgument, "BAD_REQUEST", "server"));
    assert_eq!(bad.field_violations[0].description, "GRV-1003: why");

    let (code, reason, _, size) = rich::<v2_errors::AppendTransactionSizeExceededErrorDetails>(
        &Refusal::transaction_too_large(70_000_000),
    );
    assert_eq!((code, &*reason), (GrpcCode::Aborted, "APPEND_TRANSACTION_SIZE_EXCEEDED"));
    assert_eq!((size.size, size.max_size), (70_000_000, 67_108_864));

    let (code, reason, _, size) = rich::<v2_errors::AppendRecordSizeExceededErrorDetails>(
        &Refusal::record_too_large(STREAM, "id", 17_000_000),
    );
    assert_eq!((code, &*reason), (GrpcCode::InvalidArgument, "APPEND_RECORD_SIZE_EXCEEDED"));
    assert_eq!((&*size.record_id, size.size, size.max_size), ("id", 17_000_000, 16_777_216));
}

#[test]
fn a_failure_of_the_disk_says_so_in_both() {
    let full = error(Code::DiskFull);
    let status = Refusal::rich(&full).0.status;
    let rich = RichStatus::decode(status.details()).unwrap();
    assert_eq!((status.code(), rich.details.len()), (GrpcCode::ResourceExhausted, 1));
    let info = ErrorInfo::decode(&rich.details[0].value[..]).unwrap();
    assert_eq!((&*info.reason, &*info.domain), ("SERVER_MALFUNCTION", "server"));
}
