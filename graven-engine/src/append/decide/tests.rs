//! The decision table, row by row, over facts held in a map.

use super::*;
use graven_model::{NewEvent, Query};
use std::collections::HashMap;

#[derive(Default)]
struct Paper {
    streams: HashMap<String, (StreamState, bool, Vec<EventId>)>,
    matching: Option<Position>,
}

impl Facts for Paper {
    fn state(&mut self, _index: usize, stream: &StreamName) -> Result<(StreamState, bool)> {
        Ok(self
            .streams
            .get(stream.as_str())
            .map_or((StreamState::NoStream, false), |known| (known.0, known.1)))
    }

    fn find(&mut self, stream: &StreamName, id: EventId) -> Result<Option<Place>> {
        let ids = self.streams.get(stream.as_str()).map(|known| &known.2[..]).unwrap_or_default();
        Ok(ids.iter().rposition(|known| *known == id).map(|at| place(at as u64)))
    }

    fn at(&mut self, stream: &StreamName, revision: u64) -> Result<Option<(EventId, Place)>> {
        let known = self.streams.get(stream.as_str());
        Ok(known.and_then(|known| known.2.get(revision as usize)).map(|id| (*id, place(revision))))
    }

    fn first_match(&mut self, condition: &Condition) -> Result<Option<Position>> {
        Ok(self.matching.filter(|position| condition.after.is_none_or(|after| *position > after)))
    }

    fn head(&self) -> u64 {
        1000
    }
}

fn place(revision: u64) -> Place {
    Place { position: 100 + revision, revision, commit_time: 7 }
}

fn id(number: u8) -> EventId {
    EventId([number; 16])
}

fn name(stream: &str) -> StreamName {
    StreamName::new(stream).unwrap()
}

fn event(number: u8) -> NewEvent {
    NewEvent::json(id(number), "T", "{}")
}

/// A store with `live` (ids 1 2 3), `gone` (deleted at revision 2, same ids), `dead` (tombstoned), `bare` (metadata only).
fn paper() -> Paper {
    let ids = vec![id(1), id(2), id(3)];
    Paper {
        streams: HashMap::from([
            ("live".into(), (StreamState::At(Revision(2)), false, ids.clone())),
            ("gone".into(), (StreamState::SoftDeleted(Revision(2)), true, ids.clone())),
            ("dead".into(), (StreamState::Tombstoned, false, ids)),
            ("bare".into(), (StreamState::NoStream, true, vec![])),
        ]),
        matching: None,
    }
}

#[derive(Debug, PartialEq)]
enum Came {
    Stored,
    DoneAt(u64),
    Nothing,
    Refused(Code),
    Partial,
}

fn judge(operation: Operation, request: &AppendRequest) -> Came {
    came(decide(&mut paper(), operation, request).unwrap())
}

fn came(decision: Decision) -> Came {
    match decision {
        Decision::Append { .. } => Came::Stored,
        Decision::Done(receipt) if receipt.last_position.is_none() => Came::Nothing,
        Decision::Done(receipt) => Came::DoneAt(receipt.streams[0].revision.unwrap().0),
        Decision::Refuse(error) => match &error.details {
            Details::FailedChecks(checks) if checks.iter().any(|check| check.partial_retry.is_some()) => {
                Came::Partial
            }
            _ => Came::Refused(error.code),
        },
    }
}

fn append(stream: &str, expected: Expected, ids: &[u8]) -> Came {
    judge(
        Operation::Append,
        &AppendRequest::to(name(stream), expected, ids.iter().map(|number| event(*number))),
    )
}

const ANY: Expected = Expected::Any;
const NONE: Expected = Expected::NoStream;
const EXISTS: Expected = Expected::Exists;

const fn at(revision: u64) -> Expected {
    Expected::Revision(Revision(revision))
}

#[test]
fn new_events_meet_the_expected_revision_table() {
    use Came::{Refused, Stored};
    let wrong = || Refused(Code::WrongExpectedRevision);
    for (stream, expected, outcome) in [
        ("new", ANY, Stored),
        ("new", NONE, Stored),
        ("new", EXISTS, wrong()),
        ("new", at(0), wrong()),
        ("bare", EXISTS, Stored),
        ("bare", NONE, Stored),
        ("live", ANY, Stored),
        ("live", NONE, wrong()),
        ("live", EXISTS, Stored),
        ("live", at(2), Stored),
        ("live", at(3), wrong()),
        ("live", at(1), wrong()),
        ("gone", ANY, Stored),
        ("gone", NONE, Stored),
        ("gone", EXISTS, Refused(Code::StreamDeleted)),
        ("gone", at(2), Stored),
        ("gone", at(1), wrong()),
        ("dead", ANY, Refused(Code::StreamTombstoned)),
        ("dead", NONE, Refused(Code::StreamTombstoned)),
        ("dead", EXISTS, Refused(Code::StreamTombstoned)),
        ("dead", at(2), Refused(Code::StreamTombstoned)),
        ("gone", Expected::Deleted, Stored),
        ("live", Expected::Deleted, wrong()),
        ("new", Expected::Deleted, wrong()),
        ("bare", Expected::Deleted, wrong()),
        ("dead", Expected::Deleted, Refused(Code::StreamTombstoned)),
        ("dead", Expected::Tombstoned, Refused(Code::StreamTombstoned)),
        ("gone", Expected::Tombstoned, wrong()),
        ("new", Expected::Tombstoned, wrong()),
    ] {
        assert_eq!(append(stream, expected, &[9, 8]), outcome, "{stream} {expected:?}");
    }
}

#[test]
fn a_retry_is_recognised_by_its_ids() {
    use Came::{DoneAt, Partial, Refused, Stored};
    for (stream, expected, ids, outcome) in [
        ("live", ANY, &[2u8, 3][..], DoneAt(2)),
        ("live", EXISTS, &[1], DoneAt(0)),
        ("live", ANY, &[3, 9], Partial),
        ("live", ANY, &[9, 3], Stored),
        ("live", NONE, &[1, 2], DoneAt(1)),
        ("live", NONE, &[1, 9], Partial),
        ("live", NONE, &[2], Refused(Code::WrongExpectedRevision)),
        ("live", at(0), &[2, 3], DoneAt(2)),
        ("live", at(0), &[2, 9], Partial),
        ("live", at(0), &[3], Refused(Code::WrongExpectedRevision)),
        ("live", at(1), &[3, 9], Partial),
        ("live", at(2), &[3], Stored),
        ("gone", NONE, &[1, 2, 3], DoneAt(2)),
        ("gone", at(1), &[3], DoneAt(2)),
        ("live", Expected::Deleted, &[2, 3], DoneAt(2)),
        ("live", Expected::Tombstoned, &[2, 3], Refused(Code::WrongExpectedRevision)),
        ("dead", ANY, &[1], Refused(Code::StreamTombstoned)),
    ] {
        assert_eq!(append(stream, expected, ids), outcome, "{stream} {expected:?} {ids:?}");
    }
}

#[test]
fn a_stream_that_is_only_checked_may_be_gone_if_nothing_contradicts_it() {
    for (stream, expected, holds) in [
        ("dead", ANY, true),
        ("dead", NONE, true),
        ("dead", EXISTS, false),
        ("gone", at(2), true),
        ("gone", NONE, true),
        ("gone", EXISTS, false),
        ("live", at(2), true),
        ("live", at(1), false),
        ("new", NONE, true),
        ("new", at(0), false),
        ("gone", Expected::Deleted, true),
        ("live", Expected::Deleted, false),
        ("dead", Expected::Deleted, false),
        ("dead", Expected::Tombstoned, true),
        ("gone", Expected::Tombstoned, false),
        ("live", Expected::Tombstoned, false),
        ("new", Expected::Tombstoned, false),
    ] {
        let request = AppendRequest::to(name("other"), ANY, [event(9)]).check(name(stream), expected);
        assert_eq!(judge(Operation::Append, &request) == Came::Stored, holds, "{stream} {expected:?}");
    }
}

#[test]
fn all_failed_checks_are_reported_with_what_is_there() {
    let request = AppendRequest::to(name("live"), at(0), [event(9)])
        .and_to(name("new"), EXISTS, [event(9)])
        .check(name("gone"), at(2));
    let Decision::Refuse(error) = decide(&mut paper(), Operation::Append, &request).unwrap() else {
        panic!()
    };
    let Details::FailedChecks(checks) = error.details else { panic!() };
    let told: Vec<_> = checks.iter().map(|check| (check.stream.as_str(), check.actual)).collect();
    assert_eq!(told, [("live", StreamState::At(Revision(2))), ("new", StreamState::NoStream)]);
}

#[test]
fn a_request_partly_done_is_not_the_append_it_repeats() {
    let request = AppendRequest::to(name("live"), ANY, [event(1)]).and_to(name("new"), ANY, [event(2)]);
    assert_eq!(judge(Operation::Append, &request), Came::Partial);
    let request = AppendRequest::to(name("live"), ANY, [event(1)]).and_to(name("gone"), ANY, [event(2)]);
    assert_eq!(judge(Operation::Append, &request), Came::DoneAt(0));
}

#[test]
fn a_retry_gets_its_receipt_even_if_the_condition_would_fail_now() {
    let query = Query::item(["T"], Vec::<&str>::new());
    let mut facts = Paper { matching: Some(Position(50)), ..paper() };
    let new = AppendRequest::to(name("live"), ANY, [event(9)]).unless(query.clone(), None);
    assert_eq!(
        came(decide(&mut facts, Operation::Append, &new).unwrap()),
        Came::Refused(Code::ConditionFailed)
    );
    let retry = AppendRequest::to(name("live"), ANY, [event(1)]).unless(query.clone(), None);
    assert_eq!(came(decide(&mut facts, Operation::Append, &retry).unwrap()), Came::DoneAt(0));
    let later = AppendRequest::to(name("live"), ANY, [event(9)]).unless(query, Some(Position(50)));
    assert_eq!(came(decide(&mut facts, Operation::Append, &later).unwrap()), Came::Stored);
}

#[test]
fn an_append_without_events_stores_nothing_and_tells_the_revision() {
    assert_eq!(append("live", ANY, &[]), Came::Nothing);
    assert_eq!(append("live", at(1), &[]), Came::Refused(Code::WrongExpectedRevision));
}

#[test]
fn events_that_stand_for_themselves_are_left_out_one_by_one() {
    let mut request = AppendRequest::to(name("live"), ANY, [event(2), event(9), event(9)]).and_to(
        name("new"),
        ANY,
        [event(9), event(2)],
    );
    request.idempotency = Idempotency::EachEvent;
    let decision = decide(&mut paper(), Operation::Append, &request).unwrap();
    assert_eq!(decision, Decision::Append { skip: vec![true, false, true, false, false] });
    let mut again = AppendRequest::to(name("live"), ANY, [event(3), event(1)]);
    again.idempotency = Idempotency::EachEvent;
    let Decision::Done(receipt) = decide(&mut paper(), Operation::Append, &again).unwrap() else { panic!() };
    assert_eq!((receipt.appended, receipt.duplicates), (0, 2));
    assert_eq!(receipt.streams[0].revision, Some(Revision(2)));
}

#[test]
fn only_what_exists_can_be_deleted() {
    let delete = |stream: &str, expected| {
        let request = AppendRequest::default().check(name(stream), expected).and_to(
            name(&format!("$${stream}")),
            ANY,
            [event(9)],
        );
        judge(Operation::Delete, &request)
    };
    assert_eq!(delete("live", ANY), Came::Stored);
    assert_eq!(delete("live", at(1)), Came::Refused(Code::WrongExpectedRevision));
    assert_eq!(delete("bare", ANY), Came::Stored);
    assert_eq!(delete("new", ANY), Came::Refused(Code::WrongExpectedRevision));
    assert_eq!(delete("dead", ANY), Came::Refused(Code::StreamTombstoned));
}

#[test]
fn a_tombstone_takes_any_or_none_for_a_stream_that_never_was() {
    let tombstone = |stream: &str, expected| {
        judge(Operation::Tombstone, &AppendRequest::to(name(stream), expected, [event(9)]))
    };
    assert_eq!(tombstone("new", ANY), Came::Stored);
    assert_eq!(tombstone("new", NONE), Came::Stored);
    assert_eq!(tombstone("new", EXISTS), Came::Refused(Code::WrongExpectedRevision));
    assert_eq!(tombstone("live", at(2)), Came::Stored);
    assert_eq!(tombstone("dead", ANY), Came::Refused(Code::StreamTombstoned));
}
