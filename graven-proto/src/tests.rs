//! What is generated is of today's file; what goes over the wire comes back as it was.

mod decode;
mod groups;

use crate::{encode, session, status, wire};
use bytes::Bytes;
use graven_model::error::Details;
use graven_model::frame::{NewRecord, RECORD_HEAD_BYTES, Record, Secrets, encode_record};
use graven_model::{
    AppendRequest, CheckState, Code, Condition, ContentType, Direction, Error, EventFilter, EventId,
    Expected, FailedCheck, FollowStep, Frames, Idempotency, Kind, NewEvent, Page, PageEnd, Pattern, Position,
    Query, QueryItem, ReadRequest, Receipt, Revision, SchemaRef, Selector, Start, StoredEvent, StreamName,
    StreamReceipt, StreamState, StreamWrite, Text, Timestamp,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

fn text() -> impl Strategy<Value = Text> {
    "[a-z$é-]{1,12}".prop_map(Text::from)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn stream() -> impl Strategy<Value = StreamName> {
    "[a-z-]{1,200}".prop_map(|name| StreamName::new(name).unwrap())
}

fn expected() -> impl Strategy<Value = Expected> {
    prop_oneof![
        Just(Expected::Any),
        Just(Expected::NoStream),
        Just(Expected::Exists),
        Just(Expected::Deleted),
        Just(Expected::Tombstoned),
        any::<u64>().prop_map(|revision| Expected::Revision(Revision(revision))),
    ]
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        Just(Start::Start),
        Just(Start::End),
        any::<u64>().prop_map(|revision| Start::Revision(Revision(revision))),
        any::<u64>().prop_map(|position| Start::Position(Position(position))),
        any::<i64>().prop_map(|time| Start::Time(Timestamp::from_micros(time))),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    let item = (vec(text(), 0..3), vec(text(), 0..3), any::<bool>())
        .prop_map(|(types, tags, all)| QueryItem { types, tags, all });
    vec(item, 0..3).prop_map(|items| Query { items })
}

fn selector() -> impl Strategy<Value = Selector> {
    prop_oneof![
        stream().prop_map(Selector::Stream),
        Just(Selector::All),
        text().prop_map(Selector::Category),
        vec(text(), 0..3).prop_map(Selector::Types),
        vec(text(), 0..3).prop_map(Selector::Tags),
        query().prop_map(Selector::Query),
    ]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![vec(text(), 0..3).prop_map(Pattern::Prefixes), text().prop_map(Pattern::Regex)]
}

fn new_event() -> impl Strategy<Value = NewEvent> {
    let schema = (any::<u32>(), 0u32..3, 0u8..4).prop_map(|(version, id, check)| SchemaRef {
        version: if id == 0 { 0 } else { version },
        id,
        check: CheckState::from_bits(check),
    });
    let content_type = prop_oneof![
        Just(ContentType::Json),
        Just(ContentType::Binary),
        Just(ContentType::from_text("text/plain")),
    ];
    let names = (text(), content_type, vec(text(), 0..4), option::of(text()));
    (any::<[u8; 16]>(), names, bytes(), bytes(), option::of(any::<i64>()), schema, any::<bool>()).prop_map(
        |(id, (event_type, content_type, tags, data_subject), data, metadata, time, schema, encrypted)| {
            NewEvent {
                id: EventId(id),
                event_type,
                content_type,
                data,
                metadata,
                occurred_at: time.map(Timestamp::from_micros),
                schema,
                tags,
                data_subject,
                encrypted,
            }
        },
    )
}

fn stored_event() -> impl Strategy<Value = StoredEvent> {
    (any::<u64>(), stream(), any::<u64>(), any::<i64>(), 0u8..8, new_event()).prop_map(
        |(position, stream, revision, committed_at, kind, event)| StoredEvent {
            position: Position(position),
            stream,
            revision: Revision(revision),
            committed_at: Timestamp::from_micros(committed_at),
            kind: Kind::from_u8(kind).unwrap(),
            erased: event.data.is_empty() && position % 2 == 0,
            event,
        },
    )
}

fn state() -> impl Strategy<Value = StreamState> {
    prop_oneof![
        Just(StreamState::NoStream),
        any::<u64>().prop_map(|revision| StreamState::At(Revision(revision))),
        any::<u64>().prop_map(|revision| StreamState::SoftDeleted(Revision(revision))),
        Just(StreamState::Tombstoned),
    ]
}

fn details() -> impl Strategy<Value = Details> {
    let check = (stream(), expected(), state(), option::of(any::<[u8; 16]>()), vec(stored_event(), 0..3))
        .prop_map(|(stream, expected, actual, partial_retry, unseen)| FailedCheck {
            stream,
            expected,
            actual,
            partial_retry: partial_retry.map(EventId),
            unseen,
        });
    prop_oneof![
        Just(Details::None),
        vec(check, 1..3).prop_map(Details::FailedChecks),
        any::<u64>().prop_map(|position| Details::ConditionMatch(Position(position))),
        any::<u64>().prop_map(Details::Item),
        "http://.{0,20}".prop_map(Details::Writer),
    ]
}

fn error() -> impl Strategy<Value = Error> {
    (0..Code::ALL.len(), ".{0,60}", option::of(".{0,20}"), option::of(".{0,20}"), details()).prop_map(
        |(code, message, expected, found, details)| Error {
            code: Code::ALL[code],
            message,
            expected,
            found,
            details,
        },
    )
}

/// Over the wire: encoded and decoded.
fn sent<T: Message + Default>(message: &T) -> T {
    T::decode(Bytes::from(message.encode_to_vec())).unwrap()
}

proptest! {
    #[test]
    fn an_append_comes_back_as_it_was(
        streams in vec((stream(), expected()), 0..3),
        events in vec((any::<u32>(), new_event()), 0..4),
        condition in option::of((query(), option::of(any::<u64>()))),
        each: bool,
        unseen_max: u32,
        correlation: u64,
        cut: prop::sample::Index,
    ) {
        let request = AppendRequest {
            streams: streams.into_iter().map(|(stream, expected)| StreamWrite { stream, expected }).collect(),
            events,
            condition: condition.map(|(query, after)| Condition { query, after: after.map(Position) }),
            idempotency: if each { Idempotency::EachEvent } else { Idempotency::Whole },
            unseen_max,
        };
        let message = wire::AppendRequest::from(&request);
        let encoded = Bytes::from(message.encode_to_vec());
        prop_assert_eq!(&AppendRequest::try_from(sent(&message)).unwrap(), &request);
        prop_assert_eq!(&session::read_append(&encoded).unwrap(), &request);

        let mut in_session = session::request(&request);
        session::correlate(&mut in_session, correlation);
        let message = wire::SessionRequest { append: Some(message), correlation };
        prop_assert_eq!(&in_session, &message.encode_to_vec());
        prop_assert_eq!(session::read_request(&in_session.into()), (correlation, Ok(request)));

        // Cut off anywhere it is refused, or says what prost makes of it.
        let cut = encoded.slice(..cut.index(encoded.len() + 1));
        let by_prost = wire::AppendRequest::decode(&cut[..]).ok().map(AppendRequest::try_from);
        match (session::read_append(&cut), by_prost) {
            (Ok(read), Some(Ok(by_prost))) => prop_assert_eq!(read, by_prost),
            (Err(_), None | Some(Err(_))) => {}
            (read, by_prost) => prop_assert!(false, "{read:?} is not {by_prost:?}"),
        }
    }

    #[test]
    fn what_is_read_of_bytes_of_any_kind_is_what_prost_reads(bytes in vec(any::<u8>(), 0..80)) {
        let bytes = Bytes::from(bytes);
        let by_prost = wire::AppendRequest::decode(&bytes[..]).ok().and_then(|message| message.try_into().ok());
        if let Ok(append) = session::read_append(&bytes) {
            prop_assert_eq!(Some(append), by_prost);
        }
        let _ = (session::read_request(&bytes), session::read_answer(&bytes));
    }

    #[test]
    fn a_receipt_comes_back_as_it_was(
        numbers: (u64, Option<u64>, i64, u32, u32),
        streams in vec((stream(), option::of(any::<u64>())), 0..3),
    ) {
        let (first, last, time, appended, duplicates) = numbers;
        let share = |(stream, revision): (_, Option<u64>)| StreamReceipt { stream, revision: revision.map(Revision) };
        let receipt = Receipt {
            first_position: Position(first),
            last_position: last.map(Position),
            streams: streams.into_iter().map(share).collect(),
            committed_at: Timestamp::from_micros(time),
            appended,
            duplicates,
        };
        prop_assert_eq!(&Receipt::try_from(sent(&wire::Receipt::from(&receipt))).unwrap(), &receipt);

        let mut in_session = Vec::new();
        session::answer(&mut in_session, first, &Ok(receipt.clone()));
        let mut nameless = wire::Receipt::from(&receipt);
        nameless.streams.iter_mut().for_each(|share| share.stream.clear());
        let outcome = Some(wire::session_response::Outcome::Receipt(nameless));
        prop_assert_eq!(&in_session, &wire::SessionResponse { outcome, correlation: first }.encode_to_vec());
        let (correlation, outcome) = session::read_answer(&in_session.into()).unwrap();
        let of = |streams: &[StreamReceipt]| {
            let checked = |share: &StreamReceipt| StreamWrite { stream: share.stream.clone(), expected: Expected::Any };
            AppendRequest { streams: streams.iter().map(checked).collect(), ..AppendRequest::default() }
        };
        prop_assert_eq!(correlation, first);
        let outcome = outcome.unwrap();
        prop_assert_eq!(&outcome.clone().receipt(&of(&receipt.streams)).unwrap(), &receipt);
        if let [_, rest @ ..] = &receipt.streams[..] {
            prop_assert_eq!(outcome.receipt(&of(rest)).unwrap_err().code, Code::BadRequest);
        }
    }

    #[test]
    fn a_refusal_comes_back_from_a_session_as_it_was(correlation: u64, text in "[a-z ]{0,40}") {
        let error = Error::new(Code::Overloaded, text).expected("less").with(Details::Item(7));
        let mut answer = Vec::new();
        session::answer(&mut answer, correlation, &Err(error.clone()));
        prop_assert_eq!(session::read_answer(&answer.into()).unwrap(), (correlation, Err(error)));
    }

    #[test]
    fn a_read_comes_back_as_it_was(
        selector in selector(),
        start in start(),
        backward: bool,
        limit in 1u32..,
        bytes_max in 1usize..graven_model::limits::PAGE_BYTES_MAX,
        filter in (option::of(pattern()), option::of(pattern()), any::<bool>()),
    ) {
        let request = ReadRequest {
            selector,
            start,
            direction: if backward { Direction::Backward } else { Direction::Forward },
            limit,
            bytes_max,
            filter: EventFilter { stream: filter.0, event_type: filter.1, exclude_system: filter.2 },
        };
        prop_assert_eq!(ReadRequest::try_from(sent(&wire::ReadRequest::from(&request))).unwrap(), request);
    }

    #[test]
    fn a_page_is_encoded_as_prost_would_and_comes_back_as_it_was(
        events in vec(stored_event(), 0..4),
        next in option::of(start()),
        head: u64,
        last_revision: Option<u64>,
    ) {
        let page = Page { events, next, head: Position(head), last_revision: last_revision.map(Revision) };
        let message = wire::ReadResponse::from(&page);
        let mut encoded = Vec::new();
        encode::page(&mut encoded, &page);
        prop_assert_eq!(&encoded, &message.encode_to_vec());
        prop_assert!(encoded.len() <= encode::room(&page.events) + 64);
        prop_assert_eq!(Page::try_from(sent(&message)).unwrap(), page);
    }

    #[test]
    fn a_record_is_encoded_as_the_event_it_holds(stored in stored_event(), salted: bool) {
        let stored = StoredEvent { erased: false, ..stored };
        let salts = vec![salted.then_some([9; 16]); stored.event.tags.len()];
        let secrets = Secrets { tag_salts: &salts, stream_salt: salted.then_some([1; 16]), ..Secrets::default() };
        let new = NewRecord {
            stream: stored.stream.as_str(),
            revision: stored.revision.0,
            kind: stored.kind,
            event: &stored.event,
            secrets: &secrets,
        };
        let mut bytes = Vec::new();
        encode_record(&mut bytes, 0, stored.position.0, &new);
        let record = Record::decode(&bytes[RECORD_HEAD_BYTES..]).unwrap();
        let (mut from_record, mut from_event) = (Vec::new(), Vec::new());
        encode::event(&mut from_record, &record.event(stored.position.0, stored.committed_at.micros()));
        encode::events(&mut from_event, &[stored]);
        prop_assert_eq!(from_record, from_event);
    }

    #[test]
    fn the_end_of_a_page_is_encoded_as_the_page_is(
        next in option::of(start()),
        head: u64,
        last_revision: Option<u64>,
    ) {
        let (head, last_revision) = (Position(head), last_revision.map(Revision));
        let (mut end, mut page) = (Vec::new(), Vec::new());
        encode::page_end(&mut end, &PageEnd { events: 0, last_position: None, next, head, last_revision });
        encode::page(&mut page, &Page { events: Vec::new(), next, head, last_revision });
        prop_assert_eq!(end, page);
    }

    #[test]
    fn the_steps_of_a_subscription_are_encoded_as_prost_would(events in vec(stored_event(), 0..4), at: u64) {
        use wire::subscribe_response::Step;
        let message = |step| wire::SubscribeResponse { step: Some(step) }.encode_to_vec();
        let encoded = |step| {
            let mut out = Vec::new();
            encode::step(&mut out, &step);
            out
        };
        let by_prost = wire::Events { events: events.iter().map(wire::StoredEvent::from).collect() };
        prop_assert_eq!(encoded(FollowStep::Events(events)), message(Step::Events(by_prost)));
        prop_assert_eq!(encoded(FollowStep::CaughtUp(Position(at))), message(Step::CaughtUp(at)));
        prop_assert_eq!(encoded(FollowStep::Checkpoint(Position(at))), message(Step::Checkpoint(at)));
    }

    #[test]
    fn frames_are_encoded_as_prost_would(bytes in bytes(), first: u64, next: u64, head: u64) {
        let message = wire::ReadFramesResponse { first, next, head, frames: bytes.clone() };
        let mut encoded = Vec::new();
        let (first, next, head) = (Position(first), Position(next), Position(head));
        encode::frames_head(&mut encoded, &Frames { bytes: bytes.clone(), first, next, head });
        encoded.extend_from_slice(&bytes);
        prop_assert_eq!(encoded, message.encode_to_vec());
    }

    #[test]
    fn an_error_comes_back_as_it_was(error in error()) {
        prop_assert_eq!(&Error::from(sent(&wire::Error::from(&error))), &error);
    }

    #[test]
    fn a_status_carries_the_error_within_its_bounds(error in error()) {
        let status = status::from_error(&error);
        prop_assert_eq!(status.code(), status::grpc_code(error.code));
        prop_assert!(status.details().len() <= status::DETAILS_BYTES_MAX + 2048);
        let back = status::to_error(&status);
        prop_assert_eq!((back.code, &back.message), (error.code, &error.message));
        match (&back.details, &error.details) {
            (Details::FailedChecks(back), Details::FailedChecks(checks)) => {
                for (back, check) in back.iter().zip(checks) {
                    prop_assert_eq!(&check.unseen[..back.unseen.len()], &back.unseen[..]);
                    prop_assert_eq!((&back.stream, back.actual), (&check.stream, check.actual));
                }
            }
            (back, details) => prop_assert_eq!(back, details),
        }
    }
}

#[test]
fn an_error_with_much_to_say_still_fits_a_header() {
    let check = |number: usize| FailedCheck {
        stream: StreamName::new(format!("s-{number}-{}", "x".repeat(900))).unwrap(),
        expected: Expected::NoStream,
        actual: StreamState::At(Revision(7)),
        partial_retry: None,
        unseen: Vec::new(),
    };
    let error = Error::new(Code::WrongExpectedRevision, "é".repeat(9_000))
        .with(Details::FailedChecks((0..100).map(check).collect()));
    let status = status::from_error(&error);
    assert!(status.details().len() < 2 * status::DETAILS_BYTES_MAX, "{}", status.details().len());
    assert!(status.message().len() <= 1024);
    let Details::FailedChecks(checks) = status::to_error(&status).details else { panic!("checks") };
    assert!(!checks.is_empty());
}

#[test]
fn every_row_of_the_table_has_a_code_that_says_whether_to_repeat() {
    use tonic::Code as Grpc;
    for code in Code::ALL {
        let grpc = status::grpc_code(*code);
        assert!(!matches!(grpc, Grpc::Ok | Grpc::Cancelled), "{code:?}");
        let entry = code.entry();
        // What clients repeat by themselves may be repeated, and the other way round.
        assert!(grpc != Grpc::Unavailable || entry.retryable, "{code:?}");
        if entry.status < 500 && entry.status != 408 {
            assert!(
                !matches!(grpc, Grpc::Internal | Grpc::Unknown | Grpc::DataLoss | Grpc::Unavailable),
                "{code:?}"
            );
        }
    }
    let pairs = [
        (Code::InvalidTag, Grpc::InvalidArgument),
        (Code::StreamNotFound, Grpc::NotFound),
        (Code::WrongExpectedRevision, Grpc::Aborted),
        (Code::ConditionFailed, Grpc::Aborted),
        (Code::StreamTombstoned, Grpc::FailedPrecondition),
        (Code::AppendTooLarge, Grpc::ResourceExhausted),
        (Code::Overloaded, Grpc::Unavailable),
        (Code::Poisoned, Grpc::FailedPrecondition),
        (Code::Timeout, Grpc::DeadlineExceeded),
        (Code::OutcomeUnknown, Grpc::Unknown),
        (Code::Corrupted, Grpc::DataLoss),
        (Code::DiskFull, Grpc::ResourceExhausted),
        (Code::Internal, Grpc::Internal),
    ];
    for (code, grpc) in pairs {
        assert_eq!(status::grpc_code(code), grpc, "{code:?}");
    }
}

#[test]
fn a_status_of_somebody_else_becomes_the_nearest_error() {
    let code = |code| status::to_error(&tonic::Status::new(code, "x")).code;
    assert_eq!(code(tonic::Code::Unavailable), Code::ConnectionFailed);
    assert_eq!(code(tonic::Code::DeadlineExceeded), Code::Timeout);
    assert_eq!(code(tonic::Code::Unimplemented), Code::NotFound);
    let newer = wire::Error {
        code: 9999,
        name: "from-the-future".to_owned(),
        message: "m".to_owned(),
        grpc_code: tonic::Code::Unavailable as i32,
        no_side_effects: true,
        ..wire::Error::default()
    };
    let error = Error::from(newer);
    assert_eq!((error.code, &*error.message), (Code::Unavailable, "GRV-9999 (from-the-future): m"));
}

#[test]
fn a_message_that_lacks_what_it_needs_is_refused_by_name() {
    let nothing = ReadRequest::try_from(wire::ReadRequest::default()).unwrap_err();
    assert_eq!((nothing.code, &*nothing.message), (Code::BadRequest, "the selector is missing"));
    let event = wire::NewEvent { id: Bytes::from_static(b"short"), ..wire::NewEvent::default() };
    let request = wire::AppendRequest { events: vec![event], ..wire::AppendRequest::default() };
    let error = AppendRequest::try_from(request).unwrap_err();
    assert_eq!((error.code, error.details), (Code::InvalidEventId, Details::Item(0)));
}

#[test]
fn the_generated_code_is_of_todays_interface() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut others: Vec<_> =
        fs::read_dir(proto.join("kurrentdb")).unwrap().map(|entry| entry.unwrap().path()).collect();
    others.sort();
    let written = [
        (vec![proto.join("graven/v1/graven.proto")], include_str!("generated/graven.proto.sha256")),
        (others, include_str!("generated/kurrentdb/proto.sha256")),
    ];
    for (sources, sum_then) in written {
        let mut hash = Sha256::new();
        for source in &sources {
            hash.update(fs::read(source).unwrap());
        }
        let sum: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum_then.trim(), sum, "one of {sources:?} changed: run `cargo xtask proto`");
    }
}
