use super::*;
use graven_model::error::Details;
use graven_model::{FailedCheck, Query, ReadRequest, Selector, Start, StreamState};

const NOW: Timestamp = Timestamp::from_micros(1_000_000);

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn event(id: u8) -> NewEvent {
    NewEvent::json(EventId([id; 16]), "T", "{}")
}

fn to(stream: &str, expected: Expected, ids: &[u8]) -> AppendRequest {
    AppendRequest::to(name(stream), expected, ids.iter().map(|id| event(*id)))
}

fn rev(number: u64) -> Expected {
    Expected::Revision(Revision(number))
}

/// A stream `a` with events 1, 2, 3 in the state to be tried.
fn stream(state: &str) -> Model {
    let mut model = Model::new();
    if state != "never" {
        model.append(&to("a", Expected::Any, &[1, 2, 3]), NOW).unwrap();
    }
    match state {
        "never" | "at" => {}
        "deleted" => drop(model.delete_stream(&name("a"), Expected::Any, NOW).unwrap()),
        "tombstoned" => drop(model.tombstone_stream(&name("a"), Expected::Any, NOW).unwrap()),
        other => panic!("no state {other}"),
    }
    model
}

#[test]
fn the_decision_table_holds_row_by_row() {
    use Code::{StreamDeleted as Deleted, StreamTombstoned as Tombstoned, WrongExpectedRevision as Wrong};
    let table: &[(&str, [std::result::Result<(), Code>; 6])] = &[
        // state          any              none             exists           2 (= M)          1 (< M)          3 (> M)
        ("never", [Ok(()), Ok(()), Err(Wrong), Err(Wrong), Err(Wrong), Err(Wrong)]),
        ("at", [Ok(()), Err(Wrong), Ok(()), Ok(()), Err(Wrong), Err(Wrong)]),
        ("deleted", [Ok(()), Ok(()), Err(Deleted), Ok(()), Err(Wrong), Err(Wrong)]),
        ("tombstoned", [Err(Tombstoned); 6]),
    ];
    let columns = [Expected::Any, Expected::NoStream, Expected::Exists, rev(2), rev(1), rev(3)];
    for (state, row) in table {
        for (expected, wanted) in columns.into_iter().zip(row) {
            let result = stream(state).append(&to("a", expected, &[9]), NOW);
            assert_eq!(result.map(drop).map_err(|error| error.code), *wanted, "{state} {expected:?}");
        }
    }
}

#[test]
fn a_retry_is_recognised_by_ids_weakly_or_in_place() {
    for (expected, ids, outcome) in [
        (Expected::Any, &[1, 2, 3][..], "done"),
        (Expected::Any, &[2], "done"),
        (Expected::Exists, &[3, 1], "done"),
        (Expected::Any, &[1, 9], "partial"),
        (Expected::Any, &[9, 1], "new"),
        (Expected::NoStream, &[1, 2], "done"),
        (Expected::NoStream, &[1, 3], "partial"),
        (Expected::NoStream, &[2], "wrong"),
        (rev(0), &[2, 3], "done"),
        (rev(0), &[2, 9], "partial"),
        (rev(1), &[3], "done"),
        (rev(1), &[2], "wrong"),
        (rev(2), &[1], "new"),
        (rev(3), &[1], "wrong"),
    ] {
        let mut model = stream("at");
        let found = match model.append(&to("a", expected, ids), NOW) {
            Ok(receipt) if receipt.already_done() => "done",
            Ok(_) => "new",
            Err(Error { details: Details::FailedChecks(failed), .. })
                if failed[0].partial_retry.is_some() =>
            {
                "partial"
            }
            Err(_) => "wrong",
        };
        assert_eq!(found, outcome, "{expected:?} {ids:?}");
    }
}

#[test]
fn a_retry_gives_the_first_receipt_even_if_the_condition_fails_now() {
    let mut model = Model::new();
    let request = to("a", Expected::NoStream, &[1, 2]).unless(Query::item(["T"], [""; 0]), None);
    let first = model.append(&request, NOW).unwrap();
    let again = model.append(&request, NOW).unwrap();
    assert_eq!((again.first_position, again.last_position), (first.first_position, first.last_position));
    assert_eq!((again.appended, again.duplicates), (0, 2));
    let other = to("b", Expected::Any, &[3]).unless(Query::item(["T"], [""; 0]), Some(Position(0)));
    let error = model.append(&other, NOW).unwrap_err();
    assert_eq!((error.code, error.details), (Code::ConditionFailed, Details::ConditionMatch(Position(1))));
    let other = to("b", Expected::Any, &[3]).unless(Query::item(["T"], [""; 0]), Some(Position(1)));
    model.append(&other, NOW).unwrap();
}

#[test]
fn an_append_to_several_streams_happens_whole_or_not_at_all() {
    let mut model = stream("at");
    let request =
        to("b", Expected::NoStream, &[5]).and_to(name("a"), rev(0), [event(6)]).check(name("c"), rev(7));
    let Details::FailedChecks(failed) = model.append(&request, NOW).unwrap_err().details else { panic!() };
    let actual: Vec<(&str, StreamState)> =
        failed.iter().map(|check| (check.stream.as_str(), check.actual)).collect();
    assert_eq!(actual, [("a", StreamState::At(Revision(2))), ("c", StreamState::NoStream)]);
    assert_eq!(model.head(), Position(3));
    let half_done = to("a", Expected::Any, &[1]).and_to(name("b"), Expected::Any, [event(7)]);
    let Details::FailedChecks(failed) = model.append(&half_done, NOW).unwrap_err().details else { panic!() };
    assert!(matches!(&failed[..], [FailedCheck { partial_retry: Some(_), .. }]), "{failed:?}");
}

#[test]
fn each_event_of_an_import_stands_for_itself() {
    let mut model = stream("at");
    let mut request = to("a", Expected::Any, &[1, 9, 3, 9]);
    request.idempotency = Idempotency::EachEvent;
    let receipt = model.append(&request, NOW).unwrap();
    assert_eq!((receipt.appended, receipt.duplicates), (1, 3));
    assert!(model.append(&request, NOW).unwrap().already_done());
}

#[test]
fn a_deleted_stream_reopens_and_keeps_counting() {
    let mut model = stream("deleted");
    let read = ReadRequest::new(Selector::Stream(name("a")));
    assert_eq!(model.read(&read, NOW).unwrap_err().code, Code::StreamDeleted);
    model.append(&to("a", Expected::Any, &[9]), NOW).unwrap();
    let seen: Vec<u64> = model.read(&read, NOW).unwrap().iter().map(|event| event.revision.0).collect();
    assert_eq!(seen, [3]);
}

#[test]
fn visibility_follows_the_metadata() {
    let mut model = stream("at");
    let late = Timestamp::from_micros(5_000_001);
    model.append(&to("a", Expected::Any, &[4]), late).unwrap();
    let mut seen = |json: &'static str| {
        model.set_stream_metadata(&name("a"), Expected::Any, Bytes::from(json), late).unwrap();
        let read = ReadRequest::new(Selector::Stream(name("a")));
        model.read(&read, late).unwrap().iter().map(|event| event.revision.0).collect::<Vec<_>>()
    };
    assert_eq!(seen(r#"{"$tb":2}"#), [2, 3]);
    assert_eq!(seen(r#"{"$maxCount":1}"#), [3]);
    assert_eq!(seen(r#"{"$maxAge":4}"#), [3]);
    assert_eq!(seen(r#"{"$maxAge":5}"#), [0, 1, 2, 3]);
    assert_eq!(seen(r#"{"own":true}"#), [0, 1, 2, 3]);
}

#[test]
fn reads_begin_where_they_are_told() {
    let model = stream("at");
    let positions = |request: ReadRequest| {
        model.read(&request, NOW).unwrap().iter().map(|event| event.position.0).collect::<Vec<_>>()
    };
    let all = || ReadRequest::new(Selector::All);
    assert_eq!(positions(all()), [0, 1, 2]);
    assert_eq!(positions(all().backward()), [2, 1, 0]);
    assert_eq!(positions(all().from(Start::Position(Position(1)))), [1, 2]);
    assert_eq!(positions(all().from(Start::Position(Position(1))).backward()), [1, 0]);
    assert_eq!(positions(all().from(Start::End)), [0; 0]);
    assert_eq!(positions(all().from(Start::Time(NOW))), [0, 1, 2]);
    assert_eq!(positions(all().from(Start::Time(Timestamp::from_micros(999_999))).backward()), [0; 0]);
}
